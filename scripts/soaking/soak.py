"""One soak from its start to its report."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
import logging
from pathlib import Path
import random
import time
from typing import Any

from homeassistant.const import EVENT_CALL_SERVICE, EVENT_STATE_CHANGED
from homeassistant.core import Event, callback

from custom_components.openxpbms.bms.decision import Way
from custom_components.openxpbms.bms.reading import Reading
from custom_components.openxpbms.bms.rounds import Battery
from custom_components.openxpbms.coordinator import OpenXPBMSCoordinator
from custom_components.openxpbms.guard import Guard

from .buses import Bus, count_bytes, make_buses
from .clock import Clock
from .faults import BACK_WITHIN, Trouble
from .figures import Log, Sample, sample
from .home import Home
from .oracle import HEARD, SLACK, Oracle
from .truth import Truth
from .watch import Watch

# Mean s between two changes of one battery.
CHANGES_EVERY = 30.0
INTERVALS = {"valence": 5.0, "packs": 5.0, "bank": 5.0}
# One exchange, and all of a battery, may take so long, s.
EXCHANGE, WHOLE = 4.0, 8.0
# Events that the recorder may lag behind before no time is skipped any more.
BACKLOG = 300
# s of this clock: what is quiet before the first sample and the last.
QUIET = 600.0
# The end of a soak, in which batteries come back and people clear up, s.
RECOVERY = 900.0


@dataclass(frozen=True, slots=True)
class Plan:
    """How long, in real s, how fast at most, and from which seed; what is quiet."""

    seconds: float
    seed: int
    factor: float
    size: int = 8
    every: float = 60.0
    quiet: float = QUIET
    recovery: float = RECOVERY


class Soak:
    """Home Assistant, the buses, what befalls them, and who judges."""

    def __init__(self, plan: Plan, clock: Clock, folder: Path) -> None:
        """Prepare; nothing runs yet."""
        self.plan = plan
        self.clock = clock
        self.folder = folder
        self.buses = make_buses(folder, plan.seed, plan.size)
        self.home = Home(folder, self.buses)
        self.oracle = Oracle()
        self.log = Log()
        self.watch = Watch(self.home, time.monotonic)
        self.trouble = Trouble(
            self.home,
            self.watch,
            plan.seed,
            self._settle,
            self._reload,
        )
        self.samples: list[Sample] = []
        self.rounds: Counter[str] = Counter()
        self.missed: list[str] = []
        self.backlog = 0
        self._chance = random.Random(f"{plan.seed}/life")
        self._round_began: dict[str, float] = {}
        self._by_entity: dict[str, tuple[Bus, Truth, str]] = {}
        self._relays: set[str] = set()
        self._began = 0.0

    # Hooks

    def hook(self) -> None:
        """Look over the shoulder of every guard and coordinator there will be."""
        count_bytes(self.clock)
        heard = Guard._heard
        update = OpenXPBMSCoordinator._async_update_data
        soak = self

        def hear(
            guard: Guard, battery: Battery, reading: Reading, at: float, *, part: bool
        ) -> None:
            soak._judge(guard.entry.entry_id, battery, reading, at, part=part)
            heard(guard, battery, reading, at, part=part)

        async def round_(coordinator: OpenXPBMSCoordinator) -> None:
            await soak._round(coordinator, update)

        guard_class: Any = Guard
        guard_class._heard = hear
        coordinator_class: Any = OpenXPBMSCoordinator
        coordinator_class._async_update_data = round_

    def _bus(self, entry_id: str) -> Bus:
        return next(bus for bus in self.buses.values() if bus.entry_id == entry_id)

    def _truth(self, bus: Bus, address: int) -> Truth:
        return next(t for t in bus.truths if t.device.address == address)

    def _judge(
        self,
        entry_id: str,
        battery: Battery,
        reading: Reading,
        at: float,
        *,
        part: bool,
    ) -> None:
        now = time.monotonic()
        bus = self._bus(entry_id)
        truth = self._truth(bus, battery.identity.address)
        if part:
            self.oracle.part(truth, reading, now - EXCHANGE, now)
        elif bus.name == "bank" or now - at > SLACK or battery.error is not None:
            self.oracle.reading(truth, reading, at - WHOLE, now)
        else:
            began = self._round_began.get(bus.name, now)
            self.oracle.reading(truth, reading, max(began - SLACK, at - WHOLE), now)
        self.watch.hears(truth, reading, part=part)

    async def _round(
        self, coordinator: OpenXPBMSCoordinator, update: Callable[[Any], Any]
    ) -> None:
        bus = self._bus(coordinator.config_entry.entry_id)
        began = self._round_began[bus.name] = time.monotonic()
        try:
            await update(coordinator)
        except Exception:
            self.rounds["failed"] += 1
            self._count_missed(bus, list(coordinator), began)
            raise
        now = time.monotonic()
        self.rounds["done"] += 1
        self.rounds["ms"] += round(1000 * (now - began))
        self._count_missed(bus, list(coordinator), began)
        # Behind the listeners, which write the states.
        asyncio.get_running_loop().call_later(0.01, self._audit, bus, began)

    def _count_missed(self, bus: Bus, batteries: list[Battery], began: float) -> None:
        now = time.monotonic()
        for battery in batteries:
            if battery.reading is not None:
                self.rounds["readings"] += 1
                continue
            truth = self._truth(bus, battery.identity.address)
            since = max(bus.well_since, truth.well_since, self._began)
            well = bus.trouble == truth.trouble == 0 and now - BACK_WITHIN > since
            self.rounds["missed without a fault" if well else "missed"] += 1
            if well and len(self.missed) < 20:
                self.missed.append(
                    f"{now:.1f} {truth.name}: {battery.error}, for "
                    f"{now - (battery.silent_since or now):.1f} s, {now - since:.1f} s "
                    f"after the last fault, round of {now - began:.1f} s"
                )

    def _since(self, bus: Bus, began: float, now: float) -> float:
        since = began - SLACK
        if bus.name == "bank" or bus.trouble or now - bus.well_since < HEARD:
            # It may have been overheard, which counts for a while.
            since = min(since, now - HEARD)
        return since

    @callback
    def _audit(self, bus: Bus, began: float) -> None:
        """Look at all states of a bus: none may have stayed behind."""
        now = time.monotonic()
        since = self._since(bus, began, now)
        for entity_id, (whose, truth, key) in self._by_entity.items():
            state = self.home.hass.states.get(entity_id) if whose is bus else None
            if state is not None and state.state not in ("unavailable", "unknown"):
                self.oracle.state(truth, key, state.state, since, now)

    @callback
    def _state_changed(self, event: Event[Any]) -> None:
        entity_id, new = event.data["entity_id"], event.data["new_state"]
        if entity_id in self._relays:
            self._relay_changed(entity_id.partition(".")[2])
            return
        known = self._by_entity.get(entity_id)
        if known is None or new is None or new.state in ("unavailable", "unknown"):
            return
        bus, truth, key = known
        now = time.monotonic()
        began = self._round_began.get(bus.name, now)
        since = self._since(bus, began, now)
        self.oracle.state(truth, key, new.state, since, now)

    def _relay_changed(self, name: str) -> None:
        """Current stops or flows at once."""
        for bus in self.buses.values():
            for truth in bus.truths:
                if any(name in self.watch.names(bus, truth, way) for way in Way):
                    self._settle(truth)
        if self.watch.conducts(name) and not self.watch._is_impaired(name):
            self.watch.closed(name)

    @callback
    def _called(self, event: Event[Any]) -> None:
        entity_id = event.data["service_data"].get("entity_id")
        if isinstance(entity_id, str) and entity_id in self._relays:
            self.watch.acts[event.data["service"]] += 1

    # Life

    def _settle(self, truth: Truth, *, change: bool = False) -> None:
        bus = self.buses[truth.bus]
        ways = {way: self.watch.path(bus, truth, way) for way in Way}
        flow = {"charge": ways[Way.CHARGE], "discharge": ways[Way.DISCHARGE]}
        if change:
            truth.change(time.monotonic(), **flow)
        else:
            truth.settle(time.monotonic(), **flow)

    async def _live(self, bus: Bus) -> None:
        while True:
            mean = CHANGES_EVERY / len(bus.truths)
            await asyncio.sleep(self._chance.expovariate(1 / mean))
            self._settle(self._chance.choice(bus.truths), change=True)

    async def _look(self) -> None:
        while True:
            await asyncio.sleep(1.0)
            self.watch.look()

    async def _reload(self, bus: Bus) -> None:
        await self.home.hass.config_entries.async_reload(bus.entry_id)
        await asyncio.sleep(20)

    # The run

    async def run(self, say: Callable[[str], None]) -> None:
        """Run it all."""
        logging.getLogger().addHandler(self.log)
        for bus in self.buses.values():
            for truth in bus.truths:
                truth.settle(time.monotonic(), charge=False, discharge=False)
            await bus.line.start()
        await self.home.start()
        try:
            await self._furnished(say)
        finally:
            await self.home.stop()
            for bus in self.buses.values():
                await bus.line.stop()
            logging.getLogger().removeHandler(self.log)

    async def _furnished(self, say: Callable[[str], None]) -> None:
        hass = self.home.hass
        recorder: Any = hass.data["recorder_instance"]
        self.clock.brakes.append(lambda: recorder.backlog > BACKLOG)
        hass.bus.async_listen(EVENT_STATE_CHANGED, self._state_changed)
        hass.bus.async_listen(EVENT_CALL_SERVICE, self._called)
        self._relays = {
            self.home.relay_entity(name)
            for name in (*self.home.relays, "valence_load", "packs_load", "bank_load")
        }
        for bus in self.buses.values():
            await self.home.add(bus, INTERVALS[bus.name])
            for entity_id, address, key in self.home.sensors(bus):
                truth = self._truth(bus, address)
                if key in truth.sensors:
                    self._by_entity[entity_id] = bus, truth, key
        self._began = time.monotonic()
        self.watch.began()
        tasks = [asyncio.create_task(self._live(bus)) for bus in self.buses.values()]
        tasks.append(asyncio.create_task(self._look()))
        try:
            await self._soak(say)
        finally:
            for task in tasks:
                task.cancel()
            results = await asyncio.gather(*tasks, return_exceptions=True)
            with suppress(asyncio.CancelledError):
                for result in results:
                    if isinstance(result, Exception):
                        self.log.count["exceptions"] += 1
                        self.log.told.append(repr(result))

    async def _soak(self, say: Callable[[str], None]) -> None:
        await asyncio.sleep(self.plan.quiet)
        await self._sample(say)
        self.trouble.start()
        try:
            next_ = self.clock.real() + self.plan.every
            while self.clock.elapsed[0] < self.plan.seconds:
                await asyncio.sleep(1.0)
                if self.clock.real() >= next_:
                    next_ = self.clock.real() + self.plan.every
                    await self._sample(say)
        finally:
            await self.trouble.stop()
        end = time.monotonic() + self.plan.recovery
        while time.monotonic() < end:
            await asyncio.sleep(min(self.plan.recovery / 5, end - time.monotonic()))
            await self.trouble.clear_up()
        await asyncio.sleep(self.plan.quiet)
        await self._sample(say)

    async def _sample(self, say: Callable[[str], None]) -> None:
        real, passed = self.clock.elapsed
        with self.clock.stopped():
            taken = await asyncio.get_running_loop().run_in_executor(
                None, sample, self.folder, passed / 3600, len(asyncio.all_tasks())
            )
        self.samples.append(taken)
        wrong, broken = self.oracle.wrong.total(), self.watch.broken.total()
        errors = self.log.count["exceptions"] + self.log.count["other errors"]
        say(
            f"{real / 60:6.1f} min  {passed / 3600:6.2f} h  x{passed / real:5.1f}  "
            f"RSS {taken.rss / 1024:6.1f} MB  objects {taken.objects}  "
            f"tasks {taken.tasks}  threads {taken.threads}  files {taken.files}  "
            f"rows {taken.rows}  rounds {self.rounds['done']}  "
            f"missed {self.rounds['missed']}+{self.rounds['missed without a fault']}  "
            f"wrong {wrong}  rules broken {broken}  errors {errors}"
        )
