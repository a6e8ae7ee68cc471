"""Doing the machine's steps on rows: primary step, what settles after it, one transaction, effects after the commit."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from gateway.exchange.outsiders import tell_outsiders
from gateway.model.chain import Chain, Link, Move, Reason
from gateway.model.copies import altered
from gateway.model.instants import new_id
from gateway.model.machine import settle
from gateway.model.states import DeliveryState
from gateway.model.step import Pace, Step, with_step
from gateway.node import Node
from gateway.store import Connection, attempts, deliveries, notices, transfers
from gateway.store.chains import put_in_order
from gateway.store.together import Together

__all__ = ["Effects", "Planned", "advance", "do_moves", "give_wakes"]

_TOLD = frozenset(
    {
        DeliveryState.WITHDRAWN,
        DeliveryState.EXPIRED,
        DeliveryState.PARKED,
        DeliveryState.REFUSED,
    }
)
"""States that the sender is told of by a notice, besides late receipts."""


@dataclass(slots=True)
class Effects:
    """What a transaction leaves to be done after its commit: wake-ups and metrics. Losing them costs latency only."""

    topics: set[str] = field(default_factory=set)
    moves: list[Move] = field(default_factory=list)


@dataclass(frozen=True, slots=True, kw_only=True)
class Planned:
    """One step to take on one link of a chain that was loaded in this transaction."""

    chain_id: str
    delivery_id: str
    step: Step
    detail: str = ""
    actor: str = ""  #: who caused it, where a group has several callers


def advance(
    connection: Connection,
    chains: Mapping[str, Chain],
    planned: Sequence[Planned],
    *,
    pace: Pace,
    now: int,
    at: int,
    actor: str,
    facts: Mapping[str, deliveries.Facts] | None = None,
    is_last: bool = False,
) -> Effects:
    """Take steps and everything that follows from them. Raises StaleMove (run the hop again).

    Steps of one chain are taken in order; each sees the chain as the one before left it.  `facts`: of the deliveries,
    where they were loaded with the chains.  `is_last`: the transaction changes and locks nothing after this; where
    nothing follows from the steps it executes nothing after it at all.
    """
    has_following = False
    current = dict(chains)
    moves: list[Move] = []
    ends: list[attempts.Ended] = []
    counts: list[tuple[str, int | None, int | None]] = []
    for plan in planned:
        chain = current[plan.chain_id]
        link = chain.find(plan.delivery_id)
        step = plan.step
        if step.end is not None:
            ends.append(
                attempts.Ended(
                    delivery_id=link.delivery_id,
                    turn=step.end_turn,
                    key=step.end_key,
                    end=step.end,
                    detail=plan.detail,
                )
            )
        if step.is_report and (step.move is not None or step.end is not None) and _changes_counts(link, step):
            counts.append((link.transfer_id, step.tries, step.permits))
        if step.move is not None:
            moves.append(_by(step.move, plan.actor))
        chain = with_step(chain, link, step, now)
        if step.goes_last:
            put_in_order(connection, chain)
        following = [_by(move, plan.actor) for move in settle(chain, now, pace)]
        moves += following
        has_following = has_following or bool(following)
        for move in following:
            chain = chain.with_link(chain.find(move.delivery_id).moved(move.after))
        current[plan.chain_id] = chain
    beside = Together()
    transfers.set_counts(beside, counts)
    attempts.end_attempts(beside, ends, now)
    return do_moves(
        connection, chains.values(), moves, now=now, at=at, actor=actor, facts=facts, beside=beside, is_last=is_last,
        commits=is_last and not has_following,
    )  # fmt: skip


def _changes_counts(link: Link, step: Step) -> bool:
    """Whether a report leaves other counts than stand there: what is polled has none."""
    is_same = step.tries in (None, link.tries) and step.permits in (None, link.permits)
    return not is_same or link.unreported != 0


def _by(move: Move, actor: str) -> Move:
    return altered(move, actor=actor) if actor else move


def do_moves(
    connection: Connection,
    chains: Iterable[Chain],
    moves: Sequence[Move],
    *,
    now: int,
    at: int,
    actor: str,
    facts: Mapping[str, deliveries.Facts] | None = None,
    beside: Together | None = None,
    is_last: bool = False,
    commits: bool = False,
) -> Effects:
    """Do moves that were decided already, tell the senders, and say what to do after the commit.

    `facts`, `beside`, `is_last` and `commits` as `deliveries.apply` takes them.
    """
    told = _to_tell(moves, chains, now)
    deliveries.apply(
        connection, moves, now=now, at=at, actor=actor, facts=facts, beside=beside, is_last=is_last and not told,
        commits=commits and not told and all(move.after is not DeliveryState.AVAILABLE for move in moves),
    )  # fmt: skip
    if not moves:
        return Effects()
    notices.tell(connection, told)
    return _effects(connection, moves)


def _to_tell(moves: Iterable[Move], chains: Iterable[Chain], now: int) -> list[notices.Notice]:
    packets = {link.delivery_id: link.packet_id for chain in chains for link in chain}
    return [
        notices.Notice(
            id=new_id(), delivery_id=move.delivery_id, packet_id=packets[move.delivery_id],
            code=f"delivery.{move.reason}", at=now,
        )
        for move in moves
        if move.after in _TOLD or move.reason is Reason.LATE_RECEIPT
    ]  # fmt: skip


def _effects(connection: Connection, moves: Sequence[Move]) -> Effects:
    effects = Effects(moves=list(moves))
    listed = [move.delivery_id for move in moves if move.after is DeliveryState.AVAILABLE]
    if listed:
        effects.topics |= {f"inbox:{agency}" for agency in deliveries.agencies_of(connection, listed)}
    if any(move.after is DeliveryState.READY for move in moves):
        effects.topics.add("relay")
    return effects


def give_wakes(node: Node, effects: Effects, parties: Sequence[deliveries.Party] | None = None) -> None:
    """After the commit: wake long polls and the relay, count the moves, tell software outside that subscribes.

    `parties`: of the moves, where the transaction has read them (`parties_to_tell`).
    """
    for topic in effects.topics:
        node.transport.wake(topic)
    for (before, after), times in Counter((move.before, move.after) for move in effects.moves).items():
        node.metrics.count_move(before, after, times)
    for move in effects.moves:
        if move.after is DeliveryState.PARKED:
            node.metrics.count_parked(f"delivery.{move.reason}")
    tell_outsiders(node, effects.moves, parties)
