"""The blueprints: each loads, makes a valid automation, and does what it says."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from datetime import timedelta
from pathlib import Path
import re
from typing import Any
from unittest.mock import patch

from freezegun.api import FrozenDateTimeFactory
from homeassistant.components.automation.config import AUTOMATION_BLUEPRINT_SCHEMA
from homeassistant.components.blueprint.models import Blueprint, DomainBlueprints
from homeassistant.core import HomeAssistant, ServiceCall
from homeassistant.helpers import device_registry as dr
from homeassistant.helpers import entity_registry as er
from homeassistant.setup import async_setup_component
from homeassistant.util.yaml import load_yaml
import pytest
from pytest_homeassistant_custom_component.common import (
    MockConfigEntry,
    async_fire_time_changed,
    async_mock_service,
)

from custom_components.openxpbms.bms.virtual.valence import VirtualModule
from custom_components.openxpbms.const import DOMAIN

from .conftest import MakeEntry, MakeLine, identity
from .guarding import Clock, jumping_clock, refresh, watch

ROOT = Path(__file__).parents[2]
BLUEPRINTS = sorted((ROOT / "blueprints/automation/openxpbms").glob("*.yaml"))
BASE = "https://github.com/openxpbms/openxpbms-home-assistant/blob/main/"
EVENT, OTHER_EVENT = "event.one_protection_event", "event.two_protection_event"
HIGH = "binary_sensor.one_cell_voltage_high"
COLD = "binary_sensor.two_cell_temperature_low"
OVER = "binary_sensor.one_cell_over_voltage"
PROTECTION = "binary_sensor.one_protection"
TELL = [
    {
        "action": "test.tell",
        "data": {"title": "{{ title }}", "message": "{{ message }}"},
    }
]
# What has no default.
INPUTS: dict[str, dict[str, Any]] = {
    "tell_stop": {"events": [EVENT, OTHER_EVENT]},
    "tell_warning": {"events": [EVENT, OTHER_EVENT]},
    "stop_charger": {"sensors": [OVER]},
    "remind_latch": {"sensors": [PROTECTION]},
}


def blueprint(path: Path) -> Blueprint:
    """Load a blueprint as Home Assistant does."""
    return Blueprint(
        load_yaml(path),
        path=f"openxpbms/{path.name}",
        expected_domain="automation",
        schema=AUTOMATION_BLUEPRINT_SCHEMA,
    )


@pytest.fixture(autouse=True)
def _at_home() -> Iterator[None]:
    """Let Home Assistant find the blueprints in this repository."""

    def load(_: DomainBlueprints, path: str) -> Blueprint:
        return blueprint(ROOT / "blueprints/automation" / path)

    with patch.object(DomainBlueprints, "_load_blueprint", load):
        yield


async def end(hass: HomeAssistant) -> None:
    """Leave no automation running."""
    if ids := hass.states.async_entity_ids("automation"):
        await hass.services.async_call(
            "automation", "turn_off", {"entity_id": ids}, blocking=True
        )


@pytest.fixture(autouse=True)
async def _ends(hass: HomeAssistant) -> AsyncIterator[None]:
    yield
    await end(hass)


@pytest.fixture
def told(hass: HomeAssistant) -> list[ServiceCall]:
    """Return what was told."""
    return async_mock_service(hass, "test", "tell")


def automation(name: str, **inputs: Any) -> dict[str, Any]:
    """Return the configuration of an automation from a blueprint."""
    return {
        "id": name,
        "alias": name,
        "use_blueprint": {
            "path": f"openxpbms/{name}.yaml",
            "input": INPUTS[name] | inputs,
        },
    }


async def use(hass: HomeAssistant, name: str, **inputs: Any) -> None:
    """Make an automation of a blueprint."""
    config = [automation(name, **inputs)]
    assert await async_setup_component(hass, "automation", {"automation": config})
    await hass.async_block_till_done()
    state = hass.states.get(f"automation.{name}")
    assert state is not None
    # One with a config that is not valid is unavailable.
    assert state.state == "on"


def messages(told: list[ServiceCall]) -> list[tuple[str, str]]:
    """Return titles and messages, each on one line."""
    return [
        (call.data["title"], re.sub(r"\s+", " ", call.data["message"])) for call in told
    ]


@pytest.fixture
def batteries(hass: HomeAssistant) -> None:
    """Register two batteries with an event and a warning each."""
    entry = MockConfigEntry(domain=DOMAIN)
    entry.add_to_hass(hass)
    for name, ids in {"One": [EVENT, HIGH], "Two": [OTHER_EVENT, COLD]}.items():
        device = dr.async_get(hass).async_get_or_create(
            config_entry_id=entry.entry_id, identifiers={(DOMAIN, name)}, name=name
        )
        for entity_id in ids:
            domain, object_id = entity_id.split(".")
            er.async_get(hass).async_get_or_create(
                domain,
                DOMAIN,
                object_id,
                suggested_object_id=object_id,
                device_id=device.id,
            )
            hass.states.async_set(
                entity_id, "unknown" if domain == "event" else "off", {}
            )


def happens(
    hass: HomeAssistant,
    event: str,
    quantity: str,
    level: str,
    at: str = "2026-11-20T12:00:00.000+00:00",
    **attributes: Any,
) -> None:
    """Let an event entity tell of something."""
    hass.states.async_set(
        event,
        at,
        {
            "event_type": "raised",
            "quantity": quantity,
            "level": level,
            "limit": None,
            "clears": None,
            "waits": "value",
        }
        | attributes,
    )


async def settle() -> None:
    """Let everything go on that needs no time.

    Home Assistant's own way would also wait for an automation that waits.
    """
    for _ in range(50):
        await asyncio.sleep(0)


async def pass_seconds(
    hass: HomeAssistant, freezer: FrozenDateTimeFactory, seconds: float
) -> None:
    """Let seconds pass for Home Assistant."""
    await settle()
    freezer.tick(timedelta(seconds=seconds))
    async_fire_time_changed(hass)
    await settle()


@pytest.mark.parametrize("path", BLUEPRINTS, ids=lambda path: path.stem)
async def test_makes_a_valid_automation(hass: HomeAssistant, path: Path) -> None:
    loaded = blueprint(path)
    assert loaded.validate() is None
    assert loaded.metadata["source_url"] == BASE + str(path.relative_to(ROOT))
    for name, described in loaded.inputs.items():
        assert "selector" in described, name
    await use(hass, path.stem)


def test_all_are_tested_and_offered() -> None:
    assert {path.stem for path in BLUEPRINTS} == INPUTS.keys()
    readme = (ROOT / "README.md").read_text()
    for path in BLUEPRINTS:
        url = BASE + str(path.relative_to(ROOT))
        quoted = url.replace(":", "%3A").replace("/", "%2F")
        assert f"blueprint_import/?blueprint_url={quoted})" in readme


@pytest.mark.usefixtures("batteries")
async def test_a_stop_is_told(hass: HomeAssistant, told: list[ServiceCall]) -> None:
    await use(hass, "tell_stop", tell=TELL)
    happens(hass, EVENT, "cell_over_voltage", "warning", cell=3, value=3.92, limit=3.7)
    # All in the same millisecond.
    happens(hass, EVENT, "cell_over_voltage", "stop", cell=3, value=3.92, limit=3.9)
    happens(hass, EVENT, "silence", "stop", limit=15.0)
    await settle()
    happens(
        hass,
        OTHER_EVENT,
        "cell_over_temperature",
        "cutoff",
        cell=1,
        value=66.04,
        limit=65.0,
    )
    await settle()
    happens(
        hass,
        OTHER_EVENT,
        "reported_fault",
        "stop",
        value=1.0,
        limit=0.5,
        what="battery_failure",
    )
    await settle()
    assert messages(told) == [
        ("One is stopped", "Cell over voltage, cell 3: 3.92 V, limit 3.9 V."),
        ("One is stopped", "Silence."),
        ("Two is cut off", "Cell over temperature, sensor 1: 66.04 °C, limit 65.0 °C."),
        ("Two is stopped", "Reported fault (battery failure)."),
    ]


@pytest.mark.usefixtures("batteries")
async def test_only_news_is_told(
    hass: HomeAssistant, told: list[ServiceCall], freezer: FrozenDateTimeFactory
) -> None:
    await use(hass, "tell_stop", tell=TELL)
    happens(hass, EVENT, "silence", "stop")
    await settle()
    assert len(told) == 1
    # Another name, a reload, an end: none of it is a stop.
    happens(hass, EVENT, "silence", "stop", friendly_name="Another")
    hass.states.async_set(EVENT, "unavailable")
    await pass_seconds(hass, freezer, 60)
    happens(hass, EVENT, "silence", "stop")
    happens(hass, EVENT, "silence", "stop", "later", event_type="cleared")
    hass.states.async_remove(EVENT)
    await settle()
    assert len(told) == 1


@pytest.mark.usefixtures("batteries")
async def test_the_end_of_a_stop_and_of_protection_is_told(
    hass: HomeAssistant, told: list[ServiceCall], freezer: FrozenDateTimeFactory
) -> None:
    await use(hass, "tell_stop", tell=TELL, cleared=True)
    happens(hass, EVENT, "silence", "stop", event_type="cleared")
    await settle()
    hass.states.async_set(EVENT, "unavailable")
    await settle()
    await pass_seconds(hass, freezer, 301)
    assert [title for title, _ in messages(told)] == [
        "One: it is over",
        "One is not guarded",
    ]


@pytest.mark.usefixtures("batteries")
async def test_warnings_are_told_once_an_hour(
    hass: HomeAssistant, told: list[ServiceCall], freezer: FrozenDateTimeFactory
) -> None:
    await use(hass, "tell_warning", tell=TELL)

    def warn(
        event: str, sensor: str, quantity: str, at: str, **attributes: Any
    ) -> None:
        happens(hass, event, quantity, "warning", at, **attributes)
        state = {"quantity": quantity, "level": "warning", **attributes}
        hass.states.async_set(sensor, "on", state)

    warn(EVENT, HIGH, "cell_over_voltage", "a", cell=2, value=3.71, limit=3.7)
    await settle()
    await pass_seconds(hass, freezer, 1.1)
    assert messages(told) == [
        ("One warns", "One: Cell over voltage, cell 2: 3.71 V, limit 3.7 V.")
    ]
    # It goes, comes again, and another comes, all in the quiet time.
    await pass_seconds(hass, freezer, 60)
    hass.states.async_set(HIGH, "off")
    await pass_seconds(hass, freezer, 60)
    warn(EVENT, HIGH, "cell_over_voltage", "b", cell=2, value=3.72, limit=3.7)
    warn(OTHER_EVENT, COLD, "cell_under_temperature", "c", cell=1, value=4.5, limit=5)
    await settle()
    assert len(told) == 1
    await pass_seconds(hass, freezer, 3500)
    await pass_seconds(hass, freezer, 1.1)
    assert messages(told)[1:] == [
        (
            "2 batteries warn",
            (
                "One: Cell over voltage, cell 2: 3.72 V, limit 3.7 V."
                " Two: Cell under temperature, sensor 1: 4.5 °C, limit 5.0 °C."
            ),
        )
    ]
    # Nothing new in the second hour: quiet until the next warning.
    await pass_seconds(hass, freezer, 3601)
    await pass_seconds(hass, freezer, 7200)
    assert len(told) == 2
    warn(EVENT, HIGH, "cell_over_voltage", "d", cell=2, value=3.73, limit=3.7)
    await settle()
    await pass_seconds(hass, freezer, 1.1)
    assert len(told) == 3


@pytest.mark.usefixtures("batteries")
async def test_a_stop_is_no_warning(
    hass: HomeAssistant, told: list[ServiceCall], freezer: FrozenDateTimeFactory
) -> None:
    await use(hass, "tell_warning", tell=TELL)
    happens(hass, EVENT, "silence", "stop")
    await settle()
    await pass_seconds(hass, freezer, 2)
    assert not told


async def test_a_charger_is_stopped(
    hass: HomeAssistant, told: list[ServiceCall], freezer: FrozenDateTimeFactory
) -> None:
    assert await async_setup_component(hass, "homeassistant", {})
    hass.states.async_set(OVER, "off")
    config = {"charger": {"initial": True}}
    assert await async_setup_component(hass, "input_boolean", {"input_boolean": config})
    charger = "input_boolean.charger"
    tell = [{"action": "test.tell", "data": {"title": "stopped", "message": ""}}]
    await use(hass, "stop_charger", switches=[charger], more=tell)
    assert hass.states.is_state(charger, "on")
    hass.states.async_set(OVER, "on")
    await settle()
    assert hass.states.is_state(charger, "off")
    # Somebody switches it on again.
    hass.states.async_set(charger, "on")
    await pass_seconds(hass, freezer, 61)
    assert hass.states.is_state(charger, "off")
    hass.states.async_set(OVER, "off")
    hass.states.async_set(charger, "on")
    await pass_seconds(hass, freezer, 61)
    assert hass.states.is_state(charger, "on")
    assert len(told) == 1


async def test_a_charger_is_stopped_when_nobody_watches(
    hass: HomeAssistant, told: list[ServiceCall], freezer: FrozenDateTimeFactory
) -> None:
    hass.states.async_set(OVER, "off")
    await use(hass, "stop_charger", more=TELL)
    hass.states.async_set(OVER, "unavailable")
    await pass_seconds(hass, freezer, 200)
    assert not told
    await pass_seconds(hass, freezer, 101)
    assert len(told) == 1
    hass.states.async_set(OVER, "off")
    await pass_seconds(hass, freezer, 61)


async def test_a_latch_is_brought_to_mind(
    hass: HomeAssistant, told: list[ServiceCall], freezer: FrozenDateTimeFactory
) -> None:
    def wait_for(waits: str) -> None:
        stop = {"quantity": "cell_over_temperature", "waits": waits}
        attributes = {"friendly_name": "One Protection", "stops": [stop]}
        hass.states.async_set(PROTECTION, "on", attributes)

    await use(hass, "remind_latch", tell=TELL, hours=2)
    wait_for("value")
    wait_for("time")
    await pass_seconds(hass, freezer, 3600)
    assert not told
    wait_for("person")
    await settle()
    assert messages(told) == [
        (
            "A battery waits for you",
            (
                "One Protection: cell over temperature."
                ' Look at the battery, then press its button "Reset protection".'
            ),
        )
    ]
    for _ in range(24):
        await pass_seconds(hass, freezer, 600)
    assert len(told) == 3
    hass.states.async_set(PROTECTION, "off", {"stops": []})
    for _ in range(24):
        await pass_seconds(hass, freezer, 600)
    assert len(told) == 3


@pytest.fixture
def clock() -> Iterator[Clock]:
    with jumping_clock() as clock:
        yield clock


def entity_of(hass: HomeAssistant, module: VirtualModule, domain: str, key: str) -> str:
    """Return an entity of a module."""
    found = er.async_get(hass).async_get_entity_id(
        domain, DOMAIN, f"valence_{module.serial}_{key}"
    )
    assert found is not None
    return found


async def test_a_hot_module(
    hass: HomeAssistant,
    make_line: MakeLine,
    make_entry: MakeEntry,
    clock: Clock,
    told: list[ServiceCall],
) -> None:
    """With real entities: a stop, then something to remember."""
    module = VirtualModule(1)
    line = await make_line(module)
    entry = await make_entry(line.path, identity(module))
    await refresh(hass, entry)
    events = [entity_of(hass, module, "event", "protection_event")]
    sensors = [entity_of(hass, module, "binary_sensor", "protection")]
    config = [
        automation("tell_stop", events=events, tell=TELL),
        automation("remind_latch", sensors=sensors, tell=TELL),
    ]
    assert await async_setup_component(hass, "automation", {"automation": config})
    module.cell_temperatures[1] = 61.0
    await refresh(hass, entry)
    name = f"U27-12XP {module.serial}"
    assert messages(told) == [
        (
            f"{name} is stopped",
            "Cell over temperature, sensor 2: 61.0 °C, limit 60.0 °C.",
        )
    ]
    module.cell_temperatures[1] = 25.0
    await watch(hass, entry, clock, 80)
    title, message = messages(told)[-1]
    assert title == "A battery waits for you"
    assert message.startswith(f"{name}: cell over temperature.")


async def test_a_high_cell(
    hass: HomeAssistant,
    make_line: MakeLine,
    make_entry: MakeEntry,
    told: list[ServiceCall],
) -> None:
    """With real entities: a warning."""
    module = VirtualModule(1)
    line = await make_line(module)
    entry = await make_entry(line.path, identity(module))
    await refresh(hass, entry)
    events = [entity_of(hass, module, "event", "protection_event")]
    await use(hass, "tell_warning", events=events, tell=TELL)
    module.cell_voltages[2] = 3.75
    # What follows the message takes an hour, so nothing here may wait for all.
    await entry.runtime_data.async_refresh()
    async with asyncio.timeout(5):
        while not told:
            await asyncio.sleep(0.05)
    assert messages(told) == [
        (
            f"U27-12XP {module.serial} warns",
            "Cell over voltage, cell 3: 3.75 V, limit 3.7 V.",
        )
    ]
    await end(hass)
