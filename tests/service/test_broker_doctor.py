"""What `truc broker check` and `truc doctor` say of a broker that answers and still needs a person."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pika
import pytest

from gateway.transport.rabbitmq import make_layout
from gateway.transport.topology import DEAD, LAYOUT, TICKETS
from tests.support.patience import until
from tests.support.rabbitmq import Broker
from tests.support.terminal import Terminal

pytestmark = pytest.mark.xdist_group("rabbitmq")

SLOW = next(queue for queue in LAYOUT if queue.carries == "deliver.slow")


@pytest.fixture
def vhost(broker: Broker, truc: Terminal, monkeypatch: pytest.MonkeyPatch) -> str:
    """A node's virtual host, laid out; commands are told of it."""
    truc("init")
    name = broker.new_vhost()
    make_layout(broker.access(name))
    monkeypatch.setenv("TRUC_BROKER", broker.url(name))
    for word, path in broker.files.items():
        monkeypatch.setenv(f"TRUC_BROKER_{word.upper()}", path)
    return name


@pytest.fixture
def raw(broker: Broker, vhost: str) -> Iterator[pika.adapters.blocking_connection.BlockingChannel]:
    """A plain client's channel with confirms."""
    user, password = broker.access(vhost).credentials()
    where = pika.ConnectionParameters("localhost", broker.ports["amqp"], vhost, pika.PlainCredentials(user, password))
    connection = pika.BlockingConnection(where)
    channel = connection.channel()
    channel.confirm_delivery()
    yield channel
    connection.close()


def _broker_lines(truc: Terminal, exit_code: int = 0) -> dict[str, str]:
    """What the doctor says of the broker: code → level."""
    checks: list[dict[str, Any]] = truc.json("doctor", code=exit_code)
    return {check["code"]: check["level"] for check in checks if check["name"] == "broker"}


def test_a_ticket_that_came_back_too_often_lies_with_the_dead_and_is_said(
    truc: Terminal, vhost: str, raw: pika.adapters.blocking_connection.BlockingChannel
) -> None:
    """The delivery limit: a process that dies with its tickets, again and again, does not keep them in a circle."""
    assert _broker_lines(truc) == {"broker_told.right": "ok"}
    limit = SLOW.arguments["x-delivery-limit"]
    assert isinstance(limit, int)
    raw.basic_publish(TICKETS, SLOW.carries, b'["01",1]', mandatory=True)
    until(lambda: raw.queue_declare(SLOW.name, passive=True).method.message_count == 1)
    for _ in range(limit + 1):
        method, _, _ = _get(raw, SLOW.name)
        raw.basic_nack(method.delivery_tag, requeue=True)
    assert _get(raw, DEAD)[2] == b'["01",1]'
    raw.basic_recover(requeue=True)
    until(lambda: raw.queue_declare(DEAD, passive=True).method.message_count == 1)
    assert raw.queue_declare(SLOW.name, passive=True).method.message_count == 0
    assert _broker_lines(truc)["broker_told.dead"] == "warn"
    truc("broker", "check")
    assert DEAD in truc.err


def _get(channel: pika.adapters.blocking_connection.BlockingChannel, queue: str) -> tuple[Any, Any, bytes]:
    """The next message, which may not be there at once."""
    found: list[tuple[Any, Any, bytes]] = []

    def got() -> bool:
        method, properties, body = channel.basic_get(queue)
        if method is not None:
            found.append((method, properties, body))
        return bool(found)

    until(got)
    return found[0]


def test_tickets_that_nobody_listens_to_are_said(
    truc: Terminal, vhost: str, raw: pika.adapters.blocking_connection.BlockingChannel
) -> None:
    raw.basic_publish(TICKETS, SLOW.carries, b'["01",1]', mandatory=True)
    until(lambda: raw.queue_declare(SLOW.name, passive=True).method.message_count == 1)
    assert _broker_lines(truc) == {"broker_told.right": "ok", "broker_told.unheard": "warn"}
    truc("--lang", "en", "broker", "check")
    assert SLOW.name in truc.err
    assert "truc deliver" in truc.err


def test_an_alarm_is_said_by_commands_that_end(truc: Terminal, vhost: str, broker: Broker) -> None:
    """The broker stops reading whoever publishes: farewells too. No command waits for it."""
    try:
        broker.ctl("set_disk_free_limit", "9999GiB")
        until(lambda: _blocked(truc))
        assert _broker_lines(truc, exit_code=1) == {"broker.blocked": "fail"}
        truc("broker", "apply", code=8)
        assert "[broker.blocked]" in truc.err
    finally:
        broker.ctl("set_disk_free_limit", "50MB")
    until(lambda: not _blocked(truc))


def _blocked(truc: Terminal) -> bool:
    found = truc.json("broker", "show")
    return bool(found["blocked"])
