"""How batteries are found on a port, and when nothing is sent."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

import pytest

from custom_components.openxpbms.bms.bus import Bus
from custom_components.openxpbms.bms.cli import link as module_of_link
from custom_components.openxpbms.bms.cli.link import (
    Choice,
    NoisyLine,
    NothingFound,
    opened,
)
from custom_components.openxpbms.bms.errors import ForeignMaster, PortMissing
from custom_components.openxpbms.bms.frame import Request
from custom_components.openxpbms.bms.seplos import Seplos
from custom_components.openxpbms.bms.valence import LineMode, Valence
from custom_components.openxpbms.bms.virtual import (
    VirtualBank,
    VirtualLine,
    VirtualPack,
)

from ..conftest import MakeLine, module, until

pytestmark = pytest.mark.usefixtures("quick")


@asynccontextmanager
async def talking(line: VirtualLine, data: bytes) -> AsyncIterator[None]:
    """Let somebody say the same again and again."""

    async def talk() -> None:
        while True:
            line.inject(data)
            await asyncio.sleep(0.05)

    talker = asyncio.create_task(talk())
    try:
        yield
    finally:
        talker.cancel()
        with suppress(asyncio.CancelledError):
            await talker


async def test_a_lone_pack_is_found_first(make_line: MakeLine) -> None:
    line = await make_line(VirtualPack(0))
    told: list[tuple[str, float]] = []
    async with opened(Choice(line.path), lambda *what: told.append(what)) as link:
        assert link.family_name == "seplos"
        assert isinstance(link.family, Seplos)
        assert not link.listens
        assert [battery.identity.address for battery in link.batteries] == [0]
        # Only the search is in haste.
        assert link.bus.timing.answer == 0.4
        await link.round()
        assert link.batteries[0].reading
        bus = link.bus
    assert not bus.is_open
    assert [doing for doing, share in told if share == 1.0] == [
        "Asking for Seplos V3 0-4"
    ]


async def test_modules_are_found_when_no_pack_is(make_line: MakeLine) -> None:
    line = await make_line(module(2))
    async with opened(Choice(line.path)) as link:
        assert link.family_name == "valence"
        assert [battery.identity.address for battery in link.batteries] == [2]


async def test_slow_values_can_be_left(make_line: MakeLine) -> None:
    line = await make_line(VirtualPack(0))
    choice = Choice(line.path, "seplos", (0,))
    async with opened(choice) as link:
        link.leave_slow_values()
        await link.round()
        assert link.batteries[0].settings.parameters is None
    async with opened(choice) as link:
        await link.round()
        assert link.batteries[0].settings.parameters


async def test_a_slow_pack_is_asked_again_in_peace(
    make_line: MakeLine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module_of_link, "QUICK_ANSWER", 0.0)
    pack = VirtualPack(0, turnaround=0.15)
    line = await make_line(pack, real_time=True)
    async with opened(Choice(line.path)) as link:
        assert link.family_name == "seplos"
        assert link.bus.counters.late


async def test_addresses_are_asked_of_the_family_that_has_them(
    make_line: MakeLine,
) -> None:
    line = await make_line(module(200))
    async with opened(Choice(line.path, addresses=(3, 200))) as link:
        assert [battery.identity.address for battery in link.batteries] == [200]
    with pytest.raises(NothingFound, match=r"Seplos V3 3; Valence XP 3, 201\)"):
        async with opened(Choice(line.path, addresses=(3, 201))):
            pass  # pragma: no cover
    with pytest.raises(NothingFound, match=r"asked: Valence XP 201\)"):
        async with opened(Choice(line.path, addresses=(201,))):
            pass  # pragma: no cover


async def test_the_line_can_be_chosen(make_line: MakeLine) -> None:
    line = await make_line(module(1, current=5.0))
    choice = Choice(line.path, "valence", (1,), line="two_stop_bits", invert=True)
    async with opened(choice) as link:
        assert isinstance(link.family, Valence)
        assert link.family.mode is LineMode.TWO_STOP_BITS
        await link.round()
        assert link.batteries[0].reading
        assert link.batteries[0].reading.current == -5.0


async def test_garbled_answers_are_told(make_line: MakeLine) -> None:
    line = await make_line(VirtualPack(0))
    line.faults.tamper = lambda data: data[:-1] + b"\x55"
    with pytest.raises(NothingFound, match=r"answered clearly \(0 did garbled\)"):
        async with opened(Choice(line.path, "seplos")):
            pass  # pragma: no cover


async def test_a_bank_is_listened_to(make_line: MakeLine) -> None:
    bank = VirtualBank([VirtualPack() for _ in range(3)])
    line = await make_line(bank, real_time=True)
    for choice in (Choice(line.path), Choice(line.path, listen=True)):
        async with opened(choice) as link:
            assert link.listens
            assert link.family_name == "seplos"
            numbers = [battery.identity.address for battery in link.batteries]
            assert numbers == [1, 2, 3]
            assert [found.address for found in link.result.found] == numbers
            await link.round()
            assert all(battery.reading for battery in link.batteries)
    assert line.bytes_received == 0


async def test_a_bank_that_says_nothing(
    make_line: MakeLine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module_of_link, "BANK_PATIENCE", 0.3)
    line = await make_line(VirtualPack(0))
    with pytest.raises(NothingFound, match="no pack was heard"):
        async with opened(Choice(line.path, listen=True)):
            pass  # pragma: no cover
    assert line.bytes_received == 0


@pytest.mark.parametrize("family", [None, "seplos"])
async def test_a_master_that_is_not_understood_is_left_alone(
    make_line: MakeLine, monkeypatch: pytest.MonkeyPatch, family: str | None
) -> None:
    monkeypatch.setattr(module_of_link, "BANK_PATIENCE", 0.3)
    line = await make_line(VirtualPack(0))
    # Parameters, of which no reading is made.
    async with talking(line, Request(1, 4, 0x1300, 106).encoded):
        with pytest.raises(ForeignMaster):
            async with opened(Choice(line.path, family)):
                pass  # pragma: no cover
    assert line.bytes_received == 0


async def test_a_master_of_modules_is_left_alone(make_line: MakeLine) -> None:
    line = await make_line(module(1))
    async with talking(line, Request(1, 3, 0x39, 10, b"\r\n").encoded):
        with pytest.raises(ForeignMaster):
            async with opened(Choice(line.path, "valence")):
                pass  # pragma: no cover
        assert line.bytes_received == 0


async def test_noise_keeps_from_asking_unless_the_family_is_named(
    make_line: MakeLine,
) -> None:
    line = await make_line(module(1))
    async with talking(line, b"\xff\xfe\xfd"):
        with pytest.raises(NoisyLine, match="nothing was sent"):
            async with opened(Choice(line.path)):
                pass  # pragma: no cover
        assert line.bytes_received == 0
    opening = asyncio.create_task(_first(Choice(line.path, "valence", (1,))))
    await asyncio.sleep(0.1)
    line.inject(b"\xff\xfe\xfd\xfc\xfb")
    assert await opening == 1


async def _first(choice: Choice) -> int:
    async with opened(choice) as link:
        return link.batteries[0].identity.address


async def test_a_bridge_that_keeps_its_speed_is_asked_for_packs_only(
    make_line: MakeLine, monkeypatch: pytest.MonkeyPatch
) -> None:
    line = await make_line(VirtualPack(9))
    monkeypatch.setattr(module_of_link, "changes_speed", lambda url: False)
    with pytest.raises(NothingFound) as told:
        async with opened(Choice(line.path)):
            pass  # pragma: no cover
    assert "Valence" not in str(told.value)


async def test_whoever_opens_is_told_of_every_bus(make_line: MakeLine) -> None:
    line = await make_line(module(1))
    buses: list[tuple[Bus, str]] = []

    def on_bus(bus: Bus, family: str) -> None:
        assert not bus.is_open
        buses.append((bus, family))

    async with opened(Choice(line.path), on_bus=on_bus) as link:
        assert buses[-1][0] is link.bus
    assert [family for _, family in buses] == ["seplos", "valence"]


async def test_a_missing_port() -> None:
    with pytest.raises(PortMissing):
        async with opened(Choice("/dev/no-such-port")):
            pass  # pragma: no cover


@pytest.mark.parametrize("when", ["listening", "inside"])
async def test_the_port_is_free_after_an_interruption(
    make_line: MakeLine, when: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    line = await make_line(module(1))
    inside = asyncio.Event()
    buses: list[Bus] = []
    if when == "listening":
        monkeypatch.setattr(module_of_link, "LISTEN", 60.0)

    async def work() -> None:
        choice = Choice(line.path, "valence", (1,))
        async with opened(choice, on_bus=lambda bus, _: buses.append(bus)):
            inside.set()
            await asyncio.sleep(60)

    working: asyncio.Task[Any] = asyncio.create_task(work())
    await until(lambda: bool(buses) and buses[0].is_open, 30)
    if when == "inside":
        await asyncio.wait_for(inside.wait(), 30)
    working.cancel()
    with pytest.raises(asyncio.CancelledError):
        await working
    assert not buses[-1].is_open
