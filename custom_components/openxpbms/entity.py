"""What all entities of a battery share."""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING, Any

from homeassistant.core import callback
from homeassistant.helpers.device_registry import DeviceInfo
from homeassistant.helpers.update_coordinator import CoordinatorEntity

from .bms.shown import MANUFACTURERS, device_name
from .const import DOMAIN
from .coordinator import OpenXPBMSCoordinator

if TYPE_CHECKING:
    from homeassistant.helpers.entity import EntityDescription

    from .bms.rounds import Battery


class QuietEntity(CoordinatorEntity[OpenXPBMSCoordinator]):
    """An entity that is written only when something of it changed."""

    _attr_has_entity_name = True
    _written: tuple[Any, ...] | None = None

    @abstractmethod
    def _state(self) -> tuple[Any, ...]:
        """Return all that makes the state, to see whether it changed."""

    def _take(self) -> None:
        """Take in what is told now, where that is not simply shown."""

    async def async_added_to_hass(self) -> None:
        """Remember the state that is written now."""
        await super().async_added_to_hass()
        self._take()
        self._written = self._state()

    @callback
    def _handle_coordinator_update(self) -> None:
        self._take()
        state = self._state()
        if state != self._written:
            self._written = state
            super()._handle_coordinator_update()


class BatteryEntity(QuietEntity):
    """One entity of one battery."""

    def __init__(
        self,
        coordinator: OpenXPBMSCoordinator,
        battery: Battery,
        description: EntityDescription,
    ) -> None:
        """Name the entity by the battery's lasting key."""
        super().__init__(coordinator, context=battery)
        self.entity_description = description
        self.battery = battery
        key = coordinator.key_of(battery)
        self._attr_unique_id = f"{key}_{description.key}"
        self._attr_device_info = battery_device(coordinator, battery)

    @property
    def available(self) -> bool:
        """Whether the last round ended as rounds do."""
        return self.coordinator.reachable


def battery_device(coordinator: OpenXPBMSCoordinator, battery: Battery) -> DeviceInfo:
    """Return the device that a battery is."""
    identity = battery.identity
    return DeviceInfo(
        identifiers={(DOMAIN, coordinator.key_of(battery))},
        manufacturer=MANUFACTURERS[coordinator.family_name],
        model=identity.model,
        name=device_name(coordinator.family_name, identity),
        serial_number=identity.serial,
        hw_version=None if identity.revision is None else f"Rev {identity.revision}",
        sw_version=identity.firmware,
        via_device_id=coordinator.bus_device_id,
    )
