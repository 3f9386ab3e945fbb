"""What is seen of a command: tables on stdout, progress and remarks on stderr."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
import os

from rich import box
from rich.console import Console, JustifyMethod
from rich.progress import BarColumn, TextColumn
from rich.progress import Progress as Bar
from rich.table import Table
import typer

from .link import Choice, Link, Progress, opened

# Columns of a table that goes into a file or another program.
WIDTH = 160


def console() -> Console:
    """Return what prints tables."""
    plain = Console(highlight=False)
    if plain.is_terminal or "COLUMNS" in os.environ:
        return plain
    return Console(highlight=False, width=WIDTH)


def table(*headings: str, left: tuple[str, ...] = (), title: str = "") -> Table:
    """Return a table with these headings; columns are to the right but for `left`."""
    made = Table(
        title=title or None,
        title_justify="left",
        box=box.SIMPLE_HEAD,
        padding=(0, 1),
        collapse_padding=True,
        show_edge=False,
        pad_edge=False,
    )
    for heading in headings:
        words = heading in left
        side: JustifyMethod = "left" if words else "right"
        made.add_column(heading, justify=side, no_wrap=not words, overflow="fold")
    return made


def remark(text: str) -> None:
    """Tell what does not belong to the result."""
    typer.echo(text, err=True)


@asynccontextmanager
async def linked(choice: Choice) -> AsyncIterator[Link]:
    """Open a port as `opened` does, with its progress shown."""
    async with AsyncExitStack() as stack:
        with progress() as told:
            link = await stack.enter_async_context(opened(choice, told))
        yield link


@contextmanager
def progress() -> Iterator[Progress]:
    """Show on stderr what is being done; a file gets one line for each thing."""
    on = Console(stderr=True)
    if not on.is_terminal:
        yield lines()
        return
    columns = TextColumn("{task.description}"), BarColumn()
    with Bar(*columns, console=on, transient=True) as bar:
        task = bar.add_task("", total=1.0)

        def tell(doing: str, share: float) -> None:
            bar.update(task, description=doing, completed=share)

        yield tell


def lines() -> Progress:
    """Return what shows progress as a line for each thing that is done."""
    told = ""

    def tell(doing: str, share: float) -> None:
        nonlocal told
        if doing != told:
            told = doing
            remark(f"{doing} …")

    return tell
