"""A Seplos bank whose first pack is master: its packs, by what is heard of them.

About every 200 ms the master polls packs 2 to N and then sends its own three replies,
with id 1, that nobody asked for (captures of SYSSI and DBUS). So a reply is understood
by the request before it, else by its function and length.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
import time
from typing import Any

from .frame import Frame, Reply, Request
from .reading import Identity, Reading
from .seplos_tables import (
    PIA,
    PIA_SHORT,
    PIB,
    PIC,
    Table,
    count_cells,
    count_sensors,
    decode_table,
    is_pib,
    make_reading,
)

MODEL = "Seplos V3"
# The numbers of packs in a bank.
NUMBERS = range(1, 17)
# A reply comes well within a second after its request, and the three tables of a pack
# come right after each other.
ANSWERED_WITHIN = 1.0
TOGETHER = 1.0
# The tables of a Reading; both forms of PIA are one.
_PARTS = {PIA: "PIA", PIA_SHORT: "PIA", PIB: "PIB", PIC: "PIC"}


@dataclass(slots=True)
class HeardPack:
    """A pack as it was heard; `read_at` is in monotonic seconds.

    `values` are those that its reading was made of.
    """

    identity: Identity
    values: Mapping[str, Any] = field(default_factory=dict)
    reading: Reading | None = None
    read_at: float | None = None


class Bank:
    """Makes Readings of frames that others exchange."""

    def __init__(
        self,
        known: Iterable[Identity] = (),
        *,
        board: int | None = None,
        divisor: int | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Begin with nothing heard.

        `known` are packs whose cells and sensors are known; of the others the board is
        `board` A. `divisor` are the counts of 1 A where the board does not tell them.
        """
        self.packs: dict[int, HeardPack] = {}
        self.on_reading: Callable[[HeardPack], None] | None = None
        # Told of every table of a known pack the moment it is heard.
        self.on_part: Callable[[Identity, Mapping[str, Any]], None] | None = None
        self._known = {identity.address: identity for identity in known}
        self._board = board
        self._divisor = divisor
        self._clock = clock
        self._asked: tuple[Request, float] | None = None
        self._parts: dict[int, dict[str, tuple[dict[str, Any], float]]] = {}
        # How many cells make the voltage that was heard last.
        self._cells: dict[int, int | None] = {}

    def take(self, frame: Frame) -> None:
        """Take the next frame that went over the line."""
        if isinstance(frame, Request):
            self._asked = frame, self._clock()
            return
        asked, self._asked = self._asked, None
        if not isinstance(frame, Reply):
            return
        table = self._by_request(frame, asked)
        if table in _PARTS:
            self._add(frame.address, _PARTS[table], decode_table(table, frame.data))

    def _by_request(
        self, reply: Reply, asked: tuple[Request, float] | None
    ) -> Table | None:
        if asked is None or asked[0].shape != reply.shape:
            return _by_shape(reply)
        request, at = asked
        if self._clock() - at > ANSWERED_WITHIN:
            return _by_shape(reply)
        tables = (t for t in _PARTS if t.request(request.address) == request)
        return next(tables, None)

    def _add(self, address: int, name: str, values: dict[str, Any]) -> None:
        now = self._clock()
        parts = self._parts.setdefault(address, {})
        parts[name] = values, now
        if name == "PIA":
            voltage, mean = values["voltage"], values["mean_cell_reported"]
            self._cells[address] = count_cells(voltage, mean)
        self._tell(address, values)
        if len(parts) < len(set(_PARTS.values())):
            return
        oldest = min(at for _, at in parts.values())
        if now - oldest <= TOGETHER:
            together = {k: v for part, _ in parts.values() for k, v in part.items()}
            parts.clear()
            self._read(address, together, oldest)

    def _tell(self, address: int, values: dict[str, Any]) -> None:
        """Tell of a table; a pack of another size is another pack."""
        pack = self.packs.get(address)
        identity = pack.identity if pack else self._known.get(address)
        cells = self._cells.get(address)
        if self.on_part and identity and cells and identity.cells == cells:
            self.on_part(identity, values)

    def _read(self, address: int, values: dict[str, Any], read_at: float) -> None:
        cells = self._cells[address]
        if cells is None:
            return
        pack = self.packs.get(address)
        if pack is None:
            identity = self._known.get(address) or Identity(
                address=address,
                serial=None,
                model=MODEL,
                model_code="",
                board=self._board,
            )
            identity = replace(
                identity,
                cells=identity.cells or cells,
                sensors=identity.sensors or count_sensors(values["cell_temperatures"]),
            )
            pack = self.packs[address] = HeardPack(identity)
        if pack.identity.cells != cells:
            return
        pack.values = values
        pack.reading = make_reading(
            values, pack.identity, divisor=self._divisor, guess_sensors=True
        )
        pack.read_at = read_at
        if self.on_reading:
            self.on_reading(pack)


def _by_shape(reply: Reply) -> Table | None:
    for table in _PARTS:
        if table.request(reply.address).shape == reply.shape:
            return None if table is PIB and not is_pib(reply.data) else table
    return None
