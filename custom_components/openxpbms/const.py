"""Names that several parts of the integration share."""

from __future__ import annotations

from typing import Final

DOMAIN: Final = "openxpbms"
MANUFACTURER: Final = "Valence"

CONF_ADAPTER: Final = "adapter"
CONF_ADDRESSES: Final = "addresses"
CONF_ANSWER_TIMEOUT: Final = "answer_timeout"
CONF_AT_ONCE: Final = "at_once"
CONF_BANK: Final = "bank"
CONF_BATTERIES: Final = "batteries"
CONF_BOARD: Final = "board"
CONF_CAPACITY: Final = "capacity"
CONF_CELLS: Final = "cells"
CONF_CHARGE: Final = "charge"
CONF_COLD_DISCONNECTS: Final = "cold_disconnects"
CONF_CONNECTIONS: Final = "connections"
CONF_CURRENT_CONFIRMED: Final = "current_confirmed"
CONF_CURRENT_SCALE: Final = "current_scale"
CONF_DELAY: Final = "delay"
CONF_FAMILY: Final = "family"
CONF_FAULTS_OFF: Final = "faults_off"
CONF_GRACE: Final = "grace"
CONF_GUARDED: Final = "guarded"
CONF_HEARTBEAT: Final = "heartbeat"
CONF_INTERVAL: Final = "interval"
CONF_INVERT_CURRENT: Final = "invert_current"
CONF_INVERTED: Final = "inverted"
CONF_JOINED: Final = "joined"
CONF_LATCH_ALL: Final = "latch_all"
CONF_LEAVE: Final = "leave"
CONF_LIMITS: Final = "limits"
CONF_LINE: Final = "line"
CONF_LOAD: Final = "load"
CONF_MODE: Final = "mode"
CONF_MOSFETS: Final = "mosfets"
CONF_MODULES: Final = "modules"
CONF_OUTPUTS: Final = "outputs"
CONF_PRESET: Final = "preset"
CONF_QUANTITIES: Final = "quantities"
CONF_RELAY: Final = "relay"
CONF_SILENCE_CHARGING: Final = "silence_charging"
CONF_SILENCE_DISCHARGING: Final = "silence_discharging"
CONF_STRINGS: Final = "strings"
CONF_TARGET: Final = "target"
CONF_TIMING: Final = "timing"
CONF_TURNAROUND: Final = "turnaround"
CONF_WINDOW: Final = "window"
CONF_WITHOUT_SILENT: Final = "without_silent"
CONF_WRITES: Final = "writes"

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
# While relays depend on it.
DEFAULT_GUARDED_INTERVAL: Final = 2
MAX_GUARDED_INTERVAL: Final = 5
