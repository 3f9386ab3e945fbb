"""One RS485 bus on one serial port: one exchange at a time, and its health.

Whoever wants something from a battery goes through the bus, so that never two
questions are on the wire, and nothing at all while another master talks.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from math import inf
import time

from .counters import Counters, Trace
from .errors import (
    AnswerError,
    BusError,
    DoubtfulAnswer,
    ForeignMaster,
    GarbledAnswer,
    NoAnswer,
    PortGone,
    PortLent,
    Refused,
    WrongBattery,
)
from .foreign import ASKED_FOR, ASKED_FOR_REMOTE, ForeignWatch
from .frame import (
    Found,
    Frame,
    Question,
    Refusal,
    Reply,
    Request,
    Search,
    WriteRequest,
    find_reply,
    may_hold_reply,
)
from .port import Line, Port, is_remote, shown

LISTEN = 2.0
# An unanswered question may still be answered this long after we gave it up.
OWED_FOR = 3.0
DRAIN_LIMIT = 1.0
# A port that brings no frame for so long is opened anew: the other end of a connection
# may have gone without a word, an adapter may hang.
STALE = 30.0
STALE_REMOTE = 5.0
# More than any line brings while an answer is waited for: what comes beyond it, as from
# a network port that is no serial one, is dropped.
MOST_BYTES = 16384


@dataclass(frozen=True, slots=True, kw_only=True)
class Timing:
    """Times of a family's exchanges in seconds; the bytes' own time comes on top.

    `answer` is how long a battery (with the adapter's latency timer) may take to begin
    its reply, `turnaround` the pause before the next request, `quiet` the silence
    that ends a drain, `leaving` what an adapter may still hold when the operating
    system calls everything sent.
    """

    answer: float = 0.12
    turnaround: float = 0.0
    quiet: float = 0.02
    leaving: float = 0.02


@dataclass(frozen=True, slots=True)
class Heard:
    """What listening brought: foreign frames, and bytes that make no valid frame."""

    foreign: bool
    noise: int


class Held:
    """A bus that is held for several exchanges."""

    def __init__(self, bus: Bus, line: Line) -> None:
        """Use `line` for all of them."""
        self._bus = bus
        self._line = line

    async def exchange(
        self, request: Request, *, others: Sequence[Request] = ()
    ) -> Reply:
        """See `Bus.exchange`."""
        return await self._bus._exchange(request, self._line, others)

    async def write(self, request: WriteRequest) -> bool:
        """Send a write once and for all; return whether it was acknowledged.

        Raises Refused where the battery refuses it, and any other BusError only where
        nothing was sent. Without an acknowledgement nobody knows what it did.
        """
        return await self._bus._write_once(request, self._line)


class Bus:
    """One serial port, shared by all batteries behind it."""

    def __init__(
        self,
        url: str,
        *,
        terminator: bytes = b"",
        timing: Timing | None = None,
        listen: float | None = None,
        mute: bool = False,
    ) -> None:
        """Name the port; it is opened by `open`, which listens for `listen` s first.

        A `mute` bus has no way to send anything. Whatever is heard that answers no
        question goes to `on_heard`, frame by frame.
        """
        self.url = url
        self.timing = timing or Timing()
        self.counters = Counters()
        self.batteries: dict[int, Counters] = {}
        self.trace = Trace()
        self._remote = is_remote(url)
        asked_for = ASKED_FOR_REMOTE if self._remote else ASKED_FOR
        self.watch = ForeignWatch(terminator, asked_for=asked_for)
        self.last_exchange: float | None = None
        self.opened_at: float | None = None
        self.mute = mute
        self.on_heard: Callable[[Frame], None] | None = None
        self._listen = LISTEN if listen is None else listen
        self._port = Port(url, self._received)
        self._lock = asyncio.Lock()
        self._buffer = bytearray()
        self._arrived = asyncio.Event()
        self._last_byte = 0.0
        # Since when a frame should have come and has not.
        self._unheard_since: float | None = None
        self._waiting: Question | None = None
        self._noisy = False
        self._listened = False
        self._closed = False
        self._lent = False
        self._handed_over = False
        self._owed: dict[tuple[int, int, int], float] = {}
        self._last_reply: Reply | None = None
        # When the last question was asked that was answered.
        self._answered = -inf

    @property
    def is_open(self) -> bool:
        """Whether the port is open."""
        return self._port.is_open

    @property
    def line(self) -> Line | None:
        """The line settings in force."""
        return self._port.line

    async def open(self, line: Line) -> None:
        """Open the port unless it is open, and listen before anything is sent.

        Raises a PortError, or ForeignMaster where another master was heard and the bus
        is not mute.
        """
        async with self._lock:
            await self._ready(line)

    async def _ready(self, line: Line) -> None:
        await self._opened(line)
        if self.mute:
            self._port.check()
            return
        if not self._listened:
            await self._listen_for(self._listen, None)
        self._check()

    async def listen(
        self,
        line: Line,
        seconds: float,
        progress: Callable[[float], None] | None = None,
    ) -> Heard:
        """Open the port if need be and only listen, for `seconds`.

        `progress` is told the share of the time that has passed, from 0 to 1.
        """
        async with self._lock:
            await self._opened(line)
            await self._port.apply(line)
            self.watch.forget()
            noise = self.watch.unread_bytes
            await self._listen_for(seconds, progress)
            self.watch.forget()
            return Heard(self.watch.silent, self.watch.unread_bytes - noise)

    async def lend(self) -> None:
        """Close the port until `take_back`; whatever holds the bus ends first.

        Meanwhile whoever wants something from it gets PortLent.
        """
        async with self._lock:
            self._lent = True
            await self._port.close()

    def take_back(self) -> None:
        """Let the port be opened again."""
        self._lent = False

    @property
    def lent(self) -> PortLent:
        """What tells that the port is lent."""
        return PortLent(
            f"{shown(self.url)} is closed for service", port=shown(self.url)
        )

    async def _opened(self, line: Line) -> None:
        if self._lent:
            raise self.lent
        if self._port.is_open and not self._stale:
            return
        if self._closed:
            raise PortGone(f"{shown(self.url)} was closed", port=shown(self.url))
        self._owed.clear()
        self.watch.forget()
        self.last_exchange = None
        self._listened = False
        await self._port.open(line)
        self.opened_at = time.monotonic()
        self._heard_something()

    def _heard_something(self) -> None:
        self._unheard_since = time.monotonic() if self.mute else None

    @property
    def _stale(self) -> bool:
        """Whether the port has brought no frame for longer than is likely."""
        since, limit = self._unheard_since, STALE_REMOTE if self._remote else STALE
        return since is not None and time.monotonic() - since > limit

    @property
    def quiet_for(self) -> float:
        """For how many s the port has been open without anybody else on the line."""
        if self.opened_at is None or not self.is_open:
            return 0.0
        return time.monotonic() - max(self.opened_at, self.watch.last or 0.0)

    async def _listen_for(
        self, seconds: float, progress: Callable[[float], None] | None
    ) -> None:
        start = time.monotonic()
        while (passed := time.monotonic() - start) < seconds:
            self._port.check()
            if progress:
                progress(passed / seconds)
            await asyncio.sleep(min(0.25, seconds - passed))
        self._listened = True

    async def close(self) -> None:
        """Close the port for good; an exchange under way ends first."""
        self._closed = True
        async with self._lock:
            await self._port.close()

    def counters_of(self, address: int) -> Counters:
        """Return the counters of one battery."""
        return self.batteries.setdefault(address, Counters())

    async def broadcast(self, frame: bytes, line: Line) -> None:
        """Send a frame that nobody answers and wait until it is on the wire.

        It has left for certain when this returns, so the speed may be changed then.
        """
        async with self._lock:
            await self._reopen_stale(line)
            await self._prepare(line)
            start = time.monotonic()
            self._write(frame, line)
            await self._port.flush()
            left = start + line.seconds(len(frame)) + self.timing.leaving
            await asyncio.sleep(max(0.0, left - time.monotonic()))
            self.last_exchange = time.monotonic()

    async def exchange(
        self, request: Request, line: Line, *, others: Sequence[Request] = ()
    ) -> Reply:
        """Send `request` and return its reply, at once when its last byte is there.

        A garbled answer is asked for once more. Where an earlier question of the same
        shape may still be answered, one of `others`, of another shape, is asked first:
        its reply proves that nothing older is on its way (answers keep their order).
        Raises an AnswerError, a PortError or ForeignMaster.
        """
        async with self._lock:
            return await self._exchange(request, line, others)

    @asynccontextmanager
    async def hold(self, line: Line) -> AsyncIterator[Held]:
        """Keep the bus for several exchanges, none of which anybody comes between."""
        async with self._lock:
            yield Held(self, line)

    async def _exchange(
        self, request: Request, line: Line, others: Sequence[Request]
    ) -> Reply:
        await self._reopen_stale(line)
        await self._settle_debts(request, line, others)
        try:
            return await self._ask(request, line)
        except (GarbledAnswer, WrongBattery):
            self._count(request, "retries")
            await self._settle_debts(request, line, others)
            return await self._ask(request, line)

    async def _reopen_stale(self, line: Line) -> None:
        """Do in mid-round what the next round would begin with."""
        if self._stale:
            await self._ready(line)

    async def _write_once(self, request: WriteRequest, line: Line) -> bool:
        """See `Held.write`."""
        await self._settle_debts(request, line, ())
        self._handed_over = False
        try:
            await self._ask(request, line)
        except Refused:
            raise
        except BusError:
            if not self._handed_over:
                raise
            return False
        return True

    async def _settle_debts(
        self, request: Question, line: Line, others: Sequence[Request]
    ) -> None:
        self._check()
        if not self._doubtful(request):
            return
        for other in others:
            if not self._doubtful(other):
                await self._ask(other, line)
                return
        self._count(request, "doubtful")
        raise DoubtfulAnswer(
            f"an earlier answer of battery {request.address} may still be on its way",
            address=str(request.address),
        )

    def _doubtful(self, frame: Question | Reply) -> bool:
        asked = self._owed.get(frame.shape)
        # A network may hold answers back for any time. But it keeps their order: one
        # to a later question proves that it did not.
        proven = self._answered if self._remote else time.monotonic()
        return asked is not None and proven - asked < OWED_FOR

    async def _ask(self, request: Question, line: Line) -> Reply:
        await self._prepare(line)
        self._count(request, "exchanges")
        self.watch.asked(request)
        self._buffer.clear()
        self._waiting = request
        start = time.monotonic()
        try:
            self._write(request.encoded, line)
            search = await self._search(request, line, start)
        finally:
            self._waiting = None
            # Until something proves the contrary the answer may still come.
            self.last_exchange = self._owed[request.shape] = time.monotonic()
        took = time.monotonic() - start
        received = bytes(self._buffer)
        if search.reply is None:
            self._outcome(request, answered=False)
            raise self._failure(request, search, received)
        self._account(request, search, received)
        self._answered = start
        self._heard_something()
        self._outcome(request, answered=True)
        for counters in self._both(request):
            counters.reply_times.append(took)
        # Heard beside another master's question it might be the answer to that one.
        self._check()
        if isinstance(search.reply, Refusal):
            self._count(request, "refused")
            raise Refused(
                f"battery {request.address} refused register 0x{request.register:04X}"
                f" (exception {search.reply.code})",
                address=str(request.address),
                code=str(search.reply.code),
            )
        return search.reply

    async def _prepare(self, line: Line) -> None:
        """Make the line ours: open, not another master's, at this speed, quiet."""
        self._check()
        if line != self._port.line:
            await self._port.apply(line)
            self.watch.forget()
        await self._drain()
        self._check()

    def _check(self) -> None:
        """Raise where nothing can or may be sent."""
        if self.mute:
            raise RuntimeError("a mute bus only listens")
        if self._lent:
            raise self.lent
        self._port.check()
        if self.watch.silent:
            raise ForeignMaster(
                f"another master talks on {shown(self.url)}", port=shown(self.url)
            )

    async def _drain(self) -> None:
        end = time.monotonic() + DRAIN_LIMIT
        pause = max(self.timing.quiet, self.timing.turnaround)
        if not self._noisy:
            pause = self.timing.turnaround
        while (rest := self._last_byte + pause - time.monotonic()) > 0:
            if time.monotonic() > end:
                raise GarbledAnswer("the line does not become quiet", address="-")
            await asyncio.sleep(rest)
        self._noisy = False

    def _write(self, data: bytes, line: Line) -> None:
        self.trace.add("sent", data, str(line))
        self._handed_over = True
        if self._unheard_since is None:
            self._unheard_since = time.monotonic()
        self._port.write(data)

    async def _search(self, request: Question, line: Line, start: float) -> Search:
        on_wire = line.seconds(len(request.encoded) + request.reply_length)
        end = start + on_wire + self.timing.answer
        while True:
            search = find_reply(self._buffer, request)
            rest = end - time.monotonic()
            if search.reply or rest <= 0:
                return search
            self._arrived.clear()
            try:
                await asyncio.wait_for(self._arrived.wait(), rest)
            except TimeoutError:
                continue
            self._port.check()

    def _received(self, data: bytes) -> None:
        self._last_byte = time.monotonic()
        if self._waiting:
            self._buffer += data[: MOST_BYTES - len(self._buffer)]
            # Nobody is woken for the first pieces. Nothing at all means a lost port.
            if not data or may_hold_reply(self._buffer, self._waiting):
                self._arrived.set()
        elif data:
            self._noisy = True
            self._stray(data)

    def _account(self, request: Question, search: Search, received: bytes) -> None:
        """Account for what stood before and behind a reply."""
        line = str(self._port.line)
        self._skip(request, received[: search.start])
        self.trace.add("received", received[search.start : search.end], line)
        owed = [shape for shape in self._owed if shape[0] == request.address]
        # Answers keep their order: nothing older is on its way. But a refusal does not
        # tell which of several questions it refuses.
        if isinstance(search.reply, Reply) or owed == [request.shape]:
            for shape in owed:
                del self._owed[shape]
        self._last_reply = search.reply if isinstance(search.reply, Reply) else None
        if behind := received[search.end :]:
            self._noisy = True
            self._stray(behind)

    def _skip(self, request: Question, data: bytes) -> list[Found]:
        """Count bytes that were no reply, an echo of the request apart."""
        if request.encoded in data:
            self._count(request, "echoes")
        skipped = len(data.replace(request.encoded, b"", 1))
        for counters in self._both(request):
            counters.skipped_bytes += skipped
        self._noisy |= skipped > 0
        return self._stray(data) if data else []

    def _stray(self, data: bytes) -> list[Found]:
        self.trace.add("stray", data, str(self._port.line))
        found = self.watch.feed(data)
        if found:
            self._heard_something()
        for item in found:
            frame = item.frame
            if isinstance(frame, Reply) and self.watch.was_asked(frame):
                self.counters.late += 1
                self.counters_of(frame.address).late += 1
                self._compare(frame)
                if self._doubtful(frame) and not self.watch.silent:
                    # Behind a network it was the one answer that was still to come.
                    if self._remote:
                        del self._owed[frame.shape]
                    continue
            if self.on_heard:
                self.on_heard(frame)
        return found

    def _compare(self, frame: Reply) -> None:
        """Count an answer to what was answered otherwise: two have one address."""
        last = self._last_reply
        if (
            last
            and not self.watch.silent
            and frame.shape == last.shape
            and frame.shape not in self._owed
            and frame.data != last.data
        ):
            self.counters.second_answers += 1
            self.counters_of(frame.address).second_answers += 1

    def _failure(
        self, request: Question, search: Search, received: bytes
    ) -> AnswerError:
        """Count what went wrong and name it."""
        found = self._skip(request, received)
        address = str(request.address)
        if search.near:
            self._owed.pop(request.shape, None)
        if not received.replace(request.encoded, b"", 1):
            self._count(request, "timeouts")
            return NoAnswer(f"battery {address} did not answer", address=address)
        for item in found:
            frame = item.frame
            if isinstance(frame, Reply) and frame.address != request.address:
                self._count(request, "wrong_battery")
                return WrongBattery(
                    f"battery {frame.address} answered for battery {address}",
                    address=address,
                    other=str(frame.address),
                )
        self._count(request, "crc_errors" if search.near else "garbled")
        return GarbledAnswer(
            f"the answer of battery {address} was garbled", address=address
        )

    def _both(self, request: Question) -> tuple[Counters, Counters]:
        return self.counters, self.counters_of(request.address)

    def _count(self, request: Question, name: str) -> None:
        for counters in self._both(request):
            setattr(counters, name, getattr(counters, name) + 1)

    def _outcome(self, request: Question, *, answered: bool) -> None:
        for counters in self._both(request):
            counters.outcomes.append(answered)
            counters.answers += answered
