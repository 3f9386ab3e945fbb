"""How well a bus and its batteries answer, and what went over the wire last."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from statistics import median, quantiles
import time
from typing import Any, Literal

KEPT_REPLY_TIMES = 200
KEPT_OUTCOMES = 100
KEPT_FRAMES = 200
# Bytes that were no answer are kept in pieces of up to this length.
STRAY_LENGTH = 256


@dataclass(slots=True)
class Counters:
    """Counts since the port was first opened; times are in seconds.

    `second_answers` are answers to what had just been answered otherwise, which one
    battery alone never gives.
    """

    exchanges: int = 0
    answers: int = 0
    timeouts: int = 0
    crc_errors: int = 0
    garbled: int = 0
    wrong_battery: int = 0
    refused: int = 0
    late: int = 0
    second_answers: int = 0
    doubtful: int = 0
    retries: int = 0
    echoes: int = 0
    skipped_bytes: int = 0
    reply_times: deque[float] = field(
        default_factory=lambda: deque(maxlen=KEPT_REPLY_TIMES)
    )
    outcomes: deque[bool] = field(default_factory=lambda: deque(maxlen=KEPT_OUTCOMES))

    @property
    def quality(self) -> float | None:
        """Share of the last exchanges that were answered, in %."""
        if not self.outcomes:
            return None
        return round(100 * sum(self.outcomes) / len(self.outcomes), 1)

    @property
    def reply_time(self) -> float | None:
        """The last time from the request's first byte to the reply's last."""
        return self.reply_times[-1] if self.reply_times else None

    @property
    def median_reply_time(self) -> float | None:
        """Median of the last reply times."""
        return median(self.reply_times) if self.reply_times else None

    @property
    def slow_reply_time(self) -> float | None:
        """95th percentile of the last reply times."""
        if len(self.reply_times) < 2:
            return self.reply_time
        return quantiles(self.reply_times, n=20, method="inclusive")[-1]

    def as_dict(self) -> dict[str, int | float | None]:
        """Every count, with reply times in milliseconds."""
        times = {
            "reply_ms_last": self.reply_time,
            "reply_ms_median": self.median_reply_time,
            "reply_ms_p95": self.slow_reply_time,
        }
        return {
            "exchanges": self.exchanges,
            "answers": self.answers,
            "timeouts": self.timeouts,
            "crc_errors": self.crc_errors,
            "garbled": self.garbled,
            "wrong_battery": self.wrong_battery,
            "refused": self.refused,
            "late": self.late,
            "second_answers": self.second_answers,
            "doubtful": self.doubtful,
            "retries": self.retries,
            "echoes": self.echoes,
            "skipped_bytes": self.skipped_bytes,
            "quality_percent": self.quality,
            **{
                name: None if value is None else round(1000 * value, 2)
                for name, value in times.items()
            },
        }


Direction = Literal["sent", "received", "stray"]


@dataclass(frozen=True, slots=True)
class TracedFrame:
    """Bytes that went over the wire: when (Unix time), which way, and their line."""

    time: float
    direction: Direction
    data: bytes
    line: str

    def as_dict(self) -> dict[str, Any]:
        """Return it as diagnostics and recordings tell it, fit for JSON."""
        return {
            "time": datetime.fromtimestamp(self.time, UTC).isoformat(),
            "direction": self.direction,
            "line": self.line,
            "data": self.data.hex(" "),
        }


class Trace:
    """The last frames of a bus, in order.

    `added` counts them with those that are not kept any more.
    """

    def __init__(self, kept: int = KEPT_FRAMES, *, stray: int = STRAY_LENGTH) -> None:
        """Start empty, to keep so many, with stray bytes joined up to that length."""
        self._frames: deque[TracedFrame] = deque(maxlen=kept)
        self._stray = stray
        self._tapes: list[Trace] = []
        self.added = 0

    @contextmanager
    def tape(self, kept: int, *, stray: int = STRAY_LENGTH) -> Iterator[Trace]:
        """Record what comes from now on beside this trace, the last so many frames.

        With `stray` 0 stray bytes stay in the pieces in which they came, each with its
        own time.
        """
        tape = Trace(kept, stray=stray)
        self._tapes.append(tape)
        try:
            yield tape
        finally:
            self._tapes.remove(tape)

    def add(self, direction: Direction, data: bytes, line: str) -> None:
        """Note bytes that went over the wire just now.

        Stray bytes come in small pieces, which are joined so that they do not crowd
        out the rest.
        """
        for tape in self._tapes:
            tape.add(direction, data, line)
        last = self._frames[-1] if self._frames else None
        if (
            last
            and last.direction == direction == "stray"
            and last.line == line
            and len(last.data) + len(data) <= self._stray
        ):
            self._frames[-1] = replace(last, data=last.data + data)
            return
        size = STRAY_LENGTH if direction == "stray" else max(1, len(data))
        for at in range(0, len(data), size):
            piece = data[at : at + size]
            self._frames.append(TracedFrame(time.time(), direction, piece, line))
            self.added += 1

    def __iter__(self) -> Iterator[TracedFrame]:
        """Iterate from the oldest."""
        return iter(tuple(self._frames))


def joined(trace: Iterable[TracedFrame]) -> Iterator[list[TracedFrame]]:
    """Put stray bytes together that came in pieces: a frame may lie across."""
    run: list[TracedFrame] = []
    for frame in trace:
        if run and not run[-1].direction == frame.direction == "stray":
            yield run
            run = []
        run.append(frame)
    if run:
        yield run
