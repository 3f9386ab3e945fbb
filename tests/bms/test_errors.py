"""One family of errors."""

from __future__ import annotations

import inspect

import pytest

from custom_components.openxpbms.bms import errors
from custom_components.openxpbms.bms.errors import (
    AnswerError,
    BusError,
    ForeignMaster,
    PortError,
)

ALL = [
    error
    for _, error in inspect.getmembers(errors, inspect.isclass)
    if issubclass(error, Exception)
]


@pytest.mark.parametrize("error", ALL)
def test_every_error_is_one_of_ours_and_keeps_its_facts(
    error: type[Exception],
) -> None:
    assert issubclass(error, BusError)
    raised = error("battery 4 did not answer", address="4")
    assert str(raised) == "battery 4 did not answer"
    assert raised.details == {"address": "4"}


def test_kinds_of_errors_have_keys_of_their_own() -> None:
    keys = [vars(error)["key"] for error in ALL if "key" in vars(error)]
    assert len(keys) == len(set(keys))
    assert all(key.isidentifier() for key in keys)


def test_port_battery_and_foreign_master_are_told_apart() -> None:
    kinds = (PortError, AnswerError, ForeignMaster)
    for error in ALL:
        assert sum(issubclass(error, kind) for kind in kinds) == (error is not BusError)
