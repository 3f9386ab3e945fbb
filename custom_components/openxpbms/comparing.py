"""Whether what was written stays: looked at after a minute and after a silence.

A start is a silence, too: nobody knows what happened meanwhile. What became of a write
that nobody could read back is looked at in the same way.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
import logging
from typing import TYPE_CHECKING

from homeassistant.core import callback
from homeassistant.helpers.event import async_call_later
from homeassistant.util import dt as dt_util

from .bms.errors import BusError
from .bms.parameter_errors import ParameterError
from .bms.parameter_rules import Change
from .bms.parameter_values import encode
from .bms.parameters import BY_NAME
from .bms.seplos_writes import Outcome, Writer
from .bms.shown import device_name
from .const import DOMAIN
from .write_log import Record, Step, WriteLog

if TYPE_CHECKING:
    from datetime import datetime

    from homeassistant.core import HomeAssistant

    from .bms.rounds import Battery
    from .coordinator import OpenXPBMSConfigEntry, OpenXPBMSCoordinator

_LOGGER = logging.getLogger(__name__)

# s
LOOK_AGAIN = 60.0


@dataclass(slots=True)
class Made:
    """A write that was verified, or that nobody could read back, as `step` says.

    `aged` says that its minute is over.
    """

    write: str
    battery: Battery
    change: Change
    user_id: str
    step: Step
    aged: bool = False


class Comparing:
    """The last write of each parameter of an entry.

    `is_busy` says whether a battery is being written to, `found` is called with a
    write, with what it came to after all, and with the value that was found.
    """

    def __init__(
        self,
        hass: HomeAssistant,
        entry: OpenXPBMSConfigEntry,
        coordinator: OpenXPBMSCoordinator,
        log: WriteLog,
        is_busy: Callable[[Battery], bool],
        found: Callable[[Made, Step, float | None], Awaitable[None]],
    ) -> None:
        """Compare nothing yet."""
        self._hass = hass
        self._entry = entry
        self._coordinator = coordinator
        self._log = log
        self._is_busy = is_busy
        self._found = found
        # By key of the battery and name of the parameter.
        self._made: dict[tuple[str, str], Made] = {}
        self._silent: set[str] = set()
        self._untrack: list[Callable[[], None]] = []

    @callback
    def start(self) -> None:
        """Take up what was to be compared before a restart, and follow the packs."""
        self._untrack.append(self._coordinator.async_add_listener(self._updated))
        if not self._coordinator.asks:
            return
        family = self._coordinator.family_name
        batteries = {device_name(family, b.identity): b for b in self._coordinator}
        for record in self._log.to_compare:
            battery, change = batteries.get(record.battery), _change_of(record)
            if battery is not None and change is not None:
                self._silent.add(self._coordinator.key_of(battery))
                made = Made(
                    record.write, battery, change, record.user_id or "", record.step
                )
                self._begin(made, _left_of_minute(record))

    @callback
    def stop(self) -> None:
        """Compare nothing any more; what is to be compared is in the log."""
        for untrack in self._untrack:
            untrack()
        self._untrack.clear()

    @callback
    def begin(self, made: Made) -> None:
        """Compare a write that was made just now; the log is saved with it."""
        self._log.comparing.add(made.write)
        self._begin(made, LOOK_AGAIN)

    def _begin(self, made: Made, wait: float) -> None:
        self._made[self._what(made.battery, made.change.name)] = made

        @callback
        def later(_: datetime) -> None:
            made.aged = True
            self._look(made, last=False)

        self._untrack.append(async_call_later(self._hass, wait, later))

    @callback
    def forget(self, battery: Battery, name: str) -> None:
        """End to compare a parameter: it was written again."""
        made = self._made.pop(self._what(battery, name), None)
        if made is not None:
            self._log.comparing.discard(made.write)

    def _what(self, battery: Battery, name: str) -> tuple[str, str]:
        return self._coordinator.key_of(battery), name

    @callback
    def _updated(self) -> None:
        """A round is over: look again after a silence."""
        for battery in self._coordinator:
            key = self._coordinator.key_of(battery)
            if battery.reading is None:
                self._silent.add(key)
            elif key in self._silent:
                self._silent.discard(key)
                for (whose, _), made in self._made.items():
                    if whose == key:
                        self._look(made, last=made.aged)

    def _look(self, made: Made, *, last: bool) -> None:
        self._entry.async_create_background_task(
            self._hass, self._compare(made, last=last), f"{DOMAIN} look again"
        )

    async def _compare(self, made: Made, *, last: bool) -> None:
        """Compare once more; what is not as it was told last is told."""
        name = made.change.name
        writer = Writer(self._coordinator.bus, made.battery.identity)
        try:
            result = await writer.look_again(made.change)
        except BusError as err:
            _LOGGER.warning("%s could not be looked at again: %s", name, err)
            return
        known = self._made.get(self._what(made.battery, name))
        if known is not made or self._is_busy(made.battery):
            # Told already, or written again meanwhile.
            return
        unknown = made.step is Step.UNKNOWN
        stays = result.outcome is Outcome.VERIFIED
        if unknown or last or not stays:
            self.forget(made.battery, name)
        if unknown:
            await self._found(made, Step(result.outcome), result.seen)
        elif not stays:
            await self._found(made, Step.REVERTED, result.seen)
        elif last:
            await self._log.save()


def _change_of(record: Record) -> Change | None:
    """Return the change that a record tells of, where it tells one at all."""
    parameter = BY_NAME.get(record.parameter)
    if parameter is None or record.old is None or record.new is None:
        return None
    with suppress(ParameterError):
        field = parameter.field
        return Change(
            name=record.parameter,
            register=field.register,
            unit=field.unit,
            old=record.old,
            new=record.new,
            old_raw=encode(field, record.old),
            new_raw=encode(field, record.new),
        )
    return None


def _left_of_minute(record: Record) -> float:
    """Return how much of the minute after a write is left, whatever clocks did."""
    at = dt_util.parse_datetime(record.time)
    passed = 0.0 if at is None else (dt_util.utcnow() - at).total_seconds()
    return min(max(LOOK_AGAIN - passed, 0.0), LOOK_AGAIN)
