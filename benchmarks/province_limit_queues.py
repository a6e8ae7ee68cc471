"""The composite limit's other two processes: the relay that publishes, the worker that makes deliveries available.

    python -m benchmarks.province_limit_queues relay|worker DATABASE BROKER     prints 1 once it works

Both are one thread on pika's loop: the relay publishes what the outbox holds in one window and deletes it when the last
confirm is there; the worker marks by one statement what came since the last, then acknowledges it at once.
"""

from __future__ import annotations

import signal
import sys
import zlib
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, Final

import pika
from pika.channel import Channel

from benchmarks.province_limit import connect

__all__ = ["QUEUES"]

QUEUES: Final = 20
_WINDOW: Final = 200
_POLL: Final = 0.005
"""Seconds between looks into an outbox that was empty."""
_LINGER: Final = 0.005
"""Seconds in which tickets gather before they are marked together."""

_TAKE: Final = f"SELECT delivery_id, recipient FROM outbox ORDER BY delivery_id LIMIT {_WINDOW}"
_DROP: Final = "DELETE FROM outbox WHERE delivery_id = ANY(%s::text[])"
_MARK: Final = "UPDATE delivery SET state = 'available' WHERE id = ANY(%s::text[]) AND state = 'ready'"


def _queue(recipient: str) -> str:
    return f"limit-{zlib.crc32(recipient.encode()) % QUEUES}"


class _Queues(ABC):
    """A connection with one channel on which the queues are declared."""

    def __init__(self, database: str, broker: str) -> None:
        self._rows = connect(database)
        self._connection = pika.SelectConnection(
            pika.URLParameters(broker), on_open_callback=self._opened, on_open_error_callback=self._failed,
            on_close_callback=self._closed,
        )  # fmt: skip
        self._open = QUEUES
        self._is_ending = False

    def run(self) -> None:
        """Work until SIGTERM."""
        signal.signal(signal.SIGTERM, lambda *_: self._loop.add_callback_threadsafe(self._end))
        self._loop.start()

    @property
    def _loop(self) -> Any:
        return self._connection.ioloop

    def _end(self) -> None:
        self._is_ending = True
        self._connection.close()

    def _opened(self, connection: Any) -> None:
        connection.channel(on_open_callback=self._declare)

    def _failed(self, _connection: Any, why: BaseException) -> None:
        raise RuntimeError(f"the broker is away: {why}")

    def _closed(self, _connection: Any, why: BaseException) -> None:
        self._loop.stop()
        if not self._is_ending:
            raise RuntimeError(f"the broker closed the connection: {why}")

    def _declare(self, channel: Channel) -> None:
        self._channel = channel
        for number in range(QUEUES):
            channel.queue_declare(
                f"limit-{number}", durable=True, arguments={"x-queue-type": "quorum"}, callback=self._declared
            )

    def _declared(self, _frame: Any) -> None:
        self._open -= 1
        if not self._open:
            self._begin()
            print(1, flush=True)

    @abstractmethod
    def _begin(self) -> None:
        """Start working: everything is declared."""


class _Relay(_Queues):
    def _begin(self) -> None:
        self._number = 0
        self._unconfirmed: set[int] = set()
        self._channel.confirm_delivery(self._confirmed, callback=lambda _frame: self._look())

    def _look(self) -> None:
        rows = self._rows.execute(_TAKE).fetchall()
        if not rows:
            self._loop.call_later(_POLL, self._look)
            return
        self._sent = [delivery for delivery, _ in rows]
        properties = pika.BasicProperties(delivery_mode=2)
        for delivery, recipient in rows:
            self._channel.basic_publish("", _queue(recipient), delivery.encode(), properties, mandatory=True)
            self._number += 1
            self._unconfirmed.add(self._number)

    def _confirmed(self, frame: Any) -> None:
        if not isinstance(frame.method, pika.spec.Basic.Ack):
            raise RuntimeError("the broker refused a ticket")
        tag = frame.method.delivery_tag
        self._unconfirmed -= {each for each in self._unconfirmed if each <= tag} if frame.method.multiple else {tag}
        if not self._unconfirmed:
            self._rows.execute(_DROP, [self._sent])
            self._look()


class _Worker(_Queues):
    def _begin(self) -> None:
        self._came: list[str] = []
        self._last = 0
        self._channel.basic_qos(prefetch_count=_WINDOW)
        for number in range(QUEUES):
            self._channel.basic_consume(f"limit-{number}", self._take)

    def _take(self, _channel: Channel, method: Any, _properties: Any, body: bytes) -> None:
        if not self._came:
            self._loop.call_later(_LINGER, self._mark)
        self._came.append(body.decode())
        self._last = method.delivery_tag

    def _mark(self) -> None:
        came, self._came = self._came, []
        self._rows.execute(_MARK, [came])
        self._channel.basic_ack(self._last, multiple=True)


_KINDS: Final[dict[str, Callable[[str, str], _Queues]]] = {"relay": _Relay, "worker": _Worker}

if __name__ == "__main__":
    _KINDS[sys.argv[1]](*sys.argv[2:4]).run()
