"""The Energy dashboard takes what the documentation tells to choose."""

from __future__ import annotations

from typing import Any

from homeassistant.components.energy.data import (
    BATTERY_SOURCE_SCHEMA,
    async_get_manager,
)
from homeassistant.components.energy.validate import async_validate
from homeassistant.components.recorder.statistics import async_list_statistic_ids
from homeassistant.core import HomeAssistant
from homeassistant.setup import async_setup_component
from homeassistant.util import dt as dt_util
import pytest
from pytest_homeassistant_custom_component.components.recorder.common import (
    async_wait_recording_done,
    do_adhoc_statistics,
)

from custom_components.openxpbms.bms.virtual.valence import VirtualModule

from .conftest import MakeEntry, MakeLine, identity

STATISTICS = ("energy_to", "energy_from", "soc")
OPTIONS = {"current_confirmed": True, "outputs": {"joined": "parallel"}}


@pytest.fixture(autouse=True)
def _custom_integrations(recorder_mock: Any, enable_custom_integrations: None) -> None:
    """Have a recorder, which must be there before Home Assistant is."""


async def test_a_battery_system_is_good(
    hass: HomeAssistant, make_line: MakeLine, make_entry: MakeEntry
) -> None:
    assert await async_setup_component(hass, "sensor", {})
    assert await async_setup_component(hass, "energy", {})
    both = [VirtualModule(n, serial=f"10440046{n}", current=50.0) for n in (1, 2)]
    line = await make_line(*both)
    await make_entry(line.path, *map(identity, both), options=OPTIONS)
    await async_wait_recording_done(hass)
    do_adhoc_statistics(hass, start=_five_minutes())
    await async_wait_recording_done(hass)
    chosen: dict[str, Any] = {
        "type": "battery",
        "stat_energy_to": "sensor.garage_energy_charged",
        "stat_energy_from": "sensor.garage_energy_discharged",
        "power_config": {"stat_rate": "sensor.garage_power_for_the_energy_dashboard"},
        "stat_soc": "sensor.garage_state_of_charge",
        "capacity": 3.5,
    }
    known = {each["statistic_id"] for each in await async_list_statistic_ids(hass)}
    power = chosen["power_config"]["stat_rate"]
    assert {power, *(chosen[f"stat_{what}"] for what in STATISTICS)} <= known
    manager = await async_get_manager(hass)
    await manager.async_update({"energy_sources": [BATTERY_SOURCE_SCHEMA(chosen)]})
    [source] = (await async_validate(hass)).as_dict()["energy_sources"]
    assert source == []


def _five_minutes() -> Any:
    """Return when the running five minutes began."""
    now = dt_util.utcnow()
    return now.replace(minute=now.minute // 5 * 5, second=0, microsecond=0)
