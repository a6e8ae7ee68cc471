"""A document whose packets lie in several months, the first of which is gone: nothing doubles, nothing is stuck."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from edxml import Dialect
from gateway.archive import read_rows
from gateway.model import instants
from gateway.model.errors import Conflict
from gateway.model.events import Event, EventKind
from gateway.model.instants import DAY, wall_now
from gateway.store import views
from gateway.store.events import append
from gateway.store.months.partitions import month_of
from tests.support.archives import archive, let_go
from tests.support.nodes import Database, Does, House, build_house, document_id


@pytest.fixture
def house(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[House]:
    """A node on SQLite."""
    monkeypatch.setattr(instants, "_last_tick", 0)  # ids of a later month are this test's alone
    made = build_house(tmp_path)
    yield made
    made.close()


def begin_month(monkeypatch: pytest.MonkeyPatch, house: House, ahead: int) -> None:
    """From now on ids and the store's time are of the month so many months after this one."""
    start = month_of(wall_now()).later(ahead).start + DAY
    monkeypatch.setattr(instants, "_last_tick", (start // 1000) << 12)
    house.clock.turn(max(0, start - house.now()))


def let_first_go(house: House, folder: Path) -> None:
    """The month in which the test began."""
    with house.node.store.write() as connection:  # statuses that the node owes are paid behind the hops
        connection.exec_driver_sql("UPDATE deliveries SET owes = ''")
    month = month_of(wall_now())
    assert let_go(house, archive(house, folder, month), month).packets > 0


def go_into_next_month(house: House, monkeypatch: pytest.MonkeyPatch, folder: Path, *, is_update: bool) -> None:
    """What was sent arrives; a packet of the same document comes in the next month; the first month goes."""
    house.work()
    begin_month(monkeypatch, house, 1)
    (house.update if is_update else house.send)(["check"])
    house.work()
    let_first_go(house, folder)


@pytest.mark.parametrize(("first", "is_update"), [(["check", "idem"], True), (["idem"], False)], ids=str)
def test_a_repeat_to_whom_only_the_gone_month_knows_is_not_delivered_again(
    house: House, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, first: list[str], is_update: bool
) -> None:
    """Of the later month an update is left, or the same for somebody else: many systems send one packet to each."""
    house.send(first)
    go_into_next_month(house, monkeypatch, tmp_path, is_update=is_update)
    again = house.submit(house.packet(["idem"], dialect=Dialect.B))
    house.work()
    assert house.recipient("idem").kinds() == ["new"]
    assert isinstance(again, Conflict)
    assert again.reason == "submission.archived"


def test_who_never_had_a_document_still_gets_it_when_its_first_month_is_gone(
    house: House, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    house.send(["idem"])
    go_into_next_month(house, monkeypatch, tmp_path, is_update=False)
    house.send(["blind"])
    house.work()
    assert house.recipient("blind").kinds() == ["new"]


def test_updates_keep_their_order_when_the_document_is_gone(
    house: House, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    house.send(["check"])
    go_into_next_month(house, monkeypatch, tmp_path, is_update=True)
    begin_month(monkeypatch, house, 2)
    house.update(["check"], subject="Lần sau")
    house.work()
    house.recall(["check"])
    house.work()
    assert house.recipient("check").kinds() == ["new", "update", "update", "recall"]
    places = house.rows("SELECT position FROM deliveries ORDER BY id")
    assert [row["position"] for row in places] == [2, 3, 4]


def test_what_commits_behind_the_archive_is_not_taken_for_archived(tmp_path: Path) -> None:
    """PostgreSQL commits side by side: a transaction that began before the archive may end after it."""
    house = build_house(tmp_path, database=Database.POSTGRESQL)
    sent = house.send(["check"])
    house.work()
    house.clock.turn(max(0, month_of(wall_now()).later(1).start + DAY - house.now()))
    other = house.another_store()
    with other.write() as slow:
        append(slow, [told_of(sent.packet_id)], house.now())
        with house.node.store.write() as connection:
            append(connection, [told_of(sent.packet_id)], house.now())
            connection.exec_driver_sql("UPDATE deliveries SET owes = ''")
        file = archive(house, tmp_path, month_of(wall_now()))
    other.close()
    with pytest.raises(Conflict) as refused:
        let_go(house, file, month_of(wall_now()))
    assert refused.value.reason == "archive.changed"
    file = archive(house, tmp_path, month_of(wall_now()))
    assert len([row for row in read_rows(file, "events") if row["reason"] == "slow"]) == 2
    assert let_go(house, file, month_of(wall_now())).packets == 1
    house.close()


def told_of(packet_id: str) -> Event:
    return Event(kind=EventKind.PACKET_REPEATED, at=wall_now(), actor="test", packet_id=packet_id, reason="slow")


def test_hand_overs_of_a_later_month_go_with_that_months_archive(
    house: House, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What goes row by row takes nothing along that its archive does not hold."""
    house.send(["check"])
    begin_month(monkeypatch, house, 1)
    house.send(["idem"], "2")
    house.work()
    month = month_of(wall_now())
    begin_month(monkeypatch, house, 2)
    let_first_go(house, tmp_path)
    later = archive(house, tmp_path, month.later(1))
    first = [row["id"] for row in read_rows(tmp_path / f"truc-thu-{month.name}.zip", "attempts")]
    assert len(first) + len([row["id"] for row in read_rows(later, "attempts")]) == 2
    assert let_go(house, later, month.later(1)).packets == 1
    assert house.rows("SELECT id FROM attempts") == []


@pytest.mark.parametrize("named", ["12", "21"])
def test_a_family_that_unites_what_is_gone_with_what_is_left_keeps_both(
    house: House, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, named: str
) -> None:
    """1 was archived and went, 2 was refused for now; 3, which replaces both, waits; 1 is still recalled as known."""
    house.send(["check"], "1")
    house.work()
    begin_month(monkeypatch, house, 1)
    second = house.send(["check"], "2")
    house.recipient("check").next(Does.REFUSE)
    house.work()
    let_first_go(house, tmp_path)
    third = house.replacement(["check"], named, "3")
    assert (house.state(second, "check"), house.state(third, "check")) == ("ready", "waiting")
    recall = house.recall(["check"], "1")
    assert (house.state(recall, "check"), house.reason(recall, "check")) == ("ready", "recall_archived")
    house.run(until=DAY)
    assert house.state(third, "check") == "delivered"
    assert isinstance(house.submit(house.packet(["check"], "1", subject="Khác")), Conflict)
    house.assert_books_close()


@pytest.mark.parametrize("named", ["13", "31"])
def test_who_got_what_is_gone_is_told_so_though_its_family_was_united_since(
    house: House, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, named: str
) -> None:
    """3 replaced 2 and is gone with it; 4 replaces 1 and 3, so that the family has another root than 2."""
    house.send(["check"], "1")
    house.send(["check"], "2")
    house.replacement(["check"], "2", "3")
    house.run()
    begin_month(monkeypatch, house, 1)
    house.replacement(["check"], named, "4")
    house.run()
    let_first_go(house, tmp_path)
    with house.node.store.read() as connection:
        for who, month in (("check", month_of(wall_now()).name), ("idem", None)):
            told = views.archived(connection, document_id("3"), issuers={"sender"}, seen_by=frozenset({who}))
            assert (told and told.month) == month
