"""When somebody else talks on the line."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from custom_components.openxpbms.bms.foreign import ForeignWatch
from custom_components.openxpbms.bms.frame import Request, with_crc
from custom_components.openxpbms.bms.valence import STATUS, SUMMARY, TERMINATOR, request

from .conftest import Clock
from .data import reply
from .seplos_data import BURSTS

OURS = request(1, STATUS)
THEIRS = request(7, SUMMARY).encoded
REPLY = with_crc(bytes((1, 3, 2, 1, 0))) + TERMINATOR
OTHER_TABLE = reply("C'").data


@pytest.fixture
def watch(clock: Clock) -> ForeignWatch:
    """Return a watch on a line where we have asked for nothing yet."""
    return ForeignWatch(TERMINATOR, clock)


def test_silence_and_noise_are_not_foreign(watch: ForeignWatch) -> None:
    assert not watch.heard_anything
    assert watch.feed(bytes(range(256)) * 2) == []
    assert watch.heard_anything
    assert not watch.silent
    assert watch.frames == 0


def test_a_request_of_somebody_else_silences_us(watch: ForeignWatch) -> None:
    [found] = watch.feed(THEIRS)
    assert found.frame == request(7, SUMMARY)
    assert watch.silent
    assert not watch.held
    assert (watch.frames, watch.foreign_frames) == (1, 1)


def test_a_write_of_somebody_else_silences_us(watch: ForeignWatch) -> None:
    body = bytes((1, 6, 0, 0x20, 0, 5))
    watch.feed(with_crc(body) + TERMINATOR)
    assert watch.silent


def test_the_echo_of_our_own_request_does_not(watch: ForeignWatch) -> None:
    watch.asked(OURS)
    watch.feed(OURS.encoded)
    assert not watch.silent
    assert watch.foreign_frames == 0


def test_an_echo_comes_once_only(watch: ForeignWatch) -> None:
    watch.asked(OURS)
    watch.feed(OURS.encoded)
    watch.feed(OURS.encoded)
    assert watch.silent


def test_a_request_that_is_not_our_last_is_no_echo(watch: ForeignWatch) -> None:
    watch.asked(OURS)
    watch.asked(request(2, STATUS))
    watch.feed(OURS.encoded)
    assert watch.silent


def test_a_late_reply_to_us_is_ours(watch: ForeignWatch, clock: Clock) -> None:
    watch.asked(OURS)
    for _ in range(3):
        clock.now += 1.6
        watch.feed(REPLY)
    assert not watch.silent


@pytest.mark.parametrize("frame", [REPLY, OTHER_TABLE])
def test_the_second_reply_that_nobody_asked_for_silences_us(
    watch: ForeignWatch, frame: bytes
) -> None:
    watch.asked(request(1, SUMMARY))
    watch.feed(frame)
    assert not watch.silent
    watch.feed(frame)
    assert watch.silent
    assert (watch.frames, watch.foreign_frames) == (2, 1)


def test_a_reply_asked_for_more_than_5_s_ago_is_not_ours(
    watch: ForeignWatch, clock: Clock
) -> None:
    watch.asked(OURS)
    clock.now += 5.1
    watch.feed(REPLY + REPLY)
    assert watch.silent


def test_two_unasked_replies_far_apart_are_chance(
    watch: ForeignWatch, clock: Clock
) -> None:
    for _ in range(3):
        watch.feed(REPLY)
        clock.now += 60.1
    assert not watch.silent
    clock.now -= 0.1
    watch.feed(REPLY)  # a minute after the last one
    assert watch.silent


def test_asking_begins_again_60_s_after_the_last_foreign_frame(
    watch: ForeignWatch, clock: Clock
) -> None:
    watch.feed(THEIRS)
    clock.now += 59
    watch.feed(THEIRS)
    clock.now += 59.9
    assert watch.silent
    clock.now += 0.1
    assert not watch.silent


def silences(watch: ForeignWatch, clock: Clock, *pauses: float) -> list[bool]:
    """Hear foreign frames with pauses between; return whether it was held each time."""
    held = []
    for pause in pauses:
        clock.now += pause
        watch.feed(THEIRS)
        held.append(watch.held)
    return held


def test_the_third_time_within_a_day_only_a_person_ends_it(
    watch: ForeignWatch, clock: Clock
) -> None:
    assert silences(watch, clock, 0, 3600, 7200) == [False, False, True]
    clock.now += 1e6
    assert watch.silent
    watch.feed(THEIRS)
    watch.resume()
    assert not watch.silent
    assert not watch.held


def test_after_a_person_resumed_the_count_begins_anew(
    watch: ForeignWatch, clock: Clock
) -> None:
    silences(watch, clock, 0, 3600, 7200)
    watch.resume()
    assert silences(watch, clock, 100, 100, 100) == [False, False, True]


def test_one_unasked_reply_after_a_person_resumed_is_chance_again(
    watch: ForeignWatch,
) -> None:
    watch.feed(REPLY)
    watch.resume()
    watch.feed(REPLY)
    assert not watch.silent


def test_the_third_time_in_more_than_a_day_is_no_more_than_a_pause(
    watch: ForeignWatch, clock: Clock
) -> None:
    assert silences(watch, clock, 0, 3600, 82900, 100) == [False, False, False, True]


def test_the_third_time_at_the_end_of_a_day_counts(
    watch: ForeignWatch, clock: Clock
) -> None:
    assert silences(watch, clock, 0, 3600, 82800) == [False, False, True]


def test_frames_during_one_silence_are_one_time(
    watch: ForeignWatch, clock: Clock
) -> None:
    assert not any(silences(watch, clock, 0, 10, 10, 10, 50))
    assert watch.foreign_frames == 5


@pytest.mark.parametrize("size", [1, 3, 7])
def test_a_frame_that_comes_in_pieces_is_recognised(
    watch: ForeignWatch, size: int
) -> None:
    found = []
    for at in range(0, len(THEIRS), size):
        found += watch.feed(THEIRS[at : at + size])
    assert [item.frame for item in found] == [request(7, SUMMARY)]
    assert watch.unread_bytes == 0


def test_pieces_at_different_line_settings_make_no_frame(watch: ForeignWatch) -> None:
    watch.feed(THEIRS[:5])
    watch.forget()
    assert watch.feed(THEIRS[5:]) == []
    assert watch.unread_bytes == 5


def test_bytes_that_make_no_frame_are_counted(watch: ForeignWatch) -> None:
    watch.feed(b"\xff" * 3 + THEIRS + b"\xff" * 2)
    assert watch.unread_bytes == 3
    watch.forget()
    assert watch.unread_bytes == 5


def test_endless_noise_is_counted_and_not_kept(watch: ForeignWatch) -> None:
    for _ in range(100):
        watch.feed(b"\xff" * 100)
    assert watch.unread_bytes >= 100 * 100 - 300
    [found] = watch.feed(THEIRS)
    assert found.end <= 400


def feed_twice(watch: ForeignWatch, clock: Clock) -> None:
    """Hear one foreign frame, and another one a moment later."""
    watch.feed(THEIRS)
    clock.now += 0.5
    watch.feed(THEIRS)


def feed_at_once(watch: ForeignWatch, clock: Clock) -> None:
    """Hear two foreign frames in one piece."""
    watch.feed(THEIRS + THEIRS)


@pytest.mark.parametrize("feed", [feed_twice, feed_at_once])
def test_every_foreign_frame_is_counted(
    watch: ForeignWatch, clock: Clock, feed: Callable[[ForeignWatch, Clock], None]
) -> None:
    feed(watch, clock)
    assert watch.foreign_frames == 2


def test_frames_without_terminator_are_watched_too(clock: Clock) -> None:
    watch = ForeignWatch(b"", clock)
    watch.feed(Request(2, 4, 0x1000, 18).encoded)
    assert watch.silent


# Refusals and writes, on a line without a terminator

PIA = Request(0, 4, 0x1000, 18)
REFUSED = with_crc(bytes((0, 0x84, 2)))


@pytest.fixture
def plain(clock: Clock) -> ForeignWatch:
    """Return a watch on such a line."""
    return ForeignWatch(b"", clock)


def test_a_late_refusal_to_us_is_ours(plain: ForeignWatch, clock: Clock) -> None:
    plain.asked(PIA)
    for _ in range(3):
        clock.now += 1.6
        plain.feed(REFUSED)
    assert plain.frames == 3
    assert not plain.silent


@pytest.mark.parametrize(
    "asked", [Request(1, 4, 0x1000, 18), Request(0, 1, 0x1200, 144), None]
)
def test_the_second_refusal_of_what_we_did_not_ask_silences_us(
    plain: ForeignWatch, asked: Request | None
) -> None:
    if asked:
        plain.asked(asked)
    plain.feed(REFUSED)
    assert not plain.silent
    plain.feed(REFUSED)
    assert plain.silent


def test_an_old_question_is_not_refused_any_more(
    plain: ForeignWatch, clock: Clock
) -> None:
    plain.asked(PIA)
    clock.now += 5.1
    plain.feed(REFUSED + REFUSED)
    assert plain.silent


def test_a_write_of_several_registers_silences_us_at_once(plain: ForeignWatch) -> None:
    plain.asked(PIA)
    plain.feed(bytes.fromhex("00101510000102 55AA 52BE"))
    assert plain.silent
    assert plain.foreign_frames == 1


def test_an_acknowledgement_is_a_reply_that_nobody_asked_for(
    plain: ForeignWatch,
) -> None:
    acknowledgement = bytes.fromhex("001015100001 05D1")
    plain.feed(acknowledgement)
    assert not plain.silent
    plain.feed(acknowledgement)
    assert plain.silent


@pytest.mark.parametrize("name", BURSTS)
def test_the_master_of_a_bank_silences_us_with_its_first_frames(
    plain: ForeignWatch, name: str
) -> None:
    asked_aloud = len(BURSTS[name][0]) == 8
    for number, frame in enumerate(BURSTS[name]):
        plain.feed(frame)
        assert plain.silent is (number >= (0 if asked_aloud else 1))
