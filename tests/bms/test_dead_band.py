"""Noise is not shown, and nothing that has really changed is held back for long."""

from __future__ import annotations

from collections.abc import Iterable
import random

from hypothesis import given
from hypothesis import strategies as st

from custom_components.openxpbms.bms.dead_band import HOLD, DeadBand


def shown(
    band: DeadBand[float], values: Iterable[float | None], step: float = 5.0
) -> list[float | None]:
    """Return what is shown of values that come every `step` s."""
    result = []
    for number, value in enumerate(values):
        apart = (value or 0.0) - (band.shown or 0.0)
        result.append(band.show(value, apart, 1000 + number * step))
    return result


def test_noise_around_what_is_shown_is_not_shown() -> None:
    values = [0.0, 0.1, -0.1, 0.1, 0.0, -0.1] * 50
    assert set(shown(DeadBand(0.1), values)) == {0.0}


def test_two_steps_of_a_temperature_are_one() -> None:
    assert set(shown(DeadBand(0.1), [20.0, 20.1] * 200)) == {20.0}


def test_more_than_the_band_is_shown_at_once() -> None:
    assert shown(DeadBand(0.1), [20.0, 20.11, 20.0]) == [20.0, 20.11, 20.0]


def test_what_stays_on_one_side_is_shown_after_half_a_minute() -> None:
    values = [1.0, *[1.05, 1.1] * 4]
    assert HOLD == 30.0
    # The first that differs came at 5 s.
    assert shown(DeadBand(0.1), values) == [1.0] * 7 + [1.05, 1.05]


def test_half_a_minute_begins_anew_on_the_other_side() -> None:
    values = [1.0, *[1.05] * 6, 0.95, *[1.05] * 6, 1.05]
    assert shown(DeadBand(0.1), values) == [*[1.0] * 14, 1.05]


def test_a_value_that_creeps_is_followed_by_its_band() -> None:
    values = [number / 100 for number in range(1000)]
    for value, seen in zip(values, shown(DeadBand(0.1), values), strict=True):
        assert seen is not None
        assert 0 <= value - seen < 0.1 + 1e-9


def test_coming_and_going_is_shown_at_once() -> None:
    values = [None, 1.0, None, 1.05, 1.06]
    assert shown(DeadBand(0.1), values) == [None, 1.0, None, 1.05, 1.05]


def test_a_distance_that_is_no_difference() -> None:
    band = DeadBand[int](0.002)
    assert band.show(3, 0.0, 0) == 3
    assert band.show(7, 0.001, 5) == 3
    assert band.show(7, 0.0, 34) == 3  # another one that is just as low
    assert band.show(7, 0.003, 39) == 7


@given(st.integers(0, 2**32), st.floats(0.5, 20.0))
def test_what_is_shown_is_never_wrong_for_long(seed: int, step: float) -> None:
    chance = random.Random(seed)
    values = [round(chance.gauss(0, 0.1), 2) for _ in range(200)]
    values += [0.33] * 100
    seen = shown(DeadBand(0.2), values, step)
    for value, other in zip(values, seen, strict=True):
        assert other is not None
        assert abs(value - other) <= 0.2 + 1e-9
    assert seen[200 + int(HOLD / step) + 1] == 0.33
