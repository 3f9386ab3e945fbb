"""CPU in the whole of Home Assistant, and how long its event loop is held."""

from __future__ import annotations

from statistics import median

from .batteries import WEATHER, modules, packs
from .house import house
from .loop import LoopWatch
from .peer import Peer
from .table import Row

COUNT = 16
ROUNDS = 8
# For how long the loop may be held, ms.
GOAL = 5.0
DANGEROUS = 4.1


def _alarm(name: str, kind: str, watch: LoopWatch) -> list[Row]:
    if name != "at rest":
        return []
    what = f"the same, one of 16 {kind}s raises its first alarms"
    return [Row(what, 1000 * watch.held_cpu, "ms", GOAL)]


async def measure(peer: Peer) -> list[Row]:
    """Return the figures of this topic."""
    rows = []
    for kind, make in (("pack", packs), ("module", modules)):
        for name, weather in WEATHER.items():
            batteries = make(COUNT, before_answer=weather)
            async with (
                peer.line(batteries) as line,
                house(line.path, batteries) as built,
            ):
                await built.set_up()
                await built.coordinator.async_refresh()
                watches = []
                for _ in range(ROUNDS):
                    with LoopWatch() as watch:
                        await built.coordinator.async_refresh()
                        await built.hass.async_block_till_done()
                    watches.append(watch)
                silent = sum(battery.silent for battery in built.coordinator)
                cells = [DANGEROUS, *batteries[0].cell_voltages[1:]]
                line.set(0, cell_voltages=cells)
                with LoopWatch() as alarmed:
                    await built.coordinator.async_refresh()
                    await built.hass.async_block_till_done()
            what = f"16 {kind}s {name}"
            if silent:
                what += f", {silent} SILENT"
            held = 1000 * median(watch.held_cpu for watch in watches)
            worst = 1000 * max(watch.held_cpu for watch in watches)
            wall = 1000 * max(watch.held for watch in watches)
            cpu = 1000 * sum(watch.cpu for watch in watches) / ROUNDS / COUNT
            share = 100 * sum(w.cpu for w in watches) / sum(w.wall for w in watches)
            rows += [
                Row(f"loop held longest in a round, {what}, median", held, "ms", GOAL),
                Row(f"the same, worst of {ROUNDS} rounds", worst, "ms", GOAL),
                *_alarm(name, kind, alarmed),
                Row(f"the same by the wall clock, {what}", wall, "ms"),
                Row(f"CPU for each {kind} and round, {what}", cpu, "ms"),
                Row(f"CPU while rounds follow without pause, {what}", share, "%"),
            ]
    return rows
