"""Parts of readings, told the moment they come, and when whole ones are told."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
import random
import time
from typing import Any

import pytest

from custom_components.openxpbms.bms.bus import Bus
from custom_components.openxpbms.bms.errors import (
    ForeignMaster,
    GarbledAnswer,
    NoAnswer,
    WrongBattery,
)
from custom_components.openxpbms.bms.family import Family
from custom_components.openxpbms.bms.frame import Reply
from custom_components.openxpbms.bms.listening import Listening
from custom_components.openxpbms.bms.reading import Identity, Reading
from custom_components.openxpbms.bms.rounds import Battery, Rounds
from custom_components.openxpbms.bms.seplos import Seplos
from custom_components.openxpbms.bms.seplos_tables import PIA, PIB, PIC, Table
from custom_components.openxpbms.bms.valence import (
    STATUS,
    SUMMARY,
    TEMPERATURES,
    VOLTAGES,
    Valence,
    make_part,
)
from custom_components.openxpbms.bms.virtual import (
    VirtualBank,
    VirtualModule,
    VirtualPack,
)
from custom_components.openxpbms.bms.virtual.line import Answer, Settings

from . import seplos_data
from .conftest import (
    MakeBus,
    MakeLine,
    MakeSeplos,
    MakeValence,
    asked,
    expected,
    identity,
    module,
    scramble,
    until,
)
from .conftest import Recorder as Frames
from .seplos_data import identity as pack_identity

pytestmark = pytest.mark.usefixtures("short_pauses")

# What each block or table of a battery tells by itself.
MODULE = {
    SUMMARY: {"voltage", "current", "soc"},
    VOLTAGES: {"cell_voltages", "highest_cell_reported", "lowest_cell_reported"},
    TEMPERATURES: {"cell_temperatures", "pcb_temperature"},
    STATUS: {"status", "alarms"},
}
CELLS_OF_PACK = {
    "cell_voltages",
    "cell_temperatures",
    "ambient_temperature",
    "mosfet_temperature",
}
STATES_OF_PACK = {
    "state",
    "charging",
    "discharging",
    "charge_mosfet",
    "discharge_mosfet",
    "current_limiting",
    "heater",
    "balancing",
    "balancing_active",
    "coils",
    "unknown_coils",
    "alarms",
}

LIVE = (PIA, PIB, PIC)


def tells(reading: Reading) -> dict[str, Any]:
    """Return the values that are there."""
    return {name: value for name, value in asdict(reading).items() if value is not None}


def only(reading: Reading, names: set[str]) -> Reading:
    """Return some values of a Reading."""
    return Reading(**{name: getattr(reading, name) for name in names})


def module_parts(of: VirtualModule) -> list[Reading]:
    """Return what each block of a virtual module tells."""
    whole = expected(of)
    # Its finer charge comes in a block of its own.
    coarse = round(round(of.soc * 255 / 100) * 20 / 51, 1)
    return [only(replace(whole, soc=coarse), names) for names in MODULE.values()]


def pack_parts(of: VirtualPack) -> list[Reading]:
    """Return what each table of a virtual pack tells."""
    whole = seplos_data.expected(of)
    first = set(tells(whole)) - CELLS_OF_PACK - STATES_OF_PACK
    return [only(whole, names) for names in (first, CELLS_OF_PACK, STATES_OF_PACK)]


def pack(address: int = 1, **settings: Any) -> VirtualPack:
    """Return a pack that has something to tell."""
    made = VirtualPack(address, turnaround=0.0, **settings)
    seplos_data.scramble(made, random.Random(address))
    return made


class Parts:
    """All parts that a family tells, and how many frames had been sent by then."""

    def __init__(self, family: Family, sent: Callable[[], int] = lambda: 0) -> None:
        """Listen to `family`."""
        self.told: list[Reading] = []
        self.whose: list[Identity] = []
        self.after: list[int] = []
        self._sent = sent
        family.on_part = self._take

    def _take(self, who: Identity, part: Reading) -> None:
        self.told.append(part)
        self.whose.append(who)
        self.after.append(self._sent())


# The blocks of a module


@pytest.mark.parametrize(("revision", "cells"), [(1, 4), (2, 4), (2, 6)])
async def test_each_block_of_a_module_is_told_before_the_next_is_asked_for(
    make_line: MakeLine, make_valence: MakeValence, revision: int, cells: int
) -> None:
    one = module(3, revision=revision, serial="00461", cells=cells)
    scramble(one, random.Random(cells))
    frames, who = Frames(), identity(one, serial=None)
    family = await make_valence(await make_line(frames, one))
    parts = Parts(family, lambda: len(asked(frames)))
    assert await family.read(who) == expected(one)
    assert parts.told == module_parts(one)
    assert [set(tells(part)) for part in parts.told] == list(MODULE.values())
    assert parts.after == [1, 2, 3, 4]
    assert parts.whose == [who] * 4


@dataclass
class DeafFor:
    """A battery that never answers where some registers begin."""

    battery: VirtualModule | VirtualPack
    register: int

    @property
    def complaints(self) -> list[str]:
        """What the battery complains of."""
        return self.battery.complaints

    def hear(
        self, data: bytes, settings: Settings, now: float, *, lenient: bool
    ) -> Answer | bool:
        """Pass on the rest."""
        if len(data) >= 8 and int.from_bytes(data[2:4]) == self.register:
            return True
        return self.battery.hear(data, settings, now, lenient=lenient)


@pytest.mark.parametrize("missing", [TEMPERATURES, STATUS])
async def test_a_dangerous_cell_of_a_module_is_told_though_the_rest_never_comes(
    make_line: MakeLine, make_valence: MakeValence, missing: Any
) -> None:
    one = module(cell_voltages=[3.3, 3.3, 4.4, 3.3])
    line = await make_line(DeafFor(one, missing.register))
    family = await make_valence(line)
    parts = Parts(family)
    with pytest.raises(NoAnswer):
        await family.read(identity(one))
    assert parts.told[1].highest_cell_voltage == 4.4
    assert parts.told == module_parts(one)[: list(MODULE).index(missing)]


@pytest.mark.parametrize("inverted", [False, True])
@pytest.mark.parametrize("current", [-12.5, 0.0, 99.99])
async def test_the_current_of_a_module_has_its_sign_in_a_part(
    make_line: MakeLine, make_valence: MakeValence, inverted: bool, current: float
) -> None:
    one = module(current=current)
    family = await make_valence(await make_line(one), inverted=inverted)
    parts = Parts(family)
    reading = await family.read(identity(one))
    assert str(parts.told[0].current) == str(reading.current)
    assert parts.told[0].current == (-current if inverted else current)


async def test_a_junk_cell_of_a_module_is_never_told(
    make_line: MakeLine, make_valence: MakeValence
) -> None:
    one = module(cells=4)
    family = await make_valence(await make_line(one))
    parts = Parts(family)
    await family.read(identity(one, cells=None))
    assert parts.told == module_parts(one)


def test_no_register_tells_nothing() -> None:
    assert make_part({}, 4) == make_part({"banks": 0, "serial": (1, 2)}, 4) == Reading()


async def test_nothing_is_told_of_another_module_at_the_address(
    make_line: MakeLine, make_valence: MakeValence
) -> None:
    one = module(serial="104400999", cell_voltages=[4.4] * 4)
    family = await make_valence(await make_line(one))
    parts = Parts(family)
    with pytest.raises(WrongBattery):
        await family.read(identity(one, serial="104400461"))
    assert parts.told == []


# The tables of a pack


@pytest.mark.parametrize("cells", [15, 16])
@pytest.mark.parametrize("short", [False, True])
async def test_each_table_of_a_pack_is_told_before_the_next_is_asked_for(
    make_line: MakeLine, make_seplos: MakeSeplos, cells: int, short: bool
) -> None:
    one = pack(5, cells=cells, short_pia=short)
    line = await make_line(one)
    family = await make_seplos(line)
    parts = Parts(family, lambda: len(line.frames))
    before = 2 if short else 1  # its serial number, and the table that it refuses
    whole = await family.read(pack_identity(one))
    assert parts.told == pack_parts(one)
    assert parts.after == [before + 1, before + 2, before + 3]
    assert parts.whose == [pack_identity(one)] * 3
    together: dict[str, Any] = {}
    for part in parts.told:
        assert not together.keys() & tells(part).keys()
        together |= tells(part)
    assert together == tells(whole)
    one.cell_voltages[0] = 2.1
    await family.read(pack_identity(one))
    assert parts.told[3:] == pack_parts(one)


async def test_a_dangerous_cell_of_a_pack_is_told_though_the_rest_never_comes(
    make_line: MakeLine, make_seplos: MakeSeplos
) -> None:
    one = pack(1)
    one.cell_voltages[7] = 4.1
    family = await make_seplos(await make_line(DeafFor(one, PIC.block.register)))
    parts = Parts(family)
    with pytest.raises(NoAnswer):
        await family.read(pack_identity(one))
    assert parts.told == pack_parts(one)[:2]
    assert parts.told[1].highest_cell_voltage == 4.1


async def test_cells_that_make_no_sense_are_not_told(
    make_line: MakeLine, make_seplos: MakeSeplos
) -> None:
    one = pack(1, registers={0x1100: 6001})
    family = await make_seplos(await make_line(one))
    parts = Parts(family)
    with pytest.raises(GarbledAnswer, match="makes no sense"):
        await family.read(pack_identity(one))
    assert parts.told == pack_parts(one)[:1]


# A board's name, what a person set, and the A that 1000 counts are.
SCALES = [(200, None, 10.0), (300, None, 100.0), (300, 100, 10.0), (200, 10, 100.0)]


def counting(address: int = 1, board: int = 200) -> VirtualPack:
    """Return a pack that tells 1000 counts of current."""
    device = f"SG16S{board}A-SP57B-A"
    return pack(address, device=device, registers={0x1001: 1000})


@pytest.mark.parametrize(("board", "divisor", "current"), SCALES)
async def test_the_current_of_a_pack_has_its_scale_in_a_part(
    make_line: MakeLine,
    make_seplos: MakeSeplos,
    board: int,
    divisor: int | None,
    current: float,
) -> None:
    one = counting(board=board)
    family = await make_seplos(await make_line(one), divisor=divisor)
    parts = Parts(family)
    assert (await family.read(pack_identity(one))).current == current
    assert [part.current for part in parts.told] == [current, None, None]


@pytest.mark.parametrize("silent_before", [False, True])
async def test_nothing_is_told_of_another_pack_at_the_address(
    make_line: MakeLine, make_seplos: MakeSeplos, silent_before: bool
) -> None:
    one = pack(1)
    family = await make_seplos(await make_line(one))
    parts = Parts(family)
    who = pack_identity(one)
    if silent_before:
        await family.read(who)
        one.silent = True
        with pytest.raises(NoAnswer):
            await family.read(who)
        one.silent = False
        parts.told.clear()
    one.serial = "SP57B-A9999999999"
    with pytest.raises(WrongBattery):
        await family.read(who)
    assert parts.told == []


# In rounds


@dataclass(frozen=True)
class Told:
    """What was told at once."""

    battery: Battery
    reading: Reading
    at: float
    part: bool


class Listener:
    """All that rounds, or whoever only listens, tell of readings."""

    def __init__(self, of: Rounds | Listening) -> None:
        """Listen."""
        self.told: list[Told] = []
        of.on_reading = self._take

    def _take(
        self, battery: Battery, reading: Reading, at: float, *, part: bool
    ) -> None:
        self.told.append(Told(battery, reading, at, part))

    @property
    def parts(self) -> list[Reading]:
        """The parts."""
        return [told.reading for told in self.told if told.part]

    @property
    def whole(self) -> list[Told]:
        """The whole readings."""
        return [told for told in self.told if not told.part]


async def test_a_round_tells_the_parts_of_each_battery_and_then_the_whole(
    make_line: MakeLine, make_bus: MakeBus
) -> None:
    modules = [module(1, current=-3.0), module(2, cells=6)]
    line = await make_line(*modules)
    rounds = Rounds(Valence(make_bus(line.path)), map(identity, modules))
    listener = Listener(rounds)
    before = time.monotonic()
    await rounds.round()
    assert [told.reading for told in listener.told] == [
        *(*module_parts(modules[0]), expected(modules[0])),
        *(*module_parts(modules[1]), expected(modules[1])),
    ]
    assert [told.part for told in listener.told] == [*[True] * 4, False] * 2
    one, other = rounds.batteries
    assert [told.battery for told in listener.told] == [one] * 5 + [other] * 5
    times = [told.at for told in listener.told]
    assert times == sorted(times)
    assert before < times[0]
    assert times[-1] <= time.monotonic()
    assert [told.at for told in listener.whole] == [one.read_at, other.read_at]


async def test_a_round_tells_danger_of_a_battery_that_it_cannot_read_whole(
    make_line: MakeLine, make_bus: MakeBus
) -> None:
    one, other = module(1, cell_voltages=[4.4] * 4), module(2)
    line = await make_line(DeafFor(one, STATUS.register), other)
    rounds = Rounds(Valence(make_bus(line.path)), [identity(one), identity(other)])
    listener = Listener(rounds)
    await rounds.round()
    assert listener.parts[:3] == module_parts(one)[:3]
    assert [told.battery for told in listener.whole] == [rounds.batteries[1]]
    assert rounds.batteries[0].reading is None


async def test_a_round_tells_nothing_of_another_battery_at_the_address(
    make_line: MakeLine, make_bus: MakeBus
) -> None:
    one = module(1)
    line = await make_line(one)
    rounds = Rounds(Valence(make_bus(line.path)), [identity(one, serial="1")])
    listener = Listener(rounds)
    await rounds.round()
    assert isinstance(rounds.batteries[0].error, WrongBattery)
    assert listener.told == []


async def test_rounds_need_nobody_to_tell(
    make_line: MakeLine, make_bus: MakeBus
) -> None:
    one = module(1)
    line = await make_line(one)
    rounds = Rounds(Valence(make_bus(line.path)), [identity(one)])
    await rounds.round()
    assert rounds.batteries[0].reading == expected(one)


def test_a_part_of_a_battery_that_is_not_read_is_not_told(make_bus: MakeBus) -> None:
    family = Valence(make_bus("/dev/null"))
    listener = Listener(Rounds(family, [identity(module(1))]))
    assert family.on_part is not None
    for who in (identity(module(2)), identity(module(1, cells=6))):
        family.on_part(who, Reading(voltage=13.0))
    assert listener.told == []


# While another master asks


class Overheard(Seplos):
    """Packs that another master asks all the time, or a port that is gone."""

    trouble: Exception = ForeignMaster("another master")

    async def open(self) -> None:
        """Refuse to send anything."""
        raise self.trouble


def hear(bus: Bus, *packs: VirtualPack, tables: tuple[Table, ...] = LIVE) -> None:
    """Let a bus hear what packs answer to somebody."""
    assert bus.on_heard is not None
    for one in packs:
        for table in tables:
            frame = one.reply(table.request(one.address).encoded)
            bus.on_heard(Reply(one.address, table.function, frame[3:-2]))


@pytest.fixture
def make_overheard(make_bus: MakeBus) -> Any:
    """Make rounds in which nothing may be sent, and a listener of theirs."""

    def make(*known: Identity, **settings: Any) -> tuple[Rounds, Listener]:
        family = Overheard(make_bus("/dev/null", terminator=b""), **settings)
        rounds = Rounds(family, known)
        return rounds, Listener(rounds)

    return make


async def first_round(rounds: Rounds) -> None:
    """Begin with a round in which nothing was heard yet."""
    with pytest.raises(ForeignMaster):
        await rounds.round()


async def test_what_is_overheard_is_told_once_with_the_time_when_it_was_heard(
    make_overheard: Any,
) -> None:
    one = pack(1)
    rounds, listener = make_overheard(pack_identity(one))
    [battery] = rounds.batteries
    for number in range(1, 3):
        before = time.monotonic()
        hear(rounds.bus, one)
        heard_by = time.monotonic()
        for _ in range(3):
            await rounds.round()
            assert battery.reading == seplos_data.expected(one)
            assert len(listener.whole) == number
        told = listener.whole[-1]
        assert told.battery is battery
        assert told.reading == seplos_data.expected(one)
        assert before <= told.at <= heard_by
        assert battery.read_at == told.at
        seplos_data.scramble(one, random.Random(number))


async def test_an_overheard_reading_that_was_lost_is_told_again(
    make_overheard: Any,
) -> None:
    one = pack(1)
    rounds, listener = make_overheard(pack_identity(one))
    hear(rounds.bus, one)
    await rounds.round()
    rounds.family.trouble = GarbledAnswer("the line does not become quiet")
    with pytest.raises(GarbledAnswer):
        await rounds.round()
    assert rounds.batteries[0].reading is None
    rounds.family.trouble = ForeignMaster("another master")
    await rounds.round()
    first, again = listener.whole
    assert again == first


async def test_overheard_tables_are_told_the_moment_they_are_heard(
    make_overheard: Any,
) -> None:
    one, theirs = pack(1), pack(9)
    rounds, listener = make_overheard(pack_identity(one))
    await first_round(rounds)
    # Who is there shows with the first burst.
    hear(rounds.bus, one, theirs)
    assert listener.told == []
    one.cell_voltages[3] = 4.1
    for number, table in enumerate(LIVE):
        before = time.monotonic()
        hear(rounds.bus, theirs, one, tables=(table,))
        assert listener.parts == pack_parts(one)[: number + 1]
        assert before <= listener.told[-1].at <= time.monotonic()
    assert {told.battery.identity.address for told in listener.told} == {1}
    assert listener.whole == []


@pytest.mark.parametrize(("board", "divisor", "current"), SCALES)
async def test_the_current_of_an_overheard_pack_has_the_scale_of_its_board(
    make_overheard: Any, board: int, divisor: int | None, current: float
) -> None:
    one = counting(board=board)
    rounds, listener = make_overheard(pack_identity(one), divisor=divisor)
    await first_round(rounds)
    hear(rounds.bus, one)
    # Asking for it as listening knows it changes nothing.
    [heard] = rounds.family.bank.packs.values()
    assert rounds.family.heard(heard.identity) is not None
    hear(rounds.bus, one, tables=(PIA,))
    await rounds.round()
    assert [told.reading.current for told in listener.told] == [current] * 2
    assert [told.part for told in listener.told] == [True, False]


async def test_a_pack_that_was_asked_is_known_when_it_is_overheard(
    make_line: MakeLine, make_seplos: MakeSeplos
) -> None:
    one = counting(board=300)
    family = await make_seplos(await make_line(one))
    listener = Listener(Rounds(family, [pack_identity(one)]))
    await family.read(pack_identity(one))
    listener.told.clear()
    for _ in range(2):
        hear(family.bus, one)
    assert [part.current for part in listener.parts] == [100.0, None, None]


@pytest.mark.parametrize("known", [15, 16, None])
async def test_overheard_parts_of_a_pack_of_another_size_are_not_told(
    make_overheard: Any, known: int | None
) -> None:
    one = pack(1, cells=16)
    rounds, listener = make_overheard(pack_identity(one, cells=known))
    await first_round(rounds)
    for _ in range(2):
        hear(rounds.bus, one)
    assert listener.parts == ([] if known == 15 else pack_parts(one))
    # One cell less, so that the last seems to be empty.
    listener.told.clear()
    hear(rounds.bus, pack(1, cells=15))
    assert listener.told == []


@pytest.mark.parametrize("sensors", [5, None])
async def test_zero_degrees_of_an_overheard_pack(
    make_overheard: Any, sensors: int | None
) -> None:
    one = pack(1, sensors=5)
    one.cell_temperatures[0] = 0.0
    rounds, listener = make_overheard(pack_identity(one, sensors=sensors))
    await first_round(rounds)
    for _ in range(2):
        hear(rounds.bus, one)
    first, *others = one.cell_temperatures
    # A sensor that is known to be there is there.
    there = (first if sensors else None, *others)
    assert listener.parts[1].cell_temperatures == there


async def test_packs_that_nobody_reads_are_told_to_nobody(make_bus: MakeBus) -> None:
    family = Seplos(make_bus("/dev/null", terminator=b""))
    parts = Parts(family)
    for _ in range(2):
        hear(family.bus, pack(1))
    assert parts.told == []


# A bank that is only heard


@pytest.fixture
def make_listening(make_bus: MakeBus) -> Any:
    """Listen on a port that is never opened."""

    def make(*known: Identity, **settings: Any) -> tuple[Listening, Listener]:
        bus = make_bus("/dev/null", terminator=b"", mute=True)
        listening = Listening(bus, known, **settings)
        return listening, Listener(listening)

    return make


def test_a_known_pack_of_a_bank_is_told_by_its_first_table(
    make_listening: Any,
) -> None:
    one = pack(2)
    listening, listener = make_listening(pack_identity(one))
    before = time.monotonic()
    for number, table in enumerate(LIVE):
        hear(listening.bus, one, tables=(table,))
        assert listener.parts == pack_parts(one)[: number + 1]
        assert len(listener.whole) == (table is PIC)
    [battery] = listening.batteries
    assert {id(told.battery) for told in listener.told} == {id(battery)}
    # The whole is as old as its first table.
    [whole] = listener.whole
    assert listener.told[-1] is whole
    assert whole.reading == seplos_data.expected(one)
    assert whole.at == battery.read_at
    assert before <= whole.at <= listener.told[0].at <= listener.told[-2].at


def test_a_dangerous_cell_of_a_bank_is_told_though_the_rest_never_comes(
    make_listening: Any,
) -> None:
    one = pack(2)
    one.cell_voltages[15] = 1.9
    listening, listener = make_listening(pack_identity(one))
    hear(listening.bus, one, tables=(PIA, PIB))
    assert listener.parts[-1].lowest_cell_voltage == 1.9
    assert listener.whole == []
    assert listening.batteries[0].reading is None


def test_a_pack_that_nobody_knew_is_told_whole_first(make_listening: Any) -> None:
    one = pack(2)
    listening, listener = make_listening(board=200)
    new: list[Battery] = []
    listening.on_new = new.append
    hear(listening.bus, one)
    [told] = listener.told
    assert (told.reading, told.part) == (seplos_data.expected(one), False)
    assert new == listening.batteries == [told.battery]
    hear(listening.bus, one)
    assert listener.parts == pack_parts(one)
    assert len(listener.whole) == 2


def test_parts_of_a_bank_are_not_told_of_a_pack_of_another_size(
    make_listening: Any,
) -> None:
    one, other = pack(2, cells=15), pack(2, cells=16)
    listening, listener = make_listening(pack_identity(other))
    # Before its first table nobody knows how many cells it has.
    hear(listening.bus, one, tables=(PIB, *LIVE))
    assert listener.told == []
    hear(listening.bus, other)
    assert listener.parts == pack_parts(other)
    hear(listening.bus, one)
    assert len(listener.told) == 4


@pytest.mark.parametrize(("board", "divisor", "current"), SCALES)
@pytest.mark.parametrize("known", [True, False])
def test_the_current_of_a_bank_has_its_scale_in_a_part(
    make_listening: Any,
    board: int,
    divisor: int | None,
    current: float,
    known: bool,
) -> None:
    one = counting(2, board)
    who = [pack_identity(one)] if known else []
    settings = {} if known else {"board": board}
    listening, listener = make_listening(*who, divisor=divisor, **settings)
    for _ in range(2):
        hear(listening.bus, one)
    currents = {told.reading.current for told in listener.told}
    assert currents == {current, None}


def test_a_bank_needs_nobody_to_tell(make_bus: MakeBus) -> None:
    one = pack(2)
    listening = Listening(make_bus("/dev/null", mute=True), [pack_identity(one)])
    hear(listening.bus, one)
    assert listening.batteries[0].reading == seplos_data.expected(one)


async def test_danger_in_a_bank_comes_over_the_wire(
    make_line: MakeLine, make_bus: MakeBus
) -> None:
    packs = [pack(), pack()]
    line = await make_line(VirtualBank(packs))
    bus = make_bus(line.path, terminator=b"", mute=True)
    listening = Listening(bus, map(pack_identity, packs))
    listener = Listener(listening)
    await listening.round()
    packs[1].cell_voltages[4] = 4.2
    await until(lambda: pack_parts(packs[1])[1] in listener.parts)
    assert line.bytes_received == 0
