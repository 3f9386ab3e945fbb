"""What may befall the answers on a virtual line."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
import random


@dataclass(slots=True)
class Faults:
    """Probabilities from 0 to 1; all may be changed at any time.

    Of each answer: it is garbled by `noise` or by a `burst` that overwrites many bytes,
    `truncated`, `duplicated`, `merged` with the next one, never sent when `lost`, or
    `late` by a time from the range `late_by`, in s. A late one holds up all that comes
    after it, as a stalled adapter does, unless it `overtakes`: then later ones come
    first. Of each byte: it is among the `lost_bytes`, or one of the `inserted_bytes`
    comes before it. Of each bit: it is one of the `bit_errors`.

    `tamper` is called with each answer first and returns what the battery says in its
    place. `injected` counts the answers that anything befell.
    """

    noise: float = 0.0
    burst: float = 0.0
    truncated: float = 0.0
    duplicated: float = 0.0
    merged: float = 0.0
    lost: float = 0.0
    late: float = 0.0
    late_by: tuple[float, float] = (0.2, 0.6)
    overtakes: bool = False
    lost_bytes: float = 0.0
    inserted_bytes: float = 0.0
    bit_errors: float = 0.0
    tamper: Callable[[bytes], bytes] | None = None
    injected: int = 0

    def hit(self, probability: float, chance: random.Random) -> bool:
        """Whether something befalls the answer as a whole; count it if so."""
        happens = chance.random() < probability
        self.injected += happens
        return happens

    def befall(self, data: bytes, chance: random.Random) -> bytes:
        """Return what goes over the wire when a battery says `data`."""
        said = data
        if self.tamper is not None:
            data = self.tamper(data)
        if data and chance.random() < self.noise:
            data = noisy(data, chance)
        if data and chance.random() < self.burst:
            data = _burst(data, chance)
        if data and chance.random() < self.truncated:
            data = data[: chance.randrange(len(data))]
        if self.bit_errors:
            data = bytes(_flipped(byte, self.bit_errors, chance) for byte in data)
        if self.lost_bytes:
            data = bytes(b for b in data if chance.random() >= self.lost_bytes)
        if self.inserted_bytes:
            data = b"".join(_inserted(data, self.inserted_bytes, chance))
        if chance.random() < self.duplicated:
            data *= 2
        self.injected += data != said
        return data


def noisy(data: bytes, chance: random.Random) -> bytes:
    """Return `data` with a few bytes changed, dropped, or put into or before it."""
    at = chance.randrange(len(data))
    some = 1 + chance.randrange(3)
    match chance.randrange(4):
        case 0:
            hit = data[at : at + some]
            hit = bytes(byte ^ 1 << chance.randrange(8) for byte in hit)
            return data[:at] + hit + data[at + some :]
        case 1:
            return data[:at] + data[at + some :]
        case 2:
            return data[:at] + chance.randbytes(some) + data[at:]
    return chance.randbytes(some) + data


def _burst(data: bytes, chance: random.Random) -> bytes:
    at = chance.randrange(len(data))
    hit = data[at : at + 4 + chance.randrange(29)]
    return data[:at] + chance.randbytes(len(hit)) + data[at + len(hit) :]


def _flipped(byte: int, rate: float, chance: random.Random) -> int:
    for bit in range(8):
        if chance.random() < rate:
            byte ^= 1 << bit
    return byte


def _inserted(data: bytes, rate: float, chance: random.Random) -> list[bytes]:
    pieces = []
    for byte in data:
        if chance.random() < rate:
            pieces.append(chance.randbytes(1))
        pieces.append(bytes((byte,)))
    return pieces
