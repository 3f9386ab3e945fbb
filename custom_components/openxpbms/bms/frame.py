"""Modbus-RTU-like frames: built, and taken out of a byte stream by their length.

A frame is `address function payload crc_low crc_high terminator`. Modbus RTU has
no terminator; Valence XP ends every frame with CR LF, which the CRC leaves out
(dossier 2.3). Replies are found by length, never by a terminator, because 0x0A and
0x0D 0x0A are ordinary data.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

READ_COILS = 1
READ_HOLDING = 3
READ_INPUT = 4
READ_FUNCTIONS = frozenset({1, 2, 3, 4})
WRITE_FUNCTIONS = frozenset({5, 6})
WRITE_COILS = 15
WRITE_REGISTERS = 16
# Added to the function in an exception.
REFUSED = 0x80

# The largest `count` of a Modbus read, in registers and in coils.
_MOST_REGISTERS = 125
_MOST_COILS = 2000


def _crc_table() -> tuple[int, ...]:
    table = []
    for byte in range(256):
        crc = byte
        for _ in range(8):
            crc = (crc >> 1) ^ (0xA001 if crc & 1 else 0)
        table.append(crc)
    return tuple(table)


_CRC_TABLE = _crc_table()


def crc16(data: bytes | bytearray | memoryview) -> int:
    """Return the CRC-16/Modbus of `data` (initial 0xFFFF, polynomial 0xA001)."""
    crc = 0xFFFF
    for byte in data:
        crc = (crc >> 8) ^ _CRC_TABLE[(crc ^ byte) & 0xFF]
    return crc


def with_crc(data: bytes) -> bytes:
    """Return `data` with its CRC appended, low byte first."""
    return data + crc16(data).to_bytes(2, "little")


@dataclass(frozen=True, slots=True)
class Request:
    """A read of `count` registers (or coils) from `register` of one battery."""

    address: int
    function: int
    register: int
    count: int
    terminator: bytes = b""

    @property
    def encoded(self) -> bytes:
        """The frame as it goes over the wire."""
        body = bytes((self.address, self.function))
        body += self.register.to_bytes(2, "big") + self.count.to_bytes(2, "big")
        return with_crc(body) + self.terminator

    @property
    def byte_count(self) -> int:
        """Number of data bytes in the reply."""
        return _byte_count(self.function, self.count)

    @property
    def head(self) -> bytes:
        """What its reply begins with."""
        return bytes(self.shape)

    @property
    def data_at(self) -> tuple[int, int]:
        """Where in its reply the data begin and end."""
        return 3, 3 + self.byte_count

    @property
    def reply_length(self) -> int:
        """Number of bytes in the whole reply frame."""
        return 5 + self.byte_count + len(self.terminator)

    @property
    def shape(self) -> tuple[int, int, int]:
        """All that a reply tells of its request: address, function, byte count."""
        return self.address, self.function, self.byte_count

    @property
    def echo(self) -> Frame:
        """The frame as it is found in a stream."""
        return self


@dataclass(frozen=True, slots=True)
class Reply:
    """A reply that passed every check, as it was found in the stream."""

    address: int
    function: int
    data: bytes

    @property
    def shape(self) -> tuple[int, int, int]:
        """The same triple as `Request.shape`."""
        return self.address, self.function, len(self.data)


@dataclass(frozen=True, slots=True)
class Refusal:
    """A Modbus exception: a battery that heard a request and will not do it."""

    address: int
    function: int
    code: int


@dataclass(frozen=True, slots=True)
class Write:
    """A master's write of several coils or registers, as it was found in the stream."""

    address: int
    function: int
    register: int
    data: bytes


Frame = Request | Reply | Refusal | Write


@dataclass(frozen=True, slots=True)
class WriteRequest:
    """A write of one register, by function 16; its reply repeats register and count.

    Modbus RTU only: no terminator.
    """

    address: int
    register: int
    word: int

    function = WRITE_REGISTERS
    terminator = b""
    reply_length = 8
    data_at = (2, 6)

    @property
    def encoded(self) -> bytes:
        """The frame as it goes over the wire."""
        return with_crc(self.head + b"\x02" + self.word.to_bytes(2, "big"))

    @property
    def head(self) -> bytes:
        """What its acknowledgement consists of, but for the CRC."""
        register = self.register.to_bytes(2, "big")
        return bytes((self.address, self.function)) + register + b"\x00\x01"

    @property
    def shape(self) -> tuple[int, int, int]:
        """The same triple as that of its acknowledgement, found in a stream."""
        return self.address, self.function, 4

    @property
    def echo(self) -> Frame:
        """The frame as it is found in a stream."""
        word = self.word.to_bytes(2, "big")
        return Write(self.address, self.function, self.register, word)


Question = Request | WriteRequest


@dataclass(frozen=True, slots=True)
class Search:
    """What a search for one reply found in the bytes received so far.

    `start` and `end` bound the reply or refusal, if there is one. `near` is true where
    a frame with the right address, function and byte count failed its terminator or
    CRC.
    """

    reply: Reply | Refusal | None = None
    start: int = 0
    end: int = 0
    near: bool = False


def _byte_count(function: int, count: int) -> int:
    return (count + 7) // 8 if function in (1, 2) else 2 * count


def find_reply(buffer: bytes | bytearray, request: Question) -> Search:
    """Find the reply to `request` in `buffer`, whatever stands in front of it.

    Checked in this order: address, function, byte count (of a write register and
    count), terminator, CRC.
    """
    head = request.head
    first, body = request.data_at
    near = False
    start = buffer.find(head)
    while start >= 0:
        end = start + request.reply_length
        if end <= len(buffer):
            if _closes(buffer, start, start + body, request.terminator):
                data = bytes(buffer[start + first : start + body])
                reply = Reply(request.address, request.function, data)
                return Search(reply, start, end, near)
            near = True
        start = buffer.find(head, start + 1)
    return _find_refusal(buffer, request, near=near)


def may_hold_reply(buffer: bytes | bytearray, request: Question) -> bool:
    """Whether `buffer` is worth a search: a reply comes in many pieces."""
    refusal = bytes((request.address, request.function | REFUSED))
    return len(buffer) >= request.reply_length or refusal in buffer


def _find_refusal(
    buffer: bytes | bytearray, request: Question, *, near: bool
) -> Search:
    head = bytes((request.address, request.function | REFUSED))
    start = buffer.find(head)
    while start >= 0:
        if _closes(buffer, start, start + 3, request.terminator):
            code = buffer[start + 2]
            refusal = Refusal(request.address, request.function, code)
            return Search(refusal, start, start + 5 + len(request.terminator), near)
        start = buffer.find(head, start + 1)
    return Search(near=near)


def _closes(
    buffer: bytes | bytearray, start: int, crc_at: int, terminator: bytes
) -> bool:
    """Whether CRC and terminator stand behind a body that ends at `crc_at`."""
    end = crc_at + 2 + len(terminator)
    if end > len(buffer) or buffer[crc_at + 2 : end] != terminator:
        return False
    crc = int.from_bytes(buffer[crc_at : crc_at + 2], "little")
    return crc16(buffer[start:crc_at]) == crc


@dataclass(frozen=True, slots=True)
class Found:
    """A CRC-valid frame in a stream that nobody was waiting for."""

    frame: Frame
    start: int
    end: int


def find_frames(buffer: bytes | bytearray, terminator: bytes) -> Iterator[Found]:
    """Yield every CRC-valid frame in `buffer`, in order, not overlapping.

    A request counts only with a plausible register count; writes of one register or
    coil are requests too, since their sender is a master. What acknowledges a write of
    several is a Reply whose data are register and count.
    """
    start = 0
    while start + 5 + len(terminator) <= len(buffer):
        found = _frame_at(buffer, start, terminator)
        if found is None:
            start += 1
        else:
            yield found
            start = found.end


def _frame_at(buffer: bytes | bytearray, start: int, terminator: bytes) -> Found | None:
    function = buffer[start + 1]
    if function in READ_FUNCTIONS | WRITE_FUNCTIONS:
        forms = _REQUEST_OR_REPLY
    elif function in (WRITE_COILS, WRITE_REGISTERS):
        forms = _WRITE_OR_REPLY
    elif function & ~REFUSED in READ_FUNCTIONS | {WRITE_COILS, WRITE_REGISTERS}:
        forms = (_refusal,)
    else:
        return None
    for form in forms:
        frame, crc_at = form(buffer, start, terminator)
        if frame and _closes(buffer, start, crc_at, terminator):
            return Found(frame, start, crc_at + 2 + len(terminator))
    return None


# Each reads a frame of one form at `start`, if its bytes make sense as one, and tells
# where its CRC would be.
type _Form = Callable[[bytes | bytearray, int, bytes], tuple[Frame | None, int]]


def _request(
    buffer: bytes | bytearray, start: int, terminator: bytes
) -> tuple[Frame | None, int]:
    address, function = buffer[start], buffer[start + 1]
    register = int.from_bytes(buffer[start + 2 : start + 4], "big")
    count = int.from_bytes(buffer[start + 4 : start + 6], "big")
    most = _MOST_COILS if function in (1, 2) else _MOST_REGISTERS
    if function not in WRITE_FUNCTIONS and not 0 < count <= most:
        return None, 0
    return Request(address, function, register, count, terminator), start + 6


def _reply(
    buffer: bytes | bytearray, start: int, terminator: bytes
) -> tuple[Frame | None, int]:
    address, function, length = buffer[start : start + 3]
    if function in WRITE_FUNCTIONS or not length:
        return None, 0
    crc_at = start + 3 + length
    return Reply(address, function, bytes(buffer[start + 3 : crc_at])), crc_at


def _write(
    buffer: bytes | bytearray, start: int, terminator: bytes
) -> tuple[Frame | None, int]:
    if start + 7 > len(buffer):
        return None, 0
    register = int.from_bytes(buffer[start + 2 : start + 4], "big")
    crc_at = start + 7 + buffer[start + 6]
    data = bytes(buffer[start + 7 : crc_at])
    return Write(buffer[start], buffer[start + 1], register, data), crc_at


def _acknowledgement(
    buffer: bytes | bytearray, start: int, terminator: bytes
) -> tuple[Frame | None, int]:
    data = bytes(buffer[start + 2 : start + 6])
    return Reply(buffer[start], buffer[start + 1], data), start + 6


def _refusal(
    buffer: bytes | bytearray, start: int, terminator: bytes
) -> tuple[Frame | None, int]:
    address, function, code = buffer[start : start + 3]
    return Refusal(address, function & ~REFUSED, code), start + 3


_REQUEST_OR_REPLY: tuple[_Form, ...] = (_request, _reply)
_WRITE_OR_REPLY: tuple[_Form, ...] = (_write, _acknowledgement)
