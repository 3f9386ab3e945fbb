"""The documented frames under tests/frames, as the tests use them."""

from __future__ import annotations

from dataclasses import dataclass
import json
from pathlib import Path
from typing import Any

from custom_components.openxpbms.bms.frame import Request
from custom_components.openxpbms.bms.registers import Block
from custom_components.openxpbms.bms.valence import TERMINATOR

FRAMES = Path(__file__).parents[1] / "frames"


def load(name: str) -> Any:
    """Return the content of a file of frames."""
    return json.loads((FRAMES / name).read_text(encoding="utf-8"))


@dataclass(frozen=True)
class CapturedRequest:
    """A request as a source prints it, and what it asks for."""

    data: bytes
    address: int
    register: int
    count: int

    def __str__(self) -> str:
        """Name the test."""
        return f"{self.address}-{self.register:02X}x{self.count}"


@dataclass(frozen=True)
class CapturedReply:
    """A reply, the block that it answers, and the values that are in it."""

    name: str
    data: bytes
    crc_ok: bool
    address: int
    block: Block
    values: dict[str, Any]

    def __str__(self) -> str:
        """Name the test."""
        return self.name

    @property
    def request(self) -> Request:
        """What was asked."""
        return Request(
            self.address, 3, self.block.register, self.block.count, TERMINATOR
        )


_requests = load("valence_requests.json")
WAKE_FRAME = bytes.fromhex(_requests["wake"]["hex"])
REQUESTS = [
    CapturedRequest(
        bytes.fromhex(item["hex"]), item["address"], item["register"], item["count"]
    )
    for item in _requests["requests"]
]
REPLIES = [
    CapturedReply(
        item["name"],
        bytes.fromhex(item["hex"]),
        item["crc_ok"],
        item["address"],
        Block(item["register"], item["count"]),
        {
            name: tuple(value) if isinstance(value, list) else value
            for name, value in item.get("values", {}).items()
        },
    )
    for item in load("valence_replies.json")["replies"]
]
_words = load("valence_words.json")
WORDS: list[dict[str, Any]] = _words["words"]
BANKS: list[dict[str, Any]] = _words["banks"]


def reply(name: str) -> CapturedReply:
    """Return a reply by its name."""
    [found] = [item for item in REPLIES if item.name == name]
    return found
