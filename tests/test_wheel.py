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
ALLOWED = sys.stdlib_module_names | {"serialx"}


@pytest.mark.parametrize(
    "file", sorted(BMS.rglob("*.py")), ids=lambda file: str(file.relative_to(BMS))
)
def test_source_imports_only_itself_and_serialx(file: Path) -> None:
    depth = len(file.relative_to(BMS).parts)
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            assert {name.name.split(".")[0] for name in node.names} <= ALLOWED
        elif isinstance(node, ast.ImportFrom) and node.level:
            assert node.level <= depth, "leaves bms/"
        elif isinstance(node, ast.ImportFrom):
            assert node.module is not None
            assert node.module.split(".")[0] in ALLOWED


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
        lines = archive.read(metadata).decode().partition("\n\n")[0].splitlines()
    version = json.loads((INTEGRATION / "manifest.json").read_text())["version"]
    assert {
        "Name: openxpbms",
        f"Version: {version}",
        "License-Expression: Apache-2.0",
        "Requires-Python: >=3.13",
    } <= set(lines)
    requirements = [line for line in lines if line.startswith("Requires-Dist:")]
    assert requirements == ["Requires-Dist: serialx>=1.11"]
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
    ]
    assert "openxpbms.bus" in modules
    code = f"""
import importlib, importlib.util
assert importlib.util.find_spec("homeassistant") is None
assert importlib.util.find_spec("probatio") is None
for name in {modules}:
    importlib.import_module(name)
"""
    subprocess.run(
        [str(tmp_path / "bin" / "python"), "-I", "-c", code], cwd=tmp_path, check=True
    )
