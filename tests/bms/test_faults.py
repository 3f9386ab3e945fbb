"""What befalls answers on a virtual line."""

from __future__ import annotations

import os
import random
from typing import Any

import pytest

from custom_components.openxpbms.bms.errors import AnswerError
from custom_components.openxpbms.bms.virtual import Answer, Faults

from .conftest import MakeLine, MakeValence, module

FRAME = bytes(range(57))
TIMES = 400


def befallen(**faults: Any) -> tuple[list[bytes], Faults]:
    """Return what becomes of many answers."""
    chance, befall = random.Random(7), Faults(**faults)
    return [befall.befall(FRAME, chance) for _ in range(TIMES)], befall


def test_nothing_befalls_an_answer_unasked() -> None:
    said, faults = befallen()
    assert set(said) == {FRAME}
    assert faults.injected == 0


@pytest.mark.parametrize("rate", [1e-4, 1e-3, 1e-2])
def test_bit_errors_come_as_often_as_told(rate: float) -> None:
    said, faults = befallen(bit_errors=rate)
    flipped = sum(
        (a ^ b).bit_count() for data in said for a, b in zip(data, FRAME, strict=True)
    )
    assert flipped == pytest.approx(TIMES * 8 * len(FRAME) * rate, rel=0.5)
    assert faults.injected == sum(data != FRAME for data in said)


def test_bytes_are_lost_and_inserted() -> None:
    shorter, lost = befallen(lost_bytes=0.02)
    assert all(len(data) <= len(FRAME) for data in shorter)
    assert sum(map(len, shorter)) < TIMES * len(FRAME)
    assert all(list(data) == sorted(data) for data in shorter)
    longer, inserted = befallen(inserted_bytes=0.02)
    assert all(len(data) >= len(FRAME) for data in longer)
    assert sum(map(len, longer)) > TIMES * len(FRAME)
    assert min(lost.injected, inserted.injected) > TIMES / 4


def test_a_burst_overwrites_and_keeps_the_length() -> None:
    said, faults = befallen(burst=1.0)
    assert {len(data) for data in said} == {len(FRAME)}
    assert faults.injected > 0.9 * TIMES


def test_noise_garbles() -> None:
    said, faults = befallen(noise=1.0)
    assert faults.injected > 0.95 * TIMES
    assert FRAME not in said[:1]


def test_a_truncated_answer_is_the_beginning_of_one() -> None:
    said, _ = befallen(truncated=1.0)
    assert all(len(data) < len(FRAME) and FRAME.startswith(data) for data in said)
    assert b"" in befallen(truncated=1.0, bit_errors=0.01)[0]


def test_a_duplicated_answer_comes_twice() -> None:
    said, faults = befallen(duplicated=0.5)
    assert set(said) == {FRAME, 2 * FRAME}
    assert faults.injected == said.count(2 * FRAME)


def test_an_answer_is_tampered_with() -> None:
    said, faults = befallen(tamper=lambda data: data[:3])
    assert set(said) == {FRAME[:3]}
    assert faults.injected == TIMES


def test_an_answer_that_is_taken_away_cannot_be_garbled() -> None:
    said, _ = befallen(tamper=lambda _: b"", noise=1.0, burst=1.0, truncated=1.0)
    assert set(said) == {b""}


def read(client: int) -> bytes:
    """Return what has come."""
    try:
        return os.read(client, 1000)
    except BlockingIOError:
        return b""


async def test_a_merged_answer_goes_with_the_next_one(make_line: MakeLine) -> None:
    line = await make_line(faults=Faults(merged=1.0))
    client = os.open(line.path, os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK)
    try:
        line._say(Answer(b"\x01\x02", 0.0), line._settings(), 0.0)
        assert read(client) == b""
        line.faults.merged = 0.0
        line._say(Answer(b"\x03", 0.0), line._settings(), 0.0)
        assert read(client) == b"\x01\x02\x03"
    finally:
        os.close(client)
    assert line.faults.injected == 1


async def test_two_that_answer_at_a_time_garble_each_other(
    make_line: MakeLine, make_valence: MakeValence
) -> None:
    twins = [module(1, serial=serial) for serial in ("104400461", "104400462")]
    line = await make_line(*twins, real_time=True)
    family = await make_valence(line)
    with pytest.raises(AnswerError):
        await family.identify(1)
    twins[1].silent = True
    assert (await family.identify(1)).serial == twins[0].serial
