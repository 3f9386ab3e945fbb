"""Virtual Seplos packs and banks: what they say, when, and what they object to."""

from __future__ import annotations

import asyncio
from datetime import datetime, timedelta
from itertools import pairwise
import os
import random
import termios
import tty
from types import SimpleNamespace
from typing import Any

import pytest
import serial

from custom_components.openxpbms.bms.virtual import (
    Answer,
    Settings,
    Talker,
    VirtualBank,
    VirtualLine,
    VirtualPack,
)
from custom_components.openxpbms.bms.virtual import seplos as seplos_module
from custom_components.openxpbms.bms.virtual.seplos import Intruder, Lifetime

from .conftest import MakeLine, reference_crc, until
from .seplos_data import BURSTS, DUMP, PARAMETERS, by_frame, scramble, those
from .test_virtual_line import Client

LINE = Settings(19200, 10, ninth_bit=False)
SIZES = {
    0x1000: 18,
    0x1100: 26,
    0x1200: 144,
    0x1300: 106,
    0x1400: 80,
    0x1500: 4,
    0x1700: 51,
    0x1800: 36,
}
COILS = (0x1200, 0x1400)
REGISTERS = tuple(table for table in SIZES if table not in COILS)


def framed(*body: int) -> bytes:
    """Return a frame."""
    return bytes(body) + reference_crc(bytes(body))


def request(
    first: int, count: int, *, address: int = 0, function: int | None = None
) -> bytes:
    """Return a read request, with the function that its table wants."""
    if function is None:
        function = 1 if first & 0xFF00 in COILS else 4
    return framed(address, function, first >> 8, first & 0xFF, count >> 8, count & 0xFF)


def hear(
    pack: VirtualPack, data: bytes, settings: Settings = LINE, now: float = 100.0
) -> bytes | bool:
    """Return a pack's answer to what comes over the wire."""
    answer = pack.hear(data, settings, now, lenient=False)
    return answer.data if isinstance(answer, Answer) else answer


def frame(pack: VirtualPack, first: int, count: int) -> bytes:
    """Return a pack's answer as it goes over the wire."""
    answer = hear(pack, request(first, count, address=pack.address))
    assert isinstance(answer, bytes)
    return answer


def payload(pack: VirtualPack, first: int, count: int) -> bytes:
    """Return what a pack tells of some registers or coils."""
    data = frame(pack, first, count)
    function = 1 if first & 0xFF00 in COILS else 4
    assert data[:3] == bytes((pack.address, function, len(data) - 5))
    assert data[-2:] == reference_crc(data[:-2])
    return data[3:-2]


def words(pack: VirtualPack, first: int, count: int = 1) -> list[int]:
    """Return registers of a pack as it answers them."""
    data = payload(pack, first, count)
    assert len(data) == 2 * count
    return [int.from_bytes(data[at : at + 2], "big") for at in range(0, len(data), 2)]


def set_coils(pack: VirtualPack) -> set[int]:
    """Return the numbers of the coils of PIC that are set."""
    data = payload(pack, 0x1200, 144)
    return {0x1200 + n for n in range(144) if data[n // 8] >> n % 8 & 1}


def pack_of(pia: bytes, pib: bytes, **changes: Any) -> VirtualPack:
    """Return a pack with the values that captured frames are known to tell."""
    first, second = by_frame(pia).values, by_frame(pib).values
    facts: dict[str, Any] = {
        "address": pia[0],
        "cell_voltages": [mv / 1000 for mv in second["cells_mV"]],
        "cell_temperatures": list(second["cell_C"]),
        "ambient_temperature": second["ambient_C"],
        "mosfet_temperature": second["power_C"],
        "current": first["current_A_at_0p01"],
        "soc": first["soc_pct"],
        "soh": first["soh_pct"],
        "full_capacity": first["total_Ah"],
        "remaining_capacity": first["remaining_Ah"],
        "lifetime": Lifetime(
            cycles=first["cycles"], discharge=first["total_discharged_Ah"]
        ),
        "allowed_charge_current": first["max_charge_A"],
        "allowed_discharge_current": first["max_discharge_A"],
        "newer_board": False,
    }
    return VirtualPack(**facts | changes)


def captured(table: str, source: str) -> bytes:
    """Return the reply of a source's only pack at slave 0."""
    [found] = [
        item.data
        for item in those(table, kinds=("reply",))
        if item.source == source and item.address == 0
    ]
    return found


# Captured frames


@pytest.mark.parametrize("source", ["DOC", "PFO"])
def test_replies_of_a_lone_pack_are_those_captured(source: str) -> None:
    pia, pib, pic = (captured(table, source) for table in ("PIA", "PIB", "PIC"))
    pack = pack_of(pia, pib)
    assert frame(pack, 0x1000, 18) == pia
    assert frame(pack, 0x1100, 26) == pib
    assert frame(pack, 0x1200, 144) == pic
    assert not pack.complaints


def test_names_are_framed_as_captured() -> None:
    pack = VirtualPack(serial="SP57B-A2506120022")
    assert frame(pack, 0x1700, 51) == captured("VIA", "SYSSI")


def test_the_tables_that_hardly_change_are_as_captured() -> None:
    reply = bytes.fromhex("00 01 0A FF FF 3F 01 7F 2F 9F 0F 63 6F 54 A1")
    assert frame(VirtualPack(), 0x1400, 80) == reply
    pct = captured("PCT", "SYSSI")
    inverter = {
        0x1802 + n: int.from_bytes(pct[7 + 2 * n : 9 + 2 * n], "big") for n in range(16)
    }
    assert frame(VirtualPack(registers=inverter), 0x1800, 36) == pct


def test_settings_are_those_of_the_factory() -> None:
    pack = VirtualPack(full_capacity=304.0, remaining_capacity=38.0)
    # This one is made for another inverter, and its rated capacity is nobody's else.
    others = {0x1358: 28000, 0x1368: 0}
    raw = [others.get(row["register"], row["factory_raw"]) for row in PARAMETERS]
    assert words(pack, 0x1300, 106) == [word & 0xFFFF for word in raw]


def test_a_published_pack_is_made_again_table_by_table(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now = datetime(2024, 3, 8, 16, 45, 30)  # noqa: DTZ001
    monkeypatch.setattr(seplos_module, "datetime", SimpleNamespace(now=lambda: now))
    pack = pack_of(
        DUMP[0x1000].data,
        DUMP[0x1100].data,
        address=0,
        device="BMS16S200A-SP05B",
        firmware="13",
        serial="SP05B2311260061\x02",
        parameters=dict(enumerate(DUMP[0x1300].values["raw"], 0x1300)),
    )
    assert sorted(DUMP) == sorted(SIZES.keys() - {0x1800})
    for table, item in DUMP.items():
        assert payload(pack, table, SIZES[table]) == item.payload


def test_settings_are_told_in_halves_as_captured() -> None:
    halves = [item for item in those("SPA") if item.address == 0xE0]
    raw = [word for half in halves for word in half.values["raw"]]
    assert len(raw) == 106
    pack = VirtualPack(
        0xE0,
        full_capacity=330.0,
        remaining_capacity=274.56,
        parameters=dict(enumerate(raw, 0x1300)),
    )
    for half in halves:
        assert frame(pack, half.values["register"], 53) == half.data
    single = captured("SPA", "HOLLO")
    assert frame(VirtualPack(parameters={0x1335: 3281}), 0x1335, 1) == single


def test_a_short_pia_is_told_as_captured() -> None:
    pia, pib = (
        next(item.data for item in those(table) if item.source == "AIO")
        for table in ("PIA", "PIB")
    )
    pack = pack_of(pia, pib, short_pia=True)
    assert frame(pack, 0x1000, 17) == pia
    assert frame(pack, 0x1100, 26) == pib


@pytest.mark.parametrize(
    ("asked", "answer"),
    [
        ("00 01 14 00 05 00 3B 7B", "00 81 02 90 51"),
        ("00 04 21 00 00 1A 7A 2C", "00 84 02 93 01"),
        ("01 01 12 00 09 00 3F 22", "01 81 02 C1 91"),
    ],
)
def test_what_was_refused_is_refused_as_captured(asked: str, answer: str) -> None:
    data, reply = bytes.fromhex(asked), by_frame(bytes.fromhex(answer)).data
    assert by_frame(data).kind == "request"
    assert hear(VirtualPack(data[0]), data) == reply


@pytest.mark.parametrize("bank", BURSTS)
def test_a_bank_says_what_was_captured_in_the_order_captured(bank: str) -> None:
    frames = BURSTS[bank]
    replies = [data for data in frames if len(data) != 8]
    made = [pack_of(replies[at], replies[at + 1]) for at in (3, 0)]
    said = [answer.data for answer in VirtualBank(made).speak(0.0)]
    # One record has no requests.
    asked = [] if len(frames) > len(replies) else [0, 2, 4]
    assert [data for at, data in enumerate(said) if at not in asked] == frames
    assert [said[at] for at in (0, 2, 4)] == BURSTS["SYSSI"][0:6:2]


# Values


def test_the_measured_registers_hold_what_was_set() -> None:
    pack = VirtualPack(9)
    pack.cell_voltages = [3.301, 3.302, *[3.3] * 13, 3.4]
    pack.cell_temperatures = [-12.3, 0.0, 21.2, 35.5]
    pack.ambient_temperature, pack.mosfet_temperature = -40.0, 99.9
    pack.current, pack.soc, pack.soh = -135.75, 40.1, 99.4
    pack.full_capacity = 280.0
    pack.lifetime = Lifetime(cycles=321, discharge=11774.0)
    pack.allowed_charge_current, pack.allowed_discharge_current = 90, 170
    assert words(pack, 0x1000, 18) == [
        5290,
        0x10000 - 13575,
        11228,
        28000,
        1177,
        401,
        994,
        321,
        3306,
        2842,
        *(3400, 3300),
        *(3086, 2608),
        0,
        *(170, 90),
        1000,
    ]
    assert words(pack, 0x1100, 26) == [
        *(3301, 3302, *[3300] * 13, 3400),
        *(2608, 2731, 2943, 3086),
        *[2731] * 4,
        *(2331, 3730),
    ]
    assert words(pack, 0x1359, 2) == [28000, 11228]
    pack.remaining_capacity = 100.0
    assert words(pack, 0x1002) == words(pack, 0x135A) == [10000]


@pytest.mark.parametrize(
    ("device", "board", "raw"),
    [
        ("SG16S200A-SP57B-A", 200, 1234),
        ("BMS16S299A", 299, 1234),
        ("SG16S300A-SP57B-A", 300, 123),
        ("", 0, 1234),
    ],
)
def test_large_boards_count_current_in_tenths(
    device: str, board: int, raw: int
) -> None:
    pack = VirtualPack(device=device, current=12.34)
    assert pack.board == board
    assert words(pack, 0x1001) == [raw]
    pack.current = -12.34
    assert words(pack, 0x1001) == [0x10000 - raw]


def test_cells_and_sensors_that_are_given_but_not_there_are_not_told() -> None:
    pack = VirtualPack(cells=8, sensors=1, cell_voltages=[3.3] * 8 + [9.9] * 8)
    pack.cell_temperatures = [25.0, 99.0]
    assert words(pack, 0x1100, 18) == [*[3300] * 8, *[0] * 8, 2981, 2731]
    assert words(pack, 0x1000) == [2640]
    assert words(pack, 0x1008, 6) == [3300, 2981, 3300, 3300, 2981, 2981]


def test_absent_cells_and_sensors_have_fillers() -> None:
    pack = VirtualPack(cells=2, sensors=1)
    assert words(pack, 0x1100, 24) == [3300, 3301, *[0] * 14, 2931, *[2731] * 7]
    assert words(pack, 0x1300, 2) == [1, 2]
    assert words(VirtualPack(sensors=8), 0x1117) == [2966]


@pytest.mark.parametrize(
    ("current", "flags"), [(0.0, 0x10), (0.004, 0x10), (0.01, 0x02), (-300.0, 0x01)]
)
def test_the_state_follows_the_current_unless_told(current: float, flags: int) -> None:
    pack = VirtualPack(current=current)
    assert payload(pack, 0x1240, 8) == bytes((flags,))
    pack.flags = 0x0C
    assert payload(pack, 0x1240, 8) == b"\x0c"


def test_any_coil_may_be_set() -> None:
    pack = VirtualPack(current=1.0, newer_board=False)
    assert set_coils(pack) == {0x1241, 0x1278, 0x1279}
    pack.charge_mosfet = pack.discharge_mosfet = False
    pack.flags = 0
    assert set_coils(pack) == set()
    pack.current_limiting = pack.heater = pack.newer_board = True
    pack.balancing = {1, 16}
    assert set_coils(pack) == {0x127A, 0x127B, 0x127E, 0x1230, 0x123F, 0x1280}
    pack = VirtualPack(flags=0, coils={0x1200, 0x124C, 0x128F}, charge_mosfet=False)
    assert set_coils(pack) == {0x1200, 0x124C, 0x128F, 0x1278, 0x127E}
    for coil in range(0x1200, 0x1290):
        assert coil in set_coils(VirtualPack(coils={coil}))


def test_raw_nonsense_may_stand_in_any_register() -> None:
    pack = VirtualPack(registers={0x1001: -1, 0x1100: 0x1FFFF, 0x1714: 0x3939})
    pack.parameters[0x1367] = -99
    assert words(pack, 0x1000, 2)[1] == 0xFFFF
    assert payload(pack, 0x1240, 8) == b"\x01"
    assert words(pack, 0x1100) == [0xFFFF]
    assert words(pack, 0x1714) == [0x3939]
    assert words(pack, 0x1367) == [0x10000 - 99]
    assert VirtualPack(parameters={0x1367: -80}).parameters[0x1366] == 180


def test_texts_are_cut_where_their_place_ends() -> None:
    pack = VirtualPack(device="D" * 21, serial="", pack_serial="P" * 31)
    text = payload(pack, 0x1700, 51)
    assert len(text) == 102
    assert text[20:42] == b"D" * 20 + b"15"
    assert text[42:] == bytes(30) + b"P" * 30


def test_the_clock_goes_and_may_be_wrong() -> None:
    ahead = timedelta(days=-800, hours=-3, seconds=12)
    pack = VirtualPack(clock_offset=ahead)
    before = datetime.now().astimezone().replace(microsecond=0)
    low, high, *rest, again = payload(pack, 0x1500, 4)
    told = datetime(low + 256 * high, *rest, tzinfo=before.tzinfo)
    assert before <= told - ahead <= datetime.now().astimezone()
    assert again == told.second


# Windows and refusals


@pytest.mark.parametrize("table", REGISTERS)
def test_any_window_of_registers_is_answered(table: int) -> None:
    pack = VirtualPack(3)
    all_of_it = words(pack, table, SIZES[table])
    for first in range(SIZES[table]):
        for count in {1, 2, SIZES[table] - first}:
            if first + count <= SIZES[table] and table != 0x1500:
                window = all_of_it[first : first + count]
                assert words(pack, table + first, count) == window
    assert not pack.complaints


@pytest.mark.parametrize("table", COILS)
def test_any_window_of_coils_is_answered(table: int) -> None:
    pack = VirtualPack(3, coils={0x1209, 0x120F, 0x1263, 0x128F}, balancing={4})
    data = payload(pack, table, SIZES[table])
    bits = [byte >> bit & 1 for byte in data for bit in range(8)]
    for first in range(SIZES[table]):
        for count in range(1, SIZES[table] - first + 1):
            window = bits[first : first + count]
            padded = window + [0] * (-count % 8)
            expected = bytes(
                sum(bit << n for n, bit in enumerate(padded[at : at + 8]))
                for at in range(0, len(padded), 8)
            )
            assert payload(pack, table + first, count) == expected


def test_coils_come_lowest_first_from_wherever_they_are_asked_for() -> None:
    pack = VirtualPack(coils={0x1200, 0x120B, 0x128F}, functions=b"\x21\x43" + bytes(8))
    assert payload(pack, 0x1200, 16) == b"\x01\x08"
    assert payload(pack, 0x1203, 9) == b"\x00\x01"
    assert payload(pack, 0x120B, 1) == b"\x01"
    assert payload(pack, 0x120C, 1) == b"\x00"
    assert payload(pack, 0x1285, 11) == b"\x00\x04"
    assert payload(pack, 0x1404, 9) == b"\x32\x00"
    # Nothing that lies behind is told.
    pack.coils = set(range(0x1200, 0x1290))
    assert payload(pack, 0x1201, 3) == b"\x07"


@pytest.mark.parametrize(
    ("first", "count", "function"),
    [
        *((table, size + 1, None) for table, size in SIZES.items()),
        *((table + size, 1, None) for table, size in SIZES.items()),
        *((table, 1, 1) for table in REGISTERS),
        *((table, 1, 4) for table in COILS),
        (0x0FFF, 2, 4),
        (0x1600, 1, 4),
        (0x2000, 26, 4),
        (0x2200, 80, 1),
        (0, 1, 4),
        (0xFFFF, 0xFFFF, 4),
        (0x1200, 0x900, 1),
    ],
)
def test_what_lies_outside_of_a_table_is_refused(
    first: int, count: int, function: int | None
) -> None:
    pack = VirtualPack(5)
    asked = request(first, count, address=5, function=function)
    assert hear(pack, asked) == framed(5, asked[1] | 0x80, 2)
    assert not pack.complaints


@pytest.mark.parametrize("table", SIZES)
def test_a_table_may_be_missing(table: int) -> None:
    pack = VirtualPack(refuse={table})
    asked = request(table, SIZES[table])
    assert hear(pack, asked) == framed(0, asked[1] | 0x80, 2)
    others = [payload(pack, at, 1) for at in SIZES if at != table]
    assert len(others) == 7


def test_pia_may_be_short() -> None:
    pack = VirtualPack(short_pia=True)
    assert len(words(pack, 0x1000, 17)) == 17
    assert hear(pack, request(0x1000, 18)) == framed(0, 0x84, 2)
    assert len(words(pack, 0x1100, 26)) == 26


def test_none_of_something_is_an_illegal_value() -> None:
    pack = VirtualPack()
    assert hear(pack, request(0x1000, 0)) == framed(0, 0x84, 3)
    assert hear(pack, request(0x1200, 0)) == framed(0, 0x81, 3)


@pytest.mark.parametrize(
    ("data", "function"),
    [
        *((request(0x1000, 18, function=unknown), unknown) for unknown in (2, 3, 5)),
        (request(0x1000, 0, function=0x2B), 0x2B),
        (request(0x4321, 1, function=7), 7),
        (framed(0, 6, 0x13, 0x55, 0, 120), 6),
        (framed(0, 15, 0x14, 0, 0, 8, 1, 0xFF), 15),
    ],
)
def test_functions_that_it_does_not_know_are_refused_and_complained_about(
    data: bytes, function: int
) -> None:
    pack = VirtualPack()
    for _ in range(2):
        for length in range(len(data)):
            assert hear(pack, data[:length]) is False
        assert hear(pack, data) == framed(0, function | 0x80, 1)
    assert pack.complaints == [f"function {function}"]


@pytest.mark.parametrize(
    ("data", "settings", "complaint"),
    [
        (request(0x1000, 18), Settings(9600, 10, ninth_bit=False), "at 9600 baud"),
        (request(0x1000, 18), Settings(19200, 11, ninth_bit=True), "with 11 bits"),
        (request(0x1000, 18)[:6] + b"\0\0", LINE, "wrong CRC"),
        (request(0x1000, 18, address=7)[:6] + b"\0\0", LINE, "wrong CRC"),
        (request(0x1000, 18) + b"\0", LINE, "no request: 00 04 10 00 00 12 75 16 00"),
        (2 * request(0x1000, 18), LINE, "no request: 00 04 10 00 00 12 75 16 00 04"),
        (bytes.fromhex("00 10 15 10 00 01 02 55 AA 00 00"), LINE, "wrong CRC"),
    ],
)
def test_it_complains_of_what_no_client_should_send(
    data: bytes, settings: Settings, complaint: str
) -> None:
    pack = VirtualPack()
    for _ in range(2):
        assert hear(pack, data, settings) is True
    [told] = pack.complaints
    assert complaint in told


def test_settings_do_not_matter_where_they_are_not_certain() -> None:
    pack = VirtualPack()
    settings = Settings(9600, 11, ninth_bit=True)
    answer = pack.hear(request(0x1000, 1), settings, 1.0, lenient=True)
    assert isinstance(answer, Answer)
    assert not pack.complaints


@pytest.mark.parametrize("address", [0, 1, 16, 127])
def test_it_answers_at_its_address_alone(address: int) -> None:
    pack = VirtualPack(address)
    for other in {0, 1, 2, 16, 127} - {address}:
        assert hear(pack, request(0x1000, 1, address=other)) is True
    assert frame(pack, 0x1000, 1)[0] == address
    assert not pack.complaints


def test_a_silent_pack_hears_but_does_not_answer() -> None:
    asked: list[float] = []
    pack = VirtualPack(silent=True, before_answer=lambda _, now: asked.append(now))
    assert hear(pack, request(0x1000, 1), now=3.0) is True
    assert hear(pack, request(0x1000, 1, address=1)) is True
    assert asked == [3.0]


def test_it_is_told_before_it_answers_and_takes_its_time() -> None:
    def charge(pack: VirtualPack, now: float) -> None:
        pack.soc = now

    pack = VirtualPack(before_answer=charge, turnaround=0.03)
    answer = pack.hear(request(0x1005, 1), LINE, 77.0, lenient=False)
    assert answer == Answer(framed(0, 4, 2, 770 >> 8, 770 & 0xFF), 0.03)


# On a line


def ask(path: str, data: bytes) -> bytes:
    """Write a request and read until there is silence for 0.1 s, and no more."""
    fd = os.open(path, os.O_RDWR | os.O_NOCTTY)
    try:
        tty.setraw(fd)
        attributes = termios.tcgetattr(fd)
        attributes[4] = attributes[5] = termios.B19200
        attributes[6][termios.VMIN], attributes[6][termios.VTIME] = 0, 1
        termios.tcsetattr(fd, termios.TCSANOW, attributes)
        os.write(fd, data)
        reply = b""
        while piece := os.read(fd, 4096):
            reply += piece
        return reply
    finally:
        os.close(fd)


async def test_a_simple_program_reads_it_over_the_wire() -> None:
    pack = pack_of(captured("PIA", "PFO"), captured("PIB", "PFO"))
    async with VirtualLine([pack, VirtualPack(1)]) as line:
        for asked, reply in (
            (request(0x1000, 18), captured("PIA", "PFO")),
            (request(0x1100, 26), captured("PIB", "PFO")),
            (request(0x1000, 18, address=2), b""),
            (request(0x1200, 144), captured("PIC", "PFO")),
            (request(0x1300, 106, address=1), None),
        ):
            told = await asyncio.to_thread(ask, line.path, asked)
            assert told == (
                frame(VirtualPack(1), 0x1300, 106) if reply is None else reply
            )
    assert not line.complaints


# Another program, with a library of its own


def reply_of(port: serial.Serial, size: int) -> bytes:
    """Return a reply of `size` bytes, and what came within 0.1 s behind it."""
    port.timeout = 10.0
    data = port.read(size)
    port.timeout = 0.1
    return bytes(data + port.read(1000))


async def test_another_program_reads_all_tables_of_a_lone_pack() -> None:
    pack = VirtualPack(registers={0x1500 + n: 0xE807 + n for n in range(4)})
    scramble(pack, random.Random(7))
    requests = [request(*table) for table in SIZES.items()]
    told = [frame(pack, *table) for table in SIZES.items()]

    def console(path: str) -> list[bytes]:
        replies = []
        with serial.Serial(path, 19200) as port:
            for data, reply in zip(requests, told, strict=True):
                port.reset_input_buffer()
                port.write(data)
                replies.append(reply_of(port, len(reply)))
        return replies

    async with VirtualLine([pack]) as line:
        replies = await asyncio.to_thread(console, line.path)
    assert replies == told
    assert list(line.frames) == requests
    assert not line.complaints


async def test_another_program_may_write_byte_by_byte(
    make_line: MakeLine, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Let a busy machine take its time between two writes.
    monkeypatch.setattr("custom_components.openxpbms.bms.virtual.line.GAP", 2.0)
    pack = VirtualPack()
    line = await make_line(pack)
    requests = [request(table, SIZES[table]) for table in (0x1000, 0x1200)]
    told = [frame(pack, 0x1000, 18), frame(pack, 0x1200, 144)]

    def console() -> list[bytes]:
        replies = []
        with serial.Serial(line.path, 19200) as port:
            for data, reply in zip(requests, told, strict=True):
                for byte in data:
                    assert port.write(bytes((byte,))) == 1
                    port.flush()
                replies.append(reply_of(port, len(reply)))
        return replies

    replies = await asyncio.to_thread(console)
    assert replies == told
    assert list(line.frames) == requests
    assert not line.complaints


async def test_another_program_waits_in_vain_for_a_silent_pack(
    make_line: MakeLine,
) -> None:
    line = await make_line(VirtualPack(silent=True))

    def console() -> bytes:
        with serial.Serial(line.path, 19200, timeout=0.1) as port:
            port.write(request(0x1000, 18))
            return bytes(port.read(1))

    assert await asyncio.to_thread(console) == b""
    await until(lambda: list(line.frames) == [request(0x1000, 18)])


async def test_another_program_listens_to_a_bank(make_line: MakeLine) -> None:
    bank = VirtualBank(packs(2))
    line = await make_line(bank)

    def listen() -> bytes:
        with serial.Serial(line.path, 19200, timeout=10.0) as port:
            # It throws away what came before, which may be part of a burst.
            return bytes(port.read(2 * 266))

    heard = await asyncio.to_thread(listen)
    assert b"".join(answer.data for answer in bank.speak(0.0)) in heard
    assert line.bytes_received == 0


# Banks and second masters


def packs(number: int, **settings: Any) -> list[VirtualPack]:
    """Return packs of a bank."""
    return [VirtualPack(**settings) for _ in range(number)]


def said(bank: VirtualBank, now: float = 0.0) -> list[tuple[int, int, int]]:
    """Return address, function and length of what a bank says."""
    frames = [answer.data for answer in bank.speak(now)]
    return [(data[0], data[1], len(data)) for data in frames]


POLLED = [(4, 8), (4, 41), (4, 8), (4, 57), (1, 8), (1, 23)]


@pytest.mark.parametrize("number", [2, 3, 16])
def test_the_master_polls_the_others_and_then_tells_of_itself(number: int) -> None:
    assert said(VirtualBank(packs(number))) == [
        *((n, *part) for n in range(2, number + 1) for part in POLLED),
        *((1, *part) for part in POLLED[1::2]),
    ]


def test_silent_packs_are_polled_in_vain() -> None:
    bank = VirtualBank(packs(3))
    bank.packs[1].silent = True
    assert said(bank) == [
        *((2, *part) for part in POLLED[0::2]),
        *((3, *part) for part in POLLED),
        *((1, *part) for part in POLLED[1::2]),
    ]
    bank.packs[0].silent = True
    assert said(bank)[-1] == (3, 1, 23)
    assert len(said(bank)) == 9


@pytest.mark.parametrize("number", [1, 17])
def test_a_bank_has_2_to_16_packs(number: int) -> None:
    with pytest.raises(AssertionError, match="2 to 16"):
        VirtualBank(packs(number))


@pytest.mark.parametrize("number", [2, 3, 16])
def test_after_each_burst_there_is_silence(number: int) -> None:
    bank = VirtualBank(packs(number))
    assert isinstance(bank, Talker)
    burst = list(bank.speak(0.0))
    assert {0.0015 < answer.delay < 0.005 for answer in burst} == {True}
    seconds = sum(answer.delay + 10 * len(answer.data) / 19200 for answer in burst)
    if number == 2:
        assert bank.interval == 0.2
    assert bank.interval - seconds >= 0.0399
    for pack in bank.packs:
        pack.silent = True
    before = bank.interval
    list(bank.speak(0.0))
    assert bank.interval <= before / (3 if number == 16 else 1)


def test_all_packs_are_told_before_a_burst() -> None:
    told: list[tuple[int, float]] = []
    bank = VirtualBank(
        packs(3, before_answer=lambda pack, now: told.append((pack.address, now)))
    )
    bank.packs[2].before_answer = None
    list(bank.speak(9.0))
    assert told == [(1, 9.0), (2, 9.0)]


async def test_bursts_come_over_the_wire_as_captured_five_times_a_second() -> None:
    frames = BURSTS["SYSSI"]
    replies = [data for data in frames if len(data) != 8]
    bank = VirtualBank([pack_of(replies[at], replies[at + 1]) for at in (3, 0)])
    whole = b"".join(frames)
    begins: list[float] = []
    bank.packs[0].before_answer = lambda _, now: begins.append(now)
    lasted: list[float] = []
    async with VirtualLine([bank]) as line:
        with Client(line.path, 19200, mark=False) as client:
            for _ in range(5):
                client.times.clear()
                assert await client.take(len(whole)) == whole
                lasted.append(client.times[-1] - client.times[0])
    # Whatever holds up one of them: a burst takes its time, and so does the silence.
    assert max(lasted) > 0.14
    pauses = [later - before for before, later in pairwise(begins)]
    assert min(pauses) >= 0.199
    assert min(pauses) < 0.35
    assert line.bytes_received == 0
    assert not line.complaints


async def test_who_speaks_to_a_bank_is_a_second_master() -> None:
    bank = VirtualBank(packs(2, silent=True))
    asked = request(0x1000, 18, address=1)
    async with VirtualLine([bank]) as line:
        with Client(line.path, 19200, mark=False) as client:
            for _ in range(2):
                assert len(await client.receive(24)) == 24
                client.send(asked)
            # It is not answered: what comes is the next burst.
            assert await client.receive(24) == b"".join(
                request(table, SIZES[table], address=2)
                for table in (0x1000, 0x1100, 0x1200)
            )
    assert bank.complaints == [f"a second master: {asked.hex(' ')}"]
    assert line.complaints == bank.complaints
    assert line.bytes_received == 16


async def test_who_speaks_in_a_burst_garbles_it_and_is_garbled() -> None:
    frames = BURSTS["SYSSI"]
    bank = VirtualBank(packs(2))
    # So slow that even a busy machine is in time.
    bank.settings = Settings(4800, 10, ninth_bit=False)
    asked = request(0x1000, 18, address=1)
    async with VirtualLine([bank]) as line:
        with Client(line.path, 4800, mark=False) as client:
            await client.take(266)
            assert await client.take(8) == frames[0]
            client.send(5 * asked)
            rest = await client.take(258)
    burst = b"".join(answer.data for answer in bank.speak(0.0))
    assert len(rest) == 258
    assert rest[:41] != burst[8:49]
    assert rest[-121:] == burst[-121:]
    assert not bank.complaints
    assert line.complaints == [f"sent while an answer was due: {(5 * asked).hex(' ')}"]


async def test_a_burst_over_what_is_being_sent_is_garbled_and_garbles() -> None:
    bank = VirtualBank(packs(2, silent=True))
    long = b"\x55" * 650
    async with VirtualLine([bank]) as line:
        with Client(line.path, 19200, mark=False) as client:
            burst = await client.take(24)
            # Takes 339 ms, and so lasts over the next burst.
            client.send(long)
            noise = await client.take(24)
            assert all(noise[at : at + 8] != burst[at : at + 8] for at in (0, 8, 16))
            await client.take(24)
            assert await client.take(24) == burst
    assert not bank.complaints
    assert line.complaints == [f"sent while an answer was due: {long.hex(' ')}"]


async def test_a_bank_in_no_time_complains_of_who_speaks_to_it(
    make_line: MakeLine,
) -> None:
    bank = VirtualBank(packs(2))
    line = await make_line(bank)
    asked = request(0x1000, 18, address=1)
    with Client(line.path, 19200, mark=False) as client:
        burst = await client.take(266)
        client.send(asked)
        await until(lambda: bool(line.complaints))
        # It is not answered: what comes is the next burst.
        assert await client.take(266) == burst
    assert line.complaints == [f"a second master: {asked.hex(' ')}"]
    assert line.bytes_received == len(asked)


async def test_an_intruder_polls_packs_of_a_line_while_it_talks() -> None:
    pack = VirtualPack(5, soc=61.0)
    told: list[float] = []
    pack.before_answer = lambda _, now: told.append(now)
    intruder = Intruder([pack], interval=0.02, talking=False)
    exchanges = b"".join(
        request(table, count, address=5) + frame(pack, table, count)
        for table, count in ((0x1000, 18), (0x1100, 26), (0x1200, 144))
    )
    async with VirtualLine([intruder, pack], real_time=False) as line:
        with Client(line.path, 19200, mark=False) as client:
            assert await client.silence(0.05) == b""
            client.send(request(0x1005, 1, address=5))
            assert await client.receive(7) == frame(pack, 0x1005, 1)
            told.clear()
            intruder.talking = True
            assert (await client.receive(290))[:290] == 2 * exchanges
            assert len(told) >= 2
            pack.silent = True
            unanswered = b"".join(
                request(table, SIZES[table], address=5)
                for table in (0x1000, 0x1100, 0x1200)
            )
            await until(lambda: unanswered in client.received)
            intruder.talking = False
            line.inject(b"the end")
            await until(lambda: client.received.endswith(b"the end"))
            client.received.clear()
            assert await client.silence(0.05) == b""
    assert not line.complaints
    assert line.bytes_received == 8


async def test_an_intruder_ends_one_burst_before_the_next() -> None:
    intruder = Intruder(packs(2), interval=0.01)
    burst = b"".join(answer.data for answer in intruder.speak(0.0))
    async with VirtualLine([intruder]) as line:
        with Client(line.path, 19200, mark=False) as client:
            assert (await client.receive(580))[:580] == 2 * burst
    assert not line.complaints
