"""A log line of a link that is down says why: refused, name unknown, late, cut or not believed."""

from __future__ import annotations

import errno
import io
import json
import socket
import ssl
import threading

import pytest
from pika import exceptions
from pika.adapters.utils import connection_workflow as workflow

from gateway.transport.broker import BrokerAccess, BrokerError, Cause
from gateway.transport.rabbitmq.faults import classify
from gateway.transport.rabbitmq.link import Link
from tests.support.patience import PATIENCE
from tests.unit.gateway.transport.test_link_breaks import _Tenant

ACCESS = BrokerAccess.parse("amqp://127.0.0.1:1/v")


def _wrapped(error: BaseException) -> BaseException:
    """As pika tells of a connection that it could not make."""
    return workflow.AMQPConnectionWorkflowFailed([workflow.AMQPConnectorSocketConnectError(error)])


def _not_believed() -> ssl.SSLCertVerificationError:
    found = ssl.SSLCertVerificationError("certificate")
    found.verify_code, found.verify_message = 18, "self-signed certificate"
    return found


@pytest.mark.parametrize(
    ("error", "cause"),
    [
        (_wrapped(ConnectionRefusedError(errno.ECONNREFUSED, "refused")), Cause.REFUSED),
        (_wrapped(socket.gaierror(socket.EAI_NONAME, "unknown")), Cause.NAME_UNKNOWN),
        (_wrapped(OSError(errno.EHOSTUNREACH, "no route")), Cause.UNREACHABLE),
        (_wrapped(TimeoutError(errno.ETIMEDOUT, "late")), Cause.TIMED_OUT),
        (_wrapped(workflow.AMQPConnectorStackTimeout("late")), Cause.TIMED_OUT),
        (exceptions.AMQPHeartbeatTimeout("silent"), Cause.TIMED_OUT),
        (exceptions.StreamLostError("lost", ConnectionResetError(errno.ECONNRESET, "reset")), Cause.CUT),
        (exceptions.StreamLostError("lost"), Cause.CUT),
        (exceptions.ConnectionClosedByBroker(320, "shutdown"), Cause.CUT),
        (None, Cause.CUT),
        (_wrapped(_not_believed()), Cause.CERTIFICATE),
        (exceptions.ProbableAuthenticationError("(403) 'ACCESS_REFUSED'"), Cause.CREDENTIALS),
        (_wrapped(OSError(errno.EMFILE, "too many")), Cause.OTHER),
        (exceptions.ChannelClosedByBroker(404, "no queue 'x'"), None),
    ],
)
def test_every_error_has_its_cause(error: BaseException | None, cause: Cause | None) -> None:
    assert classify(error, ACCESS, ACCESS.addresses[0]).cause is cause


class _Watch:
    """Ends the link after so many faults."""

    def __init__(self, most: int) -> None:
        self.left = most
        self.is_over = threading.Event()

    def link_is(self, _link: str, *, is_up: bool) -> None:
        assert not is_up

    def fault(self, _link: str, _error: BrokerError) -> None:
        self.left -= 1
        if not self.left:
            self.is_over.set()


class _Failing(Link):
    """Meets two faults in turn."""

    tries = 0

    def _connect_and_serve(self) -> None:
        self.tries += 1
        found = ConnectionRefusedError() if self.tries % 2 else TimeoutError()
        raise classify(found, self._access, self.address)


def _fails(kind: type[Link], times: int) -> None:
    """A link of that kind tries until it failed so often."""
    watch = _Watch(times)
    link = kind("publish", "thử", ACCESS, _Tenant(), watch)
    link.start()
    assert watch.is_over.wait(PATIENCE)
    link.close(PATIENCE)


def _told(lines: io.StringIO) -> list[tuple[str, str]]:
    found = [json.loads(line) for line in lines.getvalue().splitlines()]
    return [(line["reason"], line["cause"]) for line in found if line["event"] == "transport.broker_fault"]


def test_a_line_says_the_cause_and_each_is_said_once(lines: io.StringIO) -> None:
    _fails(_Failing, times=3)
    assert _told(lines) == [("broker.away", "refused"), ("broker.away", "timed_out")]


def test_a_port_where_nobody_listens_refuses(lines: io.StringIO) -> None:
    _fails(Link, times=1)
    assert _told(lines) == [("broker.away", "refused")]
