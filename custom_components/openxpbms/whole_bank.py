"""The batteries of a bus taken together, joined as its entry says."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from .batteries import identities
from .bms.outputs import Joined, Outputs
from .bms.possible import CELL_TEMPERATURES, CELLS, CURRENT, SOC, VOLTAGE
from .bms.time_left import TimeLeft
from .bms.totals import Part, Totals, totals
from .bms.valence import capacity_of
from .const import (
    CONF_BANK,
    CONF_CAPACITY,
    CONF_FAMILY,
    CONF_JOINED,
    CONF_MODE,
    CONF_OUTPUTS,
    CONF_WITHOUT_SILENT,
    FAMILY_VALENCE,
    MODE_LISTEN,
)
from .guard_options import hands_of, interval_of

if TYPE_CHECKING:
    from homeassistant.config_entries import ConfigEntry

    from .bms.reading import Reading
    from .bms.rounds import Battery
    from .coordinator import OpenXPBMSConfigEntry, OpenXPBMSCoordinator

# The key of the bank among those of its batteries, which are longer.
BANK = "bank"
# What a round takes at least, with its start on a fraction of a second, s.
ROUND = 1.0


def joined_of(entry: ConfigEntry[Any]) -> Outputs | None:
    """Return the outputs that say how the batteries are joined, None where nobody did.

    The packs of a bank with its own master are linked in parallel.
    """
    if CONF_JOINED in entry.options.get(CONF_OUTPUTS, {}):
        return hands_of(entry).outputs
    if len(identities(entry.data)) == 1:
        return Outputs()
    if entry.data.get(CONF_MODE) == MODE_LISTEN:
        return Outputs(joined=Joined.PARALLEL)
    return None


# What is taken out of a reading where it cannot be.
_CHECKS = (
    ("voltage", VOLTAGE),
    ("current", CURRENT),
    ("soc", SOC),
    ("cell_voltages", CELLS),
    ("cell_temperatures", CELL_TEMPERATURES),
)


def believed(reading: Reading) -> Reading:
    """Return a reading without what is physically impossible."""
    wrong = {name: None for name, possible in _CHECKS if not possible.holds(reading)}
    return replace(reading, **wrong) if wrong else reading


class WholeBank:
    """What the batteries of an entry are together."""

    def __init__(
        self, entry: OpenXPBMSConfigEntry, coordinator: OpenXPBMSCoordinator
    ) -> None:
        """Begin with nothing known."""
        self._entry = entry
        self._coordinator = coordinator
        chosen = entry.options.get(CONF_BANK, {})
        self._without_silent: bool = chosen.get(CONF_WITHOUT_SILENT, False)
        self._capacity: float | None = chosen.get(CONF_CAPACITY)
        self._readings: tuple[Any, ...] | None = None
        self._totals = Totals()
        self._times: dict[str, TimeLeft] = {}

    @property
    def signed(self) -> bool:
        """Whether it is settled which way the current counts."""
        return self._coordinator.guard.limits.signed

    @property
    def gap(self) -> float:
        """The s after which two readings are more than two rounds apart."""
        took = max(self._coordinator.round_time or 0.0, ROUND)
        return 2 * (interval_of(self._entry.options) + took)

    @property
    def totals(self) -> Totals:
        """What the batteries are together now."""
        readings = tuple(battery.reading for battery in self._coordinator)
        if readings != self._readings:
            self._readings = readings
            self._totals = totals(
                [self.part(battery) for battery in self._coordinator],
                joined_of(self._entry),
                without_silent=self._without_silent,
            )
        return self._totals

    @property
    def heard_at(self) -> float:
        """When the last of the batteries that are heard was heard, monotonic s."""
        heard = (b.read_at for b in self._coordinator if b.reading is not None)
        return max((at for at in heard if at is not None), default=0.0)

    def part(self, battery: Battery) -> Part:
        """Return a battery as part of its bank."""
        identity = battery.identity
        rated = self._capacity
        # Seplos packs tell it themselves.
        if rated is None and self._entry.data[CONF_FAMILY] == FAMILY_VALENCE:
            rated = capacity_of(identity.model_code)
        return Part(
            address=identity.address,
            reading=battery.reading and believed(battery.reading),
            rated=rated,
            cells=identity.cells,
        )

    def follow(self) -> None:
        """Follow the currents of a round."""
        for battery in self._coordinator:
            if battery.reading is not None:
                key, at = self._coordinator.key_of(battery), battery.read_at
                self._follow(key, believed(battery.reading).current, at or 0.0)
        self._follow(BANK, self.totals.current, self.heard_at)

    def _follow(self, key: str, current: float | None, at: float) -> None:
        if current is not None:
            self._times.setdefault(key, TimeLeft()).add(current, at, gap=self.gap)

    def time_left(self, key: str) -> TimeLeft:
        """Return the time left of a battery by its key, or of the BANK."""
        return self._times.get(key) or TimeLeft()
