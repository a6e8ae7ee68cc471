"""Two ledgers of a proof, outside the product: what senders were told, and what recipients saw.

Each is a file of JSON lines that only grows.  A line is on disk (`fsync`) before whatever it says is acted on: a
sender writes what it means to send before the first byte goes out, and what it was told before it counts it; a
recipient writes what it saw before it confirms, and what became of its refusal as soon as it is answered.  So a proof
that is killed is judged by its files as one that ended.

    told.jsonl    {"line": "meant", …}, {"line": "told", …}     by senders
    seen.jsonl    {"line": "seen", …}, {"line": "reported", …}  by recipients, in the order in which each saw it
"""

from __future__ import annotations

import hashlib
import json
import os
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from enum import StrEnum
from pathlib import Path
from typing import Any, BinaryIO, Self

import msgspec

__all__ = ["Act", "Ledger", "Meant", "Record", "Reported", "Seen", "Told", "digest", "read_record"]


def digest(body: bytes) -> str:
    """SHA-256, hex."""
    return hashlib.sha256(body).hexdigest()


class Act(StrEnum):
    """What a sender does."""

    NEW = "new"  #: a document
    UPDATE = "update"  #: an update of an earlier document (cập nhật)
    RECALL = "recall"  #: the recall of an earlier document (thu hồi)
    REPLACEMENT = "replacement"  #: a document that replaces one or two earlier ones (thay thế)
    STATUS = "status"  #: a recipient's refusal, told to the sender as a status packet by the node


@dataclass(frozen=True, slots=True, kw_only=True)
class Meant:
    """A packet that a sender is about to send. The same name is the same bytes, however often it is sent.

    `about`: the name of the packet that it refers to, "" for none.  `conflicts`: the name of the packet that it
    contradicts on purpose (same document or same key, other content), which must be refused.  `replaces`: names of the
    documents that it replaces.
    """

    name: str
    act: Act
    sender: str
    digest: str
    document: str
    to: tuple[str, ...]
    about: str = ""
    conflicts: str = ""
    key: str = ""
    replaces: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """An answer that a sender was given. `code`: why it was refused, "" where it was accepted.

    `deliveries`: agency → the state that the answer named, for packets that were accepted.
    """

    name: str
    status: int
    packet_id: str = ""
    is_repeat: bool = False
    code: str = ""
    deliveries: Mapping[str, str] = field(default_factory=dict)
    at: float = 0.0  #: when it was written, in seconds by the ledger's clock; 0: nobody knows

    @property
    def is_accepted(self) -> bool:
        """Whether the sender was told that the packet is safe."""
        return self.status == 202


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """A whole packet that came to a recipient. `is_copy` is false for what it knew by its key and dropped.

    `packet_id` and `document` are "" where the channel does not tell them.  `refused`: the recipient refuses it.
    """

    agency: str
    key: str
    digest: str
    is_copy: bool
    packet_id: str = ""
    document: str = ""
    is_status: bool = False
    refused: bool = False
    at: float = 0.0  #: as of `Told`


@dataclass(frozen=True, slots=True, kw_only=True)
class Reported:
    """A recipient's refusal was answered. `about`: the packet that it refused.

    `packet_id`: of the status that goes to its sender; "" where none does, because the item was closed meanwhile.
    """

    agency: str
    about: str
    packet_id: str = ""
    at: float = 0.0  #: as of `Told`


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """Both ledgers as they were read, each in the order of its lines."""

    meant: tuple[Meant, ...] = ()
    told: tuple[Told, ...] = ()
    seen: tuple[Seen, ...] = ()
    reported: tuple[Reported, ...] = ()


_Line = Meant | Told | Seen | Reported
_KINDS: Mapping[str, type[_Line]] = {"meant": Meant, "told": Told, "seen": Seen, "reported": Reported}
_NAMES = {kind: name for name, kind in _KINDS.items()}


class Ledger:
    """The two files, open for writing, from any thread. `retries` counts the requests that were repeated."""

    def __init__(self, folder: Path) -> None:
        """Raises OSError where the folder cannot be written."""
        folder.mkdir(parents=True, exist_ok=True)
        self._files = {name: _open(folder / f"{name}.jsonl") for name in ("told", "seen")}
        self._lock = threading.Lock()
        self.retries = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for file in self._files.values():
            file.close()

    def write(self, line: _Line) -> None:
        """Add a line; on disk when this returns. Raises OSError where it is not."""
        file = self._files["told" if isinstance(line, Meant | Told) else "seen"]
        line = line if isinstance(line, Meant) else replace(line, at=round(time.time(), 3))
        words = json.dumps({"line": _NAMES[type(line)], **asdict(line)}, ensure_ascii=False)
        with self._lock:
            file.write(words.encode() + b"\n")
            file.flush()
            os.fsync(file.fileno())

    def count_retry(self) -> None:
        """A request had no answer, or was to be repeated."""
        with self._lock:
            self.retries += 1


def _open(path: Path) -> BinaryIO:
    """At its end; a last line that a kill cut short is taken away, as `read_record` leaves it out."""
    file = path.open("a+b")
    file.seek(0)
    whole = file.read().rfind(b"\n") + 1
    file.truncate(whole)
    return file


def read_record(folder: Path) -> Record:
    """What stands in a proof's folder. A last line that was cut short by a kill says nothing and is left out.

    Raises OSError where a file is missing, ValueError where a line that is not the last is none of ours.
    """
    lines = [line for name in ("told", "seen") for line in _lines(folder / f"{name}.jsonl")]
    return Record(
        meant=tuple(line for line in lines if isinstance(line, Meant)),
        told=tuple(line for line in lines if isinstance(line, Told)),
        seen=tuple(line for line in lines if isinstance(line, Seen)),
        reported=tuple(line for line in lines if isinstance(line, Reported)),
    )


def _lines(path: Path) -> Iterator[_Line]:
    for raw in path.read_bytes().splitlines(keepends=True):
        if raw.endswith(b"\n"):
            yield _line(json.loads(raw))


def _line(words: dict[str, Any]) -> _Line:
    return msgspec.convert(words, type=_KINDS[words.pop("line")])
