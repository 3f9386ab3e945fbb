"""What somebody does with batteries in Home Assistant's pages, from the beginning.

Each step is looked at where a person sees it, and where Home Assistant keeps it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from playwright.async_api import expect

from .batteries import CABIN, GARAGE, OTHER, Batteries
from .browser import PATIENCE, Browser
from .house import House, NotSo
from .texts import CONFIG, OPTIONS, text

# What the entries are called: by their ports.
BUS = "Valence XP (FTDI_FT232R_A10NLDHS)"
MOVED = "Valence XP (FTDI_FT232R_B203X8QM)"
LONE = "Seplos V3 (1a86_USB_Serial)"
NEW_NAME = "Garage left"
CHARGER = "Garage charger"
# For listening and a search of all addresses, several at a time. ms
SEARCH = 180_000
TRIES = 3
INTEGRATION = "/config/integrations/integration/openxpbms"
# How it begins that a write came too early.
NOT_QUIET = text("options", "error", "not_quiet", seconds="|").partition("|")[0]
ARMED = text("entity", "select", "protection_mode", "state", "armed")
OVER_VOLTAGE = text("entity", "binary_sensor", "cell_over_voltage", "name")
# A parameter, its register in the pack, and what it is changed to.
TOPIC = text("selector", "parameter_topic", "options", "cell_voltage")
PARAMETER = text("selector", "parameter", "options", "cell_high_voltage_alarm")
REGISTER, OLD, NEW = 0x130B, 3500, 3450

type Step = Callable[[], Awaitable[None]]


class Journey:
    """One person, who goes from step to step."""

    def __init__(self, ui: Browser, house: House, batteries: Batteries) -> None:
        """Stand before a Home Assistant that does not know the batteries."""
        self.ui = ui
        self.house = house
        self.batteries = batteries
        self.module = batteries.modules[0]
        self.module_name = f"U27-12XP {self.module.serial}"
        self.pack_name = f"{batteries.pack.device} {batteries.pack.serial}"

    @property
    def steps(self) -> list[Step]:
        """All steps, in their order."""
        return [
            self.add_both,
            self.allow_writing,
            self.see_the_device,
            self.confirm_the_current,
            self.join_the_bank,
            self.choose_a_relay,
            self.arm,
            self.open_and_close,
            self.raise_an_alarm,
            self.be_refused,
            self.lose_the_port,
            self.change_a_parameter,
            self.find_the_audit,
            self.rename,
            self.find_the_repair,
            self.reconfigure,
            self.remove,
        ]

    def of_module(self, part: str) -> str:
        """Return the unique id of an entity of the first module."""
        return f"valence_{self.module.serial}_{part}"

    async def _open_device(self, name: str) -> None:
        device = await self.house.device(name)
        await self.ui.open(f"/config/devices/device/{device['id']}")
        await self.ui.see("Device info")

    # Setting up

    async def add_both(self) -> None:
        """Add the modules and the pack, each in a window of its own."""
        second = await self.ui.tab()
        try:
            await asyncio.gather(self._add_modules(), self._add_pack(second))
        finally:
            await second.page.close()
        await self.ui.page.bring_to_front()
        for title, count in ((BUS, 2), (LONE, 1)):
            entry = await self.house.entry(title)
            if entry["state"] != "loaded":
                raise NotSo(f"{title} is {entry['state']}")
            devices = await self.house.home.command("config/device_registry/list")
            of = [d for d in devices if entry["entry_id"] in d["config_entries"]]
            if len(of) != count + 1:
                raise NotSo(f"{title} has {len(of)} devices")

    async def _add_modules(self) -> None:
        ui = self.ui
        for _ in range(TRIES):
            await self._search_modules()
            # On a busy computer modules may answer late. A person looks again.
            boxes = ui.page.locator("ha-selector-select ha-checkbox")
            await boxes.first.wait_for()
            if await boxes.count() == len(self.batteries.modules):
                break
        else:
            raise NotSo("not all modules were found")
        await ui.dialog("found")
        # The third one stays away.
        await ui.page.get_by_text(self.batteries.modules[2].serial).click()
        await ui.submit()
        await ui.see("Name and assign")
        await ui.dialog("added")
        await ui.close("Skip and finish")
        await ui.entry(BUS).wait_for()
        await ui.picture("integration", drawing=2000)

    async def _search_modules(self) -> None:
        ui = self.ui
        await ui.open("/config/integrations/dashboard")
        await ui.press("Add integration")
        search = ui.page.get_by_placeholder("Search for a brand name")
        await search.fill("openxpbms")
        dialog = ui.page.locator("dialog-add-integration")
        found = dialog.get_by_text("OpenXPBMS", exact=True)
        await found.wait_for()
        await ui.dialog("add")
        await found.click()
        await ui.see(CONFIG.title("user"))
        await ui.dialog("set-up")
        await ui.click(CONFIG.item("user", "port"))
        await ui.type_port(self.batteries.port(GARAGE))
        await ui.dialog("port")
        await ui.submit()
        await ui.see(text("config", "progress", "listen"))
        await ui.dialog("listening", drawing=4000)
        await ui.see(text("config", "progress", "scan"), patience=SEARCH)
        await ui.dialog("searching", drawing=3000)
        await ui.see(CONFIG.title("found"), patience=SEARCH)

    async def _add_pack(self, ui: Browser) -> None:
        await ui.open(INTEGRATION)
        await ui.press("Add hub")
        await ui.click(CONFIG.item("user", "port"))
        await ui.type_port(self.batteries.port(CABIN))
        families = ui.page.locator("ha-selector-select")
        seplos = text("selector", "family", "options", "seplos")
        await families.get_by_text(seplos, exact=True).click()
        await ui.submit()
        await ui.see(CONFIG.title("found"), patience=SEARCH)
        await ui.see(self.batteries.pack.serial)
        await ui.submit()
        await ui.close("Skip and finish")
        await ui.entry(LONE).wait_for()

    async def allow_writing(self) -> None:
        """Allow writing parameters; they may be written a minute later."""
        ui = self.ui
        await ui.open(INTEGRATION)
        await ui.entry(LONE).get_by_role("button", name="Configure").click()
        await ui.see(OPTIONS.item("init", "parameter"))
        await ui.dialog("options")
        await ui.click(OPTIONS.item("init", "writes"))
        await ui.submit_button.wait_for()
        await ui.switch()
        await ui.dialog("writes")
        await self._save()

    async def _save(self) -> None:
        await self.ui.submit()
        await self.ui.see("Options successfully saved")
        await self.ui.close("Finish")

    async def see_the_device(self) -> None:
        """Find a module's page, by its row, with what the module says."""
        ui = self.ui
        await ui.open(INTEGRATION)
        await ui.device(self.module_name).click()
        await ui.see("Device info")
        await ui.see(f"Serial number: {self.module.serial}")
        await ui.sees_state("State of charge", "71.0%")
        await ui.sees_state("Cell 3 voltage", "3.329 V")
        current = await self.house.entity(self.of_module("current"))
        await self.house.becomes(current, "12.4")

    async def confirm_the_current(self) -> None:
        """Say that the current's direction is right."""
        ui = self.ui
        await ui.configure(BUS, OPTIONS.item("init", "general"))
        await ui.see(OPTIONS.label("general", "current_confirmed"))
        await ui.switch(1)
        await ui.dialog("options-general")
        await self._save()
        current = await self.house.entity(self.of_module("current"))
        await self.house.until(
            current,
            lambda state: (
                state["state"] == "12.4" and state["attributes"]["direction_confirmed"]
            ),
            "confirmed",
        )

    async def join_the_bank(self) -> None:
        """Say that the modules are in parallel: the bus shows their sum."""
        ui = self.ui
        await ui.configure(BUS, OPTIONS.item("init", "bank"))
        await ui.see(OPTIONS.label("bank", "joined"))
        await ui.choose(text("selector", "joined", "options", "parallel"))
        await ui.dialog("options-bank")
        await self._save()
        entry = await self.house.entry(BUS)
        current = await self.house.entity(f"{entry['entry_id']}_current")
        await self.house.becomes(current, "24.8")

    # Protection

    async def choose_a_relay(self) -> None:
        """Choose what cuts the charger off."""
        ui = self.ui
        helper = await self.house.home.command("input_boolean/create", name=CHARGER)
        await ui.configure(BUS, OPTIONS.item("init", "outputs"))
        await ui.see(OPTIONS.label("outputs", "joined"))
        await ui.submit()
        await ui.see(OPTIONS.title("shared"))
        await ui.pick(0, CHARGER)
        await ui.dialog("options-relays")
        await ui.submit()
        await ui.see(OPTIONS.title("relay", relay=f"input_boolean.{helper['id']}"))
        await self._save()
        await self._limits()

    async def _limits(self) -> None:
        """Look at the limits of cell voltages, and leave them as they are."""
        ui = self.ui
        await ui.configure(BUS, OPTIONS.item("init", "limits"))
        await ui.click(OPTIONS.item("limits", "cell_over_voltage"))
        await ui.see(OPTIONS.label("cell_over_voltage", "cutoff"))
        await ui.dialog("options-limits")
        await self._save()

    async def arm(self) -> None:
        """Let protection command the relay, which it closes then."""
        ui = self.ui
        await self._open_device(BUS)
        await ui.sees_state("Batteries online", "2")
        mode = ui.page.locator("hui-select-entity-row").first
        await mode.scroll_into_view_if_needed()
        armed = ui.item(ARMED)
        await ui.unfold(mode.locator("ha-select"), armed)
        await ui.picture("arm")
        await armed.click()
        entry = await self.house.entry(BUS)
        select = await self.house.entity(f"{entry['entry_id']}_protection_mode")
        await self.house.becomes(select, "armed")
        await self.house.becomes("input_boolean.garage_charger", "on")

    async def _toggle(self) -> None:
        row = self.ui.page.locator("hui-toggle-entity-row").filter(
            has=self.ui.page.get_by_text("Connection", exact=True)
        )
        await row.scroll_into_view_if_needed()
        await row.locator("ha-entity-toggle").click()

    async def open_and_close(self) -> None:
        """Disconnect a module by hand, and connect it again."""
        connection = await self.house.entity(self.of_module("connection"))
        await self.house.becomes(connection, "on")
        await self._open_device(self.module_name)
        await self._toggle()
        await self.house.until(
            connection,
            lambda state: state["state"] == "off" and not state["attributes"]["wanted"],
            "switched off by hand",
        )
        # The relay of the bus is the only one, and it cuts the module off, too.
        await self.house.becomes("input_boolean.garage_charger", "off")
        await self._toggle()
        await self.house.becomes(connection, "on")
        await self.house.becomes("input_boolean.garage_charger", "on")

    async def raise_an_alarm(self) -> None:
        """A cell gets far too high: it is seen, and the charger is cut off."""
        ui = self.ui
        await self._open_device(self.module_name)
        await ui.sees_state(OVER_VOLTAGE, "Safe")
        self.module.cell_voltages[2] = 3.95
        await ui.sees_state(OVER_VOLTAGE, "Unsafe")
        alarm = await self.house.entity(self.of_module("cell_over_voltage"))
        await self.house.becomes(alarm, "on")
        await self.house.becomes("input_boolean.garage_charger", "off")
        await ui.state(OVER_VOLTAGE).click()
        more = ui.page.locator("ha-more-info-dialog")
        await more.get_by_text("Unsafe").first.wait_for()
        await ui.dialog("alarm", drawing=2500)
        await ui.page.keyboard.press("Escape")

    async def be_refused(self) -> None:
        """Try to connect it: the page says why not."""
        ui = self.ui
        connection = await self.house.entity(self.of_module("connection"))
        await self.house.becomes(connection, "off")
        await self._open_device(self.module_name)
        await self._toggle()
        why = {"cell": "3", "value": "3.950 V", "clears": "3.700 V"}
        key = "refused_cell_over_voltage"
        refusal = text("exceptions", key, "message", battery=self.module_name, **why)
        await ui.see(refusal)
        await ui.picture("refused", drawing=2500)
        await self.house.becomes(connection, "off")
        self.module.cell_voltages[2] = 3.329

    # A port that goes, meanwhile parameters

    async def lose_the_port(self) -> None:
        """Pull the adapter out; after a minute a repair will tell."""
        self.batteries.unplug()
        voltage = await self.house.entity(self.of_module("voltage"))
        await self.house.becomes(voltage, "unavailable")

    async def change_a_parameter(self) -> None:
        """Change one parameter of the pack, with both values before the eyes."""
        ui, pack = self.ui, self.batteries.pack
        assert pack.parameters[REGISTER] == OLD
        await ui.configure(LONE, OPTIONS.item("init", "parameter"))
        await ui.see(OPTIONS.hint("topic", "topic"))
        await ui.choose(TOPIC)
        await ui.submit()
        await ui.see(OPTIONS.hint("choose", "parameter"))
        await ui.choose(PARAMETER)
        await ui.submit()
        await ui.see(OPTIONS.title("value"), exact=True)
        await ui.see(f"{OLD / 1000:.3f} V")
        await ui.number(NEW / 1000)
        await ui.dialog("parameter")
        await self._past_quiet()
        for value in (OLD, NEW):
            await ui.see(f"{value / 1000:.3f} V")
        await ui.number(NEW / 1000)
        await ui.switch()
        await ui.dialog("parameter-agree")
        assert pack.parameters[REGISTER] == OLD
        await ui.submit()
        await ui.button("Close").wait_for()
        for value in (OLD, NEW):
            await ui.see(f"{value / 1000:.3f} V")
        await ui.dialog("parameter-written")
        assert pack.parameters[REGISTER] == NEW
        assert pack.written == [(REGISTER, NEW)]
        await ui.close("Close")

    async def _past_quiet(self) -> None:
        """Send the value, again where the line was not watched for a minute yet."""
        ui = self.ui
        for _ in range(20):
            await ui.submit()
            asked = ui.text(OPTIONS.title("agree"))
            early = ui.text(NOT_QUIET, exact=False)
            await asked.or_(early).first.wait_for()
            # What is shown may still be the last answer.
            await ui.page.wait_for_timeout(5000 if await early.count() else 0)
            if await asked.count():
                return
        raise NotSo("the line is not quiet enough for a write")

    async def find_the_audit(self) -> None:
        """See who changed what."""
        ui = self.ui
        event = await self.house.entity(
            f"seplos_{self.batteries.pack.serial}_parameter_write"
        )
        state = await self.house.until(
            event,
            lambda state: state["attributes"].get("event_type") == "verified",
            "verified",
        )
        told = state["attributes"]
        assert (told["old"], told["new"]) == (OLD / 1000, NEW / 1000), told
        await self._open_device(self.pack_name)
        await ui.see(text("entity", "event", "parameter_write", "name"))
        await ui.open(f"/logbook?entity_id={event}")
        values = {"old": f"{OLD / 1000:.3f} V", "new": f"{NEW / 1000:.3f} V"}
        for step in ("prepared", "confirmed", "verified"):
            said = ("selector", "write_step", "options", step)
            await ui.see(text(*said, parameter="cell_high_voltage_alarm", **values))
        await ui.see("By Demo")
        await ui.picture("audit")

    async def rename(self) -> None:
        """Give a battery a name of one's own."""
        ui = self.ui
        await ui.open(INTEGRATION)
        await ui.device(self.module_name).get_by_title("Edit device").click()
        dialog = ui.page.locator("dialog-device-registry-detail")
        await dialog.locator("input").first.fill(NEW_NAME)
        await ui.dialog("rename")
        await dialog.get_by_role("button", name="Update").click()
        await ui.device(NEW_NAME).wait_for()
        device = await self.house.device(self.module_name)
        assert device["name_by_user"] == NEW_NAME, device

    async def find_the_repair(self) -> None:
        """Find out what has become of the port."""
        ui = self.ui
        await ui.open("/config/repairs")
        title = text("issues", "port_gone", "title", bus=BUS)
        await ui.see(title, patience=2 * PATIENCE)
        await ui.click(title)
        await ui.see("Reported by OpenXPBMS")
        await ui.dialog("repair")
        assert "port_gone" in await self.house.issues()

    async def reconfigure(self) -> None:
        """Move the bus to another adapter: its batteries are known again."""
        ui = self.ui
        await self.batteries.plug_in_other()
        await ui.open(INTEGRATION)
        await ui.menu(BUS, "Reconfigure")
        await ui.see(CONFIG.title("reconfigure"))
        await ui.dialog("reconfigure")
        await ui.click(CONFIG.item("reconfigure", "new_port"))
        await ui.type_port(self.batteries.port(OTHER))
        await ui.dialog("new-port")
        await ui.submit()
        done = ui.text("Reconfiguration was successful")
        missed = ui.text(CONFIG.title("moved"))
        for _ in range(TRIES):
            await done.or_(missed).first.wait_for(timeout=SEARCH)
            if await done.count():
                break
            await ui.click(CONFIG.item("moved", "scan_again"))
            await missed.wait_for(state="hidden")
        else:
            raise NotSo("not all modules were found on the other port")
        await ui.close("Close")
        # The same entities, which now have what comes over the new line.
        self.module.cell_voltages[0] = 3.340
        cell = await self.house.entity(self.of_module("cell_1_voltage"))
        await self.house.becomes(cell, "3.34")
        await self.house.mended("port_gone")
        await self._open_device(self.module_name)
        await ui.see(NEW_NAME)
        await ui.sees_state("Cell 1 voltage", "3.340 V")

    async def remove(self) -> None:
        """Remove the bus: nothing of it stays, and its relay is open."""
        ui = self.ui
        await ui.open(INTEGRATION)
        await ui.menu(MOVED, "Delete")
        await ui.see("Its devices and entities will be permanently deleted")
        await ui.dialog("remove")
        await ui.press("Delete")
        await expect(ui.entry(MOVED)).to_have_count(0, timeout=PATIENCE)
        titles = [entry["title"] for entry in await self.house.entries()]
        assert MOVED not in titles, titles
        registry = await self.house.home.command("config/entity_registry/list")
        left = [
            e["entity_id"] for e in registry if self.module.serial in e["unique_id"]
        ]
        assert not left, left
        await self.house.becomes("input_boolean.garage_charger", "off")
        await ui.entry(LONE).wait_for()
