"""Registers as data: a family is a table of fields, decoding walks the table."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

Value = int | float | str | tuple[int | float, ...]


@dataclass(frozen=True, slots=True)
class Block:
    """A run of `count` registers from `register` that is read in one exchange."""

    register: int
    count: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Field:
    """One quantity in the register map, in `unit`.

    value = (raw + offset) * factor / divisor. `words` registers make the raw value, the
    high word first unless `low_word_first`; `byte` takes one half of a single register
    instead ("high" or "low"). With `items` the field is a tuple of as many neighbours.
    `signed` means two's complement. With `chars` it is a text of that many bytes
    instead, ended by the first zero.
    """

    name: str
    register: int
    unit: str = ""
    offset: int = 0
    factor: int = 1
    divisor: int = 1
    signed: bool = False
    words: int = 1
    low_word_first: bool = False
    byte: str = ""
    items: int = 0
    chars: int = 0

    @property
    def end(self) -> int:
        """The first register behind the field."""
        return self.register + (self.chars // 2 or self.words * max(self.items, 1))


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
    if field.chars:
        return _text(data[: field.chars])
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
    raw = int.from_bytes(data, "big", signed=field.signed) + field.offset
    raw *= field.factor
    return raw if field.divisor == 1 else raw / field.divisor


def _text(data: bytes) -> str:
    """Return what of a text can be printed: some batteries keep stray bytes in it."""
    text = data.partition(b"\0")[0].decode("ascii", "ignore")
    return "".join(filter(str.isprintable, text)).strip()
