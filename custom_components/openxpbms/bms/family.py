"""What the rounds and a search need of a battery family."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from .bus import Bus, Heard
from .reading import History, Identity, Reading, Settings

# How long batteries that sleep stay awake for certain after a wake-up or a question,
# s: polling every 10 s keeps Valence modules awake (SKT); no source tells the time-out.
AWAKE = 10.0


@dataclass(frozen=True, slots=True)
class ScanResult:
    """What a scan found, and the addresses that answered garbled."""

    found: tuple[Identity, ...]
    garbled: tuple[int, ...]


class Family(Protocol):
    """The batteries of one kind on one bus."""

    bus: Bus
    # Told of every part of a Reading the moment it arrives, the other fields None.
    on_part: Callable[[Identity, Reading], None] | None

    async def open(self) -> None:
        """Open the bus unless it is open. Raises a PortError or ForeignMaster."""

    async def listen(
        self, seconds: float, progress: Callable[[float], None] | None = None
    ) -> Heard:
        """Only listen, with the settings for reading, see `Bus.listen`."""

    @property
    def asleep(self) -> bool:
        """Whether the batteries may have fallen asleep since the last exchange."""

    async def wake(self) -> None:
        """Wake all batteries, where they sleep at all."""

    def pause(self, tries: int) -> float:
        """Return the s between waking and asking one that failed so many times."""

    async def read(self, identity: Identity) -> Reading:
        """Read one battery whole. Raises an AnswerError where anything is missing."""

    async def read_slow(self, identity: Identity) -> History | Settings:
        """Read what changes slowly; what does not answer stays None."""

    def heard(self, identity: Identity) -> tuple[Reading, float] | None:
        """Return what was heard of a battery while another master asks it.

        With the monotonic s at which it was heard.
        """

    async def identify(self, address: int) -> Identity:
        """Ask a battery who it is. Raises an AnswerError."""

    async def scan(
        self,
        addresses: Sequence[int],
        progress: Callable[[float], None] = lambda share: None,
    ) -> ScanResult:
        """Look for batteries, address by address; the port must be open.

        `progress` is told the share that is done, from 0 to 1.
        """
