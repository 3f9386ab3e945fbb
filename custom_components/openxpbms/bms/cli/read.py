"""`openxpbms read`: the batteries of a port, once."""

from __future__ import annotations

import json
from typing import Annotated

from rich.console import Group
from rich.panel import Panel
from rich.table import Table
import typer

from ..rounds import Battery
from .arguments import with_port
from .exits import Exit, Failure
from .link import Choice
from .terminal import console, linked, remark
from .values import (
    COLUMNS,
    alarms,
    cell_rows,
    csv_line,
    csv_row,
    csv_values,
    facts,
    identity_words,
    rows,
)

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
AsCsv = Annotated[bool, typer.Option("--csv", help="Print CSV, a line per battery.")]


@with_port
async def read(choice: Choice, as_json: AsJson = False, as_csv: AsCsv = False) -> None:
    """Read every battery on a port once.

    Current and power are positive while charging. A battery that does not
    answer is told on stderr; if none does, the exit code is 4.

      openxpbms read /dev/ttyUSB0
      openxpbms read /dev/ttyUSB0 --family seplos --addresses 0 --json
      openxpbms read garage --csv > now.csv
    """
    one_format(as_json, as_csv)
    async with linked(choice) as link:
        link.leave_slow_values()
        await link.round()
        family, batteries = link.family_name, list(link.batteries)
    if as_json:
        typer.echo(json.dumps([facts(family, each) for each in batteries], indent=2))
    elif as_csv:
        typer.echo(csv_line(COLUMNS), nl=False)
        for battery in batteries:
            typer.echo(csv_values(csv_row(family, battery)), nl=False)
    else:
        for battery in batteries:
            _show(family, battery)
    silent = [battery.error for battery in batteries if battery.error]
    for error in silent:
        remark(f"{error}.")
    if len(silent) == len(batteries):
        raise Failure("No battery could be read.", Exit.NO_BATTERY)


def one_format(as_json: bool, as_csv: bool) -> None:
    """Refuse to print two things at once."""
    if as_json and as_csv:
        raise Failure("--json and --csv exclude each other.", Exit.WRONG_USE)


def _show(family: str, battery: Battery) -> None:
    reading = battery.reading
    if reading is None:
        return
    whole, cells, both = (Table.grid(padding=(0, 2)) for _ in range(3))
    for name, value in rows(family, battery, reading):
        whole.add_row(name, value)
    cells.add_row("Cell", "V", "°C")
    for row in cell_rows(reading):
        cells.add_row(*row)
    both.add_row(whole, cells)
    trouble = f"Alarms: {', '.join(alarms(reading)) or 'none'}"
    title = identity_words(battery.identity)
    shown = Panel(Group(both, trouble), title=title, title_align="left", expand=False)
    console().print(shown)
