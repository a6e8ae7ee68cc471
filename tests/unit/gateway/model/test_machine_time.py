"""The machine's decisions of time and of operators, and its table of moves. Drawn as tests.support.chains says."""

from __future__ import annotations

from dataclasses import replace

import pytest

from gateway.model import machine
from gateway.model.chain import Chain, Link, Refused, SinkSureness
from gateway.model.instants import DAY, MINUTE, SECOND
from gateway.model.moves import FIRST, HOLDERS, MOVES, check_move, is_allowed
from gateway.model.states import DeliveryState
from gateway.model.step import Pace, Step
from tests.support.chains import NOW, attempt, chain, link

PACE = Pace()
S = DeliveryState


def after(step: Step | Refused) -> str:
    """ "state reason", "" where nothing moves, or the reason of a refusal."""
    if isinstance(step, Refused):
        return f"no: {step}"
    return "" if step.move is None else f"{step.move.after} {step.move.reason}"


# --- time: rules 3, 7, 8, 10 -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("drawn", "unreported", "expected"),
    [
        ("new:claimed", 1, "ready worker_lost"),
        ("new:claimed", 2, "ready worker_lost"),
        ("new:claimed", 3, "parked workers_died"),
        ("new:ready", 3, ""),
        ("new:delivered", 3, ""),
    ],
)
def test_reclaim(drawn: str, unreported: int, expected: str) -> None:
    step = machine.reclaim(link(drawn, unreported=unreported), NOW, PACE)
    assert after(step) == expected
    assert step.end is None
    assert step.move is None or not step.is_report


@pytest.mark.parametrize("state", list(S))
def test_expiry_at_the_limit(state: DeliveryState) -> None:
    old = link(f"new:{state}:lost", head_since=NOW - 30 * DAY)
    step = machine.expire(Chain("c", (old,)), old, NOW, PACE)
    expires = state in (S.READY, S.AVAILABLE, S.FETCHED, S.HANDED_OVER, S.PARKED)
    assert after(step) == ("expired time_limit" if expires else "")
    young = link(f"new:{state}:lost", head_since=NOW - 30 * DAY + 1)
    assert after(machine.expire(Chain("c", (young,)), young, NOW, PACE)) == ""


def test_a_recall_waits_from_the_end_of_the_last_response() -> None:
    """Two pollers fetched it: fifteen minutes count from the later one's end."""
    first, last = (replace(attempt("lost", turn), ended_at=NOW - ago * MINUTE) for turn, ago in enumerate((30, 14)))
    drawn = chain("new:fetched:lost recall:waiting", is_polled=True)
    fetched = replace(drawn.links[0], attempts=(first, last))
    drawn = drawn.with_link(fetched)
    assert after(machine.expire(drawn, fetched, NOW, PACE)) == ""
    assert after(machine.expire(drawn, fetched, NOW + MINUTE, PACE)) == "expired not_confirmed_in_time"


def test_nothing_is_resent_while_an_earlier_one_of_its_chain_is_open() -> None:
    drawn = chain("new:delivered:open update:expired")
    assert after(machine.resend(drawn, drawn.links[1], NOW)) == "no: attempt_still_open"


@pytest.mark.parametrize("what", ["open", "unknown", "lost+open"])
def test_expiry_spares_open_attempts(what: str) -> None:
    held = link(f"new:ready:{what}", head_since=NOW - 31 * DAY)
    assert machine.expire(Chain("c", (held,)), held, NOW, PACE).move is None


def test_a_fetched_item_under_a_recall_closes_after_its_last_response() -> None:
    made = chain("new:fetched:lost recall:waiting", is_polled=True)
    item = made.links[0]  # its response ended a minute ago
    assert machine.expire(made, item, NOW + 14 * MINUTE - 1, PACE).move is None
    assert after(machine.expire(made, item, NOW + 14 * MINUTE, PACE)) == "expired not_confirmed_in_time"
    served = chain("new:fetched:lost+open recall:waiting", is_polled=True)
    assert machine.expire(served, served.links[0], NOW + 59 * SECOND, PACE).move is None


# --- operators: rule 9 ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("drawn", "expected"),
    [
        ("new:parked", "ready released"),
        ("new:parked:lost", "ready released"),
        ("new:parked:open", "no: attempt_still_open"),
        ("new:parked:unknown", "no: attempt_still_open"),
        ("new:parked:lost recall:waiting", "no: may_have_arrived"),
        ("new:parked:lost recall:ready", "no: behind_earlier"),
        ("new:parked update:waiting", "ready released"),
        ("new:parked update:delivered", "no: behind_earlier"),
        ("new:ready", "no: not_parked"),
        ("new:expired", "no: not_parked"),
    ],
)
def test_release(drawn: str, expected: str) -> None:
    made = chain(drawn)
    assert after(machine.release(made, made.links[0], NOW)) == expected


@pytest.mark.parametrize(
    ("drawn", "expected"),
    [
        ("new:parked", "ready resent"),
        ("new:expired:lost", "ready resent"),
        ("new:expired:open", "no: attempt_still_open"),
        ("new:parked update:waiting", "no: behind_earlier"),
        ("new:expired update:delivered", "no: behind_earlier"),
        ("new:delivered", "no: not_resendable"),
        ("new:ready", "no: not_resendable"),
    ],
)
def test_resend(drawn: str, expected: str) -> None:
    made = chain(drawn)
    assert after(machine.resend(made, made.links[0], NOW)) == expected


@pytest.mark.parametrize("before", ["ready", "available", "claimed:open", "handed_over:open", "parked"])
def test_what_an_operator_lets_go_on_waits_for_what_stands_before_it(before: str) -> None:
    made = chain(f"new:{before} update:parked:not", is_polled=True)
    assert after(machine.release(made, made.links[1], NOW)) == "waiting released"
    doubtful = chain(f"new:{before} update:parked:lost", is_polled=True)
    assert after(machine.release(doubtful, doubtful.links[1], NOW)) == "no: earlier_not_done"
    made = chain(f"new:{before.removesuffix(':open')} update:expired:not", is_polled=True)
    assert after(machine.resend(made, made.links[1], NOW)) == "waiting resent"
    doubtful = chain(f"new:{before.removesuffix(':open')} update:expired:lost", is_polled=True)
    assert after(machine.resend(doubtful, doubtful.links[1], NOW)) == "no: earlier_not_done"
    made = chain("new:expired update:parked:lost", is_polled=True)
    assert after(machine.release(made, made.links[1], NOW)) == "available released"


@pytest.mark.parametrize("drawn", ["new:parked:lost recall:parked:lost", "new:parked:lost recall:parked:not"])
def test_a_recall_that_is_let_go_on_passes_what_is_frozen(drawn: str) -> None:
    made = chain(drawn)
    assert after(machine.release(made, made.links[1], NOW)) == "ready released"
    assert after(machine.resend(made, made.links[1], NOW)) == "ready resent"


@pytest.mark.parametrize(
    ("drawn", "expected"),
    [
        ("update:parked", "ready released"),
        ("update:parked new:ready", "waiting released"),
        ("update:parked:not new:claimed:open", "waiting released"),
        ("update:parked new:delivered update:waiting", "waiting released"),
        ("update:parked new:delivered update:delivered", "ready released"),
        ("update:parked update:parked", "ready released"),
        ("update:parked:lost new:waiting", "ready released"),
        ("update:parked:lost new:delivered", "no: behind_earlier"),
    ],
)
def test_a_released_orphan_goes_last(drawn: str, expected: str) -> None:
    made = chain(drawn)
    assert after(machine.release(made, made.links[0], NOW)) == expected


@pytest.mark.parametrize(
    ("drawn", "expected"),
    [
        ("new:parked:lost", "delivered vouched"),
        ("new:parked:open update:waiting", "delivered vouched"),
        ("new:parked:lost recall:ready", "delivered vouched"),
        ("new:expired:unknown", "delivered vouched"),
        ("new:parked", "no: nothing_in_doubt"),
        ("new:parked:not", "no: nothing_in_doubt"),
        ("new:ready:lost", "no: nothing_in_doubt"),
        ("new:delivered", "no: nothing_in_doubt"),
    ],
)
def test_vouch(drawn: str, expected: str) -> None:
    assert after(machine.vouch(chain(drawn).links[0])) == expected


@pytest.mark.parametrize(("drawn", "permits"), [("new:parked:lost", 1), ("new:parked:not", None), ("new:parked", None)])
def test_an_operator_permits_one_attempt_on_a_blind_sink_in_doubt(drawn: str, permits: int | None) -> None:
    made = chain(drawn, sink=SinkSureness.BLIND)
    for act in (machine.release, machine.resend):
        step = act(made, made.links[0], NOW)
        assert isinstance(step, Step)
        assert (step.permits, step.tries) == (permits, 0)


# --- the table of moves ----------------------------------------------------------------------------------------------


def test_the_table_is_complete_and_closed() -> None:
    assert set(MOVES) == set(HOLDERS) == set(S)
    for before, allowed in MOVES.items():
        assert before not in allowed
        assert S.WAITING not in allowed or before in (S.PARKED, S.EXPIRED)  # let go on by a person
    assert S.DELIVERED not in FIRST
    assert S.CLAIMED not in FIRST


@pytest.mark.parametrize(("before", "after_"), [(b, a) for b in [None, *S] for a in S if not is_allowed(b, a)], ids=str)
def test_any_other_move_is_a_defect(before: DeliveryState | None, after_: DeliveryState) -> None:
    with pytest.raises(AssertionError, match="cannot move"):
        check_move(before, after_)


def test_the_moves_back_from_parked_and_expired_exist() -> None:
    for before in (S.PARKED, S.EXPIRED, S.WITHDRAWN, S.AVAILABLE, S.READY):
        assert is_allowed(before, S.DELIVERED)


def test_links_say_what_they_are() -> None:
    def drawn(text: str) -> Link:
        return link(text)

    assert drawn("new:ready").is_untouched()
    assert not drawn("new:ready:lost").is_untouched()
    assert not drawn("new:claimed").is_untouched()
    assert drawn("new:ready:not").is_untouched()
    assert drawn("new:parked:lost").may_have_arrived()
    assert not drawn("new:parked:not").may_have_arrived()
    assert drawn("new:ready:unknown").has_open_attempt(NOW)
    assert not drawn("new:ready:lost").has_open_attempt(NOW)
    with pytest.raises(LookupError):
        chain("new:ready").find("nobody")
