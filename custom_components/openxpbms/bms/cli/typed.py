"""What a person types at the terminal."""

from __future__ import annotations

import asyncio
import sys
import termios

import typer


async def typed(question: str, seconds: float) -> str:
    """Ask, and return the line that is typed within `seconds`, else nothing.

    What was typed before the question does not count.
    """
    terminal = sys.stdin.fileno()
    termios.tcflush(terminal, termios.TCIFLUSH)
    typer.echo(question, nl=False, err=True)
    loop = asyncio.get_running_loop()
    there = asyncio.Event()
    loop.add_reader(terminal, there.set)
    try:
        async with asyncio.timeout(seconds):
            await there.wait()
    except TimeoutError:
        return ""
    finally:
        loop.remove_reader(terminal)
    return sys.stdin.readline()
