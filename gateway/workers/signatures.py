"""Signatures (kiểm tra chữ ký của gói tin): follows what was accepted and says what each XML signature is worth.

No hop waits for it.  A packet that bears no signature gets no row and costs one look at its bytes; one that bears a
decoration instead of a signature gets that verdict, and it is no forgery.
"""

from __future__ import annotations

import hashlib
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from cryptography.hazmat.primitives.serialization import Encoding

from edxml.crashpoints import crash_point, declare
from edxml.ids import OrganId, OrganIdMalformed
from edxml.sign.looking import may_bear_signature
from edxml.sign.policies import Policies, PoliciesInvalid, read_policies
from edxml.sign.trust import TrustUnreadable
from edxml.sign.verdicts import Verdict, Verification
from edxml.sign.verifying import verify_packet
from gateway.model.errors import BlobDamaged, BlobMissing, GatewayError
from gateway.model.events import Event, EventKind
from gateway.model.instants import as_datetime, as_instant
from gateway.node import Node
from gateway.store import events, followers, signatures
from gateway.store.followers import Follower
from gateway.store.signatures import Candidate, SignatureRow
from gateway.workers.begun import MOST_LOST, Begun
from gateway.workers.leases import may_do
from gateway.workers.loop import Loop
from monitoring import log

__all__ = ["TrustWatch", "check_once", "start_signatures"]

declare("signatures.checked", "signatures were checked; no verdict is kept")
declare("signatures.kept", "verdicts are kept, and the follower is past their packets")

_log = log.get("signatures")
FOLLOWER: Final = Follower.SIGNATURES
_EVENTS: Final = 5_000  # looked at in one round
_TOGETHER: Final = 100  # packets begun together
_OFTEN: Final = 1.0  # seconds between two rounds, and two commits of one: whoever accepts needs the writer more
_LEASE: Final = 30.0  # seconds; two at once harm nothing
_SHARE: Final = 3  # rests that many times as long as it worked: at most a quarter of one processor
_WORK: Final = "signature"
_GIVEN_UP: Final = "process.lost"


@dataclass(slots=True)
class TrustWatch:
    """The policies of a folder of trust, read again when a file in it changed."""

    folder: Path
    _seen: tuple[tuple[str, int, int], ...] | None = None
    _policies: Policies | None = field(default=None, repr=False)

    def policies(self) -> Policies:
        """What holds now. Raises PoliciesInvalid, TrustUnreadable."""
        try:
            seen = tuple(
                sorted(
                    (str(path), (status := path.stat()).st_mtime_ns, status.st_size)
                    for path in self.folder.rglob("*")
                    if path.is_file()
                )
            )
            if self._policies is None or seen != self._seen:
                self._policies = read_policies(self.folder)
                self._seen = seen
        except OSError as why:
            raise TrustUnreadable(file=why.filename or str(self.folder)) from why
        return self._policies


def check_once(
    node: Node, trust: TrustWatch, *, begun: Begun | None = None, stopping: Callable[[], bool] = lambda: False
) -> bool:
    """Check the signatures of what the next events accepted; False where there is nothing, or another is at it.

    Verdicts are kept every second.  A crash repeats what was not kept; the first verdict on a packet stands, with its
    event.  Packets with which the process was lost before are begun and kept one by one, so that no other is blamed; at
    the fourth time it is given up.  `begun` is what this process had in hand before; nothing where it has just started.
    `stopping` is asked between two packets: what was checked is kept, the rest stays due, blamed for nothing.
    Raises what `TrustWatch.policies` raises where something bears a signature, and StoreBusy: everything stays due.
    Crash points: signatures.checked, signatures.kept.
    """
    begun = begun or Begun(_WORK)
    with node.store.read() as connection:
        following = followers.follow(connection, FOLLOWER, most=_EVENTS)
        if following.is_done:
            return False
        candidates = signatures.find_candidates(connection, following.packet_ids)
        lost = begun.lost(connection, [one.packet_id for one in candidates])
    if not may_do(node, "signatures", _LEASE):
        return False
    if not candidates:
        with node.store.write() as connection:
            followers.advance(connection, following)
        return True
    hands = _Hands(node=node, trust=trust, begun=begun, lost=lost, stopping=stopping)
    if not all(_check_group(hands, group) for group in _groups(candidates, lost)):
        return False
    with node.store.write() as connection:
        followers.advance(connection, following)
    crash_point("signatures.kept")
    return True


@dataclass(slots=True, kw_only=True)
class _Hands:
    """What a round works with, and when it took its lease."""

    node: Node
    trust: TrustWatch
    begun: Begun
    lost: Mapping[str, int]
    stopping: Callable[[], bool]
    leased_at: float = field(default_factory=time.monotonic)

    def may_go_on(self) -> bool:
        """Whether nobody wants this process to end, and it still is the one that checks."""
        if self.stopping():
            return False
        if time.monotonic() - self.leased_at > _LEASE / 3:
            if not may_do(self.node, "signatures", _LEASE):
                return False
            self.leased_at = time.monotonic()
        return True


def _groups(candidates: Sequence[Candidate], lost: Mapping[str, int]) -> Iterator[Sequence[Candidate]]:
    """Each that was lost before alone, all others some together."""
    fresh = [one for one in candidates if one.packet_id not in lost]
    for one in candidates:
        if one.packet_id in lost:
            yield [one]
    for first in range(0, len(fresh), _TOGETHER):
        yield fresh[first : first + _TOGETHER]


def _may_bear(node: Node, candidate: Candidate) -> bool:
    try:
        with node.store.blobs.open(candidate.blob) as packet:
            return may_bear_signature(packet)
    except (BlobMissing, BlobDamaged):
        return True  # it gets its verdict: nobody can check it any more


def _check_group(hands: _Hands, group: Sequence[Candidate]) -> bool:
    """Check some packets and keep what was found, every second; False where the round must end here."""
    bearing = []
    for one in group:
        if not hands.may_go_on():
            return False
        if _may_bear(hands.node, one):
            bearing.append(one)
    if not bearing:
        crash_point("signatures.checked")
        return True
    policies = hands.trust.policies()
    with hands.node.store.write() as connection:
        hands.begun.begin(connection, [one.packet_id for one in bearing])
    done: list[tuple[Candidate, Verification]] = []
    kept_at = time.monotonic()
    for number, one in enumerate(bearing):
        if not hands.may_go_on():
            _keep(hands, done, untouched=bearing[number:])
            return False
        is_given_up = hands.lost.get(one.packet_id, 0) >= MOST_LOST
        done.append((one, _not_checked(_GIVEN_UP) if is_given_up else _verify(hands.node, policies, hands.begun, one)))
        if time.monotonic() - kept_at > _OFTEN:
            _keep(hands, done)
            done, kept_at = [], time.monotonic()
    _keep(hands, done)
    return True


def _keep(
    hands: _Hands, done: Sequence[tuple[Candidate, Verification]], *, untouched: Sequence[Candidate] = ()
) -> None:
    """Verdicts with their events, in one commit; what was begun and not looked at is as if it never was."""
    node = hands.node
    found = [_row(one.packet_id, verified, node.now()) for one, verified in done if not _is_absent(verified)]
    crash_point("signatures.checked")
    with node.store.write() as connection:
        hands.begun.end(connection, [one.packet_id for one in (*(one for one, _ in done), *untouched)])
        kept = signatures.keep_verdicts(connection, found)
        books = {one.packet_id: one.book for one, _ in done}
        told = [_event(node, row, books[row.packet_id]) for row in found if row.packet_id in kept]
        events.append(connection, told, node.store.now(connection))
    for row in found:
        if row.packet_id in kept:
            node.metrics.count_signature(row.verdict)
            _log.info("signature.checked", packet=row.packet_id, outcome=row.verdict)


def _is_absent(verified: Verification) -> bool:
    return verified.verdict is Verdict.ABSENT


def _verify(node: Node, policies: Policies, begun: Begun, candidate: Candidate) -> Verification:
    """The verdict for the moment at which the packet was accepted, as its seal says."""
    try:
        sender = OrganId.parse(candidate.sender_organ)
    except OrganIdMalformed:
        sender = None
    try:
        with node.store.blobs.open(candidate.blob) as packet:
            at = as_datetime(candidate.accepted_at)
            return verify_packet(packet, policy=policies.of(sender), at=at, limits=node.limits)
    except (BlobMissing, BlobDamaged) as why:
        return _not_checked(why.code)
    except GatewayError:
        raise
    except Exception:
        begun.blame(candidate.packet_id)
        raise


def _not_checked(why: str) -> Verification:
    return Verification(verdict=Verdict.NOT_CHECKED, detail=why)


def _row(packet_id: str, verified: Verification, now: int) -> SignatureRow:
    certificate, moment = verified.certificate, verified.stamped_at or verified.signing_time
    return SignatureRow(
        packet_id=packet_id,
        verdict=str(verified.verdict),
        detail=verified.detail,
        policy=verified.policy,
        form=str(verified.form or ""),
        signer=verified.signer,
        certificate="" if certificate is None else hashlib.sha256(certificate.public_bytes(Encoding.DER)).hexdigest(),
        covers_whole=verified.covers_whole,
        signed_at=None if moment is None else as_instant(moment),
        checked_at=now,
    )


def _event(node: Node, row: SignatureRow, book: str) -> Event:
    return Event(
        kind=EventKind.SIGNATURE_CHECKED,
        at=row.checked_at,
        actor=node.worker,
        book=book,
        packet_id=row.packet_id,
        reason=row.verdict,
    )


class Signatures:
    """The loop of signatures, by time alone. A folder of trust that cannot be read is told in the log, each time."""

    def __init__(self, node: Node, folder: Path, pause: float) -> None:
        trust, begun = TrustWatch(folder), Begun(_WORK)
        self._stopping = threading.Event()

        def once() -> float:
            began = time.monotonic()
            try:
                is_more = check_once(node, trust, begun=begun, stopping=self._stopping.is_set)
            except (PoliciesInvalid, TrustUnreadable) as why:
                _log.warning("signatures.no_trust", reason=why.reason, error=type(why).__name__)
                return max(pause, 10.0)
            return max(_OFTEN, _SHARE * (time.monotonic() - began)) if is_more else pause

        self._loop = Loop("signatures", once, node.transport, beat=pause)

    def stop(self) -> None:
        """Begin no other packet, without waiting."""
        self._stopping.set()
        self._loop.stop()

    def close(self) -> None:
        """Stop after the packet in hand. Safe to repeat."""
        self.stop()
        self._loop.close()


def start_signatures(node: Node, folder: Path, pause: float) -> Signatures:
    """Follow what is accepted, every `pause` seconds; `folder` is that of `edxml.sign.trust`."""
    return Signatures(node, folder, pause)
