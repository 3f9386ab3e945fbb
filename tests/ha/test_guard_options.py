"""Limits, outputs and pace as they follow from an entry's options."""

from __future__ import annotations

from typing import Any

import pytest
from pytest_homeassistant_custom_component.common import MockConfigEntry

from custom_components.openxpbms.batteries import stored
from custom_components.openxpbms.bms.limits import (
    ARDUINO_XP_BMS,
    SEPLOS,
    Limit,
    Limits,
    Quantity,
)
from custom_components.openxpbms.bms.outputs import Joined, Outputs
from custom_components.openxpbms.const import DOMAIN
from custom_components.openxpbms.guard_options import (
    Hands,
    Heartbeat,
    Relay,
    hands_of,
    has_outputs,
    interval_of,
    limits_of,
)

from .option_pages import module

ONE, TWO = "valence_104400461", "valence_104400462"


def bus(outputs: dict[str, Any] | None = None) -> MockConfigEntry:
    """Return an entry of two modules, at addresses 1 and 2."""
    return MockConfigEntry(
        domain=DOMAIN,
        data={"family": "valence", "batteries": stored([module(1), module(2)])},
        options={} if outputs is None else {"outputs": outputs},
    )


@pytest.mark.parametrize(
    ("family", "preset", "signed"),
    [("valence", ARDUINO_XP_BMS, False), ("seplos", SEPLOS, True)],
)
def test_without_options_a_familys_preset_holds(
    family: str, preset: Limits, signed: bool
) -> None:
    limits = limits_of(family, {})
    assert limits.quantities == preset.quantities
    assert limits.faults == preset.faults
    assert limits.signed is signed
    assert not limits.latch_all
    times = limits.silence_charging, limits.silence_discharging, limits.grace
    assert times == (15, 60, 30)


def test_faults_are_those_of_the_family_whatever_the_preset() -> None:
    limits = limits_of("valence", {"limits": {"preset": "seplos"}})
    assert limits.quantities == SEPLOS.quantities
    assert limits.faults == ARDUINO_XP_BMS.faults


def test_what_was_changed_holds_instead() -> None:
    changed = {
        "quantities": {"cell_spread": {"stop": 0.4, "stop_clear": 0.3, "delay": 9}},
        "faults_off": ["nmi_failure"],
        "silence_charging": 10,
        "silence_discharging": 20,
        "grace": 40,
        "latch_all": True,
    }
    limits = limits_of("valence", {"limits": changed, "current_confirmed": True})
    # All of a quantity: what is missing is off.
    assert limits[Quantity.CELL_SPREAD] == Limit(stop=0.4, stop_clear=0.3, delay=9)
    others = {**limits.quantities}
    del others[Quantity.CELL_SPREAD]
    assert others.items() < ARDUINO_XP_BMS.quantities.items()
    assert limits.faults == ARDUINO_XP_BMS.faults - {"nmi_failure"}
    times = limits.silence_charging, limits.silence_discharging, limits.grace
    assert times == (10, 20, 40)
    assert limits.latch_all
    assert limits.signed


def test_without_options_there_are_no_hands() -> None:
    assert hands_of(bus()) == Hands(Outputs(), {})


def test_hands_go_by_addresses_and_registry_ids() -> None:
    outputs = {
        "joined": "strings",
        "charge": {"relay": "pv", "inverted": True},
        "load": {"relay": "load", "heartbeat": "turn_on"},
        "connections": {
            TWO: {"relay": "two", "heartbeat": "entity", "target": "beat"},
            "valence_gone": {"relay": "gone"},
        },
        "strings": {ONE: 1, TWO: 2, "valence_gone": 3},
        "at_once": True,
        "cold_disconnects": True,
        "leave": True,
        "delay": 1.0,
        "window": 0.05,
    }
    assert hands_of(bus(outputs)) == Hands(
        Outputs(
            joined=Joined.STRINGS,
            charge="pv",
            load="load",
            connections={2: "two"},
            strings={1: 1, 2: 2},
            at_once=True,
            cold_disconnects=True,
            delay=1.0,
            window=0.05,
        ),
        {
            "pv": Relay(entity="pv", inverted=True),
            "load": Relay(entity="load", heartbeat=Heartbeat.TURN_ON),
            "two": Relay(entity="two", heartbeat=Heartbeat.ENTITY, target="beat"),
        },
        leave=True,
    )


@pytest.mark.parametrize(
    ("outputs", "there"),
    [
        ({}, False),
        ({"joined": "single", "connections": {}}, False),
        ({"charge": {"relay": "r"}}, True),
        ({"load": {"relay": "r"}}, True),
        ({"connections": {ONE: {"relay": "r"}}}, True),
    ],
)
def test_a_bus_with_relays_is_read_often(outputs: dict[str, Any], there: bool) -> None:
    options = {"outputs": outputs}
    assert has_outputs(options) is there
    assert interval_of(options) == (2 if there else 5)
    assert interval_of({**options, "interval": 60}) == (5 if there else 60)
    assert interval_of({**options, "interval": 3}) == 3
