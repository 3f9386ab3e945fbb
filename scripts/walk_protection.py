"""A seeded random walk over protection: how far it goes without breaking a rule.

Usage, from the repository's root:
.venv-test/bin/python -m scripts.walk_protection [--steps 10000000] [--seed 1]

A step is one judgement of one battery. See tests/bms/walk.py for what is checked; the
first violation ends it, with the seed that shows it again.
"""

import argparse
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from itertools import repeat
import os
import time

from tests.bms.walk import walk

# Steps of one piece of work.
PIECE = 100_000


def main() -> None:
    """Walk in pieces, one process a core."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=10_000_000)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    pieces = max(1, arguments.steps // PIECE)
    seeds = range(arguments.seed * 1_000_000, arguments.seed * 1_000_000 + pieces)
    counts: Counter[str] = Counter()
    start = time.monotonic()
    with ProcessPoolExecutor(os.process_cpu_count()) as pool:
        for done in pool.map(walk, repeat(min(PIECE, arguments.steps)), seeds):
            counts += done
            found = ", ".join(f"{n} {what}" for what, n in sorted(counts.items()))
            seconds = time.monotonic() - start
            print(f"{seconds:.0f} s: {found}; 0 violations", flush=True)


if __name__ == "__main__":
    main()
