"""What protection finds in a battery and what it therefore allows."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

from .limits import Quantity


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
class Finding:
    """A warning, stop or cut-off that is active.

    `value` is what raised it, beyond `limit`; `clears` is what it must reach. `stops`
    are the directions it forbids, `since` is in s of the caller's clock.
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
class Obstacle:
    """A value that forbids to close, though not to stay closed.

    It lies between where its stop would clear, `clears`, and where it would begin.
    """

    quantity: Quantity
    value: Value
    clears: float
    stops: frozenset[Way]


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """What is allowed now, and why not more.

    `may_charge`, `may_discharge` and `may_connect` are about staying closed. Closing
    takes besides that the last whole Reading is `fresh` and that no `obstacles` are in
    the way. `cut_off` opens everything. `recovering` lets a battery that is only too
    low be connected for charging. `judge` must be called again at `judge_at` at the
    latest.
    """

    may_charge: bool
    may_discharge: bool
    may_connect: bool
    fresh: bool
    cut_off: bool
    recovering: bool
    findings: tuple[Finding, ...]
    obstacles: tuple[Obstacle, ...]
    judge_at: float

    @property
    def stops(self) -> Iterator[Finding]:
        """The findings that forbid anything and are not being recovered from."""
        for finding in self.findings:
            if finding.stops and not (self.recovering and is_low(finding)):
                yield finding

    def may(self, way: Way) -> bool:
        """Whether current may flow that way."""
        return self.may_charge if way is Way.CHARGE else self.may_discharge

    def may_begin(self, way: Way) -> bool:
        """Whether current may be let flow that way where it does not yet."""
        free = not any(way in obstacle.stops for obstacle in self.obstacles)
        return self.fresh and self.may(way) and free

    @property
    def only_low(self) -> bool:
        """Whether nothing but under-voltage stands against connecting."""
        against = list(self.against)
        return bool(against) and all(is_low(found) for found in against)

    @property
    def against(self) -> Iterator[Finding | Obstacle]:
        """All that stands against connecting, where nothing does so yet."""
        yield from self.stops
        yield from self.obstacles


def is_low(found: Finding | Obstacle) -> bool:
    """Whether it is about under-voltage that charging mends."""
    return found.quantity is Quantity.CELL_UNDER_VOLTAGE


def is_cold(found: Finding | Obstacle) -> bool:
    """Whether it is about cells that are too cold to be charged."""
    return found.quantity is Quantity.CELL_UNDER_TEMPERATURE
