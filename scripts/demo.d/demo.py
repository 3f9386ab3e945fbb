"""Starts Home Assistant with the demo in it and stays until Ctrl-C."""

from __future__ import annotations

import argparse
import asyncio
from contextlib import suppress
from datetime import UTC, datetime
import fcntl
import json
import os
from pathlib import Path
import shutil
import signal
import socket
import sys
import time
from typing import Any

from aiohttp import ClientError
from bus import add_bus
from dashboard import add_dashboard
from energy import add_energy
from home import PASSWORD, USER, home
from options import arm, set_options

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
# What is in its folder.
LOG = "home-assistant.log"
CONSOLE = "console.log"
HOST = "127.0.0.1"
# Shown beside each other: modules in parallel, others in series, a lone pack, a bank
# with its own master.
FEW = {"addresses": "1-4", "line": "auto", "mode": "auto"}
BUSES: tuple[dict[str, Any], ...] = (
    {"device": "openxpbms-demo://valence?modules=4&mode=bank", "more": FEW},
    {"device": "openxpbms-demo://valence?modules=2&mode=string&seed=1", "more": FEW},
    {"family": "seplos", "modules": 1},
    {"family": "seplos_bank", "modules": 4},
)
RESTART = 100  # Home Assistant's exit code when it wants to be started again
START_TIMEOUT = 180
STOP_TIMEOUT = 60


class Refusal(Exception):
    """The demo can not be started like this; says why."""


def say(text: str) -> None:
    """Tell the user now, even through a pipe."""
    print(f"demo: {text}", flush=True)


def check_free(port: int) -> None:
    """Refuse a port that something listens on."""
    with socket.socket() as one:
        one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            one.bind((HOST, port))
        except (OSError, OverflowError) as err:
            raise Refusal(
                f"port {port} can not be used ({err}): "
                "stop what uses it, or choose another with --port"
            ) from err


def check_alone(folder: Path) -> None:
    """Refuse a second demo in the same folder: Home Assistant holds this lock."""
    with suppress(FileNotFoundError), (folder / ".ha_run.lock").open() as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as err:
            holder = json.load(lock)["pid"]
            raise Refusal(f"this demo runs already: stop process {holder}") from err


def forget(folder: Path) -> None:
    """Remove the folder of a demo, and no other one."""
    if not folder.exists():
        return
    if not (folder / ".HA_VERSION").exists():
        raise Refusal(f"{folder} holds no demo: it is not removed")
    shutil.rmtree(folder)


def prepare(folder: Path, port: int) -> None:
    """Lay out what Home Assistant would otherwise ask for or look up."""
    storage = folder / ".storage"
    storage.mkdir(parents=True, exist_ok=True)
    shutil.copy(HERE / "configuration.yaml", folder)
    link = folder / "custom_components"
    if not link.is_symlink():
        link.symlink_to(ROOT / "custom_components")
    server = {
        "server_port": port,
        "server_host": [HOST],
        "cors_allowed_origins": [],
        "login_attempts_threshold": -1,
        "ip_ban_enabled": True,
        "ssl_profile": "intermediate_v6",
        "use_x_frame_options": True,
        "created_at": datetime.now(UTC).isoformat(),
        "error": None,
        "error_message": None,
    }
    stored = {"stable": server, "pending": None, "yaml_migration_done": True}
    store(folder, "http", 3, stored)
    if not (storage / "onboarding").exists():
        # the user is still to be made; the rest would look things up on the internet
        done = {"done": ["core_config", "analytics", "integration"]}
        store(folder, "onboarding", 4, done)


def store(folder: Path, key: str, version: int, data: object) -> None:
    """Write a file as Home Assistant keeps its settings."""
    content = {"version": version, "minor_version": 1, "key": key, "data": data}
    (folder / ".storage" / key).write_text(json.dumps(content))


async def start(folder: Path) -> asyncio.subprocess.Process:
    """Start Home Assistant, where Ctrl-C does not reach it: we pass that on."""
    with (folder / CONSOLE).open("wb") as console:
        return await asyncio.create_subprocess_exec(
            Path(sys.executable).with_name("hass"),
            "--config",
            folder,
            "--skip-pip-packages",
            "pymicro-vad,pyspeex-noise",
            stdin=asyncio.subprocess.DEVNULL,
            stdout=console,
            stderr=console,
            env=os.environ | {"PYTHONPATH": str(HERE / "stand_ins")},
            start_new_session=True,
        )


async def furnish(url: str) -> None:
    """Wait until Home Assistant is up, then add what is still missing in it."""
    async with asyncio.timeout(START_TIMEOUT), home(url) as one:
        while not await one.answers():
            await asyncio.sleep(0.1)
        await one.log_in()
        try:
            await one.running()
            entries = "/api/config/config_entries/entry?domain=openxpbms"
            if not await one.request("GET", entries):
                say("setting the virtual buses up (they listen, then search: 20 s)")
                await asyncio.gather(*(add_bus(one, what) for what in BUSES))
                await set_options(one)
                await arm(one)
                await add_energy(one)
            await add_dashboard(one)
        finally:
            await one.log_out()


async def serve(folder: Path, url: str, stopping: asyncio.Task[bool]) -> int:
    """Run Home Assistant once; return its exit code."""
    began = time.monotonic()
    process = await start(folder)
    ended = asyncio.create_task(process.wait())
    ready = asyncio.create_task(furnish(url))
    try:
        await first_of(ready, ended, stopping)
        if ready.done():
            ready.result()
            say(f"started in {time.monotonic() - began:.1f} s; Ctrl-C ends it")
            print(f"Ready: {url}  user {USER}  password {PASSWORD}", flush=True)
            await first_of(ended, stopping)
    finally:
        ready.cancel()
        if not ended.done():
            say("stopping Home Assistant")
            process.terminate()
            await asyncio.wait((ended,), timeout=STOP_TIMEOUT)
        if not ended.done():
            process.kill()
    return await ended


async def first_of(*tasks: asyncio.Task[Any]) -> None:
    """Return when one of them is done."""
    await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)


async def run(folder: Path, url: str) -> None:
    """Keep Home Assistant running until it ends or is told to."""
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    stopping = asyncio.create_task(stop.wait())
    while (code := await serve(folder, url, stopping)) == RESTART and not stop.is_set():
        say("Home Assistant wants to be started again")
    stopping.cancel()
    if code and not stop.is_set():
        raise RuntimeError(f"Home Assistant ended by itself (exit code {code})")


def main() -> None:
    """Read the command line and run."""
    parser = argparse.ArgumentParser(prog="scripts/demo", description=__doc__)
    parser.add_argument("--port", type=int, default=8123, help="default: 8123")
    parser.add_argument("--reset", action="store_true", help="forget everything first")
    parser.add_argument(
        "--folder", type=Path, default=ROOT / ".demo", help="default: .demo"
    )
    arguments = parser.parse_args()
    folder = arguments.folder.absolute()
    try:
        check_alone(folder)
        check_free(arguments.port)
        if arguments.reset:
            forget(folder)
        prepare(folder, arguments.port)
        say("starting Home Assistant")
        asyncio.run(run(folder, f"http://{HOST}:{arguments.port}"))
    except Refusal as err:
        sys.exit(f"demo: {err}")
    except TimeoutError:
        sys.exit(f"demo: Home Assistant did not start in time; see {folder / LOG}")
    except (RuntimeError, ClientError) as err:
        sys.exit(f"demo: {err}; see {folder / LOG} and {folder / CONSOLE}")


if __name__ == "__main__":
    main()
