"""Looking at a packet before anything is kept: read, rules, secrecy, sender, route; then blob and seal.

`examine` keeps nothing: `/v1/packets/check` and `truc packet check` end here.  `prepare` goes on to what must be
durable before the transaction.  Both run in the submitter's own thread, many at a time.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from edxml.codes import StatusCode
from edxml.errors import TrucError
from edxml.ids import OrganId, document_key, notation_key
from edxml.packet import Packet, StatusPacket
from edxml.read import ReadResult
from edxml.seal import SealStatement, make_seal
from edxml.values import hasten
from gateway.exchange.cases import JUDGING, Case, in_step, open_case, organ_written
from gateway.exchange.rows import docket_of
from gateway.exchange.submission import Docket, Examined, PacketRefusal, Prepared, Submission
from gateway.exchange.telling import reason_of, tell_taken_in
from gateway.exchange.urgency import say_urgent
from gateway.identity import Caller
from gateway.model.errors import Forbidden
from gateway.model.events import Event, EventKind
from gateway.model.instants import as_datetime, new_id
from gateway.model.states import LinkKind
from gateway.node import Node
from gateway.store import events
from gateway.store.blobs import Put
from gateway.store.repeating import repeated_where_undone
from monitoring import log
from routing.plan import RecipientsMode, RoutePlan

__all__ = ["Keys", "examine", "prepare", "prepare_group", "prepare_silently", "status_keys", "tell_prepared"]


def examine(
    node: Node,
    path: Path,
    *,
    body: bytes | None = None,
    system_id: str = "",
    mode: RecipientsMode = RecipientsMode.ALL,
    only: tuple[str, ...] = (),
) -> Examined:
    """Read the packet at `path`, or in `body`: all that is wrong with it, and where it would go. Keeps nothing.

    `system_id`: who submits it; that system's profile says what may be put right.
    """
    case = open_case(node, path, body=body, system_id=system_id, mode=mode, only=only)
    for step in JUDGING:
        step(case)
    return case.examined()


def _find_agency(node: Node, organ: OrganId | None) -> str | None:
    """Our own id of the agency that has this code today."""
    agency = None if organ is None else node.channels.snapshot().directory.find(organ, node.today())
    return None if agency is None else agency.id


def prepare(node: Node, submission: Submission) -> Prepared:
    """Examine, seal, make the blob durable: `prepare_group` of one. Raises PacketRefusal, Forbidden, DiskReserve."""
    outcome = prepare_group(node, [submission])[0]
    if isinstance(outcome, Prepared):
        return outcome
    raise outcome


def prepare_group(node: Node, group: Sequence[Submission]) -> list[Prepared | Exception]:
    """Examine, seal, then make the blobs durable together; per member what came of it, or why not.

    That something urgent is among them is said before the blobs are written.

    On any refusal the spooled body is deleted; after a crash the next start deletes it.
    Crash points: those of blob.put_many.
    """
    began = time.monotonic()
    outcomes = prepare_silently(node, group, on_examined=lambda good: say_urgent(node, good))
    with log.together():
        for submission, outcome in zip(group, outcomes, strict=True):
            tell_prepared(node, submission, outcome, began)
    return outcomes


def prepare_silently(
    node: Node, group: Sequence[Submission], *, on_examined: Callable[[Sequence[Prepared]], None] = lambda _good: None
) -> list[Prepared | Exception]:
    """As `prepare_group`, but nobody is told, no refusal is written down, and a refused body's file stays: whoever
    calls goes on with `tell_prepared`, in this process or in another."""
    cases = in_step(partial(_open_case, node), group)
    for step in JUDGING:
        cases = in_step(step, cases)
    examined = in_step(Case.examined, cases)
    drafts = in_step(partial(_draft, node), group, examined)
    seals = _seals(node, drafts)
    outcomes = in_step(_prepared, group, examined, drafts, seals)
    good = [outcome for outcome in outcomes if isinstance(outcome, Prepared)]
    on_examined(good)
    failed = _put_blobs(node, good)
    return [failed.get(id(outcome), outcome) for outcome in outcomes]


def _seals(node: Node, drafts: Sequence[_Draft | Exception]) -> list[bytes | Exception]:
    """All of a group by one key, which is asked for once."""
    keys = in_step(lambda of: of.seal_key, [node]) * len(drafts)
    return in_step(lambda draft, key: make_seal(draft.statement, key), drafts, keys)


def _open_case(node: Node, submission: Submission) -> Case:
    return open_case(
        node,
        submission.spooled,
        body=submission.body,
        system_id=submission.caller.system_id,
        mode=submission.mode,
        only=submission.only,
    )


def _put_blobs(node: Node, good: Sequence[Prepared]) -> dict[int, Exception]:
    """Make the blobs durable; where the disk refuses the group, each by itself, so that only the refused ones fail.

    But a body that stands on the disk already is not tried again: the kernel tells once that pages were lost, and the
    next fsync says yes.  Whoever sent it gets the group's error and sends it again.
    """
    puts = [Put(spooled=p.submission.spooled, digest=p.digest, body=p.submission.body) for p in good]
    try:
        node.store.blobs.put_many(puts)
    except OSError as why:
        if len(good) == 1:
            return {id(good[0]): why}
        failed: dict[int, Exception] = {id(p): why for p in good if p.submission.body is None}
        for prepared in good:
            if prepared.submission.body is not None:
                prepared.submission.spooled.unlink(missing_ok=True)
                failed |= _put_blobs(node, [prepared])
        return failed
    return {}


def tell_prepared(node: Node, submission: Submission, outcome: Prepared | Exception, began: float) -> None:
    """Log line, metrics, and for a refusal its event and the end of its spooled body.

    `began`: seconds of the monotonic clock.
    """
    system_id = submission.caller.system_id
    if isinstance(outcome, Prepared):
        tell_taken_in(node, system_id, began, packet_id=outcome.packet_id)
        node.metrics.count_repairs(outcome.repairs)
        return
    submission.spooled.unlink(missing_ok=True)
    if isinstance(outcome, TrucError):
        tell_taken_in(node, system_id, began, why=outcome)
    if isinstance(outcome, PacketRefusal):
        _note_refusal(node, submission, outcome)


@repeated_where_undone
def _note_refusal(node: Node, submission: Submission, why: PacketRefusal) -> None:
    """A refused packet leaves an event, and nothing else: who sent it, the finding's code, a secrecy mark's rule."""
    rules = {str(finding.params["rule"]) for finding in why.findings if why.is_secret and "rule" in finding.params}
    refused = Event(
        kind=EventKind.PACKET_REFUSED,
        at=submission.received_at,
        actor=submission.caller.name,
        system_id=submission.caller.system_id,
        reason=":".join((reason_of(why), *sorted(rules))),
    )
    with node.store.write() as connection:
        events.append(connection, [refused], node.store.now(connection))


@hasten
@dataclass(frozen=True, slots=True, kw_only=True)
class Keys:
    """What a packet is to its document, and by which keys that is found."""

    kind: LinkKind
    document_key: str
    root: str
    notation: str
    removed: frozenset[str] = frozenset()
    added: frozenset[str] = frozenset()
    replaces: tuple[str, ...] = ()


@hasten
@dataclass(frozen=True, slots=True, kw_only=True)
class _Draft:
    """A packet that may be accepted: what is still to be sealed of it."""

    docket: Docket
    plan: RoutePlan
    keys: Keys
    statement: SealStatement


def _draft(node: Node, submission: Submission, examined: Examined) -> _Draft:
    """Raises PacketRefusal, Forbidden, DiskReserve for what may not be accepted."""
    result = examined.result
    if result.is_secret:
        raise PacketRefusal(result.findings, is_secret=True)
    _require_sender(submission.caller, examined.sender_id)
    if examined.is_refused or result.packet is None or examined.plan is None:
        raise PacketRefusal(examined.findings)
    node.store.blobs.check_reserve(submission.size)
    return _Draft(
        docket=docket_of(result.packet, examined.unsigned),
        plan=examined.plan,
        keys=_keys(node, result.packet, examined.sender_id),
        statement=_statement(node, submission, result.packet, result),
    )


def _require_sender(caller: Caller, sender_id: str) -> None:
    if sender_id and sender_id not in caller.agency_ids:
        raise Forbidden("identity.foreign_sender")


def _prepared(submission: Submission, examined: Examined, draft: _Draft, seal: bytes) -> Prepared:
    statement, keys = draft.statement, draft.keys
    return Prepared(
        submission=submission,
        packet_id=statement.packet_id,
        digest=statement.packet_digest,
        docket=draft.docket,
        plan=draft.plan,
        findings=examined.findings,
        sender_id=examined.sender_id,
        kind=keys.kind,
        fingerprint=examined.fingerprint,
        wire_digest=examined.result.wire_digest,
        document_key=keys.document_key,
        root=keys.root,
        notation=keys.notation,
        removed=keys.removed,
        added=keys.added,
        replaces=keys.replaces,
        seal=seal,
        repairs=statement.repairs,
    )


def _keys(node: Node, packet: Packet | StatusPacket, sender_id: str) -> Keys:
    """A recall or update names the document that it is about, a replacement joins the one that it replaces."""
    if isinstance(packet, StatusPacket):
        return status_keys(node, packet, sender_id)
    kind = LinkKind(packet.business_kind)
    brings = kind in (LinkKind.NEW, LinkKind.REPLACEMENT)
    key = document_key(sender_id, packet.document_id if brings else packet.target_document_id)
    named = [document_key(sender_id, r.document_id) for r in packet.replacements]
    replaced = tuple(dict.fromkeys(k for k in named if k != key)) if kind is LinkKind.REPLACEMENT else ()
    return Keys(
        kind=kind,
        document_key=key,
        root=replaced[0] if replaced else key,
        notation=notation_key(sender_id, packet.promulgation_date, f"{packet.code_number}/{packet.code_notation}"),
        removed=_agencies(node, [c.organ_id for c in packet.receiver_changes if not c.added]),
        added=_agencies(node, [c.organ_id for c in packet.receiver_changes if c.added]),
        replaces=replaced,
    )


def status_keys(node: Node, packet: StatusPacket, sender_id: str) -> Keys:
    """Keys by which the document of a status is found: its issuer is the addressee, but for 13 the reporter."""
    about = packet.response_for
    is_take_back = packet.status_code is StatusCode.TAKE_BACK
    issuer = sender_id if is_take_back else _find_agency(node, about.organ_id) or ""
    return Keys(
        kind=LinkKind.STATUS,
        document_key=f"{issuer}|" if about.document_id is None else document_key(issuer, about.document_id),
        root="",
        notation=notation_key(issuer, about.promulgation_date, about.code),
    )


def _agencies(node: Node, organs: Iterable[OrganId]) -> frozenset[str]:
    return frozenset(found for organ in organs if (found := _find_agency(node, organ)) is not None)


def _statement(node: Node, submission: Submission, packet: Packet | StatusPacket, result: ReadResult) -> SealStatement:
    attachments = () if isinstance(packet, StatusPacket) else packet.attachments
    recipients = (packet.response_for,) if isinstance(packet, StatusPacket) else packet.recipients
    return SealStatement(
        node=node.name,
        packet_id=new_id(),
        packet_digest=submission.digest or result.digest,
        size=submission.size,
        attachments=tuple((a.digest, a.length) for a in attachments),
        sender=organ_written(packet.sender),
        recipients=tuple(organ_written(to) for to in recipients),
        accepted_at=as_datetime(submission.received_at),
        repairs=tuple(repair.name for repair in result.repairs),
    )
