"""Delays, silence, latches and what only a part of a reading may do."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from homeassistant.core import HomeAssistant
import pytest

from custom_components.openxpbms.bms.virtual.device import Answer
from custom_components.openxpbms.bms.virtual.seplos import VirtualPack
from custom_components.openxpbms.bms.virtual.valence import VirtualModule

from .conftest import MakeLine, identity
from .guarding import (
    IMPATIENT,
    Clock,
    Guarded,
    guard,
    guard_device,
    jumping_clock,
    limit,
)

ALL = {"charge", "load", "connection"}
DAY = 86400.0


@pytest.fixture
def clock() -> Iterator[Clock]:
    with jumping_clock(frozen=True) as clock:
        yield clock


class HalfDeaf(VirtualModule):
    """A module that leaves questions for some registers unanswered."""

    deaf_to: tuple[int, ...] = ()

    def _answer(self, request: bytes, now: float) -> Answer | bool:
        register = int.from_bytes(request[2:4])
        return register in self.deaf_to or super()._answer(request, now)


class HalfDeafPack(VirtualPack):
    """A pack that leaves questions for some tables unanswered."""

    deaf_to: tuple[int, ...] = ()

    def hear(self, data: bytes, *args: Any, **kwargs: Any) -> Answer | bool:
        deaf = int.from_bytes(data[2:4]) in self.deaf_to
        return deaf or super().hear(data, *args, **kwargs)


# Delays


async def test_a_delay_begins_anew_with_every_good_value(
    hass: HomeAssistant, make_line: MakeLine, clock: Clock
) -> None:
    module = VirtualModule(1)
    guarded = await guard_device(hass, make_line, clock, module)
    for _ in range(3):
        module.cell_voltages[1] = 2.79
        await guarded.refresh()
        await guarded.wait(4.5)
        module.cell_voltages[1] = 2.81
        await guarded.refresh()
        await guarded.wait(4.5)
    assert guarded.open_relays == set()
    assert guarded.found == {"cell_voltage_low"}


async def test_delays_may_be_set(
    hass: HomeAssistant, make_line: MakeLine, clock: Clock
) -> None:
    module = VirtualModule(1)
    options = limit("cell_over_voltage", stop=3.9, stop_clear=3.7, cutoff=4.0, delay=3)
    guarded = await guard_device(hass, make_line, clock, module, options=options)
    module.cell_voltages[0] = 3.95
    await guarded.refresh()
    await guarded.wait(2.9)
    assert guarded.open_relays == set()
    await guarded.wait(0.1)
    assert guarded.open_relays == {"charge"}
    # A cut-off has no delay.
    module.cell_voltages[0] = 4.05
    await guarded.refresh()
    await guarded.wait(0.5)
    assert guarded.open_relays == ALL


@pytest.mark.parametrize("current", [101.0, -101.0])
async def test_an_unconfirmed_current_is_judged_by_its_magnitude(
    hass: HomeAssistant, make_line: MakeLine, clock: Clock, current: float
) -> None:
    module = VirtualModule(1)
    options = limit("charge_over_current", stop=100.0, stop_clear=90.0, delay=10.0)
    guarded = await guard_device(hass, make_line, clock, module, options=options)
    module.current = current
    await guarded.refresh()
    await guarded.wait(9.9)
    assert guarded.open_relays == set()
    await guarded.wait(0.1)
    assert guarded.found == {"charge_over_current"}
    assert guarded.open_relays == {"charge", "load"}


@pytest.mark.parametrize(("way", "current"), [("charge", -101.0), ("discharge", 101.0)])
async def test_a_confirmed_current_is_judged_by_its_direction(
    hass: HomeAssistant, make_line: MakeLine, clock: Clock, way: str, current: float
) -> None:
    module = VirtualModule(1, current=current)
    options = {"current_confirmed": True} | limit(
        f"{way}_over_current", stop=100.0, stop_clear=90.0
    )
    guarded = await guard_device(hass, make_line, clock, module, options=options)
    await guarded.stay(20)
    assert guarded.found == set()
    assert guarded.open_relays == set()


# Clearing


async def test_a_stop_clears_after_a_minute_inside_without_a_break(
    hass: HomeAssistant, make_line: MakeLine, clock: Clock
) -> None:
    module = VirtualModule(1)
    guarded = await guard_device(hass, make_line, clock, module)
    module.cell_voltages[2] = 3.95
    await guarded.refresh()
    # Below the stop, yet not inside the clearing limit of 3.7 V: that is no way back.
    module.cell_voltages[2] = 3.71
    await guarded.refresh()
    await guarded.stay(100)
    assert "cell_over_voltage" in guarded.found
    module.cell_voltages[2] = 3.7
    await guarded.refresh()
    await guarded.stay(50)
    module.cell_voltages[2] = 3.71
    await guarded.refresh()
    module.cell_voltages[2] = 3.7
    await guarded.refresh()
    await guarded.stay(59)
    assert guarded.open_relays == {"charge"}
    await guarded.stay(1)
    assert "cell_over_voltage" not in guarded.found
    assert guarded.open_relays == set()


async def test_nobody_knows_where_a_value_was_while_nothing_was_heard(
    hass: HomeAssistant, make_line: MakeLine, clock: Clock
) -> None:
    module = VirtualModule(1)
    guarded = await guard_device(hass, make_line, clock, module)
    module.cell_voltages[2] = 3.95
    await guarded.refresh()
    module.cell_voltages[2] = 3.3
    await guarded.refresh()
    await guarded.stay(50)
    await guarded.wait(15.1)
    await guarded.refresh(3)
    assert guarded.found == {"cell_over_voltage"}
    await guarded.stay(59)
    assert guarded.open_relays == {"charge"}
    await guarded.stay(1)
    assert guarded.open_relays == set()


# Latches


async def trip(guarded: Guarded, module: VirtualModule) -> None:
    """Let a cell be too high and come back for more than a minute."""
    module.cell_voltages[2] = 3.95
    await guarded.refresh()
    assert guarded.open_relays == {"charge"}
    module.cell_voltages[2] = 3.3
    await guarded.refresh()
    await guarded.stay(70)


async def test_the_third_stop_within_a_day_waits_for_a_person(
    hass: HomeAssistant, make_line: MakeLine, clock: Clock
) -> None:
    module = VirtualModule(1)
    guarded = await guard_device(hass, make_line, clock, module)
    for _ in range(2):
        await trip(guarded, module)
        assert guarded.open_relays == set()
    await trip(guarded, module)
    await guarded.stay(600)
    assert guarded.open_relays == {"charge"}
    await guarded.press_reset()
    assert guarded.open_relays == set()
    # It counts from one again.
    await trip(guarded, module)
    assert guarded.open_relays == set()


async def test_stops_of_yesterday_do_not_count(
    hass: HomeAssistant, make_line: MakeLine, clock: Clock
) -> None:
    module = VirtualModule(1)
    guarded = await guard_device(hass, make_line, clock, module)
    await trip(guarded, module)
    await trip(guarded, module)
    await guarded.wait(DAY - 100)
    await guarded.refresh(3)
    await trip(guarded, module)
    assert guarded.open_relays == set()


@pytest.mark.parametrize(
    ("change", "waits"),
    [
        ({"cell_voltages": [3.3, 3.95, 3.3, 3.3]}, True),
        ({"cell_voltages": [3.3, 2.7, 3.3, 3.3]}, True),
        ({"cell_temperatures": [-1.0, 20.0, 20.0, 20.0]}, False),
        ({"silent": True}, False),
    ],
    ids=["over-voltage", "under-voltage", "cold", "silence"],
)
async def test_every_stop_may_be_made_to_latch_but_cold_and_silence(
    hass: HomeAssistant,
    make_line: MakeLine,
    clock: Clock,
    change: dict[str, Any],
    waits: bool,
) -> None:
    module = VirtualModule(1)
    options = IMPATIENT | {"limits": {"latch_all": True}}
    guarded = await guard_device(hass, make_line, clock, module, options=options)
    before = {name: getattr(module, name) for name in change}
    for name, value in change.items():
        setattr(module, name, value)
    await guarded.refresh()
    await guarded.wait(5)
    await guarded.refresh()
    await guarded.wait(10.1)
    assert guarded.open_relays
    for name, value in before.items():
        setattr(module, name, value)
    await guarded.refresh(3)
    await guarded.stay(100)
    assert bool(guarded.open_relays) is waits


async def test_cold_never_latches(
    hass: HomeAssistant, make_line: MakeLine, clock: Clock
) -> None:
    module = VirtualModule(1)
    guarded = await guard_device(hass, make_line, clock, module)
    for _ in range(4):
        module.cell_temperatures[0] = -1.0
        await guarded.refresh()
        assert guarded.open_relays == {"charge"}
        module.cell_temperatures[0] = 3.0
        await guarded.refresh()
        await guarded.stay(60)
        assert guarded.open_relays == set()


# Silence


async def test_silence_stops_charging_then_discharging_by_the_clock_alone(
    hass: HomeAssistant, make_line: MakeLine, clock: Clock
) -> None:
    guarded = await guard_device(hass, make_line, clock, VirtualModule(1))
    await guarded.wait(14.9)
    assert guarded.found == set()
    await guarded.wait(0.1)
    assert guarded.found == {"silence"}
    assert guarded.open_relays == {"charge"}
    assert guarded.allowed == {"discharge"}
    assert guarded.events[-1] == {
        "event_type": "raised",
        "quantity": "silence",
        "level": "stop",
        "limit": 15.0,
        "clears": None,
        "waits": "value",
    }
    await guarded.wait(44.9)
    assert guarded.open_relays == {"charge"}
    await guarded.wait(0.1)
    assert guarded.open_relays == {"charge", "load"}
    assert guarded.allowed == set()
    await guarded.refresh(2)
    assert guarded.found == {"silence"}
    await guarded.refresh()
    assert guarded.found == set()
    assert guarded.open_relays == set()
    assert guarded.events[-1]["event_type"] == "cleared"
    assert len(guarded.events) == 2


async def test_times_of_silence_may_be_set(
    hass: HomeAssistant, make_line: MakeLine, clock: Clock
) -> None:
    options = {"limits": {"silence_charging": 5, "silence_discharging": 1800}}
    module = VirtualModule(1)
    guarded = await guard_device(hass, make_line, clock, module, options=options)
    await guarded.wait(5)
    assert guarded.open_relays == {"charge"}
    await guarded.wait(1794)
    assert guarded.open_relays == {"charge"}
    await guarded.wait(1)
    assert guarded.open_relays == {"charge", "load"}


@pytest.mark.parametrize("family", ["valence", "seplos"])
async def test_one_that_does_not_answer_is_silent(
    hass: HomeAssistant, make_line: MakeLine, clock: Clock, family: str
) -> None:
    device = VirtualModule(1) if family == "valence" else VirtualPack()
    guarded = await guard_device(hass, make_line, clock, device, options=IMPATIENT)
    device.silent = True
    await guarded.stay(60)
    assert guarded.open_relays == {"charge", "load"}
    device.silent = False
    await guarded.refresh(3)
    assert guarded.open_relays == set()


async def test_an_unplugged_line_is_silence(
    hass: HomeAssistant, make_line: MakeLine, clock: Clock, tmp_path: Any
) -> None:
    module = VirtualModule(1)
    line = await make_line(module, link=tmp_path / "adapter")
    guarded = await guard(hass, clock, str(line.link), identity(module))
    line.unplug()
    await guarded.stay(60)
    assert guarded.found == {"silence"}
    assert guarded.open_relays == {"charge", "load"}
    await line.replug()
    await guarded.refresh(3)
    assert guarded.found == set()
    assert guarded.open_relays == set()


# Parts of a reading


@pytest.mark.parametrize("opens", ["at once", "in its time"])
async def test_a_part_acts_though_the_rest_never_comes(
    hass: HomeAssistant, make_line: MakeLine, clock: Clock, opens: str
) -> None:
    module = HalfDeaf(1)
    guarded = await guard_device(hass, make_line, clock, module, options=IMPATIENT)
    module.deaf_to = (0x50,)
    module.cell_voltages[3] = 3.95 if opens == "at once" else 2.7
    await guarded.refresh()
    if opens == "at once":
        assert guarded.open_relays == {"charge"}
        return
    await guarded.wait(5)
    assert guarded.open_relays == {"load"}


async def test_a_part_of_a_pack_acts_though_the_rest_never_comes(
    hass: HomeAssistant, make_line: MakeLine, clock: Clock
) -> None:
    pack = HalfDeafPack()
    options = IMPATIENT | limit("discharge_over_current", stop=100.0, stop_clear=90.0)
    guarded = await guard_device(hass, make_line, clock, pack, options=options)
    pack.deaf_to = (0x1100,)
    pack.current = -101.0
    await guarded.refresh()
    assert guarded.found == {"discharge_over_current"}
    assert guarded.open_relays == {"charge", "load"}


async def test_parts_are_not_heard_and_clear_nothing(
    hass: HomeAssistant, make_line: MakeLine, clock: Clock
) -> None:
    module = HalfDeaf(1)
    guarded = await guard_device(hass, make_line, clock, module, options=IMPATIENT)
    module.cell_voltages[3] = 3.95
    await guarded.refresh()
    module.deaf_to = (0x1E,)
    module.cell_voltages[3] = 3.3
    await guarded.stay(14.9)
    assert guarded.found == {"cell_voltage_high", "cell_over_voltage"}
    await guarded.stay(0.1)
    assert guarded.found == {"cell_voltage_high", "cell_over_voltage", "silence"}
    await guarded.stay(200)
    assert guarded.open_relays == {"charge", "load"}


# Sensors


async def test_one_strange_reading_delays_closing_and_nothing_else(
    hass: HomeAssistant, make_line: MakeLine, clock: Clock
) -> None:
    module = VirtualModule(1)
    guarded = await guard_device(hass, make_line, clock, module)
    for registers in ({0x42: 14000}, {}) * 3:
        module.registers = registers
        await guarded.refresh()
        assert guarded.found == set()
        assert guarded.open_relays == set()
    # Off, so that it has to close again: only what is not strange lets it.
    await guarded.connect(on=False)
    await guarded.wait(60)
    module.registers = {0x42: 14000}
    await guarded.refresh()
    await guarded.wait(1)
    module.registers = {}
    assert guarded.open_relays == ALL
    await guarded.refresh(3)
    await guarded.connect()
    assert guarded.open_relays == set()


@pytest.mark.parametrize("volts", [5.1, 0.9])
async def test_a_dangerous_value_acts_at_once_however_strange(
    hass: HomeAssistant, make_line: MakeLine, clock: Clock, volts: float
) -> None:
    module = VirtualModule(1)
    guarded = await guard_device(hass, make_line, clock, module)
    module.cell_voltages[0] = volts
    await guarded.refresh()
    assert "sensor_fault" not in guarded.found
    await guarded.wait(0.5)
    assert guarded.open_relays == ALL
    await guarded.refresh()
    assert "sensor_fault" in guarded.found
    assert guarded.state("sensor_fault").attributes["what"] == "cell_range"


async def test_strange_readings_delay_clearing(
    hass: HomeAssistant, make_line: MakeLine, clock: Clock
) -> None:
    module = VirtualModule(1)
    guarded = await guard_device(hass, make_line, clock, module)
    module.cell_voltages[0] = 3.95
    await guarded.refresh()
    module.cell_voltages[0] = 3.3
    await guarded.refresh()
    await guarded.stay(50)
    module.registers = {0x42: 14000}
    await guarded.stay(10)
    assert "cell_over_voltage" in guarded.found
    module.registers = {}
    await guarded.refresh()
    assert guarded.found == set()


# What a relay does not stop


@pytest.mark.parametrize(
    ("current", "acts"), [(2.1, True), (1.9, False), (-5.0, False)]
)
async def test_current_in_a_stopped_direction_cuts_off_after_ten_seconds(
    hass: HomeAssistant,
    make_line: MakeLine,
    clock: Clock,
    current: float,
    acts: bool,
) -> None:
    module = VirtualModule(1)
    options = {"current_confirmed": True}
    guarded = await guard_device(hass, make_line, clock, module, options=options)
    module.cell_voltages[2] = 3.95
    module.current = current
    await guarded.refresh()
    await guarded.stay(9.8)
    assert guarded.open_relays == {"charge"}
    await guarded.stay(0.4)
    await guarded.wait(0.5)
    assert ("stop_without_effect" in guarded.found) is acts
    assert guarded.open_relays == (ALL if acts else {"charge"})
    if acts:
        told = {"value": 2.1, "limit": 2.0, "what": "charge", "level": "cutoff"}
        assert guarded.events[-1].items() >= told.items()


@pytest.mark.parametrize("current", [5.0, -5.0])
async def test_an_unconfirmed_current_is_certain_where_none_may_flow(
    hass: HomeAssistant, make_line: MakeLine, clock: Clock, current: float
) -> None:
    module = VirtualModule(1)
    guarded = await guard_device(hass, make_line, clock, module)
    module.current = current
    module.cell_voltages[2] = 3.95
    await guarded.stay(20)
    assert "stop_without_effect" not in guarded.found
    module.cell_temperatures[0] = 61.0
    await guarded.refresh()
    await guarded.stay(10)
    assert "stop_without_effect" in guarded.found
    await guarded.wait(0.5)
    assert guarded.open_relays == ALL


async def test_a_deeply_discharged_cell_is_not_charged_before_a_person_has_looked(
    hass: HomeAssistant, make_line: MakeLine, clock: Clock
) -> None:
    module = VirtualModule(1)
    options = limit("cell_under_voltage", stop=2.8, stop_clear=3.0, delay=5.0)
    guarded = await guard_device(hass, make_line, clock, module, options=options)
    module.cell_voltages[1] = 1.95
    await guarded.refresh()
    assert guarded.found == {"cell_deep_discharge"}
    assert guarded.open_relays == {"charge", "load"}
    module.cell_voltages[1] = 3.3
    await guarded.refresh()
    await guarded.stay(300)
    assert guarded.allowed == set()
    await guarded.press_reset()
    assert guarded.allowed == {"charge", "discharge"}
    assert guarded.open_relays == set()
