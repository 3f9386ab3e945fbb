"""What `openxpbms doctor` finds, and how it is told."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

import typer

from .exits import Exit


class Verdict(StrEnum):
    """How bad it is."""

    OK = "ok"
    WARNING = "warning"
    PROBLEM = "problem"


_COLOURS = {
    Verdict.OK: typer.colors.GREEN,
    Verdict.WARNING: typer.colors.YELLOW,
    Verdict.PROBLEM: typer.colors.RED,
}
_WIDTH = 11


@dataclass(frozen=True, slots=True)
class Finding:
    """What was looked at, what came of it, and what to do about it.

    `exit` is how the command ends because of a problem.
    """

    check: str
    verdict: Verdict
    says: str
    advice: str = ""
    exit: Exit = Exit.UNEXPECTED

    def as_dict(self) -> dict[str, str]:
        """Return it for JSON."""
        return {
            "check": self.check,
            "verdict": self.verdict,
            "says": self.says,
            "advice": self.advice,
        }

    def as_text(self) -> str:
        """Return it in a line, with the advice in a second one."""
        verdict = typer.style(f"{self.verdict:8}", fg=_COLOURS[self.verdict])
        text = f"{verdict} {self.check:{_WIDTH}} {self.says}"
        if self.advice:
            text += f"\n{'':{9 + _WIDTH}} → {self.advice}"
        return text


def ok(check: str, says: str) -> Finding:
    """Return that nothing is wrong."""
    return Finding(check, Verdict.OK, says)


def warning(check: str, says: str, advice: str) -> Finding:
    """Return what may be wrong."""
    return Finding(check, Verdict.WARNING, says, advice)


def problem(
    check: str, says: str, advice: str, code: Exit = Exit.UNEXPECTED
) -> Finding:
    """Return what is wrong."""
    return Finding(check, Verdict.PROBLEM, says, advice, code)
