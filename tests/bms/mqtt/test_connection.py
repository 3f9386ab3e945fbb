"""The last message of every topic is at the broker, whatever becomes of it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
import socket

import pytest

from custom_components.openxpbms.bms.mqtt import connection as connection_module
from custom_components.openxpbms.bms.mqtt.broker import (
    Broker,
    BrokerAway,
    BrokerRefused,
)
from custom_components.openxpbms.bms.mqtt.connection import Connection
from tests.bms.conftest import until
from tests.mosquitto import Hearer, MakeBroker, Mosquitto, hearing

WILL = "test/status", "offline"


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Try again after tenths of a second."""
    monkeypatch.setattr(connection_module, "FIRST_PAUSE", 0.05)
    monkeypatch.setattr(connection_module, "LONGEST_PAUSE", 0.2)


class Person:
    """Somebody who reads what is said."""

    def __init__(self) -> None:
        """Begin with nothing."""
        self.told: list[str] = []

    def __call__(self, text: str) -> None:
        """Read it."""
        self.told.append(text)


@asynccontextmanager
async def connected(
    mosquitto: Mosquitto, person: Person | None = None
) -> AsyncIterator[Connection]:
    """Connect to a broker."""
    broker = Broker("127.0.0.1", mosquitto.port)
    async with Connection(broker, "us", WILL, person or Person()) as connection:
        await connection.connect()
        yield connection


async def test_messages_are_retained_and_sent_once(
    mosquitto: Mosquitto, hearer: Hearer
) -> None:
    async with connected(mosquitto) as connection:
        assert connection.put("test/a", "1")
        assert not connection.put("test/a", "1")
        assert connection.put("test/b", "2")
        await connection.sent()
        assert connection.put("test/a", "1", anew=True)
        assert connection.put("test/c", "3")
        await hearer.has("test/c", "3")
        assert hearer.all_of("test/a") == ["1", "1"]
        assert connection.get("test/a") == "1"
        assert connection.get("test/d") is None
    async with hearing(mosquitto.port) as later:
        await later.until(lambda: len(later.heard) == 3)
        assert set(later.heard) == {
            ("test/a", "1", True),
            ("test/b", "2", True),
            ("test/c", "3", True),
        }


async def test_what_is_put_last_is_sent_before_leaving(
    mosquitto: Mosquitto, hearer: Hearer
) -> None:
    async with connected(mosquitto) as connection:
        connection.put(*WILL)
    await hearer.has(*WILL)
    # The broker did not say it for us, too.
    assert hearer.all_of("test/status") == ["offline"]


async def test_messages_of_others_are_heard(
    mosquitto: Mosquitto, hearer: Hearer
) -> None:
    heard: list[tuple[str, str]] = []
    broker = Broker("127.0.0.1", mosquitto.port)
    async with Connection(broker, "us", WILL, Person()) as connection:
        connection.subscriptions = ("home/status",)
        connection.on_message = lambda topic, payload: heard.append((topic, payload))
        await connection.connect()
        await hearer.say("home/else", "nothing")
        await hearer.say("home/status", "online")
        await until(lambda: bool(heard))
    assert heard == [("home/status", "online")]


async def test_a_broker_that_comes_back_gets_the_latest_of_everything(
    mosquitto: Mosquitto,
) -> None:
    person = Person()
    async with connected(mosquitto, person) as connection:
        connection.put("test/a", "1")
        connection.put("test/b", "1")
        await connection.sent()
        await mosquitto.stop()
        await until(lambda: any("was lost" in text for text in person.told), 30)
        for value in range(2, 100):
            connection.put("test/a", str(value))
        await until(lambda: "Connection refused" in person.told[-1], 30)
        # Said once, however often it is tried.
        await asyncio.sleep(0.5)
        told = len(person.told)
        await mosquitto.start()
        async with hearing(mosquitto.port) as hearer:
            await hearer.has("test/a", "99")
            await hearer.has("test/b", "1")
            assert hearer.all_of("test/a") == ["99"]
            connection.put("test/a", "100")
            await hearer.has("test/a", "100")
    name = f"127.0.0.1:{mosquitto.port}"
    assert person.told[told:] == [f"Connected to the broker {name}."]
    assert person.told[:told] == [
        f"Connected to the broker {name}.",
        f"The connection to the broker {name} was lost; trying again.",
        f"No broker at {name}: Connection refused; trying again.",
    ]


async def test_the_broker_says_our_will_when_we_vanish(
    mosquitto: Mosquitto, hearer: Hearer
) -> None:
    async with connected(mosquitto) as connection:
        connection.put("test/status", "online")
        await hearer.has("test/status", "online")
        # Somebody takes our name, and our connection with it.
        async with hearing(mosquitto.port, identifier="us"):
            await hearer.has("test/status", "offline")
        await hearer.has("test/status", "online")


async def test_waiting_for_a_broker_that_is_not_there_yet(
    make_broker: MakeBroker, tmp_path: Path
) -> None:
    mosquitto = await make_broker()
    await mosquitto.stop()
    person = Person()
    broker = Broker("127.0.0.1", mosquitto.port)
    async with Connection(broker, "us", WILL, person) as connection:
        first = asyncio.create_task(connection.connect())
        await until(lambda: bool(person.told), 30)
        assert not first.done()
        await mosquitto.start()
        await asyncio.wait_for(first, 30)
    assert "refused; trying again." in person.told[0]


async def test_not_waiting_for_it(socket_enabled: None) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        broker = Broker("127.0.0.1", free.getsockname()[1])
    person = Person()
    async with Connection(broker, "us", WILL, person) as connection:
        with pytest.raises(BrokerAway):
            await connection.connect(retry=False)
    assert not person.told


async def test_a_broker_that_refuses_is_not_asked_again(
    make_broker: MakeBroker,
) -> None:
    mosquitto = await make_broker("allow_anonymous false")
    broker = Broker("127.0.0.1", mosquitto.port)
    async with Connection(broker, "us", WILL, Person()) as connection:
        with pytest.raises(BrokerRefused):
            await connection.connect()
        # Whoever still uses it is told, too.
        with pytest.raises(BrokerRefused):
            await connection.sent()


async def test_leaving_without_a_broker_takes_no_time(mosquitto: Mosquitto) -> None:
    person = Person()
    async with connected(mosquitto, person) as connection:
        await mosquitto.stop()
        await until(lambda: len(person.told) > 1, 30)
        connection.put("test/a", "1")


async def test_leaving_before_connecting(mosquitto: Mosquitto) -> None:
    broker = Broker("127.0.0.1", mosquitto.port)
    async with Connection(broker, "us", WILL, Person()) as connection:
        connection.put("test/a", "1")
        connection.on_message("topic", "nobody cares")


async def test_a_broker_that_takes_nothing_holds_nobody_up(
    mosquitto: Mosquitto, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection_module, "FAREWELL", 0.2)
    async with connected(mosquitto) as connection:
        await connection.sent()
        connection._sent.clear()
