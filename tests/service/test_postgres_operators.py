"""Two operators at once on PostgreSQL: whoever applies a file and whoever pauses a channel lock in one order."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

from gateway.archive import months
from gateway.exchange.resting import begin_drain, set_channel_state
from gateway.model.states import ChannelState
from gateway.node import Node
from gateway.store import Connection, families, packets
from gateway.store.backlog import drained
from gateway.store.channels import ChannelRow, list_channels, put_channel, set_windows
from gateway.store.versions import lock_configuration
from tests.support.archives import KEPT, pass_month
from tests.support.nodes import Database, House
from tests.support.patience import PATIENCE, until
from tests.support.terminal import Terminal

_WAITERS = "SELECT pid FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"


@pytest.fixture
def database() -> Database:
    return Database.POSTGRESQL


def _resume(node: Node) -> object:
    return set_channel_state(node, "blind", ChannelState.OPEN, actor="second")


def _drain(node: Node) -> object:
    return begin_drain(node, "blind", actor="second")


def _rest(node: Node) -> object:
    with node.store.write() as connection:
        return set_windows(connection, "blind", ("22:00-05:00",), now=node.store.now(connection), actor="second")


def _end_drain(node: Node) -> object:
    with node.store.write() as connection:
        return drained(connection, "blind", now=node.store.now(connection), actor="second")


def test_of_two_operators_the_second_waits_and_neither_is_undone(house: House) -> None:
    """The first has locked the configuration and goes on to the channel that the second is at: locked the other way
    round, each would wait for the other, and the database would undo one of them."""
    store = house.another_store()
    with ThreadPoolExecutor(1) as pool:
        for number, act in enumerate((_rest, _drain, _end_drain, _resume), start=1):
            with house.node.store.write() as connection:
                lock_configuration(connection)
                second = pool.submit(act, replace(house.node, store=store))
                until(lambda: house.rows(_WAITERS))
                put_channel(connection, replace(_row(connection), in_flight=number))
            second.result(PATIENCE)
            with house.node.store.read() as connection:
                row = _row(connection)
            assert (row.in_flight, row.state, row.windows) == (number, _STATES[act], ("22:00-05:00",)), act
    store.close()


def _row(connection: Connection) -> ChannelRow:
    (row,) = [one for one in list_channels(connection) if one.id == "blind"]
    return row


_STATES = {
    _rest: ChannelState.OPEN, _drain: ChannelState.DRAINING, _end_drain: ChannelState.PAUSED, _resume: ChannelState.OPEN
}  # fmt: skip


def test_a_hold_that_is_put_on_while_its_family_is_united_holds_all_of_it(house: House, truc: Terminal) -> None:
    """The root that was read before would name nothing afterwards, and the month could go."""
    house.send(["check"], "1")
    second = house.send(["check"], "2")
    house.work()
    with ThreadPoolExecutor(1) as pool:
        with house.node.store.write() as connection:
            lead, other = (row["root"] for row in house.rows("SELECT root FROM documents ORDER BY key"))
            packets.documents_by_key(connection, [lead, other])
            families.unite(connection, lead, [other])
            holding = pool.submit(truc, "hold", "add", "--document", second.packet_id, "--reason", "vụ 12/2026")
            until(lambda: house.rows(_WAITERS) or holding.done())
        holding.result(PATIENCE)
    pass_month(house)
    assert [one.reason for one in months(house.node.store, KEPT)[0].obstacles.holds] == ["vụ 12/2026"]
