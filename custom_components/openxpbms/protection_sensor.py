"""Binary sensors of protection: one for each quantity and level, and their sums."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from homeassistant.components.binary_sensor import (
    BinarySensorEntity,
    BinarySensorEntityDescription,
)
from homeassistant.components.binary_sensor.const import BinarySensorDeviceClass

from .bms.decision import Severity
from .bms.limits import Limit, Quantity
from .guard_entity import GuardEntity, told

if TYPE_CHECKING:
    from .bms.decision import Finding
    from .coordinator import OpenXPBMSCoordinator
    from .guard import Guard, Watched

_PROBLEM = BinarySensorDeviceClass.PROBLEM
_SAFETY = BinarySensorDeviceClass.SAFETY
_HEAT = BinarySensorDeviceClass.HEAT
_COLD = BinarySensorDeviceClass.COLD


@dataclass(frozen=True, kw_only=True)
class FoundDescription(BinarySensorEntityDescription):
    """Whether a quantity is found at a level."""

    quantity: Quantity
    severity: Severity


@dataclass(frozen=True, kw_only=True)
class SumDescription(BinarySensorEntityDescription):
    """What protection allows a battery, or a bus by all its batteries.

    `of_all` is whether all batteries must agree.
    """

    value: Callable[[Guard, Watched], bool]
    of_all: bool = False


def _found(
    key: str,
    quantity: Quantity,
    severity: Severity,
    device_class: BinarySensorDeviceClass,
) -> FoundDescription:
    return FoundDescription(
        key=key,
        translation_key=key,
        quantity=quantity,
        severity=severity,
        device_class=device_class,
    )


_WARNING, _STOP, _CUTOFF = Severity
FOUND = (
    _found("cell_voltage_high", Quantity.CELL_OVER_VOLTAGE, _WARNING, _PROBLEM),
    _found("cell_over_voltage", Quantity.CELL_OVER_VOLTAGE, _STOP, _SAFETY),
    _found("cell_over_voltage_cutoff", Quantity.CELL_OVER_VOLTAGE, _CUTOFF, _SAFETY),
    _found("cell_voltage_low", Quantity.CELL_UNDER_VOLTAGE, _WARNING, _PROBLEM),
    _found("cell_under_voltage", Quantity.CELL_UNDER_VOLTAGE, _STOP, _SAFETY),
    _found("cell_under_voltage_cutoff", Quantity.CELL_UNDER_VOLTAGE, _CUTOFF, _SAFETY),
    _found("cell_deep_discharge", Quantity.CELL_DEEP_DISCHARGE, _STOP, _SAFETY),
    _found("cell_temperature_high", Quantity.CELL_OVER_TEMPERATURE, _WARNING, _HEAT),
    _found("cell_over_temperature", Quantity.CELL_OVER_TEMPERATURE, _STOP, _HEAT),
    _found(
        "cell_over_temperature_cutoff", Quantity.CELL_OVER_TEMPERATURE, _CUTOFF, _HEAT
    ),
    _found(
        "electronics_temperature_high",
        Quantity.ELECTRONICS_OVER_TEMPERATURE,
        _WARNING,
        _HEAT,
    ),
    _found(
        "electronics_over_temperature",
        Quantity.ELECTRONICS_OVER_TEMPERATURE,
        _STOP,
        _HEAT,
    ),
    _found(
        "electronics_over_temperature_cutoff",
        Quantity.ELECTRONICS_OVER_TEMPERATURE,
        _CUTOFF,
        _HEAT,
    ),
    _found("cell_temperature_low", Quantity.CELL_UNDER_TEMPERATURE, _WARNING, _COLD),
    _found("cell_under_temperature", Quantity.CELL_UNDER_TEMPERATURE, _STOP, _COLD),
    _found("charge_current_high", Quantity.CHARGE_OVER_CURRENT, _WARNING, _PROBLEM),
    _found("charge_over_current", Quantity.CHARGE_OVER_CURRENT, _STOP, _SAFETY),
    _found(
        "discharge_current_high", Quantity.DISCHARGE_OVER_CURRENT, _WARNING, _PROBLEM
    ),
    _found("discharge_over_current", Quantity.DISCHARGE_OVER_CURRENT, _STOP, _SAFETY),
    _found("cell_spread_high", Quantity.CELL_SPREAD, _WARNING, _PROBLEM),
    _found("cell_spread", Quantity.CELL_SPREAD, _STOP, _SAFETY),
    _found("soc_low", Quantity.LOW_SOC, _WARNING, _PROBLEM),
    _found("silence", Quantity.SILENCE, _STOP, _SAFETY),
    _found("sensor_fault", Quantity.SENSOR_FAULT, _STOP, _SAFETY),
    _found("reported_fault", Quantity.REPORTED_FAULT, _STOP, _SAFETY),
    _found("reported_warning", Quantity.REPORTED_WARNING, _WARNING, _PROBLEM),
    _found("stop_without_effect", Quantity.STOP_WITHOUT_EFFECT, _CUTOFF, _SAFETY),
    _found("state_lost", Quantity.STATE_LOST, _STOP, _SAFETY),
)
# Their field of Limit, where it may be set; without a figure nobody needs the entity.
_FIGURE = {_WARNING: "warning", _STOP: "stop", _CUTOFF: "cutoff"}


def _has_relay_fault(guard: Guard, watched: Watched) -> bool:
    latched = any(
        finding.quantity is Quantity.RELAY_FAULT
        for finding in watched.decision.findings
    )
    return latched or bool(guard.relay_faults(watched))


SUMS = (
    SumDescription(
        key="protection",
        translation_key="protection",
        device_class=_SAFETY,
        value=lambda _, watched: any(f.stops for f in watched.decision.findings),
    ),
    SumDescription(
        key="charge_allowed",
        translation_key="charge_allowed",
        value=lambda _, watched: watched.decision.may_charge,
        of_all=True,
    ),
    SumDescription(
        key="discharge_allowed",
        translation_key="discharge_allowed",
        value=lambda _, watched: watched.decision.may_discharge,
        of_all=True,
    ),
    SumDescription(
        key="relay_fault",
        translation_key="relay_fault",
        device_class=_PROBLEM,
        value=_has_relay_fault,
    ),
)


def protection_sensors(
    coordinator: OpenXPBMSCoordinator, watched: Watched | None
) -> Iterator[GuardEntity]:
    """Yield the binary sensors of a battery, or of the bus where none is given."""
    for found in FOUND:
        yield Found(coordinator, watched, found)
    for each in SUMS:
        yield Sum(coordinator, watched, each)


class _ProtectionSensor(GuardEntity, BinarySensorEntity):
    def __init__(
        self,
        coordinator: OpenXPBMSCoordinator,
        watched: Watched | None,
        description: BinarySensorEntityDescription,
    ) -> None:
        """Take a battery, or all of them."""
        super().__init__(coordinator, watched, description)
        self.watched = watched

    def _state(self) -> Any:
        return self.is_on, self.extra_state_attributes

    @property
    def _batteries(self) -> list[Watched]:
        return list(self.guard) if self.watched is None else [self.watched]

    def _names(self, some: list[Watched]) -> list[str]:
        return [self.guard.name_of(watched) for watched in some]


class Found(_ProtectionSensor):
    """Whether a quantity is beyond one of its limits."""

    entity_description: FoundDescription

    def __init__(
        self,
        coordinator: OpenXPBMSCoordinator,
        watched: Watched | None,
        description: FoundDescription,
    ) -> None:
        """Stay out of sight where no limit is set."""
        super().__init__(coordinator, watched, description)
        limit = coordinator.guard.limits[description.quantity]
        figure = getattr(limit, _FIGURE[description.severity])
        self._attr_entity_registry_enabled_default = (
            limit == Limit() or figure is not None
        )

    def _finding(self, watched: Watched) -> Finding | None:
        described = self.entity_description
        wanted = described.quantity, described.severity
        findings = watched.decision.findings
        return next((f for f in findings if (f.quantity, f.severity) == wanted), None)

    @property
    def is_on(self) -> bool:
        """Whether it is found."""
        return any(self._finding(watched) for watched in self._batteries)

    @property
    def extra_state_attributes(self) -> dict[str, Any]:
        """What raised it, or whom it concerns."""
        if self.watched is not None:
            finding = self._finding(self.watched)
            return {} if finding is None else told(finding)
        concerned = [watched for watched in self._batteries if self._finding(watched)]
        return {"batteries": self._names(concerned)}


class Sum(_ProtectionSensor):
    """What all findings together mean."""

    entity_description: SumDescription

    @property
    def is_on(self) -> bool:
        """Whether it is so for the battery, or for the bus."""
        described = self.entity_description
        values = [described.value(self.guard, each) for each in self._counting]
        return bool(values) and all(values) if described.of_all else any(values)

    @property
    def _counting(self) -> list[Watched]:
        if self.watched is not None or not self.entity_description.of_all:
            return self._batteries
        # A battery that is cut off has no vote.
        voting = self.guard.plan.voting
        return [watched for watched in self._batteries if watched.address in voting]

    @property
    def extra_state_attributes(self) -> dict[str, Any]:
        """Why: the findings of a battery, or whom it concerns on the bus."""
        described = self.entity_description
        if self.watched is None:
            concerned = [
                watched
                for watched in self._counting
                if described.value(self.guard, watched) is not described.of_all
            ]
            return {"batteries": self._names(concerned)}
        if described.key == "relay_fault":
            return {"relays": self.guard.relay_faults(self.watched)}
        stops = [f for f in self.watched.decision.findings if f.stops]
        return {"stops": [told(finding) for finding in stops]}
