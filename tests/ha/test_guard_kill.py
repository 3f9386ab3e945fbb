"""A Home Assistant of its own is killed: what it held open stays open."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
import json
from pathlib import Path
import subprocess
import sys
import time
from typing import Any

from homeassistant.core import HomeAssistant
from homeassistant.helpers import entity_registry as er
import pytest
from pytest_homeassistant_custom_component.common import MockConfigEntry, flush_store

from custom_components.openxpbms.batteries import stored
from custom_components.openxpbms.bms.virtual.line import VirtualLine
from custom_components.openxpbms.bms.virtual.valence import VirtualModule
from custom_components.openxpbms.const import DOMAIN
from custom_components.openxpbms.kept import KeptBus, Mode, to_json

from .conftest import identity

INTEGRATION = Path(__file__).parents[2] / "custom_components" / DOMAIN
RELAYS = ("charge", "load", "connection")
OPEN, CLOSED = dict.fromkeys(RELAYS, "off"), dict.fromkeys(RELAYS, "on")
BATTERY = "u27_12xp_104400461"
CELL = f"sensor.{BATTERY}_cell_3_voltage"
# For what takes seconds; a machine may be busy with other things. s
PATIENCE = 180
# Some rounds, in which nothing may happen, s.
A_WHILE = 5

# Home Assistant as its own command starts it, with no more than is needed here.
PROGRAM = """
from homeassistant import bootstrap
from homeassistant.__main__ import main
bootstrap.DEFAULT_INTEGRATIONS = {"input_boolean"}
bootstrap.CRITICAL_INTEGRATIONS = set()
main()
"""
# Relays that close with every start: somebody has to open them.
CONFIGURATION = "input_boolean:\n" + "".join(
    f"  {name}:\n    initial: true\n" for name in RELAYS
)
# Takes the place of usb, which would bring a web server: writes all states into a file
# whenever one changes.
TELLER = """
import asyncio, json, os
from homeassistant.core import callback

def write(path, states):
    with open(path + ".new", "w") as file:
        json.dump(states, file)
    os.replace(path + ".new", path)

async def async_setup(hass, config):
    changed = asyncio.Event()

    @callback
    def note(_):
        changed.set()

    hass.bus.async_listen("state_changed", note)

    async def tell():
        while True:
            await changed.wait()
            changed.clear()
            states = {s.entity_id: s.state for s in hass.states.async_all()}
            await hass.async_add_executor_job(
                write, hass.config.path("states.json"), states
            )

    hass.async_create_background_task(tell(), "tell")
    return True
"""


class Home:
    """A Home Assistant in a folder and a process of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.log = folder / "console.log"
        self.kept = folder
        self._process: subprocess.Popen[bytes] | None = None
        integrations = folder / "custom_components"
        teller = integrations / "usb"
        teller.mkdir(parents=True)
        (teller / "__init__.py").write_text(TELLER)
        manifest = {"domain": "usb", "name": "Teller", "version": "1.0.0"}
        (teller / "manifest.json").write_text(json.dumps(manifest))
        (integrations / DOMAIN).symlink_to(INTEGRATION)
        (folder / "configuration.yaml").write_text(CONFIGURATION)

    def store(self, key: str, content: dict[str, Any]) -> None:
        """Lay out a file of Home Assistant's storage."""
        path = self.path(key)
        path.parent.mkdir(exist_ok=True)
        path.write_text(json.dumps({"key": key, **content}))

    def path(self, key: str) -> Path:
        """Return where something is stored."""
        return self.folder / ".storage" / key

    def start(self) -> None:
        """Start it, with no word of what an earlier one said."""
        (self.folder / "states.json").unlink(missing_ok=True)
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-c", PROGRAM, "-c", self.folder, "--skip-pip"],
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def kill(self) -> None:
        """Kill it as kill -9 does, where it runs."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    @property
    def states(self) -> dict[str, str]:
        """All states it has told last."""
        try:
            states: dict[str, str] = json.loads(
                (self.folder / "states.json").read_bytes()
            )
        except FileNotFoundError:
            return {}
        return states

    @property
    def relays(self) -> dict[str, str]:
        """The states of the relays."""
        states = self.states
        return {name: states.get(f"input_boolean.{name}", "?") for name in RELAYS}

    def alarm(self, name: str) -> str:
        """Return the state of an alarm."""
        return self.states.get(f"binary_sensor.{BATTERY}_{name}", "?")

    async def until(self, holds: Callable[[], object], what: str) -> None:
        """Wait for something, or fail with all that it told."""
        deadline = time.monotonic() + PATIENCE
        while not holds():
            ended = self._process is None or self._process.poll() is not None
            if ended or time.monotonic() > deadline:
                told = self.log.read_text(errors="replace")[-4000:]
                pytest.fail(f"not {what}: {self.states}\n{told}")
            await asyncio.sleep(0.05)

    async def for_a_while(self, holds: Callable[[], object]) -> None:
        """See that something stays as it is."""
        end = time.monotonic() + A_WHILE
        while time.monotonic() < end:
            assert holds(), self.states
            await asyncio.sleep(0.05)


@pytest.fixture
async def line() -> AsyncIterator[VirtualLine]:
    async with VirtualLine([VirtualModule(1)]) as line:
        yield line


@pytest.fixture
async def home(
    hass: HomeAssistant,
    hass_storage: dict[str, Any],
    line: VirtualLine,
    tmp_path: Path,
) -> AsyncIterator[Home]:
    """Lay out an armed bus with three relays, as Home Assistant itself stores it."""
    home = Home(tmp_path)
    registry = er.async_get(hass)
    relays = {
        name: {
            "relay": registry.async_get_or_create(
                "input_boolean", "input_boolean", name, suggested_object_id=name
            ).id
        }
        for name in RELAYS
    }
    [module] = line.devices
    assert isinstance(module, VirtualModule)
    who = identity(module)
    entry = MockConfigEntry(
        domain=DOMAIN,
        title="Garage",
        data={
            "device": line.path,
            "family": "valence",
            "line": "mark",
            "batteries": stored([who]),
            "guarded": True,
        },
        options={
            "outputs": {
                "joined": "single",
                "charge": relays["charge"],
                "load": relays["load"],
                "connections": {f"valence_{who.serial}": relays["connection"]},
            }
        },
    )
    entry.add_to_hass(hass)
    hass.config_entries._async_schedule_save()
    registry.async_schedule_save()
    await flush_store(hass.config_entries._store)
    await flush_store(registry._store)
    for key in ("core.config_entries", "core.entity_registry"):
        home.store(key, hass_storage[key])
    data = to_json(KeptBus(mode=Mode.ARMED), time.monotonic(), time.time())
    home.kept = home.path(f"{DOMAIN}.{entry.entry_id}")
    home.store(home.kept.name, {"version": 1, "minor_version": 1, "data": data})
    yield home
    home.kill()


def is_latched(kept: Path) -> bool:
    """Whether a latch is on the disk."""
    [battery] = json.loads(kept.read_bytes())["data"]["batteries"].values()
    return any(trip["latched"] for trip in battery["trips"])


async def test_a_latch_outlasts_a_kill(home: Home, line: VirtualLine) -> None:
    [module] = line.devices
    assert isinstance(module, VirtualModule)
    home.start()
    await home.until(lambda: home.alarm("silence") == "off", "set up")
    await home.until(lambda: home.states.get(CELL) == "3.302", "heard")
    await home.for_a_while(lambda: home.relays == CLOSED)

    module.cell_voltages[2] = 4.05
    await home.until(lambda: home.relays == OPEN, "opened")
    await home.until(lambda: is_latched(home.kept), "saved")
    home.kill()

    # The cell is good again, and the relays come back closed.
    module.cell_voltages[2] = 3.302
    home.start()
    await home.until(lambda: home.relays == OPEN, "opened again")
    await home.until(lambda: home.states.get(CELL) == "3.302", "heard again")
    await home.for_a_while(lambda: home.relays == OPEN)
    assert home.alarm("cell_over_voltage_cut_off") == "on"
    assert home.alarm("protection_state_lost") == "off"
    assert home.alarm("charge_allowed") == "off"
    assert home.states[f"switch.{BATTERY}_connection"] == "off"


async def test_a_half_written_file_counts_as_latched(
    home: Home, line: VirtualLine
) -> None:
    whole = home.kept.read_bytes()
    home.kept.write_bytes(whole[: len(whole) // 2])
    home.start()
    await home.until(lambda: home.relays == OPEN, "opened")
    await home.until(lambda: home.states.get(CELL) == "3.302", "heard")
    await home.for_a_while(lambda: home.relays == OPEN)
    assert home.alarm("protection_state_lost") == "on"
    assert home.alarm("charge_allowed") == "off"
    assert home.alarm("discharge_allowed") == "off"
    assert home.states[f"switch.{BATTERY}_connection"] == "off"
