"""`openxpbms scan`: what is on a port, and how well it answers."""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import asdict
import json
from typing import Annotated, Any

from rich.table import Table
import typer

from ..families import KINDS
from ..reading import Reading
from ..rounds import Battery
from .arguments import with_port
from .link import Choice, Link
from .terminal import console, linked, progress, remark, table
from .values import version

ROUNDS = 5
# How long a round of a bank is that is only heard, s.
HEARD_FOR = 1.0


@with_port
async def scan(
    choice: Choice,
    rounds: Annotated[
        int,
        typer.Option(min=1, help="How often to read each battery that was found."),
    ] = ROUNDS,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print JSON instead of a table.")
    ] = False,
) -> None:
    """Find the batteries on a port, and see how well they answer.

    Listens first and sends nothing where another master talks. Then every usual
    address is asked for a Seplos pack, after that for a Valence module. What was
    found is read a few times.

      openxpbms scan /dev/ttyUSB0
      openxpbms scan /dev/ttyUSB0 --family valence --addresses 1-4
      openxpbms scan "openxpbms-demo://seplos?packs=4&mode=bank"
    """
    readings: Counter[int] = Counter()

    def count(battery: Battery, reading: Reading, at: float, *, part: bool) -> None:
        readings[battery.identity.address] += not part

    async with linked(choice) as link:
        link.rounds.on_reading = count
        link.leave_slow_values()
        with progress() as told:
            for done in range(rounds):
                told("Reading what was found", done / rounds)
                await link.round()
                if link.listens:
                    await asyncio.sleep(HEARD_FOR)
        if as_json:
            facts = [_facts(link, battery, readings) for battery in link.batteries]
            typer.echo(json.dumps(facts, indent=2))
        else:
            console().print(_table(link, readings))
        for battery in link.batteries:
            if battery.error:
                remark(f"{battery.error}.")
        if link.result.garbled:
            garbled = ", ".join(map(str, link.result.garbled))
            remark(f"Answered garbled, so not found: address {garbled}.")


def _facts(link: Link, battery: Battery, readings: Counter[int]) -> dict[str, Any]:
    identity = battery.identity
    link_quality = link.bus.counters_of(identity.address).as_dict()
    return {
        "family": link.family_name,
        **asdict(identity),
        "readings": readings[identity.address],
        **({} if link.listens else link_quality),
    }


def _table(link: Link, readings: Counter[int]) -> Table:
    """Return one line for each battery; one that is only heard has no times."""
    kind, way = KINDS[link.family_name].name, "heard" if link.listens else "asked"
    left = ("Model", "Serial", "Version")
    how = ("Heard",) if link.listens else ("Answered", "Garbled", "Median", "Slowest")
    shown = table(*("Addr", *left, "Cells", *how), left=left, title=f"{kind}, {way}")
    for battery in link.batteries:
        who = battery.identity
        row = [
            str(who.address),
            who.model,
            who.serial or "-",
            version(who) or "-",
            str(who.cells or "?"),
        ]
        if link.listens:
            row.append(str(readings[who.address]))
        else:
            told = link.bus.counters_of(who.address)
            row += [
                f"{told.answers}/{told.exchanges}",
                str(told.garbled + told.crc_errors + told.wrong_battery),
                _ms(told.median_reply_time),
                _ms(max(told.reply_times, default=None)),
            ]
        shown.add_row(*row)
    return shown


def _ms(seconds: float | None) -> str:
    return "-" if seconds is None else f"{1000 * seconds:.0f} ms"
