"""A parameter changed: looked at, agreed to by a typed word, written, read back.

The one way from the command line and the console into a pack. The rules, the frame and
the read-back are those of `seplos_writes`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
import signal
import time
from typing import TYPE_CHECKING

from ..families import SEPLOS
from ..seplos_writes import QUIET, Known, Prepared, Result, Wish, Writer
from .exits import Exit, Failure

if TYPE_CHECKING:
    from ..parameter_rules import Pack
    from ..rounds import Battery
    from .link import Link

WORD = "yes"
DANGER = "A wrong parameter can damage the battery or start a fire."
# How long a person may think, s.
AGREE_WITHIN = 300.0
_ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Changing:
    """The parameters of one pack, and one change of them at a time.

    `interrupted` says that somebody wanted to end the process during a write.
    """

    def __init__(self, link: Link, battery: Battery) -> None:
        """Take a pack that is asked. Raises Failure for any other battery."""
        refuse_unless_asked(link)
        self.battery = battery
        self.interrupted = False
        self._bus = link.bus
        self._writer = Writer(link.bus, battery.identity)
        self._prepared_at = 0.0

    @property
    def _known(self) -> Known:
        # How the pack came is not kept here; so it is never set beyond what it is now
        # by the rules that ask for that.
        return Known(factory={}, reading=self.battery.reading)

    @property
    def unwatched(self) -> float:
        """For how many s the line must still be watched before anything is written."""
        return max(0.0, QUIET - self._bus.quiet_for)

    async def pack(self) -> Pack:
        """Read all parameters now. Raises a BusError."""
        return await self._writer.pack(self._known)

    async def prepare(self, wish: Wish) -> Prepared:
        """Look at a change without making it. Raises a ParameterError or BusError."""
        prepared = await self._writer.prepare(wish, self._known, at_once=True)
        self._prepared_at = time.monotonic()
        return prepared

    async def make(self, prepared: Prepared, word: str) -> Result:
        """Write what was prepared, if `word` is a yes, and return what came of it.

        Goes to its end and reads back, whatever happens to the process or the caller
        meanwhile. Raises Failure where it was not agreed to, or too late.
        """
        if word.strip().lower() != WORD:
            raise Failure("Nothing was written.", Exit.NOT_CONFIRMED)
        if time.monotonic() - self._prepared_at > AGREE_WITHIN:
            raise Failure(
                "Nothing was written: the change was agreed to after more than five"
                " minutes.",
                Exit.NOT_CONFIRMED,
            )
        with _undisturbed() as came:
            writing = asyncio.create_task(
                self._writer.write(prepared, self._known, before=_at_once)
            )
            try:
                result = await asyncio.shield(writing)
            except asyncio.CancelledError:
                await writing
                raise
        self.interrupted = bool(came)
        # What is shown of the settings is read anew with the next round.
        self.battery.slow_from = 0.0
        return result


def only_pack(link: Link) -> Battery:
    """Return the one pack of a link. Raises Failure where there are several."""
    refuse_unless_asked(link)
    if len(link.batteries) == 1:
        return link.batteries[0]
    each = ", ".join(str(battery.identity.address) for battery in link.batteries)
    raise Failure(
        f"There are packs at the addresses {each}: choose one with --addresses.",
        Exit.WRONG_USE,
    )


def refuse_unless_asked(link: Link) -> None:
    """Raise Failure where batteries have no parameters, or must not be asked."""
    if link.family_name != SEPLOS:
        raise Failure(
            "Valence modules have no parameters: they are only ever read, and nothing"
            " can be written into them.",
            Exit.WRONG_USE,
        )
    if link.listens:
        raise Failure(
            "This bank has a master of its own, so nothing is sent on its line, neither"
            " a question nor a write. Take the pack out of the bank, connect it alone,"
            " and try again.",
            Exit.FOREIGN_MASTER,
        )


async def _at_once() -> None:
    """Do nothing before the frame leaves: a person sits at the terminal."""


@contextmanager
def _undisturbed() -> Iterator[list[signal.Signals]]:
    """Hold back what would end the process; the list tells what came."""
    loop = asyncio.get_running_loop()
    came: list[signal.Signals] = []
    before = {number: signal.getsignal(number) for number in _ENDING}
    for number in _ENDING:
        loop.add_signal_handler(number, came.append, number)
    try:
        yield came
    finally:
        for number, handler in before.items():
            loop.remove_signal_handler(number)
            signal.signal(number, handler)
