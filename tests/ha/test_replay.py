"""A report becomes a test: downloads of a real Home Assistant, read once more."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
import random
from typing import Any

from homeassistant.core import HomeAssistant
from homeassistant.setup import async_setup_component
from pytest_homeassistant_custom_component.typing import ClientSessionGenerator
from typer.testing import CliRunner

from custom_components.openxpbms.bms.cli.app import app
from custom_components.openxpbms.bms.cli.reread import as_told, compared, read_again
from custom_components.openxpbms.bms.virtual import VirtualBank, VirtualLine
from custom_components.openxpbms.bms.virtual.replay import Replay, read_download
from custom_components.openxpbms.bms.virtual.seplos import VirtualPack
from custom_components.openxpbms.bms.virtual.valence import VirtualModule

from ..bms.conftest import scramble, until
from .conftest import MakeEntry, MakeLine, identity
from .test_seplos_flow import pack_identity, seplos_entry

SERIALS = ("104410461", "104410462", "104410463")


async def downloaded(
    hass: HomeAssistant, hass_client: ClientSessionGenerator, entry: Any
) -> str:
    """Download the diagnostics as a person does."""
    assert await async_setup_component(hass, "diagnostics", {})
    client = await hass_client()
    response = await client.get(f"/api/diagnostics/config_entry/{entry.entry_id}")
    assert response.status == 200
    return await response.text()


async def replayed(text: str) -> tuple[dict[int, Any], dict[int, Any], Replay]:
    """Return the readings of a download, the same read again, and what replayed it."""
    recording = read_download(json.loads(text))
    replay = Replay(recording)
    async with VirtualLine([replay], strict=False) as line:
        read = await read_again(recording, line.path, replay)
    then = {told.identity.address: told.reading for told in recording.batteries}
    return then, {address: as_told(now) for address, now in read.items()}, replay


async def test_modules(
    hass: HomeAssistant,
    hass_client: ClientSessionGenerator,
    socket_enabled: None,
    make_line: MakeLine,
    make_entry: MakeEntry,
) -> None:
    modules = [VirtualModule(n, serial=serial) for n, serial in enumerate(SERIALS, 1)]
    line = await make_line(*modules)
    entry = await make_entry(line.path, *map(identity, modules))
    chance = random.Random(1)
    for count in range(20):
        for module in modules:
            scramble(module, chance)
        modules[1].silent = 8 < count < 12
        modules[2].silent = count > 16
        await entry.runtime_data.async_refresh()
    text = await downloaded(hass, hass_client, entry)
    assert not any(serial in text for serial in SERIALS)
    then, now, _ = await replayed(text)
    assert then[1] is not None
    assert then[3] is None
    assert now == then


async def test_an_asked_pack(
    hass: HomeAssistant,
    hass_client: ClientSessionGenerator,
    socket_enabled: None,
    make_line: MakeLine,
) -> None:
    pack = VirtualPack(serial="SP57B-A0000077001")
    line = await make_line(pack)
    entry = await seplos_entry(hass, line.path, pack_identity(0, pack.serial))
    for volts in range(3300, 3345):
        pack.cell_voltages[5] = volts / 1000
        pack.current += 0.5
        await entry.runtime_data.async_refresh()
    text = await downloaded(hass, hass_client, entry)
    assert pack.serial not in text
    then, now, _ = await replayed(text)
    assert then[0]["cell_voltages"][5] == 3.344
    assert now == then
    # The first of them are gone: with them, what the pack told of its serial number.
    assert len(json.loads(text)["data"]["frames"]) == 200


async def test_a_listened_bank(
    hass: HomeAssistant,
    hass_client: ClientSessionGenerator,
    socket_enabled: None,
    make_line: MakeLine,
) -> None:
    packs = [VirtualPack(serial=f"SP57B-A000007700{n}") for n in range(1, 4)]
    line = await make_line(VirtualBank(packs), real_time=True)
    known = [pack_identity(n, pack.serial) for n, pack in enumerate(packs, 1)]
    entry = await seplos_entry(hass, line.path, *known, mode="listen")
    batteries = list(entry.runtime_data)
    for soc in (61.0, 62.0, 63.0):
        for pack in packs:
            pack.soc = soc + pack.address / 10
        now = {soc + pack.address / 10 for pack in packs}
        await until(lambda now=now: {b.reading.soc for b in batteries} == now, 20)  # type: ignore[misc]
    text = await downloaded(hass, hass_client, entry)
    assert not any(pack.serial in text for pack in packs)
    then, now, replay = await replayed(text)
    assert {told["soc"] for told in then.values()} == {63.1, 63.2, 63.3}
    assert now == then
    assert not replay.requests


async def test_the_command(
    hass: HomeAssistant,
    hass_client: ClientSessionGenerator,
    socket_enabled: None,
    make_line: MakeLine,
    make_entry: MakeEntry,
    tmp_path: Path,
) -> None:
    module = VirtualModule(1, serial=SERIALS[0])
    line = await make_line(module)
    entry = await make_entry(line.path, identity(module))
    file = tmp_path / "download.json"
    text = await downloaded(hass, hass_client, entry)
    await asyncio.to_thread(file.write_text, text, "utf-8")
    words = ["replay", str(file), "--read"]
    result = await asyncio.to_thread(CliRunner().invoke, app, words)
    assert result.exit_code == 0
    assert "frames on /dev/" in result.stdout
    assert "cell_voltages: [3.3, 3.301, 3.302, 3.303]" in result.stdout
    assert "!" not in result.stdout

    told = "\n".join(compared(read_download(json.loads(text)), {1: None}))
    assert "battery 1: no whole reading" in told
    assert "! soc: None, then 80.0" in told
