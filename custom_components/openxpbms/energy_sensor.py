"""Sensors of energy and of the time left, of batteries and of their bank."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from math import floor
from typing import TYPE_CHECKING, Any

from homeassistant.components.sensor import (
    SensorDeviceClass,
    SensorEntity,
    SensorEntityDescription,
    SensorStateClass,
)
from homeassistant.const import EntityCategory, UnitOfEnergy, UnitOfPower, UnitOfTime

from .bank_sensor import BankSensor
from .bms.energy import HOUR
from .const import FAMILY_VALENCE
from .entity import BatteryEntity
from .whole_bank import BANK, believed

if TYPE_CHECKING:
    from .bms.energy import EnergyCounter
    from .bms.rounds import Battery
    from .bms.time_left import TimeLeft
    from .bms.totals import Part, Totals
    from .coordinator import OpenXPBMSCoordinator


@dataclass(frozen=True, kw_only=True)
class CountedDescription(SensorEntityDescription):
    """What is counted of a battery or a bank."""

    value: Callable[[EnergyCounter], float]


@dataclass(frozen=True, kw_only=True)
class LeftDescription(SensorEntityDescription):
    """The min left of what a battery or a bank holds."""

    value: Callable[[TimeLeft, Part | Totals], int | None]


def _energy(key: str, value: Callable[[EnergyCounter], float]) -> CountedDescription:
    # Rounded down: what is shown is never more than what was saved.
    return CountedDescription(
        key=key,
        translation_key=key,
        value=lambda counter: floor(value(counter)) / 1000,
        device_class=SensorDeviceClass.ENERGY,
        native_unit_of_measurement=UnitOfEnergy.KILO_WATT_HOUR,
        suggested_display_precision=2,
        state_class=SensorStateClass.TOTAL_INCREASING,
    )


def _left(
    key: str, value: Callable[[TimeLeft, Part | Totals], int | None]
) -> LeftDescription:
    return LeftDescription(
        key=key,
        translation_key=key,
        value=value,
        device_class=SensorDeviceClass.DURATION,
        native_unit_of_measurement=UnitOfTime.MINUTES,
        suggested_unit_of_measurement=UnitOfTime.HOURS,
        suggested_display_precision=1,
        state_class=SensorStateClass.MEASUREMENT,
    )


def _to_empty(left: TimeLeft, holds: Part | Totals) -> int | None:
    if holds.remaining is None or holds.full is None:
        return None
    return left.to_empty(holds.remaining, holds.full)


def _to_full(left: TimeLeft, holds: Part | Totals) -> int | None:
    if holds.room is None or holds.full is None:
        return None
    return left.to_full(holds.room, holds.full)


COUNTED = (
    _energy("energy_charged", lambda counter: counter.charged),
    _energy("energy_discharged", lambda counter: counter.discharged),
    CountedDescription(
        key="energy_uncounted",
        translation_key="energy_uncounted",
        value=lambda counter: floor(100 * counter.uncounted / HOUR) / 100,
        device_class=SensorDeviceClass.DURATION,
        native_unit_of_measurement=UnitOfTime.HOURS,
        suggested_display_precision=2,
        state_class=SensorStateClass.TOTAL_INCREASING,
        entity_category=EntityCategory.DIAGNOSTIC,
    ),
)
# The dashboard counts what a battery delivers as positive.
DASHBOARD_POWER = SensorEntityDescription(
    key="energy_dashboard_power",
    translation_key="energy_dashboard_power",
    device_class=SensorDeviceClass.POWER,
    native_unit_of_measurement=UnitOfPower.WATT,
    suggested_display_precision=1,
    state_class=SensorStateClass.MEASUREMENT,
    entity_registry_enabled_default=False,
)
LEFT = (_left("time_to_empty", _to_empty), _left("time_to_full", _to_full))


def energy_sensors(
    coordinator: OpenXPBMSCoordinator, battery: Battery
) -> Iterator[SensorEntity]:
    """Yield those of a battery."""
    for counted in COUNTED:
        yield CountedSensor(coordinator, battery, counted)
    for left in LEFT:
        yield LeftSensor(coordinator, battery, left)
    yield DashboardPowerSensor(coordinator, battery, DASHBOARD_POWER)


def bank_energy_sensors(coordinator: OpenXPBMSCoordinator) -> Iterator[SensorEntity]:
    """Yield those of the bank."""
    for counted in COUNTED:
        yield BankCountedSensor(coordinator, counted)
    for left in LEFT:
        yield BankLeftSensor(coordinator, left)


class CountedSensor(BatteryEntity, SensorEntity):
    """What is counted of a battery; there while it is silent, too."""

    entity_description: CountedDescription

    async def async_added_to_hass(self) -> None:
        """Follow what is saved."""
        await super().async_added_to_hass()
        energy = self.coordinator.energy
        self.async_on_remove(energy.async_add_listener(self._handle_coordinator_update))

    def _state(self) -> tuple[Any, ...]:
        return self.available, self.native_value

    @property
    def available(self) -> bool:
        """Whether it is settled which way the current counts."""
        return self.coordinator.whole.signed

    @property
    def native_value(self) -> float:
        """What was counted until it was last saved."""
        key = self.coordinator.key_of(self.battery)
        return self.entity_description.value(self.coordinator.energy.shown(key))


class BankCountedSensor(BankSensor):
    """What is counted of the bank."""

    entity_description: CountedDescription

    async def async_added_to_hass(self) -> None:
        """Follow what is saved."""
        await super().async_added_to_hass()
        energy = self.coordinator.energy
        self.async_on_remove(energy.async_add_listener(self._handle_coordinator_update))

    @property
    def available(self) -> bool:
        """Whether it is settled which way the current counts."""
        return self.coordinator.whole.signed

    @property
    def native_value(self) -> float:
        """What was counted until it was last saved."""
        return self.entity_description.value(self.coordinator.energy.shown(BANK))


class DashboardPowerSensor(BatteryEntity, SensorEntity):
    """The power of a battery, positive while it discharges."""

    def _state(self) -> tuple[Any, ...]:
        return self.available, self.native_value

    @property
    def available(self) -> bool:
        """Whether this battery answered in the last round."""
        return super().available and self.native_value is not None

    @property
    def native_value(self) -> float | None:
        """W of the last round."""
        reading = self.battery.reading
        power = None if reading is None else believed(reading).power
        return None if power is None else 0.0 - power

    @property
    def extra_state_attributes(self) -> dict[str, Any]:
        """Mark a sign that nobody has confirmed."""
        if self.coordinator.family_name != FAMILY_VALENCE:
            return {}
        return {"direction_confirmed": self.coordinator.current_confirmed}


class LeftSensor(BatteryEntity, SensorEntity):
    """How long a battery lasts; unknown while its current is too small to tell."""

    entity_description: LeftDescription

    def _state(self) -> tuple[Any, ...]:
        return self.available, self.native_value

    @property
    def available(self) -> bool:
        """Whether it is known what is left in it, and which way the current counts."""
        whole = self.coordinator.whole
        known = whole.part(self.battery).room is not None
        return super().available and known and whole.signed

    @property
    def native_value(self) -> int | None:
        """By what it holds now, and its current of the last minutes."""
        whole = self.coordinator.whole
        left = whole.time_left(self.coordinator.key_of(self.battery))
        return self.entity_description.value(left, whole.part(self.battery))


class BankLeftSensor(BankSensor):
    """How long the bank lasts."""

    entity_description: LeftDescription

    @property
    def available(self) -> bool:
        """Whether it is known what is left in it, and which way the current counts."""
        known = self._totals.room is not None and self.coordinator.whole.signed
        return self.coordinator.last_update_success and known

    @property
    def native_value(self) -> int | None:
        """By what it holds now, and its current of the last minutes."""
        left = self.coordinator.whole.time_left(BANK)
        return self.entity_description.value(left, self._totals)
