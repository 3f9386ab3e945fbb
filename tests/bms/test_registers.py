"""Registers decoded by walking a table."""

from __future__ import annotations

from hypothesis import example, given
from hypothesis import strategies as st
import pytest

from custom_components.openxpbms.bms.registers import Block, Field, decode

SIGNED = Field(name="current", register=0x40, unit="A", divisor=100, signed=True)
UNSIGNED = Field(name="voltage", register=0x42, unit="V", divisor=1000)


def words(*values: int) -> bytes:
    """Return register values as they stand in a reply."""
    return b"".join((value & 0xFFFF).to_bytes(2, "big") for value in values)


@given(st.integers(-0x8000, 0x7FFF))
@example(-50)
@example(-1230)
@example(-1)
@example(0)
@example(0x7FFF)
@example(-0x8000)
def test_signed_values_are_twos_complement(raw: int) -> None:
    decoded = decode([SIGNED], Block(0x40, 1), words(raw))
    assert decoded == {"current": raw / 100}


@pytest.mark.parametrize(
    ("data", "value"),
    [
        ("FFCE", -0.5),
        ("FB32", -12.3),
        ("8000", -327.68),
        ("7FFF", 327.67),
        ("FFFF", -0.01),
        ("0000", 0.0),
    ],
)
def test_signed_values_as_they_stand_on_the_wire(data: str, value: float) -> None:
    decoded = decode([SIGNED], Block(0x40, 1), bytes.fromhex(data))
    assert decoded["current"] == value


@given(st.integers(0, 0xFFFF))
@example(0xFFFF)
@example(0x8000)
def test_unsigned_values_use_all_sixteen_bits(raw: int) -> None:
    decoded = decode([UNSIGNED], Block(0x42, 1), words(raw))
    assert decoded == {"voltage": raw / 1000}


def test_a_value_without_divisor_stays_whole() -> None:
    decoded = decode([Field(name="cycles", register=3)], Block(3, 1), words(180))
    assert decoded == {"cycles": 180}
    assert isinstance(decoded["cycles"], int)


def test_a_factor_comes_before_the_divisor() -> None:
    soc = Field(name="soc", register=1, byte="low", factor=100, divisor=255)
    assert decode([soc], Block(1, 1), words(0x3FFF)) == {"soc": 100.0}


def test_halves_of_a_register() -> None:
    fields = [
        Field(name="high", register=7, byte="high"),
        Field(name="low", register=7, byte="low"),
    ]
    assert decode(fields, Block(7, 1), words(0x3FDC)) == {"high": 0x3F, "low": 0xDC}


@given(st.integers(0, 0xFFFF_FFFF))
def test_long_values_in_either_word_order(raw: int) -> None:
    fields = [
        Field(name="energy", register=0x21, words=2),
        Field(name="time", register=0x23, words=2, low_word_first=True),
    ]
    high, low = raw >> 16, raw & 0xFFFF
    decoded = decode(fields, Block(0x21, 4), words(high, low, low, high))
    assert decoded == {"energy": raw, "time": raw}


def test_neighbours_make_a_tuple_in_order() -> None:
    cells = Field(name="cells", register=0x48, divisor=1000, items=3)
    assert decode([cells], Block(0x47, 4), words(1, 3279, 3278, 3280)) == {
        "cells": (3.279, 3.278, 3.280)
    }


def test_long_neighbours_make_a_tuple_too() -> None:
    times = Field(name="times", register=2, words=2, items=2, low_word_first=True)
    assert decode([times], Block(2, 4), words(1, 0, 0, 1)) == {"times": (1, 0x10000)}


@pytest.mark.parametrize(
    ("block", "inside"),
    [
        (Block(0x48, 6), True),
        (Block(0x45, 9), True),
        (Block(0x48, 5), False),  # the last cell is missing
        (Block(0x49, 6), False),  # the first cell is missing
        (Block(0x39, 10), False),
        (Block(0x50, 7), False),
    ],
)
def test_only_fields_that_lie_wholly_inside_a_block_are_decoded(
    block: Block, inside: bool
) -> None:
    cells = Field(name="cells", register=0x48, items=6)
    assert ("cells" in decode([cells], block, bytes(2 * block.count))) is inside


@given(st.integers(0, 0xFFFF))
@example(2731)
@example(2331)
def test_an_offset_comes_before_the_divisor(raw: int) -> None:
    kelvin = Field(name="temperature", register=1, offset=-2731, divisor=10)
    decoded = decode([kelvin], Block(1, 1), words(raw))
    assert decoded == {"temperature": (raw - 2731) / 10}


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (b"SP05B123", "SP05B123"),
        (b"SP05\0\0\0\0", "SP05"),
        (b"SP05\x02\0\0\0", "SP05"),
        (b"SP05\0B12", "SP05"),
        (b" SP 05 \0", "SP 05"),
        (b"SP\xff\xb205\0\0", "SP05"),
        (b"\0SP05B12", ""),
        (b"\0" * 8, ""),
        (b"\xff" * 8, ""),
    ],
)
def test_a_text_ends_at_the_first_zero_and_can_be_printed(
    data: bytes, text: str
) -> None:
    field = Field(name="serial", register=0x1715, chars=8)
    behind = b"XY"
    assert decode([field], Block(0x1714, 6), b"13" + data + behind) == {"serial": text}


@pytest.mark.parametrize(("first", "count"), [(0x1715, 3), (0x1716, 4)])
def test_a_text_that_is_not_wholly_inside_is_not_decoded(
    first: int, count: int
) -> None:
    field = Field(name="serial", register=0x1715, chars=8)
    assert field.end == 0x1719
    assert decode([field], Block(first, count), bytes(2 * count)) == {}
