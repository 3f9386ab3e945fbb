"""Batteries are only ever read.

Valence: the wake-up and function 3. Seplos: functions 1 and 4. Nothing else.
"""

from __future__ import annotations

import ast
import asyncio
from collections.abc import Awaitable, Callable
import inspect
from types import ModuleType

from hypothesis import given
from hypothesis import strategies as st
import pytest

from custom_components.openxpbms.bms import (
    bank,
    listening,
    seplos,
    seplos_tables,
    valence,
)
from custom_components.openxpbms.bms import rounds as rounds_module
from custom_components.openxpbms.bms.errors import BusError
from custom_components.openxpbms.bms.frame import crc16
from custom_components.openxpbms.bms.listening import Listening
from custom_components.openxpbms.bms.registers import Block
from custom_components.openxpbms.bms.rounds import Rounds
from custom_components.openxpbms.bms.seplos import Seplos
from custom_components.openxpbms.bms.seplos_tables import Table
from custom_components.openxpbms.bms.valence import WAKE, LineMode, Valence, request
from custom_components.openxpbms.bms.virtual import VirtualBank, VirtualPack

from .conftest import MakeBus, MakeLine, MakeSeplos, Recorder, identity, module, until
from .seplos_data import identity as pack_identity


def tree(module: ModuleType) -> ast.Module:
    """Return what a file says."""
    return ast.parse(inspect.getsource(module))


TREE = tree(valence)


def calls(name: str, within: ast.AST = TREE) -> list[ast.Call]:
    """Return all calls of a function or method, in valence.py unless told."""
    return [
        node
        for node in ast.walk(within)
        if isinstance(node, ast.Call)
        and name in (getattr(node.func, "id", ""), getattr(node.func, "attr", ""))
    ]


def imported(within: ast.AST, module: str) -> set[str]:
    """Return what a file takes from another one of the package."""
    return {
        alias.name
        for node in ast.walk(within)
        if isinstance(node, ast.ImportFrom) and node.module == module
        for alias in node.names
    }


@given(st.integers(0, 255), st.integers(0, 0xFFFF), st.integers(1, 125))
def test_a_request_is_function_3_whatever_is_asked(
    address: int, register: int, count: int
) -> None:
    frame = request(address, Block(register, count)).encoded
    assert len(frame) == 10
    assert frame[1] == 3


def test_the_file_builds_requests_in_one_place_only() -> None:
    [made] = calls("Request")
    [function] = [
        node
        for node in TREE.body
        if isinstance(node, ast.FunctionDef) and node.name == "request"
    ]
    assert made in ast.walk(function)
    assert ast.unparse(made.args[1]) == "READ_HOLDING"


def test_the_file_sends_by_asking_and_waking_only() -> None:
    sent = {name: calls(name) for name in ("exchange", "broadcast")}
    [exchange], [broadcast] = sent["exchange"], sent["broadcast"]
    assert ast.unparse(exchange.args[0]) == "request(address, block)"
    assert ast.unparse(broadcast.args[0]) == "WAKE"
    for keyword in exchange.keywords:
        assert {ast.unparse(call.func) for call in _calls_in(keyword)} == {"request"}
    for other in ("write", "with_crc", "setattr", "getattr"):
        assert calls(other) == []
    for call in calls("replace"):
        assert ast.unparse(call.args[0]) == "part"  # of a Reading


def _calls_in(node: ast.AST) -> list[ast.Call]:
    return [part for part in ast.walk(node) if isinstance(part, ast.Call)]


def test_the_file_knows_no_writing_function() -> None:
    assert imported(TREE, "frame") == {"READ_HOLDING", "Request"}
    assigned = [
        node
        for node in ast.walk(TREE)
        if isinstance(node, ast.Name | ast.Attribute)
        and isinstance(node.ctx, ast.Store)
        and ast.unparse(node).split(".")[-1] in ("WAKE", "READ_HOLDING", "Request")
    ]
    assert [ast.unparse(node) for node in assigned] == ["WAKE"]


def test_rounds_send_nothing_by_themselves() -> None:
    source = inspect.getsource(rounds_module)
    for word in ("exchange", "broadcast", "Request", ".write"):
        assert word not in source


# Seplos


def test_a_table_can_be_read_and_nothing_else() -> None:
    within = tree(seplos_tables)
    assert imported(within, "frame") == {"READ_COILS", "READ_INPUT", "Request"}
    [made] = calls("Request", within)
    [table] = [n for n in within.body if getattr(n, "name", "") == "Table"]
    assert made in ast.walk(table)
    assert [ast.unparse(argument) for argument in made.args] == [
        "address",
        "self.function",
        "self.block.register",
        "self.block.count",
    ]
    functions = {ast.unparse(call.args[0]) for call in calls("Table", within)}
    assert functions == {"READ_INPUT", "READ_COILS"}
    tables = [v for v in vars(seplos_tables).values() if isinstance(v, Table)]
    assert len(tables) == len(calls("Table", within))
    for one in tables:
        frame = one.request(5).encoded
        assert len(frame) == 8
        assert frame[1] in (1, 4)


def test_packs_are_asked_for_tables_only() -> None:
    within = tree(seplos)
    assert imported(within, "frame") == set()
    for name in ("Request", "Table", "broadcast", "write", "with_crc"):
        assert calls(name, within) == []
    for name in ("setattr", "getattr", "_replace"):
        assert calls(name, within) == []
    exchanges = calls("exchange", within)
    asked = [ast.unparse(call.args[0]) for call in exchanges]
    assert asked == ["table.request(address)", "SPA.request(address)"]
    for call in exchanges:
        for keyword in call.keywords:
            functions = [ast.unparse(part.func) for part in _calls_in(keyword)]
            assert functions == ["other.request"]
    for call in calls("replace", within):
        assert ast.unparse(call.args[0]) == "identity"


@pytest.mark.parametrize("module", [bank, listening])
def test_who_only_listens_has_nothing_to_send_with(module: ModuleType) -> None:
    within = tree(module)
    for name in ("exchange", "broadcast", "write", "with_crc", "Request", "Table"):
        assert calls(name, within) == []
    assert imported(within, "frame") <= {"Frame", "Reply", "Request"}
    assert imported(within, "bus") <= {"Bus"}


def test_what_only_listens_calls_nothing_of_a_bus_but_opening_it() -> None:
    within = tree(listening)
    used = {
        node.attr
        for node in ast.walk(within)
        if isinstance(node, ast.Attribute) and ast.unparse(node.value).endswith("bus")
    }
    assert used == {"is_open", "open", "on_heard"}


@pytest.mark.usefixtures("short_pauses")
async def test_every_byte_ever_sent_is_the_wake_up_or_a_read(
    make_line: MakeLine, make_bus: MakeBus, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(valence, "AWAKE", 0.1)
    modules = [
        module(1, silent=True),
        module(2, revision=1, serial="00461"),
        module(3, model="X", cells=6),
    ]
    recorder = Recorder()
    line = await make_line(recorder, *modules)
    family = Valence(make_bus(line.path), LineMode.MARK)
    who = [identity(one) for one in modules]
    done: dict[str, Callable[[], Awaitable[object]]] = {
        "open": family.open,
        "listen": lambda: family.listen(0.01),
        "wake": family.wake,
        "scan": lambda: family.scan(range(1, 5)),
        "identify": lambda: family.identify(3),
        "read": lambda: family.read(who[2]),
        "read_slow": lambda: family.read_slow(who[2]),
    }
    everything = inspect.getmembers(Valence, inspect.iscoroutinefunction)
    assert {name for name, _ in everything if name[0] != "_"} == set(done)
    for act in done.values():
        await act()
    with pytest.raises(BusError):
        await family.read(who[0])
    for one in who:
        await family.read_slow(one)
    rounds = Rounds(family, who)
    for _ in range(3):
        await rounds.round()
    frames = recorder.heard
    assert len(frames) > 50
    assert sum(len(data) for data, _ in frames) == line.bytes_received
    for data, settings in frames:
        if data != WAKE:
            assert settings.baudrate == 115200
            assert data[1] == 3
            assert len(data) == 10
            assert crc16(data[:6]) == int.from_bytes(data[6:8], "little")
        else:
            assert settings.baudrate == 9600
    assert line.complaints == []


async def test_every_byte_ever_sent_to_packs_is_a_read(
    make_line: MakeLine, make_seplos: MakeSeplos
) -> None:
    packs = [
        VirtualPack(0, silent=True, turnaround=0.0),
        VirtualPack(1, short_pia=True, turnaround=0.0),
        VirtualPack(2, refuse={0x1300, 0x1400, 0x1700}, serial="", turnaround=0.0),
        VirtualPack(3, device="", coils={0x1240}, turnaround=0.0),
    ]
    recorder = Recorder()
    line = await make_line(recorder, *packs)
    family = await make_seplos(line)
    who = [pack_identity(one) for one in packs]
    done: dict[str, Callable[[], Awaitable[object]]] = {
        "open": family.open,
        "listen": lambda: family.listen(0.01),
        "wake": family.wake,
        "scan": lambda: family.scan(range(5)),
        "identify": lambda: family.identify(3),
        "read": lambda: family.read(who[3]),
        "read_slow": lambda: family.read_slow(who[3]),
        "read_parameters": lambda: family.read_parameters(3),
    }
    everything = inspect.getmembers(Seplos, inspect.iscoroutinefunction)
    assert {name for name, _ in everything if name[0] != "_"} == set(done)
    for act in done.values():
        await act()
    with pytest.raises(BusError):
        await family.read(who[0])
    for one in who:
        await family.read_slow(one)
    rounds = Rounds(family, who)
    for _ in range(3):
        await rounds.round()
    frames = [data for data, _ in recorder.heard]
    assert len(frames) > 50
    assert sum(map(len, frames)) == line.bytes_received
    tables = {
        (one.function, one.block.register, one.block.count)
        for one in vars(seplos_tables).values()
        if isinstance(one, Table)
    }
    asked = set()
    for data in frames:
        assert len(data) == 8
        assert data[1] in (1, 4)
        assert crc16(data[:6]) == int.from_bytes(data[6:8], "little")
        words = (int.from_bytes(data[at : at + 2], "big") for at in (2, 4))
        asked.add((data[1], *words))
    assert asked == tables
    assert line.complaints == []


async def test_who_only_listens_sends_not_one_byte(
    make_line: MakeLine, make_bus: MakeBus
) -> None:
    packs = [VirtualPack(silent=n == 2, turnaround=0.0) for n in range(3)]
    line = await make_line(VirtualBank(packs))
    bus = make_bus(line.path, terminator=b"", mute=True)
    heard = Listening(bus, [])
    everything = inspect.getmembers(Listening, inspect.iscoroutinefunction)
    assert [name for name, _ in everything if name[0] != "_"] == ["round"]
    for _ in range(5):
        await heard.round()
        await asyncio.sleep(0.1)
    await until(lambda: len(heard.batteries) == 2)
    assert line.bytes_received == 0
    assert [frame for frame in bus.trace if frame.direction == "sent"] == []
