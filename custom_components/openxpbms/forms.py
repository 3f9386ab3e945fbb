"""What the forms of the options share."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from homeassistant.config_entries import ConfigFlowResult, OptionsFlowWithReload
from homeassistant.helpers.selector import (
    NumberSelector,
    NumberSelectorConfig,
    NumberSelectorMode,
    SelectSelector,
    SelectSelectorConfig,
    SelectSelectorMode,
)
import voluptuous as vol


def number(low: float, high: float, unit: str, step: float = 1.0) -> NumberSelector:
    """Return a box for a number."""
    return NumberSelector(
        NumberSelectorConfig(
            min=low,
            max=high,
            step=step,
            unit_of_measurement=unit,
            mode=NumberSelectorMode.BOX,
        )
    )


def choice(options: Iterable[str], translation_key: str) -> SelectSelector:
    """Return a choice of one from a list that unfolds."""
    return SelectSelector(
        SelectSelectorConfig(
            options=list(options),
            translation_key=translation_key,
            mode=SelectSelectorMode.DROPDOWN,
        )
    )


class PagesFlow(OptionsFlowWithReload):
    """Forms that show values which may be emptied, and lose none that was typed."""

    def _page(
        self,
        step_id: str,
        fields: Mapping[Any, Any],
        shown: Mapping[str, Any] | None,
        errors: dict[str, str] | None = None,
        told: Mapping[str, str] | None = None,
    ) -> ConfigFlowResult:
        """Show a form with the values to begin with."""
        schema = self.add_suggested_values_to_schema(vol.Schema(fields), shown)
        return self.async_show_form(
            step_id=step_id,
            data_schema=schema,
            errors=errors,
            description_placeholders=told,
        )
