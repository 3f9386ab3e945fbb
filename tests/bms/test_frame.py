"""Frames: built, and taken out of a byte stream."""

from __future__ import annotations

from hypothesis import example, given, settings
from hypothesis import strategies as st
import pytest

from custom_components.openxpbms.bms.frame import (
    Refusal,
    Reply,
    Request,
    Write,
    crc16,
    find_frames,
    find_reply,
    may_hold_reply,
    with_crc,
)
from custom_components.openxpbms.bms.valence import TERMINATOR, WAKE

from .conftest import reference_crc
from .data import REPLIES, REQUESTS, WAKE_FRAME, CapturedReply, CapturedRequest

addresses = st.integers(1, 255)
registers = st.integers(0, 0xFFFF)
terminators = st.sampled_from([b"", TERMINATOR])


@st.composite
def requests(draw: st.DrawFn, most: int = 125) -> Request:
    """Any read of registers."""
    return Request(
        draw(addresses),
        draw(st.sampled_from([3, 4])),
        draw(registers),
        draw(st.integers(1, most)),
        draw(terminators),
    )


@st.composite
def exchanges(draw: st.DrawFn) -> tuple[Request, bytes]:
    """A request and the frame of one possible reply."""
    request = draw(requests(most=12))
    # Bytes that look like ends and beginnings of frames are likely in the data.
    byte = st.one_of(
        st.sampled_from([*TERMINATOR, *request.shape]), st.integers(0, 255)
    )
    size = request.byte_count
    data = bytes(draw(st.lists(byte, min_size=size, max_size=size)))
    return request, reply_frame(request, data)


def reply_frame(request: Request, data: bytes) -> bytes:
    """Return the frame that a battery sends, with a CRC of our own."""
    body = bytes((request.address, request.function, len(data))) + data
    return body + reference_crc(body) + request.terminator


@st.composite
def junk(draw: st.DrawFn, request: Request, frame: bytes) -> bytes:
    """Bytes such as come before a reply: noise, echoes, pieces of the reply itself."""
    piece = st.one_of(
        st.binary(max_size=6),
        st.just(request.encoded),
        st.just(bytes(request.shape)),
        st.builds(lambda at: frame[:at], st.integers(0, len(frame) - 1)),
        st.builds(lambda at: frame[at:], st.integers(1, len(frame))),
    )
    return b"".join(draw(st.lists(piece, max_size=5)))


def test_crc_of_the_published_vector() -> None:
    assert with_crc(bytes.fromhex("01030000000A")).hex() == "01030000000ac5cd"


@given(st.binary(max_size=80))
def test_crc_agrees_with_its_definition(data: bytes) -> None:
    assert crc16(data).to_bytes(2, "little") == reference_crc(data)


def test_wake_up_is_the_documented_frame() -> None:
    assert WAKE == WAKE_FRAME
    assert with_crc(WAKE[:4]) == WAKE[:6]


@pytest.mark.parametrize("captured", REQUESTS, ids=str)
def test_requests_are_built_as_documented(captured: CapturedRequest) -> None:
    request = Request(
        captured.address, 3, captured.register, captured.count, TERMINATOR
    )
    assert request.encoded == captured.data


@pytest.mark.parametrize("captured", REQUESTS, ids=str)
def test_documented_requests_are_recognised(captured: CapturedRequest) -> None:
    [found] = find_frames(captured.data, TERMINATOR)
    assert found.frame == Request(
        captured.address, 3, captured.register, captured.count, TERMINATOR
    )


@pytest.mark.parametrize("captured", REPLIES, ids=str)
def test_documented_replies_count_only_with_a_good_crc(
    captured: CapturedReply,
) -> None:
    search = find_reply(captured.data, captured.request)
    assert (search.reply is not None) == captured.crc_ok
    assert search.near is not captured.crc_ok
    found = [item.frame for item in find_frames(captured.data, TERMINATOR)]
    assert found == ([search.reply] if captured.crc_ok else [])


@pytest.mark.parametrize("captured", REPLIES, ids=str)
def test_documented_replies_have_the_expected_length(captured: CapturedReply) -> None:
    assert len(captured.data) == captured.request.reply_length


@pytest.mark.parametrize(
    ("function", "count", "byte_count"),
    [(3, 10, 20), (4, 1, 2), (1, 8, 1), (1, 9, 2), (2, 144, 18)],
)
def test_byte_count_of_registers_and_of_coils(
    function: int, count: int, byte_count: int
) -> None:
    request = Request(1, function, 0, count)
    assert request.byte_count == byte_count
    assert request.reply_length == 5 + byte_count


def test_line_ends_inside_data_are_data() -> None:
    # 3338 mV, 2570 mV and 3338 mV again are 0D 0A, 0A 0A and 0D 0A on the wire.
    request = Request(1, 3, 0x48, 3, TERMINATOR)
    data = bytes.fromhex("0D0A0A0A0D0A")
    search = find_reply(reply_frame(request, data), request)
    assert search.reply == Reply(1, 3, data)


@pytest.mark.parametrize(
    ("part", "near"),
    [
        (0, False),  # address
        (1, False),  # function
        (2, False),  # byte count
        (7, True),  # terminator
        (8, True),
        (5, True),  # CRC
        (6, True),
        (3, True),  # data
    ],
)
def test_each_part_of_a_reply_is_checked(part: int, near: bool) -> None:
    request = Request(8, 3, 0x1E, 1, TERMINATOR)
    frame = bytearray(reply_frame(request, b"\x01\x00"))
    frame[part] ^= 0x10
    search = find_reply(frame, request)
    assert search.reply is None
    assert search.near is near


def test_a_bad_frame_before_the_reply_is_told() -> None:
    request = Request(8, 3, 0x1E, 1, TERMINATOR)
    good = reply_frame(request, b"\x01\x00")
    bad = good[:4] + b"\x77" + good[5:]
    search = find_reply(bad + good, request)
    assert search.reply == Reply(8, 3, b"\x01\x00")
    assert search.near
    assert (search.start, search.end) == (len(bad), len(bad + good))


@given(st.data())
def test_a_reply_is_found_in_any_junk(data: st.DataObject) -> None:
    request, frame = data.draw(exchanges())
    before = data.draw(junk(request, frame))
    behind = data.draw(st.binary(max_size=20))
    stream = before + frame + behind
    search = find_reply(stream, request)
    assert search.reply is not None
    assert search.start <= len(before)
    if search.start < len(before):  # the junk itself completed a valid frame
        assert_valid(stream[search.start : search.end], request)
    else:
        assert stream[search.start : search.end] == frame
        assert search.reply.data == frame[3 : 3 + request.byte_count]


def assert_valid(frame: bytes, request: Request) -> None:
    """Check a frame without the code that found it."""
    body, end = frame[: 3 + request.byte_count], frame[3 + request.byte_count :]
    assert body[:3] == bytes((request.address, request.function, request.byte_count))
    assert end == reference_crc(body) + request.terminator


@given(exchanges(), st.data())
def test_an_altered_reply_is_never_accepted(
    exchange: tuple[Request, bytes], data: st.DataObject
) -> None:
    # A CRC of 16 bits finds every change that lies within two neighbouring bytes.
    request, frame = exchange
    at = data.draw(st.integers(0, len(frame) - 1))
    change = data.draw(st.integers(1, 0xFFFF if at + 1 < len(frame) else 0xFF))
    width = 2 if at + 1 < len(frame) else 1
    old = int.from_bytes(frame[at : at + width], "big")
    new = (old ^ change).to_bytes(width, "big")
    altered = frame[:at] + new + frame[at + width :]
    assert find_reply(altered, request).reply is None


@given(exchanges(), st.data())
def test_a_reply_cut_short_is_never_accepted(
    exchange: tuple[Request, bytes], data: st.DataObject
) -> None:
    request, frame = exchange
    first = data.draw(st.integers(0, len(frame) - 1))
    last = data.draw(st.integers(first + 1, len(frame)))
    search = find_reply(frame[:first] + frame[last:], request)
    assert search.reply is None


@given(st.data())
def test_a_growing_buffer_gives_the_reply_with_its_last_byte(
    data: st.DataObject,
) -> None:
    request, frame = data.draw(exchanges())
    before = data.draw(junk(request, frame))
    complete = find_reply(before + frame, request)
    buffer = bytearray()
    for byte in before + frame:
        buffer.append(byte)
        search = find_reply(buffer, request)
        assert (search.reply is not None) == (len(buffer) >= complete.end)
    assert search.reply == complete.reply


@given(requests())
@example(Request(1, 3, 0x0D0A, 0x0A, TERMINATOR))
def test_every_read_is_recognised_as_a_request(request: Request) -> None:
    [found] = find_frames(request.encoded, request.terminator)
    assert found.frame == request


@given(terminators, st.data())
@settings(max_examples=50)
def test_all_frames_between_noise_are_found_in_order(
    terminator: bytes, data: st.DataObject
) -> None:
    # Noise without bytes that can be a function or the refusal of one.
    noise = st.binary(max_size=9).map(lambda raw: bytes(byte | 0xC0 for byte in raw))
    stream, expected = b"", []
    for _ in range(data.draw(st.integers(0, 4))):
        request = data.draw(requests(most=12))
        request = Request(
            request.address, request.function, 0x39, request.count, terminator
        )
        stream += data.draw(noise)
        start = len(stream)
        if data.draw(st.booleans()):
            content = data.draw(
                st.binary(min_size=request.byte_count, max_size=request.byte_count)
            )
            stream += reply_frame(request, content)
            frame: Request | Reply = Reply(request.address, request.function, content)
        else:
            stream += request.encoded
            frame = request
        expected.append((frame, start, len(stream)))
    stream += data.draw(noise)
    found = [(i.frame, i.start, i.end) for i in find_frames(stream, terminator)]
    assert found == expected


@given(st.binary(max_size=300), terminators)
@settings(max_examples=200)
def test_noise_is_never_taken_for_more_than_it_is(
    stream: bytes, terminator: bytes
) -> None:
    at = 0
    for found in find_frames(stream, terminator):
        assert at <= found.start < found.end <= len(stream)
        at = found.end
        frame = stream[found.start : found.end]
        body = frame[: len(frame) - 2 - len(terminator)]
        assert frame == body + reference_crc(body) + terminator


@pytest.mark.parametrize("function", [5, 6])
def test_writes_are_requests_of_a_master(function: int) -> None:
    frame = with_crc(bytes((1, function, 0, 0, 0x10, 0x20)))
    [found] = find_frames(frame, b"")
    assert found.frame == Request(1, function, 0, 0x1020)


@pytest.mark.parametrize(
    ("function", "count"), [(3, 0), (3, 126), (4, 126), (1, 0), (1, 2001)]
)
def test_reads_of_impossible_length_are_no_requests(function: int, count: int) -> None:
    assert not list(find_frames(Request(1, function, 0, count).encoded, b""))


@pytest.mark.parametrize(("function", "count"), [(3, 125), (1, 2000), (2, 126)])
def test_the_longest_reads_are_requests(function: int, count: int) -> None:
    request = Request(1, function, 0, count)
    [found] = find_frames(request.encoded, b"")
    assert found.frame == request


def test_a_reply_without_data_is_no_reply() -> None:
    assert not list(find_frames(with_crc(bytes((1, 3, 0))) + bytes(4), b""))


def test_frames_of_unknown_functions_are_passed_over() -> None:
    unknown = with_crc(bytes((1, 7, 2)))
    known = Request(1, 3, 0, 1)
    [found] = find_frames(unknown + known.encoded, b"")
    assert (found.frame, found.start) == (known, len(unknown))


# Refusals and writes


def refusal_frame(
    address: int, function: int, code: int, terminator: bytes = b""
) -> bytes:
    """Return the frame of a battery that will not do it."""
    body = bytes((address, function | 0x80, code))
    return body + reference_crc(body) + terminator


@given(requests(), st.integers(1, 255), st.data())
def test_a_refusal_is_found_in_any_noise(
    request: Request, code: int, data: st.DataObject
) -> None:
    noise = st.binary(max_size=20).map(lambda raw: bytes(byte | 0xC0 for byte in raw))
    before, behind = data.draw(noise), data.draw(noise)
    frame = refusal_frame(request.address, request.function, code, request.terminator)
    search = find_reply(before + frame + behind, request)
    assert search.reply == Refusal(request.address, request.function, code)
    assert (search.start, search.end) == (len(before), len(before + frame))
    assert not search.near


@given(requests(), st.data())
def test_an_altered_refusal_is_never_accepted(
    request: Request, data: st.DataObject
) -> None:
    frame = refusal_frame(request.address, request.function, 2, request.terminator)
    at = data.draw(st.integers(0, len(frame) - 1))
    altered = bytearray(frame)
    altered[at] ^= data.draw(st.integers(1, 255))
    assert find_reply(altered, request).reply is None
    assert find_reply(frame[:-1], request).reply is None


def test_the_refusal_of_another_question_is_not_taken() -> None:
    request = Request(3, 4, 0x1000, 18)
    for frame in (refusal_frame(3, 1, 2), refusal_frame(4, 4, 2)):
        assert find_reply(frame, request).reply is None


def test_a_reply_counts_more_than_a_refusal() -> None:
    request = Request(3, 4, 0x1000, 1)
    refusal, reply = refusal_frame(3, 4, 2), reply_frame(request, b"ab")
    for stream in (refusal + reply, reply + refusal):
        assert find_reply(stream, request).reply == Reply(3, 4, b"ab")


def test_a_bad_reply_before_a_refusal_is_told() -> None:
    request = Request(3, 4, 0x1000, 1)
    bad = reply_frame(request, b"ab")[:-1] + b"?"
    search = find_reply(bad + refusal_frame(3, 4, 6), request)
    assert search.reply == Refusal(3, 4, 6)
    assert search.near


@pytest.mark.parametrize("terminator", [b"", TERMINATOR])
@pytest.mark.parametrize("function", range(1, 32))
def test_refusals_of_known_functions_are_frames(
    function: int, terminator: bytes
) -> None:
    stream = b"\xff" + refusal_frame(9, function, 2, terminator) + b"\xff"
    frames = [found.frame for found in find_frames(stream, terminator)]
    known = function in (1, 2, 3, 4, 15, 16)
    assert frames == ([Refusal(9, function, 2)] if known else [])


@given(
    addresses,
    st.sampled_from([15, 16]),
    registers,
    st.binary(max_size=246),
    terminators,
)
def test_a_write_and_its_acknowledgement_are_told_apart(
    address: int, function: int, register: int, content: bytes, terminator: bytes
) -> None:
    head = bytes((address, function)) + register.to_bytes(2, "big")
    head += (len(content) // 2).to_bytes(2, "big")
    write = head + bytes((len(content),)) + content
    write += reference_crc(write) + terminator
    acknowledgement = head + reference_crc(head) + terminator
    [found, answer] = find_frames(write + acknowledgement, terminator)
    assert found.frame == Write(address, function, register, content)
    assert answer.frame == Reply(address, function, head[2:])
    assert (found.start, answer.start) == (0, len(write))
    for cut in range(len(write)):
        for part in find_frames(write[:cut], terminator):
            assert not isinstance(part.frame, Write)


@given(requests(), st.data())
def test_a_search_is_worth_it_when_a_reply_could_be_whole(
    request: Request, data: st.DataObject
) -> None:
    content = data.draw(
        st.binary(min_size=request.byte_count, max_size=request.byte_count)
    )
    reply = request.head + content
    reply += reference_crc(reply) + request.terminator
    before = data.draw(st.binary(max_size=20))
    for cut in range(len(before + reply) + 1):
        buffer = (before + reply)[:cut]
        if find_reply(buffer, request).reply:
            assert may_hold_reply(buffer, request)
    refusal = bytes((request.address, request.function | 0x80, 2))
    refusal += reference_crc(refusal) + request.terminator
    assert may_hold_reply(before + refusal, request)
    assert not may_hold_reply(request.head, request)
