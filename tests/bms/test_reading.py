"""What is computed from a Reading's own values."""

from __future__ import annotations

from dataclasses import FrozenInstanceError
import json

import pytest

from custom_components.openxpbms.bms.reading import Reading

READING = Reading(
    voltage=13.118,
    current=-0.5,
    cell_voltages=(3.279, 3.278, 3.281, 3.280),
    cell_temperatures=(21.5, -12.3, 20.0, 22.0),
)


def test_power_has_the_sign_of_the_current() -> None:
    assert READING.power == -6.56
    assert Reading(voltage=13.118, current=0.5).power == 6.56


def test_cells_in_numbers() -> None:
    assert READING.lowest_cell_voltage == 3.278
    assert READING.highest_cell_voltage == 3.281
    assert READING.mean_cell_voltage == 3.2795
    assert READING.cell_delta == 0.003
    assert READING.lowest_cell == 2
    assert READING.highest_cell == 3


def test_a_mean_is_rounded_to_tenths_of_a_millivolt() -> None:
    assert Reading(cell_voltages=(3.3, 3.3, 3.301)).mean_cell_voltage == 3.3003


def test_of_equal_cells_the_first_is_named() -> None:
    equal = Reading(cell_voltages=(3.3, 3.2, 3.3, 3.2))
    assert (equal.highest_cell, equal.lowest_cell) == (1, 2)


def test_temperatures_in_numbers() -> None:
    assert READING.lowest_cell_temperature == -12.3
    assert READING.highest_cell_temperature == 22.0


@pytest.mark.parametrize(
    "name",
    [
        "power",
        "lowest_cell_voltage",
        "highest_cell_voltage",
        "mean_cell_voltage",
        "cell_delta",
        "lowest_cell",
        "highest_cell",
        "lowest_cell_temperature",
        "highest_cell_temperature",
    ],
)
def test_what_is_not_known_gives_nothing(name: str) -> None:
    assert getattr(Reading(), name) is None


@pytest.mark.parametrize("partial", [Reading(voltage=13.1), Reading(current=1.0)])
def test_power_needs_voltage_and_current(partial: Reading) -> None:
    assert partial.power is None


def test_a_reading_cannot_be_changed() -> None:
    with pytest.raises(FrozenInstanceError):
        READING.voltage = 1.0  # type: ignore[misc]


@pytest.mark.parametrize(
    ("temperatures", "lowest", "highest"),
    [
        ((None, 20.0, None, -3.0), -3.0, 20.0),
        ((None, 20.0), 20.0, 20.0),
        ((None, None), None, None),
        ((0.0, None), 0.0, 0.0),
    ],
)
def test_missing_sensors_tell_nothing(
    temperatures: tuple[float | None, ...], lowest: float | None, highest: float | None
) -> None:
    reading = Reading(cell_temperatures=temperatures)
    assert reading.lowest_cell_temperature == lowest
    assert reading.highest_cell_temperature == highest


def test_a_reading_as_it_is_told() -> None:
    told = Reading(voltage=51.2, coils=b"\x01\x02", unknown_coils=(0x1275,)).as_dict()
    assert (told["voltage"], told["coils"]) == (51.2, "01 02")
    assert told["unknown_coils"] == ["0x1275"]
    told = Reading().as_dict()
    assert (told["coils"], told["unknown_coils"]) == (None, [])
    assert json.loads(json.dumps(told)) == told
