"""What may befall the answers on a virtual line."""

from __future__ import annotations

from dataclasses import dataclass
import random


@dataclass(slots=True)
class Faults:
    """Probabilities per answer, from 0 to 1; all may be changed at any time.

    An answer is garbled by `noise`, never sent when `lost`, or `late` by a time from
    the range `late_by`, in s. A late one holds up all that comes after it, as a stalled
    adapter does, unless it `overtakes`: then later ones come first.
    """

    noise: float = 0.0
    lost: float = 0.0
    late: float = 0.0
    late_by: tuple[float, float] = (0.2, 0.6)
    overtakes: bool = False


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
