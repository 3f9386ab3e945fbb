"""`openxpbms listen`: nothing is ever sent."""

from __future__ import annotations

import asyncio
import json

from custom_components.openxpbms.bms.frame import Request
from custom_components.openxpbms.bms.virtual import (
    VirtualBank,
    VirtualLine,
    VirtualPack,
)

from ..conftest import MakeLine, module
from .conftest import Run


async def test_a_bank_is_shown(make_line: MakeLine, run: Run) -> None:
    bank = VirtualBank([VirtualPack(), VirtualPack()])
    line = await make_line(bank, real_time=True)
    result = await run("listen", line.path, "-s", 3)
    assert result.exit_code == 0, result.output
    assert "Seplos V3 frames: " in result.stdout
    assert "Listening at the speed of Seplos V3" in result.stderr
    _, first, second, _ = result.stdout.splitlines()
    assert [first.split()[1], second.split()[1]] == ["1", "2"]
    assert line.bytes_received == 0


async def test_frames_are_counted_for_programs(make_line: MakeLine, run: Run) -> None:
    bank = VirtualBank([VirtualPack(), VirtualPack()])
    line = await make_line(bank, real_time=True)
    result = await run("listen", line.path, "-s", 3, "--json", "-f", "seplos")
    heard = json.loads(result.stdout)
    assert heard["questions"] >= 3
    assert heard["replies"] > heard["questions"]
    assert [pack["address"] for pack in heard["packs"]] == [1, 2]
    assert all(pack["heard"] for pack in heard["packs"])


async def test_silence_is_told(make_line: MakeLine, run: Run) -> None:
    line = await make_line(module(1))
    result = await run("listen", line.path, "-s", 0.3)
    assert result.exit_code == 4
    assert "Listening at the speed of Valence XP" in result.stderr
    assert "Nothing was heard on" in result.stderr
    assert line.bytes_received == 0


async def _while_talking(line: VirtualLine, data: bytes, running: object) -> None:
    while not running.done():  # type: ignore[attr-defined]
        line.inject(data)
        await asyncio.sleep(0.1)


async def test_another_master_of_modules_is_heard(
    make_line: MakeLine, run: Run
) -> None:
    line = await make_line(module(1))
    question = Request(1, 3, 0x39, 10, b"\r\n").encoded
    running = asyncio.create_task(
        run("listen", line.path, "-s", 1, "-f", "valence", "--json")
    )
    await _while_talking(line, question, running)
    result = await running
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["questions"] > 3


async def test_noise_is_told(make_line: MakeLine, run: Run) -> None:
    line = await make_line(module(1))
    running = asyncio.create_task(run("listen", line.path, "-s", 1))
    await _while_talking(line, b"\xff\xfe\xfd", running)
    result = await running
    assert result.exit_code == 0, result.output
    assert "Bytes that make no frame" in result.stderr
    assert "Valence XP frames: 0 questions, 0 replies;" in result.stdout
