"""What the wire does to bytes."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from typing import Any

from .drill import drill
from .home import Home
from .scenes import both, three
from .stage import Stage

GROUP = "The wire"
# The first ones fill what has a fixed size.
WARMING = 20


async def befall(
    home: Home, times: int, *, recovers: bool = True, **faults: Any
) -> None:
    """Let so many faults befall answers of all buses, and see these recover."""
    warming = min(times, WARMING)
    await _befall(home, warming, faults, recovers=recovers)
    await home.warm()
    if times > warming:
        await _befall(home, times - warming, faults, recovers=recovers)
    await home.compare()


async def _befall(
    home: Home, times: int, faults: dict[str, Any], *, recovers: bool
) -> None:
    async with AsyncExitStack() as stack:
        for on in home.stages:
            if on.asks:
                await stack.enter_async_context(on.busy())
        each = -(-times // len(home.stages))
        await asyncio.gather(*(_one(on, each, faults) for on in home.stages))
    if recovers:
        await asyncio.gather(*(on.recovers() for on in home.stages))


async def _one(on: Stage, times: int, faults: dict[str, Any]) -> None:
    for name, value in faults.items():
        setattr(on.faults, name, value)
    await on.faulty(times, 3600)
    for name in faults:
        setattr(on.faults, name, on.calm[name])


@drill(group=GROUP, what="Bit errors, 1 in 100 000", times=20, brief=0, scene=three)
async def bit_errors_1e_5(home: Home, times: int) -> None:
    await befall(home, times, bit_errors=1e-5)


@drill(group=GROUP, what="Bit errors, 1 in 10 000", times=300, brief=0, scene=three)
async def bit_errors_1e_4(home: Home, times: int) -> None:
    await befall(home, times, bit_errors=1e-4)


@drill(group=GROUP, what="Bit errors, 1 in 1 000", times=1000, brief=3, scene=three)
async def bit_errors_1e_3(home: Home, times: int) -> None:
    await befall(home, times, bit_errors=1e-3)


@drill(group=GROUP, what="Bit errors, 1 in 100", times=1000, brief=6, scene=three)
async def bit_errors_1e_2(home: Home, times: int) -> None:
    await befall(home, times, bit_errors=1e-2)


@drill(group=GROUP, what="Bytes lost, 1 in 200", times=1000, brief=6, scene=three)
async def lost_bytes(home: Home, times: int) -> None:
    await befall(home, times, lost_bytes=5e-3)


@drill(group=GROUP, what="Bytes inserted, 1 in 200", times=1000, brief=0, scene=three)
async def inserted_bytes(home: Home, times: int) -> None:
    await befall(home, times, inserted_bytes=5e-3)


@drill(
    group=GROUP,
    what="Bursts of 4 to 32 bytes, in 3 of 10 answers",
    times=1000,
    brief=0,
    scene=three,
)
async def bursts(home: Home, times: int) -> None:
    await befall(home, times, burst=0.3)


@drill(
    group=GROUP,
    what="Answers that end early, 3 of 10",
    times=1000,
    brief=6,
    scene=three,
)
async def truncated(home: Home, times: int) -> None:
    await befall(home, times, truncated=0.3)


@drill(
    group=GROUP,
    what="Answers that come together with the next one, 2 of 10",
    times=1000,
    brief=6,
    scene=three,
)
async def merged(home: Home, times: int) -> None:
    await befall(home, times, merged=0.2)


@drill(
    group=GROUP,
    what="Answers that come twice, 3 of 10",
    times=1000,
    brief=6,
    scene=three,
)
async def duplicated(home: Home, times: int) -> None:
    await befall(home, times, duplicated=0.3)


@drill(
    group=GROUP,
    what="Answers that never come, 2 of 10",
    times=1000,
    brief=6,
    scene=three,
)
async def lost(home: Home, times: int) -> None:
    await befall(home, times, lost=0.2)


# Modules are given 0.12 s to answer here, packs 0.5 s, and lines 3 s to forget.
@drill(
    group=GROUP,
    what="Answers just after the time for them, 1 of 10",
    times=1000,
    brief=6,
    scene=both,
)
async def late_a_little(home: Home, times: int) -> None:
    for on in home.stages:
        on.faults.late_by = (on.answer, on.answer + 0.05)
    await befall(home, times, late=0.1, overtakes=True)


@drill(
    group=GROUP,
    what="Answers during the next request, 1 of 10",
    times=1000,
    brief=6,
    scene=both,
)
async def late_by_one(home: Home, times: int) -> None:
    for on in home.stages:
        on.faults.late_by = (on.answer + 0.005, on.answer + 0.2)
    await befall(home, times, late=0.1)


@drill(
    group=GROUP,
    what="Answers three requests later, 1 of 10",
    times=1000,
    brief=6,
    scene=both,
)
async def late_by_three(home: Home, times: int) -> None:
    for on in home.stages:
        on.faults.late_by = (2 * on.answer, 3.5 * on.answer)
    await befall(home, times, late=0.1, overtakes=True)
