"""The chain's own row lock on PostgreSQL: a link that is being added is seen by whoever moves what stands before it.

A statement that waits for a transfer's row sees that row as it became, and no link that was added meanwhile: it was not
there when the statement began.  Whoever holds the chain's row begins to look when nobody adds any more.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import replace

import psycopg
import pytest
from sqlalchemy import event

from adapters.contract import Done
from gateway.exchange.accept import accept
from gateway.exchange.claims import claim_group
from gateway.exchange.collect import Confirm, Known, confirm
from gateway.exchange.conclude import conclude_all
from gateway.exchange.examine import prepare
from gateway.exchange.work import Work
from gateway.model.errors import Conflict
from gateway.model.instants import MINUTE
from gateway.model.states import DeliveryState
from gateway.node import Node
from tests.support.nodes import Database, House
from tests.support.patience import PATIENCE, until
from tests.support.recipients import Does
from tests.support.stores import tell

_MOST_LOOKS = 3
"""Its delivery with the chain, the chain's links, their attempts."""
_LOCKED = "SELECT pid FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"
_WAITERS = f"{_LOCKED} AND wait_event <> 'advisory'"
_HELD = f"{_LOCKED} AND wait_event = 'advisory'"
_KEY = 4711
_HOLD = (
    "CREATE FUNCTION thu_hold() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN"
    f" SET LOCAL lock_timeout = 0; PERFORM pg_advisory_xact_lock_shared({_KEY}); RETURN NULL; END $$",
    "CREATE CONSTRAINT TRIGGER thu_hold AFTER INSERT OR UPDATE ON rollups DEFERRABLE INITIALLY DEFERRED"
    " FOR EACH ROW EXECUTE FUNCTION thu_hold()",
)
"""Every commit of what counts deliveries waits, in the server, while somebody else holds that lock."""


@pytest.fixture
def database() -> Database:
    return Database.POSTGRESQL


@contextmanager
def _committing(house: House, work: Callable[[Node], object]) -> Iterator[Future[object]]:
    """Within it another process has done that work but for its commit; afterwards it is done, once somebody waits."""
    store = house.another_store()
    with house.node.store.write() as connection:
        for statement in _HOLD:
            tell(connection, statement)
    with ThreadPoolExecutor(1) as pool:
        with closing(psycopg.connect(house.database, autocommit=True)) as holding:
            holding.execute(f"SELECT pg_advisory_lock({_KEY})")
            working = pool.submit(work, replace(house.node, store=store))
            until(lambda: house.rows(_HELD) or working.done())
            yield working
            until(lambda: house.rows(_WAITERS))
        working.result(PATIENCE)
    store.close()


def _beside(house: House, body: bytes, work: Callable[[], object]) -> None:
    """That work begins while the packet is written and not committed, and ends after it."""
    prepared = prepare(house.node, house.submission(body))
    with ThreadPoolExecutor(1) as pool:
        with _committing(house, lambda node: accept(node, [prepared])):
            working = pool.submit(work)
        working.result(PATIENCE)


def test_a_recall_that_is_being_accepted_is_seen_by_who_concludes_its_document(house: House) -> None:
    """Else the recall waits for ever for a document that has arrived (trace §14)."""
    document = house.send(["check"])
    [claimed] = claim_group(house.node, house.ready())
    done = Work(claimed)
    done.outcome = Done()
    _beside(house, house.recall_packet(["check"]), lambda: conclude_all(house.node, [done]))
    assert house.state(document, "check") == "delivered"
    [recall] = house.rows("SELECT state FROM deliveries WHERE kind = 'recall'")
    assert recall["state"] == "ready"
    house.assert_books_close()


@pytest.mark.parametrize("served_it", [True, False], ids=["who-served-it", "another-process"])
def test_a_recall_that_is_being_accepted_is_seen_by_who_confirms_its_document(house: House, served_it: bool) -> None:
    """Who served it knows the chain's name; another process looks for it, and locks it by the same statement."""
    document = house.send(["inbox-a"])
    [item] = house.shown("inbox-a")
    house.fetch("inbox-a", item)
    house.end_response(item)
    if not served_it:
        house.known = Known()
    _beside(house, house.recall_packet(["inbox-a"]), lambda: house.confirm("inbox-a", item))
    assert house.state(document, "inbox-a") == "delivered"
    [recall] = house.rows("SELECT state FROM deliveries WHERE kind = 'recall'")
    assert recall["state"] == "available"
    house.assert_books_close()


def test_a_recall_that_is_being_accepted_is_seen_by_who_releases_its_document(house: House) -> None:
    """Else what may have arrived is sent again, though its sender has recalled it (rule 9)."""
    document = house.send(["blind"])
    house.recipient("blind").next(Does.LOSE)
    house.work()
    house.pass_time(MINUTE)  # what was sent is over; whether it arrived nobody knows
    with pytest.raises(Conflict) as told:
        _beside(house, house.recall_packet(["blind"]), lambda: house.release(document, "blind"))
    assert told.value.reason == "release.behind_earlier"
    assert house.state(document, "blind") == "parked"
    house.assert_books_close()


def test_pollers_of_one_inbox_who_confirm_at_once_are_answered_alike(house: House) -> None:
    """One of them writes it down; the others wait for him, see it, and change nothing."""
    house.send(["inbox-a"])
    [item] = house.shown("inbox-a")
    house.fetch("inbox-a", item)
    house.end_response(item)
    said = Confirm(caller=house.caller("inbox-a"), delivery_id=item)
    with ThreadPoolExecutor(2) as pool:
        with _committing(house, lambda node: confirm(node, [said])) as first:
            others = [pool.submit(confirm, house.node, [said]), pool.submit(confirm, house.node, [said, said])]
        answers = [one.result(PATIENCE) for one in (first, *others)]
    assert answers == [(DeliveryState.DELIVERED,), (DeliveryState.DELIVERED,), (DeliveryState.DELIVERED,) * 2]
    [told] = house.rows("SELECT count(*) AS n FROM events WHERE kind = 'delivery.delivered'")
    assert told["n"] == 1
    house.assert_books_close()


def test_a_repeated_confirmation_looks_and_writes_nothing(house: House) -> None:
    house.send(["inbox-a"])
    [item] = house.shown("inbox-a")
    assert house.collect("inbox-a", item) == DeliveryState.DELIVERED
    asked: list[str] = []

    def see(_connection: object, _cursor: object, statement: str, *_: object) -> None:
        asked.append(statement.split()[0])

    event.listen(house.node.store.engine, "before_cursor_execute", see)
    assert house.confirm("inbox-a", item) == DeliveryState.DELIVERED
    event.remove(house.node.store.engine, "before_cursor_execute", see)
    assert set(asked) == {"SELECT"}
    assert len(asked) <= _MOST_LOOKS
