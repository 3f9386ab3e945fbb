"""Makes the demo's dashboard out of the one that people copy: docs/dashboard.yaml."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
import json
from pathlib import Path
import re

from home import Home, Json
from homeassistant.util.yaml import load_yaml_dict

URL_PATH = "battery-bank"
COPIED = Path(__file__).resolve().parent.parent.parent / "docs" / "dashboard.yaml"
RELAYS = (
    ("input_boolean.pv_relay", "PV"),
    ("input_boolean.load_relay", "Load"),
    *((f"input_boolean.module_{n}_relay", f"Module {n}") for n in range(1, 5)),
)
# What a card is about.
_ENTITY = re.compile(
    r"\b(?:binary_sensor|button|event|select|sensor|switch)\.[a-z0-9_]+"
)


@dataclass
class Battery:
    """A battery's entities, by what follows the battery's key in their unique ids."""

    device_id: str
    key: str
    family: str
    bus: str
    bus_id: str
    entities: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Replacement:
    """A bus or a battery: what its name and the start of its entity ids replace."""

    kind: str
    name: str
    begins: str

    def __call__(self, text: str) -> str:
        """Replace the words of the dashboard in `text`."""
        named = text.replace(f"My {self.kind}", self.name)
        return named.replace(f"my_{self.kind}", self.begins)


async def add_dashboard(home: Home) -> None:
    """Add the dashboard and open Home Assistant on it, unless it is there."""
    boards = await home.command("lovelace/dashboards/list")
    if any(board["url_path"] == URL_PATH for board in boards):
        return
    batteries = await batteries_by_name(home)
    registry = await home.command("config/entity_registry/list")
    entities = {e["entity_id"]: e for e in registry if not e["disabled_by"]}
    buses = {
        entity["device_id"]: entity_id.partition(".")[2].removesuffix(
            "_protection_mode"
        )
        for entity_id, entity in entities.items()
        if entity["unique_id"].endswith("_protection_mode")
    }
    await home.command(
        "lovelace/dashboards/create",
        url_path=URL_PATH,
        title="Battery bank",
        icon="mdi:car-battery",
        mode="storage",
        show_in_sidebar=True,
        require_admin=False,
    )
    config = dashboard(batteries, buses, set(entities))
    await home.command("lovelace/config/save", url_path=URL_PATH, config=config)
    await home.command(
        "frontend/set_system_data", key="core", value={"default_panel": URL_PATH}
    )


async def batteries_by_name(home: Home) -> dict[str, Battery]:
    """Return the batteries of all buses."""
    devices = {}
    found = {}
    registry = await home.command("config/device_registry/list")
    names = {device["id"]: device["name"] for device in registry}
    for device in registry:
        for domain, key in device["identifiers"]:
            if domain == "openxpbms" and (bus_id := device["via_device_id"]):
                family = device["manufacturer"].lower()
                battery = Battery(device["id"], key, family, names[bus_id], bus_id)
                devices[device["id"]] = found[device["name"]] = battery
    for entity in await home.command("config/entity_registry/list"):
        if (of := devices.get(entity["device_id"])) and not entity["disabled_by"]:
            part = entity["unique_id"].removeprefix(f"{of.key}_")
            of.entities[part] = entity["entity_id"]
    return found


def dashboard(
    batteries: dict[str, Battery], buses: dict[str, str], known: set[str]
) -> Json:
    """Return the dashboard: the banks, the batteries of each bus, and protection.

    `buses` has how the entity ids of each bus begin, `known` all entities.
    """
    copied = load_yaml_dict(COPIED)
    views = {view["path"]: view for view in copied["views"]}
    of_all: list[Replacement] = []
    pages = []
    for bus, begins in sorted(buses.items(), key=lambda item: item[1]):
        members = {name: b for name, b in batteries.items() if b.bus_id == bus}
        first = next(iter(members.values()))
        title = first.bus.partition("(")[2].rstrip(")")
        of_bus = [
            Replacement("bus", title, begins),
            *(
                Replacement("battery", name, _begins(battery))
                for name, battery in members.items()
            ),
        ]
        of_all += of_bus
        path = title.lower().replace(" ", "-")
        view = views[first.family] | {"title": title, "path": path}
        pages.append(_filled(view, of_bus, known))
    of_all.sort(key=lambda one: one.kind, reverse=True)
    protection = _filled(views["protection"], of_all, known)
    protection["sections"].append(_relays())
    bank = _filled(views["bank"], of_all, known)
    return copied | {"views": [bank, *pages, protection]}


def _begins(battery: Battery) -> str:
    switch = battery.entities["connection"]
    return switch.removeprefix("switch.").removesuffix("_connection")


def _filled(view: Json, replacements: list[Replacement], known: set[str]) -> Json:
    """Return a view with a copy of each part for every bus or battery that has it."""

    def copies(part: Json) -> Iterator[Json]:
        # A day of the demo takes 20 minutes, and it has just begun.
        text = json.dumps(part).replace('"hours_to_show": 24', '"hours_to_show": 1')
        for copy in (replacement(text) for replacement in replacements):
            if copy != text and known.issuperset(_ENTITY.findall(copy)):
                yield json.loads(copy)

    badges = [copy for badge in view.get("badges", []) for copy in copies(badge)]
    rows = [list(copies(section)) for section in view["sections"]]
    return view | {
        "badges": badges,
        "sections": [section for row in rows for section in row],
        "max_columns": len(rows[0]),
    }


def _relays() -> Json:
    """The relays of the modules, which are the demo's own."""
    heading = {
        "type": "heading",
        "heading": "Relays of the modules",
        "icon": "mdi:electric-switch",
    }
    tiles = [
        {"type": "tile", "entity": entity, "name": name, "grid_options": {"columns": 6}}
        for entity, name in RELAYS
    ]
    return {"type": "grid", "cards": [heading, *tiles]}
