"""Modbus-RTU-like frames: built, and taken out of a byte stream by their length.

A frame is `address function payload crc_low crc_high terminator`. Modbus RTU has
no terminator; Valence XP ends every frame with CR LF, which the CRC leaves out
(dossier 2.3). Replies are found by length, never by a terminator, because 0x0A and
0x0D 0x0A are ordinary data.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

READ_COILS = 1
READ_HOLDING = 3
READ_INPUT = 4
READ_FUNCTIONS = frozenset({1, 2, 3, 4})
WRITE_FUNCTIONS = frozenset({5, 6})

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
    def reply_length(self) -> int:
        """Number of bytes in the whole reply frame."""
        return 5 + self.byte_count + len(self.terminator)

    @property
    def shape(self) -> tuple[int, int, int]:
        """All that a reply tells of its request: address, function, byte count."""
        return self.address, self.function, self.byte_count


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
class Search:
    """What a search for one reply found in the bytes received so far.

    `start` and `end` bound the reply, if there is one. `near` is true where a frame
    with the right address, function and byte count failed its terminator or CRC.
    """

    reply: Reply | None = None
    start: int = 0
    end: int = 0
    near: bool = False


def _byte_count(function: int, count: int) -> int:
    return (count + 7) // 8 if function in (1, 2) else 2 * count


def find_reply(buffer: bytes | bytearray, request: Request) -> Search:
    """Find the reply to `request` in `buffer`, whatever stands in front of it.

    Checked in this order: address, function, byte count, terminator, CRC.
    """
    head = bytes(request.shape)
    body = 3 + request.byte_count
    near = False
    start = buffer.find(head)
    while start >= 0:
        end = start + request.reply_length
        if end <= len(buffer):
            if _closes(buffer, start, start + body, request.terminator):
                data = bytes(buffer[start + 3 : start + body])
                reply = Reply(request.address, request.function, data)
                return Search(reply, start, end, near)
            near = True
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

    frame: Request | Reply
    start: int
    end: int


def find_frames(buffer: bytes | bytearray, terminator: bytes) -> Iterator[Found]:
    """Yield every CRC-valid request and reply in `buffer`, in order, not overlapping.

    A request counts only with a plausible register count; writes of one register or
    coil are requests too, since their sender is a master.
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
    if function not in READ_FUNCTIONS | WRITE_FUNCTIONS:
        return None
    end = start + 8 + len(terminator)
    if _closes(buffer, start, start + 6, terminator):
        register = int.from_bytes(buffer[start + 2 : start + 4], "big")
        count = int.from_bytes(buffer[start + 4 : start + 6], "big")
        most = _MOST_COILS if function in (1, 2) else _MOST_REGISTERS
        if function in WRITE_FUNCTIONS or 0 < count <= most:
            request = Request(buffer[start], function, register, count, terminator)
            return Found(request, start, end)
    length = buffer[start + 2]
    crc_at = start + 3 + length
    if (
        function in READ_FUNCTIONS
        and length
        and _closes(buffer, start, crc_at, terminator)
    ):
        reply = Reply(buffer[start], function, bytes(buffer[start + 3 : crc_at]))
        return Found(reply, start, crc_at + 2 + len(terminator))
    return None
