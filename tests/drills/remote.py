"""Serial servers in front of a virtual line, and everything that goes wrong with them.

They are real ones: TCP on one side, the pseudo-terminal opened as by any program on the
other. RFC 2217 is spoken by pyserial.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
import socket
import struct
import termios
from typing import Any, Literal, Self, override

import serial
from serial.rfc2217 import PortManager

type Kind = Literal["rfc2217", "socket"]

_HOST = "127.0.0.1"
# A close with this sends RST at once instead of FIN.
_AT_ONCE = struct.pack("ii", 1, 0)


class _Telnet(PortManager):
    """Pyserial's side of a server, for a port without modem lines.

    Like others it takes what status is to be told without a word.
    """

    @override
    def check_modem_lines(self, force_notification: bool = False) -> None:
        """A pseudo-terminal has none."""


class _Serial(serial.Serial):
    """A pseudo-terminal, whose settings take effect though glibc says they do not.

    It looks whether the terminal kept PARENB, which pseudo-terminals drop.
    """

    @override
    def _reconfigure_port(self, force_update: bool = False) -> None:
        with suppress(termios.error):
            super()._reconfigure_port(force_update)


class _Client(asyncio.Protocol):
    """One client of a server, and what waits for it or of it while all stalls."""

    def __init__(self, server: SerialServer) -> None:
        """Nothing is there before the connection."""
        self.server = server
        self.telnet: _Telnet | None = None
        self.transport: Any = None
        self._sent = bytearray()
        self._received = bytearray()

    @override
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport
        self.server.arrived(self)

    @override
    def data_received(self, data: bytes) -> None:
        if self.server.deaf or self.server.mute:
            self._received += data
            return
        if self.telnet:
            data = b"".join(self.telnet.filter(data))
        if data:
            self.server.to_line(data)

    @override
    def connection_lost(self, exc: Exception | None) -> None:
        self.server.left(self)

    def pass_on(self, data: bytes) -> None:
        """Give the client what came from the line."""
        if self.telnet:
            data = b"".join(self.telnet.escape(data))
        self.write(data)

    def write(self, data: bytes) -> None:
        """Send bytes as they are (pyserial calls this, too)."""
        if self.server.stalls or self.server.mute:
            self._sent += data
        elif not self.transport.is_closing():
            self.transport.write(data)

    def go_on(self) -> None:
        """Pass on everything that waited, at once."""
        sent, self._sent = self._sent, bytearray()
        received, self._received = self._received, bytearray()
        self.write(bytes(sent))
        self.data_received(bytes(received))

    def leave(self, *, at_once: bool) -> None:
        """Close the connection, with FIN or with RST."""
        if at_once:
            sock = self.transport.get_extra_info("socket")
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _AT_ONCE)
            self.transport.abort()
        else:
            self.transport.close()


class SerialServer:
    """A serial server with one port and, as most have, room for one client.

    `path` tells where the port is now. A `socket` server passes bytes at `speed`, an
    `rfc2217` one does as it is told. Make, start, use and stop it in one event loop.
    """

    def __init__(
        self, kind: Kind, path: Callable[[], str], *, speed: int = 19200, room: int = 1
    ) -> None:
        """Nothing listens before `start`."""
        self.kind = kind
        self.stalls = False
        self.deaf = False
        self.mute = False
        self.accepted = 0
        self.port = 0
        self._path = path
        self._speed = speed
        self._room = room
        self._server: asyncio.Server | None = None
        # Sockets that fill the queue of a listener which nobody serves.
        self._full: list[socket.socket] = []
        self._serial: _Serial | None = None
        self._clients: list[_Client] = []
        self._abandoned: list[_Client] = []

    async def __aenter__(self) -> Self:
        """Start."""
        await self.start()
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        """Stop."""
        await self.stop()

    @property
    def url(self) -> str:
        """What a client opens."""
        return f"{self.kind}://{_HOST}:{self.port}"

    @property
    def clients(self) -> int:
        """How many clients are connected and served."""
        return len(self._clients)

    async def start(self) -> None:
        """Listen, at the same TCP port as before."""
        self._empty()
        self._server = await asyncio.get_running_loop().create_server(
            lambda: _Client(self), _HOST, self.port, reuse_address=True
        )
        self.port = self._server.sockets[0].getsockname()[1]

    async def refuse(self) -> None:
        """Let nobody in any more; who is in stays."""
        server, self._server = self._server, None
        if server:
            server.close()
            # Not `wait_closed`, which waits for the clients.
            await asyncio.sleep(0)

    async def go_dark(self) -> None:
        """Answer no attempt to connect, as a machine that is off."""
        await self.refuse()
        listener = socket.socket()
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((_HOST, self.port))
        listener.listen(0)
        self._full.append(listener)
        for _ in range(4):
            client = socket.socket()
            client.setblocking(False)
            client.connect_ex((_HOST, self.port))
            self._full.append(client)

    def _empty(self) -> None:
        for some in self._full:
            some.close()
        self._full.clear()

    async def stop(self) -> None:
        """End everything."""
        await self.refuse()
        self._empty()
        self.drop(at_once=True)
        self.forget()
        self._close_serial()
        await asyncio.sleep(0)

    def drop(self, *, at_once: bool) -> None:
        """Close the connections with RST (`at_once`) or with FIN."""
        for client in list(self._clients):
            client.leave(at_once=at_once)

    def stall(self, *, deaf: bool = True) -> None:
        """Hold back what comes from the line, and what goes to it (`deaf`)."""
        self.stalls, self.deaf = True, deaf

    def go_on(self) -> None:
        """Pass on what was held back, all at once."""
        self.stalls = self.deaf = False
        for client in list(self._clients):
            client.go_on()

    def vanish(self) -> None:
        """Leave the clients without a word, as after the power of a server failed.

        Their connections stay half open: nobody reads, answers, or ends them.
        """
        for client in self._clients:
            client.transport.pause_reading()
        self._abandoned += self._clients
        self._clients.clear()
        self._close_serial()

    def forget(self) -> None:
        """Give up what is left of vanished connections."""
        abandoned, self._abandoned = self._abandoned, []
        for client in abandoned:
            client.leave(at_once=True)

    def arrived(self, client: _Client) -> None:
        """Take a client, or send it away where there is no room."""
        self.accepted += 1
        if len(self._clients) >= self._room or not self._open_serial():
            client.transport.close()
            return
        self._clients.append(client)
        if self.kind == "rfc2217":
            client.telnet = _Telnet(self._serial, client)

    def left(self, client: _Client) -> None:
        """A connection is over."""
        for some in (self._clients, self._abandoned):
            if client in some:
                some.remove(client)
        if not self._clients:
            self._close_serial()

    def to_line(self, data: bytes) -> None:
        """Put what a client sent on the line."""
        if self._serial:
            with suppress(OSError):
                self._serial.write(data)

    def _open_serial(self) -> bool:
        if self._serial is None:
            try:
                port = _Serial(self._path(), self._speed, timeout=0, exclusive=True)
            except OSError:
                return False
            self._serial = port
            asyncio.get_running_loop().add_reader(port.fileno(), self._from_line)
        return True

    def _close_serial(self) -> None:
        port, self._serial = self._serial, None
        if port:
            asyncio.get_running_loop().remove_reader(port.fileno())
            port.close()

    def _from_line(self) -> None:
        assert self._serial
        try:
            data = self._serial.read(4096)
        except (OSError, serial.SerialException):
            self._close_serial()  # the port was unplugged
            self.drop(at_once=False)
            return
        for client in self._clients:
            client.pass_on(data)
