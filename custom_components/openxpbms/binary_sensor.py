"""Binary sensors: whether a battery answers, balances, or tells of trouble."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from homeassistant.components.binary_sensor import (
    BinarySensorEntity,
    BinarySensorEntityDescription,
)
from homeassistant.components.binary_sensor.const import BinarySensorDeviceClass
from homeassistant.const import EntityCategory

from .entity import BatteryEntity

if TYPE_CHECKING:
    from homeassistant.core import HomeAssistant
    from homeassistant.helpers.entity_platform import AddConfigEntryEntitiesCallback

    from .coordinator import OpenXPBMSConfigEntry

PARALLEL_UPDATES = 0

COMMUNICATION = BinarySensorEntityDescription(
    key="communication",
    translation_key="communication",
    device_class=BinarySensorDeviceClass.CONNECTIVITY,
    entity_category=EntityCategory.DIAGNOSTIC,
)
BALANCING = BinarySensorEntityDescription(
    key="balancing",
    translation_key="balancing",
    device_class=BinarySensorDeviceClass.RUNNING,
)
ALARM = BinarySensorEntityDescription(
    key="alarm",
    translation_key="alarm",
    device_class=BinarySensorDeviceClass.PROBLEM,
)


async def async_setup_entry(
    hass: HomeAssistant,
    entry: OpenXPBMSConfigEntry,
    async_add_entities: AddConfigEntryEntitiesCallback,
) -> None:
    """Add the binary sensors of every battery."""
    coordinator = entry.runtime_data
    for battery in coordinator:
        async_add_entities(
            (
                Communication(coordinator, battery, COMMUNICATION),
                Balancing(coordinator, battery, BALANCING),
                Alarm(coordinator, battery, ALARM),
            )
        )


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


class Balancing(_Measured):
    """Whether the battery bleeds cells now, and which."""

    @property
    def is_on(self) -> bool | None:
        """By its own word."""
        reading = self.battery.reading
        return None if reading is None else reading.balancing_active

    @property
    def extra_state_attributes(self) -> dict[str, Any]:
        """The numbers of the cells being bled."""
        reading = self.battery.reading
        return {"cells": list(reading.balancing or ())} if reading else {}


class Alarm(_Measured):
    """Whether the battery's own electronics report trouble, and what."""

    @property
    def is_on(self) -> bool | None:
        """By its own status word."""
        reading = self.battery.reading
        return None if reading is None else bool(reading.alarms)

    @property
    def extra_state_attributes(self) -> dict[str, Any]:
        """The names of the alarms."""
        reading = self.battery.reading
        return {"active": list(reading.alarms or ())} if reading else {}
