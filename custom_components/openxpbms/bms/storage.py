"""Storage: batteries that are not needed for long are kept about half charged."""

from __future__ import annotations

from collections.abc import Sequence

# Charging starts when the lowest state of charge is at most the first, and ends when
# the highest is at least the second, %.
START = 40.0
END = 50.0


def charges(
    now: bool,
    socs: Sequence[float | None],
    *,
    low: bool,
) -> bool:
    """Return whether to charge, given whether it is being done `now`.

    `low` says that a cell is under its low warning: then it is, whatever SOC says. An
    unknown SOC changes nothing.
    """
    if low:
        return True
    known = [soc for soc in socs if soc is not None]
    if not known or len(known) < len(socs):
        return now
    if min(known) <= START:
        return True
    return now and max(known) < END
