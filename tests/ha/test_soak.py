"""The soak's own parts: its oracle, its watch, its clock, and a short run of it all."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
import random
import subprocess
import sys
import time
from types import SimpleNamespace
from typing import Any

import pytest

from custom_components.openxpbms.bms.bus import Bus
from custom_components.openxpbms.bms.decision import Way
from custom_components.openxpbms.bms.reading import Reading
from custom_components.openxpbms.bms.rounds import Rounds
from custom_components.openxpbms.bms.seplos import Seplos
from custom_components.openxpbms.bms.valence import TERMINATOR, Valence
from custom_components.openxpbms.bms.virtual import VirtualModule, VirtualPack
from scripts.soaking.clock import Clock, Loop
from scripts.soaking.oracle import Oracle
from scripts.soaking.truth import DANGERS, Truth
from scripts.soaking.watch import MARGIN, SILENCE, Watch

from .conftest import MakeLine

ROOT = Path(__file__).parents[2]


def make_truth(family: str, address: int = 1) -> Truth:
    """Return a battery that has just changed, at the time 1000."""
    device: VirtualModule | VirtualPack = VirtualPack(address)
    if family == "valence":
        device = VirtualModule(address)
    truth = Truth(device, family, family, random.Random(address), 0.0)
    truth.change(1000.0, charge=True, discharge=True)
    return truth


async def read(make_line: MakeLine, truth: Truth) -> tuple[Reading, list[Reading]]:
    """Read a battery over its line; return the whole and the parts."""
    line = await make_line(truth.device)
    parts: list[Reading] = []
    whole: list[Reading] = []
    terminator = TERMINATOR if truth.family == "valence" else b""
    bus = Bus(line.path, terminator=terminator)
    family = Valence(bus) if truth.family == "valence" else Seplos(bus)
    rounds = Rounds(family, [truth.identity])

    def told(_battery: Any, reading: Reading, _at: float, *, part: bool) -> None:
        (parts if part else whole).append(reading)

    rounds.on_reading = told
    for _ in range(5):
        if not whole:
            parts.clear()
            await rounds.round()
    await bus.close()
    return whole[-1], parts


@pytest.mark.parametrize("family", ["valence", "seplos"])
async def test_the_oracle_tells_true_from_wrong(
    make_line: MakeLine, family: str
) -> None:
    truth, oracle = make_truth(family), Oracle()
    reading, parts = await read(make_line, truth)
    assert oracle.reading(truth, reading, 999.0, 1001.0), oracle.told
    assert len(parts) >= 3
    for part in parts:
        assert oracle.part(truth, part, 999.0, 1001.0), oracle.told
    assert not oracle.wrong

    current, cells = reading.current, reading.cell_voltages
    assert current is not None
    assert cells is not None
    for wrong in (
        replace(reading, current=current + 0.01),
        replace(reading, cell_voltages=(cells[0] + 0.001, *cells[1:])),
        replace(reading, cell_voltages=cells[::-1]),
        replace(reading, soc=None),
        replace(reading, heater=None if family == "seplos" else False),
    ):
        assert not oracle.reading(truth, wrong, 999.0, 1001.0)
    assert not oracle.part(truth, replace(parts[0], current=3.21), 999.0, 1001.0)
    # What it once was, and what another battery is.
    truth.change(1010.0, charge=True, discharge=True)
    assert oracle.reading(truth, reading, 1009.0, 1011.0)
    assert not oracle.reading(truth, reading, 1011.0, 1012.0)
    assert not oracle.reading(make_truth(family, 2), reading, 999.0, 1012.0)
    assert oracle.wrong == {"readings": 7, "parts": 1}
    assert len(oracle.told) == 8


def test_the_oracle_knows_what_sensors_show() -> None:
    truth, oracle = make_truth("valence"), Oracle()

    def right(key: str, state: str) -> bool:
        return oracle.state(truth, key, state, 999.0, 1001.0)

    cells = truth.device.cell_voltages
    assert right("cell_2_voltage", str(cells[1]))
    assert not right("cell_2_voltage", str(round(cells[1] + 0.001, 3)))
    assert right("current", str(round(truth.device.current + 0.2, 2)))
    assert not right("current", str(round(truth.device.current + 0.3, 2)))
    assert right("lowest_cell", str(cells.index(min(cells)) + 1))
    assert not right("voltage", "x")
    pack = make_truth("seplos")
    assert not oracle.state(pack, "operating_state", "full", 999.0, 1001.0)


class Played:
    """A Home with one bus of one battery behind two relays, both closed."""

    def __init__(self) -> None:
        self.truth = make_truth("valence")
        bus = SimpleNamespace(name="valence", family="valence", truths=[self.truth])
        self.buses = {"valence": bus}
        names = ("valence_charge", "valence_load", "connection_1")
        self.relays = {name: SimpleNamespace(is_on=True) for name in names}


def watch_of(home: Any, now: Callable[[], float]) -> Watch:
    """Return a watch whose start is long ago."""
    watch = Watch(home, now)
    watch.since = -1000.0
    return watch


@pytest.mark.parametrize("way", list(Way))
def test_the_watch_finds_a_path_that_stays_closed(way: Way) -> None:
    home = Played()
    now = 1000.0
    watch = watch_of(home, lambda: now)
    shared = "valence_charge" if way is Way.CHARGE else "valence_load"
    other = "valence_load" if way is Way.CHARGE else "valence_charge"
    home.relays[other].is_on = False
    whole = Reading(cell_voltages=(3.3,) * 4, cell_temperatures=(20.0,) * 4)
    watch.hears(home.truth, whole, part=False)

    now += SILENCE[way] + MARGIN - 1
    watch.look()
    assert not watch.broken
    now += 2
    home.relays[shared].is_on = False
    watch.look()
    assert not watch.broken
    home.relays[shared].is_on = True
    watch.impair(shared)
    watch.look()
    assert not watch.broken
    watch.impaired.clear()
    watch.look()
    watch.look()
    assert watch.broken == {"unheard": 1}
    watch.closed(shared)
    assert watch.broken["closed on a stale battery"] == 1


def test_the_watch_finds_a_danger_that_is_not_cut_off() -> None:
    home = Played()
    now = 1000.0
    watch = watch_of(home, lambda: now)
    [danger] = [d for d in DANGERS["valence"] if d.name == "over-temperature cut-off"]
    home.truth.endanger(danger, now)
    home.truth.settle(now, charge=True, discharge=True)
    watch.hears(home.truth, Reading(cell_temperatures=(20.0, 20.0, 66.25)), part=True)
    watch.hears(home.truth, Reading(), part=False)
    now += MARGIN - 1
    watch.look()
    assert not watch.broken
    now += 2
    watch.look()
    assert watch.broken == {"heard in danger: over-temperature cut-off": 2}
    # Only so that it counts as heard; nothing tells of the danger.
    now += SILENCE[Way.CHARGE]
    watch.hears(home.truth, Reading(), part=False)
    watch.look()
    assert watch.broken["in danger: over-temperature cut-off"] == 1
    home.relays["connection_1"].is_on = False
    before = watch.broken.copy()
    now += 1000
    watch.look()
    assert watch.broken == before


def test_the_clock_skips_what_is_only_waited_for() -> None:
    clock = Clock(factor=1e9)
    loop = Loop(clock)
    loop.time = clock.monotonic  # type: ignore[method-assign]
    ended: list[str] = []

    async def wait(seconds: float) -> None:
        await asyncio.sleep(seconds)
        ended.append("waited")

    async def work() -> None:
        await loop.run_in_executor(None, time.sleep, 0.2)
        ended.append("worked")

    async def run() -> None:
        before = clock.monotonic()
        await asyncio.gather(wait(100_000), work())
        passed.append(clock.monotonic() - before)

    passed: list[float] = []
    began = time.monotonic()
    try:
        loop.run_until_complete(run())
    finally:
        loop.run_until_complete(loop.shutdown_default_executor())
        loop.close()
    assert ended == ["worked", "waited"]
    assert 100_000 <= passed[0] < 100_100
    assert time.monotonic() - began < 100


def test_the_clock_runs_no_faster_than_asked() -> None:
    clock = Clock(factor=20)
    assert not clock.skip(1e9) or clock.skipped < 1e3
    real, passed = clock.elapsed
    assert passed <= 20 * real + 0.1
    clock.sent(3)
    assert not clock.skip(1.0)


def test_a_short_soak_finds_nothing_wrong() -> None:
    options = ["--minutes", "0.1", "--size", "2", "--quiet", "20", "--recovery", "20"]
    done = subprocess.run(
        [sys.executable, "-m", "scripts.soaking", *options],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=400,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    for judged in ("Readings", "Parts of Readings", "States of sensors", "Paths of"):
        [row] = [line for line in done.stdout.splitlines() if f"| {judged}" in line]
        _, _, times, wrong, _ = (cell.strip() for cell in row.split("|"))
        assert int(times) > 50, row
        assert wrong == "0"
