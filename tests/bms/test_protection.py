"""The rules of protection: each row of the table at each level, latches, silence."""

from __future__ import annotations

from dataclasses import replace
from math import inf
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
import pytest

from custom_components.openxpbms.bms.decision import (
    BOTH,
    Decision,
    Finding,
    Severity,
    Value,
    Waits,
    Way,
    is_cold,
)
from custom_components.openxpbms.bms.limits import (
    ARDUINO_XP_BMS,
    SEPLOS,
    Limit,
    Limits,
    Quantity,
)
from custom_components.openxpbms.bms.protection import (
    Memory,
    Relays,
    acknowledge,
    judge,
    lost,
    recover,
    unheard,
)
from custom_components.openxpbms.bms.reading import Alarm, Group, Reading
from custom_components.openxpbms.bms.rules import RULES

WARNING, STOP, CUTOFF = Severity
CHARGE, DISCHARGE = frozenset({Way.CHARGE}), frozenset({Way.DISCHARGE})
START = 1000.0
CURRENTS = replace(
    ARDUINO_XP_BMS,
    quantities={
        **ARDUINO_XP_BMS.quantities,
        Quantity.CHARGE_OVER_CURRENT: Limit(
            warning=80.0, warning_clear=70.0, stop=100.0, stop_clear=90.0, delay=10.0
        ),
        Quantity.DISCHARGE_OVER_CURRENT: Limit(
            warning=80.0, warning_clear=70.0, stop=100.0, stop_clear=90.0, delay=10.0
        ),
    },
)


def reading(cell: float = 3.3, celsius: float = 20.0, **more: Any) -> Reading:
    """Return a whole Reading without contradictions; `cell` is the third."""
    cells = (3.3, 3.3, cell, 3.3)
    known: dict[str, Any] = {
        "voltage": sum(cells),
        "current": 0.0,
        "soc": 50.0,
        "cell_voltages": cells,
        "cell_temperatures": (20.0, celsius, None, 20.0),
        "pcb_temperature": 25.0,
        "highest_cell_reported": max(cells),
        "lowest_cell_reported": min(cells),
        "alarms": (),
    }
    return Reading(**known | more)


class Battery:
    """A battery under judgement, and its time."""

    def __init__(self, limits: Limits = CURRENTS, *, heard: bool = True) -> None:
        self.limits = limits
        self.now = START
        self.memory = Memory(began=self.now)
        self.relays = Relays()
        self.decision = self.judge(reading() if heard else None)

    def judge(
        self, told: Reading | None = None, *, after: float = 0.0, part: bool = False
    ) -> Decision:
        self.now += after
        self.memory, self.decision = judge(
            self.memory, self.limits, told, self.now, part=part, relays=self.relays
        )
        return self.decision

    def keep(self, told: Reading, seconds: float) -> Decision:
        """Let a Reading come every 2 s for a while."""
        end = self.now + seconds
        while self.now + 2.0 <= end:
            self.judge(told, after=2.0)
        return self.judge(told, after=end - self.now)

    def found(self) -> dict[tuple[Quantity, Severity], Finding]:
        return {(f.quantity, f.severity): f for f in self.decision.findings}

    def has(self, quantity: Quantity, severity: Severity = STOP) -> bool:
        return (quantity, severity) in self.found()


# Each row of the table: what raises a level, what is not enough, what clears it.
ALARM = Alarm("battery_failure", Group.HARDWARE)
OTHER = Alarm("weak_cell_bank", Group.VOLTAGE)
Q = Quantity
ROWS = [
    # quantity, level, beyond, at the limit, delay, stops, latched
    (Q.CELL_OVER_VOLTAGE, WARNING, {"cell": 3.701}, {"cell": 3.7}, 0, BOTH, False),
    (Q.CELL_OVER_VOLTAGE, STOP, {"cell": 3.901}, {"cell": 3.9}, 0, CHARGE, False),
    (Q.CELL_OVER_VOLTAGE, CUTOFF, {"cell": 4.001}, {"cell": 4.0}, 0, BOTH, True),
    (Q.CELL_UNDER_VOLTAGE, WARNING, {"cell": 2.999}, {"cell": 3.0}, 0, BOTH, False),
    (Q.CELL_UNDER_VOLTAGE, STOP, {"cell": 2.799}, {"cell": 2.8}, 5, DISCHARGE, False),
    (Q.CELL_UNDER_VOLTAGE, CUTOFF, {"cell": 2.499}, {"cell": 2.5}, 0, BOTH, True),
    (Q.CELL_DEEP_DISCHARGE, STOP, {"cell": 1.999}, {"cell": 2.0}, 0, BOTH, True),
    (
        Q.CELL_OVER_TEMPERATURE,
        WARNING,
        {"celsius": 50.1},
        {"celsius": 50.0},
        0,
        BOTH,
        False,
    ),
    (
        Q.CELL_OVER_TEMPERATURE,
        STOP,
        {"celsius": 60.1},
        {"celsius": 60.0},
        0,
        BOTH,
        True,
    ),
    (
        Q.CELL_OVER_TEMPERATURE,
        CUTOFF,
        {"celsius": 65.1},
        {"celsius": 65.0},
        0,
        BOTH,
        True,
    ),
    (
        Q.ELECTRONICS_OVER_TEMPERATURE,
        WARNING,
        {"pcb_temperature": 75.1},
        {"pcb_temperature": 75.0},
        0,
        BOTH,
        False,
    ),
    (
        Q.ELECTRONICS_OVER_TEMPERATURE,
        STOP,
        {"pcb_temperature": 80.1},
        {"pcb_temperature": 80.0},
        0,
        BOTH,
        True,
    ),
    (
        Q.ELECTRONICS_OVER_TEMPERATURE,
        STOP,
        {"mosfet_temperature": 80.1},
        {"mosfet_temperature": 80.0},
        0,
        BOTH,
        True,
    ),
    (
        Q.CELL_UNDER_TEMPERATURE,
        WARNING,
        {"celsius": 4.9},
        {"celsius": 5.0},
        0,
        BOTH,
        False,
    ),
    (
        Q.CELL_UNDER_TEMPERATURE,
        STOP,
        {"celsius": -0.1},
        {"celsius": 0.0},
        0,
        CHARGE,
        False,
    ),
    (
        Q.CHARGE_OVER_CURRENT,
        WARNING,
        {"current": 80.1},
        {"current": 80.0},
        0,
        BOTH,
        False,
    ),
    (
        Q.CHARGE_OVER_CURRENT,
        STOP,
        {"current": 100.1},
        {"current": 100.0},
        10,
        BOTH,
        True,
    ),
    (
        Q.DISCHARGE_OVER_CURRENT,
        STOP,
        {"current": -100.1},
        {"current": -100.0},
        10,
        BOTH,
        True,
    ),
    (Q.CELL_SPREAD, WARNING, {"cell": 3.501}, {"cell": 3.5}, 60, BOTH, False),
    (Q.LOW_SOC, WARNING, {"soc": 14.9}, {"soc": 15.0}, 0, BOTH, False),
    (Q.REPORTED_FAULT, STOP, {"alarms": (ALARM,)}, {"alarms": (OTHER,)}, 0, BOTH, True),
    (
        Q.REPORTED_WARNING,
        WARNING,
        {"alarms": (OTHER,)},
        {"alarms": (ALARM,)},
        0,
        BOTH,
        False,
    ),
]


@pytest.mark.parametrize(
    ("quantity", "level", "beyond", "at", "delay", "stops", "latched"), ROWS
)
def test_each_row_at_each_level(
    quantity: Quantity,
    level: Severity,
    beyond: dict[str, Any],
    at: dict[str, Any],
    delay: float,
    stops: frozenset[Way],
    latched: bool,
) -> None:
    battery = Battery()
    battery.keep(reading(**at), delay + 10.0)
    assert not battery.has(quantity, level), "at its limit nothing is raised"
    battery = Battery()
    battery.judge(reading(**beyond), after=1.0)
    if delay:
        assert not battery.has(quantity, level), "it waits for its delay"
        assert battery.decision.judge_at <= battery.now + delay
        battery.keep(reading(**beyond), delay - 0.5)
        assert not battery.has(quantity, level)
        battery.judge(None, after=0.5)
    finding = battery.found()[quantity, level]
    if level is WARNING:
        assert not finding.stops
        return
    assert finding.stops == stops
    assert battery.decision.may_connect is not battery.decision.cut_off
    if level is CUTOFF:
        assert battery.decision.cut_off
    if not battery.decision.cut_off and quantity is not Q.CELL_DEEP_DISCHARGE:
        assert battery.decision.may_charge is (Way.CHARGE not in stops)
        assert battery.decision.may_discharge is (Way.DISCHARGE not in stops)
    trip = battery.memory.trips[quantity, level]
    assert trip.latched is latched


@pytest.mark.parametrize(
    ("quantity", "level", "beyond", "at", "delay", "stops", "latched"), ROWS
)
def test_each_row_clears_after_a_minute_or_by_a_person(
    quantity: Quantity,
    level: Severity,
    beyond: dict[str, Any],
    at: dict[str, Any],
    delay: float,
    stops: frozenset[Way],
    latched: bool,
) -> None:
    battery = Battery()
    battery.keep(reading(**beyond), delay + 2.0)
    assert battery.has(quantity, level)
    battery.judge(reading(), after=2.0)
    if level is WARNING:
        assert not battery.has(quantity, level)
        return
    assert battery.found()[quantity, level].waits is Waits.TIME
    battery.keep(reading(), 59.0)
    assert battery.has(quantity, level)
    battery.memory = acknowledge(battery.memory, battery.now)
    battery.judge()
    assert battery.has(quantity, level), "nobody may be too quick"
    battery.judge(reading(), after=1.0)
    assert battery.has(quantity, level) is latched
    if latched:
        assert battery.found()[quantity, level].waits is Waits.PERSON
        battery.memory = acknowledge(battery.memory, battery.now)
        battery.judge(reading())
    assert not list(battery.decision.stops)
    assert all(battery.decision.may_begin(way) for way in Way)


def test_every_rule_is_in_the_rows_or_tested_below() -> None:
    others = {
        Q.SENSOR_FAULT,
        Q.STOP_WITHOUT_EFFECT,
        Q.RELAY_FAULT,
        Q.STATE_LOST,
    }
    assert {row[0] for row in ROWS} | others == {rule.quantity for rule in RULES}


def test_cells_apart_stop_nothing_unless_told_to() -> None:
    battery = Battery()
    battery.keep(reading(cell=2.6), 2.0)
    assert not battery.has(Q.CELL_SPREAD)
    limit = Limit(stop=0.5, stop_clear=0.3)
    spread = {**CURRENTS.quantities, Q.CELL_SPREAD: limit}
    battery = Battery(replace(CURRENTS, quantities=spread))
    battery.judge(reading(cell=2.6), after=1.0)
    assert battery.found()[Q.CELL_SPREAD, STOP].stops == BOTH


def test_a_finding_names_cell_value_and_limits() -> None:
    battery = Battery()
    battery.judge(reading(cell=3.95), after=1.0)
    finding = battery.found()[Q.CELL_OVER_VOLTAGE, STOP]
    assert finding.value == Value(3.95, 3)
    assert (finding.limit, finding.clears, finding.since) == (3.9, 3.7, battery.now)
    battery.judge(reading(cell=3.97), after=1.0)
    assert battery.found()[Q.CELL_OVER_VOLTAGE, STOP].value == Value(3.95, 3)


def test_a_finding_names_sensor_or_what_it_is_about() -> None:
    battery = Battery()
    battery.judge(reading(celsius=61.0, pcb_temperature=81.0, alarms=(ALARM,)))
    found = battery.found()
    assert found[Q.CELL_OVER_TEMPERATURE, STOP].value == Value(61.0, 2)
    electronics = found[Q.ELECTRONICS_OVER_TEMPERATURE, STOP]
    assert electronics.value == Value(81.0, what="pcb")
    fault = found[Q.REPORTED_FAULT, STOP]
    assert fault.value == Value(1.0, what="battery_failure")


def test_a_value_back_inside_the_delay_stops_nothing() -> None:
    battery = Battery()
    battery.judge(reading(cell=2.7), after=1.0)
    battery.judge(reading(cell=2.9), after=4.0)
    battery.judge(reading(cell=2.7), after=0.5)
    battery.judge(reading(cell=2.7), after=4.5)
    assert not battery.has(Q.CELL_UNDER_VOLTAGE)
    battery.judge(None, after=0.5)
    assert battery.has(Q.CELL_UNDER_VOLTAGE)


@pytest.mark.parametrize(
    ("told", "part"),
    [
        (Reading(cell_voltages=(3.3, 3.3)), True),
        (reading(voltage=20.0), False),
        (Reading(current=0.0), True),
    ],
)
def test_a_part_or_a_contradiction_does_not_end_a_delay(
    told: Reading, *, part: bool
) -> None:
    battery = Battery()
    battery.judge(reading(cell=2.7), after=1.0)
    battery.judge(told, after=4.0, part=part)
    assert not battery.has(Q.CELL_UNDER_VOLTAGE)
    battery.judge(None, after=1.0)
    assert battery.has(Q.CELL_UNDER_VOLTAGE)


def test_the_end_of_a_delay_is_met_whatever_the_clock_shows() -> None:
    late = replace(CURRENTS[Q.CELL_OVER_VOLTAGE], delay=0.3)
    quantities = {**CURRENTS.quantities, Q.CELL_OVER_VOLTAGE: late}
    for hundredths in range(100):
        battery = Battery(replace(CURRENTS, quantities=quantities))
        battery.judge(reading(cell=3.95), after=hundredths / 100)
        assert battery.decision.may_charge
        battery.now = battery.decision.judge_at
        assert not battery.judge().may_charge


def test_on_the_way_back_it_begins_anew_where_it_was_left() -> None:
    battery = Battery()
    battery.judge(reading(cell=3.95), after=1.0)
    battery.keep(reading(cell=3.6), 40.0)
    battery.judge(reading(cell=3.75), after=2.0)
    battery.keep(reading(cell=3.6), 58.0)
    assert battery.has(Q.CELL_OVER_VOLTAGE)
    battery.keep(reading(cell=3.6), 4.0)
    assert not battery.has(Q.CELL_OVER_VOLTAGE)


def test_readings_that_do_not_tell_of_it_clear_nothing() -> None:
    battery = Battery()
    battery.judge(reading(pcb_temperature=81.0), after=1.0)
    battery.judge(reading(), after=2.0)
    battery.keep(reading(pcb_temperature=None), 70.0)
    hot = battery.found()[Q.ELECTRONICS_OVER_TEMPERATURE, STOP]
    assert hot.waits is Waits.VALUE
    battery.keep(reading(), 59.0)
    hot = battery.found()[Q.ELECTRONICS_OVER_TEMPERATURE, STOP]
    assert hot.waits is Waits.TIME


# Latches


def trip(battery: Battery) -> None:
    """Let over-voltage stop and clear, or latch."""
    battery.judge(reading(cell=3.95), after=2.0)
    battery.keep(reading(), 64.0)


def test_the_third_stop_within_a_day_latches() -> None:
    battery = Battery()
    trip(battery)
    trip(battery)
    assert not battery.has(Q.CELL_OVER_VOLTAGE)
    trip(battery)
    assert battery.found()[Q.CELL_OVER_VOLTAGE, STOP].waits is Waits.PERSON
    battery.memory = acknowledge(battery.memory, battery.now)
    trip(battery)
    assert not battery.has(Q.CELL_OVER_VOLTAGE), "a person begins the count anew"


def test_stops_of_other_days_and_quantities_do_not_count() -> None:
    battery = Battery()
    trip(battery)
    trip(battery)
    battery.now += 86400.0
    for _ in range(3):
        battery.judge(reading(), after=2.0)
    trip(battery)
    battery.judge(reading(cell=2.7), after=2.0)
    battery.keep(reading(cell=2.7), 6.0)
    battery.keep(reading(), 64.0)
    assert not list(battery.decision.stops)
    assert set(battery.memory.times) == {Q.CELL_OVER_VOLTAGE, Q.CELL_UNDER_VOLTAGE}


def test_an_option_latches_every_stop_but_cold_and_silence() -> None:
    battery = Battery(replace(CURRENTS, latch_all=True))
    battery.judge(reading(cell=3.95, celsius=-1.0), after=1.0)
    battery.judge(None, after=70.0)
    battery.keep(reading(), 70.0)
    assert {f.quantity for f in battery.decision.stops} == {Q.CELL_OVER_VOLTAGE}


def test_cold_never_latches() -> None:
    battery = Battery()
    for _ in range(5):
        battery.judge(reading(celsius=-1.0), after=2.0)
        assert all(is_cold(finding) for finding in battery.decision.stops)
        battery.keep(reading(), 64.0)
    assert not list(battery.decision.stops)


def test_a_person_clears_nothing_that_is_not_over() -> None:
    battery = Battery()
    battery.judge(reading(cell=4.1), after=1.0)
    for told in (reading(cell=4.1), reading(cell=3.8), reading(cell=3.6)):
        battery.judge(told, after=2.0)
        battery.memory = acknowledge(battery.memory, battery.now)
        battery.judge()
        assert battery.decision.cut_off
    battery.keep(reading(), 60.0)
    battery.judge(None, after=15.5)
    battery.memory = acknowledge(battery.memory, battery.now)
    battery.judge()
    assert battery.decision.cut_off, "what is not heard is not over"


def test_a_latch_whose_limit_was_taken_away_waits_for_a_person() -> None:
    battery = Battery()
    battery.judge(reading(current=120.0), after=1.0)
    battery.keep(reading(current=120.0), 10.0)
    assert battery.has(Q.CHARGE_OVER_CURRENT)
    battery.limits = ARDUINO_XP_BMS
    battery.keep(reading(current=120.0), 64.0)
    assert battery.found()[Q.CHARGE_OVER_CURRENT, STOP].waits is Waits.PERSON
    battery.memory = acknowledge(battery.memory, battery.now)
    battery.judge()
    assert not battery.found()


def test_a_stop_whose_limit_was_taken_away_goes() -> None:
    battery = Battery()
    battery.judge(reading(cell=3.95), after=1.0)
    battery.limits = Limits(quantities={}, faults=frozenset())
    battery.judge(reading(cell=3.95), after=1.0)
    assert not battery.found()


# Silence


def test_silence_stops_charging_then_discharging() -> None:
    battery = Battery()
    steps = ((14.9, True, True), (0.1, False, True), (44.9, False, True))
    for after, charge, discharge in steps:
        assert battery.decision.judge_at <= battery.now + after + 0.2
        decision = battery.judge(None, after=after)
        assert (decision.may_charge, decision.may_discharge) == (charge, discharge)
    assert not battery.judge(None, after=0.1).may_discharge
    finding = battery.found()[Q.SILENCE, STOP]
    assert (finding.stops, finding.limit, finding.waits) == (BOTH, 15.0, Waits.VALUE)
    assert battery.decision.may_connect


def test_silence_can_be_longer() -> None:
    limits = replace(CURRENTS, silence_charging=60.0, silence_discharging=1800.0)
    battery = Battery(limits)
    assert battery.judge(None, after=59.0).may_charge
    assert not battery.judge(None, after=1.0).may_charge
    assert battery.judge(None, after=1739.0).may_discharge
    assert not battery.judge(None, after=1.0).may_discharge


def test_three_whole_readings_end_it() -> None:
    battery = Battery()
    battery.judge(None, after=70.0)
    for heard in range(3):
        assert battery.has(Q.SILENCE), heard
        battery.judge(reading(), after=2.0)
    assert not battery.found()


def test_a_pause_between_them_begins_the_count_anew() -> None:
    battery = Battery()
    battery.judge(None, after=70.0)
    battery.judge(reading())
    battery.judge(reading(), after=2.0)
    battery.judge(reading(), after=16.0)
    battery.judge(reading(), after=2.0)
    assert battery.has(Q.SILENCE)
    battery.judge(reading(), after=2.0)
    assert not battery.has(Q.SILENCE)


def test_before_the_first_reading_there_is_grace() -> None:
    battery = Battery(heard=False)
    assert battery.decision.judge_at == START + 30.0
    decision = battery.judge(None, after=29.9)
    assert (decision.may_charge, decision.may_discharge) == (True, True)
    assert not decision.may_begin(Way.DISCHARGE)
    decision = battery.judge(None, after=0.1)
    assert (decision.may_charge, decision.may_discharge) == (False, False)
    assert battery.found()[Q.SILENCE, STOP].limit == 30.0


def test_when_nobody_could_listen_there_is_grace_again() -> None:
    battery = Battery()
    battery.judge(reading(3.95))
    battery.judge(None, after=1800.0)
    assert battery.has(Q.SILENCE)
    battery.memory = unheard(battery.memory, battery.now)
    decision = battery.judge()
    assert not battery.has(Q.SILENCE)
    assert battery.has(Q.CELL_OVER_VOLTAGE)  # what was the matter still is
    assert decision.may_discharge
    assert not decision.may_begin(Way.DISCHARGE)
    assert not battery.judge(None, after=30.0).may_discharge


def test_a_first_reading_in_time_needs_no_others() -> None:
    battery = Battery(heard=False)
    battery.judge(reading(), after=20.0)
    assert all(battery.decision.may_begin(way) for way in Way)


def test_parts_are_no_sign_of_life() -> None:
    battery = Battery()
    whole = reading()
    for _ in range(10):
        for name in ("cell_voltages", "cell_temperatures", "current", "alarms"):
            part = Reading(**{name: getattr(whole, name)})
            battery.judge(part, after=0.5, part=True)
    assert battery.has(Q.SILENCE)
    assert not battery.decision.fresh


@pytest.mark.parametrize(
    "lacking",
    [
        {"cell_voltages": None},
        {"cell_temperatures": None},
        {"cell_temperatures": (None, None)},
    ],
)
def test_without_cells_or_temperatures_no_reading_is_whole(
    lacking: dict[str, Any],
) -> None:
    battery = Battery(heard=False)
    battery.judge(replace(reading(), **lacking), after=1.0)
    assert not battery.decision.fresh


def test_fresh_is_fifteen_seconds_old_at_most() -> None:
    battery = Battery()
    assert battery.judge(None, after=15.0).fresh
    assert battery.decision.judge_at <= battery.now + 0.002
    assert not battery.judge(None, after=0.002).fresh


# Parts


def test_a_part_stops_at_once_and_clears_nothing() -> None:
    battery = Battery()
    battery.judge(Reading(cell_voltages=(3.3, 3.95)), after=0.1, part=True)
    assert not battery.decision.may_charge
    for _ in range(40):
        battery.judge(Reading(cell_voltages=(3.3, 3.3)), after=2.0, part=True)
    assert battery.has(Q.CELL_OVER_VOLTAGE)


def test_a_part_ends_the_way_back() -> None:
    battery = Battery()
    battery.judge(reading(cell=3.95), after=1.0)
    battery.keep(reading(), 50.0)
    battery.judge(Reading(cell_voltages=(3.8,)), after=1.0, part=True)
    battery.keep(reading(), 20.0)
    assert battery.has(Q.CELL_OVER_VOLTAGE)
    battery.keep(reading(), 42.0)
    assert not battery.has(Q.CELL_OVER_VOLTAGE)


def test_after_a_silence_the_way_back_begins_anew() -> None:
    battery = Battery()
    battery.judge(reading(cell=3.95), after=1.0)
    battery.keep(reading(), 50.0)
    battery.judge(reading(), after=20.0)
    assert battery.has(Q.CELL_OVER_VOLTAGE)
    battery.keep(reading(), 58.0)
    assert battery.has(Q.CELL_OVER_VOLTAGE)
    battery.keep(reading(), 2.0)
    assert not battery.has(Q.CELL_OVER_VOLTAGE)


# Sensor faults


STRANGE = [
    ({"cell": 5.001}, "cell_range"),
    ({"cell": 0.999}, "cell_range"),
    ({"celsius": 120.1}, "temperature_range"),
    ({"celsius": -40.1}, "temperature_range"),
    ({"highest_cell_reported": 3.351}, "highest_cell"),
    ({"lowest_cell_reported": 3.249}, "lowest_cell"),
    ({"voltage": 13.2 * 1.04}, "sum"),
    ({"voltage": 13.2 * 0.96}, "sum"),
]


@pytest.mark.parametrize(("values", "check"), STRANGE)
def test_two_strange_readings_are_a_sensor_fault(
    values: dict[str, Any], check: str
) -> None:
    told = reading(**values)
    if "cell" in values:
        told = replace(told, cell_voltages=(3.3, 3.3, values["cell"], 3.3))
    battery = Battery()
    battery.judge(told, after=1.0)
    assert not battery.has(Q.SENSOR_FAULT)
    assert not battery.decision.fresh, "one alone delays closing"
    battery.judge(told, after=1.0)
    fault = battery.found()[Q.SENSOR_FAULT, STOP]
    assert fault.value == Value(1.0, what=check)
    assert fault.stops == BOTH
    battery.keep(reading(), 62.0)
    assert battery.found()[Q.SENSOR_FAULT, STOP].waits is Waits.PERSON


@pytest.mark.parametrize(
    "values",
    [
        {"highest_cell_reported": 3.35, "lowest_cell_reported": 3.25},
        {"voltage": 13.2 * 1.029},
        {"voltage": None, "highest_cell_reported": None, "lowest_cell_reported": None},
        {"celsius": 120.0, "pcb_temperature": 20.0},
    ],
)
def test_small_differences_are_no_fault(values: dict[str, Any]) -> None:
    battery = Battery()
    battery.keep(reading(**values), 10.0)
    assert not battery.has(Q.SENSOR_FAULT)


def test_one_strange_reading_between_good_ones_is_none() -> None:
    battery = Battery()
    for _ in range(5):
        battery.judge(reading(voltage=20.0), after=1.0)
        battery.judge(reading(), after=1.0)
    assert not battery.found()
    assert battery.decision.fresh


def test_the_same_check_must_fail_twice() -> None:
    battery = Battery()
    battery.judge(reading(voltage=20.0), after=1.0)
    battery.judge(reading(highest_cell_reported=3.5), after=1.0)
    assert not battery.has(Q.SENSOR_FAULT)


def test_a_sensor_in_doubt_never_delays_opening() -> None:
    battery = Battery()
    battery.judge(reading(cell=4.3, voltage=99.0), after=1.0)
    assert battery.decision.cut_off


def test_strange_readings_clear_nothing_but_are_heard() -> None:
    battery = Battery()
    battery.judge(reading(cell=3.95), after=1.0)
    for _ in range(40):
        battery.judge(reading(highest_cell_reported=3.5), after=2.0)
    assert battery.has(Q.CELL_OVER_VOLTAGE)
    assert not battery.has(Q.SILENCE)


# Reported faults, current, relays, what was lost


def test_a_reported_fault_that_is_switched_off_warns() -> None:
    battery = Battery(replace(CURRENTS, faults=frozenset()))
    battery.judge(reading(alarms=(ALARM,)), after=1.0)
    assert not battery.has(Q.REPORTED_FAULT)
    assert battery.has(Q.REPORTED_WARNING, WARNING)


def test_names_of_one_family_do_not_stop_the_other() -> None:
    battery = Battery(SEPLOS)
    name = Alarm("cell_over_voltage", Group.VOLTAGE)
    battery.judge(reading(alarms=(name,)), after=1.0)
    assert set(battery.found()) == {(Q.REPORTED_WARNING, WARNING)}


def test_until_the_sign_is_confirmed_magnitude_counts() -> None:
    battery = Battery(replace(CURRENTS, signed=False))
    battery.judge(reading(current=-120.0))
    battery.keep(reading(current=-120.0), 10.0)
    assert battery.has(Q.CHARGE_OVER_CURRENT)
    assert battery.has(Q.DISCHARGE_OVER_CURRENT)


@pytest.mark.parametrize(
    ("cut", "current", "signed", "cut_off"),
    [
        (CHARGE, 2.1, True, True),
        (CHARGE, 2.0, True, False),
        (CHARGE, -50.0, True, False),
        (DISCHARGE, -2.1, True, True),
        (DISCHARGE, 50.0, True, False),
        (BOTH, -2.1, True, True),
        (CHARGE, 50.0, False, False),
        (BOTH, 2.1, False, True),
        (BOTH, -2.1, False, True),
        (frozenset(), 50.0, True, False),
    ],
)
def test_a_stop_that_does_not_act_cuts_off(
    cut: frozenset[Way],
    current: float,
    *,
    signed: bool,
    cut_off: bool,
) -> None:
    battery = Battery(replace(ARDUINO_XP_BMS, signed=signed))
    battery.relays = Relays(cut=cut)
    battery.judge(reading(current=current), after=1.0)
    battery.judge(reading(current=current), after=9.9)
    assert not battery.decision.cut_off
    battery.judge(reading(current=current), after=0.2)
    assert battery.decision.cut_off is cut_off
    if cut_off:
        battery.relays = Relays()
        battery.keep(reading(), 70.0)
        assert battery.decision.cut_off, "it waits for a person"


def test_a_relay_that_was_told_anew_has_its_time_again() -> None:
    battery = Battery(ARDUINO_XP_BMS)
    battery.relays = Relays(cut=CHARGE)
    battery.judge(reading(current=5.0), after=1.0)
    battery.relays = Relays()
    battery.judge(reading(current=5.0), after=9.0)
    battery.relays = Relays(cut=CHARGE)
    battery.judge(reading(current=5.0), after=5.0)
    assert not battery.decision.cut_off


def test_a_relay_at_fault_stops_both_and_latches() -> None:
    battery = Battery()
    battery.relays = Relays(fault="not_opening")
    battery.judge(None, after=0.1)
    fault = battery.found()[Q.RELAY_FAULT, STOP]
    assert fault.value == Value(1.0, what="not_opening")
    assert fault.stops == BOTH
    battery.relays = Relays()
    battery.keep(reading(), 64.0)
    assert battery.found()[Q.RELAY_FAULT, STOP].waits is Waits.PERSON


def test_what_was_lost_counts_as_latched() -> None:
    battery = Battery()
    battery.memory = lost(battery.now)
    battery.judge(None)
    assert battery.found()[Q.STATE_LOST, STOP].stops == BOTH
    battery.keep(reading(), 64.0)
    assert battery.found()[Q.STATE_LOST, STOP].waits is Waits.PERSON
    battery.memory = acknowledge(battery.memory, battery.now)
    battery.judge()
    assert not battery.found()


# Obstacles


@pytest.mark.parametrize(
    ("values", "quantity", "way"),
    [
        ({"cell": 3.75}, Q.CELL_OVER_VOLTAGE, Way.CHARGE),
        ({"cell": 2.9}, Q.CELL_UNDER_VOLTAGE, Way.DISCHARGE),
        ({"celsius": 59.0}, Q.CELL_OVER_TEMPERATURE, Way.DISCHARGE),
        ({"celsius": 1.0}, Q.CELL_UNDER_TEMPERATURE, Way.CHARGE),
        ({"current": 95.0}, Q.CHARGE_OVER_CURRENT, Way.CHARGE),
        ({"pcb_temperature": 79.0}, Q.ELECTRONICS_OVER_TEMPERATURE, Way.CHARGE),
    ],
)
def test_between_clearing_and_stop_nothing_closes_and_nothing_opens(
    values: dict[str, Any], quantity: Quantity, way: Way
) -> None:
    battery = Battery()
    decision = battery.judge(reading(**values), after=1.0)
    assert (decision.may_charge, decision.may_discharge) == (True, True)
    [obstacle] = decision.obstacles
    assert obstacle.quantity is quantity
    assert way in obstacle.stops
    assert not decision.may_begin(way)
    battery.limits = Limits(quantities={}, faults=frozenset())
    assert not battery.judge().obstacles


def test_a_part_is_an_obstacle_until_a_whole_reading_says_otherwise() -> None:
    battery = Battery()
    late = replace(CURRENTS[Q.CELL_OVER_VOLTAGE], delay=5.0)
    quantities = {**CURRENTS.quantities, Q.CELL_OVER_VOLTAGE: late}
    battery.limits = replace(CURRENTS, quantities=quantities)
    high = Reading(cell_voltages=(3.3, 3.95))
    for part in (high, Reading(cell_voltages=(3.3, 3.3)), Reading(current=0.0), None):
        decision = battery.judge(part, after=0.5, part=True)
        assert decision.may_charge
        assert not decision.may_begin(Way.CHARGE)
    assert battery.judge(reading(), after=0.5).may_begin(Way.CHARGE)


def test_an_obstacle_stays_while_whole_readings_do_not_tell_of_it() -> None:
    battery = Battery()
    battery.judge(reading(current=95.0), after=1.0)
    decision = battery.judge(reading(current=None), after=1.0)
    assert decision.fresh
    assert not decision.may_begin(Way.CHARGE)
    assert battery.judge(reading(current=0.0), after=1.0).may_begin(Way.CHARGE)


def test_without_a_stop_the_cut_off_has_its_obstacle() -> None:
    limit = Limit(cutoff=4.0, stop_clear=3.7)
    quantities = {Q.CELL_OVER_VOLTAGE: limit}
    battery = Battery(Limits(quantities=quantities, faults=frozenset()))
    assert not battery.judge(reading(cell=3.95), after=1.0).may_begin(Way.CHARGE)


def test_what_stops_is_no_obstacle_besides() -> None:
    battery = Battery()
    decision = battery.judge(reading(cell=3.95), after=1.0)
    assert not decision.obstacles


# Recovery


def low_battery(cell: float = 2.7) -> Battery:
    battery = Battery()
    battery.judge(reading(cell=cell), after=1.0)
    battery.keep(reading(cell=cell), 6.0)
    return battery


def recovering(cell: float = 2.7) -> Battery:
    battery = low_battery(cell)
    assert battery.decision.only_low
    battery.memory = recover(battery.memory, battery.now)
    battery.judge()
    return battery


@pytest.mark.parametrize("cell", [2.7, 2.4, 2.0])
def test_who_is_only_too_low_can_be_charged(cell: float) -> None:
    battery = low_battery(cell)
    assert not battery.decision.may_discharge
    battery = recovering(cell)
    decision = battery.decision
    assert decision.recovering
    assert (decision.may_charge, decision.may_discharge) == (True, False)
    assert not decision.cut_off
    assert not list(decision.stops)


def test_recovery_lasts_half_an_hour() -> None:
    battery = recovering()
    battery.keep(reading(cell=2.7), 1799.0)
    assert battery.decision.recovering
    assert battery.decision.judge_at <= battery.now + 1.0
    assert not battery.judge(None, after=1.0).recovering


@pytest.mark.parametrize(
    ("low", "cell", "goes_on"),
    [(2.7, 2.671, True), (2.7, 2.67, False), (2.03, 2.001, True), (2.03, 2.0, False)],
)
def test_recovery_ends_when_the_lowest_falls(
    low: float, cell: float, *, goes_on: bool
) -> None:
    battery = recovering(low)
    battery.judge(Reading(cell_voltages=(3.3, cell)), after=1.0, part=True)
    assert battery.decision.recovering is goes_on


def test_recovery_ends_when_the_cells_are_back() -> None:
    battery = recovering()
    battery.keep(reading(cell=3.1), 62.0)
    assert not battery.decision.recovering
    assert not list(battery.decision.stops)
    assert battery.decision.may_begin(Way.DISCHARGE)


def test_recovery_acknowledges_its_latches() -> None:
    battery = recovering(2.4)
    battery.keep(reading(cell=3.1), 62.0)
    assert not list(battery.decision.stops)
    assert Q.CELL_UNDER_VOLTAGE not in battery.memory.times


def test_who_is_between_stop_and_clearing_can_recover() -> None:
    battery = Battery()
    battery.judge(reading(cell=2.9), after=1.0)
    assert battery.decision.only_low
    battery.memory = recover(battery.memory, battery.now)
    assert battery.judge().recovering


def test_deeply_discharged_cells_do_not_recover() -> None:
    battery = low_battery(1.9)
    assert not battery.decision.only_low
    battery.memory = recover(battery.memory, battery.now)
    assert not battery.judge().recovering
    battery = Battery(heard=False)
    assert recover(battery.memory, battery.now) is battery.memory


def test_a_cell_at_zero_is_the_lowest() -> None:
    battery = Battery()
    battery.judge(reading(cell=0.0), after=1.0)
    assert battery.memory.lowest == 0.0
    assert battery.has(Q.CELL_DEEP_DISCHARGE)


def test_other_stops_still_stop_who_recovers() -> None:
    battery = recovering()
    decision = battery.judge(reading(cell=2.7, celsius=61.0), after=1.0)
    assert {f.quantity for f in decision.stops} == {Q.CELL_OVER_TEMPERATURE}
    assert not decision.may_charge


def test_nothing_against_it_is_not_only_low() -> None:
    assert not Battery().decision.only_low


# In general


def test_the_next_moment_is_always_ahead() -> None:
    battery = Battery()
    assert START < battery.decision.judge_at < inf
    battery.judge(None, after=100.0)
    assert battery.decision.judge_at == inf


@given(
    st.lists(
        st.tuples(
            st.sampled_from([3.3, 3.75, 3.95, 4.05, 2.9, 2.7, 2.3, 1.5]),
            st.sampled_from([20.0, 59.0, 61.0, 1.0, -3.0]),
            st.sampled_from([0.5, 2.0, 16.0, 70.0]),
            st.booleans(),
        ),
        max_size=30,
    )
)
def test_whatever_comes_a_close_needs_a_good_reading_inside(
    steps: list[tuple[float, float, float, bool]],
) -> None:
    battery = Battery(heard=False)
    for cell, celsius, after, part in steps:
        told = reading(cell=cell, celsius=celsius)
        battery.judge(told, after=after, part=part)
        if any(battery.decision.may_begin(way) for way in Way):
            assert battery.memory.good is not None
            assert battery.now - battery.memory.good <= 15.0
        if not part and battery.decision.may_begin(Way.CHARGE):
            assert cell <= 3.7
            assert 3.0 <= celsius <= 58.0
