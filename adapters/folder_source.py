"""Taking packets and refusals from a folder (nguồn lấy), also from software that writes slowly, twice or badly.

A file is taken when its size and time have not changed for `settle`, seen twice by the same process, and nothing
beside it says that it is still being written.  It stays where it is until `acknowledge`, which moves it by one
rename on the same file system: a crash before that means it is found again, and the exchange answers the repeat
with its first answer.  A file that was overwritten meanwhile is not moved: it is a new one.
"""

from __future__ import annotations

import errno
import heapq
import io
import json
import math
import os
import stat
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO
from urllib.parse import quote, unquote

from adapters.contract import Incoming, IncomingKind, Verdict
from adapters.folder_layout import SCHEMA, FolderLayout, is_there, sync_directory
from adapters.folder_names import (
    PACKET_SUFFIX,
    finished_name,
    is_key,
    is_packet_name,
    number_names,
    read_reason,
    refusal_key,
)
from edxml.crashpoints import crash_point, declare

__all__ = ["FolderSource"]

declare("folder.report_written", "the reference or report is written, the file still where it was: found again")
declare("folder.set_aside", "the file is moved, the directories are not synced: found again after a power cut at most")

_REASON_BYTES = 8192
_HELD_BACK = 600.0  # seconds that an unfinished name beside a file keeps the file back; older ones are leftovers
_EMPTY_FACTOR = 30  # an empty file is mostly one that is about to be written: it settles this much later


@dataclass(frozen=True, slots=True, kw_only=True)
class _Seen:
    """A file as one look saw it."""

    place: str  #: folder under the root, "di" or "den/tra-lai" or "den"
    name: str
    size: int
    mtime_ns: int
    mode: int

    @property
    def token(self) -> str:
        """Place, state and name, in ASCII whatever bytes the name is made of."""
        name = quote(os.fsencode(self.name))
        return f"{self.size}-{self.mtime_ns}:{self.place}/{name}"

    def is_still(self, status: os.stat_result) -> bool:
        return (self.size, self.mtime_ns) == (status.st_size, status.st_mtime_ns)


@dataclass(frozen=True, slots=True, kw_only=True)
class FolderSource:
    """Packets in `di`, refusals in `den/tra-lai` and as `den/<key>.tu-choi.txt`.

    Remembers only what is not yet settled, in this process; a restart waits `settle` once more.
    """

    layout: FolderLayout
    settle: float = 2.0  #: seconds; 0 takes a file at first sight
    clock: Callable[[], float] = time.monotonic
    _unsettled: dict[str, tuple[str, float]] = field(default_factory=dict)  #: place/name → token, when it is settled

    def look(self, limit: int) -> Iterator[Incoming]:
        """Up to `limit` complete things, refusals first, then packets, each oldest first; again until acknowledged.

        One pass over each folder's names, without sorting more than `limit` of them.  Raises FolderFault.
        """
        self.layout.prepare()
        now = self.clock()
        with self.layout.faults():
            refusals = list(self._refusals())
            packets = list(self._list("di", is_packet_name))
            present = {f"{seen.place}/{seen.name}" for seen in (*refusals, *packets)}
            for gone in self._unsettled.keys() - present:
                del self._unsettled[gone]
            found = list(self._group_refusals(refusals, now, limit))
            ready = (seen for seen in packets if self._is_settled(seen, now))
            oldest = heapq.nsmallest(max(0, limit - len(found)), ready, key=lambda seen: (seen.mtime_ns, seen.name))
            found.extend(self._offer(seen) for seen in oldest)
        yield from found

    def _list(self, place: str, wanted: Callable[[str], bool]) -> Iterator[_Seen]:
        """Files of one folder whose names are wanted, without those that something beside them holds back."""
        held: set[str] = set()
        listed: list[_Seen] = []
        with os.scandir(self.layout.root / place) as entries:
            for entry in entries:
                future = finished_name(entry.name)
                if not future and not wanted(entry.name):
                    continue
                try:
                    status = entry.stat(follow_symlinks=False)
                except FileNotFoundError:  # renamed while we looked
                    continue
                if future:
                    if time.time() - status.st_mtime < _HELD_BACK:
                        held.add(future)
                    continue
                listed.append(
                    _Seen(
                        place=place, name=entry.name, size=status.st_size,
                        mtime_ns=status.st_mtime_ns, mode=status.st_mode,
                    )
                )  # fmt: skip
        return (seen for seen in listed if seen.name not in held)

    def _is_settled(self, seen: _Seen, now: float) -> bool:
        if self.settle <= 0:
            return True
        place = f"{seen.place}/{seen.name}"
        token, settled = self._unsettled.get(place, ("", now))
        if token != seen.token:
            self._unsettled[place] = (seen.token, now + self.settle * (1 if seen.size else _EMPTY_FACTOR))
            return False
        return now >= settled

    def settles_in(self) -> float:
        """Seconds until something that the last look saw may be settled; infinite where nothing is awaited."""
        now = self.clock()
        return min((settled - now for _, settled in self._unsettled.values() if settled > now), default=math.inf)

    def _offer(self, seen: _Seen) -> Incoming:
        path = self.layout.root / seen.place / seen.name
        fault = _unreadable(path, seen)
        if fault:
            return Incoming(kind=IncomingKind.DAMAGED, token=seen.token, size=seen.size, reason=fault)
        return Incoming(
            kind=IncomingKind.PACKET, token=seen.token, size=seen.size, open=lambda: _open_steady(path, seen)
        )

    def _refusals(self) -> Iterator[_Seen]:
        def is_reason(name: str) -> bool:
            return refusal_key(name) is not None and not name.casefold().endswith(PACKET_SUFFIX)

        yield from self._list("den/tra-lai", lambda name: refusal_key(name) is not None)
        yield from self._list("den", is_reason)

    def _group_refusals(self, refusals: Iterable[_Seen], now: float, limit: int) -> Iterator[Incoming]:
        """One thing per refused key, once all that belongs to it is settled."""
        by_key: dict[str, list[_Seen]] = {}
        unsettled: set[str] = set()
        for seen in refusals:
            key = refusal_key(seen.name) or ""
            by_key.setdefault(key, []).append(seen)
            if not self._is_settled(seen, now):
                unsettled.add(key)
        ready = [(key, files) for key, files in by_key.items() if key not in unsettled]
        oldest = heapq.nsmallest(limit, ready, key=lambda each: min(seen.mtime_ns for seen in each[1]))
        for key, files in oldest:
            yield self._offer_refusal(key, sorted(files, key=_text_first))

    def _offer_refusal(self, key: str, files: list[_Seen]) -> Incoming:
        token = "|".join(seen.token for seen in files)
        if not is_key(key):
            return Incoming(kind=IncomingKind.DAMAGED, token=token, reason="folder.unknown_refusal")
        reasons = [self._read_reason(seen) for seen in files if not _is_packet(seen)]
        return Incoming(
            kind=IncomingKind.REFUSAL, token=token, key=key, reason=" ".join(filter(None, reasons)),
        )  # fmt: skip

    def _read_reason(self, seen: _Seen) -> str:
        path = self.layout.root / seen.place / seen.name
        if _unreadable(path, seen):
            return ""
        with _open_steady(path, seen) as stream:
            return read_reason(stream.read(_REASON_BYTES))

    def acknowledge(self, item: Incoming, verdict: Verdict) -> None:
        """Move the thing aside beside its reference `.json` (accepted) or its report `.txt` (not).

        Safe to repeat, and to be killed anywhere: what is still in its place is found again.  An earlier file
        of the same name is never overwritten; a file that changed since `item` was found stays.  Raises
        FolderFault when the folder cannot be written; the thing is then found again.

        Crash points: `folder.report_written`, `folder.set_aside`.
        """
        refusal = not item.token.split("|")[0].partition(":")[2].startswith("di/")
        aside = self.layout.aside(refusal=refusal, accepted=verdict.accepted)
        with self.layout.faults():
            aside.mkdir(parents=True, exist_ok=True)
            for token in item.token.split("|"):
                self._set_aside(token, aside, item, verdict)

    def _set_aside(self, token: str, aside: Path, item: Incoming, verdict: Verdict) -> None:
        state, _, path = token.partition(":")
        place, _, quoted = path.rpartition("/")
        name = os.fsdecode(_unquote(quoted))
        source = self.layout.root / place / name
        if not _is_same(source, state):
            return
        suffix = ".json" if verdict.accepted else ".txt"
        target = _reserve(aside, name, suffix, token)
        report = target.with_name(target.name + suffix)
        if verdict.accepted:
            self.layout.write_json(report, _refer(item, token, verdict))
        else:
            self.layout.write_text(report, f"{verdict.report.rstrip()}\n\n[{token}]\n")
        crash_point("folder.report_written")
        try:
            os.rename(source, target)
        except FileNotFoundError:  # somebody took it away: it is no longer ours to move
            report.unlink(missing_ok=True)
            return
        if not _is_same(target, state):
            _put_back(target, source)
        crash_point("folder.set_aside")
        sync_directory(aside)
        sync_directory(source.parent)


def _is_packet(seen: _Seen) -> bool:
    return seen.name.casefold().endswith(PACKET_SUFFIX)


def _text_first(seen: _Seen) -> tuple[bool, str, str]:
    """The reason file before the packet: a crash between their moves leaves the packet, found again."""
    return _is_packet(seen), seen.place, seen.name


def _unreadable(path: Path, seen: _Seen) -> str:
    """Why a file can never be read, as a message code; empty where it can."""
    if not stat.S_ISREG(seen.mode):
        return "folder.not_a_file"
    try:
        os.close(os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC))
    except PermissionError:
        return "folder.unreadable"
    except FileNotFoundError:  # gone since: whoever opens it learns so
        return ""
    return ""


def _open_steady(path: Path, seen: _Seen) -> BinaryIO:
    """The file's bytes; OSError (ESTALE) when it is no longer what the look saw, at the start or at the end."""
    handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    stream = _SteadyFile(handle, seen)
    try:
        stream.check()
    except OSError:
        stream.close()
        raise
    return io.BufferedReader(stream, 1 << 16)


class _SteadyFile(io.FileIO):
    """A file that refuses to end well when it changed while it was read."""

    def __init__(self, handle: int, seen: _Seen) -> None:
        super().__init__(handle, "rb")
        self._seen = seen

    def check(self) -> None:
        if not self._seen.is_still(os.fstat(self.fileno())):
            raise OSError(errno.ESTALE, "changed while it was being read", self._seen.name)

    def readinto(self, buffer: bytearray | memoryview) -> int:  # type: ignore[override]
        count = super().readinto(buffer)
        if not count:
            self.check()
        return count or 0

    def readall(self) -> bytes:
        content = super().readall()
        self.check()
        return content


def _unquote(quoted: str) -> bytes:
    return unquote(quoted, encoding="latin-1").encode("latin-1")


def _is_same(path: Path, state: str) -> bool:
    try:
        status = os.lstat(path)
    except FileNotFoundError:
        return False
    return f"{status.st_size}-{status.st_mtime_ns}" == state


def _reserve(aside: Path, name: str, suffix: str, token: str) -> Path:
    """The first name in `aside` that is free, or was begun for this very token by a call that was killed."""
    for candidate in number_names(name):
        target = aside / candidate
        if not is_there(target) and _is_ours(target.with_name(candidate + suffix), token):
            return target
    raise AssertionError("number_names never ends")


def _is_ours(report: Path, token: str) -> bool:
    with suppress(FileNotFoundError):
        return token.encode() in report.read_bytes()
    return True


def _put_back(target: Path, source: Path) -> None:
    """The file was overwritten between our look and our rename: it is a new one, and goes back unless replaced."""
    if not is_there(source):
        os.rename(target, source)


def _as_object(reference: str) -> object:
    """A reference that is JSON as what it says, not as JSON inside a text."""
    try:
        return json.loads(reference)
    except ValueError:
        return reference


def _refer(item: Incoming, token: str, verdict: Verdict) -> dict[str, object]:
    return {
        "schema": SCHEMA,
        "reference": _as_object(verdict.reference),
        "kind": str(item.kind),
        "key": item.key,
        "token": token,
    }
