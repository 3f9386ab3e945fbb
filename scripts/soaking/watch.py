"""Protection's own rule, seen from outside: no path of current stays closed too long.

A battery that has been in danger, or unheard, for longer than the rules allow must be
cut off in the directions concerned: its charge or load relay open, or its connection.
Paths with a relay that is made to fail are left out while it fails and some time after,
and how long that is is told.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from custom_components.openxpbms.bms.decision import Way
from custom_components.openxpbms.bms.limits import (
    GRACE,
    SILENCE_CHARGING,
    SILENCE_DISCHARGING,
)
from custom_components.openxpbms.bms.protection import FRESH
from custom_components.openxpbms.bms.reading import Reading

from .buses import Bus
from .home import Home, charge_of
from .truth import Truth

SILENCE = {
    Way.CHARGE: SILENCE_CHARGING.default,
    Way.DISCHARGE: SILENCE_DISCHARGING.default,
}
# What a busy computer, a reload and the connection's delay may add, s.
MARGIN = 4.0
# How long after a relay's failure its paths are left out, s.
IMPAIRED_FOR = 120.0
MOST_TOLD = 30


@dataclass(slots=True)
class Heard:
    """When a battery was heard whole, and when first in the danger that it is in, s."""

    whole: float
    danger: float | None = None


class Watch:
    """Looks at relays and batteries every second, and whenever a relay closes."""

    def __init__(self, home: Home, now: Callable[[], float]) -> None:
        """Begin when Home Assistant has started."""
        self.home = home
        self.now = now
        self.heard: dict[tuple[str, int], Heard] = {}
        self.impaired: dict[str, float] = {}
        self.welded: set[str] = set()
        self.since = now()
        self.seconds: Counter[str] = Counter()
        self.broken: Counter[str] = Counter()
        self.acts: Counter[str] = Counter()
        self.told: list[str] = []
        self._episodes: set[tuple[str, int, str, str]] = set()

    def began(self) -> None:
        """Home Assistant was started: grace runs."""
        self.since = self.now()
        self.heard.clear()

    def hears(self, truth: Truth, reading: Reading, *, part: bool) -> None:
        """A Reading, or a part of one, came to protection."""
        now = self.now()
        heard = self.heard.setdefault((truth.bus, truth.device.address), Heard(-1e9))
        if not part:
            heard.whole = now
        if truth.danger is None:
            heard.danger = None
        elif heard.danger is None or heard.danger < truth.danger_since:
            name, index, value = truth.danger.set
            told: Any = getattr(reading, name)
            if told is not None and index is not None:
                told = told[index]
            heard.danger = now if told == value else None

    def names(self, bus: Bus, truth: Truth, way: Way) -> list[str]:
        """Return the relays that current of a battery flows through."""
        shared = charge_of(bus) if way is Way.CHARGE else f"{bus.name}_load"
        if bus.family == "valence":
            return [shared, f"connection_{truth.device.address}"]
        return [shared]

    def conducts(self, name: str) -> bool:
        """Whether current can flow through a relay."""
        if name in self.welded:
            return True
        played = self.home.relays.get(name)
        if played is not None:
            return bool(played.is_on)
        return self.home.hass.states.is_state(self.home.relay_entity(name), "on")

    def path(self, bus: Bus, truth: Truth, way: Way) -> bool:
        """Whether current of a battery can flow that way."""
        return all(self.conducts(name) for name in self.names(bus, truth, way))

    def impair(self, name: str) -> None:
        """A relay fails, now and until this is called again."""
        self.impaired[name] = self.now() + IMPAIRED_FOR

    def _is_impaired(self, name: str) -> bool:
        return self.now() < self.impaired.get(name, 0.0)

    def look(self) -> None:
        """Look at everything; called every second."""
        now = self.now()
        if now < self.since + GRACE.default + MARGIN:
            return
        current: set[tuple[str, int, str, str]] = set()
        for bus in self.home.buses.values():
            for truth in bus.truths:
                for way in Way:
                    self._look_at(bus, truth, way, now, current)
        self._episodes &= current

    def _look_at(
        self,
        bus: Bus,
        truth: Truth,
        way: Way,
        now: float,
        current: set[tuple[str, int, str, str]],
    ) -> None:
        names = self.names(bus, truth, way)
        if any(self._is_impaired(name) for name in names):
            self.seconds["left out"] += 1
            return
        closed = self.path(bus, truth, way)
        self.seconds["closed" if closed else "open"] += 1
        if not closed:
            return
        for kind, over in self._why_not(truth, way, now):
            episode = (bus.name, truth.device.address, way.value, kind)
            current.add(episode)
            if episode not in self._episodes:
                self._episodes.add(episode)
                self._tell(
                    kind, f"{now:.1f} {truth.name}: {way} closed, {kind}, {over:.1f} s"
                )

    def _why_not(
        self, truth: Truth, way: Way, now: float
    ) -> Iterator[tuple[str, float]]:
        heard = self.heard.get((truth.bus, truth.device.address)) or Heard(self.since)
        allowed = SILENCE[way] + MARGIN
        if now - heard.whole > allowed:
            yield "unheard", now - heard.whole
        danger = truth.danger
        if danger is None or way not in danger.ways:
            return
        if now - truth.danger_since > danger.delay + allowed:
            yield f"in danger: {danger.name}", now - truth.danger_since
        told = heard.danger
        late = told is not None and now - told > danger.delay + MARGIN
        if told is not None and told >= truth.danger_since and late:
            yield f"heard in danger: {danger.name}", now - told

    def closed(self, name: str) -> None:
        """Protection closed a relay: whoever it connects must have just been heard."""
        now = self.now()
        for bus in self.home.buses.values():
            for truth in bus.truths:
                ways = [w for w in Way if name in self.names(bus, truth, w)]
                if not any(self.path(bus, truth, way) for way in ways):
                    continue
                heard = self.heard.get((truth.bus, truth.device.address))
                age = now - heard.whole if heard else now - self.since
                if age > FRESH + MARGIN:
                    self._tell(
                        "closed on a stale battery",
                        f"{now:.1f} {truth.name}: {name} closed, heard {age:.1f} s ago",
                    )

    def _tell(self, kind: str, what: str) -> None:
        self.broken[kind] += 1
        if len(self.told) < MOST_TOLD:
            self.told.append(what)
