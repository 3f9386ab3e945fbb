"""Virtual batteries in a thread of their own, and commands run at a terminal."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
import os
import sys
import threading
from unittest.mock import patch

import pytest

from custom_components.openxpbms.bms import bus
from custom_components.openxpbms.bms.cli import link
from custom_components.openxpbms.bms.cli.app import app
from custom_components.openxpbms.bms.virtual import Device, VirtualLine


@contextmanager
def quickly() -> Iterator[None]:
    """Listen only for a moment before anything is asked."""
    with patch.object(bus, "LISTEN", 0.05), patch.object(link, "LISTEN", 0.05):
        yield


class LineInThread:
    """A line that runs beside whatever this thread does."""

    def __init__(self, *devices: Device, real_time: bool = False) -> None:
        """Start it; `path` is what a client opens."""
        self.line = VirtualLine(devices, real_time=real_time)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever)
        self._thread.start()
        self._run(self.line.start)
        self.path = self.line.path

    def _run(self, work: Callable[[], object]) -> None:
        async def call() -> None:
            result = work()
            if asyncio.iscoroutine(result):
                await result

        asyncio.run_coroutine_threadsafe(call(), self._loop).result(20)

    def unplug(self) -> None:
        """Pull the adapter out."""
        self._run(self.line.unplug)

    def stop(self) -> None:
        """End, and leave no thread behind."""
        self._run(self.line.stop)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(20)
        self._loop.close()


@dataclass(frozen=True)
class Ran:
    """How a command ended; `screen` is what a terminal showed of stderr."""

    code: int
    out: str
    screen: str


def run_at_terminal(
    capsys: pytest.CaptureFixture[str],
    *arguments: str,
    answers: Callable[[], bytes] | None = None,
    ahead: bytes = b"",
) -> Ran:
    """Run a command whose stdin and stderr are a terminal.

    `answers` is called once, in a thread, when the command asks for the typed word;
    what it returns is typed. `ahead` is typed before the command begins.
    """
    master, slave = os.openpty()
    shown = bytearray()
    os.write(master, ahead)

    def sit() -> None:
        asked = answers is None
        while data := read(master):
            shown.extend(data)
            if not asked and b"Type yes" in shown:
                asked = True
                assert answers is not None
                os.write(master, answers())

    person = threading.Thread(target=sit)
    with os.fdopen(slave, "r") as stdin, open(os.dup(slave), "w") as stderr:  # noqa: PTH123
        person.start()
        with patch.object(sys, "stdin", stdin), patch.object(sys, "stderr", stderr):
            code = run(*arguments)
    person.join(20)
    os.close(master)
    return Ran(code, capsys.readouterr().out, shown.decode())


def read(master: int) -> bytes:
    """Return what a terminal shows, nothing once it is closed."""
    try:
        return os.read(master, 4096)
    except OSError:
        return b""  # nobody has the other end any more


def run(*arguments: str) -> int:
    """Run a command in this process and return its exit code."""
    with pytest.raises(SystemExit) as ended:
        app(list(arguments))
    assert isinstance(ended.value.code, int)
    return ended.value.code
