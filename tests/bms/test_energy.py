"""Energy from power now and then: exact, never falling, and nothing guessed."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st
import pytest

from custom_components.openxpbms.bms.energy import EnergyCounter, flowed

GAP = 10.0
POWERS = st.floats(-50_000, 50_000)
# Pauses between readings: some are gaps, some go back.
PAUSES = st.floats(-30, 60)
READINGS = st.lists(st.tuples(PAUSES, POWERS), max_size=40)


def count(*readings: tuple[float, float]) -> EnergyCounter:
    """Count readings of (monotonic s, W)."""
    counter = EnergyCounter()
    for at, power in readings:
        counter.add(power, at, gap=GAP)
    return counter


def told(counter: EnergyCounter) -> tuple[float, float, float]:
    """Return all that a counter counts."""
    return counter.charged, counter.discharged, counter.uncounted


@pytest.mark.parametrize(
    ("before", "after", "charged", "discharged"),
    [
        (1000, 1000, 10, 0),
        (1000, 2000, 15, 0),
        (-1000, -2000, 0, 15),
        (0, 0, 0, 0),
        (0, -1000, 0, 5),
        # Down through zero after a quarter of the time, and up after three.
        (1000, -3000, 1.25, 11.25),
        (-3000, 1000, 1.25, 11.25),
    ],
)
def test_a_line_between_two_powers(
    before: float, after: float, charged: float, discharged: float
) -> None:
    assert flowed(before, after, 36) == pytest.approx((charged, discharged))


def test_one_reading_is_no_energy() -> None:
    assert told(count((100, 5000))) == (0, 0, 0)


def test_readings_are_joined() -> None:
    # 1 kW for 7.2 s, then down to -1 kW within 7.2 s.
    counter = count((100, 1000), (103.6, 1000), (107.2, 1000), (114.4, -1000))
    assert told(counter) == pytest.approx((2.5, 0.5, 0))


def test_a_gap_is_not_guessed_but_counted() -> None:
    counter = count((100, 3600), (110, 3600), (120.5, 3600), (121.5, 3600))
    assert told(counter) == pytest.approx((11, 0, 10.5))


def test_a_reading_that_is_not_newer_does_not_count() -> None:
    counter = count((100, 3600), (105, 3600), (105, -9000), (102, -9000), (106, 3600))
    assert told(counter) == pytest.approx((6, 0, 0))


def test_time_away_is_counted_unless_a_clock_was_set_back() -> None:
    counter = EnergyCounter(charged=5, discharged=6, uncounted=7)
    counter.missed(60)
    counter.missed(-3600)
    assert told(counter) == (5, 6, 67)


@given(READINGS)
def test_nothing_ever_falls(readings: list[tuple[float, float]]) -> None:
    counter, at = EnergyCounter(), 0.0
    for pause, power in readings:
        before = told(counter)
        at += pause
        counter.add(power, at, gap=GAP)
        assert all(new >= old for old, new in zip(before, told(counter), strict=True))


@given(READINGS)
def test_every_second_is_counted_once(readings: list[tuple[float, float]]) -> None:
    """At a constant power the energy is the time that was joined."""
    counter, at, seen = EnergyCounter(), 0.0, [0.0]
    counter.add(3600, at, gap=GAP)
    for pause, _ in readings:
        at += pause
        seen.append(max(at, seen[-1]))
        counter.add(3600, at, gap=GAP)
    assert counter.charged + counter.uncounted == pytest.approx(seen[-1])
    gaps = [new - old for old, new in pairwise(seen) if new - old > GAP]
    assert counter.uncounted == pytest.approx(sum(gaps))


@given(POWERS, POWERS, st.floats(0, GAP), st.floats(0.01, 0.99))
def test_a_line_is_the_sum_of_its_parts(
    before: float, after: float, seconds: float, share: float
) -> None:
    whole = flowed(before, after, seconds)
    # Energy charged and discharged together are the integral of |power|.
    between = before + share * (after - before)
    first = flowed(before, between, share * seconds)
    second = flowed(between, after, (1 - share) * seconds)
    assert min(whole) >= 0
    assert whole == pytest.approx(
        (first[0] + second[0], first[1] + second[1]), rel=1e-6, abs=1e-6
    )
    assert whole[0] - whole[1] == pytest.approx(
        (before + after) / 2 * seconds / 3600, rel=1e-6, abs=1e-6
    )


@given(POWERS, POWERS, st.floats(0, GAP))
def test_a_line_is_the_integral_of_its_amount(
    before: float, after: float, seconds: float
) -> None:
    slices = 2000
    step = seconds / slices
    powers = [
        before + (after - before) * (number + 0.5) / slices for number in range(slices)
    ]
    charged = sum(max(power, 0) for power in powers) * step / 3600
    discharged = sum(max(-power, 0) for power in powers) * step / 3600
    assert flowed(before, after, seconds) == pytest.approx(
        (charged, discharged), rel=1e-2, abs=1e-3
    )


@given(READINGS)
def test_the_other_way_round_is_the_other_counter(
    readings: list[tuple[float, float]],
) -> None:
    one, other, at = EnergyCounter(), EnergyCounter(), 0.0
    for pause, power in readings:
        at += pause
        one.add(power, at, gap=GAP)
        other.add(-power, at, gap=GAP)
    assert (one.charged, one.discharged) == pytest.approx(
        (other.discharged, other.charged)
    )
