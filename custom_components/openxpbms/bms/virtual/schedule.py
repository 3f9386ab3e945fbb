"""Calls at exact times of the running event loop's clock."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from heapq import heappop, heappush
from itertools import count
import os
import time


class Schedule:
    """Makes calls in the order of their times; equal times in the order given.

    Uses a timer of the Linux kernel: the loop's own come up to 1 ms late, which is
    half a reply at 115200 baud.
    """

    def __init__(self) -> None:
        """Begin with nothing to do."""
        self._loop = asyncio.get_running_loop()
        self._calls: list[tuple[float, int, Callable[[], None]]] = []
        self._number = count()
        self._timer = os.timerfd_create(
            time.CLOCK_MONOTONIC, flags=os.TFD_NONBLOCK | os.TFD_CLOEXEC
        )
        self._loop.add_reader(self._timer, self._ring)

    def at(self, when: float, call: Callable[[], None]) -> None:
        """Call at `when`, in s of the loop's clock."""
        heappush(self._calls, (when, next(self._number), call))
        self._set()

    def close(self) -> None:
        """Forget all calls and free the timer."""
        self._calls.clear()
        self._loop.remove_reader(self._timer)
        os.close(self._timer)

    def _set(self) -> None:
        rest = 0.0
        if self._calls:
            # Never a nanosecond early, and never 0, which stops the timer.
            rest = max(self._calls[0][0] - self._loop.time(), 0.0) + 1e-6
        os.timerfd_settime(self._timer, initial=rest)

    def _ring(self) -> None:
        _, _, call = heappop(self._calls)
        # Setting the timer also takes back its ring, so that it is never read.
        self._set()
        call()
