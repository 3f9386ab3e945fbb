"""The demo line: its URL, its modules and packs, and how they live."""

from __future__ import annotations

import pytest

from custom_components.openxpbms.bms.virtual import (
    VirtualBank,
    VirtualModule,
    VirtualPack,
    demo_line,
)
from custom_components.openxpbms.bms.virtual.scenario import (
    PERIOD,
    cell_voltage,
    demo_modules,
)


def modules_of(url: str) -> list[VirtualModule]:
    """Return the modules of a demo line."""
    return [
        device for device in demo_line(url).devices if isinstance(device, VirtualModule)
    ]


def packs_of(url: str) -> list[VirtualPack]:
    """Return the packs of a demo line, those of its bank too."""
    packs: list[VirtualPack] = []
    for device in demo_line(url).devices:
        packs += device.packs if isinstance(device, VirtualBank) else ()
        packs += [device] if isinstance(device, VirtualPack) else []
    return packs


def advance[B: (VirtualModule, VirtualPack)](battery: B, now: float) -> None:
    """Let a battery know that it is asked."""
    assert battery.before_answer is not None
    battery.before_answer(battery, now)


def test_a_url_names_modules_seed_and_time() -> None:
    line = demo_line("openxpbms-demo://valence?modules=5&seed=3&real_time=false")
    assert len(line.devices) == 5
    assert not line.real_time
    assert demo_line("openxpbms-demo://valence").real_time
    assert demo_line("openxpbms-demo://valence/?real_time=true").real_time
    assert len(modules_of("openxpbms-demo://valence")) == 4


def test_a_seed_gives_the_same_modules_again() -> None:
    def serials(url: str) -> list[str]:
        return [module.serial for module in modules_of(url)]

    url = "openxpbms-demo://valence?modules=32&seed="
    assert serials(url + "1") == serials(url + "1") != serials(url + "2")
    assert not set(serials(url + "1")) & set(serials(url + "2"))
    assert len(set(serials(url + "1"))) == 32


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("openxpbms://valence", "no demo line"),
        ("openxpbms-demo://valence/more", "no demo line"),
        ("openxpbms-demo://valence#4", "no demo line"),
        ("openxpbms-demo://", "no demo of ''"),
        ("openxpbms-demo://pylon", "no demo of 'pylon', only of: valence, seplos"),
        ("openxpbms-demo://valence?modules=four", "modules must be a number from 1"),
        ("openxpbms-demo://valence?modules=", "modules must be a number from 1 to 32"),
        ("openxpbms-demo://valence?modules=0", "not '0'"),
        ("openxpbms-demo://valence?modules=33", "not '33'"),
        ("openxpbms-demo://valence?seed=-1", "seed must be a number from 0 to 99"),
        ("openxpbms-demo://valence?modules=1&modules=2", "modules is given twice"),
        ("openxpbms-demo://valence?real_time=no", "real_time must be true or false"),
        ("openxpbms-demo://valence?packs=4", "unknown setting of a demo line: packs"),
        (
            "openxpbms-demo://valence?mode=alone",
            "mode must be asked or bank or string, ",
        ),
        ("openxpbms-demo://seplos?modules=4", "unknown setting of a demo line: modul"),
        ("openxpbms-demo://seplos?packs=0", "packs must be a number from 1 to 16, not"),
        ("openxpbms-demo://seplos?packs=17", "not '17'"),
        ("openxpbms-demo://seplos?packs=17&mode=bank", "not '17'"),
        ("openxpbms-demo://seplos?packs=1&mode=bank", "packs must be a number from 2"),
        ("openxpbms-demo://seplos?packs=two", "not 'two'"),
        ("openxpbms-demo://seplos?mode=listen", "mode must be asked or bank, not 'lis"),
        ("openxpbms-demo://seplos?mode=", "mode must be asked or bank, not ''"),
        ("openxpbms-demo://seplos?mode=bank&mode=bank", "mode is given twice"),
        ("openxpbms-demo://seplos?seed=100", "seed must be a number from 0 to 99"),
        ("openxpbms-demo://seplos?real_time=1", "real_time must be true or false"),
    ],
)
def test_what_a_url_cannot_mean_is_refused(url: str, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        demo_line(url)


def test_four_modules_are_in_four_states() -> None:
    balancing, warm, ordinary, low = demo_modules(4)
    for module in (balancing, warm, ordinary, low):
        advance(module, 1000.0)
    assert [module.address for module in (balancing, warm, ordinary, low)] == [
        1,
        2,
        3,
        4,
    ]
    assert balancing.balancing == {2}
    assert not warm.balancing | ordinary.balancing | low.balancing
    assert min(warm.cell_temperatures) > 45 > max(ordinary.cell_temperatures)
    assert low.soc < 10
    assert min(low.cell_voltages) < 3.1 < min(ordinary.cell_voltages)
    kinds = [(m.model, m.revision, len(m.cell_voltages)) for m in demo_modules(5)]
    assert kinds == [("7", 2, 4), ("1", 1, 4), ("V", 2, 6), ("4", 2, 4), ("7", 2, 4)]


@pytest.mark.parametrize(("mode", "cells"), [("bank", 4), ("string", 6)])
def test_modules_that_are_joined_are_alike(mode: str, cells: int) -> None:
    joined = modules_of(f"openxpbms-demo://valence?modules=5&mode={mode}")
    assert len({(module.model, module.revision) for module in joined}) == 1
    assert {module.cells for module in joined} == {cells}
    assert len({module.serial for module in joined}) == 5
    for second in range(0, int(2 * PERIOD), 9):
        for module in joined:
            advance(module, float(second))
        levels = [sorted(module.cell_voltages)[1] for module in joined]
        assert max(levels) - min(levels) < 0.01
        charges = [module.soc for module in joined]
        assert max(charges) - min(charges) < 1
        assert len({module.current for module in joined}) == 1
    balancing, ordinary, warm, cold, _ = joined
    assert balancing.balancing == {2}
    assert not ordinary.balancing | warm.balancing | cold.balancing
    assert min(warm.cell_temperatures) > 45
    assert min(cold.cell_temperatures) < 5


def test_they_are_charged_and_discharged_within_limits() -> None:
    for module in demo_modules(4):
        currents, charges = [], [module.soc]
        for second in range(0, int(3 * PERIOD), 7):
            advance(module, 5000.0 + second)
            currents.append(module.current)
            rising = module.soc >= charges[-1]
            assert rising == (module.current > 0) or abs(module.current) < 3
            charges.append(module.soc)
            assert all(2.8 < volts < 3.5 for volts in module.cell_voltages)
            assert max(module.cell_voltages) - min(module.cell_voltages) < 0.08
            assert min(module.cell_temperatures) > 15
            assert max(module.cell_temperatures) < 55
        assert min(currents) < -5 < 5 < max(currents)
        assert 2 < max(charges) - min(charges) < 20
        assert min(charges) > 0
        assert max(charges) < 100


def test_seldom_asked_they_stand_where_they_would_anyway() -> None:
    (often,), (seldom,) = demo_modules(1), demo_modules(1)
    advance(seldom, 0.0)
    for second in range(2000):
        advance(often, float(second))
    advance(seldom, 1999.0)
    assert seldom.soc == pytest.approx(often.soc)
    assert seldom.cell_voltages == pytest.approx(often.cell_voltages)
    assert seldom.cell_temperatures == pytest.approx(often.cell_temperatures, abs=1.5)


def test_what_is_set_from_outside_lasts() -> None:
    (module,) = demo_modules(1)
    advance(module, 0.0)
    module.cell_voltages[3] = 3.9
    advance(module, 1.0)
    assert module.cell_voltages[3] == pytest.approx(3.9, abs=0.005)
    assert module.balancing == {2, 4}
    module.soc = 100.0
    advance(module, 2.0)
    assert module.soc == 100.0
    advance(module, 0.5 * PERIOD)
    module.soc = 0.0
    advance(module, 0.6 * PERIOD)
    assert module.soc == 0.0
    assert not module.balancing


def test_a_cell_is_higher_the_fuller_it_is_and_the_more_it_is_charged() -> None:
    levels = [cell_voltage(soc, 0.0) for soc in range(101)]
    assert levels == sorted(levels)
    assert levels[0] == 2.6
    assert levels[100] == 3.45
    assert cell_voltage(50, 100.0) - cell_voltage(50, -100.0) == pytest.approx(0.16)


# Packs

ALONE = "openxpbms-demo://seplos?packs="
BANK = "openxpbms-demo://seplos?mode=bank&packs="


def alarms(pack: VirtualPack) -> set[int]:
    """Return coils of alarms and protections that a pack would answer with."""
    data = pack.states()
    coils = {n for n in range(144) if data[n // 8] >> n % 8 & 1}
    status = {*range(0x30, 0x48), 0x5E, *range(0x78, 0x84)}
    return {0x1200 + n for n in coils - status}


def test_packs_are_alone_or_a_bank() -> None:
    assert [pack.address for pack in packs_of(ALONE + "1")] == [0]
    assert [pack.address for pack in packs_of("openxpbms-demo://seplos")] == [0]
    many = list(range(1, 17))
    assert [pack.address for pack in packs_of(ALONE + "16")] == many
    assert [pack.address for pack in packs_of(ALONE + "2&mode=asked")] == [1, 2]
    assert [pack.address for pack in packs_of(BANK + "16")] == many
    assert len(packs_of("openxpbms-demo://seplos?mode=bank")) == 2
    (bank,) = demo_line(BANK + "4&real_time=false").devices
    assert isinstance(bank, VirtualBank)
    assert not demo_line(BANK + "4&real_time=false").real_time


@pytest.mark.parametrize("url", [ALONE, BANK])
def test_no_two_packs_are_alike_but_those_of_a_seed(url: str) -> None:
    def told(seed: int) -> list[tuple[str, list[float]]]:
        return [
            (pack.serial, pack.cell_voltages)
            for pack in packs_of(f"{url}16&seed={seed}")
        ]

    assert told(3) == told(3)
    some = told(3) + told(4)
    assert len({serial for serial, _ in some}) == 32
    assert len({tuple(cells) for _, cells in some}) == 32


def test_four_lone_packs_are_in_four_states() -> None:
    full, ordinary, warm, low = packs_of(ALONE + "4")
    for pack in (full, ordinary, warm, low):
        advance(pack, 1000.0)
        assert pack.current > 0
    # High: the third cell, any cell, the pack.
    assert alarms(full) == {0x1212, 0x1248, 0x124C}
    assert full.balancing == {3}
    assert alarms(ordinary) == set()
    assert alarms(warm) == {0x1250}
    assert alarms(low) == {0x1272}
    assert not ordinary.balancing | warm.balancing | low.balancing
    assert {pack.full_capacity for pack in (full, ordinary, warm)} == {280, 304, 314}
    assert {pack.board for pack in (full, ordinary, warm, low)} == {200}
    assert (full.states()[15], ordinary.states()[15]) == (0x43, 0x03)
    assert ordinary.parameters[0x1358] == 30400


def test_packs_of_a_bank_share_voltage_and_direction() -> None:
    bank = packs_of(BANK + "4")
    seen: set[int] = set()
    for second in range(0, int(2 * PERIOD), 9):
        for pack in bank:
            advance(pack, float(second))
            seen |= alarms(pack)
        levels = [sorted(pack.cell_voltages)[8] for pack in bank]
        assert max(levels) - min(levels) < 0.01
        directions = {pack.current > 0 for pack in bank if abs(pack.current) > 1}
        assert len(directions) < 2
    assert seen == {0x1212, 0x1248, 0x124C, 0x1250, 0x1252}
    high, ordinary, warm, cold = bank
    assert alarms(ordinary) == set()
    assert min(warm.cell_temperatures) > 45
    assert max(cold.cell_temperatures) < 5
    assert alarms(cold) == {0x1252}
    assert not alarms(high) & {0x1250, 0x1252}


def test_packs_are_charged_and_discharged_within_limits() -> None:
    for pack in packs_of(ALONE + "4"):
        currents, charges, came, bled = [], [pack.soc], [], []
        for second in range(0, int(3 * PERIOD), 7):
            advance(pack, 5000.0 + second)
            currents.append(pack.current)
            rising = pack.soc >= charges[-1]
            assert rising == (pack.current > 0) or abs(pack.current) < 3
            charges.append(pack.soc)
            came.append(frozenset(alarms(pack)))
            bled.append(bool(pack.balancing))
            assert all(2.9 < volts < 3.6 for volts in pack.cell_voltages)
            assert 15 < pack.ambient_temperature < min(pack.cell_temperatures)
            assert max(pack.cell_temperatures) < pack.mosfet_temperature < 65
        assert min(currents) < -60 < 60 < max(currents)
        assert 2 < max(charges) - min(charges) < 6
        assert min(charges) > 5
        assert max(charges) < 100
        if pack.address == 1:
            # Only while it is charged.
            assert len(set(came)) > 1
            assert frozenset() in came
            assert set(bled) == {True, False}


def test_what_is_set_from_outside_of_a_pack_lasts() -> None:
    [pack] = packs_of(ALONE + "1")
    advance(pack, 0.0)
    pack.coils |= {0x1288}
    pack.cell_voltages[5] = 3.7
    pack.cell_voltages[6] = 2.5
    pack.mosfet_temperature = 90.0
    advance(pack, 1.0)
    assert pack.cell_voltages[5] == pytest.approx(3.7, abs=0.005)
    assert pack.mosfet_temperature == pytest.approx(90.0, abs=0.5)
    assert {0x1288, 0x1215, 0x1206, 0x124A} <= alarms(pack)
    assert 6 in pack.balancing


def test_an_alarm_goes_at_its_own_limit() -> None:
    pack = packs_of(ALONE + "2")[1]
    pack.cell_temperatures = [49.9] * 4
    advance(pack, 0.0)
    assert alarms(pack) == set()
    for degrees, coils in ((50.0, {0x1250}), (47.1, {0x1250}), (47.0, set())):
        pack.cell_temperatures = [degrees] * 4
        advance(pack, 0.0)
        assert alarms(pack) == coils
    for degrees, coils in ((2.0, {0x1252}), (4.9, {0x1252}), (5.0, set())):
        pack.cell_temperatures = [degrees] * 4
        advance(pack, 0.0)
        assert alarms(pack) == coils
