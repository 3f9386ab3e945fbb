"""`openxpbms scan` over a pseudo-terminal."""

from __future__ import annotations

import json

from custom_components.openxpbms.bms.virtual import VirtualBank, VirtualPack

from ..conftest import MakeLine, module
from .conftest import Run, Start


async def test_modules_are_found_without_their_family(
    make_line: MakeLine, run: Run, quick: None
) -> None:
    line = await make_line(module(1), module(3, revision=1, model="1"))
    result = await run("scan", line.path, "--rounds", 2)
    assert result.exit_code == 0
    assert "Valence XP, asked" in result.stdout
    first, second = (row for row in result.stdout.splitlines() if "12XP" in row)
    assert "Rev 2" in first
    assert "Rev 1" in second
    assert "Asking for Seplos V3 0-4" in result.stderr
    assert "Reading what was found" in result.stderr
    assert "…" not in result.stdout


async def test_json_is_for_programs(make_line: MakeLine, run: Run, quick: None) -> None:
    line = await make_line(VirtualPack(0))
    result = await run("scan", line.path, "--json", "--rounds", 3)
    assert result.exit_code == 0
    [pack] = json.loads(result.stdout)
    assert pack["family"] == "seplos"
    assert pack["address"] == 0
    assert pack["readings"] == 3
    assert pack["exchanges"] == pack["answers"] > 9


async def test_a_bank_is_only_listened_to(
    make_line: MakeLine, run: Run, quick: None
) -> None:
    bank = VirtualBank([VirtualPack(), VirtualPack()])
    line = await make_line(bank, real_time=True)
    result = await run("scan", line.path, "--json", "--rounds", 1)
    assert result.exit_code == 0
    packs = json.loads(result.stdout)
    assert [pack["address"] for pack in packs] == [1, 2]
    assert all(pack["readings"] for pack in packs)
    assert "exchanges" not in packs[0]
    assert line.bytes_received == 0


async def test_bad_answers_are_told(make_line: MakeLine, run: Run, quick: None) -> None:
    two, asked = module(2), 0

    def silence(*_: object) -> None:
        nonlocal asked
        asked += 1
        two.silent = asked > 2

    def garble(data: bytes) -> bytes:
        return data[:-3] + b"\x00\r\n" if data[0] == 3 else data

    two.before_answer = silence
    line = await make_line(module(1), two, module(3))
    line.faults.tamper = garble
    result = await run("scan", line.path, "-f", "valence", "--rounds", 1)
    assert result.exit_code == 0, result.output
    assert "attery 2" in result.stderr
    assert "Answered garbled, so not found: address 3." in result.stderr
    answered = [row.split()[6] for row in result.stdout.splitlines() if "12XP" in row]
    assert answered[0] == "7/7"
    assert answered[1].startswith("2/")


async def test_a_bank_in_a_table(make_line: MakeLine, run: Run, quick: None) -> None:
    bank = VirtualBank([VirtualPack(), VirtualPack()])
    line = await make_line(bank, real_time=True)
    result = await run("scan", line.path, "--rounds", 1)
    assert result.exit_code == 0, result.output
    assert "Seplos V3, heard" in result.stdout
    assert "Answered" not in result.stdout


async def test_the_command_runs_by_itself(start: Start) -> None:
    process = await start("scan", "openxpbms-demo://valence", "-f", "valence", "-a", 2)
    out, err = await process.communicate()
    assert process.returncode == 0, err
    assert b"U1-12XP" in out
