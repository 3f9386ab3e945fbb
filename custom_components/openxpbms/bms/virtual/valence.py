"""Virtual Valence XP modules that answer, sleep and complain like real ones.

Register layout and quirks follow the protocol dossier (sections 1 to 4).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from ..frame import READ_HOLDING, crc16, with_crc
from .line import Answer, Settings

WAKE = bytes.fromhex("00000101C0740D0A")
TERMINATOR = b"\r\n"
REQUEST_LENGTH = 10
# Words of cells that a four-cell module does not have, as captured (sample A).
JUNK_VOLTAGES = (0x8800, 0x4420)
JUNK_TEMPERATURE = 0x8000
CELLS = 6
# What the vendor's tool and others read (dossier 3.1); revision 2 alone has the second.
DOCUMENTED = (
    range(0x01, 0x08),
    range(0x12, 0x14),
    range(0x1E, 0x1F),
    range(0x39, 0x4E),
    range(0x50, 0x57),
    range(0x5A, 0x5B),
    range(0xE0, 0xF6),
)
REVISION_2 = (range(0x21, 0x23), range(0x6A, 0x76), range(0x82, 0x94))


@dataclass(slots=True, kw_only=True)
class Lifetime:
    """What a module remembers: °C, V, A, Wh, s and counts."""

    highest_temperature: float = 41.5
    lowest_temperature: float = -7.25
    highest_cell_voltage: float = 3.871
    lowest_cell_voltage: float = 2.604
    highest_discharge_current: float = 311.55
    highest_charge_current: float = 253.23
    energy: int = 920_000
    counts: dict[int, int] = field(
        default_factory=lambda: {0x70: 27695, 0x71: 52015, 0x72: 4, 0x74: 1, 0x75: 1}
    )
    durations: dict[int, int] = field(default_factory=lambda: {0x8C: 70_000})
    resets: int = 3


@dataclass(slots=True)
class VirtualModule:
    """One module, its values in V, °C, A (positive while charging) and %.

    Everything may be changed from outside at any time; `registers` overrides raw
    words. `quiet` is after how many seconds without a request it falls asleep,
    `wake_time` how long it takes to wake, `turnaround` to answer.
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
    _awake_from: float | None = None
    _heard_at: float = 0.0

    def __post_init__(self) -> None:
        """Fill in values that nobody gave."""
        self.cell_voltages = self.cell_voltages or [
            (3300 + n) / 1000 for n in range(self.cells)
        ]
        self.cell_temperatures = self.cell_temperatures or [
            20.0 + n / 4 for n in range(self.cells)
        ]

    def hear(
        self, data: bytes, settings: Settings, now: float, *, lenient: bool
    ) -> Answer | bool:
        """Wake up, answer, or complain; see `Device.hear`."""
        if data.startswith(WAKE) and not data[len(WAKE) :].strip(b"\0"):
            self._wake(settings, now, lenient=lenient)
            return True
        if len(data) < REQUEST_LENGTH:
            return False
        return self._request(data, settings, now)

    def _wake(self, settings: Settings, now: float, *, lenient: bool) -> None:
        if settings.baudrate != 9600 and not lenient:
            self._complain(f"wake-up at {settings.baudrate} baud")
        elif not settings.ninth_bit:
            self._complain("wake-up with a ninth bit of 0")
        elif not self.is_awake(now):
            self._awake_from = now + self.wake_time
            self._heard_at = now

    def is_awake(self, now: float) -> bool:
        """Whether it would hear a request now."""
        return (
            self._awake_from is not None
            and self._awake_from
            <= now
            < max(self._heard_at, self._awake_from) + self.quiet
        )

    def _request(self, data: bytes, settings: Settings, now: float) -> Answer | bool:
        problem = _problem(data, settings)
        if problem:
            self._complain(problem)
            return True
        if not self.is_awake(now):
            return True
        # A module cannot tell to whom its neighbours' traffic is: any keeps it awake.
        self._heard_at = now
        if data[0] != self.address or self.silent:
            return True
        first, count = (int.from_bytes(data[at : at + 2], "big") for at in (2, 4))
        if not self._knows(range(first, first + count)):
            self._complain(f"no registers 0x{first:02X} x {count} here")
            return True
        if self.before_answer is not None:
            self.before_answer(self, now)
        words = self._words()
        body = b"".join(
            words.get(register, 0).to_bytes(2, "big")
            for register in range(first, first + count)
        )
        head = bytes((self.address, READ_HOLDING, len(body)))
        return Answer(with_crc(head + body) + TERMINATOR, self.turnaround)

    def _complain(self, problem: str) -> None:
        if problem not in self.complaints:
            self.complaints.append(problem)

    def _knows(self, window: range) -> bool:
        known = DOCUMENTED if self.revision == 1 else DOCUMENTED + REVISION_2
        return any(
            block.start <= window.start < window.stop <= block.stop for block in known
        )

    def _words(self) -> dict[int, int]:
        """Return the registers that are not 0."""
        voltages = [round(1000 * v) for v in self.cell_voltages]
        temperatures = [_hundredths(t) for t in self.cell_temperatures]
        total = sum(voltages)
        banks = 0x3F
        for cell in self.balancing:
            banks &= ~(1 << cell - 1)
        status = self.status_flags
        if self.balancing and self.revision > 1:
            status |= 0x0100
        spare = CELLS - self.cells
        life = self.lifetime
        words = {
            0x01: _hundredths(life.highest_temperature),
            0x02: _hundredths(life.lowest_temperature),
            0x03: round(1000 * life.highest_cell_voltage),
            0x04: round(1000 * life.lowest_cell_voltage),
            0x12: 1,
            0x13: self.cycles,
            0x1E: status,
            **self._serial_words(),
            0x3B: 0x90AB,
            0x3C: 0xC2B2,
            0x3D: 0x6C2E,
            0x3E: 0x9574,
            0x3F: banks << 8 | round(self.soc * 255 / 100),
            0x40: _hundredths(-self.current),
            0x41: _hundredths(self.pcb_temperature),
            0x42: total,
            0x43: _hundredths(max(self.cell_temperatures)),
            0x44: _hundredths(min(self.cell_temperatures)),
            0x45: max(voltages),
            0x46: min(voltages),
            0x47: total - 15,
            **dict(enumerate([*voltages, *JUNK_VOLTAGES[:spare]], 0x48)),
            0x50: _hundredths(self.pcb_temperature),
            **dict(enumerate([*temperatures, *[JUNK_TEMPERATURE] * spare], 0x51)),
            **self._revision_2_words(),
            0xEE: ord(self.model) << 8 | (0 if self.revision == 1 else self.revision),
        }
        return words | self.registers

    def _revision_2_words(self) -> dict[int, int]:
        life = self.lifetime
        words = {
            0x21: life.energy >> 16,
            0x22: life.energy & 0xFFFF,
            0x6A: round(10 * self.soc),
            0x6E: round(100 * life.highest_discharge_current),
            0x6F: round(100 * life.highest_charge_current),
            **life.counts,
            0x8E: life.resets,
        }
        for register, seconds in life.durations.items():
            words |= {register: seconds & 0xFFFF, register + 1: seconds >> 16}
        return words

    def _serial_words(self) -> dict[int, int]:
        if self.revision == 1:
            return {0x39: int(self.serial or 0)}
        number = f"{self.serial:0>9}"
        return {
            0x39: int(number[:2]) << 6 | int(number[2:4]),
            0x3A: int(number[4:]),
        }


def _problem(data: bytes, settings: Settings) -> str:
    """Return what is wrong with a frame at reading speed, empty if nothing is."""
    if settings.baudrate != 115200:
        return f"request at {settings.baudrate} baud"
    if not settings.ninth_bit:
        return "request with a ninth bit of 0"
    if len(data) != REQUEST_LENGTH or data[8:] != TERMINATOR:
        return f"no request: {data.hex(' ')}"
    if crc16(data[:6]) != int.from_bytes(data[6:8], "little"):
        return "wrong CRC"
    if data[1] != READ_HOLDING:
        return f"function {data[1]}"
    return ""


def _hundredths(value: float) -> int:
    return round(100 * value) & 0xFFFF
