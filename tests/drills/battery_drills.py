"""What batteries do that they should not, and others on their line."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
import random
import time
from typing import Any
from unittest.mock import patch

from custom_components.openxpbms.bms.foreign import SILENCE
from custom_components.openxpbms.bms.frame import with_crc
from custom_components.openxpbms.bms.virtual import VirtualModule, VirtualPack
from custom_components.openxpbms.bms.virtual.seplos import Intruder

from .drill import drill
from .home import Home
from .scenes import bank, both, three
from .stage import Stage, modules, packs, stage
from .wire_drills import befall

GROUP = "Batteries and masters"
TERMINATOR = b"\r\n"
# Bytes of data in the answers that make a Reading.
EVERY_ROUND = {36, 52, 18, 20, 14, 2, 24}


def trailer(on: Stage) -> bytes:
    """Return what follows the CRC of a bus's frames."""
    return TERMINATOR if on.family == "valence" else b""


def of_another(on: Stage) -> Any:
    """Return what lets answers come from another battery's address.

    Only those of each round: one that nobody is asked for would be another master's.
    """
    known = list(on.truths)

    def tamper(data: bytes) -> bytes:
        body = data[: len(data) - 2 - len(trailer(on))]
        if body[2] not in EVERY_ROUND:
            return data
        other = known[(known.index(body[0]) + 1) % len(known)]
        return with_crc(bytes((other,)) + body[1:]) + trailer(on)

    return sometimes(tamper)


def the_one_before() -> Any:
    """Return what lets batteries answer the request before."""
    last = b""

    def tamper(data: bytes) -> bytes:
        nonlocal last
        said, last = last or data, data
        return said

    return sometimes(tamper)


def sometimes(tamper: Any) -> Any:
    """Tamper with every third answer, whichever that is."""
    chance = random.Random(3)

    def now_and_then(data: bytes) -> bytes:
        return tamper(data) if chance.random() < 1 / 3 else data

    return now_and_then


@asynccontextmanager
async def tampering(home: Home, tampers: list[Any]) -> AsyncIterator[None]:
    """Let answers be tampered with."""
    for on, tamper in zip(home.stages, tampers, strict=True):
        on.faults.tamper = tamper
    try:
        yield
    finally:
        for on in home.stages:
            on.faults.tamper = None


@drill(
    group=GROUP,
    what="Every third answer comes from another address",
    times=1000,
    brief=6,
    scene=both,
)
async def another_battery(home: Home, times: int) -> None:
    taken = 0

    async def resume() -> None:
        """What was not asked for lately looks like another master's; do not wait."""
        nonlocal taken
        while True:
            await asyncio.sleep(0.2)
            for on in home.stages:
                if on.coordinator.bus.watch.silent:
                    taken += 1
                    on.coordinator.bus.watch.resume()

    resuming = asyncio.create_task(resume())
    try:
        async with tampering(home, [of_another(on) for on in home.stages]):
            await befall(home, times, recovers=False)
    finally:
        resuming.cancel()
    await all_recover(home)
    if taken:
        home.note(f"taken for those of another master {taken} times")


@drill(
    group=GROUP,
    what="Every third answer is that to the request before",
    times=1000,
    brief=6,
    scene=both,
)
async def another_block(home: Home, times: int) -> None:
    async with tampering(home, [the_one_before() for _ in home.stages]):
        await befall(home, times, recovers=False)
    await all_recover(home)


async def all_recover(home: Home) -> None:
    """See that every bus is heard again."""
    await asyncio.gather(*(on.recovers() for on in home.stages))


@drill(
    group=GROUP,
    what="Answers of another table with the length of cell voltages, in a bank",
    times=300,
    brief=6,
    scene=bank,
)
async def same_length(home: Home, times: int) -> None:
    [on] = home.stages
    [listened] = on.line.devices
    await home.warm()
    for number in range(times):
        # EIA is as long as PIB; some of its words are no cell voltages.
        address = 1 + number % 3
        words = [5160, 120, 0, 0, 840, 0, 730, 0, 0, 100, 34, 33, 32, 31, *[0] * 12]
        data = b"".join(word.to_bytes(2) for word in words)
        request = with_crc(bytes((address, 4)) + (0x2000).to_bytes(2) + b"\x00\x1a")
        reply = with_crc(bytes((address, 4, len(data))) + data)
        speech = reply if number % 2 else request + reply
        await on.wire.do(speak_between, on, listened, speech)
        home.injected()
        await on.stay(0.3)
    await on.recovers()
    await home.compare()


def speak_between(on: Stage, listened: Any, speech: bytes) -> None:
    """Let something be said in the pause after a master's next burst."""
    inner = type(listened).speak

    def speak(now: float) -> Any:
        del listened.speak
        return [*inner(listened, now), *_answers(speech)]

    listened.speak = speak


def _answers(speech: bytes) -> Any:
    from custom_components.openxpbms.bms.virtual import Answer  # noqa: PLC0415

    return [Answer(speech, 0.002)]


@drill(
    group=GROUP,
    what="A battery that says the same answer over and over for 2 s",
    times=30,
    brief=1,
    scene=both,
)
async def babbling(home: Home, times: int) -> None:
    for turn in range(times):
        await asyncio.gather(*(_babble(on, 2.0) for on in home.stages))
        home.injected(len(home.stages))
        await all_recover(home)
        if not turn:
            await home.warm()
        # What nobody asked for is foreign when it is heard again within a minute.
        for on in home.stages:
            on.coordinator.bus.watch.resume()
    await home.compare()


async def _babble(on: Stage, seconds: float) -> None:
    """Let the first battery repeat one of its answers."""
    said: list[bytes] = []

    def keep(data: bytes) -> bytes:
        said.append(data)
        return data

    on.faults.tamper = keep
    await on.until(lambda: said, 10, "heard")
    on.faults.tamper = None
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        await on.wire.do(on.line.inject, said[0])
        await on.stay(0.02)


@drill(
    group=GROUP,
    what="Bytes without a pause and without sense for 2 s",
    times=30,
    brief=1,
    scene=three,
)
async def noise_without_end(home: Home, times: int) -> None:
    for turn in range(times):
        await asyncio.gather(*(_noise(on, 2.0, turn) for on in home.stages))
        home.injected(len(home.stages))
        await all_recover(home)
        if not turn:
            await home.warm()
    await home.compare()


async def _noise(on: Stage, seconds: float, turn: int) -> None:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        await on.wire.do(on.line.inject, bytes((0xFF, 0xFE, turn % 256)))
        await on.stay(0.005)


@drill(
    group=GROUP,
    what="A second master asks for 3 s: nothing is sent until a minute after",
    times=2,
    brief=1,
)
async def second_master(home: Home, times: int) -> None:
    # In tests the minute is a few seconds.
    pause = SILENCE if times > 1 else 4.0
    lone, others = packs(2), packs(2, first=5)
    intruder = Intruder(others, talking=False)
    with patch("custom_components.openxpbms.bms.foreign.SILENCE", pause):
        async with stage(home, *lone, others=[intruder]) as on:
            for turn in range(times):
                await _intrude(on, intruder, pause)
                home.injected()
                if not turn:
                    await home.warm()
            await home.compare()
    home.note("the third time within a day a person has to say that it may ask again")


async def _intrude(on: Stage, intruder: Intruder, pause: float) -> None:
    intruder.talking = True
    await on.until(lambda: on.coordinator.bus.watch.silent, 5, "silent")
    await on.stay(1.0)
    sent = on.line.bytes_received
    await on.stay(2.0)
    intruder.talking = False
    ended = time.monotonic()
    await on.until(lambda: not on.coordinator.bus.watch.silent, pause + 5, "asking")
    if on.line.bytes_received != sent and time.monotonic() - ended < pause - 1:
        on.broken("sent something while another master was about")
    await on.recovers()


@drill(group=GROUP, what="A module falls asleep", times=200, brief=3)
async def asleep(home: Home, times: int) -> None:
    async with stage(home, *modules(3)) as on:
        with on.sparing(2):
            for turn in range(times):
                on.device(2).fall_asleep()
                home.injected()
                await on.recovers()
                if turn == min(10, times - 1):
                    await home.warm()
        await home.compare()


@drill(
    group=GROUP,
    what="A battery resets: silent for 1.5 s, a module then asleep",
    times=100,
    brief=2,
    scene=both,
)
async def resets(home: Home, times: int) -> None:
    for turn in range(times):
        await asyncio.gather(*(_reset(on) for on in home.stages))
        home.injected(len(home.stages))
        if turn == min(10, times - 1):
            await home.warm()
    await home.compare()


async def _reset(on: Stage) -> None:
    address = max(on.truths)
    one = on.device(address)
    with on.sparing(address):
        one.silent = True
        await on.stay(1.5)
        if isinstance(one, VirtualModule):
            one.fall_asleep()
        one.silent = False
        await on.recovers()


@drill(
    group=GROUP,
    what="A battery has another address for 3 s",
    times=60,
    brief=1,
    scene=both,
)
async def another_address(home: Home, times: int) -> None:
    for turn in range(times):
        await asyncio.gather(*(_readdress(on) for on in home.stages))
        home.injected(len(home.stages))
        if turn == min(5, times - 1):
            await home.warm()
    await home.compare()


async def _readdress(on: Stage) -> None:
    address = max(on.truths)
    one = on.device(address)
    with on.sparing(address):
        one.address = 9
        await on.stay(3.0)
        one.address = address
        await on.recovers()


@drill(group=GROUP, what="Two batteries with one address for 4 s", times=60, brief=1)
async def twins(home: Home, times: int) -> None:
    doubles: list[Any] = [
        VirtualModule(2, serial="104499999", silent=True, cell_voltages=[3.1] * 4),
        VirtualPack(1, serial="SP57B-A0000009999", silent=True),
    ]
    async with (
        stage(home, *modules(3), others=doubles[:1]) as some,
        stage(home, *packs(2), others=doubles[1:]) as others,
    ):
        for turn in range(times):
            # Its answers come at the same time, or behind those of the first.
            for double in doubles:
                double.silent = False
                double.turnaround = (0.002, 0.01, 0.03)[turn % 3]
            await asyncio.gather(some.stay(4.0), others.stay(4.0))
            for double in doubles:
                double.silent = True
            home.injected(2)
            await asyncio.gather(some.recovers(), others.recovers())
            if turn == min(5, times - 1):
                await home.warm()
        await home.compare()


@drill(
    group=GROUP,
    what="Two batteries swap their addresses, both silent meanwhile",
    times=40,
    brief=1,
    scene=both,
)
async def swapped(home: Home, times: int) -> None:
    for turn in range(times):
        await asyncio.gather(*(_swap(on) for on in home.stages))
        home.injected(len(home.stages))
        if turn == min(5, times - 1):
            await home.warm()
    await home.compare()


async def _swap(on: Stage) -> None:
    first, last = min(on.truths), max(on.truths)
    one, other = on.device(first), on.device(last)
    with on.sparing(first, last):
        for addresses in ((last, first), (first, last)):
            one.silent = other.silent = True
            await on.until(lambda: both_silent(on, first, last), 10, "silent")
            one.address, other.address = addresses
            one.silent = other.silent = False
            await on.stay(2.0)
        await on.recovers()


def both_silent(on: Stage, *addresses: int) -> bool:
    """Whether batteries have no Reading."""
    return all(on.coordinator_battery(a).reading is None for a in addresses)


@drill(
    group=GROUP,
    what="Packs of a bank that is heard change their numbers",
    times=100,
    brief=2,
    scene=bank,
)
async def renumbered(home: Home, times: int) -> None:
    [on] = home.stages
    for turn in range(times):
        on.rotate_truths()
        await on.wire.do(_renumber, on)
        home.injected()
        await on.stay(1.0)
        await on.recovers()
        if turn == min(5, times - 1):
            await home.warm()
    await home.compare()
    home.note("a bank tells no serial numbers: a pack is its number")


def _renumber(on: Stage) -> None:
    for address, truth in on.truths.items():
        truth.battery.address = address


@drill(
    group=GROUP,
    what="One battery never answers for its temperatures, for 4 s",
    times=60,
    brief=1,
    scene=both,
)
async def one_block_missing(home: Home, times: int) -> None:
    for turn in range(times):
        await asyncio.gather(*(_without_a_block(on) for on in home.stages))
        home.injected(len(home.stages))
        if turn == min(5, times - 1):
            await home.warm()
    await home.compare()


async def _without_a_block(on: Stage) -> None:
    address = max(on.truths)
    # The longest of a pack's answers, the second of a module's.
    bytes_of_data = 52 if on.family == "seplos" else 14

    def tamper(data: bytes) -> bytes:
        return b"" if (data[0], data[2]) == (address, bytes_of_data) else data

    with on.sparing(address):
        on.faults.tamper = tamper
        await on.stay(4.0)
        if on.coordinator_battery(address).reading is not None:
            on.broken("a Reading without its temperatures")
        on.faults.tamper = None
        await on.recovers()


@drill(
    group=GROUP,
    what="An adapter begins to echo, and ends it",
    times=300,
    brief=4,
    scene=both,
)
async def echo(home: Home, times: int) -> None:
    for turn in range(times):
        for on in home.stages:
            on.line.echo = not turn % 2
        home.injected(len(home.stages))
        await asyncio.gather(*(on.stay(1.2) for on in home.stages))
        if turn in (10, times - 1) and not home.warmed:
            await home.warm()
    for on in home.stages:
        on.line.echo = False
    await all_recover(home)
    await home.compare()
