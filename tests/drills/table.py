"""The table that drills write."""

from __future__ import annotations

from itertools import groupby

from .drill import Drill, Outcome

HEAD = (
    "| Fault | Injected | Readings, states | Wrong | Exceptions | Rules broken | "
    "Heard again after | Tasks, files, threads, objects more |\n"
    "| --- | ---: | ---: | ---: | ---: | ---: | ---: | --- |"
)
GROWN = ("tasks", "files", "threads", "objects")


def row(drill: Drill, outcome: Outcome) -> str:
    """Return a line of the table."""
    recovery = "-" if outcome.recovery is None else f"{outcome.recovery:.1f} s"
    growth = ", ".join(f"{outcome.growth[name]:+d}" for name in GROWN if outcome.growth)
    notes = "".join(f"<br>{note}" for note in outcome.notes)
    if outcome.gap is not None:
        notes += f"<br>longest without a Reading of the others: {outcome.gap:.1f} s"
    cells = (
        f"{drill.what}{notes}",
        f"{outcome.injected}",
        f"{outcome.readings}, {outcome.states}",
        f"{len(outcome.wrong)}",
        f"{len(outcome.exceptions)}",
        f"{len(outcome.broken_rules)}",
        recovery,
        growth or "-",
    )
    return f"| {' | '.join(cells)} |"


def table(done: list[tuple[Drill, Outcome]], day: str, where: str) -> str:
    """Return all lines by group, and when and where they came about."""
    lines = [f"Written by `scripts/drill` on {day} ({where}).\n"]
    order = [drill.group for drill, _ in done]
    done = sorted(done, key=lambda item: order.index(item[0].group))
    for group, members in groupby(done, lambda item: item[0].group):
        lines += [f"### {group}\n", HEAD]
        lines += [row(drill, outcome) for drill, outcome in members]
        lines.append("")
    return "\n".join(lines)
