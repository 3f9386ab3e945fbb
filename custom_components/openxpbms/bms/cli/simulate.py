"""`openxpbms simulate`: virtual batteries on a pseudo-terminal."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from ..virtual import SCHEME, VirtualLine, demo_line
from .by_hand import (
    FAULTS,
    Batteries,
    add_fault,
    batteries_of,
    raise_alarm,
    set_cell,
    set_current,
    set_soc,
    set_temperature,
)
from .exits import as_command
from .playing import check_link, tell_wrongs


class Played(StrEnum):
    """What can be played."""

    VALENCE = "valence"
    SEPLOS = "seplos"


_FAULTS = ", ".join(FAULTS)


@as_command
async def simulate(
    family: Annotated[Played, typer.Argument(help="Which batteries.")],
    number: Annotated[
        int | None,
        typer.Option(
            "--modules",
            "--packs",
            "-n",
            help="How many: 4 modules, 1 pack or a bank of 2 if nothing is said.",
        ),
    ] = None,
    bank: Annotated[
        bool,
        typer.Option("--bank", help="Seplos: packs with a master of their own."),
    ] = False,
    link: Annotated[
        Path | None,
        typer.Option(help="A symbolic link that points at the pseudo-terminal."),
    ] = None,
    seed: Annotated[
        int, typer.Option(help="Other serial numbers, cells and faults: 0 to 99.")
    ] = 0,
    fault: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME[=VALUE]",
            help=f"What goes wrong, again and again: {_FAULTS} (a share from 0 to 1);"
            " overtakes (late answers come behind later ones), silent=ADDRESS, no-mark"
            " (the adapter sends no mark parity), second-master, write=HOW.",
        ),
    ] = None,
    echo: Annotated[
        bool, typer.Option("--echo", help="The adapter hears itself.")
    ] = False,
    cell: Annotated[
        list[str] | None,
        typer.Option(metavar="ADDRESS:CELL=VOLTS", help="Hold a cell's voltage."),
    ] = None,
    temperature: Annotated[
        list[str] | None,
        typer.Option(metavar="ADDRESS:SENSOR=°C", help="Hold a cell temperature."),
    ] = None,
    current: Annotated[
        list[str] | None,
        typer.Option(
            metavar="ADDRESS=A", help="Hold a current, positive while charging."
        ),
    ] = None,
    soc: Annotated[
        list[str] | None,
        typer.Option(
            metavar="[ADDRESS=]%", help="State of charge to begin with, of one or all."
        ),
    ] = None,
    alarm: Annotated[
        list[str] | None,
        typer.Option(metavar="ADDRESS:NAME[:CELL]", help="Raise an alarm."),
    ] = None,
) -> None:
    """Play batteries on a pseudo-terminal until Ctrl-C.

    Any program that reads batteries can open it. What it sends wrongly is told. Options
    that name an address may be given several times.

      openxpbms simulate valence --modules 4
      openxpbms simulate seplos --bank --packs 3 --cell 2:5=3.7
      openxpbms simulate valence --fault lost=0.2 --fault silent=3
    """
    check_link(link)
    try:
        line = _line(family, number, seed, bank=bank)
        line.echo, line.link = echo, link
        batteries = batteries_of(line.devices)
        changes: list[tuple[Callable[[Batteries, str], None], list[str] | None]] = [
            (set_soc, soc),
            (set_cell, cell),
            (set_temperature, temperature),
            (set_current, current),
            (raise_alarm, alarm),
        ]
        for change, texts in changes:
            for text in texts or ():
                change(batteries, text)
        for text in fault or ():
            add_fault(line, text)
    except ValueError as err:
        raise typer.BadParameter(str(err)) from err
    command = "listen" if bank else "read"
    # Ctrl-C is how it ends.
    with suppress(asyncio.CancelledError):
        await _play(line, _named(family, batteries), command)


def _line(family: Played, number: int | None, seed: int, *, bank: bool) -> VirtualLine:
    settings = {"seed": seed}
    if number is not None:
        settings["modules" if family is Played.VALENCE else "packs"] = number
    text = "&".join(f"{name}={value}" for name, value in settings.items())
    if bank:
        if family is Played.VALENCE:
            raise ValueError("only Seplos packs have a master of their own")
        text += "&mode=bank"
    return demo_line(f"{SCHEME}://{family}?{text}")


def _named(family: Played, batteries: Batteries) -> str:
    """Return what is there, in words."""
    what = "Valence XP module" if family is Played.VALENCE else "Seplos V3 pack"
    first, last = min(batteries), max(batteries)
    if first == last:
        return f"1 {what} at address {first}"
    return f"{len(batteries)} {what}s at the addresses {first} to {last}"


async def _play(line: VirtualLine, what: str, command: str) -> None:
    async with line:
        port = line.link or line.path
        typer.echo(f"{what} on {port}")
        typer.echo(f"In another terminal: openxpbms {command} {port}")
        typer.echo("Ctrl-C ends it.")
        await tell_wrongs(line)
