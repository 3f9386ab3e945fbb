"""What a person chose for protection: an entry's limits and outputs, from its options.

Options hold `limits` and `outputs`, see `limits_of` and `hands_of`. What is missing
there is as the family's preset and as bms/outputs.py have it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from .batteries import keys
from .bms.limits import ARDUINO_XP_BMS, SEPLOS, Limit, Limits, Quantity
from .bms.outputs import Joined, Outputs
from .const import (
    CONF_AT_ONCE,
    CONF_CHARGE,
    CONF_COLD_DISCONNECTS,
    CONF_CONNECTIONS,
    CONF_CURRENT_CONFIRMED,
    CONF_DELAY,
    CONF_FAULTS_OFF,
    CONF_GRACE,
    CONF_HEARTBEAT,
    CONF_INTERVAL,
    CONF_INVERTED,
    CONF_JOINED,
    CONF_LATCH_ALL,
    CONF_LEAVE,
    CONF_LIMITS,
    CONF_LOAD,
    CONF_OUTPUTS,
    CONF_PRESET,
    CONF_QUANTITIES,
    CONF_RELAY,
    CONF_SILENCE_CHARGING,
    CONF_SILENCE_DISCHARGING,
    CONF_STRINGS,
    CONF_TARGET,
    CONF_WINDOW,
    DEFAULT_GUARDED_INTERVAL,
    DEFAULT_INTERVAL,
    FAMILY_SEPLOS,
    FAMILY_VALENCE,
    MAX_GUARDED_INTERVAL,
)

if TYPE_CHECKING:
    from homeassistant.config_entries import ConfigEntry

PRESETS = {"arduino_xp_bms": ARDUINO_XP_BMS, "seplos": SEPLOS}
FAMILY_PRESETS = {FAMILY_VALENCE: "arduino_xp_bms", FAMILY_SEPLOS: "seplos"}
# A battery's own alarms belong to its family, whatever the preset.
FAMILY_FAULTS = {
    FAMILY_VALENCE: ARDUINO_XP_BMS.faults,
    FAMILY_SEPLOS: SEPLOS.faults,
}


class Heartbeat(StrEnum):
    """How a relay is told that it is still wanted closed."""

    OFF = "off"
    TURN_ON = "turn_on"
    ENTITY = "entity"


@dataclass(frozen=True, slots=True, kw_only=True)
class Relay:
    """A relay as it was chosen, by the registry id of its entity.

    An `inverted` one is on while it is open. `target` is the registry id of the button
    or script that is its heartbeat.
    """

    entity: str
    inverted: bool = False
    heartbeat: Heartbeat = Heartbeat.OFF
    target: str | None = None


@dataclass(frozen=True, slots=True)
class Hands:
    """All that protection may switch on a bus; `relays` by the names in `outputs`.

    `leave` is whether the relays stay as they are when nobody guards them any more.
    """

    outputs: Outputs
    relays: Mapping[str, Relay]
    leave: bool = False


def limits_of(family: str, options: Mapping[str, Any]) -> Limits:
    """Return the limits that hold for a bus.

    `options["limits"]`: `preset`; `quantities` with the fields of Limit for each that
    was changed; `faults_off`, names of reported faults that do not stop; the other
    fields of Limits.
    """
    chosen: Mapping[str, Any] = options.get(CONF_LIMITS, {})
    preset = PRESETS[chosen.get(CONF_PRESET, FAMILY_PRESETS[family])]
    changed = {
        Quantity(name): Limit(**figures)
        for name, figures in chosen.get(CONF_QUANTITIES, {}).items()
    }
    return replace(
        preset,
        quantities={**preset.quantities, **changed},
        faults=FAMILY_FAULTS[family] - set(chosen.get(CONF_FAULTS_OFF, ())),
        silence_charging=chosen.get(CONF_SILENCE_CHARGING, preset.silence_charging),
        silence_discharging=chosen.get(
            CONF_SILENCE_DISCHARGING, preset.silence_discharging
        ),
        grace=chosen.get(CONF_GRACE, preset.grace),
        latch_all=chosen.get(CONF_LATCH_ALL, False),
        # Only Valence's direction of current is in doubt.
        signed=family != FAMILY_VALENCE or options.get(CONF_CURRENT_CONFIRMED, False),
    )


def hands_of(entry: ConfigEntry[Any]) -> Hands:
    """Return the outputs of a bus.

    `options["outputs"]`: `joined`; `charge` and `load`, each a relay (`relay`,
    `inverted`, `heartbeat`, `target`); `connections`, a relay by the battery's key;
    `strings`, the number of its string by the battery's key; `at_once`,
    `cold_disconnects`, `leave`; `delay` in s, `window` in V a cell.
    """
    chosen: Mapping[str, Any] = entry.options.get(CONF_OUTPUTS, {})
    addresses = {key: address for address, key in keys(entry).items()}
    connections = {
        addresses[key]: _relay(relay)
        for key, relay in chosen.get(CONF_CONNECTIONS, {}).items()
        if key in addresses
    }
    shared = {
        name: _relay(chosen[name])
        for name in (CONF_CHARGE, CONF_LOAD)
        if name in chosen
    }
    defaults = Outputs()
    outputs = Outputs(
        joined=Joined(chosen.get(CONF_JOINED, defaults.joined)),
        charge=shared[CONF_CHARGE].entity if CONF_CHARGE in shared else None,
        load=shared[CONF_LOAD].entity if CONF_LOAD in shared else None,
        connections={address: relay.entity for address, relay in connections.items()},
        strings={
            addresses[key]: number
            for key, number in chosen.get(CONF_STRINGS, {}).items()
            if key in addresses
        },
        at_once=chosen.get(CONF_AT_ONCE, False),
        cold_disconnects=chosen.get(CONF_COLD_DISCONNECTS, False),
        delay=chosen.get(CONF_DELAY, defaults.delay),
        window=chosen.get(CONF_WINDOW, defaults.window),
    )
    relays = {
        relay.entity: relay for relay in (*shared.values(), *connections.values())
    }
    return Hands(outputs, relays, chosen.get(CONF_LEAVE, False))


def _relay(chosen: Mapping[str, Any]) -> Relay:
    return Relay(
        entity=chosen[CONF_RELAY],
        inverted=chosen.get(CONF_INVERTED, False),
        heartbeat=Heartbeat(chosen.get(CONF_HEARTBEAT, Heartbeat.OFF)),
        target=chosen.get(CONF_TARGET),
    )


def interval_of(options: Mapping[str, Any]) -> float:
    """Return the s between two rounds: short while relays depend on them."""
    guarded = has_outputs(options)
    default = DEFAULT_GUARDED_INTERVAL if guarded else DEFAULT_INTERVAL
    chosen: float = options.get(CONF_INTERVAL, default)
    return min(chosen, MAX_GUARDED_INTERVAL) if guarded else chosen


def has_outputs(options: Mapping[str, Any]) -> bool:
    """Whether protection has anything to switch."""
    chosen: Mapping[str, Any] = options.get(CONF_OUTPUTS, {})
    return any(chosen.get(kind) for kind in (CONF_CHARGE, CONF_LOAD, CONF_CONNECTIONS))
