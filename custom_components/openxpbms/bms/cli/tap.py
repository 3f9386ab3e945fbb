"""What goes over a bus, told frame by frame while it goes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack
from dataclasses import replace
import time

from ..bus import Bus
from ..counters import Trace, TracedFrame, joined
from ..decoded import Decoded, Decoder
from ..families import KINDS
from ..frame import find_frames
from ..reading import Identity

# More than comes between two looks.
_KEPT = 5000
# So long, s, and up to so many of them, bytes that make no frame may still become one.
_QUIET = 0.15
_LONGEST = 300


class Tap:
    """Follows one bus after another, as a search uses them; `show` is told each frame.

    What is heard in pieces is told when a frame is whole, or when it becomes quiet.
    """

    def __init__(self, show: Callable[[Decoded], None]) -> None:
        """Follow nothing yet."""
        self._show = show
        self._stack = ExitStack()
        self._tape = Trace()
        self._family = next(iter(KINDS))
        self._decoder = Decoder(self._family)
        self._seen = 0
        self._heard: list[TracedFrame] = []

    def follow(self, bus: Bus, family: str) -> None:
        """Turn to another bus."""
        self.close()
        self._tape = self._stack.enter_context(bus.trace.tape(_KEPT, stray=0))
        self._seen = 0
        self._family = family
        self._decoder = Decoder(family)

    def know(self, batteries: Iterable[Identity]) -> None:
        """Take what a search has found: serial numbers are made in two ways."""
        self._decoder = Decoder(self._family, batteries)

    def look(self) -> None:
        """Tell what has come since the last look."""
        self._look(end=False)

    def close(self) -> None:
        """Tell the rest, and let go of the bus."""
        self._look(end=True)
        self._stack.close()

    def _look(self, *, end: bool) -> None:
        new = self._tape.added - self._seen
        self._seen += new
        frames = [*self._heard, *(list(self._tape)[-new:] if new else ())]
        self._heard = []
        for run in joined(frames):
            told: Sequence[TracedFrame] = run
            if run[-1] is frames[-1] and run[0].direction == "stray" and not end:
                told, self._heard = self._divided(run)
            for decoded in self._decoder.frames(told):
                self._show(decoded)

    def _divided(
        self, run: Sequence[TracedFrame]
    ) -> tuple[list[TracedFrame], list[TracedFrame]]:
        """Return what is whole of what was heard last, and what may go on."""
        data = b"".join(frame.data for frame in run)
        if time.time() - run[-1].time > _QUIET:
            return list(run), []
        ends = [f.end for f in find_frames(data, KINDS[self._family].terminator)]
        at = max(*ends, len(data) - _LONGEST, 0)
        whole: list[TracedFrame] = []
        rest: list[TracedFrame] = []
        for frame in run:
            cut = max(at, 0)
            if before := frame.data[:cut]:
                whole.append(replace(frame, data=before))
            if behind := frame.data[cut:]:
                rest.append(replace(frame, data=behind))
            at -= len(frame.data)
        return whole, rest
