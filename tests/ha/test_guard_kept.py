"""What protection remembers over reloads and restarts, and what becomes of it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from copy import deepcopy
from datetime import timedelta
import json
import time
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

from homeassistant.core import CoreState, HomeAssistant
from homeassistant.exceptions import ServiceValidationError
from homeassistant.helpers import issue_registry as ir
from homeassistant.helpers.storage import Store
from homeassistant.util import dt as dt_util
from homeassistant.util.file import WriteError
from hypothesis import given, settings
from hypothesis import strategies as st
import pytest
from pytest_homeassistant_custom_component.common import async_fire_time_changed

from custom_components.openxpbms.bms.decision import Severity, Value
from custom_components.openxpbms.bms.limits import Quantity
from custom_components.openxpbms.bms.protection import Memory, Trip
from custom_components.openxpbms.bms.virtual.valence import VirtualModule
from custom_components.openxpbms.const import DOMAIN
from custom_components.openxpbms.guard import KEPT
from custom_components.openxpbms.kept import (
    SERVICE_FOR,
    KeptBattery,
    KeptBus,
    Mode,
    from_json,
    to_json,
)

from .conftest import MakeLine, first_round, identity
from .guarding import (
    Clock,
    Guarded,
    calls_of,
    guard,
    guard_device,
    jumping_clock,
    relay_is_on,
    switch,
)

ALL = {"charge", "load", "connection"}


class Wall:
    """The wall clock that protection sees: it goes with the other one, or is set."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.set_by = 0.0

    def __call__(self) -> float:
        return 1_800_000_000 + self.clock() + self.set_by


@pytest.fixture
def clock() -> Iterator[Clock]:
    with jumping_clock(frozen=True) as clock:
        yield clock


@pytest.fixture(autouse=True)
def wall(clock: Clock) -> Iterator[Wall]:
    wall = Wall(clock)
    clocks = SimpleNamespace(time=wall, monotonic=time.monotonic)
    with patch("custom_components.openxpbms.guard.time", clocks):
        yield wall


def key_of(guarded: Guarded) -> str:
    """Return what the store of an entry is called."""
    return f"{DOMAIN}.{guarded.entry.entry_id}"


def forget(guarded: Guarded) -> None:
    """Forget what is only in memory, as the end of Home Assistant does."""
    guarded.hass.data[KEPT].pop(guarded.entry.entry_id)


async def stop(guarded: Guarded) -> None:
    """Let Home Assistant end as far as protection sees it."""
    assert await guarded.hass.config_entries.async_unload(guarded.entry.entry_id)
    await guarded.hass.async_block_till_done()
    forget(guarded)


async def start(guarded: Guarded) -> None:
    """Let Home Assistant start again: a new guard, from the store."""
    assert await guarded.hass.config_entries.async_setup(guarded.entry.entry_id)
    await first_round(guarded.hass, guarded.entry)


async def restart(guarded: Guarded) -> None:
    """Let Home Assistant end and start again."""
    await stop(guarded)
    await start(guarded)


def state_is_lost(guarded: Guarded) -> bool:
    """Whether a repair issue tells that what was kept is lost."""
    issue_id = f"state_lost_{guarded.entry.entry_id}"
    return ir.async_get(guarded.hass).async_get_issue(DOMAIN, issue_id) is not None


# Restarts


async def test_a_latch_survives_a_restart(
    hass: HomeAssistant, make_line: MakeLine, clock: Clock
) -> None:
    module = VirtualModule(1)
    guarded = await guard_device(hass, make_line, clock, module)
    module.cell_voltages[2] = 4.05
    await guarded.refresh()
    await guarded.wait(1)
    module.cell_voltages[2] = 3.3
    before = guarded.state("cell_over_voltage_cutoff").attributes
    await stop(guarded)
    # Whatever the relays did meanwhile.
    for name in ALL:
        await switch(hass, f"input_boolean.{name}")
    await start(guarded)
    await guarded.wait(1)
    assert guarded.open_relays == ALL
    # What was back for less than a minute is, so far, a stop as well.
    after = guarded.state("cell_over_voltage_cutoff")
    assert after.state == "on"
    for name in ("value", "cell", "limit", "clears"):
        assert after.attributes[name] == before[name]
    await guarded.stay(100)
    assert guarded.found == {"cell_over_voltage_cutoff"}
    with pytest.raises(ServiceValidationError):
        await guarded.connect(person=False)
    await guarded.connect()
    assert guarded.open_relays == set()
    await restart(guarded)
    await guarded.refresh()
    assert guarded.found == set()
    assert guarded.open_relays == set()


async def test_what_was_switched_off_stays_off(
    hass: HomeAssistant, make_line: MakeLine, clock: Clock
) -> None:
    guarded = await guard_device(hass, make_line, clock, VirtualModule(1))
    await guarded.connect(on=False)
    await guarded.wait(1)
    await restart(guarded)
    await guarded.stay(100)
    state = guarded.state("connection", "switch")
    assert (state.state, state.attributes["wanted"]) == ("off", False)
    assert guarded.open_relays == ALL
    # An automation may connect it: nobody opened it by hand.
    await guarded.connect(person=False)
    assert guarded.open_relays == set()


async def test_what_was_opened_by_hand_waits_for_a_person(
    hass: HomeAssistant, make_line: MakeLine, clock: Clock
) -> None:
    guarded = await guard_device(hass, make_line, clock, VirtualModule(1))
    await guarded.stay(70)
    for name in ("connection", "charge"):
        await switch(hass, f"input_boolean.{name}", on=False)
    await hass.async_block_till_done()
    await restart(guarded)
    await guarded.stay(100)
    assert guarded.state("connection", "switch").attributes["opened_by_hand"] is True
    assert guarded.open_relays == ALL
    with pytest.raises(ServiceValidationError):
        await guarded.connect(person=False)
    await guarded.connect()
    assert guarded.open_relays == set()


async def test_a_charge_relay_opened_by_hand_stays_open(
    hass: HomeAssistant, make_line: MakeLine, clock: Clock
) -> None:
    guarded = await guard_device(hass, make_line, clock, VirtualModule(1))
    await guarded.stay(70)
    await switch(hass, "input_boolean.charge", on=False)
    await hass.async_block_till_done()
    await restart(guarded)
    await guarded.stay(100)
    assert guarded.open_relays == {"charge"}
    await guarded.press_reset()
    assert guarded.open_relays == set()


async def test_stops_are_counted_over_restarts(
    hass: HomeAssistant, make_line: MakeLine, clock: Clock
) -> None:
    module = VirtualModule(1)
    guarded = await guard_device(hass, make_line, clock, module)
    for waits in (False, False, True):
        module.cell_voltages[2] = 3.95
        await guarded.refresh()
        module.cell_voltages[2] = 3.3
        await guarded.stay(70)
        assert (guarded.open_relays == {"charge"}) is waits
        await restart(guarded)
        await guarded.refresh()


async def test_mode_and_storage_survive_a_restart(
    hass: HomeAssistant, make_line: MakeLine, clock: Clock
) -> None:
    module = VirtualModule(1, soc=39.0)
    guarded = await guard_device(hass, make_line, clock, module)
    await guarded.choose("storage_mode", "storage")
    module.soc = 45.0
    await guarded.refresh()
    assert relay_is_on(hass, "charge")
    await restart(guarded)
    await guarded.refresh()
    assert guarded.bus_state("protection_mode", "select").state == "armed"
    assert guarded.bus_state("storage_mode", "select").state == "storage"
    # It was charging and goes on, though 45 % would not begin it.
    assert relay_is_on(hass, "charge")
    module.soc = 50.0
    await guarded.refresh()
    assert not relay_is_on(hass, "charge")


async def test_watching_only_survives_a_restart(
    hass: HomeAssistant, make_line: MakeLine, clock: Clock
) -> None:
    guarded = await guard_device(hass, make_line, clock, VirtualModule(1))
    await guarded.choose("protection_mode", "watch_only")
    calls = calls_of(hass)
    await restart(guarded)
    await guarded.wait(100)
    assert guarded.bus_state("protection_mode", "select").state == "watch_only"
    assert calls == []


@pytest.mark.parametrize(
    ("away", "set_by", "left"),
    [(600, 0, 1200), (0, -86400, 1800), (600, 600, 600), (1800, 0, 0), (0, 86400, 0)],
    ids=["away", "set back", "set forward", "ended meanwhile", "set to tomorrow"],
)
async def test_service_ends_in_time_whatever_clocks_do(
    hass: HomeAssistant,
    make_line: MakeLine,
    clock: Clock,
    wall: Wall,
    away: float,
    set_by: float,
    left: float,
) -> None:
    guarded = await guard_device(hass, make_line, clock, VirtualModule(1))
    await guarded.choose("protection_mode", "service")
    await stop(guarded)
    clock.ahead += away
    wall.set_by += set_by
    await start(guarded)
    if left:
        await guarded.wait(left - 1)
        assert guarded.bus_state("protection_mode", "select").state == "service"
    await guarded.wait(1)
    assert guarded.bus_state("protection_mode", "select").state == "armed"


async def test_a_clock_set_back_puts_nothing_into_the_future(
    hass: HomeAssistant, make_line: MakeLine, clock: Clock, wall: Wall
) -> None:
    module = VirtualModule(1)
    guarded = await guard_device(hass, make_line, clock, module)
    for _ in range(2):
        module.cell_voltages[2] = 3.95
        await guarded.refresh()
        module.cell_voltages[2] = 3.3
        await guarded.stay(70)
    await stop(guarded)
    wall.set_by -= 30 * 86400
    await start(guarded)
    # Both count as of now, and no longer than a day from now.
    await guarded.wait(86400)
    await guarded.refresh(3)
    module.cell_voltages[2] = 3.95
    await guarded.refresh()
    module.cell_voltages[2] = 3.3
    await guarded.stay(70)
    assert guarded.open_relays == set()


# Saving


async def test_every_change_is_saved_at_once_and_nothing_else(
    hass: HomeAssistant,
    make_line: MakeLine,
    clock: Clock,
    hass_storage: dict[str, Any],
) -> None:
    module = VirtualModule(1)
    guarded = await guard_device(hass, make_line, clock, module)
    saved: list[dict[str, Any]] = []
    save = Store.async_save

    async def note(store: Store[Any], data: Any) -> None:
        if store.key == key_of(guarded):
            saved.append(deepcopy(data))
        await save(store, data)

    with patch.object(Store, "async_save", note):
        for volts in (3.3, 3.4, 3.75, 3.6, 3.45):
            module.cell_voltages[0] = volts
            await guarded.refresh()
        await guarded.wait(20)
        await guarded.refresh(3)
        # Neither good values, nor a warning, nor silence are worth it.
        assert saved == []

        module.cell_temperatures[1] = 61.0
        await guarded.refresh()
        [trip] = saved.pop()["batteries"][guarded.key]["trips"]
        assert trip["quantity"] == "cell_over_temperature"
        assert trip["latched"] is True
        assert trip["value"] == [61.0, 2, None]
        await guarded.refresh(3)
        assert saved == []
        await guarded.connect(on=False)
        assert saved.pop()["batteries"][guarded.key]["wanted"] is False
        await guarded.choose("protection_mode", "watch_only")
        assert saved.pop()["mode"] == "watch_only"
        await guarded.choose("storage_mode", "storage")
        assert saved.pop()["storage"] is True
        assert saved == []
    assert hass_storage[key_of(guarded)]["data"]["storage"] is True


async def test_opening_does_not_wait_for_the_disk(
    hass: HomeAssistant, make_line: MakeLine, clock: Clock
) -> None:
    module = VirtualModule(1)
    guarded = await guard_device(hass, make_line, clock, module)
    disk = asyncio.Event()
    hangs = 0

    async def hang(*_: Any) -> None:
        nonlocal hangs
        hangs += 1
        await disk.wait()

    with patch.object(Store, "async_save", hang):
        module.cell_temperatures[0] = 61.0
        await guarded.entry.runtime_data.async_refresh()
        async with asyncio.timeout(10):
            while guarded.open_relays != {"charge", "load"}:
                await asyncio.sleep(0.01)
        # Nor does anything that comes afterwards.
        module.cell_temperatures[0] = 66.0
        await guarded.entry.runtime_data.async_refresh()
        clock.ahead += 1
        async with asyncio.timeout(10):
            while guarded.open_relays != ALL:
                await asyncio.sleep(0.01)
        assert hangs
        disk.set()
        await hass.async_block_till_done()


def not_saved(guarded: Guarded) -> bool:
    """Whether a repair issue tells that nothing can be saved."""
    issue_id = f"not_saved_{key_of(guarded)}"
    return ir.async_get(guarded.hass).async_get_issue(DOMAIN, issue_id) is not None


@contextmanager
def failing(key: str, fails: Callable[[], None]) -> Iterator[list[str]]:
    """Let one file not be written; return a list that grows with every try."""
    tries: list[str] = []
    write = Store._async_write_data

    async def fail(store: Store[Any], data: Any) -> None:
        if store.key.startswith(key):
            tries.append(store.key)
            fails()
        else:
            await write(store, data)

    with patch.object(Store, "_async_write_data", fail):
        yield tries


def full() -> None:
    raise WriteError("no space left")


def read_only() -> None:
    raise OSError("read-only")


def pretend() -> None:
    """Write nothing."""


@pytest.mark.parametrize("fails", [full, read_only, pretend])
async def test_a_disk_that_fails_stops_nothing_and_is_tried_again(
    hass: HomeAssistant,
    make_line: MakeLine,
    clock: Clock,
    hass_storage: dict[str, Any],
    fails: Callable[[], None],
    caplog: pytest.LogCaptureFixture,
) -> None:
    module = VirtualModule(1)
    guarded = await guard_device(hass, make_line, clock, module)
    module.cell_temperatures[0] = 61.0
    with failing(key_of(guarded), fails) as tries:
        await guarded.refresh()
        assert guarded.open_relays == {"charge", "load"}
        assert not_saved(guarded)
        so_far = len(tries)
        for seconds in (5, 10, 20, 40, 60, 60):
            for soon in (1, -0.1):
                assert len(tries) == so_far
                at = dt_util.utcnow() + timedelta(seconds=seconds - soon)
                async_fire_time_changed(hass, at)
                await hass.async_block_till_done()
            so_far += 1
        assert not_saved(guarded)
    told = [r for r in caplog.records if "cannot be saved" in r.message]
    assert len(told) == 1
    await guarded.wait(61)
    assert not not_saved(guarded)
    [trip] = hass_storage[key_of(guarded)]["data"]["batteries"][guarded.key]["trips"]
    assert trip["latched"] is True
    caplog.clear()


async def test_what_could_not_be_saved_is_saved_after_a_reload(
    hass: HomeAssistant,
    make_line: MakeLine,
    clock: Clock,
    hass_storage: dict[str, Any],
    caplog: pytest.LogCaptureFixture,
) -> None:
    guarded = await guard_device(hass, make_line, clock, VirtualModule(1))
    with failing(key_of(guarded), full):
        await guarded.connect(on=False)
        assert not_saved(guarded)
        assert await hass.config_entries.async_unload(guarded.entry.entry_id)
        # Nobody would take it away.
        assert not not_saved(guarded)
        await start(guarded)
        assert not_saved(guarded)
    assert await hass.config_entries.async_reload(guarded.entry.entry_id)
    await first_round(hass, guarded.entry)
    assert not not_saved(guarded)
    kept = hass_storage[key_of(guarded)]["data"]["batteries"][guarded.key]
    assert kept["wanted"] is False
    caplog.clear()


async def test_the_first_that_is_kept_counts_also_if_it_was_tried_again(
    hass: HomeAssistant,
    make_line: MakeLine,
    clock: Clock,
    caplog: pytest.LogCaptureFixture,
) -> None:
    with failing(DOMAIN, full):
        guarded = await guard_device(hass, make_line, clock, VirtualModule(1))
        assert "guarded" not in guarded.entry.data
    await guarded.wait(6)
    assert guarded.entry.data["guarded"] is True
    caplog.clear()


async def test_what_fails_while_its_bus_is_unloaded_is_not_told(
    hass: HomeAssistant,
    make_line: MakeLine,
    clock: Clock,
    caplog: pytest.LogCaptureFixture,
) -> None:
    guarded = await guard_device(hass, make_line, clock, VirtualModule(1))

    def stop_first() -> None:
        guarded.entry.runtime_data.guard._file.stop()
        full()

    with failing(key_of(guarded), stop_first):
        await guarded.connect(on=False)
    assert not not_saved(guarded)
    caplog.clear()


async def test_what_is_only_saved_at_the_end_is_no_trouble(
    hass: HomeAssistant, make_line: MakeLine, clock: Clock
) -> None:
    guarded = await guard_device(hass, make_line, clock, VirtualModule(1))
    hass.set_state(CoreState.stopping)
    await guarded.connect(on=False)
    assert not not_saved(guarded)
    hass.set_state(CoreState.running)


# What cannot be read


def without(data: dict[str, Any], *path: str) -> None:
    """Take something out of what was kept."""
    for name in path[:-1]:
        data = data[name]
    del data[path[-1]]


BATTERY = ("data", "batteries", "valence_104400461")


@pytest.mark.parametrize(
    "spoil",
    [
        lambda kept: kept.clear(),
        lambda kept: kept.update(version=99),
        lambda kept: kept.update(data=[]),
        lambda kept: kept.update(data="armed"),
        lambda kept: without(kept, "data", "mode"),
        lambda kept: without(kept, "data", "batteries"),
        lambda kept: kept["data"].update(mode="asleep"),
        lambda kept: kept["data"].update(batteries=[]),
        lambda kept: kept["data"].update(held=None),
        lambda kept: kept["data"].update(mode="service", service_until="soon"),
        lambda kept: without(kept, *BATTERY, "trips"),
        lambda kept: without(kept, *BATTERY, "wanted"),
        lambda kept: kept["data"]["batteries"].update(valence_104400461=None),
        lambda kept: kept["data"]["batteries"]["valence_104400461"].update(
            trips=[{"quantity": "cell_over_temperature"}]
        ),
        lambda kept: kept["data"]["batteries"]["valence_104400461"].update(
            times={"weather": [1.0]}
        ),
        lambda kept: kept["data"].update(held=["charge", 1]),
        lambda kept: kept["data"]["batteries"]["valence_104400461"].update(
            trips=[
                {
                    "quantity": "cell_over_temperature",
                    "severity": "stop",
                    "since": 1.0,
                    "latched": False,
                    "value": ["hot", None, None],
                }
            ]
        ),
    ],
)
async def test_what_cannot_be_read_counts_as_latched(
    hass: HomeAssistant,
    make_line: MakeLine,
    clock: Clock,
    hass_storage: dict[str, Any],
    spoil: Any,
) -> None:
    guarded = await guard_device(hass, make_line, clock, VirtualModule(1))
    assert guarded.open_relays == set()
    await stop(guarded)
    spoil(hass_storage[key_of(guarded)])
    await start(guarded)
    assert guarded.found == {"state_lost"}
    assert state_is_lost(guarded)
    assert guarded.bus_state("protection_mode", "select").state == "armed"
    assert guarded.allowed == set()
    assert {"charge", "load"} <= guarded.open_relays
    await guarded.wait(1)
    assert guarded.open_relays == ALL


async def test_a_store_that_is_gone_counts_as_latched(
    hass: HomeAssistant,
    make_line: MakeLine,
    clock: Clock,
    hass_storage: dict[str, Any],
) -> None:
    guarded = await guard_device(hass, make_line, clock, VirtualModule(1))
    await stop(guarded)
    # Home Assistant moves a file away that is only half written.
    del hass_storage[key_of(guarded)]
    await start(guarded)
    assert guarded.found == {"state_lost"}
    with pytest.raises(ServiceValidationError) as refused:
        await guarded.press_reset()
    assert str(refused.value) == (
        "U27-12XP 104400461 stays off: what protection had stored about it was lost."
        " Watch it for a minute, then try again"
    )
    # As long as nobody has looked it stays so, also over another restart.
    await guarded.stay(100)
    await restart(guarded)
    await guarded.stay(60)
    assert guarded.found == {"state_lost"}
    assert state_is_lost(guarded)
    await guarded.press_reset()
    assert guarded.found == set()
    assert not state_is_lost(guarded)
    # Nobody knows what was switched off, so nothing comes on by itself.
    await restart(guarded)
    await guarded.stay(60)
    assert guarded.found == set()
    assert guarded.open_relays == ALL
    with pytest.raises(ServiceValidationError):
        await guarded.connect(person=False)
    await guarded.connect()
    assert guarded.open_relays == set()


async def test_one_switch_is_enough_after_a_store_that_is_gone(
    hass: HomeAssistant,
    make_line: MakeLine,
    clock: Clock,
    hass_storage: dict[str, Any],
) -> None:
    guarded = await guard_device(hass, make_line, clock, VirtualModule(1))
    await stop(guarded)
    del hass_storage[key_of(guarded)]
    await start(guarded)
    await guarded.stay(70)
    assert guarded.open_relays == ALL
    await guarded.connect()
    assert guarded.open_relays == set()
    assert not state_is_lost(guarded)


async def test_without_relays_what_is_lost_only_watches(
    hass: HomeAssistant,
    make_line: MakeLine,
    clock: Clock,
    hass_storage: dict[str, Any],
) -> None:
    module = VirtualModule(1)
    guarded = await guard_device(hass, make_line, clock, module, relays=())
    await stop(guarded)
    hass_storage[key_of(guarded)]["data"] = {}
    await start(guarded)
    assert guarded.found == {"state_lost"}
    assert guarded.bus_state("protection_mode", "select").state == "watch_only"


async def test_a_bus_that_was_never_guarded_has_lost_nothing(
    hass: HomeAssistant, make_line: MakeLine, clock: Clock
) -> None:
    guarded = await guard_device(
        hass, make_line, clock, VirtualModule(1), mode="watch_only"
    )
    await restart(guarded)
    assert guarded.found == set()
    assert not state_is_lost(guarded)


async def test_a_battery_that_is_new_has_lost_nothing(
    hass: HomeAssistant,
    make_line: MakeLine,
    clock: Clock,
    hass_storage: dict[str, Any],
) -> None:
    modules = [VirtualModule(n, serial=f"10440046{n}") for n in (1, 2)]
    line = await make_line(*modules)
    guarded = await guard(
        hass, clock, line.path, *map(identity, modules), joined="parallel"
    )
    await guarded.connect(on=False)
    await stop(guarded)
    del hass_storage[key_of(guarded)]["data"]["batteries"]["valence_104400462"]
    await start(guarded)
    assert guarded.found == set()
    first, second = guarded.entry.runtime_data.guard
    assert (first.kept.wanted, second.kept.wanted) == (False, True)


# Reloads


async def test_grace_runs_on_over_reloads(
    hass: HomeAssistant, make_line: MakeLine, clock: Clock
) -> None:
    module = VirtualModule(1)
    url = "/dev/serial/by-id/nothing"
    guarded = await guard(hass, clock, url, identity(module), closed=True)
    for _ in range(3):
        await guarded.wait(9)
        assert await hass.config_entries.async_reload(guarded.entry.entry_id)
        await first_round(hass, guarded.entry)
        assert guarded.open_relays == set()
    await guarded.wait(2.9)
    assert guarded.found == set()
    await guarded.wait(0.1)
    assert guarded.found == {"silence"}
    assert guarded.open_relays == {"charge", "load"}


async def test_a_reload_changes_no_latch_and_no_relay(
    hass: HomeAssistant, make_line: MakeLine, clock: Clock
) -> None:
    module = VirtualModule(1)
    guarded = await guard_device(hass, make_line, clock, module)
    module.cell_temperatures[0] = 61.0
    await guarded.refresh()
    calls = calls_of(hass)
    before = guarded.state("cell_over_temperature")
    assert await hass.config_entries.async_reload(guarded.entry.entry_id)
    await first_round(hass, guarded.entry)
    await guarded.refresh()
    assert guarded.state("cell_over_temperature").attributes == before.attributes
    assert calls == []


# As JSON


def times() -> st.SearchStrategy[float]:
    """Return moments of the last days, in s of the monotonic clock."""
    return st.integers(0, 1_000_000).map(float)


values = st.builds(
    Value,
    st.floats(-1000, 1000),
    st.none() | st.integers(1, 16),
    st.none() | st.sampled_from(["pcb", "sum"]),
)
levels = st.sampled_from([Severity.STOP, Severity.CUTOFF])
memories = st.builds(
    Memory,
    began=st.just(1_000_000.0),
    trips=st.dictionaries(
        st.tuples(st.sampled_from(Quantity), levels),
        st.builds(Trip, since=times(), latched=st.booleans(), value=st.none() | values),
        max_size=4,
    ),
    times=st.dictionaries(
        st.sampled_from(Quantity), st.lists(times(), max_size=3).map(tuple), max_size=3
    ),
)
batteries = st.builds(
    KeptBattery,
    memories,
    wanted=st.booleans(),
    by_hand=st.booleans(),
    trip_test=st.none() | st.just({"passed": True, "opened_after": {"switch.a": 0.1}}),
)
modes = st.sampled_from([Mode.WATCH_ONLY, Mode.ARMED]).map(lambda mode: (mode, None))
services = st.integers(1_000_000, 1_001_800).map(lambda s: (Mode.SERVICE, float(s)))
buses = st.builds(
    lambda mode, **kept: KeptBus(mode=mode[0], service_until=mode[1], **kept),
    modes | services,
    batteries=st.dictionaries(st.text(), batteries, max_size=3),
    storage=st.booleans(),
    charging=st.booleans(),
    held=st.sets(st.text()),
    faulty=st.sets(st.text()),
)


@given(bus=buses, wall=st.integers(1_700_000_000, 2_000_000_000).map(float))
@settings(max_examples=100, deadline=None)
def test_what_is_kept_comes_back_as_it_was(bus: KeptBus, wall: float) -> None:
    now = 1_000_000.0
    data = json.loads(json.dumps(to_json(bus, now, wall)))
    assert from_json(data, bus.batteries, now, wall) == bus


def test_warnings_are_not_kept() -> None:
    key = Quantity.CELL_OVER_VOLTAGE, Severity.WARNING
    memory = Memory(began=0.0, trips={key: Trip(since=1.0)})
    bus = KeptBus({"a": KeptBattery(memory)})
    back = from_json(to_json(bus, 2.0, 100.0), ["a"], 2.0, 100.0)
    assert back.batteries["a"].memory.trips == {}


def test_service_without_an_end_is_over() -> None:
    data = to_json(KeptBus(mode=Mode.SERVICE), 0.0, 1_000_000.0)
    until = from_json(data, [], 10.0, 1_000_000.0).service_until
    assert until is not None
    assert until < 10.0


def test_a_bus_that_was_moved_to_another_machine_ends_its_service() -> None:
    bus = KeptBus(mode=Mode.SERVICE, service_until=500.0)
    data = to_json(bus, 0.0, 1_000_000.0)
    # A clock that is years behind, and a machine that has just started.
    until = from_json(data, [], 10.0, 0.0).service_until
    assert until == 10.0 + SERVICE_FOR
