"""The dashboard to copy: cards of Home Assistant, entities that exist."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
import re
from typing import Any

from homeassistant.core import HomeAssistant
from homeassistant.helpers import entity_registry as er
from homeassistant.helpers.template import Template
from homeassistant.util.yaml import parse_yaml
import pytest
from pytest_homeassistant_custom_component.common import MockConfigEntry

from custom_components.openxpbms.batteries import stored
from custom_components.openxpbms.bms.virtual.seplos import VirtualBank, VirtualPack
from custom_components.openxpbms.bms.virtual.valence import VirtualModule
from custom_components.openxpbms.const import DOMAIN

from .conftest import MakeEntry, MakeLine, first_round, identity
from .test_seplos_entities import heard
from .test_seplos_entities import identity as pack_identity

DASHBOARD = (Path(__file__).parents[2] / "docs" / "dashboard.yaml").read_text()
ENTITY = re.compile(
    r"\b(?:binary_sensor|button|event|select|sensor|switch)\.[a-z0-9_]+"
)
BUILT_IN_CARDS = {
    "conditional",
    "entities",
    "gauge",
    "glance",
    "grid",
    "heading",
    "history-graph",
    "markdown",
    "statistics-graph",
    "tile",
}
BUILT_IN_FEATURES = {"bar-gauge", "select-options"}
SIX_CELLS = {
    f"sensor.u27_12xp_104400001_cell_{cell}_{what}"
    for cell in (5, 6)
    for what in ("voltage", "temperature")
}
COMMON = {"bank", "protection"}
PARALLEL = {"outputs": {"joined": "parallel"}}


def views(bus: str, battery: str, family: str) -> list[dict[str, Any]]:
    """Return the views that somebody keeps, with the words replaced."""
    text = DASHBOARD.replace("my_bus", bus).replace("my_battery", battery)
    assert "my_" not in text
    loaded: Any = parse_yaml(text)
    assert set(loaded) == {"title", "views"}
    kept = [view for view in loaded["views"] if view["path"] in COMMON | {family}]
    assert len(kept) == 3
    return kept


def shown(what: Any) -> set[str]:
    """Return the entities that something names."""
    return set(ENTITY.findall(str(what)))


def cards(what: Any) -> Iterator[dict[str, Any]]:
    """Yield all sections and cards, also those in others."""
    for card in what:
        yield card
        yield from cards(card.get("cards", []))
        if "card" in card:
            yield from cards([card["card"]])


def unknown(hass: HomeAssistant, entry: MockConfigEntry, wanted: set[str]) -> set[str]:
    """Return those of `wanted` that the entry does not show."""
    entities = er.async_entries_for_config_entry(er.async_get(hass), entry.entry_id)
    shows = {each.entity_id for each in entities if not each.disabled_by}
    assert all(hass.states.get(entity_id) for entity_id in shows)
    return wanted - shows


@pytest.mark.parametrize("family", ["valence", "seplos"])
def test_all_cards_come_with_home_assistant(family: str) -> None:
    kept = views("garage", "one", family)
    assert {view["type"] for view in kept} == {"sections"}
    used = [card for view in kept for card in cards(view["sections"])]
    assert {card["type"] for card in used} <= BUILT_IN_CARDS
    features = [each for card in used for each in card.get("features", [])]
    assert {each["type"] for each in features} == BUILT_IN_FEATURES
    badges = [badge for view in kept for badge in view.get("badges", [])]
    assert {badge["type"] for badge in badges} == {"entity"}
    # A section is about the bus or about one battery, so that it can be copied.
    for view in kept:
        for part in (*view["sections"], *view.get("badges", [])):
            buses = {entity for entity in shown(part) if ".garage_" in entity}
            assert buses in (set(), shown(part))
            assert shown(part)


@pytest.mark.parametrize("cells", [4, 6])
async def test_entities_of_valence_modules(
    hass: HomeAssistant, make_line: MakeLine, make_entry: MakeEntry, cells: int
) -> None:
    both = [
        VirtualModule(
            n, serial=f"10440000{n}", cells=cells, cell_voltages=[3.3] * cells
        )
        for n in (1, 2)
    ]
    line = await make_line(*both)
    entry = await make_entry(line.path, *map(identity, both), options=PARALLEL)
    wanted = shown(views("garage", "u27_12xp_104400001", "valence"))
    assert len(wanted) > 40
    missing = unknown(hass, entry, wanted)
    assert missing == (SIX_CELLS if cells == 4 else set())


@pytest.mark.parametrize(
    ("mode", "begins"),
    [("ask", "sg16s200a_sp57b_a_sp57b_a0000000001"), ("listen", "seplos_v3_pack_1")],
)
async def test_entities_of_seplos_packs(
    hass: HomeAssistant, make_line: MakeLine, mode: str, begins: str
) -> None:
    both = [VirtualPack(n, serial=f"SP57B-A000000000{n}") for n in (1, 2)]
    asked = mode == "ask"
    line = await make_line(*(both if asked else [VirtualBank(both)]))
    known = map(pack_identity, both) if asked else map(heard, (1, 2))
    entry = MockConfigEntry(
        domain=DOMAIN,
        title="Shed",
        data={
            "device": line.path,
            "family": "seplos",
            "mode": mode,
            "batteries": stored(known),
        },
        options=PARALLEL,
    )
    entry.add_to_hass(hass)
    assert await hass.config_entries.async_setup(entry.entry_id)
    await first_round(hass, entry)
    wanted = shown(views("shed", begins, "seplos"))
    assert len(wanted) > 60
    assert unknown(hass, entry, wanted) == set()


async def test_what_stops_a_battery_is_told(
    hass: HomeAssistant, make_line: MakeLine, make_entry: MakeEntry
) -> None:
    module = VirtualModule(1, cell_voltages=[3.3, 3.95, 3.3, 3.3])
    line = await make_line(module)
    await make_entry(line.path, identity(module))
    kept = views("garage", f"u27_12xp_{module.serial}", "valence")
    used = (card for view in kept for card in cards(view["sections"]))
    [text] = [card["content"] for card in used if card["type"] == "markdown"]
    told = Template(text, hass).async_render(parse_result=False)
    words = " ".join(told.split())
    assert words == "- **Cell over voltage** at 3.95, number 2; waits for: value"
