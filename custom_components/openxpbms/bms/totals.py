"""A bank as one battery: sums, extremes and spreads of those on one bus.

Pure: no clock, no I/O. What depends on how the batteries are joined is None where that
is not known. Sums are None where a battery is silent: nothing instead of too little.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from operator import attrgetter

from .outputs import Joined, Outputs
from .reading import Reading


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """A battery of a bank.

    `reading` is None while it is silent; `rated` are its Ah where it tells none itself,
    `cells` those in series. None stands for what is not known.
    """

    address: int
    reading: Reading | None
    rated: float | None = None
    cells: int | None = None

    @property
    def full(self) -> float | None:
        """Ah that it takes when it is full."""
        if self.reading is None or self.reading.full_capacity is None:
            return self.rated
        return self.reading.full_capacity

    @property
    def remaining(self) -> float | None:
        """Ah that are left in it, as it tells them or by its state of charge."""
        if self.reading is None:
            return None
        if self.reading.remaining_capacity is not None:
            return self.reading.remaining_capacity
        if self.full is None or self.reading.soc is None:
            return None
        return self.full * self.reading.soc / 100

    @property
    def room(self) -> float | None:
        """Ah that it takes until it is full."""
        if self.full is None or self.remaining is None:
            return None
        return max(self.full - self.remaining, 0.0)


@dataclass(frozen=True, slots=True)
class Place:
    """A value and where it is: the battery's address, its cell or sensor from 1."""

    value: float
    address: int
    number: int


@dataclass(frozen=True, slots=True)
class Spread:
    """How far apart two batteries are, V a cell, and their addresses."""

    value: float
    lowest: int
    highest: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Totals:
    """What a bank is as a whole: V, A, W, %, Ah, °C; None where it is not known.

    Current and power are positive while charging. Extremes and the spread are of those
    that are heard. `silent` are the addresses of the others.
    """

    voltage: float | None = None
    current: float | None = None
    power: float | None = None
    soc: float | None = None
    remaining: float | None = None
    full: float | None = None
    room: float | None = None
    allowed_charge: float | None = None
    allowed_discharge: float | None = None
    lowest_cell: Place | None = None
    highest_cell: Place | None = None
    cell_delta: float | None = None
    spread: Spread | None = None
    lowest_temperature: Place | None = None
    highest_temperature: Place | None = None
    mean_temperature: float | None = None
    online: int = 0
    expected: int = 0
    silent: tuple[int, ...] = ()


type _Heard = tuple[Part, Reading]
type _String = list[_Heard]


def totals(
    parts: Sequence[Part], outputs: Outputs | None, *, without_silent: bool = False
) -> Totals:
    """Return what the batteries of a bus are together.

    `outputs` say how they are joined, None where nobody chose it. With `without_silent`
    the sums are of those that are heard; a string in series counts only whole.
    """
    heard = [(part, part.reading) for part in parts if part.reading is not None]
    joined = outputs if _fits(outputs, parts) else None
    strings = _whole_strings(parts, joined, without_silent=without_silent)
    members = [member for string in strings for member in string]
    cells = _places(heard, lambda reading: reading.cell_voltages)
    warmth = _places(heard, lambda reading: reading.cell_temperatures)
    lowest, highest = _extremes(cells)
    coldest, warmest = _extremes(warmth)
    electric = _electric(strings) if joined is not None else {}
    return Totals(
        **electric,
        power=_rounded(_sum(reading.power for _, reading in members), 2),
        soc=_soc(members),
        lowest_cell=lowest,
        highest_cell=highest,
        cell_delta=_delta(cells),
        spread=_spread(heard),
        lowest_temperature=coldest,
        highest_temperature=warmest,
        mean_temperature=_rounded(_mean(place.value for place in warmth), 2),
        online=len(heard),
        expected=len(parts),
        silent=tuple(part.address for part in parts if part.reading is None),
    )


def _fits(outputs: Outputs | None, parts: Sequence[Part]) -> bool:
    """Whether it is known of every battery how it is joined with the others."""
    if outputs is None:
        return False
    if outputs.joined is Joined.SINGLE:
        return len(parts) == 1
    if outputs.joined is Joined.STRINGS:
        return all(part.address in outputs.strings for part in parts)
    return True


def _whole_strings(
    parts: Iterable[Part], outputs: Outputs | None, *, without_silent: bool
) -> list[_String]:
    """Return the strings that count; where nothing is joined each battery is one."""
    groups: dict[object, list[Part]] = {}
    for part in parts:
        string = outputs.string_of(part.address) if outputs else part.address
        groups.setdefault(string, []).append(part)
    whole = [
        [(part, part.reading) for part in group if part.reading is not None]
        for group in groups.values()
        if all(part.reading is not None for part in group)
    ]
    return whole if without_silent or len(whole) == len(groups) else []


def _electric(strings: list[_String]) -> dict[str, float | None]:
    """Return what depends on how the batteries are joined.

    The same current flows through all of a string, so its weakest battery sets what it
    holds, takes and allows.
    """

    def weakest(value: Callable[[Part, Reading], float | None]) -> float | None:
        of_strings = (_least(value(*member) for member in s) for s in strings)
        return _rounded(_sum(of_strings), 2)

    currents = (_mean(reading.current for _, reading in s) for s in strings)
    return {
        "voltage": _voltage(strings),
        "current": _rounded(_sum(currents), 2),
        "remaining": weakest(lambda part, _: part.remaining),
        "full": weakest(lambda part, _: part.full),
        "room": weakest(lambda part, _: part.room),
        "allowed_charge": weakest(lambda _, reading: reading.allowed_charge_current),
        "allowed_discharge": weakest(
            lambda _, reading: reading.allowed_discharge_current
        ),
    }


def _voltage(strings: list[_String]) -> float | None:
    """Return V; None where strings have not the same number of cells."""
    if len({_sum(part.cells for part, _ in string) for string in strings}) != 1:
        return None  # nobody joins these, so something is not as it was said to be
    volts = (_sum(reading.voltage for _, reading in string) for string in strings)
    return _rounded(_mean(volts), 3)


def _soc(members: list[_Heard]) -> float | None:
    """Return %, each battery weighted by its capacity."""
    full = _sum(part.full for part, _ in members)
    charge = _sum(
        None if reading.soc is None or part.full is None else reading.soc * part.full
        for part, reading in members
    )
    return _rounded(charge / full, 1) if full and charge is not None else None


def _spread(heard: list[_Heard]) -> Spread | None:
    """Return how far batteries are apart by the means of their cells."""
    means = [
        (reading.mean_cell_voltage, part.address)
        for part, reading in heard
        if reading.mean_cell_voltage is not None
    ]
    if len(means) < 2:
        return None
    low, high = min(means), max(means)
    return Spread(round(high[0] - low[0], 4), low[1], high[1])


def _places(
    heard: Iterable[_Heard],
    values: Callable[[Reading], Sequence[float | None] | None],
) -> list[Place]:
    return [
        Place(value, part.address, number)
        for part, reading in heard
        for number, value in enumerate(values(reading) or (), 1)
        if value is not None
    ]


def _extremes(places: list[Place]) -> tuple[Place | None, Place | None]:
    """Return the lowest and the highest, the first one where several are equal."""
    value = attrgetter("value")
    return min(places, key=value, default=None), max(places, key=value, default=None)


def _delta(places: list[Place]) -> float | None:
    values = [place.value for place in places]
    return round(max(values) - min(values), 4) if values else None


# Of nothing, or with anything that is not known, the result is not known.


def _known[T: float](values: Iterable[T | None]) -> list[T] | None:
    found = list(values)
    known = [value for value in found if value is not None]
    return known if known and len(known) == len(found) else None


def _sum(values: Iterable[float | None]) -> float | None:
    known = _known(values)
    return None if known is None else sum(known)


def _mean(values: Iterable[float | None]) -> float | None:
    known = _known(values)
    return None if known is None else sum(known) / len(known)


def _least(values: Iterable[float | None]) -> float | None:
    known = _known(values)
    return None if known is None else min(known)


def _rounded(value: float | None, digits: int) -> float | None:
    return None if value is None else round(value, digits)
