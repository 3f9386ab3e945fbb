"""A line with virtual modules, and a bus on it, for tests that need no Home Assistant."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

from hypothesis import settings
import pytest

from custom_components.openxpbms.bms import rounds, valence
from custom_components.openxpbms.bms.bus import Bus, Timing
from custom_components.openxpbms.bms.valence import TERMINATOR, Valence
from custom_components.openxpbms.bms.virtual import VirtualLine, VirtualModule

settings.register_profile("bms", deadline=None)
settings.load_profile("bms")

type MakeLine = Callable[..., Awaitable[VirtualLine]]
type MakeBus = Callable[..., Bus]
type MakeValence = Callable[..., Awaitable[Valence]]

# Long enough for a busy machine to answer, short enough to wait for many times.
FAST = Timing(answer=0.06, leaving=0.002)


def module(address: int = 1, **settings: Any) -> VirtualModule:
    """Return a module that wakes up at once."""
    return VirtualModule(address, **{"wake_time": 0.0} | settings)


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
        defaults = {"terminator": TERMINATOR, "timing": FAST, "listen": 0.0}
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
def short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    """Wait for hundredths of a second after a wake-up."""
    for part in (valence, rounds):
        monkeypatch.setattr(part, "WAKE_PAUSES", (0.02, 0.03))


class Clock:
    """Time that passes when it is told to."""

    def __init__(self) -> None:
        """Begin far from zero, as a monotonic clock does."""
        self.now = 5000.0

    def __call__(self) -> float:
        """Return the time."""
        return self.now


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
