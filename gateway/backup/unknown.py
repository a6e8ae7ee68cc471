"""Packets that lie on a disk and that no row speaks of: after a restore, what was accepted in the lost time.

Not all of them: a packet that was being examined as the node died was never answered, and one that was refused lies
there for a day.  Its sender knows which; the node tells who that is.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from edxml import LENIENT, Packet, StatusPacket, read
from gateway.model.errors import BlobDamaged, BlobMissing
from gateway.model.instants import MINUTE, wall_now
from gateway.store import Store, packets
from gateway.store.blobs import BlobFolder

__all__ = ["UnknownPacket", "find_unknown"]


@dataclass(frozen=True, slots=True, kw_only=True)
class UnknownPacket:
    """One of them. `at`: when it came there, microseconds; `sender` and `document` are "" where it says neither.

    `fault`: the code of why it could not be opened, "" where it could; nothing else is known of it then.
    """

    digest: str
    at: int = 0
    size: int = 0
    sender: str = ""
    document: str = ""
    fault: str = ""


def find_unknown(store: Store, folder: Path) -> tuple[UnknownPacket, ...]:
    """Every blob of `folder` (a data folder, its blobs, or where backups lie) that no packet needs, oldest first.

    One that went away meanwhile, or was set aside as damaged, is told as such.  What came within the last minute is
    left out: a node at work is about to commit it.  Changes nothing.  Raises OSError.
    """
    blobs = BlobFolder(folder / "blobs" if (folder / "blobs").is_dir() else folder, reserve=0)
    latest, names = wall_now() - MINUTE, tuple(blobs.names())
    with store.read() as connection:
        unknown = [digest for digest in names if not packets.has_blob(connection, digest)]
    found = [one for one in (_look(blobs, digest) for digest in unknown) if one.at < latest]
    return tuple(sorted(found, key=lambda one: (one.at, one.digest)))


def _look(blobs: BlobFolder, digest: str) -> UnknownPacket:
    try:
        with blobs.open(digest) as stream:
            there = os.fstat(stream.fileno())
            packet = read(stream, profile=LENIENT).packet
    except (BlobMissing, BlobDamaged) as why:
        return UnknownPacket(digest=digest, fault=why.code)
    sender, document = _told(packet)
    return UnknownPacket(
        digest=digest, at=there.st_mtime_ns // 1000, size=there.st_size, sender=sender, document=document
    )


def _told(packet: Packet | StatusPacket | None) -> tuple[str, str]:
    if packet is None:
        return "", ""
    sender = f"{packet.sender.organ_id or packet.sender.raw_organ_id} {packet.sender.name}".strip()
    if isinstance(packet, StatusPacket):
        return sender, str(packet.response_for.document_id or "")
    return sender, str(packet.document_id or packet.number_notation)
