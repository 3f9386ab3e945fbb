"""How fast protection acts, in Home Assistant over virtual modules.

First, from the last byte of a frame that tells of a dangerous cell to the call that
opens the relay. Then, from the moment at which a module's cell becomes dangerous to
that call, with sixteen modules at real line speed of which one is dead, polled every
2 s; the goal is the interval and 1 s.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
import random
from statistics import median
import time

from homeassistant.components.input_boolean import DOMAIN as INPUT_BOOLEAN
from homeassistant.const import EVENT_CALL_SERVICE
from homeassistant.core import Event, callback
from homeassistant.helpers import entity_registry as er
from homeassistant.setup import async_setup_component

from custom_components.openxpbms.const import DEFAULT_GUARDED_INTERVAL
from custom_components.openxpbms.kept import Mode

from .batteries import modules
from .house import House, house
from .peer import Line, Peer
from .table import Row

MODULES = 16
DEAD = 11
FRAMES = 60
SURPRISES = 20
# Goals, ms and s.
FRAME_GOAL = 5.0
VALUE_GOAL = DEFAULT_GUARDED_INTERVAL + 1.0
SAFE, DANGEROUS = 3.3, 4.05


class Bench:
    """A guarded bus of which every relay call is timed."""

    def __init__(self, built: House, line: Line) -> None:
        """Listen to the relay."""
        self.hass, self.line, self.coordinator = built.hass, line, built.coordinator
        self.called = asyncio.Event()
        self.called_at = 0.0
        self._dangerous = 0
        self.hass.bus.async_listen(EVENT_CALL_SERVICE, self._called)

    @callback
    def _called(self, event: Event) -> None:
        data = event.data
        relay = data["service_data"].get("entity_id")
        if data["service"] == "turn_off" and relay == "input_boolean.charge":
            self.called_at = time.monotonic()
            self.called.set()

    def _let(self, volts: float) -> None:
        cells = [SAFE, SAFE, volts, SAFE]
        self.line.set(self._dangerous, cell_voltages=cells)

    def endanger(self, number: int) -> None:
        """Let a cell of a module have a dangerous voltage."""
        self._dangerous = number
        self._let(DANGEROUS)

    async def calm(self) -> None:
        """Make the last module safe again, and forget that it was not."""
        self._let(SAFE)
        await self.coordinator.async_refresh()
        for watched in self.coordinator.guard:
            watched.kept.memory = type(watched.kept.memory)(began=time.monotonic())
        await self.coordinator.async_refresh()
        await self.hass.services.async_call(
            INPUT_BOOLEAN,
            "turn_on",
            {"entity_id": "input_boolean.charge"},
            blocking=True,
        )
        self.called.clear()


@asynccontextmanager
async def _bench(peer: Peer, count: int) -> AsyncIterator[Bench]:
    """Set up a bus of `count` modules with an armed charge relay."""
    batteries = modules(count)
    if count >= DEAD:
        batteries[DEAD - 1].silent = True
    async with peer.line(batteries) as line, house(line.path, batteries) as built:
        config = {"charge": {"initial": True}, "dead": {"initial": False}}
        assert await async_setup_component(
            built.hass, INPUT_BOOLEAN, {INPUT_BOOLEAN: config}
        )
        registry = er.async_get(built.hass)
        charge = registry.async_get("input_boolean.charge")
        dead = registry.async_get("input_boolean.dead")
        assert charge is not None
        assert dead is not None
        outputs = {
            "joined": "parallel",
            "charge": {"relay": charge.id},
            # Cut off, so that its silence does not stop the others.
            "connections": {f"valence_1044{DEAD:05d}": {"relay": dead.id}},
        }
        built.hass.config_entries.async_update_entry(
            built.entry, options={"outputs": outputs}
        )
        assert await built.hass.config_entries.async_setup(built.entry.entry_id)
        await built.first_round()
        built.coordinator.guard.set_mode(Mode.ARMED)
        yield Bench(built, line)


async def _frame(peer: Peer) -> list[Row]:
    times = []
    async with _bench(peer, 1) as bench:
        for _ in range(FRAMES):
            await bench.calm()
            bench.endanger(0)
            await bench.coordinator.async_refresh()
            await asyncio.wait_for(bench.called.wait(), 10)
            last_byte = bench.line.given_until(bench.called_at)
            times.append(1000 * (bench.called_at - last_byte))
    what = "last byte of a dangerous frame to the relay call"
    return [
        Row(f"{what}, median of {FRAMES}", median(times), "ms", FRAME_GOAL),
        Row(f"{what}, worst", max(times), "ms"),
    ]


async def _value(peer: Peer) -> list[Row]:
    times = []
    chance = random.Random(1)
    alive = [number for number in range(MODULES) if number != DEAD - 1]
    async with _bench(peer, MODULES) as bench:
        for _ in range(SURPRISES):
            number = chance.choice(alive)
            await bench.calm()
            await asyncio.sleep(chance.uniform(0, DEFAULT_GUARDED_INTERVAL))
            begun = time.monotonic()
            bench.endanger(number)
            await asyncio.wait_for(bench.called.wait(), 30)
            times.append(bench.called_at - begun)
    what = f"value in one of {MODULES} modules, one of them dead, to the relay call"
    return [
        Row(f"{what}, worst of {SURPRISES}", max(times), "s", VALUE_GOAL),
        Row(f"{what}, median", median(times), "s"),
    ]


async def measure(peer: Peer) -> list[Row]:
    """Return the figures of this topic."""
    return [*await _frame(peer), *await _value(peer)]
