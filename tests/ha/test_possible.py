"""What cannot be is not shown; what protection judges stays what the battery told."""

from __future__ import annotations

from typing import Any

from homeassistant.core import HomeAssistant, State
from homeassistant.helpers import entity_registry as er
import pytest
from pytest_homeassistant_custom_component.common import MockConfigEntry

from custom_components.openxpbms.batteries import stored
from custom_components.openxpbms.bms.rules import SENSOR_READINGS
from custom_components.openxpbms.bms.virtual import VirtualModule, VirtualPack
from custom_components.openxpbms.const import DOMAIN

from .conftest import MakeEntry, MakeLine, first_round, identity
from .test_seplos_entities import identity as pack_identity

MODULE, PACK = "valence_104400461", "seplos_SP57B-A0000000001"
OF_CELLS = (
    "lowest_cell_voltage",
    "highest_cell_voltage",
    "mean_cell_voltage",
    "cell_delta",
    "lowest_cell",
    "highest_cell",
)


def state(hass: HomeAssistant, key: str, of: str = MODULE, kind: str = "sensor") -> Any:
    """Return a state by the key of its entity."""
    entity_id = er.async_get(hass).async_get_entity_id(kind, DOMAIN, f"{of}_{key}")
    assert entity_id is not None, key
    found = hass.states.get(entity_id)
    assert isinstance(found, State), key
    return found.state


@pytest.fixture
async def one(make_line: MakeLine, make_entry: MakeEntry) -> tuple[Any, Any]:
    """Return a module and its entry."""
    module = VirtualModule(1, serial="104400461")
    line = await make_line(module)
    return module, await make_entry(line.path, identity(module))


async def hear(hass: HomeAssistant, entry: MockConfigEntry) -> None:
    """Ask once more."""
    await entry.runtime_data.async_refresh()
    await hass.async_block_till_done()


async def test_a_cell_that_cannot_be(
    hass: HomeAssistant, one: tuple[VirtualModule, MockConfigEntry]
) -> None:
    module, entry = one
    module.cell_voltages[1] = 65.535
    for _ in range(SENSOR_READINGS):
        await hear(hass, entry)
    reading = next(iter(entry.runtime_data)).reading
    assert reading is not None
    assert reading.cell_voltages[1] == 65.535
    assert state(hass, "cell_2_voltage") == "unknown"
    assert {state(hass, key) for key in OF_CELLS} == {"unknown"}
    assert state(hass, "cell_4_voltage") == "3.303"
    # Protection sees what is not shown.
    assert state(hass, "sensor_fault", kind="binary_sensor") == "on"
    module.cell_voltages[1] = 3.301
    await hear(hass, entry)
    assert state(hass, "cell_2_voltage") == "3.301"
    assert state(hass, "cell_delta") == "0.003"


async def test_what_is_only_strange_is_shown(
    hass: HomeAssistant, one: tuple[VirtualModule, MockConfigEntry]
) -> None:
    module, entry = one
    module.cell_voltages[0] = 0.0
    module.cell_temperatures[2] = -40.0
    await hear(hass, entry)
    assert state(hass, "cell_1_voltage") == "0.0"
    assert state(hass, "lowest_cell_voltage") == "0.0"
    assert state(hass, "cell_3_temperature") == "-40.0"
    assert state(hass, "lowest_cell_temperature") == "-40.0"


async def test_a_temperature_that_cannot_be(
    hass: HomeAssistant, one: tuple[VirtualModule, MockConfigEntry]
) -> None:
    module, entry = one
    module.cell_temperatures[2] = 163.84
    module.pcb_temperature = -200.0
    await hear(hass, entry)
    for key in (
        "cell_3_temperature",
        "lowest_cell_temperature",
        "highest_cell_temperature",
        "pcb_temperature",
    ):
        assert state(hass, key) == "unknown", key
    assert state(hass, "cell_1_temperature") == "20.0"


async def test_a_voltage_that_cannot_be_takes_the_power_with_it(
    hass: HomeAssistant, one: tuple[VirtualModule, MockConfigEntry]
) -> None:
    module, entry = one
    module.current = 10.0
    await hear(hass, entry)
    reading = next(iter(entry.runtime_data)).reading
    assert reading is not None
    assert state(hass, "power") == str(round(reading.voltage * 10, 2))
    module.cell_voltages[:] = [5.1] * 4
    await hear(hass, entry)
    assert state(hass, "voltage") == "unknown"
    assert state(hass, "power") == "unknown"
    assert state(hass, "current") == "10.0"


async def test_a_history_that_cannot_be(
    hass: HomeAssistant, one: tuple[VirtualModule, MockConfigEntry]
) -> None:
    module, entry = one
    registry = er.async_get(hass)
    keys = ("lifetime_highest_temperature", "lifetime_highest_cell_voltage", "cycles")
    for key in keys:
        unique_id = f"{MODULE}_{key}"
        entity_id = registry.async_get_entity_id("sensor", DOMAIN, unique_id)
        assert entity_id is not None
        registry.async_update_entity(entity_id, disabled_by=None)
    module.lifetime.highest_temperature = 300.0
    await hass.config_entries.async_reload(entry.entry_id)
    await first_round(hass, entry)
    assert state(hass, "lifetime_highest_temperature") == "unknown"
    assert state(hass, "lifetime_highest_cell_voltage") == "3.871"
    assert state(hass, "cycles") == "100"


async def test_a_pack_that_tells_what_cannot_be(
    hass: HomeAssistant, make_line: MakeLine
) -> None:
    pack = VirtualPack(current=-12.34)
    line = await make_line(pack)
    entry = MockConfigEntry(
        domain=DOMAIN,
        title="Shed",
        data={
            "device": line.path,
            "family": "seplos",
            "batteries": stored([pack_identity(pack)]),
        },
    )
    entry.add_to_hass(hass)
    assert await hass.config_entries.async_setup(entry.entry_id)
    await first_round(hass, entry)
    assert state(hass, "state_of_charge", PACK) == "50.0"
    impossible = {0x1000: 8001, 0x1005: 1001, 0x1006: 65535, 0x100F: 65535}
    pack.registers |= impossible
    await hear(hass, entry)
    for key in (
        "voltage",
        "power",
        "state_of_charge",
        "state_of_health",
        "allowed_discharge_current",
    ):
        assert state(hass, key, PACK) == "unknown", key
    assert state(hass, "current", PACK) == "-12.34"
    assert state(hass, "allowed_charge_current", PACK) == "180"
    assert state(hass, "cell_delta", PACK) == "0.015"
