"""Deliver (chuyển giao): claim, look where in doubt, stage, commit the attempt, hand over, write down what came of it.

    claim ── commit ── stage ── attempt ── commit ── hand over ── conclude ── commit
                   └── in doubt: look ── stage ── attempt ── commit ── hand over, each by itself

Nothing is sent without a committed attempt, and no transaction is open while a sink works (protocol §4, §5).  Given
hands, members of a group are handed over beside each other, and whoever does not answer is concluded when he does.
Who is asked whether he has one already holds up nobody else either.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from datetime import timedelta
from functools import partial

from adapters.contract import AdapterError, Bounded, HandOver, Park, Retry, Unknown
from adapters.contract import Outcome as SinkOutcome
from edxml.crashpoints import crash_point, declare
from gateway.channels import name_fault
from gateway.exchange.advance import Planned, advance, give_wakes
from gateway.exchange.claims import Claimed, claim_group
from gateway.exchange.conclude import conclude_all
from gateway.exchange.hands import Hands, Outstanding
from gateway.exchange.work import Work
from gateway.model.chain import Reason
from gateway.model.errors import BlobDamaged, BlobMissing, StoreBusy, StoreError
from gateway.model.instants import as_datetime, boot_now, micros
from gateway.model.machine import Act, absent, next_act
from gateway.model.states import DeliveryState
from gateway.node import Node
from gateway.store import attempts, channels, claims
from gateway.store.chains import load
from gateway.store.repeating import repeated_where_undone
from gateway.transport.contract import Ticket
from monitoring import log

__all__ = ["deliver", "open_hands"]

_log = log.get("exchange.deliver")

declare("deliver.claimed", "claimed; nothing was prepared")
declare("deliver.staged", "staged where the recipient cannot see it; no attempt is written")
declare("deliver.attempt_committed", "the attempt is written; nothing was sent")
declare("deliver.handed_over", "the recipient has it; nobody wrote it down")
declare("deliver.concluded", "written down")


def deliver(
    node: Node,
    tickets: Sequence[Ticket],
    *,
    is_ending: Callable[[], bool] | None = None,
    hands: Hands[Work] | None = None,
    give_way: Callable[[], None] = lambda: None,
    step: Callable[[], AbstractContextManager[None]] = nullcontext,
) -> tuple[SinkOutcome | None, ...]:
    """Hand over what these tickets hint at; an outcome per ticket, None where it was not (or no longer) ours.

    With `hands` (`open_hands`) they are handed over channel beside channel, and None stands also for what is not
    answered yet: that is written down when it is, after this returned.  Without, one after the other.

    Once `is_ending` says so nothing more is begun: what was claimed goes back at once, and one hand-over is ended.
    Until then what was claimed is reported however long the store is away (rule 8), and only then is its error raised;
    without `is_ending` the store is tried once.
    `give_way` is called between two steps, with no transaction open and nothing in a sink's hands: it may wait; so may
    `step` before its block, in which this asks the database and talks to nobody else.
    What a sink or the store raises of one work, and nobody foresaw, is raised when the others are done; that one stays
    claimed, and its claim counts as that of a worker that died (rule 8).
    May run twice and at the same time on the same tickets: the claim is one conditional update, the attempt another.
    Crash points: deliver.claimed, deliver.staged, deliver.attempt_committed, deliver.handed_over, deliver.concluded.
    """
    began = _boot_now()
    with step():
        works = [Work(claimed) for claimed in claim_group(node, tickets, is_ending=is_ending)]
    if not works:
        return (None,) * len(tickets)
    crash_point("deliver.claimed")
    try:
        left = _carry(node, works, _Lease(node, works, began), is_ending or _never, hands, give_way, step)
    except StoreError as why:
        left = _broken_off(works, why)
    in_time = [work for work in works if work not in left.late]
    crash_point("deliver.handed_over")
    conclude_all(node, [work for work in in_time if work.outcome is not None], is_ending=is_ending, step=step)
    crash_point("deliver.concluded")
    for failure in (left.failure, *(work.failure for work in in_time)):
        if failure is not None:
            raise failure
    outcomes = {work.claimed.transfer_id: work.outcome for work in in_time}
    return tuple(outcomes.get(ticket.transfer_id) for ticket in tickets)


def _never() -> bool:
    return False


def _carry(
    node: Node,
    works: Sequence[Work],
    lease: _Lease,
    is_ending: Callable[[], bool],
    hands: Hands[Work] | None,
    give_way: Callable[[], None],
    step: Callable[[], AbstractContextManager[None]],
) -> Outstanding[Work]:
    """All between the claim and what is written down at the end; gives what is left to its hands."""
    _put_off_risky(works)

    def prepare(work: Work) -> None:
        for one in (partial(_look, node), partial(_stage, node, lease)):
            give_way()
            lease.keep()
            _before(node, work, is_ending)
            one(work)

    def hand_over(work: Work) -> None:
        """What keeps one in doubt from its attempt is told when the others are done."""
        try:
            if work.is_doubtful():
                _try(prepare, work)
                _begin_staged(node, [work], step)
        except StoreError as why:
            _broken_off([work], why)
            work.failure = why
        if work.staged is not None:
            _before(node, work, is_ending)
            _hand_over(work)

    doubtful = [work for work in works if work.is_doubtful()]
    certain = [work for work in works if work not in doubtful]
    for work in certain:
        _try(prepare, work)
    _begin_staged(node, certain, step)
    give_way()
    return _hand_over_all([*(work for work in certain if work.staged is not None), *doubtful], hand_over, lease, hands)


def _broken_off(works: Sequence[Work], why: StoreError) -> Outstanding[Work]:
    """The store went away before all were handed over: what was not sent surely did not arrive, and goes back."""
    for work in works:
        if work.outcome is None and work.failure is None and not work.was_sent:
            work.put_off()
    return Outstanding(late=frozenset(), failure=why)


def open_hands(
    node: Node,
    most: int,
    *,
    slow_from: float = channels.SLOW_FROM,
    is_ending: Callable[[], bool] | None = None,
    give_way: Callable[[], None] = lambda: None,
) -> Hands[Work]:
    """Hands for up to `most` hand-overs at once; from `slow_from` seconds on a channel counts as slow. Close them.

    `is_ending`: until it says so what ended late is written down however long the store is away; None: tried once.
    `give_way`: called between the hand-overs of different channels; it may wait.
    """

    def conclude_late(works: Sequence[Work]) -> None:
        crash_point("deliver.handed_over")
        conclude_all(node, [work for work in works if work.outcome is not None], is_ending=is_ending)
        crash_point("deliver.concluded")
        node.transport.wake("relay")  # places of their channels are free again
        for work in works:
            if work.outcome is None and work.failure is not None:
                _log.warning("delivery.late_failed", transfer=work.claimed.transfer_id, exc_info=work.failure)

    @repeated_where_undone
    def note_slow(channel_id: str) -> None:
        with node.store.write() as connection:
            channels.note_slow(connection, channel_id)

    return Hands(
        most=most, group=node.group, conclude=conclude_late, note_slow=note_slow, slow_from=slow_from,
        give_way=give_way,
    )  # fmt: skip


class _Lease:
    """Keeps the claims of a group while its worker lives; `ends` is when they would run out, on the boot-time clock."""

    def __init__(self, node: Node, works: Sequence[Work], began: float) -> None:
        """`began`: when they were claimed or before, on the same clock."""
        self._node = node
        self._works = works
        self.ends = began + node.pace.lease / 1e6

    @repeated_where_undone
    def keep(self) -> None:
        """Renew once a third of the lease has passed."""
        if _boot_now() < self.ends - self._node.pace.lease / 1e6 * 2 / 3:
            return
        started = _boot_now()
        with self._node.store.write() as connection:
            until = self._node.store.now(connection) + self._node.pace.lease
            claims.renew_leases(connection, [(w.claimed.transfer_id, w.claimed.turn) for w in self._works], until)
        self.ends = started + self._node.pace.lease / 1e6


def _boot_now() -> float:
    return boot_now() / 1e6


# --- before anything is sent ------------------------------------------------------------------------------------


def _before(node: Node, work: Work, is_ending: Callable[[], bool]) -> None:
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


def _put_off_risky(works: Sequence[Work]) -> None:
    """What turned out slow or broken off since it was announced: among others it would make them wait."""
    if len(works) > 1:
        for work in works:
            if work.claimed.is_risky:
                work.put_off()


def _try(prepare: Callable[[Work], None], work: Work) -> None:
    """`prepare` of one work: a defect that it meets is no neighbour's. A busy store is everybody's."""
    try:
        prepare(work)
    except StoreError:
        raise
    except Exception as why:  # noqa: BLE001 - raised when the others are done
        work.failure = why


def _look(node: Node, work: Work) -> None:
    """Rule 5: park what is in doubt on a blind sink; ask a checkable one whether it arrived."""
    if work.outcome is not None:
        return
    acts = {next_act(link) for link in work.claimed.links}
    if Act.PARK in acts:
        work.outcome = Park(reason=str(Reason.OUTCOME_UNKNOWN))
    elif Act.LOOK in acts:
        started, asked = time.monotonic(), node.store.reckoning.clock.boot_now()
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
            work.claimed = work.claimed.without(_note_absent(node, work, asked))


@repeated_where_undone
def _note_absent(node: Node, work: Work, asked: int) -> list[str]:
    """`find`, `asked` at that boot time, said no: which deliveries went back instead of going on (an attempt was open
    then, or a recall waits)."""
    with node.store.write() as connection:
        now = node.store.now(connection)
        chains = load(connection, work.claimed.chain_ids, of=work.claimed.delivery_ids).chains
        ago = node.store.reckoning.clock.boot_now() - asked
        planned = []
        for chain in chains.values():
            for link in chain:
                is_ours = link.delivery_id in work.claimed.delivery_ids and link.turn == work.claimed.turn
                if is_ours and link.state is DeliveryState.CLAIMED:
                    step = absent(chain, link, now, ago=ago)
                    planned.append(Planned(chain_id=chain.id, delivery_id=link.delivery_id, step=step))
        effects = advance(connection, chains, planned, pace=node.pace, now=now, at=node.now(), actor=node.worker)
    give_wakes(node, effects)
    return [plan.delivery_id for plan in planned if plan.step.move is not None]


def _stage(node: Node, lease: _Lease, work: Work) -> None:
    if work.outcome is not None or not work.claimed.links:
        return
    try:
        sink = node.channels.sink(work.claimed.channel_id)
        staged = sink.stage(_item(node, work.claimed, lease.ends))
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
            limit = staged.sending_limit if isinstance(staged, Bounded) else sink.sending_limit
            work.staged, work.limit, work.settle = staged, limit.total_seconds(), sink.settle_time


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


def _begin_staged(node: Node, works: Sequence[Work], step: Callable[[], AbstractContextManager[None]]) -> None:
    crash_point("deliver.staged")
    with step():
        _begin(node, [work for work in works if work.staged is not None])
    crash_point("deliver.attempt_committed")


@repeated_where_undone
def _begin(node: Node, works: Sequence[Work]) -> None:
    """Commit an attempt for each staged transfer that is still ours; the boot-time clock is read before (rule 4).

    Two trips to PostgreSQL: the store's time is asked for once their rows are locked.
    """
    if not works:
        return
    started, reckoning = _boot_now(), node.store.reckoning
    began = reckoning.clock.boot_now()
    claimed = [work.claimed for work in works]
    with node.store.write(asks_first=True) as connection:
        held = attempts.lock_held(connection, (c.transfer_id for c in claimed), {c.packet.id for c in claimed})
        now = node.store.now(connection)
        begun = []
        for work in works:
            work.until = started + work.limit
            lasts = micros(timedelta(seconds=work.limit)) + micros(work.settle)
            landing = reckoning.begins(now, lasts, boot_now=began)
            begun.append(attempts.Begun(transfer_id=work.claimed.transfer_id, turn=work.claimed.turn, landing=landing))
        ours = attempts.begin_attempts(connection, begun, held, worker=node.worker, now=now, is_last=True)
    for work in works:
        if work.claimed.transfer_id not in ours:
            # Stolen from: another worker may have staged under the same key, so nothing is discarded either.
            work.staged = None


def _hand_over_all(
    works: Sequence[Work], step: Callable[[Work], None], lease: _Lease, hands: Hands[Work] | None
) -> Outstanding[Work]:
    """`step` for each; gives what is left to its hands."""
    if hands is not None:
        lanes: dict[str, list[Work]] = defaultdict(list)
        for work in works:
            lanes[work.claimed.channel_id].append(work)
        return hands.hand_over(lanes, step, meanwhile=lease.keep)
    for work in works:
        lease.keep()
        step(work)
    return Outstanding(late=frozenset())


def _hand_over(work: Work) -> None:
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
