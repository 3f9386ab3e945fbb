"""The texts of the pages by what they belong to: they may be worded anew."""

from __future__ import annotations

import json
from typing import Any

from .batteries import INTEGRATION

_ALL: dict[str, Any] = json.loads(
    (INTEGRATION / "translations" / "en.json").read_text("utf-8")
)


def text(*path: str, **details: str) -> str:
    """Return a text, with details in it."""
    found: Any = _ALL
    for name in path:
        found = found[name]
    return str(found).format(**details)


class Flow:
    """The texts of the dialogs, "config", or of the options."""

    def __init__(self, name: str) -> None:
        """Name it."""
        self._name = name

    def title(self, step: str, **details: str) -> str:
        """Return the title of a step."""
        return text(self._name, "step", step, "title", **details)

    def item(self, step: str, option: str) -> str:
        """Return what a menu offers."""
        return text(self._name, "step", step, "menu_options", option)

    def label(self, step: str, field: str) -> str:
        """Return what a field is called."""
        return text(self._name, "step", step, "data", field)

    def hint(self, step: str, field: str) -> str:
        """Return what stands below a field."""
        return text(self._name, "step", step, "data_description", field)


CONFIG, OPTIONS = Flow("config"), Flow("options")
