"""What a battery tells, as the rows of tables, as JSON and as CSV."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
import csv
from datetime import UTC, datetime, timedelta
import io
import time
from typing import Any

from ..families import SEPLOS, VALENCE
from ..reading import Alarm, Identity, Reading
from ..rounds import Battery
from ..seplos_tables import CELLS, SENSORS
from ..shown import Measure, Value, measures, statuses

# What tells a battery from others, in JSON and CSV.
WHO = ("address", "serial", "model", "firmware", "revision", "cells")
# The quantities of a battery in one line.
SHORT = (
    "voltage",
    "current",
    "power",
    "state_of_charge",
    "lowest_cell_voltage",
    "highest_cell_voltage",
    "cell_delta",
    "lowest_cell_temperature",
    "highest_cell_temperature",
)
# Columns of a figure in a line, which fits into 80 with a time before it.
WIDTH = 7
# What is seen at the cells themselves.
EXTREMES = ("lowest_cell", "highest_cell")
# Narrow headings for them, by key.
HEADINGS = dict(
    zip(
        SHORT,
        ("V", "A", "W", "SOC %", "min V", "max V", "spread", "min °C", "max °C"),
        strict=True,
    )
)


def identity_words(identity: Identity) -> str:
    """Return address, model, serial number and version of a battery."""
    parts = [str(identity.address), identity.model, identity.serial, version(identity)]
    return " · ".join(part for part in parts if part)


def version(identity: Identity) -> str:
    """Return the firmware, else the revision of the electronics, else nothing."""
    if identity.firmware:
        return f"FW {identity.firmware}"
    return f"Rev {identity.revision}" if identity.revision else ""


def spoken(name: str) -> str:
    """Return a name of the code as people write it."""
    return name.replace("_", " ")


def shown(measure: Measure, reading: Reading) -> str:
    """Return a value with its unit, "-" where there is none."""
    return text(measure, measure.told(reading), measure.unit)


def text(measure: Measure, value: Value, unit: str | None = None) -> str:
    """Return a value with the digits that are worth showing."""
    if value is None:
        return "-"
    if isinstance(value, str):
        return spoken(value)
    figure = f"{value:.{measure.digits}f}"
    return f"{figure} {unit}" if unit else figure


def heading() -> str:
    """Return the heading of lines."""
    names = "".join(f"{name:>{WIDTH}}" for name in HEADINGS.values())
    return f"{'Addr':>5}{names}  Alarms"


def line(family: str, battery: Battery) -> str:
    """Return address, figures of SHORT and alarms of a battery."""
    reading, figures, trouble = battery.reading, ["-"] * len(SHORT), "-"
    if reading is not None:
        known = {each.key: each for each in measures(family, battery.identity)}
        figures = [text(known[key], known[key].told(reading)) for key in SHORT]
        trouble = ", ".join(alarms(reading)) or "-"
    columns = "".join(f"{figure:>{WIDTH}}" for figure in figures)
    return f"{battery.identity.address:5}{columns}  {trouble}"


def rows(family: str, battery: Battery, reading: Reading) -> list[tuple[str, str]]:
    """Return name and value of all that concerns the whole battery, but its alarms."""
    return [
        *(
            (measure.name, shown(measure, reading))
            for measure in measures(family, battery.identity)
            if measure.cell is None and measure.key not in EXTREMES
        ),
        *(
            (status.name, {True: "yes", False: "no", None: "-"}[status.value(reading)])
            for status in statuses(family)
        ),
    ]


def cell_rows(reading: Reading) -> list[tuple[str, str, str, str]]:
    """Return number, V, °C and remarks of each cell.

    Of sensors that sit elsewhere than at cells of their own the number is the sensor's.
    """
    volts, degrees = reading.cell_voltages or (), reading.cell_temperatures or ()
    bled = reading.balancing or ()
    remarks = {reading.lowest_cell: "lowest"}
    # Where all are equal the first is both.
    remarks.setdefault(reading.highest_cell, "highest")
    table = []
    for number in range(1, max(len(volts), len(degrees)) + 1):
        volt = volts[number - 1] if number <= len(volts) else None
        degree = degrees[number - 1] if number <= len(degrees) else None
        words = [remarks.get(number), "balancing" if number in bled else None]
        table.append(
            (
                f"{number:4}",
                "" if volt is None else f"{volt:.3f}",
                "" if degree is None else f"{degree:.1f}",
                ", ".join(word for word in words if word),
            )
        )
    return table


def alarms(reading: Reading) -> list[str]:
    """Return what a battery reports as trouble, in words."""
    return [alarm_words(alarm) for alarm in reading.alarms or ()]


def alarm_words(alarm: Alarm) -> str:
    """Return what an alarm is, with the number of its cell or sensor."""
    number = "" if alarm.number is None else f" {alarm.number}"
    return f"{spoken(alarm.name)}{number}"


def read_time(battery: Battery) -> str:
    """Return when a battery was read, now where it was not, in local time."""
    now = time.monotonic()
    ago = timedelta(seconds=now - (battery.read_at or now))
    return (datetime.now(UTC) - ago).astimezone().isoformat(timespec="milliseconds")


def facts(family: str, battery: Battery) -> dict[str, Any]:
    """Return a battery for JSON; `reading` is None where there is none."""
    identity, reading = battery.identity, battery.reading
    return {
        "time": read_time(battery),
        "family": family,
        **{name: getattr(identity, name) for name in WHO},
        "reading": None if reading is None else _values(family, identity, reading),
        "error": None if battery.error is None else str(battery.error),
    }


def _values(family: str, identity: Identity, reading: Reading) -> dict[str, Any]:
    return {
        **{
            measure.key: measure.told(reading)
            for measure in measures(family, identity)
            if measure.cell is None
        },
        "cell_voltages": reading.cell_voltages,
        "cell_temperatures": reading.cell_temperatures,
        **{status.key: status.value(reading) for status in statuses(family)},
        "balancing_cells": reading.balancing,
        "alarms": [
            {"name": alarm.name, "level": alarm.level, "number": alarm.number}
            for alarm in reading.alarms or ()
        ],
    }


def _columns() -> tuple[str, ...]:
    """Return the columns of every CSV, whatever the batteries are: a log keeps them."""
    most = {VALENCE: (6, None), SEPLOS: (CELLS, SENSORS)}
    largest = {
        family: Identity(
            address=0,
            serial=None,
            model="",
            model_code="",
            cells=cells,
            sensors=sensors,
        )
        for family, (cells, sensors) in most.items()
    }
    each = [
        measure
        for family, identity in largest.items()
        for measure in measures(family, identity)
    ]
    whole = [measure.key for measure in each if measure.cell is None]
    cells = sorted(
        (measure for measure in each if measure.cell is not None),
        key=lambda measure: (measure.common == "cell_temperature", measure.cell),
    )
    states = [status.key for family in most for status in statuses(family)]
    keys = [*whole, *states, "alarms", *(measure.key for measure in cells)]
    return ("time", "family", *WHO[:3], "error", *dict.fromkeys(keys))


COLUMNS = _columns()


def csv_row(family: str, battery: Battery) -> dict[str, Any]:
    """Return what COLUMNS hold of a battery; what is missing stays empty."""
    identity, reading = battery.identity, battery.reading
    row: dict[str, Any] = {
        "time": read_time(battery),
        "family": family,
        **{name: getattr(identity, name) for name in WHO[:3]},
        "error": battery.error,
    }
    if reading is None:
        return row
    for measure in measures(family, identity):
        row[measure.key] = measure.told(reading)
    for status in statuses(family):
        told = status.value(reading)
        row[status.key] = None if told is None else int(told)
    return row | {"alarms": "; ".join(alarms(reading))}


def csv_values(row: Mapping[str, Any]) -> str:
    """Return a row as a line of CSV, in the order of COLUMNS."""
    return csv_line(row.get(name) for name in COLUMNS)


def csv_line(values: Iterable[Any]) -> str:
    """Return values as a line of CSV, with its end."""
    line = io.StringIO()
    csv.writer(line).writerow(values)
    return line.getvalue()
