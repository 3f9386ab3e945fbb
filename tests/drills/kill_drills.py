"""What ends or stops a Home Assistant: kills, a full disk, its recovery mode.

Each takes place in a process of its own; relays and batteries are outside of it.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from functools import partial
from pathlib import Path
import tempfile
import threading
import time
from typing import Any

from pytest_homeassistant_custom_component.common import MockConfigEntry

from custom_components.openxpbms.batteries import stored
from custom_components.openxpbms.bms.virtual import (
    VirtualLine,
    VirtualModule,
    VirtualPack,
)
from custom_components.openxpbms.const import DOMAIN
from tests.bms.seplos_data import identity

from .drill import drill
from .home import Home
from .process import CLOSED, OPEN, Guarded, Process, Stored, guarded, lay_out
from .wire import Wire

GROUP = "Home Assistant's process"
GOOD, DANGEROUS = 3.302, 4.05
# Some rounds, in which nothing may happen, s.
A_WHILE = 4.0
# A relay's own timer and the heartbeat, both thirty times faster than real ones, s.
TIMER = 6.0
QUICK_BEAT = """
from custom_components.openxpbms import relay_board
relay_board.BEAT, relay_board.LAPSE = 1.0, 3.0
"""
# Writes need not wait for a minute without another master.
NOT_QUIET = """
from custom_components.openxpbms.bms import seplos_writes
seplos_writes.QUIET = 0.0
"""
ALARM, REGISTER, OLD, NEW = "battery_low_voltage_alarm", 0x1307, 4640, 4500


def expect(home: Home, holds: object, rule: str) -> None:
    """Note a rule that was broken."""
    if not holds and rule not in home.outcome.broken_rules:
        home.outcome.broken_rules.append(rule)


@contextmanager
def folder(home: Home) -> Iterator[Path]:
    """Return a new folder."""
    with tempfile.TemporaryDirectory() as name:
        yield Path(name)


def hear(home: Home, process: Process) -> None:
    """Take what a process logged for the outcome; others may tell of a full disk."""
    _, *tracebacks = process.said.split("Traceback (most recent call last)")
    home.outcome.exceptions += [
        told[:2000] for told in tracebacks if "File too large" not in told
    ]


@asynccontextmanager
async def lone(home: Home, **how: Any) -> AsyncIterator[tuple[Guarded, Wire]]:
    """Lay out a Home Assistant that guards one module with three relays."""
    with folder(home) as path:
        async with Wire(VirtualLine([VirtualModule(1)])) as wire:
            [module] = wire.line.devices
            assert isinstance(module, VirtualModule)
            hass = home.hass
            process = await guarded(
                path, hass, Stored(hass), str(wire.line.path), module, **how
            )
            try:
                yield process, wire
            finally:
                process.kill()
                hear(home, process)


async def set_cell(wire: Wire, volts: float) -> None:
    """Let the third cell have a voltage."""
    [module] = wire.line.devices
    assert isinstance(module, VirtualModule)
    await wire.do(module.cell_voltages.__setitem__, 2, volts)


async def guards(process: Guarded) -> None:
    """Start it and wait until it has heard the battery and closed the relays."""
    process.switch(on=True)
    process.start()
    await process.until(lambda: process.cell == f"{GOOD}", "heard")
    await process.until(lambda: process.alarm("silence") == "off", "judged")
    await process.until(lambda: process.relays == CLOSED, "closed")


@drill(
    group=GROUP,
    what="kill -9 at up to 1 s after a dangerous frame",
    times=60,
    brief=0,
)
async def killed_in_a_trip(home: Home, times: int) -> None:
    """What is latched on the disk stays; what nobody knew yet is judged anew."""
    came_out: Counter[str] = Counter()
    async with lone(home) as (process, wire):
        [module] = wire.line.devices
        assert isinstance(module, VirtualModule)
        told = threading.Event()

        def before_answer(each: Any, now: float) -> None:
            if each.cell_voltages[2] > GOOD:
                told.set()

        module.before_answer = before_answer
        for n in range(times):
            process.arm()
            await set_cell(wire, GOOD)
            await guards(process)
            told.clear()
            await set_cell(wire, DANGEROUS)
            await asyncio.to_thread(told.wait, 30)
            # Most of it happens within some ms, the connection opens after 0.5 s.
            await asyncio.sleep((n / times) ** 2)
            process.kill()
            home.injected()
            opened, latched = process.relays, process.is_latched
            expect(home, opened == OPEN or n / times < 0.9, "not opened within 0.8 s")
            came_out[_what(opened, latched=latched)] += 1

            stays_dangerous = n % 2 == 1
            await set_cell(wire, DANGEROUS if stays_dangerous else GOOD)
            process.start()
            if latched or stays_dangerous:
                await process.until(lambda: process.relays == OPEN, "opened again")
                await process.for_a_while(lambda: process.relays == OPEN, A_WHILE)
                alarm = "cell_over_voltage_cut_off"
                await process.until(partial(is_on, process, alarm), "shown")
            else:
                await process.until(lambda: process.cell == f"{GOOD}", "heard again")
                await process.until(lambda: process.relays == CLOSED, "closed again")
            lost = is_on(process, "protection_state_lost")
            expect(home, not lost, "state lost by a kill")
            process.kill()
    for what, count in sorted(came_out.items()):
        home.note(f"{count} times {what}")


def is_on(process: Guarded, alarm: str) -> bool:
    """Whether an alarm is on."""
    return process.alarm(alarm) == "on"


def _what(relays: dict[str, str], *, latched: bool) -> str:
    opened = sum(state == "off" for state in relays.values())
    kept = "kept" if latched else "not kept"
    return f"{opened} of {len(relays)} relays open, the latch {kept}"


# Writes


@asynccontextmanager
async def lone_pack(home: Home) -> AsyncIterator[tuple[Process, Wire, str]]:
    """Lay out a Home Assistant with one pack that may be written to."""
    pack = VirtualPack()
    with folder(home) as path:
        async with Wire(VirtualLine([pack])) as wire:
            process = Process(path, before=NOT_QUIET)
            entry = MockConfigEntry(
                domain=DOMAIN,
                title="Garage",
                data={
                    "device": str(wire.line.path),
                    "family": "seplos",
                    "mode": "ask",
                    "batteries": stored([identity(pack)]),
                },
                options={"writes": True},
            )
            await lay_out(process, home.hass, Stored(home.hass), entry)
            try:
                yield process, wire, f"{DOMAIN}.{entry.entry_id}.writes"
            finally:
                process.kill()
                hear(home, process)


@drill(
    group=GROUP,
    what="kill -9 in a confirmed write: before the frame, before the acknowledgement, "
    "before the read-back, at any time",
    times=48,
    brief=1,
)
async def killed_in_a_write(home: Home, times: int) -> None:
    """Nothing is sent twice, and what the pack then has is told."""
    came_out: Counter[str] = Counter()
    async with lone_pack(home) as (process, wire, key):
        [pack] = wire.line.devices
        assert isinstance(pack, VirtualPack)
        serial = f"seplos_{pack.serial}"
        ends = {"verified", "unchanged", "not_sent"}
        for n in range(times):
            pack.parameters[REGISTER] = OLD
            wire.line.frames.clear()
            if process.path(key).exists():
                process.path(key).unlink()
            process.start()
            await process.until(lambda: serial in process.devices, "set up")
            device = {"device_id": process.devices[serial]}
            offer = await process.act(
                DOMAIN,
                "prepare_parameter_write",
                {**device, "parameter": ALARM, "value": 45.0},
            )
            assert "answer" in offer, offer
            code = offer["answer"]["code"]
            died = asyncio.create_task(_killed(process, wire, n, times, key))
            await process.act(
                DOMAIN,
                "confirm_parameter_write",
                {**device, "code": code},
                wait=False,
            )
            await died
            home.injected()

            sent = _writes(wire)
            steps = _steps(process, key)
            word = pack.parameters[REGISTER]
            expect(home, sent <= 1, "sent twice")
            expect(home, not sent or "confirmed" in steps, "sent without a record")
            expect(home, word == OLD or sent, "changed without a frame")
            process.start()
            if "confirmed" in steps:
                await process.until(lambda: _steps(process, key)[-1] in ends, "told")
            else:
                await process.until(lambda: serial in process.devices, "set up again")
                await process.until(
                    lambda: process.states.get(
                        f"sensor.sg16s200a_sp57b_a_{_slug(pack.serial)}_voltage"
                    ),
                    "heard again",
                )
            process.kill()
            steps_after = _steps(process, key)
            if "confirmed" in steps_after:
                right = "unchanged" if word == OLD else "verified"
                expect(home, steps_after[-1] in {right, "not_sent"}, "told wrongly")
            expect(home, _writes(wire) == sent, "sent again after a kill")
            changed = "changed" if word == NEW else "as before"
            came_out[f"the pack {changed}, told: {', '.join(steps_after[1:])}"] += 1
    for what, count in sorted(came_out.items()):
        home.note(f"{count} times {what}")


def _slug(serial: str) -> str:
    return serial.lower().replace("-", "_")


def _writes(wire: Wire) -> int:
    return sum(frame[1] == 16 for frame in list(wire.line.frames))


def _steps(process: Process, key: str) -> list[str]:
    return [record["step"] for record in process.kept(key)["records"]]


async def _killed(process: Process, wire: Wire, n: int, times: int, key: str) -> None:
    """Kill it at one of the moments, by turns."""
    [pack] = wire.line.devices
    assert isinstance(pack, VirtualPack)
    now = threading.Event()

    def before_answer(each: VirtualPack, at: float) -> None:
        # Right after a question came, before its answer.
        wanted = 16 if n % 4 == 1 else 4
        last = wire.line.frames[-1]
        if _writes(wire) and last[1] == wanted and not now.is_set():
            process.strike()
            now.set()

    match n % 4:
        case 0:
            # As soon as the record is on the disk.
            while "confirmed" not in _steps(process, key):
                await asyncio.sleep(0.001)
        case 1 | 2:
            pack.before_answer = before_answer
            await asyncio.to_thread(now.wait, 60)
            pack.before_answer = None
        case _:
            await asyncio.sleep(1.6 * n / times)
    process.kill()


# The disk


@drill(group=GROUP, what="A full disk, and room again", times=10, brief=0)
async def disk_full(home: Home, times: int) -> None:
    """Relays open all the same, a repair says so, and it is saved afterwards."""
    async with lone(home) as (process, wire):
        issue = f"not_saved_{process.key}"
        for _ in range(times):
            process.arm()
            await set_cell(wire, GOOD)
            await guards(process)
            before = process.path(process.key).read_bytes()
            process.limit_files(64)
            await set_cell(wire, DANGEROUS)
            home.injected()
            await process.until(lambda: process.relays == OPEN, "opened")
            await process.until(lambda: issue in process.issues, "told")
            after = process.path(process.key).read_bytes()
            expect(home, after == before, "a file was spoilt by a full disk")
            process.limit_files(-1)
            began = time.monotonic()
            await process.until(lambda: issue not in process.issues, "saved")
            took = time.monotonic() - began
            home.outcome.recovery = max(home.outcome.recovery or 0.0, took)
            expect(home, process.is_latched, "not saved when there was room")
            await set_cell(wire, GOOD)
            process.kill()
            process.switch(on=True)
            process.start()
            await process.until(lambda: process.relays == OPEN, "opened again")
            process.kill()


# The heartbeat


class DeadMan(threading.Thread):
    """The relays' own timers: each opens when it was not told for too long."""

    def __init__(self, process: Guarded) -> None:
        """Watch all relays."""
        super().__init__()
        self._process = process
        self._over = threading.Event()

    def run(self) -> None:
        """Watch until told to end."""
        while not self._over.wait(0.1):
            for name, state in self._process.relays.items():
                path = self._process.outside / name
                if state == "on" and time.time() > path.stat().st_mtime + TIMER:
                    new = path.with_suffix(".own")
                    new.write_text("off")
                    new.replace(path)

    def end(self) -> None:
        """Stop watching."""
        self._over.set()
        self.join()


@drill(
    group=GROUP,
    what="Recovery mode after a broken configuration.yaml, and kill -9, with relays "
    "that have a heartbeat",
    times=10,
    brief=0,
)
async def recovery_mode(home: Home, times: int) -> None:
    """Nothing beats, so the relays open by themselves; they close again afterwards."""
    how = {"before": QUICK_BEAT, "details": {"heartbeat": "turn_on"}}
    async with lone(home, **how) as (process, _):
        timers = DeadMan(process)
        timers.start()
        configuration = process.folder / "configuration.yaml"
        whole = configuration.read_text()
        try:
            for n in range(times):
                await guards(process)
                await process.for_a_while(lambda: process.relays == CLOSED, 2 * TIMER)
                if n % 2:
                    process.kill()
                else:
                    process.end()
                    configuration.write_text("switch: [\n")
                    process.start()
                    await process.until(
                        lambda: "recovery mode" in process.said_now, "in recovery"
                    )
                began = time.monotonic()
                home.injected()
                while process.relays != OPEN and time.monotonic() < began + 3 * TIMER:
                    await asyncio.sleep(0.1)
                expect(home, process.relays == OPEN, "a heartbeat went on")
                await asyncio.sleep(A_WHILE)
                expect(home, process.relays == OPEN, "closed without Home Assistant")
                if n % 2 == 0:
                    expect(home, process.runs, "recovery mode did not last")
                    loaded = f"Setting up {DOMAIN}" in process.said_now
                    expect(home, not loaded, "the integration was loaded")
                    expect(home, not process.states, "something was loaded")
                    process.kill()
                    configuration.write_text(whole)
                process.start()
                await process.until(lambda: process.relays == CLOSED, "closed again")
                process.kill()
        finally:
            timers.end()
