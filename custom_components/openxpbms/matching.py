"""Which pack is which, when a bus changes between being asked and being heard."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from .bms.reading import Identity


@dataclass(slots=True)
class Matching:
    """Known batteries and the packs that are there now.

    `keys` are the lasting keys of the known ones by address. `chosen` holds for each
    known address the address now, or None where the pack is not there any more.
    """

    known: list[Identity]
    now: list[Identity]
    keys: Mapping[int, str]
    chosen: dict[int, int | None] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Serial numbers tell for certain; so do addresses where all are the same."""
        there = {pack.address: pack for pack in self.now}
        if {battery.address for battery in self.known} == there.keys():
            self.chosen = {
                battery.address: battery.address
                for battery in self.known
                if not _differ(battery, there[battery.address])
            }
        by_serial = {pack.serial: pack.address for pack in self.now if pack.serial}
        for battery in self.known:
            if battery.serial in by_serial:
                self.chosen[battery.address] = by_serial[battery.serial]

    @property
    def waiting(self) -> Identity | None:
        """The next battery that a person must tell of; None where all is clear."""
        if not self.left:
            return None
        return next((b for b in self.known if b.address not in self.chosen), None)

    @property
    def left(self) -> list[Identity]:
        """The packs that nobody has been matched with."""
        taken = self.chosen.values()
        return [pack for pack in self.now if pack.address not in taken]

    def result(self) -> list[Identity]:
        """Return the batteries as they are now: the known keep their keys.

        What a pack tells of itself now counts more than what was known.
        """
        packs = {pack.address: pack for pack in self.now}
        kept = [
            _kept(battery, packs[address], self.keys[battery.address])
            for battery in self.known
            if (address := self.chosen.get(battery.address)) is not None
        ]
        return [*kept, *self.left]


def _kept(battery: Identity, pack: Identity, key: str) -> Identity:
    if pack.serial is not None or battery.serial is None:
        return replace(pack, key=key)
    # Only heard now: nothing but its number and what it counts is known anew.
    return replace(battery, address=pack.address, key=key)


def _differ(battery: Identity, pack: Identity) -> bool:
    """Whether two serial numbers say that these are not the same."""
    return None not in (battery.serial, pack.serial) and battery.serial != pack.serial
