"""What the battery half calls things is what Home Assistant calls them."""

from __future__ import annotations

import json
from pathlib import Path

from homeassistant.components.binary_sensor.const import BinarySensorDeviceClass
from homeassistant.components.sensor.const import DEVICE_CLASS_UNITS, SensorDeviceClass
import pytest

from custom_components.openxpbms import sensor
from custom_components.openxpbms.bms.families import SEPLOS, VALENCE
from custom_components.openxpbms.bms.reading import Identity
from custom_components.openxpbms.bms.shown import (
    measures,
    remembered,
    statuses,
    troubles,
)

TEXTS = json.loads(
    (Path(sensor.__file__).parent / "translations" / "en.json").read_text("utf-8")
)["entity"]
BATTERY = Identity(
    address=1, serial=None, model="", model_code="", revision=2, cells=16, sensors=4
)


@pytest.mark.parametrize("family", [SEPLOS, VALENCE])
def test_names_are_those_of_the_translations(family: str) -> None:
    for measure in measures(family, BATTERY):
        text = TEXTS["sensor"][measure.common or measure.key]["name"]
        assert measure.name == text.format(number=measure.cell)
    for kept in remembered(family, BATTERY):
        assert kept.name == TEXTS["sensor"][kept.key]["name"]
    for shown in (*statuses(family), *troubles(family)):
        assert shown.name == TEXTS["binary_sensor"][shown.key]["name"]


@pytest.mark.parametrize("family", [SEPLOS, VALENCE])
def test_kinds_and_units_are_those_of_home_assistant(family: str) -> None:
    for shown in (*measures(family, BATTERY), *remembered(family, BATTERY)):
        if shown.kind and shown.kind != SensorDeviceClass.ENUM:
            kind = SensorDeviceClass(shown.kind)
            assert shown.unit in {str(unit) for unit in DEVICE_CLASS_UNITS[kind]}
    for status in statuses(family):
        assert status.kind is None or BinarySensorDeviceClass(status.kind)
