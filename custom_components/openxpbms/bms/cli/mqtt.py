"""`openxpbms mqtt`: the batteries of a port at an MQTT broker, for Home Assistant."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Mapping
from contextlib import suppress
from dataclasses import dataclass
import os
from pathlib import Path
import platform
import signal
import ssl
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..port import shown
from .arguments import named, with_port
from .config import Config, Keys, check_table, is_number, is_text, is_truth, wrong
from .exits import Exit, Failure
from .link import Choice, opened
from .terminal import remark

if TYPE_CHECKING:
    from ..mqtt.broker import Broker

VARIABLE = "OPENXPBMS_MQTT_PASSWORD"
PANEL = "The broker"
# s
SHORTEST, LONGEST = 1.0, 300.0

_KEYS: Keys = {
    **dict.fromkeys(("broker", "user", "password_file", "ca"), (is_text, "text")),
    **dict.fromkeys(("topic", "discovery_prefix", "name"), (is_text, "text")),
    **dict.fromkeys(("tls", "insecure"), (is_truth, "true or false")),
    "interval": (
        lambda value: is_number(value) and SHORTEST <= value <= LONGEST,
        f"a number of seconds from {SHORTEST:g} to {LONGEST:g}",
    ),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What the command line says, else the table [mqtt] of the file, else this."""

    broker: str = ""
    user: str | None = None
    password_file: str | None = None
    tls: bool = False
    ca: str | None = None
    insecure: bool = False
    topic: str = "openxpbms"
    discovery_prefix: str = "homeassistant"
    name: str = ""
    interval: float = 5.0


@with_port
async def mqtt(
    choice: Choice,
    file: Config,
    broker: Annotated[
        str | None,
        typer.Option(metavar="HOST[:PORT]", rich_help_panel=PANEL, help="Where it is."),
    ] = None,
    user: Annotated[
        str | None, typer.Option(rich_help_panel=PANEL, help="Who we are to it.")
    ] = None,
    password_file: Annotated[
        str | None,
        typer.Option(
            metavar="FILE",
            rich_help_panel=PANEL,
            help=f"The password is its first line. Else ${VARIABLE}.",
        ),
    ] = None,
    tls: Annotated[
        bool | None,
        typer.Option(
            "--tls", show_default=False, rich_help_panel=PANEL, help="Encrypt."
        ),
    ] = None,
    ca: Annotated[
        str | None,
        typer.Option(
            metavar="FILE",
            rich_help_panel=PANEL,
            help="Encrypt, and trust only certificates of this authority (PEM).",
        ),
    ] = None,
    insecure: Annotated[
        bool | None,
        typer.Option(
            "--insecure",
            show_default=False,
            rich_help_panel=PANEL,
            help="Encrypt, and trust anybody. For a first try only.",
        ),
    ] = None,
    topic: Annotated[
        str | None, typer.Option(help="What topics begin with. Else openxpbms.")
    ] = None,
    discovery_prefix: Annotated[
        str | None,
        typer.Option(help="As set in Home Assistant. Else homeassistant."),
    ] = None,
    name: Annotated[
        str | None,
        typer.Option(help="What this machine is called in topics. Else its name."),
    ] = None,
    interval: Annotated[
        float | None,
        typer.Option(
            "--interval",
            "-i",
            min=SHORTEST,
            max=LONGEST,
            help="Seconds between rounds. Else 5.",
        ),
    ] = None,
    also: Annotated[
        list[str] | None,
        typer.Option(
            metavar="PORT",
            help="A further port, by its name in the configuration file. Repeatable.",
        ),
    ] = None,
    once: Annotated[
        bool,
        typer.Option("--once", help="Send one round and end: for cron and the like."),
    ] = False,
    no_retry: Annotated[
        bool,
        typer.Option(
            "--no-retry", help="End where the broker cannot be reached at the start."
        ),
    ] = False,
) -> None:
    """Show the batteries on a port in Home Assistant by MQTT, from any machine.

    Every battery becomes a device with the entities that the integration has. Only
    what has changed is sent. Batteries are read and nothing else: no message can
    change anything on them.

      openxpbms mqtt /dev/ttyUSB0 --broker homeassistant.local --user battery
        --password-file ~/.config/openxpbms/mqtt-password
      openxpbms mqtt garage --also shed
    """
    try:
        from ..mqtt.broker import BrokerError  # noqa: PLC0415  an extra of its own
    except ModuleNotFoundError as err:
        if err.name not in ("aiomqtt", "paho"):
            raise
        raise Failure(
            f"This command needs {err.name}, which is not installed."
            ' Install it with: pip install "openxpbms[mqtt]"',
            Exit.UNEXPECTED,
        ) from None
    wanted = _wanted(
        file,
        broker=broker,
        user=user,
        password_file=password_file,
        tls=tls,
        ca=ca,
        insecure=insecure,
        topic=topic,
        discovery_prefix=discovery_prefix,
        name=name,
        interval=interval,
    )
    at = _broker(wanted)
    choices = [choice, *(named(port, file) for port in also or ())]
    if len({each.url for each in choices}) < len(choices):
        raise wrong("A port is named twice.")
    try:
        await _until_told(
            *(
                _bridge(each, file, wanted, at, once=once, retry=not no_retry)
                for each in choices
            )
        )
    except BrokerError as err:
        raise Failure(f"{err}.", Exit.BROKER) from None


def _wanted(file: Config, **given: Any) -> Wanted:
    table = file.tables.get("mqtt", {})
    check_table(file.path, "mqtt", table, _KEYS)
    said = {key: value for key, value in given.items() if value is not None}
    wanted = Wanted(**{**table, **said})
    for key in ("topic", "discovery_prefix"):
        if set("+#\0") & set(getattr(wanted, key)):
            raise wrong(f"The {key.replace('_', ' ')} must be without + and #.")
    return wanted


def _broker(wanted: Wanted) -> Broker:
    from ..mqtt.broker import PORT, TLS_PORT, Broker  # noqa: PLC0415

    if not wanted.broker:
        raise wrong("Say where the broker is: --broker HOST[:PORT].")
    tls = _tls(wanted)
    host, port = _address(wanted.broker)
    password = _password(wanted)
    if password is not None and wanted.user is None:
        raise wrong("There is a password, so there must be a --user.")
    default = PORT if tls is None else TLS_PORT
    return Broker(host, port or default, wanted.user, password, tls)


def _address(text: str) -> tuple[str, int | None]:
    """Return host and port of HOST, HOST:PORT or [HOST]:PORT."""
    host, colon, port = text.rpartition(":")
    if not colon or text.endswith("]") or (text.count(":") > 1 and "]" not in text):
        host, port = text, ""
    host = host.removeprefix("[").removesuffix("]")
    try:
        number = int(port) if port else None
        host.encode("idna")
    except ValueError:
        number = 0
    if not host or "/" in host or (number is not None and not 0 < number < 65536):
        raise wrong(f'"{text}" is no HOST[:PORT], such as homeassistant.local:1883.')
    return host, number


def _tls(wanted: Wanted) -> ssl.SSLContext | None:
    if not (wanted.tls or wanted.ca or wanted.insecure):
        return None
    try:
        context = ssl.create_default_context(cafile=wanted.ca)
    except (OSError, ValueError) as err:
        why = getattr(err, "strerror", None) or err
        raise wrong(f"{wanted.ca} cannot be used as --ca: {why}.") from None
    if wanted.insecure:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


def _password(wanted: Wanted) -> str | None:
    if wanted.password_file is None:
        return os.environ.get(VARIABLE)
    path = Path(wanted.password_file).expanduser()
    try:
        lines = path.read_text("utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as err:
        why = getattr(err, "strerror", None) or "it is no text"
        raise wrong(f"The password file {path} cannot be read: {why}.") from None
    if not lines:
        raise wrong(f"The password file {path} is empty.")
    return lines[0]


async def _bridge(
    choice: Choice, file: Config, wanted: Wanted, at: Broker, *, once: bool, retry: bool
) -> None:
    """Bridge one port until cancelled."""
    from ..mqtt.bridge import Bridge  # noqa: PLC0415
    from ..mqtt.connection import Connection  # noqa: PLC0415
    from ..mqtt.topics import OFFLINE, Topics, bridge_name  # noqa: PLC0415

    machine = wanted.name or platform.node()
    bridge = bridge_name(machine, _name(choice, file.ports))
    topics = Topics(bridge, wanted.topic, wanted.discovery_prefix)
    will = topics.status, OFFLINE

    def say(text: str) -> None:
        remark(f"{bridge}: {text}")

    async with Connection(at, f"openxpbms_{bridge}", will, say) as connection:
        mirrored = Bridge(connection, topics, say)
        await connection.connect(retry=retry)
        say(f"Looking for batteries on {shown(choice.url)} …")
        async with opened(choice) as link:
            found = len(link.batteries)
            say(f"{found} found; their topics begin with {topics.prefix}/{bridge}.")
            await mirrored.run(link, wanted.interval, once=once)


def _name(choice: Choice, ports: Mapping[str, Choice]) -> str:
    """Return a port's name in the file, else the port."""
    names = (name for name, known in ports.items() if known.url == choice.url)
    return next(names, choice.url)


async def _until_told(*bridges: Coroutine[Any, Any, None]) -> None:
    """Run them until one fails, all are done, or the process is asked to end."""
    task = asyncio.current_task()
    assert task is not None
    asked = False

    def end() -> None:
        nonlocal asked
        asked = True
        task.cancel()

    loop = asyncio.get_running_loop()
    # Not on Windows, and only where signals arrive.
    with suppress(NotImplementedError, RuntimeError, ValueError):
        loop.add_signal_handler(signal.SIGTERM, end)
    try:
        async with asyncio.TaskGroup() as group:
            for bridge in bridges:
                group.create_task(bridge)
    except ExceptionGroup as failures:
        # One sentence says what to do; there is seldom a second one.
        raise failures.exceptions[0] from None
    except asyncio.CancelledError:
        if not asked:
            raise
    finally:
        with suppress(NotImplementedError):
            loop.remove_signal_handler(signal.SIGTERM)
