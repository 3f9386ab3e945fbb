"""Who wanted what written, and what came of it: kept, told, and looked at again."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any
from unittest.mock import patch

from homeassistant.components.logbook.const import (
    LOGBOOK_ENTRY_MESSAGE,
    LOGBOOK_ENTRY_NAME,
)
from homeassistant.core import CoreState, Event, HomeAssistant, callback
from homeassistant.helpers import entity_registry as er
from homeassistant.helpers.event import async_track_state_change_event
from homeassistant.helpers.storage import Store
from homeassistant.helpers.translation import async_get_translations
from homeassistant.util import dt as dt_util
from homeassistant.util.file import WriteError
import pytest
from pytest_homeassistant_custom_component.common import async_fire_time_changed

from custom_components.openxpbms.bms.seplos_writes import Writer
from custom_components.openxpbms.bms.virtual.seplos import VirtualPack, WriteFault
from custom_components.openxpbms.const import DOMAIN
from custom_components.openxpbms.logbook import async_describe_events
from custom_components.openxpbms.write_log import KEPT, Record, Step, WriteLog
from custom_components.openxpbms.writes import EVENT_WRITE

from .writing import (
    ALARM,
    REGISTER,
    SERIAL,
    Bench,
    MakeBench,
    Pause,
    clock,
    make_bench,
)

__all__ = ["clock", "make_bench"]

NAME = f"SG16S200A-SP57B-A {SERIAL}"
UNDER_VOLTAGE = "battery_under_voltage_protection"


def stored(hass_storage: dict[str, Any], entry: Any) -> dict[str, Any]:
    """Return what is on the disk."""
    data: dict[str, Any] = hass_storage[f"{DOMAIN}.{entry.entry_id}.writes"]["data"]
    return data


def record(write: str = "W", step: Step = Step.CONFIRMED, **more: Any) -> Record:
    """Return a record of the README's example."""
    known = {"battery": NAME, "parameter": ALARM, "unit": "V", "old": 46.4}
    return Record(write=write, step=step, **{**known, "new": 45.0, **more})


async def minute(bench: Bench) -> None:
    """Let the minute after a write pass."""
    async_fire_time_changed(bench.hass, dt_util.utcnow() + timedelta(seconds=61))
    await bench.settle()


async def silence(bench: Bench) -> None:
    """Let a pack fall silent and come back."""
    bench.pack.silent = True
    [battery, *_] = bench.entry.runtime_data
    for _ in range(5):
        await bench.refresh()
        if battery.reading is None:
            break
    assert battery.reading is None
    bench.pack.silent = False
    for _ in range(5):
        await bench.refresh()
        if battery.reading is not None:
            break
    assert battery.reading is not None
    await bench.settle()


# The record


async def test_every_step_is_recorded_with_time_user_and_values(
    make_bench: MakeBench, hass_storage: dict[str, Any]
) -> None:
    bench = await make_bench()
    start = dt_util.utcnow()
    result = await bench.change()
    assert bench.steps == ["prepared", "confirmed", "verified"]
    for found in bench.records:
        assert found.write == result["write"]
        assert (found.battery, found.parameter, found.unit) == (NAME, ALARM, "V")
        assert (found.old, found.new) == (46.4, 45.0)
        assert (found.user_id, found.user) == (bench.person.user_id, "Somebody")
        told = dt_util.parse_datetime(found.time)
        assert told is not None
        assert start <= told <= dt_util.utcnow()
    on_disk = stored(hass_storage, bench.entry)["records"]
    assert [each["step"] for each in on_disk] == bench.steps
    assert on_disk[-1]["seen"] == 45.0


async def test_the_record_is_on_the_disk_before_the_frame_leaves(
    make_bench: MakeBench, hass_storage: dict[str, Any]
) -> None:
    bench = await make_bench()
    offer = await bench.prepare()
    seen: list[list[str]] = []

    def look(pack: VirtualPack, now: float) -> None:
        if bench.sent and not seen:
            records = stored(hass_storage, bench.entry)["records"]
            seen.append([each["step"] for each in records])

    bench.pack.before_answer = look
    await bench.confirm(offer)
    assert seen == [["prepared", "confirmed"]]


@pytest.mark.parametrize(
    "broken",
    [
        pytest.param({"side_effect": WriteError("no space left")}, id="full"),
        pytest.param({"side_effect": PermissionError("read-only")}, id="read-only"),
        pytest.param({"return_value": None}, id="nothing is written"),
    ],
)
async def test_what_cannot_be_recorded_is_not_sent(
    make_bench: MakeBench, broken: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    bench = await make_bench()
    offer = await bench.prepare()
    with patch.object(Store, "_async_write_data", **broken):
        result = await bench.confirm(offer)
    assert (result["outcome"], result["reason"]) == ("not_sent", "not_kept")
    assert not bench.sent
    assert bench.word == 4640
    assert bench.steps == ["prepared", "confirmed", "not_sent"]
    caplog.clear()


async def test_what_cannot_be_recorded_afterwards_is_told_all_the_same(
    make_bench: MakeBench, caplog: pytest.LogCaptureFixture
) -> None:
    bench = await make_bench()
    offer = await bench.prepare()
    with Pause().between() as pause:
        writing = bench.hass.async_create_task(bench.confirm(offer))
        await asyncio.wait_for(pause.reached.wait(), 5)
        full = patch.object(Store, "_async_write_data", side_effect=OSError("full"))
        with full:
            pause.go_on.set()
            assert (await writing)["outcome"] == "verified"
    assert bench.steps[-1] == "verified"
    caplog.clear()


async def test_nothing_is_sent_while_home_assistant_only_keeps_later(
    make_bench: MakeBench,
) -> None:
    bench = await make_bench()
    offer = await bench.prepare()
    bench.hass.set_state(CoreState.stopping)
    result = await bench.confirm(offer)
    bench.hass.set_state(CoreState.running)
    assert (result["outcome"], result["reason"]) == ("not_sent", "not_kept")
    assert not bench.sent


async def test_the_last_two_hundred_are_kept(
    hass: HomeAssistant, hass_storage: dict[str, Any]
) -> None:
    log = WriteLog(hass, "E")
    for n in range(KEPT + 5):
        assert await log.add(record(str(n), Step.VERIFIED))
    assert KEPT == 200
    again = WriteLog(hass, "E")
    assert await again.load() == []
    assert [each.write for each in again.records] == [str(n) for n in range(5, 205)]
    assert again.records == log.records


async def test_it_outlasts_a_reload_and_can_be_undone_then(
    make_bench: MakeBench, hass: HomeAssistant
) -> None:
    bench = await make_bench()
    result = await bench.change()
    before = bench.records
    assert await hass.config_entries.async_reload(bench.entry.entry_id)
    assert bench.records == before
    back = await bench.act("undo_parameter_write", write=result["write"])
    assert back["new"] == 46.4


async def test_an_interrupted_write_is_told_as_unknown_after_a_restart(
    make_bench: MakeBench, hass: HomeAssistant, hass_storage: dict[str, Any]
) -> None:
    bench = await make_bench()
    log = bench.writes.log
    await log.add(record("ENDED"))
    await log.add(record("ENDED", Step.UNCHANGED))
    await log.add(record("OPEN", user_id=bench.person.user_id))
    assert await hass.config_entries.async_unload(bench.entry.entry_id)
    assert await hass.config_entries.async_setup(bench.entry.entry_id)
    await hass.async_block_till_done()
    last = bench.records[-1]
    assert (last.write, last.step, last.reason) == (
        *("OPEN", Step.UNKNOWN),
        "interrupted",
    )
    assert (last.old, last.new, last.user_id) == (46.4, 45.0, bench.person.user_id)
    assert [event.data["step"] for event in bench.events] == ["unknown"]
    state = hass.states.get(event_entity(bench))
    assert state is not None
    assert state.attributes["event_type"] == "unknown"
    assert state.attributes["reason"] == "interrupted"
    # With the first contact it is known what is in the pack; it is told once.
    await bench.refresh()
    last = bench.records[-1]
    assert (last.write, last.step, last.seen) == ("OPEN", Step.UNCHANGED, 46.4)
    assert await hass.config_entries.async_reload(bench.entry.entry_id)
    await bench.refresh()
    assert (bench.steps.count("unknown"), bench.steps[-1]) == (1, "unchanged")
    back = bench.act("undo_parameter_write", write="OPEN")
    assert await bench.refused(back) == "unchanged"


async def test_an_interrupted_write_that_came_through_is_told_and_can_be_undone(
    make_bench: MakeBench, hass: HomeAssistant
) -> None:
    bench = await make_bench()
    # What an earlier write left is not compared: this one may have changed it.
    await bench.change(value=45.9)
    await bench.writes.log.add(record("OPEN", old=45.9))
    assert await hass.config_entries.async_unload(bench.entry.entry_id)
    bench.pack.parameters[REGISTER] = 4500
    assert await hass.config_entries.async_setup(bench.entry.entry_id)
    await hass.async_block_till_done()
    await bench.refresh()
    await minute(bench)
    assert bench.steps[-2:] == ["unknown", "verified"]
    assert bench.records[-1].seen == 45.0
    assert "reverted" not in bench.steps
    back = await bench.act("undo_parameter_write", write="OPEN")
    assert back["new"] == 45.9


STEP = {"write": "A", "step": "verified", "battery": "b", "parameter": "p"}


@pytest.mark.parametrize(
    "data",
    [
        {"records": []},
        {"factory": {}, "records": [{"step": "nonsense"}]},
        {"factory": {}, "records": [STEP | {"write": ["A"]}]},
        {"factory": {}, "records": [STEP | {"seen": "a lot"}]},
        {"factory": {"b": {"p": None}}, "records": []},
    ],
)
async def test_a_log_that_makes_no_sense_stops_writes_and_nothing_else(
    make_bench: MakeBench,
    hass: HomeAssistant,
    hass_storage: dict[str, Any],
    data: dict[str, Any],
    caplog: pytest.LogCaptureFixture,
) -> None:
    bench = await make_bench()
    key = f"{DOMAIN}.{bench.entry.entry_id}.writes"
    assert await hass.config_entries.async_unload(bench.entry.entry_id)
    hass_storage[key]["data"] = data
    assert await hass.config_entries.async_setup(bench.entry.entry_id)
    await hass.async_block_till_done()
    result = await bench.change()
    assert (result["outcome"], result["reason"]) == ("not_sent", "not_kept")
    assert not bench.sent
    assert hass_storage[key]["data"] == data
    caplog.clear()


async def test_it_goes_with_its_entry(
    make_bench: MakeBench, hass: HomeAssistant, hass_storage: dict[str, Any]
) -> None:
    bench = await make_bench()
    await bench.change()
    assert await hass.config_entries.async_remove(bench.entry.entry_id)
    assert f"{DOMAIN}.{bench.entry.entry_id}.writes" not in hass_storage


# Factory values


async def test_values_at_first_contact_are_kept_and_no_others(
    make_bench: MakeBench, hass: HomeAssistant, hass_storage: dict[str, Any]
) -> None:
    bench = await make_bench()
    key = f"seplos_{SERIAL}"
    factory = stored(hass_storage, bench.entry)["factory"][key]
    assert len(factory) == 106
    assert factory[ALARM] == 46.4
    await bench.change()
    await bench.refresh()
    assert await hass.config_entries.async_reload(bench.entry.entry_id)
    await bench.refresh()
    await bench.act("get_parameters")
    assert stored(hass_storage, bench.entry)["factory"] == {key: factory}


async def test_a_limit_may_go_back_to_where_it_came_from_and_not_beyond(
    make_bench: MakeBench,
) -> None:
    # More than 1.05 x the board's 200 A.
    bench = await make_bench(parameters={0x1318: 0, 0x1366: 230})
    name = "charging_request_current"
    down = await bench.change(parameter=name, value=205, allow_large_step=True)
    assert down["outcome"] == "verified"
    beyond = bench.prepare(parameter=name, value=231, allow_large_step=True)
    assert await bench.refused(beyond) == "beyond_board"
    back = await bench.act(
        "undo_parameter_write", write=down["write"], allow_large_step=True
    )
    assert (await bench.confirm(back))["now"] == 230


# Looked at again


async def test_a_value_that_stays_is_looked_at_after_a_minute_and_a_silence(
    make_bench: MakeBench,
) -> None:
    bench = await make_bench()
    looks: list[str] = []
    look_again = Writer.look_again

    async def look(writer: Writer, change: Any) -> Any:
        looks.append(change.name)
        return await look_again(writer, change)

    with patch.object(Writer, "look_again", look):
        await bench.change()
        await minute(bench)
        assert looks == [ALARM]
        await silence(bench)
        assert looks == [ALARM, ALARM]
        await silence(bench)
        assert looks == [ALARM, ALARM]
    assert bench.steps[-1] == "verified"


async def test_a_value_that_went_back_within_a_minute_is_an_event(
    make_bench: MakeBench,
) -> None:
    bench = await make_bench()
    await bench.change()
    bench.pack.parameters[REGISTER] = 4640
    await minute(bench)
    last = bench.records[-1]
    assert (last.step, last.seen) == (Step.REVERTED, 46.4)
    assert bench.events[-1].data["step"] == "reverted"
    # It is told once.
    await silence(bench)
    assert bench.steps.count("reverted") == 1


async def test_a_value_that_went_back_with_a_silence_is_an_event(
    make_bench: MakeBench,
) -> None:
    bench = await make_bench()
    await bench.change()
    await minute(bench)
    bench.pack.parameters[REGISTER] = 4700
    await silence(bench)
    last = bench.records[-1]
    assert (last.step, last.seen) == (Step.REVERTED, 47.0)


async def test_every_parameter_that_was_written_is_looked_at(
    make_bench: MakeBench,
) -> None:
    bench = await make_bench()
    first = await bench.change()
    await bench.change(parameter=UNDER_VOLTAGE, value=43.0)
    bench.pack.parameters[REGISTER] = 4640
    await minute(bench)
    last = bench.records[-1]
    assert (last.step, last.write) == (Step.REVERTED, first["write"])
    assert bench.steps.count("reverted") == 1


async def test_what_was_undone_did_not_go_back(make_bench: MakeBench) -> None:
    bench = await make_bench()
    result = await bench.change()
    back = await bench.act("undo_parameter_write", write=result["write"])
    await bench.confirm(back)
    await minute(bench)
    await silence(bench)
    assert "reverted" not in bench.steps


async def test_a_pack_that_is_silent_after_a_minute_is_looked_at_later(
    make_bench: MakeBench, caplog: pytest.LogCaptureFixture
) -> None:
    bench = await make_bench()
    await bench.change()
    bench.pack.silent = True
    bench.pack.parameters[REGISTER] = 4640
    await minute(bench)
    assert "could not be looked at again" in caplog.text
    assert bench.steps[-1] == "verified"
    await silence(bench)
    assert bench.steps[-1] == "reverted"
    caplog.clear()


async def reload_later(bench: Bench, later: float) -> None:
    """Restart, so many seconds after what was written last."""
    config_entries = bench.hass.config_entries
    assert await config_entries.async_unload(bench.entry.entry_id)
    now = dt_util.utcnow() + timedelta(seconds=later)
    with patch("custom_components.openxpbms.comparing.dt_util.utcnow", lambda: now):
        assert await config_entries.async_setup(bench.entry.entry_id)
        await bench.hass.async_block_till_done()


@pytest.mark.parametrize("later", [1, 3600, -3600])
async def test_what_was_written_is_compared_after_a_restart_too(
    make_bench: MakeBench, hass_storage: dict[str, Any], later: float
) -> None:
    bench = await make_bench()
    result = await bench.change()
    assert stored(hass_storage, bench.entry)["comparing"] == [result["write"]]
    bench.pack.parameters[REGISTER] = 4640
    await reload_later(bench, later)
    await bench.refresh()
    last = bench.records[-1]
    assert (last.write, last.step, last.seen) == (result["write"], Step.REVERTED, 46.4)
    assert last.user == "Somebody"
    assert stored(hass_storage, bench.entry)["comparing"] == []


@pytest.mark.parametrize(("later", "ends"), [(1, False), (3600, True)])
async def test_a_restart_is_a_silence_but_the_minute_goes_on(
    make_bench: MakeBench, hass_storage: dict[str, Any], later: float, ends: bool
) -> None:
    bench = await make_bench()
    await bench.change()
    await reload_later(bench, later)
    await bench.refresh()
    assert (stored(hass_storage, bench.entry)["comparing"] == []) is ends
    bench.pack.parameters[REGISTER] = 4640
    await minute(bench)
    assert (bench.steps[-1] == "verified") is ends


@pytest.mark.parametrize(
    "spoil",
    [
        {"battery": "Another"},
        {"parameter": "float_voltage"},
        {"new": None},
        {"old": 1e9},
    ],
)
async def test_what_cannot_be_compared_any_more_is_left(
    make_bench: MakeBench, hass_storage: dict[str, Any], spoil: dict[str, Any]
) -> None:
    bench = await make_bench()
    await bench.change()
    stored(hass_storage, bench.entry)["records"][-1].update(spoil)
    await reload_later(bench, 3600)
    bench.pack.parameters[REGISTER] = 4640
    await bench.refresh()
    await minute(bench)
    assert bench.steps[-1] == "verified"


async def test_a_bank_that_is_listened_to_now_is_not_compared(
    make_bench: MakeBench, hass: HomeAssistant
) -> None:
    bench = await make_bench()
    await bench.change()
    hass.config_entries.async_update_entry(
        bench.entry, data={**bench.entry.data, "mode": "listen"}
    )
    await reload_later(bench, 3600)
    await minute(bench)
    assert bench.steps[-1] == "verified"


async def test_what_nobody_could_read_back_is_told_when_the_pack_is_back(
    make_bench: MakeBench,
) -> None:
    bench = await make_bench()
    offer = await bench.prepare()
    with Pause().between() as pause:
        writing = bench.hass.async_create_task(bench.confirm(offer))
        await asyncio.wait_for(pause.reached.wait(), 5)
        bench.pack.silent = True
        pause.go_on.set()
        assert (await writing)["outcome"] == "unknown"
    await silence(bench)
    assert bench.steps[-2:] == ["unknown", "verified"]
    await silence(bench)
    assert bench.steps.count("verified") == 1


async def test_a_look_while_it_is_written_again_tells_nothing(
    make_bench: MakeBench,
) -> None:
    bench = await make_bench()
    await bench.change()
    offer = await bench.prepare(value=44.9)
    with Pause().between() as pause:
        writing = bench.hass.async_create_task(bench.confirm(offer))
        await asyncio.wait_for(pause.reached.wait(), 5)
        async_fire_time_changed(bench.hass, dt_util.utcnow() + timedelta(seconds=61))
        await asyncio.sleep(0.05)
    assert (await writing)["outcome"] == "verified"
    await bench.settle()
    assert "reverted" not in bench.steps


# Told


def event_entity(bench: Bench) -> str:
    """Return the event entity of the pack."""
    entity_id = er.async_get(bench.hass).async_get_entity_id(
        "event", DOMAIN, f"seplos_{SERIAL}_parameter_write"
    )
    assert entity_id is not None
    return entity_id


async def test_the_event_entity_tells_every_step_as_the_users(
    make_bench: MakeBench,
) -> None:
    bench = await make_bench()
    states: list[Any] = []
    async_track_state_change_event(
        bench.hass,
        event_entity(bench),
        callback(lambda event: states.append(event.data["new_state"])),
    )
    result = await bench.change()
    await bench.settle()
    told = [state.attributes["event_type"] for state in states]
    assert told == ["prepared", "confirmed", "verified"]
    last = states[-1]
    assert last.context.user_id == bench.person.user_id
    assert {
        name: last.attributes[name]
        for name in ("parameter", "unit", "old", "new", "seen", "reason", "write")
    } == {
        "parameter": ALARM,
        "unit": "V",
        "old": 46.4,
        "new": 45.0,
        "seen": 45.0,
        "reason": None,
        "write": result["write"],
    }


async def test_events_carry_the_users_context(make_bench: MakeBench) -> None:
    bench = await make_bench()
    await bench.change()
    await bench.settle()
    assert [event.data["step"] for event in bench.events] == bench.steps
    assert {event.data["device_id"] for event in bench.events} == {bench.device_id()}
    [entity_id] = {event.data["entity_id"] for event in bench.events}
    assert entity_id.endswith("_parameter_write")
    assert {event.context.user_id for event in bench.events} == {bench.person.user_id}


async def sentence(
    hass: HomeAssistant, language: str = "en", **data: Any
) -> dict[str, str]:
    """Return what the logbook says of an event."""
    hass.config.language = language
    await async_get_translations(hass, language, "selector", [DOMAIN])
    known: dict[str, Any] = {}

    def describe(domain: str, event_type: str, how: Any) -> None:
        known[domain, event_type] = how

    async_describe_events(hass, describe)
    event: Event = Event(
        EVENT_WRITE,
        {
            "battery": NAME,
            "parameter": ALARM,
            "old": 46.4,
            "new": 45.0,
            "seen": None,
            "reason": None,
            **data,
        },
    )
    told: dict[str, str] = known[DOMAIN, EVENT_WRITE](event)
    return told


@pytest.mark.parametrize(
    ("step", "more", "message"),
    [
        ("prepared", {}, "was asked to change {} from 46.40 V to 45.00 V"),
        (
            "refused",
            {"reason": "large_step"},
            "may not have {} changed to 45.00 V: large step",
        ),
        ("confirmed", {}, "is being told to change {} from 46.40 V to 45.00 V"),
        (
            "not_sent",
            {"reason": "changed_meanwhile"},
            "was not told to change {}: changed meanwhile",
        ),
        ("verified", {"seen": 45.0}, "has {} at 45.00 V now, before 46.40 V"),
        ("unchanged", {"seen": 46.4}, "kept {} at 46.40 V and did not take 45.00 V"),
        ("different", {"seen": 45.5}, "has {} at 45.50 V now, not at 45.00 V"),
        (
            "unknown",
            {},
            "may have {} at 46.40 V or 45.00 V: nobody could read it back",
        ),
        ("reverted", {"seen": 46.4}, "went back with {} from 45.00 V to 46.40 V"),
    ],
)
async def test_the_logbook_has_a_sentence_for_every_step(
    hass: HomeAssistant, step: str, more: dict[str, Any], message: str
) -> None:
    assert await sentence(hass, step=step, **more) == {
        LOGBOOK_ENTRY_NAME: NAME,
        LOGBOOK_ENTRY_MESSAGE: message.format(ALARM),
    }


async def test_no_step_is_left_out_of_the_logbook(hass: HomeAssistant) -> None:
    for step in Step:
        told = await sentence(hass, step=step)
        assert told[LOGBOOK_ENTRY_MESSAGE] != step


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (
            {"step": "verified"},
            "hat {} jetzt auf 45.00 V, vorher 46.40 V",
        ),
        (
            {"step": "refused", "reason": "large_step"},
            "darf {} nicht auf 45.00 V ändern: großer Sprung",
        ),
    ],
)
async def test_the_logbook_speaks_the_language_of_home_assistant(
    hass: HomeAssistant, data: dict[str, Any], message: str
) -> None:
    told = await sentence(hass, "de", **data)
    assert told[LOGBOOK_ENTRY_MESSAGE] == message.format(ALARM)


async def test_the_logbook_has_one_for_what_is_no_parameter(
    hass: HomeAssistant,
) -> None:
    told = await sentence(
        hass,
        step="refused",
        parameter="float_voltage",
        old=None,
        new=5.5,
        reason="unknown_parameter",
    )
    assert told[LOGBOOK_ENTRY_MESSAGE] == (
        "may not have float_voltage changed to 5.5: unknown parameter"
    )


async def test_a_refusal_by_the_pack_is_told_too(make_bench: MakeBench) -> None:
    bench = await make_bench(write_fault=WriteFault.REFUSE_VALUE)
    await bench.change()
    await bench.settle()
    told = bench.events[-1].data
    assert (told["step"], told["reason"]) == ("unchanged", "refused")
