"""Energy into a battery and out of it, from its power now and then.

Pure: no clock, no I/O. Between two readings power is taken for a straight line. Where
they are too far apart nothing is guessed; how long that was is counted instead.
"""

from __future__ import annotations

from dataclasses import dataclass, field

HOUR = 3600.0


@dataclass(slots=True)
class EnergyCounter:
    """Wh charged and discharged, and the s that nobody counted; none of them falls."""

    charged: float = 0.0
    discharged: float = 0.0
    uncounted: float = 0.0
    _power: float = field(default=0.0, repr=False, compare=False)
    _at: float | None = field(default=None, repr=False, compare=False)

    def add(self, power: float, at: float, *, gap: float) -> None:
        """Take the `power`, W and positive while charging, at monotonic time `at`, s.

        Readings more than `gap` s apart are not joined. One that is not newer than the
        last does not count.
        """
        if self._at is not None:
            if at <= self._at:
                return
            self._join(power, at - self._at, gap)
        self._power, self._at = power, at

    def _join(self, power: float, seconds: float, gap: float) -> None:
        if seconds > gap:
            self.missed(seconds)
            return
        charged, discharged = flowed(self._power, power, seconds)
        self.charged += charged
        self.discharged += discharged

    def missed(self, seconds: float) -> None:
        """Count time in which nothing was known; a clock set back counts for none."""
        self.uncounted += max(0.0, seconds)


def flowed(before: float, after: float, seconds: float) -> tuple[float, float]:
    """Return the Wh charged and discharged while power went from W to W.

    Power is positive while charging. Where it changes its sign, the two parts are kept
    apart.
    """
    if before * after >= 0:
        energy = (before + after) / 2 * seconds / HOUR
        return max(energy, 0.0), max(-energy, 0.0)
    # A share is never above 1, however it is rounded.
    until = seconds * (before / (before - after))
    first = abs(before) / 2 * until / HOUR
    second = abs(after) / 2 * (seconds - until) / HOUR
    return (first, second) if before > 0 else (second, first)
