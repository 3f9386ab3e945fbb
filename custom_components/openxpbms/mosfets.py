"""A lone Seplos pack's own MOSFETs, switched by its connection switch and protection.

Only where a person agreed to it in the options. A person switches both ways, after the
same minute of listening as any write; protection only ever switches off, once for each
trip and at once. Nothing is sent twice, and what the pack then shows is read back.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

from homeassistant.core import callback
from homeassistant.exceptions import HomeAssistantError

from .bms.decision import Way, is_cold
from .bms.seplos_writes import Mosfet, Outcome, Result, Writer
from .const import CONF_MOSFETS, DOMAIN, FAMILY_SEPLOS
from .kept import Mode
from .spoken import REASON, spoken

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from homeassistant.core import HomeAssistant

    from .bms.rounds import Battery
    from .coordinator import OpenXPBMSConfigEntry, OpenXPBMSCoordinator
    from .guard import Watched

_LOGGER = logging.getLogger(__name__)

OFF = {Way.CHARGE: Mosfet.CHARGE_OFF, Way.DISCHARGE: Mosfet.DISCHARGE_OFF}
ON = {Way.CHARGE: Mosfet.CHARGE_ON, Way.DISCHARGE: Mosfet.DISCHARGE_ON}


class PackSwitch:
    """Switches the MOSFETs of the one pack of an entry."""

    def __init__(
        self,
        hass: HomeAssistant,
        entry: OpenXPBMSConfigEntry,
        coordinator: OpenXPBMSCoordinator,
    ) -> None:
        """Prepare; nothing is switched before `start`."""
        self.hass = hass
        self.entry = entry
        self.coordinator = coordinator
        # Ways that protection has switched off for what forbids them now.
        self._tripped: set[Way] = set()
        self._running: set[asyncio.Task[None]] = set()
        self._forget: Callable[[], None] | None = None

    @property
    def battery(self) -> Battery | None:
        """The pack to switch, None where none is or may be."""
        batteries = list(self.coordinator)
        allowed = (
            self.entry.options.get(CONF_MOSFETS, False)
            and self.coordinator.family_name == FAMILY_SEPLOS
            and self.coordinator.asks
            and len(batteries) == 1
        )
        return batteries[0] if allowed else None

    def start(self) -> None:
        """Follow protection from now on."""
        if self.battery is not None:
            self._forget = self.coordinator.guard.async_add_listener(self._protect)
            self._protect()

    def stop(self) -> None:
        """Follow it no longer."""
        if self._forget:
            self._forget()
            self._forget = None

    async def wait(self) -> None:
        """Return when nothing is being switched any more."""
        while self._running:
            await asyncio.wait(self._running)

    def acts_on(self, battery: Battery) -> bool:
        """Whether a battery is the one that is switched."""
        return battery is self.battery

    async def switch(self, watched: Watched, *, on: bool) -> None:
        """Switch as a person wants it, as far as protection allows.

        Raises HomeAssistantError where a MOSFET did not do it.
        """
        ways = sorted(Way)
        if on:
            ways = [way for way in ways if watched.decision.may(way)]
        commands = [(ON if on else OFF)[way] for way in ways]
        for result in await self._send(watched.battery, commands, at_once=False):
            if result.outcome is not Outcome.VERIFIED:
                self._fail(result)

    @callback
    def _protect(self) -> None:
        """Switch off what protection forbids now and did not before."""
        battery = self.battery
        guard = self.coordinator.guard
        if battery is None or battery.reading is None or guard.mode is not Mode.ARMED:
            # Who is not heard cannot be told anything either.
            return
        watched = guard.of(battery)
        forbidden = {way for way in Way if not watched.decision.may(way)}
        if guard.hands.outputs.at_once and any(
            not is_cold(finding) for finding in watched.decision.stops
        ):
            forbidden = set(Way)
        new = forbidden - self._tripped
        self._tripped = forbidden
        if new:
            commands = [OFF[way] for way in sorted(new)]
            task = self.hass.async_create_task(
                self._trip(battery, commands), f"{DOMAIN} trip"
            )
            self._running.add(task)
            task.add_done_callback(self._running.discard)

    async def _trip(self, battery: Battery, commands: Iterable[Mosfet]) -> None:
        for result in await self._send(battery, commands, at_once=True):
            if result.outcome is not Outcome.VERIFIED:
                _LOGGER.error(
                    "A MOSFET of battery %s was to be switched off: %s (%s)",
                    battery.identity.address,
                    result.outcome,
                    result.reason,
                )

    async def _send(
        self, battery: Battery, commands: Iterable[Mosfet], *, at_once: bool
    ) -> list[Result]:
        writer = Writer(self.coordinator.bus, battery.identity)
        results = [await writer.switch(each, at_once=at_once) for each in commands]
        # What the pack shows now shall not wait for the next round.
        await self.coordinator.async_request_refresh()
        return results

    def _fail(self, result: Result) -> None:
        reason = spoken(self.hass, REASON, result.reason) if result.reason else "-"
        raise HomeAssistantError(
            translation_domain=DOMAIN,
            translation_key=f"mosfet_{result.outcome}",
            translation_placeholders={
                "reason": reason,
                "seconds": (result.details or {}).get("seconds", "60"),
            },
        )
