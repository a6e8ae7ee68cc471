"""How long something may still land: by the boot-time clock of this machine, else by what was seen of the store's."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from gateway.model.instants import CLOCKS_APART, DAY, HOUR, MINUTE, SECOND, id_floor
from gateway.store.reckoning import LOOKS_APART, Landing, Reckoning
from tests.support.stores import HandClock


@pytest.fixture
def clock() -> HandClock:
    return HandClock()


@pytest.fixture
def reckoning(clock: HandClock) -> Reckoning:
    """It has looked at the store's clock for a minute, once a second."""
    made = Reckoning(clock)
    let_pass(made, clock, MINUTE)
    return made


def look(reckoning: Reckoning, clock: HandClock, *, took: int = 0) -> None:
    reckoning.note(clock.boot_now() - took, clock.now() - took // 2, clock.boot_now())


def let_pass(reckoning: Reckoning, clock: HandClock, micros: int) -> None:
    for _ in range(micros // SECOND):
        clock.turn(SECOND)
        look(reckoning, clock)


def sent(landing: Landing, began_at: int, name: str = "a") -> SimpleNamespace:
    return SimpleNamespace(id=name, began_at=began_at, **landing._asdict())


def from_elsewhere(reckoning: Reckoning, clock: HandClock, name: str = "a") -> SimpleNamespace:
    landing = reckoning.begins(clock.now(), MINUTE, boot_now=0)._replace(boot="another machine")
    return sent(landing, clock.now(), name)


def test_what_this_machine_sends_is_told_by_its_boot_time(clock: HandClock, reckoning: Reckoning) -> None:
    made = sent(reckoning.begins(clock.now(), MINUTE, boot_now=clock.boot_now()), clock.now())
    clock.turn(20 * SECOND)
    clock.jump(HOUR)
    assert reckoning.left(made) == 40 * SECOND
    clock.turn(MINUTE)
    assert reckoning.left(made) == -20 * SECOND
    assert not reckoning.may_land(made, clock.now())


def test_what_an_earlier_release_wrote_is_told_by_the_stores_clock(clock: HandClock, reckoning: Reckoning) -> None:
    old = sent(Landing(over_by=clock.now() + 1, lasts=0, boot="", boot_over=0), clock.now())
    assert reckoning.left(old) is None
    assert reckoning.may_land(old, clock.now())
    assert not reckoning.may_land(old, clock.now() + 1)


def test_a_jump_is_told_once_and_a_step_is_none(clock: HandClock, reckoning: Reckoning) -> None:
    assert reckoning.take_jump() == 0, "the first look is no jump"
    clock.jump(-HOUR)
    look(reckoning, clock)
    assert reckoning.take_jump() == -HOUR
    clock.jump(2 * SECOND)
    look(reckoning, clock)
    assert reckoning.take_jump() == 0


def test_a_clock_that_is_set_right_before_anybody_asks_jumped_all_the_same(
    clock: HandClock, reckoning: Reckoning
) -> None:
    for step in (-HOUR, HOUR + SECOND // 10):
        clock.jump(step)
        look(reckoning, clock)
    assert reckoning.take_jump() == HOUR + SECOND // 10
    assert reckoning.take_jump() == 0


def test_a_kernel_that_has_no_name_is_nobodys(clock: HandClock) -> None:
    clock.boot = ""
    reckoning = Reckoning(clock)
    made = sent(reckoning.begins(clock.now(), MINUTE, boot_now=clock.boot_now()), clock.now())
    assert reckoning.left(made) is None


def test_what_another_sends_is_told_by_a_clock_that_ran_evenly(clock: HandClock, reckoning: Reckoning) -> None:
    made = from_elsewhere(reckoning, clock)
    let_pass(reckoning, clock, HOUR)
    assert reckoning.left(made) is None


@pytest.mark.parametrize("jump", [HOUR, 2 * SECOND])
def test_after_a_jump_it_is_waited_out_from_when_it_was_seen(clock: HandClock, reckoning: Reckoning, jump: int) -> None:
    made = from_elsewhere(reckoning, clock)
    clock.jump(jump)
    look(reckoning, clock)
    assert reckoning.left(made) == MINUTE
    let_pass(reckoning, clock, 40 * SECOND)
    assert reckoning.left(made) == 20 * SECOND
    clock.turn(HOUR)  # nobody looks for long: that changes nothing for what was seen
    look(reckoning, clock)
    assert reckoning.left(made) == 20 * SECOND - HOUR


def test_a_process_that_has_just_begun_knows_nothing_of_the_clock(clock: HandClock) -> None:
    made = from_elsewhere(Reckoning(clock), clock)
    clock.turn(MINUTE)
    begun = Reckoning(clock)
    look(begun, clock)
    assert begun.left(made) == MINUTE


def test_a_clock_at_which_nobody_looked_is_not_known_to_run_evenly(clock: HandClock, reckoning: Reckoning) -> None:
    made = from_elsewhere(reckoning, clock)
    clock.turn(LOOKS_APART + 1)
    look(reckoning, clock)
    assert reckoning.left(made) == MINUTE


def test_a_slow_answer_and_a_slewed_clock_are_no_jump(clock: HandClock, reckoning: Reckoning) -> None:
    made = from_elsewhere(reckoning, clock)
    clock.turn(8 * SECOND)
    look(reckoning, clock, took=6 * SECOND)
    for _ in range(1000):
        clock.jump(SECOND // 1000)
        let_pass(reckoning, clock, SECOND)
    assert reckoning.left(made) is None


def test_a_look_that_is_noted_late_is_passed_over(clock: HandClock, reckoning: Reckoning) -> None:
    """A thread was held up between its look and its noting it; another has seen the jump meanwhile."""
    before, told, after = clock.boot_now(), clock.now(), clock.boot_now()
    clock.turn(SECOND)
    clock.jump(HOUR)
    look(reckoning, clock)
    made = from_elsewhere(reckoning, clock)
    reckoning.note(before, told, after)
    let_pass(reckoning, clock, SECOND)
    assert reckoning.left(made) is None


def test_of_however_many_each_is_over_once_its_time_has_passed(clock: HandClock) -> None:
    """A backlog of them is looked through again and again: none may push another out."""
    reckoning = Reckoning(clock)
    one = from_elsewhere(reckoning, clock)
    many = [SimpleNamespace(**{**vars(one), "id": str(number)}) for number in range(60_000)]
    assert all(reckoning.left(each) == MINUTE for each in many)
    clock.turn(MINUTE)
    assert all(reckoning.left(each) == 0 for each in many)


def test_what_nobody_asks_about_for_two_days_is_forgotten_and_waited_out_anew(clock: HandClock) -> None:
    reckoning = Reckoning(clock)
    asked, unasked = from_elsewhere(reckoning, clock, "asked"), from_elsewhere(reckoning, clock, "unasked")
    assert reckoning.left(asked) == reckoning.left(unasked) == MINUTE
    for passed in range(1, 4):
        clock.turn(DAY + SECOND)
        assert reckoning.left(asked) == MINUTE - passed * (DAY + SECOND)
    assert reckoning.left(unasked) == MINUTE


def test_a_clock_that_is_slewed_far_did_not_run_evenly(clock: HandClock, reckoning: Reckoning) -> None:
    """Each step is small, and a minute of them is two seconds."""
    made = from_elsewhere(reckoning, clock)
    for _ in range(60):
        clock.jump(SECOND // 30)
        let_pass(reckoning, clock, SECOND)
    assert reckoning.left(made) == MINUTE


def test_a_clock_that_was_not_looked_at_since_tells_nothing(clock: HandClock, reckoning: Reckoning) -> None:
    made = from_elsewhere(reckoning, clock)
    clock.turn(LOOKS_APART + 1)
    assert reckoning.left(made) == MINUTE


@pytest.mark.parametrize("behind", ["neither", "the store's clock", "the machine's"])
def test_a_command_waits_for_nothing_that_two_clocks_say_is_over(clock: HandClock, behind: str) -> None:
    by_machines = clock.now() + (HOUR if behind == "the machine's" else 0)
    landing = Reckoning(clock).begins(clock.now(), MINUTE, boot_now=0)._replace(boot="another machine")
    made = sent(landing, clock.now(), id_floor(by_machines) + "-7000-8000-000000000000")
    clock.turn(HOUR)
    brief, lasting = Reckoning(clock, is_brief=True), Reckoning(clock)
    told = clock.now() - (HOUR - SECOND if behind == "the store's clock" else 0)
    for each in (brief, lasting):
        each.note(clock.boot_now(), told, clock.boot_now())
    assert brief.may_land(made, told) == (behind != "neither")
    assert lasting.left(made) == MINUTE


def test_what_a_command_believes_two_clocks_is_over_a_little_later_than_they_say(clock: HandClock) -> None:
    landing = Reckoning(clock).begins(clock.now(), MINUTE, boot_now=0)._replace(boot="another machine")
    made = sent(landing, clock.now(), id_floor(clock.now()) + "-7000-8000-000000000000")
    clock.turn(MINUTE + SECOND)
    brief = Reckoning(clock, is_brief=True)
    look(brief, clock)
    assert brief.left(made) == CLOCKS_APART - SECOND
