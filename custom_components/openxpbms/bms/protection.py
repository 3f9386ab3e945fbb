"""Whether a battery may be charged, discharged and connected.

Pure: what is known so far, limits, a Reading (or part of one, or none) and a time go
in, a Decision and what is known now come out. No clock, no I/O, no relays. The rules
are rows of a table (rules.py).

A part of a Reading is judged alone and can only make things worse. A whole one, with
every cell voltage and every fitted temperature, also counts as having heard the battery
and can clear.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from math import inf

from .decision import (
    BOTH,
    Decision,
    Finding,
    Obstacle,
    Severity,
    Value,
    Waits,
    Way,
    is_low,
)
from .limits import DEEP_DISCHARGE, FALLING, Limit, Limits, Quantity
from .reading import Reading
from .rules import RULES, Latch, Rule, Seen, is_whole, strange_checks

# A whole Reading counts as fresh for so long, s.
FRESH = 15.0
# A stop clears after so long inside its clearing limit, s.
CLEAR_AFTER = 60.0
# The third stop of a quantity within a day waits for a person.
DAY = 86400.0
TRIPS_PER_DAY = 3
# Silence ends with so many whole Readings.
WHOLE_READINGS = 3
# A relay that was told to cut a direction has had its time, s.
STOPPED_AFTER = 10.0
# Recovery from under-voltage: s, and V that the lowest cell may fall.
RECOVERY = 1800.0
RECOVERY_FALL = 0.03


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
    are the stops of the last day, `cut` is since when a relay has been told to cut each
    direction. `outside` are values outside their clearing limits.
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
    cut: Mapping[Way, float] = field(default_factory=dict, hash=False)
    outside: Mapping[Quantity, Value] = field(default_factory=dict, hash=False)
    recovery: Recovery | None = None


@dataclass(frozen=True, slots=True)
class Relays:
    """What is known of a battery's relays.

    `cut` are the directions that one has been told to cut because of a stop, `fault` is
    what is wrong with one.
    """

    cut: frozenset[Way] = frozenset()
    fault: str | None = None


_NO_RELAYS = Relays()


def unheard(memory: Memory, now: float) -> Memory:
    """Return what stays when nobody could listen until now: silence begins anew."""
    return replace(
        memory, began=now, heard=None, silent=frozenset(), silent_since=None, whole=0
    )


def lost(began: float) -> Memory:
    """Return the memory of a battery whose kept state cannot be read: it is latched."""
    trip = Trip(since=began, latched=True)
    return Memory(began=began, trips={(Quantity.STATE_LOST, Severity.STOP): trip})


def judge(
    memory: Memory,
    limits: Limits,
    reading: Reading | None,
    now: float,
    *,
    part: bool = False,
    relays: Relays = _NO_RELAYS,
) -> tuple[Memory, Decision]:
    """Judge a Reading, with `part` a part of one, or with None that time has passed.

    Times must not run backwards.
    """
    whole = reading is not None and not part and is_whole(reading)
    good = False
    strange = memory.strange
    if reading is not None and whole:
        failed = strange_checks(reading)
        strange = {check: strange.get(check, 0) + 1 for check in failed}
        good = not failed
    memory = _silence(memory, limits, now, whole=whole)
    if good and (memory.good is None or now > memory.good + FRESH):
        memory = replace(memory, trips=_outside_meanwhile(memory.trips))
    cut = {way: memory.cut.get(way, now) for way in relays.cut}
    seen = Seen(
        reading=reading or Reading(),
        limits=limits,
        whole=whole,
        strange=strange,
        cut=frozenset(way for way, at in cut.items() if now >= at + STOPPED_AFTER),
        relay=relays.fault,
    )
    memory = replace(
        memory,
        strange=strange,
        heard=now if whole else memory.heard,
        good=now if good else memory.good,
        lowest=_lowest(seen.reading, memory.lowest),
        cut=cut,
        outside=_outside(seen, memory.outside) if reading else memory.outside,
    )
    memory = _recovery(_trips(memory, seen, now, good=good), now)
    return memory, _decision(memory, limits, now)


def _lowest(reading: Reading, before: float | None) -> float | None:
    lowest = reading.lowest_cell_voltage
    return before if lowest is None else lowest


def _outside_meanwhile(trips: Mapping[Key, Trip]) -> dict[Key, Trip]:
    """Nobody knows where the values were while nothing was heard."""
    return {key: replace(trip, inside=None) for key, trip in trips.items()}


def _silence(memory: Memory, limits: Limits, now: float, *, whole: bool) -> Memory:
    silent, since, count = memory.silent, memory.silent_since, memory.whole
    due = {way for way, at in _silent_at(memory, limits).items() if now >= at}
    if due:
        silent |= due
        since = now if since is None else since
        count = 0
    count += bool(silent and whole)
    if count >= WHOLE_READINGS:
        silent, since, count = frozenset(), None, 0
    return replace(memory, silent=silent, silent_since=since, whole=count)


def _silent_at(memory: Memory, limits: Limits) -> dict[Way, float]:
    """Return when silence begins to forbid each direction."""
    if memory.heard is None:
        return dict.fromkeys(Way, memory.began + limits.grace)
    return {
        Way.CHARGE: memory.heard + limits.silence_charging,
        Way.DISCHARGE: memory.heard + limits.silence_discharging,
    }


def _outside(seen: Seen, before: Mapping[Quantity, Value]) -> dict[Quantity, Value]:
    """Return the values that would have to go further before their stop cleared.

    Any part may add to those `before`, only a whole Reading that tells of one ends it.
    """
    found: dict[Quantity, Value] = {}
    for rule in RULES:
        quantity, values = rule.quantity, rule.values(seen)
        limit = seen.limits[quantity]
        if not _acts(limit):
            continue
        worst = None if values is None else _worst(quantity, values)
        near = _figures(limit, Severity.STOP)[1]
        if worst is not None and not _inside(quantity, worst, near):
            found[quantity] = worst
        elif quantity in before and (worst is None or not seen.whole):
            found[quantity] = before[quantity]
    return found


def _acts(limit: Limit) -> bool:
    return limit.stop is not None or limit.cutoff is not None


def _worst(quantity: Quantity, values: list[Value]) -> Value:
    sign = _sign(quantity)
    return max(values, key=lambda value: sign * value.value)


def _sign(quantity: Quantity) -> int:
    return -1 if quantity in FALLING else 1


def _inside(quantity: Quantity, value: Value, near: float) -> bool:
    sign = _sign(quantity)
    return sign * value.value <= sign * near


# Nothing is the matter.
_QUIET = Trip()


def _is_beyond(key: Key, limit: Limit, value: Value | None) -> bool:
    far = _figures(limit, key[1])[0]
    sign = _sign(key[0])
    return far is not None and value is not None and sign * value.value > sign * far


def _trips(memory: Memory, seen: Seen, now: float, *, good: bool) -> Memory:
    trips: dict[Key, Trip] = {}
    times = {
        quantity: recent
        for quantity, past in memory.times.items()
        if (recent := tuple(at for at in past if now - at < DAY))
    }
    for rule in RULES:
        values = rule.values(seen)
        worst = None if values is None else _worst(rule.quantity, values)
        limit = seen.limits[rule.quantity]
        for severity in Severity:
            key = rule.quantity, severity
            before = memory.trips.get(key, _QUIET)
            if before is _QUIET and not _is_beyond(key, limit, worst):
                continue
            trip = _advance(before, key, limit, worst, now, good=good)
            if trip.active and not before.active and severity is not Severity.WARNING:
                past = times.get(rule.quantity, ())
                if severity is Severity.STOP:
                    past = times[rule.quantity] = (*past, now)
                latched = _latches(rule, severity, seen.limits, past)
                trip = replace(trip, latched=latched)
            if trip != _QUIET:
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
        case _:
            far, near, delay = limit.cutoff, limit.stop_clear, 0.0
    return far, near if near is not None else far or 0.0, delay


def _advance(
    trip: Trip,
    key: Key,
    limit: Limit,
    worst: Value | None,
    now: float,
    *,
    good: bool,
) -> Trip:
    """Return a level after its worst value, None where nothing was told."""
    quantity, severity = key
    far, near, delay = _figures(limit, severity)
    if far is None:
        if not trip.latched:
            return _QUIET
        # Its limit was taken away meanwhile: only the person is missing.
        return replace(
            trip, inside=now if good and trip.inside is None else trip.inside
        )
    if worst is not None:
        beyond = _is_beyond(key, limit, worst)
        inside = _inside(quantity, worst, near)
        trip = replace(
            trip,
            # A part of a Reading may begin the delay and end the way back, no more.
            beyond=_since(trip.beyond, now, begins=beyond, goes_on=beyond or not good),
            inside=_since(trip.inside, now, begins=inside and good, goes_on=inside),
            value=worst if beyond and not trip.active else trip.value,
        )
    elif good:
        # A whole Reading without it: nobody knows where it is.
        trip = replace(trip, inside=None)
    if not trip.active:
        if trip.beyond is not None and now >= trip.beyond + delay:
            return replace(trip, since=now)
        return _QUIET if trip.beyond is None else trip
    if trip.latched or trip.inside is None or not good:
        return trip
    wait = 0.0 if severity is Severity.WARNING else CLEAR_AFTER
    return _QUIET if now >= trip.inside + wait else trip


def _since(
    before: float | None, now: float, *, begins: bool, goes_on: bool
) -> float | None:
    if before is None:
        return now if begins else None
    return before if goes_on else None


_STOPS: Mapping[Quantity, frozenset[Way]] = {
    rule.quantity: rule.stops for rule in RULES
}


def _low_trips(memory: Memory) -> dict[Key, Trip]:
    return {
        key: trip
        for key, trip in memory.trips.items()
        if key[0] is Quantity.CELL_UNDER_VOLTAGE
        and key[1] is not Severity.WARNING
        and trip.active
    }


def _recovery(memory: Memory, now: float) -> Memory:
    recovery = memory.recovery
    if recovery is None:
        return memory
    lowest = -inf if memory.lowest is None else memory.lowest
    low = _low_trips(memory) or Quantity.CELL_UNDER_VOLTAGE in memory.outside
    goes_on = (
        low
        and now < recovery.since + RECOVERY
        and lowest >= DEEP_DISCHARGE
        and round(recovery.lowest - lowest, 4) < RECOVERY_FALL
    )
    return memory if goes_on else replace(memory, recovery=None)


def _decision(memory: Memory, limits: Limits, now: float) -> Decision:
    recovering = memory.recovery is not None
    findings = tuple(_findings(memory, limits, now))
    active = [f for f in findings if not (recovering and is_low(f))]
    forbidden = frozenset().union(*(finding.stops for finding in active))
    if len(active) < len(findings):
        # It is connected to be charged, not to be emptied further.
        forbidden |= {Way.DISCHARGE}
    cut_off = any(finding.severity is Severity.CUTOFF for finding in active)
    stopped = {finding.quantity for finding in findings if finding.stops}
    obstacles = tuple(
        Obstacle(
            quantity,
            value,
            _figures(limits[quantity], Severity.STOP)[1],
            _STOPS[quantity],
        )
        for quantity, value in memory.outside.items()
        if quantity not in stopped and _acts(limits[quantity])
    )
    return Decision(
        may_charge=Way.CHARGE not in forbidden,
        may_discharge=Way.DISCHARGE not in forbidden,
        may_connect=not cut_off,
        fresh=_is_fresh(memory, now),
        cut_off=cut_off,
        recovering=recovering,
        findings=findings,
        obstacles=obstacles,
        judge_at=min(_moments(memory, limits, now), default=inf),
    )


def _is_fresh(memory: Memory, now: float) -> bool:
    """Whether the last whole Reading is young and nothing in it looked strange."""
    young = memory.good is not None and now <= memory.good + FRESH
    return young and not memory.strange


def _findings(memory: Memory, limits: Limits, now: float) -> Iterator[Finding]:
    if memory.silent_since is not None:
        yield Finding(
            quantity=Quantity.SILENCE,
            severity=Severity.STOP,
            value=None,
            limit=_silence_limit(memory, limits),
            clears=None,
            waits=Waits.VALUE,
            since=memory.silent_since,
            stops=memory.silent,
        )
    for (quantity, severity), trip in memory.trips.items():
        if trip.since is None:
            continue
        far, near, _ = _figures(limits[quantity], severity)
        stops = _STOPS[quantity]
        if severity is Severity.CUTOFF:
            stops = BOTH
        elif severity is Severity.WARNING:
            stops = frozenset()
        yield Finding(
            quantity=quantity,
            severity=severity,
            value=trip.value,
            limit=far,
            clears=near,
            waits=_waits(trip, severity, now),
            since=trip.since,
            stops=stops,
        )


def _silence_limit(memory: Memory, limits: Limits) -> float:
    if memory.heard is None:
        return limits.grace
    return min(limits.silence_charging, limits.silence_discharging)


def _waits(trip: Trip, severity: Severity, now: float) -> Waits:
    if trip.inside is None:
        return Waits.VALUE
    if severity is not Severity.WARNING and now < trip.inside + CLEAR_AFTER:
        return Waits.TIME
    return Waits.PERSON if trip.latched else Waits.TIME


def _moments(memory: Memory, limits: Limits, now: float) -> Iterator[float]:
    """Yield the times at which time alone changes something."""
    times = list(_silent_at(memory, limits).values())
    if memory.good is not None:
        # Just beyond it, for up to there it is fresh.
        times.append(memory.good + FRESH + 0.001)
    if memory.recovery is not None:
        times.append(memory.recovery.since + RECOVERY)
    for (quantity, severity), trip in memory.trips.items():
        if trip.beyond is not None and not trip.active:
            times.append(trip.beyond + _figures(limits[quantity], severity)[2])
        elif trip.latched and trip.inside is not None:
            times.append(trip.inside + CLEAR_AFTER)
    yield from (at for at in times if at > now)


def acknowledge(memory: Memory, now: float) -> Memory:
    """A person clears the latches of which nothing else is left.

    The others stay: their values are not back yet, or not for long enough.
    """
    if not _is_fresh(memory, now):
        return memory
    cleared = {
        key
        for key, trip in memory.trips.items()
        if trip.latched and _waits(trip, key[1], now) is Waits.PERSON
    }
    quantities = {quantity for quantity, _ in cleared}
    return replace(
        memory,
        trips={k: trip for k, trip in memory.trips.items() if k not in cleared},
        times={q: past for q, past in memory.times.items() if q not in quantities},
    )


def recover(memory: Memory, now: float) -> Memory:
    """A person connects a battery that is only too low, so that it can be charged.

    That acknowledges its latches: they clear by themselves when the cells are back.
    """
    if memory.lowest is None or memory.lowest < DEEP_DISCHARGE:
        return memory
    low = {k: replace(t, latched=False) for k, t in _low_trips(memory).items()}
    return replace(
        memory,
        trips={**memory.trips, **low},
        times={
            q: past
            for q, past in memory.times.items()
            if q is not Quantity.CELL_UNDER_VOLTAGE
        },
        recovery=Recovery(since=now, lowest=memory.lowest),
    )
