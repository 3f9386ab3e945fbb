"""Energy that was shown outlasts whatever ends a whole Home Assistant."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
import json
from math import floor
from pathlib import Path
from typing import Any

from homeassistant.core import HomeAssistant
import pytest
from pytest_homeassistant_custom_component.common import MockConfigEntry

from custom_components.openxpbms.batteries import stored
from custom_components.openxpbms.bms.virtual.line import VirtualLine
from custom_components.openxpbms.bms.virtual.valence import VirtualModule
from custom_components.openxpbms.const import DOMAIN
from tests.drills.process import Process, lay_out

from .conftest import identity

ONE, TWO = (f"sensor.u27_12xp_10440046{n}_energy_charged" for n in (1, 2))
BANK = "sensor.garage_energy_charged"
# A minute is long for a test: it saves with every round.
HURRY = """
from custom_components.openxpbms import energy_store
energy_store.SAVE_EVERY = 0.0
"""
# Some rounds, in which nothing may happen, s.
A_WHILE = 5


class Counting(Process):
    """One that counts the energy of two modules; `key` names its store."""

    key: str

    def shown(self, name: str = ONE) -> float:
        """Return the kWh that are shown, -1 while there are none."""
        try:
            return float(self.states.get(name, "-1"))
        except ValueError:
            return -1.0

    def charged(self, whose: str) -> float:
        """Return the Wh on the disk."""
        charged: float = self.kept(self.key)["counters"][whose]["charged"]
        return charged


@pytest.fixture
async def line() -> AsyncIterator[VirtualLine]:
    both = [VirtualModule(n, serial=f"10440046{n}", current=300.0) for n in (1, 2)]
    async with VirtualLine(both) as line:
        yield line


@pytest.fixture
async def home(
    hass: HomeAssistant,
    hass_storage: dict[str, Any],
    line: VirtualLine,
    tmp_path: Path,
) -> AsyncIterator[Counting]:
    """Lay out a bus whose direction of current is confirmed."""
    home = Counting(tmp_path, before=HURRY)
    entry = MockConfigEntry(
        domain=DOMAIN,
        title="Garage",
        data={
            "device": line.path,
            "family": "valence",
            "line": "mark",
            "batteries": stored(
                identity(module)
                for module in line.devices
                if isinstance(module, VirtualModule)
            ),
        },
        options={"current_confirmed": True, "interval": 1},
    )
    await lay_out(home, hass, hass_storage, entry)
    home.key = f"{DOMAIN}.{entry.entry_id}.energy"
    yield home
    home.kill()


async def counted(home: Counting, goal: float) -> None:
    """Wait until so many kWh are shown."""
    await home.until(lambda: home.shown() >= goal, f"{goal} kWh")


async def test_nothing_runs_backwards_over_kills(home: Counting) -> None:
    last = {ONE: 0.0, BANK: 0.0}
    for _ in range(3):
        home.start()
        await counted(home, 0.0)
        first = {name: home.shown(name) for name in last}
        assert all(first[name] >= last[name] for name in last), (first, last)
        await counted(home, first[ONE] + 0.003)
        home.kill()
        last = {name: home.shown(name) for name in last}
        # What was shown is on the disk.
        assert last[ONE] <= floor(home.charged("valence_104400461")) / 1000
        assert last[BANK] <= floor(home.charged("bank")) / 1000
        assert last[BANK] > last[ONE]


async def test_a_half_written_file_begins_at_zero(
    home: Counting, line: VirtualLine
) -> None:
    home.start()
    await counted(home, 0.003)
    home.kill()
    file = home.path(home.key)
    whole = file.read_bytes()
    file.write_bytes(whole[: len(whole) // 2])
    line.devices[0].silent = True  # so that it stays where it begins
    home.start()
    await counted(home, 0.0)
    assert home.shown() == 0
    await home.until(lambda: home.shown(TWO) > 0, "counted")
    assert home.shown() == 0


async def test_on_a_full_disk_nothing_more_is_shown(home: Counting) -> None:
    home.start()
    await counted(home, 0.003)
    home.limit_files(0)
    # What is on its way may still be shown, if it was written.
    await asyncio.sleep(A_WHILE)
    before = home.shown()
    await home.for_a_while(lambda: home.shown() == before, A_WHILE)
    assert before <= floor(home.charged("valence_104400461")) / 1000
    # With room again it goes on, and nothing that was counted is lost.
    home.limit_files(-1)
    await counted(home, before + 2 * A_WHILE * 0.001)


async def test_a_stop_in_order_keeps_what_no_minute_has(home: Counting) -> None:
    home.before = ""
    home.start()
    await home.until(lambda: home.shown() == 0, "set up")
    await asyncio.sleep(A_WHILE)
    home.end()
    kept = json.loads(home.path(home.key).read_bytes())["data"]["counters"]
    assert kept["valence_104400461"]["charged"] > 1
    home.start()
    await home.until(lambda: home.shown() > 0, "set up again")
    assert home.shown() == floor(kept["valence_104400461"]["charged"]) / 1000
