"""Sets a virtual bus up as a person would: through the integration's own dialogs."""

from __future__ import annotations

import asyncio
from typing import Any

from home import Home, Json

FLOWS = "/api/config/config_entries/flow"


async def add_bus(home: Home, what: Json) -> None:
    """Walk the dialogs with what they suggest, but for the bus to show: `what`."""
    step = await home.request("POST", FLOWS, json={"handler": "openxpbms"})
    while step["type"] != "create_entry":
        flow = f"{FLOWS}/{step['flow_id']}"
        if step["type"] == "menu":
            choice = "port" if "device" in what else "demo"
            step = await _answer(home, flow, step, {"next_step_id": choice})
        elif step["type"] == "form" and not step["errors"]:
            data = suggested(step["data_schema"])
            if step["step_id"] in ("demo", "port"):
                data |= what
            step = await _answer(home, flow, step, data)
        elif step["type"].startswith("progress"):
            step = await _wait(home, flow, step)
        else:
            why = step.get("errors") or step.get("reason")
            raise RuntimeError(f"the bus could not be set up: {step['type']}: {why}")
    print(f"  {step['title']}: set up", flush=True)


async def _answer(home: Home, flow: str, step: Json, data: Json) -> Json:
    print(f"  {step['step_id']}: {data}", flush=True)
    answer: Json = await home.request("POST", flow, json=data)
    return answer


async def _wait(home: Home, flow: str, step: Json) -> Json:
    print(f"  {step['step_id']} ...", flush=True)
    now: Json = step
    while now["type"] == "progress" and now["step_id"] == step["step_id"]:
        await asyncio.sleep(0.2)
        now = await home.request("GET", flow)
    return now


def suggested(schema: list[Json]) -> Json:
    """Return what a form is filled with when it opens."""
    data: dict[str, Any] = {}
    for field in schema:
        told = field.get("description") or {}
        if "schema" in field:
            data[field["name"]] = suggested(field["schema"])
        elif "suggested_value" in told:
            data[field["name"]] = told["suggested_value"]
        elif "default" in field:
            data[field["name"]] = field["default"]
    return data
