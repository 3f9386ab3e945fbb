"""What a person wants of virtual batteries: values that stay, alarms, faults."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from difflib import get_close_matches
import math
from typing import Any

from ..reading import Alarm
from ..seplos_tables import ALARMS
from ..valence import ALARM_BITS
from ..virtual import (
    Device,
    VirtualBank,
    VirtualLine,
    VirtualModule,
    VirtualPack,
    WriteFault,
)
from ..virtual.scenario import cell_voltage
from ..virtual.seplos import Intruder

type Battery = VirtualModule | VirtualPack
type Batteries = Mapping[int, Battery]

# How likely a fault is where nobody says it: of each answer, then of bytes and bits.
FAULTS: Mapping[str, float] = {
    "noise": 0.1,
    "burst": 0.1,
    "truncated": 0.1,
    "duplicated": 0.1,
    "merged": 0.1,
    "lost": 0.1,
    "late": 0.1,
    "lost-bytes": 0.002,
    "inserted-bytes": 0.002,
    "bit-errors": 0.0002,
}
# What the registers have room for: V of a cell, °C, A.
_VOLTS, _DEGREES, _AMPERES = (0.0, 9.999), (-99.0, 199.0), (-327.0, 327.0)


def batteries_of(devices: Iterable[Device]) -> dict[int, Battery]:
    """Return the batteries among the devices of a line, by address."""
    found: dict[int, Battery] = {}
    for device in devices:
        each = device.packs if isinstance(device, VirtualBank) else [device]
        for battery in each:
            if isinstance(battery, VirtualModule | VirtualPack):
                found[battery.address] = battery
    return found


def set_cell(batteries: Batteries, text: str) -> None:
    """Hold the voltage of a cell: ADDRESS:CELL=VOLTS. Raises ValueError."""
    _hold_one(batteries, text, "cell", "cell_voltages", _VOLTS)


def set_temperature(batteries: Batteries, text: str) -> None:
    """Hold a cell temperature: ADDRESS:SENSOR=CELSIUS. Raises ValueError."""
    _hold_one(batteries, text, "sensor", "cell_temperatures", _DEGREES)


def set_current(batteries: Batteries, text: str) -> None:
    """Hold a current, positive while charging: ADDRESS=AMPERES. Raises ValueError."""
    address, value = _split(text, "=", "ADDRESS=AMPERES")
    battery, amperes = _battery(batteries, address), _number(value, *_AMPERES)

    def hold() -> None:
        battery.current = amperes

    _always(battery, hold)


def set_soc(batteries: Batteries, text: str) -> None:
    """Begin with a state of charge: PERCENT, or ADDRESS=PERCENT. Raises ValueError."""
    address, _, value = text.rpartition("=")
    percent = _number(value, 0, 100)
    chosen = [_battery(batteries, address)] if address else batteries.values()
    for battery in chosen:
        ahead = cell_voltage(percent, 0.0) - cell_voltage(battery.soc, 0.0)
        battery.cell_voltages = [volts + ahead for volts in battery.cell_voltages]
        battery.soc = percent


def raise_alarm(batteries: Batteries, text: str) -> None:
    """Raise an alarm for good: ADDRESS:NAME, or ADDRESS:NAME:NUMBER of a cell.

    Raises ValueError.
    """
    address, what = _split(text, ":", "ADDRESS:ALARM")
    battery = _battery(batteries, address)
    name, _, number = what.partition(":")
    if isinstance(battery, VirtualModule):
        battery.status_flags |= 1 << _alarm(ALARM_BITS, name, number)
        return
    coil = _alarm(ALARMS, name, number)

    def hold() -> None:
        battery.coils = battery.coils | {coil}

    _always(battery, hold)


def _alarm(known: Mapping[int, Alarm], name: str, number: str) -> int:
    """Return the bit or coil of an alarm; of the first cell where no number is told."""
    wanted = name.replace("-", "_")
    for place, alarm in known.items():
        if alarm.name == wanted and number in ("", str(alarm.number)):
            return place
    told = f"{name} {number}".strip()
    raise ValueError(f"no alarm is called {told}{_nearest(wanted, known)}")


def _nearest(wanted: str, known: Mapping[int, Alarm]) -> str:
    names = {alarm.name for alarm in known.values()}
    near = get_close_matches(wanted, sorted(names))
    return f"; did you mean {', '.join(near)}?" if near else ""


def add_fault(line: VirtualLine, text: str) -> None:
    """Make something go wrong on a line: NAME, or NAME=VALUE. Raises ValueError."""
    name, _, value = text.replace("_", "-").partition("=")
    if name in FAULTS:
        probability = _number(value, 0, 1) if value else FAULTS[name]
        setattr(line.faults, name.replace("-", "_"), probability)
    elif name in _OTHER_FAULTS:
        _OTHER_FAULTS[name](line, value)
    else:
        known = ", ".join((*FAULTS, *_OTHER_FAULTS))
        raise ValueError(f"no fault is called {name}; there are {known}")


def _silent(line: VirtualLine, value: str) -> None:
    _battery(batteries_of(line.devices), value).silent = True


def _no_mark(line: VirtualLine, value: str) -> None:
    line.ignores_mark = True


def _overtakes(line: VirtualLine, value: str) -> None:
    line.faults.overtakes = True


def _write(line: VirtualLine, value: str) -> None:
    faults = [str(fault).replace("_", "-") for fault in WriteFault]
    if value not in faults:
        raise ValueError(f"write=HOW takes one of {', '.join(faults)}")
    for pack in _packs(line, "write"):
        pack.write_fault = WriteFault(value.replace("-", "_"))


def _second_master(line: VirtualLine, value: str) -> None:
    # Its packs are not on this line: two would answer.
    apart = [VirtualPack(pack.address) for pack in _packs(line, "second-master")]
    line.devices.append(Intruder(apart))


_OTHER_FAULTS: Mapping[str, Callable[[VirtualLine, str], None]] = {
    "overtakes": _overtakes,
    "silent": _silent,
    "no-mark": _no_mark,
    "write": _write,
    "second-master": _second_master,
}


def _packs(line: VirtualLine, fault: str) -> list[VirtualPack]:
    each = batteries_of(line.devices).values()
    packs = [battery for battery in each if isinstance(battery, VirtualPack)]
    if not packs:
        raise ValueError(f"the fault {fault} is for Seplos packs")
    return packs


def _hold_one(
    batteries: Batteries, text: str, what: str, name: str, limits: Sequence[float]
) -> None:
    place, value = _split(text, "=", f"ADDRESS:{what.upper()}=VALUE")
    address, number = _split(place, ":", f"ADDRESS:{what.upper()}=VALUE")
    battery = _battery(batteries, address)
    count = len(getattr(battery, name))
    if not number.isdecimal() or not 1 <= int(number) <= count:
        raise ValueError(f"battery {address} has no {what} {number}, only 1 to {count}")
    held = _number(value, *limits)

    def hold() -> None:
        values = list(getattr(battery, name))
        values[int(number) - 1] = held
        setattr(battery, name, values)

    _always(battery, hold)


def _always(battery: Battery, hold: Callable[[], None]) -> None:
    """Hold something from now on, whatever the scenario does with it."""
    move: Callable[[Any, float], None] | None = battery.before_answer

    def both(moved: Any, now: float) -> None:
        if move is not None:
            move(moved, now)
        hold()

    battery.before_answer = both
    hold()


def _battery(batteries: Batteries, address: str) -> Battery:
    if address.isdecimal() and int(address) in batteries:
        return batteries[int(address)]
    known = ", ".join(map(str, batteries))
    raise ValueError(f"there is no battery '{address}', only {known}")


def _split(text: str, mark: str, shape: str) -> tuple[str, str]:
    first, found, rest = text.partition(mark)
    if not found or not first or not rest:
        raise ValueError(f"'{text}' is no {shape}")
    return first, rest


def _number(text: str, lowest: float, highest: float) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not lowest <= value <= highest:
        raise ValueError(f"'{text}' is no number from {lowest:g} to {highest:g}")
    return value
