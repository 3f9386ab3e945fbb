"""From the port to an entry, and every way that can fail."""

from __future__ import annotations

import asyncio
from dataclasses import replace
import errno
from typing import Any
from unittest.mock import patch

from homeassistant.components.usb.models import SerialDevice
from homeassistant.core import HomeAssistant
from homeassistant.data_entry_flow import FlowResultType
import pytest

from custom_components.openxpbms.bms.frame import with_crc
from custom_components.openxpbms.bms.virtual.device import Answer
from custom_components.openxpbms.bms.virtual.valence import VirtualModule
from custom_components.openxpbms.const import DOMAIN
from custom_components.openxpbms.search import port_users
from custom_components.openxpbms.words import entry_title

from .conftest import MakeEntry, MakeLine, go_on, identity, port_input, start_flow

FIRST = {"serial": "104400461"}
SECOND = {"serial": "104400462"}


async def test_a_scan_finds_the_modules_and_makes_an_entry(
    hass: HomeAssistant, make_line: MakeLine
) -> None:
    line = await make_line(
        VirtualModule(1, **FIRST),
        VirtualModule(3, serial="04711", model="V", revision=1, cells=6),
    )
    result = await start_flow(hass, "port")
    assert result["step_id"] == "port"
    result = await go_on(hass, result, port_input(line.path))
    assert result["step_id"] == "found"
    assert not result["description_placeholders"]
    assert result["data_schema"]({})["batteries"] == ["1", "3"]
    result = await go_on(hass, result, {"batteries": ["1", "3"]})
    assert result["type"] is FlowResultType.CREATE_ENTRY
    assert result["data"]["device"] == line.path
    assert result["data"]["line"] == "mark"
    found = [(b["serial"], b["model"], b["cells"]) for b in result["data"]["batteries"]]
    assert found == [("104400461", "U27-12XP", 4), ("04711", "UEV-18XP", 6)]
    assert not line.complaints
    await hass.async_block_till_done()


async def test_only_ticked_batteries_are_used(
    hass: HomeAssistant, make_line: MakeLine
) -> None:
    line = await make_line(VirtualModule(1, **FIRST), VirtualModule(2, **SECOND))
    result = await start_flow(hass, "port")
    result = await go_on(hass, result, port_input(line.path))
    result = await go_on(hass, result, {"batteries": []})
    assert result["errors"] == {"base": "none_ticked"}
    result = await go_on(hass, result, {"batteries": ["2"]})
    assert [b["address"] for b in result["data"]["batteries"]] == [2]


async def test_an_adapter_that_ignores_mark_is_read_with_two_stop_bits(
    hass: HomeAssistant, make_line: MakeLine
) -> None:
    line = await make_line(VirtualModule(1, **FIRST), ignores_mark=True)
    result = await start_flow(hass, "port")
    result = await go_on(hass, result, port_input(line.path))
    result = await go_on(hass, result, {"batteries": ["1"]})
    assert result["data"]["line"] == "two_stop_bits"


async def test_a_forced_line_setting_is_kept(
    hass: HomeAssistant, make_line: MakeLine
) -> None:
    line = await make_line(VirtualModule(1, **FIRST))
    result = await start_flow(hass, "port")
    result = await go_on(
        hass, result, port_input(line.path, line="two_stop_bits", addresses="1")
    )
    result = await go_on(hass, result, {"batteries": ["1"]})
    assert result["data"]["line"] == "two_stop_bits"
    assert result["options"] == {"line": "two_stop_bits"}


async def test_cells_of_an_unknown_model_are_asked(
    hass: HomeAssistant, make_line: MakeLine
) -> None:
    line = await make_line(
        VirtualModule(1, model="Z", cells=6, **FIRST),
        VirtualModule(2, model="Y", cells=4, **SECOND),
    )
    result = await start_flow(hass, "port")
    result = await go_on(hass, result, port_input(line.path))
    result = await go_on(hass, result, {"batteries": ["1", "2"]})
    assert result["step_id"] == "cells"
    assert result["data_schema"]({}) == {"cells": "6"}
    result = await go_on(hass, result, {"cells": "6"})
    assert result["data_schema"]({}) == {"cells": "4"}
    result = await go_on(hass, result, {"cells": "6"})
    assert [b["cells"] for b in result["data"]["batteries"]] == [6, 6]
    assert [b["model"] for b in result["data"]["batteries"]] == ["XP (Z)", "XP (Y)"]


async def test_the_demo_bus_needs_no_hardware(hass: HomeAssistant) -> None:
    result = await start_flow(hass, "demo")
    result = await go_on(hass, result, {"family": "valence", "modules": 2})
    assert result["step_id"] == "found"
    result = await go_on(hass, result, {"batteries": ["1", "2"]})
    assert result["title"] == "Demo bus (Valence XP)"
    assert result["data"]["device"] == "openxpbms-demo://valence?modules=2"
    await hass.async_block_till_done()
    entry = hass.config_entries.async_entries(DOMAIN)[0]
    assert await hass.config_entries.async_unload(entry.entry_id)


@pytest.mark.parametrize(
    ("text", "error"),
    [("one", "bad_addresses"), ("0", "bad_addresses"), ("9-3", "bad_addresses")],
)
async def test_addresses_that_make_no_sense_are_refused(
    hass: HomeAssistant, text: str, error: str
) -> None:
    result = await start_flow(hass, "port")
    result = await go_on(hass, result, port_input("/dev/null", text))
    assert result["errors"] == {"base": error}


async def test_a_byte_bridge_is_refused_before_it_is_opened(
    hass: HomeAssistant,
) -> None:
    result = await start_flow(hass, "port")
    for url in ("socket://192.0.2.1:4000", "tcp://192.0.2.1:4000"):
        result = await go_on(hass, result, port_input(url))
        assert result["errors"] == {"device": "fixed_speed"}
        assert result["description_placeholders"]["port"] == url


@pytest.mark.parametrize(
    ("error", "key"),
    [
        (PermissionError(errno.EACCES, "no"), "port_forbidden"),
        (OSError(errno.EBUSY, "locked"), "port_busy"),
        (OSError(errno.ENXIO, "gone"), "port_gone"),
        (OSError(errno.ENOTTY, "no tty"), "port_unusable"),
        (ValueError("malformed"), "port_unusable"),
    ],
)
async def test_a_port_that_cannot_be_opened_leads_back_with_its_reason(
    hass: HomeAssistant, error: Exception, key: str, tmp_path: Any
) -> None:
    path = tmp_path / "port"
    path.touch()
    result = await start_flow(hass, "port")
    with patch("serialx.create_serial_connection", side_effect=error):
        result = await go_on(hass, result, port_input(str(path)))
    assert result["step_id"] == "port"
    assert result["errors"] == {"base": key}
    assert result["description_placeholders"]["port"] == str(path)


async def test_a_missing_port_can_be_corrected(
    hass: HomeAssistant, make_line: MakeLine
) -> None:
    line = await make_line(VirtualModule(1, **FIRST))
    result = await start_flow(hass, "port")
    result = await go_on(hass, result, port_input("/dev/ttyNone"))
    assert result["errors"] == {"base": "port_missing"}
    result = await go_on(hass, result, port_input(line.path))
    assert result["step_id"] == "found"


async def test_a_busy_port_names_who_has_it(
    hass: HomeAssistant, make_line: MakeLine
) -> None:
    line = await make_line(VirtualModule(1, **FIRST))
    result = await start_flow(hass, "port")
    with (
        patch("serialx.create_serial_connection", side_effect=OSError(errno.EBUSY, "")),
        patch(
            "custom_components.openxpbms.search_flow.port_users", return_value=["ZHA"]
        ),
    ):
        result = await go_on(hass, result, port_input(line.path))
    assert result["errors"] == {"base": "port_busy_by"}
    assert result["description_placeholders"]["user"] == "ZHA"


async def test_a_port_of_another_entry_is_refused(
    hass: HomeAssistant, make_line: MakeLine, make_entry: MakeEntry, tmp_path: Any
) -> None:
    module = VirtualModule(1, **FIRST)
    line = await make_line(module)
    await make_entry(line.path, identity(module))
    alias = tmp_path / "alias"
    alias.symlink_to(line.path)
    result = await start_flow(hass, "port")
    for path in (line.path, str(alias)):
        result = await go_on(hass, result, port_input(path))
        assert result["errors"] == {"base": "port_used"}
        assert result["description_placeholders"]["entry"] == "Garage"


async def test_a_battery_of_another_entry_is_refused(
    hass: HomeAssistant, make_line: MakeLine, make_entry: MakeEntry
) -> None:
    module = VirtualModule(1, **FIRST)
    line = await make_line(module)
    await make_entry(line.path, identity(module))
    other = await make_line(VirtualModule(5, **FIRST), VirtualModule(6, **SECOND))
    result = await start_flow(hass, "port")
    result = await go_on(hass, result, port_input(other.path, "5-6"))
    assert result["data_schema"]({})["batteries"] == ["6"]
    result = await go_on(hass, result, {"batteries": ["5", "6"]})
    assert result["errors"] == {"base": "battery_elsewhere"}
    assert result["description_placeholders"]["entry"] == "Garage"
    result = await go_on(hass, result, {"batteries": ["6"]})
    assert result["type"] is FlowResultType.CREATE_ENTRY


async def test_another_master_is_heard_before_anything_is_sent(
    hass: HomeAssistant, make_line: MakeLine
) -> None:
    line = await make_line(VirtualModule(1, **FIRST))
    result = await start_flow(hass, "port")
    request = with_crc(bytes.fromhex("090300450009")) + b"\r\n"
    hass.loop.call_later(0.1, line.inject, request)
    result = await go_on(hass, result, port_input(line.path))
    assert result["step_id"] == "foreign"
    assert line.bytes_received == 0
    result = await go_on(hass, result, {"next_step_id": "listen_again"})
    assert result["step_id"] == "found"


async def test_noise_is_told_and_scanned_over_only_when_told(
    hass: HomeAssistant, make_line: MakeLine
) -> None:
    line = await make_line(VirtualModule(1, **FIRST))
    result = await start_flow(hass, "port")
    hass.loop.call_later(0.1, line.inject, b"\x55\xaa" * 8)
    result = await go_on(hass, result, port_input(line.path))
    assert result["step_id"] == "noise"
    assert line.bytes_received == 0
    result = await go_on(hass, result, {"next_step_id": "scan"})
    assert result["step_id"] == "found"


async def test_nothing_answered_and_then_something_does(
    hass: HomeAssistant, make_line: MakeLine
) -> None:
    module = VirtualModule(1, **FIRST)
    module.silent = True
    line = await make_line(module)
    result = await start_flow(hass, "port")
    result = await go_on(hass, result, port_input(line.path, "1"))
    assert result["step_id"] == "nothing"
    module.silent = False
    result = await go_on(hass, result, {"next_step_id": "scan_again"})
    assert result["step_id"] == "found"


async def test_garbled_answers_name_their_addresses(
    hass: HomeAssistant, make_line: MakeLine
) -> None:
    line = await make_line(VirtualModule(2, **FIRST), VirtualModule(2, **SECOND))
    line.faults.bit_errors = 0.2
    result = await start_flow(hass, "port")
    result = await go_on(hass, result, port_input(line.path, "2"))
    assert result["step_id"] == "garbled"
    assert result["description_placeholders"] == {"addresses": "2"}


class Garbling(VirtualModule):
    """A module whose answers all have a wrong checksum."""

    def hear(self, *told: Any, **how: Any) -> Answer | bool:
        """Answer like others, with one byte wrong."""
        answer = super().hear(*told, **how)
        if isinstance(answer, bool):
            return answer
        data = bytearray(answer.data)
        data[3] ^= 1
        return replace(answer, data=bytes(data))


async def test_garbled_answers_are_told_beside_what_was_found(
    hass: HomeAssistant, make_line: MakeLine
) -> None:
    line = await make_line(
        VirtualModule(1, **FIRST), Garbling(2, **SECOND), Garbling(3, serial="3")
    )
    result = await start_flow(hass, "port")
    result = await go_on(hass, result, port_input(line.path, "1-3"))
    assert result["step_id"] == "found_garbled"
    assert result["description_placeholders"] == {"garbled": "2, 3"}
    result = await go_on(hass, result, {"batteries": []})
    assert result["errors"] == {"base": "none_ticked"}
    assert result["step_id"] == "found_garbled"
    result = await go_on(hass, result, {"batteries": ["1"]})
    assert [b["address"] for b in result["data"]["batteries"]] == [1]


async def test_a_flow_closed_in_the_middle_frees_the_port(
    hass: HomeAssistant, make_line: MakeLine
) -> None:
    line = await make_line(VirtualModule(1, **FIRST))
    result = await start_flow(hass, "port")
    flow = hass.config_entries.flow
    result = await flow.async_configure(
        result["flow_id"], port_input(line.path, "1-99")
    )
    while result["step_id"] != "scan":
        await asyncio.sleep(0.05)
        result = await flow.async_configure(result["flow_id"])
    assert result["type"] is FlowResultType.SHOW_PROGRESS
    flow.async_abort(result["flow_id"])
    await hass.async_block_till_done()
    again = await start_flow(hass, "port")
    again = await go_on(hass, again, port_input(line.path))
    assert again["step_id"] == "found"


async def test_a_demo_bus_is_there_only_once_and_tells_its_failures(
    hass: HomeAssistant, make_entry: MakeEntry
) -> None:
    result = await start_flow(hass, "demo")
    choice = {"family": "valence", "modules": 1}
    with patch(
        "custom_components.openxpbms.bms.virtual.line.os.openpty",
        side_effect=OSError(errno.EMFILE, "too many files"),
    ):
        result = await go_on(hass, result, choice)
    assert result["step_id"] == "demo"
    assert result["errors"] == {"base": "port_unusable"}
    entry = await make_entry("openxpbms-demo://valence?modules=1")
    result = await go_on(hass, result, choice)
    assert result["errors"] == {"base": "port_used"}
    assert await hass.config_entries.async_unload(entry.entry_id)


async def test_a_master_that_begins_during_the_scan_ends_it(
    hass: HomeAssistant, make_line: MakeLine
) -> None:
    line = await make_line(VirtualModule(1, **FIRST))
    result = await start_flow(hass, "port")
    request = with_crc(bytes.fromhex("090300450009")) + b"\r\n"
    hass.loop.call_later(0.8, line.inject, request)
    result = await go_on(hass, result, port_input(line.path, "2-60"))
    assert result["step_id"] == "port"
    assert result["errors"] == {"base": "foreign_master"}


async def test_home_assistant_knows_who_uses_a_port(
    hass: HomeAssistant, make_entry: MakeEntry, tmp_path: Any
) -> None:
    entry = await make_entry("/dev/ttyGarage")
    port = SerialDevice(
        device="/dev/serial/by-id/usb-garage",
        resolved_device="/dev/ttyGarage",
        serial_number=None,
        manufacturer=None,
        description=None,
    )
    with patch("homeassistant.components.usb.async_scan_serial_ports") as scan:
        scan.return_value = [port]
        assert await port_users(hass, "/dev/ttyGarage") == ["Garage"]
        assert await port_users(hass, "/dev/ttyOther") == []
    assert await hass.config_entries.async_unload(entry.entry_id)


@pytest.mark.parametrize(
    ("url", "title"),
    [
        ("/dev/serial/by-id/usb-FTDI_USB_RS485_AB12-if00-port0", "FTDI_USB_RS485_AB12"),
        ("/dev/ttyUSB0", "ttyUSB0"),
        ("esphome://box.local/?key=secret", "esphome://box.local/"),
    ],
)
def test_an_entry_is_named_after_its_port(url: str, title: str) -> None:
    assert entry_title(url, "valence") == f"Valence XP ({title})"


@pytest.mark.parametrize(
    ("url", "title"),
    [
        ("openxpbms-demo://valence?modules=4", "Demo bus (Valence XP)"),
        ("openxpbms-demo://valence?mode=bank", "Demo bus (Valence XP bank)"),
        ("openxpbms-demo://valence?mode=string", "Demo bus (Valence XP string)"),
    ],
)
def test_a_demo_is_named_after_what_it_shows(url: str, title: str) -> None:
    assert entry_title(url, "valence") == title
