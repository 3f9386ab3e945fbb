"""What happens at random: faults of lines, batteries, relays; people; restarts."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Sequence
from contextlib import asynccontextmanager
import random
import time
from typing import Any

from custom_components.openxpbms.bms.valence import TEMPERATURES, request
from custom_components.openxpbms.bms.virtual import VirtualModule
from custom_components.openxpbms.bms.virtual.line import Faults as LineFaults

from .buses import Bus
from .home import Home
from .truth import DANGERS, Truth
from .watch import Watch

# Mean s between the end of one and the begin of the next, on each bus.
QUIET = 150.0
DANGER_EVERY, RELAY_EVERY = 500.0, 900.0
PERSON_EVERY, BLOCK_EVERY = 240.0, 3600.0
RELOAD_EVERY = 2400.0
# Whoever was away is back within so long after it could be, s.
BACK_WITHIN = 30.0
# After how long without a foreign frame a bus asks again, s.
FOREIGN = 65.0


class Trouble:
    """Faults at random, as long as `run` runs."""

    def __init__(
        self,
        home: Home,
        watch: Watch,
        seed: int,
        settle: Callable[[Truth], None],
        reload: Callable[[Bus], Awaitable[None]],
    ) -> None:
        """Prepare; `settle` is called after the values of a battery were changed."""
        self.home = home
        self.watch = watch
        self.settle = settle
        self.reload = reload
        self.chance = random.Random(f"{seed}/faults")
        self.count: Counter[str] = Counter()
        self.person: Counter[str] = Counter()
        self._tasks: set[asyncio.Task[None]] = set()

    def start(self) -> None:
        """Begin."""
        loops: list[Coroutine[Any, Any, None]] = [self._people(), self._blocks()]
        for bus in self.home.buses.values():
            loops += [self._lines(bus), self._dangers(bus), self._reloads(bus)]
        loops += [self._relays()]
        self._tasks = {asyncio.create_task(each) for each in loops}

    async def stop(self) -> None:
        """End every fault, and let people clear up what is left."""
        for task in self._tasks:
            task.cancel()
        for result in await asyncio.gather(*self._tasks, return_exceptions=True):
            if isinstance(result, Exception):
                raise result
        self._tasks.clear()

    async def _pause(self, mean: float) -> None:
        await asyncio.sleep(self.chance.expovariate(1 / mean))

    @asynccontextmanager
    async def _on(self, name: str, whose: Bus | Truth) -> AsyncIterator[None]:
        """Count a fault, and let everybody know how long it lasts."""
        self.count[name] += 1
        whose.trouble += 1
        try:
            yield
        finally:
            whose.trouble -= 1
            whose.well_since = time.monotonic()

    # Lines

    async def _lines(self, bus: Bus) -> None:
        kinds = [self._noise, self._lost, self._late, self._overtaking, self._silent]
        kinds += [self._unplugged, self._babble, self._silent_all]
        if bus.name != "bank":
            kinds += [self._foreign, self._echo]
        while True:
            await self._pause(QUIET)
            await self.chance.choice(kinds)(bus)

    async def _with(self, name: str, bus: Bus, faults: LineFaults) -> None:
        async with self._on(name, bus):
            bus.line.faults = faults
            try:
                await self._pause(60)
            finally:
                bus.line.faults = LineFaults()

    async def _noise(self, bus: Bus) -> None:
        often = self.chance.choice((0.01, 0.1, 0.4))
        await self._with("noise", bus, LineFaults(noise=often))

    async def _lost(self, bus: Bus) -> None:
        often = self.chance.choice((0.02, 0.2, 0.5))
        await self._with("lost answers", bus, LineFaults(lost=often))

    async def _late(self, bus: Bus) -> None:
        faults = LineFaults(noise=0.02, late=0.2, late_by=(0.05, 2.5))
        await self._with("late answers", bus, faults)

    async def _overtaking(self, bus: Bus) -> None:
        faults = LineFaults(late=0.2, late_by=(0.05, 2.5), overtakes=True)
        await self._with("overtaking answers", bus, faults)

    async def _silent(self, bus: Bus) -> None:
        some = self.chance.sample(bus.truths, min(len(bus.truths), 2))
        await asyncio.gather(*(self._one_silent(truth) for truth in some))

    async def _one_silent(self, truth: Truth) -> None:
        async with self._on("silent battery", truth):
            truth.device.silent = True
            try:
                await self._pause(120)
            finally:
                truth.device.silent = False
                if isinstance(truth.device, VirtualModule):
                    truth.device.fall_asleep()

    async def _silent_all(self, bus: Bus) -> None:
        async with self._on("all silent", bus):
            for truth in bus.truths:
                truth.device.silent = True
            try:
                await self._pause(60)
            finally:
                for truth in bus.truths:
                    truth.device.silent = False

    async def _unplugged(self, bus: Bus) -> None:
        async with self._on("adapter pulled", bus):
            bus.line.unplug()
            try:
                await self._pause(40)
            finally:
                await bus.line.replug()

    async def _babble(self, bus: Bus) -> None:
        async with self._on("babble", bus):
            end = time.monotonic() + self.chance.uniform(1, 8)
            while time.monotonic() < end:
                bus.line.inject(self.chance.randbytes(self.chance.randint(1, 20)))
                await asyncio.sleep(self.chance.uniform(0.002, 0.2))

    async def _foreign(self, bus: Bus) -> None:
        async with self._on("another master", bus):
            if bus.other_master is not None:
                bus.other_master.talking = True
                try:
                    await asyncio.sleep(self.chance.uniform(3, 20))
                finally:
                    bus.other_master.talking = False
            else:
                frame = request(bus.truths[0].device.address, TEMPERATURES).encoded
                for _ in range(3):
                    bus.line.inject(frame)
                    await asyncio.sleep(1)
            await asyncio.sleep(FOREIGN)
            coordinator = self.home.entry(bus).runtime_data
            while coordinator.bus.watch.held:
                # What the repair does when a person says that the other has gone.
                await self._pause(60)
                async with self.home.busy:
                    self.person["line said to be free"] += 1
                    coordinator = self.home.entry(bus).runtime_data
                    coordinator.bus.watch.resume()

    async def _echo(self, bus: Bus) -> None:
        async with self._on("echo", bus):
            bus.line.echo = True
            try:
                await self._pause(60)
            finally:
                bus.line.echo = False

    # Batteries in danger

    async def _dangers(self, bus: Bus) -> None:
        while True:
            await self._pause(DANGER_EVERY)
            truth = self.chance.choice(bus.truths)
            danger = self.chance.choice(DANGERS[bus.family])
            self.count[f"danger: {danger.name}"] += 1
            truth.endanger(danger, time.monotonic())
            self.settle(truth)
            try:
                await asyncio.sleep(self.chance.choice((2.0, 30.0, 120.0)))
            finally:
                truth.endanger(None, time.monotonic())
                self.settle(truth)

    # Relays

    async def _relays(self) -> None:
        kinds = [self._stuck, self._away, self._welded, self._by_hand]
        while True:
            await self._pause(RELAY_EVERY)
            async with self.home.busy:
                await self._one_relay(kinds)

    async def _one_relay(
        self, kinds: Sequence[Callable[[str, float], Coroutine[Any, Any, None]]]
    ) -> None:
        name = self.chance.choice([*self.home.relays])
        kind = self.chance.choice(kinds)
        self.count[f"relay {kind.__name__.strip('_').replace('_', ' ')}"] += 1
        until = time.monotonic() + self.chance.uniform(20, 150)
        self.watch.impair(name)
        task = asyncio.create_task(self._keep_impaired(name))
        try:
            await kind(name, until)
        finally:
            task.cancel()
            self.watch.impair(name)

    async def _keep_impaired(self, name: str) -> None:
        while True:
            self.watch.impair(name)
            await asyncio.sleep(10)

    async def _stuck(self, name: str, until: float) -> None:
        self.home.relays[name].stuck = True
        try:
            await asyncio.sleep(until - time.monotonic())
        finally:
            self.home.relays[name].stuck = False

    async def _away(self, name: str, until: float) -> None:
        self.home.relays[name].set(there=False)
        try:
            await asyncio.sleep(until - time.monotonic())
        finally:
            self.home.relays[name].set(there=True)

    async def _welded(self, name: str, until: float) -> None:
        self.watch.welded.add(name)
        try:
            await asyncio.sleep(until - time.monotonic())
        finally:
            self.watch.welded.discard(name)

    async def _by_hand(self, name: str, until: float) -> None:
        relay = self.home.relays[name]
        relay.set(on=not relay.is_on)

    # People and the computer

    async def _people(self) -> None:
        while True:
            await self._pause(PERSON_EVERY)
            async with self.home.busy:
                await self.clear_up()

    async def clear_up(self) -> None:
        """Let a person look at every battery that waits for one."""
        for bus in self.home.buses.values():
            for watched in list(self.home.entry(bus).runtime_data.guard):
                kept = watched.kept
                held = watched.decision.findings or not kept.wanted
                board = self.home.entry(bus).runtime_data.guard._kept
                if held or board.held or board.faulty:
                    await self._press("button", "press", watched, "reset_protection")
                if not kept.wanted:
                    await self._press("switch", "turn_on", watched, "connection")

    async def _press(self, domain: str, service: str, watched: Any, key: str) -> None:
        done = await self.home.call(domain, service, f"{watched.key}_{key}")
        self.person[f"{key} {'done' if done else 'refused'}"] += 1

    async def _reloads(self, bus: Bus) -> None:
        while True:
            await self._pause(RELOAD_EVERY)
            async with self.home.busy, self._on("reload of the entry", bus):
                await self.reload(bus)

    async def _blocks(self) -> None:
        while True:
            await self._pause(BLOCK_EVERY)
            self.count["event loop held"] += 1
            end = time.monotonic() + self.chance.uniform(0.2, 2.0)
            while time.monotonic() < end:
                pass
            for bus in self.home.buses.values():
                bus.well_since = time.monotonic()
