"""Virtual packs that are written to: what they take, and how it may fail."""

from __future__ import annotations

import pytest

from custom_components.openxpbms.bms.virtual import (
    Answer,
    Settings,
    VirtualPack,
    WriteFault,
)

from .test_virtual_seplos import framed, hear, request

LINE = Settings(19200, 10, ninth_bit=False)


def write(register: int, *words: int, address: int = 0) -> bytes:
    """Return a frame that writes words."""
    data = [byte for word in words for byte in divmod(word, 256)]
    count = len(words)
    head = (address, 16, *divmod(register, 256), 0, count, 2 * count)
    return framed(*head, *data)


def acknowledged(register: int, count: int = 1) -> bytes:
    """Return what a pack says to a write that it took."""
    return framed(0, 16, *divmod(register, 256), 0, count)


def shown(pack: VirtualPack, register: int) -> int:
    """Return what a pack tells of a parameter."""
    reply = hear(pack, request(register, 1))
    assert reply is not None
    return int.from_bytes(reply[3:5])


@pytest.mark.parametrize(
    ("frame", "answer"),
    [
        ("00 10 13 65 00 01 02 15 E0 8F EC", "00 10 13 65 00 01 14 83"),
        ("00 10 13 67 00 01 02 FF 9C C0 8F", "00 10 13 67 00 01 B5 43"),
        ("00 10 13 0D 00 01 02 0D DE 0C D4", "00 10 13 0D 00 01 95 5F"),
        ("00 10 13 30 00 01 02 0C 9F C9 99", "00 10 13 30 00 01 04 93"),
        ("00 10 13 0C 00 02 04 0D 48 0E 42 28 DD", "00 10 13 0C 00 02 84 9E"),
        ("00 10 15 10 00 01 02 55 AA 52 BE", "00 10 15 10 00 01 05 D1"),
        ("00 10 15 11 00 01 02 55 AA 53 6F", "00 10 15 11 00 01 54 11"),
        ("00 10 15 15 00 01 02 AA 55 53 5B", "00 10 15 15 00 01 15 D0"),
    ],
)
def test_writes_of_the_dossier_are_acknowledged(frame: str, answer: str) -> None:
    pack = VirtualPack()
    assert hear(pack, bytes.fromhex(frame)) == bytes.fromhex(answer)
    assert not pack.complaints


def test_what_was_written_is_in_the_pack() -> None:
    pack = VirtualPack()
    assert hear(pack, write(0x1365, 5600)) == acknowledged(0x1365)
    assert hear(pack, write(0x130C, 3400, 3650)) == acknowledged(0x130C, 2)
    assert [shown(pack, at) for at in (0x1365, 0x130C, 0x130D)] == [5600, 3400, 3650]
    assert pack.written == [(0x1365, 5600), (0x130C, 3400), (0x130D, 3650)]


@pytest.mark.parametrize(
    ("register", "word", "discharge", "charge"),
    [
        (0x1510, 0x55AA, False, True),
        (0x1510, 0xAA55, True, True),
        (0x1511, 0x55AA, True, False),
        (0x1515, 0xAA55, True, True),
    ],
)
def test_four_words_switch_mosfets(
    register: int, word: int, *, discharge: bool, charge: bool
) -> None:
    pack = VirtualPack(charge_mosfet=register != 0x1515)
    assert hear(pack, write(register, word)) == acknowledged(register)
    assert (pack.discharge_mosfet, pack.charge_mosfet) == (discharge, charge)
    assert not pack.complaints


@pytest.mark.parametrize("register", [0x1510, 0x1511, 0x1515])
def test_any_other_word_there_is_complained_of(register: int) -> None:
    pack = VirtualPack()
    hear(pack, write(register, 0x1234))
    assert pack.complaints == [f"0x1234 in register 0x{register:04X}"]
    assert (pack.discharge_mosfet, pack.charge_mosfet) == (True, True)


@pytest.mark.parametrize(
    "register",
    [
        *(0x1300, 0x1301, 0x1321, 0x1328, 0x132D, 0x1359, 0x135F, 0x1362, 0x1369),
        *(0x12FF, 0x136A, 0x1500, 0x1512, 0x1516, 0x1517, 0x151B, 0x1000),
    ],
)
def test_what_nobody_may_write_is_refused_and_complained_of(register: int) -> None:
    pack = VirtualPack()
    assert hear(pack, write(register, 1)) == framed(0, 0x90, 2)
    assert pack.complaints == [f"write of register 0x{register:04X}"]
    assert not pack.written


@pytest.mark.parametrize(
    ("count", "content"), [(1, "0C800C80"), (2, "0C80"), (1, "0C")]
)
def test_a_write_of_more_or_less_than_it_says_is_refused(
    count: int, content: str
) -> None:
    pack = VirtualPack()
    data = bytes.fromhex(content)
    frame = framed(0, 16, 0x13, 0x0C, 0, count, len(data), *data)
    assert hear(pack, frame) == framed(0, 16 | 0x80, 3)
    assert not pack.written
    assert pack.complaints


def test_a_write_of_nothing_is_refused() -> None:
    assert hear(VirtualPack(), framed(0, 16, 0x13, 2, 0, 0, 0)) == framed(0, 0x90, 3)


@pytest.mark.parametrize(
    ("fault", "answer", "word"),
    [
        (WriteFault.REFUSE_REGISTER, framed(0, 0x90, 2), 5760),
        (WriteFault.REFUSE_VALUE, framed(0, 0x90, 3), 5760),
        (WriteFault.CLAMP, acknowledged(0x1365), 5700),
        (WriteFault.SILENT, acknowledged(0x1365), 5600),
        (WriteFault.IGNORE, acknowledged(0x1365), 5760),
        (WriteFault.NO_ACKNOWLEDGEMENT, True, 5600),
        (WriteFault.LATE, acknowledged(0x1365), 5600),
        (WriteFault.POWER_LOSS, acknowledged(0x1365), 5760),
    ],
)
def test_writes_may_fail(fault: WriteFault, answer: bytes | bool, word: int) -> None:
    pack = VirtualPack(write_fault=fault, clamped=5700, late=0.5)
    said = pack.hear(write(0x1365, 5600), LINE, 0.0, lenient=False)
    assert (said.data if isinstance(said, Answer) else said) == answer
    if isinstance(said, Answer):
        assert said.delay == (0.5 if fault is WriteFault.LATE else pack.turnaround)
    assert pack.silent is (fault in (WriteFault.SILENT, WriteFault.POWER_LOSS))
    pack.silent = False
    pack.write_fault = None
    assert shown(pack, 0x1365) == word
    assert not pack.complaints
