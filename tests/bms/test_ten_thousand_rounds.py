"""Many rounds over a bad line: not one wrong value in a Reading.

OPENXPBMS_ROUNDS=10000 makes it the long run, which tells its figures.
"""

from __future__ import annotations

from dataclasses import fields
import os
import random
import sys
import time

import pytest

from custom_components.openxpbms.bms import rounds as rounds_module
from custom_components.openxpbms.bms.bus import Bus, Timing
from custom_components.openxpbms.bms.reading import History
from custom_components.openxpbms.bms.rounds import Rounds
from custom_components.openxpbms.bms.valence import TERMINATOR, Valence
from custom_components.openxpbms.bms.virtual import VirtualLine, VirtualModule
from custom_components.openxpbms.bms.virtual.line import Faults

from .conftest import expected, identity, module, scramble

ROUNDS = int(os.environ.get("OPENXPBMS_ROUNDS", "300"))
SEED = int(os.environ.get("OPENXPBMS_SEED", "2026"))
TIMING = Timing(answer=0.02, leaving=0.002, quiet=0.005)


def bank() -> list[VirtualModule]:
    """Return modules of all kinds."""
    kinds = [("7", 2, 4), ("1", 1, 4), ("V", 2, 6), ("V", 1, 6)]
    return [
        module(
            address,
            model=model,
            revision=revision,
            cells=cells,
            serial=f"{461 + address:05d}" if revision == 1 else f"1044{address:05d}",
            quiet=1e9,
        )
        for address, (model, revision, cells) in enumerate(kinds, 1)
    ]


def grow_older(of: VirtualModule, chance: random.Random) -> None:
    """Give a module another past."""
    of.cycles = chance.randrange(0x10000)
    life = of.lifetime
    life.highest_temperature = chance.randint(2000, 9000) / 100
    life.lowest_temperature = chance.randint(-4000, 2000) / 100
    life.energy = chance.randrange(1 << 32)
    life.counts[0x70] = chance.randrange(0x10000)
    life.durations[0x8C] = chance.randrange(1 << 32)


def past(of: VirtualModule) -> History:
    """Return what `grow_older` set."""
    life = of.lifetime
    both = History(
        cycles=of.cycles,
        highest_temperature=life.highest_temperature,
        lowest_temperature=life.lowest_temperature,
    )
    if of.revision == 1:
        return both
    return History(
        cycles=both.cycles,
        highest_temperature=both.highest_temperature,
        lowest_temperature=both.lowest_temperature,
        energy=life.energy,
        balance_count=life.counts[0x70],
        over_voltage_time=life.durations[0x8C],
    )


def wrong_history(before: History, after: History, given: History) -> list[str]:
    """Return the names of fields that were read in this round, and read wrong."""
    wrong = []
    for name in (field.name for field in fields(History)):
        old, new, right = (getattr(one, name) for one in (before, after, given))
        if right is not None and new not in (old, right):
            wrong.append(name)
    return wrong


@pytest.mark.usefixtures("short_pauses")
async def test_no_wrong_value_on_a_bad_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(rounds_module, "SLOWLY", 0.2)
    # So short a time that a late answer comes while the next round asks.
    faults = Faults(noise=0.01, lost=0.01, late=0.01, late_by=(0.021, 0.12))
    modules, chance = bank(), random.Random(SEED)
    line = VirtualLine(modules, real_time=False, seed=SEED, faults=faults)
    await line.start()
    bus = Bus(line.path, terminator=TERMINATOR, timing=TIMING, listen=0.0)
    rounds = Rounds(Valence(bus), [identity(one) for one in modules])
    readings, wrong, start = 0, list[str](), time.monotonic()
    try:
        for number in range(ROUNDS):
            for one in modules:
                scramble(one, chance)
                grow_older(one, chance)
            histories = [battery.history for battery in rounds.batteries]
            await rounds.round()
            for one, battery, before in zip(
                modules, rounds.batteries, histories, strict=True
            ):
                where = f"round {number}, battery {one.address}"
                readings += battery.reading is not None
                if battery.reading not in (None, expected(one)):
                    wrong.append(f"{where}: {battery.reading} for {expected(one)}")
                for name in wrong_history(before, battery.history, past(one)):
                    wrong.append(f"{where}: {name} of its history")
    finally:
        await bus.close()
        await line.stop()
    if "OPENXPBMS_ROUNDS" in os.environ:
        told = {
            "rounds": ROUNDS,
            "readings": readings,
            "readings missing": ROUNDS * len(modules) - readings,
            "wrong values": len(wrong),
            "seconds": round(time.monotonic() - start, 1),
            **bus.counters.as_dict(),
        }
        with capsys.disabled():
            sys.stdout.write("".join(f"\n{name:17} {told[name]}" for name in told))
    assert wrong == []
    # The line was as bad as it was meant to be, and yet nearly everything was read.
    counters = bus.counters
    assert counters.exchanges > 10 * ROUNDS
    trouble = (counters.timeouts, counters.late, counters.crc_errors)
    assert min(trouble) > 0.002 * counters.exchanges
    assert readings > 0.9 * ROUNDS * len(modules)
