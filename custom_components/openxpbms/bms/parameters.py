"""The parameters of a Seplos V3 pack, its table SPA, and what may be written there.

Names are those of the console and the vendor's tool, where they have one. Units are
those of the maker's papers; the console takes 131A and 1320 for seconds. No source
tells a minimum or maximum: the ranges are proposals of the dossier (2.4), for 16 LFP
cells.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from .registers import Field
from .seplos_tables import ZERO_CELSIUS


class Access(StrEnum):
    """What a parameter is, and so whether it is ever written."""

    TUNING = "tuning"
    PROTECTION = "protection"
    CAPACITY = "capacity"
    UNDOCUMENTED = "undocumented"
    STRUCTURE = "structure"
    COUNTER = "counter"


WRITABLE = frozenset({Access.TUNING, Access.PROTECTION, Access.CAPACITY})


class Topic(StrEnum):
    """What a parameter is about: how people find it."""

    PACK_VOLTAGE = "pack_voltage"
    CELL_VOLTAGE = "cell_voltage"
    CELL_SPREAD = "cell_spread"
    CHARGE_CURRENT = "charge_current"
    DISCHARGE_CURRENT = "discharge_current"
    CHARGE_TEMPERATURE = "charge_temperature"
    DISCHARGE_TEMPERATURE = "discharge_temperature"
    AMBIENT_TEMPERATURE = "ambient_temperature"
    MOSFET_TEMPERATURE = "mosfet_temperature"
    HEATER = "heater"
    BALANCING = "balancing"
    STATE_OF_CHARGE = "state_of_charge"
    CAPACITY = "capacity"
    INVERTER_REQUESTS = "inverter_requests"
    FORCED_OUTPUT = "forced_output"
    OTHER = "other"


@dataclass(frozen=True, slots=True, kw_only=True)
class Parameter:
    """A register of SPA and what may be written into it.

    `low` and `high` are in the field's unit, for 16 cells, and both None where nothing
    is ever written. If one is None the range is open at that end, away from zero: it
    reaches to `board_percent` of the board's rated current or to what the pack came
    with, whichever is more; with 0 % to what it came with.
    """

    field: Field
    access: Access
    topic: Topic
    low: float | None = None
    high: float | None = None
    board_percent: int = 0

    @property
    def name(self) -> str:
        """The field's."""
        return self.field.name

    @property
    def writable(self) -> bool:
        """Whether it may be written at all."""
        return self.access in WRITABLE

    @property
    def of_pack(self) -> bool:
        """Whether it is the voltage of all cells, so that its range goes with them."""
        return self.field.unit == "V" and self.field.divisor == _VOLTS["divisor"]

    @property
    def outward(self) -> int:
        """The sign of the open end of its range, 0 where both ends are fixed."""
        return (self.high is None) - (self.low is None)


_Row = tuple[str, Access] | tuple[str, Access, float | None, float | None]

_T = Access.TUNING
_P = Access.PROTECTION
_X = Access.UNDOCUMENTED
_S = Access.STRUCTURE

_VOLTS = {"unit": "V", "divisor": 100}
_CELL_VOLTS = {"unit": "V", "divisor": 1000}
_MILLIVOLTS = {"unit": "mV"}
_AMPERES = {"unit": "A", "signed": True}
_TENTHS_OF_SECONDS = {"unit": "s", "divisor": 10}
_MILLISECONDS = {"unit": "ms"}
_HOURS = {"unit": "h"}
_PERCENT = {"unit": "%", "divisor": 10}
_AMPERE_HOURS = {"unit": "Ah", "divisor": 100}
_CELSIUS = {"unit": "°C", "offset": -ZERO_CELSIUS, "divisor": 10}


def _run(
    first: int, topic: Topic, scale: dict[str, Any], *rows: _Row, board_percent: int = 0
) -> list[Parameter]:
    """Return neighbouring registers of one topic that count alike."""
    return [
        Parameter(
            field=Field(name=row[0], register=register, **scale),
            access=row[1],
            topic=topic,
            low=row[2] if len(row) == 4 else None,
            high=row[3] if len(row) == 4 else None,
            board_percent=board_percent,
        )
        for register, row in enumerate(rows, first)
    ]


SPA_PARAMETERS: tuple[Parameter, ...] = (
    *_run(
        0x1300,
        Topic.OTHER,
        {},
        ("number_of_temperature_sensors", _S),
        ("number_of_cells", _S),
    ),
    *_run(
        0x1302,
        Topic.PACK_VOLTAGE,
        _VOLTS,
        ("battery_high_voltage_recovery", _P, 48.0, 58.4),
        ("battery_high_voltage_alarm", _P, 48.0, 58.4),
        ("battery_over_voltage_recovery", _P, 48.0, 58.4),
        ("battery_over_voltage_protection", _P, 51.2, 58.4),
        ("battery_low_voltage_recovery", _P, 40.0, 52.8),
        ("battery_low_voltage_alarm", _P, 40.0, 51.2),
        ("battery_under_voltage_recovery", _P, 40.0, 52.8),
        ("battery_under_voltage_protection", _P, 40.0, 51.2),
    ),
    *_run(
        0x130A,
        Topic.CELL_VOLTAGE,
        _CELL_VOLTS,
        ("cell_high_voltage_recovery", _P, 3.0, 3.65),
        ("cell_high_voltage_alarm", _P, 3.2, 3.65),
        ("cell_over_voltage_recovery", _P, 3.0, 3.6),
        ("cell_over_voltage_protection", _P, 3.3, 3.65),
        ("cell_low_voltage_recovery", _P, 2.5, 3.3),
        ("cell_low_voltage_alarm", _P, 2.5, 3.2),
        ("cell_under_voltage_recovery", _P, 2.5, 3.3),
        ("cell_under_voltage_protection", _P, 2.5, 3.2),
        ("cell_under_voltage_failure", _P, 1.5, 2.5),
    ),
    *_run(
        0x1313,
        Topic.CELL_SPREAD,
        _CELL_VOLTS,
        ("cell_diff_pressure_protection", _P, 0.1, 1.5),
        ("diff_pressure_protection_recovery", _P, 0.05, 1.4),
    ),
    *_run(
        0x1315,
        Topic.CHARGE_CURRENT,
        _AMPERES,
        ("charge_over_current_recovery", _P, 1, None),
        ("charge_over_current_alarm", _P, 1, None),
        ("charge_over_current_protection", _P, 1, None),
        board_percent=105,
    ),
    *_run(
        0x1318,
        Topic.CHARGE_CURRENT,
        _TENTHS_OF_SECONDS,
        ("charge_over_current_delay", _P, 1.0, 60.0),
    ),
    *_run(
        0x1319,
        Topic.CHARGE_CURRENT,
        _AMPERES,
        ("secondary_charge_over_current_protection", _P, 1, None),
    ),
    *_run(
        0x131A,
        Topic.CHARGE_CURRENT,
        _MILLISECONDS,
        ("secondary_charge_over_current_delay", _P, 50, 500),
    ),
    *_run(
        0x131B,
        Topic.DISCHARGE_CURRENT,
        _AMPERES,
        ("discharge_over_current_recovery", _P, None, -1),
        ("discharge_over_current_alarm", _P, None, -1),
        ("discharge_over_current_protection", _P, None, -1),
        board_percent=105,
    ),
    *_run(
        0x131E,
        Topic.DISCHARGE_CURRENT,
        _TENTHS_OF_SECONDS,
        ("discharge_over_current_delay", _P, 1.0, 60.0),
    ),
    *_run(
        0x131F,
        Topic.DISCHARGE_CURRENT,
        _AMPERES,
        ("secondary_discharge_over_current_protection", _P, None, -1),
    ),
    *_run(
        0x1320,
        Topic.DISCHARGE_CURRENT,
        _MILLISECONDS,
        ("secondary_discharge_over_current_delay", _P, 50, 500),
    ),
    *_run(
        0x1321,
        Topic.DISCHARGE_CURRENT,
        _AMPERES,
        ("short_circuit_protection", _X),
    ),
    *_run(
        0x1322,
        Topic.DISCHARGE_CURRENT,
        {"unit": "µs"},
        ("short_circuit_delay", _X),
    ),
    *_run(
        0x1323,
        Topic.OTHER,
        _TENTHS_OF_SECONDS,
        ("over_current_recovery_delay", _P, 10.0, 600.0),
    ),
    *_run(
        0x1324,
        Topic.OTHER,
        {},
        ("number_of_over_current_lock_times", _P, 1, 10),
    ),
    *_run(
        0x1325,
        Topic.CHARGE_CURRENT,
        _TENTHS_OF_SECONDS,
        ("charge_current_limiting_time", _P, 10.0, 3600.0),
    ),
    *_run(
        0x1326,
        Topic.CHARGE_CURRENT,
        _AMPERES,
        ("pulse_current_limiting_current", _P, 1, None),
        board_percent=105,
    ),
    *_run(
        0x1327,
        Topic.CHARGE_CURRENT,
        _TENTHS_OF_SECONDS,
        ("pulse_current_limiting_time", _P, 0.1, 10.0),
    ),
    *_run(
        0x1328,
        Topic.OTHER,
        _CELL_VOLTS,
        ("float_lock_voltage", _X),
        ("float_recovery_voltage", _X),
    ),
    *_run(
        0x132A,
        Topic.OTHER,
        {"unit": "mA", "signed": True},
        ("float_lock_current", _X),
    ),
    *_run(
        0x132B,
        Topic.OTHER,
        _PERCENT,
        ("precharge_ratio_short_circuit", _X),
        ("precharge_ratio_normal", _X),
        ("precharge_ratio_abnormal", _X),
    ),
    *_run(
        0x132E,
        Topic.OTHER,
        _TENTHS_OF_SECONDS,
        ("precharge_over_time", _P, 1.0, 10.0),
    ),
    *_run(
        0x132F,
        Topic.CHARGE_TEMPERATURE,
        _CELSIUS,
        ("charge_high_temperature_recovery", _P, 20.0, 60.0),
        ("charge_high_temperature_alarm", _P, 25.0, 60.0),
        ("charge_over_temperature_recovery", _P, 20.0, 60.0),
        ("charge_over_temperature_protection", _P, 30.0, 60.0),
        ("charge_low_temperature_recovery", _P, -5.0, 20.0),
        ("charge_low_temperature_alarm", _P, -10.0, 15.0),
        ("charge_under_temperature_recovery", _P, -10.0, 15.0),
        # The factory has -10 °C; LFP cells suffer from charging below 0 °C.
        ("charge_under_temperature_protection", _P, 0.0, 10.0),
    ),
    *_run(
        0x1337,
        Topic.DISCHARGE_TEMPERATURE,
        _CELSIUS,
        ("discharge_high_temperature_recovery", _P, 25.0, 65.0),
        ("discharge_high_temperature_alarm", _P, 30.0, 65.0),
        ("discharge_over_temperature_recovery", _P, 25.0, 65.0),
        ("discharge_over_temperature_protection", _P, 35.0, 65.0),
        ("discharge_low_temperature_recovery", _P, -20.0, 15.0),
        ("discharge_low_temperature_alarm", _P, -25.0, 10.0),
        ("discharge_under_temperature_recovery", _P, -25.0, 10.0),
        ("discharge_under_temperature_protection", _P, -30.0, 5.0),
    ),
    *_run(
        0x133F,
        Topic.AMBIENT_TEMPERATURE,
        _CELSIUS,
        ("high_ambient_temperature_recovery", _P, 20.0, 70.0),
        ("high_ambient_temperature_alarm", _P, 25.0, 70.0),
        ("over_ambient_temperature_recovery", _P, 25.0, 75.0),
        ("over_ambient_temperature_protection", _P, 30.0, 80.0),
        ("low_ambient_temperature_recovery", _P, -25.0, 20.0),
        ("low_ambient_temperature_alarm", _P, -30.0, 15.0),
        ("under_ambient_temperature_recovery", _P, -30.0, 15.0),
        ("under_ambient_temperature_protection", _P, -40.0, 10.0),
    ),
    *_run(
        0x1347,
        Topic.MOSFET_TEMPERATURE,
        _CELSIUS,
        ("power_high_temperature_recovery", _P, 50.0, 95.0),
        ("power_high_temperature_alarm", _P, 55.0, 105.0),
        ("power_over_temperature_recovery", _P, 50.0, 95.0),
        ("power_over_temperature_protection", _P, 60.0, 110.0),
    ),
    *_run(
        0x134B,
        Topic.HEATER,
        _CELSIUS,
        ("temperature_regulate_stop", _T, 0.0, 25.0),
        ("temperature_regulate_open", _T, -20.0, 15.0),
    ),
    *_run(
        0x134D,
        Topic.BALANCING,
        _CELSIUS,
        ("equalization_high_temperature_prohibition", _T, 30.0, 60.0),
        ("equalization_low_temperature_prohibition", _T, -10.0, 15.0),
    ),
    *_run(
        0x134F,
        Topic.BALANCING,
        _HOURS,
        ("static_equalization_timing", _T, 1, 240),
    ),
    *_run(
        0x1350,
        Topic.BALANCING,
        _CELL_VOLTS,
        ("equalization_open_voltage", _T, 3.0, 3.6),
        ("equalization_open_difference_pressure", _T, 0.005, 0.2),
        ("equalization_stop_difference_pressure", _T, 0.003, 0.15),
    ),
    *_run(
        0x1353,
        Topic.STATE_OF_CHARGE,
        _PERCENT,
        ("power_supply_soc", _T, 50.0, 99.0),
        ("soc_low_recovery", _T, 1.0, 60.0),
        ("soc_low_alarm", _T, 0.5, 50.0),
        ("soc_protection_recovery", _T, 0.5, 50.0),
        ("soc_low_protection", _T, 0.0, 40.0),
    ),
    *_run(
        0x1358,
        Topic.CAPACITY,
        _AMPERE_HOURS,
        ("rated_battery_capacity", Access.CAPACITY, 10.0, 655.35),
        ("total_battery_capacity", Access.COUNTER),
        ("remaining_battery_capacity", Access.COUNTER),
    ),
    *_run(
        0x135B,
        Topic.OTHER,
        _HOURS,
        ("standby_time", _T, 1, 720),
    ),
    *_run(
        0x135C,
        Topic.FORCED_OUTPUT,
        _TENTHS_OF_SECONDS,
        ("forced_output_delay", _P, 0.1, 60.0),
    ),
    *_run(
        0x135D,
        Topic.FORCED_OUTPUT,
        {"unit": "min"},
        ("forced_output_interval", _P, 1, 1440),
    ),
    *_run(
        0x135E,
        Topic.FORCED_OUTPUT,
        {},
        ("number_of_forced_output_times", _P, 0, 50),
    ),
    *_run(
        0x135F,
        Topic.OTHER,
        {},
        ("compensation_site_1", _S),
        # In mOhm or a tenth of it: papers differ, and it was 0 wherever it was seen.
        ("compensation_site_1_resistance", _S),
        ("compensation_site_2", _S),
        ("compensation_site_2_resistance", _S),
    ),
    *_run(
        0x1363,
        Topic.CELL_SPREAD,
        _MILLIVOLTS,
        ("cell_diff_pressure_alarm", _P, 30, 1000),
        ("diff_pressure_alarm_recovery", _P, 20, 900),
    ),
    *_run(
        0x1365,
        Topic.INVERTER_REQUESTS,
        _VOLTS,
        ("charging_request_voltage", _T, 48.0, 58.4),
    ),
    *_run(
        0x1366,
        Topic.INVERTER_REQUESTS,
        _AMPERES,
        ("charging_request_current", _T, 0, None),
        ("discharge_request_current", _T, None, 0),
        board_percent=100,
    ),
    *_run(
        0x1368,
        Topic.OTHER,
        {},
        # Known to the vendor's tool alone (APP).
        ("inverter_protocol", _X),
        ("current_sensor_correction", _X),
    ),
)
PARAMETERS: tuple[Field, ...] = tuple(known.field for known in SPA_PARAMETERS)
BY_NAME = {known.name: known for known in SPA_PARAMETERS}
BY_REGISTER = {known.field.register: known for known in SPA_PARAMETERS}
