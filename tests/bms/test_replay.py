"""Recordings out of diagnostics, replayed on a virtual line."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

import pytest

from custom_components.openxpbms.bms.bus import Bus
from custom_components.openxpbms.bms.counters import TracedFrame
from custom_components.openxpbms.bms.disguise import Disguise
from custom_components.openxpbms.bms.errors import (
    AnswerError,
    GarbledAnswer,
    NoAnswer,
)
from custom_components.openxpbms.bms.frame import Request
from custom_components.openxpbms.bms.reading import Identity, Reading
from custom_components.openxpbms.bms.rounds import Rounds
from custom_components.openxpbms.bms.seplos_tables import PIA, SPA
from custom_components.openxpbms.bms.valence import (
    CYCLES,
    STATUS,
    SUMMARY,
    VOLTAGES,
    WAKE,
    Valence,
    request,
)
from custom_components.openxpbms.bms.virtual import (
    Answer,
    Settings,
    VirtualBank,
    VirtualPack,
)
from custom_components.openxpbms.bms.virtual.replay import (
    Recording,
    Replay,
    read_download,
)

from .conftest import (
    MakeBus,
    MakeLine,
    MakeSeplos,
    MakeValence,
    identity,
    module,
    until,
)
from .seplos_data import CAPTURED, those

SERIALS = ("104400461", "104400462")
FAST = "115200 8M1"
SLOW = "19200 8N1"


def download(
    frames: Sequence[TracedFrame],
    family: str = "valence",
    *known: Identity,
    **more: Any,
) -> dict[str, Any]:
    """Return what Home Assistant would give to download."""
    hidden = Disguise("entry", family)
    data = {
        "entry": {"device": "/dev/ttyUSB0", "family": family, "line": "mark"},
        "options": {},
        "timing": {"answer": 0.12},
        "asks": True,
        "frames": [
            {
                "time": datetime.fromtimestamp(frame.time, UTC).isoformat(),
                "direction": frame.direction,
                "line": frame.line,
                "data": frame.data.hex(" "),
            }
            for frame in hidden.frames(frames, known)
        ],
        "batteries": [
            {"identity": asdict(i) | {"serial": hidden.serial(i)}, "reading": None}
            for i in known
        ],
    }
    return {"home_assistant": {"version": "2026.10.4"}, "data": data | more}


def sent(at: float, data: bytes, line: str = FAST) -> TracedFrame:
    """Return what we sent."""
    return TracedFrame(at, "sent", data, line)


def received(at: float, data: bytes, line: str = FAST) -> TracedFrame:
    """Return what answered us."""
    return TracedFrame(at, "received", data, line)


def stray(at: float, data: bytes, line: str = FAST) -> TracedFrame:
    """Return what was only heard."""
    return TracedFrame(at, "stray", data, line)


def replay(*frames: TracedFrame, **more: Any) -> Replay:
    """Return a device that replays these."""
    return Replay(read_download(download(frames, **more)))


def hear(device: Replay, data: bytes) -> Answer | bool:
    """Ask."""
    return device.hear(data, Settings(115200, 11, ninth_bit=True), 0.0, lenient=False)


ASK = [request(address, SUMMARY).encoded for address in range(1, 9)]
RARE = request(1, CYCLES).encoded


async def test_a_session_with_modules_gives_the_same_readings(
    make_line: MakeLine, make_bus: MakeBus, make_valence: MakeValence
) -> None:
    modules = [module(n, serial=serial) for n, serial in enumerate(SERIALS, 1)]
    known = [identity(each) for each in modules]
    family = await make_valence(await make_line(*modules))
    rounds = Rounds(family, known)
    first: list[Reading | None] = []
    for soc in (50.0, 51.0, 52.0):
        for each in modules:
            each.soc = soc + each.address / 10
        await rounds.round()
        first += [battery.reading for battery in rounds.batteries]
    assert None not in first
    recording = read_download(download(list(family.bus.trace), "valence", *known))
    hidden = [told.identity for told in recording.batteries]
    assert not {i.serial for i in hidden} & set(SERIALS)

    device = Replay(recording)
    line = await make_line(device)
    again = Rounds(await make_valence(line), hidden)
    second: list[Reading | None] = []
    for _ in range(3):
        await again.round()
        second += [battery.reading for battery in again.batteries]
    assert second == first
    assert not device.ended
    assert not line.complaints
    # Then it begins anew.
    await again.round()
    assert [battery.reading for battery in again.batteries] == first[:2]
    assert device.ended == {1, 2}


async def test_a_bank_is_heard_again(
    make_line: MakeLine, make_seplos: MakeSeplos
) -> None:
    bank = VirtualBank([VirtualPack(), VirtualPack()])
    family = await make_seplos(await make_line(bank), bus={"mute": True})
    await until(lambda: len(family.bank.packs) == 2)
    frames = list(family.bus.trace)
    await family.bus.close()
    recording = read_download(download(frames, "seplos", asks=False))
    assert not recording.asks
    device = Replay(recording)
    assert device.settings == Settings(19200, 10, ninth_bit=False)
    again = await make_seplos(
        await make_line(device, real_time=True), bus={"mute": True}
    )
    await until(lambda: len(again.bank.packs) == 2)
    for number, pack in again.bank.packs.items():
        assert pack.reading == family.bank.packs[number].reading
    await until(lambda: device.said > 0)


def test_answers_come_in_order_and_after_their_time() -> None:
    wire = Settings(115200, 11, ninth_bit=True).seconds
    frames = []
    for at, reply in enumerate((b"\1" * 10, b"\2" * 20, b"\3" * 30)):
        frames += [sent(at, ASK[0]), received(at + 0.05, reply)]
        frames += [sent(at + 0.5, ASK[1])]
    frames += [received(2.6, b"\4" * 4)]
    device = replay(*frames)
    for reply in (b"\1" * 10, b"\2" * 20, b"\3" * 30, b"\1" * 10):
        answer = hear(device, ASK[0])
        assert isinstance(answer, Answer)
        assert answer.data == reply
        assert answer.delay == pytest.approx(0.05 - wire(10 + len(reply)), abs=1e-5)
    assert device.ended == {1}
    # Nobody answered the other one, but for the last time.
    assert hear(device, ASK[1]) is True
    assert not device.silent
    assert device.requests == {ASK[0], ASK[1]}


def test_a_recording_may_begin_and_end_in_the_middle_of_a_round() -> None:
    blocks = [request(1, block).encoded for block in (SUMMARY, VOLTAGES, STATUS)]
    frames = [received(0.0, b"lost")]
    for at, ask in enumerate((*blocks[1:3], *blocks, *blocks[:2])):
        frames += [sent(at + 1, ask), received(at + 1.01, bytes((at, 0, 0)))]
    device = replay(*frames, sent(99.0, blocks[2]))
    came = [hear(device, ask) for ask in blocks]
    assert [a.data[0] for a in came if isinstance(a, Answer)] == [2, 3, 4]
    came = [hear(device, ask) for ask in blocks[:2]]
    assert [a.data[0] for a in came if isinstance(a, Answer)] == [5, 6]
    assert not device.ended
    # Other batteries have their own order.
    assert hear(device, ASK[5]) is True
    hear(device, blocks[2])
    assert device.ended == {1}


def test_what_was_asked_rarely_holds_up_nothing() -> None:
    frames = []
    for at in range(6):
        frames += [sent(at, ASK[0]), received(at + 0.1, bytes((at, 0, 0)))]
    frames += [sent(7, RARE), received(7.1, b"rare")]
    device = replay(*frames)
    for at in range(3):
        rare, often = hear(device, RARE), hear(device, ASK[0])
        assert isinstance(rare, Answer)
        assert rare.data == b"rare"
        assert isinstance(often, Answer)
        assert often.data[0] == at


def test_who_was_silent_at_last_stays_so() -> None:
    status = request(1, STATUS).encoded
    frames = [sent(0.0, RARE), received(0.1, b"rare")]
    for at in range(1, 5):
        frames += [sent(at, status), sent(at + 0.2, ASK[0])]
        if at < 4:
            frames += [received(at + 0.3, b"abc")]
    device = replay(*frames, sent(9.0, ASK[1]), sent(9.5, ASK[1]))
    # The first answers nothing at all, the other did not answer at last.
    assert device.silent == {1, 2}
    came = [hear(device, ASK[0]) for _ in range(5)]
    assert [isinstance(a, Answer) for a in came] == [True] * 3 + [False] * 2
    assert device.ended == {1}
    assert hear(device, RARE) is True
    assert not device.complaints
    assert replay(*frames[:-2]).silent == set()


def test_what_was_never_asked_is_complained_of() -> None:
    device = replay(sent(0.0, ASK[0]), received(0.1, b"abc"))
    assert hear(device, ASK[1][:6]) is False
    for _ in range(2):
        assert hear(device, ASK[1]) is True
    assert hear(device, b"\xff" + ASK[2]) is True
    assert hear(device, ASK[2] + b"\xff") is False
    assert hear(device, b"\1\3\2ab") is False
    assert device.complaints == [
        f"nothing was recorded for {ASK[1].hex(' ')}",
        f"nothing was recorded for ff {ASK[2].hex(' ')}",
    ]


def test_nobody_answers_a_wake_up() -> None:
    device = replay(sent(0.0, WAKE, "9600 8M1"), stray(0.1, b"\0"), sent(1.0, ASK[0]))
    assert hear(device, WAKE) is True
    assert not device.requests
    assert list(device.speak(0.0)) == [Answer(b"\0", 0.0)]


def test_echoes_and_noise_come_with_the_answer() -> None:
    device = replay(
        sent(0.0, ASK[0]),
        stray(0.02, ASK[0]),
        received(0.02, b"answer"),
        stray(0.03, b"behind"),
        sent(1.0, ASK[0]),
    )
    answer = hear(device, ASK[0])
    assert isinstance(answer, Answer)
    assert answer.data == ASK[0] + b"answerbehind"
    assert 0.015 < answer.delay < 0.02


@pytest.mark.parametrize(("at", "delay"), [(0.13, 0.0), (0.6, 0.5985)])
def test_garbled_answers_come_at_once_and_late_ones_late(
    at: float, delay: float
) -> None:
    device = replay(sent(0.0, ASK[0]), stray(at, b"garble"), sent(4.0, ASK[0]))
    answer = hear(device, ASK[0])
    assert isinstance(answer, Answer)
    assert (answer.data, answer.delay) == (b"garble", pytest.approx(delay, abs=1e-3))


def test_what_was_heard_unasked_is_said_at_its_time() -> None:
    device = replay(
        stray(0.0, b"a" * 192, SLOW),
        stray(0.1, b"b" * 192, SLOW),
        stray(1.0, b"c" * 192, SLOW),
        family="seplos",
        asks=False,
    )
    said = list(device.speak(0.0))
    assert [each.data[:1] for each in said] == [b"a", b"b", b"c"]
    # 192 bytes take 0.1 s.
    assert [each.delay for each in said] == pytest.approx([0.0, 0.0, 0.8], abs=1e-6)
    assert device.interval == pytest.approx(1.3)
    assert device.said == 0
    device.speak(0.0)
    assert device.said == 1


def test_a_recording_of_nothing() -> None:
    device = replay()
    assert list(device.speak(0.0)) == []
    assert list(device.speak(0.0)) == []
    assert (device.said, device.interval, device.requests) == (0, 1.0, set())


@pytest.mark.parametrize(
    ("line", "settings"),
    [
        ("115200 8M1", Settings(115200, 11, ninth_bit=True)),
        ("115200 8N2", Settings(115200, 11, ninth_bit=True)),
        ("19200 8N1", Settings(19200, 10, ninth_bit=False)),
        ("None", Settings(19200, 10, ninth_bit=False)),
    ],
)
def test_the_settings_of_what_is_said(line: str, settings: Settings) -> None:
    assert replay(stray(0.0, b"a", line)).settings == settings


async def test_silence_and_noise_are_replayed_as_such(
    make_line: MakeLine, make_valence: MakeValence
) -> None:
    device = replay(
        sent(0.0, ASK[0]),
        sent(1.0, ASK[1]),
        stray(1.12, b"\1\3\4noise"),
        sent(2.0, ASK[2]),
    )
    family: Valence = await make_valence(await make_line(device))
    with pytest.raises(NoAnswer):
        await ask(family.bus, request(1, SUMMARY), family)
    with pytest.raises(GarbledAnswer):
        await ask(family.bus, request(2, SUMMARY), family)
    assert not device.complaints
    with pytest.raises(AnswerError):
        await ask(family.bus, request(7, STATUS), family)
    assert device.complaints


async def ask(bus: Bus, asked: Request, family: Valence) -> None:
    """Ask a module."""
    await bus.exchange(asked, family.line)


def test_the_data_alone_will_do() -> None:
    whole = download([sent(0.0, ASK[0])], "valence", identity(module(3)))
    assert read_download(whole) == read_download(whole["data"])
    recording: Recording = read_download(whole)
    assert recording.family == "valence"
    assert recording.answer == 0.12
    [told] = recording.batteries
    assert (told.identity.address, told.reading) == (3, None)


def test_captured_frames_of_packs_keep_their_places() -> None:
    frames = []
    for at, item in enumerate(those("PIA", kinds=("reply",))):
        frames += [
            sent(at, PIA.request(item.address).encoded, SLOW),
            received(at + 0.2, item.data, SLOW),
        ]
    assert CAPTURED
    device = replay(*frames, family="seplos")
    for frame, reply in zip(frames[::2], frames[1::2], strict=True):
        answer = hear(device, frame.data)
        assert isinstance(answer, Answer)
        assert answer.data == reply.data
    hear(device, SPA.request(0).encoded)
    assert device.complaints


FRAME = {"time": "2026-11-21T10:00:00+00:00", "direction": "sent", "line": "x"}


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ([], "the file is no object"),
        ({"data": []}, "data is no object"),
        ({}, "entry is no object"),
        ({"entry": {}}, "no family of batteries is called None"),
        ({"entry": {"family": "lead"}}, "'lead'"),
        ({"entry": {"family": "seplos"}}, "frames are missing"),
        ({"frames": {}}, "frames is no list"),
        ({"frames": [1]}, "frame 0 makes no sense.*it is no object"),
        ({"frames": [FRAME]}, "frame 0 makes no sense.*data"),
        ({"frames": [FRAME | {"data": "0g"}]}, "frame 0 makes no sense"),
        ({"frames": [FRAME | {"data": "", "time": 1}]}, "frame 0 makes no sense"),
        ({"frames": [FRAME | {"data": "", "direction": "up"}]}, "frame 0.*up"),
        ({"frames": [], "batteries": 1}, "batteries is no list"),
        ({"frames": [], "batteries": [{}]}, "battery 0 makes no sense"),
        ({"frames": [], "timing": 1}, "timing is no object"),
        ({"frames": [], "timing": {"answer": None}}, "answer is no number"),
        ({"frames": [], "options": 1}, "options is no object"),
    ],
)
def test_a_file_that_is_no_download(wrong: Any, told: str) -> None:
    if isinstance(wrong, dict) and wrong and "data" not in wrong:
        wrong = {"entry": {"family": "valence"}} | wrong
    with pytest.raises(ValueError, match=told):
        read_download(wrong)
