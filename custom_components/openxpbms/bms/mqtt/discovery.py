"""What Home Assistant is told of a battery: a device and its entities, all in one."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from ..reading import Identity
from ..shown import (
    MANUFACTURERS,
    Measure,
    Remembered,
    Status,
    Troubles,
    device_name,
    measures,
    remembered,
    statuses,
    troubles,
)
from .state import details_key
from .topics import OFFLINE, ONLINE, Topics

URL = "https://github.com/openxpbms/openxpbms-home-assistant"
# How long a state that nobody has sent again is believed, s.
EXPIRES = 900


def device(
    family: str, identity: Identity, battery: str, topics: Topics
) -> dict[str, Any]:
    """Return the discovery of a battery whose id is `battery`."""
    bridge = {"topic": topics.status}
    communication = {
        "platform": "binary_sensor",
        "unique_id": f"{battery}_communication",
        "name": "Communication",
        "device_class": "connectivity",
        "entity_category": "diagnostic",
        "state_topic": topics.availability(battery),
        "payload_on": ONLINE,
        "payload_off": OFFLINE,
        # Silence is a state, so only the bridge can make it unavailable.
        "availability": [bridge],
    }
    return {
        "device": _device(family, identity, battery),
        "origin": _origin(),
        "availability": [bridge, {"topic": topics.availability(battery)}],
        "availability_mode": "all",
        "state_topic": topics.state(battery),
        "components": {
            "communication": communication,
            **{
                key: {"unique_id": f"{battery}_{key}", "expire_after": EXPIRES} | entity
                for key, entity in _entities(family, identity, topics.state(battery))
            },
        },
    }


def _device(family: str, identity: Identity, battery: str) -> dict[str, Any]:
    facts = {
        "identifiers": [f"openxpbms_{battery}"],
        "name": device_name(family, identity),
        "manufacturer": MANUFACTURERS[family],
        "model": identity.model,
        "serial_number": identity.serial,
        "hw_version": identity.revision and f"Rev {identity.revision}",
        "sw_version": identity.firmware,
    }
    return _known(facts)


def _origin() -> dict[str, Any]:
    origin = {"name": "openxpbms", "support_url": URL}
    try:
        return origin | {"sw_version": version("openxpbms")}
    except PackageNotFoundError:
        return origin


def _entities(
    family: str, identity: Identity, state: str
) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield each entity with its key."""
    for measure in measures(family, identity):
        yield measure.key, _measure(measure)
    for kept in remembered(family, identity):
        yield kept.key, _remembered(kept)
    for status in statuses(family):
        yield status.key, _status(status, state)
    for group in troubles(family):
        yield group.key, _troubles(group, state)


def _sensor(shown: Measure | Remembered, **more: Any) -> dict[str, Any]:
    grows = "total_increasing" if shown.grows else None
    facts = {
        "platform": "sensor",
        "name": shown.name,
        "value_template": f"{{{{ value_json.{shown.key} }}}}",
        "device_class": shown.kind,
        "unit_of_measurement": shown.unit,
        "state_class": grows,
    }
    return _known(facts | more)


def _measure(measure: Measure) -> dict[str, Any]:
    if measure.options:
        return _sensor(measure, options=list(measure.options))
    more: dict[str, Any] = {
        "suggested_display_precision": measure.digits,
        "entity_category": "diagnostic" if measure.diagnostic else None,
    }
    if not measure.grows:
        more["state_class"] = "measurement"
    return _sensor(measure, **more)


def _remembered(kept: Remembered) -> dict[str, Any]:
    return _sensor(kept, entity_category="diagnostic", enabled_by_default=False)


def _binary(shown: Status | Troubles, kind: str | None, **more: Any) -> dict[str, Any]:
    facts = {
        "platform": "binary_sensor",
        "name": shown.name,
        "value_template": f"{{{{ value_json.{shown.key} }}}}",
        # As templates show what JSON calls true and false.
        "payload_on": "True",
        "payload_off": "False",
        "device_class": kind,
    }
    return _known(facts | more)


def _status(status: Status, state: str) -> dict[str, Any]:
    details = _details(status.key, state) if status.details else {}
    return _binary(status, status.kind, **details)


def _troubles(group: Troubles, state: str) -> dict[str, Any]:
    return _binary(group, "problem", **_details(group.key, state))


def _details(key: str, state: str) -> dict[str, Any]:
    return {
        "json_attributes_topic": state,
        "json_attributes_template": f"{{{{ value_json.{details_key(key)} | tojson }}}}",
    }


def _known(facts: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in facts.items() if value is not None}
