"""Every rule of protection over real bytes: alarms, permissions, relays and events."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from copy import deepcopy
from dataclasses import dataclass, field, fields
from typing import Any

from homeassistant.core import HomeAssistant
import pytest

from custom_components.openxpbms.bms.virtual.seplos import VirtualPack
from custom_components.openxpbms.bms.virtual.valence import VirtualModule

from .conftest import MakeLine
from .guarding import Clock, Device, Guarded, guard_device, jumping_clock, limit

BOTH = {"charge", "discharge"}
ALL = {"charge", "load", "connection"}


@pytest.fixture
def clock() -> Iterator[Clock]:
    with jumping_clock(frozen=True) as clock:
        yield clock


@dataclass(frozen=True, kw_only=True)
class Row:
    """A level of a rule: what happens in the battery, and what must come of it.

    `key` is the alarm, `also` those that are on besides. `told` is what the event says.
    `opens` are relays, `stops` directions. It takes `readings` and `after` s to act.
    `latches` is whether it waits for a person.
    """

    key: str
    to: dict[str, Any]
    told: dict[str, Any]
    also: set[str] = field(default_factory=set)
    opens: set[str] = field(default_factory=set)
    stops: set[str] = field(default_factory=set)
    readings: int = 1
    after: float = 0.0
    latches: bool = False
    options: dict[str, Any] = field(default_factory=dict)


def cell(number: int, volts: float) -> dict[str, Any]:
    """Put one cell at a voltage."""
    return {"cell_voltages": {number: volts}}


def sensor(number: int, celsius: float) -> dict[str, Any]:
    """Put one sensor at a temperature."""
    return {"cell_temperatures": {number: celsius}}


def told(
    quantity: str, level: str, value: float, limit: float, clears: float, **where: Any
) -> dict[str, Any]:
    """Return what an event says of a finding whose value is still outside."""
    return {
        "quantity": quantity,
        "level": level,
        "value": value,
        "limit": limit,
        "clears": clears,
        "waits": "value",
        **where,
    }


def change(device: Device, to: dict[str, Any]) -> Callable[[], None]:
    """Change a device, some cells or sensors of it; return how to undo it."""
    names = {f.name for f in fields(device) if f.init}
    before = {name: deepcopy(getattr(device, name)) for name in to.keys() & names}
    for name, value in to.items():
        if isinstance(value, dict) and name != "registers":
            for number, each in value.items():
                getattr(device, name)[number - 1] = each
        else:
            setattr(device, name, value)

    def undo() -> None:
        for name, value in before.items():
            setattr(device, name, value)

    return undo


CURRENT = {"warning": 80.0, "warning_clear": 70.0, "stop": 100.0, "stop_clear": 90.0}
ELECTRONICS = {
    "warning": 75.0,
    "warning_clear": 73.0,
    "stop": 80.0,
    "stop_clear": 78.0,
    "cutoff": 90.0,
}
OVER_CURRENT = {
    way: {"current_confirmed": True}
    | limit(f"{way}_over_current", **CURRENT, delay=10.0)
    for way in ("charge", "discharge")
}


def heat(highest: float, *figures: float, level: str) -> dict[str, Any]:
    return told("cell_over_temperature", level, highest, *figures, cell=4)


VALENCE = (
    Row(
        key="cell_voltage_high",
        to=cell(3, 3.71),
        told=told("cell_over_voltage", "warning", 3.71, 3.7, 3.5, cell=3),
    ),
    Row(
        key="cell_over_voltage",
        to=cell(3, 3.91),
        told=told("cell_over_voltage", "stop", 3.91, 3.9, 3.7, cell=3),
        also={"cell_voltage_high"},
        opens={"charge"},
        stops={"charge"},
    ),
    Row(
        key="cell_over_voltage_cutoff",
        to=cell(1, 4.01),
        told=told("cell_over_voltage", "cutoff", 4.01, 4.0, 3.7, cell=1),
        also={"cell_voltage_high", "cell_over_voltage"},
        opens=ALL,
        stops=BOTH,
        latches=True,
    ),
    Row(
        key="cell_voltage_low",
        to=cell(2, 2.99),
        told=told("cell_under_voltage", "warning", 2.99, 3.0, 3.2, cell=2),
    ),
    Row(
        key="cell_under_voltage",
        to=cell(2, 2.79),
        told=told("cell_under_voltage", "stop", 2.79, 2.8, 3.0, cell=2),
        also={"cell_voltage_low"},
        opens={"load"},
        stops={"discharge"},
        after=5.0,
    ),
    Row(
        key="cell_under_voltage_cutoff",
        to=cell(4, 2.49),
        told=told("cell_under_voltage", "cutoff", 2.49, 2.5, 3.0, cell=4),
        also={"cell_voltage_low"},
        opens=ALL,
        stops=BOTH,
        latches=True,
    ),
    Row(
        key="cell_deep_discharge",
        to=cell(4, 1.99),
        told=told("cell_deep_discharge", "stop", 1.99, 2.0, 2.0, cell=4),
        opens={"charge", "load"},
        stops=BOTH,
        latches=True,
        # Without limits of under-voltage, that no cut-off comes first.
        options=limit("cell_under_voltage"),
    ),
    Row(
        key="cell_temperature_high",
        to=sensor(4, 50.1),
        told=heat(50.1, 50.0, 48.0, level="warning"),
    ),
    Row(
        key="cell_over_temperature",
        to=sensor(4, 60.1),
        told=heat(60.1, 60.0, 58.0, level="stop"),
        also={"cell_temperature_high"},
        opens={"charge", "load"},
        stops=BOTH,
        latches=True,
    ),
    Row(
        key="cell_over_temperature_cutoff",
        to=sensor(4, 65.1),
        told=heat(65.1, 65.0, 58.0, level="cutoff"),
        also={"cell_temperature_high", "cell_over_temperature"},
        opens=ALL,
        stops=BOTH,
        latches=True,
    ),
    Row(
        key="electronics_temperature_high",
        to={"pcb_temperature": 75.1},
        told=told(
            "electronics_over_temperature", "warning", 75.1, 75.0, 73.0, what="pcb"
        ),
    ),
    Row(
        key="electronics_over_temperature",
        to={"pcb_temperature": 80.1},
        told=told("electronics_over_temperature", "stop", 80.1, 80.0, 78.0, what="pcb"),
        also={"electronics_temperature_high"},
        opens={"charge", "load"},
        stops=BOTH,
        latches=True,
    ),
    Row(
        key="electronics_over_temperature_cutoff",
        to={"pcb_temperature": 90.1},
        told=told(
            "electronics_over_temperature", "cutoff", 90.1, 90.0, 78.0, what="pcb"
        ),
        also={"electronics_temperature_high", "electronics_over_temperature"},
        opens=ALL,
        stops=BOTH,
        latches=True,
        options=limit("electronics_over_temperature", **ELECTRONICS),
    ),
    Row(
        key="cell_temperature_low",
        to=sensor(1, 4.9),
        told=told("cell_under_temperature", "warning", 4.9, 5.0, 6.0, cell=1),
    ),
    Row(
        key="cell_under_temperature",
        to=sensor(1, -0.1),
        told=told("cell_under_temperature", "stop", -0.1, 0.0, 3.0, cell=1),
        also={"cell_temperature_low"},
        opens={"charge"},
        stops={"charge"},
    ),
    *(
        row
        for way, sign in (("charge", 1), ("discharge", -1))
        for row in (
            Row(
                key=f"{way}_current_high",
                to={"current": sign * 81.0},
                told=told(f"{way}_over_current", "warning", 81.0, 80.0, 70.0),
                options=OVER_CURRENT[way],
            ),
            Row(
                key=f"{way}_over_current",
                to={"current": sign * 101.0},
                told=told(f"{way}_over_current", "stop", 101.0, 100.0, 90.0),
                also={f"{way}_current_high"},
                opens={"charge", "load"},
                stops=BOTH,
                after=10.0,
                latches=True,
                options=OVER_CURRENT[way],
            ),
        )
    ),
    Row(
        key="cell_spread_high",
        to=cell(3, 3.502),
        told=told("cell_spread", "warning", 0.202, 0.2, 0.15, cell=1),
        after=60.0,
    ),
    Row(
        key="cell_spread",
        to=cell(3, 3.602),
        told=told("cell_spread", "stop", 0.302, 0.3, 0.15, cell=1),
        opens={"charge", "load"},
        stops=BOTH,
        options=limit("cell_spread", stop=0.3, stop_clear=0.15),
    ),
    Row(
        key="soc_low",
        to={"soc": 14.9},
        told=told("low_soc", "warning", 14.9, 15.0, 17.0),
    ),
    *(
        Row(
            key="sensor_fault",
            to=to,
            told=told("sensor_fault", "stop", 1.0, 0.5, 0.5, what=what),
            also=also,
            opens=opens,
            stops=BOTH,
            readings=2,
            latches=True,
        )
        for what, to, also, opens in (
            ("highest_cell", {"registers": {0x45: 3354}}, set(), {"charge", "load"}),
            ("lowest_cell", {"registers": {0x46: 3249}}, set(), {"charge", "load"}),
            ("sum", {"registers": {0x42: 13615}}, set(), {"charge", "load"}),
            ("sum", {"registers": {0x42: 12820}}, set(), {"charge", "load"}),
            (
                "temperature_range",
                sensor(2, -40.1),
                {"cell_temperature_low", "cell_under_temperature"},
                {"charge", "load"},
            ),
        )
    ),
    *(
        Row(
            key="reported_fault",
            to={"status_flags": 1 << bit},
            told=told("reported_fault", "stop", 1.0, 0.5, 0.5, what=what),
            opens={"charge", "load"},
            stops=BOTH,
            latches=True,
        )
        for bit, what in (
            (4, "cell_over_voltage"),
            (6, "cell_over_temperature"),
            (7, "pcb_over_temperature"),
            (9, "battery_failure"),
            (14, "cell_under_voltage"),
            (15, "nmi_failure"),
        )
    ),
    *(
        Row(
            key="reported_warning",
            to={"status_flags": 1 << bit},
            told=told("reported_warning", "warning", 1.0, 0.5, 0.5, what=what),
            options=options,
        )
        for bit, what, options in (
            (0, "cell_voltage_high", {}),
            (1, "cell_voltage_low", {}),
            (2, "cell_temperature_high", {}),
            (3, "pcb_temperature_high", {}),
            (5, "weak_cell_bank", {}),
            # A fault that was switched off still tells.
            (9, "battery_failure", {"limits": {"faults_off": ["battery_failure"]}}),
        )
    ),
)

SEPLOS = (
    Row(
        key="cell_voltage_high",
        to=cell(16, 3.661),
        told=told("cell_over_voltage", "warning", 3.661, 3.66, 3.55, cell=16),
    ),
    Row(
        key="cell_over_voltage",
        to=cell(16, 3.701),
        told=told("cell_over_voltage", "stop", 3.701, 3.7, 3.5, cell=16),
        also={"cell_voltage_high"},
        opens={"charge"},
        stops={"charge"},
    ),
    Row(
        key="cell_over_voltage_cutoff",
        to=cell(16, 3.801),
        told=told("cell_over_voltage", "cutoff", 3.801, 3.8, 3.5, cell=16),
        also={"cell_voltage_high", "cell_over_voltage"},
        opens=ALL,
        stops=BOTH,
        latches=True,
    ),
    Row(
        key="cell_voltage_low",
        to=cell(1, 2.799),
        told=told("cell_under_voltage", "warning", 2.799, 2.8, 3.0, cell=1),
    ),
    Row(
        key="cell_under_voltage",
        to=cell(1, 2.599),
        told=told("cell_under_voltage", "stop", 2.599, 2.6, 2.9, cell=1),
        also={"cell_voltage_low"},
        opens={"load"},
        stops={"discharge"},
        after=5.0,
    ),
    Row(
        key="cell_under_voltage_cutoff",
        to=cell(1, 2.499),
        told=told("cell_under_voltage", "cutoff", 2.499, 2.5, 2.9, cell=1),
        also={"cell_voltage_low"},
        opens=ALL,
        stops=BOTH,
        latches=True,
    ),
    Row(
        key="cell_temperature_high",
        to=sensor(4, 57.1),
        told=heat(57.1, 57.0, 53.0, level="warning"),
    ),
    Row(
        key="cell_over_temperature",
        to=sensor(4, 62.1),
        told=heat(62.1, 62.0, 55.0, level="stop"),
        also={"cell_temperature_high"},
        opens={"charge", "load"},
        stops=BOTH,
        latches=True,
    ),
    Row(
        key="cell_over_temperature_cutoff",
        to=sensor(4, 65.1),
        told=heat(65.1, 65.0, 55.0, level="cutoff"),
        also={"cell_temperature_high", "cell_over_temperature"},
        opens=ALL,
        stops=BOTH,
        latches=True,
    ),
    Row(
        key="electronics_temperature_high",
        to={"mosfet_temperature": 100.1},
        told=told(
            "electronics_over_temperature",
            "warning",
            100.1,
            100.0,
            90.0,
            what="mosfet",
        ),
    ),
    Row(
        key="electronics_over_temperature",
        to={"mosfet_temperature": 112.1},
        told=told(
            "electronics_over_temperature", "stop", 112.1, 112.0, 95.0, what="mosfet"
        ),
        also={"electronics_temperature_high"},
        opens={"charge", "load"},
        stops=BOTH,
        latches=True,
    ),
    # The direction of a pack's current is known.
    Row(
        key="discharge_over_current",
        to={"current": -101.0},
        told=told("discharge_over_current", "stop", 101.0, 100.0, 90.0),
        also={"discharge_current_high"},
        opens={"charge", "load"},
        stops=BOTH,
        after=10.0,
        latches=True,
        options=limit("discharge_over_current", **CURRENT, delay=10.0),
    ),
    *(
        Row(
            key="reported_fault",
            to={"coils": {coil}},
            told=told("reported_fault", "stop", 1.0, 0.5, 0.5, what=what),
            opens={"charge", "load"},
            stops=BOTH,
            latches=True,
        )
        for coil, what in (
            (0x1268, "short_circuit_lock"),
            (0x126A, "charge_over_current_lock"),
            (0x126B, "discharge_over_current_lock"),
            (0x1288, "temperature_sensor_fault"),
            (0x1289, "front_end_fault"),
            (0x128A, "charge_mosfet_fault"),
            (0x128B, "discharge_mosfet_fault"),
            (0x128D, "open_wire"),
            (0x128F, "aerosol"),
        )
    ),
    *(
        Row(
            key="reported_warning",
            to={"coils": {coil}},
            told=told("reported_warning", "warning", 1.0, 0.5, 0.5, what=what, **where),
        )
        for coil, what, where in (
            (0x1202, "low_voltage_of_cell", {"cell": 3}),
            (0x1249, "cell_over_voltage", {}),
            (0x125D, "mosfet_over_temperature", {}),
            (0x1269, "reverse_connection", {}),
            (0x1273, "state_of_charge_protection", {}),
            (0x128C, "cell_spread_fault", {}),
            (0x128E, "key_fault", {}),
        )
    ),
)


def name_of(row: Row) -> str:
    """Return what a row is called among the tests."""
    return f"{row.key} {row.told.get('what', '')}".strip()


async def check_row(guarded: Guarded, device: Device, row: Row) -> None:
    """Let a row happen, clear, and be acknowledged where it must be."""
    assert (guarded.found, guarded.open_relays) == (set(), set())
    undo = change(device, row.to)
    for _ in range(row.readings):
        assert row.key not in guarded.found
        await guarded.refresh()
    if row.after:
        # The last stretch without a reading: a timer acts, not the next round.
        await guarded.stay(row.after - 5.0)
        await guarded.wait(4.9)
        assert row.key not in guarded.found
        assert not guarded.open_relays
        await guarded.wait(0.1)
    # The others open at once, the connection half a second later.
    assert guarded.open_relays == row.opens - {"connection"}
    await guarded.wait(0.4)
    assert guarded.open_relays == row.opens - {"connection"}
    await guarded.wait(0.1)
    assert guarded.open_relays == row.opens

    on = {row.key} | row.also
    assert guarded.found == on
    assert guarded.state("protection").state == ("on" if row.stops else "off")
    assert guarded.allowed == BOTH - row.stops
    assert guarded.events[-1] == {"event_type": "raised", **row.told}
    assert len(guarded.events) == len(on)
    attributes = guarded.state(row.key).attributes
    assert attributes.items() >= row.told.items()

    undo()
    await guarded.refresh()
    if row.stops:
        assert guarded.open_relays == row.opens
        await guarded.stay(59.9)
        assert row.key in guarded.found
        await guarded.stay(0.1)
    if row.latches:
        assert guarded.open_relays == row.opens
        assert guarded.state(row.key).attributes["waits"] == "person"
        await guarded.press_reset()
    assert (guarded.found, guarded.open_relays) == (set(), set())
    assert guarded.allowed == BOTH
    assert guarded.state("protection").state == "off"
    cleared = [e for e in guarded.events if e["event_type"] == "cleared"]
    assert len(cleared) == len(guarded.events) / 2
    assert any(e.items() >= (row.told | {"waits": e["waits"]}).items() for e in cleared)


@pytest.mark.parametrize("row", VALENCE, ids=name_of)
async def test_a_valence_module(
    hass: HomeAssistant, make_line: MakeLine, clock: Clock, row: Row
) -> None:
    module = VirtualModule(1)
    guarded = await guard_device(hass, make_line, clock, module, options=row.options)
    await check_row(guarded, module, row)


@pytest.mark.parametrize("row", SEPLOS, ids=name_of)
async def test_a_seplos_pack(
    hass: HomeAssistant, make_line: MakeLine, clock: Clock, row: Row
) -> None:
    pack = VirtualPack()
    guarded = await guard_device(hass, make_line, clock, pack, options=row.options)
    await check_row(guarded, pack, row)
