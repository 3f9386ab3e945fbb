"""What befalls protection: its relays, its files, clocks, and Home Assistant's loop."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from datetime import UTC, datetime, timedelta
from itertools import cycle
import json
from pathlib import Path
import random
import time
from typing import Any
from unittest.mock import patch

from homeassistant.core import ServiceCall
from homeassistant.exceptions import HomeAssistantError
from homeassistant.util.hass_dict import HassKey

from custom_components.openxpbms.const import DOMAIN
from custom_components.openxpbms.guard import KEPT, Watched
from custom_components.openxpbms.relay_board import relay_board

from .drill import drill
from .home import Home
from .scenes import both
from .stage import RELAY, Stage, _relays, modules, packs, stage

RELAYS = "Relays"
FILES = "Files of protection"
TIME = "Time"
# So many faults fill what has a fixed size.
WARMING = 10
# A change takes at most so long, s, on a machine that is busy with other things.
SOON = 30.0
# What latches can be reset when its value has been back for so long, s.
BACK = 64.0


# Buses


@asynccontextmanager
async def bus(home: Home) -> AsyncIterator[list[Stage]]:
    """Three modules behind a charge and a load relay."""
    with hurried(home):
        async with stage(home, *modules(3)) as on:
            await rest(on)
            yield [on]


@asynccontextmanager
async def lone(home: Home) -> AsyncIterator[list[Stage]]:
    """One module with a connection relay of its own, too."""
    module, *_ = modules(1)
    shared, own = await _relays(home, "bus1"), await _relays(home, "bus8")
    outputs = {
        "joined": "single",
        **shared,
        "connections": {f"valence_{module.serial}": own["charge"]},
    }
    with hurried(home):
        async with stage(home, module, options={"outputs": outputs}) as on:
            yield [on]


@asynccontextmanager
async def files(home: Home) -> AsyncIterator[list[Stage]]:
    """Two modules, and one pack, each bus with a charge and a load relay."""
    async with stage(home, *modules(2)) as some, stage(home, *packs(1)) as other:
        await rest(some)
        await rest(other)
        yield [some, other]


async def rest(on: Stage) -> None:
    """Let next to no current flow: through an open relay it would be a fault."""
    for truth in on.truths.values():
        await set_values(on, truth.battery.address, current=0.5)


async def set_values(on: Stage, address: int, **values: Any) -> None:
    """Let a battery tell these values, and stay as it is."""
    truth = on.truths[address]

    def change() -> None:
        truth.frozen = True
        for name, value in values.items():
            setattr(truth.battery, name, value)
        truth.note()

    await on.wire.do(change)


# Time that is hurried


class Hurry:
    """The clock of protection, which may be put forward."""

    def __init__(self) -> None:
        self._ahead = 0.0

    def __call__(self) -> float:
        return time.monotonic() + self._ahead

    async def forward(self, on: Stage, seconds: float) -> None:
        """Let s pass in which the bus is heard."""
        while seconds > 0:
            step = min(seconds, 4.0)
            self._ahead += step
            seconds -= step
            judge_now(on)
            await on.coordinator.async_refresh()


def judge_now(on: Stage) -> None:
    """Let protection look at the time, as if its timer had rung."""
    if on.guard._timer:
        on.guard._timer()
    on.guard._due(datetime.now(UTC))


HURRY: HassKey[Hurry] = HassKey("hurry")


@contextmanager
def hurried(home: Home) -> Iterator[None]:
    """Let protection's time be put forward, for all drills: it must not fall back."""
    hurry = home.hass.data[HURRY] = Hurry()
    with (
        patch("custom_components.openxpbms.guard.monotonic", hurry),
        patch("custom_components.openxpbms.relay_board.monotonic", hurry),
    ):
        yield


# Relays that misbehave


class Contactors:
    """All relays of a Home Assistant, played: `trouble` by entity says what is wrong.

    They are stuck, hang or raise; `gone` takes the services that switch them away.
    """

    def __init__(self, home: Home) -> None:
        self._hass = home.hass
        self.trouble: dict[str, str] = {}
        services = home.hass.services.async_services_internal()[RELAY]
        self._before = {name: services[name] for name in ("turn_on", "turn_off")}

    def set(self, entity_id: str, state: str) -> None:
        """Let a relay be as it is, whoever did it."""
        self._hass.states.async_set(entity_id, state)

    async def _switch(self, call: ServiceCall) -> None:
        ids = call.data["entity_id"]
        for entity_id in [ids] if isinstance(ids, str) else ids:
            match self.trouble.get(entity_id):
                case "stuck":
                    continue
                case "hangs":
                    await asyncio.Event().wait()
                case "raises":
                    raise RuntimeError("the relay's integration is broken")
                case "refuses":
                    raise HomeAssistantError("the relay does not answer")
            state = self._hass.states.get(entity_id)
            if state is not None and state.state != "unavailable":
                self.set(entity_id, "on" if call.service == "turn_on" else "off")

    def offer(self) -> None:
        """Offer the services."""
        for name in self._before:
            self._hass.services.async_register(RELAY, name, self._switch)

    def withdraw(self) -> None:
        """Offer them no more."""
        for name in self._before:
            self._hass.services.async_remove(RELAY, name)

    def restore(self) -> None:
        """Let the relays work as before."""
        for name, service in self._before.items():
            self._hass.services.async_register(
                RELAY, name, service.job.target, service.schema
            )


@contextmanager
def contactors(home: Home) -> Iterator[Contactors]:
    """Let relays misbehave."""
    played = Contactors(home)
    played.offer()
    try:
        yield played
    finally:
        played.restore()


async def repeat(
    home: Home, times: int, once: Callable[[int], Awaitable[None]], settle: float = 0.0
) -> None:
    """Do something so many times and compare what is held; it `settle`s for s."""
    for n in range(times):
        if n == WARMING:
            await asyncio.sleep(settle)
            await home.warm()
        await once(n)
    if times > WARMING:
        await asyncio.sleep(settle)
        await home.compare()


def is_open(on: Stage) -> bool:
    """Whether nothing flows."""
    return not (on.is_closed("charge") or on.is_closed("load"))


def is_closed(on: Stage) -> bool:
    """Whether everything may flow."""
    return on.is_closed("charge") and on.is_closed("load")


def latched(on: Stage) -> set[str]:
    """What waits for a person, or will when its value is back for long enough."""
    return {
        quantity.value
        for watched in on.guard
        for (quantity, _), trip in watched.kept.memory.trips.items()
        if trip.latched and trip.active
    }


def expect(on: Stage, holds: object, rule: str) -> None:
    """Note a rule that was broken."""
    if not holds:
        on.broken(rule)


async def closes_again(on: Stage, hurry: Hurry, watched: Watched) -> None:
    """Connect a battery as a person does and see that nothing is left."""
    on.guard.connect(watched, person=True)
    await on.until(lambda: is_closed(on), SOON, "closed by a person")
    await hurry.forward(on, 4)
    expect(on, not latched(on), "something stays latched")
    expect(on, not on.guard.relay_faults(watched), "a relay stays at fault")


async def does_not_open(
    home: Home, times: int, trouble: str, *, settle: float = 0.0
) -> None:
    """Let a relay not open when told: it is a fault, told, and told again."""
    [on] = home.stages
    turns = cycle(("charge", "load"))
    hurry = home.hass.data[HURRY]
    with contactors(home) as played:

        async def once(n: int) -> None:
            use = next(turns)
            other = "load" if use == "charge" else "charge"
            if trouble == "gone":
                played.withdraw()
            else:
                played.trouble[on.relay(use)] = trouble
            home.injected()
            watched = on.watched(1 + n % 3)
            on.guard.disconnect(watched)
            await hurry.forward(on, 8)
            faults = on.guard.relay_faults(watched)
            expect(on, faults.get(on.relay(use)) == "not_opening", "no fault told")
            if trouble != "gone":
                expect(on, not on.is_closed(other), "the other relay waited")
            played.trouble.clear()
            played.offer()
            await hurry.forward(on, 61)
            await on.until(lambda: is_open(on), SOON, "opened afterwards")
            expect(on, on.guard.relay_faults(watched), "a fault forgot itself")
            await closes_again(on, hurry, watched)
            await on.recovers()

        await repeat(home, times, once, settle)


@drill(group=RELAYS, what="A relay stuck closed", times=200, brief=1, scene=bus)
async def relay_stuck(home: Home, times: int) -> None:
    """It says that it is closed, whatever it is told."""
    await does_not_open(home, times, "stuck")


@drill(group=RELAYS, what="Its call never returns", times=100, brief=0, scene=bus)
async def relay_hangs(home: Home, times: int) -> None:
    """A call is given up after ten seconds."""
    await does_not_open(home, times, "hangs", settle=11)


@drill(
    group=RELAYS,
    what="Its integration raises an unexpected error",
    times=200,
    brief=1,
    scene=bus,
)
async def relay_raises(home: Home, times: int) -> None:
    """What other integrations do is not ours."""
    await does_not_open(home, times, "raises", settle=1)


@drill(group=RELAYS, what="Its call fails", times=200, brief=0, scene=bus)
async def relay_refuses(home: Home, times: int) -> None:
    """As when a relay does not answer its integration."""
    await does_not_open(home, times, "refuses", settle=1)


@drill(group=RELAYS, what="No service switches it", times=100, brief=0, scene=bus)
async def relay_without_service(home: Home, times: int) -> None:
    """As while its integration is loaded anew."""
    await does_not_open(home, times, "gone", settle=1)


@drill(
    group=RELAYS,
    what="A service that comes 2 s later than the relay's state",
    times=100,
    brief=1,
    scene=bus,
)
async def relay_service_late(home: Home, times: int) -> None:
    """It is told again soon, and nothing is a fault."""
    [on] = home.stages
    hurry = home.hass.data[HURRY]
    with contactors(home) as played:

        async def once(n: int) -> None:
            played.withdraw()
            home.injected()
            watched = on.watched(1 + n % 3)
            on.guard.disconnect(watched)
            await on.stay(2)
            played.offer()
            await on.until(lambda: is_open(on), SOON, "opened by the late service")
            expect(on, not on.guard.relay_faults(watched), "lateness is a fault")
            await closes_again(on, hurry, watched)
            await on.recovers()

        await repeat(home, times, once, settle=1)


@drill(
    group=RELAYS,
    what="A relay closed by others, again and again",
    times=500,
    brief=5,
    scene=bus,
)
async def relay_flaps(home: Home, times: int) -> None:
    """What must be open is opened again at once."""
    [on] = home.stages
    hurry = home.hass.data[HURRY]
    with contactors(home) as played:
        on.guard.disconnect(on.watched(1))
        await on.until(lambda: is_open(on), SOON, "opened")

        async def once(n: int) -> None:
            use = ("charge", "load")[n % 2]
            played.set(on.relay(use), "on")
            home.injected()
            await on.until(lambda: is_open(on), SOON, "opened again")
            if n % 20 == 0:
                # Seconds later, too, it is no fault.
                await hurry.forward(on, 8)
                expect(on, not latched(on), "flapping latched")

        await repeat(home, times, once)
        await closes_again(on, hurry, on.watched(1))
    await on.recovers()


@drill(
    group=RELAYS,
    what="A relay opened by others, which only a person closes again",
    times=100,
    brief=2,
    scene=bus,
)
async def relay_opened_by_hand(home: Home, times: int) -> None:
    """A charge or load relay stays open until somebody has reset."""
    [on] = home.stages
    hurry = home.hass.data[HURRY]
    with contactors(home) as played:

        async def once(n: int) -> None:
            use = ("charge", "load")[n % 2]
            # What opens soon after it was told to may only be late.
            await hurry.forward(on, 6)
            played.set(on.relay(use), "off")
            home.injected()
            await hurry.forward(on, 8)
            expect(on, not on.is_closed(use), "closed what a person opened")
            on.guard.reset(on.watched(1 + n % 3))
            await on.until(lambda: is_closed(on), SOON, "closed after a reset")

        await repeat(home, times, once)
    await on.recovers()


@drill(
    group=RELAYS,
    what="A relay away for less than the grace, and back",
    times=200,
    brief=2,
    scene=bus,
)
async def relay_away(home: Home, times: int) -> None:
    """It comes back as it was, or is opened the moment it does."""
    [on] = home.stages
    hurry = home.hass.data[HURRY]
    with contactors(home) as played:

        async def once(n: int) -> None:
            use = ("charge", "load")[n % 2]
            watched = on.watched(1 + n % 3)
            played.set(on.relay(use), "unavailable")
            home.injected()
            wanted_open = n % 4 < 2
            if wanted_open:
                on.guard.disconnect(watched)
            await hurry.forward(on, 20)
            played.set(on.relay(use), "on")
            if wanted_open:
                await on.until(lambda: is_open(on), SOON, "opened when it was back")
                expect(on, not on.guard.relay_faults(watched), "a fault within grace")
                await closes_again(on, hurry, watched)
            else:
                await hurry.forward(on, 8)
                expect(on, is_closed(on), "opened for nothing")
                expect(on, not on.guard.relay_faults(watched), "a fault within grace")

        await repeat(home, times, once)
    await on.recovers()


@drill(
    group=RELAYS,
    what="A relay away for longer than the grace",
    times=100,
    brief=0,
    scene=bus,
)
async def relay_away_long(home: Home, times: int) -> None:
    """It is a fault until a person has looked."""
    [on] = home.stages
    hurry = home.hass.data[HURRY]
    with contactors(home) as played:

        async def once(n: int) -> None:
            use = ("charge", "load")[n % 2]
            watched = on.watched(1 + n % 3)
            played.set(on.relay(use), "unavailable")
            home.injected()
            await hurry.forward(on, 36)
            faults = on.guard.relay_faults(watched)
            expect(on, faults.get(on.relay(use)) == "away", "away and no fault")
            played.set(on.relay(use), "off")
            await hurry.forward(on, 8)
            expect(on, on.guard.relay_faults(watched), "a fault forgot itself")
            await closes_again(on, hurry, watched)

        await repeat(home, times, once)
    await on.recovers()


@drill(
    group=RELAYS,
    what="A welded connection: current through a relay that says it is open",
    times=50,
    brief=1,
    scene=lone,
)
async def relay_welded(home: Home, times: int) -> None:
    """It is a fault after ten seconds, and keeps charge and load relay open."""
    [on] = home.stages
    watched = on.watched(1)
    hurry = home.hass.data[HURRY]

    async def once(n: int) -> None:
        await set_values(on, 1, current=5.0 if n % 2 else -5.0)
        await on.recovers()
        on.guard.disconnect(watched)
        home.injected()
        await hurry.forward(on, 16)
        expect(on, "relay_fault" in latched(on), "welded and no fault")
        expect(on, is_open(on), "charge or load relay closed beside a welded one")
        await set_values(on, 1, current=0.0)
        await hurry.forward(on, BACK)
        expect(on, "relay_fault" in latched(on), "a fault forgot itself")
        expect(on, is_open(on), "closed by itself")
        await closes_again(on, hurry, watched)

    await repeat(home, times, once)
    await on.recovers()


# Files


def path_of(on: Stage, name: str = "") -> Path:
    """Return a file of a bus."""
    key = f"{DOMAIN}.{on.entry.entry_id}{name}"
    return Path(on.home.hass.config.path(".storage", key))


async def restart(on: Stage, meanwhile: Callable[[], None]) -> None:
    """Let Home Assistant end and start again, as far as protection sees it."""
    hass, entry_id = on.home.hass, on.entry.entry_id
    assert await hass.config_entries.async_unload(entry_id)
    await hass.async_block_till_done()
    hass.data[KEPT].pop(entry_id)
    relay_board(hass).leave(entry_id)
    meanwhile()
    assert await hass.config_entries.async_setup(entry_id)
    on.hook()


type Spoil = Callable[[Path, bytes], object]


def cut(path: Path, whole: bytes) -> None:
    """Leave what a loss of power may leave."""
    path.write_bytes(whole[: random.randrange(len(whole) - 1)])


def garble(path: Path, whole: bytes) -> None:
    """Let bytes tip over."""
    spoilt = bytearray(whole)
    for _ in range(20):
        spoilt[random.randrange(len(spoilt))] ^= 0x80
    path.write_bytes(spoilt)


def later_version(path: Path, whole: bytes) -> None:
    """Leave what a later release wrote."""
    path.write_text(json.dumps({**json.loads(whole), "version": 99}))


def unreadable(path: Path, _: bytes) -> None:
    """Put a folder in its place."""
    path.unlink()
    path.mkdir()


SPOILS: list[Spoil] = [
    cut,
    lambda path, _: path.write_bytes(b""),
    garble,
    lambda path, _: path.write_bytes(b"\0" * 512),
    lambda path, _: path.write_text("[]"),
    lambda path, _: path.write_text("null"),
    lambda path, _: path.write_text("{}"),
    later_version,
    lambda path, _: path.write_text('{"version": 1, "data": {"mode": "armed"}}'),
    unreadable,
    lambda path, _: path.unlink(),
]


def put_back(path: Path, whole: bytes) -> None:
    """Put a file as it was."""
    if path.is_dir():
        path.rmdir()
    path.write_bytes(whole)


def excuse(home: Home) -> None:
    """Home Assistant itself logs an exception for a file that it cannot read."""
    exceptions = home.outcome.exceptions
    exceptions[:] = [e for e in exceptions if not e.startswith("homeassistant.util")]


@drill(
    group=FILES,
    what="What protection kept, cut, garbled, of another release, unreadable or gone",
    times=330,
    brief=2,
    scene=files,
)
async def state_spoilt(home: Home, times: int) -> None:
    """Everything counts as latched and off, until the file is there again."""
    spoils = cycle(SPOILS)

    async def once(n: int) -> None:
        on = home.stages[n % len(home.stages)]
        path, spoil = path_of(on), next(spoils)
        whole = b""

        def meanwhile() -> None:
            nonlocal whole
            whole = path.read_bytes()
            spoil(path, whole)

        await restart(on, meanwhile)
        home.injected()
        await on.recovers(SOON)
        await on.until(lambda: is_open(on), SOON, "opened without what was kept")
        closings = on.closings
        await on.stay(2)
        expect(on, latched(on) == {"state_lost"}, "what is lost is not latched")
        expect(on, on.closings == closings, "closed without what was kept")
        await restart(on, lambda: put_back(path, whole))
        await on.until(lambda: is_closed(on), SOON, "closed with what was kept")

    await repeat(home, times, once)
    excuse(home)


@drill(
    group=FILES,
    what="The log of writes and the energy counters, spoilt in the same ways",
    times=330,
    brief=2,
    scene=files,
)
async def logs_spoilt(home: Home, times: int) -> None:
    """Batteries are read and guarded as before."""
    spoils = cycle(SPOILS)

    async def once(n: int) -> None:
        on = home.stages[n % len(home.stages)]
        path = path_of(on, (".writes", ".energy")[n // 2 % 2])
        spoil = next(spoils)
        openings = on.openings

        def meanwhile() -> None:
            if not path.exists():
                path.write_text('{"version": 1, "data": {"records": []}}')
            spoil(path, path.read_bytes())

        await restart(on, meanwhile)
        home.injected()
        await on.recovers(SOON)
        await on.stay(1)
        expect(on, is_closed(on), "not closed after a log was spoilt")
        expect(on, on.openings == openings, "opened because a log was spoilt")
        if path.is_dir():
            path.rmdir()
        path.unlink(missing_ok=True)

    await repeat(home, times, once)
    excuse(home)


@drill(
    group=FILES,
    what="A backup restored: with latches, without, by a day too new",
    times=100,
    brief=2,
    scene=files,
)
async def backup_restored(home: Home, times: int) -> None:
    """What the file says holds, whatever relays and clocks say."""
    on = home.stages[0]

    def backup(*, latched: bool, ahead: float, closed: bool) -> None:
        path = path_of(on)
        kept = json.loads(path.read_bytes())
        for battery in kept["data"]["batteries"].values():
            trip = {
                "quantity": "cell_over_temperature",
                "severity": "stop",
                "since": time.time() + ahead,
                "latched": True,
                "value": [61.0, 1, None],
            }
            battery["trips"] = [trip] if latched else []
            battery["times"] = {"cell_over_temperature": [time.time() + ahead]}
        path.write_text(json.dumps(kept))
        # Whatever the relays did meanwhile.
        on.relays_judged = False
        for use in ("charge", "load"):
            state = "on" if closed else "off"
            home.hass.states.async_set(on.relay(use), state)
        on.relays_judged = True

    ways = cycle([(False, 0.0), (False, -86400.0), (True, 86400.0), (True, 0.0)])

    async def once(n: int) -> None:
        closed, ahead = next(ways)
        await restart(on, lambda: backup(latched=True, ahead=ahead, closed=closed))
        home.injected()
        await on.recovers(SOON)
        await on.until(lambda: is_open(on), SOON, "opened by what was restored")
        await on.stay(1)
        expect(on, latched(on) == {"cell_over_temperature"}, "a latch was not restored")
        await restart(on, lambda: backup(latched=False, ahead=ahead, closed=closed))
        await on.until(lambda: is_closed(on), SOON, "closed by what was restored")
        expect(on, not latched(on), "latched by what was restored")

    with contactors(home):
        await repeat(home, times, once)


# Time


@contextmanager
def wall_clock(set_by: float) -> Iterator[None]:
    """Set the clock on the wall, not the monotonic one."""
    real, utc = time.time, datetime.now
    with (
        patch("time.time", lambda: real() + set_by),
        patch(
            "homeassistant.util.dt.utcnow",
            lambda: utc(UTC) + timedelta(seconds=set_by),
        ),
    ):
        yield


@drill(
    group=TIME,
    what="The clock set back an hour, and forward a day",
    times=300,
    brief=4,
    scene=both,
)
async def clock_set(home: Home, times: int) -> None:
    """Nothing that protects goes by the clock on the wall."""
    before = [(on.openings, on.closings) for on in home.stages]

    async def once(n: int) -> None:
        with wall_clock((-3600.0, 86400.0)[n % 2]):
            home.injected()
            for on in home.stages:
                judge_now(on)
            await asyncio.gather(*(on.recovers() for on in home.stages))

    await repeat(home, times, once)
    for on, relays in zip(home.stages, before, strict=True):
        expect(on, not latched(on), "latched by a clock")
        expect(on, (on.openings, on.closings) == relays, "switched by a clock")


@drill(
    group=TIME,
    what="Home Assistant's loop held up for 2 s",
    times=300,
    brief=2,
    scene=both,
)
async def loop_blocked(home: Home, times: int) -> None:
    """What came meanwhile is judged late, and nothing else."""
    before = [(on.openings, on.closings) for on in home.stages]
    some = random.Random(2)

    async def once(n: int) -> None:
        await asyncio.sleep(some.random())
        asyncio.get_running_loop().call_soon(time.sleep, 2)
        home.injected()
        await asyncio.sleep(0)
        await asyncio.gather(*(on.recovers() for on in home.stages))

    await repeat(home, times, once)
    for on, relays in zip(home.stages, before, strict=True):
        expect(on, not latched(on), "latched by lateness")
        expect(on, (on.openings, on.closings) == relays, "switched by lateness")
