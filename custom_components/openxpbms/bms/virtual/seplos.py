"""Virtual Seplos V3 packs, alone or as a bank whose first pack is master.

Tables and quirks follow the protocol dossier. The wire format is written down here once
more, so that a client cannot lean on its own mistakes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
import re

from ..frame import crc16, with_crc
from .device import Answer, Settings

BAUDRATE = 19200
READ_COILS = 1
READ_REGISTERS = 4
WRITE_COILS = 15
WRITE_REGISTERS = 16
REFUSED = 0x80
ILLEGAL_FUNCTION = 1
ILLEGAL_ADDRESS = 2
ILLEGAL_VALUE = 3

PIA, PIB, PIC, SPA, SFA = 0x1000, 0x1100, 0x1200, 0x1300, 0x1400
CLOCK, VIA, PCT = 0x1500, 0x1700, 0x1800
CELLS = 16
SENSORS = 8
# 0.0 °C, which also fills the place of a sensor that is missing.
ZERO_CELSIUS = 2731
COARSE_BOARD = 300
# Bits of the state byte.
DISCHARGE, CHARGE, STANDBY = 0x01, 0x02, 0x10
FUNCTIONS = bytes.fromhex("FFFF3F017F2F9F0F636F")
LINE = Settings(BAUDRATE, 10, ninth_bit=False)

# SPA as a 200 A board leaves the factory, from 0x1300 on (dossier 2.4); made into a
# pack of 280 Ah for an inverter that speaks Pylon.
_FACTORY = (
    *(4, 16, 5400, 5600, 5400, 5760, 4800, 4640, 4800, 4320),
    *(3400, 3500, 3400, 3650, 3100, 2900, 3100, 2700, 2000, 1000, 500),
    *(203, 205, 210, 100, 300, 300, -203, -205, -210, 100, -350, 300, -300, 106),
    *(600, 5, 3000, 205, 10, 3500, 3400, 1500, 1000, 800, 200, 30),
    *(3201, 3231, 3231, 3281, 2781, 2751, 2731, 2631),
    *(3231, 3281, 3281, 3331, 2761, 2631, 2731, 2581),
    *(3201, 3231, 3281, 3331, 2761, 2731, 2731, 2631),
    *(3581, 3681, 3581, 3831, 2831, 2731, 3231, 2731),
    *(10, 3400, 50, 30, 960, 150, 100, 70, 50, 28000, 28000, 14000, 48),
    *(60, 240, 10, 7, 0, 13, 0, 500, 300, 5760, 180, -180, 0, 8),
)


# What nobody may change: numbers of sensors and cells, short circuit, float, precharge
# ratios, counters, compensation, what the vendor's tool alone knows (dossier 2.4).
_NEVER_WRITTEN = frozenset(
    {
        *(0x1300, 0x1301, 0x1321, 0x1322, 0x1359, 0x135A, 0x1368, 0x1369),
        *range(0x1328, 0x132E),
        *range(0x135F, 0x1363),
    }
)
# Words that switch MOSFETs: whether the one for discharge is meant, and to what.
_MOSFETS = {
    (0x1510, 0x55AA): (True, False),
    (0x1510, 0xAA55): (True, True),
    (0x1511, 0x55AA): (False, False),
    (0x1515, 0xAA55): (False, True),
}


class WriteFault(StrEnum):
    """How a pack may fail to be written to.

    It refuses the register or the value, takes another value, falls silent afterwards,
    says yes and does nothing, does it and says nothing, answers late, or loses power
    before it has kept the value.
    """

    REFUSE_REGISTER = "refuse_register"
    REFUSE_VALUE = "refuse_value"
    CLAMP = "clamp"
    SILENT = "silent"
    IGNORE = "ignore"
    NO_ACKNOWLEDGEMENT = "no_acknowledgement"
    LATE = "late"
    POWER_LOSS = "power_loss"


@dataclass(slots=True, kw_only=True)
class Lifetime:
    """What a pack counts: cycles, Ah discharged in all."""

    cycles: int = 12
    discharge: float = 3400.0


@dataclass(slots=True)
class VirtualPack:
    """One pack; its values are in V, °C, A (positive while charging), Ah and %.

    Everything may be changed from outside at any time. `balancing` holds cell numbers
    from 1. `remaining_capacity` follows `soc` while it is None, `flags`, the state
    byte, the current. `parameters` are raw words of SPA, but for the numbers of
    sensors and cells and the capacities, which follow from the rest. `functions` are
    the bytes of SFA, `clock_offset` is how far its clock is ahead.

    `coils` are further coils of PIC to be set, `registers` override raw words, both by
    their number. `refuse` holds the first registers or coils of tables that it does
    not have, `short_pia` leaves the last register of PIA out. `turnaround` is how many
    s it takes to answer; `before_answer` is called with the pack and the line's time
    in s.

    It can be written to by function 16, as packs are believed to: `written` are the
    registers and words that were taken in, `write_fault` is how that fails, `late` how
    many s a late acknowledgement takes, `clamped` the word that it takes instead.
    """

    address: int = 0
    serial: str = "SP57B-A0000000001"
    pack_serial: str = ""
    device: str = "SG16S200A-SP57B-A"
    factory: str = "XZH-ElecTech Co.,Ltd"
    firmware: str = "15"
    cells: int = 16
    sensors: int = 4
    cell_voltages: list[float] = field(default_factory=list)
    cell_temperatures: list[float] = field(default_factory=list)
    ambient_temperature: float = 21.0
    mosfet_temperature: float = 24.0
    current: float = 0.0
    soc: float = 50.0
    soh: float = 100.0
    full_capacity: float = 280.0
    remaining_capacity: float | None = None
    lifetime: Lifetime = field(default_factory=Lifetime)
    allowed_charge_current: int = 180
    allowed_discharge_current: int = 180
    balancing: set[int] = field(default_factory=set)
    charge_mosfet: bool = True
    discharge_mosfet: bool = True
    current_limiting: bool = False
    heater: bool = False
    newer_board: bool = True
    flags: int | None = None
    coils: set[int] = field(default_factory=set)
    functions: bytes = FUNCTIONS
    parameters: dict[int, int] = field(default_factory=dict)
    clock_offset: timedelta = timedelta()
    registers: dict[int, int] = field(default_factory=dict)
    refuse: set[int] = field(default_factory=set)
    short_pia: bool = False
    silent: bool = False
    turnaround: float = 0.01
    before_answer: Callable[[VirtualPack, float], None] | None = None
    write_fault: WriteFault | None = None
    late: float = 1.0
    clamped: int = 0
    written: list[tuple[int, int]] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        """Fill in what nobody gave."""
        if not self.cell_voltages:
            self.cell_voltages = [(3300 + n) / 1000 for n in range(self.cells)]
        if not self.cell_temperatures:
            self.cell_temperatures = [20.0 + n / 2 for n in range(self.sensors)]
        self.parameters = dict(enumerate(_FACTORY, SPA)) | self.parameters

    @property
    def board(self) -> int:
        """A that the board is made for, as its name says; 0 where it says nothing."""
        match = re.search(r"S([0-9]+)A", self.device)
        return int(match[1]) if match else 0

    def hear(
        self, data: bytes, settings: Settings, now: float, *, lenient: bool
    ) -> Answer | bool:
        """Answer, or complain; see `Device.hear`."""
        if len(data) < _length(data):
            return False
        if problem := _problem(data, settings, lenient=lenient):
            self._complain(problem)
            return True
        if data[0] != self.address:
            return True
        if self.before_answer is not None:
            self.before_answer(self, now)
        if self.silent:
            return True
        reply = self.reply(data)
        if data[1] != WRITE_REGISTERS:
            return Answer(reply, self.turnaround)
        match self.write_fault:
            case WriteFault.NO_ACKNOWLEDGEMENT:
                return True
            case WriteFault.SILENT | WriteFault.POWER_LOSS:
                self.silent = True
            case WriteFault.LATE:
                return Answer(reply, self.late)
        return Answer(reply, self.turnaround)

    def reply(self, request: bytes) -> bytes:
        """Return the frame that answers a request, an exception where it must."""
        function = request[1]
        first, count = (int.from_bytes(request[at : at + 2]) for at in (2, 4))
        code = self._refusal(function, first, count)
        if function == WRITE_REGISTERS and len(request) != 9 + 2 * count:
            self._complain(f"write of {count} registers: {request.hex(' ')}")
            code = ILLEGAL_VALUE
        if code:
            return with_crc(bytes((self.address, function | REFUSED, code)))
        if function == WRITE_REGISTERS:
            self._write(first, _words(request[7:-2]))
            return with_crc(request[:6])
        if function == READ_COILS:
            data = self._read_coils(first, count)
        else:
            data = b"".join(word.to_bytes(2) for word in self.words(first, count))
        return with_crc(bytes((self.address, function, len(data))) + data)

    def _refusal(self, function: int, first: int, count: int) -> int:
        """Return the code of an exception, 0 for none."""
        if function == WRITE_REGISTERS:
            return self._write_refusal(first, count)
        if function not in (READ_COILS, READ_REGISTERS):
            self._complain(f"function {function}")
            return ILLEGAL_FUNCTION
        if not count:
            return ILLEGAL_VALUE
        table = first & 0xFF00
        whose, size = _TABLES.get(table, (0, 0))
        if table == PIA and self.short_pia:
            size -= 1
        there = whose == function and table not in self.refuse
        return 0 if there and first + count <= table + size else ILLEGAL_ADDRESS

    def _write_refusal(self, first: int, count: int) -> int:
        if first + count <= first:
            return ILLEGAL_VALUE
        for register in range(first, first + count):
            if register in _NEVER_WRITTEN or not self._takes(register):
                self._complain(f"write of register 0x{register:04X}")
                return ILLEGAL_ADDRESS
        if self.write_fault is WriteFault.REFUSE_REGISTER:
            return ILLEGAL_ADDRESS
        return ILLEGAL_VALUE if self.write_fault is WriteFault.REFUSE_VALUE else 0

    def _takes(self, register: int) -> bool:
        known = {register for register, _ in _MOSFETS}
        return SPA <= register < SPA + len(_FACTORY) or register in known

    def _write(self, first: int, words: Iterable[int]) -> None:
        for register, word in enumerate(words, first):
            if register < CLOCK and self.write_fault is WriteFault.CLAMP:
                self._take(register, self.clamped)
            elif self.write_fault not in (WriteFault.IGNORE, WriteFault.POWER_LOSS):
                self._take(register, word)

    def _take(self, register: int, word: int) -> None:
        self.written.append((register, word))
        if register < CLOCK:
            self.parameters[register] = word
            return
        if (register, word) not in _MOSFETS:
            self._complain(f"0x{word:04X} in register 0x{register:04X}")
            return
        discharge, on = _MOSFETS[register, word]
        if discharge:
            self.discharge_mosfet = on
        else:
            self.charge_mosfet = on

    def words(self, first: int, count: int = 1) -> list[int]:
        """Return raw words of one table, from the register `first` on."""
        table = first & 0xFF00
        words = dict(enumerate(_WORDS[table](self), table)) | self.registers
        return [words[at] & 0xFFFF for at in range(first, first + count)]

    def _read_coils(self, first: int, count: int) -> bytes:
        table = first & 0xFF00
        data = self.functions if table == SFA else self.states()
        bits = int.from_bytes(data, "little") >> first - table & (1 << count) - 1
        return bits.to_bytes((count + 7) // 8, "little")

    def states(self) -> bytes:
        """Return the 18 bytes of PIC."""
        flags = self.flags
        if flags is None:
            [current] = self.words(PIA + 1)
            flags = STANDBY if not current else DISCHARGE if current >> 15 else CHARGE
        data = bytearray(18)
        data[8] = flags
        data[15] = (
            self.discharge_mosfet
            | self.charge_mosfet << 1
            | self.current_limiting << 2
            | self.heater << 3
            | self.newer_board << 6
        )
        data[16] = bool(self.balancing)
        for coil in {PIC + 0x2F + cell for cell in self.balancing} | self.coils:
            data[(coil - PIC) // 8] |= 1 << coil % 8
        return bytes(data)

    def _complain(self, problem: str) -> None:
        if problem not in self.complaints:
            self.complaints.append(problem)


def _length(data: bytes) -> int:
    """Return how many bytes a request has that begins with these."""
    if len(data) > 6 and data[1] in (WRITE_COILS, WRITE_REGISTERS):
        return 9 + data[6]
    return 8


def _problem(frame: bytes, settings: Settings, *, lenient: bool) -> str:
    """Return what is wrong with a request, empty if nothing is."""
    if settings.baudrate != BAUDRATE and not lenient:
        return f"request at {settings.baudrate} baud"
    if settings != LINE and not lenient:
        return f"request with {settings.bits} bits a byte"
    if len(frame) > _length(frame):
        return f"no request: {frame.hex(' ')}"
    if crc16(frame[:-2]) != int.from_bytes(frame[-2:], "little"):
        return "wrong CRC"
    return ""


def _kelvin(celsius: float) -> int:
    return round(10 * celsius) + ZERO_CELSIUS


def _millivolts(volts: float) -> int:
    return round(1000 * volts)


def _pia(pack: VirtualPack) -> list[int]:
    cells = [_millivolts(volts) for volts in pack.cell_voltages[: pack.cells]]
    temperatures = [_kelvin(t) for t in pack.cell_temperatures[: pack.sensors]]
    return [
        round(sum(cells) / 10),
        round(pack.current * (10 if pack.board >= COARSE_BOARD else 100)),
        *_capacities(pack),
        round(pack.lifetime.discharge / 10),
        round(10 * pack.soc),
        round(10 * pack.soh),
        pack.lifetime.cycles,
        # It does not round, as captures show.
        sum(cells) // len(cells),
        sum(temperatures) // len(temperatures),
        max(cells),
        min(cells),
        max(temperatures),
        min(temperatures),
        0,
        pack.allowed_discharge_current,
        pack.allowed_charge_current,
        1000,
    ]


def _capacities(pack: VirtualPack) -> tuple[int, int]:
    """Return what is left and what there is when it is full."""
    left = pack.remaining_capacity
    if left is None:
        left = pack.full_capacity * pack.soc / 100
    return round(100 * left), round(100 * pack.full_capacity)


def _pib(pack: VirtualPack) -> list[int]:
    cells = [_millivolts(volts) for volts in pack.cell_voltages[: pack.cells]]
    temperatures = [_kelvin(t) for t in pack.cell_temperatures[: pack.sensors]]
    return [
        *cells,
        *[0] * (CELLS - len(cells)),
        *temperatures,
        *[ZERO_CELSIUS] * (SENSORS - len(temperatures)),
        _kelvin(pack.ambient_temperature),
        _kelvin(pack.mosfet_temperature),
    ]


def _spa(pack: VirtualPack) -> list[int]:
    left, full = _capacities(pack)
    known = {SPA: pack.sensors, SPA + 1: pack.cells, 0x1359: full, 0x135A: left}
    return [(pack.parameters | known)[at] for at in range(SPA, SPA + len(_FACTORY))]


def _clock(pack: VirtualPack) -> list[int]:
    now = datetime.now().astimezone() + pack.clock_offset
    # The papers end in 0, captures in the seconds once more.
    rest = (now.month, now.day, now.hour, now.minute, now.second, now.second)
    return _words(now.year.to_bytes(2, "little") + bytes(rest))


def _via(pack: VirtualPack) -> list[int]:
    texts = (
        (pack.factory, 20),
        (pack.device, 20),
        (pack.firmware, 2),
        (pack.serial, 30),
        (pack.pack_serial, 30),
    )
    return _words(b"".join(_text(text, size) for text, size in texts))


def _pct(_pack: VirtualPack) -> list[int]:
    texts = _text("Pylon", 32) + _text("Pylon CAN Protocol", 32) + _text("20", 2)
    return [0, 500, *_words(texts), 0]


def _text(text: str, size: int) -> bytes:
    return text.encode("latin-1")[:size].ljust(size, b"\0")


def _words(data: bytes) -> list[int]:
    return [int.from_bytes(data[at : at + 2]) for at in range(0, len(data), 2)]


# First register or coil: the function that reads it, and how many there are.
_TABLES: dict[int, tuple[int, int]] = {
    PIA: (READ_REGISTERS, 18),
    PIB: (READ_REGISTERS, 26),
    PIC: (READ_COILS, 144),
    SPA: (READ_REGISTERS, 106),
    SFA: (READ_COILS, 80),
    CLOCK: (READ_REGISTERS, 4),
    VIA: (READ_REGISTERS, 51),
    PCT: (READ_REGISTERS, 36),
}
_WORDS: dict[int, Callable[[VirtualPack], list[int]]] = {
    PIA: _pia,
    PIB: _pib,
    SPA: _spa,
    CLOCK: _clock,
    VIA: _via,
    PCT: _pct,
}


# Between frames and between bursts there is silence, s.
_GAP = 0.002
_REST = 0.04
_PERIOD = 0.2


def _polls(pack: VirtualPack) -> Iterator[tuple[bytes, bytes]]:
    """Yield the requests that a master polls a pack with, and the answers."""
    for table in (PIA, PIB, PIC):
        function, count = _TABLES[table]
        head = bytes((pack.address, function))
        request = with_crc(head + table.to_bytes(2) + count.to_bytes(2))
        yield request, pack.reply(request)


def _polled(packs: Iterable[VirtualPack]) -> Iterator[Answer]:
    """Yield what is on the line while a master polls; a silent pack does not answer."""
    for pack in packs:
        for request, reply in _polls(pack):
            yield Answer(request, _GAP)
            if not pack.silent:
                yield Answer(reply, _GAP)


def _prepare(packs: Iterable[VirtualPack], now: float) -> None:
    for pack in packs:
        if pack.before_answer is not None:
            pack.before_answer(pack, now)


@dataclass(slots=True)
class Intruder:
    """A second master: it polls packs every `interval` s while it is `talking`.

    It says itself what they answer, so that they need not be on its line.
    """

    packs: Sequence[VirtualPack]
    interval: float = _PERIOD
    talking: bool = True
    settings: Settings = LINE
    complaints: list[str] = field(default_factory=list)

    def hear(
        self, data: bytes, settings: Settings, now: float, *, lenient: bool
    ) -> bool:
        """Nobody asks a master; see `Device.hear`."""
        return False

    def speak(self, now: float) -> Iterable[Answer]:
        """Poll all packs; see `Talker`."""
        if not self.talking:
            return []
        _prepare(self.packs, now)
        return _polled(self.packs)


class VirtualBank:
    """Packs 1 to N in parallel, the first of which is master.

    It polls the others and then sends its own three replies that nobody asked for, as
    was captured with two packs. Whoever else sends on this line is complained of.
    """

    settings = LINE

    def __init__(self, packs: Sequence[VirtualPack]) -> None:
        """Number the packs from 1; there must be 2 to 16 of them."""
        assert 2 <= len(packs) <= 16, "a bank has 2 to 16 packs"
        self.packs = list(packs)
        for number, pack in enumerate(self.packs, 1):
            pack.address = number
        self.interval = _PERIOD
        self.complaints: list[str] = []

    def hear(
        self, data: bytes, settings: Settings, now: float, *, lenient: bool
    ) -> bool:
        """Complain: there is a master already; see `Device.hear`."""
        problem = f"a second master: {data.hex(' ')}"
        if problem not in self.complaints:
            self.complaints.append(problem)
        return True

    def speak(self, now: float) -> Iterable[Answer]:
        """Poll packs 2 to N, then tell of the master itself; see `Talker`."""
        _prepare(self.packs, now)
        master, *others = self.packs
        burst = list(_polled(others))
        if not master.silent:
            burst += (Answer(reply, _GAP) for _, reply in _polls(master))
        seconds = sum(said.delay + LINE.seconds(len(said.data)) for said in burst)
        self.interval = max(_PERIOD, seconds + _REST)
        return burst
