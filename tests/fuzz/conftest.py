"""Tells how much was tried."""

from __future__ import annotations

import pytest

from .inputs import WANTED, inputs, table


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print the table of a long run."""
    if WANTED and inputs:
        terminalreporter.write_line("\n" + table())
