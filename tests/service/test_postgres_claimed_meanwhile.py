"""Somebody claims a transfer, or renews that, while another, who has its chain, waits for the row: both see what is so.

PostgreSQL gives who waited the row that was locked as it is then, and what is joined to it as it was before.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager

import pytest

from adapters.contract import Done
from gateway.exchange.claims import claim_group
from gateway.exchange.conclude import conclude_all
from gateway.exchange.sweep import reclaim_once
from gateway.exchange.work import Work
from gateway.model.instants import MINUTE
from gateway.model.states import DeliveryState
from gateway.store import Store, claims
from gateway.store.attempts import Begun, begin_attempts, lock_held
from gateway.store.chains import load_chains
from tests.support.late import within_a_minute
from tests.support.nodes import Database, House
from tests.support.patience import PATIENCE, until

_WAITERS = "SELECT pid FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"


@pytest.fixture
def database() -> Database:
    return Database.POSTGRESQL


@pytest.fixture
def other(house: House) -> Iterator[Store]:
    """The store as another process has it."""
    store = house.another_store()
    yield store
    store.close()


@contextmanager
def _claiming(house: House, other: Store) -> Iterator[None]:
    """Within it the one ticket there is is being claimed; afterwards it is, once somebody waits for that."""
    [ticket] = house.ready()
    with other.write() as connection:
        ours = claims.claim(
            connection, [(ticket.transfer_id, ticket.turn)], worker="thu/w2/2", lease=MINUTE, now=house.now()
        )
        assert list(ours) == [ticket.transfer_id]
        yield
        until(lambda: house.rows(_WAITERS))


def test_who_waits_for_a_claim_sees_that_it_is_claimed(house: House, other: Store) -> None:
    sent = house.send(["check"])
    row = house.row(sent, "check")

    def state() -> DeliveryState:
        with house.node.store.write() as connection:
            return load_chains(connection, [row["chain_id"]])[row["chain_id"]].find(row["id"]).state

    with ThreadPoolExecutor(1) as pool:
        with _claiming(house, other):
            found: Future[DeliveryState] = pool.submit(state)
        assert found.result(PATIENCE) is DeliveryState.CLAIMED


def test_a_late_receipt_is_written_down_while_another_worker_claims(house: House, other: Store) -> None:
    """Else the hop ended with StaleMove, and with it what all others of its group had answered."""
    sent = house.send(["check"])
    [claimed] = claim_group(house.node, house.ready())
    begun = Begun(transfer_id=claimed.transfer_id, turn=claimed.turn, landing=within_a_minute(house))
    with house.node.store.write() as connection:
        held = lock_held(connection, [claimed.transfer_id], [claimed.packet.id])
        assert begin_attempts(connection, [begun], held, worker=house.node.worker, now=house.now())
    house.pass_time(2 * MINUTE)
    house.sweep()
    assert house.state(sent, "check") == "ready", "its lease ran out"
    work = Work(claimed)
    work.outcome = Done()
    with ThreadPoolExecutor(1) as pool:
        with _claiming(house, other):
            concluding = pool.submit(conclude_all, house.node, [work])
        concluding.result(PATIENCE)
    assert house.state(sent, "check") == "delivered"
    house.assert_books_close()


def test_a_claim_that_its_worker_is_renewing_is_not_taken_from_it(house: House, other: Store) -> None:
    """The sweep has seen that its lease ran out, and waits for the row: the worker lives."""
    sent = house.send(["check"])
    [claimed] = claim_group(house.node, house.ready())
    house.pass_time(2 * MINUTE)
    with ThreadPoolExecutor(1) as pool:
        with other.write() as connection:
            claims.renew_leases(connection, [(claimed.transfer_id, claimed.turn)], house.now() + MINUTE)
            sweeping = pool.submit(reclaim_once, house.node)
            until(lambda: house.rows(_WAITERS))
        assert sweeping.result(PATIENCE) == 0
    assert (house.state(sent, "check"), house.row(sent, "check")["turn"]) == ("claimed", claimed.turn)
