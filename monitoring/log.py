"""Log lines that can never tell what a document says: one line per hop, with ids, codes and figures only.

A key that is not on the list is dropped; a value that does not have its key's shape is withheld.  So no subject,
name, e-mail address or telephone number gets out, whoever writes the line and whatever a packet holds: an
exception is logged as its class and place, without its message, and other libraries' records without their text.
A line that cannot be written (disk full, pipe closed) is lost silently: logging never fails a hop.
"""

from __future__ import annotations

import hashlib
import logging
import re
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from functools import lru_cache
from pathlib import PurePath
from types import TracebackType
from typing import Any, Final, TextIO

import msgspec

from monitoring.registry import Hop, HopOutcome

__all__ = [
    "KEYS",
    "WITHHELD",
    "LogFormat",
    "Logger",
    "Shape",
    "configure",
    "get",
    "guard_line",
    "together",
    "write_hop",
]

WITHHELD: Final = "(withheld)"
"""What stands in place of a value that does not have its key's shape."""


class LogFormat(StrEnum):
    """How a line looks."""

    JSON = "json"  #: one JSON object per line, for programs
    HUMAN = "human"  #: for people at a console


class Shape(StrEnum):
    """What a value may look like. None of them lets a sentence, an address or a number of a person through."""

    UUID = "uuid"  #: an id of ours
    DIGESTED = "digested"  #: an id of ours, or else the start of the value's digest: senders write document ids
    SLUG = "slug"  #: an id from our own tables: a UUID, or starts with a letter and holds no blank and no @
    CODE = "code"  #: noun.reason
    FIGURE = "figure"  #: a number, or yes and no
    PLACE = "place"  #: module.py:123
    CLASS = "class"  #: a Python class
    TIME = "time"  #: ISO 8601 with a zone
    ROUTE = "route"  #: a template of a path
    ADDRESS = "address"  #: host:port of a service of the operator's own


_UUID = r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}|[0-9a-f]{32}"
_PATTERNS: Mapping[Shape, re.Pattern[str]] = {
    Shape.UUID: re.compile(_UUID),
    Shape.DIGESTED: re.compile(_UUID),
    Shape.SLUG: re.compile(rf"[a-z][a-z0-9._\-]{{0,63}}|{_UUID}"),
    Shape.CODE: re.compile(r"[a-z][a-z_]{0,40}(\.[a-z][a-z0-9_]{0,40}){0,2}"),
    Shape.PLACE: re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,60}\.py:\d{1,6}"),
    Shape.CLASS: re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,60}"),
    Shape.TIME: re.compile(r"\d{4}-\d\d-\d\dT[0-9:.]{8,15}(Z|[+-]\d\d:\d\d)"),
    Shape.ROUTE: re.compile(r"/[a-z0-9_/{}.\-]{0,80}"),
    Shape.ADDRESS: re.compile(r"(?:[A-Za-z0-9.\-]{1,253}|\[?[0-9A-Fa-f:]{2,45}\]?):\d{1,5}"),
}

KEYS: Mapping[str, Shape] = {
    "timestamp": Shape.TIME,
    "level": Shape.CODE,
    "event": Shape.CODE,
    "module": Shape.SLUG,
    "hop": Shape.CODE,
    "outcome": Shape.CODE,
    "reason": Shape.CODE,
    "cause": Shape.CODE,
    "ms": Shape.FIGURE,
    "packet": Shape.UUID,
    "delivery": Shape.UUID,
    "transfer": Shape.UUID,
    "document": Shape.DIGESTED,
    "system": Shape.SLUG,
    "agency": Shape.SLUG,
    "channel": Shape.SLUG,
    "queue": Shape.SLUG,
    "process": Shape.SLUG,
    "link": Shape.SLUG,
    "address": Shape.ADDRESS,
    "state": Shape.CODE,
    "repair": Shape.CODE,
    "alert": Shape.CODE,
    "turn": Shape.FIGURE,
    "count": Shape.FIGURE,
    "bytes": Shape.FIGURE,
    "port": Shape.FIGURE,
    "pid": Shape.FIGURE,
    "status": Shape.FIGURE,
    "route": Shape.ROUTE,
    "error": Shape.CLASS,
    "place": Shape.PLACE,
}
"""Every key that a line may have, and the shape of its value."""


def guard_line(line: Mapping[str, Any]) -> dict[str, Any]:
    """What may be said of a line, in the list's order: the rest is dropped, a wrong shape withheld. Never raises."""
    kept: dict[str, Any] = {}
    for key, check in _CHECKS:
        value = line.get(key)
        if value is not None:
            kept[key] = check(value)
    return kept


def _figure(value: Any) -> str | int | float | bool:
    return value if isinstance(value, (bool, int, float)) and abs(value) < 1e15 else WITHHELD


@lru_cache(maxsize=len(Shape))
def _remembering(shape: Shape) -> Callable[[str], re.Match[str] | None]:
    """Whether a text has this shape, remembered for all keys of the shape together: a crowd of values costs a process
    some hundred kilobytes at most."""
    fits = _PATTERNS[shape].fullmatch
    return lru_cache(maxsize=_REMEMBERED)(fits) if shape in _FEW else fits


def _check_of(shape: Shape) -> Callable[[Any], str | int | float | bool]:
    """What gives a value back that has this shape, and what stands in its place for any other."""
    if shape is Shape.FIGURE:
        return _figure
    fits, remembering = _PATTERNS[shape].fullmatch, _remembering(shape)

    def check(value: Any) -> str:
        text = value if isinstance(value, str) else type(value).__name__ if shape is Shape.CLASS else _plain(value)
        if (remembering if len(text) <= _LONGEST_REMEMBERED else fits)(text) is not None:
            return text
        if shape is Shape.DIGESTED and isinstance(value, str):
            return "sha256:" + hashlib.sha256(value.encode("utf-8", "surrogatepass")).hexdigest()[:16]
        return WITHHELD

    return check


_FEW: Final = frozenset({Shape.CODE, Shape.SLUG, Shape.ROUTE})
"""Shapes whose values are a few, said again and again."""

_REMEMBERED: Final = 512
"""Values of such a shape whose look is remembered: the codes and channels of a province, with room."""

_LONGEST_REMEMBERED: Final = 128
"""Characters of a value that is remembered: none of these shapes but a route's holds more."""


def _plain(value: Any) -> str:
    """Ids come as `UUID` objects too; everything else that is no text has no shape."""
    return str(value) if type(value).__name__ == "UUID" else WITHHELD


_CHECKS: Final = tuple((key, _check_of(shape)) for key, shape in KEYS.items())


def _name_exception(line: dict[str, Any]) -> None:
    """Put an exception's class and the place it came from in its stead; its message stays inside."""
    info = line.pop("exc_info", None)
    error = sys.exc_info()[1] if info is True else info[1] if isinstance(info, tuple) else info
    if isinstance(error, BaseException):
        line.setdefault("error", type(error).__name__)
        place = _place_of(error.__traceback__)
        if place:
            line.setdefault("place", place)


def _place_of(traceback: TracebackType | None) -> str:
    if traceback is None:
        return ""
    while traceback.tb_next is not None:
        traceback = traceback.tb_next
    return f"{PurePath(traceback.tb_frame.f_code.co_filename).name}:{traceback.tb_lineno}"


class _Lines:
    """Where lines go: whole lines, one at a time, and never an exception."""

    def __init__(self, stream: TextIO | None) -> None:
        """To `stream`, or to what standard error is at the moment of the line."""
        self._stream = stream
        self._lock = threading.Lock()
        self._held = threading.local()

    def add(self, line: str) -> None:
        held: list[str] | None = getattr(self._held, "lines", None)
        if held is None:
            self._write(line + "\n")
        else:
            held.append(line + "\n")

    @contextmanager
    def together(self) -> Iterator[None]:
        if getattr(self._held, "lines", None) is not None:
            yield
            return
        held: list[str] = []
        self._held.lines = held
        try:
            yield
        finally:
            self._held.lines = None
            if held:
                self._write("".join(held))

    def _write(self, text: str) -> None:
        with self._lock:
            try:
                stream = self._stream if self._stream is not None else sys.stderr
                stream.write(text)
                stream.flush()
            except (OSError, ValueError):  # full disk, closed pipe, closed file
                pass


class _Records(logging.Handler):
    """Other libraries' records, without their text: who, how grave, where, and the class of the error."""

    def emit(self, record: logging.LogRecord) -> None:
        name = record.name.lower()
        error = record.exc_info[1] if record.exc_info else None
        get(name).log(
            record.levelno,
            "library.logged",
            place=f"{record.filename}:{record.lineno}",
            error=type(error).__name__ if error else None,
        )


def _as_json(line: Mapping[str, Any]) -> str:
    return msgspec.json.encode(line).decode()


def _as_text(line: Mapping[str, Any], paint: str = "{}") -> str:
    rest = "".join(f" {key}={value}" for key, value in line.items() if key not in ("timestamp", "level", "event"))
    return f"{line['timestamp']} [{paint.format(line['level'])}] {line['event']:<24}{rest}"


def _as_painted_text(line: Mapping[str, Any]) -> str:
    return _as_text(line, _PAINT.get(line["level"], "{}"))


_PAINT: Mapping[str, str] = {"warning": "\x1b[33m{}\x1b[0m", "error": "\x1b[31m{}\x1b[0m"}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Pipe:
    """What `configure` set up; before it, warnings go to standard error for people."""

    level: int = logging.WARNING
    render: Callable[[Mapping[str, Any]], str] = _as_text
    lines: _Lines = field(default_factory=lambda: _Lines(None))


_pipe = _Pipe()


@dataclass(frozen=True, slots=True)
class Logger:
    """Says lines that carry `module=name`. What is said is an event, `noun.done`, and keys of `KEYS`."""

    name: str

    def log(self, level: int, event: str, /, **keys: Any) -> None:
        """One line, where `level` (of `logging`) is one that is written; `exc_info` is what `logging` takes."""
        pipe = _pipe
        if level < pipe.level:
            return
        seconds, rest = divmod(time.time_ns(), 1_000_000_000)
        keys["timestamp"] = f"{_second(seconds)}.{rest // 1000:06d}Z"
        keys["level"], keys["event"], keys["module"] = _LEVELS.get(level, "error"), event, self.name
        _name_exception(keys)
        pipe.lines.add(pipe.render(guard_line(keys)))

    def debug(self, event: str, /, **keys: Any) -> None:
        """What only somebody who looks for a fault wants to see."""
        self.log(logging.DEBUG, event, **keys)

    def info(self, event: str, /, **keys: Any) -> None:
        """What happened."""
        self.log(logging.INFO, event, **keys)

    def warning(self, event: str, /, **keys: Any) -> None:
        """What a person may have to see."""
        self.log(logging.WARNING, event, **keys)

    def error(self, event: str, /, **keys: Any) -> None:
        """What a person must see."""
        self.log(logging.ERROR, event, **keys)

    def exception(self, event: str, /, *, exc_info: Any = True, **keys: Any) -> None:
        """An error with the exception being handled, or the one given."""
        self.log(logging.ERROR, event, exc_info=exc_info, **keys)


@lru_cache(maxsize=4)
def _second(seconds: int) -> str:
    """A second since 1970 as it is written: a calendar costs ten times what the rest of a moment does."""
    return datetime.fromtimestamp(seconds, UTC).replace(tzinfo=None).isoformat()


_LEVELS = {getattr(logging, name.upper()): name for name in ("debug", "info", "warning", "error", "critical")}


def configure(format: LogFormat | str = LogFormat.JSON, level: str = "info", *, stream: TextIO | None = None) -> None:
    """Set up this process's log; call once at its start. Lines of `level` and above go to `stream` (standard error).

    Calling it again replaces what was set up. Raises ValueError for a format or a level that is none.
    """
    number = logging.getLevelNamesMapping().get(level.upper())
    if number is None:
        raise ValueError(f"no log level: {level}")
    human = _as_painted_text if (stream or sys.stderr).isatty() else _as_text
    global _pipe  # noqa: PLW0603 - a process has one log
    _pipe = _Pipe(level=number, render=_as_json if LogFormat(format) is LogFormat.JSON else human, lines=_Lines(stream))
    root = logging.getLogger()
    for handler in [handler for handler in root.handlers if isinstance(handler, _Records)]:
        root.removeHandler(handler)
    root.addHandler(_Records(level=max(number, logging.WARNING)))


def get(name: str) -> Logger:
    """A logger whose lines carry `module=name` (a short name in small letters, "exchange.accept")."""
    return Logger(name)


@contextmanager
def together() -> Iterator[None]:
    """Lines of this thread within the block are written in one go at its end: a group's lines cost one system call,
    and one loss of the interpreter, instead of thirty."""
    with _pipe.lines.together():
        yield


def write_hop(
    logger: Logger,
    event: str,
    *,
    hop: Hop,
    outcome: HopOutcome,
    ms: float,
    reason: str | None = None,
    packet: str | None = None,
    document: str | None = None,
    delivery: str | None = None,
    transfer: str | None = None,
    system: str | None = None,
    agency: str | None = None,
    channel: str | None = None,
) -> None:
    """The one line of one hop: a warning where a person may have to look, else information."""
    is_grave = outcome in (HopOutcome.PARKED, HopOutcome.DOUBTFUL, HopOutcome.FAILED)
    logger.log(
        logging.WARNING if is_grave else logging.INFO,
        event,
        hop=hop,
        outcome=outcome,
        ms=round(ms, 1),
        reason=reason,
        packet=packet,
        document=document,
        delivery=delivery,
        transfer=transfer,
        system=system,
        agency=agency,
        channel=channel,
    )
