"""The screen over real pseudo-terminals, driven by keys, and what is seen on it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
import os
from pathlib import Path
import signal
import time
from typing import Any
from unittest.mock import patch

import pytest
from textual.pilot import Pilot
from textual.widgets import Checkbox, DataTable, Digits, Input, Static

from custom_components.openxpbms.bms import bus, seplos_writes
from custom_components.openxpbms.bms.cli import changing, link
from custom_components.openxpbms.bms.cli.changing import Changing
from custom_components.openxpbms.bms.cli.link import Choice, Link, opened
from custom_components.openxpbms.bms.console import app as console_app
from custom_components.openxpbms.bms.console.app import Console
from custom_components.openxpbms.bms.console.change_page import ChangePage
from custom_components.openxpbms.bms.console.parameter_page import ParameterPage
from custom_components.openxpbms.bms.seplos_writes import Wish
from custom_components.openxpbms.bms.virtual import (
    VirtualBank,
    VirtualLine,
    VirtualPack,
    WriteFault,
)

from ..conftest import MakeLine, module

SMALL, LARGE = (80, 24), (160, 50)
ALARM = "battery_low_voltage_alarm"
REGISTER = 0x1307
PATIENCE = 30.0


@pytest.fixture(autouse=True)
async def quick(short_pauses: None) -> AsyncIterator[None]:
    """Wait for tenths of a second where a person would have to wait for seconds."""
    # Home Assistant's tests have it on, which makes every key of a screen take long.
    asyncio.get_running_loop().set_debug(False)
    with (
        patch.object(bus, "LISTEN", 0.1),
        patch.object(link, "LISTEN", 0.3),
        patch.object(console_app, "PAUSE", 0.4),
        patch.object(changing, "QUIET", 0.0),
        patch.object(seplos_writes, "QUIET", 0.0),
        patch.object(seplos_writes, "SETTLING", 0.01),
    ):
        yield


@dataclass
class Seen:
    """A screen, and what is to be seen on it."""

    app: Console
    pilot: Pilot[Any]
    link: Link

    @property
    def text(self) -> str:
        """All that is seen, line by line."""
        strips = self.app.screen._compositor.render_strips()
        return "\n".join(strip.text for strip in strips)

    async def until(self, done: Callable[[], Any]) -> None:
        end = time.monotonic() + PATIENCE
        while not done():
            assert time.monotonic() < end, self.text
            await self.pilot.pause(0.1)

    async def shows(self, *texts: str) -> None:
        """Wait until each is to be seen."""
        await self.until(lambda: all(text in self.text for text in texts))

    async def type(self, text: str) -> None:
        await self.pilot.press(*text, "enter")

    async def change(self, name: str = ALARM) -> None:
        """Open the page that changes a parameter."""
        await self.pilot.press("p")
        await self.until(lambda: isinstance(self.app.screen, ParameterPage))
        await self.shows("number_of_cells")
        self.app.screen.query_one(Input).value = name
        await self.until(lambda: self.app.screen.query_one(DataTable).row_count == 1)
        await self.pilot.press("enter")
        await self.until(lambda: isinstance(self.app.screen, ChangePage))
        await self.until(lambda: self.app.screen.focused)

    async def prepare(self, value: str = "45") -> None:
        """Type a new value, and wait until the word is asked for."""
        await self.type(value)
        await self.until(self.asks)

    def asks(self) -> bool:
        focused = self.app.screen.focused
        return focused is not None and focused.id == "word"

    def result(self) -> str:
        return str(self.app.screen.query_one("#result", Static).content)


@asynccontextmanager
async def seen(
    line: VirtualLine, size: tuple[int, int] = SMALL, **choice: Any
) -> AsyncIterator[Seen]:
    choice = {"family": "seplos", "addresses": (0, 1, 2)} | choice
    path = str(line.link or line.path)
    async with opened(Choice(path, **choice)) as known:
        app = Console(known)
        async with app.run_test(size=size) as pilot:
            yield Seen(app, pilot, known)
    assert not known.bus.is_open


def two_packs(**settings: Any) -> tuple[VirtualPack, VirtualPack]:
    return VirtualPack(1, **settings), VirtualPack(2, serial="OTHER", soc=80.0)


# Looking


@pytest.mark.parametrize("size", [SMALL, LARGE])
async def test_all_that_matters_is_seen(
    make_line: MakeLine, size: tuple[int, int]
) -> None:
    pack = VirtualPack(current=-20.0, balancing={3})
    async with seen(await make_line(pack), size) as screen:
        volts = f"{sum(pack.cell_voltages):.2f}"
        await screen.shows(
            *(f"{volt:.3f}" for volt in pack.cell_voltages),
            *("▲ 16 3.315 V", "▼ 1 3.300 V", "spread 15 mV"),
            *("cells 20.0 20.5 21.0 21.5 °C", "MOSFETs 24.0 °C", "ambient 21.0 °C"),
            *("discharging", "Charge MOSFET on", "Alarms  none", "link 100 %"),
            *(pack.serial, "q Quit", "p Parameters", f"{volts} to {volts} V"),
        )
        shown = {digits.id: digits.value for digits in screen.app.query(Digits)}
        watts = sum(pack.cell_voltages) * -20
        assert shown == {
            "soc": "50.0%",
            "volts": volts,
            "amperes": "-20.0",
            "watts": f"{watts:.0f}",
        }
        for digits in screen.app.query(Digits):
            seen_of_it = screen.app.screen.find_widget(digits).visible_region
            assert seen_of_it.height == 3, "cut"
        lines = screen.text.splitlines()
        assert len(lines) == size[1]
        cell = next(text for text in lines if f"{pack.cell_voltages[2]:.3f}" in text)
        assert "b" in cell, "cell 3 is bled"
        # The last two things are the log and the keys.
        assert f" 0 · {pack.device}" in screen.text


async def test_arrows_change_the_battery(make_line: MakeLine) -> None:
    async with seen(await make_line(*two_packs())) as screen:
        await screen.shows("SP57B-A0000000001", "1 50%", "2 80%")
        await screen.pilot.press("right")
        await screen.shows("· OTHER ·")
        await screen.pilot.press("left")
        await screen.shows("· SP57B-A0000000001 ·")
        await screen.pilot.press("tab")
        await screen.shows("· OTHER ·")


async def test_alarms_are_told_when_they_begin_and_end(make_line: MakeLine) -> None:
    packs = two_packs()
    async with seen(await make_line(*packs)) as screen:
        await screen.shows("2 80%")
        packs[1].coils = {0x1248, 0x1249}
        await screen.shows("2 80% !", "2: alarm begins: cell high voltage")
        await screen.shows("2: protection begins: cell over voltage")
        await screen.pilot.press("right")
        await screen.shows("Alarms   cell high voltage   cell over voltage")
        packs[1].coils = set()
        await screen.shows("2: alarm ends: cell high voltage", "Alarms  none")
        assert "2 80% !" not in screen.text


async def test_a_battery_that_falls_silent_has_no_values(make_line: MakeLine) -> None:
    packs = two_packs()
    async with seen(await make_line(*packs)) as screen:
        await screen.shows("1 50%", "2 80%", "State of charge")
        packs[0].silent = True
        await screen.shows("1 -", "1: lost: battery 1 did not answer", "2 80%")
        await screen.shows("Alarms  battery 1 did not answer")
        assert screen.app.query_one("#soc", Digits).value == "-"
        assert "3.300" not in screen.text
        packs[0].silent = False
        await screen.shows("1 50%", "1: answers again", "3.300")


async def test_a_port_that_goes_and_returns(
    make_line: MakeLine, tmp_path: Path
) -> None:
    line = await make_line(VirtualPack(), link=tmp_path / "port")
    async with seen(line) as screen:
        await screen.shows("0 50%")
        line.unplug()
        await screen.shows("0 -", "does not exist")
        await line.replug()
        await screen.shows("0 50%", "The line is back.")


async def test_a_bank_is_followed_without_a_word(make_line: MakeLine) -> None:
    packs = [VirtualPack(), VirtualPack(serial="OTHER", soc=80.0)]
    bank = VirtualBank(packs)
    packs[1].silent = True
    line = await make_line(bank, real_time=True)
    async with seen(line, family=None, addresses=None) as screen:
        await screen.shows("listened to", "1 50%")
        assert "Parameters" not in screen.text
        await screen.pilot.press("p")
        assert len(screen.app.screen_stack) == 1
        packs[1].silent = False
        await screen.shows("2 80%")
        assert line.bytes_received == 0


async def test_modules_have_no_parameters(make_line: MakeLine) -> None:
    line = await make_line(module(1, pcb_temperature=23.5))
    async with seen(line, family="valence", addresses=(1,)) as screen:
        await screen.shows("Valence XP, asked", "electronics 23.5 °C", "← Previous")
        assert "Parameters" not in screen.text
        await screen.pilot.press("p")
        assert len(screen.app.screen_stack) == 1


async def test_q_ends_it(make_line: MakeLine) -> None:
    async with seen(await make_line(VirtualPack())) as screen:
        await screen.pilot.press("q")
        await screen.until(lambda: not screen.app.is_running)
        assert screen.app.return_value is None


# Changing


async def test_a_typed_yes_writes(make_line: MakeLine) -> None:
    pack = VirtualPack()
    async with seen(await make_line(pack)) as screen:
        await screen.change()
        await screen.shows(f"{ALARM} is 46.40 V", "May be set: 40.00 V to 51.20 V")
        await screen.prepare()
        await screen.shows(
            f"{ALARM}: 46.40 V -> 45.00 V",
            "Frame: 00 10 13 07 00 01 02 11 94 85 49",
            "start a fire",
        )
        assert not pack.written
        await screen.type("yes")
        await screen.shows(f"{ALARM} is 45.00 V now, read back from the pack.")
        assert pack.written == [(REGISTER, 4500)]
        await screen.pilot.press("escape")
        await screen.shows(f"{ALARM}", "45.00 V    40.00 V to 51.20 V")
        await screen.pilot.press("escape")
        # In the log.
        await screen.shows(f"0: {ALARM} is 45.00 V now")


@pytest.mark.parametrize("word", ["no", "", "y", "45"])
async def test_another_word_writes_nothing(make_line: MakeLine, word: str) -> None:
    pack = VirtualPack()
    async with seen(await make_line(pack)) as screen:
        await screen.change()
        await screen.prepare()
        await screen.type(word)
        await screen.until(lambda: screen.result() == "Nothing was written.")
        assert not pack.written
        # It must be looked at anew.
        assert not screen.asks()
        await screen.prepare()
        await screen.type("yes")
        await screen.until(lambda: "45.00 V now" in screen.result())


async def test_another_value_needs_another_look(make_line: MakeLine) -> None:
    pack = VirtualPack()
    async with seen(await make_line(pack)) as screen:
        await screen.change()
        await screen.prepare()
        screen.app.screen.query_one("#value").focus()
        await screen.pilot.press("backspace")
        await screen.until(lambda: not screen.app.screen.query_one("#word").display)
        assert "46.40 V -> 45.00 V" not in screen.text
        assert not pack.written


async def test_the_word_is_asked_for_when_the_line_was_watched(
    make_line: MakeLine,
) -> None:
    pack = VirtualPack()
    with patch.object(changing, "QUIET", 1000.0):
        async with seen(await make_line(pack)) as screen:
            await screen.change()
            await screen.type("45")
            await screen.shows("The line is watched for another master: ", "s left")
            assert not screen.asks()
            assert not screen.app.screen.query_one("#word").display
            with patch.object(changing, "QUIET", 0.0):
                await screen.until(screen.asks)
    assert not pack.written


@pytest.mark.parametrize(
    ("value", "told"),
    [
        ("30", "must be from 40.00 V to 51.20 V"),
        ("42", "must be ≥ battery_under_voltage_protection"),
        ("4x", "4x is not a number"),
    ],
)
async def test_what_a_rule_forbids_is_told(
    make_line: MakeLine, value: str, told: str
) -> None:
    async with seen(await make_line(VirtualPack())) as screen:
        await screen.change()
        await screen.type(value)
        await screen.shows(told)
        assert not screen.asks()


async def test_a_large_step_must_be_allowed(make_line: MakeLine) -> None:
    pack = VirtualPack()
    async with seen(await make_line(pack)) as screen:
        await screen.change("charging_request_voltage")
        await screen.type("50")
        await screen.shows("more than 20% of the range", "Allow a large step")
        await screen.pilot.press("space")
        box = screen.app.screen.query_one("#allow_large_step", Checkbox)
        await screen.until(lambda: box.value and screen.app.screen.focused is not box)
        await screen.pilot.press("enter")
        await screen.until(screen.asks)
        await screen.shows("Mind: A large step: from 57.60 V to 50.00 V")
        await screen.type("yes")
        await screen.until(lambda: "50.00 V now" in screen.result())
    assert pack.written == [(0x1365, 5000)]


async def test_what_the_pack_did_instead_is_told(make_line: MakeLine) -> None:
    pack = VirtualPack(write_fault=WriteFault.CLAMP, clamped=4550)
    async with seen(await make_line(pack)) as screen:
        await screen.change()
        await screen.prepare()
        await screen.type("yes")
        await screen.until(lambda: "neither the old nor the new" in screen.result())


async def test_what_is_never_written_says_why(make_line: MakeLine) -> None:
    async with seen(await make_line(VirtualPack())) as screen:
        await screen.pilot.press("p")
        await screen.shows("number_of_cells", "never")
        table = screen.app.screen.query_one(DataTable)
        assert not table.show_horizontal_scrollbar, "wider than 80"
        longest = "secondary_discharge_over_current_protection"
        screen.app.screen.query_one(Input).value = longest
        await screen.shows(f" {longest}  -")
        screen.app.screen.query_one(Input).value = "rated_battery_capacity"
        await screen.shows("280.00 Ah  10.00 Ah to 655.35 Ah")
        screen.app.screen.query_one(Input).value = ""
        await screen.shows("number_of_cells", "never")
        await screen.pilot.press("down", "pagedown", "pageup", "up", "enter")
        await screen.shows("is never written: it says how the pack is built")
        await screen.pilot.press(*"zzz")
        await screen.until(lambda: not table.row_count)
        await screen.pilot.press("enter")
        assert isinstance(screen.app.screen, ParameterPage)


async def test_a_pack_that_does_not_answer_is_told(make_line: MakeLine) -> None:
    packs = two_packs()
    async with seen(await make_line(*packs)) as screen:
        await screen.shows("1 50%")
        packs[0].silent = True
        await screen.pilot.press("p")
        await screen.shows("Battery 1 did not answer.")
        await screen.pilot.press("x", "enter")
        assert isinstance(screen.app.screen, ParameterPage)


class Slow(VirtualPack):
    """A pack that lets somebody act while it is written to."""

    act: Callable[[], Any]

    def reply(self, request: bytes) -> bytes:
        if request[1] == 16:
            self.act()
        return super().reply(request)


async def test_who_quits_in_the_middle_of_a_write_hears_what_came_of_it(
    make_line: MakeLine,
) -> None:
    pack = Slow()
    async with seen(await make_line(pack)) as screen:
        app = screen.app

        def quit_twice() -> None:
            for _ in range(2):
                task = asyncio.get_running_loop().create_task(app.action_quit())
                tasks.append(task)

        tasks: list[Any] = []
        pack.act = quit_twice
        await screen.change()
        await screen.prepare()
        await screen.pilot.press(*"yes")
        page = app.screen
        assert isinstance(page, ChangePage)
        await screen.pilot.press("enter")
        await screen.until(lambda: not app.is_running)
        assert app.return_value is not None
        assert f"{ALARM} is 45.00 V now" in app.return_value
    assert pack.written == [(REGISTER, 4500)]


async def test_neither_escape_nor_enter_does_anything_during_a_write(
    make_line: MakeLine,
) -> None:
    pack = VirtualPack()
    async with seen(await make_line(pack)) as screen:
        await screen.change()
        await screen.prepare()
        screen.app.writing = True
        await screen.pilot.press("escape")
        await screen.type("yes")
        assert isinstance(screen.app.screen, ChangePage)
        assert not pack.written


async def test_what_ends_the_process_in_a_write_waits_for_the_read_back(
    make_line: MakeLine,
) -> None:
    pack = Slow()
    pack.act = lambda: os.kill(os.getpid(), signal.SIGHUP)
    async with seen(await make_line(pack)) as screen:
        await screen.change()
        await screen.prepare()
        await screen.type("yes")
        await screen.until(lambda: not screen.app.is_running)
        assert "45.00 V now" in str(screen.app.return_value)


async def test_a_write_that_is_cancelled_goes_to_its_end(make_line: MakeLine) -> None:
    pack = Slow()
    line = await make_line(pack)
    choice = Choice(line.path, family="seplos", addresses=(0,))
    async with opened(choice) as known:
        change = Changing(known, known.batteries[0])
        await known.round()
        prepared = await change.prepare(Wish(name=ALARM, value=45.0))
        frames = len(line.frames)
        making = asyncio.create_task(change.make(prepared, "yes"))
        pack.act = making.cancel
        with pytest.raises(asyncio.CancelledError):
            await making
    assert pack.written == [(REGISTER, 4500)]
    written = [frame[1] for frame in list(line.frames)[frames:]].index(16)
    assert len(line.frames) > frames + written + 1, "it was not read back"


async def test_a_word_that_nobody_asked_for_does_nothing(make_line: MakeLine) -> None:
    pack = VirtualPack()
    async with seen(await make_line(pack)) as screen:
        await screen.change("standby_time")
        assert "Rules" not in screen.text
        page = screen.app.screen
        assert isinstance(page, ChangePage)
        page._show("word", there=True)
        page.query_one("#word").focus()
        await screen.type("yes")
        assert not screen.app.writing
        assert not pack.written
