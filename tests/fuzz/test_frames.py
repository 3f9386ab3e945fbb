"""Frames in any stream: those that were sent whole, and no others."""

from __future__ import annotations

import random

from hypothesis import strategies as st

from custom_components.openxpbms.bms.frame import (
    Reply,
    Request,
    WriteRequest,
    find_frames,
    find_reply,
    may_hold_reply,
)

from .inputs import examine, fuzz
from .streams import (
    ADDRESSES,
    BROKEN,
    CRLF,
    REGISTERS,
    SIZES,
    WHOLE,
    Stream,
    apart,
    crc,
    frame,
    framed,
    is_frame,
    places,
    stream,
    structures,
)

PARSER = "frames"


def check_frames(data: Stream, terminator: bytes) -> None:
    """Find all frames, and look at each by other means."""
    sent = {whole.place: whole.frame for whole in data.sent}
    valid = places(data.data, terminator)
    assert sent.keys() <= set(valid)
    found = {(i.start, i.end): i.frame for i in find_frames(data.data, terminator)}
    assert list(found) == sorted(found)
    assert apart(list(found))
    # Noise may hold a valid frame: one in 65536 does.
    assert set(found) <= set(valid)
    if apart(valid):
        assert list(found) == valid
    for place in sent.keys() & found.keys():
        assert found[place] == sent[place]


def test_frames_are_those_that_were_sent_whole() -> None:
    def check(chance: random.Random, drawn: tuple[bytes, list[str]]) -> None:
        terminator, kinds = drawn
        check_frames(stream(chance, terminator, kinds), terminator)

    fuzz(PARSER, check, structures, share=0.45)


def test_nothing_but_bytes() -> None:
    def check(chance: random.Random, terminator: bytes) -> None:
        check_frames(Stream(chance.randbytes(chance.randint(0, 60))), terminator)

    fuzz(PARSER, check, st.sampled_from((b"", CRLF)), share=0.1)


def test_bytes_that_hypothesis_draws() -> None:
    # Functions, lengths, and line ends are likely.
    byte = st.one_of(st.sampled_from((*range(1, 17), 0x83, 0x84, 13, 10)), st.binary())
    text = st.lists(byte, max_size=60).map(
        lambda some: b"".join(b if isinstance(b, bytes) else bytes((b,)) for b in some)
    )
    examine(
        PARSER,
        lambda drawn: check_frames(Stream(drawn[0]), drawn[1]),
        st.tuples(text, st.sampled_from((b"", CRLF))),
    )


def question(chance: random.Random, terminator: bytes) -> Request | WriteRequest:
    """Return a question that replies in these streams may answer."""
    address, register = chance.choice(ADDRESSES), chance.choice(REGISTERS)
    if not terminator and chance.random() < 0.2:
        return WriteRequest(address, register, chance.randrange(0x10000))
    function = chance.choice((1, 3, 4))
    size = chance.choice(SIZES[:-1])
    count = 8 * size if function == 1 else max(1, size // 2)
    return Request(address, function, register, count, terminator)


def answer(asked: Request | WriteRequest, chance: random.Random) -> bytes:
    """Return what a battery answers."""
    head = bytes((asked.address, asked.function))
    if isinstance(asked, WriteRequest):
        return framed(head + asked.register.to_bytes(2, "big") + b"\0\1", b"")
    if asked.function == 1:
        data = chance.randbytes((asked.count + 7) // 8)
    else:
        data = chance.randbytes(2 * asked.count)
    return framed(head + bytes((len(data),)) + data, asked.terminator)


def check_reply(
    data: bytes, asked: Request | WriteRequest, whole: tuple[int, int] | None, cut: int
) -> None:
    """Find a reply, in a part of the stream first.

    `whole` is where one stands for certain.
    """
    found = find_reply(data, asked)
    if found.reply is not None:
        told = data[found.start : found.end]
        assert is_frame(told, asked.terminator)
        assert may_hold_reply(bytearray(data), asked)
        if isinstance(found.reply, Reply):
            assert told[: len(asked.head)] == asked.head
            assert len(told) == asked.reply_length
            assert found.reply.data in told
        else:
            assert told[:2] == bytes((asked.address, asked.function | 0x80))
    if whole:
        assert isinstance(found.reply, Reply)
        assert (found.start, found.end) <= whole
    # It is there with its last byte, and is the same whatever comes behind.
    before = find_reply(data[:cut], asked)
    if isinstance(before.reply, Reply):
        assert (before.start, before.end) == (found.start, found.end)
        assert before.reply == found.reply
        assert before.near is found.near
    elif isinstance(found.reply, Reply):
        assert cut < found.end


def test_a_reply_is_the_one_that_was_sent() -> None:
    def check(chance: random.Random, drawn: tuple[bytes, list[str]]) -> None:
        terminator, kinds = drawn
        asked = question(chance, terminator)
        around = stream(chance, terminator, kinds).data
        reply = answer(asked, chance)
        whole = None
        if (what := chance.random()) < 0.5:
            place = chance.choice((0, len(around)))
            data = around[:place] + reply + around[place:]
            whole = place, place + len(reply)
        elif what < 0.8:  # nearly right
            bit = chance.randrange(8 * len(reply))
            near = bytearray(reply)
            near[bit // 8] ^= 1 << bit % 8
            data = asked.encoded + bytes(near) + around
        else:
            data = around
        check_reply(data, asked, whole, chance.randint(0, len(data)))

    fuzz(PARSER, check, structures, share=0.4)


def test_a_reply_in_pieces_that_hypothesis_draws() -> None:
    def check(drawn: tuple[random.Random, bytes, list[str], list[int]]) -> None:
        chance, terminator, kinds, cuts = drawn
        asked = question(chance, terminator)
        reply = answer(asked, chance)
        for cut in sorted({min(cut, len(reply)) for cut in cuts}):
            noise = b"".join(stream(chance, terminator, kinds).data for _ in kinds[:1])
            data = reply[:cut] + reply + noise
            check_reply(data, asked, (cut, cut + len(reply)), chance.randint(0, 300))

    examine(
        PARSER,
        check,
        st.tuples(
            st.randoms(use_true_random=False),
            st.sampled_from((b"", CRLF)),
            st.lists(st.sampled_from(BROKEN), max_size=2),
            st.lists(st.integers(0, 260), max_size=5),
        ),
    )


def test_what_is_sent_is_what_the_protocol_says() -> None:
    def check(chance: random.Random, _: None) -> None:
        asked = question(chance, chance.choice((b"", CRLF)))
        register = asked.register.to_bytes(2, "big")
        head = bytes((asked.address, asked.function)) + register
        if isinstance(asked, WriteRequest):
            body = head + b"\0\1\2" + asked.word.to_bytes(2, "big")
        else:
            body = head + asked.count.to_bytes(2, "big")
        assert asked.encoded == body + crc(body) + asked.terminator
        [found] = find_frames(asked.encoded, asked.terminator)
        assert found.frame == asked.echo

    fuzz(PARSER, check, share=0.05)


def test_the_oracle_knows_frames() -> None:
    chance = random.Random(1)
    for kind in WHOLE:
        for terminator in (b"", CRLF):
            whole = frame(kind, chance, terminator).data
            assert is_frame(whole, terminator)
            assert not is_frame(whole[:-1], terminator)
            assert not is_frame(whole + b"\0", terminator)
            for bit in range(8 * len(whole)):
                changed = bytearray(whole)
                changed[bit // 8] ^= 1 << bit % 8
                assert not is_frame(bytes(changed), terminator)
