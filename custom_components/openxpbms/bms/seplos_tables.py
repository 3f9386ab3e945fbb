"""Seplos V3: its tables of registers and coils, and what they mean together.

Names of tables and sources are the dossier's: DOC0.1 and DOC0.3 are the maker's
papers, APP the register lists of its tool, SYSSI, DBUS and AIO field-proven projects.
No capture shows an alarm or protection bit set; their names rest on DOC and APP, which
agree.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
import re
from typing import Any

from .frame import READ_COILS, READ_INPUT, Request
from .reading import Alarm, Group, Identity, Level, Reading, State
from .registers import Block, Field, Value, decode


@dataclass(frozen=True, slots=True)
class Table:
    """A block of registers, or of coils, with the function that reads it."""

    function: int
    block: Block

    def request(self, address: int) -> Request:
        """Return the frame that reads it whole."""
        return Request(address, self.function, self.block.register, self.block.count)


PIA = Table(READ_INPUT, Block(0x1000, 18))
# Over Bluetooth, and maybe on older boards, the last register is missing.
PIA_SHORT = Table(READ_INPUT, Block(0x1000, 17))
PIB = Table(READ_INPUT, Block(0x1100, 26))
PIC = Table(READ_COILS, Block(0x1200, 144))
COUNTS = Table(READ_INPUT, Block(0x1300, 2))
SPA = Table(READ_INPUT, Block(0x1300, 106))
SFA = Table(READ_COILS, Block(0x1400, 80))
CLOCK = Table(READ_INPUT, Block(0x1500, 4))
VIA = Table(READ_INPUT, Block(0x1700, 51))

CELLS = 16
SENSORS = 8
USUAL_SENSORS = 4
# 0.1 K above it is 0.1 °C (DOC, APP, AIO). It also fills the place of a missing sensor.
ZERO_CELSIUS = 2731
# From this current on a board counts in 0.1 A (DOC0.2 and later).
COARSE_BOARD = 300


def _temperature(name: str, register: int, items: int = 0) -> Field:
    return Field(
        name=name,
        register=register,
        unit="°C",
        offset=-ZERO_CELSIUS,
        divisor=10,
        items=items,
    )


def _millivolts(name: str, register: int, items: int = 0) -> Field:
    return Field(name=name, register=register, unit="V", divisor=1000, items=items)


FIELDS = (
    Field(name="voltage", register=0x1000, unit="V", divisor=100),
    Field(name="current_counts", register=0x1001, signed=True),
    Field(name="remaining_capacity", register=0x1002, unit="Ah", divisor=100),
    Field(name="full_capacity", register=0x1003, unit="Ah", divisor=100),
    # In 10 Ah: captures of used packs fit no other scale.
    Field(name="total_discharge", register=0x1004, unit="Ah", factor=10),
    Field(name="soc", register=0x1005, unit="%", divisor=10),
    Field(name="soh", register=0x1006, unit="%", divisor=10),
    Field(name="cycles", register=0x1007),
    _millivolts("mean_cell_reported", 0x1008),
    _temperature("mean_temperature_reported", 0x1009),
    _millivolts("highest_cell_reported", 0x100A),
    _millivolts("lowest_cell_reported", 0x100B),
    _temperature("highest_temperature_reported", 0x100C),
    _temperature("lowest_temperature_reported", 0x100D),
    Field(name="allowed_discharge_current", register=0x100F, unit="A"),
    Field(name="allowed_charge_current", register=0x1010, unit="A"),
    _millivolts("cell_voltages", 0x1100, CELLS),
    _temperature("cell_temperatures", 0x1110, SENSORS),
    _temperature("ambient_temperature", 0x1118),
    _temperature("mosfet_temperature", 0x1119),
    Field(name="sensors", register=0x1300),
    Field(name="cells", register=0x1301),
    Field(name="clock", register=0x1500, items=4),
    Field(name="factory", register=0x1700, chars=20),
    Field(name="device", register=0x170A, chars=20),
    Field(name="firmware", register=0x1714, chars=2),
    Field(name="serial", register=0x1715, chars=30),
    Field(name="pack_serial", register=0x1724, chars=30),
)


def decode_table(table: Table, data: bytes) -> dict[str, Any]:
    """Return all that `data`, a reply to `table`, tells, by name.

    PIC is told whole, as `coils`, SFA as `functions`.
    """
    if table is PIC:
        return {"coils": data}
    if table is SFA:
        return {"functions": functions(data)}
    values: dict[str, Value] = decode(FIELDS, table.block, data)
    return values


def _numbered(first: int, name: str, count: int, group: Group) -> dict[int, Alarm]:
    return {first + n: Alarm(name, group, number=n + 1) for n in range(count)}


def _run(
    first: int, group: Group, *names: str, level: Level | None = None
) -> dict[int, Alarm]:
    """Return alarms in the order of their coils; an empty name has no meaning.

    Without `level` the names that tell of a trip are protections.
    """
    return {
        first + n: Alarm(
            name,
            group,
            level or (Level.PROTECTION if _TRIP.search(name) else Level.ALARM),
        )
        for n, name in enumerate(names)
        if name
    }


_TRIP = re.compile("over_voltage|under_voltage|over_temp|under_temp|protection|over_cu")

# Coil numbers of PIC that tell of trouble.
ALARMS: Mapping[int, Alarm] = {
    **_numbered(0x1200, "low_voltage_of_cell", CELLS, Group.VOLTAGE),
    **_numbered(0x1210, "high_voltage_of_cell", CELLS, Group.VOLTAGE),
    **_numbered(0x1220, "low_temperature_of_sensor", SENSORS, Group.TEMPERATURE),
    **_numbered(0x1228, "high_temperature_of_sensor", SENSORS, Group.TEMPERATURE),
    **_run(
        0x1248,
        Group.VOLTAGE,
        "cell_high_voltage",
        "cell_over_voltage",
        "cell_low_voltage",
        "cell_under_voltage",
        "pack_high_voltage",
        "pack_over_voltage",
        "pack_low_voltage",
        "pack_under_voltage",
    ),
    **_run(
        0x1250,
        Group.TEMPERATURE,
        "charge_high_temperature",
        "charge_over_temperature",
        "charge_low_temperature",
        "charge_under_temperature",
        "discharge_high_temperature",
        "discharge_over_temperature",
        "discharge_low_temperature",
        "discharge_under_temperature",
        "ambient_high_temperature",
        "ambient_over_temperature",
        "ambient_low_temperature",
        "ambient_under_temperature",
        "mosfet_high_temperature",
        "mosfet_over_temperature",
    ),
    **_run(
        0x1260,
        Group.CURRENT,
        "high_charge_current",
        "charge_over_current",
        "charge_over_current_level_2",
        "high_discharge_current",
        "discharge_over_current",
        "discharge_over_current_level_2",
        "short_circuit_protection",
    ),
    **_run(
        0x1268,
        Group.LOCK,
        "short_circuit_lock",
        "",
        "charge_over_current_lock",
        "discharge_over_current_lock",
        level=Level.PROTECTION,
    ),
    0x1269: Alarm("reverse_connection", Group.HARDWARE, Level.PROTECTION),
    0x126E: Alarm("zero_point_not_calibrated", Group.HARDWARE),
    0x1272: Alarm("low_state_of_charge", Group.SOC),
    0x1273: Alarm("state_of_charge_protection", Group.SOC, Level.PROTECTION),
    0x1274: Alarm("cell_spread", Group.VOLTAGE),
    0x1276: Alarm("gyroscope_lock", Group.LOCK, Level.PROTECTION),
    0x1284: Alarm("cell_failure", Group.HARDWARE),
    **_run(
        0x1288,
        Group.HARDWARE,
        "temperature_sensor_fault",
        "front_end_fault",
        "charge_mosfet_fault",
        "discharge_mosfet_fault",
        "cell_spread_fault",
        "open_wire",
        "key_fault",
        "aerosol",
        level=Level.PROTECTION,
    ),
}

# Coil numbers of PIC that tell what the pack is doing. Discharge comes first, in the
# state byte and in the one of the MOSFETs (captures).
STATES: Mapping[str, int] = {
    "discharging": 0x1240,
    "charging": 0x1241,
    "float_charging": 0x1242,
    "full": 0x1243,
    "standby": 0x1244,
    "off": 0x1245,
    "cell_heating": 0x125E,
    "discharge_mosfet": 0x1278,
    "charge_mosfet": 0x1279,
    "current_limit_mosfet": 0x127A,
    "heater": 0x127B,
    "balancing": 0x1280,
    "static_balancing": 0x1281,
    "static_balancing_timed_out": 0x1282,
    "balancing_stopped_by_temperature": 0x1283,
}
BALANCING = range(0x1230, 0x1230 + CELLS)
_KNOWN = frozenset(ALARMS) | frozenset(STATES.values()) | frozenset(BALANCING)

# Several flags may be set: the first of these counts.
_STATE_ORDER = (
    State.OFF,
    State.FULL,
    State.FLOAT_CHARGING,
    State.CHARGING,
    State.DISCHARGING,
    State.STANDBY,
)

# Coils of SFA: what the pack may do, 1 where enabled. Byte 3 is DOC0.3's; older papers
# mean other things by it.
FUNCTIONS: Mapping[int, str] = {
    0x1400 + number: name
    for number, name in enumerate(
        (
            *(ALARMS[coil].name for coil in range(0x1248, 0x125E)),
            "cell_heating",
            "cell_voltage_fault_detection",
            *("bluetooth", "fan", "leds_always_on", "snmp", "wifi", "dhcp"),
            *("gyroscope", ""),
            *(ALARMS[coil].name for coil in range(0x1260, 0x1267)),
            "",
            *("short_circuit_lock", "reverse_connection", "charge_over_current_lock"),
            *("discharge_over_current_lock", "", "", "", ""),
            *("low_state_of_charge", "top_up_charge", "external_switch"),
            *("standby_sleep", "history", "state_of_charge_protection"),
            *("active_current_limit", "passive_current_limit"),
            *("balancing", "static_balancing_shown", "static_balancing_time_out"),
            *("balancing_temperature_limit", "", "", "", ""),
            *("buzzer_and_lights", "display", "manual_forced_output"),
            *("automatic_forced_output", "under_voltage_recovery", "aerosol_test"),
            *("aerosol_normally_open", "current_sensor_compensation"),
            *("temperature_sensor_fault", "front_end_fault", "charge_mosfet_fault"),
            *("discharge_mosfet_fault", "cell_failure", "open_wire", "key_fault"),
            "aerosol",
        )
    )
    if name
}


def _set_coils(data: bytes, first: int) -> Iterator[int]:
    for number in range(8 * len(data)):
        if data[number // 8] >> number % 8 & 1:
            yield first + number


def functions(data: bytes) -> dict[str, bool]:
    """Return which functions a reply to SFA says are enabled, by name."""
    enabled = set(_set_coils(data, SFA.block.register))
    return {name: coil in enabled for coil, name in FUNCTIONS.items()}


def coil_values(data: bytes) -> dict[str, Any]:
    """Return the values of a Reading that a reply to PIC tells."""
    coils = set(_set_coils(data, PIC.block.register))
    states = {name for name, coil in STATES.items() if coil in coils}
    balancing = tuple(n for n, coil in enumerate(BALANCING, 1) if coil in coils)
    return {
        "state": next((state for state in _STATE_ORDER if state in states), None),
        "charging": bool(states & {State.CHARGING, State.FLOAT_CHARGING}),
        "discharging": State.DISCHARGING in states,
        "charge_mosfet": "charge_mosfet" in states,
        "discharge_mosfet": "discharge_mosfet" in states,
        "current_limiting": "current_limit_mosfet" in states,
        "heater": bool(states & {"heater", "cell_heating"}),
        "balancing": balancing,
        "balancing_active": bool(balancing) or "balancing" in states,
        "coils": data,
        "unknown_coils": tuple(sorted(coils - _KNOWN)),
        "alarms": tuple(ALARMS[coil] for coil in sorted(coils & ALARMS.keys())),
    }


def board_of(device: str) -> int | None:
    """Return the A of a board from its name, such as SG16S200A-SP57B-A."""
    match = re.search(r"(?<![0-9])([0-9]{2,3})A(?![0-9A-Z])", device)
    return int(match[1]) if match else None


def current_divisor(board: int | None) -> int:
    """Return the counts of 1 A; nothing in the data tells them (DOC0.2 and later)."""
    return 10 if board is not None and board >= COARSE_BOARD else 100


def count_cells(voltage: float, mean: float) -> int | None:
    """Return how many cells of `mean` V make `voltage` V, None where that is absurd."""
    cells = round(voltage / mean) if mean > 0 else 0
    return cells if 1 <= cells <= CELLS else None


def count_sensors(temperatures: tuple[float, ...]) -> int:
    """Return how many sensors are fitted, by the last that shows anything but 0.0 °C.

    Nobody but the pack's own parameters tells for certain.
    """
    fitted = [number for number, celsius in enumerate(temperatures, 1) if celsius]
    return max(fitted, default=USUAL_SENSORS)


def clock_time(words: tuple[int, int, int, int]) -> datetime | None:
    """Return the pack's clock; bytes are year low, year high, month, day, h, min, s."""
    data = b"".join(word.to_bytes(2, "big") for word in words)
    try:
        return datetime(data[0] | data[1] << 8, *data[2:7])  # noqa: DTZ001  no zone
    except ValueError:
        return None


def is_pib(data: bytes) -> bool:
    """Whether 52 bytes are PIB: EIA is as long, but has zeros among its temperatures.

    A cell outside 0 to 6 V or a sensor outside -40 to 130 °C is not believed either.
    """
    values: dict[str, Any] = decode(FIELDS, PIB.block, data)
    temperatures = (
        *values["cell_temperatures"],
        values["ambient_temperature"],
        values["mosfet_temperature"],
    )
    return all(-40 <= celsius <= 130 for celsius in temperatures) and all(
        volts <= 6 for volts in values["cell_voltages"]
    )


_PLAIN = (
    "voltage",
    "soc",
    "soh",
    "cycles",
    "remaining_capacity",
    "full_capacity",
    "total_discharge",
    "allowed_charge_current",
    "allowed_discharge_current",
    "mosfet_temperature",
    "ambient_temperature",
    "highest_cell_reported",
    "lowest_cell_reported",
)


def make_reading(
    values: Mapping[str, Any],
    identity: Identity,
    *,
    divisor: int | None = None,
    guess_sensors: bool = False,
) -> Reading:
    """Return the Reading of the values of PIA, PIB and PIC, or of a part of them.

    `divisor` are the counts of 1 A where the board's name does not tell them. With
    `guess_sensors` a sensor at exactly 0.0 °C counts as missing, unless the pack's own
    lowest or highest says so too; else the first `identity.sensors` are fitted.
    """
    known = {name: values[name] for name in _PLAIN if name in values}
    if "current_counts" in values:
        counts = divisor or current_divisor(identity.board)
        known["current"] = values["current_counts"] / counts
    if "cell_voltages" in values:
        known["cell_voltages"] = values["cell_voltages"][: identity.cells or CELLS]
        temperatures = values["cell_temperatures"][: identity.sensors or USUAL_SENSORS]
        reported = (
            values.get("lowest_temperature_reported"),
            values.get("highest_temperature_reported"),
        )
        if guess_sensors and 0.0 not in reported:
            temperatures = tuple(celsius or None for celsius in temperatures)
        known["cell_temperatures"] = temperatures
    if "coils" in values:
        known |= coil_values(values["coils"])
    return Reading(**known)
