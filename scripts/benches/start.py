"""From the start of an entry to its first data, and how long a search takes."""

from __future__ import annotations

import asyncio
import time

from custom_components.openxpbms.bms.bus import LISTEN
from custom_components.openxpbms.bms.seplos import ADDRESSES as PACK_ADDRESSES
from custom_components.openxpbms.bms.seplos import LINE, Seplos
from custom_components.openxpbms.bms.seplos_tables import VIA
from custom_components.openxpbms.bms.valence import ADDRESSES as MODULE_ADDRESSES
from custom_components.openxpbms.bms.valence import (
    MODEL,
    WAKE_PAUSES,
    LineMode,
    Valence,
    request,
)
from custom_components.openxpbms.const import FAMILY_SEPLOS, FAMILY_VALENCE
from custom_components.openxpbms.families import make_bus

from .batteries import PACK_TURNAROUND, modules, packs
from .house import house
from .peer import Peer
from .rounds import limit, on_wire
from .table import Row


async def _first_data(peer: Peer, name: str) -> list[Row]:
    rows = []
    for kind, batteries in (("pack", packs(4)), ("module", modules(4))):
        async with peer.line(batteries) as line, house(line.path, batteries) as built:
            start = time.monotonic()
            assert await built.hass.config_entries.async_setup(built.entry.entry_id)
            loaded = time.monotonic()
            coordinator = built.coordinator
            while not all(battery.reading for battery in coordinator):
                await asyncio.sleep(0.002)
            took = time.monotonic() - loaded
            bus = coordinator.bus
            assert bus.line is not None
            least = LISTEN + sum(limit(each, bus.line, bus) for each in batteries)
            if kind == "module":
                least += WAKE_PAUSES[0]
            else:
                # Each shows its serial number first.
                pauses = PACK_TURNAROUND + bus.timing.turnaround
                least += 4 * (on_wire([VIA.request(0)], bus.line) + pauses)
            await built.first_round()
        what = f"{name} start of an entry with 4 {kind}s"
        rows += [
            Row(f"{what}, from loaded to data of all", took, "s", least, 1.10),
            Row(f"{what}, until loaded", loaded - start, "s"),
        ]
    return rows


async def _search(peer: Peer) -> list[Row]:
    rows = []
    one_pack, one_module = packs(1), modules(1)
    async with peer.line(one_pack) as line:
        bus = make_bus(line.path, FAMILY_SEPLOS, {})
        await bus.open(LINE)
        start = time.monotonic()
        packs_found = await Seplos(bus).scan()
        took = time.monotonic() - start
        await bus.close()
        asked = LINE.seconds(8 + VIA.request(0).reply_length)
        least = bus.timing.answer + bus.timing.turnaround + asked
    addresses = len(PACK_ADDRESSES)
    what = f"search for packs, each of {addresses} addresses"
    rows.append(Row(what, 1000 * took / addresses, "ms", 1000 * least, 1.10))
    assert len(packs_found.found) == 1
    async with peer.line(one_module) as line:
        bus = make_bus(line.path, FAMILY_VALENCE, {})
        family = Valence(bus, LineMode.MARK, forced=True)
        await family.open()
        start = time.monotonic()
        modules_found = await family.scan()
        took = time.monotonic() - start
        await bus.close()
        question = request(1, MODEL)
        asked = family.line.seconds(len(question.encoded) + question.reply_length)
        least = bus.timing.answer + asked
    addresses = len(MODULE_ADDRESSES)
    what = f"search for modules, each of {addresses} addresses"
    rows.append(Row(what, 1000 * took / addresses, "ms", 1000 * least, 1.10))
    assert len(modules_found.found) == 1
    return rows


async def measure(peer: Peer) -> list[Row]:
    """Return the figures of this topic."""
    first = await _first_data(peer, "first")
    return [*first, *await _first_data(peer, "second"), *await _search(peer)]
