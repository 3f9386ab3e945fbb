"""What may be written into a Seplos pack, and what not."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from decimal import Decimal
import inspect
import operator
import string
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
import pytest

from custom_components.openxpbms.bms import parameter_errors
from custom_components.openxpbms.bms.parameter_errors import (
    BeyondBoard,
    BeyondFactory,
    BoardUnknown,
    InsaneParameters,
    LargeStep,
    NotANumber,
    NotWritable,
    OutOfRange,
    OutOfRangeForCells,
    ParameterError,
    TripUnknown,
    Unchanged,
    UnknownParameter,
    WouldTrip,
    WrongOrder,
    WrongResolution,
)
from custom_components.openxpbms.bms.parameter_order import ALARMS, PAIRS, TRIPS
from custom_components.openxpbms.bms.parameter_rules import (
    Change,
    Pack,
    check,
    sane,
    span,
)
from custom_components.openxpbms.bms.parameter_values import decode_raw, encode, exact
from custom_components.openxpbms.bms.parameters import (
    BY_NAME,
    BY_REGISTER,
    SPA_PARAMETERS,
    Parameter,
)
from custom_components.openxpbms.bms.reading import Reading

from .parameter_data import CALM, FACTORY, PACKS, pack_of

WRITABLE = [known for known in SPA_PARAMETERS if known.writable]
RELATIONS: dict[str, Callable[[Any, Any], bool]] = {
    "<": operator.lt,
    "≤": operator.le,
    ">": operator.gt,
    "≥": operator.ge,
}
# As the dossier states them (2.4), lower first.
_DOSSIER = """
    1302<1303 1303≤1305 1304<1305 1307<1306 1309≤1307 1309<1308
    130A<130B 130B≤130D 130C<130D 130F<130E 1311≤130F 1311<1310 1312<1311
    1314<1313 1364<1363 1363≤1313
    1315≤1316 1316≤1317 1315<1317 1317<1319
    131C≤131B 131D≤131C 131D<131B 131F<131D
    132F<1330 1330≤1332 1331<1332 1334<1333 1336≤1334 1336<1335
    1337<1338 1338≤133A 1339<133A 133C<133B 133E≤133C 133E<133D
    133F<1340 1340≤1342 1341<1342 1344<1343 1346≤1344 1346<1345
    1347<1348 1348≤134A 1349<134A
    134C<134B 1352<1351
    1355<1354 1357≤1355 1357<1356
    1365≤1305
"""
STATED = {(int(rule[:4], 16), rule[4], int(rule[5:], 16)) for rule in _DOSSIER.split()}


MAKERS = "maker's example"


def name_of(register: int) -> str:
    """Return the name of a parameter."""
    return BY_REGISTER[register].name


def volts(register: int, values: Mapping[str, float]) -> Decimal:
    """Return a value, volts also where the register counts in millivolts."""
    known = BY_REGISTER[register]
    return exact(values[known.name]) / (1000 if known.field.unit == "mV" else 1)


def write(
    name: str, value: Any, pack: Pack | None = None, *, forced: bool = False
) -> Change:
    """Check a write, with everything allowed that can be if it is `forced`."""
    return check(
        name, value, pack or pack_of(), allow_large_step=forced, allow_trip=forced
    )


def refusal(
    error: type[ParameterError],
    name: str,
    value: Any,
    pack: Pack | None = None,
    *,
    forced: bool = True,
) -> dict[str, str]:
    """Return the details with which a write is refused."""
    with pytest.raises(ParameterError) as caught:
        write(name, value, pack, forced=forced)
    assert type(caught.value) is error
    return caught.value.details


def cautions(change: Change) -> dict[str, Any]:
    """Return the details of a change's cautions by key."""
    return {caution.key: caution.details for caution in change.cautions}


# One write, rule by rule


def test_the_example_of_the_readme_passes_without_a_word() -> None:
    assert write("battery_low_voltage_alarm", 45.0) == Change(
        name="battery_low_voltage_alarm",
        register=0x1307,
        unit="V",
        old=46.4,
        new=45.0,
        old_raw=4640,
        new_raw=4500,
    )


@pytest.mark.parametrize("value", [45, 45.0, Decimal("45.00"), Decimal("4.5E+1")])
def test_a_number_may_be_written_in_any_way(value: Any) -> None:
    change = write("battery_low_voltage_alarm", value)
    assert (change.new, change.new_raw) == (45.0, 4500)


def test_an_unknown_name_is_refused() -> None:
    assert refusal(UnknownParameter, "battery_colour", 1) == {
        "parameter": "battery_colour"
    }


@pytest.mark.parametrize(
    "known",
    [known for known in SPA_PARAMETERS if not known.writable],
    ids=lambda known: known.name,
)
def test_what_is_only_shown_is_refused_whatever_the_value(known: Parameter) -> None:
    for value in (0, FACTORY[known.name], float("nan"), 10**9):
        details = refusal(NotWritable, known.name, value)
        assert details == {"parameter": known.name, "access": known.access.value}
    with pytest.raises(NotWritable):
        span(known, pack_of())


def test_what_is_no_number_is_refused() -> None:
    for value in (float("nan"), float("-inf"), True, "45.0", None):
        details = refusal(NotANumber, "battery_low_voltage_alarm", value)
        assert details["value"] == str(value)
    details = refusal(NotANumber, "battery_low_voltage_alarm", 10**5000)
    assert details["value"] == "what has too many digits"


def test_a_value_between_two_counts_is_refused_and_both_are_told() -> None:
    assert refusal(WrongResolution, "battery_low_voltage_alarm", 45.005) == {
        "parameter": "battery_low_voltage_alarm",
        "value": "45.005 V",
        "below": "45.00 V",
        "above": "45.01 V",
    }


def test_the_present_value_is_nothing_to_write() -> None:
    assert refusal(Unchanged, "battery_low_voltage_alarm", 46.4) == {
        "parameter": "battery_low_voltage_alarm",
        "value": "46.40 V",
    }


@pytest.mark.parametrize("value", [-0.1, 0.0, 655.36, 9.99, 1e300])
def test_beyond_its_range_it_is_refused(value: float) -> None:
    details = refusal(OutOfRange, "rated_battery_capacity", value)
    assert details["low"] == "10.00 Ah"
    assert details["high"] == "655.35 Ah"
    assert Decimal(details["value"].removesuffix(" Ah")) == exact(value)


@pytest.mark.parametrize("cells", range(7, 17))
def test_the_range_of_a_packs_voltage_goes_with_its_cells(cells: int) -> None:
    share = Decimal(cells) / 16
    values = {
        known.name: float(exact(FACTORY[known.name]) * share)
        for known in SPA_PARAMETERS
        if known.of_pack
    }
    pack = pack_of(changed=values, cells=cells)
    low, high = span(BY_NAME["battery_over_voltage_protection"], pack)
    assert (exact(low), exact(high)) == (
        Decimal("51.20") * share,
        Decimal("58.40") * share,
    )
    for beyond in (exact(low) - Decimal("0.01"), exact(high) + Decimal("0.01")):
        details = refusal(
            OutOfRangeForCells, "battery_over_voltage_protection", beyond, pack
        )
        assert details == {
            "parameter": "battery_over_voltage_protection",
            "value": f"{beyond} V",
            "low": f"{low:.2f} V",
            "high": f"{high:.2f} V",
            "cells": str(cells),
        }
    assert write("battery_over_voltage_protection", high, pack, forced=True)
    # That of one cell does not.
    assert span(BY_NAME["cell_over_voltage_protection"], pack) == (3.3, 3.65)


@pytest.mark.parametrize(
    ("name", "board", "ends"),
    [
        ("charge_over_current_protection", 200, (1, 210)),
        ("charge_over_current_protection", 150, (1, 210)),
        ("charge_over_current_protection", 250, (1, 262)),
        ("charge_over_current_protection", 300, (1, 315)),
        ("discharge_over_current_protection", 200, (-210, -1)),
        ("discharge_over_current_protection", 250, (-262, -1)),
        ("secondary_charge_over_current_protection", 200, (1, 300)),
        ("secondary_charge_over_current_protection", 500, (1, 300)),
        ("secondary_discharge_over_current_protection", 500, (-350, -1)),
        ("charging_request_current", 200, (0, 200)),
        ("charging_request_current", 100, (0, 180)),
        ("discharge_request_current", 200, (-200, 0)),
        ("discharge_request_current", 100, (-180, 0)),
    ],
)
def test_a_current_reaches_to_its_board_or_what_the_pack_came_with(
    name: str, board: int, ends: tuple[int, int]
) -> None:
    # What somebody has set meanwhile counts for nothing.
    pack = pack_of(board=board, changed={name: 25})
    assert span(BY_NAME[name], pack) == ends
    inner, reach = sorted(ends, key=abs)
    away = 1 if reach > 0 else -1
    if name.startswith("secondary"):
        assert refusal(BeyondFactory, name, reach + away, pack) == {
            "parameter": name,
            "value": f"{reach + away} A",
            "limit": f"{reach} A",
        }
    else:
        assert refusal(BeyondBoard, name, reach + away, pack) == {
            "parameter": name,
            "value": f"{reach + away} A",
            "limit": f"{reach} A",
            "board": f"{board} A",
        }
    for wrong in (inner - away, -reach):
        assert refusal(OutOfRange, name, wrong, pack) == {
            "parameter": name,
            "value": f"{wrong} A",
            "low": f"{ends[0]} A",
            "high": f"{ends[1]} A",
        }


@pytest.mark.parametrize(
    ("name", "factory", "present", "reach"),
    [
        ("charging_request_current", 180, 100, 100),
        ("charging_request_current", 100, 180, 180),
        ("discharge_request_current", -180, -100, -100),
        ("secondary_charge_over_current_protection", 300, 280, 280),
        ("secondary_charge_over_current_protection", 280, 300, 280),
        ("secondary_discharge_over_current_protection", -350, -300, -300),
        ("secondary_discharge_over_current_protection", -300, -350, -300),
    ],
)
def test_with_an_unknown_board_a_current_only_becomes_less(
    name: str, factory: int, present: int, reach: int
) -> None:
    pack = pack_of(
        board=None,
        changed={name: present},
        factory={**FACTORY, name: factory},
    )
    assert reach in span(BY_NAME[name], pack)
    away = 1 if reach > 0 else -1
    asked = reach + away if reach + away != present else reach + 2 * away
    assert refusal(BoardUnknown, name, asked, pack) == {
        "parameter": name,
        "value": f"{asked} A",
        "limit": f"{reach} A",
    }
    if reach == present:
        assert write(name, present - away, pack).new == present - away


def test_with_an_unknown_board_and_no_sensible_current_nothing_is_written() -> None:
    pack = pack_of(board=None, changed={"pulse_current_limiting_current": 0})
    low, high = span(BY_NAME["pulse_current_limiting_current"], pack)
    assert low > high
    for value in (-1, 1, 5):
        with pytest.raises((OutOfRange, BoardUnknown)):
            write("pulse_current_limiting_current", value, pack, forced=True)


def test_charging_is_not_allowed_below_freezing() -> None:
    name = "charge_under_temperature_protection"
    pack = pack_of(changed={"charge_under_temperature_recovery": 5.0})
    assert FACTORY[name] == -10.0
    for value in (-0.1, -5.0, -9.9):
        details = refusal(OutOfRange, name, value, pack)
        assert (details["low"], details["high"]) == ("0.0 °C", "10.0 °C")
    assert write(name, 0.0, pack, forced=True).new_raw == 2731


def test_a_value_that_contradicts_another_is_refused_and_both_are_told() -> None:
    assert refusal(WrongOrder, "battery_low_voltage_alarm", 43.19) == {
        "parameter": "battery_low_voltage_alarm",
        "value": "43.19 V",
        "relation": "≥",
        "other": "battery_under_voltage_protection",
        "limit": "43.20 V",
    }
    assert write("battery_low_voltage_alarm", 43.20, forced=True)
    assert refusal(WrongOrder, "battery_high_voltage_recovery", 56.0) == {
        "parameter": "battery_high_voltage_recovery",
        "value": "56.00 V",
        "relation": "<",
        "other": "battery_high_voltage_alarm",
        "limit": "56.00 V",
    }


def test_volts_and_millivolts_of_a_spread_are_compared() -> None:
    pack = pack_of(changed={"cell_diff_pressure_protection": 0.6})
    assert write("cell_diff_pressure_alarm", 600, pack)
    assert refusal(WrongOrder, "cell_diff_pressure_alarm", 601, pack) == {
        "parameter": "cell_diff_pressure_alarm",
        "value": "601 mV",
        "relation": "≤",
        "other": "cell_diff_pressure_protection",
        "limit": "0.600 V",
    }


# Order


def test_pairs_are_those_of_the_dossier() -> None:
    assert len(STATED) == len(PAIRS)
    assert {
        (pair.lower, "≤" if pair.equal else "<", pair.upper) for pair in PAIRS
    } == STATED
    for pair in PAIRS:
        assert BY_REGISTER[pair.lower].writable
        assert BY_REGISTER[pair.upper].writable


@pytest.mark.parametrize("name", PACKS)
def test_known_packs_keep_the_pairs_but_for_two_in_the_makers_example(
    name: str,
) -> None:
    values = PACKS[name].values
    assert {
        (lower, upper)
        for lower, relation, upper in STATED
        if not RELATIONS[relation](volts(lower, values), volts(upper, values))
    } == ({(0x1363, 0x1313), (0x1341, 0x1342)} if name == MAKERS else set())


@pytest.mark.parametrize("name", PACKS)
def test_every_known_pack_is_sane(name: str) -> None:
    sane(PACKS[name].values)


@pytest.mark.parametrize("name", PACKS)
def test_what_a_known_pack_came_with_can_be_written_again(name: str) -> None:
    pack = PACKS[name]
    for known in WRITABLE:
        low, high = span(known, pack)
        present = pack.values[known.name]
        back = 0
        for other in (low, high, *neighbours(known, present)):
            try:
                write(known.name, other, pack, forced=True)
            except (WrongOrder, Unchanged, OutOfRange, BeyondBoard, BeyondFactory):
                continue
            back += 1
            changed = replace(pack, values={**pack.values, known.name: other})
            if known.field.register == 0x1336 and present < 0:
                refusal(OutOfRange, known.name, present, changed)
            else:
                change = write(known.name, present, changed, forced=True)
                assert change.new == present
        assert back or known.field.register == 0x1336


def neighbours(known: Parameter, value: float) -> list[float]:
    """Return the values one count away."""
    raw = encode(known.field, value)
    return [decode_raw(known.field, raw + step & 0xFFFF) for step in (-1, 1)]


def pack_around(written: int, at: float, distances: Mapping[int, float]) -> Pack:
    """Return a pack of which one parameter is `at`, and others so far above it."""
    known = BY_REGISTER[written]
    values = {known.name: at}
    for other, distance in distances.items():
        base = volts(written, values) + exact(distance)
        millivolts = BY_REGISTER[other].field.unit == "mV"
        values[name_of(other)] = float(base * (1000 if millivolts else 1))
    return pack_of(changed=values)


@pytest.mark.parametrize("written_first", [True, False], ids=["lower", "upper"])
@pytest.mark.parametrize(
    ("lower", "relation", "upper"),
    sorted(STATED),
    ids=lambda part: f"{part:04X}" if isinstance(part, int) else part,
)
def test_a_pair_in_disorder_may_only_be_moved_towards_order(
    lower: int, relation: str, upper: int, *, written_first: bool
) -> None:
    written, other = (lower, upper) if written_first else (upper, lower)
    known = BY_REGISTER[written]
    low, high = span(known, pack_of())
    # All other pairs are in order, this one is ten counts away from being equal.
    count = 1 / known.field.divisor / (1000 if known.field.unit == "mV" else 1)
    far = {
        **{above: 1e4 for below, _, above in STATED if below == written},
        **{below: -1e4 for below, _, above in STATED if above == written},
    }
    ten = -10 * count if written_first else 10 * count
    at = decode_raw(known.field, encode(known.field, (low + high) / 2))
    pack = pack_around(written, at, {**far, other: ten})

    def moved(counts: int) -> float:
        """Move towards order."""
        raw = encode(known.field, at) + (-counts if written_first else counts)
        return decode_raw(known.field, raw & 0xFFFF)

    told = refusal(WrongOrder, known.name, moved(-1), pack)
    sign = relation if written_first else {"<": ">", "≤": "≥"}[relation]
    assert (told["other"], told["relation"]) == (name_of(other), sign)
    for counts in (1, 9):
        change = write(known.name, moved(counts), pack, forced=True)
        assert cautions(change)["order_still_wrong"]["other"] == name_of(other)
    equal = cautions(write(known.name, moved(10), pack, forced=True))
    assert ("order_still_wrong" in equal) is (relation == "<")
    change = write(known.name, moved(11), pack, forced=True)
    assert "order_still_wrong" not in cautions(change)
    # Once in order it stays there.
    pack = replace(pack, values={**pack.values, known.name: moved(11)})
    refusal(WrongOrder, known.name, moved(9), pack)


def test_a_pair_may_be_as_it_came_and_no_other_disorder() -> None:
    pack = PACKS[MAKERS]
    alarm, protection = "cell_diff_pressure_alarm", "cell_diff_pressure_protection"
    assert (pack.values[alarm], pack.values[protection]) == (500, 0.2)
    refusal(WrongOrder, protection, 0.19, pack)
    better = replace(pack, values={**pack.values, protection: 0.3})
    assert write(protection, 0.3, pack).new == 0.3
    refusal(WrongOrder, protection, 0.21, better)
    told = cautions(write(protection, 0.2, better))
    assert told["order_still_wrong"]["other"] == alarm
    # The other of the two has been changed since.
    other = replace(pack, values={**pack.values, protection: 0.3, alarm: 501})
    refusal(WrongOrder, protection, 0.2, other)


def test_a_release_is_not_tied_to_the_other_level() -> None:
    # As one owner has it: the protection releases above where the alarm begins.
    values = PACKS["changed by its owner, 280 Ah"].values
    assert (
        values["battery_over_voltage_recovery"] > values["battery_high_voltage_alarm"]
    )
    pack = pack_of(values)
    assert write("battery_over_voltage_recovery", 56.9, pack)
    assert write("battery_high_voltage_alarm", 55.0, pack)


def test_only_pairs_with_the_written_parameter_count() -> None:
    values = {
        name: -value if name.startswith(("cell_", "charge_", "soc_")) else value
        for name, value in FACTORY.items()
    }
    assert write("battery_low_voltage_alarm", 45.0, pack_of(values))


# Steps


@pytest.mark.parametrize(
    ("name", "largest", "beyond"),
    [
        # A fifth of 11.2 V, of 209 A below zero, of 3590 s, of 40 °C.
        ("battery_low_voltage_alarm", 48.64, 48.65),
        ("discharge_request_current", -140, -139),
        ("charge_current_limiting_time", 1018.0, 1018.1),
        ("charge_high_temperature_recovery", 39.0, 38.9),
    ],
)
def test_a_large_step_is_made_only_on_purpose(
    name: str, largest: float, beyond: float
) -> None:
    values = {"battery_low_voltage_recovery": 52.8}
    pack = pack_of(changed=values)
    assert "large_step" not in cautions(write(name, largest, pack))
    known = BY_NAME[name]
    digits = len(str(known.field.divisor)) - 1
    told = {
        "parameter": name,
        "old": f"{FACTORY[name]:.{digits}f} {known.field.unit}",
        "value": f"{beyond:.{digits}f} {known.field.unit}",
        "share": "20%",
    }
    assert refusal(LargeStep, name, beyond, pack, forced=False) == told
    change = check(name, beyond, pack, allow_large_step=True)
    assert cautions(change)["large_step"] == told


# What the pack would do now

# The registers of a trip, what it is judged by, and the reading that is as near as the
# margin; the same and a count further away.
NEAR = [
    (0x1305, "voltage", 57.60 - 16 * 0.05, -0.01),
    (0x1309, "voltage", 43.20 + 16 * 0.05, 0.01),
    (0x130D, "cell_voltages", 3.600, -0.001),
    (0x1311, "cell_voltages", 2.750, 0.001),
    (0x1312, "cell_voltages", 2.050, 0.001),
    (0x1317, "current", 200.0, -0.01),
    (0x1319, "current", 290.0, -0.01),
    (0x131D, "current", -200.0, 0.01),
    (0x131F, "current", -340.0, 0.01),
    (0x1332, "cell_temperatures", 52.0, -0.1),
    (0x1336, "cell_temperatures", 8.0, 0.1),
    (0x133A, "cell_temperatures", 57.0, -0.1),
    (0x133E, "cell_temperatures", -12.0, 0.1),
    (0x1342, "ambient_temperature", 57.0, -0.1),
    (0x1346, "ambient_temperature", -7.0, 0.1),
    (0x134A, "mosfet_temperature", 107.0, -0.1),
    (0x1357, "soc", 6.0, 0.1),
]


def reading_of(what: str, value: float) -> Reading:
    """Return a Reading that shows `value` in one place, and is calm otherwise."""
    if what == "cell_voltages":
        return replace(CALM, cell_voltages=(3.3,) * 7 + (value,) + (3.3,) * 8)
    if what == "cell_temperatures":
        return replace(CALM, cell_temperatures=(25.0, None, value, 25.0))
    return replace(CALM, **{what: value})


def test_every_protection_is_looked_at() -> None:
    assert {register for register, *_ in NEAR} | {0x1313} == set(TRIPS)
    assert {known.name for known in WRITABLE if known.name.endswith("_protection")} <= {
        name_of(register) for register in TRIPS
    }
    assert {name_of(register) for register in ALARMS} == {
        known.name for known in WRITABLE if known.name.endswith("_alarm")
    }
    for quantity, _ in (*TRIPS.values(), *ALARMS.values()):
        assert getattr(CALM, quantity) is not None


@pytest.mark.parametrize(
    ("register", "what", "near", "away"),
    NEAR,
    ids=[f"{register:04X}" for register, *_ in NEAR],
)
def test_a_limit_that_the_pack_is_near_to_needs_to_be_allowed(
    register: int, what: str, near: float, away: float
) -> None:
    known = BY_REGISTER[register]
    # To what the pack came with, from somewhere near; but never below freezing.
    wanted = 5.0 if register == 0x1336 else FACTORY[known.name]
    present = neighbours(known, wanted)[0 if away < 0 else 1]
    changed = {
        known.name: present,
        "charge_low_temperature_alarm": 12.0,
        "charge_low_temperature_recovery": 14.0,
        "charge_under_temperature_recovery": 14.0,
    }
    outside = pack_of(changed=changed, reading=reading_of(what, round(near + away, 3)))
    assert "would_trip" not in cautions(write(known.name, wanted, outside))
    for reached in (near, round(near - away, 3), round(near - 40 * away, 3)):
        pack = pack_of(changed=changed, reading=reading_of(what, reached))
        told = refusal(WouldTrip, known.name, wanted, pack, forced=False)
        digits = len(str(known.field.divisor)) - 1
        assert told == {
            "parameter": known.name,
            "value": f"{wanted:.{digits}f} {known.field.unit}",
            "reading": f"{reached:.{digits}f} {known.field.unit}",
        }
        change = check(known.name, wanted, pack, allow_trip=True)
        assert cautions(change)["would_trip"] == told


def test_a_spread_that_the_pack_is_near_to_needs_to_be_allowed() -> None:
    name = "cell_diff_pressure_protection"
    changed = {name: 0.81, "diff_pressure_protection_recovery": 0.1}
    for lowest, near in ((2.55, True), (2.551, False)):
        reading = reading_of("cell_voltages", lowest)
        pack = pack_of(changed=changed, reading=reading)
        if near:
            told = refusal(WouldTrip, name, 0.8, pack, forced=False)
            assert told["reading"] == "0.750 V"
        else:
            assert write(name, 0.8, pack)


@pytest.mark.parametrize("cells", [7, 16])
def test_the_margin_of_a_pack_goes_with_its_cells(cells: int) -> None:
    name = "battery_over_voltage_protection"
    highest = float(exact(58.4) * cells / 16)
    values = {
        known.name: float(exact(FACTORY[known.name]) * cells / 16)
        for known in SPA_PARAMETERS
        if known.of_pack
    }
    near = round(highest - 0.05 * cells, 2)
    for voltage, trips in ((near, True), (round(near - 0.01, 2), False)):
        reading = replace(CALM, voltage=voltage)
        pack = pack_of(changed=values, cells=cells, reading=reading)
        assert ("would_trip" in cautions(write(name, highest, pack, forced=True))) is (
            trips
        )


@pytest.mark.parametrize("reading", [None, Reading()], ids=["none", "empty"])
def test_a_limit_is_not_taken_for_harmless_while_the_pack_tells_nothing(
    reading: Reading | None,
) -> None:
    pack = pack_of(reading=reading)
    name = "cell_over_voltage_protection"
    told = {"parameter": name}
    assert refusal(TripUnknown, name, 3.64, pack, forced=False) == told
    change = check(name, 3.64, pack, allow_trip=True)
    assert cautions(change)["trip_unknown"] == told
    # What switches nothing off needs none.
    assert write("cell_high_voltage_alarm", 3.49, pack)


def test_a_large_step_is_asked_for_before_a_trip() -> None:
    reading = replace(CALM, voltage=58.0)
    pack = pack_of(reading=reading, changed={"charging_request_voltage": 52.0})
    pack = replace(
        pack,
        values={**pack.values, **dict.fromkeys(_OVER_VOLTAGE, 50.0)},
    )
    name = "battery_over_voltage_protection"
    refusal(LargeStep, name, 54.0, pack, forced=False)
    with pytest.raises(LargeStep):
        check(name, 54.0, pack, allow_trip=True)
    with pytest.raises(WouldTrip):
        check(name, 54.0, pack, allow_large_step=True)
    assert cautions(write(name, 54.0, pack, forced=True)).keys() >= {
        "large_step",
        "would_trip",
    }


_OVER_VOLTAGE = (
    "battery_high_voltage_recovery",
    "battery_over_voltage_recovery",
    "battery_over_voltage_protection",
    "battery_high_voltage_alarm",
)


# What else a person should know


def test_an_alarm_that_will_sound_is_told() -> None:
    reading = replace(CALM, voltage=46.0)
    pack = pack_of(reading=reading)
    name = "battery_low_voltage_alarm"
    assert cautions(write(name, 46.0, pack)) == {
        "will_alarm": {
            "parameter": name,
            "value": "46.00 V",
            "reading": "46.00 V",
        }
    }
    assert cautions(write(name, 45.99, pack)) == {}


def test_an_alarm_of_the_spread_is_told_in_its_own_unit() -> None:
    pack = pack_of(reading=reading_of("cell_voltages", 3.7))
    told = cautions(write("cell_diff_pressure_alarm", 400, pack, forced=True))
    assert told["will_alarm"]["reading"] == "400 mV"
    assert told["will_alarm"]["value"] == "400 mV"
    told = cautions(write("cell_diff_pressure_alarm", 401, pack))
    assert "will_alarm" not in told


@pytest.mark.parametrize("name", PACKS)
def test_limits_of_known_packs_do_not_contradict_those_of_their_cells(
    name: str,
) -> None:
    pack = PACKS[name]
    for register in range(0x1302, 0x1313):
        known = BY_REGISTER[register]
        for value in neighbours(known, pack.values[known.name]):
            changed = replace(pack, values={**pack.values, known.name: value})
            present = pack.values[known.name]
            told = cautions(write(known.name, present, changed, forced=True))
            assert "cells_disagree" not in told


def test_a_limit_that_contradicts_that_of_the_cells_is_told_from_both_sides() -> None:
    told = {
        "pack": "battery_low_voltage_alarm",
        "pack_value": "44.79 V",
        "cell": "cell_low_voltage_alarm",
        "cell_value": "2.900 V",
        "cells": "16",
        "together": "46.40 V",
    }
    assert cautions(write("battery_low_voltage_alarm", 44.79)) == {
        "cells_disagree": told
    }
    assert cautions(write("battery_low_voltage_alarm", 44.80)) == {}
    pack = pack_of(changed={"battery_low_voltage_alarm": 44.79})
    change = write("cell_low_voltage_alarm", 2.901, pack)
    assert cautions(change) == {
        "cells_disagree": told | {"cell_value": "2.901 V", "together": "46.42 V"}
    }


@pytest.mark.parametrize("number", range(8))
def test_each_limit_of_the_pack_belongs_to_one_of_the_cells(number: int) -> None:
    pack, cell = (BY_REGISTER[first + number] for first in (0x1302, 0x130A))
    for written, other, apart, step in ((pack, cell, -0.3, 1), (cell, pack, -5.0, 0)):
        around = pack_of(changed={other.name: round(FACTORY[other.name] + apart, 3)})
        value = neighbours(written, FACTORY[written.name])[step]
        told = cautions(write(written.name, value, around, forced=True))
        assert told["cells_disagree"]["pack"] == pack.name
        assert told["cells_disagree"]["cell"] == cell.name


def test_a_request_above_the_alarm_is_told() -> None:
    told = {"request": "57.50 V", "alarm": "battery_high_voltage_alarm"}
    change = write("charging_request_voltage", 57.5)
    assert [(caution.key, caution.details) for caution in change.cautions] == [
        ("request_above_alarm", told | {"alarm_value": "56.00 V"}),
        (
            "request_above_cells",
            {
                "request": "57.50 V",
                "alarm": "cell_high_voltage_alarm",
                "alarm_value": "3.500 V",
                "cells": "16",
                "together": "56.00 V",
            },
        ),
    ]
    assert write("charging_request_voltage", 56.0).cautions == ()
    change = write("battery_high_voltage_alarm", 56.1)
    assert cautions(change) == {
        "request_above_alarm": {
            "request": "57.60 V",
            "alarm": "battery_high_voltage_alarm",
            "alarm_value": "56.10 V",
        }
    }
    for value, below in ((3.599, True), (3.6, False)):
        change = write("cell_high_voltage_alarm", value, forced=True)
        assert ("request_above_cells" in cautions(change)) is below


def test_that_the_state_of_charge_goes_with_the_capacity_is_told() -> None:
    assert cautions(write("rated_battery_capacity", 314.0)) == {
        "state_of_charge": {"parameter": "rated_battery_capacity"}
    }


# Whether the table is what it is taken for


def test_a_pack_as_it_came_is_sane() -> None:
    sane(FACTORY)


@pytest.mark.parametrize(
    ("register", "good", "bad"),
    [
        (0x1300, (1, 8), (0, 9)),
        (0x1301, (7, 16), (6, 17)),
        *((at, (2.0, 4.0), (1.999, 4.001)) for at in range(0x130A, 0x1312)),
        (0x1312, (1.5, 4.0), (1.499, 4.001)),
        *((at, (-40.0, 120.0), (-40.1, 120.1)) for at in range(0x132F, 0x134F)),
    ],
    ids=lambda part: f"{part:04X}" if isinstance(part, int) else None,
)
def test_a_table_with_impossible_values_is_not_written_into(
    register: int, good: tuple[float, float], bad: tuple[float, float]
) -> None:
    name = name_of(register)
    for value in good:
        sane({**FACTORY, name: value})
    for value in (*bad, float("nan")):
        with pytest.raises(InsaneParameters) as caught:
            sane({**FACTORY, name: value})
        assert caught.value.details["parameter"] == name
    assert caught.value.details["value"].startswith("NaN")


@pytest.mark.parametrize(
    ("changed", "culprit"),
    [
        ({0x1302: 56.0}, 0x1302),
        ({0x1302: 56.1}, 0x1302),
        ({0x1303: 57.61}, 0x1303),
    ],
    ids=["equal", "above", "alarm above protection"],
)
def test_a_table_in_impossible_order_is_not_written_into(
    changed: dict[int, float], culprit: int
) -> None:
    values = {**FACTORY, **{name_of(at): value for at, value in changed.items()}}
    with pytest.raises(InsaneParameters) as caught:
        sane(values)
    assert caught.value.details == {
        "parameter": name_of(culprit),
        "value": f"{changed[culprit]:.2f} V",
    }


def test_an_incomplete_table_is_not_written_into() -> None:
    for name in FACTORY:
        with pytest.raises(InsaneParameters):
            sane({known: value for known, value in FACTORY.items() if known != name})


def test_what_may_be_written_leaves_a_table_sane() -> None:
    """Else nothing could ever be written again."""
    for known in WRITABLE:
        for value in span(known, pack_of()):
            try:
                write(known.name, value, forced=True)
            except (WrongOrder, Unchanged):
                continue
            sane({**FACTORY, known.name: value})


# Whatever is asked


@st.composite
def asked(draw: st.DrawFn) -> tuple[str, float | Decimal, Pack]:
    """Draw a parameter, a value that may be anything, and a pack."""
    known = draw(st.sampled_from(SPA_PARAMETERS))
    pack = draw(st.sampled_from(list(PACKS.values())))
    others = draw(
        st.dictionaries(st.sampled_from(SPA_PARAMETERS), st.integers(0, 0xFFFF))
    )
    values = {
        **pack.values,
        **{one.name: decode_raw(one.field, raw) for one, raw in others.items()},
    }
    reading = st.builds(
        reading_of,
        st.sampled_from([what for _, what, *_ in NEAR]),
        st.floats(-300, 300).map(lambda value: round(value, 2)),
    )
    pack = replace(
        pack,
        values=values,
        board=draw(st.none() | st.integers(20, 400)),
        cells=draw(st.integers(7, 16)),
        reading=draw(st.none() | reading),
    )
    word = st.integers(0, 0xFFFF).map(lambda raw: decode_raw(known.field, raw))
    value = word | st.floats() | st.integers() | st.decimals(allow_nan=True)
    if known.writable:
        low, high = span(known, pack)
        first, last = sorted(
            round(end * known.field.divisor) - known.field.offset for end in (low, high)
        )
        inside = st.integers(first, last).map(
            lambda raw: decode_raw(known.field, raw & 0xFFFF)
        )
        value = inside | value
    return known.name, draw(value), pack


@settings(max_examples=500)
@given(asked(), st.booleans(), st.booleans())
def test_what_passes_breaks_no_rule_and_is_exactly_what_was_asked(
    wanted: tuple[str, float, Pack], large: bool, trip: bool
) -> None:
    name, value, pack = wanted
    known = BY_NAME[name]
    try:
        change = check(name, value, pack, allow_large_step=large, allow_trip=trip)
    except ParameterError:
        return
    assert known.writable
    assert (change.name, change.register) == (name, known.field.register)
    # What is sent says what was asked, and no more than 16 bits.
    assert 0 <= change.new_raw <= 0xFFFF
    assert exact(decode_raw(known.field, change.new_raw)) == exact(value)
    assert change.new == value
    assert decode_raw(known.field, change.old_raw) == change.old == pack.values[name]
    assert change.old_raw != change.new_raw
    # Range, board, cells.
    low, high = span(known, pack)
    assert low <= value <= high
    if known.field.unit == "A":
        present, factory = (abs(of[name]) for of in (pack.values, pack.factory))
        if pack.board is None:
            assert abs(value) <= present
        else:
            assert abs(value) <= max(1.05 * pack.board, factory)
    if known.of_pack:
        assert 2.5 * pack.cells <= value <= 3.65 * pack.cells
    if name == "charge_under_temperature_protection":
        assert value >= 0
    # Order: in order, or nearer to it than before, or again as it came.
    after = {**pack.values, name: change.new}
    for lower, relation, upper in STATED:
        if known.field.register in {lower, upper}:
            gap = volts(upper, after) - volts(lower, after)
            assert (
                RELATIONS[relation](0, gap)
                or gap > volts(upper, pack.values) - volts(lower, pack.values)
                or all(
                    after[name_of(at)] == pack.factory[name_of(at)]
                    for at in (lower, upper)
                )
            )
    told = cautions(change)
    step = abs(exact(change.new) - exact(change.old))
    assert ("large_step" in told) is (step > (exact(high) - exact(low)) / 5)
    assert large or "large_step" not in told
    assert trip or not told.keys() & {"would_trip", "trip_unknown"}


# Messages


ERRORS = [
    error
    for _, error in inspect.getmembers(parameter_errors, inspect.isclass)
    if issubclass(error, ParameterError)
]


def test_every_error_has_a_key_and_a_message_of_its_own() -> None:
    for facts in ("key", "text"):
        assert len({getattr(error, facts) for error in ERRORS}) == len(ERRORS)
    for error in ERRORS:
        names = [name for _, name, *_ in string.Formatter().parse(error.text) if name]
        details = {name: f"<{name}>" for name in names}
        raised = error(**details)
        assert raised.details == details
        assert all(value in str(raised) for value in details.values())
        assert isinstance(raised, ValueError)


# What other software got wrong


def test_out_of_range_is_not_only_logged() -> None:
    refusal(OutOfRangeForCells, "charging_request_voltage", 60.0)
    # A degree times ten and no offset, as a word.
    refusal(OutOfRange, "charge_high_temperature_alarm", -223.1)


def test_the_step_guard_is_not_skipped_unless_asked_to() -> None:
    name = "charging_request_current"
    with pytest.raises(LargeStep):
        check(name, 20, pack_of())


def test_the_step_guard_is_not_void_for_negative_values() -> None:
    name = "discharge_request_current"
    pack = pack_of(changed={name: -62})
    refusal(BeyondBoard, name, -300, pack)
    refusal(OutOfRange, name, 62, pack)
    refusal(LargeStep, name, -180, pack, forced=False)
    assert write(name, -90, pack).cautions == ()


def test_the_step_guard_does_not_depend_on_where_zero_degrees_are() -> None:
    name = "temperature_regulate_open"
    # From 0 °C on no share of the present value means anything.
    assert write(name, -7.0).cautions == ()
    refusal(LargeStep, name, -7.1, forced=False)
    pack = pack_of(changed={name: -1.0})
    assert write(name, -8.0, pack).cautions == ()


def test_zero_is_not_refused_where_it_makes_sense() -> None:
    pack = pack_of(changed={"discharge_request_current": -30})
    assert write("discharge_request_current", 0, pack).new_raw == 0
    pack = pack_of(changed={"temperature_regulate_open": 2.0})
    assert write("temperature_regulate_open", 0.0, pack).new_raw == 2731
