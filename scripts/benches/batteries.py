"""Virtual batteries for measurements: who they are, at rest and under load."""

from __future__ import annotations

from collections.abc import Callable
import random
from typing import Any

from custom_components.openxpbms.bms.reading import Identity
from custom_components.openxpbms.bms.virtual import VirtualModule, VirtualPack
from custom_components.openxpbms.bms.virtual.seplos import STANDBY

MODULE_TURNAROUND = 0.002
PACK_TURNAROUND = 0.01

_chance = random.Random(1)


def modules(count: int, **more: Any) -> list[VirtualModule]:
    """Return Valence modules 1 to `count`."""
    return [
        VirtualModule(n, serial=f"1044{n:05d}", turnaround=MODULE_TURNAROUND, **more)
        for n in range(1, count + 1)
    ]


def packs(count: int, **more: Any) -> list[VirtualPack]:
    """Return Seplos packs, from address 0."""
    return [
        VirtualPack(n, serial=f"SP57B-A{n:010d}", turnaround=PACK_TURNAROUND, **more)
        for n in range(count)
    ]


def identity(battery: VirtualModule | VirtualPack) -> Identity:
    """Return what a search would tell of a battery."""
    if isinstance(battery, VirtualModule):
        return Identity(
            address=battery.address,
            serial=battery.serial,
            model="U27-12XP",
            model_code=battery.model,
            revision=battery.revision,
            cells=battery.cells,
        )
    return Identity(
        address=battery.address,
        serial=battery.serial,
        model=battery.device,
        model_code=battery.device,
        firmware="1.5",
        cells=battery.cells,
        sensors=battery.sensors,
        board=battery.board,
    )


type Weather = Callable[[Any, float], None]


def resting(battery: VirtualModule | VirtualPack, _: float) -> None:
    """Current that flickers about 0, temperatures between two steps, cells at rest."""
    battery.current = _chance.choice((0.0, 0.0, 0.05, -0.05, 0.1, -0.1))
    for number in range(len(battery.cell_temperatures)):
        battery.cell_temperatures[number] = _chance.choice((20.0, 20.1))
    if isinstance(battery, VirtualPack):
        battery.flags = STANDBY


def working(battery: VirtualModule | VirtualPack, _: float) -> None:
    """Charging with noise on everything, and SOC that rises."""
    battery.current = round(_chance.gauss(40, 1), 2)
    for number in range(len(battery.cell_voltages)):
        battery.cell_voltages[number] = round(_chance.gauss(3.35, 0.002), 3)
    for number in range(len(battery.cell_temperatures)):
        battery.cell_temperatures[number] = round(_chance.gauss(25, 0.1), 2)
    battery.soc = min(100.0, battery.soc + 0.005)


WEATHER: dict[str, Weather] = {"at rest": resting, "under load": working}
