"""Take docs/pictures/console.svg: .venv-test/bin/python -m scripts.picture_console."""

from __future__ import annotations

import asyncio
from pathlib import Path

from custom_components.openxpbms.bms.cli.link import Choice, opened
from custom_components.openxpbms.bms.console.app import Console

PICTURES = Path(__file__).parent.parent / "docs" / "pictures"
PORT = "openxpbms-demo://seplos?packs=3"
# s until the lines of the last minutes have something to show.
WATCHED = 45


async def main() -> None:
    """Watch demo packs in a terminal of 100x30 for a while, then take the picture."""
    choice = Choice(PORT, family="seplos", addresses=(1, 2, 3))
    async with opened(choice) as link:
        app = Console(link)
        async with app.run_test(size=(100, 30)) as pilot:
            await pilot.pause(WATCHED)
            app.save_screenshot("console.svg", str(PICTURES))


asyncio.run(main())
