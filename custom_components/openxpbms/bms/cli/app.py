"""The commands of `openxpbms`, each in a file of its own."""

from __future__ import annotations

from importlib.metadata import version as installed
from typing import Annotated

import typer

from .compare import compare
from .console import console
from .doctor import doctor
from .export import export
from .get import get
from .listen import listen
from .monitor import monitor
from .mqtt import mqtt
from .parameters import parameters
from .read import read
from .record import record
from .replay import replay
from .scan import scan
from .set import set_parameter
from .simulate import simulate
from .watch import watch

app = typer.Typer(
    name="openxpbms",
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["--help", "-h"]},
)


def _tell_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"openxpbms {installed('openxpbms')}")
        raise typer.Exit


@app.callback()
def openxpbms(
    version: Annotated[
        bool,
        typer.Option(
            "--version", is_eager=True, callback=_tell_version, help="Show the version."
        ),
    ] = False,
) -> None:
    """Valence XP and Seplos V3 batteries over RS485, without Home Assistant.

    PORT is a serial port (/dev/ttyUSB0), a URL (rfc2217://box:5000,
    socket://box:8899, openxpbms-demo://valence?modules=4) or the name of a port
    in the configuration file.

    Begin with:

      openxpbms scan /dev/ttyUSB0
    """


app.command()(scan)
app.command()(read)
app.command()(watch)
app.command()(listen)
app.command()(parameters)
app.command()(get)
# A value may be below zero.
app.command("set", context_settings={"ignore_unknown_options": True})(set_parameter)
app.command()(export)
app.command()(compare)
app.command()(doctor)
app.command()(monitor)
app.command()(record)
app.command()(replay)
app.command()(simulate)
app.command()(console)
app.command()(mqtt)
