"""What tests of the options share: pages opened, read and answered, texts and all."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
import json
from pathlib import Path
from typing import Any
from unittest.mock import patch

from homeassistant.config_entries import ConfigFlowResult
from homeassistant.core import HomeAssistant
from homeassistant.data_entry_flow import FlowResultType
from homeassistant.helpers.config_validation import custom_serializer
import probatio
from pytest_homeassistant_custom_component.common import MockConfigEntry

from custom_components.openxpbms.batteries import stored
from custom_components.openxpbms.bms.reading import Identity
from custom_components.openxpbms.const import DOMAIN

ROOT = Path(__file__).parents[2] / "custom_components" / DOMAIN
EN: dict[str, Any] = json.loads((ROOT / "translations/en.json").read_text())


def module(address: int) -> Identity:
    """Return a Valence module by its address."""
    return Identity(
        address=address,
        serial=f"10440046{address}",
        model="U27-12XP",
        model_code="7",
        revision=2,
        cells=4,
    )


@contextmanager
def setups() -> Iterator[Any]:
    """Let entries be set up without a bus."""
    with (
        patch(f"custom_components.{DOMAIN}.async_setup_entry", return_value=True) as up,
        patch(f"custom_components.{DOMAIN}.async_unload_entry", return_value=True),
    ):
        yield up


async def make_bus(
    hass: HomeAssistant,
    *batteries: Identity,
    family: str = "valence",
    title: str = "Garage",
    options: dict[str, Any] | None = None,
) -> MockConfigEntry:
    """Return an entry that was set up."""
    entry = MockConfigEntry(
        domain=DOMAIN,
        title=title,
        data={
            "device": "/dev/nowhere",
            "family": family,
            "line": "mark",
            "batteries": stored(batteries or [module(1)]),
        },
        options=options or {},
    )
    entry.add_to_hass(hass)
    assert await hass.config_entries.async_setup(entry.entry_id)
    return entry


async def open_page(
    hass: HomeAssistant, entry: MockConfigEntry, *choices: str
) -> ConfigFlowResult:
    """Open the options and follow choices of its menus."""
    result = await hass.config_entries.options.async_init(entry.entry_id)
    check_texts(result)
    for choice in choices:
        assert result["type"] is FlowResultType.MENU
        result = await answer(hass, result, {"next_step_id": choice})
    return result


async def answer(
    hass: HomeAssistant, result: ConfigFlowResult, user_input: dict[str, Any]
) -> ConfigFlowResult:
    """Answer a page."""
    options = hass.config_entries.options
    result = await options.async_configure(result["flow_id"], user_input)
    await hass.async_block_till_done()
    check_texts(result)
    return result


def fields(result: ConfigFlowResult) -> dict[str, dict[str, Any]]:
    """Return the fields of a page as the frontend gets them."""
    listed: Any = result["data_schema"]
    if not isinstance(listed, list):  # as it is where it came by the REST API
        listed = probatio.to_field_list(listed, custom_serializer=custom_serializer)
    return {field["name"]: field for field in listed}


def shown(result: ConfigFlowResult) -> dict[str, Any]:
    """Return the values that the fields of a page begin with."""
    values = {
        name: field.get("description", {}).get("suggested_value")
        for name, field in fields(result).items()
    }
    return {name: value for name, value in values.items() if value is not None}


def errors(result: ConfigFlowResult) -> dict[str, str]:
    """Return what a page tells is wrong, by field."""
    assert result["type"] == FlowResultType.FORM
    told = result["description_placeholders"] or {}
    return {
        field: EN["options"]["error"][key].format(**told)
        for field, key in (result["errors"] or {}).items()
    }


def reason(result: ConfigFlowResult) -> str:
    """Return what is told by a dialog that ended without keeping anything."""
    assert result["type"] == FlowResultType.ABORT
    text: str = EN["options"]["abort"][result["reason"]]
    return text.format(**(result["description_placeholders"] or {}))


def check_texts(result: ConfigFlowResult) -> None:
    """Check that all of a page has texts, and that these can be filled in."""
    if result["type"] == FlowResultType.ABORT:
        assert reason(result)
    if result["type"] not in (FlowResultType.FORM, FlowResultType.MENU):
        return
    texts = EN["options"]["step"][result["step_id"]]
    told = result.get("description_placeholders") or {}
    for part in ("title", "description"):
        texts.get(part, "").format(**told)
    if result["type"] == FlowResultType.MENU:
        # Some packs have more pages than others.
        offered = result["menu_options"]
        assert [c for c in texts["menu_options"] if c in offered] == offered
        return
    errors(result)
    _check_fields(fields(result).values(), texts)


def _check_fields(listed: Iterable[dict[str, Any]], texts: dict[str, Any]) -> None:
    for field in listed:
        name = field["name"]
        if field.get("type") == "expandable":
            _check_fields(field["schema"], texts["sections"][name])
            continue
        assert texts["data"][name]
        assert texts["data_description"][name]
        select = field["selector"].get("select", {})
        if key := select.get("translation_key"):
            assert set(select["options"]) <= set(EN["selector"][key]["options"]), key
