"""The pages of the options that change a parameter of a pack.

Battery, topic and parameter are chosen, a value is given, then the change is shown and
agreed to. The write itself runs outside of the dialog, which only tells what came of
it.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from homeassistant.components.http.const import KEY_HASS_USER
from homeassistant.config_entries import ConfigEntryState, ConfigFlowResult
from homeassistant.data_entry_flow import AbortFlow
from homeassistant.exceptions import HomeAssistantError, ServiceValidationError
from homeassistant.helpers.http import current_request
from homeassistant.helpers.selector import (
    BooleanSelector,
    NumberSelector,
    NumberSelectorConfig,
    NumberSelectorMode,
    SelectOptionDict,
    SelectSelector,
    SelectSelectorConfig,
    SelectSelectorMode,
)
import voluptuous as vol

from .bms.parameter_facts import with_unit
from .bms.parameters import BY_NAME, SPA_PARAMETERS, Topic
from .bms.seplos_writes import Wish
from .bms.shown import device_name
from .const import (
    CONF_FAMILY,
    CONF_MODE,
    CONF_WRITES,
    DOMAIN,
    FAMILY_SEPLOS,
    MODE_ASK,
    MODE_LISTEN,
)
from .forms import PagesFlow, choice
from .parameter_texts import Texts

if TYPE_CHECKING:
    from collections.abc import Mapping

    from .bms.rounds import Battery
    from .bms.seplos_writes import Result
    from .coordinator import OpenXPBMSCoordinator
    from .writes import Offer, Writes

CONF_AGAIN = "again"
CONF_AGREED = "agreed"
CONF_BATTERY = "battery"
CONF_PARAMETER = "parameter"
CONF_TOPIC = "topic"
CONF_VALUE = "value"
ALLOW_LARGE_STEP = "allow_large_step"
ALLOW_TRIP = "allow_trip"
# What may be ticked once a rule has asked for it.
_ALLOWS = {
    "large_step": ALLOW_LARGE_STEP,
    "would_trip": ALLOW_TRIP,
    "trip_unknown": ALLOW_TRIP,
}


class ParameterFlow(PagesFlow):
    """From a battery to the result of a write.

    The entry may be reloaded or unloaded between any two pages, so batteries and writes
    are looked up anew on each.
    """

    def __init__(self) -> None:
        """Begin with nothing chosen."""
        super().__init__()
        self._key = ""
        self._topic = ""
        self._parameter = ""
        self._row: dict[str, Any] = {}
        self._allows: list[str] = []
        self._offer: Offer | None = None
        self._write: asyncio.Task[tuple[Offer, Result]] | None = None

    @property
    def _parameter_pages(self) -> list[str]:
        """What the first menu offers: a bank of its own master only gets a reason."""
        data = self.config_entry.data
        if data[CONF_FAMILY] != FAMILY_SEPLOS:
            return []
        if data.get(CONF_MODE, MODE_ASK) == MODE_LISTEN:
            return ["parameter"]
        return ["writes", "parameter"]

    async def async_step_writes(
        self, user_input: dict[str, Any] | None = None
    ) -> ConfigFlowResult:
        """Ask whether parameters may be written at all."""
        options = self.config_entry.options
        if user_input is not None:
            return self.async_create_entry(data={**options, **user_input})
        return self._page(
            "writes",
            {vol.Required(CONF_WRITES): BooleanSelector()},
            {CONF_WRITES: options.get(CONF_WRITES, False)},
        )

    # What is to be changed

    async def async_step_parameter(
        self, user_input: dict[str, Any] | None = None
    ) -> ConfigFlowResult:
        """Ask for the battery where there are several."""
        coordinator = self._coordinator
        names = {}
        for battery in coordinator:
            # Refused before anything is asked.
            self._check(battery)
            names[coordinator.key_of(battery)] = coordinator.writes.name_of(battery)
        if not names:
            raise AbortFlow("no_battery")
        if user_input is not None or len(names) == 1:
            self._key = user_input[CONF_BATTERY] if user_input else next(iter(names))
            return await self.async_step_topic()
        batteries = SelectSelector(
            SelectSelectorConfig(
                options=[SelectOptionDict(value=k, label=v) for k, v in names.items()],
                mode=SelectSelectorMode.LIST,
            )
        )
        return self._page("parameter", {vol.Required(CONF_BATTERY): batteries}, None)

    async def async_step_topic(
        self, user_input: dict[str, Any] | None = None
    ) -> ConfigFlowResult:
        """Ask what the parameter is about."""
        if user_input is not None:
            self._topic = user_input[CONF_TOPIC]
            return await self.async_step_choose()
        topics = choice([topic.value for topic in Topic], "parameter_topic")
        fields = {vol.Required(CONF_TOPIC): topics}
        return self._page("topic", fields, None, told={"battery": self._name})

    async def async_step_choose(
        self, user_input: dict[str, Any] | None = None
    ) -> ConfigFlowResult:
        """Ask for one of the parameters that may be written."""
        if user_input is not None:
            self._parameter = user_input[CONF_PARAMETER]
            return await self.async_step_value()
        names = [
            p.name for p in SPA_PARAMETERS if p.writable and p.topic == self._topic
        ]
        fields = {vol.Required(CONF_PARAMETER): choice(names, CONF_PARAMETER)}
        return self._page("choose", fields, None, told={"battery": self._name})

    async def async_step_value(
        self, user_input: dict[str, Any] | None = None
    ) -> ConfigFlowResult:
        """Show a parameter as it is now and ask for its new value."""
        errors: dict[str, str] = {}
        details: Mapping[str, str] = {}
        if user_input is not None:
            battery, user = self._battery, self._user
            wish = Wish(name=self._parameter, **user_input)
            try:
                self._offer = await self._writes.prepare(battery, wish, user)
            except HomeAssistantError as err:
                key, details = _reason(err)
                wrong = isinstance(err, ServiceValidationError)
                errors[CONF_VALUE if wrong else "base"] = key
                self._ask_to_allow(key)
            else:
                return await self.async_step_agree()
        texts = await Texts.load(self.hass)
        await self._read(texts)
        told = {
            "battery": self._name,
            "name": texts.label(self._parameter),
            "meaning": texts.option("parameter_meaning", self._parameter),
            "present": self._shown(self._row["value"]),
            "lowest": self._shown(self._row["low"]),
            "highest": self._shown(self._row["high"]),
            **texts.spoken(details),
        }
        fields: dict[Any, Any] = {vol.Required(CONF_VALUE): self._number}
        for name in self._allows:
            fields[vol.Required(name, default=False)] = BooleanSelector()
        begin = {CONF_VALUE: self._row["value"]}
        return self._page("value", fields, user_input or begin, errors, told)

    def _ask_to_allow(self, reason: str) -> None:
        allow = _ALLOWS.get(reason)
        if allow is not None and allow not in self._allows:
            self._allows.append(allow)

    async def _read(self, texts: Texts) -> None:
        """Read the parameter as it is now; what was read before is better than nothing.

        So what was typed is not lost with one answer.
        """
        battery = self._battery
        try:
            rows = await self._writes.parameters(battery)
        except HomeAssistantError as err:
            if not self._row:
                key, details = _reason(err)
                told = {"battery": self._name, "why": texts.error(key, details)}
                raise AbortFlow("not_read", told) from err
            return
        self._row = next(row for row in rows if row["name"] == self._parameter)

    # What is agreed to

    async def async_step_agree(
        self, user_input: dict[str, Any] | None = None
    ) -> ConfigFlowResult:
        """State the change in words, and ask for it once more."""
        offer = self._offer
        assert offer is not None
        change = offer.prepared.change
        errors: dict[str, str] = {}
        if user_input is not None:
            if user_input.get(CONF_AGAIN) != change.new:
                errors[CONF_AGAIN] = "not_the_same"
            if not user_input[CONF_AGREED]:
                errors[CONF_AGREED] = "not_agreed"
            if not errors:
                self._write = self.hass.async_create_task(
                    self._writes.confirm(offer.code, self._user), f"{DOMAIN} dialog"
                )
                return await self.async_step_write()
        texts = await Texts.load(self.hass)
        told = {
            **self._told(texts, offer),
            "meaning": texts.option("parameter_meaning", change.name),
            "cautions": texts.cautions(change.cautions),
            "frame": offer.prepared.frame.hex(" "),
        }
        fields = {
            # A box that must be filled in would show 0 before it is.
            vol.Optional(CONF_AGAIN): self._number,
            vol.Required(CONF_AGREED, default=False): BooleanSelector(),
        }
        return self._page("agree", fields, user_input, errors, told)

    async def async_step_write(
        self, user_input: dict[str, Any] | None = None
    ) -> ConfigFlowResult:
        """Show that it is being written."""
        assert self._write is not None
        assert self._offer is not None
        if self._write.done():
            return self.async_show_progress_done(next_step_id="written")
        texts = await Texts.load(self.hass)
        return self.async_show_progress(
            step_id="write",
            progress_action="write",
            progress_task=self._write,
            description_placeholders=self._told(texts, self._offer),
        )

    async def async_step_written(
        self, user_input: dict[str, Any] | None = None
    ) -> ConfigFlowResult:
        """Say what came of it."""
        assert self._write is not None
        try:
            offer, result = self._write.result()
        except HomeAssistantError as err:
            reason, details = _reason(err)
            return self.async_abort(reason=reason, description_placeholders=details)
        texts = await Texts.load(self.hass)
        told = self._told(texts, offer)
        seen = "" if result.seen is None else self._shown(result.seen)
        return self.async_abort(
            reason=f"write_{result.outcome}",
            description_placeholders={
                **told,
                "seen": seen,
                "why": texts.why(result, told["battery"]),
                "others": texts.others(result),
                "write": offer.write,
            },
        )

    # What all pages need

    @property
    def _coordinator(self) -> OpenXPBMSCoordinator:
        entry = self.config_entry
        if entry.state is not ConfigEntryState.LOADED:
            raise AbortFlow("not_loaded")
        coordinator: OpenXPBMSCoordinator = entry.runtime_data
        return coordinator

    @property
    def _writes(self) -> Writes:
        return self._coordinator.writes

    @property
    def _battery(self) -> Battery:
        """The battery that was chosen, if it may be written into."""
        coordinator = self._coordinator
        for battery in coordinator:
            if coordinator.key_of(battery) == self._key:
                self._check(battery)
                return battery
        raise AbortFlow("battery_gone")

    def _check(self, battery: Battery) -> None:
        try:
            self._writes.check_allowed(battery)
        except ServiceValidationError as err:
            raise AbortFlow(*_reason(err)) from err

    @property
    def _name(self) -> str:
        return self._writes.name_of(self._battery)

    @property
    def _user(self) -> str:
        """The one whose request is being handled: whoever answers a page, in person."""
        request = current_request.get()
        user = None if request is None else request.get(KEY_HASS_USER)
        if user is None:
            raise AbortFlow("write_needs_person")
        user_id: str = user.id
        return user_id

    @property
    def _number(self) -> NumberSelector:
        """A box for any number: what may be is for the rules to say."""
        field = BY_NAME[self._parameter].field
        config = NumberSelectorConfig(
            mode=NumberSelectorMode.BOX, step=1 / field.divisor
        )
        if field.unit:
            config["unit_of_measurement"] = field.unit
        return NumberSelector(config)

    def _shown(self, value: float) -> str:
        return with_unit(self._parameter, value)

    def _told(self, texts: Texts, offer: Offer) -> dict[str, str]:
        """What every page of a change names; its battery may have gone meanwhile."""
        change = offer.prepared.change
        return {
            "battery": device_name(FAMILY_SEPLOS, offer.battery.identity),
            "name": texts.label(change.name),
            "old": self._shown(change.old),
            "new": self._shown(change.new),
        }


def _reason(err: HomeAssistantError) -> tuple[str, dict[str, str]]:
    """Return the key of an error of this integration, and its details."""
    assert err.translation_key is not None
    return err.translation_key, err.translation_placeholders or {}
