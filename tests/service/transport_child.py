"""A process with a transport, driven by JSON lines: commands on its standard input, what happened on its output.

    python -m tests.service.transport_child KIND WHERE NAME

`open_transport` is the one place that knows how a kind of transport is opened.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Self

from gateway.transport.broker import BrokerAccess
from gateway.transport.contract import Ticket, Transport
from gateway.transport.local import LocalTransport
from gateway.transport.rabbitmq import RabbitTransport
from monitoring import log
from tests.support.patience import PATIENCE

__all__ = ["Child", "Heard", "open_transport"]

ROOT = Path(__file__).parents[2]


def open_transport(kind: str, where: str, name: str) -> Transport:
    """The transport of `kind` at `where` (a data folder, a broker's address) for a process called `name`."""
    if kind == "local":
        return LocalTransport(name)
    if kind == "rabbitmq":
        ground = json.loads(where)
        return RabbitTransport(BrokerAccess.parse(ground["url"], **ground["files"]), name)
    raise ValueError(f"no transport of kind {kind}")


class Heard:
    """What was heard so far, by any thread; a test waits for it instead of sleeping."""

    def __init__(self) -> None:
        self._items: list[Any] = []
        self._changed = threading.Condition()

    def add(self, item: Any) -> None:
        with self._changed:
            self._items.append(item)
            self._changed.notify_all()

    @property
    def items(self) -> tuple[Any, ...]:
        with self._changed:
            return tuple(self._items)

    def wait_for(self, is_enough: Callable[[tuple[Any, ...]], bool], timeout: float = PATIENCE) -> tuple[Any, ...]:
        """All items once they are enough; AssertionError with the items if they are not within `timeout` seconds."""
        with self._changed:
            if not self._changed.wait_for(lambda: is_enough(tuple(self._items)), timeout):
                raise AssertionError(f"still not enough after {timeout} s: {self._items!r}")
            return tuple(self._items)


class Child:
    """The test's end of such a process."""

    def __init__(self, kind: str, where: str, name: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.service.transport_child", kind, where, name],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT,
        )  # fmt: skip
        self.heard = Heard()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        self.wait_for("ready")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exception: object) -> None:
        self.kill()

    def tell(self, do: str, **values: Any) -> None:
        """Give a command; returns when the child has carried it out."""
        assert self.process.stdin is not None
        done = len(self.heard_of("done"))
        self.process.stdin.write(json.dumps({"do": do, **values}) + "\n")
        self.process.stdin.flush()
        self.heard.wait_for(lambda items: sum(item["event"] == "done" for item in items) > done)

    def heard_of(self, event: str) -> list[dict[str, Any]]:
        return [item for item in self.heard.items if item["event"] == event]

    def wait_for(self, event: str, count: int = 1, timeout: float = PATIENCE) -> list[dict[str, Any]]:
        """The first `count` happenings of `event`."""
        self.heard.wait_for(lambda items: sum(item["event"] == event for item in items) >= count, timeout)
        return self.heard_of(event)[:count]

    @property
    def handled(self) -> list[str]:
        """The ids of all tickets handled so far."""
        return [ticket_id for item in self.heard_of("handled") for ticket_id in item["ids"]]

    def kill(self) -> None:
        """End it with SIGKILL, and wait until it is gone. Safe to repeat."""
        self.process.kill()
        self.process.wait()
        self._reader.join()
        for pipe in (self.process.stdin, self.process.stdout):
            if pipe is not None:
                try:
                    pipe.close()
                except BrokenPipeError:
                    pass

    def freeze(self) -> None:
        os.kill(self.process.pid, signal.SIGSTOP)

    def thaw(self) -> None:
        os.kill(self.process.pid, signal.SIGCONT)

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.heard.add(json.loads(line))


_out = threading.Lock()


def _say(event: str, **values: Any) -> None:
    with _out:
        print(json.dumps({"event": event, **values}), flush=True)


def _obey(transport: Transport, command: dict[str, Any]) -> None:
    match command:
        case {"do": "listen", "queue": queue, "slots": slots, "group": group, "seconds": seconds}:

            def handle(tickets: tuple[Ticket, ...]) -> None:
                _say("handled", ids=[ticket.transfer_id for ticket in tickets])
                time.sleep(seconds)

            transport.listen(queue, slots, handle, group=group)
        case {"do": "announce", "queue": queue, "ids": ids}:
            confirmed = transport.announce([Ticket(ticket_id, 1, queue) for ticket_id in ids])
            _say("confirmed", ids=[ticket.transfer_id for ticket in confirmed])
        case {"do": "cpu"}:
            _say("cpu", seconds=time.process_time())
        case {"do": "close"}:
            transport.close()
        case _:
            raise ValueError(command)
    _say("done")


def main() -> None:
    """Obey until the input ends."""
    kind, where, name = sys.argv[1:]
    log.configure(level="error")
    transport = open_transport(kind, where, name)
    _say("ready")
    for line in sys.stdin:
        _obey(transport, json.loads(line))
    transport.close()


if __name__ == "__main__":
    main()
