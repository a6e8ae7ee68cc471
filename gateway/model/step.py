"""A step (bước): what one decision of the machine changes on one link; the report it answers, the times it goes by."""

from __future__ import annotations

from dataclasses import dataclass

from edxml.values import hasten
from gateway.model.chain import Attempt, Chain, Link, Move, Reason
from gateway.model.copies import altered
from gateway.model.instants import DAY, MINUTE, SECOND
from gateway.model.states import AttemptEnd
from gateway.model.states import DeliveryState as S

__all__ = ["Pace", "Report", "Step", "backoff", "ends_attempt", "first_state", "move_of", "with_step"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """The machine's times and counts; settings may override them. Spans in microseconds."""

    orphan_wait: int = 15 * MINUTE  #: a recall waits so long for its document (protocol §6)
    fetched_wait: int = 15 * MINUTE  #: a recall waits so long for a confirmation after the last response (§10)
    time_limit: int = 30 * DAY  #: a head that nobody confirmed expires (§7)
    lease: int = 60 * SECOND  #: a claim that is not renewed returns (§3)
    announce_again: int = 60 * SECOND  #: what was announced and not claimed is announced again (§3)
    first_wait: int = 5 * SECOND  #: first wait after a failure
    longest_wait: int = 10 * MINUTE  #: longest wait between tries
    tries: int = 8  #: failures of the document's own before it is parked (§8)
    unreported: int = 3  #: claims whose worker never reported before it is parked (§8)


@hasten
@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What a worker says of one hand-over: exactly one of the outcomes of the sink contract.

    `arrived` True: a receipt. False: surely not. None: may have arrived. `parks`: trying again will not help.
    """

    arrived: bool | None
    turn: int
    reason: Reason
    detail: str = ""
    counts: bool = False
    parks: bool = False
    wait: int | None = None


@hasten
@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """What one decision changes on one link: the move (None: none), how its attempt ends, what is counted."""

    move: Move | None
    end: AttemptEnd | None = None
    end_turn: int | None = None  #: the turn whose attempt ends; None: every attempt in doubt
    end_key: str | None = None  #: the delivery key whose attempts end; None: whatever their key
    is_report: bool = True  #: somebody reported what became of the claim: unreported claims are counted anew (rule 8)
    tries: int | None = None  #: the new count of failures; None: unchanged
    permits: int | None = None  #: the new number of permitted attempts; None: unchanged
    goes_last: bool = False  #: from now on it stands behind all others of its chain


def backoff(tries: int, pace: Pace) -> int:
    """Wait before try number `tries` + 1, in microseconds: doubles from the first wait up to the longest."""
    return min(pace.first_wait << min(max(tries - 1, 0), 16), pace.longest_wait)


def first_state(link: Link) -> S:
    """The state in which a head waits for its hand-over: polled channels need no ticket (protocol §10)."""
    return S.AVAILABLE if link.is_polled else S.READY


def move_of(link: Link, after: S, reason: Reason, *, due_at: int | None = None, detail: str = "") -> Move:
    """The move of `link` from its state to `after`."""
    return Move(
        delivery_id=link.delivery_id,
        transfer_id=link.transfer_id,
        before=link.state,
        after=after,
        reason=reason,
        due_at=due_at,
        detail=detail,
    )


def ends_attempt(step: Step, attempt: Attempt) -> bool:
    """Whether this step says how that attempt ended. A known end never changes, except that a receipt is a fact."""
    in_turn = step.end_turn is None or attempt.turn == step.end_turn
    return attempt.is_in_doubt and in_turn and step.end_key in (None, attempt.transfer_id)


def with_step(chain: Chain, link: Link, step: Step, now: int) -> Chain:
    """The chain after a step, for `settle`: the link moved, its doubtful attempts ended as the step says."""
    made = link.attempts
    if step.end is not None:
        made = tuple(altered(a, end=step.end, ended_at=now) if ends_attempt(step, a) else a for a in made)
    after = altered(link, attempts=made, state=link.state if step.move is None else step.move.after)
    return chain.with_last(after) if step.goes_last else chain.with_link(after)
