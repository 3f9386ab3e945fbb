"""The batteries of one port, read round after round and kept up to date at a broker."""

from __future__ import annotations

from collections.abc import Callable
import json
import time
from typing import TYPE_CHECKING

from ..errors import BusError
from ..rounds import Battery
from ..shown import device_name
from .connection import Connection
from .discovery import EXPIRES, device
from .state import State
from .topics import OFFLINE, ONLINE, Topics, battery_ids

if TYPE_CHECKING:
    from ..cli.link import Link

# After this time a state is sent again although nothing has changed, s.
AGAIN = EXPIRES / 3


class Bridge:
    """Reads and sends; what it hears only makes it send again, never write."""

    def __init__(
        self, connection: Connection, topics: Topics, say: Callable[[str], None]
    ) -> None:
        """Begin to hear; `say` tells a person what happens."""
        self._connection = connection
        self._topics = topics
        self._say = say
        self._mirrors: dict[int, _Mirror] = {}
        self._trouble: str | None = None
        connection.subscriptions = (
            topics.birth,
            topics.status,
            topics.availability("+"),
        )
        connection.on_message = self._heard

    async def run(self, link: Link, interval: float, *, once: bool = False) -> None:
        """Read every `interval` s until cancelled, which tells that we are gone.

        With `once` one round is sent and nothing else is told: its values are believed
        until they expire. Raises a BrokerError where the broker cannot be used.
        """
        try:
            while True:
                await self._round(link)
                self._connection.put(self._topics.status, ONLINE)
                if once:
                    await self._connection.sent()
                    return
                await self._connection.pause(interval)
        finally:
            if not once:
                self._connection.put(self._topics.status, OFFLINE)

    async def _round(self, link: Link) -> None:
        trouble = None
        try:
            await link.round()
        except BusError as err:
            trouble = str(err)
        if trouble and trouble != self._trouble:
            self._say(f"{trouble}; trying again.")
        elif self._trouble and not trouble:
            self._say("The port works again.")
        self._trouble = trouble
        for battery in link.batteries:
            if battery.identity.address not in self._mirrors:
                self._introduce(link, battery)
        for mirror in self._mirrors.values():
            mirror.send(self._connection, time.monotonic())
            # The port's trouble is told once, not for each battery.
            mirror.tell(self._say, quiet=trouble is not None)

    def _introduce(self, link: Link, battery: Battery) -> None:
        """Begin with a battery."""
        family, topics = link.family_name, self._topics
        known = [other.identity for other in link.batteries]
        address = battery.identity.address
        name = battery_ids(family, topics.bridge, known)[address]
        self._mirrors[address] = mirror = _Mirror(family, battery, name, topics)
        mirror.introduce(self._connection)

    def _heard(self, topic: str, payload: str) -> None:
        """Send again what Home Assistant or the broker does not know any more."""
        ours = self._connection.get(topic)
        if topic == self._topics.birth:
            if payload == ONLINE:
                for mirror in self._mirrors.values():
                    mirror.introduce(self._connection)
        elif ours is not None:
            # The will of a connection that we had before comes late.
            if payload != ours:
                self._connection.put(topic, ours, anew=True)
        elif payload == ONLINE and topic != self._topics.status:
            # Of a battery that was there in an earlier run.
            self._connection.put(topic, OFFLINE)


class _Mirror:
    """One battery at the broker."""

    def __init__(
        self, family: str, battery: Battery, name: str, topics: Topics
    ) -> None:
        self._battery = battery
        self._label = device_name(family, battery.identity)
        self._config = topics.config(name)
        self._discovery = json.dumps(device(family, battery.identity, name, topics))
        self._topic = topics.state(name)
        self._availability = topics.availability(name)
        self._state = State(family, battery)
        self._sent_at = 0.0
        self._silent = False

    def introduce(self, connection: Connection) -> None:
        """Tell Home Assistant of the battery."""
        connection.put(self._config, self._discovery, anew=True)

    def send(self, connection: Connection, now: float) -> None:
        """Send what has changed, values before the word that they are valid."""
        state = self._state.take(now)
        if state is not None:
            old = now - self._sent_at >= AGAIN
            if connection.put(self._topic, state, anew=old):
                self._sent_at = now
        connection.put(self._availability, OFFLINE if state is None else ONLINE)

    def tell(self, say: Callable[[str], None], *, quiet: bool) -> None:
        """Say once that the battery is silent, and once that it is back."""
        silent = self._battery.reading is None
        if silent != self._silent and not quiet:
            self._silent = silent
            if silent:
                say(f"{self._label} is silent: {self._battery.error}.")
            else:
                say(f"{self._label} answers again.")
