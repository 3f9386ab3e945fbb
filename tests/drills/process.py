"""A Home Assistant in a folder and a process of its own, and relays outside of it.

It can be killed, its disk be full, its files spoiled. The relays are files in the
folder `outside`: they stay as they were told last, whatever becomes of Home Assistant.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
import json
import os
from pathlib import Path
import random
import resource
import signal
import subprocess
import sys
import threading
import time
from typing import IO, Any

from homeassistant.core import HomeAssistant
from homeassistant.helpers import entity_registry as er
from pytest_homeassistant_custom_component.common import MockConfigEntry, flush_store

from custom_components.openxpbms.batteries import stored
from custom_components.openxpbms.bms.virtual.valence import VirtualModule
from custom_components.openxpbms.const import DOMAIN
from custom_components.openxpbms.kept import KeptBus, Mode, to_json
from tests.bms.conftest import identity

INTEGRATION = Path(__file__).parents[2] / "custom_components" / DOMAIN
# For what takes seconds; a machine may be busy with other things. s
PATIENCE = 180

# Home Assistant as its own command starts it, with no more than is needed here.
PROGRAM = """
import ctypes, signal, sys
# It ends with what started it, whatever ends that: PR_SET_PDEATHSIG.
ctypes.CDLL(None).prctl(1, signal.SIGKILL)
from homeassistant import bootstrap
from homeassistant.__main__ import main
bootstrap.DEFAULT_INTEGRATIONS = set()
bootstrap.DEFAULT_INTEGRATIONS_RECOVERY_MODE = set()
bootstrap.CRITICAL_INTEGRATIONS = set()
sys.path.insert(0, ".")
{before}
main()
"""
# Takes the place of usb, which would bring a web server: tells all states and issues
# through a pipe, which never is full as a disk is, and does what a file says.
TELLER = """
import asyncio, json, os
from homeassistant.core import Context, callback
from homeassistant.exceptions import HomeAssistantError
from homeassistant.helpers import device_registry as dr
from homeassistant.helpers import issue_registry as ir

def write(told):
    line = json.dumps(told).encode() + b"\\n"
    while line:
        line = line[os.write(int(os.environ["TELL"]), line):]

def take(path):
    try:
        with open(path) as file:
            wish = json.load(file)
    except FileNotFoundError:
        return None
    os.unlink(path)
    return wish

class NoAdapters:
    async def async_scan_serial_ports(self):
        return []

async def async_setup(hass, config):
    hass.data["usb"] = NoAdapters()
    changed = asyncio.Event()
    results = {}

    @callback
    def note(_):
        changed.set()

    hass.bus.async_listen("state_changed", note)
    hass.bus.async_listen("repairs_issue_registry_updated", note)

    async def tell():
        while True:
            await changed.wait()
            changed.clear()
            issues = ir.async_get(hass).issues.values()
            told = {
                "states": {s.entity_id: s.state for s in hass.states.async_all()},
                "attributes": {
                    s.entity_id: {k: str(v) for k, v in s.attributes.items()}
                    for s in hass.states.async_all("switch")
                },
                "issues": sorted(i.issue_id for i in issues if i.active),
                "devices": {
                    name: device.id
                    for device in dr.async_get(hass).devices.values()
                    for _, name in device.identifiers
                },
                "results": results,
            }
            await hass.async_add_executor_job(write, told)

    async def act(wish):
        context = None
        if wish["person"]:
            users = await hass.auth.async_get_users()
            admins = [u for u in users if not u.system_generated]
            user = admins[0] if admins else await hass.auth.async_create_user(
                "Somebody", group_ids=["system-admin"]
            )
            context = Context(user_id=user.id)
        try:
            answer = await hass.services.async_call(
                wish["domain"], wish["service"], wish["data"], blocking=True,
                context=context, return_response=True,
            )
            results[wish["id"]] = {"answer": answer}
        except Exception as err:
            results[wish["id"]] = {"error": repr(err)}
        changed.set()

    async def obey():
        path = hass.config.path("wish.json")
        while True:
            wish = await hass.async_add_executor_job(take, path)
            if wish is not None:
                hass.async_create_background_task(act(wish), "act")
            await asyncio.sleep(0.02)

    hass.async_create_background_task(tell(), "tell")
    hass.async_create_background_task(obey(), "obey")
    return True
"""
RELAYS_OUTSIDE = """
import os
from datetime import timedelta
from homeassistant.components.switch import SwitchEntity
from homeassistant.core import callback
from homeassistant.helpers.event import async_track_time_interval

async def async_setup_platform(hass, config, add, discovery_info=None):
    folder = hass.config.path("outside")
    names = await hass.async_add_executor_job(os.listdir, folder)
    add([Relay(folder, name) for name in sorted(names) if "." not in name])

class Relay(SwitchEntity):
    _attr_should_poll = False

    def __init__(self, folder, name):
        self._attr_name = self._attr_unique_id = name
        self._path = os.path.join(folder, name)
        self._attr_is_on = self._read()

    async def async_added_to_hass(self):
        often = timedelta(seconds=0.1)
        self.async_on_remove(async_track_time_interval(self.hass, self._look, often))

    def _read(self):
        file = os.open(self._path, os.O_RDONLY)
        try:
            return os.read(file, 3) == b"on"
        finally:
            os.close(file)

    @callback
    def _look(self, _=None):
        if (on := self._read()) is not self._attr_is_on:
            self._attr_is_on = on
            self.async_write_ha_state()

    def _switch(self, on):
        # In one step, as a coil has no state in between.
        file = os.open(self._path + ".new", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.write(file, b"on" if on else b"off")
        os.close(file)
        os.replace(self._path + ".new", self._path)
        # What keeps it alive: when it was told last.
        os.utime(self._path)
        self._look()

    async def async_turn_on(self, **kwargs):
        self._switch(True)

    async def async_turn_off(self, **kwargs):
        self._switch(False)
"""


class NotSo(AssertionError):
    """Something did not come about; with what was told and logged."""


class Process:
    """A Home Assistant in a folder and a process of its own.

    `before` is a program that runs in it before it starts. `said` is all that it ever
    logged, `told` what it told last: states, issues, results of what it was asked.
    """

    def __init__(
        self, folder: Path, relays: Iterable[str] = (), before: str = ""
    ) -> None:
        """Lay out its folder."""
        self.folder = folder
        self.names = tuple(relays)
        self.before = before
        self.outside = folder / "outside"
        self._process: subprocess.Popen[bytes] | None = None
        self._wishes = 0
        self.said = ""
        self._began = 0
        self.told: dict[str, Any] = {}
        self._readers: list[threading.Thread] = []
        integrations = folder / "custom_components"
        teller = integrations / "usb"
        teller.mkdir(parents=True)
        (teller / "__init__.py").write_text(TELLER)
        (teller / "switch.py").write_text(RELAYS_OUTSIDE)
        manifest = {"domain": "usb", "name": "Teller", "version": "1.0.0"}
        (teller / "manifest.json").write_text(json.dumps(manifest))
        (integrations / DOMAIN).symlink_to(INTEGRATION)
        (folder / "configuration.yaml").write_text("switch:\n  - platform: usb\n")
        self.outside.mkdir()
        self.switch(on=False)

    # Its folder

    def store(self, key: str, content: dict[str, Any]) -> None:
        """Lay out a file of Home Assistant's storage."""
        path = self.path(key)
        path.parent.mkdir(exist_ok=True)
        path.write_text(json.dumps({"key": key, **content}))

    def path(self, key: str) -> Path:
        """Return where something is stored."""
        return self.folder / ".storage" / key

    def kept(self, key: str) -> dict[str, Any]:
        """Return what is stored."""
        data: dict[str, Any] = json.loads(self.path(key).read_bytes())["data"]
        return data

    # Life

    def start(self) -> None:
        """Start it, with no word of what an earlier one said."""
        (self.folder / "wish.json").unlink(missing_ok=True)
        self.told = {}
        self._began = len(self.said)
        read, write = os.pipe()
        self._process = subprocess.Popen(
            [
                *(sys.executable, "-c", PROGRAM.replace("{before}", self.before)),
                *("-c", self.folder, "--skip-pip"),
            ],
            cwd=self.folder,
            # A web server comes along, which must not meet that of another one.
            env={
                **os.environ,
                "TELL": str(write),
                "SETUP_PORT": str(random.randrange(20000, 30000)),
            },
            pass_fds=[write],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        os.close(write)
        assert self._process.stdout is not None
        self._readers = [
            threading.Thread(target=self._hear, args=(self._process.stdout,)),
            threading.Thread(target=self._be_told, args=(read,)),
        ]
        for reader in self._readers:
            reader.start()

    def _hear(self, log: IO[bytes]) -> None:
        with log:
            for line in log:
                self.said += line.decode(errors="replace")

    def _be_told(self, read: int) -> None:
        with os.fdopen(read, "rb") as pipe:
            for line in pipe:
                with suppress(ValueError):  # cut short by a kill
                    self.told = json.loads(line)

    @property
    def pid(self) -> int:
        """Its process."""
        assert self._process is not None
        return self._process.pid

    @property
    def runs(self) -> bool:
        """Whether it runs."""
        return self._process is not None and self._process.poll() is None

    def strike(self) -> None:
        """Kill it, from any thread; `kill` is still to be called."""
        os.kill(self.pid, signal.SIGKILL)

    def kill(self) -> None:
        """Kill it as kill -9 does, where it runs."""
        if self._process is not None:
            self._process.kill()
            self._gone()

    def _gone(self) -> None:
        assert self._process is not None
        self._process.wait(PATIENCE)
        self._process = None
        for reader in self._readers:
            reader.join()

    def end(self) -> None:
        """Let it stop in order."""
        assert self._process is not None
        self._process.terminate()
        self._gone()

    def limit_files(self, size: int) -> None:
        """Let it write no file longer than `size` bytes, -1 for any: a full disk."""
        resource.prlimit(self.pid, resource.RLIMIT_FSIZE, (size, -1))

    # What it tells

    @property
    def said_now(self) -> str:
        """All that it logged since it was started last."""
        return self.said[self._began :]

    @property
    def states(self) -> dict[str, str]:
        """All states."""
        states: dict[str, str] = self.told.get("states", {})
        return states

    @property
    def devices(self) -> dict[str, str]:
        """The ids of all devices, by what identifies them."""
        devices: dict[str, str] = self.told.get("devices", {})
        return devices

    @property
    def issues(self) -> list[str]:
        """All open repair issues."""
        issues: list[str] = self.told.get("issues", [])
        return issues

    # Relays

    @property
    def relays(self) -> dict[str, str]:
        """How the relays are, whether it runs or not."""
        return {name: (self.outside / name).read_text() for name in self.names}

    def switch(self, *, on: bool) -> None:
        """Switch all relays by hand."""
        for name in self.names:
            (self.outside / name).write_text("on" if on else "off")

    # Doing and waiting

    async def act(
        self,
        domain: str,
        service: str,
        data: dict[str, Any],
        *,
        person: bool = True,
        wait: bool = True,
    ) -> Any:
        """Call an action that answers, as a person unless told otherwise."""
        self._wishes += 1
        wish: dict[str, Any] = {
            "id": str(self._wishes),
            "domain": domain,
            "service": service,
        }
        wish |= {"data": data, "person": person}
        new = self.folder / "wish.new"
        new.write_text(json.dumps(wish))
        new.rename(self.folder / "wish.json")
        if not wait:
            return None
        await self.until(
            lambda: wish["id"] in self.told.get("results", {}), f"done {service}"
        )
        return self.told["results"][wish["id"]]

    async def until(self, holds: Callable[[], object], what: str) -> None:
        """Wait for something, or fail with all that it told."""
        deadline = time.monotonic() + PATIENCE
        while not holds():
            if not self.runs or time.monotonic() > deadline:
                raise NotSo(
                    f"not {what}: {self.told} {self.relays}\n{self.said[-4000:]}"
                )
            await asyncio.sleep(0.05)

    async def for_a_while(self, holds: Callable[[], object], seconds: float) -> None:
        """See that something stays as it is."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            if not holds():
                raise NotSo(f"{self.told} {self.relays}\n{self.said[-4000:]}")
            await asyncio.sleep(0.05)


RELAYS = ("charge", "load", "connection")
OPEN, CLOSED = dict.fromkeys(RELAYS, "off"), dict.fromkeys(RELAYS, "on")


class Guarded(Process):
    """One that guards a battery with three relays; `key` names its store."""

    key: str
    battery: str

    @property
    def cell(self) -> str | None:
        """The voltage of the third cell, as its sensor shows it."""
        return self.states.get(f"sensor.{self.battery}_cell_3_voltage")

    @property
    def connection(self) -> str:
        """The state of the battery's connection."""
        return self.states.get(f"switch.{self.battery}_connection", "?")

    def alarm(self, name: str) -> str:
        """Return the state of an alarm."""
        return self.states.get(f"binary_sensor.{self.battery}_{name}", "?")

    def arm(self) -> None:
        """Keep an armed bus, of which nothing else is known."""
        data = to_json(KeptBus(mode=Mode.ARMED), time.monotonic(), time.time())
        content = {"version": 1, "minor_version": 1, "data": data}
        # As it would be written: a battery that is not in it is new.
        self.store(self.key, content)

    @property
    def is_latched(self) -> bool:
        """Whether a latch is on the disk."""
        batteries = self.kept(self.key)["batteries"].values()
        return any(trip["latched"] for each in batteries for trip in each["trips"])


async def guarded(
    folder: Path,
    hass: HomeAssistant,
    storage: Mapping[str, Any],
    url: str,
    module: VirtualModule,
    *,
    before: str = "",
    options: dict[str, Any] | None = None,
    details: dict[str, Any] | None = None,
) -> Guarded:
    """Lay out one that guards a module, armed, as Home Assistant itself stores it.

    `details` are those of each relay.
    """
    home = Guarded(folder, RELAYS, before)
    registry = er.async_get(hass)
    relays = {
        name: {
            "relay": registry.async_get_or_create(
                "switch", "usb", name, suggested_object_id=name
            ).id,
            **(details or {}),
        }
        for name in RELAYS
    }
    who = identity(module)
    entry = MockConfigEntry(
        domain=DOMAIN,
        title="Garage",
        data={
            "device": url,
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
            },
            **(options or {}),
        },
    )
    await lay_out(home, hass, storage, entry)
    home.key = f"{DOMAIN}.{entry.entry_id}"
    home.battery = f"u27_12xp_{who.serial}"
    home.arm()
    return home


async def lay_out(
    process: Process,
    hass: HomeAssistant,
    storage: Mapping[str, Any],
    entry: MockConfigEntry,
) -> None:
    """Store an entry and the registry of entities as Home Assistant itself does."""
    entry.add_to_hass(hass)
    registry = er.async_get(hass)
    hass.config_entries._async_schedule_save()
    registry.async_schedule_save()
    for store in (hass.config_entries._store, registry._store):
        await flush_store(store)
    for key in ("core.config_entries", "core.entity_registry"):
        process.store(key, storage[key])


class Stored(Mapping[str, Any]):
    """What a Home Assistant has in its storage, where that is on a disk."""

    def __init__(self, hass: HomeAssistant) -> None:
        """Look into its folder."""
        self._folder = Path(hass.config.path(".storage"))

    def __getitem__(self, key: str) -> Any:
        """Return a file."""
        return json.loads((self._folder / key).read_bytes())

    def __iter__(self) -> Iterator[str]:
        """Iterate over the names of files."""
        return (path.name for path in self._folder.iterdir())

    def __len__(self) -> int:
        """Return how many files there are."""
        return len(list(self._folder.iterdir()))
