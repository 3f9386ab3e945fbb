"""Sensors: what a battery measures, how it is set, how well it answers."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from time import monotonic
from typing import TYPE_CHECKING, Any

from homeassistant.components.sensor import (
    SensorDeviceClass,
    SensorEntity,
    SensorEntityDescription,
    SensorStateClass,
)
from homeassistant.const import (
    EntityCategory,
    UnitOfElectricCurrent,
    UnitOfElectricPotential,
    UnitOfRatio,
    UnitOfTemperature,
    UnitOfTime,
)
from homeassistant.core import callback
from homeassistant.util import dt as dt_util

from .bank_sensor import bank_sensors
from .bms.dead_band import DeadBand
from .bms.parameters import PARAMETERS
from .bms.shown import AMPERE_HOURS, OPERATING_STATE, Shown, measures, remembered
from .const import FAMILY_SEPLOS, FAMILY_VALENCE
from .energy_sensor import bank_energy_sensors, energy_sensors
from .entity import BatteryEntity

if TYPE_CHECKING:
    from homeassistant.core import HomeAssistant
    from homeassistant.helpers.entity_platform import AddConfigEntryEntitiesCallback

    from .bms.counters import Counters
    from .bms.reading import Settings
    from .bms.registers import Field
    from .bms.rounds import Battery
    from .bms.shown import Measure, Remembered
    from .coordinator import OpenXPBMSConfigEntry, OpenXPBMSCoordinator

PARALLEL_UPDATES = 0

type Value = float | int | str | datetime | None


@dataclass(frozen=True, kw_only=True)
class ReadingDescription(SensorEntityDescription):
    """A value of the last round."""

    measure: Measure


@dataclass(frozen=True, kw_only=True)
class HistoryDescription(SensorEntityDescription):
    """A value that the battery keeps of its life."""

    remembered: Remembered


@dataclass(frozen=True, kw_only=True)
class SettingDescription(SensorEntityDescription):
    """How the battery is set; `value` is None until that was read."""

    value: Callable[[Settings], Value]


@dataclass(frozen=True, kw_only=True)
class LinkDescription(SensorEntityDescription):
    """How well the battery answers."""

    value: Callable[[Counters], float | None]
    dead_band: float


def _state_class(*, grows: bool) -> SensorStateClass:
    return SensorStateClass.TOTAL_INCREASING if grows else SensorStateClass.MEASUREMENT


def _measured(measure: Measure) -> ReadingDescription:
    return ReadingDescription(
        key=measure.key,
        translation_key=measure.common or measure.key,
        measure=measure,
        device_class=SensorDeviceClass(measure.kind) if measure.kind else None,
        native_unit_of_measurement=measure.unit,
        suggested_display_precision=measure.digits,
        state_class=None if measure.options else _state_class(grows=measure.grows),
        options=list(measure.options) or None,
        entity_category=EntityCategory.DIAGNOSTIC if measure.diagnostic else None,
    )


def _remembered(kept: Remembered) -> HistoryDescription:
    return HistoryDescription(
        key=kept.key,
        translation_key=kept.key,
        remembered=kept,
        device_class=SensorDeviceClass(kept.kind) if kept.kind else None,
        native_unit_of_measurement=kept.unit,
        state_class=_state_class(grows=True) if kept.grows else None,
        entity_category=EntityCategory.DIAGNOSTIC,
        entity_registry_enabled_default=False,
    )


# Units of a table of registers: what they measure, and Home Assistant's name.
_UNITS: dict[str, tuple[SensorDeviceClass | None, str | None]] = {
    "": (None, None),
    "%": (None, UnitOfRatio.PERCENTAGE),
    "A": (SensorDeviceClass.CURRENT, UnitOfElectricCurrent.AMPERE),
    "Ah": (None, AMPERE_HOURS),
    "V": (SensorDeviceClass.VOLTAGE, UnitOfElectricPotential.VOLT),
    "h": (SensorDeviceClass.DURATION, UnitOfTime.HOURS),
    "mA": (SensorDeviceClass.CURRENT, UnitOfElectricCurrent.MILLIAMPERE),
    "mV": (SensorDeviceClass.VOLTAGE, UnitOfElectricPotential.MILLIVOLT),
    "min": (SensorDeviceClass.DURATION, UnitOfTime.MINUTES),
    "ms": (SensorDeviceClass.DURATION, UnitOfTime.MILLISECONDS),
    "s": (SensorDeviceClass.DURATION, UnitOfTime.SECONDS),
    # The micro sign, where Home Assistant has the Greek letter.
    "\u00b5s": (SensorDeviceClass.DURATION, UnitOfTime.MICROSECONDS),
    "°C": (SensorDeviceClass.TEMPERATURE, UnitOfTemperature.CELSIUS),
}


def _parameter(field: Field) -> SettingDescription:
    device_class, unit = _UNITS[field.unit]
    return SettingDescription(
        key=f"parameter_{field.name}",
        translation_key=f"parameter_{field.name}",
        value=lambda settings: (settings.parameters or {}).get(field.name),
        device_class=device_class,
        native_unit_of_measurement=unit,
        suggested_display_precision=len(str(field.divisor)) - 1,
        entity_category=EntityCategory.DIAGNOSTIC,
        entity_registry_enabled_default=False,
    )


def _functions_off(settings: Settings) -> list[str] | None:
    if settings.functions is None:
        return None
    return [name for name, enabled in settings.functions.items() if not enabled]


def _clock(settings: Settings) -> datetime | None:
    """Return the pack's clock, which knows no time zone, as of this house's."""
    if settings.clock is None:
        return None
    return settings.clock.replace(tzinfo=dt_util.get_default_time_zone())


FUNCTIONS_OFF = SettingDescription(
    key="functions_off",
    translation_key="functions_off",
    value=lambda settings: (
        None if (off := _functions_off(settings)) is None else len(off)
    ),
    entity_category=EntityCategory.DIAGNOSTIC,
    entity_registry_enabled_default=False,
)
SETTINGS = (
    *map(_parameter, PARAMETERS),
    SettingDescription(
        key="clock",
        translation_key="clock",
        value=_clock,
        device_class=SensorDeviceClass.TIMESTAMP,
        entity_category=EntityCategory.DIAGNOSTIC,
        entity_registry_enabled_default=False,
    ),
)

LINK = (
    LinkDescription(
        key="link_quality",
        translation_key="link_quality",
        dead_band=1,
        value=lambda counters: counters.quality,
        native_unit_of_measurement=UnitOfRatio.PERCENTAGE,
        suggested_display_precision=0,
        state_class=SensorStateClass.MEASUREMENT,
        entity_category=EntityCategory.DIAGNOSTIC,
        entity_registry_enabled_default=False,
    ),
    LinkDescription(
        key="reply_time",
        translation_key="reply_time",
        dead_band=1,
        value=lambda counters: (
            None
            if counters.median_reply_time is None
            else round(1000 * counters.median_reply_time, 1)
        ),
        device_class=SensorDeviceClass.DURATION,
        native_unit_of_measurement=UnitOfTime.MILLISECONDS,
        suggested_display_precision=1,
        state_class=SensorStateClass.MEASUREMENT,
        entity_category=EntityCategory.DIAGNOSTIC,
        entity_registry_enabled_default=False,
    ),
)


async def async_setup_entry(
    hass: HomeAssistant,
    entry: OpenXPBMSConfigEntry,
    async_add_entities: AddConfigEntryEntitiesCallback,
) -> None:
    """Add the sensors of every battery, also of those heard later."""
    coordinator = entry.runtime_data

    @callback
    def add(battery: Battery) -> None:
        async_add_entities(_sensors(coordinator, battery))

    async_add_entities(bank_sensors(coordinator))
    async_add_entities(bank_energy_sensors(coordinator))
    entry.async_on_unload(coordinator.async_follow(add))


def _sensors(
    coordinator: OpenXPBMSCoordinator, battery: Battery
) -> Iterator[SensorEntity]:
    family, identity = coordinator.family_name, battery.identity
    for measure in measures(family, identity):
        kind = StateSensor if measure is OPERATING_STATE else ReadingSensor
        yield kind(coordinator, battery, _measured(measure))
    for kept in remembered(family, identity):
        yield HistorySensor(coordinator, battery, _remembered(kept))
    if family == FAMILY_SEPLOS and coordinator.asks:
        for setting in SETTINGS:
            yield SettingSensor(coordinator, battery, setting)
        yield FunctionsOff(coordinator, battery, FUNCTIONS_OFF)
    yield from energy_sensors(coordinator, battery)
    if coordinator.asks:
        for link in LINK:
            yield LinkSensor(coordinator, battery, link)


class BatterySensor(BatteryEntity, SensorEntity):
    """A sensor of a battery."""

    @abstractmethod
    def _told(self) -> Value:
        """Return what is told now."""

    def _take(self) -> None:
        self._attr_native_value = self._told()

    def _state(self) -> tuple[Any, ...]:
        return self.available, self.native_value, self.extra_state_attributes


class ReadingSensor(BatterySensor):
    """A value of the last round, gone while the battery is silent."""

    entity_description: ReadingDescription

    def __init__(
        self,
        coordinator: OpenXPBMSCoordinator,
        battery: Battery,
        description: ReadingDescription,
    ) -> None:
        """Number the cell and mark a sign that nobody has confirmed."""
        super().__init__(coordinator, battery, description)
        measure = description.measure
        if measure.cell is not None:
            self._attr_translation_placeholders = {"number": str(measure.cell)}
        if measure.signed_by_current and coordinator.family_name == FAMILY_VALENCE:
            self._attr_extra_state_attributes = {
                "direction_confirmed": coordinator.current_confirmed
            }
        self._shown = Shown(measure)

    @property
    def available(self) -> bool:
        """Whether this battery answered in the last round."""
        return super().available and self.battery.reading is not None

    def _told(self) -> Value:
        return self._shown.take(self.battery.reading, monotonic())


class StateSensor(ReadingSensor):
    """What the battery says that it is doing, and the bits it says it with."""

    # For people who look now; a database would only grow by them.
    _unrecorded_attributes = frozenset({"coils", "unknown"})

    @property
    def extra_state_attributes(self) -> dict[str, Any]:
        """All status bits as they came, and those that nobody knows."""
        reading = self.battery.reading
        if reading is None:
            return {}
        return {
            "coils": (reading.coils or b"").hex(),
            "unknown": [f"0x{coil:04X}" for coil in reading.unknown_coils or ()],
        }


class SlowSensor(BatterySensor):
    """A value that changes slowly and is read every ten minutes."""

    @property
    def available(self) -> bool:
        """Whether the battery answers and has told it."""
        return (
            super().available
            and self.battery.reading is not None
            and self._told() is not None
        )

    async def async_update(self) -> None:
        """Read it in the next round, which somebody has asked for."""
        self.battery.slow_from = 0.0
        await super().async_update()


class HistorySensor(SlowSensor):
    """A value that the battery keeps of its life."""

    entity_description: HistoryDescription

    def _told(self) -> float | None:
        return self.entity_description.remembered.value(self.battery.history)

    def _take(self) -> None:
        kept = self.entity_description.remembered
        self._attr_native_value = kept.told(self.battery.history)


class SettingSensor(SlowSensor):
    """How the battery is set."""

    entity_description: SettingDescription

    def _told(self) -> Value:
        return self.entity_description.value(self.battery.settings)


class FunctionsOff(SettingSensor):
    """How many of its functions the battery has switched off, and which."""

    _unrecorded_attributes = frozenset({"off"})

    @property
    def extra_state_attributes(self) -> dict[str, Any]:
        """The names of the functions."""
        return {"off": _functions_off(self.battery.settings) or []}


class LinkSensor(BatterySensor):
    """How well a battery answers; of most interest when it does not."""

    entity_description: LinkDescription

    def __init__(
        self,
        coordinator: OpenXPBMSCoordinator,
        battery: Battery,
        description: LinkDescription,
    ) -> None:
        """Show nothing yet."""
        super().__init__(coordinator, battery, description)
        self._band = DeadBand[float](description.dead_band)

    @property
    def available(self) -> bool:
        """As long as the entry is loaded."""
        return True

    def _told(self) -> float | None:
        address = self.battery.identity.address
        return self.entity_description.value(self.coordinator.bus.counters_of(address))

    def _take(self) -> None:
        value = self._told()
        apart = (value or 0.0) - (self._band.shown or 0.0)
        self._attr_native_value = self._band.show(value, apart, monotonic())
