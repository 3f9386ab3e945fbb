"""What one relay is told, and what is wrong with it."""

from __future__ import annotations

from math import inf, nextafter
from typing import Any

import pytest

from custom_components.openxpbms.bms.outputs import Want
from custom_components.openxpbms.bms.relay import (
    RelayFault,
    RelayMemory,
    Report,
    Step,
    follow,
    unheard,
)

T = 1234.1


class Relay:
    """A relay that is followed from `T` on."""

    def __init__(self) -> None:
        """Begin with nothing remembered."""
        self.memory = RelayMemory()

    def step(self, seconds: float, want: Want, report: Report, **more: Any) -> Step:
        """Look at it after so many seconds."""
        self.memory, step = follow(self.memory, want, report, T + seconds, **more)
        return step

    def told(
        self, to: float, want: Want, report: Report, since: float = 0.0, **more: Any
    ) -> dict[float, Want]:
        """Look whenever it asks for it, and return what it was told when."""
        told: dict[float, Want] = {}
        at = T + since
        while at <= T + to:
            self.memory, step = follow(self.memory, want, report, at, **more)
            if step.tell is not Want.HOLD:
                told[round(at - T, 6)] = step.tell
            assert step.at > at
            at = step.at
        return told

    def failed(self, seconds: float, *, excused: bool = False) -> None:
        """Let it not hear what it was told."""
        self.memory = unheard(self.memory, T + seconds, excused=excused)


OPEN, HOLD, CLOSE = Want.OPEN, Want.HOLD, Want.CLOSE
IS_OPEN, IS_CLOSED, AWAY = Report.OPEN, Report.CLOSED, Report.AWAY


@pytest.mark.parametrize("report", Report)
def test_hold_never_tells_anything(report: Report) -> None:
    for before in Report:
        for wanted in Want:
            relay = Relay()
            relay.step(0, wanted, before)
            for seconds in (0.1, 5, 60, 61, 1000):
                assert relay.step(seconds, HOLD, report).tell is HOLD


@pytest.mark.parametrize(
    ("want", "report"), [(OPEN, IS_OPEN), (CLOSE, IS_CLOSED), (HOLD, IS_OPEN)]
)
def test_a_relay_that_is_as_wanted_is_left_alone(want: Want, report: Report) -> None:
    relay = Relay()
    assert relay.step(0, want, report) == Step()
    assert relay.step(1000, want, report) == Step()


# Opening


@pytest.mark.parametrize("report", [IS_CLOSED, AWAY])
def test_open_is_told_every_five_seconds_and_after_a_minute_every_minute(
    report: Report,
) -> None:
    told = Relay().told(300, OPEN, report)
    assert list(told) == [*range(0, 60, 5), 115, 175, 235, 295]
    assert set(told.values()) == {OPEN}


def test_the_pace_does_not_depend_on_how_often_one_looks() -> None:
    relay = Relay()
    told = [s for s in range(300) if relay.step(s, OPEN, IS_CLOSED).tell is OPEN]
    assert told == [*range(0, 60, 5), 115, 175, 235, 295]


@pytest.mark.parametrize(("want", "report"), [(OPEN, IS_CLOSED), (CLOSE, IS_OPEN)])
def test_nothing_is_told_twice_at_one_moment(want: Want, report: Report) -> None:
    relay = Relay()
    assert relay.step(0, want, report).tell is want
    assert relay.step(0, want, report).tell is HOLD


def test_what_does_not_open_in_five_seconds_is_at_fault() -> None:
    relay = Relay()
    step = relay.step(0, OPEN, IS_CLOSED)
    assert (step.fault, step.at) == (None, T + 5)
    assert relay.step(4.9, OPEN, IS_CLOSED).fault is None
    assert relay.step(5, OPEN, IS_CLOSED).fault is RelayFault.NOT_OPENING
    assert relay.step(900, OPEN, IS_CLOSED).fault is RelayFault.NOT_OPENING
    assert relay.step(901, OPEN, IS_OPEN) == Step()


def test_closed_by_someone_it_is_opened_at_once() -> None:
    relay = Relay()
    relay.step(0, OPEN, IS_CLOSED)
    relay.step(1, OPEN, IS_OPEN)
    assert relay.step(2, OPEN, IS_CLOSED).tell is OPEN
    assert relay.step(6.9, OPEN, IS_CLOSED).fault is None
    assert relay.step(7, OPEN, IS_CLOSED) == Step(
        OPEN, RelayFault.NOT_OPENING, at=T + 12
    )


@pytest.mark.parametrize("report", [IS_CLOSED, IS_OPEN])
def test_back_from_away_it_is_told_at_once(report: Report) -> None:
    relay = Relay()
    relay.step(0, OPEN, IS_CLOSED)
    relay.told(200, OPEN, AWAY, since=1)
    assert relay.step(201, OPEN, report).tell is OPEN
    # And then as often as in the beginning.
    told = relay.told(300, OPEN, report, since=201.1)
    again = [*range(206, 260, 5), 316]
    assert list(told) == ([s for s in again if s < 300] if report is IS_CLOSED else [])


def test_back_from_away_it_has_its_five_seconds() -> None:
    relay = Relay()
    for seconds in (0, 4, 8, 12):
        assert relay.step(seconds, OPEN, AWAY).fault is None
    assert relay.step(13, OPEN, IS_CLOSED).fault is None
    assert relay.step(17.9, OPEN, IS_CLOSED).fault is None
    assert relay.step(18, OPEN, IS_CLOSED).fault is RelayFault.NOT_OPENING


def test_coming_and_going_does_not_hide_that_it_is_closed() -> None:
    relay = Relay()
    faults = {
        seconds: relay.step(seconds, OPEN, AWAY if seconds % 4 else IS_CLOSED).fault
        for seconds in range(60)
    }
    assert {fault for s, fault in faults.items() if s < 30} == {None}
    assert faults[32] is RelayFault.NOT_OPENING


def test_open_overtakes_a_close_that_was_not_followed_yet() -> None:
    for between in ([], [(1, HOLD)]):
        relay = Relay()
        assert relay.step(0, CLOSE, IS_OPEN).tell is CLOSE
        for seconds, want in between:
            relay.step(seconds, want, IS_OPEN)
        assert relay.step(2, OPEN, IS_OPEN).tell is OPEN
        assert relay.step(3, OPEN, IS_OPEN).tell is HOLD
        # It came nevertheless.
        assert relay.step(4, OPEN, IS_CLOSED).tell is OPEN


# Closing


def test_close_is_told_once_a_minute() -> None:
    assert Relay().told(200, CLOSE, IS_OPEN) == dict.fromkeys((0, 60, 120, 180), CLOSE)


def test_a_close_that_is_wanted_only_for_a_moment_is_told_once() -> None:
    relay = Relay()
    assert relay.step(0, CLOSE, IS_OPEN).tell is CLOSE
    assert relay.told(59, HOLD, IS_OPEN, since=1) == {}
    assert relay.step(59.9, CLOSE, IS_OPEN).tell is HOLD
    assert relay.step(60, CLOSE, IS_OPEN).tell is CLOSE


@pytest.mark.parametrize("want", [CLOSE, HOLD])
def test_what_does_not_close_in_five_seconds_is_at_fault(want: Want) -> None:
    relay = Relay()
    assert relay.step(0, CLOSE, IS_OPEN).at == T + 5
    assert relay.step(4.9, want, IS_OPEN).fault is None
    assert relay.step(5, want, IS_OPEN).fault is RelayFault.NOT_CLOSING
    assert relay.step(6, want, IS_CLOSED) == Step()


def test_nothing_is_told_to_close_while_it_is_away() -> None:
    relay = Relay()
    assert relay.told(100, CLOSE, AWAY) == {}
    assert relay.step(101, CLOSE, IS_OPEN).tell is CLOSE


# Opened by others


@pytest.mark.parametrize("want", [CLOSE, HOLD])
def test_opened_by_hand_it_is_not_closed_again(want: Want) -> None:
    relay = Relay()
    relay.step(0, want, IS_CLOSED)
    assert relay.step(1, want, IS_OPEN) == Step(by_hand=True)
    assert not relay.step(2, HOLD, IS_OPEN).by_hand


def test_opened_as_wanted_is_not_by_hand() -> None:
    relay = Relay()
    relay.step(0, CLOSE, IS_CLOSED)
    assert not relay.step(1, OPEN, IS_OPEN).by_hand
    assert relay.step(2, CLOSE, IS_OPEN).tell is CLOSE


def test_what_opened_while_it_was_wanted_open_was_not_opened_by_hand() -> None:
    relay = Relay()
    relay.told(70, OPEN, IS_CLOSED)
    assert not relay.step(71, CLOSE, IS_OPEN).by_hand


def test_opened_because_its_heartbeat_lapsed_it_closes() -> None:
    relay = Relay()
    relay.step(0, CLOSE, IS_CLOSED)
    step = relay.step(200, CLOSE, IS_OPEN, lapsed=True)
    assert (step.by_hand, step.tell) == (False, CLOSE)


def test_back_from_away_and_open_it_closes() -> None:
    relay = Relay()
    relay.step(0, CLOSE, IS_CLOSED)
    relay.step(1, CLOSE, AWAY)
    step = relay.step(10, CLOSE, IS_OPEN)
    assert (step.by_hand, step.tell) == (False, CLOSE)


def test_open_at_the_start_it_closes() -> None:
    step = Relay().step(0, CLOSE, IS_OPEN)
    assert (step.by_hand, step.tell) == (False, CLOSE)


def test_what_opens_late_was_not_opened_by_hand() -> None:
    relay = Relay()
    relay.step(0, CLOSE, IS_CLOSED)
    assert relay.step(1, OPEN, IS_CLOSED).tell is OPEN
    assert relay.step(2, CLOSE, IS_CLOSED).tell is HOLD
    step = relay.step(5.9, CLOSE, IS_OPEN)
    assert (step.by_hand, step.tell) == (False, CLOSE)


def test_what_opens_later_than_that_was_opened_by_hand() -> None:
    relay = Relay()
    relay.step(0, CLOSE, IS_CLOSED)
    relay.step(1, OPEN, IS_CLOSED)
    relay.step(2, CLOSE, IS_CLOSED)
    assert relay.step(6, CLOSE, IS_OPEN).by_hand


# Away and welded


@pytest.mark.parametrize("want", Want)
@pytest.mark.parametrize("grace", [5.0, 30.0, 300.0])
def test_away_is_a_fault_after_the_grace(want: Want, grace: float) -> None:
    relay = Relay()
    relay.told(grace - 1, want, AWAY, grace=grace)
    step = relay.step(grace - 0.1, want, AWAY, grace=grace)
    assert (step.fault, step.at) == (None, T + grace)
    assert relay.step(grace, want, AWAY, grace=grace).fault is RelayFault.AWAY
    assert relay.step(grace + 1, want, AWAY, grace=grace).fault is RelayFault.AWAY
    assert relay.step(grace + 2, HOLD, IS_OPEN).fault is None
    assert relay.step(grace + 3, HOLD, AWAY, grace=grace).fault is None


@pytest.mark.parametrize("want", [OPEN, HOLD])
@pytest.mark.parametrize("current", [2.1, -2.1])
def test_current_through_an_open_relay_is_a_fault(want: Want, current: float) -> None:
    relay = Relay()
    assert relay.step(0, want, IS_OPEN, current=current) == Step(at=T + 10)
    assert relay.step(9.9, want, IS_OPEN, current=current).fault is None
    step = relay.step(10, want, IS_OPEN, current=current)
    assert step == Step(fault=RelayFault.WELDED)


@pytest.mark.parametrize(
    ("report", "current"),
    [(IS_OPEN, 2.0), (IS_OPEN, None), (IS_CLOSED, 9.0), (AWAY, 9.0)],
)
def test_what_interrupts_the_current_begins_the_time_anew(
    report: Report, current: float | None
) -> None:
    relay = Relay()
    relay.step(0, HOLD, IS_OPEN, current=9.0)
    relay.step(9, HOLD, report, current=current)
    assert relay.step(12, HOLD, IS_OPEN, current=9.0).fault is None
    assert relay.step(22, HOLD, IS_OPEN, current=9.0).fault is RelayFault.WELDED


# The next moment


@pytest.mark.parametrize("want", Want)
@pytest.mark.parametrize("report", Report)
@pytest.mark.parametrize("began", [(OPEN, IS_CLOSED), (CLOSE, IS_OPEN), (HOLD, AWAY)])
def test_nothing_happens_before_the_next_moment(
    want: Want, report: Report, began: tuple[Want, Report]
) -> None:
    relay = Relay()
    relay.step(-3, *began)
    step = relay.step(0, want, report, current=9.0)
    for _ in range(30):
        before = min(nextafter(step.at, 0), T + 1e6)
        _, early = follow(relay.memory, want, report, before, current=9.0)
        assert (early.tell, early.fault) == (HOLD, step.fault)
        if step.at == inf:
            break
        step = relay.step(step.at - T, want, report, current=9.0)


# Where 5, 30 or 60 added and the sum's difference are not the same.
@pytest.mark.parametrize("start", [2.3, 3.2, 4.1, 1234.1])
def test_at_its_moment_it_happens(start: float) -> None:
    memory, step = follow(RelayMemory(), CLOSE, IS_OPEN, start)
    memory, step = follow(memory, CLOSE, IS_OPEN, step.at)
    assert step.fault is RelayFault.NOT_CLOSING
    memory, step = follow(memory, CLOSE, IS_OPEN, step.at)
    assert step.tell is CLOSE
    memory, step = follow(RelayMemory(), HOLD, AWAY, start)
    memory, step = follow(memory, HOLD, AWAY, step.at)
    assert step.fault is RelayFault.AWAY


@pytest.mark.parametrize(("want", "report"), [(OPEN, IS_CLOSED), (CLOSE, IS_OPEN)])
def test_what_it_cannot_have_heard_it_is_soon_told_again(
    want: Want, report: Report
) -> None:
    relay = Relay()
    assert relay.step(0, want, report).tell is want
    relay.failed(0.1)
    assert relay.step(0.5, want, report).tell is HOLD
    assert relay.step(0.61, want, report).tell is want
    # What is at fault already is told at the usual pace.
    assert relay.step(5.7, want, report).fault is not None
    relay.failed(5.8)
    assert relay.step(6.4, want, report).tell is HOLD


@pytest.mark.parametrize(("want", "report"), [(OPEN, IS_CLOSED), (CLOSE, IS_OPEN)])
def test_what_it_is_excused_for_is_no_fault_yet(want: Want, report: Report) -> None:
    relay = Relay()
    relay.step(0, want, report)
    for seconds in range(1, 60, 4):
        relay.failed(seconds, excused=True)
        step = relay.step(seconds + 1, want, report)
        assert (step.tell, step.fault) == (want, None)
    assert relay.step(61.9, want, report).fault is None
    assert relay.step(62, want, report).fault is not None


@pytest.mark.parametrize("excused", [True, False])
def test_what_has_nothing_to_do_is_not_told(excused: bool) -> None:
    relay = Relay()
    relay.step(0, OPEN, IS_OPEN)
    relay.failed(1, excused=excused)
    assert relay.step(10, OPEN, IS_OPEN) == Step()
