"""What an entry knows of its batteries without asking them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict
from itertools import count
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

    The one it has kept, or its serial number, so that history survives a new address
    or port; entry and address where that is missing or not the battery's alone.
    """
    known = identities(entry.data)
    serials = [identity.serial for identity in known]
    family = entry.data[CONF_FAMILY]
    made = {i.address: i.key for i in known if i.key is not None}
    for identity in known:
        if identity.address in made:
            continue
        if identity.serial is not None and serials.count(identity.serial) == 1:
            key = f"{family}_{identity.serial}"
        else:
            key = f"{entry.entry_id}_{identity.address}"
        made[identity.address] = _free(key, made.values())
    return made


def _free(key: str, used: Iterable[str]) -> str:
    """Return `key`, with a number where a battery has kept it from another address."""
    taken = set(used)
    numbered = (f"{key}_{number}" for number in count(2))
    return key if key not in taken else next(k for k in numbered if k not in taken)


def owner(
    hass: HomeAssistant, family: str, identity: Identity, but: str | None = None
) -> ConfigEntry[Any] | None:
    """Return the entry that has a battery already, `but` one entry's id."""
    if identity.serial is None:
        return None
    for entry in hass.config_entries.async_entries(DOMAIN):
        if (
            entry.entry_id != but
            and entry.data[CONF_FAMILY] == family
            and any(identity.serial == i.serial for i in identities(entry.data))
        ):
            return entry
    return None
