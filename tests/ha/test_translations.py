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

from custom_components.openxpbms.bms.virtual.valence import VirtualModule
from custom_components.openxpbms.const import DOMAIN

from .conftest import MakeEntry, MakeLine, identity

FOLDER = Path(__file__).parents[2] / "custom_components" / DOMAIN / "translations"
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
