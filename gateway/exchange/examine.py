"""Looking at a packet before anything is kept: read, rules, secrecy, sender, route; then blob and seal.

`examine` keeps nothing: `/v1/packets/check` and `truc packet check` end here.  `prepare` goes on to what must be
durable before the transaction.  Both run in the submitter's own thread, many at a time.
"""

from __future__ import annotations

import hashlib
import io
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path

from edxml.codes import StatusCode
from edxml.digests import fingerprint
from edxml.errors import TrucError
from edxml.findings import Finding, Place
from edxml.ids import OrganId, document_key, fold_code, notation_key
from edxml.packet import Organization, Packet, ResponseFor, StatusPacket
from edxml.read import read
from edxml.seal import SealStatement, make_seal
from edxml.validate import validate
from gateway.exchange.rows import docket_of
from gateway.exchange.submission import Examined, PacketRefusal, Prepared, Submission
from gateway.exchange.telling import reason_of, tell_taken_in
from gateway.identity import Caller
from gateway.inspector.unsigned import Look
from gateway.model.errors import Forbidden
from gateway.model.events import Event, EventKind
from gateway.model.instants import as_datetime, new_id
from gateway.model.states import LinkKind
from gateway.node import Node
from gateway.store import events
from gateway.store.blobs import Put
from gateway.store.repeating import repeated_where_undone
from monitoring import log
from routing.directory import Directory
from routing.plan import Address, RecipientsMode, RoutePlan, plan_route

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
    looks: dict[int, Look] = {}
    snapshot, today = node.channels.snapshot(), node.today()
    profile = snapshot.profile_of(system_id)
    with path.open("rb") if body is None else io.BytesIO(body) as stream:
        result = read(
            stream,
            profile=profile,
            today=today,
            limits=node.limits,
            look=lambda position: looks.setdefault(position, Look()),
        )
    packet = result.packet
    if packet is None or result.is_secret:
        return Examined(result=result, findings=result.findings, plan=None)
    findings = [*result.findings, *validate(packet, today=today)]
    sender = _find_sender(snapshot.directory, today, packet, findings)
    addresses = _addresses(packet, only, findings)
    status = isinstance(packet, StatusPacket)
    plan = plan_route(
        snapshot.directory,
        addresses,
        on=today,
        reach=snapshot.reach,
        mode=RecipientsMode.SOME if status else mode,
        sender_agency_id=sender,
    )
    findings += plan.findings()
    said = "" if isinstance(packet, StatusPacket) else fingerprint(packet)
    return Examined(
        result=result,
        findings=tuple(findings),
        plan=plan,
        sender_id=sender or "",
        fingerprint=said,
        unsigned=_unsigned(packet, looks),
    )


def _unsigned(packet: Packet | StatusPacket, looks: Mapping[int, Look]) -> frozenset[int]:
    """Files that plainly bear no signature; of one that stands in a ZIP other bytes were seen."""
    if isinstance(packet, StatusPacket):
        return frozenset()
    whole = [file.position for file in packet.attachments if file.encoding == "base64"]
    return frozenset(position for position in whole if position in looks and looks[position].is_plain)


def _find_agency(node: Node, organ: OrganId | None) -> str | None:
    """Our own id of the agency that has this code today."""
    agency = None if organ is None else node.channels.snapshot().directory.find(organ, node.today())
    return None if agency is None else agency.id


def _find_sender(
    directory: Directory, today: date, packet: Packet | StatusPacket, findings: list[Finding]
) -> str | None:
    organ = packet.sender.organ_id
    found = None if organ is None else directory.find(organ, today)
    sender = None if found is None else found.id
    if sender is None:
        place = Place(path="edXML/…/MessageHeader/From/OrganId")
        findings.append(Finding(code="route.unknown_sender", place=place, params={"organ": packet.sender.raw_organ_id}))
    return sender


def _addresses(packet: Packet | StatusPacket, only: tuple[str, ...], findings: list[Finding]) -> list[Address]:
    """The addresses to route, with their places; `only` picks some of the packet's own (protocol §12)."""
    if isinstance(packet, StatusPacket):
        return [Address(organ_id=_written(packet.response_for), position=1)]
    written = [_written(to) for to in packet.recipients]
    removed = [change.organ_id.text for change in packet.receiver_changes if not change.added]
    if removed:
        known = {fold_code(organ) for organ in written}
        written += [organ for organ in removed if fold_code(organ) not in known]
    if only:
        wanted = {fold_code(organ) for organ in only}
        for organ in only:
            if fold_code(organ) not in {fold_code(w) for w in written}:
                findings.append(Finding(code="route.not_in_packet", params={"organ": organ[:80]}))
        return [
            Address(organ_id=organ, position=place)
            for place, organ in enumerate(written, 1)
            if fold_code(organ) in wanted
        ]
    return [Address(organ_id=organ, position=place) for place, organ in enumerate(written, 1)]


def _written(named: Organization | ResponseFor) -> str:
    return named.raw_organ_id if named.organ_id is None else named.organ_id.text


def prepare(node: Node, submission: Submission) -> Prepared:
    """Examine, seal, make the blob durable: `prepare_group` of one. Raises PacketRefusal, Forbidden, DiskReserve."""
    outcome = prepare_group(node, [submission])[0]
    if isinstance(outcome, Prepared):
        return outcome
    raise outcome


def prepare_group(node: Node, group: Sequence[Submission]) -> list[Prepared | Exception]:
    """Examine, seal, then make the blobs durable together; per member what came of it, or why not.

    On any refusal the spooled body is deleted; after a crash the next start deletes it.
    Crash points: those of blob.put_many.
    """
    began = time.monotonic()
    outcomes = prepare_silently(node, group)
    with log.together():
        for submission, outcome in zip(group, outcomes, strict=True):
            tell_prepared(node, submission, outcome, began)
    return outcomes


def prepare_silently(node: Node, group: Sequence[Submission]) -> list[Prepared | Exception]:
    """As `prepare_group`, but nobody is told, no refusal is written down, and a refused body's file stays: whoever
    calls goes on with `tell_prepared`, in this process or in another."""
    outcomes = [_examined(node, submission) for submission in group]
    good = [outcome for outcome in outcomes if isinstance(outcome, Prepared)]
    failed = _put_blobs(node, good)
    return [failed.get(id(outcome), outcome) for outcome in outcomes]


def _examined(node: Node, submission: Submission) -> Prepared | Exception:
    try:
        return _prepare(node, _digested(submission))
    except Exception as why:  # noqa: BLE001 - it is the member's outcome; whoever submitted gets it raised
        return why


def _digested(submission: Submission) -> Submission:
    """A body that stayed in memory is hashed here, off the loop that took it in."""
    if submission.digest or submission.body is None:
        return submission
    return replace(submission, digest=hashlib.sha256(submission.body).hexdigest())


def _put_blobs(node: Node, good: Sequence[Prepared]) -> dict[int, Exception]:
    """Make the blobs durable; where the disk refuses the group, each by itself, so that only the refused ones fail."""
    puts = [Put(spooled=p.submission.spooled, digest=p.submission.digest, body=p.submission.body) for p in good]
    try:
        node.store.blobs.put_many(puts)
    except OSError as why:
        if len(good) == 1:
            return {id(good[0]): why}
        for put in puts:
            if put.body is not None:
                put.spooled.unlink(missing_ok=True)
        return {key: error for prepared in good for key, error in _put_blobs(node, [prepared]).items()}
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


def _prepare(node: Node, submission: Submission) -> Prepared:
    examined = examine(
        node,
        submission.spooled,
        body=submission.body,
        system_id=submission.caller.system_id,
        mode=submission.mode,
        only=submission.only,
    )
    result = examined.result
    if result.is_secret:
        raise PacketRefusal(result.findings, is_secret=True)
    _require_sender(submission.caller, examined)
    if examined.is_refused or result.packet is None or examined.plan is None:
        raise PacketRefusal(examined.findings)
    packet_id = new_id()
    repairs = tuple(repair.name for repair in result.repairs)
    node.store.blobs.check_reserve(submission.size)
    return _prepared(node, submission, examined, result.packet, examined.plan, packet_id, repairs)


def _require_sender(caller: Caller, examined: Examined) -> None:
    if examined.sender_id and examined.sender_id not in caller.agency_ids:
        raise Forbidden("identity.foreign_sender")


@dataclass(frozen=True, slots=True, kw_only=True)
class Keys:
    """What a packet is to its document, and by which keys that is found."""

    kind: LinkKind
    document_key: str
    root: str
    notation: str
    removed: frozenset[str] = frozenset()
    added: frozenset[str] = frozenset()


def _prepared(
    node: Node,
    submission: Submission,
    examined: Examined,
    packet: Packet | StatusPacket,
    plan: RoutePlan,
    packet_id: str,
    repairs: tuple[str, ...],
) -> Prepared:
    keys = _keys(node, packet, examined.sender_id)
    return Prepared(
        submission=submission,
        packet_id=packet_id,
        docket=docket_of(packet, examined.unsigned),
        plan=plan,
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
        seal=make_seal(_statement(node, submission, packet, packet_id, repairs), node.seal_key),
        repairs=repairs,
    )


def _keys(node: Node, packet: Packet | StatusPacket, sender_id: str) -> Keys:
    """A recall or update names the document that it is about, a replacement joins the one that it replaces."""
    if isinstance(packet, StatusPacket):
        return status_keys(node, packet, sender_id)
    kind = LinkKind(packet.business_kind)
    brings = kind in (LinkKind.NEW, LinkKind.REPLACEMENT)
    key = document_key(sender_id, packet.document_id if brings else packet.target_document_id)
    replaced = [document_key(sender_id, r.document_id) for r in packet.replacements]
    return Keys(
        kind=kind,
        document_key=key,
        root=replaced[0] if kind is LinkKind.REPLACEMENT and replaced else key,
        notation=notation_key(sender_id, packet.promulgation_date, f"{packet.code_number}/{packet.code_notation}"),
        removed=_agencies(node, [c.organ_id for c in packet.receiver_changes if not c.added]),
        added=_agencies(node, [c.organ_id for c in packet.receiver_changes if c.added]),
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


def _statement(
    node: Node, submission: Submission, packet: Packet | StatusPacket, packet_id: str, repairs: tuple[str, ...]
) -> SealStatement:
    attachments = () if isinstance(packet, StatusPacket) else packet.attachments
    recipients = (packet.response_for,) if isinstance(packet, StatusPacket) else packet.recipients
    return SealStatement(
        node=node.name,
        packet_id=packet_id,
        packet_digest=submission.digest,
        size=submission.size,
        attachments=tuple((a.digest, a.length) for a in attachments),
        sender=_written(packet.sender),
        recipients=tuple(_written(to) for to in recipients),
        accepted_at=as_datetime(submission.received_at),
        repairs=repairs,
    )
