"""Any number or text as the value of any parameter: a change by the rules, or none."""

from __future__ import annotations

from contextlib import suppress
from decimal import Decimal
import math
import random
from typing import Any

from hypothesis import strategies as st

from custom_components.openxpbms.bms.parameter_errors import (
    InsaneParameters,
    ParameterError,
)
from custom_components.openxpbms.bms.parameter_rules import (
    Change,
    Pack,
    check,
    sane,
    span,
)
from custom_components.openxpbms.bms.parameter_values import (
    decode_raw,
    encode,
    exact,
    shown,
)
from custom_components.openxpbms.bms.parameters import BY_NAME
from custom_components.openxpbms.bms.reading import Reading
from custom_components.openxpbms.bms.seplos_writes import (
    decode_words,
    write_request,
)

from ..bms.parameter_data import CALM, FACTORY, PACKS
from .inputs import examine, fuzz
from .streams import is_frame

PARSER = "parameter values"
NAMES = list(BY_NAME)
# What is no number, or hardly one.
STRANGE: tuple[Any, ...] = (
    *(None, True, False, "", "1", "45.0", "nan", [], {}, b"1", 1j, object()),
    *(math.nan, math.inf, -math.inf, -0.0, 5e-324, 1.7976931348623157e308, 10**400),
    *(10**5000, -(10**5000), Decimal(10) ** 5000),
    *(Decimal("NaN"), Decimal("sNaN"), Decimal("Infinity"), Decimal("1e999999")),
    *(Decimal("1e-999999"), -(10**400), 2**63, Decimal("45.00000000000000001")),
)


def a_pack(chance: random.Random) -> Pack:
    """Return a recorded pack, in which some words may be anything."""
    known = chance.choice(tuple(PACKS.values()))
    values = dict(known.values)
    for _ in range(chance.choice((0, 0, 1, 3, 106))):
        parameter = BY_NAME[chance.choice(NAMES)]
        values[parameter.name] = decode_raw(parameter.field, chance.randrange(0x10000))
    reading = chance.choice((None, CALM, CALM, Reading(), Reading(voltage=52.0)))
    return Pack(
        cells=chance.choice((known.cells, 16, 8, 1)),
        board=chance.choice((known.board, None, 100, 300)),
        values=values,
        factory=chance.choice((known.values, FACTORY)),
        reading=reading,
    )


def a_value(chance: random.Random, name: str, pack: Pack) -> Any:
    """Return a value that may be asked for."""
    field = BY_NAME[name].field
    step = 1 / field.divisor
    near = pack.values[name] + chance.randint(-20, 20) * step
    match chance.randrange(6):
        case 0:
            return chance.choice(STRANGE)
        case 1:
            return round(near, 3)
        case 2:
            return Decimal(str(round(near, 3)))
        case 3:
            return near
        case 4:
            return chance.uniform(-70000, 70000)
    return decode_raw(field, chance.randrange(0x10000))


def check_value(name: str, value: Any, pack: Pack, *, step: bool, trip: bool) -> None:
    """Ask for a value, and look at what comes of it."""
    try:
        change = check(name, value, pack, allow_large_step=step, allow_trip=trip)
    except ParameterError as err:
        told = err
    else:
        check_change(change, value, pack)
        return
    assert told.key != ParameterError.key
    assert all(isinstance(text, str) for text in told.details.values())


def check_change(change: Change, value: Any, pack: Pack) -> None:
    """Look whether a change is what was asked for, and allowed."""
    parameter = BY_NAME[change.name]
    field = parameter.field
    assert parameter.writable
    assert not isinstance(value, str | bool)
    assert exact(change.new) == exact(value)
    assert decode_raw(field, change.new_raw) == change.new
    assert encode(field, change.old) == change.old_raw
    assert change.new_raw != change.old_raw
    low, high = span(parameter, pack)
    assert low <= change.new <= high
    frame = write_request(0, change.register, change.new_raw).encoded
    assert is_frame(frame, b"")
    assert shown(field, change.new)


def test_values_of_parameters() -> None:
    def one(chance: random.Random, drawn: tuple[bool, bool]) -> None:
        pack = a_pack(chance)
        for _ in range(4):
            name = chance.choice(NAMES)
            value = a_value(chance, name, pack)
            check_value(name, value, pack, step=drawn[0], trip=drawn[1])

    fuzz(PARSER, one, st.tuples(st.booleans(), st.booleans()))


def test_values_that_hypothesis_draws() -> None:
    pack = PACKS[next(iter(PACKS))]
    anything = st.one_of(
        *(st.floats(), st.integers(), st.decimals(), st.text(), st.none()),
        *(st.booleans(), st.sampled_from(STRANGE), st.binary()),
    )

    def one(drawn: tuple[str, Any]) -> None:
        check_value(*drawn, pack, step=True, trip=True)

    names = st.one_of(st.sampled_from(NAMES), st.text(max_size=9))
    examine(PARSER, one, st.tuples(names, anything))


def test_any_table_is_sane_or_not() -> None:
    def one(chance: random.Random, _: None) -> None:
        words = tuple(chance.randrange(0x10000) for _ in range(106))
        values = decode_words(words)
        for name in chance.choices(NAMES, k=100):
            values[name] = FACTORY[name]
        if chance.random() < 0.1:
            del values[chance.choice(NAMES)]
        with suppress(InsaneParameters):
            sane(values)

    fuzz(PARSER, one, share=0.05)
