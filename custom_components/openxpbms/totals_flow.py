"""The page of the options about the bank as a whole: how its sums are made."""

from __future__ import annotations

from typing import Any

from homeassistant.config_entries import ConfigFlowResult
from homeassistant.helpers.selector import BooleanSelector
import voluptuous as vol

from .bms.outputs import Joined
from .bms.shown import AMPERE_HOURS
from .const import (
    CONF_BANK,
    CONF_CAPACITY,
    CONF_FAMILY,
    CONF_JOINED,
    CONF_OUTPUTS,
    CONF_STRINGS,
    CONF_WITHOUT_SILENT,
    FAMILY_VALENCE,
)
from .forms import choice, number
from .outputs_flow import OutputsFlow
from .whole_bank import joined_of

JOINED_SELECTOR = choice(
    [joined.value for joined in Joined if joined is not Joined.SINGLE], CONF_JOINED
)


class TotalsFlow(OutputsFlow):
    """How batteries are joined, what becomes of silent ones, what one holds.

    How they are joined is kept where protection has it.
    """

    def __init__(self) -> None:
        """Begin with nothing chosen."""
        super().__init__()
        self._bank: dict[str, Any] | None = None

    @property
    def _bank_pages(self) -> list[str]:
        """The page, unless there is nothing to choose on it."""
        return ["bank"] if self._bank_fields() else []

    async def async_step_bank(
        self, user_input: dict[str, Any] | None = None
    ) -> ConfigFlowResult:
        """Ask how the sums of the bank are made."""
        if user_input is not None:
            self._bank = dict(user_input)
            if CONF_JOINED not in self._bank:
                return self._keep_bank(self.config_entry.options)
            self._new[CONF_JOINED] = self._bank.pop(CONF_JOINED)
            if self._new[CONF_JOINED] == Joined.STRINGS:
                return await self.async_step_strings()
            return await self._are_joined()
        outputs = joined_of(self.config_entry)
        shown = {
            CONF_JOINED: None if outputs is None else outputs.joined.value,
            CONF_WITHOUT_SILENT: False,
            **self.config_entry.options.get(CONF_BANK, {}),
        }
        return self._page("bank", self._bank_fields(), shown)

    def _bank_fields(self) -> dict[Any, Any]:
        fields: dict[Any, Any] = {}
        if len(self._labels) > 1:
            fields[vol.Required(CONF_JOINED)] = JOINED_SELECTOR
            fields[vol.Required(CONF_WITHOUT_SILENT)] = BooleanSelector()
        if self.config_entry.data[CONF_FAMILY] == FAMILY_VALENCE:
            fields[vol.Optional(CONF_CAPACITY)] = number(1, 2000, AMPERE_HOURS)
        return fields

    async def _are_joined(self) -> ConfigFlowResult:
        """Keep it, where the page was about the bank and not about relays."""
        if self._bank is None:
            return await super()._are_joined()
        options = self.config_entry.options
        outputs = {**options.get(CONF_OUTPUTS, {})}
        outputs.pop(CONF_STRINGS, None)
        return self._keep_bank({**options, CONF_OUTPUTS: outputs | self._new})

    def _keep_bank(self, options: Any) -> ConfigFlowResult:
        return self.async_create_entry(data={**options, CONF_BANK: self._bank})
