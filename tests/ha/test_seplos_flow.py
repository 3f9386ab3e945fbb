"""Seplos packs set up, asked or listened to, and changed from one to the other."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial
from typing import Any
from unittest.mock import patch

from homeassistant.core import HomeAssistant
from homeassistant.data_entry_flow import FlowResultType
from homeassistant.helpers import device_registry as dr
from homeassistant.helpers import entity_registry as er
from homeassistant.helpers import issue_registry as ir
from homeassistant.setup import async_setup_component
import pytest
from pytest_homeassistant_custom_component.common import MockConfigEntry
from pytest_homeassistant_custom_component.typing import ClientSessionGenerator

from custom_components.openxpbms.batteries import keys, stored
from custom_components.openxpbms.bms.reading import Identity
from custom_components.openxpbms.bms.virtual.seplos import (
    Intruder,
    VirtualBank,
    VirtualPack,
)
from custom_components.openxpbms.const import DOMAIN
from custom_components.openxpbms.search import fresh_packs

from .conftest import MakeLine, first_round, go_on, port_input, start_flow
from .option_pages import answer, open_page


def seplos(path: str, mode: str = "auto", addresses: str = "") -> dict[str, Any]:
    """Return the port form, filled in for Seplos packs."""
    return port_input(path, addresses, family="seplos", mode=mode)


def pack_identity(address: int, serial: str | None, **more: Any) -> Identity:
    """Return what a search would tell of a virtual pack."""
    return Identity(
        address=address,
        serial=serial,
        model="SG16S200A-SP57B-A",
        model_code="SG16S200A-SP57B-A",
        firmware="1.5",
        cells=16,
        sensors=4,
        board=200,
        **more,
    )


async def seplos_entry(
    hass: HomeAssistant,
    path: str,
    *identities: Identity,
    mode: str = "ask",
    options: dict[str, Any] | None = None,
) -> MockConfigEntry:
    """Set an entry up, the first round included."""
    entry = MockConfigEntry(
        domain=DOMAIN,
        title="Shed",
        data={
            "device": path,
            "family": "seplos",
            "mode": mode,
            "board": 200,
            "batteries": stored(identities),
        },
        options={"interval": 1, **(options or {})},
    )
    entry.add_to_hass(hass)
    assert await hass.config_entries.async_setup(entry.entry_id)
    await first_round(hass, entry)
    return entry


async def refresh(hass: HomeAssistant, entry: Any) -> None:
    """Do one round now."""
    await entry.runtime_data.async_refresh()
    await hass.async_block_till_done()


async def rounds_until(
    hass: HomeAssistant, entry: Any, done: Callable[[], object]
) -> None:
    """Do rounds until something has come about."""
    async with asyncio.timeout(20):
        while not done():
            await asyncio.sleep(0.05)
            await refresh(hass, entry)


def read(entry: Any) -> int:
    """Return how many batteries have a reading."""
    return sum(battery.reading is not None for battery in entry.runtime_data)


def offered(hass: HomeAssistant, entry: Any) -> bool:
    """Return whether listening is offered in place of asking."""
    issues = ir.async_get(hass)
    return bool(issues.async_get_issue(DOMAIN, f"bank_heard_{entry.entry_id}"))


def state(hass: HomeAssistant, key: str, platform: str = "sensor") -> str:
    """Return the state of an entity by its unique id."""
    entity_id = er.async_get(hass).async_get_entity_id(platform, DOMAIN, key)
    assert entity_id is not None, key
    found = hass.states.get(entity_id)
    assert found is not None, entity_id
    return found.state


@pytest.mark.parametrize("address", [0, 5])
async def test_a_lone_pack_is_found_and_read(
    hass: HomeAssistant, make_line: MakeLine, address: int
) -> None:
    pack = VirtualPack(address, serial="SP57B-A0000000001", current=12.34)
    line = await make_line(pack)
    result = await start_flow(hass, "port")
    result = await go_on(hass, result, seplos(line.path))
    assert result["step_id"] == "found"
    result = await go_on(hass, result, {"batteries": [str(address)]})
    assert result["type"] is FlowResultType.CREATE_ENTRY
    assert result["data"]["mode"] == "ask"
    [battery] = result["data"]["batteries"]
    assert battery["serial"] == "SP57B-A0000000001"
    assert (battery["cells"], battery["sensors"], battery["board"]) == (16, 4, 200)
    await first_round(hass, result["result"])
    assert float(state(hass, "seplos_SP57B-A0000000001_current")) == 12.34
    assert line.complaints == []


async def test_asking_may_be_chosen_for_a_lone_pack(
    hass: HomeAssistant, make_line: MakeLine
) -> None:
    line = await make_line(VirtualPack(0, serial="A1"))
    result = await start_flow(hass, "port")
    result = await go_on(hass, result, seplos(line.path, "ask"))
    result = await go_on(hass, result, {"batteries": ["0"]})
    assert result["options"] == {"mode": "ask"}


async def test_a_bank_is_only_listened_to(
    hass: HomeAssistant, make_line: MakeLine
) -> None:
    packs = [VirtualPack(number, soc=50.0 + number) for number in range(1, 5)]
    line = await make_line(VirtualBank(packs))
    with patch("custom_components.openxpbms.search.LISTEN", 0.6):
        result = await start_flow(hass, "port")
        result = await go_on(hass, result, seplos(line.path))
    assert result["step_id"] == "bank"
    told = result["description_placeholders"]["packs"]
    assert told.count("\n") == 3
    assert "16S" in told
    result = await go_on(hass, result, {"board": 200})
    assert result["type"] is FlowResultType.CREATE_ENTRY
    entry = result["result"]
    assert entry.data["mode"] == "listen"
    await first_round(hass, entry)
    for number in range(1, 5):
        soc = state(hass, f"{entry.entry_id}_{number}_state_of_charge")
        assert float(soc) == 50.0 + number
    assert line.bytes_received == 0


async def test_asking_cannot_be_forced_onto_a_bank(
    hass: HomeAssistant, make_line: MakeLine
) -> None:
    line = await make_line(VirtualBank([VirtualPack(1), VirtualPack(2)]))
    with patch("custom_components.openxpbms.search.LISTEN", 0.6):
        result = await start_flow(hass, "port")
        result = await go_on(hass, result, seplos(line.path, "ask"))
    assert result["step_id"] == "foreign"
    assert line.bytes_received == 0


async def test_there_must_be_something_to_listen_to(
    hass: HomeAssistant, make_line: MakeLine
) -> None:
    line = await make_line(VirtualPack(0))
    result = await start_flow(hass, "port")
    result = await go_on(hass, result, seplos(line.path, "listen"))
    assert result["step_id"] == "unheard"
    result = await go_on(hass, result, {"next_step_id": "listen_again"})
    assert result["step_id"] == "unheard"
    assert line.bytes_received == 0


async def test_noise_is_not_scanned_over_when_only_listening(
    hass: HomeAssistant, make_line: MakeLine
) -> None:
    line = await make_line()
    result = await start_flow(hass, "port")
    babble = asyncio.get_running_loop().call_later(0.1, line.inject, b"\x55" * 40)
    result = await go_on(hass, result, seplos(line.path, "listen"))
    babble.cancel()
    assert result["step_id"] == "noise"
    assert "scan" not in result["menu_options"]


async def test_a_byte_bridge_will_do(hass: HomeAssistant) -> None:
    result = await start_flow(hass, "port")
    with patch("serialx.create_serial_connection", side_effect=OSError("down")):
        result = await go_on(hass, result, seplos("socket://192.0.2.1:4000"))
    assert result["errors"] == {"base": "port_unreachable"}


async def test_addresses_of_packs(hass: HomeAssistant) -> None:
    result = await start_flow(hass, "port")
    result = await go_on(hass, result, seplos("/dev/null", addresses="0-128"))
    assert result["errors"] == {"base": "bad_addresses"}
    assert result["description_placeholders"] == {"low": "0", "high": "127"}


@pytest.mark.parametrize(
    ("what", "count", "url", "step"),
    [
        ("seplos", 1, "openxpbms-demo://seplos?packs=1", "found"),
        ("seplos", 2, "openxpbms-demo://seplos?packs=2", "found"),
        ("seplos_bank", 2, "openxpbms-demo://seplos?packs=2&mode=bank", "bank"),
    ],
)
async def test_demo_packs(
    hass: HomeAssistant, what: str, count: int, url: str, step: str
) -> None:
    with patch("custom_components.openxpbms.search.LISTEN", 1.0):
        result = await start_flow(hass, "demo")
        result = await go_on(hass, result, {"family": what, "modules": count})
    assert result["step_id"] == step
    answer = (
        {"board": 200}
        if step == "bank"
        else {"batteries": result["data_schema"]({})["batteries"]}
    )
    result = await go_on(hass, result, answer)
    assert result["data"]["device"] == url
    assert len(result["data"]["batteries"]) == count
    await hass.async_block_till_done()
    assert await hass.config_entries.async_unload(result["result"].entry_id)


@pytest.mark.parametrize(
    ("what", "count", "low", "high"),
    [("seplos", 17, "1", "16"), ("seplos_bank", 1, "2", "16")],
)
async def test_a_demo_has_its_limits(
    hass: HomeAssistant, what: str, count: int, low: str, high: str
) -> None:
    result = await start_flow(hass, "demo")
    result = await go_on(hass, result, {"family": what, "modules": count})
    assert result["errors"] == {"modules": "demo_count"}
    assert result["description_placeholders"] == {"low": low, "high": high}


async def test_sixteen_packs_are_heard_and_not_a_byte_is_sent(
    hass: HomeAssistant, make_line: MakeLine
) -> None:
    packs = [VirtualPack(n, soc=30.0 + n, current=n - 8.0) for n in range(1, 17)]
    line = await make_line(VirtualBank(packs), real_time=True)
    entry = await seplos_entry(hass, line.path, mode="listen")
    await rounds_until(hass, entry, lambda: read(entry) == 16)
    await refresh(hass, entry)
    heard = sorted(battery.identity.address for battery in entry.runtime_data)
    assert heard == list(range(1, 17))
    assert len(entry.data["batteries"]) == 16
    for number in range(1, 17):
        key = f"{entry.entry_id}_{number}"
        assert float(state(hass, f"{key}_state_of_charge")) == 30.0 + number
        assert float(state(hass, f"{key}_current")) == number - 8.0
        assert state(hass, f"{key}_communication", "binary_sensor") == "on"
    assert line.bytes_received == 0


async def test_a_heard_pack_that_falls_silent_is_told(
    hass: HomeAssistant, make_line: MakeLine
) -> None:
    packs = [VirtualPack(1), VirtualPack(2)]
    line = await make_line(VirtualBank(packs))
    with patch("custom_components.openxpbms.bms.listening.HEARD_FOR", 1.0):
        entry = await seplos_entry(hass, line.path, mode="listen")
        await rounds_until(hass, entry, lambda: read(entry) == 2)
        await refresh(hass, entry)
        key = f"{entry.entry_id}_2"
        assert state(hass, f"{key}_communication", "binary_sensor") == "on"
        packs[1].silent = True
        await rounds_until(hass, entry, lambda: read(entry) == 1)
        await refresh(hass, entry)
        assert state(hass, f"{key}_communication", "binary_sensor") == "off"
        assert state(hass, f"{key}_voltage") == "unavailable"
        other = f"{entry.entry_id}_1_communication"
        assert state(hass, other, "binary_sensor") == "on"


async def test_a_pack_that_is_still_heard_is_not_removed(
    hass: HomeAssistant, make_line: MakeLine, hass_ws_client: Any
) -> None:
    assert await async_setup_component(hass, "config", {})
    line = await make_line(VirtualBank([VirtualPack(1), VirtualPack(2)]))
    entry = await seplos_entry(hass, line.path, mode="listen")
    await rounds_until(hass, entry, lambda: read(entry) == 2)
    await refresh(hass, entry)
    devices = dr.async_get(hass)
    device = next(
        d
        for d in dr.async_entries_for_config_entry(devices, entry.entry_id)
        if (DOMAIN, f"{entry.entry_id}_2") in d.identifiers
    )
    client = await hass_ws_client(hass)
    answer = await client.remove_device(device.id)
    assert not answer["success"]


async def fix(
    client: Any, issue_id: str, *choices: dict[str, Any]
) -> list[dict[str, Any]]:
    """Walk the flow of a repair; return what it showed."""
    response = await client.post(
        "/api/repairs/issues/fix", json={"handler": DOMAIN, "issue_id": issue_id}
    )
    shown = [await response.json()]
    for choice in choices:
        flow_id = shown[-1]["flow_id"]
        response = await client.post(f"/api/repairs/issues/fix/{flow_id}", json=choice)
        shown.append(await response.json())
    return shown


async def test_an_intruder_silences_the_asking_entry_which_may_then_listen(
    hass: HomeAssistant,
    make_line: MakeLine,
    hass_client: ClientSessionGenerator,
) -> None:
    assert await async_setup_component(hass, "repairs", {})
    pack = VirtualPack(5, serial="A1", soc=60.0)
    intruder = Intruder([pack])
    intruder.talking = False
    line = await make_line(pack, intruder)
    entry = await seplos_entry(hass, line.path, pack_identity(5, "A1"))
    assert float(state(hass, "seplos_A1_state_of_charge")) == 60.0
    intruder.talking = True
    while not entry.runtime_data.bus.watch.silent:
        await asyncio.sleep(0.01)
    sent = line.bytes_received
    pack.soc = 61.0
    now = partial(state, hass, "seplos_A1_state_of_charge")
    await rounds_until(hass, entry, lambda: now() == "61.0")
    assert line.bytes_received == sent
    # What the other master asks is shown meanwhile.
    assert float(now()) == 61.0
    issue_id = f"bank_heard_{entry.entry_id}"
    issue = ir.async_get(hass).async_get_issue(DOMAIN, issue_id)
    assert issue is not None
    client = await hass_client()
    menu, done = await fix(client, issue_id, {"next_step_id": "listen"})
    assert menu["menu_options"] == ["listen", "ask"]
    assert "61.0 %" in menu["description_placeholders"]["packs"]
    assert done["type"] == "create_entry"
    await hass.async_block_till_done()
    assert entry.data["mode"] == "listen"
    await first_round(hass, entry)
    await rounds_until(hass, entry, lambda: read(entry) == 1)
    await refresh(hass, entry)
    assert line.bytes_received == sent
    # The same device as before, with its history.
    assert keys(entry) == {5: "seplos_A1"}
    assert float(state(hass, "seplos_A1_state_of_charge")) == 61.0


async def test_which_pack_is_which_is_asked_where_numbers_do_not_tell(
    hass: HomeAssistant,
    make_line: MakeLine,
    hass_client: ClientSessionGenerator,
) -> None:
    assert await async_setup_component(hass, "repairs", {})
    line = await make_line(
        VirtualBank([VirtualPack(1, soc=40.0), VirtualPack(2, soc=70.0)])
    )
    with patch("custom_components.openxpbms.bms.bus.LISTEN", 0.6):
        entry = await seplos_entry(hass, line.path, pack_identity(0, "A1"))
    assert line.bytes_received == 0
    issue_id = f"bank_heard_{entry.entry_id}"
    client = await hass_client()
    _, form, done = await fix(
        client, issue_id, {"next_step_id": "listen"}, {"pack": "2"}
    )
    assert form["step_id"] == "which"
    options = form["data_schema"][0]["selector"]["select"]["options"]
    assert [option["value"] for option in options] == ["1", "2", "gone"]
    assert done["type"] == "create_entry"
    await hass.async_block_till_done()
    await first_round(hass, entry)
    await rounds_until(hass, entry, lambda: read(entry) == 2)
    await refresh(hass, entry)
    assert keys(entry) == {1: f"{entry.entry_id}_1", 2: "seplos_A1"}
    assert float(state(hass, "seplos_A1_state_of_charge")) == 70.0
    assert line.bytes_received == 0


async def test_asking_may_go_on_when_a_person_says_so(
    hass: HomeAssistant,
    make_line: MakeLine,
    hass_client: ClientSessionGenerator,
) -> None:
    assert await async_setup_component(hass, "repairs", {})
    pack = VirtualPack(0, serial="A1")
    intruder = Intruder([pack])
    intruder.talking = False
    line = await make_line(pack, intruder)
    entry = await seplos_entry(hass, line.path, pack_identity(0, "A1"))
    intruder.talking = True
    await rounds_until(hass, entry, lambda: offered(hass, entry))
    intruder.talking = False
    await asyncio.sleep(0.3)
    sent = line.bytes_received
    client = await hass_client()
    issue_id = f"bank_heard_{entry.entry_id}"
    await fix(client, issue_id, {"next_step_id": "ask"})
    await hass.async_block_till_done()
    await refresh(hass, entry)
    assert line.bytes_received > sent
    assert ir.async_get(hass).async_get_issue(DOMAIN, issue_id) is None


async def test_where_asking_is_forced_listening_is_not_offered(
    hass: HomeAssistant, make_line: MakeLine
) -> None:
    pack = VirtualPack(0, serial="A1")
    line = await make_line(pack, Intruder([pack]))
    with patch("custom_components.openxpbms.bms.bus.LISTEN", 0.6):
        entry = await seplos_entry(
            hass, line.path, pack_identity(0, "A1"), options={"mode": "ask"}
        )
    issues = ir.async_get(hass)
    assert issues.async_get_issue(DOMAIN, f"foreign_master_{entry.entry_id}")
    assert issues.async_get_issue(DOMAIN, f"bank_heard_{entry.entry_id}") is None
    assert line.bytes_received == 0


async def test_a_listening_entry_becomes_an_asking_one(
    hass: HomeAssistant, make_line: MakeLine
) -> None:
    line = await make_line(VirtualPack(0, serial="B7"))
    entry = await seplos_entry(
        hass, line.path, pack_identity(1, None, key="kept"), mode="listen"
    )
    result = await entry.start_reconfigure_flow(hass)
    assert result["menu_options"] == ["new_port", "ask_instead"]
    result = await go_on(hass, result, {"next_step_id": "ask_instead"})
    assert result["step_id"] == "which"
    result = await go_on(hass, result, {"pack": "0"})
    assert result["reason"] == "reconfigure_successful"
    await hass.async_block_till_done()
    await first_round(hass, entry)
    assert entry.data["mode"] == "ask"
    assert keys(entry) == {0: "kept"}
    assert float(state(hass, "kept_voltage")) > 40


async def test_an_entry_that_does_not_run_becomes_an_asking_one(
    hass: HomeAssistant, make_line: MakeLine
) -> None:
    line = await make_line(VirtualPack(1, serial="B7"))
    entry = await seplos_entry(hass, line.path, pack_identity(1, None), mode="listen")
    assert await hass.config_entries.async_unload(entry.entry_id)
    result = await entry.start_reconfigure_flow(hass)
    result = await go_on(hass, result, {"next_step_id": "ask_instead"})
    assert result["reason"] == "reconfigure_successful"
    assert entry.data["mode"] == "ask"
    await hass.async_block_till_done()


async def test_a_port_that_is_not_let_go_is_not_searched(
    hass: HomeAssistant, make_line: MakeLine
) -> None:
    line = await make_line(VirtualPack(1, serial="B7"))
    entry = await seplos_entry(hass, line.path, pack_identity(1, None), mode="listen")
    result = await entry.start_reconfigure_flow(hass)
    with patch.object(hass.config_entries, "async_unload", return_value=False):
        result = await go_on(hass, result, {"next_step_id": "ask_instead"})
    assert result["reason"] == "not_loaded"
    assert line.bytes_received == 0


async def test_a_listening_entry_goes_on_listening_while_its_master_talks(
    hass: HomeAssistant, make_line: MakeLine
) -> None:
    line = await make_line(VirtualBank([VirtualPack(1), VirtualPack(2)]))
    entry = await seplos_entry(hass, line.path, mode="listen")
    result = await entry.start_reconfigure_flow(hass)
    with patch("custom_components.openxpbms.search.LISTEN", 0.6):
        result = await go_on(hass, result, {"next_step_id": "ask_instead"})
    assert result["step_id"] == "foreign"
    assert result["menu_options"] == ["listen_again"]
    hass.config_entries.flow.async_abort(result["flow_id"])
    await hass.async_block_till_done()
    assert entry.state.recoverable is False or entry.state.value == "loaded"
    assert entry.data["mode"] == "listen"
    assert line.bytes_received == 0


async def test_reconfigure_changes_to_listening_by_what_is_overheard(
    hass: HomeAssistant, make_line: MakeLine
) -> None:
    pack = VirtualPack(3, serial="A1")
    intruder = Intruder([pack])
    intruder.talking = False
    line = await make_line(pack, intruder)
    entry = await seplos_entry(hass, line.path, pack_identity(3, "A1"))
    result = await entry.start_reconfigure_flow(hass)
    assert result["menu_options"] == ["new_port", "more_batteries", "listen_instead"]
    again = await go_on(hass, result, {"next_step_id": "listen_instead"})
    assert again["reason"] == "nothing_heard"
    intruder.talking = True
    await rounds_until(hass, entry, lambda: fresh_packs(entry.runtime_data))
    result = await entry.start_reconfigure_flow(hass)
    result = await go_on(hass, result, {"next_step_id": "listen_instead"})
    assert result["reason"] == "reconfigure_successful"
    await hass.async_block_till_done()
    assert entry.data["mode"] == "listen"
    assert keys(entry) == {3: "seplos_A1"}


async def test_a_bank_moves_to_another_port(
    hass: HomeAssistant, make_line: MakeLine
) -> None:
    old = await make_line()
    new = await make_line(VirtualBank([VirtualPack(1), VirtualPack(2)]))
    entry = await seplos_entry(
        hass,
        old.path,
        *(pack_identity(number, None) for number in (1, 2, 3)),
        mode="listen",
    )
    result = await entry.start_reconfigure_flow(hass)
    result = await go_on(hass, result, {"next_step_id": "new_port"})
    with patch("custom_components.openxpbms.search.LISTEN", 0.6):
        result = await go_on(hass, result, {"device": new.path})
    assert result["step_id"] == "moved_bank"
    assert result["description_placeholders"] == {"missing": "3"}
    result = await go_on(hass, result, {"next_step_id": "move_bank"})
    assert result["reason"] == "reconfigure_successful"
    await hass.async_block_till_done()
    assert entry.data["device"] == new.path
    assert new.bytes_received == 0


async def test_a_bank_that_is_heard_whole_moves_at_once(
    hass: HomeAssistant, make_line: MakeLine
) -> None:
    old = await make_line()
    new = await make_line(VirtualBank([VirtualPack(1), VirtualPack(2)]))
    known = [pack_identity(number, None) for number in (1, 2)]
    entry = await seplos_entry(hass, old.path, *known, mode="listen")
    result = await entry.start_reconfigure_flow(hass)
    result = await go_on(hass, result, {"next_step_id": "new_port"})
    with patch("custom_components.openxpbms.search.LISTEN", 0.6):
        result = await go_on(hass, result, {"device": new.path})
    assert result["reason"] == "reconfigure_successful"
    await hass.async_block_till_done()
    assert entry.data["device"] == new.path


async def test_nothing_can_be_overheard_by_an_entry_that_is_not_loaded(
    hass: HomeAssistant,
    make_line: MakeLine,
    hass_client: ClientSessionGenerator,
) -> None:
    assert await async_setup_component(hass, "repairs", {})
    pack = VirtualPack(0, serial="A1")
    line = await make_line(pack, Intruder([pack]))
    with patch("custom_components.openxpbms.bms.bus.LISTEN", 0.6):
        entry = await seplos_entry(hass, line.path, pack_identity(0, "A1"))
    assert await hass.config_entries.async_unload(entry.entry_id)
    result = await entry.start_reconfigure_flow(hass)
    result = await go_on(hass, result, {"next_step_id": "listen_instead"})
    assert result["reason"] == "not_loaded"
    client = await hass_client()
    issue_id = f"bank_heard_{entry.entry_id}"
    [menu] = await fix(client, issue_id)
    assert menu["menu_options"] == ["ask"]
    assert line.bytes_received == 0


async def test_more_packs_are_searched_on_the_running_bus(
    hass: HomeAssistant, make_line: MakeLine
) -> None:
    line = await make_line(VirtualPack(1, serial="A1"), VirtualPack(2, serial="A2"))
    entry = await seplos_entry(hass, line.path, pack_identity(1, "A1"))
    result = await entry.start_reconfigure_flow(hass)
    result = await go_on(hass, result, {"next_step_id": "more_batteries"})
    assert result["step_id"] == "found"
    result = await go_on(hass, result, {"batteries": ["2"]})
    assert result["reason"] == "reconfigure_successful"
    await hass.async_block_till_done()
    assert set(keys(entry).values()) == {"seplos_A1", "seplos_A2"}


@pytest.mark.parametrize(
    ("mode", "fields"),
    [
        ("ask", {"interval", "current_scale", "mode", "timing"}),
        ("listen", {"interval", "current_scale"}),
    ],
)
async def test_options_of_packs(
    hass: HomeAssistant, make_line: MakeLine, mode: str, fields: set[str]
) -> None:
    pack = VirtualPack(0, serial="A1", current=10.0)
    line = await make_line(pack)
    entry = await seplos_entry(hass, line.path, pack_identity(0, "A1"), mode=mode)
    result = await open_page(hass, entry, "general")
    assert {str(key) for key in result["data_schema"].schema} == fields
    given: dict[str, Any] = {"interval": 2, "current_scale": "tenths"}
    if mode == "ask":
        given |= {"mode": "ask", "timing": {"answer_timeout": 300, "turnaround": 5}}
    result = await answer(hass, result, given)
    assert result["type"] is FlowResultType.CREATE_ENTRY
    if mode == "ask":
        await first_round(hass, entry)
        assert float(state(hass, "seplos_A1_current")) == 100.0


def test_kept_keys_are_never_given_twice() -> None:
    entry = MockConfigEntry(
        domain=DOMAIN,
        entry_id="E",
        data={
            "family": "seplos",
            "batteries": stored(
                [
                    pack_identity(1, None),
                    pack_identity(2, None, key="E_1"),
                    pack_identity(3, "S"),
                    pack_identity(4, "S"),
                ]
            ),
        },
    )
    assert keys(entry) == {1: "E_1_2", 2: "E_1", 3: "E_3", 4: "E_4"}
