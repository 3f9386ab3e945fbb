"""Demo modules that live: charged and discharged, no two of them alike."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import pairwise
import math
import random
from typing import Protocol

from .valence import VirtualModule

# One charge and one discharge, s; it begins in the middle of charging.
PERIOD = 1200.0
_FIRST = PERIOD / 8
# Resistance of a cell, Ohm, and time in which temperatures settle, s.
RESISTANCE = 0.0008
_SETTLING = 600.0
# Cells so far above the lowest are bled, V, while the lowest is not flat.
_SPREAD = 0.02
_BLED_ABOVE = 3.28
# State of charge in % and open-circuit voltage in V of a LiFePO4 cell.
_CURVE = (
    (0, 2.6),
    (5, 3.05),
    (10, 3.17),
    (20, 3.23),
    (40, 3.28),
    (70, 3.31),
    (95, 3.34),
    (100, 3.45),
)


def cell_voltage(soc: float, current: float) -> float:
    """Return the V of a cell at `soc` % with `current` A, positive while charging."""
    (low, at_low), (high, at_high) = next(
        pair for pair in pairwise(_CURVE) if soc <= pair[1][0]
    )
    rest = at_low + (at_high - at_low) * (soc - low) / (high - low)
    return rest + RESISTANCE * current


class Battery(Protocol):
    """What is moved of any battery."""

    current: float
    soc: float
    cell_voltages: list[float]
    cell_temperatures: list[float]


@dataclass(slots=True)
class Cycle:
    """Moves a battery's values on to the time it is asked at.

    `capacity` in Ah, `peak` current in A, `warmth` of the cells at rest in °C. Values
    are moved, not set: what somebody sets from outside has its lasting effect, but for
    the current and what follows from the rest.
    """

    capacity: float
    peak: float
    warmth: float
    _began: float | None = field(default=None, init=False)
    _at: float = field(default=0.0, init=False)
    _level: float = field(default=0.0, init=False)

    def move(self, battery: Battery, now: float) -> float:
        """Move on to the time `now`, in s; return what share of warming up is done."""
        if self._began is None:
            self._began = now - _FIRST
            self._at = _FIRST
            self._level = cell_voltage(battery.soc, 0.0)
        before, self._at = self._at, now - self._began
        battery.current = self.peak * math.sin(_phase(self._at))
        charged = math.cos(_phase(before)) - math.cos(_phase(self._at))
        amp_hours = self.peak * PERIOD / (2 * math.pi) / 3600 * charged
        soc = battery.soc + 100 * amp_hours / self.capacity
        battery.soc = min(max(soc, 0.0), 100.0)
        self._move_voltages(battery)
        share = 1 - math.exp((before - self._at) / _SETTLING)
        self._move_temperatures(battery, share)
        return share

    def _move_voltages(self, battery: Battery) -> None:
        before, self._level = self._level, cell_voltage(battery.soc, battery.current)
        battery.cell_voltages = [
            volts + self._level - before for volts in battery.cell_voltages
        ]

    def _move_temperatures(self, battery: Battery, share: float) -> None:
        warmth = self.warmth + 2 * (battery.current / self.peak) ** 2
        battery.cell_temperatures = [
            degrees + share * (warmth + 0.3 * number - degrees)
            for number, degrees in enumerate(battery.cell_temperatures)
        ]


@dataclass(slots=True)
class Scenario(Cycle):
    """Moves a module on, which bleeds its high cells."""

    def __call__(self, module: VirtualModule, now: float) -> None:
        """Move on to the time `now`, in s."""
        share = self.move(module, now)
        warmth = self.warmth + 2 * (module.current / self.peak) ** 2
        module.pcb_temperature += share * (warmth + 4 - module.pcb_temperature)
        cells = module.cell_voltages
        bled = {n for n, volts in enumerate(cells, 1) if volts > min(cells) + _SPREAD}
        module.balancing = bled if min(cells) > _BLED_ABOVE else set()


def _phase(seconds: float) -> float:
    return 2 * math.pi * seconds / PERIOD


# State of charge in %, °C, V that the second cell is ahead: balancing, warm, ordinary,
# low.
_STATES = ((94.0, 23.0, 0.04), (64.0, 47.5, 0.0), (58.0, 21.5, 0.0), (6.0, 19.0, -0.06))
# Joined modules share their charge: balancing, ordinary, warm, cold.
_JOINED = ((82.4, 22.0, 0.04), (82.0, 24.5, 0.0), (82.6, 47.5, 0.0), (81.8, 3.5, 0.0))
# Model code, revision, cells, Ah.
_U27, _U1 = ("7", 2, 4, 138.0), ("1", 1, 4, 40.0)
_UEV, _U24 = ("V", 2, 6, 69.0), ("4", 2, 4, 110.0)
# Modules that are joined are of one kind.
_KINDS = {"asked": (_U27, _U1, _UEV, _U24), "bank": (_U27,), "string": (_UEV,)}


def demo_modules(count: int, seed: int = 0, mode: str = "asked") -> list[VirtualModule]:
    """Return `count` modules at the addresses from 1; states and kinds take turns.

    Of a bank (in parallel, four cells) or a string (in series, six cells) all are of
    one kind and share their charge.
    """
    return [_demo_module(address, seed, mode) for address in range(1, count + 1)]


def _demo_module(address: int, seed: int, mode: str) -> VirtualModule:
    chance = random.Random(f"{seed}/{address}")
    states, kinds = _STATES if mode == "asked" else _JOINED, _KINDS[mode]
    soc, warmth, ahead = states[(address - 1) % len(states)]
    model, revision, cells, capacity = kinds[(address - 1) % len(kinds)]
    voltages = [cell_voltage(soc, 0.0) + chance.gauss(0, 0.0015) for _ in range(cells)]
    voltages[1] += ahead
    unit = 100 * seed + address
    return VirtualModule(
        address,
        serial=f"{20100 + unit:05d}" if revision == 1 else f"1044{10460 + unit:05d}",
        model=model,
        revision=revision,
        cells=cells,
        cell_voltages=voltages,
        cell_temperatures=[warmth + 0.3 * cell for cell in range(cells)],
        pcb_temperature=warmth + 4,
        soc=soc,
        cycles=180 + 37 * address,
        before_answer=Scenario(capacity, capacity / 4, warmth),
    )
