"""Which tests run on SQLite and on PostgreSQL alike, and which of them cannot, each with its reason.

A test of these modules that takes the fixture `database` (or `house`, which takes it) runs once on each.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import pytest

from tests.support.stores import Database

__all__ = ["LONG", "MODULES", "SQLITE_ONLY", "on_both"]

MODULES: Final = frozenset(
    {
        "test_account",
        "test_account_rounds",
        "test_blob_rounds",
        "test_channel_rests",
        "test_followers_behind",
        "test_inbox_silence",
        "test_inbox_walk",
        "test_inspection",
        "test_node_statuses",
        "test_profiles_at_the_gate",
        "test_repairs_counted",
        "test_rules_attempts",
        "test_rules_chains",
        "test_rules_clocks",
        "test_rules_clocks_doubts",
        "test_rules_families",
        "test_rules_united",
        "test_rules_limits",
        "test_rules_order",
        "test_rules_polled",
        "test_rules_repeats",
        "test_rules_statuses",
        "test_rules_work",
        "test_signature_rounds",
        "test_signature_verdicts",
        "test_views",
    }
)

LONG: Final = frozenset(
    {
        "test_account",
        "test_account_rounds",
        "test_inspection",
        "test_node_statuses",
        "test_profiles_at_the_gate",
        "test_repairs_counted",
        "test_signature_verdicts",
        "test_views",
        "test_a_page_is_found_by_the_index",
        "test_a_walk_lets_nobody_be_passed_over",
        "test_what_is_being_fetched_is_not_on_a_page",
        "test_rule_10_five_hundred_poison_items_cannot_hide_the_next",
        "test_rule_6_a_recall_waits_no_longer_than_the_document_takes",
        "test_rule_8_faults_of_the_channel_are_not_counted_and_open_the_breaker_once",
    }
)
"""Modules, and tests, that run on PostgreSQL with the long ones: they are not about locks, order or faults, or take
many seconds."""

SQLITE_ONLY: Final[Mapping[str, str]] = {
    "test_no_view_reads_a_growing_table_from_end_to_end": "reads SQLite's query plans",
    "test_the_books_are_read_by_index": "reads SQLite's query plans",
    "test_a_gap_behind_the_last_page_is_mended_too": "deletes events behind the back of SQLite's own trigger",
}
"""Tests of these modules that one database alone can pass: name → reason."""


def on_both(metafunc: pytest.Metafunc) -> None:
    """Run the test on each database that it is for; for `pytest_generate_tests`."""
    module = metafunc.module.__name__.rpartition(".")[2]
    if "database" in metafunc.fixturenames and module in MODULES:
        only = metafunc.function.__name__ in SQLITE_ONLY
        marks = pytest.mark.long if LONG & {module, metafunc.function.__name__} else ()
        server = [] if only else [pytest.param(Database.POSTGRESQL, marks=marks)]
        metafunc.parametrize("database", [Database.SQLITE, *server], ids=str)
