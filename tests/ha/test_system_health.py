"""What the page of system health tells of the buses."""

from __future__ import annotations

import asyncio
import json
from typing import Any
from unittest.mock import patch

from homeassistant.components.usb import SerialDevice
from homeassistant.core import HomeAssistant
from homeassistant.setup import async_setup_component
import pytest
from pytest_homeassistant_custom_component.common import (
    MockConfigEntry,
    get_system_health_info,
)
import serialx

from custom_components.openxpbms.batteries import stored
from custom_components.openxpbms.bms.frame import with_crc
from custom_components.openxpbms.bms.virtual.valence import VirtualModule
from custom_components.openxpbms.const import DOMAIN

from .conftest import MakeEntry, MakeLine, first_round, identity

SERIAL = "104400461"
INTRUSION = with_crc(bytes.fromhex("090300450009")) + b"\r\n"


@pytest.fixture
async def health(hass: HomeAssistant) -> Any:
    """Ask as the page does."""
    assert await async_setup_component(hass, "system_health", {})

    async def ask() -> dict[str, Any]:
        told: dict[str, Any] = await get_system_health_info(hass, DOMAIN)
        json.dumps(told)
        return told

    return ask


async def test_each_bus_tells_its_port_and_who_is_heard(
    health: Any, make_line: MakeLine, make_entry: MakeEntry
) -> None:
    one, two = VirtualModule(1, serial=SERIAL), VirtualModule(2, serial="104400462")
    two.silent = True
    line = await make_line(one, two)
    entry = await make_entry(line.path, identity(one), identity(two))
    told = await health()
    worst = entry.runtime_data.bus.counters_of(2).quality
    assert told == {
        "buses": 1,
        "1 Garage: port": "open",
        "1 Garage: batteries heard": "1 of 2",
        "1 Garage: worst link quality": f"{worst} %",
        "1 Garage: adapter hears itself": "no",
        "1 Garage: kept silent by": "nobody",
    }
    assert worst < 50
    assert SERIAL not in json.dumps(told)


async def test_an_adapter_that_hears_itself_is_told(
    health: Any, make_line: MakeLine, make_entry: MakeEntry
) -> None:
    module = VirtualModule(1)
    line = await make_line(module, echo=True)
    await make_entry(line.path, identity(module))
    told = await health()
    assert told["1 Garage: adapter hears itself"] == "yes, which does no harm"
    assert told["1 Garage: batteries heard"] == "1 of 1"


async def test_another_master_is_told_and_whether_its_silence_ends(
    health: Any, make_line: MakeLine, make_entry: MakeEntry
) -> None:
    module = VirtualModule(1)
    line = await make_line(module)
    entry = await make_entry(line.path, identity(module))
    watch = entry.runtime_data.bus.watch
    line.inject(INTRUSION)
    async with asyncio.timeout(10):
        while not watch.silent:
            await asyncio.sleep(0.01)
    told = await health()
    assert told["1 Garage: kept silent by"].startswith("another master, until a minute")
    for _ in range(2):
        heard = watch.foreign_frames
        with patch.object(watch, "_last", None):
            line.inject(INTRUSION)
            async with asyncio.timeout(10):
                while watch.foreign_frames == heard:
                    await asyncio.sleep(0.01)
    assert watch.held
    told = await health()
    assert told["1 Garage: kept silent by"].startswith("another master, until a person")


async def test_a_port_that_cannot_be_had_says_why_and_who_has_it(
    hass: HomeAssistant, health: Any, make_line: MakeLine, make_entry: MakeEntry
) -> None:
    module = VirtualModule(1)
    line = await make_line(module)
    _, other = await serialx.create_serial_connection(
        asyncio.get_running_loop(), asyncio.Protocol, line.path, baudrate=9600
    )
    del other
    entry = await make_entry(line.path, identity(module))
    told = await health()
    assert told["1 Garage: port"] == "in use by another program"
    assert "1 Garage: worst link quality" not in told
    consumer = MockConfigEntry(
        domain="modbus", title="Meter s/n 4711", data={"port": line.path}
    )
    consumer.add_to_hass(hass)
    port = SerialDevice(
        device=line.path,
        serial_number=None,
        manufacturer=None,
        description=None,
    )
    with (
        patch("homeassistant.components.usb.async_scan_serial_ports") as scan,
        patch(
            "homeassistant.components.usb.consumers.NON_USB_SERIAL_DOMAINS", ("modbus",)
        ),
    ):
        scan.return_value = [port]
        told = await health()
    assert told["1 Garage: port"] == "in use by modbus"
    assert await hass.config_entries.async_unload(entry.entry_id)
    told = await health()
    assert told == {"buses": 1, "1 Garage: port": "not set up"}


async def test_a_name_made_of_the_adapters_is_not_told(
    hass: HomeAssistant, health: Any
) -> None:
    entry = MockConfigEntry(
        domain=DOMAIN,
        title="Seplos V3 (FTDI_FT232R_A50285BI)",
        data={
            "device": "/dev/serial/by-id/usb-FTDI_FT232R_A50285BI-if00-port0",
            "family": "seplos",
            "mode": "listen",
            "batteries": stored([]),
        },
    )
    entry.add_to_hass(hass)
    assert await hass.config_entries.async_setup(entry.entry_id)
    await first_round(hass, entry)
    told = await health()
    assert told["1 Seplos V3: port"] == "does not exist"
    assert told["1 Seplos V3: kept silent by"] == "choice: it only listens"
    assert "A50285BI" not in json.dumps(told)
    await entry.runtime_data.async_shutdown()
    assert await hass.config_entries.async_unload(entry.entry_id)
