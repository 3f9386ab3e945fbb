"""Demo packs that live: charged and discharged together, no two of them alike."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
import math
import random

from .device import Device
from .scenario import PERIOD, cell_voltage
from .seplos import PIC, Lifetime, VirtualBank, VirtualPack

CAPACITY = 280.0
PEAK = 70.0
# Cells so far above the lowest are bled, V.
_SPREAD = 0.02
# Limits of the packs' own alarms: V a cell, °C.
_HIGH_CELL = 3.38
_WARM, _COLD = 45.0, 2.0
_CELL_HIGH, _PACK_HIGH, _CHARGE_HIGH_T = PIC + 0x48, PIC + 0x4C, PIC + 0x50
_CHARGE_LOW_T = PIC + 0x52
_SOC_LOW = PIC + 0x72


@dataclass(slots=True)
class PackScenario:
    """Moves a pack's values on to the time it is asked at.

    `offsets` are V that each cell is ahead of the pack's mean.
    """

    offsets: Sequence[float]
    warmth: float
    _began: float | None = field(default=None, init=False)
    _at: float = field(default=0.0, init=False)

    def __call__(self, pack: VirtualPack, now: float) -> None:
        """Move on to the time `now`, in s."""
        if self._began is None:
            self._began = now - PERIOD / 8
            self._at = PERIOD / 8
        before, self._at = self._at, now - self._began
        pack.current = round(PEAK * math.sin(_phase(self._at)), 2)
        charged = math.cos(_phase(before)) - math.cos(_phase(self._at))
        amp_hours = PEAK * PERIOD / (2 * math.pi) / 3600 * charged
        pack.soc = min(max(pack.soc + 100 * amp_hours / CAPACITY, 0.0), 100.0)
        level = cell_voltage(pack.soc, pack.current)
        pack.cell_voltages = [level + offset for offset in self.offsets]
        pack.cell_temperatures = [
            self.warmth + 0.4 * n + 2 * (pack.current / PEAK) ** 2
            for n in range(pack.sensors)
        ]
        pack.mosfet_temperature = self.warmth + 3 + abs(pack.current) / 10
        self._judge(pack)

    def _judge(self, pack: VirtualPack) -> None:
        """Set what the pack would say of this."""
        cells = pack.cell_voltages
        high = {
            n + 0x10 + PIC: volts for n, volts in enumerate(cells) if volts > _HIGH_CELL
        }
        coils = set(high)
        if high:
            coils |= {_CELL_HIGH}
        if sum(cells) > _HIGH_CELL * len(cells):
            coils |= {_PACK_HIGH}
        if max(pack.cell_temperatures) > _WARM:
            coils |= {_CHARGE_HIGH_T}
        if min(pack.cell_temperatures) < _COLD:
            coils |= {_CHARGE_LOW_T}
        if pack.soc < 10:
            coils |= {_SOC_LOW}
        pack.coils = coils
        ahead = {n for n, v in enumerate(cells, 1) if v > min(cells) + _SPREAD}
        pack.balancing = ahead if pack.soc > 80 else set()


def _phase(seconds: float) -> float:
    return 2 * math.pi * seconds / PERIOD


# A high cell that is bled, ordinary, warm, nearly empty: %, °C, V of cell 3 ahead.
_ALONE = ((95.0, 22.0, 0.05), (61.0, 20.5, 0.0), (64.0, 44.5, 0.0), (7.0, 18.0, 0.0))
# Joined in parallel packs share their voltage: a high cell, ordinary, warm, cold.
_JOINED = ((82.4, 22.0, 0.06), (82.0, 20.5, 0.0), (82.6, 44.5, 0.0), (81.6, 1.0, 0.0))


def demo_lone_packs(count: int, seed: int = 0) -> list[Device]:
    """Return packs to be asked: one alone is at address 0, several are from 1 on."""
    packs = [_demo_pack(number, seed, _ALONE) for number in range(1, count + 1)]
    if count == 1:
        packs[0].address = 0
    return list(packs)


def demo_bank(count: int, seed: int = 0) -> list[Device]:
    """Return a bank of `count` packs whose first is master."""
    numbers = range(1, count + 1)
    return [VirtualBank([_demo_pack(number, seed, _JOINED) for number in numbers])]


def _demo_pack(
    number: int, seed: int, states: Sequence[tuple[float, float, float]]
) -> VirtualPack:
    """Four states take turns."""
    soc, warmth, ahead = states[(number - 1) % len(states)]
    chance = random.Random(1000 * seed + number)
    offsets = [chance.uniform(-0.004, 0.004) for _ in range(16)]
    offsets[2] += ahead
    return VirtualPack(
        number,
        serial=f"SP57B-A00{seed:02d}{number:06d}",
        soc=soc,
        soh=round(100 - chance.random(), 1),
        full_capacity=CAPACITY,
        lifetime=Lifetime(cycles=10 + 7 * number, discharge=2800.0 * number),
        ambient_temperature=round(warmth - 1.5, 1),
        before_answer=PackScenario(offsets, warmth),
    )
