"""A Home Assistant in which drills take place, and all that it says and holds."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
import gc
import logging
from pathlib import Path
import tempfile
import threading
import time
from typing import TYPE_CHECKING, Any
from unittest.mock import patch

from homeassistant.core import HomeAssistant
from homeassistant.loader import DATA_CUSTOM_COMPONENTS
from homeassistant.setup import async_setup_component
from pytest_homeassistant_custom_component.common import async_test_home_assistant

from .drill import Drill, Outcome

if TYPE_CHECKING:
    from .stage import Stage


class Ears(logging.Handler):
    """Hears every exception that is logged, and counts errors without one."""

    def __init__(self) -> None:
        """Begin with nothing heard."""
        super().__init__(logging.WARNING)
        self.exceptions: list[str] = []
        self.errors: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Note a record."""
        told = f"{record.name}: {record.getMessage()}"
        if record.exc_info and record.exc_info[0]:
            self.exceptions.append(f"{told} ({record.exc_info[1]!r})")
        elif record.levelno >= logging.ERROR:
            self.errors.append(told)


class Home:
    """A Home Assistant in this process; `outcome` is what came of the drill so far.

    `stages` are the buses of the drill's scene.
    """

    def __init__(self, hass: HomeAssistant, ears: Ears) -> None:
        """Watch `hass`."""
        self.hass = hass
        self.ears = ears
        self.outcome = Outcome()
        self.stages: list[Stage] = []
        # Who runs many drills in one home counts what is held once for all.
        self.counts = True
        self._before: dict[str, int] = {}

    async def play(self, drill: Drill, times: int) -> Outcome:
        """Run a drill and return what came of it."""
        # What went wrong before, as at the start of the buses, is not forgotten.
        self.outcome, self._before = Outcome(exceptions=self.ears.exceptions), {}
        begun = time.monotonic()
        await drill.act(self, times)
        self.outcome.seconds = time.monotonic() - begun
        return self.outcome

    @property
    def warmed(self) -> bool:
        """Whether what is held was counted."""
        return bool(self._before)

    def injected(self, times: int = 1) -> None:
        """Count faults."""
        self.outcome.injected += times

    def note(self, text: str) -> None:
        """Tell readers of the table something, once."""
        if text not in self.outcome.notes:
            self.outcome.notes.append(text)

    async def warm(self) -> None:
        """Take what is held now for what may be held; call it after some faults."""
        if self.counts:
            self._before = await usage()

    async def compare(self) -> None:
        """Note how much more is held than when it was warm."""
        if not self._before or not self.counts:
            return
        now = await usage()
        self.outcome.growth = {name: now[name] - self._before[name] for name in now}


async def usage() -> dict[str, int]:
    """Return how many tasks, open files, threads and objects there are.

    The fewest of some moments: what is just under way does not count.
    """
    taken = []
    for _ in range(10):
        await asyncio.sleep(0.11)
        counts = {
            "tasks": len(asyncio.all_tasks()),
            "files": _open_files(),
            "threads": threading.active_count(),
        }
        taken.append(counts)
    gc.collect()
    fewest = {name: min(counts[name] for counts in taken) for name in taken[0]}
    return fewest | {"objects": len(gc.get_objects())}


def _open_files() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


@asynccontextmanager
async def home() -> AsyncIterator[Home]:
    """Start a Home Assistant, and end it."""
    ears = Ears()
    root = logging.getLogger()
    root.addHandler(ears)
    loop = asyncio.get_running_loop()
    try:
        with (
            tempfile.TemporaryDirectory() as directory,
            patch("homeassistant.setup.async_process_deps_reqs"),
        ):
            async with async_test_home_assistant(config_dir=directory) as hass:
                hass.data.pop(DATA_CUSTOM_COMPONENTS, None)
                # The integration depends on it; nothing else of that is needed here.
                assert await async_setup_component(hass, "usb", {})
                handler = loop.get_exception_handler()

                def note(loop: Any, context: dict[str, Any]) -> None:
                    ears.exceptions.append(str(context))

                loop.set_exception_handler(note)
                try:
                    yield Home(hass, ears)
                finally:
                    await hass.async_stop(force=True)
                    loop.set_exception_handler(handler)
    finally:
        root.removeHandler(ears)


@asynccontextmanager
async def scene_of(drill: Drill) -> AsyncIterator[Home]:
    """Start a Home Assistant with the buses that a drill needs."""
    async with home() as here:
        if drill.scene is None:
            yield here
            return
        async with drill.scene(here) as stages:
            here.stages = stages
            yield here


async def run(drill: Drill, times: int) -> Outcome:
    """Run one drill, so many times, in a Home Assistant of its own.

    What is logged while that ends still belongs to the outcome.
    """
    async with scene_of(drill) as here:
        return await here.play(drill, times)
