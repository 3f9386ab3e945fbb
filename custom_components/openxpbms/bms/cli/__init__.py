"""The command `openxpbms`."""

from __future__ import annotations

import signal
import sys

# What the extra "cli" brings.
_EXTRA = ("typer", "rich")


def main() -> None:
    """Run the command with the process's arguments."""
    try:
        from .app import app  # noqa: PLC0415  without the extra there is no app
    except ModuleNotFoundError as err:
        if err.name not in _EXTRA:
            raise
        sys.exit(
            f"The command needs {err.name}, which is not installed."
            ' Install it with: pip install "openxpbms[cli]"'
        )
    except KeyboardInterrupt:
        sys.exit(130)
    # What a script starts with & would ignore Ctrl-C; `kill` ends a command just so.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, lambda *_: signal.raise_signal(signal.SIGINT))
    app()
