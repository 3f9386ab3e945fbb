"""The real command on virtual lines: in this process, and as one of its own."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
import os
from pathlib import Path
import sys
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from custom_components.openxpbms.bms import bus
from custom_components.openxpbms.bms.cli import config, link
from custom_components.openxpbms.bms.cli.app import app
from custom_components.openxpbms.bms.families import KINDS

type Run = Callable[..., Awaitable[Result]]
type Start = Callable[..., Awaitable[asyncio.subprocess.Process]]


@pytest.fixture(autouse=True)
def _no_configuration(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Let no test read the configuration of whoever runs it."""
    monkeypatch.delenv(config.VARIABLE, raising=False)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    # Tables and helps are as wide on every machine.
    monkeypatch.setenv("COLUMNS", "120")


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch, short_pauses: None) -> None:
    """Listen for tenths of a second, and ask few addresses."""
    monkeypatch.setattr(link, "LISTEN", 0.3)
    monkeypatch.setattr(bus, "LISTEN", 0.1)
    for name, kind in list(KINDS.items()):
        few = range(kind.addresses[0], 5)
        # A busy machine answers late.
        patient = replace(kind, addresses=few, answer=400)
        monkeypatch.setitem(KINDS, name, patient)


@pytest.fixture
def run() -> Run:
    """Run the command in a thread, so that virtual lines live on in this one."""

    async def run(*arguments: Any, **more: Any) -> Result:
        words = [str(argument) for argument in arguments]
        return await asyncio.to_thread(CliRunner().invoke, app, words, **more)

    return run


@pytest.fixture
async def start(tmp_path: Path) -> Any:
    """Start the command as whoever installed the wheel does, without its script."""
    home = Path(__file__).parents[3] / "custom_components" / "openxpbms" / "bms"
    (tmp_path / "wheel").mkdir()
    (tmp_path / "wheel" / "openxpbms").symlink_to(home)
    environment = os.environ | {"PYTHONPATH": str(tmp_path / "wheel")}
    processes: list[asyncio.subprocess.Process] = []

    async def start(*arguments: Any) -> asyncio.subprocess.Process:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            *("-m", "openxpbms.cli", *map(str, arguments)),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env=environment,
        )
        processes.append(process)
        return process

    yield start
    for process in processes:
        if process.returncode is None:
            process.kill()
        await process.communicate()
