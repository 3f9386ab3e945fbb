"""What tests of protection share: a guarded bus with relays, and time that jumps."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
import time
from typing import Any
from unittest.mock import patch

from homeassistant.core import Context, HomeAssistant
from homeassistant.helpers import entity_registry as er
from homeassistant.setup import async_setup_component
from homeassistant.util import dt as dt_util
from pytest_homeassistant_custom_component.common import async_fire_time_changed

from custom_components.openxpbms.guard import Guard, Watched


class Clock:
    """The clock that protection sees, some seconds ahead of the real one."""

    def __init__(self) -> None:
        self.ahead = 0.0

    def __call__(self) -> float:
        return time.monotonic() + self.ahead


@contextmanager
def jumping_clock() -> Iterator[Clock]:
    """Let protection's clock be put forward."""
    clock = Clock()
    with (
        patch("custom_components.openxpbms.guard.monotonic", clock),
        patch("custom_components.openxpbms.relay_board.monotonic", clock),
    ):
        yield clock


async def pass_time(hass: HomeAssistant, clock: Clock, seconds: float) -> None:
    """Let seconds pass for protection and for Home Assistant's timers."""
    clock.ahead += seconds
    async_fire_time_changed(hass, dt_util.utcnow() + timedelta(seconds=clock.ahead))
    await hass.async_block_till_done()


async def make_relays(hass: HomeAssistant, *names: str, on: bool = False) -> list[str]:
    """Return the registry ids of input booleans that play relays."""
    config = {name: {"initial": on} for name in names}
    assert await async_setup_component(hass, "input_boolean", {"input_boolean": config})
    await hass.async_block_till_done()
    registry = er.async_get(hass)
    found = [registry.async_get(f"input_boolean.{name}") for name in names]
    return [entry.id for entry in found if entry is not None]


def relay_is_on(hass: HomeAssistant, name: str) -> bool:
    """Whether a relay is on."""
    return hass.states.is_state(f"input_boolean.{name}", "on")


def watched_of(entry: Any, address: int) -> Watched:
    """Return a battery under guard by its address."""
    guard: Guard = entry.runtime_data.guard
    return next(w for w in guard if w.address == address)


async def a_person(hass: HomeAssistant) -> Context:
    """Return the context of what a user does."""
    user = await hass.auth.async_create_user("Somebody", group_ids=["system-admin"])
    return Context(user_id=user.id)


async def switch(
    hass: HomeAssistant, entity_id: str, *, on: bool = True, person: bool = True
) -> None:
    """Turn something on or off as a person, or as an automation, would."""
    context = await a_person(hass) if person else None
    await hass.services.async_call(
        entity_id.partition(".")[0],
        "turn_on" if on else "turn_off",
        {"entity_id": entity_id},
        blocking=True,
        context=context,
    )


async def choose(hass: HomeAssistant, entity_id: str, option: str) -> None:
    """Choose an option of a select."""
    await hass.services.async_call(
        "select",
        "select_option",
        {"entity_id": entity_id, "option": option},
        blocking=True,
    )


async def refresh(hass: HomeAssistant, entry: Any, rounds: int = 1) -> None:
    """Let the bus be asked now."""
    for _ in range(rounds):
        await entry.runtime_data.async_refresh()
    await hass.async_block_till_done()


async def watch(hass: HomeAssistant, entry: Any, clock: Clock, seconds: float) -> None:
    """Let seconds pass in which the bus is asked often enough to be heard."""
    for _ in range(round(seconds / 10)):
        await pass_time(hass, clock, 10)
        await refresh(hass, entry)


def calls_of(hass: HomeAssistant) -> list[tuple[str, str]]:
    """Return a list that grows with every switching of a relay."""
    seen: list[tuple[str, str]] = []

    def note(event: Any) -> None:
        data = event.data
        if data["domain"] == "input_boolean":
            seen.append((data["service"], data["service_data"]["entity_id"]))

    hass.bus.async_listen("call_service", note)
    return seen
