"""One bus: exchanges over a pseudo-terminal with real bytes."""

from __future__ import annotations

import asyncio
from itertools import pairwise
import random
import time

import pytest
import serialx

from custom_components.openxpbms.bms import bus as bus_module
from custom_components.openxpbms.bms.bus import Heard, Timing
from custom_components.openxpbms.bms.errors import (
    DoubtfulAnswer,
    ForeignMaster,
    GarbledAnswer,
    NoAnswer,
    PortBusy,
    PortGone,
    PortLent,
    PortMissing,
    Refused,
    WrongBattery,
)
from custom_components.openxpbms.bms.foreign import ForeignWatch
from custom_components.openxpbms.bms.frame import (
    Frame,
    Refusal,
    Reply,
    Request,
    Write,
    with_crc,
)
from custom_components.openxpbms.bms.port import Line
from custom_components.openxpbms.bms.valence import (
    MODEL,
    STATUS,
    SUMMARY,
    TEMPERATURES,
    TERMINATOR,
    VOLTAGES,
    WAKE,
    request,
)

from .conftest import (
    FAST,
    Clock,
    MakeBus,
    MakeLine,
    Script,
    babble,
    module,
    unplugged,
    until,
)

LINE = Line(115200, parity=serialx.Parity.MARK)
WAKE_LINE = Line(9600, parity=serialx.Parity.MARK)
SUMMARY_1, VOLTAGES_1 = request(1, SUMMARY), request(1, VOLTAGES)
TEMPERATURES_1, STATUS_1 = request(1, TEMPERATURES), request(1, STATUS)
MODEL_1 = request(1, MODEL)
# An answer that is waited for this long at most, where the test is not about time.
PATIENT = Timing(answer=60.0, leaving=0.002)


def answer(asked: Request, fill: int = 0) -> bytes:
    """Return the frame of a reply full of one byte."""
    body = bytes((asked.address, asked.function, asked.byte_count))
    return with_crc(body + bytes((fill,)) * asked.byte_count) + asked.terminator


def reply(asked: Request, fill: int = 0) -> Reply:
    """Return what the bus makes of `answer`."""
    return Reply(asked.address, asked.function, bytes((fill,)) * asked.byte_count)


async def test_an_answer_is_returned_as_soon_as_it_is_there(
    make_line: MakeLine, make_bus: MakeBus
) -> None:
    line = await make_line(Script([answer(SUMMARY_1, 7)]))
    bus = make_bus(line.path, timing=PATIENT)
    await bus.open(LINE)
    async with asyncio.timeout(30):
        assert await bus.exchange(SUMMARY_1, LINE) == reply(SUMMARY_1, 7)
    counters = bus.counters_of(1)
    assert counters.as_dict() == bus.counters.as_dict()
    assert (counters.exchanges, counters.answers, counters.quality) == (1, 1, 100.0)
    assert counters.reply_time is not None
    assert 0 < counters.reply_time < 30
    assert counters.skipped_bytes == 0


async def test_the_trace_tells_what_went_over_the_wire(
    make_line: MakeLine, make_bus: MakeBus
) -> None:
    line = await make_line(Script([None, b"\xff" + answer(STATUS_1) + b"\xfe"]))
    bus = make_bus(line.path)
    await bus.open(LINE)
    await bus.broadcast(WAKE, WAKE_LINE)
    await bus.exchange(STATUS_1, LINE)
    assert [(f.direction, f.data, f.line) for f in bus.trace] == [
        ("sent", WAKE, "9600 8M1"),
        ("sent", STATUS_1.encoded, "115200 8M1"),
        ("stray", b"\xff", "115200 8M1"),
        ("received", answer(STATUS_1), "115200 8M1"),
        ("stray", b"\xfe", "115200 8M1"),
    ]


async def test_a_reply_is_found_in_noise_however_it_is_cut(
    make_line: MakeLine, make_bus: MakeBus
) -> None:
    chance = random.Random(2)
    script = Script()
    line = await make_line(script)
    bus = make_bus(line.path, timing=Timing(answer=5.0, quiet=0.001))
    await bus.open(LINE)
    skipped = 0
    for number in range(60):
        noise = bytes(chance.choices(b"\x0d\x0a\x01\x03\x14\xff", k=number % 7))
        stream = noise + answer(SUMMARY_1, number)
        cuts = sorted({0, len(stream), *chance.choices(range(len(stream)), k=3)})
        exchange = asyncio.create_task(bus.exchange(SUMMARY_1, LINE))
        await script.asked.wait()
        script.asked.clear()
        for start, end in pairwise(cuts):
            line.inject(stream[start:end])
            await asyncio.sleep(0.0005)
        assert await exchange == reply(SUMMARY_1, number)
        assert len(script.heard) == number + 1
        skipped += len(noise)
    assert bus.counters.skipped_bytes == skipped
    assert bus.counters.answers == bus.counters.exchanges == 60


async def test_nothing_comes_back(make_line: MakeLine, make_bus: MakeBus) -> None:
    line = await make_line()
    bus = make_bus(line.path)
    await bus.open(LINE)
    start = time.monotonic()
    with pytest.raises(NoAnswer, match="battery 1 did not answer") as caught:
        await bus.exchange(SUMMARY_1, LINE)
    assert time.monotonic() - start >= FAST.answer
    assert caught.value.details == {"address": "1"}
    counters = bus.counters_of(1)
    assert (counters.exchanges, counters.answers, counters.timeouts) == (1, 0, 1)
    assert counters.quality == 0.0
    assert counters.reply_time is None
    assert line.bytes_received == len(SUMMARY_1.encoded)


async def test_a_slow_adapter_is_waited_for_by_default(
    make_line: MakeLine, make_bus: MakeBus
) -> None:
    script = Script()
    line = await make_line(script)
    bus = make_bus(line.path, timing=Timing())
    await bus.open(LINE)
    frame = answer(SUMMARY_1)
    for _ in range(3):
        exchange = asyncio.create_task(bus.exchange(SUMMARY_1, LINE))
        # A latency timer of 16 ms, in whose steps the bytes come.
        for chunk in (frame[:10], frame[10:26], frame[26:]):
            await asyncio.sleep(0.016)
            line.inject(chunk)
        assert await exchange == reply(SUMMARY_1)


async def test_an_echo_is_skipped_counted_and_costs_no_time(
    make_line: MakeLine, make_bus: MakeBus
) -> None:
    line = await make_line(Script([answer(STATUS_1)] * 3), echo=True)
    bus = make_bus(line.path, timing=Timing(answer=60.0, quiet=60.0))
    await bus.open(LINE)
    async with asyncio.timeout(30):
        for _ in range(3):
            await bus.exchange(STATUS_1, LINE)
    assert bus.counters.echoes == bus.counters_of(1).echoes == 3
    assert bus.counters.skipped_bytes == 0
    assert not bus.watch.silent


async def test_an_echo_alone_is_no_answer(
    make_line: MakeLine, make_bus: MakeBus
) -> None:
    line = await make_line(echo=True)
    bus = make_bus(line.path)
    await bus.open(LINE)
    with pytest.raises(NoAnswer):
        await bus.exchange(STATUS_1, LINE)
    assert (bus.counters.timeouts, bus.counters.echoes) == (1, 1)


async def test_a_broken_answer_is_asked_for_once_more(
    make_line: MakeLine, make_bus: MakeBus
) -> None:
    broken = bytearray(answer(SUMMARY_1))
    broken[9] ^= 1
    script = Script([bytes(broken), answer(SUMMARY_1, 3)])
    bus = make_bus((await make_line(script)).path)
    await bus.open(LINE)
    assert await bus.exchange(SUMMARY_1, LINE) == reply(SUMMARY_1, 3)
    counters = bus.counters_of(1)
    assert (counters.exchanges, counters.answers) == (2, 1)
    assert (counters.crc_errors, counters.retries, counters.garbled) == (1, 1, 0)
    assert counters.skipped_bytes == len(broken)
    assert counters.quality == 50.0


async def test_twice_broken_is_garbled(make_line: MakeLine, make_bus: MakeBus) -> None:
    broken = answer(STATUS_1)[:-1] + b"\x00"
    bus = make_bus((await make_line(Script([broken] * 3))).path)
    await bus.open(LINE)
    with pytest.raises(GarbledAnswer, match="battery 1 was garbled"):
        await bus.exchange(STATUS_1, LINE)
    assert (bus.counters.exchanges, bus.counters.crc_errors) == (2, 2)


async def test_a_torn_answer_is_not_asked_for_again_where_it_might_still_come(
    make_line: MakeLine, make_bus: MakeBus
) -> None:
    script = Script([answer(STATUS_1)[:4], answer(STATUS_1)])
    bus = make_bus((await make_line(script)).path)
    await bus.open(LINE)
    with pytest.raises(DoubtfulAnswer, match="may still be on its way"):
        await bus.exchange(STATUS_1, LINE)
    assert len(script.heard) == 1
    assert (bus.counters.garbled, bus.counters.doubtful) == (1, 1)


async def test_another_table_of_the_right_battery_is_no_answer(
    make_line: MakeLine, make_bus: MakeBus
) -> None:
    bus = make_bus((await make_line(Script([answer(SUMMARY_1)]))).path)
    await bus.open(LINE)
    with pytest.raises(GarbledAnswer):
        await bus.exchange(STATUS_1, LINE)
    assert (bus.counters.garbled, bus.counters.wrong_battery) == (1, 0)


async def test_the_wrong_battery_answers(
    make_line: MakeLine, make_bus: MakeBus
) -> None:
    wrong = answer(request(2, STATUS))
    script = Script([wrong, answer(SUMMARY_1), wrong])
    bus = make_bus((await make_line(script)).path)
    await bus.open(LINE)
    with pytest.raises(WrongBattery, match="battery 2 answered for battery 1") as it:
        await bus.exchange(STATUS_1, LINE, others=[SUMMARY_1])
    assert it.value.details == {"address": "1", "other": "2"}
    assert bus.counters_of(1).wrong_battery == 2


async def test_after_the_wrong_battery_the_right_one_is_asked_again(
    make_line: MakeLine, make_bus: MakeBus
) -> None:
    script = Script([answer(request(2, STATUS)), answer(SUMMARY_1), answer(STATUS_1)])
    bus = make_bus((await make_line(script)).path)
    await bus.open(LINE)
    got = await bus.exchange(STATUS_1, LINE, others=[SUMMARY_1])
    assert got == reply(STATUS_1)
    assert bus.counters.wrong_battery == 1


async def test_a_late_answer_is_never_taken_for_the_next_one(
    make_line: MakeLine, make_bus: MakeBus
) -> None:
    old, new = answer(STATUS_1, 1), answer(STATUS_1, 2)
    # Unanswered; then the old answer comes together with what another table gives.
    script = Script([None, old + answer(SUMMARY_1), new])
    bus = make_bus((await make_line(script)).path)
    await bus.open(LINE)
    with pytest.raises(NoAnswer):
        await bus.exchange(STATUS_1, LINE)
    got = await bus.exchange(STATUS_1, LINE, others=[STATUS_1, SUMMARY_1])
    assert got == reply(STATUS_1, 2)
    asked = [data for data, _ in script.heard]
    assert asked == [STATUS_1.encoded, SUMMARY_1.encoded, STATUS_1.encoded]
    assert bus.counters.late == bus.counters_of(1).late == 1
    assert bus.counters.doubtful == 0
    assert not bus.watch.silent


async def test_a_late_answer_between_two_questions_is_counted_and_dropped(
    make_line: MakeLine, make_bus: MakeBus
) -> None:
    line = await make_line(Script([None, answer(SUMMARY_1), answer(STATUS_1, 2)]))
    bus = make_bus(line.path)
    await bus.open(LINE)
    with pytest.raises(NoAnswer):
        await bus.exchange(STATUS_1, LINE)
    line.inject(answer(STATUS_1, 1))
    await until(lambda: bus.counters.late == 1)
    got = await bus.exchange(STATUS_1, LINE, others=[SUMMARY_1])
    assert got == reply(STATUS_1, 2)


async def test_two_answers_to_one_question_tell_of_two_batteries(
    make_line: MakeLine, make_bus: MakeBus
) -> None:
    line = await make_line(Script([answer(SUMMARY_1, 1) + answer(SUMMARY_1, 2)]))
    bus = make_bus(line.path)
    await bus.open(LINE)
    assert await bus.exchange(SUMMARY_1, LINE) == reply(SUMMARY_1, 1)
    await until(lambda: bus.counters.late == 1)
    assert bus.counters.second_answers == bus.counters_of(1).second_answers == 1
    line.inject(answer(SUMMARY_1, 3))  # and behind it, while nothing is asked
    await until(lambda: bus.counters.late == 2)
    assert bus.counters_of(1).second_answers == 2
    assert not bus.watch.silent


@pytest.mark.parametrize("again", ["the same", "what another master asked for"])
async def test_an_answer_that_comes_twice_may_be_one_batterys(
    again: str, make_line: MakeLine, make_bus: MakeBus
) -> None:
    line = await make_line(Script([answer(SUMMARY_1, 1)]))
    bus = make_bus(line.path)
    await bus.open(LINE)
    await bus.exchange(SUMMARY_1, LINE)
    if again == "the same":
        line.inject(answer(SUMMARY_1, 1))
    else:
        line.inject(SUMMARY_1.encoded * 2 + answer(SUMMARY_1, 2))
    await until(lambda: bus.counters.late == 1)
    assert bus.counters_of(1).second_answers == 0


async def test_a_late_answer_is_no_second_one(
    make_line: MakeLine, make_bus: MakeBus
) -> None:
    line = await make_line(Script([answer(SUMMARY_1, 1), None]))
    bus = make_bus(line.path)
    await bus.open(LINE)
    await bus.exchange(SUMMARY_1, LINE)
    with pytest.raises(NoAnswer):
        await bus.exchange(SUMMARY_1, LINE)
    line.inject(answer(SUMMARY_1, 2))
    await until(lambda: bus.counters.late == 1)
    assert bus.counters.second_answers == 0


async def test_a_late_answer_of_the_same_length_from_another_table_is_not_taken(
    make_line: MakeLine, make_bus: MakeBus
) -> None:
    script = Script([None, answer(SUMMARY_1), answer(STATUS_1, 2)])
    bus = make_bus((await make_line(script)).path)
    await bus.open(LINE)
    with pytest.raises(NoAnswer):
        await bus.exchange(MODEL_1, LINE)
    got = await bus.exchange(STATUS_1, LINE, others=[STATUS_1, SUMMARY_1])
    assert got == reply(STATUS_1, 2)
    assert script.heard[1][0] == SUMMARY_1.encoded


async def test_where_no_other_table_can_prove_it_the_answer_is_not_asked_for(
    make_line: MakeLine, make_bus: MakeBus
) -> None:
    script = Script([])
    bus = make_bus((await make_line(script)).path)
    await bus.open(LINE)
    for asked in (STATUS_1, SUMMARY_1):
        with pytest.raises(NoAnswer):
            await bus.exchange(asked, LINE)
    with pytest.raises(DoubtfulAnswer):
        await bus.exchange(STATUS_1, LINE, others=[STATUS_1, SUMMARY_1])
    assert len(script.heard) == 2


async def test_an_unanswered_question_is_forgotten_after_a_while(
    make_line: MakeLine, make_bus: MakeBus, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bus_module, "OWED_FOR", 0.05)
    bus = make_bus((await make_line(Script([None, answer(STATUS_1)]))).path)
    await bus.open(LINE)
    with pytest.raises(NoAnswer):
        await bus.exchange(STATUS_1, LINE)
    await asyncio.sleep(0.05)
    assert await bus.exchange(STATUS_1, LINE) == reply(STATUS_1)


async def test_an_answer_proves_all_older_questions_of_that_battery_settled(
    make_line: MakeLine, make_bus: MakeBus
) -> None:
    script = Script([None, None, None, answer(TEMPERATURES_1), answer(STATUS_1)])
    bus = make_bus((await make_line(script)).path)
    await bus.open(LINE)
    for asked in (STATUS_1, SUMMARY_1, request(2, STATUS)):
        with pytest.raises(NoAnswer):
            await bus.exchange(asked, LINE)
    await bus.exchange(TEMPERATURES_1, LINE)
    assert await bus.exchange(STATUS_1, LINE) == reply(STATUS_1)
    with pytest.raises(DoubtfulAnswer):  # nothing is proven of battery 2
        await bus.exchange(request(2, STATUS), LINE)


async def test_the_answer_to_a_question_that_was_given_up_is_not_taken(
    make_line: MakeLine, make_bus: MakeBus
) -> None:
    script = Script([None, answer(MODEL_1, 1) + answer(SUMMARY_1), answer(STATUS_1, 2)])
    bus = make_bus((await make_line(script)).path, timing=PATIENT)
    await bus.open(LINE)
    exchange = asyncio.create_task(bus.exchange(MODEL_1, LINE))
    await script.asked.wait()
    exchange.cancel()
    with pytest.raises(asyncio.CancelledError):
        await exchange
    got = await bus.exchange(STATUS_1, LINE, others=[SUMMARY_1])
    assert got == reply(STATUS_1, 2)


async def test_after_stray_bytes_the_line_must_be_quiet_first(
    make_line: MakeLine, make_bus: MakeBus
) -> None:
    line = await make_line(Script([answer(STATUS_1)]))
    bus = make_bus(line.path, timing=Timing(answer=5.0, quiet=0.5))
    await bus.open(LINE)
    for _ in range(3):
        await asyncio.sleep(0.02)
        last = time.monotonic()
        line.inject(b"\xff")
    await until(lambda: [len(frame.data) for frame in bus.trace] == [3])
    exchange = asyncio.create_task(bus.exchange(STATUS_1, LINE))
    await asyncio.sleep(0.05)
    assert line.bytes_received == 0
    await exchange
    assert time.monotonic() - last >= 0.5


async def test_bytes_behind_an_answer_must_end_before_the_next_question(
    make_line: MakeLine, make_bus: MakeBus
) -> None:
    bus = make_bus(
        (await make_line(Script([answer(STATUS_1) + b"\xff", answer(STATUS_1)]))).path,
        timing=Timing(answer=5.0, quiet=0.1),
    )
    await bus.open(LINE)
    start = time.monotonic()
    await bus.exchange(STATUS_1, LINE)
    await bus.exchange(STATUS_1, LINE)
    assert time.monotonic() - start >= 0.1
    assert bus.counters.skipped_bytes == 0
    assert bus.watch.heard_anything


async def test_a_line_that_never_becomes_quiet_is_not_spoken_on(
    make_line: MakeLine, make_bus: MakeBus, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bus_module, "DRAIN_LIMIT", 0.1)
    line = await make_line(Script([answer(STATUS_1)]))
    bus = make_bus(line.path, timing=Timing(answer=5.0, quiet=0.3))
    await bus.open(LINE)
    async with babble(line, bus):
        with pytest.raises(GarbledAnswer, match="does not become quiet"):
            await bus.exchange(STATUS_1, LINE)
        with pytest.raises(GarbledAnswer, match="does not become quiet"):
            await bus.broadcast(WAKE, LINE)
    assert line.bytes_received == 0
    await asyncio.sleep(0.3)
    assert await bus.exchange(STATUS_1, LINE) == reply(STATUS_1)


async def test_a_pause_between_exchanges_is_kept(
    make_line: MakeLine, make_bus: MakeBus
) -> None:
    line = await make_line(Script([answer(STATUS_1)] * 3))
    bus = make_bus(line.path, timing=Timing(answer=5.0, turnaround=0.05))
    await bus.open(LINE)
    start = time.monotonic()
    for _ in range(3):
        await bus.exchange(STATUS_1, LINE)
    assert time.monotonic() - start >= 0.1


async def test_one_exchange_at_a_time(make_line: MakeLine, make_bus: MakeBus) -> None:
    modules = [module(1), module(2)]
    line = await make_line(*modules, real_time=True)
    bus = make_bus(line.path, timing=Timing(answer=5.0, leaving=0.1))
    await bus.open(LINE)
    await bus.broadcast(WAKE, WAKE_LINE)
    replies = await asyncio.gather(
        *(
            bus.exchange(request(address, block), LINE)
            for block in (SUMMARY, VOLTAGES, STATUS)
            for address in (1, 2)
        )
    )
    assert [(r.address, len(r.data)) for r in replies] == [
        (address, size) for size in (20, 18, 2) for address in (1, 2)
    ]
    assert line.complaints == []


async def test_speed_changes_inside_the_open_port_when_the_wake_has_left(
    make_line: MakeLine, make_bus: MakeBus
) -> None:
    line = await make_line(module(), real_time=True)
    bus = make_bus(line.path, timing=Timing(answer=5.0, leaving=0.1))
    await bus.open(LINE)
    for _ in range(5):
        start = time.monotonic()
        await bus.broadcast(WAKE, WAKE_LINE)
        assert time.monotonic() - start >= WAKE_LINE.seconds(len(WAKE)) + 0.1
        assert bus.line == WAKE_LINE
        await bus.exchange(STATUS_1, LINE)
        assert bus.line == LINE
    assert line.complaints == []


async def test_a_wake_that_the_system_still_holds_is_waited_for(
    make_line: MakeLine, make_bus: MakeBus, monkeypatch: pytest.MonkeyPatch
) -> None:
    bus = make_bus((await make_line()).path)
    await bus.open(LINE)
    flushed = asyncio.Event()
    monkeypatch.setattr(bus._port, "flush", flushed.wait)
    broadcast = asyncio.create_task(bus.broadcast(WAKE, WAKE_LINE))
    await asyncio.sleep(0.1)
    assert not broadcast.done()
    flushed.set()
    await broadcast


async def test_without_the_guard_time_the_wake_would_be_cut(
    make_line: MakeLine, make_bus: MakeBus
) -> None:
    line = await make_line(module(), real_time=True)
    bus = make_bus(line.path, timing=Timing(answer=0.06, leaving=-1.0))
    await bus.open(LINE)
    # Long, so that even a slow machine changes the speed before all of it has left.
    await bus.broadcast(WAKE * 20, WAKE_LINE)
    await until(lambda: line.bytes_received == len(WAKE * 20))
    with pytest.raises(NoAnswer):
        await bus.exchange(STATUS_1, LINE)
    await until(lambda: bool(line.complaints))
    assert "settings changed before these bytes had left" in line.complaints[0]


async def test_nothing_is_sent_before_the_line_was_listened_to(
    make_line: MakeLine, make_bus: MakeBus
) -> None:
    line = await make_line(Script([answer(STATUS_1)]))
    bus = make_bus(line.path, timing=PATIENT, listen=0.5)
    start = time.monotonic()
    opening = asyncio.create_task(bus.open(LINE))
    asking = asyncio.create_task(bus.exchange(STATUS_1, LINE))
    await asyncio.sleep(0.1)
    assert line.bytes_received == 0
    await opening
    assert time.monotonic() - start >= 0.5
    await asking


async def test_an_open_bus_is_not_listened_to_again(
    make_line: MakeLine, make_bus: MakeBus
) -> None:
    line = await make_line()
    bus = make_bus(line.path, listen=0.1)
    await bus.open(LINE)
    bus._listen = 60.0
    async with asyncio.timeout(30):
        await bus.open(LINE)


async def test_listening_that_was_broken_off_begins_again(
    make_line: MakeLine, make_bus: MakeBus
) -> None:
    line = await make_line()
    bus = make_bus(line.path, listen=0.15)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.05):
            await bus.open(LINE)
    start = time.monotonic()
    await bus.open(LINE)
    assert time.monotonic() - start >= 0.15


async def test_listening_lasts_two_seconds_by_default(
    make_line: MakeLine, make_bus: MakeBus, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert bus_module.LISTEN == 2.0
    monkeypatch.setattr(bus_module, "LISTEN", 0.1)
    line = await make_line()
    start = time.monotonic()
    await make_bus(line.path, listen=None).open(LINE)
    assert time.monotonic() - start >= 0.1


async def test_listening_tells_its_progress_and_finds_a_silent_line(
    make_line: MakeLine, make_bus: MakeBus
) -> None:
    line = await make_line()
    bus = make_bus(line.path)
    shares: list[float] = []
    assert await bus.listen(LINE, 1.1, shares.append) == Heard(False, 0)
    assert shares[0] < 0.05
    assert 3 <= len(shares) <= 6
    assert shares == sorted(shares)
    assert shares[-1] <= 1.0
    assert line.bytes_received == 0


async def test_noise_and_another_master_are_told_apart(
    make_line: MakeLine, make_bus: MakeBus
) -> None:
    line = await make_line()
    bus = make_bus(line.path)

    async def hear(data: bytes) -> Heard:
        begun: list[float] = []
        listening = asyncio.create_task(bus.listen(LINE, 0.5, begun.append))
        await until(lambda: bool(begun))
        line.inject(data)
        return await listening

    assert await hear(b"\xff" * 7) == Heard(False, 7)
    assert await hear(b"\xff" + request(9, SUMMARY).encoded) == Heard(True, 1)


async def test_noise_before_listening_is_not_counted(
    make_line: MakeLine, make_bus: MakeBus
) -> None:
    line = await make_line()
    bus = make_bus(line.path)
    await bus.open(LINE)
    line.inject(b"\xff" * 7)
    await until(lambda: [len(frame.data) for frame in bus.trace] == [7])
    assert await bus.listen(LINE, 0.02) == Heard(False, 0)


async def test_nothing_is_sent_while_another_master_talks(
    make_line: MakeLine, make_bus: MakeBus, clock: Clock
) -> None:
    line = await make_line(Script([answer(STATUS_1)]))
    bus = make_bus(line.path)
    bus.watch = ForeignWatch(TERMINATOR, clock)
    await bus.open(LINE)
    line.inject(request(9, SUMMARY).encoded)
    await until(lambda: bus.watch.silent)
    with pytest.raises(ForeignMaster, match="another master talks on") as caught:
        await bus.exchange(STATUS_1, LINE)
    assert caught.value.details == {"port": line.path}
    with pytest.raises(ForeignMaster):
        await bus.broadcast(WAKE, WAKE_LINE)
    with pytest.raises(ForeignMaster):
        await bus.open(LINE)
    clock.now += 60
    assert line.bytes_received == 0
    await bus.open(LINE)
    assert await bus.exchange(STATUS_1, LINE) == reply(STATUS_1)


async def test_a_master_heard_while_opening_is_not_disturbed(
    make_line: MakeLine, make_bus: MakeBus
) -> None:
    line = await make_line()
    bus = make_bus(line.path, listen=0.5)
    opening = asyncio.create_task(bus.open(LINE))
    await until(lambda: bus.line == LINE)
    line.inject(request(9, SUMMARY).encoded)
    with pytest.raises(ForeignMaster):
        await opening
    assert line.bytes_received == 0


async def test_a_master_heard_while_the_line_becomes_quiet_is_not_disturbed(
    make_line: MakeLine, make_bus: MakeBus
) -> None:
    line = await make_line()
    bus = make_bus(line.path, timing=Timing(quiet=0.5))
    await bus.open(LINE)
    line.inject(b"\xff")
    await until(lambda: bus.watch.heard_anything)
    exchange = asyncio.create_task(bus.exchange(STATUS_1, LINE))
    await asyncio.sleep(0.02)
    line.inject(request(9, SUMMARY).encoded)
    with pytest.raises(ForeignMaster):
        await exchange
    assert line.bytes_received == 0


async def test_a_master_that_talks_into_an_exchange_is_heard(
    make_line: MakeLine, make_bus: MakeBus
) -> None:
    theirs = request(9, SUMMARY).encoded
    line = await make_line(Script([theirs + answer(STATUS_1)]))
    bus = make_bus(line.path)
    await bus.open(LINE)
    # What looks like the answer may be the one to the other master.
    with pytest.raises(ForeignMaster):
        await bus.exchange(STATUS_1, LINE)
    with pytest.raises(ForeignMaster):
        await bus.exchange(STATUS_1, LINE)
    assert bus.counters.exchanges == 1


async def test_a_port_that_is_pulled_out_is_noticed_at_once(
    make_line: MakeLine, make_bus: MakeBus, tmp_path_factory: pytest.TempPathFactory
) -> None:
    link = tmp_path_factory.mktemp("by-id") / "adapter"
    line = await make_line(link=link)
    bus = make_bus(str(link), timing=PATIENT)
    await bus.open(LINE)
    exchange = asyncio.create_task(bus.exchange(STATUS_1, LINE))
    await asyncio.sleep(0.02)
    line.unplug()
    with pytest.raises(PortGone):
        async with asyncio.timeout(30):
            await exchange
    assert not bus.is_open
    with pytest.raises(PortGone):
        await bus.exchange(STATUS_1, LINE)
    with pytest.raises(PortMissing):
        await bus.open(LINE)


async def test_a_port_that_is_pulled_out_while_listening_is_noticed(
    make_line: MakeLine, make_bus: MakeBus
) -> None:
    line = await make_line()
    bus = make_bus(line.path)
    begun: list[float] = []
    listening = asyncio.create_task(bus.listen(LINE, 60.0, begun.append))
    await until(lambda: bool(begun))
    line.unplug()
    with pytest.raises(PortGone):
        async with asyncio.timeout(30):
            await listening


async def test_a_port_that_is_plugged_in_again_is_listened_to_again(
    make_line: MakeLine, make_bus: MakeBus, tmp_path_factory: pytest.TempPathFactory
) -> None:
    link = tmp_path_factory.mktemp("by-id") / "adapter"
    line = await make_line(Script([None, answer(STATUS_1)]), link=link)
    bus = make_bus(str(link), listen=0.1)
    await bus.open(LINE)
    with pytest.raises(NoAnswer):
        await bus.exchange(STATUS_1, LINE)
    await unplugged(line, bus)
    await line.replug()
    assert bus.last_exchange is not None
    start = time.monotonic()
    await bus.open(LINE)
    assert time.monotonic() - start >= 0.1
    assert bus.last_exchange is None
    # What was asked before the cable was out is not owed any more.
    assert await bus.exchange(STATUS_1, LINE) == reply(STATUS_1)


async def test_half_a_frame_from_before_does_not_join_one_from_after(
    make_line: MakeLine, make_bus: MakeBus, tmp_path_factory: pytest.TempPathFactory
) -> None:
    link = tmp_path_factory.mktemp("by-id") / "adapter"
    line = await make_line(link=link)
    bus = make_bus(str(link))
    await bus.open(LINE)
    theirs = request(9, SUMMARY).encoded
    line.inject(theirs[:6])
    await until(lambda: [frame.data for frame in bus.trace] == [theirs[:6]])
    await unplugged(line, bus)
    await line.replug()
    await bus.open(LINE)
    line.inject(theirs[6:])
    await until(lambda: [frame.data for frame in bus.trace] == [theirs])
    assert not bus.watch.silent
    assert bus.watch.frames == 0


async def test_a_closed_bus_stays_closed(
    make_line: MakeLine, make_bus: MakeBus
) -> None:
    line = await make_line()
    bus = make_bus(line.path)
    await bus.open(LINE)
    exchange = asyncio.create_task(bus.exchange(STATUS_1, LINE))
    await asyncio.sleep(0.01)
    await bus.close()
    assert exchange.done()  # it ended first
    with pytest.raises(NoAnswer):
        await exchange
    assert not bus.is_open
    with pytest.raises(PortGone, match="was closed"):
        await bus.open(LINE)
    with pytest.raises(PortGone):
        await bus.exchange(STATUS_1, LINE)


# Refusals, on a line without a terminator

MODBUS = Line(19200)
FIRST, SECOND, THIRD = (
    Request(0, 4, register, count)
    for register, count in ((0x1000, 18), (0x1100, 26), (0x1500, 4))
)
COILS = Request(0, 1, 0x1200, 144)
REFUSED = with_crc(bytes((0, 0x84, 2)))


async def test_a_refusal_is_an_answer_that_says_no(
    make_line: MakeLine, make_bus: MakeBus
) -> None:
    script = Script([b"\xff" + REFUSED, answer(FIRST, 7)])
    bus = make_bus((await make_line(script)).path, terminator=b"", timing=PATIENT)
    await bus.open(MODBUS)
    with pytest.raises(Refused, match=r"refused register 0x1000 \(exception 2\)") as it:
        async with asyncio.timeout(30):
            await bus.exchange(FIRST, MODBUS)
    assert it.value.details == {"address": "0", "code": "2"}
    assert len(script.heard) == 1  # asking again would change nothing
    counters = bus.counters_of(0)
    assert counters.as_dict() == bus.counters.as_dict()
    assert (counters.refused, counters.answers, counters.exchanges) == (1, 1, 1)
    assert (counters.timeouts, counters.garbled, counters.crc_errors) == (0, 0, 0)
    assert len(counters.reply_times) == 1
    assert [(f.direction, f.data) for f in bus.trace][1:] == [
        ("stray", b"\xff"),
        ("received", REFUSED),
    ]
    # It was the answer to this question, so none is on its way any more.
    assert await bus.exchange(FIRST, MODBUS) == reply(FIRST, 7)


async def test_a_refusal_may_be_that_of_an_earlier_question(
    make_line: MakeLine, make_bus: MakeBus
) -> None:
    # The first refusal comes late; the answer to the second question comes later.
    late = answer(SECOND, 1) + answer(COILS)
    script = Script([None, REFUSED, late, answer(SECOND, 2)])
    bus = make_bus((await make_line(script)).path, terminator=b"")
    await bus.open(MODBUS)
    with pytest.raises(NoAnswer):
        await bus.exchange(FIRST, MODBUS)
    with pytest.raises(Refused):
        await bus.exchange(SECOND, MODBUS)
    got = await bus.exchange(SECOND, MODBUS, others=[FIRST, SECOND, COILS])
    assert got == reply(SECOND, 2)
    assert [data for data, _ in script.heard] == [
        FIRST.encoded,
        SECOND.encoded,
        COILS.encoded,
        SECOND.encoded,
    ]
    assert bus.counters.late == 1


async def test_a_refusal_of_one_battery_settles_nothing_of_another(
    make_line: MakeLine, make_bus: MakeBus
) -> None:
    other = Request(1, 4, 0x1000, 18)
    script = Script([None, REFUSED, answer(FIRST, 3)])
    bus = make_bus((await make_line(script)).path, terminator=b"")
    await bus.open(MODBUS)
    with pytest.raises(NoAnswer):
        await bus.exchange(other, MODBUS)
    with pytest.raises(Refused):
        await bus.exchange(FIRST, MODBUS)
    assert await bus.exchange(FIRST, MODBUS) == reply(FIRST, 3)
    with pytest.raises(DoubtfulAnswer):
        await bus.exchange(other, MODBUS)


async def test_a_late_refusal_between_two_questions_is_dropped(
    make_line: MakeLine, make_bus: MakeBus
) -> None:
    line = await make_line(Script([None, answer(COILS)]))
    bus = make_bus(line.path, terminator=b"")
    await bus.open(MODBUS)
    with pytest.raises(NoAnswer):
        await bus.exchange(FIRST, MODBUS)
    for number in range(1, 4):
        line.inject(REFUSED)
        await until(lambda: bus.watch.frames == number)  # noqa: B023
    assert not bus.watch.silent
    assert bus.counters.late == 0  # only what could pass for an answer counts
    assert await bus.exchange(COILS, MODBUS) == reply(COILS)


async def test_the_refusal_of_another_battery_is_no_answer(
    make_line: MakeLine, make_bus: MakeBus
) -> None:
    script = Script([with_crc(bytes((1, 0x84, 2))), answer(COILS), answer(FIRST)])
    bus = make_bus((await make_line(script)).path, terminator=b"")
    await bus.open(MODBUS)
    got = await bus.exchange(FIRST, MODBUS, others=[COILS])
    assert got == reply(FIRST)
    assert (bus.counters.garbled, bus.counters.wrong_battery) == (1, 0)


# What others say


async def test_whatever_answers_no_question_is_passed_on_in_order(
    make_line: MakeLine, make_bus: MakeBus
) -> None:
    heard: list[Frame] = []
    write = bytes.fromhex("00101510000102 55AA 52BE")
    behind = answer(SECOND, 1)
    line = await make_line(Script([b"\xff" + answer(THIRD, 4) + behind]))
    bus = make_bus(line.path, terminator=b"")
    bus.on_heard = heard.append
    await bus.open(MODBUS)
    await bus.exchange(THIRD, MODBUS)
    theirs = Request(2, 4, 0x1000, 18)
    line.inject(theirs.encoded[:3])
    await until(lambda: list(bus.trace)[-1].data.endswith(theirs.encoded[:3]))
    line.inject(theirs.encoded[3:] + answer(theirs, 9)[:20])
    await until(lambda: len(heard) == 2)
    line.inject(answer(theirs, 9)[20:] + b"\xff" + with_crc(bytes((2, 0x84, 2))))
    line.inject(write)
    await until(lambda: len(heard) == 5)
    assert heard == [
        reply(SECOND, 1),
        theirs,
        reply(theirs, 9),
        Refusal(2, 4, 2),
        Write(0, 16, 0x1510, b"\x55\xaa"),
    ]


async def test_an_echo_is_passed_on_too(make_line: MakeLine, make_bus: MakeBus) -> None:
    heard: list[Frame] = []
    line = await make_line(Script([answer(THIRD)]), echo=True)
    bus = make_bus(line.path, terminator=b"")
    bus.on_heard = heard.append
    await bus.open(MODBUS)
    await bus.exchange(THIRD, MODBUS)
    assert heard == [THIRD]


async def test_an_answer_beside_the_question_of_another_is_not_believed(
    make_line: MakeLine, make_bus: MakeBus
) -> None:
    theirs = Request(0, 4, 0x2000, 26)  # as long as what we ask for
    line = await make_line(Script([theirs.encoded + answer(SECOND)]))
    bus = make_bus(line.path, terminator=b"")
    await bus.open(MODBUS)
    with pytest.raises(ForeignMaster):
        await bus.exchange(SECOND, MODBUS)
    assert line.bytes_received == 8


# A bus that only listens


async def test_a_mute_bus_has_no_way_to_send(
    make_line: MakeLine, make_bus: MakeBus
) -> None:
    line = await make_line(Script([answer(FIRST)] * 3))
    bus = make_bus(line.path, terminator=b"", mute=True)
    for _ in range(2):
        with pytest.raises(RuntimeError, match="only listens"):
            await bus.exchange(FIRST, MODBUS, others=[SECOND])
        with pytest.raises(RuntimeError, match="only listens"):
            await bus.broadcast(FIRST.encoded, MODBUS)
        await bus.open(MODBUS)
    assert await bus.listen(MODBUS, 0.02) == Heard(False, 0)
    assert line.bytes_received == 0
    assert list(bus.trace) == []
    assert bus.counters.exchanges == 0


async def test_a_mute_bus_hears_other_masters_without_complaint(
    make_line: MakeLine, make_bus: MakeBus
) -> None:
    heard: list[Frame] = []
    line = await make_line()
    bus = make_bus(line.path, terminator=b"", mute=True, listen=30.0)
    bus.on_heard = heard.append
    async with asyncio.timeout(15.0):  # what does not speak need not wait
        await bus.open(MODBUS)
    assert bus.line == MODBUS
    line.inject(FIRST.encoded + answer(FIRST))
    await until(lambda: len(heard) == 2)
    assert bus.watch.silent
    await bus.open(MODBUS)
    assert heard == [FIRST, reply(FIRST)]
    assert line.bytes_received == 0


async def test_a_mute_bus_notices_that_its_port_is_gone(
    make_line: MakeLine, make_bus: MakeBus, tmp_path_factory: pytest.TempPathFactory
) -> None:
    link = tmp_path_factory.mktemp("by-id") / "adapter"
    line = await make_line(link=link)
    bus = make_bus(str(link), terminator=b"", mute=True)
    await bus.open(MODBUS)
    await unplugged(line, bus)
    with pytest.raises(PortMissing):
        await bus.open(MODBUS)
    await line.replug()
    await bus.open(MODBUS)
    assert bus.is_open


async def test_a_flood_while_an_answer_is_waited_for_does_not_pile_up(
    make_line: MakeLine, make_bus: MakeBus
) -> None:
    script = Script()
    line = await make_line(script)
    bus = make_bus(line.path)
    await bus.open(LINE)
    asking = asyncio.create_task(bus.exchange(SUMMARY_1, LINE))
    await script.asked.wait()
    for _ in range(10):
        bus._received(bytes(bus_module.MOST_BYTES // 3))
        assert len(bus._buffer) <= bus_module.MOST_BYTES
    with pytest.raises(GarbledAnswer):
        await asking
    assert sum(len(frame.data) for frame in bus.trace) < 2 * bus_module.MOST_BYTES


async def test_a_lent_port_is_free_for_others_until_it_is_taken_back(
    make_line: MakeLine, make_bus: MakeBus
) -> None:
    line = await make_line(Script([answer(SUMMARY_1, 1), answer(SUMMARY_1, 2)]))
    bus, other = make_bus(line.path), make_bus(line.path)
    await bus.open(LINE)
    with pytest.raises(PortBusy):
        await other.open(LINE)
    async with bus.hold(LINE) as held:
        lending = asyncio.create_task(bus.lend())
        await asyncio.sleep(0)
        await held.exchange(SUMMARY_1)  # whoever holds the bus ends first
        assert not lending.done()
    await lending
    await other.open(LINE)
    await other.close()
    with pytest.raises(PortLent, match="is closed for service"):
        await bus.open(LINE)
    with pytest.raises(PortLent):
        await bus.exchange(SUMMARY_1, LINE)
    with pytest.raises(PortLent):
        await bus.listen(LINE, 0.01)
    assert not bus.is_open
    bus.take_back()
    await bus.open(LINE)
    assert await bus.exchange(SUMMARY_1, LINE) == reply(SUMMARY_1, 2)
