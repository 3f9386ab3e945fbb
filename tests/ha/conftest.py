"""A real Home Assistant with the integration, over real pseudo-terminals."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import replace
from typing import Any
from unittest.mock import patch

from homeassistant.config_entries import ConfigEntryState, ConfigFlowResult
from homeassistant.const import CONF_DEVICE
from homeassistant.core import HomeAssistant
from homeassistant.data_entry_flow import FlowResultType
import pytest
from pytest_homeassistant_custom_component.common import MockConfigEntry

from custom_components.openxpbms.batteries import stored
from custom_components.openxpbms.bms.bus import Bus
from custom_components.openxpbms.bms.families import KINDS, Kind
from custom_components.openxpbms.bms.reading import Identity
from custom_components.openxpbms.bms.virtual.line import VirtualLine
from custom_components.openxpbms.bms.virtual.valence import VirtualModule
from custom_components.openxpbms.const import DOMAIN
from custom_components.openxpbms.families import make_bus

type MakeLine = Callable[..., Awaitable[VirtualLine]]
type MakeEntry = Callable[..., Awaitable[MockConfigEntry]]


@pytest.fixture(autouse=True)
def _custom_integrations(enable_custom_integrations: None) -> None:
    """Let Home Assistant load the integration from this repository."""


def _small(kind: Kind) -> Kind:
    """Return a family with few addresses and fast answers."""
    few = range(kind.addresses[0], 10)
    return replace(kind, addresses=few, answer=100, turnaround=0)


def _patient(url: str, family: str, options: Any, **more: Any) -> Bus:
    """Make the bus of an entry, on which a busy machine may answer late."""
    return make_bus(url, family, {"answer_timeout": 350, **options}, **more)


@pytest.fixture(autouse=True)
def _quick() -> Iterator[None]:
    """Listen and wait for tenths of a second instead of seconds."""
    with (
        patch("custom_components.openxpbms.search.LISTEN", 0.2),
        patch("custom_components.openxpbms.coordinator.make_bus", _patient),
        patch("custom_components.openxpbms.bms.bus.LISTEN", 0.1),
        patch("custom_components.openxpbms.bms.bus.OWED_FOR", 0.3),
        patch.dict(KINDS, {name: _small(kind) for name, kind in KINDS.items()}),
        patch("custom_components.openxpbms.bms.valence.WAKE_PAUSES", (0.06, 0.06)),
    ):
        yield


@pytest.fixture
async def make_line(hass: HomeAssistant) -> AsyncIterator[MakeLine]:
    """Put virtual modules on a line."""
    lines: list[VirtualLine] = []

    async def make(*modules: VirtualModule, **settings: Any) -> VirtualLine:
        line = VirtualLine(modules, **{"real_time": False} | settings)
        await line.start()
        lines.append(line)
        return line

    yield make
    for entry in hass.config_entries.async_entries(DOMAIN):
        if entry.state is ConfigEntryState.LOADED:
            assert await hass.config_entries.async_unload(entry.entry_id)
    await hass.async_block_till_done()
    for line in lines:
        await line.stop()


def identity(module: VirtualModule, **changes: Any) -> Identity:
    """Return what a scan would tell of a module."""
    names = {"7": "U27-12XP", "V": "UEV-18XP", "1": "U1-12XP", "4": "U24-12XP"}
    known = {
        "address": module.address,
        "serial": module.serial,
        "model": names.get(module.model, f"XP ({module.model})"),
        "model_code": module.model,
        "revision": module.revision,
        "cells": module.cells,
    }
    return Identity(**known | changes)


@pytest.fixture
def make_entry(hass: HomeAssistant, make_line: MakeLine) -> MakeEntry:
    """Set an entry up for modules on a line, the first round included."""

    async def make(
        url: str, *identities: Identity, options: dict[str, Any] | None = None
    ) -> MockConfigEntry:
        entry = MockConfigEntry(
            domain=DOMAIN,
            title="Garage",
            data={
                CONF_DEVICE: url,
                "family": "valence",
                "line": "mark",
                "batteries": stored(identities),
            },
            options=options or {},
        )
        entry.add_to_hass(hass)
        assert await hass.config_entries.async_setup(entry.entry_id)
        await first_round(hass, entry)
        return entry

    return make


async def first_round(hass: HomeAssistant, entry: Any) -> None:
    """Wait until the round in the background is over."""
    coordinator = entry.runtime_data
    if coordinator.last_update_success and coordinator.round_time is None:
        done = asyncio.Event()
        stop = coordinator.async_add_listener(done.set)
        await asyncio.wait_for(done.wait(), 20)
        stop()
    await hass.async_block_till_done()


async def start_flow(hass: HomeAssistant, choice: str) -> ConfigFlowResult:
    """Begin to add a bus by one choice of the first menu."""
    result = await hass.config_entries.flow.async_init(
        DOMAIN, context={"source": "user"}
    )
    assert result["type"] is FlowResultType.MENU
    return await hass.config_entries.flow.async_configure(
        result["flow_id"], {"next_step_id": choice}
    )


async def go_on(
    hass: HomeAssistant, result: ConfigFlowResult, user_input: dict[str, Any]
) -> ConfigFlowResult:
    """Answer a form and wait until no progress bar is shown any more."""
    flow = hass.config_entries.flow
    result = await flow.async_configure(result["flow_id"], user_input)
    while result["type"] in (
        FlowResultType.SHOW_PROGRESS,
        FlowResultType.SHOW_PROGRESS_DONE,
    ):
        await hass.async_block_till_done()
        result = await flow.async_configure(result["flow_id"])
    return result


def port_input(
    path: str,
    addresses: str = "1-4",
    line: str = "auto",
    *,
    family: str = "valence",
    mode: str = "auto",
) -> dict[str, Any]:
    """Return the filled-in port form."""
    return {
        "device": path,
        "family": family,
        "more": {"addresses": addresses, "line": line, "mode": mode},
    }
