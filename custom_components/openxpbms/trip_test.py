"""The trip test: relays are opened, timed, and let close again."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from time import monotonic
from typing import TYPE_CHECKING, Any

from homeassistant.core import callback
from homeassistant.util import dt as dt_util

from .bms.relay import Report
from .kept import Mode

if TYPE_CHECKING:
    from .guard import Guard, Watched

# How long a relay may take to open, s.
OPENS_WITHIN = 10.0


async def async_trip_test(guard: Guard, watched: Watched) -> dict[str, Any]:
    """Open a battery's outputs, time them, note the result, and let them close.

    Raises ServiceValidationError where nothing is commanded or nothing is there.
    """
    outputs = guard.hands.outputs
    own = outputs.relay_of(watched.address)
    names = [n for n in (outputs.charge, outputs.load, own) if n is not None]
    if guard.mode is not Mode.ARMED:
        guard.refuse(watched, "not_armed")
    if not names:
        guard.refuse(watched, "no_outputs")
    entities = {name: guard.board.entity_id(name) for name in names}
    start, opened = monotonic(), dict[str, float]()
    progress = asyncio.Event()

    @callback
    def look() -> None:
        for name in names:
            if name not in opened and guard.board.report(name) is Report.OPEN:
                opened[name] = round(monotonic() - start, 3)
        progress.set()

    guard.onlookers.append(look)
    watched.tested = True
    try:
        guard.act()
        look()
        with suppress(TimeoutError):
            async with asyncio.timeout(outputs.delay + OPENS_WITHIN):
                while len(opened) < len(names) and not guard.stopped:
                    progress.clear()
                    await progress.wait()
    finally:
        guard.onlookers.remove(look)
        watched.tested = False
        guard.act()
    result = {
        "at": dt_util.utcnow().isoformat(),
        "passed": len(opened) == len(names),
        "opened_after": {entities[name]: opened.get(name) for name in names},
    }
    if not guard.stopped:
        watched.kept.trip_test = result
        guard.publish()
    return result
