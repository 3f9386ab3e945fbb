"""What becomes of relays that nobody guards any more."""

from __future__ import annotations

import asyncio
from contextlib import suppress
import logging
from typing import TYPE_CHECKING

from homeassistant.core import callback
from homeassistant.helpers import issue_registry as ir
from homeassistant.util.hass_dict import HassKey

from .bms.outputs import Want
from .bms.relay import Report
from .const import DOMAIN
from .guard import KEPT
from .guard_issues import ISSUE_UNGUARDED
from .guard_options import Hands, hands_of
from .kept import Mode
from .kept_file import KeptFile
from .relay_board import RelayBoard, User, Vote, relay_board

if TYPE_CHECKING:
    from collections.abc import Iterable

    from homeassistant.core import HomeAssistant

    from .coordinator import OpenXPBMSConfigEntry

_LOGGER = logging.getLogger(__name__)

# s for relays to open.
PATIENCE = 5.0

# What each entry switched when it was set up last.
_HANDS: HassKey[dict[str, Hands]] = HassKey(f"{DOMAIN}_hands")


async def async_let_go(hass: HomeAssistant, entry: OpenXPBMSConfigEntry) -> None:
    """Open the relays of an entry that is removed or disabled, or leave them if told.

    Those that another entry guards are its business. What is left closed is told.
    """
    if coordinator := getattr(entry, "runtime_data", None):
        # It still runs where its entities could not be unloaded.
        coordinator.guard.stop()
    relay_board(hass).leave(entry.entry_id)
    hass.data.get(_HANDS, {}).pop(entry.entry_id, None)
    hands = hands_of(entry)
    await _release(hass, entry, hands, hands.outputs.relays(), leave=hands.leave)


@callback
def async_take(hass: HomeAssistant, entry: OpenXPBMSConfigEntry) -> None:
    """Let go of the relays that an entry that was loaded anew does not use any more.

    Its options or batteries may be others now.
    """
    hands = hands_of(entry)
    known = hass.data.setdefault(_HANDS, {})
    before = known.get(entry.entry_id, hands)
    known[entry.entry_id] = hands
    names = [n for n in before.outputs.relays() if n not in hands.relays]
    if names:
        hass.async_create_task(
            _release(hass, entry, before, names, leave=hands.leave),
            f"{entry.title} lets go of relays",
        )


async def _release(
    hass: HomeAssistant,
    entry: OpenXPBMSConfigEntry,
    hands: Hands,
    names: list[str],
    *,
    leave: bool,
) -> None:
    kept = hass.data.get(KEPT, {}).get(entry.entry_id)
    if kept is None or kept.mode is Mode.WATCH_ONLY:
        return
    board = relay_board(hass)
    # Who only watches a relay does not guard it.
    names = [name for name in names if not board.votes(name)]
    progress = asyncio.Event()
    relays = {name: hands.relays[name] for name in names}
    user_id = f"{entry.entry_id}_let_go"
    board.use(user_id, User(relays, progress.set, lambda _: None))
    try:
        if not leave:
            shared = [
                n for n in names if n in (hands.outputs.charge, hands.outputs.load)
            ]
            board.vote(user_id, dict.fromkeys(shared, Vote(want=Want.OPEN)))
            if shared:
                await asyncio.sleep(hands.outputs.delay)
            board.vote(user_id, dict.fromkeys(names, Vote(want=Want.OPEN)))
            await _opened(board, names, progress)
        for name in names:
            if board.report(name) is not Report.OPEN:
                _tell_unguarded(hass, name, board.entity_id(name))
    finally:
        board.leave(user_id)


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
    await KeptFile(hass, entry.entry_id).remove()
