"""When entities show what: battery by battery, without noise, whatever else fails."""

from __future__ import annotations

from typing import Any
from unittest.mock import patch

from homeassistant.core import HomeAssistant
import pytest

from custom_components.openxpbms import sensor
from custom_components.openxpbms.bms.virtual import VirtualModule
from custom_components.openxpbms.kept import Mode

from .conftest import MakeEntry, MakeLine, identity
from .guarding import Clock


def shown(hass: HomeAssistant, number: int, key: str) -> str:
    """Return what a sensor of a module shows."""
    state = hass.states.get(f"sensor.u27_12xp_10440000{number}_{key}")
    assert state is not None
    return state.state


@pytest.fixture
async def bus(make_line: MakeLine, make_entry: MakeEntry) -> Any:
    """Return two modules and their coordinator, which asks on demand."""
    modules = [VirtualModule(n, serial=f"10440000{n}") for n in (1, 2)]
    line = await make_line(*modules)
    entry = await make_entry(line.path, *map(identity, modules))
    coordinator = entry.runtime_data
    coordinator.update_interval = None
    coordinator._async_unsub_refresh()
    return *modules, coordinator


async def test_a_battery_is_shown_while_the_next_one_is_asked(
    hass: HomeAssistant, bus: Any
) -> None:
    one, two, coordinator = bus
    seen: list[str] = []
    two.before_answer = lambda *_: seen.append(shown(hass, 1, "cell_1_voltage"))
    one.cell_voltages[0] = 3.456
    await coordinator.async_refresh()
    assert seen[-1] == "3.456"


async def test_one_entity_that_fails_holds_up_nobody(
    hass: HomeAssistant, bus: Any, caplog: pytest.LogCaptureFixture
) -> None:
    one, _, coordinator = bus
    first = next(iter(coordinator))

    def fail() -> None:
        raise RuntimeError("broken")

    stop = coordinator.async_add_listener(fail, first)
    heard: list[bool] = []
    coordinator.async_add_listener(lambda: heard.append(True), first)
    one.cell_voltages[0] = 3.456
    await coordinator.async_refresh()
    assert heard
    assert "an entity cannot be shown" in caplog.text
    stop()
    caplog.clear()
    await coordinator.async_refresh()
    assert "cannot be shown" not in caplog.text


async def test_what_a_failed_round_left_is_not_shown(
    hass: HomeAssistant, bus: Any
) -> None:
    _, _, coordinator = bus
    with patch.object(coordinator.rounds, "round", side_effect=RuntimeError("broken")):
        await coordinator.async_refresh()
    assert shown(hass, 1, "voltage") == shown(hass, 2, "voltage") == "unavailable"
    await coordinator.async_refresh()
    assert shown(hass, 1, "voltage") == shown(hass, 2, "voltage") == "13.206"


async def test_noise_is_not_shown_until_it_stays(hass: HomeAssistant, bus: Any) -> None:
    one, _, coordinator = bus
    clock = Clock(frozen=True)
    with patch.object(sensor, "monotonic", clock):
        for current in (0.1, -0.1, 0.15, 0.1, -0.05):
            one.current = current
            one.cell_temperatures[0] = 20.1 if current > 0 else 20.0
            await coordinator.async_refresh()
            clock.ahead += 5
            assert shown(hass, 1, "current") == shown(hass, 1, "power") == "0.0"
            assert shown(hass, 1, "cell_1_temperature") == "20.0"
        one.current = 0.15
        for _ in range(7):
            assert shown(hass, 1, "current") == "0.0"
            await coordinator.async_refresh()
            clock.ahead += 5
        assert shown(hass, 1, "current") == "0.15"
        assert shown(hass, 1, "power") == str(round(13.206 * 0.15, 2))
        one.current = 40.0
        await coordinator.async_refresh()
        assert shown(hass, 1, "current") == "40.0"


async def test_another_cell_is_named_when_it_really_is_lower(
    hass: HomeAssistant, bus: Any
) -> None:
    one, _, coordinator = bus
    assert shown(hass, 1, "lowest_cell") == "1"
    one.cell_voltages[2] = 3.299
    await coordinator.async_refresh()
    assert shown(hass, 1, "lowest_cell") == "1"
    # Its voltage counts at once, whoever it is.
    assert shown(hass, 1, "lowest_cell_voltage") == "3.299"
    one.cell_voltages[2] = 3.297
    await coordinator.async_refresh()
    assert shown(hass, 1, "lowest_cell") == "3"


async def test_protection_of_one_battery_does_not_stir_the_others(
    hass: HomeAssistant, bus: Any
) -> None:
    one, _, coordinator = bus
    guard = coordinator.guard
    told: list[str | None] = []

    def follow(key: str | None) -> None:
        guard.async_add_listener(lambda: told.append(key), key)

    keys = [watched.key for watched in guard]
    for key in (None, *keys):
        follow(key)
    one.cell_voltages[0] = 4.1
    await coordinator.async_refresh()
    assert set(told) == {None, keys[0]}
    told.clear()
    guard.set_mode(Mode.SERVICE)
    assert told == [None, *keys]
