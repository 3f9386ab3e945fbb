"""Which topic holds what; where bridges share a broker, names keep them apart."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
import re

from ..port import shown
from ..reading import Identity

ONLINE, OFFLINE = "online", "offline"


def plain(text: str) -> str:
    """Return text with only what every topic and id may hold."""
    return re.sub(r"[^A-Za-z0-9]+", "_", text).strip("_")


def bridge_name(host: str, url: str) -> str:
    """Return what a bridge is called, by the machine and the port that it is on."""
    port = shown(url).rpartition("://")[2]
    tail = port if "://" in url else port.rpartition("/")[2]
    return plain(f"{host}_{tail}")


@dataclass(frozen=True, slots=True)
class Topics:
    """The topics of one bridge.

    `prefix` is that of all bridges, `discovery` that of Home Assistant's discovery.
    """

    bridge: str
    prefix: str = "openxpbms"
    discovery: str = "homeassistant"

    @property
    def status(self) -> str:
        """Whether the bridge runs."""
        return f"{self.prefix}/{self.bridge}/status"

    @property
    def birth(self) -> str:
        """Where Home Assistant says that it has started."""
        return f"{self.discovery}/status"

    def state(self, battery: str) -> str:
        """All values of a battery, as JSON."""
        return f"{self.prefix}/{self.bridge}/{battery}/state"

    def availability(self, battery: str) -> str:
        """Whether a battery answers; "+" for those of all batteries."""
        return f"{self.prefix}/{self.bridge}/{battery}/availability"

    def config(self, battery: str) -> str:
        """What Home Assistant is told of a battery."""
        return f"{self.discovery}/device/openxpbms_{battery}/config"


def battery_ids(
    family: str, bridge: str, identities: Iterable[Identity]
) -> dict[int, str]:
    """Return the lasting id of each battery by its address.

    It is the serial number, so that history survives a new port; bridge and address
    where that is missing or not the battery's alone.
    """
    known = list(identities)
    serials = Counter(identity.serial for identity in known)
    return {
        identity.address: f"{family}_{plain(identity.serial)}"
        if identity.serial is not None and serials[identity.serial] == 1
        else f"{bridge}_{identity.address}"
        for identity in known
    }
