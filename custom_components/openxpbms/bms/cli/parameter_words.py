"""Parameters of Seplos packs, changes, and what came of them, in words."""

from __future__ import annotations

import math

from ..errors import BusError
from ..parameter_errors import (
    Caution,
    LargeStep,
    NotANumber,
    ParameterError,
    TripUnknown,
    UnknownParameter,
    WouldTrip,
)
from ..parameter_facts import with_unit
from ..parameter_order import PAIRS, TRIPS
from ..parameter_rules import Change, Pack, span
from ..parameter_values import shown
from ..parameters import BY_NAME, BY_REGISTER, Access, Parameter
from ..seplos_writes import Changed, NotQuiet, Outcome, Result
from .exits import Exit, Failure, code_of, sentence
from .ports import nearest

# Why some are only shown.
_NEVER = {
    Access.STRUCTURE: "it says how the pack is built",
    Access.COUNTER: "the pack counts it",
    Access.UNDOCUMENTED: "nobody has told what it does",
}
_CAUTIONS = {
    "large_step": "A large step: from {old} to {value} is more than {share} of its"
    " range.",
    "would_trip": "The pack is at {reading} and WILL SWITCH OFF now with {value}.",
    "trip_unknown": "The pack does not tell now what this judges. IT MAY SWITCH OFF.",
    "will_alarm": "The pack will warn at once: it is at {reading}.",
    "order_still_wrong": "It should be {relation} {other}, which is {limit}. {value} is"
    " closer to that, and still not in order.",
    "cells_disagree": "{pack} ({pack_value}) and {cell} ({cell_value}, with {cells}"
    " cells {together}) do not fit together.",
    "request_above_alarm": "The pack asks an inverter for {request}, which is above"
    " {alarm} ({alarm_value}).",
    "request_above_cells": "The pack asks an inverter for {request}, which is above"
    " {alarm} ({alarm_value}, with {cells} cells {together}).",
    "state_of_charge": "The state of charge is counted by it, and may jump.",
}
_ANSWERS = {
    "refused": "the pack refused the write (exception {code})",
    "no_acknowledgement": "the pack did not acknowledge the write",
    "not_kept": "the pack acknowledged the write and did not keep the value",
}


def known(name: str) -> Parameter:
    """Return a parameter by its name. Raises Failure."""
    if name not in BY_NAME:
        err = UnknownParameter(parameter=name)
        raise Failure(why_not(err), Exit.WRONG_USE)
    return BY_NAME[name]


def number(name: str, text: str) -> float:
    """Return what was typed as a value. Raises Failure."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if math.isfinite(value):
        return value
    err = NotANumber(parameter=name, value=text)
    raise Failure(f"{err}.", Exit.WRONG_USE)


def ends(parameter: Parameter, pack: Pack) -> str:
    """Return from where to where a parameter may be set, empty for never."""
    if not parameter.writable:
        return ""
    low, high = (shown(parameter.field, end) for end in span(parameter, pack))
    return f"{low} to {high}"


def rules(parameter: Parameter) -> list[str]:
    """Return what else holds for a parameter: its place in the order, and trips."""
    if not parameter.writable:
        return [f"never written: {_NEVER[parameter.access]}"]
    register = parameter.field.register
    found = []
    for pair in PAIRS:
        for mine, other, relation in (
            (pair.lower, pair.upper, "≤" if pair.equal else "<"),
            (pair.upper, pair.lower, "≥" if pair.equal else ">"),
        ):
            if register == mine:
                found.append(f"{relation} {BY_REGISTER[other].name}")
    if register in TRIPS:
        found.append("switches off")
    return found


def caution(told: Caution) -> str:
    """Return what a person should know before agreeing."""
    return _CAUTIONS[told.key].format(**told.details)


def why_not(err: BusError | ParameterError) -> str:
    """Return why a parameter cannot be had or changed, with the nearest names."""
    told = str(err)
    # The name of a parameter stays as it is.
    told = f"{told}." if told.partition(" ")[0] in BY_NAME else sentence(told)
    if isinstance(err, UnknownParameter):
        near = nearest(err.details["parameter"], BY_NAME)
        told += f" Did you mean {', '.join(near)}?" if near else ""
    return told


def allows(err: BusError | ParameterError) -> str | None:
    """Return which permission of a Wish lets a change through after all."""
    if isinstance(err, LargeStep):
        return "allow_large_step"
    return "allow_trip" if isinstance(err, WouldTrip | TripUnknown) else None


def outcome(change: Change, result: Result) -> str:
    """Return what is in the pack after a write, as far as anybody knows."""
    name = change.name
    if result.error is not None:
        return f"Nothing was sent: {why_not(result.error)}"
    answer = _ANSWERS.get(result.reason or "", "").format(**result.details or {})
    if result.seen is None:
        told = (
            f"{name} was sent and could not be read back: nobody knows whether it is"
            f" {with_unit(name, change.old)} or {with_unit(name, change.new)}."
            " Look at the pack and read it again."
        )
        return f"{told} {sentence(answer)}" if answer else told
    now = with_unit(name, result.seen)
    match result.outcome:
        case Outcome.VERIFIED:
            told = f"{name} is {now} now, read back from the pack"
        case Outcome.UNCHANGED:
            told = f"{name} is still {now}"
        case _:
            told = f"{name} is {now} now, neither the old nor the new value"
    told += f": {answer}." if answer else "."
    for other in result.others:
        old, new = with_unit(other.name, other.old), with_unit(other.name, other.new)
        told += f" {other.name} changed at the same time: {old} -> {new}."
    return told


def exit_code(result: Result) -> Exit:
    """Return how a command ends that wrote."""
    match result.error:
        case None:
            verified = result.outcome is Outcome.VERIFIED
            return Exit.DONE if verified else Exit.NOT_AS_ASKED
        case NotQuiet():
            return Exit.FOREIGN_MASTER
        case Changed():
            return Exit.NOT_AS_ASKED
        case BusError() as err:
            return code_of(err)
    return Exit.WRONG_USE
