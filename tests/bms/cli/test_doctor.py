"""`openxpbms doctor`: what it finds on lines that are well, and on ill ones."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass, field
import json
import os
from pathlib import Path
import sys
from typing import Any

import pytest
import serialx

from custom_components.openxpbms.bms import listening
from custom_components.openxpbms.bms import port as port_module
from custom_components.openxpbms.bms.cli import bus_checks, port_checks
from custom_components.openxpbms.bms.cli.findings import Finding, Verdict
from custom_components.openxpbms.bms.cli.link import Link
from custom_components.openxpbms.bms.counters import Counters
from custom_components.openxpbms.bms.errors import AnotherBattery, NoAnswer
from custom_components.openxpbms.bms.family import ScanResult
from custom_components.openxpbms.bms.reading import Reading
from custom_components.openxpbms.bms.rounds import Battery, Rounds
from custom_components.openxpbms.bms.valence import SUMMARY, request
from custom_components.openxpbms.bms.virtual import (
    Answer,
    Faults,
    Settings,
    VirtualBank,
    VirtualLine,
    VirtualPack,
)

from ..conftest import MakeLine, MakeSeplos, identity, module, until
from .conftest import Run

LONG = 120
MODULES = ("-f", "valence", "-a", "1-2", "--questions", 10)


@dataclass
class Babbler:
    """Says the same again and again, whoever listens."""

    said: bytes
    settings: Settings
    interval: float = 0.05
    complaints: list[str] = field(default_factory=list)

    def hear(
        self, data: bytes, settings: Settings, now: float, *, lenient: bool
    ) -> bool:
        """Hear nothing."""
        return False

    def speak(self, now: float) -> Iterable[Answer]:
        """Say it."""
        return [Answer(self.said, 0.0)]


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch, quick: None) -> None:
    monkeypatch.setattr(bus_checks, "AT_REST", 0.5)
    monkeypatch.setattr(bus_checks, "_FOLLOWED", 1.0)


async def findings(run: Run, *words: Any) -> tuple[int, dict[str, dict[str, str]]]:
    """Return the exit code, and what was found by what was looked at."""
    result = await run("doctor", *words, "--json")
    assert result.stdout, result.stderr
    found = {each["check"]: each for each in json.loads(result.stdout)}
    return result.exit_code, found


async def test_where_all_is_well(make_line: MakeLine, run: Run) -> None:
    line = await make_line(module(1), module(2, serial="104400462"))
    result = await run("doctor", line.path, *MODULES)
    assert result.exit_code == 0
    rows = result.stdout.splitlines()
    checks = [row.split()[1] for row in rows[:9]]
    assert checks == [
        *("port", "adapter", "permission", "used", "open", "line", "at", "echo"),
        "battery",
    ]
    assert all(row.startswith("ok ") for row in rows[:10])
    assert "U27-12XP, serial 104400461, " in rows[8]
    assert rows[10:] == ["", "Nothing is wrong."]
    assert "Listening" in result.stderr
    assert not line.complaints


async def test_packs_that_are_asked_and_a_bank_that_is_not(
    make_line: MakeLine, run: Run
) -> None:
    line = await make_line(VirtualPack(0), echo=True)
    code, found = await findings(run, line.path, "-f", "seplos", "--questions", 5)
    assert code == 0
    assert found["line"]["says"] == "it takes 19200 8N1"
    assert found["echo"]["says"] == "the adapter hears itself, which does no harm"
    assert "serial SP57B-A0000000001" in found["battery 0"]["says"]

    bank = await make_line(VirtualBank([VirtualPack(), VirtualPack()]), real_time=True)
    for words in ((), ("--listen",)):
        code, found = await findings(run, bank.path, *words)
        assert code == 0
        assert found["at rest"]["says"] == "a Seplos bank talks by itself, packs 1, 2"
        assert found["battery 2"]["says"] == "Seplos V3, serial unknown, heard"
        assert "echo" not in found
    assert bank.bytes_received == 0


async def test_a_pack_of_a_bank_that_falls_silent(
    make_line: MakeLine, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listening, "HEARD_FOR", 2.0)
    monkeypatch.setattr(bus_checks, "_FOLLOWED", 5.0)
    packs = [VirtualPack(), VirtualPack()]
    line = await make_line(VirtualBank(packs), real_time=True)
    fine = bus_checks._read

    async def read(*what: Any) -> None:
        packs[1].silent = True
        await fine(*what)

    monkeypatch.setattr(bus_checks, "_read", read)
    code, found = await findings(run, line.path, "--listen")
    assert code == 4
    assert found["battery 1"]["verdict"] == "ok"
    assert "not heard any more" in found["battery 2"]["says"]


async def test_a_port_that_is_not_there(run: Run) -> None:
    code, found = await findings(run, "/dev/nothing")
    assert code == 3
    assert list(found) == ["port"]
    assert "No such file or directory" in found["port"]["says"]
    assert "plug the adapter in" in found["port"]["advice"]


async def test_what_is_no_port(run: Run, tmp_path: Path) -> None:
    code, found = await findings(run, tmp_path)
    assert code == 3
    assert found["port"]["says"] == f"{tmp_path} is no serial port"
    # Linux knows it as a character device, but nobody can set its speed.
    code, found = await findings(run, "/dev/full")
    assert code == 3
    assert list(found)[-1] == "open"
    assert found["adapter"]["says"] == "no USB adapter"


async def test_another_program_is_left_alone(make_line: MakeLine, run: Run) -> None:
    line = await make_line(module(1))
    code = f"import sys; port = open({line.path!r}); print(flush=True); input()"
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", code),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    assert process.stdout
    await process.stdout.readline()
    exit_code, found = await findings(run, line.path, *MODULES)
    await process.communicate(b"\n")
    assert exit_code == 3
    assert f"({process.pid}) has it open too" in found["used by"]["says"]
    assert list(found)[-1] == "used by"
    assert line.bytes_received == 0
    assert (await findings(run, line.path, *MODULES))[0] == 0


async def test_programs_that_cannot_be_looked_at(
    make_line: MakeLine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    line = await make_line()
    for number, opened in ((1, "/dev/ptmx"), (2, "/dev/null"), (4, "/dev/null")):
        (tmp_path / str(number) / "fd").mkdir(parents=True)
        (tmp_path / str(number) / "fd" / "0").symlink_to(opened)
        (tmp_path / str(number) / "fd" / "1").symlink_to(line.path)
    (tmp_path / "4" / "comm").write_text("picocom\n")
    (tmp_path / "3").mkdir()  # it has just ended
    (tmp_path / "self").mkdir()
    monkeypatch.setattr(port_checks, "_PROC", tmp_path)
    *_, used = port_checks.port_checks(line.path)
    assert used.says == "a program (2), picocom (4) has it open too"

    *_, used = port_checks.port_checks("/dev/full")
    assert used.says == "no other program has it open"

    def forbidden(self: Path) -> Any:
        raise PermissionError

    monkeypatch.setattr(Path, "readlink", forbidden)
    *_, used = port_checks.port_checks(line.path)
    unseen = (
        "no other program has it open, as far as can be seen: 3 may not be looked at"
    )
    assert used.says == unseen


async def test_adapters_have_makers_drivers_and_lasting_names(
    make_line: MakeLine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    line = await make_line()
    name = Path(line.path).name
    by_id, tty = tmp_path / "by-id", tmp_path / "tty" / name / "device"
    driver = tmp_path / "ftdi_sio"
    for folder in (tty, driver):
        folder.mkdir(parents=True)
    info: dict[str, Any] = dict.fromkeys(serialx.SerialPortInfo.__annotations__)
    info |= {"device": line.path, "resolved_device": line.path}
    usb = info | {"vid": 0x0403, "manufacturer": "FTDI", "product": "FT232R"}
    ports = [serialx.SerialPortInfo(**info)]
    monkeypatch.setattr(serialx, "list_serial_ports", lambda: ports)
    monkeypatch.setattr(port_checks, "_PSEUDO", "/nowhere")
    monkeypatch.setattr(port_checks, "_BY_ID", by_id)
    monkeypatch.setattr(port_checks, "_TTYS", tmp_path / "tty")

    def adapter(url: str = line.path) -> Finding:
        return list(port_checks.port_checks(url))[1]

    assert adapter().says == "no USB adapter"
    ports[0] = serialx.SerialPortInfo(**usb)
    (tty / "driver").symlink_to(driver)
    assert adapter().says == "FTDI FT232R, driver ftdi_sio"
    (tty / "latency_timer").write_text("16\n")
    by_id.mkdir()
    (by_id / "usb-other").symlink_to("/dev/null")
    held = "FTDI FT232R, driver ftdi_sio, holds answers back for up to 16 ms"
    assert adapter() == Finding("adapter", Verdict.OK, held)
    lasting = by_id / "usb-FTDI"
    lasting.symlink_to(line.path)
    assert adapter().verdict is Verdict.WARNING
    assert adapter().advice == f"use its lasting name: {lasting}"
    assert adapter(str(lasting)).says == held


async def test_no_permission(
    make_line: MakeLine, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    line = await make_line()
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    monkeypatch.setattr("getpass.getuser", lambda: "pi")
    code, found = await findings(run, line.path)
    assert code == 3
    told = found["permission"]
    assert ", and pi is not in it" in told["says"]
    assert told["advice"].startswith("`sudo usermod -aG ")
    assert told["advice"].endswith(" pi`, then log in anew")
    assert line.bytes_received == 0

    def nobody() -> str:
        raise OSError

    monkeypatch.setattr("getpass.getuser", nobody)
    [*_, told, _] = port_checks.port_checks(line.path)
    assert f"user {os.getuid()} is not in it" in told.says

    def unknown(number: int) -> Any:
        raise KeyError

    monkeypatch.setattr("grp.getgrgid", unknown)
    [*_, told, _] = port_checks.port_checks(line.path)
    assert told.says.startswith("it belongs to group ")


async def test_a_silent_line_and_a_garbling_one(make_line: MakeLine, run: Run) -> None:
    line = await make_line()
    code, found = await findings(run, line.path, "-a", "1")
    assert code == 4
    assert "not one byte came back" in found["batteries"]["says"]
    assert "Valence XP: swap A and B" in found["batteries"]["advice"]
    assert "Seplos V3: swap A and B" in found["batteries"]["advice"]
    assert found["echo"]["says"] == "the adapter does not hear itself"

    line = await make_line(VirtualPack(0), faults=Faults(truncated=1.0))
    code, found = await findings(run, line.path, "-f", "seplos", "-a", "0")
    assert code == 4
    assert "bytes came back" in found["batteries"]["says"]
    assert "Valence" not in found["batteries"]["advice"]


async def test_only_listening_where_nobody_talks(make_line: MakeLine, run: Run) -> None:
    line = await make_line(VirtualPack(0))
    code, found = await findings(run, line.path, "--listen")
    assert code == 4
    assert list(found)[-1] == "at rest"
    assert "leave --listen out" in found["at rest"]["advice"]
    assert line.bytes_received == 0


async def test_another_master_of_modules(make_line: MakeLine, run: Run) -> None:
    settings = Settings(115200, 11, ninth_bit=True)
    other = Babbler(request(1, SUMMARY).encoded, settings)
    line = await make_line(module(1), other, real_time=True)
    code, found = await findings(run, line.path, *MODULES)
    assert code == 5
    assert found["at rest"]["says"] == "another master talks"
    assert line.bytes_received == 0


async def test_noise(make_line: MakeLine, run: Run) -> None:
    other = Babbler(b"\x07" * 20, Settings(19200, 10, ninth_bit=False))
    line = await make_line(other, real_time=True)
    code, found = await findings(run, line.path)
    assert code == 1
    assert found["at rest"]["verdict"] == "warning"
    assert "bytes came that make no frame" in found["at rest"]["says"]
    assert "120 Ω" in found["batteries"]["advice"]
    assert line.bytes_received == 0


async def test_a_master_that_begins_to_talk_later(
    make_line: MakeLine, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = Settings(115200, 11, ninth_bit=True)
    other = Babbler(b"", settings)
    line = await make_line(module(1), module(2), other, real_time=True)

    async def begin() -> None:
        await until(lambda: len(line.frames) > 8, LONG)
        other.said = request(9, SUMMARY).encoded

    beginning = asyncio.create_task(begin())
    code, found = await findings(run, line.path, *MODULES[:-1], 100_000)
    await beginning
    assert code == 5
    assert "disconnect the other master" in found["batteries"]["advice"]


async def test_an_adapter_that_goes_meanwhile(make_line: MakeLine, run: Run) -> None:
    line = await make_line(module(1), module(2))

    async def unplug() -> None:
        await until(lambda: len(line.frames) > 30, LONG)
        line.unplug()

    unplugging = asyncio.create_task(unplug())
    code, found = await findings(run, line.path, *MODULES[:-1], 100_000)
    await unplugging
    assert code == 3
    assert found["batteries"]["verdict"] == "problem"


async def test_a_module_that_falls_silent_while_it_is_asked(
    make_line: MakeLine, run: Run
) -> None:
    silent = module(2, serial="104400461")
    line = await make_line(module(1), silent)

    async def fall_silent() -> None:
        await until(lambda: len(line.frames) > 15, LONG)
        silent.silent = True

    falling = asyncio.create_task(fall_silent())
    result = await run("doctor", line.path, *MODULES[:-1], 60)
    await falling
    assert result.exit_code == 4
    assert "problem  battery 2" in result.stdout
    assert "2 batteries tell the serial number 104400461" in result.stdout
    assert result.stdout.endswith("\n1 problem, 1 warning.\n")


@pytest.mark.parametrize(
    ("refused", "says", "family", "code"),
    [
        ({"M"}, "it takes no mark parity, but two stop bits", (), 0),
        ({"M", 2}, "it takes neither mark parity nor two stop bits", (), 0),
        ({"M", 2}, "it takes neither mark parity nor", ("-f", "valence"), 3),
        ({"M", 2}, "it takes 19200 8N1", ("-f", "seplos"), 0),
    ],
)
async def test_adapters_that_do_not_take_all_settings(
    make_line: MakeLine,
    run: Run,
    monkeypatch: pytest.MonkeyPatch,
    refused: set[object],
    says: str,
    family: tuple[str, ...],
    code: int,
) -> None:
    line = await make_line(VirtualPack(0))
    fine = port_module._reconfigure

    async def refuses(transport: Any, line: port_module.Line, *, pause: bool) -> None:
        if {line.parity.value, float(line.stopbits)} & refused:
            raise ValueError("not supported")
        await fine(transport, line, pause=pause)

    monkeypatch.setattr(port_module, "_reconfigure", refuses)
    exit_code, found = await findings(run, line.path, *family, "--questions", 3)
    assert exit_code == code
    assert found["line"]["says"].startswith(says)
    assert found["line"]["verdict"] == (
        "problem" if code else "ok" if "8N1" in says else "warning"
    )


async def test_modules_behind_an_adapter_without_mark_parity(
    make_line: MakeLine, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    line = await make_line(module(1), module(2))
    fine = port_module._reconfigure

    async def refuses(transport: Any, line: port_module.Line, *, pause: bool) -> None:
        if line.parity is serialx.Parity.MARK:
            raise ValueError("not supported")
        await fine(transport, line, pause=pause)

    monkeypatch.setattr(port_module, "_reconfigure", refuses)
    code, found = await findings(run, line.path, *MODULES)
    assert code == 0
    assert found["line"]["verdict"] == "warning"
    assert found["battery 2"]["verdict"] == "ok"


async def test_a_bridge_that_passes_bytes_only(run: Run, socket_enabled: None) -> None:
    async def accept(reader: asyncio.StreamReader, writer: Any) -> None:
        await reader.read()
        writer.close()

    server = await asyncio.start_server(accept, "127.0.0.1", 0)
    url = f"socket://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    code, found = await findings(run, url, "-f", "seplos", "-a", 0)
    assert code == 4
    assert "behind a network" in found["port"]["says"]
    assert found["line"]["verdict"] == "warning"
    assert "rfc2217" not in found["line"]["advice"]
    code, found = await findings(run, url, "-f", "valence")
    assert code == 3
    assert "rfc2217" in found["line"]["advice"]
    server.close()
    await server.wait_closed()
    code, found = await findings(run, url)
    assert code == 3
    assert "check its address" in found["open"]["advice"]


@pytest.mark.parametrize(
    ("told", "verdict", "advice", "says"),
    [
        ({"answers": 40}, "ok", "", "40 of 40 questions answered, 20 ms"),
        ({"answers": 40, "late": 2}, "warning", "--answer 1", "2 late"),
        ({"answers": 40, "doubtful": 1}, "warning", "--answer 1", "1 not asked"),
        ({"answers": 37, "timeouts": 3}, "warning", "loose contact", "3 silent"),
        ({"answers": 37, "crc_errors": 3}, "warning", "120 Ω", "wrong checksum"),
        ({"answers": 20, "garbled": 20}, "problem", "120 Ω", "20 garbled"),
        ({"answers": 40, "second_answers": 1}, "problem", "this address", "twice"),
    ],
)
def test_how_well_a_battery_answers(
    told: dict[str, int], verdict: str, advice: str, says: str
) -> None:
    counters = Counters(exchanges=40, **told)
    counters.outcomes.extend(n < told["answers"] for n in range(40))
    counters.reply_times.extend([0.02] * told["answers"])
    battery = Battery(identity(module(1)), reading=Reading())
    found = bus_checks._battery(battery, counters, listens=False)
    assert found.verdict == verdict
    assert advice in found.advice
    assert says in found.says


def test_what_keeps_a_battery_from_being_read() -> None:
    counters = Counters(exchanges=40, answers=40)
    counters.outcomes.extend([True] * 40)
    battery = Battery(identity(module(1)))
    battery.error = NoAnswer("battery 1 did not answer", address="1")
    found = bus_checks._battery(battery, counters, listens=False)
    assert found.verdict is Verdict.PROBLEM
    battery.error = AnotherBattery("another one", address="1")
    found = bus_checks._battery(battery, counters, listens=False)
    assert "two batteries have this address" in found.advice
    # One that was never asked.
    found = bus_checks._battery(battery, Counters(), listens=False)
    assert "0 of 0 questions answered" in found.says


async def test_garbled_answers_of_a_search(
    make_seplos: MakeSeplos, make_line: MakeLine
) -> None:
    family = await make_seplos(await make_line())
    link = Link("seplos", family, Rounds(family, ()), ScanResult((), (3,)))
    [found] = bus_checks._found(link)
    assert found.verdict is Verdict.WARNING
    assert found.says == "something answered at address 3, but garbled"


async def test_two_modules_with_one_address(make_line: MakeLine, run: Run) -> None:
    twins = [module(1), module(1, serial="104400499", soc=33.0)]
    line: VirtualLine = await make_line(module(2), *twins, real_time=True)
    code, found = await findings(run, line.path, *MODULES)
    assert code in (0, 1, 4)
    assert found["battery 2"]["verdict"] == "ok"
    seen = {name: each for name, each in found.items() if name != "battery 2"}
    assert {"warning", "problem"} & {each["verdict"] for each in seen.values()}
