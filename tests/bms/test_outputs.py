"""Which relays open, stay and close."""

from __future__ import annotations

from math import inf
from typing import Any

import pytest

from custom_components.openxpbms.bms.decision import (
    BOTH,
    Decision,
    Finding,
    Obstacle,
    Severity,
    Value,
    Waits,
    Way,
    is_low,
)
from custom_components.openxpbms.bms.limits import Quantity
from custom_components.openxpbms.bms.outputs import (
    Joined,
    Member,
    Outputs,
    Plan,
    PlanMemory,
    Waiting,
    Want,
    must_disconnect,
    plan,
    stricter,
)
from custom_components.openxpbms.bms.reading import Reading

OPEN, HOLD, CLOSE = Want.OPEN, Want.HOLD, Want.CLOSE
CHARGE, DISCHARGE = frozenset({Way.CHARGE}), frozenset({Way.DISCHARGE})
T = 1000.0


def finding(
    quantity: Quantity, stops: frozenset[Way], severity: Severity = Severity.STOP
) -> Finding:
    """Return what protection found."""
    return Finding(
        quantity=quantity,
        severity=severity,
        value=None,
        limit=None,
        clears=None,
        waits=Waits.VALUE,
        since=0.0,
        stops=stops,
    )


def near(quantity: Quantity, stops: frozenset[Way]) -> Obstacle:
    """Return a value between where its stop clears and where it begins."""
    return Obstacle(quantity, Value(0.0), 0.0, stops)


HIGH = finding(Quantity.CELL_OVER_VOLTAGE, CHARGE)
LOW = finding(Quantity.CELL_UNDER_VOLTAGE, DISCHARGE)
HOT = finding(Quantity.CELL_OVER_TEMPERATURE, BOTH)
COLD = finding(Quantity.CELL_UNDER_TEMPERATURE, CHARGE)
CUT_OFF = finding(Quantity.CELL_OVER_VOLTAGE, BOTH, Severity.CUTOFF)
WARNING = finding(Quantity.CELL_OVER_VOLTAGE, frozenset(), Severity.WARNING)
NEAR_HIGH = near(Quantity.CELL_OVER_VOLTAGE, CHARGE)
NEAR_LOW = near(Quantity.CELL_UNDER_VOLTAGE, DISCHARGE)
NEAR_COLD = near(Quantity.CELL_UNDER_TEMPERATURE, CHARGE)


def decision(
    *found: Finding | Obstacle, fresh: bool = True, recovering: bool = False
) -> Decision:
    """Return what follows from all that was found."""
    findings = tuple(f for f in found if isinstance(f, Finding))
    acting = [f for f in findings if not (recovering and is_low(f))]
    forbidden = frozenset().union(*(f.stops for f in acting))
    if recovering:
        forbidden |= DISCHARGE
    cut_off = any(f.severity is Severity.CUTOFF for f in acting)
    return Decision(
        may_charge=Way.CHARGE not in forbidden,
        may_discharge=Way.DISCHARGE not in forbidden,
        may_connect=not cut_off,
        fresh=fresh,
        cut_off=cut_off,
        recovering=recovering,
        findings=findings,
        obstacles=tuple(o for o in found if isinstance(o, Obstacle)),
        judge_at=inf,
    )


def battery(
    address: int = 1,
    *found: Finding | Obstacle,
    open: bool | None = False,  # noqa: A002
    volts: float = 3.3,
    current: float | None = 0.0,
    fresh: bool = True,
    recovering: bool = False,
    **more: Any,
) -> Member:
    """Return a battery whose connection relay reports closed."""
    reading = Reading(
        cell_voltages=(volts,) * 4, cell_temperatures=(20.0,), current=current
    )
    return Member(
        address=address,
        decision=decision(*found, fresh=fresh, recovering=recovering),
        relay_open=open,
        **{"reading": reading} | more,
    )


ALONE = Outputs(charge="pv", load="house", connections={1: "one"})
PAIR = Outputs(
    joined=Joined.PARALLEL,
    charge="pv",
    load="house",
    connections={1: "one", 2: "two"},
)
THREE = Outputs(joined=Joined.PARALLEL, connections={1: "one", 2: "two", 3: "three"})


def outputs(base: Outputs = ALONE, **changes: Any) -> Outputs:
    """Return outputs that differ a bit."""
    fields = ("joined", "charge", "load", "connections")
    return Outputs(**{name: getattr(base, name) for name in fields} | changes)


def wants(
    given: Outputs,
    *members: Member,
    memory: PlanMemory | None = None,
    now: float = T,
    **more: Any,
) -> dict[str, Want]:
    """Return what the relays should do once connections have had their delay."""
    before = memory or PlanMemory()
    before, _ = plan(given, members, before, now - given.delay, **more)
    return dict(plan(given, members, before, now, **more)[1].wants)


class Bank:
    """A bus that is planned for again and again."""

    def __init__(self, given: Outputs) -> None:
        """Begin with nothing remembered."""
        self.given = given
        self.memory = PlanMemory()

    def plan(self, now: float, *members: Member) -> Plan:
        """Plan for a moment."""
        self.memory, made = plan(self.given, members, self.memory, now)
        return made

    def closing(self, now: float, *members: Member) -> set[str]:
        """Return the open relays that are to close."""
        made = self.plan(now, *members)
        return {
            self.given.connections[member.address]
            for member in members
            if member.relay_open
            and made.wants[self.given.connections[member.address]] is CLOSE
        }


def test_all_is_well() -> None:
    assert wants(ALONE, battery()) == {"pv": CLOSE, "house": CLOSE, "one": CLOSE}
    assert wants(ALONE, battery(1, WARNING)) == dict.fromkeys(ALONE.relays(), CLOSE)


# What must stop


@pytest.mark.parametrize(
    ("found", "charge", "load", "connection"),
    [
        (HIGH, OPEN, CLOSE, HOLD),
        (LOW, CLOSE, OPEN, HOLD),
        (HOT, OPEN, OPEN, HOLD),
        (COLD, OPEN, CLOSE, CLOSE),
        (CUT_OFF, OPEN, OPEN, OPEN),
        (NEAR_HIGH, HOLD, CLOSE, HOLD),
        (NEAR_LOW, CLOSE, HOLD, HOLD),
        (NEAR_COLD, HOLD, CLOSE, CLOSE),
    ],
)
def test_what_must_stop_opens_its_relay(
    found: Finding | Obstacle, charge: Want, load: Want, connection: Want
) -> None:
    got = wants(ALONE, battery(1, found))
    assert got == {"pv": charge, "house": load, "one": connection}


@pytest.mark.parametrize(
    ("charge", "load", "found", "opens"),
    [
        (None, "house", HIGH, True),
        (None, "house", LOW, False),
        (None, "house", HOT, True),
        (None, "house", COLD, False),
        ("pv", None, HIGH, False),
        ("pv", None, LOW, True),
        ("pv", None, HOT, True),
        (None, None, HIGH, True),
        (None, None, LOW, True),
        (None, None, NEAR_HIGH, False),
        (None, None, WARNING, False),
    ],
)
def test_where_a_relay_is_missing_the_connection_opens(
    charge: str | None, load: str | None, found: Finding | Obstacle, opens: bool
) -> None:
    given = outputs(charge=charge, load=load)
    assert (wants(given, battery(1, found))["one"] is OPEN) is opens
    if isinstance(found, Finding):
        assert must_disconnect(given, battery(1, found)) is opens


def test_cold_opens_the_connection_only_with_the_option() -> None:
    given = outputs(charge=None)
    chosen = outputs(charge=None, cold_disconnects=True)
    assert wants(given, battery(1, COLD))["one"] is CLOSE
    assert wants(chosen, battery(1, COLD))["one"] is OPEN
    # With a relay for charging it is not needed.
    assert wants(outputs(cold_disconnects=True), battery(1, COLD))["one"] is CLOSE


def test_what_would_open_in_the_cold_does_not_close_when_it_is_nearly_cold() -> None:
    nearly = battery(1, NEAR_COLD, open=True)
    assert wants(outputs(charge=None), nearly)["one"] is CLOSE
    chosen = outputs(charge=None, cold_disconnects=True)
    assert wants(chosen, nearly)["one"] is HOLD
    assert wants(chosen, battery(1, NEAR_COLD))["one"] is HOLD


@pytest.mark.parametrize("found", [HIGH, LOW, HOT, CUT_OFF])
def test_everything_at_once(found: Finding) -> None:
    got = wants(outputs(at_once=True), battery(1, found))
    assert set(got.values()) == {OPEN}


def test_everything_at_once_is_not_for_the_cold() -> None:
    got = wants(outputs(at_once=True), battery(1, COLD))
    assert got == {"pv": OPEN, "house": CLOSE, "one": CLOSE}


def test_everything_at_once_without_a_connection() -> None:
    got = wants(outputs(at_once=True, connections={}), battery(1, HIGH, open=None))
    assert got == {"pv": OPEN, "house": OPEN}


@pytest.mark.parametrize("more", [{"wanted": False}, {"tested": True}])
def test_who_is_switched_off_or_tested_is_cut_off_from_everything(
    more: dict[str, bool],
) -> None:
    assert set(wants(ALONE, battery(**more)).values()) == {OPEN}
    bare = outputs(connections={})
    assert wants(bare, battery(open=None, **more)) == {"pv": OPEN, "house": OPEN}


def test_one_relay_for_both_ways_and_for_the_connection() -> None:
    both = outputs(load="pv")
    assert wants(both, battery())["pv"] is CLOSE
    assert wants(both, battery(1, HIGH))["pv"] is OPEN
    assert wants(both, battery(1, LOW))["pv"] is OPEN
    assert wants(both, battery(1, NEAR_LOW))["pv"] is HOLD
    all_in_one = outputs(load="pv", connections={1: "pv"})
    assert all_in_one.relays() == ["pv"]
    assert wants(all_in_one, battery()) == {"pv": CLOSE}
    assert wants(all_in_one, battery(1, HIGH)) == {"pv": OPEN}
    assert wants(all_in_one, battery(), charging_wanted=False) == {"pv": OPEN}


def test_without_outputs_nothing_is_wanted() -> None:
    assert wants(Outputs(), battery(1, CUT_OFF, open=None)) == {}


def test_the_strictest_counts() -> None:
    assert stricter() is CLOSE
    assert stricter(CLOSE, CLOSE) is CLOSE
    assert stricter(CLOSE, HOLD) is HOLD
    assert stricter(CLOSE, OPEN, HOLD) is OPEN


# Order and delay


@pytest.mark.parametrize("delay", [0.0, 0.3, 0.5, 10.0])
# From 0.9 on 0.3 and 0.5 s are a bit less than that, to a float.
@pytest.mark.parametrize("since", [T, 0.9, 86400.7])
def test_the_connection_opens_after_charge_and_load(delay: float, since: float) -> None:
    bank = Bank(outputs(delay=delay))
    bank.plan(since - 1, battery())
    made = bank.plan(since, battery(1, CUT_OFF))
    assert list(made.wants) == ["pv", "house", "one"]
    assert made.wants["pv"] is made.wants["house"] is OPEN
    if delay:
        assert made.wants["one"] is HOLD
        assert made.at == since + delay
        assert bank.plan(since + delay * 0.9, battery(1, CUT_OFF)).at == since + delay
        made = bank.plan(made.at, battery(1, CUT_OFF))
    assert made.wants["one"] is OPEN
    assert made.at == inf


def test_without_charge_and_load_there_is_nothing_to_wait_for() -> None:
    bank = Bank(outputs(charge=None, load=None, delay=10.0))
    made = bank.plan(T, battery(1, HIGH))
    assert (made.wants, made.at) == ({"one": OPEN}, inf)


def test_another_reason_to_open_does_not_begin_the_delay_anew() -> None:
    bank = Bank(ALONE)
    bank.plan(T, battery(wanted=False))
    made = bank.plan(T + 0.4, battery(1, CUT_OFF))
    assert made.at == T + 0.5


def test_a_reason_that_went_does_not_shorten_the_next_delay() -> None:
    bank = Bank(ALONE)
    bank.plan(T, battery(wanted=False))
    bank.plan(T + 0.4, battery())
    made = bank.plan(T + 0.6, battery(wanted=False))
    assert made.wants["one"] is HOLD
    assert made.at == T + 1.1


def test_the_last_connection_opens_after_charge_and_load() -> None:
    bank = Bank(PAIR)
    off = [battery(1, wanted=False), battery(2, wanted=False)]
    made = bank.plan(T, off[0], battery(2))
    assert made.wants["pv"] is made.wants["house"] is CLOSE
    made = bank.plan(T + 0.1, *off)
    assert made.wants["pv"] is made.wants["house"] is OPEN
    assert made.wants["one"] is made.wants["two"] is HOLD
    made = bank.plan(T + 0.5, *off)
    assert (made.wants["one"], made.wants["two"]) == (OPEN, HOLD)
    made = bank.plan(T + 0.6, *off)
    assert made.wants["two"] is OPEN


def test_load_opens_before_the_connection_that_opens_for_the_charge_relay() -> None:
    got = plan(outputs(charge=None), [battery(1, HIGH)], PlanMemory(), T)[1].wants
    assert got == {"house": OPEN, "one": HOLD}


# Shared relays


@pytest.mark.parametrize("found", [HIGH, LOW, HOT, NEAR_HIGH, NEAR_LOW, COLD])
def test_shared_relays_follow_the_strictest(found: Finding | Obstacle) -> None:
    strict = wants(ALONE, battery(1, found))
    got = wants(PAIR, battery(1, found), battery(2))
    assert (got["pv"], got["house"]) == (strict["pv"], strict["house"])
    assert wants(PAIR, battery(1), battery(2, found))["pv"] is strict["pv"]


def test_shared_relays_stay_as_they_are_while_one_is_not_fresh() -> None:
    got = wants(PAIR, battery(1), battery(2, fresh=False))
    assert got == {"pv": HOLD, "house": HOLD, "one": CLOSE, "two": HOLD}


def test_both_are_off_where_none_is_connected() -> None:
    opened = [battery(1, open=True), battery(2, open=True)]
    got = wants(PAIR, *opened)
    assert (got["pv"], got["house"]) == (OPEN, OPEN)
    assert wants(PAIR) == {"pv": OPEN, "house": OPEN}


def test_both_stay_where_nobody_knows_whether_any_is_connected() -> None:
    unknown = [battery(1, open=None), battery(2, open=True)]
    assert wants(PAIR, *unknown)["pv"] is HOLD
    assert wants(PAIR, battery(1), battery(2, open=None))["pv"] is CLOSE
    assert wants(PAIR, battery(1), battery(2, HIGH, open=None))["pv"] is OPEN


@pytest.mark.parametrize("current", [0.0, 2.0, -2.0, None])
def test_who_is_isolated_has_no_vote(current: float | None) -> None:
    isolated = battery(2, HOT, fresh=False, open=True, current=current)
    made = plan(PAIR, [battery(1), isolated], PlanMemory(), T)[1]
    assert made.wants["pv"] is made.wants["house"] is CLOSE
    assert made.voting == {1}


@pytest.mark.parametrize("current", [2.1, -2.1])
def test_who_is_isolated_but_carries_current_has_a_vote(current: float) -> None:
    welded = battery(2, HOT, open=True, current=current)
    made = plan(PAIR, [battery(1), welded], PlanMemory(), T)[1]
    assert made.wants["pv"] is made.wants["house"] is OPEN
    assert made.voting == {1, 2}


def test_what_a_faulty_relay_reports_does_not_isolate() -> None:
    faulty = battery(2, finding(Quantity.RELAY_FAULT, BOTH), open=True)
    made = plan(PAIR, [battery(1), faulty], PlanMemory(), T)[1]
    assert made.wants["pv"] is made.wants["house"] is OPEN
    assert made.voting == {1, 2}


def test_an_open_relay_without_any_reading_isolates() -> None:
    isolated = battery(2, open=True, fresh=False, reading=None)
    assert wants(PAIR, battery(1), isolated)["pv"] is CLOSE


def test_who_was_just_told_to_close_has_a_vote_but_is_not_connected_yet() -> None:
    bank = Bank(PAIR)
    off = battery(2, wanted=False, open=True)
    assert bank.closing(T, battery(1, open=True), off) == {"one"}
    made = bank.plan(T + 1, battery(1, open=True), off)
    assert made.wants["pv"] is OPEN
    assert made.voting == {1}
    # Its relay may be closed although it does not say so yet.
    bank = Bank(PAIR)
    assert bank.closing(T, battery(1), battery(2, open=True)) == {"two"}
    made = bank.plan(T + 1, battery(1), battery(2, HIGH, open=True))
    assert made.wants["pv"] is OPEN
    # After a minute it did not close.
    made = bank.plan(T + 60, battery(1), battery(2, HIGH, open=True))
    assert made.wants["pv"] is CLOSE


def test_who_closes_has_a_vote_from_that_moment_on() -> None:
    # It is let in to be charged: from now on nobody may discharge.
    low = battery(2, LOW, recovering=True, open=True)
    made = Bank(PAIR).plan(T, battery(1), low)
    assert made.wants == {"pv": CLOSE, "house": OPEN, "one": CLOSE, "two": CLOSE}


def test_who_must_open_before_it_was_seen_closed_has_a_vote() -> None:
    bank = Bank(PAIR)
    bank.plan(T, battery(1), battery(2, open=True))
    for seconds in (1, 2, 59):
        made = bank.plan(T + seconds, battery(1), battery(2, CUT_OFF, open=True))
        assert made.wants["pv"] is OPEN
    made = bank.plan(T + 60, battery(1), battery(2, CUT_OFF, open=True))
    assert made.wants["pv"] is CLOSE


def test_who_was_cut_off_soon_after_it_closed_has_no_vote() -> None:
    bank = Bank(PAIR)
    bank.plan(T, battery(1), battery(2, open=True))
    bank.plan(T + 1, battery(1), battery(2))
    bank.plan(T + 2, battery(1), battery(2, CUT_OFF))
    made = bank.plan(T + 3, battery(1), battery(2, CUT_OFF, open=True))
    assert made.wants["pv"] is CLOSE


def test_what_is_tested_stays_open_until_the_test_is_over() -> None:
    tested = battery(2, open=True, tested=True)
    assert wants(PAIR, battery(1), tested)["pv"] is OPEN


def test_storage_opens_the_charge_relay() -> None:
    got = wants(ALONE, battery(), charging_wanted=False)
    assert got == {"pv": OPEN, "house": CLOSE, "one": CLOSE}


# Strings

STRINGS = Outputs(
    joined=Joined.STRINGS,
    charge="pv",
    load="house",
    connections={1: "one", 2: "two", 3: "three", 4: "four"},
    strings={1: 1, 2: 1, 3: 2, 4: 2},
)


def test_in_series_the_stop_of_one_is_the_stop_of_the_string() -> None:
    given = Outputs(joined=Joined.SERIES, connections={1: "one", 3: "three"})
    got = wants(given, battery(1), battery(2, HIGH, open=None), battery(3))
    assert got == {"one": OPEN, "three": OPEN}
    got = wants(given, battery(1), battery(2, open=None, fresh=False), battery(3))
    assert got == {"one": HOLD, "three": HOLD}


def test_in_series_nothing_is_connected_as_soon_as_one_relay_opens() -> None:
    given = outputs(joined=Joined.SERIES, connections={1: "one", 2: "two"})
    made = plan(given, [battery(1), battery(2, wanted=False)], PlanMemory(), T)[1]
    assert made.wants == {"pv": OPEN, "house": OPEN, "one": HOLD, "two": HOLD}
    assert wants(given, battery(1), battery(2, open=True))["pv"] is OPEN


def test_strings_stop_apart_from_each_other() -> None:
    members = [battery(n) for n in (1, 2, 3)]
    got = wants(STRINGS, *members, battery(4, CUT_OFF))
    assert got == {
        "pv": OPEN,
        "house": OPEN,
        "one": CLOSE,
        "two": CLOSE,
        "three": OPEN,
        "four": OPEN,
    }
    # One of its relays is open: the string is isolated.
    members = [battery(n) for n in (1, 2, 3)]
    got = wants(STRINGS, *members, battery(4, CUT_OFF, open=True))
    assert got["pv"] is CLOSE


def test_a_battery_in_no_string_is_one() -> None:
    given = Outputs(
        joined=Joined.STRINGS, connections={1: "one", 2: "two"}, strings={1: 1}
    )
    got = wants(given, battery(1, HIGH), battery(2))
    assert got == {"one": OPEN, "two": CLOSE}


def test_the_relay_of_a_battery_may_be_one_of_its_string() -> None:
    given = Outputs(joined=Joined.SERIES, connections={2: "two", 3: "three"})
    assert [given.relay_of(n) for n in (1, 2, 3)] == ["two", "two", "three"]
    assert outputs(joined=Joined.PARALLEL).relay_of(2) is None


def test_relays_of_a_string_close_one_after_the_other() -> None:
    given = Outputs(joined=Joined.SERIES, connections={1: "one", 2: "two"})
    bank = Bank(given)
    assert bank.closing(T, battery(1, open=True), battery(2, open=True)) == {"one"}
    assert bank.closing(T + 5, battery(1), battery(2, open=True)) == {"two"}


def test_one_relay_for_several_batteries() -> None:
    given = Outputs(joined=Joined.PARALLEL, connections={1: "both", 2: "both"})
    assert given.relays() == ["both"]
    assert wants(given, battery(1), battery(2)) == {"both": CLOSE}
    assert wants(given, battery(1), battery(2, HIGH)) == {"both": OPEN}
    opened = [battery(1, open=True, volts=3.2), battery(2, open=True, volts=3.4)]
    # They are joined already.
    assert wants(given, *opened) == {"both": CLOSE}
    stale = battery(2, open=True, fresh=False)
    assert wants(given, battery(1, open=True), stale) == {"both": HOLD}


def test_a_string_without_relays_leaves_the_others_theirs() -> None:
    given = Outputs(joined=Joined.PARALLEL, connections={2: "two"})
    assert wants(given, battery(1, CUT_OFF, open=None), battery(2)) == {"two": CLOSE}


# Closing


@pytest.mark.parametrize("is_open", [True, False, None])
@pytest.mark.parametrize(
    ("found", "more"),
    [
        ((), {"fresh": False}),
        ((HIGH,), {}),
        ((NEAR_HIGH,), {}),
        ((NEAR_LOW,), {}),
        ((LOW,), {}),
    ],
)
def test_nothing_closes_without_a_fresh_reading_inside_all_limits(
    found: tuple[Finding | Obstacle, ...], more: dict[str, Any], is_open: bool | None
) -> None:
    got = wants(ALONE, battery(1, *found, open=is_open, **more))
    assert got["one"] is HOLD


def test_a_relay_that_is_away_is_not_told_to_close() -> None:
    bank = Bank(ALONE)
    assert bank.plan(T, battery(open=None)).wants["one"] is HOLD
    assert bank.closing(T + 1, battery(open=True)) == {"one"}


def test_recovery_from_under_voltage() -> None:
    low = battery(1, LOW, open=True, recovering=True)
    assert wants(ALONE, low)["one"] is CLOSE
    low = battery(1, LOW, recovering=True)
    assert wants(ALONE, low) == {"pv": CLOSE, "house": OPEN, "one": CLOSE}
    assert wants(outputs(load=None), low)["one"] is CLOSE
    # It is for nothing but low cells.
    for other in (HOT, NEAR_HIGH):
        found = battery(1, LOW, other, open=True, recovering=True)
        assert wants(ALONE, found)["one"] is HOLD
    nearly = battery(1, NEAR_LOW, open=True, recovering=True)
    assert wants(ALONE, nearly)["one"] is CLOSE


def test_when_recovery_is_over_the_connection_opens_where_there_is_no_load_relay() -> (
    None
):
    assert wants(outputs(load=None), battery(1, LOW))["one"] is OPEN


# Joining


def test_who_is_near_the_others_joins_them() -> None:
    others = [battery(1, volts=3.30), battery(2, volts=3.34)]
    for volts, apart in ((3.295, None), (3.345, None), (3.346, 0.026), (3.294, 0.026)):
        bank = Bank(THREE)
        made = bank.plan(T, *others, battery(3, volts=volts, open=True))
        if apart is None:
            assert made.wants["three"] is CLOSE
        else:
            assert made.wants["three"] is HOLD
            assert made.waiting == (Waiting("three", pytest.approx(apart)),)


def test_the_window_can_be_set() -> None:
    given = outputs(THREE, window=0.1)
    assert wants(given, battery(1), battery(3, volts=3.4, open=True))["three"] is CLOSE


def test_nobody_joins_others_that_are_not_known() -> None:
    joining = battery(2, open=True)
    for other in (
        battery(1, fresh=False),
        battery(1, reading=None),
        battery(1, reading=Reading(current=0.0)),
        battery(1, fresh=False, open=None),
    ):
        made = Bank(THREE).plan(T, other, joining)
        assert made.wants["two"] is HOLD
        assert made.waiting == (Waiting("two", unknown=True),)
    # Its relay says open, and what flowed before says nothing about now.
    for current in (0.0, 5.0):
        isolated = battery(1, fresh=False, open=True, current=current)
        assert Bank(THREE).closing(T, isolated, joining) == {"two"}


def test_in_a_string_all_voltages_must_be_known() -> None:
    members = [battery(1), battery(2, reading=None)]
    made = Bank(STRINGS).plan(T, *members, *(battery(n, open=True) for n in (3, 4)))
    assert {waiting.relay for waiting in made.waiting} == {"three", "four"}
    assert all(waiting.unknown for waiting in made.waiting)


def test_who_is_not_known_itself_does_not_join() -> None:
    made = Bank(THREE).plan(T, battery(1, open=True, reading=None))
    assert made.wants == {"one": HOLD}
    assert made.waiting == (Waiting("one", unknown=True),)


@pytest.mark.parametrize(
    "other",
    [battery(1, volts=3.2, open=None), battery(1, volts=3.2, open=True, current=9.0)],
    ids=["away", "welded"],
)
def test_who_may_be_connected_counts_as_connected(other: Member) -> None:
    joining = [battery(2, volts=3.4, open=True), battery(3, volts=3.4, open=True)]
    made = Bank(THREE).plan(T, other, *joining)
    assert made.wants["two"] is made.wants["three"] is HOLD
    apart = {waiting.relay: waiting.apart for waiting in made.waiting}
    assert apart["two"] == apart["three"] == pytest.approx(0.2)


def test_the_larger_group_closes_and_the_others_wait() -> None:
    low, high = battery(1, volts=3.2, open=True), {"volts": 3.4, "open": True}
    bank = Bank(THREE)
    made = bank.plan(T, low, battery(2, **high), battery(3, **high))
    assert made.wants == {"one": HOLD, "two": CLOSE, "three": HOLD}
    assert made.waiting == (
        Waiting("one", pytest.approx(0.2)),
        Waiting("three"),
    )
    now = [low, battery(2, volts=3.4), battery(3, **high)]
    assert bank.closing(T + 5, *now) == {"three"}
    now = [low, battery(2, volts=3.4), battery(3, volts=3.4)]
    assert bank.closing(T + 600, *now) == set()


def test_of_equal_groups_the_lower_one_closes() -> None:
    members = [battery(1, volts=3.4, open=True), battery(2, volts=3.2, open=True)]
    assert Bank(THREE).closing(T, *members) == {"two"}


def test_a_group_lies_inside_the_window_whoever_closes_first() -> None:
    volts = {1: 3.300, 2: 3.320, 3: 3.340}
    for late in (False, True):
        bank, closed = Bank(THREE), set[str]()
        for step in range(60):
            members = [
                battery(
                    n,
                    volts=v,
                    open=late or THREE.connections[n] not in closed,
                )
                for n, v in volts.items()
            ]
            closed |= bank.closing(T + step, *members)
        # The third is 30 mV from the mean of the first two.
        assert closed == {"one", "two"}


def test_no_group_is_wider_than_the_window() -> None:
    members = [
        battery(n, volts=volts, open=True)
        for n, volts in ((1, 3.300), (2, 3.340), (3, 3.360))
    ]
    assert Bank(THREE).closing(T, *members) == {"two"}


def test_a_group_is_counted_in_batteries() -> None:
    given = Outputs(
        joined=Joined.PARALLEL, connections={1: "one", 2: "both", 3: "both"}
    )
    members = [
        battery(1, volts=3.2, open=True),
        *(battery(n, volts=3.4, open=True) for n in (2, 3)),
    ]
    assert Bank(given).closing(T, *members) == {"both"}


def test_a_string_of_two_relays_is_not_larger_than_one_of_one() -> None:
    given = Outputs(
        joined=Joined.STRINGS,
        connections={1: "one", 3: "three", 4: "four"},
        strings={1: 1, 2: 1, 3: 2, 4: 2},
    )
    members = [
        battery(1, volts=3.2, open=True),
        battery(2, volts=3.2, open=None),
        *(battery(n, volts=3.4, open=True) for n in (3, 4)),
    ]
    bank = Bank(given)
    made = bank.plan(T, *members)
    assert made.wants == {"one": CLOSE, "three": HOLD, "four": HOLD}


def test_who_was_told_to_close_counts_although_its_relay_is_slow() -> None:
    bank = Bank(THREE)
    low = battery(1, volts=3.2, open=True)
    high = [battery(2, volts=3.4, open=True), battery(3, volts=3.4, open=True)]
    silent = battery(3, volts=3.4, open=True, fresh=False)
    assert bank.closing(T, low, high[0], silent) == {"one"}
    # Now the others are more, but the first may be closed by now.
    for seconds in (5, 30, 59):
        assert bank.closing(T + seconds, low, *high) == {"one"}
        made = bank.plan(T + seconds, low, *high)
        assert [w.apart for w in made.waiting] == [pytest.approx(0.2)] * 2
    assert bank.closing(T + 60, low, *high) == {"two"}


def test_closes_are_five_seconds_apart() -> None:
    bank = Bank(THREE)
    opened = dict.fromkeys((1, 2, 3), True)
    times: dict[str, float] = {}
    for tenth in range(200):
        members = [battery(n, open=is_open) for n, is_open in opened.items()]
        for relay in bank.closing(T + tenth / 10, *members):
            times.setdefault(relay, tenth / 10)
            opened[{"one": 1, "two": 2, "three": 3}[relay]] = False
    assert times == {"one": 0.0, "two": 5.0, "three": 10.0}


def test_one_relay_closes_at_most_once_a_minute() -> None:
    bank = Bank(ALONE)
    assert bank.closing(T, battery(open=True)) == {"one"}
    bank.plan(T + 1, battery())
    for seconds in (2, 30, 59.9):
        made = bank.plan(T + seconds, battery(open=True))
        assert made.wants["one"] is HOLD
        assert made.waiting == (Waiting("one"),)
        assert made.at <= T + 60
    assert bank.closing(T + 60, battery(open=True)) == {"one"}


def test_a_close_is_wanted_until_it_is_seen() -> None:
    bank = Bank(ALONE)
    for seconds in range(0, 180, 7):
        made = bank.plan(T + seconds, battery(open=True))
        assert made.wants["one"] is CLOSE
        assert not made.waiting


@pytest.mark.parametrize(
    "between",
    [battery(wanted=False), battery(fresh=False, open=True), battery(open=None)],
    ids=["switched off", "not fresh", "away"],
)
def test_a_close_that_was_given_up_waits_for_its_minute(between: Member) -> None:
    bank = Bank(ALONE)
    bank.plan(T, battery(open=True))
    bank.plan(T + 1, between)
    assert bank.closing(T + 2, battery(open=True)) == set()
    assert bank.closing(T + 60, battery(open=True)) == {"one"}


def test_opening_does_not_wait_for_its_turn() -> None:
    bank = Bank(THREE)
    bank.plan(T, battery(1, open=True), battery(2), battery(3))
    cut = [battery(1, CUT_OFF), battery(2, CUT_OFF), battery(3, CUT_OFF)]
    assert set(bank.plan(T + 0.01, *cut).wants.values()) == {OPEN}


# The next moment


def test_a_plan_tells_when_to_make_the_next() -> None:
    bank = Bank(THREE)
    opened = [battery(n, open=True) for n in (1, 2, 3)]
    assert bank.plan(T, *opened).at == T + 5
    now = [battery(1), *opened[1:]]
    assert bank.plan(T + 1, *now).at == T + 5
    assert bank.closing(T + 5, *now) == {"two"}
    now = [battery(1), battery(2), opened[2]]
    assert bank.plan(T + 6, *now).at == T + 10
    assert bank.closing(T + 10, *now) == {"three"}
    now = [battery(n) for n in (1, 2, 3)]
    assert bank.plan(T + 70, *now).at == inf


@pytest.mark.parametrize("since", [T, 3.2, 3.7])
def test_at_its_moment_the_next_closes(since: float) -> None:
    bank = Bank(PAIR)
    at = bank.plan(since, battery(1, open=True), battery(2, open=True)).at
    assert bank.closing(at, battery(1), battery(2, open=True)) == {"two"}


@pytest.mark.parametrize("since", [T, 4.1, 5.1])
def test_at_its_moment_a_turn_has_come(since: float) -> None:
    bank = Bank(ALONE)
    bank.plan(since, battery(open=True))
    bank.plan(since + 1, battery())
    at = bank.plan(since + 10, battery(open=True)).at
    assert bank.closing(at, battery(open=True)) == {"one"}


# What is cut


@pytest.mark.parametrize(
    ("given", "found", "now", "cut"),
    [
        (ALONE, HIGH, T, CHARGE),
        (ALONE, LOW, T, DISCHARGE),
        (ALONE, CUT_OFF, T, BOTH),
        (ALONE, WARNING, T, frozenset()),
        (outputs(charge=None, load=None), HIGH, T, CHARGE),
        (outputs(charge=None, load=None), COLD, T, frozenset()),
        (outputs(charge=None), HIGH, T, frozenset()),
        (outputs(charge=None), HIGH, T + 0.5, CHARGE),
    ],
)
def test_what_is_cut_because_of_a_stop(
    given: Outputs, found: Finding, now: float, cut: frozenset[Way]
) -> None:
    bank = Bank(given)
    bank.plan(T, battery(1, found))
    assert bank.plan(now, battery(1, found)).cut == {1: cut}


def test_what_a_person_switched_off_is_not_cut() -> None:
    bank = Bank(ALONE)
    bank.plan(T, battery(wanted=False))
    made = bank.plan(T + 1, battery(wanted=False))
    assert made.wants["one"] is OPEN
    assert made.cut == {1: frozenset()}


def test_in_recovery_nothing_is_cut() -> None:
    made = Bank(ALONE).plan(T, battery(1, LOW, recovering=True))
    assert made.wants["house"] is OPEN
    assert made.cut == {1: frozenset()}


def test_only_who_is_stopped_is_cut() -> None:
    given = outputs(joined=Joined.SERIES, connections={1: "one", 2: "two"})
    made = Bank(given).plan(T, battery(1), battery(2, HIGH))
    assert made.cut == {1: frozenset(), 2: CHARGE}
