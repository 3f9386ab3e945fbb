"""Several batteries and their relays: who may close when, and what opens with what."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import Any

from homeassistant.config_entries import ConfigEntryState
from homeassistant.core import HomeAssistant
import pytest
from pytest_homeassistant_custom_component.common import MockConfigEntry

from custom_components.openxpbms.bms.virtual.valence import VirtualModule

from .bench import Bench, battery, guard_of, set_cells
from .conftest import MakeEntry, MakeLine
from .guarding import jumping_clock, switch

ALL: dict[str, Any] = {
    "charge": "charge",
    "load": "load",
    "connections": {1: "connection"},
}
PARALLEL: dict[str, Any] = {
    "joined": "parallel",
    "charge": "charge",
    "load": "load",
    "connections": {1: "one", 2: "two"},
}


@pytest.fixture
def bench(
    hass: HomeAssistant,
    hass_storage: dict[str, Any],
    make_line: MakeLine,
    make_entry: MakeEntry,
) -> Iterator[Bench]:
    with jumping_clock(frozen=True) as clock:
        yield Bench(hass, make_line, make_entry, clock)


def set_temperatures(module: VirtualModule, degrees: float) -> None:
    """Let all cells of a module have a temperature."""
    module.cell_temperatures[:] = [degrees] * module.cells


async def turn_off(bench: Bench, entry: MockConfigEntry, address: int) -> None:
    """Disconnect a battery by its switch."""
    await switch(bench.hass, bench.connection(entry, address).entity_id, on=False)
    await bench.wait(0.6)


async def turn_on(bench: Bench, entry: MockConfigEntry, address: int) -> None:
    """Connect a battery by its switch."""
    await switch(bench.hass, bench.connection(entry, address).entity_id)
    await bench.hass.async_block_till_done()


# Joining in parallel


async def test_a_battery_one_volt_apart_waits_says_so_and_joins_when_near(
    bench: Bench,
) -> None:
    await bench.switches("charge", "load", "one", "two")
    first, second = battery(1, 3.3), battery(2, 3.3)
    entry = await bench.bus(first, second, **PARALLEL)
    await turn_off(bench, entry, 2)
    set_cells(second, 3.05)
    await bench.watch(60, entry)
    await turn_on(bench, entry, 2)
    await bench.watch(60, entry)
    assert bench.closed() == {"charge", "load", "one"}
    state = bench.connection(entry, 2)
    assert state.state == "off"
    assert state.attributes["wanted"]
    assert state.attributes["waiting"] == "voltage_apart"
    assert state.attributes["apart_mv_per_cell"] == 250
    assert bench.connection(entry, 1).state == "on"

    # How far it is away runs on; nothing is written for that.
    set_cells(first, 3.2)
    await bench.watch(10, entry)
    assert bench.connection(entry, 2).last_updated == state.last_updated
    assert bench.closed() == {"charge", "load", "one"}

    set_cells(first, 3.076)
    await bench.watch(10, entry)
    assert bench.closed() == {"charge", "load", "one"}
    set_cells(first, 3.075)
    await bench.hear(entry)
    assert bench.closed() == {"charge", "load", "one", "two"}
    state = bench.connection(entry, 2)
    assert state.state == "on"
    assert "waiting" not in state.attributes
    assert "apart_mv_per_cell" not in state.attributes


async def test_the_window_can_be_set(bench: Bench) -> None:
    await bench.switches("one", "two")
    entry = await bench.bus(
        battery(1, 3.3),
        battery(2, 3.2),
        joined="parallel",
        connections={1: "one", 2: "two"},
        window=0.1,
    )
    await bench.watch(10, entry)
    assert bench.closed() == {"one", "two"}


async def test_with_none_connected_the_largest_group_closes(bench: Bench) -> None:
    names = ["one", "two", "three", "four"]
    await bench.switches(*names)
    volts = [3.1, 3.3, 3.31, 3.2]
    modules = [battery(n, v) for n, v in enumerate(volts, 1)]
    entry = await bench.bus(
        *modules,
        joined="parallel",
        connections=dict(enumerate(names, 1)),
    )
    await bench.watch(30, entry)
    assert bench.closed() == {"two", "three"}
    assert bench.connection(entry, 1).attributes["waiting"] == "voltage_apart"


async def test_closes_are_five_seconds_apart_and_openings_are_not(
    bench: Bench,
) -> None:
    names = ["one", "two", "three"]
    await bench.switches(*names)
    modules = [battery(n) for n in (1, 2, 3)]
    entry = await bench.bus(
        *modules, joined="parallel", connections=dict(enumerate(names, 1))
    )
    await bench.hear(entry)
    assert len(bench.closed()) == 1
    waiting = bench.connection(entry, 3)
    assert waiting.attributes["waiting"] == "its_turn"
    await bench.watch(12, entry, step=1)
    moments = [at for _, what, at in bench.log if what == "on"]
    assert len(moments) == 3
    assert all(b - a >= 5 for a, b in pairwise(moments))

    bench.log.clear()
    for module in modules:
        module.cell_voltages[1] = 4.1
    await bench.hear(entry)
    moments = [at for _, what, at in bench.log if what == "off"]
    assert len(moments) == 3
    assert moments[2] - moments[0] < 1


async def test_a_battery_closes_once_a_minute(bench: Bench) -> None:
    await bench.switches("one", "two")
    entry = await bench.bus(
        battery(1), battery(2), joined="parallel", connections={1: "one", 2: "two"}
    )
    await bench.watch(90, entry)
    start = bench.clock()
    bench.log.clear()
    for _ in range(3):
        await turn_off(bench, entry, 2)
        assert "two" not in bench.closed()
        await turn_on(bench, entry, 2)
        await bench.watch(5, entry)
    await bench.watch(65, entry)
    on = [at - start for name, what, at in bench.log if (name, what) == ("two", "on")]
    assert len(on) == 2
    assert on[0] < 1.5
    assert on[1] - on[0] >= 60
    assert bench.closed() == {"one", "two"}


async def test_a_silent_one_that_may_be_connected_keeps_the_others_waiting(
    bench: Bench,
) -> None:
    await bench.switches("charge", "load", "one", "two")
    first = battery(1)
    entry = await bench.bus(first, battery(2), **PARALLEL)
    await bench.watch(10, entry)
    await turn_off(bench, entry, 2)
    first.silent = True
    await bench.watch(20, entry)
    assert bench.closed() == {"load", "one"}
    await turn_on(bench, entry, 2)
    await bench.watch(60, entry)
    assert bench.closed() == {"one"}
    assert bench.connection(entry, 2).attributes["waiting"] == "others_unknown"


# Votes


async def test_a_battery_that_is_cut_off_has_no_vote(bench: Bench) -> None:
    await bench.switches("charge", "load", "one", "two")
    first, second = battery(1), battery(2)
    entry = await bench.bus(first, second, **PARALLEL)
    await bench.watch(10, entry)
    assert bench.closed() == {"charge", "load", "one", "two"}
    set_cells(second, 3.95)
    await bench.hear(entry)
    assert bench.closed() == {"load", "one", "two"}
    await turn_off(bench, entry, 2)
    await bench.hear(entry)
    assert bench.closed() == {"charge", "load", "one"}
    # One through which current flows is not cut off, whatever its relay says.
    second.current = 2.5
    await bench.hear(entry)
    assert "charge" not in bench.closed()
    second.current = 0
    await bench.hear(entry)
    # With none connected both are off.
    await turn_off(bench, entry, 1)
    assert bench.closed() == set()


async def test_without_connection_relays_every_battery_must_agree(
    bench: Bench,
) -> None:
    await bench.switches("charge", "load")
    first, second = battery(1), battery(2)
    entry = await bench.bus(
        first, second, joined="parallel", charge="charge", load="load"
    )
    assert bench.closed() == {"charge", "load"}
    second.cell_voltages[3] = 3.95
    await bench.hear(entry)
    assert bench.closed() == {"load"}
    await turn_off(bench, entry, 1)
    assert bench.closed() == set()


# Strings


@pytest.mark.parametrize("relays", [{1: "one"}, {2: "one"}, {1: "one", 2: "two"}])
async def test_one_stop_opens_the_whole_series_string(
    bench: Bench, relays: dict[int, str]
) -> None:
    await bench.switches("one", "two")
    first, second = battery(1), battery(2, 3.2)
    entry = await bench.bus(first, second, joined="series", connections=relays)
    await bench.watch(10, entry)
    assert bench.closed() == set(relays.values())
    assert bench.connection(entry, 1).state == "on"
    assert bench.connection(entry, 2).state == "on"
    second.cell_voltages[1] = 3.95
    await bench.hear(entry)
    assert bench.closed() == set()
    assert bench.connection(entry, 1).state == "off"
    assert bench.connection(entry, 2).state == "off"


async def test_in_series_one_stop_counts_for_the_relays_of_the_bus(
    bench: Bench,
) -> None:
    await bench.switches("charge", "load", "one")
    first, second = battery(1), battery(2)
    entry = await bench.bus(
        first,
        second,
        joined="series",
        charge="charge",
        load="load",
        connections={1: "one"},
    )
    assert bench.closed() == {"charge", "load", "one"}
    set_cells(second, 3.95)
    await bench.hear(entry)
    assert bench.closed() == {"load", "one"}
    set_cells(second, 4.1)
    await bench.hear(entry)
    await bench.wait(0.6)
    assert bench.closed() == set()


async def test_strings_in_parallel_open_and_join_as_strings(bench: Bench) -> None:
    await bench.switches("a", "b")
    modules = [battery(n) for n in (1, 2, 3, 4)]
    entry = await bench.bus(
        *modules,
        joined="strings",
        strings={1: 1, 2: 1, 3: 2, 4: 2},
        connections={1: "a", 3: "b"},
    )
    await bench.watch(10, entry)
    assert bench.closed() == {"a", "b"}
    modules[3].cell_voltages[0] = 3.95
    await bench.hear(entry)
    assert bench.closed() == {"a"}
    # Only the mean of its string counts: 3.25 V against 3.3 V of the other.
    set_cells(modules[2], 3.2)
    set_cells(modules[3], 3.3)
    await bench.watch(90, entry)
    assert bench.closed() == {"a"}
    state = bench.connection(entry, 4)
    assert state.attributes["waiting"] == "voltage_apart"
    assert state.attributes["apart_mv_per_cell"] == pytest.approx(50, abs=1)
    set_cells(modules[2], 3.29)
    await bench.watch(5, entry)
    assert bench.closed() == {"a", "b"}


# What opens


async def test_everything_at_once(bench: Bench) -> None:
    await bench.switches("charge", "load", "connection")
    module = battery(1)
    entry = await bench.bus(module, at_once=True, **ALL)
    set_temperatures(module, -2)
    await bench.hear(entry)
    await bench.wait(1)
    assert bench.closed() == {"load", "connection"}  # any stop but cold
    set_temperatures(module, 20)
    await bench.watch(70, entry)
    assert bench.closed() == {"charge", "load", "connection"}
    bench.log.clear()
    set_cells(module, 3.95)
    await bench.hear(entry)
    assert bench.closed() == {"connection"}
    await bench.wait(0.6)
    assert bench.closed() == set()
    assert [name for name, _, _ in bench.log] == ["charge", "load", "connection"]


@pytest.mark.parametrize("disconnects", [False, True])
async def test_cold_opens_the_connection_only_if_it_is_chosen(
    bench: Bench, disconnects: bool
) -> None:
    await bench.switches("connection")
    module = battery(1)
    entry = await bench.bus(
        module, connections={1: "connection"}, cold_disconnects=disconnects
    )
    set_temperatures(module, -2)
    await bench.hear(entry)
    await bench.wait(1)
    assert bench.closed() == (set() if disconnects else {"connection"})
    set_temperatures(module, 20)
    await bench.watch(70, entry)
    assert bench.closed() == {"connection"}


async def test_cold_opens_the_charge_relay(bench: Bench) -> None:
    await bench.switches("charge", "load", "connection")
    module = battery(1)
    entry = await bench.bus(module, cold_disconnects=True, **ALL)
    set_temperatures(module, -2)
    await bench.hear(entry)
    await bench.wait(1)
    assert bench.closed() == {"load", "connection"}


@pytest.mark.parametrize("load", [True, False])
async def test_under_voltage_opens_the_load_relay_or_the_connection(
    bench: Bench, load: bool
) -> None:
    await bench.switches("charge", "load", "connection")
    module = battery(1)
    outputs = dict(ALL)
    if not load:
        del outputs["load"]
    entry = await bench.bus(module, **outputs)
    set_cells(module, 2.7)
    await bench.hear(entry)
    assert "connection" in bench.closed()
    await bench.watch(6, entry, step=1)
    assert bench.closed() == ({"charge", "connection"} if load else set())


@pytest.mark.parametrize("what", ["heat", "cut-off"])
async def test_what_stops_both_ways_opens_both_relays(bench: Bench, what: str) -> None:
    await bench.switches("charge", "load", "connection")
    module = battery(1)
    entry = await bench.bus(module, **ALL)
    set_temperatures(module, 61 if what == "heat" else 66)
    await bench.hear(entry)
    await bench.wait(0.6)
    assert bench.closed() == ({"connection"} if what == "heat" else set())


# Start-up


async def test_nothing_closes_before_a_whole_reading(bench: Bench) -> None:
    await bench.switches("charge", "load", "connection")
    module = battery(1)
    asked = answers = 0

    def before_answer(module: VirtualModule, now: float) -> None:
        nonlocal asked
        asked += 1
        module.silent = asked > answers

    module.before_answer = before_answer
    entry = await bench.bus(module, **ALL)
    while not bench.closed():
        asked = 0
        answers += 1
        await bench.hear(entry)
    assert answers == asked > 3
    assert bench.closed() == {"charge", "load", "connection"}


async def test_a_bus_loads_without_its_port_and_closes_nothing(bench: Bench) -> None:
    await bench.switches("charge", "load", "connection")
    entry = await bench.bus(battery(1), path="/dev/nowhere", **ALL)
    assert entry.state is ConfigEntryState.LOADED
    await bench.watch(120, entry)
    assert bench.log == []
    assert bench.connection(entry).state == "off"
    assert bench.state(entry, 1, "binary_sensor", "silence").state == "on"
    assert bench.state(entry, 1, "binary_sensor", "charge_allowed").state == "off"


async def restarted_without_port(bench: Bench, **outputs: Any) -> MockConfigEntry:
    """Return a bus after a restart with its relays closed and its port missing."""
    await bench.switches("charge", "load", "connection")
    entry = await bench.bus(battery(1), **outputs)
    assert "connection" in bench.closed()
    bench.log.clear()
    await bench.lines[0].stop()
    await bench.restart(entry)
    assert entry.state is ConfigEntryState.LOADED
    return entry


async def test_relays_closed_before_the_start_have_half_a_minute(bench: Bench) -> None:
    entry = await restarted_without_port(bench, **ALL)
    await bench.watch(29, entry, step=1)
    assert bench.log == []
    await bench.watch(3, entry, step=1)
    # Silence stops both ways; what is not needed for that is left.
    assert bench.closed() == {"connection"}
    assert [name for name, _, _ in bench.log] == ["charge", "load"]


async def test_so_has_a_connection_by_itself(bench: Bench) -> None:
    entry = await restarted_without_port(bench, connections={1: "connection"})
    await bench.watch(29, entry, step=1)
    assert bench.log == []
    await bench.watch(3, entry, step=1)
    assert bench.closed() == set()


async def test_the_grace_can_be_set(bench: Bench) -> None:
    await bench.switches("charge", on=True)
    entry = await bench.bus(
        battery(1), path="/dev/nowhere", charge="charge", limits={"grace": 60}
    )
    await bench.watch(58, entry, step=2)
    assert bench.closed() == {"charge"}
    await bench.watch(4, entry, step=2)
    assert bench.closed() == set()


async def test_loading_anew_does_not_begin_the_grace_anew(bench: Bench) -> None:
    entry = await restarted_without_port(bench, **ALL)
    for _ in range(5):
        await bench.wait(5)
        await bench.reload(entry)
    assert bench.log == []
    await bench.watch(6, entry, step=1)
    assert bench.closed() == {"connection"}


async def test_relays_stay_closed_where_the_port_is_back_in_time(
    bench: Bench,
) -> None:
    entry = await restarted_without_port(bench, **ALL)
    await bench.watch(20, entry)
    line = await bench.make_line(battery(1))
    bench.hass.config_entries.async_update_entry(
        entry, data={**entry.data, "device": line.path}
    )
    await bench.reload(entry)
    await bench.watch(60, entry)
    assert bench.log == []
    assert bench.closed() == {"charge", "load", "connection"}


async def test_silence_while_running_opens_charge_then_load(bench: Bench) -> None:
    await bench.switches("charge", "load", "connection")
    module = battery(1)
    entry = await bench.bus(module, **ALL)
    module.silent = True
    await bench.wait(13)
    assert bench.closed() == {"charge", "load", "connection"}
    await bench.wait(3)
    assert bench.closed() == {"load", "connection"}
    await bench.wait(42)
    assert bench.closed() == {"load", "connection"}
    await bench.wait(3)
    assert bench.closed() == {"connection"}
    # Three whole readings end it.
    module.silent = False
    await bench.hear(entry)
    await bench.hear(entry)
    assert bench.closed() == {"connection"}
    await bench.hear(entry)
    assert bench.closed() == {"charge", "load", "connection"}
    assert guard_of(entry).mode == "armed"
