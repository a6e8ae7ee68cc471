"""The machine: pure decisions on chains. State in, moves out; the store does exactly what these say.

Each function stands for rules of the protocol page (docs/protocol.md), named in its docstring, and has a test named
for the rule.  All of them run inside a transaction that holds the chain's row lock; `now` is the store's clock.

    admit      a packet joins its chain            rules 6, 12
    settle     what follows from any change        rule 6: recalls withdraw, successors are promoted
    conclude   a worker reports an outcome         rules 4, 5, 8
    next_act   send, look or park                  rule 5
    absent     `find` said no                      rule 5
    asked      an answer after a restore           rules 5, 13
    refuse     the recipient said no               issue A: 02 before delivered
    reclaim    a lease ran out                     rules 3, 8
    expire     time limits                         rules 7, 10
    release    an operator lets it go on           rule 9
    resend     an operator sends it again          rule 9
    move       an operator moves a backlog         rule 9
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from enum import StrEnum

from gateway.model.chain import Chain, Link, Move, Reason, Refused, SinkSureness
from gateway.model.instants import CLOCKS_APART
from gateway.model.states import AttemptEnd, LinkKind
from gateway.model.states import DeliveryState as S
from gateway.model.step import Pace, Report, Step, backoff, first_state, move_of

__all__ = [
    "Act", "absent", "admit", "asked", "conclude", "expire", "move", "next_act", "reclaim", "refuse", "release",
    "resend", "settle",
]  # fmt: skip


# --- a packet joins its chain (rules 6 and 12) -----------------------------------------------------------------


def admit(chain: Chain, link: Link, now: int, pace: Pace) -> tuple[Move, ...]:
    """Decide where a new last link begins and what it does to the links before it.

    `link` is given in state WAITING and is already the chain's last.  The first move returned is always its own
    (before WAITING; equal to WAITING where it has to wait).  Rule 6: a document accepted after its recall is
    withdrawn at once, together with the recall if that is unattempted, and so is an update or a replacement; one
    whose document never came is parked, unless it is what adds this recipient.  A document that was archived came, and
    nothing of it can still move.
    """
    earlier = chain.before(link)
    own = [old for old in earlier if old.document == link.document]
    if link.kind is not LinkKind.RECALL and _are_recalls(own) and not chain.is_archived:
        recalls = [old for old in own if old.is_untouched()]
        return (
            move_of(link, S.WITHDRAWN, Reason.RECALLED_BEFORE),
            *(move_of(old, S.WITHDRAWN, Reason.NOTHING_TO_RECALL) for old in recalls),
        )
    came = chain.came_before(link)
    follows = link.kind is LinkKind.REPLACEMENT and came  # through others it replaces whatever is in its chain by now
    if link.lacks(came) and not follows and not chain.is_archived:
        return (move_of(link, S.PARKED, Reason.DOCUMENT_NEVER_CAME),)
    moves = settle(chain, now, pace)
    first = [move for move in moves if move.delivery_id == link.delivery_id]
    others = [move for move in moves if move.delivery_id != link.delivery_id]
    waits = Reason.BEHIND_EARLIER if earlier else Reason.RECALL_ORPHAN_WAITS
    return (*(first or [move_of(link, S.WAITING, waits)]), *others)


def _are_recalls(links: Sequence[Link]) -> bool:
    return bool(links) and all(link.kind is LinkKind.RECALL for link in links)


# --- what follows from any change (rule 6) ---------------------------------------------------------------------


def settle(chain: Chain, now: int, pace: Pace) -> tuple[Move, ...]:
    """All moves that rule 6 demands of a chain as it stands now; empty when it is at rest.

    Called after every other change, in the same transaction.  Recalls first, the newest first, so that nothing is
    promoted that a recall behind it withdraws; then successors, oldest first.
    """
    moves: dict[str, Move] = {}
    for old in reversed(chain.links):
        link = chain.find(old.delivery_id)  # a later recall may have withdrawn this one
        if link.kind is LinkKind.RECALL and link.state is S.WAITING:
            for move in _settle_recall(chain, link, now, pace):
                moves[move.delivery_id] = move
                chain = chain.with_link(chain.find(move.delivery_id).moved(move.after))
    for link in chain.links:
        if link.kind is not LinkKind.RECALL and link.state is S.WAITING and _may_follow(chain.ahead(link)):
            move = _at_its_turn(chain, link)
            moves[link.delivery_id] = move
            if link is not chain.links[-1]:  # somebody comes after it
                chain = chain.with_link(link.moved(move.after))
    return tuple(moves.values())


def _at_its_turn(chain: Chain, link: Link) -> Move:
    """It goes, unless what is newer arrived or may have: nothing old follows the new (rule 6a)."""
    if _came_too_late(chain, link):
        return move_of(link, S.WITHDRAWN, Reason.SUPERSEDED)
    return move_of(link, first_state(link), Reason.PROMOTED if chain.ahead(link) else Reason.PLANNED)


def _came_too_late(chain: Chain, link: Link) -> bool:
    return any(_arrived_or_may_have(newer) for newer in chain.newer(link))


def _may_follow(earlier: tuple[Link, ...]) -> bool:
    """Nothing before it can still move by itself; a parked head makes successors wait (rule 6)."""
    return all(link.state.is_final for link in earlier)


def _settle_recall(chain: Chain, recall: Link, now: int, pace: Pace) -> list[Move]:
    """Withdraw *every* earlier untouched packet of its document, wait for the others, then go on or end (rule 6).

    What was archived is waited for no more and may have arrived: the recall goes on, with a finding.  One that was
    accepted in the future, by a clock that was ahead, has waited long enough for its document (rule 13).
    """
    earlier = chain.before(recall)
    moves = [move_of(link, S.WITHDRAWN, Reason.RECALLED) for link in earlier if link.is_untouched()]
    if not chain.is_archived and all(link.kind is LinkKind.RECALL for link in earlier):
        if recall.accepted_at - CLOCKS_APART <= now < recall.accepted_at + pace.orphan_wait:
            return moves
        return [*moves, move_of(recall, first_state(recall), Reason.RECALL_ORPHAN)]
    gone = {move.delivery_id for move in moves}
    left = [link for link in earlier if link.delivery_id not in gone]
    if any(not _lets_recall_pass(link, now) for link in left):
        return moves
    if not any(_arrived_or_may_have(link) for link in left):
        if chain.is_archived:
            return [*moves, move_of(recall, first_state(recall), Reason.RECALL_ARCHIVED)]
        return [*moves, move_of(recall, S.WITHDRAWN, Reason.NOTHING_TO_RECALL)]
    doubtful = any(link.state in (S.PARKED, S.EXPIRED) for link in left)
    reason = Reason.RECALL_DOUBTFUL if doubtful else Reason.RECALL_PASSED
    return [*moves, move_of(recall, first_state(recall), reason)]


def _lets_recall_pass(link: Link, now: int) -> bool:
    """Final, or parked in doubt with nothing open: frozen, so the recall goes on with a finding (rule 6)."""
    return link.state.is_final or (link.state is S.PARKED and not link.has_open_attempt(now))


def _arrived_or_may_have(link: Link) -> bool:
    if link.state in (S.DELIVERED, S.REFUSED):
        return True
    return link.state in (S.EXPIRED, S.PARKED) and link.may_have_arrived()


# --- a worker reports (rules 3, 4, 5, 8) -----------------------------------------------------------------------


def conclude(link: Link, report: Report, now: int, pace: Pace) -> Step:
    """What one outcome does to one link.

    `arrived` is a fact from any turn and in any state (rule 4).  Everything else is fenced: out of turn it only
    ends its own attempt.  A failure of the channel is not counted against the document; a failure of its own is,
    and parks it in the end (rule 8).  What may have arrived is parked on a blind sink, else looked up or sent
    again (rule 5).
    """
    turn = report.turn
    if report.arrived:
        return Step(move=_receipt(link, report), end=AttemptEnd.ARRIVED, end_turn=turn)
    end = AttemptEnd.UNKNOWN if report.arrived is None else AttemptEnd.SURELY_NOT
    if link.turn != turn or link.state is not S.CLAIMED:
        return Step(move=None, end=end, end_turn=turn)
    if report.parks:
        return Step(move=move_of(link, S.PARKED, report.reason, detail=report.detail), end=end, end_turn=turn)
    if report.arrived is None and link.sink is SinkSureness.BLIND:
        parked = move_of(link, S.PARKED, Reason.OUTCOME_UNKNOWN, detail=report.detail)
        return Step(move=parked, end=end, end_turn=turn)
    tries = link.tries + report.counts
    if tries >= pace.tries:
        parked = move_of(link, S.PARKED, Reason.TRIED_TOO_OFTEN, detail=report.detail)
        return Step(move=parked, end=end, end_turn=turn, tries=tries)
    wait = report.wait if report.wait is not None else backoff(max(tries, 1), pace)
    back = move_of(link, S.READY, report.reason, due_at=now + wait, detail=report.detail)
    return Step(move=back, end=end, end_turn=turn, tries=tries, permits=_permit_back(link, end, turn))


def _permit_back(link: Link, end: AttemptEnd, turn: int) -> int | None:
    """On a blind sink in doubt, an attempt that surely did not arrive gives its permit back (rule 9)."""
    others = replace(link, attempts=tuple(a for a in link.attempts if a.turn != turn))
    gives_back = link.sink is SinkSureness.BLIND and end is AttemptEnd.SURELY_NOT and others.is_in_doubt()
    return 1 if gives_back else None


def _receipt(link: Link, report: Report) -> Move | None:
    if link.state in (S.DELIVERED, S.REFUSED, S.UNDELIVERABLE):
        return None
    in_turn = link.state in (S.CLAIMED, S.FETCHED, S.HANDED_OVER) and link.turn == report.turn
    reason = report.reason if in_turn else Reason.LATE_RECEIPT
    return move_of(link, S.DELIVERED, reason, detail=report.detail)


def refuse(link: Link, reason_detail: str) -> Step:
    """The recipient refused (transport refusal or status 02): before delivered it ends refused, later it is news only.

    NĐ 30/2020 art. 21.2 lets the recipient return a document that fails its check; the sender is told why.
    """
    if link.state in (S.DELIVERED, S.REFUSED, S.WITHDRAWN, S.UNDELIVERABLE, S.WAITING):
        return Step(move=None)
    move = move_of(link, S.REFUSED, Reason.REFUSED_BY_RECIPIENT, detail=reason_detail)
    return Step(move=move, end=AttemptEnd.ARRIVED)


# --- time passes (rules 3, 7, 8, 10) ---------------------------------------------------------------------------


def reclaim(link: Link, now: int, pace: Pace) -> Step:
    """A claim whose lease ran out returns to ready, or parks when its workers died too often (rules 3 and 8).

    The attempt, if any, stays as it is: open until it is over, unsure after it.  The transfer is due at once all the
    same: a yes of `find` is a receipt whenever it comes, and only a no has to wait until nothing is open (rule 5).
    """
    if link.state is not S.CLAIMED:
        return Step(move=None)
    if link.unreported >= pace.unreported:
        return Step(move=move_of(link, S.PARKED, Reason.WORKERS_DIED), is_report=False)
    return Step(move=move_of(link, S.READY, Reason.WORKER_LOST, due_at=now), is_report=False)


def expire(chain: Chain, link: Link, now: int, pace: Pace) -> Step:
    """Close what nobody confirmed in time (rules 7 and 10). Never touches a claim or an open attempt.

    A fetched item whose recall waits closes 15 minutes after its last response ended, and at once where that was by a
    clock that has been set right since (rule 13); everything else at the time limit, counted from when it became head.
    """
    if link.state.is_final or link.state in (S.WAITING, S.CLAIMED) or link.has_open_attempt(now):
        return Step(move=None)
    if link.is_polled and link.is_in_doubt() and chain.has_recall_waiting(link):
        last = max((a.ended_at or a.open_until(now) for a in link.attempts), default=link.accepted_at)
        if now >= last + pace.fetched_wait or last > now + CLOCKS_APART:
            return Step(move=move_of(link, S.EXPIRED, Reason.NOT_CONFIRMED_IN_TIME))
        return Step(move=None)
    since = link.head_since if link.head_since is not None else link.accepted_at
    if now < since + pace.time_limit:
        return Step(move=None)
    return Step(move=move_of(link, S.EXPIRED, Reason.TIME_LIMIT))


# --- operators (rule 9) ----------------------------------------------------------------------------------------


def release(chain: Chain, link: Link, now: int) -> Step | Refused:
    """Let a parked delivery go on; a Refused says why not.

    Refused while an attempt is open, when it is frozen (in doubt, with a recall behind it) or when a later packet of
    its document, or of what replaces that, has started.  On a blind sink in doubt it permits exactly one attempt.  What
    stands before it goes first; what is in doubt is refused until then.  An orphan goes last, behind a document that
    came since, or no more where what is newer arrived (rule 6a).
    """
    if link.state is not S.PARKED:
        return Refused.NOT_PARKED
    if link.has_open_attempt(now):
        return Refused.ATTEMPT_STILL_OPEN
    later = chain.after(link)
    if later and chain.is_orphan(link):
        return _release_last(chain, link, now)
    if any(other.state is not S.WAITING and _is_newer(chain, other, link) for other in later):
        return Refused.BEHIND_EARLIER
    if link.is_in_doubt() and any(other.kind is LinkKind.RECALL for other in later):
        return Refused.MAY_HAVE_ARRIVED
    return _goes_on(chain, link, Reason.RELEASED, now)


def _release_last(chain: Chain, link: Link, now: int) -> Step | Refused:
    if _came_too_late(chain, link):
        return Step(move=move_of(link, S.WITHDRAWN, Reason.SUPERSEDED))
    return _goes_on(chain.with_last(link), link, Reason.RELEASED, now, goes_last=True)


def resend(chain: Chain, link: Link, now: int, *, channel_id: str = "") -> Step | Refused:
    """Send the newest packet of its document again, as a new transfer with a new key; a Refused says why not (rule 9).

    On the channel `channel_id`, whose facts `link` has; "": on the one that it had.
    """
    if link.state not in (S.PARKED, S.EXPIRED):
        return Refused.NOT_RESENDABLE
    if any(other.has_open_attempt(now) for other in chain):
        return Refused.ATTEMPT_STILL_OPEN
    if any(_is_newer(chain, other, link) or _is_newer(chain, link, other) for other in chain.after(link)):
        return Refused.BEHIND_EARLIER
    return _goes_on(chain, link, Reason.RESENT, now, channel_id=channel_id)


def _is_newer(chain: Chain, later: Link, link: Link) -> bool:
    """It is of the same document, or of what replaced that; others of the family may have gone before the tie."""
    return later.document == link.document or later in chain.newer(link)


def _goes_on(
    chain: Chain, link: Link, reason: Reason, now: int, *, channel_id: str = "", goes_last: bool = False
) -> Step | Refused:
    """It goes on behind what it waits for all the same, but never waits in doubt (rule 6).

    While it waited, its refusal would not count, and a recall of it would stand still behind what it waits for.
    """
    ahead, is_recall = chain.ahead(link), link.kind is LinkKind.RECALL
    waits = not (all(_lets_recall_pass(k, now) for k in ahead) if is_recall else _may_follow(ahead))
    if waits and link.is_in_doubt():
        return Refused.EARLIER_NOT_DONE
    own = move_of(link, S.WAITING if waits else first_state(link), reason, due_at=now)
    return Step(move=replace(own, channel_id=channel_id), tries=0, permits=_permit(link), goes_last=goes_last)


def vouch(link: Link) -> Step | Refused:
    """A person asked the recipient, which has it: a receipt by word; a Refused says why that is not taken (rule 9).

    Only of what is parked or expired in doubt: of what surely did not arrive no word is taken, it is released.  Open
    attempts do not matter: what arrived stays arrived.
    """
    if link.state not in (S.PARKED, S.EXPIRED) or not link.is_in_doubt():
        return Refused.NOTHING_IN_DOUBT
    return Step(move=move_of(link, S.DELIVERED, Reason.VOUCHED), end=AttemptEnd.ARRIVED)


def move(link: Link, channel_id: str, now: int, *, is_polled: bool) -> Step | Refused:
    """Let it wait on another channel of its agency; a Refused says why it stays where it is (rule 9).

    Delivery keys do not cross channels: never with an open attempt, and what is in doubt goes to a person.  Its state
    stays, but for ready and available, which follow the channel; its time limit goes on.
    """
    held = link.state in (S.CLAIMED, S.FETCHED, S.HANDED_OVER)
    if link.state.is_final or held or link.has_open_attempt(now):
        return Refused.ATTEMPT_STILL_OPEN
    if link.is_in_doubt():
        if link.state is S.PARKED:
            return Refused.MAY_HAVE_ARRIVED
        return Step(move=move_of(link, S.PARKED, Reason.MAY_HAVE_ARRIVED), is_report=False)
    stays = link.state in (S.WAITING, S.PARKED)
    after = link.state if stays else S.AVAILABLE if is_polled else S.READY
    moved = replace(move_of(link, after, Reason.MOVED, due_at=now), channel_id=channel_id)
    return Step(move=moved, tries=None if link.state is S.PARKED else 0)


def _permit(link: Link) -> int | None:
    """One attempt, where only a person may permit it."""
    return 1 if link.sink is SinkSureness.BLIND and link.is_in_doubt() else None


# --- what a worker may do with a claim (rules 4, 5) ------------------------------------------------------------


class Act(StrEnum):
    """What a worker does next with a link it has claimed."""

    SEND = "send"  #: stage, commit the attempt, hand over
    LOOK = "look"  #: ask `find(key)` first
    PARK = "park"  #: in doubt on a blind sink and no operator permitted another attempt


def next_act(link: Link) -> Act:
    """Rule 5: an idempotent sink is sent to again, a checkable one is asked first, on a blind one a person decides."""
    if not link.is_in_doubt() or link.sink is SinkSureness.IDEMPOTENT:
        return Act.SEND
    if link.sink is SinkSureness.CHECKABLE:
        return Act.LOOK
    return Act.SEND if link.permits else Act.PARK


def absent(chain: Chain, link: Link, now: int, *, ago: int = 0) -> Step:
    """`find` said no. It counts only when no attempt is open; until then the transfer goes back, uncounted (rule 5).

    None may have been open when the question was put, `ago` microseconds before `now`: it may have landed since.
    With a recall waiting, a counting no returns the transfer instead of sending, and `settle` withdraws it; what is
    in doubt under another key cannot be withdrawn: it is parked, and the recall goes on.
    """
    open_until = max((a.open_until(now) for a in link.attempts if a.is_open(now, ago=ago)), default=None)
    if open_until is not None:
        return Step(move=move_of(link, S.READY, Reason.ATTEMPT_STILL_OPEN, due_at=max(now, open_until)))
    if not chain.has_recall_waiting(link):
        return Step(move=None, end=AttemptEnd.SURELY_NOT, end_key=link.transfer_id, is_report=False)
    if link.is_in_doubt_elsewhere():
        back = move_of(link, S.PARKED, Reason.MAY_HAVE_ARRIVED)
    else:
        back = move_of(link, S.READY, Reason.RECALLED, due_at=now)
    return Step(move=back, end=AttemptEnd.SURELY_NOT, end_key=link.transfer_id)


# --- after a restore (rule 13) ---------------------------------------------------------------------------------


def asked(link: Link, has_arrived: bool | None, now: int, pace: Pace, *, ago: int = 0) -> Step:
    """What a recipient's answer does to a link in doubt while the node recovers from a restore; None: nobody can tell.

    A yes is a receipt.  A no counts, since nothing was open as the question was put, `ago` microseconds before `now`,
    and leaves the link where it is: it goes out, or a recall behind it withdraws it, like one that nobody has tried
    (rule 6).  What nobody can tell, a person decides.
    """
    is_open = link.has_open_attempt(now, ago=ago if has_arrived is False else 0)
    if is_open or not link.is_in_doubt() or link.state.is_final or link.state is S.WAITING:
        return Step(move=None)
    if has_arrived:
        report = Report(arrived=True, turn=link.turn, reason=Reason.FOUND)
        return replace(conclude(link, report, now, pace), end_turn=None)
    if has_arrived is None:
        parks = link.state is not S.PARKED and not link.permits
        return Step(move=move_of(link, S.PARKED, Reason.OUTCOME_UNKNOWN) if parks else None, is_report=False)
    return Step(move=None, end_key=link.transfer_id, end=AttemptEnd.SURELY_NOT, is_report=False)
