"""Virtual modules on a line and a bus on it, without Home Assistant."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
import random
import time
from typing import Any

from hypothesis import settings
import pytest

from custom_components.openxpbms.bms import valence
from custom_components.openxpbms.bms.bus import Bus, Timing
from custom_components.openxpbms.bms.reading import Identity, Reading
from custom_components.openxpbms.bms.seplos import Seplos
from custom_components.openxpbms.bms.valence import (
    MODELS,
    READ_BAUDRATE,
    TERMINATOR,
    WAKE,
    Valence,
    active_alarms,
)
from custom_components.openxpbms.bms.virtual import VirtualLine, VirtualModule
from custom_components.openxpbms.bms.virtual.line import Answer, Settings

settings.register_profile("bms", deadline=None)
settings.load_profile("bms")

type MakeLine = Callable[..., Awaitable[VirtualLine]]
type MakeBus = Callable[..., Bus]
type MakeValence = Callable[..., Awaitable[Valence]]
type MakeSeplos = Callable[..., Awaitable[Seplos]]

# Long enough for a busy machine to answer, short enough to wait for many times.
FAST = Timing(answer=0.12, leaving=0.02)


def module(address: int = 1, **settings: Any) -> VirtualModule:
    """Return a module that wakes up at once."""
    return VirtualModule(address, **{"wake_time": 0.0} | settings)


@dataclass
class Script:
    """A device that gives the next answer of a script to each frame, None for none.

    It hears everything: `heard` are the frames, with their line settings.
    """

    answers: list[bytes | None] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)
    heard: list[tuple[bytes, Settings]] = field(default_factory=list)
    asked: asyncio.Event = field(default_factory=asyncio.Event)

    def hear(
        self, data: bytes, settings: Settings, now: float, *, lenient: bool
    ) -> Answer | bool:
        """Take whatever came as one frame."""
        self.heard.append((data, settings))
        self.asked.set()
        answer = self.answers.pop(0) if self.answers else None
        return True if answer is None else Answer(answer, 0.0)


@dataclass
class Recorder:
    """A device that hears all frames that other devices take, and says nothing."""

    complaints: list[str] = field(default_factory=list)
    heard: list[tuple[bytes, Settings]] = field(default_factory=list)

    def hear(
        self, data: bytes, settings: Settings, now: float, *, lenient: bool
    ) -> Answer | bool:
        """Note it; it is for another device to take it."""
        self.heard.append((data, settings))
        return False


@pytest.fixture
async def make_line() -> AsyncIterator[MakeLine]:
    """Put virtual modules on a line; its bytes take no time unless told."""
    lines: list[VirtualLine] = []

    async def make(*devices: Any, **settings: Any) -> VirtualLine:
        line = VirtualLine(devices, **{"real_time": False} | settings)
        await line.start()
        lines.append(line)
        return line

    yield make
    for line in lines:
        await line.stop()


@pytest.fixture
async def make_bus(make_line: MakeLine) -> AsyncIterator[MakeBus]:
    """Make buses that are closed before their lines stop."""
    buses: list[Bus] = []

    def make(url: str, **settings: Any) -> Bus:
        defaults: dict[str, Any] = {
            "terminator": TERMINATOR,
            "timing": FAST,
            "listen": 0.0,
        }
        buses.append(Bus(url, **defaults | settings))
        return buses[-1]

    yield make
    for bus in buses:
        await bus.close()


@pytest.fixture
def make_valence(make_bus: MakeBus) -> MakeValence:
    """Open a bus on a line, with its modules woken up."""

    async def make(line: VirtualLine, **settings: Any) -> Valence:
        timing = settings.pop("timing", FAST)
        family = Valence(make_bus(line.path, timing=timing), **settings)
        await family.open()
        await family.wake()
        return family

    return make


@pytest.fixture
def make_seplos(make_bus: MakeBus) -> MakeSeplos:
    """Open a bus on a line for packs."""

    async def make(line: VirtualLine, **settings: Any) -> Seplos:
        on_bus = {"terminator": b"", "timing": FAST} | settings.pop("bus", {})
        family = Seplos(make_bus(line.path, **on_bus), **settings)
        await family.open()
        return family

    return make


@pytest.fixture
def short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    """Wait for hundredths of a second after a wake-up."""
    monkeypatch.setattr(valence, "WAKE_PAUSES", (0.02, 0.03))


async def until(done: Callable[[], bool], seconds: float = 10.0) -> None:
    """Wait until something has happened, however busy the machine is."""
    async with asyncio.timeout(seconds):
        while not done():
            await asyncio.sleep(0.002)


async def unplugged(line: VirtualLine, bus: Bus) -> None:
    """Pull the adapter out and wait until the bus knows."""
    line.unplug()
    await until(lambda: not bus.is_open)


@asynccontextmanager
async def babble(line: VirtualLine, bus: Bus) -> AsyncIterator[None]:
    """Let something talk on a line without a pause; the bus hears it already."""

    async def talk() -> None:
        while True:
            line.inject(b"\xff\xfe")
            await asyncio.sleep(0.003)

    talker = asyncio.create_task(talk())
    try:
        await until(lambda: bus._noisy)
        yield
    finally:
        talker.cancel()


def asked(recorder: Recorder) -> list[tuple[int, int, int]]:
    """Return address, register and count of the requests that were sent."""
    return [
        (data[0], int.from_bytes(data[2:4], "big"), int.from_bytes(data[4:6], "big"))
        for data, settings in recorder.heard
        if settings.baudrate == READ_BAUDRATE
    ]


def wakes(recorder: Recorder) -> int:
    """Return how often the wake-up was sent."""
    return sum(data == WAKE for data, _ in recorder.heard)


def identity(of: VirtualModule, **changes: Any) -> Identity:
    """Return what a scan tells of a virtual module."""
    known = MODELS.get(of.model)
    facts: dict[str, Any] = {
        "address": of.address,
        "serial": of.serial,
        "model": known.name if known else f"XP ({of.model})",
        "model_code": of.model,
        "revision": of.revision,
        "cells": of.cells,
    }
    return Identity(**facts | changes)


def expected(of: VirtualModule) -> Reading:
    """Return the Reading that a virtual module's values make, by other arithmetic."""
    soc = of.soc if of.revision > 1 else round(round(of.soc * 255 / 100) * 20 / 51, 1)
    return Reading(
        voltage=round(sum(of.cell_voltages), 3),
        current=of.current,
        soc=soc,
        cell_voltages=tuple(of.cell_voltages),
        cell_temperatures=tuple(of.cell_temperatures),
        pcb_temperature=of.pcb_temperature,
        highest_cell_reported=max(of.cell_voltages),
        lowest_cell_reported=min(of.cell_voltages),
        balancing=tuple(sorted(of.balancing)),
        balancing_active=bool(of.balancing),
        status=of.status_flags | (0x100 if of.balancing and of.revision > 1 else 0),
        alarms=active_alarms(of.status_flags),
    )


def scramble(of: VirtualModule, chance: random.Random) -> None:
    """Give a module new values, cold and discharging ones too."""
    of.cell_voltages = [chance.randint(2000, 4500) / 1000 for _ in range(of.cells)]
    of.cell_temperatures = [chance.randint(-4000, 9000) / 100 for _ in range(of.cells)]
    of.pcb_temperature = chance.randint(-4000, 9000) / 100
    of.current = chance.randint(-32767, 32767) / 100
    of.soc = chance.randint(0, 1000) / 10
    of.balancing = set(chance.sample(range(1, of.cells + 1), chance.randint(0, 4)))
    of.status_flags = chance.choice([0, 1, 0x4002, 0x20])


class Clock:
    """Time that passes when it is told to."""

    def __init__(self) -> None:
        """Begin far from zero, as a monotonic clock does."""
        self.now = 5000.0

    def __call__(self) -> float:
        """Return the time."""
        return self.now


class Ahead:
    """What a module takes for `time`: a clock that runs, and can be put forward."""

    def __init__(self) -> None:
        """Begin with the time that it is."""
        self.by = 0.0

    def monotonic(self) -> float:
        """Return the time."""
        return time.monotonic() + self.by


@pytest.fixture
def clock() -> Clock:
    """Return a clock of its own."""
    return Clock()


def reference_crc(data: bytes) -> bytes:
    """Return the CRC-16/Modbus, low byte first, bit by bit as its definition says."""
    crc = 0xFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ 0xA001 if crc & 1 else crc >> 1
    return bytes((crc & 0xFF, crc >> 8))
