"""The pages of the options that change a parameter of a pack."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping
from dataclasses import replace
import re
from typing import Any
from unittest.mock import patch

from homeassistant.config_entries import ConfigEntryState
from homeassistant.core import HomeAssistant
from homeassistant.helpers import device_registry as dr
from homeassistant.setup import async_setup_component
import pytest
from pytest_homeassistant_custom_component.common import CLIENT_ID, MockUser
from pytest_homeassistant_custom_component.typing import ClientSessionGenerator

from custom_components.openxpbms.bms import errors as bus_errors
from custom_components.openxpbms.bms import parameter_errors, seplos_writes
from custom_components.openxpbms.bms.parameters import SPA_PARAMETERS, Topic
from custom_components.openxpbms.bms.seplos_writes import Writer
from custom_components.openxpbms.bms.virtual.line import VirtualLine
from custom_components.openxpbms.bms.virtual.seplos import (
    VirtualBank,
    VirtualPack,
    WriteFault,
)
from custom_components.openxpbms.const import DOMAIN
from custom_components.openxpbms.parameter_flow import ParameterFlow
from custom_components.openxpbms.write_log import Step
from custom_components.openxpbms.writes import NotKept

from .conftest import MakeLine, first_round
from .option_pages import (
    EN,
    answer,
    check_texts,
    errors,
    fields,
    make_bus,
    open_page,
    reason,
    setups,
    shown,
)
from .test_seplos_flow import pack_identity, seplos_entry

API = "/api/config/config_entries/options/flow"
ALARM = 0x1307
# The example of the README.
NAME = "battery_low_voltage_alarm"
TOPIC = "pack_voltage"
README = {"again": 45.0, "agreed": True}
ON = {"writes": True, "interval": 300}


@pytest.fixture(autouse=True)
def _at_once() -> Iterator[None]:
    """Write without a minute of listening."""
    with (
        patch.object(seplos_writes, "QUIET", 0.0),
        patch.object(seplos_writes, "SETTLING", 0.01),
    ):
        yield


class Dialog:
    """The dialog of the options, as a browser drives it."""

    def __init__(self, hass: HomeAssistant, client: Any) -> None:
        self.hass = hass
        self.client = client
        self.flow = ""
        self.shown: dict[str, Any] = {}

    async def open(self, entry: Any, *menus: str) -> dict[str, Any]:
        page = await self._post(API, {"handler": entry.entry_id})
        self.flow = page["flow_id"]
        for choice in menus:
            page = await self.answer(next_step_id=choice)
        return page

    async def answer(self, **user_input: Any) -> dict[str, Any]:
        """Answer a page; wait for what comes after a progress bar."""
        page = await self.send(**user_input)
        while page["type"] == "progress":
            EN["options"]["progress"][page["progress_action"]].format(
                **page["description_placeholders"]
            )
            await self.hass.async_block_till_done()
            response = await self.client.get(f"{API}/{self.flow}")
            page = await response.json()
        return self._checked(page)

    async def send(self, **user_input: Any) -> dict[str, Any]:
        return await self._post(f"{API}/{self.flow}", user_input)

    async def _post(self, url: str, data: Mapping[str, Any]) -> dict[str, Any]:
        response = await self.client.post(url, json=data)
        assert response.status == 200, await response.text()
        return self._checked(await response.json())

    def _checked(self, page: Any) -> dict[str, Any]:
        check_texts(page)
        self.shown = page
        return self.shown

    async def ask_for(self, entry: Any, name: str = NAME) -> dict[str, Any]:
        """Go to the page for a new value of a parameter of a lone pack."""
        topic = next(p.topic for p in SPA_PARAMETERS if p.name == name)
        await self.open(entry, "parameter")
        await self.answer(topic=topic)
        return await self.answer(parameter=name)

    async def offer(self, entry: Any, value: float = 45.0) -> dict[str, Any]:
        """Go to the page where the README's example is agreed to."""
        await self.ask_for(entry)
        page = await self.answer(value=value)
        assert page["step_id"] == "agree"
        return page

    async def close(self) -> None:
        response = await self.client.delete(f"{API}/{self.flow}")
        assert response.status == 200

    @property
    def text(self) -> str:
        """What the page tells, filled in."""
        step = EN["options"]["step"][self.shown["step_id"]]
        text: str = step["description"]
        return text.format(**(self.shown["description_placeholders"] or {}))

    @property
    def errors(self) -> dict[str, str]:
        return errors(self.shown)  # type: ignore[arg-type]

    @property
    def end(self) -> str:
        return reason(self.shown)  # type: ignore[arg-type]


@pytest.fixture
async def dialog(hass: HomeAssistant, hass_client: ClientSessionGenerator) -> Dialog:
    for component in ("config", "usb"):  # before the server starts
        assert await async_setup_component(hass, component, {})
    return Dialog(hass, await hass_client())


@pytest.fixture
def pack() -> VirtualPack:
    return VirtualPack(serial="A1")


@pytest.fixture
async def line(dialog: Dialog, make_line: MakeLine, pack: VirtualPack) -> VirtualLine:
    return await make_line(pack)


@pytest.fixture
async def entry(hass: HomeAssistant, line: VirtualLine) -> Any:
    """A lone pack that may be written into."""
    return await seplos_entry(
        hass, line.path, pack_identity(0, "A1"), options={**ON, "limits": {"grace": 60}}
    )


def steps(entry: Any) -> list[str]:
    """Return the steps in the log of writes."""
    return [record.step for record in entry.runtime_data.writes.log.records]


# Whether it may be changed at all


async def test_writing_is_off_until_a_person_switches_it_on(
    hass: HomeAssistant, make_line: MakeLine, dialog: Dialog, pack: VirtualPack
) -> None:
    line = await make_line(pack)
    kept = {"interval": 300, "limits": {"grace": 60.0}}
    entry = await seplos_entry(hass, line.path, pack_identity(0, "A1"), options=kept)
    await dialog.open(entry, "parameter")
    assert "switched off" in dialog.end
    page = await dialog.open(entry, "writes")
    assert shown(page) == {"writes": False}  # type: ignore[arg-type]
    assert "start a fire" in dialog.text
    page = await dialog.answer(writes=True)
    assert page["type"] == "create_entry"
    await hass.async_block_till_done()
    await first_round(hass, entry)
    assert entry.options == kept | {"writes": True}
    page = await dialog.open(entry, "parameter")
    assert page["step_id"] == "topic"


async def test_a_bank_with_a_master_gets_a_reason_and_what_to_do(
    hass: HomeAssistant, make_line: MakeLine, dialog: Dialog
) -> None:
    line = await make_line(VirtualBank([VirtualPack(1), VirtualPack(2)]))
    entry = await seplos_entry(
        hass, line.path, pack_identity(1, None), mode="listen", options=ON
    )
    page = await dialog.open(entry)
    assert page["menu_options"] == ["general", "bank", "outputs", "limits", "parameter"]
    await dialog.answer(next_step_id="parameter")
    assert dialog.shown["reason"] == "listening"
    assert "Take the pack out of the bank" in dialog.end
    assert line.bytes_received == 0


async def test_modules_of_another_family_offer_nothing_of_it(
    hass: HomeAssistant,
) -> None:
    with setups():
        menu = await open_page(hass, await make_bus(hass))
    assert menu["menu_options"] == ["general", "bank", "outputs", "limits"]


async def test_a_bus_that_is_not_running_is_told(
    hass: HomeAssistant, dialog: Dialog, entry: Any
) -> None:
    assert await hass.config_entries.async_unload(entry.entry_id)
    await dialog.open(entry, "parameter")
    assert "not running" in dialog.end


async def test_a_bus_without_batteries_is_told(
    hass: HomeAssistant, make_line: MakeLine, dialog: Dialog
) -> None:
    line = await make_line()
    entry = await seplos_entry(hass, line.path, options=ON)
    await dialog.open(entry, "parameter")
    assert dialog.shown["reason"] == "no_battery"


@pytest.mark.parametrize("gone", ["writes_off", "battery_gone", "not_loaded"])
async def test_what_was_allowed_may_not_be_any_more(
    hass: HomeAssistant,
    dialog: Dialog,
    entry: Any,
    pack: VirtualPack,
    gone: str,
) -> None:
    await dialog.offer(entry)
    if gone == "writes_off":
        hass.config_entries.async_update_entry(entry, options={"interval": 300})
        assert entry.state is ConfigEntryState.LOADED
        await dialog.answer(**README)
    elif gone == "battery_gone":
        await dialog.ask_for(entry)
        with patch.object(entry.runtime_data, "keys", {0: "another"}):
            await dialog.answer(value=45.0)
    else:
        assert await hass.config_entries.async_unload(entry.entry_id)
        await dialog.answer(**README)
    assert dialog.shown["reason"] == gone
    assert dialog.end
    assert not pack.written


# What is asked


async def test_the_pages_change_the_readmes_example(
    dialog: Dialog, entry: Any, pack: VirtualPack, hass_admin_user: MockUser
) -> None:
    page = await dialog.open(entry, "parameter")
    assert page["step_id"] == "topic"
    assert "SG16S200A-SP57B-A A1" in dialog.text
    page = await dialog.answer(topic=TOPIC)
    [field] = page["data_schema"]
    assert field["selector"]["select"]["options"] == [
        p.name for p in SPA_PARAMETERS if p.topic == TOPIC
    ]
    page = await dialog.answer(parameter=NAME)
    [field] = page["data_schema"]
    number = field["selector"]["number"]
    assert number == {"mode": "box", "step": 0.01, "unit_of_measurement": "V"}
    assert shown(page) == {"value": 46.4}
    for part in (
        "Battery low voltage alarm",
        "warns once the voltage of the whole pack falls to this",
        "**46.40 V** now",
        "from 40.00 V to 51.20 V",
    ):
        assert part in dialog.text
    page = await dialog.answer(value=45)
    assert page["step_id"] == "agree"
    # A person types it; the frontend puts 0 where a number must not be left out.
    assert shown(page) == {}
    assert not next(f for f in page["data_schema"] if f["name"] == "again")["required"]
    assert not pack.written
    assert "from **46.40 V** to **45.00 V**" in dialog.text
    assert "`00 10 13 07 00 01 02 11 94" in dialog.text
    assert steps(entry) == ["prepared"]
    await dialog.answer(**README)
    assert dialog.shown["reason"] == "write_verified"
    assert dialog.end.startswith(
        "**Battery low voltage alarm** of SG16S200A-SP57B-A A1 is **45.00 V** now; it "
        "was 46.40 V."
    )
    assert "acknowledged" in dialog.end
    assert pack.written == [(ALARM, 4500)]
    assert steps(entry) == ["prepared", "confirmed", "verified"]
    log = entry.runtime_data.writes.log
    assert {record.user_id for record in log.records} == {hass_admin_user.id}
    # Nothing else of the entry has changed.
    assert entry.options == {**ON, "limits": {"grace": 60}}


async def test_what_is_not_typed_once_more_and_ticked_is_not_written(
    dialog: Dialog, entry: Any, pack: VirtualPack
) -> None:
    await dialog.offer(entry)
    await dialog.answer(again=54.0, agreed=True)
    assert dialog.errors == {
        "again": "This is not 45.00 V. Type the new value as it is shown above."
    }
    page = await dialog.answer(again=45.0, agreed=False)
    assert dialog.errors.keys() == {"agreed"}
    assert shown(page) == {"again": 45.0, "agreed": False}  # type: ignore[arg-type]
    await dialog.answer(again=44.0, agreed=False)
    assert dialog.errors.keys() == {"again", "agreed"}
    await dialog.answer(agreed=True)
    assert dialog.errors.keys() == {"again"}
    assert not pack.written
    await dialog.answer(**README)
    assert dialog.shown["reason"] == "write_verified"


async def test_the_battery_is_asked_for_where_there_are_several(
    hass: HomeAssistant, make_line: MakeLine, dialog: Dialog
) -> None:
    packs = [VirtualPack(n, serial=f"A{n}") for n in (1, 2)]
    line = await make_line(*packs)
    known = [pack_identity(n, f"A{n}") for n in (1, 2)]
    entry = await seplos_entry(hass, line.path, *known, options=ON)
    page = await dialog.open(entry, "parameter")
    assert page["step_id"] == "parameter"
    [field] = page["data_schema"]
    labels = {o["value"]: o["label"] for o in field["selector"]["select"]["options"]}
    assert labels == {f"seplos_A{n}": f"SG16S200A-SP57B-A A{n}" for n in (1, 2)}
    await dialog.answer(battery="seplos_A2")
    await dialog.answer(topic=TOPIC)
    await dialog.answer(parameter=NAME)
    await dialog.answer(value=45.0)
    assert "SG16S200A-SP57B-A A2" in dialog.text
    await dialog.answer(**README)
    assert [p.written for p in packs] == [[], [(ALARM, 4500)]]


@pytest.mark.parametrize("topic", Topic)
async def test_every_group_has_parameters_that_can_be_shown(
    dialog: Dialog, entry: Any, topic: Topic
) -> None:
    await dialog.open(entry, "parameter")
    page = await dialog.answer(topic=topic)
    [field] = page["data_schema"]
    names = field["selector"]["select"]["options"]
    assert names
    for name in names:
        page = await dialog.ask_for(entry, name)
        assert page["step_id"] == "value"
        assert dialog.text


# What rules forbid


@pytest.mark.parametrize(
    ("name", "value", "told"),
    [
        (NAME, 46.4, "It is 46.40 V already: nothing to change."),
        (
            NAME,
            45.005,
            "Battery low voltage alarm cannot be 45.005 V, only 45.00 V or 45.01 V.",
        ),
        (
            NAME,
            39,
            (
                "Battery low voltage alarm must be from 40.00 V to 51.20 V with 16 "
                "cells, not 39.0 V."
            ),
        ),
        (NAME, "nan", "nan is not a number that Battery low voltage alarm could have."),
        (
            NAME,
            42.5,
            (
                "Battery low voltage alarm must be ≥ Battery under voltage protection: "
                "42.50 V is not ≥ 43.20 V. Change Battery under voltage protection "
                "first, or choose another value."
            ),
        ),
        (
            "cell_low_voltage_alarm",
            1,
            "Cell low voltage alarm must be from 2.500 V to 3.200 V, not 1.0 V.",
        ),
        (
            "charge_over_current_protection",
            250,
            (
                "Charge over current protection may reach 210 A on a 200 A board, not "
                "250.0 A."
            ),
        ),
        (
            "secondary_charge_over_current_protection",
            350,
            (
                "Secondary charge over current protection came from the factory as "
                "300 A and is never set beyond that, so not to 350.0 A."
            ),
        ),
    ],
)
async def test_a_forbidden_value_is_told_and_kept(
    dialog: Dialog, entry: Any, pack: VirtualPack, name: str, value: Any, told: str
) -> None:
    await dialog.ask_for(entry, name)
    page = await dialog.answer(value=value)
    assert page["step_id"] == "value"
    assert dialog.errors == {"value": told}
    if value != "nan":
        assert shown(page) == {"value": value}  # type: ignore[arg-type]
    assert steps(entry) == ["refused"]
    assert not pack.written


async def test_of_an_unknown_board_currents_only_become_less(
    hass: HomeAssistant, make_line: MakeLine, dialog: Dialog
) -> None:
    line = await make_line(VirtualPack(serial="A1", device="SG16S-SP57B"))
    who = replace(pack_identity(0, "A1"), model="SG16S-SP57B", board=None)
    entry = await seplos_entry(hass, line.path, who, options=ON)
    await dialog.ask_for(entry, "charge_over_current_protection")
    assert "from 1 A to 210 A" in dialog.text
    await dialog.answer(value=211)
    assert "rated current of its board is not known" in dialog.errors["value"]


async def test_a_table_that_makes_no_sense_is_told(
    dialog: Dialog, entry: Any, pack: VirtualPack
) -> None:
    pack.parameters[0x1311] = 100
    await dialog.ask_for(entry)
    await dialog.answer(value=45.0)
    assert dialog.errors["value"] == (
        "Cell under voltage protection is 0.100 V in the pack, which makes no sense. "
        "So the pack's other parameters are not trusted either, and nothing is written."
    )


async def test_a_large_step_is_made_only_when_it_is_allowed(
    dialog: Dialog, entry: Any, pack: VirtualPack
) -> None:
    page = await dialog.ask_for(entry)
    assert fields(page).keys() == {"value"}  # type: ignore[arg-type]
    page = await dialog.answer(value=44.0)
    assert dialog.errors["value"].startswith("From 46.40 V to 44.00 V is more than 20%")
    assert fields(page).keys() == {"value", "allow_large_step"}  # type: ignore[arg-type]
    # Once more without the tick.
    await dialog.answer(value=44.0)
    assert dialog.shown["errors"] == {"value": "large_step"}
    page = await dialog.answer(value=44.0, allow_large_step=True)
    assert page["step_id"] == "agree"
    assert "- A large step: from 46.40 V to 44.00 V" in dialog.text
    await dialog.answer(again=44.0, agreed=True)
    assert dialog.shown["reason"] == "write_verified"
    assert pack.written == [(ALARM, 4400)]


@pytest.mark.parametrize(
    ("known", "error", "caution"),
    [
        (True, "The pack is at 2.800 V and will switch off now", "switch off now**"),
        (False, "The pack does not tell at present", "It may switch off.**"),
    ],
)
async def test_a_trip_is_risked_only_when_it_is_allowed(
    hass: HomeAssistant,
    make_line: MakeLine,
    dialog: Dialog,
    *,
    known: bool,
    error: str,
    caution: str,
) -> None:
    pack = VirtualPack(serial="A1", cell_voltages=[2.8] * 16)
    line = await make_line(pack)
    entry = await seplos_entry(hass, line.path, pack_identity(0, "A1"), options=ON)
    if not known:
        [battery] = entry.runtime_data
        battery.reading = None
    await dialog.ask_for(entry, "cell_under_voltage_protection")
    page = await dialog.answer(value=2.76)
    assert dialog.errors["value"].startswith(error)
    assert fields(page).keys() == {"value", "allow_trip"}  # type: ignore[arg-type]
    page = await dialog.answer(value=2.76, allow_trip=True)
    assert page["step_id"] == "agree"
    assert caution in dialog.text


@pytest.mark.parametrize(
    ("name", "value", "cells", "told"),
    [
        (
            "rated_battery_capacity",
            300,
            3.3,
            "- The state of charge is counted by it, and may jump.",
        ),
        (
            "battery_low_voltage_alarm",
            46.5,
            2.9,
            "- The pack will warn at once.",
        ),
        (
            "cell_low_voltage_alarm",
            3.03,
            3.3,
            (
                "- Battery low voltage alarm (46.40 V) and Cell low voltage alarm "
                "(3.030 V, with 16 cells 48.48 V) do not fit together."
            ),
        ),
        (
            "charging_request_voltage",
            57.0,
            3.3,
            (
                "- The pack asks an inverter for 57.00 V, which is above Battery high "
                "voltage alarm (56.00 V).\n"
                "- The pack asks an inverter for 57.00 V, which is above Cell high "
                "voltage alarm (3.500 V, with 16 cells 56.00 V)."
            ),
        ),
    ],
)
async def test_what_to_know_is_told_before_it_is_agreed_to(
    hass: HomeAssistant,
    make_line: MakeLine,
    dialog: Dialog,
    name: str,
    value: float,
    cells: float,
    told: str,
) -> None:
    line = await make_line(VirtualPack(serial="A1", cell_voltages=[cells] * 16))
    entry = await seplos_entry(hass, line.path, pack_identity(0, "A1"), options=ON)
    await dialog.ask_for(entry, name)
    await dialog.answer(value=value)
    assert told in dialog.text


async def test_what_is_in_disorder_may_become_better(
    dialog: Dialog, entry: Any, pack: VirtualPack
) -> None:
    pack.parameters[ALARM] = 4200
    await dialog.ask_for(entry)
    await dialog.answer(value=43.0)
    assert (
        "- It should be ≥ Battery under voltage protection, which is 43.20 V. 43.00 V "
        "is closer to that, and still not in order."
    ) in dialog.text


# What the bus does not let through


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"silent": True}, "no_answer"),
        ({"serial": "B2"}, "wrong_battery"),
        ({"serial": ""}, "no_serial"),
        ({"factory": ""}, "no_maker"),
        ({"refuse": {0x1300}}, "refused"),
    ],
)
async def test_a_pack_that_cannot_be_asked_is_told_and_what_was_typed_is_kept(
    dialog: Dialog, entry: Any, pack: VirtualPack, changes: dict[str, Any], error: str
) -> None:
    await dialog.ask_for(entry)
    before = {name: getattr(pack, name) for name in changes}
    for name, value in changes.items():
        setattr(pack, name, value)
    page = await dialog.answer(value=45.0)
    assert page["errors"] == {"base": error}
    assert dialog.errors
    assert shown(page) == {"value": 45.0}  # type: ignore[arg-type]
    assert "**46.40 V** now" in dialog.text
    for name, value in before.items():
        setattr(pack, name, value)
    await asyncio.sleep(0.4)  # until no late answer is owed any more
    page = await dialog.answer(value=45.0)
    assert page["step_id"] == "agree"


async def test_a_line_that_was_not_watched_for_long_enough_is_told(
    dialog: Dialog, entry: Any
) -> None:
    await dialog.ask_for(entry)
    with patch.object(seplos_writes, "QUIET", 60.0):
        await dialog.answer(value=45.0)
    assert re.search(r"Try again in (5\d|60) s", dialog.errors["base"])


async def test_a_pack_that_cannot_be_read_is_told(
    dialog: Dialog, entry: Any, pack: VirtualPack
) -> None:
    pack.silent = True
    await dialog.ask_for(entry)
    assert dialog.end == (
        "The parameters of SG16S200A-SP57B-A A1 could not be read.\n\n"
        "SG16S200A-SP57B-A A1 did not answer. Look at its entity Communication and try "
        "again."
    )


# Who agrees


async def test_nobody_who_is_not_there_can_prepare_a_change(
    hass: HomeAssistant, entry: Any, pack: VirtualPack
) -> None:
    page = await open_page(hass, entry, "parameter")
    for given in ({"topic": TOPIC}, {"parameter": NAME}, {"value": 45.0}):
        page = await answer(hass, page, given)
    assert page["reason"] == "write_needs_person"
    assert steps(entry) == []
    assert not pack.written


async def test_nobody_who_is_not_there_can_agree(
    hass: HomeAssistant, dialog: Dialog, entry: Any, pack: VirtualPack
) -> None:
    page = await dialog.offer(entry)
    page = await answer(hass, page, README)  # type: ignore[arg-type]
    assert page["reason"] == "write_needs_person"
    assert not pack.written


async def test_only_who_prepared_a_change_can_agree(
    hass: HomeAssistant,
    dialog: Dialog,
    hass_client: ClientSessionGenerator,
    entry: Any,
    pack: VirtualPack,
) -> None:
    await dialog.offer(entry)
    other = MockUser(name="Other", is_owner=True).add_to_hass(hass)
    token = await hass.auth.async_create_refresh_token(other, CLIENT_ID)
    dialog.client = await hass_client(hass.auth.async_create_access_token(token))
    await dialog.answer(**README)
    assert dialog.shown["reason"] == "code_of_another"
    assert not pack.written


async def test_who_may_not_configure_sees_no_page(
    hass: HomeAssistant,
    hass_client: ClientSessionGenerator,
    hass_read_only_access_token: str,
    entry: Any,
) -> None:
    assert await async_setup_component(hass, "config", {})
    client = await hass_client(hass_read_only_access_token)
    response = await client.post(API, json={"handler": entry.entry_id})
    assert response.status == 401


async def test_a_reload_ends_what_was_offered(
    hass: HomeAssistant, dialog: Dialog, entry: Any, pack: VirtualPack
) -> None:
    await dialog.offer(entry)
    assert await hass.config_entries.async_reload(entry.entry_id)
    await first_round(hass, entry)
    await dialog.answer(**README)
    assert dialog.shown["reason"] == "code_unknown"
    assert not pack.written


# What comes of it


@pytest.mark.parametrize(
    ("fault", "outcome", "told"),
    [
        (
            WriteFault.REFUSE_REGISTER,
            "unchanged",
            ["is still **46.40 V**", "not set to 45.00 V", "refused", "error code 2"],
        ),
        (WriteFault.REFUSE_VALUE, "unchanged", ["is still", "error code 3"]),
        (WriteFault.IGNORE, "unchanged", ["is still", "did not keep the value"]),
        (
            WriteFault.CLAMP,
            "different",
            [
                "is **45.50 V** now: neither 46.40 V, as before, nor 45.00 V",
                "To go back to 46.40 V, use Change a parameter again",
            ],
        ),
        (
            WriteFault.SILENT,
            "unknown",
            ["was 46.40 V before and should be 45.00 V", "acknowledged the write"],
        ),
        (WriteFault.POWER_LOSS, "unknown", ["nobody knows"]),
        (
            WriteFault.NO_ACKNOWLEDGEMENT,
            "verified",
            ["is **45.00 V** now", "did not acknowledge"],
        ),
        (WriteFault.LATE, "verified", ["is **45.00 V** now", "did not acknowledge"]),
    ],
)
async def test_whatever_a_pack_does_the_dialog_says_what_is_in_it(
    dialog: Dialog,
    entry: Any,
    line: VirtualLine,
    pack: VirtualPack,
    fault: WriteFault,
    outcome: str,
    told: list[str],
) -> None:
    pack.clamped = 4550
    pack.late = 0.8
    await dialog.offer(entry)
    pack.write_fault = fault
    line.real_time = fault is WriteFault.LATE
    await dialog.answer(**README)
    assert dialog.shown["reason"] == f"write_{outcome}"
    for part in told:
        assert part in dialog.end
    assert steps(entry) == ["prepared", "confirmed", outcome]


async def test_what_else_changed_is_told(
    dialog: Dialog, entry: Any, pack: VirtualPack
) -> None:
    def also(pack: VirtualPack, _: float) -> None:
        if pack.written:
            pack.parameters[0x1306] = 4750

    await dialog.offer(entry)
    pack.before_answer = also
    await dialog.answer(**README)
    assert dialog.shown["reason"] == "write_verified"
    assert (
        "Changed in the pack at the same time: Battery low voltage recovery from "
        "48.00 V to 47.50 V."
    ) in dialog.end


async def test_a_value_that_changed_in_between_is_left_alone(
    dialog: Dialog, entry: Any, pack: VirtualPack
) -> None:
    await dialog.offer(entry)
    pack.parameters[ALARM] = 4600
    await dialog.answer(**README)
    assert dialog.shown["reason"] == "write_not_sent"
    assert "Battery low voltage alarm is 46 V now" in dialog.end
    assert not pack.written


async def test_a_write_that_broke_off_is_told(
    dialog: Dialog, entry: Any, pack: VirtualPack
) -> None:
    await dialog.offer(entry)
    with patch.object(Writer, "write", side_effect=RuntimeError("mistake")):
        await dialog.answer(**README)
    assert dialog.shown["reason"] == "write_unknown"
    assert "interrupted the write" in dialog.end


async def test_a_second_write_at_once_is_refused(
    hass: HomeAssistant,
    dialog: Dialog,
    hass_client: ClientSessionGenerator,
    entry: Any,
    pack: VirtualPack,
) -> None:
    second = Dialog(hass, await hass_client())
    await dialog.offer(entry)
    await second.offer(entry, 45.5)
    with patch.object(seplos_writes, "SETTLING", 0.3):
        assert (await dialog.send(**README))["type"] == "progress"
        await second.answer(again=45.5, agreed=True)
        assert second.shown["reason"] == "write_under_way"
        await entry.runtime_data.writes.wait()
    assert pack.written == [(ALARM, 4500)]


async def test_a_closed_dialog_does_not_stop_a_write(
    dialog: Dialog, entry: Any, pack: VirtualPack
) -> None:
    await dialog.offer(entry)
    with patch.object(seplos_writes, "SETTLING", 0.3):
        assert (await dialog.send(**README))["type"] == "progress"
        await dialog.close()
        assert steps(entry)[-1] != Step.VERIFIED
        await entry.runtime_data.writes.wait()
    assert pack.written == [(ALARM, 4500)]
    assert steps(entry) == ["prepared", "confirmed", "verified"]


async def test_a_removed_battery_ends_the_dialog(
    hass: HomeAssistant, make_line: MakeLine, dialog: Dialog, hass_ws_client: Any
) -> None:
    packs = [VirtualPack(n, serial=f"A{n}") for n in (1, 2)]
    line = await make_line(*packs)
    known = [pack_identity(n, f"A{n}") for n in (1, 2)]
    entry = await seplos_entry(hass, line.path, *known, options=ON)
    await dialog.open(entry, "parameter")
    await dialog.answer(battery="seplos_A2")
    device = next(
        d
        for d in dr.async_entries_for_config_entry(dr.async_get(hass), entry.entry_id)
        if (DOMAIN, "seplos_A2") in d.identifiers
    )
    client = await hass_ws_client(hass)
    assert (await client.remove_device(device.id))["success"]
    await hass.async_block_till_done()
    await dialog.answer(topic=TOPIC)
    assert dialog.shown["reason"] == "battery_gone"


# Texts


def placeholders(text: str) -> set[str]:
    return set(re.findall(r"{(\w+)}", text))


def kinds(module: Any, base: type[Exception]) -> list[Any]:
    return [
        kind
        for kind in vars(module).values()
        if isinstance(kind, type) and issubclass(kind, base)
    ]


def test_every_error_of_a_rule_has_a_text_that_its_details_fill() -> None:
    for kind in kinds(parameter_errors, parameter_errors.ParameterError):
        text = EN["options"]["error"][kind.key]
        assert placeholders(text) <= placeholders(kind.text), kind
        caution = EN["selector"]["parameter_caution"]["options"].get(kind.key, "")
        assert placeholders(caution) <= placeholders(kind.text), kind


def test_every_error_of_the_bus_has_a_text() -> None:
    every = [
        *kinds(bus_errors, bus_errors.BusError),
        *kinds(seplos_writes, bus_errors.BusError),
        NotKept,
    ]
    assert {kind.key for kind in every} <= set(EN["options"]["error"])


def test_every_parameter_has_a_name_and_says_what_it_does() -> None:
    names = EN["selector"]["parameter"]["options"]
    assert list(names) == [parameter.name for parameter in SPA_PARAMETERS]
    assert len(set(names.values())) == len(names)
    meanings = EN["selector"]["parameter_meaning"]["options"]
    assert list(meanings) == [p.name for p in SPA_PARAMETERS if p.writable]
    assert len(set(meanings.values())) == len(meanings)
    assert set(EN["selector"]["parameter_topic"]["options"]) == set(Topic)


def test_every_outcome_and_every_page_has_a_text() -> None:
    aborts = EN["options"]["abort"]
    assert {f"write_{outcome}" for outcome in seplos_writes.Outcome} <= set(aborts)
    for name in ("writes", "parameter", "topic", "choose", "value", "agree"):
        assert hasattr(ParameterFlow, f"async_step_{name}")
        assert EN["options"]["step"][name]["title"]
