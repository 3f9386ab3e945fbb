"""`openxpbms parameters`: all parameters of a Seplos pack."""

from __future__ import annotations

import json
from typing import Annotated, Any

from rich.table import Table
import typer

from ..parameter_facts import told, with_unit
from ..parameter_rules import Pack
from ..parameters import SPA_PARAMETERS, Parameter
from .arguments import with_port
from .changing import Changing, only_pack
from .link import Choice
from .parameter_words import ends, rules
from .terminal import console, linked, remark

# Columns from which on there is room for rules.
_WIDE = 120


@with_port
async def parameters(
    choice: Choice,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print JSON instead of a table.")
    ] = False,
) -> None:
    """List all parameters of a Seplos pack: value, span, rules.

    Of several packs, choose one by its address.

      openxpbms parameters /dev/ttyUSB0
      openxpbms parameters /dev/ttyUSB0 --addresses 2 --json
    """
    async with linked(choice) as link:
        pack = await Changing(link, only_pack(link)).pack()
    if as_json:
        each = [facts(parameter, pack) for parameter in SPA_PARAMETERS]
        typer.echo(json.dumps(each, indent=2, ensure_ascii=False))
        return
    on = console()
    wide = on.width >= _WIDE
    on.print(_table(pack, wide=wide))
    if not wide:
        remark("A wider terminal shows the rules, too, and so does get for each.")


def facts(parameter: Parameter, pack: Pack) -> dict[str, Any]:
    """Return what is known of a parameter, and its rules, for programs."""
    return told(parameter, pack) | {"rules": rules(parameter)}


def _table(pack: Pack, *, wide: bool) -> Table:
    table = Table(box=None, pad_edge=False)
    table.add_column("Parameter", no_wrap=True)
    table.add_column("Value", justify="right", no_wrap=True)
    table.add_column("May be set", no_wrap=True)
    if wide:
        table.add_column("Rules")
    for parameter in SPA_PARAMETERS:
        name = parameter.name
        row = [name, with_unit(name, pack.values[name]), ends(parameter, pack) or "-"]
        table.add_row(*row, *([", ".join(rules(parameter))] if wide else []))
    return table
