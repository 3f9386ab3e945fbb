"""Serial numbers replaced by pseudonyms, also in frames."""

from __future__ import annotations

from hypothesis import example, given
from hypothesis import strategies as st
import pytest

from custom_components.openxpbms.bms.counters import Direction, TracedFrame
from custom_components.openxpbms.bms.disguise import Disguise
from custom_components.openxpbms.bms.frame import find_frames, find_reply, with_crc
from custom_components.openxpbms.bms.reading import Identity
from custom_components.openxpbms.bms.registers import Block, decode
from custom_components.openxpbms.bms.valence import (
    FIELDS,
    SUMMARY,
    TERMINATOR,
    VOLTAGES,
    WAKE,
    request,
    serial_number,
)

from .data import reply

DISGUISE = Disguise("entry")
SERIAL = "104400461"
B = reply("B*").data


def identity(address: int, serial: str | None, revision: int = 2) -> Identity:
    """Return a battery with this serial number."""
    return Identity(
        address=address,
        serial=serial,
        model="U27-12XP",
        model_code="7",
        revision=revision,
        cells=4,
    )


def traced(data: bytes, direction: Direction = "received") -> TracedFrame:
    """Return bytes that went over the wire."""
    return TracedFrame(1.5, direction, data, "115200 8M1")


def summary(address: int, words: bytes) -> bytes:
    """Return the frame of a summary whose first words are the serial number's."""
    return with_crc(bytes((address, 3, 20)) + words + B[7:23]) + TERMINATOR


def serial_in(data: bytes, address: int, revision: int) -> str | None:
    """Return the serial number that a summary tells."""
    search = find_reply(data, request(address, SUMMARY))
    assert search.reply is not None
    words = decode(FIELDS, SUMMARY, search.reply.data)["serial"]
    assert isinstance(words, tuple)
    return serial_number((int(words[0]), int(words[1])), revision)


revision_1 = st.integers(1, 0xFFFE).map(lambda number: f"{number:05d}")
revision_2 = st.builds(
    lambda year, week, unit: f"{year:02d}{week:02d}{unit:05d}",
    st.integers(0, 63),
    st.integers(0, 63),
    st.integers(1, 0xFFFF),
)
serials = st.one_of(
    st.tuples(revision_1, st.just(1)), st.tuples(revision_2, st.just(2))
)


def words_of(serial: str, revision: int) -> bytes:
    """Return registers 0x39 and 0x3A of a module with this serial number."""
    if revision == 1:
        return int(serial).to_bytes(2, "big") + b"\x12\x34"
    first = int(serial[:2]) * 64 + int(serial[2:4])
    return first.to_bytes(2, "big") + int(serial[4:]).to_bytes(2, "big")


@given(serials)
def test_a_pseudonym_looks_like_a_serial_number_and_lasts(
    known: tuple[str, int],
) -> None:
    serial, revision = known
    hidden = DISGUISE.serial(serial, revision)
    assert len(hidden) == len(serial)
    assert hidden.isdecimal()
    assert Disguise("entry").serial(serial, revision) == hidden


def test_a_pseudonym_depends_on_the_key() -> None:
    hidden = {Disguise(key).serial(SERIAL, 2) for key in ("a", "b", SERIAL)}
    assert len(hidden - {SERIAL}) == 3


@given(revision_2, revision_2)
@example("104400461", "104500461")
@example("104400461", "114400461")
def test_two_serial_numbers_have_two_pseudonyms(one: str, other: str) -> None:
    same = DISGUISE.serial(one, 2) == DISGUISE.serial(other, 2)
    assert same is (one == other)


@pytest.mark.parametrize("revision", [1, 2])
def test_pseudonyms_of_a_large_bank_differ(revision: int) -> None:
    start = 20101 if revision == 1 else 104410461
    serials = [str(start + number) for number in range(55)]
    assert len({DISGUISE.serial(serial, revision) for serial in serials}) == 55


@given(serials, st.integers(1, 255), st.binary(min_size=16, max_size=16))
def test_a_summary_tells_the_pseudonym_and_can_be_replayed(
    known: tuple[str, int], address: int, rest: bytes
) -> None:
    serial, revision = known
    body = bytes((address, 3, 20)) + words_of(serial, revision) + rest
    frame = with_crc(body) + TERMINATOR
    [hidden] = DISGUISE.frames([traced(frame)], [identity(address, serial, revision)])
    assert len(hidden.data) == len(frame)
    assert hidden.data[7:23] == rest
    assert revision == 1 or hidden.data[3] < 0x10  # the unused bits
    assert serial_in(hidden.data, address, revision) == DISGUISE.serial(
        serial, revision
    )


@given(serials)
def test_disguising_twice_is_as_good_as_disguising_the_pseudonym(
    known: tuple[str, int],
) -> None:
    serial, revision = known
    once = DISGUISE.serial(serial, revision)
    frame = traced(summary(1, words_of(serial, revision)))
    for name in (serial, once):
        [frame] = DISGUISE.frames([frame], [identity(1, name, revision)])
    assert serial_in(frame.data, 1, revision) == DISGUISE.serial(once, revision)


def test_unused_bits_of_a_serial_number_make_no_second_pseudonym() -> None:
    hidden = [
        serial_in(frame.data, 1, 2)
        for frame in DISGUISE.frames(
            [
                traced(summary(1, bytes.fromhex(words)))
                for words in ("02AC01CD", "F2AC01CD")
            ],
            [identity(1, SERIAL)],
        )
    ]
    assert hidden == [DISGUISE.serial(SERIAL, 2)] * 2


@pytest.mark.parametrize("words", ["00000000", "FFFFFFFF"])
def test_a_blank_serial_number_stays_blank(words: str) -> None:
    frame = traced(summary(1, bytes.fromhex(words)))
    assert DISGUISE.frames([frame], [identity(1, None)]) == [frame]
    assert DISGUISE.serial("000000000", 2) == "000000000"


def test_an_unknown_address_is_disguised_as_revision_2() -> None:
    [hidden] = DISGUISE.frames([traced(summary(9, bytes.fromhex("02AC01CD")))], [])
    assert serial_in(hidden.data, 9, 2) == DISGUISE.serial(SERIAL, 2)


@pytest.mark.parametrize(
    "data",
    [
        WAKE,
        request(1, SUMMARY).encoded,
        reply("A*").data,
        reply("C'").data,
    ],
)
def test_frames_without_a_serial_number_stay_as_they_are(data: bytes) -> None:
    directions: tuple[Direction, ...] = ("sent", "received")
    for direction in directions:
        frame = traced(data, direction)
        assert DISGUISE.frames([frame], [identity(1, SERIAL)]) == [frame]


def test_a_valid_frame_is_not_altered_by_chance() -> None:
    # 03279 in 0x39 of revision 1 is also the 3.279 V of a cell.
    frame = traced(reply("A*").data, "stray")
    assert DISGUISE.frames([frame], [identity(1, "03279", 1)]) == [frame]


@pytest.mark.parametrize(("serial", "revision"), [(SERIAL, 2), ("20101", 1)])
def test_a_broken_summary_among_noise_is_disguised_too(
    serial: str, revision: int
) -> None:
    words = words_of(serial, revision)[: 2 * revision]
    broken = summary(1, words.ljust(4, b"\x55"))[:-3]
    late = summary(1, words.ljust(4, b"\x55"))
    stray = traced(b"\x42" + broken + late + b"\x42", "stray")
    [hidden] = DISGUISE.frames(
        [stray], [identity(2, None), identity(1, serial, revision)]
    )
    assert len(hidden.data) == len(stray.data)
    assert words not in hidden.data
    assert serial_in(hidden.data, 1, revision) == DISGUISE.serial(serial, revision)


def test_a_serial_number_across_two_pieces_is_disguised_too() -> None:
    whole = summary(1, bytes.fromhex("02AC01CD"))
    pieces = [
        traced(request(1, SUMMARY).encoded, "sent"),
        traced(whole[:5], "stray"),
        traced(whole[5:8], "stray"),
        traced(whole[8:], "stray"),
        traced(whole, "received"),
    ]
    hidden = DISGUISE.frames(pieces, [identity(1, SERIAL)])
    assert [frame.direction for frame in hidden] == ["sent", "stray", "received"]
    assert hidden[1].data == hidden[2].data != whole


def test_a_whole_session_replays() -> None:
    frames = [
        traced(WAKE, "sent"),
        traced(request(1, SUMMARY).encoded, "sent"),
        traced(B),
        traced(request(1, VOLTAGES).encoded, "sent"),
        traced(reply("A*").data),
    ]
    hidden = DISGUISE.frames(frames, [identity(1, SERIAL)])
    assert [f.time for f in hidden] == [f.time for f in frames]
    assert hidden[0].data == WAKE
    for before, after in zip(frames[1:], hidden[1:], strict=True):
        [was], [became] = (find_frames(f.data, TERMINATOR) for f in (before, after))
        assert was.frame.shape == became.frame.shape


def test_an_empty_trace_stays_empty() -> None:
    assert DISGUISE.frames([], []) == []


def test_only_the_serial_number_of_a_summary_changes() -> None:
    [hidden] = DISGUISE.frames([traced(B)], [identity(1, SERIAL)])
    before, after = (
        decode(FIELDS, Block(0x3B, 8), data[7:23]) for data in (B, hidden.data)
    )
    assert before == after
