"""A virtual RS485 line behind a pseudo-terminal, with the timing of a real one.

Whatever opens the pseudo-terminal talks to the devices as through an adapter: bytes
take as long as their speed says, everyone hears everything, and settings are checked.
On Linux the speed, CSTOPB, PARODD and CMSPAR of a pseudo-terminal stay visible to its
other end, PARENB does not.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
import os
from pathlib import Path
import random
import termios
import tty
from types import TracebackType
from typing import Protocol, Self

CMSPAR = 0o10000000000
# Bytes further apart than this are not of the same frame, s.
GAP = 0.02
_CHUNK = 8
_SPEEDS = {
    getattr(termios, name): int(name[1:])
    for name in dir(termios)
    if name[0] == "B" and name[1:].isdigit()
}


@dataclass(frozen=True, slots=True)
class Settings:
    """Speed in baud, bits of one byte on the wire, value of the bit after the data."""

    baudrate: int
    bits: int
    ninth_bit: bool


@dataclass(frozen=True, slots=True)
class Answer:
    """Bytes that a device sends, `delay` s after the last byte it heard."""

    data: bytes
    delay: float


class Device(Protocol):
    """Anything on the line."""

    complaints: list[str]

    def hear(
        self, data: bytes, settings: Settings, now: float, *, lenient: bool
    ) -> Answer | bool:
        """Hear all bytes since the last frame ended.

        Returns an answer, True for a frame that needs none, False while `data` is no
        whole frame.
        """


@dataclass(slots=True)
class Faults:
    """Probabilities per answer, from 0 to 1; `late_by` is a range in seconds.

    A device's late answer holds up its later ones unless it `overtakes`.
    """

    noise: float = 0.0
    lost: float = 0.0
    late: float = 0.0
    late_by: tuple[float, float] = (0.15, 0.4)
    overtakes: bool = False


@dataclass(slots=True)
class VirtualLine:
    """Devices on one line; `path` is what a program opens.

    `strict` garbles bytes whose speed is changed before they have left; programs that
    close the port after the wake-up need it off. `real_time` off delivers at once.
    `ignores_mark` makes an adapter that accepts mark parity and sends none, `echo` one
    that hears itself. `link` is a symbolic link that follows the pseudo-terminal.
    """

    devices: Iterable[Device]
    strict: bool = True
    real_time: bool = True
    seed: int = 0
    echo: bool = False
    ignores_mark: bool = False
    link: Path | None = None
    faults: Faults = field(default_factory=Faults)
    bytes_received: int = 0
    path: str = ""
    own_complaints: list[str] = field(default_factory=list)
    _random: random.Random = field(init=False)
    _master: int = -1
    _slave: int = -1
    _heard: bytes = b""
    _heard_at: float = 0.0
    _wire_free: float = 0.0
    _answering_until: float = 0.0
    _device_free: dict[int, float] = field(default_factory=dict)
    _timers: set[asyncio.TimerHandle] = field(default_factory=set)

    def __post_init__(self) -> None:
        """Seed the faults."""
        self.devices = tuple(self.devices)
        self._random = random.Random(self.seed)

    @property
    def complaints(self) -> list[str]:
        """Everything wrong with what was sent, each thing once."""
        all_of_them = [*self.own_complaints]
        for device in self.devices:
            all_of_them += device.complaints
        return list(dict.fromkeys(all_of_them))

    async def __aenter__(self) -> Self:
        """Start."""
        await self.start()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Stop."""
        await self.stop()

    async def start(self) -> None:
        """Make the pseudo-terminal; `path` is valid from now on."""
        self._master, self._slave = os.openpty()
        # Our own end of the slave side stays open, so that a program may close and
        # open it again.
        tty.setraw(self._slave)
        os.set_blocking(self._master, False)
        self.path = os.ttyname(self._slave)
        asyncio.get_running_loop().add_reader(self._master, self._read)
        if self.link is not None:
            self.link.unlink(missing_ok=True)
            self.link.symlink_to(self.path)

    async def stop(self) -> None:
        """End; nothing is left behind."""
        self.unplug()

    def unplug(self) -> None:
        """Pull the adapter out: the pseudo-terminal goes away."""
        for timer in self._timers:
            timer.cancel()
        self._timers.clear()
        if self._master >= 0:
            asyncio.get_running_loop().remove_reader(self._master)
            os.close(self._master)
            os.close(self._slave)
            self._master = self._slave = -1
        self._heard = b""
        if self.link is not None:
            self.link.unlink(missing_ok=True)

    async def replug(self) -> None:
        """Plug the adapter in again, perhaps under another path."""
        await self.start()

    def inject(self, data: bytes) -> None:
        """Put bytes on the wire now, as somebody else would."""
        self._deliver(data)

    def _settings(self) -> Settings:
        attributes = termios.tcgetattr(self._master)
        cflag, speed = attributes[2], attributes[4]
        mark = bool(cflag & termios.PARODD and cflag & CMSPAR)
        two_stop_bits = bool(cflag & termios.CSTOPB)
        ninth_bit = two_stop_bits or (mark and not self.ignores_mark)
        return Settings(
            _SPEEDS.get(speed, speed), 10 + (mark or two_stop_bits), ninth_bit
        )

    def _read(self) -> None:
        try:
            data = os.read(self._master, 4096)
        except OSError:  # pragma: no cover  the other end went in this very moment
            return
        now = asyncio.get_running_loop().time()
        self.bytes_received += len(data)
        settings = self._settings()
        if now < self._answering_until:
            self.own_complaints.append("sent while an answer was on the wire")
        if self.real_time:
            start = max(now, self._wire_free)
            self._wire_free = start + len(data) * settings.bits / settings.baudrate
            self._at(self._wire_free, lambda: self._sent(data, settings))
        else:
            self._sent(data, settings)

    def _sent(self, data: bytes, settings: Settings) -> None:
        """The last of these bytes has left the adapter."""
        if self.strict and self._settings() != settings:
            self.own_complaints.append(
                "line settings changed before all bytes had left"
            )
            data = bytes(byte ^ 0x5A for byte in data)
        if self.echo:
            self._deliver(data)
        now = asyncio.get_running_loop().time()
        if self._heard and now - self._heard_at > GAP:
            self.own_complaints.append(f"no frame: {self._heard.hex(' ')}")
            self._heard = b""
        self._heard += data
        self._heard_at = now
        for number, device in enumerate(self.devices):
            answer = device.hear(self._heard, settings, now, lenient=not self.strict)
            if isinstance(answer, Answer):
                self._answer(number, answer, settings)
            if answer:
                self._heard_at = 0.0
        if not self._heard_at:
            self._heard = b""

    def _answer(self, number: int, answer: Answer, settings: Settings) -> None:
        faults, chance = self.faults, self._random.random
        now = asyncio.get_running_loop().time()
        start = now + (answer.delay if self.real_time else 0.0)
        data = answer.data
        if chance() < faults.lost:
            return
        if chance() < faults.noise:
            data = self._noisy(data)
        if chance() < faults.late:
            start += self._random.uniform(*faults.late_by)
        if not faults.overtakes:
            start = max(start, self._device_free.get(number, 0.0))
        per_byte = settings.bits / settings.baudrate if self.real_time else 0.0
        end = start + per_byte * len(data)
        self._device_free[number] = end
        if end <= now:
            self._deliver(data)
            return
        if self.real_time:
            self._answering_until = max(self._answering_until, end)
        for at in range(0, len(data), _CHUNK):
            chunk = data[at : at + _CHUNK]
            when = start + per_byte * (at + len(chunk))
            self._at(when, lambda chunk=chunk: self._deliver(chunk))  # type: ignore[misc]

    def _noisy(self, data: bytes) -> bytes:
        pick, at = self._random, self._random.randrange(len(data))
        kind = pick.randrange(4)
        if kind == 0:
            return (
                data[:at] + bytes((data[at] ^ pick.randrange(1, 256),)) + data[at + 1 :]
            )
        if kind == 1:
            return data[:at] + data[at + 1 :]
        if kind == 2:
            return data[:at] + pick.randbytes(1) + data[at:]
        return pick.randbytes(pick.randrange(1, 6)) + data

    def _deliver(self, data: bytes) -> None:
        if self._master >= 0:
            os.write(self._master, data)

    def _at(self, when: float, act: Callable[[], None]) -> None:
        def fire() -> None:
            self._timers.discard(timer)
            act()

        timer = asyncio.get_running_loop().call_at(when, fire)
        self._timers.add(timer)
