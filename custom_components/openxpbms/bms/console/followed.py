"""One battery over the last minutes: what is drawn of it, and what happened to it."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import StrEnum
import time

from ..cli.values import alarm_words
from ..reading import Alarm, Level
from ..rounds import Battery

# How long values are kept to be drawn, s.
KEPT = 300.0


class Tone(StrEnum):
    """How an event is taken: the colour in which it is told."""

    PLAIN = "plain"
    GOOD = "good"
    WARNING = "warning"
    BAD = "bad"


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened, in words."""

    tone: Tone
    text: str


@dataclass(slots=True)
class Followed:
    """A battery and its past. `past` holds monotonic s, V and A, oldest first."""

    battery: Battery
    past: deque[tuple[float, float, float]] = field(default_factory=deque)
    _alarms: tuple[Alarm, ...] = ()
    _there: bool = True
    _read_at: float | None = None

    def take(self) -> Iterator[Event]:
        """Take what is known of it now; yield what has happened since."""
        reading, read_at = self.battery.reading, self.battery.read_at
        if reading is None:
            if self._there and self.battery.error:
                self._there = False
                yield Event(Tone.BAD, f"lost: {self.battery.error}")
            return
        if not self._there:
            self._there = True
            yield Event(Tone.GOOD, "answers again")
        if read_at is None or read_at == self._read_at:
            return
        self._read_at = read_at
        if reading.voltage is not None and reading.current is not None:
            self.past.append((read_at, reading.voltage, reading.current))
        while self.past and self.past[0][0] < time.monotonic() - KEPT:
            self.past.popleft()
        yield from self._changes(reading.alarms or ())

    def _changes(self, alarms: tuple[Alarm, ...]) -> Iterator[Event]:
        before, self._alarms = self._alarms, alarms
        for alarm in alarms:
            if alarm not in before:
                tone = Tone.BAD if alarm.level is Level.PROTECTION else Tone.WARNING
                yield Event(tone, f"{alarm.level} begins: {alarm_words(alarm)}")
        for alarm in before:
            if alarm not in alarms:
                yield Event(Tone.GOOD, f"{alarm.level} ends: {alarm_words(alarm)}")
