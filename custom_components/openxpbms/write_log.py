"""Who wanted what written into which pack, and what came of it: kept over restarts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from enum import StrEnum
import logging
from typing import TYPE_CHECKING, Any

from homeassistant.core import callback
from homeassistant.exceptions import HomeAssistantError
from homeassistant.util import dt as dt_util
from homeassistant.util.ulid import ulid_now

from .kept_file import KeptFile

if TYPE_CHECKING:
    from homeassistant.core import HomeAssistant

_LOGGER = logging.getLogger(__name__)

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
        self._file = KeptFile(hass, entry_id, ".writes")
        self._lost = False
        self.records: list[Record] = []
        self.factory: dict[str, dict[str, float]] = {}
        # The writes that are to be compared with their packs again.
        self.comparing: set[str] = set()

    async def load(self) -> list[Record]:
        """Read what was kept; return the writes that were interrupted, as unknown ones.

        A log that cannot be read stays as it is: then none is kept, so that nothing
        is written into any pack.
        """
        try:
            data = await self._file.load()
            if data is None:
                return []
            factory = {
                battery: {name: _number(value) for name, value in values.items()}
                for battery, values in data["factory"].items()
            }
            records = [_record(record) for record in data["records"]]
            comparing = set(data.get("comparing", ()))
        except _UNREADABLE as err:
            _LOGGER.error("The log of writes cannot be read: %r", err)  # noqa: TRY400
            self._lost = True
            return []
        self.factory, self.records, self.comparing = factory, records, comparing
        ended = {r.write for r in records if r.step in _ENDS}
        interrupted = [
            _interrupted(record)
            for record in records
            if record.step is Step.CONFIRMED and record.write not in ended
        ]
        for record in interrupted:
            self.comparing.add(record.write)
            await self.add(record)
        return interrupted

    @property
    def to_compare(self) -> list[Record]:
        """The writes that are to be compared again, as they were told last.

        Of each parameter only the last: what an earlier one left is gone.
        """
        last = {
            (record.battery, record.parameter): record
            for record in self.records
            if record.step in _CHANGED
        }
        return [
            record
            for record in last.values()
            if record.write in self.comparing and record.step in _COMPARED
        ]

    async def add(self, record: Record) -> bool:
        """Keep a record; return whether it is on the disk now."""
        self.records = [*self.records, record][-KEPT:]
        return await self.save()

    async def first_contact(self, battery: str, values: Mapping[str, float]) -> None:
        """Keep a pack's values, unless some are kept already."""
        if battery not in self.factory:
            self.factory[battery] = dict(values)
            await self.save()

    async def save(self) -> bool:
        """Keep everything; return whether it is on the disk now."""
        if self._lost:
            return False
        known = {record.write for record in self.records}
        data = {
            "factory": self.factory,
            "records": [asdict(record) for record in self.records],
            "comparing": sorted(self.comparing & known),
        }
        return await self._file.save(data)

    @callback
    def stop(self) -> None:
        """Try to save nothing any more."""
        self._file.stop()

    async def remove(self) -> None:
        """Forget everything, with its entry."""
        await self._file.remove()


_UNREADABLE = (
    *(HomeAssistantError, OSError),
    *(AttributeError, KeyError, TypeError, ValueError),
)
# After these a parameter may have another value than before, or has it for certain.
_CHANGED = {Step.VERIFIED, Step.DIFFERENT, Step.UNKNOWN, Step.REVERTED}
_COMPARED = {Step.VERIFIED, Step.UNKNOWN}
_ENDS = frozenset(Step) - {Step.PREPARED, Step.REFUSED, Step.CONFIRMED, Step.REVERTED}


# What may stand in a record, by its annotation.
_KINDS = {
    "str": str,
    "str | None": str | None,
    "float | None": int | float | None,
    "Step": Step,
}


def _record(kept: Mapping[str, Any]) -> Record:
    record = Record(**{**kept, "step": Step(kept["step"])})
    for item in fields(record):
        if not isinstance(getattr(record, item.name), _KINDS[str(item.type)]):
            raise TypeError(f"{item.name} of a record makes no sense")
    if dt_util.parse_datetime(record.time, raise_on_error=True).tzinfo is None:
        raise ValueError("the time of a record has no zone")
    return record


def _number(value: object) -> float:
    if not isinstance(value, int | float):
        raise TypeError("what should be a number is none")
    return value


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
