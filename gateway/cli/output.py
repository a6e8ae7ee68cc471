"""How commands of a node speak: besides sentences and tables its instants, spans, reasons, and bars of long work."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import typer
from rich.progress import BarColumn, DownloadColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from edxml.commands import terminal
from edxml.commands.terminal import MOMENT, AsJson, in_vietnam, on_one_line, open_streams
from edxml.messages import Language, say_span
from gateway.cli.moments import INSTANTS
from gateway.model.instants import as_local, local_iso

__all__ = ["AsJson", "Voice", "in_vietnam", "make_voice", "on_one_line", "voice_of"]


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Voice(terminal.Voice):
    """The two streams and the language of one command of a node."""

    def reason(self, value: str) -> str:
        """Why something is as it is: reasons of the machine are short words, those of others whole codes."""
        return self.label("delivery", value) if "." not in value else self.say(value)

    def moment(self, instant: int | None) -> str:
        """An instant as people in Vietnam read it, to the second."""
        return "" if instant is None else f"{as_local(instant):{MOMENT}}"

    def span(self, seconds: float) -> str:
        """A span of time as people say it."""
        return say_span(seconds, self.language)

    def progress(self, *, is_bytes: bool = False) -> Progress:
        """A bar on standard error; silent where nobody looks at it."""
        amount = DownloadColumn() if is_bytes else TextColumn("{task.completed}/{task.total}")
        columns = (TextColumn("{task.description}", markup=False), BarColumn(), amount, TimeRemainingColumn())
        return Progress(*columns, console=self.err, transient=True, disable=not self.err.is_terminal)

    @contextmanager
    def steps(self, texts: str) -> Iterator[Callable[[str, int, int], None]]:
        """A bar per step of long work, named `<texts>.step_<word>`; silent where nobody looks at it."""
        with self.progress() as bar:
            tasks: dict[str, TaskID] = {}

            def tell(step: str, done: int, total: int) -> None:
                if step not in tasks:
                    tasks[step] = bar.add_task(self.say(f"{texts}.step_{step}"), total=total)
                bar.update(tasks[step], completed=done, total=total)

            yield tell

    def plain(self, value: Any) -> Any:
        """Instants are told as the API tells them: ISO 8601 with +07:00."""
        if dataclasses.is_dataclass(value) and not isinstance(value, type):
            told = {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
            return {name: local_iso(each) if name in INSTANTS and isinstance(each, int) else each
                    for name, each in told.items()}  # fmt: skip
        return terminal.Voice.plain(self, value)


def make_voice(language: Language) -> Voice:
    """The voice of this process's own streams."""
    return Voice(language=language, **open_streams())


def voice_of(ctx: typer.Context) -> Voice:
    """The voice that `main` gave to the command."""
    found = ctx.find_root().obj
    assert isinstance(found, Voice), "main starts every command with a voice"
    return found
