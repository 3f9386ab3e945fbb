"""The page of the options about the bank as a whole."""

from __future__ import annotations

from typing import Any

from homeassistant.core import HomeAssistant
from homeassistant.data_entry_flow import FlowResultType
import pytest

from custom_components.openxpbms.bms.outputs import Joined, Outputs
from custom_components.openxpbms.bms.reading import Identity
from custom_components.openxpbms.guard_options import hands_of
from custom_components.openxpbms.whole_bank import joined_of

from .option_pages import answer, fields, make_bus, module, open_page, setups, shown

KEYS = [f"valence_10440046{address}" for address in range(1, 5)]
OTHERS = {"interval": 3}
GOOD = {"joined": "parallel", "without_silent": False}


@pytest.fixture(autouse=True)
def _no_bus() -> Any:
    with setups():
        yield


def pack(address: int) -> Identity:
    """Return a pack by its address."""
    return Identity(address=address, serial=None, model="Seplos V3", model_code="")


async def test_how_the_bank_is_joined(hass: HomeAssistant) -> None:
    entry = await make_bus(hass, module(1), module(2), options=OTHERS)
    assert joined_of(entry) is None
    result = await open_page(hass, entry, "bank")
    # Nothing is guessed.
    assert shown(result) == {"without_silent": False}
    options = fields(result)["joined"]["selector"]["select"]["options"]
    assert options == ["parallel", "series", "strings"]
    chosen = {"joined": "series", "without_silent": True, "capacity": 120}
    result = await answer(hass, result, chosen)
    assert result["type"] is FlowResultType.CREATE_ENTRY
    assert entry.options == OTHERS | {
        "outputs": {"joined": "series"},
        "bank": {"without_silent": True, "capacity": 120},
    }
    assert joined_of(entry) == Outputs(joined=Joined.SERIES)
    result = await open_page(hass, entry, "bank")
    assert shown(result) == chosen


async def test_strings_are_asked_for(hass: HomeAssistant) -> None:
    entry = await make_bus(hass, *map(module, range(1, 5)), options=OTHERS)
    result = await open_page(hass, entry, "bank")
    result = await answer(hass, result, GOOD | {"joined": "strings"})
    assert result["step_id"] == "strings"
    result = await answer(hass, result, {"string_1": KEYS[:2]})
    assert result["errors"] == {"base": "in_no_string"}
    result = await answer(hass, result, {"string_1": KEYS[:2], "string_2": KEYS[2:]})
    assert result["type"] is FlowResultType.CREATE_ENTRY
    assert entry.options["bank"] == {"without_silent": False}
    outputs = joined_of(entry)
    assert outputs is not None
    assert outputs.strings == {1: 1, 2: 1, 3: 2, 4: 2}
    # Joined otherwise there are none any more.
    result = await open_page(hass, entry, "bank")
    await answer(hass, result, GOOD)
    assert entry.options["outputs"] == {"joined": "parallel"}


async def test_relays_stay_and_are_joined_the_same_way(hass: HomeAssistant) -> None:
    relay = {"relay": "some", "inverted": False, "heartbeat": "off"}
    outputs = {"joined": "series", "charge": relay, "delay": 2.0}
    entry = await make_bus(hass, module(1), module(2), options={"outputs": outputs})
    result = await open_page(hass, entry, "bank")
    await answer(hass, result, GOOD)
    assert entry.options["outputs"] == outputs | {"joined": "parallel"}
    assert hands_of(entry).outputs.joined is Joined.PARALLEL


async def test_pages_about_relays_know_it_and_keep_it_without_any(
    hass: HomeAssistant,
) -> None:
    entry = await make_bus(hass, module(1), module(2), options=OTHERS)
    result = await open_page(hass, entry, "bank")
    await answer(hass, result, GOOD)
    result = await open_page(hass, entry, "outputs")
    assert shown(result) == {"joined": "parallel"}
    result = await answer(hass, result, {"joined": "series"})
    assert result["step_id"] == "shared"
    result = await answer(hass, result, shown(result))
    assert result["type"] is FlowResultType.CREATE_ENTRY
    assert entry.options == OTHERS | {
        "outputs": {"joined": "series"},
        "bank": {"without_silent": False},
    }


async def test_a_module_alone_has_only_a_capacity(hass: HomeAssistant) -> None:
    entry = await make_bus(hass, options=OTHERS)
    assert joined_of(entry) == Outputs()
    result = await open_page(hass, entry, "bank")
    assert list(fields(result)) == ["capacity"]
    await answer(hass, result, {"capacity": 90})
    assert entry.options == OTHERS | {"bank": {"capacity": 90}}
    result = await open_page(hass, entry, "bank")
    assert shown(result) == {"capacity": 90}
    await answer(hass, result, {})
    assert entry.options == OTHERS | {"bank": {}}


async def test_packs_tell_their_capacity(hass: HomeAssistant) -> None:
    entry = await make_bus(hass, pack(1), pack(2), family="seplos")
    result = await open_page(hass, entry, "bank")
    assert list(fields(result)) == ["joined", "without_silent"]
    alone = await make_bus(hass, pack(1), family="seplos", title="Shed")
    result = await open_page(hass, alone)
    assert "bank" not in result["menu_options"]


async def test_a_bank_with_its_own_master_is_in_parallel_unless_chosen(
    hass: HomeAssistant,
) -> None:
    entry = await make_bus(hass, pack(1), pack(2), family="seplos")
    hass.config_entries.async_update_entry(entry, data={**entry.data, "mode": "listen"})
    assert joined_of(entry) == Outputs(joined=Joined.PARALLEL)
    result = await open_page(hass, entry, "bank")
    assert shown(result) == GOOD
    await answer(hass, result, GOOD | {"joined": "series"})
    assert joined_of(entry) == Outputs(joined=Joined.SERIES)
