"""Downloads that somebody edited: refused by name, or replayed without a hitch."""

from __future__ import annotations

from datetime import UTC, datetime
import json
import random
from typing import Any

from hypothesis import strategies as st

from custom_components.openxpbms.bms.virtual import Answer, Settings
from custom_components.openxpbms.bms.virtual.replay import Replay, read_download

from .inputs import examine, fuzz
from .streams import CRLF, WHOLE, frame
from .test_kept import damaged

PARSER = "downloads"
LINES = ("115200 8M1", "9600 8M1", "19200 8N1", "None")
SETTINGS = Settings(19200, 10, ninth_bit=False)


def a_download(chance: random.Random) -> dict[str, Any]:
    """Return a download of a few frames."""
    family = chance.choice(("valence", "seplos"))
    terminator = CRLF if family == "valence" else b""
    now, frames = 1_800_000_000.0, []
    for _ in range(chance.randint(0, 5)):
        now += chance.choice((0.0, 0.01, 0.3, 5.0))
        data = frame(chance.choice(WHOLE), chance, terminator).data
        frames.append(
            {
                "time": datetime.fromtimestamp(now, UTC).isoformat(),
                "direction": chance.choice(("sent", "received", "stray")),
                "line": chance.choice(LINES),
                "data": data.hex(" "),
            }
        )
    identity = {"address": 1, "serial": None, "model": "", "model_code": ""}
    data = {
        "entry": {"family": family, "device": "/dev/ttyUSB0"},
        "options": {},
        "timing": {"answer": 0.12},
        "asks": chance.random() < 0.5,
        "frames": frames,
        "batteries": [{"identity": identity, "reading": {"soc": 50.0}}],
    }
    return chance.choice(({"data": data, "home_assistant": {}}, data))


def play(download: Any) -> None:
    """Replay a download, twice, if it is one."""
    try:
        recording = read_download(download)
    except ValueError:
        return
    replay = Replay(recording)
    assert replay.interval > 0
    asked = [frame.data for frame in recording.frames if frame.direction == "sent"]
    for data in asked * 2 + [b"", b"\1\3"]:
        answer = replay.hear(data, SETTINGS, 0.0, lenient=False)
        if isinstance(answer, Answer):
            assert data in replay.requests
            assert answer.delay >= 0
            assert answer.data
    assert sum(len(said.data) for said in replay.speak(0.0)) <= sum(
        len(frame.data) for frame in recording.frames
    )
    assert all(said.delay >= 0 for said in replay.speak(0.0))


def test_downloads() -> None:
    def check(chance: random.Random, times: int) -> None:
        good = a_download(chance)
        read_download(good)
        play(good)
        play(damaged(chance, good, times))

    fuzz(PARSER, check, st.integers(1, 4))


def test_any_json() -> None:
    plain = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text())
    anything = st.recursive(
        plain,
        lambda some: st.one_of(
            st.lists(some, max_size=3), st.dictionaries(st.text(), some, max_size=3)
        ),
        max_leaves=9,
    )
    examine(PARSER, play, anything)
    examine(PARSER, lambda text: play(_json(text)), st.text(max_size=40))


def _json(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return None
