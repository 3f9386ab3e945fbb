"""A bank as one battery, however its batteries are joined."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st
import pytest

from custom_components.openxpbms.bms.outputs import Joined, Outputs
from custom_components.openxpbms.bms.reading import Reading
from custom_components.openxpbms.bms.totals import Part, Place, Spread, Totals, totals

PARALLEL = Outputs(joined=Joined.PARALLEL)
SERIES = Outputs(joined=Joined.SERIES)
STRINGS = Outputs(joined=Joined.STRINGS, strings={1: 1, 2: 1, 3: 2, 4: 2})
ELECTRIC = (
    *("voltage", "current", "remaining", "full", "room"),
    *("allowed_charge", "allowed_discharge"),
)
SUMS = (*ELECTRIC, "power", "soc")


def part(address: int, *, rated: float | None = None, **values: Any) -> Part:
    """Return a battery of four cells that differs from others by its address."""
    given = {
        "voltage": 13.0 + address / 10,
        "current": 10.0 * address,
        "soc": 50.0,
        "cell_voltages": tuple(3.2 + address / 100 + n / 1000 for n in range(4)),
        "cell_temperatures": (20.0 + address, None, 21.0 + address),
        "remaining_capacity": 40.0 + address,
        "full_capacity": 100.0,
        "allowed_charge_current": 50.0 + address,
        "allowed_discharge_current": 100.0 + address,
    }
    return Part(
        address=address, reading=Reading(**given | values), rated=rated, cells=4
    )


def silent(address: int) -> Part:
    """Return a battery that does not answer."""
    return Part(address=address, reading=None, rated=100.0, cells=4)


def electric(found: Totals) -> tuple[float | None, ...]:
    """Return what depends on how batteries are joined."""
    return tuple(getattr(found, name) for name in ELECTRIC)


def sums(found: Totals) -> set[float | None]:
    """Return what a silent battery makes unknown."""
    return {getattr(found, name) for name in SUMS}


def test_in_parallel() -> None:
    found = totals([part(1), part(2)], PARALLEL)
    assert electric(found) == (13.15, 30, 83, 200, 117, 103, 203)
    assert found.power == 131 + 264
    assert found.soc == 50


def test_in_series() -> None:
    found = totals([part(1), part(2, current=12.0)], SERIES)
    # The same current flows through both, so two that differ are measured badly.
    assert electric(found) == (26.3, 11, 41, 100, 58, 51, 101)
    assert found.power == 131 + round(13.2 * 12, 2)


def test_strings_in_parallel() -> None:
    batteries = [part(1), part(2), part(3), part(4)]
    found = totals(batteries, STRINGS)
    # Strings of 26.3 and 26.7 V, of 15 and 35 A; the weakest of each counts.
    assert electric(found) == (26.5, 50, 41 + 43, 200, 58 + 56, 51 + 53, 101 + 103)
    assert found.power == pytest.approx(131 + 264 + 399 + 536)


def test_a_battery_alone() -> None:
    found = totals([part(1)], Outputs())
    assert electric(found) == (13.1, 10, 41, 100, 59, 51, 101)
    assert found.spread is None


@pytest.mark.parametrize(
    "outputs",
    [
        None,
        Outputs(joined=Joined.SINGLE),
        Outputs(joined=Joined.STRINGS, strings={1: 1}),
    ],
)
def test_without_knowing_how_they_are_joined(outputs: Outputs | None) -> None:
    found = totals([part(1), part(2)], outputs)
    assert set(electric(found)) == {None}
    assert (found.power, found.soc) == (395, 50)
    assert (found.online, found.expected) == (2, 2)


def test_what_is_of_different_voltage_is_not_in_parallel() -> None:
    six = Part(address=2, reading=part(2).reading, cells=6)
    found = totals([part(1), six], PARALLEL)
    assert (found.voltage, found.current) == (None, 30)
    # In series it may be.
    assert totals([part(1), six], SERIES).voltage == 26.3


def test_each_battery_weighs_as_much_as_it_holds() -> None:
    batteries = [part(1, soc=90.0), part(2, soc=30.0, full_capacity=200.0)]
    assert totals(batteries, PARALLEL).soc == 50


def test_modules_that_tell_no_capacity_have_that_of_their_model() -> None:
    told = {"remaining_capacity": None, "full_capacity": None}
    batteries = [
        part(1, rated=138, soc=50.0, **told),
        part(2, rated=40, soc=25.0, **told),
    ]
    found = totals(batteries, PARALLEL)
    assert (found.remaining, found.full, found.room) == (79, 178, 99)
    assert found.soc == round((69 + 10) / 1.78, 1)


@pytest.mark.parametrize(
    ("rated", "soc"), [(None, 50.0), (100.0, None), (0.0, 50.0), (None, None)]
)
def test_without_capacity_or_charge_nothing_is_guessed(
    rated: float | None, soc: float | None
) -> None:
    told = {"remaining_capacity": None, "full_capacity": None, "soc": soc}
    found = totals([part(1), part(2, rated=rated, **told)], PARALLEL)
    if rated:
        assert (found.soc, found.remaining, found.full) == (None, None, 200)
    elif rated is None:
        assert (found.soc, found.remaining, found.full) == (None, None, None)
    assert found.current == 30


def test_a_bank_of_no_capacity_has_no_state_of_charge() -> None:
    told = {"remaining_capacity": 0.0, "full_capacity": 0.0}
    assert totals([part(1, **told)], Outputs()).soc is None


def test_a_battery_fuller_than_full_takes_nothing() -> None:
    found = totals([part(1, remaining_capacity=101.0)], Outputs())
    assert (found.remaining, found.room) == (101, 0)


def test_of_a_silent_battery_only_its_size_is_known() -> None:
    battery = silent(1)
    assert (battery.full, battery.remaining, battery.room) == (100, None, None)


def test_extremes_say_where_they_are() -> None:
    found = totals([part(2), part(1), part(3)], None)
    assert found.lowest_cell == Place(3.21, 1, 1)
    assert found.highest_cell == Place(3.233, 3, 4)
    assert found.cell_delta == 0.023
    assert found.spread == Spread(0.02, 1, 3)
    assert found.lowest_temperature == Place(21, 1, 1)
    assert found.highest_temperature == Place(24, 3, 3)
    assert found.mean_temperature == 22.5


def test_the_first_of_several_that_are_equal() -> None:
    cells = {"cell_voltages": (3.3, 3.3), "cell_temperatures": (20.0, 20.0)}
    found = totals([part(5, **cells), part(6, **cells)], None)
    assert found.lowest_cell == found.highest_cell == Place(3.3, 5, 1)
    assert found.lowest_temperature == found.highest_temperature == Place(20, 5, 1)


def test_a_silent_battery_leaves_no_sum_but_the_extremes_of_the_others() -> None:
    found = totals([part(1), silent(2), part(3)], PARALLEL)
    assert sums(found) == {None}
    assert (found.online, found.expected, found.silent) == (2, 3, (2,))
    assert found.lowest_cell == Place(3.21, 1, 1)
    assert found.spread == Spread(0.02, 1, 3)
    assert found.mean_temperature == 22.5


def test_going_on_without_a_silent_battery() -> None:
    found = totals([part(1), silent(2), part(3)], PARALLEL, without_silent=True)
    assert (found.online, found.expected) == (2, 3)
    assert electric(found) == electric(totals([part(1), part(3)], PARALLEL))
    assert (found.power, found.soc) == (131 + 399, 50)


def test_a_string_counts_only_whole() -> None:
    batteries = [part(1), silent(2), part(3), part(4)]
    found = totals(batteries, STRINGS, without_silent=True)
    assert electric(found) == (26.7, 35, 43, 100, 56, 53, 103)
    assert found.power == 399 + 536
    in_series = totals([part(1), silent(2)], SERIES, without_silent=True)
    assert sums(in_series) == {None}
    # Where nothing is known of strings, each battery counts by itself.
    apart = totals([part(1), silent(2)], None, without_silent=True)
    assert (apart.power, apart.soc) == (131, 50)


@pytest.mark.parametrize("without_silent", [False, True])
@pytest.mark.parametrize("outputs", [None, PARALLEL, SERIES, STRINGS])
def test_nobody_answers(outputs: Outputs | None, without_silent: bool) -> None:
    found = totals([silent(1), silent(2)], outputs, without_silent=without_silent)
    assert found == Totals(online=0, expected=2, silent=(1, 2))


def test_nobody_is_there() -> None:
    assert totals([], PARALLEL) == Totals()


def test_readings_without_values_make_no_totals() -> None:
    found = totals([Part(address=1, reading=Reading(), cells=4)] * 2, PARALLEL)
    assert found == Totals(online=2, expected=2)


AMPERES = st.floats(-300, 300)
BATTERIES = st.lists(st.tuples(AMPERES, st.floats(0, 100)), min_size=1, max_size=8)


@given(BATTERIES, st.sampled_from([PARALLEL, SERIES]))
def test_the_whole_lies_among_its_parts(
    batteries: list[tuple[float, float]], outputs: Outputs
) -> None:
    parts = [
        part(n, current=amperes, soc=soc, remaining_capacity=None)
        for n, (amperes, soc) in enumerate(batteries, 1)
    ]
    found = totals(parts, outputs)
    socs = [soc for _, soc in batteries]
    assert found.soc is not None
    assert min(socs) - 0.1 <= found.soc <= max(socs) + 0.1
    assert found.remaining is not None
    assert found.full is not None
    assert found.room is not None
    assert found.remaining + found.room <= found.full + 0.02
    assert found.power == pytest.approx(
        sum(p.reading.power or 0 for p in parts if p.reading), abs=0.01
    )


@given(st.lists(st.booleans(), min_size=1, max_size=8), st.booleans())
def test_without_a_silent_one_as_if_it_were_not_there(
    answers: list[bool], without_silent: bool
) -> None:
    parts = [part(n) if a else silent(n) for n, a in enumerate(answers, 1)]
    rest = [part(n) for n, a in enumerate(answers, 1) if a]
    found = totals(parts, PARALLEL, without_silent=without_silent)
    if all(answers) or without_silent:
        alone = totals(rest, PARALLEL)
        assert all(getattr(found, n) == getattr(alone, n) for n in SUMS)
    else:
        assert sums(found) == {None}
    assert found.online == len(rest)
    assert len(found.silent) == found.expected - found.online
