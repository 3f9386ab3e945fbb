"""How many inputs each parser gets, and how they are counted.

An ordinary run gives a few thousand to each, the same ones every time. With
OPENXPBMS_FUZZ=1000000 in the environment every parser gets at least as many, new ones
in each run. One input is one stream, URL, store, ... that a check was given; Hypothesis
draws what is common to a batch of them and the seed of the rest, since to draw each by
itself would take it most of a day.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Coroutine
import os
import random
from time import perf_counter
from typing import Any

from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
import pytest

# Inputs for each parser, 0 for an ordinary run.
WANTED = int(os.environ.get("OPENXPBMS_FUZZ", "0"))
# Inputs of one example, in a run of so many and in an ordinary one.
BATCH, SMALL_BATCH = 100, 10
EXAMPLES = 100
# One in so many inputs is drawn by Hypothesis alone, which takes long.
DRAWN = 200

inputs: Counter[str] = Counter()
seconds: Counter[str] = Counter()
findings: Counter[str] = Counter()


def _settings(examples: int) -> settings:
    return settings(
        max_examples=examples,
        deadline=None,
        database=None,
        derandomize=not WANTED,
        suppress_health_check=list(HealthCheck),
        phases=(Phase.explicit, Phase.generate, Phase.shrink),
    )


def fuzz(
    parser: str,
    check: Callable[[random.Random, Any], None],
    structure: st.SearchStrategy[Any] | None = None,
    *,
    share: float = 1.0,
) -> None:
    """Give `check` a generator of random numbers and what Hypothesis drew, many times.

    `share` is how many of the parser's inputs are for this check.
    """
    batch = BATCH if WANTED else SMALL_BATCH
    examples = max(1, round(share * WANTED / batch)) if WANTED else EXAMPLES
    structure = st.none() if structure is None else structure

    @given(seed=st.integers(0, 2**64 - 1), drawn=structure)
    @_settings(examples)
    def run(seed: int, drawn: Any) -> None:
        chance = random.Random(seed)
        for _ in range(batch):
            inputs[parser] += 1
            check(chance, drawn)

    _measured(parser, run)


def examine(
    parser: str, check: Callable[[Any], None], strategy: st.SearchStrategy[Any]
) -> None:
    """Give `check` inputs that Hypothesis draws, and makes small where one fails."""

    @given(drawn=strategy)
    @_settings(max(2 * EXAMPLES, WANTED // DRAWN))
    def run(drawn: Any) -> None:
        inputs[parser] += 1
        check(drawn)

    _measured(parser, run)


def _measured(parser: str, run: Callable[[], None]) -> None:
    start = perf_counter()
    try:
        run()
    except BaseException:
        findings[parser] += 1
        raise
    finally:
        seconds[parser] += perf_counter() - start


def at_once[T](coroutine: Coroutine[Any, Any, T]) -> T:
    """Return what a coroutine returns that never has to wait."""
    try:
        coroutine.send(None)
    except StopIteration as done:
        result: T = done.value
        return result
    raise AssertionError("it waits")


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print what was done, where this module is a plugin of pytest (scripts/fuzz)."""
    for name, count in sorted(inputs.items()):
        row = f"| {name} | {count:,} | {seconds[name]:.0f} | {findings[name]} |"
        terminalreporter.write_line(row)
