"""Binary sensors: whether a battery answers, what it does, and its troubles."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from homeassistant.components.binary_sensor import (
    BinarySensorEntity,
    BinarySensorEntityDescription,
)
from homeassistant.components.binary_sensor.const import BinarySensorDeviceClass
from homeassistant.const import EntityCategory
from homeassistant.core import callback

from .bms.shown import statuses, troubles
from .entity import BatteryEntity
from .protection_sensor import protection_sensors

if TYPE_CHECKING:
    from homeassistant.core import HomeAssistant
    from homeassistant.helpers.entity_platform import AddConfigEntryEntitiesCallback

    from .bms.rounds import Battery
    from .bms.shown import Status, Troubles
    from .coordinator import OpenXPBMSConfigEntry, OpenXPBMSCoordinator

PARALLEL_UPDATES = 0


@dataclass(frozen=True, kw_only=True)
class StatusDescription(BinarySensorEntityDescription):
    """Whether a battery does something now."""

    status: Status


@dataclass(frozen=True, kw_only=True)
class TroublesDescription(BinarySensorEntityDescription):
    """Whether anything of a group troubles a battery."""

    troubles: Troubles


COMMUNICATION = BinarySensorEntityDescription(
    key="communication",
    translation_key="communication",
    device_class=BinarySensorDeviceClass.CONNECTIVITY,
    entity_category=EntityCategory.DIAGNOSTIC,
)


def _status(status: Status) -> StatusDescription:
    return StatusDescription(
        key=status.key,
        translation_key=status.key,
        status=status,
        device_class=BinarySensorDeviceClass(status.kind) if status.kind else None,
    )


def _troubles(of_group: Troubles) -> TroublesDescription:
    return TroublesDescription(
        key=of_group.key,
        translation_key=of_group.key,
        troubles=of_group,
        device_class=BinarySensorDeviceClass.PROBLEM,
    )


async def async_setup_entry(
    hass: HomeAssistant,
    entry: OpenXPBMSConfigEntry,
    async_add_entities: AddConfigEntryEntitiesCallback,
) -> None:
    """Add the binary sensors of every battery, also of those heard later."""
    coordinator = entry.runtime_data

    @callback
    def add(battery: Battery) -> None:
        async_add_entities(_binary_sensors(coordinator, battery))
        watched = coordinator.guard.of(battery)
        async_add_entities(protection_sensors(coordinator, watched))

    async_add_entities(protection_sensors(coordinator, None))
    entry.async_on_unload(coordinator.async_follow(add))


def _binary_sensors(
    coordinator: OpenXPBMSCoordinator, battery: Battery
) -> Iterator[BatteryBinarySensor]:
    yield Communication(coordinator, battery, COMMUNICATION)
    family = coordinator.family_name
    for status in statuses(family):
        yield DoesNow(coordinator, battery, _status(status))
    for of_group in troubles(family):
        yield Trouble(coordinator, battery, _troubles(of_group))


class BatteryBinarySensor(BatteryEntity, BinarySensorEntity):
    """A binary sensor of a battery."""

    def _state(self) -> tuple[Any, ...]:
        return self.available, self.is_on, self.extra_state_attributes


class Communication(BatteryBinarySensor):
    """Whether the battery answered in the last round; always available."""

    @property
    def available(self) -> bool:
        """As long as the entry is loaded: silence is a state."""
        return True

    @property
    def is_on(self) -> bool | None:
        """Unknown until the first round is over."""
        if self.battery.reading is not None:
            return True
        return None if self.battery.error is None else False

    @property
    def extra_state_attributes(self) -> dict[str, Any]:
        """Why not."""
        error = self.battery.error
        return {} if error is None else {"reason": str(error)}


class _Measured(BatteryBinarySensor):
    @property
    def available(self) -> bool:
        """Whether this battery answered in the last round."""
        return super().available and self.battery.reading is not None


class DoesNow(_Measured):
    """Whether the battery does something now, and what."""

    entity_description: StatusDescription

    @property
    def is_on(self) -> bool | None:
        """By its own word."""
        reading, status = self.battery.reading, self.entity_description.status
        return None if reading is None else status.value(reading)

    @property
    def extra_state_attributes(self) -> dict[str, Any]:
        """What it tells beside that."""
        reading, status = self.battery.reading, self.entity_description.status
        return status.details(reading) if reading and status.details else {}


class Trouble(_Measured):
    """Whether the battery reports trouble, of one group and level or any, and what."""

    entity_description: TroublesDescription

    @property
    def is_on(self) -> bool | None:
        """By its own status bits."""
        reading, described = self.battery.reading, self.entity_description.troubles
        return None if reading is None else bool(described.active(reading))

    @property
    def extra_state_attributes(self) -> dict[str, Any]:
        """The names of what is active, and the cells or sensors concerned."""
        reading, described = self.battery.reading, self.entity_description.troubles
        return {} if reading is None else described.details(reading)
