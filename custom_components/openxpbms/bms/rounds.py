"""Round after round: every battery read, the silent ones without slowing the others."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass, field, fields, replace
import time
from typing import Protocol

from .bus import Bus
from .errors import AnswerError, BusError, DoubtfulAnswer, ForeignMaster
from .family import AWAKE, Family
from .reading import History, Identity, Reading, Settings

SLOWLY = 600.0
# How long a silent battery is asked in every round, and how often afterwards.
EAGER = 60.0
RARE = 10.0
# What a round may take, s, where silent batteries would hold up the others, and what a
# question that stays unanswered takes beyond the time for its answer.
ROUND_LIMIT = 0.95
ANSWER_MARGIN = 0.02


@dataclass(slots=True)
class Battery:
    """One battery and what is known of it now; times are monotonic seconds.

    `reading` is None while the battery is silent, `error` says why.
    """

    identity: Identity
    reading: Reading | None = None
    history: History = field(default_factory=History)
    settings: Settings = field(default_factory=Settings)
    error: BusError | None = None
    read_at: float | None = None
    silent_since: float | None = None
    ask_from: float = 0.0
    tries: int = 0
    slow_from: float = 0.0

    @property
    def silent(self) -> bool:
        """Whether it did not answer when it was last asked."""
        return self.silent_since is not None

    def heard(self, reading: Reading, at: float) -> None:
        """Take a whole reading that came `at` monotonic s."""
        self.reading, self.read_at = reading, at
        self.error = self.silent_since = None
        self.tries = 0

    def learned(self, slow: History | Settings) -> None:
        """Take what was read slowly; what was not told stays as it was."""
        if isinstance(slow, History):
            self.history = _merged(self.history, slow)
        else:
            self.settings = _merged(self.settings, slow)

    def lost(self, error: BusError) -> None:
        """No reading this time, so no values at all."""
        now = time.monotonic()
        if self.silent_since is None:
            self.silent_since = now
        self.reading = None
        # What a doubt comes from tells more than the doubt.
        if self.error is None or not isinstance(error, DoubtfulAnswer):
            self.error = error
        eager = now - self.silent_since < EAGER
        self.ask_from = now if eager else now + RARE


class OnReading(Protocol):
    """What is told of every reading, and of every part of one, the moment it comes."""

    def __call__(
        self, battery: Battery, reading: Reading, at: float, *, part: bool
    ) -> None:
        """Take it; `at` is in monotonic s."""


class Rounds:
    """Reads all batteries of a bus, again and again."""

    def __init__(self, family: Family, identities: Iterable[Identity]) -> None:
        """Begin with every battery unread."""
        self.family = family
        self.batteries = [Battery(identity) for identity in identities]
        self.on_reading: OnReading | None = None
        family.on_part = self._part
        self._woken_at = 0.0
        self._woken_now = False  # in this round, for a silent battery
        self._interrupted = False
        self._opened_at: float | None = None

    @property
    def bus(self) -> Bus:
        """The bus they are on."""
        return self.family.bus

    async def round(self) -> None:
        """Ask every battery once; silent ones once more at the end.

        Raises a PortError, ForeignMaster, or GarbledAnswer where the line does not
        become quiet, and then no battery has a reading. While another master talks the
        readings are what is heard of the batteries, where that can be understood.
        """
        start = time.monotonic()
        self._woken_now = False
        try:
            await self.family.open()
            if self._interrupted or self.bus.opened_at != self._opened_at:
                self._begin_anew()
            await self._wake_all()
            awake = [battery for battery in self.batteries if not battery.silent]
            for battery in awake:
                await self._read(battery)
            if not any(battery.silent for battery in awake):
                await self._read_slow()
            await self._ask_silent(start)
        except BusError as err:
            self._interrupted = True
            if not self._overhear(err):
                raise

    def _overhear(self, err: BusError) -> bool:
        """Whether any battery has a reading although nothing may be sent."""
        for battery in self.batteries:
            heard = None
            if isinstance(err, ForeignMaster):
                heard = self.family.heard(battery.identity)
            if heard is None:
                battery.lost(err)
            elif heard[1] != battery.read_at or battery.reading is None:
                self._heard(battery, *heard)
        return any(battery.reading is not None for battery in self.batteries)

    def _heard(self, battery: Battery, reading: Reading, at: float) -> None:
        battery.heard(reading, at)
        if self.on_reading:
            self.on_reading(battery, reading, at, part=False)

    def _part(self, identity: Identity, part: Reading) -> None:
        """Tell of a part of a reading, which may already be dangerous."""
        for battery in self.batteries:
            known = battery.identity
            if (known.address, known.cells) == (identity.address, identity.cells):
                if self.on_reading:
                    self.on_reading(battery, part, time.monotonic(), part=True)
                return

    def _begin_anew(self) -> None:
        """After the whole bus was away nobody's silence means anything."""
        self._interrupted = False
        self._opened_at = self.bus.opened_at
        for battery in self.batteries:
            battery.silent_since = None
            battery.tries = 0

    async def _wake_all(self) -> None:
        if self.batteries and self.family.asleep:
            await self._wake()
            tries = max(battery.tries for battery in self.batteries)
            await asyncio.sleep(self.family.pause(tries))

    async def _wake(self) -> None:
        await self.family.wake()
        self._woken_at = time.monotonic()

    async def _read(self, battery: Battery) -> None:
        try:
            reading = await self.family.read(battery.identity)
            self._heard(battery, reading, time.monotonic())
        except AnswerError as err:
            battery.lost(err)
            battery.tries += 1
            # At once, so that the sleeper's pause passes while the others are read.
            if not self._woken_now:
                self._woken_now = True
                await self._wake()

    async def _read_slow(self) -> None:
        """Read the slow values of one battery, so that no round has to carry all."""
        now = time.monotonic()
        for battery in self.batteries:
            if not battery.silent and battery.slow_from <= now:
                battery.slow_from = now + SLOWLY
                try:
                    battery.learned(await self.family.read_slow(battery.identity))
                except AnswerError as err:
                    battery.lost(err)
                return

    async def _ask_silent(self, start: float) -> None:
        """Ask the silent ones again: once as they are, once after the wake-up."""
        for battery in self._due():
            if battery.tries == 1 and self._in_time(start):
                await self._read(battery)
        due = self._due()
        if not due:
            return
        if not self._woken_now and time.monotonic() - self._woken_at > AWAKE:
            self._woken_now = True
            await self._wake()
        pause = self.family.pause(max(battery.tries for battery in due))
        wait = self._woken_at + pause - time.monotonic()
        if wait > 0:
            if not self._in_time(start, wait):
                return  # the next round finds them awake
            await asyncio.sleep(wait)
        back = False
        for battery in due:
            # One that was not asked yet is asked in any case, or it might never return.
            first = battery is due[0] and (battery.silent_since or start) < start
            if first or back or self._in_time(start):
                await self._read(battery)
                # Where one is back others often are, and who answers holds up nobody.
                back = not battery.silent

    def _due(self) -> list[Battery]:
        """Return the silent batteries to ask now, first who has waited longest."""
        now = time.monotonic()
        due = (b for b in self.batteries if b.silent and b.ask_from <= now)
        return sorted(due, key=lambda battery: battery.ask_from)

    def _in_time(self, start: float, wait: float = 0.0) -> bool:
        """Whether one more question, after `wait` s, holds up nobody who answers."""
        others = any(not battery.silent for battery in self.batteries)
        end = time.monotonic() + wait + self.bus.timing.answer + ANSWER_MARGIN
        return not others or end - start <= ROUND_LIMIT


def _merged[T: History | Settings](old: T, new: T) -> T:
    known = {
        item.name: value
        for item in fields(new)
        if (value := getattr(new, item.name)) is not None
    }
    return replace(old, **known)
