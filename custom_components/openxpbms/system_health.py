"""What the page of system health tells of every bus; no serial number is in it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from homeassistant.config_entries import ConfigEntryState
from homeassistant.core import callback
from homeassistant.helpers.translation import async_get_translations

from .bms.errors import PortBusy, PortError
from .bms.families import KINDS
from .const import CONF_FAMILY, DOMAIN
from .kept import Mode
from .search import port_consumers
from .words import is_named

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from homeassistant.components.system_health import SystemHealthRegistration
    from homeassistant.core import HomeAssistant

    from .coordinator import OpenXPBMSConfigEntry, OpenXPBMSCoordinator

type Text = Callable[..., str]


@callback
def async_register(hass: HomeAssistant, register: SystemHealthRegistration) -> None:
    """Offer what is told."""
    register.async_register_info(_info)


async def _info(hass: HomeAssistant) -> dict[str, Any]:
    """Return some lines for each bus.

    There is no telling how many buses there are, so each line has its bus's name, put
    together here in the language of Home Assistant.
    """
    texts = await async_get_translations(
        hass, hass.config.language, "system_health", [DOMAIN]
    )

    def text(key: str, **details: str) -> str:
        return texts[f"component.{DOMAIN}.system_health.info.{key}"].format(**details)

    entries: list[OpenXPBMSConfigEntry] = hass.config_entries.async_entries(DOMAIN)
    info: dict[str, Any] = {"buses": len(entries)}
    for number, entry in enumerate(entries, 1):
        name = f"{number} {_name(entry)}"
        if entry.state is not ConfigEntryState.LOADED:
            info[text("port", bus=name)] = text("not_loaded")
            continue
        coordinator = entry.runtime_data
        info[text("port", bus=name)] = await _port(hass, coordinator, text)
        for key, value in _lines(coordinator, text):
            info[text(key, bus=name)] = value
    return info


def _name(entry: OpenXPBMSConfigEntry) -> str:
    """Return what a person called a bus, else its family's name."""
    return entry.title if is_named(entry) else KINDS[entry.data[CONF_FAMILY]].name


async def _port(
    hass: HomeAssistant, coordinator: OpenXPBMSCoordinator, text: Text
) -> str:
    bus = coordinator.bus
    if bus.is_open:
        return text("open")
    error = coordinator.last_exception
    cause = None if error is None else error.__cause__
    if isinstance(cause, PortBusy):
        # By their domains: titles of other integrations may hold a serial number.
        users = {
            user.domain or user.title
            for user in await port_consumers(hass, bus.url)
            if user.config_entry_id != coordinator.config_entry.entry_id
        }
        if users:
            return text("port_busy_by", user=", ".join(sorted(users)))
    return text(cause.key if isinstance(cause, PortError) else "closed")


def _lines(coordinator: OpenXPBMSCoordinator, text: Text) -> Iterator[tuple[str, Any]]:
    bus, batteries = coordinator.bus, list(coordinator)
    heard = sum(battery.reading is not None for battery in batteries)
    yield "heard", text("of", number=str(heard), all=str(len(batteries)))
    counters = (bus.counters_of(battery.identity.address) for battery in batteries)
    known = [c.quality for c in counters if c.quality is not None]
    if known:
        yield "quality", f"{min(known)} %"
    yield "echoes", text("yes" if bus.counters.echoes else "no")
    yield "silent", text(_silence(coordinator))


def _silence(coordinator: OpenXPBMSCoordinator) -> str:
    """Return the word for what keeps a bus from asking."""
    watch = coordinator.bus.watch
    if coordinator.guard.mode is Mode.SERVICE:
        return "service"
    if not coordinator.asks:
        return "listens"
    if watch.held:
        return "held"
    return "another_master" if watch.silent else "nobody"
