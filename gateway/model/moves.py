"""The one table of moves of a delivery. Whatever changes a state asks here first."""

from __future__ import annotations

from gateway.model.states import DeliveryState as S
from gateway.model.states import Holder, TransferState

__all__ = ["ACROSS", "FIRST", "HOLDERS", "MOVES", "TRANSFER_STATES", "check_move", "is_allowed"]

FIRST: frozenset[S] = frozenset({S.WAITING, S.READY, S.AVAILABLE, S.WITHDRAWN, S.UNDELIVERABLE, S.PARKED})
"""States in which a delivery may begin."""

MOVES: dict[S, frozenset[S]] = {
    # What was fetched in the time that a restore lost waits again in the old rows: a receipt of it is a fact (rule 13).
    S.WAITING: frozenset({S.READY, S.AVAILABLE, S.WITHDRAWN, S.PARKED, S.DELIVERED}),
    S.READY: frozenset({S.CLAIMED, S.WITHDRAWN, S.EXPIRED, S.PARKED, S.DELIVERED, S.REFUSED}),
    S.CLAIMED: frozenset({S.READY, S.HANDED_OVER, S.DELIVERED, S.REFUSED, S.PARKED}),
    S.HANDED_OVER: frozenset({S.DELIVERED, S.REFUSED, S.WITHDRAWN, S.EXPIRED, S.PARKED}),
    S.AVAILABLE: frozenset({S.FETCHED, S.DELIVERED, S.WITHDRAWN, S.EXPIRED, S.PARKED, S.REFUSED}),
    S.FETCHED: frozenset({S.DELIVERED, S.REFUSED, S.EXPIRED, S.PARKED}),
    # What an operator lets go on waits for what stands before it in its chain (rule 6).
    S.PARKED: frozenset({S.WAITING, S.READY, S.AVAILABLE, S.DELIVERED, S.REFUSED, S.WITHDRAWN, S.EXPIRED}),
    # A receipt is a fact whenever it comes; an operator may resend what expired or what could not be routed.
    S.EXPIRED: frozenset({S.DELIVERED, S.REFUSED, S.WAITING, S.READY, S.AVAILABLE}),
    S.WITHDRAWN: frozenset({S.DELIVERED}),
    # A refusal is itself proof of arrival, so a later receipt adds nothing.
    S.REFUSED: frozenset(),
    S.DELIVERED: frozenset(),
    S.UNDELIVERABLE: frozenset(),
}

ACROSS: dict[S, frozenset[S]] = {
    S.WAITING: frozenset({S.WAITING}),
    S.READY: frozenset({S.READY, S.AVAILABLE}),
    S.AVAILABLE: frozenset({S.AVAILABLE, S.READY}),
    S.PARKED: frozenset({S.PARKED}),
}
"""Moves to another channel of the same agency (rule 9): what nobody has in hand, as that channel has it wait."""

HOLDERS: dict[S, Holder] = {
    S.WAITING: Holder.AXIS,
    S.READY: Holder.AXIS,
    S.CLAIMED: Holder.AXIS,
    S.HANDED_OVER: Holder.NETWORK,
    S.AVAILABLE: Holder.SOFTWARE,
    S.FETCHED: Holder.SOFTWARE,
    S.DELIVERED: Holder.CLERK,
    S.REFUSED: Holder.SENDER,
    S.WITHDRAWN: Holder.NOBODY,
    S.UNDELIVERABLE: Holder.SENDER,
    S.EXPIRED: Holder.SENDER,
    S.PARKED: Holder.OPERATOR,
}
"""Who must act next in each state, where no better reason is known."""

TRANSFER_STATES: dict[S, TransferState] = {
    S.WAITING: TransferState.WAITING,
    S.READY: TransferState.READY,
    S.CLAIMED: TransferState.CLAIMED,
    S.HANDED_OVER: TransferState.CLAIMED,
    S.AVAILABLE: TransferState.AVAILABLE,
    S.FETCHED: TransferState.FETCHED,
    S.PARKED: TransferState.PARKED,
    S.DELIVERED: TransferState.CLOSED,
    S.REFUSED: TransferState.CLOSED,
    S.WITHDRAWN: TransferState.CLOSED,
    S.UNDELIVERABLE: TransferState.CLOSED,
    S.EXPIRED: TransferState.CLOSED,
}
"""The state of a transfer whose members are all in one state."""


def is_allowed(before: S | None, after: S, *, across: bool = False) -> bool:
    """Whether a delivery may go from `before` (None: does not exist yet) to `after`; `across`: to another channel."""
    if across:
        return before is not None and after in ACROSS.get(before, ())
    return after in (FIRST if before is None else MOVES[before])


def check_move(before: S | None, after: S, *, across: bool = False) -> None:
    """Raises AssertionError for a move that is not in the table: a defect of ours, never of a sender."""
    assert is_allowed(before, after, across=across), f"delivery cannot move from {before} to {after}"
