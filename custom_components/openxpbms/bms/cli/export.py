"""`openxpbms export`: all parameters of a Seplos pack into a file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .arguments import with_port
from .changing import Changing, only_pack
from .link import Choice
from .parameter_file import as_json, as_toml, keep, parameters_of, save
from .terminal import linked, remark


@with_port
async def export(
    choice: Choice,
    file: Annotated[
        Path | None,
        typer.Argument(
            metavar="[FILE]",
            help="Where to: JSON if its name ends in .json, else TOML. Without a file"
            " it is printed.",
            show_default=False,
        ),
    ] = None,
    replace: Annotated[
        bool, typer.Option("--replace", help="Replace a file that is there already.")
    ] = False,
    json: Annotated[
        bool, typer.Option("--json", help="Print JSON instead of TOML.")
    ] = False,
) -> None:
    """Save all parameters of a Seplos pack, with units and serial number.

    Do this before the first change.

      openxpbms export /dev/ttyUSB0 pack1.toml
    """
    if file is not None and not replace:
        keep(file)
    async with linked(choice) as link:
        battery = only_pack(link)
        pack = await Changing(link, battery).pack()
    known = parameters_of(battery.identity, pack.values)
    if file is None:
        typer.echo((as_json if json else as_toml)(known), nl=False)
        return
    save(file, known)
    remark(f"{len(known.values)} parameters of {known.battery} are in {file}.")
