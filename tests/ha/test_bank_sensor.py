"""What the device of a bus shows of all its batteries together."""

from __future__ import annotations

from typing import Any
from unittest.mock import patch

from homeassistant.core import HomeAssistant, State
from homeassistant.helpers import entity_registry as er
import pytest
from pytest_homeassistant_custom_component.common import MockConfigEntry

from custom_components.openxpbms.batteries import stored
from custom_components.openxpbms.bms.virtual.seplos import VirtualBank
from custom_components.openxpbms.bms.virtual.valence import VirtualModule
from custom_components.openxpbms.const import DOMAIN

from .conftest import MakeEntry, MakeLine, first_round, identity
from .test_seplos_entities import heard, make_pack, wait_until

NAMES = {address: f"U27-12XP 10440046{address}" for address in range(1, 5)}
# Those that need to know how the batteries are joined.
ELECTRIC = ("voltage", "current", "remaining_capacity", "full_capacity")
SUMS = (*ELECTRIC, "power", "state_of_charge")


def module(address: int, **changes: Any) -> VirtualModule:
    """Return a module that differs from others by its address."""
    volts = 3.2 + address / 100
    values: dict[str, Any] = {
        "cell_voltages": [volts, volts + 0.001, volts + 0.002, volts + 0.003],
        "cell_temperatures": [20.0 + address, 21.0, 22.0, 23.0 + address],
        "current": 10.0 * address,
        "soc": 40.0 + 10 * address,
    }
    return VirtualModule(address, serial=f"10440046{address}", **values | changes)


def joined(how: str, **more: Any) -> dict[str, Any]:
    """Return options of a bank of which the current's direction is confirmed."""
    return {"outputs": {"joined": how}, "current_confirmed": True, **more}


def bank(hass: HomeAssistant, key: str) -> State:
    """Return the state of a sensor of the bank."""
    [entry] = hass.config_entries.async_entries(DOMAIN)
    registry = er.async_get(hass)
    unique_id = f"{entry.entry_id}_{key}"
    entity_id = registry.async_get_entity_id("sensor", DOMAIN, unique_id)
    assert entity_id is not None, key
    state = hass.states.get(entity_id)
    assert state is not None, key
    return state


def values(hass: HomeAssistant, *keys: str) -> list[float | str]:
    """Return states of sensors of the bank, those that are numbers as numbers."""
    states = [bank(hass, key).state for key in keys]
    return [s if s in {"unavailable", "unknown"} else float(s) for s in states]


async def refresh(entry: Any, rounds: int = 1) -> None:
    """Ask the bus now."""
    for _ in range(rounds):
        await entry.runtime_data.async_refresh()


async def test_modules_in_parallel(
    hass: HomeAssistant, make_line: MakeLine, make_entry: MakeEntry
) -> None:
    modules = [module(1), module(2)]
    line = await make_line(*modules)
    await make_entry(line.path, *map(identity, modules), options=joined("parallel"))
    first, second = (sum(m.cell_voltages) for m in modules)
    assert values(hass, *SUMS) == pytest.approx(
        [
            round((first + second) / 2, 3),
            30,
            138 * 0.5 + 138 * 0.6,
            276,
            round(first * 10, 2) + round(second * 20, 2),
            55,
        ],
        abs=0.011,
    )
    assert bank(hass, "current").attributes["direction_confirmed"] is True
    lowest, highest = (bank(hass, f"bank_{e}_cell_voltage") for e in _ENDS)
    assert (lowest.state, highest.state) == ("3.21", "3.223")
    assert lowest.attributes["battery"] == NAMES[1]
    assert (lowest.attributes["cell"], highest.attributes["cell"]) == (1, 4)
    assert highest.attributes["battery"] == NAMES[2]
    spread = bank(hass, "battery_spread")
    assert float(spread.state) == pytest.approx(0.01)
    assert (spread.attributes["lowest"], spread.attributes["highest"]) == (
        NAMES[1],
        NAMES[2],
    )
    cold, warm = (bank(hass, f"bank_{e}_temperature") for e in _ENDS)
    assert (float(cold.state), float(warm.state)) == (21, 25)
    assert (warm.attributes["battery"], warm.attributes["sensor"]) == (NAMES[2], 4)
    assert values(hass, "bank_mean_temperature", "cell_delta") == [22.25, 0.013]
    online = bank(hass, "batteries_online")
    assert (online.state, online.attributes["expected"]) == ("2", 2)
    assert online.attributes["silent"] == []
    # These modules allow nothing, and nothing is said for them.
    assert not hass.states.get("sensor.garage_allowed_charge_current")
    assert hass.states.get("sensor.garage_state_of_charge")


_ENDS = ("lowest", "highest")


async def test_modules_in_series(
    hass: HomeAssistant, make_line: MakeLine, make_entry: MakeEntry
) -> None:
    modules = [module(1, current=-20.0), module(2, current=-20.0)]
    line = await make_line(*modules)
    await make_entry(line.path, *map(identity, modules), options=joined("series"))
    volts = sum(sum(m.cell_voltages) for m in modules)
    assert values(hass, *SUMS) == pytest.approx(
        [volts, -20, 69, 138, volts * -20, 55], abs=0.011
    )


async def test_without_a_choice_only_what_needs_none_is_there(
    hass: HomeAssistant, make_line: MakeLine, make_entry: MakeEntry
) -> None:
    modules = [module(1), module(2)]
    line = await make_line(*modules)
    await make_entry(line.path, *map(identity, modules))
    assert set(values(hass, *ELECTRIC)) == {"unavailable"}
    assert values(hass, "state_of_charge", "bank_lowest_cell_voltage") == [55, 3.21]
    power = bank(hass, "power")
    assert float(power.state) > 0
    # Nobody said which way the current of these modules counts.
    assert power.attributes["direction_confirmed"] is False
    assert bank(hass, "worst_warning").state != "unavailable"


async def test_a_silent_battery_takes_the_sums_and_gives_them_back(
    hass: HomeAssistant, make_line: MakeLine, make_entry: MakeEntry
) -> None:
    modules = [module(1), module(2)]
    line = await make_line(*modules)
    entry = await make_entry(
        line.path, *map(identity, modules), options=joined("parallel")
    )
    modules[0].silent = True
    await refresh(entry, 2)
    assert set(values(hass, *SUMS)) == {"unavailable"}
    # The extremes are those of the others.
    assert values(hass, "bank_lowest_cell_voltage") == [3.22]
    assert values(hass, "battery_spread") == ["unavailable"]
    online = bank(hass, "batteries_online")
    assert (online.state, online.attributes["silent"]) == ("1", [NAMES[1]])
    modules[1].silent = True
    await refresh(entry, 2)
    assert bank(hass, "batteries_online").state == "0"
    assert values(hass, "bank_lowest_cell_voltage") == ["unavailable"]
    for one in modules:
        one.silent = False
    await refresh(entry, 3)
    assert values(hass, "current", "batteries_online") == [30, 2]


async def test_an_option_goes_on_without_a_silent_battery(
    hass: HomeAssistant, make_line: MakeLine, make_entry: MakeEntry
) -> None:
    modules = [module(1), module(2)]
    line = await make_line(*modules)
    entry = await make_entry(
        line.path,
        *map(identity, modules),
        options=joined("parallel", bank={"without_silent": True, "capacity": 100}),
    )
    assert values(hass, "current", "full_capacity") == [30, 200]
    modules[0].silent = True
    await refresh(entry, 2)
    assert values(hass, "current", "full_capacity", "state_of_charge") == [20, 100, 60]


async def test_a_module_of_unknown_capacity_has_none(
    hass: HomeAssistant, make_line: MakeLine, make_entry: MakeEntry
) -> None:
    modules = [module(1), module(2, model="Z")]
    line = await make_line(*modules)
    await make_entry(line.path, *map(identity, modules), options=joined("parallel"))
    assert values(hass, *SUMS)[1:4] == [30, "unavailable", "unavailable"]
    assert values(hass, "state_of_charge") == ["unavailable"]


async def test_the_bank_of_a_battery_alone_is_there_for_those_who_want_it(
    hass: HomeAssistant, make_line: MakeLine, make_entry: MakeEntry
) -> None:
    one = module(1)
    line = await make_line(one)
    entry = await make_entry(line.path, identity(one))
    registry = er.async_get(hass)
    of_bank = [
        item
        for item in er.async_entries_for_config_entry(registry, entry.entry_id)
        if item.domain == "sensor" and item.unique_id.startswith(entry.entry_id)
    ]
    assert len(of_bank) > 10
    for item in of_bank:
        assert item.disabled_by is er.RegistryEntryDisabler.INTEGRATION
        registry.async_update_entity(item.entity_id, disabled_by=None)
    assert await hass.config_entries.async_reload(entry.entry_id)
    await first_round(hass, entry)
    # Nothing needs to be chosen for it.
    assert values(hass, "current", "full_capacity", "batteries_online") == [10, 138, 1]
    assert values(hass, "battery_spread") == ["unavailable"]


async def test_the_worst_of_all_batteries(
    hass: HomeAssistant, make_line: MakeLine, make_entry: MakeEntry
) -> None:
    modules = [module(1), module(2)]
    line = await make_line(*modules)
    entry = await make_entry(line.path, *map(identity, modules))
    assert bank(hass, "worst_protection").state == "none"
    assert "battery" not in bank(hass, "worst_protection").attributes
    assert bank(hass, "worst_warning").state == "none"

    # A low state of charge warns.
    modules[0].soc = 3.0
    await refresh(entry)
    warning = bank(hass, "worst_warning")
    assert (warning.state, warning.attributes["battery"]) == ("low_soc", NAMES[1])
    assert bank(hass, "worst_protection").state == "none"

    # Cold stops charging.
    modules[0].cell_temperatures[1] = -20.0
    await refresh(entry)
    worst = bank(hass, "worst_protection")
    assert worst.state == "cell_under_temperature"
    assert (worst.attributes["level"], worst.attributes["battery"]) == (
        "stop",
        NAMES[1],
    )

    # A cut-off is worse, though it came later.
    modules[1].cell_voltages[2] = 4.1
    await refresh(entry)
    worst = bank(hass, "worst_protection")
    assert (worst.state, worst.attributes["battery"]) == ("cell_over_voltage", NAMES[2])
    assert (worst.attributes["level"], worst.attributes["cell"]) == ("cutoff", 3)
    assert worst.attributes["value"] == 4.1


async def test_packs_that_are_listened_to_are_in_parallel(
    hass: HomeAssistant, make_line: MakeLine
) -> None:
    one, two = make_pack(), make_pack(current=25.5, full_capacity=100.0, soc=30.0)
    two.remaining_capacity = 30.0
    line = await make_line(VirtualBank([one, two]))
    entry = await set_up(hass, line.path, "listen", heard(1), heard(2))
    await wait_until(hass, lambda: all(b.reading for b in entry.runtime_data))
    await refresh(entry)
    assert values(hass, *ELECTRIC[1:]) == pytest.approx([13.16, 200.08, 376.55])
    assert values(hass, "voltage") == pytest.approx([sum(one.cell_voltages)], abs=0.02)
    soc = (61.5 * 276.55 + 30 * 100) / 376.55
    assert values(hass, "state_of_charge") == pytest.approx([soc], abs=0.05)
    assert values(hass, "allowed_charge_current", "allowed_discharge_current") == [
        260,
        350,
    ]
    assert not line.bytes_received


async def test_a_pack_that_is_heard_later_is_of_the_bank_then(
    hass: HomeAssistant, make_line: MakeLine
) -> None:
    one, two = make_pack(), make_pack(current=25.5, silent=True)
    line = await make_line(VirtualBank([one, two]))
    entry = await set_up(hass, line.path, "listen", heard(1))
    # One pack now, but it is a bank: its sensors are switched on.
    await wait_until(hass, lambda: all(b.reading for b in entry.runtime_data))
    await refresh(entry)
    assert values(hass, "current", "batteries_online") == [-12.34, 1]
    two.silent = False
    await wait_until(hass, lambda: len(list(entry.runtime_data)) == 2)
    await refresh(entry)
    assert values(hass, "current", "batteries_online") == [13.16, 2]


async def test_a_port_that_goes_takes_all_but_the_number(
    hass: HomeAssistant, make_line: MakeLine, make_entry: MakeEntry
) -> None:
    modules = [module(1), module(2)]
    line = await make_line(*modules)
    entry = await make_entry(
        line.path, *map(identity, modules), options=joined("parallel")
    )
    line.unplug()
    await refresh(entry)
    assert set(values(hass, *SUMS, "bank_mean_temperature")) == {"unavailable"}
    assert bank(hass, "batteries_online").state == "0"
    assert bank(hass, "worst_protection").state != "unavailable"


async def test_what_cannot_be_is_not_summed(
    hass: HomeAssistant, make_line: MakeLine, make_entry: MakeEntry
) -> None:
    modules = [module(1), module(2)]
    line = await make_line(*modules)
    entry = await make_entry(
        line.path, *map(identity, modules), options=joined("parallel")
    )
    # 65 V of four cells, and cells of 64 V.
    modules[0].registers[0x42] = 65000
    await refresh(entry)
    assert values(hass, "voltage", "power") == ["unavailable"] * 2
    assert values(hass, "current", "bank_highest_cell_voltage") == [30, 3.223]
    modules[0].registers[0x49] = 64000
    await refresh(entry)
    assert values(hass, "bank_highest_cell_voltage") == [3.223]
    assert values(hass, "bank_lowest_cell_voltage") == [3.22]


async def test_states_are_written_only_when_they_change(
    hass: HomeAssistant, make_line: MakeLine, make_entry: MakeEntry
) -> None:
    modules = [module(1, current=0.0), module(2, current=0.0)]
    line = await make_line(*modules)
    entry = await make_entry(
        line.path, *map(identity, modules), options=joined("parallel")
    )
    with patch("homeassistant.helpers.entity.Entity._async_write_ha_state") as write:
        await refresh(entry)
        assert write.call_count == 0
        modules[0].cell_temperatures[1] = 22.4
        await refresh(entry)
        # The sensor of the module, and the mean of the bank.
        assert write.call_count == 2


async def test_what_flickers_is_not_written(
    hass: HomeAssistant, make_line: MakeLine, make_entry: MakeEntry
) -> None:
    modules = [module(1, current=0.0), module(2, current=0.0)]
    line = await make_line(*modules)
    entry = await make_entry(
        line.path, *map(identity, modules), options=joined("parallel")
    )
    with patch(
        "homeassistant.helpers.entity.Entity._async_write_ha_state", autospec=True
    ) as write:
        for amperes in (0.15, -0.15, 0.1, 0.0):
            for one in modules:
                one.current = amperes
                one.cell_temperatures[0] = 20.0 + one.address + amperes / 4
            await refresh(entry)
        assert [call.args[0].entity_id for call in write.mock_calls] == []
    # Two times 0.3 A are more than two batteries flicker.
    for one in modules:
        one.current = 0.3
    await refresh(entry)
    assert values(hass, "current") == [0.6]


async def set_up(
    hass: HomeAssistant, url: str, mode: str, *known: Any, **options: Any
) -> MockConfigEntry:
    """Set an entry of Seplos packs up."""
    entry = MockConfigEntry(
        domain=DOMAIN,
        title="Cellar",
        data={
            "device": url,
            "family": "seplos",
            "mode": mode,
            "batteries": stored(known),
        },
        options=options,
    )
    entry.add_to_hass(hass)
    assert await hass.config_entries.async_setup(entry.entry_id)
    await first_round(hass, entry)
    return entry
