"""What a user can do about what went wrong on a port."""

from __future__ import annotations

from ..errors import (
    BusError,
    FixedSpeed,
    ForeignMaster,
    PortBusy,
    PortForbidden,
    PortMissing,
    PortUnreachable,
    UnsupportedLine,
)
from .exits import sentence
from .findings import Verdict
from .port_checks import port_checks

_ADVICE = {
    FixedSpeed: "Valence modules need it: use rfc2217:// or a local adapter.",
    ForeignMaster: "Two masters garble each other, so nothing more was sent."
    " Disconnect the other one, or hear it with `openxpbms listen`.",
    PortUnreachable: "Look at the address, and whether somebody else is connected.",
    UnsupportedLine: "Try --line two_stop_bits, or another adapter.",
}


def advice(err: BusError) -> str:
    """Return sentences about what to do, none where the error says it all."""
    if isinstance(err, PortMissing | PortForbidden | PortBusy):
        found = port_checks(err.details["port"])
        problems = (each for each in found if each.verdict is Verdict.PROBLEM)
        return " ".join(
            # That the port is missing was said already.
            sentence(
                each.advice if each.check == "port" else f"{each.says}: {each.advice}"
            )
            for each in problems
        )
    return _ADVICE.get(type(err), "")
