"""The pages of the options that hold the figures protection judges by."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from functools import partialmethod
from typing import Any

from homeassistant.config_entries import ConfigFlowResult
from homeassistant.const import (
    PERCENTAGE,
    UnitOfElectricCurrent,
    UnitOfElectricPotential,
    UnitOfTemperature,
    UnitOfTime,
)
from homeassistant.helpers.selector import (
    BooleanSelector,
    SelectSelector,
    SelectSelectorConfig,
    SelectSelectorMode,
)
import voluptuous as vol

from .bms.limits import (
    FALLING,
    GRACE,
    SILENCE_CHARGING,
    SILENCE_DISCHARGING,
    Limit,
    Limits,
    Quantity,
    Span,
    violations,
)
from .const import (
    CONF_FAMILY,
    CONF_FAULTS_OFF,
    CONF_GRACE,
    CONF_LATCH_ALL,
    CONF_LIMITS,
    CONF_PRESET,
    CONF_QUANTITIES,
    CONF_SILENCE_CHARGING,
    CONF_SILENCE_DISCHARGING,
)
from .forms import PagesFlow, choice, number
from .guard_options import FAMILY_FAULTS, FAMILY_PRESETS, PRESETS, limits_of

CONF_FAULTS = "faults"


@dataclass(frozen=True, slots=True)
class _Figures:
    """The fields of Limit that a quantity's page shows, and what they count in."""

    low: float
    high: float
    step: float
    unit: str
    names: tuple[str, ...]

    def fields(self) -> dict[Any, Any]:
        """Return the fields: a level may be left empty, a time may not."""
        figure = number(self.low, self.high, self.unit, self.step)
        fields: dict[Any, Any] = {}
        for name in self.names:
            if name in _TIMES:
                fields[vol.Required(name)] = _TIMES[name]
            else:
                fields[vol.Optional(name)] = figure
        return fields


_TIMES = {
    "delay": number(0, 300, UnitOfTime.SECONDS),
    "warning_delay": number(0, 3600, UnitOfTime.SECONDS),
}
_WARNS = ("warning", "warning_clear")
_STOPS = ("stop", "stop_clear")
_CUTS = (*_WARNS, *_STOPS, "cutoff", "delay")
_SLOW = (*_WARNS, "warning_delay", *_STOPS, "delay")
_VOLTS = (0.0, 5.0, 0.001, UnitOfElectricPotential.VOLT)
_CELSIUS = (-40.0, 120.0, 0.1, UnitOfTemperature.CELSIUS)
_AMPERES = (0.0, 1000.0, 0.1, UnitOfElectricCurrent.AMPERE)
FIGURES = {
    Quantity.CELL_OVER_VOLTAGE: _Figures(*_VOLTS, _CUTS),
    Quantity.CELL_UNDER_VOLTAGE: _Figures(*_VOLTS, _CUTS),
    Quantity.CELL_OVER_TEMPERATURE: _Figures(*_CELSIUS, _CUTS),
    Quantity.ELECTRONICS_OVER_TEMPERATURE: _Figures(*_CELSIUS, _CUTS),
    Quantity.CELL_UNDER_TEMPERATURE: _Figures(*_CELSIUS, (*_WARNS, *_STOPS, "delay")),
    Quantity.CHARGE_OVER_CURRENT: _Figures(*_AMPERES, _SLOW),
    Quantity.DISCHARGE_OVER_CURRENT: _Figures(*_AMPERES, _SLOW),
    Quantity.CELL_SPREAD: _Figures(*_VOLTS, _SLOW),
    Quantity.LOW_SOC: _Figures(0.0, 100.0, 1.0, PERCENTAGE, _WARNS),
}
SPANS = {
    CONF_SILENCE_CHARGING: SILENCE_CHARGING,
    CONF_SILENCE_DISCHARGING: SILENCE_DISCHARGING,
    CONF_GRACE: GRACE,
}


def _seconds(span: Span) -> Any:
    return number(span.low, span.high, UnitOfTime.SECONDS)


class LimitsFlow(PagesFlow):
    """A page for each quantity, and for what holds for all of them."""

    async def async_step_limits(
        self, user_input: dict[str, Any] | None = None
    ) -> ConfigFlowResult:
        """Let one page be chosen."""
        return self.async_show_menu(
            step_id="limits",
            menu_options=[q.value for q in FIGURES]
            + ["silence", "faults", "latching", "preset"],
        )

    async def _quantity(
        self, quantity: Quantity, user_input: dict[str, Any] | None = None
    ) -> ConfigFlowResult:
        """Show a quantity's figures and keep them if they are in order."""
        figures = FIGURES[quantity]
        errors: dict[str, str] = {}
        told: dict[str, str] = {}
        if user_input is not None:
            limit = Limit(**user_input)
            judged = Limits(quantities={quantity: limit}, faults=frozenset())
            found = next(violations(judged), None)
            if found is None:
                return self._keep_limit(quantity, limit)
            near, far = getattr(limit, found.inner), getattr(limit, found.outer)
            if near is None:
                error = f"{found.outer}_without_clear"
            else:
                way = "falling" if quantity in FALLING else "rising"
                error = f"{found.inner}_{found.outer}_{way}"
                told["inner"] = f"{near:g} {figures.unit}"
            told["outer"] = f"{far:g} {figures.unit}"
            errors[found.inner] = error
        shown = user_input or asdict(self._limits[quantity])
        return self._page(quantity.value, figures.fields(), shown, errors, told)

    async_step_cell_over_voltage = partialmethod(_quantity, Quantity.CELL_OVER_VOLTAGE)
    async_step_cell_under_voltage = partialmethod(
        _quantity, Quantity.CELL_UNDER_VOLTAGE
    )
    async_step_cell_over_temperature = partialmethod(
        _quantity, Quantity.CELL_OVER_TEMPERATURE
    )
    async_step_electronics_over_temperature = partialmethod(
        _quantity, Quantity.ELECTRONICS_OVER_TEMPERATURE
    )
    async_step_cell_under_temperature = partialmethod(
        _quantity, Quantity.CELL_UNDER_TEMPERATURE
    )
    async_step_charge_over_current = partialmethod(
        _quantity, Quantity.CHARGE_OVER_CURRENT
    )
    async_step_discharge_over_current = partialmethod(
        _quantity, Quantity.DISCHARGE_OVER_CURRENT
    )
    async_step_cell_spread = partialmethod(_quantity, Quantity.CELL_SPREAD)
    async_step_low_soc = partialmethod(_quantity, Quantity.LOW_SOC)

    async def async_step_silence(
        self, user_input: dict[str, Any] | None = None
    ) -> ConfigFlowResult:
        """Ask how long a battery may be silent."""
        if user_input is not None:
            return self._keep(user_input)
        schema = {vol.Required(name): _seconds(span) for name, span in SPANS.items()}
        limits = self._limits
        shown = {name: getattr(limits, name) for name in SPANS}
        return self._page("silence", schema, shown)

    async def async_step_faults(
        self, user_input: dict[str, Any] | None = None
    ) -> ConfigFlowResult:
        """Ask which faults that a battery reports stop it."""
        every = FAMILY_FAULTS[self.config_entry.data[CONF_FAMILY]]
        if user_input is not None:
            off = sorted(every - set(user_input[CONF_FAULTS]))
            return self._keep({CONF_FAULTS_OFF: off})
        selector = SelectSelector(
            SelectSelectorConfig(
                options=sorted(every),
                multiple=True,
                translation_key=CONF_FAULTS,
                mode=SelectSelectorMode.LIST,
            )
        )
        return self._page(
            "faults",
            # None ticked is an answer, too.
            {vol.Optional(CONF_FAULTS, default=[]): selector},
            {CONF_FAULTS: sorted(self._limits.faults)},
        )

    async def async_step_latching(
        self, user_input: dict[str, Any] | None = None
    ) -> ConfigFlowResult:
        """Ask whether every stop waits for a person."""
        if user_input is not None:
            return self._keep(user_input)
        return self._page(
            "latching",
            {vol.Required(CONF_LATCH_ALL): BooleanSelector()},
            {CONF_LATCH_ALL: self._limits.latch_all},
        )

    async def async_step_preset(
        self, user_input: dict[str, Any] | None = None
    ) -> ConfigFlowResult:
        """Start again from known figures."""
        if user_input is not None:
            return self._keep({**user_input, CONF_QUANTITIES: {}})
        return self._page(
            "preset",
            {vol.Required(CONF_PRESET): choice(PRESETS, CONF_PRESET)},
            {CONF_PRESET: self._preset},
        )

    @property
    def _chosen(self) -> dict[str, Any]:
        """What was chosen of the limits so far."""
        chosen: dict[str, Any] = self.config_entry.options.get(CONF_LIMITS, {})
        return chosen

    @property
    def _limits(self) -> Limits:
        entry = self.config_entry
        return limits_of(entry.data[CONF_FAMILY], entry.options)

    @property
    def _preset(self) -> str:
        family: str = self.config_entry.data[CONF_FAMILY]
        preset: str = self._chosen.get(CONF_PRESET, FAMILY_PRESETS[family])
        return preset

    def _keep_limit(self, quantity: Quantity, limit: Limit) -> ConfigFlowResult:
        """Keep a quantity's figures, or go back to the preset's if they are those."""
        changed = {**self._chosen.get(CONF_QUANTITIES, {})}
        changed.pop(quantity.value, None)
        if limit != PRESETS[self._preset][quantity]:
            figures = asdict(limit)
            changed[quantity.value] = {
                k: v for k, v in figures.items() if v is not None
            }
        return self._keep({CONF_QUANTITIES: changed})

    def _keep(self, changes: dict[str, Any]) -> ConfigFlowResult:
        """Change the limits in part; everything else stays."""
        limits = {**self._chosen, **changes}
        return self.async_create_entry(
            data={**self.config_entry.options, CONF_LIMITS: limits}
        )
