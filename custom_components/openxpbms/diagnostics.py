"""Diagnostics to share: all that helps, no serial number, and nobody's name."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from homeassistant.const import CONF_DEVICE

from .batteries import identities, keys
from .bms.disguise import Disguise
from .bms.port import shown
from .bms.report import told_battery, told_bus, told_identity
from .const import (
    CONF_ADAPTER,
    CONF_BATTERIES,
    CONF_CONNECTIONS,
    CONF_FAMILY,
    CONF_OUTPUTS,
    CONF_STRINGS,
    DOMAIN,
)
from .guard_entity import told

if TYPE_CHECKING:
    from collections.abc import Container

    from homeassistant.core import HomeAssistant
    from homeassistant.helpers.device_registry import DeviceEntry

    from .bms.reading import Identity
    from .bms.rounds import Battery
    from .coordinator import OpenXPBMSConfigEntry, OpenXPBMSCoordinator


async def async_get_config_entry_diagnostics(
    hass: HomeAssistant, entry: OpenXPBMSConfigEntry
) -> dict[str, Any]:
    """Return settings, batteries, counters and the last frames of a bus.

    Of one that is not loaded, what is kept of it.
    """
    if not hasattr(entry, "runtime_data"):
        return _kept(entry, keys(entry).values())
    coordinator = entry.runtime_data
    return {
        **_bus(coordinator),
        "batteries": [_battery(coordinator, battery) for battery in coordinator],
    }


async def async_get_device_diagnostics(
    hass: HomeAssistant, entry: OpenXPBMSConfigEntry, device: DeviceEntry
) -> dict[str, Any]:
    """Return the same for one battery; the frames are the whole bus's."""
    if not hasattr(entry, "runtime_data"):
        return _kept(entry, {key for _, key in device.identifiers})
    coordinator = entry.runtime_data
    return {
        **_bus(coordinator),
        "batteries": [
            _battery(coordinator, battery)
            for battery in coordinator
            if (DOMAIN, coordinator.key_of(battery)) in device.identifiers
        ],
    }


def _kept(entry: OpenXPBMSConfigEntry, wanted: Container[str]) -> dict[str, Any]:
    lasting = keys(entry)
    return {
        **_entry(entry),
        "batteries": [
            {"identity": _identity(entry, identity)}
            for identity in identities(entry.data)
            if lasting[identity.address] in wanted
        ],
    }


def _entry(entry: OpenXPBMSConfigEntry) -> dict[str, Any]:
    left_out = (CONF_BATTERIES, CONF_ADAPTER)
    data = {name: entry.data[name] for name in entry.data if name not in left_out}
    return {
        "entry": {**data, CONF_DEVICE: shown(entry.data[CONF_DEVICE])},
        "options": _options(entry),
    }


def _bus(coordinator: OpenXPBMSCoordinator) -> dict[str, Any]:
    entry, bus = coordinator.config_entry, coordinator.bus
    disguise = _disguise(entry)
    known = [battery.identity for battery in coordinator]
    error = coordinator.last_exception
    return {
        **_entry(entry),
        "protection": _protection(coordinator),
        "writes": _writes(coordinator),
        "round_seconds": coordinator.round_time,
        # The kind alone: the text may name a serial number.
        "last_error": None
        if error is None
        else type(error.__cause__ or error).__name__,
        **told_bus(bus, disguise.frames(bus.trace, known)),
    }


def _options(entry: OpenXPBMSConfigEntry) -> dict[str, Any]:
    """Return the options; keys of batteries may be serial numbers."""
    options = dict(entry.options)
    addresses = {key: str(address) for address, key in keys(entry).items()}
    outputs = dict(options.get(CONF_OUTPUTS, {}))
    for name in (CONF_CONNECTIONS, CONF_STRINGS):
        if name in outputs:
            outputs[name] = {
                addresses.get(key, "gone"): value
                for key, value in outputs[name].items()
            }
    return options | {CONF_OUTPUTS: outputs} if outputs else options


def _protection(coordinator: OpenXPBMSCoordinator) -> dict[str, Any]:
    guard = coordinator.guard
    return {
        "mode": guard.mode,
        "storage": guard.storage,
        "limits": {
            quantity: asdict(limit)
            for quantity, limit in guard.limits.quantities.items()
        },
        "wants": {
            guard.board.entity_id(name): want for name, want in guard.plan.wants.items()
        },
        "batteries": {
            str(watched.address): {
                "wanted": watched.kept.wanted,
                "opened_by_hand": watched.kept.by_hand,
                "charge_allowed": watched.decision.may_charge,
                "discharge_allowed": watched.decision.may_discharge,
                "fresh": watched.decision.fresh,
                "findings": [told(finding) for finding in watched.decision.findings],
                "relay_faults": guard.relay_faults(watched),
                "trip_test": watched.kept.trip_test,
            }
            for watched in guard
        },
    }


def _writes(coordinator: OpenXPBMSCoordinator) -> dict[str, Any]:
    """Return the log of writes: users are numbered, batteries told by address."""
    writes, log = coordinator.writes, coordinator.writes.log
    names = {writes.name_of(b): b.identity.address for b in coordinator}
    addresses = {key: str(address) for address, key in coordinator.keys.items()}
    users: dict[str | None, int] = {}
    return {
        "records": [
            asdict(record)
            | {
                "battery": names.get(record.battery, "gone"),
                "user_id": None,
                "user": users.setdefault(record.user_id, len(users) + 1),
            }
            for record in log.records
        ],
        "at_first_contact": {
            addresses.get(key, "gone"): values for key, values in log.factory.items()
        },
    }


def _identity(entry: OpenXPBMSConfigEntry, identity: Identity) -> dict[str, Any]:
    return told_identity(identity, _disguise(entry))


def _battery(coordinator: OpenXPBMSCoordinator, battery: Battery) -> dict[str, Any]:
    disguise = _disguise(coordinator.config_entry)
    return told_battery(coordinator.bus, battery, disguise)


def _disguise(entry: OpenXPBMSConfigEntry) -> Disguise:
    return Disguise(entry.entry_id, entry.data[CONF_FAMILY])
