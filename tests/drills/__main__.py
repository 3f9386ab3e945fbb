"""Run drills and write what came of them into the documentation.

Usage, from the repository's root:
scripts/drill [--only NAME] [--times N] [--jobs N] [--results FOLDER] [--write]

What lies in the folder of results is not done again.
"""

import argparse
import asyncio
from dataclasses import asdict
from datetime import UTC, datetime
import json
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


async def in_a_process(drill: Drill, times: int) -> Outcome:
    """Run a drill in a process of its own, so that it counts nobody else's objects."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", __package__ or "", "--only", drill.name),
        *("--times", str(times), "--json"),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    told, errors = await process.communicate()
    try:
        return Outcome(**json.loads(told.splitlines()[-1]))
    except (IndexError, ValueError):
        return Outcome(exceptions=[errors.decode(errors="replace")[-2000:]])


async def drill_all(
    drills: list[Drill], times: int | None, jobs: int, results: Path | None
) -> list[tuple[Drill, Outcome]]:
    """Run drills, some at a time, and print a line on each."""
    room = asyncio.Semaphore(jobs)

    async def one(drill: Drill) -> tuple[Drill, Outcome]:
        known = results and results / f"{drill.name}.json"
        if known and known.exists():
            return drill, Outcome(**json.loads(known.read_text()))
        async with room:
            outcome = await in_a_process(drill, times or drill.times)
        if known:
            known.write_text(json.dumps(asdict(outcome)))
        print(f"{drill.name} ({outcome.seconds:.0f} s)\n{row(drill, outcome)}")
        told = outcome.wrong + outcome.exceptions + outcome.broken_rules
        for line in (told + outcome.complaints)[:20]:
            print(f"    {line}")
        sys.stdout.flush()
        return drill, outcome

    return list(await asyncio.gather(*map(one, drills)))


def write(done: list[tuple[Drill, Outcome]], jobs: int) -> None:
    """Put the table where the page has a place for it."""
    before, _, rest = PAGE.read_text().partition(BEGIN)
    after = rest.partition(END)[2]
    day = datetime.now(UTC).date().isoformat()
    where = (
        f"{os.cpu_count()} cores, Python {platform.python_version()}, {jobs} at a time"
    )
    PAGE.write_text(f"{before}{BEGIN}\n\n{table(done, day, where)}\n{END}{after}")


def main() -> int:
    """Run what was asked for; fail where anything happened that must not."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", action="append", metavar="NAME", choices=DRILLS)
    parser.add_argument("--times", type=int)
    parser.add_argument("--jobs", type=int, default=1, help="so many at a time")
    parser.add_argument("--results", type=Path, metavar="FOLDER")
    parser.add_argument("--write", action="store_true", help=f"write {PAGE.name}")
    parser.add_argument("--json", action="store_true", help="one, told as JSON")
    chosen = parser.parse_args()
    drills = [DRILLS[name] for name in chosen.only or DRILLS]
    if chosen.json:
        [drill] = drills
        print(json.dumps(asdict(asyncio.run(run(drill, chosen.times or drill.times)))))
        return 0
    done = asyncio.run(drill_all(drills, chosen.times, chosen.jobs, chosen.results))
    if chosen.write:
        write(done, chosen.jobs)
    return 0 if all(outcome.good for _, outcome in done) else 1


if __name__ == "__main__":
    sys.exit(main())
