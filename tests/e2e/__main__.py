"""The journey, start to end, with the time of each step: scripts/e2e [--pictures]."""

from __future__ import annotations

import argparse
import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
import signal
import sys
import tempfile
import time

from .batteries import batteries
from .browser import browser
from .house import ROOT, house
from .journey import Journey
from .pictures import Pictures

PICTURES = ROOT / "docs" / "pictures"


def say(text: str) -> None:
    """Tell it now, even through a pipe."""
    sys.stderr.write(f"{text}\n")


async def timed(what: str, step: Callable[[], Awaitable[None]]) -> None:
    """Do a step and tell how long it took."""
    began = time.monotonic()
    await step()
    say(f"{time.monotonic() - began:6.1f} s  {what}")


async def run(pictures: Path | None, failure: Path) -> None:
    """Walk all steps in a Home Assistant that is there for nothing else."""
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="e2e-") as folder:
        async with (
            batteries(Path(folder)) as some,
            house(Path(folder) / "home") as one,
            browser(one.home.url, one.home.tokens, pictures) as ui,
        ):
            say(f"{time.monotonic() - began:6.1f} s  start")
            journey = Journey(ui, one, some)
            steps = list(journey.steps)
            if pictures is not None:
                steps[-1:-1] = Pictures(ui, one).steps
            try:
                for step in steps:
                    await timed(step.__name__.replace("_", " "), step)
            except BaseException:
                await ui.page.screenshot(path=failure)
                log = Path(folder) / "home" / "home-assistant.log"
                say(log.read_text()[-4000:])
                say(f"what was shown: {failure}")
                raise
    say(f"{time.monotonic() - began:6.1f} s  in all")


def main() -> None:
    """Read the command line and run."""
    parser = argparse.ArgumentParser(prog="scripts/e2e", description=__doc__)
    parser.add_argument(
        "--pictures", action="store_true", help=f"take pictures, too: {PICTURES}"
    )
    arguments = parser.parse_args()
    failure = Path(tempfile.gettempdir()) / "e2e-failure.png"
    # End the demo in order, too, when told to end.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    asyncio.run(run(PICTURES if arguments.pictures else None, failure))


if __name__ == "__main__":
    main()
