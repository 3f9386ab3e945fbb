"""Virtual Valence XP modules that sleep, answer and stay silent like real ones.

Registers and quirks follow the protocol dossier, with its names of sources: VT is the
code derived from the vendor's tool, D80, SK, SKT, TEX and UBMS are field-proven.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from ..frame import crc16, with_crc
from .device import Answer, Settings

# Two zeros follow it in the vendor's ten-byte buffer and mean nothing (dossier 1.4).
WAKE = bytes.fromhex("00000101C0740D0A")
WAKE_BAUDRATE = 9600
READ_BAUDRATE = 115200
READ = 3
TERMINATOR = b"\r\n"
REQUEST_LENGTH = 10
# Words of cells that a four-cell module does not have (sample A; TEX on temperatures).
JUNK_VOLTAGES = (0x8800, 0x4420)
JUNK_TEMPERATURE = 0x8000
CELLS = 6
IDLE_BANKS = 0x3F
BALANCING_FLAG = 0x0100


@dataclass(slots=True, kw_only=True)
class Lifetime:
    """What a module remembers: °C, V, A, Wh; counts and s by their registers.

    The counts are those of a captured reply (sample C).
    """

    highest_temperature: float = 41.5
    lowest_temperature: float = -7.25
    highest_cell_voltage: float = 3.871
    lowest_cell_voltage: float = 2.604
    highest_discharge_current: float = 311.55
    highest_charge_current: float = 253.23
    energy: int = 950_000
    counts: dict[int, int] = field(
        default_factory=lambda: {0x70: 27695, 0x71: 52015, 0x72: 4, 0x74: 1, 0x75: 1}
    )
    durations: dict[int, int] = field(default_factory=lambda: {0x8C: 70_000})
    resets: int = 3


@dataclass(slots=True)
class VirtualModule:
    """One module; its values are in V, °C, A (positive while charging) and %.

    Everything may be changed from outside at any time. `balancing` holds cell numbers
    from 1; `status_flags` is the status word without the flag of balancing; `registers`
    overrides raw words of registers that it has. `quiet` is after how many seconds
    without a request to it it falls asleep, `wake_time` how long it takes to wake,
    `turnaround` to answer. `before_answer` is called with the module and the line's
    time in s.

    The sources do not say whose requests keep a module awake. Here only those to
    itself do, so that a client that relies on more is found out.
    """

    address: int
    serial: str = "104400461"
    model: str = "7"
    revision: int = 2
    cells: int = 4
    cell_voltages: list[float] = field(default_factory=list)
    cell_temperatures: list[float] = field(default_factory=list)
    pcb_temperature: float = 24.5
    current: float = 0.0
    soc: float = 80.0
    balancing: set[int] = field(default_factory=set)
    status_flags: int = 0
    cycles: int = 100
    lifetime: Lifetime = field(default_factory=Lifetime)
    silent: bool = False
    registers: dict[int, int] = field(default_factory=dict)
    quiet: float = 30.0
    wake_time: float = 0.05
    turnaround: float = 0.002
    before_answer: Callable[[VirtualModule, float], None] | None = None
    complaints: list[str] = field(default_factory=list)
    _awake_from: float | None = field(default=None, init=False)
    _awake_until: float = field(default=0.0, init=False)

    def __post_init__(self) -> None:
        """Fill in the cells that nobody gave."""
        if not self.cell_voltages:
            self.cell_voltages = [(3300 + n) / 1000 for n in range(self.cells)]
        if not self.cell_temperatures:
            self.cell_temperatures = [20.0 + n / 4 for n in range(self.cells)]

    def is_awake(self, now: float) -> bool:
        """Whether it would hear a request at `now`, in s of the line's time."""
        start = self._awake_from
        return start is not None and start <= now < self._awake_until

    def fall_asleep(self) -> None:
        """Sleep from now on, as after a reset."""
        self._awake_from = None

    def hear(
        self, data: bytes, settings: Settings, now: float, *, lenient: bool
    ) -> Answer | bool:
        """Wake up, answer, or complain; see `Device.hear`."""
        if data.rstrip(b"\0") == WAKE:
            self._wake(settings, now, lenient=lenient)
            return True
        # The zeros behind a wake-up may come by themselves.
        frame = data.lstrip(b"\0")
        if len(frame) < REQUEST_LENGTH:
            return False
        if problem := _problem(frame, settings):
            self._complain(problem)
            return True
        if frame[0] != self.address or not self.is_awake(now):
            return True
        return self._answer(frame, now)

    def _wake(self, settings: Settings, now: float, *, lenient: bool) -> None:
        if settings.baudrate != WAKE_BAUDRATE and not lenient:
            self._complain(f"wake-up at {settings.baudrate} baud")
        elif not settings.ninth_bit and not lenient:
            self._complain("wake-up with a ninth bit of 0")
        else:
            if self._awake_from is None or now >= self._awake_until:
                self._awake_from = now + self.wake_time
            self._awake_until = max(now, self._awake_from) + self.quiet

    def _answer(self, request: bytes, now: float) -> Answer | bool:
        self._awake_until = now + self.quiet
        if self.before_answer is not None:
            self.before_answer(self, now)
        register, count = (int.from_bytes(request[at : at + 2]) for at in (2, 4))
        words = self._window(register, count)
        if not words:
            self._complain(f"no registers 0x{register:02X} x {count} here")
        if not words or self.silent:
            return True
        data = b"".join(word.to_bytes(2) for word in words)
        head = bytes((self.address, READ, len(data)))
        return Answer(with_crc(head + data) + TERMINATOR, self.turnaround)

    def _window(self, register: int, count: int) -> list[int]:
        """Return raw words, none where the module lacks any of these registers."""
        start = max(block for block in _BLOCKS if block <= register)
        revision, words_of = _BLOCKS[start]
        words = words_of(self) if self.revision >= revision else []
        window = words[register - start :][:count]
        if len(window) < count:
            return []
        return [
            self.registers.get(at, word) & 0xFFFF
            for at, word in enumerate(window, register)
        ]

    def _complain(self, problem: str) -> None:
        if problem not in self.complaints:
            self.complaints.append(problem)


def _problem(frame: bytes, settings: Settings) -> str:
    """Return what is wrong with a request, empty if nothing is."""
    if settings.baudrate != READ_BAUDRATE:
        return f"request at {settings.baudrate} baud"
    if not settings.ninth_bit:
        return "request with a ninth bit of 0"
    if frame[1] != READ:
        return f"function {frame[1]}"
    if len(frame) != REQUEST_LENGTH or not frame.endswith(TERMINATOR):
        return f"no request: {frame.hex(' ')}"
    if crc16(frame[:6]) != int.from_bytes(frame[6:8], "little"):
        return "wrong CRC"
    return ""


def _millivolts(volts: float) -> int:
    return round(1000 * volts)


def _hundredths(value: float) -> int:
    return round(100 * value)


def _extremes(module: VirtualModule) -> list[int]:
    life = module.lifetime
    return [
        module.address,
        _hundredths(life.highest_temperature),
        _hundredths(life.lowest_temperature),
        _millivolts(life.highest_cell_voltage),
        _millivolts(life.lowest_cell_voltage),
        0,
        0,
        0,
    ]


def _status(module: VirtualModule) -> list[int]:
    # Revision 1 leaves the bit at 0 while it balances (D80).
    balancing = module.balancing and module.revision > 1
    return [module.status_flags | (BALANCING_FLAG if balancing else 0)]


def _summary(module: VirtualModule) -> list[int]:
    """Return 0x39 to 0x4D; the references and gains are those of sample B."""
    cells = [_millivolts(volts) for volts in module.cell_voltages]
    temperatures = module.cell_temperatures
    banks = IDLE_BANKS
    for cell in module.balancing:
        banks &= ~(1 << cell - 1)
    return [
        *_serial(module),
        *(0x90AB, 0xC2B2, 0x6C2E, 0x9574),
        banks << 8 | round(module.soc * 255 / 100),
        # The sign on RS485 is not settled; as the dossier judges (3.7).
        _hundredths(-module.current),
        _hundredths(module.pcb_temperature),
        sum(cells),
        _hundredths(max(temperatures)),
        _hundredths(min(temperatures)),
        max(cells),
        min(cells),
        # The uncalibrated sample lies a little beside the sum (sample A).
        sum(cells) - 15,
        *cells,
        *JUNK_VOLTAGES[: CELLS - module.cells],
    ]


def _serial(module: VirtualModule) -> tuple[int, int]:
    """Return the words of the number on the case, 0 without one (dossier 3.4)."""
    number = module.serial.zfill(9)
    if module.revision == 1:
        return int(number), 0
    return int(number[:2]) << 6 | int(number[2:4]), int(number[4:])


def _temperatures(module: VirtualModule) -> list[int]:
    cells = [_hundredths(degrees) for degrees in module.cell_temperatures]
    absent = [JUNK_TEMPERATURE] * (CELLS - module.cells)
    return [_hundredths(module.pcb_temperature), *cells, *absent]


def _events(module: VirtualModule) -> list[int]:
    life = module.lifetime
    known = {
        0x6A: round(10 * module.soc),
        0x6E: _hundredths(life.highest_discharge_current),
        0x6F: _hundredths(life.highest_charge_current),
        **life.counts,
    }
    return [known.get(register, 0) for register in range(0x6A, 0x76)]


def _durations(module: VirtualModule) -> list[int]:
    """Return 0x82 to 0x93; seconds have their low word first."""
    known = {0x8E: module.lifetime.resets}
    for register, seconds in module.lifetime.durations.items():
        known |= {register: seconds & 0xFFFF, register + 1: seconds >> 16}
    return [known.get(register, 0) for register in range(0x82, 0x94)]


def _text(module: VirtualModule) -> list[int]:
    """Return 0xE0 to 0xF5: the case name ends in the model's letter (UBMS)."""
    name = b"Valence_XP" + module.model.encode("latin-1")
    revision = 0 if module.revision == 1 else module.revision
    # Days since 2005-01-01; month, day, century, year, hour, minute.
    firmware = (1626).to_bytes(2, "big") + bytes((6, 15, 20, 9, 10, 30))
    data = bytes(18) + name + bytes((revision, *[0] * 4)) + firmware + bytes(2)
    return [int.from_bytes(data[at : at + 2], "big") for at in range(0, len(data), 2)]


# First register, the first revision that has the block, and its words (dossier 3.2).
_BLOCKS: dict[int, tuple[int, Callable[[VirtualModule], list[int]]]] = {
    0x00: (1, _extremes),
    0x12: (1, lambda module: [1, module.cycles]),
    0x1E: (1, _status),
    0x21: (2, lambda module: list(divmod(module.lifetime.energy, 0x10000))),
    0x39: (1, _summary),
    0x50: (1, _temperatures),
    0x5A: (1, lambda _module: [0]),
    0x6A: (2, _events),
    0x82: (2, _durations),
    0xE0: (1, _text),
}
