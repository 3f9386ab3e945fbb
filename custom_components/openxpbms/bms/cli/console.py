"""`openxpbms console`: a screen of the batteries on a port."""

from __future__ import annotations

import sys

import typer

from .arguments import with_port
from .exits import Exit, Failure
from .link import Choice
from .terminal import linked


@with_port
async def console(choice: Choice) -> None:
    """Show the batteries on a port on one screen, live.

    Arrows change the battery, p lists a Seplos pack's parameters, q quits. Works in a
    terminal of 80x24 and over SSH.

      openxpbms console /dev/ttyUSB0
      openxpbms console "openxpbms-demo://seplos?packs=4"
    """
    try:
        from ..console.app import Console  # noqa: PLC0415  an extra of its own
    except ModuleNotFoundError as err:
        if err.name != "textual":
            raise
        raise Failure(
            "This command needs textual, which is not installed."
            ' Install it with: pip install "openxpbms[console]"',
            Exit.UNEXPECTED,
        ) from None
    if not sys.stdout.isatty():
        raise Failure("The screen needs a terminal.", Exit.WRONG_USE)
    async with linked(choice) as link:
        told = await Console(link).run_async()
    if told:
        typer.echo(told)
