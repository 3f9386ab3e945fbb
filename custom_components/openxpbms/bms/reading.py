"""What any battery can report, in SI units, whole and frozen.

`None` stands where a family has no such quantity. Current and power are positive while
charging. Cells and sensors are in order; their numbers, as people say them, start at 1.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """Who a battery is.

    `address` on the bus; `serial` as printed on the case, or None where the battery
    tells none; `model` as sold; `model_code` what the battery itself calls its model;
    `revision` of its electronics, `firmware` in them; `cells` in series, None while
    that is not known; `sensors` of cell temperature; `board` the current in A that its
    electronics are built for; `key` what keeps it apart, where that is not the serial
    number.
    """

    address: int
    serial: str | None
    model: str
    model_code: str
    revision: int | None = None
    cells: int | None = None
    firmware: str | None = None
    sensors: int | None = None
    board: int | None = None
    key: str | None = None


class Level(StrEnum):
    """How serious an alarm is: the battery warns, or it has switched off."""

    ALARM = "alarm"
    PROTECTION = "protection"


class Group(StrEnum):
    """What an alarm is about."""

    VOLTAGE = "voltage"
    TEMPERATURE = "temperature"
    CURRENT = "current"
    SOC = "soc"
    HARDWARE = "hardware"
    LOCK = "lock"


@dataclass(frozen=True, slots=True)
class Alarm:
    """Trouble that a battery itself tells of.

    `number` is the cell or sensor that it is about, from 1.
    """

    name: str
    group: Group
    level: Level = Level.ALARM
    number: int | None = None


class State(StrEnum):
    """What a battery says that it is doing."""

    DISCHARGING = "discharging"
    CHARGING = "charging"
    FLOAT_CHARGING = "float_charging"
    FULL = "full"
    STANDBY = "standby"
    OFF = "off"


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """One round's values of one battery.

    V, A, %, °C, Ah. `highest_cell_reported` and `lowest_cell_reported` are the
    battery's own figures, kept beside its cells to judge them by. In
    `cell_temperatures` None stands for a sensor that is missing. `balancing` holds the
    numbers of the cells being bled, `status` the battery's raw status word, `coils` its
    raw status bits in the order of the wire and `unknown_coils` those among them that
    are set and that nobody knows.
    """

    voltage: float | None = None
    current: float | None = None
    soc: float | None = None
    cell_voltages: tuple[float, ...] | None = None
    cell_temperatures: tuple[float | None, ...] | None = None
    pcb_temperature: float | None = None
    mosfet_temperature: float | None = None
    ambient_temperature: float | None = None
    soh: float | None = None
    cycles: int | None = None
    remaining_capacity: float | None = None
    full_capacity: float | None = None
    total_discharge: float | None = None
    allowed_charge_current: float | None = None
    allowed_discharge_current: float | None = None
    highest_cell_reported: float | None = None
    lowest_cell_reported: float | None = None
    balancing: tuple[int, ...] | None = None
    balancing_active: bool | None = None
    state: State | None = None
    charging: bool | None = None
    discharging: bool | None = None
    charge_mosfet: bool | None = None
    discharge_mosfet: bool | None = None
    current_limiting: bool | None = None
    heater: bool | None = None
    status: int | None = None
    coils: bytes | None = None
    unknown_coils: tuple[int, ...] | None = None
    alarms: tuple[Alarm, ...] | None = None

    def as_dict(self) -> dict[str, Any]:
        """Return it as diagnostics and recordings tell it, fit for JSON."""
        return {
            **asdict(self),
            "coils": None if self.coils is None else self.coils.hex(" "),
            "unknown_coils": [f"0x{coil:04X}" for coil in self.unknown_coils or ()],
        }

    @property
    def power(self) -> float | None:
        """W, positive while charging."""
        if self.voltage is None or self.current is None:
            return None
        return round(self.voltage * self.current, 2)

    @property
    def lowest_cell_voltage(self) -> float | None:
        """V."""
        return min(self.cell_voltages) if self.cell_voltages else None

    @property
    def highest_cell_voltage(self) -> float | None:
        """V."""
        return max(self.cell_voltages) if self.cell_voltages else None

    @property
    def mean_cell_voltage(self) -> float | None:
        """V, rounded to 0.1 mV."""
        if not self.cell_voltages:
            return None
        return round(sum(self.cell_voltages) / len(self.cell_voltages), 4)

    @property
    def cell_delta(self) -> float | None:
        """Highest minus lowest cell, V."""
        if not self.cell_voltages:
            return None
        return round(max(self.cell_voltages) - min(self.cell_voltages), 4)

    @property
    def lowest_cell(self) -> int | None:
        """Number of the lowest cell; the first one where several are equal."""
        if not self.cell_voltages:
            return None
        return self.cell_voltages.index(min(self.cell_voltages)) + 1

    @property
    def highest_cell(self) -> int | None:
        """Number of the highest cell; the first one where several are equal."""
        if not self.cell_voltages:
            return None
        return self.cell_voltages.index(max(self.cell_voltages)) + 1

    @property
    def lowest_cell_temperature(self) -> float | None:
        """°C."""
        return min(self._fitted, default=None)

    @property
    def highest_cell_temperature(self) -> float | None:
        """°C."""
        return max(self._fitted, default=None)

    @property
    def _fitted(self) -> list[float]:
        return [t for t in self.cell_temperatures or () if t is not None]


@dataclass(frozen=True, slots=True, kw_only=True)
class History:
    """What a battery remembers of its life: V, A, °C, Wh, s and plain counts."""

    cycles: int | None = None
    highest_temperature: float | None = None
    lowest_temperature: float | None = None
    highest_cell_voltage: float | None = None
    lowest_cell_voltage: float | None = None
    highest_charge_current: float | None = None
    highest_discharge_current: float | None = None
    energy: int | None = None
    over_voltage_time: int | None = None
    under_voltage_time: int | None = None
    over_temperature_time: int | None = None
    under_temperature_time: int | None = None
    charge_over_current_time: int | None = None
    discharge_over_current_time: int | None = None
    over_temperature_count: int | None = None
    under_temperature_count: int | None = None
    high_output_count: int | None = None
    balance_count: int | None = None
    charge_cutoff_count: int | None = None
    discharge_cutoff_count: int | None = None
    communication_error_count: int | None = None
    reset_count: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """How a battery is set, read slowly.

    `parameters` by name in their own units, `functions` by name whether they are
    enabled, `clock` as the battery shows it, which knows no time zone.
    """

    parameters: Mapping[str, float] | None = field(default=None, hash=False)
    functions: Mapping[str, bool] | None = field(default=None, hash=False)
    clock: datetime | None = None
