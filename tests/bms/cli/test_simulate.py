"""`openxpbms simulate`: a process that plays batteries, another one that reads them."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
import signal
import threading
import time

import pytest
from typer.testing import CliRunner

from custom_components.openxpbms.bms import cli
from custom_components.openxpbms.bms.bus import Bus
from custom_components.openxpbms.bms.cli import app as app_module
from custom_components.openxpbms.bms.cli.app import app
from custom_components.openxpbms.bms.cli.playing import tell_wrongs
from custom_components.openxpbms.bms.port import Line
from custom_components.openxpbms.bms.valence import TERMINATOR

from ..conftest import MakeBus, MakeLine, module
from .conftest import Run, Start

PATIENCE = 60
SIGNALS = (signal.SIGINT, signal.SIGTERM)


async def port_of(process: asyncio.subprocess.Process) -> str:
    """Wait for the first line of what plays, and return the port that it names."""
    assert process.stdout
    async with asyncio.timeout(PATIENCE):
        said = (await process.stdout.readline()).decode()
    assert " on " in said, said
    return said.split(" on ")[1].strip()


async def interrupted(process: asyncio.subprocess.Process) -> str:
    """Press Ctrl-C; return what is printed then, if it ends well."""
    process.send_signal(signal.SIGINT)
    async with asyncio.timeout(PATIENCE):
        out, err = await process.communicate()
    assert (process.returncode, err) == (0, b"")
    return out.decode()


async def test_one_process_plays_and_another_one_reads(
    start: Start, tmp_path: Path
) -> None:
    link = tmp_path / "battery"
    playing = await start(
        *("simulate", "valence", "-n", 2, "--link", link),
        *("--cell", "2:3=3.712", "--alarm", "2:cell_over_voltage"),
    )
    assert await port_of(playing) == str(link)
    assert link.is_symlink()
    assert str(link.readlink()).startswith("/dev/pts/")
    reading = await start("read", link, "-f", "valence", "-a", "1-2", "--json")
    async with asyncio.timeout(PATIENCE):
        out, err = await reading.communicate()
    assert reading.returncode == 0, err
    assert b"3.712" in out
    assert b"cell_over_voltage" in out
    told = await interrupted(playing)
    assert f"In another terminal: openxpbms read {link}" in told
    assert "wrong" not in told
    assert not link.is_symlink()


async def test_what_a_client_sends_wrongly_is_told_once(
    start: Start, make_bus: MakeBus
) -> None:
    playing = await start("simulate", "seplos")
    port = await port_of(playing)
    bus: Bus = make_bus(port, terminator=TERMINATOR)
    line = Line(9600)
    await bus.open(line)
    for _ in range(2):
        await bus.broadcast(b"\x00\x04\x10\x00\x00\x12\x75\x16", line)
        await asyncio.sleep(0.5)
    assert playing.stdout
    async with asyncio.timeout(PATIENCE):
        while b"wrong" not in (said := await playing.stdout.readline()):
            assert said
    assert b"request at 9600 baud" in said
    await bus.close()
    assert "9600" not in await interrupted(playing)


async def test_kill_ends_it_as_ctrl_c_does(start: Start, tmp_path: Path) -> None:
    link = tmp_path / "battery"
    playing = await start("simulate", "valence", "--link", link)
    await port_of(playing)
    playing.terminate()
    async with asyncio.timeout(PATIENCE):
        await playing.communicate()
    assert playing.returncode == 0
    assert not link.is_symlink()


def test_both_signals_end_a_command_even_where_a_script_started_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    kept = {number: signal.getsignal(number) for number in SIGNALS}
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    ended: list[int] = []

    def command() -> None:
        for number in SIGNALS:
            try:
                signal.raise_signal(number)
            except KeyboardInterrupt:
                ended.append(number)

    monkeypatch.setattr(app_module, "app", command)
    try:
        cli.main()
    finally:
        for number, handler in kept.items():
            signal.signal(number, handler)
    assert ended == list(SIGNALS)


@pytest.mark.parametrize(
    ("words", "what", "command"),
    [
        (
            ["--bank", "-n", "3", "--echo", "--fault", "noise", "--soc", "50"],
            "3 Seplos V3 packs at the addresses 1 to 3",
            "listen",
        ),
        ([], "1 Seplos V3 pack at address 0", "read"),
    ],
)
def test_what_to_type_is_told(
    tmp_path: Path, words: list[str], what: str, command: str
) -> None:
    """In the main thread, where Ctrl-C arrives."""
    link = tmp_path / "battery"
    link.symlink_to("/dev/null")

    def press_ctrl_c() -> None:
        end = time.monotonic() + PATIENCE
        while "pts" not in str(link.readlink()) and time.monotonic() < end:
            time.sleep(0.05)
        time.sleep(0.5)
        os.kill(os.getpid(), signal.SIGINT)

    thread = threading.Thread(target=press_ctrl_c)
    thread.start()
    arguments = ["simulate", "seplos", "--link", str(link), *words]
    result = CliRunner().invoke(app, arguments)
    thread.join()
    assert result.exit_code == 0, result.output
    assert result.stdout.splitlines() == [
        f"{what} on {link}",
        f"In another terminal: openxpbms {command} {link}",
        "Ctrl-C ends it.",
    ]
    assert not link.is_symlink()


async def test_each_wrong_thing_is_told_once(
    make_line: MakeLine, make_bus: MakeBus, capsys: pytest.CaptureFixture[str]
) -> None:
    line = await make_line(module(1))
    telling = asyncio.create_task(tell_wrongs(line))
    bus: Bus = make_bus(line.path)
    for speed in (9600, 19200, 9600):
        await bus.open(Line(speed))
        await bus.broadcast(b"\x01\x03\x00\x39\x00\x0a\x12\x34\r\n", Line(speed))
        await asyncio.sleep(0.5)
    telling.cancel()
    assert capsys.readouterr().out.splitlines() == [
        "wrong: request at 9600 baud",
        "wrong: request at 19200 baud",
    ]


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["lead"], "lead"),
        (["valence", "-n", "33"], "modules must be a number from 1 to 32, not '33'"),
        (["seplos", "--packs", "0"], "packs must be a number from 1 to 16"),
        (["seplos", "--bank", "-n", "1"], "packs must be a number from 2 to 16"),
        (["valence", "--bank"], "only Seplos packs have a master of their own"),
        (["valence", "--seed", "100"], "seed must be a number from 0 to 99"),
        (["valence", "--cell", "5:1=3.3"], "there is no battery '5', only 1, 2, 3, 4"),
        (["valence", "--fault", "rain"], "no fault is called rain"),
        (["valence", "--link", "/nowhere/at/all"], "/nowhere/at is no folder"),
    ],
)
async def test_wrong_use_is_told_plainly(run: Run, words: list[str], told: str) -> None:
    result = await run("simulate", *words)
    assert result.exit_code == 2
    assert told in " ".join(result.stderr.replace("│", "").split())


async def test_a_file_is_not_replaced_by_a_link(run: Run, tmp_path: Path) -> None:
    file = tmp_path / "notes"
    await asyncio.to_thread(file.write_text, "precious")
    result = await run("simulate", "valence", "--link", file)
    assert result.exit_code == 2
    assert "would be lost" in " ".join(result.stderr.replace("│", "").split())
    assert await asyncio.to_thread(file.read_text) == "precious"
