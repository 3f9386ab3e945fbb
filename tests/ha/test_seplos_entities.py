"""What Home Assistant shows of Seplos packs, asked and listened to."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
import logging
from math import isfinite
from typing import Any

from homeassistant.const import CONF_DEVICE
from homeassistant.core import Event, EventStateChangedData, HomeAssistant, State
from homeassistant.helpers import device_registry as dr
from homeassistant.helpers import entity_registry as er
from homeassistant.setup import async_setup_component
from homeassistant.util import dt as dt_util
import pytest
from pytest_homeassistant_custom_component.common import MockConfigEntry

from custom_components.openxpbms.batteries import stored
from custom_components.openxpbms.bms.parameters import PARAMETERS
from custom_components.openxpbms.bms.reading import Group, Identity, Level
from custom_components.openxpbms.bms.seplos_tables import ALARMS
from custom_components.openxpbms.bms.virtual.seplos import (
    SPA,
    Lifetime,
    VirtualBank,
    VirtualPack,
)
from custom_components.openxpbms.const import DOMAIN
from custom_components.openxpbms.protection_sensor import FOUND, SUMS

from .conftest import MakeLine, first_round

type SetUp = Callable[..., Awaitable[MockConfigEntry]]

PREFIX = "sg16s200a_sp57b_a_sp57b_a0000000001"
KEY = "seplos_SP57B-A0000000001"
GROUP_KEYS = {
    "voltage_alarm",
    "voltage_protection",
    "temperature_alarm",
    "temperature_protection",
    "current_alarm",
    "current_protection",
    "soc_alarm",
    "soc_protection",
    "hardware_alarm",
    "hardware_protection",
    "lock_protection",
}
# Those of protection have tests of their own.
PROTECTION_KEYS = {each.key for each in (*FOUND, *SUMS)}


def make_pack(**changes: Any) -> VirtualPack:
    """Return a pack with values that are easy to tell apart."""
    known: dict[str, Any] = {
        "cell_voltages": [(3301 + 2 * n) / 1000 for n in range(16)],
        "cell_temperatures": [-12.3, 20.0, 21.5, 22.7],
        "ambient_temperature": -3.2,
        "mosfet_temperature": 33.4,
        "current": -12.34,
        "soc": 61.5,
        "soh": 99.3,
        "full_capacity": 276.55,
        "remaining_capacity": 170.08,
        "lifetime": Lifetime(cycles=321, discharge=11770.0),
        "allowed_charge_current": 130,
        "allowed_discharge_current": 175,
    }
    return VirtualPack(**known | changes)


def identity(pack: VirtualPack, **changes: Any) -> Identity:
    """Return what a search would tell of a pack."""
    known: dict[str, Any] = {
        "address": pack.address,
        "serial": pack.serial,
        "model": pack.device,
        "model_code": pack.device,
        "firmware": "1.5",
        "cells": pack.cells,
        "sensors": pack.sensors,
        "board": 200,
    }
    return Identity(**known | changes)


def heard(address: int) -> Identity:
    """Return what listening tells of a pack."""
    return Identity(
        address=address,
        serial=None,
        model="Seplos V3",
        model_code="",
        cells=16,
        sensors=4,
        board=200,
    )


@pytest.fixture
def set_up(hass: HomeAssistant, make_line: MakeLine) -> SetUp:
    """Set an entry up for packs on a line, the first round included."""

    async def make(url: str, *known: Identity, mode: str = "ask") -> MockConfigEntry:
        entry = MockConfigEntry(
            domain=DOMAIN,
            title="Cellar",
            data={
                CONF_DEVICE: url,
                "family": "seplos",
                "mode": mode,
                "batteries": stored(known),
            },
        )
        entry.add_to_hass(hass)
        assert await hass.config_entries.async_setup(entry.entry_id)
        await first_round(hass, entry)
        return entry

    return make


def state_of(hass: HomeAssistant, entry: MockConfigEntry, key: str) -> State:
    """Return the state of the one entity with this key."""
    registry = er.async_get(hass)
    ids = [
        item.entity_id
        for item in er.async_entries_for_config_entry(registry, entry.entry_id)
        if item.unique_id == f"{KEY}_{key}"
    ]
    assert len(ids) == 1, key
    state = hass.states.get(ids[0])
    assert state is not None, key
    return state


def keys_of(hass: HomeAssistant, entry: MockConfigEntry, prefix: str) -> set[str]:
    """Return the keys of all entities of one battery, disabled ones included."""
    registry = er.async_get(hass)
    return {
        item.unique_id.removeprefix(f"{prefix}_")
        for item in er.async_entries_for_config_entry(registry, entry.entry_id)
        if item.unique_id.startswith(f"{prefix}_")
    }


async def enable_all(hass: HomeAssistant, entry: MockConfigEntry) -> None:
    """Enable every entity and wait until slow values were read as well."""
    registry = er.async_get(hass)
    for item in er.async_entries_for_config_entry(registry, entry.entry_id):
        registry.async_update_entity(item.entity_id, disabled_by=None)
    assert await hass.config_entries.async_reload(entry.entry_id)
    await first_round(hass, entry)


async def refresh(hass: HomeAssistant, entry: MockConfigEntry) -> None:
    """Read all packs once more."""
    await entry.runtime_data.async_refresh()
    await hass.async_block_till_done()


async def wait_until(hass: HomeAssistant, condition: Callable[[], bool]) -> None:
    """Let the line talk until something has come about."""
    async with asyncio.timeout(10):
        while not condition():
            await asyncio.sleep(0.02)
            await hass.async_block_till_done()


async def test_an_asked_pack_shows_all_it_tells(
    hass: HomeAssistant, make_line: MakeLine, set_up: SetUp
) -> None:
    pack = make_pack(balancing={2, 16})
    line = await make_line(pack)
    await set_up(line.path, identity(pack))
    shown = {
        state.entity_id.removeprefix(f"sensor.{PREFIX}_"): state.state
        for state in hass.states.async_all("sensor")
    }
    volts = {f"cell_{n + 1}_voltage": str(v) for n, v in enumerate(pack.cell_voltages)}
    assert shown == {
        "voltage": "53.06",
        "current": "-12.34",
        "power": "-654.76",
        "state_of_charge": "61.5",
        "state_of_health": "99.3",
        "cycles": "321",
        "remaining_capacity": "170.08",
        "full_capacity": "276.55",
        "energy_charged": "0.0",
        "energy_discharged": "0.0",
        "time_without_energy_count": "0.0",
        "time_to_empty": "14.0",
        "time_to_full": "unknown",
        "total_discharge": "11770",
        "allowed_charge_current": "130",
        "allowed_discharge_current": "175",
        "mosfet_temperature": "33.4",
        "ambient_temperature": "-3.2",
        "operating_state": "discharging",
        "lowest_cell_voltage": "3.301",
        "highest_cell_voltage": "3.331",
        "mean_cell_voltage": "3.316",
        "cell_voltage_delta": "0.03",
        "lowest_cell": "1",
        "highest_cell": "16",
        "lowest_cell_temperature": "-12.3",
        "highest_cell_temperature": "22.7",
        "cell_1_temperature": "-12.3",
        "cell_2_temperature": "20.0",
        "cell_3_temperature": "21.5",
        "cell_4_temperature": "22.7",
        **volts,
    }
    balancing = hass.states.get(f"binary_sensor.{PREFIX}_balancing")
    assert balancing is not None
    assert (balancing.state, balancing.attributes["cells"]) == ("on", [2, 16])
    assert not line.complaints


async def test_units_classes_and_precision(
    hass: HomeAssistant, make_line: MakeLine, set_up: SetUp
) -> None:
    line = await make_line(make_pack())
    entry = await set_up(line.path, identity(make_pack()))
    registry = er.async_get(hass)
    wanted = {
        "voltage": ("V", "voltage", "measurement", 2),
        "current": ("A", "current", "measurement", 2),
        "power": ("W", "power", "measurement", 1),
        "state_of_charge": ("%", "battery", "measurement", 1),
        "state_of_health": ("%", None, "measurement", 1),
        "cycles": (None, None, "total_increasing", 0),
        "remaining_capacity": ("Ah", None, "measurement", 2),
        "full_capacity": ("Ah", None, "measurement", 2),
        "total_discharge": ("Ah", None, "total_increasing", 0),
        "allowed_charge_current": ("A", "current", "measurement", 0),
        "mosfet_temperature": ("°C", "temperature", "measurement", 1),
        "cell_7_voltage": ("V", "voltage", "measurement", 3),
    }
    for key, expected in wanted.items():
        state = state_of(hass, entry, key)
        known = registry.async_get(state.entity_id)
        assert known is not None
        attributes = state.attributes
        assert (
            attributes.get("unit_of_measurement"),
            attributes.get("device_class"),
            attributes.get("state_class"),
            known.options["sensor"]["suggested_display_precision"],
        ) == expected, key
    # The sign of a Seplos current is settled.
    for key in ("current", "power"):
        assert "direction_confirmed" not in state_of(hass, entry, key).attributes


@pytest.mark.parametrize(
    ("flags", "shown"),
    [
        (0x01, "discharging"),
        (0x02, "charging"),
        (0x04, "float_charging"),
        (0x08, "full"),
        (0x10, "standby"),
        (0x20, "off"),
        (0x0A, "full"),
        (0x00, "unknown"),
    ],
)
async def test_the_operating_state(
    hass: HomeAssistant, make_line: MakeLine, set_up: SetUp, flags: int, shown: str
) -> None:
    pack = make_pack(flags=flags)
    line = await make_line(pack)
    entry = await set_up(line.path, identity(pack))
    state = state_of(hass, entry, "operating_state")
    assert state.state == shown
    assert state.attributes["options"] == [
        "discharging",
        "charging",
        "float_charging",
        "full",
        "standby",
        "off",
    ]


async def test_unknown_bits_are_shown_raw_and_not_recorded(
    hass: HomeAssistant, make_line: MakeLine, set_up: SetUp
) -> None:
    pack = make_pack(flags=0x10)
    line = await make_line(pack)
    entry = await set_up(line.path, identity(pack))
    state = state_of(hass, entry, "operating_state")
    assert state.attributes["unknown"] == ["0x127E"]
    assert state.attributes["coils"] == "000000000000000010000000000000430000"
    assert state.state_info is not None
    assert state.state_info["unrecorded_attributes"] >= {"coils", "unknown"}

    pack.newer_board = False
    pack.coils = {0x126F, 0x1200}
    await refresh(hass, entry)
    state = state_of(hass, entry, "operating_state")
    assert state.state == "standby"
    assert state.attributes["unknown"] == ["0x126F"]
    assert state.attributes["coils"] == "010000000000000010000000008000030000"


@pytest.mark.parametrize(
    ("changes", "on"),
    [
        ({"flags": 0x10}, {"charge_mosfet", "discharge_mosfet"}),
        ({"flags": 0x02, "discharge_mosfet": False}, {"charging", "charge_mosfet"}),
        ({"flags": 0x04, "discharge_mosfet": False}, {"charging", "charge_mosfet"}),
        (
            {"flags": 0x01, "charge_mosfet": False},
            {"discharging", "discharge_mosfet"},
        ),
        (
            {"heater": True, "current_limiting": True, "balancing": {1}},
            {
                *("charge_mosfet", "discharge_mosfet", "discharging"),
                *("heater", "current_limiting", "balancing"),
            },
        ),
    ],
)
async def test_what_a_pack_does(
    hass: HomeAssistant,
    make_line: MakeLine,
    set_up: SetUp,
    changes: dict[str, Any],
    on: set[str],
) -> None:
    pack = make_pack(**changes)
    line = await make_line(pack)
    entry = await set_up(line.path, identity(pack))
    registry = er.async_get(hass)
    shown = {}
    for key in keys_of(hass, entry, KEY) - PROTECTION_KEYS:
        entity_id = registry.async_get_entity_id(
            "binary_sensor", DOMAIN, f"{KEY}_{key}"
        )
        if entity_id is not None:
            shown[key] = state_of(hass, entry, key).state
    assert {key for key, state in shown.items() if state == "on"} == {
        "communication",
        *on,
    }
    assert "unavailable" not in shown.values()
    assert len(shown) == 8 + len(GROUP_KEYS)


async def test_every_bit_of_trouble_shows_in_its_group_alone(
    hass: HomeAssistant, make_line: MakeLine, set_up: SetUp
) -> None:
    pack = make_pack()
    line = await make_line(pack)
    entry = await set_up(line.path, identity(pack))
    for key in GROUP_KEYS:
        state = state_of(hass, entry, key)
        assert (state.state, state.attributes["active"]) == ("off", [])
        assert state.attributes["device_class"] == "problem"
    for coil, alarm in ALARMS.items():
        pack.coils = {coil}
        await refresh(hass, entry)
        states = {key: state_of(hass, entry, key) for key in GROUP_KEYS}
        lit = {key for key, state in states.items() if state.state == "on"}
        assert lit == {f"{alarm.group}_{alarm.level}"}, hex(coil)
        state = states[lit.pop()]
        assert state.attributes["active"] == [alarm.name]
        numbers = [] if alarm.number is None else [alarm.number]
        assert state.attributes.get("cells", []) == (
            numbers if alarm.group is Group.VOLTAGE else []
        )
        assert state.attributes.get("sensors", []) == (
            numbers if alarm.group is Group.TEMPERATURE else []
        )
    assert {f"{a.group}_{a.level}" for a in ALARMS.values()} == GROUP_KEYS
    assert {a.level for a in ALARMS.values()} == set(Level)


@pytest.mark.parametrize(
    ("coils", "shown"),
    [
        (
            # Cells 2 and 16 low, cell 5 high, all at once
            {0x1201, 0x120F, 0x1214, 0x124A},
            {
                "voltage_alarm": (
                    [
                        "low_voltage_of_cell",
                        "high_voltage_of_cell",
                        "cell_low_voltage",
                    ],
                    {"cells": [2, 5, 16]},
                )
            },
        ),
        (
            # A protection concerns the cells that warn on its side
            {0x1201, 0x1214, 0x1249},
            {
                "voltage_alarm": (
                    ["low_voltage_of_cell", "high_voltage_of_cell"],
                    {"cells": [2, 5]},
                ),
                "voltage_protection": (["cell_over_voltage"], {"cells": [5]}),
            },
        ),
        (
            # and that of the whole pack no single one
            {0x1201, 0x124F},
            {
                "voltage_alarm": (["low_voltage_of_cell"], {"cells": [2]}),
                "voltage_protection": (["pack_under_voltage"], {"cells": []}),
            },
        ),
        (
            {0x1223, 0x1228, 0x1257, 0x125D},
            {
                "temperature_alarm": (
                    ["low_temperature_of_sensor", "high_temperature_of_sensor"],
                    {"sensors": [1, 4]},
                ),
                "temperature_protection": (
                    ["discharge_under_temperature", "mosfet_over_temperature"],
                    {"sensors": [4]},
                ),
            },
        ),
        (
            {0x1260, 0x1266, 0x1268, 0x1272, 0x1284, 0x1289, 0x128F},
            {
                "current_alarm": (["high_charge_current"], {}),
                "current_protection": (["short_circuit_protection"], {}),
                "lock_protection": (["short_circuit_lock"], {}),
                "soc_alarm": (["low_state_of_charge"], {}),
                "hardware_alarm": (["cell_failure"], {}),
                "hardware_protection": (["front_end_fault", "aerosol"], {}),
            },
        ),
    ],
)
async def test_several_troubles_at_once(
    hass: HomeAssistant,
    make_line: MakeLine,
    set_up: SetUp,
    coils: set[int],
    shown: dict[str, tuple[list[str], dict[str, list[int]]]],
) -> None:
    pack = make_pack(coils=coils)
    line = await make_line(pack)
    entry = await set_up(line.path, identity(pack))
    states = {key: state_of(hass, entry, key) for key in GROUP_KEYS}
    assert {key for key, state in states.items() if state.state == "on"} == set(shown)
    for key, (active, numbers) in shown.items():
        attributes = states[key].attributes
        assert attributes["active"] == active
        told = {name: attributes.get(name) for name in ("cells", "sensors")}
        assert told == {"cells": None, "sensors": None} | numbers


async def test_a_changed_bit_alone_is_written(
    hass: HomeAssistant, make_line: MakeLine, set_up: SetUp
) -> None:
    pack = make_pack(coils={0x1201})
    line = await make_line(pack)
    entry = await set_up(line.path, identity(pack))
    seen: list[Event[EventStateChangedData]] = []
    hass.bus.async_listen("state_changed", seen.append)
    await refresh(hass, entry)
    assert not seen
    pack.coils = {0x1201, 0x1202}
    await refresh(hass, entry)
    assert {event.data["entity_id"] for event in seen} == {
        f"binary_sensor.{PREFIX}_voltage_alarm",
        f"sensor.{PREFIX}_operating_state",
    }
    state = state_of(hass, entry, "voltage_alarm")
    assert (state.state, state.attributes["cells"]) == ("on", [2, 3])


async def test_settings_are_off_by_default(
    hass: HomeAssistant, make_line: MakeLine, set_up: SetUp
) -> None:
    pack = make_pack()
    line = await make_line(pack)
    entry = await set_up(line.path, identity(pack))
    keys = keys_of(hass, entry, KEY)
    # What tells of writes is no setting.
    settings = {key for key in keys if key.startswith("parameter_")}
    settings.remove("parameter_write")
    assert settings == {f"parameter_{field.name}" for field in PARAMETERS}
    assert len(settings) == 106
    registry = er.async_get(hass)
    off = {
        item.unique_id.removeprefix(f"{KEY}_")
        for item in er.async_entries_for_config_entry(registry, entry.entry_id)
        if item.disabled_by is er.RegistryEntryDisabler.INTEGRATION
        and item.entity_category == "diagnostic"
        and item.unique_id.startswith(KEY)
    }
    slow = {"functions_off", "clock", "link_quality", "reply_time"}
    assert off == settings | slow
    assert not keys & {"alarm", "pcb_temperature", "energy"}
    assert not [key for key in keys if key.startswith("lifetime_")]


async def test_settings_once_enabled(
    hass: HomeAssistant,
    make_line: MakeLine,
    set_up: SetUp,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.WARNING)
    await hass.config.async_set_time_zone("Asia/Kolkata")
    # As it leaves the factory, but for the first function
    pack = make_pack(
        functions=bytes.fromhex("FEFF3F017F2F9F0F636F"),
        clock_offset=timedelta(hours=-30),
    )
    line = await make_line(pack)
    entry = await set_up(line.path, identity(pack))
    await enable_all(hass, entry)
    states = {
        field.name: state_of(hass, entry, f"parameter_{field.name}")
        for field in PARAMETERS
    }
    wanted = {
        "number_of_temperature_sensors": (4, None, None),
        "battery_over_voltage_protection": (57.6, "V", "voltage"),
        "cell_over_voltage_protection": (3.65, "V", "voltage"),
        "discharge_over_current_protection": (-210, "A", "current"),
        "charge_over_current_delay": (10, "s", "duration"),
        "secondary_charge_over_current_delay": (300, "ms", "duration"),
        "short_circuit_delay": (106, "μs", "duration"),
        "float_lock_current": (1500, "mA", "current"),
        "precharge_ratio_normal": (80, "%", None),
        "charge_under_temperature_protection": (-10, "°C", "temperature"),
        "static_equalization_timing": (10, "h", "duration"),
        "rated_battery_capacity": (280, "Ah", None),
        "forced_output_interval": (240, "min", "duration"),
        "cell_diff_pressure_alarm": (500, "mV", "voltage"),
        "current_sensor_correction": (8, None, None),
    }
    for name, expected in wanted.items():
        state = states[name]
        assert (
            float(state.state),
            state.attributes.get("unit_of_measurement"),
            state.attributes.get("device_class"),
        ) == expected, name
    for name, state in states.items():
        assert isfinite(float(state.state)), name
        assert "state_class" not in state.attributes, name
        assert state.name.startswith(f"{pack.device} {pack.serial} Setting: "), name
    functions = state_of(hass, entry, "functions_off")
    assert functions.state == "17"
    assert functions.attributes["off"] == [
        *("cell_high_voltage", "cell_heating", "cell_voltage_fault_detection"),
        *("fan", "leds_always_on", "snmp", "wifi", "dhcp", "gyroscope"),
        *("state_of_charge_protection", "active_current_limit"),
        *("manual_forced_output", "automatic_forced_output"),
        *("under_voltage_recovery", "current_sensor_compensation"),
        *("cell_failure", "aerosol"),
    ]
    assert functions.state_info is not None
    assert "off" in functions.state_info["unrecorded_attributes"]
    clock = dt_util.parse_datetime(state_of(hass, entry, "clock").state)
    assert clock is not None
    here = clock.astimezone(dt_util.get_default_time_zone())
    # The pack's clock is a person's: what it shows, it shows here.
    shown = datetime.now().astimezone() - timedelta(hours=30)
    assert abs(here.replace(tzinfo=None) - shown.replace(tzinfo=None)) < timedelta(
        minutes=1
    )
    # It would say here that a unit does not suit a class.
    assert "homeassistant.components.sensor" not in {r.name for r in caplog.records}


async def test_settings_are_unavailable_until_they_were_read(
    hass: HomeAssistant, make_line: MakeLine, set_up: SetUp
) -> None:
    pack = make_pack(refuse={SPA, 0x1400, 0x1500})
    line = await make_line(pack)
    entry = await set_up(line.path, identity(pack))
    await enable_all(hass, entry)
    keys = ("parameter_number_of_cells", "functions_off", "clock")
    for key in keys:
        assert state_of(hass, entry, key).state == "unavailable"
    assert state_of(hass, entry, "voltage").state == "53.06"

    pack.refuse = set()
    for battery in entry.runtime_data:
        battery.slow_from = 0.0
    await refresh(hass, entry)
    for key in keys:
        assert state_of(hass, entry, key).state != "unavailable"

    pack.silent = True
    await refresh(hass, entry)
    for key in keys:
        assert state_of(hass, entry, key).state == "unavailable"


@pytest.mark.parametrize("key", ["parameter_cell_over_voltage_protection", "clock"])
async def test_settings_are_read_at_once_when_somebody_asks(
    hass: HomeAssistant, make_line: MakeLine, set_up: SetUp, key: str
) -> None:
    assert await async_setup_component(hass, "homeassistant", {})
    pack = make_pack()
    line = await make_line(pack)
    entry = await set_up(line.path, identity(pack))
    await enable_all(hass, entry)
    setting = "parameter_cell_over_voltage_protection"
    pack.parameters[0x130D] = 3600
    await refresh(hass, entry)
    assert state_of(hass, entry, setting).state == "3.65"
    await hass.services.async_call(
        "homeassistant",
        "update_entity",
        {"entity_id": state_of(hass, entry, key).entity_id},
        blocking=True,
    )
    assert state_of(hass, entry, setting).state == "3.6"


async def test_the_device_of_a_pack(
    hass: HomeAssistant, make_line: MakeLine, set_up: SetUp
) -> None:
    one, two = make_pack(address=1), make_pack(address=2, serial="")
    line = await make_line(one, two)
    entry = await set_up(line.path, identity(one), identity(two, serial=None))
    devices = dr.async_get(hass)
    known = devices.async_get_device_by_identifier((DOMAIN, KEY), entry.entry_id)
    nameless = devices.async_get_device_by_identifier(
        (DOMAIN, f"{entry.entry_id}_2"), entry.entry_id
    )
    bus = devices.async_get_device_by_identifier(
        (DOMAIN, entry.entry_id), entry.entry_id
    )
    assert known is not None
    assert nameless is not None
    assert bus is not None
    for device in (known, nameless):
        assert device.manufacturer == "Seplos"
        assert device.model == "SG16S200A-SP57B-A"
        assert (device.hw_version, device.sw_version) == (None, "1.5")
        assert device.via_device_id == bus.id
    assert (known.name, known.serial_number) == (
        "SG16S200A-SP57B-A SP57B-A0000000001",
        "SP57B-A0000000001",
    )
    assert (nameless.name, nameless.serial_number) == ("Seplos V3 pack 2", None)


async def test_a_silent_pack_is_gone_and_comes_back(
    hass: HomeAssistant, make_line: MakeLine, set_up: SetUp
) -> None:
    pack = make_pack(coils={0x1201})
    line = await make_line(pack)
    entry = await set_up(line.path, identity(pack))
    keys = ("voltage", "operating_state", "charging", "voltage_alarm", "balancing")
    pack.silent = True
    await refresh(hass, entry)
    for key in keys:
        assert state_of(hass, entry, key).state == "unavailable"
    communication = state_of(hass, entry, "communication")
    assert communication.state == "off"
    assert "did not answer" in communication.attributes["reason"]
    pack.silent = False
    await refresh(hass, entry)
    for key in keys:
        assert state_of(hass, entry, key).state != "unavailable"
    assert state_of(hass, entry, "communication").state == "on"


async def test_a_listened_bank_and_a_pack_that_joins_it(
    hass: HomeAssistant, make_line: MakeLine, set_up: SetUp
) -> None:
    one, two = make_pack(), make_pack(current=25.5, coils={0x1213}, silent=True)
    line = await make_line(VirtualBank([one, two]))
    entry = await set_up(line.path, heard(1), mode="listen")
    first, second = f"{entry.entry_id}_1", f"{entry.entry_id}_2"
    keys = keys_of(hass, entry, first)
    assert {"voltage", "operating_state", "cell_16_voltage", "lock_protection"} <= keys
    assert not {"clock", "functions_off", "link_quality", "reply_time"} & keys
    assert not [key for key in keys if key.startswith("parameter_")]
    assert not keys_of(hass, entry, second)
    current = hass.states.get("sensor.seplos_v3_pack_1_current")
    assert current is not None
    assert current.state == "-12.34"

    two.silent = False
    await wait_until(
        hass, lambda: hass.states.get("sensor.seplos_v3_pack_2_current") is not None
    )
    assert keys_of(hass, entry, second) == keys
    current = hass.states.get("sensor.seplos_v3_pack_2_current")
    alarm = hass.states.get("binary_sensor.seplos_v3_pack_2_voltage_alarm")
    assert current is not None
    assert alarm is not None
    assert current.state == "25.5"
    assert (alarm.state, alarm.attributes["cells"]) == ("on", [4])
    device = dr.async_get(hass).async_get_device_by_identifier(
        (DOMAIN, second), entry.entry_id
    )
    assert device is not None
    assert (device.name, device.model) == ("Seplos V3 pack 2", "Seplos V3")
    assert (device.serial_number, device.sw_version) == (None, None)

    # It stays known after a restart, and nobody has sent a byte.
    assert await hass.config_entries.async_reload(entry.entry_id)
    await first_round(hass, entry)
    assert keys_of(hass, entry, second) == keys
    assert not line.bytes_received
    assert not line.complaints


async def test_a_sensor_that_is_missing_has_no_temperature(
    hass: HomeAssistant, make_line: MakeLine, set_up: SetUp
) -> None:
    # The filler of a missing sensor at the place of the second
    one = make_pack(registers={0x1111: 2731})
    line = await make_line(VirtualBank([one, make_pack()]))
    await set_up(line.path, heard(1), mode="listen")
    shown = [
        hass.states.get(f"sensor.seplos_v3_pack_1_cell_{number}_temperature")
        for number in range(1, 5)
    ]
    assert [state and state.state for state in shown] == [
        "-12.3",
        "unknown",
        "21.5",
        "22.7",
    ]
