"""Makes the dashboard from the entities that the batteries really have."""

from __future__ import annotations

from dataclasses import dataclass, field

from home import Home, Json

URL_PATH = "battery-bank"
CELL_RANGE = (2.5, 3.65)  # V: what a bar shows between empty and full
# How the binary sensors end that tell of trouble.
ALARMS = ("alarm", "_protection")
RELAYS = (
    ("input_boolean.pv_relay", "PV"),
    ("input_boolean.load_relay", "Load"),
    *((f"input_boolean.module_{n}_relay", f"Module {n}") for n in range(1, 5)),
)
OTHER_TEMPERATURES = (
    ("pcb_temperature", "PCB"),
    ("mosfet_temperature", "MOSFET"),
    ("ambient_temperature", "Ambient"),
)
# What is shown of a battery's doings, where it has it, with an attribute.
STATES = (
    ("alarm", "Alarm", "active"),
    ("operating_state", "State", None),
    ("voltage_alarm", "Voltage alarm", "active"),
    ("temperature_alarm", "Temperature alarm", "active"),
    ("soc_alarm", "SOC alarm", "active"),
    ("balancing", "Balancing", "cells"),
)


@dataclass
class Battery:
    """A battery's entities, by what follows the battery's key in their unique ids."""

    device_id: str
    key: str
    bus: str
    bus_id: str
    entities: dict[str, str] = field(default_factory=dict)


async def add_dashboard(home: Home) -> None:
    """Add the dashboard and open Home Assistant on it, unless it is there."""
    boards = await home.command("lovelace/dashboards/list")
    if any(board["url_path"] == URL_PATH for board in boards):
        return
    batteries = await batteries_by_name(home)
    modes = {
        (entity["device_id"], kind): entity["entity_id"]
        for entity in await home.command("config/entity_registry/list")
        for kind in ("protection_mode", "storage_mode")
        if entity["unique_id"].endswith(f"_{kind}")
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
    await home.command(
        "lovelace/config/save", url_path=URL_PATH, config=dashboard(batteries, modes)
    )
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
            if domain == "openxpbms" and device["via_device_id"]:
                bus = names[device["via_device_id"]]
                battery = Battery(device["id"], key, bus, device["via_device_id"])
                devices[device["id"]] = found[device["name"]] = battery
    for entity in await home.command("config/entity_registry/list"):
        if (of := devices.get(entity["device_id"])) and not entity["disabled_by"]:
            part = entity["unique_id"].removeprefix(f"{of.key}_")
            of.entities[part] = entity["entity_id"]
    return found


def dashboard(batteries: dict[str, Battery], modes: dict[tuple[str, str], str]) -> Json:
    """Return the dashboard: all buses beside each other, then each bus by itself."""
    buses: dict[str, dict[str, Battery]] = {}
    for name, battery in sorted(batteries.items(), key=lambda item: item[1].bus):
        buses.setdefault(battery.bus, {})[name] = battery
    short = {bus: bus.partition("(")[2].rstrip(")") or bus for bus in buses}
    overview = {
        "title": "All buses",
        "path": "all",
        "type": "sections",
        "max_columns": len(buses),
        "badges": _alarms(batteries),
        "sections": [
            _section(short[bus], "mdi:battery-sync", *_rows(members))
            for bus, members in buses.items()
        ],
    }
    views = [_bus(short[bus], members) for bus, members in buses.items()]
    protection = _protection(buses, short, modes)
    return {"title": "Battery bank", "views": [overview, *views, protection]}


def _protection(
    buses: dict[str, dict[str, Battery]],
    short: dict[str, str],
    modes: dict[tuple[str, str], str],
) -> Json:
    """What protection allows, and the relays that it switches."""
    sections = []
    for bus, members in buses.items():
        bus_id = next(iter(members.values())).bus_id
        cards: list[Json] = [
            {
                "type": "tile",
                "entity": modes[bus_id, kind],
                "name": name,
                "features": [{"type": "select-options"}],
                "grid_options": {"columns": 12},
            }
            for kind, name in (
                ("protection_mode", "Protection"),
                ("storage_mode", "Storage"),
            )
        ]
        for name, battery in members.items():
            cards += [
                {"type": "heading", "heading": name, "heading_style": "subtitle"},
                _tile(battery, "connection", "Connection", 6),
                _tile(battery, "protection", "Protection", 6),
                _tile(battery, "charge_allowed", "Charging", 6),
                _tile(battery, "discharge_allowed", "Discharging", 6),
            ]
        sections.append(_section(short[bus], "mdi:shield", *cards))
    relays = [
        {"type": "tile", "entity": entity, "name": name, "grid_options": {"columns": 6}}
        for entity, name in RELAYS
    ]
    sections.append(_section("Relays of the modules", "mdi:electric-switch", *relays))
    return {
        "title": "Protection",
        "path": "protection",
        "type": "sections",
        "max_columns": len(sections),
        "sections": sections,
    }


def _alarms(batteries: dict[str, Battery]) -> list[Json]:
    """A badge for each battery that has alarms now."""
    return [
        {
            "type": "entity",
            "entity": battery.entities[part],
            "name": name,
            "show_name": True,
            "color": "red",
            "visibility": [
                {"condition": "state", "entity": battery.entities[part], "state": "on"}
            ],
        }
        for name, battery in batteries.items()
        for part in battery.entities
        if part.endswith(ALARMS) and part != "reset_protection"
    ]


def _rows(batteries: dict[str, Battery]) -> list[Json]:
    cards: list[Json] = []
    for name, battery in batteries.items():
        cards += [
            {"type": "heading", "heading": name, "heading_style": "subtitle"},
            _tile(battery, "state_of_charge", "State of charge", 12, range_=(0, 100)),
            _tile(battery, "voltage", "Voltage", 6),
            _tile(battery, "current", "Current", 6),
            _tile(battery, "power", "Power", 6),
            _tile(battery, "cell_delta", "Cell delta", 6),
        ]
    return cards


def _bus(title: str, batteries: dict[str, Battery]) -> Json:
    """Each battery in a column, then all of them in curves."""
    return {
        "title": title,
        "path": title.lower().replace(" ", "-"),
        "type": "sections",
        "max_columns": 4,
        "dense_section_placement": True,
        "sections": [
            *(_battery(name, battery) for name, battery in batteries.items()),
            _curves(
                batteries,
                {
                    "Current": ["current"],
                    "State of charge": ["state_of_charge"],
                },
            ),
            _curves(
                batteries,
                {
                    "Cell delta": ["cell_delta"],
                    "Highest cell temperature": ["highest_cell_temperature"],
                },
            ),
        ],
    }


def _battery(name: str, battery: Battery) -> Json:
    cells = sorted(
        (
            part
            for part in battery.entities
            if part.startswith("cell_") and part[5].isdigit()
        ),
        key=_number,
    )
    voltages = [part for part in cells if part.endswith("_voltage")]
    temperatures = [
        *((part, f"Cell {_number(part)}") for part in cells if part not in voltages),
        *(
            (part, label)
            for part, label in OTHER_TEMPERATURES
            if part in battery.entities
        ),
    ]
    width = 12 if len(voltages) <= 8 else 6
    return _section(
        name,
        "mdi:car-battery",
        _tile(battery, "state_of_charge", "State of charge", 12, range_=(0, 100)),
        _tile(battery, "voltage", "Voltage", 6),
        _tile(battery, "current", "Current", 6),
        _tile(battery, "power", "Power", 6),
        _tile(battery, "cell_delta", "Cell delta", 6),
        *(
            _tile(battery, part, f"Cell {_number(part)}", width, range_=CELL_RANGE)
            for part in voltages
        ),
        {
            "type": "glance",
            "columns": 4,
            "show_icon": False,
            "entities": [
                {"entity": battery.entities[part], "name": label}
                for part, label in temperatures
            ],
        },
        *(
            _tile(battery, part, label, 6, attribute=attribute)
            for part, label, attribute in STATES
            if part in battery.entities
        ),
        _tile(battery, "communication", "Communication", 12, attribute="reason"),
    )


def _number(part: str) -> int:
    return int(part.split("_")[1])


def _curves(batteries: dict[str, Battery], graphs: dict[str, list[str]]) -> Json:
    cards = [
        {
            "type": "history-graph",
            "title": title,
            "entities": [
                {"entity": battery.entities[part], "name": name}
                for name, battery in batteries.items()
                for part in parts
            ],
            "hours_to_show": 1,
            "fit_y_data": True,
            "expand_legend": True,
            "grid_options": {"columns": 12},
        }
        for title, parts in graphs.items()
    ]
    heading = f"{' and '.join(graphs)}, the last hour".capitalize()
    return _section(heading, "mdi:chart-line", *cards) | {"column_span": 2}


def _section(heading: str, icon: str, *cards: Json) -> Json:
    title = {"type": "heading", "heading": heading, "icon": icon}
    return {"type": "grid", "cards": [title, *cards]}


def _tile(
    battery: Battery,
    part: str,
    name: str,
    columns: int,
    *,
    range_: tuple[float, float] | None = None,
    attribute: str | None = None,
) -> Json:
    tile: Json = {
        "type": "tile",
        "entity": battery.entities[part],
        "name": name,
        "grid_options": {"columns": columns},
    }
    if range_ is not None:
        low, high = range_
        tile["features"] = [{"type": "bar-gauge", "min": low, "max": high}]
        tile["features_position"] = "inline"
    if attribute is not None:
        tile["state_content"] = ["state", attribute]
    return tile
