"""The bus monitor: frames of some seconds, decoded, as response."""

from __future__ import annotations

import asyncio
import json
from typing import Any
from unittest.mock import patch

from homeassistant.core import Context, HomeAssistant
from homeassistant.exceptions import ServiceValidationError, Unauthorized
from homeassistant.helpers import device_registry as dr
import pytest
from pytest_homeassistant_custom_component.common import MockConfigEntry
import voluptuous as vol

from custom_components.openxpbms.bms.virtual.valence import VirtualModule
from custom_components.openxpbms.const import DOMAIN

from .conftest import MakeEntry, MakeLine, identity
from .guarding import a_person

SERIAL = "104400461"
IN_FRAMES = "02 ac 01 cd"


def device_id(hass: HomeAssistant, entry: MockConfigEntry, key: str = "") -> str:
    """Return the device of a battery, of the bus where no key is given."""
    device = dr.async_get(hass).async_get_device_by_identifier(
        (DOMAIN, key or entry.entry_id), entry.entry_id
    )
    assert device is not None
    return device.id


async def act(
    hass: HomeAssistant, device: str, by: Context | None = None, **data: Any
) -> Any:
    """Call the action as an administrator, if nobody else is given."""
    return await hass.services.async_call(
        DOMAIN,
        "monitor",
        {"device_id": device, **data},
        blocking=True,
        return_response=True,
        context=by or await a_person(hass),
    )


@pytest.fixture
async def entry(make_line: MakeLine, make_entry: MakeEntry) -> MockConfigEntry:
    """Set up a bus with one module."""
    one = VirtualModule(1, serial=SERIAL, wake_time=0.0)
    line = await make_line(one)
    return await make_entry(line.path, identity(one), options={"interval": 300})


async def watched(hass: HomeAssistant, entry: MockConfigEntry, **data: Any) -> Any:
    """Record one round."""
    watching = asyncio.create_task(
        act(hass, device_id(hass, entry), seconds=1.5, **data)
    )
    await asyncio.sleep(0.3)
    await entry.runtime_data.async_refresh()
    return await watching


async def test_a_round_is_recorded_in_words_and_values(
    hass: HomeAssistant, entry: MockConfigEntry
) -> None:
    with patch("custom_components.openxpbms.monitor.MOST_FRAMES", 4):
        response = await watched(hass, entry)
    assert (response["bus"], response["seconds"]) == ("Garage", 1.5)
    assert len(response["frames"]) == 4
    assert response["left_out"] > 0
    response = await watched(hass, entry)
    assert response["left_out"] == 0
    frames = response["frames"]
    assert {frame["direction"] for frame in frames} == {"sent", "received"}
    cells = next(f for f in frames if f["says"] == "tells cell voltages")
    reading = next(iter(entry.runtime_data)).reading
    assert tuple(cells["values"]["cell_voltages"][:4]) == reading.cell_voltages
    assert cells["address"] == 1
    assert cells["line"] == "115200 8M1"
    assert bytes.fromhex(cells["data"])[:3] == b"\x01\x03\x12"
    assert cells["time"].endswith("+00:00")
    json.dumps(response)


async def test_serial_numbers_are_made_up_unless_asked_for(
    hass: HomeAssistant, entry: MockConfigEntry
) -> None:
    text = json.dumps(await watched(hass, entry))
    assert '"serial"' in text
    assert SERIAL not in text
    assert IN_FRAMES not in text
    text = json.dumps(await watched(hass, entry, serial_numbers=True))
    assert SERIAL in text
    assert IN_FRAMES in text


async def test_it_is_for_buses_administrators_and_a_minute(
    hass: HomeAssistant, entry: MockConfigEntry
) -> None:
    battery = device_id(hass, entry, f"valence_{SERIAL}")
    with pytest.raises(ServiceValidationError) as caught:
        await act(hass, battery)
    assert caught.value.translation_key == "not_a_bus"
    bus = device_id(hass, entry)
    for seconds in (0, 61, "long"):
        with pytest.raises(vol.Invalid):
            await act(hass, bus, seconds=seconds)
    user = await hass.auth.async_create_user("Guest", group_ids=["system-users"])
    with pytest.raises(Unauthorized):
        await act(hass, bus, Context(user_id=user.id))
