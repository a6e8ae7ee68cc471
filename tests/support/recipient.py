"""The inside of a stand-in recipient: a process that takes packets, misbehaves on demand and keeps a ledger.

`python -m tests.support.recipient FOLDER KIND [DATA_PORT CONTROL_PORT]` speaks lines over TCP on loopback, one
request a connection:

    data port      PUT <key> <size> <sha256>\\n<bytes>  →  OK <number> | AGAIN <number> | ERR <why>
                   FIND <key>\\n                        →  YES <number> | NO
                   POST /… and GET /…/<key> of HTTP     the same words as `adapters.rest_answers` reads them
    control port   FAULT <json>\\n | CLEAR\\n           →  OK

What lands is a line in `ledger.jsonl`, synced before the answer: key, digest, size, and whether it was a new copy
(an idempotent recipient drops a repeat).  A killed process started again on its folder remembers.  It ends by
itself when whoever started it is gone.  Tests hold it as `tests.support.sinks.SinkProcess`.
"""

from __future__ import annotations

import hashlib
import json
import os
import signal
import socket
import sys
import threading
import time
from base64 import b64encode
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass
from io import BufferedRWPair
from pathlib import Path
from typing import Any, BinaryIO, ClassVar, Protocol

from adapters.contract import SinkKind

__all__ = ["Arrival", "Fault", "read_headers", "read_ledger"]

ACTS = ("delay", "die", "error", "hang", "drop", "twice", "refuse", "crawl")


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """How the recipient misbehaves on its next `times` packets (-1: until cleared), of `key` only where given.

    `delay` answers after `seconds`; `die` kills the process; `error` answers ERR; `hang` never answers; `drop`
    closes without an answer; `twice` answers twice; `refuse` closes the port until cleared; `crawl` answers a byte each
    `seconds`.  `lands` says whether
    the packet is recorded; with `delay` and `twice` it is, at once or with `late` only after `seconds`, even when
    the sender is dead by then.
    """

    act: str
    lands: bool = False
    late: bool = False
    seconds: float = 0.0
    times: int = 1
    key: str = ""

    def __post_init__(self) -> None:
        if self.act not in ACTS:
            raise ValueError(f"no such act: {self.act!r}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Arrival:
    """One line of the ledger. `is_copy`: the recipient saw it as a new packet."""

    number: int
    key: str
    digest: str
    size: int
    is_copy: bool
    at: float = 0.0  #: when, in seconds by this machine's clock


class _Ledger:
    """Arrivals, in a file that is synced line by line."""

    def __init__(self, path: Path, kind: SinkKind) -> None:
        self._path = path
        self._kind = kind
        self._lock = threading.Lock()
        self._arrivals = read_ledger(path)

    def record(self, key: str, content: bytes) -> Arrival:
        with self._lock:
            is_copy = self._kind is not SinkKind.IDEMPOTENT or self.find(key) is None
            arrival = Arrival(
                number=len(self._arrivals) + 1,
                key=key,
                digest=hashlib.sha256(content).hexdigest(),
                size=len(content),
                is_copy=is_copy,
            )
            with self._path.open("a", encoding="utf-8") as stream:
                stream.write(json.dumps(asdict(arrival)) + "\n")
                stream.flush()
                os.fsync(stream.fileno())
            self._arrivals = (*self._arrivals, arrival)
            return arrival

    def find(self, key: str) -> Arrival | None:
        return next((each for each in self._arrivals if each.key == key), None)


def read_ledger(path: Path) -> tuple[Arrival, ...]:
    """Every arrival so far, oldest first; a line cut short by a kill was never answered and does not count."""
    if not path.exists():
        return ()
    lines = path.read_text("utf-8").splitlines()
    return tuple(Arrival(**json.loads(line)) for line in lines if line.endswith("}"))


class _Recipient:
    """The process's inside: two listeners, the faults, the ledger."""

    def __init__(self, folder: Path, kind: SinkKind, ports: tuple[int, int]) -> None:
        self._kind = kind
        self._ledger = _Ledger(folder / "ledger.jsonl", kind)
        self._lock = threading.Lock()
        self._faults: list[Fault] = []
        self._data = _listen(ports[0])
        self._control = _listen(ports[1])
        self.ports = (self._data.getsockname()[1], self._control.getsockname()[1])

    def serve(self) -> None:
        _spawn(self._accept, self._data, self._answer_data)
        self._accept(self._control, self._answer_control)

    def _accept(self, listener: socket.socket, answer: Callable[[BufferedRWPair], None]) -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:  # closed by `refuse`
                return
            _spawn(self._handle, connection, answer)

    def _handle(self, connection: socket.socket, answer: Callable[[BufferedRWPair], None]) -> None:
        with suppress(OSError), connection, connection.makefile("rwb") as stream:  # the sender may be gone by then
            answer(stream)

    def _answer_control(self, stream: BufferedRWPair) -> None:
        verb, _, rest = stream.readline().decode().partition(" ")
        if verb.strip() == "CLEAR":
            with self._lock:
                self._faults.clear()
            if self._data.fileno() < 0:
                self._data = _listen(self.ports[0])
                _spawn(self._accept, self._data, self._answer_data)
        else:
            fault = Fault(**json.loads(rest))
            if fault.act == "refuse":
                self._data.shutdown(socket.SHUT_RDWR)
                self._data.close()
            else:
                with self._lock:
                    self._faults.append(fault)
        _say(stream, "OK")

    def _answer_data(self, stream: BufferedRWPair) -> None:
        words = stream.readline().decode("latin-1").split()
        if len(words) == 3 and words[2].startswith("HTTP/"):
            self._answer_http(stream, words[0], words[1].rpartition("/")[2])
        elif len(words) == 2 and words[0] == "FIND":
            arrival = self._ledger.find(words[1]) if self._kind is SinkKind.CHECKABLE else None
            _say(stream, f"YES {arrival.number}" if arrival else "NO")
        elif len(words) == 4 and words[0] == "PUT":
            content = stream.read(int(words[2]))
            if hashlib.sha256(content).hexdigest() == words[3]:  # else the sender died half way: nothing landed
                self._take(stream, words[1], content)

    def _answer_http(self, stream: BufferedRWPair, method: str, name: str) -> None:
        headers = read_headers(stream)
        key = headers.get("truc-key", "")
        spoken = _HttpWords(stream, key)
        if method == "GET":
            arrival = self._ledger.find(name) if self._kind is SinkKind.CHECKABLE else None
            _say(spoken, f"YES {arrival.number}" if arrival else "NO")
            return
        content = stream.read(int(headers["content-length"]))
        digest = f"sha-256=:{b64encode(hashlib.sha256(content).digest()).decode()}:"
        if headers["content-digest"] == digest:
            self._take(spoken, key, content)

    def _take(self, stream: _Answered, key: str, content: bytes) -> None:
        fault = self._next_fault(key)
        if fault is None:
            _say(stream, self._land(key, content))
            return
        if fault.late:
            time.sleep(fault.seconds)
        answer = self._land(key, content) if fault.lands or fault.act in ("delay", "twice") else "ERR told so"
        match fault.act:
            case "die":
                os.kill(os.getpid(), signal.SIGKILL)
            case "hang":
                threading.Event().wait()
            case "drop":
                return
            case "error":
                answer = "ERR told so"
            case "delay" if not fault.late:
                time.sleep(fault.seconds)
            case "crawl":
                stream = (
                    stream.slowly(fault.seconds) if isinstance(stream, _HttpWords) else _Crawling(stream, fault.seconds)
                )
        _say(stream, answer, times=2 if fault.act == "twice" else 1)

    def _land(self, key: str, content: bytes) -> str:
        arrival = self._ledger.record(key, content)
        return f"{'OK' if arrival.is_copy else 'AGAIN'} {arrival.number}"

    def _next_fault(self, key: str) -> Fault | None:
        with self._lock:
            for place, fault in enumerate(self._faults):
                if fault.key in ("", key):
                    if fault.times == 1:
                        del self._faults[place]
                    elif fault.times > 1:
                        self._faults[place] = Fault(**{**asdict(fault), "times": fault.times - 1})
                    return fault
        return None


class _Answered(Protocol):
    """Where the words of an answer go."""

    def write(self, content: bytes, /) -> object: ...
    def flush(self) -> None: ...


class _HttpWords:
    """Says the words of the line protocol in HTTP: each line is an answer that repeats the key."""

    STATUS: ClassVar = {
        "OK": "201 Created", "AGAIN": "409 Conflict", "ERR": "503 Service Unavailable", "YES": "200 OK",
        "NO": "404 Not Found",
    }  # fmt: skip

    def __init__(self, stream: _Answered, key: str) -> None:
        self._stream = stream
        self._key = key

    def slowly(self, seconds: float) -> _HttpWords:
        """The same a byte at a time."""
        return _HttpWords(_Crawling(self._stream, seconds), self._key)

    def write(self, content: bytes) -> None:
        for line in content.decode().splitlines():
            status = self.STATUS[line.partition(" ")[0]]
            head = f"HTTP/1.1 {status}\r\nTruc-Key: {self._key}\r\nContent-Length: {len(line)}\r\n\r\n{line}"
            self._stream.write(head.encode())

    def flush(self) -> None:
        self._stream.flush()


class _Crawling:
    """Lets one byte through at a time."""

    def __init__(self, stream: _Answered, seconds: float) -> None:
        self._stream = stream
        self._seconds = seconds

    def write(self, content: bytes) -> None:
        for byte in content:
            self._stream.write(bytes((byte,)))
            self._stream.flush()
            time.sleep(self._seconds)

    def flush(self) -> None:
        self._stream.flush()


def read_headers(stream: BinaryIO | BufferedRWPair) -> dict[str, str]:
    """The header fields of an HTTP request, by lower-case name."""
    found = {}
    while line := stream.readline().decode("latin-1").strip():
        name, _, value = line.partition(":")
        found[name.lower()] = value.strip()
    return found


def _listen(port: int) -> socket.socket:
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind(("127.0.0.1", port))
    listener.listen(128)
    return listener


def _spawn(target: Callable[..., None], *args: Any) -> None:
    threading.Thread(target=target, args=args, daemon=True).start()


def _say(stream: _Answered, answer: str, times: int = 1) -> None:
    stream.write(f"{answer}\n".encode() * times)
    stream.flush()


def _end_with_starter() -> None:
    """Standard input ends when the test process does, however it ended."""
    sys.stdin.buffer.read()
    os._exit(0)


def main() -> None:
    """FOLDER KIND [DATA_PORT CONTROL_PORT]"""
    folder, kind, *ports = sys.argv[1:]
    data, control = (int(port) for port in ports or ("0", "0"))
    recipient = _Recipient(Path(folder), SinkKind(kind), (data, control))
    print(*recipient.ports, flush=True)
    _spawn(_end_with_starter)
    recipient.serve()


if __name__ == "__main__":
    main()
