"""The configuration file: ports by name, and what belongs to them.

[port.garage]
url = "/dev/serial/by-id/usb-FTDI_FT232R_USB_UART_A50285BI-if00-port0"
family = "valence"
addresses = "1-4"
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
import os
from pathlib import Path
import tomllib
from typing import Any

from ..families import KINDS, VALENCE, parse_addresses
from ..valence import LineMode
from .exits import Exit, Failure
from .link import LINE_AUTO, Choice
from .ports import nearest

VARIABLE = "OPENXPBMS_CONFIG"
FAMILIES = tuple(KINDS)
LINES = (LINE_AUTO, *LineMode)
DIVISORS = (10, 100)
# s
SHORTEST_ANSWER, LONGEST_ANSWER = 0.03, 5.0
# Tables beside those of ports.
TABLES = ("mqtt",)

# Each key of a table with what it must be, as a test and in words.
type Keys = Mapping[str, tuple[Callable[[Any], bool], str]]


@dataclass(frozen=True, slots=True)
class Config:
    """What a configuration file says.

    `tables` are those that do not describe ports, as they are in the file.
    """

    path: Path | None = None
    ports: Mapping[str, Choice] = field(default_factory=dict)
    tables: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)


def default_path() -> Path:
    """Return where the file is looked for where no option names it."""
    if named := os.environ.get(VARIABLE):
        return Path(named)
    base = os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config"
    return Path(base) / "openxpbms" / "config.toml"


def read_config(path: Path | None = None) -> Config:
    """Read the file that is named, or the usual one if there is any.

    Raises Failure that names file, table and key of what is wrong.
    """
    wanted = path is not None or VARIABLE in os.environ
    path = path or default_path()
    try:
        with path.open("rb") as file:
            told = tomllib.load(file)
    except FileNotFoundError:
        if wanted:
            raise wrong(f"There is no configuration file {path}.") from None
        return Config()
    except OSError as err:
        raise wrong(f"{path} cannot be read: {err.strerror}.") from err
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as err:
        raise wrong(f"{path} is no valid TOML: {err}.") from err
    for name, table in told.items():
        if name not in ("port", *TABLES):
            guess = _guess(name, ("port", *TABLES))
            raise wrong(f"{path}: nothing is known of [{name}]{guess}.")
        if not isinstance(table, dict):
            raise wrong(f"{path}: {name} must be a table: [{name}].")
    ports = {
        name: _port(path, f"port.{name}", table)
        for name, table in told.pop("port", {}).items()
    }
    return Config(path, ports, told)


def check_table(path: Path | None, name: str, table: object, keys: Keys) -> None:
    """Check a table of the file. Raises Failure that names what is wrong."""
    if not isinstance(table, dict):
        raise wrong(f"{path}: {name} must be a table: [{name}].")
    for key, value in table.items():
        if key not in keys:
            raise wrong(f'{path}: [{name}] has no key "{key}"{_guess(key, keys)}.')
        allowed, words = keys[key]
        if not allowed(value):
            raise wrong(f"{path}: [{name}] {key} must be {words}, not {value!r}.")


def is_text(value: object) -> bool:
    """Whether a value is text, and not empty."""
    return isinstance(value, str) and bool(value)


def is_truth(value: object) -> bool:
    """Whether a value is true or false."""
    return isinstance(value, bool)


def is_number(value: object) -> bool:
    """Whether a value is a number."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_addresses(value: object) -> bool:
    return isinstance(value, str) or (
        isinstance(value, list) and all(type(address) is int for address in value)
    )


_PORT: Keys = {
    "url": (is_text, "a path or a URL"),
    "family": (FAMILIES.__contains__, '"valence" or "seplos"'),
    "addresses": (_is_addresses, 'as in "1-4, 17" or [1, 2]'),
    "listen": (is_truth, "true or false"),
    "line": (LINES.__contains__, '"auto", "mark" or "two_stop_bits"'),
    "divisor": (lambda value: is_number(value) and value in DIVISORS, "10 or 100"),
    "invert": (is_truth, "true or false"),
    "answer": (
        lambda value: is_number(value) and SHORTEST_ANSWER <= value <= LONGEST_ANSWER,
        f"a number of seconds from {SHORTEST_ANSWER} to {LONGEST_ANSWER:g}",
    ),
}


def _port(path: Path, name: str, table: object) -> Choice:
    check_table(path, name, table, _PORT)
    assert isinstance(table, dict)
    if "url" not in table:
        raise wrong(f"{path}: [{name}] needs the key url.")
    known = dict(table)
    if "addresses" in known:
        told = known["addresses"]
        text = told if isinstance(told, str) else ",".join(map(str, told))
        try:
            known["addresses"] = read_addresses(text, known.get("family"))
        except Failure as err:
            raise wrong(f"{path}: [{name}] addresses: {err}") from None
    choice = Choice(**known)
    try:
        check_choice(choice)
    except Failure as err:
        raise wrong(f"{path}: [{name}] {err}") from None
    return choice


def read_addresses(text: str, family: str | None) -> tuple[int, ...] | None:
    """Return the addresses that a text names, None where it is empty.

    Without a family they may be those of either. Raises Failure.
    """
    if not text.strip():
        return None
    families = FAMILIES if family is None else (family,)
    for name in families:
        try:
            return tuple(parse_addresses(text, name))
        except ValueError:
            continue
    spans = " or ".join(
        f"{KINDS[name].allowed[0]} to {KINDS[name].allowed[-1]} ({KINDS[name].name})"
        for name in families
    )
    raise wrong(f'"{text}" is no list of addresses such as "1-4, 17" from {spans}.')


def check_choice(choice: Choice) -> None:
    """Refuse what does not go together. Raises Failure."""
    if choice.listen and choice.family == VALENCE:
        raise wrong(
            "Valence modules say nothing by themselves: only a Seplos bank can be"
            " listened to."
        )
    if choice.family is not None and choice.addresses is not None:
        allowed = KINDS[choice.family].allowed
        if not set(choice.addresses) <= set(allowed):
            raise wrong(
                f"{KINDS[choice.family].name} has addresses from {allowed[0]} to"
                f" {allowed[-1]} only."
            )


def wrong(message: str) -> Failure:
    """Return what ends a command that was used wrongly."""
    return Failure(message, Exit.WRONG_USE)


def _guess(name: str, names: Mapping[str, Any] | tuple[str, ...]) -> str:
    near = nearest(name, names)
    return f' (did you mean "{near[0]}"?)' if near else ""
