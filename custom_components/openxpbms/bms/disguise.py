"""Serial numbers replaced by pseudonyms, in frames too, so that these can be shared.

A pseudonym depends on the serial number and a key: it stays the same from one report
to the next and has the same length. Frames get new CRCs and can be replayed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from hashlib import blake2s
from itertools import cycle
import re
import string
from typing import Protocol

from . import seplos_tables, valence
from .counters import TracedFrame, joined
from .frame import Frame, Reply, Write, find_frames, with_crc
from .reading import Identity
from .valence import serial_number


class Disguise:
    """Turns the serial numbers of one family, "valence" or "seplos", into pseudonyms.

    The key may be any text, for example the id of a config entry.
    """

    def __init__(self, key: str, family: str) -> None:
        """Keep the key."""
        self._hider = _HIDERS[family](blake2s(key.encode()).digest())

    def serial(self, identity: Identity) -> str | None:
        """Return the pseudonym of a battery's serial number, as printed."""
        if identity.serial is None:
            return None
        return self._hider.serial(identity.serial, identity)

    def frames(
        self, trace: Iterable[TracedFrame], batteries: Iterable[Identity]
    ) -> list[TracedFrame]:
        """Return a trace in which serial numbers are pseudonyms.

        `batteries` tell who is behind an address, and which serial numbers to look for
        in bytes that make no valid frame.
        """
        known = tuple(batteries)
        return [
            frame
            for run in joined(trace)
            for frame in (run if run[0].direction == "sent" else self._run(run, known))
        ]

    def _run(
        self, run: Sequence[TracedFrame], known: Sequence[Identity]
    ) -> Iterator[TracedFrame]:
        data = b"".join(self._parts(b"".join(frame.data for frame in run), known))
        at = 0
        for frame in run:
            yield replace(frame, data=data[at : at + len(frame.data)])
            at += len(frame.data)

    def _parts(self, data: bytes, known: Sequence[Identity]) -> Iterator[bytes]:
        at = 0
        for found in find_frames(data, self._hider.terminator):
            yield self._hider.broken(data[at : found.start], known)
            at = found.end
            body = data[found.start : at - 2 - len(self._hider.terminator)]
            body = self._hider.body(found.frame, body, known)
            yield with_crc(body) + self._hider.terminator
        yield self._hider.broken(data[at:], known)


class _Hider(Protocol):
    """Knows where a family's serial numbers are, and how they look."""

    terminator: bytes

    def serial(self, serial: str, identity: Identity) -> str:
        """Return the pseudonym of a serial number."""

    def body(self, frame: Frame, body: bytes, known: Sequence[Identity]) -> bytes:
        """Hide them in `body`, all of a valid frame that stands before its CRC."""

    def broken(self, data: bytes, known: Sequence[Identity]) -> bytes:
        """Hide the known ones, and parts of them, in bytes that are no frame."""


class _ValenceHider:
    """Serial numbers are two words of the summary."""

    terminator = valence.TERMINATOR
    _BYTES = 4

    def __init__(self, key: bytes) -> None:
        self._key = key

    def serial(self, serial: str, identity: Identity) -> str:
        revision = identity.revision or 2
        words = self._hidden(_words(serial, revision), revision)
        return serial_number(_pair(words), revision) or serial

    def body(self, frame: Frame, body: bytes, known: Sequence[Identity]) -> bytes:
        summary = valence.request(frame.address, valence.SUMMARY)
        if not isinstance(frame, Reply) or frame.shape != summary.shape:
            return body
        revisions = (b.revision for b in known if b.address == frame.address)
        hidden = self._hidden(frame.data[: self._BYTES], next(revisions, None) or 2)
        return body[:3] + hidden + frame.data[self._BYTES :]

    def broken(self, data: bytes, known: Sequence[Identity]) -> bytes:
        for battery in known:
            if battery.serial is not None:
                revision = battery.revision or 2
                words = _words(battery.serial, revision)
                size = 2 if revision == 1 else self._BYTES
                hidden = self._hidden(words, revision)
                data = data.replace(words[:size], hidden[:size])
                if size == self._BYTES:
                    data = self._cut(data, words, hidden)
        return data

    def _cut(self, data: bytes, words: bytes, hidden: bytes) -> bytes:
        """Hide words of which a byte was lost at one end of what is no frame."""
        if data.endswith(words[:-1]):
            data = data[: 1 - len(words)] + hidden[:-1]
        if data.startswith(words[1:]):
            data = hidden[1:] + data[len(words) - 1 :]
        return data

    def _hidden(self, words: bytes, revision: int) -> bytes:
        if serial_number(_pair(words), revision) is None:
            return words
        # Revision 1 tells its serial number in the first word alone, and the unused
        # high bits of revision 2 must not make a second pseudonym.
        known = words[:2] if revision == 1 else bytes((words[0] & 0x0F,)) + words[1:]
        hidden = blake2s(known, key=self._key, digest_size=self._BYTES).digest()
        # Neither blank nor, on revision 2, with any of the unused bits.
        return bytes((hidden[0] % (255 if revision == 1 else 16) or 1,)) + hidden[1:]


def _pair(data: bytes) -> tuple[int, int]:
    return int.from_bytes(data[:2], "big"), int.from_bytes(data[2:4], "big")


def _words(serial: str, revision: int) -> bytes:
    if revision == 1:
        return int(serial).to_bytes(2, "big") + bytes(2)
    first = int(serial[:2]) << 6 | int(serial[2:4])
    return first.to_bytes(2, "big") + int(serial[4:]).to_bytes(2, "big")


class _SeplosHider:
    """Serial numbers are texts: letters become letters, digits digits."""

    terminator = b""
    _FIELDS = tuple(
        field
        for field in seplos_tables.FIELDS
        if field.name in ("serial", "pack_serial")
    )
    # A part of a known serial number counts if it has so many digits; so does what
    # has so many of them in a row, where nothing is known.
    _SOME = 5
    _MANY = re.compile(rb"[0-9]{8,}")

    def __init__(self, key: bytes) -> None:
        self._key = key

    def serial(self, serial: str, identity: Identity) -> str:
        return self._hidden(serial.encode()).decode()

    def body(self, frame: Frame, body: bytes, known: Sequence[Identity]) -> bytes:
        via = seplos_tables.VIA
        if isinstance(frame, Write):
            head, first = body[: -len(frame.data) or None], frame.register
        elif (
            isinstance(frame, Reply) and frame.shape == via.request(frame.address).shape
        ):
            head, first = body[:3], via.block.register
        else:
            return bytes(self._known(body, known)[0])
        data = body[len(head) :]
        for field in self._FIELDS:
            start = max(0, 2 * (field.register - first))
            end = max(0, 2 * (field.end - first))
            # What stands behind the end of a text may be of an older one.
            texts = map(self._hidden, data[start:end].split(b"\0"))
            data = data[:start] + b"\0".join(texts) + data[end:]
        return head + data

    def broken(self, data: bytes, known: Sequence[Identity]) -> bytes:
        hidden, rest = self._known(data, known)
        for found in self._MANY.finditer(rest):
            hidden[found.start() : found.end()] = self._hidden(found[0])
        return bytes(hidden)

    def _known(
        self, data: bytes, known: Sequence[Identity]
    ) -> tuple[bytearray, bytearray]:
        """Return `data` without known serial numbers, and with zeros for these."""
        hidden, rest = bytearray(data), bytearray(data)
        for battery in known:
            serial = (battery.serial or "").encode()
            pseudonym = self._hidden(serial)
            for start, end in self._parts(serial):
                part = serial[start:end]
                while (at := rest.find(part)) >= 0:
                    hidden[at : at + len(part)] = pseudonym[start:end]
                    rest[at : at + len(part)] = bytes(len(part))
        return hidden, rest

    def _parts(self, serial: bytes) -> Iterator[tuple[int, int]]:
        """Yield where parts begin and end that tell whose they are, longest first."""
        for size in range(len(serial), self._SOME - 1, -1):
            for start in range(len(serial) - size + 1):
                part = serial[start : start + size]
                if part == serial or sum(map(_is_digit, part)) >= self._SOME:
                    yield start, start + size

    def _hidden(self, text: bytes) -> bytes:
        marks = bytes(byte for byte in text if _alphabet(byte))
        chances = cycle(blake2s(marks, key=self._key).digest())
        return bytes(
            alphabet[next(chances) % len(alphabet)] if alphabet else byte
            for byte, alphabet in ((byte, _alphabet(byte)) for byte in text)
        )


_ALPHABETS = tuple(
    some.encode()
    for some in (string.digits, string.ascii_uppercase, string.ascii_lowercase)
)


def _alphabet(byte: int) -> bytes:
    """Return all that a character may become, nothing where it stays."""
    return next((some for some in _ALPHABETS if byte in some), b"")


def _is_digit(byte: int) -> bool:
    return byte in _ALPHABETS[0]


_HIDERS: dict[str, Callable[[bytes], _Hider]] = {
    "valence": _ValenceHider,
    "seplos": _SeplosHider,
}
