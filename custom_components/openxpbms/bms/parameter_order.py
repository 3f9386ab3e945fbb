"""Which parameters of a Seplos V3 pack belong together, and in what order.

Rules are pairs, those of the dossier (2.4), which no source but sense has. Of the six
packs that are known one breaks two of them: the maker's example has the alarm of cell
spread beyond its protection, and an ambient release equal to its trip.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from enum import IntEnum

from .parameter_errors import WrongOrder
from .parameter_values import Number, exact, in_base_unit, shown
from .parameters import BY_REGISTER, Parameter


class Side(IntEnum):
    """Where trouble lies."""

    ABOVE = 1
    BELOW = -1


_ABOVE, _BELOW = Side.ABOVE, Side.BELOW


@dataclass(frozen=True, slots=True)
class Limits:
    """The registers of the two levels that judge one quantity.

    `quantity` is an attribute of Reading.
    """

    quantity: str
    side: Side
    alarm_release: int
    alarm: int
    release: int
    protection: int


LIMITS = (
    Limits("voltage", _ABOVE, 0x1302, 0x1303, 0x1304, 0x1305),
    Limits("voltage", _BELOW, 0x1306, 0x1307, 0x1308, 0x1309),
    Limits("highest_cell_voltage", _ABOVE, 0x130A, 0x130B, 0x130C, 0x130D),
    Limits("lowest_cell_voltage", _BELOW, 0x130E, 0x130F, 0x1310, 0x1311),
    Limits("cell_delta", _ABOVE, 0x1364, 0x1363, 0x1314, 0x1313),
    # One release for both levels.
    Limits("current", _ABOVE, 0x1315, 0x1316, 0x1315, 0x1317),
    Limits("current", _BELOW, 0x131B, 0x131C, 0x131B, 0x131D),
    # While charging.
    Limits("highest_cell_temperature", _ABOVE, 0x132F, 0x1330, 0x1331, 0x1332),
    Limits("lowest_cell_temperature", _BELOW, 0x1333, 0x1334, 0x1335, 0x1336),
    # While discharging.
    Limits("highest_cell_temperature", _ABOVE, 0x1337, 0x1338, 0x1339, 0x133A),
    Limits("lowest_cell_temperature", _BELOW, 0x133B, 0x133C, 0x133D, 0x133E),
    Limits("ambient_temperature", _ABOVE, 0x133F, 0x1340, 0x1341, 0x1342),
    Limits("ambient_temperature", _BELOW, 0x1343, 0x1344, 0x1345, 0x1346),
    Limits("mosfet_temperature", _ABOVE, 0x1347, 0x1348, 0x1349, 0x134A),
    Limits("soc", _BELOW, 0x1354, 0x1355, 0x1356, 0x1357),
)

# Limits that have no alarm and no release of their own.
TRIPS = {
    **{limits.protection: (limits.quantity, limits.side) for limits in LIMITS},
    0x1312: ("lowest_cell_voltage", Side.BELOW),
    0x1319: ("current", Side.ABOVE),
    0x131F: ("current", Side.BELOW),
}
ALARMS = {limits.alarm: (limits.quantity, limits.side) for limits in LIMITS}


@dataclass(frozen=True, slots=True)
class Pair:
    """What lies lower and what higher; `equal` if they may be the same."""

    lower: int
    upper: int
    equal: bool = False

    def gap(self, values: Mapping[str, Number]) -> Decimal:
        """Return by how much they are apart in V, A, °C or %; below 0 is disorder."""
        lower, upper = (BY_REGISTER[at] for at in (self.lower, self.upper))
        return in_base_unit(upper.field, values[upper.name]) - in_base_unit(
            lower.field, values[lower.name]
        )

    def holds(self, gap: Decimal) -> bool:
        """Whether so far apart is in order."""
        return gap > 0 or (self.equal and gap == 0)


# The one release of over-current lies before the protection, and may be at the alarm.
_MAY_BE_EQUAL = {(0x1315, 0x1316), (0x131C, 0x131B)}


def _of_limits() -> Iterator[Pair]:
    for limits in LIMITS:
        for near, far, equal in (
            (limits.alarm_release, limits.alarm, False),
            (limits.alarm, limits.protection, True),
            (limits.release, limits.protection, False),
        ):
            lower, upper = (near, far) if limits.side is Side.ABOVE else (far, near)
            yield Pair(lower, upper, equal or (lower, upper) in _MAY_BE_EQUAL)


PAIRS = (
    *_of_limits(),
    # A dead cell lies below its protection.
    Pair(0x1312, 0x1311),
    # The second level of over-current lies beyond the first.
    Pair(0x1317, 0x1319),
    Pair(0x131F, 0x131D),
    # The heater stops above where it starts, balancing below.
    Pair(0x134C, 0x134B),
    Pair(0x1352, 0x1351),
    # No inverter is asked for more than the pack bears.
    Pair(0x1365, 0x1305, equal=True),
)


def disorder(
    parameter: Parameter,
    new: Number,
    values: Mapping[str, float],
    factory: Mapping[str, float],
) -> Iterator[tuple[WrongOrder, bool]]:
    """Yield every pair that `new` leaves in disorder, and whether it may.

    It may be less in disorder than before, or again exactly as the pack came. `values`
    are all parameters as they are and `factory` as they were at first contact, by name.
    """
    register = parameter.field.register
    for pair in PAIRS:
        if register not in {pair.lower, pair.upper}:
            continue
        before = pair.gap(values)
        after = pair.gap({**values, parameter.name: new})
        if pair.holds(after):
            continue
        is_lower = register == pair.lower
        other = BY_REGISTER[pair.upper if is_lower else pair.lower]
        relation = ("<" if is_lower else ">", "≤" if is_lower else "≥")[pair.equal]
        problem = WrongOrder(
            parameter=parameter.name,
            value=shown(parameter.field, new),
            relation=relation,
            other=other.name,
            limit=shown(other.field, values[other.name]),
        )
        as_it_came = (exact(new), values[other.name]) == (
            exact(factory[parameter.name]),
            factory[other.name],
        )
        yield problem, before < after or as_it_came
