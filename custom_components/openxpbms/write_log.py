"""Who wanted what written into which pack, and what came of it: kept over restarts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from homeassistant.helpers.storage import Store
from homeassistant.util import dt as dt_util
from homeassistant.util.ulid import ulid_now

from .const import DOMAIN

if TYPE_CHECKING:
    from homeassistant.core import HomeAssistant

VERSION = 1
KEPT = 200


class Step(StrEnum):
    """How far a write has come; the last six are what it came to."""

    PREPARED = "prepared"
    REFUSED = "refused"
    CONFIRMED = "confirmed"
    NOT_SENT = "not_sent"
    VERIFIED = "verified"
    UNCHANGED = "unchanged"
    DIFFERENT = "different"
    UNKNOWN = "unknown"
    REVERTED = "reverted"


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """One step of one write; values in the parameter's own unit.

    `write` is the same for all steps of a write. `seen` is what was read last.
    """

    write: str
    step: Step
    battery: str
    parameter: str
    unit: str = ""
    old: float | None = None
    new: float | None = None
    seen: float | None = None
    reason: str | None = None
    user_id: str | None = None
    user: str | None = None
    time: str = field(default_factory=lambda: dt_util.utcnow().isoformat())


class WriteLog:
    """The last records of an entry, and each pack's values at first contact."""

    def __init__(self, hass: HomeAssistant, entry_id: str) -> None:
        """Name the file; it is read by `load`."""
        self._store: Store[dict[str, Any]] = Store(
            hass, VERSION, f"{DOMAIN}.{entry_id}.writes"
        )
        self.records: list[Record] = []
        self.factory: dict[str, dict[str, float]] = {}

    async def load(self) -> None:
        """Read what was kept; a write that was interrupted is told as unknown."""
        data = await self._store.async_load()
        if data is None:
            return
        self.factory = data["factory"]
        self.records = [
            Record(**{**record, "step": Step(record["step"])})
            for record in data["records"]
        ]
        ended = {r.write for r in self.records if r.step in _ENDS}
        for record in self.records:
            if record.step is Step.CONFIRMED and record.write not in ended:
                await self.add(_interrupted(record))

    async def add(self, record: Record) -> None:
        """Keep a record; it is on the disk when this returns."""
        self.records = [*self.records, record][-KEPT:]
        await self._save()

    async def first_contact(self, battery: str, values: Mapping[str, float]) -> None:
        """Keep a pack's values, unless some are kept already."""
        if battery not in self.factory:
            self.factory[battery] = dict(values)
            await self._save()

    async def _save(self) -> None:
        await self._store.async_save(
            {
                "factory": self.factory,
                "records": [asdict(record) for record in self.records],
            }
        )

    async def remove(self) -> None:
        """Forget everything, with its entry."""
        await self._store.async_remove()


_ENDS = frozenset(Step) - {Step.PREPARED, Step.REFUSED, Step.CONFIRMED, Step.REVERTED}


def _interrupted(record: Record) -> Record:
    return Record(
        write=record.write,
        step=Step.UNKNOWN,
        battery=record.battery,
        parameter=record.parameter,
        unit=record.unit,
        old=record.old,
        new=record.new,
        reason="interrupted",
        user_id=record.user_id,
        user=record.user,
    )


def new_write() -> str:
    """Return what names a write."""
    return ulid_now()
