"""Protection in Home Assistant: virtual modules, real bytes, input booleans as relays."""

from __future__ import annotations

from collections.abc import Iterator

from homeassistant.core import HomeAssistant
from homeassistant.exceptions import ServiceValidationError
import pytest

from custom_components.openxpbms.bms.virtual.valence import VirtualModule

from .conftest import MakeEntry, MakeLine, identity
from .guarding import (
    Clock,
    choose,
    jumping_clock,
    make_relays,
    pass_time,
    refresh,
    relay_is_on,
    switch,
    watch,
    watched_of,
)

MODE = "select.garage_protection_mode"


@pytest.fixture
def clock() -> Iterator[Clock]:
    with jumping_clock() as clock:
        yield clock


async def test_smoke(
    hass: HomeAssistant, make_line: MakeLine, make_entry: MakeEntry, clock: Clock
) -> None:
    module = VirtualModule(1)
    line = await make_line(module)
    charge, load, connection = await make_relays(hass, "charge", "load", "connection")
    who = identity(module)
    entry = await make_entry(
        line.path,
        who,
        options={
            "outputs": {
                "joined": "single",
                "charge": {"relay": charge},
                "load": {"relay": load},
                "connections": {f"valence_{who.serial}": {"relay": connection}},
            }
        },
    )
    print([s.entity_id for s in hass.states.async_all()])
    assert hass.states.get(MODE).state == "watch_only"
    await refresh(hass, entry)
    assert not relay_is_on(hass, "connection")
    await choose(hass, MODE, "armed")
    await hass.async_block_till_done()
    assert relay_is_on(hass, "connection")
    assert relay_is_on(hass, "charge")
    assert relay_is_on(hass, "load")
    module.cell_voltages[2] = 3.95
    await refresh(hass, entry)
    assert not relay_is_on(hass, "charge")
    assert relay_is_on(hass, "load")
    print(watched_of(entry, 1).decision)
    module.cell_voltages[2] = 4.05
    await refresh(hass, entry)
    await pass_time(hass, clock, 0.6)
    assert not relay_is_on(hass, "load")
    assert not relay_is_on(hass, "connection")
    module.cell_voltages[2] = 3.3
    await refresh(hass, entry)
    connection_switch = next(
        s.entity_id for s in hass.states.async_all("switch")
    )
    print(hass.states.get(connection_switch))
    with pytest.raises(ServiceValidationError) as err:
        await switch(hass, connection_switch)
    print(err.value)
    await watch(hass, entry, clock, 70)
    print(watched_of(entry, 1).decision)
    await switch(hass, connection_switch)
    await hass.async_block_till_done()
    assert relay_is_on(hass, "connection")
