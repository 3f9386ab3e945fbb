"""Round after round over a line with virtual modules."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, field, replace
import random
import time
from typing import Any

import pytest

from custom_components.openxpbms.bms import bus as bus_module
from custom_components.openxpbms.bms import foreign, seplos, valence
from custom_components.openxpbms.bms import rounds as rounds_module
from custom_components.openxpbms.bms.bus import Timing
from custom_components.openxpbms.bms.errors import (
    BusError,
    DoubtfulAnswer,
    ForeignMaster,
    GarbledAnswer,
    NoAnswer,
    PortGone,
    PortMissing,
    WrongBattery,
)
from custom_components.openxpbms.bms.reading import History, Identity, Reading
from custom_components.openxpbms.bms.rounds import Battery, Rounds
from custom_components.openxpbms.bms.seplos import Seplos
from custom_components.openxpbms.bms.valence import (
    CYCLES,
    DURATIONS,
    EXTREMES,
    SUMMARY,
    Valence,
    request,
)
from custom_components.openxpbms.bms.virtual import (
    Faults,
    VirtualLine,
    VirtualModule,
    VirtualPack,
)
from custom_components.openxpbms.bms.virtual.line import Answer, Settings
from custom_components.openxpbms.bms.virtual.seplos import Intruder

from . import seplos_data
from .conftest import (
    FAST,
    Ahead,
    MakeBus,
    MakeLine,
    Recorder,
    asked,
    babble,
    expected,
    identity,
    module,
    unplugged,
    until,
    wakes,
)

pytestmark = pytest.mark.usefixtures("short_pauses", "short_doubts")


@pytest.fixture
def short_doubts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Forget unanswered questions soon; a silent module is asked many times here."""
    assert bus_module.OWED_FOR == 3.0
    monkeypatch.setattr(bus_module, "OWED_FOR", SETTLED)


@pytest.fixture
def ahead(monkeypatch: pytest.MonkeyPatch) -> Ahead:
    """Return a clock by which the rounds go."""
    clock = Ahead()
    monkeypatch.setattr(rounds_module, "time", clock)
    return clock


@pytest.fixture
def make_rounds(make_bus: MakeBus) -> Any:
    """Make rounds over some modules of a line."""

    def make(
        line: VirtualLine, *modules: VirtualModule, url: str = "", **settings: Any
    ) -> Rounds:
        family = Valence(make_bus(url or line.path, **settings))
        return Rounds(family, [identity(one) for one in modules])

    return make


type MakeRounds = Any

# After so long, s, no unanswered question is owed any more.
SETTLED = 0.2


def readings(rounds: Rounds) -> list[Reading | None]:
    """Return what the batteries have now."""
    return [battery.reading for battery in rounds.batteries]


def times_asked(recorder: Recorder, address: int) -> int:
    """Return how often a module's summary was asked for."""
    return asked(recorder).count((address, SUMMARY.register, SUMMARY.count))


async def test_a_round_wakes_the_modules_and_reads_them_all(
    make_line: MakeLine, make_rounds: MakeRounds
) -> None:
    recorder, modules = Recorder(), [module(1), module(2, cells=6, current=-12.5)]
    line = await make_line(recorder, *modules)
    rounds = make_rounds(line, *modules)
    before = time.monotonic()
    await rounds.round()
    assert readings(rounds) == [expected(one) for one in modules]
    for battery in rounds.batteries:
        assert not battery.silent
        assert battery.error is None
        assert battery.read_at >= before
    assert wakes(recorder) == 1
    assert [times_asked(recorder, address) for address in (1, 2)] == [1, 1]
    assert line.complaints == []


async def test_values_are_those_of_the_round(
    make_line: MakeLine, make_rounds: MakeRounds
) -> None:
    one = module(1)
    rounds = make_rounds(await make_line(one), one)
    for current in (1.0, -2.0, 0.0):
        one.current = current
        await rounds.round()
        assert rounds.batteries[0].reading.current == current


async def test_modules_are_woken_again_only_after_a_pause(
    make_line: MakeLine, make_rounds: MakeRounds, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(valence, "AWAKE", 0.5)
    recorder, one = Recorder(), module(1, quiet=0.5)
    rounds = make_rounds(await make_line(recorder, one), one)
    await rounds.round()
    await rounds.round()
    assert wakes(recorder) == 1
    await asyncio.sleep(0.52)
    await rounds.round()
    assert wakes(recorder) == 2
    assert readings(rounds) == [expected(one)]


async def test_a_bus_without_batteries_is_left_in_peace(
    make_line: MakeLine, make_rounds: MakeRounds
) -> None:
    line = await make_line()
    rounds = make_rounds(line)
    await rounds.round()
    assert rounds.bus.is_open
    assert line.bytes_received == 0


async def test_a_silent_battery_is_nobody_elses_trouble(
    make_line: MakeLine, make_rounds: MakeRounds
) -> None:
    modules = [module(1), module(2), module(3)]
    line = await make_line(*modules)
    rounds = make_rounds(line, *modules)
    await rounds.round()
    modules[1].silent = True
    for _ in range(3):
        await rounds.round()
        assert readings(rounds) == [expected(modules[0]), None, expected(modules[2])]
        battery = rounds.batteries[1]
        assert battery.silent
        # The silence, and not the doubt that follows from it.
        assert type(battery.error) is NoAnswer
    modules[1].silent = False
    await asyncio.sleep(SETTLED)
    await rounds.round()
    assert readings(rounds) == [expected(one) for one in modules]
    assert rounds.batteries[1].error is None
    assert rounds.batteries[1].tries == 0


async def test_one_lost_answer_costs_no_reading(
    make_line: MakeLine, make_rounds: MakeRounds
) -> None:
    recorder, modules = Recorder(), [module(1), module(2)]
    lossy = Lossy(modules[0])
    rounds = make_rounds(await make_line(recorder, lossy, modules[1]), *modules)
    await rounds.round()
    for lost in range(5):
        lossy.lose = lost
        await rounds.round()
        assert lossy.lose is None
        assert readings(rounds) == [expected(one) for one in modules]
    # The wake-up of the beginning, and one in each round that lost an answer; on a busy
    # machine a round may lose one more, and the next one none.
    assert 5 <= wakes(recorder) <= 7


async def test_a_battery_that_lost_an_answer_is_asked_again_without_a_pause(
    make_line: MakeLine, make_rounds: MakeRounds, monkeypatch: pytest.MonkeyPatch
) -> None:
    modules = [module(1), module(2)]
    lossy = Lossy(modules[0])
    rounds = make_rounds(await make_line(lossy, modules[1]), *modules)
    await rounds.round()
    monkeypatch.setattr(valence, "WAKE_PAUSES", (30.0, 30.0))
    lossy.lose = 0
    await rounds.round()
    assert readings(rounds) == [expected(one) for one in modules]


@dataclass
class Lossy:
    """A module one of whose answers is lost: the next one where `lose` is 0."""

    module: VirtualModule
    lose: int | None = None
    complaints: list[str] = field(default_factory=list)

    def hear(
        self, data: bytes, settings: Settings, now: float, *, lenient: bool
    ) -> Answer | bool:
        """Count down to the answer that is lost."""
        answer = self.module.hear(data, settings, now, lenient=lenient)
        if not isinstance(answer, Answer) or self.lose is None:
            return answer
        self.lose = self.lose - 1 if self.lose else None
        return True if self.lose is None else answer


async def test_an_adapter_that_hears_itself_is_no_trouble(
    make_line: MakeLine, make_rounds: MakeRounds
) -> None:
    modules = [module(1), module(2, silent=True)]
    rounds = make_rounds(await make_line(*modules, echo=True), *modules)
    for _ in range(2):
        await rounds.round()
        assert readings(rounds) == [expected(modules[0]), None]
    assert rounds.bus.counters.echoes == rounds.bus.counters.exchanges
    assert type(rounds.batteries[1].error) is NoAnswer


async def test_a_module_that_fell_asleep_is_woken_within_the_round(
    make_line: MakeLine, make_rounds: MakeRounds
) -> None:
    recorder, modules = Recorder(), [module(1), module(2)]
    rounds = make_rounds(await make_line(recorder, *modules), *modules)
    await rounds.round()
    modules[0].fall_asleep()
    await rounds.round()
    assert readings(rounds) == [expected(one) for one in modules]
    assert wakes(recorder) == 2


async def test_however_many_are_silent_a_round_wakes_once_more_at_most(
    make_line: MakeLine, make_rounds: MakeRounds
) -> None:
    recorder, modules = Recorder(), [module(n, silent=n > 1) for n in range(1, 5)]
    rounds = make_rounds(await make_line(recorder, *modules), *modules)
    await rounds.round()
    assert wakes(recorder) == 2  # the one of the beginning, and one more
    await rounds.round()
    assert wakes(recorder) == 3
    assert readings(rounds) == [expected(modules[0]), None, None, None]


async def test_all_modules_asleep_are_woken_by_and_by(
    make_line: MakeLine, make_rounds: MakeRounds
) -> None:
    modules = [module(1), module(2)]
    rounds = make_rounds(await make_line(*modules), *modules)
    await rounds.round()
    for one in modules:
        one.silent = True
    await rounds.round()
    await rounds.round()
    assert readings(rounds) == [None, None]
    for one in modules:
        one.silent = False
        one.fall_asleep()
    await asyncio.sleep(SETTLED)
    await rounds.round()
    await rounds.round()
    assert readings(rounds) == [expected(one) for one in modules]


async def test_the_pause_after_a_wake_up_grows_at_the_second_try(
    make_line: MakeLine, make_rounds: MakeRounds, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert valence.WAKE_PAUSES != (0.5, 1.0)  # these are shortened for the tests
    monkeypatch.setattr(valence, "WAKE_PAUSES", (0.01, 0.7))
    monkeypatch.setattr(bus_module, "OWED_FOR", 0.01)
    one = module(1, wake_time=0.5)
    rounds = make_rounds(await make_line(one), one)
    await rounds.round()
    assert readings(rounds) == [None]
    await rounds.round()
    assert readings(rounds) == [expected(one)]


async def test_a_module_silent_for_a_minute_is_asked_every_10_s_only(
    make_line: MakeLine,
    make_rounds: MakeRounds,
    monkeypatch: pytest.MonkeyPatch,
    ahead: Ahead,
) -> None:
    assert (rounds_module.EAGER, rounds_module.RARE) == (60.0, 10.0)
    monkeypatch.setattr(bus_module, "OWED_FOR", 0.0)
    recorder, modules = Recorder(), [module(1), module(2, silent=True)]
    rounds = make_rounds(await make_line(recorder, *modules), *modules)
    await rounds.round()
    before = times_asked(recorder, 2)
    for number in range(1, 4):
        await rounds.round()
        assert times_asked(recorder, 2) == before + number
    ahead.by += 60
    await rounds.round()
    before = times_asked(recorder, 2)
    for _ in range(5):
        await rounds.round()
    assert times_asked(recorder, 2) == before
    ahead.by += 10
    modules[1].silent = False
    await rounds.round()
    assert times_asked(recorder, 2) == before + 1
    assert readings(rounds) == [expected(one) for one in modules]


async def test_nobody_waits_longer_than_a_second_for_a_sleeper(
    make_line: MakeLine, make_rounds: MakeRounds, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert rounds_module.ROUND_LIMIT < 1.0
    monkeypatch.setattr(valence, "WAKE_PAUSES", (0.8, 0.8))
    monkeypatch.setattr(bus_module, "OWED_FOR", 0.0)
    modules = [module(1), module(2, wake_time=0.6)]
    rounds = make_rounds(await make_line(*modules), *modules)
    await rounds.round()
    assert readings(rounds) == [expected(one) for one in modules]
    modules[1].fall_asleep()
    monkeypatch.setattr(valence, "WAKE_PAUSES", (60.0, 60.0))
    async with asyncio.timeout(30):
        await rounds.round()
    assert readings(rounds) == [expected(modules[0]), None]
    monkeypatch.setattr(valence, "WAKE_PAUSES", (0.8, 0.8))
    await asyncio.sleep(0.8)
    await rounds.round()
    assert readings(rounds) == [expected(one) for one in modules]


async def test_where_time_is_short_silent_batteries_take_turns(
    make_line: MakeLine, make_rounds: MakeRounds, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rounds_module, "ROUND_LIMIT", 0.0)
    monkeypatch.setattr(valence, "WAKE_PAUSES", (0.0, 0.0))
    monkeypatch.setattr(bus_module, "OWED_FOR", 0.0)
    recorder, modules = Recorder(), [module(n) for n in range(1, 5)]
    rounds = make_rounds(await make_line(recorder, *modules), *modules)
    await rounds.round()
    for one in modules[1:]:
        one.silent = True

    async def who_is_asked() -> list[int]:
        before = len(asked(recorder))
        await rounds.round()
        return [ask[0] for ask in asked(recorder)[before:] if ask[0] > 1]

    assert await who_is_asked() == [2, 3, 4]  # they have just fallen silent
    for _ in range(2):
        assert [await who_is_asked() for _ in range(3)] == [[2], [3], [4]]
    modules[2].silent = False
    assert [await who_is_asked() for _ in range(2)] == [[2], [*[3] * 5, 4]]
    assert readings(rounds) == [expected(modules[0]), None, expected(modules[2]), None]


async def test_batteries_that_are_all_back_return_in_one_round(
    make_line: MakeLine, make_rounds: MakeRounds, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rounds_module, "ROUND_LIMIT", 0.0)
    monkeypatch.setattr(valence, "WAKE_PAUSES", (0.0, 0.0))
    monkeypatch.setattr(bus_module, "OWED_FOR", 0.0)
    modules = [module(n) for n in range(1, 5)]
    patient = Timing(answer=0.5)
    rounds = make_rounds(await make_line(*modules), *modules, timing=patient)
    await rounds.round()
    for one in modules[1:]:
        one.silent = True
    for _ in range(2):
        await rounds.round()
    assert readings(rounds)[1:] == [None] * 3
    for one in modules[1:]:
        one.silent = False
    await rounds.round()
    assert readings(rounds) == [expected(one) for one in modules]


async def test_where_no_other_battery_waits_the_sleeper_is_waited_for(
    make_line: MakeLine, make_rounds: MakeRounds, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rounds_module, "ROUND_LIMIT", 0.1)
    monkeypatch.setattr(valence, "WAKE_PAUSES", (0.3, 0.3))
    monkeypatch.setattr(bus_module, "OWED_FOR", 0.0)
    one = module(1)
    rounds = make_rounds(await make_line(one), one)
    await rounds.round()
    one.fall_asleep()
    await rounds.round()
    assert readings(rounds) == [expected(one)]


async def test_a_silent_battery_is_woken_again_after_a_long_pause(
    make_line: MakeLine,
    make_rounds: MakeRounds,
    monkeypatch: pytest.MonkeyPatch,
    ahead: Ahead,
) -> None:
    # A bus that is asked often enough to be awake, and one battery asked rarely.
    monkeypatch.setattr(rounds_module, "EAGER", 0.0)
    monkeypatch.setattr(bus_module, "OWED_FOR", 0.0)
    modules = [module(1), module(2, silent=True)]
    recorder = Recorder()
    rounds = make_rounds(await make_line(recorder, *modules), *modules)
    await rounds.round()
    ahead.by += 11
    await rounds.round()
    modules[1].silent = False
    modules[1].fall_asleep()
    before = wakes(recorder)
    ahead.by += 11
    await rounds.round()
    assert wakes(recorder) == before + 1
    assert readings(rounds) == [expected(one) for one in modules]
    modules[1].silent = True
    for _ in range(2):
        ahead.by += 11
        await rounds.round()
    assert wakes(recorder) == before + 3


async def test_another_module_at_the_address_has_no_reading(
    make_line: MakeLine, make_rounds: MakeRounds
) -> None:
    modules = [module(1), module(2)]
    rounds = make_rounds(await make_line(*modules), *modules)
    await rounds.round()
    known, modules[1].serial = modules[1].serial, "114400999"
    await rounds.round()
    assert readings(rounds) == [expected(modules[0]), None]
    assert isinstance(rounds.batteries[1].error, WrongBattery)
    modules[1].serial = known
    await rounds.round()
    assert readings(rounds) == [expected(one) for one in modules]


async def test_the_first_reading_after_a_silence_needs_the_known_serial_number(
    make_line: MakeLine, make_rounds: MakeRounds
) -> None:
    one = module(1)
    rounds = make_rounds(await make_line(one), one)
    await rounds.round()
    known, one.silent = one.serial, True
    await rounds.round()
    one.silent, one.serial = False, "114400999"
    await asyncio.sleep(SETTLED)
    await rounds.round()
    assert readings(rounds) == [None]
    assert isinstance(rounds.batteries[0].error, WrongBattery)
    one.serial = known
    await rounds.round()
    assert readings(rounds) == [expected(one)]


# History


def histories(rounds: Rounds) -> list[int | None]:
    """Return the cycle counts that are known."""
    return [battery.history.cycles for battery in rounds.batteries]


async def test_each_round_reads_the_history_of_one_battery(
    make_line: MakeLine, make_rounds: MakeRounds, ahead: Ahead
) -> None:
    assert rounds_module.SLOWLY == 600.0
    recorder, modules = Recorder(), [module(1, cycles=11), module(2, cycles=12)]
    rounds = make_rounds(await make_line(recorder, *modules), *modules)
    for known in ([11, None], [11, 12], [11, 12]):
        await rounds.round()
        assert histories(rounds) == known
    assert [ask[1:] for ask in asked(recorder)].count((0x12, 2)) == 2
    modules[0].cycles = 13
    ahead.by += 600
    await rounds.round()
    assert histories(rounds) == [13, 12]


async def test_history_is_read_even_if_every_round_begins_with_a_wake_up(
    make_line: MakeLine, make_rounds: MakeRounds, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(valence, "AWAKE", 0.0)
    recorder, one = Recorder(), module(1)
    rounds = make_rounds(await make_line(recorder, one), one)
    await rounds.round()
    await rounds.round()
    assert wakes(recorder) == 2
    assert histories(rounds) == [100]


async def test_a_round_with_trouble_reads_no_history(
    make_line: MakeLine, make_rounds: MakeRounds
) -> None:
    modules = [module(1), module(2, silent=True)]
    rounds = make_rounds(await make_line(*modules), *modules)
    await rounds.round()
    assert histories(rounds) == [None, None]
    # The silent one is trouble no more when it has been silent before.
    await rounds.round()
    assert histories(rounds) == [100, None]


async def test_what_a_history_does_not_tell_this_time_is_kept(
    make_line: MakeLine, make_rounds: MakeRounds, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rounds_module, "SLOWLY", 0.0)
    monkeypatch.setattr(bus_module, "OWED_FOR", 0.0)
    one = module(1, cycles=11)
    deaf = DeafFor(one)
    rounds = make_rounds(await make_line(deaf), one)
    await rounds.round()
    one.cycles, one.lifetime.resets, one.lifetime.highest_temperature = 12, 9, 50.5
    deaf.registers = {EXTREMES.register, DURATIONS.register}
    await rounds.round()
    history = rounds.batteries[0].history
    assert history.cycles == 12
    assert history.highest_temperature == 41.5
    assert history.reset_count == 3
    deaf.registers = {CYCLES.register}
    await rounds.round()
    assert rounds.batteries[0].history.cycles == 12


@dataclass
class DeafFor:
    """A module that does not answer for some registers."""

    module: VirtualModule
    registers: set[int] = field(default_factory=set)
    complaints: list[str] = field(default_factory=list)

    def hear(
        self, data: bytes, settings: Settings, now: float, *, lenient: bool
    ) -> Answer | bool:
        """Pass on the rest."""
        if len(data) == 10 and int.from_bytes(data[2:4], "big") in self.registers:
            return True
        return self.module.hear(data, settings, now, lenient=lenient)


def test_no_history_is_known_at_the_beginning() -> None:
    one = identity(module(1))
    assert Battery(one).history == History()
    assert not Battery(one).silent


# The whole bus


async def test_a_port_that_is_pulled_out_takes_all_readings_with_it(
    make_line: MakeLine, make_rounds: MakeRounds, tmp_path_factory: Any
) -> None:
    link = tmp_path_factory.mktemp("by-id") / "adapter"
    modules = [module(1), module(2)]
    line = await make_line(*modules, link=link)
    rounds = make_rounds(line, *modules, url=str(link))
    await rounds.round()
    await unplugged(line, rounds.bus)
    with pytest.raises(PortMissing):
        await rounds.round()
    assert readings(rounds) == [None, None]
    for battery in rounds.batteries:
        assert isinstance(battery.error, PortMissing)
        assert battery.silent
    await line.replug()
    await rounds.round()
    assert readings(rounds) == [expected(one) for one in modules]
    assert [battery.error for battery in rounds.batteries] == [None, None]


async def test_a_port_that_is_pulled_out_in_a_round_takes_its_readings_too(
    make_line: MakeLine, make_rounds: MakeRounds
) -> None:
    modules = [module(1), module(2, silent=True)]
    line = await make_line(*modules)
    rounds = make_rounds(line, *modules)
    running = asyncio.create_task(rounds.round())
    while rounds.batteries[0].reading is None:
        await asyncio.sleep(0.002)
    line.unplug()
    with pytest.raises(PortGone):
        await running
    assert readings(rounds) == [None, None]


async def test_after_the_bus_was_away_a_battery_is_asked_at_once(
    make_line: MakeLine,
    make_rounds: MakeRounds,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path_factory: Any,
) -> None:
    monkeypatch.setattr(rounds_module, "EAGER", 0.0)
    monkeypatch.setattr(rounds_module, "RARE", 0.0)
    link = tmp_path_factory.mktemp("by-id") / "adapter"
    modules = [module(1), module(2, silent=True)]
    line = await make_line(*modules, link=link)
    rounds = make_rounds(line, *modules, url=str(link))
    for _ in range(3):
        await rounds.round()
    assert rounds.batteries[1].tries > 2
    await unplugged(line, rounds.bus)
    for _ in range(2):
        with pytest.raises(PortMissing):
            await rounds.round()
    modules[1].silent = False
    await line.replug()
    # The tries from before count no more: the pause is that of a first wake-up.
    monkeypatch.setattr(valence, "WAKE_PAUSES", (0.01, 30.0))
    async with asyncio.timeout(20.0):
        await rounds.round()
    assert readings(rounds) == [expected(one) for one in modules]


async def test_another_master_takes_all_readings_away(
    make_line: MakeLine, make_rounds: MakeRounds
) -> None:
    one = module(1)
    line = await make_line(one)
    rounds = make_rounds(line, one)
    await rounds.round()
    line.inject(request(9, SUMMARY).encoded)
    await until(lambda: rounds.bus.watch.silent)
    before = line.bytes_received
    with pytest.raises(ForeignMaster):
        await rounds.round()
    assert readings(rounds) == [None]
    assert line.bytes_received == before
    rounds.bus.watch.resume()
    await rounds.round()
    assert readings(rounds) == [expected(one)]


async def test_a_line_that_never_becomes_quiet_takes_all_readings_away(
    make_line: MakeLine, make_rounds: MakeRounds, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bus_module, "DRAIN_LIMIT", 0.05)
    one = module(1)
    line = await make_line(one)
    rounds = make_rounds(line, one)
    rounds.bus.timing = replace(rounds.bus.timing, quiet=0.2)
    await rounds.round()
    async with babble(line, rounds.bus):
        with pytest.raises(GarbledAnswer, match="does not become quiet"):
            await rounds.round()
    assert readings(rounds) == [None]
    await asyncio.sleep(0.2)
    await rounds.round()
    assert readings(rounds) == [expected(one)]


def lost(*errors: BusError) -> BusError | None:
    """Return the error that a battery tells after these."""
    battery = Battery(
        Identity(
            address=1, serial=None, model="", model_code="", revision=2, cells=None
        )
    )
    for error in errors:
        battery.lost(error)
    return battery.error


def test_a_doubt_is_told_only_where_nothing_better_is_known() -> None:
    silence, doubt = NoAnswer("nothing"), DoubtfulAnswer("perhaps")
    assert lost(doubt) is doubt
    assert lost(silence, doubt) is silence
    assert lost(doubt, silence) is silence


def addresses(rounds: Rounds) -> Iterable[int]:
    """Return whom a round is about."""
    return (battery.identity.address for battery in rounds.batteries)


async def test_batteries_keep_their_order(
    make_line: MakeLine, make_rounds: MakeRounds
) -> None:
    modules = [module(17), module(3), module(9)]
    rounds = make_rounds(await make_line(*modules), *modules)
    assert list(addresses(rounds)) == [17, 3, 9]


# Seplos


@pytest.fixture
def make_pack_rounds(make_bus: MakeBus) -> Any:
    """Make rounds over some packs of a line."""

    def make(line: VirtualLine, *packs: VirtualPack, **settings: Any) -> Rounds:
        settings = {"terminator": b""} | settings
        family = Seplos(make_bus(settings.pop("url", line.path), **settings))
        return Rounds(family, [seplos_data.identity(one) for one in packs])

    return make


def packs(*addresses: int, **settings: Any) -> list[VirtualPack]:
    """Return packs that have different things to tell."""
    made = []
    for address in addresses:
        made.append(VirtualPack(address, turnaround=0.0, **settings))
        seplos_data.scramble(made[-1], random.Random(address))
    return made


def told(*of: VirtualPack) -> list[Reading | None]:
    """Return the Readings of packs."""
    return [seplos_data.expected(one) for one in of]


async def test_a_round_reads_all_packs_and_wakes_nobody(
    make_line: MakeLine, make_pack_rounds: Any
) -> None:
    made = packs(0, 5, 16)
    line = await make_line(*made)
    rounds = make_pack_rounds(line, *made)
    for _ in range(4):
        await rounds.round()
        assert readings(rounds) == told(*made)
    assert line.complaints == []
    assert {len(frame) for frame in line.frames} == {8}
    # Serial numbers and settings apart, three tables a pack and round.
    tables = [frame[2] for frame in line.frames]
    assert {table: tables.count(table) for table in set(tables)} == {
        0x10: 12,
        0x11: 12,
        0x12: 12,
        0x13: 3,
        0x14: 3,
        0x15: 3,
        0x17: 6,
    }


async def test_each_round_reads_the_settings_of_one_pack(
    make_line: MakeLine, make_pack_rounds: Any, ahead: Ahead
) -> None:
    made = packs(1, 2)
    rounds = make_pack_rounds(await make_line(*made), *made)

    def known() -> list[float | None]:
        return [
            (battery.settings.parameters or {}).get("soc_low_alarm")
            for battery in rounds.batteries
        ]

    for expected_now in ([10.0, None], [10.0, 10.0]):
        await rounds.round()
        assert known() == expected_now
    made[0].parameters[0x1355] = made[1].parameters[0x1355] = 120
    await rounds.round()
    assert known() == [10.0, 10.0]
    ahead.by += 600
    # What a pack does not tell this time is kept.
    made[1].refuse = {0x1300}
    await rounds.round()
    await rounds.round()
    assert known() == [12.0, 10.0]
    assert [b.settings.clock is not None for b in rounds.batteries] == [True, True]
    assert [b.history for b in rounds.batteries] == [History()] * 2


async def test_a_silent_pack_is_no_trouble_of_the_others(
    make_line: MakeLine, make_pack_rounds: Any
) -> None:
    made = packs(1, 2, 3)
    line = await make_line(*made)
    rounds = make_pack_rounds(line, *made)
    await rounds.round()
    made[1].silent = True
    for _ in range(3):
        await rounds.round()
        assert readings(rounds) == [*told(made[0]), None, *told(made[2])]
        assert type(rounds.batteries[1].error) is NoAnswer
    made[1].silent = False
    await asyncio.sleep(SETTLED)
    await rounds.round()
    assert readings(rounds) == told(*made)


async def test_a_pack_that_was_swapped_has_no_reading(
    make_line: MakeLine, make_pack_rounds: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rounds_module, "SLOWLY", 0.0)
    made = packs(1, 2)
    rounds = make_pack_rounds(await make_line(*made), *made)
    await rounds.round()
    made[0].serial = "SP57B-A9999999999"
    # Whoever answers in time is recognised by its slow values at the latest.
    for _ in range(2):
        await rounds.round()
        assert readings(rounds) == [None, *told(made[1])]
        assert isinstance(rounds.batteries[0].error, WrongBattery)


async def test_after_the_first_frame_of_another_master_nothing_is_sent(
    make_line: MakeLine, make_pack_rounds: Any
) -> None:
    made, theirs = packs(1, 2), packs(7)
    intruder = Intruder(theirs, talking=False, interval=0.05)
    line = await make_line(intruder, *made)
    rounds = make_pack_rounds(line, *made)
    await rounds.round()
    frames, before = rounds.bus.watch.frames, line.bytes_received
    intruder.talking = True
    await until(lambda: rounds.bus.watch.frames > frames)
    for _ in range(3):
        # What it asks of packs that are not ours is nothing to us.
        with pytest.raises(ForeignMaster):
            await rounds.round()
        assert readings(rounds) == [None, None]
        await asyncio.sleep(0.05)
    assert line.bytes_received == before


async def test_while_another_master_talks_what_is_heard_counts(
    make_line: MakeLine, make_pack_rounds: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = packs(1, 2)
    intruder = Intruder(made[:1], talking=False, interval=0.05)
    line = await make_line(intruder, *made)
    rounds = make_pack_rounds(line, *made)
    await rounds.round()
    before = line.bytes_received
    intruder.talking = True
    await until(lambda: bool(rounds.family.bank.packs))
    chance = random.Random(9)
    for _ in range(3):
        for one in made:
            seplos_data.scramble(one, chance)
        async with asyncio.timeout(10):
            while readings(rounds) != [*told(made[0]), None]:
                await asyncio.sleep(0.01)
                await rounds.round()
        assert isinstance(rounds.batteries[1].error, ForeignMaster)
        assert not rounds.batteries[0].silent
    assert line.bytes_received == before
    # What was heard grows old.
    intruder.talking = False
    monkeypatch.setattr(seplos, "HEARD_FOR", 0.05)
    await asyncio.sleep(0.1)
    with pytest.raises(ForeignMaster):
        await rounds.round()
    assert readings(rounds) == [None, None]
    assert line.bytes_received == before


async def test_what_was_heard_does_not_outlive_the_port(
    make_line: MakeLine, make_pack_rounds: Any, tmp_path_factory: Any
) -> None:
    link = tmp_path_factory.mktemp("by-id") / "adapter"
    made = packs(1, 2)
    line = await make_line(Intruder(made, interval=0.05), *made, link=link)
    rounds = make_pack_rounds(line, *made, url=str(link))
    await rounds.family.listen(0.6)
    await rounds.round()
    assert readings(rounds) == told(*made)
    await unplugged(line, rounds.bus)
    with pytest.raises(PortMissing):
        await rounds.round()
    assert readings(rounds) == [None, None]


async def test_packs_are_asked_again_after_the_silence(
    make_line: MakeLine, make_pack_rounds: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert foreign.SILENCE == 60.0
    monkeypatch.setattr(foreign, "SILENCE", 1.0)
    made = packs(1, 2)
    intruder = Intruder(made[:1], talking=False, interval=0.05)
    line = await make_line(intruder, *made)
    rounds = make_pack_rounds(line, *made)
    await rounds.round()
    before = line.bytes_received
    intruder.talking = True
    await until(lambda: 1 in rounds.family.bank.packs)
    await rounds.round()
    intruder.talking = False
    last = time.monotonic()
    while line.bytes_received == before:
        with suppress(ForeignMaster):
            await rounds.round()
        await asyncio.sleep(0.02)
    assert time.monotonic() - last > 0.5
    await rounds.round()
    assert readings(rounds) == told(*made)
    assert rounds.batteries[1].error is None
    assert line.complaints == []


async def test_a_pack_that_answers_late_is_no_other_master(
    make_line: MakeLine, make_pack_rounds: Any
) -> None:
    made = packs(1, 2)
    line = await make_line(*made)
    rounds = make_pack_rounds(line, *made)
    await rounds.round()
    # The first of three answers comes when it is waited for no more.
    late_by = 1.5 * FAST.answer
    line.faults.late, line.faults.late_by = 1.0, (late_by, late_by)
    for _ in range(3):
        await rounds.round()
    line.faults.late = 0.0
    await asyncio.sleep(SETTLED)
    for _ in range(2):
        await rounds.round()
    assert rounds.bus.counters.late >= 3
    assert not rounds.bus.watch.silent
    assert rounds.bus.watch.foreign_frames == 0
    assert readings(rounds) == told(*made)


async def test_no_wrong_value_of_packs_on_a_bad_line(
    make_line: MakeLine, make_pack_rounds: Any
) -> None:
    made, chance = packs(0, 1, 2), random.Random(11)
    faults = Faults(noise=0.03, lost=0.02, late=0.02, late_by=(0.07, 0.2))
    line = await make_line(*made, faults=faults, seed=11)
    timing = Timing(answer=0.05, leaving=0.02, quiet=0.005)
    rounds = make_pack_rounds(line, *made, timing=timing)
    whole = 0
    for _ in range(60):
        for one in made:
            seplos_data.scramble(one, chance)
        await rounds.round()
        for battery, one in zip(rounds.batteries, made, strict=True):
            assert battery.reading in (None, seplos_data.expected(one))
            whole += battery.reading is not None
    counters = rounds.bus.counters
    assert min(counters.timeouts, counters.late, counters.crc_errors) > 0
    assert whole > 120
