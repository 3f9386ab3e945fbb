"""A virtual RS485 line behind a pseudo-terminal, with the timing of a real one.

Whatever opens the pseudo-terminal talks to the devices as through an adapter. Bytes
take as long as their speed says, everyone hears the client, those who talk at a time
garble each other, and what the client does wrong is remembered.

Linux drops PARENB on a pseudo-terminal, but its other end sees the speed, CSTOPB,
PARODD and CMSPAR that a client sets.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterable
from contextlib import suppress
from functools import partial
import os
from pathlib import Path
import random
import termios
import tty
from typing import Self

from .device import Answer, Device, Settings, Talker
from .faults import Faults
from .schedule import Schedule

__all__ = ["GAP", "Answer", "Device", "Faults", "Settings", "Talker", "VirtualLine"]

# Bytes further apart than this are not of the same frame, s. Longer than Modbus RTU's:
# a client that writes byte by byte may be held up in between.
GAP = 0.02
# An answer comes in pieces of a UART's FIFO.
_CHUNK = 16
# Not in Python's termios; the same on every Linux that Home Assistant runs on.
_CMSPAR = 0o10000000000
_SPEEDS = {
    value: int(name[1:])
    for name, value in vars(termios).items()
    if name[0] == "B" and name[1:].isdigit()
}


class VirtualLine:
    """Devices on one line; `path` is what a client opens.

    `strict` refuses bytes whose settings change before they have left; it must be off
    for programs that close the port right after a wake-up. Without `real_time` nothing
    takes time. `ignores_mark` makes an adapter that takes mark parity and sends none,
    `echo` one that hears itself. `link` is a symbolic link that always points at the
    pseudo-terminal, as those in /dev/serial/by-id do.
    """

    def __init__(
        self,
        devices: Iterable[Device],
        *,
        strict: bool = True,
        real_time: bool = True,
        seed: int = 0,
        faults: Faults | None = None,
        ignores_mark: bool = False,
        echo: bool = False,
        link: Path | None = None,
    ) -> None:
        """Nothing is there before `start`; `seed` makes faults repeatable."""
        self.devices = list(devices)
        self.strict = strict
        self.real_time = real_time
        self.faults = faults or Faults()
        self.ignores_mark = ignores_mark
        self.echo = echo
        self.link = link
        self.path = ""
        self.bytes_received = 0
        self.frames: deque[bytes] = deque(maxlen=1000)
        self._complaints: deque[str] = deque(maxlen=1000)
        self._random = random.Random(seed)
        self._plugged = False
        self._slave: int | None = None

    async def __aenter__(self) -> Self:
        """Start."""
        await self.start()
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        """Stop."""
        await self.stop()

    @property
    def complaints(self) -> list[str]:
        """Everything wrong with what was sent, each thing once."""
        each = [self._complaints, *(device.complaints for device in self.devices)]
        return list(dict.fromkeys(reason for some in each for reason in some))

    async def start(self) -> None:
        """Make the pseudo-terminal; `path` is valid from now on.

        Raises OSError where the system has none to give.
        """
        assert not self._plugged, "the line runs already"
        self._master, slave = os.openpty()
        self._let_go()
        # Our own end of the slave side stays open, so that a client may close its and
        # open it again.
        self._slave = slave
        tty.setraw(slave)
        os.set_blocking(self._master, False)
        self.path = os.ttyname(slave)
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(self._master, self._read)
        self._schedule = Schedule()
        self._plugged = True
        self._burst = b""
        self._burst_settings = Settings(0, 0, ninth_bit=False)
        # Until when the client sends, answers are due, what arrives is garbled.
        self._client_until = self._answer_until = self._garbled_until = 0.0
        self._held = bytearray()
        self._held_until = 0.0
        self._kept_back = b""
        if self.link is not None:
            # A client that looks in between must not find it missing.
            new = self.link.with_name(self.link.name + ".new")
            new.unlink(missing_ok=True)
            new.symlink_to(self.path)
            new.replace(self.link)
        for device in self.devices:
            if isinstance(device, Talker):
                self._schedule.at(self._loop.time(), partial(self._talk, device))

    async def stop(self) -> None:
        """End; leaves nothing behind. Does nothing where it is not running."""
        self.unplug()
        self._let_go()

    def _let_go(self) -> None:
        if self._slave is not None:
            os.close(self._slave)
            self._slave = None

    def unplug(self) -> None:
        """Pull the adapter out: the pseudo-terminal and the link go away.

        No other pseudo-terminal gets its `path` until `replug` or `stop`.
        """
        if not self._plugged:
            return
        self._plugged = False
        self._end_burst()
        self._schedule.close()
        self._loop.remove_reader(self._master)
        os.close(self._master)
        if self.link is not None:
            self.link.unlink(missing_ok=True)

    async def replug(self) -> None:
        """Plug the adapter in again, under another `path`."""
        await self.start()

    def inject(self, data: bytes) -> None:
        """Put bytes on the wire now, as another master or a babbler would.

        Only the client hears them, as sent with the settings that it has.
        """
        self._pass_to_client(data, self._loop.time(), self._settings())

    def _settings(self) -> Settings:
        attributes = termios.tcgetattr(self._master)
        flags, speed = attributes[2], attributes[5]
        mark = (
            bool(flags & termios.PARODD and flags & _CMSPAR) and not self.ignores_mark
        )
        two_stop_bits = bool(flags & termios.CSTOPB)
        return Settings(
            _SPEEDS.get(speed, 0), 10 + mark + two_stop_bits, mark or two_stop_bits
        )

    def _seconds(self, settings: Settings, count: int) -> float:
        return settings.seconds(count) if self.real_time else 0.0

    def _at(self, when: float, call: Callable[[], None]) -> None:
        if self.real_time or when > self._loop.time():
            self._schedule.at(when, call)
        else:
            call()

    def _complain(self, reason: str, data: bytes) -> None:
        self._complaints.append(f"{reason}: {data.hex(' ')}")

    def _read(self) -> None:
        """The client handed bytes to its adapter."""
        data = os.read(self._master, 4096)
        self.bytes_received += len(data)
        settings = self._settings()
        start = max(self._loop.time(), self._client_until)
        end = self._client_until = start + self._seconds(settings, len(data))
        if start < self._answer_until:
            self._garbled_until = end
        if self.echo:
            self._pass_to_client(data, start, settings)
        self._at(end, partial(self._left, data, settings, end))

    def _left(self, data: bytes, settings: Settings, end: float) -> None:
        """The last of these bytes went over the wire."""
        if garbled := end <= self._garbled_until:
            self._complain("sent while an answer was due", data)
        if self.strict and self._settings() != settings:
            self._complain("settings changed before these bytes had left", data)
            garbled = True
        if garbled or settings != self._burst_settings:
            self._end_burst()
        if garbled:
            return
        self._burst += data
        self._burst_settings = settings
        if self._heard(self._burst, settings, end):
            self.frames.append(self._burst)
            self._burst = b""
        else:
            self._schedule.at(end + GAP, partial(self._pause, end))

    def _heard(self, data: bytes, settings: Settings, now: float) -> bool:
        """Let every device hear what came; return whether it was a frame."""
        taken = False
        for device in self.devices:
            answer = device.hear(data, settings, now, lenient=not self.strict)
            if isinstance(answer, Answer):
                self._say(answer, settings, now)
            taken = taken or bool(answer)
        return taken

    def _pause(self, end: float) -> None:
        if end == self._client_until:
            self._end_burst()

    def _end_burst(self) -> None:
        # A line that changes its speed or is let go looks like zeros.
        if any(self._burst):
            self._complain("no frame", self._burst)
        self._burst = b""

    def _talk(self, talker: Talker) -> None:
        begun = end = self._loop.time()
        for speech in talker.speak(begun):
            end = self._say(speech, talker.settings, end)
        again = max(begun + talker.interval, end)
        self._schedule.at(again, partial(self._talk, talker))

    def _say(self, answer: Answer, settings: Settings, at: float) -> float:
        """Send what a device says from `at` on; return when its last byte is there."""
        faults, chance = self.faults, self._random
        data = answer.data
        start = at + (answer.delay if self.real_time else 0.0)
        end = start + self._seconds(settings, len(data))
        if start < self._client_until:
            self._garbled_until = self._client_until
        # Two that talk at a time garble each other, too.
        if start < self._answer_until and self.real_time:
            self._garbled_until = max(self._garbled_until, self._answer_until, end)
        self._answer_until = max(self._answer_until, end)
        if faults.hit(faults.lost, chance):
            return end
        data, self._kept_back = self._kept_back + faults.befall(data, chance), b""
        if faults.hit(faults.merged, chance):
            self._kept_back = data
            return end
        if faults.hit(faults.late, chance):
            delay = chance.uniform(*faults.late_by)
            if faults.overtakes:
                start += delay
            else:
                self._held_until = max(self._held_until, end + delay)
                self._schedule.at(end + delay, self._release)
        self._pass_to_client(data, start, settings)
        return end

    def _pass_to_client(self, data: bytes, start: float, settings: Settings) -> None:
        for at in range(0, len(data), _CHUNK):
            chunk = data[at : at + _CHUNK]
            begun = start + self._seconds(settings, at)
            due = begun + self._seconds(settings, len(chunk))
            self._at(due, partial(self._arrived, chunk, settings.baudrate, begun))

    def _arrived(self, chunk: bytes, baudrate: int, begun: float) -> None:
        """A piece went over the wire and is in the adapter."""
        if begun < self._garbled_until or self._settings().baudrate != baudrate:
            chunk = self._random.randbytes(len(chunk))
        self._held += chunk
        self._release()

    def _release(self) -> None:
        """Give the client all that is not held up any more."""
        if self._loop.time() >= self._held_until:
            # With nobody reading, the buffer overruns as any adapter's does.
            with suppress(BlockingIOError):
                os.write(self._master, self._held)
            self._held.clear()
