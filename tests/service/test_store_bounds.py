"""PostgreSQL, many months: what is asked of a document looks into its months alone, by plans that are kept too, and
what is old and still open is found all the same."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import psycopg
import pytest
from psycopg import sql
from sqlalchemy import Column, Connection, Table, event, func, literal, update
from tenacity import Retrying, retry_if_result, stop_after_delay, wait_fixed

from gateway.exchange.collect import Listing, list_items
from gateway.model.instants import DAY, id_floor, new_id, new_id_after, wall_now
from gateway.model.states import DeliveryState
from gateway.store import Store, deliveries
from gateway.store.months import listed
from gateway.store.months.bounds import low_of
from gateway.store.months.partitions import PARTITIONED, Month, locked_all, make_month, month_of
from gateway.store.schema import metadata
from tests.support.nodes import Database, House
from tests.support.patience import PATIENCE

BACK = 20
"""Months."""


@pytest.fixture
def database() -> Database:
    return Database.POSTGRESQL


def make_months(house: House, *backs: int, since: Month | None = None) -> None:
    """Months of the past, as on a node that has run so long: before today's, or before `since`."""
    for table in PARTITIONED:
        for back in backs:
            with house.node.store.write() as rows, locked_all(rows, f"{table}_rest"):
                make_month(rows, table, (since or month_of(wall_now())).later(-back))


OLD = id_floor(month_of(wall_now()).later(-BACK).start + 5 * DAY)


def aged(row_id: str) -> str:
    """The id that a row would have, had it been made so many months ago."""
    return OLD + row_id[len(OLD) :]


def age(house: House) -> None:
    """Let all that is stored have been accepted so many months ago; only events keep what they say."""
    make_months(house, BACK)
    columns: dict[Table, list[Column[Any]]] = defaultdict(list)
    for name in ("packets", "deliveries", "transfers", "chains", "documents", "submissions", "idempotency", "attempts"):
        table = metadata.tables[name]
        found = {"id", "packet_id", "chain_id", "transfer_id", "delivery_id"} & set(table.c.keys())
        columns[table] = [table.c[each] for each in found]
    with house.node.store.write() as rows:
        for table, ids in columns.items():
            rows.execute(update(table).values({each: literal(OLD) + func.substr(each, len(OLD) + 1) for each in ids}))


def find_anew(house: House) -> str:
    """What periodic work does each hour; the first time it only begins."""
    for _ in range(2):
        with house.node.store.write() as rows:
            found = listed.find_anew(rows, house.node.store.now(rows))
    return found


# --- plans -------------------------------------------------------------------------------------------------------

_PART = re.compile(r"(?:Scan|using).* on (?:packets|deliveries|events)_(\d{4})_(\d\d)\b")


@contextmanager
def heard(store: Store) -> Iterator[list[tuple[str, Any]]]:
    """Every statement that is executed meanwhile, with its values."""
    said: list[tuple[str, Any]] = []

    def hear(_connection: Any, _cursor: Any, statement: str, values: Any, _context: Any, _many: bool) -> None:
        said.append((statement, values))

    event.listen(store.engine, "before_cursor_execute", hear)
    try:
        yield said
    finally:
        event.remove(store.engine, "before_cursor_execute", hear)


def kept_plan(rows: Connection, statement: str, values: Any, how: str = "ANALYZE, COSTS OFF, TIMING OFF") -> str:
    """How the server found the rows by a plan that was made before it knew the values, and where it looked for any."""
    names = list(dict.fromkeys(re.findall(r"%\((\w+)\)s", statement)))
    for number, name in enumerate(names, 1):
        statement = statement.replace(f"%({name})s", f"${number}")
    given = ", ".join(sql.Literal(values[name]).as_string(None) for name in names)
    rows.exec_driver_sql(f"PREPARE asked AS {statement}".replace("%", "%%"))
    told = f"EXPLAIN ({how}) EXECUTE asked{f' ({given})' if names else ''}".replace("%", "%%")
    plan = [line for line in rows.exec_driver_sql(told).scalars() if "never executed" not in line]
    rows.exec_driver_sql("DEALLOCATE asked")
    return "\n".join(plan)


def read_whole(plan: str) -> list[str]:
    """The indexes of what grows that are read from one end to the other: cheap while a table is empty."""
    nodes = re.split(r"\n\s*->", plan)
    grows = re.compile(r"Scan.* using (\S+) on (?:packets|deliveries|transfers|chains|attempts|events)")
    return [found[1] for node in nodes if (found := grows.search(node)) and "Index Cond" not in node]


def walked(house: House, agency: str) -> list[str]:
    """The first page of a walk through an inbox."""
    wish = Listing(agency_id=agency, limit=100, after=id_floor(wall_now() - DAY))
    (items,) = list_items(house.node, [wish], house.last_lists)
    return [item.delivery_id for item in items]


def live_through(house: House) -> None:
    """A document its whole way to one who fetches and to one who is handed it, and another that is taken back."""
    first = house.send(["inbox-a", "check"], "1")
    house.work()
    assert house.delivery(first, "inbox-a") in house.shown("inbox-a")
    house.collect("inbox-a", house.delivery(first, "inbox-a"))
    house.send(["inbox-a", "check"], "2")
    assert walked(house, "inbox-a")
    house.recall(["inbox-a"], "2")
    house.update(["check"], "2")
    house.work()
    with house.node.store.read(is_hop=True) as rows:
        assert len(deliveries.parties_of(rows, [house.delivery(first, "inbox-a")])) == 1


def test_no_statement_of_a_document_looks_into_months_long_past(house: House) -> None:
    """Months make no document dearer: of those older than what may be asked for, no plan says a word."""
    this_month = month_of(house.now())  # the node's clock, which stands still, and not today's
    long_past = this_month.later(-4)
    make_months(house, *range(1, 9), since=this_month)
    find_anew(house)
    with heard(house.node.store) as said:
        live_through(house)
    asked = {
        statement: values
        for statement, values in said
        if statement.startswith("SELECT") and re.search(r"\b(?:packets|deliveries)\b", statement)
    }
    assert len(asked) > 12, "the hops ask for more than that"
    for statement, values in asked.items():
        with house.node.store.write() as rows:
            plan = kept_plan(rows, statement, values)
        months = {f"{year}-{month}" for year, month in _PART.findall(plan)}
        assert not [month for month in months if month < long_past.name], f"{statement}\n{plan}"
        assert not read_whole(plan), f"{statement}\n{plan}"


def test_a_plan_that_was_made_for_few_rows_is_one_for_many(house: House) -> None:
    """The server keeps it: it must not begin at another end because hardly anything is there yet."""
    for number in range(3, 33):
        house.send(["inbox-a", "check"], str(number))
    with heard(house.node.store) as said:
        live_through(house)
    asked = {text: values for text, values in said if text.startswith("SELECT") and " deliveries" in text}
    with psycopg.connect(house.database, autocommit=True) as connection:
        connection.execute("VACUUM ANALYZE")
    for statement, values in asked.items():
        with house.node.store.write() as rows:
            plan = kept_plan(rows, statement, values, "COSTS OFF")
        assert not read_whole(plan), f"{statement}\n{plan}"
        assert "Bitmap" not in plan, f"{statement}\n{plan}"


def test_no_plan_begins_other_processes(house: House) -> None:
    """A planner that adds up the cost of many months would start some for a few rows, and that is what costs."""
    with house.node.store.read() as rows:
        for name in ("parallel_setup_cost", "parallel_tuple_cost", "min_parallel_index_scan_size"):
            rows.exec_driver_sql(f"SET LOCAL {name} = 0")
        plan = "\n".join(rows.exec_driver_sql("EXPLAIN SELECT id FROM deliveries WHERE chain_id > '0'").scalars())
    assert "Scan" in plan
    assert "Gather" not in plan, plan


def test_plans_are_kept_for_hops_and_made_anew_for_views(house: House) -> None:
    def how(rows: Connection) -> str:
        return str(rows.exec_driver_sql("SHOW plan_cache_mode").scalar_one())

    for _ in range(2):
        with house.node.store.write() as rows:
            assert how(rows) == "force_generic_plan"
        with house.node.store.read(is_hop=True) as rows:
            assert how(rows) == "force_generic_plan"
        with house.node.store.read() as rows:
            assert how(rows) == "auto"


# --- what is old and open ----------------------------------------------------------------------------------------


def test_what_waits_for_long_is_listed_fetched_and_confirmed(house: House) -> None:
    sent = house.send(["inbox-a"])
    item = aged(house.delivery(sent, "inbox-a"))
    age(house)
    assert find_anew(house) == item
    assert house.shown("inbox-a") == [item]
    assert house.collect("inbox-a", item) is DeliveryState.DELIVERED
    assert house.shown("inbox-a") == []
    assert find_anew(house) > item


def test_what_waits_for_long_is_handed_over(house: House) -> None:
    house.send(["check"])
    age(house)
    find_anew(house)
    assert house.work() == 1
    assert len(house.recipient("check").arrivals) == 1


def test_what_follows_an_old_document_finds_it(house: House) -> None:
    sent = house.send(["inbox-a", "inbox-b"])
    items = [aged(house.delivery(sent, agency)) for agency in ("inbox-a", "inbox-b")]
    age(house)
    find_anew(house)
    house.fetch("inbox-b", items[1])
    house.recall(["inbox-a", "inbox-b"])
    states = {row["id"]: row["state"] for row in house.rows("SELECT id, state FROM deliveries")}
    assert [states[item] for item in items] == ["withdrawn", "fetched"]
    assert sorted(set(states.values())) == ["fetched", "waiting", "withdrawn"], "its recall waits for who may have it"
    assert house.shown("inbox-b") == []  # while the response runs
    house.end_response(items[1])
    assert house.shown("inbox-b") == [items[1]]


def test_what_is_old_and_comes_into_an_inbox_again_is_listed_at_once(house: House) -> None:
    """It had expired, an operator sends it again: whoever looks for the oldest has found younger ones meanwhile."""
    sent = house.send(["inbox-a"])
    item = aged(house.delivery(sent, "inbox-a"))
    house.pass_time(31 * DAY)
    house.sweep()
    assert house.state(sent, "inbox-a") == "expired"
    age(house)
    assert find_anew(house) > item
    house.resend_delivery(item)
    assert house.shown("inbox-a") == [item]
    assert find_anew(house) == item
    assert house.shown("inbox-a") == [item]


_WAITERS = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"


def wait_for_one_who_waits(store: Store) -> None:
    def waiting() -> int:
        with store.read() as rows:
            return int(rows.exec_driver_sql(_WAITERS).scalar_one())

    Retrying(retry=retry_if_result(lambda n: n == 0), wait=wait_fixed(0.02), stop=stop_after_delay(PATIENCE))(waiting)


@pytest.mark.parametrize("finds_first", [True, False])
def test_who_looks_for_the_oldest_and_who_brings_an_older_one_wait_for_each_other(
    house: House, *, finds_first: bool
) -> None:
    with house.node.store.write() as rows:
        assert listed.find_anew(rows, house.now()) == ""  # its place is made: no month is passed over yet
    other, watching = house.another_store(), house.another_store()
    old = aged(new_id())

    def find(rows: Connection) -> None:
        listed.find_anew(rows, house.now())

    def bring(rows: Connection) -> None:
        listed.note(rows, [new_id(), old], house.now())

    first, second = (find, bring) if finds_first else (bring, find)

    def second_one() -> None:
        with other.write() as rows:
            second(rows)

    with ThreadPoolExecutor(1) as pool:
        with house.node.store.write() as rows:
            first(rows)
            later = pool.submit(second_one)
            wait_for_one_who_waits(watching)
        later.result(PATIENCE)
    with watching.read() as rows:
        kept = listed.listed_since(listed.kept_since(rows), house.now())
    # What was brought is nobody's row here: who looks after that finds none, who looked before is put right.
    assert (kept == old) is finds_first
    other.close()
    watching.close()


def test_a_clock_that_is_ahead_hides_nothing(house: House) -> None:
    """Half a year ahead, it finds that nothing is listed; set right again, new documents are listed."""
    house.pass_time(180 * DAY)
    find_anew(house)
    house.clock.jump(-180 * DAY)
    sent = house.send(["inbox-a"])
    assert house.shown("inbox-a") == [house.delivery(sent, "inbox-a")]


# --- ids ---------------------------------------------------------------------------------------------------------


def test_what_hangs_on_something_has_a_later_id_though_our_clock_is_behind() -> None:
    ahead = id_floor(wall_now() + 3 * DAY) + new_id()[13:]
    later = [new_id_after(new_id(), ahead) for _ in range(3)]
    assert all(one > ahead for one in later)
    assert len(set(later)) == 3
    form = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}")
    assert all(map(form.fullmatch, later))
    earlier = id_floor(wall_now() - DAY) + ahead[13:]
    assert earlier < new_id_after(earlier) < new_id()


def test_a_bound_is_a_day_before_the_oldest_and_none_where_nothing_tells_a_time() -> None:
    now = wall_now()
    first, second = (id_floor(at) + new_id()[13:] for at in (now - 9 * DAY, now))
    assert low_of([second, first]) == id_floor(now - 10 * DAY)
    assert low_of([]) == low_of(["thường"]) == ""
