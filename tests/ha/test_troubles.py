"""Repairs for what a person can mend: raised after a while, gone when it is mended."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest.mock import patch

from homeassistant.components.usb import SerialDevice, USBDevice
from homeassistant.core import HomeAssistant
from homeassistant.helpers import issue_registry as ir
from homeassistant.setup import async_setup_component
import pytest
from pytest_homeassistant_custom_component.common import MockConfigEntry
from pytest_homeassistant_custom_component.typing import ClientSessionGenerator
import serialx

from custom_components.openxpbms.adapter import adapter_of
from custom_components.openxpbms.batteries import stored
from custom_components.openxpbms.bms.virtual.valence import VirtualModule
from custom_components.openxpbms.const import DOMAIN

from .conftest import MakeEntry, MakeLine, first_round, identity
from .guarding import Clock
from .test_diagnostics import mend

SCAN = "homeassistant.components.usb.async_scan_serial_ports"


@pytest.fixture
def clock() -> Iterator[Clock]:
    """Let time pass for troubles alone."""
    clock = Clock()
    with patch("custom_components.openxpbms.troubles.monotonic", clock):
        yield clock


def module(address: int = 1, **values: Any) -> VirtualModule:
    """Return a module that is awake, with a serial number of its own."""
    return VirtualModule(
        address, **{"serial": f"1044004{address:02}", "wake_time": 0.0} | values
    )


def told(hass: HomeAssistant) -> dict[str, str]:
    """Return the open issues' texts, by their ids without the entry's."""
    issues = ir.async_get(hass).issues.values()
    entries = [entry.entry_id for entry in hass.config_entries.async_entries(DOMAIN)]
    names = {}
    for issue in issues:
        name = issue.issue_id
        for entry_id in entries:
            name = name.replace(f"_{entry_id}", "")
        names[name] = issue.translation_key or ""
    return names


def details(hass: HomeAssistant) -> dict[str, str]:
    """Return the placeholders of the one issue."""
    [issue] = ir.async_get(hass).issues.values()
    return issue.translation_placeholders or {}


async def rounds(entry: MockConfigEntry, number: int = 1) -> None:
    """Ask the bus now."""
    for _ in range(number):
        await entry.runtime_data.async_refresh()


def usb(path: str, device: str, **values: Any) -> USBDevice:
    """Return an adapter as Home Assistant lists it."""
    known = {
        "vid": "0403",
        "pid": "6001",
        "serial_number": "A50285BI",
        "manufacturer": "FTDI",
        "description": "FT232R USB UART",
    }
    return USBDevice(device=device, resolved_device=path, **known | values)


async def test_a_port_that_stays_away_is_told_after_a_minute(
    hass: HomeAssistant,
    make_line: MakeLine,
    make_entry: MakeEntry,
    clock: Clock,
    tmp_path: Path,
) -> None:
    link, one = tmp_path / "adapter", module()
    line = await make_line(one, link=link)
    entry = await make_entry(str(link), identity(one))
    line.unplug()
    await rounds(entry, 2)
    clock.ahead = 59
    await rounds(entry)
    assert told(hass) == {}
    clock.ahead = 61
    await rounds(entry)
    assert told(hass) == {"port": "port_gone"}
    assert details(hass) == {"bus": "Garage", "port": str(link)}
    await line.replug()
    await rounds(entry, 2)
    assert told(hass) == {}
    line.unplug()  # the minute begins anew
    await rounds(entry, 2)
    assert told(hass) == {}


async def test_an_adapter_under_a_new_name_is_offered_and_taken(
    hass: HomeAssistant,
    hass_client: ClientSessionGenerator,
    socket_enabled: None,
    make_line: MakeLine,
    make_entry: MakeEntry,
    clock: Clock,
    tmp_path: Path,
) -> None:
    assert await async_setup_component(hass, "repairs", {})
    old, new, one = tmp_path / "ttyUSB0", tmp_path / "ttyUSB1", module()
    line = await make_line(one, link=old)
    with patch(SCAN) as scan:
        scan.return_value = [
            SerialDevice(
                device="/dev/ttyS0",
                serial_number=None,
                manufacturer=None,
                description=None,
            ),
            usb("/dev/other", "/dev/other", serial_number="B1"),
            usb(line.path, str(old)),
        ]
        entry = await make_entry(str(old), identity(one))
        await hass.async_block_till_done(wait_background_tasks=False)
        async with asyncio.timeout(20):
            while "adapter" not in entry.data:
                await asyncio.sleep(0.01)
        assert entry.data["adapter"]["serial_number"] == "A50285BI"
        line.unplug()
        line.link = new
        await line.replug()
        await rounds(entry, 2)
        clock.ahead = 61
        # Two that are just alike are not told apart, and not offered.
        scan.return_value = [usb("/dev/a", "/dev/a"), usb("/dev/b", "/dev/b")]
        await rounds(entry)
        assert told(hass) == {"port": "port_gone"}
        scan.return_value = [
            SerialDevice(
                device="/dev/ttyS0",
                serial_number="A50285BI",
                manufacturer="FTDI",
                description="FT232R USB UART",
            ),
            usb("/dev/other", "/dev/other", serial_number="B1"),
            usb(line.path, str(new)),
        ]
        clock.ahead = 65  # ports are not looked for in every round
        await rounds(entry)
        assert told(hass) == {"port": "port_gone"}
        clock.ahead = 72
        await rounds(entry)
        assert told(hass) == {"port": "port_moved"}
        assert details(hass)["found"] == str(new)
        [issue] = ir.async_get(hass).issues.values()
        await mend(hass, await hass_client(), issue.issue_id)
        await first_round(hass, entry)
        assert entry.data["device"] == str(new)
        assert entry.runtime_data.last_update_success
        assert told(hass) == {}


async def test_another_kind_of_port_is_no_adapter(
    hass: HomeAssistant,
    make_line: MakeLine,
    make_entry: MakeEntry,
) -> None:
    one = module()
    line = await make_line(one)
    entry = await make_entry(line.path, identity(one))
    with patch(SCAN) as scan:
        scan.return_value = [usb(line.path, "/dev/a")]
        await entry.runtime_data.troubles._note_adapter()
        assert "adapter" in entry.data
        scan.return_value = []
        await entry.runtime_data.troubles._note_adapter()
        assert "adapter" not in entry.data
        scan.return_value = [usb("socket://host:1", "socket://host:1")]
        assert await adapter_of(hass, "socket://host:1") is None


async def test_a_port_in_use_names_who_has_it(
    hass: HomeAssistant, make_line: MakeLine, make_entry: MakeEntry, clock: Clock
) -> None:
    one = module()
    line = await make_line(one)
    transport, _ = await serialx.create_serial_connection(
        asyncio.get_running_loop(), asyncio.Protocol, line.path, baudrate=9600
    )
    entry = await make_entry(line.path, identity(one))
    clock.ahead = 61
    await rounds(entry)
    assert told(hass) == {"port": "port_busy"}
    other = MockConfigEntry(domain="elkm1", title="Meter", data={"port": line.path})
    other.add_to_hass(hass)
    clock.ahead = 80
    with patch(SCAN) as scan:
        scan.return_value = [
            SerialDevice(
                device=line.path,
                serial_number=None,
                manufacturer=None,
                description=None,
            )
        ]
        await rounds(entry)
    assert told(hass) == {"port": "port_busy_by"}
    assert details(hass)["user"] == "Meter"
    transport.close()
    await transport.wait_closed()
    await rounds(entry)
    assert told(hass) == {}


async def test_looking_for_ports_may_take_too_long(
    hass: HomeAssistant, make_line: MakeLine, make_entry: MakeEntry, clock: Clock
) -> None:
    one = module()
    line = await make_line(one)
    entry = await make_entry(line.path, identity(one))
    await hass.async_block_till_done(wait_background_tasks=True)
    adapter = {"serial_number": "A50285BI"}
    data = {**entry.data, "adapter": adapter}
    hass.config_entries.async_update_entry(entry, data=data)
    looked = 0

    async def never(hass: HomeAssistant) -> Any:
        nonlocal looked
        looked += 1
        await asyncio.Event().wait()

    line.unplug()
    await rounds(entry, 2)
    clock.ahead = 61
    with (
        patch(SCAN, never),
        patch("custom_components.openxpbms.troubles.LOOK_FOR", 0.05),
    ):
        await rounds(entry)
    assert looked == 1
    assert told(hass) == {"port": "port_gone"}


async def test_a_remote_port_that_cannot_change_speed_is_told_at_once(
    hass: HomeAssistant, make_entry: MakeEntry
) -> None:
    entry = await make_entry("socket://127.0.0.1:1", identity(module()))
    assert told(hass) == {"port": "fixed_speed"}
    assert await hass.config_entries.async_remove(entry.entry_id)
    assert told(hass) == {}


async def test_another_battery_at_a_known_address_is_told(
    hass: HomeAssistant, make_line: MakeLine, make_entry: MakeEntry, clock: Clock
) -> None:
    one, two = module(1), module(2)
    line = await make_line(one, two)
    entry = await make_entry(line.path, identity(one), identity(two))
    right, one.serial = one.serial, "104499999"
    await rounds(entry)
    assert told(hass) == {}
    clock.ahead = 31
    await rounds(entry)
    assert told(hass) == {"another_battery_1": "another_battery"}
    assert details(hass) == {
        "bus": "Garage",
        "battery": f"U27-12XP {right}",
        "address": "1",
    }
    clock.ahead = 4000  # that it is silent for an hour is not told beside it
    await rounds(entry)
    assert told(hass) == {"another_battery_1": "another_battery"}
    one.serial = right
    await rounds(entry)
    assert told(hass) == {}


async def test_two_batteries_with_one_address_are_told_by_their_answers(
    hass: HomeAssistant, make_line: MakeLine, make_entry: MakeEntry, clock: Clock
) -> None:
    one, two = module(1), module(2)
    twin = module(2, serial="104499999", cell_voltages=[3.1] * 4, turnaround=0.05)
    twin.silent = True
    line = await make_line(one, two, twin, real_time=True)
    entry = await make_entry(line.path, identity(one), identity(two))
    counters = entry.runtime_data.bus.counters_of(2)
    twin.silent = False
    async with asyncio.timeout(60):
        while counters.second_answers < 3:
            await rounds(entry)
            await asyncio.sleep(0.3)
    await rounds(entry)
    assert told(hass).get("two_batteries_2") == "two_batteries"
    assert "two_batteries_1" not in told(hass)
    twin.silent = True
    async with asyncio.timeout(60):
        while next(b for b in entry.runtime_data if b.identity.address == 2).silent:
            await rounds(entry)
    assert "two_batteries_2" in told(hass)  # for a minute it must be alone
    clock.ahead += 61
    await rounds(entry)
    assert "two_batteries_2" not in told(hass)


async def test_a_battery_silent_for_an_hour_is_told(
    hass: HomeAssistant, make_line: MakeLine, make_entry: MakeEntry, clock: Clock
) -> None:
    one, two = module(1), module(2)
    line = await make_line(one, two)
    entry = await make_entry(
        line.path, identity(one), identity(two), options={"answer_timeout": 150}
    )
    two.silent = True
    await rounds(entry)
    clock.ahead = 3599
    await rounds(entry)
    assert told(hass) == {}
    clock.ahead = 3601
    await rounds(entry)
    assert told(hass) == {"silent_battery_2": "silent_battery"}
    line.unplug()  # what is not known now neither ends it nor begins it
    await rounds(entry, 2)
    assert told(hass) == {"silent_battery_2": "silent_battery"}
    await line.replug()
    two.silent = False
    entry.runtime_data.bus._port.url = entry.runtime_data.bus.url = line.path
    await rounds(entry, 2)
    assert told(hass) == {}


async def test_a_battery_that_is_taken_away_takes_its_troubles_with_it(
    hass: HomeAssistant, make_line: MakeLine, make_entry: MakeEntry, clock: Clock
) -> None:
    one, two = module(1), module(2)
    line = await make_line(one, two)
    entry = await make_entry(
        line.path, identity(one), identity(two), options={"answer_timeout": 150}
    )
    two.silent = True
    await rounds(entry)
    clock.ahead = 3601
    await rounds(entry)
    assert told(hass) == {"silent_battery_2": "silent_battery"}
    assert await hass.config_entries.async_reload(entry.entry_id)
    await first_round(hass, entry)
    assert told(hass) == {"silent_battery_2": "silent_battery"}  # it is still so
    data = {**entry.data, "batteries": stored([identity(one)])}
    hass.config_entries.async_update_entry(entry, data=data)
    assert await hass.config_entries.async_reload(entry.entry_id)
    await first_round(hass, entry)
    assert told(hass) == {}


async def test_a_weak_link_is_told_and_must_be_good_to_be_over(
    hass: HomeAssistant, make_line: MakeLine, make_entry: MakeEntry, clock: Clock
) -> None:
    one, two = module(1), module(2)
    line = await make_line(one, two)
    entry = await make_entry(line.path, identity(one), identity(two))
    outcomes = entry.runtime_data.bus.counters_of(2).outcomes

    async def after_a_round(good: int, at: float) -> dict[str, str]:
        clock.ahead = at
        await rounds(entry)
        outcomes.clear()
        outcomes.extend([True] * good + [False] * (100 - good))
        await entry.runtime_data.troubles.follow(None)
        return told(hass)

    assert await after_a_round(79, 0) == {}
    assert await after_a_round(81, 200) == {}  # not so any more
    assert await after_a_round(79, 301) == {}
    assert await after_a_round(79, 600) == {}
    assert await after_a_round(79, 602) == {"weak_link_2": "weak_link"}
    assert await after_a_round(94, 700) == {"weak_link_2": "weak_link"}
    assert await after_a_round(96, 710) == {}
    # One that is silent altogether has no weak link.
    two.silent = True
    assert await after_a_round(60, 800) == {}
    assert await after_a_round(10, 1200) == {}


async def test_trouble_with_troubles_keeps_no_round_from_being(
    hass: HomeAssistant,
    make_line: MakeLine,
    make_entry: MakeEntry,
    caplog: pytest.LogCaptureFixture,
) -> None:
    one = module()
    line = await make_line(one)
    entry = await make_entry(line.path, identity(one))
    with patch.object(entry.runtime_data.troubles, "_follow", side_effect=OSError("x")):
        await rounds(entry)
    assert entry.runtime_data.last_update_success
    assert "troubles cannot be told" in caplog.text
    caplog.clear()
