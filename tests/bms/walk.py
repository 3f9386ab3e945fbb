"""A random walk over protection and outputs, watched by rules of its own.

What is checked here is written down a second time, in other words than the code's: no
close without a whole fresh Reading inside the clearing limits, no stop later than its
delay, no latch that goes without a person, the strictest for shared relays, a series
string as one, nobody joined beyond the window.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field, replace
import random

from custom_components.openxpbms.bms.decision import Decision, Severity, Way
from custom_components.openxpbms.bms.limits import ARDUINO_XP_BMS, Limits, Quantity
from custom_components.openxpbms.bms.outputs import (
    Joined,
    Member,
    Outputs,
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
from custom_components.openxpbms.bms.reading import Alarm, Group, Reading

LIMITS = replace(
    ARDUINO_XP_BMS,
    quantities={
        **ARDUINO_XP_BMS.quantities,
        Quantity.CHARGE_OVER_CURRENT: replace(
            ARDUINO_XP_BMS[Quantity.CHARGE_OVER_CURRENT],
            warning=80.0,
            warning_clear=70.0,
            stop=100.0,
            stop_clear=60.0,
        ),
    },
)
FAULT = Alarm("battery_failure", Group.HARDWARE)
# Values that are interesting: inside, between clearing and stop, beyond, far beyond.
VOLTS = (3.3, 3.3, 3.3, 3.6, 3.75, 3.85, 3.95, 4.05, 2.95, 2.85, 2.7, 2.4, 1.9, 0.5)
CELSIUS = (20.0, 20.0, 20.0, 52.0, 59.0, 61.0, 66.0, 4.0, 1.0, -1.0, 130.0)
AMPERES = (0.0, 0.0, 5.0, -5.0, 90.0, 120.0)


class Violated(AssertionError):
    """A rule of the walk does not hold."""


@dataclass
class Battery:
    """A battery of the walk, and what its rules remember."""

    address: int
    memory: Memory
    decision: Decision
    volts: list[float] = field(default_factory=lambda: [3.3] * 4)
    celsius: float = 20.0
    current: float = 0.0
    fault: bool = False
    heard: float | None = None
    last: Reading | None = None
    # Beyond a stop limit since then, by what was last told of it.
    beyond: dict[Quantity, float] = field(default_factory=dict)
    relay_open: bool = True
    wanted: bool = True
    # A person knows that it is too low: that latch goes by itself then.
    recovered: bool = False

    def reading(self) -> Reading:
        """Return its values as a whole Reading, without contradictions."""
        return Reading(
            voltage=sum(self.volts),
            current=self.current,
            soc=50.0,
            cell_voltages=tuple(self.volts),
            cell_temperatures=(self.celsius,) * 4,
            pcb_temperature=30.0,
            highest_cell_reported=max(self.volts),
            lowest_cell_reported=min(self.volts),
            alarms=(FAULT,) if self.fault else (),
        )


def is_plausible(reading: Reading) -> bool:
    """Whether a Reading can come from working sensors."""
    cells, celsius = reading.cell_voltages or (), reading.cell_temperatures or ()
    return all(1.0 <= v <= 5.0 for v in cells) and all(
        t is not None and -40.0 <= t <= 120.0 for t in celsius
    )


def far_beyond(reading: Reading, limits: Limits) -> dict[Quantity, float]:
    """Return what lies beyond a stop limit, with the delay that it has."""
    found: dict[Quantity, float] = {}
    for volts in reading.cell_voltages or ():
        if volts > limits[Quantity.CELL_OVER_VOLTAGE].stop:
            found[Quantity.CELL_OVER_VOLTAGE] = 0.0
        if volts < limits[Quantity.CELL_UNDER_VOLTAGE].stop:
            found[Quantity.CELL_UNDER_VOLTAGE] = 5.0
        if volts < 2.0:
            found[Quantity.CELL_DEEP_DISCHARGE] = 0.0
    for celsius in reading.cell_temperatures or ():
        if celsius is not None and celsius > 60.0:
            found[Quantity.CELL_OVER_TEMPERATURE] = 0.0
        if celsius is not None and celsius < 0.0:
            found[Quantity.CELL_UNDER_TEMPERATURE] = 0.0
    if (reading.current or 0.0) > 100.0:
        found[Quantity.CHARGE_OVER_CURRENT] = 10.0
    if FAULT in (reading.alarms or ()):
        found[Quantity.REPORTED_FAULT] = 0.0
    return found


def inside(reading: Reading, way: Way) -> bool:
    """Whether all values of a Reading are inside the clearing limits for a way."""
    cells = reading.cell_voltages or ()
    celsius = [t for t in reading.cell_temperatures or () if t is not None]
    both = (
        all(t <= 58.0 for t in celsius)
        and all(v >= 2.0 for v in cells)
        and (reading.current or 0.0) <= 60.0
        and FAULT not in (reading.alarms or ())
    )
    if way is Way.CHARGE:
        return both and all(v <= 3.7 for v in cells) and all(t >= 3.0 for t in celsius)
    return both and all(v >= 3.0 for v in cells)


class Walk:
    """Some batteries joined in one way, and time."""

    def __init__(self, seed: int) -> None:
        """Begin with a bus that `seed` chooses."""
        self.chance = random.Random(seed)
        self.now = 1000.0
        self.counts: Counter[str] = Counter()
        number = self.chance.randint(1, 3)
        joined = self.chance.choice(list(Joined)) if number > 1 else Joined.SINGLE
        if number > 1 and joined is Joined.SINGLE:
            joined = Joined.PARALLEL
        self.outputs = Outputs(
            joined=joined,
            charge=self.chance.choice([None, "charge"]),
            load=self.chance.choice([None, "load"]),
            connections={n: f"relay {n}" for n in range(number)},
            strings={n: n // 2 for n in range(number)},
            at_once=self.chance.random() < 0.3,
        )
        self.batteries = []
        for address in range(number):
            memory, decision = judge(Memory(began=self.now), LIMITS, None, self.now)
            self.batteries.append(Battery(address, memory, decision))
        self.plan_memory = PlanMemory()
        self.shared_open = {"charge": True, "load": True}

    def step(self) -> None:
        """Let something happen, judge, and check."""
        battery = self.chance.choice(self.batteries)
        action = self.chance.random()
        if action < 0.55:
            self._drift(battery)
            self._hear(battery, part=self.chance.random() < 0.3)
        elif action < 0.93:
            self._wait()
        elif action < 0.96:
            self._person(battery)
        elif action < 0.98:
            battery.wanted = not battery.wanted
        else:
            self._calm()
        self._plan()

    def _calm(self) -> None:
        """Let all be well for as long as it takes, and persons have looked."""
        for battery in self.batteries:
            volts = self.chance.choice([3.3, 3.3, 3.31, 3.34])
            battery.volts, battery.celsius = [volts] * 4, 20.0
            battery.current, battery.fault, battery.wanted = 0.0, False, True
        for _ in range(16):
            self.now += 5.0
            for battery in self.batteries:
                self._hear(battery, part=False)
            self._plan()
        for battery in self.batteries:
            self._person(battery)

    def _drift(self, battery: Battery) -> None:
        chance = self.chance
        if chance.random() < 0.15:
            battery.volts[chance.randrange(4)] = chance.choice(VOLTS)
        elif chance.random() < 0.3:
            battery.volts = [3.3] * 4
        if chance.random() < 0.05:
            battery.celsius = chance.choice(CELSIUS)
        elif chance.random() < 0.2:
            battery.celsius = 20.0
        if chance.random() < 0.1:
            battery.current = chance.choice(AMPERES)
        battery.fault = chance.random() < 0.01

    def _hear(self, battery: Battery, *, part: bool) -> None:
        reading = battery.reading()
        if part:
            fields = self.chance.choice(
                [("cell_voltages",), ("cell_temperatures",), ("current",), ("alarms",)]
            )
            reading = Reading(**{name: getattr(reading, name) for name in fields})
        self._judge(battery, reading, part=part)

    def _judge(self, battery: Battery, reading: Reading | None, *, part: bool) -> None:
        self.counts["steps"] += 1
        before = battery.decision
        battery.memory, battery.decision = judge(
            battery.memory, LIMITS, reading, self.now, part=part
        )
        if reading is not None:
            self._note(battery, reading, part=part)
        self._check_latches(battery, before, battery.decision)
        self._check(battery)

    def _note(self, battery: Battery, reading: Reading, *, part: bool) -> None:
        told = far_beyond(reading, LIMITS)
        if not part:
            battery.heard, battery.last = self.now, reading
        about = {
            Quantity.CELL_OVER_VOLTAGE: reading.cell_voltages,
            Quantity.CELL_UNDER_VOLTAGE: reading.cell_voltages,
            Quantity.CELL_DEEP_DISCHARGE: reading.cell_voltages,
            Quantity.CELL_OVER_TEMPERATURE: reading.cell_temperatures,
            Quantity.CELL_UNDER_TEMPERATURE: reading.cell_temperatures,
            Quantity.CHARGE_OVER_CURRENT: reading.current,
            Quantity.REPORTED_FAULT: reading.alarms,
        }
        for quantity, values in about.items():
            if values is None:
                continue
            if quantity in told:
                battery.beyond.setdefault(quantity, self.now)
            else:
                battery.beyond.pop(quantity, None)

    def _wait(self) -> None:
        """Let time pass, but call whoever must be called meanwhile."""
        until = self.now + self.chance.choice([0.5, 1, 2, 2, 5, 10, 20, 70])
        while True:
            due = min(self.batteries, key=lambda b: b.decision.judge_at)
            if due.decision.judge_at > until:
                break
            self.now = max(self.now, due.decision.judge_at)
            self._judge(due, None, part=False)
        self.now = until
        for battery in self.batteries:
            self._judge(battery, None, part=False)

    def _person(self, battery: Battery) -> None:
        battery.memory = acknowledge(battery.memory, self.now)
        if battery.decision.only_low:
            battery.memory = recover(battery.memory, self.now)
            battery.recovered = True
        battery.memory, battery.decision = judge(battery.memory, LIMITS, None, self.now)
        self.counts["persons"] += 1

    def _check_latches(
        self, battery: Battery, before: Decision, after: Decision
    ) -> None:
        kept = {(f.quantity, f.severity) for f in after.findings}
        old = {(f.quantity, f.severity) for f in before.findings}
        low = Quantity.CELL_UNDER_VOLTAGE, Severity.CUTOFF
        for quantity, severity in kept - old:
            self.counts[f"{severity}s"] += 1
            if (quantity, severity) == low:
                battery.recovered = False
        for key in old - kept:
            if key[1] is Severity.CUTOFF and not (key == low and battery.recovered):
                raise Violated(f"{key} went without a person")

    def _check(self, battery: Battery) -> None:
        decision = battery.decision
        if decision.judge_at <= self.now:
            raise Violated("a moment that has passed is named")
        delays = {Quantity.CELL_UNDER_VOLTAGE: 5.0, Quantity.CHARGE_OVER_CURRENT: 10.0}
        for quantity, since in battery.beyond.items():
            late = self.now - since >= delays.get(quantity, 0.0)
            stopped = any(f.quantity is quantity and f.stops for f in decision.findings)
            if late and not stopped:
                raise Violated(f"{quantity} was not stopped in time")
        quiet = self.now - (
            battery.memory.began if battery.heard is None else battery.heard
        )
        grace = battery.heard is None
        if quiet >= (30.0 if grace else 15.0) and decision.may_charge:
            raise Violated("silence did not stop charging")
        silent = quiet >= (30.0 if grace else 60.0)
        if silent and decision.may_discharge:
            raise Violated("silence did not stop discharging")
        for way in Way:
            if not decision.may_begin(way):
                continue
            last = battery.last
            if last is None or battery.heard is None or self.now - battery.heard > 15.0:
                raise Violated("a close without a fresh whole Reading")
            if not is_plausible(last) or not inside(last, way):
                raise Violated(f"a close for {way} outside the clearing limits: {last}")

    # Outputs

    def _plan(self) -> None:
        members = [
            Member(
                address=battery.address,
                decision=battery.decision,
                wanted=battery.wanted,
                reading=battery.last,
                relay_open=battery.relay_open,
            )
            for battery in self.batteries
        ]
        memory, made = plan(self.outputs, members, self.plan_memory, self.now)
        self._check_plan(made.wants)
        self.plan_memory = memory
        for battery in self.batteries:
            want = made.wants[f"relay {battery.address}"]
            if want is not Want.HOLD:
                battery.relay_open = want is Want.OPEN
        for name in ("charge", "load"):
            if made.wants.get(name, Want.HOLD) is not Want.HOLD:
                self.shared_open[name] = made.wants[name] is Want.OPEN

    def _check_plan(self, wants: dict[str, Want]) -> None:
        strings: dict[object, list[Battery]] = {}
        for battery in self.batteries:
            string = self.outputs.string_of(battery.address)
            strings.setdefault(string, []).append(battery)
        for members in strings.values():
            told = {wants[f"relay {b.address}"] for b in members}
            cut_off = any(b.decision.cut_off or not b.wanted for b in members)
            if Want.CLOSE in told and cut_off:
                raise Violated(
                    "a relay of a string closes against one of its batteries"
                )
            if Want.CLOSE in told and not all(b.decision.fresh for b in members):
                raise Violated("a relay closes without fresh Readings")
        closing = [
            b
            for b in self.batteries
            if b.relay_open and wants[f"relay {b.address}"] is Want.CLOSE
        ]
        self.counts["closes"] += len(closing)
        # One open relay cuts off a whole string.
        connected = [
            battery
            for members in strings.values()
            for battery in members
            if not any(mate.relay_open for mate in members)
        ]
        if self.outputs.joined is Joined.PARALLEL and len(closing) > 1:
            raise Violated("two batteries are joined at a time")
        if self.outputs.joined is Joined.PARALLEL and closing and connected:
            [new] = closing
            mean = sum(sum(b.last.cell_voltages) / 4 for b in connected if b.last)
            apart = abs(sum(new.last.cell_voltages) / 4 - mean / len(connected))
            if apart > 0.02501:
                raise Violated(f"joined {apart:.3f} V a cell apart")
        for name, way in (("charge", Way.CHARGE), ("load", Way.DISCHARGE)):
            if wants.get(name) is Want.CLOSE:
                if not connected:
                    raise Violated(f"{name} closes with nobody connected")
                if not all(b.decision.may_begin(way) for b in connected):
                    raise Violated(f"{name} closes against a battery")


def walk(steps: int, seed: int) -> Counter[str]:
    """Walk for so many judgements; return what happened. Raises Violated."""
    counts: Counter[str] = Counter()
    chance = random.Random(seed)
    while counts["steps"] < steps:
        each = chance.getrandbits(48)
        one = Walk(each)
        try:
            while one.counts["steps"] < min(5000, steps - counts["steps"]):
                one.step()
        except Violated as err:
            raise Violated(f"{err} (seed {each}, step {one.counts['steps']})") from err
        counts += one.counts
    return counts
