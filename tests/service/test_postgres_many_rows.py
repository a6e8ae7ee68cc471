"""PostgreSQL: many rows in one statement come out as one after the other, and two hops on one item never wait for each
other."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import pytest
from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Connection,
    LargeBinary,
    MetaData,
    Table,
    Text,
    bindparam,
    event,
    select,
)
from sqlalchemy.dialects.postgresql import insert
from tenacity import Retrying, retry_if_result, stop_after_delay, wait_fixed

from gateway.exchange import collect
from gateway.model.states import AttemptEnd, DeliveryState
from gateway.store import Store, attempts, inbox
from gateway.store.arrays import array, as_arrays
from gateway.store.attempts import Ended
from gateway.store.chains import chains_of_deliveries, load_chains
from gateway.store.dialect import among
from gateway.store.statements import execute_rows
from gateway.store.together import Together
from tests.support.nodes import Database, House

_words = Table(
    "thu_words",
    MetaData(),
    Column("id", Text, primary_key=True),
    Column("said", Text),
    Column("count", BigInteger),
    Column("is_true", Boolean),
    Column("bytes", LargeBinary),
)
_INSERT = _words.insert()
_COUNT = _words.update().where(_words.c.id == bindparam("b_id")).values(count=_words.c.count + bindparam("end"))
_DELETE = _words.delete().where(_words.c.id == bindparam("b_id"), _words.c.count == bindparam("b_count"))
_AGAIN = insert(_words).on_conflict_do_nothing(index_elements=["id"])
_LISTED = select(_words.c.id).where(among(_words.c.id, "ids")).order_by(_words.c.id)


@pytest.fixture
def database() -> Database:
    return Database.POSTGRESQL


@pytest.fixture
def words(house: House) -> Iterator[Connection]:
    with house.node.store.write() as connection:
        _words.create(connection)
        yield connection


def _row(key: str, said: str | None = "", count: int | None = 1, *, true: bool = True, some: bytes = b"") -> Any:
    return {"id": key, "said": said, "count": count, "is_true": true, "bytes": some}


ODD: Sequence[Mapping[str, Any]] = [
    _row("thường", "Công văn số 12"),
    _row('"nháy"', 'một "từ" {trong}, ngoặc'),
    _row("\\", "C:\\thư mục\\t\n\r\tdòng\x7f"),
    _row("null", "NULL"),
    _row("không", None, None, true=False, some=b"\x00\\x\xff"),
    _row("", DeliveryState.AVAILABLE, -(2**62), some=bytes(range(256))),
]


def test_many_rows_are_written_as_they_are(words: Connection) -> None:
    assert execute_rows(words, _INSERT, [dict(row) for row in ODD]) == len(ODD)
    found = {row.id: row._asdict() for row in words.execute(select(_words))}
    assert found == {row["id"]: dict(row) for row in ODD}


def test_new_rows_are_numbered_in_the_order_in_which_they_were_given(words: Connection) -> None:
    """Events of one group get their positions so: what came first stands first in every account."""
    words.exec_driver_sql("ALTER TABLE thu_words ADD COLUMN number bigint GENERATED ALWAYS AS IDENTITY")
    keys = [f"{(number * 7_919) % 1_000:03}" for number in range(1_000)]
    execute_rows(words, _INSERT, [_row(key) for key in keys])
    assert words.exec_driver_sql("SELECT id FROM thu_words ORDER BY number").scalars().all() == keys


def test_a_list_finds_odd_keys_and_nothing_else(words: Connection) -> None:
    execute_rows(words, _INSERT, [dict(row) for row in ODD])
    for wanted in ([row["id"] for row in ODD], ["\\", '"nháy"'], ["{}", "n"], []):
        found = [row.id for row in words.execute(_LISTED, {"ids": wanted})]
        assert sorted(found) == sorted(set(wanted) & {row["id"] for row in ODD})


def test_rows_that_change_the_same_row_are_done_one_after_the_other(words: Connection) -> None:
    execute_rows(words, _INSERT, [_row("a"), _row("b")])
    changes = [{"b_id": "a", "end": 1}, {"b_id": "b", "end": 10}, {"b_id": "a", "end": 100}]
    execute_rows(words, _COUNT, changes)
    assert {row.id: row.count for row in words.execute(select(_words))} == {"a": 102, "b": 11}


def test_counts_of_changed_rows_are_those_of_all_statements(words: Connection) -> None:
    execute_rows(words, _INSERT, [_row("a"), _row("b"), _row("c")])
    assert execute_rows(words, _AGAIN, [_row("c"), _row("d"), _row("d")]) == 1
    assert execute_rows(words, _COUNT, [{"b_id": "a", "end": 1}, {"b_id": "b", "end": 1}, {"b_id": "x", "end": 1}]) == 2
    gone = [{"b_id": "a", "b_count": 2}, {"b_id": "b", "b_count": 9}, {"b_id": "c", "b_count": 1}]
    assert execute_rows(words, _DELETE, gone) == 2
    assert {row.id for row in words.execute(select(_words.c.id))} == {"b", "d"}


def test_one_text_whatever_the_number_of_rows() -> None:
    made = as_arrays("UPDATE t SET a = %(end)s::VARCHAR WHERE t.id = %(b_id)s::VARCHAR", {"end": "", "b_id": ""})
    assert made is not None
    assert made.text == (
        'UPDATE t SET a = v."end" FROM unnest(%(end)s::VARCHAR[], %(b_id)s::VARCHAR[]) AS v ("end", "b_id") '
        'WHERE t.id = v."b_id"'
    )
    assert array(["a", None, True, 3, 'b"\\']) == r'{"a",null,true,3,"b\"\\"}'


@pytest.mark.parametrize(
    "text",
    [
        "UPDATE t SET a = %(a)s::VARCHAR",
        "UPDATE t SET a = %(a)s WHERE id IN (SELECT id FROM u WHERE b = %(b_id)s)",
        "SELECT %(a)s::VARCHAR",
        "INSERT INTO t SELECT %(a)s::VARCHAR",
    ],
)
def test_a_statement_of_no_known_form_is_executed_row_by_row(text: str) -> None:
    assert as_arrays(text, {"a": "x", "b_id": "y"}) is None


# --- several changes in one statement ----------------------------------------------------------------------------

_TELL = _words.update().where(_words.c.id == bindparam("b_id")).values(said=bindparam("more"))


@contextmanager
def _statements(store: Store) -> Iterator[list[str]]:
    """The texts of what is executed meanwhile."""
    seen: list[str] = []

    def see(_connection: Any, _cursor: Any, text: str, *_: Any) -> None:
        seen.append(text)

    event.listen(store.engine, "before_cursor_execute", see)
    try:
        yield seen
    finally:
        event.remove(store.engine, "before_cursor_execute", see)


def test_changes_that_go_together_are_one_statement_and_each_is_counted(house: House, words: Connection) -> None:
    execute_rows(words, _INSERT, [_row("a"), _row("b"), _row("c")])
    together = Together()
    assert together.add(_COUNT, [{"b_id": "a", "end": 5}, {"b_id": "x", "end": 5}]) == 0
    assert together.add(_TELL, []) == -1
    assert together.add(_INSERT, [_row("d"), _row("e"), _row("f")]) == 1
    assert together.add(_DELETE, [{"b_id": "c", "b_count": 1}]) == 2
    with _statements(house.node.store) as seen:
        assert together.execute(words) == (1, 3, 1)
    assert len(seen) == 1
    assert together.execute(words) == ()
    found = {row.id: row.count for row in words.execute(select(_words))}
    assert found == {"a": 6, "b": 1, "d": 1, "e": 1, "f": 1}


def test_changes_that_go_together_are_done_in_turn_where_one_must_be(house: House, words: Connection) -> None:
    execute_rows(words, _INSERT, [_row("a"), _row("b")])
    together = Together()
    together.add(_COUNT, [{"b_id": "a", "end": 1}, {"b_id": "a", "end": 10}])
    together.add(_TELL, [{"b_id": "b", "more": "%(một) nửa % \\"}])
    assert together.execute(words) == (2, 1)
    assert {row.id: (row.count, row.said) for row in words.execute(select(_words))} == {
        "a": (12, ""), "b": (1, "%(một) nửa % \\"),
    }  # fmt: skip


@pytest.mark.parametrize(("hop", "statements"), [("fetch", 3), ("confirm", 4)])
def test_a_group_costs_no_more_statements_than_one_item(house: House, hop: str, statements: int) -> None:
    items = [house.delivery(house.send(["inbox-a"], str(number + 1)), "inbox-a") for number in range(4)]
    caller = house.caller("inbox-a")
    counts = []
    for members in (items[:1], items[1:]):
        fetching = [collect.Fetch(caller=caller, delivery_id=item) for item in members]
        confirming = [collect.Confirm(caller=caller, delivery_id=item) for item in members]
        with _statements(house.node.store) as fetched:
            collect.fetch(house.node, fetching)
        with _statements(house.node.store) as confirmed:
            assert set(collect.confirm(house.node, confirming)) == {DeliveryState.DELIVERED}
        counts.append(len(fetched if hop == "fetch" else confirmed))
    # Locked, one question or two, and all changes with what is counted of them.
    assert counts == [statements, statements]
    with house.node.store.read() as connection:
        assert not connection.exec_driver_sql(_WAITING).scalar()


_WAITING = "SELECT sum(count) FROM rollups WHERE state IN ('available', 'fetched')"


def test_many_inboxes_are_listed_by_one_statement_each_as_if_alone(house: House) -> None:
    for number in range(1, 4):
        house.send(["inbox-a", "inbox-b", "pair-a"], str(number))
    house.fetch("inbox-b", house.shown("inbox-b")[0])
    asking = [("inbox-a", 1), ("inbox-b", 25), ("pair-a", 2), ("inbox-a", 25), ('"{lạ},\\', 3), ("inbox-b", 1)]
    wishes = [inbox.Listing(agency_id=agency, limit=most) for agency, most in asking]
    walk = inbox.Listing(agency_id="inbox-a", limit=2, after="")
    with house.node.store.read(is_hop=True) as connection:
        alone = [inbox.waiting(connection, [wish], now=house.now())[0] for wish in wishes]
        assert [len(items) for items in alone] == [1, 2, 0, 3, 0, 1], "each its own, what is being fetched hidden"
        with _statements(house.node.store) as asked:
            assert inbox.waiting(connection, wishes, now=house.now()) == alone
        assert inbox.waiting(connection, [*wishes, walk], now=house.now()) == [*alone, alone[3][:2]]
    assert len(asked) == 3  # which, the items, their packets


def test_what_a_hop_counts_is_the_last_that_it_waits_for(house: House) -> None:
    """It goes with the moves where nothing follows them; where the sender is told of them it follows that."""
    item = house.delivery(house.send(["inbox-a"]), "inbox-a")
    caller = house.caller("inbox-a")
    with _statements(house.node.store) as fetched:
        collect.fetch(house.node, [collect.Fetch(caller=caller, delivery_id=item)])
    failed = collect.Confirm(caller=caller, delivery_id=item, arrived=False, reason="hỏng")
    with _statements(house.node.store) as parked:
        assert collect.confirm(house.node, [failed]) == (DeliveryState.PARKED,)
    assert ["rollups" in text for text in fetched] == [*[False] * (len(fetched) - 1), True]
    assert "UPDATE deliveries" in fetched[-1]
    assert ["rollups" in text for text in parked] == [*[False] * (len(parked) - 1), True]
    assert any("INTO notices" in text for text in parked)
    assert "UPDATE deliveries" not in parked[-1]
    counted = "SELECT state, count FROM rollups WHERE count <> 0"
    assert [(row["state"], row["count"]) for row in house.rows(counted)] == [("parked", 1)]


# --- plans that are kept -----------------------------------------------------------------------------------------

_KEPT = (
    "SELECT name, parameter_types::text[] FROM pg_prepared_statements "
    "WHERE generic_plans > 0 AND position('polled_at' IN statement) > 0"
)


@pytest.mark.parametrize("count", [1, 2])
def test_a_plan_made_while_a_table_was_empty_finds_rows_by_an_index(house: House, count: int) -> None:
    """The server keeps it, and a month's tables are empty at first: it must not read the whole table later."""
    wishes = [inbox.Listing(agency_id=agency, limit=25) for agency in ("inbox-a", "inbox-b")[:count]]
    with house.node.store.read(is_hop=True) as connection:
        for _ in range(20):  # the driver prepares what comes again, then the server keeps one plan for all values
            assert inbox.waiting(connection, wishes, now=house.now()) == [[] for _ in wishes]
        (kept,) = connection.exec_driver_sql(_KEPT).all()
        nothing = ", ".join("''" if kind == "character varying" else "NULL" for kind in kept[1])  # '': of any month
        plan = "\n".join(connection.exec_driver_sql(f'EXPLAIN EXECUTE "{kept[0]}" ({nothing})').scalars())
    looked = re.findall(r"using (\S+) on deliveries_\d", plan)
    assert len(looked) >= 4, plan
    assert all("agency_id_state" in name for name in looked), f"not by what is listed alone: {plan}"
    assert "Seq Scan" not in plan, plan
    assert "Hash Join" not in plan, plan


# --- a response ends while its item is confirmed -----------------------------------------------------------------

_WAITERS = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"


def _waits(store: Store) -> int:
    with store.read() as connection:
        return int(connection.exec_driver_sql(_WAITERS).scalar_one())


def test_a_response_that_ends_holds_no_row_that_a_confirmation_still_wants(house: House) -> None:
    """A confirmation has the chain and has ended the attempt: whoever ends the response waits for it empty-handed."""
    sent = house.send(["inbox-a"])
    item = house.delivery(sent, "inbox-a")
    house.fetch("inbox-a", item)
    (attempt,) = house.attempts(sent, "inbox-a")
    other, watching = house.another_store(), house.another_store()

    def end() -> None:
        with other.write() as connection:
            attempts.end_responses(connection, [attempt["id"]], house.now())

    with ThreadPoolExecutor(1) as pool:
        with house.node.store.write() as connection:
            load_chains(connection, chains_of_deliveries(connection, [item]).values())
            ended = Ended(delivery_id=item, turn=attempt["turn"], end=AttemptEnd.ARRIVED)
            ending = Together()
            attempts.end_attempts(ending, [ended], house.now())
            ending.execute(connection)
            ended_too = pool.submit(end)
            waiting = Retrying(
                retry=retry_if_result(lambda n: n == 0), wait=wait_fixed(0.02), stop=stop_after_delay(60)
            )
            assert waiting(_waits, watching) == 1
            wanted = "SELECT id FROM deliveries WHERE id = %(id)s FOR UPDATE NOWAIT"
            assert connection.exec_driver_sql(wanted, {"id": item}).scalar_one() == item
        ended_too.result(60)
    assert [made["outcome"] for made in house.attempts(sent, "inbox-a")] == [AttemptEnd.ARRIVED]
    other.close()
    watching.close()
