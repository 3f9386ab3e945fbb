"""What `openxpbms mqtt` sends is found by Home Assistant, through a real broker."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from homeassistant.components.mqtt import DOMAIN as MQTT
from homeassistant.components.mqtt.const import (
    CONFIG_ENTRY_MINOR_VERSION,
    CONFIG_ENTRY_VERSION,
)
from homeassistant.core import HomeAssistant
from homeassistant.helpers import device_registry as dr
from homeassistant.helpers import entity_registry as er
import pytest
from pytest_homeassistant_custom_component.common import MockConfigEntry

from custom_components.openxpbms.bms.cli.link import Choice, opened
from custom_components.openxpbms.bms.families import SEPLOS, VALENCE
from custom_components.openxpbms.bms.mqtt.bridge import Bridge
from custom_components.openxpbms.bms.mqtt.broker import Broker
from custom_components.openxpbms.bms.mqtt.connection import Connection
from custom_components.openxpbms.bms.mqtt.topics import OFFLINE, Topics
from custom_components.openxpbms.bms.virtual import VirtualModule, VirtualPack
from tests.mosquitto import Mosquitto

from .conftest import MakeEntry, MakeLine, identity

TOPICS = Topics("pi_garage")
MODULE = "valence_104400461"


@pytest.fixture
def hass_config() -> dict[str, Any]:
    """Return an empty configuration.yaml."""
    return {}


@pytest.fixture
async def mqtt_entry(
    hass: HomeAssistant, mosquitto: Mosquitto, mock_hass_config: None
) -> AsyncIterator[MockConfigEntry]:
    """Connect Home Assistant to it."""
    entry = MockConfigEntry(
        domain=MQTT,
        data={"broker": "127.0.0.1", "port": mosquitto.port},
        version=CONFIG_ENTRY_VERSION,
        minor_version=CONFIG_ENTRY_MINOR_VERSION,
    )
    entry.add_to_hass(hass)
    assert await hass.config_entries.async_setup(entry.entry_id)
    yield entry
    await hass.config_entries.async_unload(entry.entry_id)
    await hass.async_block_till_done()


@asynccontextmanager
async def bridged(mosquitto: Mosquitto, choice: Choice) -> AsyncIterator[None]:
    """Bridge a port, as the command does."""
    broker = Broker("127.0.0.1", mosquitto.port)
    will = TOPICS.status, OFFLINE

    async def run() -> None:
        async with Connection(broker, "bridge", will, print) as connection:
            bridge = Bridge(connection, TOPICS, print)
            await connection.connect()
            async with opened(choice) as link:
                await bridge.run(link, 0.1)

    task = asyncio.create_task(run())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def entity(
    hass: HomeAssistant, key: str, kind: str = "sensor", of: str = MODULE
) -> str:
    """Return the id of an entity, empty while there is none."""
    return er.async_get(hass).async_get_entity_id(kind, MQTT, f"{of}_{key}") or ""


def state(hass: HomeAssistant, key: str, kind: str = "sensor", of: str = MODULE) -> Any:
    """Return a state, None while there is none."""
    found = hass.states.get(entity(hass, key, kind, of) or "sensor.none")
    return found and found.state


async def until(holds: Callable[[], Any], seconds: float = 60.0) -> None:
    """Wait for what the broker brings."""
    async with asyncio.timeout(seconds):
        while not holds():
            await asyncio.sleep(0.05)


async def test_modules_are_found_shown_and_lost(
    hass: HomeAssistant,
    mqtt_entry: MockConfigEntry,
    mosquitto: Mosquitto,
    make_line: MakeLine,
    caplog: pytest.LogCaptureFixture,
) -> None:
    module = VirtualModule(1, serial="104400461", balancing={2}, status_flags=0x4002)
    other = VirtualModule(2, serial="104400462")
    line = await make_line(module, other)
    choice = Choice(line.path, family=VALENCE, addresses=(1, 2), answer=1.0)
    async with bridged(mosquitto, choice):
        await until(lambda: state(hass, "voltage") == "13.206")
        device = dr.async_get(hass).async_get_device_by_identifier(
            (MQTT, f"openxpbms_{MODULE}"), mqtt_entry.entry_id
        )
        assert device is not None
        assert device.name == "U27-12XP 104400461"
        assert device.manufacturer == "Valence"
        assert device.hw_version == "Rev 2"

        shown = hass.states.get(entity(hass, "voltage"))
        assert shown is not None
        assert shown.attributes["unit_of_measurement"] == "V"
        assert shown.attributes["device_class"] == "voltage"
        assert shown.attributes["friendly_name"] == "U27-12XP 104400461 Voltage"
        await until(lambda: state(hass, "balancing", "binary_sensor") == "on")
        balancing = hass.states.get(entity(hass, "balancing", "binary_sensor"))
        assert balancing is not None
        assert balancing.attributes["cells"] == [2]
        assert state(hass, "communication", "binary_sensor") == "on"
        alarm = hass.states.get(entity(hass, "alarm", "binary_sensor"))
        assert alarm is not None
        assert alarm.state == "on"
        assert alarm.attributes["active"]

        # Only the one that is silent goes, and it comes back.
        module.silent = True
        await until(
            lambda: (
                state(hass, "voltage") == "unavailable"
                and state(hass, "communication", "binary_sensor") == "off"
                and state(hass, "voltage", of="valence_104400462") == "13.206"
            )
        )
        module.silent = False
        module.current = -12.5
        await until(lambda: state(hass, "current") == "-12.5")
        await until(lambda: state(hass, "communication", "binary_sensor") == "on")
    await until(lambda: state(hass, "current") == "unavailable")
    assert state(hass, "communication", "binary_sensor") == "unavailable"
    assert "WARNING" not in {
        record.levelname for record in caplog.records if ".mqtt" in record.name
    }


async def test_packs_have_the_entities_of_the_integration(
    hass: HomeAssistant,
    mqtt_entry: MockConfigEntry,
    mosquitto: Mosquitto,
    make_line: MakeLine,
    caplog: pytest.LogCaptureFixture,
) -> None:
    pack = VirtualPack(1)
    line = await make_line(pack)
    choice = Choice(line.path, family=SEPLOS, addresses=(1,), answer=1.0)
    of = f"seplos_{pack.serial.replace('-', '_')}"
    async with bridged(mosquitto, choice):
        await until(lambda: state(hass, "operating_state", of=of))
        await until(lambda: state(hass, "charge_mosfet", "binary_sensor", of) == "on")
        registry = er.async_get(hass)
        found = er.async_entries_for_config_entry(registry, mqtt_entry.entry_id)
        assert {one.unique_id for one in found} >= {
            f"{of}_{key}" for key in ("voltage", "cycles", "cell_16_voltage", "heater")
        }
        values = {one.entity_id: hass.states.get(one.entity_id) for one in found}
        assert "unavailable" not in {v.state for v in values.values() if v}
    levels = {r.levelname for r in caplog.records if ".mqtt" in r.name}
    assert not levels & {"WARNING", "ERROR"}


async def test_entities_are_those_of_the_integration(
    hass: HomeAssistant,
    mqtt_entry: MockConfigEntry,
    mosquitto: Mosquitto,
    make_line: MakeLine,
    make_entry: MakeEntry,
) -> None:
    module = VirtualModule(1, serial="104400461")
    line = await make_line(module)
    choice = Choice(line.path, family=VALENCE, addresses=(1,), answer=1.0)
    async with bridged(mosquitto, choice):
        await until(lambda: state(hass, "voltage") == "13.206")
    await make_entry(line.path, identity(module))
    registry = er.async_get(hass)
    ours = {
        (one.domain, one.unique_id): one
        for one in er.async_entries_for_config_entry(registry, mqtt_entry.entry_id)
    }
    compared = 0
    for of_integration in registry.entities.values():
        one = ours.get((of_integration.domain, of_integration.unique_id))
        if one is None or of_integration.platform == MQTT:
            continue
        compared += 1
        assert one.original_name == of_integration.original_name
        assert one.original_device_class == of_integration.original_device_class
        assert one.unit_of_measurement == of_integration.unit_of_measurement
        assert one.entity_category == of_integration.entity_category
        assert one.disabled_by == of_integration.disabled_by
        assert one.capabilities == of_integration.capabilities
    assert compared == len(ours)
