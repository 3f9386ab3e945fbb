"""Binary sensors: whether a battery answers, what it does, and its troubles."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from homeassistant.components.binary_sensor import (
    BinarySensorEntity,
    BinarySensorEntityDescription,
)
from homeassistant.components.binary_sensor.const import BinarySensorDeviceClass
from homeassistant.const import EntityCategory
from homeassistant.core import callback

from .bms.reading import Group, Level
from .bms.seplos_tables import ALARMS
from .const import FAMILY_SEPLOS
from .entity import BatteryEntity
from .protection_sensor import protection_sensors

if TYPE_CHECKING:
    from homeassistant.core import HomeAssistant
    from homeassistant.helpers.entity_platform import AddConfigEntryEntitiesCallback

    from .bms.reading import Reading
    from .bms.rounds import Battery
    from .coordinator import OpenXPBMSConfigEntry, OpenXPBMSCoordinator

PARALLEL_UPDATES = 0


@dataclass(frozen=True, kw_only=True)
class StatusDescription(BinarySensorEntityDescription):
    """Whether a battery does something now."""

    value: Callable[[Reading], bool | None]


@dataclass(frozen=True, kw_only=True)
class GroupDescription(BinarySensorEntityDescription):
    """Whether anything of a group troubles a battery."""

    group: Group
    level: Level


COMMUNICATION = BinarySensorEntityDescription(
    key="communication",
    translation_key="communication",
    device_class=BinarySensorDeviceClass.CONNECTIVITY,
    entity_category=EntityCategory.DIAGNOSTIC,
)
BALANCING = BinarySensorEntityDescription(
    key="balancing",
    translation_key="balancing",
    device_class=BinarySensorDeviceClass.RUNNING,
)
ALARM = BinarySensorEntityDescription(
    key="alarm",
    translation_key="alarm",
    device_class=BinarySensorDeviceClass.PROBLEM,
)


def _status(
    key: str,
    value: Callable[[Reading], bool | None],
    device_class: BinarySensorDeviceClass | None = BinarySensorDeviceClass.RUNNING,
) -> StatusDescription:
    return StatusDescription(
        key=key, translation_key=key, value=value, device_class=device_class
    )


STATUS = (
    _status("charging", lambda r: r.charging, BinarySensorDeviceClass.BATTERY_CHARGING),
    _status("discharging", lambda r: r.discharging),
    # Without a class, so that the states can say what a MOSFET does.
    _status("charge_mosfet", lambda r: r.charge_mosfet, None),
    _status("discharge_mosfet", lambda r: r.discharge_mosfet, None),
    # The class for heat would call a heater that runs hot.
    _status("heater", lambda r: r.heater),
    _status("current_limiting", lambda r: r.current_limiting),
)
GROUPS = tuple(
    GroupDescription(
        key=f"{group}_{level}",
        translation_key=f"{group}_{level}",
        group=group,
        level=level,
        device_class=BinarySensorDeviceClass.PROBLEM,
    )
    for group, level in dict.fromkeys((a.group, a.level) for a in ALARMS.values())
)
# What the numbers of a group's alarms count.
NUMBERED = {Group.VOLTAGE: "cells", Group.TEMPERATURE: "sensors"}
# A protection names no cell itself: it concerns those that warn at the same time.
WARNINGS = {
    "cell_over_voltage": "high_voltage_of_cell",
    "cell_under_voltage": "low_voltage_of_cell",
    "charge_over_temperature": "high_temperature_of_sensor",
    "charge_under_temperature": "low_temperature_of_sensor",
    "discharge_over_temperature": "high_temperature_of_sensor",
    "discharge_under_temperature": "low_temperature_of_sensor",
}


async def async_setup_entry(
    hass: HomeAssistant,
    entry: OpenXPBMSConfigEntry,
    async_add_entities: AddConfigEntryEntitiesCallback,
) -> None:
    """Add the binary sensors of every battery, also of those heard later."""
    coordinator = entry.runtime_data

    @callback
    def add(battery: Battery) -> None:
        async_add_entities(_binary_sensors(coordinator, battery))
        watched = coordinator.guard.of(battery)
        async_add_entities(protection_sensors(coordinator, watched))

    async_add_entities(protection_sensors(coordinator, None))
    entry.async_on_unload(coordinator.async_follow(add))


def _binary_sensors(
    coordinator: OpenXPBMSCoordinator, battery: Battery
) -> Iterator[BatteryBinarySensor]:
    yield Communication(coordinator, battery, COMMUNICATION)
    yield Balancing(coordinator, battery, BALANCING)
    if coordinator.family_name != FAMILY_SEPLOS:
        yield Alarm(coordinator, battery, ALARM)
        return
    for status in STATUS:
        yield Status(coordinator, battery, status)
    for group in GROUPS:
        yield GroupAlarm(coordinator, battery, group)


class BatteryBinarySensor(BatteryEntity, BinarySensorEntity):
    """A binary sensor of a battery."""

    def _state(self) -> tuple[Any, ...]:
        return self.available, self.is_on, self.extra_state_attributes


class Communication(BatteryBinarySensor):
    """Whether the battery answered in the last round; always available."""

    @property
    def available(self) -> bool:
        """As long as the entry is loaded: silence is a state."""
        return True

    @property
    def is_on(self) -> bool | None:
        """Unknown until the first round is over."""
        if self.battery.reading is not None:
            return True
        return None if self.battery.error is None else False

    @property
    def extra_state_attributes(self) -> dict[str, Any]:
        """Why not."""
        error = self.battery.error
        return {} if error is None else {"reason": str(error)}


class _Measured(BatteryBinarySensor):
    @property
    def available(self) -> bool:
        """Whether this battery answered in the last round."""
        return super().available and self.battery.reading is not None


class Status(_Measured):
    """Whether the battery does something now."""

    entity_description: StatusDescription

    @property
    def is_on(self) -> bool | None:
        """By its own word."""
        reading = self.battery.reading
        return None if reading is None else self.entity_description.value(reading)


class Balancing(_Measured):
    """Whether the battery bleeds cells now, and which."""

    @property
    def is_on(self) -> bool | None:
        """By its own word."""
        reading = self.battery.reading
        return None if reading is None else reading.balancing_active

    @property
    def extra_state_attributes(self) -> dict[str, Any]:
        """The numbers of the cells being bled."""
        reading = self.battery.reading
        return {"cells": list(reading.balancing or ())} if reading else {}


class Alarm(_Measured):
    """Whether the battery's own electronics report trouble, and what."""

    @property
    def is_on(self) -> bool | None:
        """By its own status word."""
        reading = self.battery.reading
        return None if reading is None else bool(reading.alarms)

    @property
    def extra_state_attributes(self) -> dict[str, Any]:
        """The names of the alarms."""
        reading = self.battery.reading
        return {"active": [a.name for a in reading.alarms or ()]} if reading else {}


class GroupAlarm(_Measured):
    """Whether the battery reports trouble of one group and level, and what."""

    entity_description: GroupDescription

    @property
    def is_on(self) -> bool | None:
        """By its own status bits."""
        reading = self.battery.reading
        return None if reading is None else bool(self._active(reading))

    @property
    def extra_state_attributes(self) -> dict[str, Any]:
        """The names of what is active, and the cells or sensors concerned."""
        reading = self.battery.reading
        if reading is None:
            return {}
        active = self._active(reading)
        attributes: dict[str, Any] = {"active": active}
        if numbered := NUMBERED.get(self.entity_description.group):
            warnings = {WARNINGS.get(name, name) for name in active}
            attributes[numbered] = sorted(
                {
                    alarm.number
                    for alarm in reading.alarms or ()
                    if alarm.number is not None and alarm.name in warnings
                }
            )
        return attributes

    def _active(self, reading: Reading) -> list[str]:
        """Return names, each once however many cells it is about."""
        group, level = self.entity_description.group, self.entity_description.level
        return list(
            dict.fromkeys(
                alarm.name
                for alarm in reading.alarms or ()
                if (alarm.group, alarm.level) == (group, level)
            )
        )
