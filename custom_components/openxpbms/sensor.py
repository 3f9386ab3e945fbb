"""Sensors: what a battery measures, what it remembers, how well it answers."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
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
    UnitOfEnergy,
    UnitOfPower,
    UnitOfRatio,
    UnitOfTemperature,
    UnitOfTime,
)

from .entity import BatteryEntity

if TYPE_CHECKING:
    from homeassistant.core import HomeAssistant
    from homeassistant.helpers.entity_platform import AddConfigEntryEntitiesCallback

    from .bms.counters import Counters
    from .bms.reading import History, Reading
    from .bms.rounds import Battery
    from .coordinator import OpenXPBMSConfigEntry, OpenXPBMSCoordinator

PARALLEL_UPDATES = 0

type Value = float | int | None


@dataclass(frozen=True, kw_only=True)
class ReadingDescription(SensorEntityDescription):
    """A value of the last round."""

    value: Callable[[Reading], Value]
    cell: int | None = None
    signed_by_current: bool = False


@dataclass(frozen=True, kw_only=True)
class HistoryDescription(SensorEntityDescription):
    """A value that the battery keeps of its life."""

    value: Callable[[History], Value]


@dataclass(frozen=True, kw_only=True)
class LinkDescription(SensorEntityDescription):
    """How well the battery answers."""

    value: Callable[[Counters], Value]


def _measured(
    key: str,
    value: Callable[[Reading], Value],
    device_class: SensorDeviceClass | None,
    unit: str | None,
    precision: int | None,
    **more: Any,
) -> ReadingDescription:
    return ReadingDescription(
        key=key,
        translation_key=more.pop("translation_key", key),
        value=value,
        device_class=device_class,
        native_unit_of_measurement=unit,
        suggested_display_precision=precision,
        state_class=SensorStateClass.MEASUREMENT,
        **more,
    )


def _voltage(
    key: str, value: Callable[[Reading], Value], precision: int = 3, **more: Any
) -> ReadingDescription:
    return _measured(
        key,
        value,
        SensorDeviceClass.VOLTAGE,
        UnitOfElectricPotential.VOLT,
        precision,
        **more,
    )


def _temperature(
    key: str, value: Callable[[Reading], Value], **more: Any
) -> ReadingDescription:
    return _measured(
        key,
        value,
        SensorDeviceClass.TEMPERATURE,
        UnitOfTemperature.CELSIUS,
        1,
        **more,
    )


READINGS = (
    _voltage("voltage", lambda r: r.voltage, 2),
    _measured(
        "current",
        lambda r: r.current,
        SensorDeviceClass.CURRENT,
        UnitOfElectricCurrent.AMPERE,
        2,
        signed_by_current=True,
    ),
    _measured(
        "power",
        lambda r: r.power,
        SensorDeviceClass.POWER,
        UnitOfPower.WATT,
        1,
        signed_by_current=True,
    ),
    _measured(
        "state_of_charge",
        lambda r: r.soc,
        SensorDeviceClass.BATTERY,
        UnitOfRatio.PERCENTAGE,
        1,
    ),
    _voltage("lowest_cell_voltage", lambda r: r.lowest_cell_voltage),
    _voltage("highest_cell_voltage", lambda r: r.highest_cell_voltage),
    _voltage("mean_cell_voltage", lambda r: r.mean_cell_voltage),
    _voltage("cell_delta", lambda r: r.cell_delta),
    _measured("lowest_cell", lambda r: r.lowest_cell, None, None, 0),
    _measured("highest_cell", lambda r: r.highest_cell, None, None, 0),
    _temperature("lowest_cell_temperature", lambda r: r.lowest_cell_temperature),
    _temperature("highest_cell_temperature", lambda r: r.highest_cell_temperature),
    _temperature("pcb_temperature", lambda r: r.pcb_temperature),
)


def _cell(values: tuple[float, ...] | None, cell: int) -> Value:
    return values[cell - 1] if values and cell <= len(values) else None


def _cell_voltage(cell: int) -> ReadingDescription:
    return _voltage(
        f"cell_{cell}_voltage",
        lambda r: _cell(r.cell_voltages, cell),
        translation_key="cell_voltage",
        cell=cell,
        entity_category=EntityCategory.DIAGNOSTIC,
    )


def _cell_temperature(cell: int) -> ReadingDescription:
    return _temperature(
        f"cell_{cell}_temperature",
        lambda r: _cell(r.cell_temperatures, cell),
        translation_key="cell_temperature",
        cell=cell,
        entity_category=EntityCategory.DIAGNOSTIC,
    )


def _remembered(
    key: str,
    device_class: SensorDeviceClass | None = None,
    unit: str | None = None,
    state_class: SensorStateClass | None = SensorStateClass.TOTAL_INCREASING,
    name: str | None = None,
) -> HistoryDescription:
    field = name or key
    return HistoryDescription(
        key=key,
        translation_key=key,
        value=lambda history: getattr(history, field),
        device_class=device_class,
        native_unit_of_measurement=unit,
        state_class=state_class,
        entity_category=EntityCategory.DIAGNOSTIC,
        entity_registry_enabled_default=False,
    )


_EXTREMES = (
    ("highest_temperature", SensorDeviceClass.TEMPERATURE, UnitOfTemperature.CELSIUS),
    ("lowest_temperature", SensorDeviceClass.TEMPERATURE, UnitOfTemperature.CELSIUS),
    (
        "highest_cell_voltage",
        SensorDeviceClass.VOLTAGE,
        UnitOfElectricPotential.VOLT,
    ),
    (
        "lowest_cell_voltage",
        SensorDeviceClass.VOLTAGE,
        UnitOfElectricPotential.VOLT,
    ),
    (
        "highest_charge_current",
        SensorDeviceClass.CURRENT,
        UnitOfElectricCurrent.AMPERE,
    ),
    (
        "highest_discharge_current",
        SensorDeviceClass.CURRENT,
        UnitOfElectricCurrent.AMPERE,
    ),
)
_DURATIONS = (
    "over_voltage_time",
    "under_voltage_time",
    "over_temperature_time",
    "under_temperature_time",
    "charge_over_current_time",
    "discharge_over_current_time",
)
_COUNTS = (
    "over_temperature_count",
    "under_temperature_count",
    "high_output_count",
    "balance_count",
    "charge_cutoff_count",
    "discharge_cutoff_count",
    "communication_error_count",
    "reset_count",
)
HISTORY = (
    _remembered("cycles"),
    *(
        _remembered(f"lifetime_{name}", device_class, unit, None, name)
        for name, device_class, unit in _EXTREMES
    ),
)
HISTORY_REVISION_2 = (
    _remembered("energy", SensorDeviceClass.ENERGY, UnitOfEnergy.WATT_HOUR),
    *(
        _remembered(name, SensorDeviceClass.DURATION, UnitOfTime.SECONDS)
        for name in _DURATIONS
    ),
    *(_remembered(name) for name in _COUNTS),
)
_REVISION_2_EXTREMES = {
    "lifetime_highest_charge_current",
    "lifetime_highest_discharge_current",
}

LINK = (
    LinkDescription(
        key="link_quality",
        translation_key="link_quality",
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
    """Add the sensors of every battery."""
    coordinator = entry.runtime_data
    for battery in coordinator:
        async_add_entities(_sensors(coordinator, battery))


def _sensors(
    coordinator: OpenXPBMSCoordinator, battery: Battery
) -> Iterator[BatterySensor]:
    cells = range(1, (battery.identity.cells or 0) + 1)
    newer = battery.identity.revision > 1
    for reading in (
        *READINGS,
        *map(_cell_voltage, cells),
        *map(_cell_temperature, cells),
    ):
        yield ReadingSensor(coordinator, battery, reading)
    for history in HISTORY + HISTORY_REVISION_2 if newer else HISTORY:
        if newer or history.key not in _REVISION_2_EXTREMES:
            yield HistorySensor(coordinator, battery, history)
    for link in LINK:
        yield LinkSensor(coordinator, battery, link)


class BatterySensor(BatteryEntity, SensorEntity):
    """A sensor of a battery."""

    def _state(self) -> tuple[Any, ...]:
        return self.available, self.native_value


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
        if description.cell is not None:
            self._attr_translation_placeholders = {"number": str(description.cell)}
        if description.signed_by_current:
            self._attr_extra_state_attributes = {
                "direction_confirmed": coordinator.current_confirmed
            }

    @property
    def available(self) -> bool:
        """Whether this battery answered in the last round."""
        return super().available and self.battery.reading is not None

    @property
    def native_value(self) -> Value:
        """The value of the last round."""
        if self.battery.reading is None:
            return None
        return self.entity_description.value(self.battery.reading)


class HistorySensor(BatterySensor):
    """A value that changes slowly and is read every ten minutes."""

    entity_description: HistoryDescription

    @property
    def available(self) -> bool:
        """Whether the battery answers and has told it."""
        return (
            super().available
            and self.battery.reading is not None
            and self.native_value is not None
        )

    @property
    def native_value(self) -> Value:
        """The value as last told."""
        return self.entity_description.value(self.battery.history)


class LinkSensor(BatterySensor):
    """How well a battery answers; of most interest when it does not."""

    entity_description: LinkDescription

    @property
    def available(self) -> bool:
        """As long as the entry is loaded."""
        return True

    @property
    def native_value(self) -> Value:
        """The figure over the last exchanges."""
        address = self.battery.identity.address
        return self.entity_description.value(self.coordinator.bus.counters_of(address))
