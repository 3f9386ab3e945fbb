"""What docs/command-line.md shows is what the commands print, but for figures."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
import re
import shlex

import pytest

from .conftest import Run

DOCUMENT = Path(__file__).parents[3] / "docs" / "command-line.md"
COMMANDS = ("scan", "read", "watch", "listen")
# Which cell is an extreme, and what is wrong, follows the time that has passed.
_CHANGES = re.compile(r"highest|lowest|balancing|(?<=Alarms:).*", re.MULTILINE)
_FIGURE = re.compile(r"-?\d+([.:]\d+)*")


def documented() -> Iterator[tuple[str, str]]:
    """Yield each command that needs no cable, and what is shown of it."""
    for block in re.findall(r"```console\n(.*?)```", DOCUMENT.read_text(), re.DOTALL):
        for shown in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
            command, _, output = shown.partition("\n")
            words = command.split()
            if words[1] in COMMANDS and "openxpbms-demo://" in command:
                yield command, output


def shape(output: str) -> list[str]:
    """Return the lines without figures, and without how wide they make columns."""
    # Lines of a watch or a bank end in alarms.
    lines = [
        re.sub(r"(?<=\d  )(-|[a-z ,\d]+)$", "", line) for line in output.splitlines()
    ]
    text = _FIGURE.sub("0", _CHANGES.sub("", "\n".join(lines)))
    return [re.sub(r"[ ─]+", " ", line).strip() for line in text.splitlines()]


@pytest.mark.parametrize(("command", "output"), documented())
async def test_the_document_is_true(
    run: Run, quick: None, monkeypatch: pytest.MonkeyPatch, command: str, output: str
) -> None:
    monkeypatch.setenv("COLUMNS", "100")
    result = await run(*shlex.split(command)[1:])
    told = [line for line in result.stderr.splitlines() if not line.endswith(" …")]
    assert shape("\n".join([result.stdout.rstrip("\n"), *told])) == shape(output)


def test_there_is_something_to_compare() -> None:
    assert {command.split()[1] for command, _ in documented()} == set(COMMANDS)
    assert (
        shape("a  13.47  -") == shape("a 1.1  high voltage of cell 3") != shape("b 1")
    )
