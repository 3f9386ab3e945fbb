"""What can be told of a bus by opening it, listening, and asking the batteries."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence

from ..bus import Bus, Heard
from ..counters import Counters
from ..errors import (
    AnotherBattery,
    BusError,
    ForeignMaster,
    PortBusy,
    PortError,
    PortForbidden,
    PortMissing,
    PortUnreachable,
    UnsupportedLine,
)
from ..families import KINDS, SEPLOS, VALENCE, make_bus
from ..port import Line, changes_speed
from ..rounds import Battery
from ..seplos import LINE, Seplos
from ..valence import READ_BAUDRATE, WAKE_BAUDRATE, LineMode
from .exits import Exit, code_of
from .findings import Finding, Verdict, ok, problem, warning
from .link import SPARE_BYTES, Choice, Link, NothingFound, Progress, opened

# How long the line is listened to before anything is sent, s.
AT_REST = 5.0
# How long a bank is followed, s, and how often a look is taken.
_FOLLOWED = 5.0
_LOOK = 0.25
# Share of answers, %, as in the repairs of the integration.
_GOOD, _BAD = 95.0, 80.0

_OPENING: Mapping[type[BusError], str] = {
    PortMissing: "plug the adapter in, or name another port",
    PortForbidden: "ask for the group of the port, then log in anew",
    PortBusy: "end the program that has it open",
    PortUnreachable: "check its address, the network, and the bridge itself",
}
_ANOTHER_PORT = "try again; if it stays so, use another adapter"
_DISCONNECT = "disconnect the other master (inverter, U-BMS, a tool, a second program)"
_WIRING = (
    "check A and B, ground, 120 Ω at the far end, and that the cable does not run along"
    " an inverter's"
)
_NOTHING: Mapping[str, str] = {
    VALENCE: "swap A and B; 5 V on pin 5 and ground on pin 2 of the module's connector;"
    " addresses above 55 must be named with --addresses",
    SEPLOS: "swap A and B; use RS485-1, the middle socket; switch the pack on with its"
    " button; addresses above 16 must be named with --addresses",
}


async def bus_checks(
    choice: Choice, questions: int, progress: Progress
) -> AsyncIterator[Finding]:
    """Yield what is found on a port, until something makes the rest impossible."""
    try:
        async for finding in _mute_checks(choice, progress):
            yield finding
            if finding.verdict is Verdict.PROBLEM:
                return
    except PortError as err:
        advice = _OPENING.get(type(err), _ANOTHER_PORT)
        yield problem("open", str(err), advice, Exit.PORT)
        return
    buses: list[Bus] = []
    try:
        async with opened(choice, progress, lambda bus, _: buses.append(bus)) as link:
            await _read(link, questions, progress)
            for finding in (*_echo(buses), *_found(link)):
                yield finding
    except BusError as err:
        for finding in _echo(buses):
            yield finding
        yield _failed(err, choice, buses)


async def _mute_checks(choice: Choice, progress: Progress) -> AsyncIterator[Finding]:
    """Yield what is found without sending a byte. Raises a PortError."""
    bus = make_bus(choice.url, choice.family or SEPLOS, mute=True)
    # It understands what the packs of a bank say.
    packs = Seplos(bus).bank.packs
    try:
        await bus.open(LINE)
        yield ok("open", "it can be opened")
        yield await _line(bus, choice)
        line = LINE
        if choice.family == VALENCE:
            line = LineMode.MARK.line(READ_BAUDRATE)
            if not await _takes(bus, line):
                line = LineMode.TWO_STOP_BITS.line(READ_BAUDRATE)
        heard = await bus.listen(
            line, AT_REST, lambda share: progress("Listening", share)
        )
        yield _at_rest(heard, choice, sorted(packs))
    finally:
        await bus.close()


async def _takes(bus: Bus, line: Line) -> bool:
    """Whether a port takes some settings."""
    try:
        await bus.listen(line, 0.0)
    except UnsupportedLine:
        return False
    return True


async def _line(bus: Bus, choice: Choice) -> Finding:
    for_valence = choice.family == VALENCE
    if not changes_speed(choice.url):
        says = "it passes bytes only: nobody can change its speed from here"
        advice = "set the bridge itself to 19200 8N1 for Seplos packs"
        if choice.family != SEPLOS:
            advice += "; Valence modules need two speeds: reach it by rfc2217://"
        if for_valence:
            return problem("line", says, advice, Exit.PORT)
        return warning("line", says, advice)
    modes = [
        mode
        for mode in LineMode
        if await _takes(bus, mode.line(WAKE_BAUDRATE))
        and await _takes(bus, mode.line(READ_BAUDRATE))
    ]
    if choice.family == SEPLOS:
        return ok("line", "it takes 19200 8N1")
    if LineMode.MARK in modes:
        return ok("line", "it takes 19200 8N1, and mark parity at both other speeds")
    if modes:
        says = "it takes no mark parity, but two stop bits"
        return warning("line", says, "nothing, as long as all Valence modules answer")
    says = "it takes neither mark parity nor two stop bits, which Valence modules need"
    if for_valence:
        return problem("line", says, "use another adapter", Exit.PORT)
    return warning("line", says, "use another adapter for Valence modules")


def _at_rest(heard: Heard, choice: Choice, packs: Sequence[int]) -> Finding:
    if packs and choice.family != VALENCE:
        each = ", ".join(map(str, packs))
        return ok("at rest", f"a Seplos bank talks by itself, packs {each}")
    if heard.foreign:
        code = Exit.FOREIGN_MASTER
        return problem("at rest", "another master talks", _DISCONNECT, code)
    if heard.noise > SPARE_BYTES:
        says = f"{heard.noise} bytes came that make no frame"
        advice = f"{_WIRING}; or another master talks at another speed"
        return warning("at rest", says, advice)
    if choice.listen:
        advice = "a lone pack says nothing by itself: leave --listen out"
        return problem("at rest", "nothing was heard", advice, Exit.NO_BATTERY)
    return ok("at rest", f"quiet for {AT_REST:g} s")


async def _read(link: Link, questions: int, progress: Progress) -> None:
    """Read the batteries until each was asked often enough, or followed for a while."""
    rounds = round(_FOLLOWED / _LOOK) if link.listens else questions
    for done in range(rounds):
        progress("Reading what was found", done / rounds)
        await link.round()
        if link.listens:
            await asyncio.sleep(_LOOK)
        elif all(counters.exchanges >= questions for _, counters in _counted(link)):
            break


def _counted(link: Link) -> Iterator[tuple[Battery, Counters]]:
    for battery in link.batteries:
        yield battery, link.bus.counters_of(battery.identity.address)


def _echo(buses: Sequence[Bus]) -> Iterator[Finding]:
    """Yield whether the adapter hears itself, where anything was sent."""
    if any(bus.counters.echoes for bus in buses):
        yield ok("echo", "the adapter hears itself, which does no harm")
    elif any(bus.counters.exchanges for bus in buses):
        yield ok("echo", "the adapter does not hear itself")


def _found(link: Link) -> Iterator[Finding]:
    for address in link.result.garbled:
        says = f"something answered at address {address}, but garbled"
        advice = f"two batteries may have this address; else {_WIRING}"
        yield warning("batteries", says, advice)
    for battery, counters in _counted(link):
        yield _battery(battery, counters, listens=link.listens)
    serials = Counter(battery.identity.serial for battery in link.batteries)
    for serial, count in serials.items():
        if serial is not None and count > 1:
            says = f"{count} batteries tell the serial number {serial}"
            yield warning("batteries", says, "they are told apart by their addresses")


def _battery(battery: Battery, counters: Counters, *, listens: bool) -> Finding:
    check = f"battery {battery.identity.address}"
    who = [battery.identity.model, f"serial {battery.identity.serial or 'unknown'}"]
    if listens:
        says = ", ".join([*who, "heard" if battery.reading else "not heard any more"])
        if battery.reading is None:
            return problem(check, says, _WIRING, Exit.NO_BATTERY)
        return ok(check, says)
    says = ", ".join([*who, *_figures(counters)])
    quality = counters.quality or 0.0
    if isinstance(battery.error, AnotherBattery) or counters.second_answers:
        advice = "two batteries have this address: give one of them another"
        return problem(check, says, advice)
    if quality < _BAD or (battery.reading is None and battery.error is not None):
        return problem(check, says, _cause(counters), Exit.NO_BATTERY)
    if quality < _GOOD or counters.late or counters.doubtful:
        return warning(check, says, _cause(counters))
    return ok(check, says)


def _figures(counters: Counters) -> Iterator[str]:
    """Yield how well a battery answers, in words."""
    yield f"{counters.answers} of {counters.exchanges} questions answered"
    if counters.median_reply_time is not None and counters.slow_reply_time is not None:
        median, slow = counters.median_reply_time, counters.slow_reply_time
        yield f"{1000 * median:.0f} ms (95 %: {1000 * slow:.0f} ms)"
    for name, words in _WORDS.items():
        if count := getattr(counters, name):
            yield f"{count} {words}"


_WORDS: Mapping[str, str] = {
    "timeouts": "silent",
    "garbled": "garbled",
    "crc_errors": "with a wrong checksum",
    "wrong_battery": "answered by another battery",
    "refused": "refused",
    "late": "late",
    "second_answers": "answered twice",
    "doubtful": "not asked, as an older answer was still owed",
    "skipped_bytes": "bytes of no answer",
}


def _cause(counters: Counters) -> str:
    if counters.late or counters.doubtful:
        return "give it more time, such as --answer 1"
    if counters.garbled or counters.crc_errors or counters.skipped_bytes:
        return _WIRING
    return "look for a loose contact, and whether it is switched on"


def _failed(err: BusError, choice: Choice, buses: Sequence[Bus]) -> Finding:
    """Return why no battery could be asked."""
    if isinstance(err, NothingFound):
        came = sum(bus.counters.skipped_bytes for bus in buses)
        says = str(err).partition(". ")[0]
        says += f"; {came} bytes came back" if came else "; not one byte came back"
        families = [choice.family] if choice.family else list(_NOTHING)
        advice = ". ".join(f"{KINDS[name].name}: {_NOTHING[name]}" for name in families)
        return problem("batteries", says, advice, Exit.NO_BATTERY)
    advice = _OPENING.get(type(err), _ANOTHER_PORT)
    if isinstance(err, ForeignMaster):
        advice = _DISCONNECT
    elif not isinstance(err, PortError):
        advice = _WIRING
    return problem("batteries", str(err), advice, code_of(err))
