"""Codes of confirmed writes, and the log of writes, whatever is put in."""

from __future__ import annotations

import asyncio
from dataclasses import asdict
import json
import logging
import random
from typing import Any

from homeassistant.core import Context, HomeAssistant
from homeassistant.exceptions import ServiceValidationError
from hypothesis import strategies as st

from custom_components.openxpbms.bms.parameters import BY_NAME
from custom_components.openxpbms.logbook import async_describe_events
from custom_components.openxpbms.write_log import Record, Step, WriteLog
from custom_components.openxpbms.writes import EVENT_WRITE

from ..fuzz.inputs import WANTED, at_once, examine, fuzz, inputs
from ..fuzz.test_kept import damaged
from .guarding import a_person
from .writing import ALARM, Bench, MakeBench, clock, make_bench

__all__ = ["clock", "make_bench"]

HEX = "0123456789ABCDEF"


def refused(bench: Bench, code: str, user: str | None) -> str | None:
    """Confirm with a code that must not count; return why it does not."""
    try:
        at_once(bench.writes.confirm(code, user))
    except ServiceValidationError as err:
        return err.translation_key
    raise AssertionError(f"{code} counts")


async def test_only_the_code_of_an_offer_counts(make_bench: MakeBench) -> None:
    bench = await make_bench()
    offer = await bench.prepare()
    right: str = offer["code"]
    person = bench.person.user_id

    def check(chance: random.Random, how: int) -> None:
        code = list(right)
        match how:
            case 0:
                code = chance.choices(HEX, k=6)
            case 1:
                code[chance.randrange(6)] = chance.choice(HEX + " \0Äß")
            case 2:
                del code[chance.randrange(6)]
            case 3:
                code.insert(chance.randrange(7), chance.choice(HEX + "-_"))
            case 4:
                chance.shuffle(code)
            case 5:
                code = [chr(chance.randrange(0x110000)) for _ in range(6)]
            case _:
                code = code * chance.randint(2, 5)
        text = "".join(code)
        if text.strip().upper() == right:
            return
        assert refused(bench, text, person) == "code_unknown"
        assert len(bench.writes._offers) == 1

    fuzz("confirmation codes", check, st.integers(0, 6))

    def anything(text: str) -> None:
        if text.strip().upper() != right:
            assert refused(bench, text, person) == "code_unknown"
        assert refused(bench, text, None) == "write_needs_person"

    examine("confirmation codes", anything, st.text(max_size=12))
    assert bench.steps == ["prepared"]
    assert not bench.sent
    # It still counts, in the way people type it, and once.
    result = await bench.confirm({"code": f" {right.lower()} "})
    assert result["outcome"] == "verified"
    assert refused(bench, right, person) == "code_unknown"
    assert len(bench.sent) == 1


async def test_an_offer_is_for_one_person_one_battery_and_five_minutes(
    hass: HomeAssistant, make_bench: MakeBench, clock: Any
) -> None:
    bench = await make_bench()
    others = [await a_person(hass) for _ in range(2)]
    mine = bench.person
    chance = random.Random(WANTED)
    for _ in range(300 if WANTED else 30):
        inputs["confirmation codes"] += 1
        volts = chance.choice((45.0, 45.5, 46.0))
        before = bench.word
        if before == round(100 * volts):
            continue
        offer = await bench.prepare(value=volts)
        sent = len(bench.sent)
        if chance.random() < 0.3:
            clock.ahead += 301
            reason = await bench.refused(bench.confirm(offer))
            assert reason == "code_unknown"
        else:
            for _ in range(chance.randint(0, 2)):
                by = chance.choice((*others, Context()))
                reason = await bench.refused(bench.confirm(offer, by=by))
                assert reason in ("code_of_another", "write_needs_person")
            assert len(bench.sent) == sent
            if chance.random() < 0.5:
                both = (bench.confirm(offer, by=mine), bench.confirm(offer, by=mine))
                came = await asyncio.gather(*both, return_exceptions=True)
                assert sum(isinstance(each, dict) for each in came) == 1
                assert len(bench.sent) == sent + 1
                assert bench.word == round(100 * volts)
                continue
        assert len(bench.sent) == sent
        assert bench.word == before


class File:
    """What was read, in place of a file."""

    def __init__(self, data: Any) -> None:
        self.data = data
        self.saved: list[Any] = []

    async def load(self) -> Any:
        """Return it."""
        return self.data

    async def save(self, data: Any) -> bool:
        """Keep it, as JSON."""
        self.saved.append(json.loads(json.dumps(data, allow_nan=False)))
        return True


def a_record(chance: random.Random) -> Record:
    """Return one step of one of a few writes."""
    return Record(
        write=chance.choice("ABC"),
        step=chance.choice(list(Step)),
        battery=chance.choice(("SG16 1", "SG16 2")),
        parameter=chance.choice((ALARM, *list(BY_NAME)[:3], "gone")),
        unit=chance.choice(("V", "")),
        old=chance.choice((None, 46.4)),
        new=chance.choice((None, 45.0, 0)),
        seen=chance.choice((None, 45.0)),
        reason=chance.choice((None, "refused", "gone")),
        user_id=chance.choice((None, "u1", "u2")),
        user=chance.choice((None, "Somebody")),
    )


async def test_a_log_in_any_state(hass: HomeAssistant) -> None:
    describe: dict[str, Any] = {}
    async_describe_events(
        hass, lambda domain, name, call: describe.update({name: call})
    )

    def check(chance: random.Random, times: int) -> None:
        records = [a_record(chance) for _ in range(chance.randint(0, 6))]
        data = {
            "records": [asdict(record) for record in records],
            "factory": {"seplos_1": {ALARM: 46.4}},
        }
        log = WriteLog(hass, "e")
        file = File(damaged(chance, data, times))
        log._file = file  # type: ignore[assignment]
        untold = at_once(log.load())
        if not times:
            assert not log._lost
            assert log.records[: len(records)] == records
        if log._lost:
            assert (untold, log.records, log.factory) == ([], [], {})
            assert not at_once(log.add(a_record(chance)))
            assert not file.saved
            return
        assert all(record.step is Step.UNKNOWN for record in untold)
        # What was taken can be kept, compared, told, and started over with.
        assert at_once(log.add(a_record(chance)))
        again = WriteLog(hass, "e")
        again._file = File(file.saved[-1])  # type: ignore[assignment]
        at_once(again.load())
        assert not again._lost
        for record in log.records:
            told = {**asdict(record), "step": record.step}
            assert isinstance(record.write, str)
            if EVENT_WRITE in describe:
                event = type("Event", (), {"data": told, "data_entry": None})()
                assert describe[EVENT_WRITE](event)["message"]
        for values in log.factory.values():
            assert all(isinstance(v, int | float) for v in values.values())

    logging.disable(logging.CRITICAL)
    try:
        fuzz("write log", check, st.integers(0, 3))
    finally:
        logging.disable(logging.NOTSET)
