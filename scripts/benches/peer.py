"""Virtual lines in a process of their own, so that they take nothing from the client.

That process has an event loop, and on a machine with several cores a core, of its own.
Both sides read the same monotonic clock.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from multiprocessing.connection import Connection, Pipe
import subprocess
import sys
import time
from typing import Any, Self

from custom_components.openxpbms.bms.virtual import Device, VirtualLine


class TimedLine(VirtualLine):
    """A line that remembers when it gave the client bytes."""

    def __init__(self, devices: Sequence[Device], **settings: Any) -> None:
        """Begin with nothing given."""
        super().__init__(devices, **settings)
        self.given: deque[float] = deque(maxlen=1000)
        self.bytes_given = 0

    def _release(self) -> None:
        self.bytes_given += len(self._held)
        super()._release()
        self.given.append(time.monotonic())


class Line:
    """A line in the other process; `path` is what a client opens."""

    def __init__(self, peer: Peer, path: str) -> None:
        """It runs already."""
        self._peer = peer
        self.path = path

    def set(self, device: int, **values: Any) -> None:
        """Change a device on it."""
        self._peer.call("set", device, values)

    def given_until(self, moment: float) -> float:
        """Return when it gave the client the last bytes before `moment`."""
        given: list[float] = self._peer.call("given")
        return max(at for at in given if at <= moment)

    def bytes_given(self) -> int:
        """Return how many bytes it has given the client."""
        count: int = self._peer.call("bytes_given")
        return count


class Peer:
    """The other process; one line at a time."""

    def __enter__(self) -> Self:
        """Start it."""
        self._connection, other = Pipe()
        command = [sys.executable, "-m", __name__, str(other.fileno())]
        self._process = subprocess.Popen(command, pass_fds=[other.fileno()])
        other.close()
        return self

    def __exit__(self, *exc_info: object) -> None:
        """End it."""
        self._connection.close()
        self._process.wait()

    def call(self, verb: str, *arguments: Any) -> Any:
        """Let it do something and return what that brought."""
        self._connection.send((verb, arguments))
        return self._connection.recv()

    @asynccontextmanager
    async def line(
        self, devices: Sequence[Device], **settings: Any
    ) -> AsyncIterator[Line]:
        """Put devices on a line; what the client did wrong is printed at the end."""
        line = Line(self, self.call("start", list(devices), settings))
        try:
            yield line
        finally:
            if complaints := self.call("stop"):
                print("complaints:", complaints)


class _Side:
    """What the other process does."""

    def __init__(self, connection: Connection) -> None:
        """Obey what comes through `connection`."""
        self._connection = connection
        self._line: TimedLine | None = None
        self.ended = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(connection.fileno(), self._obey)
        self._tasks: set[asyncio.Task[None]] = set()

    def _obey(self) -> None:
        try:
            verb, arguments = self._connection.recv()
        except EOFError:
            self._loop.remove_reader(self._connection.fileno())
            self.ended.set()
            return
        task = self._loop.create_task(self._answer(verb, arguments))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _answer(self, verb: str, arguments: tuple[Any, ...]) -> None:
        if verb == "start":
            devices, settings = arguments
            self._line = TimedLine(devices, **settings)
            await self._line.start()
            self._connection.send(self._line.path)
            return
        assert self._line is not None
        if verb == "stop":
            await self._line.stop()
            self._connection.send(self._line.complaints)
        elif verb == "set":
            number, values = arguments
            for name, value in values.items():
                setattr(self._line.devices[number], name, value)
            self._connection.send(None)
        elif verb == "given":
            self._connection.send(list(self._line.given))
        else:
            self._connection.send(self._line.bytes_given)


async def _serve(descriptor: int) -> None:
    await _Side(Connection(descriptor)).ended.wait()


if __name__ == "__main__":
    asyncio.run(_serve(int(sys.argv[1])))
