"""A Seplos bank that is only heard, in the shape of rounds that ask."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping
import time
from typing import Any

from .bank import Bank, HeardPack
from .bus import Bus
from .errors import BusError, Unheard
from .reading import Identity
from .rounds import Battery, OnReading
from .seplos import HEARD_FOR, LINE
from .seplos_tables import make_reading

# How long the first round waits for packs that are known, s.
PATIENCE = 2.0


class Listening:
    """Follows the packs of a bank without a word, on a mute bus.

    `on_new` is called with each pack that was not known before.
    """

    def __init__(
        self,
        bus: Bus,
        identities: Iterable[Identity],
        *,
        board: int | None = None,
        divisor: int | None = None,
    ) -> None:
        """Begin with nothing heard; see `Bank` for `board` and `divisor`."""
        self.bus = bus
        self.batteries = [Battery(identity) for identity in identities]
        self.on_new: Callable[[Battery], None] | None = None
        self.on_reading: OnReading | None = None
        known = [battery.identity for battery in self.batteries]
        self.bank = Bank(known, board=board, divisor=divisor)
        self.bank.on_reading = self._heard
        self.bank.on_part = self._part
        self._divisor = divisor
        self._since: float | None = None
        self._progress = asyncio.Event()
        bus.on_heard = self.bank.take

    def _heard(self, pack: HeardPack) -> None:
        battery = self._battery(pack.identity)
        new = battery is None
        if battery is None:
            battery = Battery(pack.identity)
            self.batteries.append(battery)
        assert pack.reading is not None
        assert pack.read_at is not None
        battery.heard(pack.reading, pack.read_at)
        self._progress.set()
        if new and self.on_new:
            self.on_new(battery)
        if self.on_reading:
            self.on_reading(battery, pack.reading, pack.read_at, part=False)

    def _battery(self, identity: Identity) -> Battery | None:
        same = (b for b in self.batteries if b.identity.address == identity.address)
        return next(same, None)

    def _part(self, identity: Identity, values: Mapping[str, Any]) -> None:
        """Tell of a part of a reading, which may already be dangerous."""
        battery = self._battery(identity)
        if battery and self.on_reading:
            part = make_reading(
                values, identity, divisor=self._divisor, guess_sensors=True
            )
            self.on_reading(battery, part, time.monotonic(), part=True)

    async def round(self) -> None:
        """Keep the port open and let go of what has not been heard for a while.

        Raises a PortError, and then no battery has a reading.
        """
        try:
            if not self.bus.is_open:
                self._since = None
            await self.bus.open(LINE)
        except BusError as err:
            for battery in self.batteries:
                battery.lost(err)
            raise
        if self._since is None:
            self._since = time.monotonic()
            await self._first_words()
        now = time.monotonic()
        for battery in self.batteries:
            if now - max(self._since, battery.read_at or 0.0) > HEARD_FOR:
                address = battery.identity.address
                battery.lost(
                    Unheard(
                        f"pack {address} has not been heard for {HEARD_FOR:.0f} s",
                        address=str(address),
                    )
                )

    async def _first_words(self) -> None:
        """Wait for the packs, so that the first round does not come with nothing."""
        try:
            async with asyncio.timeout(PATIENCE):
                while not all(battery.reading for battery in self.batteries):
                    self._progress.clear()
                    await self._progress.wait()
        except TimeoutError:
            return
