"""Whether the current's sign fits what the state of charge does.

The sign of Valence's current on RS485 is not settled, so it is watched: over a change
of SOC that cannot be chance the summed current must have gone the same way.
"""

from __future__ import annotations

from .reading import Reading

# % of SOC that must have changed before it means anything.
CHANGE = 3.0
# Longer gaps between readings are not bridged, s.
GAP = 60.0


class SignWatch:
    """Sums one battery's current and compares it with its state of charge."""

    def __init__(self, gap: float = GAP) -> None:
        """Begin without a reading; readings more than `gap` s apart are not joined."""
        self._gap = gap
        self._at: float | None = None
        self._from = 0.0
        self._charge = 0.0

    def add(self, reading: Reading, now: float) -> bool | None:
        """Take a reading at monotonic time `now`, in s.

        Returns True where current and SOC went the same way over CHANGE, False where
        they went opposite ways, None while nothing can be said.
        """
        if reading.soc is None or reading.current is None:
            return None
        if self._at is None or now - self._at > self._gap:
            self._begin(reading.soc)
        else:
            self._charge += reading.current * (now - self._at)
        self._at = now
        change = reading.soc - self._from
        if abs(change) < CHANGE:
            return None
        way = self._charge * change
        self._begin(reading.soc)
        return way > 0 if way else None

    def _begin(self, soc: float) -> None:
        self._from, self._charge = soc, 0.0
