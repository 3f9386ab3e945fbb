"""`openxpbms record`: what goes over the wire, into a file that can be replayed."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from contextlib import AsyncExitStack, suppress
from pathlib import Path
from typing import Annotated, NamedTuple

import typer

from ..bus import Bus
from ..counters import Direction, Trace, TracedFrame
from ..decoded import Decoder
from ..errors import BusError, PortError
from .arguments import with_port
from .link import Choice, Link, opened
from .recordings import recording, write_recording
from .terminal import progress, remark

# For some hours of a bank that talks all the time.
_KEPT = 2_000_000
_DIRECTIONS: Mapping[str, Direction] = {
    "sent": "sent",
    "received": "received",
    "heard": "stray",
}


@with_port
async def record(
    choice: Choice,
    *,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="Where to write it.")],
    seconds: Annotated[
        float,
        typer.Option(
            "--seconds", "-s", min=0, help="For how long; Ctrl-C ends it too."
        ),
    ] = 30.0,
    interval: Annotated[
        float, typer.Option(min=0, help="Pause between two rounds of questions, s.")
    ] = 1.0,
    serial_numbers: Annotated[
        bool,
        typer.Option(
            "--serial-numbers", help="Keep the real ones, else they are made up."
        ),
    ] = False,
) -> None:
    """Record what goes over the wire, so that somebody else can replay it.

    The batteries are looked for, then read for some seconds. The file has the form of
    Home Assistant's diagnostics download, and what `openxpbms replay` plays. It is
    written even if no battery was found.

      openxpbms record /dev/ttyUSB0 bus.json --seconds 60
    """
    tapes: list[_Tape] = []
    link: Link | None = None
    async with AsyncExitStack() as stack:

        def follow(bus: Bus, family: str) -> None:
            tape = stack.enter_context(bus.trace.tape(_KEPT, stray=0))
            tapes.append(_Tape(bus, family, tape))

        try:
            with suppress(asyncio.CancelledError, TimeoutError):
                with progress() as told:
                    opening = opened(choice, told, on_bus=follow)
                    link = await stack.enter_async_context(opening)
                remark(f"Recording for {seconds:g} s …")
                async with asyncio.timeout(seconds):
                    await _rounds(link, interval)
        finally:
            for tape in tapes[-1:]:
                if tape.trace.added:
                    _write(file, choice, tape, link, serial_numbers=serial_numbers)


class _Tape(NamedTuple):
    """The last bus of a search, and what went over it."""

    bus: Bus
    family: str
    trace: Trace


async def _rounds(link: Link, interval: float) -> None:
    while True:
        try:
            await link.round()
        except PortError:
            raise
        except BusError as err:
            remark(str(err))
        await asyncio.sleep(interval)


def _write(
    file: Path, choice: Choice, tape: _Tape, link: Link | None, *, serial_numbers: bool
) -> None:
    batteries = link.batteries if link else []
    known = [battery.identity for battery in batteries]
    # Each frame by itself, with its own time.
    frames = [
        TracedFrame(
            decoded.time,
            _DIRECTIONS[decoded.direction],
            decoded.data,
            decoded.line,
        )
        for decoded in Decoder(tape.family, known).frames(tape.trace)
    ]
    told = recording(
        choice,
        link.family if link else None,
        tape.family,
        tape.bus,
        batteries,
        frames,
        serial_numbers=serial_numbers,
    )
    write_recording(file, told)
    remark(f"{len(frames)} frames are in {file}.")
