"""A virtual line that runs until somebody ends it."""

from __future__ import annotations

import asyncio
from pathlib import Path

import typer

from ..virtual import VirtualLine

_LOOK = 0.2


async def tell_wrongs(line: VirtualLine) -> None:
    """Tell what a client does wrong soon after it did, each thing once, for ever."""
    told: set[str] = set()
    while True:
        for complaint in line.complaints:
            if complaint not in told:
                told.add(complaint)
                typer.echo(f"wrong: {complaint}")
        await asyncio.sleep(_LOOK)


def check_link(link: Path | None) -> None:
    """Refuse a place for a symbolic link where there is none, or a file already."""
    if link is None:
        return
    if not link.parent.is_dir():
        raise typer.BadParameter(f"{link.parent} is no folder.")
    if link.exists(follow_symlinks=False) and not link.is_symlink():
        raise typer.BadParameter(f"{link} is a file, and would be lost.")
