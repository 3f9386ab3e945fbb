"""What virtual batteries really tell at each time, to judge what is made of it."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, fields, replace
import math
import time
from typing import Any

from custom_components.openxpbms.bms.reading import Reading
from custom_components.openxpbms.bms.virtual import VirtualModule, VirtualPack
from tests.bms.conftest import expected as expected_module
from tests.bms.seplos_data import expected as expected_pack

type Battery = VirtualModule | VirtualPack

# A battery has other values every so many s.
STEP = 0.25
# What was true so many s before a Reading came is not too old for one of its parts.
WINDOW = 3.0
_NAMES = [item.name for item in fields(Reading)]


@dataclass(slots=True)
class Truth:
    """What one battery has told, and since when; no two batteries tell the same.

    It moves the battery's values whenever it is asked, unless it is `frozen`.
    """

    battery: Battery
    number: int
    frozen: bool = False
    # Who told under this number before.
    before: Truth | None = None
    _told: deque[tuple[float, Reading]] = field(
        default_factory=lambda: deque(maxlen=64)
    )
    _step: int = -1

    def __post_init__(self) -> None:
        """Begin to follow the battery."""
        self.battery.before_answer = self.move
        self._change(0)
        self.note()

    def move(self, battery: Any, now: float) -> None:
        """Give the battery the values of this moment; `now` is the line's time in s."""
        step = int(now / STEP)
        if step != self._step and not self.frozen:
            self._step = step
            self._change(step)
            self.note()

    def _change(self, step: int) -> None:
        one, number = self.battery, self.number
        one.cell_voltages[:] = [
            (3200 + 7 * number + cell + 2 * (step % 60)) / 1000
            for cell in range(one.cells)
        ]
        one.cell_temperatures[:] = [
            15.0 + number + sensor / 2 + step % 4
            for sensor in range(len(one.cell_temperatures))
        ]
        one.current = round(1.1 * (number + 1) + 0.3 * (step % 5), 2)
        # Exact in steps of both 0.1 % and 1/255.
        one.soc = 20.0 * (1 + number % 4)

    def note(self, *, carry: bool = False) -> None:
        """Take what the battery would tell now for the truth.

        Its voltage may `carry`: a module tells it in 16 bits of mV, a pack of 10 mV.
        """
        one = self.battery
        if isinstance(one, VirtualPack):
            told, full = expected_pack(one), 655.36
        else:
            told, full = expected_module(one), 65.536
        if carry and told.voltage is not None:
            told = replace(told, voltage=round(told.voltage % full, 3))
        self._told.append((time.monotonic(), told))

    def lately(self, at: float) -> Iterator[Reading]:
        """Yield what it has told until now from shortly before `at`, monotonic s."""
        if self.before is not None:
            yield from self.before.own(at)
        yield from self.own(at)

    def own(self, at: float) -> Iterator[Reading]:
        """Yield the same of this battery alone."""
        told = list(self._told)
        for number, (_, reading) in enumerate(told):
            ended = told[number + 1][0] if number + 1 < len(told) else math.inf
            if ended >= at - WINDOW:
                yield reading

    def wrong(self, reading: Reading, at: float) -> list[str]:
        """Return the fields of a Reading, or of a part of one, that were never true."""
        true = list(self.lately(at))
        return [
            f"{name}={value!r}"
            for name in _NAMES
            if (value := getattr(reading, name)) is not None
            and not any(_same(value, getattr(other, name)) for other in true)
        ]

    def was(self, value: float, of: Callable[[Reading], Any], at: float) -> bool:
        """Whether a figure was that of the battery lately; its sign may be unknown."""
        figures = (of(reading) for reading in self.lately(at))
        return any(
            figure is not None and math.isclose(abs(figure), abs(value), abs_tol=6e-3)
            for figure in figures
        )


def _same(value: Any, other: Any) -> bool:
    if isinstance(value, float) and isinstance(other, int | float):
        return math.isclose(value, other, abs_tol=1e-6)
    if isinstance(value, tuple) and isinstance(other, tuple):
        return len(value) == len(other) and all(
            _same(a, b) for a, b in zip(value, other, strict=True)
        )
    return bool(value == other)
