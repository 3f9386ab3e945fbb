"""Service mode: the port is given to somebody else for half an hour."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

from homeassistant.core import HomeAssistant
from homeassistant.exceptions import HomeAssistantError
from homeassistant.setup import async_setup_component
import pytest
from pytest_homeassistant_custom_component.common import get_system_health_info
import serialx

from custom_components.openxpbms.bms.virtual.seplos import VirtualPack
from custom_components.openxpbms.bms.virtual.valence import VirtualModule
from custom_components.openxpbms.const import DOMAIN
from custom_components.openxpbms.kept import Mode

from .conftest import MakeEntry, MakeLine, first_round, identity
from .guarding import Clock, Guarded, guard_device, jumping_clock
from .writing import MakeBench, make_bench
from .writing import clock as clock_of_writes

__all__ = ["clock_of_writes", "make_bench"]

type Device = VirtualModule | VirtualPack


@pytest.fixture
def clock() -> Iterator[Clock]:
    with jumping_clock() as clock:
        yield clock


async def closes(guarded: Guarded) -> None:
    """Wait until the port is closed and nothing is shown any more."""
    bus = guarded.entry.runtime_data.bus
    async with asyncio.timeout(20):
        while bus.is_open or guarded.state("communication").state != "off":
            await asyncio.sleep(0.01)


async def opens(guarded: Guarded) -> None:
    """Wait until the port is open and the battery is heard again."""
    async with asyncio.timeout(20):
        while guarded.state("communication").state != "on":
            await asyncio.sleep(0.01)


@pytest.mark.parametrize("device", [VirtualModule(1), VirtualPack(0)])
async def test_the_port_is_given_away_and_taken_back(
    hass: HomeAssistant, make_line: MakeLine, clock: Clock, device: Device
) -> None:
    guarded = await guard_device(hass, make_line, clock, device)
    coordinator = guarded.entry.runtime_data
    await guarded.stay(60)
    assert guarded.open_relays == set()
    await guarded.choose("protection_mode", "service")
    await closes(guarded)
    reason = guarded.state("communication").attributes["reason"]
    assert reason.endswith("is closed for service")
    # Somebody else can open it, which two at a time cannot.
    transport, _ = await serialx.create_serial_connection(
        asyncio.get_running_loop(),
        asyncio.Protocol,
        coordinator.bus.url,
        baudrate=19200,
    )
    await guarded.refresh(2)
    assert coordinator.last_update_success
    assert await async_setup_component(hass, "system_health", {})
    told = await get_system_health_info(hass, DOMAIN)
    assert told["1 Garage: port"] == "closed"
    assert told["1 Garage: kept silent by"] == "service, which ends by itself"
    transport.close()
    await transport.wait_closed()
    await guarded.wait(1799)
    assert not coordinator.bus.is_open
    await guarded.wait(1)
    assert guarded.bus_state("protection_mode", "select").state == "armed"
    # Nothing opens for want of readings that nobody could get.
    assert guarded.open_relays == set()
    await opens(guarded)
    await guarded.stay(40)
    assert guarded.open_relays == set()
    assert guarded.found == set()


async def test_who_stays_silent_after_service_is_given_up_after_the_grace(
    hass: HomeAssistant, make_line: MakeLine, clock: Clock
) -> None:
    module = VirtualModule(1)
    guarded = await guard_device(
        hass, make_line, clock, module, options={"answer_timeout": 200}
    )
    await guarded.stay(60)
    await guarded.choose("protection_mode", "service")
    await closes(guarded)
    module.silent = True
    await guarded.wait(600)
    assert guarded.found == {"silence"}
    await guarded.choose("protection_mode", "armed")
    assert guarded.found == set()
    await guarded.wait(15)
    assert guarded.open_relays == set()
    await guarded.wait(16)
    assert guarded.found == {"silence"}
    assert guarded.open_relays == {"charge", "load"}


async def test_a_restart_in_service_opens_no_port(
    hass: HomeAssistant, make_line: MakeLine, clock: Clock
) -> None:
    guarded = await guard_device(hass, make_line, clock, VirtualModule(1))
    await guarded.choose("protection_mode", "service")
    await closes(guarded)
    sent = guarded.entry.runtime_data.bus.counters.exchanges
    assert sent > 0
    assert await hass.config_entries.async_reload(guarded.entry.entry_id)
    await hass.async_block_till_done()
    coordinator = guarded.entry.runtime_data
    await coordinator.async_refresh()
    assert not coordinator.bus.is_open
    assert coordinator.bus.counters.exchanges == 0
    coordinator.guard.set_mode(Mode.ARMED)
    await opens(guarded)


async def test_a_bank_is_not_listened_to_in_service(
    hass: HomeAssistant, make_entry: MakeEntry, make_line: MakeLine
) -> None:
    module = VirtualModule(1, wake_time=0.0)
    line = await make_line(module)
    entry = await make_entry(line.path, identity(module))
    hass.config_entries.async_update_entry(
        entry, data={**entry.data, "family": "seplos", "mode": "listen"}
    )
    assert await hass.config_entries.async_reload(entry.entry_id)
    await first_round(hass, entry)
    coordinator = entry.runtime_data
    assert coordinator.bus.is_open
    coordinator.guard.set_mode(Mode.SERVICE)
    async with asyncio.timeout(20):
        while coordinator.bus.is_open:
            await asyncio.sleep(0.01)
    await coordinator.async_refresh()
    assert not coordinator.bus.is_open


async def test_nothing_is_written_in_service(make_bench: MakeBench) -> None:
    bench = await make_bench()
    coordinator = bench.entry.runtime_data
    coordinator.guard.set_mode(Mode.SERVICE)
    async with asyncio.timeout(20):
        while coordinator.bus.is_open:
            await asyncio.sleep(0.01)
    # Before a write the line must have been watched, which nobody can now.
    for doing, why in (
        (bench.act("get_parameters"), "port_lent"),
        (bench.prepare(), "not_quiet"),
    ):
        with pytest.raises(HomeAssistantError) as caught:
            await doing
        assert caught.value.translation_key == why
