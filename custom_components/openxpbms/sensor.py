"""Sensors: what a battery measures, how it is set, how well it answers."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from math import inf
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
    UnitOfEnergy,
    UnitOfPower,
    UnitOfRatio,
    UnitOfTemperature,
    UnitOfTime,
)
from homeassistant.core import callback
from homeassistant.util import dt as dt_util

from .bank_sensor import bank_sensors
from .bms.parameters import PARAMETERS
from .bms.reading import State
from .const import FAMILY_SEPLOS, FAMILY_VALENCE
from .dead_band import DeadBand
from .energy_sensor import bank_energy_sensors, energy_sensors
from .entity import BatteryEntity
from .possible import (
    AMPERES,
    CELL_TEMPERATURES,
    CELL_VOLTS,
    CELLS,
    CURRENT,
    DEGREES,
    PERCENT,
    SOC,
    VOLTAGE,
    Possible,
    Span,
)

if TYPE_CHECKING:
    from homeassistant.core import HomeAssistant
    from homeassistant.helpers.entity_platform import AddConfigEntryEntitiesCallback

    from .bms.counters import Counters
    from .bms.reading import History, Reading, Settings
    from .bms.registers import Field
    from .bms.rounds import Battery
    from .coordinator import OpenXPBMSConfigEntry, OpenXPBMSCoordinator

PARALLEL_UPDATES = 0

type Value = float | int | str | datetime | None

AMPERE_HOURS = "Ah"

# How far values flicker without a meaning (docs/figures.md). Cells are not among them:
# every millivolt of one counts.
AMPERES_OF_NOISE = 0.2
KELVINS_OF_NOISE = 0.1
VOLTS_OF_NOISE = 0.001
AMPERE_HOURS_OF_NOISE = 0.1
# Between two cells, each of which flickers.
VOLTS_OF_TWO = 2 * VOLTS_OF_NOISE


def _difference(reading: Reading, shown: Any, value: Any) -> float:
    return float(value - shown)


@dataclass(frozen=True, kw_only=True)
class ReadingDescription(SensorEntityDescription):
    """A value of the last round.

    Nothing is shown unless all of `possible` is. What is nearer than `dead_band` to
    what is shown is noise at first; `apart` tells how far a value is from that.
    """

    value: Callable[[Reading], Value]
    possible: tuple[Possible, ...] = ()
    dead_band: float | None = None
    apart: Callable[[Reading, Any, Any], float] = _difference
    cell: int | None = None
    signed_by_current: bool = False


@dataclass(frozen=True, kw_only=True)
class HistoryDescription(SensorEntityDescription):
    """A value that the battery keeps of its life."""

    value: Callable[[History], float | None]
    span: Span | None = None


@dataclass(frozen=True, kw_only=True)
class SettingDescription(SensorEntityDescription):
    """How the battery is set; `value` is None until that was read."""

    value: Callable[[Settings], Value]


@dataclass(frozen=True, kw_only=True)
class LinkDescription(SensorEntityDescription):
    """How well the battery answers."""

    value: Callable[[Counters], float | None]
    dead_band: float


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
        state_class=more.pop("state_class", SensorStateClass.MEASUREMENT),
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
    key: str, value: Callable[[Reading], float | None], **more: Any
) -> ReadingDescription:
    possible = Possible(DEGREES, lambda reading: (value(reading),))
    return _measured(
        key,
        value,
        SensorDeviceClass.TEMPERATURE,
        UnitOfTemperature.CELSIUS,
        1,
        **{"possible": (possible,), "dead_band": KELVINS_OF_NOISE} | more,
    )


def _current(
    key: str, value: Callable[[Reading], float | None], precision: int, **more: Any
) -> ReadingDescription:
    return _measured(
        key,
        value,
        SensorDeviceClass.CURRENT,
        UnitOfElectricCurrent.AMPERE,
        precision,
        possible=(Possible(AMPERES, lambda reading: (value(reading),)),),
        **more,
    )


def _cells_apart(reading: Reading, shown: int, value: int) -> float:
    """Return how far the cell shown as an extreme is from the one that is it now, V."""
    volts = reading.cell_voltages or ()
    return abs(volts[value - 1] - volts[shown - 1]) if shown <= len(volts) else inf


def _volts_apart(reading: Reading, shown: float, value: float) -> float:
    """Return the difference for each cell, V."""
    return (value - shown) / len(reading.cell_voltages or (0,))


def _watts_apart(reading: Reading, shown: float, value: float) -> float:
    """Return the difference as a current at this voltage, A."""
    return (value - shown) / max(reading.voltage or 0.0, 1.0)


def _extreme_cell(
    key: str, value: Callable[[Reading], int | None]
) -> ReadingDescription:
    return _measured(
        key,
        value,
        None,
        None,
        0,
        possible=(CELLS,),
        dead_band=VOLTS_OF_TWO,
        apart=_cells_apart,
    )


READINGS = (
    _voltage(
        "voltage",
        lambda r: r.voltage,
        2,
        possible=(VOLTAGE,),
        dead_band=VOLTS_OF_NOISE,
        apart=_volts_apart,
    ),
    _current(
        "current",
        lambda r: r.current,
        2,
        dead_band=AMPERES_OF_NOISE,
        signed_by_current=True,
    ),
    _measured(
        "power",
        lambda r: r.power,
        SensorDeviceClass.POWER,
        UnitOfPower.WATT,
        1,
        possible=(VOLTAGE, CURRENT),
        dead_band=AMPERES_OF_NOISE,
        apart=_watts_apart,
        signed_by_current=True,
    ),
    _measured(
        "state_of_charge",
        lambda r: r.soc,
        SensorDeviceClass.BATTERY,
        UnitOfRatio.PERCENTAGE,
        1,
        possible=(SOC,),
    ),
    _voltage("lowest_cell_voltage", lambda r: r.lowest_cell_voltage, possible=(CELLS,)),
    _voltage(
        "highest_cell_voltage", lambda r: r.highest_cell_voltage, possible=(CELLS,)
    ),
    _voltage(
        "mean_cell_voltage",
        lambda r: r.mean_cell_voltage,
        possible=(CELLS,),
        dead_band=VOLTS_OF_NOISE,
    ),
    _voltage(
        "cell_delta", lambda r: r.cell_delta, possible=(CELLS,), dead_band=VOLTS_OF_TWO
    ),
    _extreme_cell("lowest_cell", lambda r: r.lowest_cell),
    _extreme_cell("highest_cell", lambda r: r.highest_cell),
    _temperature(
        "lowest_cell_temperature",
        lambda r: r.lowest_cell_temperature,
        possible=(CELL_TEMPERATURES,),
    ),
    _temperature(
        "highest_cell_temperature",
        lambda r: r.highest_cell_temperature,
        possible=(CELL_TEMPERATURES,),
    ),
)
READINGS_VALENCE = (_temperature("pcb_temperature", lambda r: r.pcb_temperature),)
READINGS_SEPLOS = (
    _measured(
        "remaining_capacity",
        lambda r: r.remaining_capacity,
        None,
        AMPERE_HOURS,
        2,
        dead_band=AMPERE_HOURS_OF_NOISE,
    ),
    _measured("full_capacity", lambda r: r.full_capacity, None, AMPERE_HOURS, 2),
    _measured(
        "total_discharge",
        lambda r: r.total_discharge,
        None,
        AMPERE_HOURS,
        0,
        state_class=SensorStateClass.TOTAL_INCREASING,
    ),
    _measured(
        "state_of_health",
        lambda r: r.soh,
        None,
        UnitOfRatio.PERCENTAGE,
        1,
        possible=(Possible(PERCENT, lambda r: (r.soh,)),),
        entity_category=EntityCategory.DIAGNOSTIC,
    ),
    _measured(
        "cycles",
        lambda r: r.cycles,
        None,
        None,
        0,
        state_class=SensorStateClass.TOTAL_INCREASING,
        entity_category=EntityCategory.DIAGNOSTIC,
    ),
    _current("allowed_charge_current", lambda r: r.allowed_charge_current, 0),
    _current("allowed_discharge_current", lambda r: r.allowed_discharge_current, 0),
    _temperature("mosfet_temperature", lambda r: r.mosfet_temperature),
    _temperature("ambient_temperature", lambda r: r.ambient_temperature),
)
OPERATING_STATE = ReadingDescription(
    key="operating_state",
    translation_key="operating_state",
    value=lambda r: r.state,
    device_class=SensorDeviceClass.ENUM,
    options=[state.value for state in State],
)


def _cell(values: tuple[float | None, ...] | None, cell: int) -> float | None:
    return values[cell - 1] if values and cell <= len(values) else None


def _cell_voltage(cell: int) -> ReadingDescription:
    possible = Possible(CELL_VOLTS, lambda r: (_cell(r.cell_voltages, cell),))
    return _voltage(
        f"cell_{cell}_voltage",
        lambda r: _cell(r.cell_voltages, cell),
        possible=(possible,),
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
    span: Span | None = None,
) -> HistoryDescription:
    field = name or key
    return HistoryDescription(
        key=key,
        translation_key=key,
        value=lambda history: getattr(history, field),
        span=span,
        device_class=device_class,
        native_unit_of_measurement=unit,
        state_class=state_class,
        entity_category=EntityCategory.DIAGNOSTIC,
        entity_registry_enabled_default=False,
    )


_OF_TEMPERATURE = SensorDeviceClass.TEMPERATURE, UnitOfTemperature.CELSIUS, DEGREES
_OF_CELL = SensorDeviceClass.VOLTAGE, UnitOfElectricPotential.VOLT, CELL_VOLTS
_OF_CURRENT = SensorDeviceClass.CURRENT, UnitOfElectricCurrent.AMPERE, AMPERES
_EXTREMES = (
    ("highest_temperature", *_OF_TEMPERATURE),
    ("lowest_temperature", *_OF_TEMPERATURE),
    ("highest_cell_voltage", *_OF_CELL),
    ("lowest_cell_voltage", *_OF_CELL),
    ("highest_charge_current", *_OF_CURRENT),
    ("highest_discharge_current", *_OF_CURRENT),
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
        _remembered(f"lifetime_{name}", device_class, unit, None, name, span)
        for name, device_class, unit, span in _EXTREMES
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
    if coordinator.family_name == FAMILY_SEPLOS:
        yield from _seplos(coordinator, battery)
    else:
        yield from _valence(coordinator, battery)
    yield from energy_sensors(coordinator, battery)
    if coordinator.asks:
        for link in LINK:
            yield LinkSensor(coordinator, battery, link)


def _valence(
    coordinator: OpenXPBMSCoordinator, battery: Battery
) -> Iterator[BatterySensor]:
    cells = battery.identity.cells or 0
    newer = battery.identity.revision != 1
    for reading in (*READINGS, *READINGS_VALENCE, *_cells(cells, sensors=cells)):
        yield ReadingSensor(coordinator, battery, reading)
    for history in HISTORY + HISTORY_REVISION_2 if newer else HISTORY:
        if newer or history.key not in _REVISION_2_EXTREMES:
            yield HistorySensor(coordinator, battery, history)


def _seplos(
    coordinator: OpenXPBMSCoordinator, battery: Battery
) -> Iterator[BatterySensor]:
    identity = battery.identity
    cells = _cells(identity.cells or 0, sensors=identity.sensors or 0)
    for reading in (*READINGS, *READINGS_SEPLOS, *cells):
        yield ReadingSensor(coordinator, battery, reading)
    yield StateSensor(coordinator, battery, OPERATING_STATE)
    if coordinator.asks:
        for setting in SETTINGS:
            yield SettingSensor(coordinator, battery, setting)
        yield FunctionsOff(coordinator, battery, FUNCTIONS_OFF)


def _cells(cells: int, *, sensors: int) -> Iterator[ReadingDescription]:
    yield from map(_cell_voltage, range(1, cells + 1))
    yield from map(_cell_temperature, range(1, sensors + 1))


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
        if description.cell is not None:
            self._attr_translation_placeholders = {"number": str(description.cell)}
        if description.signed_by_current and coordinator.family_name == FAMILY_VALENCE:
            self._attr_extra_state_attributes = {
                "direction_confirmed": coordinator.current_confirmed
            }
        self._band: DeadBand[Any] | None = None
        if description.dead_band is not None:
            self._band = DeadBand(description.dead_band)

    @property
    def available(self) -> bool:
        """Whether this battery answered in the last round."""
        return super().available and self.battery.reading is not None

    def _told(self) -> Value:
        """Return the value of the last round, None where it cannot be."""
        reading, described = self.battery.reading, self.entity_description
        if reading is None or not all(p.holds(reading) for p in described.possible):
            return None
        return described.value(reading)

    def _take(self) -> None:
        value, reading, band = self._told(), self.battery.reading, self._band
        if band is not None:
            apart = 0.0
            if reading and value is not None and band.shown is not None:
                apart = self.entity_description.apart(reading, band.shown, value)
            value = band.show(value, apart, monotonic())
        self._attr_native_value = value


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
        return self.entity_description.value(self.battery.history)

    def _take(self) -> None:
        told, span = self._told(), self.entity_description.span
        possible = span is None or span.has(told)
        self._attr_native_value = told if possible else None


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
