"""Writing into a Seplos V3 pack: one register at a time, looked at before and after.

Nothing else in this package can write. What may leave is a value that the rules let
through (parameter_rules.py), and four constants that switch the MOSFETs. The dossier
knows no capture of a parameter being written (3.2): silence, a silent clamp, and an
acknowledgement without an effect must all be expected. So a write is sent once and for
all, and what is in the pack afterwards is read, never assumed.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from enum import Enum, StrEnum
from typing import Any

from .bus import Bus, Held
from .errors import BusError, Refused, WrongBattery
from .frame import WriteRequest
from .parameter_errors import ParameterError
from .parameter_rules import Change, Pack, check, sane
from .parameter_values import decode_raw
from .parameters import BY_NAME, BY_REGISTER
from .reading import Identity, Reading
from .seplos import LINE, serial_of
from .seplos_tables import PIC, SPA, VIA, coil_values, decode_table

# Nobody else may have been heard for so long before a write, s.
QUIET = 60.0
# A new value may take a while to show: s before each look, and how many looks.
SETTLING = 0.3
LOOKS = 3
# What a pack counts by itself meanwhile: full and remaining capacity.
_COUNTERS = frozenset({0x1359, 0x135A})


class Outcome(StrEnum):
    """What a write came to, as far as anybody knows."""

    NOT_SENT = "not_sent"
    VERIFIED = "verified"
    UNCHANGED = "unchanged"
    DIFFERENT = "different"
    UNKNOWN = "unknown"


class Mosfet(Enum):
    """The four commands to MOSFETs: register, word, coil of PIC, what it then shows.

    Discharge off and on were captured, the others are only documented (dossier 2.6).
    """

    DISCHARGE_OFF = (0x1510, 0x55AA, "discharge_mosfet", False)
    DISCHARGE_ON = (0x1510, 0xAA55, "discharge_mosfet", True)
    CHARGE_OFF = (0x1511, 0x55AA, "charge_mosfet", False)
    CHARGE_ON = (0x1515, 0xAA55, "charge_mosfet", True)


_COMMANDS = frozenset((command.value[0], command.value[1]) for command in Mosfet)


class NotQuiet(BusError):
    """The line has not been watched for long enough, or another master was heard."""

    key = "not_quiet"


class Changed(BusError):
    """What a write was agreed for is not so any more."""

    key = "changed_meanwhile"


class NoSerial(BusError):
    """A pack that tells no serial number cannot be told from another one."""

    key = "no_serial"


class NoMaker(BusError):
    """A pack whose identity makes no sense: its tables may mean something else."""

    key = "no_maker"


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """What a person wants a parameter to be, in its own unit, and allows for it."""

    name: str
    value: float
    allow_large_step: bool = False
    allow_trip: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """What is known of a pack besides its parameters now.

    `factory` are its values at first contact, `reading` is its last.
    """

    factory: Mapping[str, float]
    reading: Reading | None = None


@dataclass(frozen=True, slots=True)
class Prepared:
    """A change that may be agreed to; `frame` is what would be sent."""

    serial: str
    wish: Wish
    change: Change
    frame: bytes


@dataclass(frozen=True, slots=True)
class Other:
    """Another parameter that changed at the same time."""

    name: str
    old: float
    new: float


@dataclass(frozen=True, slots=True)
class Result:
    """What came of a write.

    `seen` is the value that was read last, `acknowledged` whether the pack said so,
    `reason` why it was not sent or what the pack answered, `error` what kept it from
    being sent.
    """

    outcome: Outcome
    seen: float | None = None
    acknowledged: bool = False
    reason: str | None = None
    details: Mapping[str, str] | None = None
    others: tuple[Other, ...] = ()
    error: BusError | ParameterError | None = field(default=None, compare=False)


def write_request(address: int, register: int, word: int) -> WriteRequest:
    """Return the frame that writes a word, for what may be written at all.

    Raises RuntimeError for anything else: that is a mistake in this program.
    """
    parameter = BY_REGISTER.get(register)
    writable = parameter is not None and parameter.writable
    if not writable and (register, word) not in _COMMANDS:
        raise RuntimeError(f"register 0x{register:04X} is never written")
    return WriteRequest(address, register, word)


class Writer:
    """Writes into one pack."""

    def __init__(self, bus: Bus, identity: Identity) -> None:
        """Use the bus of a pack that is asked."""
        self._bus = bus
        self._identity = identity

    @property
    def _address(self) -> int:
        return self._identity.address

    async def values(self) -> dict[str, float]:
        """Read all parameters now. Raises a BusError."""
        async with self._bus.hold(LINE) as held:
            return decode_words(await self._words(held))

    async def pack(self, known: Known) -> Pack:
        """Read what the rules judge by, now. Raises a BusError."""
        return self._pack(known, await self.values())

    async def prepare(
        self, wish: Wish, known: Known, *, at_once: bool = False
    ) -> Prepared:
        """Look at a change without making it.

        `at_once` does without the listening first, which `write` never does. Raises a
        ParameterError where a rule forbids it, a BusError where the pack cannot be
        asked or may not.
        """
        if not at_once:
            self._must_be_quiet()
        async with self._bus.hold(LINE) as held:
            serial = await self._recognise(held)
            words = await self._words(held)
        change = self._check(wish, known, words)
        frame = self._request(change).encoded
        return Prepared(serial, wish, change, frame)

    async def write(
        self,
        prepared: Prepared,
        known: Known,
        *,
        before: Callable[[], Awaitable[None]],
    ) -> Result:
        """Make a change that was agreed to, and say what became of it.

        `before` is awaited right before the frame leaves. Whatever happens the pack is
        read afterwards and the frame is never sent again.
        """
        try:
            self._must_be_quiet()
            async with self._bus.hold(LINE) as held:
                words = await self._words_as_agreed(held, prepared, known)
                await before()
                answer = await _write(held, self._request(prepared.change))
                return await self._look(held, prepared, words, answer)
        except (BusError, ParameterError) as err:
            return _not_sent(err)

    async def look_again(self, change: Change) -> Result:
        """Read a parameter that was written before; says what is in the pack now."""
        async with self._bus.hold(LINE) as held:
            words = await self._words(held)
        return _result(change, words, words, _Answer())

    async def switch(self, command: Mosfet, *, at_once: bool = False) -> Result:
        """Switch a MOSFET once and read back what it does.

        `at_once` does without the listening first: for protection alone.
        """
        register, word, coil, wanted = command.value
        try:
            if not at_once:
                self._must_be_quiet()
            async with self._bus.hold(LINE) as held:
                await self._recognise(held)
                request = write_request(self._address, register, word)
                answer = await _write(held, request)
                for _ in range(LOOKS):
                    await asyncio.sleep(SETTLING)
                    shown = await self._coil(held, coil)
                    if shown is wanted:
                        return answer.result(Outcome.VERIFIED, float(wanted))
        except BusError as err:
            return _not_sent(err)
        if shown is None:
            return answer.result(Outcome.UNKNOWN)
        return answer.result(Outcome.UNCHANGED, float(shown))

    def _request(self, change: Change) -> WriteRequest:
        return write_request(self._address, change.register, change.new_raw)

    def _must_be_quiet(self) -> None:
        quiet = self._bus.quiet_for
        if quiet < QUIET:
            raise NotQuiet(
                f"the line has been watched for {quiet:.0f} of {QUIET:.0f} s",
                seconds=f"{max(1.0, QUIET - quiet):.0f}",
            )

    async def _recognise(self, held: Held) -> str:
        """Return the pack's serial number. Raises where it is not the known one."""
        address = str(self._address)
        reply = await held.exchange(VIA.request(self._address))
        told = decode_table(VIA, reply.data)
        serial = serial_of(told)
        if not told["factory"]:
            raise NoMaker(f"pack {address} does not tell its maker", address=address)
        if serial is None:
            raise NoSerial(f"pack {address} tells no serial number", address=address)
        if serial != self._identity.serial:
            raise WrongBattery(
                f"address {address} belongs to another battery now",
                address=address,
                other=serial,
            )
        return serial

    async def _words(self, held: Held) -> tuple[int, ...]:
        """Read SPA whole, raw."""
        reply = await held.exchange(
            SPA.request(self._address), others=[PIC.request(self._address)]
        )
        data = reply.data
        return tuple(
            int.from_bytes(data[at : at + 2], "big") for at in range(0, len(data), 2)
        )

    def _pack(self, known: Known, values: dict[str, float]) -> Pack:
        return Pack(
            cells=int(values["number_of_cells"]),
            board=self._identity.board,
            values=values,
            factory=known.factory or values,
            reading=known.reading,
        )

    def _check(self, wish: Wish, known: Known, words: tuple[int, ...]) -> Change:
        values = decode_words(words)
        sane(values)
        return check(
            wish.name,
            wish.value,
            self._pack(known, values),
            allow_large_step=wish.allow_large_step,
            allow_trip=wish.allow_trip,
        )

    async def _words_as_agreed(
        self,
        held: Held,
        prepared: Prepared,
        known: Known,
    ) -> tuple[int, ...]:
        """Return what is in the pack, if it is still what the change was agreed for."""
        change = prepared.change
        serial = await self._recognise(held)
        words = await self._words(held)
        if serial != prepared.serial or _word(words, change) != change.old_raw:
            raise Changed(
                f"{change.name} is not what it was when the change was prepared",
                parameter=change.name,
                value=f"{_value(words, change):g} {change.unit}".rstrip(),
            )
        self._check(prepared.wish, known, words)
        return words

    async def _look(
        self,
        held: Held,
        prepared: Prepared,
        before: tuple[int, ...],
        answer: _Answer,
    ) -> Result:
        """Read back until the new value shows, three times at most."""
        result = answer.result(Outcome.UNKNOWN)
        for _ in range(LOOKS):
            await asyncio.sleep(SETTLING)
            try:
                words = await self._words(held)
            except BusError:
                continue
            result = _result(prepared.change, before, words, answer)
            if result.outcome is Outcome.VERIFIED:
                break
        return result

    async def _coil(self, held: Held, name: str) -> bool | None:
        try:
            reply = await held.exchange(PIC.request(self._address))
        except BusError:
            return None
        shown: bool = coil_values(reply.data)[name]
        return shown


@dataclass(frozen=True, slots=True)
class _Answer:
    """How a pack answered a write."""

    acknowledged: bool = False
    reason: str | None = None
    details: Mapping[str, str] | None = None

    def result(
        self, outcome: Outcome, seen: float | None = None, **more: Any
    ) -> Result:
        """Return a result with this answer in it."""
        return Result(
            outcome,
            seen,
            acknowledged=self.acknowledged,
            reason=self.reason,
            details=self.details,
            **more,
        )


def _not_sent(err: BusError | ParameterError) -> Result:
    return Result(Outcome.NOT_SENT, reason=err.key, details=err.details, error=err)


async def _write(held: Held, request: WriteRequest) -> _Answer:
    """Send a write; raises where it was certainly not sent."""
    try:
        acknowledged = await held.write(request)
    except Refused as err:
        return _Answer(reason=err.key, details=err.details)
    return _Answer(acknowledged, None if acknowledged else "no_acknowledgement")


def _result(
    change: Change, before: tuple[int, ...], now: tuple[int, ...], answer: _Answer
) -> Result:
    raw = _word(now, change)
    if raw == change.new_raw:
        outcome = Outcome.VERIFIED
    elif raw == change.old_raw:
        outcome = Outcome.UNCHANGED
    else:
        outcome = Outcome.DIFFERENT
    if outcome is not Outcome.VERIFIED and answer.acknowledged:
        answer = _Answer(acknowledged=True, reason="not_kept")
    others = tuple(
        _other(register, was, is_now)
        for register, (was, is_now) in enumerate(
            zip(before, now, strict=True), SPA.block.register
        )
        if was != is_now and register not in {change.register, *_COUNTERS}
    )
    return answer.result(outcome, _value(now, change), others=others)


def _other(register: int, was: int, is_now: int) -> Other:
    field = BY_REGISTER[register].field
    return Other(field.name, decode_raw(field, was), decode_raw(field, is_now))


def decode_words(words: tuple[int, ...]) -> dict[str, float]:
    """Return all parameters by name, from SPA as it was read."""
    return {
        BY_REGISTER[register].name: decode_raw(BY_REGISTER[register].field, word)
        for register, word in enumerate(words, SPA.block.register)
    }


def _word(words: tuple[int, ...], change: Change) -> int:
    return words[change.register - SPA.block.register]


def _value(words: tuple[int, ...], change: Change) -> float:
    return decode_raw(BY_NAME[change.name].field, _word(words, change))
