"""Which pack is which, when a bus is used in another way."""

from __future__ import annotations

from custom_components.openxpbms.bms.reading import Identity
from custom_components.openxpbms.matching import Matching


def pack(address: int, serial: str | None = None, cells: int = 16) -> Identity:
    """Return a pack as it is known."""
    return Identity(
        address=address, serial=serial, model="S", model_code="S", cells=cells
    )


def match(known: list[Identity], now: list[Identity]) -> Matching:
    """Return a matching with a key for each known pack."""
    return Matching(
        known, now, {battery.address: f"K{battery.address}" for battery in known}
    )


def kept(matching: Matching) -> list[tuple[int, str | None, str | None]]:
    """Return address, serial number and key of everybody in the end."""
    return [(i.address, i.serial, i.key) for i in matching.result()]


def test_the_same_addresses_tell_where_serial_numbers_do_not() -> None:
    heard = match([pack(1, "A"), pack(2, "B")], [pack(1), pack(2)])
    assert heard.waiting is None
    assert kept(heard) == [(1, "A", "K1"), (2, "B", "K2")]
    asked = match([pack(1), pack(2)], [pack(1, "A"), pack(2, "B")])
    assert asked.waiting is None
    assert kept(asked) == [(1, "A", "K1"), (2, "B", "K2")]


def test_serial_numbers_tell_more_than_addresses() -> None:
    swapped = match([pack(1, "A"), pack(2, "B")], [pack(1, "B"), pack(2, "A")])
    assert swapped.waiting is None
    assert kept(swapped) == [(2, "A", "K1"), (1, "B", "K2")]
    moved = match([pack(0, "A")], [pack(3, "A"), pack(4, "C")])
    assert moved.waiting is None
    assert kept(moved) == [(3, "A", "K0"), (4, "C", None)]


def test_another_serial_number_at_the_same_address_is_asked_about() -> None:
    matching = match([pack(1, "A")], [pack(1, "Z")])
    assert matching.waiting == pack(1, "A")
    matching.chosen[1] = None
    assert kept(matching) == [(1, "Z", None)]


def test_other_addresses_are_asked_about_until_nobody_is_left() -> None:
    matching = match([pack(0, "A"), pack(5, "B")], [pack(1), pack(2, cells=15)])
    assert matching.waiting == pack(0, "A")
    matching.chosen[0] = 2
    assert matching.waiting == pack(5, "B")
    assert [p.address for p in matching.left] == [1]
    matching.chosen[5] = 1
    assert matching.waiting is None
    assert kept(matching) == [(2, "A", "K0"), (1, "B", "K5")]


def test_more_known_than_there_are_now() -> None:
    matching = match([pack(1, "A"), pack(2, "B")], [pack(1)])
    matching.chosen[1] = 1
    assert matching.waiting is None
    assert kept(matching) == [(1, "A", "K1")]
