"""How far a battery may go: the figures that protection judges by.

Presets are where a person starts. "Arduino-XP-BMS" holds the figures of that project
(version 1.7) for Valence modules, "Seplos" figures outside the pack's own trips, so
that its own electronics act first.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum


class Quantity(StrEnum):
    """What protection watches."""

    CELL_OVER_VOLTAGE = "cell_over_voltage"
    CELL_UNDER_VOLTAGE = "cell_under_voltage"
    CELL_DEEP_DISCHARGE = "cell_deep_discharge"
    CELL_OVER_TEMPERATURE = "cell_over_temperature"
    ELECTRONICS_OVER_TEMPERATURE = "electronics_over_temperature"
    CELL_UNDER_TEMPERATURE = "cell_under_temperature"
    CHARGE_OVER_CURRENT = "charge_over_current"
    DISCHARGE_OVER_CURRENT = "discharge_over_current"
    CELL_SPREAD = "cell_spread"
    LOW_SOC = "low_soc"
    SILENCE = "silence"
    SENSOR_FAULT = "sensor_fault"
    REPORTED_FAULT = "reported_fault"
    REPORTED_WARNING = "reported_warning"
    STOP_WITHOUT_EFFECT = "stop_without_effect"
    RELAY_FAULT = "relay_fault"
    STATE_LOST = "state_lost"


@dataclass(frozen=True, slots=True, kw_only=True)
class Limit:
    """When a quantity warns, stops and cuts off, and inside what each of it clears.

    V, °C, A or %. None switches a level off. What lies beyond `stop` for `delay` s, or
    beyond `warning` for `warning_delay` s, counts; a cut-off counts at once. A cut-off
    clears inside `stop_clear`.
    """

    warning: float | None = None
    warning_clear: float | None = None
    stop: float | None = None
    stop_clear: float | None = None
    cutoff: float | None = None
    delay: float = 0.0
    warning_delay: float = 0.0


# Those of which less is worse.
FALLING = frozenset(
    {
        Quantity.CELL_UNDER_VOLTAGE,
        Quantity.CELL_DEEP_DISCHARGE,
        Quantity.CELL_UNDER_TEMPERATURE,
        Quantity.LOW_SOC,
    }
)

# Names of a battery's own alarms that tell of a fault (Reading.alarms): Valence status
# bits 4, 6, 7, 9, 14, 15; Seplos' hardware faults and locks. No capture shows any set.
VALENCE_FAULTS = frozenset(
    {
        "cell_over_voltage",
        "cell_over_temperature",
        "pcb_over_temperature",
        "battery_failure",
        "cell_under_voltage",
        "nmi_failure",
    }
)
SEPLOS_FAULTS = frozenset(
    {
        "temperature_sensor_fault",
        "front_end_fault",
        "charge_mosfet_fault",
        "discharge_mosfet_fault",
        "open_wire",
        "aerosol",
        "short_circuit_lock",
        "charge_over_current_lock",
        "discharge_over_current_lock",
    }
)


@dataclass(frozen=True, slots=True)
class Span:
    """A time in s that may be set, from where to where."""

    default: float
    low: float
    high: float


SILENCE_CHARGING = Span(15.0, 5.0, 60.0)
SILENCE_DISCHARGING = Span(60.0, 15.0, 1800.0)
GRACE = Span(30.0, 5.0, 300.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """All figures for the batteries of one bus.

    `silence_charging` and `silence_discharging` are s without a fresh whole Reading,
    `grace` s for the first one. `faults` are the battery's own alarms that stop it.
    `latch_all` makes every stop wait for a person, but those that never latch. `signed`
    says that the current's direction has been confirmed; until then its magnitude is
    judged.
    """

    quantities: Mapping[Quantity, Limit] = field(hash=False)
    faults: frozenset[str]
    silence_charging: float = SILENCE_CHARGING.default
    silence_discharging: float = SILENCE_DISCHARGING.default
    grace: float = GRACE.default
    latch_all: bool = False
    signed: bool = True

    def __getitem__(self, quantity: Quantity) -> Limit:
        """Return the limit of a quantity, one without levels where none is set."""
        return FIXED.get(quantity) or self.quantities.get(quantity, NO_LIMIT)


NO_LIMIT = Limit()
# A cell this low has suffered: it is not charged again before a person has looked, V.
DEEP_DISCHARGE = 2.0
# More current than that in a direction that a relay should cut, A.
STOPPED_CURRENT = 2.0
# A fault is there, 1, or not, 0.
_THERE = Limit(stop=0.5, stop_clear=0.5)
# What nobody sets.
FIXED: Mapping[Quantity, Limit] = {
    Quantity.CELL_DEEP_DISCHARGE: Limit(stop=DEEP_DISCHARGE, stop_clear=DEEP_DISCHARGE),
    Quantity.SENSOR_FAULT: _THERE,
    Quantity.REPORTED_FAULT: _THERE,
    Quantity.REPORTED_WARNING: Limit(warning=0.5, warning_clear=0.5),
    Quantity.STOP_WITHOUT_EFFECT: Limit(
        cutoff=STOPPED_CURRENT, stop_clear=STOPPED_CURRENT
    ),
    Quantity.RELAY_FAULT: _THERE,
    Quantity.STATE_LOST: _THERE,
}


@dataclass(frozen=True, slots=True)
class Violation:
    """Two figures of a quantity in the wrong order; `inner` must be reached first.

    Names are those of Limit. An `inner` that is not set at all violates, too.
    """

    quantity: Quantity
    inner: str
    outer: str


# What must lie inside what: the first is reached before the second.
_ORDER = (
    ("warning_clear", "warning"),
    ("stop_clear", "stop"),
    ("stop_clear", "cutoff"),
    ("warning", "stop"),
    ("stop", "cutoff"),
)


def violations(limits: Limits) -> Iterator[Violation]:
    """Yield every pair of figures in the wrong order.

    Where a level is set its clearing must be set, too.
    """
    for quantity, limit in limits.quantities.items():
        for inner, outer in _ORDER:
            near, far = getattr(limit, inner), getattr(limit, outer)
            if far is None:
                continue
            if near is None:
                if inner.endswith("_clear"):
                    yield Violation(quantity, inner, outer)
            elif not (near > far if quantity in FALLING else near < far):
                yield Violation(quantity, inner, outer)


_COLD = Limit(warning=5.0, warning_clear=6.0, stop=0.0, stop_clear=3.0)
_SPREAD = Limit(warning=0.2, warning_clear=0.15, warning_delay=60.0)
_LOW_SOC = Limit(warning=15.0, warning_clear=17.0)
# Beyond what current is wanted only the owner knows.
_CURRENT = Limit(delay=10.0)

ARDUINO_XP_BMS = Limits(
    quantities={
        Quantity.CELL_OVER_VOLTAGE: Limit(
            warning=3.7, warning_clear=3.5, stop=3.9, stop_clear=3.7, cutoff=4.0
        ),
        Quantity.CELL_UNDER_VOLTAGE: Limit(
            warning=3.0,
            warning_clear=3.2,
            stop=2.8,
            stop_clear=3.0,
            cutoff=2.5,
            delay=5.0,
        ),
        Quantity.CELL_OVER_TEMPERATURE: Limit(
            warning=50.0, warning_clear=48.0, stop=60.0, stop_clear=58.0, cutoff=65.0
        ),
        Quantity.ELECTRONICS_OVER_TEMPERATURE: Limit(
            warning=75.0, warning_clear=73.0, stop=80.0, stop_clear=78.0
        ),
        Quantity.CELL_UNDER_TEMPERATURE: _COLD,
        Quantity.CHARGE_OVER_CURRENT: _CURRENT,
        Quantity.DISCHARGE_OVER_CURRENT: _CURRENT,
        Quantity.CELL_SPREAD: _SPREAD,
        Quantity.LOW_SOC: _LOW_SOC,
    },
    faults=VALENCE_FAULTS,
)

SEPLOS = Limits(
    quantities={
        Quantity.CELL_OVER_VOLTAGE: Limit(
            warning=3.66, warning_clear=3.55, stop=3.7, stop_clear=3.5, cutoff=3.8
        ),
        Quantity.CELL_UNDER_VOLTAGE: Limit(
            warning=2.8,
            warning_clear=3.0,
            stop=2.6,
            stop_clear=2.9,
            cutoff=2.5,
            delay=5.0,
        ),
        Quantity.CELL_OVER_TEMPERATURE: Limit(
            warning=57.0, warning_clear=53.0, stop=62.0, stop_clear=55.0, cutoff=65.0
        ),
        Quantity.ELECTRONICS_OVER_TEMPERATURE: Limit(
            warning=100.0, warning_clear=90.0, stop=112.0, stop_clear=95.0
        ),
        Quantity.CELL_UNDER_TEMPERATURE: _COLD,
        Quantity.CHARGE_OVER_CURRENT: _CURRENT,
        Quantity.DISCHARGE_OVER_CURRENT: _CURRENT,
        Quantity.CELL_SPREAD: _SPREAD,
        Quantity.LOW_SOC: _LOW_SOC,
    },
    faults=SEPLOS_FAULTS,
)
