"""Listening and scanning on behalf of a config flow."""

from __future__ import annotations

from typing import TYPE_CHECKING

from homeassistant.components import usb
from homeassistant.components.usb.consumers import async_get_serial_port_consumers

from .bms.bus import Bus, Heard
from .bms.valence import ADDRESSES, TERMINATOR, LineMode, ScanResult, Valence
from .const import LINE_AUTO
from .coordinator import make_timing

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from homeassistant.core import HomeAssistant

    from .coordinator import OpenXPBMSCoordinator

LISTEN = 10.0


class Search:
    """A look for batteries on one port, which is closed by `close`."""

    def __init__(
        self, url: str, line: str = LINE_AUTO, addresses: Sequence[int] = ADDRESSES
    ) -> None:
        """Prepare a look at a port that nobody of ours has open."""
        self.url = url
        self._line = line
        self.addresses = addresses
        forced = line != LINE_AUTO
        self._own = Bus(url, terminator=TERMINATOR, timing=make_timing(url, {}))
        self.family = Valence(
            self._own, LineMode(line) if forced else LineMode.MARK, forced=forced
        )

    def again(self) -> Search:
        """Return a fresh look at the same port; close this one first."""
        return Search(self.url, self._line, self.addresses)

    async def listen(self, progress: Callable[[float], None]) -> Heard:
        """Hear who talks before a byte is sent."""
        return await self.family.listen(LISTEN, progress)

    async def scan(self, progress: Callable[[float], None]) -> ScanResult:
        """Ask every address and let go of the port."""
        try:
            return await self.family.scan(self.addresses, progress)
        finally:
            await self._own.close()

    async def close(self) -> None:
        """Let go of the port."""
        await self._own.close()


async def scan_running(
    coordinator: OpenXPBMSCoordinator,
    addresses: Sequence[int],
    progress: Callable[[float], None],
) -> ScanResult:
    """Look for batteries over the bus of a running entry, between its rounds."""
    family = Valence(coordinator.bus, coordinator.family.mode, forced=True)
    await family.open()
    return await family.scan(addresses, progress)


async def port_users(hass: HomeAssistant, url: str) -> list[str]:
    """Return the titles of whatever Home Assistant knows to use a port."""
    ports = await usb.async_scan_serial_ports(hass)
    consumers = await async_get_serial_port_consumers(hass, ports)
    names = {url}
    for port in ports:
        aliases = {port.device, port.resolved_device}
        if url in aliases:
            names |= {alias for alias in aliases if alias}
    return [user.title for name in names for user in consumers.get(name, ())]


def parse_addresses(text: str) -> list[int]:
    """Return the addresses of "1-4, 17", in order, all of them where it is empty.

    Raises ValueError where it means anything else or leaves 1 to 255.
    """
    if not text.strip():
        return list(ADDRESSES)
    addresses: set[int] = set()
    for part in text.split(","):
        first, dash, last = part.partition("-")
        span = range(int(first), int(last if dash else first) + 1)
        if not span or span.start < 1 or span.stop > 256:
            raise ValueError(text)
        addresses |= set(span)
    return sorted(addresses)
