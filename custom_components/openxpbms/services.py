"""Actions, for administrators: tests, parameters read and written, a bus watched."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any

from homeassistant.const import ATTR_DEVICE_ID
from homeassistant.core import (
    HomeAssistant,
    ServiceCall,
    ServiceResponse,
    SupportsResponse,
    callback,
)
from homeassistant.exceptions import ServiceValidationError
from homeassistant.helpers import config_validation as cv
from homeassistant.helpers.service import (
    async_get_device_and_config_entry,
    async_register_admin_service,
)
import voluptuous as vol

from .bms.seplos_writes import Wish
from .const import DOMAIN
from .monitor import record
from .parameter_texts import Texts
from .parameter_words import compared, offered, resulted
from .trip_test import async_trip_test

if TYPE_CHECKING:
    from .bms.rounds import Battery
    from .coordinator import OpenXPBMSConfigEntry
    from .writes import Offer

ATTR_ALLOW_LARGE_STEP = "allow_large_step"
ATTR_ALLOW_TRIP = "allow_trip"
ATTR_CODE = "code"
ATTR_EXPORT = "export"
ATTR_OTHER_DEVICE_ID = "other_device_id"
ATTR_PARAMETER = "parameter"
ATTR_SECONDS = "seconds"
ATTR_SERIAL_NUMBERS = "serial_numbers"
ATTR_VALUE = "value"
ATTR_WRITE = "write"

_DEVICE: dict[Any, Any] = {vol.Required(ATTR_DEVICE_ID): cv.string}
_ALLOWED: dict[Any, Any] = {
    vol.Optional(ATTR_ALLOW_LARGE_STEP, default=False): cv.boolean,
    vol.Optional(ATTR_ALLOW_TRIP, default=False): cv.boolean,
}
# A number as it is: neither text nor a truth is taken for one.
_NUMBER = vol.Any(int, float)


type Action = Callable[[ServiceCall], Coroutine[Any, Any, ServiceResponse]]


async def _trip_test(call: ServiceCall) -> ServiceResponse:
    """Open a battery's outputs and time them."""
    entry, battery = _battery(call.hass, call.data[ATTR_DEVICE_ID])
    guard = entry.runtime_data.guard
    return await async_trip_test(guard, guard.of(battery))


async def _get_parameters(call: ServiceCall) -> ServiceResponse:
    """Read all parameters of a pack now."""
    entry, battery = _battery(call.hass, call.data[ATTR_DEVICE_ID])
    writes = entry.runtime_data.writes
    parameters: Any = await writes.parameters(battery)
    return {"battery": writes.name_of(battery), "parameters": parameters}


async def _prepare(call: ServiceCall) -> ServiceResponse:
    """Look at a change, and offer it."""
    return await _offer(call, call.data[ATTR_PARAMETER], call.data[ATTR_VALUE])


async def _undo(call: ServiceCall) -> ServiceResponse:
    """Look at the way back to what was before a write, and offer it."""
    entry, battery = _battery(call.hass, call.data[ATTR_DEVICE_ID])
    parameter, value = entry.runtime_data.writes.way_back(
        battery, call.data[ATTR_WRITE]
    )
    return await _offer(call, parameter, value)


async def _offer(call: ServiceCall, parameter: str, value: float) -> ServiceResponse:
    entry, battery = _battery(call.hass, call.data[ATTR_DEVICE_ID])
    writes = entry.runtime_data.writes
    wish = Wish(
        name=parameter,
        value=value,
        allow_large_step=call.data[ATTR_ALLOW_LARGE_STEP],
        allow_trip=call.data[ATTR_ALLOW_TRIP],
    )
    offer: Offer = await writes.prepare(battery, wish, call.context.user_id)
    texts = await Texts.load(call.hass)
    return {
        **offered(offer, writes.name_of(battery)),
        "meaning": texts.option("parameter_meaning", parameter),
        "warnings": texts.cautions(offer.prepared.change.cautions),
    }


async def _confirm(call: ServiceCall) -> ServiceResponse:
    """Make a change that was offered."""
    entry, battery = _battery(call.hass, call.data[ATTR_DEVICE_ID])
    writes = entry.runtime_data.writes
    offer, result = await writes.confirm(
        call.data[ATTR_CODE], call.context.user_id, battery
    )
    return resulted(offer, result, writes.name_of(offer.battery))


async def _compare(call: ServiceCall) -> ServiceResponse:
    """Compare a pack's parameters with another one's or with an export."""
    entry, battery = _battery(call.hass, call.data[ATTR_DEVICE_ID])
    mine = await entry.runtime_data.writes.parameters(battery)
    if ATTR_OTHER_DEVICE_ID in call.data:
        other_entry, other = _battery(call.hass, call.data[ATTR_OTHER_DEVICE_ID])
        theirs = await other_entry.runtime_data.writes.parameters(other)
    else:
        theirs = _exported(call.data.get(ATTR_EXPORT))
    differences: Any = compared(mine, theirs)
    return {"differences": differences}


async def _monitor(call: ServiceCall) -> ServiceResponse:
    """Record what goes over a bus for some seconds."""
    entry = _bus(call.hass, call.data[ATTR_DEVICE_ID])
    return await record(
        entry,
        call.data[ATTR_SECONDS],
        serial_numbers=call.data[ATTR_SERIAL_NUMBERS],
    )


def _exported(export: Any) -> list[dict[str, Any]]:
    """Return the parameters in the response of get_parameters."""
    rows = export.get("parameters") if isinstance(export, dict) else export
    if not isinstance(rows, list) or not all(
        isinstance(row, dict) and {"name", "value"} <= row.keys() for row in rows
    ):
        raise ServiceValidationError(
            translation_domain=DOMAIN, translation_key="no_export"
        )
    return rows


_ACTIONS: dict[str, tuple[Action, dict[Any, Any], SupportsResponse]] = {
    "trip_test": (_trip_test, _DEVICE, SupportsResponse.OPTIONAL),
    "get_parameters": (_get_parameters, _DEVICE, SupportsResponse.ONLY),
    "prepare_parameter_write": (
        _prepare,
        {
            **_DEVICE,
            vol.Required(ATTR_PARAMETER): cv.string,
            vol.Required(ATTR_VALUE): _NUMBER,
            **_ALLOWED,
        },
        SupportsResponse.ONLY,
    ),
    "confirm_parameter_write": (
        _confirm,
        {**_DEVICE, vol.Required(ATTR_CODE): cv.string},
        SupportsResponse.ONLY,
    ),
    "undo_parameter_write": (
        _undo,
        {**_DEVICE, vol.Required(ATTR_WRITE): cv.string, **_ALLOWED},
        SupportsResponse.ONLY,
    ),
    "compare_parameters": (
        _compare,
        {
            **_DEVICE,
            vol.Exclusive(ATTR_OTHER_DEVICE_ID, "with"): cv.string,
            vol.Exclusive(ATTR_EXPORT, "with"): object,
        },
        SupportsResponse.ONLY,
    ),
    "monitor": (
        _monitor,
        {
            **_DEVICE,
            vol.Optional(ATTR_SECONDS, default=10): vol.All(
                vol.Coerce(float), vol.Range(min=1, max=60)
            ),
            vol.Optional(ATTR_SERIAL_NUMBERS, default=False): cv.boolean,
        },
        SupportsResponse.ONLY,
    ),
}


@callback
def async_setup_services(hass: HomeAssistant) -> None:
    """Register all actions."""
    for name, (action, fields, response) in _ACTIONS.items():
        async_register_admin_service(
            hass, DOMAIN, name, action, vol.Schema(fields), supports_response=response
        )


def _battery(
    hass: HomeAssistant, device_id: str
) -> tuple[OpenXPBMSConfigEntry, Battery]:
    """Return the battery of a device. Raises ServiceValidationError for another."""
    entry: OpenXPBMSConfigEntry
    device, entry = async_get_device_and_config_entry(hass, DOMAIN, device_id)
    for battery in entry.runtime_data:
        if (DOMAIN, entry.runtime_data.key_of(battery)) in device.identifiers:
            return entry, battery
    raise ServiceValidationError(
        translation_domain=DOMAIN, translation_key="not_a_battery"
    )


def _bus(hass: HomeAssistant, device_id: str) -> OpenXPBMSConfigEntry:
    """Return the entry of a bus. Raises ServiceValidationError for a battery."""
    entry: OpenXPBMSConfigEntry
    device, entry = async_get_device_and_config_entry(hass, DOMAIN, device_id)
    if (DOMAIN, entry.entry_id) not in device.identifiers:
        raise ServiceValidationError(
            translation_domain=DOMAIN, translation_key="not_a_bus"
        )
    return entry
