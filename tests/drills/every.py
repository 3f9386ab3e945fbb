"""All drills, from every module whose name ends in `_drills`."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path

from .drill import DRILLS

for path in sorted(Path(__file__).parent.glob("*_drills.py")):
    import_module(f"{__package__}.{path.stem}")

__all__ = ["DRILLS"]
