"""How every command ends: an exit code, and on stderr what went wrong."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from enum import IntEnum
from functools import wraps
from inspect import cleandoc
from typing import Any

import typer

from ..errors import AnswerError, BusError, ForeignMaster, PortError


class Exit(IntEnum):
    """The exit codes."""

    DONE = 0
    UNEXPECTED = 1
    WRONG_USE = 2
    PORT = 3
    NO_BATTERY = 4
    FOREIGN_MASTER = 5
    NOT_CONFIRMED = 6
    NOT_AS_ASKED = 7
    BROKER = 8
    INTERRUPTED = 130


class Failure(Exception):
    """Ends a command with an exit code and a sentence or two for the user."""

    def __init__(self, message: str, code: Exit) -> None:
        """Say what went wrong and what to do about it."""
        super().__init__(message)
        self.code = code


def code_of(err: BusError) -> Exit:
    """Return the exit code of what went wrong on a bus."""
    if isinstance(err, PortError):
        return Exit.PORT
    if isinstance(err, AnswerError):
        return Exit.NO_BATTERY
    if isinstance(err, ForeignMaster):
        return Exit.FOREIGN_MASTER
    return Exit.UNEXPECTED


def sentence(message: str) -> str:
    """Return a message with a capital letter and a full stop.

    A path or URL keeps its first letter.
    """
    first, _, rest = message.partition(" ")
    if not set("/:.") & set(first):
        message = f"{first[:1].upper()}{first[1:]} {rest}".rstrip()
    return message if message.endswith((".", "!", "?")) else f"{message}."


def as_command[**P](
    work: Callable[P, Coroutine[Any, Any, None]],
) -> Callable[P, None]:
    """Make a command of a coroutine function; what a user can cause is told plainly."""

    @wraps(work)
    def run(*args: P.args, **kwargs: P.kwargs) -> None:
        try:
            asyncio.run(work(*args, **kwargs))
        except BusError as err:
            from .advice import advice  # noqa: PLC0415  it needs this file

            _end(f"{sentence(str(err))} {advice(err)}".rstrip(), code_of(err))
        except Failure as err:
            _end(str(err), err.code)
        except KeyboardInterrupt:
            _end("Interrupted.", Exit.INTERRUPTED)

    run.__doc__ = unwrapped(work.__doc__ or "")
    return run


def unwrapped(text: str) -> str:
    """Return a docstring whose paragraphs are one line each, as wide as a terminal.

    Examples, which are indented, keep their lines.
    """
    paragraphs = cleandoc(text).split("\n\n")
    return "\n\n".join(
        paragraph if paragraph.startswith(" ") else paragraph.replace("\n", " ")
        for paragraph in paragraphs
    )


def _end(message: str, code: Exit) -> None:
    typer.echo(message, err=True)
    raise typer.Exit(code)
