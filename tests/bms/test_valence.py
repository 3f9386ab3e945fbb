"""Valence XP: what registers mean, and the exchanges with virtual modules."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
import random
import termios
from typing import Any

from hypothesis import example, given
from hypothesis import strategies as st
import pytest
import serialx

from custom_components.openxpbms.bms import valence
from custom_components.openxpbms.bms.bus import Timing
from custom_components.openxpbms.bms.errors import (
    AnotherBattery,
    FixedSpeed,
    GarbledAnswer,
    NoAnswer,
    UnsupportedLine,
    WrongBattery,
)
from custom_components.openxpbms.bms.family import ScanResult
from custom_components.openxpbms.bms.reading import Alarm, History, Level, Reading
from custom_components.openxpbms.bms.registers import Block, Value, decode
from custom_components.openxpbms.bms.valence import (
    ALARM_BITS,
    CYCLES,
    DURATIONS,
    ENERGY,
    EVENTS,
    EXTREMES,
    FIELDS,
    HISTORY_FIELDS,
    LIVE,
    MODEL,
    STATUS,
    SUMMARY,
    TEMPERATURES,
    VOLTAGES,
    WAKE,
    LineMode,
    Valence,
    active_alarms,
    balancing_cells,
    detect_cells,
    make_reading,
    request,
    serial_number,
)
from custom_components.openxpbms.bms.virtual import VirtualLine, VirtualModule
from custom_components.openxpbms.bms.virtual.line import Answer, Settings
from custom_components.openxpbms.bms.virtual.valence import Lifetime

from .conftest import (
    FAST,
    Ahead,
    MakeBus,
    MakeLine,
    MakeValence,
    Recorder,
    Script,
    asked,
    expected,
    identity,
    module,
    scramble,
    wakes,
)
from .data import BANKS, REPLIES, WORDS, CapturedReply, reply


def blocks(address: int, *these: Block) -> list[tuple[int, int, int]]:
    """Return what `asked` tells of these blocks."""
    return [(address, block.register, block.count) for block in these]


# What the registers mean


@pytest.mark.parametrize("captured", [item for item in REPLIES if item.crc_ok], ids=str)
def test_documented_replies_decode_to_the_stated_values(
    captured: CapturedReply,
) -> None:
    data = captured.data[3:-4]
    values = decode(FIELDS, captured.block, data)
    values |= decode(HISTORY_FIELDS, captured.block, data)
    assert values == captured.values


def live_values(**changes: Value) -> dict[str, Value]:
    """Return the values of fixtures A* and B* and of an idle status word."""
    values: dict[str, Value] = {"pcb_temperature": 6.33, "status": 0}
    values["cell_temperatures"] = (6.0, 6.1, -12.3, -0.5, -327.68, -327.68)
    for name in ("A*", "B*"):
        values |= reply(name).values
    return values | changes


def test_fixture_b_reads_plus_half_an_ampere() -> None:
    assert make_reading(live_values(), 4) == Reading(
        voltage=13.146,
        current=0.5,
        soc=98.0,
        cell_voltages=(3.279, 3.278, 3.280, 3.281),
        cell_temperatures=(6.0, 6.1, -12.3, -0.5),
        pcb_temperature=6.33,
        highest_cell_reported=3.281,
        lowest_cell_reported=3.278,
        balancing=(),
        balancing_active=False,
        status=0,
        alarms=(),
    )


def test_inverted_current_keeps_the_raw_sign() -> None:
    assert make_reading(live_values(), 4, inverted=True).current == -0.5


@pytest.mark.parametrize("inverted", [False, True])
def test_no_current_has_no_sign(inverted: bool) -> None:
    reading = make_reading(live_values(current=0.0), 4, inverted=inverted)
    assert str(reading.current) == "0.0"


@pytest.mark.parametrize(
    ("word", "current"), [(0x8000, 327.68), (0x7FFF, -327.67), (0xFFFF, 0.01)]
)
def test_extreme_currents(word: int, current: float) -> None:
    data = bytes(14) + word.to_bytes(2, "big") + bytes(4)
    values = decode(FIELDS, SUMMARY, data)
    assert make_reading(live_values() | values, 4).current == current


@pytest.mark.parametrize(
    ("word", "temperature"),
    [(0x8000, -327.68), (0x7FFF, 327.67), (0xFFCE, -0.5), (0xFB32, -12.3)],
)
def test_extreme_temperatures(word: int, temperature: float) -> None:
    values = decode(FIELDS, TEMPERATURES, word.to_bytes(2, "big") * 7)
    reading = make_reading(live_values() | values, 6)
    assert reading.pcb_temperature == temperature
    assert reading.cell_temperatures == (temperature,) * 6


def test_voltages_use_all_sixteen_bits() -> None:
    values = decode(FIELDS, VOLTAGES, b"\xff" * 18)
    assert values["cell_voltages"] == (65.535,) * 6


def test_the_finer_charge_of_revision_2_is_preferred() -> None:
    values = live_values(soc_tenths=98.4)
    assert make_reading(values, 4).soc == 98.4


@pytest.mark.parametrize("word", WORDS, ids=lambda word: f"{word['word']:04X}")
def test_documented_words_of_balancing_and_charge(word: dict[str, Any]) -> None:
    data = bytes(12) + word["word"].to_bytes(2, "big") + bytes(6)
    values = decode(FIELDS, SUMMARY, data)
    reading = make_reading(live_values() | values, word["cells"])
    assert reading.balancing == tuple(word["balancing"])
    assert reading.balancing_active is bool(word["balancing"])
    assert reading.soc == word["soc_percent"]


@pytest.mark.parametrize("bank", BANKS, ids=lambda bank: f"{bank['bank_byte']:02X}")
def test_documented_banks_and_status_words(bank: dict[str, Any]) -> None:
    values = live_values(
        banks=bank["bank_byte"], status=bank["status"], cell_voltages=(3.3,) * 6
    )
    reading = make_reading(values, bank["cells"])
    assert reading.balancing == tuple(bank["balancing"])
    assert reading.balancing_active is bool(bank["balancing"])


def test_balancing_is_also_told_by_the_status_word_alone() -> None:
    reading = make_reading(live_values(status=0x100), 4)
    assert (reading.balancing, reading.balancing_active) == ((), True)


def test_banks_that_a_module_does_not_have_balance_nothing() -> None:
    assert balancing_cells(0b00_001111, 4) == ()
    assert balancing_cells(0b00_001111, 6) == (5, 6)
    assert balancing_cells(0, 6) == (1, 2, 3, 4, 5, 6)


@pytest.mark.parametrize(("bit", "alarm"), ALARM_BITS.items())
def test_each_alarm_bit_has_its_alarm(bit: int, alarm: Alarm) -> None:
    assert active_alarms(1 << bit) == (alarm,)
    assert alarm.level is Level.ALARM


def test_balancing_and_unknown_bits_are_no_alarms() -> None:
    unknown = 0xFFFF & ~sum(1 << bit for bit in ALARM_BITS)
    assert unknown & 0x100
    assert active_alarms(unknown) == ()
    assert len(active_alarms(0xFFFF)) == 11


@given(st.integers(1, 0xFFFE), st.integers(0, 0xFFFF))
@example(461, 0)
def test_serial_numbers_of_revision_1_are_the_first_word(
    first: int, second: int
) -> None:
    serial = serial_number((first, second), 1)
    assert serial is not None
    assert len(serial) == 5
    assert int(serial) == first


@given(
    st.integers(0, 63), st.integers(0, 63), st.integers(0, 0xFFFF), st.integers(0, 15)
)
@example(10, 44, 461, 0)
def test_serial_numbers_of_revision_2_have_three_parts(
    year: int, week: int, unit: int, unused: int
) -> None:
    words = (unused << 12 | year << 6 | week, unit)
    if words in ((0, 0), (0xFFFF, 0xFFFF)):
        assert serial_number(words, 2) is None
    else:
        assert serial_number(words, 2) == f"{year:02}{week:02}{unit:05}"


def test_the_documented_serial_number() -> None:
    assert serial_number((0x02AC, 0x01CD), 2) == "104400461"


@pytest.mark.parametrize(
    ("words", "revision"),
    [((0, 461), 1), ((0xFFFF, 461), 1), ((0, 0), 2), ((0xFFFF, 0xFFFF), 2)],
)
def test_blank_serial_numbers_are_none(words: tuple[int, int], revision: int) -> None:
    assert serial_number(words, revision) is None


FOUR = (3.279, 3.278, 3.280, 3.281)


@pytest.mark.parametrize(
    ("voltages", "cells"),
    [
        ((*FOUR, 34.816, 17.440), 4),  # fixture A*
        ((*FOUR, 3.279, 3.281), 6),
        ((*FOUR, 3.279, 17.440), 4),
        ((*FOUR, 3.279, 3.282), 4),  # above the highest that the module tells
        ((*FOUR, 3.277, 3.279), 4),  # below the lowest
        ((3.0, *FOUR[1:], 3.279, 3.281), None),
        ((*FOUR[:3], 0.0, 3.279, 3.281), None),
    ],
)
def test_cells_are_counted_by_what_is_plausible(
    voltages: tuple[float, ...], cells: int | None
) -> None:
    assert detect_cells(voltages, lowest=3.278, highest=3.281) == cells


@pytest.mark.parametrize("level", [1.499, 4.501])
def test_no_cell_is_below_1_5_or_above_4_5_volts(level: float) -> None:
    assert detect_cells((level,) * 6, lowest=level, highest=level) is None
    assert detect_cells((1.5, 1.5, 4.5, 4.5, 1.5, 4.5), 1.5, 4.5) == 6


def test_both_ways_to_send_the_ninth_bit() -> None:
    assert str(LineMode.MARK.line(9600)) == "9600 8M1"
    assert str(LineMode.TWO_STOP_BITS.line(115200)) == "115200 8N2"


def test_live_replies_differ_in_length() -> None:
    lengths = {request(1, block).reply_length for block in (*LIVE, EVENTS)}
    assert len(lengths) == 5


# Exchanges with modules

KINDS = [("1", 1, 4), ("4", 2, 4), ("7", 1, 4), ("7", 2, 4), ("V", 1, 6), ("V", 2, 6)]


@pytest.mark.parametrize(("model", "revision", "cells"), KINDS)
async def test_a_module_tells_who_it_is(
    make_line: MakeLine,
    make_valence: MakeValence,
    model: str,
    revision: int,
    cells: int,
) -> None:
    serial = "00461" if revision == 1 else "104400461"
    one = module(17, serial=serial, model=model, revision=revision, cells=cells)
    family = await make_valence(await make_line(one))
    assert await family.identify(17) == identity(one)


@pytest.mark.parametrize(("model", "revision", "cells"), KINDS)
async def test_a_reading_has_exactly_the_values_of_the_module(
    make_line: MakeLine,
    make_valence: MakeValence,
    model: str,
    revision: int,
    cells: int,
) -> None:
    serial = "00461" if revision == 1 else "104400461"
    one = module(3, serial=serial, model=model, revision=revision, cells=cells)
    line = await make_line(one)
    family = await make_valence(line)
    chance = random.Random(cells * revision)
    for _ in range(10):
        scramble(one, chance)
        assert await family.read(identity(one)) == expected(one)
    assert line.complaints == []


@pytest.mark.parametrize(
    ("current", "temperature"), [(-0.5, -12.3), (327.67, 327.67), (-327.67, -327.68)]
)
async def test_negative_and_extreme_values_come_over_the_wire(
    make_line: MakeLine, make_valence: MakeValence, current: float, temperature: float
) -> None:
    one = module(current=current, cell_temperatures=[temperature] * 4)
    family = await make_valence(await make_line(one))
    reading = await family.read(identity(one))
    assert reading.current == current
    assert reading.cell_temperatures == (temperature,) * 4


async def test_the_current_of_an_inverted_bus(
    make_line: MakeLine, make_valence: MakeValence
) -> None:
    one = module(current=-0.5)
    family = await make_valence(await make_line(one), inverted=True)
    assert (await family.read(identity(one))).current == 0.5


@pytest.mark.parametrize(("revision", "these"), [(1, LIVE), (2, (*LIVE, EVENTS))])
async def test_a_round_asks_for_no_more_than_it_needs(
    make_line: MakeLine,
    make_valence: MakeValence,
    revision: int,
    these: tuple[Block, ...],
) -> None:
    one, recorder = module(5, revision=revision, serial="00461"), Recorder()
    line = await make_line(recorder, one)
    family = await make_valence(line)
    who = identity(one, serial=None)
    await family.read(who)
    assert asked(recorder) == blocks(5, *these)
    assert line.complaints == []


async def test_a_junk_cell_is_never_part_of_a_reading(
    make_line: MakeLine, make_valence: MakeValence
) -> None:
    one = module()
    family = await make_valence(await make_line(one))
    for cells in (4, None):
        reading = await family.read(identity(one, cells=cells))
        assert reading.cell_voltages == tuple(one.cell_voltages)
        assert reading.cell_temperatures == tuple(one.cell_temperatures)


async def test_another_battery_at_the_address_gives_no_reading(
    make_line: MakeLine, make_valence: MakeValence
) -> None:
    one, recorder = module(2), Recorder()
    family = await make_valence(await make_line(recorder, one))
    with pytest.raises(AnotherBattery, match="another battery") as caught:
        await family.read(identity(one, serial="104400462"))
    assert caught.value.details == {"address": "2", "other": one.serial}
    assert asked(recorder) == blocks(2, SUMMARY)


async def test_a_blank_serial_number_is_not_the_known_one(
    make_line: MakeLine, make_valence: MakeValence
) -> None:
    one = module(serial="0")
    family = await make_valence(await make_line(one))
    with pytest.raises(WrongBattery) as caught:
        await family.read(identity(one, serial="104400461"))
    assert caught.value.details["other"] == "?"
    assert (await family.identify(1)).serial is None


@pytest.mark.parametrize("missing", [VOLTAGES, TEMPERATURES, STATUS])
async def test_half_a_battery_is_no_reading(
    make_line: MakeLine, make_valence: MakeValence, missing: Block
) -> None:
    one = module()
    deaf = Deaf(one, {(missing.register, missing.count)})
    family = await make_valence(await make_line(deaf))
    with pytest.raises(NoAnswer):
        await family.read(identity(one))


@dataclass
class Deaf:
    """A module that never answers for some blocks."""

    module: VirtualModule
    blocks: set[tuple[int, int]]
    complaints: list[str] = field(default_factory=list)
    ignored: int = 0

    def hear(
        self, data: bytes, settings: Settings, now: float, *, lenient: bool
    ) -> Answer | bool:
        """Pass on what is not ignored."""
        words = int.from_bytes(data[2:4], "big"), int.from_bytes(data[4:6], "big")
        if len(data) == 10 and words in self.blocks:
            self.ignored += 1
            return True
        return self.module.hear(data, settings, now, lenient=lenient)


async def test_a_module_without_the_finer_charge_is_read_without_it(
    make_line: MakeLine, make_valence: MakeValence, monkeypatch: pytest.MonkeyPatch
) -> None:
    ahead = Ahead()
    monkeypatch.setattr(valence, "time", ahead)
    one = module(soc=83.3)
    deaf = Deaf(one, {(EVENTS.register, EVENTS.count)})
    family = await make_valence(await make_line(deaf))
    who = identity(one)
    for _ in range(2):  # it may have been lost
        with pytest.raises(NoAnswer):
            await family.read(who)
    for _ in range(3):
        assert (await family.read(who)).soc == 83.1  # 212 / 255
    assert deaf.ignored == 3
    ahead.by += 600
    assert (await family.read(who)).soc == 83.1
    assert deaf.ignored == 4
    ahead.by += 600
    deaf.blocks.clear()
    assert (await family.read(who)).soc == 83.3
    deaf.blocks.add((EVENTS.register, EVENTS.count))
    for _ in range(4):  # it is known to answer: these were lost
        with pytest.raises(NoAnswer):
            await family.read(who)


LIFE = Lifetime(
    highest_temperature=65.35,
    lowest_temperature=-12.3,
    highest_cell_voltage=4.512,
    lowest_cell_voltage=2.3,
    energy=0xE_F00D,
    counts={register: register for register in range(0x6B, 0x76)},
    durations={register: register << 12 for register in range(0x82, 0x8E, 2)},
    resets=7,
)


async def test_history_of_revision_2(
    make_line: MakeLine, make_valence: MakeValence
) -> None:
    one, recorder = module(9, cycles=180, lifetime=LIFE), Recorder()
    LIFE.counts.pop(0x6E, None)
    LIFE.counts.pop(0x6F, None)
    line = await make_line(recorder, one)
    family = await make_valence(line)
    assert await family.read_slow(identity(one)) == History(
        cycles=180,
        highest_temperature=65.35,
        lowest_temperature=-12.3,
        highest_cell_voltage=4.512,
        lowest_cell_voltage=2.3,
        highest_charge_current=253.23,
        highest_discharge_current=311.55,
        energy=0xE_F00D,
        under_temperature_time=0x82 << 12,
        over_temperature_time=0x84 << 12,
        charge_over_current_time=0x86 << 12,
        discharge_over_current_time=0x88 << 12,
        under_voltage_time=0x8A << 12,
        over_voltage_time=0x8C << 12,
        over_temperature_count=0x6B,
        under_temperature_count=0x6C,
        high_output_count=0x6D,
        balance_count=0x70,
        charge_cutoff_count=0x73,
        discharge_cutoff_count=0x74,
        communication_error_count=0x75,
        reset_count=7,
    )
    assert asked(recorder) == blocks(9, EXTREMES, CYCLES, ENERGY, EVENTS, DURATIONS)
    assert line.complaints == []


async def test_history_of_revision_1_leaves_out_what_it_does_not_have(
    make_line: MakeLine, make_valence: MakeValence
) -> None:
    one, recorder = module(9, revision=1, serial="00461", lifetime=LIFE), Recorder()
    line = await make_line(recorder, one)
    family = await make_valence(line)
    assert await family.read_slow(identity(one)) == History(
        cycles=100,
        highest_temperature=65.35,
        lowest_temperature=-12.3,
        highest_cell_voltage=4.512,
        lowest_cell_voltage=2.3,
    )
    assert asked(recorder) == blocks(9, EXTREMES, CYCLES)
    assert line.complaints == []


async def test_history_that_does_not_answer_stays_unknown(
    make_line: MakeLine, make_valence: MakeValence
) -> None:
    one = module()
    deaf = Deaf(one, {(block.register, block.count) for block in (EXTREMES, ENERGY)})
    family = await make_valence(await make_line(deaf))
    history = await family.read_slow(identity(one))
    assert history.highest_temperature is None
    assert history.energy is None
    assert history.cycles == 100
    assert history.reset_count == 3


@pytest.mark.parametrize(
    ("model", "code"),
    [("X", "X"), ("!", "!"), ("~", "~"), (" ", "0x20"), ("\x7f", "0x7F")],
)
@pytest.mark.parametrize("cells", [4, 6])
async def test_an_unknown_model_is_shown_as_it_is_and_its_cells_are_counted(
    make_line: MakeLine, make_valence: MakeValence, model: str, code: str, cells: int
) -> None:
    one = module(model=model, cells=cells)
    family = await make_valence(await make_line(one))
    assert await family.identify(1) == identity(
        one, model=f"XP ({code})", model_code=code
    )


async def test_cells_that_are_not_plausible_are_left_to_a_person(
    make_line: MakeLine, make_valence: MakeValence
) -> None:
    one = module(model="X", cell_voltages=[0.0, 3.3, 3.3, 3.3])
    family = await make_valence(await make_line(one))
    assert (await family.identify(1)).cells is None


async def test_modules_are_asleep_until_something_was_exchanged_lately(
    make_line: MakeLine, make_bus: MakeBus, monkeypatch: pytest.MonkeyPatch
) -> None:
    line = await make_line(Recorder(), module())
    family = Valence(make_bus(line.path))
    await family.open()
    assert family.asleep
    await family.wake()
    assert not family.asleep
    assert valence.AWAKE == 10.0
    monkeypatch.setattr(valence, "AWAKE", 0.5)
    await asyncio.sleep(0.51)
    assert family.asleep
    with pytest.raises(NoAnswer):
        await family.identify(2)
    assert not family.asleep


async def test_the_wake_up_goes_out_at_its_speed_with_a_ninth_bit(
    make_line: MakeLine, make_valence: MakeValence
) -> None:
    recorder = Recorder()
    family = await make_valence(await make_line(recorder, module()))
    await family.identify(1)
    assert recorder.heard[0] == (WAKE, Settings(9600, 11, True))
    assert recorder.heard[1] == (
        request(1, MODEL).encoded,
        Settings(115200, 11, True),
    )


# Scan


async def scan(
    line: VirtualLine, make_bus: MakeBus, addresses: range, **settings: Any
) -> tuple[ScanResult, list[float], LineMode]:
    """Scan a line; also return the progress that was told, and the line's settings."""
    family = Valence(make_bus(line.path), **settings)
    await family.open()
    shares: list[float] = []
    return await family.scan(addresses, shares.append), shares, family.mode


async def test_a_scan_finds_every_module_and_tells_its_progress(
    make_line: MakeLine, make_bus: MakeBus, short_pauses: None
) -> None:
    modules = [
        module(1),
        module(2, revision=1, serial="00461"),
        module(4, cells=6, model="V"),
    ]
    line = await make_line(*modules)
    result, shares, mode = await scan(line, make_bus, range(1, 6))
    assert result.found == tuple(identity(one) for one in modules)
    assert result.garbled == ()
    assert mode is LineMode.MARK
    assert shares == sorted(shares)
    assert shares[0] == 0.0
    assert shares[-1] == 1.0
    assert len(shares) >= 6
    assert line.complaints == []


async def test_a_scan_covers_55_addresses(
    make_line: MakeLine, make_bus: MakeBus, short_pauses: None
) -> None:
    recorder = Recorder()
    line = await make_line(recorder, module(55))
    bus = make_bus(line.path, timing=Timing(answer=0.03))
    family = Valence(bus, LineMode.TWO_STOP_BITS)
    await family.open()

    def patience(share: float) -> None:
        if share > 0.49:  # the last one, who is there
            bus.timing = Timing(answer=5.0)

    result = await family.scan(progress=patience)
    assert [found.address for found in result.found] == [55]
    assert [ask[0] for ask in asked(recorder)] == [*range(1, 56), 55]


async def test_a_scan_wakes_the_modules_and_waits(
    make_line: MakeLine, make_bus: MakeBus, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(valence, "WAKE_PAUSES", (0.4, 9.0))
    line = await make_line(module(wake_time=0.1))
    result, *_ = await scan(line, make_bus, range(1, 2))
    assert [found.address for found in result.found] == [1]


async def test_a_long_scan_keeps_the_modules_awake(
    make_line: MakeLine,
    make_bus: MakeBus,
    short_pauses: None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # Of 12 addresses, two or three to each wake-up.
    monkeypatch.setattr(valence, "AWAKE", 2.2 * FAST.answer)
    monkeypatch.setattr(valence, "WAKE_PAUSES", (0.0, 0.0))
    recorder = Recorder()
    line = await make_line(recorder, module(12))
    async with asyncio.timeout(30.0):  # only the first wake-up is followed by a pause
        result, *_ = await scan(
            line, make_bus, range(1, 13), mode=LineMode.TWO_STOP_BITS
        )
    assert [found.address for found in result.found] == [12]
    assert 3 <= wakes(recorder) <= 7


async def test_an_adapter_that_ignores_mark_is_used_with_two_stop_bits(
    make_line: MakeLine, make_bus: MakeBus, short_pauses: None
) -> None:
    line = await make_line(module(1), module(3), ignores_mark=True)
    result, shares, mode = await scan(line, make_bus, range(1, 5))
    assert [found.address for found in result.found] == [1, 3]
    assert mode is LineMode.TWO_STOP_BITS
    assert shares == [0, 0.125, 0.25, 0.375, 0.5, 0.625, 0.75, 0.875, 1]


async def test_where_nothing_answers_at_all_mark_is_kept(
    make_line: MakeLine, make_bus: MakeBus, short_pauses: None
) -> None:
    recorder = Recorder()
    line = await make_line(recorder)
    family = Valence(make_bus(line.path))
    await family.open()
    assert await family.scan(range(1, 3)) == ScanResult((), ())
    assert family.mode is LineMode.MARK


@pytest.mark.parametrize("mode", LineMode)
async def test_a_forced_setting_is_kept(
    make_line: MakeLine, make_bus: MakeBus, short_pauses: None, mode: LineMode
) -> None:
    line = await make_line(module(2), ignores_mark=True)
    result, _, used = await scan(line, make_bus, range(1, 3), mode=mode, forced=True)
    assert used is mode
    assert len(result.found) == (mode is LineMode.TWO_STOP_BITS)


@dataclass
class OnlyTwoStopBits:
    """A module behind an adapter that is understood with two stop bits only."""

    module: VirtualModule
    line: VirtualLine | None = None
    complaints: list[str] = field(default_factory=list)

    def hear(
        self, data: bytes, settings: Settings, now: float, *, lenient: bool
    ) -> Answer | bool:
        """Hear what was sent with two stop bits."""
        assert self.line is not None
        if termios.tcgetattr(self.line._master)[2] & termios.CSTOPB:
            return self.module.hear(data, settings, now, lenient=lenient)
        return True


async def test_gaps_are_looked_at_with_two_stop_bits(
    make_line: MakeLine, make_bus: MakeBus, short_pauses: None
) -> None:
    # As with an adapter that sends even parity for mark: some addresses are heard.
    picky, garbling = OnlyTwoStopBits(module(3)), Garbling(8)
    line = await make_line(module(1), module(4), module(5), picky, garbling)
    picky.line = line
    result, shares, mode = await scan(line, make_bus, range(1, 9))
    assert [found.address for found in result.found] == [1, 3, 4, 5]
    assert result.garbled == (8,)
    assert mode is LineMode.TWO_STOP_BITS
    assert shares == sorted(shares)


async def test_gaps_that_stay_empty_leave_mark_in_force(
    make_line: MakeLine, make_bus: MakeBus, short_pauses: None
) -> None:
    recorder = Recorder()
    line = await make_line(recorder, module(1), module(4))
    result, _, mode = await scan(line, make_bus, range(1, 7))
    assert [found.address for found in result.found] == [1, 4]
    assert mode is LineMode.MARK
    # Only what lies below the highest address found is looked at twice.
    assert [address for address, *_ in asked(recorder)].count(2) == 2
    assert [address for address, *_ in asked(recorder)].count(6) == 1


@dataclass
class Garbling:
    """A module whose answers are all broken."""

    address: int
    complaints: list[str] = field(default_factory=list)

    def hear(
        self, data: bytes, settings: Settings, now: float, *, lenient: bool
    ) -> Answer | bool:
        """Answer with a wrong CRC."""
        if len(data) != 10 or data[0] != self.address:
            return False
        size = 2 * data[5]
        return Answer(bytes((self.address, 3, size)) + bytes(size + 2) + b"\r\n", 0.0)


async def test_addresses_that_answer_garbled_are_told(
    make_line: MakeLine, make_bus: MakeBus, short_pauses: None
) -> None:
    line = await make_line(module(1), Garbling(2), module(3))
    result, *_ = await scan(line, make_bus, range(1, 4))
    assert [found.address for found in result.found] == [1, 3]
    assert result.garbled == (2,)


# Line settings and transports


def refuse_mark(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make transports refuse mark parity, as some do."""
    connect = serialx.create_serial_connection

    async def refusing(*args: Any, **settings: Any) -> Any:
        transport, protocol = await connect(*args, **settings)
        reconfigure = transport.reconfigure_port

        async def refuse(**line: Any) -> None:
            if line["parity"] is serialx.Parity.MARK:
                raise serialx.UnsupportedSetting("no mark parity here")
            await reconfigure(**line)

        monkeypatch.setattr(transport, "reconfigure_port", refuse, raising=False)
        return transport, protocol

    monkeypatch.setattr(serialx, "create_serial_connection", refusing)


async def test_two_stop_bits_where_the_transport_has_no_mark(
    make_line: MakeLine,
    make_bus: MakeBus,
    short_pauses: None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    refuse_mark(monkeypatch)
    line = await make_line(module(1))
    family = Valence(make_bus(line.path))
    heard = await family.listen(0.01)
    assert heard.noise == 0
    assert family.mode is LineMode.TWO_STOP_BITS
    result = await family.scan(range(1, 2))
    assert len(result.found) == 1
    assert family.mode is LineMode.TWO_STOP_BITS
    assert line.complaints == []


async def test_a_forced_setting_that_the_transport_refuses_is_an_error(
    make_line: MakeLine, make_bus: MakeBus, monkeypatch: pytest.MonkeyPatch
) -> None:
    refuse_mark(monkeypatch)
    line = await make_line()
    family = Valence(make_bus(line.path), forced=True)
    with pytest.raises(UnsupportedLine):
        await family.open()
    assert family.mode is LineMode.MARK


@pytest.mark.parametrize("url", ["socket://bridge:23", "tcp://bridge:23"])
async def test_a_bridge_of_bytes_is_refused_before_it_is_opened(
    make_bus: MakeBus, url: str
) -> None:
    family = Valence(make_bus(url))
    for attempt in (family.open(), family.listen(1.0), family.scan(range(1, 3))):
        with pytest.raises(FixedSpeed, match="cannot change speed"):
            await attempt
    assert family.mode is LineMode.MARK


async def test_listening_through_the_family(
    make_line: MakeLine, make_bus: MakeBus
) -> None:
    line = await make_line()
    shares: list[float] = []
    heard = await Valence(make_bus(line.path)).listen(0.02, shares.append)
    assert not heard.foreign
    assert shares
    assert line.bytes_received == 0


async def test_a_garbled_module_is_an_error_that_names_it(
    make_line: MakeLine, make_valence: MakeValence
) -> None:
    family = await make_valence(await make_line(Script(), Garbling(6)))
    with pytest.raises(GarbledAnswer) as caught:
        await family.identify(6)
    assert caught.value.details == {"address": "6"}
