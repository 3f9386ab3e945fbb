"""A bench for relays: virtual batteries, guarded buses, and switches that misbehave."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import Any

from homeassistant.components.switch import SwitchEntity
from homeassistant.core import HomeAssistant, State
from homeassistant.helpers import device_registry as dr
from homeassistant.helpers import entity_registry as er
from homeassistant.helpers import issue_registry as ir
from homeassistant.setup import async_setup_component
from pytest_homeassistant_custom_component.common import (
    MockConfigEntry,
    setup_test_component_platform,
)

from custom_components.openxpbms.batteries import keys
from custom_components.openxpbms.bms.virtual.line import VirtualLine
from custom_components.openxpbms.bms.virtual.valence import VirtualModule
from custom_components.openxpbms.const import DOMAIN
from custom_components.openxpbms.guard import KEPT, Guard
from custom_components.openxpbms.kept import Mode
from custom_components.openxpbms.relay_board import relay_board

from .conftest import MakeEntry, MakeLine, first_round, identity
from .guarding import Clock, a_person, pass_time, watched_of


class PlayedRelay(SwitchEntity):
    """A switch that plays a relay.

    `log` has what it was told, of several relays in one order: name, on or off, when.
    `stuck` it answers and does nothing, with `raises` it fails, with `hangs` its calls
    never end.
    """

    _attr_should_poll = False

    def __init__(
        self, name: str, clock: Clock, log: list[tuple[str, str, float]], *, on: bool
    ) -> None:
        self._attr_name = self._attr_unique_id = self.key = name
        self._attr_is_on = on
        self.clock = clock
        self.log = log
        self.stuck = self.raises = self.hangs = False
        self.given_up = 0

    @property
    def id(self) -> str:
        """Its registry id."""
        assert self.registry_entry is not None
        return self.registry_entry.id

    @property
    def told(self) -> list[str]:
        """What it was told so far."""
        return [what for name, what, _ in self.log if name == self.key]

    def set(self, *, on: bool | None = None, there: bool = True) -> None:
        """Switch by hand, or go away or come back."""
        if on is not None:
            self._attr_is_on = on
        self._attr_available = there
        self.async_write_ha_state()

    async def _tell(self, *, on: bool) -> None:
        self.log.append((self.key, "on" if on else "off", self.clock()))
        if self.raises:
            raise RuntimeError("the relay's integration is broken")
        if self.hangs:
            try:
                await asyncio.Event().wait()
            finally:
                self.given_up += 1
        if not self.stuck:
            self.set(on=on)

    async def async_turn_on(self, **kwargs: Any) -> None:
        await self._tell(on=True)

    async def async_turn_off(self, **kwargs: Any) -> None:
        await self._tell(on=False)


def battery(address: int, volts: float = 3.3, **values: Any) -> VirtualModule:
    """Return a module with a serial number of its own and all cells alike."""
    return VirtualModule(
        address,
        serial=f"1044004{address:02}",
        cell_voltages=[volts] * 4,
        **values,
    )


@dataclass(slots=True)
class Bench:
    """Relays, batteries, and a clock; nothing is polled but on demand."""

    hass: HomeAssistant
    make_line: MakeLine
    make_entry: MakeEntry
    clock: Clock
    log: list[tuple[str, str, float]] = field(default_factory=list)
    relays: dict[str, PlayedRelay] = field(default_factory=dict)
    lines: list[VirtualLine] = field(default_factory=list)

    async def switches(self, *names: str, on: bool = False) -> list[PlayedRelay]:
        """Return new relays; call it once."""
        found = [PlayedRelay(name, self.clock, self.log, on=on) for name in names]
        setup_test_component_platform(self.hass, "switch", found)
        config = {"switch": {"platform": "test"}}
        assert await async_setup_component(self.hass, "switch", config)
        await self.hass.async_block_till_done()
        self.relays |= {relay.key: relay for relay in found}
        return found

    def outputs(
        self, modules: list[VirtualModule], chosen: dict[str, Any]
    ) -> dict[str, Any]:
        """Return outputs as they are stored, from names of relays."""
        outputs = dict(chosen)
        details = outputs.pop("details", {})

        def relay(name: str) -> dict[str, Any]:
            return {"relay": self.relays[name].id, **details.get(name, {})}

        for use in ("charge", "load"):
            if use in outputs:
                outputs[use] = relay(outputs[use])
        key_of = {m.address: f"valence_{m.serial}" for m in modules}
        outputs["connections"] = {
            key_of[address]: relay(name)
            for address, name in outputs.get("connections", {}).items()
        }
        outputs["strings"] = {
            key_of[address]: number
            for address, number in outputs.get("strings", {}).items()
        }
        return outputs

    async def bus(
        self,
        *modules: VirtualModule,
        limits: dict[str, Any] | None = None,
        mode: Mode | None = Mode.ARMED,
        path: str | None = None,
        **outputs: Any,
    ) -> MockConfigEntry:
        """Set a bus up: `charge`, `load`, `connections` by address, and the rest."""
        if path is None:
            line = await self.make_line(*modules)
            self.lines.append(line)
            path = line.path
        entry = await self.make_entry(
            path,
            *(identity(module) for module in modules),
            options={
                "outputs": self.outputs(list(modules), outputs),
                "limits": limits or {},
            },
        )
        self.quiet(entry)
        if mode is not None:
            guard_of(entry).set_mode(mode)
            await self.hass.async_block_till_done()
        return entry

    def quiet(self, entry: MockConfigEntry) -> None:
        """Ask a bus only on demand."""
        entry.runtime_data.update_interval = None
        entry.runtime_data._async_unsub_refresh()

    async def hear(self, *entries: MockConfigEntry) -> None:
        """Ask buses now."""
        for entry in entries:
            await entry.runtime_data.async_refresh()
        await self.hass.async_block_till_done()

    async def wait(self, seconds: float) -> None:
        """Let time pass in which nothing is heard."""
        await pass_time(self.hass, self.clock, seconds)

    async def watch(
        self, seconds: float, *entries: MockConfigEntry, step: float = 5
    ) -> None:
        """Let time pass in which the buses are heard."""
        for _ in range(round(seconds / step)):
            await self.wait(step)
            await self.hear(*entries)

    async def reload(self, entry: MockConfigEntry) -> None:
        """Load an entry anew and wait for its first round."""
        assert await self.hass.config_entries.async_reload(entry.entry_id)
        await first_round(self.hass, entry)
        self.quiet(entry)

    async def restart(self, entry: MockConfigEntry) -> None:
        """Load an entry as after a restart: what is known is what was stored."""
        assert await self.hass.config_entries.async_unload(entry.entry_id)
        await self.hass.async_block_till_done()
        self.hass.data.pop(KEPT)
        relay_board(self.hass).leave(entry.entry_id)
        assert await self.hass.config_entries.async_setup(entry.entry_id)
        await first_round(self.hass, entry)
        self.quiet(entry)

    def device(
        self, entry: MockConfigEntry, address: int | None = None
    ) -> dr.DeviceEntry:
        """Return the device of a battery, of the bus where no address is given."""
        key = entry.entry_id if address is None else keys(entry)[address]
        devices = dr.async_get(self.hass)
        device = devices.async_get_device_by_identifier((DOMAIN, key), entry.entry_id)
        assert device is not None
        return device

    def entity_id(
        self, entry: MockConfigEntry, address: int, domain: str, key: str
    ) -> str:
        """Return an entity of a battery."""
        unique_id = f"{watched_of(entry, address).key}_{key}"
        found = er.async_get(self.hass).async_get_entity_id(domain, DOMAIN, unique_id)
        assert found is not None
        return found

    def state(
        self, entry: MockConfigEntry, address: int, domain: str, key: str
    ) -> State:
        """Return the state of an entity of a battery."""
        state = self.hass.states.get(self.entity_id(entry, address, domain, key))
        assert state is not None
        return state

    def connection(self, entry: MockConfigEntry, address: int = 1) -> State:
        """Return the connection switch of a battery."""
        return self.state(entry, address, "switch", "connection")

    def relay_fault(self, entry: MockConfigEntry, address: int = 1) -> bool:
        """Whether a battery tells that a relay is at fault."""
        return self.state(entry, address, "binary_sensor", "relay_fault").state == "on"

    def faults(self, entry: MockConfigEntry, address: int = 1) -> dict[str, str]:
        """Return what is told to be wrong with which relays of a battery."""
        state = self.state(entry, address, "binary_sensor", "relay_fault")
        faults: dict[str, str] = state.attributes["relays"]
        return faults

    async def reset(self, entry: MockConfigEntry, address: int = 1) -> None:
        """Reset a battery as a person."""
        await self.hass.services.async_call(
            "button",
            "press",
            {"entity_id": self.entity_id(entry, address, "button", "reset_protection")},
            blocking=True,
            context=await a_person(self.hass),
        )

    def issues(self) -> set[str]:
        """Return the kinds of open repair issues."""
        issues = ir.async_get(self.hass).issues.values()
        return {i.translation_key or "" for i in issues if i.active}

    def closed(self) -> set[str]:
        """Return the relays that are on."""
        return {name for name, relay in self.relays.items() if relay.is_on}


def guard_of(entry: MockConfigEntry) -> Guard:
    """Return the guard of a bus."""
    guard: Guard = entry.runtime_data.guard
    return guard


def set_cells(module: VirtualModule, volts: float) -> None:
    """Let all cells of a module have a voltage."""
    module.cell_voltages[:] = [volts] * module.cells
