"""How each battery family is built from what an entry or a flow says."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from .bms.bus import Bus, Timing
from .bms.family import Family
from .bms.port import is_remote
from .bms.seplos import ADDRESSES as SEPLOS_ADDRESSES
from .bms.seplos import Seplos
from .bms.valence import ADDRESSES as VALENCE_ADDRESSES
from .bms.valence import TERMINATOR, LineMode, Valence
from .const import (
    CONF_ANSWER_TIMEOUT,
    CONF_CURRENT_SCALE,
    CONF_FAMILY,
    CONF_INVERT_CURRENT,
    CONF_LINE,
    CONF_TURNAROUND,
    FAMILY_SEPLOS,
    FAMILY_VALENCE,
    LINE_AUTO,
    SCALE_AUTO,
    SCALES,
)


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
    FAMILY_VALENCE: Kind(
        name="Valence XP",
        terminator=TERMINATOR,
        addresses=VALENCE_ADDRESSES,
        allowed=range(1, 256),
        answer=120,
        remote_answer=500,
        turnaround=0,
        changes_speed=True,
    ),
    FAMILY_SEPLOS: Kind(
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


def make_timing(url: str, family: str, options: Mapping[str, Any]) -> Timing:
    """Return the times for a port: what the user set, else what suits its kind."""
    kind = KINDS[family]
    default = kind.remote_answer if is_remote(url) else kind.answer
    return Timing(
        answer=options.get(CONF_ANSWER_TIMEOUT, default) / 1000,
        turnaround=options.get(CONF_TURNAROUND, kind.turnaround) / 1000,
    )


def make_bus(
    url: str, family: str, options: Mapping[str, Any], *, mute: bool = False
) -> Bus:
    """Return the bus of an entry or a search, not opened."""
    return Bus(
        url,
        terminator=KINDS[family].terminator,
        timing=make_timing(url, family, options),
        mute=mute,
    )


def current_divisor(options: Mapping[str, Any]) -> int | None:
    """Return the counts of 1 A that the user set, None to tell it by the board."""
    return SCALES[options.get(CONF_CURRENT_SCALE, SCALE_AUTO)]


def make_family(
    bus: Bus, data: Mapping[str, Any], options: Mapping[str, Any]
) -> Family:
    """Return the family of an entry that asks, on `bus`."""
    if data[CONF_FAMILY] == FAMILY_SEPLOS:
        return Seplos(bus, divisor=current_divisor(options))
    forced = options.get(CONF_LINE, LINE_AUTO)
    mode = data[CONF_LINE] if forced == LINE_AUTO else forced
    return Valence(
        bus,
        LineMode(mode),
        forced=forced != LINE_AUTO,
        inverted=options.get(CONF_INVERT_CURRENT, False),
    )
