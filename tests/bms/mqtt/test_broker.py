"""Why a broker cannot be reached is told in words, from real failures."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
import socket
import ssl

from aiomqtt import MqttError, Will
from aiomqtt.exceptions import MqttConnectError
import pytest

from custom_components.openxpbms.bms.mqtt import broker as broker_module
from custom_components.openxpbms.bms.mqtt.broker import (
    Broker,
    BrokerAway,
    BrokerError,
    BrokerRefused,
)
from tests.mosquitto import MakeBroker, Mosquitto, certificates, password_file

WILL = Will("gone", "offline")


async def failure(broker: Broker) -> BrokerError:
    """Return why a broker cannot be used."""
    with pytest.raises(MqttError) as raised:
        async with broker.client("us", WILL):
            pass
    return broker.failure(raised.value)


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Wait for half a second only."""
    monkeypatch.setattr(broker_module, "PATIENCE", 0.5)


@asynccontextmanager
async def no_broker(greeting: bytes = b"") -> AsyncIterator[int]:
    """Accept connections, and say no more than a greeting."""

    async def hear(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(greeting)
        await reader.read()
        writer.close()

    server = await asyncio.start_server(hear, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        server.close_clients()
        await server.wait_closed()


def test_a_password_is_never_shown() -> None:
    broker = Broker("host", 1883, "me", "secret")
    assert "secret" not in f"{broker} {broker!r}"
    assert str(broker) == "host:1883"
    assert str(Broker("::1", 1883)) == "[::1]:1883"


async def test_a_broker_that_takes_us(mosquitto: Mosquitto) -> None:
    async with Broker("127.0.0.1", mosquitto.port).client("us", WILL) as client:
        assert client.identifier == "us"


@pytest.mark.parametrize(
    ("user", "password", "who"),
    [
        (None, None, "a client without user"),
        ("me", "wrong", "user me with this password"),
    ],
)
async def test_wrong_user_or_password(
    make_broker: MakeBroker,
    tmp_path: Path,
    user: str | None,
    password: str | None,
    who: str,
) -> None:
    users = password_file(tmp_path, "me", "right")
    there = await make_broker("allow_anonymous false", f"password_file {users}")
    found = await failure(Broker("127.0.0.1", there.port, user, password))
    assert isinstance(found, BrokerRefused)
    assert who in str(found)
    async with Broker("127.0.0.1", there.port, "me", "right").client("us", WILL):
        pass


async def test_nobody_listens(socket_enabled: None) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    found = await failure(Broker("127.0.0.1", port))
    assert isinstance(found, BrokerAway)
    assert str(found) == f"No broker at 127.0.0.1:{port}: Connection refused"


async def test_unknown_host(monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(*args: object) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    found = await failure(Broker("nowhere.invalid", 1883))
    assert isinstance(found, BrokerAway)
    assert "no host nowhere.invalid (Name or service not known)" in str(found)


async def test_somebody_else_listens(socket_enabled: None, impatient: None) -> None:
    async with no_broker() as port:
        found = await failure(Broker("127.0.0.1", port))
    assert isinstance(found, BrokerAway)
    assert "does not answer" in str(found)


async def test_a_broker_that_is_full() -> None:
    found = Broker("host", 1883).failure(MqttConnectError(3))
    assert isinstance(found, BrokerAway)
    assert "takes no connection now" in str(found)


async def test_a_certificate_of_an_authority_that_is_trusted(
    make_broker: MakeBroker, tmp_path: Path
) -> None:
    made = certificates(tmp_path)
    there = await make_broker(*made.lines)
    context = ssl.create_default_context(cafile=str(made.authority))
    async with Broker("127.0.0.1", there.port, tls=context).client("us", WILL):
        pass


async def test_a_certificate_of_an_authority_that_nobody_knows(
    make_broker: MakeBroker, tmp_path: Path
) -> None:
    there = await make_broker(*certificates(tmp_path).lines)
    context = ssl.create_default_context()
    found = await failure(Broker("127.0.0.1", there.port, tls=context))
    assert isinstance(found, BrokerRefused)
    assert "is not trusted" in str(found)
    assert "--ca" in str(found)


async def test_the_certificate_of_another_server(
    make_broker: MakeBroker, tmp_path: Path
) -> None:
    made = certificates(tmp_path, "192.0.2.1")
    there = await make_broker(*made.lines)
    context = ssl.create_default_context(cafile=str(made.authority))
    found = await failure(Broker("127.0.0.1", there.port, tls=context))
    assert isinstance(found, BrokerRefused)
    assert "IP address mismatch" in str(found)


async def test_a_broker_that_speaks_no_tls(socket_enabled: None) -> None:
    context = ssl.create_default_context()
    async with no_broker(b"this is no handshake") as port:
        found = await failure(Broker("127.0.0.1", port, tls=context))
    assert isinstance(found, BrokerRefused)
    assert "does not speak TLS" in str(found)


async def test_tls_where_there_is_none(mosquitto: Mosquitto) -> None:
    context = ssl.create_default_context()
    found = await failure(Broker("127.0.0.1", mosquitto.port, tls=context))
    assert "TLS" in str(found) or "reset" in str(found)


async def test_no_tls_where_there_is_some(
    make_broker: MakeBroker, tmp_path: Path, impatient: None
) -> None:
    there = await make_broker(*certificates(tmp_path).lines)
    found = await failure(Broker("127.0.0.1", there.port))
    assert isinstance(found, BrokerAway)
    assert "--tls" in str(found)
