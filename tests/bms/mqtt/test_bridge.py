"""Virtual batteries, read through a pseudo-terminal, at a real broker."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
import json
from pathlib import Path
from typing import Any

import pytest

from custom_components.openxpbms.bms.cli.link import Choice, opened
from custom_components.openxpbms.bms.families import SEPLOS, VALENCE
from custom_components.openxpbms.bms.mqtt import bridge as bridge_module
from custom_components.openxpbms.bms.mqtt.bridge import Bridge
from custom_components.openxpbms.bms.mqtt.broker import Broker
from custom_components.openxpbms.bms.mqtt.connection import Connection
from custom_components.openxpbms.bms.mqtt.topics import OFFLINE, ONLINE, Topics
from custom_components.openxpbms.bms.virtual import VirtualBank, VirtualPack
from tests.bms.conftest import MakeLine, module, until
from tests.mosquitto import Hearer, Mosquitto, hearing

TOPICS = Topics("pi_garage")
ONE, TWO = "valence_104400461", "valence_104400462"


@pytest.fixture(autouse=True)
def _quick(short_pauses: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Listen and wait for tenths of a second."""
    monkeypatch.setattr("custom_components.openxpbms.bms.cli.link.LISTEN", 0.1)
    monkeypatch.setattr("custom_components.openxpbms.bms.bus.LISTEN", 0.1)


def modules(line: Any, *addresses: int) -> Choice:
    """Return how the modules of a line are reached."""
    return Choice(line.path, family=VALENCE, addresses=addresses, answer=1.0)


@asynccontextmanager
async def bridged(
    mosquitto: Mosquitto, choice: Choice, told: list[str] | None = None
) -> AsyncIterator[asyncio.Task[None]]:
    """Run a bridge, ended as by Ctrl-C."""
    broker = Broker("127.0.0.1", mosquitto.port)
    will = TOPICS.status, OFFLINE
    say = ([] if told is None else told).append

    async def run() -> None:
        async with Connection(broker, "bridge", will, say) as connection:
            bridge = Bridge(connection, TOPICS, say)
            await connection.connect()
            async with opened(choice) as link:
                await bridge.run(link, 0.05)

    task = asyncio.create_task(run())
    try:
        yield task
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def value(hearer: Hearer, key: str, battery: str = ONE) -> Any:
    """Return a value of the last state that was heard."""
    return json.loads(hearer.last(TOPICS.state(battery)) or "{}").get(key)


async def test_batteries_are_told_of_then_shown_then_online(
    mosquitto: Mosquitto, hearer: Hearer, make_line: MakeLine
) -> None:
    line = await make_line(module(1, serial="104400461"), module(2, serial="104400462"))
    async with bridged(mosquitto, modules(line, 1, 2)):
        await hearer.has(TOPICS.status, ONLINE)
        order = [topic for topic, _, _ in hearer.heard]
        for battery in (ONE, TWO):
            topics = (
                TOPICS.config(battery),
                TOPICS.state(battery),
                TOPICS.availability(battery),
            )
            places = [order.index(topic) for topic in (*topics, TOPICS.status)]
            assert places == sorted(places)
            assert hearer.last(TOPICS.availability(battery)) == ONLINE
        assert value(hearer, "voltage") == 13.206
    await hearer.has(TOPICS.status, OFFLINE)
    assert not line.complaints


async def test_only_what_changes_is_sent(
    mosquitto: Mosquitto, hearer: Hearer, make_line: MakeLine
) -> None:
    one, other = module(1, serial="104400461"), module(2, serial="104400462")
    line = await make_line(one, other)
    async with bridged(mosquitto, modules(line, 1, 2)):
        await hearer.has(TOPICS.status, ONLINE)
        # What is remembered comes in the rounds after that.
        await hearer.until(lambda: value(hearer, "cycles") is not None)
        await hearer.until(lambda: value(hearer, "cycles", TWO) is not None)
        before = len(hearer.heard)
        one.current = 0.1
        await asyncio.sleep(1)
        one.current = -20.0
        await hearer.until(lambda: value(hearer, "current") == -20.0)
        assert [topic for topic, _, _ in hearer.heard[before:]] == [TOPICS.state(ONE)]


async def test_a_state_that_does_not_change_is_sent_again_before_it_expires(
    mosquitto: Mosquitto,
    hearer: Hearer,
    make_line: MakeLine,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    line = await make_line(module(1, serial="104400461"))
    monkeypatch.setattr(bridge_module, "AGAIN", 0.2)
    async with bridged(mosquitto, modules(line, 1)):
        await hearer.until(lambda: len(hearer.all_of(TOPICS.state(ONE))) > 4)
    states = hearer.all_of(TOPICS.state(ONE))
    assert len(set(states)) < len(states)


async def test_a_silent_battery_is_unavailable_and_comes_back_with_new_values(
    mosquitto: Mosquitto, hearer: Hearer, make_line: MakeLine
) -> None:
    one = module(1, serial="104400461")
    line = await make_line(one, module(2, serial="104400462"))
    told: list[str] = []
    async with bridged(mosquitto, modules(line, 1, 2), told):
        await hearer.has(TOPICS.status, ONLINE)
        one.silent = True
        await hearer.has(TOPICS.availability(ONE), OFFLINE)
        await hearer.has(TOPICS.availability(TWO), ONLINE)
        one.silent, one.current = False, 33.0
        await hearer.has(TOPICS.availability(ONE), ONLINE)
        assert value(hearer, "current") == 33.0
    assert [text for text in told if text.startswith("U27-12XP 104400461")] == [
        text for text in told if "is silent: " in text or "answers again." in text
    ]
    assert len([text for text in told if "is silent: " in text]) == 1
    assert len([text for text in told if "answers again." in text]) == 1


async def test_home_assistant_that_starts_is_told_again(
    mosquitto: Mosquitto, hearer: Hearer, make_line: MakeLine
) -> None:
    line = await make_line(module(1, serial="104400461"))
    async with bridged(mosquitto, modules(line, 1)):
        await hearer.has(TOPICS.status, ONLINE)
        await hearer.say("homeassistant/status", "offline")
        await hearer.say("homeassistant/status", "online")
        configs = TOPICS.config(ONE)
        await hearer.until(lambda: len(hearer.all_of(configs)) == 2)
        assert len(set(hearer.all_of(configs))) == 1


async def test_a_will_that_comes_late_is_put_right(
    mosquitto: Mosquitto, hearer: Hearer, make_line: MakeLine
) -> None:
    line = await make_line(module(1, serial="104400461"))
    async with bridged(mosquitto, modules(line, 1)):
        await hearer.has(TOPICS.status, ONLINE)
        for topic in (TOPICS.status, TOPICS.availability(ONE)):
            await hearer.say(topic, OFFLINE, retain=True)
            await hearer.has(topic, OFFLINE)
            await hearer.has(topic, ONLINE)


async def test_batteries_of_an_earlier_run_do_not_stay_online(
    mosquitto: Mosquitto, hearer: Hearer, make_line: MakeLine
) -> None:
    await hearer.say(TOPICS.status, ONLINE, retain=True)
    gone = TOPICS.availability("valence_7")
    await hearer.say(gone, ONLINE, retain=True)
    other = TOPICS.availability("valence_8")
    await hearer.say(other, OFFLINE, retain=True)
    line = await make_line(module(1, serial="104400461"))
    async with bridged(mosquitto, modules(line, 1)):
        await hearer.has(gone, OFFLINE)
        await hearer.has(TOPICS.availability(ONE), ONLINE)
        assert hearer.last(gone) == OFFLINE
    assert hearer.all_of(other) == [OFFLINE]


async def test_rounds_go_on_without_a_broker_and_nothing_is_lost(
    mosquitto: Mosquitto, hearer: Hearer, make_line: MakeLine
) -> None:
    one = module(1, serial="104400461")
    line = await make_line(one)
    told: list[str] = []
    async with bridged(mosquitto, modules(line, 1), told):
        await hearer.has(TOPICS.status, ONLINE)
        await mosquitto.stop()
        await until(lambda: any("was lost" in text for text in told), 30)
        one.current = 44.0
        await asyncio.sleep(0.5)
        await mosquitto.start()
        async with hearing(mosquitto.port) as later:
            await later.has(TOPICS.status, ONLINE)
            await later.has(TOPICS.availability(ONE), ONLINE)
            await later.until(lambda: value(later, "current") == 44.0)
            assert later.last(TOPICS.config(ONE))


async def test_a_port_that_is_unplugged_and_plugged_in_again(
    mosquitto: Mosquitto, hearer: Hearer, make_line: MakeLine, tmp_path: Path
) -> None:
    both = module(1, serial="104400461"), module(2, serial="104400462")
    line = await make_line(*both, link=tmp_path / "adapter")
    told: list[str] = []
    async with bridged(
        mosquitto, replace(modules(line, 1, 2), url=str(line.link)), told
    ):
        await hearer.has(TOPICS.status, ONLINE)
        line.unplug()
        await hearer.has(TOPICS.availability(ONE), OFFLINE)
        await hearer.has(TOPICS.availability(TWO), OFFLINE)
        assert hearer.last(TOPICS.status) == ONLINE
        await line.replug()
        await hearer.has(TOPICS.availability(ONE), ONLINE)
        await hearer.has(TOPICS.availability(TWO), ONLINE)
    assert told[-1] == "The port works again."
    # It is the port's trouble, not that of each battery.
    assert not any("is silent" in text for text in told)


async def test_packs_of_a_bank_are_told_of_as_they_are_heard(
    mosquitto: Mosquitto, hearer: Hearer, make_line: MakeLine
) -> None:
    bank = VirtualBank([VirtualPack(1), VirtualPack(2)])
    line = await make_line(bank)
    choice = Choice(line.path, family=SEPLOS, listen=True)
    async with bridged(mosquitto, choice):
        await hearer.has(TOPICS.availability("pi_garage_1"), ONLINE)
        await hearer.has(TOPICS.availability("pi_garage_2"), ONLINE)
        found = json.loads(hearer.last(TOPICS.config("pi_garage_2")) or "")
        assert found["device"]["name"] == "Seplos V3 pack 2"
    assert not line.complaints


async def test_one_round_and_no_farewell(
    mosquitto: Mosquitto, hearer: Hearer, make_line: MakeLine
) -> None:
    line = await make_line(module(1, serial="104400461"))
    broker = Broker("127.0.0.1", mosquitto.port)
    will = TOPICS.status, OFFLINE
    async with Connection(broker, "bridge", will, print) as connection:
        bridge = Bridge(connection, TOPICS, print)
        await connection.connect()
        async with opened(modules(line, 1)) as link:
            await bridge.run(link, 0.05, once=True)
    await hearer.has(TOPICS.status, ONLINE)
    assert value(hearer, "voltage") == 13.206
    await asyncio.sleep(0.2)
    assert hearer.last(TOPICS.status) == ONLINE
