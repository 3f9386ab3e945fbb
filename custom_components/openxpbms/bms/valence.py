"""Valence U-Charge XP: line settings, wake-up, requests, registers.

Modules sleep until a broadcast at 9600 baud wakes them, and are read at 115200 baud.
The address byte needs a ninth bit of 1, which mark parity and two stop bits both send
(dossier 1.3). This file can send the wake-up and function 3, and nothing else.
Sources are named as in the protocol dossier: VT is the code derived from the vendor's
tool, D80, SEB, J00, SK, TEX and CHZ are field-proven projects.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, fields
from enum import StrEnum
import time
from typing import Any

import serialx

from .bus import Bus, Heard
from .errors import (
    AnotherBattery,
    AnswerError,
    FixedSpeed,
    GarbledAnswer,
    NoAnswer,
    UnsupportedLine,
    WrongBattery,
)
from .family import AWAKE, ScanResult
from .frame import READ_HOLDING, Request
from .port import Line, changes_speed, shown
from .reading import Alarm, Group, History, Identity, Reading
from .registers import Block, Field, Value, decode

TERMINATOR = b"\r\n"
# All sources send the two trailing zeros of the vendor's ten-byte buffer.
WAKE = bytes.fromhex("00000101C0740D0A0000")
WAKE_BAUDRATE = 9600
READ_BAUDRATE = 115200
# U-BMS flags go up to 55 modules.
ADDRESSES = range(1, 56)
CELL_COUNTS = (4, 6)
WAKE_PAUSES = (0.5, 1.0)


class LineMode(StrEnum):
    """How the ninth bit of 1 is sent."""

    MARK = "mark"
    TWO_STOP_BITS = "two_stop_bits"

    def line(self, baudrate: int) -> Line:
        """Return the settings for one of the two speeds."""
        if self is LineMode.MARK:
            return Line(baudrate, parity=serialx.Parity.MARK)
        return Line(baudrate, stopbits=serialx.StopBits.TWO)


@dataclass(frozen=True, slots=True)
class Model:
    """A model as sold, its cells in series, and the Ah on its name plate."""

    name: str
    cells: int
    capacity: float


# Third character of the case name, as register 0xEE tells it (VT, J00, D80).
MODELS = {
    "1": Model("U1-12XP", 4, 40.0),
    "4": Model("U24-12XP", 4, 110.0),
    "7": Model("U27-12XP", 4, 138.0),
    "V": Model("UEV-18XP", 6, 69.0),
}

MODEL = Block(0xEE, 1)
SUMMARY = Block(0x39, 10)
VOLTAGES = Block(0x45, 9)
TEMPERATURES = Block(0x50, 7)
STATUS = Block(0x1E, 1)
EVENTS = Block(0x6A, 12)
EXTREMES = Block(0x01, 7)
CYCLES = Block(0x12, 2)
ENERGY = Block(0x21, 2)
DURATIONS = Block(0x82, 18)
# Replies of different length each, so that none passes for another.
LIVE = (SUMMARY, VOLTAGES, TEMPERATURES, STATUS)
SLOW = (EXTREMES, CYCLES)
SLOW_REVISION_2 = (ENERGY, EVENTS, DURATIONS)

FIELDS = (
    Field(name="model_code", register=0xEE, byte="high"),
    Field(name="revision_code", register=0xEE, byte="low"),
    Field(name="serial", register=0x39, items=2),
    Field(name="banks", register=0x3F, byte="high"),
    Field(name="soc", register=0x3F, byte="low", unit="%", factor=100, divisor=255),
    Field(name="current", register=0x40, unit="A", divisor=100, signed=True),
    Field(name="voltage", register=0x42, unit="V", divisor=1000),
    Field(name="highest_cell_reported", register=0x45, unit="V", divisor=1000),
    Field(name="lowest_cell_reported", register=0x46, unit="V", divisor=1000),
    Field(name="cell_voltages", register=0x48, unit="V", divisor=1000, items=6),
    Field(name="pcb_temperature", register=0x50, unit="°C", divisor=100, signed=True),
    Field(
        name="cell_temperatures",
        register=0x51,
        unit="°C",
        divisor=100,
        signed=True,
        items=6,
    ),
    Field(name="status", register=0x1E),
    Field(name="soc_tenths", register=0x6A, unit="%", divisor=10),
)

HISTORY_FIELDS = (
    Field(
        name="highest_temperature", register=0x01, unit="°C", divisor=100, signed=True
    ),
    Field(
        name="lowest_temperature", register=0x02, unit="°C", divisor=100, signed=True
    ),
    Field(name="highest_cell_voltage", register=0x03, unit="V", divisor=1000),
    Field(name="lowest_cell_voltage", register=0x04, unit="V", divisor=1000),
    Field(name="cycles", register=0x13),
    Field(name="energy", register=0x21, unit="Wh", words=2),
    Field(name="over_temperature_count", register=0x6B),
    Field(name="under_temperature_count", register=0x6C),
    Field(name="high_output_count", register=0x6D),
    Field(name="highest_discharge_current", register=0x6E, unit="A", divisor=100),
    Field(name="highest_charge_current", register=0x6F, unit="A", divisor=100),
    Field(name="balance_count", register=0x70),
    Field(name="charge_cutoff_count", register=0x73),
    Field(name="discharge_cutoff_count", register=0x74),
    Field(name="communication_error_count", register=0x75),
    *(
        Field(name=name, register=register, unit="s", words=2, low_word_first=True)
        for name, register in (
            ("under_temperature_time", 0x82),
            ("over_temperature_time", 0x84),
            ("charge_over_current_time", 0x86),
            ("discharge_over_current_time", 0x88),
            ("under_voltage_time", 0x8A),
            ("over_voltage_time", 0x8C),
        )
    ),
    Field(name="reset_count", register=0x8E),
)

# Status word 0x1E (VT). Bit 8, balancing, is a state and no alarm.
BALANCING_BIT = 8
ALARM_BITS = {
    0: Alarm("cell_voltage_high", Group.VOLTAGE),
    1: Alarm("cell_voltage_low", Group.VOLTAGE),
    2: Alarm("cell_temperature_high", Group.TEMPERATURE),
    3: Alarm("pcb_temperature_high", Group.TEMPERATURE),
    4: Alarm("cell_over_voltage", Group.VOLTAGE),
    5: Alarm("weak_cell_bank", Group.VOLTAGE),
    6: Alarm("cell_over_temperature", Group.TEMPERATURE),
    7: Alarm("pcb_over_temperature", Group.TEMPERATURE),
    9: Alarm("battery_failure", Group.HARDWARE),
    14: Alarm("cell_under_voltage", Group.VOLTAGE),
    15: Alarm("nmi_failure", Group.HARDWARE),
}


def capacity_of(model_code: str) -> float | None:
    """Return the Ah of a model when it was new, None where they are not known."""
    model = MODELS.get(model_code)
    return None if model is None else model.capacity


def serial_number(words: tuple[int, int], revision: int) -> str | None:
    """Return the number on the case from registers 0x39 and 0x3A, None if blank.

    Revision 1 has five digits in 0x39, revision 2 two, two and five digits (VT, D80).
    """
    first, second = words
    if revision == 1:
        return f"{first:05d}" if first not in (0, 0xFFFF) else None
    if words in ((0, 0), (0xFFFF, 0xFFFF)):
        return None
    return f"{first >> 6 & 0x3F:02d}{first & 0x3F:02d}{second:05d}"


def balancing_cells(banks: int, cells: int) -> tuple[int, ...]:
    """Return the numbers of the cells being bled; the bank bits are active low."""
    return tuple(cell + 1 for cell in range(cells) if not banks >> cell & 1)


def active_alarms(status: int) -> tuple[Alarm, ...]:
    """Return the alarms in a status word; unknown bits are no alarms."""
    return tuple(alarm for bit, alarm in ALARM_BITS.items() if status >> bit & 1)


def detect_cells(
    voltages: Sequence[float], lowest: float, highest: float
) -> int | None:
    """Tell 4 from 6 cells by the values of a module whose model is unknown.

    The words of cells 5 and 6 are junk on a four-cell module: they count only where
    both lie between 1.5 and 4.5 V and inside the module's own lowest and highest.
    None where not even the first four are plausible.
    """

    def plausible(cells: Sequence[float]) -> bool:
        return all(1.5 <= v <= 4.5 and lowest <= v <= highest for v in cells)

    if not plausible(voltages[:4]):
        return None
    return 6 if plausible(voltages[4:]) else 4


_PLAIN = (
    "voltage",
    "pcb_temperature",
    "highest_cell_reported",
    "lowest_cell_reported",
    "status",
)


def make_reading(
    values: dict[str, Value], cells: int, *, inverted: bool = False
) -> Reading:
    """Return the Reading of a whole set of live registers.

    Raw current is taken as positive while discharging unless `inverted` (its sign on
    RS485 is not settled, dossier 3.7).
    """
    value: dict[str, Any] = dict(values)
    known = _known(values, cells, inverted=inverted)
    status, balancing = value["status"], balancing_cells(value["banks"], cells)
    known["soc"] = value.get("soc_tenths", known["soc"])
    known["balancing"] = balancing
    # Revision 1 leaves the bit at 0 while it balances (D80).
    known["balancing_active"] = bool(balancing or status >> BALANCING_BIT & 1)
    return Reading(**known)


def make_part(
    values: dict[str, Value], cells: int, *, inverted: bool = False
) -> Reading:
    """Return what some of the live registers tell by themselves."""
    return Reading(**_known(values, cells, inverted=inverted))


def _known(values: dict[str, Value], cells: int, *, inverted: bool) -> dict[str, Any]:
    value: dict[str, Any] = dict(values)
    known = {name: value[name] for name in _PLAIN if name in value}
    for name in ("cell_voltages", "cell_temperatures"):
        if name in value:
            known[name] = value[name][:cells]
    if "current" in value:
        # 0 minus, so that no current is 0.0 and not -0.0
        known["current"] = value["current"] if inverted else 0 - value["current"]
    if "soc" in value:
        known["soc"] = round(value["soc"], 1)
    if "status" in value:
        known["alarms"] = active_alarms(value["status"])
    return known


def make_history(values: dict[str, Value]) -> History:
    """Return the History of whatever slow registers were read."""
    names = {item.name for item in fields(History)}
    known: dict[str, Any] = {k: v for k, v in values.items() if k in names}
    return History(**known)


# After so many rounds without an answer to it, block 0x6A is asked for rarely.
_EVENT_TRIES = 3
_EVENT_PAUSE = 600.0


class Valence:
    """The modules on one bus.

    `mode` is how the ninth bit is sent; `forced` keeps it even if the transport
    refuses it. `inverted` turns the sign of the current.
    """

    def __init__(
        self,
        bus: Bus,
        mode: LineMode = LineMode.MARK,
        *,
        forced: bool = False,
        inverted: bool = False,
    ) -> None:
        """Use `bus`, which is opened by `open`."""
        self.bus = bus
        self.on_part: Callable[[Identity, Reading], None] | None = None
        self.mode = mode
        self.inverted = inverted
        self._forced = forced
        self._with_events: set[int] = set()
        self._event_failures: dict[int, int] = {}
        self._events_from: dict[int, float] = {}

    @property
    def line(self) -> Line:
        """The settings for reading."""
        return self.mode.line(READ_BAUDRATE)

    async def _with_mode[T](self, act: Callable[[], Awaitable[T]]) -> T:
        """Do something that needs the line; fall back to what every transport has."""
        if not changes_speed(self.bus.url):
            raise FixedSpeed(
                f"{shown(self.bus.url)} passes bytes only and cannot change speed",
                port=shown(self.bus.url),
            )
        try:
            return await act()
        except UnsupportedLine:
            if self._forced or self.mode is LineMode.TWO_STOP_BITS:
                raise
            self.mode = LineMode.TWO_STOP_BITS
            return await act()

    async def open(self) -> None:
        """Open the bus unless it is open. Raises a PortError or ForeignMaster."""
        await self._with_mode(lambda: self.bus.open(self.line))

    async def listen(
        self, seconds: float, progress: Callable[[float], None] | None = None
    ) -> Heard:
        """Listen at the reading speed, see `Bus.listen`."""
        return await self._with_mode(
            lambda: self.bus.listen(self.line, seconds, progress)
        )

    @property
    def asleep(self) -> bool:
        """Whether the modules may have fallen asleep since the last exchange."""
        last = self.bus.last_exchange
        return last is None or time.monotonic() - last > AWAKE

    async def wake(self) -> None:
        """Send the wake-up; modules need a pause of WAKE_PAUSES before they answer."""
        await self.bus.broadcast(WAKE, self.mode.line(WAKE_BAUDRATE))

    def pause(self, tries: int) -> float:
        """Return the s between a wake-up and a question; the first is short.

        The second failed try is still the first wake-up's.
        """
        return WAKE_PAUSES[0] if tries <= 2 else WAKE_PAUSES[1]

    def heard(self, identity: Identity) -> None:
        """Nothing: what another master asks is not understood."""

    async def _ask(self, address: int, block: Block) -> bytes:
        reply = await self.bus.exchange(
            request(address, block),
            self.line,
            others=[request(address, other) for other in (*LIVE, CYCLES)],
        )
        return reply.data

    async def _values(
        self, address: int, blocks: Iterable[Block], table: Sequence[Field] = FIELDS
    ) -> dict[str, Value]:
        values: dict[str, Value] = {}
        for block in blocks:
            values |= decode(table, block, await self._ask(address, block))
        return values

    async def read(self, identity: Identity) -> Reading:
        """Read one module whole.

        Raises an AnswerError where any block is missing, AnotherBattery where the
        serial number is another one; then there is no Reading at all.
        """
        address = identity.address
        values: dict[str, Value] = {}
        for block in LIVE:
            told = await self._values(address, (block,))
            if block is SUMMARY:
                self._check_serial(identity, told)
            self._tell(identity, told)
            values |= told
        if identity.revision != 1:
            values |= await self._events(address)
        return make_reading(
            values, identity.cells or CELL_COUNTS[0], inverted=self.inverted
        )

    def _tell(self, identity: Identity, values: dict[str, Value]) -> None:
        if self.on_part:
            cells = identity.cells or CELL_COUNTS[0]
            self.on_part(identity, make_part(values, cells, inverted=self.inverted))

    def _check_serial(self, identity: Identity, values: dict[str, Value]) -> None:
        serial = _serial(values, identity.revision or 2)
        if identity.serial is not None and serial != identity.serial:
            raise AnotherBattery(
                f"address {identity.address} belongs to another battery now",
                address=str(identity.address),
                other=serial or "?",
            )

    async def _events(self, address: int) -> dict[str, Value]:
        """Read 0x6A for its finer SOC; do without where a module never answers it."""
        if time.monotonic() < self._events_from.get(address, 0.0):
            return {}
        try:
            values = await self._values(address, (EVENTS,))
        except NoAnswer:
            if address in self._with_events:
                raise
            failures = self._event_failures.get(address, 0) + 1
            self._event_failures[address] = failures
            if failures < _EVENT_TRIES:
                raise
            self._events_from[address] = time.monotonic() + _EVENT_PAUSE
            return {}
        self._with_events.add(address)
        return values

    async def read_slow(self, identity: Identity) -> History:
        """Read the slow registers; what does not answer stays None."""
        blocks = SLOW if identity.revision == 1 else SLOW + SLOW_REVISION_2
        values: dict[str, Value] = {}
        for block in blocks:
            try:
                values |= await self._values(identity.address, (block,), HISTORY_FIELDS)
            except AnswerError:
                continue
        return make_history(values)

    async def identify(self, address: int) -> Identity:
        """Ask a module who it is. Raises an AnswerError."""
        values = await self._values(address, (MODEL, SUMMARY))
        letter: Any = values["model_code"]
        code = chr(letter) if 0x21 <= letter <= 0x7E else f"0x{letter:02X}"
        revision = 2 if values["revision_code"] else 1
        model = MODELS.get(code)
        return Identity(
            address=address,
            serial=_serial(values, revision),
            model=model.name if model else f"XP ({code})",
            model_code=code,
            revision=revision,
            cells=model.cells if model else await self._detected_cells(address),
        )

    async def _detected_cells(self, address: int) -> int | None:
        values: dict[str, Any] = await self._values(address, (VOLTAGES,))
        return detect_cells(
            values["cell_voltages"],
            values["lowest_cell_reported"],
            values["highest_cell_reported"],
        )

    async def scan(
        self,
        addresses: Sequence[int] = ADDRESSES,
        progress: Callable[[float], None] = lambda share: None,
    ) -> ScanResult:
        """Look for modules, address by address; the port must be open.

        Two stop bits are tried where mark parity brings nothing, or leaves gaps below
        the highest address found: some adapters take mark and send something else.
        """
        result = await self._scan(addresses, lambda share: progress(share / 2))
        found = {identity.address for identity in result.found}
        gaps = [a for a in addresses if a not in found and a < max(found, default=256)]
        if gaps and self.mode is LineMode.MARK and not self._forced:
            self.mode = LineMode.TWO_STOP_BITS
            again = await self._scan(gaps, lambda share: progress((1 + share) / 2))
            if again.found:
                both = result.found + again.found
                result = ScanResult(
                    tuple(sorted(both, key=lambda identity: identity.address)),
                    again.garbled + tuple(a for a in result.garbled if a not in gaps),
                )
            else:
                self.mode = LineMode.MARK
        progress(1.0)
        return result

    async def _scan(
        self, addresses: Sequence[int], progress: Callable[[float], None]
    ) -> ScanResult:
        found: list[Identity] = []
        garbled: list[int] = []
        woken: float | None = None
        for done, address in enumerate(addresses):
            progress(done / len(addresses))
            if woken is None or time.monotonic() - woken > AWAKE:
                await self._with_mode(self.wake)
                await asyncio.sleep(0 if woken else WAKE_PAUSES[0])
                woken = time.monotonic()
            try:
                found.append(await self.identify(address))
            except NoAnswer:
                continue
            except (GarbledAnswer, WrongBattery):
                garbled.append(address)
        return ScanResult(tuple(found), tuple(garbled))


def request(address: int, block: Block) -> Request:
    """Return the frame that reads `block` of a module."""
    return Request(address, READ_HOLDING, block.register, block.count, TERMINATOR)


def _serial(values: dict[str, Value], revision: int) -> str | None:
    words: Any = values["serial"]
    return serial_number(words, revision)
