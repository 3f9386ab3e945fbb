"""What holds for relays whatever batteries, people and relays do.

Batteries are judged, relays are planned for and followed as they would be, and the
moments that each asks for are kept. What happens to the relays themselves is played
here, and the properties are checked against that and against bare values.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import inf

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    precondition,
    rule,
    run_state_machine_as_test,
)

from custom_components.openxpbms.bms.decision import Decision
from custom_components.openxpbms.bms.limits import SEPLOS
from custom_components.openxpbms.bms.outputs import (
    Joined,
    Member,
    Outputs,
    Plan,
    PlanMemory,
    Want,
    plan,
)
from custom_components.openxpbms.bms.protection import (
    Memory,
    acknowledge,
    judge,
    recover,
)
from custom_components.openxpbms.bms.reading import Reading
from custom_components.openxpbms.bms.relay import RelayMemory, Report, follow

OPEN, HOLD, CLOSE = Want.OPEN, Want.HOLD, Want.CLOSE

# Around the limits and clearing limits of the preset, and around the window.
VOLTS = [3.3, 3.3, 3.3, 3.32, 3.34, 3.36, 3.49, 3.51, 3.71, 3.81, 2.91, 2.8, 2.55, 2.4]
WELL = [
    (3.3, 3.3, 3.3, 3.3),
    (3.3, 3.32, 3.34, 3.36),
    (3.2, 3.4, 3.4, 3.2),
    (3.2, 3.4, 3.42, 3.41),
]
CELSIUS = [20.0, 20.0, 20.0, 1.0, -1.0, 56.0, 63.0]
SECONDS = st.sampled_from([0.2, 0.7, 2.0, 2.0, 6.0, 16.0, 70.0, 200.0])
HIGH_CLEAR, HIGH_CUT = 3.5, 3.8
LOW_CLEAR, LOW_CUT = 2.9, 2.5
HOT_CLEAR, COLD_CLEAR = 55.0, 3.0
FRESH, WINDOW, MINUTE, TURN = 15.0, 0.025 + 1e-6, 60.0, 5.0


@dataclass
class Pack:
    """A battery, and what is known of it."""

    address: int
    volts: float = 3.3
    celsius: float = 20.0
    silent: bool = False
    wanted: bool = True
    tested: bool = False
    heard: float = -inf
    reading: Reading | None = None
    memory: Memory = field(default_factory=lambda: Memory(began=0.0))
    decision: Decision | None = None
    off_since: float | None = None

    def judge(self, now: float, *, hear: bool = True) -> None:
        """Let protection look at it."""
        reading = None
        if hear and not self.silent:
            reading = self.reading = Reading(
                cell_voltages=(self.volts,) * 4,
                cell_temperatures=(self.celsius,),
                current=0.0,
            )
            self.heard = now
        self.memory, self.decision = judge(self.memory, SEPLOS, reading, now)

    @property
    def known(self) -> tuple[float, float]:
        """V a cell and °C as last read."""
        assert self.reading is not None
        assert self.reading.cell_voltages is not None
        assert self.reading.cell_temperatures is not None
        celsius = self.reading.cell_temperatures[0]
        assert celsius is not None
        return self.reading.cell_voltages[0], celsius


@dataclass
class Contact:
    """A relay: it follows late, and reports that later still."""

    closed: bool = False
    shown: bool = False
    away: bool = False
    slow: float = 0.0
    events: list[tuple[float, str, bool]] = field(default_factory=list)
    memory: RelayMemory = field(default_factory=RelayMemory)
    at: float = inf
    told_closed: list[float] = field(default_factory=list)

    @property
    def report(self) -> Report:
        """What it says of itself."""
        if self.away:
            return Report.AWAY
        return Report.CLOSED if self.shown else Report.OPEN

    def tell(self, now: float, *, closed: bool) -> None:
        """Take a command, unless it is away."""
        if not self.away:
            self.events.append((now + self.slow, "moves", closed))
            self.events.append((now + 2 * self.slow, "shows", closed))

    def run(self, now: float) -> None:
        """Let happen what is due."""
        due = sorted((e for e in self.events if e[0] <= now), key=lambda e: e[0])
        self.events = [e for e in self.events if e[0] > now]
        for _, what, closed in due:
            if what == "moves":
                self.closed = closed
            else:
                self.shown = closed

    @property
    def may_be_closed(self) -> bool:
        """Whether it is closed, or about to be."""
        return self.closed or any(what and closed for _, what, closed in self.events)


class Bus(RuleBasedStateMachine):
    """Batteries with relays, and all that may happen to them."""

    packs: dict[int, Pack]
    contacts: dict[str, Contact]
    outputs: Outputs

    @initialize(
        number=st.integers(1, 4),
        joined=st.sampled_from(Joined),
        charge=st.booleans(),
        load=st.booleans(),
        relays=st.lists(st.sampled_from(["own", "own", "own", "same", ""]), min_size=4),
        closed=st.sampled_from([False, False, True]),
        at_once=st.booleans(),
        cold=st.booleans(),
        delay=st.sampled_from([0.0, 0.3, 0.5, 10.0]),
    )
    def begin(
        self,
        number: int,
        joined: Joined,
        charge: bool,
        load: bool,
        relays: list[str],
        closed: bool,
        at_once: bool,
        cold: bool,
        delay: float,
    ) -> None:
        """Begin with batteries that nobody has heard yet."""
        self.now = 100.3
        self.packs = {n: Pack(n) for n in range(1, number + 1)}
        for pack in self.packs.values():
            pack.memory = Memory(began=self.now)
        self.outputs = Outputs(
            joined=joined,
            charge="pv" if charge else None,
            load="house" if load else None,
            connections={
                n: {"own": f"own {n}", "same": "same"}[kind]
                for n, kind in zip(self.packs, relays, strict=False)
                if kind
            },
            strings={n: n % 2 for n in self.packs},
            at_once=at_once,
            cold_disconnects=cold,
            delay=delay,
        )
        self.contacts = {
            name: Contact(closed=closed, shown=closed) for name in self.outputs.relays()
        }
        self.charging_wanted = True
        self.memory, self.plan = PlanMemory(), Plan({})
        self.look()

    # What may happen

    @rule(seconds=SECONDS)
    def wait(self, seconds: float) -> None:
        """Let time pass: everybody is read every other second."""
        end = self.now + seconds
        read = self.now
        while self.now < end:
            moments = [self.plan.at, end, read + 2.0]
            moments += [p.decision.judge_at for p in self.packs.values() if p.decision]
            for contact in self.contacts.values():
                moments += [contact.at, *(at for at, _, _ in contact.events)]
            self.now = min(at for at in moments if at > self.now)
            if self.now >= read + 2.0:
                read = self.now
            self.look(hear=read == self.now)

    def pack(self, number: int) -> Pack:
        """Return one of the batteries."""
        return self.packs[number % len(self.packs) + 1]

    @rule(number=st.integers(0, 3), volts=st.sampled_from(VOLTS))
    def charge_or_discharge(self, number: int, volts: float) -> None:
        """Give a battery another voltage."""
        self.pack(number).volts = volts
        self.look(hear=True)

    @rule(number=st.integers(0, 3), celsius=st.sampled_from(CELSIUS))
    def heat_or_cool(self, number: int, celsius: float) -> None:
        """Give a battery another temperature."""
        self.pack(number).celsius = celsius
        self.look(hear=True)

    @rule(volts=st.sampled_from(WELL), seconds=SECONDS)
    def get_well(self, volts: tuple[float, ...], seconds: float) -> None:
        """Nothing is wrong any more for some time, but batteries may be apart."""
        for pack, its in zip(self.packs.values(), volts, strict=False):
            pack.volts, pack.celsius = its, 20.0
            pack.silent = pack.tested = False
        for contact in self.contacts.values():
            contact.away = False
            contact.shown = contact.closed
        self.look(hear=True)
        self.switch_all_on()
        self.wait(seconds)

    @rule(number=st.integers(0, 3))
    def fall_silent_or_speak(self, number: int) -> None:
        """Let a battery be silent, or no more."""
        pack = self.pack(number)
        pack.silent = not pack.silent

    @rule(number=st.integers(0, 3))
    def switch_off(self, number: int) -> None:
        """A person disconnects a battery."""
        self.pack(number).wanted = False
        self.look()

    def switch_off_all_of(self, name: str) -> None:
        """Disconnect all batteries of a connection relay."""
        for address, its in self.outputs.connections.items():
            if its == name:
                self.packs[address].wanted = False

    @rule()
    def switch_all_on(self) -> None:
        """A person connects all batteries, as far as that is possible."""
        for pack in self.packs.values():
            pack.memory = acknowledge(pack.memory, self.now)
            if pack.decision and pack.decision.only_low:
                pack.memory = recover(pack.memory, self.now)
            pack.wanted = True
        self.look()

    @rule(number=st.integers(0, 3))
    def begin_or_end_a_test(self, number: int) -> None:
        """Somebody tests the outputs of a battery."""
        pack = self.pack(number)
        pack.tested = not pack.tested
        self.look()

    @rule()
    def want_charging_or_not(self) -> None:
        """Storage begins or ends to charge."""
        self.charging_wanted = not self.charging_wanted
        self.look()

    @precondition(lambda self: self.contacts)
    @rule(
        number=st.integers(0, 5),
        slow=st.sampled_from([0.0, 0.2, 1.0, 4.0]),
        away=st.booleans(),
    )
    def disturb_a_relay(self, number: int, slow: float, away: bool) -> None:
        """Make a relay slow, let it go away, or let it come back."""
        contact = list(self.contacts.values())[number % len(self.contacts)]
        if contact.events:
            return
        contact.slow, contact.away = slow, away
        contact.shown = contact.closed
        self.look()

    # What is done about it

    def look(self, *, hear: bool = False) -> None:
        """Judge, plan and follow, and check all that must hold."""
        for contact in self.contacts.values():
            contact.run(self.now)
        for pack in self.packs.values():
            pack.judge(self.now, hear=hear)
            off = not pack.wanted or pack.tested or self.beyond_cut_off(pack)
            pack.off_since = (pack.off_since or self.now) if off else None
        members = [self.member(pack) for pack in self.packs.values()]
        self.memory, self.plan = plan(
            self.outputs,
            members,
            self.memory,
            self.now,
            charging_wanted=self.charging_wanted,
        )
        self.check_plan()
        self.check_next_moment(members)
        for name, want in self.plan.wants.items():
            contact = self.contacts[name]
            contact.memory, step = follow(
                contact.memory, want, contact.report, self.now
            )
            contact.at = step.at
            if step.by_hand:
                # So late that somebody else may have done it.
                self.switch_off_all_of(name)
            if step.tell is CLOSE:
                self.check_close(name)
                contact.told_closed.append(self.now)
            assert step.tell in (want, HOLD)
            if step.tell is not HOLD:
                contact.tell(self.now, closed=step.tell is CLOSE)
            contact.run(self.now)

    def member(self, pack: Pack) -> Member:
        """Return a battery as the outputs see it."""
        assert pack.decision is not None
        name = self.outputs.connections.get(pack.address)
        report = self.contacts[name].report if name is not None else None
        return Member(
            address=pack.address,
            decision=pack.decision,
            wanted=pack.wanted,
            tested=pack.tested,
            reading=pack.reading,
            relay_open={Report.OPEN: True, Report.CLOSED: False}.get(
                report or Report.AWAY
            ),
        )

    # What must hold

    def beyond_cut_off(self, pack: Pack) -> bool:
        """Whether a battery was last read beyond where it is cut off."""
        if pack.reading is None or (pack.decision and pack.decision.recovering):
            return False
        volts, _ = pack.known
        return volts > HIGH_CUT or volts < LOW_CUT

    def strings(self) -> list[list[Pack]]:
        """Return the batteries that carry the same current."""
        if self.outputs.joined is Joined.SERIES:
            return [list(self.packs.values())]
        if self.outputs.joined is Joined.STRINGS:
            halves = ([p for a, p in self.packs.items() if a % 2 == n] for n in (0, 1))
            return [half for half in halves if half]
        return [[pack] for pack in self.packs.values()]

    def relays(self, string: list[Pack]) -> set[str]:
        """Return the relays of a string."""
        own = self.outputs.connections
        return {own[pack.address] for pack in string if pack.address in own}

    def closed(self, string: list[Pack]) -> bool:
        """Whether a string is connected."""
        return all(self.contacts[name].closed for name in self.relays(string))

    def may_be_closed(self, string: list[Pack]) -> bool:
        """Whether it is, or is about to be."""
        return all(self.contacts[name].may_be_closed for name in self.relays(string))

    def check_plan(self) -> None:
        """Check the plan against batteries and relays as they are."""
        wants = self.plan.wants
        connected = [string for string in self.strings() if self.closed(string)]
        self.check_shared(wants, [pack for string in connected for pack in string])
        for string in self.strings():
            own = [wants[name] for name in self.relays(string)]
            for pack in string:
                since = pack.off_since
                # Delayed is a connection by no more than it should be.
                if since is not None and self.now >= since + self.outputs.delay:
                    assert set(own) <= {OPEN}
        if all(wants[n] is OPEN for s in self.strings() for n in self.relays(s)):
            bare = [s for s in self.strings() if not self.relays(s)]
            assert bare or OPEN is wants.get("pv", OPEN) is wants.get("house", OPEN)

    def check_shared(self, wants: Mapping[str, Want], connected: list[Pack]) -> None:
        """Relays of the bus are closed only if all that are connected allow it."""
        for name in ("pv", "house"):
            want = wants.get(name)
            charge = name == "pv"
            for pack in connected:
                assert pack.decision is not None
                decision = pack.decision
                if not (decision.may_charge if charge else decision.may_discharge):
                    assert want in (None, OPEN)
                if want is CLOSE:
                    assert self.now - pack.heard <= FRESH
                    volts, celsius = pack.known
                    assert celsius <= HOT_CLEAR
                    if charge:
                        assert volts <= HIGH_CLEAR
                        assert celsius >= COLD_CLEAR
                    else:
                        assert volts >= LOW_CLEAR
            if want is CLOSE:
                # A relay that opens late does not say so at once.
                late = any(contact.events for contact in self.contacts.values())
                assert connected or late
                assert self.charging_wanted or not charge

    def check_close(self, name: str) -> None:
        """Check a relay that is told to close."""
        if name in ("pv", "house"):
            return
        concerned = [s for s in self.strings() if name in self.relays(s)]
        for pack in (pack for string in concerned for pack in string):
            assert pack.wanted
            assert not pack.tested
            assert self.now - pack.heard <= FRESH
            volts, celsius = pack.known
            assert volts <= HIGH_CLEAR
            assert celsius <= HOT_CLEAR
            assert pack.decision is not None
            assert volts >= LOW_CLEAR or pack.decision.recovering
            if self.outputs.cold_disconnects and self.outputs.charge is None:
                assert celsius >= COLD_CLEAR
        connections = set(self.outputs.connections.values())
        for other in connections:
            assert all(self.now >= at + TURN for at in self.contacts[other].told_closed)
        own = self.contacts[name].told_closed
        assert not own or self.now >= own[-1] + MINUTE
        self.check_window(concerned)

    def check_window(self, concerned: list[list[Pack]]) -> None:
        """Check how far those that close are from those that are connected."""
        others = [s for s in self.strings() if s not in concerned]
        sure = [s for s in others if self.closed(s)]
        doubtful = [s for s in others if self.may_be_closed(s)]
        for there in (sure, doubtful):
            if not there:
                continue
            assert all(self.now - p.heard <= FRESH for s in there for p in s)
            volts = [sum(p.known[0] for p in s) / len(s) for s in there]
            mean = sum(volts) / len(volts)
            for string in concerned:
                here = sum(p.known[0] for p in string) / len(string)
                assert abs(here - mean) <= WINDOW

    def check_next_moment(self, members: list[Member]) -> None:
        """Nothing changes before the moment that a plan names."""
        before = min(self.plan.at - 1e-6, self.now + 1000)
        if before > self.now:
            _, early = plan(
                self.outputs,
                members,
                self.memory,
                before,
                charging_wanted=self.charging_wanted,
            )
            assert (early.wants, early.cut) == (self.plan.wants, self.plan.cut)
            waiting = [one.relay for one in early.waiting]
            assert waiting == [one.relay for one in self.plan.waiting]


def test_relays_are_safe_whatever_happens() -> None:
    run_state_machine_as_test(
        Bus,
        settings=settings(
            max_examples=40, stateful_step_count=40, derandomize=True, deadline=None
        ),
    )
