"""Relays in Home Assistant: what they are told, and what is told of them."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from functools import partial
from typing import Any
from unittest.mock import patch

from homeassistant.config_entries import ConfigEntryDisabler
from homeassistant.core import CoreState, HomeAssistant
from homeassistant.exceptions import ServiceValidationError
from homeassistant.helpers import entity_registry as er
from homeassistant.setup import async_setup_component
from homeassistant.util.dt import utcnow
import pytest
from pytest_homeassistant_custom_component.common import (
    MockConfigEntry,
    async_fire_time_changed,
)

from custom_components.openxpbms.batteries import stored
from custom_components.openxpbms.bms.outputs import Want
from custom_components.openxpbms.bms.relay import Report
from custom_components.openxpbms.bms.virtual.valence import VirtualModule
from custom_components.openxpbms.const import DOMAIN
from custom_components.openxpbms.guard_options import Relay
from custom_components.openxpbms.kept import Mode
from custom_components.openxpbms.relay_board import User, Vote, relay_board

from .bench import Bench, battery, guard_of, set_cells
from .conftest import MakeEntry, MakeLine, identity
from .guarding import jumping_clock, make_relays, relay_is_on, switch, watched_of

ALL: dict[str, Any] = {
    "charge": "charge",
    "load": "load",
    "connections": {1: "connection"},
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


# Order


@pytest.mark.parametrize("trouble", [None, "raises", "hangs"])
async def test_charge_load_and_half_a_second_later_the_connection(
    bench: Bench, trouble: str | None
) -> None:
    charge, load, _ = await bench.switches("charge", "load", "connection")
    module = battery(1)
    entry = await bench.bus(module, **ALL)
    assert bench.closed() == {"charge", "load", "connection"}
    bench.log.clear()
    if trouble is not None:
        setattr(charge, trouble, True)
        setattr(load, trouble, True)
    start = bench.clock()
    module.cell_voltages[1] = 4.1
    with patch("custom_components.openxpbms.relay_board.CALL_TIMEOUT", 1):
        await entry.runtime_data.async_refresh()
        assert bench.log == [("charge", "off", start), ("load", "off", start)]
        bench.clock.ahead += 0.4
        await entry.runtime_data.async_refresh()
        assert "connection" not in {name for name, *_ in bench.log}
        # The calls that hang may go on doing so.
        bench.clock.ahead += 0.1
        async_fire_time_changed(bench.hass, utcnow() + timedelta(seconds=0.5))
        [last] = [told for told in bench.log if told[0] == "connection"]
        assert last == ("connection", "off", start + 0.5)
        await bench.hass.async_block_till_done()
    assert charge.given_up == load.given_up == (trouble == "hangs")


async def test_the_half_second_can_be_set(bench: Bench) -> None:
    await bench.switches("charge", "connection")
    module = battery(1)
    entry = await bench.bus(
        module, charge="charge", connections={1: "connection"}, delay=3
    )
    module.cell_voltages[1] = 4.1
    await bench.hear(entry)
    await bench.wait(2.5)
    assert bench.closed() == {"connection"}
    await bench.wait(0.6)
    assert bench.closed() == set()


async def test_a_call_that_hangs_is_given_up_and_the_relay_told_again(
    bench: Bench,
) -> None:
    [charge] = await bench.switches("charge")
    module = battery(1)
    entry = await bench.bus(module, charge="charge")
    charge.hangs = True
    with patch("custom_components.openxpbms.relay_board.CALL_TIMEOUT", 0.05):
        module.cell_voltages[1] = 3.95
        await bench.hear(entry)
        assert charge.given_up == 1
        charge.hangs = False
        await bench.wait(5)
    assert bench.closed() == set()


async def test_a_call_that_fails_is_soon_made_again_for_five_seconds(
    bench: Bench,
) -> None:
    [charge] = await bench.switches("charge")
    module = battery(1)
    entry = await bench.bus(module, charge="charge")
    charge.raises = True
    module.cell_voltages[1] = 3.95
    await bench.hear(entry)
    assert charge.told == ["on", "off"]
    for _ in range(4):
        await bench.wait(0.5)
    assert charge.told == ["on", *["off"] * 5]
    charge.raises = False
    await bench.wait(0.5)
    assert bench.closed() == set()
    assert len(charge.told) == 7

    # One that goes on failing is told at the usual pace.
    charge.raises = True
    charge.set(on=True)
    await bench.wait(5)
    told = len(charge.told)
    for _ in range(4):
        await bench.wait(1)
    assert len(charge.told) == told
    await bench.wait(1)
    assert len(charge.told) == told + 1
    assert bench.relay_fault(entry)


@pytest.mark.parametrize("state", [CoreState.starting, CoreState.running])
async def test_a_relay_whose_service_comes_later_than_its_state(
    bench: Bench, state: CoreState
) -> None:
    [charge] = await bench.switches("charge", on=True)
    services = bench.hass.services
    service = services.async_services_internal()["switch"]["turn_off"]
    services.async_remove("switch", "turn_off")
    bench.hass.set_state(state)
    module = battery(1, 3.95)
    entry = await bench.bus(module, charge="charge")
    seconds = 20 if state is CoreState.starting else 4
    for _ in range(2 * seconds):
        await bench.wait(0.5)
        await bench.hear(entry)
    assert charge.is_on
    services.async_register("switch", "turn_off", service.job.target)
    await bench.wait(0.5)
    assert not charge.is_on
    bench.hass.set_state(CoreState.running)
    await bench.watch(60, entry)
    assert bench.faults(entry) == {}


async def test_a_relay_that_is_let_go_is_not_told_again(bench: Bench) -> None:
    [charge] = await bench.switches("charge")
    module = battery(1)
    entry = await bench.bus(module, charge="charge")
    module.cell_voltages[1] = 3.95
    charge.hangs = True
    with patch("custom_components.openxpbms.relay_board.CALL_TIMEOUT", 0.05):
        await entry.runtime_data.async_refresh()
        relay_board(bench.hass).leave(entry.entry_id)
        await bench.hass.async_block_till_done()
    told = len(charge.told)
    async_fire_time_changed(bench.hass, utcnow() + timedelta(seconds=10))
    await bench.hass.async_block_till_done()
    assert len(charge.told) == told


# Opening


async def test_an_inverted_relay_is_on_while_open(bench: Bench) -> None:
    [charge] = await bench.switches("charge", on=True)
    module = battery(1)
    entry = await bench.bus(
        module, charge="charge", details={"charge": {"inverted": True}}
    )
    assert charge.told == ["off"]
    module.cell_voltages[1] = 3.95
    await bench.hear(entry)
    assert charge.told == ["off", "on"]
    await bench.watch(20, entry)
    assert charge.told == ["off", "on"]
    assert not bench.relay_fault(entry)


async def test_one_that_is_away_is_opened_the_moment_it_returns(bench: Bench) -> None:
    [charge] = await bench.switches("charge")
    module = battery(1)
    entry = await bench.bus(module, charge="charge")
    charge.set(there=False)
    module.cell_voltages[1] = 3.95
    await bench.hear(entry)
    assert charge.told == ["on"]  # Home Assistant drops the call
    charge.set(there=True)
    assert charge.told == ["on", "off"]
    assert not charge.is_on


async def test_open_is_told_every_five_seconds_for_a_minute_then_every_minute(
    bench: Bench,
) -> None:
    [charge] = await bench.switches("charge")
    module = battery(1)
    entry = await bench.bus(module, charge="charge")
    charge.stuck = True
    charge.log.clear()
    module.cell_voltages[1] = 3.95
    await bench.hear(entry)
    start = bench.log[0][2]
    await bench.watch(240, entry)
    moments = [at - start for _, _, at in bench.log]
    assert moments == pytest.approx([*range(0, 60, 5), 115, 175, 235])
    assert set(charge.told) == {"off"}


async def test_what_does_not_open_in_five_seconds_is_a_fault_that_waits_for_a_person(
    bench: Bench,
) -> None:
    _, _, connection = await bench.switches("charge", "load", "connection")
    entry = await bench.bus(battery(1), **ALL)
    await bench.watch(60, entry)
    assert bench.closed() == {"charge", "load", "connection"}

    connection.stuck = True
    await switch(bench.hass, bench.connection(entry).entity_id, on=False)
    await bench.wait(0.6)
    assert "relay_fault" not in bench.issues()
    await bench.watch(5, entry)
    assert bench.relay_fault(entry)
    assert "relay_fault" in bench.issues()
    assert "charge" not in bench.closed()
    assert "load" not in bench.closed()

    connection.stuck = False
    await bench.watch(70, entry)
    assert bench.closed() == set()
    assert bench.relay_fault(entry)
    with pytest.raises(ServiceValidationError):
        await switch(bench.hass, bench.connection(entry).entity_id, person=False)
    assert bench.closed() == set()
    await switch(bench.hass, bench.connection(entry).entity_id)
    await bench.hear(entry)
    assert bench.closed() == {"charge", "load", "connection"}
    assert not bench.relay_fault(entry)
    assert "relay_fault" not in bench.issues()


@pytest.mark.parametrize(("shared", "volts"), [("charge", 3.95), ("load", 2.75)])
async def test_a_shared_relay_that_fails_counts_as_not_there(
    bench: Bench, shared: str, volts: float
) -> None:
    await bench.switches("charge", "load", "connection")
    module = battery(1)
    entry = await bench.bus(module, **ALL)
    bench.relays[shared].stuck = True
    set_cells(module, volts)
    await bench.hear(entry)
    # Under-voltage stops after 5 s, and the relay has 5 s to follow.
    await bench.watch(15, entry)
    assert "connection" not in bench.closed()
    assert bench.faults(entry) == {f"switch.{shared}": "not_opening"}

    # It works again, and the stop has cleared: it stays open until somebody looked.
    bench.relays[shared].stuck = False
    set_cells(module, 3.3)
    await bench.watch(90, entry)
    assert shared not in bench.closed()
    assert bench.faults(entry) == {f"switch.{shared}": "was_at_fault"}
    await bench.reset(entry)
    await bench.watch(5, entry)
    assert bench.closed() == {"charge", "load", "connection"}
    assert not bench.relay_fault(entry)


async def test_current_through_an_open_relay_means_that_it_is_welded(
    bench: Bench,
) -> None:
    await bench.switches("charge", "load", "connection")
    module = battery(1)
    entry = await bench.bus(module, **ALL)
    await switch(bench.hass, bench.connection(entry).entity_id, on=False)
    await bench.wait(0.6)
    assert bench.closed() == set()
    module.current = -1.9
    await bench.hear(entry)
    await bench.watch(20, entry)
    assert not bench.relay_fault(entry)
    module.current = -2.1
    await bench.hear(entry)
    await bench.watch(9, entry, step=3)
    assert not bench.relay_fault(entry)
    await bench.watch(2, entry, step=2)
    assert bench.relay_fault(entry)
    assert bench.faults(entry) == {"switch.connection": "welded"}


async def test_a_welded_battery_keeps_the_relays_of_the_bus_open(bench: Bench) -> None:
    """Without current it reports that it is cut off, but nobody may believe it."""
    await bench.switches("charge", "load", "one", "two")
    first, second = battery(1), battery(2)
    entry = await bench.bus(
        first,
        second,
        joined="parallel",
        charge="charge",
        load="load",
        connections={1: "one", 2: "two"},
    )
    await bench.watch(10, entry)
    assert bench.closed() == {"charge", "load", "one", "two"}
    await switch(bench.hass, bench.connection(entry, 2).entity_id, on=False)
    await bench.wait(0.6)
    assert bench.closed() == {"charge", "load", "one"}
    second.current = 5
    await bench.watch(15, entry)
    assert bench.relay_fault(entry, 2)
    assert bench.closed() == {"one"}
    second.current = 0
    await bench.watch(90, entry)
    assert bench.closed() == {"one"}


# By hand


async def test_closed_by_hand_while_wanted_open_it_is_opened_again(
    bench: Bench,
) -> None:
    [charge] = await bench.switches("charge")
    module = battery(1)
    entry = await bench.bus(module, charge="charge")
    module.cell_voltages[1] = 3.95
    await bench.hear(entry)
    assert not charge.is_on
    await bench.wait(30)
    bench.log.clear()
    charge.set(on=True)
    assert charge.told == ["off"]
    assert not charge.is_on


async def test_a_connection_opened_by_hand_is_only_closed_by_a_person(
    bench: Bench,
) -> None:
    _, _, connection = await bench.switches("charge", "load", "connection")
    module = battery(1)
    entry = await bench.bus(module, **ALL)
    name = bench.connection(entry).entity_id
    connection.set(on=False)
    await bench.hass.async_block_till_done()
    state = bench.connection(entry)
    assert (state.state, state.attributes["opened_by_hand"]) == ("off", True)
    await bench.watch(120, entry)
    assert "connection" not in bench.closed()
    with pytest.raises(ServiceValidationError, match="only a person"):
        await switch(bench.hass, name, person=False)

    # Not by a reload, nor by a restart.
    await bench.reload(entry)
    await bench.watch(10, entry)
    assert "connection" not in bench.closed()
    await bench.restart(entry)
    await bench.watch(10, entry)
    assert "connection" not in bench.closed()
    with pytest.raises(ServiceValidationError, match="only a person"):
        await switch(bench.hass, name, person=False)

    await switch(bench.hass, name)
    await bench.hear(entry)
    assert "connection" in bench.closed()
    assert bench.connection(entry).state == "on"
    assert not bench.connection(entry).attributes["opened_by_hand"]


async def test_a_connection_opened_and_closed_by_hand_stays_open(bench: Bench) -> None:
    """Somebody who closes the relay itself and not the switch is not obeyed."""
    [connection] = await bench.switches("connection")
    await bench.bus(battery(1), connections={1: "connection"})
    assert connection.is_on
    connection.set(on=False)
    connection.set(on=True)
    assert not connection.is_on


@pytest.mark.parametrize("by", ["closing it", "resetting"])
async def test_a_charge_relay_opened_by_hand_stays_open_until_a_person_is_done(
    bench: Bench, by: str
) -> None:
    [charge] = await bench.switches("charge")
    module = battery(1)
    entry = await bench.bus(module, charge="charge")
    assert charge.is_on
    charge.set(on=False)
    await bench.watch(120, entry)
    assert not charge.is_on
    await bench.reload(entry)
    await bench.watch(10, entry)
    assert not charge.is_on

    if by == "closing it":
        charge.set(on=True)
    else:
        await bench.reset(entry)
    await bench.watch(10, entry)
    assert charge.is_on
    # From now on protection closes it again by itself.
    set_cells(module, 3.95)
    await bench.hear(entry)
    assert not charge.is_on
    set_cells(module, 3.3)
    await bench.watch(90, entry)
    assert charge.is_on


async def test_back_from_being_away_it_was_not_opened_by_hand(bench: Bench) -> None:
    [connection] = await bench.switches("connection")
    entry = await bench.bus(battery(1), connections={1: "connection"})
    await bench.watch(60, entry)
    connection.set(there=False)
    connection.set(on=False)
    assert bench.connection(entry).attributes["wanted"]
    await bench.hear(entry)
    assert connection.is_on


# The registry


async def test_a_renamed_relay_is_still_followed(
    bench: Bench, entity_registry: er.EntityRegistry
) -> None:
    [charge] = await bench.switches("charge")
    module = battery(1)
    entry = await bench.bus(module, charge="charge")
    entity_registry.async_update_entity(
        "switch.charge", new_entity_id="switch.sun_on_the_roof"
    )
    await bench.hass.async_block_till_done()
    assert charge.entity_id == "switch.sun_on_the_roof"
    assert charge.is_on
    module.cell_voltages[1] = 3.95
    await bench.hear(entry)
    assert charge.told == ["on", "off"]
    charge.set(on=True)
    assert charge.told == ["on", "off", "off"]
    assert not bench.relay_fault(entry)


async def test_a_relay_that_was_removed_is_a_fault_after_the_grace(
    bench: Bench, entity_registry: er.EntityRegistry
) -> None:
    await bench.switches("charge", "connection")
    entry = await bench.bus(battery(1), charge="charge", connections={1: "connection"})
    entity_registry.async_remove("switch.connection")
    await bench.hass.async_block_till_done()
    await bench.watch(25, entry)
    assert not bench.relay_fault(entry)
    await bench.watch(10, entry)
    assert bench.relay_fault(entry)
    assert bench.faults(entry) == {"switch.connection": "away"}
    assert "charge" not in bench.closed()


async def test_another_entity_under_the_name_of_a_removed_relay_is_left_alone(
    bench: Bench, entity_registry: er.EntityRegistry
) -> None:
    charge, lamp = await bench.switches("charge", "lamp")
    module = battery(1)
    entry = await bench.bus(module, charge="charge")
    entity_registry.async_remove(charge.entity_id)
    await bench.hass.async_block_till_done()
    entity_registry.async_update_entity("switch.lamp", new_entity_id="switch.charge")
    await bench.hass.async_block_till_done()
    module.cell_voltages[1] = 3.95
    await bench.watch(60, entry)
    assert lamp.told == []
    assert bench.relay_fault(entry)


async def test_a_relay_that_is_not_there_while_home_assistant_starts_is_no_fault(
    bench: Bench,
) -> None:
    [charge] = await bench.switches("charge")
    charge.set(there=False)
    bench.hass.set_state(CoreState.starting)
    entry = await bench.bus(battery(1), charge="charge")
    await bench.watch(300, entry, step=10)
    assert not bench.relay_fault(entry)
    bench.hass.set_state(CoreState.running)
    await bench.watch(30, entry)
    assert not bench.relay_fault(entry)
    await bench.watch(10, entry)
    assert bench.relay_fault(entry)


async def test_a_relay_gone_before_the_start_is_a_fault_until_it_is_back(
    bench: Bench, entity_registry: er.EntityRegistry
) -> None:
    [charge] = await bench.switches("charge")
    name = charge.id
    options = {"outputs": {"charge": {"relay": name}}}
    entity_registry.async_remove("switch.charge")
    await bench.hass.async_block_till_done()
    entry = await bench.bus(battery(1))
    bench.hass.config_entries.async_update_entry(entry, options=options)
    await bench.reload(entry)
    await bench.watch(40, entry)
    assert bench.faults(entry) == {name: "away"}

    # It comes back closed, with the registry id that it had.
    back = entity_registry.async_get_or_create("switch", "test", "charge")
    assert back.id == name
    calls: list[Any] = []
    bench.hass.bus.async_listen("call_service", lambda event: calls.append(event.data))
    bench.hass.states.async_set(back.entity_id, "on")
    await bench.watch(60, entry)
    assert calls[0]["service"] == "turn_off"
    assert calls[0]["service_data"] == {"entity_id": back.entity_id}


# Shared by two entries


async def two_buses(
    bench: Bench,
) -> tuple[VirtualModule, VirtualModule, MockConfigEntry, MockConfigEntry]:
    """Return two buses whose batteries are charged through one relay."""
    await bench.switches("charge")
    first, second = battery(1), battery(2)
    one = await bench.bus(first, charge="charge")
    two = await bench.bus(second, charge="charge")
    await bench.hear(one, two)
    assert bench.closed() == {"charge"}
    return first, second, one, two


async def test_a_shared_relay_is_on_only_if_both_agree(bench: Bench) -> None:
    first, second, one, two = await two_buses(bench)
    set_cells(first, 3.95)
    await bench.hear(one)
    assert bench.closed() == set()
    set_cells(second, 3.95)
    await bench.hear(two)
    set_cells(first, 3.3)
    await bench.watch(90, one, two)
    assert bench.closed() == set()
    set_cells(second, 3.3)
    await bench.watch(90, one, two)
    assert bench.closed() == {"charge"}


async def test_a_shared_relay_follows_the_one_that_remains(bench: Bench) -> None:
    first, _, one, two = await two_buses(bench)
    set_cells(first, 3.95)
    await bench.hear(one, two)
    assert bench.closed() == set()
    await bench.hass.config_entries.async_remove(one.entry_id)
    await bench.hear(two)
    assert bench.closed() == {"charge"}


async def test_a_bus_that_is_loaded_anew_keeps_its_vote(bench: Bench) -> None:
    first, _, one, two = await two_buses(bench)
    set_cells(first, 3.95)
    await bench.hear(one, two)
    bench.log.clear()
    await bench.reload(one)
    await bench.hear(two)
    assert bench.log == []

    # Nor does the other one close it while the first is not loaded.
    assert await bench.hass.config_entries.async_unload(one.entry_id)
    await bench.watch(30, two)
    assert bench.log == []
    bench.relays["charge"].set(on=True)
    assert bench.closed() == set()


async def test_nothing_closes_before_all_who_share_a_relay_are_loaded(
    bench: Bench,
) -> None:
    """The other one may have been latched before the restart."""
    await bench.switches("charge")
    second = MockConfigEntry(
        domain=DOMAIN,
        data={
            "device": "/dev/nowhere",
            "family": "valence",
            "line": "mark",
            "batteries": stored([identity(battery(2))]),
        },
        options={"outputs": bench.outputs([battery(2)], {"charge": "charge"})},
    )
    second.add_to_hass(bench.hass)
    with patch(f"custom_components.{DOMAIN}.async_setup_entry", return_value=False):
        assert not await bench.hass.config_entries.async_setup(second.entry_id)
    first = await bench.bus(battery(1), charge="charge")
    await bench.watch(20, first)
    assert bench.closed() == set()
    await bench.hass.config_entries.async_set_disabled_by(
        second.entry_id, ConfigEntryDisabler.USER
    )
    await bench.watch(5, first)
    assert bench.closed() == {"charge"}


async def test_all_who_share_a_relay_hear_of_its_fault_whoever_finds_it(
    bench: Bench,
) -> None:
    """Without a timer: the next vote of another one may come first."""
    [charge] = await bench.switches("charge", on=True)
    charge.stuck = True
    board = relay_board(bench.hass)
    told: list[str] = []
    for name in ("a", "b"):
        relays = {charge.id: Relay(entity=charge.id)}
        changed = partial(told.append, name)
        board.use(name, User(relays, changed, lambda _: None))
        board.vote(name, {charge.id: Vote(want=Want.OPEN)})
    told.clear()
    bench.clock.ahead += 5.1
    board.vote("a", {charge.id: Vote(want=Want.OPEN)})
    assert set(told) == {"a", "b"}
    for name in ("a", "b"):
        board.leave(name)


async def test_a_relay_that_is_inverted_for_one_bus_only(bench: Bench) -> None:
    """The pages refuse it; what the first one says counts."""
    [charge] = await bench.switches("charge")
    board = relay_board(bench.hass)
    for inverted in (False, True):
        relay = Relay(entity=charge.id, inverted=inverted)
        user = User({charge.id: relay}, lambda: None, lambda _: None)
        board.use(str(inverted), user)
    assert board.report(charge.id) is Report.OPEN


async def test_a_bus_that_only_watches_has_no_vote(bench: Bench) -> None:
    first, _, one, two = await two_buses(bench)
    set_cells(first, 3.95)
    await bench.hear(one, two)
    assert bench.closed() == set()
    guard_of(one).set_mode(Mode.WATCH_ONLY)
    assert bench.closed() == {"charge"}


async def test_a_failed_shared_relay_opens_the_connections_of_both(
    bench: Bench,
) -> None:
    await bench.switches("charge", "one", "two")
    first, second = battery(1), battery(2)
    one = await bench.bus(first, charge="charge", connections={1: "one"})
    two = await bench.bus(second, charge="charge", connections={2: "two"})
    await bench.hear(one, two)
    assert bench.closed() == {"charge", "one", "two"}
    bench.relays["charge"].stuck = True
    set_cells(first, 3.95)
    set_cells(second, 3.95)
    await bench.hear(one, two)
    await bench.wait(5.1)
    await bench.wait(0.6)
    assert bench.closed() == {"charge"}


# Heartbeat


async def test_a_relay_is_kept_alive_only_while_there_is_fresh_reason(
    bench: Bench,
) -> None:
    [charge] = await bench.switches("charge")
    module = battery(1)
    entry = await bench.bus(
        module, charge="charge", details={"charge": {"heartbeat": "turn_on"}}
    )
    bench.log.clear()
    start = bench.clock()
    await bench.watch(120, entry)
    moments = [at - start for _, _, at in bench.log]
    assert charge.told == ["on"] * len(moments)
    assert moments == pytest.approx([30, 60, 90, 120])

    # Not in silence, and not while it is open.
    module.silent = True
    await bench.watch(14, entry, step=2)
    bench.log.clear()
    await bench.watch(120, entry)
    assert "on" not in charge.told
    assert not charge.is_on


async def test_a_heartbeat_ends_as_soon_as_the_reason_is_not_fresh(
    bench: Bench,
) -> None:
    [load] = await bench.switches("load")
    module = battery(1)
    entry = await bench.bus(
        module, load="load", details={"load": {"heartbeat": "turn_on"}}
    )
    await bench.watch(10, entry)
    module.silent = True
    await bench.watch(16, entry, step=4)
    bench.log.clear()
    await bench.watch(40, entry)
    assert load.is_on  # silence stops discharging after a minute
    assert bench.log == []


async def test_a_heartbeat_does_not_close_what_was_opened_by_hand(
    bench: Bench,
) -> None:
    [charge] = await bench.switches("charge")
    entry = await bench.bus(
        battery(1), charge="charge", details={"charge": {"heartbeat": "turn_on"}}
    )
    charge.set(on=False)
    bench.log.clear()
    await bench.watch(70, entry)
    assert bench.log == []


@pytest.mark.parametrize("kind", ["button", "script"])
async def test_a_heartbeat_may_be_a_button_or_a_script(
    bench: Bench, kind: str, entity_registry: er.EntityRegistry
) -> None:
    domain = "input_button" if kind == "button" else "script"
    config: Any = (
        {"beat": {}} if kind == "button" else {"beat": {"sequence": [{"delay": 0}]}}
    )
    assert await async_setup_component(bench.hass, domain, {domain: config})
    await bench.hass.async_block_till_done()
    target = entity_registry.async_get(f"{domain}.beat")
    assert target is not None
    beats: list[Any] = []

    def note(event: Any) -> None:
        data = event.data
        if data["domain"] == domain:
            beats.append((data["service"], data["service_data"]["entity_id"]))

    bench.hass.bus.async_listen("call_service", note)
    [charge] = await bench.switches("charge")
    module = battery(1)
    entry = await bench.bus(
        module,
        charge="charge",
        details={"charge": {"heartbeat": "entity", "target": target.id}},
    )
    entity_registry.async_update_entity(
        target.entity_id, new_entity_id=f"{domain}.other"
    )
    await bench.hass.async_block_till_done()
    beats.clear()
    await bench.watch(35, entry)
    service = "press" if kind == "button" else "turn_on"
    assert beats == [(service, f"{domain}.other")]
    assert charge.told == ["on"]
    # A heartbeat that is not there any more does not stop protection.
    entity_registry.async_remove(f"{domain}.other")
    await bench.watch(40, entry)
    set_cells(module, 3.95)
    await bench.hear(entry)
    assert not charge.is_on


async def test_a_relay_that_is_kept_alive_was_opened_by_hand(bench: Bench) -> None:
    [connection] = await bench.switches("connection")
    entry = await bench.bus(
        battery(1),
        connections={1: "connection"},
        details={"connection": {"heartbeat": "turn_on"}},
    )
    await bench.watch(100, entry)
    connection.set(on=False)
    assert bench.connection(entry).attributes["opened_by_hand"]


async def test_a_relay_whose_heartbeat_lapsed_is_closed_again(bench: Bench) -> None:
    [load] = await bench.switches("load")
    module = battery(1)
    entry = await bench.bus(
        module,
        load="load",
        limits={"silence_discharging": 1800},
        details={"load": {"heartbeat": "turn_on"}},
    )
    await bench.watch(35, entry)
    module.silent = True
    await bench.watch(180, entry, step=10)
    assert load.is_on
    load.set(on=False)  # its own timer
    await bench.hass.async_block_till_done()
    assert not load.is_on
    module.silent = False
    await bench.watch(20, entry)
    assert load.is_on
    assert watched_of(entry, 1).kept.wanted


# Re-entrancy and ends


async def test_relays_that_answer_inside_the_call(bench: Bench) -> None:
    """An input boolean has changed its state before the call returns."""
    charge, load, connection = await make_relays(
        bench.hass, "charge", "load", "connection"
    )
    module = battery(1)
    entry = await bench.bus(module)
    options = {
        "outputs": {
            "charge": {"relay": charge},
            "load": {"relay": load},
            "connections": {f"valence_{module.serial}": {"relay": connection}},
        }
    }
    bench.hass.config_entries.async_update_entry(entry, options=options)
    await bench.reload(entry)
    await bench.hear(entry)
    names = ("charge", "load", "connection")
    assert [relay_is_on(bench.hass, name) for name in names] == [True] * 3
    for _ in range(3):
        await switch(bench.hass, "input_boolean.connection", on=False)
        assert watched_of(entry, 1).kept.by_hand
        assert [relay_is_on(bench.hass, name) for name in names] == [False] * 3
        await bench.wait(0.6)
        await switch(bench.hass, "input_boolean.connection")
        assert not relay_is_on(bench.hass, "connection")
        await bench.watch(60, entry)
        await switch(bench.hass, bench.connection(entry).entity_id)
        await bench.hear(entry)
        assert [relay_is_on(bench.hass, name) for name in names] == [True] * 3


async def test_opened_by_hand_while_its_bus_is_loaded_anew(bench: Bench) -> None:
    [connection] = await bench.switches("connection")
    entry = await bench.bus(battery(1), connections={1: "connection"})
    assert connection.is_on
    assert await bench.hass.config_entries.async_unload(entry.entry_id)
    connection.set(on=False)
    await bench.wait(70)
    assert not connection.is_on
    assert await bench.hass.config_entries.async_setup(entry.entry_id)
    await bench.reload(entry)
    await bench.watch(10, entry)
    assert bench.connection(entry).attributes["opened_by_hand"]
    assert not connection.is_on


async def test_nothing_is_closed_or_kept_alive_while_its_bus_is_loaded_anew(
    bench: Bench,
) -> None:
    charge, load = await bench.switches("charge", "load")
    entry = await bench.bus(
        battery(1),
        charge="charge",
        load="load",
        details={"load": {"heartbeat": "turn_on"}},
    )
    assert bench.closed() == {"charge", "load"}
    bench.log.clear()
    assert await bench.hass.config_entries.async_unload(entry.entry_id)
    charge.set(there=False)
    charge.set(on=False)
    await bench.wait(70)
    load.set(there=False)
    load.set(there=True)
    assert bench.log == []


async def test_a_relay_that_is_not_shared_any_more_follows_the_other_bus(
    bench: Bench,
) -> None:
    first, _, one, _ = await two_buses(bench)
    set_cells(first, 3.95)
    await bench.hear(one)
    assert bench.closed() == set()
    bench.hass.config_entries.async_update_entry(one, options={})
    await bench.reload(one)
    assert bench.closed() == {"charge"}


async def test_a_relay_that_works_otherwise_now(bench: Bench) -> None:
    """Its options were wrong: it is closed while off."""
    [charge] = await bench.switches("charge")
    module = battery(1)
    entry = await bench.bus(module, charge="charge")
    outputs = {"charge": {"relay": charge.id, "inverted": True}}
    bench.hass.config_entries.async_update_entry(entry, options={"outputs": outputs})
    await bench.reload(entry)
    await bench.hear(entry)
    assert not charge.is_on
    set_cells(module, 3.95)
    await bench.hear(entry)
    assert charge.is_on


async def test_an_open_command_outlives_the_bus_until_it_is_loaded_again(
    bench: Bench,
) -> None:
    [charge] = await bench.switches("charge")
    module = battery(1)
    entry = await bench.bus(module, charge="charge")
    charge.set(there=False)
    set_cells(module, 3.95)
    await bench.hear(entry)
    assert await bench.hass.config_entries.async_unload(entry.entry_id)
    charge.set(there=True)
    assert not charge.is_on


async def test_nothing_is_told_after_the_end(bench: Bench) -> None:
    [charge] = await bench.switches("charge")
    module = battery(1)
    entry = await bench.bus(module, charge="charge", mode=Mode.ARMED)
    assert await bench.hass.config_entries.async_remove(entry.entry_id)
    await bench.hass.async_block_till_done()
    bench.log.clear()
    charge.set(on=True)
    await bench.wait(120)
    charge.set(on=False)
    await bench.wait(120)
    assert bench.log == []
