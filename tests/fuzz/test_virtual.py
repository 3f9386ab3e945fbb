"""Virtual batteries that hear anything: they answer what is whole, and that alone."""

from __future__ import annotations

import random

from hypothesis import strategies as st

from custom_components.openxpbms.bms.parameters import BY_REGISTER
from custom_components.openxpbms.bms.virtual import (
    Answer,
    Settings,
    VirtualBank,
    VirtualModule,
    VirtualPack,
)
from custom_components.openxpbms.bms.virtual.device import Device
from custom_components.openxpbms.bms.virtual.seplos import LINE, SPA, WriteFault
from custom_components.openxpbms.bms.virtual.valence import (
    READ_BAUDRATE,
    TERMINATOR,
    WAKE,
    WAKE_BAUDRATE,
)

from .inputs import fuzz
from .streams import (
    BROKEN,
    CRLF,
    REGISTERS,
    WHOLE,
    broken,
    frame,
    framed,
    is_frame,
    pieces,
)

PARSER = "virtual batteries"
FAST = Settings(READ_BAUDRATE, 11, ninth_bit=True)
SLOW = Settings(WAKE_BAUDRATE, 11, ninth_bit=True)
WRONG = Settings(0, 10, ninth_bit=False)
# The longest that a device waits for before it calls it no frame.
LONGEST = 9 + 255
# Registers that are written, and others.
WRITABLE = (*REGISTERS, 0x1302, 0x1306, 0x1310, 0x1332, 0x1358, 0x1510)
# What a device complains of, at most.
COMPLAINTS = 100
kinds = st.lists(
    st.sampled_from((*BROKEN, *WHOLE, "own", "own", "odd write", "odd write", "wake")),
    max_size=4,
)


def talk(
    device: Device,
    chance: random.Random,
    kinds: list[str],
    settings: tuple[Settings, ...],
    terminator: bytes,
    registers: tuple[int, ...],
) -> None:
    """Let a device hear such things, as a line does."""
    lenient = chance.random() < 0.2
    burst, now = b"", 0.0
    for kind in kinds:
        if kind == "wake":
            data = WAKE + chance.choice((b"", b"\0\0"))
        elif kind in WHOLE:
            data = frame(kind, chance, terminator).data
        elif kind in BROKEN:
            data = broken(kind, chance, terminator)
        else:
            data = own(kind, chance, terminator, registers)
        for piece in pieces(chance, data):
            burst += piece
            now += 0.001
            with_these = chance.choice(settings)
            answer = device.hear(burst, with_these, now, lenient=lenient)
            if isinstance(answer, Answer):
                asked = burst.lstrip(b"\0") if terminator else burst
                assert is_whole(asked, terminator)
                assert is_whole(answer.data, terminator)
                assert answer.delay >= 0
                if answer.data[1] == 16:  # as much was written as was said
                    size = 2 * int.from_bytes(asked[4:6], "big")
                    assert asked[6] == size == len(asked) - 9
            if answer:
                burst = b""
        assert len(burst) <= LONGEST
        if chance.random() < 0.5:  # a pause
            burst, now = b"", now + chance.choice((0.1, 50.0))
    assert len(device.complaints) <= COMPLAINTS


def is_whole(data: bytes, terminator: bytes) -> bool:
    """Whether CRC and terminator stand behind the rest; it may be refused yet."""
    body = data[: len(data) - 2 - len(terminator)]
    return len(body) >= 3 and data == framed(body, terminator)


def own(
    kind: str, chance: random.Random, terminator: bytes, registers: tuple[int, ...]
) -> bytes:
    """Return a question to the device; an odd write has more or less than it says."""
    first = (chance.choice(registers) + chance.choice((0, 0, 1, 50))) & 0xFFFF
    count = chance.choice((0, 1, 1, 2, 18, 60, 0xFFFF, chance.randrange(200)))
    head = first.to_bytes(2, "big") + count.to_bytes(2, "big")
    if kind == "odd write":
        content = chance.randbytes(chance.choice((0, 1, 2, 3, 4, 20)))
        size = chance.choice((len(content), 2 * count & 0xFF))
        body = b"\1\x10" + head + bytes((size,)) + content
        return framed(body, terminator)
    function = chance.choice((1, 3, 4, 4, chance.randrange(128)))
    return framed(bytes((1, function)) + head, terminator)


def test_modules() -> None:
    registers = (0x00, 0x12, 0x1E, 0x21, 0x39, 0x45, 0x50, 0x6A, 0x82, 0xE0, 0xF5)

    def check(chance: random.Random, drawn: list[str]) -> None:
        module = VirtualModule(1, revision=chance.choice((1, 2)), wake_time=0.0)
        assert module.hear(WAKE, SLOW, 0.0, lenient=False)
        settings = (FAST, FAST, FAST, SLOW, WRONG)
        talk(module, chance, drawn, settings, TERMINATOR, registers)

    fuzz(PARSER, check, kinds, share=0.4)


def test_packs() -> None:
    def check(chance: random.Random, drawn: list[str]) -> None:
        pack = VirtualPack(
            1,
            short_pia=chance.random() < 0.2,
            write_fault=chance.choice((None, None, None, *WriteFault)),
        )
        before = dict(pack.parameters)
        talk(pack, chance, drawn, (LINE, LINE, LINE, FAST), b"", WRITABLE)
        assert pack.parameters.keys() == before.keys()
        for register, word in pack.parameters.items():
            assert 0 <= word <= 0xFFFF or word == before[register]
            if word != before[register]:
                assert register >= SPA
                assert BY_REGISTER[register].writable

    fuzz(PARSER, check, kinds, share=0.5)


def test_a_bank() -> None:
    def check(chance: random.Random, drawn: list[str]) -> None:
        packs = [VirtualPack() for _ in range(chance.randint(2, 3))]
        bank = VirtualBank(packs)
        talk(bank, chance, drawn, (LINE, WRONG), CRLF, REGISTERS)
        for answer in bank.speak(0.0):
            assert is_frame(answer.data, b"")

    fuzz(PARSER, check, kinds, share=0.1)
