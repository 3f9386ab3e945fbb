"""CPU of following a Seplos bank that talks all the time, in Home Assistant."""

from __future__ import annotations

import asyncio

from custom_components.openxpbms.bms.virtual import VirtualBank

from .batteries import packs, working
from .house import house
from .loop import LoopWatch
from .peer import Peer
from .table import Row

# Two packs fill 70 % of the line's time, as captured; more cannot fill much more.
COUNTS = (2, 16)
SECONDS = 10.0


async def measure(peer: Peer) -> list[Row]:
    """Return the figures of this topic."""
    rows = []
    for count in COUNTS:
        heard = packs(count, before_answer=working)
        bank = VirtualBank(heard)
        async with (
            peer.line([bank]) as line,
            house(line.path, heard, listening=True) as built,
        ):
            await built.set_up()
            coordinator = built.coordinator
            before = line.bytes_given()
            with LoopWatch() as watch:
                for _ in range(round(SECONDS / 5)):
                    await asyncio.sleep(5)
                    await coordinator.async_refresh()
            share = (line.bytes_given() - before) * 10 / 19200 / watch.wall
            silent = sum(battery.reading is None for battery in coordinator)
        what = f"bank of {count} packs, line busy for {100 * share:.0f} %"
        if silent:
            what += f", {silent} SILENT"
        rows += [
            Row(f"CPU, {what}", 100 * watch.cpu / watch.wall, "%"),
            Row(f"loop held longest, {what}", 1000 * watch.held_cpu, "ms", 5.0),
        ]
    return rows
