"""The pages of the options about relays: what protection may switch, and how."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from enum import StrEnum
from typing import Any

from homeassistant.config_entries import ConfigFlowResult
from homeassistant.const import UnitOfTime
from homeassistant.helpers import entity_registry as er
from homeassistant.helpers.selector import (
    BooleanSelector,
    EntitySelector,
    EntitySelectorConfig,
    SelectOptionDict,
    SelectSelector,
    SelectSelectorConfig,
    SelectSelectorMode,
)
import voluptuous as vol

from .batteries import identities, keys
from .bms.outputs import Joined
from .const import (
    CONF_AT_ONCE,
    CONF_CHARGE,
    CONF_COLD_DISCONNECTS,
    CONF_CONNECTIONS,
    CONF_DELAY,
    CONF_HEARTBEAT,
    CONF_INVERTED,
    CONF_JOINED,
    CONF_LEAVE,
    CONF_LOAD,
    CONF_OUTPUTS,
    CONF_RELAY,
    CONF_STRINGS,
    CONF_TARGET,
    CONF_WINDOW,
    DOMAIN,
)
from .forms import PagesFlow, choice, number
from .guard_options import Hands, Heartbeat, Relay, hands_of
from .words import identity_label

CONF_WITH_CONNECTION = "with_connection"
MAX_STRINGS = 8
# Of a cell.
MILLIVOLT = "mV"
_SHARED = (CONF_CHARGE, CONF_LOAD)
_JOINING = (CONF_JOINED, CONF_STRINGS)
# What is stored as it is typed.
_PLAIN = (CONF_AT_ONCE, CONF_COLD_DISCONNECTS, CONF_LEAVE, CONF_DELAY)
RELAY_SELECTOR = EntitySelector(
    EntitySelectorConfig(domain=["switch", "input_boolean"])
)
TARGET_SELECTOR = EntitySelector(
    EntitySelectorConfig(domain=["button", "input_button", "script"])
)


class OutputsFlow(PagesFlow):
    """How batteries are joined, which relays there are, then one page for each.

    Nothing is kept before the last page.
    """

    def __init__(self) -> None:
        """Begin with nothing chosen."""
        self._new: dict[str, Any] = {}
        # Registry ids, by what they are used for and by the key of their battery.
        self._shared: dict[str, str] = {}
        self._connections: dict[str, str] = {}
        # Keys of batteries whose connection relay is still to be asked.
        self._left: list[str] = []
        self._relays: dict[str, Relay] = {}

    async def async_step_outputs(
        self, user_input: dict[str, Any] | None = None
    ) -> ConfigFlowResult:
        """Ask how the batteries are joined."""
        alone = len(self._labels) == 1
        errors = {}
        shown = user_input
        if user_input is not None:
            joined = user_input[CONF_JOINED]
            if joined != Joined.SINGLE or alone:
                self._new[CONF_JOINED] = joined
                if joined == Joined.STRINGS:
                    return await self.async_step_strings()
                return await self._are_joined()
            errors[CONF_JOINED] = "not_single"
        elif alone or CONF_JOINED in self.config_entry.options.get(CONF_OUTPUTS, {}):
            shown = {CONF_JOINED: self._old.outputs.joined.value}
        fields = {vol.Required(CONF_JOINED): _values(Joined, CONF_JOINED)}
        return self._page("outputs", fields, shown, errors)

    async def async_step_strings(
        self, user_input: dict[str, Any] | None = None
    ) -> ConfigFlowResult:
        """Ask which battery belongs to which string."""
        labels = self._labels
        names = {f"string_{n}": n for n in range(1, len(labels) + 1)[:MAX_STRINGS]}
        errors, told = {}, {}
        if user_input is not None:
            chosen = [(key, n) for name, n in names.items() for key in user_input[name]]
            given = [key for key, _ in chosen]
            wrong = next((key for key in labels if given.count(key) != 1), None)
            if wrong is None:
                self._new[CONF_STRINGS] = dict(chosen)
                return await self._are_joined()
            errors["base"] = "in_two_strings" if wrong in given else "in_no_string"
            told["battery"] = labels[wrong]
        old = self._by_key(self._old.outputs.strings)
        shown = user_input or {
            name: [key for key, number in old.items() if number == n]
            for name, n in names.items()
        }
        selector = self._battery_selector()
        fields = {vol.Optional(name, default=[]): selector for name in names}
        return self._page("strings", fields, shown, errors, told)

    async def _are_joined(self) -> ConfigFlowResult:
        """Go on where it is known how the batteries are joined."""
        return await self.async_step_shared()

    async def async_step_shared(
        self, user_input: dict[str, Any] | None = None
    ) -> ConfigFlowResult:
        """Ask for the relays of the whole bus, and how relays are used."""
        errors: dict[str, str] = {}
        if user_input is not None:
            chosen = {n: user_input[n] for n in _SHARED if n in user_input}
            errors = self._unfit(chosen)
            if not errors:
                self._shared = {n: self._id(entity) for n, entity in chosen.items()}
                self._left = user_input[CONF_WITH_CONNECTION]
                self._new |= {name: user_input[name] for name in _PLAIN}
                self._new[CONF_WINDOW] = user_input[CONF_WINDOW] / 1000
                return await self._go_on()
        fields = {
            vol.Optional(CONF_CHARGE): RELAY_SELECTOR,
            vol.Optional(CONF_LOAD): RELAY_SELECTOR,
            vol.Optional(CONF_WITH_CONNECTION, default=[]): self._battery_selector(),
            vol.Required(CONF_AT_ONCE): BooleanSelector(),
            vol.Required(CONF_COLD_DISCONNECTS): BooleanSelector(),
            vol.Required(CONF_LEAVE): BooleanSelector(),
            vol.Required(CONF_DELAY): number(0, 10, UnitOfTime.SECONDS, 0.1),
            vol.Required(CONF_WINDOW): number(1, 500, MILLIVOLT),
        }
        return self._page("shared", fields, user_input or self._old_shared(), errors)

    async def async_step_connection(
        self, user_input: dict[str, Any] | None = None
    ) -> ConfigFlowResult:
        """Ask for the relay that connects one battery."""
        errors: dict[str, str] = {}
        key = self._left[0]
        if user_input is not None:
            errors = self._unfit(user_input)
            if not errors:
                relay = self._id(user_input[CONF_RELAY])
                if relay not in self._shared.values():
                    self._connections[key] = relay
                    self._left = self._left[1:]
                    return await self._go_on()
                errors[CONF_RELAY] = "also_shared"
        old = self._by_key(self._old.outputs.connections)
        return self._page(
            "connection",
            {vol.Required(CONF_RELAY): RELAY_SELECTOR},
            user_input or self._entity(CONF_RELAY, old.get(key)),
            errors,
            {"battery": self._labels[key]},
        )

    async def async_step_relay(
        self, user_input: dict[str, Any] | None = None
    ) -> ConfigFlowResult:
        """Ask how one relay works."""
        errors: dict[str, str] = {}
        name = self._undescribed[0]
        bus, elsewhere = self._elsewhere(name)
        if user_input is not None:
            errors = self._refusals(user_input)
            if not errors:
                relay = self._described(name, user_input)
                if elsewhere in (None, relay):
                    self._relays[name] = relay
                    return await self._go_on()
                errors["base"] = "other_bus"
        old = elsewhere or self._old.relays.get(name) or Relay(entity=name)
        fields = {
            vol.Required(CONF_INVERTED): BooleanSelector(),
            vol.Required(CONF_HEARTBEAT): _values(Heartbeat, CONF_HEARTBEAT),
            vol.Optional(CONF_TARGET): TARGET_SELECTOR,
        }
        shown = user_input or {
            CONF_INVERTED: old.inverted,
            CONF_HEARTBEAT: old.heartbeat.value,
            **self._entity(CONF_TARGET, old.target),
        }
        entity_id = self._entity(CONF_RELAY, name).get(CONF_RELAY, name)
        told = {"relay": entity_id, "bus": bus}
        return self._page("relay", fields, shown, errors, told)

    async def _go_on(self) -> ConfigFlowResult:
        """Ask how each relay works as soon as it is known, then for the next one."""
        if self._undescribed:
            return await self.async_step_relay()
        if self._left:
            return await self.async_step_connection()
        options = {**self.config_entry.options}
        options.pop(CONF_OUTPUTS, None)
        if self._relays:
            relays = {name: _stored(relay) for name, relay in self._relays.items()}
            options[CONF_OUTPUTS] = {
                **self._new,
                **{use: relays[name] for use, name in self._shared.items()},
                CONF_CONNECTIONS: {
                    key: relays[name] for key, name in self._connections.items()
                },
            }
        elif self._new[CONF_JOINED] != Joined.SINGLE:
            # The sums of the bank want to know it, too.
            options[CONF_OUTPUTS] = {
                name: self._new[name] for name in _JOINING if name in self._new
            }
        return self.async_create_entry(data=options)

    @property
    def _undescribed(self) -> list[str]:
        """Relays of which is not known how they work; each is asked for once."""
        used = [*self._shared.values(), *self._connections.values()]
        return [name for name in used if name not in self._relays]

    # What is known before anything is asked

    @property
    def _old(self) -> Hands:
        return hands_of(self.config_entry)

    @property
    def _labels(self) -> dict[str, str]:
        """What batteries are called here, by key."""
        known = {
            i.address: identity_label(i) for i in identities(self.config_entry.data)
        }
        return self._by_key(known)

    def _by_key[T](self, values: Mapping[int, T]) -> dict[str, T]:
        key_of = keys(self.config_entry)
        return {key_of[address]: value for address, value in values.items()}

    def _old_shared(self) -> dict[str, Any]:
        old = self._old
        return {
            **self._entity(CONF_CHARGE, old.outputs.charge),
            **self._entity(CONF_LOAD, old.outputs.load),
            CONF_WITH_CONNECTION: list(self._by_key(old.outputs.connections)),
            CONF_AT_ONCE: old.outputs.at_once,
            CONF_COLD_DISCONNECTS: old.outputs.cold_disconnects,
            CONF_LEAVE: old.leave,
            CONF_DELAY: old.outputs.delay,
            CONF_WINDOW: round(1000 * old.outputs.window),
        }

    def _elsewhere(self, name: str) -> tuple[str, Relay | None]:
        """Return another bus that uses a relay, too, and how it works there."""
        for entry in self.hass.config_entries.async_entries(DOMAIN):
            relay = hands_of(entry).relays.get(name)
            if relay is not None and entry is not self.config_entry:
                return entry.title, relay
        return "", None

    # Entities, which are followed by their registry ids

    def _id(self, entity_id: str) -> str:
        found = er.async_get(self.hass).async_get(entity_id)
        assert found is not None
        return found.id

    def _entity(self, field: str, name: str | None) -> dict[str, str]:
        """Return a field with the entity that has a registry id, if there still is."""
        found = er.async_get(self.hass).entities.get_entry(name or "")
        return {} if found is None else {field: found.entity_id}

    def _unfit(self, chosen: Mapping[str, str]) -> dict[str, str]:
        """Return what is wrong with entities, by field."""
        errors: dict[str, str] = {}
        for field, entity_id in chosen.items():
            found = er.async_get(self.hass).async_get(entity_id)
            if found is None:
                errors[field] = "no_unique_id"
            elif found.platform == DOMAIN:
                errors[field] = "own_entity"
        return errors

    def _refusals(self, details: Mapping[str, Any]) -> dict[str, str]:
        """Return what is wrong with how a relay is said to work, by field."""
        heartbeat = details[CONF_HEARTBEAT]
        if heartbeat != Heartbeat.OFF and details[CONF_INVERTED]:
            return {CONF_HEARTBEAT: "inverted_heartbeat"}
        if heartbeat != Heartbeat.ENTITY:
            return {}
        if CONF_TARGET not in details:
            return {CONF_TARGET: "no_target"}
        return self._unfit({CONF_TARGET: details[CONF_TARGET]})

    def _described(self, name: str, details: Mapping[str, Any]) -> Relay:
        heartbeat = Heartbeat(details[CONF_HEARTBEAT])
        beats = heartbeat is Heartbeat.ENTITY
        return Relay(
            entity=name,
            inverted=details[CONF_INVERTED],
            heartbeat=heartbeat,
            target=self._id(details[CONF_TARGET]) if beats else None,
        )

    # Forms

    def _battery_selector(self) -> SelectSelector:
        options = [SelectOptionDict(value=k, label=v) for k, v in self._labels.items()]
        return SelectSelector(
            SelectSelectorConfig(
                options=options, multiple=True, mode=SelectSelectorMode.LIST
            )
        )


def _values(names: Iterable[StrEnum], translation_key: str) -> SelectSelector:
    return choice([name.value for name in names], translation_key)


def _stored(relay: Relay) -> dict[str, Any]:
    stored: dict[str, Any] = {
        CONF_RELAY: relay.entity,
        CONF_INVERTED: relay.inverted,
        CONF_HEARTBEAT: relay.heartbeat.value,
    }
    return stored if relay.target is None else stored | {CONF_TARGET: relay.target}
