"""Streams of which it is known what is in them: frames, what is left of some, noise.

Frames are written down and checked here once more, by the protocols and not by
bms/frame.py, so that nothing is judged by itself.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import pairwise
import random

from hypothesis import strategies as st

from custom_components.openxpbms.bms.frame import (
    Frame,
    Refusal,
    Reply,
    Request,
    Write,
)

CRLF = b"\r\n"
# Few, so that frames have much in common.
ADDRESSES = (0, 1, 2, 16, 200)
REGISTERS = (0x1000, 0x1100, 0x1200, 0x1300, 0x1700, 0x39, 0x45, 0x0D0A)
# Data bytes of replies: those of both families' blocks, and others. Three would make a
# reply look like a request.
SIZES = (1, 2, 4, 8, 10, 14, 18, 20, 24, 34, 36, 36, 52, 52, 102, 255)

WHOLE = ("request", "write_one", "reply", "refusal", "write", "acknowledgement")
BROKEN = (
    *("cut", "bit", "crc", "swapped", "length", "length_with_crc", "merged"),
    *("noise", "zeros", "line_end", "another_end"),
)
kinds = st.lists(st.sampled_from((*WHOLE, *BROKEN)), min_size=1, max_size=6)
structures = st.tuples(st.sampled_from((b"", CRLF)), kinds)


def _entry(byte: int) -> int:
    for _ in range(8):
        byte = byte >> 1 ^ 0xA001 if byte & 1 else byte >> 1
    return byte


_BY_BYTE = [_entry(byte) for byte in range(256)]


def crc(data: bytes) -> bytes:
    """Return the CRC of Modbus, low byte first."""
    value = 0xFFFF
    for byte in data:
        value = value >> 8 ^ _BY_BYTE[(value ^ byte) & 0xFF]
    return bytes((value & 0xFF, value >> 8))


@dataclass(frozen=True, slots=True)
class Sent:
    """A frame that was sent whole: its bytes, what it is, where it stands."""

    data: bytes
    frame: Frame
    start: int = 0

    @property
    def place(self) -> tuple[int, int]:
        """Where it begins and ends."""
        return self.start, self.start + len(self.data)


@dataclass(slots=True)
class Stream:
    """All bytes, and the whole frames in them."""

    data: bytes = b""
    sent: list[Sent] = field(default_factory=list)


def framed(body: bytes, terminator: bytes) -> bytes:
    """Return a body with what stands behind it."""
    return body + crc(body) + terminator


def frame(kind: str, chance: random.Random, terminator: bytes) -> Sent:
    """Return any frame of a kind."""
    address, register = chance.choice(ADDRESSES), chance.choice(REGISTERS)
    where = register.to_bytes(2, "big")
    function = chance.choice((1, 2, 3, 4))
    what: Frame
    match kind:
        case "request":
            count = chance.randint(1, 2000 if function < 3 else 125)
            rest = where + count.to_bytes(2, "big")
            what = Request(address, function, register, count, terminator)
        case "write_one":
            function, word = chance.choice((5, 6)), chance.randrange(0x10000)
            rest = where + word.to_bytes(2, "big")
            what = Request(address, function, register, word, terminator)
        case "reply":
            data = chance.randbytes(chance.choice(SIZES))
            rest = bytes((len(data),)) + data
            what = Reply(address, function, data)
        case "refusal":
            function, code = chance.choice((1, 2, 3, 4, 15, 16)), chance.randrange(256)
            rest = bytes((code,))
            what = Refusal(address, function, code)
            function |= 0x80
        case "write":
            function = chance.choice((15, 16))
            data = chance.randbytes(2 * chance.randint(1, 20))
            count = len(data) // 2 if function == 16 else 8 * len(data)
            rest = where + count.to_bytes(2, "big") + bytes((len(data),)) + data
            what = Write(address, function, register, data)
        case _:
            function = chance.choice((15, 16))
            rest = where + chance.randint(1, 99).to_bytes(2, "big")
            what = Reply(address, function, rest)
    return Sent(framed(bytes((address, function)) + rest, terminator), what)


def broken(kind: str, chance: random.Random, terminator: bytes) -> bytes:
    """Return something that is nearly a frame, or no frame at all."""
    if kind == "noise":
        return chance.randbytes(chance.randint(1, 40))
    if kind == "zeros":
        return bytes(chance.randint(1, 12))
    if kind == "line_end":
        return chance.choice((b"\r", b"\n", CRLF, CRLF + CRLF))
    some = frame(chance.choice(WHOLE), chance, terminator).data
    end = len(some) - len(terminator)
    body = some[: end - 2]
    match kind:
        case "cut":
            first = chance.randrange(len(some))
            if chance.random() < 0.5:
                return some[:first]
            return some[:first] + some[first + 1 + chance.randrange(len(some)) :]
        case "bit":
            return _flipped(some, chance.randrange(8 * len(some)))
        case "crc":
            return _flipped(some, 8 * (end - 2) + chance.randrange(16))
        case "swapped":
            return body + some[end - 2 : end][::-1] + terminator
        case "length" | "length_with_crc":
            wrong = bytes((body[2] + chance.choice((-1, 1)) & 0xFF,))
            other = body[:2] + wrong + body[3:]
            if kind == "length":
                return other + some[end - 2 :]
            return framed(other, terminator)
        case "merged":
            other = frame(chance.choice(WHOLE), chance, terminator).data
            overlap = chance.randint(1, min(len(some), len(other)))
            return some[:-overlap] + other
    return body + crc(body) + (CRLF if not terminator else chance.choice((b"", b"\n")))


def _flipped(data: bytes, bit: int) -> bytes:
    changed = bytearray(data)
    changed[bit // 8] ^= 1 << bit % 8
    return bytes(changed)


def stream(chance: random.Random, terminator: bytes, kinds: list[str]) -> Stream:
    """Return a stream of pieces of these kinds."""
    made, data = Stream(), bytearray()
    for kind in kinds:
        if kind in WHOLE:
            whole = frame(kind, chance, terminator)
            made.sent.append(Sent(whole.data, whole.frame, len(data)))
            data += whole.data
        else:
            data += broken(kind, chance, terminator)
    made.data = bytes(data)
    return made


def pieces(chance: random.Random, data: bytes) -> list[bytes]:
    """Return the same bytes as they may come: in pieces, some of which are empty."""
    cuts = sorted(chance.randint(0, len(data)) for _ in range(chance.randint(0, 6)))
    ends = [*cuts, len(data)]
    return [data[start:end] for start, end in zip([0, *cuts], ends, strict=True)]


def places(data: bytes, terminator: bytes) -> list[tuple[int, int]]:
    """Return where valid frames begin and end, at every byte, overlapping or not.

    Those that were sent whole are among them, and what looks like one by chance.
    """
    found = []
    for start in range(len(data) - 4 - len(terminator)):
        function = data[start + 1]
        if function & 0x80:
            sizes: tuple[int, ...] = (3,)
        elif function in (15, 16):
            sizes = 6, 7 + (data[start + 6] if start + 6 < len(data) else 0)
        elif 1 <= function <= 6:
            sizes = 6, 3 + data[start + 2]
        else:
            continue
        for size in dict.fromkeys(sizes):
            end = start + size + 2 + len(terminator)
            if end <= len(data) and is_frame(data[start:end], terminator):
                found.append((start, end))
    return found


def apart(found: list[tuple[int, int]]) -> bool:
    """Whether no two of these places overlap."""
    ends = sorted(found)
    return all(a[1] <= b[0] for a, b in pairwise(ends))


def is_frame(data: bytes, terminator: bytes) -> bool:
    """Whether bytes are one whole frame of Modbus RTU with this terminator."""
    size = len(data) - 2 - len(terminator)
    if size < 3 or data[size + 2 :] != terminator:
        return False
    if crc(data[:size]) != data[size : size + 2]:
        return False
    function = data[1]
    if function & 0x80:
        return function & 0x7F in (1, 2, 3, 4, 15, 16) and size == 3
    if function in (15, 16):
        return size == 6 or (size > 6 and size == 7 + data[6])
    if function in (5, 6):
        return size == 6
    if function not in (1, 2, 3, 4):
        return False
    most = 2000 if function < 3 else 125
    asks = size == 6 and 0 < data[4] << 8 | data[5] <= most
    return asks or (data[2] > 0 and size == 3 + data[2])
