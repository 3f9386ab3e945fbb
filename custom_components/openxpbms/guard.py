"""Protection's hands: readings and time in, relays, entities and events out.

One guard for each bus. It judges every reading, and every part of one, the moment it
arrives, and by a timer whatever only time changes, also while nothing is polled.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
import logging
from math import inf
import time
from time import monotonic
from typing import TYPE_CHECKING, Any

from homeassistant.core import callback
from homeassistant.exceptions import ServiceValidationError
from homeassistant.helpers import issue_registry as ir
from homeassistant.helpers.event import async_call_later
from homeassistant.util.hass_dict import HassKey

from .batteries import keys
from .bms.decision import Decision, Finding, Obstacle, Severity, Waits, is_cold
from .bms.limits import Quantity
from .bms.outputs import (
    Member,
    Outputs,
    Plan,
    PlanMemory,
    Waiting,
    Want,
    must_disconnect,
    plan,
)
from .bms.protection import (
    FRESH,
    Memory,
    Relays,
    acknowledge,
    judge,
    recover,
    unheard,
)
from .bms.relay import WELDED_AFTER, RelayFault, Report
from .bms.shown import device_name
from .bms.storage import charges
from .const import CONF_GUARDED, DOMAIN
from .guard_issues import ISSUE_STATE_LOST, raise_issue, tell_issues
from .guard_options import hands_of, has_outputs, limits_of
from .kept import (
    SERVICE_FOR,
    KeptBattery,
    KeptBus,
    Mode,
    from_json,
    lost_bus,
    new_bus,
    stored_trips,
    to_json,
)
from .kept_file import KeptFile
from .relay_board import User, Vote, relay_board
from .spoken import DETAIL, spoken
from .words import refusal

if TYPE_CHECKING:
    from datetime import datetime

    from homeassistant.core import CALLBACK_TYPE, HomeAssistant

    from .bms.reading import Reading
    from .bms.rounds import Battery
    from .coordinator import OpenXPBMSConfigEntry, OpenXPBMSCoordinator

_LOGGER = logging.getLogger(__name__)

# Turns in which batteries, relays and plan settle among each other.
_TURNS = 5

# By entry: grace and latches run on while it is reloaded.
KEPT: HassKey[dict[str, KeptBus]] = HassKey(f"{DOMAIN}_kept")

type Raised = tuple[Quantity, Severity]


@dataclass(slots=True)
class Watched:
    """A battery under guard.

    `reading` is its last whole one; `current` the last that came in any part, with its
    time.
    """

    battery: Battery
    key: str
    kept: KeptBattery
    decision: Decision
    reading: Reading | None = None
    current: float | None = None
    current_at: float = 0.0
    judged_at: float = 0.0
    tested: bool = False
    relays: Relays = field(default_factory=Relays)

    @property
    def address(self) -> int:
        """Its address on the bus."""
        return self.battery.identity.address


class Guard:
    """Guards the batteries of one entry."""

    def __init__(
        self,
        hass: HomeAssistant,
        entry: OpenXPBMSConfigEntry,
        coordinator: OpenXPBMSCoordinator,
    ) -> None:
        """Prepare; nothing is judged before `start`."""
        self.hass = hass
        self.entry = entry
        self.coordinator = coordinator
        self.limits = limits_of(coordinator.family_name, entry.options)
        self.hands = hands_of(entry)
        self.board = relay_board(hass)
        self.watched: dict[str, Watched] = {}
        self.plan = Plan({})
        # Called after each turn, whether or not anything is shown.
        self.onlookers: list[Callable[[], None]] = []
        self.stopped = False
        self._file = KeptFile(hass, entry.entry_id, on_kept=self._on_kept)
        self._kept: KeptBus
        self._listeners: dict[str | None, list[Callable[[], None]]] = {}
        self._waiting: dict[str, Waiting] = {}
        self._on_event: dict[str, list[Callable[[str, Finding], None]]] = {}
        self._told: dict[str, dict[Raised, Finding]] = {}
        self._shown: tuple[Any, dict[str, Any]] = (None, {})
        self._saved: Any = None
        self._timer: CALLBACK_TYPE | None = None
        self._acting = self._again = False

    # Life

    async def start(self) -> None:
        """Take up what was kept, listen to readings, and judge for the first time."""
        kept = self.hass.data.setdefault(KEPT, {})
        known = kept.get(self.entry.entry_id)
        self._kept = await self._load() if known is None else known
        kept[self.entry.entry_id] = self._kept
        # What is known from before a reload may not have been saved then.
        self._saved = self._lasting() if known is None else None
        for battery in self.coordinator:
            self._watch(battery)
        user = User(self.hands.relays, self.act, self._opened_by_hand)
        self.board.use(self.entry.entry_id, user)
        self.coordinator.on_reading = self._heard
        self.act()

    async def _load(self) -> KeptBus:
        """Return what the store has; what cannot be read counts as latched."""
        now, known = monotonic(), keys(self.entry).values()
        data: Any = None
        try:
            data = await self._file.load()
            if data is not None:
                return from_json(data, known, now, time.time())
        except Exception as err:  # noqa: BLE001
            _LOGGER.error(  # noqa: TRY400
                "%s: kept state cannot be read: %r", self.entry.title, err
            )
        if data is None and not self.entry.data.get(CONF_GUARDED):
            return new_bus(known, now)
        raise_issue(self, ISSUE_STATE_LOST, ir.IssueSeverity.ERROR)
        armed = has_outputs(self.entry.options)
        return lost_bus(known, now, Mode.ARMED if armed else Mode.WATCH_ONLY)

    def stop(self) -> None:
        """End; relays stay as they are, and what is known stays for a reload."""
        if self.stopped:
            return
        self.stopped = True
        self.coordinator.on_reading = None
        self._file.stop()
        self.board.rest(self.entry.entry_id)
        if self._timer:
            self._timer()
        for look in self.onlookers:
            look()

    @callback
    def _watch(self, battery: Battery) -> Watched:
        key = self.coordinator.key_of(battery)
        now = monotonic()
        kept = self._kept.batteries.setdefault(key, KeptBattery(Memory(began=now)))
        kept.memory, decision = judge(kept.memory, self.limits, None, now)
        watched = Watched(battery, key, kept, decision, judged_at=now)
        self.watched[key] = watched
        # What is known from before is no news.
        self._told[key] = _raised(decision)
        return watched

    def of(self, battery: Battery) -> Watched:
        """Return what is known of a battery."""
        key = self.coordinator.key_of(battery)
        return self.watched.get(key) or self._watch(battery)

    # Readings and time

    def _heard(
        self, battery: Battery, reading: Reading, at: float, *, part: bool
    ) -> None:
        watched = self.of(battery)
        # What was only overheard is as old as it is.
        now = monotonic() - max(0.0, time.monotonic() - at)
        if not part:
            watched.reading = reading
        if reading.current is not None:
            watched.current, watched.current_at = reading.current, now
        self._judge(watched, reading, now, part=part)
        self.act()

    def _judge(
        self,
        watched: Watched,
        reading: Reading | None,
        now: float,
        *,
        part: bool = False,
    ) -> None:
        watched.judged_at = max(now, watched.judged_at)
        kept = watched.kept
        kept.memory, watched.decision = judge(
            kept.memory,
            self.limits,
            reading,
            watched.judged_at,
            part=part,
            relays=watched.relays,
        )

    @callback
    def _due(self, _: datetime) -> None:
        self._timer = None
        now = monotonic()
        if self._kept.service_until is not None and now >= self._kept.service_until:
            self._kept.mode = self._kept.after_service
            self._kept.service_until = None
            self._after_service(now)
        for watched in self.watched.values():
            self._judge(watched, None, now)
        self.act()

    def _schedule(self) -> None:
        if self._timer:
            self._timer()
            self._timer = None
        now = monotonic()
        moments = [w.decision.judge_at for w in self.watched.values()]
        moments.append(self.plan.at)
        if self._kept.service_until is not None:
            moments.append(self._kept.service_until)
        first = min(moments)
        if first < inf:
            wait = max(first - now, 0.001)
            self._timer = async_call_later(self.hass, wait, self._due)

    # From decisions to relays

    @callback
    def act(self) -> None:
        """Let the relays follow the decisions, and tell everybody what is new."""
        if self.stopped:
            return
        if self._acting:
            # A relay answered while it was being told.
            self._again = True
            return
        self._acting = True
        try:
            for _ in range(_TURNS):
                self._again = False
                self._follow_plan()
                if not (self._judge_relays() or self._again):
                    break
        finally:
            self._acting = False
        for look in self.onlookers:
            look()
        self.publish()
        self._schedule()

    @property
    def outputs(self) -> Outputs:
        """The outputs; a shared relay that failed counts as not there."""
        outputs = self.hands.outputs
        for name in self._kept.faulty:
            if name == outputs.charge:
                outputs = replace(outputs, charge=None)
            if name == outputs.load:
                outputs = replace(outputs, load=None)
        return outputs

    def _follow_plan(self) -> None:
        now = monotonic()
        armed = self.mode is Mode.ARMED
        before = self._kept.plan if armed else PlanMemory()
        members = [self._member(watched) for watched in self.watched.values()]
        memory, self.plan = plan(
            self.outputs,
            members,
            before,
            now,
            charging_wanted=self._charging_wanted(),
        )
        # How far a battery is away is told once, not with every millivolt.
        self._waiting = {
            new.relay: _same_wait(self._waiting.get(new.relay), new)
            for new in self.plan.waiting
        }
        if not armed:
            self._kept.plan = PlanMemory()
            self.board.vote(self.entry.entry_id, {})
            return
        self._kept.plan = memory
        shared = {self.hands.outputs.charge, self.hands.outputs.load}
        votes: dict[str, Vote] = {}
        for name in self.hands.outputs.relays():
            want = self.plan.wants.get(name, Want.OPEN)
            if name in shared and name in self._kept.held and want is Want.CLOSE:
                if self.board.report(name) is Report.CLOSED:
                    self._kept.held.discard(name)  # closed by hand as well
                else:
                    want = Want.HOLD
            votes[name] = Vote(
                want=want,
                beats=self._beats(name),
                current=self._current_through(name, now),
                grace=self.limits.grace,
            )
        self.board.vote(self.entry.entry_id, votes)

    def _member(self, watched: Watched) -> Member:
        report = None
        name = self.hands.outputs.connections.get(watched.address)
        if name is not None:
            reports = {Report.OPEN: True, Report.CLOSED: False}
            report = reports.get(self.board.report(name))
        return Member(
            address=watched.address,
            decision=watched.decision,
            wanted=watched.kept.wanted,
            tested=watched.tested,
            reading=watched.reading,
            relay_open=report,
        )

    def _charging_wanted(self) -> bool:
        if not self._kept.storage:
            return True
        batteries = self.watched.values()
        low = any(
            finding.quantity is Quantity.CELL_UNDER_VOLTAGE
            for watched in batteries
            for finding in watched.decision.findings
        )
        socs = [
            watched.reading.soc if watched.reading and watched.decision.fresh else None
            for watched in batteries
        ]
        self._kept.charging = charges(self._kept.charging, socs, low=low)
        return self._kept.charging

    def _beats(self, name: str) -> bool:
        """Whether there is fresh reason to keep a relay closed."""
        shared = name in (self.hands.outputs.charge, self.hands.outputs.load)
        concerned = [
            watched
            for watched in self._concerned(name)
            if not shared or watched.address in self.plan.voting
        ]
        return bool(concerned) and all(w.decision.fresh for w in concerned)

    def _concerned(self, name: str) -> list[Watched]:
        """Return the batteries that a relay serves; one of the bus serves all."""
        outputs = self.hands.outputs
        if name in (outputs.charge, outputs.load):
            return list(self.watched.values())
        return [
            watched
            for watched in self.watched.values()
            if outputs.connections.get(watched.address) == name
        ]

    def _current_through(self, name: str, now: float) -> float | None:
        """Return the A through a connection relay, where they are known now."""
        if name not in self.hands.outputs.connections.values():
            return None
        # An older one may be from before the relay opened, and make it look welded.
        fresh = [
            abs(watched.current)
            for watched in self._concerned(name)
            if watched.current is not None and now < watched.current_at + WELDED_AFTER
        ]
        return max(fresh, default=None)

    def _judge_relays(self) -> bool:
        """Judge anew where relays changed something; return whether they did."""
        changed = self._take_faults()
        armed = self.mode is Mode.ARMED
        for watched in self.watched.values():
            name = self.hands.outputs.connections.get(watched.address)
            fault = self._danger(name) if armed and name is not None else None
            cut = self.plan.cut.get(watched.address, frozenset())
            relays = Relays(cut if armed else frozenset(), fault)
            if relays != watched.relays:
                watched.relays = relays
                self._judge(watched, None, monotonic())
                changed = True
        return changed

    def _danger(self, name: str) -> RelayFault | None:
        """Return what is wrong with a relay; one that only stays open is no danger."""
        fault = self.board.fault(name)
        return None if fault is RelayFault.NOT_CLOSING else fault

    def _take_faults(self) -> bool:
        """Remember which relays of the bus failed until a person has looked."""
        if self.mode is not Mode.ARMED:
            return False
        outputs = self.hands.outputs
        shared = {name for name in (outputs.charge, outputs.load) if name is not None}
        failed = {name for name in shared if self._danger(name) is not None}
        new = failed - self._kept.faulty
        self._kept.faulty |= new
        return bool(new)

    @callback
    def _opened_by_hand(self, name: str) -> None:
        """Somebody opened a relay: only a person closes it again."""
        concerned = self._concerned(name)
        if name in (self.hands.outputs.charge, self.hands.outputs.load):
            self._kept.held.add(name)
        else:
            for watched in concerned:
                watched.kept.wanted, watched.kept.by_hand = False, True
        _LOGGER.warning(
            "%s: %s was opened by hand", self.entry.title, self.board.entity_id(name)
        )
        self.act()

    # What others see

    @property
    def mode(self) -> Mode:
        """Whether the outputs are commanded."""
        return self._kept.mode

    @property
    def storage(self) -> bool:
        """Whether the batteries are kept about half charged."""
        return self._kept.storage

    def __iter__(self) -> Iterator[Watched]:
        """Iterate over the batteries."""
        return iter(self.watched.values())

    def member_of(self, watched: Watched) -> Member:
        """Return a battery as the outputs see it."""
        return self._member(watched)

    def connected(self, watched: Watched) -> bool:
        """Whether a person wants a battery connected and protection allows it."""
        name = self.hands.outputs.relay_of(watched.address)
        together = self._mates(watched) or [watched]
        if any(must_disconnect(self.outputs, self._member(each)) for each in together):
            return False
        if name is None or self.mode is not Mode.ARMED:
            return True
        closes = self.plan.wants.get(name) is not Want.OPEN
        return closes and self.board.report(name) is Report.CLOSED

    def waiting(self, watched: Watched) -> Waiting | None:
        """Return why a connection that may close does not yet."""
        if self.mode is not Mode.ARMED:
            return None
        name = self.hands.outputs.relay_of(watched.address)
        return self._waiting.get(name or "")

    def relay_faults(self, watched: Watched) -> dict[str, str]:
        """Return what is or was wrong with the relays of a battery, by entity."""
        outputs = self.hands.outputs
        names = (outputs.charge, outputs.load, outputs.relay_of(watched.address))
        found: dict[str, str] = {}
        for name in dict.fromkeys(n for n in names if n is not None):
            fault = self.board.fault(name)
            if fault is not None:
                found[self.board.entity_id(name)] = fault
            elif name in self._kept.faulty:
                found[self.board.entity_id(name)] = "was_at_fault"
        return found

    @callback
    def async_add_listener(
        self, told: Callable[[], None], key: str | None = None
    ) -> Callable[[], None]:
        """Call `told` whenever anything has changed that is shown.

        Where the key of a battery is given, of that one or of the bus.
        """
        listeners = self._listeners.setdefault(key, [])
        listeners.append(told)
        return lambda: listeners.remove(told)

    @callback
    def async_on_event(
        self, key: str, told: Callable[[str, Finding], None]
    ) -> Callable[[], None]:
        """Call `told` with "raised" or "cleared" and what was, of one battery."""
        self._on_event.setdefault(key, []).append(told)
        return lambda: self._on_event[key].remove(told)

    def publish(self) -> None:
        """Save, and tell everybody, what is new."""
        self._save()
        self._tell_events()
        bus = (
            self.mode,
            self.storage,
            self._kept.charging,
            frozenset(self._kept.held),
            tuple(self._waiting.values()),
            self.plan.voting,
        )
        shown = {key: self._shown_of(each) for key, each in self.watched.items()}
        before, self._shown = self._shown, (bus, shown)
        if before == self._shown:
            return
        tell_issues(self)
        # All entities in one go would hold the loop.
        changed = [k for k in shown if before[0] != bus or before[1].get(k) != shown[k]]
        for key in (None, *changed):
            for told in list(self._listeners.get(key, ())):
                told()

    def _shown_of(self, watched: Watched) -> tuple[Any, ...]:
        decision = watched.decision
        return (
            decision.findings,
            decision.may_charge,
            decision.may_discharge,
            decision.recovering,
            watched.kept.wanted,
            watched.kept.by_hand,
            watched.kept.trip_test,
            self.connected(watched),
            tuple(self.relay_faults(watched).items()),
        )

    def _tell_events(self) -> None:
        for key, watched in self.watched.items():
            before, now = self._told[key], _raised(watched.decision)
            self._told[key] = now
            # In order, so that the most serious is told last and stays to be seen.
            raised = [now[each] for each in now if each not in before]
            cleared = [before[each] for each in before if each not in now]
            for told in self._on_event.get(key, ()):
                for finding in cleared:
                    told("cleared", finding)
                for finding in raised:
                    told("raised", finding)

    # What is kept

    def _lasting(self) -> Any:
        kept = self._kept
        return (
            kept.mode,
            kept.service_until,
            kept.storage,
            kept.charging,
            frozenset(kept.held),
            frozenset(kept.faulty),
            *(
                (
                    key,
                    b.wanted,
                    b.by_hand,
                    str(b.trip_test),
                    tuple((k, t.since, t.latched) for k, t in stored_trips(b.memory)),
                    tuple(b.memory.times.items()),
                )
                for key, b in kept.batteries.items()
            ),
        )

    def _save(self) -> None:
        """Save at once what must survive a restart; nothing waits for it."""
        lasting = self._lasting()
        if lasting == self._saved:
            return
        self._saved = lasting
        data = to_json(self._kept, monotonic(), time.time())
        self.hass.async_create_task(self._file.save(data), f"{DOMAIN} save")

    @callback
    def _on_kept(self) -> None:
        if not self.entry.data.get(CONF_GUARDED):
            self.hass.config_entries.async_update_entry(
                self.entry, data={**self.entry.data, CONF_GUARDED: True}
            )

    # What a person does

    @callback
    def set_mode(self, mode: Mode) -> None:
        """Arm, disarm, or leave the outputs alone for half an hour."""
        if self._kept.mode is not Mode.SERVICE:
            # What was never armed is not armed by time.
            self._kept.after_service = self._kept.mode
        elif mode is not Mode.SERVICE:
            self._after_service(monotonic())
        self._kept.mode = mode
        until = monotonic() + SERVICE_FOR if mode is Mode.SERVICE else None
        self._kept.service_until = until
        self._kept.plan = PlanMemory()
        self.act()

    def _after_service(self, now: float) -> None:
        """Nothing could be heard meanwhile: relays have the grace of a start."""
        for watched in self.watched.values():
            watched.kept.memory = unheard(watched.kept.memory, now)
            self._judge(watched, None, now)

    @callback
    def set_storage(self, *, on: bool) -> None:
        """Keep the batteries about half charged, or not."""
        self._kept.storage, self._kept.charging = on, False
        self.act()

    @callback
    def disconnect(self, watched: Watched) -> None:
        """Open a battery's outputs until somebody connects it again."""
        watched.kept.wanted, watched.kept.by_hand = False, False
        self.act()

    @callback
    def connect(self, watched: Watched, *, person: bool) -> None:
        """Connect a battery. Raises ServiceValidationError with the reason if refused.

        Where only latches are left a person's wish clears them; where only cells are
        too low it begins the recovery.
        """
        now = monotonic()
        self._judge(watched, None, now)
        kept, decision = watched.kept, watched.decision
        if not decision.fresh:
            self.refuse(watched, *self._why_not_fresh(watched, now))
        against = [found for found in decision.against if not is_cold(found)]
        open_yet = [
            found
            for found in against
            if not isinstance(found, Finding) or found.waits is not Waits.PERSON
        ]
        low = bool(against) and decision.only_low
        if open_yet and not low:
            self.refuse(watched, *self._reason(watched, open_yet[0]))
        if (against or kept.by_hand) and not person:
            self.refuse(watched, "only_person")
        if low:
            kept.memory = recover(kept.memory, now)
        if person:
            self._acknowledge(watched, now)
        kept.wanted, kept.by_hand = True, False
        for mate in self._mates(watched):
            if mate.kept.by_hand and person:
                mate.kept.wanted, mate.kept.by_hand = True, False
        self._judge(watched, None, now)
        self.act()

    def _mates(self, watched: Watched) -> list[Watched]:
        """Return the batteries that are connected by the same relay."""
        outputs = self.hands.outputs
        name = outputs.relay_of(watched.address)
        return [
            other
            for other in self.watched.values()
            if name is not None and outputs.relay_of(other.address) == name
        ]

    @callback
    def reset(self, watched: Watched) -> None:
        """A person has looked: clear latches.

        Raises ServiceValidationError with the reason where one stays.
        """
        now = monotonic()
        self._judge(watched, None, now)
        self._acknowledge(watched, now)
        self._judge(watched, None, now)
        self.act()
        for finding in watched.decision.stops:
            trip = watched.kept.memory.trips.get((finding.quantity, finding.severity))
            if trip is not None and trip.latched:
                if not watched.decision.fresh:
                    self.refuse(watched, *self._why_not_fresh(watched, now))
                self.refuse(watched, *self._reason(watched, finding))

    def _why_not_fresh(
        self, watched: Watched, now: float
    ) -> tuple[str, dict[str, str]]:
        """Return whether nothing is heard, or nothing that can be believed."""
        memory = watched.kept.memory
        if memory.strange and memory.heard is not None and now - memory.heard <= FRESH:
            checks = (spoken(self.hass, DETAIL, check) for check in memory.strange)
            return Quantity.SENSOR_FAULT, {"what": ", ".join(checks)}
        return "no_reading", {}

    def _reason(
        self, watched: Watched, found: Finding | Obstacle
    ) -> tuple[str, dict[str, str]]:
        now = watched.kept.memory.outside.get(found.quantity)
        return refusal(self.hass, found, now)

    def _acknowledge(self, watched: Watched, now: float) -> None:
        watched.kept.memory = acknowledge(watched.kept.memory, now)
        self._kept.held.clear()
        self._kept.faulty -= {name for name in self._kept.faulty if self._works(name)}

    def _works(self, name: str) -> bool:
        gone = name not in self.hands.relays
        return gone or self.board.report(name) is Report.OPEN

    def name_of(self, watched: Watched) -> str:
        """Return what people call a battery."""
        return device_name(self.coordinator.family_name, watched.battery.identity)

    def refuse(
        self, watched: Watched, reason: str, details: dict[str, str] | None = None
    ) -> None:
        raise ServiceValidationError(
            translation_domain=DOMAIN,
            translation_key=f"refused_{reason}",
            translation_placeholders={
                "battery": self.name_of(watched),
                **(details or {}),
            },
        )


def _raised(decision: Decision) -> dict[Raised, Finding]:
    return {(f.quantity, f.severity): f for f in decision.findings}


def _same_wait(old: Waiting | None, new: Waiting) -> Waiting:
    if old is None or old.unknown is not new.unknown:
        return new
    return old if (old.apart is None) is (new.apart is None) else new
