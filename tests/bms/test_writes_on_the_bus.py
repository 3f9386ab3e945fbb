"""Writes on a bus: sent once and for all, nobody comes between."""

from __future__ import annotations

import asyncio

from hypothesis import given
from hypothesis import strategies as st
import pytest

from custom_components.openxpbms.bms.bus import Bus
from custom_components.openxpbms.bms.errors import (
    DoubtfulAnswer,
    ForeignMaster,
    GarbledAnswer,
    PortGone,
    Refused,
)
from custom_components.openxpbms.bms.frame import (
    Refusal,
    Reply,
    Request,
    Write,
    WriteRequest,
    find_frames,
    find_reply,
)
from custom_components.openxpbms.bms.seplos import LINE
from custom_components.openxpbms.bms.virtual import VirtualPack, WriteFault

from .conftest import MakeBus, MakeLine, babble, reference_crc, unplugged, until

WRITE = WriteRequest(0, 0x1365, 5600)
READ = Request(0, 4, 0x1365, 1)
ACKNOWLEDGED = bytes.fromhex("00 10 13 65 00 01 14 83")


def test_a_write_is_as_the_dossier_has_it() -> None:
    assert WRITE.encoded == bytes.fromhex("00 10 13 65 00 01 02 15 E0 8F EC")
    negative = WriteRequest(0, 0x1367, 0xFF9C)
    assert negative.encoded == bytes.fromhex("00 10 13 67 00 01 02 FF 9C C0 8F")


def test_its_acknowledgement_is_found_in_noise() -> None:
    search = find_reply(b"\x00\x10\x13\xff" + ACKNOWLEDGED + b"\x00", WRITE)
    assert search.reply == Reply(0, 16, bytes.fromhex("13 65 00 01"))
    assert (search.start, search.end, search.near) == (4, 12, False)


@pytest.mark.parametrize(
    "wrong",
    [
        "01 10 13 65 00 01",
        "00 10 13 66 00 01",
        "00 10 13 65 00 02",
        "00 06 13 65 00 01",
    ],
)
def test_another_acknowledgement_is_none(wrong: str) -> None:
    frame = bytes.fromhex(wrong)
    assert find_reply(frame + reference_crc(frame), WRITE).reply is None


def test_an_acknowledgement_with_a_wrong_crc_is_none() -> None:
    search = find_reply(ACKNOWLEDGED[:-1] + b"\x00", WRITE)
    assert search.reply is None
    assert search.near


def test_a_refused_write_is_found() -> None:
    search = find_reply(bytes.fromhex("00 90 03 5D C1"), WRITE)
    assert search.reply == Refusal(0, 16, 3)


@given(st.integers(0, 127), st.integers(0, 0xFFFF), st.integers(0, 0xFFFF))
def test_the_echo_of_a_write_is_known_as_ours(
    address: int, register: int, word: int
) -> None:
    asked = WriteRequest(address, register, word)
    assert asked.shape == (address, 16, 4)
    found = [item.frame for item in find_frames(asked.encoded, b"")]
    assert found == [asked.echo]
    assert asked.echo == Write(address, 16, register, word.to_bytes(2))


async def open_bus(make_line: MakeLine, make_bus: MakeBus, *devices: object) -> Bus:
    line = await make_line(*devices)
    bus = make_bus(line.path, terminator=b"")
    await bus.open(LINE)
    return bus


async def test_a_write_is_acknowledged(make_line: MakeLine, make_bus: MakeBus) -> None:
    pack = VirtualPack()
    bus = await open_bus(make_line, make_bus, pack)
    async with bus.hold(LINE) as held:
        assert await held.write(WRITE)
        assert (await held.exchange(READ)).data == (5600).to_bytes(2)
    assert pack.written == [(0x1365, 5600)]
    assert not bus.watch.silent


@pytest.mark.parametrize(
    ("fault", "code"), [(WriteFault.REFUSE_REGISTER, 2), (WriteFault.REFUSE_VALUE, 3)]
)
async def test_a_refusal_is_told(
    make_line: MakeLine, make_bus: MakeBus, fault: WriteFault, code: int
) -> None:
    bus = await open_bus(make_line, make_bus, VirtualPack(write_fault=fault))
    async with bus.hold(LINE) as held:
        with pytest.raises(Refused) as told:
            await held.write(WRITE)
    assert told.value.details == {"address": "0", "code": str(code)}


async def test_a_write_without_an_answer_is_not_sent_again(
    make_line: MakeLine, make_bus: MakeBus
) -> None:
    pack = VirtualPack(write_fault=WriteFault.NO_ACKNOWLEDGEMENT)
    bus = await open_bus(make_line, make_bus, pack)
    async with bus.hold(LINE) as held:
        assert not await held.write(WRITE)
    assert pack.written == [(0x1365, 5600)]


async def test_a_garbled_acknowledgement_does_not_send_it_again(
    make_line: MakeLine, make_bus: MakeBus
) -> None:
    pack = VirtualPack()
    line = await make_line(pack)
    bus = make_bus(line.path, terminator=b"")
    await bus.open(LINE)
    line.faults.noise = 1.0
    async with bus.hold(LINE) as held:
        assert not await held.write(WRITE)
    assert pack.written == [(0x1365, 5600)]


async def test_a_second_write_waits_until_the_first_is_settled(
    make_line: MakeLine, make_bus: MakeBus
) -> None:
    pack = VirtualPack(write_fault=WriteFault.NO_ACKNOWLEDGEMENT)
    bus = await open_bus(make_line, make_bus, pack)
    async with bus.hold(LINE) as held:
        await held.write(WRITE)
        with pytest.raises(DoubtfulAnswer):
            await held.write(WriteRequest(0, 0x1366, 100))
    assert pack.written == [(0x1365, 5600)]


async def test_nothing_is_written_beside_another_master(
    make_line: MakeLine, make_bus: MakeBus
) -> None:
    pack = VirtualPack()
    line = await make_line(pack)
    bus = make_bus(line.path, terminator=b"")
    await bus.open(LINE)
    line.inject(Request(1, 4, 0x1000, 18).encoded)
    await until(lambda: bus.watch.silent)
    async with bus.hold(LINE) as held:
        with pytest.raises(ForeignMaster):
            await held.write(WRITE)
    assert not pack.written


async def test_nothing_is_written_on_a_line_that_does_not_become_quiet(
    make_line: MakeLine, make_bus: MakeBus, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("custom_components.openxpbms.bms.bus.DRAIN_LIMIT", 0.1)
    pack = VirtualPack()
    line = await make_line(pack)
    bus = make_bus(line.path, terminator=b"")
    await bus.open(LINE)
    async with babble(line, bus), bus.hold(LINE) as held:
        with pytest.raises(GarbledAnswer):
            await held.write(WRITE)
    assert not pack.written


async def test_a_port_that_is_gone_before_it_tells_that_nothing_was_sent(
    make_line: MakeLine, make_bus: MakeBus
) -> None:
    pack = VirtualPack()
    line = await make_line(pack)
    bus = make_bus(line.path, terminator=b"")
    await bus.open(LINE)
    await unplugged(line, bus)
    async with bus.hold(LINE) as held:
        with pytest.raises(PortGone):
            await held.write(WRITE)


async def test_a_port_that_goes_behind_it_leaves_it_open(
    make_line: MakeLine, make_bus: MakeBus
) -> None:
    pack = VirtualPack(write_fault=WriteFault.NO_ACKNOWLEDGEMENT)
    line = await make_line(pack)
    pack.before_answer = lambda _, now: line.unplug()
    bus = make_bus(line.path, terminator=b"")
    await bus.open(LINE)
    async with bus.hold(LINE) as held:
        assert not await held.write(WRITE)


async def test_nobody_comes_between(make_line: MakeLine, make_bus: MakeBus) -> None:
    pack = VirtualPack()
    bus = await open_bus(make_line, make_bus, pack)
    async with bus.hold(LINE) as held:
        other = asyncio.create_task(bus.exchange(READ, LINE))
        await asyncio.sleep(0.05)
        assert not other.done()
        await held.write(WRITE)
    assert (await other).data == (5600).to_bytes(2)


async def test_closing_waits_for_who_holds_it(
    make_line: MakeLine, make_bus: MakeBus
) -> None:
    bus = await open_bus(make_line, make_bus, VirtualPack())
    async with bus.hold(LINE) as held:
        closing = asyncio.create_task(bus.close())
        await asyncio.sleep(0.05)
        assert await held.write(WRITE)
        assert (await held.exchange(READ)).data == (5600).to_bytes(2)
    await closing


async def test_the_bus_knows_for_how_long_it_has_been_alone(
    make_line: MakeLine, make_bus: MakeBus
) -> None:
    line = await make_line(VirtualPack())
    bus = make_bus(line.path, terminator=b"")
    assert bus.quiet_for == 0.0
    await bus.open(LINE)
    await asyncio.sleep(0.05)
    alone = bus.quiet_for
    assert 0.05 <= alone < 30
    line.inject(Request(1, 4, 0x1000, 18).encoded)
    await until(lambda: bus.watch.silent)
    assert bus.quiet_for < alone
    await unplugged(line, bus)
    assert bus.quiet_for == 0.0
