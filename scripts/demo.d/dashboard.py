"""Makes the dashboard from the entities that the batteries really have."""

from __future__ import annotations

from home import Home


async def add_dashboard(home: Home) -> None:
    pass
