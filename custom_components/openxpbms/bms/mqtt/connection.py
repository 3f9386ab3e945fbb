"""Retained messages kept at a broker, whatever becomes of the connection.

The last message of every topic is remembered, and nothing else: after an outage the
broker gets all of them anew, and none that is out of date.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress
from types import TracebackType
from typing import Self

from aiomqtt import Client, MqttError, Will

from .broker import Broker, BrokerAway, BrokerError, BrokerRefused

# Between two tries to connect, s; doubled after each.
FIRST_PAUSE, LONGEST_PAUSE = 1.0, 30.0
# How long the last messages may take when we leave, s.
FAREWELL = 5.0


class Connection:
    """A connection that comes back, as a context manager.

    `subscriptions` are the topics to hear; `on_message` is told topic and payload.
    """

    def __init__(
        self,
        broker: Broker,
        name: str,
        will: tuple[str, str],
        say: Callable[[str], None],
    ) -> None:
        """Prepare; `name` is the client's, `will` topic and payload, `say` tells."""
        self._broker = broker
        self._name = name
        self._will = Will(*will, qos=1, retain=True)
        self._say = say
        self.subscriptions: Sequence[str] = ()
        self.on_message: Callable[[str, str], None] = lambda topic, payload: None
        self._latest: dict[str, str] = {}
        # In the order in which they became due.
        self._due: dict[str, None] = {}
        self._more = asyncio.Event()
        self._sent = asyncio.Event()
        self._connected = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._retry = True

    async def connect(self, *, retry: bool = True) -> None:
        """Connect for the first time.

        Raises BrokerRefused, without `retry` also BrokerAway.
        """
        self._retry = retry
        self._task = asyncio.create_task(self._keep())
        connected = asyncio.create_task(self._connected.wait())
        try:
            await asyncio.wait(
                (self._task, connected), return_when=asyncio.FIRST_COMPLETED
            )
        finally:
            connected.cancel()
        await self.pause(0)

    async def __aenter__(self) -> Self:
        """Begin without a connection."""
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        err: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Send what is due if the broker is there, and leave."""
        if self._task is None:
            return
        with suppress(TimeoutError):
            if self._connected.is_set():
                await asyncio.wait_for(self._sent.wait(), FAREWELL)
        self._task.cancel()
        await asyncio.wait((self._task,))

    def get(self, topic: str) -> str | None:
        """Return the last message of a topic."""
        return self._latest.get(topic)

    def put(self, topic: str, payload: str, *, anew: bool = False) -> bool:
        """Have a message at the broker soon; tell whether it is sent.

        One that the broker has already is only sent if `anew`.
        """
        if self._latest.get(topic) == payload and not anew:
            return False
        self._latest[topic] = payload
        self._due[topic] = None
        self._sent.clear()
        self._more.set()
        return True

    async def sent(self) -> None:
        """Wait until the broker has everything."""
        while not self._sent.is_set():
            await self.pause(0.1)

    async def pause(self, seconds: float) -> None:
        """Let time pass. Raises what ended the connection for good."""
        assert self._task is not None
        await asyncio.wait((self._task,), timeout=seconds)
        if self._task.done():
            self._task.result()

    async def _keep(self) -> None:
        """Connect again and again; ends with an error only."""
        pause, told, ever = FIRST_PAUSE, "", False
        while True:
            try:
                async with self._broker.client(self._name, self._will) as client:
                    pause, told, ever = FIRST_PAUSE, "", True
                    await self._serve(client)
            except MqttError as err:
                failure = self._failure(err)
                if not ever and (not self._retry or isinstance(failure, BrokerRefused)):
                    raise failure from err
                if str(failure) != told:
                    told = str(failure)
                    self._say(f"{told}; trying again.")
            finally:
                self._connected.clear()
            await asyncio.sleep(pause)
            pause = min(2 * pause, LONGEST_PAUSE)

    def _failure(self, err: MqttError) -> BrokerError:
        if self._connected.is_set():
            return BrokerAway(f"The connection to the broker {self._broker} was lost")
        return self._broker.failure(err)

    async def _serve(self, client: Client) -> None:
        """Send and hear until the connection is lost, which raises an MqttError."""
        for topic in self.subscriptions:
            await client.subscribe(topic, qos=1)
        self._due = dict.fromkeys(self._latest)
        self._sent.clear()
        self._connected.set()
        self._say(f"Connected to the broker {self._broker}.")
        both = [
            asyncio.create_task(self._send(client)),
            asyncio.create_task(self._hear(client)),
        ]
        try:
            await asyncio.gather(*both)
        finally:
            for task in both:
                task.cancel()
            await asyncio.gather(*both, return_exceptions=True)

    async def _send(self, client: Client) -> None:
        while True:
            self._more.clear()
            while self._due:
                topic = next(iter(self._due))
                # Before it is sent: what comes meanwhile is due again.
                del self._due[topic]
                await client.publish(topic, self._latest[topic], qos=1, retain=True)
            self._sent.set()
            await self._more.wait()

    async def _hear(self, client: Client) -> None:
        async for message in client.messages:
            payload = message.payload
            assert isinstance(payload, bytes)
            self.on_message(str(message.topic), payload.decode(errors="replace"))
