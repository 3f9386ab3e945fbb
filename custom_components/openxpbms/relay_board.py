"""The relays that protection switches, shared by all entries: each has one arbiter.

A relay is on only if all who vote on it agree. It is followed by its registry id, so
that renaming it changes nothing.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
import logging
from math import inf
from time import monotonic
from typing import TYPE_CHECKING

from homeassistant.const import (
    SERVICE_TURN_OFF,
    SERVICE_TURN_ON,
    STATE_OFF,
    STATE_ON,
)
from homeassistant.core import CoreState, HassJob, callback
from homeassistant.helpers import entity_registry as er
from homeassistant.helpers.event import (
    async_call_later,
    async_track_entity_registry_updated_event,
    async_track_state_change_event,
)
from homeassistant.util.hass_dict import HassKey

from .bms.limits import GRACE
from .bms.outputs import Want, stricter
from .bms.relay import RelayFault, RelayMemory, Report, follow, unheard
from .const import DOMAIN
from .guard_options import Heartbeat, Relay, hands_of

if TYPE_CHECKING:
    from datetime import datetime

    from homeassistant.core import CALLBACK_TYPE, HomeAssistant

_LOGGER = logging.getLogger(__name__)

# s; a relay's own timer is longer than a lapse by far.
BEAT = 30.0
LAPSE = 90.0
# While Home Assistant starts a relay that is away is looked at so often, s.
STARTING = 5.0
# What hangs longer is given up, s: the relay is told again.
CALL_TIMEOUT = 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Vote:
    """What an entry wants of a relay.

    `beats` while it has fresh reason to keep it closed. `current` is the A through it,
    where known. Away for longer than `grace` s is a fault.
    """

    want: Want
    beats: bool = False
    current: float | None = None
    grace: float = GRACE.default


@dataclass(slots=True)
class User:
    """An entry that uses relays, by their names.

    `changed` is called when one reports or fails otherwise than before,
    `opened_by_hand` with the one that somebody opened; while it rests those are noted
    in `missed`.
    """

    relays: Mapping[str, Relay]
    changed: Callable[[], None]
    opened_by_hand: Callable[[str], None]
    votes: Mapping[str, Vote] = field(default_factory=dict)
    missed: set[str] = field(default_factory=set)


class Follower:
    """One relay and its entity."""

    def __init__(self, board: RelayBoard, relay: Relay) -> None:
        """Begin to listen to its state."""
        self.board = board
        self.hass = board.hass
        self.relay = relay
        self.entity_id: str | None = None
        self._gone = True
        self.memory = RelayMemory()
        self.fault: RelayFault | None = None
        self._beaten = monotonic()
        self._beat_due = 0.0
        self._timer: CALLBACK_TYPE | None = None
        self._untrack: list[CALLBACK_TYPE] = []
        self._closed = False
        self._find()

    def close(self) -> None:
        """Let go of the relay as it is."""
        self._closed = True
        self._stop_timer()
        self._stop_listening()

    def _stop_listening(self) -> None:
        for untrack in self._untrack:
            untrack()
        self._untrack.clear()

    def _stop_timer(self) -> None:
        if self._timer:
            self._timer()
            self._timer = None

    @callback
    def _find(self) -> None:
        """Find the entity, also under a new name; one that is gone keeps its last."""
        self._stop_listening()
        found = er.async_get(self.hass).entities.get_entry(self.relay.entity)
        self._gone = found is None
        if found is not None:
            self.entity_id = found.entity_id
        if self.entity_id is None:
            return
        self._untrack.append(
            async_track_state_change_event(
                self.hass, self.entity_id, self._state_changed
            )
        )
        self._untrack.append(
            async_track_entity_registry_updated_event(
                self.hass, self.entity_id, self._renamed
            )
        )

    @callback
    def _renamed(self, _: object) -> None:
        self._find()
        self._state_changed()

    @callback
    def _state_changed(self, _: object = None) -> None:
        self.step()
        self.board.changed(self.relay.entity)

    def _find_again(self) -> None:
        """Find an entity that came back under another name: that tells nobody."""
        found = er.async_get(self.hass).entities.get_entry(self.relay.entity)
        if found is not None and (self._gone or found.entity_id != self.entity_id):
            self._find()

    @property
    def report(self) -> Report:
        """What the relay says of itself now."""
        state = self.hass.states.get(self.entity_id or "")
        if self._gone or state is None or state.state not in (STATE_ON, STATE_OFF):
            return Report.AWAY
        closed = (state.state == STATE_ON) is not self.relay.inverted
        return Report.CLOSED if closed else Report.OPEN

    @callback
    def step(self, _: datetime | None = None) -> None:
        """Do what the votes, the relay and the time demand."""
        self._stop_timer()
        self._find_again()
        votes = self.board.votes(self.relay.entity)
        if not votes:
            # What nobody commands is nobody's fault; it starts anew when armed.
            self.memory, self.fault = RelayMemory(), None
            return
        now = monotonic()
        currents = [abs(v.current) for v in votes if v.current is not None]
        beating = self.relay.heartbeat is not Heartbeat.OFF
        want = stricter(*(vote.want for vote in votes))
        before = self.fault
        self.memory, step = follow(
            self.memory,
            want,
            self.report,
            now,
            current=max(currents, default=None),
            grace=max(vote.grace for vote in votes),
            lapsed=beating and now - self._beaten > LAPSE,
        )
        if self.hass.state is not CoreState.running and self.memory.away is not None:
            # The integration that brings it may still be starting.
            self.memory = replace(self.memory, away=None)
            step = replace(step, fault=None, at=min(step.at, now + STARTING))
        self.fault = step.fault
        if self.fault is not None and self.fault is not before:
            _LOGGER.error(
                "Relay %s: %s", self.entity_id or self.relay.entity, step.fault
            )
        at = min(step.at, self._beat(votes, want, now) if beating else step.at)
        if at < inf:
            job = HassJob(self.step, cancel_on_shutdown=True)
            self._timer = async_call_later(self.hass, max(at - now, 0.001), job)
        if step.by_hand:
            self.board.opened_by_hand(self.relay.entity)
        if step.tell is not Want.HOLD:
            self._switch(on=(step.tell is Want.CLOSE) is not self.relay.inverted)
        if step.fault is not before:
            # Whoever shares it may have nothing else to wait for.
            self.board.changed(self.relay.entity)

    def _beat(self, votes: Iterable[Vote], want: Want, now: float) -> float:
        """Keep a relay alive that is rightly closed; return when to look again."""
        alive = want is not Want.OPEN and all(vote.beats for vote in votes)
        if not alive or self.report is not Report.CLOSED:
            return now + BEAT
        if now >= self._beat_due:
            self._beat_due = now + BEAT
            self._beaten = now
            self._send_beat()
        return self._beat_due

    def _send_beat(self) -> None:
        if self.relay.heartbeat is Heartbeat.TURN_ON:
            self._switch(on=True)
            return
        target = er.async_get(self.hass).entities.get_entry(self.relay.target or "")
        if target is None:
            return
        service = "turn_on" if target.domain == "script" else "press"
        self._call(target.domain, service, target.entity_id)

    def _switch(self, *, on: bool) -> None:
        if self.entity_id is None or self._gone:
            return
        service = SERVICE_TURN_ON if on else SERVICE_TURN_OFF
        self._call(self.entity_id.partition(".")[0], service, self.entity_id)

    def _unheard(self) -> None:
        """Tell it again soon; while Home Assistant starts that is not its fault.

        Its state may be there before the service that switches it.
        """
        if self._closed:
            return
        starting = self.hass.state is not CoreState.running
        self.memory = unheard(self.memory, monotonic(), excused=starting)
        self.step()

    def _call(self, domain: str, service: str, entity_id: str) -> None:
        """Call without waiting: nobody may hold up the next relay."""
        self.hass.async_create_task(
            self._called(domain, service, entity_id), f"openxpbms {service} {entity_id}"
        )

    async def _called(self, domain: str, service: str, entity_id: str) -> None:
        try:
            async with asyncio.timeout(CALL_TIMEOUT):
                await self.hass.services.async_call(
                    domain, service, {"entity_id": entity_id}, blocking=True
                )
        except Exception as err:  # noqa: BLE001
            # Whatever another integration does: the relay is told again.
            _LOGGER.warning("%s of %s failed: %r", service, entity_id, err)
            self._unheard()


class RelayBoard:
    """All relays and who uses them."""

    def __init__(self, hass: HomeAssistant) -> None:
        """Begin with none."""
        self.hass = hass
        self._users: dict[str, User] = {}
        self._followers: dict[str, Follower] = {}

    def use(self, user_id: str, user: User) -> None:
        """Begin to use relays; what was wanted before holds until the first vote."""
        before = self._users.get(user_id)
        self._users[user_id] = user
        if before is not None:
            user.votes = {n: v for n, v in before.votes.items() if n in user.relays}
            self._let_go(before.relays.keys() - user.relays.keys())
        for name, relay in user.relays.items():
            follower = self._followers.get(name)
            if follower is not None and follower.relay != relay:
                if self.users(name) == {user_id}:
                    follower.close()
                    follower = None
                elif follower.relay.inverted is not relay.inverted:
                    _LOGGER.error(
                        "%s is inverted for one bus and not for another: the first "
                        "counts",
                        follower.entity_id,
                    )
            if follower is None:
                self._followers[name] = Follower(self, relay)
        for name in before.missed & user.relays.keys() if before else ():
            user.opened_by_hand(name)

    def rest(self, user_id: str) -> None:
        """End to decide until the user is back: nothing closes, what is wanted open is.

        An entry that is loaded anew does not leave its relays to others meanwhile.
        """
        user = self._users.get(user_id)
        if user is None:
            return
        missed: set[str] = set()
        self._users[user_id] = User(
            user.relays, lambda: None, missed.add, user.votes, missed
        )
        votes = {
            name: Vote(want=stricter(vote.want, Want.HOLD), grace=vote.grace)
            for name, vote in user.votes.items()
        }
        self.vote(user_id, votes)

    def leave(self, user_id: str) -> None:
        """End to use relays; they stay as they are, or as the others want them."""
        user = self._users.pop(user_id, None)
        self._let_go(user.relays if user else ())

    def _let_go(self, names: Iterable[str]) -> None:
        for name in names:
            if self.users(name):
                self._followers[name].step()
            else:
                self._followers.pop(name).close()

    def users(self, name: str) -> set[str]:
        """Return who uses a relay."""
        return {user_id for user_id, user in self._users.items() if name in user.relays}

    def vote(self, user_id: str, votes: Mapping[str, Vote]) -> None:
        """Say what is wanted of relays, in the order in which they are to act."""
        user = self._users[user_id]
        withdrawn = user.votes.keys() - votes.keys()
        user.votes = votes
        for name in (*votes, *withdrawn):
            self._followers[name].step()

    def votes(self, name: str) -> list[Vote]:
        """Return all votes on a relay.

        An entry that was not loaded yet cannot agree to anything.
        """
        users = self._users.values()
        votes = [user.votes[name] for user in users if name in user.votes]
        if votes and self._awaits(name):
            votes.append(Vote(want=Want.HOLD))
        return votes

    def _awaits(self, name: str) -> bool:
        return any(
            entry.entry_id not in self._users and name in hands_of(entry).relays
            for entry in self.hass.config_entries.async_entries(
                DOMAIN, include_ignore=False, include_disabled=False
            )
        )

    def report(self, name: str) -> Report:
        """Return what a relay says of itself."""
        return self._followers[name].report

    def fault(self, name: str) -> RelayFault | None:
        """Return what is wrong with a relay."""
        return self._followers[name].fault

    def entity_id(self, name: str) -> str:
        """Return the entity of a relay, its registry id where it never had one."""
        return self._followers[name].entity_id or name

    def changed(self, name: str) -> None:
        """Tell all who use a relay that it reports something else."""
        for user in [u for u in self._users.values() if name in u.relays]:
            user.changed()

    def opened_by_hand(self, name: str) -> None:
        """Tell all who keep a relay closed that somebody opened it."""
        for user in [u for u in self._users.values() if name in u.votes]:
            user.opened_by_hand(name)


_BOARD: HassKey[RelayBoard] = HassKey(f"{DOMAIN}_relays")


def relay_board(hass: HomeAssistant) -> RelayBoard:
    """Return the one board of this Home Assistant."""
    return hass.data.setdefault(_BOARD, RelayBoard(hass))
