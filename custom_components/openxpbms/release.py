"""What becomes of relays that nobody guards any more."""

from __future__ import annotations

import asyncio
from contextlib import suppress
import logging
from typing import TYPE_CHECKING

from homeassistant.helpers import issue_registry as ir

from .bms.outputs import Want
from .bms.relay import Report
from .const import DOMAIN
from .guard import ISSUE_UNGUARDED, KEPT, store_of
from .guard_options import hands_of
from .kept import Mode
from .relay_board import RelayBoard, User, Vote, relay_board

if TYPE_CHECKING:
    from collections.abc import Iterable

    from homeassistant.core import HomeAssistant

    from .coordinator import OpenXPBMSConfigEntry

_LOGGER = logging.getLogger(__name__)

# s for relays to open.
PATIENCE = 5.0


async def async_let_go(hass: HomeAssistant, entry: OpenXPBMSConfigEntry) -> None:
    """Open the relays of an entry that is removed or disabled, or leave them if told.

    Those that another entry guards are its business. What is left closed is told.
    """
    kept = hass.data.get(KEPT, {}).get(entry.entry_id)
    if kept is None or kept.mode is Mode.WATCH_ONLY:
        return
    hands = hands_of(entry)
    board = relay_board(hass)
    names = [name for name in hands.outputs.relays() if not board.users(name)]
    progress = asyncio.Event()
    user = User(
        {name: hands.relays[name] for name in names}, progress.set, lambda _: None
    )
    board.use(entry.entry_id, user)
    try:
        if not hands.leave:
            shared = [
                n for n in names if n in (hands.outputs.charge, hands.outputs.load)
            ]
            board.vote(entry.entry_id, dict.fromkeys(shared, Vote(want=Want.OPEN)))
            if shared:
                await asyncio.sleep(hands.outputs.delay)
            board.vote(entry.entry_id, dict.fromkeys(names, Vote(want=Want.OPEN)))
            await _opened(board, names, progress)
        for name in names:
            if board.report(name) is not Report.OPEN:
                _tell_unguarded(hass, name, board.entity_id(name))
    finally:
        board.leave(entry.entry_id)


async def _opened(
    board: RelayBoard, names: Iterable[str], progress: asyncio.Event
) -> None:
    with suppress(TimeoutError):
        async with asyncio.timeout(PATIENCE):
            while any(board.report(name) is not Report.OPEN for name in names):
                progress.clear()
                await progress.wait()


def _tell_unguarded(hass: HomeAssistant, name: str, entity_id: str) -> None:
    _LOGGER.error("Nobody guards %s any more, and it is not open", entity_id)
    ir.async_create_issue(
        hass,
        DOMAIN,
        f"{ISSUE_UNGUARDED}_{name}",
        data={"kind": ISSUE_UNGUARDED},
        is_fixable=True,
        is_persistent=True,
        severity=ir.IssueSeverity.ERROR,
        translation_key=ISSUE_UNGUARDED,
        translation_placeholders={"relay": entity_id},
    )


async def async_forget(hass: HomeAssistant, entry: OpenXPBMSConfigEntry) -> None:
    """Forget what was kept of an entry."""
    hass.data.get(KEPT, {}).pop(entry.entry_id, None)
    await store_of(hass, entry.entry_id).async_remove()
