"""What an hour leaves behind: states written, and rows in the recorder's database."""

from __future__ import annotations

from contextlib import ExitStack
import sqlite3
import time
from unittest.mock import patch

from homeassistant.const import EVENT_STATE_CHANGED
from homeassistant.core import callback

from custom_components.openxpbms import sensor
from custom_components.openxpbms.const import DEFAULT_INTERVAL

from .batteries import WEATHER, modules, packs
from .house import House, house
from .peer import Peer
from .table import Row

ROUNDS = round(3600 / DEFAULT_INTERVAL)
# What a battery at rest may write down in an hour: next to nothing.
GOAL = 60


def _rows(built: House) -> int:
    with sqlite3.connect(built.folder / "history.db") as database:
        [[count]] = database.execute("select count(*) from states")
    database.close()
    return int(count)


async def _hour(built: House) -> tuple[int, int, dict[str, int]]:
    """Let an hour pass; return states written, rows, and states by entity."""
    recorder = await built.record()
    await built.set_up()
    await recorder.async_block_till_done()
    before = _rows(built)
    written: dict[str, int] = {}

    @callback
    def count(event: object) -> None:
        entity = event.data["entity_id"]  # type: ignore[attr-defined]
        written[entity] = written.get(entity, 0) + 1

    stop = built.hass.bus.async_listen(EVENT_STATE_CHANGED, count)
    passed = 0.0
    with ExitStack() as stack:
        if hasattr(sensor, "monotonic"):
            # An hour passes by the clock of the dead bands, too.
            stack.enter_context(
                patch.object(sensor, "monotonic", lambda: time.monotonic() + passed)
            )
        for _ in range(ROUNDS):
            await built.coordinator.async_refresh()
            passed += DEFAULT_INTERVAL
    await built.hass.async_block_till_done()
    stop()
    await recorder.async_block_till_done()
    return sum(written.values()), _rows(built) - before, written


async def measure(peer: Peer) -> list[Row]:
    """Return the figures of this topic."""
    rows = []
    for kind, make in (("pack", packs), ("module", modules)):
        for name, weather in WEATHER.items():
            batteries = make(1, before_answer=weather)
            async with (
                peer.line(batteries, real_time=False) as line,
                house(line.path, batteries, options={"turnaround": 0}) as built,
            ):
                states, recorded, written = await _hour(built)
            goal = GOAL if name == "at rest" else None
            what = f"a {kind} {name}, an hour of {ROUNDS} rounds"
            rows += [
                Row(f"rows in the database, {what}", recorded, "", goal),
                Row(f"states written, {what}", states, ""),
            ]
            noisy = sorted(written.items(), key=lambda item: -item[1])[:8]
            print(f"most written, {what}:", *noisy, sep="\n    ")
    return rows
