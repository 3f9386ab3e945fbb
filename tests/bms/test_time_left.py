"""Time to empty and to full from a smoothed current."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
import pytest

from custom_components.openxpbms.bms.time_left import CONSTANT, LONGEST, TimeLeft

GAP = 20.0


def follow(*currents: float, pause: float = 10.0) -> TimeLeft:
    """Follow currents, `pause` s apart."""
    left = TimeLeft()
    for number, current in enumerate(currents):
        left.add(current, 1000 + pause * number, gap=GAP)
    return left


def test_it_discharges() -> None:
    left = follow(-50.0)
    assert left.to_empty(50, 100) == 60
    assert left.to_full(50, 100) is None


def test_it_charges() -> None:
    left = follow(25.0)
    assert left.to_full(50, 100) == 120
    assert left.to_empty(50, 100) is None


def test_nothing_is_known_before_the_first_current() -> None:
    left = TimeLeft()
    assert left.to_empty(50, 100) is left.to_full(50, 100) is None


@pytest.mark.parametrize("sign", [1, -1])
def test_a_small_current_tells_nothing(sign: int) -> None:
    small = 100 / LONGEST
    assert follow(sign * small).to_empty(50, 100) is None
    assert follow(sign * small).to_full(50, 100) is None
    left = follow(sign * small * 1.01)
    assert (left.to_empty(50, 100) is None) == (sign > 0)
    assert (left.to_full(50, 100) is None) == (sign < 0)


def test_what_is_full_or_empty_is_so_at_once() -> None:
    assert follow(10.0).to_full(0.0, 100) == 0
    assert follow(10.0).to_full(-0.5, 100) == 0
    assert follow(-10.0).to_empty(0.0, 100) == 0


@pytest.mark.parametrize(
    ("minutes", "shown"),
    [(59.4, 59), (119.4, 119), (123, 125), (592, 590), (700, 690), (6000, 6000)],
)
def test_long_times_are_rounded(minutes: float, shown: int) -> None:
    assert follow(-60.0).to_empty(minutes, 100) == shown


def test_a_short_load_changes_little_and_a_lasting_one_all() -> None:
    left = follow(-10.0)
    left.add(-100.0, 1005, gap=GAP)
    assert left.to_empty(100, 100) == pytest.approx(600 / 1.367, abs=5)
    for second in range(1010, 1010 + 10 * round(CONSTANT), 10):
        left.add(-100.0, second, gap=GAP)
    assert left.to_empty(100, 100) == 60


def test_after_a_gap_the_past_does_not_count() -> None:
    left = follow(-10.0, -50.0, pause=GAP + 0.1)
    assert left.to_empty(50, 100) == 60


def test_a_reading_that_is_not_newer_changes_nothing() -> None:
    left = follow(-50.0)
    left.add(-1.0, 1000, gap=GAP)
    left.add(-1.0, 999, gap=GAP)
    assert left.to_empty(50, 100) == 60


@given(st.lists(st.floats(-300, 300), min_size=1, max_size=30))
def test_it_lies_between_what_the_currents_would_tell(currents: list[float]) -> None:
    minutes = follow(*currents).to_empty(100, 100)
    if minutes is not None:
        assert min(currents) < 0
        shortest = 6000 / -min(currents)
        assert minutes >= shortest - 15
        assert minutes <= 60 * LONGEST
