"""Which USB adapter a port is, and under which name it is there now."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from homeassistant.components import usb
from homeassistant.components.usb.consumers import async_get_serial_port_consumers

if TYPE_CHECKING:
    from collections.abc import Mapping

    from homeassistant.core import HomeAssistant

type Adapter = dict[str, Any]

_TELLING = (
    "vid",
    "pid",
    "serial_number",
    "manufacturer",
    "description",
    "interface_num",
)


async def adapter_of(hass: HomeAssistant, url: str) -> Adapter | None:
    """Return what tells the adapter behind a port, None where it is no USB adapter."""
    if "://" in url:
        return None
    path = await hass.async_add_executor_job(os.path.realpath, url)
    for port in await usb.async_scan_serial_ports(hass):
        if path in (port.device, port.resolved_device):
            return _described(port)
    return None


async def moved_to(
    hass: HomeAssistant, url: str, adapter: Mapping[str, Any] | None
) -> str | None:
    """Return under which name the adapter of a port is now.

    None where it is not there, is used by somebody else, or several are just like it.
    """
    if adapter is None or "://" in url:
        return None
    ports = await usb.async_scan_serial_ports(hass)
    used = await async_get_serial_port_consumers(hass, ports)
    free = [
        port.device
        for port in ports
        if _described(port) == adapter and port.device not in used
    ]
    return free[0] if len(free) == 1 else None


def _described(port: usb.SerialDevice) -> Adapter | None:
    if not isinstance(port, usb.USBDevice):
        return None
    return {name: getattr(port, name) for name in _TELLING}
