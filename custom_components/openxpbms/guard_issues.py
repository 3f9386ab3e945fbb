"""Repair issues of protection: raised and taken away by what a guard sees."""

from __future__ import annotations

from typing import TYPE_CHECKING

from homeassistant.helpers import issue_registry as ir

from .bms.limits import Quantity
from .const import DOMAIN
from .kept import Mode

if TYPE_CHECKING:
    from .guard import Guard

ISSUE_NOT_ARMED = "not_armed"
ISSUE_RELAY_FAULT = "relay_fault"
ISSUE_STATE_LOST = "state_lost"
# Of a relay, by its name.
ISSUE_UNGUARDED = "unguarded"


def raise_issue(
    guard: Guard, kind: str, severity: ir.IssueSeverity, **details: str
) -> None:
    """Raise an issue of a bus."""
    ir.async_create_issue(
        guard.hass,
        DOMAIN,
        _issue_id(guard, kind),
        data={"entry_id": guard.entry.entry_id, "kind": kind},
        is_fixable=kind == ISSUE_NOT_ARMED,
        severity=severity,
        translation_key=kind,
        translation_placeholders={"bus": guard.entry.title, **details},
    )


def _issue_id(guard: Guard, kind: str) -> str:
    return f"{kind}_{guard.entry.entry_id}"


def tell_issues(guard: Guard) -> None:
    """Raise what there is to be told of a bus, and take away what is over."""
    faults: dict[str, str] = {}
    lost_state = False
    for watched in guard:
        faults |= guard.relay_faults(watched)
        lost_state |= any(
            finding.quantity is Quantity.STATE_LOST
            for finding in watched.decision.findings
        )
    open_issues = {
        ISSUE_NOT_ARMED: guard.mode is Mode.WATCH_ONLY and bool(guard.hands.relays),
        ISSUE_RELAY_FAULT: bool(faults) and guard.mode is Mode.ARMED,
        ISSUE_STATE_LOST: lost_state,
    }
    if guard.mode is Mode.ARMED:
        for name in guard.hands.relays:
            ir.async_delete_issue(guard.hass, DOMAIN, f"{ISSUE_UNGUARDED}_{name}")
    for kind, is_open in open_issues.items():
        if not is_open:
            ir.async_delete_issue(guard.hass, DOMAIN, _issue_id(guard, kind))
        elif kind == ISSUE_NOT_ARMED:
            raise_issue(guard, kind, ir.IssueSeverity.WARNING)
        else:
            relays = ", ".join(faults)
            raise_issue(guard, kind, ir.IssueSeverity.ERROR, relays=relays)
