"""Virtual batteries: the reference peer of tests, demo and command line."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from urllib.parse import parse_qsl, urlsplit

from .device import Answer, Device, Settings, Talker
from .faults import Faults
from .line import VirtualLine
from .scenario import demo_modules
from .seplos import VirtualBank, VirtualPack, WriteFault
from .seplos_scenario import demo_bank, demo_lone_packs
from .valence import VirtualModule

__all__ = [
    "Answer",
    "Device",
    "Faults",
    "Settings",
    "Talker",
    "VirtualBank",
    "VirtualLine",
    "VirtualModule",
    "VirtualPack",
    "WriteFault",
    "demo_line",
]

SCHEME = "openxpbms-demo"
MOST_MODULES = 32
MOST_PACKS = 16


def demo_line(url: str) -> VirtualLine:
    """Return the line, not started, of a URL such as openxpbms-demo://valence?modules=4.

    Every family takes `seed` (0 to 99, for other serial numbers and cells) and
    `real_time` (true or false); valence takes `modules` (1 to 32, default 4) and `mode`
    (asked: of all kinds; bank or string: alike, in parallel or in series), seplos
    `packs` (1 to 16, default 1) and `mode` (asked, or bank: 2 packs and more with a
    master of their own).
    Raises ValueError that names what it does not understand.
    """
    parts = urlsplit(url)
    if parts.scheme != SCHEME or parts.path.strip("/") or parts.fragment:
        raise ValueError(f"no demo line: {url}")
    if parts.netloc not in _FAMILIES:
        known = ", ".join(_FAMILIES)
        raise ValueError(f"no demo of '{parts.netloc}', only of: {known}")
    options: dict[str, str] = {}
    for name, text in parse_qsl(parts.query, keep_blank_values=True):
        if name in options:
            raise ValueError(f"{name} is given twice")
        options[name] = text
    seed = _number(options, "seed", range(100), 0)
    real_time = _truth(options, "real_time", default=True)
    devices = _FAMILIES[parts.netloc](options, seed)
    if options:
        raise ValueError(f"unknown setting of a demo line: {', '.join(options)}")
    return VirtualLine(devices, real_time=real_time, seed=seed)


def _valence(options: dict[str, str], seed: int) -> Sequence[Device]:
    mode = _mode(options, "asked", "bank", "string")
    modules = _number(options, "modules", range(1, MOST_MODULES + 1), 4)
    return demo_modules(modules, seed, mode)


def _seplos(options: dict[str, str], seed: int) -> Sequence[Device]:
    mode = _mode(options, "asked", "bank")
    fewest = 2 if mode == "bank" else 1
    packs = _number(options, "packs", range(fewest, MOST_PACKS + 1), fewest)
    return (demo_bank if mode == "bank" else demo_lone_packs)(packs, seed)


# Each takes what it knows out of the options and returns its devices.
_FAMILIES: dict[str, Callable[[dict[str, str], int], Sequence[Device]]] = {
    "valence": _valence,
    "seplos": _seplos,
}


def _number(options: dict[str, str], name: str, allowed: range, default: int) -> int:
    text = options.pop(name, str(default))
    if not text.isdecimal() or int(text) not in allowed:
        raise ValueError(
            f"{name} must be a number from {allowed[0]} to {allowed[-1]}, not '{text}'"
        )
    return int(text)


def _mode(options: dict[str, str], *allowed: str) -> str:
    mode = options.pop("mode", allowed[0])
    if mode not in allowed:
        raise ValueError(f"mode must be {' or '.join(allowed)}, not '{mode}'")
    return mode


def _truth(options: dict[str, str], name: str, *, default: bool) -> bool:
    text = options.pop(name, str(default).lower())
    if text not in ("true", "false"):
        raise ValueError(f"{name} must be true or false, not '{text}'")
    return text == "true"
