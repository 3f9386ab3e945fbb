"""Runs a soak in an event loop of its own, as Home Assistant's own runner does."""

from __future__ import annotations

import argparse
import asyncio
from pathlib import Path
import traceback

from homeassistant import runner

from .clock import Clock, Loop
from .report import conditions, examples, report
from .soak import Plan, Soak


def run(clock: Clock, folder: Path, options: argparse.Namespace) -> int:
    """Soak, print the report, and return 0 where nothing was wrong."""
    plan = Plan(
        seconds=60 * options.minutes,
        seed=options.seed,
        factor=options.factor,
        size=options.size,
        quiet=options.quiet,
        recovery=options.recovery,
    )
    loop = Loop(clock)
    runner.configure_event_loop(loop)
    asyncio.set_event_loop(loop)
    soak = Soak(plan, clock, folder)
    soak.hook()
    try:
        loop.run_until_complete(soak.run(lambda text: print(text, flush=True)))
    except Exception:  # noqa: BLE001
        # Whatever it was: Home Assistant would only have it logged.
        traceback.print_exc()
        print(examples(soak))
        return 2
    finally:
        loop.run_until_complete(loop.shutdown_asyncgens())
        loop.run_until_complete(loop.shutdown_default_executor())
        asyncio.set_event_loop(None)
        loop.close()
    command = f"scripts/soak --minutes {options.minutes:g} --seed {options.seed}"
    text, good = report(soak, f"{command} --factor {options.factor:g}")
    print(f"\n{conditions()}\n\n{text}\n\n{examples(soak)}")
    print(f"naps: {dict(clock.waits)}")
    for kind, number in soak.log.kinds.most_common(30):
        print(f"{number:6} {kind}")
    return 0 if good else 1
