"""How long until a battery is empty or full, from a current that is smoothed.

Pure: no clock, no I/O.
"""

from __future__ import annotations

from math import exp

# After this time a new current counts for two thirds, s.
CONSTANT = 120.0
# A current that would take longer for a whole battery tells nothing, h.
LONGEST = 200.0
# Steps in min of a time in min below each bound: nobody knows it better.
_STEPS = ((120, 1), (600, 5))
_LONG_STEP = 30


class TimeLeft:
    """Follows the current of a battery, or of a bank."""

    def __init__(self) -> None:
        """Begin without a current."""
        self._current: float | None = None
        self._at = 0.0

    def add(self, current: float, at: float, *, gap: float) -> None:
        """Take a current, A and positive while charging, at monotonic time `at`, s.

        What is more than `gap` s old is forgotten.
        """
        past = at - self._at
        if self._current is None or past > gap:
            self._current = current
        else:
            kept = exp(-max(past, 0.0) / CONSTANT)
            self._current = kept * self._current + (1 - kept) * current
        self._at = at

    def to_empty(self, remaining: float, full: float) -> int | None:
        """Return the min until `remaining` Ah of `full` are gone.

        None while it charges, and while the current is too small to tell.
        """
        return _minutes(remaining, -(self._current or 0.0), full)

    def to_full(self, room: float, full: float) -> int | None:
        """Return the min until there is no `room`, in Ah, left of `full`."""
        return _minutes(room, self._current or 0.0, full)


def _minutes(charge: float, current: float, full: float) -> int | None:
    if current <= max(full, 0.0) / LONGEST:
        return None
    minutes = 60 * max(charge, 0.0) / current
    step = next((step for bound, step in _STEPS if minutes < bound), _LONG_STEP)
    return step * round(minutes / step)
