"""Whether a battery may be charged, discharged and connected.

Pure: what is known so far, limits, a Reading (or part of one, or none) and a time go
in, a Decision and what is known now come out. No clock, no I/O, no relays. Rules are
rows of a table (`RULES`).

A part of a Reading is judged alone and can only make things worse. A whole one, with
every cell voltage and every fitted temperature, also counts as having heard the battery
and can clear.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from math import inf

from .limits import DEEP_DISCHARGE, FALLING, Limit, Limits, Quantity
from .reading import Reading

# A whole Reading counts as fresh for so long, s.
FRESH = 15.0
# A stop clears after so long inside its clearing limit, s.
CLEAR_AFTER = 60.0
# The third stop of a quantity within a day waits for a person.
DAY = 86400.0
TRIPS_PER_DAY = 3
WHOLE_READINGS = 3
SENSOR_READINGS = 2
# What no sensor of a working battery shows.
CELL_RANGE = (1.0, 5.0)
TEMPERATURE_RANGE = (-40.0, 120.0)
EXTREMES_APART = 0.05
SUM_APART = 0.03
# A relay that was told to cut a direction has had its time, s.
STOPPED_AFTER = 10.0
# Recovery from under-voltage: s, and V that the lowest cell may fall.
RECOVERY = 1800.0
RECOVERY_FALL = 0.03


class Way(StrEnum):
    """A direction of current."""

    CHARGE = "charge"
    DISCHARGE = "discharge"


BOTH = frozenset(Way)


class Severity(StrEnum):
    """How serious a finding is: it tells, it stops a direction, it disconnects."""

    WARNING = "warning"
    STOP = "stop"
    CUTOFF = "cutoff"


class Latch(StrEnum):
    """Whether a stop waits for a person: never, from the third on, or at once."""

    NEVER = "never"
    THIRD = "third"
    AT_ONCE = "at_once"


class Waits(StrEnum):
    """What a finding waits for before it goes."""

    VALUE = "value"
    TIME = "time"
    PERSON = "person"


@dataclass(frozen=True, slots=True)
class Value:
    """A measured value; its cell or sensor, from 1, or a word for what it is about."""

    value: float
    number: int | None = None
    what: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """A row of the table: where values come from and what happens beyond their limit.

    `values` returns None where the Reading does not tell the quantity.
    """

    quantity: Quantity
    values: Callable[[Reading, Limits], list[Value] | None]
    stops: frozenset[Way] = BOTH
    latch: Latch = Latch.THIRD


@dataclass(frozen=True, slots=True)
class Finding:
    """A warning, stop or cut-off that is active.

    `clears` is what the value must reach; `stops` the directions it forbids.
    """

    quantity: Quantity
    severity: Severity
    value: Value | None
    limit: float | None
    clears: float | None
    waits: Waits
    since: float
    stops: frozenset[Way] = frozenset()


@dataclass(frozen=True, slots=True)
class Decision:
    """What is allowed now, and why not more.

    `may_*` is about keeping a way closed; closing one takes `fresh` besides.
    `cut_off` opens everything. `recovering` lets a battery that is only too low be
    connected for charging. `judge` must be called again at `judge_at` at the latest.
    """

    may_charge: bool
    may_discharge: bool
    may_connect: bool
    fresh: bool
    cut_off: bool
    recovering: bool
    findings: tuple[Finding, ...]
    judge_at: float

    @property
    def stops(self) -> Iterator[Finding]:
        """The findings that forbid anything."""
        return (f for f in self.findings if f.severity is not Severity.WARNING)

    @property
    def only_low(self) -> bool:
        """Whether nothing but under-voltage stands against connecting."""
        return all(f.quantity is Quantity.CELL_UNDER_VOLTAGE for f in self.stops)


@dataclass(frozen=True, slots=True)
class Trip:
    """One level of one quantity.

    Times are s of the caller's clock: `beyond` since when the value lies beyond the
    limit, `since` since when this level is active, `inside` since when the value is
    back inside the clearing limit, all None while that is not so.
    """

    beyond: float | None = None
    since: float | None = None
    inside: float | None = None
    latched: bool = False
    value: Value | None = None

    @property
    def active(self) -> bool:
        """Whether this level holds now."""
        return self.since is not None


type Key = tuple[Quantity, Severity]


@dataclass(frozen=True, slots=True, kw_only=True)
class Recovery:
    """Charging a battery that is too low: since when, and its lowest cell then, V."""

    since: float
    lowest: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Memory:
    """All that is remembered of a battery between two judgements.

    `began` is when it was first watched, `heard` when the last whole Reading came and
    `good` when the last that no check found strange. `silent` are the directions that
    its silence forbids since `silent_since`, `whole` counts whole Readings since then.
    `strange` counts for each check the whole Readings running that failed it. `times`
    are the trips of the last day, `stopped` is since when a relay has been open against
    each direction.
    """

    began: float
    trips: Mapping[Key, Trip] = field(default_factory=dict, hash=False)
    times: Mapping[Quantity, tuple[float, ...]] = field(
        default_factory=dict, hash=False
    )
    heard: float | None = None
    good: float | None = None
    silent: frozenset[Way] = frozenset()
    silent_since: float | None = None
    whole: int = 0
    strange: Mapping[str, int] = field(default_factory=dict, hash=False)
    lowest: float | None = None
    stopped: Mapping[Way, float] = field(default_factory=dict, hash=False)
    recovery: Recovery | None = None


def is_whole(reading: Reading) -> bool:
    """Whether every cell voltage and every fitted temperature is there."""
    return bool(reading.cell_voltages) and any(
        celsius is not None for celsius in reading.cell_temperatures or ()
    )


def _cells(reading: Reading, _: Limits) -> list[Value] | None:
    if not reading.cell_voltages:
        return None
    return [Value(volts, n) for n, volts in enumerate(reading.cell_voltages, 1)]


def _temperatures(reading: Reading, _: Limits) -> list[Value] | None:
    fitted = [
        Value(celsius, number)
        for number, celsius in enumerate(reading.cell_temperatures or (), 1)
        if celsius is not None
    ]
    return fitted or None


def _electronics(reading: Reading, _: Limits) -> list[Value] | None:
    values = [
        Value(celsius, what=what)
        for what, celsius in (
            ("pcb", reading.pcb_temperature),
            ("mosfet", reading.mosfet_temperature),
        )
        if celsius is not None
    ]
    return values or None


def _charging(reading: Reading, limits: Limits) -> list[Value] | None:
    if reading.current is None:
        return None
    return [Value(reading.current if limits.signed else abs(reading.current))]


def _discharging(reading: Reading, limits: Limits) -> list[Value] | None:
    if reading.current is None:
        return None
    return [Value(-reading.current if limits.signed else abs(reading.current))]


def _spread(reading: Reading, _: Limits) -> list[Value] | None:
    delta = reading.cell_delta
    return None if delta is None else [Value(delta, reading.highest_cell)]


def _soc(reading: Reading, _: Limits) -> list[Value] | None:
    return None if reading.soc is None else [Value(reading.soc)]


def _reported(reading: Reading, limits: Limits) -> list[Value] | None:
    if reading.alarms is None:
        return None
    faults = [a for a in reading.alarms if a.name in limits.faults]
    return [Value(1.0, a.number, a.name) for a in faults] or [Value(0.0)]


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
    Rule(quantity=Quantity.REPORTED_FAULT, values=_reported, latch=Latch.AT_ONCE),
)


def judge(
    memory: Memory,
    limits: Limits,
    reading: Reading | None,
    now: float,
    *,
    opened: frozenset[Way] = frozenset(),
) -> tuple[Memory, Decision]:
    """Judge a Reading, a part of one, or with None that time has passed.

    `opened` are the directions that a relay has been told to cut because of a stop.
    Times must not run backwards.
    """
    strange = dict(memory.strange)
    whole = reading is not None and is_whole(reading)
    good = False
    if reading is not None and whole:
        failed = _strange(reading)
        strange = {check: strange.get(check, 0) + 1 for check in failed}
        good = not failed
    memory = _silence(memory, limits, now, whole=whole)
    if good and (memory.good is None or now - memory.good > FRESH):
        memory = replace(memory, trips=_outside(memory.trips))
    memory = replace(
        memory,
        strange=strange,
        heard=now if whole else memory.heard,
        good=now if good else memory.good,
        lowest=_lowest(reading, memory.lowest),
        stopped={way: memory.stopped.get(way, now) for way in opened},
    )
    memory = _trips(memory, limits, reading, now, good=good)
    memory = _recovery(memory, now)
    return memory, _decision(memory, limits, now)


def _outside(trips: Mapping[Key, Trip]) -> dict[Key, Trip]:
    """Nobody knows where the values were while nothing was heard."""
    return {key: replace(trip, inside=None) for key, trip in trips.items()}


def _lowest(reading: Reading | None, before: float | None) -> float | None:
    if reading is None or not reading.cell_voltages:
        return before
    return min(reading.cell_voltages)


def _strange(reading: Reading) -> list[str]:
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
    # Values come in millivolts: half of one more is no more than rounding.
    return reported is not None and abs(value - reported) > EXTREMES_APART + 0.0005


def _silence(memory: Memory, limits: Limits, now: float, *, whole: bool) -> Memory:
    heard = memory.began if memory.heard is None else memory.heard
    quiet = now - heard
    silent, since, count = memory.silent, memory.silent_since, memory.whole
    if quiet >= min(limits.silence_charging, limits.silence_discharging):
        long = quiet >= limits.silence_discharging
        silent |= BOTH if long else {Way.CHARGE}
        since = now if since is None else since
        count = 0
    count += bool(silent and whole)
    if count >= WHOLE_READINGS:
        silent, since, count = frozenset(), None, 0
    return replace(memory, silent=silent, silent_since=since, whole=count)


def _trips(
    memory: Memory, limits: Limits, reading: Reading | None, now: float, *, good: bool
) -> Memory:
    trips: dict[Key, Trip] = {}
    times = {
        quantity: tuple(at for at in past if now - at < DAY)
        for quantity, past in memory.times.items()
    }
    for rule in (*RULES, _sensor_rule(memory), _effect_rule(memory, now)):
        values = None if reading is None else rule.values(reading, limits)
        limit = limits[rule.quantity]
        for severity in Severity:
            key = rule.quantity, severity
            before = memory.trips.get(key, Trip())
            trip = _advance(before, key, limit, values, now, good=good)
            if trip.active and not before.active and severity is not Severity.WARNING:
                past = (*times.get(rule.quantity, ()), now)
                times[rule.quantity] = past
                trip = replace(trip, latched=_latches(rule, severity, limits, past))
            if trip != Trip():
                trips[key] = trip
    return replace(memory, trips=trips, times=times)


def _latches(
    rule: Rule, severity: Severity, limits: Limits, past: tuple[float, ...]
) -> bool:
    if severity is Severity.CUTOFF or rule.latch is Latch.AT_ONCE:
        return True
    if rule.latch is Latch.NEVER:
        return False
    return limits.latch_all or len(past) >= TRIPS_PER_DAY


def _figures(limit: Limit, severity: Severity) -> tuple[float | None, float, float]:
    """Return what trips a level, inside what it clears, and after how many s."""
    match severity:
        case Severity.WARNING:
            far, near, delay = limit.warning, limit.warning_clear, limit.warning_delay
        case Severity.STOP:
            far, near, delay = limit.stop, limit.stop_clear, limit.delay
        case Severity.CUTOFF:
            far, near, delay = limit.cutoff, limit.stop_clear, 0.0
    return far, near if near is not None else far or 0.0, delay


def _advance(
    trip: Trip,
    key: Key,
    limit: Limit,
    values: list[Value] | None,
    now: float,
    *,
    good: bool,
) -> Trip:
    """Return a level after `values`, None where nothing was told of its quantity."""
    far, near, delay = _figures(limit, key[1])
    if far is None:
        return trip if trip.latched else Trip()
    sign = -1 if key[0] in FALLING else 1
    if values is not None:
        worst = max(values, key=lambda value: sign * value.value)
        beyond = sign * worst.value > sign * far
        inside = sign * worst.value <= sign * near
        trip = replace(
            trip,
            beyond=(now if trip.beyond is None else trip.beyond) if beyond else None,
            # A part of a Reading may end the way back, but not begin it.
            inside=(now if good and trip.inside is None else trip.inside)
            if inside
            else None,
            value=worst if beyond and not trip.active else trip.value,
        )
    if not trip.active:
        if trip.beyond is not None and now - trip.beyond >= delay:
            return replace(trip, since=now)
        return Trip(beyond=trip.beyond, value=trip.value if trip.beyond else None)
    if trip.latched or trip.inside is None or not good:
        return trip
    wait = 0.0 if key[1] is Severity.WARNING else CLEAR_AFTER
    return Trip() if now - trip.inside >= wait else trip


def _sensor_rule(memory: Memory) -> Rule:
    """Return the rule for sensors, which needs to know what failed before."""

    def values(reading: Reading, _: Limits) -> list[Value] | None:
        if not is_whole(reading):
            return None
        if not memory.strange:
            return [Value(0.0)]
        worst = max(memory.strange, key=lambda check: memory.strange[check])
        if memory.strange[worst] < SENSOR_READINGS:
            return None
        return [Value(1.0, what=worst)]

    return Rule(quantity=Quantity.SENSOR_FAULT, values=values, latch=Latch.AT_ONCE)


def _effect_rule(memory: Memory, now: float) -> Rule:
    """Return the rule for current that flows although a relay should cut it."""
    cut = [way for way, since in memory.stopped.items() if now - since >= STOPPED_AFTER]

    def values(reading: Reading, limits: Limits) -> list[Value] | None:
        flows = {Way.CHARGE: _charging, Way.DISCHARGE: _discharging}
        found = [value for way in cut for value in flows[way](reading, limits) or ()]
        return found or (None if reading.current is None else [Value(0.0)])

    return Rule(quantity=Quantity.STOP_WITHOUT_EFFECT, values=values)


_STOPS: Mapping[Quantity, frozenset[Way]] = {
    rule.quantity: rule.stops for rule in RULES
}


def _recovery(memory: Memory, now: float) -> Memory:
    recovery = memory.recovery
    if recovery is None:
        return memory
    low = memory.trips.get((Quantity.CELL_UNDER_VOLTAGE, Severity.STOP), Trip())
    lowest = -inf if memory.lowest is None else memory.lowest
    goes_on = (
        low.active
        and now - recovery.since < RECOVERY
        and lowest >= DEEP_DISCHARGE
        and lowest > recovery.lowest - RECOVERY_FALL
    )
    return memory if goes_on else replace(memory, recovery=None)


def _decision(memory: Memory, limits: Limits, now: float) -> Decision:
    findings = tuple(_findings(memory, limits, now))
    forbidden = frozenset().union(*(finding.stops for finding in findings))
    cut_off = any(finding.severity is Severity.CUTOFF for finding in findings)
    return Decision(
        may_charge=Way.CHARGE not in forbidden,
        may_discharge=Way.DISCHARGE not in forbidden,
        may_connect=not cut_off,
        fresh=memory.good is not None and now - memory.good <= FRESH,
        cut_off=cut_off,
        recovering=memory.recovery is not None,
        findings=findings,
        judge_at=min(_moments(memory, limits, now), default=inf),
    )


def _findings(memory: Memory, limits: Limits, now: float) -> Iterator[Finding]:
    if memory.silent_since is not None:
        yield Finding(
            Quantity.SILENCE,
            Severity.STOP,
            None,
            limits.silence_charging,
            None,
            Waits.VALUE,
            memory.silent_since,
            memory.silent,
        )
    for (quantity, severity), trip in memory.trips.items():
        if trip.since is None:
            continue
        far, near, _ = _figures(limits[quantity], severity)
        stops = _STOPS.get(quantity, BOTH)
        if severity is Severity.CUTOFF:
            stops = BOTH
        elif severity is Severity.WARNING:
            stops = frozenset()
        waits = _waits(trip, severity, now)
        yield Finding(
            quantity, severity, trip.value, far, near, waits, trip.since, stops
        )


def _waits(trip: Trip, severity: Severity, now: float) -> Waits:
    if trip.inside is None:
        return Waits.VALUE
    if severity is not Severity.WARNING and now - trip.inside < CLEAR_AFTER:
        return Waits.TIME
    return Waits.PERSON if trip.latched else Waits.TIME


def _moments(memory: Memory, limits: Limits, now: float) -> Iterator[float]:
    """Yield the times at which time alone changes something."""
    heard = memory.began if memory.heard is None else memory.heard
    times = [
        heard + limits.silence_charging,
        heard + limits.silence_discharging,
    ]
    if memory.good is not None:
        times.append(memory.good + FRESH)
    if memory.recovery is not None:
        times.append(memory.recovery.since + RECOVERY)
    for (quantity, severity), trip in memory.trips.items():
        if trip.beyond is not None and not trip.active:
            times.append(trip.beyond + _figures(limits[quantity], severity)[2])
    yield from (at for at in times if at > now)


def acknowledge(memory: Memory, now: float) -> Memory:
    """A person clears the latches of which nothing else is left.

    The others stay: their values are not back yet.
    """
    fresh = memory.good is not None and now - memory.good <= FRESH
    cleared = {
        key
        for key, trip in memory.trips.items()
        if fresh and trip.latched and _waits(trip, key[1], now) is Waits.PERSON
    }
    quantities = {quantity for quantity, _ in cleared}
    return replace(
        memory,
        trips={k: trip for k, trip in memory.trips.items() if k not in cleared},
        times={q: past for q, past in memory.times.items() if q not in quantities},
    )


def recover(memory: Memory, now: float) -> Memory:
    """A person connects a battery that is only too low, so that it can be charged."""
    if memory.lowest is None or memory.lowest < DEEP_DISCHARGE:
        return memory
    return replace(memory, recovery=Recovery(since=now, lowest=memory.lowest))
