"""Ports behind a network: real servers, and connections that fail in every way."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest

from custom_components.openxpbms.bms import bus as bus_module
from custom_components.openxpbms.bms import port as port_module
from custom_components.openxpbms.bms.bus import Bus
from custom_components.openxpbms.bms.errors import (
    DoubtfulAnswer,
    FixedSpeed,
    NoAnswer,
    PortGone,
    PortUnreachable,
)
from custom_components.openxpbms.bms.frame import Frame
from custom_components.openxpbms.bms.listening import Listening
from custom_components.openxpbms.bms.rounds import Rounds
from custom_components.openxpbms.bms.seplos import LINE, Seplos
from custom_components.openxpbms.bms.seplos_tables import PIA, PIB, PIC
from custom_components.openxpbms.bms.valence import TERMINATOR, Valence
from custom_components.openxpbms.bms.virtual import VirtualLine, VirtualPack
from tests.drills.remote import Kind, SerialServer

from . import seplos_data
from .conftest import MakeBus, MakeLine, expected, identity, module, until

# Sockets to this machine, which the harness forbids otherwise.
pytestmark = pytest.mark.usefixtures("socket_enabled")

type MakeServer = Callable[..., Awaitable[SerialServer]]

ASKED = PIA.request(0)
OTHER = PIB.request(0)
# Connections count as stale sooner than in a house, so that tests need not wait.
STALE = 0.3


@pytest.fixture
async def make_server(make_line: MakeLine) -> AsyncIterator[MakeServer]:
    """Put servers in front of lines."""
    servers: list[SerialServer] = []

    async def make(kind: Kind, line: VirtualLine, **settings: Any) -> SerialServer:
        servers.append(SerialServer(kind, lambda: line.path, **settings))
        await servers[-1].start()
        return servers[-1]

    yield make
    for server in servers:
        await server.stop()


@pytest.fixture
def soon_stale(monkeypatch: pytest.MonkeyPatch) -> None:
    """Take a silent port for a dead one after fractions of a second."""
    assert bus_module.STALE_REMOTE == 5.0
    assert bus_module.STALE == 30.0
    monkeypatch.setattr(bus_module, "STALE_REMOTE", STALE)
    monkeypatch.setattr(bus_module, "STALE", STALE)


@pytest.fixture
async def bridged(
    make_line: MakeLine, make_server: MakeServer, make_bus: MakeBus
) -> tuple[VirtualPack, SerialServer, Bus]:
    """Return a pack behind a server that passes bytes, and an open bus."""
    pack = VirtualPack(0, turnaround=0.0)
    server = await make_server("socket", await make_line(pack))
    bus = make_bus(server.url, terminator=b"")
    await bus.open(LINE)
    return pack, server, bus


async def unanswered(bus: Bus) -> None:
    """Ask, in vain."""
    with pytest.raises(NoAnswer):
        await bus.exchange(ASKED, LINE)


async def test_modules_are_woken_and_read_through_rfc_2217(
    make_line: MakeLine, make_server: MakeServer, make_bus: MakeBus
) -> None:
    one = module()
    line = await make_line(one, real_time=True)
    server = await make_server("rfc2217", line)
    family = Valence(make_bus(server.url))
    await family.open()
    for _ in range(3):
        await family.wake()
        await asyncio.sleep(0.05)
        assert await family.read(identity(one)) == expected(one)
    assert line.complaints == []


@pytest.mark.parametrize("kind", ["rfc2217", "socket"])
async def test_packs_are_read_through_a_server(
    make_line: MakeLine, make_server: MakeServer, make_bus: MakeBus, kind: Kind
) -> None:
    # Its voltage has the byte 0xFF, which Telnet doubles.
    pack = VirtualPack(0, cell_voltages=[3.327] * 16)
    line = await make_line(pack)
    server = await make_server(kind, line)
    family = Seplos(make_bus(server.url, terminator=b""))
    await family.open()
    seen = await family.read(seplos_data.identity(pack))
    assert seen == seplos_data.expected(pack)
    assert line.complaints == []


async def test_modules_behind_a_bridge_of_bytes_are_not_spoken_to(
    make_line: MakeLine, make_server: MakeServer, make_bus: MakeBus
) -> None:
    line = await make_line(module())
    server = await make_server("socket", line, speed=115200)
    family = Valence(make_bus(server.url, terminator=TERMINATOR))
    with pytest.raises(FixedSpeed, match="passes bytes only"):
        await family.open()
    await family.bus.open(family.line)
    with pytest.raises(FixedSpeed, match="passes bytes only"):
        await family.wake()
    assert line.bytes_received == 0


@pytest.mark.parametrize("at_once", [False, True])
@pytest.mark.parametrize("kind", ["rfc2217", "socket"])
async def test_a_connection_that_drops_is_made_anew(
    make_line: MakeLine,
    make_server: MakeServer,
    make_bus: MakeBus,
    kind: Kind,
    at_once: bool,
) -> None:
    server = await make_server(kind, await make_line(VirtualPack(0)))
    bus = make_bus(server.url, terminator=b"")
    await bus.open(LINE)
    server.stall()
    asking = asyncio.create_task(bus.exchange(ASKED, LINE))
    await asyncio.sleep(0)
    server.drop(at_once=at_once)
    with pytest.raises(PortGone):
        await asking
    server.go_on()
    await until(lambda: not server.clients)
    await bus.open(LINE)
    await bus.exchange(ASKED, LINE)
    assert server.accepted == 2


async def test_a_server_that_refuses_lets_in_later(
    bridged: tuple[VirtualPack, SerialServer, Bus],
) -> None:
    _, server, bus = bridged
    await server.refuse()
    server.drop(at_once=True)
    await until(lambda: not bus.is_open)
    with pytest.raises(PortUnreachable):
        await bus.open(LINE)
    await server.start()
    await bus.open(LINE)
    await bus.exchange(ASKED, LINE)


async def test_another_client_has_the_servers_only_place(
    bridged: tuple[VirtualPack, SerialServer, Bus], make_bus: MakeBus
) -> None:
    _, server, bus = bridged
    second = make_bus(server.url, terminator=b"", listen=5.0)
    with pytest.raises(PortGone):
        await second.open(LINE)
    await bus.exchange(ASKED, LINE)
    await bus.close()
    await until(lambda: not server.clients)
    opening = asyncio.create_task(second.open(LINE))
    await until(lambda: server.clients == 1)
    opening.cancel()


async def test_a_server_that_says_nothing_is_no_rfc_2217_server(
    make_line: MakeLine,
    make_server: MakeServer,
    make_bus: MakeBus,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    server = await make_server("rfc2217", await make_line(VirtualPack(0)))
    monkeypatch.setattr(port_module, "CONNECT_TIMEOUT", 0.2)
    bus = make_bus(server.url, terminator=b"")
    server.mute = True
    with pytest.raises(PortUnreachable, match=r"does not answer$"):
        await bus.open(LINE)
    await until(lambda: not server.clients)
    server.mute = False
    monkeypatch.setattr(port_module, "CONNECT_TIMEOUT", 10.0)
    await bus.open(LINE)
    await bus.exchange(ASKED, LINE)


@pytest.mark.parametrize("kind", ["rfc2217", "socket"])
async def test_a_port_whose_server_has_vanished_can_be_closed(
    make_line: MakeLine, make_server: MakeServer, make_bus: MakeBus, kind: Kind
) -> None:
    server = await make_server(kind, await make_line(VirtualPack(0)))
    bus = make_bus(server.url, terminator=b"")
    await bus.open(LINE)
    await bus.exchange(ASKED, LINE)
    server.vanish()
    async with asyncio.timeout(10.0):
        await bus.close()


@pytest.mark.usefixtures("soon_stale")
async def test_a_server_that_vanished_without_a_word_is_called_again(
    bridged: tuple[VirtualPack, SerialServer, Bus],
) -> None:
    _, server, bus = bridged
    await bus.exchange(ASKED, LINE)
    server.vanish()
    await unanswered(bus)
    assert server.accepted == 1
    await asyncio.sleep(STALE)
    await bus.exchange(OTHER, LINE)  # in mid-round
    assert server.accepted == 2
    server.vanish()
    await unanswered(bus)
    await asyncio.sleep(STALE)
    await bus.open(LINE)
    await bus.exchange(ASKED, LINE)
    assert server.accepted == 3
    await asyncio.sleep(STALE)
    await bus.exchange(ASKED, LINE)  # nobody was asked meanwhile
    assert server.accepted == 3


@pytest.mark.usefixtures("soon_stale")
async def test_a_wake_goes_over_a_new_connection_where_the_old_one_is_dead(
    make_line: MakeLine, make_server: MakeServer, make_bus: MakeBus
) -> None:
    line = await make_line(module())
    server = await make_server("rfc2217", line)
    family = Valence(make_bus(server.url))
    await family.open()
    await family.wake()  # which nobody answers
    await until(lambda: line.bytes_received > 0)
    server.vanish()
    before = line.bytes_received
    await asyncio.sleep(STALE)
    await family.wake()
    assert server.accepted == 2
    await until(lambda: line.bytes_received > before)


@pytest.mark.usefixtures("soon_stale")
async def test_what_a_network_held_back_is_never_taken_for_the_next_answer(
    bridged: tuple[VirtualPack, SerialServer, Bus], monkeypatch: pytest.MonkeyPatch
) -> None:
    pack, server, bus = bridged
    monkeypatch.setattr(bus_module, "STALE_REMOTE", 60.0)
    monkeypatch.setattr(bus_module, "OWED_FOR", 0.05)
    overheard: list[Frame] = []
    bus.on_heard = overheard.append
    await bus.exchange(ASKED, LINE)
    server.stall(deaf=False)
    await unanswered(bus)
    await asyncio.sleep(0.1)
    for _ in range(2):  # however long ago it was asked
        with pytest.raises(DoubtfulAnswer):
            await bus.exchange(ASKED, LINE)
    pack.current = -25.0
    server.go_on()
    await until(lambda: bus.counters.late == 1)
    reply = await bus.exchange(ASKED, LINE)
    assert reply.data[2:4] == (-2500 & 0xFFFF).to_bytes(2)
    assert overheard == []
    assert not bus.watch.silent


async def test_an_answer_to_a_later_question_proves_that_nothing_is_held_back(
    make_line: MakeLine,
    make_server: MakeServer,
    make_bus: MakeBus,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(bus_module, "OWED_FOR", 0.3)
    silent = VirtualPack(0, silent=True)
    server = await make_server("socket", await make_line(silent, VirtualPack(1)))
    bus = make_bus(server.url, terminator=b"")
    await bus.open(LINE)
    await unanswered(bus)
    await bus.exchange(PIA.request(1), LINE)
    with pytest.raises(DoubtfulAnswer):
        await bus.exchange(ASKED, LINE)
    await asyncio.sleep(0.3)
    await bus.exchange(PIA.request(1), LINE)
    silent.silent = False
    await bus.exchange(ASKED, LINE)


async def test_answers_that_a_network_held_back_are_no_other_masters(
    bridged: tuple[VirtualPack, SerialServer, Bus], monkeypatch: pytest.MonkeyPatch
) -> None:
    _, server, bus = bridged
    now = bus.watch._clock
    server.stall(deaf=False)
    for table in (PIA, PIB, PIC):
        with pytest.raises(NoAnswer):
            await bus.exchange(table.request(0), LINE)
    monkeypatch.setattr(bus.watch, "_clock", lambda: now() + 30.0)
    server.go_on()
    await until(lambda: bus.counters.late == 3)
    assert not bus.watch.silent


@pytest.mark.usefixtures("soon_stale")
async def test_a_bank_that_is_heard_through_a_dead_connection_is_called_again(
    make_line: MakeLine, make_server: MakeServer, make_bus: MakeBus
) -> None:
    line = await make_line()
    server = await make_server("socket", line)
    bus = make_bus(server.url, terminator=b"", mute=True)
    rounds = Listening(bus, [])
    await rounds.round()
    server.vanish()
    await asyncio.sleep(STALE)
    await rounds.round()
    await until(lambda: server.accepted == 2)
    assert line.bytes_received == 0


@pytest.mark.usefixtures("soon_stale")
async def test_a_local_port_that_brings_nothing_is_opened_anew(
    make_line: MakeLine, make_bus: MakeBus
) -> None:
    pack = VirtualPack(0, silent=True)
    bus = make_bus((await make_line(pack)).path, terminator=b"")
    await bus.open(LINE)
    opened = bus.opened_at
    await unanswered(bus)
    await bus.open(LINE)
    assert bus.opened_at == opened
    await asyncio.sleep(STALE)
    await bus.open(LINE)
    assert bus.opened_at != opened


async def test_whoever_was_silent_is_asked_at_once_through_a_new_connection(
    bridged: tuple[VirtualPack, SerialServer, Bus],
) -> None:
    pack, server, bus = bridged
    rounds = Rounds(Seplos(bus), [seplos_data.identity(pack)])
    await rounds.round()
    [battery] = rounds.batteries
    assert battery.reading
    # Silent for so long that it is asked every ten seconds only.
    battery.lost(NoAnswer("?"))
    battery.ask_from += 3600
    await rounds.round()
    assert battery.reading is None
    server.drop(at_once=True)
    await until(lambda: not bus.is_open)
    await rounds.round()
    assert battery.reading
