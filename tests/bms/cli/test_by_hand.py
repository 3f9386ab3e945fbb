"""What a person wants of virtual batteries, as they then answer."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields
from typing import Any

import pytest

from custom_components.openxpbms.bms.cli.by_hand import (
    FAULTS,
    Batteries,
    add_fault,
    batteries_of,
    raise_alarm,
    set_cell,
    set_current,
    set_soc,
    set_temperature,
)
from custom_components.openxpbms.bms.virtual import (
    Faults,
    VirtualLine,
    VirtualModule,
    VirtualPack,
    WriteFault,
    demo_line,
)
from custom_components.openxpbms.bms.virtual.seplos import Intruder

MODULES = "openxpbms-demo://valence?modules=2"
PACKS = "openxpbms-demo://seplos?packs=2"
BANK = "openxpbms-demo://seplos?packs=3&mode=bank"


def batteries(url: str) -> dict[int, Any]:
    """Return the batteries of a demo line, by address."""
    return batteries_of(demo_line(url).devices)


def later(battery: Any, seconds: float = 300.0) -> Any:
    """Let a battery live for a while, as one that is asked does."""
    for now in (0.0, seconds / 2, seconds):
        battery.before_answer(battery, now)
    return battery


def test_batteries_of_a_bank_are_its_packs() -> None:
    assert list(batteries(BANK)) == [1, 2, 3]
    assert list(batteries(MODULES)) == [1, 2]
    assert batteries_of([Intruder([])]) == {}


@pytest.mark.parametrize("url", [MODULES, PACKS, BANK])
def test_a_cell_is_held_and_the_others_live(url: str) -> None:
    known = batteries(url)
    before = list(known[2].cell_voltages)
    set_cell(known, "2:3=3.71")
    assert known[2].cell_voltages[2] == 3.71
    after = later(known[2]).cell_voltages
    assert after[2] == 3.71
    assert all(after[n] != volts for n, volts in enumerate(before) if n != 2), (
        "the others stand still"
    )
    assert 3.71 not in known[1].cell_voltages


def test_temperatures_and_currents_are_held() -> None:
    known = batteries(MODULES)
    set_temperature(known, "1:4=-12.5")
    set_current(known, "1=-30")
    set_current(known, "2=12")
    assert later(known[1]).cell_temperatures[3] == -12.5
    assert known[1].current == -30
    assert later(known[2]).current == 12


def test_a_battery_without_a_scenario_is_held_too() -> None:
    module = VirtualModule(1)
    set_current({1: module}, "1=5")
    module.current = 7.0
    assert later(module).current == 5


def test_states_of_charge_begin_where_they_should_with_voltages_to_match() -> None:
    known = batteries(MODULES)
    spread = known[2].cell_voltages[1] - known[2].cell_voltages[0]
    set_soc(known, "40")
    assert [known[n].soc for n in known] == [40, 40]
    set_soc(known, "2=1")
    assert [known[n].soc for n in known] == [40, 1]
    assert known[1].cell_voltages[0] == pytest.approx(3.28, abs=0.01)
    low = known[2].cell_voltages
    assert low[0] == pytest.approx(2.69, abs=0.01)
    assert low[1] - low[0] == pytest.approx(spread)
    assert later(known[2]).soc != 1


def test_a_low_cell_of_a_pack_raises_the_pack_s_own_alarm() -> None:
    known = batteries(PACKS)
    assert not later(known[2]).coils
    set_cell(known, "2:5=2.5")
    assert 0x1204 in later(known[2]).coils


def test_alarms_stay_raised() -> None:
    modules, packs = batteries(MODULES), batteries(PACKS)
    raise_alarm(modules, "1:cell_over_voltage")
    raise_alarm(modules, "1:battery-failure")
    assert later(modules[1]).status_flags == 1 << 4 | 1 << 9
    assert later(modules[2]).status_flags == 0
    raise_alarm(packs, "1:short_circuit_lock")
    raise_alarm(packs, "1:high_voltage_of_cell:7")
    raise_alarm(packs, "1:low_temperature_of_sensor")
    assert {0x1268, 0x1216, 0x1220} <= later(packs[1]).coils


@pytest.mark.parametrize(
    ("change", "text", "told"),
    [
        (set_cell, "2:3", "'2:3' is no ADDRESS:CELL=VALUE"),
        (set_cell, "2=3.3", "'2' is no ADDRESS:CELL=VALUE"),
        (set_cell, "2:=3.3", "'2:' is no ADDRESS:CELL=VALUE"),
        (set_cell, "9:3=3.3", "no battery '9', only 1, 2"),
        (set_cell, "x:3=3.3", "no battery 'x'"),
        (set_cell, "2:5=3.3", "battery 2 has no cell 5, only 1 to 4"),
        (set_cell, "2:0=3.3", "no cell 0"),
        (set_cell, "2:-1=3.3", "no cell -1"),
        (set_cell, "2:3=high", "'high' is no number from 0 to 9.999"),
        (set_cell, "2:3=33", "'33' is no number"),
        (set_cell, "2:3=nan", "'nan' is no number"),
        (set_temperature, "1:9=20", "battery 1 has no sensor 9, only 1 to 4"),
        (set_temperature, "1:1=300", "from -99 to 199"),
        (set_current, "1", "'1' is no ADDRESS=AMPERES"),
        (set_current, "1=328", "from -327 to 327"),
        (set_soc, "101", "from 0 to 100"),
        (set_soc, "7=50", "no battery '7'"),
        (raise_alarm, "1", "'1' is no ADDRESS:ALARM"),
        (raise_alarm, "1:cell_over_volt", "did you mean cell_over_voltage"),
        (raise_alarm, "1:cell_over_voltage:3", "no alarm is called .* 3"),
        (raise_alarm, "1:zzz", "no alarm is called zzz$"),
    ],
)
def test_what_makes_no_sense_is_told(
    change: Callable[[Batteries, str], None], text: str, told: str
) -> None:
    with pytest.raises(ValueError, match=told):
        change(batteries(MODULES), text)


def test_every_fault_of_a_line_can_be_had() -> None:
    known = {field.name for field in fields(Faults)}
    aside = {"late_by", "tamper", "injected", "overtakes"}
    assert {name.replace("-", "_") for name in FAULTS} == known - aside
    line = demo_line(MODULES)
    for name, usual in FAULTS.items():
        add_fault(line, name)
        assert getattr(line.faults, name.replace("-", "_")) == usual
        add_fault(line, f"{name}=0.5")
        assert getattr(line.faults, name.replace("-", "_")) == 0.5
    add_fault(line, "overtakes")
    assert line.faults.overtakes
    add_fault(line, "lost_bytes=0.25")
    assert line.faults.lost_bytes == 0.25


def test_faults_of_batteries_and_adapters() -> None:
    line = demo_line(PACKS)
    add_fault(line, "silent=2")
    add_fault(line, "no-mark")
    add_fault(line, "write=refuse-value")
    packs = batteries_of(line.devices)
    assert [pack.silent for pack in packs.values()] == [False, True]
    assert line.ignores_mark
    faults = [p.write_fault for p in packs.values() if isinstance(p, VirtualPack)]
    assert faults == [WriteFault.REFUSE_VALUE] * 2


def test_a_second_master_asks_the_same_addresses() -> None:
    line = demo_line(PACKS)
    add_fault(line, "second-master")
    intruder = line.devices[-1]
    assert isinstance(intruder, Intruder)
    assert [pack.address for pack in intruder.packs] == [1, 2]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("rain", "no fault is called rain; there are noise, burst, .*write"),
        ("lost=2", "'2' is no number from 0 to 1"),
        ("silent", "no battery ''"),
        ("silent=9", "no battery '9'"),
        ("write=badly", "write=HOW takes one of refuse-register, refuse-value"),
        ("write=late", "the fault write is for Seplos packs"),
        ("second-master", "the fault second-master is for Seplos packs"),
    ],
)
def test_faults_that_make_no_sense(text: str, told: str) -> None:
    line: VirtualLine = demo_line(MODULES)
    with pytest.raises(ValueError, match=told):
        add_fault(line, text)
