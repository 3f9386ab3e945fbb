"""The virtual line over its pseudo-terminal, with a client of plain system calls."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, field
import os
from pathlib import Path
import termios
from typing import Any, Self
from unittest.mock import patch

import pytest
import serialx

from custom_components.openxpbms.bms.virtual import (
    Answer,
    Faults,
    Settings,
    VirtualLine,
)

from .conftest import until

CMSPAR = 0o10000000000
PLAIN = Settings(19200, 10, ninth_bit=False)
SLOW = Settings(300, 11, ninth_bit=True)
TURNAROUND = 0.002


class Client:
    """A program that opens the port."""

    def __init__(self, path: str, baudrate: int = 115200, **settings: bool) -> None:
        self.received = bytearray()
        self.times: list[float] = []
        self.more = asyncio.Event()
        self.loop = asyncio.get_running_loop()
        self.fd = os.open(path, os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK)
        self.set(baudrate, **settings)
        self.loop.add_reader(self.fd, self._read)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.loop.remove_reader(self.fd)
        os.close(self.fd)

    def set(
        self, baudrate: int, *, mark: bool = True, two_stop_bits: bool = False
    ) -> None:
        attributes = termios.tcgetattr(self.fd)
        flags = termios.PARENB | termios.PARODD | CMSPAR | termios.CSTOPB
        attributes[2] &= ~flags
        if mark:
            attributes[2] |= termios.PARENB | termios.PARODD | CMSPAR
        if two_stop_bits:
            attributes[2] |= termios.CSTOPB
        attributes[4] = attributes[5] = getattr(termios, f"B{baudrate}")
        termios.tcsetattr(self.fd, termios.TCSANOW, attributes)

    def _read(self) -> None:
        self.received += os.read(self.fd, 4096)
        self.times.append(self.loop.time())
        self.more.set()

    def send(self, data: bytes) -> float:
        os.write(self.fd, data)
        return self.loop.time()

    async def receive(self, count: int, within: float = 10.0) -> bytes:
        """Return what came when `count` bytes are there or time is up."""
        with suppress(TimeoutError):
            async with asyncio.timeout(within):
                while len(self.received) < count:
                    self.more.clear()
                    await self.more.wait()
        data = bytes(self.received)
        self.received.clear()
        return data

    async def take(self, count: int) -> bytes:
        """Return the next `count` bytes and leave what came behind them."""
        data = await self.receive(count)
        self.received += data[count:]
        return data[:count]

    async def silence(self, seconds: float = 0.03) -> bytes:
        """Return what came within `seconds`."""
        await asyncio.sleep(seconds)
        return await self.receive(0)


@dataclass
class Parrot:
    """Answers four bytes by repeating them."""

    size: int = 20
    delay: float = TURNAROUND
    complaints: list[str] = field(default_factory=list)
    heard: list[tuple[bytes, Settings]] = field(default_factory=list)
    times: list[float] = field(default_factory=list)

    def hear(
        self, data: bytes, settings: Settings, now: float, *, lenient: bool
    ) -> Answer | bool:
        if len(data) != 4:
            return False
        self.heard.append((data, settings))
        self.times.append(now)
        return Answer(data * (self.size // 4), self.delay)


@dataclass
class Chatterbox(Parrot):
    """A parrot that cannot keep quiet."""

    interval: float = 0.01
    settings: Settings = PLAIN

    def speak(self, now: float) -> Iterable[Answer]:
        yield Answer(b"one", 0.0)
        yield Answer(b"two", 0.001)


type MakeLine = Callable[..., Awaitable[VirtualLine]]


@pytest.fixture
async def line_of() -> AsyncIterator[MakeLine]:
    """Start lines, with time that is not real unless told."""
    lines: list[VirtualLine] = []

    async def make(*devices: Any, **settings: Any) -> VirtualLine:
        lines.append(VirtualLine(devices, **{"real_time": False} | settings))
        await lines[-1].start()
        return lines[-1]

    yield make
    for line in lines:
        await line.stop()


@pytest.fixture
def long_gap(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a busy machine take its time between two writes."""
    monkeypatch.setattr("custom_components.openxpbms.bms.virtual.line.GAP", 0.5)


@pytest.mark.parametrize(
    ("settings", "ninth_bit", "bits"),
    [
        ({"mark": True}, True, 11),
        ({"mark": False, "two_stop_bits": True}, True, 11),
        ({"mark": False}, False, 10),
        ({"mark": True, "two_stop_bits": True}, True, 12),
    ],
)
async def test_devices_hear_how_the_bytes_were_sent(
    line_of: MakeLine, settings: dict[str, bool], *, ninth_bit: bool, bits: int
) -> None:
    parrot = Parrot()
    line = await line_of(parrot)
    with Client(line.path, 9600, **settings) as client:
        client.send(b"ping")
        await client.receive(20)
    assert parrot.heard == [(b"ping", Settings(9600, bits, ninth_bit))]


async def test_an_adapter_that_ignores_mark_sends_a_ninth_bit_with_two_stop_bits_only(
    line_of: MakeLine,
) -> None:
    parrot = Parrot()
    line = await line_of(parrot, ignores_mark=True)
    with Client(line.path) as client:
        client.send(b"ping")
        await client.receive(20)
        client.set(115200, two_stop_bits=True)
        client.send(b"pong")
        await client.receive(20)
    heard = [(settings.ninth_bit, settings.bits) for _, settings in parrot.heard]
    assert heard == [(False, 10), (True, 11)]


async def test_a_speed_nobody_knows_takes_no_time(line_of: MakeLine) -> None:
    parrot = Parrot()
    line = await line_of(parrot)
    with Client(line.path, 0) as client:
        client.send(b"ping")
        await client.receive(20)
    ((_, settings),) = parrot.heard
    assert (settings.baudrate, settings.seconds(9)) == (0, 0.0)


async def test_a_frame_may_come_in_pieces(line_of: MakeLine, long_gap: None) -> None:
    line = await line_of(Parrot(size=4))
    with Client(line.path) as client:
        client.send(b"pi")
        await asyncio.sleep(0.005)
        client.send(b"ng")
        assert await client.receive(4) == b"ping"
        client.send(b"pong")
        assert await client.receive(4) == b"pong"
    assert list(line.frames) == [b"ping", b"pong"]
    assert line.bytes_received == 8
    assert not line.complaints


async def test_a_pause_ends_what_is_no_frame(line_of: MakeLine, long_gap: None) -> None:
    line = await line_of(Parrot(size=4))
    with Client(line.path) as client:
        client.send(b"\x01")
        await asyncio.sleep(0.05)
        client.send(b"\x02")
        await until(lambda: bool(line.complaints))
        assert line.complaints == ["no frame: 01 02"]
        client.send(b"ping")
        assert await client.receive(4) == b"ping"


async def test_zeros_alone_mean_nothing(line_of: MakeLine) -> None:
    line = await line_of(Parrot())
    with Client(line.path) as client:
        client.send(b"\0\0")
        await client.silence()
    assert not line.complaints


async def test_other_settings_begin_another_frame(line_of: MakeLine) -> None:
    line = await line_of(Parrot(size=4))
    with Client(line.path, 9600) as client:
        client.send(b"pi")
        await until(lambda: line.bytes_received == 2)
        client.set(115200)
        client.send(b"pong")
        assert await client.receive(4) == b"pong"
    assert line.complaints == ["no frame: 70 69"]


async def test_half_a_frame_is_complained_of_when_the_line_stops() -> None:
    async with VirtualLine([Parrot()], real_time=False) as line:
        with Client(line.path) as client:
            client.send(b"pi")
            await until(lambda: line.bytes_received == 2)
    assert line.complaints == ["no frame: 70 69"]


async def test_complaints_of_all_are_told_once(line_of: MakeLine) -> None:
    line = await line_of(
        Parrot(complaints=["this"]), Parrot(complaints=["this", "that"])
    )
    assert line.complaints == ["this", "that"]


async def test_a_line_without_devices_counts_bytes(line_of: MakeLine) -> None:
    line = await line_of()
    with Client(line.path) as client:
        client.send(b"ping")
        await until(lambda: line.bytes_received == 4)
        assert await client.silence() == b""
    assert line.bytes_received == 4


async def test_bytes_take_their_time_in_both_directions(line_of: MakeLine) -> None:
    # So slow that even a busy machine takes the pieces one by one.
    sluggish = Settings(600, 10, ninth_bit=False)
    parrot = Parrot(size=40)
    line = await line_of(parrot, real_time=True)
    with Client(line.path, 600, mark=False) as client:
        await asyncio.sleep(0.01)
        start = client.send(b"ping")
        assert await client.receive(40) == b"ping" * 10
    assert parrot.times[0] - start >= sluggish.seconds(4)
    least = sluggish.seconds(4) + TURNAROUND + sluggish.seconds(40)
    assert least <= client.times[-1] - start
    # In pieces, the first one long before the last.
    assert len(client.times) == 3
    assert client.times[-1] - client.times[0] > sluggish.seconds(16)
    assert not line.complaints


async def test_bytes_wait_for_those_before_them(
    line_of: MakeLine, long_gap: None
) -> None:
    parrot = Parrot()
    line = await line_of(parrot, real_time=True)
    with Client(line.path, 300) as client:
        start = client.send(b"pi")
        await asyncio.sleep(0.005)
        client.send(b"ng")
        await until(lambda: bool(parrot.times))
    assert parrot.times[0] - start >= SLOW.seconds(4)


async def test_a_port_may_be_closed_and_opened_at_another_speed(
    line_of: MakeLine,
) -> None:
    parrot = Parrot()
    line = await line_of(parrot)
    for number, baudrate in enumerate((9600, 115200), 1):
        with Client(line.path, baudrate) as client:
            client.send(b"ping")
            await client.receive(20)
        assert len(parrot.heard) == number
    assert [settings.baudrate for _, settings in parrot.heard] == [9600, 115200]


@pytest.mark.parametrize("strict", [True, False])
async def test_a_speed_change_before_the_bytes_have_left_garbles_them_if_strict(
    line_of: MakeLine, *, strict: bool
) -> None:
    parrot = Parrot()
    line = await line_of(parrot, real_time=True, strict=strict)
    with Client(line.path, 300) as client:
        client.send(b"ping")
        await until(lambda: line.bytes_received == 4)
        client.set(115200)
        await until(lambda: bool(parrot.heard or line.complaints))
    assert bool(parrot.heard) is not strict
    assert line.complaints == (
        ["settings changed before these bytes had left: 70 69 6e 67"] if strict else []
    )


async def test_a_reply_is_garbage_at_another_speed(line_of: MakeLine) -> None:
    parrot = Parrot(delay=0.3)
    line = await line_of(parrot, real_time=True)
    with Client(line.path) as client:
        client.send(b"ping")
        await until(lambda: bool(parrot.heard))
        client.set(9600)
        data = await client.receive(20)
    assert len(data) == 20
    assert data != b"ping" * 5


async def test_sending_over_a_reply_garbles_both(line_of: MakeLine) -> None:
    parrot = Parrot(size=40)
    line = await line_of(parrot, real_time=True)
    with Client(line.path, 1200, mark=False) as client:
        client.send(b"ping")
        await client.take(16)
        client.send(b"pong" * 4)
        rest = await client.take(24)
    assert len(parrot.heard) == 1
    assert len(rest) == 24
    assert rest != b"ping" * 6
    assert line.complaints == [
        f"sent while an answer was due: {(b'pong' * 4).hex(' ')}"
    ]


async def test_an_adapter_echoes_while_it_is_told_to(line_of: MakeLine) -> None:
    line = await line_of(Parrot(size=4), echo=True)
    with Client(line.path) as client:
        client.send(b"ping")
        assert await client.receive(8) == b"pingping"
        line.echo = False
        client.send(b"pong")
        assert await client.receive(4) == b"pong"
        assert await client.silence() == b""


async def test_noise_is_the_same_for_the_same_seed(line_of: MakeLine) -> None:
    replies: list[list[bytes]] = []
    for seed in (1, 1, 2):
        line = await line_of(Parrot(), seed=seed, faults=Faults(noise=1.0))
        with Client(line.path) as client:
            replies.append([])
            for _ in range(12):
                client.send(b"ping")
                # At most three bytes of twenty are dropped.
                replies[-1].append(await client.receive(17))
    assert all(reply != b"ping" * 5 for reply in replies[0])
    assert replies[0] == replies[1] != replies[2]
    lengths = {len(reply) for reply in replies[0]}
    assert min(lengths) < 20 < max(lengths)
    assert 20 in lengths


async def test_a_lost_reply_never_comes(line_of: MakeLine) -> None:
    line = await line_of(Parrot())
    line.faults.lost = 1.0
    with Client(line.path) as client:
        client.send(b"ping")
        await until(lambda: len(line.frames) == 1)
        assert await client.silence() == b""


async def test_a_late_reply_holds_up_the_next(line_of: MakeLine) -> None:
    line = await line_of(Parrot(size=4), faults=Faults(late=1.0, late_by=(0.05, 0.06)))
    with Client(line.path) as client:
        start = client.send(b"ping")
        await until(lambda: len(line.frames) == 1)
        line.faults.late = 0.0
        client.send(b"pong")
        assert await client.receive(8) == b"pingpong"
        assert client.times[0] - start >= 0.05


async def test_the_longer_of_two_delays_counts(line_of: MakeLine) -> None:
    line = await line_of(Parrot(size=4), faults=Faults(late=1.0, late_by=(0.4, 0.4)))
    with Client(line.path) as client:
        start = client.send(b"ping")
        await asyncio.sleep(0.02)
        client.send(b"pong")
        assert await client.receive(8) == b"pingpong"
        assert client.times[0] - start >= 0.42


async def test_a_late_reply_may_be_overtaken(line_of: MakeLine) -> None:
    faults = Faults(late=1.0, late_by=(0.4, 0.4), overtakes=True)
    line = await line_of(Parrot(size=4), faults=faults)
    with Client(line.path) as client:
        client.send(b"ping")
        await until(lambda: len(line.frames) == 1)
        faults.late = 0.0
        client.send(b"pong")
        assert await client.receive(8) == b"pongping"


async def test_what_others_send_is_heard_by_the_client_alone(
    line_of: MakeLine,
) -> None:
    parrot = Parrot()
    line = await line_of(parrot, real_time=True)
    with Client(line.path) as client:
        line.inject(b"ping")
        assert await client.receive(4) == b"ping"
    assert not parrot.heard
    assert line.bytes_received == 0
    assert not line.complaints


async def test_what_nobody_reads_is_lost(line_of: MakeLine) -> None:
    line = await line_of(Parrot(size=4))
    for _ in range(30):
        line.inject(b"\x01" * 1000)
    with Client(line.path) as client:
        kept = await client.receive(1)
        while more := await client.silence():
            kept += more
        assert len(kept) < 30_000
        client.send(b"ping")
        await until(lambda: client.received.endswith(b"ping"))


async def test_a_talker_speaks_unasked_and_answers_too(line_of: MakeLine) -> None:
    start = asyncio.get_running_loop().time()
    # It leaves room for a question between two times.
    line = await line_of(Chatterbox(size=4, interval=0.2), real_time=True)
    with Client(line.path, 19200, mark=False) as client:
        assert await client.take(12) == b"onetwoonetwo"
        assert client.loop.time() - start >= 0.2
        client.send(b"ping")
        await until(lambda: b"ping" in client.received)


async def test_an_unplugged_adapter_is_gone_and_comes_back_elsewhere(
    tmp_path: Path,
) -> None:
    link = tmp_path / "usb-adapter"
    line = VirtualLine([Parrot()], real_time=False, link=link)
    await line.stop()
    await line.start()
    path = line.path
    assert link.readlink() == Path(path)
    with Client(str(link)) as client:
        line.unplug()
        assert not link.is_symlink()
        with pytest.raises(FileNotFoundError):
            Client(path)
        client.loop.remove_reader(client.fd)
        with pytest.raises(OSError, match="Input/output"):
            client.send(b"ping")
        await line.replug()
    assert link.readlink() == Path(line.path)
    with Client(str(link)) as client:
        client.send(b"ping")
        assert await client.receive(20) == b"ping" * 5
    await line.stop()
    await line.stop()
    assert not link.is_symlink()


async def test_nobody_else_gets_the_path_of_an_unplugged_adapter() -> None:
    line = VirtualLine([Parrot()])
    await line.start()
    path = line.path
    line.unplug()
    others = [VirtualLine([Parrot()]) for _ in range(5)]
    for other in others:
        await other.start()
    assert path not in {other.path for other in others}
    await line.replug()
    assert line.path != path
    for each in (line, *others):
        await each.stop()


def open_files() -> list[str]:
    return sorted(path.name for path in Path("/proc/self/fd").iterdir())


async def test_without_a_pseudo_terminal_it_does_not_start() -> None:
    before = open_files()
    line = VirtualLine([Parrot()])
    with (
        patch("os.openpty", side_effect=OSError("too many")),
        pytest.raises(OSError, match="too many"),
    ):
        await line.start()
    await line.stop()
    assert open_files() == before


async def test_nothing_is_left_behind() -> None:
    before = open_files()
    async with VirtualLine([Chatterbox()]) as line:
        with Client(line.path) as client:
            client.send(b"ping")
            line.inject(b"abc")
            await until(lambda: line.bytes_received == 4)
    assert open_files() == before
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_serialx_reads_through_it_with_one_port_at_two_speeds(
    line_of: MakeLine,
) -> None:
    parrot = Parrot()
    line = await line_of(parrot, real_time=True)
    port = serialx.async_serial_for_url(
        line.path, baudrate=9600, parity=serialx.Parity.MARK
    )
    async with port:
        await port.write(b"\x01\x02")
        await port.flush()
        await until(lambda: bool(line.complaints))
        await port.reconfigure_port(baudrate=115200, parity=serialx.Parity.MARK)
        await port.write(b"ping")
        async with asyncio.timeout(10):
            assert await port.readexactly(20) == b"ping" * 5
    assert parrot.heard == [(b"ping", Settings(115200, 11, ninth_bit=True))]
    assert line.complaints == ["no frame: 01 02"]
