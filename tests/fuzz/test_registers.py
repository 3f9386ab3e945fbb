"""Registers of any content: values that can be kept, shown and judged."""

from __future__ import annotations

from dataclasses import asdict
import json
import math
import random
from typing import Any

from hypothesis import strategies as st

from custom_components.openxpbms.bms import seplos_tables, valence
from custom_components.openxpbms.bms.parameters import PARAMETERS
from custom_components.openxpbms.bms.reading import Identity, Reading
from custom_components.openxpbms.bms.registers import Block, decode
from custom_components.openxpbms.bms.seplos import serial_of

from .inputs import examine, fuzz

PARSER = "registers"
TABLES = (
    *(seplos_tables.PIA, seplos_tables.PIA_SHORT, seplos_tables.PIB),
    *(seplos_tables.PIC, seplos_tables.SFA, seplos_tables.VIA),
    *(seplos_tables.CLOCK, seplos_tables.COUNTS),
)
# Words that are likely to be trouble.
EXTREME = [bytes.fromhex(word) for word in ("0000", "7FFF", "8000", "FFFF", "0AAB")]


def content(chance: random.Random, size: int) -> bytes:
    """Return data of a reply: any words, or extreme ones."""
    data = chance.randbytes(size)
    if chance.random() < 0.3:
        words = [data[at : at + 2] for at in range(0, size, 2)]
        for at in range(len(words)):
            if chance.random() < 0.5:
                words[at] = chance.choice(EXTREME)
        data = b"".join(words)[:size]
    return data


def seplos_data(chance: random.Random, table: seplos_tables.Table) -> bytes:
    """Return data of a reply to a table."""
    return content(chance, table.request(0).byte_count)


def check_reading(reading: Reading) -> None:
    """Look whether a Reading is one, in all that is made of it."""
    told = asdict(reading) | {"coils": None}
    json.dumps(told, allow_nan=False)
    derived: list[float | None] = [
        *(reading.power, reading.cell_delta, reading.mean_cell_voltage),
        *(reading.lowest_cell_voltage, reading.highest_cell_voltage),
        *(reading.lowest_cell_temperature, reading.highest_cell_temperature),
        *(reading.lowest_cell, reading.highest_cell),
    ]
    assert all(value is None or math.isfinite(value) for value in derived)
    if reading.cell_voltages:
        assert reading.lowest_cell is not None
        assert 1 <= reading.lowest_cell <= len(reading.cell_voltages)
    assert all(1 <= number <= 16 for number in reading.balancing or ())


def a_pack(chance: random.Random) -> Identity:
    """Return what may be known of a pack."""
    return Identity(
        address=chance.randrange(256),
        serial=None,
        model="",
        model_code="",
        cells=chance.choice((None, 1, 8, 16)),
        sensors=chance.choice((None, 1, 4, 8)),
        board=chance.choice((None, 100, 200, 300)),
    )


def test_tables_of_a_pack() -> None:
    def check(chance: random.Random, _: None) -> None:
        values: dict[str, Any] = {}
        identity, divisor = a_pack(chance), chance.choice((None, 10, 100))
        for table in TABLES[:4]:
            if chance.random() < 0.7:
                data = seplos_data(chance, table)
                values |= seplos_tables.decode_table(table, data)
                if table is seplos_tables.PIB:
                    seplos_tables.is_pib(data)
        reading = seplos_tables.make_reading(
            values, identity, divisor=divisor, guess_sensors=chance.random() < 0.5
        )
        check_reading(reading)
        if reading.cell_voltages is not None:
            assert len(reading.cell_voltages) == (identity.cells or 16)
            assert all(0 <= volts <= 65.535 for volts in reading.cell_voltages)
        if "voltage" in values:
            cells = seplos_tables.count_cells(
                values["voltage"], values["mean_cell_reported"]
            )
            assert cells is None or 1 <= cells <= 16

    fuzz(PARSER, check, share=0.35)


def test_what_a_pack_tells_of_itself() -> None:
    def check(chance: random.Random, _: None) -> None:
        for table in TABLES[4:]:
            values = seplos_tables.decode_table(table, seplos_data(chance, table))
            if "clock" in values:
                seplos_tables.clock_time(values["clock"])
            if "device" in values:
                seplos_tables.board_of(values["device"])
                serial = serial_of(values)
                assert serial is None or (serial.isprintable() and len(serial) <= 30)
            json.dumps(values, allow_nan=False)

    fuzz(PARSER, check, share=0.15)


def test_parameters_of_a_pack() -> None:
    def check(chance: random.Random, _: None) -> None:
        block = seplos_tables.SPA.block
        values = decode(PARAMETERS, block, content(chance, 2 * block.count))
        assert len(values) == len(PARAMETERS)
        json.dumps(values, allow_nan=False)

    fuzz(PARSER, check, share=0.1)


def live(chance: random.Random, blocks: tuple[Block, ...]) -> dict[str, Any]:
    """Return what blocks of a module tell."""
    values: dict[str, Any] = {}
    for block in blocks:
        values |= decode(valence.FIELDS, block, content(chance, 2 * block.count))
    return values


def test_registers_of_a_module() -> None:
    slow = valence.SLOW + valence.SLOW_REVISION_2

    def check(chance: random.Random, _: None) -> None:
        cells, inverted = chance.choice((4, 6)), chance.random() < 0.5
        values = live(chance, valence.LIVE)
        if chance.random() < 0.5:
            values |= live(chance, (valence.EVENTS,))
        reading = valence.make_reading(values, cells, inverted=inverted)
        check_reading(reading)
        assert reading.cell_voltages is not None
        assert len(reading.cell_voltages) == cells
        part = valence.make_part(live(chance, (chance.choice(valence.LIVE),)), cells)
        check_reading(part)
        for revision in (1, 2):
            serial = valence.serial_number(values["serial"], revision)
            assert serial is None or serial.isdecimal()
        valence.detect_cells(
            values["cell_voltages"],
            values["lowest_cell_reported"],
            values["highest_cell_reported"],
        )
        block = chance.choice(slow)
        told = decode(valence.HISTORY_FIELDS, block, content(chance, 2 * block.count))
        json.dumps(asdict(valence.make_history(told)), allow_nan=False)

    fuzz(PARSER, check, share=0.4)


def test_single_words_that_hypothesis_draws() -> None:
    def check(data: bytes) -> None:
        values = seplos_tables.decode_table(seplos_tables.PIA, data[:36])
        values |= seplos_tables.decode_table(seplos_tables.PIB, data[36:88])
        values |= seplos_tables.decode_table(seplos_tables.PIC, data[88:])
        check_reading(seplos_tables.make_reading(values, a_pack(random.Random(1))))

    examine(PARSER, check, st.binary(min_size=106, max_size=106))
