"""Diagnostics of whatever is known of a bus: JSON, without a serial number."""

from __future__ import annotations

from dataclasses import fields, replace
from datetime import datetime
import json
import random
from types import MappingProxyType
from typing import Any

from homeassistant.core import HomeAssistant
from homeassistant.helpers import device_registry as dr
from homeassistant.helpers.json import ExtendedJSONEncoder
from homeassistant.setup import async_setup_component
from hypothesis import strategies as st
import pytest
from pytest_homeassistant_custom_component.components.diagnostics import (
    get_diagnostics_for_config_entry,
    get_diagnostics_for_device,
)
from pytest_homeassistant_custom_component.typing import ClientSessionGenerator

from custom_components.openxpbms.bms.counters import Direction, TracedFrame
from custom_components.openxpbms.bms.errors import (
    BusError,
    GarbledAnswer,
    NoAnswer,
    PortGone,
    WrongBattery,
)
from custom_components.openxpbms.bms.reading import (
    Alarm,
    Group,
    History,
    Level,
    Reading,
    Settings,
    State,
)
from custom_components.openxpbms.bms.virtual.seplos import VirtualBank, VirtualPack
from custom_components.openxpbms.bms.virtual.valence import VirtualModule
from custom_components.openxpbms.const import DOMAIN
from custom_components.openxpbms.diagnostics import (
    async_get_config_entry_diagnostics,
)
from custom_components.openxpbms.kept import Mode

from ..fuzz.inputs import at_once, fuzz, inputs
from ..fuzz.test_disguise import reply
from ..fuzz.test_kept import options_of
from .conftest import MakeEntry, MakeLine, identity
from .test_fuzz_writes import a_record
from .test_seplos_flow import pack_identity, refresh, seplos_entry

PARSER = "diagnostics"
# Values of a field by its annotation.
NUMBERS = (0.0, -0.0, 3.3, -40.0, 655.35, 1.7e308, 5e-324)
COUNTS = (0, 1, 16, 65535, 2**63)
FREE: dict[str, tuple[Any, ...]] = {
    "float | None": (None, *NUMBERS),
    "int | None": (None, *COUNTS),
    "bool | None": (None, True, False),
    "tuple[float, ...] | None": (None, (), (3.3,) * 4, NUMBERS),
    "tuple[float | None, ...] | None": (None, (), (None, 20.0), (None,)),
    "tuple[int, ...] | None": (None, (), (1, 4), (0x1246, 0x1247)),
    "State | None": (None, *State),
    "bytes | None": (None, b"", bytes(18), b"\xff" * 18),
    "tuple[Alarm, ...] | None": (
        None,
        (),
        (Alarm("x", Group.LOCK, Level.PROTECTION, 3), Alarm("y", Group.SOC)),
    ),
    "Mapping[str, float] | None": (None, {}, {"x": 3.3, "y": 2**63}),
    "Mapping[str, bool] | None": (None, {"x": True}),
    "datetime | None": (None, datetime(2026, 2, 28, 3, 4, 5)),  # noqa: DTZ001
}


def any_of[T: (Reading, History, Settings)](kind: type[T], chance: random.Random) -> T:
    """Return any Reading, or what else is known of a battery."""
    return kind(**{f.name: chance.choice(FREE[str(f.type)]) for f in fields(kind)})


def spoil(entry: Any, chance: random.Random, counters: list[int]) -> None:
    """Put anything in an entry that diagnostics tell."""
    coordinator = entry.runtime_data
    known = [battery.identity for battery in coordinator]
    errors: list[BusError | None] = [None, PortGone(f"{known[0].serial} has gone")]
    for battery in coordinator:
        told = any_of(Reading, chance)
        battery.reading = None if chance.random() < 0.2 else told
        battery.history = any_of(History, chance)
        battery.settings = any_of(Settings, chance)
        serial = battery.identity.serial or "?"
        battery.error = chance.choice(
            (None, NoAnswer("x"), WrongBattery("x", other=serial), GarbledAnswer("x"))
        )
        counts = coordinator.bus.counters_of(battery.identity.address)
        counts.timeouts = chance.choice(counters)
        counts.reply_times.append(chance.uniform(0, 1))
    coordinator.last_exception = chance.choice(errors)
    coordinator.round_time = chance.choice((None, 0.5))
    trace = coordinator.bus.trace
    trace._frames.clear()
    family = coordinator.family_name
    directions: tuple[Direction, ...] = ("sent", "received", "stray")
    for _ in range(chance.randint(0, 3)):
        who = chance.choice(known)
        if who.serial is None:
            data = chance.randbytes(9)
        elif family == "seplos":
            data = reply(family, who, who.serial.encode(), chance)
        else:
            serial = who.serial
            first = int(serial[:2]) << 6 | int(serial[2:4])
            words = first.to_bytes(2, "big") + int(serial[4:]).to_bytes(2, "big")
            data = reply(family, who, words, chance)
        line = chance.choice(("None", "19200 8N1"))
        cut = chance.randint(1, len(data)) if chance.random() < 0.2 else len(data)
        direction = chance.choice(directions[1:])
        trace._frames.append(TracedFrame(chance.uniform(0, 2e9), direction, data, line))
        trace._frames[-1] = replace(trace._frames[-1], data=data[:cut])
    names = list(coordinator.keys.values())
    options = MappingProxyType(options_of(chance, names))
    object.__setattr__(entry, "options", options)
    guard, log = coordinator.guard, coordinator.writes.log
    guard._kept.mode = chance.choice(list(Mode))
    log.records = [a_record(chance) for _ in range(chance.randint(0, 3))]
    for record in log.records[:1]:
        name = coordinator.writes.name_of(next(iter(coordinator)))
        log.records.append(replace(record, battery=name, user="Somebody"))
    log.factory = {chance.choice([*names, "gone"]): {"x": 1.5}}


@pytest.mark.parametrize("kind", ["valence", "asked", "listened"])
async def test_diagnostics_of_anything(
    hass: HomeAssistant, make_line: MakeLine, make_entry: MakeEntry, kind: str
) -> None:
    packs = [VirtualPack(serial=f"SP57B-A00000{n:05d}") for n in range(77001, 77005)]
    if kind == "valence":
        modules = [VirtualModule(n, serial=f"1044{10460 + n}") for n in range(1, 9)]
        line = await make_line(*modules)
        entry = await make_entry(line.path, *map(identity, modules))
        serials = [module.serial for module in modules]
    elif kind == "asked":
        line = await make_line(packs[0])
        who = pack_identity(0, packs[0].serial)
        entry = await seplos_entry(hass, line.path, who)
        serials = [packs[0].serial]
    else:
        line = await make_line(VirtualBank(packs))
        known = [pack_identity(n, pack.serial) for n, pack in enumerate(packs, 1)]
        entry = await seplos_entry(hass, line.path, *known, mode="listen")
        await refresh(hass, entry)
        serials = [pack.serial for pack in packs]
    batteries = len(list(entry.runtime_data))
    hidden = [*serials, *(serial.encode().hex(" ") for serial in serials), "Somebody"]
    if kind == "valence":
        hidden += [_words(serial).hex(" ") for serial in serials]
    options = entry.options

    def check(chance: random.Random, counters: list[int]) -> None:
        # One download tells of all batteries, each of which is an input.
        inputs[PARSER] += batteries - 1
        spoil(entry, chance, counters)
        told = at_once(async_get_config_entry_diagnostics(hass, entry))
        text = json.dumps(told, cls=ExtendedJSONEncoder, allow_nan=False)
        # What Home Assistant does not know how to tell it would tell as its `repr`.
        assert "__type" not in text
        assert not [one for one in hidden if one in text]
        assert len(told["batteries"]) == batteries

    counters = st.lists(st.integers(0), min_size=1, max_size=3)
    share = {"valence": 0.8, "asked": 0.05, "listened": 0.15}[kind]
    fuzz(PARSER, check, counters, share=share / batteries)
    object.__setattr__(entry, "options", options)


def _words(serial: str) -> bytes:
    first = int(serial[:2]) << 6 | int(serial[2:4])
    return first.to_bytes(2, "big") + int(serial[4:]).to_bytes(2, "big")


async def test_an_entry_that_is_not_loaded_has_diagnostics(
    hass: HomeAssistant,
    hass_client: ClientSessionGenerator,
    socket_enabled: None,
    make_line: MakeLine,
    make_entry: MakeEntry,
) -> None:
    assert await async_setup_component(hass, "diagnostics", {})
    module = VirtualModule(1, serial="104410461")
    line = await make_line(module)
    connections = {"connections": {"valence_104410461": {"relay": "r"}}}
    entry = await make_entry(line.path, identity(module))
    assert await hass.config_entries.async_unload(entry.entry_id)
    options = {"interval": 7, "outputs": connections}
    hass.config_entries.async_update_entry(entry, options=options)
    told: Any = await get_diagnostics_for_config_entry(hass, hass_client, entry)
    assert told["options"]["interval"] == 7
    assert told["options"]["outputs"]["connections"] == {"1": {"relay": "r"}}
    assert told["entry"]["device"] == line.path
    [battery] = told["batteries"]
    assert battery["identity"]["address"] == 1
    assert module.serial not in json.dumps(told)
    device = dr.async_get(hass).async_get_device_by_identifier(
        (DOMAIN, "valence_104410461"), entry.entry_id
    )
    assert device is not None
    single: Any = await get_diagnostics_for_device(hass, hass_client, entry, device)
    assert single == told
