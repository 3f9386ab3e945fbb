"""Three buses at real line timing: modules, packs that are asked, a bank."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
import random
from typing import Any

from custom_components.openxpbms.bms import port
from custom_components.openxpbms.bms.virtual import (
    VirtualBank,
    VirtualLine,
    VirtualModule,
    VirtualPack,
)
from custom_components.openxpbms.bms.virtual import (
    line as line_module,
)
from custom_components.openxpbms.bms.virtual.device import Answer
from custom_components.openxpbms.bms.virtual.seplos import Intruder

from .clock import Clock, Schedule
from .truth import Truth

# From one time to the next that the master of the bank speaks, and the other master of
# the packs looks whether it has anything to say, s. A real one polls every 0.2 s.
BANK_PERIOD = 4.0
INTRUDER_PERIOD = 1.0
# An answer comes in pieces of so many bytes, those of a USB adapter.
CHUNK = 62
# Model code and revision; cells in parallel must have the same voltage, so all have 4.
KINDS = (("7", 2), ("1", 1), ("4", 2))


class Line(VirtualLine):
    """A line that counts its bytes: no time is skipped while any are under way."""

    clock: Clock

    def _release(self) -> None:
        held = len(self._held)
        super()._release()
        self.clock.sent(held - len(self._held))

    def _read(self) -> None:
        before = self.bytes_received
        super()._read()
        self.clock.arrived(self.bytes_received - before)


class SlowBank(VirtualBank):
    """A bank whose master takes its time, for what it says costs this computer most."""

    def speak(self, now: float) -> Iterable[Answer]:
        """Poll all packs; see `VirtualBank.speak`."""
        burst = super().speak(now)
        self.interval = BANK_PERIOD
        return burst


class OtherMaster(Intruder):
    """A second master beside the packs that are asked."""

    def speak(self, now: float) -> Iterable[Answer]:
        """Poll some packs while it talks."""
        self.interval = INTRUDER_PERIOD
        return super().speak(now)


def count_bytes(clock: Clock) -> None:
    """Let the clock know of all bytes, and lines of the clock."""
    module: Any = line_module
    module.Schedule = Schedule
    module._CHUNK = CHUNK
    Line.clock = clock
    protocol: Any = port._Protocol
    received: Callable[[Any, bytes], None] = protocol.data_received
    write = port.Port.write

    def counted_received(self: Any, data: bytes) -> None:
        clock.arrived(len(data))
        received(self, data)

    def counted_write(self: port.Port, data: bytes) -> None:
        clock.sent(len(data))
        write(self, data)

    protocol.data_received = counted_received
    port.Port.write = counted_write  # type: ignore[method-assign]


class Bus:
    """A line, its batteries, and what befalls them.

    `trouble` counts the faults that are on it now, `well_since` is since when there has
    been none.
    """

    def __init__(self, name: str, family: str, truths: list[Truth], line: Line) -> None:
        """Begin without trouble."""
        self.name = name
        self.family = family
        self.truths = truths
        self.line = line
        self.trouble = 0
        self.well_since = 0.0
        self.other_master: OtherMaster | None = None

    @property
    def entry_id(self) -> str:
        """The id of its entry."""
        return f"soak_{self.name}"


def make_buses(folder: Path, seed: int, size: int) -> dict[str, Bus]:
    """Return the buses, not started; each has `size` batteries."""
    chance = random.Random(f"{seed}/batteries")
    level = {"valence": 0.0, "packs": 0.004, "bank": -0.004}
    modules = [
        VirtualModule(
            n,
            model=KINDS[n % 3][0],
            revision=KINDS[n % 3][1],
            serial=f"{20000 + n}" if KINDS[n % 3][1] == 1 else f"10440{2000 + n}",
        )
        for n in range(1, size + 1)
    ]
    packs, banked = (
        [
            VirtualPack(n, serial=f"SP57B-{letter}000000{n:04}", sensors=4)
            for n in range(1, size + 1)
        ]
        for letter in "AB"
    )
    other = OtherMaster(packs[:2], talking=False)
    devices: dict[str, list[Any]] = {
        "valence": [*modules],
        "packs": [*packs, other],
        "bank": [SlowBank(banked)],
    }
    members: dict[str, list[Any]] = {"valence": modules, "packs": packs, "bank": banked}
    buses = {}
    for name, each in members.items():
        family = "valence" if name == "valence" else "seplos"
        truths = [
            Truth(
                device, family, name, random.Random(f"{seed}/{name}/{n}"), level[name]
            )
            for n, device in enumerate(each)
        ]
        line = Line(devices[name], seed=chance.randrange(1 << 30), link=folder / name)
        buses[name] = Bus(name, family, truths, line)
    buses["packs"].other_master = other
    return buses
