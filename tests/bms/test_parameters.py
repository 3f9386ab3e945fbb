"""The parameters of a Seplos pack: what is known of each, and their raw words."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
import pytest

from custom_components.openxpbms.bms.parameter_errors import (
    NotANumber,
    OutOfRange,
    WrongResolution,
)
from custom_components.openxpbms.bms.parameter_rules import USUAL_CELLS
from custom_components.openxpbms.bms.parameter_values import (
    as_asked,
    check_resolution,
    checked,
    decode_raw,
    encode,
    exact,
    from_base_unit,
    in_base_unit,
    shown,
)
from custom_components.openxpbms.bms.parameters import (
    BY_NAME,
    BY_REGISTER,
    PARAMETERS,
    SPA_PARAMETERS,
    Access,
    Parameter,
    Topic,
)
from custom_components.openxpbms.bms.seplos_tables import SPA

from .parameter_data import ROWS

WRITABLE = [known for known in SPA_PARAMETERS if known.writable]
# One of each way of counting.
SCALES = list(
    {
        (known.field.unit, known.field.divisor, known.field.signed): known
        for known in SPA_PARAMETERS
    }.values()
)
CLASSES = {
    Access.TUNING: "T",
    Access.PROTECTION: "P",
    Access.CAPACITY: "C",
    Access.COUNTER: "C",
    Access.STRUCTURE: "S",
    Access.UNDOCUMENTED: "X",
}


def by_name(known: Parameter) -> str:
    """Name a test's parameter."""
    return known.name


def field(name: str) -> Any:
    """Return a parameter's field."""
    return BY_NAME[name].field


# What is known of each


def test_every_register_of_the_table_has_one_parameter() -> None:
    registers = [known.field.register for known in SPA_PARAMETERS]
    start = SPA.block.register
    assert registers == list(range(start, start + SPA.block.count))
    assert [known.field for known in SPA_PARAMETERS] == list(PARAMETERS)
    assert list(BY_NAME) == [field.name for field in PARAMETERS]
    assert list(BY_REGISTER) == registers


@pytest.mark.parametrize("row", ROWS, ids=lambda row: f"{row['register']:04X}")
def test_class_and_range_are_those_of_the_record(row: dict[str, Any]) -> None:
    known = BY_REGISTER[row["register"]]
    assert CLASSES[known.access] == row["class"]
    assert [known.low, known.high] == row.get("range", [None, None])
    assert known.board_percent == row.get("board_percent", 0)


def test_what_may_be_written() -> None:
    assert len(WRITABLE) == 88
    for known in SPA_PARAMETERS:
        assert known.writable is (
            known.access in {Access.TUNING, Access.PROTECTION, Access.CAPACITY}
        )
        assert (known.access is Access.CAPACITY) is (known.field.register == 0x1358)


def test_neither_structure_nor_counters_nor_what_nobody_documents_is_written() -> None:
    assert {known.field.register for known in SPA_PARAMETERS if not known.writable} == {
        *(0x1300, 0x1301),
        *(0x1321, 0x1322),
        *range(0x1328, 0x132E),
        *(0x1359, 0x135A),
        *range(0x135F, 0x1363),
        *(0x1368, 0x1369),
    }


@pytest.mark.parametrize("known", WRITABLE, ids=by_name)
def test_only_currents_have_an_open_end_and_it_is_away_from_zero(
    known: Parameter,
) -> None:
    assert bool(known.outward) is (known.field.unit == "A")
    if known.outward:
        [fixed] = {known.low, known.high} - {None}
        assert fixed is not None
        assert known.outward * fixed >= 0
        assert known.field.signed
        negative = {Topic.DISCHARGE_CURRENT, Topic.INVERTER_REQUESTS}
        if known.outward < 0:
            assert known.topic in negative
    else:
        assert known.low is not None
        assert known.high is not None
        assert known.low < known.high
        assert known.board_percent == 0


def test_the_voltages_of_all_cells_together_are_known() -> None:
    assert {known.field.register for known in SPA_PARAMETERS if known.of_pack} == {
        *range(0x1302, 0x130A),
        0x1365,
    }


@pytest.mark.parametrize("cells", range(7, USUAL_CELLS + 1))
def test_ranges_end_on_a_count_with_any_number_of_cells(cells: int) -> None:
    for known in WRITABLE:
        for end in (known.low, known.high):
            if end is not None:
                share = Decimal(cells) / USUAL_CELLS if known.of_pack else 1
                check_resolution(known.field, exact(end) * share)


def test_every_topic_is_about_something_that_is_written() -> None:
    assert {known.topic for known in WRITABLE} == set(Topic)


# Raw words


@pytest.mark.parametrize(
    ("register", "value", "raw"),
    [
        (0x1365, 56.00, 0x15E0),
        (0x1366, 100, 0x0064),
        (0x1367, -100, 0xFF9C),
        (0x130D, 3.550, 0x0DDE),
        (0x1330, 50.0, 0x0C9F),
    ],
)
def test_words_of_the_dossiers_frames(register: int, value: float, raw: int) -> None:
    known = BY_REGISTER[register]
    assert encode(known.field, value) == raw
    assert decode_raw(known.field, raw) == value


@pytest.mark.parametrize("known", SPA_PARAMETERS, ids=by_name)
def test_every_count_of_every_range_comes_back_as_what_was_asked(
    known: Parameter,
) -> None:
    # What is never written may have any word; so may the open end of a range.
    low = -0x8000 if known.field.signed else 0
    high, step = low + 0xFFFF, 17
    if known.low is not None and known.high is not None:
        low, high = (
            round(end * known.field.divisor) - known.field.offset
            for end in (known.low, known.high)
        )
        step = 1
    for count in range(low, high + 1, step):
        raw = count & 0xFFFF
        value = decode_raw(known.field, raw)
        assert value == (count + known.field.offset) / known.field.divisor
        assert encode(known.field, value) == raw
        if step == 1:
            # As a person types it.
            typed = f"{value:.{len(str(known.field.divisor)) - 1}f}"
            assert encode(known.field, float(typed)) == raw
            check_resolution(known.field, Decimal(typed))


@given(known=st.sampled_from(SCALES), raw=st.integers(0, 0xFFFF))
def test_every_word_comes_back(known: Parameter, raw: int) -> None:
    value = decode_raw(known.field, raw)
    assert encode(known.field, value) == raw
    assert encode(known.field, Decimal(repr(value))) == raw
    check_resolution(known.field, exact(value))


@given(
    known=st.sampled_from(SCALES),
    raw=st.integers(0, 0xFFFF),
    share=st.decimals("-0.49", "0.49", places=2),
)
def test_a_word_is_the_nearest_one(known: Parameter, raw: int, share: Decimal) -> None:
    value = exact(decode_raw(known.field, raw)) + share / known.field.divisor
    assert encode(known.field, value) == raw


@given(
    known=st.sampled_from(SCALES),
    raw=st.integers(0, 0xFFFE),
    share=st.integers(1, 99),
)
def test_between_two_counts_both_are_told(
    known: Parameter, raw: int, share: int
) -> None:
    step = Decimal(1) / known.field.divisor
    below = decode_raw(known.field, raw)
    value = exact(below) + step * share / 100
    with pytest.raises(WrongResolution) as caught:
        check_resolution(known.field, value)
    assert caught.value.details == {
        "parameter": known.name,
        "value": as_asked(known.field, value),
        "below": shown(known.field, below),
        "above": shown(known.field, exact(below) + step),
    }


def test_between_two_counts_below_zero_both_are_told_in_order() -> None:
    with pytest.raises(WrongResolution) as caught:
        check_resolution(field("temperature_regulate_open"), Decimal("-3.17"))
    assert caught.value.details["below"] == "-3.2 °C"
    assert caught.value.details["above"] == "-3.1 °C"


@pytest.mark.parametrize("known", SCALES, ids=by_name)
def test_what_no_word_can_say_is_refused(known: Parameter) -> None:
    first = -0x8000 if known.field.signed else 0
    lowest, highest = (decode_raw(known.field, first + n & 0xFFFF) for n in (0, 0xFFFF))
    step = Decimal(1) / known.field.divisor
    for value in (exact(lowest) - step, exact(highest) + step, 1e300, -1e300, 10**30):
        with pytest.raises(OutOfRange) as caught:
            encode(known.field, value)
        assert caught.value.details["low"] == shown(known.field, lowest)
        assert caught.value.details["high"] == shown(known.field, highest)


@pytest.mark.parametrize(
    "value",
    [
        *(float("nan"), float("inf"), float("-inf")),
        *(Decimal("NaN"), Decimal("sNaN"), Decimal("Infinity"), Decimal("1E+999999")),
        *(True, False, "5", None, 5j, [5], 10**400),
    ],
    ids=lambda value: repr(value)[:20],
)
def test_what_is_not_a_finite_number_is_refused(value: Any) -> None:
    with pytest.raises(NotANumber) as caught:
        encode(field("charging_request_voltage"), value)
    assert caught.value.details == {
        "parameter": "charging_request_voltage",
        "value": str(value),
    }


def test_there_is_no_minus_zero() -> None:
    known = field("temperature_regulate_open")
    assert encode(known, -0.0) == 2731
    assert shown(known, checked(known, -0.0)) == "0.0 °C"


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_a_number_is_taken_as_it_is_written(value: float) -> None:
    assert float(exact(value)) == value
    assert exact(value) == Decimal(str(value))


def test_values_are_told_with_all_digits_and_their_unit() -> None:
    assert shown(field("battery_low_voltage_alarm"), 45) == "45.00 V"
    assert shown(field("cell_over_voltage_protection"), 3.55) == "3.550 V"
    assert shown(field("discharge_request_current"), -100) == "-100 A"
    assert shown(field("number_of_cells"), 16) == "16"
    assert as_asked(field("battery_low_voltage_alarm"), 45.005) == "45.005 V"
    assert as_asked(field("number_of_cells"), 16.5) == "16.5"


def test_some_voltages_count_in_millivolts() -> None:
    assert in_base_unit(field("cell_diff_pressure_alarm"), 500) == Decimal("0.5")
    assert in_base_unit(field("cell_diff_pressure_protection"), 0.5) == Decimal("0.5")
    assert from_base_unit(field("cell_diff_pressure_alarm"), 0.45) == 450
    assert from_base_unit(field("cell_diff_pressure_protection"), 0.45) == Decimal(
        "0.45"
    )


# What other software got wrong


def test_a_temperature_is_not_sent_with_its_offset_added_instead_of_taken_away() -> (
    None
):
    for tenths in range(-400, 1201):
        assert encode(field("charge_high_temperature_alarm"), tenths / 10) == (
            tenths + 2731
        )


@pytest.mark.parametrize(
    ("name", "per_unit"),
    [
        ("cell_over_voltage_protection", 1000),
        ("battery_over_voltage_protection", 100),
        ("charge_over_current_delay", 10),
        ("soc_low_alarm", 10),
    ],
)
def test_a_value_is_not_cut_off_to_one_count_less(name: str, per_unit: int) -> None:
    for count in range(6000):
        assert encode(field(name), count / per_unit) == count
    assert encode(field("cell_over_voltage_protection"), 3.55) == 3550
    assert encode(field("battery_over_voltage_protection"), 32.01) == 3201
    assert encode(field("charge_over_current_delay"), 0.3) == 3
    assert encode(field("charge_over_current_delay"), 1.2) == 12


def test_charge_currents_are_not_read_without_their_sign() -> None:
    for known in SPA_PARAMETERS:
        if known.field.unit in {"A", "mA"}:
            assert decode_raw(known.field, 0xFFFF) == -1


@pytest.mark.parametrize(
    ("register", "unit"),
    [
        (0x131A, "ms"),
        (0x1320, "ms"),
        (0x1322, "µs"),
        (0x1363, "mV"),
        (0x1364, "mV"),
    ],
)
def test_milliseconds_are_not_taken_for_seconds(register: int, unit: str) -> None:
    assert BY_REGISTER[register].field.unit == unit
    assert decode_raw(BY_REGISTER[register].field, 300) == 300
