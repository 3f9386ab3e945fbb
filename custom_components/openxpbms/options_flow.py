"""What a user may prefer otherwise, for a bus that is set up."""

from __future__ import annotations

from typing import Any

from homeassistant.config_entries import ConfigFlowResult, OptionsFlowWithReload
from homeassistant.const import CONF_DEVICE, UnitOfTime
from homeassistant.data_entry_flow import section
from homeassistant.helpers.selector import (
    BooleanSelector,
    NumberSelector,
    NumberSelectorConfig,
    NumberSelectorMode,
    SelectSelector,
    SelectSelectorConfig,
    SelectSelectorMode,
)
import voluptuous as vol

from .bms.valence import LineMode
from .const import (
    CONF_ANSWER_TIMEOUT,
    CONF_CURRENT_CONFIRMED,
    CONF_INTERVAL,
    CONF_INVERT_CURRENT,
    CONF_LINE,
    CONF_TIMING,
    CONF_TURNAROUND,
    DEFAULT_INTERVAL,
    LINE_AUTO,
    MAX_INTERVAL,
    MIN_INTERVAL,
)
from .coordinator import make_timing

LINE_SELECTOR = SelectSelector(
    SelectSelectorConfig(
        options=[LINE_AUTO, *(mode.value for mode in LineMode)],
        translation_key=CONF_LINE,
        mode=SelectSelectorMode.DROPDOWN,
    )
)


def _number(low: int, high: int, unit: str) -> NumberSelector:
    return NumberSelector(
        NumberSelectorConfig(
            min=low,
            max=high,
            step=1,
            unit_of_measurement=unit,
            mode=NumberSelectorMode.BOX,
        )
    )


class OpenXPBMSOptionsFlow(OptionsFlowWithReload):
    """One page: pace, current, and the line for those who need it."""

    async def async_step_init(
        self, user_input: dict[str, Any] | None = None
    ) -> ConfigFlowResult:
        """Show the options and keep them."""
        if user_input is not None:
            timing = user_input.pop(CONF_TIMING)
            return self.async_create_entry(data=user_input | timing)
        options = self.config_entry.options
        timing = make_timing(self.config_entry.data[CONF_DEVICE], options)
        return self.async_show_form(
            step_id="init",
            data_schema=vol.Schema(
                {
                    vol.Required(
                        CONF_INTERVAL,
                        default=options.get(CONF_INTERVAL, DEFAULT_INTERVAL),
                    ): _number(MIN_INTERVAL, MAX_INTERVAL, UnitOfTime.SECONDS),
                    vol.Required(
                        CONF_INVERT_CURRENT,
                        default=options.get(CONF_INVERT_CURRENT, False),
                    ): BooleanSelector(),
                    vol.Required(
                        CONF_CURRENT_CONFIRMED,
                        default=options.get(CONF_CURRENT_CONFIRMED, False),
                    ): BooleanSelector(),
                    vol.Required(CONF_TIMING): section(
                        vol.Schema(
                            {
                                vol.Required(
                                    CONF_LINE, default=options.get(CONF_LINE, LINE_AUTO)
                                ): LINE_SELECTOR,
                                vol.Required(
                                    CONF_ANSWER_TIMEOUT,
                                    default=round(1000 * timing.answer),
                                ): _number(30, 5000, UnitOfTime.MILLISECONDS),
                                vol.Required(
                                    CONF_TURNAROUND,
                                    default=round(1000 * timing.turnaround),
                                ): _number(0, 200, UnitOfTime.MILLISECONDS),
                            }
                        ),
                        {"collapsed": True},
                    ),
                }
            ),
        )
