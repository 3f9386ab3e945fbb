"""The Home Assistant of scripts/demo, in a folder and on a port of its own."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
import socket
import sys
import time
from typing import Any

ROOT = Path(__file__).parents[2]
sys.path.append(str(ROOT / "scripts" / "demo.d"))

from home import Home, Json, home  # noqa: E402

# s
START = 240
PATIENCE = 60


class NotSo(AssertionError):
    """Something did not come about."""


class House:
    """What Home Assistant itself knows; the browser shows it to a person."""

    def __init__(self, one: Home) -> None:
        """Ask a Home Assistant that runs."""
        self.home = one

    async def entries(self) -> list[Json]:
        """Return the entries of the integration."""
        path = "/api/config/config_entries/entry?domain=openxpbms"
        entries: list[Json] = await self.home.request("GET", path)
        return entries

    async def entry(self, title: str) -> Json:
        """Return an entry by its title."""
        found = [entry for entry in await self.entries() if entry["title"] == title]
        if len(found) != 1:
            raise NotSo(f"{len(found)} entries are called {title}")
        return found[0]

    async def device(self, name: str) -> Json:
        """Return a device by the name that it got."""
        for device in await self.home.command("config/device_registry/list"):
            if device["name"] == name:
                found: Json = device
                return found
        raise NotSo(f"no device is called {name}")

    async def entity(self, unique_id: str) -> str:
        """Return the id of an entity of the integration."""
        for entity in await self.home.command("config/entity_registry/list"):
            if (entity["platform"], entity["unique_id"]) == ("openxpbms", unique_id):
                return str(entity["entity_id"])
        raise NotSo(f"no entity is {unique_id}")

    async def state(self, entity_id: str) -> Json:
        """Return a state with its attributes."""
        state: Json = await self.home.request("GET", f"/api/states/{entity_id}")
        return state

    async def until(
        self, entity_id: str, holds: Callable[[Json], Any], what: str
    ) -> Json:
        """Wait for a state."""
        end = time.monotonic() + PATIENCE
        while not holds(state := await self.state(entity_id)):
            if time.monotonic() > end:
                raise NotSo(f"{entity_id} is not {what}: {state}")
            await asyncio.sleep(0.2)
        return state

    async def becomes(self, entity_id: str, value: str) -> Json:
        """Wait until a state is `value`."""
        return await self.until(
            entity_id, lambda state: state["state"] == value, f"'{value}'"
        )

    async def issues(self) -> list[str]:
        """Return what kinds of repairs of the integration are open."""
        found = await self.home.command("repairs/list_issues")
        return [
            issue["translation_key"]
            for issue in found["issues"]
            if issue["domain"] == "openxpbms"
        ]

    async def mended(self, issue: str) -> None:
        """Wait until an issue has gone by itself."""
        end = time.monotonic() + PATIENCE
        while issue in await self.issues():
            if time.monotonic() > end:
                raise NotSo(f"the issue {issue} stays")
            await asyncio.sleep(0.5)


@asynccontextmanager
async def house(folder: Path) -> AsyncIterator[House]:
    """Start the demo, sign in, and end it afterwards."""
    port = _free_port()
    process = await asyncio.create_subprocess_exec(
        *(ROOT / "scripts" / "demo", "--port", str(port), "--folder", folder),
        stdout=asyncio.subprocess.PIPE,
    )
    assert process.stdout is not None
    said = ""
    try:
        async with asyncio.timeout(START):
            while "Ready:" not in said:
                line = (await process.stdout.readline()).decode()
                if not line:
                    raise NotSo(f"the demo did not start:\n{said}")
                said += line
        rest = asyncio.create_task(process.stdout.read())
        async with home(f"http://127.0.0.1:{port}") as one:
            await one.log_in()
            try:
                yield House(one)
            finally:
                await one.log_out()
    finally:
        if process.returncode is None:
            process.terminate()
        await process.wait()
    await rest


def _free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])
