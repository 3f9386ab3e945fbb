"""The configuration file, and what the command line says over it."""

from __future__ import annotations

from pathlib import Path
import re
from typing import Any

import pytest
import serialx
import typer
from typer.testing import CliRunner, Result

from custom_components.openxpbms.bms.cli import config, ports
from custom_components.openxpbms.bms.cli.arguments import complete_port, with_port
from custom_components.openxpbms.bms.cli.config import (
    VARIABLE,
    Config,
    default_path,
    read_config,
)
from custom_components.openxpbms.bms.cli.exits import Failure
from custom_components.openxpbms.bms.cli.link import Choice

GARAGE = """
[port.garage]
url = "/dev/ttyUSB7"
family = "valence"
addresses = "1-3"
line = "mark"
invert = true
answer = 0.5

[port.bank]
url = "socket://box:8899"
family = "seplos"
addresses = [1, 3]
listen = true
divisor = 10

[port.any]
url = "/dev/ttyUSB8"
addresses = "0-2"

[mqtt]
broker = "box"
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "ports.toml"
    path.write_text(GARAGE)
    return path


def test_ports_have_names(file: Path) -> None:
    read = read_config(file)
    assert read == Config(
        file,
        {
            "garage": Choice(
                "/dev/ttyUSB7",
                "valence",
                (1, 2, 3),
                line="mark",
                invert=True,
                answer=0.5,
            ),
            "bank": Choice("socket://box:8899", "seplos", (1, 3), True, divisor=10),
            "any": Choice("/dev/ttyUSB8", addresses=(0, 1, 2)),
        },
        {"mqtt": {"broker": "box"}},
    )


def test_where_the_file_is(
    file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert read_config() == Config()
    usual = tmp_path / "config" / "openxpbms" / "config.toml"
    assert default_path() == usual
    usual.parent.mkdir(parents=True)
    usual.write_text('port.shed.url = "/dev/ttyS7"')
    assert list(read_config().ports) == ["shed"]
    monkeypatch.setenv(VARIABLE, str(file))
    assert list(read_config().ports) == ["garage", "bank", "any"]
    monkeypatch.delenv(VARIABLE)
    monkeypatch.delenv("XDG_CONFIG_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert default_path() == tmp_path / ".config" / "openxpbms" / "config.toml"


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("[port.a", "is no valid TOML: "),
        ("[ports.a]\nurl = 'x'", 'nothing is known of [ports] (did you mean "port"?).'),
        ("wifi = 1", "nothing is known of [wifi]."),
        ("port = 3", "port must be a table: [port]."),
        ("port.a = 3", "port.a must be a table: [port.a]."),
        ("[port.a]\nfamily = 'seplos'", "[port.a] needs the key url."),
        ("[port.a]\nurl = ''", "[port.a] url must be a path or a URL, not ''."),
        (
            "[port.a]\nurl='x'\nfamilly = 'seplos'",
            '[port.a] has no key "familly" (did you mean "family"?).',
        ),
        ("[port.a]\nurl='x'\nzzz = 1", '[port.a] has no key "zzz".'),
        (
            "[port.a]\nurl='x'\nfamily = 'tesla'",
            '[port.a] family must be "valence" or "seplos", not \'tesla\'.',
        ),
        ("[port.a]\nurl='x'\nlisten = 1", "[port.a] listen must be true or false"),
        ("[port.a]\nurl='x'\nline = 9", '[port.a] line must be "auto", "mark" or'),
        ("[port.a]\nurl='x'\ndivisor = 7", "[port.a] divisor must be 10 or 100"),
        ("[port.a]\nurl='x'\ndivisor = true", "[port.a] divisor must be 10 or 100"),
        (
            "[port.a]\nurl='x'\nanswer = 9",
            "[port.a] answer must be a number of seconds from 0.03 to 5, not 9.",
        ),
        ("[port.a]\nurl='x'\naddresses = [true]", '[port.a] addresses must be as in "'),
        (
            "[port.a]\nurl='x'\naddresses = '9-'",
            '[port.a] addresses: "9-" is no list of addresses such as "1-4, 17"',
        ),
        (
            "[port.a]\nurl='x'\naddresses = '9-'",
            "from 1 to 255 (Valence XP) or 0 to 127 (Seplos V3).",
        ),
        (
            "[port.a]\nurl='x'\nfamily='valence'\naddresses = [0]",
            '"0" is no list of addresses such as "1-4, 17" from 1 to 255 (Valence XP).',
        ),
        (
            "[port.a]\nurl='x'\nfamily='valence'\nlisten = true",
            "[port.a] Valence modules say nothing by themselves",
        ),
    ],
)
def test_mistakes_are_named_with_their_place(
    tmp_path: Path, text: str, complaint: str
) -> None:
    path = tmp_path / "wrong.toml"
    path.write_text(text)
    with pytest.raises(Failure, match=re.escape(complaint)) as told:
        read_config(path)
    assert str(told.value).startswith(str(path))
    assert told.value.code == 2


def test_a_file_that_cannot_be_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(Failure, match="There is no configuration file"):
        read_config(tmp_path / "none.toml")
    monkeypatch.setenv(VARIABLE, str(tmp_path / "none.toml"))
    with pytest.raises(Failure, match="There is no configuration file"):
        read_config()
    with pytest.raises(Failure, match="cannot be read: Is a directory"):
        read_config(tmp_path)
    (tmp_path / "latin").write_bytes(b'[port."\xe9"]')
    with pytest.raises(Failure, match="is no valid TOML"):
        read_config(tmp_path / "latin")


def chosen(*words: str) -> tuple[Choice | None, Result]:
    """Return what a command with PORT is given, and how it ended."""
    app = typer.Typer()
    given: list[Choice] = []

    @app.command()
    @with_port
    async def look(choice: Choice, often: int = 1) -> None:
        """Look."""
        given.extend([choice] * often)

    result = CliRunner().invoke(app, [*words])
    return (given[0] if given else None), result


@pytest.mark.parametrize(
    ("words", "choice"),
    [
        (
            "garage",
            Choice(
                "/dev/ttyUSB7",
                "valence",
                (1, 2, 3),
                line="mark",
                invert=True,
                answer=0.5,
            ),
        ),
        (
            "garage -a 7-8 --no-invert --line auto --answer 1",
            Choice("/dev/ttyUSB7", "valence", (7, 8), answer=1.0),
        ),
        (
            "bank --ask --divisor 100",
            Choice("socket://box:8899", "seplos", (1, 3), divisor=100),
        ),
        ("/dev/ttyUSB9", Choice("/dev/ttyUSB9")),
        ("rfc2217://box:1 -f seplos -a 0", Choice("rfc2217://box:1", "seplos", (0,))),
        ("/dev/ttyUSB9 --listen", Choice("/dev/ttyUSB9", listen=True)),
    ],
)
def test_the_command_line_counts_more_than_the_file(
    file: Path, words: str, choice: Choice
) -> None:
    given, result = chosen(*words.split(), "--config", str(file))
    assert result.exit_code == 0, result.output
    assert given == choice


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        ("garage -f seplos --listen -a x", '"x" is no list of addresses'),
        ("/dev/x -f valence --listen", "only a Seplos bank can be listened to"),
        ("any --family valence", "Valence XP has addresses from 1 to 255 only."),
        ("/dev/x --answer 9", "--answer"),
        ("/dev/x --family tesla", "tesla"),
        ("", "PORT"),
    ],
)
def test_wrong_use(file: Path, words: str, complaint: str) -> None:
    given, result = chosen(*words.split(), "--config", str(file))
    assert given is None
    assert result.exit_code == 2
    assert complaint in result.stderr


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have two ports, one of them a USB adapter."""

    def port(device: str, **more: Any) -> serialx.SerialPortInfo:
        facts = dict.fromkeys(serialx.SerialPortInfo.__dataclass_fields__)
        facts |= {"device": device, "resolved_device": device, **more}
        return serialx.SerialPortInfo(**facts)

    there = [port("/dev/ttyS0"), port("COM7", vid=0x0403)]
    monkeypatch.setattr(ports.serialx, "list_serial_ports", lambda: there)


@pytest.mark.usefixtures("machine")
def test_an_unknown_name_is_answered_with_near_ones(
    file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given, result = chosen("garag", "--config", str(file))
    assert given is None
    assert result.exit_code == 3
    assert '"garag" is no port of this machine' in result.stderr
    assert result.stderr.endswith("There is: garage.\n")
    _, result = chosen("zzz")
    assert result.stderr.endswith("There is: COM7, /dev/ttyS0.\n")
    assert chosen("COM7")[0] == Choice("COM7")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "pty").touch()
    assert chosen("pty")[0] == Choice("pty")
    monkeypatch.setattr(ports.serialx, "list_serial_ports", list)
    _, result = chosen("zzz")
    assert result.stderr.endswith("none in the configuration file.\n")


@pytest.mark.usefixtures("machine")
def test_ports_are_completed(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def offered(incomplete: str, **params: Any) -> list[str]:
        class Context:
            def __init__(self) -> None:
                self.params = params

        return [name for name, _ in complete_port(Context(), incomplete)]  # type: ignore[arg-type]

    assert offered("") == ["COM7", "/dev/ttyS0"]
    assert offered("", config=file) == ["garage", "bank", "any", "COM7", "/dev/ttyS0"]
    monkeypatch.setenv(VARIABLE, str(file))
    assert offered("g") == ["garage"]
    assert offered("/dev") == ["/dev/ttyS0"]
    # A mistake in the file is told elsewhere.
    monkeypatch.setenv(VARIABLE, str(file.parent))
    assert offered("") == ["COM7", "/dev/ttyS0"]


def test_no_addresses_mean_the_usual_ones(file: Path) -> None:
    given, _ = chosen("any", "-a", " ", "--config", str(file))
    assert given == Choice("/dev/ttyUSB8")


def test_truth_and_numbers_are_told_apart() -> None:
    assert config.is_truth(False)
    assert not config.is_truth(0)
    assert config.is_number(1)
    assert not config.is_number(True)
    assert not config.is_text("")
