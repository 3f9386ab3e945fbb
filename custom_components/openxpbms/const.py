"""Names that several parts of the integration share."""

from __future__ import annotations

from typing import Final

DOMAIN: Final = "openxpbms"
MANUFACTURER: Final = "Valence"

CONF_ADDRESSES: Final = "addresses"
CONF_ANSWER_TIMEOUT: Final = "answer_timeout"
CONF_BATTERIES: Final = "batteries"
CONF_BOARD: Final = "board"
CONF_CELLS: Final = "cells"
CONF_CURRENT_CONFIRMED: Final = "current_confirmed"
CONF_CURRENT_SCALE: Final = "current_scale"
CONF_FAMILY: Final = "family"
CONF_INTERVAL: Final = "interval"
CONF_INVERT_CURRENT: Final = "invert_current"
CONF_LINE: Final = "line"
CONF_MODE: Final = "mode"
CONF_MODULES: Final = "modules"
CONF_TIMING: Final = "timing"
CONF_TURNAROUND: Final = "turnaround"

FAMILY_SEPLOS: Final = "seplos"
FAMILY_VALENCE: Final = "valence"
LINE_AUTO: Final = "auto"

# Whether a bus is asked or only listened to.
MODE_ASK: Final = "ask"
MODE_AUTO: Final = "auto"
MODE_LISTEN: Final = "listen"

# Counts of 1 A.
SCALE_AUTO: Final = "auto"
SCALES: Final[dict[str, int | None]] = {
    SCALE_AUTO: None,
    "hundredths": 100,
    "tenths": 10,
}

# s
DEFAULT_INTERVAL: Final = 5
MIN_INTERVAL: Final = 1
MAX_INTERVAL: Final = 300
