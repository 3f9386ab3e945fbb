"""What a user may prefer otherwise, for a bus that is set up."""

from __future__ import annotations

from typing import Any

from homeassistant.config_entries import ConfigFlowResult
from homeassistant.const import CONF_DEVICE, UnitOfTime
from homeassistant.data_entry_flow import section
from homeassistant.helpers.selector import BooleanSelector
import voluptuous as vol

from .bms.valence import LineMode
from .const import (
    CONF_ANSWER_TIMEOUT,
    CONF_CURRENT_CONFIRMED,
    CONF_CURRENT_SCALE,
    CONF_FAMILY,
    CONF_INTERVAL,
    CONF_INVERT_CURRENT,
    CONF_LINE,
    CONF_MODE,
    CONF_TIMING,
    CONF_TURNAROUND,
    FAMILY_VALENCE,
    LINE_AUTO,
    MAX_GUARDED_INTERVAL,
    MAX_INTERVAL,
    MIN_INTERVAL,
    MODE_ASK,
    MODE_AUTO,
    MODE_LISTEN,
    SCALE_AUTO,
    SCALES,
)
from .families import make_timing
from .forms import choice, number
from .guard_options import has_outputs, interval_of
from .limits_flow import LimitsFlow
from .mosfet_flow import MosfetFlow
from .parameter_flow import ParameterFlow
from .totals_flow import TotalsFlow

LINE_SELECTOR = choice([LINE_AUTO, *(mode.value for mode in LineMode)], CONF_LINE)
SCALE_SELECTOR = choice(SCALES, CONF_CURRENT_SCALE)
MODE_SELECTOR = choice([MODE_AUTO, MODE_ASK], "another_master")


class OpenXPBMSOptionsFlow(ParameterFlow, MosfetFlow, LimitsFlow, TotalsFlow):
    """Pace, current and line; the bank; protection; parameters of packs."""

    async def async_step_init(
        self, user_input: dict[str, Any] | None = None
    ) -> ConfigFlowResult:
        """Let one part be chosen."""
        return self.async_show_menu(
            step_id="init",
            menu_options=[
                "general",
                *self._bank_pages,
                "outputs",
                "limits",
                *self._parameter_pages,
                *self._mosfet_pages,
            ],
        )

    async def async_step_general(
        self, user_input: dict[str, Any] | None = None
    ) -> ConfigFlowResult:
        """Show the general options and keep them beside all others."""
        if user_input is not None:
            timing = user_input.pop(CONF_TIMING, {})
            return self.async_create_entry(
                data={**self.config_entry.options, **user_input, **timing}
            )
        return self.async_show_form(
            step_id="general", data_schema=vol.Schema(self._fields())
        )

    def _fields(self) -> dict[Any, Any]:
        """What there is to choose for this family and way of using the bus."""
        data, options = self.config_entry.data, self.config_entry.options
        slowest = MAX_GUARDED_INTERVAL if has_outputs(options) else MAX_INTERVAL
        interval = vol.Required(CONF_INTERVAL, default=interval_of(options))
        fields: dict[Any, Any] = {
            interval: number(MIN_INTERVAL, slowest, UnitOfTime.SECONDS)
        }
        if data[CONF_FAMILY] == FAMILY_VALENCE:
            fields[self._field(CONF_INVERT_CURRENT, default=False)] = BooleanSelector()
            fields[self._field(CONF_CURRENT_CONFIRMED, default=False)] = (
                BooleanSelector()
            )
            return fields | self._line(
                {self._field(CONF_LINE, LINE_AUTO): LINE_SELECTOR}
            )
        fields[self._field(CONF_CURRENT_SCALE, SCALE_AUTO)] = SCALE_SELECTOR
        if data.get(CONF_MODE) == MODE_LISTEN:
            return fields
        fields[self._field(CONF_MODE, MODE_AUTO)] = MODE_SELECTOR
        return fields | self._line({})

    def _field(self, name: str, default: Any) -> Any:
        return vol.Required(name, default=self.config_entry.options.get(name, default))

    def _line(self, more: dict[Any, Any]) -> dict[Any, Any]:
        """The section for those whose batteries answer badly."""
        data, options = self.config_entry.data, self.config_entry.options
        timing = make_timing(data[CONF_DEVICE], data[CONF_FAMILY], options)
        answer = self._field(CONF_ANSWER_TIMEOUT, round(1000 * timing.answer))
        turnaround = self._field(CONF_TURNAROUND, round(1000 * timing.turnaround))
        schema = {
            **more,
            answer: number(30, 5000, UnitOfTime.MILLISECONDS),
            turnaround: number(0, 200, UnitOfTime.MILLISECONDS),
        }
        return {
            vol.Required(CONF_TIMING): section(vol.Schema(schema), {"collapsed": True})
        }
