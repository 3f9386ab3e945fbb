"""What tests of writes share: a pack that may be written to, and who asks for it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any
from unittest.mock import patch

from homeassistant.core import Context, Event, HomeAssistant
from homeassistant.exceptions import HomeAssistantError
from homeassistant.helpers import device_registry as dr
from homeassistant.helpers.translation import async_get_translations
import pytest
from pytest_homeassistant_custom_component.common import MockConfigEntry

from custom_components.openxpbms.bms import seplos_writes
from custom_components.openxpbms.bms.families import KINDS
from custom_components.openxpbms.bms.virtual.line import VirtualLine
from custom_components.openxpbms.bms.virtual.seplos import VirtualPack
from custom_components.openxpbms.const import DOMAIN
from custom_components.openxpbms.write_log import Record
from custom_components.openxpbms.writes import EVENT_WRITE, Writes

from .guarding import Clock, a_person, pack_identity
from .test_seplos_flow import seplos_entry

ALARM = "battery_low_voltage_alarm"
REGISTER = 0x1307
# The example of the README.
README = {"parameter": ALARM, "value": 45.0}
SERIAL = "SP57B-A0000000001"


@contextmanager
def quickly() -> Iterator[Clock]:
    """Neither listen for a minute nor wait for a pack to settle; let time jump.

    Packs have half a second to answer, so that a slow machine changes nothing.
    """
    clock = Clock()
    patient = replace(KINDS["seplos"], answer=500)
    with (
        patch.dict(KINDS, seplos=patient),
        patch.object(seplos_writes, "QUIET", 0.0),
        patch.object(seplos_writes, "SETTLING", 0.01),
        patch("custom_components.openxpbms.writes.monotonic", clock),
    ):
        yield clock


@dataclass
class Bench:
    """A pack in Home Assistant, and a person who changes its parameters."""

    hass: HomeAssistant
    line: VirtualLine
    pack: VirtualPack
    entry: MockConfigEntry
    person: Context
    events: list[Event] = field(default_factory=list)

    @property
    def writes(self) -> Writes:
        """The writes of the entry."""
        writes: Writes = self.entry.runtime_data.writes
        return writes

    @property
    def records(self) -> list[Record]:
        """What the log has."""
        return self.writes.log.records

    @property
    def steps(self) -> list[str]:
        """The steps that the log has."""
        return [record.step.value for record in self.records]

    @property
    def sent(self) -> list[bytes]:
        """The writes that went over the line."""
        return [frame for frame in self.line.frames if frame[1] == 16]

    @property
    def word(self) -> int:
        """What is in the register of the example."""
        return self.pack.parameters[REGISTER]

    def device_id(self, pack: VirtualPack | None = None) -> str:
        """Return the device of a pack."""
        serial = SERIAL if pack is None else pack.serial
        return device_of(self.hass, self.entry, f"seplos_{serial}")

    async def act(
        self, action: str, *, by: Context | None = None, **data: Any
    ) -> dict[str, Any]:
        """Call an action as the person, or as somebody else, and return its answer."""
        response = await self.hass.services.async_call(
            DOMAIN,
            action,
            {"device_id": self.device_id(), **data},
            blocking=True,
            return_response=True,
            context=by or self.person,
        )
        assert response is not None
        return dict(response)

    async def prepare(self, **data: Any) -> dict[str, Any]:
        """Prepare a change, the README's where nothing else is said."""
        return await self.act("prepare_parameter_write", **{**README, **data})

    async def confirm(self, offer: dict[str, Any], **more: Any) -> dict[str, Any]:
        """Confirm what was prepared."""
        return await self.act("confirm_parameter_write", code=offer["code"], **more)

    async def change(self, **data: Any) -> dict[str, Any]:
        """Prepare and confirm."""
        return await self.confirm(await self.prepare(**data))

    async def refused(self, doing: Awaitable[Any]) -> str:
        """Return why something is refused; its text must be complete."""
        with pytest.raises(HomeAssistantError) as refusal:
            await doing
        err = refusal.value
        assert err.translation_key is not None
        texts = await async_get_translations(self.hass, "en", "exceptions", [DOMAIN])
        text = texts[f"component.{DOMAIN}.exceptions.{err.translation_key}.message"]
        assert text.format(**err.translation_placeholders or {})
        return err.translation_key

    async def refresh(self) -> None:
        """Let the bus be asked now."""
        await self.entry.runtime_data.async_refresh()
        await self.settle()

    async def settle(self) -> None:
        """Wait for what runs in the background, too."""
        await self.hass.async_block_till_done(wait_background_tasks=True)


def device_of(hass: HomeAssistant, entry: Any, key: str) -> str:
    """Return the device of a key."""
    device = dr.async_get(hass).async_get_device_by_identifier(
        (DOMAIN, key), entry.entry_id
    )
    assert device is not None, key
    return device.id


type MakeBench = Callable[..., Awaitable[Bench]]


@pytest.fixture
def clock() -> Iterator[Clock]:
    """The clock of codes."""
    with quickly() as clock:
        yield clock


@pytest.fixture
def make_bench(hass: HomeAssistant, make_line: Any, clock: Clock) -> MakeBench:
    """Set an entry up for a pack, and others on its line."""

    async def make(
        *others: VirtualPack,
        mode: str = "ask",
        options: dict[str, Any] | None = None,
        **settings: Any,
    ) -> Bench:
        pack = VirtualPack(**settings)
        packs = (pack, *others)
        line = await make_line(*packs)
        entry = await seplos_entry(
            hass,
            line.path,
            *map(pack_identity, packs),
            mode=mode,
            options={"writes": True, "interval": 300, **(options or {})},
        )
        bench = Bench(hass, line, pack, entry, await a_person(hass))
        hass.bus.async_listen(EVENT_WRITE, bench.events.append)
        return bench

    return make


class Pause:
    """Holds a write up between its frame and its read-back, until a test goes on."""

    def __init__(self) -> None:
        self._look = seplos_writes.Writer._look
        self.reached = asyncio.Event()
        self.go_on = asyncio.Event()

    @contextmanager
    def between(self) -> Iterator[Pause]:
        """Stop between the write and its read-back."""
        pause = self

        async def look(writer: Any, *args: Any) -> Any:
            pause.reached.set()
            await pause.go_on.wait()
            return await pause._look(writer, *args)

        with patch.object(seplos_writes.Writer, "_look", look):
            yield pause
            pause.go_on.set()
