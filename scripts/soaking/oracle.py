"""Says of every Reading and every sensor whether it was true a moment ago."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import fields
from functools import partial
from typing import Any

from custom_components.openxpbms.bms.reading import Reading

from .truth import Extreme, Truth

# So much earlier than its round began a value may have been true: it may have been on
# the wire already, s.
SLACK = 1.0
# A bank is heard at its master's pace; what is shown may be as old as that, s.
HEARD = 12.0
# What is told at a time is examples, not thousands.
MOST_TOLD = 30
# Less than half a step of any value that is shown.
_CLOSE = 1e-6
# What flickers is not followed within so much: A, W, V, Ah, by key. Cells always are.
NOISE = {
    "current": 0.2,
    "power": 0.2 * 60,
    "voltage": 0.001 * 16,
    # With the last digit, which is rounded.
    "mean_cell_voltage": 0.0011,
    "cell_delta": 0.002,
    "remaining_capacity": 0.1,
}
MILLIVOLTS_OF_TWO = 2

_FIELDS = tuple(item.name for item in fields(Reading))


class Oracle:
    """Counts what it judged and keeps examples of what was wrong."""

    def __init__(self) -> None:
        """Begin with nothing judged."""
        self.judged: Counter[str] = Counter()
        self.wrong: Counter[str] = Counter()
        self.told: list[str] = []

    def _tell(self, kind: str, what: str) -> None:
        self.wrong[kind] += 1
        if len(self.told) < MOST_TOLD:
            self.told.append(what)

    def part(self, truth: Truth, part: Reading, since: float, now: float) -> bool:
        """Judge one block; every value of it must have been true together."""
        self.judged["parts"] += 1
        told = {n: v for n in _FIELDS if (v := getattr(part, n)) is not None}
        if any(
            line.held(partial(_agree, told), since) for line in truth.blocks.values()
        ):
            return True
        self._tell("parts", f"{now:.1f} {truth.name}: a part told {told}")
        return False

    def reading(self, truth: Truth, reading: Reading, since: float, now: float) -> bool:
        """Judge a whole Reading: each block's values must have been true together."""
        self.judged["readings"] += 1
        left = {n: v for n in _FIELDS if (v := getattr(reading, n)) is not None}
        wrong = []
        for block, line in truth.blocks.items():
            # The finer state of charge is told later and counts more.
            coarse = block == "summary"
            names = [name for name in line.now if not (coarse and name == "soc")]
            told = {name: getattr(reading, name) for name in names}
            if not line.held(partial(_agree, told), since):
                wrong.append(f"{block} {told} for {line.now}")
            for name in names:
                left.pop(name, None)
        if left:
            wrong.append(f"more than there is: {left}")
        if wrong:
            self._tell("readings", f"{now:.1f} {truth.name}: {'; '.join(wrong)}")
        return not wrong

    def state(
        self, truth: Truth, key: str, state: str, since: float, now: float
    ) -> bool:
        """Judge a state of a sensor that is there."""
        self.judged["states"] += 1
        line = truth.sensors[key]
        if line.held(partial(_shows, key, state), since):
            return True
        self._tell(
            "states",
            f"{now:.1f} {truth.name}: {key} shows {state}, true is {line.now}",
        )
        return False


def _agree(told: Mapping[str, Any], values: Mapping[str, Any]) -> bool:
    return all(name in values and values[name] == value for name, value in told.items())


def _shows(key: str, state: str, value: Any) -> bool:
    if isinstance(value, str):
        return state == value
    try:
        shown = float(state)
    except ValueError:
        return False
    if isinstance(value, Extreme):
        # Another cell that is not further away than noise may be shown.
        millivolts = value.cells[round(shown) - 1]
        return abs(millivolts - value.extreme) <= MILLIVOLTS_OF_TWO
    return bool(abs(shown - value) <= noise(key) + _CLOSE)


def noise(key: str) -> float:
    """Return how far a sensor may stay from the truth; see docs/figures.md."""
    return 0.1 if key.endswith("_temperature") else NOISE.get(key, 0.0)
