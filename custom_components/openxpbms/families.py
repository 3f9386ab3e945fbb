"""How each battery family is built from what an entry or a flow says."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .bms import families
from .bms.bus import Bus, Timing
from .bms.family import Family
from .bms.valence import LineMode
from .const import (
    CONF_ANSWER_TIMEOUT,
    CONF_CURRENT_SCALE,
    CONF_FAMILY,
    CONF_INVERT_CURRENT,
    CONF_LINE,
    CONF_TURNAROUND,
    FAMILY_VALENCE,
    LINE_AUTO,
    SCALE_AUTO,
    SCALES,
)


def make_timing(url: str, family: str, options: Mapping[str, Any]) -> Timing:
    """Return the times for a port: what the user set, else what suits its kind."""
    return families.make_timing(
        url,
        family,
        answer=_seconds(options, CONF_ANSWER_TIMEOUT),
        turnaround=_seconds(options, CONF_TURNAROUND),
    )


def _seconds(options: Mapping[str, Any], name: str) -> float | None:
    """Return an option that is kept in ms."""
    return options[name] / 1000 if name in options else None


def make_bus(
    url: str, family: str, options: Mapping[str, Any], *, mute: bool = False
) -> Bus:
    """Return the bus of an entry or a search, not opened."""
    return families.make_bus(url, family, make_timing(url, family, options), mute=mute)


def current_divisor(options: Mapping[str, Any]) -> int | None:
    """Return the counts of 1 A that the user set, None to tell it by the board."""
    return SCALES[options.get(CONF_CURRENT_SCALE, SCALE_AUTO)]


def make_family(
    bus: Bus, data: Mapping[str, Any], options: Mapping[str, Any]
) -> Family:
    """Return the family of an entry that asks, on `bus`."""
    family, forced = data[CONF_FAMILY], options.get(CONF_LINE, LINE_AUTO)
    mode = LineMode.MARK
    if family == FAMILY_VALENCE:
        mode = LineMode(data[CONF_LINE] if forced == LINE_AUTO else forced)
    return families.make_family(
        bus,
        family,
        mode=mode,
        forced=forced != LINE_AUTO,
        inverted=options.get(CONF_INVERT_CURRENT, False),
        divisor=current_divisor(options),
    )
