"""What protection shows, when it writes, and what may be chosen for a bus."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
import random
from typing import Any

from homeassistant.config_entries import ConfigEntryState
from homeassistant.const import STATE_UNAVAILABLE, EntityCategory
from homeassistant.core import Event, HomeAssistant, callback
from homeassistant.exceptions import ServiceValidationError
from homeassistant.helpers import entity_registry as er
from homeassistant.helpers import issue_registry as ir
from homeassistant.setup import async_setup_component
import pytest

from custom_components.openxpbms.bms.virtual.valence import VirtualModule
from custom_components.openxpbms.const import DOMAIN
from custom_components.openxpbms.protection_sensor import FOUND, SUMS

from .conftest import MakeLine, first_round, identity
from .guarding import (
    Clock,
    Guarded,
    calls_of,
    guard,
    guard_device,
    jumping_clock,
    limit,
    relay_is_on,
)
from .test_diagnostics import mend

ALL = {"charge", "load", "connection"}
# Of a battery besides its binary sensors, and of the bus.
OF_BATTERY = {
    "switch": "connection",
    "button": "reset_protection",
    "event": "protection_event",
}
OF_BUS = ("protection_mode", "storage_mode")


@pytest.fixture
def clock() -> Iterator[Clock]:
    with jumping_clock(frozen=True) as clock:
        yield clock


def all_entities(hass: HomeAssistant, guarded: Guarded) -> set[str]:
    """Return every entity of protection that is enabled."""
    found = {guarded.entity_id(key, domain) for domain, key in OF_BATTERY.items()}
    found |= {guarded.bus_state(key, "select").entity_id for key in OF_BUS}
    registry = er.async_get(hass)
    keys = {description.key for description in (*FOUND, *SUMS)}
    for owner in (guarded.key, guarded.entry.entry_id):
        ids = {f"{owner}_{key}" for key in keys}
        found |= {
            entry.entity_id
            for entry in er.async_entries_for_config_entry(
                registry, guarded.entry.entry_id
            )
            if entry.unique_id in ids and entry.disabled_by is None
        }
    return found


def writes_of(hass: HomeAssistant, entities: set[str]) -> list[str]:
    """Return a list that grows with every state of these entities that is written."""
    written: list[str] = []

    @callback
    def concerns(data: Mapping[str, Any]) -> bool:
        return data["entity_id"] in entities

    @callback
    def note(event: Event[Any]) -> None:
        written.append(event.data["entity_id"])

    for kind in ("state_changed", "state_reported"):
        hass.bus.async_listen(kind, note, event_filter=concerns)
    return written


def wander(module: VirtualModule, chance: random.Random) -> None:
    """Give every value of a module another one that is as good."""
    for number in range(module.cells):
        module.cell_voltages[number] = round(chance.uniform(3.25, 3.4), 3)
        module.cell_temperatures[number] = round(chance.uniform(10.0, 40.0), 2)
    module.pcb_temperature = round(chance.uniform(20.0, 50.0), 2)
    module.current = round(chance.uniform(-80.0, 80.0), 2)
    module.soc = round(chance.uniform(30.0, 90.0), 1)


# Availability and writes


@pytest.mark.parametrize("line", ["unplugged", "never there"])
async def test_everything_is_there_in_silence(
    hass: HomeAssistant, make_line: MakeLine, clock: Clock, line: str
) -> None:
    module = VirtualModule(1)
    bus = await make_line(module)
    url = bus.path if line == "unplugged" else "/dev/serial/by-id/nothing"
    guarded = await guard(hass, clock, url, identity(module))
    bus.unplug()
    for _ in range(2):
        await guarded.refresh()
        states = {
            entity_id: hass.states.get(entity_id)
            for entity_id in all_entities(hass, guarded)
        }
        assert len(states) > 50
        gone = [
            entity_id
            for entity_id, state in states.items()
            if state is None or state.state == STATE_UNAVAILABLE
        ]
        assert gone == []
        await guarded.wait(70)
    assert guarded.state("silence").state == "on"
    assert guarded.state("cell_over_voltage").state == "off"
    assert guarded.entry.state is ConfigEntryState.LOADED
    assert guarded.state("communication").state == "off"
    voltage = guarded.state("voltage", "sensor")
    assert voltage.state == STATE_UNAVAILABLE


async def test_good_values_write_nothing(
    hass: HomeAssistant, make_line: MakeLine, clock: Clock
) -> None:
    module = VirtualModule(1)
    guarded = await guard_device(hass, make_line, clock, module)
    chance = random.Random(1)
    written = writes_of(hass, all_entities(hass, guarded))
    for _ in range(30):
        wander(module, chance)
        await guarded.stay(2)
    assert written == []


async def test_a_stop_is_written_once_however_its_value_runs_on(
    hass: HomeAssistant, make_line: MakeLine, clock: Clock
) -> None:
    module = VirtualModule(1)
    guarded = await guard_device(hass, make_line, clock, module)
    chance = random.Random(2)
    module.cell_voltages[2] = 3.95
    await guarded.refresh()
    raised = guarded.state("cell_over_voltage").attributes
    written = writes_of(hass, all_entities(hass, guarded))
    for _ in range(30):
        wander(module, chance)
        module.cell_voltages[chance.randrange(4)] = chance.choice([3.91, 3.94, 3.99])
        await guarded.stay(1)
    assert written == []
    assert raised["value"] == 3.95
    assert guarded.state("cell_over_voltage").attributes == raised


async def test_no_countdown_is_written(
    hass: HomeAssistant, make_line: MakeLine, clock: Clock
) -> None:
    module = VirtualModule(1)
    guarded = await guard_device(hass, make_line, clock, module)
    written = writes_of(hass, all_entities(hass, guarded))
    module.cell_temperatures[0] = 61.0
    await guarded.refresh()
    module.cell_temperatures[0] = 20.0
    await guarded.refresh()
    waits = guarded.state("cell_over_temperature").attributes["waits"]
    assert waits == "time"
    written.clear()
    await guarded.stay(59)
    assert written == []
    await guarded.stay(1)
    # Now it waits for something else: the alarm, the sum and the switch say so.
    assert sorted(written) == sorted(
        guarded.entity_id(key, domain)
        for key, domain in (
            ("cell_over_temperature", "binary_sensor"),
            ("protection", "binary_sensor"),
            ("charge_allowed", "binary_sensor"),
            ("discharge_allowed", "binary_sensor"),
            ("connection", "switch"),
        )
    )


async def test_what_stops_is_listed_with_its_reason(
    hass: HomeAssistant, make_line: MakeLine, clock: Clock
) -> None:
    module = VirtualModule(1)
    guarded = await guard_device(hass, make_line, clock, module)
    module.cell_voltages[2] = 3.95
    await guarded.refresh()
    stop = {
        "quantity": "cell_over_voltage",
        "level": "stop",
        "limit": 3.9,
        "clears": 3.7,
        "waits": "value",
        "value": 3.95,
        "cell": 3,
    }
    assert guarded.state("protection").attributes["stops"] == [stop]
    assert guarded.state("connection", "switch").attributes["stops"] == [stop]
    state = guarded.state("cell_voltage_high")
    assert state.attributes.items() >= {"level": "warning", "limit": 3.7}.items()
    assert guarded.state("cell_over_voltage").attributes.items() >= stop.items()


async def test_device_classes_and_what_nobody_needs(
    hass: HomeAssistant, make_line: MakeLine, clock: Clock
) -> None:
    options = limit("cell_spread", stop=0.3, stop_clear=0.2)
    guarded = await guard_device(
        hass, make_line, clock, VirtualModule(1), options=options
    )
    for key, device_class in (
        ("cell_voltage_high", "problem"),
        ("cell_over_voltage", "safety"),
        ("cell_over_temperature_cutoff", "heat"),
        ("electronics_temperature_high", "heat"),
        ("cell_under_temperature", "cold"),
        ("silence", "safety"),
        ("protection", "safety"),
        ("relay_fault", "problem"),
    ):
        assert guarded.state(key).attributes["device_class"] == device_class
    registry = er.async_get(hass)
    disabled = {
        entry.unique_id.removeprefix(f"{guarded.key}_")
        for entry in er.async_entries_for_config_entry(registry, guarded.entry.entry_id)
        if entry.disabled_by is not None and entry.domain == "binary_sensor"
    }
    # Those whose limits are not set; the warning of the spread was taken away here.
    assert {key for key in disabled if not key.startswith(guarded.entry.entry_id)} == {
        "electronics_over_temperature_cutoff",
        "charge_current_high",
        "charge_over_current",
        "discharge_current_high",
        "discharge_over_current",
        "cell_spread_high",
    }


# Events


async def test_what_is_known_is_not_raised_again_after_a_reload(
    hass: HomeAssistant, make_line: MakeLine, clock: Clock
) -> None:
    module = VirtualModule(1)
    guarded = await guard_device(hass, make_line, clock, module)
    module.cell_temperatures[0] = 61.0
    await guarded.refresh()
    before = guarded.state("protection_event", "event")
    assert before.attributes["level"] == "stop"
    assert await hass.config_entries.async_reload(guarded.entry.entry_id)
    await first_round(hass, guarded.entry)
    await guarded.stay(10)
    after = guarded.state("protection_event", "event")
    assert (after.state, after.attributes) == (before.state, before.attributes)
    assert guarded.found == {"cell_temperature_high", "cell_over_temperature"}
    # What is new is told.
    module.cell_temperatures[0] = 66.0
    await guarded.refresh()
    assert guarded.state("protection_event", "event").attributes["level"] == "cutoff"


# The bus


async def test_a_bus_sums_its_batteries_up(
    hass: HomeAssistant, make_line: MakeLine, clock: Clock
) -> None:
    modules = [VirtualModule(n, serial=f"10440046{n}") for n in (1, 2)]
    line = await make_line(*modules)
    guarded = await guard(
        hass,
        clock,
        line.path,
        *map(identity, modules),
        relays=("charge", "load"),
        joined="parallel",
    )

    def of_bus(key: str) -> tuple[str, list[str]]:
        state = guarded.bus_state(key)
        return state.state, state.attributes["batteries"]

    assert of_bus("protection") == ("off", [])
    assert of_bus("charge_allowed") == ("on", [])
    modules[1].cell_voltages[0] = 3.95
    await guarded.refresh()
    second = ["U27-12XP 104400462"]
    assert of_bus("cell_over_voltage") == ("on", second)
    assert of_bus("protection") == ("on", second)
    assert of_bus("charge_allowed") == ("off", second)
    assert of_bus("discharge_allowed") == ("on", [])
    assert of_bus("relay_fault") == ("off", [])
    assert guarded.state("protection").state == "off"
    modules[0].cell_temperatures[0] = 61.0
    await guarded.refresh()
    both = ["U27-12XP 104400461", "U27-12XP 104400462"]
    assert of_bus("protection") == ("on", both)
    assert of_bus("charge_allowed") == ("off", both)
    assert of_bus("discharge_allowed") == ("off", both[:1])


async def test_a_battery_that_is_cut_off_has_no_say_in_what_the_bus_may(
    hass: HomeAssistant, make_line: MakeLine, clock: Clock
) -> None:
    modules = [VirtualModule(n, serial=f"10440046{n}") for n in (1, 2)]
    line = await make_line(*modules)
    guarded = await guard(
        hass, clock, line.path, *map(identity, modules), joined="parallel"
    )
    assert guarded.open_relays == set()
    modules[0].cell_voltages[0] = 4.05
    await guarded.refresh()
    assert guarded.bus_state("charge_allowed").state == "off"
    await guarded.wait(0.5)
    assert guarded.open_relays == {"connection"}
    assert guarded.bus_state("charge_allowed").state == "on"
    assert guarded.bus_state("protection").state == "on"


# Modes


async def test_watching_only_decides_and_shows_and_commands_nothing(
    hass: HomeAssistant, make_line: MakeLine, clock: Clock
) -> None:
    module = VirtualModule(1)
    calls = calls_of(hass)
    guarded = await guard_device(hass, make_line, clock, module, mode="watch_only")
    await hass.services.async_call(
        "input_boolean", "turn_on", {"entity_id": "input_boolean.charge"}
    )
    await hass.async_block_till_done()
    calls.clear()
    assert guarded.state("connection", "switch").state == "on"
    module.cell_voltages[2] = 4.05
    await guarded.refresh()
    await guarded.wait(1)
    assert "cell_over_voltage_cutoff" in guarded.found
    assert guarded.allowed == set()
    assert guarded.state("connection", "switch").state == "off"
    await guarded.stay(100)
    assert calls == []
    assert relay_is_on(hass, "charge")


async def test_a_repair_reminds_until_protection_is_armed(
    hass: HomeAssistant, make_line: MakeLine, clock: Clock, hass_client: Any
) -> None:
    assert await async_setup_component(hass, "repairs", {})
    guarded = await guard_device(
        hass, make_line, clock, VirtualModule(1), mode="watch_only"
    )
    issues = ir.async_get(hass)
    issue_id = f"not_armed_{guarded.entry.entry_id}"
    issue = issues.async_get_issue(DOMAIN, issue_id)
    assert issue is not None
    assert issue.translation_placeholders == {"bus": "Garage"}
    assert guarded.open_relays == ALL
    await mend(hass, await hass_client(), issue_id)
    assert guarded.bus_state("protection_mode", "select").state == "armed"
    assert guarded.open_relays == set()
    assert not issues.async_get_issue(DOMAIN, issue_id)
    await guarded.choose("protection_mode", "watch_only")
    assert issues.async_get_issue(DOMAIN, issue_id)
    await guarded.choose("protection_mode", "service")
    assert not issues.async_get_issue(DOMAIN, issue_id)


async def test_without_relays_nobody_is_reminded(
    hass: HomeAssistant, make_line: MakeLine, clock: Clock
) -> None:
    guarded = await guard_device(
        hass, make_line, clock, VirtualModule(1), relays=(), mode="watch_only"
    )
    issue_id = f"not_armed_{guarded.entry.entry_id}"
    assert not ir.async_get(hass).async_get_issue(DOMAIN, issue_id)
    # Alarms are there all the same.
    await guarded.wait(15)
    assert guarded.found == {"silence"}


async def test_service_commands_nothing_and_ends_after_half_an_hour(
    hass: HomeAssistant, make_line: MakeLine, clock: Clock
) -> None:
    module = VirtualModule(1)
    guarded = await guard_device(hass, make_line, clock, module)
    await guarded.choose("protection_mode", "service")
    module.cell_voltages[2] = 4.05
    await guarded.stay(60)
    assert guarded.found == {"silence"}
    await guarded.wait(1739)
    assert guarded.bus_state("protection_mode", "select").state == "service"
    assert guarded.open_relays == set()
    await guarded.wait(1)
    assert guarded.bus_state("protection_mode", "select").state == "armed"
    await guarded.refresh()
    assert "cell_over_voltage_cutoff" in guarded.found
    await guarded.wait(0.5)
    assert guarded.open_relays == ALL


async def test_service_may_be_ended_and_begun_anew(
    hass: HomeAssistant, make_line: MakeLine, clock: Clock
) -> None:
    guarded = await guard_device(hass, make_line, clock, VirtualModule(1))
    await guarded.choose("protection_mode", "service")
    await guarded.wait(1700)
    await guarded.choose("protection_mode", "armed")
    await guarded.wait(200)
    await guarded.choose("protection_mode", "service")
    await guarded.wait(1799)
    assert guarded.bus_state("protection_mode", "select").state == "service"
    await guarded.wait(1)
    assert guarded.bus_state("protection_mode", "select").state == "armed"


async def test_what_may_be_chosen(
    hass: HomeAssistant, make_line: MakeLine, clock: Clock
) -> None:
    guarded = await guard_device(hass, make_line, clock, VirtualModule(1))
    for key, options in (
        ("protection_mode", ["watch_only", "armed", "service"]),
        ("storage_mode", ["normal", "storage"]),
    ):
        state = guarded.bus_state(key, "select")
        assert state.attributes["options"] == options
        entry = er.async_get(hass).async_get(state.entity_id)
        assert entry is not None
        assert entry.entity_category is EntityCategory.CONFIG


# Storage


async def test_storage_keeps_a_battery_about_half_charged(
    hass: HomeAssistant, make_line: MakeLine, clock: Clock
) -> None:
    module = VirtualModule(1, soc=60.0)
    guarded = await guard_device(hass, make_line, clock, module)
    await guarded.choose("storage_mode", "storage")
    assert guarded.bus_state("storage_mode", "select").state == "storage"
    for soc, charges in (
        (60.0, False),
        (41.0, False),
        (40.0, True),
        (49.0, True),
        (50.0, False),
        (45.0, False),
    ):
        module.soc = soc
        await guarded.refresh()
        assert guarded.open_relays == (set() if charges else {"charge"}), soc
    # Nothing stops it: a battery may be charged, only nobody wants that now.
    assert guarded.allowed == {"charge", "discharge"}
    # A low cell is charged whatever SOC says.
    module.cell_voltages[0] = 2.99
    await guarded.refresh()
    assert guarded.open_relays == set()
    module.cell_voltages[0] = 3.3
    await guarded.refresh()
    assert guarded.open_relays == set()
    module.soc = 50.0
    await guarded.refresh()
    assert guarded.open_relays == {"charge"}
    await guarded.choose("storage_mode", "normal")
    assert guarded.open_relays == set()


async def test_storage_needs_a_charge_relay(
    hass: HomeAssistant, make_line: MakeLine, clock: Clock
) -> None:
    guarded = await guard_device(
        hass, make_line, clock, VirtualModule(1), relays=("load", "connection")
    )
    with pytest.raises(ServiceValidationError) as refused:
        await guarded.choose("storage_mode", "storage")
    assert str(refused.value) == (
        "Storage mode needs a charge relay. Choose one in the options of this bus first"
    )
    assert guarded.bus_state("storage_mode", "select").state == "normal"
    await guarded.choose("storage_mode", "normal")


async def test_service_does_not_arm_what_was_never_armed(
    hass: HomeAssistant, make_line: MakeLine, clock: Clock
) -> None:
    guarded = await guard_device(hass, make_line, clock, VirtualModule(1))
    await guarded.choose("protection_mode", "watch_only")
    for _ in range(2):  # chosen again it begins anew, and still knows
        await guarded.choose("protection_mode", "service")
    await guarded.wait(1800)
    assert guarded.bus_state("protection_mode", "select").state == "watch_only"
