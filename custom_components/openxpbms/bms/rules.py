"""The table of protection: what each rule looks at and what it stops."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum

from .decision import BOTH, Value, Way
from .limits import Limits, Quantity
from .reading import Reading

# Whole Readings running that must look wrong before a sensor is said to be.
SENSOR_READINGS = 2
# What no sensor of a working battery shows: V, °C.
CELL_RANGE = (1.0, 5.0)
TEMPERATURE_RANGE = (-40.0, 120.0)
# How far a battery's own figures may be from its cells: V, and a share.
EXTREMES_APART = 0.05
SUM_APART = 0.03
# Half of the smallest step of a cell voltage, V: less is no more than rounding.
_HALF_STEP = 0.0005


class Latch(StrEnum):
    """Whether a stop waits for a person: never, from the third on, or at once."""

    NEVER = "never"
    THIRD = "third"
    AT_ONCE = "at_once"


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """What the rules look at.

    `strange` counts for each check of `strange_checks` the whole Readings running that
    failed it. `cut` are the directions that relays have had time to cut. `relay` says
    what is wrong with a relay of the battery.
    """

    reading: Reading
    limits: Limits
    whole: bool = False
    strange: Mapping[str, int]
    cut: frozenset[Way] = frozenset()
    relay: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """A row of the table: where values come from and what happens beyond their limit.

    `values` returns None where nothing is told of the quantity.
    """

    quantity: Quantity
    values: Callable[[Seen], list[Value] | None]
    stops: frozenset[Way] = BOTH
    latch: Latch = Latch.THIRD


def _cells(seen: Seen) -> list[Value] | None:
    cells = seen.reading.cell_voltages
    return [Value(volts, n) for n, volts in enumerate(cells, 1)] if cells else None


def _temperatures(seen: Seen) -> list[Value] | None:
    fitted = [
        Value(celsius, number)
        for number, celsius in enumerate(seen.reading.cell_temperatures or (), 1)
        if celsius is not None
    ]
    return fitted or None


def _electronics(seen: Seen) -> list[Value] | None:
    values = [
        Value(celsius, what=what)
        for what, celsius in (
            ("pcb", seen.reading.pcb_temperature),
            ("mosfet", seen.reading.mosfet_temperature),
        )
        if celsius is not None
    ]
    return values or None


def _charging(seen: Seen) -> list[Value] | None:
    current = seen.reading.current
    if current is None:
        return None
    return [Value(current if seen.limits.signed else abs(current))]


def _discharging(seen: Seen) -> list[Value] | None:
    current = seen.reading.current
    if current is None:
        return None
    return [Value(-current if seen.limits.signed else abs(current))]


def _spread(seen: Seen) -> list[Value] | None:
    delta = seen.reading.cell_delta
    return None if delta is None else [Value(delta, seen.reading.lowest_cell)]


def _soc(seen: Seen) -> list[Value] | None:
    return None if seen.reading.soc is None else [Value(seen.reading.soc)]


def _faults(seen: Seen) -> list[Value] | None:
    return _reported(seen, faults=True)


def _warnings(seen: Seen) -> list[Value] | None:
    return _reported(seen, faults=False)


def _reported(seen: Seen, *, faults: bool) -> list[Value] | None:
    if seen.reading.alarms is None:
        return None
    told = [a for a in seen.reading.alarms if (a.name in seen.limits.faults) is faults]
    return [Value(1.0, alarm.number, alarm.name) for alarm in told] or [Value(0.0)]


def _sensors(seen: Seen) -> list[Value] | None:
    if not seen.whole:
        return None
    if not seen.strange:
        return [Value(0.0)]
    worst = max(seen.strange, key=lambda check: seen.strange[check])
    # One strange Reading alone tells nothing yet, neither good nor bad.
    return [Value(1.0, what=worst)] if seen.strange[worst] >= SENSOR_READINGS else None


def _without_effect(seen: Seen) -> list[Value] | None:
    current = seen.reading.current
    if current is None:
        return None
    if not seen.limits.signed:
        # Which way it flows is not known: only where none may is it certainly wrong.
        return [Value(abs(current) if seen.cut == BOTH else 0.0)]
    flows = {Way.CHARGE: current, Way.DISCHARGE: -current}
    return [Value(flows[way], what=way) for way in sorted(seen.cut)] or [Value(0.0)]


def _relay(seen: Seen) -> list[Value] | None:
    return [Value(0.0) if seen.relay is None else Value(1.0, what=seen.relay)]


def _state(seen: Seen) -> list[Value] | None:
    return [Value(0.0)] if seen.whole else None


RULES = (
    Rule(
        quantity=Quantity.CELL_OVER_VOLTAGE,
        values=_cells,
        stops=frozenset({Way.CHARGE}),
    ),
    Rule(
        quantity=Quantity.CELL_UNDER_VOLTAGE,
        values=_cells,
        stops=frozenset({Way.DISCHARGE}),
    ),
    Rule(
        quantity=Quantity.CELL_DEEP_DISCHARGE,
        values=_cells,
        latch=Latch.AT_ONCE,
    ),
    Rule(
        quantity=Quantity.CELL_OVER_TEMPERATURE,
        values=_temperatures,
        latch=Latch.AT_ONCE,
    ),
    Rule(
        quantity=Quantity.ELECTRONICS_OVER_TEMPERATURE,
        values=_electronics,
        latch=Latch.AT_ONCE,
    ),
    Rule(
        quantity=Quantity.CELL_UNDER_TEMPERATURE,
        values=_temperatures,
        stops=frozenset({Way.CHARGE}),
        latch=Latch.NEVER,
    ),
    Rule(quantity=Quantity.CHARGE_OVER_CURRENT, values=_charging, latch=Latch.AT_ONCE),
    Rule(
        quantity=Quantity.DISCHARGE_OVER_CURRENT,
        values=_discharging,
        latch=Latch.AT_ONCE,
    ),
    Rule(quantity=Quantity.CELL_SPREAD, values=_spread),
    Rule(quantity=Quantity.LOW_SOC, values=_soc),
    Rule(quantity=Quantity.SENSOR_FAULT, values=_sensors, latch=Latch.AT_ONCE),
    Rule(quantity=Quantity.REPORTED_FAULT, values=_faults, latch=Latch.AT_ONCE),
    Rule(quantity=Quantity.REPORTED_WARNING, values=_warnings),
    Rule(
        quantity=Quantity.STOP_WITHOUT_EFFECT,
        values=_without_effect,
        latch=Latch.AT_ONCE,
    ),
    Rule(quantity=Quantity.RELAY_FAULT, values=_relay, latch=Latch.AT_ONCE),
    Rule(quantity=Quantity.STATE_LOST, values=_state, latch=Latch.AT_ONCE),
)


def is_whole(reading: Reading) -> bool:
    """Whether there are cell voltages and temperatures at all."""
    return bool(reading.cell_voltages) and any(
        celsius is not None for celsius in reading.cell_temperatures or ()
    )


def strange_checks(reading: Reading) -> list[str]:
    """Return the checks that a whole Reading fails: a sensor may be wrong."""
    cells = reading.cell_voltages or ()
    celsius = [t for t in reading.cell_temperatures or () if t is not None]
    checks = {
        "cell_range": any(not _within(volts, CELL_RANGE) for volts in cells),
        "temperature_range": any(not _within(t, TEMPERATURE_RANGE) for t in celsius),
        "highest_cell": _apart(max(cells), reading.highest_cell_reported),
        "lowest_cell": _apart(min(cells), reading.lowest_cell_reported),
        "sum": reading.voltage is not None
        and abs(sum(cells) - reading.voltage) > SUM_APART * abs(reading.voltage),
    }
    return [check for check, fails in checks.items() if fails]


def _within(value: float, span: tuple[float, float]) -> bool:
    return span[0] <= value <= span[1]


def _apart(value: float, reported: float | None) -> bool:
    return reported is not None and abs(value - reported) > EXTREMES_APART + _HALF_STEP
