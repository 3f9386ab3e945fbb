"""Which value may be written into which parameter of a Seplos V3 pack.

Pure: no clock, no I/O. `check` judges one write by everything that is known of the
pack; nothing is written that it did not return as a Change.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
import math

from .parameter_errors import (
    BeyondBoard,
    BeyondFactory,
    BoardUnknown,
    Caution,
    InsaneParameters,
    LargeStep,
    NotWritable,
    OutOfRange,
    OutOfRangeForCells,
    ParameterError,
    TripUnknown,
    Unchanged,
    UnknownParameter,
    WouldTrip,
)
from .parameter_order import ALARMS, TRIPS, Pair, Side, disorder
from .parameter_values import (
    Number,
    as_asked,
    check_resolution,
    checked,
    decode_raw,
    encode,
    exact,
    from_base_unit,
    shown,
)
from .parameters import BY_NAME, BY_REGISTER, Access, Parameter
from .reading import Reading

# For so many cells ranges are given.
USUAL_CELLS = 16
# A step of more than this share of the range is made only on purpose.
LARGE_STEP = Decimal("0.2")
# What the present reading keeps from a limit that would switch the pack off. Of SOC
# nothing is said anywhere; a pack's voltage counts for each of its cells.
CELL_MARGIN = Decimal("0.05")
MARGINS = {
    "highest_cell_voltage": CELL_MARGIN,
    "lowest_cell_voltage": CELL_MARGIN,
    "cell_delta": CELL_MARGIN,
    "current": Decimal(10),
    "highest_cell_temperature": Decimal(3),
    "lowest_cell_temperature": Decimal(3),
    "ambient_temperature": Decimal(3),
    "mosfet_temperature": Decimal(3),
    "soc": Decimal(1),
}
# How far a limit of the pack may be from that of its cells, V per cell: factory
# settings differ by as much.
DISAGREEMENT = Decimal("0.1")
_REQUEST = BY_REGISTER[0x1365]
_PACK_ALARM, _CELL_ALARM = BY_REGISTER[0x1303], BY_REGISTER[0x130B]
# From the limits of the pack to those of its cells: eight neighbours each.
_TO_CELL = 0x130A - 0x1302
_PACK_LIMITS = range(0x1302, 0x130A)
# Between what a table that is read rightly shows: V and °C.
_SANE = (
    (range(0x1300, 0x1301), (1.0, 8.0)),
    (range(0x1301, 0x1302), (7.0, 16.0)),
    (range(0x130A, 0x1312), (2.0, 4.0)),
    # The voltage of a dead cell may be written lower.
    (range(0x1312, 0x1313), (1.5, 4.0)),
    (range(0x132F, 0x134F), (-40.0, 120.0)),
)
_ANYTHING = (-math.inf, math.inf)
_SANE_PAIRS = (Pair(0x1302, 0x1303), Pair(0x1303, 0x1305, equal=True))


@dataclass(frozen=True, slots=True, kw_only=True)
class Pack:
    """What a write is judged by.

    `board` is the current in A that the electronics are built for. `values` are all
    parameters as just read, `factory` as they were at first contact, both by name in
    their own units. `reading` is the latest.
    """

    cells: int
    board: int | None
    values: Mapping[str, float] = field(hash=False)
    factory: Mapping[str, float] = field(hash=False)
    reading: Reading | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """A write that no rule forbids: values in `unit`, raw words, what to know of it."""

    name: str
    register: int
    unit: str
    old: float
    new: float
    old_raw: int
    new_raw: int
    cautions: tuple[Caution, ...] = ()


def check(
    name: str,
    value: Number,
    pack: Pack,
    *,
    allow_large_step: bool = False,
    allow_trip: bool = False,
) -> Change:
    """Return the change that writing `value`, in the parameter's unit, makes.

    Raises the ParameterError of the first rule that forbids it.
    """
    parameter = BY_NAME.get(name)
    if parameter is None:
        raise UnknownParameter(parameter=name)
    if not parameter.writable:
        raise NotWritable(parameter=name, access=parameter.access)
    new = checked(parameter.field, value)
    check_resolution(parameter.field, new)
    old = pack.values[name]
    if new == exact(old):
        raise Unchanged(parameter=name, value=shown(parameter.field, new))
    _check_range(parameter, new, pack)
    cautions = [*_order(parameter, new, pack)]
    for problem, allowed in (
        (_large_step(parameter, new, pack), allow_large_step),
        (_trip(parameter, new, pack), allow_trip),
    ):
        if problem and not allowed:
            raise problem
        if problem:
            cautions.append(Caution(problem.key, problem.details))
    raw = encode(parameter.field, new)
    return Change(
        name=name,
        register=parameter.field.register,
        unit=parameter.field.unit,
        old=old,
        new=decode_raw(parameter.field, raw),
        old_raw=encode(parameter.field, old),
        new_raw=raw,
        cautions=(*cautions, *_cautions(parameter, new, pack)),
    )


def span(parameter: Parameter, pack: Pack) -> tuple[float, float]:
    """Return the lowest and the highest value that may be written, in its own unit.

    With an unknown board and a present value that is no current at all the first is
    more than the second: then nothing may be written. Raises NotWritable.
    """
    low, high = _span(parameter, pack)
    return float(low), float(high)


def _span(parameter: Parameter, pack: Pack) -> tuple[Decimal, Decimal]:
    if not parameter.writable:
        raise NotWritable(parameter=parameter.name, access=parameter.access)
    return _end(parameter, parameter.low, pack), _end(parameter, parameter.high, pack)


def _end(parameter: Parameter, fixed: float | None, pack: Pack) -> Decimal:
    if fixed is None:
        return _reach(parameter, pack)
    share = Decimal(pack.cells) / USUAL_CELLS if parameter.of_pack else 1
    return exact(fixed) * share


def _reach(parameter: Parameter, pack: Pack) -> Decimal:
    """Return where a range ends that is open."""
    sign, percent = parameter.outward, parameter.board_percent
    factory = exact(pack.factory[parameter.name]) * sign
    if pack.board is not None:
        return sign * max(Decimal(pack.board * percent // 100), factory)
    present = exact(pack.values[parameter.name]) * sign
    return sign * (present if percent else min(present, factory))


def _check_range(parameter: Parameter, new: Decimal, pack: Pack) -> None:
    low, high = _span(parameter, pack)
    asked = {"parameter": parameter.name, "value": as_asked(parameter.field, new)}
    sign = parameter.outward
    inner, reach = (low, high) if sign >= 0 else (high, low)
    if sign and sign * inner <= sign * new:
        if sign * new > sign * reach:
            raise _beyond(parameter, pack, limit=shown(parameter.field, reach), **asked)
    elif not low <= new <= high:
        asked["low"], asked["high"] = (shown(parameter.field, e) for e in (low, high))
        if parameter.of_pack:
            raise OutOfRangeForCells(cells=str(pack.cells), **asked)
        raise OutOfRange(**asked)


def _beyond(parameter: Parameter, pack: Pack, /, **details: str) -> ParameterError:
    if pack.board is None:
        return BoardUnknown(**details)
    if not parameter.board_percent:
        return BeyondFactory(**details)
    return BeyondBoard(board=f"{pack.board} A", **details)


def _order(parameter: Parameter, new: Decimal, pack: Pack) -> Iterator[Caution]:
    """Raise WrongOrder, or yield which pairs stay in disorder and may."""
    for problem, allowed in disorder(parameter, new, pack.values, pack.factory):
        if not allowed:
            raise problem
        yield Caution("order_still_wrong", problem.details)


def _large_step(
    parameter: Parameter, new: Decimal, pack: Pack
) -> ParameterError | None:
    low, high = _span(parameter, pack)
    old = exact(pack.values[parameter.name])
    if abs(new - old) <= LARGE_STEP * (high - low):
        return None
    return LargeStep(
        parameter=parameter.name,
        old=shown(parameter.field, old),
        value=shown(parameter.field, new),
        share=f"{LARGE_STEP:.0%}",
    )


def _trip(parameter: Parameter, new: Decimal, pack: Pack) -> ParameterError | None:
    """Return how the pack would take it, were this its protection now.

    In which direction current flows, and whether the pack has switched off already,
    does not matter: that changes within seconds.
    """
    if parameter.field.register not in TRIPS:
        return None
    quantity, side = TRIPS[parameter.field.register]
    present = getattr(pack.reading, quantity, None)
    if present is None:
        return TripUnknown(parameter=parameter.name)
    margin = MARGINS.get(quantity, CELL_MARGIN * pack.cells)
    if side * (exact(present) - new) < -margin:
        return None
    return WouldTrip(
        parameter=parameter.name,
        value=shown(parameter.field, new),
        reading=shown(parameter.field, present),
    )


def _cautions(parameter: Parameter, new: Decimal, pack: Pack) -> Iterator[Caution]:
    yield from _will_alarm(parameter, new, pack.reading)
    values: dict[str, Number] = {**pack.values, parameter.name: new}
    yield from _cells_disagree(parameter, values, pack.cells)
    yield from _request_above_alarm(parameter, values, pack.cells)
    if parameter.access is Access.CAPACITY:
        yield Caution("state_of_charge", {"parameter": parameter.name})


def _will_alarm(
    parameter: Parameter, new: Decimal, reading: Reading | None
) -> Iterator[Caution]:
    quantity, side = ALARMS.get(parameter.field.register, ("", Side.ABOVE))
    told = getattr(reading, quantity, None)
    if told is None:
        return
    present = from_base_unit(parameter.field, told)
    if side * (present - new) >= 0:
        yield Caution(
            "will_alarm",
            {
                "parameter": parameter.name,
                "value": shown(parameter.field, new),
                "reading": shown(parameter.field, present),
            },
        )


def _cells_disagree(
    parameter: Parameter, values: Mapping[str, Number], cells: int
) -> Iterator[Caution]:
    register = parameter.field.register
    of_pack = register if register in _PACK_LIMITS else register - _TO_CELL
    if of_pack not in _PACK_LIMITS:
        return
    pack, cell = BY_REGISTER[of_pack], BY_REGISTER[of_pack + _TO_CELL]
    together = exact(values[cell.name]) * cells
    if abs(exact(values[pack.name]) - together) > DISAGREEMENT * cells:
        yield Caution(
            "cells_disagree",
            {
                "pack": pack.name,
                "pack_value": shown(pack.field, values[pack.name]),
                "cell": cell.name,
                "cell_value": shown(cell.field, values[cell.name]),
                "cells": str(cells),
                "together": shown(pack.field, together),
            },
        )


def _request_above_alarm(
    parameter: Parameter, values: Mapping[str, Number], cells: int
) -> Iterator[Caution]:
    request = exact(values[_REQUEST.name])
    for alarm, share in ((_PACK_ALARM, 1), (_CELL_ALARM, cells)):
        limit = exact(values[alarm.name])
        together = limit * share
        if parameter not in {_REQUEST, alarm} or request <= together:
            continue
        details = {
            "request": shown(_REQUEST.field, request),
            "alarm": alarm.name,
            "alarm_value": shown(alarm.field, limit),
        }
        if alarm is _PACK_ALARM:
            yield Caution("request_above_alarm", details)
        else:
            details |= {
                "cells": str(cells),
                "together": shown(_PACK_ALARM.field, together),
            }
            yield Caution("request_above_cells", details)


def sane(values: Mapping[str, float]) -> None:
    """Look whether the table can be what it is taken for, before any write.

    After the dossier (3.2). `values` are all parameters as just read, by name. Raises
    InsaneParameters.
    """
    for name, known in BY_NAME.items():
        value = values.get(name, math.nan)
        low, high = next(
            (ends for run, ends in _SANE if known.field.register in run), _ANYTHING
        )
        if not low <= value <= high:
            raise InsaneParameters(parameter=name, value=shown(known.field, value))
    for pair in _SANE_PAIRS:
        if not pair.holds(pair.gap(values)):
            known = BY_REGISTER[pair.lower]
            raise InsaneParameters(
                parameter=known.name, value=shown(known.field, values[known.name])
            )
