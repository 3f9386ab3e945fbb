"""A pack of a listened bank that nobody has heard yet."""

from __future__ import annotations

import asyncio
import logging
from unittest.mock import patch

from homeassistant.core import HomeAssistant
import pytest
from pytest_homeassistant_custom_component.common import MockConfigEntry

from custom_components.openxpbms.batteries import stored
from custom_components.openxpbms.bms.reading import Identity
from custom_components.openxpbms.const import DOMAIN

from .conftest import MakeLine, first_round

COORDINATOR = "custom_components.openxpbms.coordinator"


async def test_it_is_told_of_when_it_is_missed_and_not_before(
    hass: HomeAssistant, make_line: MakeLine, caplog: pytest.LogCaptureFixture
) -> None:
    line = await make_line()
    pack = Identity(address=1, serial=None, model="Seplos V3", model_code="", cells=16)
    entry = MockConfigEntry(
        domain=DOMAIN,
        title="Cellar",
        data={
            "device": line.path,
            "family": "seplos",
            "mode": "listen",
            "batteries": stored([pack]),
        },
        pref_disable_polling=True,
    )
    entry.add_to_hass(hass)

    def told() -> list[str]:
        return [
            record.getMessage()
            for record in caplog.records
            if record.name == COORDINATOR and record.levelno >= logging.WARNING
        ]

    with patch("custom_components.openxpbms.bms.listening.PATIENCE", 0.05):
        assert await hass.config_entries.async_setup(entry.entry_id)
        await first_round(hass, entry)
    assert told() == []

    with patch("custom_components.openxpbms.bms.listening.HEARD_FOR", 0.05):
        for _ in range(2):
            await asyncio.sleep(0.1)
            await entry.runtime_data.async_refresh()
    assert told() == ["Cellar: pack 1 has not been heard for 0 s"]
