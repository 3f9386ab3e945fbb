"""Everything that is seen of one battery."""

from __future__ import annotations

from rich.table import Table
from rich.text import Text
from textual.app import ComposeResult
from textual.containers import Horizontal, Vertical
from textual.widgets import Digits, Label, Sparkline, Static

from ..cli.link import Link
from . import drawing
from .followed import KEPT, Followed

_FIGURES = {"soc": "State of charge", "volts": "V", "amperes": "A", "watts": "W"}
_TEXTS = ("who", "spread", "cells", "temperatures", "state", "alarms")
_LINES = ("volts", "amperes")


class BatteryView(Vertical):
    """The battery whose tab is chosen."""

    DEFAULT_CSS = """
    BatteryView { height: auto; }
    BatteryView .text { height: auto; max-height: 3; padding: 0 1; }
    BatteryView #cells { max-height: 8; }
    BatteryView .figures { height: 4; }
    BatteryView .figure { width: 1fr; padding: 0 1; }
    BatteryView .figure Label { color: $text-muted; }
    BatteryView #soc { color: $success; }
    BatteryView .line { height: 1; padding: 0 1; }
    BatteryView .line Label { width: 32; }
    BatteryView .line Sparkline { width: 1fr; height: 1; }
    """

    def __init__(self) -> None:
        """Make what is filled in by `show`."""
        super().__init__()
        self._figures = {name: Digits("-", id=name) for name in _FIGURES}
        self._texts = {name: Static(id=name, classes="text") for name in _TEXTS}
        self._spans = {name: Label() for name in _LINES}
        self._pasts = {name: Sparkline() for name in _LINES}

    def compose(self) -> ComposeResult:
        """Lay it out."""
        who, *others = self._texts.values()
        yield who
        with Horizontal(classes="figures"):
            for name, title in _FIGURES.items():
                with Vertical(classes="figure"):
                    yield Label(title)
                    yield self._figures[name]
        yield from others
        for name in _LINES:
            with Horizontal(classes="line"):
                yield self._spans[name]
                yield self._pasts[name]

    def show(self, link: Link, followed: Followed) -> None:
        """Show what is known of a battery now."""
        battery = followed.battery
        family, reading = link.family_name, battery.reading
        # Who is only heard is asked nothing, so nothing is counted.
        counters = link.bus.counters_of(battery.identity.address)
        quality = None if link.listens else counters.quality
        texts: tuple[Table | Text, ...] = (
            drawing.who(battery.identity, quality),
            drawing.spread(reading),
            drawing.cells(reading),
            drawing.temperatures(reading),
            drawing.state(family, battery),
            drawing.alarms(battery),
        )
        for widget, text in zip(self._texts.values(), texts, strict=True):
            widget.update(text)
        figures = drawing.figures(family, battery)
        for digits, figure in zip(self._figures.values(), figures, strict=True):
            digits.update(figure)
        self._draw("volts", [volts for _, volts, _ in followed.past], "{:.2f}", "V")
        self._draw("amperes", [a for _, _, a in followed.past], "{:+.1f}", "A")

    def _draw(self, name: str, values: list[float], form: str, unit: str) -> None:
        span = f"{KEPT / 60:.0f} min"
        if values:
            low, high = form.format(min(values)), form.format(max(values))
            span += f"  {low} to {high} {unit}"
        self._spans[name].update(span)
        self._pasts[name].data = values
