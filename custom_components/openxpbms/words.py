"""Batteries named in figures that every language reads."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .bms.port import DEMO_SCHEME, shown
from .families import KINDS

if TYPE_CHECKING:
    from collections.abc import Iterable

    from .bms.bank import HeardPack
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
        return f"Demo bus ({kind} bank)" if "mode=bank" in url else f"Demo bus ({kind})"
    name = shown(url) if "://" in url else url.rpartition("/")[2]
    return f"{kind} ({name.removeprefix('usb-').partition('-if')[0]})"
