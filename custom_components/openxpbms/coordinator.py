"""One bus, polled round after round, for all entities of an entry."""

from __future__ import annotations

import asyncio
from datetime import timedelta
import logging
import time
from typing import TYPE_CHECKING, Any

from homeassistant.config_entries import ConfigEntry
from homeassistant.const import CONF_DEVICE
from homeassistant.core import callback
from homeassistant.helpers import issue_registry as ir
from homeassistant.helpers.update_coordinator import DataUpdateCoordinator, UpdateFailed

from .batteries import identities, keys, stored
from .bms.current_sign import GAP, SignWatch
from .bms.errors import BusError, ForeignMaster
from .bms.listening import Listening
from .bms.rounds import Battery, OnReading, Rounds
from .const import (
    CONF_BATTERIES,
    CONF_BOARD,
    CONF_CURRENT_CONFIRMED,
    CONF_FAMILY,
    CONF_MODE,
    DOMAIN,
    FAMILY_SEPLOS,
    FAMILY_VALENCE,
    MODE_ASK,
)
from .energy_store import EnergyStore
from .families import current_divisor, make_bus, make_family
from .guard import Guard
from .guard_options import interval_of
from .kept import Mode
from .mosfets import PackSwitch
from .troubles import Troubles
from .whole_bank import WholeBank
from .writes import Writes

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from homeassistant.core import HomeAssistant

    from .bms.family import Family
    from .bms.reading import Reading

_LOGGER = logging.getLogger(__name__)

type OpenXPBMSConfigEntry = ConfigEntry[OpenXPBMSCoordinator]

ISSUE_FOREIGN_MASTER = "foreign_master"
# The same, of packs that can also be listened to.
ISSUE_BANK_HEARD = "bank_heard"
ISSUE_CURRENT_SIGN = "current_sign"


class OpenXPBMSCoordinator(DataUpdateCoordinator[None]):
    """Polls the batteries of one bus, or follows what is heard of them.

    The values are on the batteries themselves: each is silent or not by itself, and
    a failed refresh means the port or the whole line.
    """

    config_entry: OpenXPBMSConfigEntry

    def __init__(self, hass: HomeAssistant, entry: OpenXPBMSConfigEntry) -> None:
        """Prepare; nothing is opened yet."""
        options = entry.options
        super().__init__(
            hass,
            _LOGGER,
            config_entry=entry,
            name=entry.title,
            update_interval=timedelta(seconds=interval_of(options)),
        )
        self.family_name: str = entry.data[CONF_FAMILY]
        self.asks = entry.data.get(CONF_MODE, MODE_ASK) == MODE_ASK
        self.bus = make_bus(
            entry.data[CONF_DEVICE], self.family_name, options, mute=not self.asks
        )
        self.family: Family | None = None
        self.rounds: Rounds | Listening
        if self.asks:
            self.family = make_family(self.bus, entry.data, options)
            self.rounds = Rounds(self.family, identities(entry.data))
        else:
            self.rounds = Listening(
                self.bus,
                identities(entry.data),
                board=entry.data.get(CONF_BOARD),
                divisor=current_divisor(options),
            )
            self.rounds.on_new = self._appeared
        self.rounds.on_reading = self._heard
        # Told of every reading and part before anything is shown.
        self.on_reading: OnReading | None = None
        self.reachable = True
        self._listening: dict[int, list[Callable[[], None]]] = {}
        self._shown: dict[int, tuple[object, ...]] = {}
        self.keys = keys(entry)
        self.guard = Guard(hass, entry, self)
        self._serving = False
        self.guard.onlookers.append(self._follow_mode)
        self.whole = WholeBank(entry, self)
        self.energy = EnergyStore(hass, entry, self)
        self.writes = Writes(hass, entry, self)
        self.pack_switch = PackSwitch(hass, entry, self)
        self.troubles = Troubles(hass, entry, self)
        self.bus_device_id = ""
        # At a slow pace two rounds must still join.
        gap = max(GAP, 3 * interval_of(options))
        self._signs = {battery.identity.address: SignWatch(gap) for battery in self}
        self._followers: list[Callable[[Battery], None]] = []
        self._told_silent: set[int] = set()
        self.round_time: float | None = None

    def __iter__(self) -> Iterator[Battery]:
        """Iterate over the batteries."""
        return iter(self.rounds.batteries)

    @callback
    def async_follow(self, add: Callable[[Battery], None]) -> Callable[[], None]:
        """Call `add` for every battery there is and will be; return how to end that."""
        self._followers.append(add)
        for battery in self:
            add(battery)
        return lambda: self._followers.remove(add)

    @callback
    def _appeared(self, battery: Battery) -> None:
        """A pack was heard that the entry does not know."""
        entry = self.config_entry
        known = [battery.identity for battery in self]
        self.hass.config_entries.async_update_entry(
            entry, data={**entry.data, CONF_BATTERIES: stored(known)}
        )
        self.keys = keys(entry)
        address = battery.identity.address
        _LOGGER.info("%s: pack %s was heard for the first time", self.name, address)
        for add in self._followers:
            add(battery)

    @callback
    def async_add_listener(
        self, update_callback: Callable[[], None], context: Any = None
    ) -> Callable[[], None]:
        """Listen to one battery where `context` is one, else to the ends of rounds."""
        if not isinstance(context, Battery):
            return super().async_add_listener(update_callback, context)
        listeners = self._listening.setdefault(context.identity.address, [])
        listeners.append(update_callback)
        return lambda: listeners.remove(update_callback)

    def _heard(
        self, battery: Battery, reading: Reading, at: float, *, part: bool
    ) -> None:
        """Let protection judge, then show what is whole.

        That is written while the next question is on the wire, battery by battery:
        all in one go they would hold the loop. A bank that is listened to talks several
        times a second and is shown once in a round.
        """
        if self.on_reading:
            self.on_reading(battery, reading, at, part=part)
        if self.asks and not part:
            self.reachable = True
            self.hass.loop.call_soon(self._show, battery)

    @callback
    def _show(self, battery: Battery) -> None:
        """Tell the entities of a battery to show what is known of it."""
        self._shown[battery.identity.address] = self._known(battery)
        for told in list(self._listening.get(battery.identity.address, ())):
            try:
                told()
            except Exception:
                _LOGGER.exception("%s: an entity cannot be shown", self.name)

    def _known(self, battery: Battery) -> tuple[object, ...]:
        """Return what tells whether there is anything new to show."""
        slow = battery.history, battery.settings
        return battery.read_at, battery.error, *slow, self.reachable

    async def _show_rest(self) -> None:
        """Show what changed otherwise than by a reading; others get a turn between."""
        for battery in self:
            if self._shown.get(battery.identity.address) != self._known(battery):
                self._show(battery)
                await asyncio.sleep(0)

    def key_of(self, battery: Battery) -> str:
        """Return the lasting key of a battery."""
        return self.keys[battery.identity.address]

    async def _async_update_data(self) -> None:
        try:
            await self._round()
            self.reachable = True
        except Exception as err:
            self.reachable = False
            await self._show_rest()
            await self.troubles.follow(err.__cause__)
            raise
        await self._show_rest()
        await self.troubles.follow(None)

    @callback
    def _follow_mode(self) -> None:
        """Close the port for service at once, and open it again afterwards."""
        serving = self.guard.mode is Mode.SERVICE
        if serving == self._serving or self.guard.stopped:
            return
        self._serving = serving
        self.config_entry.async_create_background_task(
            self.hass, self._lend_or_take_back(), f"{self.name} service"
        )

    async def _lend_or_take_back(self) -> None:
        if self._serving:
            await self.bus.lend()
        await self.async_request_refresh()

    async def _away(self) -> None:
        """Do without the port, which somebody else uses."""
        await self.bus.lend()
        for battery in self:
            battery.lost(self.bus.lent)
        self._forget_foreign_master()
        self.whole.follow()
        self.energy.take()

    async def _round(self) -> None:
        start = time.monotonic()
        if self._serving:
            await self._away()
            return
        self.bus.take_back()
        try:
            await self.rounds.round()
        except BusError as err:
            if isinstance(err, ForeignMaster):
                self._tell_foreign_master()
            raise UpdateFailed(
                translation_domain=DOMAIN,
                translation_key=err.key,
                translation_placeholders=err.details,
            ) from err
        self.round_time = time.monotonic() - start
        if self.asks and self.bus.watch.silent:
            self._tell_foreign_master()
        else:
            self._forget_foreign_master()
        self._check_over()
        for battery in self:
            self._log(battery)
            self._watch_sign(battery)
        self.whole.follow()
        self.energy.take()

    def _check_over(self) -> None:
        """Keep a failure up until a battery is heard; a port alone tells nothing."""
        last = self.last_exception
        if self.last_update_success or not isinstance(last, UpdateFailed):
            return
        if [*self] and not any(battery.reading for battery in self):
            raise UpdateFailed(
                translation_domain=DOMAIN,
                translation_key=last.translation_key,
                translation_placeholders=last.translation_placeholders,
            )

    def issue_id(self, kind: str) -> str:
        """Return the id of a repair issue of this entry."""
        return f"{kind}_{self.config_entry.entry_id}"

    def _log(self, battery: Battery) -> None:
        """Once when a battery falls silent, once when it is back."""
        address = battery.identity.address
        if battery.error is not None and address not in self._told_silent:
            self._told_silent.add(address)
            _LOGGER.warning("%s: %s", self.name, battery.error)
        elif battery.reading is not None and address in self._told_silent:
            self._told_silent.discard(address)
            _LOGGER.info("%s: battery %s answers again", self.name, address)

    def _watch_sign(self, battery: Battery) -> None:
        if (
            self.family_name != FAMILY_VALENCE
            or battery.reading is None
            or self.current_confirmed
        ):
            return
        watch = self._signs[battery.identity.address]
        if watch.add(battery.reading, time.monotonic()) is False:
            self._issue(ISSUE_CURRENT_SIGN, ir.IssueSeverity.WARNING)

    @property
    def current_confirmed(self) -> bool:
        """Whether a person has confirmed which way the current counts."""
        return bool(self.config_entry.options.get(CONF_CURRENT_CONFIRMED, False))

    @property
    def offers_listening(self) -> bool:
        """Whether an asking bus may propose to listen instead."""
        mode = self.config_entry.options.get(CONF_MODE)
        return self.family_name == FAMILY_SEPLOS and mode != MODE_ASK

    def _tell_foreign_master(self) -> None:
        kind = ISSUE_BANK_HEARD if self.offers_listening else ISSUE_FOREIGN_MASTER
        self._issue(kind, ir.IssueSeverity.ERROR, held=self.bus.watch.held)

    def _forget_foreign_master(self) -> None:
        for kind in (ISSUE_FOREIGN_MASTER, ISSUE_BANK_HEARD):
            ir.async_delete_issue(self.hass, DOMAIN, self.issue_id(kind))

    def _issue(
        self, kind: str, severity: ir.IssueSeverity, *, held: bool = False
    ) -> None:
        ir.async_create_issue(
            self.hass,
            DOMAIN,
            self.issue_id(kind),
            data={"entry_id": self.config_entry.entry_id, "kind": kind},
            is_fixable=True,
            severity=severity,
            translation_key=f"{kind}_held" if held else kind,
            translation_placeholders={"bus": self.config_entry.title},
        )
