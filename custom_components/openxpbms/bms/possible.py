"""What is physically possible: nothing else is shown, whatever a battery tells.

Protection judges what the battery told, not what is shown.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .reading import Reading


@dataclass(frozen=True, slots=True)
class Span:
    """The possible values of a quantity, both ends included."""

    low: float
    high: float

    def has(self, value: float | None) -> bool:
        """Whether a value is possible; None is, it stands for nothing told."""
        return value is None or self.low <= value <= self.high


CELL_VOLTS = Span(0, 5)
DEGREES = Span(-60, 150)
AMPERES = Span(-3000, 3000)
PERCENT = Span(0, 100)


@dataclass(frozen=True, slots=True)
class Possible:
    """What must be possible for a sensor to show something: values of a reading."""

    span: Span
    values: Callable[[Reading], Iterable[float | None]]

    def holds(self, reading: Reading) -> bool:
        """Whether all of them are."""
        return all(map(self.span.has, self.values(reading)))


def per_cell(reading: Reading) -> float | None:
    """Return the battery's voltage divided by the number of its cells, V."""
    if reading.voltage is None or not reading.cell_voltages:
        return None
    return reading.voltage / len(reading.cell_voltages)


VOLTAGE = Possible(CELL_VOLTS, lambda reading: (per_cell(reading),))
CURRENT = Possible(AMPERES, lambda reading: (reading.current,))
SOC = Possible(PERCENT, lambda reading: (reading.soc,))
CELLS = Possible(CELL_VOLTS, lambda reading: reading.cell_voltages or ())
CELL_TEMPERATURES = Possible(DEGREES, lambda reading: reading.cell_temperatures or ())
