"""The trip test: a battery's relays opened, timed and noted."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any
from unittest.mock import patch

from homeassistant.core import Context, HomeAssistant
from homeassistant.exceptions import ServiceValidationError, Unauthorized
import pytest
from pytest_homeassistant_custom_component.common import MockConfigEntry

from custom_components.openxpbms.const import DOMAIN
from custom_components.openxpbms.kept import Mode

from .bench import Bench, battery, guard_of, set_cells
from .conftest import MakeEntry, MakeLine
from .guarding import a_person, jumping_clock, watched_of

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
    with jumping_clock() as clock:
        yield Bench(hass, make_line, make_entry, clock)


async def call(bench: Bench, device_id: str, context: Context | None = None) -> Any:
    """Call the action as an administrator, if nobody else is given."""
    return await bench.hass.services.async_call(
        DOMAIN,
        "trip_test",
        {"device_id": device_id},
        blocking=True,
        return_response=True,
        context=context or await a_person(bench.hass),
    )


async def begin(bench: Bench, entry: MockConfigEntry) -> asyncio.Task[Any]:
    """Begin to test the first battery."""
    test = asyncio.create_task(call(bench, bench.device(entry, 1).id))
    async with asyncio.timeout(5):
        while not watched_of(entry, 1).tested:
            await asyncio.sleep(0)
    return test


async def test_relays_are_opened_in_order_timed_and_closed_again(bench: Bench) -> None:
    await bench.switches("charge", "load", "connection")
    entry = await bench.bus(battery(1), **ALL)
    await bench.watch(60, entry)
    bench.log.clear()
    result = await call(bench, bench.device(entry, 1).id)
    assert [(name, what) for name, what, _ in bench.log[:3]] == [
        ("charge", "off"),
        ("load", "off"),
        ("connection", "off"),
    ]
    assert result["passed"]
    times = result["opened_after"]
    assert times["switch.charge"] <= times["switch.load"] < 0.5
    assert 0.5 <= times["switch.connection"] < 5
    assert bench.connection(entry).attributes["trip_test"] == result

    await bench.hear(entry)
    assert bench.closed() == {"charge", "load", "connection"}
    assert not bench.relay_fault(entry)
    assert bench.connection(entry).attributes["wanted"]
    await bench.restart(entry)
    assert bench.connection(entry).attributes["trip_test"] == result


async def test_a_relay_that_does_not_open_fails_the_test(bench: Bench) -> None:
    _, _, connection = await bench.switches("charge", "load", "connection")
    entry = await bench.bus(battery(1), **ALL)
    connection.stuck = True
    with patch("custom_components.openxpbms.trip_test.OPENS_WITHIN", 2):
        test = await begin(bench, entry)
    await asyncio.sleep(0.6)
    bench.clock.ahead += 5
    await entry.runtime_data.async_refresh()
    result = await test
    assert not result["passed"]
    assert result["opened_after"]["switch.connection"] is None
    assert result["opened_after"]["switch.load"] < 0.5
    assert bench.connection(entry).attributes["trip_test"] == result
    # And it is the fault that it would have been in earnest.
    connection.stuck = False
    await bench.watch(120, entry)
    assert bench.relay_fault(entry)
    assert bench.closed() == {"connection"}


async def test_a_slow_relay_is_timed(bench: Bench) -> None:
    [charge] = await bench.switches("charge")
    entry = await bench.bus(battery(1), charge="charge")
    charge.stuck = True
    test = await begin(bench, entry)
    bench.clock.ahead += 3
    charge.set(on=False)
    result = await test
    assert result["passed"]
    assert 3 <= result["opened_after"]["switch.charge"] < 5


async def test_a_charge_relay_that_has_failed_before_is_tested_as_well(
    bench: Bench,
) -> None:
    charge, _ = await bench.switches("charge", "connection")
    module = battery(1)
    entry = await bench.bus(
        module, charge="charge", connections={1: "connection"}, delay=0
    )
    charge.stuck = True
    set_cells(module, 3.95)
    await bench.hear(entry)
    await bench.watch(10, entry)
    assert bench.faults(entry) == {"switch.charge": "not_opening"}
    with patch("custom_components.openxpbms.trip_test.OPENS_WITHIN", 0.5):
        result = await call(bench, bench.device(entry, 1).id)
    assert not result["passed"]
    assert result["opened_after"]["switch.charge"] is None


async def test_only_the_battery_that_is_tested_loses_its_connection(
    bench: Bench,
) -> None:
    await bench.switches("one", "two")
    entry = await bench.bus(
        battery(1), battery(2), joined="parallel", connections={1: "one", 2: "two"}
    )
    await bench.watch(65, entry)
    assert bench.closed() == {"one", "two"}
    bench.log.clear()
    device_id = bench.device(entry, 2).id
    result = await call(bench, device_id)
    assert list(result["opened_after"]) == ["switch.two"]
    assert bench.log[0][:2] == ("two", "off")
    assert "one" not in {name for name, _, _ in bench.log}


async def test_the_test_ends_with_its_bus(bench: Bench) -> None:
    [charge] = await bench.switches("charge")
    entry = await bench.bus(battery(1), charge="charge")
    charge.stuck = True
    test = await begin(bench, entry)
    assert charge.told == ["on", "off"]
    charge.stuck = False
    assert await bench.hass.config_entries.async_remove(entry.entry_id)
    async with asyncio.timeout(5):
        assert not (await test)["passed"]
    await bench.wait(120)
    assert not charge.is_on


@pytest.mark.parametrize("mode", [Mode.WATCH_ONLY, Mode.SERVICE])
async def test_it_needs_an_armed_bus(bench: Bench, mode: Mode) -> None:
    [charge] = await bench.switches("charge")
    entry = await bench.bus(battery(1), charge="charge")
    guard_of(entry).set_mode(mode)
    device_id = bench.device(entry, 1).id
    with pytest.raises(ServiceValidationError, match="set the protection mode"):
        await call(bench, device_id)
    assert charge.told == ["on"]


async def test_it_needs_relays(bench: Bench) -> None:
    entry = await bench.bus(battery(1))
    device_id = bench.device(entry, 1).id
    with pytest.raises(ServiceValidationError, match="no relay is chosen"):
        await call(bench, device_id)


async def test_it_needs_a_battery(bench: Bench) -> None:
    await bench.switches("charge")
    entry = await bench.bus(battery(1), charge="charge")
    with pytest.raises(ServiceValidationError, match="This device is a bus"):
        await call(bench, bench.device(entry).id)
    assert await bench.hass.config_entries.async_unload(entry.entry_id)
    with pytest.raises(ServiceValidationError):
        await call(bench, bench.device(entry).id)
    with pytest.raises(ServiceValidationError):
        await call(bench, "nothing")


async def test_it_needs_an_administrator(bench: Bench) -> None:
    [charge] = await bench.switches("charge")
    entry = await bench.bus(battery(1), charge="charge")
    await a_person(bench.hass)  # the first one would be the owner
    user = await bench.hass.auth.async_create_user("Guest", group_ids=["system-users"])
    device_id = bench.device(entry, 1).id
    with pytest.raises(Unauthorized):
        await call(bench, device_id, Context(user_id=user.id))
    assert charge.told == ["on"]
