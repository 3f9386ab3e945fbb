"""Listening and scanning on behalf of a config flow."""

from __future__ import annotations

from typing import TYPE_CHECKING

from homeassistant.components import usb
from homeassistant.components.usb.consumers import async_get_serial_port_consumers

from .bms.bank import HeardPack
from .bms.families import KINDS
from .bms.seplos import Seplos
from .bms.valence import LineMode, Valence
from .const import CONF_FAMILY, CONF_LINE, FAMILY_VALENCE, LINE_AUTO
from .families import make_bus, make_family

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from homeassistant.components.usb import SerialPortConsumer
    from homeassistant.core import HomeAssistant

    from .bms.bus import Heard
    from .bms.family import Family, ScanResult
    from .coordinator import OpenXPBMSCoordinator

LISTEN = 10.0


class Search:
    """A look for batteries on one port, which is closed by `close`."""

    def __init__(
        self,
        url: str,
        family: str = FAMILY_VALENCE,
        line: str = LINE_AUTO,
        addresses: Sequence[int] | None = None,
    ) -> None:
        """Prepare a look at a port that nobody of ours has open."""
        self.url = url
        self.family_name = family
        self._line = line
        self.addresses = KINDS[family].addresses if addresses is None else addresses
        self._own = make_bus(url, family, {})
        self.family = make_family(
            self._own,
            {CONF_FAMILY: family, CONF_LINE: LineMode.MARK},
            {CONF_LINE: line},
        )

    def again(self) -> Search:
        """Return a fresh look at the same port; close this one first."""
        return Search(self.url, self.family_name, self._line, self.addresses)

    @property
    def mode(self) -> LineMode | None:
        """How the ninth bit reaches the batteries, where they need one."""
        return self.family.mode if isinstance(self.family, Valence) else None

    @property
    def packs(self) -> list[HeardPack]:
        """The packs that another master was heard asking, by number."""
        return _heard_packs(self.family)

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


def _heard_packs(family: Family | None) -> list[HeardPack]:
    if not isinstance(family, Seplos):
        return []
    return [pack for _, pack in sorted(family.bank.packs.items())]


def fresh_packs(coordinator: OpenXPBMSCoordinator) -> list[HeardPack]:
    """Return the packs that another master asks now on the bus of a running entry."""
    return [
        pack
        for pack in _heard_packs(coordinator.family)
        if coordinator.bus.watch.silent
        and coordinator.family is not None
        and coordinator.family.heard(pack.identity) is not None
    ]


async def scan_running(
    coordinator: OpenXPBMSCoordinator,
    addresses: Sequence[int],
    progress: Callable[[float], None],
) -> ScanResult:
    """Look for batteries over the bus of a running entry, between its rounds."""
    family = coordinator.family
    assert family is not None
    if isinstance(family, Valence):
        family = Valence(coordinator.bus, family.mode, forced=True)
    await family.open()
    return await family.scan(addresses, progress)


async def port_users(hass: HomeAssistant, url: str) -> list[str]:
    """Return the titles of whatever Home Assistant knows to use a port."""
    return [user.title for user in await port_consumers(hass, url)]


async def port_consumers(hass: HomeAssistant, url: str) -> list[SerialPortConsumer]:
    """Return whatever Home Assistant knows to use a port."""
    ports = await usb.async_scan_serial_ports(hass)
    consumers = await async_get_serial_port_consumers(hass, ports)
    names = {url}
    for port in ports:
        aliases = {port.device, port.resolved_device}
        if url in aliases:
            names |= {alias for alias in aliases if alias}
    return [user for name in names for user in consumers.get(name, ())]
