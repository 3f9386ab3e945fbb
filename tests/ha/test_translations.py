"""Every language says all that English says, with the same places to fill in."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
import json
import logging
from pathlib import Path
import re
from typing import Any

from homeassistant.core import HomeAssistant
from homeassistant.helpers.translation import async_get_translations
import pytest

from custom_components.openxpbms.bms.errors import BusError
from custom_components.openxpbms.bms.limits import (
    SEPLOS_FAULTS,
    VALENCE_FAULTS,
    Quantity,
)
from custom_components.openxpbms.bms.parameter_errors import ParameterError
from custom_components.openxpbms.bms.parameters import WRITABLE, Access
from custom_components.openxpbms.bms.reading import Reading
from custom_components.openxpbms.bms.relay import RelayFault
from custom_components.openxpbms.bms.rules import strange_checks
from custom_components.openxpbms.bms.virtual.valence import VirtualModule
from custom_components.openxpbms.const import DOMAIN
from custom_components.openxpbms.spoken import (
    DETAIL,
    FAULT,
    QUANTITY,
    REASON,
    STEP,
    spoken,
    translated,
)
from custom_components.openxpbms.write_log import Step

from .conftest import MakeEntry, MakeLine, identity

ROOT = Path(__file__).parents[2] / "custom_components" / DOMAIN
FOLDER = ROOT / "translations"
ENGLISH = "en"
LANGUAGES = sorted({file.stem for file in FOLDER.glob("*.json")} - {ENGLISH})

# What every language must keep as often as it is there: places to fill in, references,
# links and addresses, code, marks of Markdown, and lines.
KEPT = re.compile(
    r"\[%key:.*?%\]|{\w+}|\]\(.*?\)|\b[a-z][a-z0-9]*://(?:[\d.:]*\d)?|`[^`]*`"
    r"|\*+|\n|^- |^\d\. ",
    re.MULTILINE,
)
# Apostrophes quote what is in braces: the frontend would not fill it in.
QUOTED = re.compile(r"'{|}'")
# Pages, buttons and entities that a text tells to use.
ITALIC = re.compile(r"(?<!\*)\*([^*\n]+)\*(?!\*)")
FEW_WORDS = 2
# Names that are longer than that and are the same in every language.
NAMES = {"Arduino-XP-BMS", "Valence U-Charge XP"}


def texts(tree: dict[str, Any], path: str = "") -> Iterator[tuple[str, str]]:
    """Yield every text with its path, in the order of the file."""
    for key, value in tree.items():
        if isinstance(value, dict):
            yield from texts(value, f"{path}{key}.")
        else:
            yield f"{path}{key}", value


def read(language: str) -> dict[str, str]:
    """Return the texts of a language by their paths."""
    return dict(texts(json.loads((FOLDER / f"{language}.json").read_bytes())))


def kept(text: str) -> Counter[str]:
    """Return what a translation of a text must keep."""
    return Counter(KEPT.findall(text))


def is_untranslated(text: str) -> bool:
    """Tell if a text that is the same in English was left as it was."""
    words = re.findall(r"[^\W\d_]{2,}", re.sub(r"{\w+}", "", text))
    return len(words) > FEW_WORDS and text not in NAMES


@pytest.mark.parametrize("language", [ENGLISH, *LANGUAGES])
def test_files_are_written_alike(language: str) -> None:
    raw = (FOLDER / f"{language}.json").read_bytes()
    tree = json.loads(raw)
    assert raw.decode() == json.dumps(tree, indent=2, ensure_ascii=False) + "\n"
    for path, text in texts(tree):
        assert isinstance(text, str), path
        assert text, path
        assert text.strip() == text, path
        assert not QUOTED.search(text), path


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_language_has_the_same_texts_in_the_same_order(language: str) -> None:
    english, other = read(ENGLISH), read(language)
    assert english.keys() - other.keys() == set(), "missing"
    assert other.keys() - english.keys() == set(), "not in English"
    assert list(other) == list(english), "order"


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_translation_keeps_what_is_filled_in_and_how_it_looks(language: str) -> None:
    english, other = read(ENGLISH), read(language)
    for path in english.keys() & other.keys():
        assert kept(other[path]) == kept(english[path]), path


@pytest.mark.parametrize("language", LANGUAGES)
def test_what_a_text_points_to_is_named_as_it_is_shown(language: str) -> None:
    english, other = read(ENGLISH), read(language)
    names: dict[str, set[str]] = {}
    for path, name in english.items():
        names.setdefault(name, set()).add(other[path])
    for path, text in english.items():
        for name in set(ITALIC.findall(text)) & names.keys():
            assert names[name] & set(ITALIC.findall(other[path])), (path, name)


@pytest.mark.parametrize("language", LANGUAGES)
def test_nothing_is_left_in_english(language: str) -> None:
    english, other = read(ENGLISH), read(language)
    same = {path for path, text in english.items() if other.get(path) == text}
    left = {path: english[path] for path in same if is_untranslated(english[path])}
    assert left == {}


@pytest.mark.parametrize("language", LANGUAGES)
async def test_home_assistant_takes_every_text(
    hass: HomeAssistant, caplog: pytest.LogCaptureFixture, language: str
) -> None:
    """It falls back to English, and logs it, where places to fill in differ."""
    mine = read(language)
    for category in {path.partition(".")[0] for path in mine}:
        loaded = await async_get_translations(hass, language, category, [DOMAIN])
        expected = {
            f"component.{DOMAIN}.{path}": text
            for path, text in mine.items()
            if path.partition(".")[0] == category
        }
        assert loaded == expected
    assert not [record for record in caplog.records if record.levelno >= logging.ERROR]


@pytest.mark.parametrize("language", LANGUAGES)
async def test_entities_are_named_in_the_language_of_home_assistant(
    hass: HomeAssistant, make_line: MakeLine, make_entry: MakeEntry, language: str
) -> None:
    hass.config.language = language
    one = VirtualModule(1, serial="104400461")
    line = await make_line(one)
    await make_entry(line.path, identity(one))
    names = {state.name for state in hass.states.async_all()}
    mine = read(language)
    for key in (
        "sensor.lowest_cell_voltage",
        "binary_sensor.communication",
        "switch.connection",
    ):
        assert f"U27-12XP 104400461 {mine[f'entity.{key}.name']}" in names


# Words that are put into other texts


def keys_of(error: type[BusError | ParameterError]) -> set[str]:
    """Return the keys of all errors of a kind that can be raised.

    Those of the commands are there only if their tests ran before, and never here.
    """
    own = set[str]() if error is ParameterError else {error.key}
    kinds = (each for each in error.__subclasses__() if ".cli." not in each.__module__)
    return own.union(*(keys_of(each) for each in kinds))


def words() -> dict[str, set[str]]:
    """Return all that is spoken of, by where its texts are."""
    nonsense = Reading(
        voltage=50.0,
        cell_voltages=(0.0, 9.0),
        cell_temperatures=(200.0,),
        highest_cell_reported=5.0,
        lowest_cell_reported=5.0,
    )
    answers = ("not_kept", "no_acknowledgement")
    refused = re.findall(r'_refuse\("(\w+)"', (ROOT / "writes.py").read_text())
    assert {"writes_off", "code_unknown"} <= set(refused)
    return {
        DETAIL: {
            *("pcb", "mosfet"),
            *strange_checks(nonsense),
            # One that only stays open keeps no battery off.
            *(set(RelayFault) - {RelayFault.NOT_CLOSING}),
            *(set(Access) - WRITABLE),
        },
        FAULT: {*VALENCE_FAULTS, *SEPLOS_FAULTS},
        QUANTITY: set(Quantity),
        REASON: {*keys_of(BusError), *keys_of(ParameterError), *refused, *answers},
        STEP: set(Step),
    }


@pytest.mark.parametrize("language", [ENGLISH, *LANGUAGES])
async def test_every_word_has_a_text_of_its_own(
    hass: HomeAssistant, language: str
) -> None:
    hass.config.language = language
    mine = read(language)
    for category in ("entity", "selector"):
        await async_get_translations(hass, language, category, [DOMAIN])
    for kind, keys in words().items():
        for key in keys:
            told = translated(hass, kind, key)
            assert told is not None, (kind, key)
            assert told == mine[f"{kind}.{key}"]
        if kind != QUANTITY:
            options = {path for path in mine if path.startswith(f"{kind}.")}
            assert options == {f"{kind}.{key}" for key in keys}


@pytest.mark.parametrize(
    ("language", "word"),
    [
        ("en", "cell over-voltage"),
        ("de", "Zell-Überspannung"),
        ("fr", "surtension de cellule"),
        # A language without texts has English ones, and so has one not read yet.
        ("sv", "cell over-voltage"),
    ],
)
async def test_a_word_is_written_as_it_is_within_a_sentence(
    hass: HomeAssistant, language: str, word: str
) -> None:
    await async_get_translations(hass, "de", "entity", [DOMAIN])
    await async_get_translations(hass, "fr", "entity", [DOMAIN])
    hass.config.language = language
    assert spoken(hass, QUANTITY, "cell_over_voltage") == word
    assert spoken(hass, FAULT, "not_known_yet") == "not known yet"


async def test_an_abbreviation_stays_as_it_is(hass: HomeAssistant) -> None:
    hass.config.language = "fr"
    await async_get_translations(hass, "fr", "selector", [DOMAIN])
    assert spoken(hass, DETAIL, "mosfet") == "MOSFET"
