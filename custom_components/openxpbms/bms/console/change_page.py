"""One parameter changed, after a typed yes: the same code as `openxpbms set`."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, ClassVar

from rich.text import Text
from textual import work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.screen import Screen
from textual.widgets import Checkbox, Footer, Input, Static

from ..cli.changing import DANGER, WORD, Changing
from ..cli.exits import Failure
from ..cli.parameter_words import (
    allows,
    caution,
    ends,
    number,
    outcome,
    rules,
    why_not,
)
from ..cli.values import identity_words
from ..errors import BusError
from ..parameter_errors import ParameterError
from ..parameter_facts import change_line, with_unit
from ..parameter_rules import Pack
from ..parameters import Parameter
from ..seplos_writes import Outcome, Prepared, Wish
from .followed import Event, Tone

if TYPE_CHECKING:
    from .app import Console

_ALLOWS = {
    "allow_large_step": "Allow a large step: more than 20 % of the span",
    "allow_trip": "Allow a trip: the pack may switch off",
}


class ChangePage(Screen[None]):
    """The new value, then what it means, then the typed word, then what came of it."""

    app: Console
    CSS = """
    ChangePage #who { background: $panel; }
    ChangePage Static { height: auto; padding: 0 1; }
    ChangePage Input { margin: 0 1; }
    ChangePage VerticalScroll { height: 1fr; }
    ChangePage #danger { color: $error; }
    ChangePage .later { display: none; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "back", "Back"),
        Binding("tab", "app.focus_next", "Next field", show=False),
        Binding("shift+tab", "app.focus_previous", "Field before", show=False),
    ]

    def __init__(self, changing: Changing, parameter: Parameter, pack: Pack) -> None:
        """Take a parameter and its pack as it was just read."""
        super().__init__()
        self._changing = changing
        self._parameter = parameter
        self._pack = pack
        self._prepared: Prepared | None = None

    def compose(self) -> ComposeResult:
        """Lay out the page; what comes later is hidden."""
        name, unit = self._parameter.name, self._parameter.field.unit
        now = with_unit(name, self._pack.values[name])
        about = Text.assemble((name, "bold"), f" is {now}\n")
        about.append(f"May be set: {ends(self._parameter, self._pack)}")
        if also := rules(self._parameter):
            about.append(f"\nRules: {', '.join(also)}", "dim")
        who = self._changing.battery.identity
        yield Static(Text(identity_words(who), "bold"), id="who")
        with VerticalScroll(can_focus=False):
            yield Static(about, id="about")
            yield Input(placeholder=f"new value in {unit or 'counts'}", id="value")
            for allow, label in _ALLOWS.items():
                yield Checkbox(label, id=allow, classes="later", compact=True)
            yield Static(id="told")
            yield Static(DANGER, id="danger", classes="later")
            yield Static(id="wait", classes="later")
            yield Input(
                placeholder=f"type {WORD} to write this", id="word", classes="later"
            )
            yield Static(id="result")
        yield Footer()

    def on_mount(self) -> None:
        """Look again and again whether the line has been watched for long enough."""
        self.set_interval(0.2, self._watch)

    def _show(self, name: str, *, there: bool) -> None:
        self.query_one(f"#{name}").set_class(not there, "later")

    def _tell(self, name: str, text: str | Text, style: str = "") -> None:
        told = Text(text, style) if isinstance(text, str) else text
        self.query_one(f"#{name}", Static).update(told)

    def on_input_changed(self, event: Input.Changed) -> None:
        """Forget what was prepared for another value."""
        if event.input.id == "value":
            self._forget()

    def on_checkbox_changed(self) -> None:
        """Look again with what is allowed now."""
        self._forget()
        self.query_one("#value").focus()

    def _forget(self) -> None:
        self._prepared = None
        self.query_one("#word", Input).value = ""
        for name in ("danger", "wait", "word"):
            self._show(name, there=False)
        self._tell("told", "")

    def on_input_submitted(self, event: Input.Submitted) -> None:
        """Look at a value, or write it."""
        if self.app.writing:
            return
        if event.input.id == "value":
            self._forget()
            self._tell("result", "")
            self._look(event.value.strip())
        elif self._prepared is not None:
            prepared, self._prepared = self._prepared, None
            self.app.writing = True
            self._make(prepared, event.value)

    @work(exclusive=True, group="look")
    async def _look(self, text: str) -> None:
        name = self._parameter.name
        allowed = {each: self.query_one(f"#{each}", Checkbox).value for each in _ALLOWS}
        try:
            wish = Wish(name=name, value=number(name, text), **allowed)
            prepared = await self._changing.prepare(wish)
        except Failure as err:
            self._tell("told", str(err), "bold red")
        except (BusError, ParameterError) as err:
            self._tell("told", why_not(err), "bold red")
            if allow := allows(err):
                self._show(allow, there=True)
                self.query_one(f"#{allow}").focus()
        else:
            self._offer(prepared)

    def _offer(self, prepared: Prepared) -> None:
        change = prepared.change
        told = Text(change_line(change), "bold")
        for each in change.cautions:
            told.append(f"\nMind: {caution(each)}", "bold yellow")
        told.append(f"\nFrame: {prepared.frame.hex(' ')}", "dim")
        self._tell("told", told)
        self._show("danger", there=True)
        self._prepared = prepared
        self._watch()

    def _watch(self) -> None:
        """Ask for the word as soon as the line has been watched for long enough."""
        if self._prepared is None:
            return
        rest = self._changing.unwatched
        self._show("wait", there=rest > 0)
        self._tell(
            "wait", f"The line is watched for another master: {math.ceil(rest)} s left."
        )
        word = self.query_one("#word", Input)
        if rest <= 0 and word.has_class("later"):
            self._show("word", there=True)
            word.focus()

    @work(group="write")
    async def _make(self, prepared: Prepared, word: str) -> None:
        self._tell("result", "Writing, and reading back …")
        try:
            result = await self._changing.make(prepared, word)
        except Failure as err:
            self.app.writing = False
            told, tone = str(err), Tone.PLAIN
        else:
            told = outcome(prepared.change, result)
            good = result.outcome is Outcome.VERIFIED
            tone = Tone.GOOD if good else Tone.BAD
            self.app.written(
                self._changing.battery,
                Event(tone, told),
                interrupted=self._changing.interrupted,
            )
        self._forget()
        self._tell("result", told, f"bold {'green' if tone is Tone.GOOD else 'red'}")
        self.query_one("#value").focus()

    def action_back(self) -> None:
        """Leave without a change; what is being written goes to its end."""
        if not self.app.writing:
            self.dismiss()
