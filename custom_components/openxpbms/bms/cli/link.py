"""A port opened, its batteries found, and a round of them whenever one is wanted."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from math import inf
import time
from typing import Protocol

from ..bus import LISTEN, Bus
from ..errors import AnswerError, BusError, ForeignMaster
from ..families import KINDS, SEPLOS, VALENCE, make_bus, make_family, make_timing
from ..family import Family, ScanResult
from ..listening import Listening
from ..port import changes_speed, is_remote, shown
from ..reading import Reading
from ..rounds import Battery, Rounds
from ..valence import LineMode

LINE_AUTO = "auto"
# Some adapters make a byte or two of their own when their port is opened.
SPARE_BYTES = 3
# How long a pack may take while nobody knows whether there are packs at all, s.
QUICK_ANSWER = 0.25
# How long to wait for the packs of a bank, s.
BANK_PATIENCE = 10.0


@dataclass(frozen=True, slots=True)
class Choice:
    """How the batteries behind a port are reached.

    `url` is a path or anything else that serialx opens; `family` None to find out;
    `addresses` None for the usual ones; `listen` to send nothing, ever; `line` how
    Valence's ninth bit is sent; `divisor` Seplos' counts of 1 A where the board does
    not tell them; `invert` turns Valence's current; `answer` is how long a battery may
    take, s.
    """

    url: str
    family: str | None = None
    addresses: tuple[int, ...] | None = None
    listen: bool = False
    line: str = LINE_AUTO
    divisor: int | None = None
    invert: bool = False
    answer: float | None = None


class Progress(Protocol):
    """Who is told what is being done and the share that is done, from 0 to 1."""

    def __call__(self, doing: str, share: float) -> None:
        """Show it."""


type OnBus = Callable[[Bus, str], None]


class NothingFound(AnswerError):
    """No battery answered, or none was heard."""


class NoisyLine(BusError):
    """Bytes come that make no frame, and nobody said which family is asked."""

    key = "noisy_line"


class Link:
    """The batteries of one port, asked or listened to.

    `family_name` is a key of KINDS, `result` what the search brought.
    """

    def __init__(
        self,
        family_name: str,
        family: Family,
        rounds: Rounds | Listening,
        result: ScanResult,
    ) -> None:
        """Take over what a search brought."""
        self.family_name = family_name
        self.family = family
        self.rounds = rounds
        self.result = result

    @property
    def bus(self) -> Bus:
        """The bus, which is open."""
        return self.family.bus

    @property
    def listens(self) -> bool:
        """Whether the batteries are only listened to, on a mute bus."""
        return self.bus.mute

    @property
    def batteries(self) -> list[Battery]:
        """The batteries; of a bank that is listened to there may come more."""
        return self.rounds.batteries

    def leave_slow_values(self) -> None:
        """Let rounds read what changes quickly and nothing else."""
        for battery in self.batteries:
            battery.slow_from = inf

    async def round(self) -> None:
        """Read every battery once, or let go of those that are not heard any more.

        Raises a PortError, ForeignMaster, or GarbledAnswer where the line does not
        become quiet. A battery that does not answer is no error here: it has no
        reading, and its `error` says why.
        """
        await self.rounds.round()


@asynccontextmanager
async def opened(
    choice: Choice, progress: Progress | None = None, on_bus: OnBus | None = None
) -> AsyncIterator[Link]:
    """Open a port, find its batteries, and close it afterwards in any case.

    Listens first. A Seplos bank that is heard is only listened to; any other master
    is left alone. On a quiet line Seplos packs are asked for, then Valence modules,
    unless the choice names the family. `on_bus` is told of each bus before it is
    opened, and of its family; the last one is the link's.
    Raises a PortError, ForeignMaster, NoisyLine or NothingFound.
    """
    search = _Search(choice, progress or _untold, on_bus)
    try:
        yield await search.find()
    finally:
        await search.close()


def _untold(doing: str, share: float) -> None:
    """Tell nobody."""


class _Search:
    """One search; it has one bus at a time, whose last one is the link's."""

    def __init__(
        self, choice: Choice, progress: Progress, on_bus: OnBus | None
    ) -> None:
        self._choice = choice
        self._progress = progress
        self._on_bus = on_bus
        self._bus: Bus | None = None
        self._noise = 0
        # What was asked for, in words, and who did not answer clearly.
        self._asked: list[str] = []
        self._garbled: list[int] = []

    async def close(self) -> None:
        if self._bus is not None:
            await self._bus.close()

    async def find(self) -> Link:
        choice = self._choice
        if choice.listen:
            return await self._listened() or self._fail("no pack was heard")
        both = (SEPLOS, VALENCE) if changes_speed(choice.url) else (SEPLOS,)
        for name in both if choice.family is None else (choice.family,):
            if self._addresses(name) and (link := await self._found(name)):
                return link
        if self._noisy:
            raise NoisyLine(
                f"{self._noise} bytes came in on {shown(choice.url)} that make no"
                " frame, so nothing was sent: it may be another master at another"
                " speed, or A and B swapped. Name the --family to ask all the same"
            )
        what = f"no battery answered (asked: {'; '.join(self._asked)})"
        if self._garbled:
            what = f"no battery answered clearly ({_spans(self._garbled)} did garbled)"
        return self._fail(what)

    def _fail(self, what: str) -> Link:
        port = shown(self._choice.url)
        raise NothingFound(
            f"{what} on {port}. Is it switched on, are A and B the right way round?"
            f" `openxpbms doctor {port}` looks for the cause"
        )

    @property
    def _noisy(self) -> bool:
        """Whether somebody seems to talk, and nobody said that it does not matter."""
        return self._choice.family is None and self._noise > SPARE_BYTES

    async def _found(self, name: str) -> Link | None:
        """Listen as one family, then ask for it unless somebody else talks."""
        family = await self._family(name)
        heard = await family.listen(LISTEN, self._telling("Listening"))
        if heard.foreign:
            if name == SEPLOS and (link := await self._listened()):
                return link
            port = shown(self._choice.url)
            raise ForeignMaster(f"another master talks on {port}", port=port)
        self._noise += heard.noise
        if self._noisy:
            return None
        await family.open()
        result = await self._scan(name, family)
        if not result.found:
            return None
        return Link(name, family, Rounds(family, result.found), result)

    async def _family(self, name: str, *, mute: bool = False) -> Family:
        """Return a family on a new bus, after the port was let go."""
        await self.close()
        choice = self._choice
        timing = make_timing(choice.url, name, answer=choice.answer)
        self._bus = make_bus(choice.url, name, timing, mute=mute)
        if self._on_bus:
            self._on_bus(self._bus, name)
        forced = choice.line != LINE_AUTO
        return make_family(
            self._bus,
            name,
            mode=LineMode(choice.line) if forced else LineMode.MARK,
            forced=forced,
            inverted=choice.invert,
            divisor=choice.divisor,
        )

    def _addresses(self, name: str) -> list[int]:
        """Return whom to ask of a family."""
        kind, given = KINDS[name], self._choice.addresses
        return [a for a in given or kind.addresses if a in kind.allowed]

    async def _scan(self, name: str, family: Family) -> ScanResult:
        kind, asked = KINDS[name], self._addresses(name)
        what = f"{kind.name} {_spans(asked)}"
        self._asked.append(what)
        telling = self._telling(f"Asking for {what}")
        bus, timing = family.bus, family.bus.timing
        if self._quick:
            bus.timing = replace(timing, answer=min(timing.answer, QUICK_ANSWER))
        result = await family.scan(asked, telling)
        late = bus.counters.late > 0
        bus.timing = timing
        if late and not result.found:
            # Somebody needs longer than most.
            result = await family.scan(asked, telling)
        self._garbled += result.garbled
        return result

    @property
    def _quick(self) -> bool:
        """Whether to ask in haste: there is another family to try."""
        choice = self._choice
        chosen = choice.family is not None or choice.answer is not None
        return not (chosen or is_remote(choice.url))

    async def _listened(self) -> Link | None:
        """Listen without a word until each pack of a bank has had its turn."""
        family = await self._family(SEPLOS, mute=True)
        rounds = Listening(family.bus, (), divisor=self._choice.divisor)
        heard: Counter[int] = Counter()

        def count(battery: Battery, reading: Reading, at: float, *, part: bool) -> None:
            heard[battery.identity.address] += not part

        rounds.on_reading = count
        telling = self._telling("Listening to the packs of a bank")
        start = time.monotonic()
        # Between two readings of one pack all others are polled.
        while max(heard.values(), default=0) < 2:
            passed = time.monotonic() - start
            if passed > BANK_PATIENCE:
                break
            telling(passed / BANK_PATIENCE)
            await rounds.round()
            await asyncio.sleep(0.1)
        rounds.on_reading = None
        if not rounds.batteries:
            return None
        rounds.batteries.sort(key=lambda battery: battery.identity.address)
        found = tuple(battery.identity for battery in rounds.batteries)
        return Link(SEPLOS, family, rounds, ScanResult(found, ()))

    def _telling(self, doing: str) -> Callable[[float], None]:
        return lambda share: self._progress(doing, share)


def _spans(addresses: Iterable[int]) -> str:
    """Return addresses as people write them: 1-4, 17."""
    spans: list[list[int]] = []
    for address in sorted(set(addresses)):
        if spans and spans[-1][-1] == address - 1:
            spans[-1].append(address)
        else:
            spans.append([address])
    return ", ".join(
        f"{span[0]}-{span[-1]}" if len(span) > 1 else f"{span[0]}" for span in spans
    )
