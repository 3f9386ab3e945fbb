"""The state of a battery as it is sent: a JSON object, by the keys of its entities."""

from __future__ import annotations

import json
from typing import Any

from ..rounds import Battery
from ..shown import Shown, measures, remembered, statuses, troubles


def details_key(key: str) -> str:
    """Return the key of what an entity tells beside its state."""
    return f"{key}_details"


class State:
    """What is shown of one battery, without noise."""

    def __init__(self, family: str, battery: Battery) -> None:
        """Begin with nothing shown."""
        self._family = family
        self.battery = battery
        self._measures = [Shown(m) for m in measures(family, battery.identity)]

    def take(self, now: float) -> str | None:
        """Return the state at `now` s, None while the battery is silent."""
        reading = self.battery.reading
        told: dict[str, Any] = {
            shown.measure.key: shown.take(reading, now) for shown in self._measures
        }
        if reading is None:
            return None
        for kept in remembered(self._family, self.battery.identity):
            told[kept.key] = kept.told(self.battery.history)
        for status in statuses(self._family):
            told[status.key] = status.value(reading)
            if status.details:
                told[details_key(status.key)] = status.details(reading)
        for group in troubles(self._family):
            told[group.key] = bool(group.active(reading))
            told[details_key(group.key)] = group.details(reading)
        return json.dumps(told)
