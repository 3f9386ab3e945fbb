"""One family of errors for everything that can go wrong on a bus.

Every error says in its message what happened, and carries a `key` and `details` for
those who tell it in another language.
"""

from __future__ import annotations


class BusError(Exception):
    """Anything that keeps a bus from giving an answer that can be trusted."""

    key = "bus_error"

    def __init__(self, message: str, **details: str) -> None:
        """Keep the facts of the message in `details`."""
        super().__init__(message)
        self.details = details


class PortError(BusError):
    """The port itself, not a battery."""

    key = "port_error"


class PortUnusable(PortError):
    """What was named is no serial port, or its address is malformed."""

    key = "port_unusable"


class PortMissing(PortError):
    """No such port."""

    key = "port_missing"


class PortForbidden(PortError):
    """The port is there, but this user may not open it."""

    key = "port_forbidden"


class PortBusy(PortError):
    """Another program has the port open."""

    key = "port_busy"


class PortUnreachable(PortError):
    """A remote port did not answer."""

    key = "port_unreachable"


class PortGone(PortError):
    """The port was open and has gone: unplugged, or its connection broke."""

    key = "port_gone"


class PortLent(PortError):
    """The port is closed on purpose, so that somebody else can use the line."""

    key = "port_lent"


class UnsupportedLine(PortError):
    """The transport refuses the line settings."""

    key = "unsupported_line"


class FixedSpeed(UnsupportedLine):
    """The transport cannot change speed while it is open."""

    key = "fixed_speed"


class ForeignMaster(BusError):
    """Another master talks on the bus, so nothing was sent."""

    key = "foreign_master"


class AnswerError(BusError):
    """One battery, while the port works."""

    key = "no_answer"


class NoAnswer(AnswerError):
    """Nothing came back."""


class GarbledAnswer(AnswerError):
    """Bytes came back, but no frame that passed every check."""

    key = "garbled_answer"


class DoubtfulAnswer(GarbledAnswer):
    """An answer might belong to an earlier question, so none was asked for."""

    key = "doubtful_answer"


class WrongBattery(AnswerError):
    """Somebody answered, but not the battery that was asked."""

    key = "wrong_battery"


class AnotherBattery(WrongBattery):
    """The battery at this address tells another serial number than the known one."""


class Refused(AnswerError):
    """The battery heard the question and will not answer it (a Modbus exception)."""

    key = "refused"


class Unheard(AnswerError):
    """A battery that is only listened to has not been heard for a while."""

    key = "unheard"
