"""Measure what is asked for, else everything; see `scripts/bench`."""

from __future__ import annotations

import argparse
import asyncio
from collections.abc import Awaitable, Callable
import logging
import os
from pathlib import Path
import platform
import time

from homeassistant.const import __version__

from . import listening, load, reaction, rounds, silent, start, states
from .peer import Peer
from .table import Row, table, write

TOPICS: dict[str, Callable[[Peer], Awaitable[list[Row]]]] = {
    "rounds": rounds.measure,
    "silent": silent.measure,
    "load": load.measure,
    "listening": listening.measure,
    "reaction": reaction.measure,
    "states": states.measure,
    "start": start.measure,
}


def _machine() -> str:
    """Return what all this ran on."""
    names = [
        line.partition(":")[2].strip()
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        if line.startswith("model name")
    ]
    return (
        f"{os.cpu_count()} cores of {names[0] if names else platform.machine()}, "
        f"Linux {platform.release()}, Python {platform.python_version()}, "
        f"Home Assistant {__version__}, load {os.getloadavg()[0]:.1f} at the start. "
        "Virtual lines run in a process of their own; CPU is that of the client's."
    )


async def _measure(names: list[str], *, keep: bool) -> None:
    machine = _machine()
    print(machine, flush=True)
    with Peer() as peer:
        for name in names:
            begun = time.monotonic()
            text = table(await TOPICS[name](peer))
            print(f"\n{name} ({time.monotonic() - begun:.0f} s)\n\n{text}", flush=True)
            if keep:
                write(name, text)
    if keep:
        write("machine", machine)


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="scripts/bench", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(TOPICS))
    parser.add_argument(
        "--write", action="store_true", help="put the tables into docs/figures.md"
    )
    chosen = parser.parse_args()
    unknown = set(chosen.names) - set(TOPICS)
    if unknown:
        parser.error(f"no such topic: {', '.join(sorted(unknown))}")
    logging.basicConfig(level=logging.ERROR)
    names = chosen.names or list(TOPICS)
    asyncio.run(_measure(names, keep=chosen.write))


if __name__ == "__main__":
    main()
