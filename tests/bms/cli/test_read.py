"""`openxpbms read` over a pseudo-terminal."""

from __future__ import annotations

import csv
import io
import json

import pytest

from custom_components.openxpbms.bms.cli.values import COLUMNS
from custom_components.openxpbms.bms.virtual import VirtualPack

from ..conftest import MakeLine, module
from .conftest import Run

HASTE = ("-f", "valence", "-a", "1-2")


async def test_a_table_for_each_battery(
    make_line: MakeLine, run: Run, quick: None
) -> None:
    cells = [3.31, 3.3, 3.35, 3.32]
    one = module(1, cell_voltages=cells, balancing={3}, current=-7.5)
    one.pcb_temperature = 200.0
    line = await make_line(one, module(2, status_flags=1))
    result = await run("read", line.path, *HASTE)
    assert result.exit_code == 0, result.output
    first, second = result.stdout.split("╭")[1:]
    assert f"1 · U27-12XP · {one.serial} · Rev 2" in first
    assert "13.28 V" in first
    assert "-7.50 A" in first
    assert "highest, balancing" in first
    # Nothing impossible is shown.
    assert "PCB temperature           -" in first
    assert "Alarms: none" in first
    assert "Alarms: none" not in second
    assert max(map(len, result.stdout.splitlines())) <= 80


async def test_a_table_of_a_pack(make_line: MakeLine, run: Run, quick: None) -> None:
    line = await make_line(VirtualPack(0, cell_temperatures=[21.5] * 4))
    result = await run("read", line.path, "-f", "seplos", "-a", 0)
    assert result.exit_code == 0, result.output
    assert "FW 1.5" in result.stdout.splitlines()[0]
    assert "Operating state" in result.stdout
    assert max(map(len, result.stdout.splitlines())) <= 80


async def test_json_holds_everything(
    make_line: MakeLine, run: Run, quick: None
) -> None:
    line = await make_line(VirtualPack(0))
    result = await run("read", line.path, "-f", "seplos", "-a", 0, "--json")
    assert result.exit_code == 0, result.output
    [pack] = json.loads(result.stdout)
    assert pack["error"] is None
    assert len(pack["reading"]["cell_voltages"]) == 16
    assert pack["reading"]["alarms"] == []
    assert pack["reading"]["charge_mosfet"] is True


async def test_csv_has_the_same_columns_for_all(
    make_line: MakeLine, run: Run, quick: None
) -> None:
    line = await make_line(module(1, cell_voltages=[3.3] * 4), module(2))
    result = await run("read", line.path, *HASTE, "--csv")
    assert result.exit_code == 0, result.output
    rows = list(csv.DictReader(io.StringIO(result.stdout)))
    assert tuple(rows[0]) == COLUMNS
    assert [row["address"] for row in rows] == ["1", "2"]
    assert rows[0]["cell_4_voltage"] == "3.3"
    assert rows[0]["cell_5_voltage"] == rows[0]["charging"] == ""
    assert rows[0]["balancing"] == "0"


@pytest.mark.parametrize("what", [(), ("--json",), ("--csv",)])
async def test_a_battery_that_falls_silent_is_told(
    make_line: MakeLine, run: Run, quick: None, what: tuple[str, ...]
) -> None:
    two = module(2)
    identified = 0

    def silence(*_: object) -> None:
        nonlocal identified
        identified += 1
        two.silent = identified > 2

    two.before_answer = silence
    line = await make_line(module(1), two)
    result = await run("read", line.path, *HASTE, *what)
    assert result.exit_code == 0, result.output
    assert "attery 2" in result.stderr
    if "--json" in what:
        assert json.loads(result.stdout)[1]["reading"] is None
    if "--csv" in what:
        last = list(csv.DictReader(io.StringIO(result.stdout)))[-1]
        assert last["voltage"] == ""
        assert "battery 2" in last["error"]


async def test_none_that_can_be_read(
    make_line: MakeLine, run: Run, quick: None
) -> None:
    one = module(1)
    asked = 0

    def silence(*_: object) -> None:
        nonlocal asked
        asked += 1
        one.silent = asked > 2

    one.before_answer = silence
    line = await make_line(one)
    result = await run("read", line.path, *HASTE)
    assert result.exit_code == 4
    assert result.stdout == ""
    assert "No battery could be read." in result.stderr


async def test_one_format_at_a_time(run: Run) -> None:
    result = await run("read", "openxpbms-demo://valence", "--json", "--csv")
    assert result.exit_code == 2
    assert "exclude each other" in result.stderr
