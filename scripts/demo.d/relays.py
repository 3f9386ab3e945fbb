"""Gives the modules relays as a person would: through the integration's own dialogs."""

from __future__ import annotations

from typing import Any

from home import Home, Json

FLOWS = "/api/config/config_entries/options/flow"
PV, LOAD = "input_boolean.pv_relay", "input_boolean.load_relay"
# One for each module, in their order.
MODULES = [f"input_boolean.module_{number}_relay" for number in range(1, 5)]


async def add_relays(home: Home) -> None:
    """Choose the relays of the Valence bus, unless they are chosen, and arm it."""
    entries = await home.request(
        "GET", "/api/config/config_entries/entry?domain=openxpbms"
    )
    bus = next(entry for entry in entries if "Valence" in entry["title"])
    modules = iter(MODULES)
    step = await home.request("POST", FLOWS, json={"handler": bus["entry_id"]})
    while step["type"] != "create_entry":
        flow = f"{FLOWS}/{step['flow_id']}"
        if step["type"] == "menu":
            data: Json = {"next_step_id": "outputs"}
        elif step["type"] == "form" and not step["errors"]:
            data = _suggested(step["data_schema"])
            if step["step_id"] == "outputs":
                data["joined"] = "parallel"
            elif step["step_id"] == "shared":
                names = _choices(step["data_schema"], "with_connection")
                data |= {"charge": PV, "load": LOAD, "with_connection": names}
            elif step["step_id"] == "connection":
                data["relay"] = next(modules)
        else:
            raise RuntimeError(f"no relays: {step['type']}: {step.get('errors')}")
        step = await home.request("POST", flow, json=data)
    print("  relays: chosen", flush=True)


async def arm(home: Home) -> None:
    """Let protection command the relays."""
    for entity in await home.command("config/entity_registry/list"):
        if entity["unique_id"].endswith("_protection_mode"):
            state = await home.request("GET", f"/api/states/{entity['entity_id']}")
            if "Valence" in state["attributes"]["friendly_name"]:
                await home.request(
                    "POST",
                    "/api/services/select/select_option",
                    json={"entity_id": entity["entity_id"], "option": "armed"},
                )


def _suggested(schema: list[Json]) -> Json:
    """Return what a form is filled with when it opens."""
    data: dict[str, Any] = {}
    for field in schema:
        description = field.get("description") or {}
        if "suggested_value" in description:
            data[field["name"]] = description["suggested_value"]
        elif "default" in field:
            data[field["name"]] = field["default"]
    return data


def _choices(schema: list[Json], name: str) -> list[str]:
    [field] = [field for field in schema if field["name"] == name]
    return [option["value"] for option in field["selector"]["select"]["options"]]
