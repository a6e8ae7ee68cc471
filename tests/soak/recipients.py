"""Recipients that are pushed to: servers that misbehave on demand, and software that takes files out of a folder.

What they saw becomes lines of the same ledger: of a server its own file, which it synced before it answered.
"""

from __future__ import annotations

import threading
from pathlib import Path

from adapters.contract import SinkKind
from gateway.prove.ledger import Ledger, Seen, digest
from gateway.prove.marks import MARK
from tests.support.recipient import Fault, read_ledger

__all__ = ["BLIND", "FOLDER", "LATE", "MISDEEDS", "REST", "SENDING_LIMIT", "FolderClerk", "seen_by_server"]

FOLDER = f"{MARK}thu-muc"
REST = {f"{MARK}rest-{kind}": kind for kind in (SinkKind.IDEMPOTENT, SinkKind.CHECKABLE, SinkKind.BLIND)}
"""Test agencies behind servers, and how sure the axis can be of each."""

BLIND = frozenset(name for name, kind in REST.items() if kind is SinkKind.BLIND)

MISDEEDS = {
    "silent": Fault(act="hang", lands=False), "error": Fault(act="error"), "twice": Fault(act="twice"),
    "late": Fault(act="hang", lands=True, late=True), "away": Fault(act="die", lands=True),
}  # fmt: skip
"""What a server does to its next packets, by the kind of fault."""

SENDING_LIMIT = 5
"""Seconds after which the axis gives a hand-over to a server up."""

LATE = SENDING_LIMIT + 2.0
"""Seconds after which what a server takes late has landed: its sender has given up, and may have asked in vain."""


def seen_by_server(agency: str, folder: Path) -> list[Seen]:
    """What a server got, in the order in which it did. A blind one cannot tell a repeat: each is a copy."""
    return [
        Seen(agency=agency, key=arrival.key, digest=arrival.digest, is_copy=arrival.is_copy, at=arrival.at)
        for arrival in read_ledger(folder / "ledger.jsonl")
    ]


class FolderClerk(threading.Thread):
    """Takes delivered files out of `den/` into a register of its own, each name once."""

    def __init__(self, root: Path, ledger: Ledger, done: threading.Event) -> None:
        super().__init__(daemon=True, name=FOLDER)
        self._root = root
        self._ledger = ledger
        self._done = done
        self._known: set[str] = set()
        self.failure: Exception | None = None

    def run(self) -> None:
        """Until told, and once more after it."""
        try:
            while not self._done.wait(0.3):
                self._look()
            self._look()
        except Exception as why:  # noqa: BLE001 - told at the end of the run, which it fails
            self.failure = why

    def _look(self) -> None:
        register = self._root / "vao-so"
        register.mkdir(exist_ok=True)
        for path in sorted((self._root / "den").glob("*.edxml")):
            seen = digest(path.read_bytes())
            is_copy = path.stem not in self._known
            self._ledger.write(Seen(agency=FOLDER, key=path.stem, digest=seen, is_copy=is_copy))
            self._known.add(path.stem)
            path.rename(register / path.name)
