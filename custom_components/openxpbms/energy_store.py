"""Energy of an entry's batteries and of its bank, counted on and on over restarts.

What is shown was on the disk before, so that it is never more than what a restart finds
there, however Home Assistant ended.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
import logging
from math import isfinite
import time
from time import monotonic
from typing import TYPE_CHECKING, Any

from homeassistant.core import callback
from homeassistant.exceptions import HomeAssistantError
from homeassistant.helpers.storage import Store

from .bms.energy import EnergyCounter
from .const import DOMAIN
from .whole_bank import BANK, believed

if TYPE_CHECKING:
    import asyncio

    from homeassistant.core import HomeAssistant

    from .coordinator import OpenXPBMSConfigEntry, OpenXPBMSCoordinator

_LOGGER = logging.getLogger(__name__)

VERSION = 1
# s
SAVE_EVERY = 60.0

_UNREADABLE = (
    *(HomeAssistantError, OSError),
    *(AttributeError, KeyError, TypeError, ValueError),
)


def energy_file(hass: HomeAssistant, entry_id: str) -> Store[dict[str, Any]]:
    """Return where an entry's energy is kept, written through to the disk."""
    key = f"{DOMAIN}.{entry_id}.energy"
    return Store(hass, VERSION, key, atomic_writes=True)


class EnergyStore:
    """The counters of an entry, by the keys of its batteries and BANK."""

    def __init__(
        self,
        hass: HomeAssistant,
        entry: OpenXPBMSConfigEntry,
        coordinator: OpenXPBMSCoordinator,
    ) -> None:
        """Begin at zero; `start` takes up what was kept."""
        self._hass = hass
        self._entry = entry
        self._coordinator = coordinator
        self._file = energy_file(hass, entry.entry_id)
        self._counters: dict[str, EnergyCounter] = {}
        # Until when each has counted, in UNIX time, and which do so since the start.
        self._until: dict[str, float] = {}
        self._begun: set[str] = set()
        self._shown: dict[str, EnergyCounter] = {}
        self._saved_at = 0.0
        self._saving: asyncio.Task[None] | None = None
        self._stopped = self._failing = False
        self._listeners: list[Callable[[], None]] = []

    @callback
    def async_add_listener(self, told: Callable[[], None]) -> Callable[[], None]:
        """Call `told` whenever there is more to show; return how to end that."""
        self._listeners.append(told)
        return lambda: self._listeners.remove(told)

    def shown(self, key: str) -> EnergyCounter:
        """Return what may be shown of a battery by its key, or of the BANK."""
        return self._shown.get(key) or EnergyCounter()

    async def start(self) -> None:
        """Take up what was kept; what cannot be read begins again at zero."""
        try:
            data = await self._file.async_load()
            kept = {} if data is None else dict(data["counters"])
            counters = {key: _counter(counted) for key, counted in kept.items()}
            self._until = {key: float(kept[key]["until"]) for key in kept}
        except _UNREADABLE as err:
            # Without a traceback: it is the file that is wrong.
            _LOGGER.error(  # noqa: TRY400
                "%s: the energy that was kept cannot be read; it begins at zero: %r",
                self._entry.title,
                err,
            )
            self._until, counters = {}, {}
        self._counters = counters
        self._shown = _copied(counters)
        self._saved_at = monotonic()

    def take(self) -> None:
        """Count what has flowed since the last round, and save it once a minute.

        While nobody has confirmed which way the current counts, nothing is counted.
        """
        whole = self._coordinator.whole
        if self._stopped or not whole.signed:
            return
        for battery in self._coordinator:
            if battery.reading is not None:
                key, at = self._coordinator.key_of(battery), battery.read_at
                self._add(key, believed(battery.reading).power, at or 0.0)
        self._add(BANK, whole.totals.power, whole.heard_at)
        saves = self._saving is not None and not self._saving.done()
        if not saves and monotonic() >= self._saved_at + SAVE_EVERY:
            self._saving = self._entry.async_create_task(
                self._hass, self._save_and_show(), f"{self._entry.title} energy"
            )

    def _add(self, key: str, power: float | None, at: float) -> None:
        if power is None:
            return
        now = time.time()
        counter = self._counters.setdefault(key, EnergyCounter())
        if key not in self._begun:
            self._begun.add(key)
            counter.missed(now - self._until.get(key, now))
        counter.add(power, at, gap=self._coordinator.whole.gap)
        self._until[key] = now

    async def _save_and_show(self) -> None:
        self._saved_at = monotonic()
        counters = _copied(self._counters)
        if await self._save() and await self._is_kept(counters):
            self._shown = counters
            for told in list(self._listeners):
                told()

    async def _save(self) -> bool:
        data = {
            "counters": {
                key: {**_plain(counter), "until": self._until[key]}
                for key, counter in self._counters.items()
            }
        }
        try:
            await self._file.async_save(data)
        except _UNREADABLE as err:
            if not self._failing:
                _LOGGER.error("%s: energy cannot be kept: %r", self._entry.title, err)  # noqa: TRY400
            self._failing = True
            return False
        self._failing = False
        return True

    async def _is_kept(self, counters: Mapping[str, EnergyCounter]) -> bool:
        """Read back: who saves is told neither of a full disk nor of a late write."""
        try:
            data = await energy_file(self._hass, self._entry.entry_id).async_load()
            kept = {} if data is None else data["counters"]
            return counters == {key: _counter(kept[key]) for key in counters}
        except _UNREADABLE:
            return False

    async def stop(self) -> None:
        """Keep what was counted since it was shown, too."""
        if self._stopped:
            return
        self._stopped = True
        if self._saving is not None:
            await self._saving
        if self._begun:
            await self._save()


def _copied(counters: Mapping[str, EnergyCounter]) -> dict[str, EnergyCounter]:
    return {key: replace(counter) for key, counter in counters.items()}


def _plain(counter: EnergyCounter) -> dict[str, float]:
    return {
        "charged": counter.charged,
        "discharged": counter.discharged,
        "uncounted": counter.uncounted,
    }


def _counter(kept: Mapping[str, Any]) -> EnergyCounter:
    """Return a counter as it was kept; raises ValueError where that makes no sense."""
    figures = {name: float(kept[name]) for name in _plain(EnergyCounter())}
    if not all(isfinite(value) and value >= 0 for value in figures.values()):
        raise ValueError(f"no counter: {figures}")
    return EnergyCounter(**figures)
