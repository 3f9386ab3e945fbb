"""Noise is not shown: a value moves only when it really has, or after half a minute."""

from __future__ import annotations

from dataclasses import dataclass

# A value that keeps to one side of what is shown for so long is shown, s.
HOLD = 30.0
# What sums of floating point numbers may be off.
_TINY = 1e-9


@dataclass(slots=True)
class DeadBand[T]:
    """What is shown of a value that flickers.

    A value further than `width` from what is `shown` is shown at once, and so is its
    coming and going (None). A nearer one is shown when all values have been on the same
    side of what is shown for HOLD s.
    """

    width: float
    shown: T | None = None
    _side: int = 0
    _since: float = 0.0

    def show(self, value: T | None, apart: float, now: float) -> T | None:
        """Return what to show of `value`, told at `now` s.

        `apart` is how far it is from what is shown, with a sign for the side.
        """
        side = (apart > _TINY) - (apart < -_TINY)
        if side != self._side:
            self._side, self._since = side, now
        known = value is not None and self.shown is not None
        near = abs(apart) <= self.width + _TINY
        held = side != 0 and now - self._since >= HOLD
        if not known or not near or held:
            self.shown, self._side = value, 0
        return self.shown
