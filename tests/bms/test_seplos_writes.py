"""Writing into packs: looked at before, sent once, looked at afterwards."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
import random
from typing import Any
from unittest.mock import patch

import pytest

from custom_components.openxpbms import bms
from custom_components.openxpbms.bms import seplos_writes
from custom_components.openxpbms.bms.bus import Bus
from custom_components.openxpbms.bms.errors import BusError, WrongBattery
from custom_components.openxpbms.bms.frame import Request
from custom_components.openxpbms.bms.parameter_errors import (
    InsaneParameters,
    LargeStep,
    NotWritable,
    ParameterError,
    UnknownParameter,
    WrongOrder,
)
from custom_components.openxpbms.bms.parameter_values import decode_raw
from custom_components.openxpbms.bms.parameters import BY_NAME, BY_REGISTER
from custom_components.openxpbms.bms.reading import Identity
from custom_components.openxpbms.bms.seplos import LINE
from custom_components.openxpbms.bms.seplos_writes import (
    Known,
    Mosfet,
    NoMaker,
    NoSerial,
    NotQuiet,
    Outcome,
    Prepared,
    Result,
    Wish,
    Writer,
    write_request,
)
from custom_components.openxpbms.bms.virtual import (
    VirtualLine,
    VirtualPack,
    WriteFault,
)

from .conftest import MakeBus, MakeLine, unplugged, until
from .parameter_data import CALM
from .seplos_data import identity

ALARM = "battery_low_voltage_alarm"
README = Wish(name=ALARM, value=45.0)
NOTHING = Known(factory={})


@contextmanager
def quickly() -> Iterator[None]:
    """Neither listen for a minute nor wait for a pack to settle."""
    with (
        patch.object(seplos_writes, "QUIET", 0.0),
        patch.object(seplos_writes, "SETTLING", 0.01),
    ):
        yield


@pytest.fixture(autouse=True)
def quick() -> Iterator[None]:
    with quickly():
        yield


class Bench:
    """A pack on a line, and who writes into it."""

    def __init__(self, pack: VirtualPack, line: VirtualLine, bus: Bus) -> None:
        self.pack, self.line, self.bus = pack, line, bus
        self.writer = Writer(bus, identity(pack))
        self.noted = 0

    async def note(self) -> None:
        self.noted += 1
        assert not self.writes

    @property
    def writes(self) -> list[bytes]:
        """The writes that went over the line."""
        return [frame for frame in self.line.frames if frame[1] == 16]

    async def write(self, wish: Wish = README, known: Known = NOTHING) -> Result:
        prepared = await self.writer.prepare(wish, known)
        return await self.writer.write(prepared, known, before=self.note)

    def word(self, name: str = ALARM) -> int:
        return self.pack.parameters[BY_NAME[name].field.register]


@pytest.fixture
def make_bench(make_line: MakeLine, make_bus: MakeBus) -> Any:
    """Put a pack on a line."""

    async def make(**settings: Any) -> Bench:
        pack = VirtualPack(**settings)
        line = await make_line(pack)
        bus = make_bus(line.path, terminator=b"")
        await bus.open(LINE)
        return Bench(pack, line, bus)

    return make


# Before


async def test_a_change_is_looked_at_without_being_made(make_bench: Any) -> None:
    bench = await make_bench()
    prepared = await bench.writer.prepare(README, NOTHING)
    change = prepared.change
    assert (change.name, change.old, change.new) == (ALARM, 46.4, 45.0)
    assert (change.old_raw, change.new_raw) == (4640, 4500)
    assert prepared.serial == bench.pack.serial
    assert prepared.frame == write_request(0, 0x1307, 4500).encoded
    assert not bench.writes


@pytest.mark.parametrize(
    ("wish", "error"),
    [
        (Wish(name="voltage", value=1.0), UnknownParameter),
        (Wish(name="number_of_cells", value=15), NotWritable),
        (Wish(name=ALARM, value=42.0), WrongOrder),
        (Wish(name="charging_request_voltage", value=50.0), LargeStep),
    ],
)
async def test_what_a_rule_forbids_is_not_even_prepared(
    make_bench: Any, wish: Wish, error: type[ParameterError]
) -> None:
    bench = await make_bench()
    with pytest.raises(error):
        await bench.writer.prepare(wish, NOTHING)
    assert not bench.writes


async def test_a_large_step_is_made_if_it_is_meant(make_bench: Any) -> None:
    bench = await make_bench()
    wish = Wish(name="charging_request_voltage", value=50.0, allow_large_step=True)
    assert (await bench.write(wish)).outcome is Outcome.VERIFIED
    assert bench.word("charging_request_voltage") == 5000


async def test_parameters_that_make_no_sense_are_left_alone(make_bench: Any) -> None:
    bench = await make_bench(parameters={0x1303: 5300})
    with pytest.raises(InsaneParameters):
        await bench.writer.prepare(README, NOTHING)


async def test_the_line_must_have_been_watched_for_a_minute(make_bench: Any) -> None:
    bench = await make_bench()
    prepared = await bench.writer.prepare(README, NOTHING)
    with patch.object(seplos_writes, "QUIET", 60.0):
        with pytest.raises(NotQuiet) as told:
            await bench.writer.prepare(README, NOTHING)
        assert 50 <= int(told.value.details["seconds"]) <= 60
        result = await bench.writer.write(prepared, NOTHING, before=bench.note)
    assert (result.outcome, result.reason) == (Outcome.NOT_SENT, "not_quiet")
    assert not bench.writes
    assert not bench.noted


async def test_a_change_may_be_looked_at_meanwhile_and_not_made(
    make_bench: Any,
) -> None:
    bench = await make_bench()
    with patch.object(seplos_writes, "QUIET", 60.0):
        prepared = await bench.writer.prepare(README, NOTHING, at_once=True)
        result = await bench.writer.write(prepared, NOTHING, before=bench.note)
    assert prepared == await bench.writer.prepare(README, NOTHING)
    assert (result.outcome, result.reason) == (Outcome.NOT_SENT, "not_quiet")
    assert not bench.writes


async def test_what_the_rules_judge_by_is_told(make_bench: Any) -> None:
    bench = await make_bench()
    pack = await bench.writer.pack(NOTHING)
    assert (pack.cells, pack.board, pack.reading) == (16, 200, None)
    assert pack.values[ALARM] == 46.4
    assert pack.factory == pack.values
    known = await bench.writer.pack(Known(factory={ALARM: 45.0}, reading=CALM))
    assert (known.factory, known.reading) == ({ALARM: 45.0}, CALM)


@pytest.mark.parametrize(
    ("settings", "known_as", "error"),
    [
        ({"serial": "", "pack_serial": ""}, None, NoSerial),
        ({"serial": "ANOTHER"}, "KNOWN", WrongBattery),
        ({"factory": ""}, "SP57B-A0000000001", NoMaker),
    ],
)
async def test_who_is_not_known_for_certain_is_not_written_to(
    make_bench: Any,
    settings: dict[str, str],
    known_as: str | None,
    error: type[BusError],
) -> None:
    bench = await make_bench(**settings)
    who = Identity(address=0, serial=known_as, model="", model_code="")
    with pytest.raises(error):
        await Writer(bench.bus, who).prepare(README, NOTHING)


# After


async def test_what_is_read_back_right_is_verified(make_bench: Any) -> None:
    bench = await make_bench()
    result = await bench.write()
    assert result == Result(Outcome.VERIFIED, seen=45.0, acknowledged=True)
    assert bench.word() == 4500
    assert bench.writes == [write_request(0, 0x1307, 4500).encoded]
    assert bench.noted == 1
    assert not bench.pack.complaints


@pytest.mark.parametrize(
    ("fault", "outcome", "seen", "reason", "word"),
    [
        (WriteFault.REFUSE_REGISTER, Outcome.UNCHANGED, 46.4, "refused", 4640),
        (WriteFault.REFUSE_VALUE, Outcome.UNCHANGED, 46.4, "refused", 4640),
        (WriteFault.CLAMP, Outcome.DIFFERENT, 45.5, "not_kept", 4550),
        (WriteFault.SILENT, Outcome.UNKNOWN, None, None, 4500),
        (WriteFault.IGNORE, Outcome.UNCHANGED, 46.4, "not_kept", 4640),
        (
            WriteFault.NO_ACKNOWLEDGEMENT,
            Outcome.VERIFIED,
            45.0,
            "no_acknowledgement",
            4500,
        ),
        (WriteFault.LATE, Outcome.VERIFIED, 45.0, "no_acknowledgement", 4500),
        (WriteFault.POWER_LOSS, Outcome.UNKNOWN, None, None, 4640),
    ],
)
async def test_whatever_a_pack_does_the_answer_is_what_is_in_it(
    make_bench: Any,
    fault: WriteFault,
    outcome: Outcome,
    seen: float | None,
    reason: str | None,
    word: int,
) -> None:
    bench = await make_bench(write_fault=fault, clamped=4550, late=0.2)
    bench.line.real_time = fault is WriteFault.LATE
    result = await bench.write()
    assert (result.outcome, result.seen, result.reason) == (outcome, seen, reason)
    assert bench.word() == word
    assert len(bench.writes) == 1


async def test_a_pack_that_settles_slowly_is_looked_at_three_times(
    make_bench: Any,
) -> None:
    bench = await make_bench(write_fault=WriteFault.IGNORE)
    prepared = await bench.writer.prepare(README, NOTHING)
    asked: list[float] = []

    def settle(pack: VirtualPack, now: float) -> None:
        if bench.writes:
            asked.append(now)
            if len(asked) == 3:
                pack.parameters[0x1307] = 4500

    bench.pack.before_answer = settle
    result = await bench.writer.write(prepared, NOTHING, before=bench.note)
    assert result.outcome is Outcome.VERIFIED


async def test_a_refusal_tells_its_code(make_bench: Any) -> None:
    bench = await make_bench(write_fault=WriteFault.REFUSE_VALUE)
    assert (await bench.write()).details == {"address": "0", "code": "3"}


async def test_a_value_that_changed_in_between_is_left_alone(make_bench: Any) -> None:
    bench = await make_bench()
    prepared = await bench.writer.prepare(README, NOTHING)
    bench.pack.parameters[0x1307] = 4600
    result = await bench.writer.write(prepared, NOTHING, before=bench.note)
    assert (result.outcome, result.reason) == (Outcome.NOT_SENT, "changed_meanwhile")
    assert result.details == {"parameter": ALARM, "value": "46 V"}
    assert not bench.writes
    assert not bench.noted


async def test_a_pack_that_was_changed_in_between_is_left_alone(
    make_bench: Any,
) -> None:
    bench = await make_bench()
    prepared = await bench.writer.prepare(README, NOTHING)
    bench.pack.serial = "ANOTHER"
    result = await bench.writer.write(prepared, NOTHING, before=bench.note)
    assert (result.outcome, result.reason) == (Outcome.NOT_SENT, "wrong_battery")
    assert not bench.writes


async def test_another_parameter_that_changed_may_forbid_it(make_bench: Any) -> None:
    bench = await make_bench()
    prepared = await bench.writer.prepare(README, NOTHING)
    bench.pack.parameters[0x1309] = 4550
    result = await bench.writer.write(prepared, NOTHING, before=bench.note)
    assert (result.outcome, result.reason) == (Outcome.NOT_SENT, "wrong_order")
    assert not bench.writes


async def test_what_cannot_be_noted_is_not_sent(make_bench: Any) -> None:
    class Full(BusError):
        key = "full"

    async def full() -> None:
        raise Full("no space left")

    bench = await make_bench()
    prepared = await bench.writer.prepare(README, NOTHING)
    result = await bench.writer.write(prepared, NOTHING, before=full)
    assert (result.outcome, result.reason) == (Outcome.NOT_SENT, "full")
    assert not bench.writes


async def test_a_port_that_was_pulled_out_before_sends_nothing(make_bench: Any) -> None:
    bench = await make_bench()
    prepared = await bench.writer.prepare(README, NOTHING)

    async def pull() -> None:
        await unplugged(bench.line, bench.bus)

    result = await bench.writer.write(prepared, NOTHING, before=pull)
    assert (result.outcome, result.reason) == (Outcome.NOT_SENT, "port_gone")


async def test_a_port_that_is_pulled_out_behind_it_leaves_it_unknown(
    make_bench: Any,
) -> None:
    bench = await make_bench()
    prepared = await bench.writer.prepare(README, NOTHING)

    async def pull_later() -> None:
        bench.pack.before_answer = lambda *_: bench.line.unplug()

    result = await bench.writer.write(prepared, NOTHING, before=pull_later)
    assert (result.outcome, result.seen) == (Outcome.UNKNOWN, None)


async def test_another_master_that_comes_meanwhile_stops_it(make_bench: Any) -> None:
    bench = await make_bench()
    prepared = await bench.writer.prepare(README, NOTHING)

    async def intrude() -> None:
        bench.line.inject(Request(1, 4, 0x1000, 18).encoded)
        await until(lambda: bench.bus.watch.silent)

    result = await bench.writer.write(prepared, NOTHING, before=intrude)
    assert (result.outcome, result.reason) == (Outcome.NOT_SENT, "foreign_master")
    assert not bench.writes


async def test_other_parameters_that_changed_are_told(make_bench: Any) -> None:
    bench = await make_bench()
    prepared = await bench.writer.prepare(README, NOTHING)

    async def change() -> None:
        bench.pack.parameters[0x1309] = 4400
        bench.pack.soc = 49.0

    result = await bench.writer.write(prepared, NOTHING, before=change)
    assert result.outcome is Outcome.VERIFIED
    told = [(other.name, other.old, other.new) for other in result.others]
    assert told == [("battery_under_voltage_protection", 43.2, 44.0)]


async def test_a_value_can_be_looked_at_again(make_bench: Any) -> None:
    bench = await make_bench()
    prepared = await bench.writer.prepare(README, NOTHING)
    await bench.writer.write(prepared, NOTHING, before=bench.note)
    assert (await bench.writer.look_again(prepared.change)).outcome is Outcome.VERIFIED
    bench.pack.parameters[0x1307] = 4640
    again = await bench.writer.look_again(prepared.change)
    assert (again.outcome, again.seen) == (Outcome.UNCHANGED, 46.4)


async def test_all_parameters_can_be_read(make_bench: Any) -> None:
    bench = await make_bench()
    values = await bench.writer.values()
    assert len(values) == 106
    assert (values[ALARM], values["discharge_request_current"]) == (46.4, -180)


async def test_limits_of_current_end_where_the_pack_came(make_bench: Any) -> None:
    bench = await make_bench(device="NAMELESS", parameters={0x1366: 100})
    wish = Wish(name="charging_request_current", value=120)
    with pytest.raises(ParameterError):
        await bench.writer.prepare(wish, Known(factory={}))
    assert not bench.writes


# MOSFETs


@pytest.mark.parametrize("command", Mosfet)
async def test_mosfets_are_switched_and_read_back(
    make_bench: Any, command: Mosfet
) -> None:
    _, _, coil, on = command.value
    bench = await make_bench(**{coil: not on})
    result = await bench.writer.switch(command)
    assert result == Result(Outcome.VERIFIED, seen=float(on), acknowledged=True)
    assert getattr(bench.pack, coil) is on
    assert len(bench.writes) == 1


@pytest.mark.parametrize(
    ("fault", "outcome", "seen", "reason"),
    [
        (WriteFault.REFUSE_VALUE, Outcome.UNCHANGED, 1.0, "refused"),
        (WriteFault.IGNORE, Outcome.UNCHANGED, 1.0, None),
        (WriteFault.SILENT, Outcome.UNKNOWN, None, None),
        (WriteFault.NO_ACKNOWLEDGEMENT, Outcome.VERIFIED, 0.0, "no_acknowledgement"),
    ],
)
async def test_mosfets_may_fail(
    make_bench: Any,
    fault: WriteFault,
    outcome: Outcome,
    seen: float | None,
    reason: str | None,
) -> None:
    bench = await make_bench(write_fault=fault)
    result = await bench.writer.switch(Mosfet.DISCHARGE_OFF)
    assert (result.outcome, result.seen, result.reason) == (outcome, seen, reason)
    assert len(bench.writes) == 1


async def test_only_protection_does_without_the_minute(make_bench: Any) -> None:
    bench = await make_bench()
    with patch.object(seplos_writes, "QUIET", 60.0):
        refused = await bench.writer.switch(Mosfet.CHARGE_OFF)
        assert (refused.outcome, refused.reason) == (Outcome.NOT_SENT, "not_quiet")
        assert not bench.writes
        done = await bench.writer.switch(Mosfet.CHARGE_OFF, at_once=True)
    assert done.outcome is Outcome.VERIFIED


# What can be written at all


def test_no_frame_can_be_built_for_anything_else() -> None:
    commands = {command.value[:2] for command in Mosfet}
    constants = {0x0000, 0xFFFF, 0x0001, 0x55AA, 0xAA55}
    for register in range(0x10000):
        parameter = BY_REGISTER.get(register)
        if parameter is not None and parameter.writable:
            continue
        for word in constants:
            if (register, word) in commands:
                continue
            with pytest.raises(RuntimeError, match="never written"):
                write_request(0, register, word)
    for register, word in commands:
        assert write_request(0, register, word).word == word


def test_writes_are_built_in_one_place_only() -> None:
    root = Path(bms.__file__).parent.parent
    found = []
    for file in sorted(root.rglob("*.py")):
        for node in ast.walk(ast.parse(file.read_text())):
            called = isinstance(node, ast.Call) and ast.unparse(node.func)
            if called in ("WriteRequest", "frame.WriteRequest"):
                found.append(file.name)
    assert found == ["seplos_writes.py"]


async def test_nothing_leaves_that_a_rule_forbids(make_bench: Any) -> None:
    """Random wishes at random packs: what is said is what is in the pack."""
    chance = random.Random(5)
    for _ in range(60):
        fault = chance.choice([None, None, *WriteFault])
        if fault is WriteFault.LATE:
            fault = None
        bench = await make_bench(write_fault=fault, clamped=chance.randint(0, 0xFFFF))
        name = chance.choice(list(BY_NAME))
        field = BY_NAME[name].field
        before = dict(bench.pack.parameters)
        old = (await bench.writer.values())[name]
        step = chance.choice([1, -1, 5, -20, 200, -3000]) / field.divisor
        wish = Wish(
            name=name,
            value=round(old + step, 3),
            allow_large_step=chance.random() < 0.5,
            allow_trip=chance.random() < 0.5,
        )
        try:
            result = await bench.write(wish)
        except ParameterError:
            assert not bench.writes
            assert bench.pack.parameters == before
            continue
        [word] = bench.pack.words(field.register)
        now = decode_raw(field, word)
        if result.outcome is Outcome.VERIFIED:
            assert now == wish.value
        if result.seen is not None:
            assert result.seen == now
        assert len(bench.writes) == (result.outcome is not Outcome.NOT_SENT)
        changed = {
            register
            for register, word in bench.pack.parameters.items()
            if word != before[register]
        }
        assert changed <= {field.register}


# What the console got wrong


async def test_a_temperature_is_written_below_and_above_zero(make_bench: Any) -> None:
    bench = await make_bench()
    name = "discharge_low_temperature_alarm"
    for value, word in ((-9.5, 2636), (-1.0, 2721), (2.5, 2756)):
        wish = Wish(name=name, value=value, allow_large_step=True, allow_trip=True)
        assert (await bench.write(wish)).outcome is Outcome.VERIFIED
        assert bench.word(name) == word
        bench.line.frames.clear()


async def test_a_value_is_not_one_count_low(make_bench: Any) -> None:
    bench = await make_bench()
    name = "cell_over_voltage_protection"
    wish = Wish(name=name, value=3.55, allow_large_step=True, allow_trip=True)
    assert (await bench.write(wish)).outcome is Outcome.VERIFIED
    assert bench.word(name) == 3550


async def test_confirmed_means_compared(make_bench: Any) -> None:
    bench = await make_bench(write_fault=WriteFault.IGNORE)
    assert (await bench.write()).outcome is not Outcome.VERIFIED


async def test_an_older_answer_does_not_pass_for_the_read_back(make_bench: Any) -> None:
    bench = await make_bench()
    prepared: Prepared = await bench.writer.prepare(README, NOTHING)
    bench.line.faults.late_by = (0.3, 0.4)
    bench.line.faults.late = 0.5
    result = await bench.writer.write(prepared, NOTHING, before=bench.note)
    if result.seen is not None:
        assert result.seen == bench.word() / 100


async def test_a_refusal_is_no_success(make_bench: Any) -> None:
    bench = await make_bench(write_fault=WriteFault.REFUSE_REGISTER)
    assert (await bench.write()).reason == "refused"


async def test_no_step_of_more_than_a_fifth_is_taken_unsaid(make_bench: Any) -> None:
    bench = await make_bench()
    for value in (-20.0, 0.0):
        with pytest.raises(LargeStep):
            await bench.writer.prepare(
                Wish(name="discharge_request_current", value=value), NOTHING
            )


async def test_packs_at_other_addresses_are_written_to(make_bench: Any) -> None:
    bench = await make_bench(address=5)
    assert (await bench.write()).outcome is Outcome.VERIFIED
    assert bench.writes[0][0] == 5
