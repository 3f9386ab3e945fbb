"""A serial port behind any URL that serialx opens, with errors of our own."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
import errno
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import serialx

from .errors import (
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
from .rfc2217 import Rfc2217Transport

if TYPE_CHECKING:
    from .virtual import VirtualLine

DEMO_SCHEME = "openxpbms-demo"
# Bridges that pass bytes only: serialx takes a change of speed and does nothing.
FIXED_SPEED_SCHEMES = frozenset({"socket", "tcp"})
_TRANSPORTS = {"rfc2217": Rfc2217Transport}
REMOTE_SCHEMES = FIXED_SPEED_SCHEMES | {"rfc2217", "esphome", "esphome-hass"}
# How long a port may take to open; an ESPHome device first tells what it has.
OPEN_TIMEOUT = 15.0
CONNECT_TIMEOUT = 5.0
# How long an open port may take over a change of settings or the end of a flush.
ANSWER_TIMEOUT = 5.0
# How long one may take to close, before nobody waits for it any more.
CLOSE_TIMEOUT = 2.0


@dataclass(frozen=True, slots=True)
class Line:
    """Speed in baud, parity and stop bits; always eight data bits."""

    baudrate: int
    parity: serialx.Parity = serialx.Parity.NONE
    stopbits: serialx.StopBits = serialx.StopBits.ONE

    def seconds(self, count: int) -> float:
        """How long `count` bytes take on the wire."""
        bits = 9 + (self.parity is not serialx.Parity.NONE) + float(self.stopbits)
        return count * bits / self.baudrate

    def __str__(self) -> str:
        """As people write it: 115200 8M1."""
        return f"{self.baudrate} 8{self.parity.value}{float(self.stopbits):g}"


def shown(url: str) -> str:
    """Return the port as it may be shown: a key in the URL is left out."""
    return url.partition("?")[0] if "://" in url else url


def changes_speed(url: str) -> bool:
    """Whether the transport behind `url` can change speed while it is open."""
    return _scheme(url) not in FIXED_SPEED_SCHEMES


def is_remote(url: str) -> bool:
    """Whether a network lies between us and the port."""
    return _scheme(url) in REMOTE_SCHEMES


def _scheme(url: str) -> str:
    """Return the scheme of a URL; what is malformed has none."""
    try:
        return urlsplit(url).scheme
    except ValueError:
        return ""


class _Protocol(asyncio.Protocol):
    def __init__(
        self,
        received: Callable[[bytes], None],
        lost: Callable[[Exception | None], None],
    ) -> None:
        self._received = received
        self._lost = lost

    def data_received(self, data: bytes) -> None:
        self._received(data)

    def connection_lost(self, exc: Exception | None) -> None:
        self._lost(exc)


class Port:
    """One open port. `received` gets every byte as it comes."""

    def __init__(self, url: str, received: Callable[[bytes], None]) -> None:
        """Name the port; nothing is opened yet."""
        self.url = url
        self.line: Line | None = None
        self._received = received
        self._transport: serialx.BaseSerialTransport | None = None
        self._demo: VirtualLine | None = None
        self._lost: Exception | None = None

    @property
    def is_open(self) -> bool:
        """Whether the port is open and its device still there."""
        return self._transport is not None and not self._transport.is_closing()

    async def open(self, line: Line) -> None:
        """Open the port with `line`.

        Raises a PortError that says why it is not to be had.
        """
        await self.close()
        try:
            path = await self._path()
            connects = _scheme(self.url) in FIXED_SPEED_SCHEMES | {"rfc2217"}
            async with asyncio.timeout(CONNECT_TIMEOUT if connects else OPEN_TIMEOUT):
                self._transport, _ = await serialx.create_serial_connection(
                    asyncio.get_running_loop(),
                    lambda: _Protocol(self._received, self._on_lost),
                    path,
                    baudrate=line.baudrate,
                    transport_cls=_TRANSPORTS.get(_scheme(self.url)),
                )
            await self.apply(line)
        except BaseException as err:
            await self.close()
            if isinstance(err, BusError) or not isinstance(err, Exception):
                raise
            raise self._error(err) from err

    async def _path(self) -> str:
        if _scheme(self.url) != DEMO_SCHEME:
            return self.url
        from .virtual import demo_line  # noqa: PLC0415  only the demo pays for it

        self._demo = demo_line(self.url)
        await self._demo.start()
        return str(self._demo.path)

    async def close(self) -> None:
        """Close the port if it is open; never raises for a port that has gone."""
        transport, self._transport = self._transport, None
        demo, self._demo = self._demo, None
        self.line = self._lost = None
        if transport is not None:
            # A server that is gone would never confirm what an orderly end waits for.
            if is_remote(self.url):
                transport.abort()
            else:
                transport.close()
            closing = asyncio.ensure_future(transport.wait_closed())
            await asyncio.wait([closing], timeout=CLOSE_TIMEOUT)
            if not closing.done():
                transport.abort()
        if demo is not None:
            await demo.stop()

    async def apply(self, line: Line) -> None:
        """Change the settings of the open port; drops what was received before.

        Raises FixedSpeed, UnsupportedLine or PortGone.
        """
        transport, before = self._open_transport(), self.line
        if line == before:
            return
        if before and line.baudrate != before.baudrate and not changes_speed(self.url):
            raise FixedSpeed(
                f"{shown(self.url)} passes bytes only and cannot change speed",
                port=shown(self.url),
            )
        self.line = None  # unknown if this fails or is cancelled half-way
        try:
            async with asyncio.timeout(ANSWER_TIMEOUT):
                await _reconfigure(transport, line, pause=not is_remote(self.url))
        except (serialx.SerialException, ValueError) as err:
            raise UnsupportedLine(
                f"{shown(self.url)} does not take {line}",
                port=shown(self.url),
                line=str(line),
            ) from err
        except Exception as err:
            raise self._broken(transport, err) from err
        self.line = line

    def write(self, data: bytes) -> None:
        """Hand `data` to the transport; PortGone where it is not there any more."""
        transport = self._open_transport()
        try:
            transport.write(data)
        except Exception as err:
            raise self._broken(transport, err) from err

    async def flush(self) -> None:
        """Wait until the operating system has passed on every byte."""
        transport = self._open_transport()
        try:
            async with asyncio.timeout(ANSWER_TIMEOUT):
                await transport.flush()
        except Exception as err:
            raise self._broken(transport, err) from err

    def check(self) -> None:
        """Raise PortGone where the open port has gone meanwhile."""
        self._open_transport()

    def _open_transport(self) -> serialx.BaseSerialTransport:
        if self._transport is None or not self.is_open:
            raise self._gone(self._lost)
        return self._transport

    def _on_lost(self, err: Exception | None) -> None:
        self._lost = err
        # Whoever waits for an answer learns of it by an empty chunk.
        self._received(b"")

    def _broken(
        self, transport: serialx.BaseSerialTransport, err: Exception
    ) -> PortGone:
        transport.abort()  # so that the next `open` begins anew
        return self._gone(err)

    def _gone(self, err: Exception | None) -> PortGone:
        cause = f" ({err})" if err and str(err) else ""
        return PortGone(f"{shown(self.url)} has gone{cause}", port=shown(self.url))

    def _error(self, err: Exception) -> BusError:
        port = shown(self.url)
        if isinstance(err, FileNotFoundError):
            return PortMissing(f"{port} does not exist", port=port)
        if isinstance(err, PermissionError):
            return PortForbidden(f"no permission to open {port}", port=port)
        number = getattr(err, "errno", None)
        if number in (errno.EBUSY, errno.EAGAIN):
            return PortBusy(f"{port} is in use by another program", port=port)
        if number in (errno.ENXIO, errno.EIO, errno.ENODEV) and not is_remote(self.url):
            return PortGone(f"{port} has no device behind it", port=port)
        if is_remote(self.url) and not isinstance(
            err, (ValueError, serialx.SerialException)
        ):
            cause = f": {err}" if str(err) else ""
            return PortUnreachable(f"{port} does not answer{cause}", port=port)
        cause = str(err) or type(err).__name__
        return PortUnusable(
            f"{port} cannot be used as a serial port: {cause}", port=port, cause=cause
        )


async def _reconfigure(
    transport: serialx.BaseSerialTransport, line: Line, *, pause: bool
) -> None:
    # On a local port serialx drops pending input here. A read in that moment would find
    # nothing, which it takes for an unplugged adapter. A remote port answers meanwhile.
    if pause:
        transport.pause_reading()
    try:
        await transport.reconfigure_port(
            baudrate=line.baudrate, parity=line.parity, stopbits=line.stopbits
        )
    finally:
        if pause:
            transport.resume_reading()
