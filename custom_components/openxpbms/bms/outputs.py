"""Which relays must open, may stay and may close, from the batteries' Decisions.

Pure, like protection.py: no clock, no I/O. A bus may have a charge relay (PV, a
charger), a load relay, and a connection relay for each battery or string. What must
stop opens its relay; where that is not there, the connection relay. Closing takes a
whole fresh Reading of everybody concerned.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from math import inf

from .limits import STOPPED_CURRENT, Quantity
from .protection import Decision, Finding, Way
from .reading import Reading

# Closes of connection relays are so far apart, s, of the same one and of any.
SAME_AGAIN = 60.0
NEXT_CLOSE = 5.0


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

    def string_of(self, address: int) -> int:
        """Return the string of a battery; in parallel everyone is its own."""
        if self.joined is Joined.SERIES:
            return 0
        if self.joined is Joined.STRINGS:
            return self.strings.get(address, address)
        return address


@dataclass(frozen=True, slots=True)
class Member:
    """A battery as the outputs see it.

    `wanted` is the person's switch, `reading` the last whole one. `relay_open` is what
    its connection relay reports, None where that is unknown.
    """

    address: int
    decision: Decision
    wanted: bool = True
    reading: Reading | None = None
    relay_open: bool | None = None


@dataclass(frozen=True, slots=True)
class Waiting:
    """Why a connection does not close yet: for its turn, or V a cell are too many."""

    relay: str
    apart: float | None = None


@dataclass(frozen=True, slots=True)
class Plan:
    """What every relay should do now; to be made anew at `at` at the latest."""

    wants: Mapping[str, Want]
    waiting: tuple[Waiting, ...] = ()
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
    relay: str | None

    @property
    def fresh(self) -> bool:
        return all(member.decision.fresh for member in self.members)

    def may(self, way: Way, *, at_once: bool) -> bool:
        """Whether a direction may stay open for it.

        Who is switched off and has no relay of its own needs those of the bus for it.
        """
        return all(
            (m.decision.may_charge if way is Way.CHARGE else m.decision.may_discharge)
            and (m.wanted or self.relay is not None)
            and not (at_once and any(map(_is_not_cold, m.decision.stops)))
            for m in self.members
        )

    @property
    def connected(self) -> bool:
        """Whether it has a vote: it is not known to be cut off and without current."""
        if self.relay is None or not all(m.relay_open for m in self.members):
            return True
        currents = (m.reading.current for m in self.members if m.reading)
        return any(abs(c) > STOPPED_CURRENT for c in currents if c is not None)

    @property
    def cell_voltage(self) -> float | None:
        """Mean V of its cells."""
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

    Without `charging_wanted` (storage) the charge relay opens. A relay that is wanted
    closed counts as closed from now on: call this only where that is then tried.
    """
    strings = list(_strings(outputs, members))
    connected = [string for string in strings if string.connected]
    wants: dict[str, Want] = {}
    if outputs.charge is not None:
        want = _shared(outputs, connected, Way.CHARGE)
        wants[outputs.charge] = want if charging_wanted else Want.OPEN
    if outputs.load is not None:
        want = _shared(outputs, connected, Way.DISCHARGE)
        # One relay may serve both: the stricter wish counts.
        wants[outputs.load] = stricter(want, wants.get(outputs.load, Want.CLOSE))
    opening = _opening(outputs, strings, memory, now)
    delay = outputs.delay if outputs.charge or outputs.load else 0.0
    due = [since + delay for since in opening.values() if since + delay > now]
    for relay in _relays(strings):
        if relay not in opening:
            wants[relay] = Want.HOLD
        elif now - opening[relay] >= delay:
            wants[relay] = Want.OPEN
        else:
            wants[relay] = Want.HOLD
    memory = replace(memory, opening=opening)
    memory, waiting = _join(outputs, strings, wants, memory, now)
    if waiting and memory.closed:
        due.append(max(memory.closed.values()) + NEXT_CLOSE)
    return memory, Plan(
        wants, waiting, min((at for at in due if at > now), default=inf)
    )


def stricter(*wants: Want) -> Want:
    """Return what several who use one relay want together: on only if all agree."""
    for want in (Want.OPEN, Want.HOLD):
        if want in wants:
            return want
    return Want.CLOSE


def _strings(outputs: Outputs, members: Iterable[Member]) -> Iterator[_String]:
    groups: dict[int, list[Member]] = {}
    for member in members:
        groups.setdefault(outputs.string_of(member.address), []).append(member)
    for group in groups.values():
        relays = [outputs.connections.get(member.address) for member in group]
        relay = next((name for name in relays if name is not None), None)
        yield _String(tuple(group), relay)


def _relays(strings: Iterable[_String]) -> list[str]:
    return list(dict.fromkeys(s.relay for s in strings if s.relay is not None))


def _shared(outputs: Outputs, connected: list[_String], way: Way) -> Want:
    may = [string.may(way, at_once=outputs.at_once) for string in connected]
    if not may or not all(may):
        return Want.OPEN
    return Want.CLOSE if all(string.fresh for string in connected) else Want.HOLD


def _opening(
    outputs: Outputs, strings: list[_String], memory: PlanMemory, now: float
) -> dict[str, float]:
    """Return since when each connection relay must be open."""
    must = {
        string.relay
        for string in strings
        if string.relay is not None
        and any(_must_disconnect(outputs, member) for member in string.members)
    }
    return {relay: memory.opening.get(relay, now) for relay in must}


def _must_disconnect(outputs: Outputs, member: Member) -> bool:
    decision = member.decision
    if not member.wanted or decision.cut_off:
        return True
    for finding in decision.stops:
        cold = not _is_not_cold(finding)
        if decision.recovering and finding.quantity is Quantity.CELL_UNDER_VOLTAGE:
            continue
        if outputs.at_once and not cold:
            return True
        without = Way.CHARGE in finding.stops and outputs.charge is None
        if without and (not cold or outputs.cold_disconnects):
            return True
        if Way.DISCHARGE in finding.stops and outputs.load is None:
            return True
    return False


def _is_not_cold(finding: Finding) -> bool:
    return finding.quantity is not Quantity.CELL_UNDER_TEMPERATURE


def _may_close(string: _String) -> bool:
    """Whether all of a string is known, fresh and inside its clearing limits."""
    if not string.fresh:
        return False
    return not any(
        _is_not_cold(finding)
        and not (
            member.decision.recovering
            and finding.quantity is Quantity.CELL_UNDER_VOLTAGE
        )
        for member in string.members
        for finding in member.decision.stops
    )


def _join(
    outputs: Outputs,
    strings: list[_String],
    wants: dict[str, Want],
    memory: PlanMemory,
    now: float,
) -> tuple[PlanMemory, tuple[Waiting, ...]]:
    """Let connection relays close, one after the other and near in voltage."""
    groups = {r: [s for s in strings if s.relay == r] for r in _relays(strings)}
    able = {
        relay: group
        for relay, group in groups.items()
        if relay not in memory.opening and all(map(_may_close, group))
    }
    for relay, group in able.items():
        if all(m.relay_open is False for string in group for m in string.members):
            wants[relay] = Want.CLOSE  # it is closed, and may be
    waiting: list[Waiting] = []
    candidates = {r: g for r, g in able.items() if wants[r] is not Want.CLOSE}
    for relay, apart in _distances(outputs, strings, candidates):
        last = memory.closed.get(relay, -inf)
        newest = max(memory.closed.values(), default=-inf)
        if apart > outputs.window:
            waiting.append(Waiting(relay, apart))
        elif now - last < SAME_AGAIN or now - newest < NEXT_CLOSE:
            waiting.append(Waiting(relay))
        else:
            wants[relay] = Want.CLOSE
            memory = replace(memory, closed={**memory.closed, relay: now})
    return memory, tuple(waiting)


def _distances(
    outputs: Outputs, strings: list[_String], candidates: dict[str, list[_String]]
) -> list[tuple[str, float]]:
    """Return for each relay how far, V a cell, its batteries are from the others.

    The others are those that are connected; with none, the largest group of candidates
    that lies inside the window, whose members are 0 apart.
    """
    here = {
        relay: [v for s in group if (v := s.cell_voltage) is not None]
        for relay, group in candidates.items()
    }
    there = [
        volts
        for string in strings
        if string.relay not in candidates and string.connected
        if (volts := string.cell_voltage) is not None
    ]
    if there:
        mean = sum(there) / len(there)
        return [(r, max(abs(v - mean) for v in volts)) for r, volts in here.items()]
    largest = _largest_group(here, outputs.window)
    mean = sum(v for r in largest for v in here[r]) / sum(len(here[r]) for r in largest)
    return [
        (r, 0.0 if r in largest else max(abs(v - mean) for v in volts))
        for r, volts in here.items()
    ]


def _largest_group(here: dict[str, list[float]], window: float) -> list[str]:
    """Return the most relays whose batteries lie within `window` of their mean."""
    ordered = sorted(here, key=lambda relay: sum(here[relay]) / len(here[relay]))
    best: list[str] = []
    for first in range(len(ordered)):
        for last in range(len(ordered), first + len(best), -1):
            run = ordered[first:last]
            volts = [v for relay in run for v in here[relay]]
            mean = sum(volts) / len(volts)
            if all(abs(v - mean) <= window for v in volts):
                best = run
                break
    return best
