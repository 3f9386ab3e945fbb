"""What becomes of ports: pulled, held, exchanged, behind a network, stuck."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from functools import partial
from itertools import chain
import os
from pathlib import Path
import sys
import tempfile
import time
from weakref import WeakKeyDictionary

from custom_components.openxpbms.bms.bus import Bus
from custom_components.openxpbms.bms.seplos import LINE
from custom_components.openxpbms.bms.virtual import Answer, Settings, VirtualLine

from .drill import drill
from .home import Home
from .remote import Kind, SerialServer
from .scenes import both, together
from .stage import Stage, modules, packs, stage
from .wire import Wire

# Most take too long for every run of the tests; these have one of each kind.
GROUP = "Ports"
REMOTE = "Ports behind a network"
KINDS: tuple[Kind, ...] = ("rfc2217", "socket")
WARMING = 3
_SERVERS: WeakKeyDictionary[Stage, Wire] = WeakKeyDictionary()


@asynccontextmanager
async def linked(home: Home) -> AsyncIterator[list[Stage]]:
    """Modules, and packs that are asked, at names as in /dev/serial/by-id."""
    with tempfile.TemporaryDirectory() as by_id:
        links = [Path(by_id) / name for name in ("modules", "packs")]
        async with together(
            partial(stage, home, *modules(3), later=True, link=links[0]),
            partial(stage, home, *packs(2), later=True, link=links[1]),
        ) as stages:
            yield stages


@asynccontextmanager
async def remote(home: Home) -> AsyncIterator[list[Stage]]:
    """Modules behind RFC 2217, packs and a bank that is heard behind raw TCP."""
    async with AsyncExitStack() as stack:
        by_id = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        links = [by_id / str(number) for number in range(3)]
        servers = [
            await stack.enter_async_context(
                Wire(SerialServer(kind, partial(str, link)))
            )
            for kind, link in zip((*KINDS, KINDS[-1]), links, strict=True)
        ]
        at = [{"later": True, "url": s.line.url} for s in servers]
        stages = await stack.enter_async_context(
            together(
                partial(stage, home, *modules(3), **at[0], link=links[0]),
                partial(stage, home, *packs(2), **at[1], link=links[1]),
                partial(
                    stage, home, *packs(3, first=1), bank=True, **at[2], link=links[2]
                ),
            )
        )
        _SERVERS.update(zip(stages, servers, strict=True))
        yield stages


type Fault = Callable[[Stage], Awaitable[None]]


async def befall(
    home: Home, times: int, fault: Fault, *, within: float | None = None
) -> None:
    """Let a fault befall all buses of the scene at a time, so many times."""
    for number in range(times):
        await strike(home, home.stages, fault, within=within)
        if number == min(WARMING, times) - 1:
            await home.warm()
    await home.compare()


async def befall_in_turn(home: Home, times: int, fault: Fault) -> None:
    """Let a fault befall one bus after the other, while the others go on."""
    for number in range(times):
        on = home.stages[number % len(home.stages)]
        others = [other for other in home.stages if other is not on]
        with sparing_all(others):
            await strike(home, [on], fault)
        if number == min(WARMING, times) - 1:
            await home.warm()
    await home.compare()


@contextmanager
def sparing_all(stages: list[Stage]) -> Iterator[None]:
    """Say that no battery of these buses has a fault: none of them may pause."""
    for on in stages:
        on.spared = {-1}
    try:
        yield
    finally:
        for on in stages:
            on.spared = set()


async def strike(
    home: Home, stages: list[Stage], fault: Fault, *, within: float | None = None
) -> None:
    """Let a fault befall buses, see them recover, and see that each told it once."""
    told = len(home.ears.errors)

    async def one(on: Stage) -> None:
        await fault(on)
        await on.recovers(within)

    await asyncio.gather(*(one(on) for on in stages))
    home.injected(len(stages))
    if len(home.ears.errors) - told > len(stages):
        stages[0].broken(f"told more than once: {home.ears.errors[told:]}"[:600])


# Adapters


async def pull(on: Stage) -> None:
    """Pull an adapter out, and wait until that was noticed."""
    await on.wire.do(on.line.unplug)
    await on.until(lambda: not on.coordinator.bus.is_open, 10, "noticed")


async def start_at(line: VirtualLine, path: str) -> None:
    """Start a line under a path that is free; the system gives the first that is."""
    for _ in range(5):  # others on this machine want paths, too
        fillers = []
        while True:
            fillers.append(os.openpty())
            if os.ttyname(fillers[-1][1]) == path or len(fillers) > 200:
                break
        for end in fillers.pop():
            os.close(end)
        await line.start()
        for end in chain(*fillers):
            os.close(end)
        if line.path == path:
            return
        await line.stop()
    raise AssertionError(f"{path} is not to be had")


@drill(
    group=GROUP,
    what="Adapter pulled and put back, the other buses going on",
    times=200,
    brief=2,
    scene=linked,
)
async def replugged(home: Home, times: int) -> None:
    async def fault(on: Stage) -> None:
        await pull(on)
        await on.wire.run(on.line.replug())

    await befall_in_turn(home, times, fault)


@drill(
    group=GROUP,
    what="Adapter pulled and put back under another path, its link following",
    times=50,
    brief=0,
    scene=linked,
)
async def replugged_elsewhere(home: Home, times: int) -> None:
    async def fault(on: Stage) -> None:
        before = on.line.path
        await pull(on)
        taken = VirtualLine([])
        await on.wire.run(start_at(taken, before))
        await on.stay(2)
        await on.wire.run(on.line.replug())
        assert on.line.path != before
        await on.recovers()
        await on.wire.run(taken.stop())

    await befall_in_turn(home, times, fault)


@drill(
    group=GROUP,
    what="The bare path of an adapter belongs to another one, then to the first again",
    times=20,
    brief=0,
    scene=both,
)
async def another_under_the_path(home: Home, times: int) -> None:
    async def fault(on: Stage) -> None:
        before = on.line.path
        await pull(on)
        taken = VirtualLine([])
        await on.wire.run(start_at(taken, before))
        await on.stay(3)
        await on.wire.run(taken.stop())
        await on.wire.run(start_at(on.line, before))

    await befall_in_turn(home, times, fault)


# Other programs


@asynccontextmanager
async def holding(path: Path | str) -> AsyncIterator[asyncio.subprocess.Process]:
    """Start a program that wants a port, and end it."""
    program = await asyncio.create_subprocess_exec(
        sys.executable,
        str(Path(__file__).with_name("holder.py")),
        str(path),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    try:
        yield program
    finally:
        if program.returncode is None:
            program.kill()
        await program.wait()


async def said(program: asyncio.subprocess.Process, what: bytes) -> None:
    """Wait until a program says something."""
    assert program.stdout is not None
    async with asyncio.timeout(30):
        while (line := await program.stdout.readline()).strip() != what:
            assert line, "the program ended"


async def let_go(program: asyncio.subprocess.Process) -> None:
    """Tell a program to let go of its port, and wait until it has."""
    assert program.stdin is not None
    program.stdin.write(b"\n")
    await said(program, b"free")


@drill(
    group=GROUP,
    what="After a replug another program has the port for 5 s",
    times=50,
    brief=1,
    scene=linked,
)
async def held_by_another_program(home: Home, times: int) -> None:
    async def fault(on: Stage) -> None:
        assert on.line.link is not None
        async with holding(on.line.link) as program:
            await pull(on)
            await on.wire.run(on.line.replug())
            await said(program, b"held")
            await on.stay(5)
            await let_go(program)

    await befall_in_turn(home, times, fault)


@drill(
    group=GROUP,
    what="Another program has the port when an entry is set up",
    times=7,
    brief=0,
)
async def held_before_the_start(home: Home, times: int) -> None:
    for number in range(min(times, 7)):
        with tempfile.TemporaryDirectory() as by_id:
            link = Path(by_id) / "adapter"
            async with (
                holding(link) as program,
                stage(home, *packs(2, 2 * number), link=link, later=True) as on,
            ):
                await said(program, b"held")
                await on.stay(3)
                await let_go(program)
                home.injected()
                await on.recovers()
                await on.ready()


# Other devices


@dataclass
class Stranger:
    """A device that is no battery: it says something now and then, and to anything."""

    settings: Settings
    speech: bytes
    answer: bytes
    interval: float = 1.0
    complaints: list[str] = field(default_factory=list)

    def hear(
        self, data: bytes, settings: Settings, now: float, *, lenient: bool
    ) -> Answer | bool:
        """Answer whatever comes."""
        return Answer(self.answer, 0.005) if self.answer else True

    def speak(self, now: float) -> Iterator[Answer]:
        """Say it again."""
        if self.speech:
            yield Answer(self.speech, 0.0)


STRANGERS = {
    "a GPS receiver": partial(
        Stranger,
        Settings(9600, 10, ninth_bit=False),
        b"$GPGGA,123519,4807.038,N,01131.000,E,1,08,0.9,545.4,M,46.9,M,,*47\r\n" * 4,
        b"",
        0.4,
    ),
    "a modem": partial(
        Stranger, Settings(115200, 10, ninth_bit=False), b"", b"\r\nERROR\r\n"
    ),
    "a Zigbee stick": partial(
        Stranger,
        Settings(115200, 10, ninth_bit=False),
        bytes.fromhex("1AC1020B0A527E"),
        bytes.fromhex("C20258D37E"),
    ),
}


@drill(
    group=GROUP,
    what="A GPS receiver, a modem or a Zigbee stick in the adapter's place for 10 s",
    times=30,
    brief=0,
    scene=linked,
)
async def strangers(home: Home, times: int) -> None:
    kinds = iter(list(STRANGERS.values()) * times)

    async def fault(on: Stage) -> None:
        await pull(on)
        other = VirtualLine([next(kinds)()], link=on.line.link, strict=False)
        await on.wire.run(other.start())
        await on.stay(10)
        await on.wire.run(other.stop())
        await on.wire.run(on.line.replug())

    await befall_in_turn(home, times, fault)


# A stuck line


@drill(
    group=GROUP,
    what="Line stuck low for 10 s: zeros without end",
    times=30,
    brief=0,
    scene=both,
)
async def stuck_low(home: Home, times: int) -> None:
    async def zeros(on: Stage) -> None:
        speed = on.line._settings()
        end = time.monotonic() + 10
        while time.monotonic() < end:
            on.line.inject(bytes(16))
            await asyncio.sleep(speed.seconds(16))

    async def fault(on: Stage) -> None:
        await on.wire.run(zeros(on))

    await befall(home, times, fault)


@drill(
    group=GROUP,
    what="Line open for 40 s: nothing at all",
    times=10,
    brief=0,
    scene=both,
)
async def stuck_open(home: Home, times: int) -> None:
    async def fault(on: Stage) -> None:
        on.faults.lost = 1.0
        await on.stay(40)
        on.faults.lost = 0.0

    await befall(home, times, fault)


# Connections


def server_of(on: Stage) -> tuple[Wire, SerialServer]:
    """Return the server of a bus, and where it runs."""
    wire = _SERVERS[on]
    return wire, wire.line


@drill(group=REMOTE, what="Connection ended (FIN)", times=100, brief=0, scene=remote)
async def connection_ended(home: Home, times: int) -> None:
    async def fault(on: Stage) -> None:
        wire, server = server_of(on)
        await wire.do(server.drop, at_once=False)

    await befall_in_turn(home, times, fault)


@drill(group=REMOTE, what="Connection reset (RST)", times=100, brief=1, scene=remote)
async def connection_reset(home: Home, times: int) -> None:
    async def fault(on: Stage) -> None:
        wire, server = server_of(on)
        await wire.do(server.drop, at_once=True)

    await befall_in_turn(home, times, fault)


@drill(
    group=REMOTE,
    what="Nothing passes for 30 s, then everything at once",
    times=20,
    brief=0,
    scene=remote,
)
async def network_stalls(home: Home, times: int) -> None:
    await stalls(home, times, 30, deaf=True)


@drill(
    group=REMOTE,
    what="Answers are held back for 2 to 12 s, then come at once",
    times=50,
    brief=1,
    scene=remote,
)
async def answers_held_back(home: Home, times: int) -> None:
    """Only who asks can know when an answer should have come."""
    heard = [on for on in home.stages if not on.asks]
    for on in heard:
        on.judging = False
    for number in range(times):
        await stalls(home, 1, 2 + 4.7 * number % 10, deaf=False)
    for on in heard:
        on.judging = True
    home.note("a bank that is only heard is shown as late as it comes: not judged")


async def stalls(home: Home, times: int, seconds: float, *, deaf: bool) -> None:
    """Hold back what passes through all servers."""

    async def fault(on: Stage) -> None:
        wire, server = server_of(on)
        await wire.do(server.stall, deaf=deaf)
        await on.stay(seconds)
        await wire.do(server.go_on)

    await befall(home, times, fault)


@drill(
    group=REMOTE,
    what="Servers gone without a word for 20 s, nobody answering calls",
    times=20,
    brief=0,
    scene=remote,
)
async def server_dark(home: Home, times: int) -> None:
    async def fault(on: Stage) -> None:
        wire, server = server_of(on)
        await wire.run(server.go_dark())
        await wire.do(server.forget)
        await wire.do(server.vanish)
        await on.stay(20)
        await wire.run(server.start())

    await befall(home, times, fault)


@drill(
    group=REMOTE,
    what="Connections half open: servers that forgot their clients, at once back",
    times=20,
    brief=1,
    scene=remote,
)
async def half_open(home: Home, times: int) -> None:
    async def fault(on: Stage) -> None:
        wire, server = server_of(on)
        await wire.do(server.forget)
        await wire.do(server.vanish)

    home.note("5 s until a connection counts as dead are in the time to recover")
    await befall(home, times, fault, within=5 + 2 + 5)


@drill(
    group=REMOTE,
    what="Servers that refuse connections for 10 s",
    times=20,
    brief=0,
    scene=remote,
)
async def server_refuses(home: Home, times: int) -> None:
    async def fault(on: Stage) -> None:
        wire, server = server_of(on)
        await wire.run(server.refuse())
        await wire.do(server.drop, at_once=False)
        await on.stay(10)
        await wire.run(server.start())

    await befall(home, times, fault)


@drill(
    group=REMOTE,
    what="Servers that let in and say nothing for 15 s",
    times=20,
    brief=0,
    scene=remote,
)
async def server_mute(home: Home, times: int) -> None:
    async def fault(on: Stage) -> None:
        wire, server = server_of(on)
        await wire.do(setattr, server, "mute", True)
        await wire.do(server.drop, at_once=False)
        await on.stay(15)
        await wire.do(setattr, server, "mute", False)
        await wire.do(server.drop, at_once=True)

    await befall(home, times, fault)


@drill(
    group=REMOTE,
    what="Another client takes the server's only place for 10 s",
    times=20,
    brief=0,
    scene=remote,
)
async def place_taken(home: Home, times: int) -> None:
    async def fault(on: Stage) -> None:
        wire, server = server_of(on)
        await wire.do(server.drop, at_once=False)
        writer = await taken(server)
        await on.stay(10)
        writer.close()

    await befall(home, times, fault)


async def taken(server: SerialServer) -> asyncio.StreamWriter:
    """Take the only place of a server, sooner or later."""
    while True:
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        try:
            async with asyncio.timeout(0.5):
                if not await reader.read(1) and reader.at_eof():
                    writer.close()
                    await asyncio.sleep(0.01)
                    continue
        except TimeoutError:
            return writer
        return writer


@drill(
    group=REMOTE,
    what="The server's own adapter pulled and put back",
    times=20,
    brief=0,
    scene=remote,
)
async def replugged_at_the_server(home: Home, times: int) -> None:
    async def fault(on: Stage) -> None:
        await on.wire.do(on.line.unplug)
        await on.stay(3)
        await on.wire.run(on.line.replug())

    await befall(home, times, fault)


@drill(
    group=REMOTE,
    what="Connections one after the other, each ended in one of three ways",
    times=1000,
    brief=30,
)
async def connections(home: Home, times: int) -> None:
    with tempfile.TemporaryDirectory() as by_id:
        link = Path(by_id) / "line"
        async with Wire(VirtualLine([], link=link)):
            for kind in KINDS:
                server = SerialServer(kind, partial(str, link), room=4)
                async with Wire(server) as wire:
                    for number in range(times // len(KINDS)):
                        await connect(number, server, wire)
                        home.injected()
                        if not home.warmed and number >= WARMING:
                            await home.warm()
            await home.compare()


async def connect(number: int, server: SerialServer, wire: Wire) -> None:
    """Connect, let the server end that in one of three ways, and close the bus."""
    bus = Bus(server.url, listen=0.0)
    await bus.open(LINE)
    if number % 3:
        await wire.do(server.drop, at_once=number % 3 == 1)
    else:
        await wire.do(server.vanish)
    await bus.close()
    await wire.do(server.forget)


@drill(
    group=REMOTE,
    what="An entry unloaded and loaded while its server answers no call",
    times=10,
    brief=0,
    scene=remote,
)
async def unloaded_while_dark(home: Home, times: int) -> None:
    async def fault(on: Stage) -> None:
        wire, server = server_of(on)
        entries = home.hass.config_entries
        await wire.run(server.go_dark())
        await wire.do(server.drop, at_once=True)
        await on.stay(2)
        begun = time.monotonic()
        await entries.async_unload(on.entry.entry_id)
        took = time.monotonic() - begun
        if took > 8:
            on.broken(f"unloading took {took:.0f} s")
        await wire.run(server.start())
        await entries.async_setup(on.entry.entry_id)
        on.hook()

    await befall_in_turn(home, times, fault)
    home.note("told to unload while a connection was being made")
