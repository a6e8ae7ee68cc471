"""A connection that breaks while pika makes it is a broker that is away, not a defect of ours."""

from __future__ import annotations

import errno
import threading
from collections.abc import Callable

import pytest

from gateway.transport.broker import BrokerAccess, BrokerError
from gateway.transport.rabbitmq.link import Link
from tests.support.patience import PATIENCE


class _Watch:
    def __init__(self) -> None:
        self.faults: list[BrokerError] = []
        self.came = threading.Event()

    def link_is(self, _link: str, *, is_up: bool) -> None:
        assert not is_up

    def fault(self, _link: str, error: BrokerError) -> None:
        self.faults.append(error)
        self.came.set()


class _Tenant:
    def begin(self, _connection: object, _done: Callable[[], None]) -> None:
        raise AssertionError("it never opens")

    def lost(self) -> None:
        """Nothing was open."""

    def tick(self) -> None:
        """Nothing was open."""


class _Breaking(Link):
    """As pika's loop ends: its ValueError tells of the socket's own error, or of a defect."""

    is_defect = False

    def _connect_and_serve(self) -> None:
        try:
            raise OSError(errno.ENOTCONN, "Transport endpoint is not connected")
        except OSError as why:
            if not self.is_defect:
                raise ValueError(f"Expected connected socket, but getpeername() failed: {why!r}")  # noqa: B904
        raise ValueError("something else")


@pytest.mark.parametrize("is_defect", [False, True])
def test_what_broke_while_it_was_made_is_told_as_away(is_defect: bool) -> None:
    watch = _Watch()
    link = _Breaking("publish", "thử", BrokerAccess.parse("amqp://127.0.0.1:1/v"), _Tenant(), watch)
    link.is_defect = is_defect
    link.start()
    assert watch.came.wait(PATIENCE)
    link.close(PATIENCE)
    assert watch.faults[0].reason == "broker.away"
    assert ("ValueError" in str(watch.faults[0].params)) is is_defect
