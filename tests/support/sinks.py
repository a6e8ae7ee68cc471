"""Stand-in recipients for tests: a real process that misbehaves on demand, and the Sink that talks to it.

    with SinkProcess(tmp_path, SinkKind.CHECKABLE) as recipient:
        sink = recipient.sink()
        recipient.set_fault(Fault(act="hang", lands=True))
        …
        assert recipient.copies(key) == 1

What the process does, and its protocol, is said in `tests.support.recipient`.
"""

from __future__ import annotations

import hashlib
import json
import socket
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import timedelta
from pathlib import Path
from typing import Self

from adapters.contract import AdapterError, Done, HandOver, Outcome, Park, Probe, Retry, SinkKind, Unknown
from edxml.crashpoints import crash_point, declare
from tests.support.recipient import Arrival, Fault, read_ledger

__all__ = ["Arrival", "Fault", "SinkProcess", "StandInChannel", "StandInSink", "open_stand_in"]

declare("stand_in.half_sent", "half of the bytes went out: surely not landed, but only the recipient knows")
declare("stand_in.sent", "all bytes went out, no answer was read: may have arrived")
declare("stand_in.answered", "the answer was read, nobody was told: arrived or not, as the recipient says")


class SinkProcess:
    """A stand-in recipient as a test holds it: start, kill, start again on the same ports, read its ledger."""

    def __init__(self, folder: Path, kind: SinkKind) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.kind = kind
        self.ports = (0, 0)
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()

    def start(self) -> None:
        """Start the process; returns when both ports listen. On a restart they are the same as before."""
        assert self._process is None, "already running"
        command = [sys.executable, "-m", "tests.support.recipient", str(self.folder), str(self.kind)]
        self._process = subprocess.Popen(
            [*command, *map(str, self.ports)],
            cwd=Path(__file__).parents[2],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        assert self._process.stdout is not None
        line = self._process.stdout.readline().split()
        assert line, f"the stand-in ended with {self._process.wait()}"
        self.ports = (int(line[0]), int(line[1]))

    def kill(self) -> None:
        """Kill it as a power cut would. Safe to repeat, also when it died by itself."""
        if self._process is not None:
            self._process.kill()
            self.wait_dead()

    def wait_dead(self) -> int:
        """Wait until it has ended, e.g. by `Fault(act="die")`; gives its exit code."""
        assert self._process is not None
        code = self._process.wait(timeout=30)
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                pipe.close()
        self._process = None
        return code

    def set_fault(self, fault: Fault) -> None:
        """Misbehave from the next packet on; several faults are used up in order."""
        assert _ask(self.ports[1], f"FAULT {json.dumps(asdict(fault))}\n".encode(), 10) == "OK"

    def clear(self) -> None:
        """Behave again, and listen again where it refused."""
        assert _ask(self.ports[1], b"CLEAR\n", 10) == "OK"

    def ledger(self) -> tuple[Arrival, ...]:
        """Every arrival so far, oldest first."""
        return read_ledger(self.folder / "ledger.jsonl")

    def copies(self, key: str) -> int:
        """How many copies of `key` the recipient saw."""
        return sum(each.is_copy for each in self.ledger() if each.key == key)

    def settings(self) -> dict[str, object]:
        """A channel's settings for `open_stand_in`."""
        return {"port": self.ports[0], "kind": str(self.kind)}

    def rest_settings(self) -> dict[str, object]:
        """The settings of a `rest` channel to this process: it speaks HTTP on its data port too."""
        return {
            "url": f"http://127.0.0.1:{self.ports[0]}/den", "plain_http": True, "sureness": str(self.kind),
            "connect_wait": 1, "idle_wait": 1, "answer_wait": 1, "least_rate": 100_000,
            "settle_time": 0,
        }  # fmt: skip

    def sink(self, **settings: object) -> StandInSink:
        """A sink that talks to this process."""
        return open_stand_in({**self.settings(), **settings}, "stand-in").sink


def _ask(port: int, request: bytes, seconds: float) -> str:
    with socket.create_connection(("127.0.0.1", port), timeout=seconds) as connection:
        connection.sendall(request)
        with connection.makefile("rb") as stream:
            return stream.readline().decode().strip()


@dataclass(frozen=True, slots=True, kw_only=True)
class StandInSink:
    """The Sink that talks to a stand-in, truthfully: after the first byte only an answer is knowledge."""

    port: int
    kind: SinkKind
    sending_limit: timedelta = timedelta(seconds=5)
    settle_time: timedelta = timedelta(seconds=0)

    def stage(self, item: HandOver) -> StagedBytes | Retry | Park:
        """Read the packet into memory (tests only) and check its digest."""
        with item.open() as stream:
            content = stream.read()
        if hashlib.sha256(content).hexdigest() != item.digest:
            return Park(reason="blob.damaged")
        return StagedBytes(port=self.port, key=item.key, digest=item.digest, content=content)

    def find(self, key: str) -> Done | None:
        """Ask the recipient. Raises OSError when it does not answer, AdapterError on a sink that cannot be asked."""
        if self.kind is not SinkKind.CHECKABLE:
            raise AdapterError(channel="stand-in", setting="kind", why=f"{self.kind} cannot be asked")
        answer = _ask(self.port, f"FIND {key}\n".encode(), self.sending_limit.total_seconds())
        if not answer:
            raise ConnectionResetError("no answer")
        return Done(evidence=answer) if answer.startswith("YES") else None

    def probe(self) -> Probe:
        """Whether the port takes connections."""
        try:
            socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
        except OSError as error:
            return Probe(usable=False, reason="channel.refused", detail=str(error))
        return Probe(usable=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class StagedBytes:
    """A packet in memory, one connection from the recipient."""

    port: int
    key: str
    digest: str
    content: bytes

    def hand_over(self, until: float) -> Outcome:
        """Send, and wait for the answer no longer than `until`.

        Crash points: `stand_in.half_sent`, `stand_in.sent`, `stand_in.answered`.
        """
        left = until - time.clock_gettime(time.CLOCK_BOOTTIME)
        if left <= 0:
            return Retry(reason="channel.refused")
        try:
            connection = socket.create_connection(("127.0.0.1", self.port), timeout=left)
        except OSError:
            return Retry(reason="channel.refused")
        try:
            answer = self._exchange(connection, until)
        except OSError:
            return Unknown(reason="channel.unanswered")
        crash_point("stand_in.answered")
        if answer.startswith(("OK", "AGAIN")):
            return Done(evidence=answer)
        return Retry(reason="channel.error") if answer.startswith("ERR") else Unknown(reason="channel.unanswered")

    def _exchange(self, connection: socket.socket, until: float) -> str:
        request = f"PUT {self.key} {len(self.content)} {self.digest}\n".encode() + self.content
        half = len(request) // 2
        with connection:
            connection.sendall(request[:half])
            crash_point("stand_in.half_sent")
            connection.sendall(request[half:])
            crash_point("stand_in.sent")
            connection.settimeout(max(0.001, until - time.clock_gettime(time.CLOCK_BOOTTIME)))
            with connection.makefile("rb") as stream:
                return stream.readline().decode().strip()

    def discard(self) -> None:
        """Nothing is kept."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StandInChannel:
    """A stand-in as a channel: hands over only."""

    sink: StandInSink
    source: None = None


def open_stand_in(settings: Mapping[str, object], channel_id: str) -> StandInChannel:
    """The counterpart of `open_folder`: settings `port`, `kind`, and in seconds `sending_limit`, `settle_time`."""
    try:
        return StandInChannel(
            sink=StandInSink(
                port=int(str(settings["port"])),
                kind=SinkKind(str(settings["kind"])),
                sending_limit=timedelta(seconds=float(str(settings.get("sending_limit", 5)))),
                settle_time=timedelta(seconds=float(str(settings.get("settle_time", 0)))),
            )
        )
    except (KeyError, ValueError) as error:
        raise AdapterError(channel=channel_id, setting="port, kind", why=str(error)) from error
