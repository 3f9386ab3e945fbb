"""Batteries on two lines, as if behind two adapters; a test may change anything."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
import sys

# The battery half alone: the package around it would bring Home Assistant along, which
# this environment does not have. At the end, since it has a `select.py`.
INTEGRATION = Path(__file__).parents[2] / "custom_components" / "openxpbms"
sys.path.append(str(INTEGRATION))

from bms.virtual import VirtualLine, VirtualModule, VirtualPack  # noqa: E402

# As they are in /dev/serial/by-id.
GARAGE = "usb-FTDI_FT232R_A10NLDHS-if00-port0"
OTHER = "usb-FTDI_FT232R_B203X8QM-if00-port0"
CABIN = "usb-1a86_USB_Serial-if00-port0"


@dataclass
class Batteries:
    """Three modules in the garage, a pack in the cabin; `folder` has their ports."""

    folder: Path
    garage: VirtualLine
    cabin: VirtualLine
    modules: list[VirtualModule]
    pack: VirtualPack

    def port(self, name: str) -> str:
        """Return the path of a port."""
        return str(self.folder / name)

    def unplug(self) -> None:
        """Pull the adapter of the garage out."""
        self.garage.unplug()

    async def plug_in_other(self) -> None:
        """Put another adapter in its place."""
        self.garage.link = self.folder / OTHER
        await self.garage.replug()


@asynccontextmanager
async def batteries(folder: Path) -> AsyncIterator[Batteries]:
    """Lay out the batteries."""
    modules = [
        VirtualModule(
            address,
            serial=f"10441{2070 + address}",
            cell_voltages=[3.331, 3.334, 3.329, 3.333],
            current=12.4,
            soc=soc,
        )
        for address, soc in enumerate((71.0, 70.2, 70.6), 1)
    ]
    pack = VirtualPack(serial="SP57B-A2409060117", current=-21.5, soc=64.0)
    garage = VirtualLine(modules, link=folder / GARAGE)
    cabin = VirtualLine([pack], link=folder / CABIN)
    async with garage, cabin:
        yield Batteries(folder, garage, cabin, modules, pack)
