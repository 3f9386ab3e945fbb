"""A bank that is only heard, from its virtual packs to their batteries."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
import random
import time
from typing import Any

import pytest

from custom_components.openxpbms.bms import listening as listening_module
from custom_components.openxpbms.bms.errors import PortGone, PortMissing, Unheard
from custom_components.openxpbms.bms.listening import Listening
from custom_components.openxpbms.bms.reading import Identity, Reading
from custom_components.openxpbms.bms.rounds import Battery
from custom_components.openxpbms.bms.seplos import LINE
from custom_components.openxpbms.bms.virtual import (
    VirtualBank,
    VirtualLine,
    VirtualPack,
)
from custom_components.openxpbms.bms.virtual.seplos import Intruder

from .conftest import MakeBus, MakeLine, unplugged, until
from .seplos_data import expected, identity, scramble

type MakeListening = Callable[..., Listening]


@pytest.fixture
async def make_listening(make_bus: MakeBus) -> AsyncIterator[MakeListening]:
    """Listen on a line, for packs that are known or not; nothing is ever sent."""
    lines: list[VirtualLine] = []

    def make(
        line: VirtualLine, *known: Identity, url: str = "", **settings: Any
    ) -> Listening:
        lines.append(line)
        bus = make_bus(url or line.path, terminator=b"", mute=True)
        return Listening(bus, known, **settings)

    yield make
    for line in lines:
        assert line.bytes_received == 0
        assert line.complaints == []


def packs(number: int, **settings: Any) -> list[VirtualPack]:
    """Return packs that have different things to tell."""
    made, chance = [], random.Random(number)
    for _ in range(number):
        made.append(VirtualPack(turnaround=0.0, **settings))
        scramble(made[-1], chance)
    return made


def readings(listening: Listening) -> dict[int, Reading | None]:
    """Return what the packs have now."""
    return {b.identity.address: b.reading for b in listening.batteries}


async def heard(listening: Listening, *of: VirtualPack) -> None:
    """Listen until all packs have been heard with the values that they have now."""
    await listening.round()
    now = {one.address: expected(one) for one in of}
    await until(lambda: readings(listening) == now)


@pytest.mark.parametrize("number", [2, 16])
@pytest.mark.parametrize("real_time", [False, True])
async def test_all_packs_of_a_bank_are_heard(
    make_line: MakeLine, make_listening: MakeListening, number: int, real_time: bool
) -> None:
    made = packs(number)
    line = await make_line(VirtualBank(made), real_time=real_time)
    listening = make_listening(line, *map(identity, made))
    begun = time.monotonic()
    await heard(listening, *made)
    assert [b.identity for b in listening.batteries] == list(map(identity, made))
    for battery in listening.batteries:
        assert battery.error is None
        assert not battery.silent
        assert battery.read_at is not None
        assert begun < battery.read_at <= time.monotonic()
    assert listening.bus.line == LINE
    assert listening.bus.watch.unread_bytes < 300  # half a frame at the beginning


async def test_values_follow_the_packs(
    make_line: MakeLine, make_listening: MakeListening
) -> None:
    made, chance = packs(2), random.Random(5)
    line = await make_line(VirtualBank(made))
    listening = make_listening(line, *map(identity, made))
    for _ in range(3):
        for one in made:
            scramble(one, chance)
        await heard(listening, *made)


async def test_packs_that_nobody_knew_appear(
    make_line: MakeLine, make_listening: MakeListening
) -> None:
    made = packs(3, cells=15)
    for one in made:  # at 0.0 °C a sensor might be missing
        one.cell_temperatures = [20.1, 21.0, 22.0, -3.0]
    line = await make_line(VirtualBank(made))
    listening = make_listening(line, identity(made[1]), board=200)
    new: list[Battery] = []
    listening.on_new = new.append
    await listening.round()
    await until(lambda: all(readings(listening).values()) and len(new) == 2)
    assert readings(listening) == {one.address: expected(one) for one in made}
    assert [b.identity.address for b in listening.batteries] == [2, 3, 1]
    assert new == listening.batteries[1:]
    unnamed = {
        "serial": None,
        "model": "Seplos V3",
        "model_code": "",
        "firmware": None,
    }
    assert [b.identity for b in new] == [
        identity(made[2], **unnamed),
        identity(made[0], **unnamed),
    ]
    # They are new once.
    await asyncio.sleep(0.3)
    assert len(new) == 2


async def test_a_new_pack_is_told_with_its_reading(
    make_line: MakeLine, make_listening: MakeListening
) -> None:
    made = packs(2)
    line = await make_line(VirtualBank(made))
    listening = make_listening(line)
    seen: list[Reading | None] = []
    listening.on_new = lambda battery: seen.append(battery.reading)
    await listening.round()
    await until(lambda: len(seen) == 2)
    assert None not in seen


async def test_new_packs_are_kept_where_nobody_wants_to_know(
    make_line: MakeLine, make_listening: MakeListening
) -> None:
    line = await make_line(VirtualBank(packs(2)))
    listening = make_listening(line)
    await listening.round()
    await until(lambda: len(listening.batteries) == 2)


@pytest.mark.parametrize(
    ("settings", "current"),
    [
        ({}, -2.05),
        ({"board": 200}, -2.05),
        ({"board": 300}, -20.5),
        ({"divisor": 10}, -20.5),
        ({"board": 300, "divisor": 100}, -2.05),
    ],
)
async def test_a_bank_does_not_tell_its_board(
    make_line: MakeLine,
    make_listening: MakeListening,
    settings: dict[str, int],
    current: float,
) -> None:
    made = packs(2, device="SG16S300A-SP57B-A")
    made[0].current = made[1].current = -20.5
    listening = make_listening(await make_line(VirtualBank(made)), **settings)
    await listening.round()
    await until(lambda: len(listening.batteries) == 2)
    for battery in listening.batteries:
        assert battery.reading is not None
        assert battery.reading.current == current


async def test_the_first_round_waits_for_the_packs_and_no_other(
    make_line: MakeLine,
    make_listening: MakeListening,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    made = packs(3)
    line = await make_line(VirtualBank(made))
    listening = make_listening(line, *map(identity, made))
    monkeypatch.setattr(listening_module, "PATIENCE", 30.0)
    async with asyncio.timeout(10.0):
        await listening.round()
        assert readings(listening) == {one.address: expected(one) for one in made}
        for one in made:
            one.silent = True
        await listening.round()


async def test_the_first_round_does_not_wait_for_ever(
    make_line: MakeLine,
    make_listening: MakeListening,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(listening_module, "PATIENCE", 0.3)
    listening = make_listening(await make_line(), identity(VirtualPack(1)))
    start = time.monotonic()
    async with asyncio.timeout(10.0):
        await listening.round()
    assert time.monotonic() - start >= 0.3
    # It was not silent for so long that it would be missed.
    [battery] = listening.batteries
    assert (battery.reading, battery.error) == (None, None)


async def test_where_no_pack_is_known_there_is_nobody_to_wait_for(
    make_line: MakeLine,
    make_listening: MakeListening,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(listening_module, "PATIENCE", 30.0)
    listening = make_listening(await make_line())
    async with asyncio.timeout(10.0):
        await listening.round()
    assert listening.bus.is_open


@pytest.fixture
def short_memory(monkeypatch: pytest.MonkeyPatch) -> float:
    """Forget what was heard soon."""
    assert listening_module.HEARD_FOR == 10.0
    monkeypatch.setattr(listening_module, "HEARD_FOR", 0.5)
    monkeypatch.setattr(listening_module, "PATIENCE", 0.1)
    return 0.5


async def test_a_pack_that_falls_silent_is_let_go_and_no_other(
    make_line: MakeLine, make_listening: MakeListening, short_memory: float
) -> None:
    made = packs(2)
    line = await make_line(VirtualBank(made))
    listening = make_listening(line, *map(identity, made))
    await heard(listening, *made)
    made[1].silent = True
    await listening.round()  # one burst without it means nothing
    assert readings(listening) == {1: expected(made[0]), 2: expected(made[1])}
    await asyncio.sleep(short_memory)
    await listening.round()
    assert readings(listening) == {1: expected(made[0]), 2: None}
    one, other = listening.batteries
    assert (one.silent, one.error) == (False, None)
    assert other.silent
    assert type(other.error) is Unheard
    assert other.error.details == {"address": "2"}
    made[1].silent = False
    await heard(listening, *made)
    assert (other.silent, other.error) == (False, None)


async def test_a_master_that_falls_silent_is_let_go(
    make_line: MakeLine, make_listening: MakeListening, short_memory: float
) -> None:
    made = packs(2)
    line = await make_line(VirtualBank(made))
    listening = make_listening(line, *map(identity, made))
    await heard(listening, *made)
    made[0].silent = True
    await asyncio.sleep(short_memory)
    await listening.round()
    assert readings(listening) == {1: None, 2: expected(made[1])}


async def test_a_pack_has_its_time_before_it_is_missed(
    make_line: MakeLine, make_listening: MakeListening, short_memory: float
) -> None:
    line = await make_line()
    listening = make_listening(line, identity(VirtualPack(1)))
    [battery] = listening.batteries
    for _ in range(2):
        await listening.round()
        assert battery.error is None
    await asyncio.sleep(short_memory + 0.05)
    await listening.round()
    assert type(battery.error) is Unheard


async def test_a_port_that_is_pulled_out_takes_all_readings_with_it(
    make_line: MakeLine,
    make_listening: MakeListening,
    short_memory: float,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    link = tmp_path_factory.mktemp("by-id") / "adapter"
    made = packs(2)
    line = await make_line(VirtualBank(made), link=link)
    listening = make_listening(line, *map(identity, made), url=str(link))
    await heard(listening, *made)
    await unplugged(line, listening.bus)
    for _ in range(2):
        with pytest.raises(PortMissing):
            await listening.round()
        assert readings(listening) == {1: None, 2: None}
        assert {type(b.error) for b in listening.batteries} == {PortMissing}
    await asyncio.sleep(short_memory)
    await line.replug()
    await listening.round()
    # The port is there again: now they have their time to be heard.
    assert {type(b.error) for b in listening.batteries} <= {PortMissing, type(None)}
    await heard(listening, *made)


async def test_a_bus_that_was_closed_is_gone(
    make_line: MakeLine, make_listening: MakeListening
) -> None:
    made = packs(2)
    line = await make_line(VirtualBank(made))
    listening = make_listening(line, *map(identity, made))
    await heard(listening, *made)
    await listening.bus.close()
    with pytest.raises(PortGone):
        await listening.round()
    assert readings(listening) == {1: None, 2: None}


async def test_noise_costs_readings_but_never_makes_wrong_ones(
    make_line: MakeLine, make_listening: MakeListening
) -> None:
    made = packs(2)
    line = await make_line(VirtualBank(made), seed=3)
    line.faults.noise = 0.3
    listening = make_listening(line)
    seen: list[tuple[int, Reading]] = []
    take = listening.bank.on_reading
    assert take is not None

    def note(pack: Any) -> None:
        seen.append((pack.identity.address, pack.reading))
        take(pack)

    listening.bank.on_reading = note
    await listening.round()
    await until(lambda: len(seen) >= 6, 20.0)
    right = {one.address: expected(one) for one in made}
    assert all(reading == right[number] for number, reading in seen)
    assert listening.bus.watch.unread_bytes > 0


async def test_what_a_known_pack_is_said_to_be_is_believed(
    make_line: MakeLine, make_listening: MakeListening
) -> None:
    made = packs(2, sensors=2)
    line = await make_line(VirtualBank(made))
    known = [replace(identity(one), sensors=6) for one in made]
    listening = make_listening(line, *known)
    await listening.round()
    await until(lambda: all(readings(listening).values()))
    for battery, one in zip(listening.batteries, made, strict=True):
        assert battery.reading is not None
        assert battery.reading.cell_temperatures == (
            *one.cell_temperatures,
            *[None] * 4,
        )


async def test_packs_that_somebody_else_asks_are_heard_too(
    make_line: MakeLine, make_listening: MakeListening
) -> None:
    made = packs(2)
    made[0].address, made[1].address = 0, 9
    line = await make_line(Intruder(made))
    listening = make_listening(line, *map(identity, made))
    await heard(listening, *made)
