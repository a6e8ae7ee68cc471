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
from dataclasses import dataclass, field
from typing import BinaryIO
from urllib.parse import quote, unquote

from adapters.contract import Incoming, IncomingKind, Verdict
from adapters.folder_ground import Ground, OddThing, Place, open_ground
from adapters.folder_layout import ARRIVED, OUTGOING, RETURNED, SCHEMA, FolderLayout, aside
from adapters.folder_names import (
    PACKET_SUFFIX,
    finished_name,
    is_key,
    is_packet_name,
    read_reason,
    refusal_key,
)
from edxml.crashpoints import crash_point, declare
from edxml.file_names import number_names

__all__ = ["FolderSource"]

declare("folder.report_written", "the reference or report is written, the file still where it was: found again")
declare("folder.set_aside", "the file is moved, the directories are not synced: found again after a power cut at most")

_REASON_BYTES = 8192
_HELD_BACK = 600.0  # seconds that an unfinished name beside a file keeps the file back; older ones are leftovers
_LINK_WAIT = 5.0  # seconds in which a file's second name may go: some software shows a finished file by a link
_MOST = 100_000  # files of one folder that one look keeps in mind
_REPORT_BYTES = 1 << 20
_EMPTY_FACTOR = 30  # an empty file is mostly one that is about to be written: it settles this much later


@dataclass(frozen=True, slots=True, kw_only=True)
class _Seen:
    """A file as one look saw it."""

    place: str  #: folder under the root, "di" or "den/tra-lai" or "den"
    name: str
    size: int
    mtime_ns: int
    mode: int
    links: int  #: names that the file has: with a second one it may be somebody else's

    @property
    def token(self) -> str:
        """Place, state and name, in ASCII whatever bytes the name is made of."""
        name = quote(os.fsencode(self.name))
        return f"{self.size}-{self.mtime_ns}:{self.place}/{name}"

    def is_still(self, status: os.stat_result) -> bool:
        return (self.size, self.mtime_ns) == (status.st_size, status.st_mtime_ns) and status.st_nlink < 2


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
        now = self.clock()
        with self.layout.prepared() as ground:
            refusals = list(_refusals(ground))
            packets = list(_list(ground, OUTGOING, is_packet_name))
            present = {f"{seen.place}/{seen.name}" for seen in (*refusals, *packets)}
            for gone in self._unsettled.keys() - present:
                del self._unsettled[gone]
            found = list(self._group_refusals(ground, refusals, now, limit))
            ready = (seen for seen in packets if self._is_settled(seen, now))
            oldest = heapq.nsmallest(max(0, limit - len(found)), ready, key=lambda seen: (seen.mtime_ns, seen.name))
            found.extend(self._offer(ground, seen) for seen in oldest)
        yield from found

    def _is_settled(self, seen: _Seen, now: float) -> bool:
        if self.settle <= 0 and seen.links < 2:
            return True
        place = f"{seen.place}/{seen.name}"
        token, settled = self._unsettled.get(place, ("", now))
        if token != seen.token:
            wait = self.settle * (1 if seen.size else _EMPTY_FACTOR)
            self._unsettled[place] = (seen.token, now + max(wait, _LINK_WAIT if seen.links > 1 else 0))
            return False
        return now >= settled

    def settles_in(self) -> float:
        """Seconds until something that the last look saw may be settled; infinite where nothing is awaited."""
        now = self.clock()
        return min((settled - now for _, settled in self._unsettled.values() if settled > now), default=math.inf)

    def _offer(self, ground: Ground, seen: _Seen) -> Incoming:
        fault = _unreadable(ground, seen)
        if fault:
            return Incoming(kind=IncomingKind.DAMAGED, token=seen.token, size=seen.size, reason=fault)
        return Incoming(kind=IncomingKind.PACKET, token=seen.token, size=seen.size, open=lambda: self._open(seen))

    def _open(self, seen: _Seen) -> BinaryIO:
        with open_ground(self.layout.root) as ground:
            return _open_steady(ground, seen)

    def _group_refusals(self, ground: Ground, refusals: Iterable[_Seen], now: float, limit: int) -> Iterator[Incoming]:
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
            yield _offer_refusal(ground, key, sorted(files, key=_text_first))

    def acknowledge(self, item: Incoming, verdict: Verdict) -> None:
        """Move the thing aside beside its reference `.json` (accepted) or its report `.txt` (not).

        Safe to repeat, and to be killed anywhere: what is still in its place is found again.  An earlier file
        of the same name is never overwritten; a file that changed since `item` was found stays.  Raises
        FolderFault when the folder cannot be written; the thing is then found again.

        Crash points: `folder.report_written`, `folder.set_aside`.
        """
        refusal = not item.token.split("|")[0].partition(":")[2].startswith(f"{OUTGOING}/")
        where = aside(refusal=refusal, accepted=verdict.accepted)
        with self.layout.faults(), open_ground(self.layout.root) as ground:
            for token in item.token.split("|"):
                self._set_aside(ground, token, ground.place(where, make=self.layout.place_mode), item, verdict)

    def _set_aside(self, ground: Ground, token: str, target: Place, item: Incoming, verdict: Verdict) -> None:
        state, _, path = token.partition(":")
        where, _, quoted = path.rpartition("/")
        name = os.fsdecode(_unquote(quoted))
        source = ground.place(where)
        if not _is_same(source, name, state):
            return
        suffix = ".json" if verdict.accepted else ".txt"
        new_name = _reserve(target, name, suffix, token)
        report = new_name + suffix
        if verdict.accepted:
            self.layout.write_json(ground, target, report, _refer(item, token, verdict))
        else:
            self.layout.write_text(ground, target, report, f"{verdict.report.rstrip()}\n\n[{token}]\n")
        crash_point("folder.report_written")
        try:
            source.move(name, target, new_name)
        except FileNotFoundError:  # somebody took it away: it is no longer ours to move
            target.remove(report)
            return
        except OSError:
            target.remove(report)
            raise
        if not _is_same(target, new_name, state) and not source.has(name):
            target.move(new_name, source, name)  # it was overwritten between our look and our move: it is a new one
        crash_point("folder.set_aside")
        target.sync()
        source.sync()


def _list(ground: Ground, where: str, wanted: Callable[[str], bool]) -> Iterator[_Seen]:
    """Files of one folder whose names are wanted, without those that something beside them holds back."""
    held: set[str] = set()
    listed: list[_Seen] = []
    with ground.place(where).entries() as entries:
        for entry in entries:
            future = finished_name(entry.name)
            if not future and not (wanted(entry.name) and len(listed) < _MOST):
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
                    place=where, name=entry.name, size=status.st_size,
                    mtime_ns=status.st_mtime_ns, mode=status.st_mode,
                    links=status.st_nlink if stat.S_ISREG(status.st_mode) else 1,
                )
            )  # fmt: skip
    return (seen for seen in listed if seen.name not in held)


def _refusals(ground: Ground) -> Iterator[_Seen]:
    def is_reason(name: str) -> bool:
        return refusal_key(name) is not None and not name.casefold().endswith(PACKET_SUFFIX)

    yield from _list(ground, RETURNED, lambda name: refusal_key(name) is not None)
    yield from _list(ground, ARRIVED, is_reason)


def _offer_refusal(ground: Ground, key: str, files: list[_Seen]) -> Incoming:
    token = "|".join(seen.token for seen in files)
    faults = filter(None, (_unreadable(ground, seen) for seen in files))
    fault = next(faults, "") if is_key(key) else "folder.unknown_refusal"
    if fault:
        return Incoming(kind=IncomingKind.DAMAGED, token=token, reason=fault)
    reasons = [_read_reason(ground, seen) for seen in files if not _is_packet(seen)]
    return Incoming(
        kind=IncomingKind.REFUSAL, token=token, key=key, reason=" ".join(filter(None, reasons)),
    )  # fmt: skip


def _read_reason(ground: Ground, seen: _Seen) -> str:
    with _open_steady(ground, seen) as stream:
        return read_reason(stream.read(_REASON_BYTES))


def _is_packet(seen: _Seen) -> bool:
    return seen.name.casefold().endswith(PACKET_SUFFIX)


def _text_first(seen: _Seen) -> tuple[bool, str, str]:
    """The reason file before the packet: a crash between their moves leaves the packet, found again."""
    return _is_packet(seen), seen.place, seen.name


def _unreadable(ground: Ground, seen: _Seen) -> str:
    """Why a file can never be read, as a message code; empty where it can."""
    if not stat.S_ISREG(seen.mode):
        return "folder.not_a_file"
    if seen.links > 1:
        return "folder.linked"
    try:
        os.close(ground.place(seen.place).open(seen.name))
    except PermissionError:
        return "folder.unreadable"
    except OddThing:
        return "folder.not_a_file"
    except FileNotFoundError:  # gone since: whoever opens it learns so
        return ""
    return ""


def _open_steady(ground: Ground, seen: _Seen) -> BinaryIO:
    """The file's bytes; OSError (ESTALE) when it is no longer what the look saw, at the start or at the end."""
    stream = _SteadyFile(ground.place(seen.place).open(seen.name), seen)
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


def _is_same(place: Place, name: str, state: str) -> bool:
    status = place.status(name)
    return status is not None and f"{status.st_size}-{status.st_mtime_ns}" == state


def _reserve(target: Place, name: str, suffix: str, token: str) -> str:
    """The first name that is free, or was begun for this very token by a call that was killed."""
    for candidate in number_names(name):
        if not target.has(candidate) and _is_ours(target, candidate + suffix, token):
            return candidate
    raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST))


def _is_ours(target: Place, report: str, token: str) -> bool:
    if not target.has(report):
        return True
    return target.is_file(report) and token.encode() in target.read(report, _REPORT_BYTES)


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
