"""The pages of the options that hold the figures protection judges by."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields as fields_of
from typing import Any
from unittest.mock import MagicMock

from homeassistant.core import HomeAssistant
from homeassistant.data_entry_flow import FlowResultType, InvalidData
import pytest

from custom_components.openxpbms.bms.limits import SEPLOS, Limit, Limits, Quantity
from custom_components.openxpbms.bms.virtual.valence import VirtualModule
from custom_components.openxpbms.guard_options import PRESETS, limits_of
from custom_components.openxpbms.limits_flow import FIGURES
from custom_components.openxpbms.options_flow import OpenXPBMSOptionsFlow

from .conftest import MakeEntry, MakeLine, first_round, identity
from .guarding import watched_of
from .option_pages import (
    EN,
    answer,
    errors,
    fields,
    make_bus,
    open_page,
    setups,
    shown,
)

# What belongs to other pages and must stay.
OTHERS = {
    "interval": 3,
    "invert_current": True,
    "outputs": {"joined": "single", "charge": {"relay": "gone"}},
}
OVER_VOLTAGE = {
    "warning": 3.6,
    "warning_clear": 3.5,
    "stop": 3.8,
    "stop_clear": 3.6,
    "cutoff": 3.9,
    "delay": 2,
}
UNDER_VOLTAGE = {
    "warning": 3.0,
    "warning_clear": 3.1,
    "stop": 2.8,
    "stop_clear": 3.0,
    "cutoff": 2.6,
    "delay": 5,
}


@pytest.fixture
def setup() -> Iterator[MagicMock]:
    with setups() as setup:
        yield setup


def limits(entry: Any) -> Limits:
    """Return the limits that now hold for an entry."""
    return limits_of(entry.data["family"], entry.options)


def without(figures: dict[str, Any], *names: str) -> dict[str, Any]:
    """Return figures with some fields emptied."""
    return {name: value for name, value in figures.items() if name not in names}


@pytest.mark.usefixtures("setup")
@pytest.mark.parametrize("quantity", FIGURES)
@pytest.mark.parametrize("family", ["valence", "seplos"])
async def test_a_page_shows_what_holds_and_changes_nothing_by_itself(
    hass: HomeAssistant, quantity: Quantity, family: str
) -> None:
    entry = await make_bus(hass, family=family, options=OTHERS)
    before = limits(entry)
    result = await open_page(hass, entry, "limits", quantity)
    figures = shown(result)
    assert Limit(**figures) == before[quantity]
    result = await answer(hass, result, figures)
    assert result["type"] is FlowResultType.CREATE_ENTRY
    assert limits(entry) == before
    # What is as in the preset follows it.
    assert entry.options == OTHERS | {"limits": {"quantities": {}}}


async def test_figures_are_kept_beside_everything_else(
    hass: HomeAssistant, setup: MagicMock
) -> None:
    kept = {"quantities": {"low_soc": {"warning": 30.0}}, "grace": 60.0}
    entry = await make_bus(hass, options=OTHERS | {"limits": kept})
    assert setup.call_count == 1
    result = await open_page(hass, entry, "limits", "cell_over_voltage")
    await answer(hass, result, OVER_VOLTAGE)
    assert setup.call_count == 2
    assert entry.options == OTHERS | {
        "limits": {
            "quantities": {
                "low_soc": {"warning": 30.0},
                "cell_over_voltage": OVER_VOLTAGE | {"warning_delay": 0.0},
            },
            "grace": 60.0,
        }
    }
    assert limits(entry)[Quantity.CELL_OVER_VOLTAGE] == Limit(**OVER_VOLTAGE)
    result = await open_page(hass, entry, "limits", "cell_over_voltage")
    assert shown(result) == OVER_VOLTAGE


@pytest.mark.usefixtures("setup")
async def test_an_emptied_field_switches_its_level_off(hass: HomeAssistant) -> None:
    entry = await make_bus(hass)
    result = await open_page(hass, entry, "limits", "cell_over_voltage")
    figures = without(OVER_VOLTAGE, "warning", "warning_clear", "cutoff")
    await answer(hass, result, figures)
    limit = limits(entry)[Quantity.CELL_OVER_VOLTAGE]
    assert (limit.warning, limit.warning_clear, limit.cutoff) == (None, None, None)
    result = await open_page(hass, entry, "limits", "cell_over_voltage")
    assert shown(result) == figures


@pytest.mark.usefixtures("setup")
async def test_figures_that_are_the_presets_again_follow_it(
    hass: HomeAssistant,
) -> None:
    kept = {"quantities": {"low_soc": {"warning": 30.0}, "cell_spread": {}}}
    entry = await make_bus(hass, options={"limits": kept})
    result = await open_page(hass, entry, "limits", "low_soc")
    await answer(hass, result, {"warning": 15, "warning_clear": 17})
    assert entry.options == {"limits": {"quantities": {"cell_spread": {}}}}


@pytest.mark.usefixtures("setup")
async def test_a_page_may_be_emptied(hass: HomeAssistant) -> None:
    entry = await make_bus(hass)
    result = await open_page(hass, entry, "limits", "low_soc")
    assert shown(result) == {"warning": 15.0, "warning_clear": 17.0}
    await answer(hass, result, {})
    assert limits(entry)[Quantity.LOW_SOC] == Limit()


@pytest.mark.usefixtures("setup")
async def test_a_time_cannot_be_emptied(hass: HomeAssistant) -> None:
    entry = await make_bus(hass)
    result = await open_page(hass, entry, "limits", "charge_over_current")
    assert shown(result) == {"delay": 10.0, "warning_delay": 0.0}
    with pytest.raises(InvalidData):
        await answer(hass, result, {"warning_delay": 0})


@pytest.mark.usefixtures("setup")
@pytest.mark.parametrize(
    ("quantity", "changes", "field", "says", "advice"),
    [
        (
            "cell_over_voltage",
            {"warning": 3.95, "stop": 3.9, "cutoff": 4.0},
            "warning",
            "The warning (3.95 V) must be reached before the stop (3.9 V)",
            "lower the warning or raise the stop.",
        ),
        (
            "cell_over_voltage",
            {"warning": 3.8},
            "warning",
            "The warning (3.8 V) must be reached before the stop (3.8 V)",
            "lower the warning or raise the stop.",
        ),
        (
            "cell_over_voltage",
            {"warning_clear": 3.65},
            "warning_clear",
            "The warning at 3.6 V must clear at a lower value than that, not at 3.65 V",
            "lower the value at which it clears or raise the warning.",
        ),
        (
            "cell_over_voltage",
            {"stop_clear": 3.85},
            "stop_clear",
            "The stop at 3.8 V must clear at a lower value than that, not at 3.85 V",
            "lower the value at which it clears or raise the stop.",
        ),
        (
            "cell_over_voltage",
            {"stop": None, "stop_clear": 3.95},
            "stop_clear",
            "The stop must clear below the cut-off (3.9 V), not at 3.95 V",
            "lower the value at which it clears or raise the cut-off.",
        ),
        (
            "cell_over_voltage",
            {"cutoff": 3.75},
            "stop",
            "The stop (3.8 V) must be reached before the cut-off (3.75 V)",
            "lower the stop or raise the cut-off.",
        ),
        (
            "cell_over_voltage",
            {"warning_clear": None},
            "warning_clear",
            "A warning at 3.6 V needs the value at which it clears",
            "set it, or empty the warning.",
        ),
        (
            "cell_over_voltage",
            {"stop_clear": None},
            "stop_clear",
            "A stop at 3.8 V needs the value at which the stop clears",
            "set it, or empty the stop.",
        ),
        (
            "cell_over_voltage",
            {"stop": None, "stop_clear": None},
            "stop_clear",
            "A cut-off at 3.9 V needs the value at which the stop clears",
            "set it, or empty the cut-off.",
        ),
        (
            "cell_under_voltage",
            {"warning": 2.7},
            "warning",
            "The warning (2.7 V) must be reached before the stop (2.8 V)",
            "raise the warning or lower the stop.",
        ),
        (
            "cell_under_voltage",
            {"warning_clear": 2.9},
            "warning_clear",
            "The warning at 3 V must clear at a higher value than that, not at 2.9 V",
            "raise the value at which it clears or lower the warning.",
        ),
        (
            "cell_under_voltage",
            {"stop_clear": 2.7},
            "stop_clear",
            "The stop at 2.8 V must clear at a higher value than that, not at 2.7 V",
            "raise the value at which it clears or lower the stop.",
        ),
        (
            "cell_under_voltage",
            {"stop": None, "stop_clear": 2.5},
            "stop_clear",
            "The stop must clear above the cut-off (2.6 V), not at 2.5 V",
            "raise the value at which it clears or lower the cut-off.",
        ),
        (
            "cell_under_voltage",
            {"cutoff": 2.9},
            "stop",
            "The stop (2.8 V) must be reached before the cut-off (2.9 V)",
            "raise the stop or lower the cut-off.",
        ),
    ],
)
async def test_figures_in_the_wrong_order_are_named_and_nothing_typed_is_lost(
    hass: HomeAssistant,
    quantity: str,
    changes: dict[str, Any],
    field: str,
    says: str,
    advice: str,
) -> None:
    good = OVER_VOLTAGE if quantity == "cell_over_voltage" else UNDER_VOLTAGE
    typed = {k: v for k, v in (good | changes).items() if v is not None}
    entry = await make_bus(hass, options=OTHERS)
    result = await open_page(hass, entry, "limits", quantity)
    result = await answer(hass, result, typed)
    assert errors(result) == {field: f"{says}: {advice}"}
    assert shown(result) == typed
    assert entry.options == OTHERS
    result = await answer(hass, result, good)
    assert result["type"] is FlowResultType.CREATE_ENTRY
    assert limits(entry)[Quantity(quantity)] == Limit(**good)


@pytest.mark.usefixtures("setup")
@pytest.mark.parametrize(
    ("quantity", "field", "value"),
    [
        ("cell_over_voltage", "stop", 5.1),
        ("cell_under_voltage", "stop", -0.1),
        ("cell_over_temperature", "cutoff", 121),
        ("cell_under_temperature", "stop", -41),
        ("discharge_over_current", "stop", 1001),
        ("low_soc", "warning", 101),
        ("cell_spread", "warning_delay", 3601),
        ("silence", "silence_charging", 4),
        ("silence", "silence_charging", 61),
        ("silence", "silence_discharging", 14),
        ("silence", "silence_discharging", 1801),
        ("silence", "grace", 4),
        ("silence", "grace", 301),
    ],
)
async def test_what_is_out_of_range_is_refused(
    hass: HomeAssistant, quantity: str, field: str, value: float
) -> None:
    entry = await make_bus(hass)
    result = await open_page(hass, entry, "limits", quantity)
    with pytest.raises(InvalidData) as refused:
        await answer(hass, result, shown(result) | {field: value})
    assert list(refused.value.schema_errors) == [field]
    assert entry.options == {}


@pytest.mark.usefixtures("setup")
@pytest.mark.parametrize(
    ("quantity", "extra", "lacks"),
    [
        ("cell_over_voltage", {"cutoff", "delay"}, {"warning_delay"}),
        ("cell_under_voltage", {"cutoff", "delay"}, {"warning_delay"}),
        ("cell_over_temperature", {"cutoff", "delay"}, {"warning_delay"}),
        ("electronics_over_temperature", {"cutoff", "delay"}, {"warning_delay"}),
        ("cell_under_temperature", {"delay"}, {"cutoff"}),
        ("charge_over_current", {"delay", "warning_delay"}, {"cutoff"}),
        ("discharge_over_current", {"delay", "warning_delay"}, {"cutoff"}),
        ("cell_spread", {"delay", "warning_delay"}, {"cutoff"}),
        ("low_soc", set(), {"stop", "stop_clear", "cutoff", "delay"}),
    ],
)
async def test_each_quantity_has_the_levels_that_make_sense(
    hass: HomeAssistant, quantity: str, extra: set[str], lacks: set[str]
) -> None:
    entry = await make_bus(hass)
    there = set(fields(await open_page(hass, entry, "limits", quantity)))
    assert {"warning", "warning_clear"} | extra <= there
    assert not there & lacks
    assert there <= {field.name for field in fields_of(Limit)}


@pytest.mark.usefixtures("setup")
async def test_how_long_batteries_may_be_silent(hass: HomeAssistant) -> None:
    kept = {"latch_all": True, "quantities": {"low_soc": {}}}
    entry = await make_bus(hass, options=OTHERS | {"limits": kept})
    result = await open_page(hass, entry, "limits", "silence")
    assert shown(result) == {
        "silence_charging": 15,
        "silence_discharging": 60,
        "grace": 30,
    }
    chosen = {"silence_charging": 20, "silence_discharging": 300, "grace": 45}
    await answer(hass, result, chosen)
    assert entry.options == OTHERS | {"limits": kept | chosen}
    assert shown(await open_page(hass, entry, "limits", "silence")) == chosen


@pytest.mark.usefixtures("setup")
@pytest.mark.parametrize(
    ("family", "count", "off"),
    [("valence", 6, "nmi_failure"), ("seplos", 9, "aerosol")],
)
async def test_reported_faults_that_stop(
    hass: HomeAssistant, family: str, count: int, off: str
) -> None:
    entry = await make_bus(hass, family=family, options=OTHERS)
    result = await open_page(hass, entry, "limits", "faults")
    every = shown(result)["faults"]
    assert len(every) == count
    assert fields(result)["faults"]["selector"]["select"]["options"] == every
    await answer(hass, result, {"faults": [name for name in every if name != off]})
    assert entry.options == OTHERS | {"limits": {"faults_off": [off]}}
    assert limits(entry).faults == set(every) - {off}
    result = await open_page(hass, entry, "limits", "faults")
    assert off not in shown(result)["faults"]
    # The frontend leaves out what has nothing ticked.
    await answer(hass, result, {})
    assert limits(entry).faults == frozenset()


@pytest.mark.usefixtures("setup")
async def test_all_stops_may_latch(hass: HomeAssistant) -> None:
    entry = await make_bus(hass, options=OTHERS | {"limits": {"grace": 60.0}})
    result = await open_page(hass, entry, "limits", "latching")
    assert shown(result) == {"latch_all": False}
    await answer(hass, result, {"latch_all": True})
    assert entry.options == OTHERS | {"limits": {"grace": 60.0, "latch_all": True}}
    assert shown(await open_page(hass, entry, "limits", "latching"))["latch_all"]


@pytest.mark.usefixtures("setup")
async def test_a_preset_discards_changed_figures_and_keeps_the_rest(
    hass: HomeAssistant,
) -> None:
    rest = {"faults_off": ["nmi_failure"], "grace": 60.0, "latch_all": True}
    kept = {"quantities": {"low_soc": {"warning": 30.0, "warning_clear": 40.0}}}
    entry = await make_bus(hass, options=OTHERS | {"limits": kept | rest})
    result = await open_page(hass, entry, "limits", "preset")
    assert shown(result) == {"preset": "arduino_xp_bms"}
    await answer(hass, result, {"preset": "seplos"})
    assert entry.options == OTHERS | {
        "limits": {"preset": "seplos", "quantities": {}} | rest
    }
    assert limits(entry).quantities == SEPLOS.quantities
    assert shown(await open_page(hass, entry, "limits", "preset")) == {
        "preset": "seplos"
    }
    # Figures are now compared with, and shown from, that preset.
    result = await open_page(hass, entry, "limits", "cell_over_voltage")
    assert shown(result)["stop"] == 3.7
    await answer(hass, result, shown(result))
    assert entry.options["limits"]["quantities"] == {}


@pytest.mark.parametrize("preset", PRESETS.values(), ids=PRESETS)
def test_pages_can_hold_all_that_presets_set(preset: Limits) -> None:
    for quantity, limit in preset.quantities.items():
        page = FIGURES[quantity]
        for field in fields_of(Limit):
            value = getattr(limit, field.name)
            assert not value or field.name in page.names, (quantity, field.name)
            if value and not field.name.endswith("delay"):
                assert page.low <= value <= page.high, (quantity, field.name)


async def test_a_changed_figure_takes_effect(
    hass: HomeAssistant, make_line: MakeLine, make_entry: MakeEntry
) -> None:
    module = VirtualModule(1)
    line = await make_line(module)
    entry = await make_entry(line.path, identity(module))
    assert watched_of(entry, 1).decision.may_charge
    result = await open_page(hass, entry, "limits", "cell_over_voltage")
    figures = {"stop": 3.0, "stop_clear": 2.9, "delay": 0}
    await answer(hass, result, figures)
    await first_round(hass, entry)
    assert not watched_of(entry, 1).decision.may_charge


def test_there_is_no_text_without_its_page() -> None:
    for step in EN["options"]["step"]:
        assert hasattr(OpenXPBMSOptionsFlow, f"async_step_{step}"), step
