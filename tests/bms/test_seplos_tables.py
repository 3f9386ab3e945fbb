"""What single coils, names and words of a Seplos pack mean."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
import pytest

from custom_components.openxpbms.bms.reading import Alarm, Group, Identity, Level, State
from custom_components.openxpbms.bms.seplos_tables import (
    ALARMS,
    BALANCING,
    COUNTS,
    FUNCTIONS,
    STATES,
    board_of,
    clock_time,
    coil_values,
    count_cells,
    count_sensors,
    current_divisor,
    decode_table,
    functions,
    make_reading,
)

VOLTAGE, TEMPERATURE = Group.VOLTAGE, Group.TEMPERATURE
CURRENT, SOC, LOCK, HARDWARE = Group.CURRENT, Group.SOC, Group.LOCK, Group.HARDWARE
# What bytes 9 to 17 of PIC are about.
GROUPS = dict(
    enumerate(
        (VOLTAGE, TEMPERATURE, TEMPERATURE, CURRENT, LOCK, SOC, *(HARDWARE,) * 3), 9
    )
)
# Their bits as the papers list them, lowest first; "!" marks a trip, "-" what nobody
# knows, and "=" what is told of elsewhere.
PAPER = {
    9: """cell_high_voltage cell_over_voltage! cell_low_voltage cell_under_voltage!
        pack_high_voltage pack_over_voltage! pack_low_voltage pack_under_voltage!""",
    10: """charge_high_temperature charge_over_temperature!
        charge_low_temperature charge_under_temperature!
        discharge_high_temperature discharge_over_temperature!
        discharge_low_temperature discharge_under_temperature!""",
    11: """ambient_high_temperature ambient_over_temperature!
        ambient_low_temperature ambient_under_temperature!
        mosfet_high_temperature mosfet_over_temperature! = -""",
    12: """high_charge_current charge_over_current! charge_over_current_level_2!
        high_discharge_current discharge_over_current! discharge_over_current_level_2!
        short_circuit_protection! -""",
    13: """short_circuit_lock! = charge_over_current_lock! discharge_over_current_lock!
        - - = -""",
    14: "- - low_state_of_charge state_of_charge_protection! = - = -",
    15: "= = = = - - - -",
    16: "= = = = cell_failure - - -",
    17: """temperature_sensor_fault! front_end_fault! charge_mosfet_fault!
        discharge_mosfet_fault! cell_spread_fault! open_wire! key_fault! aerosol!""",
}
# Those of another group than their neighbours.
OTHERS = {
    (13, 1): Alarm("reverse_connection", HARDWARE, Level.PROTECTION),
    (13, 6): Alarm("zero_point_not_calibrated", HARDWARE),
    (14, 4): Alarm("cell_spread", VOLTAGE),
    (14, 6): Alarm("gyroscope_lock", LOCK, Level.PROTECTION),
}
# What the bits that are no trouble change in a Reading.
IDLE: dict[str, Any] = {
    "state": None,
    "charging": False,
    "discharging": False,
    "charge_mosfet": False,
    "discharge_mosfet": False,
    "current_limiting": False,
    "heater": False,
    "balancing": (),
    "balancing_active": False,
    "unknown_coils": (),
    "alarms": (),
}
CHANGES: dict[tuple[int, int], dict[str, Any]] = {
    (8, 0): {"state": State.DISCHARGING, "discharging": True},
    (8, 1): {"state": State.CHARGING, "charging": True},
    (8, 2): {"state": State.FLOAT_CHARGING, "charging": True},
    (8, 3): {"state": State.FULL},
    (8, 4): {"state": State.STANDBY},
    (8, 5): {"state": State.OFF},
    (11, 6): {"heater": True},
    (15, 0): {"discharge_mosfet": True},
    (15, 1): {"charge_mosfet": True},
    (15, 2): {"current_limiting": True},
    (15, 3): {"heater": True},
    (16, 0): {"balancing_active": True},
    (16, 1): {},
    (16, 2): {},
    (16, 3): {},
}


def expected(byte: int, bit: int) -> dict[str, Any]:
    """Return what a set bit alone changes, by the papers."""
    if byte < 4:
        name = "low_voltage_of_cell" if byte < 2 else "high_voltage_of_cell"
        return {"alarms": (Alarm(name, VOLTAGE, number=8 * (byte % 2) + bit + 1),)}
    if byte < 6:
        name = ("low" if byte == 4 else "high") + "_temperature_of_sensor"
        return {"alarms": (Alarm(name, TEMPERATURE, number=bit + 1),)}
    if byte < 8:
        cell = 8 * (byte - 6) + bit + 1
        return {"balancing": (cell,), "balancing_active": True}
    if (byte, bit) in CHANGES:
        return CHANGES[byte, bit]
    if (byte, bit) in OTHERS:
        return {"alarms": (OTHERS[byte, bit],)}
    if byte == 8 or (text := PAPER[byte].split()[bit]) == "-":
        return {"unknown_coils": (0x1200 + 8 * byte + bit,)}
    level = Level.PROTECTION if text[-1] == "!" else Level.ALARM
    return {"alarms": (Alarm(text.rstrip("!"), GROUPS[byte], level),)}


def coils(*bits: tuple[int, int]) -> bytes:
    """Return a reply to PIC with these bits set."""
    data = bytearray(18)
    for byte, bit in bits:
        data[byte] |= 1 << bit
    return bytes(data)


def test_the_papers_name_eight_bits_of_each_byte() -> None:
    assert [len(names.split()) for names in PAPER.values()] == [8] * 9
    known = {key for key in (*CHANGES, *OTHERS) if key[0] > 8}
    marked = {
        (byte, bit)
        for byte, names in PAPER.items()
        for bit, name in enumerate(names.split())
        if name == "="
    }
    assert marked == known


@pytest.mark.parametrize("number", range(144))
def test_each_coil_alone(number: int) -> None:
    at = number // 8, number % 8
    data = coils(at)
    assert coil_values(data) == IDLE | {"coils": data} | expected(*at)


@given(st.binary(min_size=18, max_size=18))
def test_coils_together_mean_what_they_mean_alone(data: bytes) -> None:
    values = coil_values(data)
    bits = [(n // 8, n % 8) for n in range(144) if data[n // 8] >> n % 8 & 1]
    for name in ("alarms", "unknown_coils", "balancing"):
        alone = [item for at in bits for item in expected(*at).get(name, ())]
        assert list(values[name]) == alone
    for name in IDLE.keys() - {"alarms", "unknown_coils", "balancing", "state"}:
        assert values[name] is any(expected(*at).get(name, False) for at in bits)


def test_every_coil_has_one_meaning() -> None:
    meanings = [*ALARMS, *STATES.values(), *BALANCING]
    assert len(set(meanings)) == len(meanings)
    assert set(meanings) <= set(range(0x1200, 0x1290))
    keys = [(alarm.name, alarm.number) for alarm in ALARMS.values()]
    assert len(set(keys)) == len(keys)


@pytest.mark.parametrize(
    ("bits", "state"),
    [
        ((0, 1, 2, 3, 4, 5), State.OFF),
        ((0, 1, 2, 3, 4), State.FULL),
        ((0, 1, 2, 4), State.FLOAT_CHARGING),
        ((0, 1, 4), State.CHARGING),
        ((0, 4), State.DISCHARGING),
        ((4,), State.STANDBY),
        ((6, 7), None),
    ],
)
def test_the_most_telling_state_counts(
    bits: tuple[int, ...], state: State | None
) -> None:
    assert coil_values(coils(*((8, bit) for bit in bits)))["state"] is state


def test_the_mosfet_byte_of_newer_boards() -> None:
    values = coil_values(bytes(15) + b"\x43" + bytes(2))
    assert values["charge_mosfet"]
    assert values["discharge_mosfet"]
    assert values["unknown_coils"] == (0x127E,)
    assert values["alarms"] == ()


@pytest.mark.parametrize("number", range(80))
def test_each_switch_alone(number: int) -> None:
    data = bytearray(10)
    data[number // 8] = 1 << number % 8
    enabled = [name for name, value in functions(bytes(data)).items() if value]
    name = FUNCTIONS.get(0x1400 + number)
    assert enabled == ([name] if name else [])


def test_switches_have_the_names_of_the_alarms_that_they_enable() -> None:
    # The papers: bytes 0 to 2, 4 and 5 are in the order of bytes 9 to 13 of PIC.
    for byte, of_pic in ((0, 9), (1, 10), (2, 11), (4, 12), (5, 13)):
        for bit in range(8):
            alarm = ALARMS.get(0x1200 + 8 * of_pic + bit)
            if alarm and (of_pic, bit) != (13, 6):
                assert FUNCTIONS[0x1400 + 8 * byte + bit] == alarm.name
    assert len(set(FUNCTIONS.values())) == len(FUNCTIONS) == 70


@pytest.mark.parametrize(
    ("device", "board"),
    [
        ("BMS16S200A-SP05B", 200),
        ("SG16S200A-SP57B-A", 200),
        ("SG16S300A-SP57B-A", 300),
        ("16S100A", 100),
        ("8S50A X", 50),
        ("BMS16S1200A", None),
        ("BMS16S200AH", None),
        ("BMS16S5A", None),
        ("SP57B-A", None),
        ("", None),
    ],
)
def test_the_board_is_told_by_its_name(device: str, board: int | None) -> None:
    assert board_of(device) == board


@pytest.mark.parametrize(
    ("board", "divisor"), [(None, 100), (0, 100), (299, 100), (300, 10), (400, 10)]
)
def test_boards_of_300_a_and_more_count_in_tenths(
    board: int | None, divisor: int
) -> None:
    assert current_divisor(board) == divisor


@given(st.integers(1, 16), st.floats(2.0, 4.2))
def test_cells_are_counted_by_their_mean(cells: int, mean: float) -> None:
    assert count_cells(round(cells * mean, 2), round(mean, 3)) == cells


@pytest.mark.parametrize(
    ("voltage", "mean"), [(52.8, 0.0), (0.0, 3.3), (1.6, 3.3), (54.5, 3.3), (0.0, 0.0)]
)
def test_absurd_numbers_of_cells_are_none(voltage: float, mean: float) -> None:
    assert count_cells(voltage, mean) is None


@pytest.mark.parametrize(
    ("temperatures", "sensors"),
    [
        ((0.0,) * 8, 4),
        ((-0.1, *(0.0,) * 7), 1),
        ((21.0, 0.0, 21.0, *(0.0,) * 5), 3),
        ((21.0,) * 8, 8),
        ((), 4),
    ],
)
def test_sensors_are_counted_by_the_last_that_tells_anything(
    temperatures: tuple[float, ...], sensors: int
) -> None:
    assert count_sensors(temperatures) == sensors


def words(*values: int) -> tuple[int, int, int, int]:
    """Return registers of bytes."""
    first, second, third, fourth = (
        values[at] << 8 | values[at + 1] for at in range(0, 8, 2)
    )
    return first, second, third, fourth


@given(st.datetimes(min_value=datetime(1, 1, 1)))  # noqa: DTZ001
def test_any_time_on_the_clock_is_understood(time: datetime) -> None:
    time = time.replace(microsecond=0)
    data = (time.year & 0xFF, time.year >> 8, *time.timetuple()[1:6], 0)
    assert clock_time(words(*data)) == time


@pytest.mark.parametrize(
    "data",
    [
        (0,) * 8,
        (0xFF,) * 8,
        (0xE8, 7, 13, 1, 0, 0, 0, 0),
        (0xE8, 7, 2, 30, 0, 0, 0, 0),
        (0xE8, 7, 2, 28, 24, 0, 0, 0),
    ],
)
def test_an_impossible_time_is_none(data: tuple[int, ...]) -> None:
    assert clock_time(words(*data)) is None


def test_counts_are_told_by_the_first_parameters() -> None:
    assert decode_table(COUNTS, bytes((0, 4, 0, 15))) == {"sensors": 4, "cells": 15}


# A Reading of the values


def values(**changes: Any) -> dict[str, Any]:
    """Return what three tables tell of some pack, with changes."""
    return {
        "voltage": 52.8,
        "current_counts": -1234,
        "remaining_capacity": 100.0,
        "full_capacity": 200.0,
        "total_discharge": 120,
        "soc": 50.0,
        "soh": 99.0,
        "cycles": 7,
        "highest_cell_reported": 3.301,
        "lowest_cell_reported": 3.299,
        "highest_temperature_reported": 23.0,
        "lowest_temperature_reported": 21.0,
        "allowed_discharge_current": 180,
        "allowed_charge_current": 170,
        "cell_voltages": tuple((3300 + n) / 1000 for n in range(16)),
        "cell_temperatures": (21.0, 0.0, 22.0, 23.0, 0.0, 0.0, 0.0, 0.0),
        "ambient_temperature": 24.0,
        "mosfet_temperature": 25.0,
        "coils": bytes(18),
    } | changes


def pack(**facts: Any) -> Identity:
    """Return who a pack is."""
    return Identity(
        **{"address": 0, "serial": None, "model": "", "model_code": ""} | facts
    )


@pytest.mark.parametrize("cells", [None, 1, 7, 8, 15, 16])
def test_a_reading_has_the_cells_that_the_pack_has(cells: int | None) -> None:
    reading = make_reading(values(), pack(cells=cells))
    assert reading.cell_voltages == tuple((3300 + n) / 1000 for n in range(cells or 16))


@pytest.mark.parametrize(
    ("sensors", "temperatures"),
    [
        (None, (21.0, 0.0, 22.0, 23.0)),
        (2, (21.0, 0.0)),
        (6, (21.0, 0.0, 22.0, 23.0, 0.0, 0.0)),
    ],
)
def test_known_sensors_may_be_at_zero_degrees(
    sensors: int | None, temperatures: tuple[float, ...]
) -> None:
    reading = make_reading(values(), pack(sensors=sensors))
    assert reading.cell_temperatures == temperatures


def test_where_sensors_are_guessed_zero_degrees_are_a_missing_one() -> None:
    told = make_reading(values(), pack(sensors=4), guess_sensors=True)
    assert told.cell_temperatures == (21.0, None, 22.0, 23.0)
    assert told.lowest_cell_temperature == 21.0


@pytest.mark.parametrize("which", ["highest", "lowest"])
def test_zero_degrees_that_the_pack_tells_too_are_believed(which: str) -> None:
    cold = values(**{f"{which}_temperature_reported": 0.0})
    told = make_reading(cold, pack(sensors=4), guess_sensors=True)
    assert told.cell_temperatures == (21.0, 0.0, 22.0, 23.0)


@pytest.mark.parametrize(
    ("board", "divisor", "current"),
    [
        (None, None, -12.34),
        (200, None, -12.34),
        (300, None, -123.4),
        (300, 100, -12.34),
        (200, 10, -123.4),
    ],
)
def test_the_current_is_scaled_by_the_board_or_by_a_person(
    board: int | None, divisor: int | None, current: float
) -> None:
    reading = make_reading(values(), pack(board=board), divisor=divisor)
    assert reading.current == current
    assert reading.power == round(52.8 * current, 2)


def test_no_current_has_no_sign() -> None:
    assert str(make_reading(values(current_counts=0), pack()).current) == "0.0"
