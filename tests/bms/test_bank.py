"""A Seplos bank, by what is heard of it: captured bursts and packs made up."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
import pytest

from custom_components.openxpbms.bms.bank import (
    ANSWERED_WITHIN,
    NUMBERS,
    TOGETHER,
    Bank,
    HeardPack,
)
from custom_components.openxpbms.bms.foreign import ForeignWatch
from custom_components.openxpbms.bms.frame import (
    Frame,
    Refusal,
    Reply,
    Request,
    Write,
    find_frames,
)
from custom_components.openxpbms.bms.reading import Identity, Reading
from custom_components.openxpbms.bms.seplos_tables import PIA, PIA_SHORT, PIB, PIC

from .conftest import Clock
from .seplos_data import BURSTS, Captured, by_frame, those, told

EIA = Request(2, 4, 0x2000, 26)


def pack(address: int, **facts: Any) -> Identity:
    """Return who a pack is, as far as listening tells."""
    known: dict[str, Any] = {
        "serial": None,
        "model": "Seplos V3",
        "model_code": "",
        "cells": 16,
        "sensors": 4,
    }
    return Identity(address=address, **known | facts)


class Listener:
    """A bank that is told bytes or frames, and all that it makes of them."""

    def __init__(self, bank: Bank | None = None) -> None:
        """Listen for `bank`, else for one of unknown packs."""
        self.bank = bank or Bank()
        self.readings: list[tuple[int, Reading | None]] = []
        self.watch = ForeignWatch(b"")
        self.bank.on_reading = self._note

    def _note(self, heard: HeardPack) -> None:
        assert self.bank.packs[heard.identity.address] is heard
        self.readings.append((heard.identity.address, heard.reading))

    def feed(self, data: bytes) -> None:
        """Hear some bytes."""
        for found in self.watch.feed(data):
            self.bank.take(found.frame)

    def take(self, *frames: Frame) -> Reading | None:
        """Hear frames; return the last Reading."""
        for frame in frames:
            self.bank.take(frame)
        return self.readings[-1][1] if self.readings else None


@pytest.fixture
def listener(clock: Clock) -> Listener:
    """Return one whose time passes when it is told to."""
    return Listener(Bank(clock=clock))


# Captured bursts


def readings_of(name: str) -> list[tuple[int, Reading]]:
    """Return what a burst tells, by its stated values."""
    replies = [by_frame(data) for data in BURSTS[name] if len(data) > 8]
    return [
        (address, told(*(item for item in replies if item.address == address)))
        for address in (2, 1)
    ]


def test_the_packs_of_the_bursts_tell_different_things() -> None:
    [(_, one), (_, other)], [(_, third), (_, fourth)] = map(readings_of, BURSTS)
    currents = (one.current, other.current, third.current, fourth.current)
    assert currents == (66.15, 84.79, -6.09, -5.39)


@pytest.mark.parametrize("name", BURSTS)
@pytest.mark.parametrize("size", [1, 2, 7, 64, 1000])
def test_a_burst_tells_two_packs_however_it_comes(name: str, size: int) -> None:
    stream, listener = b"".join(BURSTS[name]) * 3, Listener()
    for at in range(0, len(stream), size):
        listener.feed(stream[at : at + size])
    assert listener.readings == readings_of(name) * 3
    assert {a: heard.identity for a, heard in listener.bank.packs.items()} == {
        number: pack(number) for number in (1, 2)
    }
    assert listener.watch.unread_bytes == 0


noise = st.binary(max_size=12)


@pytest.mark.parametrize("name", BURSTS)
@given(data=st.data())
def test_noise_between_frames_changes_nothing(name: str, data: st.DataObject) -> None:
    stream = b"".join(data.draw(noise) + frame for frame in BURSTS[name])
    cuts = data.draw(st.sets(st.integers(1, len(stream) - 1), max_size=40))
    listener = Listener()
    for start, end in pairwise([0, *sorted(cuts), len(stream)]):
        listener.feed(stream[start:end])
    assert listener.readings == readings_of(name)
    assert set(listener.bank.packs) == {1, 2}


@pytest.mark.parametrize("name", BURSTS)
@given(data=st.data())
def test_a_spoilt_frame_costs_one_pack_its_reading_and_no_more(
    name: str, data: st.DataObject
) -> None:
    frames = list(BURSTS[name])
    which = data.draw(st.sampled_from([n for n, f in enumerate(frames) if len(f) > 8]))
    spoilt = bytearray(frames[which])
    at = data.draw(st.integers(0, len(spoilt) - 1))
    spoilt[at] ^= data.draw(st.integers(1, 255))
    whose = frames[which][0]
    frames[which] = bytes(spoilt)
    listener = Listener()
    listener.feed(b"".join(frames))
    others = [told for told in readings_of(name) if told[0] != whose]
    assert listener.readings == others


@pytest.mark.parametrize("lost", ["PIA", "PIB", "PIC"])
def test_a_burst_without_one_table_tells_nothing_of_that_pack(
    listener: Listener, clock: Clock, lost: str
) -> None:
    burst = BURSTS["SYSSI"]
    one, other = readings_of("SYSSI")
    for frame in burst:
        if (frame[0], by_frame(frame).table, len(frame) > 8) != (2, lost, True):
            listener.feed(frame)
    assert listener.readings == [other]
    clock.now += TOGETHER + 0.1
    listener.feed(b"".join(burst))
    assert listener.readings == [other, one, other]


# Which table a reply is


def pia(address: int = 2, *, short: bool = False, **words: int) -> Reply:
    """Return the table of a pack of 16 cells at 3.3 V, with some words changed."""
    values = {
        "voltage": 5280,
        "current": 0,
        "remaining": 10000,
        "full": 20000,
        "discharged": 12,
        "soc": 500,
        "soh": 1000,
        "cycles": 7,
        "mean": 3300,
        "mean_temperature": 2951,
        "highest": 3301,
        "lowest": 3299,
        "warmest": 2961,
        "coldest": 2941,
        "reserved": 0,
        "discharge": 180,
        "charge": 180,
        "precharge": 1000,
    } | words
    content = b"".join((word & 0xFFFF).to_bytes(2, "big") for word in values.values())
    return Reply(address, 4, content[: 34 if short else 36])


def pib(
    address: int = 2, cells: int = 16, temperatures: tuple[int, ...] = (2951,) * 4
) -> Reply:
    """Return the table of cells at 3.3 V and sensors, in 0.1 K."""
    words = [3300] * cells + [0] * (16 - cells)
    words += [*temperatures] + [2731] * (8 - len(temperatures)) + [2951, 2971]
    return Reply(address, 4, b"".join(word.to_bytes(2, "big") for word in words))


def pic(address: int = 2) -> Reply:
    """Return the table of a pack that stands by."""
    return Reply(address, 1, bytes(8) + b"\x10" + bytes(6) + b"\x03" + bytes(2))


@pytest.mark.parametrize("address", NUMBERS)
@pytest.mark.parametrize("first", [PIA, PIA_SHORT])
@pytest.mark.parametrize("asked", [True, False])
def test_asked_or_not_a_pack_is_understood(
    listener: Listener, address: int, first: object, asked: bool
) -> None:
    replies = (
        pia(address, short=first is PIA_SHORT, soc=432),
        pib(address),
        pic(address),
    )
    requests = [
        table.request(address)
        for table in (PIA if first is PIA else PIA_SHORT, PIB, PIC)
    ]
    for request, reply in zip(requests, replies, strict=True):
        listener.take(*([request] if asked else []), reply)
    [(number, reading)] = listener.readings
    assert number == address
    assert reading is not None
    assert (reading.soc, reading.cell_voltages) == (43.2, (3.3,) * 16)


@pytest.mark.parametrize(
    ("request_", "at"),
    [
        (EIA, 1),
        (Request(2, 4, 0x1700, 26), 1),
        (Request(2, 4, 0x1000, 26), 1),
        (Request(2, 3, 0x1100, 26), None),  # another function, so another question
        (replace(EIA, address=3), None),
        (Request(2, 4, 0x1000, 18), None),
        (Request(2, 4, 0x2000, 18), 0),
        (Request(2, 4, 0x2000, 17), None),
        (Request(2, 1, 0x2200, 144), 2),
        (Request(2, 1, 0x2200, 80), None),
    ],
)
def test_a_reply_is_the_table_that_was_asked_for(
    listener: Listener, request_: Request, at: int | None
) -> None:
    replies = [pia(), pib(), pic()]
    for number, reply in enumerate(replies):
        alone = Listener()
        others = [other for n, other in enumerate(replies) if n != number]
        told = alone.take(*others, request_, reply)
        assert (told is None) is (number == at), number


def test_a_question_is_answered_once(listener: Listener) -> None:
    assert listener.take(pia(), pic(), EIA, pib()) is None
    assert listener.take(pib()) is not None


@pytest.mark.parametrize(
    "between",
    [
        Refusal(2, 4, 2),
        Write(2, 16, 0x1365, b"\x15\xe0"),
        Reply(2, 16, b"\x13\x65\x00\x01"),
        pic(3),
    ],
)
def test_whatever_comes_between_question_and_answer_ends_the_question(
    listener: Listener, between: Frame
) -> None:
    assert listener.take(pia(), pic(), EIA, between) is None
    assert listener.take(pib()) is not None


@pytest.mark.parametrize(("after", "taken"), [(0.0, False), (0.1, True)])
def test_a_question_is_forgotten_after_a_second(
    listener: Listener, clock: Clock, after: float, taken: bool
) -> None:
    assert ANSWERED_WITHIN == 1.0
    listener.take(EIA)
    clock.now += ANSWERED_WITHIN + after
    assert (listener.take(pib(), pia(), pic()) is not None) is taken


@pytest.mark.parametrize("size", [2, 28, 33, 35, 40, 44, 72, 102, 106, 212])
def test_replies_of_other_lengths_are_no_tables(listener: Listener, size: int) -> None:
    listener.take(pia(), pib(), pic())
    before = list(listener.readings)
    for function in (1, 3, 4):
        listener.take(Reply(2, function, bytes(size)))
    assert listener.readings == before


@pytest.mark.parametrize("item", those("EIA", "EIB", "EIC", "PCT"), ids=str)
def test_totals_of_a_bank_do_not_disturb_a_pack(
    listener: Listener, item: Captured
) -> None:
    [totals] = find_frames(item.data, b"")
    if len(item.payload) == 34:
        # As long as a short PIA: its question tells the difference.
        listener.take(Request(0, 4, 0x2000, 17))
        listener.take(totals.frame)
        assert listener.take(pib(0), pic(0)) is None
        return
    expected = Listener().take(pia(0), pib(0), pic(0))
    assert listener.take(pia(0), pib(0), totals.frame, pic(0)) == expected


# Tables that belong together


def test_tables_far_apart_make_no_reading(listener: Listener, clock: Clock) -> None:
    listener.take(pia(), pib())
    clock.now += TOGETHER + 0.01
    assert listener.take(pic()) is None
    assert listener.take(pia(soc=111)) is None  # the cells are still old
    started = clock.now
    clock.now += TOGETHER
    reading = listener.take(pib())
    assert reading is not None
    assert reading.soc == 11.1
    assert listener.bank.packs[2].read_at == started


def test_each_table_is_used_once(listener: Listener) -> None:
    assert listener.take(pia(), pib(), pic()) is not None
    listener.take(pia(), pib())
    assert len(listener.readings) == 1
    listener.take(pic())
    assert len(listener.readings) == 2


def test_the_latest_table_counts(listener: Listener) -> None:
    reading = listener.take(pia(soc=1), pia(soc=2), pic(), pib())
    assert reading is not None
    assert reading.soc == 0.2


def test_tables_of_different_packs_are_never_mixed(listener: Listener) -> None:
    listener.take(pia(2, soc=222), pia(3, soc=333), pib(3), pib(2), pic(3), pic(2))
    assert [
        (number, reading and reading.soc) for number, reading in listener.readings
    ] == [(3, 33.3), (2, 22.2)]


# What a pack is made of


@pytest.mark.parametrize("cells", range(1, 17))
def test_cells_are_counted(listener: Listener, cells: int) -> None:
    reading = listener.take(pia(voltage=330 * cells), pib(cells=cells), pic())
    assert reading is not None
    assert reading.cell_voltages == (3.3,) * cells
    assert listener.bank.packs[2].identity.cells == cells


@pytest.mark.parametrize(
    ("voltage", "mean"), [(5280, 0), (0, 3300), (100, 3300), (5610, 3300), (65535, 1)]
)
def test_a_pack_of_no_or_too_many_cells_is_not_believed(
    listener: Listener, voltage: int, mean: int
) -> None:
    assert listener.take(pia(voltage=voltage, mean=mean), pib(), pic()) is None
    assert listener.bank.packs == {}


def test_a_pack_keeps_its_number_of_cells(listener: Listener) -> None:
    first = listener.take(pia(), pib(), pic())
    listener.take(pia(voltage=15 * 330), pib(cells=15), pic())
    assert listener.readings == [(2, first)]
    assert listener.bank.packs[2].reading == first


def test_a_known_pack_with_another_number_of_cells_is_dropped() -> None:
    listener = Listener(Bank([pack(2, cells=15)]))
    assert listener.take(pia(), pib(), pic()) is None
    assert listener.take(pia(voltage=15 * 330), pib(cells=15), pic()) is not None


def temperatures(
    listener: Listener, *raw: int, coldest: int = 2941, warmest: int = 2961
) -> tuple[float | None, ...] | None:
    """Return the temperatures that a pack with such sensors has."""
    reading = listener.take(
        pia(coldest=coldest, warmest=warmest), pib(temperatures=raw), pic()
    )
    assert reading is not None
    return reading.cell_temperatures


@pytest.mark.parametrize("number", range(1, 9))
def test_sensors_are_counted_to_the_last_that_tells_anything(
    listener: Listener, number: int
) -> None:
    raw = [2731] * (number - 1) + [2733]
    expected = (None,) * (number - 1) + (0.2,)
    assert temperatures(listener, *raw) == expected
    assert listener.bank.packs[2].identity.sensors == number


def test_where_all_sensors_tell_nothing_four_are_taken(listener: Listener) -> None:
    assert temperatures(listener) == (None,) * 4
    assert listener.bank.packs[2].identity.sensors == 4


@pytest.mark.parametrize("extreme", ["coldest", "warmest"])
def test_zero_degrees_are_believed_where_the_pack_tells_them_too(
    listener: Listener, extreme: str
) -> None:
    raw = (2731, 2751, 2711, 2731)
    assert temperatures(listener, *raw) == (None, 2.0, -2.0, None)[:3]
    told = temperatures(Listener(), *raw, 2741, **{extreme: 2731})
    assert told == (0.0, 2.0, -2.0, 0.0, 1.0)


def test_a_known_pack_keeps_its_sensors() -> None:
    listener = Listener(Bank([pack(2, sensors=6)]))
    assert temperatures(listener, 2741, 2731) == (1.0, *(None,) * 5)


@pytest.mark.parametrize(("cells", "sensors"), [(None, 6), (16, None), (None, None)])
def test_what_is_not_known_of_a_pack_is_counted(
    cells: int | None, sensors: int | None
) -> None:
    who = pack(2, cells=cells, sensors=sensors, serial="S1", board=200)
    listener = Listener(Bank([who]))
    listener.take(pia(), pib(), pic())
    assert listener.bank.packs[2].identity == replace(
        who, cells=16, sensors=sensors or 4
    )


@pytest.mark.parametrize("board", [None, 100, 200, 299, 300, 400])
@pytest.mark.parametrize("known", [True, False])
def test_large_boards_count_in_tenths_of_an_ampere(
    board: int | None, known: bool
) -> None:
    bank = Bank([pack(2, board=board)]) if known else Bank(board=board)
    reading = Listener(bank).take(pia(current=-1234), pib(), pic())
    assert reading is not None
    assert reading.current == (-123.4 if board in (300, 400) else -12.34)
    assert bank.packs[2].identity.board == board


@pytest.mark.parametrize("divisor", [10, 100])
def test_a_person_may_set_the_scale_of_the_current(divisor: int) -> None:
    for bank in (
        Bank([pack(2, board=300)], divisor=divisor),
        Bank([pack(2)], divisor=divisor),
        Bank(board=300, divisor=divisor),
    ):
        reading = Listener(bank).take(pia(current=500), pib(), pic())
        assert reading is not None
        assert reading.current == 500 / divisor


def test_without_anybody_to_tell_a_reading_is_kept() -> None:
    bank = Bank()
    for reply in (pia(), pib(), pic()):
        bank.take(reply)
    assert bank.packs[2].reading is not None
