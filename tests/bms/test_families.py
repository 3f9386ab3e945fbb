"""What sets the families apart before anything is opened."""

from __future__ import annotations

import pytest

from custom_components.openxpbms.bms.families import (
    KINDS,
    SEPLOS,
    VALENCE,
    make_bus,
    make_family,
    make_timing,
    parse_addresses,
)
from custom_components.openxpbms.bms.seplos import Seplos
from custom_components.openxpbms.bms.valence import LineMode, Valence

PORT = "/dev/ttyUSB0"
REMOTE = "rfc2217://box:5000"


@pytest.mark.parametrize(
    ("url", "family", "answer", "turnaround"),
    [
        (PORT, VALENCE, 0.12, 0.0),
        (REMOTE, VALENCE, 0.5, 0.0),
        (PORT, SEPLOS, 0.5, 0.025),
        (REMOTE, SEPLOS, 0.8, 0.025),
    ],
)
def test_times_suit_the_family_and_the_port(
    url: str, family: str, answer: float, turnaround: float
) -> None:
    timing = make_timing(url, family)
    assert (timing.answer, timing.turnaround) == (answer, turnaround)
    given = make_timing(url, family, answer=1.5, turnaround=0.0)
    assert (given.answer, given.turnaround) == (1.5, 0.0)


async def test_a_bus_is_made_for_a_family() -> None:
    bus = make_bus(PORT, SEPLOS)
    assert bus.timing == make_timing(PORT, SEPLOS)
    assert not bus.mute
    patient = make_timing(PORT, VALENCE, answer=1.0)
    bus = make_bus(PORT, VALENCE, patient, mute=True)
    assert bus.timing is patient
    assert bus.mute


async def test_a_family_is_put_on_a_bus() -> None:
    bus = make_bus(PORT, SEPLOS)
    assert isinstance(make_family(bus, SEPLOS), Seplos)
    bus = make_bus(PORT, VALENCE)
    family = make_family(bus, VALENCE, mode=LineMode.TWO_STOP_BITS, inverted=True)
    assert isinstance(family, Valence)
    assert family.mode is LineMode.TWO_STOP_BITS
    assert family.inverted


@pytest.mark.parametrize(
    ("text", "family", "addresses"),
    [
        (" ", SEPLOS, list(range(17))),
        ("", VALENCE, list(range(1, 56))),
        ("3, 1-2, 2", VALENCE, [1, 2, 3]),
        ("0", SEPLOS, [0]),
        ("127", SEPLOS, [127]),
        ("255", VALENCE, [255]),
    ],
)
def test_addresses_are_read(text: str, family: str, addresses: list[int]) -> None:
    assert parse_addresses(text, family) == addresses


@pytest.mark.parametrize("text", ["4-2", "1-", "-1", "a", "1,,2", "256", "1-999999999"])
@pytest.mark.parametrize("family", KINDS)
def test_other_addresses_are_refused(text: str, family: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        parse_addresses(text, family)


def test_each_family_has_addresses_of_its_own() -> None:
    with pytest.raises(ValueError, match=r"."):
        parse_addresses("0", VALENCE)
    with pytest.raises(ValueError, match="128"):
        parse_addresses("128", SEPLOS)
