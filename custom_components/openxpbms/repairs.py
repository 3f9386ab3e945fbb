"""Repairs: what only a person can decide."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from homeassistant.components.repairs import ConfirmRepairFlow, RepairsFlow
from homeassistant.config_entries import ConfigEntryState
from homeassistant.const import CONF_DEVICE

from .bank_flow import changed
from .batteries import identities, keys
from .const import CONF_INVERT_CURRENT, MODE_LISTEN
from .coordinator import ISSUE_BANK_HEARD, ISSUE_CURRENT_SIGN, OpenXPBMSConfigEntry
from .guard_issues import ISSUE_NOT_ARMED, ISSUE_UNGUARDED
from .kept import Mode
from .matching import Matching
from .search import fresh_packs
from .troubles import ISSUE_PORT_MOVED
from .which_flow import WhichFlow
from .words import moved_title, pack_list

if TYPE_CHECKING:
    from homeassistant.core import HomeAssistant

    from .bms.bank import HeardPack
    from .bms.reading import Identity


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


class ArmFlow(ConfirmRepairFlow):
    """Relays are chosen, but nothing is commanded: arm."""

    def __init__(self, entry: OpenXPBMSConfigEntry) -> None:
        """Keep the entry that only watches."""
        super().__init__()
        self._entry = entry

    async def async_step_confirm(self, user_input: dict[str, str] | None = None) -> Any:
        """Arm when told to."""
        if user_input is not None and self._entry.state is ConfigEntryState.LOADED:
            self._entry.runtime_data.guard.set_mode(Mode.ARMED)
        return await super().async_step_confirm(user_input)


class MovedFlow(ConfirmRepairFlow):
    """The adapter is there under another name: use that."""

    def __init__(self, entry: OpenXPBMSConfigEntry, found: str) -> None:
        """Keep the entry whose port has gone, and the name it has now."""
        super().__init__()
        self._entry = entry
        self._found = found

    async def async_step_confirm(self, user_input: dict[str, str] | None = None) -> Any:
        """Take the new name when told to."""
        if user_input is not None:
            self.hass.config_entries.async_update_entry(
                self._entry,
                title=moved_title(self._entry, self._found),
                data={**self._entry.data, CONF_DEVICE: self._found},
            )
            self.hass.config_entries.async_schedule_reload(self._entry.entry_id)
        return await super().async_step_confirm(user_input)


class BankHeardFlow(WhichFlow, RepairsFlow):
    """Packs are asked by another master: listen to it, or ask again."""

    def __init__(self, entry: OpenXPBMSConfigEntry) -> None:
        """Keep the entry whose bus fell silent."""
        super().__init__()
        self._entry = entry
        self._heard: dict[int, HeardPack] = {}

    async def async_step_init(self, user_input: dict[str, str] | None = None) -> Any:
        """Offer both."""
        packs = self._packs()
        return self.async_show_menu(
            step_id="init",
            menu_options=["listen", "ask"] if packs else ["ask"],
            description_placeholders={
                "bus": self._entry.title,
                "packs": pack_list(packs) or "-",
            },
        )

    def _packs(self) -> list[HeardPack]:
        if self._entry.state is not ConfigEntryState.LOADED:
            return []
        return fresh_packs(self._entry.runtime_data)

    async def async_step_listen(self, user_input: dict[str, str] | None = None) -> Any:
        """Follow what the other master asks from now on."""
        packs = self._packs()
        if not packs:
            return self.async_abort(reason="nothing_heard")
        self._heard = {pack.identity.address: pack for pack in packs}
        self._matching = Matching(
            identities(self._entry.data),
            [pack.identity for pack in packs],
            keys(self._entry),
        )
        return await self.async_step_which()

    async def _matched(self, batteries: list[Identity]) -> Any:
        config_entries = self.hass.config_entries
        config_entries.async_update_entry(
            self._entry,
            data={**self._entry.data, **changed(MODE_LISTEN, batteries)},
        )
        config_entries.async_schedule_reload(self._entry.entry_id)
        return self.async_create_entry(data={})

    async def async_step_ask(self, user_input: dict[str, str] | None = None) -> Any:
        """Resume: the other master is said to have gone."""
        if self._entry.state is ConfigEntryState.LOADED:
            self._entry.runtime_data.bus.watch.resume()
            await self._entry.runtime_data.async_request_refresh()
        return self.async_create_entry(data={})


async def async_create_fix_flow(
    hass: HomeAssistant, issue_id: str, data: dict[str, Any] | None
) -> RepairsFlow:
    """Return the flow that mends an issue."""
    assert data is not None
    if data["kind"] == ISSUE_UNGUARDED:
        return ConfirmRepairFlow()
    entry = hass.config_entries.async_get_known_entry(data["entry_id"])
    if data["kind"] == ISSUE_PORT_MOVED:
        return MovedFlow(entry, data["found"])
    if data["kind"] == ISSUE_CURRENT_SIGN:
        return InvertCurrentFlow(entry)
    if data["kind"] == ISSUE_NOT_ARMED:
        return ArmFlow(entry)
    if data["kind"] == ISSUE_BANK_HEARD:
        return BankHeardFlow(entry)
    return AskAgainFlow(entry)
