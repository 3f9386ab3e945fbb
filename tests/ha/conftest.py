"""A real Home Assistant with the integration, over real pseudo-terminals."""

from __future__ import annotations

from collections.abc import Iterator
from unittest.mock import patch

import pytest


@pytest.fixture(autouse=True)
def _custom_integrations(enable_custom_integrations: None) -> None:
    """Let Home Assistant load the integration from this repository."""


@pytest.fixture(autouse=True)
def _short_listening() -> Iterator[None]:
    """Listen for tenths of a second instead of seconds before sending."""
    with (
        patch("custom_components.openxpbms.search.LISTEN", 0.2),
        patch("custom_components.openxpbms.bms.bus.LISTEN", 0.1),
    ):
        yield
