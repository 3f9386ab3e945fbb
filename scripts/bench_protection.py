"""Measure how fast protection acts, in Home Assistant over virtual modules.

Usage, from the repository's root: .venv-test/bin/python -m scripts.bench_protection

First, from the last byte of a frame that tells of a dangerous cell to the call that
opens the relay. Then, from the moment at which a module's cell becomes dangerous to
that call, with sixteen modules at real line speed of which one is dead, polled every
2 s; the goal is the interval and 1 s.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
import random
from statistics import median, quantiles
import sys
import tempfile
import time
from unittest.mock import patch

from homeassistant.components.input_boolean import DOMAIN as INPUT_BOOLEAN
from homeassistant.const import EVENT_CALL_SERVICE
from homeassistant.core import Event, HomeAssistant, callback
from homeassistant.helpers import entity_registry as er
from homeassistant.loader import DATA_CUSTOM_COMPONENTS
from homeassistant.setup import async_setup_component
from pytest_homeassistant_custom_component.common import (
    MockConfigEntry,
    async_test_home_assistant,
)

from custom_components.openxpbms.batteries import stored
from custom_components.openxpbms.bms.virtual import VirtualLine, VirtualModule
from custom_components.openxpbms.const import DEFAULT_GUARDED_INTERVAL, DOMAIN
from custom_components.openxpbms.kept import Mode
from scripts.bench_rounds import identity

MODULES = 16
DEAD = 11
FRAMES = 200
SURPRISES = 40
GOAL = DEFAULT_GUARDED_INTERVAL + 1.0
SAFE, DANGEROUS = 3.3, 4.05


class TimedLine(VirtualLine):
    """A line that remembers when it last gave the client a byte."""

    delivered = 0.0

    def _release(self) -> None:
        super()._release()
        self.delivered = time.monotonic()


class Bench:
    """A guarded bus of which every relay call is timed."""

    def __init__(self, hass: HomeAssistant, line: TimedLine, entry: MockConfigEntry):
        """Listen to the relay."""
        self.hass, self.line, self.entry = hass, line, entry
        self.called = asyncio.Event()
        self.called_at = self.delivered_at = 0.0
        hass.bus.async_listen(EVENT_CALL_SERVICE, self._called)

    @callback
    def _called(self, event: Event) -> None:
        data = event.data
        relay = data["service_data"].get("entity_id")
        if data["service"] == "turn_off" and relay == "input_boolean.charge":
            self.called_at, self.delivered_at = time.monotonic(), self.line.delivered
            self.called.set()

    async def calm(self, *modules: VirtualModule) -> None:
        """Make modules safe again, and forget that they were not."""
        for module in modules:
            module.cell_voltages[2] = SAFE
        guard = self.entry.runtime_data.guard
        await self.entry.runtime_data.async_refresh()
        for watched in guard:
            watched.kept.memory = type(watched.kept.memory)(began=time.monotonic())
        await self.entry.runtime_data.async_refresh()
        await self.hass.services.async_call(
            INPUT_BOOLEAN,
            "turn_on",
            {"entity_id": "input_boolean.charge"},
            blocking=True,
        )
        self.called.clear()


@asynccontextmanager
async def bench(count: int) -> AsyncIterator[tuple[Bench, list[VirtualModule]]]:
    """Set up a bus of `count` modules with an armed charge relay."""
    modules = [
        VirtualModule(n, serial=f"1044{n:05d}", silent=n == DEAD)
        for n in range(1, count + 1)
    ]
    with tempfile.TemporaryDirectory() as directory:
        async with (
            TimedLine(modules) as line,
            async_test_home_assistant(config_dir=directory) as hass,
        ):
            hass.data.pop(DATA_CUSTOM_COMPONENTS, None)
            config = {"charge": {"initial": True}, "dead": {"initial": False}}
            assert await async_setup_component(
                hass, INPUT_BOOLEAN, {INPUT_BOOLEAN: config}
            )
            registry = er.async_get(hass)
            charge = registry.async_get("input_boolean.charge")
            dead = registry.async_get("input_boolean.dead")
            assert charge is not None
            assert dead is not None
            entry = MockConfigEntry(
                domain=DOMAIN,
                data={
                    "device": line.path,
                    "family": "valence",
                    "line": "mark",
                    "batteries": stored([identity(module) for module in modules]),
                },
                options={
                    "outputs": {
                        "joined": "parallel",
                        "charge": {"relay": charge.id},
                        # Cut off, so that its silence does not stop the others.
                        "connections": {f"valence_1044{DEAD:05d}": {"relay": dead.id}},
                    }
                },
            )
            entry.add_to_hass(hass)
            assert await hass.config_entries.async_setup(entry.entry_id)
            await entry.runtime_data.async_refresh()
            entry.runtime_data.guard.set_mode(Mode.ARMED)
            yield Bench(hass, line, entry), modules
            await hass.config_entries.async_unload(entry.entry_id)
            await hass.async_stop(force=True)


async def measure_frame() -> None:
    """Print the time from a dangerous frame's last byte to the relay call."""
    times = []
    async with bench(1) as (timed, (module,)):
        for _ in range(FRAMES):
            await timed.calm(module)
            module.cell_voltages[2] = DANGEROUS
            await timed.entry.runtime_data.async_refresh()
            await asyncio.wait_for(timed.called.wait(), 10)
            times.append(timed.called_at - timed.delivered_at)
    print(
        f"last byte of a dangerous frame to the relay call: {len(times)} times, "
        f"median {1000 * median(times):.2f} ms, "
        f"99th percentile {1000 * quantiles(times, n=100)[98]:.2f} ms",
        flush=True,
    )


async def measure_value() -> None:
    """Print the time from a dangerous value in a module to the relay call."""
    times = []
    chance = random.Random(1)
    async with bench(MODULES) as (timed, modules):
        alive = [module for module in modules if not module.silent]
        for _ in range(SURPRISES):
            await timed.calm(*modules)
            module = chance.choice(alive)
            await asyncio.sleep(chance.uniform(0, DEFAULT_GUARDED_INTERVAL))
            begun = time.monotonic()
            module.cell_voltages[2] = DANGEROUS
            await asyncio.wait_for(timed.called.wait(), 30)
            times.append(timed.called_at - begun)
    print(
        f"value in one of {MODULES} modules, one dead, to the relay call: "
        f"{len(times)} times, median {median(times):.2f} s, worst {max(times):.2f} s; "
        f"{max(times) / GOAL:.2f} x the goal of {GOAL:.0f} s",
        flush=True,
    )


async def main() -> None:
    """Measure both."""
    with patch("homeassistant.setup.async_process_deps_reqs"):
        await measure_frame()
        await measure_value()


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
