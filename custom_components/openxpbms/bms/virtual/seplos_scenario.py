"""Demo packs that live: charged and discharged together, no two of them alike."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
import random
from typing import NamedTuple

from .device import Device
from .scenario import Cycle, cell_voltage
from .seplos import CELLS, PIA, PIB, PIC, Lifetime, VirtualBank, VirtualPack

# What balancing follows, in mV: a cell's voltage and how far it is above the lowest.
_BLED_FROM, _BLED_SPREAD = 0x1350, 0x1351
# Settings at which alarms come and go.
_CELL_HIGH, _CELL_LOW = (0x130B, 0x130A), (0x130F, 0x130E)
# Coil of an alarm, the register that it judges, and its settings.
_ALARMS = (
    (PIC + 0x48, PIA + 0x0A, _CELL_HIGH),
    (PIC + 0x4A, PIA + 0x0B, _CELL_LOW),
    (PIC + 0x4C, PIA, (0x1303, 0x1302)),
    (PIC + 0x4E, PIA, (0x1307, 0x1306)),
    (PIC + 0x50, PIA + 0x0C, (0x1330, 0x132F)),
    (PIC + 0x52, PIA + 0x0D, (0x1334, 0x1333)),
    (PIC + 0x72, PIA + 0x05, (0x1355, 0x1354)),
    *((PIC + cell, PIB + cell, _CELL_LOW) for cell in range(CELLS)),
    *((PIC + 0x10 + cell, PIB + cell, _CELL_HIGH) for cell in range(CELLS)),
)


@dataclass(slots=True)
class PackScenario(Cycle):
    """Moves a pack on, which judges itself by its own settings."""

    def __call__(self, pack: VirtualPack, now: float) -> None:
        """Move on to the time `now`, in s."""
        share = self.move(pack, now)
        load = (pack.current / self.peak) ** 2
        mosfets, around = self.warmth + 3 + 8 * load, self.warmth - 1.5
        pack.mosfet_temperature += share * (mosfets - pack.mosfet_temperature)
        pack.ambient_temperature += share * (around - pack.ambient_temperature)
        pack.coils = pack.coils - {coil for coil, *_ in _ALARMS} | set(_alarms(pack))
        pack.balancing = set(_bled(pack))


def _alarms(pack: VirtualPack) -> Iterator[int]:
    """Yield coils of alarms that come, or are there and do not go yet."""
    for coil, register, (comes, goes) in _ALARMS:
        [value] = pack.words(register)
        limit, back = pack.parameters[comes], pack.parameters[goes]
        sign = 1 if limit > back else -1
        beyond = sign * value >= sign * limit
        if beyond or (coil in pack.coils and sign * value > sign * back):
            yield coil


def _bled(pack: VirtualPack) -> Iterator[int]:
    cells = pack.words(PIB, pack.cells)
    spread = pack.parameters[_BLED_SPREAD]
    for number, volts in enumerate(cells, 1):
        if volts >= pack.parameters[_BLED_FROM] and volts - min(cells) >= spread:
            yield number


class _State(NamedTuple):
    """%, °C, V that the third cell is ahead."""

    soc: float
    warmth: float
    ahead: float


# Nearly full with a high cell, ordinary, warm, nearly empty.
_ALONE = (
    _State(96.0, 22.0, 0.065),
    _State(61.0, 20.5, 0.0),
    _State(64.0, 49.5, 0.0),
    _State(7.0, 18.0, 0.0),
)
# Joined in parallel packs share their voltage: a high cell, ordinary, warm, cold.
_JOINED = (
    _State(82.4, 22.0, 0.09),
    _State(82.0, 20.5, 0.0),
    _State(82.6, 49.5, 0.0),
    _State(81.6, 0.5, 0.0),
)
# Device, firmware, how its serial number begins, Ah.
_KINDS = (
    ("SG16S200A-SP57B-A", "15", "SP57B-A", 280.0),
    ("BMS16S200A-SP05B", "13", "SP05B", 304.0),
    ("SG16S200A-SP57B-A", "15", "SP57B-A", 314.0),
)
# Of the first pack: its owner wants to know of high voltages sooner, mV and 0.01 V.
_EARLY = {0x1302: 5340, 0x1303: 5420, 0x130B: 3420}


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


def _demo_pack(number: int, seed: int, states: tuple[_State, ...]) -> VirtualPack:
    """Return a pack at the address `number`; states and kinds take turns."""
    chance = random.Random(f"{seed}/{number}")
    state = states[(number - 1) % len(states)]
    device, firmware, begins, capacity = _KINDS[(number - 1) % len(_KINDS)]
    level = cell_voltage(state.soc, 0.0)
    voltages = [level + chance.gauss(0, 0.002) for _ in range(CELLS)]
    voltages[2] = level + state.ahead
    return VirtualPack(
        number,
        serial=f"{begins}00{seed:02d}{number:06d}",
        device=device,
        firmware=firmware,
        newer_board=firmware == "15",
        cell_voltages=voltages,
        cell_temperatures=[state.warmth + 0.3 * n for n in range(4)],
        ambient_temperature=state.warmth - 1.5,
        mosfet_temperature=state.warmth + 3,
        soc=state.soc,
        soh=100 - round(chance.random(), 1),
        full_capacity=capacity,
        lifetime=Lifetime(cycles=10 + 7 * number, discharge=2800.0 * number),
        parameters={0x1358: round(100 * capacity)} | (_EARLY if number == 1 else {}),
        before_answer=PackScenario(capacity, capacity / 4, state.warmth),
    )
