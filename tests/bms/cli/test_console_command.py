"""`openxpbms console` in a terminal of its own, and where it cannot run."""

from __future__ import annotations

import fcntl
import os
import select
import struct
import subprocess
import sys
import termios
import time

import pytest

from custom_components.openxpbms.bms.cli import console
from custom_components.openxpbms.bms.cli.exits import Exit

from .lines import read, run, run_at_terminal

PORT = "openxpbms-demo://seplos?packs=1&real_time=false"
ASKED = ("--family", "seplos", "--addresses", "0")


def test_it_needs_a_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("console", PORT, *ASKED) == Exit.WRONG_USE
    assert "needs a terminal" in capsys.readouterr().err


@pytest.mark.parametrize("missing", ["textual", "something"])
def test_it_says_which_extra_is_missing(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, missing: str
) -> None:
    class Missing:
        """Finds nothing of the screen, as where its extra was not installed."""

        def find_spec(self, name: str, *args: object) -> None:
            if name.endswith("bms.console.app"):
                raise ModuleNotFoundError(name=missing)

    name = console.__package__.rpartition(".")[0] + ".console.app"
    monkeypatch.delitem(sys.modules, name, raising=False)
    monkeypatch.setattr(sys, "meta_path", [Missing(), *sys.meta_path])
    if missing == "textual":
        assert run("console", PORT, *ASKED) == Exit.UNEXPECTED
        assert 'pip install "openxpbms[console]"' in capsys.readouterr().err
    else:
        with pytest.raises(ModuleNotFoundError):
            run("console", PORT, *ASKED)


@pytest.mark.parametrize("told", [None, "What came of it."])
def test_what_the_screen_leaves_is_told_behind_it(
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    told: str | None,
) -> None:
    async def run_async(self: object) -> str | None:
        return told

    monkeypatch.setattr("textual.app.App.run_async", run_async)
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    ran = run_at_terminal(capsys, "console", PORT, *ASKED)
    assert ran.code == 0
    assert ran.out.strip() == (told or "")


def test_it_is_seen_in_a_terminal_and_ends_by_q() -> None:
    master, slave = os.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    process = subprocess.Popen(
        [
            *(sys.executable, "-m", "custom_components.openxpbms.bms.cli"),
            *("console", PORT, *ASKED),
        ],
        stdin=slave,
        stdout=slave,
        stderr=slave,
        env=os.environ | {"TERM": "xterm-256color"},
    )
    os.close(slave)
    shown, end = b"", time.monotonic() + 90
    try:
        while b"spread" not in shown:
            assert time.monotonic() < end, shown
            if select.select([master], [], [], 1.0)[0]:
                shown += read(master)
        os.write(master, b"q")
        while process.poll() is None:
            assert time.monotonic() < end
            if select.select([master], [], [], 0.2)[0]:
                shown += read(master)
    finally:
        process.kill()
        process.wait()
        os.close(master)
    assert process.returncode == 0
    assert b"Parameters" in shown
