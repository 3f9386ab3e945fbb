"""Puts the batteries on the Energy dashboard, with a week before the demo began.

That week is made up: what a battery takes by day and gives by night.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
import math
import random

from home import Home, Json

HOURS = 7 * 24
# kWh that the batteries of each bus hold.
CAPACITY = {
    "Demo bus (Valence XP bank)": 7.1,
    "Demo bus (Valence XP string)": 2.6,
    "Demo bus (Seplos V3)": 14.3,
    "Demo bus (Seplos V3 bank)": 60.3,
}
# Of it in an hour, at most.
SHARE = 0.08
LOSS = 0.05


async def add_energy(home: Home) -> None:
    """Choose all batteries as home batteries, and give them a past."""
    entries = await home.request(
        "GET", "/api/config/config_entries/entry?domain=openxpbms"
    )
    registry = await home.command("config/entity_registry/list")
    sources = []
    for entry in entries:
        entities = {
            entity["unique_id"]: entity["entity_id"]
            for entity in registry
            if entity["config_entry_id"] == entry["entry_id"]
            and not entity["disabled_by"]
        }
        capacity = CAPACITY[entry["title"]]
        source = _source(entities, entry["entry_id"], capacity)
        charged, discharged = _week(capacity, entry["title"])
        await _import(home, source["stat_energy_to"], charged)
        await _import(home, source["stat_energy_from"], discharged)
        sources.append(source)
    await home.command("energy/save_prefs", energy_sources=sources)
    print("  energy: set up, with a week that is made up", flush=True)


def _source(entities: dict[str, str], entry_id: str, capacity: float) -> Json:
    """Return what the dashboard wants of a bank, or of a battery that is alone."""
    ends = "_energy_charged"
    keys = [name.removesuffix(ends) for name in entities if name.endswith(ends)]
    key = entry_id if entry_id in keys else keys[0]
    inverted = {"stat_rate_inverted": entities[f"{key}_power"]}
    standard = entities.get(f"{key}_energy_dashboard_power")
    return {
        "type": "battery",
        "stat_energy_to": entities[f"{key}{ends}"],
        "stat_energy_from": entities[f"{key}_energy_discharged"],
        "power_config": {"stat_rate": standard} if standard else inverted,
        "stat_soc": entities[f"{key}_state_of_charge"],
        "capacity": capacity,
    }


def _week(capacity: float, seed: str) -> tuple[list[Json], list[Json]]:
    """Return the sums of what was charged and discharged, in kWh, hour by hour.

    They end at zero, where the demo's own counters begin.
    """
    chance = random.Random(seed)
    now = datetime.now(UTC).replace(minute=0, second=0, microsecond=0)
    hours = [now - timedelta(hours=back) for back in range(1, HOURS + 1)]
    skies = {day: chance.uniform(0.5, 1.0) for day in {h.date() for h in hours}}
    charged, discharged = [], []
    taken = given = 0.0
    for hour in hours:
        charged.append({"start": hour.isoformat(), "sum": -taken})
        discharged.append({"start": hour.isoformat(), "sum": -given})
        sun = -math.cos(hour.hour / 12 * math.pi)
        most = capacity * SHARE * skies[hour.date()]
        taken += most * max(sun, 0.0)
        given += most * max(-sun, 0.0) * (1 - LOSS) * chance.uniform(0.7, 1.3)
    return charged, discharged


async def _import(home: Home, statistic: str, sums: list[Json]) -> None:
    metadata = {
        "statistic_id": statistic,
        "source": "recorder",
        "name": None,
        "has_sum": True,
        "mean_type": 0,
        "unit_class": "energy",
        "unit_of_measurement": "kWh",
    }
    await home.command("recorder/import_statistics", metadata=metadata, stats=sums)
