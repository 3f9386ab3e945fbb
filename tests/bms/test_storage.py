"""When batteries in storage are charged."""

from __future__ import annotations

import pytest

from custom_components.openxpbms.bms.storage import charges


@pytest.mark.parametrize(
    ("now", "socs", "then"),
    [
        (False, [40.1, 90.0], False),
        (False, [40.0, 45.0], True),
        (False, [45.0, 45.0], False),
        (True, [45.0, 49.9], True),
        (True, [41.0, 50.0], False),
        (True, [50.1], False),
        (False, [50.1], False),
        # Far apart, the lowest goes first.
        (True, [40.0, 60.0], True),
        (False, [40.0, 60.0], True),
    ],
)
def test_from_forty_to_fifty_percent(
    now: bool, socs: list[float | None], then: bool
) -> None:
    assert charges(now, socs, low=False) is then


@pytest.mark.parametrize("now", [True, False])
@pytest.mark.parametrize("socs", [[], [None], [10.0, None], [None, 90.0]])
def test_an_unknown_charge_changes_nothing(now: bool, socs: list[float | None]) -> None:
    assert charges(now, socs, low=False) is now


@pytest.mark.parametrize("socs", [[], [None], [45.0], [100.0]])
def test_a_low_cell_is_charged_whatever_the_charge_says(
    socs: list[float | None],
) -> None:
    assert charges(False, socs, low=True)
    assert charges(True, socs, low=True)
