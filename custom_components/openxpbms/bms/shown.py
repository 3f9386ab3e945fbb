"""What is shown of a battery: names, units and digits; no noise, nothing impossible.

Quantities (`kind`) have Home Assistant's names, and so have the keys of its entities.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import inf
from typing import Any

from .bank import MODEL
from .dead_band import DeadBand
from .families import SEPLOS, VALENCE
from .possible import (
    AMPERES,
    CELL_TEMPERATURES,
    CELL_VOLTS,
    CELLS,
    CURRENT,
    DEGREES,
    PERCENT,
    SOC,
    VOLTAGE,
    Possible,
    Span,
)
from .reading import Group, History, Identity, Level, Reading, State
from .seplos_tables import ALARMS

MANUFACTURERS = {SEPLOS: "Seplos", VALENCE: "Valence"}

type Value = float | int | str | None

AMPERE_HOURS = "Ah"

# How far values flicker without a meaning (docs/figures.md). Cells are not among them:
# every millivolt of one counts.
AMPERES_OF_NOISE = 0.2
KELVINS_OF_NOISE = 0.1
VOLTS_OF_NOISE = 0.001
AMPERE_HOURS_OF_NOISE = 0.1
# Between two cells, each of which flickers.
VOLTS_OF_TWO = 2 * VOLTS_OF_NOISE


def _difference(reading: Reading, shown: Any, value: Any) -> float:
    return float(value - shown)


@dataclass(frozen=True, slots=True, kw_only=True)
class Measure:
    """A value of a reading.

    `kind` is the quantity, `unit` its unit, `digits` how many are worth showing after
    the point. One that `grows` only ever does so. `options` are all values of one that
    is a word. Nothing is shown unless all of `possible` is. What is nearer than
    `dead_band` to what is shown is noise at first; `apart` tells how far a value is
    from that. `cell` is the number of a cell or sensor, `common` the key without it.
    """

    key: str
    name: str
    value: Callable[[Reading], Value]
    kind: str | None = None
    unit: str | None = None
    digits: int | None = None
    grows: bool = False
    options: tuple[str, ...] = ()
    diagnostic: bool = False
    possible: tuple[Possible, ...] = ()
    dead_band: float | None = None
    apart: Callable[[Reading, Any, Any], float] = _difference
    cell: int | None = None
    common: str | None = None
    signed_by_current: bool = False

    def told(self, reading: Reading) -> Value:
        """Return the value in a reading, None where it cannot be."""
        if not all(possible.holds(reading) for possible in self.possible):
            return None
        return self.value(reading)


class Shown:
    """What is shown of one measure of one battery."""

    def __init__(self, measure: Measure) -> None:
        """Begin with nothing shown."""
        self.measure = measure
        self._band: DeadBand[Any] | None = None
        if measure.dead_band is not None:
            self._band = DeadBand(measure.dead_band)

    def take(self, reading: Reading | None, now: float) -> Value:
        """Return what to show at `now` s; None for no reading."""
        value = None if reading is None else self.measure.told(reading)
        band = self._band
        if band is None:
            return value
        apart = 0.0
        if reading is not None and value is not None and band.shown is not None:
            apart = self.measure.apart(reading, band.shown, value)
        shown: Value = band.show(value, apart, now)
        return shown


@dataclass(frozen=True, slots=True, kw_only=True)
class Remembered:
    """A value that a battery keeps of its life; nothing outside of `span` is shown."""

    key: str
    name: str
    value: Callable[[History], float | None]
    kind: str | None = None
    unit: str | None = None
    grows: bool = True
    span: Span | None = None

    def told(self, history: History) -> float | None:
        """Return the value, None where it is not known or cannot be."""
        value = self.value(history)
        return value if self.span is None or self.span.has(value) else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Status:
    """Whether a battery does something, by its own word, and in `details` what."""

    key: str
    name: str
    value: Callable[[Reading], bool | None]
    kind: str | None = "running"
    details: Callable[[Reading], dict[str, Any]] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Troubles:
    """What a battery reports of one group and level, or of all; see `Alarm`.

    `numbered` says what the numbers of its alarms count.
    """

    key: str
    name: str
    group: Group | None = None
    level: Level | None = None
    numbered: str | None = None

    def active(self, reading: Reading) -> list[str]:
        """Return names, each once however many cells it is about."""
        return list(
            dict.fromkeys(
                alarm.name
                for alarm in reading.alarms or ()
                if self.group is None
                or (alarm.group, alarm.level) == (self.group, self.level)
            )
        )

    def details(self, reading: Reading) -> dict[str, Any]:
        """Return the names, and the cells or sensors concerned."""
        active = self.active(reading)
        details: dict[str, Any] = {"active": active}
        if self.numbered:
            warnings = {WARNINGS.get(name, name) for name in active}
            details[self.numbered] = sorted(
                {
                    alarm.number
                    for alarm in reading.alarms or ()
                    if alarm.number is not None and alarm.name in warnings
                }
            )
        return details


def device_name(family: str, identity: Identity) -> str:
    """Return what people call a battery."""
    # A bank tells no more of its packs than their numbers.
    if family == SEPLOS and identity.serial is None:
        return f"{MODEL} pack {identity.address}"
    return f"{identity.model} {identity.serial or identity.address}"


def _voltage(
    key: str, name: str, value: Callable[[Reading], Value], **more: Any
) -> Measure:
    of_voltage: dict[str, Any] = {"kind": "voltage", "unit": "V", "digits": 3}
    return Measure(key=key, name=name, value=value, **of_voltage | more)


def _temperature(
    key: str, name: str, value: Callable[[Reading], float | None], **more: Any
) -> Measure:
    of_temperature: dict[str, Any] = {
        "kind": "temperature",
        "unit": "°C",
        "digits": 1,
        "possible": (Possible(DEGREES, lambda reading: (value(reading),)),),
        "dead_band": KELVINS_OF_NOISE,
    }
    return Measure(key=key, name=name, value=value, **of_temperature | more)


def _current(
    key: str, name: str, value: Callable[[Reading], float | None], **more: Any
) -> Measure:
    return Measure(
        key=key,
        name=name,
        value=value,
        kind="current",
        unit="A",
        possible=(Possible(AMPERES, lambda reading: (value(reading),)),),
        **more,
    )


def _cells_apart(reading: Reading, shown: int, value: int) -> float:
    """Return how far the cell shown as an extreme is from the one that is it now, V."""
    volts = reading.cell_voltages or ()
    return abs(volts[value - 1] - volts[shown - 1]) if shown <= len(volts) else inf


def _volts_apart(reading: Reading, shown: float, value: float) -> float:
    """Return the difference for each cell, V."""
    return (value - shown) / len(reading.cell_voltages or (0,))


def _watts_apart(reading: Reading, shown: float, value: float) -> float:
    """Return the difference as a current at this voltage, A."""
    return (value - shown) / max(reading.voltage or 0.0, 1.0)


def _extreme_cell(
    key: str, name: str, value: Callable[[Reading], int | None]
) -> Measure:
    return Measure(
        key=key,
        name=name,
        value=value,
        digits=0,
        possible=(CELLS,),
        dead_band=VOLTS_OF_TWO,
        apart=_cells_apart,
    )


_READINGS = (
    _voltage(
        "voltage",
        "Voltage",
        lambda r: r.voltage,
        digits=2,
        possible=(VOLTAGE,),
        dead_band=VOLTS_OF_NOISE,
        apart=_volts_apart,
    ),
    _current(
        "current",
        "Current",
        lambda r: r.current,
        digits=2,
        dead_band=AMPERES_OF_NOISE,
        signed_by_current=True,
    ),
    Measure(
        key="power",
        name="Power",
        value=lambda r: r.power,
        kind="power",
        unit="W",
        digits=1,
        possible=(VOLTAGE, CURRENT),
        dead_band=AMPERES_OF_NOISE,
        apart=_watts_apart,
        signed_by_current=True,
    ),
    Measure(
        key="state_of_charge",
        name="State of charge",
        value=lambda r: r.soc,
        kind="battery",
        unit="%",
        digits=1,
        possible=(SOC,),
    ),
    _voltage(
        "lowest_cell_voltage",
        "Lowest cell voltage",
        lambda r: r.lowest_cell_voltage,
        possible=(CELLS,),
    ),
    _voltage(
        "highest_cell_voltage",
        "Highest cell voltage",
        lambda r: r.highest_cell_voltage,
        possible=(CELLS,),
    ),
    _voltage(
        "mean_cell_voltage",
        "Mean cell voltage",
        lambda r: r.mean_cell_voltage,
        possible=(CELLS,),
        dead_band=VOLTS_OF_NOISE,
    ),
    _voltage(
        "cell_delta",
        "Cell voltage delta",
        lambda r: r.cell_delta,
        possible=(CELLS,),
        dead_band=VOLTS_OF_TWO,
    ),
    _extreme_cell("lowest_cell", "Lowest cell", lambda r: r.lowest_cell),
    _extreme_cell("highest_cell", "Highest cell", lambda r: r.highest_cell),
    _temperature(
        "lowest_cell_temperature",
        "Lowest cell temperature",
        lambda r: r.lowest_cell_temperature,
        possible=(CELL_TEMPERATURES,),
    ),
    _temperature(
        "highest_cell_temperature",
        "Highest cell temperature",
        lambda r: r.highest_cell_temperature,
        possible=(CELL_TEMPERATURES,),
    ),
)
_READINGS_VALENCE = (
    _temperature("pcb_temperature", "PCB temperature", lambda r: r.pcb_temperature),
)
_READINGS_SEPLOS = (
    Measure(
        key="remaining_capacity",
        name="Remaining capacity",
        value=lambda r: r.remaining_capacity,
        unit=AMPERE_HOURS,
        digits=2,
        dead_band=AMPERE_HOURS_OF_NOISE,
    ),
    Measure(
        key="full_capacity",
        name="Full capacity",
        value=lambda r: r.full_capacity,
        unit=AMPERE_HOURS,
        digits=2,
    ),
    Measure(
        key="total_discharge",
        name="Total discharge",
        value=lambda r: r.total_discharge,
        unit=AMPERE_HOURS,
        digits=0,
        grows=True,
    ),
    Measure(
        key="state_of_health",
        name="State of health",
        value=lambda r: r.soh,
        unit="%",
        digits=1,
        possible=(Possible(PERCENT, lambda r: (r.soh,)),),
        diagnostic=True,
    ),
    Measure(
        key="cycles",
        name="Cycles",
        value=lambda r: r.cycles,
        digits=0,
        grows=True,
        diagnostic=True,
    ),
    _current(
        "allowed_charge_current",
        "Allowed charge current",
        lambda r: r.allowed_charge_current,
        digits=0,
    ),
    _current(
        "allowed_discharge_current",
        "Allowed discharge current",
        lambda r: r.allowed_discharge_current,
        digits=0,
    ),
    _temperature(
        "mosfet_temperature", "MOSFET temperature", lambda r: r.mosfet_temperature
    ),
    _temperature(
        "ambient_temperature", "Ambient temperature", lambda r: r.ambient_temperature
    ),
)
OPERATING_STATE = Measure(
    key="operating_state",
    name="Operating state",
    value=lambda r: r.state,
    kind="enum",
    options=tuple(state.value for state in State),
)


def _cell(values: tuple[float | None, ...] | None, cell: int) -> float | None:
    return values[cell - 1] if values and cell <= len(values) else None


def _cell_voltage(cell: int) -> Measure:
    return _voltage(
        f"cell_{cell}_voltage",
        f"Cell {cell} voltage",
        lambda r: _cell(r.cell_voltages, cell),
        possible=(Possible(CELL_VOLTS, lambda r: (_cell(r.cell_voltages, cell),)),),
        cell=cell,
        common="cell_voltage",
        diagnostic=True,
    )


def _cell_temperature(cell: int) -> Measure:
    return _temperature(
        f"cell_{cell}_temperature",
        f"Cell {cell} temperature",
        lambda r: _cell(r.cell_temperatures, cell),
        cell=cell,
        common="cell_temperature",
        diagnostic=True,
    )


def measures(family: str, identity: Identity) -> tuple[Measure, ...]:
    """Return what is shown of the readings of a battery, its cells last."""
    cells = identity.cells or 0
    sensors = cells
    readings: tuple[Measure, ...] = (*_READINGS, *_READINGS_VALENCE)
    if family == SEPLOS:
        sensors = identity.sensors or 0
        readings = (*_READINGS, *_READINGS_SEPLOS, OPERATING_STATE)
    return (
        *readings,
        *map(_cell_voltage, range(1, cells + 1)),
        *map(_cell_temperature, range(1, sensors + 1)),
    )


def _remembered(key: str, name: str, field: str = "", **more: Any) -> Remembered:
    return Remembered(
        key=key,
        name=name,
        value=lambda history: getattr(history, field or key),
        **more,
    )


def _extreme(name: str, kind: str, unit: str, span: Span, what: str) -> Remembered:
    return _remembered(
        f"lifetime_{what}", name, what, kind=kind, unit=unit, span=span, grows=False
    )


_OF_TEMPERATURE = "temperature", "°C", DEGREES
_OF_CELL = "voltage", "V", CELL_VOLTS
_OF_CURRENT = "current", "A", AMPERES
_HISTORY = (
    _remembered("cycles", "Cycles"),
    *(
        _extreme(f"Lifetime {what.replace('_', ' ')}", *of, what)
        for what, of in (
            ("highest_temperature", _OF_TEMPERATURE),
            ("lowest_temperature", _OF_TEMPERATURE),
            ("highest_cell_voltage", _OF_CELL),
            ("lowest_cell_voltage", _OF_CELL),
        )
    ),
)
_HISTORY_REVISION_2 = (
    *(
        _extreme(f"Lifetime {what.replace('_', ' ')}", *_OF_CURRENT, what)
        for what in ("highest_charge_current", "highest_discharge_current")
    ),
    _remembered("energy", "Watt-hour counter", kind="energy", unit="Wh"),
    *(
        _remembered(key, name, kind="duration", unit="s")
        for key, name in (
            ("over_voltage_time", "Time over voltage"),
            ("under_voltage_time", "Time under voltage"),
            ("over_temperature_time", "Time over temperature"),
            ("under_temperature_time", "Time under temperature"),
            ("charge_over_current_time", "Time over charge current"),
            ("discharge_over_current_time", "Time over discharge current"),
        )
    ),
    *(
        _remembered(key, name)
        for key, name in (
            ("over_temperature_count", "Over-temperature events"),
            ("under_temperature_count", "Under-temperature events"),
            ("high_output_count", "High output events"),
            ("balance_count", "Balancing events"),
            ("charge_cutoff_count", "Charge cut-offs"),
            ("discharge_cutoff_count", "Discharge cut-offs"),
            ("communication_error_count", "Communication errors"),
            ("reset_count", "Resets"),
        )
    ),
)


def remembered(family: str, identity: Identity) -> tuple[Remembered, ...]:
    """Return what a battery keeps of its life; a Seplos pack's is in its readings."""
    if family == SEPLOS:
        return ()
    if identity.revision == 1:
        return _HISTORY
    return _HISTORY + _HISTORY_REVISION_2


_STATUS = (
    Status(
        key="charging",
        name="Charging",
        value=lambda r: r.charging,
        kind="battery_charging",
    ),
    Status(key="discharging", name="Discharging", value=lambda r: r.discharging),
    # Without a kind, so that the states can say what a MOSFET does.
    Status(
        key="charge_mosfet",
        name="Charge MOSFET",
        value=lambda r: r.charge_mosfet,
        kind=None,
    ),
    Status(
        key="discharge_mosfet",
        name="Discharge MOSFET",
        value=lambda r: r.discharge_mosfet,
        kind=None,
    ),
    # Home Assistant's kind for heat would call a heater that runs hot.
    Status(key="heater", name="Heater", value=lambda r: r.heater),
    Status(
        key="current_limiting",
        name="Current limiting",
        value=lambda r: r.current_limiting,
    ),
)
BALANCING = Status(
    key="balancing",
    name="Balancing",
    value=lambda r: r.balancing_active,
    details=lambda r: {"cells": list(r.balancing or ())},
)


def statuses(family: str) -> tuple[Status, ...]:
    """Return what batteries of a family tell that they do."""
    return (BALANCING, *_STATUS) if family == SEPLOS else (BALANCING,)


# What the numbers of a group's alarms count.
_NUMBERED = {Group.VOLTAGE: "cells", Group.TEMPERATURE: "sensors"}
# A protection names no cell itself: it concerns those that warn at the same time.
WARNINGS = {
    "cell_over_voltage": "high_voltage_of_cell",
    "cell_under_voltage": "low_voltage_of_cell",
    "charge_over_temperature": "high_temperature_of_sensor",
    "charge_under_temperature": "low_temperature_of_sensor",
    "discharge_over_temperature": "high_temperature_of_sensor",
    "discharge_under_temperature": "low_temperature_of_sensor",
}
# Where it is not simply group and level.
_NAMES = {
    (Group.SOC, Level.ALARM): "State of charge alarm",
    (Group.SOC, Level.PROTECTION): "State of charge protection",
    (Group.HARDWARE, Level.PROTECTION): "Hardware fault",
    (Group.LOCK, Level.PROTECTION): "Lock",
}
_GROUPS = tuple(
    Troubles(
        key=f"{group}_{level}",
        name=_NAMES.get((group, level), f"{group} {level}".capitalize()),
        group=group,
        level=level,
        numbered=_NUMBERED.get(group),
    )
    for group, level in dict.fromkeys((a.group, a.level) for a in ALARMS.values())
)
ALARM = Troubles(key="alarm", name="Alarm")


def troubles(family: str) -> tuple[Troubles, ...]:
    """Return what batteries of a family report as trouble."""
    return _GROUPS if family == SEPLOS else (ALARM,)
