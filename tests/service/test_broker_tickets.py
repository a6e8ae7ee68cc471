"""What only the RabbitMQ transport promises of tickets: when they come back, what a full queue does, no leavings."""

from __future__ import annotations

import os
import threading
import time

import pytest

from gateway.transport.broker import BrokerAccess
from gateway.transport.contract import Ticket
from gateway.transport.rabbitmq import RabbitTransport, consuming, look_at_broker
from gateway.transport.topology import LAYOUT
from tests.service.test_transport_rabbitmq import ground
from tests.service.transport_child import Child
from tests.support.announcing import NORMAL, announce_all, stuck_at, tickets
from tests.support.cables import Cable, CableFault
from tests.support.patience import PATIENCE, until
from tests.support.rabbitmq import Broker

pytestmark = pytest.mark.xdist_group("rabbitmq")


@pytest.mark.fault
def test_a_worker_killed_before_its_claim_gives_its_tickets_back_at_once(broker: Broker) -> None:
    """And one killed later, in the middle of a hand-over, does not: the claim stands, its lease decides."""
    vhost, handled = broker.new_vhost(), set[str]()
    where = ground(broker, vhost)
    transport = RabbitTransport(broker.access(vhost), "relay")
    with Child("rabbitmq", where, "first") as early, Child("rabbitmq", where, "second") as late:
        early.tell("listen", queue=NORMAL, slots=1, group=8, seconds=60)
        announce_all(transport, tickets(1, prefix="early"))
        until(lambda: early.handled == ["early0"])
        early.kill()
        late.tell("listen", queue=NORMAL, slots=1, group=8, seconds=60)
        until(lambda: late.handled == ["early0"])
        time.sleep(4)  # it gives its ticket up for good a second after it began
        late.kill()
    transport.listen(NORMAL, 1, lambda group: handled.update(ticket.transfer_id for ticket in group))
    announce_all(transport, tickets(1, prefix="after"))
    until(lambda: "after0" in handled)
    assert handled == {"after0"}
    transport.close()


def test_closing_gives_back_what_waits(broker: Broker) -> None:
    vhost, gate, started, handled = broker.new_vhost(), threading.Event(), threading.Event(), set[str]()

    def handle(_group: tuple[Ticket, ...]) -> None:
        started.set()
        gate.wait(PATIENCE)

    one, other = (RabbitTransport(broker.access(vhost), name) for name in ("one", "other"))
    closing = one.listen(NORMAL, 1, handle, group=1)
    announce_all(other, tickets(10))
    assert started.wait(PATIENCE)
    other.listen(NORMAL, 1, lambda group: handled.update(ticket.transfer_id for ticket in group))
    ending = threading.Thread(target=closing.close, args=(15.0,))
    ending.start()
    until(lambda: len(handled) >= 9)
    assert ending.is_alive(), "what waits is given back while what runs is waited for"
    gate.set()
    ending.join()
    one.close()
    other.close()


def test_what_ends_after_its_connection_takes_nothing_off_the_next_one(
    broker: Broker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The broker numbers messages by channel: said on the next one, an acknowledgement is of another message, and when
    that one's own comes the broker closes the channel, and gives again what was done by then."""
    monkeypatch.setattr(consuming, "_CLAIM", PATIENCE)  # on however busy a machine the first one has not said it yet
    vhost, started, gate, handled = broker.new_vhost(), threading.Event(), threading.Event(), list[str]()

    def handle(group: tuple[Ticket, ...]) -> None:
        handled.extend(ticket.transfer_id for ticket in group)
        started.set()
        gate.wait(PATIENCE)

    other = RabbitTransport(broker.access(vhost), "other")
    with Cable(("127.0.0.1", broker.ports["amqp"])) as cable:
        access = BrokerAccess.parse(f"amqp://127.0.0.1:{cable.port}/{vhost}", **broker.files)
        one = RabbitTransport(access, "one")
        one.listen(NORMAL, 1, handle, group=1)
        announce_all(other, tickets(5))
        assert started.wait(PATIENCE)
        cable.set(CableFault.CUT)
        cable.set(CableFault.NONE)
        until(lambda: one.depths()[NORMAL] == 5)  # all came again, or will
        gate.set()
        until(lambda: len(handled) >= 6)
        one.close()
    other.listen(NORMAL, 1, lambda group: handled.extend(ticket.transfer_id for ticket in group))
    announce_all(other, tickets(1, prefix="last"))
    until(lambda: "last0" in handled)
    other.close()
    assert sorted(handled) == ["last0", "t0", *(f"t{number}" for number in range(5))]


def test_a_full_queue_refuses_and_a_queue_of_other_words_is_used_all_the_same(broker: Broker) -> None:
    vhost = broker.new_vhost()
    name = next(queue.name for queue in LAYOUT if queue.carries == NORMAL)
    small = {"x-queue-type": "quorum", "x-max-length": 10, "x-overflow": "reject-publish"}
    broker.ask("PUT", f"queues/{vhost}/{name}", {"durable": True, "arguments": small})
    transport = RabbitTransport(broker.access(vhost), "relay")
    confirmed = sum(len(transport.announce(tickets(50, prefix=f"{number}-"))) for number in range(4))
    assert 10 <= confirmed < 100
    assert transport.depths()[NORMAL] >= 10
    assert look_at_broker(broker.access(vhost)).different == (name,)
    transport.close()


def test_closing_leaves_no_thread_and_no_descriptor(broker: Broker) -> None:
    access = broker.access(broker.new_vhost())
    threads, descriptors = threading.active_count(), len(os.listdir("/proc/self/fd"))
    transport, gate = RabbitTransport(access, "one"), threading.Event()
    gate.set()
    transport.listen(NORMAL, 4, stuck_at(gate))
    transport.on_wake(["*"], lambda _topic: None)
    announce_all(transport, tickets(4))
    transport.wake("relay")
    transport.publish_event("agency.1.inbox", b"{}")
    transport.close()
    assert threading.active_count() <= threads
    assert len(os.listdir("/proc/self/fd")) <= descriptors


def test_a_transport_that_is_not_used_connects_to_nobody(broker: Broker) -> None:
    threads = threading.active_count()
    transport = RabbitTransport(broker.access("khong-co"), "cli")
    assert threading.active_count() <= threads
    transport.close()
