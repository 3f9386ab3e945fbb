"""Connecting, disconnecting and acknowledging, by a person and by an automation."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from homeassistant.const import EntityCategory
from homeassistant.core import HomeAssistant
from homeassistant.exceptions import ServiceValidationError
from homeassistant.helpers import entity_registry as er
import pytest

from custom_components.openxpbms.bms.virtual.seplos import VirtualPack
from custom_components.openxpbms.bms.virtual.valence import VirtualModule

from .conftest import MakeLine
from .guarding import (
    IMPATIENT,
    Clock,
    Guarded,
    calls_of,
    guard_device,
    jumping_clock,
    limit,
    relay_is_on,
    watched_of,
)

NAME = "U27-12XP 104400461"
CHARGE_CURRENT = {"current_confirmed": True} | limit(
    "charge_over_current", stop=100.0, stop_clear=90.0
)
DISCHARGE_CURRENT = {"current_confirmed": True} | limit(
    "discharge_over_current", stop=100.0, stop_clear=90.0
)
ALL = {"charge", "load", "connection"}


@pytest.fixture
def clock() -> Iterator[Clock]:
    with jumping_clock(frozen=True) as clock:
        yield clock


async def refusal(guarded: Guarded, *, person: bool = True) -> str:
    """Try to connect; return why not."""
    with pytest.raises(ServiceValidationError) as refused:
        await guarded.connect(person=person)
    why = str(refused.value)
    assert why.startswith(f"{NAME} stays off: ")
    return why.removeprefix(f"{NAME} stays off: ")


# Refusal


@pytest.mark.parametrize(
    ("change", "options", "why"),
    [
        (
            {"cell_voltages": [3.3, 3.3, 3.92, 3.3]},
            {},
            "cell 3 at 3.920 V, must fall below 3.700 V",
        ),
        (
            {"cell_voltages": [3.3, 3.3, 3.3, 1.99]},
            limit("cell_under_voltage"),
            (
                "cell 4 at 1.990 V is deeply discharged and must rise above 2.000 V."
                " Have it examined"
            ),
        ),
        (
            {"cell_temperatures": [20.0, 61.5, 20.0, 20.0]},
            {},
            "sensor 2 at 61.5 °C, must cool below 58.0 °C",
        ),
        (
            {"pcb_temperature": 81.0},
            {},
            "its electronics (pcb) are at 81.0 °C and must cool below 78.0 °C",
        ),
        (
            {"current": 105.0},
            CHARGE_CURRENT,
            "105.0 A of charge current, must fall below 90.0 A",
        ),
        (
            {"current": -105.0},
            DISCHARGE_CURRENT,
            "105.0 A of discharge current, must fall below 90.0 A",
        ),
        (
            {"cell_voltages": [3.3, 3.3, 3.6, 3.3]},
            limit("cell_spread", stop=0.2, stop_clear=0.15),
            "its cells are 0.300 V apart, must come closer than 0.150 V",
        ),
        (
            {"registers": {0x42: 14000}},
            {},
            "its readings contradict each other (sum). Check its sensors and wiring",
        ),
        (
            {"status_flags": 1 << 9},
            {},
            "it reports a fault itself: battery failure. Look at the battery first",
        ),
        (
            {"silent": True},
            IMPATIENT,
            (
                "there is no recent complete reading of it. Look at its entity"
                " Communication, then try again"
            ),
        ),
    ],
    ids=lambda value: value.split(",")[0] if isinstance(value, str) else None,
)
async def test_connecting_and_acknowledging_are_refused_in_words(
    hass: HomeAssistant,
    make_line: MakeLine,
    clock: Clock,
    change: dict[str, Any],
    options: dict[str, Any],
    why: str,
) -> None:
    module = VirtualModule(1)
    guarded = await guard_device(hass, make_line, clock, module, options=options)
    await guarded.connect(on=False)
    for name, value in change.items():
        setattr(module, name, value)
    await guarded.refresh()
    if module.silent:
        await guarded.wait(15.1)
    await guarded.refresh()
    assert await refusal(guarded) == why
    assert await refusal(guarded, person=False) == why
    assert guarded.state("connection", "switch").attributes["wanted"] is False
    trips = watched_of(guarded.entry, 1).kept.memory.trips.values()
    if any(trip.latched for trip in trips):
        with pytest.raises(ServiceValidationError) as refused:
            await guarded.press_reset()
        assert str(refused.value) == f"{NAME} stays off: {why}"


@pytest.mark.parametrize(
    ("change", "key", "word"),
    [
        ({"pcb_temperature": 81.0}, "electronics_over_temperature", "Platine"),
        ({"registers": {0x42: 14000}}, "sensor_fault", "Summe"),
        ({"status_flags": 1 << 9}, "reported_fault", "Batterieausfall"),
    ],
)
async def test_what_keeps_a_battery_off_is_named_in_german(
    hass: HomeAssistant,
    make_line: MakeLine,
    clock: Clock,
    change: dict[str, Any],
    key: str,
    word: str,
) -> None:
    hass.config.language = "de"
    module = VirtualModule(1)
    guarded = await guard_device(hass, make_line, clock, module)
    await guarded.connect(on=False)
    for name, value in change.items():
        setattr(module, name, value)
    await guarded.refresh(2)
    with pytest.raises(ServiceValidationError) as refused:
        await guarded.connect()
    assert refused.value.translation_key == f"refused_{key}"
    assert (refused.value.translation_placeholders or {})["what"] == word


async def test_what_has_only_just_gone_is_named_in_german(
    hass: HomeAssistant, make_line: MakeLine, clock: Clock
) -> None:
    hass.config.language = "de"
    module = VirtualModule(1)
    guarded = await guard_device(hass, make_line, clock, module)
    for volts in (3.95, 3.3):
        module.cell_voltages[2] = volts
        await guarded.refresh()
    with pytest.raises(ServiceValidationError) as refused:
        await guarded.connect()
    assert refused.value.translation_key == "refused_too_soon"
    told = refused.value.translation_placeholders or {}
    assert told["quantity"] == "Zell-Überspannung"


async def test_a_pack_names_its_mosfet(
    hass: HomeAssistant, make_line: MakeLine, clock: Clock
) -> None:
    pack = VirtualPack(mosfet_temperature=113.0)
    guarded = await guard_device(hass, make_line, clock, pack)
    with pytest.raises(ServiceValidationError) as refused:
        await guarded.connect()
    assert str(refused.value) == (
        "SG16S200A-SP57B-A SP57B-A0000000001 stays off: its electronics (mosfet) are at"
        " 113.0 °C and must cool below 95.0 °C"
    )


async def test_a_refusal_tells_the_value_as_it_is_now(
    hass: HomeAssistant, make_line: MakeLine, clock: Clock
) -> None:
    module = VirtualModule(1)
    guarded = await guard_device(hass, make_line, clock, module)
    for volts in (3.95, 3.92, 3.71):
        module.cell_voltages[2] = volts
        await guarded.refresh()
        assert await refusal(guarded) == (
            f"cell 3 at {volts:.3f} V, must fall below 3.700 V"
        )
    module.cell_voltages[2] = 3.7
    await guarded.refresh()
    assert await refusal(guarded) == (
        "cell over-voltage has been back inside its limit for less than a minute."
        " Try again shortly"
    )
    await guarded.stay(60)
    await guarded.connect()


async def test_a_value_between_clearing_and_stop_keeps_from_closing_only(
    hass: HomeAssistant, make_line: MakeLine, clock: Clock
) -> None:
    module = VirtualModule(1)
    guarded = await guard_device(hass, make_line, clock, module)
    module.cell_voltages[1] = 3.8
    await guarded.refresh()
    assert guarded.open_relays == set()
    await guarded.connect(on=False)
    await guarded.stay(60)
    assert await refusal(guarded) == "cell 2 at 3.800 V, must fall below 3.700 V"
    assert not relay_is_on(hass, "connection")


async def test_three_whole_readings_must_come_after_silence(
    hass: HomeAssistant, make_line: MakeLine, clock: Clock
) -> None:
    guarded = await guard_device(hass, make_line, clock, VirtualModule(1))
    await guarded.wait(15)
    await guarded.refresh(2)
    assert await refusal(guarded) == (
        "it has been silent. Wait for three complete readings, then try again"
    )
    await guarded.refresh()
    await guarded.connect()


async def test_current_that_a_relay_did_not_stop_is_named(
    hass: HomeAssistant, make_line: MakeLine, clock: Clock
) -> None:
    module = VirtualModule(1)
    options = {"current_confirmed": True}
    guarded = await guard_device(hass, make_line, clock, module, options=options)
    # Heat, so that both ways are cut and current is wrong whichever way it flows.
    module.cell_temperatures[0] = 61.0
    module.current = 7.0
    await guarded.refresh()
    await guarded.stay(10.5)
    module.cell_temperatures[0] = 20.0
    await guarded.stay(70)
    assert await refusal(guarded) == (
        "7.0 A still flowed after it had been stopped. Check the relays first"
    )


# Who may connect


async def test_only_a_person_connects_what_is_latched_and_thereby_acknowledges(
    hass: HomeAssistant, make_line: MakeLine, clock: Clock
) -> None:
    module = VirtualModule(1)
    guarded = await guard_device(hass, make_line, clock, module)
    module.cell_voltages[2] = 4.05
    await guarded.refresh()
    module.cell_voltages[2] = 3.3
    await guarded.refresh()
    assert "less than a minute" in await refusal(guarded)
    await guarded.stay(60)
    assert guarded.found == {"cell_over_voltage_cutoff"}
    assert await refusal(guarded, person=False) == (
        "only a person may connect it again. Look at the battery first, then switch it"
        " on yourself"
    )
    assert guarded.open_relays == ALL
    await guarded.connect()
    assert guarded.found == set()
    assert guarded.open_relays == set()
    assert guarded.state("connection", "switch").state == "on"


async def test_an_automation_may_connect_what_nothing_stands_against(
    hass: HomeAssistant, make_line: MakeLine, clock: Clock
) -> None:
    guarded = await guard_device(hass, make_line, clock, VirtualModule(1))
    await guarded.connect(on=False, person=False)
    assert guarded.state("connection", "switch").state == "off"
    await guarded.stay(60)
    assert guarded.open_relays == ALL
    await guarded.connect(person=False)
    assert guarded.open_relays == set()


async def test_only_a_person_connects_what_was_opened_by_hand(
    hass: HomeAssistant, make_line: MakeLine, clock: Clock
) -> None:
    guarded = await guard_device(hass, make_line, clock, VirtualModule(1))
    await guarded.stay(70)
    await hass.services.async_call(
        "input_boolean", "turn_off", {"entity_id": "input_boolean.connection"}
    )
    await hass.async_block_till_done()
    state = guarded.state("connection", "switch")
    assert (state.state, state.attributes["opened_by_hand"]) == ("off", True)
    assert (await refusal(guarded, person=False)).startswith("only a person")
    await guarded.stay(70)
    assert not relay_is_on(hass, "connection")
    await guarded.connect()
    state = guarded.state("connection", "switch")
    assert (state.state, state.attributes["opened_by_hand"]) == ("on", False)


@pytest.mark.parametrize("trouble", ["none", "silence", "latch"])
@pytest.mark.parametrize("person", [True, False])
async def test_disconnecting_always_works(
    hass: HomeAssistant,
    make_line: MakeLine,
    clock: Clock,
    trouble: str,
    person: bool,
) -> None:
    module = VirtualModule(1)
    guarded = await guard_device(hass, make_line, clock, module)
    if trouble == "silence":
        await guarded.wait(70)
    if trouble == "latch":
        module.cell_temperatures[0] = 61.0
        await guarded.refresh()
    assert relay_is_on(hass, "connection")
    calls = calls_of(hass)
    await guarded.connect(on=False, person=person)
    assert guarded.state("connection", "switch").state == "off"
    await guarded.wait(0.5)
    assert guarded.open_relays == ALL
    assert calls[-1] == ("turn_off", "input_boolean.connection")


async def test_cold_does_not_refuse(
    hass: HomeAssistant, make_line: MakeLine, clock: Clock
) -> None:
    module = VirtualModule(1)
    guarded = await guard_device(hass, make_line, clock, module)
    module.cell_temperatures[0] = -5.0
    await guarded.refresh()
    await guarded.connect(on=False)
    await guarded.stay(60)
    await guarded.connect(person=False)
    await guarded.refresh()
    assert guarded.open_relays == {"charge"}
    assert guarded.state("connection", "switch").state == "on"


# Recovery from under-voltage


async def too_low(
    hass: HomeAssistant, make_line: MakeLine, clock: Clock, volts: float = 2.7
) -> tuple[VirtualModule, Guarded]:
    """Return a module that under-voltage has disconnected."""
    module = VirtualModule(1)
    relays = ("connection",)
    guarded = await guard_device(hass, make_line, clock, module, relays=relays)
    module.cell_voltages[1] = volts
    await guarded.refresh()
    await guarded.stay(70)
    assert guarded.open_relays == {"connection"}
    return module, guarded


@pytest.mark.parametrize("volts", [2.7, 2.4, 2.0])
async def test_under_voltage_alone_does_not_refuse(
    hass: HomeAssistant, make_line: MakeLine, clock: Clock, volts: float
) -> None:
    module, guarded = await too_low(hass, make_line, clock, volts)
    await guarded.connect()
    state = guarded.state("connection", "switch")
    assert (state.state, state.attributes["recovering"]) == ("on", True)
    assert guarded.open_relays == set()
    assert guarded.allowed == {"charge"}
    # Charged for a minute beyond the clearing limit it is as any other.
    module.cell_voltages[1] = 3.0
    await guarded.refresh()
    await guarded.stay(60)
    assert "cell_under_voltage" not in guarded.found
    assert guarded.allowed == {"charge", "discharge"}
    assert guarded.state("connection", "switch").attributes["recovering"] is False
    assert guarded.open_relays == set()


async def test_recovery_ends_after_half_an_hour(
    hass: HomeAssistant, make_line: MakeLine, clock: Clock
) -> None:
    _, guarded = await too_low(hass, make_line, clock)
    await guarded.connect()
    await guarded.stay(1799)
    assert guarded.open_relays == set()
    await guarded.stay(1)
    await guarded.wait(0.5)
    assert guarded.open_relays == {"connection"}


@pytest.mark.parametrize(("fall", "opens"), [(0.029, False), (0.031, True)])
async def test_recovery_ends_at_once_where_cells_fall(
    hass: HomeAssistant, make_line: MakeLine, clock: Clock, fall: float, opens: bool
) -> None:
    module, guarded = await too_low(hass, make_line, clock)
    await guarded.connect()
    module.cell_voltages[1] = 2.7 - fall
    await guarded.refresh()
    await guarded.wait(0.5)
    assert (guarded.open_relays == {"connection"}) is opens


async def test_a_deeply_discharged_cell_is_not_recovered(
    hass: HomeAssistant, make_line: MakeLine, clock: Clock
) -> None:
    _, guarded = await too_low(hass, make_line, clock, 1.99)
    assert "cell 2 at 1.990 V" in await refusal(guarded)


async def test_under_voltage_is_recovered_by_a_person_only(
    hass: HomeAssistant, make_line: MakeLine, clock: Clock
) -> None:
    _, guarded = await too_low(hass, make_line, clock)
    assert (await refusal(guarded, person=False)).startswith("only a person")


# The button


async def test_an_automation_cannot_reset(
    hass: HomeAssistant, make_line: MakeLine, clock: Clock
) -> None:
    module = VirtualModule(1)
    guarded = await guard_device(hass, make_line, clock, module)
    module.cell_temperatures[0] = 61.0
    await guarded.refresh()
    module.cell_temperatures[0] = 20.0
    await guarded.stay(70)
    with pytest.raises(ServiceValidationError) as refused:
        await guarded.press_reset(person=False)
    assert str(refused.value) == (
        f"Only a person may reset {NAME}: press the button yourself"
    )
    assert guarded.open_relays == {"charge", "load"}
    await guarded.press_reset()
    assert guarded.open_relays == set()


async def test_where_nothing_is_latched_a_reset_does_nothing(
    hass: HomeAssistant, make_line: MakeLine, clock: Clock
) -> None:
    module = VirtualModule(1)
    guarded = await guard_device(hass, make_line, clock, module)
    module.cell_voltages[2] = 3.95
    await guarded.refresh()
    await guarded.press_reset()
    assert guarded.open_relays == {"charge"}
    await guarded.wait(100)
    await guarded.press_reset()
    assert guarded.open_relays == {"charge", "load"}


async def test_a_reset_does_not_connect_what_is_switched_off(
    hass: HomeAssistant, make_line: MakeLine, clock: Clock
) -> None:
    guarded = await guard_device(hass, make_line, clock, VirtualModule(1))
    await guarded.connect(on=False)
    await guarded.stay(70)
    await guarded.press_reset()
    assert guarded.open_relays == ALL


async def test_what_turns_off_a_room_does_not_reach_a_battery(
    hass: HomeAssistant, make_line: MakeLine, clock: Clock
) -> None:
    guarded = await guard_device(hass, make_line, clock, VirtualModule(1))
    registry = er.async_get(hass)
    for key, domain in (("connection", "switch"), ("reset_protection", "button")):
        entry = registry.async_get(guarded.entity_id(key, domain))
        assert entry is not None
        assert entry.entity_category is EntityCategory.CONFIG
