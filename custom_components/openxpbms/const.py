"""Names that several parts of the integration share."""

from __future__ import annotations

from typing import Final

DOMAIN: Final = "openxpbms"
MANUFACTURER: Final = "Valence"

CONF_ADDRESSES: Final = "addresses"
CONF_ANSWER_TIMEOUT: Final = "answer_timeout"
CONF_BATTERIES: Final = "batteries"
CONF_CELLS: Final = "cells"
CONF_CURRENT_CONFIRMED: Final = "current_confirmed"
CONF_FAMILY: Final = "family"
CONF_INTERVAL: Final = "interval"
CONF_INVERT_CURRENT: Final = "invert_current"
CONF_LINE: Final = "line"
CONF_MODULES: Final = "modules"
CONF_TIMING: Final = "timing"
CONF_TURNAROUND: Final = "turnaround"

FAMILY_VALENCE: Final = "valence"
LINE_AUTO: Final = "auto"

# s
DEFAULT_INTERVAL: Final = 5
MIN_INTERVAL: Final = 1
MAX_INTERVAL: Final = 300
