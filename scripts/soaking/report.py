"""What a soak brought, as a person reads it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from importlib.metadata import version
import os
from pathlib import Path
import platform
from textwrap import fill

from .buses import BANK_PERIOD, CHUNK
from .figures import Sample, rows
from .soak import CHANGES_EVERY, INTERVALS, Soak


def report(soak: Soak, command: str) -> tuple[str, bool]:
    """Return the report as Markdown, and whether nothing was wrong."""
    good = not (
        soak.oracle.wrong
        or soak.watch.broken
        or soak.log.count["exceptions"]
        or soak.log.count["other errors"]
    )
    return "\n\n".join(map(_wrapped, _parts(soak, command))), good


def _wrapped(part: str) -> str:
    return part if part.startswith("|") else fill(part, 110, break_on_hyphens=False)


def examples(soak: Soak) -> str:
    """Return what was wrong, a line for each."""
    told = (soak.oracle.told, soak.watch.told, soak.missed, soak.log.told)
    return "\n".join(line for lines in told for line in lines)


def _parts(soak: Soak, command: str) -> Iterator[str]:
    """Yield paragraphs and tables."""
    real, passed = soak.clock.elapsed
    hours = passed / 3600
    wall = datetime.fromtimestamp(soak.clock.real_time(), UTC)
    yield (
        f"`{command}` on {wall:%Y-%m-%d}, {_machine()}, Python "
        f"{platform.python_version()}, Home Assistant {version('homeassistant')}."
    )
    yield (
        f"**{real / 60:.1f} minutes were {hours:.1f} hours of the batteries: "
        f"{passed / real:.1f} times faster** (asked for at most {soak.plan.factor:g})."
    )
    yield "\n".join(_judged(soak))
    yield from _rounds(soak)
    yield "\n".join(_growth(soak))
    yield _database(soak, hours)
    yield _list("What befell", soak.trouble.count)
    yield _list("What people did", soak.trouble.person)


def _judged(soak: Soak) -> Iterator[str]:
    yield "| Judged | Times | Wrong |"
    yield "| --- | ---: | ---: |"
    for kind, what in (
        ("readings", "Readings"),
        ("parts", "Parts of Readings, one block each"),
        ("states", "States of sensors"),
    ):
        yield f"| {what} | {soak.oracle.judged[kind]} | {soak.oracle.wrong[kind]} |"
    looked = soak.watch.seconds.total()
    yield f"| Paths of current, each second | {looked} | {soak.watch.broken.total()} |"


def _machine() -> str:
    model = "unknown processor"
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            model = line.partition(": ")[2]
            break
    return f"{os.cpu_count()} cores ({model})"


def _rounds(soak: Soak) -> Iterator[str]:
    rounds, log = soak.rounds, soak.log.count
    missed, well = rounds["missed"], rounds["missed without a fault"]
    mean = rounds["ms"] / max(rounds["done"], 1)
    yield (
        f"Rounds: {rounds['done']} ended, {mean:.0f} ms each; {rounds['failed']} "
        f"failed (no port, another master). Readings missed: {missed} while a fault "
        f"was on, {well} without one, of {rounds['readings'] + missed + well}."
    )
    yield (
        f"Log: {log['exceptions']} exceptions, {log['other errors']} errors besides "
        f"{log['errors of faults made']} that tell of the faults below, "
        f"{log['warnings']} warnings."
    )
    acts = soak.watch.acts
    hours = {name: each / 3600 for name, each in soak.watch.seconds.items()}
    yield (
        f"Protection told relays {acts['turn_off']} times to open and "
        f"{acts['turn_on']} times to close. Paths of all batteries were closed for "
        f"{hours.get('closed', 0):.0f} h and open for {hours.get('open', 0):.0f} h; "
        f"{hours.get('left out', 0):.1f} h with a relay that was made to fail were "
        "not judged."
    )


def _growth(soak: Soak) -> Iterator[str]:
    # After a quarter everything has happened once.
    samples = soak.samples
    shown = (samples[0], samples[len(samples) // 4], samples[-1])
    yield "| | Before | After a quarter | At the end |"
    yield "| --- | ---: | ---: | ---: |"
    rows_: tuple[tuple[str, Callable[[Sample], str]], ...] = (
        ("Time of the batteries, h", lambda one: f"{one.hours:.1f}"),
        ("Memory (RSS), MB", lambda one: f"{one.rss / 1024:.1f}"),
        ("Objects of Python", lambda one: f"{one.objects}"),
        ("Tasks", lambda one: f"{one.tasks}"),
        ("Threads", lambda one: f"{one.threads}"),
        ("Open files", lambda one: f"{one.files}"),
    )
    for name, text in rows_:
        yield f"| {name} | " + " | ".join(map(text, shown)) + " |"


def _database(soak: Soak, hours: float) -> str:
    counted = rows(soak.folder)
    each = hours * sum(len(bus.truths) for bus in soak.buses.values())
    size = soak.samples[-1].database
    return (
        f"Database: {counted['states']} rows of states, "
        f"{counted['statistics_short_term']} of short-term statistics, "
        f"{size / 1e6:.1f} MB. For each battery and hour "
        f"{counted['states'] / each:.0f} rows of states and "
        f"{size / each / 1000:.0f} kB of everything."
    )


def _list(title: str, counts: Counter[str]) -> str:
    told = ", ".join(f"{name} {number}" for name, number in counts.most_common())
    return f"{title}: {told or 'nothing'}."


def conditions() -> str:
    """Return what was and what was not as at home."""
    return _wrapped(
        "Time is not scaled, it is skipped: whenever the event loop would only wait, "
        "the clocks of the process are put forward to its next timer. Every second, "
        "limit and byte on the wire keeps its length, and what is computed takes the "
        "processor's time that it takes. As at home: the start of Home Assistant with "
        "its web server, recorder (SQLite) and statistics; pseudo-terminals at 19200 "
        "and 115200 baud; every line of the integration. Not as at home: other "
        "integrations are left out; lines and Home Assistant share one process; "
        f"answers come in pieces of {CHUNK} bytes; the master of the bank polls every "
        f"{BANK_PERIOD:g} s instead of every 0.2 s. The values of each battery change "
        f"every {CHANGES_EVERY:g} s on average, and a round begins "
        f"{INTERVALS['packs']:g} s after the last one has ended."
    )
