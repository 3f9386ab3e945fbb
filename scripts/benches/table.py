"""Figures as tables, those with a limit or goal first, and where the docs keep them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
import re

FIGURES = Path(__file__).resolve().parents[2] / "docs" / "figures.md"


@dataclass(frozen=True, slots=True)
class Row:
    """One figure in `unit`, and the `limit` or goal that it is held against.

    `goal` is what their ratio should be at most.
    """

    what: str
    figure: float
    unit: str
    limit: float | None = None
    goal: float = 1.0


def table(rows: Iterable[Row]) -> str:
    """Return rows as a Markdown table, ratios first."""
    lines = [("Ratio", "Wanted", "What", "Figure", "Limit or goal")]
    for row in sorted(rows, key=lambda row: row.limit is None):
        figure = f"{_short(row.figure)} {row.unit}".strip()
        if row.limit is None:
            lines.append(("", "", row.what, figure, ""))
        else:
            ratio, wanted = f"{row.figure / row.limit:.2f}", f"≤ {row.goal:.2f}"
            limit = f"{_short(row.limit)} {row.unit}".strip()
            lines.append((ratio, wanted, row.what, figure, limit))
    lines.insert(1, ("---:", "---:", "---", "---:", "---:"))
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join(
        "| " + " | ".join(c.ljust(w) for c, w in zip(line, widths, strict=True)) + " |"
        for line in lines
    )


def _short(value: float) -> str:
    """Return three figures that count, or all before the point."""
    return f"{value:.0f}" if abs(value) >= 100 or value == 0 else f"{value:.3g}"


def write(name: str, text: str) -> None:
    """Put `text` between the marks of that name in docs/figures.md."""
    begin, end = f"<!-- {name} -->\n", f"<!-- /{name} -->"
    pattern = re.compile(re.escape(begin) + ".*?" + re.escape(end), re.DOTALL)
    old = FIGURES.read_text(encoding="utf-8")
    new, count = pattern.subn(lambda _: f"{begin}\n{text}\n\n{end}", old)
    if count != 1:
        raise ValueError(f"{FIGURES.name} has no marks {begin.strip()} and {end}")
    FIGURES.write_text(new, encoding="utf-8")
