"""One relay followed: what it is told, what it reports, and what is wrong with it.

Pure, like protection.py. Home Assistant drops calls to an entity that is not available
without an error, so what must be open is told again until it is seen open.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from enum import StrEnum
from math import inf

from .limits import GRACE, STOPPED_CURRENT
from .outputs import Want

# A relay follows within so long, s.
FOLLOWS = 5.0
# What does not open is told again so often, and so seldom after a minute.
OFTEN, SELDOM, OFTEN_FOR = 5.0, 60.0, 60.0
# What it cannot have heard it is told again so soon, s.
UNHEARD = 0.5
# Current through an open relay must last so long to mean anything, s.
WELDED_AFTER = 10.0


class Report(StrEnum):
    """What a relay says of itself."""

    OPEN = "open"
    CLOSED = "closed"
    AWAY = "away"


class RelayFault(StrEnum):
    """What is wrong with a relay."""

    WELDED = "welded"
    NOT_OPENING = "not_opening"
    NOT_CLOSING = "not_closing"
    AWAY = "away"


@dataclass(frozen=True, slots=True, kw_only=True)
class RelayMemory:
    """What is remembered of a relay; times are s of the caller's clock.

    `opening` and `closing` are since when it has been told so and not followed, `told`
    when it was told last, `opened` when to open, `away` since when it is not there,
    `back` when it last came back, `flowing` since when current flows through it though
    it reports open. `closed` says that it was seen closed since it was last wanted open
    or away.
    """

    report: Report | None = None
    opening: float | None = None
    closing: float | None = None
    told: float = -inf
    opened: float = -inf
    away: float | None = None
    back: float = -inf
    flowing: float | None = None
    closed: bool = False


@dataclass(frozen=True, slots=True)
class Step:
    """What to do with a relay now.

    `tell` is OPEN or CLOSE, or HOLD for nothing. `by_hand`: somebody opened it. `at` is
    when to look again at the latest.
    """

    tell: Want = Want.HOLD
    fault: RelayFault | None = None
    by_hand: bool = False
    at: float = inf


def follow(
    memory: RelayMemory,
    want: Want,
    report: Report,
    now: float,
    *,
    current: float | None = None,
    grace: float = GRACE.default,
    lapsed: bool = False,
) -> tuple[RelayMemory, Step]:
    """Return what to do, given what is wanted and what the relay reports at `now`.

    `current` is the A through it, None where nobody tells. A relay that is away is a
    fault after `grace` s. With `lapsed` its heartbeat had stopped, so that it may have
    opened by itself.
    """
    returned = memory.report is Report.AWAY and report is not Report.AWAY
    must_open = want is Want.OPEN and report is not Report.OPEN
    # What it was told to close it may still be about to.
    overtaken = want is Want.OPEN and memory.closing is not None
    # What it was told while it was away it never heard.
    lost = want is Want.OPEN and returned
    flows = report is Report.OPEN and abs(current or 0.0) > STOPPED_CURRENT
    # It may follow late, when it is not wanted open any more.
    late = now < memory.opened + FOLLOWS
    by_hand = (
        want is not Want.OPEN
        and report is Report.OPEN
        and memory.closed
        and not lapsed
        and not late
    )
    must_close = want is Want.CLOSE and report is Report.OPEN and not by_hand
    told_to = want is Want.HOLD and report is Report.OPEN and memory.closing is not None
    first_open, first_close = memory.opening is None, memory.closing is None
    memory = replace(
        memory,
        report=report,
        away=_since(memory.away, report is Report.AWAY, now),
        back=now if returned else memory.back,
        flowing=_since(memory.flowing, flows, now),
        opening=_since(memory.opening, must_open, now),
        closing=_since(memory.closing, must_close or told_to, now),
        closed=want is not Want.OPEN and report is Report.CLOSED,
    )
    tell = Want.HOLD
    if (
        overtaken
        or lost
        or (must_open and (first_open or now >= memory.told + _pace(memory, now)))
    ):
        tell = Want.OPEN
        memory = replace(memory, told=now, opened=now)
    elif must_close and (first_close or now >= memory.told + SELDOM):
        tell = Want.CLOSE
        memory = replace(memory, told=now)
    fault = _fault(memory, now, grace)
    return memory, Step(tell, fault, by_hand, _next(memory, now, grace))


def unheard(memory: RelayMemory, now: float, *, excused: bool) -> RelayMemory:
    """Return what is remembered where the relay did not hear what it was told last.

    It is told again soon, as long as it is not at fault for that. Where it is
    `excused`, its time to follow begins anew.
    """
    opening, closing = memory.opening, memory.closing
    began = closing if opening is None else opening
    if began is None or not (excused or now < began + FOLLOWS):
        return memory
    told = now + UNHEARD - (SELDOM if opening is None else OFTEN)
    if excused:
        opening, closing = (None if at is None else now for at in (opening, closing))
    return replace(memory, opening=opening, closing=closing, told=told)


def _since(before: float | None, holds: object, now: float) -> float | None:
    if not holds:
        return None
    return now if before is None else before


def _pace(memory: RelayMemory, now: float) -> float:
    since = now if memory.opening is None else max(memory.opening, memory.back)
    return OFTEN if now < since + OFTEN_FOR else SELDOM


def _troubles(
    memory: RelayMemory, grace: float
) -> Iterator[tuple[RelayFault, float, float]]:
    """Yield each fault, since when it threatens, and after how many s it is one."""
    if memory.flowing is not None:
        yield RelayFault.WELDED, memory.flowing, WELDED_AFTER
    if memory.opening is not None and memory.away is None:
        since = max(memory.opening, memory.back)
        yield RelayFault.NOT_OPENING, since, FOLLOWS
        # Coming and going does not put it off for ever.
        yield RelayFault.NOT_OPENING, memory.opening, max(grace, FOLLOWS)
    if memory.closing is not None:
        yield RelayFault.NOT_CLOSING, memory.closing, FOLLOWS
    if memory.away is not None:
        yield RelayFault.AWAY, memory.away, grace


def _fault(memory: RelayMemory, now: float, grace: float) -> RelayFault | None:
    for fault, since, after in _troubles(memory, grace):
        if now >= since + after:
            return fault
    return None


def _next(memory: RelayMemory, now: float, grace: float) -> float:
    times = [since + after for _, since, after in _troubles(memory, grace)]
    if memory.opening is not None:
        times.append(memory.told + _pace(memory, now))
    if memory.closing is not None:
        times.append(memory.told + SELDOM)
    return min((at for at in times if at > now), default=inf)
