"""Virtual batteries: the reference peer of tests, demo and command line."""

from __future__ import annotations

from urllib.parse import parse_qsl, urlsplit

from .line import Faults, VirtualLine
from .scenario import demo_modules
from .valence import VirtualModule

__all__ = ["Faults", "VirtualLine", "VirtualModule", "demo_line"]

SCHEME = "openxpbms-demo"
MOST_MODULES = 32


def demo_line(url: str) -> VirtualLine:
    """Return the line, not started, of a URL such as openxpbms-demo://valence?modules=4.

    `modules` from 1 to 32 (4 where it is missing) and `seed` for other serial numbers.
    Raises ValueError that names what it does not understand.
    """
    parts = urlsplit(url)
    if parts.scheme != SCHEME or parts.netloc != "valence":
        raise ValueError(f"no such demo: {url}")
    query = dict(parse_qsl(parts.query, keep_blank_values=True))
    modules = _number(query.pop("modules", "4"), "modules", range(1, MOST_MODULES + 1))
    seed = _number(query.pop("seed", "0"), "seed", range(100))
    if query:
        raise ValueError(f"unknown setting of a demo bus: {', '.join(query)}")
    return VirtualLine(demo_modules(modules, seed))


def _number(text: str, name: str, allowed: range) -> int:
    if not text.isdecimal() or int(text) not in allowed:
        raise ValueError(f"{name} must be from {allowed[0]} to {allowed[-1]}")
    return int(text)
