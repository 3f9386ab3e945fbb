"""What hassfest would check, as far as it can be checked offline."""

from __future__ import annotations

import ast
from collections.abc import Iterator
import json
from pathlib import Path
import re
from typing import Any

import pytest
import yaml

from custom_components.openxpbms import (
    bank_sensor,
    binary_sensor,
    button,
    energy_sensor,
    event,
    protection_sensor,
    select,
    sensor,
    switch,
    troubles,
)
from custom_components.openxpbms.bms import errors, shown
from custom_components.openxpbms.bms.families import KINDS
from custom_components.openxpbms.bms.limits import Quantity
from custom_components.openxpbms.bms.reading import Identity
from custom_components.openxpbms.bms.rules import RULES

ROOT = Path(__file__).parents[2] / "custom_components" / "openxpbms"
EN: dict[str, Any] = json.loads((ROOT / "translations/en.json").read_text())
ICONS: dict[str, Any] = json.loads((ROOT / "icons.json").read_text())
FLOWS = ("config_flow.py", "search_flow.py", "bank_flow.py", "which_flow.py")


def texts(tree: object, path: str = "") -> Iterator[tuple[str, str]]:
    """Yield every text with its path."""
    if isinstance(tree, dict):
        for key, value in tree.items():
            yield from texts(value, f"{path}.{key}")
    else:
        assert isinstance(tree, str)
        yield path, tree


def steps() -> set[str]:
    """Return the flow steps that show something."""
    shown: set[str] = set()
    for name in FLOWS:
        for node in ast.walk(ast.parse((ROOT / name).read_text())):
            if isinstance(node, ast.keyword) and node.arg == "step_id":
                shown |= {
                    item.value
                    for item in ast.walk(node.value)
                    if isinstance(item, ast.Constant) and isinstance(item.value, str)
                }
    return shown


def test_manifest_has_what_home_assistant_and_hacs_want() -> None:
    manifest = json.loads((ROOT / "manifest.json").read_text())
    names = list(manifest)
    assert names[:2] == ["domain", "name"]
    assert names[2:] == sorted(names[2:])
    assert {
        "codeowners",
        "config_flow",
        "documentation",
        "integration_type",
        "iot_class",
        "issue_tracker",
        "version",
    } <= set(names)
    assert manifest["domain"] == ROOT.name


def test_no_text_is_empty_or_a_reference() -> None:
    for path, text in texts(EN):
        assert text.strip() == text, path
        assert text, path
        assert "[%key" not in text, path


def test_every_step_that_is_shown_has_texts() -> None:
    shown = steps()
    assert {"port", "demo", "cells"} <= shown
    assert shown <= set(EN["config"]["step"]) | set(EN["config"]["progress"])


def test_every_field_has_a_name_and_a_description() -> None:
    for flow in ("config", "options"):
        for name, step in EN[flow]["step"].items():
            for part in (step, *step.get("sections", {}).values()):
                data, described = part.get("data", {}), part.get("data_description", {})
                assert data.keys() == described.keys(), name


def test_every_menu_choice_is_a_step() -> None:
    source = "".join((ROOT / name).read_text() for name in FLOWS)
    for name, step in EN["config"]["step"].items():
        for choice in step.get("menu_options", {}):
            assert f"async def async_step_{choice}(" in source, (name, choice)


def test_every_error_has_a_text_with_placeholders_it_fills() -> None:
    keys = {
        error.key
        for error in vars(errors).values()
        if isinstance(error, type) and issubclass(error, errors.BusError)
    }
    assert keys <= set(EN["config"]["error"])
    for error in (errors.ForeignMaster, *errors.PortError.__subclasses__()):
        message = EN["exceptions"][error.key]["message"]
        for text in (EN["config"]["error"][error.key], message):
            assert set(re.findall(r"{(\w+)}", text)) <= {"port", "line", "cause"}
    ports = {error.key for error in errors.PortError.__subclasses__()}
    assert ports <= set(EN["system_health"]["info"])
    # One that is missing was unplugged, and one that is lent is no trouble.
    assert ports - {"port_missing", "port_lent"} <= set(EN["issues"])


def test_every_trouble_has_a_text() -> None:
    kinds = {troubles.ISSUE_PORT_MOVED, "port_busy_by", *troubles.OF_BATTERIES}
    assert kinds <= set(EN["issues"])
    for kind in troubles.OF_BATTERIES:
        used = set(re.findall(r"{(\w+)}", str(EN["issues"][kind])))
        assert used <= {"bus", "battery", "address"}


def test_every_entity_has_a_name_and_an_icon() -> None:
    battery = Identity(
        address=1, serial=None, model="", model_code="", cells=1, sensors=1
    )
    described = [
        sensor.FUNCTIONS_OFF,
        *sensor.SETTINGS,
        *sensor.LINK,
        *bank_sensor.TOTALS,
        *bank_sensor.ALLOWED,
        *bank_sensor.PLACES,
        *bank_sensor.WORST,
        *energy_sensor.COUNTED,
        *energy_sensor.LEFT,
        energy_sensor.DASHBOARD_POWER,
        bank_sensor.SPREAD,
        bank_sensor.ONLINE,
    ]
    names = {item.translation_key for item in described}
    for family in KINDS:
        names |= {m.common or m.key for m in shown.measures(family, battery)}
        names |= {kept.key for kept in shown.remembered(family, battery)}
    assert names == set(EN["entity"]["sensor"])
    assert names == set(ICONS["entity"]["sensor"])
    binary = {
        item.translation_key
        for item in (
            binary_sensor.COMMUNICATION,
            *protection_sensor.FOUND,
            *protection_sensor.SUMS,
        )
    }
    for family in KINDS:
        binary |= {status.key for status in shown.statuses(family)}
        binary |= {group.key for group in shown.troubles(family)}
    assert binary == set(EN["entity"]["binary_sensor"])
    assert binary == set(ICONS["entity"]["binary_sensor"])
    others = {
        "button": [button.RESET],
        "event": [event.PROTECTION, event.WRITE],
        "select": [select.MODE, select.STORAGE],
        "switch": [switch.CONNECTION],
    }
    for platform, descriptions in others.items():
        names = {item.translation_key for item in descriptions}
        assert names == set(EN["entity"][platform])
        assert names == set(ICONS["entity"][platform])


def test_every_refusal_has_a_text_for_every_quantity_that_stops() -> None:
    told = {key.removeprefix("refused_") for key in EN["exceptions"]}
    stopping = {rule.quantity for rule in RULES if rule.stops}
    never = {
        Quantity.CELL_UNDER_TEMPERATURE,  # does not keep a battery from connecting
        Quantity.LOW_SOC,  # warn only
        Quantity.REPORTED_WARNING,
    }
    assert stopping - never <= told
    assert Quantity.SILENCE in told


def test_every_action_is_described() -> None:
    fields = yaml.safe_load((ROOT / "services.yaml").read_text())
    assert set(fields) == set(EN["services"]) == set(ICONS["services"])
    for name, action in fields.items():
        assert set(action["fields"]) == set(EN["services"][name]["fields"])


def test_cell_names_carry_their_number() -> None:
    for key in ("cell_voltage", "cell_temperature"):
        assert "{number}" in EN["entity"]["sensor"][key]["name"]


@pytest.mark.parametrize("image", ["icon.png", "icon@2x.png", "logo.png"])
def test_brand_images_are_png_of_the_right_size(image: str) -> None:
    data = (ROOT / "brand" / image).read_bytes()
    assert data.startswith(b"\x89PNG")
    width, height = (int.from_bytes(data[at : at + 4], "big") for at in (16, 20))
    if image.startswith("icon"):
        assert width == height == (512 if "@2x" in image else 256)
    else:
        assert 128 <= min(width, height) <= 256
