"""Measure rounds over 16 virtual modules, two of them dying, at real line speed.

Usage, from the repository's root: python -m scripts.bench_rounds [turnaround in ms] ...
The goal is that no round takes longer than 1 s, as long as any module answers.
"""

import asyncio
from statistics import median
import sys
import time

from custom_components.openxpbms.bms.bus import Bus
from custom_components.openxpbms.bms.reading import Identity
from custom_components.openxpbms.bms.rounds import EAGER, Rounds
from custom_components.openxpbms.bms.valence import TERMINATOR, Valence
from custom_components.openxpbms.bms.virtual import VirtualLine, VirtualModule

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


async def measure(turnaround: float) -> None:
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


if __name__ == "__main__":
    for number in sys.argv[1:] or ("2", "7"):
        asyncio.run(measure(float(number) / 1000))
