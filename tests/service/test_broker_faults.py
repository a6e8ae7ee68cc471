"""The broker fails in every way it knows while tickets travel; nothing hangs, nothing raises, everything goes on.

Each fault is told: in `truc_broker_faults_total` by its code, in the log once; `truc_broker_link_up` says how it is.
"""

from __future__ import annotations

import os
import re
import shutil
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from gateway.channels import KINDS
from gateway.compose import vocabulary
from gateway.transport.broker import BrokerAccess, BrokerFrozen
from gateway.transport.contract import Ticket
from gateway.transport.rabbitmq import RabbitTransport, look_at_broker
from monitoring.metrics import Metrics
from tests.support.announcing import NORMAL, announce_all, stuck_at, tickets
from tests.support.broker_tls import Papers
from tests.support.patience import PATIENCE, until
from tests.support.rabbitmq import Broker

pytestmark = [pytest.mark.xdist_group("rabbitmq"), pytest.mark.fault]


@dataclass(slots=True)
class Watched:
    """A transport with a listener, and what became of it."""

    transport: RabbitTransport
    metrics: Metrics
    handled: set[str] = field(default_factory=set)
    woken: list[str] = field(default_factory=list)

    def take(self, group: tuple[Ticket, ...]) -> None:
        self.handled.update(ticket.transfer_id for ticket in group)

    def faults(self, reason: str) -> float:
        """How often a fault was told."""
        found = re.findall(rf'truc_broker_faults_total{{link="\w+",reason="{re.escape(reason)}"}} (\S+)', self.text())
        return sum(map(float, found))

    def is_up(self) -> bool:
        return all(f'truc_broker_link_up{{link="{link}"}} 1.0' in self.text() for link in ("publish", "listen"))

    def text(self) -> str:
        return self.metrics.render().decode()

    def announce_quickly(self, prefix: str, count: int = 3) -> int:
        """Announce once; how many were confirmed. It takes a second at most, or ten times as long on a busy machine."""
        before = time.monotonic()
        confirmed = self.transport.announce(tickets(count, prefix=prefix))
        assert time.monotonic() - before < 10.0
        return len(confirmed)

    def refuses_at_once(self, prefix: str) -> None:
        """It knows that nothing is taken: a hundred announcements would else take their 0.8 seconds each."""
        before = time.monotonic()
        assert not any(self.transport.announce(tickets(3, prefix=prefix)) for _ in range(100))
        assert time.monotonic() - before < 40.0

    def goes_on(self, prefix: str, timeout: float = PATIENCE) -> None:
        """Tickets go through again."""
        wanted = tickets(20, prefix=prefix)
        announce_all(self.transport, wanted, timeout=timeout)
        until(lambda: self.handled >= {ticket.transfer_id for ticket in wanted}, timeout=timeout)


@contextmanager
def watched(access: BrokerAccess, *, listens: bool = True) -> Iterator[Watched]:
    metrics = Metrics(vocabulary(KINDS))
    one = Watched(RabbitTransport(access, "serve", metrics=metrics), metrics)
    if listens:
        one.transport.listen(NORMAL, 2, one.take)
        one.transport.on_wake(["relay"], one.woken.append)
    try:
        yield one
    finally:
        one.transport.close()


# --- of a broker that others use too ---------------------------------------------------------------------------------


def test_a_queue_deleted_under_us_is_made_again(broker: Broker) -> None:
    vhost = broker.new_vhost()
    with watched(broker.access(vhost)) as one:
        one.goes_on("before")
        broker.delete_queue(vhost, "truc-deliver.normal")
        one.goes_on("after")
        assert one.faults("broker.queue_gone") >= 1


def test_tickets_for_a_deleted_queue_come_back_and_are_not_confirmed(broker: Broker) -> None:
    """`mandatory`: without it the broker would confirm what it throws away."""
    vhost = broker.new_vhost()
    with watched(broker.access(vhost), listens=False) as one:
        announce_all(one.transport, tickets(3))
        broker.delete_queue(vhost, "truc-deliver.normal")
        assert one.announce_quickly("lost") == 0
        announce_all(one.transport, tickets(3, prefix="again"))
        assert one.faults("broker.queue_gone") >= 1


def test_an_exchange_deleted_under_us_is_made_again(broker: Broker) -> None:
    vhost = broker.new_vhost()
    with watched(broker.access(vhost)) as one:
        one.goes_on("before")
        broker.ask("DELETE", f"exchanges/{vhost}/truc-tickets")
        one.goes_on("after")


def test_a_changed_password_and_a_file_that_was_away_are_read_anew(broker: Broker, tmp_path: Path) -> None:
    vhost, user = broker.new_vhost(), "doi-mat-khau"
    broker.add_user(user, "cu")
    broker.allow(user, vhost)
    files = {}
    for name, text in (("user", user), ("password", "cu")):
        (tmp_path / name).write_text(text)
        files[f"{name}_file"] = str(tmp_path / name)
    with watched(broker.access(vhost, **files)) as one:
        one.goes_on("before")
        broker.add_user(user, "moi")
        until(lambda: _cut(broker, user, one, "broker.refused"))
        assert one.announce_quickly("meanwhile") == 0
        (tmp_path / "password").write_text("moi")
        one.goes_on("after")
        (tmp_path / "password").rename(tmp_path / "cat-di")
        until(lambda: _cut(broker, user, one, "broker.unreadable"))
        assert one.announce_quickly("meanwhile") == 0
        (tmp_path / "cat-di").rename(tmp_path / "password")
        one.goes_on("at last")


def test_a_renewed_certificate_is_read_anew(broker: Broker, papers: Papers, tmp_path: Path) -> None:
    """Ours was of an authority that the broker does not know; the file is replaced, nobody restarts anything."""
    vhost, strangers = broker.new_vhost(), Papers.make(tmp_path / "strangers", "node")
    wrong, right = (each.files("node") for each in (strangers, papers))
    mine = {name: str(tmp_path / name) for name in ("cert_file", "key_file")}
    for name, path in mine.items():
        shutil.copyfile(wrong[name], path)
    with watched(broker.access(vhost, ca_file=right["ca_file"], **mine)) as one:
        until(lambda: one.faults("broker.certificate_ours") >= 1)
        assert one.announce_quickly("meanwhile") == 0
        for name, path in mine.items():
            shutil.copyfile(right[name], path)
        one.goes_on("after")


def _cut(broker: Broker, user: str, one: Watched, reason: str) -> bool:
    """Cut the user's connections, which the management interface knows late; whether this fault was told since."""
    broker.close_connections(user)
    time.sleep(0.3)
    return one.faults(reason) >= 1


@pytest.mark.parametrize("alarm", ["memory", "disk"])
def test_an_alarm_blocks_announcing_and_nothing_else(broker: Broker, alarm: str) -> None:
    """Tickets that are there are worked on and acknowledged: they come by another connection."""
    raised, cleared = {
        "memory": (["set_vm_memory_high_watermark", "absolute", "1MiB"],
                   ["set_vm_memory_high_watermark", "absolute", "2GiB"]),
        "disk": (["set_disk_free_limit", "9999GiB"], ["set_disk_free_limit", "50MB"]),
    }[alarm]  # fmt: skip
    vhost = broker.new_vhost()
    with watched(broker.access(vhost), listens=False) as one:
        announce_all(one.transport, tickets(50, prefix="there"))
        try:
            broker.ctl(*raised)
            until(lambda: one.announce_quickly("blocked") == 0 and "truc_broker_blocked 1.0" in one.text())
            assert one.faults("broker.blocked") == 1
            assert not one.transport.takes_tickets
            one.refuses_at_once("blocked")
            one.transport.on_wake(["relay"], one.woken.append)
            one.transport.listen(NORMAL, 2, one.take)
            until(lambda: len([each for each in one.handled if each.startswith("there")]) == 50)
            one.transport.wake("relay")
            until(lambda: "relay" in one.woken)
            one.woken.clear()
        finally:
            broker.ctl(*cleared)
        until(lambda: "relay" in one.woken)
        one.goes_on("after")
        assert one.transport.takes_tickets
        assert "truc_broker_blocked 0.0" in one.text()


def test_tickets_held_for_too_long_are_taken_back_and_given_again(broker: Broker) -> None:
    """The consumer time-out: a process hangs with tickets that wait in it."""
    _patience(broker, timeout=1000, looks=500)
    gate, vhost = threading.Event(), broker.new_vhost()
    try:
        with watched(broker.access(vhost), listens=False) as one:
            one.transport.listen(NORMAL, 1, stuck_at(gate), group=2)
            announce_all(one.transport, tickets(10))
            until(lambda: one.faults("broker.consumer_timeout") >= 1)
            gate.set()
            one.transport.listen(NORMAL, 1, one.take)
            one.goes_on("after")
    finally:
        gate.set()
        _patience(broker, timeout=1_800_000, looks=60_000)


def _patience(broker: Broker, *, timeout: int, looks: int) -> None:
    """How long a consumer may hold tickets, and how often that is looked at; milliseconds."""
    for name, value in (("consumer_timeout", timeout), ("channel_tick_interval", looks)):
        broker.ctl("eval", f"application:set_env(rabbit, {name}, {value}).")


def test_a_message_of_a_stranger_goes_to_the_dead_and_harms_nobody(broker: Broker) -> None:
    vhost = broker.new_vhost()
    with watched(broker.access(vhost)) as one:
        one.goes_on("before")
        said = {"properties": {}, "routing_key": NORMAL, "payload": "khong phai phieu", "payload_encoding": "string"}
        broker.ask("POST", f"exchanges/{vhost}/truc-tickets/publish", said)
        one.goes_on("after")
        dead = {"count": 1, "ackmode": "ack_requeue_true", "encoding": "auto"}
        until(lambda: bool(broker.ask("POST", f"queues/{vhost}/truc-dead/get", dead)))


# --- of a broker of their own ----------------------------------------------------------------------------------------


def test_a_killed_broker_keeps_what_it_confirmed(fragile: Broker) -> None:
    vhost = fragile.new_vhost()
    with watched(fragile.access(vhost), listens=False) as one:
        one.transport.on_wake(["relay"], one.woken.append)
        announce_all(one.transport, tickets(5, prefix="first"))
        time.sleep(3)  # a queue made a moment ago may be lost with a single node: an upstream fault, see the runbook
        announce_all(one.transport, tickets(300))
        fragile.kill()
        assert one.announce_quickly("away") == 0
        until(lambda: one.faults("broker.away") >= 1)
        assert not one.is_up()
        one.refuses_at_once("away")
        one.transport.wake("relay")
        until(lambda: "relay" in one.woken)
        one.woken.clear()
        fragile.start_again()
        until(lambda: "relay" in one.woken)
        one.transport.listen(NORMAL, 2, one.take)
        until(lambda: one.handled >= {ticket.transfer_id for ticket in tickets(300)})
        until(one.is_up)


def test_a_frozen_broker_blocks_nobody(fragile: Broker) -> None:
    vhost = fragile.new_vhost()
    with watched(fragile.access(vhost)) as one:
        one.goes_on("before")
        fragile.freeze()
        try:
            for number in range(2):
                assert one.announce_quickly(f"frozen-{number}-") == 0
                one.transport.wake("relay")
            until(lambda: "relay" in one.woken)
        finally:
            fragile.thaw()
        one.goes_on("after")


@pytest.mark.long
def test_a_broker_frozen_for_long_is_left_and_found_again(fragile: Broker) -> None:
    vhost = fragile.new_vhost()
    with watched(fragile.access(vhost)) as one:
        one.goes_on("before")
        fragile.freeze()
        try:
            until(lambda: one.faults("broker.frozen") >= 1)
            assert not one.is_up()
        finally:
            fragile.thaw()
        one.goes_on("after")


@pytest.fixture
def speechless(tmp_path: Path) -> Iterator[BrokerAccess]:
    """The way to somebody who takes connections, as the system does for a broker that is frozen, and says nothing."""
    word = tmp_path / "word"
    word.write_text("truc")
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        yield BrokerAccess.parse(f"amqp://127.0.0.1:{port}/truc", user_file=str(word), password_file=str(word))


def test_an_operator_who_looks_at_a_frozen_broker_is_told_so(speechless: BrokerAccess) -> None:
    with pytest.raises(BrokerFrozen) as told:
        look_at_broker(speechless)
    assert told.value.params == {"address": str(speechless.addresses[0])}


def test_a_second_address_is_used_when_the_first_does_not_answer(broker: Broker) -> None:
    vhost = broker.new_vhost()
    url = f"amqp://127.0.0.1:1/{vhost},{broker.url(vhost)}"
    with watched(BrokerAccess.parse(url, **broker.files)) as one:
        one.goes_on("at the second")


def test_closing_ends_though_the_broker_is_frozen(fragile: Broker) -> None:
    vhost, before = fragile.new_vhost(), len(os.listdir("/proc/self/fd"))
    with watched(fragile.access(vhost)) as one:
        one.goes_on("before")
        fragile.freeze()
        try:
            one.transport.close()
        finally:
            fragile.thaw()
        until(lambda: len(os.listdir("/proc/self/fd")) <= before)


def test_a_defect_of_ours_does_not_end_the_link(broker: Broker) -> None:
    class Clumsy(BrokerAccess):
        def credentials(self) -> tuple[str, str]:
            tries.append(1)
            if len(tries) < 3:
                raise ZeroDivisionError
            return BrokerAccess.credentials(self)

    tries: list[int] = []
    right = broker.access(broker.new_vhost())
    clumsy = Clumsy(
        addresses=right.addresses, is_tls=False, user_file=right.user_file, password_file=right.password_file
    )
    with watched(clumsy) as one:
        one.goes_on("after")
    assert len(tries) >= 3
