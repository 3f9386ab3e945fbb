"""Switches that play relays, good ones and bad ones."""

from __future__ import annotations

from typing import Any

from homeassistant.components.switch import SwitchEntity


async def async_setup_platform(
    hass: Any, config: Any, async_add_entities: Any, discovery_info: Any = None
) -> None:
    """Add one for each name that the soak has put there."""
    relays = hass.data["soak_relays"]
    for name in relays:
        relays[name] = PlayedRelay(name)
    async_add_entities(relays.values())


class PlayedRelay(SwitchEntity):
    """A switch that plays a relay; a `stuck` one stays as it is."""

    _attr_should_poll = False

    def __init__(self, name: str) -> None:
        """Begin open, as a relay without power is."""
        self._attr_name = self._attr_unique_id = name
        self._attr_is_on = False
        self.stuck = False

    def set(self, *, on: bool | None = None, there: bool = True) -> None:
        """Switch by hand, or go away or come back."""
        if on is not None:
            self._attr_is_on = on
        self._attr_available = there
        self.async_write_ha_state()

    async def async_turn_on(self, **kwargs: Any) -> None:
        """Close."""
        self._told(on=True)

    async def async_turn_off(self, **kwargs: Any) -> None:
        """Open."""
        self._told(on=False)

    def _told(self, *, on: bool) -> None:
        if not self.stuck:
            self.set(on=on)
