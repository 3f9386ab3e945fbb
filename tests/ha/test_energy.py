"""Energy of batteries and their bank: counted, kept, and shown once it was saved."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
import json
from math import floor, inf
from pathlib import Path
from typing import Any
from unittest.mock import patch

from homeassistant.const import EVENT_HOMEASSISTANT_FINAL_WRITE, UnitOfTime
from homeassistant.core import CoreState, HomeAssistant, State
from homeassistant.helpers import entity_registry as er
from homeassistant.helpers.storage import Store
import pytest

from custom_components.openxpbms.bms.energy import EnergyCounter
from custom_components.openxpbms.bms.virtual.valence import VirtualModule
from custom_components.openxpbms.const import DOMAIN
from custom_components.openxpbms.energy_store import energy_file

from .conftest import MakeEntry, MakeLine, first_round, identity

KEY = "valence_104400461"
CONFIRMED = {
    "current_confirmed": True,
    "outputs": {"joined": "parallel"},
    # No pause of a slow machine is a gap.
    "interval": 300,
}
REAL = {
    name: getattr(Store, name)
    for name in ("_async_load", "_async_write_data", "async_remove")
}
# So much flows that Wh pass within a test.
CHARGE = 300.0


class WallClock:
    """What the time of the day is taken for."""

    def __init__(self) -> None:
        self.ahead = 0.0

    def __call__(self) -> float:
        return 1_790_000_000.0 + self.ahead


@pytest.fixture
def wall() -> Iterator[WallClock]:
    """Let the time of the day stand still unless a test moves it."""
    clock = WallClock()
    with patch("custom_components.openxpbms.energy_store.time.time", clock):
        yield clock


@pytest.fixture(autouse=True)
def _save_at_once() -> Iterator[None]:
    with patch("custom_components.openxpbms.energy_store.SAVE_EVERY", 0.0):
        yield


def modules(**changes: Any) -> list[VirtualModule]:
    """Return two modules that are charged."""
    return [
        VirtualModule(n, serial=f"10440046{n}", current=CHARGE, **changes)
        for n in (1, 2)
    ]


def state(hass: HomeAssistant, key: str, whose: str = KEY) -> State:
    """Return the state of a sensor of a battery, or of the bank."""
    [entry] = hass.config_entries.async_entries(DOMAIN)
    unique_id = f"{entry.entry_id if whose == 'bank' else whose}_{key}"
    entity_id = er.async_get(hass).async_get_entity_id("sensor", DOMAIN, unique_id)
    assert entity_id is not None, unique_id
    found = hass.states.get(entity_id)
    assert found is not None, entity_id
    return found


def shown(hass: HomeAssistant, whose: str = KEY) -> tuple[str, str, str]:
    """Return what is shown as charged, as discharged, and as not counted."""
    charged, discharged, uncounted = (
        state(hass, f"energy_{what}", whose).state
        for what in ("charged", "discharged", "uncounted")
    )
    return charged, discharged, uncounted


def counter_of(entry: Any, whose: str = KEY) -> EnergyCounter:
    """Return what has been counted up to now."""
    counter: EnergyCounter = entry.runtime_data.energy._counters[whose]
    return counter


async def count(
    hass: HomeAssistant, entry: Any, until: Callable[[], bool], rounds: int = 200
) -> None:
    """Ask the bus again and again until enough has flowed."""
    for _ in range(rounds):
        await entry.runtime_data.async_refresh()
        await hass.async_block_till_done()
        if until():
            return
        await asyncio.sleep(0.05)
    raise AssertionError("too little has flowed")


async def restart(hass: HomeAssistant, entry: Any) -> None:
    """Load an entry anew and wait for its first round."""
    assert await hass.config_entries.async_reload(entry.entry_id)
    await first_round(hass, entry)


def stored(hass: HomeAssistant, entry: Any) -> Path:
    """Return the file on the disk."""
    return Path(energy_file(hass, entry.entry_id).path)


@pytest.fixture
def on_disk(hass: HomeAssistant, tmp_path: Path) -> Iterator[None]:
    """Let stores be files, which the test harness replaces by a dictionary."""
    path = property(lambda store: str(tmp_path / ".storage" / store.key))
    with patch.multiple(Store, path=path, **REAL):
        yield


async def test_what_flows_is_shown_as_it_was_saved(
    hass: HomeAssistant, make_line: MakeLine, make_entry: MakeEntry, on_disk: None
) -> None:
    both = modules()
    line = await make_line(*both)
    entry = await make_entry(line.path, *map(identity, both), options=CONFIRMED)
    # Nothing has flowed, and nothing is missing.
    assert shown(hass) == shown(hass, "bank") == ("0.0", "0.0", "0.0")
    batteries = list(entry.runtime_data)
    power, start = batteries[0].reading.power, batteries[0].read_at
    await count(hass, entry, lambda: float(shown(hass, "bank")[0]) >= 0.003)

    counter = counter_of(entry)
    seconds = batteries[0].read_at - start
    assert counter.charged == pytest.approx(power * seconds / 3600)
    assert counter.discharged == counter.uncounted == 0
    # Both have charged the bank.
    assert counter_of(entry, "bank").charged == pytest.approx(
        2 * counter.charged, rel=0.2
    )
    kept = json.loads(stored(hass, entry).read_bytes())["data"]["counters"]
    for whose in (KEY, "valence_104400462", "bank"):
        assert float(shown(hass, whose)[0]) == floor(kept[whose]["charged"]) / 1000
        assert shown(hass, whose)[1:] == ("0.0", "0.0")

    for one in both:
        one.current = -CHARGE
    await count(hass, entry, lambda: float(shown(hass)[1]) >= 0.001)
    charged = state(hass, "energy_charged", "bank")
    assert charged.attributes["device_class"] == "energy"
    assert charged.attributes["state_class"] == "total_increasing"
    assert charged.attributes["unit_of_measurement"] == "kWh"


async def test_it_goes_on_after_a_restart(
    hass: HomeAssistant,
    make_line: MakeLine,
    make_entry: MakeEntry,
    on_disk: None,
    wall: WallClock,
) -> None:
    both = modules()
    line = await make_line(*both)
    entry = await make_entry(line.path, *map(identity, both), options=CONFIRMED)
    await count(hass, entry, lambda: float(shown(hass)[0]) >= 0.001)
    before = float(shown(hass)[0])
    counted = counter_of(entry).charged
    wall.ahead = 3600
    await restart(hass, entry)
    # What was not yet shown was kept, too, and the hour away was not guessed.
    assert float(shown(hass)[0]) == floor(counted) / 1000 >= before
    assert counter_of(entry).charged == pytest.approx(counted, abs=0.5)
    await count(hass, entry, lambda: float(shown(hass)[2]) > 0)
    assert shown(hass)[2] == shown(hass, "bank")[2] == "1.0"
    # A clock that was set back makes nothing of it.
    wall.ahead = -86400
    await restart(hass, entry)
    await count(hass, entry, lambda: counter_of(entry).charged > counted + 1)
    assert shown(hass)[2] == "1.0"


async def test_a_silent_battery_makes_a_gap_for_itself_and_the_bank(
    hass: HomeAssistant, make_line: MakeLine, make_entry: MakeEntry
) -> None:
    both = modules()
    line = await make_line(*both)
    entry = await make_entry(line.path, *map(identity, both), options=CONFIRMED)
    coordinator = entry.runtime_data
    await count(hass, entry, lambda: float(shown(hass)[0]) >= 0.001)
    before = shown(hass)
    both[0].silent = True
    for _ in range(2):
        await coordinator.async_refresh()
    await hass.async_block_till_done()
    # Its energy stays in sight.
    assert float(shown(hass)[0]) >= float(before[0])
    counted = counter_of(entry).charged
    of_bank = counter_of(entry, "bank").charged
    other = counter_of(entry, "valence_104400462").charged
    await count(
        hass,
        entry,
        lambda: counter_of(entry, "valence_104400462").charged > other + 1,
    )
    assert counter_of(entry).charged == counted
    assert counter_of(entry, "bank").charged == of_bank
    both[0].silent = False
    # It was away for longer than two rounds of this pace.
    with patch("custom_components.openxpbms.whole_bank.WholeBank.gap", 0.001):
        for _ in range(2):
            await coordinator.async_refresh()
    assert counter_of(entry).uncounted > 0
    assert counter_of(entry, "bank").uncounted > 0
    assert counter_of(entry).charged == counted


async def test_what_cannot_be_is_not_counted(
    hass: HomeAssistant, make_line: MakeLine, make_entry: MakeEntry
) -> None:
    both = modules()
    line = await make_line(*both)
    entry = await make_entry(line.path, *map(identity, both), options=CONFIRMED)
    both[0].registers[0x42] = 65000  # of four cells
    counted = counter_of(entry).charged
    of_bank = counter_of(entry, "bank").charged
    other = counter_of(entry, "valence_104400462").charged
    await count(
        hass,
        entry,
        lambda: counter_of(entry, "valence_104400462").charged > other + 0.5,
    )
    assert counter_of(entry).charged == counted
    assert counter_of(entry, "bank").charged == of_bank


async def test_a_gap_is_more_than_two_rounds(
    hass: HomeAssistant, make_line: MakeLine, make_entry: MakeEntry
) -> None:
    [one, _] = modules()
    line = await make_line(one)
    entry = await make_entry(line.path, identity(one), options={"interval": 7})
    whole = entry.runtime_data.whole
    assert whole.gap == pytest.approx(16, abs=1)
    entry.runtime_data.round_time = 4.0
    assert whole.gap == 22
    entry.runtime_data.round_time = None
    assert whole.gap == 16


async def test_nothing_is_counted_before_the_direction_is_confirmed(
    hass: HomeAssistant, make_line: MakeLine, make_entry: MakeEntry, on_disk: None
) -> None:
    both = modules()
    line = await make_line(*both)
    options = CONFIRMED | {"current_confirmed": False}
    entry = await make_entry(line.path, *map(identity, both), options=options)
    for _ in range(3):
        await entry.runtime_data.async_refresh()
    await hass.async_block_till_done()
    gone = ("unavailable",) * 3
    assert shown(hass) == shown(hass, "bank") == gone
    for key in ("time_to_empty", "time_to_full"):
        assert state(hass, key).state == "unavailable"
        assert state(hass, key, "bank").state == "unavailable"
    assert not stored(hass, entry).exists()
    power = state(hass, "energy_dashboard_power", "bank")
    assert power.attributes["direction_confirmed"] is False
    hass.config_entries.async_update_entry(entry, options=CONFIRMED)
    await restart(hass, entry)
    assert shown(hass) == ("0.0", "0.0", "0.0")


def kept_as(data: Any) -> bytes:
    """Return a file with this content."""
    return json.dumps(
        {"version": 1, "minor_version": 1, "key": "x", "data": data}
    ).encode()


def one_counter(**figures: Any) -> bytes:
    """Return a file with a counter of this content."""
    good = {"charged": 5000.0, "discharged": 0.0, "uncounted": 0.0, "until": 0.0}
    return kept_as({"counters": {KEY: good | figures}})


@pytest.mark.parametrize(
    "content",
    [
        b"",
        one_counter()[:40],
        one_counter()[:-10],
        b"5",
        kept_as(5),
        kept_as({"counters": {KEY: 1}}),
        one_counter(charged=-5),
        one_counter(discharged=None),
        one_counter(uncounted="nan"),
        one_counter(until="yesterday"),
        one_counter().replace(b'"version": 1', b'"version": 2'),
    ],
)
async def test_what_cannot_be_read_begins_again_at_zero(
    hass: HomeAssistant,
    make_line: MakeLine,
    make_entry: MakeEntry,
    on_disk: None,
    content: bytes,
) -> None:
    both = modules()
    line = await make_line(*both)
    entry = await make_entry(line.path, *map(identity, both), options=CONFIRMED)
    await count(hass, entry, lambda: float(shown(hass)[0]) >= 0.001)
    assert await hass.config_entries.async_unload(entry.entry_id)
    file = stored(hass, entry)
    assert file.exists()
    file.write_bytes(content)
    assert await hass.config_entries.async_setup(entry.entry_id)
    await first_round(hass, entry)
    assert shown(hass) == ("0.0", "0.0", "0.0")
    # And it counts.
    await count(hass, entry, lambda: float(shown(hass)[0]) >= 0.001)


async def test_a_restored_file_counts_on_from_what_it_has(
    hass: HomeAssistant, make_line: MakeLine, make_entry: MakeEntry, on_disk: None
) -> None:
    both = modules()
    line = await make_line(*both)
    entry = await make_entry(line.path, *map(identity, both), options=CONFIRMED)
    await count(hass, entry, lambda: float(shown(hass)[0]) >= 0.001)
    old = stored(hass, entry).read_bytes()
    kept = json.loads(old)["data"]["counters"][KEY]["charged"]
    await count(hass, entry, lambda: counter_of(entry).charged > kept + 2)
    assert await hass.config_entries.async_unload(entry.entry_id)
    stored(hass, entry).write_bytes(old)
    assert await hass.config_entries.async_setup(entry.entry_id)
    await first_round(hass, entry)
    assert float(shown(hass)[0]) == floor(kept) / 1000


@pytest.mark.parametrize("how", ["nothing", "raises", "older"])
async def test_what_was_not_saved_is_not_shown(
    hass: HomeAssistant,
    make_line: MakeLine,
    make_entry: MakeEntry,
    on_disk: None,
    how: str,
) -> None:
    both = modules()
    line = await make_line(*both)
    entry = await make_entry(line.path, *map(identity, both), options=CONFIRMED)
    await count(hass, entry, lambda: float(shown(hass)[0]) >= 0.001)
    before = shown(hass)

    async def save(store: Any, data: Any) -> None:
        if how == "raises":
            raise OSError("no space left")

    file = stored(hass, entry)
    with patch.object(Store, "async_save", save):
        if how == "nothing":
            file.unlink()
        if how == "older":
            file.write_bytes(file.read_bytes().replace(b'"charged"', b'"other"'))
        counted = counter_of(entry).charged
        await count(hass, entry, lambda: counter_of(entry).charged > counted + 2)
        assert shown(hass) == before
    await count(hass, entry, lambda: float(shown(hass)[0]) > float(before[0]) + 0.001)


async def test_it_is_saved_once_a_minute_and_at_the_end(
    hass: HomeAssistant, make_line: MakeLine, make_entry: MakeEntry, on_disk: None
) -> None:
    both = modules()
    line = await make_line(*both)
    with patch("custom_components.openxpbms.energy_store.SAVE_EVERY", inf):
        entry = await make_entry(line.path, *map(identity, both), options=CONFIRMED)
        await count(hass, entry, lambda: counter_of(entry).charged > 1)
        assert not stored(hass, entry).exists()
        assert shown(hass) == ("0.0", "0.0", "0.0")
        counted = counter_of(entry).charged
        # Home Assistant stops: its stores are written at the very end.
        hass.set_state(CoreState.stopping)
        await entry.runtime_data.energy.stop()
        hass.bus.async_fire(EVENT_HOMEASSISTANT_FINAL_WRITE)
        await hass.async_block_till_done()
        hass.set_state(CoreState.running)
    kept = json.loads(stored(hass, entry).read_bytes())["data"]["counters"]
    assert kept[KEY]["charged"] == counted
    # A round that still ends then counts no more, and stopping twice does nothing.
    await entry.runtime_data.async_refresh()
    await entry.runtime_data.energy.stop()
    assert counter_of(entry).charged == counted


async def test_removing_an_entry_forgets_its_energy(
    hass: HomeAssistant, make_line: MakeLine, make_entry: MakeEntry, on_disk: None
) -> None:
    both = modules()
    line = await make_line(*both)
    entry = await make_entry(line.path, *map(identity, both), options=CONFIRMED)
    await count(hass, entry, lambda: float(shown(hass)[0]) >= 0.001)
    assert stored(hass, entry).exists()
    assert await hass.config_entries.async_remove(entry.entry_id)
    await hass.async_block_till_done()
    assert not stored(hass, entry).exists()


async def test_the_time_left_of_a_battery_and_of_the_bank(
    hass: HomeAssistant, make_line: MakeLine, make_entry: MakeEntry
) -> None:
    both = modules(soc=50.0)
    both[0].current, both[1].current = -34.5, -69.0
    line = await make_line(*both)
    entry = await make_entry(line.path, *map(identity, both), options=CONFIRMED)
    hours = float(state(hass, "time_to_empty", "bank").state)
    assert hours == pytest.approx(80 / 60)
    assert state(hass, "time_to_full", "bank").state == "unknown"
    # The entities of a battery may be a round behind.
    await entry.runtime_data.async_refresh()
    assert state(hass, "time_to_empty").state == "2.0"
    unit = state(hass, "time_to_empty").attributes["unit_of_measurement"]
    assert unit == UnitOfTime.HOURS
    assert state(hass, "time_to_full").state == "unknown"
    both[0].silent = True
    for _ in range(2):
        await entry.runtime_data.async_refresh()
    assert state(hass, "time_to_empty").state == "unavailable"
    assert state(hass, "time_to_empty", "bank").state == "unavailable"


async def test_a_module_of_unknown_size_does_not_tell_how_long_it_lasts(
    hass: HomeAssistant, make_line: MakeLine, make_entry: MakeEntry
) -> None:
    both = modules(model="Z")
    line = await make_line(*both)
    await make_entry(line.path, *map(identity, both), options=CONFIRMED)
    for whose in (KEY, "bank"):
        assert state(hass, "time_to_full", whose).state == "unavailable"


async def test_power_as_the_energy_dashboard_wants_it(
    hass: HomeAssistant, make_line: MakeLine, make_entry: MakeEntry
) -> None:
    both = modules()
    line = await make_line(*both)
    entry = await make_entry(line.path, *map(identity, both), options=CONFIRMED)
    power = float(state(hass, "power", "bank").state)
    of_bank = state(hass, "energy_dashboard_power", "bank")
    assert float(of_bank.state) == -power < 0
    registry = er.async_get(hass)
    entity_id = registry.async_get_entity_id(
        "sensor", DOMAIN, f"{KEY}_energy_dashboard_power"
    )
    assert entity_id is not None
    registry.async_update_entity(entity_id, disabled_by=None)
    await restart(hass, entry)
    mine = state(hass, "energy_dashboard_power")
    assert float(mine.state) == -float(state(hass, "power").state)
    assert mine.attributes["direction_confirmed"] is True
    both[0].silent = True
    for _ in range(2):
        await entry.runtime_data.async_refresh()
    assert state(hass, "energy_dashboard_power").state == "unavailable"
