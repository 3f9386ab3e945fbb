"""What any battery can report, in SI units, whole and frozen.

`None` stands where a family has no such quantity. Current and power are positive while
charging. Cells and sensors are in order; their numbers, as people say them, start at 1.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """Who a battery is.

    `address` on the bus; `serial` as printed on the case, or None where the battery
    tells none; `model` as sold; `model_code` what the battery itself calls its model;
    `revision` of its electronics; `cells` in series, None while that is not known.
    """

    address: int
    serial: str | None
    model: str
    model_code: str
    revision: int
    cells: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """One round's values of one battery.

    V, A, %, °C. `highest_cell_reported` and `lowest_cell_reported` are the battery's
    own figures, kept beside its cells to judge them by. `balancing` holds the numbers
    of the cells being bled, `status` the battery's raw status word and `alarms` the
    names of its bits that tell of trouble.
    """

    voltage: float | None = None
    current: float | None = None
    soc: float | None = None
    cell_voltages: tuple[float, ...] | None = None
    cell_temperatures: tuple[float, ...] | None = None
    pcb_temperature: float | None = None
    highest_cell_reported: float | None = None
    lowest_cell_reported: float | None = None
    balancing: tuple[int, ...] | None = None
    balancing_active: bool | None = None
    status: int | None = None
    alarms: tuple[str, ...] | None = None

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
        return min(self.cell_temperatures) if self.cell_temperatures else None

    @property
    def highest_cell_temperature(self) -> float | None:
        """°C."""
        return max(self.cell_temperatures) if self.cell_temperatures else None


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
