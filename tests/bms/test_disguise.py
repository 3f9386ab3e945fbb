"""Serial numbers replaced by pseudonyms, also in frames."""

from __future__ import annotations

import re

from hypothesis import example, given
from hypothesis import strategies as st
import pytest

from custom_components.openxpbms.bms.counters import Direction, TracedFrame
from custom_components.openxpbms.bms.disguise import Disguise
from custom_components.openxpbms.bms.frame import (
    Reply,
    Write,
    find_frames,
    find_reply,
    with_crc,
)
from custom_components.openxpbms.bms.reading import Identity
from custom_components.openxpbms.bms.registers import Block, decode
from custom_components.openxpbms.bms.seplos_tables import VIA, decode_table
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
from .seplos_data import CAPTURED, Captured, those

DISGUISE = Disguise("entry", "valence")
SERIAL = "104400461"
B = reply("B*").data


def identity(address: int, serial: str | None, revision: int | None = 2) -> Identity:
    """Return a battery with this serial number."""
    return Identity(
        address=address,
        serial=serial,
        model="U27-12XP",
        model_code="7",
        revision=revision,
        cells=4,
    )


def pseudonym(serial: str, revision: int = 2) -> str:
    """Return the pseudonym of a Valence serial number."""
    hidden = DISGUISE.serial(identity(1, serial, revision))
    assert hidden is not None
    return hidden


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
    hidden = pseudonym(serial, revision)
    assert len(hidden) == len(serial)
    assert hidden.isdecimal()
    again = Disguise("entry", "valence").serial(identity(9, serial, revision))
    assert again == hidden


def test_a_pseudonym_depends_on_the_key() -> None:
    who = identity(1, SERIAL)
    hidden = {Disguise(key, "valence").serial(who) for key in ("a", "b", SERIAL)}
    assert len(hidden - {SERIAL}) == 3


@given(revision_2, revision_2)
@example("104400461", "104500461")
@example("104400461", "114400461")
def test_two_serial_numbers_have_two_pseudonyms(one: str, other: str) -> None:
    same = pseudonym(one) == pseudonym(other)
    assert same is (one == other)


@pytest.mark.parametrize("revision", [1, 2])
def test_pseudonyms_of_a_large_bank_differ(revision: int) -> None:
    start = 20101 if revision == 1 else 104410461
    serials = [str(start + number) for number in range(55)]
    assert len({pseudonym(serial, revision) for serial in serials}) == 55


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
    assert serial_in(hidden.data, address, revision) == pseudonym(serial, revision)


@given(serials)
def test_disguising_twice_is_as_good_as_disguising_the_pseudonym(
    known: tuple[str, int],
) -> None:
    serial, revision = known
    once = pseudonym(serial, revision)
    frame = traced(summary(1, words_of(serial, revision)))
    for name in (serial, once):
        [frame] = DISGUISE.frames([frame], [identity(1, name, revision)])
    assert serial_in(frame.data, 1, revision) == pseudonym(once, revision)


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
    assert hidden == [pseudonym(SERIAL)] * 2


@pytest.mark.parametrize("words", ["00000000", "FFFFFFFF"])
def test_a_blank_serial_number_stays_blank(words: str) -> None:
    frame = traced(summary(1, bytes.fromhex(words)))
    assert DISGUISE.frames([frame], [identity(1, None)]) == [frame]
    assert pseudonym("000000000") == "000000000"
    assert DISGUISE.serial(identity(1, None)) is None


@pytest.mark.parametrize("known", [[], [identity(9, SERIAL, None)]])
def test_a_module_of_unknown_revision_is_disguised_as_revision_2(
    known: list[Identity],
) -> None:
    whole = summary(9, bytes.fromhex("02AC01CD"))
    [hidden] = DISGUISE.frames([traced(whole)], known)
    assert serial_in(hidden.data, 9, 2) == pseudonym(SERIAL)
    [broken] = DISGUISE.frames([traced(whole[:-3])], known)
    assert (broken.data == hidden.data[: len(whole) - 5] + whole[-5:-3]) is bool(known)
    assert DISGUISE.serial(identity(9, SERIAL, None)) == pseudonym(SERIAL)


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
    assert serial_in(hidden.data, 1, revision) == pseudonym(serial, revision)


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
    assert [f.direction for f in hidden] == [f.direction for f in pieces]
    assert [len(f.data) for f in hidden] == [len(f.data) for f in pieces]
    assert b"".join(f.data for f in hidden[1:4]) == hidden[4].data != whole


def test_a_serial_number_that_lost_a_byte_is_disguised_too() -> None:
    words = bytes.fromhex("02AC01CD")
    # What follows looks like the lost byte, and so does what stands before.
    for lost in (summary(1, words)[:6], b"\x02" + words[1:]):
        next_one = summary(0xCD, words)
        heard = traced(lost + next_one + words[1:] + lost, "stray")
        [hidden] = DISGUISE.frames([heard], [identity(1, SERIAL)])
        assert words not in hidden.data
        assert len(hidden.data) == len(heard.data)
    [hidden] = DISGUISE.frames(
        [traced(words[1:] + b"\xff", "stray")], [identity(1, SERIAL)]
    )
    assert words[1:] not in hidden.data


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


# Seplos

SEPLOS = Disguise("entry", "seplos")
VIAS = [item for item in those("VIA") if item.kind == "reply"]


def pack(serial: str | None, address: int = 0) -> Identity:
    """Return a pack with this serial number."""
    return Identity(address=address, serial=serial, model="Seplos V3", model_code="")


def hidden_name(serial: str) -> str:
    """Return the pseudonym of a pack's serial number."""
    hidden = SEPLOS.serial(pack(serial))
    assert hidden is not None
    return hidden


def via(
    serial: str, pack_serial: str = "", address: int = 0, rest: bytes = b""
) -> bytes:
    """Return the frame of a pack that tells these serial numbers."""
    texts = serial.encode() + b"\0" + rest, pack_serial.encode()
    data = b"XZH-ElecTech Co.,Ltd" + b"BMS16S200A-SP05B".ljust(20, b"\0") + b"13"
    data += b"".join(text.ljust(30, b"\0")[:30] for text in texts)
    return with_crc(bytes((address, 4, 102)) + data)


def texts_in(data: bytes) -> dict[str, object]:
    """Return what a reply to VIA tells."""
    [found] = find_frames(data, b"")
    assert isinstance(found.frame, Reply)
    return decode_table(VIA, found.frame.data)


packs = st.from_regex(r"[A-Z]{2}[0-9]{2}[A-Z](-[A-Z])?[0-9]{8,13}", fullmatch=True)


def kind(character: str) -> str:
    """Return whether it is a letter, a digit or what else."""
    for sign, test in (("0", str.isdigit), ("A", str.isupper), ("a", str.islower)):
        if test(character):
            return sign
    return character


@given(st.from_regex(r"[A-Za-z0-9 ._-]{1,30}", fullmatch=True))
@example("SP05B2311260063")
@example("SP57B-A2506120022")
def test_a_pseudonym_is_spelt_like_the_serial_number(serial: str) -> None:
    hidden = hidden_name(serial)
    assert list(map(kind, hidden)) == list(map(kind, serial))
    assert Disguise("entry", "seplos").serial(pack(serial, 7)) == hidden


def test_pseudonyms_of_packs_depend_on_the_serial_number_and_the_key() -> None:
    serials = [f"SP05B23112600{number:02}" for number in range(50)]
    assert len({hidden_name(serial) for serial in serials} | set(serials)) == 100
    keys = ("entry", "other", "SP05B2311260063")
    assert len({Disguise(k, "seplos").serial(pack(serials[0])) for k in keys}) == 3
    assert SEPLOS.serial(pack(None)) is None


@pytest.mark.parametrize("item", VIAS, ids=str)
def test_a_captured_serial_number_is_hidden_and_nothing_else(item: Captured) -> None:
    serial = item.values["bms_sn"]
    for known in ([], [pack(serial)]):
        [hidden] = SEPLOS.frames([traced(item.data)], known)
        before, after = texts_in(item.data), texts_in(hidden.data)
        assert after == before | {"serial": hidden_name(serial)}
        assert serial.encode() not in hidden.data


@given(packs, packs, st.integers(0, 16))
def test_both_serial_numbers_of_a_pack_are_hidden(
    serial: str, other: str, address: int
) -> None:
    for known in ([], [pack(serial, address)], [pack(other, address)]):
        [hidden] = SEPLOS.frames([traced(via(serial, other, address))], known)
        told = texts_in(hidden.data)
        assert told["serial"] == hidden_name(serial)
        assert told["pack_serial"] == hidden_name(other)
        assert told["device"] == "BMS16S200A-SP05B"
        assert hidden.data[0] == address


def test_a_stray_byte_in_a_serial_number_makes_no_second_pseudonym() -> None:
    # A captured pack has 0x02 behind its number.
    frame = via("SP05B2311260061\x02")
    [hidden] = SEPLOS.frames([traced(frame)], [])
    assert texts_in(hidden.data)["serial"] == hidden_name("SP05B2311260061")
    assert b"SP05B" not in hidden.data[44:]


def test_what_stands_behind_a_serial_number_is_hidden_too() -> None:
    frame = via("SP05B", rest=b"2311260061")
    [hidden] = SEPLOS.frames([traced(frame)], [])
    assert len(hidden.data) == len(frame)
    assert texts_in(hidden.data)["serial"] == hidden_name("SP05B")
    assert b"2311260061" not in hidden.data


@given(packs, st.data())
def test_a_known_serial_number_is_hidden_in_broken_bytes(
    serial: str, data: st.DataObject
) -> None:
    whole = via(serial)
    cut = data.draw(st.integers(1, len(whole) - 1))
    hidden = SEPLOS.frames([traced(whole[:cut])], [pack(None), pack(serial)])
    hidden += SEPLOS.frames([traced(whole[cut:])], [pack(serial)])
    assert [len(frame.data) for frame in hidden] == [cut, len(whole) - cut]
    digits = re.findall(rb"[0-9]{5,}", serial.encode())[-1]
    for frame in hidden:
        for at in range(len(digits) - 4):
            assert (
                digits[at : at + 5] not in frame.data
                or digits[at : at + 5] in hidden_name(serial).encode()
            )
    if not 45 < cut < 75:
        assert hidden_name(serial).encode() in b"".join(f.data for f in hidden)


@pytest.mark.parametrize("known", [True, False])
def test_a_serial_number_with_a_wrong_character_is_hidden(known: bool) -> None:
    whole = bytearray(via("SP05B2311260063"))
    whole[whole.index(b"B2311")] ^= 0xC0
    [hidden] = SEPLOS.frames(
        [traced(bytes(whole), "stray")], [pack("SP05B2311260063")] if known else []
    )
    assert len(hidden.data) == len(whole)
    assert b"2311260063" not in hidden.data
    expected = hidden_name("SP05B2311260063").encode()[-10:]
    assert (expected in hidden.data) is known
    # The rest is as it was.
    assert hidden.data[:45] == whole[:45]
    assert hidden.data[60:] == whole[60:]


def test_a_serial_number_in_any_valid_frame_is_hidden() -> None:
    serial = "SP05B2311260063"
    part = with_crc(bytes((0, 4, 30)) + serial.encode().ljust(30, b"\0"))
    [hidden] = SEPLOS.frames([traced(part, "stray")], [pack(serial)])
    [found] = find_frames(hidden.data, b"")
    assert isinstance(found.frame, Reply)
    assert found.frame.data.rstrip(b"\0") == hidden_name(serial).encode()


@pytest.mark.parametrize("first", [0x1714, 0x1715, 0x1716, 0x1724])
def test_a_serial_number_that_somebody_writes_is_hidden(first: int) -> None:
    serial = b"SP05B2311260063"
    at = max(0, 2 * (0x1715 - first))
    data = (b"\0" * at + serial).ljust(32, b"\0")
    head = bytes((0, 16, *first.to_bytes(2, "big"), 0, 16, 32))
    [hidden] = SEPLOS.frames([traced(with_crc(head + data), "stray")], [])
    [found] = find_frames(hidden.data, b"")
    assert isinstance(found.frame, Write)
    assert found.frame.register == first
    assert found.frame.data == b"\0" * at + hidden_name(serial.decode()).encode().ljust(
        32 - at, b"\0"
    )


@pytest.mark.parametrize("item", CAPTURED, ids=str)
def test_captured_frames_without_a_serial_number_stay_as_they_are(
    item: Captured,
) -> None:
    if item.table != "VIA" or item.kind == "request":
        frame = traced(item.data, "stray")
        known = [pack("SP05B2311260063"), pack("A1"), pack("")]
        assert SEPLOS.frames([frame], known) == [frame]


def test_a_short_serial_number_spoils_no_frame() -> None:
    # Two letters may stand anywhere by chance.
    [item] = [item for item in VIAS if item.values["bms_sn"] == "SP57B-A2506120022"]
    [hidden] = SEPLOS.frames([traced(item.data)], [pack("SG"), pack("5")])
    assert texts_in(hidden.data)["device"] == "SG16S200A-SP57B-A"


def test_a_serial_number_of_a_pack_across_two_pieces_is_hidden() -> None:
    whole = via("SP05B2311260063")
    pieces = [
        TracedFrame(time, "stray", part, "19200 8N1")
        for time, part in ((1.5, whole[:50]), (1.75, whole[50:]))
    ]
    hidden = SEPLOS.frames(pieces, [])
    assert [frame.time for frame in hidden] == [1.5, 1.75]
    data = b"".join(frame.data for frame in hidden)
    assert texts_in(data)["serial"] == hidden_name("SP05B2311260063")


def test_what_was_sent_to_packs_stays_as_it_was() -> None:
    sent = traced(VIA.request(0).encoded, "sent")
    assert SEPLOS.frames([sent], [pack("SP05B2311260063")]) == [sent]
