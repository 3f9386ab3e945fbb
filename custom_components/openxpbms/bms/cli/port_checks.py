"""What can be told of a port without opening it: Linux knows a lot of it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
import getpass
import grp
import os
from pathlib import Path
import stat

import serialx

from ..port import is_remote, shown
from .exits import Exit
from .findings import Finding, Verdict, ok, problem, warning
from .ports import machine_ports

_PROC = Path("/proc")
_TTYS = Path("/sys/class/tty")
_BY_ID = Path("/dev/serial/by-id")
_PSEUDO = "/dev/pts/"
# Whoever made a pseudo-terminal has its other end open, under one of these names.
_MAKERS = ("/dev/ptmx", "/dev/pts/ptmx")


def port_checks(url: str) -> Iterator[Finding]:
    """Yield what is known of a port, in the order in which it matters."""
    if "://" in url:
        where = "behind a network" if is_remote(url) else "no port of this machine"
        yield ok("port", f"{shown(url)} is {where}: nothing to look up here")
        return
    path = Path(os.path.realpath(url))
    exists = _exists(url, path)
    yield exists
    if exists.verdict is Verdict.PROBLEM:
        return
    yield _adapter(url, path)
    yield _permission(path)
    yield _users(path)


def _exists(url: str, path: Path) -> Finding:
    try:
        mode = path.stat().st_mode
    except OSError as err:
        there = ", ".join(machine_ports()) or "none at all"
        return problem(
            "port",
            f"{url} is not there ({err.strerror})",
            f"plug the adapter in, or use another port; there is {there}",
            Exit.PORT,
        )
    if not stat.S_ISCHR(mode):
        advice = "name a serial port such as /dev/ttyUSB0"
        return problem("port", f"{url} is no serial port", advice, Exit.PORT)
    return ok("port", f"{url} is there" + (f": {path}" if str(path) != url else ""))


def _adapter(url: str, path: Path) -> Finding:
    if str(path).startswith(_PSEUDO):
        return ok("adapter", "none: it is a pseudo-terminal, a program plays a port")
    ports = [p for p in serialx.list_serial_ports() if p.resolved_device == str(path)]
    driver = (_TTYS / path.name / "device" / "driver").resolve().name
    made = [
        str(text)
        for port in ports
        if port.vid is not None
        for text in (port.manufacturer, port.product)
        if text
    ]
    says = " ".join(made) or "no USB adapter"
    if driver != "driver":
        says += f", driver {driver}"
    if name := _lasting_name(url, path):
        advice = f"use its lasting name: {name}"
        return warning("adapter", f"{says}; it may have another name some day", advice)
    with suppress(OSError):
        latency = (_TTYS / path.name / "device" / "latency_timer").read_text()
        says += f", holds answers back for up to {latency.strip()} ms"
    return ok("adapter", says)


def _lasting_name(url: str, path: Path) -> Path | None:
    """Return a name that stays the adapter's, None where it is used or has none."""
    if not _BY_ID.is_dir() or _BY_ID in Path(url).parents:
        return None
    links = sorted(link for link in _BY_ID.iterdir() if link.resolve() == path)
    return links[0] if links else None


def _permission(path: Path) -> Finding:
    if os.access(path, os.R_OK | os.W_OK):
        return ok("permission", "it may be read and written")
    group = path.stat().st_gid
    with suppress(KeyError):
        name = grp.getgrgid(group).gr_name
        return problem(
            "permission",
            f"it belongs to the group {name}, and {_user()} is not in it",
            f"`sudo usermod -aG {name} {_user()}`, then log in anew",
            Exit.PORT,
        )
    advice = "ask whoever looks after this machine, or the container, for access"
    return problem("permission", f"it belongs to group {group}", advice, Exit.PORT)


def _user() -> str:
    try:
        return getpass.getuser()
    except OSError:
        return f"user {os.getuid()}"


def _users(path: Path) -> Finding:
    users: list[str] = []
    hidden = 0
    for process in _PROC.iterdir():
        if not process.name.isdecimal() or int(process.name) == os.getpid():
            continue
        try:
            files = {str(fd.readlink()) for fd in (process / "fd").iterdir()}
        except PermissionError:
            hidden += 1
            continue
        except OSError:
            continue  # it has just ended
        plays = str(path).startswith(_PSEUDO) and not files.isdisjoint(_MAKERS)
        if str(path) in files and not plays:
            users.append(f"{_name(process)} ({process.name})")
    if users:
        return problem(
            "used by",
            f"{', '.join(sorted(users))} has it open too",
            "end that program, or let it alone have the port: two take each other's"
            " answers away",
            Exit.PORT,
        )
    says = "no other program has it open"
    if hidden:
        says += f", as far as can be seen: {hidden} may not be looked at"
    return ok("used by", says)


def _name(process: Path) -> str:
    try:
        return (process / "comm").read_text().strip()
    except OSError:
        return "a program"
