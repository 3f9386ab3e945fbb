"""Time that is skipped while nobody has anything to do.

Nothing is scaled: every second that Home Assistant, the bus and the virtual batteries
know is a second, at the wire's own speed. Only when the event loop would sleep until
its next timer the clocks of this process are put forward to it instead. What is
computed takes the processor's time that it takes: that others use this computer, too,
does not count.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import Executor
from contextlib import contextmanager
from datetime import UTC, datetime, tzinfo
from heapq import heappop, heappush
from itertools import count
import selectors
import time
from typing import Any

# Bytes that a pseudo-terminal has not passed on after so many naps were dropped: with
# their line, or with nobody reading.
PASSED_ON_WITHIN = 200
# Time may run ahead of bytes that are under way by so much, s.
AHEAD = 0.02
# How long to sleep for what another thread does, s.
NAP = 0.001
# asyncio rings a timer up to a nanosecond early: what it rings must be due then, s.
_EARLY = 1e-6


class Clock:
    """The clocks of this process, which run on and can be put forward.

    They run at most `factor` times as fast as real ones. `brakes` tell that somebody
    is busy, so that no time may be skipped now.
    """

    def __init__(self, factor: float) -> None:
        """Begin with the time that it is."""
        self.factor = factor
        self.skipped = 0.0
        self.brakes: list[Callable[[], bool]] = []
        self.real = time.monotonic
        self.began = self.real()
        self._begun = time.process_time()
        self._wall = time.time()
        self._under_way = 0
        self._naps = 0
        self._ahead = 0.0
        self._jobs = 0
        self._stopped_at: float | None = None
        self.waits: Counter[str] = Counter()

    def _used(self) -> float:
        return time.process_time() - self._begun

    def monotonic(self) -> float:
        """Return what stands in for time.monotonic, s."""
        used = self._used() if self._stopped_at is None else self._stopped_at
        return self.began + used + self.skipped

    def time(self) -> float:
        """Return what stands in for time.time, s."""
        return self._wall - self.began + self.monotonic()

    def real_time(self) -> float:
        """Return the time of day outside, UNIX s."""
        return self._wall - self.began + self.real()

    @contextmanager
    def stopped(self) -> Iterator[None]:
        """Let no time pass while the soak itself has something to count."""
        self._stopped_at = self._used()
        try:
            yield
        finally:
            self.skipped -= self._used() - self._stopped_at
            self._stopped_at = None

    def install(self) -> None:
        """Take the place of the clocks, before Home Assistant is imported."""
        replaced: dict[str, Any] = {
            "monotonic": self.monotonic,
            "monotonic_ns": lambda: int(self.monotonic() * 1e9),
            "time": self.time,
            "time_ns": lambda: int(self.time() * 1e9),
        }
        for name, function in replaced.items():
            setattr(time, name, function)
        # Only now, or they would have kept the real ones.
        from homeassistant.util import dt as dt_util  # noqa: PLC0415

        def now(zone: tzinfo | None = None) -> datetime:
            return datetime.fromtimestamp(
                self.time(), zone or dt_util.DEFAULT_TIME_ZONE
            )

        dates: Any = dt_util
        dates.utcnow = lambda: datetime.fromtimestamp(self.time(), UTC)
        dates.now = now

    @property
    def elapsed(self) -> tuple[float, float]:
        """Real s and s of this clock since it began."""
        real = self.real() - self.began
        return real, self.monotonic() - self.began

    # What must not be skipped

    def sent(self, number: int) -> None:
        """So many bytes were handed to a pseudo-terminal."""
        self._under_way += number
        self._naps = 0

    def arrived(self, number: int) -> None:
        """So many bytes came out of one."""
        self._under_way = max(0, self._under_way - number)

    def job_began(self) -> None:
        """A thread has something to do."""
        self._jobs += 1

    def job_ended(self, _: object) -> None:
        """A thread has done it."""
        self._jobs -= 1

    def _busy(self, wait: float) -> str:
        """Return for what `wait` s may not be skipped, empty for nothing."""
        if self._naps > PASSED_ON_WITHIN:
            self._under_way = 0
        if self._jobs or self._stopped_at is not None:
            return "threads"
        if not self._under_way:
            self._ahead = 0.0
        elif self._ahead + wait > AHEAD:
            return "bytes"
        else:
            self._ahead += wait
        return "recorder" if any(brake() for brake in self.brakes) else ""

    def napped(self) -> None:
        """Let time pass while threads wait for what is not the processor's."""
        self._naps += 1
        if self._jobs and self._stopped_at is None:
            self.skipped += NAP

    def skip(self, wait: float) -> bool:
        """Skip up to `wait` s; return whether any of it may be skipped now."""
        if reason := self._busy(wait):
            self.waits[reason] += 1
            return False
        real, passed = self.elapsed
        allowed = self.factor * real - passed
        if allowed <= 0:
            self.waits["factor"] += 1
            return False
        self.skipped += min(wait, allowed)
        return True


class _Selector(selectors.EpollSelector):
    """Skips what the loop would sleep."""

    def __init__(self, clock: Clock) -> None:
        super().__init__()
        self._clock = clock

    def select(
        self, timeout: float | None = None
    ) -> list[tuple[selectors.SelectorKey, int]]:
        events = super().select(0)
        if events or (timeout is not None and timeout <= 0):
            return events
        if timeout is not None and self._clock.skip(timeout):
            return []
        events = super().select(NAP if timeout is None else min(timeout, NAP))
        self._clock.napped()
        return events


class Loop(asyncio.SelectorEventLoop):
    """An event loop that skips what it would sleep."""

    def __init__(self, clock: Clock) -> None:
        """Keep `clock`."""
        super().__init__(_Selector(clock))
        self._clock = clock

    def run_in_executor(  # type: ignore[override]
        self, executor: Executor | None, func: Callable[..., Any], *args: Any
    ) -> asyncio.Future[Any]:
        """Let no time be skipped while a thread is at work."""
        self._clock.job_began()
        future: asyncio.Future[Any] = super().run_in_executor(executor, func, *args)
        future.add_done_callback(self._clock.job_ended)
        return future


class Schedule:
    """What virtual lines have for exact times: here the loop's own timers are exact."""

    def __init__(self) -> None:
        """Begin with nothing to do."""
        self._loop = asyncio.get_running_loop()
        self._calls: list[tuple[float, int, Callable[[], None]]] = []
        self._number = count()
        self._handle: asyncio.TimerHandle | None = None

    def at(self, when: float, call: Callable[[], None]) -> None:
        """Call at `when`, in s of the loop's clock."""
        heappush(self._calls, (when, next(self._number), call))
        self._set()

    def close(self) -> None:
        """Forget all calls."""
        self._calls.clear()
        self._set()

    def _set(self) -> None:
        if self._handle:
            self._handle.cancel()
            self._handle = None
        if self._calls:
            self._handle = self._loop.call_at(self._calls[0][0] + _EARLY, self._ring)

    def _ring(self) -> None:
        self._handle = None
        _, _, call = heappop(self._calls)
        self._set()
        call()
