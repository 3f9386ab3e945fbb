"""Parameters and changes as every user of them tells them: in figures and units."""

from __future__ import annotations

from typing import Any

from .parameter_rules import Change, Pack, span
from .parameter_values import shown
from .parameters import BY_NAME, Parameter


def with_unit(name: str, value: float) -> str:
    """Return a value of a parameter as people write it."""
    return shown(BY_NAME[name].field, value)


def change_line(change: Change) -> str:
    """Return a change in one line that every language reads."""
    old, new = with_unit(change.name, change.old), with_unit(change.name, change.new)
    return f"{change.name}: {old} -> {new}"


def told(parameter: Parameter, pack: Pack) -> dict[str, Any]:
    """Return what is known of a parameter in a pack, for programs."""
    known: dict[str, Any] = {
        "name": parameter.name,
        "value": pack.values[parameter.name],
        "unit": parameter.field.unit,
        "topic": parameter.topic,
        "writable": parameter.writable,
    }
    if parameter.writable:
        known["low"], known["high"] = span(parameter, pack)
    else:
        known["why_not"] = parameter.access
    return known
