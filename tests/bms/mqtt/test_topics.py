"""Names that keep bridges and batteries apart."""

from __future__ import annotations

import pytest

from custom_components.openxpbms.bms.mqtt.topics import (
    Topics,
    battery_ids,
    bridge_name,
    plain,
)
from custom_components.openxpbms.bms.reading import Identity

TOPICS = Topics("pi_garage", "home/battery", "ha")


def battery(address: int, serial: str | None) -> Identity:
    """Return an identity."""
    return Identity(address=address, serial=serial, model="X", model_code="")


@pytest.mark.parametrize(
    ("port", "name"),
    [
        ("/dev/ttyUSB0", "pi_ttyUSB0"),
        ("/dev/serial/by-id/usb-FTDI_A5-if00-port0", "pi_usb_FTDI_A5_if00_port0"),
        ("socket://box:8899", "pi_box_8899"),
        ("esphome://box:6053/?port_name=a&key=secret", "pi_box_6053"),
        ("garage", "pi_garage"),
    ],
)
def test_a_bridge_is_called_by_machine_and_port(port: str, name: str) -> None:
    assert bridge_name("pi", port) == name


def test_nothing_that_a_topic_or_an_id_cannot_hold() -> None:
    assert plain(" Wohnküche #1/+ ") == "Wohnk_che_1"


def test_topics() -> None:
    assert TOPICS.status == "home/battery/pi_garage/status"
    assert TOPICS.birth == "ha/status"
    assert TOPICS.state("b") == "home/battery/pi_garage/b/state"
    assert TOPICS.availability("+") == "home/battery/pi_garage/+/availability"
    assert TOPICS.config("b") == "ha/device/openxpbms_b/config"


def test_a_battery_is_its_serial_number_where_that_is_its_own() -> None:
    known = [battery(1, "A-1"), battery(2, "B"), battery(3, "B"), battery(4, None)]
    assert battery_ids("seplos", "pi_garage", known) == {
        1: "seplos_A_1",
        2: "pi_garage_2",
        3: "pi_garage_3",
        4: "pi_garage_4",
    }
