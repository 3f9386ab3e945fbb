"""`openxpbms doctor`: what keeps a port or its batteries from working."""

from __future__ import annotations

from collections.abc import AsyncIterator
import json
from typing import Annotated

import typer

from .arguments import with_port
from .bus_checks import bus_checks
from .findings import Finding, Verdict
from .link import Choice, Progress
from .port_checks import port_checks
from .terminal import lines


@with_port
async def doctor(
    choice: Choice,
    *,
    questions: Annotated[
        int,
        typer.Option(min=1, help="How often to ask each battery that is found."),
    ] = 40,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print JSON instead of lines.")
    ] = False,
) -> None:
    """Look for what keeps a port or its batteries from working, step by step.

    Is the port there, may you use it, does somebody else; does it take the settings
    that batteries need; who talks; how well does each battery answer. Each line is ok,
    a warning or a problem, and says what to do. Without a problem the exit code is 0.

      openxpbms doctor /dev/ttyUSB0
      openxpbms doctor /dev/ttyUSB0 --family valence --addresses 1-4
    """
    found: list[Finding] = []
    async for finding in _checks(choice, questions, lines()):
        found.append(finding)
        if not as_json:
            typer.echo(finding.as_text())
    if as_json:
        typer.echo(json.dumps([finding.as_dict() for finding in found], indent=2))
    else:
        typer.echo(_summary(found))
    for finding in found:
        if finding.verdict is Verdict.PROBLEM:
            raise typer.Exit(finding.exit)


async def _checks(
    choice: Choice, questions: int, told: Progress
) -> AsyncIterator[Finding]:
    hopeless = False
    for finding in port_checks(choice.url):
        yield finding
        hopeless |= finding.verdict is Verdict.PROBLEM
    # Where somebody else has the port open, a look would take answers away.
    if not hopeless:
        async for finding in bus_checks(choice, questions, told):
            yield finding


def _summary(found: list[Finding]) -> str:
    counts = [
        f"{count} {verdict}{'s' if count > 1 else ''}"
        for verdict in (Verdict.PROBLEM, Verdict.WARNING)
        if (count := sum(finding.verdict is verdict for finding in found))
    ]
    return f"\n{', '.join(counts) or 'Nothing is wrong'}."
