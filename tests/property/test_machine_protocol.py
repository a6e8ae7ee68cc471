"""The protocol is played: by a state machine, and as short plays of which no step is left out by chance."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    run_state_machine_as_test,
)

from gateway.exchange.sweep import expire_once, reclaim_once, settle_once
from gateway.model.instants import SECOND
from tests.support.nodes import Database, Does
from tests.support.protocol_machine import ACTS, CAST, DOES, INDEX, MEANWHILE, SPANS, TO, Protocol

_ALL = list(HealthCheck)


def test_the_protocol_holds() -> None:
    run_state_machine_as_test(
        Protocol,
        settings=settings(max_examples=40, stateful_step_count=30, deadline=None, suppress_health_check=_ALL,
                          derandomize=True, database=None),
    )  # fmt: skip


class OnPostgres(Protocol):
    """The same on PostgreSQL."""

    database = Database.POSTGRESQL


@pytest.mark.long
@pytest.mark.timeout(7200)
@pytest.mark.parametrize("examples", [1, 60])
def test_the_protocol_holds_on_postgresql(examples: int) -> None:
    run_state_machine_as_test(
        OnPostgres,
        settings=settings(max_examples=examples, stateful_step_count=30, deadline=None, suppress_health_check=_ALL,
                          derandomize=True, database=None),
    )  # fmt: skip


JOBS = (reclaim_once, settle_once, expire_once)
WHATS = ("submit",) * 3 + ("work",) * 3 + ("time",) * 2 + ("land", "tell", "poll", "operate", "clock")
STEP = st.tuples(
    st.sampled_from(WHATS), TO, st.sampled_from(ACTS), INDEX, DOES, MEANWHILE, st.booleans(), SPANS
)  # fmt: skip
Step = tuple[str, int, str, int, Does, str, bool, int]


def take(protocol: Protocol, step: Step) -> None:
    """One step of a play: no step is left out by chance, as the state machine's swarms do."""
    what, to, act, at, does, meanwhile, flag, span = step
    if what == "submit":
        protocol.submit(to, "1", act)
    elif what == "work":
        protocol.work(at, does, meanwhile, flag, does)
    elif what == "time":
        protocol.pass_time(span, list(JOBS))
    elif what == "land":
        protocol.land_late(at)
    elif what == "clock":
        protocol.set_clock(1 if flag else -1)
    elif what == "tell":
        protocol.tell(to, "1", "01")
    elif what == "poll":
        protocol.fetch(at)
        protocol.end_or_confirm(at, flag)
    else:
        protocol.operate(at, flag)


def play(cast: list[str], does: Does, steps: list[Step]) -> None:
    """A document is sent and fares as `does` says; then the steps; then everything comes to an end."""
    protocol = Protocol()
    protocol.start(cast, "document", does)
    try:
        for step in steps:
            take(protocol, step)
            protocol.promises_hold()
        protocol.check_the_end()
    finally:
        protocol.put_away()


def a_step(
    what: str, *, does: Does = Does.TAKE, meanwhile: str = "", act: str = "recall", span: int = SECOND,
    flag: bool = False,
) -> Step:  # fmt: skip
    """A step of one of the traces that the protocol names (§14)."""
    return (what, 2, act, 0, does, meanwhile, flag, span)


@example(cast=["check"], does=Does.TAKE_SILENTLY, steps=[a_step("submit")])
@example(cast=["check"], does=Does.LOSE, steps=[a_step("time", span=6 * SECOND), a_step("work"), a_step("land")])
@example(
    cast=["check"],
    does=Does.LOSE,
    steps=[a_step("time", span=6 * SECOND), a_step("clock", flag=True), a_step("work"), a_step("land")],
)
@example(cast=["blind"], does=Does.REFUSE, steps=[a_step("time", span=6 * SECOND), a_step("work", meanwhile="steal")])
@example(
    cast=["blind"],
    does=Does.TAKE_SILENTLY,
    steps=[a_step("submit"), a_step("time", span=61 * SECOND), a_step("operate"), a_step("work")],
)
@example(cast=["check"], does=Does.REFUSE, steps=[a_step("time", span=6 * SECOND), a_step("work", meanwhile="steal")])
@example(cast=["idem"], does=Does.REFUSE, steps=[a_step("submit", act="update"), a_step("submit")])
@settings(max_examples=40, deadline=None, suppress_health_check=_ALL, derandomize=True, database=None)
@given(cast=CAST, does=DOES, steps=st.lists(STEP, min_size=4, max_size=12))
def test_every_short_play_keeps_the_promises(cast: list[str], does: Does, steps: list[Step]) -> None:
    play(cast, does, steps)


@pytest.mark.long
@pytest.mark.timeout(7200)
@settings(max_examples=5000, deadline=None, suppress_health_check=_ALL)
@given(cast=CAST, does=DOES, steps=st.lists(STEP, min_size=4, max_size=30))
def test_every_long_play_keeps_the_promises(cast: list[str], does: Does, steps: list[Step]) -> None:
    play(cast, does, steps)


@pytest.mark.long
@pytest.mark.timeout(7200)
def test_the_protocol_holds_for_long() -> None:
    run_state_machine_as_test(
        Protocol,
        settings=settings(max_examples=1500, stateful_step_count=60, deadline=None, suppress_health_check=_ALL),
    )
