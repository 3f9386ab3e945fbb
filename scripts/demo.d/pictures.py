"""Takes pictures of the running demo, as a browser shows it to the demo's user."""

from __future__ import annotations

import argparse
import asyncio
import json
from pathlib import Path
import shutil
import sys
import time

from dashboard import URL_PATH, batteries_by_name
from home import home
from playwright.async_api import Page, async_playwright

PICTURES = Path(__file__).resolve().parent.parent.parent / "docs" / "pictures"
# Home Assistant draws its pages piece by piece and never says when it is done.
DRAWING_TIME = 6000


async def take(url: str) -> None:
    """Log in, and take one picture after the other."""
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    if chromium is None:
        sys.exit("Chromium is missing: install it (Debian: chromium)")
    PICTURES.mkdir(parents=True, exist_ok=True)
    async with home(url) as one, async_playwright() as play:
        await one.log_in()
        batteries = await batteries_by_name(one)
        device = next(iter(batteries.values())).device_id
        pack = next(
            battery.device_id
            for battery in batteries.values()
            if battery.key.startswith("seplos_")
        )
        browser = await play.chromium.launch(
            executable_path=chromium, args=["--no-sandbox", "--disable-gpu"]
        )
        context = await browser.new_context(
            viewport={"width": 1920, "height": 1440}, service_workers="block"
        )
        tokens = {
            **one.tokens,
            "hassUrl": url,
            "clientId": f"{url}/",
            "expires": (time.time() + one.tokens["expires_in"]) * 1000,
        }
        await context.add_init_script(
            f"localStorage.hassTokens = {json.dumps(json.dumps(tokens))}"
        )
        page = await context.new_page()
        await _open(page, f"{url}/{URL_PATH}/0", "dashboard")
        await _open(page, f"{url}/{URL_PATH}/valence-xp-bank", "valence")
        await _open(page, f"{url}/{URL_PATH}/seplos-v3-bank", "bank")
        await _open(page, f"{url}/{URL_PATH}/protection", "protection")
        await _open(page, f"{url}/config/devices/device/{device}", "device")
        await _open(page, f"{url}/config/devices/device/{pack}", "pack")
        await page.set_viewport_size({"width": 1100, "height": 800})
        await _dialogs(page, url)
        await browser.close()
        await one.log_out()


async def _open(page: Page, address: str, name: str) -> None:
    await page.goto(address)
    await page.wait_for_timeout(DRAWING_TIME)
    await _picture(page, name)


async def _picture(page: Page, name: str) -> None:
    file = PICTURES / f"{name}.png"
    await page.screenshot(path=file)
    print(file, flush=True)


async def _dialogs(page: Page, url: str) -> None:
    """Add a second demo bus, up to the last step, which would make it."""
    await _add(page, url)
    await _picture(page, "set-up")
    await page.get_by_text("Demo bus", exact=True).click()
    await page.locator("ha-selector-number input").fill("6")
    await page.get_by_role("button", name="Submit").click()
    await page.get_by_text("Listening for 10 seconds").wait_for()
    await page.wait_for_timeout(4000)
    await _picture(page, "listening")
    await page.get_by_role("button", name="Submit").wait_for()
    await page.wait_for_timeout(500)
    await _picture(page, "found")
    await _add(page, url)
    await page.get_by_text("Demo bus", exact=True).click()
    await page.locator("ha-selector-select").click()
    await page.get_by_text("Seplos V3 bank").click()
    await page.locator("ha-selector-number input").fill("3")
    await page.get_by_role("button", name="Submit").click()
    await page.get_by_text("A bank with its own master").wait_for()
    await page.wait_for_timeout(500)
    await _picture(page, "heard")


async def _add(page: Page, url: str) -> None:
    """Open the first dialog."""
    await page.goto(f"{url}/config/integrations/dashboard/add?domain=openxpbms")
    await page.get_by_role("button", name="OK").click()
    await page.get_by_text("Batteries on a serial port").wait_for()
    await page.wait_for_timeout(500)


def main() -> None:
    """Read the command line and take the pictures."""
    parser = argparse.ArgumentParser(prog="scripts/screenshot", description=__doc__)
    parser.add_argument("--port", type=int, default=8123, help="default: 8123")
    asyncio.run(take(f"http://127.0.0.1:{parser.parse_args().port}"))


if __name__ == "__main__":
    main()
