"""What an entry knows of its batteries without asking them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from homeassistant.config_entries import ConfigEntry

from .bms.reading import Identity
from .const import CONF_BATTERIES, CONF_FAMILY, DOMAIN

if TYPE_CHECKING:
    from homeassistant.core import HomeAssistant


def stored(identities: Iterable[Identity]) -> list[dict[str, Any]]:
    """Return identities as they are kept in an entry's data, by address."""
    return [asdict(i) for i in sorted(identities, key=lambda i: i.address)]


def identities(data: Mapping[str, Any]) -> list[Identity]:
    """Return the identities kept in an entry's data."""
    return [Identity(**battery) for battery in data[CONF_BATTERIES]]


def keys(entry: ConfigEntry[Any]) -> dict[int, str]:
    """Return the lasting key of each battery by its address.

    The serial number, so that history survives a new address or port; entry and
    address where it is missing or not the battery's alone.
    """
    known = identities(entry.data)
    serials = [identity.serial for identity in known]
    family = entry.data[CONF_FAMILY]
    return {
        identity.address: f"{family}_{identity.serial}"
        if identity.serial is not None and serials.count(identity.serial) == 1
        else f"{entry.entry_id}_{identity.address}"
        for identity in known
    }


def owner(
    hass: HomeAssistant, identity: Identity, but: str | None = None
) -> ConfigEntry[Any] | None:
    """Return the entry that has a battery already, `but` one entry's id."""
    if identity.serial is None:
        return None
    for entry in hass.config_entries.async_entries(DOMAIN):
        if entry.entry_id != but and any(
            identity.serial == other.serial for other in identities(entry.data)
        ):
            return entry
    return None
