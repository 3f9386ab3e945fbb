"""`openxpbms mqtt` itself: in this process, and as one that is killed."""

from __future__ import annotations

import asyncio
import json
import os
from pathlib import Path
import signal
from typing import Any

import pytest

from custom_components.openxpbms.bms.cli import mqtt as command
from custom_components.openxpbms.bms.cli.exits import Exit, Failure
from tests.bms.conftest import MakeLine, module
from tests.mosquitto import (
    Hearer,
    MakeBroker,
    Mosquitto,
    certificates,
    hearing,
    password_file,
)

from .conftest import Run, Start

ONE, TWO = "valence_104400461", "valence_104400462"


def topic(of: str, what: str = "state") -> str:
    """Return a topic of a bridge that is called pi_a."""
    return f"openxpbms/pi_a/{of}/{what}" if of else f"openxpbms/pi_a/{what}"


@pytest.fixture
def garage(tmp_path: Path) -> Any:
    """Write a configuration file with ports and a broker."""

    def write(mosquitto: Mosquitto | None, *lines: str, **ports: str) -> Path:
        path = tmp_path / "config.toml"
        text = [
            f'[port.{name}]\nurl = "{url}"\nfamily = "valence"\nanswer = 1.0'
            for name, url in ports.items()
        ]
        text += ["[mqtt]", 'name = "pi"', *lines]
        if mosquitto is not None:
            text.append(f'broker = "127.0.0.1:{mosquitto.port}"')
        path.write_text("\n".join(text))
        return path

    return write


async def test_once(
    run: Run,
    quick: None,
    make_line: MakeLine,
    mosquitto: Mosquitto,
    hearer: Hearer,
    garage: Any,
) -> None:
    line = await make_line(module(1, serial="104400461"))
    file = garage(mosquitto, a=line.path)
    done = await run("mqtt", "a", "--config", file, "--once", "--addresses", "1")
    assert done.exit_code == 0, done.output
    await hearer.has(topic("", "status"), "online")
    state = hearer.last(topic(ONE))
    assert state is not None
    assert json.loads(state)["voltage"] == 13.206
    assert hearer.last(f"homeassistant/device/openxpbms_{ONE}/config")
    assert "1 found; their topics begin with openxpbms/pi_a." in done.output


async def test_several_ports_and_every_option(
    run: Run,
    quick: None,
    make_line: MakeLine,
    make_broker: MakeBroker,
    tmp_path: Path,
    garage: Any,
) -> None:
    one = await make_line(module(1, serial="104400461"))
    two = await make_line(module(1, serial="104400462"))
    made = certificates(tmp_path)
    known = password_file(tmp_path, "me", "right")
    there = await make_broker(
        "allow_anonymous false", f"password_file {known}", *made.lines
    )
    secret = tmp_path / "password"
    secret.write_text("right\n")
    file = garage(None, 'topic = "not/this"', a=one.path, b=two.path)
    context = command.ssl.create_default_context(cafile=str(made.authority))
    more = {"username": "me", "password": "right", "tls_context": context}
    async with hearing(there.port, **more) as hearer:
        done = await run(
            "mqtt",
            *("a", "--also", "b", "--config", file, "--once", "--no-retry"),
            *("--broker", f"127.0.0.1:{there.port}", "--user", "me"),
            *("--password-file", secret, "--ca", made.authority),
            *("--topic", "home", "--discovery-prefix", "ha", "--name", "box"),
        )
        assert done.exit_code == 0, done.output
        await hearer.has("home/box_a/status", "online")
        await hearer.has("home/box_b/status", "online")
        assert hearer.last(f"home/box_a/{ONE}/availability") == "online"
        assert hearer.last(f"home/box_b/{TWO}/availability") == "online"
        assert hearer.last(f"ha/device/openxpbms_{TWO}/config")


async def test_the_password_may_come_from_the_environment(
    run: Run,
    make_line: MakeLine,
    quick: None,
    make_broker: MakeBroker,
    tmp_path: Path,
    garage: Any,
) -> None:
    line = await make_line(module(1, serial="104400461"))
    known = password_file(tmp_path, "me", "right")
    there = await make_broker("allow_anonymous false", f"password_file {known}")
    file = garage(there, 'user = "me"', "tls = false", a=line.path)
    words = "mqtt", "a", "--config", file, "--once", "--no-retry", "--addresses", "1"
    done = await run(*words, env={command.VARIABLE: "right"})
    assert done.exit_code == 0, done.output
    refused = await run(*words, env={command.VARIABLE: "wrong"})
    assert refused.exit_code == Exit.BROKER
    assert "user me with this password" in refused.output
    assert "wrong" not in refused.output


async def test_a_broker_that_is_away(
    run: Run, socket_enabled: None, garage: Any, tmp_path: Path
) -> None:
    file = garage(None, a="/dev/nothing")
    words = "mqtt", "a", "--config", file, "--no-retry"
    done = await run(*words, "--broker", "127.0.0.1:1")
    assert done.exit_code == Exit.BROKER
    assert "No broker at 127.0.0.1:1: Connection refused.\n" in done.output


async def test_a_certificate_that_nobody_knows_needs_insecure(
    run: Run, make_broker: MakeBroker, tmp_path: Path, garage: Any
) -> None:
    there = await make_broker(*certificates(tmp_path).lines)
    words = "mqtt", "a", "--config", garage(there, a=str(tmp_path / "no"))
    done = await run(*words, "--tls")
    assert done.exit_code == Exit.BROKER
    assert "is not trusted" in done.output
    # It gets as far as the port.
    done = await run(*words, "--insecure")
    assert done.exit_code == Exit.PORT


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ((), "Say where the broker is: --broker HOST[:PORT]."),
        (("--broker", "host:port"), '"host:port" is no HOST[:PORT]'),
        (("--broker", "host:70000"), "is no HOST[:PORT]"),
        (("--broker", "mqtt://host"), "is no HOST[:PORT]"),
        (("--broker", "a..b"), "is no HOST[:PORT]"),
        (("--broker", ":1883"), "is no HOST[:PORT]"),
        (("--broker", "host", "--topic", "a/#"), "The topic must be without + and #."),
        (("--broker", "host", "--ca", "none.pem"), "none.pem cannot be used as --ca"),
        (("--broker", "host", "--password-file", "none"), "cannot be read: No such"),
        (("--broker", "host", "--also", "a"), "A port is named twice."),
        (("--broker", "host", "--also", "b"), "no port of this machine"),
    ],
)
async def test_what_is_wrong_is_told_before_anything_is_done(
    run: Run, garage: Any, words: tuple[str, ...], told: str
) -> None:
    done = await run("mqtt", "a", "--config", garage(None, a="/dev/nothing"), *words)
    assert told in done.output
    assert done.exit_code in (Exit.WRONG_USE, Exit.PORT)


async def test_password_files(run: Run, garage: Any, tmp_path: Path) -> None:
    file = garage(None, 'broker = "host"', a="/dev/nothing")
    secret = tmp_path / "secret"
    words = "mqtt", "a", "--config", file, "--password-file", secret
    secret.write_text("")
    assert "is empty." in (await run(*words)).output
    secret.write_bytes(b"\xff")
    assert "cannot be read: it is no text." in (await run(*words)).output
    secret.write_text("password")
    assert "there must be a --user" in (await run(*words)).output


async def test_a_table_of_the_file_is_checked(run: Run, garage: Any) -> None:
    file = garage(None, "intervall = 3", a="/dev/nothing")
    done = await run("mqtt", "a", "--config", file)
    assert done.exit_code == Exit.WRONG_USE
    assert '[mqtt] has no key "intervall" (did you mean "interval"?)' in done.output
    file = garage(None, "interval = 0.1", a="/dev/nothing")
    done = await run("mqtt", "a", "--config", file)
    assert "interval must be a number of seconds from 1 to 300" in done.output


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("host", ("host", None)),
        ("host:1884", ("host", 1884)),
        ("[::1]:1884", ("::1", 1884)),
        ("[::1]", ("::1", None)),
        ("fe80::1", ("fe80::1", None)),
    ],
)
def test_addresses(text: str, address: tuple[str, int | None]) -> None:
    assert command._address(text) == address


@pytest.mark.parametrize("missing", ["aiomqtt", "paho", "somethingelse"])
async def test_without_the_extra(
    run: Run, garage: Any, monkeypatch: pytest.MonkeyPatch, missing: str
) -> None:
    def absent(name: str, *args: Any, **more: Any) -> Any:
        if name.endswith("mqtt.broker"):
            raise ModuleNotFoundError(name=missing)
        return importing(name, *args, **more)

    importing = __import__
    monkeypatch.setattr("builtins.__import__", absent)
    done = await run("mqtt", "a", "--config", garage(None, a="/dev/nothing"))
    if missing == "somethingelse":
        assert isinstance(done.exception, ModuleNotFoundError)
    else:
        assert 'pip install "openxpbms[mqtt]"' in done.output
        assert done.exit_code == Exit.UNEXPECTED


async def test_asked_to_end() -> None:
    ended: list[str] = []

    async def bridge() -> None:
        os.kill(os.getpid(), signal.SIGTERM)
        try:
            await asyncio.sleep(60)
        finally:
            ended.append("told")

    await command._until_told(bridge())
    assert ended == ["told"]


async def test_cancelled_otherwise() -> None:
    running = asyncio.create_task(command._until_told(asyncio.sleep(60)))
    await asyncio.sleep(0)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running


async def test_one_that_fails_ends_all() -> None:
    async def fails() -> None:
        raise Failure("because", Exit.PORT)

    with pytest.raises(Failure, match="because"):
        await command._until_told(fails(), asyncio.sleep(60))


async def reads(process: asyncio.subprocess.Process, hearer: Hearer) -> None:
    """Wait until a process shows its batteries, or say why it does not."""
    waiting = asyncio.create_task(hearer.has(topic("", "status"), "online"))
    ended = asyncio.create_task(process.wait())
    done, _ = await asyncio.wait(
        (waiting, ended), timeout=90, return_when=asyncio.FIRST_COMPLETED
    )
    ended.cancel()
    if waiting not in done:
        waiting.cancel()
        process.kill()
        _, errors = await process.communicate()
        pytest.fail(errors.decode())


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGTERM, 0), (signal.SIGINT, Exit.INTERRUPTED)]
)
async def test_a_process_that_is_asked_to_end_says_so(
    start: Start,
    make_line: MakeLine,
    mosquitto: Mosquitto,
    hearer: Hearer,
    garage: Any,
    number: signal.Signals,
    code: int,
) -> None:
    line = await make_line(module(1, serial="104400461"))
    file = garage(mosquitto, a=line.path)
    process = await start("mqtt", "a", "--config", file, "--addresses", "1")
    await reads(process, hearer)
    process.send_signal(number)
    _, errors = await asyncio.wait_for(process.communicate(), 60)
    assert process.returncode == code, errors.decode()
    assert "Traceback" not in errors.decode()
    await hearer.has(topic("", "status"), "offline")
    assert hearer.last(topic(ONE, "availability")) == "online"


async def test_a_process_that_is_killed_is_declared_offline_by_the_broker(
    start: Start,
    make_line: MakeLine,
    mosquitto: Mosquitto,
    hearer: Hearer,
    garage: Any,
) -> None:
    line = await make_line(module(1, serial="104400461"))
    file = garage(mosquitto, a=line.path)
    words = "mqtt", "a", "--config", file, "--addresses", "1"
    process = await start(*words)
    await reads(process, hearer)
    process.kill()
    await hearer.has(topic("", "status"), "offline")
    # The next one takes over.
    hearer.heard.clear()
    await reads(await start(*words), hearer)


async def test_a_process_that_waits_for_the_broker_can_be_interrupted(
    start: Start, garage: Any, mosquitto: Mosquitto
) -> None:
    await mosquitto.stop()
    process = await start("mqtt", "a", "--config", garage(mosquitto, a="/dev/nothing"))
    assert process.stderr is not None
    told = await asyncio.wait_for(process.stderr.readline(), 60)
    assert told.endswith(b"Connection refused; trying again.\n")
    process.send_signal(signal.SIGINT)
    _, errors = await asyncio.wait_for(process.communicate(), 60)
    assert process.returncode == Exit.INTERRUPTED
    assert "Traceback" not in errors.decode()
