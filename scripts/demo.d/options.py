"""Sets the buses' options as a person would: through the integration's own dialogs."""

from __future__ import annotations

from collections.abc import Callable

from bus import suggested
from home import Home, Json

FLOWS = "/api/config/config_entries/options/flow"
BANK, STRING = "Demo bus (Valence XP bank)", "Demo bus (Valence XP string)"
PV, LOAD = "input_boolean.pv_relay", "input_boolean.load_relay"

# What a page is answered with beside what it suggests, given its fields.
type Answer = Callable[[list[Json]], Json]


async def set_options(home: Home) -> None:
    """Confirm currents, say how modules are joined, give those of the bank relays."""
    entries = await home.request(
        "GET", "/api/config/config_entries/entry?domain=openxpbms"
    )
    ids = {entry["title"]: entry["entry_id"] for entry in entries}
    for title in (BANK, STRING):
        await _set(home, ids[title], {"general": _general})
    await _set(home, ids[STRING], {"bank": lambda _: {"joined": "series"}})
    # One for each module, in their order.
    modules = (f"input_boolean.module_{number}_relay" for number in range(1, 5))
    pages: dict[str, Answer] = {
        "outputs": lambda _: {"joined": "parallel"},
        "shared": lambda fields: {
            "charge": PV,
            "load": LOAD,
            "with_connection": _choices(fields, "with_connection"),
        },
        "connection": lambda _: {"relay": next(modules)},
    }
    await _set(home, ids[BANK], pages)
    print("  options: chosen", flush=True)


def _general(fields: list[Json]) -> Json:
    """Be patient, too: on a busy computer virtual modules answer late."""
    timing = suggested(fields)["timing"] | {"answer_timeout": 500}
    return {"current_confirmed": True, "timing": timing}


async def _set(home: Home, entry_id: str, pages: dict[str, Answer]) -> None:
    """Walk the pages of the options, beginning with the first that is given."""
    step = await home.request("POST", FLOWS, json={"handler": entry_id})
    while step["type"] != "create_entry":
        if step["type"] == "menu":
            data: Json = {"next_step_id": next(iter(pages))}
        elif step["type"] == "form" and not step["errors"]:
            fields = step["data_schema"]
            data = suggested(fields)
            if answer := pages.get(step["step_id"]):
                data |= answer(fields)
        else:
            raise RuntimeError(f"no options: {step['type']}: {step.get('errors')}")
        step = await home.request("POST", f"{FLOWS}/{step['flow_id']}", json=data)


async def arm(home: Home) -> None:
    """Let protection command the relays."""
    for entity in await home.command("config/entity_registry/list"):
        if entity["unique_id"].endswith("_protection_mode"):
            state = await home.request("GET", f"/api/states/{entity['entity_id']}")
            if state["attributes"]["friendly_name"].startswith(BANK):
                await home.request(
                    "POST",
                    "/api/services/select/select_option",
                    json={"entity_id": entity["entity_id"], "option": "armed"},
                )


def _choices(fields: list[Json], name: str) -> list[str]:
    [field] = [field for field in fields if field["name"] == name]
    return [option["value"] for option in field["selector"]["select"]["options"]]
