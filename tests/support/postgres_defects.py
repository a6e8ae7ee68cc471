"""Defects of what speaks to PostgreSQL, planted as those of `tests.support.defects`."""

from __future__ import annotations

from tests.support.defects import Defect

__all__ = ["POSTGRES_DEFECTS"]

_CHAIN = "tests/service/test_postgres_chain_lock.py::test_a_recall_that_is_being_accepted_is_seen_by_"
_CUT = "tests/service/test_commits_cut.py::test_"
_MANY = "tests/service/test_postgres_many_rows.py::test_"
_TRIP = "tests/service/test_postgres_trips.py::test_"

POSTGRES_DEFECTS = (
    Defect(
        name="a commit that nobody answered runs again",
        row="§12 whoever called comes again: it may have been done",
        file="gateway/store/faults.py",
        old="not committing.began and ",
        new="",
        tests=(_CUT + "a_packet_whose_acceptance_was_cut_is_there_once[Cut.ANSWER]",),
    ),
    Defect(
        name="rows of one statement change places",
        row="§13 events are read in the order in which they were written",
        file="gateway/store/arrays.py",
        old="map(self.pick, rows)",
        new="map(self.pick, rows[::-1])",
        tests=(_MANY + "new_rows_are_numbered_in_the_order_in_which_they_were_given",),
    ),
    Defect(
        name="a chain is loaded while somebody adds a link to it",
        row="§6 the row lock: the recall commits as waiting for ever",
        file="gateway/store/chains.py",
        old='(_LOCK, {"ids": wanted}) if locks else None',
        new="None",
        tests=(_CHAIN + "who_concludes_its_document",),
    ),
    Defect(
        name="a named delivery's chain is loaded while somebody adds a link to it",
        row="§6 the row lock: the recall commits as waiting for ever",
        file="gateway/store/chains.py",
        old="_NAMED_LOCKED = _NAMED.with_for_update(of=chains)",
        new="_NAMED_LOCKED = _NAMED",
        tests=(_CHAIN + "who_confirms_its_document[another-process]",),
    ),
    Defect(
        name="a chain is loaded for a release while somebody adds a link to it",
        row="§6 the row lock: what may have arrived is sent again though it was recalled",
        file="gateway/exchange/release.py",
        old="delivery_id, now, turn, lock=True)",
        new="delivery_id, now, turn, lock=False)",
        tests=(_CHAIN + "who_releases_its_document",),
    ),
    Defect(
        name="a commit goes along with a move that was not made",
        row="§6 a state changes only from the state that the decision saw",
        file="gateway/store/together.py",
        old="if whole >= 0:  # else",
        new="if whole < -1:  # else",
        tests=(_TRIP + "a_change_that_does_not_find_all_its_rows_takes_the_commit_back",),
    ),
    Defect(
        name="a commit that went along and was lost counts as undone",
        row="§12 whoever called comes again: it may have been done",
        file="gateway/store/statements.py",
        old="connection.get_execution_options().get(COMMITTING, _nobody)()",
        new="pass",
        tests=(_TRIP + "a_connection_that_is_lost_with_the_commit_is_not_undone_for_certain[True]",),
    ),
)
