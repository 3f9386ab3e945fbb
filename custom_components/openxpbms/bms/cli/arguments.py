"""PORT, and the options that say how its batteries are reached, of every command."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Iterator
from contextlib import suppress
from dataclasses import replace
from inspect import Parameter, Signature, signature
from pathlib import Path
from typing import Annotated, Any, Concatenate, Literal

import typer

from .config import (
    LONGEST_ANSWER,
    SHORTEST_ANSWER,
    Config,
    check_choice,
    read_addresses,
    read_config,
)
from .exits import Exit, Failure, as_command
from .link import Choice
from .ports import machine_ports, nearest

PANEL = "How the batteries are reached"


def complete_port(ctx: typer.Context, incomplete: str) -> Iterator[tuple[str, str]]:
    """Offer the names of configured ports, then the ports of this machine."""
    with suppress(Failure):
        for name, choice in read_config(ctx.params.get("config")).ports.items():
            if name.startswith(incomplete):
                yield name, choice.url
    for path in machine_ports():
        if path.startswith(incomplete):
            yield path, "serial port"


def _parameters(
    port: Annotated[
        str,
        typer.Argument(
            metavar="PORT",
            help="A serial port, a URL, or the name of a port in the configuration"
            " file.",
            autocompletion=complete_port,
        ),
    ],
    family: Annotated[
        Literal["valence", "seplos"] | None,
        typer.Option(
            "--family",
            "-f",
            rich_help_panel=PANEL,
            help="What the batteries are. Faster than finding out.",
        ),
    ] = None,
    addresses: Annotated[
        str | None,
        typer.Option(
            "--addresses",
            "-a",
            metavar="LIST",
            rich_help_panel=PANEL,
            help="Which addresses to ask, such as 1-4,17. Faster than asking all.",
        ),
    ] = None,
    listen: Annotated[
        bool | None,
        typer.Option(
            "--listen/--ask",
            show_default=False,
            rich_help_panel=PANEL,
            help="Send nothing, ever: a Seplos bank that talks by itself; or ask.",
        ),
    ] = None,
    line: Annotated[
        Literal["auto", "mark", "two_stop_bits"] | None,
        typer.Option(
            rich_help_panel=PANEL,
            help="Valence: how the ninth bit is sent.",
        ),
    ] = None,
    divisor: Annotated[
        Literal["10", "100"] | None,
        typer.Option(
            rich_help_panel=PANEL,
            help="Seplos: counts of 1 A, where the board does not tell them.",
        ),
    ] = None,
    invert: Annotated[
        bool | None,
        typer.Option(
            "--invert/--no-invert",
            show_default=False,
            rich_help_panel=PANEL,
            help="Valence: turn the sign of the current.",
        ),
    ] = None,
    answer: Annotated[
        float | None,
        typer.Option(
            metavar="SECONDS",
            min=SHORTEST_ANSWER,
            max=LONGEST_ANSWER,
            rich_help_panel=PANEL,
            help="How long a battery may take to answer.",
        ),
    ] = None,
    config: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            rich_help_panel=PANEL,
            help="The configuration file. Else $OPENXPBMS_CONFIG, else"
            " ~/.config/openxpbms/config.toml.",
        ),
    ] = None,
) -> None:
    """The signature that commands with a port share."""


_SHARED = signature(_parameters, eval_str=True).parameters


def with_port[**P](
    work: Callable[Concatenate[Choice, P], Coroutine[Any, Any, None]],
) -> Callable[..., None]:
    """Make a command with PORT of a coroutine function that takes a Choice.

    Its other parameters are the command's own; one that is a Config is given what the
    configuration file says.
    """
    others = list(signature(work, eval_str=True).parameters.values())[1:]
    own = [
        parameter.replace(kind=Parameter.KEYWORD_ONLY)
        for parameter in others
        if parameter.annotation is not Config
    ]
    of_file = [each.name for each in others if each.annotation is Config]
    port, *options = (
        parameter.replace(kind=Parameter.KEYWORD_ONLY) for parameter in _SHARED.values()
    )

    async def run(**given: Any) -> None:
        file = read_config(given.pop("config"))
        shared = {name: given.pop(name) for name in _SHARED if name in given}
        given |= dict.fromkeys(of_file, file)
        await work(_choice(file, **shared), **given)  # type: ignore[call-arg]

    parameters = [port, *own, *options]
    run.__name__, run.__doc__ = work.__name__, work.__doc__
    run.__annotations__ = {each.name: each.annotation for each in parameters}
    run.__signature__ = Signature(parameters)  # type: ignore[attr-defined]
    return as_command(run)


def _choice(
    file: Config,
    *,
    port: str,
    addresses: str | None,
    divisor: str | None,
    **others: Any,
) -> Choice:
    """Return what the command line says, over what the file says of the port."""
    choice = named(port, file)
    changes = {name: value for name, value in others.items() if value is not None}
    if divisor is not None:
        changes["divisor"] = int(divisor)
    choice = replace(choice, **changes)
    if addresses is not None:
        choice = replace(choice, addresses=read_addresses(addresses, choice.family))
    check_choice(choice)
    return choice


def named(port: str, config: Config) -> Choice:
    """Return how a port is reached, by its name in the file or its own.

    Raises Failure where there is no such port.
    """
    if port in config.ports:
        return config.ports[port]
    if "/" in port or Path(port).exists():
        return Choice(port)
    there = machine_ports()
    if port in there:
        return Choice(port)
    known = [*config.ports, *there]
    names = nearest(port, known) or known
    offer = f" There is: {', '.join(names)}." if names else ""
    raise Failure(
        f'"{port}" is no port of this machine, and none in the configuration'
        f" file.{offer}",
        Exit.PORT,
    )
