"""Accept (tiếp nhận): from "a blob lies there" to "it is ours": first answers, documents, then dispatch, one commit.

"Accepted" means: the bytes are on disk, the deliveries are planned, the commit is done (docs/guarantees.md).
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial

from edxml.crashpoints import crash_point, declare
from gateway.exchange.acknowledge import acknowledge
from gateway.exchange.advance import give_wakes
from gateway.exchange.answers import first_answers, new_answer, or_defect, refused_event
from gateway.exchange.dispatch import Dispatch, dispatch
from gateway.exchange.submission import Outcome, Prepared
from gateway.exchange.telling import tell_accepted
from gateway.exchange.urgency import say_urgent
from gateway.model.copies import altered
from gateway.model.errors import StoreConflict, StoreError
from gateway.model.states import LinkKind
from gateway.node import Node
from gateway.store import Connection, events, families, packets
from gateway.store.deliveries import StaleMove
from gateway.store.packets import DocumentRow
from gateway.store.repeating import repeated_where_undone
from monitoring.registry import Hop

__all__ = ["accept"]

declare("accept.written", "rows written, the transaction is still open")
declare("accept.committed", "accepted; the sender has not been answered")


def accept(node: Node, group: Sequence[Prepared]) -> tuple[Outcome, ...]:
    """Accept a group of prepared submissions; outcomes in their order.

    A repeat gets the first answer with today's states; a conflict is refused by unique constraints, never by a look
    before.  Members about the same document go in rounds, in their order.  One bad member never fails its
    neighbours: where a constraint still refuses, or a defect is met, the round goes through one by one.
    A store that goes away amid a group is told to those who were not accepted yet (a StoreError as their outcome); it
    is raised where nobody was.
    Crash points: accept.written, accept.committed.
    """
    say_urgent(node, group)
    outcomes: dict[int, Outcome] = {}
    try:
        for one in (p for p in group if p.kind is LinkKind.STATUS):
            outcomes[id(one)] = acknowledge(node, one)
        for members in _rounds([p for p in group if p.kind is not LinkKind.STATUS]):
            _accept_members(node, members, outcomes)
    except StoreError as why:
        if not outcomes:
            raise
        outcomes = {id(one): why for one in group} | outcomes
    return tuple(outcomes[id(prepared)] for prepared in group)


def _accept_members(node: Node, members: Sequence[Prepared], outcomes: dict[int, Outcome]) -> None:
    """One round; what came of each is in `outcomes`, by its id, as soon as it is committed."""
    began = time.monotonic()
    try:
        try:
            outcomes |= dict(zip(map(id, members), _accept_round(node, members), strict=True))
        except (StoreConflict, StaleMove):
            for one in members:
                outcomes[id(one)] = _accept_alone(node, one)
        except StoreError:
            raise
        except Exception:  # noqa: BLE001 - told of the one that meets it alone too
            for one in members:
                outcomes[id(one)] = or_defect(partial(_accept_alone, node), one)
    finally:
        tell_accepted(node, Hop.ACCEPT, [(m, outcomes[id(m)]) for m in members if id(m) in outcomes], began)


def _rounds(group: Sequence[Prepared]) -> list[list[Prepared]]:
    """Members that touch the same document, submission or key go into later rounds, so that a round has no order.

    A replacement goes alone: it may make one family of documents that the others are about.
    """
    rounds: list[list[Prepared]] = []
    touched: list[set[str]] = []
    alone = 0
    for prepared in group:
        keys = {prepared.document_key, prepared.root, prepared.submission_key, prepared.idempotency_key} - {""}
        after = max((i + 1 for i, held in enumerate(touched) if held & keys), default=0)
        after = max(after, alone) if not prepared.replaces else len(rounds)
        alone = after + 1 if prepared.replaces else alone
        if after == len(rounds):
            rounds.append([])
            touched.append(set())
        rounds[after].append(prepared)
        touched[after] |= keys
    return rounds


def _accept_alone(node: Node, one: Prepared) -> Outcome:
    return _accept_round(node, [one], is_careful=True)[0]


@repeated_where_undone
def _accept_round(node: Node, members: Sequence[Prepared], *, is_careful: bool = False) -> list[Outcome]:
    with node.store.write(asks_first=True) as connection:
        first = first_answers(connection, members)
        outcomes = first.outcomes
        now = node.store.now(connection)
        fresh = [p for p in members if p.packet_id not in outcomes]
        documents, point = first.documents, None
        if fresh and fresh[0].replaces:  # it is alone in its round; where it is refused nothing is united
            point = connection.begin_nested()
            documents = _united(connection, fresh[0], documents)
        orders = [_order(one, documents) for one in fresh]
        done = dispatch(connection, orders, node.pace, now=now, is_careful=is_careful, channels=first.channels)
        refused = done.refused
        if point is not None:
            point.rollback() if refused else point.commit()
        packets.drop_claims(connection, list(refused))
        packets.hand_claims(connection, {i: answer.packet_id for i, answer in done.repeats.items()})
        events.append(
            connection, [refused_event(p, refused[p.packet_id]) for p in fresh if p.packet_id in refused], now
        )
        crash_point("accept.written")
    crash_point("accept.committed")
    give_wakes(node, done.effects)
    outcomes |= refused
    outcomes |= {p.packet_id: new_answer(p, done.lines[p.packet_id]) for p in fresh if p.packet_id in done.lines}
    outcomes |= {i: replace(answer, is_repeat=True) for i, answer in done.repeats.items()}
    return [outcomes[p.packet_id] for p in members]


# --- documents: new, known, in conflict (protocol §12) ---------------------------------------------------------


def _united(connection: Connection, prepared: Prepared, known: Mapping[str, DocumentRow]) -> Mapping[str, DocumentRow]:
    """The documents as they are known once all that a replacement names, and itself, are one family (rule 6a)."""
    if unknown := set(prepared.replaces) - known.keys():
        packets.name_documents(connection, unknown, prepared.sender_id)
        known = {**known, **packets.documents_by_key(connection, unknown)}
    tied = [known[key].root for key in (*prepared.replaces, prepared.document_key) if key in known]
    lead, *others = dict.fromkeys(tied)
    if others:
        packets.name_documents(connection, others, prepared.sender_id)
        families.unite(connection, lead, others)
        known = {k: altered(row, root=lead) if row.root in others else row for k, row in known.items()}
    return known


def _order(prepared: Prepared, known: Mapping[str, DocumentRow]) -> Dispatch:
    """Pure: the document as it was known, and one packet, give the document as it will be and what to look for."""
    old = known.get(prepared.document_key)
    brings = prepared.kind is not LinkKind.RECALL
    if old is None:
        return Dispatch(prepared=prepared, document=_new_row(prepared, known, brings), document_is_new=True)
    if not old.packet_id:  # known by name alone, of what replaces it
        row = altered(_new_row(prepared, known, brings), root=old.root)
        return Dispatch(prepared=prepared, document=row, document_is_new=False)
    changed = replace(
        old,
        packet_id=prepared.packet_id,
        packet_fingerprint=prepared.fingerprint,
        fingerprint=prepared.fingerprint if brings else old.fingerprint,
        kind=prepared.kind,
        came=old.came or prepared.kind in (LinkKind.NEW, LinkKind.REPLACEMENT),
        is_recalled=old.is_recalled or not brings,
    )
    order = Dispatch(prepared=prepared, document=changed, document_is_new=False)
    if prepared.fingerprint == old.packet_fingerprint:
        return replace(order, document=replace(changed, packet_id=old.packet_id), may_repeat=True)
    if prepared.kind in (LinkKind.NEW, LinkKind.REPLACEMENT) and old.came:
        return replace(order, may_repeat=prepared.kind is LinkKind.NEW, is_revision=True)
    return order


def _new_row(prepared: Prepared, known: Mapping[str, DocumentRow], brings: bool) -> DocumentRow:
    replaced = known.get(prepared.root)
    return DocumentRow(
        key=prepared.document_key,
        root=prepared.root if replaced is None else replaced.root,
        notation=prepared.notation,
        issuer_id=prepared.sender_id,
        fingerprint=prepared.fingerprint if brings else "",
        packet_id=prepared.packet_id,
        packet_fingerprint=prepared.fingerprint,
        kind=prepared.kind,
        came=prepared.kind in (LinkKind.NEW, LinkKind.REPLACEMENT),
        is_recalled=not brings,
    )
