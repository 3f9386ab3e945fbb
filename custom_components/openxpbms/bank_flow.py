"""The part of a flow that is about banks with a master of their own."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from homeassistant.config_entries import (
    SOURCE_RECONFIGURE,
    ConfigEntryState,
    ConfigFlowResult,
)
from homeassistant.const import CONF_DEVICE, UnitOfElectricCurrent
from homeassistant.helpers.selector import (
    NumberSelector,
    NumberSelectorConfig,
    NumberSelectorMode,
)
import voluptuous as vol

from .batteries import identities, keys, stored
from .bms.seplos_tables import COARSE_BOARD
from .const import (
    CONF_BATTERIES,
    CONF_BOARD,
    CONF_FAMILY,
    CONF_MODE,
    FAMILY_SEPLOS,
    MODE_ASK,
    MODE_LISTEN,
)
from .matching import Matching
from .search import fresh_packs
from .search_flow import SearchFlow
from .which_flow import WhichFlow
from .words import entry_title, moved_title, pack_list

if TYPE_CHECKING:
    from .bms.bank import HeardPack
    from .bms.reading import Identity
    from .coordinator import OpenXPBMSConfigEntry

DEFAULT_BOARD = 200
BOARD_SELECTOR = NumberSelector(
    NumberSelectorConfig(
        min=20,
        max=600,
        step=1,
        unit_of_measurement=UnitOfElectricCurrent.AMPERE,
        mode=NumberSelectorMode.BOX,
    )
)


class BankFlow(WhichFlow, SearchFlow):
    """A heard bank: setting it up, moving it, and changing to it or away from it."""

    def __init__(self) -> None:
        """Begin with nothing heard."""
        super().__init__()
        self._heard: dict[int, HeardPack] = {}
        self._new_mode = MODE_ASK
        self._unloaded = False

    def async_remove(self) -> None:
        """Let a bus go on that was stopped for a change that did not come."""
        super().async_remove()
        if self._unloaded:
            entry_id = self._get_reconfigure_entry().entry_id
            self.hass.config_entries.async_schedule_reload(entry_id)

    async def async_step_bank(
        self, user_input: dict[str, Any] | None = None
    ) -> ConfigFlowResult:
        """Tell of the bank that was heard and ask for what it does not tell."""
        search = self._search
        assert search is not None
        await search.close()
        packs = search.packs
        if user_input is not None:
            board = int(user_input[CONF_BOARD])
            return self.async_create_entry(
                title=entry_title(search.url, search.family_name),
                data={
                    CONF_DEVICE: search.url,
                    CONF_FAMILY: FAMILY_SEPLOS,
                    CONF_MODE: MODE_LISTEN,
                    CONF_BOARD: board,
                    CONF_BATTERIES: stored(_on_board(packs, board)),
                },
            )
        reading = max(packs, key=_current).reading
        assert reading is not None
        current = reading.current or 0.0
        return self.async_show_form(
            step_id="bank",
            data_schema=vol.Schema(
                {vol.Required(CONF_BOARD, default=DEFAULT_BOARD): BOARD_SELECTOR}
            ),
            description_placeholders={
                "packs": pack_list(packs),
                "current": f"{current:.2f} A",
                "coarse_current": f"{10 * current:.1f} A",
                "coarse_board": str(COARSE_BOARD),
            },
        )

    async def async_step_moved_bank(
        self, user_input: dict[str, Any] | None = None
    ) -> ConfigFlowResult:
        """Compare the packs heard on a new port with those that the entry has."""
        search = self._search
        assert search is not None
        await search.close()
        there = {pack.identity.address for pack in search.packs}
        known = identities(self._get_reconfigure_entry().data)
        missing = [str(i.address) for i in known if i.address not in there]
        if not missing:
            return await self.async_step_move_bank()
        return self.async_show_menu(
            step_id="moved_bank",
            menu_options=["move_bank", "listen_again", "new_port"],
            description_placeholders={"missing": ", ".join(missing)},
        )

    async def async_step_move_bank(
        self, user_input: dict[str, Any] | None = None
    ) -> ConfigFlowResult:
        """Take the new port; packs keep their numbers."""
        assert self._search is not None
        entry = self._get_reconfigure_entry()
        return self.async_update_reload_and_abort(
            entry,
            title=moved_title(entry, self._search.url),
            data_updates={CONF_DEVICE: self._search.url},
        )

    async def async_step_listen_instead(
        self, user_input: dict[str, Any] | None = None
    ) -> ConfigFlowResult:
        """Change from asking to listening, with what the running bus overhears."""
        entry: OpenXPBMSConfigEntry = self._get_reconfigure_entry()
        if entry.state is not ConfigEntryState.LOADED:
            return self.async_abort(reason="not_loaded")
        packs = fresh_packs(entry.runtime_data)
        if not packs:
            return self.async_abort(reason="nothing_heard")
        self._heard = {pack.identity.address: pack for pack in packs}
        return await self._match(MODE_LISTEN, [pack.identity for pack in packs])

    async def async_step_ask_instead(
        self, user_input: dict[str, Any] | None = None
    ) -> ConfigFlowResult:
        """Change from listening to asking: hear first that the master has gone."""
        entry: OpenXPBMSConfigEntry = self._get_reconfigure_entry()
        if entry.state is ConfigEntryState.LOADED:
            # The port is needed for the search.
            self._unloaded = await self.hass.config_entries.async_unload(entry.entry_id)
            if not self._unloaded:
                return self.async_abort(reason="not_loaded")
        self._form, self._after_scan = "bus_failed", "which_found"
        return await self._begin(entry.data[CONF_DEVICE], FAMILY_SEPLOS, mode=MODE_ASK)

    async def async_step_which_found(
        self, user_input: dict[str, Any] | None = None
    ) -> ConfigFlowResult:
        """Match what answered with what was heard before."""
        assert self._result is not None
        return await self._match(MODE_ASK, list(self._result.found))

    async def _match(self, mode: str, now: list[Identity]) -> ConfigFlowResult:
        entry = self._get_reconfigure_entry()
        self._new_mode = mode
        self._matching = Matching(identities(entry.data), now, keys(entry))
        result: ConfigFlowResult = await self.async_step_which()
        return result

    async def _matched(self, batteries: list[Identity]) -> ConfigFlowResult:
        assert self.source == SOURCE_RECONFIGURE
        self._unloaded = False
        return self.async_update_reload_and_abort(
            self._get_reconfigure_entry(),
            data_updates=changed(self._new_mode, batteries),
        )


def changed(mode: str, batteries: list[Identity]) -> dict[str, Any]:
    """Return what changes in an entry's data with its way of using the bus."""
    board = next((i.board for i in batteries if i.board is not None), None)
    return {
        CONF_MODE: mode,
        CONF_BOARD: board,
        CONF_BATTERIES: stored(batteries),
    }


def _current(pack: HeardPack) -> float:
    assert pack.reading is not None
    return abs(pack.reading.current or 0.0)


def _on_board(packs: list[HeardPack], board: int) -> list[Identity]:
    return [replace(pack.identity, board=board) for pack in packs]
