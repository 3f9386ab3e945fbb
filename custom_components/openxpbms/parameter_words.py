"""Offers and results of writes, as the answers of actions."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from .bms.parameter_facts import change_line
from .bms.parameters import BY_NAME
from .bms.seplos_writes import Outcome

if TYPE_CHECKING:
    from homeassistant.util.json import JsonObjectType

    from .bms.seplos_writes import Result
    from .writes import Offer


def offered(offer: Offer, battery: str) -> JsonObjectType:
    """Return what a person is to know before confirming."""
    change = offer.prepared.change
    return {
        "code": offer.code,
        "write": offer.write,
        "change": change_line(change),
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
        "change": change_line(change),
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
