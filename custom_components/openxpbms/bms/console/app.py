"""The screen: batteries as tabs, what happens to them, a way to their parameters."""

from __future__ import annotations

import asyncio
from datetime import datetime
from typing import ClassVar

from rich.text import Text
from textual.app import App, ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Container
from textual.widgets import Footer, RichLog, Static, Tab, Tabs

from ..cli.changing import refuse_unless_asked
from ..cli.exits import Failure, sentence
from ..cli.link import Link
from ..cli.values import identity_words
from ..errors import BusError
from ..listening import Listening
from ..port import shown
from ..reading import Reading
from ..rounds import Battery
from . import drawing
from .battery_view import BatteryView
from .followed import Event, Followed, Tone
from .parameter_page import ParameterPage

# s between two rounds.
PAUSE = 1.0
_TONES = {
    Tone.PLAIN: "",
    Tone.GOOD: "green",
    Tone.WARNING: "yellow",
    Tone.BAD: "bold red",
}


class BatteryTabs(Tabs, can_focus=False):
    """Tabs whose keys are those of the screen, so that they stand in its footer."""


class Console(App[str]):
    """The batteries of one port until somebody quits.

    What it returns is to be told then: what came of a write that was interrupted.
    """

    TITLE = "OpenXPBMS"
    ENABLE_COMMAND_PALETTE = False
    HORIZONTAL_BREAKPOINTS = [(0, "-narrow"), (120, "-wide")]  # noqa: RUF012  as App
    VERTICAL_BREAKPOINTS = [(0, "-low"), (36, "-tall")]  # noqa: RUF012
    CSS = """
    #heading { height: 1; padding: 0 1; background: $panel; }
    Tabs { height: 2; }
    #main { height: 1fr; layout: vertical; }
    #log { height: 1fr; min-height: 2; padding: 0 1; background: $surface;
        scrollbar-size-vertical: 0; }
    .-wide #main { layout: horizontal; }
    .-wide BatteryView { width: 84; height: 1fr; }
    .-wide #log { height: 1fr; width: 1fr; border-left: solid $panel; }
    .-tall BatteryView .line { height: 3; margin-top: 1; }
    .-tall BatteryView .line Sparkline { height: 3; }
    .-tall BatteryView .text { margin-bottom: 1; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("q", "quit", "Quit"),
        Binding("ctrl+c", "quit", "Quit", show=False, priority=True),
        Binding("left,shift+tab", "battery(-1)", "Previous", key_display="←"),
        Binding("right,tab", "battery(1)", "Next", key_display="→"),
        Binding("p", "parameters", "Parameters"),
    ]

    def __init__(self, link: Link) -> None:
        """Follow the batteries of a link, whose owner closes it."""
        super().__init__()
        self.link = link
        self.writing = False
        self._leaving = False
        self._trouble: str | None = None
        # Kept, so that a round that ends while the screen is taken down finds them.
        self._heading = Static(id="heading")
        self._view = BatteryView()
        self._events = RichLog(id="log", wrap=True, max_lines=500)
        self._events.can_focus = False
        self._followed: dict[str, tuple[Followed, Tab]] = {}
        for battery in link.batteries:
            tab = Tab(drawing.tab(battery), id=_name(battery))
            self._followed[_name(battery)] = Followed(battery), tab
        self._tabs = BatteryTabs(*(tab for _, tab in self._followed.values()))

    def compose(self) -> ComposeResult:
        """Lay out the screen."""
        yield self._heading
        yield self._tabs
        with Container(id="main"):
            yield self._view
            yield self._events
        yield Footer()

    def on_mount(self) -> None:
        """Begin to follow."""
        self._line_is(None)
        for battery in self.link.batteries:
            self._greet(battery)
        self.link.rounds.on_reading = self._heard
        if isinstance(self.link.rounds, Listening):
            self.link.rounds.on_new = self._add
        self.run_worker(self._follow(), name="rounds")

    def _greet(self, battery: Battery) -> None:
        self.tell(None, Event(Tone.PLAIN, identity_words(battery.identity)))

    def _add(self, battery: Battery) -> None:
        """Take up a battery of a bank that was not heard before."""
        tab = Tab(drawing.tab(battery), id=_name(battery))
        self._followed[_name(battery)] = Followed(battery), tab
        self._tabs.add_tab(tab)
        self._greet(battery)

    async def _follow(self) -> None:
        while True:
            try:
                await self.link.round()
                self._line_is(None)
            except BusError as err:
                self._line_is(str(err))
            for battery in self.link.batteries:
                self._take(battery)
            await asyncio.sleep(PAUSE)

    def _line_is(self, trouble: str | None) -> None:
        """Note that nothing can be asked, or can be again."""
        if trouble != self._trouble:
            tone = Tone.GOOD if trouble is None else Tone.BAD
            self.tell(None, Event(tone, sentence(trouble or "the line is back")))
        self._trouble = trouble
        port = shown(self.link.bus.url)
        self._heading.update(
            drawing.heading(
                self.link.family_name,
                port,
                listens=self.link.listens,
                trouble=trouble,
            )
        )

    def _heard(
        self, battery: Battery, reading: Reading, at: float, *, part: bool
    ) -> None:
        if not part:
            self._take(battery)

    def _take(self, battery: Battery) -> None:
        """Show what has become of a battery."""
        followed, tab = self._followed[_name(battery)]
        for event in followed.take():
            self.tell(battery, event)
        tab.label = drawing.tab(battery)
        if followed is self._chosen:
            self._view.show(self.link, followed)

    @property
    def _chosen(self) -> Followed:
        """The battery whose tab is chosen, the first one before any is."""
        first = next(iter(self._followed))
        return self._followed[self._tabs.active or first][0]

    def tell(self, battery: Battery | None, event: Event) -> None:
        """Put something into the log, with the time."""
        now = datetime.now().astimezone()
        who = "" if battery is None else f"{battery.identity.address}: "
        line = Text.assemble(
            (f"{now:%H:%M:%S} ", "dim"), who, (event.text, _TONES[event.tone])
        )
        self._events.write(line)

    def on_tabs_tab_activated(self) -> None:
        """Show the battery that was chosen."""
        self._view.show(self.link, self._chosen)

    def action_battery(self, step: int) -> None:
        """Choose the next battery, or the one before."""
        if step > 0:
            self._tabs.action_next_tab()
        else:
            self._tabs.action_previous_tab()

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Offer on each page what can be done there."""
        if action in ("battery", "parameters") and len(self.screen_stack) > 1:
            return False
        if action == "parameters":
            try:
                refuse_unless_asked(self.link)
            except Failure:
                return False
        return True

    def action_parameters(self) -> None:
        """List the parameters of the battery that was chosen."""
        self.push_screen(ParameterPage(self.link, self._chosen.battery))

    async def action_quit(self) -> None:
        """Leave; what is being written is read back first."""
        if not self.writing:
            self.exit()
        elif not self._leaving:
            self._leaving = True
            self.notify("The value is read back first, then this ends.")

    def written(self, battery: Battery, event: Event, *, interrupted: bool) -> None:
        """Take what came of a write."""
        self.writing = False
        self.tell(battery, event)
        if interrupted or self._leaving:
            self.exit(event.text)


def _name(battery: Battery) -> str:
    return f"battery-{battery.identity.address}"
