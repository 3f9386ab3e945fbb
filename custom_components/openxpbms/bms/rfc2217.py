"""RFC 2217, also with servers that confirm nothing about status, such as ser2net.

Nobody here wants to know modem or line status, so nobody need wait until a server
has confirmed which of it is to be told.
"""

from __future__ import annotations

from typing import override

from serialx.platforms.serial_rfc2217 import RFC2217SerialTransport
from serialx.platforms.serial_rfc2217.types import (
    Rfc2217Command,
    SetLinestateMaskCmd,
    SetModemstateMaskCmd,
)


class Rfc2217Transport(RFC2217SerialTransport):
    """Waits for what is needed only: the settings of the line."""

    @override
    async def _send_and_wait(self, cmd: Rfc2217Command) -> Rfc2217Command:
        if isinstance(cmd, SetLinestateMaskCmd | SetModemstateMaskCmd):
            self._send_command(cmd)
            return cmd
        return await super()._send_and_wait(cmd)
