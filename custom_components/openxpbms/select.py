"""How protection works on a bus: whether it commands, and whether for storage."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from homeassistant.components.select import SelectEntity, SelectEntityDescription
from homeassistant.const import EntityCategory
from homeassistant.exceptions import ServiceValidationError

from .const import DOMAIN
from .guard_entity import GuardEntity
from .kept import Mode

if TYPE_CHECKING:
    from homeassistant.core import HomeAssistant
    from homeassistant.helpers.entity_platform import AddConfigEntryEntitiesCallback

    from .coordinator import OpenXPBMSConfigEntry, OpenXPBMSCoordinator

PARALLEL_UPDATES = 0

STORAGE_OFF, STORAGE_ON = "normal", "storage"

MODE = SelectEntityDescription(
    key="protection_mode",
    translation_key="protection_mode",
    entity_category=EntityCategory.CONFIG,
    options=[mode.value for mode in Mode],
)
STORAGE = SelectEntityDescription(
    key="storage_mode",
    translation_key="storage_mode",
    entity_category=EntityCategory.CONFIG,
    options=[STORAGE_OFF, STORAGE_ON],
)


async def async_setup_entry(
    hass: HomeAssistant,
    entry: OpenXPBMSConfigEntry,
    async_add_entities: AddConfigEntryEntitiesCallback,
) -> None:
    """Add what is chosen for the whole bus."""
    coordinator = entry.runtime_data
    async_add_entities([ProtectionMode(coordinator), StorageMode(coordinator)])


class _BusSelect(GuardEntity, SelectEntity):
    def _state(self) -> Any:
        return self.current_option


class ProtectionMode(_BusSelect):
    """Whether protection commands the outputs."""

    def __init__(self, coordinator: OpenXPBMSCoordinator) -> None:
        """Belong to the bus."""
        super().__init__(coordinator, None, MODE)

    @property
    def current_option(self) -> str:
        """The mode."""
        return self.guard.mode

    async def async_select_option(self, option: str) -> None:
        """Change the mode."""
        self.guard.set_mode(Mode(option))


class StorageMode(_BusSelect):
    """Whether batteries are kept about half charged."""

    def __init__(self, coordinator: OpenXPBMSCoordinator) -> None:
        """Belong to the bus."""
        super().__init__(coordinator, None, STORAGE)

    @property
    def current_option(self) -> str:
        """The mode."""
        return STORAGE_ON if self.guard.storage else STORAGE_OFF

    async def async_select_option(self, option: str) -> None:
        """Change the mode; storage needs something to stop charging with."""
        on = option == STORAGE_ON
        if on and self.guard.hands.outputs.charge is None:
            raise ServiceValidationError(
                translation_domain=DOMAIN, translation_key="storage_needs_relay"
            )
        self.guard.set_storage(on=on)
