"""What passes between the node and the inspector: one JSON object per line, in both directions."""

from __future__ import annotations

from dataclasses import dataclass

import msgspec

from gateway.model.inspection import FileInspection

__all__ = [
    "MODULE",
    "NOT_CAGED",
    "NO_ROOM",
    "READY",
    "Answer",
    "Job",
    "Orders",
    "read_answer",
    "read_job",
    "read_orders",
    "write_line",
]

MODULE = __name__.rpartition(".")[0]
"""What is started: `python -m`."""

READY = b"READY"
"""The first line of a process that may be asked; any other is the code of why it may not."""

NOT_CAGED = "inspection.not_caged"

NO_ROOM = 75
"""The exit code of a process that could not write a file down: no file is to blame (EX_TEMPFAIL)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Orders:
    """What the process is told once, as its only argument."""

    trust: str  #: folder (edxml.sign.trust)
    scratch: str  #: folder for the file while it is read; it never has a name there
    file: int  #: bytes
    wall: float  #: seconds per file; the node ends the process sooner
    cpu: int  #: seconds per file
    memory: int  #: bytes of address space


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """One file to look at: where its text stands in a stored packet, and when that packet came (microseconds)."""

    blob: str
    span: tuple[int, int]
    encoding: str
    transfer: str
    digest: str
    came_at: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What was found in one file, and whether the process ends with it."""

    found: FileInspection
    is_last: bool


_job = msgspec.json.Decoder(Job)
_orders = msgspec.json.Decoder(Orders)
_answer = msgspec.json.Decoder(Answer)


def write_line(value: Job | Answer | Orders) -> bytes:
    """One line, with its end."""
    return msgspec.json.encode(value) + b"\n"


def read_job(line: bytes) -> Job:
    """Raises msgspec.DecodeError for what is no job (a defect)."""
    return _job.decode(line)


def read_orders(line: bytes) -> Orders:
    """Raises msgspec.DecodeError for what are no orders (a defect)."""
    return _orders.decode(line)


def read_answer(line: bytes) -> Answer:
    """Raises msgspec.DecodeError for what is no answer: the process cannot be believed then."""
    return _answer.decode(line)
