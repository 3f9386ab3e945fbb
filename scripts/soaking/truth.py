"""The true values of every virtual battery, with the times at which they were true.

What a Reading and a sensor should tell is worked out here by other arithmetic than the
integration's.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
import math
import random
from typing import Any

from custom_components.openxpbms.bms.decision import BOTH, Way
from custom_components.openxpbms.bms.reading import Identity
from custom_components.openxpbms.bms.seplos_tables import ALARMS
from custom_components.openxpbms.bms.valence import active_alarms
from custom_components.openxpbms.bms.virtual import VirtualModule, VirtualPack

# What was true longer ago is forgotten, s.
REMEMBERED = 600.0
# A slow wave that all batteries' cells follow, V and s, as charging and emptying do.
LEVEL, SWING, WAVE = 3.3, 0.03, 7200.0
PEAK = 25.0  # A

type Values = Mapping[str, Any]


class Timeline:
    """A value and all that it was before, each with the time since when."""

    def __init__(self) -> None:
        """Begin without any."""
        self._past: deque[tuple[float, Any]] = deque()

    def set(self, value: Any, now: float) -> None:
        """From `now` on it is `value`."""
        past = self._past
        if past and past[-1][1] == value:
            return
        past.append((now, value))
        while len(past) > 1 and past[1][0] < now - REMEMBERED:
            past.popleft()

    def held(self, is_it: Callable[[Any], bool], since: float) -> bool:
        """Whether it was ever such a value since then."""
        for began, value in reversed(self._past):
            if is_it(value):
                return True
            if began <= since:
                return False
        return False

    @property
    def now(self) -> Any:
        """The value now."""
        return self._past[-1][1]


@dataclass(frozen=True, slots=True)
class Extreme:
    """All cells and the one of them that is lowest or highest, mV."""

    cells: tuple[int, ...]
    extreme: int


@dataclass(frozen=True, slots=True)
class Danger:
    """A state in which a battery may not stay connected.

    `ways` are the directions to be stopped, `delay` s that protection may wait; `set`
    are the values: name, index where it is a list, value.
    """

    name: str
    ways: frozenset[Way]
    set: tuple[str, int | None, float]
    delay: float = 0.0


_CHARGE, _DISCHARGE = frozenset({Way.CHARGE}), frozenset({Way.DISCHARGE})
# Beyond the presets of both families; cells and sensors are counted from 0.
DANGERS = {
    "valence": (
        Danger("over-voltage", _CHARGE, ("cell_voltages", 1, 3.95)),
        Danger("over-voltage cut-off", BOTH, ("cell_voltages", 2, 4.06)),
        Danger("under-voltage", _DISCHARGE, ("cell_voltages", 0, 2.7), 5.0),
        Danger("under-voltage cut-off", BOTH, ("cell_voltages", 3, 2.42)),
        Danger("over-temperature", BOTH, ("cell_temperatures", 1, 61.5)),
        Danger("over-temperature cut-off", BOTH, ("cell_temperatures", 2, 66.25)),
        Danger("cold", _CHARGE, ("cell_temperatures", 0, -2.5)),
        Danger("hot electronics", BOTH, ("pcb_temperature", None, 81.5)),
    ),
    "seplos": (
        Danger("over-voltage", _CHARGE, ("cell_voltages", 7, 3.75)),
        Danger("over-voltage cut-off", BOTH, ("cell_voltages", 15, 3.86)),
        Danger("under-voltage", _DISCHARGE, ("cell_voltages", 3, 2.55), 5.0),
        Danger("over-temperature", BOTH, ("cell_temperatures", 1, 63.1)),
        Danger("cold", _CHARGE, ("cell_temperatures", 2, -3.4)),
        Danger("hot electronics", BOTH, ("mosfet_temperature", None, 113.2)),
    ),
}


@dataclass
class Truth:
    """One battery: its values change all the time, and what they were is known.

    `blocks` are what its answers tell, by block; `sensors` what sensors should show.
    `danger` is what it is in, since `danger_since`; `silent_since` is since when it
    does not answer.
    """

    device: VirtualModule | VirtualPack
    family: str
    bus: str
    chance: random.Random
    level: float
    blocks: dict[str, Timeline] = field(default_factory=dict)
    sensors: dict[str, Timeline] = field(default_factory=dict)
    danger: Danger | None = None
    danger_since: float = 0.0
    current_wanted: float = 0.0
    changes: int = 0
    trouble: int = 0
    well_since: float = 0.0

    def __post_init__(self) -> None:
        """Give every cell its own place."""
        device, chance = self.device, self.chance
        self._offsets = [chance.gauss(0, 0.002) for _ in range(device.cells)]
        self._noise = [0.0] * device.cells
        sensors = len(device.cell_temperatures)
        self._celsius = [round(20 + chance.uniform(0, 8), 1) for _ in range(sensors)]
        self._electronics = 26.5
        device.soc = round(chance.uniform(45, 75), 1)

    @property
    def name(self) -> str:
        """How reports call it."""
        return f"{self.bus} {self.device.address}"

    def change(self, now: float, *, charge: bool, discharge: bool) -> None:
        """Give some of the values others, as far as relays let current flow."""
        device, chance = self.device, self.chance
        self.changes += 1
        for cell in chance.sample(range(device.cells), chance.randint(1, 2)):
            self._noise[cell] = chance.choice((-0.002, -0.001, 0.0, 0.001, 0.002))
        some = chance.randrange(len(self._celsius))
        step = chance.choice((-0.1, 0.1))
        self._celsius[some] = round(min(max(self._celsius[some] + step, 15), 40), 1)
        if chance.random() < 0.2:
            self._electronics = round(chance.uniform(22, 45), 1)
        if chance.random() < 0.2:
            device.soc = round(
                min(max(device.soc + chance.choice((-0.1, 0.1)), 30), 90), 1
            )
        if chance.random() < 0.1:
            cells = range(1, device.cells + 1)
            device.balancing = set(chance.sample(cells, chance.randint(0, 2)))
        if chance.random() < 0.05:
            self._warn()
        swing = math.sin(2 * math.pi * now / WAVE)
        self.current_wanted = round(PEAK * swing + chance.uniform(-5, 5), 1)
        self.settle(now, charge=charge, discharge=discharge)

    def _warn(self) -> None:
        """Let it tell of something, or of nothing, that protection does not stop."""
        if isinstance(self.device, VirtualModule):
            self.device.status_flags = self.chance.choice((0, 0, 1 << 5, 1 << 3))
        else:
            self.device.coils = self.chance.choice((set(), set(), {0x1274}, {0x1254}))

    def settle(self, now: float, *, charge: bool, discharge: bool) -> None:
        """Set all values to what they are now; current flows where it can."""
        device = self.device
        base = self.level + LEVEL + SWING * math.sin(2 * math.pi * now / WAVE)
        device.cell_voltages = [
            round(base + offset + noise, 3)
            for offset, noise in zip(self._offsets, self._noise, strict=True)
        ]
        device.cell_temperatures = list(self._celsius)
        if isinstance(device, VirtualModule):
            device.pcb_temperature = self._electronics
        else:
            device.mosfet_temperature = self._electronics
        wanted = self.current_wanted
        flows = charge if wanted > 0 else discharge
        device.current = wanted if flows else 0.0
        if self.danger is not None:
            name, index, value = self.danger.set
            if index is None:
                setattr(device, name, value)
            else:
                getattr(device, name)[index] = value
        self._note(now)

    def endanger(self, danger: Danger | None, now: float) -> None:
        """Bring it into danger or, with None, out of it; `settle` it afterwards."""
        self.danger, self.danger_since = danger, now

    def _note(self, now: float) -> None:
        device = self.device
        blocks = (
            _valence(device) if isinstance(device, VirtualModule) else _seplos(device)
        )
        for block, values in blocks.items():
            self.blocks.setdefault(block, Timeline()).set(values, now)
        for key, value in _sensors(blocks, self.family).items():
            self.sensors.setdefault(key, Timeline()).set(value, now)

    @property
    def identity(self) -> Identity:
        """What a search would have told."""
        device = self.device
        if isinstance(device, VirtualModule):
            names = {"7": "U27-12XP", "1": "U1-12XP", "4": "U24-12XP"}
            return Identity(
                address=device.address,
                serial=device.serial,
                model=names[device.model],
                model_code=device.model,
                revision=device.revision,
                cells=device.cells,
            )
        # A bank tells no more of its packs than their cells and sensors.
        banked = self.bus == "bank"
        model = "Seplos V3" if banked else device.device
        return Identity(
            address=device.address,
            model=model,
            model_code="" if banked else model,
            serial=None if banked else device.serial,
            firmware=None if banked else "1.5",
            cells=device.cells,
            sensors=device.sensors,
            board=device.board,
        )


def _valence(module: VirtualModule) -> dict[str, Values]:
    """Return what each block of a module tells, in the names of a Reading."""
    cells = tuple(module.cell_voltages)
    coarse = round(round(module.soc * 255 / 100) * 20 / 51, 1)
    balancing = tuple(sorted(module.balancing))
    flags = module.status_flags
    return {
        "summary": {
            "voltage": sum(round(1000 * volts) for volts in cells) / 1000,
            "current": module.current,
            "soc": coarse,
            "balancing": balancing,
        },
        "voltages": {
            "cell_voltages": cells,
            "highest_cell_reported": max(cells),
            "lowest_cell_reported": min(cells),
        },
        "temperatures": {
            "pcb_temperature": module.pcb_temperature,
            "cell_temperatures": tuple(module.cell_temperatures),
        },
        "status": {
            "status": flags | (0x100 if balancing and module.revision > 1 else 0),
            "alarms": active_alarms(flags),
        },
        "balancing": {"balancing_active": bool(balancing)},
        "events": {"soc": module.soc if module.revision > 1 else coarse},
    }


def _seplos(pack: VirtualPack) -> dict[str, Values]:
    """Return what each table of a pack tells, in the names of a Reading."""
    cells = tuple(pack.cell_voltages)
    state = "standby"
    if pack.current:
        state = "charging" if pack.current > 0 else "discharging"
    balancing = tuple(sorted(pack.balancing))
    return {
        "pia": {
            "voltage": round(sum(round(1000 * volts) for volts in cells) / 10) / 100,
            "current": pack.current,
            "soc": pack.soc,
            "soh": pack.soh,
            "cycles": pack.lifetime.cycles,
            "remaining_capacity": round(pack.full_capacity * pack.soc) / 100,
            "full_capacity": pack.full_capacity,
            "total_discharge": pack.lifetime.discharge,
            "allowed_charge_current": float(pack.allowed_charge_current),
            "allowed_discharge_current": float(pack.allowed_discharge_current),
            "highest_cell_reported": max(cells),
            "lowest_cell_reported": min(cells),
        },
        "pib": {
            "cell_voltages": cells,
            "cell_temperatures": tuple(pack.cell_temperatures),
            "mosfet_temperature": pack.mosfet_temperature,
            "ambient_temperature": pack.ambient_temperature,
        },
        "pic": {
            "state": state,
            "charging": state == "charging",
            "discharging": state == "discharging",
            "charge_mosfet": True,
            "discharge_mosfet": True,
            "current_limiting": False,
            "heater": False,
            "balancing": balancing,
            "balancing_active": bool(balancing),
            "coils": pack.states(),
            "unknown_coils": (0x127E,),
            "alarms": tuple(ALARMS[coil] for coil in sorted(pack.coils)),
        },
    }


def _sensors(blocks: Mapping[str, Values], family: str) -> dict[str, Any]:
    """Return what sensors should show, by the keys in their unique ids."""
    if family == "valence":
        main, cells, warm = (blocks[b] for b in ("summary", "voltages", "temperatures"))
        shown = {
            "pcb_temperature": warm["pcb_temperature"],
            "state_of_charge": blocks["events"]["soc"],
        }
    else:
        main, cells = blocks["pia"], blocks["pib"]
        warm = cells
        same = ("remaining_capacity", "full_capacity", "total_discharge", "cycles")
        allowed = ("allowed_charge_current", "allowed_discharge_current")
        shown = {key: main[key] for key in (*same, *allowed)}
        shown |= {
            "state_of_charge": main["soc"],
            "state_of_health": main["soh"],
            "mosfet_temperature": warm["mosfet_temperature"],
            "ambient_temperature": warm["ambient_temperature"],
            "operating_state": blocks["pic"]["state"],
        }
    volts, celsius = cells["cell_voltages"], warm["cell_temperatures"]
    millivolts = [round(1000 * v) for v in volts]
    lowest, highest = min(millivolts), max(millivolts)
    return {
        **shown,
        "voltage": main["voltage"],
        "current": main["current"],
        "power": round(main["voltage"] * main["current"], 2),
        "lowest_cell_voltage": lowest / 1000,
        "highest_cell_voltage": highest / 1000,
        "mean_cell_voltage": round(sum(millivolts) / len(millivolts) / 1000, 4),
        "cell_delta": (highest - lowest) / 1000,
        "lowest_cell": Extreme(tuple(millivolts), lowest),
        "highest_cell": Extreme(tuple(millivolts), highest),
        "lowest_cell_temperature": min(celsius),
        "highest_cell_temperature": max(celsius),
        **{f"cell_{n}_voltage": v for n, v in enumerate(volts, 1)},
        **{f"cell_{n}_temperature": t for n, t in enumerate(celsius, 1)},
    }
