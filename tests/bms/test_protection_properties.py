"""What protection decides is the same as by bare rules, whatever happens."""

from __future__ import annotations

from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    rule,
    run_state_machine_as_test,
)
import pytest

from custom_components.openxpbms.bms.decision import Way
from custom_components.openxpbms.bms.protection import Relays

from .walk import (
    AMPERES,
    BOARD,
    CELSIUS,
    PARTS,
    VOLTS,
    Battery,
    Values,
    part_of,
    walk,
)

LIES: list[dict[str, Any]] = [
    {"voltage": 20.0},
    {"voltage": None, "highest_cell_reported": None, "lowest_cell_reported": None},
    {"lowest_cell_reported": 1.5},
    {"current": None},
    {"alarms": None, "pcb_temperature": None},
]
SECONDS = st.sampled_from([0.3, 2.0, 4.9, 5.0, 10.0, 15.0, 20.0, 61.0, 1800.0, 90000.0])


class Guarded(RuleBasedStateMachine):
    """A battery, and all that may happen to it; `Battery` checks each judgement."""

    @initialize(
        began=st.floats(0.0, 1e6),
        family=st.sampled_from(["valence", "seplos"]),
        latch_all=st.booleans(),
        signed=st.booleans(),
    )
    def begin(
        self, began: float, family: str, *, latch_all: bool, signed: bool
    ) -> None:
        """Begin with a battery that nobody has heard yet."""
        self.battery = Battery(began, family, latch_all=latch_all, signed=signed)
        self.values = Values()
        self.now = began

    def hear(self, **lies: Any) -> None:
        """Read all of it."""
        reading = self.values.reading(self.battery.alarm, **lies)
        self.battery.judge(reading, self.now)

    @rule(cell=st.integers(0, 3), volts=st.sampled_from(VOLTS))
    def charge_or_discharge(self, cell: int, volts: float) -> None:
        """Give a cell another voltage."""
        self.values.cells[cell] = volts
        self.hear()

    @rule(celsius=st.sampled_from(CELSIUS), board=st.sampled_from(BOARD))
    def heat_or_cool(self, celsius: float, board: float) -> None:
        """Give it other temperatures."""
        self.values.celsius, self.values.board = celsius, board
        self.hear()

    @rule(amperes=st.sampled_from(AMPERES), alarm=st.booleans())
    def flow(self, amperes: float, *, alarm: bool) -> None:
        """Let another current flow, and let the battery complain."""
        self.values.current, self.values.alarm = amperes, alarm
        self.hear()

    @rule(lies=st.sampled_from(LIES), times=st.integers(1, 3))
    def contradict(self, lies: dict[str, Any], times: int) -> None:
        """Tell what cannot be, or too little."""
        for _ in range(times):
            self.wait(1.0)
            self.hear(**lies)

    @rule(volts=st.sampled_from(VOLTS), names=st.sampled_from(PARTS))
    def tell_a_part(self, volts: float, names: tuple[str, ...]) -> None:
        """Tell of a part only."""
        self.values.cells[2] = volts
        whole = self.values.reading(self.battery.alarm)
        self.battery.judge(part_of(whole, names), self.now, part=True)

    @rule(seconds=SECONDS)
    def wait(self, seconds: float) -> None:
        """Hear nothing for a while, but judge whenever that was asked for."""
        until = self.now + seconds
        while self.battery.decision.judge_at < until:
            self.battery.check_early()
            self.now = self.battery.decision.judge_at
            self.battery.judge(None, self.now)
        self.now = until
        self.battery.judge(None, self.now)

    @rule(seconds=st.sampled_from([2, 10, 58, 60, 62]))
    def stay(self, seconds: int) -> None:
        """Hear the same every other second."""
        for _ in range(0, seconds, 2):
            self.wait(2.0)
            self.hear()

    @rule(seconds=st.sampled_from([2, 58, 60, 62]))
    def be_well(self, seconds: int) -> None:
        """Let nothing be wrong for a while."""
        self.values = Values()
        self.stay(seconds)

    @rule(volts=st.sampled_from([2.9, 2.7, 2.55, 2.4, 2.03]))
    def be_low_and_recover(self, volts: float) -> None:
        """Let a person switch it on again that is only too low."""
        self.values = Values([volts] * 4)
        self.stay(10)
        self.look_after()

    @rule()
    def look_after(self) -> None:
        """A person acknowledges what can be, and lets it recover."""
        self.battery.person()

    @rule(
        cut=st.frozensets(st.sampled_from(Way)),
        fault=st.sampled_from([None, None, "not_opening"]),
    )
    def use_relays(self, cut: frozenset[Way], fault: str | None) -> None:
        """Cut directions, and let a relay fail."""
        self.battery.relays = Relays(cut, fault)
        self.battery.judge(None, self.now)


def test_whatever_happens_it_is_judged_by_the_rules() -> None:
    run_state_machine_as_test(
        Guarded,
        settings=settings(
            max_examples=100, stateful_step_count=30, derandomize=True, deadline=None
        ),
    )


@pytest.mark.parametrize("seed", [1, 2])
def test_a_random_walk_breaks_no_rule(seed: int) -> None:
    counts = walk(10_000, seed)
    assert counts["steps"] >= 10_000
    for what in ("stops", "cut-offs", "latches", "persons", "closes", "shared closes"):
        assert counts[what] > 10, counts
