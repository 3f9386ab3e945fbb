"""A battery's protection written down a second time, and random walks against it.

The rules here are bare figures and as few words as possible; what protection decides
must be the same at every judgement. Walks also plan relays, and check those: the
strictest counts for shared ones, a string is one, nobody is joined beyond the window.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from math import inf
import random
from typing import Any

from custom_components.openxpbms.bms.decision import BOTH, Decision, Severity, Way
from custom_components.openxpbms.bms.limits import (
    ARDUINO_XP_BMS,
    SEPLOS,
    Limit,
    Limits,
    Quantity,
)
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
    Relays,
    acknowledge,
    judge,
    recover,
)
from custom_components.openxpbms.bms.reading import Alarm, Group, Reading

Q = Quantity
STOP, CUTOFF = Severity.STOP, Severity.CUTOFF
CHARGE, DISCHARGE = frozenset({Way.CHARGE}), frozenset({Way.DISCHARGE})
type Key = tuple[Quantity, Severity]


@dataclass(frozen=True, slots=True)
class Row:
    """Figures of a quantity, negated where less is worse."""

    stop: float
    clear: float
    cutoff: float = inf
    delay: float = 0.0
    ways: frozenset[Way] = BOTH


THERE = Row(0.5, 0.5)
ALIKE = {
    Q.CELL_DEEP_DISCHARGE: Row(-2.0, -2.0),
    Q.CELL_UNDER_TEMPERATURE: Row(0.0, -3.0, ways=CHARGE),
    Q.CHARGE_OVER_CURRENT: Row(100.0, 60.0, delay=10.0),
    Q.DISCHARGE_OVER_CURRENT: Row(100.0, 60.0, delay=10.0),
    Q.SENSOR_FAULT: THERE,
    Q.REPORTED_FAULT: THERE,
    Q.STOP_WITHOUT_EFFECT: Row(inf, 2.0, cutoff=2.0),
    Q.RELAY_FAULT: THERE,
}
VALENCE_ROWS = ALIKE | {
    Q.CELL_OVER_VOLTAGE: Row(3.9, 3.7, 4.0, ways=CHARGE),
    Q.CELL_UNDER_VOLTAGE: Row(-2.8, -3.0, -2.5, 5.0, DISCHARGE),
    Q.CELL_OVER_TEMPERATURE: Row(60.0, 58.0, 65.0),
    Q.ELECTRONICS_OVER_TEMPERATURE: Row(80.0, 78.0),
}
SEPLOS_ROWS = ALIKE | {
    Q.CELL_OVER_VOLTAGE: Row(3.7, 3.5, 3.8, ways=CHARGE),
    Q.CELL_UNDER_VOLTAGE: Row(-2.6, -2.9, -2.5, 5.0, DISCHARGE),
    Q.CELL_OVER_TEMPERATURE: Row(62.0, 55.0, 65.0),
    Q.ELECTRONICS_OVER_TEMPERATURE: Row(112.0, 95.0),
}
# A stop of these latches on the third time only, of cold never.
PATIENT = {Q.CELL_OVER_VOLTAGE, Q.CELL_UNDER_VOLTAGE}
COLD = Q.CELL_UNDER_TEMPERATURE
LOW = {(Q.CELL_UNDER_VOLTAGE, STOP), (Q.CELL_UNDER_VOLTAGE, CUTOFF)}
CURRENT = Limit(stop=100.0, stop_clear=60.0, delay=10.0)
FAULTS = {
    "valence": Alarm("battery_failure", Group.HARDWARE),
    "seplos": Alarm("open_wire", Group.HARDWARE),
}


def limits_of(family: str, *, latch_all: bool = False, signed: bool = True) -> Limits:
    """Return a preset with over-current."""
    preset = ARDUINO_XP_BMS if family == "valence" else SEPLOS
    currents = dict.fromkeys((Q.CHARGE_OVER_CURRENT, Q.DISCHARGE_OVER_CURRENT), CURRENT)
    quantities = {**preset.quantities, **currents}
    return replace(preset, quantities=quantities, latch_all=latch_all, signed=signed)


class Violated(AssertionError):
    """What was decided is not what the rules here say."""


class Battery:
    """A battery under judgement, what must hold of it, and the time."""

    def __init__(
        self, now: float, family: str, *, latch_all: bool = False, signed: bool = True
    ) -> None:
        """Begin to watch it."""
        self.limits = limits_of(family, latch_all=latch_all, signed=signed)
        self.rows = VALENCE_ROWS if family == "valence" else SEPLOS_ROWS
        self.alarm = FAULTS[family]
        self.counts: Counter[str] = Counter()
        self.now = self.began = now
        self.memory = Memory(began=now)
        self.relays = Relays()
        self.last: Reading | None = None
        self.lowest: float | None = None
        self.heard = self.good = -inf
        self.runs: dict[str, int] = {}
        self.silent: frozenset[Way] = frozenset()
        self.wholes = 0
        self.beyond: dict[Key, float] = {}
        self.inside: dict[Quantity, float] = {}
        self.outside: set[Quantity] = set()
        self.active: set[Key] = set()
        self.latched: set[Key] = set()
        self.times: dict[Quantity, list[float]] = {}
        self.cut: dict[Way, float] = {}
        self.recovery: tuple[float, float] | None = None
        self.decision = self.judge(None, now)

    # What happens

    def judge(
        self, reading: Reading | None, now: float, *, part: bool = False
    ) -> Decision:
        """Let it be judged, and compare."""
        self.now = now
        self.memory, self.decision = judge(
            self.memory, self.limits, reading, now, part=part, relays=self.relays
        )
        self.counts["steps"] += 1
        self._follow(reading, part=part)
        self._compare()
        return self.decision

    def person(self) -> None:
        """A person acknowledges, and lets it recover if that is all it needs."""
        if self.fresh:
            over = {k for k in self.latched if self._inside_for_a_minute(k[0])}
            self.active -= over
            self.latched -= over
            for quantity, _ in over:
                self.times.pop(quantity, None)
        recovers = self.fresh and self.decision.only_low
        self.memory = acknowledge(self.memory, self.now)
        if recovers:
            self.memory = recover(self.memory, self.now)
            assert self.lowest is not None
            self.recovery = self.now, self.lowest
            self.latched -= LOW
            self.times.pop(Q.CELL_UNDER_VOLTAGE, None)
            self.counts["recoveries"] += 1
        self.counts["persons"] += 1
        self.judge(None, self.now)

    def check_early(self) -> None:
        """Nothing changes before the moment that is named, a little spared."""
        before = min(self.decision.judge_at - 0.002, self.now + 1000.0)
        if before <= self.now:
            return
        _, early = judge(self.memory, self.limits, None, before, relays=self.relays)
        if replace(early, judge_at=self.decision.judge_at) != self.decision:
            raise Violated("something changes before the moment that was named")

    # What must follow

    @property
    def fresh(self) -> bool:
        """Whether the last whole Reading is young and believed."""
        return self.now <= self.good + 15.0 and not self.runs

    def _follow(self, reading: Reading | None, *, part: bool) -> None:
        whole = reading is not None and not part
        self._silence(whole=whole)
        good = False
        if reading is not None and whole:
            failed = contradictions(reading)
            self.runs = {check: self.runs.get(check, 0) + 1 for check in failed}
            good = not failed
            self.heard, self.last = self.now, reading
            if good:
                if self.now > self.good + 15.0:
                    self.inside.clear()
                self.good = self.now
        self.cut = {way: self.cut.get(way, self.now) for way in self.relays.cut}
        told = self._told(reading or Reading(), whole=whole)
        if Q.CELL_UNDER_VOLTAGE in told:
            self.lowest = -told[Q.CELL_UNDER_VOLTAGE]
        for quantity, row in self.rows.items():
            self._place(quantity, row, told.get(quantity), whole=whole, good=good)
            self._advance(quantity, row, good=good)
        self._recover()

    def _silence(self, *, whole: bool) -> None:
        quiet = self.now - self.heard
        late = {way for way, at in self._quiet_at().items() if self.now >= at}
        if late:
            self.silent |= late
            self.wholes = 0
        if whole and self.silent:
            self.wholes += 1
            if self.wholes == 3:
                self.silent = frozenset()
                self.wholes = 0
        assert quiet >= 0.0

    def _quiet_at(self) -> dict[Way, float]:
        if self.heard == -inf:
            return dict.fromkeys(Way, self.began + 30.0)
        return {Way.CHARGE: self.heard + 15.0, Way.DISCHARGE: self.heard + 60.0}

    def _told(self, reading: Reading, *, whole: bool) -> dict[Quantity, float]:
        """Return what is told of each quantity, more being worse."""
        told = {Q.RELAY_FAULT: float(self.relays.fault is not None)}
        if reading.cell_voltages:
            lowest = -min(reading.cell_voltages)
            told[Q.CELL_OVER_VOLTAGE] = max(reading.cell_voltages)
            told[Q.CELL_UNDER_VOLTAGE] = told[Q.CELL_DEEP_DISCHARGE] = lowest
        celsius = [t for t in reading.cell_temperatures or () if t is not None]
        if celsius:
            told[Q.CELL_OVER_TEMPERATURE] = max(celsius)
            told[COLD] = -min(celsius)
        if reading.pcb_temperature is not None:
            told[Q.ELECTRONICS_OVER_TEMPERATURE] = reading.pcb_temperature
        if reading.current is not None:
            amperes, signed = reading.current, self.limits.signed
            there, back = (amperes, -amperes) if signed else (abs(amperes),) * 2
            told[Q.CHARGE_OVER_CURRENT] = there
            told[Q.DISCHARGE_OVER_CURRENT] = back
            cut = {way for way, at in self.cut.items() if self.now >= at + 10.0}
            flows = {Way.CHARGE: there, Way.DISCHARGE: back}
            sure = cut if signed or cut == BOTH else set()
            told[Q.STOP_WITHOUT_EFFECT] = max((flows[w] for w in sure), default=0.0)
        if reading.alarms is not None:
            told[Q.REPORTED_FAULT] = float(self.alarm in reading.alarms)
        if whole and (not self.runs or max(self.runs.values()) > 1):
            told[Q.SENSOR_FAULT] = float(bool(self.runs))
        return told

    def _place(
        self,
        quantity: Quantity,
        row: Row,
        value: float | None,
        *,
        whole: bool,
        good: bool,
    ) -> None:
        """Note since when it lies beyond its limits, or inside."""
        if value is None:
            if good:
                self.inside.pop(quantity, None)
            return
        for severity, far in ((STOP, row.stop), (CUTOFF, row.cutoff)):
            if value > far:
                self.beyond.setdefault((quantity, severity), self.now)
            elif good:
                self.beyond.pop((quantity, severity), None)
        if value > row.clear:
            self.inside.pop(quantity, None)
            self.outside.add(quantity)
        else:
            if good:
                self.inside.setdefault(quantity, self.now)
            if whole:
                self.outside.discard(quantity)

    def _advance(self, quantity: Quantity, row: Row, *, good: bool) -> None:
        for key, delay in (((quantity, STOP), row.delay), ((quantity, CUTOFF), 0.0)):
            if key in self.active:
                over = good and self._inside_for_a_minute(quantity)
                if over and key not in self.latched:
                    self.active.discard(key)
            elif key in self.beyond and self.now >= self.beyond[key] + delay:
                self.active.add(key)
                self.counts["stops" if key[1] is STOP else "cut-offs"] += 1
                if self._latches(key):
                    self.latched.add(key)
                    self.counts["latches"] += 1

    def _inside_for_a_minute(self, quantity: Quantity) -> bool:
        return self.now >= self.inside.get(quantity, inf) + 60.0

    def _latches(self, key: Key) -> bool:
        quantity, severity = key
        if severity is CUTOFF:
            return True
        day = [at for at in self.times.get(quantity, ()) if self.now - at < 86400.0]
        self.times[quantity] = [*day, self.now]
        if quantity in PATIENT:
            return self.limits.latch_all or len(day) >= 2
        return quantity is not COLD

    def _recover(self) -> None:
        if self.recovery is None:
            return
        since, lowest = self.recovery
        low = self.active & LOW or Q.CELL_UNDER_VOLTAGE in self.outside
        late = self.now >= since + 1800.0
        assert self.lowest is not None
        fell = round(1000 * lowest) - round(1000 * self.lowest) >= 30
        if not low or late or fell or self.lowest < 2.0:
            self.recovery = None

    # Whether it does

    def _compare(self) -> None:
        decision = self.decision
        stops = {(f.quantity, f.severity) for f in decision.findings if f.stops}
        silent = {(Q.SILENCE, STOP)} if self.silent else set()
        if stops != self.active | silent:
            raise Violated(f"stops {stops}, not {self.active | silent}")
        trips = self.memory.trips.items()
        if (latched := {k for k, t in trips if t.latched}) != self.latched:
            raise Violated(f"latches {latched}, not {self.latched}")
        acting = self.active - LOW if self.recovery else self.active
        forbidden = set(self.silent)
        for quantity, severity in acting:
            forbidden |= BOTH if severity is CUTOFF else self.rows[quantity].ways
        if self.active & LOW:
            forbidden |= DISCHARGE
        self._compare_permissions(decision, acting, forbidden)
        if decision.fresh is not self.fresh:
            raise Violated(f"fresh: {decision.fresh}")
        if not self.now < decision.judge_at <= self._next():
            raise Violated(f"next moment {decision.judge_at}, not {self._next()}")

    def _compare_permissions(
        self, decision: Decision, acting: set[Key], forbidden: set[Way]
    ) -> None:
        if decision.recovering is not (self.recovery is not None):
            raise Violated(f"recovering: {decision.recovering}")
        if decision.cut_off is not any(k[1] is CUTOFF for k in acting):
            raise Violated(f"cut off: {decision.cut_off}")
        for way in Way:
            # Who recovers is not emptied further, a mere warning being enough for that.
            unsure = self.recovery is not None and way is Way.DISCHARGE
            if decision.may(way) is (way in forbidden) and not unsure:
                raise Violated(f"may {way}: {decision.may(way)}")
            kept = any(way in self.rows[quantity].ways for quantity in self.outside)
            begins = self.fresh and way not in forbidden and not kept
            if decision.may_begin(way) is not begins:
                raise Violated(f"may begin to {way}: {not begins}")
            if begins:
                self._check_begin(way)

    def _check_begin(self, way: Way) -> None:
        """Check the last whole Reading itself."""
        last = self.last
        if last is None or self.now > self.heard + 15.0 or contradictions(last):
            raise Violated("a close without a fresh whole Reading")
        cells, celsius = last.cell_voltages or (), last.cell_temperatures or ()
        seplos = self.rows is SEPLOS_ROWS
        fits = all(t is not None and t <= (55.0 if seplos else 58.0) for t in celsius)
        if way is Way.CHARGE:
            fits &= max(cells) <= (3.5 if seplos else 3.7)
            fits &= all(t is not None and t >= 3.0 for t in celsius)
        else:
            fits &= min(cells) >= (2.9 if seplos else 3.0)
        if not fits or min(cells) < 2.0 or self.alarm in (last.alarms or ()):
            raise Violated(f"a close outside the clearing limits: {last}")

    def _next(self) -> float:
        """Return by when it must be judged again."""
        moments = [at for at in self._quiet_at().values() if at > self.now]
        if self.fresh:
            moments.append(self.good + 15.01)
        if self.recovery:
            moments.append(self.recovery[0] + 1800.0)
        for key, since in self.beyond.items():
            if key not in self.active and key[1] is STOP:
                moments.append(since + self.rows[key[0]].delay)
        return min(moments, default=inf)


def contradictions(reading: Reading) -> set[str]:
    """Return why a Reading is not to be believed."""
    cells = reading.cell_voltages or ()
    high, low = reading.highest_cell_reported, reading.lowest_cell_reported
    total, found = reading.voltage, set()
    if min(cells) < 1.0 or max(cells) > 5.0:
        found.add("cells")
    if any(t is not None and not -40 <= t <= 120 for t in reading.cell_temperatures):  # type: ignore[union-attr]
        found.add("temperatures")
    if high is not None and round(1000 * abs(high - max(cells))) > 50:
        found.add("highest")
    if low is not None and round(1000 * abs(low - min(cells))) > 50:
        found.add("lowest")
    if total is not None and abs(total - sum(cells)) > 0.03 * total:
        found.add("sum")
    return found


# Values that are interesting: inside, between clearing and stop, at a limit, beyond.
VOLTS = (
    *(3.3, 3.3, 3.3, 3.31, 3.34, 3.55, 3.6, 3.7, 3.701, 3.75, 3.85, 3.9, 3.95, 4.05),
    *(3.0, 2.95, 2.85, 2.8, 2.79, 2.7, 2.67, 2.55, 2.5, 2.4, 2.03, 2.0, 1.9, 0.5),
)
CELSIUS = (20.0, 20.0, 3.0, 1.0, 0.0, -1.0, 52.0, 58.0, 59.0, 61.0, 64.0, 66.0, 130.0)
BOARD = (30.0, 30.0, 79.0, 81.0, 96.0, 113.0)
AMPERES = (0.0, 0.0, 2.0, 5.0, -5.0, 70.0, -90.0, 120.0, -120.0)
SECONDS = (*(0.3, 1.1, 2.0, 2.0, 5.0) * 4, 9.9, 10.0, 15.0, 20.0, 70.0, 1800.0, 3e4)
PARTS = (
    ("voltage", "current", "soc"),
    ("cell_voltages", "highest_cell_reported", "lowest_cell_reported"),
    ("cell_temperatures", "pcb_temperature"),
    ("alarms",),
)


@dataclass
class Values:
    """What a battery would tell."""

    cells: list[float] = field(default_factory=lambda: [3.3] * 4)
    celsius: float = 20.0
    board: float = 30.0
    current: float = 0.0
    alarm: bool = False

    def reading(self, alarm: Alarm, **more: Any) -> Reading:
        """Return a whole Reading without contradictions, but for `more`."""
        known: dict[str, Any] = {
            "voltage": sum(self.cells),
            "current": self.current,
            "soc": 50.0,
            "cell_voltages": tuple(self.cells),
            "cell_temperatures": (20.0, self.celsius),
            "pcb_temperature": self.board,
            "highest_cell_reported": max(self.cells),
            "lowest_cell_reported": min(self.cells),
            "alarms": (alarm,) if self.alarm else (),
        }
        return Reading(**known | more)


def part_of(reading: Reading, names: tuple[str, ...]) -> Reading:
    """Return some values of a Reading."""
    return Reading(**{name: getattr(reading, name) for name in names})


class Module:
    """A battery of a walk, its values and its relay."""

    def __init__(self, address: int, battery: Battery) -> None:
        """Begin with a relay that is open."""
        self.address = address
        self.battery = battery
        self.values = Values()
        self.relay_open = True
        self.wanted = True
        self.off_since: float | None = None
        self.closed_at = -inf

    @property
    def decision(self) -> Decision:
        """What is decided about it."""
        return self.battery.decision

    @property
    def volts(self) -> float:
        """V a cell, as last read."""
        reading = self.battery.last
        assert reading is not None
        assert reading.cell_voltages is not None
        return sum(reading.cell_voltages) / len(reading.cell_voltages)


class Walk:
    """Some batteries joined in one way, and time."""

    def __init__(self, seed: int) -> None:
        """Begin with a bus that `seed` chooses."""
        chance = self.chance = random.Random(seed)
        self.now = chance.uniform(1000.0, 2000.0)
        self.counts: Counter[str] = Counter()
        number = chance.randint(1, 3)
        several = [Joined.PARALLEL, Joined.SERIES, Joined.STRINGS]
        self.outputs = Outputs(
            joined=Joined.SINGLE if number == 1 else chance.choice(several),
            charge=chance.choice([None, "charge"]),
            load=chance.choice([None, "load"]),
            connections={n: f"relay {n}" for n in range(number)},
            strings={n: n // 2 for n in range(number)},
            at_once=chance.random() < 0.3,
            cold_disconnects=chance.random() < 0.3,
        )
        family = chance.choice(["valence", "seplos"])
        latch_all, signed = chance.random() < 0.2, chance.random() < 0.8
        self.modules = [
            Module(n, Battery(self.now, family, latch_all=latch_all, signed=signed))
            for n in range(number)
        ]
        self.plan_memory = PlanMemory()
        self.closed_at = -inf

    @property
    def steps(self) -> int:
        """How many judgements there were."""
        return sum(module.battery.counts["steps"] for module in self.modules)

    def step(self) -> None:
        """Let something happen, judge, plan, and check."""
        module = self.chance.choice(self.modules)
        action = self.chance.random()
        if action < 0.57:
            self._drift(module)
            self._hear(module)
        elif action < 0.94:
            self._wait()
        elif action < 0.965:
            self._person(module)
        elif action < 0.98:
            module.wanted = not module.wanted
        elif action < 0.985:
            self._disturb_relay(module)
        else:
            self._calm()
        if self.chance.random() < 0.05:
            module.battery.check_early()
        self._plan()

    def _drift(self, module: Module) -> None:
        chance, values = self.chance, module.values
        if chance.random() < 0.15:
            values.cells[chance.randrange(4)] = chance.choice(VOLTS)
        elif chance.random() < 0.3:
            values.cells = [3.3] * 4
        if chance.random() < 0.05:
            values.celsius = chance.choice(CELSIUS)
            values.board = chance.choice(BOARD)
        elif chance.random() < 0.2:
            values.celsius, values.board = 20.0, 30.0
        if chance.random() < 0.1:
            values.current = chance.choice(AMPERES)
        values.alarm = chance.random() < 0.01

    def _hear(self, module: Module) -> None:
        chance, battery = self.chance, module.battery
        lies: dict[str, Any] = {}
        if chance.random() < 0.03:
            lies = chance.choice(
                [
                    {"voltage": 20.0},
                    {"lowest_cell_reported": 1.5},
                    {"current": None},
                    {"alarms": None, "pcb_temperature": None},
                ]
            )
        reading = module.values.reading(battery.alarm, **lies)
        part = chance.random() < 0.3
        if part:
            reading = part_of(reading, chance.choice(PARTS))
        battery.judge(reading, self.now, part=part)

    def _wait(self) -> None:
        """Let time pass, but call whoever must be called meanwhile."""
        until = self.now + self.chance.choice(SECONDS)
        while True:
            due = min(self.modules, key=lambda m: m.decision.judge_at)
            if due.decision.judge_at > until:
                break
            self.now = due.decision.judge_at
            due.battery.judge(None, self.now)
        self.now = until
        for module in self.modules:
            module.battery.judge(None, self.now)

    def _person(self, module: Module) -> None:
        module.battery.judge(None, self.now)
        module.battery.person()

    def _disturb_relay(self, module: Module) -> None:
        battery = module.battery
        fault = None if battery.relays.fault else "not_opening"
        battery.relays = replace(battery.relays, fault=fault)
        battery.judge(None, self.now)

    def _calm(self) -> None:
        """Let all be well for as long as it takes, and persons have looked."""
        for module in self.modules:
            volts = self.chance.choice([3.3, 3.3, 3.31, 3.34])
            module.values, module.wanted = Values([volts] * 4), True
            module.battery.relays = replace(module.battery.relays, fault=None)
        for _ in range(16):
            self.now += 5.0
            for module in self.modules:
                reading = module.values.reading(module.battery.alarm)
                module.battery.judge(reading, self.now)
            self._plan()
        for module in self.modules:
            self._person(module)

    # Relays

    def _plan(self) -> None:
        members = [
            Member(
                address=module.address,
                decision=module.decision,
                wanted=module.wanted,
                reading=module.battery.last,
                relay_open=module.relay_open,
            )
            for module in self.modules
        ]
        memory, made = plan(self.outputs, members, self.plan_memory, self.now)
        self._check(made)
        self.plan_memory = memory
        for module in self.modules:
            want = made.wants[f"relay {module.address}"]
            if want is not Want.HOLD:
                module.relay_open = want is Want.OPEN
            relays = module.battery.relays
            cut = made.cut[module.address]
            if cut != relays.cut:
                module.battery.relays = replace(relays, cut=cut)
                module.battery.judge(None, self.now)

    def _strings(self) -> list[list[Module]]:
        strings: dict[object, list[Module]] = {}
        for module in self.modules:
            one = {Joined.SERIES: 0, Joined.STRINGS: module.address // 2}
            string = one.get(self.outputs.joined, module.address)
            strings.setdefault(string, []).append(module)
        return list(strings.values())

    def _check(self, made: Plan) -> None:
        strings = self._strings()
        for string in strings:
            self._check_string(string, made.wants)
        # One open relay cuts off a whole string.
        connected = [s for s in strings if not any(m.relay_open for m in s)]
        for name, way in (("charge", Way.CHARGE), ("load", Way.DISCHARGE)):
            self._check_shared(name, way, connected, made.wants)
        for string in strings:
            self._check_join(string, strings, made.wants)

    def _check_string(self, string: list[Module], wants: Mapping[str, Want]) -> None:
        told = {wants[f"relay {module.address}"] for module in string}
        for module in string:
            off = not module.wanted or module.decision.cut_off
            module.off_since = (module.off_since or self.now) if off else None
            due = (module.off_since or inf) + self.outputs.delay
            if self.now >= due and told != {Want.OPEN}:
                raise Violated("a string does not open as one")
            if Want.CLOSE in told and (off or not module.decision.fresh):
                raise Violated("a string closes against one of its batteries")

    def _check_shared(
        self,
        name: str,
        way: Way,
        connected: list[list[Module]],
        wants: Mapping[str, Want],
    ) -> None:
        want = wants.get(name, Want.HOLD)
        all_of_them = [module for string in connected for module in string]
        allowed = all(module.decision.may(way) for module in all_of_them)
        if name in wants and want is not Want.OPEN and not allowed:
            raise Violated(f"{name} stays closed against a battery")
        if want is Want.CLOSE:
            if not all_of_them:
                raise Violated(f"{name} closes with nobody connected")
            if not all(module.decision.may_begin(way) for module in all_of_them):
                raise Violated(f"{name} closes against a battery")
            self.counts["shared closes"] += 1

    def _check_join(
        self,
        string: list[Module],
        strings: list[list[Module]],
        wants: Mapping[str, Want],
    ) -> None:
        closing = [
            module
            for module in string
            if module.relay_open and wants[f"relay {module.address}"] is Want.CLOSE
        ]
        if not closing:
            return
        self.counts["closes"] += len(closing)
        for module in closing:
            if self.now < max(module.closed_at + 60.0, self.closed_at + 5.0):
                raise Violated("it closes too soon after another time")
            module.closed_at = self.closed_at = self.now
        mean = [
            sum(module.volts for module in other) / len(other)
            for other in strings
            if other is not string and not any(module.relay_open for module in other)
        ]
        own = sum(module.volts for module in string) / len(string)
        if mean and abs(own - sum(mean) / len(mean)) > 0.02501:
            raise Violated(f"joined {own:.3f} V a cell to {mean}")


def walk(steps: int, seed: int) -> Counter[str]:
    """Walk for so many judgements; return what happened. Raises Violated."""
    counts: Counter[str] = Counter()
    chance = random.Random(seed)
    while counts["steps"] < steps:
        each = chance.getrandbits(48)
        one = Walk(each)
        try:
            while one.steps < min(5000, steps - counts["steps"]):
                one.step()
        except Violated as err:
            raise Violated(f"{err} (seed {each}, step {one.steps})") from err
        counts += one.counts
        for module in one.modules:
            counts += module.battery.counts
    return counts
