"""Serial numbers replaced by pseudonyms, in frames too, so that these can be shared.

A pseudonym depends on the serial number and a key: it stays the same from one report
to the next and has the same length. Frames get new CRCs and can be replayed.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from hashlib import blake2s

from .counters import TracedFrame
from .frame import Reply, Request, find_frames, with_crc
from .reading import Identity
from .valence import SUMMARY, TERMINATOR, request, serial_number

_SERIAL_BYTES = 4


class Disguise:
    """Turns serial numbers into pseudonyms with one key."""

    def __init__(self, key: str) -> None:
        """Keep the key, for example the id of a config entry."""
        self._key = blake2s(key.encode()).digest()

    def serial(self, serial: str, revision: int) -> str:
        """Return the pseudonym of a serial number as printed."""
        words = _pair(self._bytes(_words(serial, revision), revision))
        return serial_number(words, revision) or serial

    def frames(
        self, trace: Iterable[TracedFrame], batteries: Iterable[Identity]
    ) -> list[TracedFrame]:
        """Return a trace whose summaries carry pseudonyms.

        `batteries` tell the revision behind an address (2 is assumed elsewhere), and
        which serial numbers to look for in bytes that make no valid frame.
        """
        known = {battery.address: battery for battery in batteries}
        return [
            frame
            if frame.direction == "sent"
            else replace(frame, data=b"".join(self._parts(frame.data, known)))
            for frame in _joined(trace)
        ]

    def _parts(self, data: bytes, known: Mapping[int, Identity]) -> Iterator[bytes]:
        at = 0
        for found in find_frames(data, TERMINATOR):
            yield self._broken(data[at : found.start], known.values())
            frame, at = found.frame, found.end
            whole = data[found.start : at]
            if isinstance(frame, Request) or not _is_summary(frame):
                yield whole
                continue
            battery = known.get(frame.address)
            hidden = self._bytes(
                frame.data[:_SERIAL_BYTES], battery.revision if battery else 2
            )
            body = whole[:3] + hidden + frame.data[_SERIAL_BYTES:]
            yield with_crc(body) + TERMINATOR
        yield self._broken(data[at:], known.values())

    def _broken(self, data: bytes, batteries: Iterable[Identity]) -> bytes:
        for battery in batteries:
            if battery.serial is not None:
                words = _words(battery.serial, battery.revision)
                size = 2 if battery.revision == 1 else _SERIAL_BYTES
                hidden = self._bytes(words, battery.revision)
                data = data.replace(words[:size], hidden[:size])
        return data

    def _bytes(self, words: bytes, revision: int) -> bytes:
        if serial_number(_pair(words), revision) is None:
            return words
        # Revision 1 tells its serial number in the first word alone, and the unused
        # high bits of revision 2 must not make a second pseudonym.
        known = words[:2] if revision == 1 else bytes((words[0] & 0x0F,)) + words[1:]
        hidden = blake2s(known, key=self._key, digest_size=_SERIAL_BYTES).digest()
        # Neither blank nor, on revision 2, with any of the unused bits.
        return bytes((hidden[0] % (255 if revision == 1 else 16) or 1,)) + hidden[1:]


def _joined(trace: Iterable[TracedFrame]) -> Iterator[TracedFrame]:
    """Join stray bytes that came piece by piece: a serial number may lie across."""
    last: TracedFrame | None = None
    for frame in trace:
        if last and last.direction == frame.direction == "stray":
            last = replace(last, data=last.data + frame.data)
            continue
        if last:
            yield last
        last = frame
    if last:
        yield last


def _is_summary(reply: Reply) -> bool:
    return reply.shape == request(reply.address, SUMMARY).shape


def _pair(data: bytes) -> tuple[int, int]:
    return int.from_bytes(data[:2], "big"), int.from_bytes(data[2:4], "big")


def _words(serial: str, revision: int) -> bytes:
    if revision == 1:
        return int(serial).to_bytes(2, "big") + bytes(2)
    first = int(serial[:2]) << 6 | int(serial[2:4])
    return first.to_bytes(2, "big") + int(serial[4:]).to_bytes(2, "big")
