"""`openxpbms watch`, and the log that it keeps."""

from __future__ import annotations

import asyncio
import csv
import io
import json
from pathlib import Path
import signal

import pytest

from custom_components.openxpbms.bms.cli.log_file import LogFile
from custom_components.openxpbms.bms.cli.values import COLUMNS
from custom_components.openxpbms.bms.virtual import VirtualBank, VirtualPack

from ..conftest import MakeLine, module, until
from .conftest import Run, Start

HASTE = ("-f", "valence", "-a", "1-2", "-i", 0.2)


async def test_a_line_for_each_battery_and_round(
    make_line: MakeLine, run: Run, quick: None
) -> None:
    line = await make_line(module(1, current=-3.0), module(2))
    result = await run("watch", line.path, *HASTE, "-n", 2)
    assert result.exit_code == 0, result.output
    heading, *lines = result.stdout.splitlines()
    assert heading.startswith("Time     Addr      V      A")
    assert [text.split()[1] for text in lines] == ["1", "2", "1", "2"]
    assert lines[0].split()[3] == "-3.00"
    assert max(map(len, lines)) <= 80


@pytest.mark.parametrize("what", ["--json", "--csv"])
async def test_lines_for_programs(
    make_line: MakeLine, run: Run, quick: None, what: str
) -> None:
    line = await make_line(module(1))
    result = await run("watch", line.path, *HASTE, "-n", 3, what)
    assert result.exit_code == 0, result.output
    if what == "--json":
        readings = [json.loads(text) for text in result.stdout.splitlines()]
    else:
        readings = list(csv.DictReader(io.StringIO(result.stdout)))
    assert [reading["address"] for reading in readings] in ([1] * 3, ["1"] * 3)


async def test_a_bank_is_watched_without_a_word(
    make_line: MakeLine, run: Run, quick: None
) -> None:
    bank = VirtualBank([VirtualPack(), VirtualPack()])
    line = await make_line(bank, real_time=True)
    result = await run("watch", line.path, "-n", 1)
    assert result.exit_code == 0, result.output
    assert len(result.stdout.splitlines()) == 3
    assert line.bytes_received == 0


async def test_a_log_grows_over_several_runs(
    make_line: MakeLine, run: Run, quick: None, tmp_path: Path
) -> None:
    line = await make_line(module(1))
    log = tmp_path / "log.csv"
    for _ in range(2):
        result = await run("watch", line.path, *HASTE, "-n", 2, "--log", log)
        assert result.exit_code == 0, result.output
    rows = list(csv.DictReader(log.open(newline="")))
    assert len(rows) == 4
    assert tuple(rows[0]) == COLUMNS
    assert {row["address"] for row in rows} == {"1"}


async def test_an_unplugged_adapter_is_waited_for(
    make_line: MakeLine, run: Run, quick: None, tmp_path: Path
) -> None:
    link, log = tmp_path / "adapter", tmp_path / "log.csv"
    line = await make_line(module(1), link=link)

    def rows() -> list[dict[str, str]]:
        return list(csv.DictReader(log.open(newline=""))) if log.exists() else []

    running = asyncio.create_task(run("watch", link, *HASTE, "-n", 40, "--log", log))
    await until(lambda: len(rows()) > 2, 60)
    line.unplug()
    await until(lambda: rows()[-1]["error"] != "", 60)
    await line.replug()
    await until(lambda: rows()[-1]["error"] == "", 60)
    result = await running
    assert result.exit_code == 0, result.output
    assert "All batteries are read again." in result.stderr
    # Told once, however many rounds it lasted.
    errors = [text for text in result.stderr.splitlines() if "adapter" in text]
    assert len(errors) == len(set(errors)) >= 1


async def test_an_interrupt_ends_it_cleanly(
    make_line: MakeLine, start: Start, tmp_path: Path
) -> None:
    line = await make_line(module(1), real_time=True)
    log = tmp_path / "log.csv"
    process = await start("watch", line.path, *HASTE[:4], "--log", log)
    await until(lambda: log.exists() and log.read_text().count("\n") > 1, 60)
    process.send_signal(signal.SIGINT)
    out, err = await asyncio.wait_for(process.communicate(), 30)
    assert process.returncode == 130
    assert b"Traceback" not in err
    assert err.endswith(b"Interrupted.\n")
    assert out.startswith(b"Time")


def test_a_log_with_other_columns_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "other.csv"
    path.write_text("time,voltage\r\n1,2\r\n")
    with pytest.raises(Exception, match="other columns"):
        LogFile(path)
    assert path.read_text().startswith("time,voltage")


def test_a_log_that_ended_in_the_middle_goes_on_in_a_new_line(tmp_path: Path) -> None:
    path = tmp_path / "log.csv"
    LogFile(path).append([{"address": 1}])
    whole = path.read_bytes()
    path.write_bytes(whole[:-7])
    LogFile(path).append([{"address": 2}])
    lines = path.read_text().splitlines()
    assert len(lines) == 3
    assert lines[2].split(",")[2] == "2"


def test_a_log_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    with pytest.raises(Exception, match="cannot be written: Is a directory"):
        LogFile(tmp_path)
    (tmp_path / "picture").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(Exception, match="it is no text"):
        LogFile(tmp_path / "picture")
    file = LogFile(tmp_path / "log.csv")
    (tmp_path / "log.csv").unlink()
    (tmp_path / "log.csv").mkdir()
    with pytest.raises(Exception, match="cannot be written"):
        file.append([{}])
