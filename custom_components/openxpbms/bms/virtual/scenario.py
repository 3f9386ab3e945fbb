"""A demo bank that lives: it charges and discharges, and no two modules are alike."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import pairwise
import math
import random

from .valence import VirtualModule

# One charge and one discharge, s.
PERIOD = 900.0
CAPACITY = 138.0
RESISTANCE = 0.0006
# Open-circuit voltage of a LiFePO4 cell over its state of charge, V.
_CURVE = (
    (0, 2.6),
    (5, 3.05),
    (10, 3.17),
    (20, 3.23),
    (40, 3.28),
    (70, 3.31),
    (95, 3.34),
)
_FULL = 3.45


@dataclass(slots=True)
class Scenario:
    """Moves one module's values on to the time it is asked at."""

    base_soc: float
    amplitude: float
    warmth: float
    offsets: list[float]
    balances: bool
    noise: random.Random
    started: float | None = field(default=None)

    def __call__(self, module: VirtualModule, now: float) -> None:
        """Set the values of time `now`, in s."""
        if self.started is None:
            self.started = now
        phase = 2 * math.pi * (now - self.started) / PERIOD
        current = self.amplitude * math.sin(phase)
        charged = self.amplitude * PERIOD / (2 * math.pi) * (1 - math.cos(phase)) / 3600
        module.current = round(current + self.noise.gauss(0, 0.03), 2)
        module.soc = round(min(100.0, self.base_soc + 100 * charged / CAPACITY), 1)
        rest = _open_circuit(module.soc) + current * RESISTANCE
        module.cell_voltages = [
            round(rest + offset + self.noise.gauss(0, 0.0004), 3)
            for offset in self.offsets
        ]
        heat = self.warmth + 1.5 * math.sin(phase / 2) ** 2
        module.cell_temperatures = [
            round(heat + 0.4 * cell + self.noise.gauss(0, 0.02), 2)
            for cell in range(module.cells)
        ]
        module.pcb_temperature = round(heat + 3.2, 2)
        highest = max(range(module.cells), key=module.cell_voltages.__getitem__)
        module.balancing = {highest + 1} if self.balances else set()


def _open_circuit(soc: float) -> float:
    points = (*_CURVE, (100, _FULL))
    for (low, at_low), (high, at_high) in pairwise(points):
        if soc <= high:
            return at_low + (at_high - at_low) * (soc - low) / (high - low)
    return _FULL


# Balancing, warm, low, ordinary: state of charge, A, °C, what one cell is ahead, V.
_STATES = (
    (93.0, 24.0, 23.0, 0.041, True),
    (64.0, 38.0, 47.5, 0.004, False),
    (9.0, 20.0, 19.0, -0.028, False),
    (58.0, 30.0, 21.5, 0.003, False),
)
_KINDS = (("7", 2, 4), ("7", 2, 4), ("1", 1, 4), ("V", 2, 6))


def demo_modules(count: int, seed: int = 0) -> list[VirtualModule]:
    """Return `count` modules at the addresses from 1; four states take turns."""
    modules = []
    for number in range(count):
        soc, amplitude, warmth, ahead, balances = _STATES[number % len(_STATES)]
        model, revision, cells = _KINDS[number % len(_KINDS)]
        noise = random.Random(f"{seed}/{number}")
        offsets = [noise.gauss(0, 0.0012) for _ in range(cells)]
        offsets[2] += ahead
        serial = (
            f"{20101 + 100 * seed + number:05d}"
            if revision == 1
            else f"1044{10461 + 100 * seed + number:05d}"
        )
        modules.append(
            VirtualModule(
                number + 1,
                serial=serial,
                model=model,
                revision=revision,
                cells=cells,
                cycles=180 + 37 * number,
                before_answer=Scenario(
                    soc, amplitude, warmth, offsets, balances, noise
                ),
            )
        )
    return modules
