"""One guarded bus on a virtual line at real speed, with everything it tells checked."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import asdict
import time
from typing import Any

from homeassistant.core import Event, EventStateChangedData, callback
from homeassistant.helpers import entity_registry as er
from homeassistant.setup import async_setup_component
from pytest_homeassistant_custom_component.common import MockConfigEntry

from custom_components.openxpbms.batteries import stored
from custom_components.openxpbms.bms.reading import Identity, Reading
from custom_components.openxpbms.bms.rounds import Battery
from custom_components.openxpbms.bms.virtual import (
    Faults,
    VirtualBank,
    VirtualLine,
    VirtualModule,
    VirtualPack,
)
from custom_components.openxpbms.const import DOMAIN
from custom_components.openxpbms.guard import Guard, Watched
from custom_components.openxpbms.kept import Mode
from custom_components.openxpbms.sensor import ReadingDescription
from tests.bms.conftest import identity as module_identity
from tests.bms.seplos_data import identity as pack_identity

from .home import Home
from .truth import Truth
from .wire import Wire

# Rounds of a stage's bus, s.
INTERVAL = 1
# After a fault everything must be heard again within a round and this, s.
RECOVERY = 5.0
# A machine that is busy with other things does not count, s.
SLACK = 3.0
# What silence forbids after so many s, and what is late about it.
SILENCE = {"charge": 15.0, "load": 60.0}
LATE = 2 * INTERVAL + SLACK
RELAY = "input_boolean"
# A Home Assistant has relays for so many buses.
BUSES = 8


def modules(number: int = 3, **more: Any) -> list[VirtualModule]:
    """Return modules that have nothing in common."""
    return [
        VirtualModule(address, serial=f"1044{address:05d}", **more)
        for address in range(1, number + 1)
    ]


def packs(number: int = 2, first: int = 0, **more: Any) -> list[VirtualPack]:
    """Return packs that have nothing in common."""
    return [
        VirtualPack(address, serial=f"SP57B-A{address:010d}", **more)
        for address in range(first, first + number)
    ]


class Stage:
    """A bus under guard, whose batteries are on a line in a thread of its own.

    Every Reading and every state is compared with what the batteries told. Relays are
    watched: none may close without Readings of all its batteries, and none may stay
    closed through a silence that forbids it.
    """

    def __init__(
        self, home: Home, wire: Wire, entry: MockConfigEntry, truths: list[Truth]
    ) -> None:
        """Watch an entry that is not set up yet."""
        self.home, self.wire, self.entry = home, wire, entry
        self.truths = {truth.battery.address: truth for truth in truths}
        self.heard: dict[int, float] = {}
        self.spared: set[int] = set()
        # Values that are wrong because a drill makes them so are not judged.
        self.judging = True
        # A relay that a drill plays with is not judged.
        self.relays_judged = True
        self.closings = self.openings = 0
        self._values: dict[str, tuple[int, Any]] = {}
        self._hooked: Any = None

    # What a drill asks

    @property
    def line(self) -> VirtualLine:
        """The line; only plain numbers may be set from here."""
        return self.wire.line

    @property
    def faults(self) -> Faults:
        """What befalls the line's answers."""
        return self.line.faults

    @property
    def calm(self) -> dict[str, Any]:
        """Faults as they are when nothing befalls."""
        return asdict(Faults())

    @property
    def asks(self) -> bool:
        """Whether the bus asks its batteries."""
        return bool(self.coordinator.asks)

    @property
    def answer(self) -> float:
        """How long a battery is given to answer, s."""
        return float(self.coordinator.bus.timing.answer)

    @property
    def coordinator(self) -> Any:
        """The bus's coordinator."""
        return self.entry.runtime_data

    @property
    def family(self) -> str:
        """The family of its batteries."""
        return str(self.coordinator.family_name)

    def device(self, address: int) -> Any:
        """Return the virtual battery that has this address in peace."""
        return self.truths[address].battery

    def coordinator_battery(self, address: int) -> Battery:
        """Return what is known of a battery."""
        found: Battery = next(
            b for b in self.coordinator if b.identity.address == address
        )
        return found

    def rotate_truths(self) -> None:
        """Every battery of a bank has the next one's number from now on."""
        numbers, truths = list(self.truths), list(self.truths.values())
        for truth in truths:
            truth.before = None
        self.truths = dict(zip(numbers, [*truths[1:], truths[0]], strict=True))
        for number, before in zip(numbers, truths, strict=True):
            self.truths[number].before = before

    @property
    def guard(self) -> Guard:
        """The bus's guard."""
        guard: Guard = self.coordinator.guard
        return guard

    def watched(self, address: int) -> Watched:
        """Return a battery under guard."""
        return next(w for w in self.guard if w.address == address)

    def relay(self, name: str) -> str:
        """Return the entity of a relay: charge, load."""
        return f"{RELAY}.{self.entry.entry_id}_{name}"

    def is_closed(self, name: str) -> bool:
        """Whether a relay is closed."""
        return self.home.hass.states.is_state(self.relay(name), "on")

    # Life

    async def start(self) -> None:
        """Set the entry up."""
        hass = self.home.hass
        self._unlisten = hass.bus.async_listen("state_changed", self._state_changed)
        assert await hass.config_entries.async_setup(self.entry.entry_id)
        self.hook()

    async def ready(self) -> None:
        """Wait for all batteries, arm, and wait until the relays are closed."""
        await self.heard_again(time.monotonic(), 30)
        self.guard.set_mode(Mode.ARMED)
        await self.until(lambda: self.is_closed("charge"), 60, "closed charging")
        await self.until(lambda: self.is_closed("load"), 60, "closed the load")

    def hook(self) -> None:
        """Hear all readings; to be called after each load of the entry."""
        rounds = self.coordinator.rounds
        if rounds.on_reading is self._hooked:
            return
        inner = rounds.on_reading

        def hear(battery: Battery, reading: Reading, at: float, *, part: bool) -> None:
            self._reading(battery.identity, reading, at, part=part)
            if inner is not None:
                inner(battery, reading, at, part=part)

        rounds.on_reading = self._hooked = hear
        registry = er.async_get(self.home.hass)
        entities = self.home.hass.data["sensor"]
        for address, key in self.coordinator.keys.items():
            for found in er.async_entries_for_config_entry(
                registry, self.entry.entry_id
            ):
                entity = entities.get_entity(found.entity_id)
                description = getattr(entity, "entity_description", None)
                if (
                    isinstance(description, ReadingDescription)
                    and found.unique_id == f"{key}_{description.key}"
                    # Of parts that came at different times.
                    and description.key != "power"
                ):
                    value = description.measure.value
                    self._values[found.entity_id] = (address, value)

    async def end(self) -> None:
        """Unload the entry."""
        hass = self.home.hass
        self.home.outcome.complaints += self.line.complaints
        self._unlisten()
        assert await hass.config_entries.async_unload(self.entry.entry_id)
        await hass.async_block_till_done()

    # Waiting

    async def until(self, holds: Any, seconds: float, what: str) -> float:
        """Wait until something holds; return after how many s, or break a rule."""
        begun = time.monotonic()
        while not holds():
            self.watch_relays()
            if time.monotonic() > begun + seconds:
                self.broken(f"not {what} within {seconds:.0f} s")
                break
            await asyncio.sleep(0.02)
        return time.monotonic() - begun

    async def stay(self, seconds: float) -> None:
        """Let s pass."""
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            self.watch_relays()
            await asyncio.sleep(min(left, 0.1))

    async def heard_again(self, since: float, seconds: float) -> float:
        """Wait until every battery has told a whole Reading after `since`."""

        def all_heard() -> bool:
            return all(
                battery.reading is not None
                and self.heard.get(battery.identity.address, 0.0) > since
                for battery in self.coordinator
            )

        return await self.until(all_heard, seconds, "heard again")

    async def recovers(self, within: float | None = None) -> float:
        """Measure how long it takes until every battery has a Reading again.

        At most a round and 5 s, unless a rule of the bus says otherwise.
        """
        round_time = self.coordinator.round_time or 0.0
        limit = max(INTERVAL, round_time) + RECOVERY if within is None else within
        took = await self.heard_again(time.monotonic(), limit + SLACK)
        outcome = self.home.outcome
        outcome.recovery = max(outcome.recovery or 0.0, took)
        return took

    @asynccontextmanager
    async def busy(self) -> AsyncIterator[None]:
        """Ask round after round without a pause."""

        async def ask() -> None:
            while True:
                await self.coordinator.async_refresh()
                await asyncio.sleep(0)

        asking = asyncio.create_task(ask())
        try:
            yield
        finally:
            asking.cancel()
            with suppress(asyncio.CancelledError):
                await asking

    async def faulty(self, faults: int, seconds: float = 600.0) -> None:
        """Wait until so many more answers were befallen by something."""
        begun = self.faults.injected
        await self.until(
            lambda: self.faults.injected >= begun + faults, seconds, "injected"
        )
        self.home.injected(self.faults.injected - begun)

    @contextmanager
    def sparing(self, *addresses: int) -> Iterator[None]:
        """Say which batteries have a fault now: of the others no Reading may lack."""
        self.spared = set(addresses)
        try:
            yield
        finally:
            self.spared = set()

    @contextmanager
    def not_judged(self) -> Iterator[None]:
        """Do not compare values for a while."""
        self.judging = False
        try:
            yield
        finally:
            self.judging = True

    # Judging

    def broken(self, rule: str) -> None:
        """Note that a rule was broken."""
        if rule not in self.home.outcome.broken_rules:
            self.home.outcome.broken_rules.append(rule)

    def _reading(
        self, identity: Identity, reading: Reading, at: float, *, part: bool
    ) -> None:
        outcome, address = self.home.outcome, identity.address
        now = time.monotonic()
        if not part:
            outcome.readings += 1
            before = self.heard.get(address)
            if before is not None and self.spared and address not in self.spared:
                outcome.gap = max(outcome.gap or 0.0, now - before)
            self.heard[address] = now
        if self.judging and (wrong := self.truths[address].wrong(reading, at)):
            outcome.wrong.append(f"battery {address}: {', '.join(wrong)}"[:300])

    @callback
    def _state_changed(self, event: Event[EventStateChangedData]) -> None:
        entity_id, new = event.data["entity_id"], event.data["new_state"]
        if new is None:
            return
        if entity_id.startswith(f"{RELAY}.{self.entry.entry_id}_"):
            old = event.data["old_state"]
            if old is not None and old.state != new.state:
                self._switched(closed=new.state == "on")
        if entity_id in self._values and self.judging:
            address, value = self._values[entity_id]
            try:
                figure = float(new.state)
            except ValueError:
                return
            outcome = self.home.outcome
            outcome.states += 1
            if not self.truths[address].was(figure, value, time.monotonic()):
                outcome.wrong.append(f"{entity_id}: {new.state}")

    def _switched(self, *, closed: bool) -> None:
        self.openings += not closed
        self.closings += closed
        if not closed or not self.relays_judged:
            return
        for battery in self.coordinator:
            address = battery.identity.address
            age = time.monotonic() - self.heard.get(address, 0.0)
            if age > SILENCE["charge"]:
                self.broken(f"closed with nothing heard of {address} for {age:.0f} s")

    def watch_relays(self) -> None:
        """See that no relay is closed longer than silence allows."""
        if not self.relays_judged or self.guard.mode is not Mode.ARMED:
            return
        now = time.monotonic()
        for name, limit in SILENCE.items():
            for address, heard in self.heard.items():
                if now - heard > limit + LATE and self.is_closed(name):
                    self.broken(f"{name} closed {now - heard:.0f} s after {address}")


@asynccontextmanager
async def stage(
    home: Home,
    *devices: VirtualModule | VirtualPack,
    bank: bool = False,
    url: str | None = None,
    options: dict[str, Any] | None = None,
    others: Iterable[Any] = (),
    later: bool = False,
    **line: Any,
) -> AsyncIterator[Stage]:
    """Set up a bus of modules, of asked packs, or a `bank` of packs that is heard.

    One that is for `later` still has to become `ready`.

    `url` stands for the line's own path, `others` are further devices on the line,
    `line` are settings of VirtualLine.
    """
    family = "valence" if isinstance(devices[0], VirtualModule) else "seplos"
    if bank:
        on_line: list[Any] = [
            VirtualBank([d for d in devices if isinstance(d, VirtualPack)])
        ]
    else:
        on_line = list(devices)
    truths = [Truth(device, number) for number, device in enumerate(devices, 1)]
    wire = Wire(VirtualLine([*on_line, *others], **line))
    async with wire:
        hass = home.hass
        entry = MockConfigEntry(
            domain=DOMAIN,
            entry_id=f"bus{len(hass.config_entries.async_entries(DOMAIN)) + 1}",
            title="Garage",
            data={
                "device": url or str(wire.line.link or wire.line.path),
                "family": family,
                "line": "mark",
                "mode": "listen" if bank else "ask",
                "board": 200,
                "batteries": stored(_identity(device, bank=bank) for device in devices),
            },
        )
        relays = await _relays(home, entry.entry_id)
        entry.add_to_hass(hass)
        hass.config_entries.async_update_entry(
            entry,
            options={
                "interval": INTERVAL,
                "current_confirmed": True,
                "outputs": {"joined": "parallel", **relays},
                **(options or {}),
            },
        )
        on = Stage(home, wire, entry, truths)
        try:
            await on.start()
            if not later:
                await on.ready()
            yield on
        finally:
            await on.end()


async def _relays(home: Home, name: str) -> dict[str, Any]:
    """Return outputs with two relays, which are open."""
    hass = home.hass
    if RELAY not in hass.config.components:
        names = [f"bus{n}_{use}" for n in range(1, BUSES + 1) for use in SILENCE]
        config = {RELAY: {one: {"initial": False} for one in names}}
        assert await async_setup_component(hass, RELAY, config)
    registry = er.async_get(hass)
    found = {use: registry.async_get(f"{RELAY}.{name}_{use}") for use in SILENCE}
    return {use: {"relay": entry.id} for use, entry in found.items() if entry}


def _identity(device: VirtualModule | VirtualPack, *, bank: bool) -> Identity:
    if isinstance(device, VirtualModule):
        return module_identity(device)
    if not bank:
        return pack_identity(device)
    return Identity(
        address=device.address,
        serial=None,
        model="Seplos V3",
        model_code="",
        cells=device.cells,
        sensors=device.sensors,
        board=200,
    )
