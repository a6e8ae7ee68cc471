"""Defects of what tells whether a hand-over may still land, planted as those of `tests.support.defects`."""

from __future__ import annotations

from tests.support.defects import Defect

__all__ = ["CLOCK_DEFECTS"]

_DOUBTS = "tests/service/test_rules_clocks_doubts.py::test_rule_"
_RECKONING = "gateway/store/reckoning.py"

CLOCK_DEFECTS = (
    Defect(
        name="the store's clock tells what this machine sends",
        row="§13 a clock that nobody can set says when an attempt is over",
        file=_RECKONING,
        old="        if not attempt.boot:\n",
        new="        if attempt.boot == self.clock.boot:\n",
        tests=(
            _DOUBTS + "13_a_clock_that_was_an_hour_behind_makes_nothing_look_over[sqlite]",
            _DOUBTS + "13_a_clock_that_jumps_ahead_makes_nothing_look_over[sqlite]",
            _DOUBTS + "7_expiry_spares_what_a_jump_ahead_makes_look_over[sqlite]",
        ),
    ),
    Defect(
        name="a jump of the store's clock is not seen",
        row="§13 what another machine sends",
        file=_RECKONING,
        old="abs(ahead - even.first) <= _EVENLY and ",
        new="",
        tests=(_DOUBTS + "13_what_another_machine_sends_counts_from_when_the_clock_was_set_right[sqlite]",),
    ),
    Defect(
        name="a clock at which nobody looked ran evenly",
        row="§13 what another machine sends, unseen",
        file=_RECKONING,
        old=" and after - even.looked <= LOOKS_APART:",
        new=":",
        tests=(_DOUBTS + "13_what_another_machine_sends_counts_from_when_somebody_looked_again[sqlite]",),
    ),
    Defect(
        name="a no counts by when it is heard",
        row="§5 no attempt was open as the question was put",
        file="gateway/exchange/deliver.py",
        old="step = absent(chain, link, now, ago=ago)",
        new="step = absent(chain, link, now)",
        tests=(_DOUBTS + "5_a_no_that_was_said_while_an_attempt_was_open_does_not_count_after_it[sqlite]",),
    ),
)
