"""The page on which a person agrees that a pack's own MOSFETs are switched."""

from __future__ import annotations

from typing import Any

from homeassistant.config_entries import ConfigFlowResult
from homeassistant.helpers.selector import BooleanSelector, TextSelector
import voluptuous as vol

from .const import (
    CONF_BATTERIES,
    CONF_FAMILY,
    CONF_MODE,
    CONF_MOSFETS,
    FAMILY_SEPLOS,
    MODE_ASK,
)
from .forms import PagesFlow

CONF_AGREED = "agreed"
# To be typed, so that nobody agrees by a click.
WORD = "MOSFET"


class MosfetFlow(PagesFlow):
    """Off until the word is typed."""

    @property
    def _mosfet_pages(self) -> list[str]:
        """The page, for a lone pack that is asked."""
        data = self.config_entry.data
        lone = len(data[CONF_BATTERIES]) == 1
        asks = data.get(CONF_MODE, MODE_ASK) == MODE_ASK
        seplos = data[CONF_FAMILY] == FAMILY_SEPLOS
        return ["mosfets"] if lone and asks and seplos else []

    async def async_step_mosfets(
        self, user_input: dict[str, Any] | None = None
    ) -> ConfigFlowResult:
        """Ask for the word, and keep the answer."""
        errors = {}
        if user_input is not None:
            on = user_input[CONF_MOSFETS]
            if not on or user_input.get(CONF_AGREED, "").strip() == WORD:
                return self.async_create_entry(
                    data={**self.config_entry.options, CONF_MOSFETS: on}
                )
            errors[CONF_AGREED] = "not_agreed"
        fields = {
            vol.Required(CONF_MOSFETS): BooleanSelector(),
            vol.Optional(CONF_AGREED): TextSelector(),
        }
        on = self.config_entry.options.get(CONF_MOSFETS, False)
        shown = user_input or {CONF_MOSFETS: on}
        return self._page("mosfets", fields, shown, errors, {"word": WORD})
