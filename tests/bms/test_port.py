"""A serial port, and our errors instead of the transport's."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
import errno
from pathlib import Path
from typing import Any

import pytest
import serialx

from custom_components.openxpbms.bms import port as port_module
from custom_components.openxpbms.bms.errors import (
    BusError,
    FixedSpeed,
    PortBusy,
    PortForbidden,
    PortGone,
    PortMissing,
    PortUnreachable,
    PortUnusable,
    UnsupportedLine,
)
from custom_components.openxpbms.bms.port import (
    Line,
    Port,
    changes_speed,
    is_remote,
    shown,
)

from .conftest import MakeLine, until

MARK = Line(115200, parity=serialx.Parity.MARK)
SLOW = Line(9600, parity=serialx.Parity.MARK)
TWO = Line(115200, stopbits=serialx.StopBits.TWO)
REMOTE = "rfc2217://bridge:2217"


class FakeTransport:
    """What serialx returns, with the failures that no pseudo-terminal can produce."""

    def __init__(self) -> None:
        """Take everything."""
        self.protocol: Any = None
        self.closing = False
        self.applied: list[Line] = []
        self.written: list[bytes] = []
        self.refused: tuple[serialx.Parity, ...] = ()
        self.failure: Exception | None = None
        self.hangs = False
        self.paused = False
        self.paused_while_applying: list[bool] = []
        self.ends: list[str] = []
        self.lingers = False
        self.aborted = asyncio.Event()

    async def _fail(self) -> None:
        if self.hangs:
            await asyncio.Event().wait()
        if self.failure:
            raise self.failure

    async def reconfigure_port(
        self, baudrate: int, parity: serialx.Parity, stopbits: serialx.StopBits
    ) -> None:
        """Take settings, or refuse them."""
        self.paused_while_applying.append(self.paused)
        await self._fail()
        if parity in self.refused:
            raise serialx.UnsupportedSetting(f"no parity {parity}")
        self.applied.append(Line(baudrate, parity, stopbits))

    def pause_reading(self) -> None:
        """Keep received bytes back."""
        self.paused = True

    def resume_reading(self) -> None:
        """Pass received bytes on again."""
        self.paused = False

    def write(self, data: bytes) -> None:
        """Take bytes."""
        if self.failure:
            raise self.failure
        self.written.append(data)

    async def flush(self) -> None:
        """Pass on what was written."""
        await self._fail()

    def is_closing(self) -> bool:
        """Whether it is of no more use."""
        return self.closing

    def close(self) -> None:
        """Close, when all has been sent."""
        self.closing = True
        self.ends.append("close")

    def abort(self) -> None:
        """Close at once."""
        self.closing = True
        self.ends.append("abort")
        self.aborted.set()

    async def wait_closed(self) -> None:
        """Wait for nothing, or for the hard way."""
        if self.lingers:
            await self.aborted.wait()


@pytest.fixture
def transport(monkeypatch: pytest.MonkeyPatch) -> FakeTransport:
    """Return the transport that the next port is opened with."""
    fake = FakeTransport()

    async def connect(
        loop: object, factory: Callable[[], Any], url: str, **settings: Any
    ) -> tuple[FakeTransport, Any]:
        fake.protocol = factory()
        fake.closing = False
        return fake, fake.protocol

    monkeypatch.setattr(serialx, "create_serial_connection", connect)
    return fake


def fail_to_open(monkeypatch: pytest.MonkeyPatch, failure: Exception) -> None:
    """Make serialx fail."""

    async def connect(*args: object, **settings: object) -> None:
        raise failure

    monkeypatch.setattr(serialx, "create_serial_connection", connect)


def make_port(url: str) -> tuple[Port, list[bytes]]:
    """Return a port and what it receives."""
    received: list[bytes] = []
    return Port(url, received.append), received


@pytest.mark.parametrize(
    ("line", "text", "milliseconds"),
    [
        (MARK, "115200 8M1", 0.955),
        (TWO, "115200 8N2", 0.955),
        (SLOW, "9600 8M1", 11.458),
        (Line(19200), "19200 8N1", 5.208),
    ],
)
def test_a_line_tells_its_settings_and_the_time_of_bytes(
    line: Line, text: str, milliseconds: float
) -> None:
    assert str(line) == text
    assert 1000 * line.seconds(10) == pytest.approx(milliseconds, abs=0.001)


@pytest.mark.parametrize(
    ("url", "speed", "remote"),
    [
        ("/dev/ttyUSB0", True, False),
        ("socket://bridge:23", False, True),
        ("tcp://bridge:23", False, True),
        (REMOTE, True, True),
        ("esphome://proxy", True, True),
        ("esphome-hass://proxy", True, True),
        ("openxpbms-demo://valence", True, False),
    ],
)
def test_what_a_transport_can_do(url: str, speed: bool, remote: bool) -> None:
    assert changes_speed(url) is speed
    assert is_remote(url) is remote


def test_a_key_in_a_url_is_not_shown() -> None:
    assert shown("esphome://proxy/?key=secret&port_name=x") == "esphome://proxy/"
    assert shown("/dev/serial/by-id/what?ever") == "/dev/serial/by-id/what?ever"


async def test_bytes_go_both_ways(make_line: MakeLine) -> None:
    line = await make_line()
    port, received = make_port(line.path)
    assert not port.is_open
    await port.open(MARK)
    assert port.is_open
    assert port.line == MARK
    line.inject(b"\x0d\x0a")
    port.write(b"abc")
    await port.flush()
    await until(lambda: len(b"".join(received)) == 2 and line.bytes_received == 3)
    assert b"".join(received) == b"\x0d\x0a"
    assert line.bytes_received == 3
    await port.close()
    assert not port.is_open
    assert port.line is None
    await port.close()


async def test_opening_an_open_port_opens_it_anew(make_line: MakeLine) -> None:
    line = await make_line()
    port, _ = make_port(line.path)
    await port.open(MARK)
    await port.open(TWO)
    assert port.line == TWO
    await port.close()


async def test_a_port_that_is_not_there(tmp_path: Path) -> None:
    port, _ = make_port(str(tmp_path / "ttyUSB0"))
    with pytest.raises(PortMissing, match="ttyUSB0 does not exist"):
        await port.open(MARK)
    assert not port.is_open


async def test_a_port_in_use(make_line: MakeLine) -> None:
    line = await make_line()
    first, _ = make_port(line.path)
    second, _ = make_port(line.path)
    await first.open(MARK)
    with pytest.raises(PortBusy, match="in use by another program"):
        await second.open(MARK)
    await first.close()
    await second.open(MARK)
    await second.close()


async def test_a_file_is_no_port(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.touch()
    port, _ = make_port(str(path))
    with pytest.raises(PortUnusable) as caught:
        await port.open(MARK)
    assert set(caught.value.details) == {"port", "cause"}


async def test_an_address_that_nobody_understands() -> None:
    port, _ = make_port("carrier-pigeon://loft")
    with pytest.raises(PortUnusable, match="carrier-pigeon"):
        await port.open(MARK)


@pytest.mark.parametrize("url", ["socket://[::1:4000", "//[", "rfc2217://host]:1"])
async def test_a_malformed_address(url: str) -> None:
    port, _ = make_port(url)
    assert changes_speed(url)
    assert not is_remote(url)
    with pytest.raises(PortUnusable):
        await port.open(MARK)


@pytest.mark.parametrize(
    ("url", "failure", "expected"),
    [
        ("/dev/ttyUSB0", PermissionError(errno.EACCES, "denied"), PortForbidden),
        ("/dev/ttyUSB0", OSError(errno.EBUSY, "busy"), PortBusy),
        ("/dev/ttyUSB0", BlockingIOError(errno.EAGAIN, "locked"), PortBusy),
        ("/dev/ttyUSB0", OSError(errno.ENXIO, "no device"), PortGone),
        ("/dev/ttyUSB0", OSError(errno.EIO, "broken"), PortGone),
        ("/dev/ttyUSB0", OSError(errno.ENODEV, "no device"), PortGone),
        ("/dev/ttyUSB0", OSError(errno.EINVAL, "what"), PortUnusable),
        ("/dev/ttyUSB0", serialx.SerialException("what"), PortUnusable),
        ("/dev/ttyUSB0", TimeoutError(), PortUnusable),
        (REMOTE, ConnectionRefusedError(errno.ECONNREFUSED, "no"), PortUnreachable),
        (REMOTE, OSError(errno.EIO, "broken"), PortUnreachable),
        (REMOTE, TimeoutError(), PortUnreachable),
        (REMOTE, serialx.SerialException("no COM-PORT-OPTION"), PortUnusable),
        (REMOTE, ValueError("no port number"), PortUnusable),
    ],
)
async def test_why_a_port_cannot_be_opened(
    monkeypatch: pytest.MonkeyPatch,
    url: str,
    failure: Exception,
    expected: type[BusError],
) -> None:
    fail_to_open(monkeypatch, failure)
    port, _ = make_port(url)
    with pytest.raises(BusError) as caught:
        await port.open(MARK)
    assert type(caught.value) is expected
    assert caught.value.details["port"] == url
    assert url in str(caught.value)
    assert caught.value.__cause__ is failure


@pytest.mark.parametrize(
    ("url", "limit"),
    [
        (REMOTE, "CONNECT_TIMEOUT"),
        ("socket://bridge:23", "CONNECT_TIMEOUT"),
        ("esphome://proxy", "OPEN_TIMEOUT"),
    ],
)
async def test_a_remote_port_that_never_answers(
    monkeypatch: pytest.MonkeyPatch, url: str, limit: str
) -> None:
    async def connect(*args: object, **settings: object) -> None:
        await asyncio.Event().wait()

    monkeypatch.setattr(serialx, "create_serial_connection", connect)
    monkeypatch.setattr(port_module, limit, 0.01)
    port, _ = make_port(url)
    async with asyncio.timeout(4.0):  # less than the limits
        with pytest.raises(PortUnreachable, match=r"does not answer$"):
            await port.open(MARK)


async def test_giving_up_while_a_port_opens_closes_it(transport: FakeTransport) -> None:
    transport.hangs = True
    port, _ = make_port(REMOTE)
    task = asyncio.create_task(port.open(MARK))
    await asyncio.sleep(0.01)
    assert port.is_open
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert transport.closing
    assert not port.is_open


async def test_settings_change_inside_the_open_port(transport: FakeTransport) -> None:
    port, _ = make_port("/dev/ttyUSB0")
    await port.open(MARK)
    await port.apply(MARK)
    await port.apply(SLOW)
    assert transport.applied == [MARK, SLOW]
    assert port.line == SLOW


@pytest.mark.parametrize(("url", "paused"), [("/dev/ttyUSB0", True), (REMOTE, False)])
async def test_only_a_local_port_is_not_read_while_its_settings_change(
    transport: FakeTransport, url: str, paused: bool
) -> None:
    port, _ = make_port(url)
    await port.open(MARK)
    assert transport.paused_while_applying == [paused]
    assert not transport.paused


@pytest.mark.parametrize("scheme", ["socket", "tcp"])
async def test_a_bridge_of_bytes_cannot_change_speed(
    transport: FakeTransport, scheme: str
) -> None:
    port, _ = make_port(f"{scheme}://bridge:23")
    await port.open(MARK)
    with pytest.raises(FixedSpeed, match="cannot change speed"):
        await port.apply(SLOW)
    assert transport.applied == [MARK]
    await port.apply(TWO)
    assert port.line == TWO


async def test_a_transport_that_refuses_the_settings_it_is_opened_with(
    transport: FakeTransport,
) -> None:
    transport.refused = (serialx.Parity.MARK,)
    port, _ = make_port("/dev/ttyUSB0")
    with pytest.raises(UnsupportedLine, match="does not take 115200 8M1") as caught:
        await port.open(MARK)
    assert caught.value.details == {"port": "/dev/ttyUSB0", "line": "115200 8M1"}
    assert transport.closing


async def test_refused_settings_leave_the_port_open_and_are_set_again(
    transport: FakeTransport,
) -> None:
    port, _ = make_port("/dev/ttyUSB0")
    await port.open(TWO)
    transport.refused = (serialx.Parity.MARK,)
    with pytest.raises(UnsupportedLine):
        await port.apply(MARK)
    assert port.is_open
    assert port.line is None
    await port.apply(TWO)
    assert transport.applied == [TWO, TWO]


async def test_a_change_of_settings_that_was_given_up_is_done_again(
    transport: FakeTransport,
) -> None:
    port, _ = make_port("/dev/ttyUSB0")
    await port.open(MARK)
    transport.hangs = True
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.01):
            await port.apply(SLOW)
    transport.hangs = False
    await port.apply(MARK)
    assert transport.applied == [MARK, MARK]


async def act(port: Port, action: str) -> None:
    """Do something with an open port."""
    if action == "write":
        port.write(b"x")
    else:
        await (port.apply(SLOW) if action == "apply" else port.flush())


@pytest.mark.parametrize("failure", [OSError(errno.EIO, "broken"), RuntimeError("?")])
@pytest.mark.parametrize("action", ["apply", "flush", "write"])
async def test_a_port_that_breaks_has_gone_and_can_be_opened_anew(
    transport: FakeTransport, failure: Exception, action: str
) -> None:
    port, _ = make_port("/dev/ttyUSB0")
    await port.open(MARK)
    transport.failure = failure
    with pytest.raises(PortGone, match=r"has gone \("):
        await act(port, action)
    assert not port.is_open
    transport.failure = None
    await port.open(MARK)
    port.write(b"x")
    assert transport.written == [b"x"]


@pytest.mark.parametrize("action", ["apply", "flush"])
async def test_a_remote_port_that_stops_answering_has_gone(
    transport: FakeTransport, monkeypatch: pytest.MonkeyPatch, action: str
) -> None:
    monkeypatch.setattr(port_module, "ANSWER_TIMEOUT", 0.01)
    port, _ = make_port(REMOTE)
    await port.open(MARK)
    transport.hangs = True
    with pytest.raises(PortGone, match=r"has gone$"):
        await act(port, action)
    assert not port.is_open


@pytest.mark.parametrize(("url", "end"), [("/dev/ttyUSB0", "close"), (REMOTE, "abort")])
async def test_only_a_local_port_sends_what_is_left_before_it_closes(
    transport: FakeTransport, url: str, end: str
) -> None:
    port, _ = make_port(url)
    await port.open(MARK)
    await port.close()
    assert transport.ends == [end]


async def test_a_port_that_does_not_end_is_not_waited_for(
    transport: FakeTransport, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(port_module, "CLOSE_TIMEOUT", 0.01)
    port, _ = make_port("/dev/ttyUSB0")
    await port.open(MARK)
    transport.lingers = True
    async with asyncio.timeout(10.0):
        await port.close()
    assert transport.ends == ["close", "abort"]
    assert not port.is_open
    await port.open(MARK)
    assert port.is_open


async def test_nothing_can_be_done_with_a_closed_port() -> None:
    port, _ = make_port("/dev/ttyUSB0")
    for action in (port.check, lambda: port.write(b"x")):
        with pytest.raises(PortGone):
            action()
    for attempt in (port.apply(MARK), port.flush()):
        with pytest.raises(PortGone):
            await attempt


async def test_an_unplugged_port_has_gone_and_wakes_who_waits_for_bytes(
    make_line: MakeLine,
) -> None:
    line = await make_line()
    port, received = make_port(line.path)
    await port.open(MARK)
    port.check()
    line.unplug()
    await until(lambda: bool(received))
    assert received == [b""]
    assert not port.is_open
    with pytest.raises(PortGone, match=Path(line.path).name):
        port.check()
    await port.close()


async def test_a_lost_connection_tells_its_cause(transport: FakeTransport) -> None:
    port, _ = make_port(REMOTE)
    await port.open(MARK)
    transport.closing = True
    transport.protocol.connection_lost(OSError("reset by peer"))
    with pytest.raises(PortGone, match="reset by peer"):
        port.check()


async def test_the_demo_port_brings_its_own_line() -> None:
    port, received = make_port("openxpbms-demo://valence?modules=1")
    await port.open(MARK)
    port.write(b"\x00")
    assert port.is_open
    assert port._demo is not None
    same, _ = make_port(port._demo.path)
    with pytest.raises(PortBusy):
        await same.open(MARK)
    await port.close()
    with pytest.raises(PortMissing):
        await same.open(MARK)
    assert received == [b""]
    await port.open(MARK)
    await port.close()


async def test_a_demo_that_does_not_exist() -> None:
    port, _ = make_port("openxpbms-demo://valence?modules=none")
    with pytest.raises(PortUnusable, match="modules"):
        await port.open(MARK)
