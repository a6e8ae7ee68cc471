"""Log lines that can never tell what a document says: one line per hop, with ids, codes and figures only.

A key that is not on the list is dropped; a value that does not have its key's shape is withheld.  So no subject,
name, e-mail address or telephone number gets out, whoever writes the line and whatever a packet holds: an
exception is logged as its class and place, without its message, and other libraries' records without their text.
A line that cannot be written (disk full, pipe closed) is lost silently: logging never fails a hop.
"""

from __future__ import annotations

import logging
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from functools import lru_cache
from itertools import groupby
from operator import itemgetter
from pathlib import PurePath
from types import TracebackType
from typing import Any, Final, TextIO

import msgspec

from edxml.zone import VIETNAM
from monitoring.log_guard import guard_line
from monitoring.registry import Hop, HopOutcome

__all__ = ["LogFormat", "Logger", "configure", "get", "together", "write_hop", "write_hops"]


class LogFormat(StrEnum):
    """How a line looks."""

    JSON = "json"  #: one JSON object per line, for programs
    HUMAN = "human"  #: for people at a console


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
        self.log_each(level, event, _ONE, **keys)

    def log_each(self, level: int, event: str, members: Iterable[Mapping[str, Any]], /, **keys: Any) -> None:
        """A line of this moment for each member of a group: `keys`, which are looked at once, and the member's own,
        which the list has behind them."""
        pipe = _pipe
        if level < pipe.level:
            return
        seconds, rest = divmod(time.time_ns(), 1_000_000_000)
        keys["timestamp"] = f"{_second(seconds)}.{rest // 1000:06d}+07:00"
        keys["level"], keys["event"], keys["module"] = _LEVELS.get(level, "error"), event, self.name
        _name_exception(keys)
        said = guard_line(keys)
        for member in members:
            pipe.lines.add(pipe.render({**said, **guard_line(member)} if member else said))

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


_ONE: Final[Sequence[Mapping[str, Any]]] = ({},)
"""The member of a line that is alone."""


@lru_cache(maxsize=4)
def _second(seconds: int) -> str:
    """A second since 1970 as it is written: a calendar costs ten times what the rest of a moment does."""
    return datetime.fromtimestamp(seconds, VIETNAM).replace(tzinfo=None).isoformat()


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
    logger.log(
        _level_of(outcome),
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


def write_hops(
    logger: Logger,
    event: str,
    members: Iterable[tuple[HopOutcome, str | None, Mapping[str, str | None]]],
    *,
    hop: Hop,
    ms: float,
) -> None:
    """The lines of a group whose hop ended at one moment: for each member, in their order, what came of it, the reason,
    and its ids, as `write_hop` says them."""
    for (outcome, reason), some in groupby(members, key=itemgetter(0, 1)):
        ids = (one[2] for one in some)
        logger.log_each(_level_of(outcome), event, ids, hop=hop, outcome=outcome, ms=round(ms, 1), reason=reason)


def _level_of(outcome: HopOutcome) -> int:
    return logging.WARNING if outcome in _GRAVE else logging.INFO


_GRAVE: Final = frozenset({HopOutcome.PARKED, HopOutcome.DOUBTFUL, HopOutcome.FAILED})
