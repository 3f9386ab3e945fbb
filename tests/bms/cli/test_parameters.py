"""Parameters of a pack by commands: listed, read, changed, saved, compared."""

from __future__ import annotations

from collections.abc import Callable, Iterator
import json
import os
from pathlib import Path
import signal
import subprocess
import sys
import tomllib
from typing import Any
from unittest.mock import patch

import pytest

from custom_components.openxpbms.bms import seplos_writes
from custom_components.openxpbms.bms.cli import changing
from custom_components.openxpbms.bms.cli import set as set_command
from custom_components.openxpbms.bms.cli.exits import Exit, sentence
from custom_components.openxpbms.bms.cli.parameter_words import (
    caution,
    exit_code,
    outcome,
)
from custom_components.openxpbms.bms.errors import BusError, NoAnswer, PortGone
from custom_components.openxpbms.bms.parameter_errors import (
    Caution,
    LargeStep,
    ParameterError,
    TripUnknown,
    WouldTrip,
)
from custom_components.openxpbms.bms.parameter_rules import Change
from custom_components.openxpbms.bms.parameters import BY_NAME
from custom_components.openxpbms.bms.seplos_writes import Other, Outcome, Result
from custom_components.openxpbms.bms.virtual import VirtualPack, WriteFault

from .lines import LineInThread, Ran, quickly, run, run_at_terminal

ALARM = "battery_low_voltage_alarm"
REGISTER = 0x1307
ASKED = ("--family", "seplos", "--addresses", "0")
CHANGE = f"{ALARM}: 46.40 V -> 45.00 V"
FRAME = "00 10 13 07 00 01 02 11 94 85 49"
VALENCE = "openxpbms-demo://valence?modules=1&real_time=false"
BANK = "openxpbms-demo://seplos?packs=2&mode=bank"
PACKS = "openxpbms-demo://seplos?packs=3&real_time=false"

type Start = Callable[..., LineInThread]


@pytest.fixture(autouse=True)
def hurry() -> Iterator[None]:
    """Neither listen for a minute nor wait for a pack to settle."""
    with (
        quickly(),
        patch.object(changing, "QUIET", 0.5),
        patch.object(seplos_writes, "QUIET", 0.5),
        patch.object(seplos_writes, "SETTLING", 0.01),
    ):
        yield


@pytest.fixture
def start() -> Iterator[Start]:
    """Put packs on lines."""
    lines: list[LineInThread] = []

    def begin(*packs: Any) -> LineInThread:
        lines.append(LineInThread(*packs))
        return lines[-1]

    yield begin
    for line in lines:
        line.stop()


def yes() -> bytes:
    return b"yes\n"


# Reading


def test_all_are_listed_with_spans_and_rules(
    start: Start,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    assert run("parameters", start(VirtualPack()).path, *ASKED) == 0
    lines = capsys.readouterr().out.splitlines()
    rows = {line.split()[0]: " ".join(line.split()[1:]) for line in lines if line}
    assert rows.keys() >= BY_NAME.keys()
    assert rows[ALARM] == (
        "46.40 V 40.00 V to 51.20 V < battery_low_voltage_recovery,"
        " ≥ battery_under_voltage_protection"
    )
    assert rows["remaining_battery_capacity"].endswith(
        "- never written: the pack counts it"
    )


def test_a_narrow_terminal_gets_no_cut_lines(
    start: Start,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    assert run("parameters", start(VirtualPack()).path, *ASKED) == 0
    told = capsys.readouterr()
    lines = told.out.splitlines()
    assert len(lines) == 1 + len(BY_NAME)
    assert max(map(len, lines)) <= 80
    assert "get" in told.err


def test_all_are_told_to_programs(
    start: Start, capsys: pytest.CaptureFixture[str]
) -> None:
    port = start(VirtualPack()).path
    assert run("parameters", port, *ASKED, "--json") == 0
    told = {row["name"]: row for row in json.loads(capsys.readouterr().out)}
    assert told[ALARM] | {"rules": []} == {
        "name": ALARM,
        "value": 46.4,
        "unit": "V",
        "topic": "pack_voltage",
        "writable": True,
        "low": 40.0,
        "high": 51.2,
        "rules": [],
    }
    assert told["number_of_cells"]["why_not"] == "structure"
    assert run("get", port, ALARM, *ASKED, "--json") == 0
    assert json.loads(capsys.readouterr().out) == told[ALARM]


def test_one_is_read_and_explained(
    start: Start, capsys: pytest.CaptureFixture[str]
) -> None:
    port = start(VirtualPack()).path
    assert run("get", port, ALARM, *ASKED) == 0
    told = capsys.readouterr()
    assert told.out == "46.40 V\n"
    assert "40.00 V to 51.20 V, in steps of 0.01 V" in told.err
    assert "≥ battery_under_voltage_protection (43.20 V)" in told.err
    assert run("get", port, "number_of_cells", *ASKED) == 0
    told = capsys.readouterr()
    assert told.out == "16\n"
    assert "never written" in told.err


def test_an_unknown_name_is_refused_before_the_port_is_opened(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert run("get", "/dev/not-there", "battery_low_voltage_alam") == Exit.WRONG_USE
    assert f"Did you mean {ALARM}" in capsys.readouterr().err
    assert run("get", "/dev/not-there", "zzzzzz") == Exit.WRONG_USE
    assert "mean" not in capsys.readouterr().err


@pytest.mark.parametrize(
    ("url", "code", "told"),
    [
        (VALENCE, Exit.WRONG_USE, "nothing can be written"),
        (BANK, Exit.FOREIGN_MASTER, "a master of its own"),
        (PACKS, Exit.WRONG_USE, "at the addresses 1, 2, 3: choose one"),
    ],
)
def test_others_than_one_asked_pack_are_refused(
    capsys: pytest.CaptureFixture[str], url: str, code: Exit, told: str
) -> None:
    family = url.partition("//")[2].partition("?")[0]
    assert run("get", url, ALARM, "-f", family, "-a", "1-3") == code
    assert told in capsys.readouterr().err


# Changing


def changed(
    capsys: pytest.CaptureFixture[str],
    line: LineInThread,
    value: str = "45.0",
    *options: str,
    name: str = ALARM,
    answers: Callable[[], bytes] | None = yes,
) -> Ran:
    arguments = ["set", line.path, name, value, *ASKED, *options]
    return run_at_terminal(capsys, *arguments, answers=answers)


def test_a_typed_yes_changes_it(
    start: Start, capsys: pytest.CaptureFixture[str]
) -> None:
    pack = VirtualPack()
    ran = changed(capsys, start(pack))
    assert ran.code == 0
    assert CHANGE in ran.out
    assert FRAME in ran.out
    assert f"{ALARM} is 45.00 V now, read back from the pack." in ran.out
    assert "Watching the line" in ran.screen
    assert pack.written == [(REGISTER, 4500)]


@pytest.mark.parametrize("word", [b"no\n", b"y\n", b"\n", b"45.0\n", b"\x04"])
def test_another_word_changes_nothing(
    start: Start, capsys: pytest.CaptureFixture[str], word: bytes
) -> None:
    pack = VirtualPack()
    ran = changed(capsys, start(pack), answers=lambda: word)
    assert ran.code == Exit.NOT_CONFIRMED
    assert "Nothing was written." in ran.screen
    assert not pack.written


def test_what_was_typed_before_the_question_does_not_count(
    start: Start, capsys: pytest.CaptureFixture[str]
) -> None:
    pack = VirtualPack()
    with patch.object(set_command, "AGREE_WITHIN", 1.0):
        ran = run_at_terminal(
            capsys, "set", start(pack).path, ALARM, "45", *ASKED, ahead=b"yes\nyes\n"
        )
    assert ran.code == Exit.NOT_CONFIRMED
    assert "Type yes" in ran.screen
    assert not pack.written


def test_without_a_terminal_nothing_is_even_asked(
    start: Start, capsys: pytest.CaptureFixture[str]
) -> None:
    line = start(VirtualPack())
    with open(os.devnull) as nobody, patch.object(sys, "stdin", nobody):  # noqa: PTH123
        assert run("set", line.path, ALARM, "45", *ASKED) == Exit.NOT_CONFIRMED
    assert "at a terminal" in capsys.readouterr().err
    assert not line.line.frames


def test_a_dry_run_needs_no_terminal_and_writes_nothing(
    start: Start, capsys: pytest.CaptureFixture[str]
) -> None:
    pack = VirtualPack()
    line = start(pack)
    assert run("set", line.path, ALARM, "45", *ASKED, "--dry-run") == 0
    told = capsys.readouterr()
    assert CHANGE in told.out
    assert FRAME in told.out
    assert "dry run" in told.err
    assert not pack.written


@pytest.mark.parametrize(
    ("name", "value", "told"),
    [
        (ALARM, "30", f"{ALARM} must be from 40.00 V to 51.20 V with 16 cells"),
        (ALARM, "45.005", "only 45.00 V or 45.01 V"),
        (ALARM, "many", "many is not a number"),
        (ALARM, "nan", "nan is not a number"),
        (ALARM, "46.4", "is 46.40 V already"),
        (ALARM, "42", "must be ≥ battery_under_voltage_protection"),
        ("number_of_cells", "15", "is never written"),
        ("charge_low_temperature_alarm", "-5", "add --allow-large-step"),
        ("soc_low_protection", "40", "add --allow-trip"),
    ],
)
def test_what_a_rule_forbids_is_refused_with_what_to_do(
    start: Start,
    capsys: pytest.CaptureFixture[str],
    name: str,
    value: str,
    told: str,
) -> None:
    levels = {0x1353 + n: raw for n, raw in enumerate((960, 600, 590, 450, 390))}
    line = start(VirtualPack(soc=40.0, parameters=levels))
    options = ("--dry-run",)
    assert run("set", line.path, name, value, *ASKED, *options) == Exit.WRONG_USE
    assert told in capsys.readouterr().err


def test_what_is_allowed_is_told_before_the_question(
    start: Start, capsys: pytest.CaptureFixture[str]
) -> None:
    pack = VirtualPack()
    name = "charge_low_temperature_alarm"
    ran = changed(capsys, start(pack), "-5", "--allow-large-step", name=name)
    assert ran.code == 0
    assert "Mind: A large step: from 2.0 °C to -5.0 °C" in ran.out
    assert pack.written == [(0x1334, 2681)]


@pytest.mark.parametrize(
    ("fault", "told"),
    [
        (WriteFault.REFUSE_VALUE, "is still 46.40 V: the pack refused the write"),
        (WriteFault.IGNORE, "is still 46.40 V: the pack acknowledged the write and"),
        (WriteFault.CLAMP, "is 45.50 V now, neither the old nor the new value"),
        (WriteFault.SILENT, "nobody knows whether it is 46.40 V or 45.00 V"),
    ],
)
def test_what_is_in_the_pack_is_told_whatever_it_did(
    start: Start, capsys: pytest.CaptureFixture[str], fault: WriteFault, told: str
) -> None:
    pack = VirtualPack(write_fault=fault, clamped=4550)
    ran = changed(capsys, start(pack))
    assert ran.code == Exit.NOT_AS_ASKED
    assert told in " ".join(ran.screen.split())


def test_a_pack_that_does_it_without_a_word_has_it(
    start: Start, capsys: pytest.CaptureFixture[str]
) -> None:
    pack = VirtualPack(write_fault=WriteFault.NO_ACKNOWLEDGEMENT)
    ran = changed(capsys, start(pack))
    assert ran.code == 0
    assert "is 45.00 V now, read back from the pack: the pack did not ack" in ran.out


def test_another_change_meanwhile_stops_it(
    start: Start, capsys: pytest.CaptureFixture[str]
) -> None:
    pack = VirtualPack()

    def meddle() -> bytes:
        pack.parameters[REGISTER] = 4600
        return yes()

    ran = changed(capsys, start(pack), answers=meddle)
    assert ran.code == Exit.NOT_AS_ASKED
    assert "Nothing was sent" in ran.screen
    assert not pack.written


def test_a_yes_after_five_minutes_is_too_late(
    start: Start, capsys: pytest.CaptureFixture[str]
) -> None:
    pack = VirtualPack()
    with patch.object(changing, "AGREE_WITHIN", 0.0):
        ran = changed(capsys, start(pack))
    assert ran.code == Exit.NOT_CONFIRMED
    assert "five minutes" in ran.screen
    assert not pack.written


def test_a_question_that_nobody_answers_ends(
    start: Start, capsys: pytest.CaptureFixture[str]
) -> None:
    pack = VirtualPack()
    with patch.object(set_command, "AGREE_WITHIN", 0.3):
        ran = changed(capsys, start(pack), answers=None)
    assert ran.code == Exit.NOT_CONFIRMED
    assert not pack.written


def test_a_line_that_is_not_watched_long_enough_is_left_alone(
    start: Start, capsys: pytest.CaptureFixture[str]
) -> None:
    pack = VirtualPack()
    with patch.object(seplos_writes, "QUIET", 1000.0):
        ran = changed(capsys, start(pack))
    assert ran.code == Exit.FOREIGN_MASTER
    assert "Nothing was sent: The line has been watched for" in ran.screen
    assert not pack.written


def test_a_port_that_goes_is_told(
    start: Start, capsys: pytest.CaptureFixture[str]
) -> None:
    pack = VirtualPack()
    line = start(pack)

    def pull() -> bytes:
        line.unplug()
        return yes()

    ran = changed(capsys, line, answers=pull)
    assert ran.code == Exit.PORT
    assert not pack.written


# Interrupted


def test_ctrl_c_at_the_question_writes_nothing(
    start: Start, capsys: pytest.CaptureFixture[str]
) -> None:
    pack = VirtualPack()

    def interrupt() -> bytes:
        os.kill(os.getpid(), signal.SIGINT)
        return b""

    ran = changed(capsys, start(pack), answers=interrupt)
    assert ran.code == Exit.INTERRUPTED
    assert "Nothing was written." in ran.screen
    assert not pack.written


class Interrupting(VirtualPack):
    """A pack that is written to in the moment when somebody wants to end it all."""

    def reply(self, request: bytes) -> bytes:
        if request[1] == 16:
            for number in (signal.SIGINT, signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
                os.kill(os.getpid(), number)
        return super().reply(request)


def test_whatever_ends_it_in_the_middle_of_a_write_waits_for_the_read_back(
    start: Start, capsys: pytest.CaptureFixture[str]
) -> None:
    pack = Interrupting()
    before = signal.getsignal(signal.SIGTERM)
    ran = changed(capsys, start(pack))
    assert ran.code == Exit.INTERRUPTED
    assert f"Interrupted. {ALARM} is 45.00 V now, read back" in ran.screen
    assert pack.written == [(REGISTER, 4500)]
    assert signal.getsignal(signal.SIGTERM) is before


# Files


@pytest.mark.parametrize("name", ["pack.toml", "pack.json"])
def test_a_file_holds_all_of_them_and_compares_equal(
    start: Start, capsys: pytest.CaptureFixture[str], tmp_path: Path, name: str
) -> None:
    pack = VirtualPack()
    port, file = start(pack).path, tmp_path / name
    assert run("export", port, str(file), *ASKED) == 0
    assert [item.name for item in tmp_path.iterdir()] == [name]
    text = file.read_text()
    assert '"V"' in text
    told = json.loads(text) if name.endswith("json") else tomllib.loads(text)
    assert told["serial_number"] == pack.serial
    assert len(told["parameters"]) == len(BY_NAME)
    # What the pack counts does not matter.
    pack.soc = 12.0
    assert run("compare", port, str(file), *ASKED) == 0
    pack.parameters[REGISTER] = 4500
    capsys.readouterr()
    assert run("compare", port, str(file), *ASKED) == Exit.NOT_AS_ASKED
    told = capsys.readouterr()
    assert [line.split() for line in told.out.splitlines()[1:]] == [
        [ALARM, "45.00", "V", "46.40", "V"]
    ]
    assert "1 of 106 parameters differ." in told.err


def test_two_files_are_compared_without_a_port(
    start: Start, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    pack = VirtualPack()
    line = start(pack)
    one, other = tmp_path / "one.toml", tmp_path / "other.json"
    assert run("export", line.path, str(one), *ASKED) == 0
    assert run("export", line.path, str(other), *ASKED) == 0
    line.unplug()
    assert run("compare", str(one), str(other)) == 0
    text = one.read_text().replace(f"{ALARM} =", "# ").replace("3.65", "3.66")
    one.write_text(text)
    capsys.readouterr()
    assert run("compare", str(one), str(other)) == Exit.NOT_AS_ASKED
    lines = capsys.readouterr().out.splitlines()[1:]
    assert [line.split() for line in lines] == [
        [ALARM, "-", "46.40", "V"],
        ["cell_over_voltage_protection", "3.660", "V", "3.650", "V"],
    ]


def test_they_are_printed_without_a_file(
    start: Start, capsys: pytest.CaptureFixture[str]
) -> None:
    port = start(VirtualPack()).path
    assert run("export", port, *ASKED) == 0
    parameters = tomllib.loads(capsys.readouterr().out)["parameters"]
    assert parameters[ALARM] == {"value": 46.4, "unit": "V"}
    assert run("export", port, *ASKED, "--json") == 0
    assert len(json.loads(capsys.readouterr().out)["parameters"]) == len(BY_NAME)


def test_a_file_is_not_lost_to_another_export(
    start: Start, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    port, file = start(VirtualPack()).path, tmp_path / "pack.toml"
    file.write_text("precious")
    assert run("export", port, str(file), *ASKED) == Exit.WRONG_USE
    assert "--replace" in capsys.readouterr().err
    assert file.read_text() == "precious"
    assert run("export", port, str(file), *ASKED, "--replace") == 0
    assert ALARM in file.read_text()


def test_a_file_that_cannot_be_written_leaves_nothing_behind(
    start: Start, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    port = start(VirtualPack()).path
    missing = tmp_path / "missing" / "pack.toml"
    assert run("export", port, str(missing), *ASKED) == Exit.WRONG_USE
    assert "cannot be written" in capsys.readouterr().err
    full = patch("os.fsync", side_effect=OSError(28, "No space left on device"))
    with full:
        code = run("export", port, str(tmp_path / "pack.toml"), *ASKED)
    assert code == Exit.WRONG_USE
    assert "No space left" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[parameters]\nzzz = { value = 1 }",
        f"[parameters]\n{ALARM} = {{ value = true }}",
        f"[parameters]\n{ALARM} = {{ value = inf }}",
        f"[parameters]\n{ALARM} = 1",
        '{"parameters": [1]}',
        '{"parameters": 1}',
        '{"a":' * 100_000,
    ],
)
def test_a_file_of_something_else_is_refused(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, text: str
) -> None:
    file = tmp_path / "file"
    file.write_text(text)
    assert run("compare", str(file), str(file)) == Exit.WRONG_USE
    assert "holds no parameters" in capsys.readouterr().err


def test_a_file_that_is_not_there_is_told(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    missing = tmp_path / "missing"
    assert run("compare", "/dev/null", str(missing)) == Exit.WRONG_USE
    assert "No such file" in capsys.readouterr().err


def test_the_command_as_a_program(start: Start) -> None:
    pack = VirtualPack()
    port = start(pack).path
    command = [sys.executable, "-m", "custom_components.openxpbms.bms.cli", "set"]
    ran = subprocess.run(
        [*command, port, ALARM, "45", *ASKED],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert (ran.returncode, ran.stdout) == (6, "")
    ran = subprocess.run(
        [*command, port, ALARM, "45", *ASKED, "--dry-run"],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert ran.returncode == 0
    assert CHANGE in ran.stdout
    assert not pack.written


# In words


SENT = Change(
    name=ALARM,
    register=REGISTER,
    unit="V",
    old=46.4,
    new=45.0,
    old_raw=4640,
    new_raw=4500,
)


def test_other_parameters_that_changed_are_told() -> None:
    other = Other("battery_low_voltage_recovery", 48.0, 47.0)
    told = outcome(SENT, Result(Outcome.VERIFIED, 45.0, others=(other,)))
    assert told.endswith(
        " battery_low_voltage_recovery changed at the same time: 48.00 V -> 47.00 V."
    )


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (PortGone("the port has gone"), Exit.PORT),
        (NoAnswer("no answer"), Exit.NO_BATTERY),
        (WouldTrip(reading="40.0 %", value="41.0 %", parameter=ALARM), Exit.WRONG_USE),
    ],
)
def test_what_was_not_sent_ends_with_its_reason(
    error: BusError | ParameterError, code: Exit
) -> None:
    result = Result(Outcome.NOT_SENT, error=error)
    assert outcome(SENT, result) == f"Nothing was sent: {sentence(str(error))}"
    assert exit_code(result) == code


@pytest.mark.parametrize(
    "key",
    [
        *(LargeStep.key, WouldTrip.key, TripUnknown.key, "will_alarm"),
        *("order_still_wrong", "cells_disagree", "request_above_alarm"),
        *("request_above_cells", "state_of_charge"),
    ],
)
def test_every_caution_has_words(key: str) -> None:
    names = "old value share reading relation other limit pack pack_value cell"
    names += " cell_value cells together request alarm alarm_value"
    details = {name: f"({name})" for name in names.split()}
    assert caution(Caution(key, details)).endswith(".")
