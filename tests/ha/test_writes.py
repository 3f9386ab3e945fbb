"""Parameters of a pack read and written by the actions."""

from __future__ import annotations

import asyncio
from typing import Any
from unittest.mock import patch

from homeassistant.config_entries import ConfigEntryState
from homeassistant.const import ATTR_DEVICE_ID
from homeassistant.core import Context, HomeAssistant
from homeassistant.exceptions import ServiceValidationError, Unauthorized
import pytest
import voluptuous as vol

from custom_components.openxpbms.bms import seplos_writes
from custom_components.openxpbms.bms.seplos_writes import write_request
from custom_components.openxpbms.bms.virtual.seplos import VirtualPack, WriteFault
from custom_components.openxpbms.bms.virtual.valence import VirtualModule
from custom_components.openxpbms.const import DOMAIN

from .conftest import MakeEntry, MakeLine, identity
from .guarding import Clock, a_person
from .writing import (
    ALARM,
    REGISTER,
    SERIAL,
    MakeBench,
    Pause,
    clock,
    device_of,
    make_bench,
)

__all__ = ["clock", "make_bench"]

NAME = f"SG16S200A-SP57B-A {SERIAL}"


def row(answer: dict[str, Any], name: str) -> dict[str, Any]:
    """Return one parameter of an answer."""
    [found] = [each for each in answer["parameters"] if each["name"] == name]
    return dict(found)


# The example of the README


async def test_a_parameter_is_shown_prepared_confirmed_and_put_back(
    make_bench: MakeBench,
) -> None:
    bench = await make_bench()
    export = await bench.act("get_parameters")
    assert export["battery"] == NAME
    assert len(export["parameters"]) == 106
    alarm = row(export, ALARM)
    assert alarm.pop("low") < 45.0 < alarm.pop("high")
    assert alarm == {
        "name": ALARM,
        "value": 46.4,
        "unit": "V",
        "topic": "pack_voltage",
        "writable": True,
    }

    offer = await bench.prepare()
    assert not bench.sent
    assert offer == {
        "code": offer["code"],
        "write": offer["write"],
        "change": f"{ALARM}: 46.40 V -> 45.00 V",
        "battery": NAME,
        "serial_number": SERIAL,
        "parameter": ALARM,
        "topic": "pack_voltage",
        "unit": "V",
        "old": 46.4,
        "new": 45.0,
        "frame": write_request(0, REGISTER, 4500).encoded.hex(" "),
        "cautions": [],
        "meaning": "The pack warns once the voltage of the whole pack falls to this."
        " Nothing is switched off.",
        "warnings": "",
    }

    result = await bench.confirm(offer)
    assert result == {
        "outcome": "verified",
        "write": offer["write"],
        "change": offer["change"],
        "battery": NAME,
        "parameter": ALARM,
        "unit": "V",
        "old": 46.4,
        "new": 45.0,
        "now": 45.0,
        "acknowledged": True,
        "reason": None,
        "details": {},
        "other_changes": [],
    }
    assert [frame.hex(" ") for frame in bench.sent] == [offer["frame"]]
    assert bench.word == 4500

    differences = await bench.act("compare_parameters", export=export)
    assert differences == {
        "differences": [{"name": ALARM, "value": 45.0, "other": 46.4, "unit": "V"}]
    }

    back = await bench.act("undo_parameter_write", write=offer["write"])
    assert (back["old"], back["new"]) == (45.0, 46.4)
    assert bench.word == 4500
    assert (await bench.confirm(back))["outcome"] == "verified"
    assert bench.word == 4640
    same = await bench.act("compare_parameters", export=export["parameters"])
    assert same == {"differences": []}
    assert not bench.pack.complaints


async def test_what_is_never_written_says_why(make_bench: MakeBench) -> None:
    bench = await make_bench()
    answer = await bench.act("get_parameters")
    cells = row(answer, "number_of_cells")
    assert (cells["writable"], cells["why_not"]) == (False, "structure")
    assert "low" not in cells
    wish = bench.prepare(parameter="number_of_cells", value=15)
    assert await bench.refused(wish) == "not_writable"


async def test_what_is_said_of_a_change_is_in_the_language_of_home_assistant(
    hass: HomeAssistant, make_bench: MakeBench
) -> None:
    hass.config.language = "de"
    bench = await make_bench()
    with pytest.raises(ServiceValidationError) as refused:
        await bench.prepare(parameter="number_of_cells", value=15)
    assert (refused.value.translation_placeholders or {})["access"] == "Aufbau"
    offer = await bench.prepare(
        parameter="charging_request_voltage", value=50.0, allow_large_step=True
    )
    assert offer["warnings"].startswith("- Ein großer Sprung: Von ")


async def test_the_sensors_of_parameters_show_it_soon(make_bench: MakeBench) -> None:
    bench = await make_bench()
    [battery] = bench.entry.runtime_data
    await bench.change()
    await bench.refresh()
    assert battery.settings.parameters[ALARM] == 45.0


async def test_two_packs_are_compared(make_bench: MakeBench) -> None:
    other = VirtualPack(1, serial="OTHER", parameters={REGISTER: 4600})
    bench = await make_bench(other)
    answer = await bench.act(
        "compare_parameters", other_device_id=bench.device_id(other)
    )
    assert answer["differences"] == [
        {"name": ALARM, "value": 46.4, "other": 46.0, "unit": "V"}
    ]


@pytest.mark.parametrize("export", [None, "text", {"parameters": 5}, [{"name": "x"}]])
async def test_an_export_must_be_one(make_bench: MakeBench, export: Any) -> None:
    bench = await make_bench()
    more = {} if export is None else {"export": export}
    asked = bench.act("compare_parameters", **more)
    assert await bench.refused(asked) == "no_export"


async def test_a_large_step_must_be_meant(make_bench: MakeBench) -> None:
    bench = await make_bench()
    wish = {"parameter": "charging_request_voltage", "value": 50.0}
    assert await bench.refused(bench.prepare(**wish)) == "large_step"
    offer = await bench.prepare(**wish, allow_large_step=True)
    assert [c["caution"] for c in offer["cautions"]] == ["large_step"]
    assert (await bench.confirm(offer))["now"] == 50.0


async def test_a_trip_must_be_meant(make_bench: MakeBench) -> None:
    bench = await make_bench(cell_voltages=[2.8] * 16)
    wish = {"parameter": "battery_under_voltage_protection", "value": 44.0}
    assert await bench.refused(bench.prepare(**wish)) == "would_trip"
    offer = await bench.prepare(**wish, allow_trip=True)
    assert [c["caution"] for c in offer["cautions"]] == ["would_trip"]


@pytest.mark.parametrize("value", [True, float("nan"), float("inf"), 10**400])
async def test_what_is_no_number_is_refused_and_logged(
    make_bench: MakeBench, value: Any
) -> None:
    bench = await make_bench()
    assert await bench.refused(bench.prepare(value=value)) == "not_a_number"
    assert bench.steps == ["refused"]
    assert bench.records[0].reason == "not_a_number"


async def test_text_is_no_value(make_bench: MakeBench) -> None:
    bench = await make_bench()
    with pytest.raises(vol.Invalid):
        await bench.prepare(value="45.0")


# What a pack may do


@pytest.mark.parametrize(
    ("fault", "outcome", "now", "reason", "word"),
    [
        (None, "verified", 45.0, None, 4500),
        (WriteFault.REFUSE_REGISTER, "unchanged", 46.4, "refused", 4640),
        (WriteFault.REFUSE_VALUE, "unchanged", 46.4, "refused", 4640),
        (WriteFault.CLAMP, "different", 45.5, "not_kept", 4550),
        (WriteFault.SILENT, "unknown", None, None, 4500),
        (WriteFault.IGNORE, "unchanged", 46.4, "not_kept", 4640),
        (
            WriteFault.NO_ACKNOWLEDGEMENT,
            "verified",
            45.0,
            "no_acknowledgement",
            4500,
        ),
        (WriteFault.LATE, "verified", 45.0, "no_acknowledgement", 4500),
        (WriteFault.POWER_LOSS, "unknown", None, None, 4640),
    ],
)
async def test_whatever_a_pack_does_the_answer_says_what_is_in_it(
    make_bench: MakeBench,
    fault: WriteFault | None,
    outcome: str,
    now: float | None,
    reason: str | None,
    word: int,
) -> None:
    bench = await make_bench(write_fault=fault, clamped=4550, late=0.8)
    offer = await bench.prepare()
    bench.line.real_time = fault is WriteFault.LATE
    result = await bench.confirm(offer)
    assert (result["outcome"], result["now"], result["reason"]) == (
        outcome,
        now,
        reason,
    )
    assert bench.word == word
    assert len(bench.sent) == 1
    assert bench.steps == ["prepared", "confirmed", outcome]
    last = bench.records[-1]
    assert (last.seen, last.reason) == (now, reason)
    undo = result.get("restore_with")
    assert undo == ("undo_parameter_write" if outcome == "different" else None)


async def test_a_value_that_came_back_different_can_be_put_back(
    make_bench: MakeBench,
) -> None:
    bench = await make_bench(write_fault=WriteFault.CLAMP, clamped=4550)
    result = await bench.change()
    assert bench.word == 4550
    bench.pack.write_fault = None
    back = await bench.act("undo_parameter_write", write=result["write"])
    assert (await bench.confirm(back))["now"] == 46.4


async def test_other_parameters_that_changed_are_told(make_bench: MakeBench) -> None:
    bench = await make_bench()

    def also(pack: VirtualPack, now: float) -> None:
        if bench.sent:
            pack.parameters[0x1309] = 4400

    bench.pack.before_answer = also
    result = await bench.change()
    assert result["other_changes"] == [
        {"parameter": "battery_under_voltage_protection", "old": 43.2, "new": 44.0}
    ]


async def test_a_pack_that_does_not_answer_is_told(make_bench: MakeBench) -> None:
    bench = await make_bench()
    bench.pack.silent = True
    assert await bench.refused(bench.prepare()) == "no_answer"
    assert await bench.refused(bench.act("get_parameters")) == "no_answer"
    assert bench.steps == ["refused"]


async def test_a_mistake_in_the_program_leaves_it_unknown(
    make_bench: MakeBench, caplog: pytest.LogCaptureFixture
) -> None:
    bench = await make_bench()
    offer = await bench.prepare()
    with patch.object(seplos_writes.Writer, "_look", side_effect=RuntimeError("x")):
        result = await bench.confirm(offer)
    assert (result["outcome"], result["reason"]) == ("unknown", "broken_off")
    assert bench.steps[-1] == "unknown"
    assert "broke off" in caplog.text
    caplog.clear()


# Codes


async def test_a_code_dies_after_five_minutes(
    make_bench: MakeBench, clock: Clock
) -> None:
    bench = await make_bench()
    offer = await bench.prepare()
    clock.ahead += 301
    assert await bench.refused(bench.confirm(offer)) == "code_unknown"
    assert not bench.sent
    assert bench.steps == ["prepared", "refused"]
    await bench.prepare()
    assert offer["code"] not in bench.writes._offers


async def test_a_code_lives_for_five_minutes(
    make_bench: MakeBench, clock: Clock
) -> None:
    bench = await make_bench()
    offer = await bench.prepare()
    clock.ahead += 295
    code = f" {offer['code'].lower()} "
    assert (await bench.confirm({"code": code}))["outcome"] == "verified"


@pytest.mark.parametrize("fault", [None, WriteFault.IGNORE])
async def test_a_code_works_once_whatever_came_of_it(
    make_bench: MakeBench, fault: WriteFault | None
) -> None:
    bench = await make_bench(write_fault=fault)
    offer = await bench.prepare()
    await bench.confirm(offer)
    assert await bench.refused(bench.confirm(offer)) == "code_unknown"
    assert len(bench.sent) == 1


async def test_a_reload_kills_codes(make_bench: MakeBench, hass: HomeAssistant) -> None:
    bench = await make_bench()
    offer = await bench.prepare()
    assert await hass.config_entries.async_reload(bench.entry.entry_id)
    assert await bench.refused(bench.confirm(offer)) == "code_unknown"
    assert not bench.sent


async def test_a_value_that_changed_in_between_is_left_alone(
    make_bench: MakeBench,
) -> None:
    bench = await make_bench()
    offer = await bench.prepare()
    bench.pack.parameters[REGISTER] = 4600
    result = await bench.confirm(offer)
    assert (result["outcome"], result["reason"]) == ("not_sent", "changed_meanwhile")
    assert result["details"] == {"parameter": ALARM, "value": "46 V"}
    assert not bench.sent
    assert bench.steps == ["prepared", "not_sent"]


async def test_a_pack_that_was_exchanged_in_between_is_left_alone(
    make_bench: MakeBench,
) -> None:
    bench = await make_bench()
    offer = await bench.prepare()
    bench.pack.serial = "ANOTHER"
    result = await bench.confirm(offer)
    assert (result["outcome"], result["reason"]) == ("not_sent", "wrong_battery")
    assert not bench.sent


async def test_a_code_works_for_its_own_battery_only(make_bench: MakeBench) -> None:
    other = VirtualPack(1, serial="OTHER")
    bench = await make_bench(other)
    offer = await bench.prepare()
    wrong = bench.confirm(offer, device_id=bench.device_id(other))
    assert await bench.refused(wrong) == "code_unknown"
    assert not bench.sent
    assert (await bench.confirm(offer))["outcome"] == "verified"


# Who may


async def test_another_users_code_does_not_count(
    make_bench: MakeBench, hass: HomeAssistant
) -> None:
    bench = await make_bench()
    offer = await bench.prepare()
    another = await a_person(hass)
    assert await bench.refused(bench.confirm(offer, by=another)) == "code_of_another"
    assert not bench.sent
    assert bench.steps == ["prepared", "refused"]
    assert bench.records[-1].user_id == another.user_id
    assert (await bench.confirm(offer))["outcome"] == "verified"


async def test_only_administrators_may(
    make_bench: MakeBench, hass: HomeAssistant
) -> None:
    bench = await make_bench()
    offer = await bench.prepare()
    user = await hass.auth.async_create_user("Guest", group_ids=["system-users"])
    guest = Context(user_id=user.id)
    for action, data in (
        ("get_parameters", {}),
        ("prepare_parameter_write", {"parameter": ALARM, "value": 44.0}),
        ("confirm_parameter_write", {"code": offer["code"]}),
        ("undo_parameter_write", {"write": offer["write"]}),
        ("compare_parameters", {"export": []}),
    ):
        with pytest.raises(Unauthorized):
            await bench.act(action, by=guest, **data)
    assert bench.steps == ["prepared"]
    assert not bench.sent


async def test_no_automation_may_write(make_bench: MakeBench) -> None:
    bench = await make_bench()
    done = await bench.change()
    offer = await bench.prepare(value=44.9)
    nobody = Context()
    for action, data in (
        ("prepare_parameter_write", {"parameter": ALARM, "value": 44.0}),
        ("confirm_parameter_write", {"code": offer["code"]}),
        ("undo_parameter_write", {"write": done["write"]}),
    ):
        asked = bench.act(action, by=nobody, **data)
        assert await bench.refused(asked) == "write_needs_person"
    assert len(bench.sent) == 1
    # What only reads may be automated.
    assert await bench.act("get_parameters", by=nobody)


# Where


async def test_a_bank_with_its_own_master_is_not_written_to(
    make_bench: MakeBench, hass: HomeAssistant
) -> None:
    bench = await make_bench(mode="listen")
    assert await bench.refused(bench.prepare()) == "listening"
    assert await bench.refused(bench.act("get_parameters")) == "listening"
    assert not bench.line.frames
    assert bench.steps == ["refused"]


async def test_nothing_is_written_while_it_is_switched_off(
    make_bench: MakeBench, hass: HomeAssistant
) -> None:
    bench = await make_bench(options={"writes": False})
    assert await bench.refused(bench.prepare()) == "writes_off"
    assert await bench.act("get_parameters")
    assert not bench.sent


async def test_switching_it_off_stops_what_was_prepared(
    make_bench: MakeBench, hass: HomeAssistant
) -> None:
    bench = await make_bench()
    offer = await bench.prepare()
    options = {**bench.entry.options, "writes": False}
    hass.config_entries.async_update_entry(bench.entry, options=options)
    assert await bench.refused(bench.confirm(offer)) in ("writes_off", "code_unknown")
    assert not bench.sent


async def test_it_is_off_by_default(make_bench: MakeBench, hass: HomeAssistant) -> None:
    bench = await make_bench()
    hass.config_entries.async_update_entry(bench.entry, options={"interval": 300})
    assert await hass.config_entries.async_reload(bench.entry.entry_id)
    assert await bench.refused(bench.prepare()) == "writes_off"


async def test_valence_modules_are_not_written_to(
    make_bench: MakeBench, make_line: MakeLine, make_entry: MakeEntry
) -> None:
    bench = await make_bench()
    module = VirtualModule(1, serial="104400461")
    line = await make_line(module)
    entry = await make_entry(line.path, identity(module), options={"writes": True})
    device_id = device_of(bench.hass, entry, "valence_104400461")
    line.frames.clear()
    wish = bench.prepare(device_id=device_id)
    assert await bench.refused(wish) == "not_seplos"
    read = bench.act("get_parameters", device_id=device_id)
    assert await bench.refused(read) == "not_seplos"
    assert not line.frames


async def test_a_bus_is_no_battery(make_bench: MakeBench) -> None:
    bench = await make_bench()
    device_id = device_of(bench.hass, bench.entry, bench.entry.entry_id)
    asked = bench.prepare(**{ATTR_DEVICE_ID: device_id})
    assert await bench.refused(asked) == "not_a_battery"
    with pytest.raises(ServiceValidationError):
        await bench.prepare(**{ATTR_DEVICE_ID: "nothing"})


async def test_the_line_must_have_been_watched_for_a_minute(
    make_bench: MakeBench,
) -> None:
    bench = await make_bench()
    with patch.object(seplos_writes, "QUIET", 60.0):
        assert await bench.refused(bench.prepare()) == "not_quiet"
    assert bench.records[-1].reason == "not_quiet"


# At the same time


async def test_of_two_writes_at_once_the_second_is_refused(
    make_bench: MakeBench, hass: HomeAssistant
) -> None:
    bench = await make_bench()
    first, second = await bench.prepare(), await bench.prepare(value=44.9)
    with Pause().between() as pause:
        writing = hass.async_create_task(bench.confirm(first))
        await asyncio.wait_for(pause.reached.wait(), 5)
        assert await bench.refused(bench.confirm(second)) == "write_under_way"
    assert (await writing)["outcome"] == "verified"
    result = await bench.confirm(second)
    assert (result["outcome"], result["reason"]) == ("not_sent", "changed_meanwhile")
    assert len(bench.sent) == 1


async def test_polling_waits_for_the_read_back_and_goes_on(
    make_bench: MakeBench, hass: HomeAssistant
) -> None:
    bench = await make_bench()
    offer = await bench.prepare()
    with Pause().between() as pause:
        writing = hass.async_create_task(bench.confirm(offer))
        await asyncio.wait_for(pause.reached.wait(), 5)
        polling = hass.async_create_task(bench.entry.runtime_data.async_refresh())
        sent = len(bench.line.frames)
        await asyncio.sleep(0.1)
        assert len(bench.line.frames) == sent
    assert (await writing)["outcome"] == "verified"
    await polling
    assert bench.entry.runtime_data.last_update_success


async def test_a_caller_that_is_gone_changes_nothing(
    make_bench: MakeBench, hass: HomeAssistant
) -> None:
    bench = await make_bench()
    offer = await bench.prepare()
    with Pause().between() as pause:
        writing = asyncio.ensure_future(bench.confirm(offer))
        await asyncio.wait_for(pause.reached.wait(), 5)
        writing.cancel()
        with pytest.raises(asyncio.CancelledError):
            await writing
        assert bench.steps == ["prepared", "confirmed"]
    await bench.settle()
    assert bench.steps == ["prepared", "confirmed", "verified"]


async def test_an_entry_that_is_unloaded_reads_back_first(
    make_bench: MakeBench, hass: HomeAssistant
) -> None:
    bench = await make_bench()
    offer, log = await bench.prepare(), bench.writes.log
    with Pause().between() as pause:
        writing = hass.async_create_task(bench.confirm(offer))
        await asyncio.wait_for(pause.reached.wait(), 5)
        unloading = hass.async_create_task(
            hass.config_entries.async_unload(bench.entry.entry_id)
        )
        await asyncio.sleep(0.05)
        assert not unloading.done()
        assert bench.line.frames
    assert (await writing)["outcome"] == "verified"
    assert await unloading
    assert bench.entry.state is ConfigEntryState.NOT_LOADED
    assert log.records[-1].step == "verified"


async def test_home_assistant_that_stops_reads_back_first(
    make_bench: MakeBench, hass: HomeAssistant, hass_storage: dict[str, Any]
) -> None:
    bench = await make_bench()
    offer = await bench.prepare()
    with Pause().between() as pause:
        writing = asyncio.ensure_future(bench.confirm(offer))
        await asyncio.wait_for(pause.reached.wait(), 5)
        stopping = asyncio.ensure_future(hass.async_stop())
        await asyncio.sleep(0.05)
        assert bench.entry.runtime_data.bus.is_open
    assert (await writing)["outcome"] == "verified"
    await stopping
    stored = hass_storage[f"{DOMAIN}.{bench.entry.entry_id}.writes"]["data"]
    assert [record["step"] for record in stored["records"]] == [
        *("prepared", "confirmed", "verified"),
    ]


# The way back


async def test_there_is_no_way_back_from_what_changed_nothing(
    make_bench: MakeBench,
) -> None:
    bench = await make_bench(write_fault=WriteFault.IGNORE)
    result = await bench.change()
    undo = bench.act("undo_parameter_write", write=result["write"])
    assert await bench.refused(undo) == "write_unknown"
    undo = bench.act("undo_parameter_write", write="NEVER")
    assert await bench.refused(undo) == "write_unknown"


async def test_a_write_is_undone_in_its_own_battery_only(
    make_bench: MakeBench,
) -> None:
    other = VirtualPack(1, serial="OTHER")
    bench = await make_bench(other)
    result = await bench.change()
    undo = bench.act(
        "undo_parameter_write",
        write=result["write"],
        device_id=bench.device_id(other),
    )
    assert await bench.refused(undo) == "write_unknown"
