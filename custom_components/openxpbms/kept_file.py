"""A file in Home Assistant's storage of which is known whether it is on the disk.

Home Assistant's own Store tells nobody that it could not write.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
import logging
from typing import TYPE_CHECKING, Any

from homeassistant.core import HassJob, callback
from homeassistant.helpers import issue_registry as ir
from homeassistant.helpers.event import async_call_later
from homeassistant.helpers.json import json_bytes
from homeassistant.helpers.storage import Store
from homeassistant.util.json import json_loads

from .const import DOMAIN

if TYPE_CHECKING:
    from datetime import datetime

    from homeassistant.core import CALLBACK_TYPE, HomeAssistant

_LOGGER = logging.getLogger(__name__)

VERSION = 1
# What could not be written is tried again after so long, then after twice that, s.
AGAIN, AGAIN_AT_MOST = 5.0, 60.0

ISSUE_NOT_SAVED = "not_saved"


class KeptFile:
    """One file of an entry; `name` tells it from the entry's others.

    `on_kept` is called whenever it was written.
    """

    def __init__(
        self,
        hass: HomeAssistant,
        entry_id: str,
        name: str = "",
        on_kept: Callable[[], None] = lambda: None,
    ) -> None:
        """Name the file; nothing is read yet."""
        self._hass = hass
        self._entry_id = entry_id
        self._key = f"{DOMAIN}.{entry_id}{name}"
        self._on_kept = on_kept
        self._store = self._open()
        self._lock = asyncio.Lock()
        self._wanted: dict[str, Any] = {}
        self._kept: dict[str, Any] | None = None
        self._wait = AGAIN
        self._again: CALLBACK_TYPE | None = None
        self._stopped = False

    def _open(self) -> Store[dict[str, Any]]:
        # Written through to the disk: a latch must outlast a loss of power, too.
        return Store(self._hass, VERSION, self._key, atomic_writes=True)

    async def load(self) -> dict[str, Any] | None:
        """Return what is in it, None where there is none. Raises what reading does."""
        return await self._open().async_load()

    async def save(self, data: dict[str, Any]) -> bool:
        """Write it; return whether it is on the disk now. If not, it is tried again."""
        self._wanted = data
        return await self._write()

    @callback
    def stop(self) -> None:
        """Try nothing again any more, and take the issue: nobody would close it."""
        self._stopped = True
        self._end_trying()

    async def remove(self) -> None:
        """Remove the file."""
        self.stop()
        await self._store.async_remove()

    async def _write_again(self, _: datetime) -> None:
        self._again = None
        await self._write()

    async def _write(self) -> bool:
        async with self._lock:
            data = self._wanted
            if data is self._kept:
                return True
            why_not = await self._try(data)
            if why_not is None:
                if self._wait > AGAIN:
                    _LOGGER.info("%s is saved again", self._store.path)
                self._kept = data
                self._end_trying()
                self._on_kept()
            elif not (self._hass.is_stopping or self._stopped):
                self._try_later(why_not)
            return why_not is None

    async def _try(self, data: dict[str, Any]) -> str | None:
        """Write and read back; return why it is not there."""
        try:
            await self._store.async_save(data)
            read = await self._open().async_load()
        except Exception as err:  # noqa: BLE001
            # A disk has many ways to fail, and none may hold anybody up.
            return repr(err)
        return None if read == json_loads(json_bytes(data)) else "it is not there"

    def _try_later(self, why_not: str) -> None:
        if self._wait == AGAIN:
            _LOGGER.error("%s cannot be saved: %s", self._store.path, why_not)
            entry = self._hass.config_entries.async_get_entry(self._entry_id)
            ir.async_create_issue(
                self._hass,
                DOMAIN,
                self._issue_id,
                is_fixable=False,
                severity=ir.IssueSeverity.ERROR,
                translation_key=ISSUE_NOT_SAVED,
                translation_placeholders={
                    "bus": entry.title if entry else self._entry_id,
                    "file": self._store.path,
                },
            )
        self._forget_timer()
        job = HassJob(self._write_again, cancel_on_shutdown=True)
        self._again = async_call_later(self._hass, self._wait, job)
        self._wait = min(2 * self._wait, AGAIN_AT_MOST)

    def _end_trying(self) -> None:
        self._wait = AGAIN
        self._forget_timer()
        ir.async_delete_issue(self._hass, DOMAIN, self._issue_id)

    def _forget_timer(self) -> None:
        if self._again:
            self._again()
            self._again = None

    @property
    def _issue_id(self) -> str:
        return f"{ISSUE_NOT_SAVED}_{self._key}"
