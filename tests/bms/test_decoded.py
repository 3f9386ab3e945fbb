"""What went over the wire, in words and values."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
import json
import random
from typing import Any

import pytest

from custom_components.openxpbms.bms.counters import Direction, Trace, TracedFrame
from custom_components.openxpbms.bms.decoded import Decoded, Decoder
from custom_components.openxpbms.bms.frame import Request, with_crc
from custom_components.openxpbms.bms.seplos_tables import (
    CLOCK,
    COUNTS,
    PIA,
    PIB,
    PIC,
    SFA,
    SPA,
    VIA,
    Table,
)
from custom_components.openxpbms.bms.valence import (
    SUMMARY,
    TERMINATOR,
    VOLTAGES,
    WAKE,
    request,
)
from custom_components.openxpbms.bms.virtual import VirtualPack

from .conftest import MakeLine, MakeSeplos, MakeValence, module
from .test_seplos import identity as pack_identity
from .test_valence import identity

type Said = list[tuple[str, int | None, str]]


def traced(*frames: tuple[Direction, bytes]) -> list[TracedFrame]:
    """Return bytes that went over the wire, one after the other each s."""
    return [
        TracedFrame(float(at), direction, data, "19200 8N1")
        for at, (direction, data) in enumerate(frames)
    ]


def said(decoded: list[Decoded]) -> Said:
    """Return which way, whose and what."""
    return [(each.direction, each.address, each.says) for each in decoded]


def decode(family: str, *frames: tuple[Direction, bytes]) -> list[Decoded]:
    """Decode frames of nobody known."""
    return list(Decoder(family).frames(traced(*frames)))


def reply(asked: Request, data: bytes | None = None) -> bytes:
    """Return an answer, full of zeros where nothing else is said."""
    data = bytes(asked.byte_count) if data is None else data
    body = bytes((asked.address, asked.function, len(data))) + data
    return with_crc(body) + asked.terminator


async def test_a_round_of_a_module_is_told_in_words_and_values(
    make_line: MakeLine, make_valence: MakeValence
) -> None:
    one = module(serial="104400461", cell_voltages=[3.301, 3.302, 3.303, 3.304])
    family = await make_valence(await make_line(one))
    with family.bus.trace.tape(100) as tape:
        await family.wake()
        await family.read(identity(one))
    assert tape.added == len(list(tape))
    await family.identify(1)  # is not on the tape any more
    told = list(Decoder("valence", [identity(one)]).frames(tape))
    assert said(told)[:5] == [
        ("sent", None, "wakes all modules"),
        (
            "sent",
            1,
            "asks for serial number, state of charge, current and voltage",
        ),
        (
            "received",
            1,
            "tells serial number, state of charge, current and voltage",
        ),
        ("sent", 1, "asks for cell voltages"),
        ("received", 1, "tells cell voltages"),
    ]
    assert told[2].values["serial"] == "104400461"
    assert told[4].values["cell_voltages"][:4] == tuple(one.cell_voltages)
    assert [each.says for each in told[9:]] == [
        "asks for finer state of charge and counts of events",
        "tells finer state of charge and counts of events",
    ]
    assert b"".join(each.data for each in told) == b"".join(f.data for f in tape)


async def test_a_pack_is_told_in_words_and_values(
    make_line: MakeLine, make_seplos: MakeSeplos
) -> None:
    one = VirtualPack(0)
    family = await make_seplos(await make_line(one))
    who = pack_identity(one)
    await family.read(who)
    await family.read_slow(who)
    await family.identify(0)
    told = [d for d in Decoder("seplos").frames(family.bus.trace) if d.values]
    values = {each.says: each.values for each in told}
    assert set(values) == {
        "tells maker, model and serial numbers",
        "tells values of the pack",
        "tells cell voltages and temperatures",
        "tells states and alarms",
        "tells functions",
        "tells clock",
        "tells parameters",
        "tells numbers of sensors and cells",
    }
    pack: Any = values["tells maker, model and serial numbers"]
    assert pack["serial"] == who.serial
    assert values["tells states and alarms"]["alarms"] == ()
    assert "coils" not in values["tells states and alarms"]
    assert values["tells functions"]["bluetooth"] in (True, False)
    assert values["tells numbers of sensors and cells"] == {"sensors": 4, "cells": 16}


def test_alarms_are_told_by_name_and_number() -> None:
    asked = PIC.request(1)
    coils = bytearray(asked.byte_count)
    coils[0] = 0b100  # low voltage of cell 3
    coils[9] = 0b1  # cell high voltage
    [told] = decode("seplos", ("received", reply(asked, bytes(coils))))
    assert told.values["alarms"] == ("low_voltage_of_cell 3", "cell_high_voltage")


def test_without_its_question_an_answer_is_told_by_its_length() -> None:
    frames = reply(PIA.request(2)) + reply(VIA.request(2))
    assert said(decode("seplos", ("stray", frames))) == [
        ("heard", 2, "tells values of the pack"),
        ("heard", 2, "tells maker, model and serial numbers"),
    ]


def test_what_only_has_the_length_of_cells_is_not_told_as_such() -> None:
    zeros = reply(PIB.request(1))  # -273 °C everywhere
    unknown = reply(Request(1, 4, 0x2000, 5))
    for frame, size in ((zeros, 52), (unknown, 10)):
        [told] = decode("seplos", ("stray", frame))
        assert told.says == f"tells {size} bytes, nobody knows of what"
        assert told.values == {}


@pytest.mark.parametrize("table", [COUNTS, CLOCK, SPA, SFA])
def test_the_question_tells_what_an_answer_is(table: Table) -> None:
    asked = table.request(3)
    question, answer = decode(
        "seplos", ("stray", asked.encoded), ("received", reply(asked))
    )
    assert question.says.replace("asks for", "tells") == answer.says
    assert answer.values


@pytest.mark.parametrize(
    ("family", "asked", "says"),
    [
        ("seplos", Request(1, 4, 0x2000, 2), "2 registers from 0x2000"),
        ("seplos", Request(1, 1, 0x1208, 8), "8 coils from 0x1208"),
        ("seplos", Request(1, 3, 0x1000, 18), "18 registers from 0x1000"),
        ("valence", Request(1, 4, 0x39, 10, TERMINATOR), "10 registers from 0x0039"),
    ],
)
def test_what_nobody_knows_is_told_by_its_numbers(
    family: str, asked: Request, says: str
) -> None:
    told = decode(family, ("sent", asked.encoded), ("received", reply(asked)))
    assert [each.says for each in told] == [f"asks for {says}", f"tells {says}"]
    assert told[1].values == {}


def test_writes_and_refusals_are_told() -> None:
    registers = with_crc(bytes.fromhex("01 10 1312 0002 04 0001 0002"))
    coils = with_crc(bytes.fromhex("01 0F 1400 0008 01 FF"))
    one = with_crc(bytes.fromhex("01 06 1312 0ABC"))
    done = with_crc(bytes.fromhex("01 10 1312 0002"))
    refusal = with_crc(bytes.fromhex("01 84 02"))
    told = decode("seplos", *(("stray", f) for f in (registers, coils, one)))
    assert [each.says for each in told] == [
        "writes 2 registers from 0x1312",
        "writes 1 bytes of coils from 0x1400",
        "writes 0x0ABC into 0x1312",
    ]
    assert said(decode("seplos", ("received", done), ("received", refusal))) == [
        ("received", 1, "acknowledges a write at 0x1312"),
        ("received", 1, "refuses with exception 2"),
    ]


def test_noise_and_pieces_and_echoes() -> None:
    asked = request(1, VOLTAGES)
    told = decode(
        "valence",
        ("sent", asked.encoded),
        ("stray", b"\xff" + asked.encoded[:4]),
        ("stray", asked.encoded[4:] + b"\xfe"),
        ("stray", asked.encoded),
        ("received", reply(asked)),
    )
    assert said(told) == [
        ("sent", 1, "asks for cell voltages"),
        ("heard", None, "no valid frame"),
        ("heard", 1, "the echo of what was sent"),
        ("heard", None, "no valid frame"),
        ("heard", 1, "asks for cell voltages"),  # somebody else
        ("received", 1, "tells cell voltages"),
    ]
    assert [each.time for each in told] == [0, 1, 1, 2, 3, 4]
    assert told[1].data == b"\xff"
    assert said(decode("valence", ("received", b"\x01"))) == [
        ("received", None, "no valid frame")
    ]
    told = decode("valence", ("sent", WAKE), ("stray", WAKE))
    assert [each.says for each in told] == [
        "wakes all modules",
        "the echo of what was sent",
    ]


def test_serial_numbers_of_the_first_revision_have_five_digits() -> None:
    one = identity(module(7, revision=1, serial="00461"))
    asked = request(7, SUMMARY)
    data = (461).to_bytes(2, "big") + bytes(18)
    frames = traced(("received", reply(asked, data)))
    [known] = Decoder("valence", [one]).frames(frames)
    [unknown] = Decoder("valence").frames(frames)
    assert known.values["serial"] == "00461"
    assert unknown.values["serial"] != "00461"


def test_a_decoded_frame_as_it_is_told() -> None:
    [told] = decode("seplos", ("stray", PIA.request(3).encoded))
    assert json.loads(json.dumps(told.as_dict())) == {
        "time": datetime.fromtimestamp(told.time, UTC).isoformat(),
        "direction": "heard",
        "address": 3,
        "says": "asks for values of the pack",
        "values": {},
        "line": told.line,
        "data": PIA.request(3).encoded.hex(" "),
    }


async def test_a_tape_keeps_the_last_and_counts_the_rest() -> None:
    trace = Trace()
    with trace.tape(2) as tape, trace.tape(5) as other:
        for number in range(3):
            trace.add("sent", bytes((number,)), "x")
            await asyncio.sleep(0)
        assert [frame.data for frame in tape] == [b"\x01", b"\x02"]
        assert tape.added == 3
        assert len(list(other)) == 3
    trace.add("sent", b"\x09", "x")
    assert tape.added == 3


@pytest.mark.parametrize("family", ["valence", "seplos"])
def test_whatever_is_on_the_wire_is_told_and_no_byte_is_lost(family: str) -> None:
    chance = random.Random(5)
    tail = TERMINATOR if family == "valence" else b""
    directions: tuple[Direction, ...] = ("sent", "received", "stray")
    tables = [t.request(1).encoded for t in (PIA, PIB, PIC, SPA, SFA, CLOCK, VIA)]
    frames: list[tuple[Direction, bytes]] = []
    for _ in range(3000):
        count = chance.choice((4, 8, 18, 36, 52, 102, 212))
        head = bytes((1, chance.choice((1, 2, 3, 4, 6, 15, 16, 0x83)), count))
        data = chance.choice(
            (
                with_crc(head + chance.randbytes(count)) + tail,
                with_crc(head[:2] + chance.randbytes(4)) + tail,
                chance.choice(tables) + tail,
                chance.randbytes(chance.randrange(1, 30)),
            )
        )
        frames.append((chance.choice(directions), data))
    told = decode(family, *frames)
    assert b"".join(each.data for each in told) == b"".join(data for _, data in frames)
    assert sum(bool(each.values) for each in told) > 10
