"""Serial numbers in any trace: gone, and the frames are still frames."""

from __future__ import annotations

import random

from hypothesis import strategies as st

from custom_components.openxpbms.bms.counters import Direction, TracedFrame
from custom_components.openxpbms.bms.disguise import Disguise
from custom_components.openxpbms.bms.frame import find_frames
from custom_components.openxpbms.bms.reading import Identity

from .inputs import fuzz
from .streams import CRLF, broken, framed

PARSER = "disguise"
DIRECTIONS: tuple[Direction, ...] = ("sent", "received", "stray", "stray")
kinds = st.lists(
    st.sampled_from(("told", "asked", "cut", "split", "noise", "bit")),
    min_size=1,
    max_size=4,
)


def module(chance: random.Random) -> tuple[Identity, bytes]:
    """Return a module and its serial number as it is on the wire."""
    revision = chance.choice((1, 2))
    if revision == 1:
        number = chance.randint(0x1111, 0xFFFE)
        serial, words = f"{number:05d}", number.to_bytes(2, "big") + b"\0\0"
    else:
        year, week = chance.randint(1, 63), chance.randint(1, 63)
        unit = chance.randint(0x1111, 0xFFFF)
        serial = f"{year:02d}{week:02d}{unit:05d}"
        words = (year << 6 | week).to_bytes(2, "big") + unit.to_bytes(2, "big")
    identity = Identity(
        address=chance.randint(1, 3),
        serial=serial,
        model="U27-12XP",
        model_code="7",
        revision=revision,
        cells=4,
    )
    return identity, words


def pack(chance: random.Random) -> tuple[Identity, bytes]:
    """Return a pack and its serial number as it is on the wire."""
    serial = f"SP{chance.randint(10, 99)}B-A{chance.randrange(10**10):010d}"
    identity = Identity(
        address=chance.randint(0, 3), serial=serial, model="S", model_code="", cells=16
    )
    return identity, serial.encode()


def reply(family: str, identity: Identity, told: bytes, chance: random.Random) -> bytes:
    """Return the frame in which a battery tells its serial number."""
    if family == "valence":
        head = bytes((identity.address, 3, 20))
        return framed(head + told + chance.randbytes(16), CRLF)
    head, factory = bytes((identity.address, 4, 102)), b"XZH-ElecTech Co.,Ltd"
    texts = factory + b"SG16S200A-SP57B-A".ljust(20, b"\0") + b"15"
    return framed(head + texts + told.ljust(30, b"\0") + bytes(30), b"")


def check(
    chance: random.Random, family: str, kinds: list[str], number: int = 2
) -> None:
    """Disguise a trace of such things."""
    terminator = CRLF if family == "valence" else b""
    make = module if family == "valence" else pack
    known = [make(chance) for _ in range(number)]
    identities = [identity for identity, _ in known]
    trace: list[TracedFrame] = []
    for kind in kinds:
        identity, told = chance.choice(known)
        frame = reply(family, identity, told, chance)
        direction = chance.choice(DIRECTIONS)
        parts = [frame]
        if kind == "asked":
            direction, parts = "sent", [chance.randbytes(8)]
        elif kind == "cut":
            parts = [frame[: chance.randrange(1, len(frame))]]
        elif kind == "split":
            at = chance.randrange(1, len(frame))
            direction, parts = "stray", [frame[:at], frame[at:]]
        elif kind == "bit":
            changed = bytearray(frame)
            changed[-1 - len(terminator)] ^= 1 << chance.randrange(8)
            parts = [bytes(changed)]
        elif kind == "noise":
            parts = [broken("noise", chance, terminator)]
        trace += [TracedFrame(1.0, direction, part, "") for part in parts]
    disguise = Disguise("entry", family)
    hidden = list(disguise.frames(trace, identities))
    before = b"".join(frame.data for frame in trace)
    after = b"".join(frame.data for frame in hidden)
    assert len(after) == len(before)
    # Frames that were whole are whole and stand where they stood, and at least these.
    for old, new in zip(_heard(trace), _heard(hidden), strict=True):
        places = {(i.start, i.end) for i in find_frames(new, terminator)}
        assert {(i.start, i.end) for i in find_frames(old, terminator)} <= places
    spoken = b"".join(f.data for f in hidden if f.direction != "sent")
    for identity, told in known:
        if family == "seplos" or identity.revision == 2:
            assert told not in spoken
        pseudonym = disguise.serial(identity)
        assert pseudonym is not None
        assert len(pseudonym) == len(identity.serial or "")
        assert pseudonym.isprintable()


def _heard(trace: list[TracedFrame]) -> list[bytes]:
    """Return what was heard, each time up to what was sent or received."""
    runs: list[bytes] = []
    last = None
    for frame in trace:
        if frame.direction == last == "stray":
            runs[-1] += frame.data
        else:
            runs.append(frame.data)
        last = frame.direction
    return runs


def test_modules() -> None:
    fuzz(
        PARSER, lambda chance, drawn: check(chance, "valence", drawn), kinds, share=0.5
    )


def test_packs() -> None:
    fuzz(PARSER, lambda chance, drawn: check(chance, "seplos", drawn), kinds, share=0.5)


def test_any_bytes() -> None:
    def anything(chance: random.Random, family: str) -> None:
        make = module if family == "valence" else pack
        trace = [
            TracedFrame(1.0, chance.choice(DIRECTIONS), chance.randbytes(size), "")
            for size in range(chance.randint(0, 3), 60, 20)
        ]
        hidden = Disguise("entry", family).frames(trace, [make(chance)[0]])
        assert sum(len(f.data) for f in hidden) == sum(len(f.data) for f in trace)

    fuzz(PARSER, anything, st.sampled_from(("valence", "seplos")), share=0.1)
