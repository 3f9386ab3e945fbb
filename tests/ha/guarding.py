"""What tests of protection share: a guarded bus with relays, and time that jumps."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
import time
from typing import Any
from unittest.mock import patch

from homeassistant.core import (
    Context,
    Event,
    EventStateChangedData,
    HomeAssistant,
    State,
    callback,
)
from homeassistant.helpers import entity_registry as er
from homeassistant.helpers.event import async_track_state_change_event
from homeassistant.setup import async_setup_component
from homeassistant.util import dt as dt_util
from pytest_homeassistant_custom_component.common import (
    MockConfigEntry,
    async_fire_time_changed,
)

from custom_components.openxpbms.batteries import stored
from custom_components.openxpbms.bms.reading import Identity
from custom_components.openxpbms.bms.virtual.seplos import VirtualPack
from custom_components.openxpbms.bms.virtual.valence import VirtualModule
from custom_components.openxpbms.const import DOMAIN
from custom_components.openxpbms.guard import Guard, Watched
from custom_components.openxpbms.protection_sensor import FOUND

from .conftest import MakeLine, first_round, identity

type Device = VirtualModule | VirtualPack

RELAY = "input_boolean"
# For batteries that do not answer, ms.
IMPATIENT = {"answer_timeout": 200}


class Clock:
    """The clock that protection sees, some seconds ahead of the real one.

    A `frozen` one stands still in between, so that a slow machine changes nothing.
    """

    def __init__(self, *, frozen: bool = False) -> None:
        self.ahead = 0.0
        self._frozen = time.monotonic() if frozen else None

    def __call__(self) -> float:
        now = time.monotonic() if self._frozen is None else self._frozen
        return now + self.ahead


@contextmanager
def jumping_clock(*, frozen: bool = False) -> Iterator[Clock]:
    """Let protection's clock be put forward."""
    clock = Clock(frozen=frozen)
    with (
        patch("custom_components.openxpbms.guard.monotonic", clock),
        patch("custom_components.openxpbms.relay_board.monotonic", clock),
        patch("custom_components.openxpbms.trip_test.monotonic", clock),
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


@dataclass
class Guarded:
    """One armed battery behind relays, polled only when a test says so.

    `key` is what its unique ids begin with, `events` what its event entity told.
    """

    hass: HomeAssistant
    entry: MockConfigEntry
    clock: Clock
    key: str
    events: list[dict[str, Any]] = field(default_factory=list)

    def entity_id(self, key: str, domain: str = "binary_sensor") -> str:
        """Return the entity of the battery that has this key."""
        return self._entity_id(domain, f"{self.key}_{key}")

    def _entity_id(self, domain: str, unique_id: str) -> str:
        registry = er.async_get(self.hass)
        entity_id = registry.async_get_entity_id(domain, DOMAIN, unique_id)
        assert entity_id is not None, unique_id
        return entity_id

    def state(self, key: str, domain: str = "binary_sensor") -> State:
        """Return the state of an entity of the battery."""
        state = self.hass.states.get(self.entity_id(key, domain))
        assert state is not None, key
        return state

    def bus_state(self, key: str, domain: str = "binary_sensor") -> State:
        """Return the state of an entity of the bus."""
        entity_id = self._entity_id(domain, f"{self.entry.entry_id}_{key}")
        state = self.hass.states.get(entity_id)
        assert state is not None, key
        return state

    @property
    def found(self) -> set[str]:
        """The alarms that are on; those of the bus must say the same."""
        mine, of_bus = (
            {
                found.key
                for found in FOUND
                if self.hass.states.is_state(
                    self._entity_id("binary_sensor", f"{whose}_{found.key}"), "on"
                )
            }
            for whose in (self.key, self.entry.entry_id)
        )
        assert mine == of_bus
        return mine

    @property
    def allowed(self) -> set[str]:
        """What the battery may do: charge, discharge."""
        ways = ("charge", "discharge")
        return {way for way in ways if self.state(f"{way}_allowed").state == "on"}

    @property
    def open_relays(self) -> set[str]:
        """The relays that are not on."""
        names = [state.object_id for state in self.hass.states.async_all(RELAY)]
        return {name for name in names if not relay_is_on(self.hass, name)}

    async def refresh(self, rounds: int = 1) -> None:
        """Let the bus be asked now."""
        await refresh(self.hass, self.entry, rounds)

    async def wait(self, seconds: float) -> None:
        """Let time pass in which nothing is heard."""
        await pass_time(self.hass, self.clock, seconds)

    async def stay(self, seconds: float) -> None:
        """Let time pass in which the bus is heard often enough."""
        while seconds > 0:
            step = min(seconds, 10.0)
            await self.wait(step)
            await self.refresh()
            seconds -= step

    async def press_reset(self, *, person: bool = True) -> None:
        """Press the battery's button."""
        await self.hass.services.async_call(
            "button",
            "press",
            {"entity_id": self.entity_id("reset_protection", "button")},
            blocking=True,
            context=await a_person(self.hass) if person else None,
        )
        await self.hass.async_block_till_done()

    async def connect(self, *, on: bool = True, person: bool = True) -> None:
        """Turn the battery's connection on or off."""
        entity_id = self.entity_id("connection", "switch")
        await switch(self.hass, entity_id, on=on, person=person)
        await self.hass.async_block_till_done()

    async def choose(self, key: str, option: str) -> None:
        """Choose an option of the bus."""
        await choose(self.hass, self.bus_state(key, "select").entity_id, option)
        await self.hass.async_block_till_done()

    def listen(self) -> None:
        """Note what the event entity tells from now on."""

        def note(event: Event[EventStateChangedData]) -> None:
            state = event.data["new_state"]
            if state is not None and state.attributes.get("event_type"):
                told = dict(state.attributes)
                del told["event_types"], told["friendly_name"]
                self.events.append(told)

        entity_id = self.entity_id("protection_event", "event")
        async_track_state_change_event(self.hass, entity_id, callback(note))


async def guard(
    hass: HomeAssistant,
    clock: Clock,
    url: str,
    *identities: Identity,
    family: str = "valence",
    relays: Iterable[str] = ("charge", "load", "connection"),
    options: dict[str, Any] | None = None,
    mode: str = "armed",
    closed: bool = False,
    **outputs: Any,
) -> Guarded:
    """Guard a bus and return its first battery, heard where it answers.

    Of `relays`, which are `closed` before or not, the last opens that battery alone.
    `options` are those of the entry, `outputs` those of its outputs.
    """
    names = list(relays)
    ids = dict(zip(names, await make_relays(hass, *names, on=closed), strict=True))
    key = f"{family}_{identities[0].serial}"
    chosen: dict[str, Any] = {
        name: {"relay": ids[name]} for name in ("charge", "load") if name in ids
    }
    if "connection" in ids:
        chosen["connections"] = {key: {"relay": ids["connection"]}}
    entry = MockConfigEntry(
        domain=DOMAIN,
        title="Garage",
        data={
            "device": url,
            "family": family,
            "line": "mark",
            "mode": "ask",
            "batteries": stored(identities),
        },
        options={
            # Nobody is silent because this machine is slow.
            "answer_timeout": 2000,
            "outputs": {"joined": "single"} | chosen | outputs,
            **(options or {}),
        },
        pref_disable_polling=True,
    )
    entry.add_to_hass(hass)
    assert await hass.config_entries.async_setup(entry.entry_id)
    await first_round(hass, entry)
    # On a slow machine a module may be asked before it is awake.
    for _ in range(5):
        if all(watched.decision.fresh for watched in entry.runtime_data.guard):
            break
        await refresh(hass, entry)
    guarded = Guarded(hass, entry, clock, key)
    guarded.listen()
    await guarded.choose("protection_mode", mode)
    return guarded


async def guard_device(
    hass: HomeAssistant, make_line: MakeLine, clock: Clock, device: Device, **how: Any
) -> Guarded:
    """Guard one device, on a line of its own, with all three relays."""
    line = await make_line(device)
    if isinstance(device, VirtualPack):
        who = pack_identity(device)
        return await guard(hass, clock, line.path, who, family="seplos", **how)
    return await guard(hass, clock, line.path, identity(device), **how)


def pack_identity(pack: VirtualPack) -> Identity:
    """Return what a search would tell of a pack."""
    return Identity(
        address=pack.address,
        serial=pack.serial,
        model=pack.device,
        model_code=pack.device,
        firmware="1.5",
        cells=pack.cells,
        sensors=pack.sensors,
        board=pack.board,
    )


def limit(quantity: str, **figures: float) -> dict[str, Any]:
    """Return options with other limits of one quantity."""
    return {"limits": {"quantities": {quantity: figures}}}
