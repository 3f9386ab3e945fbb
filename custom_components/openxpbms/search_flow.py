"""The part of a flow that listens to a port and scans it, with progress."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Sequence
import os
from typing import Any

from homeassistant.components.usb import get_serial_by_id
from homeassistant.config_entries import ConfigFlow, ConfigFlowResult
from homeassistant.const import CONF_DEVICE
from homeassistant.core import callback

from .bms.bus import Heard
from .bms.errors import BusError, PortBusy
from .bms.families import KINDS
from .bms.family import ScanResult
from .bms.port import changes_speed, shown
from .const import DOMAIN, FAMILY_VALENCE, LINE_AUTO, MODE_ASK, MODE_AUTO, MODE_LISTEN
from .search import Search, port_users

# Some adapters make a byte or two of their own when their port is opened.
SPARE_BYTES = 3


class SearchFlow(ConfigFlow):
    """Listening, then scanning; every failure leads back to the form or a menu."""

    def __init__(self) -> None:
        """Begin with nothing chosen."""
        self._search: Search | None = None
        self._task: asyncio.Task[Any] | None = None
        self._error: BusError | None = None
        self._users: list[str] = []
        self._result: ScanResult | None = None
        self._mode = MODE_AUTO
        self._form = "port"
        self._after_scan = "found"
        self._after_heard = "bank"

    @callback
    def async_remove(self) -> None:
        """Let go of the port, also where the dialog was closed in the middle."""
        if self._search is not None:
            self.hass.async_create_task(self._search.close())

    async def _normal(self, url: str) -> str:
        """Return the lasting name of a local port."""
        if "://" in url:
            return url
        return await self.hass.async_add_executor_job(get_serial_by_id, url)

    async def _refusal(
        self, url: str, family: str = FAMILY_VALENCE
    ) -> tuple[dict[str, str], dict[str, str]]:
        """Say why a port is out of the question, before it is touched."""
        if KINDS[family].changes_speed and not changes_speed(url):
            return {CONF_DEVICE: "fixed_speed"}, {"port": shown(url)}
        same = await self.hass.async_add_executor_job(os.path.realpath, url)
        for entry in self.hass.config_entries.async_entries(DOMAIN):
            other = entry.data[CONF_DEVICE]
            path = await self.hass.async_add_executor_job(os.path.realpath, other)
            if url == other or same == path:
                return {"base": "port_used"}, {"entry": entry.title}
        return {}, {}

    def _failure(self) -> tuple[dict[str, str], dict[str, str]]:
        """Tell in a form what went wrong behind it."""
        error, self._error = self._error, None
        assert error is not None
        if isinstance(error, PortBusy) and self._users:
            return {"base": "port_busy_by"}, {
                **error.details,
                "user": ", ".join(self._users),
            }
        return {"base": error.key}, error.details

    async def _begin(
        self,
        url: str,
        family: str,
        addresses: Sequence[int] | None = None,
        *,
        line: str = LINE_AUTO,
        mode: str = MODE_AUTO,
    ) -> ConfigFlowResult:
        """Look at a port that passed `_refusal`."""
        self._mode = mode
        self._search = Search(url, family, line, addresses)
        return await self.async_step_listen()

    def _progress[T](
        self, step: str, work: Callable[[], Coroutine[Any, Any, T]]
    ) -> asyncio.Task[T] | ConfigFlowResult:
        """Show a progress bar while `work` runs; return the task when it is done."""
        if self._task is None:
            self._task = self.hass.async_create_task(work(), eager_start=False)
        if not self._task.done():
            return self.async_show_progress(
                step_id=step, progress_action=step, progress_task=self._task
            )
        task, self._task = self._task, None
        return task

    async def async_step_listen(
        self, user_input: dict[str, Any] | None = None
    ) -> ConfigFlowResult:
        """Hear who talks before anything is sent."""
        search = self._search
        assert search is not None
        done = self._progress(
            "listen", lambda: search.listen(self.async_update_progress)
        )
        if isinstance(done, dict):
            return done
        try:
            heard: Heard = done.result()
        except BusError as err:
            return await self._back(err)
        return self.async_show_progress_done(next_step_id=self._after(heard))

    def _after(self, heard: Heard) -> str:
        assert self._search is not None
        if heard.foreign and self._search.packs and self._mode != MODE_ASK:
            return self._after_heard
        if heard.foreign:
            return "foreign"
        if heard.noise > SPARE_BYTES:
            return "noise"
        return "unheard" if self._mode == MODE_LISTEN else "scan"

    async def _back(self, err: BusError) -> ConfigFlowResult:
        """Return to the form with an error."""
        assert self._search is not None
        await self._search.close()
        self._error = err
        if isinstance(err, PortBusy):
            self._users = await port_users(self.hass, self._search.url)
        return self.async_show_progress_done(next_step_id=self._form)

    async def async_step_listen_again(
        self, user_input: dict[str, Any] | None = None
    ) -> ConfigFlowResult:
        """Hear whether the other master has gone."""
        assert self._search is not None
        await self._search.close()
        self._search = self._search.again()
        return await self.async_step_listen()

    async def async_step_foreign(
        self, user_input: dict[str, Any] | None = None
    ) -> ConfigFlowResult:
        """Another master talks: say so, and send nothing."""
        return self.async_show_menu(
            step_id="foreign", menu_options=["listen_again", *self._back_options]
        )

    async def async_step_unheard(
        self, user_input: dict[str, Any] | None = None
    ) -> ConfigFlowResult:
        """There is nobody to listen to."""
        return self.async_show_menu(
            step_id="unheard", menu_options=["listen_again", *self._back_options]
        )

    @property
    def _back_options(self) -> list[str]:
        """The form to go back to; a flow that began without one has none."""
        return [] if self._form == "bus_failed" else [self._form]

    async def async_step_noise(
        self, user_input: dict[str, Any] | None = None
    ) -> ConfigFlowResult:
        """Bytes that make no frame: scan only when told."""
        scan = [] if self._mode == MODE_LISTEN else ["scan"]
        return self.async_show_menu(
            step_id="noise", menu_options=["listen_again", *scan, *self._back_options]
        )

    async def async_step_scan(
        self, user_input: dict[str, Any] | None = None
    ) -> ConfigFlowResult:
        """Ask address by address."""
        search = self._search
        assert search is not None
        done = self._progress("scan", lambda: search.scan(self.async_update_progress))
        if isinstance(done, dict):
            return done
        try:
            self._result = done.result()
        except BusError as err:
            return await self._back(err)
        if not self._result.found:
            step = "garbled" if self._result.garbled else "nothing"
            return self.async_show_progress_done(next_step_id=step)
        return self.async_show_progress_done(next_step_id=self._after_scan)

    async def async_step_scan_again(
        self, user_input: dict[str, Any] | None = None
    ) -> ConfigFlowResult:
        """Listen and scan once more."""
        return await self.async_step_listen_again()

    async def async_step_nothing(
        self, user_input: dict[str, Any] | None = None
    ) -> ConfigFlowResult:
        """Nobody answered: say what to look at."""
        return self.async_show_menu(
            step_id="nothing", menu_options=["scan_again", *self._back_options]
        )

    async def async_step_garbled(
        self, user_input: dict[str, Any] | None = None
    ) -> ConfigFlowResult:
        """Somebody answered, but not a single good frame."""
        assert self._result is not None
        return self.async_show_menu(
            step_id="garbled",
            menu_options=["scan_again", *self._back_options],
            description_placeholders={"addresses": listed(self._result.garbled)},
        )


def listed(addresses: Sequence[int]) -> str:
    """Return addresses as a sentence may name them."""
    return ", ".join(map(str, addresses))
