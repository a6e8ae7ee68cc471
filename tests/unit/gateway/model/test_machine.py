"""The machine's decisions as tables: chains in, moves out. Drawn as tests.support.chains says."""

from __future__ import annotations

import itertools
from dataclasses import replace

import pytest

from gateway.model import machine
from gateway.model.chain import Chain, Move, Reason, SinkSureness
from gateway.model.instants import MINUTE, SECOND
from gateway.model.machine import Act
from gateway.model.moves import check_move
from gateway.model.states import AttemptEnd, DeliveryState
from gateway.model.step import Pace, Report, Step, backoff, ends_attempt
from tests.support.chains import NOW, attempt, chain, link

PACE = Pace()
S = DeliveryState


def told(moves: tuple[Move, ...]) -> dict[str, str]:
    """Delivery → "state reason"."""
    return {move.delivery_id: f"{move.after} {move.reason}" for move in moves}


def after(step: Step) -> str:
    """ "state reason", "" where nothing moves."""
    return "" if step.move is None else f"{step.move.after} {step.move.reason}"


# --- settle: rule 6 ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("drawn", "moves"),
    [
        ("new:waiting", {"d0": "ready planned"}),
        ("new:delivered update:waiting", {"d1": "ready promoted"}),
        ("new:refused update:waiting", {"d1": "ready promoted"}),
        ("new:expired:lost update:waiting", {"d1": "ready promoted"}),
        ("new:ready update:waiting", {}),
        ("new:parked update:waiting", {}),
        ("new:claimed:open update:waiting replacement:waiting", {}),
        ("new:ready recall:waiting", {"d0": "withdrawn recalled", "d1": "withdrawn nothing_to_recall"}),
        ("new:available recall:waiting", {"d0": "withdrawn recalled", "d1": "withdrawn nothing_to_recall"}),
        ("new:parked:not recall:waiting", {"d0": "withdrawn recalled", "d1": "withdrawn nothing_to_recall"}),
        (
            "new:ready update:waiting recall:waiting",
            {"d0": "withdrawn recalled", "d1": "withdrawn recalled", "d2": "withdrawn nothing_to_recall"},
        ),
        ("new:delivered update:ready recall:waiting", {"d1": "withdrawn recalled", "d2": "ready recall_passed"}),
        ("new:refused recall:waiting", {"d1": "ready recall_passed"}),
        ("new:claimed recall:waiting", {}),
        ("new:fetched:lost recall:waiting", {}),
        ("new:handed_over recall:waiting", {}),
        ("new:ready:open recall:waiting", {}),
        ("new:ready:unsure recall:waiting", {}),
        ("new:ready:lost recall:waiting", {}),
        ("new:claimed:open update:waiting recall:waiting", {"d1": "withdrawn recalled"}),
        ("new:parked:unknown recall:waiting", {}),
        ("new:parked:lost recall:waiting", {"d1": "ready recall_doubtful"}),
        ("new:parked:unsure recall:waiting", {"d1": "ready recall_doubtful"}),
        ("new:expired:lost recall:waiting", {"d1": "ready recall_doubtful"}),
        ("new:expired:not recall:waiting", {"d1": "withdrawn nothing_to_recall"}),
        ("new:withdrawn recall:waiting", {"d1": "withdrawn nothing_to_recall"}),
        ("new:delivered recall:ready update:waiting", {}),
        ("new:delivered recall:delivered update:waiting", {"d2": "ready promoted"}),
    ],
)
def test_settle(drawn: str, moves: dict[str, str]) -> None:
    assert told(machine.settle(chain(drawn), NOW, PACE)) == moves


def test_settle_is_at_rest_after_itself() -> None:
    kinds = ("new", "update", "recall")
    states = (
        "waiting",
        "ready",
        "claimed:open",
        "parked:lost",
        "delivered",
        "withdrawn",
        "expired:lost",
        "expired:not",
    )
    for first, second, third in itertools.product(states, states, ("waiting",)):
        for kind in kinds:
            drawn = chain(f"new:{first} update:{second} {kind}:{third}")
            for move in machine.settle(drawn, NOW, PACE):
                check_move(move.before, move.after)
                drawn = drawn.with_link(drawn.find(move.delivery_id).moved(move.after))
            assert machine.settle(drawn, NOW, PACE) == ()


@pytest.mark.parametrize(
    ("drawn", "waited", "moves"),
    [
        ("recall:waiting", 15 * MINUTE - 1, {}),
        ("recall:waiting", 15 * MINUTE, {"d0": "ready recall_orphan"}),
        ("recall:waiting recall:waiting", 0, {"d0": "withdrawn recalled"}),
        ("recall:withdrawn recall:waiting", 15 * MINUTE, {"d1": "ready recall_orphan"}),
    ],
)
def test_orphans_wait_a_quarter_of_an_hour(drawn: str, waited: int, moves: dict[str, str]) -> None:
    assert told(machine.settle(chain(drawn, accepted_at=NOW - waited), NOW, PACE)) == moves


# --- admit: rules 6 and 12 -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("drawn", "first", "others"),
    [
        ("new:waiting", "ready planned", {}),
        ("recall:waiting", "waiting recall_orphan_waits", {}),
        ("recall:waiting new:waiting", "withdrawn recalled_before", {"d0": "withdrawn nothing_to_recall"}),
        ("recall:ready new:waiting", "withdrawn recalled_before", {"d0": "withdrawn nothing_to_recall"}),
        ("recall:claimed:open new:waiting", "withdrawn recalled_before", {}),
        ("recall:delivered new:waiting", "withdrawn recalled_before", {}),
        ("recall:delivered update:waiting", "withdrawn recalled_before", {}),
        ("recall:delivered replacement:waiting", "withdrawn recalled_before", {}),
        ("update:waiting", "parked document_never_came", {}),
        ("replacement:waiting", "parked document_never_came", {}),
        ("update:parked new:waiting", "ready planned", {}),
        ("update:parked update:waiting", "parked document_never_came", {}),
        ("update:parked:lost new:waiting", "waiting behind_earlier", {}),
        ("update:delivered update:waiting", "ready promoted", {}),
        ("replacement:parked new:waiting", "ready planned", {}),
        ("new:parked update:waiting", "waiting behind_earlier", {}),
        ("new:ready update:waiting", "waiting behind_earlier", {}),
        ("new:delivered update:waiting", "ready promoted", {}),
        ("new:ready recall:waiting", "withdrawn nothing_to_recall", {"d0": "withdrawn recalled"}),
        ("new:claimed recall:waiting", "waiting behind_earlier", {}),
        ("status:delivered status:waiting", "ready promoted", {}),
        ("status:ready status:waiting", "waiting behind_earlier", {}),
    ],
)
def test_admit(drawn: str, first: str, others: dict[str, str]) -> None:
    made = chain(drawn, accepted_at=NOW)
    own, *rest = machine.admit(made, made.links[-1], NOW, PACE)
    assert own.delivery_id == made.links[-1].delivery_id
    assert f"{own.after} {own.reason}" == first
    assert told(tuple(rest)) == others


def test_admit_an_update_that_adds_this_recipient_needs_no_document() -> None:
    made = Chain("c", (link("update:waiting", adds_recipient=True),))
    assert machine.admit(made, made.links[0], NOW, PACE)[0].after is S.READY


@pytest.mark.parametrize(
    ("drawn", "first"),
    [
        ("recall:waiting", "ready recall_archived"),
        ("update:waiting", "ready planned"),
        ("replacement:waiting", "ready planned"),
        ("recall:delivered update:waiting", "ready promoted"),
        ("recall:claimed:open recall:waiting", "waiting behind_earlier"),
        ("update:expired:not recall:waiting", "ready recall_archived"),
        ("update:delivered recall:waiting", "ready recall_passed"),
    ],
)
def test_a_document_that_was_archived_came_and_is_waited_for_no_more(drawn: str, first: str) -> None:
    made = replace(chain(drawn, accepted_at=NOW), is_archived=True)
    own, *others = machine.admit(made, made.links[-1], NOW, PACE)
    assert f"{own.after} {own.reason}" == first
    assert others == []


def test_admit_to_a_polled_channel_makes_it_available() -> None:
    made = chain("new:waiting", is_polled=True)
    assert machine.admit(made, made.links[0], NOW, PACE)[0].after is S.AVAILABLE


# --- conclude: rules 4, 5, 8 -----------------------------------------------------------------------------------------

DONE = Report(arrived=True, turn=1, reason=Reason.HANDED_OVER)
NOT = Report(arrived=False, turn=1, reason=Reason.CHANNEL_FAULT)
COUNTED = Report(arrived=False, turn=1, reason=Reason.DOCUMENT_FAULT, counts=True)
UNKNOWN = Report(arrived=None, turn=1, reason=Reason.MAY_HAVE_ARRIVED)
PARK = Report(arrived=False, turn=1, reason=Reason.SINK_PARKED, parks=True)


def conclude(drawn: str, report: Report, **facts: object) -> Step:
    return machine.conclude(link(drawn, **{"turn": 1, **facts}), report, NOW, PACE)


@pytest.mark.parametrize("state", [s for s in S if s not in (S.WAITING, S.DELIVERED, S.REFUSED, S.UNDELIVERABLE)])
@pytest.mark.parametrize("turn", [1, 7])
def test_a_receipt_is_a_fact_in_any_state_and_any_turn(state: DeliveryState, turn: int) -> None:
    step = conclude(f"new:{state}", DONE, turn=turn)
    assert step.move is not None
    assert (step.move.after, step.end) == (S.DELIVERED, AttemptEnd.ARRIVED)
    check_move(step.move.before, step.move.after)
    in_turn = turn == 1 and state in (S.CLAIMED, S.FETCHED, S.HANDED_OVER)
    assert step.move.reason is (Reason.HANDED_OVER if in_turn else Reason.LATE_RECEIPT)


@pytest.mark.parametrize("state", [S.DELIVERED, S.REFUSED, S.UNDELIVERABLE])
def test_a_receipt_of_what_is_delivered_or_refused_adds_nothing(state: DeliveryState) -> None:
    assert conclude(f"new:{state}", DONE).move is None


@pytest.mark.parametrize("report", [NOT, COUNTED, UNKNOWN, PARK])
@pytest.mark.parametrize(("state", "turn"), [(S.CLAIMED, 2), (S.READY, 1), (S.PARKED, 1), (S.WITHDRAWN, 1)])
def test_everything_else_is_fenced_by_the_turn(report: Report, state: DeliveryState, turn: int) -> None:
    step = conclude(f"new:{state}", report, turn=turn)
    assert step.move is None
    assert step.end_turn == report.turn
    assert step.end is (AttemptEnd.UNKNOWN if report is UNKNOWN else AttemptEnd.SURELY_NOT)


@pytest.mark.parametrize(
    ("report", "facts", "expected", "tries"),
    [
        (NOT, {}, "ready channel_fault", 0),
        (COUNTED, {}, "ready document_fault", 1),
        (COUNTED, {"tries": 7}, "parked tried_too_often", 8),
        (NOT, {"tries": 7}, "ready channel_fault", 7),
        (UNKNOWN, {}, "ready may_have_arrived", 0),
        (UNKNOWN, {"sink": SinkSureness.IDEMPOTENT}, "ready may_have_arrived", 0),
        (UNKNOWN, {"sink": SinkSureness.BLIND}, "parked outcome_unknown", None),
        (NOT, {"sink": SinkSureness.BLIND}, "ready channel_fault", 0),
        (PARK, {}, "parked sink_parked", None),
    ],
)
def test_conclude(report: Report, facts: dict[str, object], expected: str, tries: int | None) -> None:
    step = conclude("new:claimed", report, **facts)
    assert (after(step), step.tries) == (expected, tries)


def test_the_wait_doubles_up_to_its_longest() -> None:
    waits = [backoff(tries, PACE) // SECOND for tries in (1, 2, 3, 4, 20, 1000)]
    assert waits == [5, 10, 20, 40, 600, 600]


def test_a_permit_comes_back_only_on_a_blind_sink_in_doubt() -> None:
    assert conclude("new:claimed:lost", NOT, sink=SinkSureness.BLIND).permits == 1
    assert conclude("new:claimed", NOT, sink=SinkSureness.BLIND).permits is None
    assert conclude("new:claimed:lost", NOT).permits is None
    assert conclude("new:claimed:lost", UNKNOWN, sink=SinkSureness.BLIND).permits is None


@pytest.mark.parametrize("state", list(S))
def test_a_refusal_counts_until_it_is_delivered(state: DeliveryState) -> None:
    step = machine.refuse(link(f"new:{state}"), "")
    refuses = state in (S.READY, S.CLAIMED, S.HANDED_OVER, S.AVAILABLE, S.FETCHED, S.PARKED, S.EXPIRED)
    assert after(step) == ("refused refused_by_recipient" if refuses else "")
    if step.move is not None:
        check_move(step.move.before, step.move.after)


# --- next act, absent: rule 5 ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("drawn", "sink", "permits", "act"),
    [
        ("new:claimed", "idempotent", 0, Act.SEND),
        ("new:claimed", "checkable", 0, Act.SEND),
        ("new:claimed", "blind", 0, Act.SEND),
        ("new:claimed:not", "blind", 0, Act.SEND),
        ("new:claimed:open", "idempotent", 0, Act.SEND),
        ("new:claimed:lost", "checkable", 0, Act.LOOK),
        ("new:claimed:open", "checkable", 0, Act.LOOK),
        ("new:claimed:lost", "blind", 0, Act.PARK),
        ("new:claimed:open", "blind", 0, Act.PARK),
        ("new:claimed:lost", "blind", 1, Act.SEND),
    ],
)
def test_next_act(drawn: str, sink: str, permits: int, act: Act) -> None:
    assert machine.next_act(link(drawn, sink=SinkSureness(sink), permits=permits)) is act


@pytest.mark.parametrize(
    ("drawn", "expected"),
    [
        ("new:claimed:lost", ""),
        ("new:claimed:unsure", ""),
        ("new:claimed:open", "ready attempt_still_open"),
        ("new:claimed:unknown", "ready attempt_still_open"),
        ("new:claimed:lost+open", "ready attempt_still_open"),
        ("new:claimed:lost recall:waiting", "ready recalled"),
        ("new:claimed:lost update:waiting", ""),
    ],
)
def test_absent(drawn: str, expected: str) -> None:
    made = chain(drawn)
    step = machine.absent(made, made.links[0], NOW)
    assert after(step) == expected
    if "open" in expected:
        assert step.end is None
        assert step.move is not None
        assert step.move.due_at == NOW + MINUTE
    else:
        assert step.end is AttemptEnd.SURELY_NOT


def test_absent_tells_nothing_about_another_key() -> None:
    made = Chain("c", (link("new:claimed", attempts=(attempt("lost", 0, "old"), attempt("lost", 1, "t0"))),))
    step = machine.absent(made, made.links[0], NOW)
    ends = [ends_attempt(step, one) for one in made.links[0].attempts]
    assert ends == [False, True]
    recalled = Chain("c", (*made.links, link("recall:waiting", 1)))
    assert after(machine.absent(recalled, made.links[0], NOW)) == "parked may_have_arrived"
