"""`openxpbms monitor`: the frames on a bus, decoded, with their times."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from contextlib import suppress
from datetime import datetime
import json
from typing import Annotated, Any

import typer

from ..decoded import Decoded
from ..errors import BusError, ForeignMaster, PortError
from ..families import SEPLOS, make_bus, make_family
from ..parameters import PARAMETERS
from ..registers import Field
from ..seplos_tables import FIELDS as SEPLOS_FIELDS
from ..valence import FIELDS as VALENCE_FIELDS
from ..valence import HISTORY_FIELDS
from .arguments import with_port
from .link import Choice, opened
from .tap import Tap
from .terminal import remark

# Between two looks at what has come, and at a line that is only heard, s.
_LOOK = 0.1
_TABLES: tuple[Iterable[Field], ...] = (
    VALENCE_FIELDS,
    HISTORY_FIELDS,
    SEPLOS_FIELDS,
    PARAMETERS,
)
_UNITS = {field.name: field.unit for table in _TABLES for field in table}


@with_port
async def monitor(
    choice: Choice,
    *,
    seconds: Annotated[
        float | None,
        typer.Option("--seconds", "-s", min=0, help="For how long, else until Ctrl-C."),
    ] = None,
    interval: Annotated[
        float, typer.Option(min=0, help="Pause between two rounds of questions, s.")
    ] = 1.0,
    raw: Annotated[
        bool, typer.Option("--raw", help="Show the bytes of every frame.")
    ] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON object for each frame.")
    ] = False,
) -> None:
    """Show every frame that goes over the wire, from the search on.

    The batteries are looked for and then asked round after round. With --listen, or
    where another master talks, nothing is sent.

      openxpbms monitor /dev/ttyUSB0 --seconds 10
      openxpbms monitor /dev/ttyUSB0 --listen --raw
    """

    def show(decoded: Decoded) -> None:
        typer.echo(json.dumps(decoded.as_dict()) if as_json else told(decoded, raw=raw))

    # Ctrl-C is how it ends.
    with suppress(asyncio.CancelledError, TimeoutError):
        async with asyncio.timeout(seconds):
            await _watch(choice, interval, Tap(show))


async def _watch(choice: Choice, interval: float, tap: Tap) -> None:
    work = asyncio.create_task(_work(choice, interval, tap))
    try:
        while not work.done():
            await asyncio.wait([work], timeout=_LOOK)
            tap.look()
        await work
    finally:
        work.cancel()
        await asyncio.wait([work])
        tap.close()


async def _work(choice: Choice, interval: float, tap: Tap) -> None:
    """Ask or listen, for ever. Raises a BusError where there is nothing to do."""
    families: list[str] = [choice.family or SEPLOS]

    def follow(bus: Any, family: str) -> None:
        families.append(family)
        tap.follow(bus, family)

    if choice.listen:
        await _listen(choice.url, families[-1], tap)
    try:
        async with opened(choice, on_bus=follow) as link:
            tap.know(battery.identity for battery in link.batteries)
            while True:
                try:
                    await link.round()
                except (PortError, ForeignMaster):
                    raise
                except BusError as err:
                    remark(str(err))
                await asyncio.sleep(interval)
    except ForeignMaster as err:
        remark(f"{err}: from now on nothing is sent")
        await _listen(choice.url, families[-1], tap)


async def _listen(url: str, family: str, tap: Tap) -> None:
    bus = make_bus(url, family, mute=True)
    heard = make_family(bus, family)
    tap.follow(bus, family)
    try:
        while True:
            await heard.open()
            await asyncio.sleep(_LOOK)
    finally:
        await bus.close()


def told(decoded: Decoded, *, raw: bool) -> str:
    """Return a frame in a line of its own, with its bytes in a second one if `raw`.

    Bytes that make no frame are always shown.
    """
    clock = datetime.fromtimestamp(decoded.time).astimezone().time()
    address = "" if decoded.address is None else decoded.address
    says = decoded.says
    if values := _values(decoded.values):
        says += f": {values}"
    elif decoded.address is None and not raw:
        says += f": {decoded.data.hex(' ')}"
    head = f"{clock.isoformat('milliseconds')}  {decoded.direction:8} {address:>3}  "
    text = f"{head}{says}"
    return f"{text}\n{' ' * len(head)}{decoded.data.hex(' ')}" if raw else text


def _values(values: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} {_value(name, value)}" for name, value in values.items())


def _value(name: str, value: object) -> str:
    each = value if isinstance(value, tuple) else (value,)
    text = " ".join(map(_short, each)) or "none"
    unit = _UNITS.get(name)
    return f"{text} {unit}" if unit else text


def _short(value: object) -> str:
    return f"{value:.7g}" if isinstance(value, float) else str(value)
