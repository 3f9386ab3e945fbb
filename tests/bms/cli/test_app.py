"""The command as a whole: help, version, what it needs, progress."""

from __future__ import annotations

import builtins
import io
from pathlib import Path
import runpy
import sys
from typing import Any

import pytest
from rich.console import Console
from typer.testing import CliRunner

from custom_components.openxpbms.bms import cli
from custom_components.openxpbms.bms.cli import app as module_of_app
from custom_components.openxpbms.bms.cli import terminal
from custom_components.openxpbms.bms.cli.app import app

COMMANDS = sorted(
    command.name or command.callback.__name__  # type: ignore[union-attr]
    for command in app.registered_commands
)


def test_the_version_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module_of_app, "installed", lambda name: "1.2.3")
    result = CliRunner().invoke(app, ["--version"])
    assert (result.exit_code, result.stdout) == (0, "openxpbms 1.2.3\n")


def test_help_names_every_command() -> None:
    shown = CliRunner().invoke(app, ["--help"]).stdout
    assert all(f" {command} " in shown for command in COMMANDS)
    assert "openxpbms scan /dev/ttyUSB0" in shown


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_teaches_by_examples(command: str) -> None:
    result = CliRunner().invoke(app, [command, "--help"])
    assert result.exit_code == 0
    assert f" openxpbms {command} " in result.stdout


def test_an_unknown_command_is_wrong_use() -> None:
    result = CliRunner().invoke(app, ["raed"])
    assert result.exit_code == 2
    assert "read" in result.stderr


def test_without_the_extra_the_command_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delitem(sys.modules, module_of_app.__name__)
    monkeypatch.setitem(sys.modules, "typer", None)
    missing = ModuleNotFoundError("No module named 'typer'", name="typer")
    _fail_import(monkeypatch, missing)
    with pytest.raises(SystemExit, match=r'pip install "openxpbms\[cli\]"'):
        cli.main()


def test_another_missing_module_is_a_mistake(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, module_of_app.__name__)
    _fail_import(monkeypatch, ModuleNotFoundError("x", name="x"))
    with pytest.raises(ModuleNotFoundError):
        cli.main()


def test_an_interrupt_while_it_starts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, module_of_app.__name__)
    _fail_import(monkeypatch, KeyboardInterrupt())
    with pytest.raises(SystemExit) as end:
        cli.main()
    assert end.value.code == 130


def _fail_import(monkeypatch: pytest.MonkeyPatch, error: BaseException) -> None:
    really = builtins.__import__

    def fail(name: str, *more: Any, **others: Any) -> Any:
        if name == "app":
            raise error
        return really(name, *more, **others)

    monkeypatch.setattr(builtins, "__import__", fail)


def test_it_runs_as_a_module(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["openxpbms", "--help"])
    with pytest.raises(SystemExit) as end:
        runpy.run_module(cli.__name__, run_name="__main__")
    assert end.value.code == 0


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
@pytest.mark.parametrize(
    ("words", "offered"),
    [("rea", "read"), ("read ga", "garage"), ("watch --inte", "--interval")],
)
def test_shells_complete(
    shell: str,
    words: str,
    offered: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    path = tmp_path / "ports.toml"
    path.write_text('port.garage.url = "/dev/ttyUSB7"')
    monkeypatch.setenv("OPENXPBMS_CONFIG", str(path))
    line = f"openxpbms {words}"
    environment = {
        "_OPENXPBMS_COMPLETE": f"complete_{shell}",
        "COMP_WORDS": line,
        "COMP_CWORD": str(line.count(" ")),
        "_TYPER_COMPLETE_ARGS": line,
        "_TYPER_COMPLETE_FISH_ACTION": "get-args",
    }
    result = CliRunner().invoke(app, [], prog_name="openxpbms", env=environment)
    assert offered in result.stdout


class Screen(io.StringIO):
    """A terminal."""

    def isatty(self) -> bool:
        """Say so."""
        return True


def test_a_terminal_gets_a_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    screen = Screen()
    made: dict[str, Any] = {"file": screen, "width": 80}
    monkeypatch.setattr(terminal, "Console", lambda **_: Console(**made))
    with terminal.progress() as told:
        told("Listening", 0.0)
        told("Listening", 0.5)
        told("Asking", 1.0)
    assert "Asking" in screen.getvalue()


def test_a_file_gets_a_line_for_each_thing(capsys: pytest.CaptureFixture[str]) -> None:
    with terminal.progress() as told:
        told("Listening", 0.0)
        told("Listening", 0.5)
        told("Asking", 0.5)
    assert capsys.readouterr().err == "Listening …\nAsking …\n"


def test_tables_in_a_file_are_not_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    assert terminal.console().width == 120
    monkeypatch.delenv("COLUMNS")
    assert terminal.console().width == terminal.WIDTH
