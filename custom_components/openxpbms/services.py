"""Actions."""

from __future__ import annotations

from typing import TYPE_CHECKING

from homeassistant.const import ATTR_DEVICE_ID
from homeassistant.core import ServiceCall, ServiceResponse, SupportsResponse
from homeassistant.exceptions import ServiceValidationError
from homeassistant.helpers import config_validation as cv
from homeassistant.helpers.service import (
    async_get_device_and_config_entry,
    async_register_admin_service,
)
import voluptuous as vol

from .const import DOMAIN

if TYPE_CHECKING:
    from homeassistant.core import HomeAssistant

    from .coordinator import OpenXPBMSConfigEntry
    from .guard import Watched

SERVICE_TRIP_TEST = "trip_test"


def async_setup_services(hass: HomeAssistant) -> None:
    """Register all actions."""

    async def trip_test(call: ServiceCall) -> ServiceResponse:
        """Open a battery's outputs and time them."""
        entry, watched = _battery(hass, call.data[ATTR_DEVICE_ID])
        return await entry.runtime_data.guard.trip_test(watched)

    async_register_admin_service(
        hass,
        DOMAIN,
        SERVICE_TRIP_TEST,
        trip_test,
        vol.Schema({vol.Required(ATTR_DEVICE_ID): cv.string}),
        supports_response=SupportsResponse.OPTIONAL,
    )


def _battery(
    hass: HomeAssistant, device_id: str
) -> tuple[OpenXPBMSConfigEntry, Watched]:
    """Return the battery of a device. Raises ServiceValidationError for another."""
    entry: OpenXPBMSConfigEntry
    device, entry = async_get_device_and_config_entry(hass, DOMAIN, device_id)
    for watched in entry.runtime_data.guard:
        if (DOMAIN, watched.key) in device.identifiers:
            return entry, watched
    raise ServiceValidationError(
        translation_domain=DOMAIN, translation_key="not_a_battery"
    )
