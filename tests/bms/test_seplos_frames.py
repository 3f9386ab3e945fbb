"""Captured Seplos frames: found for what they are, and decoded to what they tell."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import pytest

from custom_components.openxpbms.bms.bank import Bank, HeardPack
from custom_components.openxpbms.bms.foreign import ForeignWatch
from custom_components.openxpbms.bms.frame import (
    Frame,
    Refusal,
    Reply,
    Request,
    Write,
    find_frames,
    find_reply,
    with_crc,
)
from custom_components.openxpbms.bms.parameters import PARAMETERS
from custom_components.openxpbms.bms.registers import Block, Field, decode
from custom_components.openxpbms.bms.seplos_tables import (
    CELLS,
    CLOCK,
    FIELDS,
    FUNCTIONS,
    PIA,
    PIA_SHORT,
    PIB,
    PIC,
    SENSORS,
    SFA,
    VIA,
    clock_time,
    coil_values,
    decode_table,
    is_pib,
)

from . import seplos_data
from .seplos_data import CAPTURED, FRAMED, STATES, Captured, parameter, those

# A read of more coils than Modbus allows; the pack refused it.
TOO_MANY = "01 01 12 00 09 00 3F 22"
VALID = [item for item in CAPTURED if item.crc_ok and item.hex != TOO_MANY]
BROKEN = [item for item in CAPTURED if item.crc_ok is False]
GROUP_TOTALS = ("EIA", "EIB", "EIC", "PCT")


def frame_of(item: Captured) -> Frame:
    """Return what a frame says, by what is stated of it."""
    values = item.values
    match item.kind:
        case "request":
            return Request(
                item.address, values["function"], values["register"], values["count"]
            )
        case "write":
            data = b"".join(word.to_bytes(2, "big") for word in values["raw"])
            return Write(item.address, values["function"], values["register"], data)
        case "acknowledgement":
            data = values["register"].to_bytes(2, "big")
            data += values["count"].to_bytes(2, "big")
            return Reply(item.address, values["function"], data)
        case "refusal":
            return Refusal(item.address, values["refused"], values["code"])
    coils = item.table in ("PIC", "SFA", "EIC")
    return Reply(item.address, 1 if coils else 4, item.payload)


def test_the_record_is_whole() -> None:
    assert len(VALID) == 75
    assert len(BROKEN) == 1
    assert {item.kind for item in CAPTURED} == {
        "request",
        "write",
        "acknowledgement",
        "reply",
        "unsolicited",
        "payload",
        "refusal",
    }
    unframed = [item for item in CAPTURED if item.crc_ok is None]
    assert len(unframed) == 12
    assert {item.kind for item in unframed} == {"payload"}


@pytest.mark.parametrize("item", VALID, ids=str)
def test_a_frame_is_found_for_what_it_is(item: Captured) -> None:
    [found] = find_frames(item.data, b"")
    assert (found.start, found.end) == (0, len(item.data))
    assert found.frame == frame_of(item)


@pytest.mark.parametrize("item", VALID, ids=str)
def test_no_frame_survives_a_wrong_bit(item: Captured) -> None:
    for at in range(len(item.data)):
        broken = bytearray(item.data)
        broken[at] ^= 0x10
        assert frame_of(item) not in [f.frame for f in find_frames(broken, b"")]


@pytest.mark.parametrize("item", VALID, ids=str)
def test_a_frame_that_is_built_has_the_bytes_of_the_captured_one(
    item: Captured,
) -> None:
    frame = frame_of(item)
    if isinstance(frame, Request):
        assert frame.encoded == item.data
    elif item.kind in FRAMED:
        body = bytes((item.address, frame.function, len(item.payload)))
        assert with_crc(body + item.payload) == item.data


def test_a_read_of_too_many_coils_is_no_request() -> None:
    assert not list(find_frames(bytes.fromhex(TOO_MANY), b""))


@pytest.mark.parametrize("item", BROKEN, ids=str)
def test_a_frame_behind_a_stray_byte_is_recovered(item: Captured) -> None:
    assert not list(find_frames(item.data[:-1], b""))
    whole = seplos_data.by_frame(item.data[1:])
    [found] = find_frames(item.data, b"")
    assert (found.start, found.frame) == (1, frame_of(whole))
    search = find_reply(item.data, PIA.request(0))
    assert (search.reply, search.start) == (frame_of(whole), 1)


@pytest.mark.parametrize("item", those("EXC", kinds=("refusal",)), ids=str)
def test_a_refusal_answers_whatever_was_asked_with_its_function(
    item: Captured,
) -> None:
    function = item.values["refused"]
    for register, count in ((0x1000, 18), (0x1200, 90)):
        asked = Request(item.address, function, register, count)
        assert find_reply(item.data, asked).reply == frame_of(item)
    for other in (
        Request(item.address, 5 - function, 0x1200, 90),
        Request(item.address + 1, function, 0x1200, 90),
    ):
        assert find_reply(item.data, other).reply is None


# What tables tell


@pytest.mark.parametrize("item", those("PIA"), ids=str)
def test_a_pia_decodes_to_all_its_stated_values(item: Captured) -> None:
    told = dict(item.values)
    whole = len(item.payload) == 36
    assert decode_table(PIA if whole else PIA_SHORT, item.payload) == {
        "voltage": told.pop("pack_voltage_V"),
        "current_counts": round(100 * told.pop("current_A_at_0p01")),
        "remaining_capacity": told.pop("remaining_Ah"),
        "full_capacity": told.pop("total_Ah"),
        "total_discharge": told.pop("total_discharged_Ah"),
        "soc": told.pop("soc_pct"),
        "soh": told.pop("soh_pct"),
        "cycles": told.pop("cycles"),
        "mean_cell_reported": told.pop("avg_cell_mV") / 1000,
        "mean_temperature_reported": told.pop("avg_cell_C"),
        "highest_cell_reported": told.pop("max_cell_mV") / 1000,
        "lowest_cell_reported": told.pop("min_cell_mV") / 1000,
        "highest_temperature_reported": told.pop("max_cell_C"),
        "lowest_temperature_reported": told.pop("min_cell_C"),
        "allowed_discharge_current": told.pop("max_discharge_A"),
        "allowed_charge_current": told.pop("max_charge_A"),
    }
    # What these two mean is not known for certain, and nobody decodes them.
    assert told == {"reg100E": 0} | ({"reg1011_raw": 1000} if whole else {})


@pytest.mark.parametrize("item", those("PIB"), ids=str)
def test_a_pib_decodes_to_all_its_stated_values(item: Captured) -> None:
    told = dict(item.values)
    assert told.pop("unused_raw") == 2731
    assert decode_table(PIB, item.payload) == {
        "cell_voltages": tuple(mv / 1000 for mv in told.pop("cells_mV")),
        "cell_temperatures": (*told.pop("cell_C"), 0.0, 0.0, 0.0, 0.0),
        "ambient_temperature": told.pop("ambient_C"),
        "mosfet_temperature": told.pop("power_C"),
    }
    assert told == {}
    assert is_pib(item.payload)


@pytest.mark.parametrize("item", those("PIC"), ids=str)
def test_a_pic_decodes_to_all_its_stated_values(item: Captured) -> None:
    told = dict(item.values)
    [system], fets = told.pop("system"), told.pop("fet")
    assert fets == ["discharge_fet", "charge_fet"]
    assert decode_table(PIC, item.payload) == {"coils": item.payload}
    assert coil_values(item.payload) == {
        "state": STATES[system],
        "charging": system == "charge",
        "discharging": system == "discharge",
        "charge_mosfet": True,
        "discharge_mosfet": True,
        "current_limiting": False,
        "heater": False,
        "balancing": (),
        "balancing_active": False,
        "coils": item.payload,
        "unknown_coils": (),
        "alarms": (),
    }
    assert told == {}


@pytest.mark.parametrize("item", those("SPA"), ids=str)
def test_parameters_decode_to_all_their_stated_values(item: Captured) -> None:
    first, raw = item.values["register"], item.values["raw"]
    rows = {row["register"]: row for row in seplos_data.PARAMETERS}
    registers = range(first, first + len(raw))
    names = {field.register: field.name for field in PARAMETERS}
    values = decode(PARAMETERS, Block(first, len(raw)), item.payload)
    assert values == {
        names[register]: parameter(rows[register], word)
        for register, word in zip(registers, raw, strict=True)
    }
    assert set(item.values) == {"register", "raw"}


@pytest.mark.parametrize("item", those("SFA"), ids=str)
def test_switches_decode_to_their_stated_bits(item: Captured) -> None:
    rows = item.values["switches"].split()
    bits = [int(row, 16) >> bit & 1 for row in rows for bit in range(8)]
    functions = decode_table(SFA, item.payload)["functions"]
    assert functions == {
        name: bool(bits[coil - 0x1400]) for coil, name in FUNCTIONS.items()
    }
    # By the names in the papers, as they are off on the two boards that were seen.
    assert [name for name, enabled in functions.items() if not enabled] == [
        "cell_heating",
        "cell_voltage_fault_detection",
        "fan",
        "leds_always_on",
        "snmp",
        "wifi",
        "dhcp",
        "gyroscope",
        "state_of_charge_protection",
        "active_current_limit",
        "manual_forced_output",
        "automatic_forced_output",
        "under_voltage_recovery",
        "current_sensor_compensation",
        "cell_failure",
        "aerosol",
    ]
    assert set(item.values) == {"switches"}


@pytest.mark.parametrize("item", those("VIA"), ids=str)
def test_texts_decode_to_their_stated_values(item: Captured) -> None:
    told = dict(item.values)
    assert decode_table(VIA, item.payload) == {
        "factory": told.pop("factory"),
        "device": told.pop("device"),
        "firmware": told.pop("firmware"),
        "serial": told.pop("bms_sn"),
        "pack_serial": told.pop("pack_sn"),
    }
    assert told == {}


@pytest.mark.parametrize("item", those("SCA"), ids=str)
def test_clocks_decode_to_their_stated_time(item: Captured) -> None:
    words: Any = decode_table(CLOCK, item.payload)["clock"]
    [stated] = item.values.values()
    assert clock_time(words) == datetime.fromisoformat(stated)


def test_every_captured_content_was_looked_at() -> None:
    tables = ("PIA", "PIB", "PIC", "SPA", "SFA", "VIA", "SCA", *GROUP_TOTALS)
    assert {item.table for item in those(*tables)} == set(tables)
    rest = [item for item in CAPTURED if item not in those(*tables)]
    assert {item.kind for item in rest} == {
        "request",
        "write",
        "acknowledgement",
        "refusal",
        "reply",
    }
    assert [item for item in rest if item.kind == "reply"] == BROKEN


def test_no_field_is_defined_twice() -> None:
    for fields in (FIELDS, PARAMETERS):
        assert len({field.name for field in fields}) == len(fields)
        taken = [
            (register, field.byte)
            for field in fields
            for register in range(field.register, field.end)
        ]
        assert len(set(taken)) == len(taken)


def test_all_parameters_are_those_of_the_record() -> None:
    def facts(row: dict[str, Any]) -> Field:
        celsius = row["kind"] == "temp"
        return Field(
            name=row.get("name", names[row["register"]]).replace("-", ""),
            register=row["register"],
            unit=row["unit"],
            offset=-2731 if celsius else 0,
            divisor=round(1 / row["scale"]),
            signed=row["kind"] == "i16",
        )

    names = {field.register: field.name for field in PARAMETERS}
    assert list(PARAMETERS) == [facts(row) for row in seplos_data.PARAMETERS]
    assert len(PARAMETERS) == 106


# Tables of the whole bank, which are no pack's


@pytest.mark.parametrize("item", those("EIA"), ids=str)
def test_group_totals_are_never_taken_for_cells(item: Captured) -> None:
    if len(item.payload) == PIB.request(0).byte_count:
        assert not is_pib(item.payload)
    else:
        assert len(item.payload) == PIA_SHORT.request(0).byte_count


@pytest.mark.parametrize("cells", range(1, CELLS + 1))
@pytest.mark.parametrize("sensors", range(1, SENSORS + 1))
def test_packs_of_every_size_are_taken_for_packs(cells: int, sensors: int) -> None:
    words = [3300] * cells + [0] * (CELLS - cells)
    words += [2731 - 400] * sensors + [2731] * (SENSORS - sensors) + [2731 + 1300] * 2
    assert is_pib(b"".join(word.to_bytes(2, "big") for word in words))


@pytest.mark.parametrize(
    ("at", "word"),
    [(0, 6001), (15, 6001), (16, 2330), (23, 4032), (24, 2330), (25, 4032), (25, 0)],
)
def test_what_no_pack_can_tell_is_no_pib(at: int, word: int) -> None:
    words = [6000] * CELLS + [2331] * SENSORS + [4031] * 2
    assert is_pib(b"".join(one.to_bytes(2, "big") for one in words))
    words[at] = word
    assert not is_pib(b"".join(one.to_bytes(2, "big") for one in words))


@pytest.mark.parametrize("asked", [True, False])
@pytest.mark.parametrize("item", those(*GROUP_TOTALS), ids=str)
def test_a_bank_drops_group_totals(item: Captured, asked: bool) -> None:
    requests = [
        request.data
        for request in those(item.table, kinds=("request",))
        if frame_shape(request) == frame_shape(item)
    ]
    assert requests
    # All else that makes a Reading of this address is there.
    parts = [
        with_crc(bytes((0, function, len(payload))) + payload)
        for function, payload in (
            (4, those("PIA", kinds=("payload",))[0].payload),
            (4, those("PIB", kinds=("payload",))[0].payload),
            (1, those("PIC", kinds=("payload",))[0].payload),
        )
    ]
    totals = [*(requests[:1] if asked else []), item.data]
    assert heard(parts)
    for missing in range(3):
        rest = [part for number, part in enumerate(parts) if number != missing]
        assert not heard(rest + totals)
        assert not heard(totals + rest)


def heard(frames: list[bytes]) -> dict[int, HeardPack]:
    """Return the packs that a bank knows after these frames."""
    watch, bank = ForeignWatch(b""), Bank()
    for data in frames:
        for found in watch.feed(data):
            bank.take(found.frame)
    return bank.packs


def frame_shape(item: Captured) -> tuple[int, int, int]:
    """Return address, function and byte count of a request or reply."""
    frame = frame_of(item)
    assert isinstance(frame, Request | Reply)
    return frame.shape
