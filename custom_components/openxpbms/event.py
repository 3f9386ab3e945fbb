"""An event whenever protection finds something, and when it is over."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from homeassistant.components.event import EventEntity, EventEntityDescription
from homeassistant.core import Context, callback

from .const import FAMILY_SEPLOS
from .guard_entity import GuardEntity, told
from .write_log import Step

if TYPE_CHECKING:
    from homeassistant.core import HomeAssistant
    from homeassistant.helpers.entity_platform import AddConfigEntryEntitiesCallback

    from .bms.decision import Finding
    from .bms.rounds import Battery
    from .coordinator import OpenXPBMSConfigEntry, OpenXPBMSCoordinator
    from .guard import Watched
    from .write_log import Record

PARALLEL_UPDATES = 0

PROTECTION = EventEntityDescription(
    key="protection_event",
    translation_key="protection_event",
    event_types=["raised", "cleared"],
)


WRITE = EventEntityDescription(
    key="parameter_write",
    translation_key="parameter_write",
    event_types=[step.value for step in Step],
)


async def async_setup_entry(
    hass: HomeAssistant,
    entry: OpenXPBMSConfigEntry,
    async_add_entities: AddConfigEntryEntitiesCallback,
) -> None:
    """Add the event of every battery, also of those heard later."""
    coordinator = entry.runtime_data

    @callback
    def add(battery: Battery) -> None:
        watched = coordinator.guard.of(battery)
        async_add_entities([Protection(coordinator, watched)])
        if coordinator.family_name == FAMILY_SEPLOS and coordinator.asks:
            async_add_entities([ParameterWrite(coordinator, watched)])

    entry.async_on_unload(coordinator.async_follow(add))


class Protection(GuardEntity, EventEntity):
    """What protection found in a battery, one by one."""

    def __init__(self, coordinator: OpenXPBMSCoordinator, watched: Watched) -> None:
        """Take the battery."""
        super().__init__(coordinator, watched, PROTECTION)
        self.watched = watched

    def _state(self) -> Any:
        return None

    async def async_added_to_hass(self) -> None:
        """Follow what is raised and cleared."""
        await super().async_added_to_hass()
        self.async_on_remove(
            self.guard.async_on_event(self.watched.key, self._happened)
        )

    @callback
    def _happened(self, event_type: str, finding: Finding) -> None:
        self._trigger_event(event_type, told(finding))
        self.async_write_ha_state()


class ParameterWrite(GuardEntity, EventEntity):
    """Every step of a write into a pack, with the user who wants it."""

    def __init__(self, coordinator: OpenXPBMSCoordinator, watched: Watched) -> None:
        """Take the pack."""
        super().__init__(coordinator, watched, WRITE)
        self.watched = watched

    def _state(self) -> Any:
        return None

    async def async_added_to_hass(self) -> None:
        """Follow what is written."""
        await super().async_added_to_hass()
        writes = self.coordinator.writes
        self.async_on_remove(writes.async_on_record(self.watched.battery, self._noted))

    @callback
    def _noted(self, record: Record) -> None:
        self.async_set_context(Context(user_id=record.user_id))
        self._trigger_event(
            record.step,
            {
                "parameter": record.parameter,
                "unit": record.unit,
                "old": record.old,
                "new": record.new,
                "seen": record.seen,
                "reason": record.reason,
                "write": record.write,
            },
        )
        self.async_write_ha_state()
