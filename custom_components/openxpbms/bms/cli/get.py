"""`openxpbms get`: one parameter of a Seplos pack."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from ..parameter_facts import with_unit
from ..parameters import BY_NAME
from .arguments import with_port
from .changing import Changing, only_pack
from .link import Choice
from .parameter_words import ends, known, rules
from .parameters import facts
from .terminal import linked, remark

Name = Annotated[
    str,
    typer.Argument(
        metavar="NAME",
        help="The parameter's name, as the list of parameters has it.",
        autocompletion=lambda incomplete: [
            name for name in BY_NAME if name.startswith(incomplete)
        ],
    ),
]


@with_port
async def get(
    choice: Choice,
    name: Name,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print JSON instead of text.")
    ] = False,
) -> None:
    """Read one parameter of a Seplos pack, and say what it may be set to.

    openxpbms get /dev/ttyUSB0 battery_low_voltage_alarm
    """
    parameter = known(name)
    async with linked(choice) as link:
        pack = await Changing(link, only_pack(link)).pack()
    if as_json:
        typer.echo(json.dumps(facts(parameter, pack), ensure_ascii=False))
        return
    typer.echo(with_unit(name, pack.values[name]))
    if span := ends(parameter, pack):
        remark(f"May be set to {span}, in steps of {step(name)}.")
    for rule in rules(parameter):
        other = rule.partition(" ")[2]
        value = f" ({with_unit(other, pack.values[other])})" if other in BY_NAME else ""
        remark(f"{rule}{value}")


def step(name: str) -> str:
    """Return the smallest step of a parameter."""
    return with_unit(name, 1 / BY_NAME[name].field.divisor)
