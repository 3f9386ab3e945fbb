"""What is kept of a bus, and what an entry says, however it was changed on the way."""

from __future__ import annotations

from copy import deepcopy
import json
import random
from typing import Any

from hypothesis import strategies as st
from pytest_homeassistant_custom_component.common import MockConfigEntry

from custom_components.openxpbms.batteries import identities, keys, stored
from custom_components.openxpbms.bms.decision import Severity, Value
from custom_components.openxpbms.bms.families import KINDS
from custom_components.openxpbms.bms.limits import Quantity
from custom_components.openxpbms.bms.protection import Memory, Trip, judge
from custom_components.openxpbms.bms.reading import Identity, Reading
from custom_components.openxpbms.const import DOMAIN
from custom_components.openxpbms.families import current_divisor, make_bus, make_family
from custom_components.openxpbms.guard_options import (
    PRESETS,
    hands_of,
    has_outputs,
    interval_of,
    limits_of,
)
from custom_components.openxpbms.kept import (
    SERVICE_FOR,
    KeptBattery,
    KeptBus,
    Mode,
    from_json,
    to_json,
)

from .inputs import fuzz

NOW, WALL = 1_000_000.0, 1_800_000_000.0
KEYS = ("a", "b")
# What stands in a file that a person, a disk or another version changed: anything that
# Home Assistant's reader of JSON gives, so no infinite number.
WRONG: tuple[Any, ...] = (
    *(None, True, False, 0, 1, -1, 2**63, 1.5, 1.7e308, -1.7e308, 5e-324),
    *("", "armed", "a", [], [None], ["a", 1], {}, {"a": 1}, [[]]),
)
# All that reading it may raise.
REFUSED = (KeyError, TypeError, ValueError, AttributeError, OverflowError)


def damaged(chance: random.Random, data: Any, times: int) -> Any:
    """Return data in which something is wrong: a value, a key, a part that is gone."""
    data = deepcopy(data)
    for _ in range(times):
        place = data
        while True:
            if not isinstance(place, dict | list) or not place:
                break
            names = list(place) if isinstance(place, dict) else range(len(place))
            name = chance.choice(list(names))
            inner = place[name]
            if isinstance(inner, dict | list) and inner and chance.random() < 0.8:
                place = inner
                continue
            match chance.randrange(4):
                case 0:
                    del place[name]
                case 1 if isinstance(place, dict):
                    place[chance.choice(("x", "value"))] = place.pop(name)
                case _:
                    place[name] = deepcopy(chance.choice(WRONG))
            break
    return data


def a_bus(chance: random.Random) -> KeptBus:
    """Return what may be remembered."""
    batteries = {}
    for key in KEYS:
        trips = {
            (chance.choice(list(Quantity)), Severity.STOP): Trip(
                since=NOW - chance.uniform(0, 1e5),
                latched=chance.random() < 0.5,
                value=chance.choice((None, Value(3.9, 2), Value(1.0, what="x"))),
            )
            for _ in range(chance.randint(0, 2))
        }
        times = {quantity: (NOW - 5, NOW - 1) for quantity, _ in trips}
        batteries[key] = KeptBattery(
            Memory(began=NOW, trips=trips, times=times),
            wanted=chance.random() < 0.5,
            trip_test=chance.choice((None, {"at": "2026", "opened": True})),
        )
    return KeptBus(
        batteries,
        mode=chance.choice(list(Mode)),
        service_until=chance.choice((None, NOW + 5, NOW + 1e7)),
        held={"charge"} if chance.random() < 0.3 else set(),
    )


def test_what_protection_kept() -> None:
    limits = PRESETS["seplos"]
    reading = Reading(
        voltage=13.2, current=0.0, cell_voltages=(3.3,) * 4, cell_temperatures=(20.0,)
    )

    def check(chance: random.Random, times: int) -> None:
        bus = a_bus(chance)
        data = to_json(bus, NOW, WALL)
        back = from_json(json.loads(json.dumps(data)), KEYS, NOW, WALL)
        assert back.mode is bus.mode
        assert back.batteries.keys() == bus.batteries.keys()
        wrong = damaged(chance, json.loads(json.dumps(data)), times)
        # The clock may have been set meanwhile.
        wall = WALL + chance.choice((0.0, -1e7, 1e7))
        try:
            back = from_json(wrong, KEYS, NOW, wall)
        except REFUSED:
            return
        # What is taken can be judged with, kept again, and lets nothing close sooner.
        assert set(back.batteries) == set(KEYS)
        if back.service_until is not None:
            assert back.service_until <= NOW + SERVICE_FOR
        for battery in back.batteries.values():
            memory, decision = judge(battery.memory, limits, reading, NOW + 1)
            assert not decision.may_charge or decision.fresh
            judge(memory, limits, None, NOW + 100)
            for trip in battery.memory.trips.values():
                assert trip.since is not None
                assert trip.since <= NOW
                if trip.value is not None:
                    assert isinstance(trip.value.value, int | float)
                    assert isinstance(trip.value.number, int | None)
                    assert isinstance(trip.value.what, str | None)
        again = json.loads(json.dumps(to_json(back, NOW, WALL), allow_nan=False))
        from_json(again, KEYS, NOW, WALL)

    fuzz("kept state", check, st.integers(0, 4))


# An entry

SERIALS = (None, "1", "104400461", "104400462", "", "ü", "SP57B-A0000000001")
TEXTS = ("", "7", "U27-12XP", "\ud83d\ude00")


def an_identity(chance: random.Random, address: int) -> Identity:
    """Return what an entry may know of a battery."""
    return Identity(
        address=address,
        serial=chance.choice(SERIALS),
        model=chance.choice(TEXTS),
        model_code=chance.choice(TEXTS),
        revision=chance.choice((None, 1, 2)),
        cells=chance.choice((None, 4, 6, 16)),
        firmware=chance.choice((None, *TEXTS)),
        sensors=chance.choice((None, 4, 8)),
        board=chance.choice((None, 100, 300)),
        key=chance.choice((None, None, None, f"kept_{address}", f"e_{address + 1}")),
    )


def a_relay(chance: random.Random) -> dict[str, Any]:
    """Return a relay as the options have it."""
    relay: dict[str, Any] = {"relay": chance.choice(("r1", "r2", "r3"))}
    if chance.random() < 0.5:
        relay["inverted"] = chance.random() < 0.5
    if chance.random() < 0.5:
        relay["heartbeat"] = chance.choice(("off", "turn_on", "entity"))
        relay["target"] = chance.choice((None, "b1"))
    return relay


def options_of(chance: random.Random, names: list[str]) -> dict[str, Any]:
    """Return options as their pages leave them."""
    quantities = chance.sample(list(Quantity), chance.randint(0, 3))
    figures = ("warning", "warning_clear", "stop", "stop_clear", "cutoff", "delay")
    limits: dict[str, Any] = {
        "preset": chance.choice(list(PRESETS)),
        "quantities": {
            str(quantity): {f: chance.uniform(-40, 100) for f in figures}
            for quantity in quantities
        },
        "faults_off": chance.choice(([], ["cell_over_voltage"], ["gone"])),
        "silence_charging": chance.uniform(5, 60),
        "silence_discharging": chance.uniform(15, 1800),
        "grace": chance.uniform(5, 300),
        "latch_all": chance.random() < 0.5,
    }
    outputs: dict[str, Any] = {
        "joined": chance.choice(("single", "parallel", "series", "strings")),
        "charge": a_relay(chance),
        "load": a_relay(chance),
        "connections": {
            name: a_relay(chance) for name in [*names, "gone"] if chance.random() < 0.5
        },
        "strings": {name: chance.randint(1, 4) for name in names},
        "at_once": chance.random() < 0.5,
        "cold_disconnects": chance.random() < 0.5,
        "delay": chance.uniform(0, 5),
        "window": chance.uniform(0.001, 0.1),
        "leave": chance.random() < 0.5,
    }
    options: dict[str, Any] = {
        "interval": chance.randint(1, 300),
        "answer_timeout": chance.randint(50, 2000),
        "turnaround": chance.randint(0, 500),
        "invert_current": chance.random() < 0.5,
        "current_confirmed": chance.random() < 0.5,
        "current_scale": chance.choice(("auto", "hundredths", "tenths")),
        "limits": _some(chance, limits),
        "outputs": _some(chance, outputs),
    }
    return _some(chance, options)


def _some(chance: random.Random, all_of: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in all_of.items() if chance.random() < 0.8}


def use(entry: MockConfigEntry) -> None:
    """Make all of an entry that is made before its port is opened."""
    family = entry.data["family"]
    lasting = keys(entry)
    known = identities(entry.data)
    assert lasting.keys() == {identity.address for identity in known}
    assert len(set(lasting.values())) == len(lasting)
    assert stored(known) == sorted(
        entry.data["batteries"], key=lambda battery: battery["address"]
    )
    limits = limits_of(family, entry.options)
    assert limits.signed or family == "valence"
    hands = hands_of(entry)
    assert set(hands.outputs.relays()) <= set(hands.relays)
    assert set(hands.outputs.connections) <= set(lasting)
    interval = interval_of(entry.options)
    assert interval > 0
    assert interval <= 5 or not has_outputs(entry.options)
    assert current_divisor(entry.options) in (None, 10, 100)
    url = entry.data["device"]
    bus = make_bus(url, family, entry.options, mute=entry.data.get("mode") == "listen")
    make_family(bus, entry.data, entry.options)


def an_entry(chance: random.Random) -> MockConfigEntry:
    """Return an entry as the dialogs and the pages of the options make it."""
    addresses = chance.sample(range(20), chance.randint(1, 4))
    known = stored(an_identity(chance, address) for address in addresses)
    family = chance.choice(list(KINDS))
    data = {
        "device": chance.choice(("/dev/ttyUSB0", "rfc2217://h:1", "socket://[")),
        "family": family,
        "batteries": json.loads(json.dumps(known)),
    }
    if family == "valence":
        data["line"] = chance.choice(("mark", "two_stop_bits"))
    else:
        data["mode"] = chance.choice(("ask", "listen"))
    entry = MockConfigEntry(domain=DOMAIN, data=data, entry_id="e")
    names = list(keys(entry).values())
    options = json.loads(json.dumps(options_of(chance, names)))
    return MockConfigEntry(domain=DOMAIN, data=data, options=options, entry_id="e")


def test_entries_as_the_dialogs_make_them() -> None:
    fuzz("entries", lambda chance, _: use(an_entry(chance)), share=0.5)


def test_entries_that_something_went_wrong_with() -> None:
    def check(chance: random.Random, times: int) -> None:
        good = an_entry(chance)
        data, options = dict(good.data), dict(good.options)
        if chance.random() < 0.5:
            data = damaged(chance, data, times)
        else:
            options = damaged(chance, options, times)
        entry = MockConfigEntry(domain=DOMAIN, data=data, options=options, entry_id="e")
        # Nothing is started of an entry that makes no sense; Home Assistant says so.
        try:
            use(entry)
        except (*REFUSED, AssertionError):
            return

    fuzz("entries", check, st.integers(1, 3), share=0.5)
