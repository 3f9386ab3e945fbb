"""Setting a bus up, and changing what it is, in the UI."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from homeassistant.config_entries import (
    SOURCE_RECONFIGURE,
    ConfigEntry,
    ConfigEntryState,
    ConfigFlowResult,
)
from homeassistant.const import CONF_DEVICE
from homeassistant.core import callback
from homeassistant.data_entry_flow import section
from homeassistant.helpers.selector import (
    NumberSelector,
    NumberSelectorConfig,
    NumberSelectorMode,
    SelectOptionDict,
    SelectSelector,
    SelectSelectorConfig,
    SelectSelectorMode,
    SerialPortSelector,
    TextSelector,
)
import voluptuous as vol

from .bank_flow import BankFlow
from .batteries import identities, owner, stored
from .bms.errors import BusError
from .bms.families import KINDS, parse_addresses
from .bms.family import ScanResult
from .bms.port import DEMO_SCHEME
from .bms.reading import Identity
from .bms.valence import CELL_COUNTS, MODELS
from .const import (
    CONF_ADDRESSES,
    CONF_BATTERIES,
    CONF_CELLS,
    CONF_FAMILY,
    CONF_LINE,
    CONF_MODE,
    CONF_MODULES,
    DOMAIN,
    FAMILY_SEPLOS,
    FAMILY_VALENCE,
    LINE_AUTO,
    MODE_ASK,
    MODE_AUTO,
    MODE_LISTEN,
)
from .coordinator import OpenXPBMSConfigEntry
from .options_flow import LINE_SELECTOR, OpenXPBMSOptionsFlow
from .search import scan_running
from .search_flow import listed
from .words import entry_title, identity_label, moved_title

CONF_BATTERY = "battery"
CONF_MORE = "more"

# What the demo bus shows: a family, asked or as a bank with its own master.
DEMO_BANK = "seplos_bank"
DEMO_MOST = {FAMILY_VALENCE: 32, FAMILY_SEPLOS: 16, DEMO_BANK: 16}
DEMO_FEWEST = {FAMILY_VALENCE: 1, FAMILY_SEPLOS: 1, DEMO_BANK: 2}

FAMILY_SELECTOR = SelectSelector(
    SelectSelectorConfig(options=list(KINDS), translation_key=CONF_FAMILY)
)
DEMO_SELECTOR = SelectSelector(
    SelectSelectorConfig(options=list(DEMO_MOST), translation_key="demo")
)
MODE_SELECTOR = SelectSelector(
    SelectSelectorConfig(
        options=[MODE_AUTO, MODE_ASK, MODE_LISTEN],
        translation_key=CONF_MODE,
        mode=SelectSelectorMode.DROPDOWN,
    )
)
CELLS_SELECTOR = SelectSelector(
    SelectSelectorConfig(
        options=[str(count) for count in CELL_COUNTS], translation_key=CONF_CELLS
    )
)


class OpenXPBMSConfigFlow(BankFlow, domain=DOMAIN):
    """Port or demo bus, listening, scan, batteries to tick, entry."""

    VERSION = 1

    def __init__(self) -> None:
        """Begin with nothing chosen."""
        super().__init__()
        self._chosen: list[Identity] = []
        self._cells: dict[int, int] = {}
        self._input: dict[str, Any] = {}

    @staticmethod
    @callback
    def async_get_options_flow(
        config_entry: OpenXPBMSConfigEntry,
    ) -> OpenXPBMSOptionsFlow:
        """Return the flow behind the entry's cogwheel."""
        return OpenXPBMSOptionsFlow()

    async def async_step_user(
        self, user_input: dict[str, Any] | None = None
    ) -> ConfigFlowResult:
        """Choose between a real port and the demo bus."""
        return self.async_show_menu(step_id="user", menu_options=["port", "demo"])

    async def async_step_port(
        self, user_input: dict[str, Any] | None = None
    ) -> ConfigFlowResult:
        """Choose the port and the batteries' family."""
        errors: dict[str, str] = {}
        placeholders: dict[str, str] = {}
        self._form = "port"
        if user_input is not None:
            self._input = user_input
            family, more = user_input[CONF_FAMILY], user_input[CONF_MORE]
            url = await self._normal(user_input[CONF_DEVICE])
            try:
                addresses = parse_addresses(more.get(CONF_ADDRESSES, ""), family)
            except ValueError:
                errors["base"] = "bad_addresses"
                allowed = KINDS[family].allowed
                placeholders = {"low": str(allowed[0]), "high": str(allowed[-1])}
            else:
                errors, placeholders = await self._refusal(url, family)
            if not errors:
                seplos = family == FAMILY_SEPLOS
                return await self._begin(
                    url,
                    family,
                    addresses,
                    line=LINE_AUTO if seplos else more[CONF_LINE],
                    mode=more[CONF_MODE] if seplos else MODE_AUTO,
                )
        elif self._error is not None:
            errors, placeholders = self._failure()
        return self.async_show_form(
            step_id="port",
            data_schema=self.add_suggested_values_to_schema(
                vol.Schema(
                    {
                        vol.Required(CONF_DEVICE): SerialPortSelector(),
                        vol.Required(
                            CONF_FAMILY, default=FAMILY_VALENCE
                        ): FAMILY_SELECTOR,
                        vol.Required(CONF_MORE): section(
                            vol.Schema(
                                {
                                    vol.Optional(CONF_ADDRESSES): TextSelector(),
                                    vol.Required(
                                        CONF_LINE, default=LINE_AUTO
                                    ): LINE_SELECTOR,
                                    vol.Required(
                                        CONF_MODE, default=MODE_AUTO
                                    ): MODE_SELECTOR,
                                }
                            ),
                            {"collapsed": True},
                        ),
                    }
                ),
                self._input,
            ),
            errors=errors,
            description_placeholders=placeholders,
        )

    async def async_step_demo(
        self, user_input: dict[str, Any] | None = None
    ) -> ConfigFlowResult:
        """Choose virtual batteries."""
        errors: dict[str, str] = {}
        placeholders: dict[str, str] = {}
        self._form = "demo"
        if user_input is not None:
            what, count = user_input[CONF_FAMILY], int(user_input[CONF_MODULES])
            family = FAMILY_VALENCE if what == FAMILY_VALENCE else FAMILY_SEPLOS
            url = _demo_url(what, count)
            if DEMO_FEWEST[what] <= count <= DEMO_MOST[what]:
                errors, placeholders = await self._refusal(url, family)
            else:
                errors = {CONF_MODULES: "demo_count"}
                placeholders = {
                    "low": str(DEMO_FEWEST[what]),
                    "high": str(DEMO_MOST[what]),
                }
            if not errors:
                return await self._begin(url, family, _demo_addresses(what, count))
        elif self._error is not None:
            errors, placeholders = self._failure()
        return self.async_show_form(
            step_id="demo",
            data_schema=vol.Schema(
                {
                    vol.Required(CONF_FAMILY, default=FAMILY_VALENCE): DEMO_SELECTOR,
                    vol.Required(CONF_MODULES, default=4): NumberSelector(
                        NumberSelectorConfig(
                            min=1, max=32, step=1, mode=NumberSelectorMode.BOX
                        )
                    ),
                }
            ),
            errors=errors,
            description_placeholders=placeholders,
        )

    async def async_step_found(
        self, user_input: dict[str, Any] | None = None
    ) -> ConfigFlowResult:
        """Tick the batteries to use."""
        assert self._result is not None
        found = self._candidates()
        errors: dict[str, str] = {}
        garbled = self._result.garbled
        placeholders = {"garbled": listed(garbled)} if garbled else {}
        family = self._family
        free = [i for i in found if owner(self.hass, family, i) is None]
        if user_input is not None:
            ticked = set(user_input[CONF_BATTERIES])
            self._chosen = [i for i in found if str(i.address) in ticked]
            errors, more = self._refused_choice()
            placeholders |= more
            if not errors:
                return await self.async_step_cells()
        return self.async_show_form(
            step_id="found_garbled" if garbled else "found",
            data_schema=vol.Schema(
                {
                    vol.Required(
                        CONF_BATTERIES, default=[str(i.address) for i in free]
                    ): SelectSelector(
                        SelectSelectorConfig(
                            options=_options(found),
                            multiple=True,
                            mode=SelectSelectorMode.LIST,
                        )
                    )
                }
            ),
            errors=errors,
            description_placeholders=placeholders,
        )

    # The same page, whose text also names the addresses.
    async_step_found_garbled = async_step_found

    @property
    def _family(self) -> str:
        if self.source == SOURCE_RECONFIGURE:
            return str(self._get_reconfigure_entry().data[CONF_FAMILY])
        assert self._search is not None
        return self._search.family_name

    def _candidates(self) -> list[Identity]:
        """Return what was found and is not in the entry already."""
        assert self._result is not None
        if self.source != SOURCE_RECONFIGURE:
            return list(self._result.found)
        known = identities(self._get_reconfigure_entry().data)
        return [i for i in self._result.found if _match(i, known) is None]

    def _refused_choice(self) -> tuple[dict[str, str], dict[str, str]]:
        if not self._chosen:
            return {"base": "none_ticked"}, {}
        for identity in self._chosen:
            if entry := owner(self.hass, self._family, identity):
                return {"base": "battery_elsewhere"}, {
                    "battery": identity.serial or "",
                    "entry": entry.title,
                }
        return {}, {}

    async def async_step_cells(
        self, user_input: dict[str, Any] | None = None
    ) -> ConfigFlowResult:
        """Ask for the cells of each model that is not known, one after the other."""
        waiting = [
            identity
            for identity in self._chosen
            if self._of_unknown_model(identity) and identity.address not in self._cells
        ]
        if user_input is not None and waiting:
            self._cells[waiting.pop(0).address] = int(user_input[CONF_CELLS])
        if not waiting:
            return await self._finish()
        return self.async_show_form(
            step_id="cells",
            data_schema=vol.Schema(
                {
                    vol.Required(
                        CONF_CELLS, default=str(waiting[0].cells or CELL_COUNTS[0])
                    ): CELLS_SELECTOR
                }
            ),
            description_placeholders={"battery": identity_label(waiting[0])},
        )

    def _of_unknown_model(self, identity: Identity) -> bool:
        return self._family == FAMILY_VALENCE and identity.model_code not in MODELS

    async def _finish(self) -> ConfigFlowResult:
        """Make the entry, or add to the one that is being changed."""
        chosen = [
            replace(i, cells=self._cells.get(i.address, i.cells)) for i in self._chosen
        ]
        if self.source == SOURCE_RECONFIGURE:
            return self._add(chosen)
        search = self._search
        assert search is not None
        line = self._input.get(CONF_MORE, {}).get(CONF_LINE, LINE_AUTO)
        forced = search.mode is not None and line != LINE_AUTO
        options = {CONF_LINE: line} if forced else {}
        if self._mode == MODE_ASK:
            options[CONF_MODE] = MODE_ASK
        return self.async_create_entry(
            title=entry_title(search.url, search.family_name),
            data={
                CONF_DEVICE: search.url,
                CONF_FAMILY: search.family_name,
                **self._way(),
                CONF_BATTERIES: stored(chosen),
            },
            options=options,
        )

    def _way(self) -> dict[str, str]:
        """How the batteries of the search are reached."""
        assert self._search is not None
        mode = self._search.mode
        return {CONF_MODE: MODE_ASK} if mode is None else {CONF_LINE: mode.value}

    async def async_step_reconfigure(
        self, user_input: dict[str, Any] | None = None
    ) -> ConfigFlowResult:
        """Choose what to change."""
        data = self._get_reconfigure_entry().data
        if data.get(CONF_MODE) == MODE_LISTEN:
            options = ["new_port", "ask_instead"]
        elif self._family == FAMILY_SEPLOS:
            options = ["new_port", "more_batteries", "listen_instead"]
        else:
            options = ["new_port", "more_batteries"]
        if any(map(self._of_unknown_model, identities(data))):
            options.append("cells_of_unknown")
        return self.async_show_menu(step_id="reconfigure", menu_options=options)

    async def async_step_new_port(
        self, user_input: dict[str, Any] | None = None
    ) -> ConfigFlowResult:
        """Choose another port for the same batteries."""
        errors: dict[str, str] = {}
        placeholders: dict[str, str] = {}
        self._form = "new_port"
        self._after_scan, self._after_heard = "moved", "moved_bank"
        if user_input is not None:
            url = await self._normal(user_input[CONF_DEVICE])
            errors, placeholders = await self._refusal(url, self._family)
            if not errors:
                entry = self._get_reconfigure_entry()
                return await self._begin(
                    url,
                    self._family,
                    _addresses(entry),
                    line=entry.options.get(CONF_LINE, LINE_AUTO),
                    mode=entry.data.get(CONF_MODE, MODE_ASK),
                )
        elif self._error is not None:
            errors, placeholders = self._failure()
        return self.async_show_form(
            step_id="new_port",
            data_schema=vol.Schema({vol.Required(CONF_DEVICE): SerialPortSelector()}),
            errors=errors,
            description_placeholders=placeholders,
        )

    async def async_step_moved(
        self, user_input: dict[str, Any] | None = None
    ) -> ConfigFlowResult:
        """Compare what answers on the new port with what the entry has."""
        assert self._result is not None
        known = identities(self._get_reconfigure_entry().data)
        missing = [i for i in known if _match(i, self._result.found) is None]
        if not missing:
            return await self.async_step_move()
        options = ["scan_again", "new_port"]
        if len(missing) < len(known):
            options.insert(0, "move")
        return self.async_show_menu(
            step_id="moved",
            menu_options=options,
            description_placeholders={
                "missing": ", ".join(i.serial or str(i.address) for i in missing)
            },
        )

    async def async_step_move(
        self, user_input: dict[str, Any] | None = None
    ) -> ConfigFlowResult:
        """Take the new port, and the addresses that the batteries have there."""
        assert self._search is not None
        assert self._result is not None
        entry = self._get_reconfigure_entry()
        return self.async_update_reload_and_abort(
            entry,
            title=moved_title(entry, self._search.url),
            data_updates={
                CONF_DEVICE: self._search.url,
                **self._way(),
                CONF_BATTERIES: stored(_readdressed(entry, self._result)),
            },
        )

    async def async_step_more_batteries(
        self, user_input: dict[str, Any] | None = None
    ) -> ConfigFlowResult:
        """Scan over the running entry's own bus."""
        entry: OpenXPBMSConfigEntry = self._get_reconfigure_entry()
        if entry.state is not ConfigEntryState.LOADED:
            return self.async_abort(reason="not_loaded")
        done = self._progress(
            "more_batteries",
            lambda: scan_running(
                entry.runtime_data, _addresses(entry), self.async_update_progress
            ),
        )
        if isinstance(done, dict):
            return done
        try:
            self._result = done.result()
        except BusError as err:
            self._error = err
            return self.async_show_progress_done(next_step_id="bus_failed")
        return self.async_show_progress_done(
            next_step_id="found" if self._candidates() else "nothing_new"
        )

    async def async_step_bus_failed(
        self, user_input: dict[str, Any] | None = None
    ) -> ConfigFlowResult:
        """The running bus cannot be scanned now."""
        assert self._error is not None
        return self.async_abort(
            reason=self._error.key, description_placeholders=self._error.details
        )

    async def async_step_nothing_new(
        self, user_input: dict[str, Any] | None = None
    ) -> ConfigFlowResult:
        """Nothing to add, but addresses may have changed."""
        return self._add([], reason="nothing_new")

    def _add(
        self, chosen: list[Identity], reason: str = "reconfigure_successful"
    ) -> ConfigFlowResult:
        assert self._result is not None
        entry = self._get_reconfigure_entry()
        return self.async_update_reload_and_abort(
            entry,
            data_updates={
                CONF_BATTERIES: stored([*_readdressed(entry, self._result), *chosen])
            },
            reason=reason,
            reload_even_if_entry_is_unchanged=False,
        )

    async def async_step_cells_of_unknown(
        self, user_input: dict[str, Any] | None = None
    ) -> ConfigFlowResult:
        """Change how many cells the batteries of unknown models have."""
        entry = self._get_reconfigure_entry()
        known = identities(entry.data)
        unknown = {str(i.address): i for i in known if self._of_unknown_model(i)}
        if user_input is not None:
            changed = unknown[user_input[CONF_BATTERY]]
            return self.async_update_reload_and_abort(
                entry,
                data_updates={
                    CONF_BATTERIES: stored(
                        replace(i, cells=int(user_input[CONF_CELLS]))
                        if i == changed
                        else i
                        for i in known
                    )
                },
            )
        return self.async_show_form(
            step_id="cells_of_unknown",
            data_schema=vol.Schema(
                {
                    vol.Required(CONF_BATTERY): SelectSelector(
                        SelectSelectorConfig(options=_options(unknown.values()))
                    ),
                    vol.Required(CONF_CELLS): CELLS_SELECTOR,
                }
            ),
        )


def _addresses(entry: ConfigEntry) -> list[int]:
    """Return where to search: the usual addresses and those that are in use."""
    known = {identity.address for identity in identities(entry.data)}
    return sorted(known.union(KINDS[entry.data[CONF_FAMILY]].addresses))


def _options(batteries: Iterable[Identity]) -> list[SelectOptionDict]:
    return [
        SelectOptionDict(value=str(battery.address), label=identity_label(battery))
        for battery in batteries
    ]


def _demo_url(what: str, count: int) -> str:
    if what == FAMILY_VALENCE:
        return f"{DEMO_SCHEME}://{what}?modules={count}"
    bank = "&mode=bank" if what == DEMO_BANK else ""
    return f"{DEMO_SCHEME}://{FAMILY_SEPLOS}?packs={count}{bank}"


def _demo_addresses(what: str, count: int) -> range:
    """Return where a demo's batteries are; a lone pack is at 0."""
    return range(1) if (what, count) == (FAMILY_SEPLOS, 1) else range(1, count + 1)


def _match(identity: Identity, others: Iterable[Identity]) -> Identity | None:
    """Return the same battery among `others`: by serial number, else by address."""
    for other in others:
        if identity.serial is not None:
            if other.serial == identity.serial:
                return other
        elif other.serial is None and other.address == identity.address:
            return other
    return None


def _readdressed(entry: ConfigEntry, result: ScanResult) -> list[Identity]:
    """Return an entry's batteries with the addresses that a scan found them at."""
    known = identities(entry.data)
    moved = [
        replace(i, address=match.address) if (match := _match(i, result.found)) else i
        for i in known
    ]
    if len({i.address for i in moved}) < len(moved):
        return known
    return moved
