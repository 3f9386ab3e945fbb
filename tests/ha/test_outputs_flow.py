"""The pages of the options about relays: what protection may switch, and how."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from homeassistant.config_entries import ConfigFlowResult
from homeassistant.core import HomeAssistant
from homeassistant.data_entry_flow import FlowResultType, InvalidData
from homeassistant.helpers import entity_registry as er
import pytest
from pytest_homeassistant_custom_component.common import MockConfigEntry

from custom_components.openxpbms.bms.outputs import Joined
from custom_components.openxpbms.bms.virtual.valence import VirtualModule
from custom_components.openxpbms.const import DOMAIN
from custom_components.openxpbms.guard_options import Heartbeat, Relay, hands_of

from .conftest import MakeEntry, MakeLine, first_round, identity
from .guarding import make_relays, watched_of
from .option_pages import (
    answer,
    errors,
    fields,
    make_bus,
    module,
    open_page,
    setups,
    shown,
)

OTHERS = {"interval": 3, "limits": {"latch_all": True}}
PLAIN = {
    "with_connection": [],
    "at_once": False,
    "cold_disconnects": False,
    "leave": False,
    "delay": 0.5,
    "window": 25,
}
# What the pages of relays say as they are opened.
SAFE = {"inverted": False, "heartbeat": "off"}
KEYS = [f"valence_10440046{address}" for address in range(1, 5)]
LABELS = [f"{n} · U27-12XP · 10440046{n} · Rev 2 · 4S" for n in range(1, 5)]


@pytest.fixture(autouse=True)
def _setups(request: pytest.FixtureRequest) -> Iterator[None]:
    if "make_entry" in request.fixturenames:
        yield
    else:
        with setups():
            yield


@pytest.fixture
def ids(hass: HomeAssistant) -> dict[str, str]:
    """Return registry ids of entities that play relays and heartbeats."""
    registry = er.async_get(hass)
    entries = [
        registry.async_get_or_create(domain, "test", name, suggested_object_id=name)
        for domain, name in (
            ("switch", "pv"),
            ("switch", "load"),
            ("switch", "one"),
            ("input_boolean", "two"),
            ("button", "beat"),
            ("script", "beat"),
        )
    ]
    return {entry.entity_id: entry.id for entry in entries}


def relay(entity: str, **details: Any) -> dict[str, Any]:
    """Return a relay as it is stored."""
    return {"relay": entity, **SAFE, **details}


async def shared_page(
    hass: HomeAssistant, entry: MockConfigEntry, joined: str = "single"
) -> ConfigFlowResult:
    """Open the page about the relays of the bus."""
    result = await open_page(hass, entry, "outputs")
    result = await answer(hass, result, {"joined": joined})
    assert result["step_id"] == "shared"
    return result


async def test_relays_of_a_single_battery(
    hass: HomeAssistant, ids: dict[str, str]
) -> None:
    entry = await make_bus(hass, options=OTHERS)
    result = await open_page(hass, entry, "outputs")
    assert shown(result) == {"joined": "single"}
    result = await answer(hass, result, {"joined": "single"})
    assert shown(result) == PLAIN
    chosen = {
        "charge": "switch.pv",
        "load": "switch.load",
        "with_connection": [KEYS[0]],
        "at_once": True,
        "cold_disconnects": True,
        "leave": True,
        "delay": 1.5,
        "window": 40,
    }
    result = await answer(hass, result, chosen)

    assert result["step_id"] == "relay"
    assert result["description_placeholders"]["relay"] == "switch.pv"
    assert shown(result) == SAFE
    result = await answer(hass, result, {"inverted": True, "heartbeat": "off"})
    assert result["description_placeholders"]["relay"] == "switch.load"
    result = await answer(hass, result, {"inverted": False, "heartbeat": "turn_on"})

    assert result["step_id"] == "connection"
    assert result["description_placeholders"] == {"battery": LABELS[0]}
    assert shown(result) == {}
    result = await answer(hass, result, {"relay": "input_boolean.two"})
    assert result["description_placeholders"]["relay"] == "input_boolean.two"
    # Nothing half-written.
    assert entry.options == OTHERS
    result = await answer(
        hass,
        result,
        {"inverted": False, "heartbeat": "entity", "target": "button.beat"},
    )
    assert result["type"] is FlowResultType.CREATE_ENTRY
    two = relay(ids["input_boolean.two"], heartbeat="entity", target=ids["button.beat"])
    assert entry.options == OTHERS | {
        "outputs": {
            "joined": "single",
            "charge": relay(ids["switch.pv"], inverted=True),
            "load": relay(ids["switch.load"], heartbeat="turn_on"),
            "connections": {KEYS[0]: two},
            "at_once": True,
            "cold_disconnects": True,
            "leave": True,
            "delay": 1.5,
            "window": 0.04,
        }
    }

    hands = hands_of(entry)
    assert hands.outputs.connections == {1: ids["input_boolean.two"]}
    assert hands.relays[ids["input_boolean.two"]] == Relay(
        entity=ids["input_boolean.two"],
        heartbeat=Heartbeat.ENTITY,
        target=ids["button.beat"],
    )

    # Shown again, after everything got another name.
    registry = er.async_get(hass)
    registry.async_update_entity("switch.pv", new_entity_id="switch.solar")
    registry.async_update_entity(
        "input_boolean.two", new_entity_id="input_boolean.three"
    )
    registry.async_update_entity("button.beat", new_entity_id="button.alive")
    before = dict(entry.options)
    result = await shared_page(hass, entry)
    assert shown(result) == chosen | {"charge": "switch.solar"}
    result = await answer(hass, result, shown(result))
    assert result["description_placeholders"]["relay"] == "switch.solar"
    assert shown(result) == {"inverted": True, "heartbeat": "off"}
    result = await answer(hass, result, shown(result))
    assert shown(result) == {"inverted": False, "heartbeat": "turn_on"}
    result = await answer(hass, result, shown(result))
    assert shown(result) == {"relay": "input_boolean.three"}
    result = await answer(hass, result, shown(result))
    assert shown(result) == {
        "inverted": False,
        "heartbeat": "entity",
        "target": "button.alive",
    }
    await answer(hass, result, shown(result))
    assert entry.options == before


async def test_how_a_relay_works_may_be_changed(
    hass: HomeAssistant, ids: dict[str, str]
) -> None:
    outputs = {"joined": "single", "charge": relay(ids["switch.pv"], inverted=True)}
    entry = await make_bus(hass, options={"outputs": outputs})
    result = await shared_page(hass, entry)
    result = await answer(hass, result, shown(result))
    assert shown(result) == {"inverted": True, "heartbeat": "off"}
    result = await answer(hass, result, {"inverted": False, "heartbeat": "turn_on"})
    assert result["type"] is FlowResultType.CREATE_ENTRY
    charge = entry.options["outputs"]["charge"]
    assert charge == relay(ids["switch.pv"], heartbeat="turn_on")


async def test_several_batteries_are_not_single(
    hass: HomeAssistant, ids: dict[str, str]
) -> None:
    entry = await make_bus(hass, module(1), module(2))
    result = await open_page(hass, entry, "outputs")
    # A guess could join what must not be joined.
    assert shown(result) == {}
    options = fields(result)["joined"]["selector"]["select"]["options"]
    assert options == [joined.value for joined in Joined]
    result = await answer(hass, result, {"joined": "single"})
    assert errors(result) == {
        "joined": "This bus has several batteries: choose whether they are in"
        " parallel, in series or in strings."
    }
    assert shown(result) == {"joined": "single"}
    result = await answer(hass, result, {"joined": "parallel"})
    result = await answer(hass, result, PLAIN | {"charge": "switch.pv"})
    await answer(hass, result, SAFE)
    assert hands_of(entry).outputs.joined is Joined.PARALLEL
    result = await open_page(hass, entry, "outputs")
    assert shown(result) == {"joined": "parallel"}


async def test_each_battery_belongs_to_one_string(
    hass: HomeAssistant, ids: dict[str, str]
) -> None:
    one, two, three, four = KEYS
    entry = await make_bus(hass, *map(module, range(1, 5)))
    result = await open_page(hass, entry, "outputs")
    result = await answer(hass, result, {"joined": "strings"})
    assert result["step_id"] == "strings"
    assert list(fields(result)) == ["string_1", "string_2", "string_3", "string_4"]
    assert fields(result)["string_1"]["selector"]["select"]["options"] == [
        {"value": key, "label": label} for key, label in zip(KEYS, LABELS, strict=True)
    ]

    typed = {"string_1": [one, two], "string_2": [two, three, four]}
    result = await answer(hass, result, typed)
    assert errors(result) == {
        "base": f"Battery {LABELS[1]} is ticked in several strings. Leave it in one."
    }
    assert shown(result) == typed | {"string_3": [], "string_4": []}
    result = await answer(hass, result, {"string_1": [one, two], "string_2": [three]})
    assert errors(result) == {
        "base": f"Battery {LABELS[3]} belongs to no string. Tick it in one."
    }
    good = {"string_1": [one, two], "string_3": [three, four]}
    result = await answer(hass, result, good)
    assert result["step_id"] == "shared"
    result = await answer(hass, result, PLAIN | {"charge": "switch.pv"})
    await answer(hass, result, SAFE)
    assert hands_of(entry).outputs.strings == {1: 1, 2: 1, 3: 3, 4: 3}

    result = await open_page(hass, entry, "outputs")
    assert shown(result) == {"joined": "strings"}
    result = await answer(hass, result, {"joined": "strings"})
    assert shown(result) == good | {"string_2": [], "string_4": []}
    result = await answer(hass, result, shown(result))
    assert result["step_id"] == "shared"

    # Otherwise joined there are no strings any more.
    result = await shared_page(hass, entry, "series")
    result = await answer(hass, result, shown(result))
    await answer(hass, result, SAFE)
    assert "strings" not in entry.options["outputs"]


async def test_there_are_eight_strings_at_most(hass: HomeAssistant) -> None:
    entry = await make_bus(hass, *map(module, range(1, 10)))
    result = await open_page(hass, entry, "outputs")
    result = await answer(hass, result, {"joined": "strings"})
    assert list(fields(result)) == [f"string_{n}" for n in range(1, 9)]


async def test_a_battery_that_has_gone_is_forgotten(
    hass: HomeAssistant, ids: dict[str, str]
) -> None:
    outputs = {
        "joined": "strings",
        "charge": relay(ids["switch.pv"]),
        "connections": {KEYS[0]: relay(ids["switch.one"]), KEYS[2]: relay("gone")},
        "strings": {KEYS[0]: 1, KEYS[2]: 3},
    }
    entry = await make_bus(hass, module(1), module(2), options={"outputs": outputs})
    result = await open_page(hass, entry, "outputs")
    result = await answer(hass, result, {"joined": "strings"})
    assert shown(result) == {"string_1": [KEYS[0]], "string_2": []}
    result = await answer(hass, result, {"string_1": KEYS[:2]})
    assert shown(result)["with_connection"] == [KEYS[0]]
    while result["type"] is FlowResultType.FORM:
        result = await answer(hass, result, shown(result))
    assert list(entry.options["outputs"]["connections"]) == [KEYS[0]]
    assert entry.options["outputs"]["strings"] == dict.fromkeys(KEYS[:2], 1)


async def test_a_relay_is_asked_about_once(
    hass: HomeAssistant, ids: dict[str, str]
) -> None:
    entry = await make_bus(hass, *map(module, range(1, 4)))
    result = await shared_page(hass, entry, "series")
    both = {"charge": "switch.pv", "load": "switch.pv", "with_connection": KEYS[:3]}
    result = await answer(hass, result, PLAIN | both)
    result = await answer(hass, result, {"inverted": True, "heartbeat": "off"})

    assert result["description_placeholders"] == {"battery": LABELS[0]}
    result = await answer(hass, result, {"relay": "switch.one"})
    result = await answer(hass, result, {"inverted": False, "heartbeat": "turn_on"})
    assert result["description_placeholders"] == {"battery": LABELS[1]}
    result = await answer(hass, result, {"relay": "switch.one"})
    assert result["description_placeholders"] == {"battery": LABELS[2]}
    result = await answer(hass, result, {"relay": "input_boolean.two"})
    await answer(hass, result, SAFE)

    outputs = entry.options["outputs"]
    assert (
        outputs["charge"] == outputs["load"] == relay(ids["switch.pv"], inverted=True)
    )
    one = relay(ids["switch.one"], heartbeat="turn_on")
    two = relay(ids["input_boolean.two"])
    assert outputs["connections"] == dict(zip(KEYS, (one, one, two), strict=False))


async def test_only_connection_relays(hass: HomeAssistant, ids: dict[str, str]) -> None:
    entry = await make_bus(hass)
    result = await shared_page(hass, entry)
    result = await answer(hass, result, PLAIN | {"with_connection": KEYS[:1]})
    result = await answer(hass, result, {"relay": "switch.one"})
    await answer(hass, result, SAFE)
    assert hands_of(entry).outputs.relays() == [ids["switch.one"]]


async def test_a_connection_relay_is_no_relay_of_the_bus(
    hass: HomeAssistant, ids: dict[str, str]
) -> None:
    entry = await make_bus(hass)
    result = await shared_page(hass, entry)
    chosen = {"load": "switch.load", "with_connection": KEYS[:1]}
    result = await answer(hass, result, PLAIN | chosen)
    result = await answer(hass, result, SAFE)
    result = await answer(hass, result, {"relay": "switch.load"})
    assert errors(result) == {
        "relay": "This is the charge or load relay of the bus already. A connection"
        " relay must be another one."
    }
    assert shown(result) == {"relay": "switch.load"}
    result = await answer(hass, result, {"relay": "switch.one"})
    result = await answer(hass, result, SAFE)
    assert result["type"] is FlowResultType.CREATE_ENTRY


NO_UNIQUE_ID = (
    "This entity has no unique ID, so it would be lost when it is renamed. Give it one,"
    " or choose another entity."
)
OWN = (
    "This entity belongs to OpenXPBMS itself and is no relay. Choose the switch of the"
    " real relay."
)
INVERTED = (
    "An inverted relay is open while its switch is on, so a heartbeat cannot keep it"
    " closed. Choose Off, or a relay that is not inverted."
)


async def test_relays_are_entities_of_others_that_can_be_followed(
    hass: HomeAssistant, ids: dict[str, str]
) -> None:
    registry = er.async_get(hass)
    own = registry.async_get_or_create("switch", DOMAIN, "connection").entity_id
    hass.states.async_set("switch.bare", "off")
    entry = await make_bus(hass)
    result = await shared_page(hass, entry)
    typed = PLAIN | {
        "charge": "switch.bare",
        "load": own,
        "with_connection": KEYS[:1],
        "window": 30,
    }
    result = await answer(hass, result, typed)
    assert errors(result) == {"charge": NO_UNIQUE_ID, "load": OWN}
    assert shown(result) == typed

    # What is mended or emptied meanwhile is not held against anybody.
    typed = {**typed, "charge": "switch.pv"}
    del typed["load"]
    result = await answer(hass, result, typed)
    result = await answer(hass, result, SAFE)
    for entity_id, text in (("switch.bare", NO_UNIQUE_ID), (own, OWN)):
        result = await answer(hass, result, {"relay": entity_id})
        assert errors(result) == {"relay": text}
        assert shown(result) == {"relay": entity_id}
    result = await answer(hass, result, {"relay": "switch.one"})
    await answer(hass, result, SAFE)
    outputs = entry.options["outputs"]
    assert "load" not in outputs
    assert outputs["charge"]["relay"] == ids["switch.pv"]
    assert outputs["window"] == 0.03


@pytest.mark.parametrize(
    ("field", "entity_id"),
    [("charge", "light.lamp"), ("load", "script.beat"), ("target", "switch.one")],
)
async def test_only_fitting_kinds_of_entities(
    hass: HomeAssistant, ids: dict[str, str], field: str, entity_id: str
) -> None:
    entry = await make_bus(hass)
    result = await shared_page(hass, entry)
    typed = PLAIN | {"charge": "switch.pv"}
    if field == "target":
        result = await answer(hass, result, typed)
        typed = {"inverted": False, "heartbeat": "entity"}
    with pytest.raises(InvalidData) as refused:
        await answer(hass, result, typed | {field: entity_id})
    assert list(refused.value.schema_errors) == [field]


async def test_what_a_heartbeat_needs(hass: HomeAssistant, ids: dict[str, str]) -> None:
    registry = er.async_get(hass)
    own = registry.async_get_or_create("button", DOMAIN, "reset").entity_id
    entry = await make_bus(hass)
    result = await shared_page(hass, entry)
    result = await answer(hass, result, PLAIN | {"charge": "switch.pv"})
    cases: tuple[tuple[dict[str, Any], str, str], ...] = (
        (
            {"inverted": True, "heartbeat": "turn_on"},
            "heartbeat",
            INVERTED,
        ),
        (
            {"inverted": True, "heartbeat": "entity", "target": "script.beat"},
            "heartbeat",
            INVERTED,
        ),
        (
            {"inverted": False, "heartbeat": "entity"},
            "target",
            "Choose the button or script that is the heartbeat.",
        ),
        (
            {"inverted": False, "heartbeat": "entity", "target": "button.bare"},
            "target",
            NO_UNIQUE_ID,
        ),
        ({"inverted": False, "heartbeat": "entity", "target": own}, "target", OWN),
    )
    for typed, field, text in cases:
        result = await answer(hass, result, typed)
        assert errors(result) == {field: text}
        assert shown(result) == typed
    # A target that is not asked for does not matter.
    typed = {"inverted": False, "heartbeat": "turn_on", "target": "button.bare"}
    result = await answer(hass, result, typed)
    assert result["type"] is FlowResultType.CREATE_ENTRY
    charge = entry.options["outputs"]["charge"]
    assert charge == relay(ids["switch.pv"], heartbeat="turn_on")


async def test_a_relay_works_in_one_way_on_all_buses(
    hass: HomeAssistant, ids: dict[str, str]
) -> None:
    there = relay(ids["switch.pv"], heartbeat="entity", target=ids["script.beat"])
    outputs = {"joined": "single", "charge": there}
    await make_bus(hass, title="Shed", options={"outputs": outputs})
    entry = await make_bus(hass, module(2))
    result = await shared_page(hass, entry)
    chosen = {"charge": "switch.pv", "load": "switch.load"}
    result = await answer(hass, result, PLAIN | chosen)
    same = {"inverted": False, "heartbeat": "entity", "target": "script.beat"}
    assert shown(result) == same
    result = await answer(hass, result, {"inverted": True, "heartbeat": "off"})
    assert errors(result) == {
        "base": '"Shed" uses this relay as well, with other settings. A relay works in'
        " one way only: choose the same settings here, or remove it from the other bus"
        " first."
    }
    assert shown(result) == {"inverted": True, "heartbeat": "off"}
    result = await answer(hass, result, same)
    # Nobody else uses this one.
    result = await answer(hass, result, {"inverted": True, "heartbeat": "off"})
    assert result["type"] is FlowResultType.CREATE_ENTRY
    assert entry.options["outputs"]["charge"] == there


async def test_a_relay_that_was_removed_is_chosen_anew(
    hass: HomeAssistant, ids: dict[str, str]
) -> None:
    gone = {"charge": relay("gone"), "connections": {KEYS[0]: relay("gone, too")}}
    outputs = {"joined": "single", **gone}
    entry = await make_bus(hass, options={"outputs": outputs})
    result = await shared_page(hass, entry)
    assert shown(result) == PLAIN | {"with_connection": KEYS[:1]}
    result = await answer(hass, result, shown(result))
    assert result["step_id"] == "connection"
    assert shown(result) == {}
    with pytest.raises(InvalidData):
        await answer(hass, result, {})


async def test_a_relay_that_goes_in_the_middle_does_no_harm(
    hass: HomeAssistant, ids: dict[str, str]
) -> None:
    entry = await make_bus(hass)
    result = await shared_page(hass, entry)
    result = await answer(hass, result, PLAIN | {"charge": "switch.pv"})
    er.async_get(hass).async_remove("switch.pv")
    result = await answer(hass, result, {"inverted": True, "heartbeat": "turn_on"})
    assert result["description_placeholders"]["relay"] == ids["switch.pv"]
    result = await answer(hass, result, SAFE)
    assert result["type"] is FlowResultType.CREATE_ENTRY


async def test_without_any_relay_nothing_is_left(
    hass: HomeAssistant, ids: dict[str, str]
) -> None:
    outputs = {"joined": "single", "charge": relay(ids["switch.pv"])}
    entry = await make_bus(hass, options=OTHERS | {"outputs": outputs})
    result = await shared_page(hass, entry)
    assert shown(result) == PLAIN | {"charge": "switch.pv"}
    result = await answer(hass, result, PLAIN)
    assert result["type"] is FlowResultType.CREATE_ENTRY
    assert entry.options == OTHERS


@pytest.mark.parametrize(
    ("field", "value"), [("delay", -0.1), ("delay", 10.1), ("window", 0)]
)
async def test_what_is_out_of_range_is_refused(
    hass: HomeAssistant, field: str, value: float
) -> None:
    entry = await make_bus(hass)
    result = await shared_page(hass, entry)
    with pytest.raises(InvalidData) as refused:
        await answer(hass, result, PLAIN | {field: value})
    assert list(refused.value.schema_errors) == [field]


async def test_a_chosen_relay_is_guarded(
    hass: HomeAssistant, make_line: MakeLine, make_entry: MakeEntry
) -> None:
    battery = VirtualModule(1)
    line = await make_line(battery)
    (charge,) = await make_relays(hass, "charge", on=True)
    entry = await make_entry(line.path, identity(battery), options={"interval": 60})
    result = await shared_page(hass, entry)
    result = await answer(hass, result, PLAIN | {"charge": "input_boolean.charge"})
    await answer(hass, result, SAFE)
    await first_round(hass, entry)
    coordinator = entry.runtime_data
    assert coordinator.update_interval.total_seconds() == 5
    assert list(coordinator.guard.hands.relays) == [charge]
    assert watched_of(entry, 1).decision.fresh
