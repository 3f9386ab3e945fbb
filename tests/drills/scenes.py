"""Buses that many drills share."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from .home import Home
from .stage import Stage, modules, packs, stage


@asynccontextmanager
async def both(home: Home) -> AsyncIterator[list[Stage]]:
    """Three modules on one bus, two packs that are asked on another."""
    async with (
        stage(home, *modules(3)) as some,
        stage(home, *packs(2)) as others,
    ):
        yield [some, others]


@asynccontextmanager
async def three(home: Home) -> AsyncIterator[list[Stage]]:
    """Modules, packs that are asked, and a bank of three that is only heard."""
    async with (
        both(home) as asked,
        stage(home, *packs(3, first=1), bank=True) as heard,
    ):
        yield [*asked, heard]


@asynccontextmanager
async def bank(home: Home) -> AsyncIterator[list[Stage]]:
    """A bank of three packs that is only heard."""
    async with stage(home, *packs(3, first=1), bank=True) as heard:
        yield [heard]
