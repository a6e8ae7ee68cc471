"""What came, was archived and is gone is known for ever: recalls, updates, statuses and questions about it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from gateway.exchange.submission import Answer
from gateway.model import instants
from gateway.model.errors import Conflict
from gateway.model.instants import wall_now
from gateway.store.months.partitions import month_of
from tests.service.test_archive_families import begin_month, let_first_go
from tests.support.archives import archive, let_go
from tests.support.nodes import House, accepted, build_house

Months = pytest.MonkeyPatch


@pytest.fixture
def house(tmp_path: Path, monkeypatch: Months) -> Iterator[House]:
    """A node on SQLite."""
    monkeypatch.setattr(instants, "_last_tick", 0)  # ids of a later month are this test's alone
    made = build_house(tmp_path)
    yield made
    made.close()


def pass_it(house: House, folder: Path, monkeypatch: Months) -> None:
    """Everything that was sent is archived and goes."""
    house.work()
    begin_month(monkeypatch, house, 1)
    let_first_go(house, folder)
    assert house.rows("SELECT count(*) AS n FROM packets")[0]["n"] == 0


def test_a_recall_of_what_is_gone_goes_out_at_once_and_says_so(
    house: House, tmp_path: Path, monkeypatch: Months
) -> None:
    house.send(["check"])
    pass_it(house, tmp_path, monkeypatch)
    recall = house.recall(["check"])
    assert (house.state(recall, "check"), house.reason(recall, "check")) == ("ready", "recall_archived")
    house.work()
    assert house.recipient("check").kinds() == ["new", "recall"]
    house.assert_books_close()


def test_status_13_recalls_what_is_gone(house: House, tmp_path: Path, monkeypatch: Months) -> None:
    house.send(["check"])
    pass_it(house, tmp_path, monkeypatch)
    taken = accepted(house.take_back("check"))
    assert house.reason(taken, "check") == "recall_archived"
    house.assert_books_close()


def test_an_update_of_what_is_gone_is_handed_over_and_its_recall_too(
    house: House, tmp_path: Path, monkeypatch: Months
) -> None:
    house.send(["check"])
    pass_it(house, tmp_path, monkeypatch)
    house.update(["check"])
    house.work()
    house.recall(["check"])
    house.work()
    assert house.recipient("check").kinds() == ["new", "update", "recall"]
    house.assert_books_close()


def test_an_update_that_was_withdrawn_does_not_hide_what_is_gone(
    house: House, tmp_path: Path, monkeypatch: Months
) -> None:
    """Nothing that is left arrived; what is gone may have."""
    house.send(["check"])
    pass_it(house, tmp_path, monkeypatch)
    update = house.update(["check"])
    recall = house.recall(["check"])
    assert house.state(update, "check") == "withdrawn"
    assert (house.state(recall, "check"), house.reason(recall, "check")) == ("ready", "recall_archived")


def test_what_replaces_what_is_gone_is_handed_over(house: House, tmp_path: Path, monkeypatch: Months) -> None:
    house.send(["check"])
    pass_it(house, tmp_path, monkeypatch)
    house.replacement(["check"])
    house.work()
    assert house.recipient("check").kinds() == ["new", "replacement"]


def test_an_update_after_a_recall_that_is_gone_too_is_refused_for_him_alone_who_was_recalled(
    house: House, tmp_path: Path, monkeypatch: Months
) -> None:
    house.send(["check", "idem"])
    house.work()
    house.recall(["check"])
    pass_it(house, tmp_path, monkeypatch)
    with pytest.raises(AssertionError, match=r"document\.recalled"):
        house.update(["check"])
    house.update(["idem"])
    house.update(["check"], adds=["check"], subject="Gửi lại")
    house.work()
    assert house.recipient("idem").kinds() == ["new", "update"]
    assert house.recipient("check").kinds() == ["new", "recall", "update"]


def test_whom_an_update_added_again_is_not_recalled_when_all_is_gone(
    house: House, tmp_path: Path, monkeypatch: Months
) -> None:
    house.send(["check"])
    house.work()
    house.recall(["check"])
    house.work()
    begin_month(monkeypatch, house, 1)
    house.update(["check"], adds=["check"])
    house.work()
    let_first_go(house, tmp_path)
    begin_month(monkeypatch, house, 2)
    month = month_of(wall_now()).later(1)
    let_go(house, archive(house, tmp_path, month), month)
    house.update(["check"], subject="Lần sau")
    house.work()
    assert house.recipient("check").kinds() == ["new", "recall", "update", "update"]


def test_a_refused_packet_leaves_no_chain_that_looks_archived(
    house: House, tmp_path: Path, monkeypatch: Months
) -> None:
    """A document in conflict was never planned for whom it newly names."""
    house.send(["check"])
    other = house.submit(house.packet(["idem", "check"], subject="Trích yếu khác"))
    assert isinstance(other, Conflict)
    assert house.rows("SELECT agency_id FROM chains") == [{"agency_id": "check"}]
    pass_it(house, tmp_path, monkeypatch)
    update = house.update(["idem"])
    assert (house.state(update, "idem"), house.reason(update, "idem")) == ("parked", "document_never_came")


def test_a_status_about_what_is_gone_still_reaches_its_sender(
    house: House, tmp_path: Path, monkeypatch: Months
) -> None:
    house.send(["check"])
    pass_it(house, tmp_path, monkeypatch)
    told = accepted(house.tell("check", "06"))
    assert [line["agency_id"] for line in told.recipients] == ["sender"]
    assert house.shown("sender")
    assert not isinstance(house.tell("idem", "06"), Answer), "it was never sent the document"
    house.assert_books_close()
    gone = month_of(wall_now())
    left = house.rows("SELECT packet_id FROM events WHERE packet_id >= ? AND packet_id < ?", gone.low, gone.high)
    assert not left, "events of a month that went would bring it back"


def test_a_repeat_of_what_is_gone_leaves_no_event_in_its_month(
    house: House, tmp_path: Path, monkeypatch: Months
) -> None:
    body = house.packet(["check"])
    house.submit(body)
    pass_it(house, tmp_path, monkeypatch)
    assert isinstance(house.submit(body), Conflict)
    gone = month_of(wall_now())
    left = house.rows("SELECT packet_id FROM events WHERE packet_id >= ? AND packet_id < ?", gone.low, gone.high)
    assert not left
