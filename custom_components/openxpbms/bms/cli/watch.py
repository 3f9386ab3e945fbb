"""`openxpbms watch`: the batteries of a port, again and again."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from datetime import datetime
import json
from pathlib import Path
import time
from typing import Annotated

import typer

from ..errors import BusError
from .arguments import with_port
from .exits import sentence
from .link import Choice, Link
from .log_file import LogFile
from .read import AsCsv, AsJson, one_format
from .terminal import linked, remark
from .values import (
    COLUMNS,
    csv_line,
    csv_row,
    csv_values,
    facts,
    heading,
    line,
    read_time,
)


@with_port
async def watch(
    choice: Choice,
    interval: Annotated[
        float, typer.Option("--interval", "-i", min=0.2, help="Seconds between rounds.")
    ] = 5.0,
    count: Annotated[
        int | None, typer.Option("--count", "-n", min=1, help="End after so many.")
    ] = None,
    log: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Append to a CSV file as well."),
    ] = None,
    as_json: AsJson = False,
    as_csv: AsCsv = False,
) -> None:
    """Read the batteries on a port again and again, a line for each.

    Goes on until Ctrl-C, also where the adapter is unplugged meanwhile. With
    --json every line is an object.

      openxpbms watch /dev/ttyUSB0
      openxpbms watch garage --interval 60 --log garage.csv
      openxpbms watch garage --json --count 10 | jq .reading.voltage
    """
    one_format(as_json, as_csv)
    file = None if log is None else LogFile(log)
    show = _objects if as_json else _Rows() if as_csv else _Lines()
    async with linked(choice) as link:
        link.leave_slow_values()
        begun = time.monotonic()
        await link.round()
        troubles: set[str] = set()
        done = 0
        while True:
            show(link)
            troubles = _tell(link, troubles)
            if file:
                file.append(csv_row(link.family_name, each) for each in link.batteries)
            done += 1
            if done == count:
                return
            begun += interval
            await asyncio.sleep(max(0.0, begun - time.monotonic()))
            # What keeps the round from succeeding is told of every battery.
            with suppress(BusError):
                await link.round()


def _tell(link: Link, before: set[str]) -> set[str]:
    """Tell once of every trouble that is new, and when all is well again."""
    now = {sentence(str(battery.error)) for battery in link.batteries if battery.error}
    for trouble in sorted(now - before):
        remark(trouble)
    if before and not now:
        remark("All batteries are read again.")
    return now


class _Lines:
    """A line of figures for each battery, under a heading."""

    def __init__(self) -> None:
        self._begun = False

    def __call__(self, link: Link) -> None:
        if not self._begun:
            self._begun = True
            typer.echo(f"{'Time':8}{heading()}")
        for battery in link.batteries:
            at = datetime.fromisoformat(read_time(battery)).strftime("%H:%M:%S")
            typer.echo(f"{at}{line(link.family_name, battery)}")


class _Rows:
    """A row of CSV for each battery, under a header."""

    def __init__(self) -> None:
        self._begun = False

    def __call__(self, link: Link) -> None:
        if not self._begun:
            self._begun = True
            typer.echo(csv_line(COLUMNS), nl=False)
        for battery in link.batteries:
            typer.echo(csv_values(csv_row(link.family_name, battery)), nl=False)


def _objects(link: Link) -> None:
    """Print an object of JSON for each battery."""
    for battery in link.batteries:
        typer.echo(json.dumps(facts(link.family_name, battery)))
