"""The battery half stands alone: as source, and as the wheel `openxpbms`."""

import ast
from importlib.metadata import distribution
import json
from pathlib import Path
import shutil
import subprocess
import sys
from zipfile import ZipFile

import pytest

REPOSITORY = Path(__file__).parent.parent
INTEGRATION = REPOSITORY / "custom_components" / "openxpbms"
BMS = INTEGRATION / "bms"
# What may be imported, by folder: each has an extra that brings it.
COMMAND = {"rich", "typer"}
ALLOWED = {
    "cli": COMMAND,
    "console": COMMAND | {"textual"},
    "mqtt": COMMAND | {"aiomqtt"},
}


@pytest.mark.parametrize(
    "file", sorted(BMS.rglob("*.py")), ids=lambda file: str(file.relative_to(BMS))
)
def test_source_imports_only_what_it_may(file: Path) -> None:
    parts = file.relative_to(BMS).parts
    depth = len(parts)
    allowed = sys.stdlib_module_names | {"serialx"} | ALLOWED.get(parts[0], set())
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            assert {name.name.split(".")[0] for name in node.names} <= allowed
        elif isinstance(node, ast.ImportFrom) and node.level:
            assert node.level <= depth, "leaves bms/"
            assert parts[0] in ALLOWED or not _reaches(node, depth), "needs an extra"
        elif isinstance(node, ast.ImportFrom):
            assert node.module is not None
            assert node.module.split(".")[0] in allowed


def _reaches(node: ast.ImportFrom, depth: int) -> bool:
    """Whether an import from the battery half itself reaches what needs an extra."""
    if node.level < depth:
        return False
    names = [node.module] if node.module else [name.name for name in node.names]
    return any(name.split(".")[0] in ALLOWED for name in names)


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build with the test environment's own hatchling: needs no network."""
    folder = tmp_path_factory.mktemp("wheel")
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)],
        cwd=REPOSITORY,
        check=True,
    )
    return next(folder.iterdir())


def test_wheel_says_what_it_is(wheel: Path) -> None:
    with ZipFile(wheel) as archive:
        names = archive.namelist()
        metadata = next(name for name in names if name.endswith("/METADATA"))
        scripts = metadata.replace("METADATA", "entry_points.txt")
        entry_points = archive.read(scripts).decode().splitlines()
        lines = archive.read(metadata).decode().partition("\n\n")[0].splitlines()
    version = json.loads((INTEGRATION / "manifest.json").read_text())["version"]
    assert {
        "Name: openxpbms",
        f"Version: {version}",
        "License-Expression: Apache-2.0",
        "Requires-Python: >=3.13",
    } <= set(lines)
    requirements = {
        line.removeprefix("Requires-Dist: ")
        for line in lines
        if line.startswith("Requires-Dist:")
    }
    command = ("rich>=13.8", "typer>=0.29")
    assert requirements == {
        "serialx>=1.11",
        *(f"{name}; extra == '{extra}'" for extra in ALLOWED for name in command),
        "textual>=6; extra == 'console'",
        "aiomqtt>=2.3; extra == 'mqtt'",
    }
    assert "openxpbms = openxpbms.cli:main" in entry_points
    assert {name.split("/")[0].split("-")[0] for name in names} == {"openxpbms"}


def test_wheel_works_without_home_assistant(wheel: Path, tmp_path: Path) -> None:
    subprocess.run(
        [sys.executable, "-m", "venv", "--without-pip", str(tmp_path)], check=True
    )
    site = next((tmp_path / "lib").iterdir()) / "site-packages"
    with ZipFile(wheel) as archive:
        archive.extractall(site)
    # serialx and what it needs, as the test environment has them
    for name in ("serialx", "typing_extensions"):
        found = distribution(name)
        for file in found.files or ():
            if ".." not in file.parts:
                (site / file).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(str(found.locate_file(file)), site / file)

    modules = [
        ".".join(("openxpbms", *file.relative_to(BMS).with_suffix("").parts))
        for file in BMS.rglob("*.py")
        if file.name not in ("__init__.py", "__main__.py")
        and file.relative_to(BMS).parts[0] not in ALLOWED
    ]
    assert "openxpbms.bus" in modules
    code = f"""
import importlib, importlib.util
assert importlib.util.find_spec("homeassistant") is None
assert importlib.util.find_spec("probatio") is None
for name in {modules}:
    importlib.import_module(name)
import openxpbms.cli
try:
    openxpbms.cli.main()
except SystemExit as end:
    assert 'pip install "openxpbms[cli]"' in end.code, end.code
else:
    raise AssertionError("a command without its libraries")
"""
    subprocess.run(
        [str(tmp_path / "bin" / "python"), "-I", "-c", code], cwd=tmp_path, check=True
    )
