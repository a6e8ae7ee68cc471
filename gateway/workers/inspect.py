"""Inspection (kiểm tra chữ ký trên tệp PDF): follows what was accepted and looks at the signatures of its PDFs.

No hop waits for it and it writes to none of their tables.  Each file gets one verdict per version of the inspector,
also where the answer is that it could not be inspected, so that no file keeps it busy for ever.  What was found to
bear no signature when it came is not read again; what else plainly bears none is told here.  The inspector's process,
which takes half a second to start, is for all others.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import msgspec

from edxml.attachments import AttachmentDamaged, extension, open_decoded
from edxml.crashpoints import crash_point, declare
from edxml.packet import Attachment
from gateway.exchange.attached import read_attachments, unsigned_of
from gateway.inspector.jobs import Job
from gateway.inspector.unsigned import is_plainly_unsigned
from gateway.model.errors import GatewayError
from gateway.model.events import Event, EventKind
from gateway.model.inspection import (
    INSPECTOR_VERSION,
    FileInspection,
    InspectionLimits,
    PdfVerdict,
    worst,
)
from gateway.model.instants import MINUTE
from gateway.node import Node
from gateway.store import events, inspections
from gateway.store.followers import Follower, advance, follow
from gateway.store.inspections import DuePacket, InspectionRow
from gateway.workers.begun import MOST_LOST, Begun
from gateway.workers.inspect_process import InspectorProcess, InspectorStopped
from gateway.workers.leases import may_do
from gateway.workers.loop import Loop
from monitoring import log

__all__ = ["Inspection", "inspect_once", "start_inspection"]

declare("inspect.begun", "which packets are about to be inspected is written down; no verdict is")
declare("inspect.kept", "verdicts are kept; the follower has not moved on")
declare("inspect.followed", "verdicts are kept, and the follower is past their packets")

_log = log.get("inspect")
FOLLOWER: Final = Follower.INSPECTOR

_EVENTS: Final = 1_000  # looked at in one round
_LEASE: Final = 10.0  # seconds; two at once harm nothing
_OFTEN: Final = 1.0  # seconds between two rounds, and two commits of one: whoever accepts needs the writer more
_WRITTEN: Final = MINUTE
"""How long what bears no PDF may go by before that is written down: a commit a minute where little comes."""
_WORK: Final = "inspection"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Inspected:
    """One packet's files with their inspections, and how long each took."""

    packet_id: str
    files: tuple[tuple[Attachment, FileInspection, float], ...]


def inspect_once(
    node: Node, inspector: InspectorProcess, limits: InspectionLimits, *, begun: Begun | None = None
) -> bool:
    """Inspect what the next events accepted; False where nothing is to be written down, or another process is at it.

    A crash repeats what was not kept, and no file gets a second verdict.  A packet with which the process was lost
    before is begun and kept by itself, so that no other is blamed; at the fourth time it is given up.
    `begun` is what this process had in hand before; nothing where it has just started.
    Raises InspectorUnavailable, DiskReserve, StoreBusy: everything stays due, and nothing is to blame.
    Crash points: inspect.begun, inspect.kept, inspect.followed.
    """
    begun = begun or Begun(_WORK)
    with node.store.read() as connection:
        following = follow(connection, FOLLOWER, most=_EVENTS)
        if following.is_done:
            return False
        found = inspections.find_due(connection, following.packet_ids, INSPECTOR_VERSION)
        due = [packet for packet in map(_with_files, found) if packet.files]
        lost = begun.lost(connection, [packet.id for packet in due])
    is_new = following.events < _EVENTS and node.now() - following.since < _WRITTEN
    is_too_little = not due and is_new  # for it to be written down that it passed
    if is_too_little or not may_do(node, "inspect", _LEASE):
        return False
    hands = _Hands(node=node, inspector=inspector, limits=limits, begun=begun)
    known, unknown = _part(due, lost, limits)
    _keep(hands, [_inspect(hands, packet) for packet in known], were_begun=False)
    for group in _groups(unknown, lost):
        _inspect_group(hands, group, lost)
    with node.store.write() as connection:
        advance(connection, following)
    crash_point("inspect.followed")
    return True


@dataclass(frozen=True, slots=True, kw_only=True)
class _Due:
    """One packet to inspect: its PDFs, and the positions of those that were found unsigned when they came."""

    id: str
    blob: str
    accepted_at: int
    files: tuple[Attachment, ...]
    unsigned: frozenset[int]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Hands:
    """What a round works with."""

    node: Node
    inspector: InspectorProcess
    limits: InspectionLimits
    begun: Begun


def _part(
    due: Sequence[_Due], lost: Mapping[str, int], limits: InspectionLimits
) -> tuple[Sequence[_Due], Sequence[_Due]]:
    """Those of which no byte need be read, so that nothing can be lost over them; and the others."""
    known: list[_Due] = []
    unknown: list[_Due] = []
    for packet in due:
        is_known = all(_unread(limits, packet, number, file) for number, file in enumerate(packet.files))
        (known if is_known and packet.id not in lost else unknown).append(packet)
    return known, unknown


def _groups(due: Sequence[_Due], lost: Mapping[str, int]) -> Iterator[Sequence[_Due]]:
    """All that were never lost, together; each of the others alone."""
    fresh = [packet for packet in due if packet.id not in lost]
    if fresh:
        yield fresh
    for packet in due:
        if packet.id in lost:
            yield [packet]


def _inspect_group(hands: _Hands, group: Sequence[_Due], lost: Mapping[str, int]) -> None:
    with hands.node.store.write() as connection:
        hands.begun.begin(connection, [packet.id for packet in group])
    crash_point("inspect.begun")
    done: list[_Inspected] = []
    kept_at = time.monotonic()
    for number, packet in enumerate(group):
        is_given_up = lost.get(packet.id, 0) >= MOST_LOST
        try:
            done.append(_give_up(packet) if is_given_up else _inspect(hands, packet))
        except GatewayError as why:
            _keep(hands, done)
            _forgive(hands, group[number + isinstance(why, InspectorStopped) :])
            raise
        except Exception:
            hands.begun.blame(packet.id)
            raise
        if time.monotonic() - kept_at > _OFTEN:
            _keep(hands, done)
            done, kept_at = [], time.monotonic()
    _keep(hands, done)


def _forgive(hands: _Hands, packets: Sequence[_Due]) -> None:
    """These were begun and not looked at. The one in hand when the node was told to stop is none of them: what makes
    the machine end the node also looks like this."""
    with hands.node.store.write() as connection:
        hands.begun.end(connection, [packet.id for packet in packets])


# --- one packet --------------------------------------------------------------------------------------------------


def _with_files(packet: DuePacket) -> _Due:
    """With those of its attachments that are PDFs, or that say so."""
    return _Due(
        id=packet.id,
        blob=packet.blob,
        accepted_at=packet.accepted_at,
        files=tuple(file for file in read_attachments(packet.attachments) if _is_pdf(file)),
        unsigned=unsigned_of(packet.attachments),
    )


def _is_pdf(file: Attachment) -> bool:
    return file.sniffed == "pdf" or extension(file.name) == "pdf" or "pdf" in file.content_type.lower()


def _give_up(packet: _Due) -> _Inspected:
    lost = FileInspection(verdict=PdfVerdict.CRASHED)
    return _Inspected(packet_id=packet.id, files=tuple((file, lost, 0.0) for file in packet.files))


def _inspect(hands: _Hands, packet: _Due) -> _Inspected:
    files = []
    for number, file in enumerate(packet.files):
        began = time.monotonic()
        found = _unread(hands.limits, packet, number, file) or _look_at(hands, packet, file)
        files.append((file, found, time.monotonic() - began))
    return _Inspected(packet_id=packet.id, files=tuple(files))


def _unread(limits: InspectionLimits, packet: _Due, number: int, file: Attachment) -> FileInspection | None:
    """What is said of a packet's PDF number so-and-so (from 0) without reading it; None where it must be read."""
    if number >= limits.files:
        return FileInspection(verdict=PdfVerdict.TOO_MANY)
    if file.length > limits.file:
        return FileInspection(verdict=PdfVerdict.TOO_LARGE)
    if file.position in packet.unsigned:
        return FileInspection(verdict=PdfVerdict.UNSIGNED)  # held against no trust
    return None


def _look_at(hands: _Hands, packet: _Due, file: Attachment) -> FileInspection:
    if _is_plain(hands.node.store.blobs.path(packet.blob), file):
        return FileInspection(verdict=PdfVerdict.UNSIGNED)  # held against no trust
    hands.node.store.blobs.check_reserve(file.length)
    return hands.inspector.ask(
        Job(
            blob=str(hands.node.store.blobs.path(packet.blob)),
            span=file.span,
            encoding=file.encoding,
            transfer=file.transfer,
            digest=file.digest,
            came_at=packet.accepted_at,
        )
    )


def _is_plain(blob: Path, file: Attachment) -> bool:
    """Whether the file is what was accepted and plainly unsigned; what is wrong with another, the closer look says."""
    seen = hashlib.sha256()

    def pieces() -> Iterator[bytes]:
        with blob.open("rb") as packet:
            for piece in open_decoded(packet, file):
                seen.update(piece)
                yield piece

    try:
        return is_plainly_unsigned(pieces()) and seen.hexdigest() == file.digest
    except (AttachmentDamaged, OSError):
        return False


# --- what stays --------------------------------------------------------------------------------------------------


def _keep(hands: _Hands, done: Sequence[_Inspected], *, were_begun: bool = True) -> None:
    """Verdicts and one event per packet, in one commit; a packet that has them already keeps the first."""
    if not done:
        return
    node = hands.node
    with node.store.write() as connection:
        now = node.store.now(connection)
        rows = [_row(one.packet_id, file, found, now) for one in done for file, found, _ in one.files]
        kept = inspections.keep(connection, rows)
        if were_begun:
            hands.begun.end(connection, [one.packet_id for one in done])
        events.append(connection, [_event(node, one) for one in done if one.packet_id in kept], now)
    crash_point("inspect.kept")
    with log.together():
        for one in done:
            if one.packet_id in kept:
                _tell(node, one)


def _row(packet_id: str, file: Attachment, found: FileInspection, now: int) -> InspectionRow:
    return InspectionRow(
        packet_id=packet_id,
        position=file.position,
        version=INSPECTOR_VERSION,
        verdict=found.verdict,
        detail=found.detail,
        signatures=msgspec.json.encode(found.signatures).decode(),
        policy=found.policy,
        digest=file.digest,
        inspected_at=now,
    )


def _event(node: Node, one: _Inspected) -> Event:
    """The gravest verdict stands for the packet; never a name."""
    reason = worst(found.verdict for _, found, _ in one.files)
    return Event(
        kind=EventKind.PACKET_INSPECTED, at=node.now(), actor=node.worker, packet_id=one.packet_id, reason=reason
    )


def _tell(node: Node, one: _Inspected) -> None:
    for _, found, seconds in one.files:
        node.metrics.count_inspection(found.verdict, seconds)
        _log.info(
            "file.inspected", packet=one.packet_id, outcome=str(found.verdict), count=len(found.signatures),
            ms=round(seconds * 1000, 1),
        )  # fmt: skip


# --- the loop ----------------------------------------------------------------------------------------------------


class Inspection:
    """The loop and its process: closing it leaves a file in hand for the next start."""

    def __init__(self, node: Node, limits: InspectionLimits, trust: Path, pause: float) -> None:
        self._inspector = InspectorProcess(limits, trust=trust, scratch=node.store.blobs.spool_folder)

        begun = Begun(_WORK)

        def once() -> float:
            if inspect_once(node, self._inspector, limits, begun=begun):
                return min(pause, _OFTEN)
            self._inspector.end_idle()
            return pause

        self._loop = Loop("inspect", once, node.transport, beat=pause)

    def stop(self) -> None:
        """End the file in hand and begin no other, without waiting."""
        self._inspector.stop()
        self._loop.stop()

    def close(self) -> None:
        """Stop at once. Safe to repeat."""
        self.stop()
        self._loop.close()
        self._inspector.close()


def start_inspection(node: Node, limits: InspectionLimits, trust: Path, pause: float) -> Inspection:
    """Follow what is accepted, every `pause` seconds; `trust` is the folder of `edxml.sign.trust`."""
    return Inspection(node, limits, trust, pause)
