"""Batteries named in figures that every language reads, and why one stays off."""

from __future__ import annotations

from typing import TYPE_CHECKING

from homeassistant.const import CONF_DEVICE

from .bms.decision import Finding, Waits
from .bms.families import KINDS
from .bms.limits import Quantity
from .bms.port import DEMO_SCHEME, shown
from .const import CONF_FAMILY
from .spoken import DETAIL, FAULT, QUANTITY, spoken

if TYPE_CHECKING:
    from collections.abc import Iterable

    from homeassistant.config_entries import ConfigEntry
    from homeassistant.core import HomeAssistant

    from .bms.bank import HeardPack
    from .bms.decision import Obstacle, Value
    from .bms.reading import Identity


def identity_label(identity: Identity) -> str:
    """Address, model, serial number, revision or firmware, cells in series."""
    parts = [str(identity.address), identity.model, identity.serial or "?"]
    if identity.revision is not None:
        parts.append(f"Rev {identity.revision}")
    if identity.firmware is not None:
        parts.append(f"FW {identity.firmware}")
    return " · ".join([*parts, f"{identity.cells or '?'}S"])


def pack_label(pack: HeardPack) -> str:
    """Number, voltage, cells, state of charge and current of a pack just heard."""
    reading = pack.reading
    assert reading is not None
    return (
        f"{pack.identity.address} · {reading.voltage:.2f} V · {pack.identity.cells}S"
        f" · {reading.soc:.1f} % · {reading.current:.2f} A"
    )


def pack_list(packs: Iterable[HeardPack]) -> str:
    """Return packs as the lines of a Markdown list."""
    return "\n".join(f"- {pack_label(pack)}" for pack in packs)


def entry_title(url: str, family: str) -> str:
    """Name an entry after its port, without what is the same for all of them."""
    kind = KINDS[family].name
    if url.startswith(DEMO_SCHEME):
        joined = [f" {mode}" for mode in ("bank", "string") if f"mode={mode}" in url]
        return f"Demo bus ({kind}{''.join(joined)})"
    name = shown(url) if "://" in url else url.rpartition("/")[2]
    return f"{kind} ({name.removeprefix('usb-').partition('-if')[0]})"


def is_named(entry: ConfigEntry) -> bool:
    """Whether a person gave an entry its name; the one it got has its adapter's."""
    data = entry.data
    return entry.title != entry_title(data[CONF_DEVICE], data[CONF_FAMILY])


def moved_title(entry: ConfigEntry, url: str) -> str:
    """Name an entry after its new port, unless a person gave it a name."""
    return entry.title if is_named(entry) else entry_title(url, entry.data[CONF_FAMILY])


# Digits and unit of each quantity that has a value.
_UNITS = {
    Quantity.CELL_OVER_VOLTAGE: (3, "V"),
    Quantity.CELL_UNDER_VOLTAGE: (3, "V"),
    Quantity.CELL_DEEP_DISCHARGE: (3, "V"),
    Quantity.CELL_OVER_TEMPERATURE: (1, "°C"),
    Quantity.ELECTRONICS_OVER_TEMPERATURE: (1, "°C"),
    Quantity.CHARGE_OVER_CURRENT: (1, "A"),
    Quantity.DISCHARGE_OVER_CURRENT: (1, "A"),
    Quantity.STOP_WITHOUT_EFFECT: (1, "A"),
    Quantity.CELL_SPREAD: (3, "V"),
}


def refusal(
    hass: HomeAssistant, found: Finding | Obstacle, now: Value | None
) -> tuple[str, dict[str, str]]:
    """Return why a battery is not connected: a key for it, and its details.

    `now` is the value as it is now, where it is still outside its clearing limit.
    """
    quantity, value = found.quantity, now or found.value
    timed = isinstance(found, Finding) and found.waits is Waits.TIME
    if timed and quantity is not Quantity.STATE_LOST:
        return "too_soon", {"quantity": spoken(hass, QUANTITY, quantity)}
    digits, unit = _UNITS.get(quantity, (0, ""))
    clears = found.clears
    details = {"clears": "" if clears is None else f"{clears:.{digits}f} {unit}"}
    if value is not None:
        kind = FAULT if quantity is Quantity.REPORTED_FAULT else DETAIL
        details |= {
            "value": f"{value.value:.{digits}f} {unit}",
            "cell": str(value.number or "?"),
            "what": spoken(hass, kind, value.what or "?"),
        }
    return quantity, details
