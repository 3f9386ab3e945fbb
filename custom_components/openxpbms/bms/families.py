"""The battery families: what sets them apart, and how each is put on a bus."""

from __future__ import annotations

from dataclasses import dataclass

from .bus import Bus, Timing
from .family import Family
from .port import is_remote
from .seplos import ADDRESSES as SEPLOS_ADDRESSES
from .seplos import Seplos
from .valence import ADDRESSES as VALENCE_ADDRESSES
from .valence import TERMINATOR, LineMode, Valence

SEPLOS = "seplos"
VALENCE = "valence"


@dataclass(frozen=True, slots=True)
class Kind:
    """What sets a family apart before anything is opened.

    Times are in ms; `addresses` are those to search, `allowed` those that exist.
    """

    name: str
    terminator: bytes
    addresses: range
    allowed: range
    answer: int
    remote_answer: int
    turnaround: int
    changes_speed: bool


KINDS = {
    VALENCE: Kind(
        name="Valence XP",
        terminator=TERMINATOR,
        addresses=VALENCE_ADDRESSES,
        allowed=range(1, 256),
        answer=120,
        remote_answer=500,
        turnaround=0,
        changes_speed=True,
    ),
    SEPLOS: Kind(
        name="Seplos V3",
        terminator=b"",
        addresses=SEPLOS_ADDRESSES,
        allowed=range(128),
        answer=500,
        remote_answer=800,
        # The shortest pause that anybody is known to leave between requests.
        turnaround=25,
        changes_speed=False,
    ),
}


def make_timing(
    url: str,
    family: str,
    *,
    answer: float | None = None,
    turnaround: float | None = None,
) -> Timing:
    """Return the times for a port, in s: those given, else what suits its kind."""
    kind = KINDS[family]
    if answer is None:
        answer = (kind.remote_answer if is_remote(url) else kind.answer) / 1000
    if turnaround is None:
        turnaround = kind.turnaround / 1000
    return Timing(answer=answer, turnaround=turnaround)


def make_bus(
    url: str, family: str, timing: Timing | None = None, *, mute: bool = False
) -> Bus:
    """Return the bus of a family, not opened."""
    return Bus(
        url,
        terminator=KINDS[family].terminator,
        timing=timing or make_timing(url, family),
        mute=mute,
    )


def make_family(
    bus: Bus,
    family: str,
    *,
    mode: LineMode = LineMode.MARK,
    forced: bool = False,
    inverted: bool = False,
    divisor: int | None = None,
) -> Family:
    """Return a family that asks on `bus`.

    Of what may be given, Seplos takes `divisor` and Valence the rest.
    """
    if family == SEPLOS:
        return Seplos(bus, divisor=divisor)
    return Valence(bus, mode, forced=forced, inverted=inverted)


def parse_addresses(text: str, family: str) -> list[int]:
    """Return the addresses of "1-4, 17", in order; the usual ones where it is empty.

    Raises ValueError where it means anything else or an address that cannot be.
    """
    kind = KINDS[family]
    if not text.strip():
        return list(kind.addresses)
    addresses: set[int] = set()
    for part in text.split(","):
        first, dash, last = part.partition("-")
        span = range(int(first), int(last if dash else first) + 1)
        if not span or not {span[0], span[-1]} <= set(kind.allowed):
            raise ValueError(text)
        addresses |= set(span)
    return sorted(addresses)
