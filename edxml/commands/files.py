"""Where commands on packets read from and write to: files, whole folders, standard input; never over another file."""

from __future__ import annotations

import errno
import os
import shutil
import sys
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import date, datetime
from pathlib import Path
from typing import Any, BinaryIO, cast

import typer

from edxml import LENIENT, Packet, Profile, ReadResult, Repair, Severity, StatusPacket, read
from edxml.commands.exits import ExitCode
from edxml.commands.terminal import Voice, make_voice
from edxml.messages import Language
from edxml.zone import VIETNAM

__all__ = [
    "STANDARD_INPUT",
    "as_plain",
    "complain",
    "open_packet",
    "packets_in",
    "read_whole",
    "show_findings",
    "show_repairs",
    "take",
    "unread_as_plain",
    "write_new",
]

STANDARD_INPUT = Path("-")
_SUFFIXES = (".edxml", ".xml")
_IN_MEMORY = 1 << 20


def packets_in(paths: Iterable[Path]) -> Iterator[Path]:
    """Every packet that is meant: of a folder all `*.edxml` and `*.xml` below it, in the order of their names.

    A folder without any, or one that cannot be looked into, is given back itself, so that opening it says so.
    """
    for path in paths:
        if not path.is_dir():
            yield path
            continue
        shut: list[OSError] = []
        below = [Path(folder, name) for folder, _, names in os.walk(path, onerror=shut.append) for name in names]
        found = [each for each in below if each.suffix.lower() in _SUFFIXES and each.is_file()]
        found += [Path(why.filename) for why in shut if Path(why.filename) != path]
        yield from sorted(found) or [path]


@contextmanager
def open_packet(path: Path) -> Iterator[BinaryIO]:
    """The bytes of a packet, able to seek; standard input (`-`) and pipes are spooled to disk where they are large.

    Raises OSError.
    """
    if path == STANDARD_INPUT:
        if sys.stdin is None:
            raise OSError(errno.EBADF, os.strerror(errno.EBADF), str(path))
        with _spooled(sys.stdin.buffer) as spool:
            yield spool
        return
    with path.open("rb") as stream:
        if stream.seekable():
            yield stream
            return
        with _spooled(stream) as spool:
            yield spool


@contextmanager
def _spooled(stream: BinaryIO) -> Iterator[BinaryIO]:
    with tempfile.SpooledTemporaryFile(max_size=_IN_MEMORY) as spool:
        shutil.copyfileobj(stream, spool)
        spool.seek(0)
        yield cast(BinaryIO, spool)  # in all but its declared type


def _today() -> date:
    return datetime.now(VIETNAM).date()


def read_whole(stream: BinaryIO, *, profile: Profile = LENIENT, check_schema: bool = False) -> ReadResult:
    """Reading's result, with the findings of today's rules."""
    return read(stream, profile=profile, check_schema=check_schema, check_rules=True, today=_today())


def as_plain(path: Path, result: ReadResult) -> dict[str, Any]:
    """What reading gave, for JSON: `findings` and `repairs` say why there may be no packet."""
    return {
        "file": str(path),
        "is_refused": result.is_refused,
        "is_complete": result.is_complete,
        "dialect": result.dialect,
        "size": result.size,
        "wire_digest": result.wire_digest,
        "findings": [finding.as_dict() for finding in result.findings],
        "repairs": [repair.as_dict() for repair in result.repairs],
    }


def unread_as_plain(path: Path, why: OSError) -> dict[str, Any]:
    """The same of a file that cannot be opened: one finding `cli.io`."""
    said = {str(each): _unread(make_voice(each), path, why)[1] for each in Language}
    finding = {"code": _unread(make_voice(Language.EN), path, why)[0], "severity": "error", "line": None, "path": ""}
    return {
        "file": str(path), "is_refused": True, "is_complete": False, "dialect": None, "size": 0, "wire_digest": "",
        "findings": [finding | said], "repairs": [],
    }  # fmt: skip


def take(
    voice: Voice, path: Path, stream: BinaryIO, *, as_json: bool = False
) -> tuple[ReadResult, Packet | StatusPacket]:
    """The packet in `stream`; where there is none, says why and ends the command (2: unreadable, 1: no packet)."""
    result = read(stream, today=_today())
    if result.packet is None:
        if as_json:
            voice.json(as_plain(path, result))
        else:
            told = {"file": str(path), "errors": len(result.findings), "warnings": 0, "repairs": len(result.repairs)}
            voice.tell("packet_told.refused", **told)
            show_findings(voice, [finding.as_dict() for finding in result.findings])
        raise typer.Exit(ExitCode.FINDINGS if result.is_complete else ExitCode.USAGE)
    return result, result.packet


def complain(voice: Voice, path: Path, why: OSError) -> None:
    """Say that one of several files cannot be read; the others are still looked at."""
    code, sentence = _unread(voice, path, why)
    voice.fault(sentence, code)


def _unread(voice: Voice, path: Path, why: OSError) -> tuple[str, str]:
    """Code and sentence. A folder is opened only where `packets_in` found nothing in it."""
    if why.errno == errno.EISDIR:
        return "cli.no_packets", voice.say("cli.no_packets", folder=str(path))
    return "cli.io", voice.say("cli.io", what=str(path), why=voice.why(why))


@contextmanager
def write_new(path: Path) -> Iterator[BinaryIO]:
    """A new file to write into; where writing fails, nothing stays. Raises FileExistsError: nothing is overwritten."""
    with path.open("xb") as stream:
        try:
            yield stream
        except BaseException:
            path.unlink(missing_ok=True)
            raise


def show_findings(voice: Voice, findings: list[dict[str, Any]]) -> None:
    """One line per finding (as_dict): mark, place, sentence, code."""
    for finding in findings:
        is_error = finding["severity"] == Severity.ERROR
        mark, style = ("✗", "red") if is_error else ("!", "yellow")
        voice.write(f"  {mark} {_placed(voice, finding)} [{finding['code']}]", style)


def show_repairs(voice: Voice, repairs: Iterable[Repair]) -> None:
    """One line per repair: place, sentence, name."""
    for repair in repairs:
        voice.write(f"  ~ {_placed(voice, repair.as_dict())} [{repair.name}]", "dim")


def _placed(voice: Voice, said: dict[str, Any]) -> str:
    line = "" if said["line"] is None else voice.say("packet_told.line", line=said["line"])
    place = " ".join(part for part in (line, said["path"]) if part)
    return f"{place}: {said[voice.language]}" if place else str(said[voice.language])
