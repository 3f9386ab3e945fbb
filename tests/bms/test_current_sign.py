"""Whether a current's sign fits its state of charge."""

from __future__ import annotations

import pytest

from custom_components.openxpbms.bms.current_sign import SignWatch
from custom_components.openxpbms.bms.reading import Reading


def judge(*points: tuple[float, float, float]) -> list[bool | None]:
    """Judge readings of (time in s, SOC in %, current in A)."""
    watch = SignWatch()
    return [
        watch.add(Reading(soc=soc, current=current), now)
        for now, soc, current in points
    ]


@pytest.mark.parametrize(
    ("soc", "current", "same"),
    [
        (53.0, 40.0, True),
        (47.0, -40.0, True),
        (53.0, -40.0, False),
        (47.0, 40.0, False),
    ],
)
def test_three_percent_tell_the_sign(soc: float, current: float, same: bool) -> None:
    assert judge((0, 50.0, current), (10, soc, current)) == [None, same]


def test_less_than_three_percent_tell_nothing() -> None:
    assert judge((0, 50.0, -40), (10, 52.9, -40)) == [None, None]


def test_the_sum_counts_and_not_the_last_current() -> None:
    points = [(0, 50.0, 0.0), (50, 51.5, 10.0), (51, 53.0, -100.0)]
    assert judge(*points) == [None, None, True]


def test_after_a_verdict_it_begins_anew() -> None:
    points = [
        (0, 50.0, 40.0),
        (10, 53.0, 40.0),
        (20, 55.9, -40.0),
        (30, 56.0, -40.0),
    ]
    assert judge(*points) == [None, True, None, False]


def test_a_gap_of_more_than_a_minute_is_not_bridged() -> None:
    points = [(0, 50.0, 40.0), (61, 53.0, 40.0), (121, 56.0, 40.0)]
    assert judge(*points) == [None, None, True]


def test_slow_polling_has_a_longer_gap() -> None:
    watch = SignWatch(gap=700)
    verdicts = [
        watch.add(Reading(soc=soc, current=40.0), now)
        for now, soc in ((0, 50.0), (700, 53.0), (1401, 56.0), (2000, 59.0))
    ]
    assert verdicts == [None, True, None, True]


def test_what_was_summed_before_a_gap_does_not_count_behind_it() -> None:
    points = [(0, 50.0, -40.0), (10, 51.0, -40.0), (100, 54.0, 40.0), (110, 57.0, 40)]
    assert judge(*points) == [None, None, None, True]


def test_a_correction_of_the_charge_without_any_current_tells_nothing() -> None:
    assert judge((0, 50.0, 0.0), (10, 100.0, 0.0), (20, 96.0, -9.0)) == [
        None,
        None,
        True,
    ]


@pytest.mark.parametrize("partial", [Reading(soc=90.0), Reading(current=1.0)])
def test_a_reading_without_charge_or_current_is_passed_over(partial: Reading) -> None:
    watch = SignWatch()
    assert watch.add(Reading(soc=50.0, current=40.0), 0) is None
    assert watch.add(partial, 5) is None
    assert watch.add(Reading(soc=53.0, current=40.0), 10) is True
