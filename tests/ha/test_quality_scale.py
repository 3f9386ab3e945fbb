"""What quality_scale.yaml says is so, as far as a machine can see it.

A rule that is done has a check here, a test that shows it, or a chapter that tells it.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator
import json
from pathlib import Path
import tomllib
from typing import Any
from unittest.mock import patch

import homeassistant.components
from homeassistant.components.sensor import SensorEntity
from homeassistant.const import CONF_DEVICE, EntityCategory
from homeassistant.core import HomeAssistant
from homeassistant.helpers import entity_registry as er
from homeassistant.helpers.entity import Entity
from homeassistant.helpers.entity_platform import async_get_platforms
import pytest
from pytest_homeassistant_custom_component.common import MockConfigEntry
import yaml

from custom_components.openxpbms import PLATFORMS
from custom_components.openxpbms.batteries import stored
from custom_components.openxpbms.bms.reading import Identity
from custom_components.openxpbms.const import DOMAIN

from .conftest import first_round

REPOSITORY = Path(__file__).parents[2]
ROOT = REPOSITORY / "custom_components" / "openxpbms"
EN: dict[str, Any] = json.loads((ROOT / "translations/en.json").read_text())
MANIFEST: dict[str, Any] = json.loads((ROOT / "manifest.json").read_text())
RULES: dict[str, Any] = yaml.safe_load((ROOT / "quality_scale.yaml").read_text())[
    "rules"
]
# A platinum integration has all of them.
EVERY_RULE = set(
    yaml.safe_load(
        Path(
            next(iter(homeassistant.components.__path__)), "sofar/quality_scale.yaml"
        ).read_text()
    )["rules"]
)
SOURCES = {file.name: ast.parse(file.read_text()) for file in ROOT.glob("*.py")}
ERRORS = {
    "ConfigEntryError",
    "ConfigEntryNotReady",
    "HomeAssistantError",
    "ServiceValidationError",
    "UpdateFailed",
}

TESTS = {
    "action-exceptions": (
        "test_writes.py",
        "test_what_is_never_written_says_why",
    ),
    "config-entry-unloading": (
        "test_reconfigure.py",
        "test_home_assistants_end_closes_the_port",
    ),
    "devices": (
        "test_entities.py",
        "test_a_device_per_battery_under_the_bus",
    ),
    "dynamic-devices": (
        "test_seplos_entities.py",
        "test_a_listened_bank_and_a_pack_that_joins_it",
    ),
    "entity-event-setup": (
        "test_reconfigure.py",
        "test_a_battery_is_removed_with_its_device",
    ),
    "entity-unavailable": (
        "test_entities.py",
        "test_a_silent_battery_takes_only_its_own_values_and_comes_back",
    ),
    "log-when-unavailable": (
        "test_entities.py",
        "test_a_set_up_entry_loads_without_its_port_and_recovers",
    ),
    "stale-devices": (
        "test_reconfigure.py",
        "test_a_battery_is_removed_with_its_device",
    ),
    "test-before-configure": (
        "test_config_flow.py",
        "test_a_missing_port_can_be_corrected",
    ),
    "unique-config-entry": (
        "test_config_flow.py",
        "test_a_port_of_another_entry_is_refused",
    ),
}
CHAPTERS = {
    "docs-actions": (
        "docs/writing-parameters.md",
        "With actions",
    ),
    "docs-configuration-parameters": (
        "README.md",
        "Options",
    ),
    "docs-data-update": (
        "README.md",
        "Limits",
    ),
    "docs-examples": (
        "docs/automations.md",
        "Charging is forbidden",
    ),
    "docs-high-level-description": (
        "README.md",
        "OpenXPBMS for Home Assistant",
    ),
    "docs-installation-instructions": (
        "README.md",
        "Install",
    ),
    "docs-installation-parameters": (
        "README.md",
        "Set up",
    ),
    "docs-known-limitations": (
        "README.md",
        "Limits",
    ),
    "docs-removal-instructions": (
        "README.md",
        "Change and remove",
    ),
    "docs-supported-devices": (
        "README.md",
        "Supported batteries",
    ),
    "docs-supported-functions": (
        "README.md",
        "Entities",
    ),
    "docs-troubleshooting": (
        "docs/troubleshooting.md",
        "What Home Assistant tells by itself",
    ),
    "docs-use-cases": (
        "docs/automations.md",
        "A cell is low",
    ),
}


def calls(tree: ast.AST, *names: str) -> Iterator[ast.Call]:
    """Yield the calls of functions or methods of these names."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            called = node.func
            name = called.attr if isinstance(called, ast.Attribute) else None
            if isinstance(called, ast.Name):
                name = called.id
            if name in names:
                yield node


def functions(name: str) -> set[str]:
    """Return the functions and methods of one of our files."""
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef)
    return {node.name for node in ast.walk(SOURCES[name]) if isinstance(node, kinds)}


def _action_setup() -> None:
    (setup,) = (
        node
        for node in SOURCES["__init__.py"].body
        if isinstance(node, ast.AsyncFunctionDef) and node.name == "async_setup"
    )
    assert list(calls(setup, "async_setup_services", "register"))


def _appropriate_polling() -> None:
    assert MANIFEST["iot_class"] == "local_polling"


def _async_dependency() -> None:
    blocking = {"serial", "requests", "urllib", "time.sleep", "socket"}
    for name, tree in SOURCES.items():
        for node in ast.walk(tree):
            if isinstance(node, ast.Import):
                assert not {item.name for item in node.names} & blocking, name


def _brands() -> None:
    assert {"icon.png", "logo.png"} <= {
        file.name for file in (ROOT / "brand").iterdir()
    }


def _common_modules() -> None:
    assert {"coordinator.py", "entity.py"} <= SOURCES.keys()


def _config_flow() -> None:
    assert MANIFEST["config_flow"]
    assert "async_step_user" in functions("config_flow.py")


def _flow_coverage() -> None:
    checks = (REPOSITORY / "scripts/test").read_text()
    (wanted,) = (line for line in checks.splitlines() if "_flow.py" in line)
    assert "--fail-under=100" in wanted


def _dependencies() -> None:
    assert "requirements" not in MANIFEST


def _diagnostics() -> None:
    assert "async_get_config_entry_diagnostics" in functions("diagnostics.py")


def _exception_translations() -> None:
    for name, tree in SOURCES.items():
        for call in calls(tree, *ERRORS):
            told = {keyword.arg: keyword.value for keyword in call.keywords}
            assert {"translation_domain", "translation_key"} <= told.keys(), name
            key = told["translation_key"]
            if isinstance(key, ast.Constant):
                assert key.value in EN["exceptions"], (name, key.value)


def _icon_translations() -> None:
    for name, tree in SOURCES.items():
        for node in ast.walk(tree):
            assert not (isinstance(node, ast.keyword) and node.arg == "icon"), name
            assert not (isinstance(node, ast.Name) and node.id == "_attr_icon"), name


def _owner() -> None:
    assert all(owner.startswith("@") for owner in MANIFEST["codeowners"])
    assert MANIFEST["codeowners"]


def _parallel_updates() -> None:
    for platform in PLATFORMS:
        assigned = [
            target.id
            for node in SOURCES[f"{platform}.py"].body
            if isinstance(node, ast.Assign)
            for target in node.targets
            if isinstance(target, ast.Name)
        ]
        assert "PARALLEL_UPDATES" in assigned, platform


def _reconfiguration() -> None:
    assert "async_step_reconfigure" in functions("config_flow.py")


def _repairs() -> None:
    assert "async_create_fix_flow" in functions("repairs.py")
    for name, tree in SOURCES.items():
        for call in calls(tree, "async_create_issue"):
            told = {keyword.arg: keyword.value for keyword in call.keywords}
            key = told["translation_key"]
            if isinstance(key, ast.Constant):
                assert key.value in EN["issues"], (name, key.value)
    for name, issue in EN["issues"].items():
        assert issue["title"], name
        assert ("description" in issue) != ("fix_flow" in issue), name


def _runtime_data() -> None:
    used = [
        node
        for tree in SOURCES.values()
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute) and node.attr == "runtime_data"
    ]
    assert used


def _strict_typing() -> None:
    assert (ROOT / "py.typed").exists()
    settings = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["tool"][
        "mypy"
    ]
    assert settings["strict"]
    assert "custom_components/openxpbms" in settings["files"]
    assert "mypy" in (REPOSITORY / "scripts/test").read_text().split()


def _test_coverage() -> None:
    checks = (REPOSITORY / "scripts/test").read_text()
    assert "--fail-under=97" in checks


CHECKS: dict[str, Callable[[], None]] = {
    "action-setup": _action_setup,
    "appropriate-polling": _appropriate_polling,
    "async-dependency": _async_dependency,
    "brands": _brands,
    "common-modules": _common_modules,
    "config-flow": _config_flow,
    "config-flow-test-coverage": _flow_coverage,
    "dependency-transparency": _dependencies,
    "diagnostics": _diagnostics,
    "exception-translations": _exception_translations,
    "icon-translations": _icon_translations,
    "integration-owner": _owner,
    "parallel-updates": _parallel_updates,
    "reconfiguration-flow": _reconfiguration,
    "repair-issues": _repairs,
    "runtime-data": _runtime_data,
    "strict-typing": _strict_typing,
    "test-coverage": _test_coverage,
}
# Seen on the entities of real entries, below.
OF_ENTITIES = {
    "entity-category",
    "entity-device-class",
    "entity-disabled-by-default",
    "entity-translations",
    "entity-unique-id",
    "has-entity-name",
}


def test_every_rule_is_answered() -> None:
    assert set(RULES) == EVERY_RULE
    for name, rule in RULES.items():
        if rule == "done":
            continue
        assert rule["status"] in {"done", "exempt"}, name
        assert len(rule["comment"].split()) > 3, name


def test_every_rule_that_is_done_is_shown_somewhere() -> None:
    done = {
        name
        for name, rule in RULES.items()
        if rule == "done" or rule["status"] == "done"
    }
    shown = [*CHECKS, *TESTS, *CHAPTERS, *OF_ENTITIES]
    assert len(shown) == len(set(shown))
    assert done == set(shown)


@pytest.mark.parametrize("rule", CHECKS)
def test_the_code_keeps_the_rule(rule: str) -> None:
    CHECKS[rule]()


@pytest.mark.parametrize("rule", TESTS)
def test_a_test_shows_the_rule(rule: str) -> None:
    file, name = TESTS[rule]
    tree = ast.parse((Path(__file__).parent / file).read_text())
    assert name in {getattr(node, "name", None) for node in tree.body}


@pytest.mark.parametrize("rule", CHAPTERS)
def test_a_chapter_tells_it(rule: str) -> None:
    file, heading = CHAPTERS[rule]
    lines = (REPOSITORY / file).read_text().splitlines()
    assert heading in {line.lstrip("# ") for line in lines if line.startswith("#")}


# Units for which Home Assistant has no device class.
WITHOUT_CLASS = {None, "%", "Ah", "Hz", "cycles", "rounds"}


async def entities_of(
    hass: HomeAssistant, family: str, **more: Any
) -> list[tuple[str, Entity]]:
    """Return what an entry of two batteries brings, with its platform."""
    batteries = [
        Identity(
            address=address,
            serial=f"10440046{address}",
            model="XP",
            model_code="7",
            revision=2,
            cells=4,
            sensors=4,
            board=200,
        )
        for address in (1, 2)
    ]
    entry = MockConfigEntry(
        domain=DOMAIN,
        title="Garage",
        data={
            CONF_DEVICE: "/dev/serial/by-id/not-there",
            "family": family,
            "batteries": stored(batteries),
            **more,
        },
    )
    entry.add_to_hass(hass)
    assert await hass.config_entries.async_setup(entry.entry_id)
    await first_round(hass, entry)
    return [
        (platform.domain, entity)
        for platform in async_get_platforms(hass, DOMAIN)
        for entity in platform.entities.values()
    ]


FAMILIES = pytest.mark.parametrize(
    "data",
    [
        {"family": "valence", "line": "mark"},
        {"family": "seplos", "mode": "ask"},
        {"family": "seplos", "mode": "listen"},
    ],
)


@FAMILIES
async def test_every_entity_keeps_the_rules(
    hass: HomeAssistant, data: dict[str, Any]
) -> None:
    with patch.object(Entity, "entity_registry_enabled_default", True):
        found = await entities_of(hass, **data)
    assert {domain for domain, _ in found} >= {"binary_sensor", "event", "sensor"}
    registry = er.async_get(hass)
    for domain, entity in found:
        told = f"{domain} {entity.unique_id}"
        assert entity.unique_id, told
        assert entity.registry_entry is registry.async_get(entity.entity_id), told
        assert entity.has_entity_name, told
        assert entity.device_info, told
        assert entity.translation_key in EN["entity"][domain], told
        assert entity.icon is None, told
        if isinstance(entity, SensorEntity):
            unit = entity.native_unit_of_measurement
            assert entity.device_class or unit in WITHOUT_CLASS, (told, unit)


@FAMILIES
async def test_what_few_need_is_diagnostic_or_off(
    hass: HomeAssistant, data: dict[str, Any]
) -> None:
    shown = await entities_of(hass, **data)
    of_entry = er.async_entries_for_config_entry(
        er.async_get(hass), hass.config_entries.async_entries(DOMAIN)[0].entry_id
    )
    assert 0 < len(shown) < len(of_entry)
    diagnostic = {
        entry.translation_key
        for entry in of_entry
        if entry.entity_category is EntityCategory.DIAGNOSTIC
    }
    assert "communication" in diagnostic
    assert not diagnostic & {
        "charge_allowed",
        "current",
        "protection",
        "soc",
        "voltage",
    }
