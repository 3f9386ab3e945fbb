"""A CSV file that grows: its header is there once, and fits."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
import io
from pathlib import Path
from typing import Any

from .exits import Exit, Failure
from .values import COLUMNS, csv_line, csv_values


class LogFile:
    """Appends rows of COLUMNS to a file."""

    def __init__(self, path: Path) -> None:
        """Look at what is there. Raises Failure where rows would not fit to it."""
        self._path = path
        header = csv_line(COLUMNS)
        try:
            with path.open("a+", encoding="utf-8", newline="") as file:
                file.seek(0)
                there = file.readline()
                if not there:
                    file.write(header)
                elif there != header:
                    raise Failure(
                        f"{path} has other columns than what would be appended."
                        " Name another file.",
                        Exit.WRONG_USE,
                    )
                elif not _ends_line(path):
                    # Whoever wrote last was interrupted.
                    file.write("\r\n")
        except (OSError, UnicodeDecodeError) as err:
            raise self._failure(err) from err

    def append(self, rows: Iterable[Mapping[str, Any]]) -> None:
        """Append rows in one piece. Raises Failure where that does not succeed."""
        text = "".join(map(csv_values, rows))
        try:
            with self._path.open("a", encoding="utf-8", newline="") as file:
                file.write(text)
        except OSError as err:
            raise self._failure(err) from err

    def _failure(self, err: OSError | UnicodeDecodeError) -> Failure:
        why = err.strerror if isinstance(err, OSError) else "it is no text"
        return Failure(f"{self._path} cannot be written: {why}.", Exit.UNEXPECTED)


def _ends_line(path: Path) -> bool:
    with path.open("rb") as file:
        file.seek(-1, io.SEEK_END)
        return file.read() == b"\n"
