"""`openxpbms record` and `replay`: what was recorded answers once more."""

from __future__ import annotations

import asyncio
import json
import os
from pathlib import Path
import signal
import threading
import time
from typing import Any

import pytest
from typer.testing import CliRunner

from custom_components.openxpbms.bms import rounds
from custom_components.openxpbms.bms.cli.app import app
from custom_components.openxpbms.bms.errors import GarbledAnswer
from custom_components.openxpbms.bms.virtual import VirtualBank, VirtualPack
from custom_components.openxpbms.bms.virtual.replay import read_download

from ..conftest import MakeLine, module, until
from .conftest import Run, Start
from .test_simulate import interrupted, port_of

SERIALS = ("104410461", "104410462")
LONG = 120


def told(file: Path) -> Any:
    """Return what is in a recording."""
    return json.loads(file.read_text("utf-8"))["data"]


def files(folder: Path, pattern: str = "*") -> list[Path]:
    """Return what is in a folder."""
    return list(folder.glob(pattern))


async def test_modules_answer_once_more(
    make_line: MakeLine, run: Run, quick: None, tmp_path: Path
) -> None:
    modules = [module(n, serial=serial) for n, serial in enumerate(SERIALS, 1)]
    line = await make_line(*modules)
    file = tmp_path / "bus.json"
    words = (line.path, file, "-f", "valence", "-a", "1-2", "--interval", 0.05)
    recording = asyncio.create_task(
        run("record", *words, "--seconds", 3, "--line", "two_stop_bits")
    )
    await until(lambda: len(line.frames) > 20, LONG)
    modules[1].soc = 77.0
    result = await recording
    assert result.exit_code == 0, result.stderr
    assert result.stdout == ""
    data = told(file)
    assert f"{len(data['frames'])} frames are in {file}." in result.stderr
    assert data["entry"] == {
        "device": line.path,
        "family": "valence",
        "line": "two_stop_bits",
    }
    assert data["asks"]
    assert not any(serial in json.dumps(data) for serial in SERIALS)
    assert [b["reading"]["soc"] for b in data["batteries"]] == [80.0, 77.0]
    assert not files(tmp_path, ".bus*")

    result = await run("replay", file, "--read")
    assert result.exit_code == 0
    assert "soc: 77.0" in result.stdout
    assert "!" not in result.stdout
    assert "wrong" not in result.stdout


async def test_serial_numbers_stay_where_they_are_wanted(
    make_line: MakeLine, run: Run, quick: None, tmp_path: Path
) -> None:
    line = await make_line(VirtualPack(0, serial="SP57B-A0000077001"))
    file = tmp_path / "bus.json"
    words = ("-f", "seplos", "-a", 0, "--seconds", 1, "--divisor", "10")
    for more in ((), ("--serial-numbers",)):
        result = await run("record", line.path, file, *words, *more)
        assert result.exit_code == 0, result.stderr
        [battery] = told(file)["batteries"]
        wanted = battery["identity"]["serial"] == "SP57B-A0000077001"
        assert wanted is bool(more)
        frames = bytes.fromhex("".join(f["data"] for f in told(file)["frames"]))
        assert (b"0000077001" in frames) is bool(more)
    assert told(file)["entry"]["mode"] == "ask"
    assert told(file)["options"]["current_scale"] == "tenths"
    assert (await run("replay", file, "--read")).exit_code == 0


async def test_a_bank_talks_once_more(
    make_line: MakeLine, run: Run, quick: None, tmp_path: Path
) -> None:
    packs = [VirtualPack(soc=40.0), VirtualPack(soc=60.0)]
    line = await make_line(VirtualBank(packs), real_time=True)
    file = tmp_path / "bank.json"
    result = await run("record", line.path, file, "--seconds", 3)
    assert result.exit_code == 0, result.stderr
    data = told(file)
    assert not data["asks"]
    assert data["entry"]["mode"] == "listen"
    recording = read_download(data)
    # Every frame by itself, at its own time.
    assert len({frame.time for frame in recording.frames}) > 20
    assert sum(len(frame.data) == 8 for frame in recording.frames) > 10
    result = await run("replay", file, "--read")
    assert result.exit_code == 0
    assert "soc: 40.0" in result.stdout
    assert "soc: 60.0" in result.stdout
    assert "!" not in result.stdout


async def test_a_replay_is_read_by_another_process(
    make_line: MakeLine, run: Run, start: Start, quick: None, tmp_path: Path
) -> None:
    line = await make_line(module(1, soc=61.5))
    file, link = tmp_path / "bus.json", tmp_path / "battery"
    words = ("-f", "valence", "-a", 1)
    await run("record", line.path, file, *words, "--seconds", 2)
    playing = await start("replay", file, "--link", link)
    port = await port_of(playing)
    assert port == str(link)
    reading = await start("read", port, *words, "--json")
    async with asyncio.timeout(LONG):
        out, err = await reading.communicate()
    assert reading.returncode == 0, err
    assert b"61.5" in out
    # Nobody recorded what address 9 says.
    asking = await start("read", port, "-f", "valence", "-a", 9)
    async with asyncio.timeout(LONG):
        await asking.communicate()
    assert asking.returncode == 4
    said = await interrupted(playing)
    assert f"In another terminal: openxpbms monitor {link}" in said
    assert "wrong: nothing was recorded for 09 03" in said


async def test_a_search_that_finds_nothing_is_recorded(
    make_line: MakeLine, run: Run, quick: None, tmp_path: Path
) -> None:
    line = await make_line()
    file = tmp_path / "bus.json"
    result = await run("record", line.path, file, "-f", "valence", "-a", "7")
    assert result.exit_code == 4
    data = told(file)
    assert data["batteries"] == []
    assert data["entry"]["line"] == "mark"
    assert data["frames"][0]["data"].startswith("00 00 01 01")


async def test_without_a_port_there_is_no_file(run: Run, tmp_path: Path) -> None:
    file = tmp_path / "bus.json"
    result = await run("record", "/dev/nothing", file)
    assert result.exit_code == 3
    assert not files(tmp_path)


async def test_what_came_before_the_adapter_went_is_kept(
    make_line: MakeLine, run: Run, quick: None, tmp_path: Path
) -> None:
    line = await make_line(VirtualPack(0))
    file = tmp_path / "bus.json"
    words = ("-f", "seplos", "-a", 0, "--interval", 0.05, "--seconds", LONG)
    recording = asyncio.create_task(run("record", line.path, file, *words))
    await until(lambda: len(line.frames) > 10, LONG)
    line.unplug()
    result = await recording
    assert result.exit_code == 3
    assert len(told(file)["frames"]) > 10


async def test_a_round_that_fails_is_told(
    make_line: MakeLine,
    run: Run,
    quick: None,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    line = await make_line(VirtualPack(0))

    async def fails(self: rounds.Rounds) -> None:
        raise GarbledAnswer("the line does not become quiet", address="-")

    monkeypatch.setattr(rounds.Rounds, "round", fails)
    words = ("-f", "seplos", "-a", 0, "--seconds", 0.5)
    result = await run("record", line.path, tmp_path / "bus.json", *words)
    assert result.exit_code == 0
    assert "the line does not become quiet\n" in result.stderr


async def test_a_place_that_cannot_be_written(
    make_line: MakeLine, run: Run, quick: None, tmp_path: Path
) -> None:
    line = await make_line(VirtualPack(0))
    file = tmp_path / "no" / "folder" / "bus.json"
    words = ("-f", "seplos", "-a", 0, "--seconds", 0.5)
    result = await run("record", line.path, file, *words)
    assert result.exit_code == 1
    assert f"{file} cannot be written: No such file or directory." in result.stderr


def test_ctrl_c_ends_a_recording_and_a_replay(quick: None, tmp_path: Path) -> None:
    """In the main thread, where Ctrl-C arrives."""
    file, link = tmp_path / "bus.json", tmp_path / "battery"

    def press() -> None:
        time.sleep(4)
        os.kill(os.getpid(), signal.SIGINT)

    url = "openxpbms-demo://seplos"
    for words in (["record", url, str(file), "-a", "0"], ["replay", str(file)]):
        thread = threading.Thread(target=press)
        thread.start()
        result = CliRunner().invoke(app, words)
        thread.join()
        assert result.exit_code == 0, result.output
    assert told(file)["frames"]
    assert not link.exists()
    assert "frames on /dev/pts/" in result.stdout


@pytest.mark.parametrize(
    ("text", "wrong"),
    [
        (None, "cannot be read: No such file or directory."),
        ("{", "is no recording: Expecting property name"),
        ("{}", "is no recording: entry is no object."),
        (b"\xff", "is no recording: "),
    ],
)
async def test_a_file_that_is_no_recording(
    run: Run, tmp_path: Path, text: str | bytes | None, wrong: str
) -> None:
    file = tmp_path / "bus.json"
    if isinstance(text, str):
        file.write_text(text)
    elif text:
        file.write_bytes(text)
    result = await run("replay", file)
    assert result.exit_code == 2
    assert wrong in result.stderr


async def test_values_that_differ_are_marked(
    make_line: MakeLine, run: Run, quick: None, tmp_path: Path
) -> None:
    line = await make_line(module(1), module(2))
    file = tmp_path / "bus.json"
    words = ("-f", "valence", "-a", "1-2", "--seconds", 1.5)
    await run("record", line.path, file, *words)
    whole = json.loads(file.read_text())
    first, second = whole["data"]["batteries"]
    first["reading"]["soc"] = 12.0
    # Of the other one nothing was recorded.
    second["reading"] = None
    whole["data"]["frames"] = [
        frame for frame in whole["data"]["frames"] if not frame["data"].startswith("02")
    ]
    whole["data"]["options"]["line"] = "mark"
    file.write_text(json.dumps(whole))
    result = await run("replay", file, "--read")
    assert "! soc: 80.0, then 12.0" in result.stdout
    assert "battery 2: no whole reading" in result.stdout
    assert "wrong: nothing was recorded for 02 03 00 39" in result.stdout
