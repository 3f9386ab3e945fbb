"""A virtual line in a thread and a loop of its own, as an adapter is a chip of its own.

What holds up Home Assistant's loop then does not hold up the batteries.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
import threading
from typing import Any, Self

from custom_components.openxpbms.bms.virtual import VirtualLine


class Wire:
    """Runs `line`; whatever touches it goes through `do`."""

    def __init__(self, line: VirtualLine) -> None:
        """Prepare; `line` is not started yet."""
        self.line = line
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="wire")

    async def __aenter__(self) -> Self:
        """Start the line."""
        self._thread.start()
        await self.run(self.line.start())
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        """Stop the line and its thread."""
        await self.run(self.line.stop())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    async def run[T](self, work: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine where the line runs."""
        future = asyncio.run_coroutine_threadsafe(work, self._loop)
        return await asyncio.wrap_future(future)

    async def do[**P, T](
        self, call: Callable[P, T], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """Make a call where the line runs."""

        async def work() -> T:
            return call(*args, **kwargs)

        return await self.run(work())
