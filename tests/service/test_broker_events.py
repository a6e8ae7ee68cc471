"""Software of an agency subscribes to changes of its own documents, with a user and rights of its own."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pika
import pytest
from pika.exceptions import ChannelClosedByBroker

from gateway.transport.rabbitmq import RabbitTransport, make_layout
from gateway.transport.topology import EVENTS, SUBSCRIBER_RIGHTS
from tests.support.nodes import build_house
from tests.support.patience import PATIENCE, until
from tests.support.rabbitmq import Broker

pytestmark = pytest.mark.xdist_group("rabbitmq")

AGENCY = "sender"
QUEUE = f"agency.{AGENCY}.van-ban"


@pytest.fixture
def vhost(broker: Broker) -> str:
    name = broker.new_vhost()
    make_layout(broker.access(name))
    user = f"phan-mem-{name}"
    broker.add_user(user, "x")
    rights = {word: pattern.format(agency=AGENCY) for word, pattern in SUBSCRIBER_RIGHTS.items() if word != "topic"}
    broker.allow(user, name, **rights)
    topic = {"exchange": EVENTS, "write": "^$", "read": SUBSCRIBER_RIGHTS["topic"].format(agency=AGENCY)}
    broker.ask("PUT", f"topic-permissions/{name}/{user}", topic)
    return name


def _connect(broker: Broker, vhost: str) -> pika.BlockingConnection:
    credentials = pika.PlainCredentials(f"phan-mem-{vhost}", "x")
    return pika.BlockingConnection(pika.ConnectionParameters("localhost", broker.ports["amqp"], vhost, credentials))


def test_an_agency_hears_of_its_own_documents(broker: Broker, vhost: str, tmp_path: Path) -> None:
    connection = _connect(broker, vhost)
    channel = connection.channel()
    channel.queue_declare(QUEUE, durable=True)
    channel.queue_bind(QUEUE, EVENTS, f"agency.{AGENCY}.#")
    house = build_house(tmp_path, broker=broker.url(vhost), **{f"broker_{k}": v for k, v in broker.files.items()})
    try:
        sent = house.send(["inbox-a"])
        house.collect("inbox-a", house.delivery(sent, "inbox-a"))
        house.send(["inbox-a"], "7", sender="sender-2")
        heard = []
        deadline = time.monotonic() + PATIENCE
        while not any(state == "delivered" for _, state in heard) and time.monotonic() < deadline:
            method, _, body = channel.basic_get(QUEUE, auto_ack=True)
            if method is not None:
                said = json.loads(body)
                heard.append((method.routing_key, said["state"]))
                assert said["packet_id"] == sent.packet_id
                assert set(said) == {"delivery_id", "packet_id", "document_id", "sender", "recipient", "state"}
        assert (f"agency.{AGENCY}.sent.delivered", "delivered") in heard
    finally:
        house.close()
        connection.close()


def test_of_events_told_by_several_threads_at_once_none_stays_behind(broker: Broker, vhost: str) -> None:
    """The link is woken for the first of those that lie there, and takes all of them."""
    connection = _connect(broker, vhost)
    channel = connection.channel()
    channel.queue_declare(QUEUE, durable=True)
    channel.queue_bind(QUEUE, EVENTS, f"agency.{AGENCY}.#")
    transport = RabbitTransport(broker.access(vhost), "api")
    heard: set[bytes] = set()

    def tell(thread: int) -> None:
        for number in range(100):
            transport.publish_event(f"agency.{AGENCY}.sent.delivered", f"{thread}.{number}".encode())

    def take() -> int:
        while (found := channel.basic_get(QUEUE, auto_ack=True))[0] is not None:
            heard.add(found[2])
        return len(heard)

    try:
        for turn in (1, 2):  # with the connection still to be made, and with it there
            with ThreadPoolExecutor(4) as threads:
                list(threads.map(tell, range(4 * turn, 4 * turn + 4)))
            wanted = 400 * turn
            until(lambda wanted=wanted: take() == wanted)
    finally:
        transport.close()
        connection.close()


def test_an_agency_hears_of_no_others_and_makes_nothing_of_ours(broker: Broker, vhost: str) -> None:
    connection = _connect(broker, vhost)
    connection.channel().queue_declare(QUEUE, durable=True)
    wrong: list[Callable[[pika.adapters.blocking_connection.BlockingChannel], object]] = [
        lambda channel: channel.queue_bind(QUEUE, EVENTS, "agency.sender-2.#"),
        lambda channel: channel.queue_bind(QUEUE, EVENTS, "#"),
        lambda channel: channel.queue_bind(QUEUE, "truc-tickets", "deliver.normal"),
        lambda channel: channel.queue_declare("agency.sender-2.van-ban"),
        lambda channel: channel.basic_get("truc-deliver.normal"),
        lambda channel: channel.queue_purge("truc-deliver.normal"),
    ]
    for each in wrong:
        with pytest.raises(ChannelClosedByBroker, match="ACCESS_REFUSED"):
            each(connection.channel())
    connection.close()


def test_the_guide_names_these_rights() -> None:
    guide = (Path(__file__).parents[2] / "docs" / "guides" / "rabbitmq.md").read_text("utf-8")
    for pattern in SUBSCRIBER_RIGHTS.values():
        assert f"'{pattern.format(agency='xa-1')}'" in guide
