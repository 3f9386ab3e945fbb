"""A real broker on this machine, for tests that talk to one."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
import hashlib
from ipaddress import ip_address
import os
from pathlib import Path
import shutil
import socket
from typing import Any

import aiomqtt
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID


def program() -> str:
    """Return where mosquitto is, or say how to get it."""
    home = Path(os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share")
    places = (
        shutil.which("mosquitto"),
        "/usr/sbin/mosquitto",
        str(home / "openxpbms" / "mosquitto" / "mosquitto"),
    )
    for place in places:
        if place and os.access(place, os.X_OK):
            return place
    raise AssertionError("there is no mosquitto: run scripts/setup mosquitto")


class Mosquitto:
    """A broker that forgets everything when it stops."""

    def __init__(self, folder: Path, *lines: str) -> None:
        """Prepare one that listens on a port of its own; `lines` configure it more."""
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port: int = free.getsockname()[1]
        self._config = folder / "mosquitto.conf"
        anonymous = [] if any("allow_anon" in line for line in lines) else ["true"]
        self._config.write_text(
            "\n".join(
                [
                    f"listener {self.port} 127.0.0.1",
                    *(f"allow_anonymous {yes}" for yes in anonymous),
                    *lines,
                    # Else it becomes somebody who cannot read the files of a test.
                    *(["user root"] if os.getuid() == 0 else []),
                    "",
                ]
            )
        )
        self._log = folder / "mosquitto.log"
        self._process: asyncio.subprocess.Process | None = None

    async def start(self) -> None:
        """Start it and wait until it listens."""
        with self._log.open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                program(), "-c", str(self._config), stdout=log, stderr=log
            )
        async with asyncio.timeout(30):
            while True:
                assert self._process.returncode is None, self._log.read_text()
                with suppress(OSError):
                    _, writer = await asyncio.open_connection("127.0.0.1", self.port)
                    writer.close()
                    return
                await asyncio.sleep(0.05)

    async def stop(self) -> None:
        """Stop it as a crash would: nobody is told."""
        if self._process is not None:
            self._process.kill()
            await self._process.wait()
            self._process = None


class Hearer:
    """Everybody else at the broker: hears all, says what it is told to say."""

    def __init__(self, client: aiomqtt.Client) -> None:
        """Begin without a message."""
        self._client = client
        self.heard: list[tuple[str, str, bool]] = []
        self._news = asyncio.Event()

    async def run(self) -> None:
        """Hear until cancelled."""
        await self._client.subscribe("#", qos=1)
        async for message in self._client.messages:
            payload = message.payload
            assert isinstance(payload, bytes)
            self.heard.append((str(message.topic), payload.decode(), message.retain))
            self._news.set()

    async def say(self, topic: str, payload: str, *, retain: bool = False) -> None:
        """Send a message."""
        await self._client.publish(topic, payload, qos=1, retain=retain)

    def last(self, topic: str) -> str | None:
        """Return what was heard last of a topic."""
        told = (payload for heard, payload, _ in reversed(self.heard) if heard == topic)
        return next(told, None)

    def all_of(self, topic: str) -> list[str]:
        """Return everything heard of a topic."""
        return [payload for heard, payload, _ in self.heard if heard == topic]

    async def until(self, holds: Callable[[], Any], seconds: float = 30.0) -> None:
        """Wait until what was heard is enough."""
        async with asyncio.timeout(seconds):
            while not holds():
                self._news.clear()
                await self._news.wait()

    async def has(self, topic: str, payload: str) -> None:
        """Wait until a message was the last one of its topic."""
        await self.until(lambda: self.last(topic) == payload)


@asynccontextmanager
async def hearing(port: int, **more: Any) -> AsyncIterator[Hearer]:
    """Connect one more client to a broker."""
    async with aiomqtt.Client("127.0.0.1", port, **more) as client:
        hearer = Hearer(client)
        task = asyncio.create_task(hearer.run())
        try:
            yield hearer
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)


type MakeBroker = Callable[..., Awaitable[Mosquitto]]


@asynccontextmanager
async def brokers(folder: Path) -> AsyncIterator[MakeBroker]:
    """Start brokers that are stopped afterwards."""
    started: list[Mosquitto] = []

    async def make(*lines: str) -> Mosquitto:
        place = folder / str(len(started))
        place.mkdir()
        broker = Mosquitto(place, *lines)
        started.append(broker)
        await broker.start()
        return broker

    try:
        yield make
    finally:
        for broker in started:
            await broker.stop()


def password_file(folder: Path, user: str, password: str) -> Path:
    """Write a file of users as the broker reads it."""
    salt = os.urandom(12)
    digest = hashlib.pbkdf2_hmac("sha512", password.encode(), salt, 101)
    parts = (base64.b64encode(part).decode() for part in (salt, digest))
    path = folder / "users"
    path.write_text(f"{user}:$7$101${'$'.join(parts)}\n")
    path.chmod(0o600)
    return path


@dataclass(frozen=True)
class Certificates:
    """An authority, and what it says of a server; all are files."""

    authority: Path
    server: Path
    key: Path

    @property
    def lines(self) -> tuple[str, ...]:
        """The broker's configuration with them."""
        return f"certfile {self.server}", f"keyfile {self.key}"


def certificates(folder: Path, name: str = "127.0.0.1") -> Certificates:
    """Make an authority and a certificate for a server called `name`, an address."""
    of_authority, key = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
    issuer = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Test authority")])
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.now(UTC)

    def certificate(who: x509.Name, public: Any, *, ca: bool) -> x509.Certificate:
        identifier = x509.SubjectKeyIdentifier.from_public_key(
            of_authority.public_key()
        )
        builder = (
            x509.CertificateBuilder()
            .subject_name(who)
            .issuer_name(issuer)
            .public_key(public)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(days=1))
            .not_valid_after(now + timedelta(days=1))
            .add_extension(x509.BasicConstraints(ca=ca, path_length=None), True)
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(
                    identifier
                ),
                False,
            )
        )
        if ca:
            usage = x509.KeyUsage(*[False] * 5, True, True, False, False)
            builder = builder.add_extension(identifier, False).add_extension(
                usage, True
            )
        else:
            names = x509.SubjectAlternativeName([x509.IPAddress(ip_address(name))])
            builder = builder.add_extension(names, False)
        return builder.sign(of_authority, hashes.SHA256())

    made = Certificates(*(folder / f"{part}.pem" for part in ("ca", "server", "key")))
    pem = serialization.Encoding.PEM
    authority = certificate(issuer, of_authority.public_key(), ca=True)
    made.authority.write_bytes(authority.public_bytes(pem))
    server = certificate(subject, key.public_key(), ca=False)
    made.server.write_bytes(server.public_bytes(pem))
    made.key.write_bytes(
        key.private_bytes(
            pem,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    return made
