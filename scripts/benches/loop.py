"""How busy the event loop is, and for how long at most nobody else gets a turn."""

from __future__ import annotations

import asyncio
import time
from typing import Any, Self


class LoopWatch:
    """Measures from each return of the loop's `select` to the next call of it.

    Between the two the loop runs callbacks, and nothing that arrives is seen. `cpu` is
    the process's time in s while it watched, `held` the longest such stretch and
    `held_cpu` the longest by the thread's own time, which a busy machine does not
    stretch; `wall` the time that passed.
    """

    def __enter__(self) -> Self:
        """Watch from now on."""
        loop: Any = asyncio.get_running_loop()
        self._selector = loop._selector
        self._select = select = self._selector.select
        self.held = self.held_cpu = self.cpu = self.wall = 0.0
        self._since = self._since_cpu = 0.0
        self._begun, self._begun_cpu = time.monotonic(), time.process_time()

        def watched(timeout: float | None = None) -> Any:
            if self._since:
                self.held = max(self.held, time.monotonic() - self._since)
                used = time.thread_time() - self._since_cpu
                self.held_cpu = max(self.held_cpu, used)
            events = select(timeout)
            self._since, self._since_cpu = time.monotonic(), time.thread_time()
            return events

        self._selector.select = watched
        return self

    def __exit__(self, *exc_info: object) -> None:
        """Watch no more."""
        self.cpu = time.process_time() - self._begun_cpu
        self.wall = time.monotonic() - self._begun
        self._selector.select = self._select
