"""Registers as data: a family is a table of fields, decoding walks the table."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

Value = int | float | tuple[int | float, ...]


@dataclass(frozen=True, slots=True)
class Block:
    """A run of `count` registers from `register` that is read in one exchange."""

    register: int
    count: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Field:
    """One quantity in the register map: value = raw * factor / divisor, in `unit`.

    `words` registers make the raw value, the high word first unless `low_word_first`;
    `byte` takes one half of a single register instead ("high" or "low"). With `items`
    the field is a tuple of that many neighbours. `signed` means two's complement.
    """

    name: str
    register: int
    unit: str = ""
    factor: int = 1
    divisor: int = 1
    signed: bool = False
    words: int = 1
    low_word_first: bool = False
    byte: str = ""
    items: int = 0

    @property
    def end(self) -> int:
        """The first register behind the field."""
        return self.register + self.words * max(self.items, 1)


def decode(fields: Iterable[Field], block: Block, data: bytes) -> dict[str, Value]:
    """Return the values of all fields that lie inside `block`, by name.

    `data` are the block's registers, big-endian, as they stood in the reply.
    """
    return {
        field.name: _value(field, data[2 * (field.register - block.register) :])
        for field in fields
        if block.register <= field.register
        and field.end <= block.register + block.count
    }


def _value(field: Field, data: bytes) -> Value:
    size = 2 * field.words
    if field.items:
        return tuple(
            _scaled(field, data[start : start + size])
            for start in range(0, size * field.items, size)
        )
    return _scaled(field, data[:size])


def _scaled(field: Field, data: bytes) -> int | float:
    if field.byte:
        data = data[:1] if field.byte == "high" else data[1:]
    elif field.low_word_first:
        data = b"".join(data[at : at + 2] for at in range(len(data) - 2, -1, -2))
    raw = int.from_bytes(data, "big", signed=field.signed) * field.factor
    return raw if field.divisor == 1 else raw / field.divisor
