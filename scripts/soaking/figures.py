"""What the process and its database hold, and what they told in the log."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
import gc
import logging
import os
from pathlib import Path
import re
import sqlite3
import threading

TABLES = ("states", "states_meta", "events", "statistics", "statistics_short_term")
# Errors that tell of faults that were made.
_MADE = re.compile(
    r"Error fetching (valence|packs|bank) data: "
    r"|Relay (switch|input_boolean)\.\w+: (welded|not_opening|not_closing|away)"
)
_NUMBERS = re.compile(r"[0-9]+(\.[0-9]+)?")
MOST_TOLD = 20


@dataclass(frozen=True, slots=True)
class Sample:
    """Counts at one moment; `hours` are those of the soak's clock, `rss` is in kB."""

    hours: float
    rss: int
    objects: int
    tasks: int
    threads: int
    files: int
    rows: int
    database: int


def sample(folder: Path, hours: float, tasks: int) -> Sample:
    """Count everything now; blocks, so it is for a thread."""
    gc.collect()
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return Sample(
        hours=hours,
        rss=pages * os.sysconf("SC_PAGE_SIZE") // 1024,
        objects=len(gc.get_objects()),
        tasks=tasks,
        threads=threading.active_count(),
        files=sum(1 for _ in Path("/proc/self/fd").iterdir()),
        rows=sum(rows(folder).values()),
        database=sum(file.stat().st_size for file in folder.glob("*.db*")),
    )


def rows(folder: Path) -> dict[str, int]:
    """Return how many rows each table of the recorder has had."""
    path = folder / "home-assistant_v2.db"
    keys = {"states": "state_id", "states_meta": "metadata_id", "events": "event_id"}
    counted = {}
    with sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=30) as database:
        for table in TABLES:
            key = keys.get(table, "id")
            [found] = database.execute(f"SELECT max({key}) FROM {table}")  # noqa: S608
            counted[table] = found[0] or 0
    database.close()
    return counted


class Log(logging.Handler):
    """Counts what is logged: errors of faults that were made, and all others."""

    def __init__(self) -> None:
        """Begin with nothing."""
        super().__init__(logging.WARNING)
        self.count: Counter[str] = Counter()
        self.kinds: Counter[str] = Counter()
        self.told: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Count a record."""
        text = record.getMessage()
        kind = f"{record.name}: {_NUMBERS.sub('0', text)[:110]}"
        self.kinds[f"{record.levelname} {kind}"] += 1
        if record.exc_info:
            self._tell("exceptions", record)
        elif record.levelno < logging.ERROR:
            self.count["warnings"] += 1
        elif _MADE.match(text):
            self.count["errors of faults made"] += 1
        else:
            self._tell("other errors", record)

    def _tell(self, kind: str, record: logging.LogRecord) -> None:
        self.count[kind] += 1
        if len(self.told) < MOST_TOLD:
            self.told.append(logging.Formatter("%(name)s %(message)s").format(record))
