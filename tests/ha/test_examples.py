"""The examples of docs/automations.md: valid automations, entities that exist."""

from __future__ import annotations

from pathlib import Path
import re
from typing import Any

from homeassistant.core import HomeAssistant
from homeassistant.helpers import entity_registry as er
from homeassistant.setup import async_setup_component
from homeassistant.util.yaml import parse_yaml
import pytest

from custom_components.openxpbms.bms.virtual.seplos import VirtualBank, VirtualPack
from custom_components.openxpbms.bms.virtual.valence import VirtualModule

from .conftest import MakeEntry, MakeLine, identity
from .test_seplos_entities import SetUp, heard, set_up
from .test_seplos_entities import identity as pack_identity

__all__ = ["set_up"]  # a fixture

TEXT = (Path(__file__).parents[2] / "docs" / "automations.md").read_text()
EXAMPLES: list[Any] = [
    parse_yaml(block) for block in re.findall(r"```yaml\n(.*?)```", TEXT, re.DOTALL)
]
AUTOMATIONS = [each for each in EXAMPLES if "triggers" in each]
# Of somebody's inverter, and an action.
FOREIGN = {"number.inverter_charge_current", "number.set_value"}
ENTITY = re.compile(r"\b(?:binary_sensor|event|number|sensor|switch)\.[a-z0-9_]+\b")


async def test_their_entities_exist(
    hass: HomeAssistant, make_line: MakeLine, make_entry: MakeEntry, set_up: SetUp
) -> None:
    modules = [VirtualModule(n, serial=f"10440046{n}") for n in (1, 2)]
    await make_entry((await make_line(*modules)).path, *map(identity, modules))
    packs = [VirtualPack(1), VirtualPack(2)]
    await set_up((await make_line(VirtualBank(packs))).path, heard(1), mode="listen")
    pack = VirtualPack(1, serial="SP57B-A0000000001")
    await set_up((await make_line(pack)).path, pack_identity(pack))
    known = set(er.async_get(hass).entities)
    named = set(ENTITY.findall(str(EXAMPLES))) - FOREIGN
    assert len(named) > 12
    assert named <= known


@pytest.mark.parametrize("example", AUTOMATIONS, ids=lambda example: example["alias"])
async def test_they_are_valid(hass: HomeAssistant, example: Any) -> None:
    config = {"automation": [example | {"id": "example"}]}
    assert await async_setup_component(hass, "automation", config)
    await hass.async_block_till_done()
    [state] = hass.states.async_all("automation")
    # One with a config that is not valid is unavailable.
    assert state.state == "on"
    await hass.services.async_call(
        "automation", "turn_off", {"entity_id": state.entity_id}, blocking=True
    )


def test_all_of_them_are_looked_at() -> None:
    assert len(AUTOMATIONS) == TEXT.count("\ntriggers:")
    assert [each["action"] for each in EXAMPLES if each not in AUTOMATIONS] == [
        "homeassistant.update_entity"
    ]
