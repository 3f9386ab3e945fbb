"""Measure rounds over virtual batteries at real line speed.

Usage, from the repository's root: python -m scripts.bench_rounds [seplos | ms] ...
A number of ms measures 16 Valence modules that take so long to answer, two of them
dying; the goal is that no round takes longer than 1 s, as long as any module answers.
"seplos" measures 1, 4 and 16 packs against the time that their bytes need on the wire.
"""

import asyncio
from math import inf
from statistics import median
import sys
import time

from custom_components.openxpbms.bms.bus import Bus, Timing
from custom_components.openxpbms.bms.reading import Identity
from custom_components.openxpbms.bms.rounds import EAGER, Rounds
from custom_components.openxpbms.bms.seplos import LINE, Seplos
from custom_components.openxpbms.bms.valence import TERMINATOR, Valence
from custom_components.openxpbms.bms.virtual import (
    VirtualLine,
    VirtualModule,
    VirtualPack,
)

MODULES = 16
DEAD = (5, 11)


def identity(module: VirtualModule) -> Identity:
    """Return who a module is."""
    return Identity(
        address=module.address,
        serial=module.serial,
        model="U27-12XP",
        model_code=module.model,
        revision=module.revision,
        cells=module.cells,
    )


async def measure_valence(turnaround: float) -> None:
    """Print the times of rounds with modules that take `turnaround` s to answer."""
    modules = [
        VirtualModule(n, serial=f"1044{n:05d}", turnaround=turnaround)
        for n in range(1, MODULES + 1)
    ]
    async with VirtualLine(modules) as line:
        bus = Bus(line.path, terminator=TERMINATOR)
        rounds = Rounds(Valence(bus), [identity(module) for module in modules])

        async def go(name: str, number: int, pause: float) -> None:
            times = []
            for _ in range(number):
                start = time.monotonic()
                await rounds.round()
                times.append(time.monotonic() - start)
                await asyncio.sleep(max(0.0, pause - times[-1]))
            silent = sum(battery.silent for battery in rounds.batteries)
            print(
                f"{1000 * turnaround:3.0f} ms  {name:34} {number:3} rounds, "
                f"{silent} silent: median {median(times):.3f} s, "
                f"worst {max(times):.3f} s",
                flush=True,
            )

        await go("the first one, listening for 2 s", 1, 0)
        await go("all alive, one history each", MODULES, 1)
        await go("all alive", 10, 1)
        rounds.batteries[0].slow_from = 0.0
        for address in DEAD:
            modules[address - 1].silent = True
        await go("the round in which two die", 1, 1)
        await go("two dead, asked every round", round(EAGER) - 1, 1)
        await go("two dead, asked every 10 s", 25, 1)
        for address in DEAD:
            modules[address - 1].silent = False
        await go("until both are back", 11, 1)
        if line.complaints:
            print(line.complaints)
        await bus.close()


# A round asks each pack for PIA, PIB and PIC: three requests, and 41, 57 and 23 bytes.
PACK_BYTES = 3 * 8 + 41 + 57 + 23
PACK_TURNAROUND = 0.01
PACK_ROUNDS = 10


async def measure_seplos(count: int, turnaround: float) -> None:
    """Print the time of rounds with a pause of `turnaround` s before each request."""
    packs = [
        VirtualPack(n, serial=f"SP57B-A{n:010d}", turnaround=PACK_TURNAROUND)
        for n in range(count)
    ]
    on_wire = count * LINE.seconds(PACK_BYTES)
    at_best = on_wire + 3 * count * PACK_TURNAROUND
    async with VirtualLine(packs) as line:
        bus = Bus(line.path, timing=Timing(turnaround=turnaround))
        family = Seplos(bus)
        await family.open()
        rounds = Rounds(family, [await family.identify(n) for n in range(count)])
        for battery in rounds.batteries:
            battery.slow_from = inf
        await rounds.round()
        times = []
        for _ in range(PACK_ROUNDS):
            start = time.monotonic()
            await rounds.round()
            times.append(time.monotonic() - start)
        silent = sum(battery.silent for battery in rounds.batteries)
        print(
            f"{count:2} packs, pause {1000 * turnaround:2.0f} ms: "
            f"median {median(times):.3f} s, worst {max(times):.3f} s, {silent} silent; "
            f"{median(times) / on_wire:.2f} x the bytes' own {on_wire:.3f} s, "
            f"{median(times) / at_best:.2f} x that with the packs' pauses",
            flush=True,
        )
        if line.complaints:
            print(line.complaints)
        await bus.close()


async def main(arguments: list[str]) -> None:
    """Measure what was asked for, else everything."""
    for argument in arguments or ("seplos", "2", "7"):
        if argument != "seplos":
            await measure_valence(float(argument) / 1000)
            continue
        for count in (1, 4, 16):
            for turnaround in (0.025, 0.0):
                await measure_seplos(count, turnaround)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1:]))
