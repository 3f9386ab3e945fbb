"""A lone pack's own MOSFETs, switched by a person and by protection."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from unittest.mock import patch

from homeassistant.core import HomeAssistant
from homeassistant.exceptions import HomeAssistantError, ServiceValidationError
from homeassistant.helpers.translation import async_load_integrations
import pytest

from custom_components.openxpbms.bms.virtual import VirtualLine, VirtualPack, WriteFault
from custom_components.openxpbms.const import DOMAIN

from .conftest import MakeLine
from .guarding import choose, switch
from .test_seplos_flow import pack_identity, refresh, seplos_entry

CONNECTION = "switch.sg16s200a_sp57b_a_sp57b_a0000000001_connection"
MODE = "select.shed_protection_mode"
OFF, ON = 0x55AA, 0xAA55
BOTH_OFF = [(0x1511, OFF), (0x1510, OFF)]
WRITES = "custom_components.openxpbms.bms.seplos_writes"


@pytest.fixture(autouse=True)
def quickly() -> Iterator[None]:
    with patch(f"{WRITES}.QUIET", 0.0), patch(f"{WRITES}.SETTLING", 0.01):
        yield


@pytest.fixture
def make_pack(hass: HomeAssistant, make_line: MakeLine) -> Any:
    """Set a lone pack up whose MOSFETs may be switched."""

    async def make(**settings: Any) -> tuple[VirtualPack, VirtualLine, Any]:
        options = {"mosfets": settings.pop("mosfets", True)}
        pack = VirtualPack(0, serial="SP57B-A0000000001", **settings)
        line = await make_line(pack)
        who = pack_identity(0, "SP57B-A0000000001")
        entry = await seplos_entry(hass, line.path, who, options=options)
        return pack, line, entry

    return make


def is_on(hass: HomeAssistant) -> bool:
    return hass.states.is_state(CONNECTION, "on")


async def test_a_person_switches_both_and_sees_what_the_pack_shows(
    hass: HomeAssistant, make_pack: Any
) -> None:
    pack, _, entry = await make_pack()
    assert is_on(hass)
    await switch(hass, CONNECTION, on=False)
    await refresh(hass, entry)
    assert pack.written == BOTH_OFF
    assert not is_on(hass)
    pack.written.clear()
    await switch(hass, CONNECTION)
    await refresh(hass, entry)
    assert pack.written == [(0x1515, ON), (0x1510, ON)]
    assert is_on(hass)
    assert not pack.complaints


async def test_nothing_is_switched_unless_agreed(
    hass: HomeAssistant, make_pack: Any
) -> None:
    pack, _, entry = await make_pack(mosfets=False)
    await choose(hass, MODE, "armed")
    await switch(hass, CONNECTION, on=False)
    await switch(hass, CONNECTION)
    pack.cell_voltages[3] = 3.9
    await refresh(hass, entry)
    assert not pack.written


async def test_an_automation_does_not_switch_on(
    hass: HomeAssistant, make_pack: Any
) -> None:
    pack, _, _ = await make_pack()
    with pytest.raises(ServiceValidationError) as told:
        await switch(hass, CONNECTION, person=False)
    assert told.value.translation_key == "mosfet_needs_person"
    assert not pack.written


async def test_protection_switches_off_once_and_never_on(
    hass: HomeAssistant, make_pack: Any
) -> None:
    pack, _, entry = await make_pack()
    await choose(hass, MODE, "armed")
    pack.cell_voltages[3] = 3.75
    with patch(f"{WRITES}.QUIET", 60.0):
        for _ in range(3):
            await refresh(hass, entry)
    assert pack.written == [(0x1511, OFF)]
    assert (pack.charge_mosfet, pack.discharge_mosfet) == (False, True)
    pack.cell_voltages[3] = 3.85
    for _ in range(3):
        await refresh(hass, entry)
    assert pack.written == BOTH_OFF
    pack.cell_voltages[3] = 3.3
    for _ in range(3):
        await refresh(hass, entry)
    assert pack.written == BOTH_OFF
    assert not is_on(hass)


async def test_everything_at_once_switches_both_off(
    hass: HomeAssistant, make_line: MakeLine
) -> None:
    pack = VirtualPack(0, serial="SP57B-A0000000001")
    line = await make_line(pack)
    who = pack_identity(0, "SP57B-A0000000001")
    options = {"mosfets": True, "outputs": {"at_once": True}}
    entry = await seplos_entry(hass, line.path, who, options=options)
    await choose(hass, MODE, "armed")
    pack.cell_voltages[3] = 3.75
    await refresh(hass, entry)
    assert pack.written == BOTH_OFF


async def test_who_only_watches_switches_nothing(
    hass: HomeAssistant, make_pack: Any
) -> None:
    pack, _, entry = await make_pack()
    pack.cell_voltages[3] = 3.9
    await refresh(hass, entry)
    assert not pack.written


async def test_what_protection_forbids_stays_off(
    hass: HomeAssistant, make_pack: Any
) -> None:
    pack, _, entry = await make_pack(charge_mosfet=False, discharge_mosfet=False)
    pack.cell_temperatures[0] = -5.0
    await refresh(hass, entry)
    await switch(hass, CONNECTION)
    assert pack.written == [(0x1510, ON)]


@pytest.mark.parametrize(
    ("fault", "key"),
    [
        (WriteFault.REFUSE_VALUE, "mosfet_unchanged"),
        (WriteFault.IGNORE, "mosfet_unchanged"),
        (WriteFault.SILENT, "mosfet_unknown"),
    ],
)
async def test_a_person_is_told_what_did_not_work(
    hass: HomeAssistant, make_pack: Any, fault: WriteFault, key: str
) -> None:
    pack, _, _ = await make_pack()
    pack.write_fault = fault
    with pytest.raises(HomeAssistantError) as told:
        await switch(hass, CONNECTION, on=False)
    assert told.value.translation_key == key


async def test_the_minute_of_listening_is_asked_of_persons(
    hass: HomeAssistant, make_pack: Any
) -> None:
    pack, _, _ = await make_pack()
    # Named in English before, as their entities are.
    hass.config.language = "de"
    await async_load_integrations(hass, {DOMAIN})
    with patch(f"{WRITES}.QUIET", 60.0), pytest.raises(HomeAssistantError) as told:
        await switch(hass, CONNECTION, on=False)
    assert told.value.translation_key == "mosfet_not_sent"
    why = (told.value.translation_placeholders or {})["reason"]
    assert why == "Leitung nicht lange genug beobachtet"
    assert not pack.written


async def test_what_protection_could_not_switch_is_logged(
    hass: HomeAssistant, make_pack: Any, caplog: pytest.LogCaptureFixture
) -> None:
    pack, _, entry = await make_pack()
    await choose(hass, MODE, "armed")
    pack.write_fault = WriteFault.IGNORE
    pack.cell_voltages[3] = 3.75
    await refresh(hass, entry)
    assert "A MOSFET of battery 0 was to be switched off: unchanged" in caplog.text


async def test_a_bus_of_two_packs_is_not_switched(
    hass: HomeAssistant, make_line: MakeLine
) -> None:
    packs = [VirtualPack(n, serial=f"SP57B-A000000000{n}") for n in (1, 2)]
    line = await make_line(*packs)
    identities = [pack_identity(p.address, p.serial) for p in packs]
    entry = await seplos_entry(hass, line.path, *identities, options={"mosfets": True})
    assert entry.runtime_data.pack_switch.battery is None


async def test_unloading_waits_for_what_is_being_switched(
    hass: HomeAssistant, make_pack: Any
) -> None:
    pack, _, entry = await make_pack()
    await choose(hass, MODE, "armed")
    pack.cell_voltages[3] = 3.75
    await entry.runtime_data.async_refresh()
    assert await hass.config_entries.async_unload(entry.entry_id)
    assert pack.written == [(0x1511, OFF)]
    assert not pack.charge_mosfet


async def page(hass: HomeAssistant, entry: Any) -> Any:
    """Open the page on which a person agrees."""
    flows = hass.config_entries.options
    menu = await flows.async_init(entry.entry_id)
    assert "mosfets" in menu["menu_options"]
    return await flows.async_configure(menu["flow_id"], {"next_step_id": "mosfets"})


@pytest.mark.parametrize("word", ["", "mosfet", "yes"])
async def test_without_the_word_nobody_has_agreed(
    hass: HomeAssistant, make_pack: Any, word: str
) -> None:
    _, _, entry = await make_pack(mosfets=False)
    form = await page(hass, entry)
    assert form["description_placeholders"] == {"word": "MOSFET"}
    again = await hass.config_entries.options.async_configure(
        form["flow_id"], {"mosfets": True, "agreed": word}
    )
    assert again["errors"] == {"agreed": "not_agreed"}
    assert entry.options["mosfets"] is False


async def test_with_the_word_it_is_agreed_and_taken_back_without(
    hass: HomeAssistant, make_pack: Any
) -> None:
    _, _, entry = await make_pack(mosfets=False)
    for answer in ({"mosfets": True, "agreed": " MOSFET "}, {"mosfets": False}):
        form = await page(hass, entry)
        done = await hass.config_entries.options.async_configure(
            form["flow_id"], answer
        )
        assert done["type"] == "create_entry"
        await hass.async_block_till_done()
        assert entry.options == {"interval": 1, "mosfets": answer["mosfets"]}
        acts = entry.runtime_data.pack_switch.battery is not None
        assert acts is answer["mosfets"]
