"""What all entities of protection share: they are there as long as the entry is."""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING, Any

from homeassistant.core import callback
from homeassistant.helpers.device_registry import DeviceInfo
from homeassistant.helpers.entity import Entity

from .const import DOMAIN
from .entity import battery_device

if TYPE_CHECKING:
    from homeassistant.helpers.entity import EntityDescription

    from .bms.decision import Finding
    from .coordinator import OpenXPBMSCoordinator
    from .guard import Watched


class GuardEntity(Entity):
    """An entity of protection: of a battery, or of the bus where none is given."""

    _attr_has_entity_name = True
    _attr_should_poll = False

    def __init__(
        self,
        coordinator: OpenXPBMSCoordinator,
        watched: Watched | None,
        description: EntityDescription,
    ) -> None:
        """Name the entity by the lasting key of its battery, or by the entry."""
        self.entity_description = description
        self.coordinator = coordinator
        self.guard = coordinator.guard
        entry_id = coordinator.config_entry.entry_id
        if watched is None:
            self._key = None
            self._attr_unique_id = f"{entry_id}_{description.key}"
            self._attr_device_info = DeviceInfo(identifiers={(DOMAIN, entry_id)})
        else:
            self._key = watched.key
            self._attr_unique_id = f"{watched.key}_{description.key}"
            self._attr_device_info = battery_device(coordinator, watched.battery)
        self._written: Any = None

    @abstractmethod
    def _state(self) -> Any:
        """Return all that makes the state, to see whether it changed."""

    async def async_added_to_hass(self) -> None:
        """Follow the guard."""
        await super().async_added_to_hass()
        self._written = self._state()
        self.async_on_remove(self.guard.async_add_listener(self._changed, self._key))

    @callback
    def _changed(self) -> None:
        state = self._state()
        if state != self._written:
            self._written = state
            self.async_write_ha_state()

    @property
    def by_person(self) -> bool:
        """Whether the call that is being carried out came from a user."""
        return self._context is not None and self._context.user_id is not None


def told(finding: Finding) -> dict[str, Any]:
    """Return what raised a finding, as attributes; nothing in it runs on."""
    attributes: dict[str, Any] = {
        "quantity": finding.quantity,
        "level": finding.severity,
        "limit": finding.limit,
        "clears": finding.clears,
        "waits": finding.waits,
    }
    if finding.value is not None:
        attributes["value"] = finding.value.value
        if finding.value.number is not None:
            attributes["cell"] = finding.value.number
        if finding.value.what is not None:
            attributes["what"] = finding.value.what
    return attributes
