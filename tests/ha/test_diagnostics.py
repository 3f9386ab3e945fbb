"""Diagnostics and repairs."""

from __future__ import annotations

import asyncio
import json
from typing import Any

from homeassistant.core import HomeAssistant
from homeassistant.helpers import device_registry as dr
from homeassistant.helpers import issue_registry as ir
from homeassistant.setup import async_setup_component
from pytest_homeassistant_custom_component.components.diagnostics import (
    get_diagnostics_for_config_entry,
    get_diagnostics_for_device,
)
from pytest_homeassistant_custom_component.typing import ClientSessionGenerator

from custom_components.openxpbms.bms.reading import Reading
from custom_components.openxpbms.bms.virtual.valence import VirtualModule
from custom_components.openxpbms.const import DOMAIN

from .conftest import MakeEntry, MakeLine, identity
from .guarding import a_person, guard_device, jumping_clock
from .writing import MakeBench, clock, make_bench

__all__ = ["clock", "make_bench"]

SERIAL = "104400461"


async def test_diagnostics_tell_everything_but_serial_numbers(
    hass: HomeAssistant,
    hass_client: ClientSessionGenerator,
    socket_enabled: None,
    make_line: MakeLine,
    make_entry: MakeEntry,
) -> None:
    assert await async_setup_component(hass, "diagnostics", {})
    one, two = VirtualModule(1, serial=SERIAL), VirtualModule(2, serial="104400462")
    line = await make_line(one, two)
    entry = await make_entry(line.path, identity(one), identity(two))
    data: Any = await get_diagnostics_for_config_entry(hass, hass_client, entry)
    text = json.dumps(data)
    assert SERIAL not in text
    assert "02 ac 01 cd" not in text
    assert len(data["batteries"]) == 2
    first = data["batteries"][0]
    assert len(first["identity"]["serial"]) == len(SERIAL)
    assert first["reading"]["cell_voltages"] == one.cell_voltages
    assert data["counters"]["answers"] == data["counters"]["exchanges"] > 0
    directions = {frame["direction"] for frame in data["frames"]}
    assert directions == {"sent", "received"}

    again: Any = await get_diagnostics_for_config_entry(hass, hass_client, entry)
    assert again["batteries"][0]["identity"] == first["identity"]

    device = dr.async_get(hass).async_get_device_by_identifier(
        (DOMAIN, f"valence_{SERIAL}"), entry.entry_id
    )
    assert device is not None
    single: Any = await get_diagnostics_for_device(hass, hass_client, entry, device)
    assert [b["identity"] for b in single["batteries"]] == [first["identity"]]


async def mend(hass: HomeAssistant, client: Any, issue_id: str) -> None:
    """Walk a repair to its end."""
    response = await client.post(
        "/api/repairs/issues/fix", json={"handler": DOMAIN, "issue_id": issue_id}
    )
    flow = await response.json()
    assert flow["step_id"] == "confirm"
    response = await client.post(f"/api/repairs/issues/fix/{flow['flow_id']}", json={})
    assert (await response.json())["type"] == "create_entry"
    await hass.async_block_till_done()


async def test_a_current_that_counts_the_wrong_way_can_be_inverted(
    hass: HomeAssistant,
    hass_client: ClientSessionGenerator,
    socket_enabled: None,
    make_line: MakeLine,
    make_entry: MakeEntry,
) -> None:
    assert await async_setup_component(hass, "repairs", {})
    one = VirtualModule(1, serial=SERIAL)
    line = await make_line(one)
    entry = await make_entry(line.path, identity(one))
    coordinator = entry.runtime_data
    battery = next(iter(coordinator))
    # A charge that the state of charge denies.
    for soc in (50.0, 49.0, 46.5):
        battery.reading = Reading(current=10.0, soc=soc)
        coordinator._watch_sign(battery)
    issue_id = f"current_sign_{entry.entry_id}"
    issues = ir.async_get(hass)
    assert issues.async_get_issue(DOMAIN, issue_id)
    await mend(hass, await hass_client(), issue_id)
    assert entry.options["invert_current"] is True
    assert not issues.async_get_issue(DOMAIN, issue_id)


async def test_a_person_can_have_the_bus_asked_again(
    hass: HomeAssistant,
    hass_client: ClientSessionGenerator,
    socket_enabled: None,
    make_line: MakeLine,
    make_entry: MakeEntry,
) -> None:
    assert await async_setup_component(hass, "repairs", {})
    one = VirtualModule(1, serial=SERIAL)
    line = await make_line(one)
    entry = await make_entry(line.path, identity(one))
    coordinator = entry.runtime_data
    for _ in range(3):  # the third time within a day only a person ends the silence
        coordinator.bus.watch._last = None
        coordinator.bus.watch._heard_foreign()
    await coordinator.async_refresh()
    issue_id = f"foreign_master_{entry.entry_id}"
    issue = ir.async_get(hass).async_get_issue(DOMAIN, issue_id)
    assert issue is not None
    assert issue.translation_key == "foreign_master_held"
    await mend(hass, await hass_client(), issue_id)
    await coordinator.async_refresh()
    assert not coordinator.bus.watch.silent
    assert coordinator.last_update_success


async def test_issues_go_with_their_entry(
    hass: HomeAssistant, make_line: MakeLine, make_entry: MakeEntry
) -> None:
    one = VirtualModule(1, serial=SERIAL)
    line = await make_line(one)
    entry = await make_entry(line.path, identity(one))
    entry.runtime_data.bus.watch._heard_foreign()
    await entry.runtime_data.async_refresh()
    assert ir.async_get(hass).issues
    assert await hass.config_entries.async_remove(entry.entry_id)
    assert not [key for key in ir.async_get(hass).issues if key[0] == DOMAIN]


async def test_a_current_put_right_in_the_options_takes_its_repair_away(
    hass: HomeAssistant, make_line: MakeLine, make_entry: MakeEntry
) -> None:
    one = VirtualModule(1, serial=SERIAL)
    line = await make_line(one)
    entry = await make_entry(line.path, identity(one), options={"interval": 300})
    coordinator = entry.runtime_data
    battery = next(iter(coordinator))
    for soc in (50.0, 46.5):
        battery.reading = Reading(current=10.0, soc=soc)
        coordinator._watch_sign(battery)
        await asyncio.sleep(0.01)
    assert ir.async_get(hass).async_get_issue(DOMAIN, f"current_sign_{entry.entry_id}")
    hass.config_entries.async_update_entry(entry, options={"invert_current": True})
    assert await hass.config_entries.async_reload(entry.entry_id)
    await hass.async_block_till_done()
    assert not [key for key in ir.async_get(hass).issues if key[0] == DOMAIN]


async def test_a_battery_without_serial_number_has_diagnostics_too(
    hass: HomeAssistant,
    hass_client: ClientSessionGenerator,
    socket_enabled: None,
    make_line: MakeLine,
    make_entry: MakeEntry,
) -> None:
    assert await async_setup_component(hass, "diagnostics", {})
    one = VirtualModule(1, serial="000000000")
    line = await make_line(one)
    entry = await make_entry(line.path, identity(one, serial=None))
    data: Any = await get_diagnostics_for_config_entry(hass, hass_client, entry)
    assert data["batteries"][0]["identity"]["serial"] is None
    assert data["batteries"][0]["reading"] is not None


async def test_writes_are_told_without_names_and_serial_numbers(
    hass: HomeAssistant,
    hass_client: ClientSessionGenerator,
    socket_enabled: None,
    make_bench: MakeBench,
) -> None:
    assert await async_setup_component(hass, "diagnostics", {})
    bench = await make_bench()
    offer = await bench.prepare()
    another = await a_person(hass)
    assert await bench.refused(bench.confirm(offer, by=another)) == "code_of_another"
    await bench.confirm(offer)
    data: Any = await get_diagnostics_for_config_entry(hass, hass_client, bench.entry)
    text = json.dumps(data)
    assert bench.pack.serial not in text
    assert "Somebody" not in text
    for person in (bench.person, another):
        assert person.user_id is not None
        assert person.user_id not in text
    records = data["writes"]["records"]
    assert [(each["step"], each["user"]) for each in records] == [
        ("prepared", 1),
        ("refused", 2),
        ("confirmed", 1),
        ("verified", 1),
    ]
    assert {(each["battery"], each["parameter"]) for each in records} == {
        (0, "battery_low_voltage_alarm")
    }
    assert (records[-1]["old"], records[-1]["new"], records[-1]["seen"]) == (
        *(46.4, 45.0),
        45.0,
    )
    factory = data["writes"]["at_first_contact"]
    assert factory["0"]["battery_low_voltage_alarm"] == 46.4


async def test_protection_is_told_without_serial_numbers(
    hass: HomeAssistant,
    hass_client: ClientSessionGenerator,
    socket_enabled: None,
    make_line: MakeLine,
) -> None:
    assert await async_setup_component(hass, "diagnostics", {})
    with jumping_clock() as clock:
        one = VirtualModule(1, serial=SERIAL)
        one.cell_voltages[0] = 4.0
        guarded = await guard_device(hass, make_line, clock, one)
        data: Any = await get_diagnostics_for_config_entry(
            hass, hass_client, guarded.entry
        )
    # Its relay is named by its serial number in the options.
    connections = guarded.entry.options["outputs"]["connections"]
    assert list(connections) == [f"valence_{SERIAL}"]
    assert SERIAL not in json.dumps(data)
    assert data["options"]["outputs"]["connections"] == {
        "1": connections[f"valence_{SERIAL}"]
    }
    protection = data["protection"]
    assert (protection["mode"], protection["storage"]) == ("armed", False)
    assert set(protection["wants"]) == {
        f"input_boolean.{name}" for name in ("charge", "load", "connection")
    }
    assert protection["limits"]["cell_over_voltage"]
    battery = protection["batteries"]["1"]
    assert battery["charge_allowed"] is False
    found = {finding["quantity"] for finding in battery["findings"]}
    assert "cell_over_voltage" in found
