"""Command line of the soak; see scripts/soak."""

from __future__ import annotations

import argparse
from pathlib import Path
import shutil
import sys
import tempfile

from .clock import Clock
from .folder import lay_out


def main() -> int:
    """Run a soak and print its report; return 0 where nothing was wrong."""
    parser = argparse.ArgumentParser(prog="scripts/soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=60.0, help="of real time")
    parser.add_argument("--seed", type=int, default=2026)
    parser.add_argument("--factor", type=float, default=60.0, help="at most so fast")
    parser.add_argument("--size", type=int, default=8, help="batteries on each bus")
    parser.add_argument("--quiet", type=float, default=600.0, help=argparse.SUPPRESS)
    parser.add_argument("--recovery", type=float, default=900.0, help=argparse.SUPPRESS)
    parser.add_argument("--keep", action="store_true", help="keep the folder")
    options = parser.parse_args()

    folder = Path(tempfile.mkdtemp(prefix="soak-"))
    clock = Clock(options.factor)
    try:
        lay_out(folder)
        sys.path.insert(0, str(folder))
        clock.install()
        # Only now: Home Assistant takes its clocks when it is imported, and the
        # integration comes from the folder, whatever becomes of the repository.
        from .run import run  # noqa: PLC0415

        return run(clock, folder, options)
    finally:
        if options.keep:
            print(f"kept: {folder}")
        else:
            shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main())
