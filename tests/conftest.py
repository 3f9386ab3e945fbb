"""What all tests need."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

# The test harness brings a package of the same name: ours must be there first.
import custom_components  # noqa: F401

from .mosquitto import Hearer, MakeBroker, Mosquitto, brokers, hearing


@pytest.fixture
async def make_broker(
    tmp_path: Path, socket_enabled: None
) -> AsyncIterator[MakeBroker]:
    """Start MQTT brokers."""
    async with brokers(tmp_path) as make:
        yield make


@pytest.fixture
async def mosquitto(make_broker: MakeBroker) -> Mosquitto:
    """Start an MQTT broker that everybody may use."""
    return await make_broker()


@pytest.fixture
async def hearer(mosquitto: Mosquitto) -> AsyncIterator[Hearer]:
    """Hear everything at that broker."""
    async with hearing(mosquitto.port) as heard:
        yield heard
