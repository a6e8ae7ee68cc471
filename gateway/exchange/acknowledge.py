"""Acknowledge (cập nhật trạng thái): a status is recorded, acts on its delivery, and travels back as a document does.

A status is accepted only from an agency that was sent the document (13: only from its issuer), matched on DocumentId,
else on the folded issuer, date and number/notation (issue A, item 10).  A status about a status is never sent: there
is no document to match.  Statuses keep arrival order per (document, reporter): they stand in a chain of their own.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from functools import partial

from edxml.codes import StatusCode
from edxml.crashpoints import crash_point, declare
from edxml.packet import StatusPacket
from gateway.exchange.advance import Effects, Planned, advance, give_wakes
from gateway.exchange.answers import first_answers, new_answer, or_defect, refused_event
from gateway.exchange.dispatch import Dispatch, Dispatched, dispatch
from gateway.exchange.examine import Keys, status_keys
from gateway.exchange.submission import Outcome, Prepared
from gateway.exchange.telling import tell_accepted
from gateway.model.chain import Chain, Link, Reason
from gateway.model.errors import BadRequest, Conflict, Refusal
from gateway.model.events import Event, EventKind
from gateway.model.instants import as_instant
from gateway.model.machine import conclude, refuse
from gateway.model.states import DeliveryState, LinkKind
from gateway.model.step import Report, Step
from gateway.node import Node
from gateway.store import Connection, deliveries, events, packets, statuses
from gateway.store.chains import chain_of, load_chains, was_sent
from gateway.store.packets import DocumentRow
from gateway.store.repeating import repeated_where_undone
from monitoring.registry import Hop

__all__ = ["acknowledge", "would_refuse"]

declare("acknowledge.written", "status rows written, the transaction is still open")
declare("acknowledge.committed", "the status is ours; its reporter has not been answered")

_RECEIPTS = frozenset(
    {StatusCode.ARRIVED, StatusCode.ACCEPTED, StatusCode.ASSIGNED, StatusCode.PROCESSING, StatusCode.FINISHED}
)
"""Statuses that only somebody who has the document can send: each is a receipt (protocol §4)."""


@dataclass(frozen=True, slots=True)
class _Matched:
    """A status with the document it is about, and where it acts."""

    prepared: Prepared
    status: StatusPacket
    document: DocumentRow


def acknowledge(node: Node, prepared: Prepared) -> Outcome:
    """Take a status packet. Statuses about one document go one after the other.

    Crash points: acknowledge.written, acknowledge.committed.
    """
    began = time.monotonic()
    outcome = or_defect(partial(_acknowledge_one, node), prepared)
    tell_accepted(node, Hop.ACKNOWLEDGE, [(prepared, outcome)], began)
    return outcome


@repeated_where_undone
def _acknowledge_one(node: Node, prepared: Prepared) -> Outcome:
    with node.store.write() as connection:
        now = node.store.now(connection)
        repeated = first_answers(connection, [prepared]).outcomes
        if repeated:
            return repeated[prepared.packet_id]
        status = prepared.docket.status
        assert status is not None, "its kind is that of a status"
        document = _match(connection, status, prepared.sender_id, prepared)
        if not isinstance(document, Refusal) and _is_late_refusal(connection, prepared, document):
            document = Conflict("status.after_finished")
        if isinstance(document, Refusal):
            packets.drop_claims(connection, [prepared.packet_id])
            events.append(connection, [refused_event(prepared, document)], now)
            return document
        matched = _Matched(prepared, status, document)
        done, effects = _record(connection, node, matched, now)
        crash_point("acknowledge.written")
    crash_point("acknowledge.committed")
    give_wakes(node, effects)
    give_wakes(node, done.effects)
    return new_answer(prepared, done.lines.get(prepared.packet_id, ()))


# --- matching --------------------------------------------------------------------------------------------------


def would_refuse(node: Node, status: StatusPacket, reporter_id: str) -> Refusal | None:
    """Why `acknowledge` would refuse this status of that reporter now; None where it would not. Changes nothing."""
    with node.store.read() as connection:
        document = _match(connection, status, reporter_id, status_keys(node, status, reporter_id))
    return document if isinstance(document, Refusal) else None


def _match(
    connection: Connection, status: StatusPacket, reporter_id: str, keys: Keys | Prepared
) -> DocumentRow | Refusal:
    """Find the document and check that this reporter may speak about it. Forged and unmatched answer alike."""
    document = packets.documents_by_key(connection, [keys.document_key]).get(keys.document_key)
    if document is None:
        candidates = packets.documents_by_notation(connection, [keys.notation]).get(keys.notation, [])
        if len(candidates) == 1:
            document = packets.documents_by_key(connection, [candidates[0]]).get(candidates[0])
    if document is not None and document.packet_id:
        if status.status_code is StatusCode.TAKE_BACK:
            may_speak = document.issuer_id == reporter_id
        else:
            may_speak = was_sent(connection, document.root, reporter_id)
        if may_speak:
            return document
    return BadRequest("status.unmatched", document=_named(status))


def _is_late_refusal(connection: Connection, prepared: Prepared, document: DocumentRow) -> bool:
    """Whether an agency refuses a delivery, by its id, that it has reported finished. A status that names the document
    alone may have been under way for long and is only recorded."""
    status, item = prepared.docket.status, prepared.submission.item
    if not item or status is None or status.status_code is not StatusCode.REFUSED:
        return False
    return statuses.is_reported(connection, item, document.key, prepared.sender_id, StatusCode.FINISHED)


def _named(status: StatusPacket) -> str:
    """The document as the status names it."""
    about = status.response_for
    return about.code if about.document_id is None else about.document_id.text


# --- recording -------------------------------------------------------------------------------------------------


def _record(connection: Connection, node: Node, matched: _Matched, now: int) -> tuple[Dispatched, Effects]:
    prepared, status, document = matched.prepared, matched.status, matched.document
    if status.status_code is StatusCode.TAKE_BACK:
        return _record_take_back(connection, node, matched, now), Effects()
    chain = _chain(connection, document.root, prepared.sender_id)
    item = prepared.submission.item
    about = _subject_of(chain, document.key, item)
    is_meant = about is not None and (about.delivery_id == item or _is_the_one(chain, about))
    plans = _acts(chain, about, status, node, now) if about is not None and is_meant else []
    effects = advance(
        connection, {chain.id: chain}, plans, pace=node.pace, now=now,
        at=prepared.submission.received_at, actor=prepared.submission.caller.name,
    )  # fmt: skip
    root = f"status|{document.key}|{prepared.sender_id}"
    order = _order(replace(prepared, root=root), document, root)
    done = dispatch(connection, [order], node.pace, now=now)
    statuses.record(connection, _row(matched, about, now))
    if about is not None:
        deliveries.note_status(connection, about.delivery_id, str(status.status_code))
    events.append(connection, [_recorded_event(connection, matched, about)], now)
    return done, effects


def _record_take_back(connection: Connection, node: Node, matched: _Matched, now: int) -> Dispatched:
    """Status 13 is a recall for the recipient it names: it joins the document's chain (rule 6)."""
    order = _order(replace(matched.prepared, kind=LinkKind.RECALL), matched.document, matched.document.root)
    done = dispatch(connection, [order], node.pace, now=now)
    statuses.record(connection, _row(matched, None, now))
    events.append(connection, [_recorded_event(connection, matched, None)], now)
    return done


def _order(prepared: Prepared, document: DocumentRow, root: str) -> Dispatch:
    """A status leaves the document's row as it is, but for the chain that it joins."""
    return Dispatch(
        prepared=prepared, document=replace(document, root=root), document_is_new=False, keeps_document=True
    )


def _chain(connection: Connection, root: str, agency_id: str) -> Chain:
    found = chain_of(connection, root, agency_id)
    assert found is not None, "was_sent looked at the same rows in this transaction"
    return load_chains(connection, [found])[found]


def _subject_of(chain: Chain, document: str, item: str) -> Link | None:
    """The link that a status speaks about: its `item`; else of this document the newest that may have arrived, else the
    newest that still may."""
    named = next((k for k in chain if k.delivery_id == item), None)
    if named is not None:
        return named
    live = [k for k in chain.packets_of(document) if k.state is not DeliveryState.WITHDRAWN]
    known = [k for k in live if k.may_have_arrived()]
    found = known or live
    return found[-1] if found else None


def _is_the_one(chain: Chain, link: Link) -> bool:
    """Whether a status that names the document alone can mean but this packet: nothing of the document arrived, and
    nothing else of it may have (rule 6a). Otherwise nobody knows which one is meant, and it is only recorded."""
    arrived = (DeliveryState.DELIVERED, DeliveryState.REFUSED)
    same = chain.packets_of(link.document)
    others = [k for k in same if k.delivery_id != link.delivery_id and k.state is not DeliveryState.WITHDRAWN]
    return not any(k.state in arrived for k in same) and not any(k.may_have_arrived() for k in others)


def _acts(chain: Chain, link: Link, status: StatusPacket, node: Node, now: int) -> list[Planned]:
    """What a status does to the delivery: 02 before delivered refuses; any other of the recipient's is a receipt."""
    step = Step(move=None)
    if status.status_code is StatusCode.REFUSED:
        step = refuse(link, "")
    elif status.status_code in _RECEIPTS and link.may_have_arrived():
        report = Report(arrived=True, turn=link.turn, reason=Reason.REPORTED_BY_STATUS)
        step = replace(conclude(link, report, now, node.pace), end_turn=None)
    if step.move is None:
        return []
    return [Planned(chain_id=chain.id, delivery_id=link.delivery_id, step=step)]


def _row(matched: _Matched, about: Link | None, now: int) -> statuses.StatusRow:
    status, prepared = matched.status, matched.prepared
    return statuses.StatusRow(
        packet_id=prepared.packet_id,
        document_packet_id=matched.document.packet_id if about is None else about.packet_id,
        document_key=matched.document.key,
        reporter_id=prepared.sender_id,
        code=str(status.status_code),
        description=status.description,
        reported_at=None if status.timestamp is None else as_instant(status.timestamp),
        recorded_at=now,
        by_node=prepared.submission.by_node,
    )


def _recorded_event(connection: Connection, matched: _Matched, about: Link | None) -> Event:
    """Told of the document's packet; where that was archived and is gone, of the status's own."""
    prepared = matched.prepared
    timestamp = matched.status.timestamp
    subject = matched.document.packet_id if about is None else about.packet_id
    if about is None and not packets.by_ids(connection, [subject]):
        subject = prepared.packet_id
    return Event(
        kind=EventKind.STATUS_RECORDED,
        at=prepared.submission.received_at,
        actor="node" if prepared.submission.by_node else prepared.submission.caller.name,
        packet_id=subject,
        delivery_id="" if about is None else about.delivery_id,
        agency_id=prepared.sender_id,
        system_id=prepared.submission.caller.system_id,
        reason=str(matched.status.status_code),
        reported_at=None if timestamp is None else as_instant(timestamp),
    )
