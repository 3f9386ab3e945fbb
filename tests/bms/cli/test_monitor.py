"""`openxpbms monitor`: the frames of real pseudo-terminals, in words."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
import json
import os
import re
import signal
import threading
import time

import pytest
from typer.testing import CliRunner

from custom_components.openxpbms.bms import rounds
from custom_components.openxpbms.bms.bus import Bus
from custom_components.openxpbms.bms.cli import monitor, tap
from custom_components.openxpbms.bms.cli.app import app
from custom_components.openxpbms.bms.cli.tap import Tap
from custom_components.openxpbms.bms.decoded import Decoded
from custom_components.openxpbms.bms.errors import GarbledAnswer
from custom_components.openxpbms.bms.seplos import LINE
from custom_components.openxpbms.bms.seplos_tables import PIA, PIB
from custom_components.openxpbms.bms.virtual import VirtualBank, VirtualPack
from custom_components.openxpbms.bms.virtual.seplos import Intruder

from ..conftest import MakeLine, module, until
from .conftest import Run, Start

LONG = 120
ROW = re.compile(r"\d\d:\d\d:\d\d\.\d{3}  (sent|received|heard)  +(\d* )? *\S")


async def test_questions_and_answers_are_told_with_their_times(
    make_line: MakeLine, run: Run, quick: None
) -> None:
    line = await make_line(module(1), module(2, revision=1, model="1", serial="00461"))
    words = ("-f", "valence", "-a", "1-2", "--interval", 0.05)
    result = await run("monitor", line.path, *words, "--seconds", 8)
    assert (result.exit_code, result.stderr) == (0, "")
    rows = result.stdout.splitlines()
    assert all(ROW.match(row) for row in rows)
    assert sorted(row[:12] for row in rows) == [row[:12] for row in rows]
    assert "wakes all modules: 00 00 01 01 c0 74 0d 0a 00 00" in rows[0]
    assert "sent       1  asks for model and revision" in rows[1]
    assert "received   1  tells model and revision: model_code 55" in rows[2]
    assert any("cell_voltages 3.3 3.301 3.302 3.303" in row for row in rows)
    assert any(row.endswith("status 0") for row in rows)
    # What the search has found makes its serial number.
    assert any("received   2" in row and "serial 00461" in row for row in rows)
    assert not line.complaints


async def test_json_and_bytes(make_line: MakeLine, run: Run, quick: None) -> None:
    line = await make_line(VirtualPack(0))
    words = ("monitor", line.path, "-f", "seplos", "-a", 0, "--seconds", 6)
    result = await run(*words, "--json")
    told = [json.loads(row) for row in result.stdout.splitlines()]
    assert {each["direction"] for each in told} == {"sent", "received"}
    [first, *_] = (t for t in told if t["says"] == "tells values of the pack")
    assert (first["address"], first["values"]["soc"]) == (0, 50.0)
    assert first["data"].startswith("00 04 24")
    result = await run(*words, "--raw")
    rows = result.stdout.splitlines()
    assert ROW.match(rows[0])
    assert bytes.fromhex(rows[1])[:2] == b"\x00\x04"


async def test_a_bank_is_listened_to(
    make_line: MakeLine, run: Run, quick: None
) -> None:
    bank = VirtualBank([VirtualPack(), VirtualPack()])
    line = await make_line(bank, real_time=True)
    for words in ((), ("--listen",)):
        result = await run("monitor", line.path, *words, "--seconds", 5)
        assert (result.exit_code, result.stderr) == (0, "")
        rows = result.stdout.splitlines()
        assert any("heard      2  asks for values of the pack" in row for row in rows)
        assert any("heard      1  tells cell voltages" in row for row in rows)
    assert line.bytes_received == 0


async def test_where_another_master_talks_nothing_more_is_sent(
    make_line: MakeLine, run: Run, quick: None
) -> None:
    intruder = Intruder([VirtualPack(1)], talking=False)
    line = await make_line(VirtualPack(0), intruder, real_time=True)
    words = ("-f", "seplos", "-a", 0, "--interval", 0.05, "--seconds", 12)
    running = asyncio.create_task(run("monitor", line.path, *words))
    await until(lambda: len(line.frames) > 5, LONG)
    intruder.talking = True
    await asyncio.sleep(1.5)
    sent = line.bytes_received
    result = await running
    assert result.exit_code == 0
    assert line.bytes_received == sent
    assert "another master talks" in result.stderr
    assert "from now on nothing is sent" in result.stderr
    last = result.stdout.splitlines()[-3:]
    assert all("  heard" in row for row in last)


async def test_an_adapter_that_goes_ends_it(
    make_line: MakeLine, run: Run, quick: None
) -> None:
    line = await make_line(VirtualPack(0))
    running = asyncio.create_task(
        run("monitor", line.path, "-f", "seplos", "-a", 0, "--interval", 0.05)
    )
    await until(lambda: len(line.frames) > 5, LONG)
    line.unplug()
    result = await running
    assert result.exit_code == 3
    assert result.stderr.count("\n") == 1


async def test_a_round_that_fails_is_told_and_the_next_one_comes(
    make_line: MakeLine, run: Run, quick: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    line = await make_line(VirtualPack(0))
    fine = rounds.Rounds.round
    failed: list[bool] = []

    async def fails_once(self: rounds.Rounds) -> None:
        if not failed:
            failed.append(True)
            raise GarbledAnswer("the line does not become quiet", address="-")
        await fine(self)

    monkeypatch.setattr(rounds.Rounds, "round", fails_once)
    words = ("-f", "seplos", "-a", 0, "--interval", 0.05, "--seconds", 6)
    result = await run("monitor", line.path, *words)
    assert result.stderr == "the line does not become quiet\n"
    assert "tells values of the pack" in result.stdout


async def test_nothing_found_is_told_after_all_that_was_sent(
    make_line: MakeLine, run: Run, quick: None
) -> None:
    line = await make_line()
    result = await run("monitor", line.path, "-f", "seplos", "-a", "3", "--raw")
    assert result.exit_code == 4
    [row, data] = result.stdout.splitlines()
    assert "sent       3  asks for maker, model and serial numbers" in row
    assert data.split()[:2] == ["03", "04"]


def test_ctrl_c_ends_it_well(quick: None) -> None:
    """In the main thread, where Ctrl-C arrives."""

    def press() -> None:
        time.sleep(3)
        os.kill(os.getpid(), signal.SIGINT)

    thread = threading.Thread(target=press)
    thread.start()
    result = CliRunner().invoke(app, ["monitor", "openxpbms-demo://seplos", "-a", "0"])
    thread.join()
    assert result.exit_code == 0


async def test_a_process_of_its_own_ends_with_a_closed_pipe(start: Start) -> None:
    process = await start("monitor", "openxpbms-demo://seplos?packs=2&mode=bank")
    assert process.stdout
    async with asyncio.timeout(LONG):
        assert b"heard" in await process.stdout.readline()
        process.send_signal(signal.SIGINT)
        _, err = await process.communicate()
    assert (process.returncode, err) == (0, b"")


def tapped() -> tuple[Tap, Bus, list[Decoded], Callable[[bytes], None]]:
    """Return a tap on a bus, what it tells, and what puts stray bytes on the bus."""
    told: list[Decoded] = []
    bus = Bus("/dev/null")
    follower = Tap(told.append)
    follower.follow(bus, "seplos")
    return follower, bus, told, lambda data: bus.trace.add("stray", data, str(LINE))


def test_a_frame_that_comes_in_pieces_is_told_when_it_is_whole() -> None:
    follower, _, told, hear = tapped()
    asked = PIA.request(3).encoded
    hear(b"\xff" + asked[:3])
    follower.look()
    assert not told
    hear(asked[3:] + asked[:2])
    follower.look()
    assert [each.data for each in told] == [b"\xff", asked]
    follower.look()
    hear(asked[2:])
    follower.look()
    assert [each.data for each in told] == [b"\xff", asked, asked]
    assert told[1].time < told[2].time


def test_what_makes_no_frame_is_told_when_it_becomes_quiet(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    follower, _, told, hear = tapped()
    hear(b"\x01\x02")
    follower.look()
    assert not told
    monkeypatch.setattr(tap, "_QUIET", -1.0)
    follower.look()
    assert [(each.data, each.says) for each in told] == [(b"\1\2", "no valid frame")]


def test_more_noise_than_any_frame_is_told_at_once() -> None:
    follower, _, told, hear = tapped()
    hear(bytes(range(1, 255)) * 2)
    follower.look()
    assert sum(len(each.data) for each in told) == 508 - 300
    follower.close()
    assert b"".join(each.data for each in told) == bytes(range(1, 255)) * 2


def test_what_is_sent_ends_what_was_heard() -> None:
    follower, bus, told, hear = tapped()
    hear(b"\x01\x02")
    bus.trace.add("sent", PIB.request(1).encoded, str(LINE))
    follower.look()
    assert [each.direction for each in told] == ["heard", "sent"]
    # The next bus begins anew.
    hear(b"\x05")
    follower.follow(Bus("/dev/zero"), "valence")
    assert told[-1].data == b"\x05"
    hear(b"\x06")
    follower.close()
    assert len(told) == 3


async def test_a_bus_that_is_unplugged_while_it_is_only_heard(
    make_line: MakeLine, run: Run
) -> None:
    line = await make_line(VirtualBank([VirtualPack(), VirtualPack()]), real_time=True)
    running = asyncio.create_task(run("monitor", line.path, "--listen"))
    await asyncio.sleep(3)
    line.unplug()
    result = await running
    assert result.exit_code == 3
    assert "heard" in result.stdout


def test_values_are_short_and_have_units() -> None:
    decoded = Decoded(
        time=0.0,
        direction="heard",
        says="tells",
        data=b"\1",
        line="",
        address=1,
        values={"soc": 94.11764705882354, "alarms": (), "cell_voltages": (3.3, 3.301)},
    )
    text = monitor.told(decoded, raw=False)
    assert text.endswith(
        "1  tells: soc 94.11765 %, alarms none, cell_voltages 3.3 3.301 V"
    )
