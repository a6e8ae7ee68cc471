"""A packet that cannot be entered fails nobody who came in the same group (promise 5)."""

from __future__ import annotations

import secrets
from contextlib import closing
from dataclasses import replace
from pathlib import Path

from gateway.exchange.accept import accept
from gateway.exchange.examine import prepare
from gateway.exchange.submission import Answer, Unentered
from gateway.exchange.take_in import take_in
from tests.support.nodes import House, accepted, build_house, organ
from tests.support.packets import build_status
from tests.support.stores import Database

LONG = secrets.token_hex(6000)
"""Longer than an index of PostgreSQL takes, and nothing that it could pack."""


def test_a_number_of_thousands_of_characters_is_entered_as_any_other(tmp_path: Path) -> None:
    """And statuses find its document by it. An index of SQLite takes anything."""
    with closing(build_house(tmp_path, database=Database.POSTGRESQL)) as house:
        good, bad = house.packet(["check"], "1"), house.packet(["idem"], LONG, document_id="000.00.00.H99,mot")
        first, second = take_in(house.node, [house.submission(good), house.submission(bad)])
        assert isinstance(first, Answer)
        assert isinstance(second, Answer)
        house.work()
        status = build_status(sender=organ("idem"), issuer=organ("sender"), code="03", number=LONG, document_id="hai")
        accepted(house.submit(status, "idem"))
        assert house.row(second, "idem")["status_code"] == "03"


def test_a_defect_that_one_meets_is_told_of_that_one_alone(house: House) -> None:
    good, bad, better = (prepare(house.node, house.submission(house.packet(["check"], str(n)))) for n in range(3))
    bad = replace(bad, seal=object())  # type: ignore[arg-type]  # no database takes it
    first, second, third = accept(house.node, [good, bad, better])
    assert isinstance(first, Answer)
    assert isinstance(second, Unentered)
    assert isinstance(third, Answer)
    assert len(house.rows("SELECT id FROM packets")) == 2
    house.assert_books_close()


def test_a_defect_that_a_status_meets_fails_no_document(house: House) -> None:
    house.send(["idem"])
    house.work()
    status = build_status(sender=organ("idem"), issuer=organ("sender"), code="03", number="1")
    bad = replace(prepare(house.node, house.submission(status, "idem")), seal=object())  # type: ignore[arg-type]
    good = prepare(house.node, house.submission(house.packet(["check"], "2")))
    first, second = accept(house.node, [bad, good])
    assert isinstance(first, Unentered)
    assert isinstance(second, Answer)
