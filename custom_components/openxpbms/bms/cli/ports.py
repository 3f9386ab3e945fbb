"""The serial ports of this machine, and names that are nearly right."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches

import serialx


def machine_ports() -> list[str]:
    """Return the ports of this machine by their lasting names, adapters first."""
    ports = sorted(serialx.list_serial_ports(), key=lambda port: port.vid is None)
    return [port.device for port in ports]


def nearest(name: str, names: Iterable[str]) -> list[str]:
    """Return up to three names that look like `name`."""
    return get_close_matches(name, list(names), n=3, cutoff=0.5)
