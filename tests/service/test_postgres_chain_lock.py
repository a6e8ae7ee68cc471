"""The chain's own row lock on PostgreSQL: a link that is being added is seen by whoever moves what stands before it.

A statement that waits for a transfer's row sees that row as it became, and no link that was added meanwhile: it was not
there when the statement began.  Whoever holds the chain's row begins to look when nobody adds any more.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace

import pytest
from sqlalchemy import event

from adapters.contract import Done
from gateway.exchange.accept import accept
from gateway.exchange.claims import claim_group
from gateway.exchange.conclude import conclude_all
from gateway.exchange.examine import prepare
from gateway.exchange.work import Work
from tests.support.nodes import Database, House
from tests.support.patience import PATIENCE, until

_WAITERS = "SELECT pid FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"


@pytest.fixture
def database() -> Database:
    return Database.POSTGRESQL


@contextmanager
def _accepting(house: House, body: bytes) -> Iterator[None]:
    """Within it that packet is written down by another process and not committed; afterwards it is, once somebody
    waits for that."""
    store = house.another_store()
    node = replace(house.node, store=store)
    prepared = prepare(node, house.submission(body))
    is_written, may_commit = threading.Event(), threading.Event()

    def hold(_connection: object) -> None:
        is_written.set()
        assert may_commit.wait(PATIENCE)

    event.listen(store.engine, "commit", hold)
    with ThreadPoolExecutor(1) as pool:
        accepting = pool.submit(accept, node, [prepared])
        try:
            until(lambda: is_written.is_set() or accepting.done())
            yield
            until(lambda: house.rows(_WAITERS))
        finally:
            may_commit.set()
        accepting.result(PATIENCE)
    store.close()


def _beside(house: House, body: bytes, work: Callable[[], object]) -> None:
    """That work begins while the packet is written and not committed, and ends after it."""
    with ThreadPoolExecutor(1) as pool:
        with _accepting(house, body):
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


def test_a_recall_that_is_being_accepted_is_seen_by_who_confirms_its_document(house: House) -> None:
    document = house.send(["inbox-a"])
    [item] = house.shown("inbox-a")
    house.fetch("inbox-a", item)
    house.end_response(item)
    _beside(house, house.recall_packet(["inbox-a"]), lambda: house.confirm("inbox-a", item))
    assert house.state(document, "inbox-a") == "delivered"
    [recall] = house.rows("SELECT state FROM deliveries WHERE kind = 'recall'")
    assert recall["state"] == "available"
    house.assert_books_close()
