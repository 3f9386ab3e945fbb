"""OpenXPBMS: RS485 battery systems in Home Assistant."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from homeassistant.config_entries import ConfigEntryState
from homeassistant.const import CONF_DEVICE, EVENT_HOMEASSISTANT_STOP, Platform
from homeassistant.helpers import config_validation as cv
from homeassistant.helpers import device_registry as dr
from homeassistant.helpers import issue_registry as ir

from .batteries import identities, keys, stored
from .bms.port import shown
from .const import CONF_BATTERIES, DOMAIN
from .coordinator import (
    ISSUE_BANK_HEARD,
    ISSUE_CURRENT_SIGN,
    ISSUE_FOREIGN_MASTER,
    OpenXPBMSConfigEntry,
    OpenXPBMSCoordinator,
)
from .energy_store import energy_file
from .guard_issues import ISSUE_NOT_ARMED, ISSUE_RELAY_FAULT, ISSUE_STATE_LOST
from .release import async_forget, async_let_go, async_take
from .services import async_setup_services
from .troubles import forget_troubles
from .write_log import WriteLog

if TYPE_CHECKING:
    from homeassistant.core import Event, HomeAssistant
    from homeassistant.helpers.typing import ConfigType

PLATFORMS = [
    Platform.BINARY_SENSOR,
    Platform.BUTTON,
    Platform.EVENT,
    Platform.SELECT,
    Platform.SENSOR,
    Platform.SWITCH,
]
# Nothing to configure in YAML.
CONFIG_SCHEMA = cv.config_entry_only_config_schema(DOMAIN)


async def async_setup(hass: HomeAssistant, config: ConfigType) -> bool:
    """Offer the actions, whether or not a bus is set up."""
    async_setup_services(hass)
    return True


async def async_setup_entry(hass: HomeAssistant, entry: OpenXPBMSConfigEntry) -> bool:
    """Set up a bus.

    What guards batteries must not depend on a port, so this never fails for want of
    one: the first round runs in the background and silence is a state like another.
    """
    coordinator = OpenXPBMSCoordinator(hass, entry)
    entry.async_on_unload(coordinator.bus.close)

    async def close(_: Event[Any]) -> None:
        await coordinator.bus.close()
        await coordinator.energy.stop()

    entry.async_on_unload(hass.bus.async_listen_once(EVENT_HOMEASSISTANT_STOP, close))
    coordinator.bus_device_id = (
        dr.async_get(hass)
        .async_get_or_create(
            config_entry_id=entry.entry_id,
            identifiers={(DOMAIN, entry.entry_id)},
            name=entry.title,
            manufacturer="OpenXPBMS",
            model=shown(entry.data[CONF_DEVICE]),
        )
        .id
    )
    # What it told may have been put right in the options: it is watched anew.
    ir.async_delete_issue(hass, DOMAIN, coordinator.issue_id(ISSUE_CURRENT_SIGN))
    entry.runtime_data = coordinator
    await coordinator.guard.start()
    async_take(hass, entry)
    entry.async_on_unload(coordinator.guard.stop)
    await coordinator.writes.start()
    entry.async_on_unload(coordinator.writes.stop)
    await coordinator.energy.start()
    entry.async_on_unload(coordinator.energy.stop)
    coordinator.pack_switch.start()
    entry.async_on_unload(coordinator.pack_switch.stop)
    await hass.config_entries.async_forward_entry_setups(entry, PLATFORMS)
    entry.async_create_background_task(
        hass, coordinator.async_refresh(), f"{entry.title} first round"
    )
    return True


async def async_unload_entry(hass: HomeAssistant, entry: OpenXPBMSConfigEntry) -> bool:
    """Let go of a bus; the port is closed behind the entities.

    One that is disabled is not guarded any more, one that is reloaded soon is again.
    """
    await entry.runtime_data.writes.wait()
    await entry.runtime_data.pack_switch.wait()
    if not await hass.config_entries.async_unload_platforms(entry, PLATFORMS):
        return False
    if entry.disabled_by:
        await async_let_go(hass, entry)
        _forget_issues(hass, entry)
    return True


async def async_remove_entry(hass: HomeAssistant, entry: OpenXPBMSConfigEntry) -> None:
    """Open an entry's relays, and take its issues and what was kept with it."""
    await async_let_go(hass, entry)
    await async_forget(hass, entry)
    await WriteLog(hass, entry.entry_id).remove()
    await energy_file(hass, entry.entry_id).async_remove()
    _forget_issues(hass, entry)


def _forget_issues(hass: HomeAssistant, entry: OpenXPBMSConfigEntry) -> None:
    """Take the issues that nobody can do anything about without the entry."""
    for kind in (
        ISSUE_FOREIGN_MASTER,
        ISSUE_BANK_HEARD,
        ISSUE_CURRENT_SIGN,
        ISSUE_NOT_ARMED,
        ISSUE_RELAY_FAULT,
        ISSUE_STATE_LOST,
    ):
        ir.async_delete_issue(hass, DOMAIN, f"{kind}_{entry.entry_id}")
    forget_troubles(hass, entry)


async def async_remove_config_entry_device(
    hass: HomeAssistant, entry: OpenXPBMSConfigEntry, device: dr.DeviceEntry
) -> bool:
    """Remove a battery with its device; the bus stays."""
    removed = {
        address
        for address, key in keys(entry).items()
        if (DOMAIN, key) in device.identifiers
    }
    if not removed:
        return (DOMAIN, entry.entry_id) not in device.identifiers
    if _still_heard(entry, removed):
        return False
    kept = [i for i in identities(entry.data) if i.address not in removed]
    hass.config_entries.async_update_entry(
        entry, data={**entry.data, CONF_BATTERIES: stored(kept)}
    )
    hass.config_entries.async_schedule_reload(entry.entry_id)
    return True


def _still_heard(entry: OpenXPBMSConfigEntry, addresses: set[int]) -> bool:
    """Whether a pack would come back at once, since the bank still tells of it."""
    if entry.state is not ConfigEntryState.LOADED or entry.runtime_data.asks:
        return False
    return any(
        battery.identity.address in addresses and battery.reading is not None
        for battery in entry.runtime_data
    )
