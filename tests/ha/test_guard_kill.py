"""A Home Assistant of its own is killed: what it held open stays open."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from homeassistant.core import HomeAssistant
import pytest

from custom_components.openxpbms.bms.virtual.line import VirtualLine
from custom_components.openxpbms.bms.virtual.valence import VirtualModule
from tests.drills.process import CLOSED, OPEN, Guarded, guarded

# Some rounds, in which nothing may happen, s.
A_WHILE = 5


@pytest.fixture
async def line() -> AsyncIterator[VirtualLine]:
    async with VirtualLine([VirtualModule(1)]) as line:
        yield line


@pytest.fixture
async def home(
    hass: HomeAssistant,
    hass_storage: dict[str, Any],
    line: VirtualLine,
    tmp_path: Path,
) -> AsyncIterator[Guarded]:
    """Lay out an armed bus with three relays, as Home Assistant itself stores it."""
    [module] = line.devices
    assert isinstance(module, VirtualModule)
    home = await guarded(tmp_path, hass, hass_storage, line.path, module)
    yield home
    home.kill()


async def test_a_latch_outlasts_a_kill(home: Guarded, line: VirtualLine) -> None:
    [module] = line.devices
    assert isinstance(module, VirtualModule)
    home.start()
    await home.until(lambda: home.alarm("silence") == "off", "set up")
    await home.until(lambda: home.cell == "3.302", "heard")
    await home.until(lambda: home.relays == CLOSED, "closed")
    await home.for_a_while(lambda: home.relays == CLOSED, A_WHILE)

    module.cell_voltages[2] = 4.05
    await home.until(lambda: home.relays == OPEN, "opened")
    await home.until(lambda: home.is_latched, "saved")
    home.kill()

    # The cell is good again, and somebody has closed the relays.
    module.cell_voltages[2] = 3.302
    home.switch(on=True)
    home.start()
    await home.until(lambda: home.relays == OPEN, "opened again")
    await home.until(lambda: home.cell == "3.302", "heard again")
    await home.for_a_while(lambda: home.relays == OPEN, A_WHILE)
    assert home.alarm("cell_over_voltage_cut_off") == "on"
    assert home.alarm("protection_state_lost") == "off"
    assert home.alarm("charge_allowed") == "off"
    assert home.connection == "off"


async def test_a_half_written_file_counts_as_latched(home: Guarded) -> None:
    whole = home.path(home.key).read_bytes()
    home.path(home.key).write_bytes(whole[: len(whole) // 2])
    home.switch(on=True)
    home.start()
    await home.until(lambda: home.relays == OPEN, "opened")
    await home.until(lambda: home.cell == "3.302", "heard")
    await home.for_a_while(lambda: home.relays == OPEN, A_WHILE)
    assert home.alarm("protection_state_lost") == "on"
    assert home.alarm("charge_allowed") == "off"
    assert home.alarm("discharge_allowed") == "off"
    assert home.connection == "off"
