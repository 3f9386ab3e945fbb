"""What the screen says of a battery, as coloured text."""

from __future__ import annotations

from rich.table import Table
from rich.text import Text

from ..cli.values import alarm_words, shown, spoken
from ..families import KINDS
from ..reading import Identity, Level, Reading
from ..rounds import Battery
from ..shown import measures, statuses

# Columns of cells, and how many signs of a cell's bar.
COLUMNS = 4
_BAR = 6
# Of what a battery says that it does: switches of its own, what its state says too.
_SWITCHES = ("charge_mosfet", "discharge_mosfet")
_TOLD_BY_STATE = ("charging", "discharging")
_STYLES = {
    "highest": "bold #ff8700",
    "lowest": "bold #00afff",
    "ok": "green",
    "alarm": "bold yellow",
    "protection": "bold white on red",
    "name": "dim",
}


def heading(family: str, port: str, *, listens: bool, trouble: str | None) -> Text:
    """Return the first line: where, what and how, or what is wrong with the line."""
    told = Text("OpenXPBMS  ", "bold")
    if trouble:
        return told.append(f" {trouble} ", _STYLES["protection"])
    way = "listened to" if listens else "asked"
    return told.append(f"{port} · {KINDS[family].name}, {way}", "not bold")


def tab(battery: Battery) -> Text:
    """Return a battery's tab: address, state of charge, a mark for alarms."""
    reading, address = battery.reading, str(battery.identity.address)
    if reading is None:
        return Text(f"{address} -", "dim")
    soc = "" if reading.soc is None else f" {reading.soc:.0f}%"
    if reading.alarms:
        levels = {alarm.level for alarm in reading.alarms}
        worst = "protection" if Level.PROTECTION in levels else "alarm"
        return Text(f"{address}{soc} !", _STYLES[worst])
    return Text(f"{address}{soc}")


def figures(family: str, battery: Battery) -> tuple[str, str, str, str]:
    """Return state of charge, V, A and W without units, "-" where there is none."""
    reading = battery.reading
    if reading is None:
        return "-", "-", "-", "-"
    known = {m.key: m.told(reading) for m in measures(family, battery.identity)}
    soc, volts, amperes, watts = (
        known[key] for key in ("state_of_charge", "voltage", "current", "power")
    )
    return (
        "-" if soc is None else f"{soc:.1f}%",
        "-" if volts is None else f"{volts:.2f}",
        "-" if amperes is None else f"{amperes:+.1f}",
        "-" if watts is None else f"{watts:+.0f}",
    )


def spread(reading: Reading | None) -> Text:
    """Return the highest and the lowest cell, and what is between them."""
    if reading is None or not reading.cell_voltages or reading.cell_delta is None:
        return Text("Cells  -", _STYLES["name"])
    return Text.assemble(
        ("Cells  ", _STYLES["name"]),
        (
            f"▲ {reading.highest_cell} {reading.highest_cell_voltage:.3f} V",
            _STYLES["highest"],
        ),
        "   ",
        (
            f"▼ {reading.lowest_cell} {reading.lowest_cell_voltage:.3f} V",
            _STYLES["lowest"],
        ),
        f"   spread {1000 * reading.cell_delta:.0f} mV",
        f"   mean {reading.mean_cell_voltage:.3f} V",
    )


def cells(reading: Reading | None) -> Table:
    """Return all cells, with the highest, the lowest and those being bled marked."""
    grid = Table.grid(expand=True)
    for _ in range(COLUMNS):
        grid.add_column(no_wrap=True)
    volts = (reading.cell_voltages if reading else None) or ()
    each = [_cell(reading, number) for number in range(1, len(volts) + 1) if reading]
    # Cells run down the columns.
    rows = -(-len(each) // COLUMNS)
    for row in range(rows):
        grid.add_row(*each[row::rows])
    return grid


def _cell(reading: Reading, number: int) -> Text:
    volts = reading.cell_voltages or ()
    volt, low, high = volts[number - 1], min(volts), max(volts)
    share = (volt - low) / (high - low) if high > low else 0.0
    style, mark = "", " "
    if high > low and number == reading.highest_cell:
        style, mark = _STYLES["highest"], "▲"
    elif high > low and number == reading.lowest_cell:
        style, mark = _STYLES["lowest"], "▼"
    filled = round(share * _BAR)
    return Text.assemble(
        (f"{number:2} ", _STYLES["name"]),
        (f"{volt:.3f}{mark}", style),
        ("█" * filled, style or "green"),
        ("░" * (_BAR - filled), "dim"),
        ("b", "bold magenta") if number in (reading.balancing or ()) else " ",
    )


def temperatures(reading: Reading | None) -> Text:
    """Return all temperatures, °C."""
    told = Text()
    told.append("Temperatures  ", _STYLES["name"])
    if reading is None:
        return told.append("-")
    fitted = [f"{t:.1f}" for t in reading.cell_temperatures or () if t is not None]
    parts = [f"cells {' '.join(fitted)} °C"] if fitted else []
    for name, value in (
        ("MOSFETs", reading.mosfet_temperature),
        ("ambient", reading.ambient_temperature),
        ("electronics", reading.pcb_temperature),
    ):
        if value is not None:
            parts.append(f"{name} {value:.1f} °C")
    return told.append(" · ".join(parts))


def state(family: str, battery: Battery) -> Text:
    """Return what a battery does, as it says."""
    reading, identity = battery.reading, battery.identity
    told = Text()
    told.append("State  ", _STYLES["name"])
    if reading is None:
        return told.append("-")
    parts = [] if reading.state is None else [spoken(reading.state)]
    for status in statuses(family):
        on = status.value(reading)
        if status.key in _SWITCHES and on is not None:
            parts.append(f"{status.name} {'on' if on else 'OFF'}")
        elif on and status.key not in _TOLD_BY_STATE:
            parts.append(status.name)
    known = {measure.key: measure for measure in measures(family, identity)}
    for key, form in (
        ("remaining_capacity", "{} left"),
        ("state_of_health", "health {}"),
        ("cycles", "{} cycles"),
    ):
        if key in known and known[key].told(reading) is not None:
            parts.append(form.format(shown(known[key], reading)))
    return told.append(" · ".join(parts) or "-")


def alarms(battery: Battery) -> Text:
    """Return what a battery reports as trouble, or why it is not known."""
    told = Text()
    told.append("Alarms  ", _STYLES["name"])
    if battery.reading is None:
        return told.append(str(battery.error or "not read yet"), _STYLES["protection"])
    if not battery.reading.alarms:
        return told.append("none", _STYLES["ok"])
    for alarm in battery.reading.alarms:
        told.append(f" {alarm_words(alarm)} ", _STYLES[alarm.level])
        told.append(" ")
    return told


def who(identity: Identity, quality: float | None) -> Text:
    """Return who a battery is, and how well it answers."""
    parts = [identity.model, identity.serial or f"address {identity.address}"]
    if identity.firmware:
        parts.append(f"firmware {identity.firmware}")
    if identity.revision:
        parts.append(f"revision {identity.revision}")
    told = Text(" · ".join(parts), "bold")
    if quality is not None:
        good = _STYLES["ok" if quality >= 98 else "alarm"]
        told.append(" · link ", _STYLES["name"]).append(f"{quality:.0f} %", good)
    return told
