"""What ends gives back what it holds: claims, tickets, answers that were begun; the second signal ends at once."""

from __future__ import annotations

import signal
import socket
import threading
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from gateway.cli.process import _Stop
from gateway.workers.delivery import Delivery
from gateway.workers.relay import relay_once
from tests.service.test_processes import SENDER, _configure, _organ
from tests.support.held import Held, hold
from tests.support.nodes import House, build_house
from tests.support.packets import build_packet
from tests.support.patience import PATIENCE, until
from tests.support.processes import NodeProcesses

# --- delivering ------------------------------------------------------------------------------------------------------


def _close_amid(house: House, delivery: Delivery, stuck: Held) -> None:
    """Close while the one recipient has something in hand, which it takes only once the closing has begun."""
    assert stuck.has_begun.wait(PATIENCE)
    closing_it = threading.Thread(target=delivery.close)
    closing_it.start()
    until(delivery.is_ending)
    stuck.may_end.set()
    closing_it.join(PATIENCE)
    assert not closing_it.is_alive()


def test_a_worker_that_ends_finishes_one_hand_over_and_gives_the_other_claims_back(house: House) -> None:
    sent = [house.send(to=["idem"], number=str(number)) for number in range(3)]
    stuck = hold(house, "idem")
    delivery = Delivery(house.node)
    assert relay_once(house.node) == 3, "one group, which one slot takes"
    _close_amid(house, delivery, stuck)
    rows = [house.row(one, "idem") for one in sent]
    assert [row["state"] for row in rows] == ["delivered", "ready", "ready"]
    assert [row["unreported"] for row in rows[1:]] == [0, 0], "given back is no death of a worker"
    assert [row["tries"] for row in rows[1:]] == [0, 0]
    assert house.work() == 2, "due at once: no lease has to end, no ticket to grow old"
    assert len(house.recipient("idem").arrivals) == 3
    house.assert_books_close()


def test_tickets_that_no_slot_took_are_announced_anew_at_once(tmp_path: Path) -> None:
    with closing(build_house(tmp_path, slots=1, group=1)) as house:
        sent = [house.send(to=["idem"], number=str(number)) for number in range(2)]
        stuck = hold(house, "idem")
        delivery = Delivery(house.node)
        assert relay_once(house.node) >= 1
        assert stuck.has_begun.wait(PATIENCE)
        relay_once(house.node)  # the second one waits for the only slot
        assert [row["announced_at"] is None for row in house.rows("SELECT * FROM transfers WHERE state = 'ready'")] == [
            False
        ]
        _close_amid(house, delivery, stuck)
        assert [house.state(one, "idem") for one in sent] == ["delivered", "ready"]
        assert house.work() == 1


def test_closing_twice_and_starting_again_is_harmless(house: House) -> None:
    for number in range(2):
        sent = house.send(to=["idem"], number=str(number))
        delivery, twin = Delivery(house.node), Delivery(replace(house.node, worker="thu/deliver/2"))
        assert relay_once(house.node) == 1
        until(lambda sent=sent: house.state(sent, "idem") == "delivered")  # type: ignore[misc]
        for one in (delivery, twin, delivery):
            one.close()
    assert len(house.recipient("idem").arrivals) == 2


def test_of_two_signals_the_second_is_the_systems() -> None:
    """Every part that is no API: whatever it is at when the first one comes, also while it starts."""
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        stop = _Stop()
        stop.watch()
        assert not stop.event.is_set()
        signal.raise_signal(signal.SIGTERM)
        assert stop.event.wait(PATIENCE)
        assert {signal.getsignal(number) for number in before} == {signal.SIG_DFL}
    finally:
        signal.set_wakeup_fd(-1)
        for number, handler in before.items():
            signal.signal(number, handler)


# --- the API ---------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[NodeProcesses, str]]:
    """A node with its rows made, nothing started, and the sender's token."""
    folder = tmp_path_factory.mktemp("dung")
    with NodeProcesses(folder / "nut", {"today": "2025-10-01"}) as processes:
        assert processes.run("init").returncode == 0
        yield processes, _configure(processes, folder / "thu-muc")[SENDER]


def _begin(processes: NodeProcesses, token: str, number: str) -> tuple[socket.socket, bytes]:
    """Half of a submission, and its other half."""
    body = build_packet(sender=_organ(SENDER), recipients=[_organ("na-xa-16681-2025")], number=number)
    head = (
        f"POST /v1/packets HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\n"
        f"Content-Type: application/xml\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    )
    opened = socket.create_connection(("127.0.0.1", processes.port), timeout=PATIENCE)
    opened.sendall(head.encode() + body[: len(body) // 2])
    return opened, body[len(body) // 2 :]


def _takes_nobody(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=PATIENCE).close()
    except OSError:
        return True
    return False


def _settled(processes: NodeProcesses, opened: socket.socket) -> None:
    """The API has read what was sent: it answers a request that came on another connection later."""
    with socket.create_connection(("127.0.0.1", processes.port), timeout=PATIENCE) as asking:
        asking.sendall(b"GET /health/live HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        assert asking.recv(64).startswith(b"HTTP/1.1 200")


def test_an_api_that_ends_answers_what_was_begun(node: tuple[NodeProcesses, str]) -> None:
    processes, token = node
    processes.start("api")
    process = processes.process("api")
    opened, rest = _begin(processes, token, "1")
    with opened:
        _settled(processes, opened)
        process.send_signal(signal.SIGTERM)
        until(lambda: _takes_nobody(processes.port))
        opened.sendall(rest)
        assert opened.recv(64).startswith(b"HTTP/1.1 202")
    processes.stop(patience=PATIENCE)


def test_a_second_signal_ends_an_api_at_once_and_nothing_is_left_over(node: tuple[NodeProcesses, str]) -> None:
    processes, token = node
    processes.start("api")
    process = processes.process("api")
    opened, _rest = _begin(processes, token, "2")
    with opened:
        _settled(processes, opened)
        process.send_signal(signal.SIGTERM)
        until(lambda: _takes_nobody(processes.port))
        process.send_signal(signal.SIGTERM)
        assert process.wait(PATIENCE) == -signal.SIGTERM, "it does not wait for the body that never comes"
    processes.stop(patience=PATIENCE)
    assert processes.run("account").returncode == 0
