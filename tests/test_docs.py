"""The documentation: links lead somewhere, pages are found, examples work."""

from __future__ import annotations

import json
from pathlib import Path
import re
from urllib.parse import unquote

from homeassistant.core import HomeAssistant
from homeassistant.setup import async_setup_component
import pytest
import yaml

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
COMPONENT = ROOT / "custom_components" / "openxpbms"
README = ROOT / "README.md"
PAGES = [README, ROOT / "info.md", *sorted(DOCS.glob("*.md"))]

_FENCE = re.compile(r"^(```|~~~).*?^\1", re.MULTILINE | re.DOTALL)
_CODE = re.compile(r"`[^`\n]*`")
_LINK = re.compile(r"\]\(<?([^)\s>]+)>?(?:\s+\"[^\"]*\")?\)")
_HTML = re.compile(r"\b(?:src|srcset|href)=\"([^\"]+)\"")
_HEADING = re.compile(r"^#{1,6} +(.+?) *#* *$", re.MULTILINE)


def _prose(page: Path) -> str:
    """Return a page without its blocks of code, which have no links or headings."""
    return _FENCE.sub("", page.read_text("utf-8"))


def _anchors(page: Path) -> set[str]:
    """Return the anchors that GitHub gives the headings of a page.

    Letters, digits, hyphens and underscores stay, in lower case; a blank becomes a
    hyphen; whatever else there is goes. A heading that comes again gets a number.
    """
    anchors: set[str] = set()
    for heading in _HEADING.findall(_prose(page)):
        text = re.sub(r"!?\[([^\]]*)\]\([^)]*\)", r"\1", heading).replace("`", "")
        anchor = re.sub(r"[^\w\- ]", "", text.lower()).replace(" ", "-")
        again = sum(a == anchor or a.startswith(f"{anchor}-#") for a in anchors)
        anchors.add(f"{anchor}-#{again}" if again else anchor)
    return {anchor.replace("-#", "-") for anchor in anchors}


def _targets(page: Path) -> list[str]:
    """Return what a page links to within the repository."""
    prose = _CODE.sub("", _prose(page))
    found = _LINK.findall(prose) + _HTML.findall(prose)
    return [t for t in found if not re.match(r"[a-z][a-z+.-]*:", t)]


def _file(page: Path, target: str) -> Path:
    """Return the file that a link of a page leads to."""
    path = unquote(target.partition("#")[0])
    return (page.parent / path).resolve() if path else page


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links(page: Path) -> None:
    """Every file, picture and heading that a page links to is there."""
    for target in _targets(page):
        file, anchor = _file(page, target), target.partition("#")[2]
        assert file.exists(), f"{target}: no such file"
        assert file.is_relative_to(ROOT), f"{target}: outside of the repository"
        if anchor:
            assert file.suffix == ".md", f"{target}: only pages have headings"
            assert anchor in _anchors(file), f"{target}: no such heading"


def test_every_page_is_reachable() -> None:
    """Whoever begins at the README can come to every page and diagram."""
    seen, ahead = set[Path](), [README]
    while ahead:
        page = ahead.pop()
        if page in seen or not page.exists():
            continue
        seen.add(page)
        if page.suffix == ".md":
            ahead += [_file(page, target) for target in _targets(page)]
    wanted = {*DOCS.glob("*.*"), *DOCS.glob("diagrams/*")}
    assert not {str(file.relative_to(ROOT)) for file in wanted - seen}


@pytest.mark.parametrize(
    ("heading", "anchor"),
    [
        ("What may be written?", "what-may-be-written"),
        ('"Answers were garbled", CRC errors', "answers-were-garbled-crc-errors"),
        ("Seplos: the `0x1301` register", "seplos-the-0x1301-register"),
        ("MQTT & co / growing_up", "mqtt--co--growing_up"),
        ("Again", "again-1"),
    ],
)
def test_anchors(tmp_path: Path, heading: str, anchor: str) -> None:
    """Anchors are made by GitHub's rule."""
    page = tmp_path / "page.md"
    page.write_text(f"# Again\n\n```\n# no heading\n```\n\n## {heading}\n", "utf-8")
    assert _anchors(page) == {"again", anchor}


def _examples(page: Path) -> list[str]:
    """Return the blocks of YAML of a page."""
    yaml_block = re.compile(r"^```yaml\n(.*?)^```", re.MULTILINE | re.DOTALL)
    return yaml_block.findall(page.read_text("utf-8"))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_yaml(page: Path) -> None:
    """Every example is YAML."""
    loader = type("Loader", (yaml.SafeLoader,), {})
    loader.add_constructor("!secret", lambda _, node: node.value)
    for example in _examples(page):
        assert list(yaml.load_all(example, loader))


async def test_groups(hass: HomeAssistant) -> None:
    """The groups of several buses say what the page says of them."""
    (example,) = _examples(DOCS / "several-buses.md")
    config = yaml.safe_load(example)

    def told(bus: str, **values: object) -> None:
        for key, value in values.items():
            unit, kind = UNITS[key]
            known = {"unit_of_measurement": unit, "device_class": kind}
            hass.states.async_set(f"sensor.{bus}_{key}", str(value), known)

    def shown(name: str) -> str:
        state = hass.states.get(name)
        assert state is not None
        return state.state

    told("garage", power=-500, state_of_charge=80, full_capacity=200, voltage=52)
    told("garage", lowest_cell_voltage=3.2, highest_cell_voltage=3.4)
    told("cellar", power=100, state_of_charge=50, full_capacity=100, voltage=26)
    told("cellar", lowest_cell_voltage=3.1, highest_cell_voltage=3.3)
    hass.states.async_set("binary_sensor.garage_protection", "off")
    hass.states.async_set("binary_sensor.cellar_protection", "on")
    for domain in config:
        assert await async_setup_component(hass, domain, config)
    await hass.async_block_till_done()

    assert float(shown("sensor.house_battery_power")) == -400
    assert float(shown("sensor.house_lowest_cell")) == 3.1
    assert float(shown("sensor.house_highest_cell")) == 3.4
    assert shown("binary_sensor.house_battery_stopped") == "on"
    assert float(shown("sensor.house_battery_state_of_charge")) == 74.0

    silent = "unavailable"
    told("cellar", power=silent, full_capacity=silent, voltage=silent)
    told("cellar", lowest_cell_voltage=silent, state_of_charge=silent)
    await hass.async_block_till_done()
    assert shown("sensor.house_battery_power") in (silent, "unknown")
    assert float(shown("sensor.house_lowest_cell")) == 3.2
    assert shown("sensor.house_battery_state_of_charge") == silent


UNITS = {
    "power": ("W", "power"),
    "state_of_charge": ("%", "battery"),
    "full_capacity": ("Ah", None),
    "voltage": ("V", "voltage"),
    "lowest_cell_voltage": ("V", "voltage"),
    "highest_cell_voltage": ("V", "voltage"),
}


def _heads() -> list[str]:
    """Return how repairs, errors of the dialogs and refusals begin, without values."""
    texts = json.loads((COMPONENT / "translations" / "en.json").read_text("utf-8"))
    messages = [issue["title"] for issue in texts["issues"].values()]
    messages += texts["config"]["error"].values()
    messages += texts["config"]["abort"].values()
    messages += [said["message"] for said in texts["exceptions"].values()]
    firsts = {re.split(r"[.:] (?=[A-Z])|\.$", message)[0] for message in messages}
    return sorted({re.sub(r'"?\{\w+\}"?', "…", first).strip() for first in firsts})


@pytest.mark.parametrize("head", _heads())
def test_trouble_can_be_found(head: str) -> None:
    """Whatever Home Assistant says stands in the page of troubles, as it says it."""
    assert f"*{head}*" in (DOCS / "troubleshooting.md").read_text("utf-8")
