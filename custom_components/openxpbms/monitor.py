"""The bus monitor: what goes over a bus for some seconds, decoded."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from .bms.decoded import Decoder
from .bms.disguise import Disguise

if TYPE_CHECKING:
    from .coordinator import OpenXPBMSConfigEntry

# More frames would make a response that no browser likes to show.
MOST_FRAMES = 5000


async def record(
    entry: OpenXPBMSConfigEntry, seconds: float, *, serial_numbers: bool
) -> dict[str, Any]:
    """Record a running bus and return what went over it.

    Serial numbers are pseudonyms, the same as in the diagnostics, unless asked for.
    """
    coordinator = entry.runtime_data
    known = [battery.identity for battery in coordinator]
    with coordinator.bus.trace.tape(MOST_FRAMES) as tape:
        await asyncio.sleep(seconds)
    frames = list(tape)
    left_out = tape.added - len(frames)
    if not serial_numbers:
        frames = Disguise(entry.entry_id, coordinator.family_name).frames(frames, known)
    decoder = Decoder(coordinator.family_name, known)
    return {
        "bus": entry.title,
        "seconds": seconds,
        "left_out": left_out,
        "frames": [decoded.as_dict() for decoded in decoder.frames(frames)],
    }
