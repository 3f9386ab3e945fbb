"""Which relays must open, may stay and may close, from the batteries' Decisions.

Pure, like protection.py: no clock, no I/O. A bus may have a charge relay (PV, a
charger), a load relay, and connection relays of its batteries. What must stop opens its
relay; where that is not there, the connection relay. Closing takes a whole fresh
Reading of everybody concerned.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from math import inf

from .decision import Decision, Finding, Obstacle, Way, is_cold, is_low
from .limits import STOPPED_CURRENT
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

    `cut` are the directions in which each battery, by address, is to be cut off because
    of a stop.
    """

    wants: Mapping[str, Want]
    waiting: tuple[Waiting, ...] = ()
    cut: Mapping[int, frozenset[Way]] = field(default_factory=dict)
    at: float = inf


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanMemory:
    """Since when connections must open, and when they were last closed, by relay."""

    opening: Mapping[str, float] = field(default_factory=dict, hash=False)
    closed: Mapping[str, float] = field(default_factory=dict, hash=False)


@dataclass(frozen=True, slots=True)
class _String:
    """Batteries that carry the same current: what one must, all must."""

    members: tuple[Member, ...]
    relays: frozenset[str]

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
            and not (outputs.at_once and any(map(_is_not_cold, member.decision.stops)))
            for member in self.members
        )

    def may_begin(self, way: Way) -> bool:
        return all(member.decision.may_begin(way) for member in self.members)

    @property
    def connected(self) -> bool:
        """Whether it has a vote: it is not known to be cut off and without current."""
        if not any(member.relay_open for member in self.members):
            return True
        currents = (m.reading.current for m in self.members if m.reading)
        return any(abs(c) > STOPPED_CURRENT for c in currents if c is not None)

    @property
    def cell_voltage(self) -> float | None:
        """Mean V of its cells, None where not all of them are known now."""
        if not self.fresh:
            return None
        cells = [
            volts
            for member in self.members
            if member.reading and member.reading.cell_voltages
            for volts in member.reading.cell_voltages
        ]
        return sum(cells) / len(cells) if cells else None


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
    wants = _shared(outputs, strings, charging_wanted=charging_wanted)
    opening = _opening(outputs, strings, memory, now)
    memory = replace(memory, opening=opening)
    delay = outputs.delay if wants else 0.0
    due = [since + delay for since in opening.values()]
    for relay in _relays(strings):
        over = relay in opening and now - opening[relay] >= delay
        wants[relay] = Want.OPEN if over else Want.HOLD
    memory, waiting = _join(outputs, strings, wants, memory, now)
    if waiting:
        due.extend(at + NEXT_CLOSE for at in memory.closed.values())
        due.extend(at + SAME_AGAIN for at in memory.closed.values())
    return memory, Plan(
        wants,
        waiting,
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
        addresses = {member.address for member in group}
        relays = (r for a, r in outputs.connections.items() if a in addresses)
        yield _String(tuple(group), frozenset(relays))


def _relays(strings: Iterable[_String]) -> list[str]:
    return list(dict.fromkeys(r for string in strings for r in sorted(string.relays)))


def _shared(
    outputs: Outputs, strings: list[_String], *, charging_wanted: bool
) -> dict[str, Want]:
    """Return what the relays of the bus should do: the strictest vote counts."""
    voting = [string for string in strings if string.connected]
    wants: dict[str, Want] = {}
    for relay, way in ((outputs.charge, Way.CHARGE), (outputs.load, Way.DISCHARGE)):
        if relay is None:
            continue
        allowed = all(string.may(way, outputs) for string in voting)
        if not voting or not allowed or (way is Way.CHARGE and not charging_wanted):
            want = Want.OPEN
        elif all(string.may_begin(way) for string in voting):
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
        if any(_must_disconnect(outputs, member) for member in string.members)
        for relay in string.relays
    }
    return {relay: memory.opening.get(relay, now) for relay in must}


def _must_disconnect(outputs: Outputs, member: Member) -> bool:
    if not member.wanted or member.tested or not member.decision.may_connect:
        return True
    return any(_disconnects(outputs, finding) for finding in member.decision.stops)


def _disconnects(outputs: Outputs, finding: Finding) -> bool:
    cold = is_cold(finding)
    if outputs.at_once and not cold:
        return True
    if Way.CHARGE in finding.stops and outputs.charge is None:
        return not cold or outputs.cold_disconnects
    return Way.DISCHARGE in finding.stops and outputs.load is None


def _is_not_cold(finding: Finding) -> bool:
    return not is_cold(finding)


def _may_close(string: _String) -> bool:
    """Whether all of a string is known, fresh and inside its clearing limits."""
    return string.fresh and not any(
        _forbids(found, member.decision)
        for member in string.members
        for found in member.decision.against
    )


def _forbids(found: Finding | Obstacle, decision: Decision) -> bool:
    return not is_cold(found) and not (decision.recovering and is_low(found))


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
    outputs: Outputs,
    strings: list[_String],
    wants: dict[str, Want],
    memory: PlanMemory,
    now: float,
) -> tuple[PlanMemory, tuple[Waiting, ...]]:
    """Let connection relays close, one after the other and near in voltage."""
    groups = {r: [s for s in strings if r in s.relays] for r in _relays(strings)}
    candidates: dict[str, list[_String]] = {}
    for relay, group in groups.items():
        if relay in memory.opening or not all(map(_may_close, group)):
            continue
        if _is_closed(outputs, group, relay):
            wants[relay] = Want.CLOSE
        else:
            candidates[relay] = group
    waiting: list[Waiting] = []
    for relay, apart in _distances(outputs, strings, candidates).items():
        same = memory.closed.get(relay, -inf)
        newest = max(memory.closed.values(), default=-inf)
        if apart is None:
            waiting.append(Waiting(relay, unknown=True))
        elif apart > outputs.window + _ROUNDING:
            waiting.append(Waiting(relay, apart))
        elif now - same < SAME_AGAIN or now - newest < NEXT_CLOSE:
            waiting.append(Waiting(relay))
        else:
            wants[relay] = Want.CLOSE
            memory = replace(memory, closed={**memory.closed, relay: now})
    return memory, tuple(waiting)


def _is_closed(outputs: Outputs, group: list[_String], relay: str) -> bool:
    """Whether a relay reports that it is closed."""
    return all(
        member.relay_open is False
        for string in group
        for member in string.members
        if outputs.connections.get(member.address) == relay
    )


def _distances(
    outputs: Outputs, strings: list[_String], candidates: dict[str, list[_String]]
) -> dict[str, float | None]:
    """Return for each relay how far, V a cell, its batteries are from the others.

    The others are those that are connected; with none, the largest group of candidates
    that lies inside the window, whose members are 0 apart. None where the others are
    not known.
    """
    here = {
        relay: [volts for s in group if (volts := s.cell_voltage) is not None]
        for relay, group in candidates.items()
    }
    joining = {id(string) for group in candidates.values() for string in group}
    others = [s for s in strings if id(s) not in joining and s.connected]
    if others:
        there = [string.cell_voltage for string in others]
        known = [volts for volts in there if volts is not None]
        if len(known) < len(there):
            return dict.fromkeys(here)
        mean = sum(known) / len(known)
        return {r: max(abs(v - mean) for v in volts) for r, volts in here.items()}
    largest = _largest_group(here, outputs.window)
    mean = _mean(here, largest)
    return {
        relay: 0.0 if relay in largest else max(abs(v - mean) for v in volts)
        for relay, volts in here.items()
    }


def _mean(here: Mapping[str, list[float]], relays: Iterable[str]) -> float:
    volts = [v for relay in relays for v in here[relay]]
    return sum(volts) / len(volts) if volts else 0.0


def _largest_group(here: Mapping[str, list[float]], window: float) -> list[str]:
    """Return the most relays whose batteries lie within `window` of their mean.

    One relay alone is a group, whatever its batteries: they are joined already.
    """
    ordered = sorted(here, key=lambda relay: _mean(here, [relay]))
    best = ordered[:1]
    for first in range(len(ordered)):
        for last in range(len(ordered), first + len(best), -1):
            run = ordered[first:last]
            mean = _mean(here, run)
            if all(abs(v - mean) <= window + _ROUNDING for r in run for v in here[r]):
                best = run
                break
    return best
