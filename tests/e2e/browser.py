"""A browser in Home Assistant's pages, and pictures of what it shows."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
import json
from pathlib import Path
import shutil
import time
from typing import Any

from playwright.async_api import (
    Locator,
    Page,
    TimeoutError,  # noqa: A004  what its waiting raises is not Python's own
    async_playwright,
    expect,
)

from .house import NotSo

# For whatever should appear; a machine may be busy with other things. ms
PATIENCE = 60_000
UNFOLDING = 10_000
# Home Assistant draws piece by piece and never says when it is done. ms
DRAWING = 700
SETTLING = 300
WIDTH, HEIGHT = 1100, 800
# Around a dialog in its picture.
MARGIN = 12
# Where the dialog is that was opened last, in whatever shadow.
_DIALOG = """() => {
    let found = null;
    const walk = root => {
        for (const each of root.querySelectorAll('*')) {
            if (each.localName === 'dialog' && each.open) {
                const box = each.getBoundingClientRect();
                if (box.width && box.height)
                    found = [box.x, box.y, box.width, box.height];
            }
            if (each.shadowRoot) walk(each.shadowRoot);
        }
    };
    walk(document);
    return found;
}"""


class Browser:
    """A page of Home Assistant, somebody signed in.

    Pictures are taken only where a folder for them is given.
    """

    def __init__(self, page: Page, url: str, folder: Path | None) -> None:
        """Show nothing yet."""
        self.page = page
        self.url = url
        self.folder = folder

    async def tab(self) -> Browser:
        """Return another page of the same user."""
        return Browser(await self.page.context.new_page(), self.url, self.folder)

    async def open(self, path: str) -> None:
        """Open a page as by its address.

        A dialog that closes goes back in the history, which may be later than this.
        """
        for _ in range(5):
            await self.page.goto(f"{self.url}{path}")
            await self.page.wait_for_timeout(SETTLING)
            if path in self.page.url:
                return

    # What is there

    def text(self, text: str, *, exact: bool = True) -> Locator:
        """Return what shows a text."""
        return self.page.get_by_text(text, exact=exact).filter(visible=True).first

    def button(self, name: str) -> Locator:
        """Return a button."""
        buttons = self.page.get_by_role("button", name=name, exact=True)
        return buttons.filter(visible=True).first

    def entry(self, title: str) -> Locator:
        """Return the row of an entry of the integration, on its page."""
        rows = self.page.locator("ha-config-entry-row")
        return rows.filter(has=self.page.get_by_text(title, exact=True)).first

    def device(self, name: str) -> Locator:
        """Return the row of a device, on the page of the integration."""
        rows = self.page.locator("ha-config-entry-device-row")
        return rows.filter(has=self.page.get_by_text(name, exact=True)).first

    def state(self, name: str) -> Locator:
        """Return the row of an entity, on the page of its device."""
        rows = self.page.locator("ha-device-entities-card").locator(
            "hui-simple-entity-row, hui-sensor-entity-row, hui-toggle-entity-row,"
            "hui-select-entity-row, hui-event-entity-row"
        )
        return rows.filter(has=self.page.get_by_text(name, exact=True)).first

    async def see(
        self, text: str, *, exact: bool = False, patience: int = PATIENCE
    ) -> None:
        """Wait until a text is shown."""
        await self.text(text, exact=exact).wait_for(timeout=patience)

    async def sees_state(self, name: str, state: str) -> None:
        """Wait until the page of a device shows a state."""
        await expect(self.state(name)).to_contain_text(state, timeout=PATIENCE)

    # What a person does

    async def click(self, text: str) -> None:
        """Click on a text."""
        await self.text(text).click()

    async def press(self, name: str) -> None:
        """Press a button."""
        await self.button(name).click()

    async def close(self, name: str) -> None:
        """Close the dialog by a button."""
        await self.press(name)
        await self.page.wait_for_function(f"!({_DIALOG})()")
        await self.page.wait_for_timeout(SETTLING)

    @property
    def submit_button(self) -> Locator:
        """What answers a form."""
        return self.button("Submit")

    async def submit(self) -> None:
        """Answer a form."""
        await self.submit_button.click()

    async def unfold(self, what: Locator, item: Locator) -> None:
        """Unfold a list until its item is seen: while it is drawn a click gets lost."""
        for _ in range(PATIENCE // UNFOLDING):
            await what.click()
            with suppress(TimeoutError):
                await item.wait_for(timeout=UNFOLDING)
                return
        raise NotSo(f"does not unfold: {item}")

    def item(self, option: str) -> Locator:
        """Return an item of the list that is unfolded."""
        items = self.page.locator("ha-dropdown-item").get_by_text(option, exact=True)
        return items.filter(visible=True).first

    async def choose(self, option: str) -> None:
        """Choose from the list of a form's only field with one."""
        item = self.item(option)
        await self.unfold(self.page.locator("ha-selector-select"), item)
        await item.click()

    async def number(self, value: float) -> None:
        """Type a number into the only field for one."""
        await self.page.locator("ha-selector-number input").fill(str(value))

    async def switch(self, number: int = 0) -> None:
        """Turn a switch of a form on."""
        await self.page.locator("ha-selector-boolean ha-switch").nth(number).click()

    async def type_port(self, path: str) -> None:
        """Type a port where one is to be chosen."""
        field = self.page.locator("ha-selector-serial_port")
        picker = field.locator("ha-picker-field")
        await self.unfold(picker, self.text("Enter manually"))
        await self.click("Enter manually")
        # The list has a field of its own, to search in it.
        await expect(picker).to_have_count(0, timeout=PATIENCE)
        await field.locator("input").filter(visible=True).fill(path)

    async def pick(self, number: int, entity: str) -> None:
        """Pick an entity by its name for one of a form's fields for entities."""
        field = self.page.locator("ha-selector-entity").nth(number)
        search = field.locator("input").filter(visible=True).last
        await self.unfold(field, search)
        await search.fill(entity)
        found = field.locator("ha-combo-box-item").filter(has_text=entity)
        await found.filter(visible=True).first.click()

    async def menu(self, title: str, item: str) -> None:
        """Choose from the menu of an entry."""
        chosen = self.item(item)
        dots = self.entry(title).locator("ha-icon-button[slot=trigger]").first
        await self.unfold(dots, chosen)
        await chosen.click()

    async def configure(self, title: str, page: str) -> None:
        """Open a page of an entry's options."""
        await self.open("/config/integrations/integration/openxpbms")
        await self.entry(title).get_by_role("button", name="Configure").click()
        await self.click(page)

    # Pictures

    async def picture(self, name: str, *, drawing: int = DRAWING) -> None:
        """Take the whole page."""
        if self.folder is not None:
            await self.page.wait_for_timeout(drawing)
            await self._take(name)

    async def dialog(self, name: str, *, drawing: int = DRAWING) -> None:
        """Take the open dialog and a little around it."""
        if self.folder is None:
            return
        await self.page.wait_for_timeout(drawing)
        x, y, width, height = await self._dialog_box()
        size = self.page.viewport_size
        assert size is not None
        left, top = max(0, x - MARGIN), max(0, y - MARGIN)
        right = min(size["width"], x + width + MARGIN)
        bottom = min(size["height"], y + height + MARGIN)
        clip = {"x": left, "y": top, "width": right - left, "height": bottom - top}
        await self._take(name, clip=clip)

    async def _dialog_box(self) -> list[float]:
        """Return where the open dialog is, once it has stopped moving."""
        before = None
        while (box := await self.page.evaluate(_DIALOG)) != before or box is None:
            before = box
            await self.page.wait_for_timeout(SETTLING)
        found: list[float] = box
        return found

    async def _take(self, name: str, **more: Any) -> None:
        assert self.folder is not None
        file = self.folder / f"{name}.png"
        await self.page.screenshot(path=file, animations="disabled", **more)

    async def size(self, width: int = WIDTH, height: int = HEIGHT) -> None:
        """Make the window as large as that."""
        await self.page.set_viewport_size({"width": width, "height": height})


@asynccontextmanager
async def browser(
    url: str, tokens: dict[str, Any], folder: Path | None
) -> AsyncIterator[Browser]:
    """A browser whose user is signed in with `tokens`."""
    program = shutil.which("chromium") or shutil.which("chromium-browser")
    if program is None:
        raise RuntimeError("Chromium is missing: install it (Debian: chromium)")
    async with async_playwright() as play:
        chromium = await play.chromium.launch(
            executable_path=program, args=["--no-sandbox", "--disable-gpu"]
        )
        context = await chromium.new_context(
            viewport={"width": WIDTH, "height": HEIGHT}, service_workers="block"
        )
        context.set_default_timeout(PATIENCE)
        kept = {
            **tokens,
            "hassUrl": url,
            "clientId": f"{url}/",
            "expires": (time.time() + tokens["expires_in"]) * 1000,
        }
        await context.add_init_script(
            f"localStorage.hassTokens = {json.dumps(json.dumps(kept))}"
        )
        try:
            yield Browser(await context.new_page(), url, folder)
        finally:
            await chromium.close()
