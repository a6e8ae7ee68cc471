"""Conclude: what came of a group's hand-overs, written down in one commit; then wakes, metrics and log lines."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from itertools import count

from adapters.contract import Done, Park, Retry, Scope, Unknown
from adapters.contract import Outcome as SinkOutcome
from gateway.exchange.advance import Effects, Planned, advance, give_wakes
from gateway.exchange.outsiders import parties_to_tell
from gateway.exchange.persisting import persist
from gateway.exchange.telling import tell_delivered
from gateway.exchange.work import Work
from gateway.model.chain import Link, Reason
from gateway.model.instants import micros
from gateway.model.machine import conclude
from gateway.model.states import AttemptEnd, DeliveryState
from gateway.model.step import Report, Step
from gateway.node import Node
from gateway.store import channels
from gateway.store.chains import load
from gateway.store.deliveries import Facts, Party
from gateway.store.repeating import repeated_where_undone
from monitoring import log

__all__ = ["conclude_all"]

_log = log.get("delivery")

_END_LABELS = {
    Done: str(AttemptEnd.ARRIVED),
    Retry: str(AttemptEnd.SURELY_NOT),
    Park: str(AttemptEnd.SURELY_NOT),
    Unknown: str(AttemptEnd.UNKNOWN),
}


def conclude_all(
    node: Node,
    works: Sequence[Work],
    *,
    is_ending: Callable[[], bool] | None = None,
    step: Callable[[], AbstractContextManager[None]] = nullcontext,
) -> None:
    """One transaction for the group: outcomes, what settles after them, breakers; then wakes and metrics.

    While the store is away it is tried again, until `is_ending` (`persist`): whoever lives reports, and a claim that
    nobody reports counts as that of a worker that died (rule 8).  `step` as `deliver` takes it.
    """
    if not works:
        return
    tries = count(1)

    def once() -> None:
        with step():
            _conclude(node, works, is_first=next(tries) == 1)

    persist(once, is_ending)


@repeated_where_undone
def _conclude(node: Node, works: Sequence[Work], *, is_first: bool) -> None:
    """Again after a commit of which nobody was told it changes nothing: every report is of its turn.

    Two trips to PostgreSQL where nothing waits behind these deliveries and nothing is new of their channels.
    What the database knows nothing of any more, as after a failover that lost commits, hinders no other report.
    """
    with node.store.write(asks_first=True) as connection:
        health = channels.health_asked(work.claimed.channel_id for work in works)
        held = {d for work in works for d in work.claimed.delivery_ids}
        loaded = load(connection, {c for work in works for c in work.claimed.chain_ids}, beside=[health], of=held)
        now = node.store.now(connection)
        chains = loaded.chains
        links = {link.delivery_id: (chain.id, link) for chain in chains.values() for link in chain}
        lost = [work for work in works if not links.keys() >= set(work.claimed.delivery_ids)]
        works = [work for work in works if work not in lost]
        planned = [
            plan for work in works for plan in _plans(node, work, [links[d] for d in work.claimed.delivery_ids], now)
        ]
        ended = _ended([work for work in works if is_first or _holds(work, links)])
        has_news = channels.says_something_new(loaded.beside[0], ended, now=now)
        effects = advance(
            connection, chains, planned, pace=node.pace, now=now, at=node.now(), actor=node.worker, facts=loaded.facts,
            is_last=not has_news,
        )  # fmt: skip
        if has_news:
            channels.note_hand_overs(connection, ended, now=now)
        parties = parties_to_tell(node, connection, effects.moves, _parties(works, loaded.facts))
    for work in lost:
        _log.error("delivery.lost", transfer=work.claimed.transfer_id, packet=work.claimed.packet.id)
    give_wakes(node, effects, parties)
    _wake_reports(node, effects)
    for work in works:
        _tell(node, work)


def _holds(work: Work, links: Mapping[str, tuple[str, Link]]) -> bool:
    """Whether its claim stands: nothing of it was written down yet."""
    found = (links[delivery_id][1] for delivery_id in work.claimed.delivery_ids)
    return any(link.state is DeliveryState.CLAIMED and link.turn == work.claimed.turn for link in found)


def _parties(works: Iterable[Work], facts: Mapping[str, Facts]) -> dict[str, Party]:
    """Whom the deliveries of these works concern, by delivery."""
    return {
        delivery_id: Party(
            delivery_id=delivery_id, packet_id=packet.id, document_id=packet.document_id, sender_id=packet.sender_id,
            agency_id=facts[delivery_id].agency_id,
        )
        for work in works
        for packet in (work.claimed.packet,)
        for delivery_id in work.claimed.delivery_ids
    }  # fmt: skip


def _tell(node: Node, work: Work) -> None:
    assert work.outcome is not None
    seconds = time.monotonic() - work.began
    kind = node.channels.snapshot().by_id[work.claimed.channel_id].kind
    node.metrics.count_attempt(kind, _END_LABELS[type(work.outcome)], seconds)
    tell_delivered(
        node, transfer_id=work.claimed.transfer_id, packet_id=work.claimed.packet.id,
        channel_id=work.claimed.channel_id, outcome=work.outcome, seconds=seconds,
    )  # fmt: skip


def _plans(node: Node, work: Work, members: Iterable[tuple[str, Link]], now: int) -> list[Planned]:
    assert work.outcome is not None
    report = _report(work)
    plans = []
    for chain_id, link in members:
        step: Step = conclude(link, report, now, node.pace)
        plans.append(Planned(chain_id=chain_id, delivery_id=link.delivery_id, step=step, detail=report.detail))
    return plans


def _report(work: Work) -> Report:
    """The sink's words as the machine's."""
    turn = work.claimed.turn
    match work.outcome:
        case Done():
            return Report(arrived=True, turn=turn, reason=Reason.FOUND if work.found else Reason.HANDED_OVER)
        case Retry(reason=detail, scope=Scope.DOCUMENT, after=after):
            wait = None if after is None else micros(after)
            return Report(arrived=False, turn=turn, reason=Reason.DOCUMENT_FAULT, detail=detail, counts=True, wait=wait)
        case Retry() if work.is_put_off:
            return Report(arrived=False, turn=turn, reason=Reason.DRAINED, wait=0)
        case Retry(reason=detail, after=after):
            wait = None if after is None else micros(after)
            return Report(arrived=False, turn=turn, reason=Reason.CHANNEL_FAULT, detail=detail, wait=wait)
        case Park(reason=detail, said=said):
            word = detail.replace("blob.", "blob_")  # a sink says the code, the machine the word
            known = word in Reason.__members__.values()
            reason = Reason(word) if known else Reason.SINK_PARKED
            return Report(arrived=False, turn=turn, reason=reason, detail="" if known else said or detail, parks=True)
        case Unknown(reason=detail):
            return Report(arrived=None, turn=turn, reason=Reason.MAY_HAVE_ARRIVED, detail=detail)
        case _:
            raise AssertionError("every work that is concluded has an outcome")


def _ended(works: Sequence[Work]) -> list[channels.HandedOver]:
    """Rule 8: faults of the channel feed its breaker, a success closes it; documents are not to blame."""
    return [
        channels.HandedOver(
            channel_id=work.claimed.channel_id, seconds=work.seconds, has_arrived=isinstance(work.outcome, Done),
            fault=_channel_fault(work.outcome), was_sent=work.was_sent,
        )
        for work in works
        if not work.is_put_off
    ]  # fmt: skip


def _channel_fault(outcome: SinkOutcome | None) -> str | None:
    if isinstance(outcome, (Retry, Unknown)) and outcome.scope is Scope.CHANNEL:
        return outcome.reason
    return None


def _wake_reports(node: Node, effects: Effects) -> None:
    if any(move.after is DeliveryState.DELIVERED for move in effects.moves):
        node.transport.wake("reports")
