"""Six packs' parameters, as recorded, and packs to write them into."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from custom_components.openxpbms.bms.parameter_rules import Pack
from custom_components.openxpbms.bms.parameter_values import decode_raw
from custom_components.openxpbms.bms.parameters import BY_REGISTER
from custom_components.openxpbms.bms.reading import Reading

from .data import load
from .seplos_data import PARAMETERS as FACTORY_ROWS

_RECORD = load("seplos_parameter_sets.json")
ROWS: list[dict[str, Any]] = _RECORD["parameters"]
FACTORY = {
    BY_REGISTER[row["register"]].name: decode_raw(
        BY_REGISTER[row["register"]].field, row["factory_raw"] & 0xFFFF
    )
    for row in FACTORY_ROWS
}
# Far from every limit.
CALM = Reading(
    voltage=52.8,
    current=0.0,
    soc=60.0,
    cell_voltages=(3.3,) * 16,
    cell_temperatures=(25.0,) * 4,
    ambient_temperature=25.0,
    mosfet_temperature=30.0,
)


def pack_of(
    values: Mapping[str, float] = FACTORY,
    *,
    changed: Mapping[str, float] | None = None,
    factory: Mapping[str, float] | None = None,
    cells: int = 16,
    board: int | None = 200,
    reading: Reading | None = CALM,
) -> Pack:
    """Return a pack, as it came but for what is `changed`."""
    return Pack(
        cells=cells,
        board=board,
        values={**values, **(changed or {})},
        factory=values if factory is None else factory,
        reading=reading,
    )


# What is not known of a pack is taken from another one.
PACKS = {
    pack["name"]: pack_of(
        FACTORY
        | {
            BY_REGISTER[row["register"]].name: row["values"][column]
            for row in ROWS
            if row["values"][column] is not None
        },
        board=pack["board"],
    )
    for column, pack in enumerate(_RECORD["packs"])
}
