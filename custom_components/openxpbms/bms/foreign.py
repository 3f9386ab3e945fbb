"""Whether somebody else asks on this line, and for how long we stay silent then.

Two masters on one RS485 bus garble each other's frames, so the one who can tell falls
silent. A frame is foreign when it is a request that is not the echo of ours, or, for
the second time, a reply to something that was not asked for 5 s, or behind a network
for 60 s.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from math import inf
import time

from .frame import Found, Frame, Question, Refusal, Reply, find_frames

ASKED_FOR = 5.0
# A network may hold an answer back until the next round.
ASKED_FOR_REMOTE = 60.0
SILENCE = 60.0
DAY = 86400.0
EPISODES = 3
# Longest frame of Modbus RTU and a margin: what a search may still complete.
_KEPT_BYTES = 300


class ForeignWatch:
    """Judges the frames that no exchange was waiting for."""

    def __init__(
        self,
        terminator: bytes,
        clock: Callable[[], float] = time.monotonic,
        *,
        asked_for: float = ASKED_FOR,
    ) -> None:
        """Watch for frames that end in `terminator`.

        What was asked within `asked_for` s may still be answered.
        """
        self._terminator = terminator
        self._asked_for = asked_for
        self._clock = clock
        self._buffer = bytearray()
        self._asked: dict[tuple[int, int, int], float] = {}
        self._echo: Frame | None = None
        self._unasked_at: float | None = None
        self._last: float | None = None
        self._episodes: deque[float] = deque()
        self._held = False
        self.frames = 0
        self.foreign_frames = 0
        self.unread_bytes = 0

    def asked(self, request: Question) -> None:
        """Remember what was sent: its reply may come late, its echo once."""
        self._asked[request.shape] = self._clock()
        self._echo = request.echo

    def feed(self, data: bytes) -> list[Found]:
        """Judge bytes that were not the expected reply; return the frames in them."""
        self._buffer += data
        found = list(find_frames(self._buffer, self._terminator))
        for item in found:
            self._judge(item.frame)
        keep_from = max(found[-1].end if found else 0, len(self._buffer) - _KEPT_BYTES)
        self.unread_bytes += keep_from - sum(item.end - item.start for item in found)
        del self._buffer[:keep_from]
        return found

    def forget(self) -> None:
        """Drop half a frame: the line settings changed or the port was opened anew."""
        self.unread_bytes += len(self._buffer)
        self._buffer.clear()

    def was_asked(self, frame: Reply | Refusal) -> bool:
        """Whether a frame answers something asked lately, however late it came."""
        if isinstance(frame, Reply):
            shapes = [frame.shape]
        else:
            whose = frame.address, frame.function
            shapes = [shape for shape in self._asked if shape[:2] == whose]
        now = self._clock()
        return any(now - self._asked.get(s, -inf) <= self._asked_for for s in shapes)

    def _judge(self, frame: Frame) -> None:
        self.frames += 1
        if frame == self._echo:
            self._echo = None
            return
        if isinstance(frame, Reply | Refusal) and (
            self.was_asked(frame) or not self._unasked_before()
        ):
            return
        self._heard_foreign()

    def _unasked_before(self) -> bool:
        before, self._unasked_at = self._unasked_at, self._clock()
        return before is not None and self._unasked_at - before <= SILENCE

    def _heard_foreign(self) -> None:
        now = self._clock()
        self.foreign_frames += 1
        if not self.silent:
            while self._episodes and now - self._episodes[0] > DAY:
                self._episodes.popleft()
            self._episodes.append(now)
            self._held = len(self._episodes) >= EPISODES
        self._last = now

    @property
    def last(self) -> float | None:
        """When a foreign frame was heard last, None for never."""
        return self._last

    @property
    def silent(self) -> bool:
        """Whether nothing may be sent now."""
        if self._held:
            return True
        return self._last is not None and self._clock() - self._last < SILENCE

    @property
    def held(self) -> bool:
        """Whether only a person ends the silence."""
        return self._held

    @property
    def heard_anything(self) -> bool:
        """Whether any byte came that was not an answer to us."""
        return bool(self.frames or self.unread_bytes or self._buffer)

    def resume(self) -> None:
        """A person says that the line is ours again."""
        self._held = False
        self._last = None
        self._unasked_at = None
        self._episodes.clear()
