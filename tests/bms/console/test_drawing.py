"""What is said of batteries that tell little, or nothing yet."""

from __future__ import annotations

import time

import pytest

from custom_components.openxpbms.bms.console import drawing
from custom_components.openxpbms.bms.console.followed import KEPT, Followed
from custom_components.openxpbms.bms.families import SEPLOS, VALENCE
from custom_components.openxpbms.bms.reading import Alarm, Group, Identity, Reading
from custom_components.openxpbms.bms.rounds import Battery

WHO = Identity(address=3, serial=None, model="Seplos V3", model_code="")


def battery(reading: Reading | None = None) -> Battery:
    found = Battery(WHO)
    if reading:
        found.heard(reading, time.monotonic())
    return found


@pytest.mark.parametrize("family", [SEPLOS, VALENCE])
@pytest.mark.parametrize("reading", [None, Reading()])
def test_what_is_not_told_is_not_shown(family: str, reading: Reading | None) -> None:
    silent = battery(reading)
    assert drawing.figures(family, silent) == ("-", "-", "-", "-")
    assert drawing.spread(reading).plain == "Cells  -"
    assert drawing.cells(reading).row_count == 0
    assert drawing.state(family, silent).plain == "State  -"
    assert drawing.tab(silent).plain == ("3" if reading else "3 -")


def test_a_battery_without_a_number_is_called_by_its_address() -> None:
    assert drawing.who(WHO, None).plain == "Seplos V3 · address 3"
    assert drawing.who(WHO, 42.0).plain.endswith("link 42 %")


def test_why_a_battery_has_not_been_read_is_unknown_at_first() -> None:
    assert drawing.alarms(battery()).plain == "Alarms  not read yet"
    assert not list(Followed(battery()).take())


def test_equal_cells_have_neither_a_highest_nor_a_lowest() -> None:
    told = drawing._cell(Reading(cell_voltages=(3.3, 3.3)), 1).plain
    assert "▲" not in told
    assert "▼" not in told


def test_missing_sensors_are_left_out() -> None:
    told = drawing.temperatures(Reading(cell_temperatures=(20.0, None))).plain
    assert told == "Temperatures  cells 20.0 °C"
    assert drawing.temperatures(Reading(cell_temperatures=(None,))).plain[-2:] == "  "


def test_a_switch_that_is_off_is_seen() -> None:
    off = battery(Reading(charge_mosfet=False, discharge_mosfet=True, heater=True))
    told = drawing.state(SEPLOS, off).plain
    assert "Charge MOSFET OFF" in told
    assert "Discharge MOSFET on" in told
    assert "Heater" in told


def test_only_the_last_minutes_are_kept() -> None:
    followed = Followed(battery(Reading(voltage=13.2, current=0.0)))
    assert not list(followed.take())
    # Nothing new.
    assert not list(followed.take())
    assert len(followed.past) == 1
    old = followed.past[0]
    followed.past[0] = (old[0] - KEPT - 1, *old[1:])
    followed.battery.heard(Reading(voltage=13.3, current=1.0), time.monotonic() + 1)
    assert not list(followed.take())
    assert [volts for _, volts, _ in followed.past] == [13.3]


def test_an_alarm_is_told_once_and_outlasts_a_silence() -> None:
    alarm = Alarm("cell_over_voltage", Group.VOLTAGE)
    followed = Followed(battery(Reading(alarms=(alarm,))))
    [began] = followed.take()
    assert began.text == "alarm begins: cell over voltage"
    followed.battery.heard(Reading(alarms=(alarm,)), time.monotonic() + 1)
    assert not list(followed.take())
    assert not followed.past
