"""Offers and results of writes, as the answers of actions."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from .bms.parameter_values import shown
from .bms.parameters import BY_NAME
from .bms.seplos_writes import Outcome

if TYPE_CHECKING:
    from homeassistant.util.json import JsonObjectType

    from .bms.seplos_writes import Result
    from .writes import Offer


def with_unit(name: str, value: float) -> str:
    """Return a value of a parameter as people write it."""
    return shown(BY_NAME[name].field, value)


def sentence(offer: Offer) -> str:
    """Return what an offer is, in one line that every language reads."""
    change = offer.prepared.change
    old, new = with_unit(change.name, change.old), with_unit(change.name, change.new)
    return f"{change.name}: {old} -> {new}"


def offered(offer: Offer, battery: str) -> JsonObjectType:
    """Return what a person is to know before confirming."""
    change = offer.prepared.change
    return {
        "code": offer.code,
        "write": offer.write,
        "change": sentence(offer),
        "battery": battery,
        "serial_number": offer.prepared.serial,
        "parameter": change.name,
        "topic": BY_NAME[change.name].topic,
        "unit": change.unit,
        "old": change.old,
        "new": change.new,
        "frame": offer.prepared.frame.hex(" "),
        "cautions": [
            {"caution": caution.key, **caution.details} for caution in change.cautions
        ],
    }


def resulted(offer: Offer, result: Result, battery: str) -> JsonObjectType:
    """Return what came of a write."""
    change = offer.prepared.change
    told: JsonObjectType = {
        "outcome": result.outcome,
        "write": offer.write,
        "change": sentence(offer),
        "battery": battery,
        "parameter": change.name,
        "unit": change.unit,
        "old": change.old,
        "new": change.new,
        "now": result.seen,
        "acknowledged": result.acknowledged,
        "reason": result.reason,
        "details": dict(result.details or {}),
        "other_changes": [
            {"parameter": other.name, "old": other.old, "new": other.new}
            for other in result.others
        ],
    }
    if result.outcome is Outcome.DIFFERENT:
        told["restore_with"] = "undo_parameter_write"
    return told


def compared(
    mine: Iterable[Mapping[str, Any]], theirs: Iterable[Mapping[str, Any]]
) -> list[JsonObjectType]:
    """Return what differs between two lists of parameters, by name."""
    others = {row["name"]: row["value"] for row in theirs}
    return [
        {
            "name": row["name"],
            "value": row["value"],
            "other": others.get(row["name"]),
            "unit": row.get("unit", ""),
        }
        for row in mine
        if others.get(row["name"]) != row["value"]
    ]
