"""Run drills and write what came of them into the documentation.

Usage, from the repository's root: scripts/drill [--only NAME] [--times N] [--write]
"""

import argparse
import asyncio
from datetime import UTC, datetime
import os
from pathlib import Path
import platform
import sys

from .drill import Drill, Outcome
from .every import DRILLS
from .home import run
from .table import row, table

PAGE = Path(__file__).parents[2] / "docs" / "robustness.md"
BEGIN, END = "<!-- drills -->", "<!-- /drills -->"


async def drill_all(
    drills: list[Drill], times: int | None
) -> list[tuple[Drill, Outcome]]:
    """Run drills one after the other, and print a line on each."""
    done = []
    for drill in drills:
        outcome = await run(drill, times or drill.times)
        done.append((drill, outcome))
        print(row(drill, outcome), flush=True)
        for fault in [*outcome.wrong, *outcome.exceptions, *outcome.broken_rules][:20]:
            print(f"    {fault}", flush=True)
    return done


def write(done: list[tuple[Drill, Outcome]]) -> None:
    """Put the table where the page has a place for it."""
    before, _, rest = PAGE.read_text().partition(BEGIN)
    after = rest.partition(END)[2]
    day = datetime.now(UTC).date().isoformat()
    where = f"{os.cpu_count()} cores, Python {platform.python_version()}"
    PAGE.write_text(f"{before}{BEGIN}\n\n{table(done, day, where)}\n{END}{after}")


def main() -> int:
    """Run what was asked for; fail where anything happened that must not."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", action="append", metavar="NAME", choices=DRILLS)
    parser.add_argument("--times", type=int)
    parser.add_argument("--write", action="store_true", help=f"write {PAGE.name}")
    chosen = parser.parse_args()
    names = chosen.only or list(DRILLS)
    done = asyncio.run(drill_all([DRILLS[name] for name in names], chosen.times))
    if chosen.write:
        write(done)
    return 0 if all(outcome.good for _, outcome in done) else 1


if __name__ == "__main__":
    sys.exit(main())
