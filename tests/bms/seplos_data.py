"""The captured Seplos frames under tests/frames, and what they tell."""

from __future__ import annotations

from dataclasses import dataclass, field
import random
from typing import Any

from custom_components.openxpbms.bms.frame import with_crc
from custom_components.openxpbms.bms.reading import Identity, Reading, State
from custom_components.openxpbms.bms.seplos_tables import ALARMS
from custom_components.openxpbms.bms.virtual import VirtualPack
from custom_components.openxpbms.bms.virtual.line import Answer, Settings

from .data import load

FRAMED = ("reply", "unsolicited")
STATES = {
    "discharge": State.DISCHARGING,
    "charge": State.CHARGING,
    "standby": State.STANDBY,
}


@dataclass(frozen=True)
class Captured:
    """A frame, or its payload alone, with all values that it is known to tell."""

    number: int
    source: str
    table: str
    kind: str
    address: int
    crc_ok: bool | None
    hex: str
    values: dict[str, Any]
    edited: bool

    def __str__(self) -> str:
        """Name the test."""
        return f"{self.table}-{self.kind}-{self.number}"

    @property
    def data(self) -> bytes:
        """The bytes as they were published."""
        return bytes.fromhex(self.hex)

    @property
    def payload(self) -> bytes:
        """What a reply tells, without the frame around it."""
        return self.data[3:-2] if self.kind in FRAMED else self.data


CAPTURED = [
    Captured(
        number,
        item["source"],
        item["table"],
        item["kind"],
        item.get("address", -1),
        item["crc_ok"],
        item["hex"],
        item.get("values", {}),
        "edited" in item.get("note", ""),
    )
    for number, item in enumerate(load("seplos_v3.json")["frames"])
]
BURSTS: dict[str, list[bytes]] = {
    name: [bytes.fromhex(frame) for frame in frames]
    for name, frames in load("seplos_bursts.json")["bursts"].items()
}
PARAMETERS: list[dict[str, Any]] = load("seplos_parameters.json")["parameters"]


def those(
    *tables: str, kinds: tuple[str, ...] = (*FRAMED, "payload")
) -> list[Captured]:
    """Return what tells the content of some tables; broken frames tell nothing."""
    return [
        item
        for item in CAPTURED
        if item.table in tables and item.kind in kinds and item.crc_ok is not False
    ]


def by_frame(data: bytes) -> Captured:
    """Return the captured frame of these bytes."""
    [found] = [item for item in CAPTURED if item.data == data]
    return found


def parameter(row: dict[str, Any], raw: int) -> float:
    """Return the value of a word of SPA, as a person would reckon it."""
    per_unit = round(1 / row["scale"])
    return (raw - 2731 * (row["kind"] == "temp")) / per_unit


def told(
    pia: Captured, pib: Captured, pic: Captured, *, divisor: int = 100, cells: int = 16
) -> Reading:
    """Return the Reading of three captured tables, by their stated values.

    For packs with four sensors, none of which is at 0.0 °C, and without trouble.
    """
    first, second, third = (dict(item.values) for item in (pia, pib, pic))
    [state] = third["system"]
    return Reading(
        voltage=first["pack_voltage_V"],
        current=round(first["current_A_at_0p01"] * 100) / divisor,
        soc=first["soc_pct"],
        soh=first["soh_pct"],
        cycles=first["cycles"],
        remaining_capacity=first["remaining_Ah"],
        full_capacity=first["total_Ah"],
        total_discharge=first["total_discharged_Ah"],
        allowed_charge_current=first["max_charge_A"],
        allowed_discharge_current=first["max_discharge_A"],
        highest_cell_reported=first["max_cell_mV"] / 1000,
        lowest_cell_reported=first["min_cell_mV"] / 1000,
        cell_voltages=tuple(mv / 1000 for mv in second["cells_mV"][:cells]),
        cell_temperatures=tuple(second["cell_C"]),
        ambient_temperature=second["ambient_C"],
        mosfet_temperature=second["power_C"],
        state=STATES[state],
        charging=state == "charge",
        discharging=state == "discharge",
        charge_mosfet="charge_fet" in third["fet"],
        discharge_mosfet="discharge_fet" in third["fet"],
        current_limiting=False,
        heater=False,
        balancing=(),
        balancing_active=False,
        coils=pic.payload,
        unknown_coils=(),
        alarms=(),
    )


# All that was published of one lone pack at slave 0 (MARC), by its first register.
DUMP: dict[int, Captured] = {
    {"PIA": 0x1000, "PIB": 0x1100, "PIC": 0x1200, "SPA": 0x1300}.get(item.table)
    or {"SFA": 0x1400, "SCA": 0x1500, "VIA": 0x1700}[item.table]: item
    for item in CAPTURED
    if item.source == "MARC"
}


@dataclass
class Tables:
    """A pack made of published tables, without any timing.

    `refused` and `silent` are registers at which it will not answer, or not for so
    many of them; `heard` the register and count of whatever it was asked.
    """

    address: int = 0
    blocks: dict[int, bytes] = field(
        default_factory=lambda: {at: item.payload for at, item in DUMP.items()}
    )
    refused: set[int | tuple[int, int]] = field(default_factory=set)
    silent: set[int | tuple[int, int]] = field(default_factory=set)
    before: bytes = b""
    complaints: list[str] = field(default_factory=list)
    heard: list[tuple[int, int]] = field(default_factory=list)

    def hear(
        self, data: bytes, settings: Settings, now: float, *, lenient: bool
    ) -> Answer | bool:
        """Answer with the content of a table, refuse, or say nothing."""
        if len(data) < 8 or data[0] != self.address:
            return False
        asked = int.from_bytes(data[2:4], "big"), int.from_bytes(data[4:6], "big")
        self.heard.append(asked)
        if self.silent & {asked, asked[0]}:
            return True
        head = data[:2]
        found = None if self.refused & {asked, asked[0]} else self._content(*asked)
        if found is None:
            frame = with_crc(bytes((head[0], head[1] | 0x80, 2)))
        else:
            frame = with_crc(head + bytes((len(found),)) + found)
        return Answer(self.before + frame, 0.0)

    def _content(self, register: int, count: int) -> bytes | None:
        for first, data in self.blocks.items():
            size = count // 8 if first in (0x1200, 0x1400) else 2 * count
            start = 2 * (register - first)
            if start >= 0 and start + size <= len(data):
                return data[start : start + size]
        return None

    def change(self, register: int, *words: int) -> None:
        """Put words into registers."""
        [first] = [at for at in self.blocks if at == register & 0xFF00]
        start = 2 * (register - first)
        data = b"".join((word & 0xFFFF).to_bytes(2, "big") for word in words)
        old = self.blocks[first]
        self.blocks[first] = old[:start] + data + old[start + len(data) :]

    def write(self, register: int, text: str, size: int) -> None:
        """Put a text into registers."""
        data = text.encode().ljust(size, b"\0")
        self.change(
            register,
            *(int.from_bytes(data[at : at + 2], "big") for at in range(0, size, 2)),
        )


# Virtual packs


def identity(of: VirtualPack, **changes: Any) -> Identity:
    """Return what a search tells of a virtual pack."""
    facts: dict[str, Any] = {
        "address": of.address,
        "serial": of.serial or of.pack_serial or None,
        "model": of.device or "Seplos V3",
        "model_code": of.device,
        "firmware": ".".join(of.firmware) or None,
        "cells": of.cells,
        "sensors": of.sensors,
        "board": of.board or None,
    }
    return Identity(**facts | changes)


def expected(of: VirtualPack) -> Reading:
    """Return the Reading that a virtual pack's values make, by other arithmetic."""
    millivolts = [round(1000 * volts) for volts in of.cell_voltages]
    left = of.remaining_capacity
    if left is None:
        left = of.full_capacity * of.soc / 100
    step = 0.1 if of.board >= 300 else 0.01
    return Reading(
        voltage=round(sum(millivolts) / 10) / 100,
        current=round(round(of.current / step) * step, 2),
        soc=of.soc,
        soh=of.soh,
        cycles=of.lifetime.cycles,
        remaining_capacity=round(left, 2),
        full_capacity=of.full_capacity,
        total_discharge=round(of.lifetime.discharge / 10) * 10,
        allowed_charge_current=of.allowed_charge_current,
        allowed_discharge_current=of.allowed_discharge_current,
        cell_voltages=tuple(of.cell_voltages),
        cell_temperatures=tuple(of.cell_temperatures),
        ambient_temperature=of.ambient_temperature,
        mosfet_temperature=of.mosfet_temperature,
        highest_cell_reported=max(of.cell_voltages),
        lowest_cell_reported=min(of.cell_voltages),
        state=State.CHARGING
        if of.current > 0
        else State.DISCHARGING
        if of.current < 0
        else State.STANDBY,
        charging=of.current > 0,
        discharging=of.current < 0,
        charge_mosfet=of.charge_mosfet,
        discharge_mosfet=of.discharge_mosfet,
        current_limiting=of.current_limiting,
        heater=of.heater,
        balancing=tuple(sorted(of.balancing)),
        balancing_active=bool(of.balancing),
        coils=of.states(),
        unknown_coils=(0x127E,) if of.newer_board else (),
        alarms=tuple(ALARMS[coil] for coil in sorted(of.coils)),
    )


def scramble(of: VirtualPack, chance: random.Random) -> None:
    """Give a pack new values, cold and discharging ones too.

    None of its cells is at 0.0 °C, where who only listens takes a sensor for missing.
    """
    of.cell_voltages = [chance.randint(2000, 3900) / 1000 for _ in range(of.cells)]
    of.cell_temperatures = [
        chance.choice((chance.randint(-399, -1), chance.randint(1, 900))) / 10
        for _ in range(of.sensors)
    ]
    of.ambient_temperature = chance.randint(-399, 900) / 10
    of.mosfet_temperature = chance.randint(-399, 1200) / 10
    step = 10 if of.board >= 300 else 100
    of.current = chance.randint(-32000, 32000) / step
    of.soc, of.soh = chance.randint(0, 1000) / 10, chance.randint(0, 1000) / 10
    of.full_capacity = chance.randint(1000, 65535) / 100
    of.remaining_capacity = chance.randint(0, 65535) / 100
    of.lifetime.cycles = chance.randint(0, 65535)
    of.lifetime.discharge = 10 * chance.randint(0, 65535)
    of.balancing = set(chance.sample(range(1, of.cells + 1), chance.randint(0, 4)))
    of.charge_mosfet, of.heater = chance.random() < 0.5, chance.random() < 0.5
    of.discharge_mosfet = chance.random() < 0.5
    of.coils = set(chance.sample(sorted(ALARMS), chance.randint(0, 3)))
