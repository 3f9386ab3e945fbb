"""Sensors of a bank as a whole; they belong to the device of its bus."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from time import monotonic
from typing import TYPE_CHECKING, Any

from homeassistant.components.sensor import (
    SensorDeviceClass,
    SensorEntity,
    SensorEntityDescription,
    SensorStateClass,
)
from homeassistant.const import (
    UnitOfElectricCurrent,
    UnitOfElectricPotential,
    UnitOfPower,
    UnitOfRatio,
    UnitOfTemperature,
)
from homeassistant.helpers.device_registry import DeviceInfo

from .bms.dead_band import DeadBand
from .bms.decision import Severity, Waits
from .bms.limits import Quantity
from .bms.shown import AMPERE_HOURS
from .bms.totals import Place, Spread
from .const import DOMAIN, FAMILY_SEPLOS, FAMILY_VALENCE
from .coordinator import OpenXPBMSCoordinator
from .entity import QuietEntity
from .guard_entity import GuardEntity, told

if TYPE_CHECKING:
    from homeassistant.helpers.entity import EntityDescription

    from .bms.decision import Finding
    from .bms.totals import Totals
    from .guard import Watched


@dataclass(frozen=True, kw_only=True)
class TotalDescription(SensorEntityDescription):
    """A value of all batteries together.

    Its `noise` is what every battery may add to it without a meaning, or, if it is
    `alike`, what it has by itself.
    """

    value: Callable[[Totals], float | None]
    signed_by_current: bool = False
    noise: float = 0.0
    alike: bool = False


@dataclass(frozen=True, kw_only=True)
class PlaceDescription(SensorEntityDescription):
    """An extreme, and where it is; `what` counts the places of a battery."""

    place: Callable[[Totals], Place | None]
    what: str
    noise: float = 0.0


@dataclass(frozen=True, kw_only=True)
class WorstDescription(SensorEntityDescription):
    """The worst that protection finds of some severities, the worst of them first."""

    severities: tuple[Severity, ...]


def _measured(
    key: str,
    device_class: SensorDeviceClass | None,
    unit: str | None,
    precision: int,
) -> dict[str, Any]:
    return {
        "key": key,
        "translation_key": key,
        "device_class": device_class,
        "native_unit_of_measurement": unit,
        "suggested_display_precision": precision,
        "state_class": SensorStateClass.MEASUREMENT,
    }


def _volts(key: str, precision: int = 3) -> dict[str, Any]:
    unit = UnitOfElectricPotential.VOLT
    return _measured(key, SensorDeviceClass.VOLTAGE, unit, precision)


def _amperes(key: str, precision: int) -> dict[str, Any]:
    unit = UnitOfElectricCurrent.AMPERE
    return _measured(key, SensorDeviceClass.CURRENT, unit, precision)


def _degrees(key: str) -> dict[str, Any]:
    unit = UnitOfTemperature.CELSIUS
    return _measured(key, SensorDeviceClass.TEMPERATURE, unit, 1)


def _power(key: str) -> dict[str, Any]:
    return _measured(key, SensorDeviceClass.POWER, UnitOfPower.WATT, 1)


# As of a battery's own sensors.
VOLTS, AMPERES, WATTS, KELVINS, HOURS = 0.02, 0.2, 10.0, 0.1, 0.1
VOLTS_OF_TWO = 0.002

TOTALS = (
    TotalDescription(
        **_volts("voltage", 2), value=lambda t: t.voltage, noise=VOLTS, alike=True
    ),
    TotalDescription(
        **_amperes("current", 2),
        value=lambda t: t.current,
        signed_by_current=True,
        noise=AMPERES,
    ),
    TotalDescription(
        **_power("power"), value=lambda t: t.power, signed_by_current=True, noise=WATTS
    ),
    TotalDescription(
        **_power("energy_dashboard_power"),
        value=lambda t: None if t.power is None else 0.0 - t.power,
        signed_by_current=True,
        noise=WATTS,
    ),
    TotalDescription(
        **_measured(
            "state_of_charge", SensorDeviceClass.BATTERY, UnitOfRatio.PERCENTAGE, 1
        ),
        value=lambda t: t.soc,
    ),
    TotalDescription(
        **_measured("remaining_capacity", None, AMPERE_HOURS, 1),
        value=lambda t: t.remaining,
        noise=HOURS,
    ),
    TotalDescription(
        **_measured("full_capacity", None, AMPERE_HOURS, 1), value=lambda t: t.full
    ),
    TotalDescription(
        **_volts("cell_delta"),
        value=lambda t: t.cell_delta,
        noise=VOLTS_OF_TWO,
        alike=True,
    ),
    TotalDescription(
        **_degrees("bank_mean_temperature"),
        value=lambda t: t.mean_temperature,
        noise=KELVINS,
        alike=True,
    ),
)
ALLOWED = (
    TotalDescription(
        **_amperes("allowed_charge_current", 0), value=lambda t: t.allowed_charge
    ),
    TotalDescription(
        **_amperes("allowed_discharge_current", 0), value=lambda t: t.allowed_discharge
    ),
)
PLACES = (
    PlaceDescription(
        **_volts("bank_lowest_cell_voltage"),
        place=lambda t: t.lowest_cell,
        what="cell",
    ),
    PlaceDescription(
        **_volts("bank_highest_cell_voltage"),
        place=lambda t: t.highest_cell,
        what="cell",
    ),
    PlaceDescription(
        **_degrees("bank_lowest_temperature"),
        place=lambda t: t.lowest_temperature,
        what="sensor",
        noise=KELVINS,
    ),
    PlaceDescription(
        **_degrees("bank_highest_temperature"),
        place=lambda t: t.highest_temperature,
        what="sensor",
        noise=KELVINS,
    ),
)
SPREAD = SensorEntityDescription(**_volts("battery_spread"))
ONLINE = SensorEntityDescription(**_measured("batteries_online", None, None, 0))
NOTHING = "none"


def _worst(key: str, *severities: Severity) -> WorstDescription:
    return WorstDescription(
        key=key,
        translation_key=key,
        device_class=SensorDeviceClass.ENUM,
        options=[NOTHING, *(quantity.value for quantity in Quantity)],
        severities=severities,
    )


WORST = (
    _worst("worst_warning", Severity.WARNING),
    _worst("worst_protection", Severity.CUTOFF, Severity.STOP),
)


def bank_sensors(coordinator: OpenXPBMSCoordinator) -> Iterator[SensorEntity]:
    """Yield the sensors of a bank."""
    for total in TOTALS:
        yield TotalSensor(coordinator, total)
    if coordinator.family_name == FAMILY_SEPLOS:
        for total in ALLOWED:
            yield TotalSensor(coordinator, total)
    for place in PLACES:
        yield PlaceSensor(coordinator, place)
    yield SpreadSensor(coordinator, SPREAD)
    yield OnlineSensor(coordinator, ONLINE)
    for worst in WORST:
        yield WorstSensor(coordinator, worst)


def is_bank(coordinator: OpenXPBMSCoordinator) -> bool:
    """Whether the whole is more than one battery, or may become so."""
    return len(list(coordinator)) > 1 or not coordinator.asks


class BankSensor(QuietEntity, SensorEntity):
    """A sensor of the bank."""

    def __init__(
        self, coordinator: OpenXPBMSCoordinator, description: EntityDescription
    ) -> None:
        """Name the entity by its entry; a battery alone says all of it itself."""
        super().__init__(coordinator)
        self.entity_description = description  # type: ignore[assignment]
        entry_id = coordinator.config_entry.entry_id
        self._attr_unique_id = f"{entry_id}_{description.key}"
        self._attr_device_info = DeviceInfo(identifiers={(DOMAIN, entry_id)})
        self._attr_entity_registry_enabled_default = is_bank(coordinator)

    def _state(self) -> tuple[Any, ...]:
        """Return all that makes the state, to see whether it changed."""
        return self.available, self.native_value, self.extra_state_attributes

    @property
    def available(self) -> bool:
        """Whether it is known."""
        return super().available and self.native_value is not None

    @property
    def _totals(self) -> Totals:
        return self.coordinator.whole.totals

    def _name(self, address: int) -> str:
        """Return what people call a battery."""
        guard = self.coordinator.guard
        found = (b for b in self.coordinator if b.identity.address == address)
        return guard.name_of(guard.of(next(found)))


class CalmSensor(BankSensor):
    """A sensor of what the totals say, which does not follow what only flickers."""

    def __init__(
        self, coordinator: OpenXPBMSCoordinator, description: EntityDescription
    ) -> None:
        """Begin with nothing shown."""
        super().__init__(coordinator, description)
        self._band = DeadBand[Any](0.0)
        self._shown: Any = None

    @abstractmethod
    def _told(self) -> Any:
        """Return what the totals say now."""

    def _width(self) -> float:
        """Return how far what is told may be from what is shown."""
        return 0.0

    def _take(self) -> None:
        """Show what is told, unless it only flickers."""
        told, band = self._told(), self._band
        apart = 0.0
        if told is not None and band.shown is not None:
            apart = _figure(told) - _figure(band.shown)
        band.width = self._width()
        # Without noise everything about it is shown at once, its place, too.
        if band.width:
            self._shown = band.show(told, apart, monotonic())
        else:
            self._shown = band.shown = told

    @property
    def native_value(self) -> float | None:
        """The value of the last round, or the one that it only flickers about."""
        return None if self._shown is None else _figure(self._shown)


def _figure(told: Any) -> float:
    """Return the value alone of what may also have a place."""
    return told.value if isinstance(told, Place | Spread) else told


class TotalSensor(CalmSensor):
    """A value of all batteries together."""

    entity_description: TotalDescription

    def __init__(
        self, coordinator: OpenXPBMSCoordinator, description: TotalDescription
    ) -> None:
        """Mark a sign that nobody has confirmed."""
        super().__init__(coordinator, description)
        if description.signed_by_current and coordinator.family_name == FAMILY_VALENCE:
            self._attr_extra_state_attributes = {
                "direction_confirmed": coordinator.current_confirmed
            }

    def _told(self) -> float | None:
        return self.entity_description.value(self._totals)

    def _width(self) -> float:
        described = self.entity_description
        return described.noise * (1 if described.alike else self._totals.online)


class PlaceSensor(CalmSensor):
    """The lowest or highest value of all batteries, and whose it is."""

    entity_description: PlaceDescription

    def _told(self) -> Place | None:
        return self.entity_description.place(self._totals)

    def _width(self) -> float:
        return self.entity_description.noise

    @property
    def extra_state_attributes(self) -> dict[str, Any]:
        """The battery, and the number of its cell or sensor."""
        place = self._shown
        if place is None:
            return {}
        what = self.entity_description.what
        return {"battery": self._name(place.address), what: place.number}


class SpreadSensor(CalmSensor):
    """How far apart the lowest and the highest battery are, by the mean of cells."""

    def _told(self) -> Spread | None:
        return self._totals.spread

    def _width(self) -> float:
        return VOLTS_OF_TWO

    @property
    def extra_state_attributes(self) -> dict[str, Any]:
        """The two batteries."""
        spread = self._shown
        if spread is None:
            return {}
        return {
            "lowest": self._name(spread.lowest),
            "highest": self._name(spread.highest),
        }


class OnlineSensor(CalmSensor):
    """How many batteries answer, or are heard; always available."""

    @property
    def available(self) -> bool:
        """As long as the entry is loaded: silence is a state."""
        return True

    def _told(self) -> float:
        return self._totals.online

    @property
    def extra_state_attributes(self) -> dict[str, Any]:
        """How many there should be, and who is silent."""
        totals = self._totals
        return {
            "expected": totals.expected,
            "silent": [self._name(address) for address in totals.silent],
        }


class WorstSensor(GuardEntity, SensorEntity):
    """The worst that protection finds now in any battery."""

    entity_description: WorstDescription

    def __init__(
        self, coordinator: OpenXPBMSCoordinator, description: WorstDescription
    ) -> None:
        """Look at the whole bus."""
        super().__init__(coordinator, None, description)
        self._attr_entity_registry_enabled_default = is_bank(coordinator)

    def _state(self) -> Any:
        return self.native_value, self.extra_state_attributes

    @property
    def _worst(self) -> tuple[Finding, Watched] | None:
        """Severity counts first, then whether a person must act, then who was first."""
        severities = self.entity_description.severities
        found = [
            (finding, watched)
            for watched in self.guard
            for finding in watched.decision.findings
            if finding.severity in severities
        ]

        def rank(one: tuple[Finding, Watched]) -> tuple[int, bool, float]:
            finding = one[0]
            by_person = finding.waits is Waits.PERSON
            return severities.index(finding.severity), not by_person, finding.since

        return min(found, key=rank, default=None)

    @property
    def native_value(self) -> str:
        """The quantity that it is about."""
        worst = self._worst
        return NOTHING if worst is None else worst[0].quantity.value

    @property
    def extra_state_attributes(self) -> dict[str, Any]:
        """The battery, and what raised it."""
        worst = self._worst
        if worst is None:
            return {}
        finding, watched = worst
        return {"battery": self.guard.name_of(watched), **told(finding)}
