"""Why a parameter is not written, and what to know before it is.

Every error says in its message what is wrong, and carries a `key` and `details` for
those who tell it in another language. Values in `details` carry their unit.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


class ParameterError(ValueError):
    """Anything that forbids a write; `text` is the message, with places for details."""

    key = "parameter_error"
    text = "the parameter cannot be written"

    def __init__(self, **details: str) -> None:
        """Make the message from `details` and keep them."""
        super().__init__(self.text.format(**details))
        self.details = details


class UnknownParameter(ParameterError):
    """No parameter has this name."""

    key = "unknown_parameter"
    text = "there is no parameter {parameter}"


class NotWritable(ParameterError):
    """A parameter that is shown, never written; `access` says what it is."""

    key = "not_writable"
    text = "{parameter} is never written: {access}"


class NotANumber(ParameterError):
    """Not a number, or not a finite one."""

    key = "not_a_number"
    text = "{value} is not a number that {parameter} could have"


class WrongResolution(ParameterError):
    """The register counts in coarser steps; `below` and `above` are its neighbours."""

    key = "wrong_resolution"
    text = "{parameter} cannot be {value}, only {below} or {above}"


class Unchanged(ParameterError):
    """The parameter has this value already."""

    key = "unchanged"
    text = "{parameter} is {value} already"


class OutOfRange(ParameterError):
    """Outside of what is ever written."""

    key = "out_of_range"
    text = "{parameter} must be from {low} to {high}, not {value}"


class OutOfRangeForCells(OutOfRange):
    """Outside of what a pack of so many cells may have."""

    key = "out_of_range_for_cells"
    text = "{parameter} must be from {low} to {high} with {cells} cells, not {value}"


class BeyondBoard(ParameterError):
    """More current than the electronics are built for."""

    key = "beyond_board"
    text = "{parameter} may reach {limit} on a {board} board, not {value}"


class BeyondFactory(ParameterError):
    """More current than the pack came with."""

    key = "beyond_factory"
    text = "{parameter} came as {limit} and is not set beyond it, to {value}"


class BoardUnknown(ParameterError):
    """More current than now, while nobody knows what the electronics are built for."""

    key = "board_unknown"
    text = "{parameter} is only set closer to zero than {limit}, not to {value}: its"
    text += " board's rated current is not known"


class WrongOrder(ParameterError):
    """Contradicts another parameter; `relation` is one of < ≤ > ≥."""

    key = "wrong_order"
    text = "{parameter} must be {relation} {other}, {value} is not {relation} {limit}"


class LargeStep(ParameterError):
    """A larger change than is made without saying so."""

    key = "large_step"
    text = "from {old} to {value} is more than {share} of the range of {parameter}"


class WouldTrip(ParameterError):
    """The pack would switch off at once, or nearly."""

    key = "would_trip"
    text = "the pack is at {reading} and will switch off with {parameter} at {value}"


class TripUnknown(ParameterError):
    """Nobody knows whether the pack would switch off."""

    key = "trip_unknown"
    text = "the pack does not tell now what {parameter} judges; it may switch off"


class InsaneParameters(ParameterError):
    """A parameter is not what such a pack can have: its table may mean something else.

    Of a pack like that nothing is written.
    """

    key = "insane_parameters"
    text = "{parameter} is {value}, which makes no sense: nothing is written"


@dataclass(frozen=True, slots=True)
class Caution:
    """What a person should know before agreeing; it forbids nothing.

    Keys are those of the errors that were allowed, and `will_alarm`,
    `order_still_wrong`, `cells_disagree`, `request_above_alarm`, `request_above_cells`,
    `state_of_charge`.
    """

    key: str
    details: Mapping[str, str] = field(hash=False)
