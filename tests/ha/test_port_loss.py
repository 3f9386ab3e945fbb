"""A port that goes and comes back, told once each."""

from __future__ import annotations

from pathlib import Path

from homeassistant.core import HomeAssistant
import pytest

from custom_components.openxpbms.bms.virtual.line import VirtualLine
from custom_components.openxpbms.bms.virtual.valence import VirtualModule

from .conftest import MakeEntry, MakeLine, identity


async def test_a_failure_is_over_when_a_battery_is_heard_not_when_a_port_opens(
    hass: HomeAssistant,
    make_line: MakeLine,
    make_entry: MakeEntry,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    link = tmp_path / "adapter"
    module = VirtualModule(1, wake_time=0.0)
    line = await make_line(module, link=link)
    entry = await make_entry(str(link), identity(module))
    coordinator = entry.runtime_data
    await coordinator.async_refresh()
    line.unplug()
    await coordinator.async_refresh()
    assert not coordinator.last_update_success
    stranger = VirtualLine([], link=link)
    await stranger.start()
    for _ in range(2):
        await coordinator.async_refresh()
        assert coordinator.bus.is_open
        assert not coordinator.last_update_success
    await stranger.stop()
    await line.replug()
    await coordinator.async_refresh()
    if not coordinator.last_update_success:  # the old port was noticed only then
        await coordinator.async_refresh()
    assert coordinator.last_update_success
    told = [record.getMessage() for record in caplog.records]
    assert sum("Error fetching" in text for text in told) == 1
    assert sum("recovered" in text for text in told) == 1
