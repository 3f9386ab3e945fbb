"""Words that are put into other texts, in the language of Home Assistant.

The frontend translates a text, and not what is filled into it. Home Assistant has read
the texts of an integration before that is set up, so nothing here waits for a file.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from homeassistant.helpers.translation import LOCALE_EN, async_get_cached_translations

from .const import DOMAIN

if TYPE_CHECKING:
    from homeassistant.core import HomeAssistant

# Where the texts of what is spoken of are.
DETAIL = "selector.detail.options"
FAULT = "selector.faults.options"
QUANTITY = "entity.sensor.worst_protection.state"
REASON = "selector.reason.options"
STEP = "selector.write_step.options"

# Only here names keep their capital within a sentence.
_GERMAN = "de"


def translated(hass: HomeAssistant, kind: str, key: str) -> str | None:
    """Return a text, in English where the language is not read yet; None for none.

    Only looks it up, so it may be called in other threads, too.
    """
    name = f"component.{DOMAIN}.{kind}.{key}"
    category = kind.partition(".")[0]
    for language in (hass.config.language, LOCALE_EN):
        texts = async_get_cached_translations(hass, language, category, DOMAIN)
        if name in texts:
            return texts[name]
    return None


def spoken(hass: HomeAssistant, kind: str, key: str) -> str:
    """Return a name as it stands within a sentence; what has none, as it is."""
    name = translated(hass, kind, key)
    if name is None:
        return key.replace("_", " ")
    if hass.config.language.startswith(_GERMAN) or name[1:2].isupper():
        return name
    return name[:1].lower() + name[1:]
