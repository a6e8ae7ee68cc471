"""While nobody takes tickets the relay waits: nothing is picked, nothing is written, and it goes on by itself."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from gateway.transport.contract import Ticket
from gateway.transport.rabbitmq import RabbitTransport
from gateway.workers.relay import relay_once, start_relay
from tests.support.nodes import House, build_house
from tests.support.patience import until
from tests.support.rabbitmq import free_ports
from tests.support.stores import tell


class _Closed:
    """A transport that can be told to take tickets or none, and keeps what it was asked."""

    def __init__(self) -> None:
        self.takes, self.asked, self.said = False, 0, list[Ticket]()
        self.call: Callable[[str], None] = lambda _topic: None

    @property
    def takes_tickets(self) -> bool:
        self.asked += 1
        return self.takes

    def announce(self, tickets: Sequence[Ticket]) -> Sequence[Ticket]:
        self.said += tickets
        return tickets

    def on_wake(self, _topics: Sequence[str], callback: Callable[[str], None]) -> _Closed:
        self.call = callback
        return self

    def close(self, timeout: float = 5.0) -> None:
        pass


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    """Its transport is RabbitMQ's; nobody answers there."""
    built = build_house(tmp_path, broker=f"amqp://127.0.0.1:{free_ports(1)[0]}/truc")
    yield built
    built.close()


def test_a_relay_that_nobody_listens_to_touches_nothing(house: House, tmp_path: Path) -> None:
    house.send(["check", "idem"])
    transport = _Closed()
    watching = sqlite3.connect(tmp_path / "data" / "truc.db")
    before = _commits(watching)
    relay = start_relay(replace(house.node, transport=transport))  # type: ignore[arg-type]
    try:
        for rounds in (1, 2, 3):
            transport.call("relay")  # as every accepted packet does
            until(lambda rounds=rounds: transport.asked >= rounds)  # type: ignore[misc]
        assert transport.said == []
        assert _commits(watching) == before
        transport.takes = True
        transport.call("relay")  # as the transport does when the broker is back
        until(lambda: len(transport.said) == 2)
        until(lambda: _commits(watching) > before)
    finally:
        relay.close()
        watching.close()


def _commits(watching: sqlite3.Connection) -> int:
    """Goes up with every commit of any other connection."""
    return int(watching.execute("PRAGMA data_version").fetchone()[0])


def test_what_could_not_be_announced_is_counted_and_due_as_before(house: House) -> None:
    """The broker went away between the question and the answer."""
    house.send(["check", "idem"])
    assert isinstance(house.node.transport, RabbitTransport)
    assert not house.node.transport.takes_tickets
    assert relay_once(house.node) == 0
    with house.node.store.read() as connection:
        assert tell(connection, "SELECT count(*) FROM transfers WHERE announced_at IS NOT NULL").scalar_one() == 0
    assert _tickets(house) == {"unconfirmed": 2.0}


def _tickets(house: House) -> dict[str, float]:
    families = text_string_to_metric_families(house.node.metrics.render().decode())
    (tickets,) = (family for family in families if family.name == "truc_tickets")
    return {sample.labels["event"]: sample.value for sample in tickets.samples if sample.value}
