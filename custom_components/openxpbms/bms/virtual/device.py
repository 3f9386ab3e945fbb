"""What a device on a virtual line hears and says."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol, runtime_checkable


@dataclass(frozen=True, slots=True)
class Settings:
    """How bytes go over the wire.

    Speed in baud (0: none of the usual ones), bits of a byte from start to stop, and
    the value of the one behind its eight data bits.
    """

    baudrate: int
    bits: int
    ninth_bit: bool

    def seconds(self, count: int) -> float:
        """How long `count` bytes take on the wire."""
        return count * self.bits / self.baudrate if self.baudrate else 0.0


@dataclass(frozen=True, slots=True)
class Answer:
    """Bytes that a device sends, `delay` s after the last byte that was on the wire."""

    data: bytes
    delay: float


class Device(Protocol):
    """Anything on the line. `complaints` holds what it was sent and should not be."""

    complaints: list[str]

    def hear(
        self, data: bytes, settings: Settings, now: float, *, lenient: bool
    ) -> Answer | bool:
        """Hear all bytes since the last frame or pause; `now` is in s.

        Returns an answer, True for a frame that needs none, False while `data` is no
        whole frame. `lenient` is for frames whose settings are not certain.
        """


@runtime_checkable
class Talker(Protocol):
    """A device that also speaks unasked, with its own settings.

    From one time to the next it is `interval` s, as it stands when it has spoken.
    """

    interval: float
    settings: Settings

    def speak(self, now: float) -> Iterable[Answer]:
        """Return what it sends now, each its delay behind the one before."""
