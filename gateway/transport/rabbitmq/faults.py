"""What pika is told of a broker, and what its errors mean: every foreign exception becomes one of ours here."""

from __future__ import annotations

import errno
import re
import socket
import ssl
from collections.abc import Iterator
from typing import Final

import pika
from pika import exceptions
from pika.adapters.utils import connection_workflow as workflow

from edxml.messages import system_words
from gateway.transport.broker import (
    Address,
    BrokerAccess,
    BrokerAway,
    BrokerError,
    BrokerForbidden,
    BrokerFrozen,
    BrokerOld,
    BrokerRefused,
    BrokerUnreadable,
    Cause,
    ConsumerTimedOut,
    NodeUntrusted,
    QueueGone,
)
from gateway.transport.rabbitmq.trust import explain_tls, tls_context
from gateway.transport.topology import OLDEST_BROKER

__all__ = ["HEARTBEAT", "PIKA_ERRORS", "classify", "parameters_of", "refuse_old"]

HEARTBEAT: Final = 10
"""Seconds; a broker that says nothing for two to three of them counts as frozen."""

_CONNECT: Final = 5.0  # seconds for the socket
_HANDSHAKE: Final = 8.0  # seconds until the connection is open
_QUOTED: Final = re.compile(r"'([^']+)'")
_TOLD_BY_TLS: Final = re.compile(r"\[SSL: (\w+)\]")


def parameters_of(access: BrokerAccess, address: Address, *, name: str) -> pika.ConnectionParameters:
    """All that a connection needs; files are read anew. Raises BrokerUnreadable."""
    user, password = access.credentials()
    return pika.ConnectionParameters(
        host=address.host,
        port=address.port,
        virtual_host=address.vhost,
        credentials=pika.PlainCredentials(user, password),
        heartbeat=HEARTBEAT,
        socket_timeout=_CONNECT,
        stack_timeout=_HANDSHAKE,
        ssl_options=pika.SSLOptions(tls_context(access), address.host) if access.is_tls else None,
        client_properties={"connection_name": name},
    )


def refuse_old(properties: object, address: Address) -> BrokerError | None:
    """The fault of a broker that is older than we need, or none of ours; from what it says of itself."""
    said = properties if isinstance(properties, dict) else {}
    product, version = (_text(said.get(word, "")) for word in ("product", "version"))
    numbers = tuple(int(part) for part in re.findall(r"\d+", version)[:2])
    if product == "RabbitMQ" and numbers >= OLDEST_BROKER:
        return None
    return BrokerOld(address=str(address), found=f"{product} {version}".strip() or "?", wanted=OLDEST_BROKER[0])


def _text(value: object) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)


PIKA_ERRORS: Final = (exceptions.AMQPError, workflow.AMQPConnectorException, OSError)
"""What pika raises: the errors of making a connection are no kin of the others."""


def classify(error: BaseException | None, access: BrokerAccess, address: Address) -> BrokerError:
    """Our error for one of pika's, whether it ended a channel, a connection, or the try to make one."""
    chain = tuple(_unfold(error))
    at = str(address)
    for each in chain:
        if isinstance(each, BrokerError):
            return each
        if isinstance(each, exceptions.ChannelClosedByBroker | exceptions.ConnectionClosedByBroker):
            return _closed_by_broker(each.reply_code, each.reply_text, at, address.vhost)
        if isinstance(each, exceptions.ProbableAuthenticationError | exceptions.AuthenticationError):
            return _denied(each, access, address)
        if isinstance(each, exceptions.ProbableAccessDeniedError):
            return BrokerForbidden(address=at, vhost=address.vhost, why=_reply(each))
        if isinstance(each, ssl.SSLError):
            return explain_tls(each, address)
        if isinstance(each, exceptions.AMQPHeartbeatTimeout | workflow.AMQPConnectorStackTimeout):
            return BrokerFrozen(address=at)
        if isinstance(each, exceptions.IncompatibleProtocolError) and access.is_tls:
            # With TLS 1.3 our certificate is judged after we think that the handshake is done.
            alert = _TOLD_BY_TLS.search(str(each))
            return NodeUntrusted(address=at, why=alert[1] if alert else "TLS")
    return BrokerAway(address=at, why=_why(chain), cause=_cause(chain))


def _unfold(error: BaseException | None) -> Iterator[BaseException]:
    """An error and all that it holds, the outermost first."""
    if error is None:
        return
    yield error
    inner: tuple[object, ...] = ()
    if isinstance(error, workflow.AMQPConnectionWorkflowFailed):
        inner = error.exceptions[-1:]
    elif isinstance(error, workflow.AMQPConnectorPhaseErrorBase):
        inner = (error.exception,)
    elif isinstance(error, exceptions.AMQPConnectionError):
        inner = error.args
    for each in inner:
        if isinstance(each, BaseException):
            yield from _unfold(each)


def _closed_by_broker(code: int, text: str, at: str, vhost: str) -> BrokerError:
    named = _QUOTED.search(text)
    if code == 404:
        return QueueGone(address=at, name=named[1] if named else text)
    if code in (403, 530):
        return BrokerForbidden(address=at, vhost=vhost, why=text)
    if code == 406 and "timed out" in text:
        return ConsumerTimedOut(address=at, why=text)
    return BrokerAway(address=at, why=f"{code} {text}", cause=Cause.CUT)


def _denied(error: BaseException, access: BrokerAccess, address: Address) -> BrokerError:
    """A connection that ended while we said who we are: refused, or just cut at that moment."""
    if "403" not in str(error):
        return BrokerAway(address=str(address), why=_reply(error), cause=Cause.CUT)
    try:
        user, _ = access.credentials()
    except BrokerUnreadable as why:
        return why
    return BrokerRefused(address=str(address), user=user)


def _reply(error: BaseException) -> str:
    """The broker's own words, if there are any in the error."""
    named = _QUOTED.search(str(error))
    return named[1] if named else type(error).__name__


def _why(chain: tuple[BaseException, ...]) -> str:
    """The plainest words for what happened: the system's, else the innermost error's."""
    for each in reversed(chain):
        if isinstance(each, socket.gaierror | OSError):
            return system_words(each)
    if not chain:
        return "closed"
    named = _QUOTED.search(str(chain[-1]))  # pika puts the system's error into its own words
    return named[1] if named else str(chain[-1]) or type(chain[-1]).__name__


_NO_WAY: Final = frozenset(
    {errno.EHOSTUNREACH, errno.ENETUNREACH, errno.ENETDOWN, errno.EHOSTDOWN, errno.EADDRNOTAVAIL}
)
_CAUSES: Final[tuple[tuple[type[BaseException], Cause], ...]] = (
    (socket.gaierror, Cause.NAME_UNKNOWN),
    (ConnectionRefusedError, Cause.REFUSED),
    (TimeoutError, Cause.TIMED_OUT),
    (ConnectionError, Cause.CUT),
    (exceptions.StreamLostError, Cause.CUT),
    (exceptions.ConnectionClosed, Cause.CUT),
)


def _cause(chain: tuple[BaseException, ...]) -> Cause:
    """What kept us from the broker, as far as the innermost error that we know says it."""
    for each in reversed(chain):
        if isinstance(each, OSError) and each.errno in _NO_WAY:
            return Cause.UNREACHABLE
        for kind, cause in _CAUSES:
            if isinstance(each, kind):
                return cause
    return Cause.OTHER if chain else Cause.CUT
