"""One bus, polled round after round, for all entities of an entry."""

from __future__ import annotations

from datetime import timedelta
import logging
import time
from typing import TYPE_CHECKING

from homeassistant.config_entries import ConfigEntry
from homeassistant.const import CONF_DEVICE
from homeassistant.core import callback
from homeassistant.helpers import issue_registry as ir
from homeassistant.helpers.update_coordinator import DataUpdateCoordinator, UpdateFailed

from .batteries import identities, keys, stored
from .bms.current_sign import GAP, SignWatch
from .bms.errors import BusError, ForeignMaster
from .bms.listening import Listening
from .bms.rounds import Battery, Rounds
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
from .families import current_divisor, make_bus, make_family
from .guard import Guard
from .guard_options import interval_of
from .mosfets import PackSwitch
from .whole_bank import WholeBank
from .writes import Writes

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from homeassistant.core import HomeAssistant

    from .bms.family import Family

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
        self.keys = keys(entry)
        self.guard = Guard(hass, entry, self)
        self.whole = WholeBank(entry, self)
        self.writes = Writes(hass, entry, self)
        self.pack_switch = PackSwitch(hass, entry, self)
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

    def key_of(self, battery: Battery) -> str:
        """Return the lasting key of a battery."""
        return self.keys[battery.identity.address]

    async def _async_update_data(self) -> None:
        start = time.monotonic()
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
        for battery in self:
            self._log(battery)
            self._watch_sign(battery)
        self.whole.follow()

    def issue_id(self, kind: str) -> str:
        """Return the id of a repair issue of this entry."""
        return f"{kind}_{self.config_entry.entry_id}"

    def _log(self, battery: Battery) -> None:
        """Once when a battery falls silent, once when it is back."""
        address = battery.identity.address
        if battery.reading is None and address not in self._told_silent:
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
