"""How commands end."""

from __future__ import annotations

import asyncio
import errno
import os
from pathlib import Path
import signal

import pytest
import typer
from typer.testing import CliRunner, Result

from custom_components.openxpbms.bms import errors
from custom_components.openxpbms.bms.cli import exits
from custom_components.openxpbms.bms.cli.exits import (
    Exit,
    Failure,
    as_command,
    sentence,
)

from ..conftest import MakeLine, module
from .conftest import Run, Start


@pytest.mark.parametrize(
    ("message", "told"),
    [
        ("another master talks", "Another master talks."),
        ("/dev/ttyUSB0 does not exist", "/dev/ttyUSB0 does not exist."),
        ("rfc2217://box does not answer", "rfc2217://box does not answer."),
        ("is it on?", "Is it on?"),
        ("Done.", "Done."),
        ("word", "Word."),
    ],
)
def test_messages_become_sentences(message: str, told: str) -> None:
    assert sentence(message) == told


def test_help_is_as_wide_as_the_terminal() -> None:
    text = """Read it.

    This goes on
    and on.

      openxpbms read x
      openxpbms read y
    """
    told = "Read it.\n\nThis goes on and on.\n\n  openxpbms read x\n  openxpbms read y"
    assert exits.unwrapped(text) == told


def ended(error: BaseException) -> Result:
    """Return how a command ends in which something happens."""
    app = typer.Typer()

    @app.command()
    @as_command
    async def work() -> None:
        raise error

    return CliRunner().invoke(app, [])


@pytest.mark.parametrize(
    ("error", "code", "told"),
    [
        (errors.PortGone("it has gone"), 3, "It has gone.\n"),
        (errors.NoAnswer("battery 1 did not answer"), 4, "Battery 1 did not answer.\n"),
        (errors.BusError("no"), 1, "No.\n"),
        (Failure("Not confirmed.", Exit.NOT_CONFIRMED), 6, "Not confirmed.\n"),
        (KeyboardInterrupt(), 130, "Interrupted.\n"),
    ],
)
def test_every_end_has_a_code(error: BaseException, code: int, told: str) -> None:
    result = ended(error)
    assert (result.exit_code, result.stderr) == (code, told)


def test_a_mistake_of_ours_is_not_hidden() -> None:
    result = ended(ZeroDivisionError())
    assert result.exit_code == 1
    assert isinstance(result.exception, ZeroDivisionError)


@pytest.mark.parametrize(
    ("error", "code", "words"),
    [
        (errors.FixedSpeed("x cannot change speed"), 3, "use rfc2217://"),
        (errors.UnsupportedLine("x does not take it"), 3, "--line two_stop_bits"),
        (errors.PortUnreachable("x does not answer"), 3, "Look at the address"),
        (errors.ForeignMaster("another master talks"), 5, "Disconnect the other one"),
    ],
)
def test_what_to_do_is_told(error: errors.BusError, code: int, words: str) -> None:
    result = ended(error)
    assert result.exit_code == code
    assert words in result.stderr


async def test_a_missing_port(run: Run) -> None:
    result = await run("read", "/dev/no-such-port", "-f", "seplos")
    assert result.exit_code == 3
    first, _, second = result.stderr.splitlines()[-1].partition(". ")
    assert first == "/dev/no-such-port does not exist"
    assert second.startswith("Plug the adapter in, or use another port; there is ")


async def test_a_forbidden_port(
    make_line: MakeLine, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    line = await make_line(module(1))
    opened = os.open

    # Whoever runs the tests may be root, who may open everything.
    def refuse(path: str, *more: int, **others: int) -> int:
        if path == line.path:
            raise PermissionError(errno.EACCES, "Permission denied", path)
        return opened(path, *more, **others)

    monkeypatch.setattr(os, "open", refuse)
    monkeypatch.setattr(os, "access", lambda *_: False)
    result = await run("read", line.path, "-f", "valence")
    assert result.exit_code == 3
    assert f"No permission to open {line.path}. It belongs to the" in result.stderr
    assert "`sudo usermod -aG " in result.stderr


async def test_a_busy_port(make_line: MakeLine, start: Start, run: Run) -> None:
    line = await make_line(module(1))
    other = await start("listen", line.path, "-s", 60, "-f", "valence")
    assert other.stderr
    await other.stderr.readline()

    result = await run("read", line.path, "-f", "valence")
    for _ in range(50):
        if result.exit_code == 3:
            break
        result = await run("read", line.path, "-f", "valence")
    assert result.exit_code == 3
    assert "is in use by another program. " in result.stderr
    assert f"({other.pid}) has it open too: " in result.stderr


@pytest.mark.parametrize("command", ["scan", "read", "watch", "listen"])
async def test_an_interrupt_closes_the_port(
    make_line: MakeLine, start: Start, command: str
) -> None:
    line = await make_line(module(1), real_time=True)
    process = await start(command, line.path)
    assert process.stderr
    # It is listening.
    said = await asyncio.wait_for(process.stderr.readline(), 60)
    assert said.startswith(b"Listening")
    process.send_signal(signal.SIGINT)
    out, err = await asyncio.wait_for(process.communicate(), 60)
    assert process.returncode == 130
    assert (out, err) == (b"", b"Interrupted.\n")
    # The line can be had again at once.
    process = await start("read", line.path, "-f", "valence", "-a", 1)
    await asyncio.wait_for(process.communicate(), 60)
    assert process.returncode == 0


async def test_another_master_ends_a_command(
    make_line: MakeLine, run: Run, quick: None
) -> None:
    line = await make_line(module(1))
    running = asyncio.create_task(run("read", line.path, "-f", "valence"))
    question = bytes.fromhex("01 03 00 39 00 0a 15 c0 0d 0a")
    while not running.done():
        line.inject(question)
        await asyncio.sleep(0.05)
    result = await running
    assert result.exit_code == 5
    assert "Another master talks on" in result.stderr
    assert line.bytes_received == 0


def test_codes_are_those_of_the_documentation() -> None:
    told = (Path(__file__).parents[3] / "docs" / "command-line.md").read_text()
    table = told.split("## Exit codes")[1].split("\n## ")[0]
    codes = [line.split("|")[1].strip() for line in table.splitlines() if "|" in line]
    assert codes[2:] == [str(int(code)) for code in exits.Exit]
