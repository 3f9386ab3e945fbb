"""A real Home Assistant core with one bus in it, without a network."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from math import inf
from pathlib import Path
import tempfile
from typing import Any
from unittest.mock import patch

from homeassistant.components.recorder.core import Recorder
from homeassistant.core import HomeAssistant
from homeassistant.helpers import recorder as recorder_helper
from homeassistant.loader import DATA_CUSTOM_COMPONENTS
from homeassistant.setup import async_setup_component
from pytest_homeassistant_custom_component.common import (  # type: ignore[import-untyped]
    MockConfigEntry,
    async_test_home_assistant,
)

from custom_components.openxpbms.batteries import stored
from custom_components.openxpbms.bms.virtual import VirtualModule, VirtualPack
from custom_components.openxpbms.const import DOMAIN
from custom_components.openxpbms.coordinator import OpenXPBMSCoordinator

from .batteries import identity


@dataclass(slots=True)
class House:
    """Home Assistant and an entry of it, not yet set up; `folder` is its own."""

    hass: HomeAssistant
    entry: MockConfigEntry
    folder: Path

    @property
    def coordinator(self) -> OpenXPBMSCoordinator:
        """The entry's coordinator."""
        coordinator: OpenXPBMSCoordinator = self.entry.runtime_data
        return coordinator

    async def set_up(self) -> None:
        """Set the entry up and ask its batteries once; from then on only on demand."""
        assert await self.hass.config_entries.async_setup(self.entry.entry_id)
        await self.first_round()
        self.coordinator.update_interval = None
        self.coordinator._async_unsub_refresh()
        for battery in self.coordinator:
            battery.slow_from = inf
        await self.hass.async_block_till_done()

    async def first_round(self) -> None:
        """Wait until the round in the background has ended."""
        while self.coordinator.round_time is None:
            await asyncio.sleep(0.005)

    async def record(self) -> Recorder:
        """Let a recorder with a database in the folder write down every state."""
        recorder_helper.async_initialize_recorder(self.hass)
        url = f"sqlite:///{self.folder}/history.db"
        config = {"recorder": {"db_url": url, "commit_interval": 1}}
        assert await async_setup_component(self.hass, "recorder", config)
        recorder = recorder_helper.get_instance(self.hass)
        await recorder.async_recorder_ready.wait()
        return recorder


@asynccontextmanager
async def house(
    path: str,
    batteries: Sequence[VirtualModule | VirtualPack],
    *,
    options: Mapping[str, Any] | None = None,
    listening: bool = False,
) -> AsyncIterator[House]:
    """Build a house for batteries on the port `path`."""
    valence = isinstance(batteries[0], VirtualModule)
    more: dict[str, Any] = {"line": "mark"} if valence else {}
    if listening:
        more["mode"] = "listen"
    async with AsyncExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory())
        stack.enter_context(patch("homeassistant.setup.async_process_deps_reqs"))
        hass = await stack.enter_async_context(
            async_test_home_assistant(config_dir=folder)
        )
        hass.data.pop(DATA_CUSTOM_COMPONENTS, None)
        # The integration depends on it; nothing else of that is needed here.
        assert await async_setup_component(hass, "usb", {})
        entry = MockConfigEntry(
            domain=DOMAIN,
            data={
                "device": path,
                "family": "valence" if valence else "seplos",
                "batteries": stored([identity(battery) for battery in batteries]),
                **more,
            },
            options=dict(options or {}),
        )
        entry.add_to_hass(hass)
        yield House(hass, entry, Path(folder))
        if hasattr(entry, "runtime_data"):
            await hass.config_entries.async_unload(entry.entry_id)
        await hass.async_stop(force=True)
