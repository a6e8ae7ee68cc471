"""Verdicts on signatures are kept however many come at once: a database takes so many values per statement."""

from __future__ import annotations

import sqlite3
from pathlib import Path

from gateway.store.signatures import SignatureRow, keep_verdicts
from tests.support.stores import fresh_store

SMALLEST = 32_766
"""Values that SQLite takes per statement where nobody built it otherwise."""


def verdict(number: int) -> SignatureRow:
    return SignatureRow(
        packet_id=f"p{number}", verdict="valid", detail="", policy="", form="", signer="", certificate="",
        covers_whole=True, signed_at=None, checked_at=0,
    )  # fmt: skip


def test_more_rows_than_one_statement_takes_are_kept_and_told(tmp_path: Path) -> None:
    store = fresh_store(tmp_path)
    try:
        with store.write() as connection:
            driver = connection.connection.driver_connection
            assert isinstance(driver, sqlite3.Connection)
            driver.setlimit(sqlite3.SQLITE_LIMIT_VARIABLE_NUMBER, SMALLEST)
            assert keep_verdicts(connection, [verdict(number) for number in range(3)]) == {"p0", "p1", "p2"}
            kept = keep_verdicts(connection, [verdict(number) for number in range(5_000)])
            assert kept == {f"p{number}" for number in range(3, 5_000)}
    finally:
        store.close()
