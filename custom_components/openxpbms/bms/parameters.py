"""The parameters of a Seplos V3 pack, its table SPA.

Names are those of the console and the vendor's tool, where they have one. Units are
those of the maker's papers; the console takes 131A and 1320 for seconds.
"""

from __future__ import annotations

from .registers import Field
from .seplos_tables import ZERO_CELSIUS

_VOLTS = {"unit": "V", "divisor": 100}
_CELL_VOLTS = {"unit": "V", "divisor": 1000}
_AMPERES = {"unit": "A", "signed": True}
_TENTHS_OF_SECONDS = {"unit": "s", "divisor": 10}
_PERCENT = {"unit": "%", "divisor": 10}
_AMPERE_HOURS = {"unit": "Ah", "divisor": 100}
_CELSIUS = {"unit": "°C", "offset": -ZERO_CELSIUS, "divisor": 10}


def _run(first: int, scale: dict[str, object], *names: str) -> list[Field]:
    """Return the fields of neighbouring registers that count alike."""
    return [
        Field(name=name, register=register, **scale)  # type: ignore[arg-type]
        for register, name in enumerate(names, first)
    ]


PARAMETERS: tuple[Field, ...] = (
    *_run(0x1300, {}, "number_of_temperature_sensors", "number_of_cells"),
    *_run(
        0x1302,
        _VOLTS,
        "battery_high_voltage_recovery",
        "battery_high_voltage_alarm",
        "battery_over_voltage_recovery",
        "battery_over_voltage_protection",
        "battery_low_voltage_recovery",
        "battery_low_voltage_alarm",
        "battery_under_voltage_recovery",
        "battery_under_voltage_protection",
    ),
    *_run(
        0x130A,
        _CELL_VOLTS,
        "cell_high_voltage_recovery",
        "cell_high_voltage_alarm",
        "cell_over_voltage_recovery",
        "cell_over_voltage_protection",
        "cell_low_voltage_recovery",
        "cell_low_voltage_alarm",
        "cell_under_voltage_recovery",
        "cell_under_voltage_protection",
        "cell_under_voltage_failure",
        "cell_diff_pressure_protection",
        "diff_pressure_protection_recovery",
    ),
    *_run(
        0x1315,
        _AMPERES,
        "charge_over_current_recovery",
        "charge_over_current_alarm",
        "charge_over_current_protection",
    ),
    *_run(0x1318, _TENTHS_OF_SECONDS, "charge_over_current_delay"),
    *_run(0x1319, _AMPERES, "secondary_charge_over_current_protection"),
    *_run(0x131A, {"unit": "ms"}, "secondary_charge_over_current_delay"),
    *_run(
        0x131B,
        _AMPERES,
        "discharge_over_current_recovery",
        "discharge_over_current_alarm",
        "discharge_over_current_protection",
    ),
    *_run(0x131E, _TENTHS_OF_SECONDS, "discharge_over_current_delay"),
    *_run(0x131F, _AMPERES, "secondary_discharge_over_current_protection"),
    *_run(0x1320, {"unit": "ms"}, "secondary_discharge_over_current_delay"),
    *_run(0x1321, _AMPERES, "short_circuit_protection"),
    *_run(0x1322, {"unit": "µs"}, "short_circuit_delay"),
    *_run(0x1323, _TENTHS_OF_SECONDS, "over_current_recovery_delay"),
    *_run(0x1324, {}, "number_of_over_current_lock_times"),
    *_run(0x1325, _TENTHS_OF_SECONDS, "charge_current_limiting_time"),
    *_run(0x1326, _AMPERES, "pulse_current_limiting_current"),
    *_run(0x1327, _TENTHS_OF_SECONDS, "pulse_current_limiting_time"),
    *_run(0x1328, _CELL_VOLTS, "float_lock_voltage", "float_recovery_voltage"),
    *_run(0x132A, {"unit": "mA", "signed": True}, "float_lock_current"),
    *_run(
        0x132B,
        _PERCENT,
        "precharge_ratio_short_circuit",
        "precharge_ratio_normal",
        "precharge_ratio_abnormal",
    ),
    *_run(0x132E, _TENTHS_OF_SECONDS, "precharge_over_time"),
    *_run(
        0x132F,
        _CELSIUS,
        "charge_high_temperature_recovery",
        "charge_high_temperature_alarm",
        "charge_over_temperature_recovery",
        "charge_over_temperature_protection",
        "charge_low_temperature_recovery",
        "charge_low_temperature_alarm",
        "charge_under_temperature_recovery",
        "charge_under_temperature_protection",
        "discharge_high_temperature_recovery",
        "discharge_high_temperature_alarm",
        "discharge_over_temperature_recovery",
        "discharge_over_temperature_protection",
        "discharge_low_temperature_recovery",
        "discharge_low_temperature_alarm",
        "discharge_under_temperature_recovery",
        "discharge_under_temperature_protection",
        "high_ambient_temperature_recovery",
        "high_ambient_temperature_alarm",
        "over_ambient_temperature_recovery",
        "over_ambient_temperature_protection",
        "low_ambient_temperature_recovery",
        "low_ambient_temperature_alarm",
        "under_ambient_temperature_recovery",
        "under_ambient_temperature_protection",
        "power_high_temperature_recovery",
        "power_high_temperature_alarm",
        "power_over_temperature_recovery",
        "power_over_temperature_protection",
        "temperature_regulate_stop",
        "temperature_regulate_open",
        "equalization_high_temperature_prohibition",
        "equalization_low_temperature_prohibition",
    ),
    *_run(0x134F, {"unit": "h"}, "static_equalization_timing"),
    *_run(
        0x1350,
        _CELL_VOLTS,
        "equalization_open_voltage",
        "equalization_open_difference_pressure",
        "equalization_stop_difference_pressure",
    ),
    *_run(
        0x1353,
        _PERCENT,
        "power_supply_soc",
        "soc_low_recovery",
        "soc_low_alarm",
        "soc_protection_recovery",
        "soc_low_protection",
    ),
    *_run(
        0x1358,
        _AMPERE_HOURS,
        "rated_battery_capacity",
        "total_battery_capacity",
        "remaining_battery_capacity",
    ),
    *_run(0x135B, {"unit": "h"}, "standby_time"),
    *_run(0x135C, _TENTHS_OF_SECONDS, "forced_output_delay"),
    *_run(0x135D, {"unit": "min"}, "forced_output_interval"),
    *_run(
        0x135E,
        {},
        "number_of_forced_output_times",
        "compensation_site_1",
        # In mOhm or a tenth of it: papers differ, and it was 0 wherever it was seen.
        "compensation_site_1_resistance",
        "compensation_site_2",
        "compensation_site_2_resistance",
    ),
    *_run(
        0x1363,
        {"unit": "mV"},
        "cell_diff_pressure_alarm",
        "diff_pressure_alarm_recovery",
    ),
    *_run(0x1365, _VOLTS, "charging_request_voltage"),
    *_run(0x1366, _AMPERES, "charging_request_current", "discharge_request_current"),
    # Known to the vendor's tool alone (APP).
    *_run(0x1368, {}, "inverter_protocol", "current_sensor_correction"),
)
