"""The demo line: its URL, its modules, and how they live."""

from __future__ import annotations

import pytest

from custom_components.openxpbms.bms.virtual import VirtualModule, demo_line
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


def advance(module: VirtualModule, now: float) -> None:
    """Let a module know that it is asked."""
    assert module.before_answer is not None
    module.before_answer(module, now)


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
        ("openxpbms-demo://pylon", "no demo of 'pylon', only of: valence"),
        ("openxpbms-demo://valence?modules=four", "modules must be a number from 1"),
        ("openxpbms-demo://valence?modules=", "modules must be a number from 1 to 32"),
        ("openxpbms-demo://valence?modules=0", "not '0'"),
        ("openxpbms-demo://valence?modules=33", "not '33'"),
        ("openxpbms-demo://valence?seed=-1", "seed must be a number from 0 to 99"),
        ("openxpbms-demo://valence?modules=1&modules=2", "modules is given twice"),
        ("openxpbms-demo://valence?real_time=no", "real_time must be true or false"),
        ("openxpbms-demo://valence?packs=4", "unknown setting of a demo line: packs"),
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
