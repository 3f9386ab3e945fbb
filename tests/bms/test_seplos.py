"""Seplos packs that are asked, over a pseudo-terminal."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
import random
import time
from typing import Any

import pytest

from custom_components.openxpbms.bms import bus as bus_module
from custom_components.openxpbms.bms import seplos
from custom_components.openxpbms.bms.bus import Timing
from custom_components.openxpbms.bms.errors import (
    AnotherBattery,
    DoubtfulAnswer,
    GarbledAnswer,
    NoAnswer,
    PortGone,
    Refused,
    WrongBattery,
)
from custom_components.openxpbms.bms.family import ScanResult
from custom_components.openxpbms.bms.frame import Frame, Reply
from custom_components.openxpbms.bms.reading import (
    Alarm,
    Group,
    Identity,
    Level,
    Reading,
    Settings,
)
from custom_components.openxpbms.bms.seplos import ADDRESSES, HEARD_FOR, LINE, Seplos
from custom_components.openxpbms.bms.seplos_tables import (
    CLOCK,
    COUNTS,
    PIA,
    PIA_SHORT,
    PIB,
    PIC,
    SFA,
    SPA,
    VIA,
    Table,
    functions,
)
from custom_components.openxpbms.bms.virtual import VirtualPack
from custom_components.openxpbms.bms.virtual.line import Answer
from custom_components.openxpbms.bms.virtual.line import Settings as LineSettings

from . import seplos_data
from .conftest import FAST, MakeBus, MakeLine, MakeSeplos, unplugged
from .seplos_data import (
    BURSTS,
    DUMP,
    Tables,
    by_frame,
    expected,
    identity,
    parameter,
    scramble,
    told,
)

# The pack of the published dump, as it tells itself.
DUMPED = Identity(
    address=0,
    serial="SP05B2311260061",
    model="BMS16S200A-SP05B",
    model_code="BMS16S200A-SP05B",
    firmware="1.3",
    cells=16,
    sensors=4,
    board=200,
)
DUMPED_READING = told(DUMP[0x1000], DUMP[0x1100], DUMP[0x1200])
LIVE = (PIA, PIB, PIC)


def asked(*tables: Table) -> list[tuple[int, int]]:
    """Return what a pack hears when these are asked for."""
    return [(table.block.register, table.block.count) for table in tables]


# A pack as it was published


async def test_a_published_pack_tells_who_it_is(
    make_line: MakeLine, make_seplos: MakeSeplos
) -> None:
    one = Tables()
    family = await make_seplos(await make_line(one))
    assert await family.identify(0) == DUMPED
    assert one.heard == asked(VIA, COUNTS)


async def test_a_published_pack_is_read_whole(
    make_line: MakeLine, make_seplos: MakeSeplos
) -> None:
    one = Tables()
    line = await make_line(one)
    family = await make_seplos(line)
    for _ in range(2):
        assert await family.read(DUMPED) == DUMPED_READING
    # Its serial number is asked for before the first reading only.
    assert one.heard == asked(VIA, *LIVE, *LIVE)
    assert {frame[1] for frame in line.frames} == {1, 4}


async def test_the_settings_of_a_published_pack(
    make_line: MakeLine, make_seplos: MakeSeplos
) -> None:
    one = Tables()
    family = await make_seplos(await make_line(one))
    settings = await family.read_slow(DUMPED)
    assert settings.clock == datetime(2024, 3, 8, 16, 45, 30)  # noqa: DTZ001
    assert settings.functions == functions(DUMP[0x1400].payload)
    assert settings.parameters == await family.read_parameters(0)
    assert one.heard == asked(VIA, CLOCK, SFA, SPA, SPA)


async def test_all_parameters_have_their_factory_values(
    make_line: MakeLine, make_seplos: MakeSeplos
) -> None:
    one = Tables()
    rows = seplos_data.PARAMETERS
    one.change(0x1300, *(row["factory_raw"] for row in rows))
    family = await make_seplos(await make_line(one))
    values = await family.read_parameters(0)
    assert len(values) == 106
    assert list(values.values()) == [parameter(row, row["factory_raw"]) for row in rows]


# Virtual packs


@pytest.mark.parametrize("cells", [7, 8, 15, 16])
@pytest.mark.parametrize("address", [0, 5])
async def test_a_pack_is_known_and_read_whatever_its_size(
    make_line: MakeLine, make_seplos: MakeSeplos, address: int, cells: int
) -> None:
    one = VirtualPack(address, cells=cells, sensors=cells // 2, turnaround=0.0)
    line = await make_line(one, VirtualPack(1, turnaround=0.0))
    family = await make_seplos(line)
    who = await family.identify(address)
    assert who == identity(one)
    chance = random.Random(cells)
    for _ in range(10):
        scramble(one, chance)
        assert await family.read(who) == expected(one)
    assert line.complaints == []


@pytest.mark.parametrize(
    ("device", "divisor", "factor"),
    [
        ("SG16S200A-SP57B-A", None, 1),
        ("SG16S300A-SP57B-A", None, 1),
        ("SG16S400A-SP57B-A", None, 1),
        ("SG16S300A-SP57B-A", 100, 0.1),
        ("SG16S200A-SP57B-A", 10, 10),
    ],
)
@pytest.mark.parametrize("current", [-120.5, 0.0, 99.9])
async def test_the_current_of_small_and_large_boards(
    make_line: MakeLine,
    make_seplos: MakeSeplos,
    device: str,
    divisor: int | None,
    factor: float,
    current: float,
) -> None:
    one = VirtualPack(device=device, current=current, turnaround=0.0)
    family = await make_seplos(await make_line(one), divisor=divisor)
    reading = await family.read(identity(one))
    assert reading.current == pytest.approx(factor * current)
    if factor == 1:
        assert reading == expected(one)


async def test_alarms_come_over_the_wire(
    make_line: MakeLine, make_seplos: MakeSeplos
) -> None:
    one = VirtualPack(turnaround=0.0, coils={0x120F, 0x1248, 0x1273, 0x128F, 0x128E})
    family = await make_seplos(await make_line(one))
    reading = await family.read(identity(one))
    assert reading.alarms == (
        Alarm("low_voltage_of_cell", Group.VOLTAGE, number=16),
        Alarm("cell_high_voltage", Group.VOLTAGE),
        Alarm("state_of_charge_protection", Group.SOC, Level.PROTECTION),
        Alarm("key_fault", Group.HARDWARE, Level.PROTECTION),
        Alarm("aerosol", Group.HARDWARE, Level.PROTECTION),
    )


async def test_a_virtual_pack_at_real_speed(
    make_line: MakeLine, make_seplos: MakeSeplos
) -> None:
    one = VirtualPack(current=-12.3)
    line = await make_line(one, real_time=True)
    family = await make_seplos(line, bus={"timing": Timing(turnaround=0.025)})
    start = time.monotonic()
    assert await family.read(identity(one)) == expected(one)
    # Four questions and their answers, and three pauses between.
    on_wire = (4 * 8 + 107 + 41 + 57 + 23) * 10 / 19200
    assert time.monotonic() - start >= on_wire + 3 * 0.025
    settings = await family.read_slow(identity(one))
    assert settings.clock is not None
    assert abs(settings.clock - datetime.now()) < timedelta(minutes=1)  # noqa: DTZ005
    assert settings.functions == functions(one.functions)
    assert settings.parameters is not None
    assert settings.parameters["charge_over_current_alarm"] == 205
    assert line.complaints == []


def patience(family: Seplos, *there: int) -> Callable[[float], None]:
    """Return a progress that gives time to those who are there and to nobody else."""

    def tell(share: float) -> None:
        answer = 5.0 if round(17 * share) in there else 0.03
        family.bus.timing = replace(FAST, answer=answer)

    return tell


async def test_a_scan_of_virtual_packs(
    make_line: MakeLine, make_seplos: MakeSeplos
) -> None:
    packs = [
        VirtualPack(0, turnaround=0.0),
        VirtualPack(7, turnaround=0.0, serial="", short_pia=True, cells=15),
        VirtualPack(16, turnaround=0.0, refuse={0x1700}, sensors=2),
    ]
    line = await make_line(*packs)
    family = await make_seplos(line)
    result = await family.scan(progress=patience(family, 0, 7, 16))
    unnamed = {"serial": None, "model": "Seplos V3", "model_code": ""}
    whos = (
        identity(packs[0]),
        identity(packs[1]),
        identity(packs[2], firmware=None, board=None, **unnamed),
    )
    assert result == ScanResult(whos, ())
    for one, who in zip(packs, whos, strict=True):
        assert await family.read(who) == expected(one)
    assert line.complaints == []


# Who a pack is


async def test_a_pack_without_texts_is_known_by_its_numbers(
    make_line: MakeLine, make_seplos: MakeSeplos
) -> None:
    family = await make_seplos(await make_line(Tables(refused={0x1700})))
    assert await family.identify(0) == replace(
        DUMPED,
        serial=None,
        model="Seplos V3",
        model_code="",
        firmware=None,
        board=None,
    )


@pytest.mark.parametrize(
    ("bms", "pack", "serial"),
    [
        ("SP05B1", "PACK1", "SP05B1"),
        ("", "PACK1", "PACK1"),
        ("SP05B1", "", "SP05B1"),
        ("", "", None),
    ],
)
async def test_the_number_of_the_electronics_comes_first(
    make_line: MakeLine,
    make_seplos: MakeSeplos,
    bms: str,
    pack: str,
    serial: str | None,
) -> None:
    one = Tables()
    one.write(0x1715, bms, 30)
    one.write(0x1724, pack, 30)
    family = await make_seplos(await make_line(one))
    assert (await family.identify(0)).serial == serial
    who = replace(DUMPED, serial=serial)
    assert await family.read(who) == DUMPED_READING
    assert one.heard[2:] == asked(*([VIA] if serial else []), *LIVE)


@pytest.mark.parametrize(
    ("device", "firmware", "expected"),
    [
        ("SG16S300A-SP57B-A", "15", ("SG16S300A-SP57B-A", "1.5", 300)),
        ("SP57B", "", ("SP57B", None, None)),
        ("", "20", ("Seplos V3", "2.0", None)),
    ],
)
async def test_model_and_firmware(
    make_line: MakeLine,
    make_seplos: MakeSeplos,
    device: str,
    firmware: str,
    expected: tuple[str, str | None, int | None],
) -> None:
    one = Tables()
    one.write(0x170A, device, 20)
    one.write(0x1714, firmware, 2)
    family = await make_seplos(await make_line(one))
    who = await family.identify(0)
    assert (who.model, who.firmware, who.board) == expected
    assert who.model_code == device


@pytest.mark.parametrize("cells", [7, 8, 15, 16])
@pytest.mark.parametrize("refused", [True, False])
async def test_cells_are_told_or_counted(
    make_line: MakeLine, make_seplos: MakeSeplos, cells: int, refused: bool
) -> None:
    one = Tables(refused={0x1300} if refused else set())
    one.change(0x1000, 330 * cells)
    one.change(0x1008, 3300)
    one.change(0x1301, cells)
    family = await make_seplos(await make_line(one))
    who = await family.identify(0)
    assert (who.cells, who.sensors) == (cells, 4)
    reading = await family.read(who)
    assert reading.cell_voltages == DUMPED_READING.cell_voltages[:cells]


@pytest.mark.parametrize(
    ("sensors", "cells", "expected"),
    [
        (1, 1, (1, 1)),
        (8, 16, (8, 16)),
        (0, 16, (4, 16)),
        (9, 15, (4, 15)),
        (6, 0, (6, 16)),
        (6, 17, (6, 16)),
    ],
)
async def test_numbers_that_no_pack_has_are_not_believed(
    make_line: MakeLine,
    make_seplos: MakeSeplos,
    sensors: int,
    cells: int,
    expected: tuple[int, int],
) -> None:
    one = Tables()
    one.change(0x1300, sensors, cells)
    family = await make_seplos(await make_line(one))
    who = await family.identify(0)
    assert (who.sensors, who.cells) == expected
    reading = await family.read(who)
    assert reading.cell_temperatures is not None
    assert len(reading.cell_temperatures) == expected[0]


async def test_cells_that_cannot_be_counted_are_left_to_a_person(
    make_line: MakeLine, make_seplos: MakeSeplos
) -> None:
    one = Tables(refused={0x1300})
    one.change(0x1008, 0)
    family = await make_seplos(await make_line(one))
    assert (await family.identify(0)).cells is None


@pytest.mark.parametrize("silent", [VIA, COUNTS])
async def test_a_pack_that_says_nothing_is_nobody(
    make_line: MakeLine, make_seplos: MakeSeplos, silent: Table
) -> None:
    family = await make_seplos(await make_line(Tables(silent={*asked(silent)})))
    with pytest.raises(NoAnswer):
        await family.identify(0)


# Reading


@pytest.mark.parametrize("missing", LIVE)
async def test_half_a_pack_is_no_reading(
    make_line: MakeLine, make_seplos: MakeSeplos, missing: Table
) -> None:
    one = Tables()
    family = await make_seplos(await make_line(one))
    await family.read(DUMPED)
    one.silent = {missing.block.register}
    with pytest.raises(NoAnswer):
        await family.read(DUMPED)


@pytest.mark.parametrize("missing", [PIB, PIC])
async def test_a_refused_table_is_no_reading(
    make_line: MakeLine, make_seplos: MakeSeplos, missing: Table
) -> None:
    one = Tables(refused={missing.block.register})
    family = await make_seplos(await make_line(one))
    with pytest.raises(Refused) as caught:
        await family.read(DUMPED)
    assert caught.value.details == {"address": "0", "code": "2"}


async def test_cells_that_make_no_sense_are_no_reading(
    make_line: MakeLine, make_seplos: MakeSeplos
) -> None:
    one = Tables()
    family = await make_seplos(await make_line(one))
    one.change(0x1100, 6001)
    with pytest.raises(GarbledAnswer, match="makes no sense") as caught:
        await family.read(DUMPED)
    assert caught.value.details == {"address": "0"}
    one.change(0x1100, DUMP[0x1100].values["cells_mV"][0])
    assert await family.read(DUMPED) == DUMPED_READING


async def test_a_stray_byte_in_front_of_each_reply_costs_nothing(
    make_line: MakeLine, make_seplos: MakeSeplos
) -> None:
    one = Tables(before=b"\x3c")
    family = await make_seplos(await make_line(one))
    assert await family.read(DUMPED) == DUMPED_READING
    assert family.bus.counters.skipped_bytes == 4
    assert family.bus.counters.timeouts == 0


async def test_a_pack_with_the_short_table_is_asked_for_it_from_then_on(
    make_line: MakeLine, make_seplos: MakeSeplos
) -> None:
    one = Tables()
    one.blocks[0x1000] = one.blocks[0x1000][:34]
    family = await make_seplos(await make_line(one))
    for _ in range(2):
        assert await family.read(DUMPED) == DUMPED_READING
    assert one.heard == asked(VIA, PIA, PIA_SHORT, PIB, PIC, PIA_SHORT, PIB, PIC)
    # An update may have given it the whole one.
    one.blocks[0x1000] = DUMP[0x1000].payload
    one.refused = set(asked(PIA_SHORT))
    with pytest.raises(Refused):
        await family.read(DUMPED)
    assert await family.read(DUMPED) == DUMPED_READING
    assert one.heard[8:] == asked(PIA_SHORT, VIA, *LIVE)


async def test_a_pack_that_refuses_both_tables_has_no_reading(
    make_line: MakeLine, make_seplos: MakeSeplos
) -> None:
    one = Tables(refused={0x1000})
    family = await make_seplos(await make_line(one))
    for _ in range(2):
        with pytest.raises(Refused):
            await family.read(DUMPED)
    assert one.heard == asked(VIA, PIA, PIA_SHORT) * 2


async def test_a_silent_pack_is_not_asked_for_the_short_table(
    make_line: MakeLine, make_seplos: MakeSeplos
) -> None:
    one = Tables(silent={0x1000})
    family = await make_seplos(await make_line(one))
    with pytest.raises(NoAnswer):
        await family.read(DUMPED)
    assert one.heard == asked(VIA, PIA)


@pytest.mark.parametrize("lost", [VIA, *LIVE])
async def test_after_a_lost_answer_another_table_proves_that_none_is_owed(
    make_line: MakeLine, make_seplos: MakeSeplos, lost: Table
) -> None:
    one = Tables(silent={*asked(lost)})
    family = await make_seplos(await make_line(one))
    with pytest.raises(NoAnswer):
        await family.read(DUMPED)
    one.silent.clear()
    assert await family.read(DUMPED) == DUMPED_READING
    assert family.bus.counters.doubtful == 0


async def test_parameters_that_may_still_come_are_not_asked_for(
    make_line: MakeLine, make_seplos: MakeSeplos, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = Tables(silent={0x1300})
    family = await make_seplos(await make_line(one))
    with pytest.raises(NoAnswer):
        await family.read_parameters(0)
    with pytest.raises(DoubtfulAnswer):
        await family.read_parameters(0)
    assert one.heard == asked(SPA)
    monkeypatch.setattr(bus_module, "OWED_FOR", 0.0)
    one.silent.clear()
    assert len(await family.read_parameters(0)) == 106


@pytest.mark.parametrize(
    ("board", "divisor", "scale"),
    [(200, None, 100), (300, None, 10), (300, 100, 100), (None, 10, 10)],
)
async def test_the_scale_of_the_current(
    make_line: MakeLine,
    make_seplos: MakeSeplos,
    board: int | None,
    divisor: int | None,
    scale: int,
) -> None:
    one = Tables()
    one.change(0x1001, -1234)
    family = await make_seplos(await make_line(one), divisor=divisor)
    who = replace(DUMPED, board=board)
    assert (await family.read(who)).current == -1234 / scale


# Another pack behind an address


async def test_another_pack_at_the_address_has_no_reading(
    make_line: MakeLine, make_seplos: MakeSeplos
) -> None:
    one = Tables()
    family = await make_seplos(await make_line(one))
    for _ in range(2):
        with pytest.raises(AnotherBattery, match="another battery") as caught:
            await family.read(replace(DUMPED, serial="SP05B2311260062"))
    assert caught.value.details == {"address": "0", "other": DUMPED.serial}
    assert one.heard == asked(VIA, VIA)


async def test_a_pack_without_a_serial_number_is_not_the_known_one(
    make_line: MakeLine, make_seplos: MakeSeplos
) -> None:
    one = Tables()
    one.write(0x1715, "", 30)
    family = await make_seplos(await make_line(one))
    with pytest.raises(WrongBattery) as caught:
        await family.read(DUMPED)
    assert caught.value.details["other"] == "?"


async def test_whoever_was_silent_must_show_its_serial_number_again(
    make_line: MakeLine, make_seplos: MakeSeplos
) -> None:
    one = Tables()
    family = await make_seplos(await make_line(one))
    await family.read(DUMPED)
    one.silent = {0x1100}
    with pytest.raises(NoAnswer):
        await family.read(DUMPED)
    one.silent.clear()
    one.write(0x1715, "SP05B9999999999", 30)
    for _ in range(2):
        with pytest.raises(WrongBattery):
            await family.read(DUMPED)
    one.write(0x1715, "SP05B2311260061", 30)
    assert await family.read(DUMPED) == DUMPED_READING


async def test_after_the_port_was_away_the_serial_number_is_shown_again(
    make_line: MakeLine, make_bus: MakeBus, tmp_path_factory: pytest.TempPathFactory
) -> None:
    link = tmp_path_factory.mktemp("by-id") / "adapter"
    one = Tables()
    line = await make_line(one, link=link)
    family = Seplos(make_bus(str(link), terminator=b""))
    await family.open()
    await family.read(DUMPED)
    await unplugged(line, family.bus)
    with pytest.raises(PortGone):
        await family.read(DUMPED)
    one.write(0x1715, "SP05B9999999999", 30)
    await line.replug()
    await family.open()
    with pytest.raises(WrongBattery):
        await family.read(DUMPED)


async def test_the_slow_values_of_another_pack_are_not_taken(
    make_line: MakeLine, make_seplos: MakeSeplos
) -> None:
    one = Tables()
    family = await make_seplos(await make_line(one))
    await family.read(DUMPED)
    one.write(0x1715, "SP05B9999999999", 30)
    with pytest.raises(WrongBattery):
        await family.read_slow(DUMPED)
    with pytest.raises(WrongBattery):  # and its other values not either
        await family.read(DUMPED)


async def test_each_pack_is_recognised_by_itself(
    make_line: MakeLine, make_seplos: MakeSeplos
) -> None:
    one, other = Tables(1), Tables(2)
    other.write(0x1715, "SP05B9999999999", 30)
    family = await make_seplos(await make_line(one, other))
    await family.read(replace(DUMPED, address=1))
    with pytest.raises(WrongBattery):
        await family.read(replace(DUMPED, address=2))


# Slow values


@pytest.mark.parametrize("how", ["silent", "refused"])
@pytest.mark.parametrize(
    ("missing", "known"),
    [
        ({0x1500}, {"functions", "parameters"}),
        ({0x1400}, {"clock", "parameters"}),
        ({0x1300}, {"clock", "functions"}),
        ({0x1300, 0x1400, 0x1500}, set()),
        ({0x1700}, set()),
    ],
)
async def test_slow_values_that_are_not_told_stay_unknown(
    make_line: MakeLine,
    make_seplos: MakeSeplos,
    missing: set[int],
    known: set[str],
    how: str,
) -> None:
    one = Tables(**{how: set(missing)})
    family = await make_seplos(await make_line(one))
    settings = await family.read_slow(DUMPED)
    names = ("clock", "functions", "parameters")
    assert {name for name in names if getattr(settings, name) is not None} == known
    if not known:
        assert settings == Settings()


async def test_slow_values_of_a_pack_without_a_serial_number(
    make_line: MakeLine, make_seplos: MakeSeplos
) -> None:
    one = Tables(refused={0x1700})
    family = await make_seplos(await make_line(one))
    settings = await family.read_slow(replace(DUMPED, serial=None))
    assert settings.clock is not None
    assert one.heard == asked(CLOCK, SFA, SPA)


async def test_a_clock_that_was_never_set_is_unknown(
    make_line: MakeLine, make_seplos: MakeSeplos
) -> None:
    one = Tables()
    one.change(0x1500, 0, 0, 0, 0)
    family = await make_seplos(await make_line(one))
    settings = await family.read_slow(DUMPED)
    assert settings.clock is None
    assert settings.parameters is not None


# Scan


async def test_a_scan_finds_all_packs_and_tells_its_progress(
    make_line: MakeLine, make_seplos: MakeSeplos
) -> None:
    packs = [Tables(address) for address in (0, 1, 16)]
    packs[1].refused = {0x1700}
    line = await make_line(*packs)
    family = await make_seplos(line)
    shares: list[float] = []
    wait = patience(family, 0, 1, 16)

    def tell(share: float) -> None:
        shares.append(share)
        wait(share)

    result = await family.scan(progress=tell)
    assert [found.address for found in result.found] == [0, 1, 16]
    assert result.found[0] == DUMPED
    assert result.found[1].serial is None
    assert result.found[2] == replace(DUMPED, address=16)
    assert result.garbled == ()
    assert shares == [n / 17 for n in range(17)] + [1.0]
    assert list(ADDRESSES) == list(range(17))


async def test_a_scan_tells_who_answered_but_could_not_be_understood(
    make_line: MakeLine, make_seplos: MakeSeplos
) -> None:
    refusing = Tables(2, refused={0x1300, 0x1000})
    line = await make_line(Tables(1), refusing, Garbling(3))
    family = await make_seplos(line)
    assert await family.scan([1, 2, 3, 4]) == ScanResult(
        (replace(DUMPED, address=1),), (2, 3)
    )


class Garbling(Tables):
    """A pack whose answers are all broken."""

    def hear(
        self, data: bytes, settings: LineSettings, now: float, *, lenient: bool
    ) -> Answer | bool:
        """Answer with a wrong CRC."""
        answer = super().hear(data, settings, now, lenient=lenient)
        if not isinstance(answer, Answer):
            return answer
        return replace(answer, data=answer.data[:-1] + b"?")


# What is heard while another master asks


def heard_burst(family: Seplos, name: str = "SYSSI") -> None:
    """Let a family hear a captured burst."""
    for data in BURSTS[name]:
        captured = by_frame(data)
        if captured.kind != "request":
            frame: Frame = Reply(data[0], data[1], captured.payload)
            assert family.bus.on_heard is not None
            family.bus.on_heard(frame)


def burst_reading(name: str, address: int, **settings: Any) -> Reading:
    """Return what a pack of a burst tells."""
    replies = [by_frame(data) for data in BURSTS[name] if len(data) > 8]
    return told(*(item for item in replies if item.address == address), **settings)


def heard_reading(family: Seplos, who: Identity) -> Reading:
    """Return what was heard of a pack."""
    heard = family.heard(who)
    assert heard is not None
    return heard[0]


@pytest.fixture
def family(make_bus: MakeBus) -> Seplos:
    """Return a family on a port that is never opened."""
    return Seplos(make_bus("/dev/null", terminator=b""))


def test_what_is_heard_of_a_pack_counts_for_ten_seconds(
    family: Seplos, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert HEARD_FOR == 10.0
    who = replace(DUMPED, address=2)
    assert family.heard(who) is None
    before = time.monotonic()
    heard_burst(family)
    for address in (1, 2):
        heard = family.heard(replace(who, address=address))
        assert heard is not None
        reading, at = heard
        assert reading == burst_reading("SYSSI", address)
        assert before <= at <= time.monotonic()
        # Asking again makes it no younger.
        assert family.heard(replace(who, address=address)) == heard
    assert family.heard(replace(who, address=3)) is None
    assert set(family.bank.packs) == {1, 2}
    monkeypatch.setattr(seplos, "HEARD_FOR", 0.02)
    time.sleep(0.03)
    assert family.heard(who) is None


@pytest.mark.parametrize(
    ("board", "divisor", "scale"),
    [(None, None, 100), (200, None, 100), (300, None, 10), (300, 100, 100)],
)
def test_the_known_board_scales_what_is_heard(
    make_bus: MakeBus, board: int | None, divisor: int | None, scale: int
) -> None:
    family = Seplos(make_bus("/dev/null", terminator=b""), divisor=divisor)
    heard_burst(family)
    who = replace(DUMPED, address=2, board=board)
    assert heard_reading(family, who) == burst_reading("SYSSI", 2, divisor=scale)


def test_known_sensors_count_more_than_guessed_ones(family: Seplos) -> None:
    heard_burst(family)
    who = replace(DUMPED, address=2)
    for sensors, there in ((2, (26.0, 25.5)), (5, (26.0, 25.5, 25.4, 26.5, 0.0))):
        reading = heard_reading(family, replace(who, sensors=sensors))
        assert reading.cell_temperatures == there
    reading = heard_reading(family, replace(who, sensors=None, cells=None))
    assert reading == burst_reading("SYSSI", 2)


def test_a_heard_pack_of_another_size_is_another_pack(family: Seplos) -> None:
    heard_burst(family)
    assert family.heard(replace(DUMPED, address=2, cells=15)) is None


def test_packs_neither_sleep_nor_wait(family: Seplos) -> None:
    assert not family.asleep
    assert [family.pause(tries) for tries in range(5)] == [0.0] * 5


async def test_waking_sends_nothing(
    make_line: MakeLine, make_seplos: MakeSeplos
) -> None:
    line = await make_line()
    family = await make_seplos(line)
    await family.wake()
    assert line.bytes_received == 0
    heard = await family.listen(0.02)
    assert not heard.foreign
    assert family.bus.line == LINE
    assert str(LINE) == "19200 8N1"
