"""What becomes of relays whose bus is removed, disabled, or uses others from now on."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from unittest.mock import patch

from homeassistant.components.repairs import DOMAIN as REPAIRS
from homeassistant.config_entries import ConfigEntryDisabler
from homeassistant.core import HomeAssistant
from homeassistant.data_entry_flow import FlowResultType
from homeassistant.helpers import issue_registry as ir
from homeassistant.setup import async_setup_component
import pytest
from pytest_homeassistant_custom_component.common import MockConfigEntry

from custom_components.openxpbms import async_remove_config_entry_device
from custom_components.openxpbms.const import DOMAIN
from custom_components.openxpbms.kept import Mode
from custom_components.openxpbms.repairs import async_create_fix_flow

from .bench import Bench, battery, guard_of, set_cells
from .conftest import MakeEntry, MakeLine, first_round
from .guarding import jumping_clock

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
    with (
        jumping_clock() as clock,
        patch("custom_components.openxpbms.release.PATIENCE", 0.2),
    ):
        yield Bench(hass, make_line, make_entry, clock)


async def end(bench: Bench, entry: MockConfigEntry, how: str) -> None:
    """Remove or disable an entry."""
    entries = bench.hass.config_entries
    if how == "removed":
        await entries.async_remove(entry.entry_id)
    else:
        user = ConfigEntryDisabler.USER
        assert await entries.async_set_disabled_by(entry.entry_id, user)
    await bench.hass.async_block_till_done()


async def enable(bench: Bench, entry: MockConfigEntry) -> None:
    """Enable an entry again."""
    entries = bench.hass.config_entries
    assert await entries.async_set_disabled_by(entry.entry_id, None)
    await first_round(bench.hass, entry)
    bench.quiet(entry)


def unguarded(bench: Bench) -> set[str]:
    """Return the relays of which is told that nobody guards them."""
    issues = ir.async_get(bench.hass).issues.values()
    return {
        (issue.translation_placeholders or {})["relay"]
        for issue in issues
        if issue.active and issue.translation_key == "unguarded"
    }


@pytest.mark.parametrize("how", ["removed", "disabled"])
async def test_relays_are_opened_in_order(bench: Bench, how: str) -> None:
    await bench.switches("charge", "load", "connection")
    entry = await bench.bus(battery(1), **ALL)
    bench.log.clear()
    await end(bench, entry, how)
    assert [(name, what) for name, what, _ in bench.log] == [
        ("charge", "off"),
        ("load", "off"),
        ("connection", "off"),
    ]
    first, _, last = (at for _, _, at in bench.log)
    assert 0.5 <= last - first < 3
    assert unguarded(bench) == set()
    # Nobody guards them: whoever closes them now is not contradicted.
    bench.relays["charge"].set(on=True)
    await bench.wait(120)
    assert bench.closed() == {"charge"}


async def test_one_that_is_enabled_again_is_guarded_again(bench: Bench) -> None:
    await bench.switches("charge", "load", "connection")
    module = battery(1)
    entry = await bench.bus(module, **ALL)
    await end(bench, entry, "disabled")
    await bench.wait(60)
    await enable(bench, entry)
    await bench.watch(60, entry)
    assert bench.closed() == {"charge", "load", "connection"}
    set_cells(module, 3.95)
    await bench.hear(entry)
    assert bench.closed() == {"load", "connection"}


@pytest.mark.parametrize("how", ["removed", "disabled"])
async def test_relays_that_are_left_are_told(
    bench: Bench, how: str, issue_registry: ir.IssueRegistry
) -> None:
    charge, _, _ = await bench.switches("charge", "load", "connection")
    entry = await bench.bus(battery(1), leave=True, **ALL)
    charge.set(on=False)
    bench.log.clear()
    await end(bench, entry, how)
    assert bench.log == []
    assert unguarded(bench) == {"switch.load", "switch.connection"}
    issue = issue_registry.async_get_issue(
        DOMAIN, f"unguarded_{bench.relays['load'].id}"
    )
    assert issue is not None
    assert (issue.is_persistent, issue.is_fixable) == (True, True)
    assert issue.severity is ir.IssueSeverity.ERROR


async def test_the_issue_ends_when_the_relay_is_guarded_again(bench: Bench) -> None:
    await bench.switches("charge", "load", "connection")
    entry = await bench.bus(battery(1), leave=True, **ALL)
    await end(bench, entry, "disabled")
    assert unguarded(bench) == {"switch.charge", "switch.load", "switch.connection"}
    await enable(bench, entry)
    assert unguarded(bench) == set()
    assert bench.closed() == {"charge", "load", "connection"}


async def test_a_bus_that_only_watches_does_not_end_the_issue(bench: Bench) -> None:
    await bench.switches("charge", "load", "connection")
    first = await bench.bus(battery(1), charge="charge", leave=True)
    second = await bench.bus(battery(2), charge="charge", mode=None)
    await bench.hear(first, second)
    await end(bench, first, "removed")
    await bench.hear(second)
    assert unguarded(bench) == {"switch.charge"}
    guard_of(second).set_mode(Mode.ARMED)
    assert unguarded(bench) == set()


async def test_a_person_can_say_that_the_relay_is_known(bench: Bench) -> None:
    assert await async_setup_component(bench.hass, REPAIRS, {})
    await bench.switches("charge")
    entry = await bench.bus(battery(1), charge="charge", leave=True)
    issue_id = f"unguarded_{bench.relays['charge'].id}"
    await end(bench, entry, "removed")
    issue = ir.async_get(bench.hass).async_get_issue(DOMAIN, issue_id)
    assert issue is not None
    flow = await async_create_fix_flow(bench.hass, issue_id, issue.data)
    flow.hass, flow.handler, flow.issue_id = bench.hass, DOMAIN, issue_id
    shown: Any = await flow.async_step_init()
    assert shown["type"] is FlowResultType.FORM
    assert shown["step_id"] == "confirm"
    done: Any = await flow.async_step_confirm({})
    assert done["type"] is FlowResultType.CREATE_ENTRY


@pytest.mark.parametrize("trouble", ["stuck", "raises", "away"])
async def test_a_relay_that_does_not_open_is_told(bench: Bench, trouble: str) -> None:
    charge, load, _ = await bench.switches("charge", "load", "connection")
    entry = await bench.bus(battery(1), **ALL)
    if trouble == "away":
        charge.set(there=False)
    else:
        setattr(charge, trouble, True)
    await end(bench, entry, "removed")
    assert not load.is_on
    assert "connection" not in bench.closed()
    assert unguarded(bench) == {"switch.charge"}


async def test_a_slow_relay_is_waited_for(bench: Bench) -> None:
    [charge] = await bench.switches("charge")
    entry = await bench.bus(battery(1), charge="charge", delay=0)
    charge.stuck = True
    bench.hass.loop.call_later(0.3, lambda: charge.set(on=False))
    with patch("custom_components.openxpbms.release.PATIENCE", 5):
        await end(bench, entry, "removed")
    assert unguarded(bench) == set()


@pytest.mark.parametrize("how", ["removed", "disabled"])
async def test_a_relay_that_another_bus_guards_is_left_to_it(
    bench: Bench, how: str
) -> None:
    await bench.switches("charge", "one")
    first = await bench.bus(battery(1), charge="charge", connections={1: "one"})
    second = await bench.bus(battery(2), charge="charge")
    await bench.hear(first, second)
    assert bench.closed() == {"charge", "one"}
    bench.log.clear()
    await end(bench, first, how)
    assert bench.closed() == {"charge"}
    assert [name for name, _, _ in bench.log] == ["one"]
    assert unguarded(bench) == set()


async def test_who_only_watches_a_relay_does_not_guard_it(bench: Bench) -> None:
    await bench.switches("charge")
    first = await bench.bus(battery(1), charge="charge")
    second = await bench.bus(battery(2), charge="charge", mode=None)
    await bench.hear(first, second)
    assert bench.closed() == {"charge"}
    await end(bench, first, "removed")
    assert bench.closed() == set()


@pytest.mark.parametrize("how", ["removed", "disabled"])
async def test_a_bus_that_only_watches_commands_nothing(bench: Bench, how: str) -> None:
    await bench.switches("charge", "load", "connection", on=True)
    entry = await bench.bus(battery(1), mode=None, **ALL)
    await bench.hear(entry)
    await end(bench, entry, how)
    assert bench.log == []
    assert unguarded(bench) == set()


async def test_a_bus_that_could_not_be_set_up_is_removed(bench: Bench) -> None:
    await bench.switches("charge", on=True)
    with patch(
        "custom_components.openxpbms.guard.Guard.start", side_effect=RuntimeError
    ):
        entry = MockConfigEntry(
            domain=DOMAIN,
            data={
                "device": "/dev/nowhere",
                "family": "valence",
                "line": "mark",
                "batteries": [],
            },
            options={"outputs": bench.outputs([], {"charge": "charge"})},
        )
        entry.add_to_hass(bench.hass)
        assert not await bench.hass.config_entries.async_setup(entry.entry_id)
    await end(bench, entry, "removed")
    assert bench.log == []


async def test_what_was_kept_goes_with_its_entry(
    bench: Bench, hass_storage: dict[str, Any]
) -> None:
    await bench.switches("charge")
    entry = await bench.bus(battery(1), charge="charge")
    assert f"{DOMAIN}.{entry.entry_id}" in hass_storage
    await end(bench, entry, "removed")
    assert f"{DOMAIN}.{entry.entry_id}" not in hass_storage


@pytest.mark.parametrize("how", ["removed", "disabled"])
async def test_its_issues_go_with_it(bench: Bench, how: str) -> None:
    [charge] = await bench.switches("charge")
    module = battery(1)
    entry = await bench.bus(module, charge="charge")
    charge.stuck = True
    set_cells(module, 3.95)
    await bench.hear(entry)
    await bench.wait(5.1)
    assert "relay_fault" in bench.issues()
    charge.stuck = False
    await end(bench, entry, how)
    assert not charge.is_on
    assert bench.issues() == set()


async def test_one_whose_entities_cannot_be_unloaded_lets_go_as_well(
    bench: Bench,
) -> None:
    [charge] = await bench.switches("charge")
    module = battery(1)
    entry = await bench.bus(module, charge="charge")
    coordinator = entry.runtime_data
    entries = bench.hass.config_entries
    with patch.object(entries, "async_unload_platforms", return_value=False):
        await entries.async_remove(entry.entry_id)
    assert not charge.is_on
    bench.log.clear()
    await coordinator.async_refresh()
    await bench.wait(60)
    assert bench.log == []
    await coordinator.bus.close()
    await coordinator.async_shutdown()


# Relays that are not used any more


async def test_a_relay_that_was_exchanged_is_opened(bench: Bench) -> None:
    await bench.switches("charge", "load", "connection", "other")
    module = battery(1)
    entry = await bench.bus(module, **ALL)
    bench.log.clear()
    outputs = bench.outputs([module], ALL | {"charge": "other"})
    bench.hass.config_entries.async_update_entry(entry, options={"outputs": outputs})
    await bench.reload(entry)
    await bench.hear(entry)
    assert bench.closed() == {"load", "connection", "other"}
    assert "off" not in {what for name, what, _ in bench.log if name != "charge"}
    assert unguarded(bench) == set()


@pytest.mark.parametrize("leave", [False, True])
async def test_without_any_relays_all_are_let_go(bench: Bench, leave: bool) -> None:
    await bench.switches("charge", "load", "connection")
    module = battery(1)
    entry = await bench.bus(module, **ALL)
    bench.log.clear()
    options = {"outputs": {"leave": leave}}
    bench.hass.config_entries.async_update_entry(entry, options=options)
    await bench.reload(entry)
    if leave:
        assert bench.log == []
        assert unguarded(bench) == {
            "switch.charge",
            "switch.load",
            "switch.connection",
        }
    else:
        assert [name for name, _, _ in bench.log] == ["charge", "load", "connection"]
        assert 0.5 <= bench.log[2][2] - bench.log[0][2] < 3
        assert unguarded(bench) == set()


async def test_the_relay_of_a_battery_that_was_removed_is_opened(bench: Bench) -> None:
    await bench.switches("one", "two")
    entry = await bench.bus(
        battery(1), battery(2), joined="parallel", connections={1: "one", 2: "two"}
    )
    await bench.watch(65, entry)
    assert bench.closed() == {"one", "two"}
    device = bench.device(entry, 2)
    bus = bench.device(entry)
    assert await async_remove_config_entry_device(bench.hass, entry, device)
    await bench.hass.async_block_till_done()
    assert len(list(guard_of(entry))) == 1
    bench.quiet(entry)
    await bench.watch(10, entry)
    assert bench.closed() == {"one"}
    assert bench.connection(entry).state == "on"
    assert not await async_remove_config_entry_device(bench.hass, entry, bus)
