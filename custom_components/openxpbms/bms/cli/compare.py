"""`openxpbms compare`: parameters of a Seplos pack beside those in a file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from rich.table import Table
import typer

from ..parameter_facts import with_unit
from .arguments import with_port
from .changing import Changing, only_pack
from .exits import Exit, Failure
from .link import Choice
from .parameter_file import Parameters, differences, load, parameters_of
from .terminal import console, linked, remark


@with_port
async def compare(
    choice: Choice,
    file: Annotated[
        Path,
        typer.Argument(
            metavar="FILE",
            help="What export wrote, or the response of Home Assistant's action"
            " openxpbms.get_parameters as JSON.",
        ),
    ],
) -> None:
    """Compare the parameters of a Seplos pack with a file, or two files.

    In place of PORT another file may be named. Capacities that the pack counts are
    left out. Ends with 0 where all others are equal, and with 7 where any differs.

      openxpbms compare /dev/ttyUSB0 pack1.toml
      openxpbms compare before.toml after.toml
    """
    theirs = load(file)
    mine = _from_file(Path(choice.url)) or await _from_pack(choice)
    found = differences(mine, theirs)
    if not found:
        remark(f"{mine.battery} and {file} are equal.")
        return
    table = Table(box=None, pad_edge=False)
    table.add_column("Parameter", no_wrap=True)
    for title in (mine.battery, str(file)):
        table.add_column(title, justify="right")
    for name, one, other in found:
        table.add_row(name, _shown(name, one), _shown(name, other))
    console().print(table)
    raise Failure(
        f"{len(found)} of {len(mine.values)} parameters differ.", Exit.NOT_AS_ASKED
    )


def _from_file(path: Path) -> Parameters | None:
    return load(path) if path.is_file() else None


async def _from_pack(choice: Choice) -> Parameters:
    async with linked(choice) as link:
        battery = only_pack(link)
        pack = await Changing(link, battery).pack()
    return parameters_of(battery.identity, pack.values)


def _shown(name: str, value: float | None) -> str:
    return "-" if value is None else with_unit(name, value)
