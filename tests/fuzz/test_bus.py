"""Whatever comes in on a bus unasked: who talks there, and what a bank's packs tell."""

from __future__ import annotations

from collections.abc import Callable
import random
from typing import Any

from hypothesis import strategies as st

from custom_components.openxpbms.bms.bank import TOGETHER, Bank, HeardPack
from custom_components.openxpbms.bms.bus import MOST_BYTES, Bus
from custom_components.openxpbms.bms.counters import KEPT_FRAMES, STRAY_LENGTH
from custom_components.openxpbms.bms.foreign import EPISODES, ForeignWatch
from custom_components.openxpbms.bms.frame import Reply, Request, find_frames
from custom_components.openxpbms.bms.listening import Listening
from custom_components.openxpbms.bms.reading import Identity, Reading
from custom_components.openxpbms.bms.rounds import Battery

from .inputs import fuzz
from .streams import (
    BROKEN,
    CRLF,
    Stream,
    apart,
    broken,
    framed,
    pieces,
    places,
    stream,
    structures,
)

# What a watch keeps for frames that are not whole yet: the longest and a margin.
MOST_KEPT = 300


class Clock:
    """Time that is set."""

    def __init__(self) -> None:
        """Begin somewhere."""
        self.now = 5000.0

    def __call__(self) -> float:
        """Return it."""
        return self.now


def check_watch(chance: random.Random, data: Stream, terminator: bytes) -> None:
    """Feed a watch piece by piece."""
    clock = Clock()
    watch = ForeignWatch(terminator, clock)
    valid = places(data.data, terminator)
    found, fed, counted = [], 0, 0
    for piece in pieces(chance, data.data):
        if chance.random() < 0.2:
            request = Request(1, 3, 0x39, chance.randint(1, 60), terminator)
            watch.asked(request)
        base = fed - len(watch._buffer)
        fed += len(piece)
        for item in watch.feed(piece):
            found.append((base + item.start, base + item.end))
            counted += item.end - item.start
        clock.now += chance.choice((0.0, 0.01, 6.0, 100.0))
        assert len(watch._buffer) <= MOST_KEPT
        assert counted + watch.unread_bytes + len(watch._buffer) == fed
        assert len(watch._episodes) <= EPISODES
        assert len(watch._asked) <= 60
        assert isinstance(watch.silent, bool)
    assert set(found) <= set(valid)
    assert apart(found)
    # Cut anywhere, the frames are the same.
    if apart(valid):
        assert found == valid
    assert watch.frames == len(found) >= watch.foreign_frames
    watch.forget()
    assert not watch._buffer


def test_the_watch_hears_the_same_however_it_is_cut() -> None:
    def check(chance: random.Random, drawn: tuple[bytes, list[str]]) -> None:
        terminator, kinds = drawn
        check_watch(chance, stream(chance, terminator, kinds), terminator)

    fuzz("watch", check, structures)


def test_a_bus_keeps_little_of_what_it_cannot_use() -> None:
    def check(chance: random.Random, drawn: tuple[bytes, list[str]]) -> None:
        terminator, kinds = drawn
        bus = Bus("nowhere", terminator=terminator)
        heard: list[Any] = []
        bus.on_heard = heard.append
        if chance.random() < 0.3:
            bus._waiting = Request(1, 3, 0x39, 10, terminator)
        for _ in range(chance.choice((1, 1, 1, 1, 30))):
            bus._received(stream(chance, terminator, kinds).data)
        if chance.random() < 0.005:
            bus._received(chance.randbytes(30_000))
        assert len(bus._buffer) <= MOST_BYTES
        kept = list(bus.trace)
        assert len(kept) <= KEPT_FRAMES
        assert all(len(frame.data) <= STRAY_LENGTH for frame in kept)
        assert len(heard) == bus.watch.frames
        assert len(bus.batteries) <= 256

    fuzz("watch", check, structures, share=0.1)


# A bank


def word(value: int) -> bytes:
    """Return a register."""
    return (value & 0xFFFF).to_bytes(2, "big")


# With those at and just behind the ends of what is believed.
CELLS = [word(value) for value in (0, 3299, 3300, 3301, 6000, 6001)]
DEGREES = [word(value) for value in (2331, 2731, 2981, 2982, 4031, 4032)]


def pia(chance: random.Random, size: int = 36) -> bytes:
    """Return a pack's figures, of which some make sense."""
    mean = chance.choice((0, 1, 3300, 3300, 3300, 3650, 0xFFFF))
    cells = chance.choice((1, 8, 16, 16, 16, 17))
    data = word(round(mean * cells / 10)) + chance.randbytes(14) + word(mean)
    return (data + chance.randbytes(size))[:size]


def pib(chance: random.Random) -> bytes:
    """Return the same of its cells."""
    if chance.random() < 0.2:
        return chance.randbytes(52)
    return b"".join(chance.choices(CELLS, k=16) + chance.choices(DEGREES, k=10))


TABLES: dict[str, tuple[int, int, int, Callable[[random.Random], bytes]]] = {
    "pia": (4, 0x1000, 18, pia),
    "short": (4, 0x1000, 17, lambda chance: pia(chance, 34)),
    "pib": (4, 0x1100, 26, pib),
    "pic": (1, 0x1200, 144, lambda chance: chance.randbytes(18)),
}
# Function and byte count of a reply.
KINDS = {(4, 36): "pia", (4, 34): "pia", (4, 52): "pib", (1, 18): "pic"}
# What a master does: it polls, it tells, or something goes wrong.
ROUND = ("pia", "pib", "pic")
banks = st.lists(
    st.one_of(
        st.sampled_from((ROUND, ("short", "pib", "pic"), ("pib", "pia", "pic"))),
        st.tuples(st.sampled_from((*TABLES, *BROKEN))),
    ),
    min_size=1,
    max_size=3,
)


def bank_stream(chance: random.Random, parts: list[tuple[str, ...]]) -> list[bytes]:
    """Return what goes over the line, frame by frame."""
    frames = []
    for part in parts:
        address = chance.choice((1, 2, 2, 3, 17))
        asked = chance.random() < 0.6
        for name in part:
            if name not in TABLES:
                frames.append(broken(name, chance, b""))
                continue
            function, register, count, make = TABLES[name]
            head = bytes((address, function))
            if asked:
                frames.append(framed(head + word(register) + word(count), b""))
            data = make(chance)
            reply = framed(head + bytes((len(data),)) + data, b"")
            if chance.random() < 0.05:
                at = chance.randrange(len(reply))
                reply = reply[:at] + reply[at + 1 :]
            frames.append(reply)
    return frames


def told(data: bytes) -> dict[tuple[int, str], set[Any]]:
    """Return what was told in whole replies, by address and table."""
    tables: dict[tuple[int, str], set[Any]] = {}
    for start, end in places(data, b""):
        reply = data[start:end]
        kind = KINDS.get((reply[1], reply[2]))
        if kind:
            tables.setdefault((reply[0], kind), set()).add(_key(kind, reply[3:-2]))
    return tables


def _key(kind: str, data: bytes) -> Any:
    """Return what a Reading must repeat of a table."""
    words = [int.from_bytes(data[at : at + 2], "big") for at in range(0, len(data), 2)]
    if kind == "pia":
        return tuple(words[at] for at in (0, 5, 7, 8))
    return tuple(words[:16]) if kind == "pib" else data


def check_reading(pack: HeardPack, tables: dict[tuple[int, str], set[Any]]) -> None:
    """Look whether all of a Reading was told, in tables of the same pack."""
    values, address = pack.values, pack.identity.address
    first = (
        round(100 * values["voltage"]),
        round(10 * values["soc"]),
        values["cycles"],
        round(1000 * values["mean_cell_reported"]),
    )
    assert first in tables[address, "pia"]
    cells = tuple(round(1000 * volts) for volts in values["cell_voltages"])
    assert cells in tables[address, "pib"]
    assert values["coils"] in tables[address, "pic"]
    assert pack.reading is not None
    assert pack.reading.voltage == values["voltage"]
    assert pack.reading.cell_voltages == values["cell_voltages"][: pack.identity.cells]


def pack(address: int, cells: int | None = 16) -> Identity:
    """Return a pack that is known."""
    return Identity(
        address=address, serial=None, model="Seplos V3", model_code="", cells=cells
    )


def test_a_listened_bank_tells_only_what_was_told() -> None:
    def check(chance: random.Random, drawn: list[tuple[str, ...]]) -> None:
        data = b"".join(bank_stream(chance, drawn))
        tables = told(data)
        bus = Bus("nowhere", mute=True)
        listening = Listening(bus, [pack(2), pack(3, None)])
        readings = []

        def heard(battery: Battery, reading: Reading, at: float, *, part: bool) -> None:
            if not part:
                readings.append(reading)
                check_reading(listening.bank.packs[battery.identity.address], tables)

        listening.on_reading = heard
        for piece in pieces(chance, data):
            bus._received(piece)
        addresses = {address for address, _ in tables}
        assert {b.identity.address for b in listening.batteries} <= addresses | {2, 3}
        assert len(listening.bank.packs) <= len(addresses)
        assert len(listening.bank._parts) <= len(addresses)
        assert len(readings) <= data.count(b"\x01\x12")

    fuzz("listener", check, banks, share=0.7)


def test_tables_that_come_apart_in_time_make_no_reading() -> None:
    def check(chance: random.Random, drawn: list[tuple[str, ...]]) -> None:
        clock = Clock()
        bank = Bank([pack(2)], clock=clock, board=chance.choice((None, 100, 300)))
        came: dict[int, dict[str, float]] = {}

        def heard(pack: HeardPack) -> None:
            last = came[pack.identity.address]
            assert pack.read_at is not None
            assert clock.now - pack.read_at <= TOGETHER
            assert set(last) == {"pia", "pib", "pic"}
            assert clock.now - min(last.values()) <= TOGETHER

        bank.on_reading = heard
        for data in bank_stream(chance, drawn):
            clock.now += chance.choice((0.0, 0.05, 0.3, 0.6, 2.0))
            for item in find_frames(data, b""):
                if isinstance(item.frame, Reply):
                    key = item.frame.function, len(item.frame.data)
                    if key in KINDS:
                        last = came.setdefault(item.frame.address, {})
                        last[KINDS[key]] = clock.now
                bank.take(item.frame)

    fuzz("listener", check, banks, share=0.3)


def test_frames_of_the_other_family_are_none() -> None:
    def check(chance: random.Random, drawn: tuple[bytes, list[str]]) -> None:
        _, kinds = drawn
        check_watch(chance, stream(chance, b"", kinds), CRLF)

    fuzz("watch", check, structures, share=0.05)
