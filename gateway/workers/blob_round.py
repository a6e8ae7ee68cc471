"""The round over stored packets: each blob is read again and held against its digest, slowly, behind the hops.

What is not what it was is put aside, so that nobody is served from it any more, whole or in part, and stands as a fault
with an event that names its packet.  A blob that was restored is found right by the next round.
"""

from __future__ import annotations

from typing import Final

from gateway.model.errors import BlobDamaged, BlobMissing
from gateway.model.instants import DAY, SECOND, id_floor, wall_now
from gateway.node import Node
from gateway.store import packets, walks
from gateway.store.packets import BlobUse
from gateway.store.walks import Fault
from monitoring import log
from monitoring.registry import FaultBook

__all__ = ["check_blobs"]

_log = log.get("blobs")
_WALK: Final = "blobs"
_REST: Final = DAY
"""From the end of a round to the beginning of the next."""
_SETTLED: Final = 10 * SECOND
_PAGE: Final = 100
_BYTES: Final = 16 << 20
"""Read for one page at most, but for a packet that is larger by itself."""


def check_blobs(node: Node) -> bool:
    """Hold the next packets' blobs against their digests; False where nothing is to be looked at now.

    Safe to repeat and to be killed: what was put aside stays aside and is found again.  Raises StoreBusy.
    """
    with node.store.read() as connection:
        walk = walks.read_walk(connection, _WALK)
        now = node.store.now(connection)
        if not walk.after and walk.ended_at and 0 <= now - walk.ended_at < _REST:
            return False
        page = _bounded(packets.blobs_after(connection, walk.after, id_floor(wall_now() - _SETTLED), _PAGE))
    found = [fault for use in page if (fault := _check(node, use)) is not None]
    with node.store.write() as connection:
        new, gone = walks.keep(
            connection, walk, FaultBook.BLOBS, found, last=page[-1].packet_id if page else "",
            at=node.now(), actor=node.worker, now=node.store.now(connection),
        )  # fmt: skip
    for fault in new:
        _log.error("blob.fault", packet=fault.packet_id, reason=fault.kind)
    for fault in gone:
        _log.info("blob.mended", packet=fault.packet_id, reason=fault.kind)
    return bool(page)


def _bounded(uses: tuple[BlobUse, ...]) -> list[BlobUse]:
    """The first of them, up to so many bytes."""
    page: list[BlobUse] = []
    left = _BYTES
    for use in uses:
        if page and use.size > left:
            break
        page.append(use)
        left -= use.size
    return page


def _check(node: Node, use: BlobUse) -> Fault | None:
    blobs = node.store.blobs
    try:
        blobs.check(use.digest)
    except BlobMissing:
        return _fault(use, "missing")
    except BlobDamaged:
        blobs.condemn(use.digest)
        return _fault(use, "damaged")
    except OSError as why:  # the disk does not give it; it may yet, and nothing is known against the bytes
        _log.warning("blob.unread", packet=use.packet_id, error=type(why).__name__)
        return _fault(use, "unread")
    return None


def _fault(use: BlobUse, kind: str) -> Fault:
    return Fault(packet_id=use.packet_id, kind=kind, detail=use.digest)
