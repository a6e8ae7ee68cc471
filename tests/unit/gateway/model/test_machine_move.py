"""Moving what waits to another channel (rule 9), as a pure decision."""

from __future__ import annotations

from dataclasses import replace

import pytest

from gateway.model.chain import Attempt, Link, Reason, Refused, SinkSureness
from gateway.model.machine import move
from gateway.model.moves import is_allowed
from gateway.model.states import AttemptEnd, LinkKind
from gateway.model.states import DeliveryState as S
from gateway.model.step import Step

NOW = 1_000_000
LINK = Link(
    delivery_id="d", transfer_id="t", packet_id="p", kind=LinkKind.NEW, state=S.READY, accepted_at=0, tries=3, permits=1
)


def _attempt(end: AttemptEnd | None, over_by: int) -> Attempt:
    return Attempt(id="a", transfer_id="t", turn=0, over_by=over_by, end=end)


@pytest.mark.parametrize(
    ("state", "is_polled", "after"),
    [
        (S.READY, False, S.READY), (S.READY, True, S.AVAILABLE), (S.AVAILABLE, False, S.READY),
        (S.AVAILABLE, True, S.AVAILABLE), (S.WAITING, True, S.WAITING), (S.PARKED, True, S.PARKED),
    ],
)  # fmt: skip
def test_what_was_surely_not_handed_over_moves_in_its_state(state: S, is_polled: bool, after: S) -> None:
    for attempts in ((), (_attempt(AttemptEnd.SURELY_NOT, NOW - 1),)):
        step = move(replace(LINK, state=state, attempts=attempts), "khac", NOW, is_polled=is_polled)
        assert isinstance(step, Step)
        assert step.move is not None
        assert (step.move.after, step.move.channel_id, step.move.reason) == (after, "khac", Reason.MOVED)
        assert is_allowed(state, after, across=True)
        assert step.end is None, "what is known of attempts stays"


@pytest.mark.parametrize("state", [S.CLAIMED, S.FETCHED, S.HANDED_OVER, S.DELIVERED, S.EXPIRED, S.WITHDRAWN])
def test_what_somebody_has_in_hand_or_is_over_stays(state: S) -> None:
    assert move(replace(LINK, state=state), "khac", NOW, is_polled=False) is Refused.ATTEMPT_STILL_OPEN


@pytest.mark.parametrize("end", [None, AttemptEnd.UNKNOWN])
@pytest.mark.parametrize("sink", list(SinkSureness))
def test_an_open_attempt_stays_and_an_unsure_one_goes_to_a_person(end: AttemptEnd | None, sink: SinkSureness) -> None:
    link = replace(LINK, sink=sink, attempts=(_attempt(end, NOW + 1),))
    assert move(link, "khac", NOW, is_polled=False) is Refused.ATTEMPT_STILL_OPEN
    step = move(link, "khac", NOW + 1, is_polled=False)
    assert isinstance(step, Step)
    assert step.move is not None
    assert (step.move.after, step.move.reason, step.move.channel_id) == (S.PARKED, Reason.MAY_HAVE_ARRIVED, "")
    parked = replace(link, state=S.PARKED)
    assert move(parked, "khac", NOW + 1, is_polled=False) is Refused.MAY_HAVE_ARRIVED, "a person has it already"
