"""A diagnostics download as a port: the bus answers, or talks, as it did then.

Usage, from the repository's root:
.venv-test/bin/python -m scripts.replay FILE [--read]

Prints the name of a pseudo-terminal, to be opened by whatever reads batteries, and what
was asked that the download has no answer for. With --read it reads the batteries itself
until the recording is over, and prints their values beside those of the download.
"""

import argparse
import asyncio
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, replace
import json
from pathlib import Path
from typing import Any

from custom_components.openxpbms.bms.bus import Bus
from custom_components.openxpbms.bms.errors import BusError
from custom_components.openxpbms.bms.listening import Listening
from custom_components.openxpbms.bms.reading import Identity, Reading
from custom_components.openxpbms.bms.rounds import Rounds
from custom_components.openxpbms.bms.seplos_tables import VIA
from custom_components.openxpbms.bms.virtual import VirtualLine
from custom_components.openxpbms.bms.virtual.replay import (
    Recording,
    Replay,
    read_download,
)
from custom_components.openxpbms.families import (
    current_divisor,
    make_bus,
    make_family,
)

type Readings = dict[int, Reading | None]


async def read_again(recording: Recording, path: str, replay: Replay) -> Readings:
    """Read the batteries of a recording once more; return their last Readings."""
    bus = make_bus(path, recording.family, recording.options, mute=not recording.asks)
    try:
        if recording.asks:
            return await _ask(recording, bus, replay)
        return await _listen(recording, bus, replay)
    finally:
        await bus.close()


async def _ask(recording: Recording, bus: Bus, replay: Replay) -> Readings:
    family = make_family(bus, recording.entry, recording.options)
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
        divisor=current_divisor(recording.options),
    )
    last: Readings = {identity.address: None for identity in known}

    def heard(battery: Any, reading: Reading, at: float, *, part: bool) -> None:
        if not part and not replay.said:
            last[battery.identity.address] = reading

    listening.on_reading = heard
    await listening.round()
    async with asyncio.timeout(replay.interval + 10):
        while not replay.said:
            await asyncio.sleep(0.05)
    return last


def as_told(reading: Reading | None) -> Mapping[str, Any] | None:
    """Return a Reading as diagnostics tell it."""
    if reading is None:
        return None
    coils = None if reading.coils is None else reading.coils.hex(" ")
    unknown = [f"0x{coil:04X}" for coil in reading.unknown_coils or ()]
    told = asdict(reading) | {"coils": coils, "unknown_coils": unknown}
    plain: Mapping[str, Any] = json.loads(json.dumps(told))
    return plain


async def main() -> None:
    """Replay a file until somebody ends it, or until it is read."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("file", type=Path)
    parser.add_argument("--read", action="store_true")
    arguments = parser.parse_args()
    try:
        text = await asyncio.to_thread(arguments.file.read_text, "utf-8")
        recording = read_download(json.loads(text))
    except (OSError, ValueError) as err:
        parser.error(f"{arguments.file}: {err}")
    replay = Replay(recording)
    async with VirtualLine([replay], strict=False) as line:
        print(f"{len(recording.frames)} frames on {line.path}", flush=True)
        if arguments.read:
            show(recording, await read_again(recording, line.path, replay))
        told = 0
        while not arguments.read:
            for problem in replay.complaints[told:]:
                print(problem, flush=True)
            told = len(replay.complaints)
            await asyncio.sleep(0.5)
    for problem in replay.complaints[told:]:
        print(problem)


def show(recording: Recording, read: Readings) -> None:
    """Print what was read now beside what the download says."""
    for battery in recording.batteries:
        address = battery.identity.address
        now, then = as_told(read[address]) or {}, battery.reading or {}
        print(f"\nbattery {address}" + ("" if now else ": no whole reading"))
        for name in sorted({*now, *then}):
            if now.get(name) == then.get(name):
                if now.get(name) is not None:
                    print(f"  {name}: {now[name]}")
            else:
                print(f"! {name}: {now.get(name)}, then {then.get(name)}")


if __name__ == "__main__":
    with suppress(KeyboardInterrupt):
        asyncio.run(main())
