"""Pictures of what the journey does not come along: pages of the demo."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from .browser import Browser
from .house import House, NotSo
from .texts import CONFIG, text

BOARD = "/battery-bank"
# Picture, page of the dashboard, something on it.
PAGES = {
    "dashboard": ("bank", "Energy"),
    "valence": ("valence-xp-bank", "Voltage"),
    "bank": ("seplos-v3-bank", "Voltage"),
    "protection": ("protection", "Relays"),
}
# Picture and how the name of a device begins.
DEVICES = {
    "device": "U27-12XP 104410461",
    "pack": "SG16S200A-SP57B-A",
    "bus": "Demo bus (Valence XP bank)",
}
# Graphs and cards come late. ms
DRAWING = 6000
WIDE = (1920, 1300)


class Pictures:
    """The pages of the demo, in the order in which they are taken."""

    def __init__(self, ui: Browser, house: House) -> None:
        """Take them with this browser."""
        self.ui = ui
        self.house = house

    @property
    def steps(self) -> list[Callable[[], Awaitable[None]]]:
        """All that is to be done."""
        return [
            self.take_dashboards,
            self.take_devices,
            self.hear_a_bank,
            self.take_energy,
            self.take_health,
        ]

    async def take_dashboards(self) -> None:
        """Take the pages of the demo's dashboard."""
        ui = self.ui
        await ui.size(*WIDE)
        for name, (path, shown) in PAGES.items():
            await ui.open(f"{BOARD}/{path}")
            await ui.see(shown)
            await ui.picture(name, drawing=DRAWING)

    async def take_devices(self) -> None:
        """Take a module, a pack and a bus."""
        ui = self.ui
        devices = await self.house.home.command("config/device_registry/list")
        for name, begins in DEVICES.items():
            found = [d for d in devices if (d["name"] or "").startswith(begins)]
            if not found:
                raise NotSo(f"no device is called {begins}")
            await ui.open(f"/config/devices/device/{found[0]['id']}")
            await ui.see("Device info")
            await ui.picture(name, drawing=DRAWING)
        await ui.size()

    async def hear_a_bank(self) -> None:
        """Take the dialog of a bank that is only listened to."""
        ui = self.ui
        await ui.open("/config/integrations/integration/openxpbms")
        await ui.press("Add hub")
        await ui.click(CONFIG.item("user", "demo"))
        await ui.click(text("selector", "demo", "options", "seplos_bank"))
        await ui.number(3)
        await ui.submit()
        await ui.see(CONFIG.title("bank"))
        await ui.dialog("heard")

    async def take_energy(self) -> None:
        """Take the Energy dashboard and how it is set up."""
        ui = self.ui
        await ui.open("/config/energy/electricity")
        batteries = ui.text("Home battery storage", exact=False)
        await batteries.wait_for()
        await batteries.scroll_into_view_if_needed()
        await ui.picture("energy-settings", drawing=2000)
        edit = ui.page.locator("ha-energy-battery-settings ha-icon-button")
        await ui.size(1100, 1400)
        await edit.first.click()
        await ui.see("Configure battery system")
        await ui.dialog("energy-battery", drawing=2000)
        await ui.size(1100, 900)
        await ui.open("/energy")
        await ui.picture("energy", drawing=DRAWING)
        await ui.size()

    async def take_health(self) -> None:
        """Take what the system tells of its buses."""
        ui = self.ui
        await ui.open("/config/repairs?dialog=system-health")
        await ui.see(text("system_health", "info", "buses"))
        await ui.text("OpenXPBMS").evaluate("heading => heading.scrollIntoView()")
        await ui.dialog("system-health", drawing=2000)
