"""What PostgreSQL undid for another's sake runs again by itself, a few times, and only then somebody is told."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from psycopg.errors import DeadlockDetected
from sqlalchemy import event

from edxml import BusinessKind, DocumentId
from gateway.exchange.accept import accept
from gateway.exchange.claims import claim_group
from gateway.exchange.examine import prepare
from gateway.exchange.resting import move_backlog
from gateway.exchange.submission import Answer, Prepared
from gateway.model.errors import StoreBusy, StoreUndone
from gateway.model.states import ChannelState
from gateway.store import Connection
from gateway.store.begun import begin
from gateway.store.channels import release_agencies, serve_agencies, set_state
from gateway.store.repeating import MOST_TRIES, repeated_where_undone
from gateway.store.transfers import forget_announced
from gateway.transport.contract import Ticket
from gateway.workers.months import keep_months
from gateway.workers.relay import relay_once
from tests.support.nodes import Database, House, document_id
from tests.support.patience import PATIENCE, until
from tests.support.stores import tell


@pytest.fixture
def database() -> Database:
    return Database.POSTGRESQL


def is_waiting(house: House, pid: int) -> bool:
    """Whether that connection waits for another's lock."""
    with house.node.store.read() as connection:
        return bool(tell(connection, "SELECT cardinality(pg_blocking_pids(?)) AS n", pid).scalar_one())


_WAITERS = "SELECT pid FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"


def hold(connection: Connection, transfer_id: str) -> None:
    tell(connection, "SELECT id FROM transfers WHERE id = ? FOR UPDATE", transfer_id).all()


def pid_of(connection: Connection) -> int:
    return int(tell(connection, "SELECT pg_backend_pid() AS pid").scalar_one())


def test_a_hop_that_lost_a_deadlock_runs_again_and_nobody_is_told(house: House) -> None:
    """Two who lock in another order than ours: the hop is the one that finds the circle, and is undone.

    The hop takes the first transfer and waits for the second; the other has the third and comes to wait for the first;
    then the second is let go, and the hop waits for the third.
    """
    for number in ("1", "2", "3"):
        house.send(["check"], number)
    tickets = sorted(house.due(), key=lambda ticket: ticket.transfer_id)
    first, second, third = (ticket.transfer_id for ticket in tickets)
    store = house.node.store

    with ThreadPoolExecutor(2) as pool, store.engine.connect() as middle:
        hold(middle, second)
        other = house.another_store()
        with other.write() as crossing:
            tell(crossing, "SET LOCAL deadlock_timeout = '1h'")  # it looks for no circle itself
            tell(crossing, "SET LOCAL lock_timeout = 0")
            hold(crossing, third)
            mine = pid_of(crossing)
            claimed = pool.submit(claim_group, house.node, tickets)
            until(lambda: house.rows(_WAITERS))
            waiting = pool.submit(hold, crossing, first)
            until(lambda: is_waiting(house, mine))
            middle.rollback()
            waiting.result(60)  # the hop was undone, and let the first go
        other.close()
        assert {one.transfer_id for one in claimed.result(60)} == {first, second, third}


def test_who_forgets_what_is_announced_waits_with_nothing_that_a_claim_needs(house: House) -> None:
    """A claim locks by ids; an index has them channel by channel. Crossing, each would wait for the other."""
    house.send(["idem"], "1")
    house.send(["check"], "2")
    store = house.node.store
    with store.write() as connection:
        tell(connection, "UPDATE transfers SET announced_at = 1")
    first, second = sorted(ticket.transfer_id for ticket in house.ready())

    def forget() -> None:
        with store.write() as connection:
            forget_announced(connection)

    other = house.another_store()
    with ThreadPoolExecutor(1) as pool:
        with other.write() as claiming:
            hold(claiming, first)
            forgetting = pool.submit(forget)
            until(lambda: house.rows(_WAITERS))
            tell(claiming, "SELECT id FROM transfers WHERE id = ? FOR UPDATE NOWAIT", second).all()
        forgetting.result(60)
    other.close()
    assert house.rows("SELECT count(announced_at) AS n FROM transfers") == [{"n": 0}]


def end_connection(house: House, connection: Connection) -> None:
    """As an administrator does it."""
    pid = pid_of(connection)
    with house.node.store.write() as other:
        tell(other, "SELECT pg_terminate_backend(?)", pid)


@pytest.mark.parametrize(("lost", "comes_through"), [(1, True), (MOST_TRIES - 1, True), (MOST_TRIES, False)])
def test_a_connection_that_is_lost_in_mid_transaction_is_tried_again_so_often(
    house: House, lost: int, comes_through: bool
) -> None:
    begun: list[int] = []

    @repeated_where_undone
    def write() -> None:
        with house.node.store.write() as connection:
            begun.append(1)
            begin(connection, ["a"])
            if len(begun) <= lost:
                end_connection(house, connection)
                begin(connection, ["b"])

    if comes_through:
        write()
    else:
        with pytest.raises(StoreBusy):
            write()
    assert len(begun) == min(lost + 1, MOST_TRIES)
    assert house.rows("SELECT count(*) AS n FROM intake_faults")[0]["n"] == int(comes_through)


def test_what_is_not_undone_is_not_repeated(house: House) -> None:
    """A lock that somebody keeps was waited for long enough."""
    begun: list[int] = []

    @repeated_where_undone
    def write() -> None:
        begun.append(1)
        with house.node.store.write() as connection:
            tell(connection, "SET LOCAL lock_timeout = '50ms'")
            tell(connection, "UPDATE node SET created_at = 2")

    other = house.another_store()
    with other.write() as held:
        tell(held, "UPDATE node SET created_at = 1")
        with pytest.raises(StoreBusy) as told:
            write()
    assert not isinstance(told.value, StoreUndone)
    assert begun == [1]
    other.close()


def test_a_hop_whose_rows_somebody_moved_meanwhile_reads_them_anew(house: House) -> None:
    """Nobody of ours moves a delivery without its chain; where it happens all the same, its recipient is not told."""
    house.send(["inbox-a"])
    [item] = house.shown("inbox-a")
    house.fetch("inbox-a", item)
    house.end_response(item)
    other = house.another_store()
    turns = iter([True])

    @event.listens_for(house.node.store.engine, "before_cursor_execute")
    def move_meanwhile(_conn: object, _cursor: object, statement: str, *_: object) -> None:
        if "UPDATE deliveries" in statement and next(turns, False):
            with other.write() as connection:
                tell(connection, "UPDATE deliveries SET state = 'available' WHERE id = ?", item)

    assert house.confirm("inbox-a", item) == "delivered"
    assert next(turns, None) is None, "nobody moved it in between"
    other.close()


def undo_updates(house: House, *which: int) -> None:
    """Of those that update transfers from now on these are undone: the first, the third."""
    numbers = ", ".join(map(str, which))
    with house.node.store.write() as connection:
        connection.exec_driver_sql("CREATE SEQUENCE thu_asked")
        connection.exec_driver_sql(
            "CREATE FUNCTION thu_undo() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN"
            f" IF nextval('thu_asked') IN ({numbers})"
            " THEN RAISE EXCEPTION 'for another''s sake' USING ERRCODE = '40P01'; END IF; RETURN NULL; END $$"
        )
        connection.exec_driver_sql(
            "CREATE TRIGGER thu_undo BEFORE UPDATE ON transfers FOR EACH STATEMENT EXECUTE FUNCTION thu_undo()"
        )


def test_a_relay_whose_picking_and_putting_back_are_undone_announces_each_ticket_once(house: House) -> None:
    """A round picks, is undone, picks; nobody listens; it puts back, is undone, puts back. The next one is heard."""
    house.send(["check"])
    announced: list[Ticket] = []

    def listen(tickets: tuple[Ticket, ...]) -> None:
        announced.extend(tickets)

    undo_updates(house, 1, 3, 5)
    assert relay_once(house.node) == 0
    assert house.rows("SELECT last_value AS n FROM thu_asked")[0]["n"] == 4
    house.node.transport.listen("deliver.normal", 1, listen)
    assert relay_once(house.node) == 1
    assert relay_once(house.node) == 0
    until(lambda: announced)
    assert len(announced) == 1
    assert house.rows("SELECT last_value AS n FROM thu_asked")[0]["n"] == 6


def test_a_backlog_whose_move_is_undone_moves_once(house: House) -> None:
    """Where a page of it is undone for another's sake, nothing of it stays: it is read anew, and told once."""
    sent = [house.send(["blind"], number=str(number)) for number in range(1, 4)]
    with house.node.store.write() as connection:
        release_agencies(connection, "blind", ["blind"])
        assert not serve_agencies(connection, "check", ["blind"])
        set_state(connection, "blind", ChannelState.PAUSED, now=house.now(), actor="test")
    undo_updates(house, 1)
    rows = house.node.channels.refresh().by_id
    assert move_backlog(house.node, rows["blind"], rows["check"], actor="test").moved == len(sent)
    assert house.rows("SELECT last_value AS n FROM thu_asked")[0]["n"] > 1, "it was undone, and done again"
    told = [row["reason"] for row in house.rows("SELECT reason FROM events WHERE kind = 'channel.emptied'")]
    assert told == ["channel:blind channel:check deliveries x3"]
    for one in sent:
        assert [kind for kind, _ in house.events(one, "blind")].count("delivery.moved") == 1
    house.assert_books_close()


def test_a_month_whose_making_is_undone_is_made_at_once(house: House) -> None:
    """Who looks after the database (`vacuumdb`) locks tables in an order of his own; the next try was an hour later."""
    with house.node.store.write() as connection:
        connection.exec_driver_sql("CREATE SEQUENCE thu_asked")
        connection.exec_driver_sql(
            "CREATE FUNCTION thu_undo() RETURNS event_trigger LANGUAGE plpgsql AS $$ BEGIN"
            " IF nextval('thu_asked') = 1 THEN RAISE EXCEPTION 'for another''s sake' USING ERRCODE = '40P01'; END IF;"
            " END $$"
        )
        connection.exec_driver_sql(
            "CREATE EVENT TRIGGER thu_undo ON ddl_command_start WHEN TAG IN ('CREATE TABLE')"
            " EXECUTE FUNCTION thu_undo()"
        )
    made = keep_months(house.node.store, 3)
    assert made > 0
    assert house.rows("SELECT last_value AS n FROM thu_asked")[0]["n"] == made + 1
    assert keep_months(house.node.store, 3) == 0


def test_two_who_write_in_one_family_undo_neither(house: House) -> None:
    """2 replaces 1, whose row says when the family's turn is. Who names both stands before who names 2 alone."""
    house.send(["check"], "1")
    house.replacement(["check"], "1", "2")
    both, second = ([_update(house, number, who) for number in numbers] for who, numbers in (("a", "12"), ("b", "2")))
    faults: list[type[BaseException]] = []
    event.listen(house.node.store.engine, "handle_error", lambda why: faults.append(type(why.original_exception)))
    with ThreadPoolExecutor(2) as pool:
        other = house.another_store()
        with other.write() as first:
            tell(first, "SELECT key FROM documents ORDER BY key LIMIT 1 FOR UPDATE").all()
            working = [pool.submit(accept, house.node, both)]
            until(lambda: len(house.rows(_WAITERS)) == 1)
            working.append(pool.submit(accept, house.node, second))
            until(lambda: len(house.rows(_WAITERS)) == len(working))
        other.close()
        outcomes = [outcome for one in working for outcome in one.result(PATIENCE)]
    assert [type(outcome) for outcome in outcomes] == [Answer] * 3
    assert DeadlockDetected not in faults
    house.assert_books_close()


def _update(house: House, number: str, subject: str) -> Prepared:
    told: dict[str, Any] = {
        "business_kind": BusinessKind.UPDATE, "business_reason": "Cập nhật", "document_changed": True,
        "business_document_id": DocumentId(document_id(number)), "receivers_changed": False, "receiver_changes": (),
    }  # fmt: skip
    return prepare(house.node, house.submission(house.packet(["check"], number, subject=subject, **told)))
