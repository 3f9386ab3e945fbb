"""Repairs: what only a person can decide."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from homeassistant.components.repairs import ConfirmRepairFlow, RepairsFlow
from homeassistant.config_entries import ConfigEntryState

from .const import CONF_INVERT_CURRENT
from .coordinator import ISSUE_CURRENT_SIGN, OpenXPBMSConfigEntry

if TYPE_CHECKING:
    from homeassistant.core import HomeAssistant


class AskAgainFlow(ConfirmRepairFlow):
    """The other master has gone: ask again."""

    def __init__(self, entry: OpenXPBMSConfigEntry) -> None:
        """Keep the entry whose bus fell silent."""
        super().__init__()
        self._entry = entry

    async def async_step_confirm(self, user_input: dict[str, str] | None = None) -> Any:
        """Resume when told to."""
        if user_input is not None and self._entry.state is ConfigEntryState.LOADED:
            self._entry.runtime_data.bus.watch.resume()
            await self._entry.runtime_data.async_request_refresh()
        return await super().async_step_confirm(user_input)


class InvertCurrentFlow(ConfirmRepairFlow):
    """The current counts the wrong way round: turn it."""

    def __init__(self, entry: OpenXPBMSConfigEntry) -> None:
        """Keep the entry whose current is in doubt."""
        super().__init__()
        self._entry = entry

    async def async_step_confirm(self, user_input: dict[str, str] | None = None) -> Any:
        """Turn it when told to."""
        if user_input is not None:
            options = self._entry.options
            self.hass.config_entries.async_update_entry(
                self._entry,
                options={
                    **options,
                    CONF_INVERT_CURRENT: not options.get(CONF_INVERT_CURRENT, False),
                },
            )
            self.hass.config_entries.async_schedule_reload(self._entry.entry_id)
        return await super().async_step_confirm(user_input)


async def async_create_fix_flow(
    hass: HomeAssistant, issue_id: str, data: dict[str, Any] | None
) -> RepairsFlow:
    """Return the flow that mends an issue."""
    assert data is not None
    entry = hass.config_entries.async_get_known_entry(data["entry_id"])
    if data["kind"] == ISSUE_CURRENT_SIGN:
        return InvertCurrentFlow(entry)
    return AskAgainFlow(entry)
