"""Repairs for what a person can mend: which is raised when, and when it is over.

Each trouble is there, is over, or cannot be told now. It is raised when it has been
there for a while, and taken away only when it is seen to be over.
"""

from __future__ import annotations

import asyncio
import logging
from time import monotonic
from typing import TYPE_CHECKING, Any

from homeassistant.const import CONF_DEVICE
from homeassistant.core import callback
from homeassistant.helpers import issue_registry as ir

from .adapter import adapter_of, moved_to
from .bms.errors import (
    AnotherBattery,
    AnswerError,
    FixedSpeed,
    PortBusy,
    PortError,
    PortGone,
    PortMissing,
)
from .bms.port import shown
from .bms.shown import device_name
from .const import CONF_ADAPTER, DOMAIN
from .search import port_consumers

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from homeassistant.config_entries import ConfigEntry
    from homeassistant.core import HomeAssistant

    from .bms.rounds import Battery
    from .coordinator import OpenXPBMSConfigEntry, OpenXPBMSCoordinator

_LOGGER = logging.getLogger(__name__)

ISSUE_PORT = "port"
ISSUE_PORT_MOVED = "port_moved"
ISSUE_ANOTHER_BATTERY = "another_battery"
ISSUE_TWO_BATTERIES = "two_batteries"
ISSUE_SILENT_BATTERY = "silent_battery"
ISSUE_WEAK_LINK = "weak_link"
OF_BATTERIES = (
    ISSUE_ANOTHER_BATTERY,
    ISSUE_TWO_BATTERIES,
    ISSUE_SILENT_BATTERY,
    ISSUE_WEAK_LINK,
)

# How long a trouble must be there before a person is told, s.
PORT_AFTER = 60.0
ANOTHER_AFTER = 30.0
SILENT_AFTER = 3600.0
WEAK_AFTER = 300.0
# So many second answers within so many s are no accident.
SECONDS_ANSWERED = 3
SECONDS_WITHIN = 600.0
# A battery heard for so long without another second answer is alone again, s.
ALONE_AFTER = 60.0
# Link quality, %: below is weak, from the other on it is good again.
WEAK, GOOD = 80.0, 95.0
# One that is silent for longer has another trouble than a weak link, s.
GONE_AFTER = 60.0
# Ports are looked for at most so often, and for so long, s.
LOOK_EVERY = 10.0
LOOK_FOR = 5.0


class Troubles:
    """The troubles of one bus."""

    def __init__(
        self,
        hass: HomeAssistant,
        entry: OpenXPBMSConfigEntry,
        coordinator: OpenXPBMSCoordinator,
    ) -> None:
        """Begin with nothing seen; issues of batteries that were removed go."""
        self.hass = hass
        self.entry = entry
        self.coordinator = coordinator
        self._since: dict[str, float] = {}
        self._answered: dict[int, list[float]] = {}
        self._second: dict[int, int] = {}
        self._opened_at: float | None = None
        self._looked_at: float | None = None
        addresses = {battery.identity.address for battery in coordinator}
        forget_troubles(hass, entry, but=addresses)

    async def follow(self, error: BaseException | None) -> None:
        """Look at everything at the end of a round, which may have failed.

        Whatever goes wrong here must not keep the next round from being.
        """
        try:
            await self._follow(error)
        except Exception:
            _LOGGER.exception("%s: troubles cannot be told", self.entry.title)

    async def _follow(self, error: BaseException | None) -> None:
        if isinstance(error, PortError):
            after = 0.0 if isinstance(error, FixedSpeed) else PORT_AFTER
            if self._lasts(ISSUE_PORT, there=True, after=after):
                await self._tell_port(error)
        else:
            self._lasts(ISSUE_PORT, there=False)
            self._forget(ISSUE_PORT)
            self._remember_adapter()
        for battery in self.coordinator:
            self._follow_battery(battery)

    # The port

    async def _tell_port(self, error: PortError) -> None:
        now = monotonic()
        if self._looked_at is not None and now - self._looked_at < LOOK_EVERY:
            return
        self._looked_at = now
        url = self.coordinator.bus.url
        details = {"port": shown(url), **error.details}
        if isinstance(error, (PortGone, PortMissing)):
            adapter = self.entry.data.get(CONF_ADAPTER)
            found = await _soon(moved_to(self.hass, url, adapter))
            if found is not None:
                self._raise(
                    ISSUE_PORT,
                    ISSUE_PORT_MOVED,
                    {"port": shown(url), "found": found},
                    fix={"found": found},
                )
                return
        key = error.key
        if isinstance(error, PortBusy):
            users = [
                user.title
                for user in await _soon(port_consumers(self.hass, url)) or ()
                if user.config_entry_id != self.entry.entry_id
            ]
            if users:
                key, details["user"] = "port_busy_by", ", ".join(users)
        # A port that was unplugged has gone first and is missing then.
        self._raise(ISSUE_PORT, "port_gone" if key == "port_missing" else key, details)

    def _remember_adapter(self) -> None:
        """Note once after each opening which adapter the port is."""
        opened_at = self.coordinator.bus.opened_at
        if opened_at is None or opened_at == self._opened_at:
            return
        self._opened_at = opened_at
        self.entry.async_create_background_task(
            self.hass, self._note_adapter(), f"{self.entry.title} adapter"
        )

    async def _note_adapter(self) -> None:
        url = self.coordinator.bus.url
        adapter = await adapter_of(self.hass, url)
        data = dict(self.entry.data)
        if adapter == data.pop(CONF_ADAPTER, None) or data[CONF_DEVICE] != url:
            return
        if adapter is not None:
            data[CONF_ADAPTER] = adapter
        self.hass.config_entries.async_update_entry(self.entry, data=data)

    # The batteries

    def _follow_battery(self, battery: Battery) -> None:
        over = None if battery.reading is None else False
        another = isinstance(battery.error, AnotherBattery)
        silent = isinstance(battery.error, AnswerError) and not another
        self._judge(
            ISSUE_ANOTHER_BATTERY,
            battery,
            there=another or over,
            after=ANOTHER_AFTER,
        )
        self._judge(
            ISSUE_SILENT_BATTERY,
            battery,
            there=silent or over,
            after=SILENT_AFTER,
        )
        self._judge(ISSUE_TWO_BATTERIES, battery, there=self._two(battery), after=0.0)
        self._judge(
            ISSUE_WEAK_LINK, battery, there=self._weak(battery), after=WEAK_AFTER
        )

    def _judge(
        self, kind: str, battery: Battery, *, there: bool | None, after: float
    ) -> None:
        issue = f"{kind}_{battery.identity.address}"
        if self._lasts(issue, there=there, after=after):
            name = device_name(self.coordinator.family_name, battery.identity)
            address = str(battery.identity.address)
            self._raise(kind, kind, {"battery": name, "address": address}, address)
        elif there is False:
            self._forget(kind, str(battery.identity.address))

    def _two(self, battery: Battery) -> bool | None:
        """Whether two batteries have the address of one."""
        now, address = monotonic(), battery.identity.address
        count = self.coordinator.bus.counters_of(address).second_answers
        new = count - self._second.get(address, 0)
        self._second[address] = count
        times = [
            at for at in self._answered.get(address, ()) if now - at < SECONDS_WITHIN
        ]
        times += [now] * new
        self._answered[address] = times
        if len(times) >= SECONDS_ANSWERED and (battery.reading is None or new):
            return True
        alone = not times or now - times[-1] > ALONE_AFTER
        return False if alone and battery.reading is not None else None

    def _weak(self, battery: Battery) -> bool | None:
        """Whether too many of the last questions to a battery brought no answer."""
        gone = self._lasts(
            f"gone_{battery.identity.address}",
            there=battery.reading is None,
            after=GONE_AFTER,
        )
        counters = self.coordinator.bus.counters_of(battery.identity.address)
        quality = counters.quality
        if quality is None or gone or not self.coordinator.reachable:
            return None
        if quality >= GOOD:
            return False
        return True if quality < WEAK else None

    # What is told

    def _lasts(self, what: str, *, there: bool | None, after: float = 0.0) -> bool:
        """Whether something has been there for `after` s without a break."""
        if not there:
            self._since.pop(what, None)
            return False
        now = monotonic()
        return now - self._since.setdefault(what, now) >= after

    def _raise(
        self,
        kind: str,
        text: str,
        details: dict[str, str],
        of: str = "",
        *,
        fix: dict[str, Any] | None = None,
    ) -> None:
        entry_id = self.entry.entry_id
        data = {"entry_id": entry_id, "kind": text, **(fix or {})}
        ir.async_create_issue(
            self.hass,
            DOMAIN,
            issue_id(kind, entry_id, of),
            data=data,
            is_fixable=fix is not None,
            severity=ir.IssueSeverity.ERROR
            if kind == ISSUE_PORT
            else ir.IssueSeverity.WARNING,
            translation_key=text,
            translation_placeholders={"bus": self.entry.title, **details},
        )

    def _forget(self, kind: str, of: str = "") -> None:
        ir.async_delete_issue(
            self.hass, DOMAIN, issue_id(kind, self.entry.entry_id, of)
        )


async def _soon[T](looking: Awaitable[T]) -> T | None:
    """Return what a look at all ports finds, None where it takes too long."""
    try:
        async with asyncio.timeout(LOOK_FOR):
            return await looking
    except TimeoutError:
        return None


def issue_id(kind: str, entry_id: str, of: str = "") -> str:
    """Return the id of an issue of a bus, or `of` a battery by its address."""
    return f"{kind}_{entry_id}{of and f'_{of}'}"


@callback
def forget_troubles(
    hass: HomeAssistant, entry: ConfigEntry[Any], but: set[int] | None = None
) -> None:
    """Take the issues of a bus; `but` keeps the port's and these batteries'."""
    kept = set[str]()
    if but is not None:
        kept = {issue_id(ISSUE_PORT, entry.entry_id)} | {
            issue_id(kind, entry.entry_id, str(address))
            for kind in OF_BATTERIES
            for address in but
        }
    begins = tuple(
        issue_id(kind, entry.entry_id) for kind in (ISSUE_PORT, *OF_BATTERIES)
    )
    for domain, found in list(ir.async_get(hass).issues):
        if domain == DOMAIN and found.startswith(begins) and found not in kept:
            ir.async_delete_issue(hass, DOMAIN, found)
