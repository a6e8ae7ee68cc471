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
from collections.abc import Callable, Iterator, Mapping, MutableMapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from functools import lru_cache
from pathlib import PurePath
from types import TracebackType
from typing import Any, Final, TextIO, cast

import msgspec
import structlog

from monitoring.registry import Hop, HopOutcome

__all__ = ["KEYS", "WITHHELD", "LogFormat", "Shape", "configure", "get", "guard_line", "together", "write_hop"]

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
}

KEYS: Mapping[str, Shape] = {
    "timestamp": Shape.TIME,
    "level": Shape.CODE,
    "event": Shape.CODE,
    "module": Shape.SLUG,
    "hop": Shape.CODE,
    "outcome": Shape.CODE,
    "reason": Shape.CODE,
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


def guard_line(_logger: Any, _method: str, line: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """The processor that drops what is on no list and withholds what has the wrong shape. Never raises."""
    kept: dict[str, Any] = {}
    for key, shape in KEYS.items():
        if key in line and line[key] is not None:
            kept[key] = _shaped(line[key], shape)
    return kept


def _shaped(value: Any, shape: Shape) -> str | int | float | bool:
    if shape is Shape.FIGURE:
        return value if isinstance(value, (bool, int, float)) and abs(value) < 1e15 else WITHHELD
    text = value if isinstance(value, str) else type(value).__name__ if shape is Shape.CLASS else _plain(value)
    if (_is_known(shape, text) if shape in _FEW else _PATTERNS[shape].fullmatch(text)) is not None:
        return text
    if shape is Shape.DIGESTED and isinstance(value, str):
        return "sha256:" + hashlib.sha256(value.encode("utf-8", "surrogatepass")).hexdigest()[:16]
    return WITHHELD


_FEW = frozenset({Shape.CODE, Shape.SLUG, Shape.ROUTE})
"""Shapes whose values are a few, said again and again."""


@lru_cache(maxsize=4_096)
def _is_known(shape: Shape, text: str) -> re.Match[str] | None:
    return _PATTERNS[shape].fullmatch(text)


def _plain(value: Any) -> str:
    """Ids come as `UUID` objects too; everything else that is no text has no shape."""
    return str(value) if type(value).__name__ == "UUID" else WITHHELD


def name_exception(_logger: Any, _method: str, line: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """The processor that turns an exception into its class and the place it came from; its message stays inside."""
    info = line.pop("exc_info", None)
    error = sys.exc_info()[1] if info is True else info[1] if isinstance(info, tuple) else info
    if isinstance(error, BaseException):
        line.setdefault("error", type(error).__name__)
        place = _place_of(error.__traceback__)
        if place:
            line.setdefault("place", place)
    return line


def _place_of(traceback: TracebackType | None) -> str:
    if traceback is None:
        return ""
    while traceback.tb_next is not None:
        traceback = traceback.tb_next
    return f"{PurePath(traceback.tb_frame.f_code.co_filename).name}:{traceback.tb_lineno}"


class _Lines:
    """Where lines go: whole lines, one at a time, and never an exception."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._lock = threading.Lock()
        self._held = threading.local()

    def msg(self, line: str) -> None:
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
                self._stream.write(text)
                self._stream.flush()
            except (OSError, ValueError):  # full disk, closed pipe, closed file
                pass

    debug = info = warning = error = critical = exception = msg


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


@dataclass(frozen=True, slots=True, kw_only=True)
class _Pipe:
    """What `configure` set up, for lines that are too many to go through structlog's machinery."""

    level: int
    render: Callable[[Any, str, MutableMapping[str, Any]], str]
    lines: _Lines


_pipe: _Pipe | None = None


@lru_cache(maxsize=256)
def _context_of(logger: structlog.typing.FilteringBoundLogger) -> Mapping[str, Any]:
    return dict(structlog.get_context(logger.bind()))


def configure(format: LogFormat | str = LogFormat.JSON, level: str = "info", *, stream: TextIO | None = None) -> None:
    """Set up this process's log; call once at its start. Lines of `level` and above go to `stream` (standard error).

    Calling it again replaces what was set up. Raises ValueError for a format or a level that is none.
    """
    number = logging.getLevelNamesMapping().get(level.upper())
    if number is None:
        raise ValueError(f"no log level: {level}")
    out = stream if stream is not None else sys.stderr
    lines = _Lines(out)
    render = _renderer(LogFormat(format), is_coloured=out.isatty())
    global _pipe  # noqa: PLW0603 - a process has one log
    _pipe = _Pipe(level=number, render=render, lines=lines)
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            name_exception,
            guard_line,
            render,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(number),
        logger_factory=_factory(lines),
        cache_logger_on_first_use=False,
    )
    root = logging.getLogger()
    for handler in [handler for handler in root.handlers if isinstance(handler, _Records)]:
        root.removeHandler(handler)
    root.addHandler(_Records(level=max(number, logging.WARNING)))


def _factory(lines: _Lines) -> Any:
    return lambda *_: lines


def _renderer(format: LogFormat, *, is_coloured: bool) -> Any:
    if format is LogFormat.JSON:
        return lambda _logger, _method, line: msgspec.json.encode(line).decode()
    return structlog.dev.ConsoleRenderer(colors=is_coloured, pad_event_to=24, sort_keys=False)


def get(name: str) -> structlog.typing.FilteringBoundLogger:
    """A logger whose lines carry `module=name` (a short name in small letters, "exchange.accept")."""
    return cast(structlog.typing.FilteringBoundLogger, structlog.get_logger(module=name))


@contextmanager
def together() -> Iterator[None]:
    """Lines of this thread within the block are written in one go at its end: a group's lines cost one system call,
    and one loss of the interpreter, instead of thirty."""
    if _pipe is None:
        yield
        return
    with _pipe.lines.together():
        yield


def write_hop(
    logger: structlog.typing.FilteringBoundLogger,
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
    """The one line of one hop: a warning where a person may have to look, else information.

    A document writes five of them, so they go straight to the guard and the renderer: a quarter of the time.
    """
    is_grave = outcome in (HopOutcome.PARKED, HopOutcome.DOUBTFUL, HopOutcome.FAILED)
    ids = {
        "reason": reason,
        "packet": packet,
        "document": document,
        "delivery": delivery,
        "transfer": transfer,
        "system": system,
        "agency": agency,
        "channel": channel,
    }
    level = logging.WARNING if is_grave else logging.INFO
    context = _context_of(logger)  # type: ignore[arg-type]  # bound loggers are hashable; their protocol does not say so
    line = {**context, "hop": hop, "outcome": outcome, "ms": round(ms, 1), **ids}
    pipe = _pipe
    if pipe is None:
        logger.log(level, event, **{key: value for key, value in line.items() if value is not None})
    elif level >= pipe.level:
        line["timestamp"] = datetime.now(UTC).isoformat().replace("+00:00", "Z")
        line["level"], line["event"] = ("warning" if is_grave else "info"), event
        pipe.lines.msg(pipe.render(None, "", guard_line(None, "", line)))
