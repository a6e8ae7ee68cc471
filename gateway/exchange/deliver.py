"""Deliver (chuyển giao): claim, look where in doubt, stage, commit the attempt, hand over, write down what came of it.

    claim ── commit ── look/stage ── attempt ── commit ── hand over ── conclude ── commit

Nothing is sent without a committed attempt, and no transaction is open while a sink works (protocol §4, §5).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import timedelta

from adapters.contract import AdapterError, Bounded, Done, HandOver, Park, Retry, Scope, Staged, Unknown
from adapters.contract import Outcome as SinkOutcome
from edxml.crashpoints import crash_point, declare
from gateway.channels import name_fault
from gateway.exchange.advance import Effects, Planned, advance, give_wakes
from gateway.exchange.claims import Claimed, claim_group
from gateway.exchange.telling import tell_delivered
from gateway.model.chain import Link, Reason
from gateway.model.errors import BlobDamaged, BlobMissing, StoreBusy
from gateway.model.instants import as_datetime, micros
from gateway.model.machine import Act, absent, conclude, next_act
from gateway.model.states import AttemptEnd, DeliveryState
from gateway.model.step import Report, Step
from gateway.node import Node
from gateway.store import Connection, attempts, channels, transfers
from gateway.store.chains import load_chains
from gateway.store.repeating import repeated_where_undone
from gateway.transport.contract import Ticket

__all__ = ["deliver"]

declare("deliver.claimed", "claimed; nothing was prepared")
declare("deliver.staged", "staged where the recipient cannot see it; no attempt is written")
declare("deliver.attempt_committed", "the attempt is written; nothing was sent")
declare("deliver.handed_over", "the recipient has it; nobody wrote it down")
declare("deliver.concluded", "written down")


@dataclass(slots=True)
class _Work:
    """One claimed transfer on its way through the steps of this hop."""

    claimed: Claimed
    staged: Staged | None = None
    outcome: SinkOutcome | None = None
    over_by: int = 0
    until: float = 0.0
    limit: float = 0.0
    found: bool = False
    began: float = field(default_factory=time.monotonic)
    seconds: float = 0.0  #: how long the sink itself took
    was_sent: bool = False  #: not only looked for, or refused before the first byte
    is_put_off: bool = False  #: its time was used up by another, its worker ends, its channel rests: nobody's fault

    def put_off(self) -> None:
        """Back to the queue at once: what was not begun costs nobody anything."""
        self.is_put_off = True
        self.outcome = Retry(reason=str(Reason.DRAINED), after=timedelta(0))


def deliver(
    node: Node, tickets: Sequence[Ticket], *, is_ending: Callable[[], bool] = lambda: False
) -> tuple[SinkOutcome | None, ...]:
    """Hand over what these tickets hint at; an outcome per ticket, None where it was not (or no longer) ours.

    Once `is_ending` says so nothing more is begun: what was claimed goes back at once, and one hand-over is ended.
    May run twice and at the same time on the same tickets: the claim is one conditional update, the attempt another.
    Crash points: deliver.claimed, deliver.staged, deliver.attempt_committed, deliver.handed_over, deliver.concluded.
    """
    works = [_Work(claimed) for claimed in claim_group(node, tickets)]
    if not works:
        return (None,) * len(tickets)
    crash_point("deliver.claimed")
    lease = _Lease(node, works)
    _put_off_risky(works)
    for work in works:
        lease.keep()
        _before(node, work, is_ending)
        _look(node, work)
    for work in works:
        lease.keep()
        _before(node, work, is_ending)
        _stage(node, work, lease.ends)
    crash_point("deliver.staged")
    _begin(node, [work for work in works if work.staged is not None])
    crash_point("deliver.attempt_committed")
    for work in works:
        if work.staged is not None and work.outcome is None:
            lease.keep()
            _before(node, work, is_ending)
            _hand_over(work)
    crash_point("deliver.handed_over")
    _conclude(node, [work for work in works if work.outcome is not None])
    crash_point("deliver.concluded")
    outcomes = {work.claimed.transfer_id: work.outcome for work in works}
    return tuple(outcomes.get(ticket.transfer_id) for ticket in tickets)


class _Lease:
    """Keeps the claims of a group while its worker lives; `ends` is when they would run out, on the boot-time clock."""

    def __init__(self, node: Node, works: Sequence[_Work]) -> None:
        self._node = node
        self._works = works
        self.ends = _boot_now() + node.pace.lease / 1e6

    @repeated_where_undone
    def keep(self) -> None:
        """Renew once a third of the lease has passed."""
        if _boot_now() < self.ends - self._node.pace.lease / 1e6 * 2 / 3:
            return
        started = _boot_now()
        with self._node.store.write() as connection:
            until = self._node.store.now(connection) + self._node.pace.lease
            transfers.renew_leases(connection, [(w.claimed.transfer_id, w.claimed.turn) for w in self._works], until)
        self.ends = started + self._node.pace.lease / 1e6


def _boot_now() -> float:
    return time.clock_gettime(time.CLOCK_BOOTTIME)


# --- before anything is sent ------------------------------------------------------------------------------------


def _before(node: Node, work: _Work, is_ending: Callable[[], bool]) -> None:
    """Before each step that talks to somebody outside: whether it is begun at all.

    Not once this worker ends, nor in a maintenance window of the channel; the relay picks it when that is over.
    """
    if work.outcome is None and (is_ending() or _is_resting(node, work.claimed.channel_id)):
        work.put_off()


def _is_resting(node: Node, channel_id: str) -> bool:
    """Whether a window holds now. Where the store cannot say what time it is nothing is begun either: what went out
    before is written down, or is an open attempt, as after a crash."""
    row = node.channels.snapshot().by_id.get(channel_id)
    if row is None or not row.windows:
        return False
    try:
        with node.store.read() as connection:
            return row.held_until(node.store.now(connection)) is not None
    except StoreBusy:
        return True


def _put_off_risky(works: Sequence[_Work]) -> None:
    """What turned out slow or broken off since it was announced: among others it would make them wait."""
    if len(works) > 1:
        for work in works:
            if work.claimed.is_risky:
                work.put_off()


def _look(node: Node, work: _Work) -> None:
    """Rule 5: park what is in doubt on a blind sink; ask a checkable one whether it arrived."""
    if work.outcome is not None:
        return
    acts = {next_act(link) for link in work.claimed.links}
    if Act.PARK in acts:
        work.outcome = Park(reason=str(Reason.OUTCOME_UNKNOWN))
    elif Act.LOOK in acts:
        started = time.monotonic()
        try:
            found = node.channels.sink(work.claimed.channel_id).find(work.claimed.transfer_id)
        except (AdapterError, OSError) as why:
            work.outcome = Retry(reason=name_fault(why))
            return
        finally:
            work.seconds = time.monotonic() - started
        if found is not None:
            work.outcome, work.found = found, True
        else:
            work.claimed = work.claimed.without(_note_absent(node, work))


@repeated_where_undone
def _note_absent(node: Node, work: _Work) -> list[str]:
    """`find` said no: the deliveries that went back instead of going on (an open attempt, or a recall waits)."""
    with node.store.write() as connection:
        now = node.store.now(connection)
        chains = load_chains(connection, work.claimed.chain_ids)
        planned = []
        for chain in chains.values():
            for link in chain:
                if link.delivery_id in work.claimed.delivery_ids and link.state is DeliveryState.CLAIMED:
                    step = absent(chain, link, now)
                    planned.append(Planned(chain_id=chain.id, delivery_id=link.delivery_id, step=step))
        effects = advance(connection, chains, planned, pace=node.pace, now=now, at=node.now(), actor=node.worker)
    give_wakes(node, effects)
    return [plan.delivery_id for plan in planned if plan.step.move is not None]


def _stage(node: Node, work: _Work, lease_ends: float) -> None:
    if work.outcome is not None or not work.claimed.links:
        return
    try:
        staged = node.channels.sink(work.claimed.channel_id).stage(_item(node, work.claimed, lease_ends))
    except BlobMissing:
        work.outcome = Park(reason=str(Reason.BLOB_MISSING))
    except BlobDamaged:
        work.outcome = Park(reason=str(Reason.BLOB_DAMAGED))
    except (AdapterError, OSError) as why:
        work.outcome = Retry(reason=name_fault(why))
    else:
        if isinstance(staged, (Retry, Park)):
            work.outcome = staged
        else:
            work.staged = staged


def _item(node: Node, claimed: Claimed, lease_ends: float) -> HandOver:
    packet = claimed.packet
    return HandOver(
        key=claimed.transfer_id,
        packet_id=packet.id,
        document_id=packet.document_id,
        business_kind=packet.kind,
        sender=packet.sender_organ,
        recipients=claimed.organs,
        urgent=packet.is_urgent,
        size=packet.size,
        digest=packet.blob,
        accepted_at=as_datetime(packet.accepted_at),
        open=lambda: node.store.blobs.open(packet.blob),
        seal=packet.seal or b"",
        note=claimed.note,
        stage_until=lease_ends,
    )


@repeated_where_undone
def _begin(node: Node, works: Sequence[_Work]) -> None:
    """Commit an attempt for each staged transfer that is still ours; the boot-time clock is read before (rule 4)."""
    if not works:
        return
    started = _boot_now()
    with node.store.write() as connection:
        now = node.store.now(connection)
        begun = []
        for work in works:
            sink = node.channels.sink(work.claimed.channel_id)
            limit = work.staged.sending_limit if isinstance(work.staged, Bounded) else sink.sending_limit
            work.limit = limit.total_seconds()
            work.until = started + work.limit
            work.over_by = now + micros(limit) + micros(sink.settle_time)
            begun.append(
                attempts.Begun(transfer_id=work.claimed.transfer_id, turn=work.claimed.turn, over_by=work.over_by)
            )
        ours = attempts.begin_attempts(connection, begun, worker=node.worker, now=now)
    for work in works:
        if work.claimed.transfer_id not in ours:
            # Stolen from: another worker may have staged under the same key, so nothing is discarded either.
            work.staged = None


def _hand_over(work: _Work) -> None:
    """Let the sink send, if enough of the attempt's time is left; a slow neighbour in the group is not its fault."""
    assert work.staged is not None
    if work.outcome is None and work.until - _boot_now() < work.limit / 2:
        work.put_off()
    if work.outcome is not None:
        return
    work.was_sent = True
    started = time.monotonic()
    try:
        work.outcome = work.staged.hand_over(work.until)
    except (AdapterError, OSError) as why:
        work.outcome = Unknown(reason=name_fault(why))
    finally:
        work.seconds += time.monotonic() - started


_END_LABELS = {
    Done: str(AttemptEnd.ARRIVED),
    Retry: str(AttemptEnd.SURELY_NOT),
    Park: str(AttemptEnd.SURELY_NOT),
    Unknown: str(AttemptEnd.UNKNOWN),
}


# --- writing it down --------------------------------------------------------------------------------------------


@repeated_where_undone
def _conclude(node: Node, works: Sequence[_Work]) -> None:
    """One transaction for the group: outcomes, what settles after them, breakers; then wakes and metrics."""
    if not works:
        return
    with node.store.write() as connection:
        now = node.store.now(connection)
        chains = load_chains(connection, {c for work in works for c in work.claimed.chain_ids})
        links = {link.delivery_id: (chain.id, link) for chain in chains.values() for link in chain}
        planned = [
            plan for work in works for plan in _plans(node, work, [links[d] for d in work.claimed.delivery_ids], now)
        ]
        effects = advance(connection, chains, planned, pace=node.pace, now=now, at=node.now(), actor=node.worker)
        _note_channels(connection, works, now)
    give_wakes(node, effects)
    _wake_reports(node, effects)
    for work in works:
        _tell(node, work)


def _tell(node: Node, work: _Work) -> None:
    assert work.outcome is not None
    seconds = time.monotonic() - work.began
    kind = node.channels.snapshot().by_id[work.claimed.channel_id].kind
    node.metrics.count_attempt(kind, _END_LABELS[type(work.outcome)], seconds)
    tell_delivered(
        node, transfer_id=work.claimed.transfer_id, packet_id=work.claimed.packet.id,
        channel_id=work.claimed.channel_id, outcome=work.outcome, seconds=seconds,
    )  # fmt: skip


def _plans(node: Node, work: _Work, members: Iterable[tuple[str, Link]], now: int) -> list[Planned]:
    assert work.outcome is not None
    report = _report(work)
    plans = []
    for chain_id, link in members:
        step: Step = conclude(link, report, now, node.pace)
        plans.append(Planned(chain_id=chain_id, delivery_id=link.delivery_id, step=step, detail=report.detail))
    return plans


def _report(work: _Work) -> Report:
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


def _note_channels(connection: Connection, works: Sequence[_Work], now: int) -> None:
    """Rule 8: faults of the channel feed its breaker, a success closes it; documents are not to blame."""
    for work in works:
        if not work.is_put_off:
            channels.note_hand_over(
                connection, work.claimed.channel_id, now=now, seconds=work.seconds,
                has_arrived=isinstance(work.outcome, Done), fault=_channel_fault(work.outcome), was_sent=work.was_sent,
            )  # fmt: skip


def _channel_fault(outcome: SinkOutcome | None) -> str | None:
    if isinstance(outcome, (Retry, Unknown)) and outcome.scope is Scope.CHANNEL:
        return outcome.reason
    return None


def _wake_reports(node: Node, effects: Effects) -> None:
    if any(move.after is DeliveryState.DELIVERED for move in effects.moves):
        node.transport.wake("reports")
