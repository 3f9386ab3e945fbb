"""Limits: presets, order, what is not set."""

from __future__ import annotations

from dataclasses import replace

import pytest

from custom_components.openxpbms.bms.limits import (
    ARDUINO_XP_BMS,
    FALLING,
    FIXED,
    NO_LIMIT,
    SEPLOS,
    Limit,
    Limits,
    Quantity,
    Violation,
    violations,
)
from custom_components.openxpbms.bms.seplos_tables import ALARMS
from custom_components.openxpbms.bms.valence import ALARM_BITS

PRESETS = pytest.mark.parametrize("preset", [ARDUINO_XP_BMS, SEPLOS])


@PRESETS
def test_presets_are_in_order(preset: Limits) -> None:
    assert not list(violations(preset))


@PRESETS
def test_every_preset_has_cold(preset: Limits) -> None:
    cold = preset[Quantity.CELL_UNDER_TEMPERATURE]
    assert (cold.warning, cold.stop, cold.stop_clear) == (5.0, 0.0, 3.0)
    assert cold.cutoff is None


@pytest.mark.parametrize(
    ("preset", "over", "under", "heat"),
    [
        (ARDUINO_XP_BMS, (3.7, 3.9, 4.0), (3.0, 2.8, 2.5), (50.0, 60.0, 65.0)),
        (SEPLOS, (3.66, 3.7, 3.8), (2.8, 2.6, 2.5), (57.0, 62.0, 65.0)),
    ],
)
def test_presets_are_those_of_the_documentation(
    preset: Limits,
    over: tuple[float, ...],
    under: tuple[float, ...],
    heat: tuple[float, ...],
) -> None:
    for quantity, levels in (
        (Quantity.CELL_OVER_VOLTAGE, over),
        (Quantity.CELL_UNDER_VOLTAGE, under),
        (Quantity.CELL_OVER_TEMPERATURE, heat),
    ):
        limit = preset[quantity]
        assert (limit.warning, limit.stop, limit.cutoff) == levels
    assert preset[Quantity.CELL_OVER_VOLTAGE].delay == 0.0
    assert preset[Quantity.CELL_UNDER_VOLTAGE].delay == 5.0
    assert preset[Quantity.CELL_OVER_TEMPERATURE].delay == 0.0
    assert preset[Quantity.CHARGE_OVER_CURRENT] == Limit(delay=10.0)
    assert preset[Quantity.CELL_SPREAD].stop is None
    assert preset[Quantity.CELL_SPREAD].warning_delay == 60.0
    assert preset[Quantity.LOW_SOC].warning == 15.0
    assert (preset.silence_charging, preset.silence_discharging) == (15.0, 60.0)
    assert preset.grace == 30.0


def test_seplos_mosfets_are_left_to_the_pack_at_first() -> None:
    limit = SEPLOS[Quantity.ELECTRONICS_OVER_TEMPERATURE]
    assert (limit.warning, limit.stop) == (100.0, 112.0)


def test_reported_faults_are_alarms_that_batteries_know() -> None:
    bits = {ALARM_BITS[bit].name for bit in (4, 6, 7, 9, 14, 15)}
    assert ARDUINO_XP_BMS.faults == bits
    hardware = {ALARMS[0x1288 + bit].name for bit in (0, 1, 2, 3, 5, 7)}
    locks = {ALARMS[coil].name for coil in (0x1268, 0x126A, 0x126B)}
    assert SEPLOS.faults == hardware | locks


def test_what_is_not_set_has_no_level() -> None:
    bare = Limits(quantities={}, faults=frozenset())
    assert bare[Quantity.CELL_OVER_VOLTAGE] == NO_LIMIT == Limit()


def test_nobody_sets_what_is_fixed() -> None:
    changed = replace(
        SEPLOS, quantities={Quantity.CELL_DEEP_DISCHARGE: Limit(stop=1.0)}
    )
    assert changed[Quantity.CELL_DEEP_DISCHARGE] == FIXED[Quantity.CELL_DEEP_DISCHARGE]
    assert changed[Quantity.CELL_DEEP_DISCHARGE].stop == 2.0


@pytest.mark.parametrize(
    ("limit", "pairs"),
    [
        (Limit(), []),
        (Limit(delay=5.0), []),
        (Limit(warning=3.7, warning_clear=3.5, stop=3.9, stop_clear=3.7), []),
        (Limit(warning=3.7), [("warning_clear", "warning")]),
        (Limit(stop=3.9), [("stop_clear", "stop")]),
        (Limit(cutoff=4.0), [("stop_clear", "cutoff")]),
        (
            Limit(warning=3.9, warning_clear=3.5, stop=3.9, stop_clear=3.7),
            [("warning", "stop")],
        ),
        (
            Limit(stop=4.0, stop_clear=3.7, cutoff=4.0),
            [("stop", "cutoff")],
        ),
        (Limit(warning=3.7, warning_clear=3.7), [("warning_clear", "warning")]),
        (
            Limit(stop=3.9, stop_clear=3.95, cutoff=4.0),
            [("stop_clear", "stop")],
        ),
    ],
)
@pytest.mark.parametrize(
    "quantity", [Quantity.CELL_OVER_VOLTAGE, Quantity.CELL_UNDER_VOLTAGE]
)
def test_figures_in_the_wrong_order_are_named(
    limit: Limit, pairs: list[tuple[str, str]], quantity: Quantity
) -> None:
    if quantity in FALLING:
        names = ("warning", "warning_clear", "stop", "stop_clear", "cutoff")
        turned = {
            name: -value
            for name in names
            if (value := getattr(limit, name)) is not None
        }
        limit = Limit(**turned)
    limits = Limits(quantities={quantity: limit}, faults=frozenset())
    assert list(violations(limits)) == [Violation(quantity, *pair) for pair in pairs]
