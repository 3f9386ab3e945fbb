"""All parameters of a pack, to choose one that is to be changed."""

from __future__ import annotations

from typing import ClassVar

from rich.text import Text
from textual import work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.screen import Screen
from textual.widgets import DataTable, Footer, Input, Static

from ..cli.changing import Changing
from ..cli.exits import sentence
from ..cli.link import Link
from ..cli.parameter_words import ends, rules
from ..cli.values import identity_words
from ..errors import BusError
from ..parameter_facts import with_unit
from ..parameter_rules import Pack
from ..parameters import BY_NAME, SPA_PARAMETERS
from ..rounds import Battery
from .change_page import ChangePage

# Together as wide as a terminal of 80; such as 655.35 Ah, and 10.00 Ah to 655.35 Ah.
_WIDTHS = {"Parameter": max(map(len, BY_NAME)), "Value": 9, "May be set": 21}


class ParameterPage(Screen[None]):
    """The list, with the first line to find one by a part of its name."""

    CSS = """
    ParameterPage #who, ParameterPage #told { height: auto; padding: 0 1; }
    ParameterPage #who { background: $panel; }
    ParameterPage #told { color: $warning; }
    ParameterPage DataTable { height: 1fr; scrollbar-size-vertical: 1; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "back", "Back"),
        Binding("up", "move('cursor_up')", "Up", show=False),
        Binding("down", "move('cursor_down')", "Down", show=False),
        Binding("pageup", "move('page_up')", "Page up", show=False),
        Binding("pagedown", "move('page_down')", "Page down", show=False),
        Binding("enter", "choose", "Change", priority=True),
    ]

    def __init__(self, link: Link, battery: Battery) -> None:
        """Take a pack that is asked."""
        super().__init__()
        self._battery = battery
        self._changing = Changing(link, battery)
        self._pack: Pack | None = None

    def compose(self) -> ComposeResult:
        """Lay out the page."""
        yield Static(Text(identity_words(self._battery.identity), "bold"), id="who")
        yield Input(placeholder="type a part of a name to find it", compact=True)
        yield DataTable(cursor_type="row")
        yield Static("Reading the pack …", id="told")
        yield Footer()

    def on_mount(self) -> None:
        """Lay out the table."""
        table = self.query_one(DataTable)
        table.can_focus = False
        for heading, width in _WIDTHS.items():
            table.add_column(heading, width=width)

    def on_screen_resume(self) -> None:
        """Read the pack, also after a change."""
        self._read()

    @work(exclusive=True)
    async def _read(self) -> None:
        try:
            self._pack = await self._changing.pack()
        except BusError as err:
            self._tell(sentence(str(err)))
            return
        self._tell("")
        self._list()

    def _tell(self, text: str) -> None:
        self.query_one("#told", Static).update(Text(text))

    def on_input_changed(self) -> None:
        """Show what has been looked for."""
        self._list()

    def _list(self) -> None:
        if self._pack is None:
            return
        table, row = self.query_one(DataTable), self.query_one(DataTable).cursor_row
        wanted = self.query_one(Input).value.strip().lower().replace(" ", "_")
        table.clear()
        for parameter in SPA_PARAMETERS:
            name = parameter.name
            if wanted in name:
                style = "" if parameter.writable else "dim"
                value = with_unit(name, self._pack.values[name])
                told = [name, value, ends(parameter, self._pack) or "never"]
                table.add_row(*(Text(each, style) for each in told), key=name)
        table.move_cursor(row=row)

    def action_move(self, how: str) -> None:
        """Move in the list while the name is typed."""
        getattr(self.query_one(DataTable), f"action_{how}")()

    def action_choose(self) -> None:
        """Change the parameter that is marked."""
        table = self.query_one(DataTable)
        if self._pack is None or not table.row_count:
            return
        key = table.coordinate_to_cell_key(table.cursor_coordinate).row_key.value
        parameter = BY_NAME[str(key)]
        if parameter.writable:
            self.app.push_screen(ChangePage(self._changing, parameter, self._pack))
        else:
            self._tell(f"{parameter.name} is {', '.join(rules(parameter))}.")

    def action_back(self) -> None:
        """Leave the list."""
        self.dismiss()
