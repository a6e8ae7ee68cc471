"""Two transactions work on one chain, and the one with the smaller number comes second: the account closes.

A transaction gets its number with its first write.  One that wrote early and then waits for a chain writes its events
after another's with a larger number; read in the order of numbers they would tell a delivery's story the wrong way.
"""

from __future__ import annotations

import pytest

from gateway.exchange.advance import do_moves
from gateway.model.chain import Reason
from gateway.model.instants import HOUR
from gateway.model.states import DeliveryState
from gateway.model.step import move_of
from gateway.store.chains import chains_of_deliveries, load_chains
from gateway.store.views.document import document
from tests.support.nodes import Database, Does, House
from tests.support.stores import tell


@pytest.fixture
def database() -> Database:
    return Database.POSTGRESQL


def test_who_wrote_first_and_came_second_is_read_second(house: House) -> None:
    sent = house.send(["check"])
    delivery = house.delivery(sent, "check")
    house.recipient("check").next(Does.REFUSE)
    with house.node.store.write() as late:
        tell(late, "INSERT INTO intake_faults VALUES ('số của giao dịch này', 0)")
        house.work()  # another transaction, begun later, takes it back to where it was, and commits
        assert house.state(sent, "check") == "ready"
        chain_id = chains_of_deliveries(late, [delivery])[delivery]
        chains = load_chains(late, [chain_id])
        move = move_of(chains[chain_id].find(delivery), DeliveryState.WITHDRAWN, Reason.RECALLED)
        now = house.node.store.now(late) - HOUR  # and by a clock that was set back meanwhile
        do_moves(late, chains.values(), [move], now=now, at=now, actor="thử")
    told = house.rows("SELECT state_after FROM events WHERE delivery_id = ? ORDER BY written", delivery)
    assert [row["state_after"] for row in told] == ["ready", "ready", "withdrawn"]
    by_number = house.rows("SELECT state_after FROM events WHERE delivery_id = ? ORDER BY position", delivery)
    assert by_number[-1]["state_after"] == "ready", "or this shows nothing"
    house.assert_books_close()
    with house.node.store.read() as connection:
        seen = document(connection, sent.packet_id, seen_by=None)
    assert seen is not None
    shown = [line.kind for line in seen.timeline if line.agency_id == "check"]
    assert shown[-1] == "delivery.withdrawn", "people are told it in that order too"
