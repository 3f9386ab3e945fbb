"""All parameters of a pack in a file, and two sets of them compared."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
import json
import math
import os
from pathlib import Path
import tempfile
import tomllib
from typing import Any

from ..parameters import BY_NAME, Access
from ..reading import Identity
from .exits import Exit, Failure


@dataclass(frozen=True, slots=True)
class Parameters:
    """All parameters of one pack by name, in their own units, and whose they are."""

    values: Mapping[str, float]
    battery: str
    serial: str | None


def parameters_of(identity: Identity, values: Mapping[str, float]) -> Parameters:
    """Return what was read of a pack."""
    serial = identity.serial
    name = f"{identity.model} {serial or identity.address}"
    return Parameters(values, name, serial)


def as_json(known: Parameters) -> str:
    """Return a file's text, in the shape of Home Assistant's action for it too."""
    told = {
        "battery": known.battery,
        "serial_number": known.serial,
        "read_at": _now().isoformat(),
        "parameters": [
            {"name": name, "value": value, "unit": BY_NAME[name].field.unit}
            for name, value in known.values.items()
        ],
    }
    return json.dumps(told, indent=2, ensure_ascii=False) + "\n"


def as_toml(known: Parameters) -> str:
    """Return a file's text."""
    lines = [
        f"battery = {json.dumps(known.battery)}",
        f"serial_number = {json.dumps(known.serial or '')}",
        f"read_at = {_now().isoformat()}",
        "",
        "[parameters]",
    ]
    for name, value in known.values.items():
        unit = json.dumps(BY_NAME[name].field.unit, ensure_ascii=False)
        lines.append(f"{name} = {{ value = {value}, unit = {unit} }}")
    return "\n".join(lines) + "\n"


def _now() -> datetime:
    return datetime.now(UTC).replace(microsecond=0)


def keep(path: Path) -> None:
    """Raise Failure where a file is there already."""
    if path.exists():
        raise Failure(
            f"{path} is there already and may hold what you want to keep. Give another"
            " name, or --replace.",
            Exit.WRONG_USE,
        )


def save(path: Path, known: Parameters) -> None:
    """Write a file, JSON where its name ends so and TOML else, whole or not at all.

    Raises Failure where it cannot be written.
    """
    text = (as_json if path.suffix == ".json" else as_toml)(known)
    try:
        _write(path, text)
    except OSError as err:
        raise Failure(
            f"{path} cannot be written: {err.strerror}.", Exit.WRONG_USE
        ) from err


def _write(path: Path, text: str) -> None:
    number, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(number, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        Path(name).chmod(0o644)
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink()
        raise


def load(path: Path) -> Parameters:
    """Read a file that `save` wrote, or the response of Home Assistant's action.

    Raises Failure where it is none.
    """
    try:
        text = path.read_text(encoding="utf-8")
        told = (
            json.loads(text) if text.lstrip().startswith("{") else tomllib.loads(text)
        )
        values = _values(told["parameters"])
        return Parameters(
            values, str(told.get("battery") or path), told.get("serial_number") or None
        )
    except OSError as err:
        why = err.strerror or "it cannot be read"
    except (AttributeError, KeyError, TypeError, ValueError, RecursionError):
        why = "it holds no parameters as export writes them"
    raise Failure(f"{path} cannot be used: {why}.", Exit.WRONG_USE)


def _values(told: Any) -> dict[str, float]:
    rows = {row["name"]: row for row in told} if isinstance(told, list) else told
    values = {name: row["value"] for name, row in rows.items()}
    for name, value in values.items():
        number = isinstance(value, int | float) and not isinstance(value, bool)
        if name not in BY_NAME or not number or not math.isfinite(value):
            raise ValueError(f"{name} is none")
    return values


type Difference = tuple[str, float | None, float | None]


def differences(one: Parameters, other: Parameters) -> list[Difference]:
    """Return name and both values of all that differ, but for what packs count."""
    return [
        (name, one.values.get(name), other.values.get(name))
        for name, known in BY_NAME.items()
        if known.access is not Access.COUNTER
        and one.values.get(name) != other.values.get(name)
    ]
