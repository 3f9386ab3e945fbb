"""Writes into packs, as sentences in the logbook."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from homeassistant.components.logbook.const import (
    LOGBOOK_ENTRY_MESSAGE,
    LOGBOOK_ENTRY_NAME,
)
from homeassistant.core import callback

from .bms.parameter_facts import with_unit
from .bms.parameters import BY_NAME
from .const import DOMAIN
from .spoken import REASON, STEP, spoken, translated
from .writes import EVENT_WRITE

if TYPE_CHECKING:
    from homeassistant.core import Event, HomeAssistant

type Describe = Callable[[Event], dict[str, str]]


@callback
def async_describe_events(
    hass: HomeAssistant, async_describe_event: Callable[[str, str, Describe], None]
) -> None:
    """Describe what is fired for every step of a write."""

    @callback
    def describe(event: Event) -> dict[str, str]:
        data = event.data
        values = {
            name: _shown(data["parameter"], data[name])
            for name in ("old", "new", "seen")
        }
        sentence = translated(hass, STEP, data["step"]) or data["step"]
        reason = spoken(hass, REASON, data["reason"]) if data["reason"] else "-"
        message = sentence.format(parameter=data["parameter"], reason=reason, **values)
        return {LOGBOOK_ENTRY_NAME: data["battery"], LOGBOOK_ENTRY_MESSAGE: message}

    async_describe_event(DOMAIN, EVENT_WRITE, describe)


def _shown(name: str, value: float | None) -> str:
    if value is None:
        return "?"
    return with_unit(name, value) if name in BY_NAME else str(value)
