"""Which relays must open, may stay and may close, from the batteries' Decisions.

Pure, like protection.py: no clock, no I/O. A bus may have a charge relay (PV, a
charger), a load relay, and connection relays of its batteries. What must stop opens its
relay; where that is not there, the connection relay. Closing takes a whole fresh
Reading of everybody concerned.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from math import inf

from .decision import Decision, Finding, Obstacle, Way, is_cold, is_low
from .limits import STOPPED_CURRENT, Quantity
from .reading import Reading

# Closes of connection relays are so far apart, s, of the same one and of any.
SAME_AGAIN = 60.0
NEXT_CLOSE = 5.0
# Less than this, V a cell, is rounding.
_ROUNDING = 1e-6


class Joined(StrEnum):
    """How the batteries of a bus are joined."""

    SINGLE = "single"
    PARALLEL = "parallel"
    SERIES = "series"
    STRINGS = "strings"


class Want(StrEnum):
    """What a relay should do: open, stay as it is, or close."""

    OPEN = "open"
    HOLD = "hold"
    CLOSE = "close"


@dataclass(frozen=True, slots=True, kw_only=True)
class Outputs:
    """The relays of a bus, by names that only the caller understands.

    `connections` and `strings` (the number of its string) are by the battery's address.
    `at_once`: any stop but cold opens everything. `cold_disconnects`: cold opens the
    connection relay where there is no charge relay. `delay` is s between charge and
    load and the connection, `window` V a cell within which batteries are joined.
    """

    joined: Joined = Joined.SINGLE
    charge: str | None = None
    load: str | None = None
    connections: Mapping[int, str] = field(default_factory=dict, hash=False)
    strings: Mapping[int, int] = field(default_factory=dict, hash=False)
    at_once: bool = False
    cold_disconnects: bool = False
    delay: float = 0.5
    window: float = 0.025

    def string_of(self, address: int) -> tuple[str, int]:
        """Return what names the string of a battery; in parallel each is its own."""
        if self.joined is Joined.SERIES:
            return "string", 0
        if self.joined is Joined.STRINGS and address in self.strings:
            return "string", self.strings[address]
        return "battery", address

    def relay_of(self, address: int) -> str | None:
        """Return the connection relay of a battery, or of its string."""
        string = self.string_of(address)
        mates = [a for a in self.connections if self.string_of(a) == string]
        own = self.connections.get(address)
        return own if own or not mates else self.connections[mates[0]]

    def relays(self) -> list[str]:
        """Return all relays, each once, in the order in which they open."""
        shared = [name for name in (self.charge, self.load) if name is not None]
        return list(dict.fromkeys([*shared, *self.connections.values()]))


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """A battery as the outputs see it.

    `wanted` is the person's switch; `tested` while its outputs are opened for a test.
    `reading` is the last whole one. `relay_open` is what its connection relay reports,
    None where that is unknown or where it has none.
    """

    address: int
    decision: Decision
    wanted: bool = True
    tested: bool = False
    reading: Reading | None = None
    relay_open: bool | None = None


@dataclass(frozen=True, slots=True)
class Waiting:
    """Why a connection does not close yet.

    It waits for its turn, or is `apart` V a cell from the others, or, with `unknown`,
    nobody knows how far.
    """

    relay: str
    apart: float | None = None
    unknown: bool = False


@dataclass(frozen=True, slots=True)
class Plan:
    """What every relay should do now; to be made anew at `at` at the latest.

    `voting` are the addresses of the batteries that count for the relays of the bus.
    `cut` are the directions in which each battery, by address, is to be cut off because
    of a stop.
    """

    wants: Mapping[str, Want]
    waiting: tuple[Waiting, ...] = ()
    voting: frozenset[int] = frozenset()
    cut: Mapping[int, frozenset[Way]] = field(default_factory=dict)
    at: float = inf


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanMemory:
    """Since when connections must open, and when they were last closed, by relay.

    `unseen` are those that were told to close within the last minute and have not been
    seen closed since, `closing` those among them that have been wanted closed all the
    time.
    """

    opening: Mapping[str, float] = field(default_factory=dict, hash=False)
    closed: Mapping[str, float] = field(default_factory=dict, hash=False)
    unseen: frozenset[str] = frozenset()
    closing: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class _String:
    """Batteries that carry the same current: what one must, all must.

    `reports` say of each of its relays whether it is open, None where that is unknown.
    """

    members: tuple[Member, ...]
    reports: tuple[tuple[str, bool | None], ...]

    @property
    def relays(self) -> frozenset[str]:
        return frozenset(relay for relay, _ in self.reports)

    @property
    def fresh(self) -> bool:
        return all(member.decision.fresh for member in self.members)

    def may(self, way: Way, outputs: Outputs) -> bool:
        """Whether a relay of the bus may let current flow that way for it.

        Who is switched off and has no relay of its own needs those of the bus for it.
        """
        return all(
            member.decision.may(way)
            and not member.tested
            and (member.wanted or bool(self.relays))
            and not (
                outputs.at_once
                and any(not is_cold(found) for found in member.decision.stops)
            )
            for member in self.members
        )

    def may_begin(self, way: Way) -> bool:
        return all(member.decision.may_begin(way) for member in self.members)

    @property
    def tested(self) -> bool:
        return any(member.tested for member in self.members)

    @property
    def isolated(self) -> bool:
        """Whether it is known to be cut off: a relay is open and no current flows."""
        if any(map(_has_relay_fault, self.members)):
            return False  # what its relay reports is not to be trusted
        # What flowed when it was last heard says nothing about now.
        currents = (
            member.reading.current
            for member in self.members
            if member.reading and member.decision.fresh
        )
        flows = any(abs(c) > STOPPED_CURRENT for c in currents if c is not None)
        return any(is_open for _, is_open in self.reports) and not flows

    @property
    def connected(self) -> bool:
        """Whether it is known to be connected; one without relays always is."""
        return all(is_open is False for _, is_open in self.reports)

    def may_be_connected(self, unseen: Container[str]) -> bool:
        """Whether it is not isolated, or is not if those `unseen` are closed."""
        return not self.isolated or all(
            relay in unseen for relay, is_open in self.reports if is_open
        )

    @property
    def cell_voltage(self) -> float | None:
        """Mean V of its cells, None where not all of them are known now."""
        if not self.fresh:
            return None
        cells: list[float] = []
        for member in self.members:
            if member.reading is None or not member.reading.cell_voltages:
                return None
            cells.extend(member.reading.cell_voltages)
        return sum(cells) / len(cells)


def plan(
    outputs: Outputs,
    members: Iterable[Member],
    memory: PlanMemory,
    now: float,
    *,
    charging_wanted: bool = True,
) -> tuple[PlanMemory, Plan]:
    """Return what every relay of a bus should do at `now`.

    Without `charging_wanted` (storage) the charge relay opens. A connection that is
    wanted closed counts as closed from now on: call this only where that is then tried.
    """
    strings = list(_strings(outputs, members))
    opening = _opening(outputs, strings, memory, now)
    unseen = _unseen(strings, memory, now)
    memory = replace(memory, opening=opening, unseen=unseen)
    memory, closes, waiting = _join(outputs, strings, memory, now)
    voting = [s for s in strings if s.tested or s.may_be_connected(memory.unseen)]
    wants = _shared(outputs, voting, opening, charging_wanted=charging_wanted)
    delay = outputs.delay if wants else 0.0
    for relay in _relays(strings):
        want = Want.CLOSE if relay in closes else Want.HOLD
        if relay in opening and now >= opening[relay] + delay:
            want = Want.OPEN
        # Whatever else it serves counts as well.
        wants[relay] = stricter(want, wants.get(relay, Want.CLOSE))
    due = [since + delay for since in opening.values()]
    for at in memory.closed.values():
        due += at + NEXT_CLOSE, at + SAME_AGAIN
    return memory, Plan(
        wants,
        waiting,
        frozenset(m.address for s in voting for m in s.members),
        {m.address: _cut(outputs, wants, s, m) for s in strings for m in s.members},
        min((at for at in due if at > now), default=inf),
    )


def stricter(*wants: Want) -> Want:
    """Return what several who use one relay want together: on only if all agree."""
    for want in (Want.OPEN, Want.HOLD):
        if want in wants:
            return want
    return Want.CLOSE


def _strings(outputs: Outputs, members: Iterable[Member]) -> Iterator[_String]:
    groups: dict[tuple[str, int], list[Member]] = {}
    for member in members:
        groups.setdefault(outputs.string_of(member.address), []).append(member)
    for group in groups.values():
        reports = (
            (outputs.connections[member.address], member.relay_open)
            for member in group
            if member.address in outputs.connections
        )
        yield _String(tuple(group), tuple(reports))


def _unseen(
    strings: Iterable[_String], memory: PlanMemory, now: float
) -> frozenset[str]:
    """Return the relays that may be closed although they report that they are open."""
    reports = (report for string in strings for report in string.reports)
    seen = {relay for relay, is_open in reports if is_open is False}
    lately = (r for r in memory.unseen if now < memory.closed[r] + SAME_AGAIN)
    return frozenset(lately) - seen


def _relays(strings: Iterable[_String]) -> list[str]:
    return list(dict.fromkeys(r for string in strings for r in sorted(string.relays)))


def _shared(
    outputs: Outputs,
    voting: list[_String],
    opening: Container[str],
    *,
    charging_wanted: bool,
) -> dict[str, Want]:
    """Return what the relays of the bus should do: the strictest vote counts.

    They open with the last connection, and before it.
    """
    staying = [
        string
        for string in voting
        if not string.isolated and not any(r in opening for r in string.relays)
    ]
    known = any(string.connected for string in staying)
    wants: dict[str, Want] = {}
    for relay, way in ((outputs.charge, Way.CHARGE), (outputs.load, Way.DISCHARGE)):
        if relay is None:
            continue
        allowed = all(string.may(way, outputs) for string in voting)
        if not staying or not allowed or (way is Way.CHARGE and not charging_wanted):
            want = Want.OPEN
        elif known and all(string.may_begin(way) for string in voting):
            want = Want.CLOSE
        else:
            want = Want.HOLD
        # One relay may serve both ways.
        wants[relay] = stricter(want, wants.get(relay, Want.CLOSE))
    return wants


def _opening(
    outputs: Outputs, strings: list[_String], memory: PlanMemory, now: float
) -> dict[str, float]:
    """Return since when each connection relay must be open."""
    must = {
        relay
        for string in strings
        if any(must_disconnect(outputs, member) for member in string.members)
        for relay in string.relays
    }
    return {relay: memory.opening.get(relay, now) for relay in must}


def must_disconnect(outputs: Outputs, member: Member) -> bool:
    """Whether a battery must not stay connected, by a person's wish or its Decision."""
    if not member.wanted or member.tested or not member.decision.may_connect:
        return True
    return any(_disconnects(outputs, finding) for finding in member.decision.stops)


def _disconnects(outputs: Outputs, found: Finding | Obstacle) -> bool:
    """Whether what stops, or would, opens the connection relay."""
    cold = is_cold(found)
    if outputs.at_once and not cold:
        return True
    if Way.CHARGE in found.stops and outputs.charge is None:
        return not cold or outputs.cold_disconnects
    return Way.DISCHARGE in found.stops and outputs.load is None


def _may_close(outputs: Outputs, string: _String) -> bool:
    """Whether all of a string is known, fresh and inside its clearing limits."""
    return string.fresh and not any(
        _forbids(outputs, found, member.decision)
        for member in string.members
        for found in member.decision.against
    )


def _has_relay_fault(member: Member) -> bool:
    findings = member.decision.findings
    return any(finding.quantity is Quantity.RELAY_FAULT for finding in findings)


def _forbids(outputs: Outputs, found: Finding | Obstacle, decision: Decision) -> bool:
    if is_cold(found):
        return _disconnects(outputs, found)
    return not (decision.recovering and is_low(found))


def _cut(
    outputs: Outputs, wants: Mapping[str, Want], string: _String, member: Member
) -> frozenset[Way]:
    """Return the ways in which a stopped battery should carry no more current."""
    stopped = {way for finding in member.decision.stops for way in finding.stops}
    apart = any(wants[relay] is Want.OPEN for relay in string.relays)
    shared = {Way.CHARGE: outputs.charge, Way.DISCHARGE: outputs.load}
    return frozenset(
        way for way in stopped if apart or wants.get(shared[way] or "") is Want.OPEN
    )


def _join(
    outputs: Outputs, strings: list[_String], memory: PlanMemory, now: float
) -> tuple[PlanMemory, set[str], tuple[Waiting, ...]]:
    """Let connection relays close, one after the other and near in voltage."""
    closes: set[str] = set()
    candidates: dict[str, list[_String]] = {}
    for relay in _relays(strings):
        group = [string for string in strings if relay in string.relays]
        if relay in memory.opening or not all(_may_close(outputs, s) for s in group):
            continue
        reports = {
            is_open
            for string in group
            for its, is_open in string.reports
            if its == relay
        }
        if reports == {False}:
            closes.add(relay)
        elif reports == {True}:
            candidates[relay] = group
    closing: set[str] = set()
    closed = dict(memory.closed)
    waiting: list[Waiting] = []
    distances = _distances(strings, candidates, memory.unseen, outputs.window)
    for relay in candidates:
        apart = distances[relay]
        same = closed.get(relay, -inf)
        newest = max(closed.values(), default=-inf)
        if apart is None:
            waiting.append(Waiting(relay, unknown=True))
        elif apart > outputs.window + _ROUNDING:
            waiting.append(Waiting(relay, apart))
        elif relay in memory.closing and now < same + SAME_AGAIN:
            # Who shares it may agree only now.
            closing.add(relay)
        elif now < same + SAME_AGAIN or now < newest + NEXT_CLOSE:
            waiting.append(Waiting(relay))
        else:
            closing.add(relay)
            closed[relay] = now
    memory = replace(
        memory,
        closed=closed,
        unseen=memory.unseen | closing,
        closing=frozenset(closing),
    )
    return memory, closes | closing, tuple(waiting)


def _distances(
    strings: list[_String],
    candidates: Mapping[str, list[_String]],
    unseen: Container[str],
    window: float,
) -> dict[str, float | None]:
    """Return for each relay how far, V a cell, its batteries are from the others.

    The others are those that are connected, together, and each that may be: what its
    relay does is not known, or it was told to close. With none, the largest group of
    candidates that lies inside the window, whose members are 0 apart. None where
    voltages are not known.
    """
    apart: dict[str, float | None] = {}
    free: dict[str, list[_String]] = {}
    for relay, group in candidates.items():
        others = [
            string
            for string in strings
            if string not in group and string.may_be_connected(unseen)
        ]
        here = _volts(group)
        known = _volts(string for string in others if string.connected)
        doubtful = _volts(string for string in others if not string.connected)
        if here is None or known is None or doubtful is None:
            apart[relay] = None
        elif not others:
            free[relay] = group
        else:
            means = [sum(known) / len(known)] if known else []
            apart[relay] = _farthest(here, means + doubtful)
    return apart | _apart_from_largest(free, window)


def _volts(strings: Iterable[_String]) -> list[float] | None:
    volts = [string.cell_voltage for string in strings]
    known = [v for v in volts if v is not None]
    return known if len(known) == len(volts) else None


def _farthest(some: list[float], others: list[float]) -> float:
    return max(abs(one - other) for one in some for other in others)


def _apart_from_largest(
    free: Mapping[str, list[_String]], window: float
) -> dict[str, float]:
    """Return 0 for the relays of the largest group inside the window.

    All of it lies inside the window, so that it does not matter who closes first. One
    relay alone is a group, whatever its batteries: they are joined already. The others
    are told how far the group's farthest battery is.
    """
    volts = {relay: _volts(group) or [] for relay, group in free.items()}
    ordered = sorted(free, key=lambda relay: sum(volts[relay]) / len(volts[relay]))
    best: list[str] = []
    size = 0
    for first in range(len(ordered)):
        run: list[str] = []
        for relay in ordered[first:]:
            inside = [v for r in (*run, relay) for v in volts[r]]
            if run and max(inside) - min(inside) > window + _ROUNDING:
                break
            run.append(relay)
        batteries = {m.address for r in run for s in free[r] for m in s.members}
        if len(batteries) > size:
            best, size = run, len(batteries)
    group = [v for relay in best for v in volts[relay]]
    return {
        relay: 0.0 if relay in best else _farthest(volts[relay], group)
        for relay in free
    }
