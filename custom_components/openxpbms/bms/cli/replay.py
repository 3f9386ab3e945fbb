"""`openxpbms replay`: a recording as a port, on which batteries answer as they did."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from pathlib import Path
from typing import Annotated

import typer

from ..virtual import VirtualLine
from ..virtual.replay import Replay
from .exits import as_command
from .playing import check_link, tell_wrongs
from .recordings import read_recording
from .reread import compared, read_again


@as_command
async def replay(
    file: Annotated[
        Path,
        typer.Argument(
            metavar="FILE",
            help="What `record` wrote, or a diagnostics download of Home Assistant.",
        ),
    ],
    link: Annotated[
        Path | None,
        typer.Option(help="A symbolic link that points at the pseudo-terminal."),
    ] = None,
    read: Annotated[
        bool,
        typer.Option(
            "--read",
            help="Read the batteries until the recording is over, and print their"
            ' values; lines that differ from those in the file begin with "!".',
        ),
    ] = False,
) -> None:
    """Let the batteries of a recording answer once more, until Ctrl-C.

    They answer on a pseudo-terminal as they did then, with the delays that they had; a
    bank that was listened to talks as it did. At its end the recording begins anew.
    Each question that nothing was recorded for is told, and stays unanswered.

      openxpbms replay bus.json
      openxpbms replay config_entry-openxpbms.json --read
    """
    check_link(link)
    recording = read_recording(file)
    device = Replay(recording)
    # Whatever was sent then is sent now, rightly or not.
    async with VirtualLine([device], strict=False, link=link) as line:
        port = link or line.path
        typer.echo(f"{len(recording.frames)} frames on {port}")
        if read:
            for text in compared(
                recording, await read_again(recording, line.path, device)
            ):
                typer.echo(text)
            for complaint in line.complaints:
                typer.echo(f"wrong: {complaint}")
            return
        typer.echo(f"In another terminal: openxpbms monitor {port}")
        typer.echo("Ctrl-C ends it.")
        with suppress(asyncio.CancelledError):
            await tell_wrongs(line)
