"""Rounds of sixteen modules of which two die: none may hold up the others."""

from __future__ import annotations

import asyncio
import time

from custom_components.openxpbms.bms.rounds import EAGER, Rounds

from .batteries import modules
from .peer import Peer
from .rounds import opened
from .table import Row

MODULES = 16
DEAD = (4, 10)
# What a round may take, s.
GOAL = 1.0


async def _worst(rounds: Rounds, count: int, pause: float) -> float:
    """Return the longest of so many rounds, one begun every `pause` s."""
    worst = 0.0
    for _ in range(count):
        start = time.monotonic()
        await rounds.round()
        took = time.monotonic() - start
        worst = max(worst, took)
        await asyncio.sleep(max(0.0, pause - took))
    return worst


async def measure(peer: Peer) -> list[Row]:
    """Return the figures of this topic."""
    batteries = modules(MODULES)
    figures: dict[str, float] = {}
    async with peer.line(batteries) as far, opened(far.path, batteries) as rounds:
        for battery in rounds.batteries:
            battery.slow_from = 0.0
        figures["history of one in each"] = await _worst(rounds, MODULES, 0)
        for number in DEAD:
            far.set(number, silent=True)
        rounds.batteries[0].slow_from = 0.0
        figures["two die"] = await _worst(rounds, 1, 1)
        figures["two dead, asked in each"] = await _worst(rounds, 12, 1)
        for number in DEAD:
            # As if they had been dead for longer.
            since = rounds.batteries[number].silent_since or 0.0
            rounds.batteries[number].silent_since = since - EAGER
        figures["two dead, asked every 10 s"] = await _worst(rounds, 22, 1)
        for number in DEAD:
            far.set(number, silent=False)
        figures["two come back"] = await _worst(rounds, 11, 1)
        silent = sum(battery.silent for battery in rounds.batteries)
    what = "longest round of 16 modules, "
    rows = [Row(what + name, took, "s", GOAL) for name, took in figures.items()]
    return [*rows, Row("still silent after that", silent, "modules")]
