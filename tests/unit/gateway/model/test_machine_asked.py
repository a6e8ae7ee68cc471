"""After a restore: what a recipient's answer does to a link in doubt (rule 13)."""

from __future__ import annotations

from dataclasses import replace

import pytest

from gateway.model.chain import Attempt, Chain, Link, Reason, SinkSureness
from gateway.model.machine import asked
from gateway.model.states import AttemptEnd, LinkKind
from gateway.model.states import DeliveryState as S
from gateway.model.step import Pace, Step, with_step

NOW = 1_000
PACE = Pace()
LOST = Attempt(id="lost", transfer_id="t", turn=6, over_by=NOW)
LINK = Link(
    delivery_id="d", transfer_id="t", packet_id="p", kind=LinkKind.NEW, state=S.READY, accepted_at=0, turn=7,
    sink=SinkSureness.CHECKABLE, attempts=(LOST,),
)  # fmt: skip


@pytest.mark.parametrize("answer", [True, False, None])
@pytest.mark.parametrize(
    "link",
    [
        replace(LINK, attempts=(replace(LOST, over_by=NOW + 1),)),
        replace(LINK, attempts=()),
        replace(LINK, state=S.WAITING),
        replace(LINK, state=S.WITHDRAWN),
    ],
    ids=["may still land", "nothing in doubt", "waits", "closed"],
)
def test_an_answer_that_says_nothing_changes_nothing(link: Link, answer: bool | None) -> None:
    assert asked(link, answer, NOW, PACE) == Step(move=None)


@pytest.mark.parametrize("state", [S.READY, S.CLAIMED, S.PARKED])
def test_a_yes_is_a_receipt_whatever_the_turn(state: S) -> None:
    step = asked(replace(LINK, state=state), True, NOW, PACE)
    assert step.move is not None
    assert (step.move.after, step.end, step.end_turn) == (S.DELIVERED, AttemptEnd.ARRIVED, None)


def test_a_no_ends_the_doubt_of_its_own_key_alone() -> None:
    other = Attempt(id="resent", transfer_id="before", turn=2, over_by=0)
    link = replace(LINK, attempts=(other, LOST))
    step = asked(link, False, NOW, PACE)
    assert step.move is None
    after = with_step(Chain("c", (link,)), link, step, NOW).links[0]
    assert [attempt.end for attempt in after.attempts] == [None, AttemptEnd.SURELY_NOT]
    assert not step.is_report, "no worker reported: claims that killed theirs stay counted"


def test_what_nobody_can_tell_is_parked_once() -> None:
    step = asked(LINK, None, NOW, PACE)
    assert step.move is not None
    assert (step.move.after, step.move.reason, step.end) == (S.PARKED, Reason.OUTCOME_UNKNOWN, None)
    assert asked(replace(LINK, state=S.PARKED), None, NOW, PACE).move is None
    assert asked(replace(LINK, permits=1), None, NOW, PACE).move is None, "an operator has permitted it"
