"""docs/architecture.md names every file of the package, and none that is not there."""

from __future__ import annotations

from pathlib import Path
import re

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "custom_components" / "openxpbms"
PAGE = (ROOT / "docs" / "architecture.md").read_text()
BATTERY_HALF, _, HOME_ASSISTANT_HALF = PAGE.partition("| Beside it |")
_, _, BATTERY_HALF = BATTERY_HALF.partition("| In `bms/` |")
HOME_ASSISTANT_HALF, _, _ = HOME_ASSISTANT_HALF.partition("## Where to begin")


@pytest.mark.parametrize(
    ("table", "folder"),
    [(BATTERY_HALF, PACKAGE / "bms"), (HOME_ASSISTANT_HALF, PACKAGE)],
    ids=["bms", "beside it"],
)
def test_every_file_is_named(table: str, folder: Path) -> None:
    named = re.findall(r"`(\w+\.py)`", table)
    assert len(named) == len(set(named))
    assert set(named) == {file.name for file in folder.glob("*.py")} - {"__init__.py"}


def test_every_folder_of_the_battery_half_is_named() -> None:
    folders = {file.parent.name for file in (PACKAGE / "bms").glob("*/*.py")}
    assert folders
    assert folders <= set(re.findall(r"`(\w+)/`", BATTERY_HALF))


def test_what_is_told_to_look_at_is_there() -> None:
    _, _, told = PAGE.partition("## Where to begin")
    for name in re.findall(r"`(\w+\.\w+)`", told):
        assert (PACKAGE / name).exists() or (PACKAGE / "bms" / name).exists(), name
