"""The connection switch of every battery."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from homeassistant.components.switch import SwitchEntity, SwitchEntityDescription
from homeassistant.const import EntityCategory
from homeassistant.core import callback
from homeassistant.exceptions import ServiceValidationError

from .const import DOMAIN
from .guard_entity import GuardEntity, told

if TYPE_CHECKING:
    from homeassistant.core import HomeAssistant
    from homeassistant.helpers.entity_platform import AddConfigEntryEntitiesCallback

    from .bms.rounds import Battery
    from .coordinator import OpenXPBMSConfigEntry, OpenXPBMSCoordinator
    from .guard import Watched

PARALLEL_UPDATES = 0

# Of the kind that is not reached by "turn off the garage".
CONNECTION = SwitchEntityDescription(
    key="connection",
    translation_key="connection",
    entity_category=EntityCategory.CONFIG,
)


async def async_setup_entry(
    hass: HomeAssistant,
    entry: OpenXPBMSConfigEntry,
    async_add_entities: AddConfigEntryEntitiesCallback,
) -> None:
    """Add the switch of every battery, also of those heard later."""
    coordinator = entry.runtime_data

    @callback
    def add(battery: Battery) -> None:
        async_add_entities([Connection(coordinator, coordinator.guard.of(battery))])

    entry.async_on_unload(coordinator.async_follow(add))


class Connection(GuardEntity, SwitchEntity):
    """On: a person wants the battery connected and protection allows it."""

    def __init__(self, coordinator: OpenXPBMSCoordinator, watched: Watched) -> None:
        """Take the battery."""
        super().__init__(coordinator, watched, CONNECTION)
        self.watched = watched

    async def async_added_to_hass(self) -> None:
        """Follow the pack, too: its own MOSFETs may be what is switched."""
        await super().async_added_to_hass()
        self.async_on_remove(self.coordinator.async_add_listener(self._changed))

    def _state(self) -> Any:
        return self.is_on, self.extra_state_attributes

    @property
    def is_on(self) -> bool:
        """Whether the battery is connected."""
        connected = self.guard.connected(self.watched)
        battery = self.watched.battery
        if not self.coordinator.pack_switch.acts_on(battery) or not battery.reading:
            return connected
        reading = battery.reading
        return connected and bool(reading.charge_mosfet or reading.discharge_mosfet)

    @property
    def extra_state_attributes(self) -> dict[str, Any]:
        """What a person wants, and what stands against it."""
        kept, decision = self.watched.kept, self.watched.decision
        attributes: dict[str, Any] = {
            "wanted": kept.wanted,
            "opened_by_hand": kept.by_hand,
            "recovering": decision.recovering,
            "stops": [told(finding) for finding in decision.findings if finding.stops],
        }
        waiting = self.guard.waiting(self.watched)
        if waiting is not None:
            attributes["waiting"] = "others_unknown" if waiting.unknown else "its_turn"
            if waiting.apart is not None:
                attributes["waiting"] = "voltage_apart"
                attributes["apart_mv_per_cell"] = round(1000 * waiting.apart, 1)
        if kept.trip_test is not None:
            attributes["trip_test"] = kept.trip_test
        return attributes

    async def async_turn_on(self, **kwargs: Any) -> None:
        """Connect, or say why not."""
        acts = self.coordinator.pack_switch.acts_on(self.watched.battery)
        if acts and not self.by_person:
            raise ServiceValidationError(
                translation_domain=DOMAIN, translation_key="mosfet_needs_person"
            )
        self.guard.connect(self.watched, person=self.by_person)
        if acts:
            await self.coordinator.pack_switch.switch(self.watched, on=True)

    async def async_turn_off(self, **kwargs: Any) -> None:
        """Disconnect, always."""
        self.guard.disconnect(self.watched)
        if self.coordinator.pack_switch.acts_on(self.watched.battery):
            await self.coordinator.pack_switch.switch(self.watched, on=False)
