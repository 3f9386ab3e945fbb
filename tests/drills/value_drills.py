"""Values that no battery can have, in frames without a fault."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from custom_components.openxpbms.bms.virtual import VirtualModule

from .drill import drill
from .home import Home
from .scenes import three
from .stage import Stage, modules, packs, stage

GROUP = "Values"
CELL = 2


async def told(on: Stage, address: int, change: Callable[[Any], None]) -> None:
    """Let a battery tell something of a kind, over and over."""

    def apply() -> None:
        truth = on.truths[address]
        truth.frozen = True
        change(truth.battery)
        truth.note(carry=True)

    await on.wire.do(apply)


async def told_the_truth(on: Stage, address: int) -> None:
    """Let a battery tell again what is."""
    on.truths[address].frozen = False


def a_cell(volts: float) -> Callable[[Any], None]:
    """Return what gives a battery such a cell."""

    def change(battery: Any) -> None:
        battery.cell_voltages[CELL] = volts

    return change


def a_temperature(celsius: float) -> Callable[[Any], None]:
    """Return what gives a battery such a temperature."""

    def change(battery: Any) -> None:
        battery.cell_temperatures[CELL] = celsius

    return change


def everything(word: int) -> Callable[[Any], None]:
    """Return what makes every cell and temperature the same raw word."""

    def change(battery: Any) -> None:
        battery.cell_voltages[:] = [word / 1000] * battery.cells
        celsius = (
            (word - (word >> 15 << 16)) / 100
            if isinstance(battery, VirtualModule)
            else round((word - 2731) / 10, 1)
        )
        battery.cell_temperatures[:] = [celsius] * len(battery.cell_temperatures)

    return change


async def nonsense(
    home: Home,
    times: int,
    change: Callable[[Any], None],
    *,
    opens: set[str],
    refused: bool = False,
) -> None:
    """Let one battery of each family tell nonsense; what it stops must open at once.

    What a pack tells of its cells may be `refused`, since it could not be told from
    another table: then it counts as silent, which opens what charges after 15 s.
    """
    for _ in range(times):
        async with (
            stage(home, *modules(3), later=True) as some,
            stage(home, *packs(2), later=True) as others,
        ):
            stages = [some, others]
            await asyncio.gather(*(on.ready() for on in stages))
            at_last = {"charge"} if refused else opens
            await asyncio.gather(
                _nonsense(some, change, opens),
                _nonsense(others, change, at_last, 20 if refused else 8),
            )
            home.injected(2)
    home.note(f"opens: {', '.join(sorted(opens)) or 'nothing'}")
    if refused:
        home.note("packs: counts as silent")


async def _nonsense(
    on: Stage, change: Callable[[Any], None], opens: set[str], within: float = 8
) -> None:
    address = max(on.truths)
    with on.sparing(address):
        await told(on, address, change)
        await on.until(
            lambda: all(not on.is_closed(name) for name in opens), within, "opened"
        )
        await on.stay(3.0)
        for name in {"charge", "load"} - opens:
            if not on.is_closed(name):
                on.broken(f"opened {name} for nothing")
        await told_the_truth(on, address)
        await on.recovers()


BOTH = {"charge", "load"}


@drill(group=GROUP, what="A cell of 0 V", times=5, brief=0)
async def cell_of_0_v(home: Home, times: int) -> None:
    await nonsense(home, times, a_cell(0.0), opens=BOTH)


@drill(group=GROUP, what="A cell of 65.535 V", times=5, brief=0)
async def cell_of_65_v(home: Home, times: int) -> None:
    await nonsense(home, times, a_cell(65.535), opens=BOTH, refused=True)


@drill(group=GROUP, what="Every word of cells and temperatures 0", times=5, brief=0)
async def all_zeros(home: Home, times: int) -> None:
    await nonsense(home, times, everything(0), opens=BOTH, refused=True)


@drill(group=GROUP, what="Every word of cells and temperatures 65535", times=5, brief=0)
async def all_ones(home: Home, times: int) -> None:
    await nonsense(home, times, everything(0xFFFF), opens=BOTH, refused=True)


@drill(group=GROUP, what="A temperature of -40 °C", times=5, brief=1)
async def minus_40(home: Home, times: int) -> None:
    await nonsense(home, times, a_temperature(-40.0), opens={"charge"})


@drill(group=GROUP, what="A temperature of exactly 0x0AAB, 0.0 °C", times=5, brief=0)
async def zero_celsius(home: Home, times: int) -> None:
    await nonsense(home, times, a_temperature(0.0), opens=set())


@drill(
    group=GROUP,
    what="Values that stand still for 20 s",
    times=30,
    brief=0,
    scene=three,
)
async def frozen(home: Home, times: int) -> None:
    for _ in range(-(-times // len(home.stages))):
        for on in home.stages:
            for truth in on.truths.values():
                truth.frozen = True
        await asyncio.gather(
            *(on.stay(20.0 if times > 3 else 2.0) for on in home.stages)
        )
        home.injected(len(home.stages))
        for on in home.stages:
            for truth in on.truths.values():
                truth.frozen = False
        await asyncio.gather(*(on.recovers() for on in home.stages))
    home.note("not told from a battery at rest: nothing happens")
