"""Another port, more batteries, other options, a battery removed."""

from __future__ import annotations

from typing import Any

from homeassistant.config_entries import ConfigFlowResult
from homeassistant.const import EVENT_HOMEASSISTANT_STOP
from homeassistant.core import HomeAssistant
from homeassistant.data_entry_flow import FlowResultType, InvalidData
from homeassistant.helpers import device_registry as dr
from homeassistant.helpers import entity_registry as er
from homeassistant.setup import async_setup_component
import pytest
from pytest_homeassistant_custom_component.common import MockConfigEntry
from pytest_homeassistant_custom_component.typing import WebSocketGenerator

from custom_components.openxpbms.batteries import stored
from custom_components.openxpbms.bms.family import ScanResult
from custom_components.openxpbms.bms.reading import Identity
from custom_components.openxpbms.bms.valence import LineMode
from custom_components.openxpbms.bms.virtual.valence import VirtualModule
from custom_components.openxpbms.config_flow import _readdressed
from custom_components.openxpbms.const import DOMAIN
from custom_components.openxpbms.words import entry_title

from .conftest import MakeEntry, MakeLine, first_round, go_on, identity
from .option_pages import answer, fields, make_bus, open_page, setups


async def reconfigure(
    hass: HomeAssistant, entry: MockConfigEntry, choice: str
) -> ConfigFlowResult:
    """Begin to change an entry by one choice of its menu."""
    result = await entry.start_reconfigure_flow(hass)
    assert result["type"] is FlowResultType.MENU
    return await go_on(hass, result, {"next_step_id": choice})


def modules() -> tuple[VirtualModule, VirtualModule]:
    """Return two modules."""
    return (
        VirtualModule(1, serial="104400461"),
        VirtualModule(2, serial="104400462"),
    )


async def test_the_same_batteries_move_to_another_port_and_address(
    hass: HomeAssistant, make_line: MakeLine, make_entry: MakeEntry
) -> None:
    one, two = modules()
    old = await make_line(one, two)
    entry = await make_entry(old.path, identity(one), identity(two))
    before = hass.states.get("sensor.u27_12xp_104400461_voltage")
    new = await make_line(
        VirtualModule(7, serial="104400461"), VirtualModule(2, serial="104400462")
    )
    result = await reconfigure(hass, entry, "new_port")
    result = await go_on(hass, result, {"device": new.path})
    assert result["reason"] == "reconfigure_successful"
    await hass.async_block_till_done()
    await first_round(hass, entry)
    assert entry.data["device"] == new.path
    assert {b["serial"]: b["address"] for b in entry.data["batteries"]} == {
        "104400461": 7,
        "104400462": 2,
    }
    after = hass.states.get("sensor.u27_12xp_104400461_voltage")
    assert before is not None
    assert after is not None
    assert after.state not in ("unavailable", "unknown")
    assert not hass.states.get("sensor.u27_12xp_104400461_voltage_2")


@pytest.mark.parametrize("named", [True, False])
async def test_a_bus_is_named_after_its_port_unless_a_person_named_it(
    hass: HomeAssistant, make_line: MakeLine, make_entry: MakeEntry, named: bool
) -> None:
    one, _ = modules()
    old = await make_line(one)
    entry = await make_entry(old.path, identity(one))
    if not named:
        title = entry_title(old.path, "valence")
        hass.config_entries.async_update_entry(entry, title=title)
    new = await make_line(VirtualModule(1, serial="104400461"))
    result = await reconfigure(hass, entry, "new_port")
    result = await go_on(hass, result, {"device": new.path})
    assert result["reason"] == "reconfigure_successful"
    assert entry.title == ("Garage" if named else entry_title(new.path, "valence"))
    await hass.async_block_till_done()


async def test_a_new_port_without_the_batteries_is_refused(
    hass: HomeAssistant, make_line: MakeLine, make_entry: MakeEntry
) -> None:
    one, two = modules()
    old = await make_line(one, two)
    entry = await make_entry(old.path, identity(one), identity(two))
    new = await make_line(VirtualModule(1, serial="104449999"))
    result = await reconfigure(hass, entry, "new_port")
    result = await go_on(hass, result, {"device": new.path})
    assert result["step_id"] == "moved"
    assert result["menu_options"] == ["scan_again", "new_port"]
    assert entry.data["device"] == old.path


async def test_a_new_port_with_some_of_them_is_taken_only_when_told(
    hass: HomeAssistant, make_line: MakeLine, make_entry: MakeEntry
) -> None:
    one, two = modules()
    old = await make_line(one, two)
    entry = await make_entry(old.path, identity(one), identity(two))
    new = await make_line(VirtualModule(1, serial="104400461"))
    result = await reconfigure(hass, entry, "new_port")
    result = await go_on(hass, result, {"device": "/dev/ttyNone"})
    assert result["errors"] == {"base": "port_missing"}
    result = await go_on(hass, result, {"device": new.path})
    assert result["description_placeholders"] == {"missing": "104400462"}
    result = await go_on(hass, result, {"next_step_id": "move"})
    assert result["reason"] == "reconfigure_successful"
    assert len(entry.data["batteries"]) == 2
    await hass.async_block_till_done()


async def test_more_batteries_are_found_over_the_running_bus(
    hass: HomeAssistant, make_line: MakeLine, make_entry: MakeEntry
) -> None:
    one, two = modules()
    line = await make_line(one, two)
    entry = await make_entry(line.path, identity(one), options={"answer_timeout": 30})
    result = await reconfigure(hass, entry, "more_batteries")
    assert result["step_id"] == "found"
    assert result["data_schema"]({})["batteries"] == ["2"]
    result = await go_on(hass, result, {"batteries": ["2"]})
    assert result["reason"] == "reconfigure_successful"
    await hass.async_block_till_done()
    await first_round(hass, entry)
    assert hass.states.get("sensor.u27_12xp_104400462_voltage")
    assert not line.complaints


async def test_a_battery_with_a_new_address_is_found_again(
    hass: HomeAssistant, make_line: MakeLine, make_entry: MakeEntry
) -> None:
    one, _ = modules()
    line = await make_line(one)
    entry = await make_entry(
        line.path, identity(one, address=9), options={"answer_timeout": 30}
    )
    result = await reconfigure(hass, entry, "more_batteries")
    assert result["reason"] == "nothing_new"
    assert [b["address"] for b in entry.data["batteries"]] == [1]
    await hass.async_block_till_done()


async def test_a_bus_that_does_not_run_or_has_gone_is_not_searched(
    hass: HomeAssistant, make_line: MakeLine, make_entry: MakeEntry
) -> None:
    one, _ = modules()
    line = await make_line(one)
    entry = await make_entry(line.path, identity(one))
    line.unplug()
    result = await reconfigure(hass, entry, "more_batteries")
    assert result["reason"] in {"port_missing", "port_gone"}
    assert await hass.config_entries.async_unload(entry.entry_id)
    result = await reconfigure(hass, entry, "more_batteries")
    assert result["reason"] == "not_loaded"


async def test_cells_of_an_unknown_model_can_be_changed(
    hass: HomeAssistant, make_line: MakeLine, make_entry: MakeEntry
) -> None:
    one = VirtualModule(1, serial="104400461", model="Z", cells=6)
    line = await make_line(one)
    entry = await make_entry(line.path, identity(one, cells=4))
    assert not hass.states.get("sensor.xp_z_104400461_cell_6_voltage")
    result = await reconfigure(hass, entry, "cells_of_unknown")
    result = await go_on(hass, result, {"battery": "1", "cells": "6"})
    await hass.async_block_till_done()
    assert hass.states.get("sensor.xp_z_104400461_cell_6_voltage")


async def test_options_take_effect(
    hass: HomeAssistant, make_line: MakeLine, make_entry: MakeEntry
) -> None:
    one, _ = modules()
    one.current = 12.5
    line = await make_line(one)
    entry = await make_entry(line.path, identity(one))
    current = "sensor.u27_12xp_104400461_current"
    state = hass.states.get(current)
    assert state is not None
    assert float(state.state) == 12.5
    assert state.attributes["direction_confirmed"] is False
    result = await open_page(hass, entry, "general")
    given: dict[str, Any] = {
        "interval": 2,
        "invert_current": True,
        "current_confirmed": True,
        "timing": {
            "line": LineMode.TWO_STOP_BITS.value,
            "answer_timeout": 200,
            "turnaround": 1,
        },
    }
    result = await answer(hass, result, given)
    assert result["type"] is FlowResultType.CREATE_ENTRY
    await first_round(hass, entry)
    state = hass.states.get(current)
    assert state is not None
    assert float(state.state) == -12.5
    assert state.attributes["direction_confirmed"] is True
    coordinator = entry.runtime_data
    assert coordinator.update_interval.total_seconds() == 2
    assert coordinator.bus.timing.answer == 0.2
    assert str(coordinator.bus.line) == "115200 8N2"


async def test_general_options_keep_all_others(hass: HomeAssistant) -> None:
    former = {
        "interval": 30,
        # Of a bank that is not listened to any more.
        "mode": "ask",
        "limits": {"latch_all": True},
        "outputs": {"joined": "single"},
    }
    given = {
        "interval": 20,
        "invert_current": False,
        "current_confirmed": True,
        "timing": {"line": "mark", "answer_timeout": 200, "turnaround": 1},
    }
    with setups():
        entry = await make_bus(hass, options=former)
        result = await open_page(hass, entry, "general")
        await answer(hass, result, given)
    assert entry.options == former | {
        "interval": 20,
        "invert_current": False,
        "current_confirmed": True,
        "line": "mark",
        "answer_timeout": 200,
        "turnaround": 1,
    }


@pytest.mark.parametrize(
    ("options", "default", "slowest"),
    [
        ({}, 5, 300),
        ({"interval": 60}, 60, 300),
        ({"outputs": {"charge": {"relay": "r"}}}, 2, 5),
        ({"outputs": {"charge": {"relay": "r"}}, "interval": 60}, 5, 5),
    ],
)
async def test_a_bus_with_relays_is_read_often(
    hass: HomeAssistant, options: dict[str, Any], default: int, slowest: int
) -> None:
    with setups():
        entry = await make_bus(hass, options=options)
        result = await open_page(hass, entry, "general")
        interval = fields(result)["interval"]
        assert interval["default"] == default
        assert interval["selector"]["number"]["max"] == slowest
        with pytest.raises(InvalidData):
            await answer(hass, result, {"interval": slowest + 1, "timing": {}})


async def test_a_battery_is_removed_with_its_device(
    hass: HomeAssistant,
    hass_ws_client: WebSocketGenerator,
    make_line: MakeLine,
    make_entry: MakeEntry,
) -> None:
    assert await async_setup_component(hass, "config", {})
    one, two = modules()
    line = await make_line(one, two)
    entry = await make_entry(line.path, identity(one), identity(two))
    devices = dr.async_get(hass)
    client = await hass_ws_client(hass)

    bus = devices.async_get_device_by_identifier(
        (DOMAIN, entry.entry_id), entry.entry_id
    )
    assert bus is not None
    response = await client.remove_device(bus.id)
    assert not response["success"]

    battery = devices.async_get_device_by_identifier(
        (DOMAIN, "valence_104400462"), entry.entry_id
    )
    assert battery is not None
    assert battery.via_device_id == bus.id
    response = await client.remove_device(battery.id)
    assert response["success"]
    await hass.async_block_till_done()
    assert [b["address"] for b in entry.data["batteries"]] == [1]
    entities = er.async_entries_for_config_entry(er.async_get(hass), entry.entry_id)
    assert entities
    assert not [e for e in entities if "104400462" in e.entity_id]


async def test_two_batteries_that_traded_addresses_are_both_found(
    hass: HomeAssistant, make_line: MakeLine, make_entry: MakeEntry
) -> None:
    one, two = modules()
    line = await make_line(one, two)
    entry = await make_entry(
        line.path,
        identity(one, address=2),
        identity(two, address=1),
        options={"answer_timeout": 30},
    )
    result = await reconfigure(hass, entry, "more_batteries")
    assert result["reason"] == "nothing_new"
    assert {b["serial"]: b["address"] for b in entry.data["batteries"]} == {
        "104400461": 1,
        "104400462": 2,
    }
    await hass.async_block_till_done()


async def test_a_battery_without_serial_number_keeps_its_address(
    hass: HomeAssistant, make_line: MakeLine, make_entry: MakeEntry
) -> None:
    one, two = modules()
    one.serial = ""
    line = await make_line(one, two)
    entry = await make_entry(
        line.path,
        identity(one, serial=None, address=2),
        identity(two, address=1),
        options={"answer_timeout": 30},
    )
    # Its neighbour moved to 2, where one without a number is believed to be.
    result = await reconfigure(hass, entry, "more_batteries")
    assert result["step_id"] == "found"
    assert [b["address"] for b in entry.data["batteries"]] == [1, 2]


async def test_a_known_battery_without_serial_number_is_not_offered_again(
    hass: HomeAssistant, make_line: MakeLine, make_entry: MakeEntry
) -> None:
    one, two = modules()
    one.serial = ""
    line = await make_line(one, two)
    entry = await make_entry(
        line.path, identity(one, serial=None), options={"answer_timeout": 30}
    )
    result = await reconfigure(hass, entry, "more_batteries")
    assert result["data_schema"]({})["batteries"] == ["2"]


async def test_home_assistants_end_closes_the_port(
    hass: HomeAssistant, make_line: MakeLine, make_entry: MakeEntry
) -> None:
    one, _ = modules()
    line = await make_line(one)
    entry = await make_entry(line.path, identity(one))
    bus = entry.runtime_data.bus
    assert bus.is_open
    hass.bus.async_fire(EVENT_HOMEASSISTANT_STOP)
    await hass.async_block_till_done()
    assert not bus.is_open


async def test_the_port_that_the_entry_has_is_no_new_port(
    hass: HomeAssistant, make_line: MakeLine, make_entry: MakeEntry
) -> None:
    one, _ = modules()
    line = await make_line(one)
    entry = await make_entry(line.path, identity(one))
    result = await reconfigure(hass, entry, "new_port")
    result = await go_on(hass, result, {"device": line.path})
    assert result["errors"] == {"base": "port_used"}


async def test_a_battery_above_the_usual_addresses_is_found_on_its_new_port(
    hass: HomeAssistant, make_line: MakeLine, make_entry: MakeEntry
) -> None:
    one = VirtualModule(77, serial="104400461")
    old = await make_line(one)
    entry = await make_entry(old.path, identity(one))
    new = await make_line(VirtualModule(77, serial="104400461"))
    result = await reconfigure(hass, entry, "new_port")
    result = await go_on(hass, result, {"device": new.path})
    assert result["reason"] == "reconfigure_successful"
    await hass.async_block_till_done()


def test_batteries_keep_their_addresses_where_a_scan_would_put_two_on_one() -> None:
    def battery(address: int, serial: str | None) -> Identity:
        return identity(VirtualModule(address), address=address, serial=serial)

    known = [battery(1, "104400461"), battery(2, None), battery(3, "104400463")]
    entry = MockConfigEntry(domain=DOMAIN, data={"batteries": stored(known)})
    found = (battery(2, "104400461"), battery(5, "104400463"))
    result = ScanResult(found, ())
    assert _readdressed(entry, result) == known
    moved = _readdressed(entry, ScanResult(found[1:], ()))
    assert [i.address for i in moved] == [1, 2, 5]
