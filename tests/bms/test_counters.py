"""Counts of a bus and the trace of what went over it."""

from __future__ import annotations

import time

import pytest

from custom_components.openxpbms.bms.counters import (
    Counters,
    Direction,
    Trace,
    TracedFrame,
)


def test_nothing_is_known_at_the_beginning() -> None:
    counters = Counters()
    assert not any(counters.as_dict().values())
    assert counters.quality is None
    assert counters.reply_time is None
    assert counters.median_reply_time is None
    assert counters.slow_reply_time is None


def test_quality_is_the_share_of_answered_exchanges() -> None:
    counters = Counters()
    counters.outcomes.extend([True, True, False])
    assert counters.quality == 66.7


def test_quality_forgets_what_is_more_than_100_exchanges_ago() -> None:
    counters = Counters()
    counters.outcomes.extend([False] * 50 + [True] * 100)
    assert counters.quality == 100.0


def test_reply_times_last_median_and_95th_percentile() -> None:
    counters = Counters()
    counters.reply_times.extend(n / 1000 for n in range(1, 102))
    assert counters.reply_time == 0.101
    assert counters.median_reply_time == 0.051
    assert counters.slow_reply_time == pytest.approx(0.096)


def test_one_reply_time_stands_for_all_three() -> None:
    counters = Counters()
    counters.reply_times.append(0.005)
    assert counters.slow_reply_time == counters.median_reply_time == 0.005


def test_two_reply_times_make_a_percentile() -> None:
    counters = Counters()
    counters.reply_times.extend([0.2, 0.1])
    assert counters.slow_reply_time == pytest.approx(0.195)


def test_reply_times_are_the_last_200() -> None:
    counters = Counters()
    counters.reply_times.extend([1.0] * 100 + [0.1] * 200)
    assert list(counters.reply_times) == [0.1] * 200


def test_as_dict_tells_every_count_and_times_in_milliseconds() -> None:
    counters = Counters()
    numbers = [name for name in Counters.__slots__ if name not in _SERIES]
    for value, name in enumerate(numbers, 1):
        setattr(counters, name, value)
    counters.outcomes.append(True)
    counters.reply_times.append(0.0051234)
    told = counters.as_dict()
    assert {name: told.pop(name) for name in numbers} == {
        name: value for value, name in enumerate(numbers, 1)
    }
    assert told == {
        "quality_percent": 100.0,
        "reply_ms_last": 5.12,
        "reply_ms_median": 5.12,
        "reply_ms_p95": 5.12,
    }


def test_as_dict_has_none_for_times_that_are_not_known() -> None:
    assert Counters().as_dict()["reply_ms_last"] is None


_SERIES = ("reply_times", "outcomes")


def test_trace_keeps_order_direction_line_and_time() -> None:
    trace = Trace()
    before = time.time()
    trace.add("sent", b"\x01", "115200 8M1")
    trace.add("received", b"\x02", "115200 8M1")
    trace.add("stray", b"\x03", "9600 8M1")
    frames = list(trace)
    assert [(f.direction, f.data, f.line) for f in frames] == [
        ("sent", b"\x01", "115200 8M1"),
        ("received", b"\x02", "115200 8M1"),
        ("stray", b"\x03", "9600 8M1"),
    ]
    assert before <= frames[0].time <= frames[-1].time <= time.time()


def test_trace_keeps_the_last_200_frames() -> None:
    trace = Trace()
    for number in range(250):
        trace.add("sent", number.to_bytes(), "")
    assert [frame.data[0] for frame in trace] == list(range(50, 250))


def test_a_trace_may_grow_while_it_is_read() -> None:
    trace = Trace()
    trace.add("sent", b"\x01", "")
    for _ in trace:
        trace.add("sent", b"\x02", "")
    assert len(list(trace)) == 2


def test_stray_bytes_that_come_piece_by_piece_are_one_entry() -> None:
    trace = Trace()
    before = time.time()
    for number in range(300):
        trace.add("stray", number.to_bytes(2, "big"), "19200 8N1")
    pieces = [frame.data for frame in trace]
    assert b"".join(pieces) == b"".join(n.to_bytes(2, "big") for n in range(300))
    assert [len(piece) for piece in pieces] == [256, 256, 88]
    assert [frame.time for frame in trace] == sorted(frame.time for frame in trace)
    assert before <= next(iter(trace)).time


def test_stray_bytes_that_come_at_once_are_cut() -> None:
    trace = Trace()
    trace.add("stray", bytes(600), "19200 8N1")
    trace.add("stray", b"\x01", "19200 8N1")
    assert [len(frame.data) for frame in trace] == [256, 256, 89]


def test_what_belongs_apart_is_not_joined() -> None:
    trace = Trace()
    rows: list[tuple[Direction, bytes, str]] = [
        ("sent", b"\x01", "a"),
        ("sent", b"\x02", "a"),
        ("received", b"\x03", "a"),
        ("received", b"\x04", "a"),
        ("stray", b"\x05", "a"),
        ("stray", b"\x06", "b"),
        ("sent", b"\x07", "b"),
        ("stray", b"\x08", "b"),
        ("stray", b"\x09" * 256, "b"),
    ]
    for row in rows:
        trace.add(*row)
    assert [(f.direction, f.data, f.line) for f in trace] == rows


def test_a_tape_may_keep_stray_bytes_in_the_pieces_that_came() -> None:
    trace = Trace()
    with trace.tape(10, stray=0) as tape:
        for data in (b"\x01\x02", b"\x03", bytes(300)):
            trace.add("stray", data, "x")
    assert [len(frame.data) for frame in tape] == [2, 1, 256, 44]
    assert [len(frame.data) for frame in trace] == [3, 256, 44]


def test_a_frame_as_it_is_told() -> None:
    frame = TracedFrame(0.5, "stray", b"\x01\xff", "19200 8N1")
    assert frame.as_dict() == {
        "time": "1970-01-01T00:00:00.500000+00:00",
        "direction": "stray",
        "line": "19200 8N1",
        "data": "01 ff",
    }
