"""The button with which a person says to have looked."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from homeassistant.components.button import ButtonEntity, ButtonEntityDescription
from homeassistant.const import EntityCategory
from homeassistant.core import callback
from homeassistant.exceptions import ServiceValidationError

from .const import DOMAIN
from .guard_entity import GuardEntity

if TYPE_CHECKING:
    from homeassistant.core import HomeAssistant
    from homeassistant.helpers.entity_platform import AddConfigEntryEntitiesCallback

    from .bms.rounds import Battery
    from .coordinator import OpenXPBMSConfigEntry, OpenXPBMSCoordinator
    from .guard import Watched

PARALLEL_UPDATES = 0

RESET = ButtonEntityDescription(
    key="reset_protection",
    translation_key="reset_protection",
    entity_category=EntityCategory.CONFIG,
)


async def async_setup_entry(
    hass: HomeAssistant,
    entry: OpenXPBMSConfigEntry,
    async_add_entities: AddConfigEntryEntitiesCallback,
) -> None:
    """Add the button of every battery, also of those heard later."""
    coordinator = entry.runtime_data

    @callback
    def add(battery: Battery) -> None:
        async_add_entities([Reset(coordinator, coordinator.guard.of(battery))])

    entry.async_on_unload(coordinator.async_follow(add))


class Reset(GuardEntity, ButtonEntity):
    """Clears the latches of a battery of which nothing else is left."""

    def __init__(self, coordinator: OpenXPBMSCoordinator, watched: Watched) -> None:
        """Take the battery."""
        super().__init__(coordinator, watched, RESET)
        self.watched = watched

    def _state(self) -> Any:
        return None

    async def async_press(self) -> None:
        """Clear what may be cleared; raises with the reason where something stays."""
        if not self.by_person:
            raise ServiceValidationError(
                translation_domain=DOMAIN,
                translation_key="not_reset",
                translation_placeholders={"battery": self.guard.name_of(self.watched)},
            )
        self.guard.reset(self.watched)
