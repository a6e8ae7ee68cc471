"""How every command speaks: sentences and tables for people, JSON for programs.

Answers go to standard output, everything else (faults, progress, hints) to standard error, so that both can be piped.
"""

from __future__ import annotations

import codecs
import dataclasses
import io
import json
import os
import re
import sys
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from datetime import date, datetime
from typing import Annotated, Any, TextIO, cast

import typer
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from edxml import zone
from edxml.messages import Language, system_words, text

__all__ = ["MOMENT", "AsJson", "Voice", "in_vietnam", "make_voice", "on_one_line", "open_streams", "voice_of"]

AsJson = Annotated[bool, typer.Option("--json", help="help.json")]
"""The option that every listing has."""

_PIPED_WIDTH = 240
_IDS = frozenset({"packet", "delivery"})
"""Columns of ids: whoever copies one must find it on one line."""
MOMENT = "%d/%m/%Y %H:%M:%S"
_UNSEEN = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069]")
"""Characters that move a terminal's cursor, colour it or turn text round: senders must not have such power."""


_LINE_END = re.compile("[\n\x0b\x0c\r\x85\u2028\u2029]")


def on_one_line(value: Any) -> Any:
    """A text or a path without line ends: whoever names a file must not write a line of their own into an answer."""
    if isinstance(value, (str, os.PathLike)):
        return _LINE_END.sub("\N{REPLACEMENT CHARACTER}", str(value))
    return value


def _plain_text(text: str, style: str = "") -> Text:
    return Text(_UNSEEN.sub("\N{REPLACEMENT CHARACTER}", text), style=style)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Voice:
    """The two streams and the language of one command."""

    language: Language
    out: Console
    err: Console

    def say(self, code: str, /, **params: Any) -> str:
        """The text of a code; the code itself where it has none. A line end in a file's name breaks no line."""
        return text(code, self.language, {name: on_one_line(value) for name, value in params.items()})

    def label(self, table: str, value: str) -> str:
        """What people call a value of a closed list (`state`, "ready"); the value itself where it has no word."""
        if not value:
            return ""
        code = f"{table}.{value.replace('.', '_')}"
        found = text(code, self.language, {})
        return value if found == code else found

    def why(self, error: OSError) -> str:
        """Why the system refused to read or write, in the reader's language where it is a common reason."""
        return system_words(error).said(self.language)

    def tell(self, code: str, /, **params: Any) -> None:
        """One sentence as an answer."""
        self.write(self.say(code, **params))

    def write(self, line: str, style: str = "") -> None:
        """One line as an answer, whatever letters are in it."""
        self.out.print(_plain_text(line, style), soft_wrap=True)

    def hint(self, code: str, /, **params: Any) -> None:
        """One sentence beside the answer."""
        self.err.print(_plain_text(self.say(code, **params)), soft_wrap=True)

    def fault(self, sentence: str, code: str) -> None:
        """What went wrong and what to do, with the code to look it up by."""
        told = _plain_text(on_one_line(sentence))
        line = Text.assemble((self.say("cli.fault"), "bold red"), " ", told, " ", (f"[{code}]", "dim"))
        self.err.print(line, soft_wrap=True)

    def table(self, columns: Sequence[str], rows: Iterable[Sequence[Any]], *, title: str = "") -> None:
        """A table; `columns` are words of `column.…`. Of a table without rows one sentence says that it is empty."""
        made = Table(box=box.SIMPLE_HEAD, title=title or None, title_justify="left", pad_edge=False)
        for column in columns:
            is_figure = column.startswith("#")
            name = self.label("column", column.lstrip("#"))
            made.add_column(name, justify="right" if is_figure else "left", overflow="fold", no_wrap=column in _IDS)
        for row in rows:
            made.add_row(*(cell if isinstance(cell, Text) else _plain_text(self._shown(cell)) for cell in row))
        if made.row_count:
            self.out.print(made)
        else:
            self.tell("cli.nothing")

    def _shown(self, value: Any) -> str:
        if isinstance(value, bool):
            return self.say("cli.yes" if value else "cli.no")
        return "" if value is None else str(value)

    def json(self, value: Any) -> None:
        """One JSON document: dataclasses as objects, moments as ISO 8601.

        Where the stream cannot carry every letter, letters stand as JSON's escapes.
        """
        is_ascii = codecs.lookup(getattr(self.out.file, "encoding", None) or "utf-8").name != "utf-8"
        self.out.file.write(json.dumps(value, default=self.plain, ensure_ascii=is_ascii, indent=2) + "\n")

    def plain(self, value: Any) -> Any:
        """What JSON has no form for, as it is written there."""
        if dataclasses.is_dataclass(value) and not isinstance(value, type):
            return {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
        if isinstance(value, (set, frozenset)):
            return sorted(value)
        if isinstance(value, Mapping):
            return dict(value)
        if isinstance(value, (date, datetime)):
            return value.isoformat()
        return str(value)


def in_vietnam(moment: datetime) -> str:
    """A moment (aware) as people in Vietnam read it, to the second."""
    return f"{zone.in_vietnam(moment):{MOMENT}}"


def make_voice(language: Language) -> Voice:
    """The voice of this process's own streams."""
    return Voice(language=language, **open_streams())


def open_streams() -> dict[str, Console]:
    """This process's streams, for a voice. Piped output is wide: a program or a pager takes the lines.

    A letter that a stream cannot carry is written as its number; a stream that is closed swallows what is said.
    """
    sys.stdout, sys.stderr = _able(sys.stdout), _Beside.of(_able(sys.stderr))
    width = None if sys.stdout.isatty() else _PIPED_WIDTH
    return {
        "out": Console(width=width, highlight=False, markup=False),
        "err": Console(stderr=True, highlight=False, markup=False),
    }


class _Beside:
    """Standard error: what cannot be said there, because the disk is full or its reader has left, changes no answer."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    @classmethod
    def of(cls, stream: TextIO) -> TextIO:
        """The same stream, once."""
        return stream if isinstance(stream, cls) else cast(TextIO, cls(stream))

    def write(self, words: str) -> int:
        """Said, or not."""
        with suppress(OSError):
            self._stream.write(words)
        return len(words)

    def flush(self) -> None:
        """Said, or not."""
        with suppress(OSError):
            self._stream.flush()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def _able(stream: TextIO | None) -> TextIO:
    if stream is None:  # closed by whoever started us
        return open(os.devnull, "w", encoding="utf-8")
    if isinstance(stream, io.TextIOWrapper):
        stream.reconfigure(errors="backslashreplace")
    return stream


def voice_of(ctx: typer.Context) -> Voice:
    """The voice that `main` gave to the command."""
    found = ctx.find_root().obj
    assert isinstance(found, Voice), "main starts every command with a voice"
    return found
