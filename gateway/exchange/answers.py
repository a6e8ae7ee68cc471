"""Answers to senders: the first one, and the same again with today's states (protocol §12)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from gateway.exchange.submission import Answer, Outcome, Prepared, Unentered
from gateway.model.errors import Conflict, Refusal, StoreError
from gateway.model.events import Event, EventKind
from gateway.model.states import LinkKind
from gateway.store import Connection, events, packets
from gateway.store.deliveries import StaleMove
from gateway.store.packets import DocumentRow, RecipientRow
from gateway.store.transfers import ChannelFacts
from monitoring import log

__all__ = ["First", "first_answers", "new_answer", "or_defect", "refused_event", "stored_answers"]

_log = log.get("exchange.answers")


def or_defect(enter: Callable[[Prepared], Outcome], one: Prepared) -> Outcome:
    """What came of entering one packet: Unentered where it met a defect. Raises StoreError, StaleMove as they come."""
    try:
        return enter(one)
    except (StoreError, StaleMove):
        raise
    except Exception:  # noqa: BLE001 - the log line names it
        _log.exception("packet.not_entered", packet=one.packet_id)
        return Unentered()


@dataclass(frozen=True, slots=True, kw_only=True)
class First:
    """What is known of members before anything is decided about them."""

    outcomes: dict[str, Outcome]  #: of those that came before, by packet id of the member; the others hold their keys
    documents: Mapping[str, DocumentRow]  #: known ones that they are about, by key, locked
    channels: Sequence[ChannelFacts]  #: by which they go


def first_answers(connection: Connection, members: Sequence[Prepared]) -> First:
    """Take the keys of members, and look up those that came before.

    A repeated Idempotency-Key with another body is a conflict; the same bytes for the same recipients get the
    first answer, with or without a key.  A status is told of no document and of no channel.
    """
    keyed = [(p.idempotency_key, p.submission_key, p.packet_id) for p in members if p.idempotency_key]
    by_key = packets.claim_idempotency(connection, keyed)
    conflicts: dict[str, Outcome] = {}
    for prepared in members:
        made, _ = by_key.get(prepared.idempotency_key, (prepared.submission_key, ""))
        if made != prepared.submission_key:
            conflicts[prepared.packet_id] = Conflict("submission.idempotency_conflict")
    rest = [p for p in members if p.packet_id not in conflicts]
    others = [p for p in rest if p.kind is not LinkKind.STATUS]
    entered = packets.claim_submissions(
        connection,
        [(p.submission_key, p.packet_id) for p in rest],
        documents={key for p in others for key in (p.document_key, p.root, *p.replaces)},
        channels={leg.channel_id for p in others for leg in p.plan.legs},
    )
    return First(
        outcomes=conflicts | _repeats(connection, rest, entered.held),
        documents=entered.documents,
        channels=entered.channels,
    )


def _repeats(connection: Connection, rest: Sequence[Prepared], held: Mapping[str, str]) -> dict[str, Outcome]:
    """The answers to those whose submission keys others hold."""
    repeats = {p.packet_id: held[p.submission_key] for p in rest if held[p.submission_key] != p.packet_id}
    if not repeats:
        return {}
    stored = stored_answers(connection, set(repeats.values()))
    by_id = {p.packet_id: p for p in rest}
    told = [_repeated(by_id[i], first if first in stored else "") for i, first in repeats.items()]
    events.append(connection, told, _latest(rest))  # nothing is told of a packet whose month is gone
    return {packet_id: stored.get(first, _archived(by_id[packet_id])) for packet_id, first in repeats.items()}


def _archived(prepared: Prepared) -> Conflict:
    """A repeat of what was archived and is gone: known as a repeat for ever, and nothing is sent again."""
    return Conflict("submission.archived", document=prepared.document_key.split("|", 1)[-1])


def _latest(members: Sequence[Prepared]) -> int:
    return max(p.submission.received_at for p in members)


def _repeated(prepared: Prepared, first: str) -> Event:
    return Event(
        kind=EventKind.PACKET_REPEATED,
        at=prepared.submission.received_at,
        actor=prepared.submission.caller.name,
        system_id=prepared.submission.caller.system_id,
        agency_id=prepared.sender_id,
        packet_id=first,
        reason="submission.repeated",
    )


def refused_event(prepared: Prepared, why: Refusal) -> Event:
    """The event of a packet that was good in itself and is refused for what is known of its document."""
    return Event(
        kind=EventKind.PACKET_REFUSED,
        at=prepared.submission.received_at,
        actor=prepared.submission.caller.name,
        system_id=prepared.submission.caller.system_id,
        agency_id=prepared.sender_id,
        reason=why.reason,
    )


def stored_answers(connection: Connection, packet_ids: set[str]) -> dict[str, Answer]:
    """The answers of packets accepted before, with today's states."""
    rows = packets.by_ids(connection, packet_ids)
    lines = packets.recipients_of(connection, packet_ids)
    return {
        packet_id: Answer(
            packet_id=packet_id,
            document_id=row.document_id,
            is_repeat=True,
            accepted_at=row.accepted_at,
            recipients=tuple(_line(d) for d in lines.get(packet_id, ())),
        )
        for packet_id, row in rows.items()
    }


def _line(delivery: RecipientRow) -> Mapping[str, Any]:
    """One recipient of an answer, from a delivery's row."""
    return {
        "delivery_id": delivery.id,
        "agency_id": delivery.agency_id,
        "organ_id": delivery.organ,
        "state": delivery.state,
        "reason": delivery.detail or delivery.reason,
        "leg": delivery.leg,
        "readdressed_from": delivery.readdressed_from,
    }


def new_answer(prepared: Prepared, lines: Sequence[Mapping[str, Any]]) -> Answer:
    """The first answer."""
    return Answer(
        packet_id=prepared.packet_id,
        document_id=prepared.docket.document_id,
        is_repeat=False,
        accepted_at=prepared.submission.received_at,
        recipients=tuple(lines),
        findings=prepared.findings,
        repairs=prepared.repairs,
    )
