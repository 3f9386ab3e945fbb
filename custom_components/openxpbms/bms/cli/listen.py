"""`openxpbms listen`: who talks on a port, without a word."""

from __future__ import annotations

from collections import Counter
import json
from typing import Annotated

import typer

from ..families import KINDS, SEPLOS, VALENCE, make_bus, make_family
from ..frame import Frame, Refusal, Reply
from ..listening import Listening
from ..port import changes_speed, shown
from ..reading import Reading
from ..rounds import Battery
from .arguments import with_port
from .exits import Exit, Failure
from .link import SPARE_BYTES, Choice
from .terminal import progress, remark
from .values import facts, heading, line


@with_port
async def listen(
    choice: Choice,
    seconds: Annotated[
        float, typer.Option("--seconds", "-s", min=0.1, help="How long to listen.")
    ] = 10.0,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Hear who talks on a port. Nothing is ever sent.

    Shows the packs of a Seplos bank, and how many frames went over the line:
    questions of a master, replies, and bytes that make no frame. Where nothing
    is heard at the speed of Seplos, that of Valence is tried.

      openxpbms listen /dev/ttyUSB0
      openxpbms listen /dev/ttyUSB0 --family valence --seconds 60
    """
    heard = _Heard(choice)
    both = (SEPLOS, VALENCE) if changes_speed(choice.url) else (SEPLOS,)
    for family in both if choice.family is None else (choice.family,):
        await heard.listen(family, seconds)
        if heard.frames:
            break
    if as_json:
        typer.echo(json.dumps(heard.as_dict(), indent=2))
    else:
        heard.show()
    if not heard.frames and heard.noise <= SPARE_BYTES:
        raise Failure(
            f"Nothing was heard on {shown(choice.url)}. A battery that is asked by"
            " nobody says nothing, unless it is the first pack of a Seplos bank.",
            Exit.NO_BATTERY,
        )
    if not heard.frames:
        remark(
            "Bytes that make no frame: another speed, A and B swapped, or a line"
            " that is not terminated."
        )


class _Heard:
    """What was heard on one port, of the family that was listened to last."""

    def __init__(self, choice: Choice) -> None:
        self._choice = choice
        self.family = SEPLOS
        self.batteries: list[Battery] = []
        self.readings: Counter[int] = Counter()
        self.questions = self.replies = self.noise = 0

    @property
    def frames(self) -> int:
        return self.questions + self.replies

    async def listen(self, family: str, seconds: float) -> None:
        choice, self.family = self._choice, family
        bus = make_bus(choice.url, family, mute=True)
        asking = make_family(bus, family)
        listening = Listening(bus, (), divisor=choice.divisor)
        listening.on_reading = self._count
        understand = bus.on_heard
        assert understand is not None

        def take(frame: Frame) -> None:
            if isinstance(frame, Reply | Refusal):
                self.replies += 1
            else:
                self.questions += 1
            understand(frame)

        bus.on_heard = take
        try:
            with progress() as told:
                doing = f"Listening at the speed of {KINDS[family].name}"
                heard = await asking.listen(seconds, lambda share: told(doing, share))
        finally:
            await bus.close()
        self.noise = heard.noise
        self.batteries = sorted(
            listening.batteries, key=lambda battery: battery.identity.address
        )

    def _count(
        self, battery: Battery, reading: Reading, at: float, *, part: bool
    ) -> None:
        self.readings[battery.identity.address] += not part

    def as_dict(self) -> dict[str, object]:
        return {
            "questions": self.questions,
            "replies": self.replies,
            "unread_bytes": self.noise,
            "packs": [
                {**facts(self.family, pack), "heard": self._times(pack)}
                for pack in self.batteries
            ],
        }

    def _times(self, pack: Battery) -> int:
        return self.readings[pack.identity.address]

    def show(self) -> None:
        if self.batteries:
            typer.echo(f"{'Heard':5}{heading()}")
        for pack in self.batteries:
            typer.echo(f"{self._times(pack):5}{line(self.family, pack)}")
        typer.echo(
            f"{KINDS[self.family].name} frames: {self.questions} questions,"
            f" {self.replies} replies; {self.noise} bytes that make no frame."
        )
