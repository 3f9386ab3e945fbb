"""What Home Assistant is told, and that the state holds what it is told to look for."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from custom_components.openxpbms.bms.families import SEPLOS, VALENCE
from custom_components.openxpbms.bms.mqtt import discovery
from custom_components.openxpbms.bms.mqtt.discovery import device
from custom_components.openxpbms.bms.mqtt.state import State
from custom_components.openxpbms.bms.mqtt.topics import Topics
from custom_components.openxpbms.bms.reading import History, Identity, Reading
from custom_components.openxpbms.bms.rounds import Battery
from custom_components.openxpbms.bms.virtual import VirtualModule, VirtualPack
from tests.bms.conftest import expected, identity
from tests.bms.seplos_data import expected as expected_of_pack
from tests.bms.seplos_data import identity as pack_identity

TOPICS = Topics("pi")
MODULE = VirtualModule(1, serial="104400461")
PACK = VirtualPack(1)
ALL = [
    (VALENCE, identity(MODULE), expected(MODULE)),
    (VALENCE, identity(MODULE, revision=1), expected(MODULE)),
    (SEPLOS, pack_identity(PACK), expected_of_pack(PACK)),
]


def test_a_device_is_what_is_known_of_the_battery() -> None:
    told = device(VALENCE, identity(MODULE), "valence_104400461", TOPICS)
    assert told["device"] == {
        "identifiers": ["openxpbms_valence_104400461"],
        "name": "U27-12XP 104400461",
        "manufacturer": "Valence",
        "model": "U27-12XP",
        "serial_number": "104400461",
        "hw_version": "Rev 2",
    }
    bare = Identity(address=3, serial=None, model="Seplos V3", model_code="", cells=16)
    assert device(SEPLOS, bare, "pi_3", TOPICS)["device"] == {
        "identifiers": ["openxpbms_pi_3"],
        "name": "Seplos V3 pack 3",
        "manufacturer": "Seplos",
        "model": "Seplos V3",
    }


def test_it_is_available_while_bridge_and_battery_are() -> None:
    told = device(VALENCE, identity(MODULE), "b", TOPICS)
    assert told["availability_mode"] == "all"
    assert told["availability"] == [
        {"topic": "openxpbms/pi/status"},
        {"topic": "openxpbms/pi/b/availability"},
    ]
    # Silence is a state of this one.
    silent = told["components"]["communication"]
    assert silent["availability"] == [{"topic": "openxpbms/pi/status"}]
    assert silent["state_topic"] == "openxpbms/pi/b/availability"


def test_the_origin_tells_the_version_where_there_is_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def missing(name: str) -> str:
        raise discovery.PackageNotFoundError

    monkeypatch.setattr(discovery, "version", missing)
    told = device(VALENCE, identity(MODULE), "b", TOPICS)["origin"]
    assert told == {"name": "openxpbms", "support_url": discovery.URL}
    monkeypatch.setattr(discovery, "version", lambda name: f"{name} 1.2.3")
    told = device(VALENCE, identity(MODULE), "b", TOPICS)["origin"]
    assert told["sw_version"] == "openxpbms 1.2.3"


def test_entities_are_described_as_in_the_integration() -> None:
    told = device(SEPLOS, pack_identity(PACK), "b", TOPICS)["components"]
    assert told["voltage"] == {
        "platform": "sensor",
        "unique_id": "b_voltage",
        "name": "Voltage",
        "value_template": "{{ value_json.voltage }}",
        "device_class": "voltage",
        "unit_of_measurement": "V",
        "suggested_display_precision": 2,
        "state_class": "measurement",
        "expire_after": 900,
    }
    assert told["cycles"]["state_class"] == "total_increasing"
    assert told["cycles"]["entity_category"] == "diagnostic"
    assert told["operating_state"]["device_class"] == "enum"
    assert "state_class" not in told["operating_state"]
    assert told["charging"]["device_class"] == "battery_charging"
    assert "device_class" not in told["charge_mosfet"]
    assert told["voltage_alarm"]["device_class"] == "problem"
    module = device(VALENCE, identity(MODULE), "b", TOPICS)["components"]
    assert module["energy"]["enabled_by_default"] is False
    assert module["energy"]["state_class"] == "total_increasing"
    assert "state_class" not in module["lifetime_lowest_temperature"]


@pytest.mark.parametrize(("family", "who", "reading"), ALL)
def test_a_state_holds_what_every_template_looks_for(
    family: str, who: Identity, reading: Reading
) -> None:
    told = device(family, who, "b", TOPICS)
    battery = Battery(who, reading, History(cycles=7))
    payload = State(family, battery).take(0.0)
    assert payload is not None
    state = json.loads(payload)
    wanted = set(re.findall(r"value_json\.(\w+)", json.dumps(told)))
    assert wanted == set(state)


def state(battery: Battery, family: str = VALENCE) -> dict[str, Any]:
    """Return the state of a battery."""
    payload = State(family, battery).take(0.0)
    assert payload is not None
    found: dict[str, Any] = json.loads(payload)
    return found


def test_a_state_is_what_the_battery_told() -> None:
    module = VirtualModule(1, balancing={2}, status_flags=0x4002)
    told = state(Battery(identity(module), expected(module), History(cycles=7)))
    assert told["voltage"] == expected(module).voltage
    assert told["cell_2_voltage"] == module.cell_voltages[1]
    assert told["balancing"] is True
    assert told["balancing_details"] == {"cells": [2]}
    assert told["alarm"] is True
    assert told["alarm_details"]["active"]
    assert told["cycles"] == 7
    assert told["reset_count"] is None


def test_a_silent_battery_has_no_state() -> None:
    battery = Battery(identity(MODULE), expected(MODULE))
    of_battery = State(VALENCE, battery)
    assert of_battery.take(0.0) is not None
    battery.reading = None
    assert of_battery.take(1.0) is None


def test_noise_is_no_change() -> None:
    module = VirtualModule(1)
    battery = Battery(identity(module), expected(module))
    of_battery = State(VALENCE, battery)
    first = of_battery.take(0.0)
    module.current += 0.1
    battery.reading = expected(module)
    assert of_battery.take(5.0) == first
    module.current += 1
    battery.reading = expected(module)
    assert of_battery.take(10.0) != first
