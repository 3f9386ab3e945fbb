"""What is shown of a battery, of every family."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest

from custom_components.openxpbms.bms.families import SEPLOS, VALENCE
from custom_components.openxpbms.bms.reading import (
    Alarm,
    Group,
    History,
    Identity,
    Level,
    Reading,
    State,
)
from custom_components.openxpbms.bms.shown import (
    ALARM,
    OPERATING_STATE,
    Measure,
    Shown,
    device_name,
    measures,
    remembered,
    statuses,
    troubles,
)
from custom_components.openxpbms.bms.virtual import VirtualModule, VirtualPack

from .conftest import expected, identity
from .seplos_data import identity as pack_identity

MODULE = VirtualModule(1)


def pack(**changes: Any) -> Identity:
    """Return the identity of a pack."""
    return pack_identity(VirtualPack(1), **changes)


def of_module(key: str) -> Measure:
    """Return a measure of a module."""
    return named(measures(VALENCE, identity(MODULE)), key)


def named(all_of_them: Iterable[Measure], key: str) -> Measure:
    """Return the one with a key."""
    return next(measure for measure in all_of_them if measure.key == key)


@pytest.mark.parametrize("family", [SEPLOS, VALENCE])
def test_every_key_and_name_is_one_of_its_own(family: str) -> None:
    who = pack() if family == SEPLOS else identity(MODULE)
    things = (
        *measures(family, who),
        *remembered(family, who),
        *statuses(family),
        *troubles(family),
    )
    assert len({thing.key for thing in things}) == len(things)
    assert len({thing.name for thing in things}) == len(things)


def test_a_battery_has_the_cells_that_it_tells_of() -> None:
    keys = [measure.key for measure in measures(VALENCE, identity(MODULE))]
    assert keys[-8:] == [
        *(f"cell_{cell}_voltage" for cell in range(1, 5)),
        *(f"cell_{cell}_temperature" for cell in range(1, 5)),
    ]
    unknown = identity(MODULE, cells=None)
    assert keys[:-8] == [measure.key for measure in measures(VALENCE, unknown)]
    whole = measures(SEPLOS, pack(cells=16, sensors=4))
    assert sum(measure.common == "cell_voltage" for measure in whole) == 16
    assert sum(measure.common == "cell_temperature" for measure in whole) == 4
    bare = measures(SEPLOS, pack(cells=None, sensors=None))
    assert bare[-1] is OPERATING_STATE
    assert OPERATING_STATE.told(Reading(state=State.FULL)) == "full"


def test_values_are_those_of_the_reading() -> None:
    reading = expected(MODULE)
    told = {m.key: m.told(reading) for m in measures(VALENCE, identity(MODULE))}
    assert told["voltage"] == reading.voltage
    assert told["cell_3_voltage"] == MODULE.cell_voltages[2]
    assert told["cell_4_temperature"] == MODULE.cell_temperatures[3]
    assert None not in told.values()


def test_what_a_reading_does_not_hold_is_not_shown() -> None:
    told = {m.key: m.told(Reading()) for m in measures(VALENCE, identity(MODULE))}
    assert set(told.values()) == {None}
    # Fewer cells than were told of.
    assert of_module("cell_4_voltage").told(Reading(cell_voltages=(3.3,))) is None


def test_what_cannot_be_is_not_shown() -> None:
    assert of_module("state_of_charge").told(Reading(soc=100.0)) == 100.0
    assert of_module("state_of_charge").told(Reading(soc=100.1)) is None
    assert of_module("power").told(Reading(voltage=13.0, current=3001.0)) is None


def test_noise_is_not_shown_and_silence_at_once() -> None:
    current = Shown(of_module("current"))
    assert current.take(Reading(current=10.0), 0) == 10.0
    assert current.take(Reading(current=10.2), 5) == 10.0
    assert current.take(Reading(current=10.3), 10) == 10.3
    assert current.take(None, 15) is None
    assert current.take(Reading(), 20) is None
    assert current.take(Reading(current=10.2), 25) == 10.2


def test_every_percent_is_shown() -> None:
    soc = Shown(of_module("state_of_charge"))
    assert soc.take(Reading(soc=50.0), 0) == 50.0
    assert soc.take(Reading(soc=50.1), 1) == 50.1


def test_noise_of_a_voltage_is_that_of_each_cell() -> None:
    voltage = Shown(of_module("voltage"))
    cells = (3.3,) * 4
    assert voltage.take(Reading(voltage=13.2, cell_voltages=cells), 0) == 13.2
    assert voltage.take(Reading(voltage=13.204, cell_voltages=cells), 1) == 13.2
    assert voltage.take(Reading(voltage=13.206, cell_voltages=cells), 2) == 13.206


def test_noise_of_a_power_is_that_of_its_current() -> None:
    power = Shown(of_module("power"))
    assert power.take(Reading(voltage=50.0, current=10.0), 0) == 500.0
    assert power.take(Reading(voltage=50.0, current=10.2), 1) == 500.0
    assert power.take(Reading(voltage=50.0, current=10.3), 2) == 515.0


def test_another_cell_is_the_lowest_only_where_that_is_no_noise() -> None:
    lowest = Shown(of_module("lowest_cell"))
    assert lowest.take(Reading(cell_voltages=(3.3, 3.31)), 0) == 1
    assert lowest.take(Reading(cell_voltages=(3.302, 3.3)), 1) == 1
    assert lowest.take(Reading(cell_voltages=(3.303, 3.3)), 2) == 2
    assert lowest.take(Reading(cell_voltages=(3.4,)), 3) == 1


def test_what_a_battery_keeps_of_its_life() -> None:
    kept = {r.key: r for r in remembered(VALENCE, identity(MODULE))}
    history = History(cycles=12, highest_cell_voltage=3.7, lowest_cell_voltage=9.0)
    assert kept["cycles"].told(history) == 12
    assert kept["lifetime_highest_cell_voltage"].told(history) == 3.7
    assert kept["lifetime_lowest_cell_voltage"].told(history) is None
    assert kept["energy"].told(history) is None
    older = {r.key for r in remembered(VALENCE, identity(MODULE, revision=1))}
    assert older < set(kept)
    assert "energy" not in older
    assert remembered(SEPLOS, pack()) == ()


def test_a_module_has_one_alarm_for_all() -> None:
    assert troubles(VALENCE) == (ALARM,)
    alarms = (
        Alarm("cell_over_voltage", Group.VOLTAGE),
        Alarm("over_temperature", Group.TEMPERATURE, Level.PROTECTION),
    )
    active = ["cell_over_voltage", "over_temperature"]
    assert ALARM.details(Reading(alarms=alarms)) == {"active": active}
    assert ALARM.active(Reading()) == []


def test_a_group_names_the_cells_that_warn() -> None:
    groups = {group.key: group for group in troubles(SEPLOS)}
    alarms = (
        Alarm("high_voltage_of_cell", Group.VOLTAGE, Level.ALARM, 7),
        Alarm("high_voltage_of_cell", Group.VOLTAGE, Level.ALARM, 3),
        Alarm("low_voltage_of_cell", Group.VOLTAGE, Level.ALARM, 9),
        Alarm("cell_over_voltage", Group.VOLTAGE, Level.PROTECTION),
        Alarm("low_soc", Group.SOC),
    )
    reading = Reading(alarms=alarms)
    assert groups["voltage_alarm"].details(reading) == {
        "active": ["high_voltage_of_cell", "low_voltage_of_cell"],
        "cells": [3, 7, 9],
    }
    assert groups["voltage_protection"].details(reading) == {
        "active": ["cell_over_voltage"],
        "cells": [3, 7],
    }
    assert groups["soc_alarm"].details(reading) == {"active": ["low_soc"]}
    assert groups["current_alarm"].details(reading) == {"active": []}


def test_statuses_are_taken_from_the_reading() -> None:
    told = {s.key: s.value(Reading(heater=True)) for s in statuses(SEPLOS)}
    assert told.pop("heater") is True
    assert set(told.values()) == {None}
    assert [status.key for status in statuses(VALENCE)] == ["balancing"]


def test_a_battery_is_called_by_what_is_known_of_it() -> None:
    who = identity(MODULE)
    assert device_name(VALENCE, who) == f"{who.model} {who.serial}"
    assert device_name(VALENCE, identity(MODULE, serial=None)) == f"{who.model} 1"
    assert device_name(SEPLOS, pack(serial=None)) == "Seplos V3 pack 1"
