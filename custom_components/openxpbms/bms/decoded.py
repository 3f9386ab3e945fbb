"""What went over the wire, in words and values."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from . import seplos_tables, valence
from .counters import TracedFrame, joined
from .frame import (
    READ_COILS,
    READ_HOLDING,
    READ_INPUT,
    WRITE_COILS,
    WRITE_FUNCTIONS,
    Frame,
    Refusal,
    Reply,
    Request,
    Write,
    find_frames,
)
from .parameters import PARAMETERS
from .reading import Identity
from .registers import Block, decode

# What the blocks of the families hold, by function, first register and count.
_VALENCE = {
    (READ_HOLDING, block): words
    for block, words in (
        (valence.MODEL, "model and revision"),
        (valence.SUMMARY, "serial number, state of charge, current and voltage"),
        (valence.VOLTAGES, "cell voltages"),
        (valence.TEMPERATURES, "temperatures"),
        (valence.STATUS, "status"),
        (valence.EVENTS, "finer state of charge and counts of events"),
        (valence.EXTREMES, "lowest and highest values ever"),
        (valence.CYCLES, "cycles"),
        (valence.ENERGY, "energy"),
        (valence.DURATIONS, "durations of events"),
    )
}
_SEPLOS = {
    (table.function, table.block): words
    for table, words in (
        (seplos_tables.PIA, "values of the pack"),
        (seplos_tables.PIA_SHORT, "values of the pack"),
        (seplos_tables.PIB, "cell voltages and temperatures"),
        (seplos_tables.PIC, "states and alarms"),
        (seplos_tables.COUNTS, "numbers of sensors and cells"),
        (seplos_tables.SPA, "parameters"),
        (seplos_tables.SFA, "functions"),
        (seplos_tables.CLOCK, "clock"),
        (seplos_tables.VIA, "maker, model and serial numbers"),
    )
}
_WORDS: Mapping[str, Mapping[tuple[int, Block], str]] = {
    "valence": _VALENCE,
    "seplos": _SEPLOS,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Decoded:
    """A frame, or bytes that make none: when (Unix time), which way, and what it says.

    `direction` is "sent", "received" (an answer to what was sent) or "heard". `values`
    are in the units of a Reading, registers that are not understood are not among them.
    `address` is None where nobody in particular is meant or heard.
    """

    time: float
    direction: str
    says: str
    data: bytes
    line: str
    address: int | None = None
    values: Mapping[str, Any] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        """Return it as a monitor tells it."""
        return {
            "time": datetime.fromtimestamp(self.time, UTC).isoformat(),
            "direction": self.direction,
            "address": self.address,
            "says": self.says,
            "values": dict(self.values),
            "line": self.line,
            "data": self.data.hex(" "),
        }


class Decoder:
    """Understands the frames of one bus in their order, since answers need questions.

    The family is "valence" or "seplos"; `batteries` tell how serial numbers are made.
    """

    def __init__(self, family: str, batteries: Iterable[Identity] = ()) -> None:
        """Begin with nothing asked."""
        self._words = _WORDS[family]
        self._valence = family == "valence"
        self._terminator = valence.TERMINATOR if self._valence else b""
        self._revisions = {b.address: b.revision or 2 for b in batteries}
        self._asked: Request | None = None
        self._sent = b""

    def frames(self, trace: Iterable[TracedFrame]) -> Iterator[Decoded]:
        """Yield what a trace tells; bytes that were only heard may come in pieces."""
        for run in joined(trace):
            data, first = b"".join(frame.data for frame in run), run[0]
            ends = _ends(run)
            for piece, start, frame in self._pieces(data):
                said_in = next(
                    f for f, end in zip(run, ends, strict=True) if start < end
                )
                yield self._decoded(said_in, piece, frame)
            if first.direction == "sent":
                self._sent = data

    def _pieces(self, data: bytes) -> Iterator[tuple[bytes, int, Frame | None]]:
        """Yield frames and what stands between them, with where they begin."""
        if self._valence and data == valence.WAKE:
            yield data, 0, None
            return
        at = 0
        for found in find_frames(data, self._terminator):
            if found.start > at:
                yield data[at : found.start], at, None
            yield data[found.start : found.end], found.start, found.frame
            at = found.end
        if at < len(data):
            yield data[at:], at, None

    def _decoded(
        self, traced: TracedFrame, data: bytes, frame: Frame | None
    ) -> Decoded:
        direction = "heard" if traced.direction == "stray" else traced.direction
        values: dict[str, Any] = {}
        if direction == "heard" and data == self._sent:
            says, self._sent = "the echo of what was sent", b""
        elif frame is None:
            waking = self._valence and data == valence.WAKE
            says = "wakes all modules" if waking else "no valid frame"
        else:
            says, values = self._said(frame)
        return Decoded(
            time=traced.time,
            direction=direction,
            says=says,
            data=data,
            line=traced.line,
            address=None if frame is None else frame.address,
            values=values,
        )

    def _said(self, frame: Frame) -> tuple[str, dict[str, Any]]:
        if isinstance(frame, Refusal):
            return f"refuses with exception {frame.code}", {}
        if isinstance(frame, Write):
            return _written(frame), {}
        if isinstance(frame, Request):
            if frame.function in WRITE_FUNCTIONS:
                return (
                    f"writes 0x{frame.count:04X} into 0x{frame.register:04X}",
                    {},
                )
            self._asked = frame
            return f"asks for {self._what(frame)}", {}
        return self._told(frame)

    def _what(self, request: Request) -> str:
        """Return what a question is about."""
        block = Block(request.register, request.count)
        if words := self._words.get((request.function, block)):
            return words
        kind = "coils" if request.function in (1, 2) else "registers"
        return f"{request.count} {kind} from 0x{request.register:04X}"

    def _told(self, reply: Reply) -> tuple[str, dict[str, Any]]:
        if reply.function > READ_INPUT:
            register = int.from_bytes(reply.data[:2], "big")
            return f"acknowledges a write at 0x{register:04X}", {}
        request = self._question(reply)
        if request is None:
            return f"tells {len(reply.data)} bytes, nobody knows of what", {}
        return f"tells {self._what(request)}", self._values(request, reply)

    def _question(self, reply: Reply) -> Request | None:
        """Return what a reply answers: the question before it, else the one it fits."""
        asked, self._asked = self._asked, None
        if asked is not None and asked.shape == reply.shape:
            return asked
        for function, block in self._words:
            known = Request(reply.address, function, block.register, block.count)
            # Another table of packs is as long.
            pib = block == seplos_tables.PIB.block
            if known.shape == reply.shape and not (
                pib and not seplos_tables.is_pib(reply.data)
            ):
                return known
        return None

    def _values(self, request: Request, reply: Reply) -> dict[str, Any]:
        block, data = Block(request.register, request.count), reply.data
        if reply.function == READ_COILS and not self._valence:
            return _coils(block, data)
        if reply.function != (READ_HOLDING if self._valence else READ_INPUT):
            return {}
        if self._valence:
            fields = valence.FIELDS + valence.HISTORY_FIELDS
            values: dict[str, Any] = dict(decode(fields, block, data))
            if "serial" in values:
                revision = self._revisions.get(reply.address, 2)
                values["serial"] = valence.serial_number(values["serial"], revision)
            return values
        if block == seplos_tables.SPA.block:
            return dict(decode(PARAMETERS, block, data))
        return dict(decode(seplos_tables.FIELDS, block, data))


def _coils(block: Block, data: bytes) -> dict[str, Any]:
    if block == seplos_tables.SFA.block:
        return dict(seplos_tables.functions(data))
    if block != seplos_tables.PIC.block:
        return {}
    values = seplos_tables.coil_values(data)
    del values["coils"]
    values["alarms"] = tuple(
        alarm.name if alarm.number is None else f"{alarm.name} {alarm.number}"
        for alarm in values["alarms"]
    )
    return values


def _written(write: Write) -> str:
    size = len(write.data)
    coils = write.function == WRITE_COILS
    what = f"{size} bytes of coils" if coils else f"{size // 2} registers"
    return f"writes {what} from 0x{write.register:04X}"


def _ends(run: Iterable[TracedFrame]) -> list[int]:
    ends, at = [], 0
    for frame in run:
        at += len(frame.data)
        ends.append(at)
    return ends
