"""Virtual Valence modules: what they answer, when not, and what they object to."""

from __future__ import annotations

import asyncio
import sys

import pytest

from custom_components.openxpbms.bms.virtual import (
    Answer,
    Settings,
    VirtualLine,
    VirtualModule,
)

from .conftest import reference_crc, until
from .test_virtual_line import Client

WAKE = bytes.fromhex("00 00 01 01 C0 74 0D 0A 00 00")
SLOW = Settings(9600, 11, ninth_bit=True)
FAST = Settings(115200, 11, ninth_bit=True)
NOTHING = Settings(115200, 10, ninth_bit=False)


def request(address: int, register: int, count: int, function: int = 3) -> bytes:
    """Return a read request."""
    body = bytes((address, function, register >> 8, register & 0xFF, count >> 8, count))
    return body + reference_crc(body) + b"\r\n"


def hear(
    module: VirtualModule, data: bytes, now: float, settings: Settings = FAST
) -> bytes | bool:
    """Return a module's answer to what comes over the wire."""
    answer = module.hear(data, settings, now, lenient=False)
    return answer.data if isinstance(answer, Answer) else answer


def awake(module: VirtualModule, now: float = 100.0) -> VirtualModule:
    """Wake a module up; it answers at once."""
    module.wake_time = 0.0
    assert hear(module, WAKE, now, SLOW) is True
    return module


def frame(module: VirtualModule, register: int, count: int) -> bytes:
    """Return a module's answer as it goes over the wire."""
    answer = hear(awake(module), request(module.address, register, count), 100.0)
    assert isinstance(answer, bytes)
    return answer


def words(module: VirtualModule, register: int, count: int = 1) -> list[int]:
    """Return registers of a module as it answers them."""
    data = frame(module, register, count)
    assert data[:3] == bytes((module.address, 3, 2 * count))
    assert data[-4:] == reference_crc(data[:-4]) + b"\r\n"
    return [
        int.from_bytes(data[at : at + 2], "big") for at in range(3, len(data) - 4, 2)
    ]


def sample(**changes: object) -> VirtualModule:
    """Return a module with the values of the documented samples."""
    module = VirtualModule(1, serial="104400461")
    module.cell_voltages = [3.279, 3.278, 3.280, 3.281]
    module.current = 0.5
    module.pcb_temperature = 6.33
    module.soc = 98.4
    for name, value in changes.items():
        setattr(module, name, value)
    return module


GENUINE = """
01 03 18 03 D8 00 00 00 00 00 00 79 B3 62 EB 6C 2F CB 2F 00 04 00 00 00 01 00 01 1B 17
0D 0A"""
VOLTAGES = "01 03 12 0C D1 0C CE 33 2F 0C CF 0C CE 0C D0 0C D1 88 00 44 20 1A D6 0D 0A"
SUMMARY = """
01 03 14 02 AC 01 CD 90 AB C2 B2 6C 2E 95 74 3F FA FF CE 02 79 33 5A 6D 05 0D 0A"""


@pytest.mark.parametrize(
    ("module", "register", "count", "expected"),
    [
        (sample(), 0x45, 9, VOLTAGES),
        (sample(soc=98.0, registers={0x42: 0x335A}), 0x39, 10, SUMMARY),
        (sample(), 0x6A, 12, GENUINE),
        (VirtualModule(8, balancing={2, 6}), 0x1E, 1, "08 03 02 01 00 65 D5 0D 0A"),
        (
            VirtualModule(0x12, "04711", revision=1, balancing={2}),
            0x1E,
            1,
            "12 03 02 00 00 3D 87 0D 0A",
        ),
        (VirtualModule(1, "04711", "7", 1), 0xEE, 1, "01 03 02 37 00 AE 74 0D 0A"),
        (VirtualModule(1), 0xEE, 1, "01 03 02 37 02 2F B5 0D 0A"),
    ],
)
def test_replies_are_those_of_the_dossier_byte_for_byte(
    module: VirtualModule, register: int, count: int, expected: str
) -> None:
    assert frame(module, register, count) == bytes.fromhex(expected)


def test_the_live_registers_hold_what_was_set() -> None:
    module = VirtualModule(1, cells=6)
    module.cell_voltages = [3.301, 3.302, 3.303, 3.404, 3.205, 3.306]
    module.cell_temperatures = [-12.3, 20.0, 21.25, -0.01, 25.5, 3.0]
    module.pcb_temperature = -40.0
    module.current = -135.75
    module.soc = 40.0
    volts = sum(round(1000 * cell) for cell in module.cell_voltages)
    assert words(module, 0x3F, 15) == [
        0x3F66,
        13575,
        0x10000 - 4000,
        volts,
        2550,
        0x10000 - 1230,
        3404,
        3205,
        volts - 15,
        *(3301, 3302, 3303, 3404, 3205, 3306),
    ]
    assert words(module, 0x50, 7) == [
        0x10000 - 4000,
        *(0x10000 - 1230, 2000, 2125, 0xFFFF, 2550, 300),
    ]
    assert words(module, 0x5A) == [0]
    assert words(module, 0x6A) == [400]


def test_the_slow_registers_hold_what_was_set() -> None:
    module = VirtualModule(3)
    module.cycles = 321
    life = module.lifetime
    life.highest_temperature, life.lowest_temperature = 61.25, -20.5
    life.highest_cell_voltage, life.lowest_cell_voltage = 4.012, 2.101
    life.highest_discharge_current, life.highest_charge_current = 300.0, 99.99
    life.energy = 14 << 16 | 5
    life.durations = {0x82: 1, 0x84: 2, 0x86: 3, 0x88: 4, 0x8A: 5 << 16, 0x8C: 0x60007}
    life.resets = 9
    assert words(module, 0x00, 8) == [3, 6125, 0x10000 - 2050, 4012, 2101, 0, 0, 0]
    assert words(module, 0x13) == [321]
    assert words(module, 0x21, 2) == [14, 5]
    life.counts = {0x6B: 7, 0x75: 8}
    assert words(module, 0x6B, 11) == [7, 0, 0, 30000, 9999, *[0] * 5, 8]
    assert words(module, 0x82, 18) == [
        *(1, 0, 2, 0, 3, 0, 4, 0, 0, 5, 7, 6),
        9,
        *[0] * 5,
    ]


def test_the_text_block_ends_in_model_and_firmware_date() -> None:
    module = VirtualModule(1, model="V", cells=6)
    text = words(module, 0xE0, 22)
    assert text[0x0E] == words(module, 0xEE)[0] == ord("V") << 8 | 2
    assert text[0x11:] == [1626, 0x060F, 0x1409, 0x0A1E, 0]


def test_absent_cells_are_junk() -> None:
    module = VirtualModule(1)
    assert words(module, 0x4C, 2) == [0x8800, 0x4420]
    assert words(module, 0x55, 2) == [0x8000, 0x8000]


def test_balancing_banks_are_active_low() -> None:
    module = VirtualModule(1, cells=6, soc=0.0)
    assert words(module, 0x3F) == [0x3F00]
    module.balancing = {2, 6}
    assert words(module, 0x3F) == [0x1D00]


def test_revision_1_has_five_digits_and_no_balancing_flag() -> None:
    module = VirtualModule(18, serial="04711", revision=1, balancing={2, 3})
    assert words(module, 0x39, 2) == [4711, 0]
    module.serial = ""
    assert words(module, 0x39, 2) == [0, 0]
    assert words(module, 0x1E) == [0]
    assert words(module, 0x3F)[0] >> 8 == 0x39


def test_the_status_word_is_as_set() -> None:
    assert words(sample(status_flags=0x8221), 0x1E) == [0x8221]


def test_raw_nonsense_may_stand_in_any_register() -> None:
    module = sample(registers={0x49: 0xFFFF, 0x40: -1})
    assert words(module, 0x40) == [0xFFFF]
    assert words(module, 0x48, 3) == [3279, 0xFFFF, 3280]


@pytest.mark.parametrize(
    ("register", "count"),
    [
        (0x39, 0),
        (0x39, 22),
        (0x4E, 1),
        (0x4D, 2),
        (0x4F, 2),
        (0x08, 1),
        (0x0F, 4),
        (0x14, 1),
        (0x57, 1),
        (0x76, 1),
        (0x94, 1),
        (0xF6, 1),
        (0x1000, 18),
    ],
)
def test_registers_that_nobody_documented_are_refused(
    register: int, count: int
) -> None:
    module = awake(VirtualModule(1))
    assert hear(module, request(1, register, count), 100.0) is True
    assert module.complaints == [f"no registers 0x{register:02X} x {count} here"]


@pytest.mark.parametrize(("register", "count"), [(0x21, 2), (0x6A, 12), (0x82, 18)])
def test_revision_1_refuses_what_revision_2_has(register: int, count: int) -> None:
    assert words(VirtualModule(1), register, count)
    module = awake(VirtualModule(1, serial="04711", revision=1))
    assert hear(module, request(1, register, count), 100.0) is True
    assert len(module.complaints) == 1


@pytest.mark.parametrize(
    ("data", "settings", "complaint"),
    [
        (WAKE, FAST, "wake-up at 115200 baud"),
        (WAKE, Settings(9600, 10, ninth_bit=False), "wake-up with a ninth bit of 0"),
        (request(1, 0x1E, 1), SLOW, "request at 9600 baud"),
        (request(1, 0x1E, 1), NOTHING, "request with a ninth bit of 0"),
        (request(1, 0x1E, 1, function=4), FAST, "function 4"),
        (bytes.fromhex("01 10 00 20 02 00 01 00 00 0D 0A"), FAST, "function 16"),
        (request(1, 0x1E, 1)[:8] + b"\n\r", FAST, "no request: 01 03 00 1e 00 01 e4"),
        (request(1, 0x1E, 1) + b"\r\n", FAST, "no request: 01 03 00 1e 00 01 e4"),
        (request(1, 0x1E, 1)[:6] + b"\0\0\r\n", FAST, "wrong CRC"),
        (request(2, 0x1E, 1)[:6] + b"\0\0\r\n", FAST, "wrong CRC"),
    ],
)
def test_a_sleeping_module_too_complains_of_what_no_client_should_send(
    data: bytes, settings: Settings, complaint: str
) -> None:
    module = VirtualModule(1)
    for _ in range(2):
        assert hear(module, data, 100.0, settings) is True
    (told,) = module.complaints
    assert told.startswith(complaint)
    assert not module.is_awake(101.0)


def test_what_is_no_whole_frame_is_waited_for() -> None:
    module = awake(VirtualModule(1))
    assert hear(module, WAKE[:7], 100.0, SLOW) is False
    assert hear(module, request(1, 0x1E, 1)[:9], 100.0) is False
    # The zeros behind a wake-up may come by themselves.
    assert hear(module, b"\0\0", 100.0) is False
    assert hear(module, b"\0\0" + request(1, 0x1E, 1), 100.0)
    assert not module.complaints


def test_the_wake_up_is_taken_anyhow_where_settings_are_not_certain() -> None:
    module = VirtualModule(1, wake_time=0.0)
    module.hear(WAKE, NOTHING, 100.0, lenient=True)
    assert module.is_awake(100.0)


def test_it_sleeps_until_woken_and_again_after_a_quiet_time() -> None:
    module = VirtualModule(1, quiet=30.0)
    read = request(1, 0x1E, 1)
    assert hear(module, read, 99.0) is True
    hear(module, WAKE, 100.0, SLOW)
    assert hear(module, read, 100.04) is True
    assert isinstance(hear(module, read, 100.05), bytes)
    # A wake-up of a module that is awake delays nothing.
    hear(module, WAKE, 120.0, SLOW)
    assert isinstance(hear(module, read, 120.0), bytes)
    assert isinstance(hear(module, read, 149.9), bytes)
    # Somebody else's requests do not keep it awake.
    assert hear(module, request(2, 0x1E, 1), 170.0) is True
    assert hear(module, read, 180.0) is True


def test_it_may_be_put_to_sleep_at_any_time() -> None:
    module = awake(VirtualModule(1))
    module.fall_asleep()
    assert not module.is_awake(100.0)


def test_a_silent_module_hears_but_does_not_answer() -> None:
    module = awake(VirtualModule(1, silent=True))
    assert hear(module, request(1, 0x1E, 1), 129.0) is True
    module.silent = False
    assert isinstance(hear(module, request(1, 0x1E, 1), 131.0), bytes)


def test_it_is_told_before_it_answers() -> None:
    def warm_up(module: VirtualModule, now: float) -> None:
        module.pcb_temperature = now

    assert words(VirtualModule(1, before_answer=warm_up), 0x50) == [10000]


async def test_modules_are_woken_and_read_over_the_wire() -> None:
    modules = [VirtualModule(address) for address in (1, 3)]
    async with VirtualLine(modules) as line:
        with Client(line.path, 9600) as client:
            client.send(WAKE)
            await until(lambda: list(line.frames) == [WAKE])
            client.set(115200)
            await client.silence(0.06)
            for address in (1, 2, 3):
                client.send(request(address, 0x45, 9))
                within = 0.1 if address == 2 else 10.0  # nobody is there
                reply = await client.receive(25, within=within)
                assert reply[:3] == (bytes((address, 3, 18)) if address != 2 else b"")
    assert not line.complaints


# Closes the port right after the wake-up, as other programs do.
PROGRAM = """
import os, sys, termios

def opened(speed):
    fd = os.open(sys.argv[1], os.O_RDWR | os.O_NOCTTY)
    attributes = termios.tcgetattr(fd)
    attributes[2] |= termios.PARENB | termios.PARODD | 0o10000000000
    attributes[4] = attributes[5] = speed
    termios.tcsetattr(fd, termios.TCSANOW, attributes)
    return fd

fd = opened(termios.B9600)
os.write(fd, bytes.fromhex(sys.argv[2]))
os.close(fd)
fd = opened(termios.B115200)
sys.stdin.readline()
os.write(fd, bytes.fromhex(sys.argv[3]))
reply = b""
while len(reply) < 25:
    reply += os.read(fd, 25)
print(reply.hex())
"""


async def test_a_program_that_reopens_the_port_is_served_where_it_is_not_strict() -> (
    None
):
    async with VirtualLine([VirtualModule(1)], strict=False) as line:
        program = await asyncio.create_subprocess_exec(
            *(sys.executable, "-c", PROGRAM, line.path),
            *(WAKE.hex(), request(1, 0x45, 9).hex()),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
        )
        await until(lambda: bool(line.frames))
        await asyncio.sleep(0.06)  # by now it is awake
        async with asyncio.timeout(10):
            output, _ = await program.communicate(b"\n")
    assert bytes.fromhex(output.decode()) == frame(VirtualModule(1), 0x45, 9)
    assert not line.complaints
