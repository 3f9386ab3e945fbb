"""Drills: what is done to a bus, and what came of it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .home import Home
    from .stage import Stage

type Scene = Callable[[Home], AbstractAsyncContextManager[list[Stage]]]
type Act = Callable[[Home, int], Awaitable[None]]


@dataclass(slots=True)
class Outcome:
    """What came of a drill.

    `recovery` is the longest time in s from the end of a fault until every battery has
    a Reading again, `gap` the longest time without one of a battery that had no fault.
    `complaints` are those of the virtual line about what it was sent.
    `growth` is how many tasks, files, threads and objects there are more at its end.
    """

    injected: int = 0
    readings: int = 0
    states: int = 0
    wrong: list[str] = field(default_factory=list)
    exceptions: list[str] = field(default_factory=list)
    broken_rules: list[str] = field(default_factory=list)
    recovery: float | None = None
    gap: float | None = None
    growth: dict[str, int] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)
    seconds: float = 0.0

    @property
    def good(self) -> bool:
        """Whether nothing happened that must not."""
        return not (self.wrong or self.exceptions or self.broken_rules)


@dataclass(frozen=True, slots=True)
class Drill:
    """One kind of fault: `act` brings it about, `times` or, in tests, `brief` times.

    It takes place on the buses of its `scene`, or makes its own.
    """

    name: str
    group: str
    what: str
    times: int
    brief: int
    act: Act
    scene: Scene | None = None


DRILLS: dict[str, Drill] = {}


def drill(
    *, group: str, what: str, times: int, brief: int = 3, scene: Scene | None = None
) -> Callable[[Act], Act]:
    """Register a function as a drill; `what` tells users what happens."""

    def register(act: Act) -> Act:
        name = act.__name__
        assert name not in DRILLS, name
        DRILLS[name] = Drill(name, group, what, times, brief, act, scene)
        return act

    return register
