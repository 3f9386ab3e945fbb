"""`openxpbms set`: one parameter of a Seplos pack changed, after a typed yes."""

from __future__ import annotations

import asyncio
import math
import sys
from typing import Annotated

import typer

from ..parameter_errors import ParameterError
from ..parameter_facts import change_line
from ..seplos_writes import Prepared, Wish
from .arguments import with_port
from .changing import AGREE_WITHIN, DANGER, WORD, Changing, only_pack
from .exits import Exit, Failure
from .get import Name
from .link import Choice, Link
from .parameter_words import (
    allows,
    caution,
    exit_code,
    known,
    number,
    outcome,
    why_not,
)
from .terminal import linked, progress, remark
from .typed import typed


@with_port
async def set_parameter(
    choice: Choice,
    name: Name,
    value: Annotated[
        str, typer.Argument(metavar="VALUE", help="In the parameter's own unit.")
    ],
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show what would be sent, and end.")
    ] = False,
    allow_large_step: Annotated[
        bool,
        typer.Option(
            "--allow-large-step", help="Let more than 20 % of the span through."
        ),
    ] = False,
    allow_trip: Annotated[
        bool,
        typer.Option("--allow-trip", help="Let the pack switch off by the new value."),
    ] = False,
) -> None:
    """Change one parameter of a Seplos pack, after you have typed yes.

    Shows the old and the new value, what to know of it, and the frame. The line is
    watched for a minute, then you are asked. The frame is sent once and the pack is
    read afterwards. Nothing does without the typed yes.

      openxpbms set /dev/ttyUSB0 battery_low_voltage_alarm 45.0 --dry-run
      openxpbms set /dev/ttyUSB0 battery_low_voltage_alarm 45.0
    """
    if not dry_run and not sys.stdin.isatty():
        raise Failure(
            "Only a person at a terminal can change a parameter, by typing yes there."
            " --dry-run works anywhere.",
            Exit.NOT_CONFIRMED,
        )
    known(name)
    wish = Wish(
        name=name,
        value=number(name, value),
        allow_large_step=allow_large_step,
        allow_trip=allow_trip,
    )
    async with linked(choice) as link:
        changing = Changing(link, only_pack(link))
        try:
            await link.round()
            prepared = await _prepared(changing, wish)
            _show(changing, prepared)
            if dry_run:
                remark("Nothing was written: this was a dry run.")
                return
            await _watch(link, changing)
            word = await typed(f"Type {WORD} to write this: ", AGREE_WITHIN)
            # The rules judge what the pack measures now.
            await link.round()
        except asyncio.CancelledError:
            remark("Nothing was written.")
            raise
        result = await changing.make(prepared, word)
    told = outcome(prepared.change, result)
    if changing.interrupted:
        raise Failure(f"Interrupted. {told}", Exit.INTERRUPTED)
    if code := exit_code(result):
        raise Failure(told, code)
    typer.echo(told)


async def _prepared(changing: Changing, wish: Wish) -> Prepared:
    try:
        return await changing.prepare(wish)
    except ParameterError as err:
        allow = allows(err)
        hint = f" If you mean it, add --{allow.replace('_', '-')}." if allow else ""
        raise Failure(why_not(err) + hint, Exit.WRONG_USE) from err


def _show(changing: Changing, prepared: Prepared) -> None:
    change = prepared.change
    who = changing.battery.identity
    typer.echo(f"{who.model} {prepared.serial}, address {who.address}")
    typer.echo(change_line(change))
    for told in change.cautions:
        typer.echo(f"  Mind: {caution(told)}")
    typer.echo(f"  Frame: {prepared.frame.hex(' ')}")
    remark(DANGER)


async def _watch(link: Link, changing: Changing) -> None:
    """Wait until the line has been watched for another master for long enough."""
    whole = changing.unwatched
    with progress() as told:
        while rest := changing.unwatched:
            told(
                f"Watching the line for another master, {math.ceil(whole)} s",
                1 - rest / whole,
            )
            await link.round()
            await asyncio.sleep(min(1.0, rest))
