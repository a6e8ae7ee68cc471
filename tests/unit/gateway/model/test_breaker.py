"""Rule 8: the breaker, as a pure decision."""

from __future__ import annotations

from gateway.model.breaker import FIRST_PAUSE, LONGEST_PAUSE, Breaker, after_fault, after_success
from gateway.model.instants import MINUTE, SECOND
from gateway.settings import Settings

NOW = 1_000 * SECOND


def broken(now: int = NOW) -> Breaker:
    known = Breaker()
    for _ in range(3):
        known = after_fault(known, now)
    return known


def test_the_setting_that_does_not_bound_a_pause_says_what_does() -> None:
    said = str(Settings.model_fields["longest_wait"].description)
    assert f"{FIRST_PAUSE // SECOND} s to {LONGEST_PAUSE // MINUTE} min" in said


def test_three_faults_in_a_row_open_it_for_half_a_minute() -> None:
    twice = after_fault(after_fault(Breaker(), NOW), NOW)
    assert not twice.is_broken
    assert twice.open_until == 0
    thrice = after_fault(twice, NOW)
    assert thrice.is_broken
    assert thrice.open_until == NOW + 30 * SECOND


def test_a_success_between_starts_the_count_anew() -> None:
    known = after_success(after_fault(after_fault(Breaker(), NOW), NOW), in_flight=4)
    assert known.is_healthy
    assert not after_fault(after_fault(known, NOW), NOW).is_broken


def test_faults_while_it_is_open_are_the_same_outage() -> None:
    known = broken()
    assert after_fault(known, NOW + FIRST_PAUSE - 1) == known


def test_each_failed_trial_doubles_the_pause_up_to_ten_minutes() -> None:
    known = broken()
    pauses = []
    for _ in range(40):
        now = known.open_until
        known = after_fault(known, now)
        pauses.append(known.open_until - now)
    assert pauses[:4] == [60 * SECOND, 120 * SECOND, 240 * SECOND, 480 * SECOND]
    assert set(pauses[4:]) == {LONGEST_PAUSE}
    assert known.is_broken


def test_a_success_closes_it_and_lets_two_four_and_then_all_through() -> None:
    known = after_success(broken(), in_flight=16)
    ramps = [known.ramp]
    while known.ramp:
        known = after_success(known, in_flight=16)
        ramps.append(known.ramp)
    assert ramps == [2, 4, 8, 0]
    assert known.is_healthy


def test_a_channel_of_one_at_a_time_needs_no_ramp() -> None:
    assert after_success(broken(), in_flight=1).is_healthy


def test_a_fault_while_it_comes_back_starts_the_ramp_anew() -> None:
    known = after_success(after_success(broken(), in_flight=16), in_flight=16)
    assert after_fault(known, NOW).ramp == 1
