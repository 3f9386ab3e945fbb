"""Time and CPU of rounds of the battery half alone, at real line speed."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from math import inf
from statistics import median
import time

from custom_components.openxpbms.bms.bus import Bus
from custom_components.openxpbms.bms.family import Family
from custom_components.openxpbms.bms.frame import Request
from custom_components.openxpbms.bms.port import Line
from custom_components.openxpbms.bms.rounds import Rounds
from custom_components.openxpbms.bms.seplos import LINE, Seplos
from custom_components.openxpbms.bms.seplos_tables import PIA, PIB, PIC
from custom_components.openxpbms.bms.valence import (
    EVENTS,
    LIVE,
    Valence,
    request,
)
from custom_components.openxpbms.bms.virtual import VirtualModule, VirtualPack
from custom_components.openxpbms.const import FAMILY_SEPLOS, FAMILY_VALENCE
from custom_components.openxpbms.families import make_bus

from .batteries import MODULE_TURNAROUND, PACK_TURNAROUND, identity, modules, packs
from .loop import LoopWatch
from .peer import Peer
from .table import Row

PACKS = (1, 4, 8, 16)
MODULES = (1, 4, 11, 16)
ROUNDS = 7
GOAL = 1.10
# What a whole Reading takes.
PACK_QUESTIONS = [table.request(0) for table in (PIA, PIB, PIC)]
MODULE_QUESTIONS = [request(1, block) for block in (*LIVE, EVENTS)]


def on_wire(questions: list[Request], line: Line) -> float:
    """Return the s that the bytes of questions and replies take."""
    return sum(line.seconds(len(q.encoded) + q.reply_length) for q in questions)


def limit(battery: VirtualModule | VirtualPack, line: Line, bus: Bus) -> float:
    """Return the s in which a battery can be read: bytes, turnaround, our own pause."""
    if isinstance(battery, VirtualPack):
        pauses = len(PACK_QUESTIONS) * (PACK_TURNAROUND + bus.timing.turnaround)
        return on_wire(PACK_QUESTIONS, line) + pauses
    pauses = len(MODULE_QUESTIONS) * (MODULE_TURNAROUND + bus.timing.turnaround)
    return on_wire(MODULE_QUESTIONS, line) + pauses


@asynccontextmanager
async def opened(
    path: str, batteries: Sequence[VirtualModule | VirtualPack]
) -> AsyncIterator[Rounds]:
    """Read batteries once, so that the rounds after it are like all others."""
    packed = isinstance(batteries[0], VirtualPack)
    bus = make_bus(path, FAMILY_SEPLOS if packed else FAMILY_VALENCE, {})
    family: Family = Seplos(bus) if packed else Valence(bus)
    rounds = Rounds(family, [identity(battery) for battery in batteries])
    for battery in rounds.batteries:
        battery.slow_from = inf
    await rounds.round()
    yield rounds
    await bus.close()


async def measure(peer: Peer) -> list[Row]:
    """Return the figures of this topic."""
    rows, used = [], []
    lots: list[Sequence[VirtualModule | VirtualPack]] = [
        *(packs(count) for count in PACKS),
        *(modules(count) for count in MODULES),
    ]
    for batteries in lots:
        async with peer.line(batteries) as far, opened(far.path, batteries) as rounds:
            times = []
            with LoopWatch() as watch:
                for _ in range(ROUNDS):
                    start = time.monotonic()
                    await rounds.round()
                    times.append(time.monotonic() - start)
            silent = sum(battery.silent for battery in rounds.batteries)
            line = rounds.bus.line or LINE
            least = sum(limit(battery, line, rounds.bus) for battery in batteries)
        kind = "pack" if isinstance(batteries[0], VirtualPack) else "module"
        what = f"round of {len(batteries)} {kind}{'s' * (len(batteries) > 1)}"
        if silent:
            what += f", {silent} SILENT"
        rows.append(Row(what, 1000 * median(times), "ms", 1000 * least, GOAL))
        if len(batteries) == 16:
            cpu = 1000 * watch.cpu / ROUNDS / len(batteries)
            used.append(
                Row(f"CPU for each {kind} and round, battery half alone", cpu, "ms")
            )
    return rows + used
