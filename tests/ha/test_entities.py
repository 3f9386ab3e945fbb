"""What Home Assistant shows is exactly what the modules were given."""

from __future__ import annotations

import asyncio
import logging
from typing import Any
from unittest.mock import patch

from homeassistant.config_entries import ConfigEntryState
from homeassistant.core import Event, EventStateChangedData, HomeAssistant
from homeassistant.helpers import device_registry as dr
from homeassistant.helpers import entity_registry as er
from homeassistant.helpers import issue_registry as ir
from homeassistant.setup import async_setup_component
import pytest

from custom_components.openxpbms.bms.frame import with_crc
from custom_components.openxpbms.bms.virtual.valence import VirtualModule
from custom_components.openxpbms.const import DOMAIN
from custom_components.openxpbms.protection_sensor import FOUND, SUMS

from .conftest import MakeEntry, MakeLine, first_round, identity

PREFIX = "u27_12xp_104400461"


def value(hass: HomeAssistant, entity_id: str) -> str:
    """Return a state that must exist."""
    state = hass.states.get(entity_id)
    assert state is not None, entity_id
    return state.state


def numbers(hass: HomeAssistant, prefix: str, *keys: str) -> list[float]:
    """Return several sensors of one battery."""
    return [float(value(hass, f"sensor.{prefix}_{key}")) for key in keys]


def module(**changes: Any) -> VirtualModule:
    """Return a module with values that are easy to tell apart."""
    one = VirtualModule(1, serial="104400461")
    one.cell_voltages = [3.279, 3.278, 3.280, 3.281]
    one.cell_temperatures = [-12.3, 20.0, 21.5, 22.75]
    one.pcb_temperature = 6.33
    one.current = -0.5
    one.soc = 98.4
    for name, given in changes.items():
        setattr(one, name, given)
    return one


async def test_revision_2_with_negative_current_and_temperature(
    hass: HomeAssistant, make_line: MakeLine, make_entry: MakeEntry
) -> None:
    one = module(balancing={2, 4})
    line = await make_line(one)
    await make_entry(line.path, identity(one))
    assert numbers(hass, PREFIX, "current", "state_of_charge") == [-0.5, 98.4]
    assert numbers(
        hass, PREFIX, *(f"cell_{cell}_voltage" for cell in range(1, 5))
    ) == pytest.approx([3.279, 3.278, 3.280, 3.281], abs=0)
    assert numbers(
        hass, PREFIX, *(f"cell_{cell}_temperature" for cell in range(1, 5))
    ) == [-12.3, 20.0, 21.5, 22.75]
    assert numbers(
        hass,
        PREFIX,
        "lowest_cell_voltage",
        "highest_cell_voltage",
        "mean_cell_voltage",
        "cell_voltage_delta",
        "lowest_cell",
        "highest_cell",
        "lowest_cell_temperature",
        "highest_cell_temperature",
        "pcb_temperature",
    ) == [3.278, 3.281, 3.2795, 0.003, 2, 4, -12.3, 22.75, 6.33]
    voltage, power = numbers(hass, PREFIX, "voltage", "power")
    assert voltage == round(sum(one.cell_voltages), 3)
    assert power == round(voltage * -0.5, 2)
    assert value(hass, f"binary_sensor.{PREFIX}_communication") == "on"
    balancing = hass.states.get(f"binary_sensor.{PREFIX}_balancing")
    assert balancing is not None
    assert (balancing.state, balancing.attributes["cells"]) == ("on", [2, 4])
    assert value(hass, f"binary_sensor.{PREFIX}_alarm") == "off"
    assert not hass.states.get(f"sensor.{PREFIX}_cell_5_voltage")
    assert not line.complaints


async def test_revision_1_with_six_cells(
    hass: HomeAssistant, make_line: MakeLine, make_entry: MakeEntry
) -> None:
    one = VirtualModule(18, serial="04711", model="V", revision=1, cells=6)
    one.cell_voltages = [3.3, 3.301, 3.302, 3.303, 3.304, 3.305]
    one.cell_temperatures = [10.0, 11.0, 12.0, 13.0, 14.0, -5.5]
    one.soc = 40.0
    one.current = 311.55
    one.balancing = {6}
    line = await make_line(one)
    await make_entry(line.path, identity(one))
    prefix = "uev_18xp_04711"
    assert numbers(hass, prefix, "cell_6_voltage", "cell_6_temperature", "current") == [
        3.305,
        -5.5,
        311.55,
    ]
    assert numbers(hass, prefix, "state_of_charge") == [40.0]
    # Its status bit stays 0 while it balances.
    assert value(hass, f"binary_sensor.{prefix}_balancing") == "on"
    registry = er.async_get(hass)
    assert registry.async_get(f"sensor.{prefix}_cycles")
    assert not registry.async_get(f"sensor.{prefix}_watt_hour_counter")
    assert not line.complaints


async def test_the_modules_own_alarms_are_named(
    hass: HomeAssistant, make_line: MakeLine, make_entry: MakeEntry
) -> None:
    one = module(status_flags=0x0009)
    line = await make_line(one)
    await make_entry(line.path, identity(one))
    alarm = hass.states.get(f"binary_sensor.{PREFIX}_alarm")
    assert alarm is not None
    assert alarm.state == "on"
    assert alarm.attributes["active"] == ["cell_voltage_high", "pcb_temperature_high"]


async def test_a_device_per_battery_under_the_bus(
    hass: HomeAssistant, make_line: MakeLine, make_entry: MakeEntry
) -> None:
    one = module()
    line = await make_line(one)
    entry = await make_entry(line.path, identity(one))
    devices = dr.async_get(hass)
    bus = devices.async_get_device_by_identifier(
        (DOMAIN, entry.entry_id), entry.entry_id
    )
    battery = devices.async_get_device_by_identifier(
        (DOMAIN, "valence_104400461"), entry.entry_id
    )
    assert bus is not None
    assert battery is not None
    assert (battery.serial_number, battery.model) == ("104400461", "U27-12XP")
    assert (battery.manufacturer, battery.name) == ("Valence", "U27-12XP 104400461")
    assert (battery.hw_version, battery.sw_version) == ("Rev 2", None)
    assert battery.via_device_id == bus.id


@pytest.mark.parametrize("serials", [(None, None), ("104400461", "104400461")])
async def test_missing_or_doubled_serials_fall_back_to_entry_and_address(
    hass: HomeAssistant,
    make_line: MakeLine,
    make_entry: MakeEntry,
    serials: tuple[str | None, str | None],
) -> None:
    one, two = module(), module(address=2)
    line = await make_line(one, two)
    entry = await make_entry(
        line.path,
        identity(one, serial=serials[0]),
        identity(two, serial=serials[1]),
    )
    keys = entry.runtime_data.keys
    assert keys == {1: f"{entry.entry_id}_1", 2: f"{entry.entry_id}_2"}


async def test_a_silent_battery_takes_only_its_own_values_and_comes_back(
    hass: HomeAssistant,
    make_line: MakeLine,
    make_entry: MakeEntry,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO)
    one, two = module(), VirtualModule(2, serial="104400462")
    line = await make_line(one, two)
    entry = await make_entry(line.path, identity(one), identity(two))
    coordinator = entry.runtime_data
    other = "u27_12xp_104400462"

    one.silent = True
    for _ in range(3):
        await coordinator.async_refresh()
    assert value(hass, f"sensor.{PREFIX}_voltage") == "unavailable"
    assert value(hass, f"binary_sensor.{PREFIX}_alarm") == "unavailable"
    communication = hass.states.get(f"binary_sensor.{PREFIX}_communication")
    assert communication is not None
    assert communication.state == "off"
    assert "did not answer" in communication.attributes["reason"]
    assert value(hass, f"binary_sensor.{other}_communication") == "on"
    assert numbers(hass, other, "voltage")
    assert caplog.text.count("battery 1 did not answer") == 1

    one.silent = False
    for _ in range(2):
        await coordinator.async_refresh()
    assert numbers(hass, PREFIX, "current") == [-0.5]
    assert value(hass, f"binary_sensor.{PREFIX}_communication") == "on"
    assert caplog.text.count("battery 1 answers again") == 1


async def test_another_battery_at_a_known_address_shows_nothing(
    hass: HomeAssistant, make_line: MakeLine, make_entry: MakeEntry
) -> None:
    one = module()
    line = await make_line(VirtualModule(1, serial="104449999"))
    await make_entry(line.path, identity(one))
    assert value(hass, f"sensor.{PREFIX}_voltage") == "unavailable"
    communication = hass.states.get(f"binary_sensor.{PREFIX}_communication")
    assert communication is not None
    assert "another battery" in communication.attributes["reason"]


async def test_a_set_up_entry_loads_without_its_port_and_recovers(
    hass: HomeAssistant,
    make_line: MakeLine,
    make_entry: MakeEntry,
    caplog: pytest.LogCaptureFixture,
    tmp_path: Any,
) -> None:
    one = module()
    link = tmp_path / "by-id"
    entry = await make_entry(str(link), identity(one))
    assert entry.state is ConfigEntryState.LOADED
    assert value(hass, f"sensor.{PREFIX}_voltage") == "unavailable"
    assert value(hass, f"binary_sensor.{PREFIX}_communication") == "off"
    coordinator = entry.runtime_data
    await coordinator.async_refresh()
    told = [record for record in caplog.records if record.levelname == "ERROR"]
    assert len(told) == 1
    assert f"{link} does not exist" in told[0].getMessage()

    line = await make_line(one, link=link)
    await coordinator.async_refresh()
    assert numbers(hass, PREFIX, "current") == [-0.5]

    line.unplug()
    await coordinator.async_refresh()
    assert value(hass, f"sensor.{PREFIX}_voltage") == "unavailable"
    await line.replug()
    await coordinator.async_refresh()
    assert numbers(hass, PREFIX, "current") == [-0.5]


async def test_states_are_written_only_when_they_change(
    hass: HomeAssistant, make_line: MakeLine, make_entry: MakeEntry
) -> None:
    one = module()
    line = await make_line(one)
    entry = await make_entry(line.path, identity(one))
    coordinator = entry.runtime_data
    with patch("homeassistant.helpers.entity.Entity._async_write_ha_state") as write:
        await coordinator.async_refresh()
        assert write.call_count == 0
        one.cell_voltages[0] = 3.280
        await coordinator.async_refresh()
        assert write.call_count == 1


async def test_another_master_silences_the_bus_until_told_or_gone(
    hass: HomeAssistant, make_line: MakeLine, make_entry: MakeEntry
) -> None:
    one = module()
    line = await make_line(one)
    entry = await make_entry(line.path, identity(one))
    coordinator = entry.runtime_data
    sent = line.bytes_received
    line.inject(with_crc(bytes.fromhex("090300450009")) + b"\r\n")
    async with asyncio.timeout(10):
        while not coordinator.bus.watch.silent:
            await asyncio.sleep(0.01)
    await coordinator.async_refresh()
    assert line.bytes_received == sent
    assert value(hass, f"sensor.{PREFIX}_voltage") == "unavailable"
    issues = ir.async_get(hass)
    issue = issues.async_get_issue(DOMAIN, f"foreign_master_{entry.entry_id}")
    assert issue is not None
    assert issue.translation_key == "foreign_master"
    coordinator.bus.watch.resume()
    await coordinator.async_refresh()
    assert numbers(hass, PREFIX, "current") == [-0.5]
    assert not issues.async_get_issue(DOMAIN, f"foreign_master_{entry.entry_id}")


async def test_slow_values_are_there_for_those_who_want_them(
    hass: HomeAssistant, make_line: MakeLine, make_entry: MakeEntry
) -> None:
    one = module(cycles=321)
    line = await make_line(one)
    entry = await make_entry(line.path, identity(one))
    registry = er.async_get(hass)
    for key in ("cycles", "link_quality", "reply_time", "watt_hour_counter"):
        entity_id = f"sensor.{PREFIX}_{key}"
        known = registry.async_get(entity_id)
        assert known is not None
        assert known.disabled_by is er.RegistryEntryDisabler.INTEGRATION
        registry.async_update_entity(entity_id, disabled_by=None)
    assert await hass.config_entries.async_reload(entry.entry_id)
    await first_round(hass, entry)
    assert numbers(hass, PREFIX, "cycles", "link_quality") == [321, 100.0]
    assert numbers(hass, PREFIX, "reply_time")[0] > 0
    one.silent = True
    await entry.runtime_data.async_refresh()
    assert value(hass, f"sensor.{PREFIX}_cycles") == "unavailable"
    assert numbers(hass, PREFIX, "link_quality")[0] < 100


async def test_slow_values_are_read_at_once_when_somebody_asks(
    hass: HomeAssistant, make_line: MakeLine, make_entry: MakeEntry
) -> None:
    assert await async_setup_component(hass, "homeassistant", {})
    one = module(cycles=321)
    line = await make_line(one)
    entry = await make_entry(line.path, identity(one))
    entity_id = f"sensor.{PREFIX}_cycles"
    er.async_get(hass).async_update_entity(entity_id, disabled_by=None)
    assert await hass.config_entries.async_reload(entry.entry_id)
    await first_round(hass, entry)
    one.cycles = 322
    await entry.runtime_data.async_refresh()
    assert numbers(hass, PREFIX, "cycles") == [321]
    await hass.services.async_call(
        "homeassistant", "update_entity", {"entity_id": entity_id}, blocking=True
    )
    assert numbers(hass, PREFIX, "cycles") == [322]


async def test_what_only_valence_has_is_there(
    hass: HomeAssistant, make_line: MakeLine, make_entry: MakeEntry
) -> None:
    one = module()
    line = await make_line(one)
    entry = await make_entry(line.path, identity(one))
    for key in ("current", "power"):
        state = hass.states.get(f"sensor.{PREFIX}_{key}")
        assert state is not None
        assert state.attributes["direction_confirmed"] is False
    known = er.async_entries_for_config_entry(er.async_get(hass), entry.entry_id)
    prefix = "valence_104400461_"
    keys = {
        item.unique_id.removeprefix(prefix)
        for item in known
        if item.unique_id.startswith(prefix)
    }
    assert {"pcb_temperature", "alarm", "energy", "reply_time"} <= keys
    assert not keys & {"mosfet_temperature", "operating_state", "voltage_alarm"}
    assert not [key for key in keys if key.startswith("parameter_")]
    protection = {each.key for each in (*FOUND, *SUMS)}
    protection |= {"protection_event", "reset_protection", "connection"}
    assert keys > protection
    # 13 of the battery, 4 cells twice, 22 slow ones, 2 of the link, 3 binary ones,
    # 3 of energy, 2 of the time left, 1 for the dashboard
    assert len(keys - protection) == 54


async def test_only_changes_reach_the_state_machine_in_a_quiet_round(
    hass: HomeAssistant, make_line: MakeLine, make_entry: MakeEntry
) -> None:
    one = module()
    line = await make_line(one)
    entry = await make_entry(line.path, identity(one))
    seen: list[Event[EventStateChangedData]] = []
    hass.bus.async_listen("state_changed", seen.append)
    one.current = -1.0
    await entry.runtime_data.async_refresh()
    await hass.async_block_till_done()
    assert {event.data["entity_id"] for event in seen} == {
        f"sensor.{PREFIX}_current",
        f"sensor.{PREFIX}_power",
    }
