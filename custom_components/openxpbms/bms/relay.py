"""One relay followed: what it is told, what it reports, and what is wrong with it.

Pure, like protection.py. Home Assistant drops calls to an entity that is not available
without an error, so what must be open is told again until it is seen open.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum
from math import inf

from .limits import STOPPED_CURRENT
from .outputs import Want

# A relay follows within so long, s.
FOLLOWS = 5.0
# What does not open is told again so often, and so seldom after a minute.
OFTEN, SELDOM, OFTEN_FOR = 5.0, 60.0, 60.0
# Current through an open relay must last so long to mean anything, s.
WELDED_AFTER = 10.0


class Report(StrEnum):
    """What a relay says of itself."""

    OPEN = "open"
    CLOSED = "closed"
    AWAY = "away"


class RelayFault(StrEnum):
    """What is wrong with a relay."""

    NOT_OPENING = "not_opening"
    NOT_CLOSING = "not_closing"
    AWAY = "away"
    WELDED = "welded"


@dataclass(frozen=True, slots=True, kw_only=True)
class RelayMemory:
    """What is remembered of a relay; times are s of the caller's clock.

    `opening` and `closing` are since when it has been told so and not followed, `told`
    when it was told last, `away` since when it is not there, `flowing` since when
    current flows through it though it reports open. `closed` says that it was seen
    closed since it was last told to open or away.
    """

    report: Report = Report.AWAY
    opening: float | None = None
    closing: float | None = None
    told: float = -inf
    away: float | None = None
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
    grace: float = 30.0,
) -> tuple[RelayMemory, Step]:
    """Return what to do, given what is wanted and what the relay reports at `now`.

    `current` is the A through it, None where nobody tells. A relay that is away is a
    fault after `grace` s.
    """
    returned = memory.report is Report.AWAY and report is not Report.AWAY
    memory = replace(
        memory,
        report=report,
        away=_since(memory.away, report is Report.AWAY, now),
        flowing=_since(memory.flowing, _flows(report, current), now),
        opening=_since(
            memory.opening, want is Want.OPEN and report is not Report.OPEN, now
        ),
        closing=None
        if want is Want.OPEN or report is Report.CLOSED
        else memory.closing,
    )
    if want is Want.OPEN:
        return _open(memory, now, returned=returned, grace=grace)
    if report is Report.AWAY:
        memory = replace(memory, closed=False)
        return memory, Step(
            fault=_fault(memory, now, grace), at=_next(memory, now, grace)
        )
    by_hand = report is Report.OPEN and memory.closed
    if report is Report.CLOSED:
        memory = replace(memory, closed=True)
    tell = Want.HOLD
    if by_hand:
        memory = replace(memory, closed=False, closing=None)
    elif want is Want.CLOSE and report is Report.OPEN:
        tell = Want.CLOSE
        memory = replace(memory, closing=memory.closing or now, told=now)
    return memory, Step(
        tell, _fault(memory, now, grace), by_hand, _next(memory, now, grace)
    )


def _open(
    memory: RelayMemory, now: float, *, returned: bool, grace: float
) -> tuple[RelayMemory, Step]:
    memory = replace(memory, closed=False)
    tell = Want.HOLD
    if memory.opening is not None:
        pace = OFTEN if now - memory.opening < OFTEN_FOR else SELDOM
        if memory.opening == now or returned or now - memory.told >= pace:
            tell = Want.OPEN
            memory = replace(memory, told=now)
    return memory, Step(tell, _fault(memory, now, grace), at=_next(memory, now, grace))


def _since(before: float | None, holds: bool, now: float) -> float | None:
    if not holds:
        return None
    return now if before is None else before


def _flows(report: Report, current: float | None) -> bool:
    return (
        report is Report.OPEN and current is not None and abs(current) > STOPPED_CURRENT
    )


def _fault(memory: RelayMemory, now: float, grace: float) -> RelayFault | None:
    for fault, since, after in _troubles(memory, grace):
        if since is not None and now - since >= after:
            return fault
    return None


def _troubles(
    memory: RelayMemory, grace: float
) -> tuple[tuple[RelayFault, float | None, float], ...]:
    """Return each fault, since when it threatens, and after how many s it is one."""
    return (
        (RelayFault.WELDED, memory.flowing, WELDED_AFTER),
        (RelayFault.NOT_OPENING, memory.opening, FOLLOWS),
        (RelayFault.NOT_CLOSING, memory.closing, FOLLOWS),
        (RelayFault.AWAY, memory.away, grace),
    )


def _next(memory: RelayMemory, now: float, grace: float) -> float:
    times = [
        since + after
        for _, since, after in _troubles(memory, grace)
        if since is not None
    ]
    if memory.opening is not None:
        pace = OFTEN if now - memory.opening < OFTEN_FOR else SELDOM
        times.append(memory.told + pace)
    return min((at for at in times if at > now), default=inf)
