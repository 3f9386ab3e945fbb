"""What diagnostics and recordings tell of a bus and its batteries, fit to be shared."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict
from typing import Any

from .bus import Bus
from .counters import TracedFrame
from .disguise import Disguise
from .reading import Identity
from .rounds import Battery


def told_bus(bus: Bus, frames: Iterable[TracedFrame]) -> dict[str, Any]:
    """Return what is known of a bus, and `frames` of it as they are."""
    return {
        "timing": asdict(bus.timing),
        "open": bus.is_open,
        "line": str(bus.line),
        "asks": not bus.mute,
        "foreign_frames": bus.watch.foreign_frames,
        "silent_for_another_master": bus.watch.silent,
        "counters": bus.counters.as_dict(),
        "frames": [frame.as_dict() for frame in frames],
    }


def told_identity(identity: Identity, disguise: Disguise | None) -> dict[str, Any]:
    """Return who a battery is; without a disguise with its serial number."""
    if disguise is None:
        return asdict(identity)
    return {
        **asdict(identity),
        "serial": disguise.serial(identity),
        "key": None if identity.key is None else "kept",
    }


def told_battery(
    bus: Bus, battery: Battery, disguise: Disguise | None
) -> dict[str, Any]:
    """Return what is known of a battery on a bus; see `told_identity`."""
    return {
        "identity": told_identity(battery.identity, disguise),
        "reading": None if battery.reading is None else battery.reading.as_dict(),
        "history": asdict(battery.history),
        "settings": asdict(battery.settings),
        # The kind alone: the text may name a serial number.
        "error": None if battery.error is None else type(battery.error).__name__,
        "counters": bus.counters_of(battery.identity.address).as_dict(),
    }
