"""What protection remembers of a bus, over reloads as it is, over restarts as JSON.

Times in memory are monotonic s, on disk UNIX time.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any

from .bms.decision import Severity, Value
from .bms.limits import Quantity
from .bms.outputs import PlanMemory
from .bms.protection import Memory, Trip, lost

# s
SERVICE_FOR = 1800.0


class Mode(StrEnum):
    """Whether protection commands the outputs."""

    WATCH_ONLY = "watch_only"
    ARMED = "armed"
    SERVICE = "service"


@dataclass(slots=True)
class KeptBattery:
    """What is remembered of a battery.

    `wanted` is the person's switch; `by_hand` says that somebody opened its relay.
    `trip_test` is the result of the last one.
    """

    memory: Memory
    wanted: bool = True
    by_hand: bool = False
    trip_test: dict[str, Any] | None = None


@dataclass(slots=True)
class KeptBus:
    """What is remembered of a bus; batteries by their keys.

    `service_until` is when service ends by itself, with the mode `after_service`.
    `charging` is whether storage charges now. `held` are shared relays that somebody
    opened, `faulty` those that failed, until a person has looked; both by name.
    """

    batteries: dict[str, KeptBattery] = field(default_factory=dict)
    mode: Mode = Mode.WATCH_ONLY
    service_until: float | None = None
    after_service: Mode = Mode.ARMED
    storage: bool = False
    charging: bool = False
    held: set[str] = field(default_factory=set)
    faulty: set[str] = field(default_factory=set)
    plan: PlanMemory = field(default_factory=PlanMemory)


def new_bus(keys: Iterable[str], now: float) -> KeptBus:
    """Return what is remembered of a bus that was never guarded."""
    return KeptBus({key: KeptBattery(Memory(began=now)) for key in keys})


def lost_bus(keys: Iterable[str], now: float, mode: Mode) -> KeptBus:
    """Return what stands in for what cannot be read: everything latched, and off.

    Nobody knows what was switched off, so only a person switches it on again.
    """
    return KeptBus(
        {key: KeptBattery(lost(now), wanted=False, by_hand=True) for key in keys},
        mode=mode,
    )


def to_json(bus: KeptBus, now: float, wall: float) -> dict[str, Any]:
    """Return what must survive a restart; `now` and `wall` are the same moment."""
    ahead = wall - now
    return {
        "mode": bus.mode,
        "after_service": bus.after_service,
        "service_until": None
        if bus.service_until is None
        else bus.service_until + ahead,
        "storage": bus.storage,
        "charging": bus.charging,
        "held": sorted(bus.held),
        "faulty": sorted(bus.faulty),
        "batteries": {
            key: {
                "wanted": battery.wanted,
                "by_hand": battery.by_hand,
                "trip_test": battery.trip_test,
                "trips": [
                    _trip_to_json(quantity, severity, trip, ahead)
                    for (quantity, severity), trip in stored_trips(battery.memory)
                ],
                "times": {
                    quantity: [at + ahead for at in times]
                    for quantity, times in battery.memory.times.items()
                },
            }
            for key, battery in bus.batteries.items()
        },
    }


def stored_trips(memory: Memory) -> list[tuple[tuple[Quantity, Severity], Trip]]:
    """Return the stops and cut-offs that are active."""
    return [
        (key, trip)
        for key, trip in memory.trips.items()
        if trip.active and key[1] is not Severity.WARNING
    ]


def _trip_to_json(
    quantity: Quantity, severity: Severity, trip: Trip, ahead: float
) -> dict[str, Any]:
    value = trip.value
    return {
        "quantity": quantity,
        "severity": severity,
        "since": (trip.since or 0.0) + ahead,
        "latched": trip.latched,
        "value": value and [value.value, value.number, value.what],
    }


def from_json(
    data: Mapping[str, Any], keys: Iterable[str], now: float, wall: float
) -> KeptBus:
    """Return what was kept, for batteries by `keys`.

    Raises KeyError, TypeError, ValueError or AttributeError where it makes no sense.
    """
    mode = Mode(data["mode"])
    bus = KeptBus(
        mode=mode,
        service_until=_service_until(mode, data["service_until"], now, wall),
        after_service=Mode(data.get("after_service", Mode.ARMED)),
        storage=bool(data["storage"]),
        charging=bool(data["charging"]),
        held=_names(data["held"]),
        faulty=_names(data["faulty"]),
    )
    kept = data["batteries"]
    known = kept.keys()
    for key in keys:
        bus.batteries[key] = (
            _battery_from_json(kept[key], now, wall)
            if key in known
            else KeptBattery(Memory(began=now))
        )
    return bus


def _names(names: Any) -> set[str]:
    known = set(names)
    if not all(isinstance(name, str) for name in known):
        raise ValueError("what should be names is something else")
    return known


def _service_until(
    mode: Mode, until: float | None, now: float, wall: float
) -> float | None:
    if mode is not Mode.SERVICE:
        return None
    # Whatever the clock did meanwhile, it ends.
    return now + min((until or 0.0) - wall, SERVICE_FOR)


def _battery_from_json(data: Mapping[str, Any], now: float, wall: float) -> KeptBattery:
    def monotonic(at: float) -> float:
        # A clock that was set back must not put anything into the future.
        return now - max(0.0, wall - at)

    trips = {}
    for trip in data["trips"]:
        key = Quantity(trip["quantity"]), Severity(trip["severity"])
        trips[key] = Trip(
            since=monotonic(trip["since"]),
            latched=bool(trip["latched"]),
            value=None if trip["value"] is None else _value(*trip["value"]),
        )
    times = {
        Quantity(quantity): tuple(monotonic(at) for at in past)
        for quantity, past in data["times"].items()
    }
    return KeptBattery(
        replace(Memory(began=now), trips=trips, times=times),
        wanted=bool(data["wanted"]),
        by_hand=bool(data["by_hand"]),
        trip_test=data["trip_test"],
    )


def _value(value: object, number: object, what: object) -> Value:
    if (
        isinstance(value, int | float)
        and isinstance(number, int | None)
        and isinstance(what, str | None)
    ):
        return Value(value, number, what)
    raise ValueError("what should be a value is something else")
