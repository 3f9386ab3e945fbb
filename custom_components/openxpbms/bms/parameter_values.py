"""Values of parameters as raw words and as text: exactly, or not at all."""

from __future__ import annotations

from contextlib import suppress
from decimal import ROUND_FLOOR, Decimal
import math

from .parameter_errors import NotANumber, OutOfRange, WrongResolution
from .registers import Block, Field, decode

Number = int | float | Decimal


def exact(value: Number) -> Decimal:
    """Return the number that people mean by `value`: 3.55 for the float 3.55."""
    return Decimal(repr(float(value)) if isinstance(value, float) else value)


def in_base_unit(field: Field, value: Number) -> Decimal:
    """Return a value of `field` in V, A, °C, % or Ah: some voltages count in mV."""
    return exact(value) / _per_base_unit(field)


def from_base_unit(field: Field, value: Number) -> Decimal:
    """Return what is in V, A, °C, % or Ah in the unit of `field`."""
    return exact(value) * _per_base_unit(field)


def _per_base_unit(field: Field) -> int:
    return 1000 if field.unit == "mV" else 1


def encode(field: Field, value: Number) -> int:
    """Return the raw word, 0 to 0xFFFF, that is nearest to a value in the field's unit.

    Raises NotANumber, or OutOfRange where no word is near.
    """
    number = checked(field, value)
    raw = int((number * field.divisor).to_integral_value()) - field.offset
    lowest = -0x8000 if field.signed else 0
    if not lowest <= raw <= lowest + 0xFFFF:
        raise OutOfRange(
            parameter=field.name,
            value=as_asked(field, value),
            low=shown(field, decode_raw(field, lowest & 0xFFFF)),
            high=shown(field, decode_raw(field, (lowest + 0xFFFF) & 0xFFFF)),
        )
    return raw & 0xFFFF


def decode_raw(field: Field, raw: int) -> float:
    """Return the value of a raw word, as reading it does."""
    data = raw.to_bytes(2, "big")
    value = decode((field,), Block(field.register, 1), data)[field.name]
    assert isinstance(value, int | float)
    return value


def checked(field: Field, value: Number) -> Decimal:
    """Return `value` exactly. Raises NotANumber."""
    told = "what has too many digits"
    # What is too long for a float, or for a text, no number at all, a signalling NaN.
    with suppress(OverflowError, TypeError, ValueError):
        told = str(value)
        if not isinstance(value, bool) and math.isfinite(value):
            return exact(value) or Decimal(0)  # no minus zero
    raise NotANumber(parameter=field.name, value=told)


def check_resolution(field: Field, number: Decimal) -> None:
    """Raise WrongResolution unless a count of the register is this very number."""
    counts = number * field.divisor
    if counts.to_integral_value() / field.divisor == number:
        return
    below = counts.to_integral_value(ROUND_FLOOR)
    raise WrongResolution(
        parameter=field.name,
        value=as_asked(field, number),
        below=shown(field, below / field.divisor),
        above=shown(field, (below + 1) / field.divisor),
    )


def shown(field: Field, value: Number) -> str:
    """Return a value of the register with its unit, such as 46.40 V."""
    digits = len(str(field.divisor)) - 1
    return f"{exact(value):.{digits}f} {field.unit}".rstrip()


def as_asked(field: Field, value: Number) -> str:
    """Return a value that the register may not have, with its unit: 45.005 V."""
    return f"{value} {field.unit}".rstrip()
