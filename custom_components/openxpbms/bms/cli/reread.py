"""A recording read once more, and what came of it beside what was read then."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import replace
import json
from typing import Any

from ..bus import Bus
from ..errors import BusError
from ..family import Family
from ..listening import Listening
from ..reading import Identity, Reading
from ..rounds import Battery, Rounds
from ..seplos_tables import VIA
from ..virtual.replay import Recording, Replay
from .recordings import divisor_of, family_of

type Readings = dict[int, Reading | None]


async def read_again(recording: Recording, path: str, replay: Replay) -> Readings:
    """Read the batteries of a recording once more; return their last Readings."""
    family = family_of(recording, path)
    try:
        if recording.asks:
            return await _ask(recording, family, replay)
        return await _listen(recording, family.bus, replay)
    finally:
        await family.bus.close()


async def _ask(recording: Recording, family: Family, replay: Replay) -> Readings:
    known = [_recorded(told.identity, replay) for told in recording.batteries]
    rounds = Rounds(family, known)
    last: Readings = {identity.address: None for identity in known}
    # There are never more rounds than frames.
    for _ in recording.frames:
        with suppress(BusError):
            await rounds.round()
        for battery in rounds.batteries:
            address = battery.identity.address
            # What is answered from the beginning again was read before.
            if address not in replay.ended:
                last[address] = battery.reading
        if replay.ended >= last.keys():
            break
    return last | dict.fromkeys(replay.silent & last.keys())


def _recorded(identity: Identity, replay: Replay) -> Identity:
    """Return whom to ask: a pack's serial number is asked for after a silence only."""
    asked = VIA.request(identity.address).encoded in replay.requests
    return identity if asked or identity.revision else replace(identity, serial=None)


async def _listen(recording: Recording, bus: Bus, replay: Replay) -> Readings:
    known = [told.identity for told in recording.batteries]
    listening = Listening(
        bus,
        known,
        board=recording.entry.get("board"),
        divisor=divisor_of(recording),
    )
    last: Readings = {identity.address: None for identity in known}

    def heard(battery: Battery, reading: Reading, at: float, *, part: bool) -> None:
        if not part and not replay.said:
            last[battery.identity.address] = reading

    listening.on_reading = heard
    await listening.round()
    async with asyncio.timeout(replay.interval + 10):
        while not replay.said:
            await asyncio.sleep(0.05)
    return last


def as_told(reading: Reading | None) -> Mapping[str, Any] | None:
    """Return a Reading as a recording tells it."""
    if reading is None:
        return None
    plain: Mapping[str, Any] = json.loads(json.dumps(reading.as_dict()))
    return plain


def compared(recording: Recording, read: Readings) -> Iterator[str]:
    """Yield what was read now; lines that differ from the recording begin with "!"."""
    for battery in recording.batteries:
        address = battery.identity.address
        now, then = as_told(read[address]) or {}, battery.reading or {}
        yield f"\nbattery {address}" + ("" if now else ": no whole reading")
        for name in sorted({*now, *then}):
            if now.get(name) == then.get(name):
                if now.get(name) is not None:
                    yield f"  {name}: {now[name]}"
            else:
                yield f"! {name}: {now.get(name)}, then {then.get(name)}"
