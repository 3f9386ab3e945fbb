"""One bus, polled round after round, for all entities of an entry."""

from __future__ import annotations

from datetime import timedelta
import logging
import time
from typing import TYPE_CHECKING, Any

from homeassistant.config_entries import ConfigEntry
from homeassistant.const import CONF_DEVICE
from homeassistant.helpers import issue_registry as ir
from homeassistant.helpers.update_coordinator import DataUpdateCoordinator, UpdateFailed

from .batteries import identities, keys
from .bms.bus import Bus, Timing
from .bms.current_sign import GAP, SignWatch
from .bms.errors import BusError, ForeignMaster
from .bms.port import is_remote
from .bms.rounds import Battery, Rounds
from .bms.valence import TERMINATOR, LineMode, Valence
from .const import (
    CONF_ANSWER_TIMEOUT,
    CONF_CURRENT_CONFIRMED,
    CONF_INTERVAL,
    CONF_INVERT_CURRENT,
    CONF_LINE,
    CONF_TURNAROUND,
    DEFAULT_INTERVAL,
    DOMAIN,
    LINE_AUTO,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from homeassistant.core import HomeAssistant

_LOGGER = logging.getLogger(__name__)

type OpenXPBMSConfigEntry = ConfigEntry[OpenXPBMSCoordinator]

ISSUE_FOREIGN_MASTER = "foreign_master"
ISSUE_CURRENT_SIGN = "current_sign"


def make_timing(url: str, options: Mapping[str, Any]) -> Timing:
    """Return the times for a port: what the user set, else what suits its kind."""
    default = 500 if is_remote(url) else 120
    return Timing(
        answer=options.get(CONF_ANSWER_TIMEOUT, default) / 1000,
        turnaround=options.get(CONF_TURNAROUND, 0) / 1000,
    )


def make_family(
    bus: Bus, data: Mapping[str, Any], options: Mapping[str, Any]
) -> Valence:
    """Return the battery family of an entry on `bus`."""
    forced = options.get(CONF_LINE, LINE_AUTO)
    mode = data[CONF_LINE] if forced == LINE_AUTO else forced
    return Valence(
        bus,
        LineMode(mode),
        forced=forced != LINE_AUTO,
        inverted=options.get(CONF_INVERT_CURRENT, False),
    )


class OpenXPBMSCoordinator(DataUpdateCoordinator[None]):
    """Polls the batteries of one bus.

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
            update_interval=timedelta(
                seconds=options.get(CONF_INTERVAL, DEFAULT_INTERVAL)
            ),
        )
        url = entry.data[CONF_DEVICE]
        self.bus = Bus(url, terminator=TERMINATOR, timing=make_timing(url, options))
        self.family = make_family(self.bus, entry.data, options)
        self.rounds = Rounds(self.family, identities(entry.data))
        self.keys = keys(entry)
        self.bus_device_id = ""
        # At a slow pace two rounds must still join.
        gap = max(GAP, 3 * options.get(CONF_INTERVAL, DEFAULT_INTERVAL))
        self._signs = {battery.identity.address: SignWatch(gap) for battery in self}
        self._told_silent: set[int] = set()
        self.round_time: float | None = None

    def __iter__(self) -> Any:
        """Iterate over the batteries."""
        return iter(self.rounds.batteries)

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
        ir.async_delete_issue(self.hass, DOMAIN, self.issue_id(ISSUE_FOREIGN_MASTER))
        for battery in self:
            self._log(battery)
            self._watch_sign(battery)

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
        if battery.reading is None or self.current_confirmed:
            return
        watch = self._signs[battery.identity.address]
        if watch.add(battery.reading, time.monotonic()) is False:
            self._issue(ISSUE_CURRENT_SIGN, ir.IssueSeverity.WARNING)

    @property
    def current_confirmed(self) -> bool:
        """Whether a person has confirmed which way the current counts."""
        return bool(self.config_entry.options.get(CONF_CURRENT_CONFIRMED, False))

    def _tell_foreign_master(self) -> None:
        self._issue(ISSUE_FOREIGN_MASTER, ir.IssueSeverity.ERROR)

    def _issue(self, kind: str, severity: ir.IssueSeverity) -> None:
        held = kind == ISSUE_FOREIGN_MASTER and self.bus.watch.held
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
