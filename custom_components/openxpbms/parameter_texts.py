"""Parameters and what is said of them, in the language of Home Assistant.

Texts that are put into other texts: forms and messages that stand by themselves are
filled in by the frontend.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Self

from homeassistant.helpers.translation import async_get_translations

from .bms.parameter_facts import with_unit
from .bms.parameters import BY_NAME
from .bms.seplos_writes import Outcome
from .const import DOMAIN

if TYPE_CHECKING:
    from homeassistant.core import HomeAssistant

    from .bms.parameter_errors import Caution
    from .bms.seplos_writes import Result


class Texts:
    """Texts of this integration."""

    def __init__(self, texts: Mapping[str, str]) -> None:
        """Keep what `load` has read."""
        self._texts = texts

    @classmethod
    async def load(cls, hass: HomeAssistant) -> Self:
        """Read the texts; Home Assistant keeps them."""
        texts: dict[str, str] = {}
        for category in ("selector", "options"):
            texts |= await async_get_translations(
                hass, hass.config.language, category, [DOMAIN]
            )
        return cls(texts)

    def option(self, selector: str, option: str, **details: str) -> str:
        """Return an option of a selector, filled in."""
        text = self._texts[f"component.{DOMAIN}.selector.{selector}.options.{option}"]
        return text.format(**details)

    def label(self, parameter: str) -> str:
        """Return what people call a parameter."""
        return self.option("parameter", parameter)

    def spoken(self, details: Mapping[str, str]) -> dict[str, str]:
        """Return the details of an error with parameters as people call them."""
        return {
            key: self.label(detail) if detail in BY_NAME else detail
            for key, detail in details.items()
        }

    def error(self, key: str, details: Mapping[str, str]) -> str:
        """Return an error of the options' forms, filled in."""
        text = self._texts[f"component.{DOMAIN}.options.error.{key}"]
        return text.format(**self.spoken(details))

    def cautions(self, cautions: Iterable[Caution]) -> str:
        """Return what a person should know, as the lines of a Markdown list."""
        return "\n".join(
            "- " + self.option("parameter_caution", c.key, **self.spoken(c.details))
            for c in cautions
        )

    def why(self, result: Result, battery: str) -> str:
        """Return why a write came to nothing, or how the pack answered it."""
        details = dict(result.details or {})
        if result.outcome is Outcome.NOT_SENT:
            assert result.reason is not None
            return self.error(result.reason, {"battery": battery, **details})
        answered = "acknowledged" if result.acknowledged else None
        reason = result.reason or answered
        return "" if reason is None else self.option("write_answer", reason, **details)

    def others(self, result: Result) -> str:
        """Return what else changed in the pack, empty for nothing."""
        if not result.others:
            return ""
        others = "; ".join(
            self.option(
                "write_answer",
                "other",
                name=self.label(other.name),
                old=with_unit(other.name, other.old),
                new=with_unit(other.name, other.new),
            )
            for other in result.others
        )
        return self.option("write_answer", "others", others=others)
