"""Buses that many drills share."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from functools import partial

from .home import Home
from .stage import Stage, modules, packs, stage


@asynccontextmanager
async def both(home: Home) -> AsyncIterator[list[Stage]]:
    """Three modules on one bus, two packs that are asked on another."""
    async with together(
        partial(stage, home, *modules(3), later=True),
        partial(stage, home, *packs(2), later=True),
    ) as stages:
        yield stages


@asynccontextmanager
async def three(home: Home) -> AsyncIterator[list[Stage]]:
    """Modules, packs that are asked, and a bank of three that is only heard."""
    async with together(
        partial(stage, home, *modules(3), later=True),
        partial(stage, home, *packs(2), later=True),
        partial(stage, home, *packs(3, first=1), bank=True, later=True),
    ) as stages:
        yield stages


@asynccontextmanager
async def bank(home: Home) -> AsyncIterator[list[Stage]]:
    """A bank of three packs that is only heard."""
    async with together(
        partial(stage, home, *packs(3, first=1), bank=True, later=True)
    ) as stages:
        yield stages


@asynccontextmanager
async def together(
    *kinds: Callable[[], AbstractAsyncContextManager[Stage]],
) -> AsyncIterator[list[Stage]]:
    """Start buses at the same time."""
    async with AsyncExitStack() as stack:
        stages = [await stack.enter_async_context(kind()) for kind in kinds]
        await asyncio.gather(*(one.ready() for one in stages))
        yield stages
