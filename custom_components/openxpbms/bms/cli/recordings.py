"""Recordings as files, in the form of Home Assistant's diagnostics download."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
import json
import os
from pathlib import Path
import secrets
from typing import Any

from ..bus import Bus
from ..counters import TracedFrame
from ..disguise import Disguise
from ..families import VALENCE, make_bus, make_family, make_timing
from ..family import Family
from ..port import shown
from ..report import told_battery, told_bus
from ..rounds import Battery
from ..valence import LineMode, Valence
from ..virtual.replay import Recording, read_download
from .exits import Exit, Failure
from .link import Choice

# What a download calls the counts of 1 A.
_SCALES: Mapping[str, int] = {"hundredths": 100, "tenths": 10}


def recording(
    choice: Choice,
    family: Family | None,
    family_name: str,
    bus: Bus,
    batteries: Iterable[Battery],
    frames: Iterable[TracedFrame],
    *,
    serial_numbers: bool,
) -> dict[str, Any]:
    """Return a recording of a bus as JSON; serial numbers are made up unless wanted."""
    known = list(batteries)
    disguise = None
    if not serial_numbers:
        # Nobody can tell by trying which serial number a made-up one stands for.
        disguise = Disguise(secrets.token_hex(), family_name)
        frames = disguise.frames(frames, [battery.identity for battery in known])
    entry = {"device": shown(choice.url), "family": family_name}
    if family_name == VALENCE:
        mode = family.mode if isinstance(family, Valence) else LineMode.MARK
        entry["line"] = mode
    else:
        entry["mode"] = "listen" if bus.mute else "ask"
    data = {
        "entry": entry,
        "options": _options(choice),
        **told_bus(bus, frames),
        "batteries": [told_battery(bus, battery, disguise) for battery in known],
    }
    return {"data": data}


def _options(choice: Choice) -> dict[str, Any]:
    names = {divisor: name for name, divisor in _SCALES.items()}
    options: dict[str, Any] = {"invert_current": choice.invert}
    if choice.divisor is not None:
        options["current_scale"] = names[choice.divisor]
    return options


def write_recording(path: Path, told: Mapping[str, Any]) -> None:
    """Write a recording: either the whole file is there or none. Raises Failure."""
    new = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        try:
            new.write_text(json.dumps(told, indent=1, default=str) + "\n", "utf-8")
            new.replace(path)
        finally:
            new.unlink(missing_ok=True)
    except OSError as err:
        message = f"{path} cannot be written: {err.strerror}."
        raise Failure(message, Exit.UNEXPECTED) from err


def read_recording(path: Path) -> Recording:
    """Read a recording or a download. Raises Failure that says what is wrong."""
    try:
        return read_download(json.loads(path.read_text("utf-8")))
    except OSError as err:
        message = f"{path} cannot be read: {err.strerror}."
        raise Failure(message, Exit.WRONG_USE) from err
    except ValueError as err:
        message = f"{path} is no recording: {err}."
        raise Failure(message, Exit.WRONG_USE) from err


def divisor_of(told: Recording) -> int | None:
    """Return the counts of 1 A that were chosen, None for those of the board."""
    return _SCALES.get(told.options.get("current_scale", ""))


def family_of(told: Recording, url: str) -> Family:
    """Return the family of a recording on another port, on a bus that is not open."""
    timing = make_timing(url, told.family, answer=told.answer)
    forced = told.options.get("line", "auto")
    mode = LineMode.MARK
    if told.family == VALENCE:
        mode = LineMode(told.entry["line"] if forced == "auto" else forced)
    return make_family(
        make_bus(url, told.family, timing, mute=not told.asks),
        told.family,
        mode=mode,
        forced=forced != "auto",
        inverted=told.options.get("invert_current", False),
        divisor=divisor_of(told),
    )
