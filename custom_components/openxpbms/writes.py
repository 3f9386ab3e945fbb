"""Confirmed writes of an entry: offered to one person, agreed to, made, looked at.

Every way in comes through here: an offer first, which names the old and the new value
and has a code, then the code by the same person within five minutes, once.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
import logging
import math
import secrets
from time import monotonic
from typing import TYPE_CHECKING, Any, NoReturn

from homeassistant.const import ATTR_DEVICE_ID, ATTR_ENTITY_ID, Platform
from homeassistant.core import Context, HassJob, callback
from homeassistant.exceptions import HomeAssistantError, ServiceValidationError
from homeassistant.helpers import device_registry as dr
from homeassistant.helpers import entity_registry as er

from .bms.errors import BusError
from .bms.parameter_errors import ParameterError
from .bms.parameter_facts import told
from .bms.parameter_rules import Pack
from .bms.parameters import BY_NAME
from .bms.seplos_writes import Known, Outcome, Prepared, Result, Wish, Writer
from .bms.shown import device_name
from .comparing import Comparing, Made
from .const import CONF_WRITES, DOMAIN, FAMILY_SEPLOS
from .spoken import DETAIL, spoken
from .write_log import Record, Step, WriteLog, new_write

if TYPE_CHECKING:
    from homeassistant.core import HomeAssistant

    from .bms.rounds import Battery
    from .coordinator import OpenXPBMSConfigEntry, OpenXPBMSCoordinator

_LOGGER = logging.getLogger(__name__)

EVENT_WRITE = f"{DOMAIN}_parameter_write"
# s
CODE_VALID = 300.0


class NotKept(BusError):
    """The record of a write cannot be kept, so nothing is sent."""

    key = "not_kept"


@dataclass(frozen=True, slots=True)
class Offer:
    """A change that its person may confirm until `expires`, in monotonic s."""

    code: str
    write: str
    battery: Battery
    prepared: Prepared
    user_id: str
    expires: float


class Writes:
    """The writes of one entry."""

    def __init__(
        self,
        hass: HomeAssistant,
        entry: OpenXPBMSConfigEntry,
        coordinator: OpenXPBMSCoordinator,
    ) -> None:
        """Prepare; nothing is read before `start`."""
        self.hass = hass
        self.entry = entry
        self.coordinator = coordinator
        self.log = WriteLog(hass, entry.entry_id)
        self._offers: dict[str, Offer] = {}
        self._busy: set[str] = set()
        self._running: set[asyncio.Task[Result]] = set()
        self._comparing = Comparing(
            hass, entry, coordinator, self.log, self._is_busy, self._found
        )
        self._untold: list[Record] = []
        self._listeners: dict[str, list[Callable[[Record], None]]] = {}
        self._untrack: list[Callable[[], None]] = []

    async def start(self) -> None:
        """Read the log, and follow the packs."""
        self._untold = await self.log.load()
        for record in self._untold:
            self._fire(record)
        self._comparing.start()
        self._untrack.append(self.coordinator.async_add_listener(self._updated))
        self._untrack.append(self.hass.async_add_shutdown_job(HassJob(self.wait)))

    async def wait(self) -> None:
        """Return when no write is under way; each reads back what it did."""
        while self._running:
            await asyncio.wait(self._running)

    async def stop(self) -> None:
        """Follow nothing any more; codes die, what is under way ends first."""
        for untrack in self._untrack:
            untrack()
        self._untrack.clear()
        self._comparing.stop()
        self._offers.clear()
        await self.wait()
        self.log.stop()

    # What may be asked

    def check_allowed(self, battery: Battery) -> None:
        """Raise ServiceValidationError where nothing is written into a battery."""
        if self.coordinator.family_name != FAMILY_SEPLOS:
            self._refuse("not_seplos", battery)
        if not self.coordinator.asks:
            self._refuse("listening", battery)
        if not self.entry.options.get(CONF_WRITES, False):
            self._refuse("writes_off", battery)

    async def parameters(self, battery: Battery) -> list[dict[str, Any]]:
        """Read all parameters of a pack now: value, range, whether it is written."""
        if self.coordinator.family_name != FAMILY_SEPLOS:
            self._refuse("not_seplos", battery)
        if not self.coordinator.asks:
            self._refuse("listening", battery)
        values = await self._values(battery)
        pack = Pack(
            cells=int(values["number_of_cells"]),
            board=battery.identity.board,
            values=values,
            factory=self._factory(battery) or values,
            reading=battery.reading,
        )
        return [told(BY_NAME[name], pack) for name in values]

    async def _values(self, battery: Battery) -> dict[str, float]:
        try:
            values = await self._writer(battery).values()
        except BusError as err:
            self._fail(err, battery)
        await self.log.first_contact(self._key(battery), values)
        return values

    def _writer(self, battery: Battery) -> Writer:
        return Writer(self.coordinator.bus, battery.identity)

    def _key(self, battery: Battery) -> str:
        return self.coordinator.key_of(battery)

    def _factory(self, battery: Battery) -> Mapping[str, float]:
        return self.log.factory.get(self._key(battery), {})

    def _known(self, battery: Battery) -> Known:
        return Known(factory=self._factory(battery), reading=battery.reading)

    # An offer, and its confirmation

    async def prepare(self, battery: Battery, wish: Wish, user_id: str | None) -> Offer:
        """Look at a change and offer it to a person.

        Raises ServiceValidationError where it is forbidden, HomeAssistantError where
        the pack cannot be asked.
        """
        user = self._person(user_id)
        write = new_write()
        try:
            prepared = await self._prepare(battery, wish)
        except HomeAssistantError as err:
            await self._note(
                write,
                Step.REFUSED,
                battery,
                wish.name,
                user,
                new=_number(wish.value),
                reason=err.translation_key,
            )
            raise
        self._forget_expired()
        offer = Offer(
            code=secrets.token_hex(3).upper(),
            write=write,
            battery=battery,
            prepared=prepared,
            user_id=user,
            expires=monotonic() + CODE_VALID,
        )
        self._offers[offer.code] = offer
        await self._note_offer(offer, Step.PREPARED)
        return offer

    async def _prepare(self, battery: Battery, wish: Wish) -> Prepared:
        self.check_allowed(battery)
        if not self._factory(battery):
            await self._values(battery)
        try:
            return await self._writer(battery).prepare(wish, self._known(battery))
        except (BusError, ParameterError) as err:
            self._fail(err, battery)

    def _person(self, user_id: str | None) -> str:
        if user_id is None:
            raise ServiceValidationError(
                translation_domain=DOMAIN, translation_key="write_needs_person"
            )
        return user_id

    def _forget_expired(self) -> None:
        now = monotonic()
        self._offers = {c: o for c, o in self._offers.items() if o.expires > now}

    async def confirm(
        self, code: str, user_id: str | None, battery: Battery | None = None
    ) -> tuple[Offer, Result]:
        """Make the change that was offered, once; return what came of it.

        The write goes on to its end whatever becomes of the caller. Raises
        ServiceValidationError where the code does not count, or not for `battery`.
        """
        user = self._person(user_id)
        offer = self._offers.get(code.strip().upper())
        if offer is None:
            self._refuse("code_unknown", battery)
        try:
            self._check_confirm(offer, user, battery)
        except ServiceValidationError as err:
            reason = err.translation_key
            await self._note_offer(offer, Step.REFUSED, user=user, reason=reason)
            raise
        key = self._key(offer.battery)
        del self._offers[offer.code]
        self._busy.add(key)
        task = self.hass.async_create_task(self._make(offer), f"{DOMAIN} write")
        self._running.add(task)
        task.add_done_callback(self._running.discard)
        return offer, await asyncio.shield(task)

    def _check_confirm(self, offer: Offer, user: str, battery: Battery | None) -> None:
        if offer.user_id != user:
            self._refuse("code_of_another", offer.battery)
        if offer.expires <= monotonic() or battery not in (None, offer.battery):
            self._refuse("code_unknown", offer.battery)
        self.check_allowed(offer.battery)
        if self._is_busy(offer.battery):
            self._refuse("write_under_way", offer.battery)

    def _is_busy(self, battery: Battery) -> bool:
        return self._key(battery) in self._busy

    async def _make(self, offer: Offer) -> Result:
        """Make a change to its end, and note what came of it."""
        key, change = self._key(offer.battery), offer.prepared.change

        async def before() -> None:
            if not await self._note_offer(offer, Step.CONFIRMED):
                raise NotKept("the log of writes cannot be kept")

        try:
            result = await self._writer(offer.battery).write(
                offer.prepared, self._known(offer.battery), before=before
            )
        except Exception:
            _LOGGER.exception("A write of %s broke off", change.name)
            result = Result(Outcome.UNKNOWN, reason="broken_off")
        finally:
            self._busy.discard(key)
        if result.outcome in (Outcome.VERIFIED, Outcome.DIFFERENT, Outcome.UNKNOWN):
            # What an earlier write left is not to be found any more.
            self._comparing.forget(offer.battery, change.name)
        step = Step(result.outcome)
        if step in (Step.VERIFIED, Step.UNKNOWN):
            self._comparing.begin(
                Made(offer.write, offer.battery, change, offer.user_id, step)
            )
        await self._note_offer(offer, step, seen=result.seen, reason=result.reason)
        # The sensors of parameters show it with the next round.
        offer.battery.slow_from = 0.0
        return result

    @callback
    def _updated(self) -> None:
        """A round is over: note first contacts."""
        for battery in self.coordinator:
            key = self._key(battery)
            values = battery.settings.parameters
            if values and key not in self.log.factory:
                self.hass.async_create_task(self.log.first_contact(key, values))

    async def _found(self, made: Made, step: Step, seen: float | None) -> None:
        change = made.change
        await self._note(
            made.write,
            step,
            made.battery,
            change.name,
            made.user_id,
            old=change.old,
            new=change.new,
            seen=seen,
        )

    # The log

    async def _note_offer(
        self, offer: Offer, step: Step, *, user: str | None = None, **more: Any
    ) -> bool:
        change = offer.prepared.change
        return await self._note(
            offer.write,
            step,
            offer.battery,
            change.name,
            user or offer.user_id,
            old=change.old,
            new=change.new,
            **more,
        )

    async def _note(
        self,
        write: str,
        step: Step,
        battery: Battery,
        parameter: str,
        user_id: str,
        **more: Any,
    ) -> bool:
        """Keep a record and tell it; return whether it is kept."""
        user = await self.hass.auth.async_get_user(user_id)
        known = BY_NAME.get(parameter)
        record = Record(
            write=write,
            step=step,
            battery=self.name_of(battery),
            parameter=parameter,
            unit=known.field.unit if known else "",
            user_id=user_id,
            user=user.name if user else None,
            **more,
        )
        kept = await self.log.add(record)
        for listener in self._listeners.get(self._key(battery), ()):
            listener(record)
        self._fire(record)
        return kept

    def _fire(self, record: Record) -> None:
        self.hass.bus.async_fire(
            EVENT_WRITE,
            {
                **self._places(record.battery),
                "battery": record.battery,
                "parameter": record.parameter,
                "step": record.step,
                "old": record.old,
                "new": record.new,
                "seen": record.seen,
                "unit": record.unit,
                "reason": record.reason,
            },
            context=Context(user_id=record.user_id),
        )

    def _places(self, name: str) -> dict[str, str]:
        """Return the device and the event entity whose activity shows an event."""
        for battery in self.coordinator:
            if self.name_of(battery) != name:
                continue
            key = self._key(battery)
            device = dr.async_get(self.hass).async_get_device_by_identifier(
                (DOMAIN, key), self.entry.entry_id
            )
            entity_id = er.async_get(self.hass).async_get_entity_id(
                Platform.EVENT, DOMAIN, f"{key}_parameter_write"
            )
            if device is not None and entity_id is not None:
                return {ATTR_DEVICE_ID: device.id, ATTR_ENTITY_ID: entity_id}
        return {}

    @callback
    def async_on_record(
        self, battery: Battery, told: Callable[[Record], None]
    ) -> Callable[[], None]:
        """Call `told` with every record of a battery, and with what a restart left."""
        for record in self._untold:
            if record.battery == self.name_of(battery):
                told(record)
        listeners = self._listeners.setdefault(self._key(battery), [])
        listeners.append(told)
        return lambda: listeners.remove(told)

    def way_back(self, battery: Battery, write: str) -> tuple[str, float]:
        """Return a parameter and its value before a write that is in the log.

        Raises ServiceValidationError where it is not there or changed nothing.
        """
        done = {Step.VERIFIED, Step.DIFFERENT, Step.UNKNOWN}
        name = self.name_of(battery)
        for record in reversed(self.log.records):
            known = (record.write, record.battery) == (write, name)
            if known and record.step in done and record.old is not None:
                return record.parameter, record.old
        raise ServiceValidationError(
            translation_domain=DOMAIN, translation_key="write_unknown"
        )

    # Refusals

    def name_of(self, battery: Battery) -> str:
        """Return what people call a battery."""
        return device_name(self.coordinator.family_name, battery.identity)

    def _refuse(self, reason: str, battery: Battery | None) -> NoReturn:
        name = "-" if battery is None else self.name_of(battery)
        raise ServiceValidationError(
            translation_domain=DOMAIN,
            translation_key=reason,
            translation_placeholders={"battery": name},
        )

    def _fail(self, err: BusError | ParameterError, battery: Battery) -> NoReturn:
        wrong = ServiceValidationError if isinstance(err, ParameterError) else None
        details = {"battery": self.name_of(battery), **err.details}
        if "access" in details:
            details["access"] = spoken(self.hass, DETAIL, details["access"])
        raise (wrong or HomeAssistantError)(
            translation_domain=DOMAIN,
            translation_key=err.key,
            translation_placeholders=details,
        ) from err


def _number(value: object) -> float | None:
    """Return a wish as the log can keep it."""
    with suppress(OverflowError, TypeError, ValueError):
        number = float(value)  # type: ignore[arg-type]
        return number if math.isfinite(number) else None
    return None
