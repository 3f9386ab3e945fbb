"""Names of ports, and URLs of demos: understood, or a plain refusal."""

from __future__ import annotations

import asyncio
import random

from hypothesis import strategies as st

from custom_components.openxpbms.bms.bus import Bus
from custom_components.openxpbms.bms.errors import PortError
from custom_components.openxpbms.bms.port import (
    FIXED_SPEED_SCHEMES,
    REMOTE_SCHEMES,
    Line,
    Port,
    changes_speed,
    is_remote,
    shown,
)
from custom_components.openxpbms.bms.virtual import (
    MOST_MODULES,
    VirtualBank,
    demo_line,
)
from custom_components.openxpbms.families import make_timing
from custom_components.openxpbms.words import entry_title

from .inputs import examine, fuzz

KEY = "key=abcdef"
SCHEMES = (
    *("socket", "tcp", "rfc2217", "esphome", "esphome-hass", "openxpbms-demo"),
    *("SOCKET", "loop", "a", ""),
)
PARTS = (
    *("/dev/ttyUSB0", "host", "[::1]", "[", "]", ":4000", ":", "@", "/", "//", "#"),
    *("%", "%00", "\0", "\n", " ", "ü", "\ud800", "://", "?", "COM3", ".."),
)


def check_name(url: str) -> None:
    """Ask all that is asked of a port's name before it is opened."""
    assert isinstance(changes_speed(url), bool)
    assert isinstance(is_remote(url), bool)
    assert shown(url) in url
    if "://" in url:
        assert "?" not in shown(url)
    if not changes_speed(url):
        assert is_remote(url)
    Bus(url)
    for family in ("valence", "seplos"):
        assert make_timing(url, family, {}).answer > 0
        assert entry_title(url, family)


def test_names_of_ports() -> None:
    def check(chance: random.Random, parts: list[str]) -> None:
        name = "".join(parts + chance.choices(PARTS, k=chance.randint(0, 3)))
        url = f"{chance.choice(SCHEMES)}://{name}" if chance.random() < 0.7 else name
        check_name(url)
        assert KEY not in shown(f"{chance.choice(SCHEMES)}://{name}?{KEY}")

    fuzz("port names", check, st.lists(st.sampled_from(PARTS), max_size=4))


def test_any_text_as_a_port() -> None:
    examine("port names", check_name, st.text(max_size=60))


def test_known_schemes_are_known_in_any_case() -> None:
    for scheme in REMOTE_SCHEMES:
        for name in (scheme, scheme.upper()):
            assert is_remote(f"{name}://host:1")
            assert changes_speed(f"{name}://host") is (
                scheme not in FIXED_SPEED_SCHEMES
            )


def test_a_malformed_port_is_a_port_error() -> None:
    def check(drawn: tuple[str, str]) -> None:
        scheme, rest = drawn
        port = Port(f"{scheme}://[{rest}", lambda data: None)
        try:
            asyncio.run(port.open(Line(9600)))
        except PortError:
            return
        raise AssertionError("it is open")

    # An opening bracket alone: nothing is looked for in the network.
    plain = st.text("abc:?#%@ ", max_size=9)
    examine("port names", check, st.tuples(st.sampled_from(SCHEMES[:6]), plain))


NAMES = ("seed", "modules", "packs", "mode", "real_time", "x", "", "seed", "modules")
VALUES = (
    *("0", "1", "2", "4", "16", "17", "32", "33", "99", "100", "-1", "1.0", "1e3"),
    *("bank", "asked", "true", "false", "True", "", "٤", "²", "%31", "9" * 5000, "ü"),
)


def check_demo(url: str) -> None:
    """Make the line of a demo, or be told why not."""
    try:
        line = demo_line(url)
    except ValueError:
        return
    assert 1 <= len(line.devices) <= MOST_MODULES
    for device in line.devices:
        if isinstance(device, VirtualBank):
            assert 2 <= len(device.packs) <= 16


def test_urls_of_demos() -> None:
    def check(chance: random.Random, names: list[str]) -> None:
        settings = [f"{name}={chance.choice(VALUES)}" for name in names]
        family = chance.choice(("valence", "seplos", "seplos", "lead", "", "[", "a@b"))
        url = f"openxpbms-demo://{family}"
        if chance.random() < 0.1:
            url += chance.choice(PARTS)
        if settings:
            url += "?" + chance.choice("&&&;").join(settings)
        if chance.random() < 0.05:
            at = chance.randrange(len(url))
            url = url[:at] + chance.choice(PARTS) + url[at + 1 :]
        check_demo(url)

    fuzz("demo URL", check, st.lists(st.sampled_from(NAMES), max_size=3))


def test_any_text_as_a_demo() -> None:
    text = st.text(max_size=60)
    examine("demo URL", check_demo, text.map("openxpbms-demo://valence?".__add__))
    examine("demo URL", check_demo, text)
