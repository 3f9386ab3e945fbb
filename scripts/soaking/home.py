"""A real Home Assistant in this process: started, furnished, asked, stopped."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from pathlib import Path
from types import MappingProxyType
from typing import Any

from homeassistant import bootstrap
from homeassistant.config_entries import ConfigEntry, ConfigEntryState
from homeassistant.core import Context, HomeAssistant
from homeassistant.exceptions import HomeAssistantError
from homeassistant.helpers import entity_registry as er
from homeassistant.runner import RuntimeConfig

from custom_components.openxpbms.batteries import keys, stored
from custom_components.openxpbms.const import DOMAIN

from .buses import Bus


class Home:
    """The Home Assistant that runs now."""

    def __init__(self, folder: Path, buses: dict[str, Bus]) -> None:
        """Nothing runs before `start`."""
        self.folder = folder
        self.buses = buses
        self.hass: HomeAssistant
        self.relays: dict[str, Any] = {}
        # Who loads an entry anew, makes a relay fail or looks after batteries holds it.
        self.busy = asyncio.Lock()
        self._person: str | None = None

    async def start(self) -> None:
        """Start with no more integrations than are needed, and wait until it runs."""
        bootstrap.DEFAULT_INTEGRATIONS = {"input_boolean", "switch"}
        bootstrap.CRITICAL_INTEGRATIONS = set()
        names = ["charge", "valence_charge"]
        names += [
            f"connection_{t.device.address}" for t in self.buses["valence"].truths
        ]
        config = RuntimeConfig(str(self.folder), skip_pip=True, log_no_color=True)
        self.relays = dict.fromkeys(names)
        relays, core = self.relays, HomeAssistant

        class WithRelays(HomeAssistant):
            """The platform of the relays looks for them here."""

            def __init__(self, config_dir: str) -> None:
                super().__init__(config_dir)
                self.data["soak_relays"] = relays

        made: Any = vars(bootstrap)["core"]
        made.HomeAssistant = WithRelays
        try:
            hass = await bootstrap.async_setup_hass(config)
        finally:
            made.HomeAssistant = core
        assert hass is not None, "Home Assistant did not start"
        self.hass = hass
        await hass.async_start()
        if self._person is None:
            user = await hass.auth.async_create_user(
                "Somebody", group_ids=["system-admin"]
            )
            self._person = user.id

    async def stop(self) -> None:
        """Stop as it stops by itself."""
        await self.hass.async_stop()

    @property
    def person(self) -> Context:
        """The context of what a person does."""
        return Context(user_id=self._person)

    def relay_id(self, name: str) -> str:
        """Return the registry id of a relay by its name."""
        entity = self.relay_entity(name)
        entry = er.async_get(self.hass).async_get(entity)
        assert entry is not None, entity
        return entry.id

    def relay_entity(self, name: str) -> str:
        """Return the entity of a relay by its name."""
        domain = "switch" if name in self.relays else "input_boolean"
        return f"{domain}.{name}"

    async def add(self, bus: Bus, interval: float) -> None:
        """Add the entry of a bus and arm it."""
        who = stored(truth.identity for truth in bus.truths)
        outputs: dict[str, Any] = {
            "joined": "parallel",
            "charge": {"relay": self.relay_id(charge_of(bus))},
            "load": {"relay": self.relay_id(f"{bus.name}_load")},
        }
        entry: ConfigEntry[Any] = ConfigEntry(
            data={
                "device": str(bus.line.link),
                "family": bus.family,
                "line": "mark",
                "mode": "listen" if bus.name == "bank" else "ask",
                "board": 200,
                "batteries": who,
            },
            options={"interval": interval, "mode": "ask", "current_confirmed": True},
            discovery_keys=MappingProxyType({}),
            domain=DOMAIN,
            entry_id=bus.entry_id,
            minor_version=1,
            source="user",
            subentries_data=None,
            title=bus.name,
            unique_id=None,
            version=1,
        )
        if bus.family == "valence":
            outputs["connections"] = {
                key: {"relay": self.relay_id(f"connection_{address}")}
                for address, key in keys(entry).items()
            }
        options = {**entry.options, "outputs": outputs}
        object.__setattr__(entry, "options", MappingProxyType(options))
        await self.hass.config_entries.async_add(entry)
        assert entry.state is ConfigEntryState.LOADED, entry.state
        await self.call(
            "select", "select_option", f"{bus.entry_id}_protection_mode", option="armed"
        )

    def entity_id(self, domain: str, unique_id: str) -> str:
        """Return the entity of the integration that has this unique id."""
        found = er.async_get(self.hass).async_get_entity_id(domain, DOMAIN, unique_id)
        assert found is not None, unique_id
        return found

    async def call(
        self, domain: str, service: str, unique_id: str, **more: Any
    ) -> bool:
        """Do something as a person; return whether it was not refused."""
        data = {"entity_id": self.entity_id(domain, unique_id), **more}
        try:
            await self.hass.services.async_call(
                domain, service, data, blocking=True, context=self.person
            )
        except HomeAssistantError:
            return False
        return True

    def entry(self, bus: Bus) -> ConfigEntry[Any]:
        """Return the entry of a bus."""
        return self.hass.config_entries.async_get_known_entry(bus.entry_id)

    def sensors(self, bus: Bus) -> Iterable[tuple[str, int, str]]:
        """Yield entity, address and key of each enabled sensor of its batteries."""
        known = keys(self.entry(bus))
        for entry in er.async_entries_for_config_entry(
            er.async_get(self.hass), bus.entry_id
        ):
            if entry.domain != "sensor" or entry.disabled_by:
                continue
            for address, key in known.items():
                if entry.unique_id.startswith(f"{key}_"):
                    yield entry.entity_id, address, entry.unique_id[len(key) + 1 :]


def charge_of(bus: Bus) -> str:
    """Return the name of a bus's charge relay: all Seplos packs share one."""
    return "valence_charge" if bus.family == "valence" else "charge"
