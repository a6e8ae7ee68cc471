"""Where commands on packets read from and write to: files, whole folders, standard input; never over another file."""

from __future__ import annotations

import shutil
import sys
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import date, datetime
from pathlib import Path
from typing import Any, BinaryIO

import typer

from edxml import LENIENT, Packet, Profile, ReadResult, Repair, Severity, StatusPacket, read
from gateway.cli.exits import ExitCode
from gateway.cli.output import Voice
from gateway.model.instants import VIETNAM

__all__ = [
    "STANDARD_INPUT",
    "complain",
    "open_packet",
    "packets_in",
    "read_whole",
    "show_findings",
    "show_repairs",
    "take",
    "write_new",
]

STANDARD_INPUT = Path("-")
_SUFFIXES = (".edxml", ".xml")
_IN_MEMORY = 1 << 20


def packets_in(paths: Iterable[Path]) -> Iterator[Path]:
    """Every packet that is meant: of a folder all `*.edxml` and `*.xml` below it, in the order of their names.

    A folder without any is given back itself, so that opening it says so.
    """
    for path in paths:
        if not path.is_dir():
            yield path
            continue
        found = sorted(each for each in path.rglob("*") if each.suffix.lower() in _SUFFIXES and each.is_file())
        yield from found or [path]


@contextmanager
def open_packet(path: Path) -> Iterator[BinaryIO]:
    """The bytes of a packet, able to seek; standard input (`-`) is spooled to disk where it is large.

    Raises OSError.
    """
    if path != STANDARD_INPUT:
        with path.open("rb") as stream:
            yield stream
        return
    with tempfile.SpooledTemporaryFile(max_size=_IN_MEMORY) as spool:
        shutil.copyfileobj(sys.stdin.buffer, spool)
        spool.seek(0)
        yield spool  # type: ignore[misc]  # a SpooledTemporaryFile is a BinaryIO in all but its declared type


def _today() -> date:
    return datetime.now(VIETNAM).date()


def read_whole(stream: BinaryIO, *, profile: Profile = LENIENT, check_schema: bool = False) -> ReadResult:
    """Reading's result, with the findings of today's rules."""
    return read(stream, profile=profile, check_schema=check_schema, check_rules=True, today=_today())


def take(voice: Voice, path: Path, stream: BinaryIO) -> tuple[ReadResult, Packet | StatusPacket]:
    """The packet in `stream`; where there is none, says why and ends the command (2: unreadable, 1: no packet)."""
    result = read(stream, today=_today())
    if result.packet is None:
        voice.tell(
            "packet_told.refused", file=str(path), errors=len(result.findings), warnings=0, repairs=len(result.repairs)
        )
        show_findings(voice, [finding.as_dict() for finding in result.findings])
        raise typer.Exit(ExitCode.FINDINGS if result.is_complete else ExitCode.USAGE)
    return result, result.packet


def complain(voice: Voice, path: Path, why: OSError) -> None:
    """Say that one of several files cannot be read; the others are still looked at."""
    voice.fault(voice.say("cli.io", what=str(path), why=why.strerror or type(why).__name__), "cli.io")


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
