"""Seplos V3: line settings, requests, and a pack's Reading and settings.

A lone pack answers at slave 0, which is an ordinary address here; several in parallel
have a master of their own and are only listened to (bank.py). This file reads, with
functions 1 and 4, and can send nothing else.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial
import time
from typing import Any

from .bank import MODEL, Bank
from .bus import Bus, Heard
from .errors import (
    AnotherBattery,
    AnswerError,
    BusError,
    GarbledAnswer,
    NoAnswer,
    Refused,
    WrongBattery,
)
from .family import ScanResult
from .parameters import PARAMETERS
from .port import Line
from .reading import Identity, Reading, Settings
from .registers import decode
from .seplos_tables import (
    CELLS,
    CLOCK,
    COUNTS,
    PIA,
    PIA_SHORT,
    PIB,
    PIC,
    SENSORS,
    SFA,
    SPA,
    USUAL_SENSORS,
    VIA,
    Table,
    board_of,
    clock_time,
    count_cells,
    decode_table,
    is_pib,
    make_reading,
)

LINE = Line(19200)
# A lone pack is 0; those of a bank are 1 to 16.
ADDRESSES = range(17)
# What was heard of a pack counts no longer than this, s.
HEARD_FOR = 10.0


class Seplos:
    """The packs on one bus, asked.

    `divisor` are the counts of 1 A where the board's name does not tell them.
    """

    def __init__(self, bus: Bus, *, divisor: int | None = None) -> None:
        """Use `bus`, which is opened by `open`."""
        self.bus = bus
        self.on_part: Callable[[Identity, Reading], None] | None = None
        self._divisor = divisor
        self._short_pia: set[int] = set()
        # Packs that have shown their serial number since they answered last.
        self._recognised: set[int] = set()
        # Who the packs are, as whoever asked for them first or reads them knows.
        self._known: dict[int, Identity] = {}
        # Whatever is heard of packs that another master asks.
        self.bank = Bank(divisor=divisor)
        self.bank.on_part = self._overheard
        bus.on_heard = self.bank.take

    async def open(self) -> None:
        """Open the bus unless it is open. Raises a PortError or ForeignMaster."""
        await self.bus.open(LINE)

    async def listen(
        self, seconds: float, progress: Callable[[float], None] | None = None
    ) -> Heard:
        """Only listen, see `Bus.listen`."""
        return await self.bus.listen(LINE, seconds, progress)

    @property
    def asleep(self) -> bool:
        """Packs that sleep are woken by a person, not by a frame."""
        return False

    async def wake(self) -> None:
        """There is nothing to send."""

    def pause(self, tries: int) -> float:
        """Nothing to wait for."""
        return 0.0

    async def _ask(self, address: int, table: Table) -> dict[str, Any]:
        reply = await self.bus.exchange(
            table.request(address),
            LINE,
            others=[other.request(address) for other in (PIC, PIA, PIB, CLOCK)],
        )
        if table is PIB and not is_pib(reply.data):
            raise GarbledAnswer(
                f"what battery {address} tells of its cells makes no sense",
                address=str(address),
            )
        return decode_table(table, reply.data)

    async def read(self, identity: Identity) -> Reading:
        """Read one pack whole.

        Raises an AnswerError where any table is missing, AnotherBattery where the
        serial number is another one; then there is no Reading at all.
        """
        address = identity.address
        self._known[address] = identity
        try:
            if address not in self._recognised:
                await self._recognise(identity)
            values: dict[str, Any] = {}
            for table in (PIA, PIB, PIC):
                asking = self._pia if table is PIA else partial(self._ask, table=table)
                told = await asking(address)
                self._tell(
                    identity, make_reading(told, identity, divisor=self._divisor)
                )
                values |= told
        except BusError:
            # Somebody may have put another pack in its place meanwhile.
            self._recognised.discard(address)
            raise
        return make_reading(values, identity, divisor=self._divisor)

    def _tell(self, identity: Identity, part: Reading) -> None:
        if self.on_part:
            self.on_part(identity, part)

    async def _pia(self, address: int) -> dict[str, Any]:
        if address not in self._short_pia:
            try:
                return await self._ask(address, PIA)
            except Refused:
                self._short_pia.add(address)
        try:
            return await self._ask(address, PIA_SHORT)
        except Refused:
            self._short_pia.discard(address)
            raise

    async def _recognise(self, identity: Identity) -> None:
        if identity.serial is not None:
            serial = serial_of(await self._ask(identity.address, VIA))
            if serial != identity.serial:
                raise AnotherBattery(
                    f"address {identity.address} belongs to another battery now",
                    address=str(identity.address),
                    other=serial or "?",
                )
        self._recognised.add(identity.address)

    async def read_slow(self, identity: Identity) -> Settings:
        """Read parameters, functions and clock; what does not answer stays None.

        Raises AnotherBattery where the serial number is another one.
        """
        address = identity.address
        known: dict[str, Any] = {}
        try:
            await self._recognise(identity)
        except WrongBattery:
            self._recognised.discard(address)
            raise
        except AnswerError:
            return Settings()
        with suppress(AnswerError):
            known["clock"] = clock_time((await self._ask(address, CLOCK))["clock"])
        with suppress(AnswerError):
            known |= await self._ask(address, SFA)
        with suppress(AnswerError):
            known["parameters"] = await self.read_parameters(address)
        return Settings(**known)

    async def read_parameters(self, address: int) -> dict[str, float]:
        """Read SPA whole. Raises an AnswerError."""
        reply = await self.bus.exchange(SPA.request(address), LINE)
        values: dict[str, Any] = decode(PARAMETERS, SPA.block, reply.data)
        return values

    def heard(self, identity: Identity) -> tuple[Reading, float] | None:
        """Return what was heard lately of a pack that another master asks, and when.

        What is known of the pack counts more than what listening tells of it.
        """
        self._known.setdefault(identity.address, identity)
        pack = self.bank.packs.get(identity.address)
        if pack is None or pack.read_at is None:
            return None
        if time.monotonic() - pack.read_at > HEARD_FOR:
            return None
        reading = self._as_known(identity, pack.identity, pack.values)
        return (reading, pack.read_at) if reading else None

    def _overheard(self, heard: Identity, values: Mapping[str, Any]) -> None:
        identity = self._known.get(heard.address)
        if identity and (part := self._as_known(identity, heard, values)):
            self._tell(identity, part)

    def _as_known(
        self, identity: Identity, heard: Identity, values: Mapping[str, Any]
    ) -> Reading | None:
        """Return what values heard of a pack tell, None where it is another pack."""
        who = replace(
            identity,
            cells=identity.cells or heard.cells,
            sensors=identity.sensors or heard.sensors,
        )
        if who.cells != heard.cells:
            return None
        return make_reading(
            values,
            who,
            divisor=self._divisor,
            guess_sensors=identity.sensors is None,
        )

    async def identify(self, address: int) -> Identity:
        """Ask a pack who it is. Raises an AnswerError."""
        try:
            told = await self._ask(address, VIA)
        except Refused:
            told = {}
        device: str = told.get("device", "")
        cells, sensors = await self._counts(address)
        return Identity(
            address=address,
            serial=serial_of(told),
            model=device or MODEL,
            model_code=device,
            firmware=".".join(told.get("firmware", "")) or None,
            cells=cells,
            sensors=sensors,
            board=board_of(device),
        )

    async def _counts(self, address: int) -> tuple[int | None, int]:
        """Return the numbers of cells and sensors."""
        try:
            told = await self._ask(address, COUNTS)
        except Refused:
            told = {}
        sensors = told.get("sensors", 0)
        if not 1 <= sensors <= SENSORS:
            sensors = USUAL_SENSORS
        cells = told.get("cells", 0)
        if 1 <= cells <= CELLS:
            return cells, sensors
        values = await self._pia(address)
        return count_cells(values["voltage"], values["mean_cell_reported"]), sensors

    async def scan(
        self,
        addresses: Sequence[int] = ADDRESSES,
        progress: Callable[[float], None] = lambda share: None,
    ) -> ScanResult:
        """Look for packs, address by address; the port must be open."""
        found: list[Identity] = []
        garbled: list[int] = []
        for done, address in enumerate(addresses):
            progress(done / len(addresses))
            try:
                found.append(await self.identify(address))
            except NoAnswer:
                continue
            except AnswerError:
                garbled.append(address)
        progress(1.0)
        return ScanResult(tuple(found), tuple(garbled))


def serial_of(told: dict[str, Any]) -> str | None:
    """Return the number of the electronics, else the pack's, else None."""
    return told.get("serial") or told.get("pack_serial") or None
