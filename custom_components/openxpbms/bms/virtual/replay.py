"""A recorded bus, as a diagnostics download tells of it: it answers as it did then.

So what somebody reports can be asked, listened to, and made a test of.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import cycle
import re
from typing import Any

from ..counters import Direction, TracedFrame
from ..frame import Request, Write, find_frames
from ..reading import Identity
from ..valence import TERMINATOR, WAKE
from .device import Answer, Settings

_DIRECTIONS: Mapping[str, Direction] = {
    "sent": "sent",
    "received": "received",
    "stray": "stray",
}
_TERMINATORS = {"valence": TERMINATOR, "seplos": b""}
_KINDS = {dict: "object", list: "list", float: "number"}
_LINE = re.compile(r"([0-9]+) 8([NMEOS])(1|1\.5|2)")
_UNKNOWN_LINE = Settings(19200, 10, ninth_bit=False)
# What came later than this, s, was no answer; and what a client that waits for one does
# between its last byte and the trace.
_ANSWERED_WITHIN = 3.0
_NOTED_WITHIN = 0.05


@dataclass(frozen=True, slots=True)
class Told:
    """A battery as a download tells of it; `reading` as JSON, None while silent."""

    identity: Identity
    reading: Mapping[str, Any] | None


@dataclass(frozen=True, slots=True)
class Recording:
    """What is replayed of a download.

    `entry` and `options` are the entry's, `answer` how long an answer was waited for,
    in s, `asks` whether anything was asked at all.
    """

    entry: Mapping[str, Any]
    options: Mapping[str, Any]
    asks: bool
    answer: float
    frames: tuple[TracedFrame, ...]
    batteries: tuple[Told, ...]

    @property
    def family(self) -> str:
        """The family of the batteries."""
        return str(self.entry["family"])

    @property
    def terminator(self) -> bytes:
        """What its frames end with."""
        return _TERMINATORS[self.family]


def read_download(download: object) -> Recording:
    """Return what is in a download: the whole JSON file, or its `data` alone.

    Raises ValueError that names what is wrong with it.
    """
    outer = _part(download, dict, "the file")
    data = _part(outer.get("data", outer), dict, "data")
    entry = _part(data.get("entry"), dict, "entry")
    if entry.get("family") not in list(_TERMINATORS):
        raise ValueError(f"no family of batteries is called {entry.get('family')!r}")
    if "frames" not in data:
        raise ValueError("frames are missing: the entry was not loaded")
    frames = [
        _frame(frame, number)
        for number, frame in enumerate(_part(data["frames"], list, "frames"))
    ]
    timing = _part(data.get("timing", {}), dict, "timing")
    return Recording(
        entry=entry,
        options=_part(data.get("options", {}), dict, "options"),
        asks=bool(data.get("asks", True)),
        answer=_part(timing.get("answer", 0.5), float, "answer"),
        frames=tuple(frames),
        batteries=tuple(
            _told(battery, number)
            for number, battery in enumerate(
                _part(data.get("batteries", []), list, "batteries")
            )
        ),
    )


def _part(value: object, kind: type, name: str) -> Any:
    if isinstance(value, kind):
        return value
    raise ValueError(f"{name} is no {_KINDS[kind]}")


def _frame(frame: object, number: int) -> TracedFrame:
    try:
        told = _part(frame, dict, "it")
        direction = _DIRECTIONS[told["direction"]]
        when = datetime.fromisoformat(told["time"]).timestamp()
        data = bytes.fromhex(told["data"])
        return TracedFrame(when, direction, data, str(told["line"]))
    except (KeyError, TypeError, ValueError) as err:
        raise ValueError(f"frame {number} makes no sense: {err!r}") from err


def _told(battery: object, number: int) -> Told:
    try:
        told = _part(battery, dict, "it")
        return Told(Identity(**told["identity"]), told.get("reading"))
    except (KeyError, TypeError, ValueError) as err:
        raise ValueError(f"battery {number} makes no sense: {err!r}") from err


@dataclass(frozen=True, slots=True)
class _Exchange:
    """What was sent, and what came then, so many s after it had left."""

    request: bytes
    reply: bytes
    delay: float


class Replay:
    """A device that answers, and speaks unasked, as was recorded.

    The questions to each battery are answered in the order of the recording; `ended`
    are the addresses for which that is over. Then it begins anew, but for the `silent`,
    which did not answer any more. What was answered rarely, such as settings, is
    answered in its own order. What was never asked stays unanswered and is complained
    of. `said` counts how often all that was heard unasked has been said.
    """

    def __init__(self, recording: Recording) -> None:
        """Begin at the beginning."""
        self.complaints: list[str] = []
        self.ended: set[int] = set()
        self.said = 0
        self._terminator = recording.terminator
        self._exchanges, self._unasked = _sorted(recording)
        lines = [_settings(frame.line) for frame in self._unasked]
        self.settings = lines[0] if lines else _UNKNOWN_LINE
        self.interval = self._duration(recording.frames)
        self.silent = _silent(self._exchanges)
        self._rare = _rare(self._exchanges)
        # Where the recording goes on, by address.
        self._at: Counter[int] = Counter()
        self._saying = False

    def _duration(self, frames: Sequence[TracedFrame]) -> float:
        """Return how long it takes to say all that was unasked, s, and a pause."""
        if not frames:
            return 1.0
        length = self.settings.seconds(len(frames[-1].data))
        return frames[-1].time - frames[0].time + length + 0.2

    @property
    def requests(self) -> set[bytes]:
        """All that was asked, as it was sent."""
        return {exchange.request for exchange in self._exchanges}

    def hear(
        self, data: bytes, settings: Settings, now: float, *, lenient: bool
    ) -> Answer | bool:
        """Answer what was asked then; see `Device.hear`."""
        if exchange := self._next(data):
            if not exchange.reply:
                return True
            return Answer(exchange.reply, exchange.delay)
        if data == WAKE:
            return True
        for found in find_frames(data, self._terminator):
            if isinstance(found.frame, Request | Write) and found.end == len(data):
                self._complain(f"nothing was recorded for {data.hex(' ')}")
                return True
        return False

    def _next(self, request: bytes) -> _Exchange | None:
        places = [n for n, e in enumerate(self._exchanges) if e.request == request]
        if not places:
            return None
        address = request[0]
        if request in self._rare and address not in self.ended & self.silent:
            return next(self._rare[request])
        at = next((place for place in places if place >= self._at[address]), None)
        if at is None:
            self.ended.add(address)
            if address in self.silent:
                return _Exchange(request, b"", 0.0)
            at = places[0]
        self._at[address] = at + 1
        return self._exchanges[at]

    def speak(self, now: float) -> Iterable[Answer]:
        """Say all that was heard unasked, at its time; see `Talker`."""
        self.said += self._saying
        self._saying = bool(self._unasked)
        return list(self._said())

    def _said(self) -> Iterator[Answer]:
        end = None
        for frame in self._unasked:
            end = frame.time if end is None else end
            delay = max(0.0, frame.time - end)
            yield Answer(frame.data, delay)
            end += delay + self.settings.seconds(len(frame.data))

    def _complain(self, problem: str) -> None:
        if problem not in self.complaints:
            self.complaints.append(problem)


def _silent(exchanges: Sequence[_Exchange]) -> set[int]:
    """Return who did not answer at last what it ever answered."""
    answered = {e.request for e in exchanges if e.reply}
    heard = {request[0] for request in answered}
    last = {
        e.request[0]: e
        for e in exchanges
        if e.request in answered or e.request[0] not in heard
    }
    return {address for address, e in last.items() if not e.reply}


def _rare(exchanges: Sequence[_Exchange]) -> dict[bytes, Iterator[_Exchange]]:
    """Return what a battery answered less than half as often as what it did most."""
    counts = Counter(e.request for e in exchanges if e.reply)
    most: Counter[int] = Counter()
    for request, count in counts.items():
        most[request[0]] = max(most[request[0]], count)
    return {
        request: cycle([e for e in exchanges if e.request == request])
        for request, count in counts.items()
        if 2 * count < most[request[0]]
    }


def _sorted(recording: Recording) -> tuple[list[_Exchange], list[TracedFrame]]:
    """Tell what answered a question from what was only heard."""
    exchanges: list[_Exchange] = []
    unasked: list[TracedFrame] = []
    sent: TracedFrame | None = None
    came: list[TracedFrame] = []
    for frame in recording.frames:
        if frame.direction == "sent":
            if sent:
                exchanges.append(_exchange(sent, came, recording))
            # Nobody answers the wake-up.
            sent = frame if frame.data and frame.data != WAKE else None
            came = []
        elif sent and frame.time - sent.time <= _ANSWERED_WITHIN:
            came.append(frame)
        elif frame.direction == "stray":
            unasked.append(frame)
    # The answer to the last question may not have come yet.
    if sent and came:
        exchanges.append(_exchange(sent, came, recording))
    return exchanges, unasked


def _exchange(
    sent: TracedFrame, came: Sequence[TracedFrame], recording: Recording
) -> _Exchange:
    reply = b"".join(frame.data for frame in came)
    if not came:
        return _Exchange(sent.data, b"", 0.0)
    settings = _settings(sent.line)
    answer = next((frame for frame in came if frame.direction == "received"), None)
    before = came[: came.index(answer) + 1] if answer else came[:1]
    size = sum(len(frame.data) for frame in before)
    delay = before[-1].time - sent.time - settings.seconds(len(sent.data) + size)
    # What was no answer was noted when the time for one was over.
    if not answer and delay < recording.answer + _NOTED_WITHIN:
        delay = 0.0
    return _Exchange(sent.data, reply, max(0.0, delay))


def _settings(line: str) -> Settings:
    match = _LINE.fullmatch(line)
    if match is None:
        return _UNKNOWN_LINE
    speed, parity, stop = match.groups()
    bits = 9 + (parity != "N") + round(float(stop))
    return Settings(int(speed), bits, ninth_bit=bits > 10)
