"""Examiner (tiến trình đọc gói): reads, checks and seals packets for an API process, in a process of its own.

It decides nothing: what it answers is what the API process would have found itself, and for whatever it does not
answer the API process finds it itself.  It writes blobs, which by themselves mean nothing, and no row.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from gateway.exchange.examine import prepare_silently
from gateway.exchange.parcels import Carrier
from gateway.exchange.submission import Prepared, Submission, found_of
from gateway.node import Node
from monitoring import log

__all__ = ["run_examiner"]

_log = log.get("examiner")


def run_examiner(node: Node, carrier: Carrier) -> None:
    """Answer groups of submissions until the other side closes: one `None` first, then per group one list.

    Per member: what was found (`found_of`), its blob durable; or None where it is refused or failed,
    which whoever asked finds out anew.  Killed at any moment it leaves blobs without rows and half-written spool files.
    Crash points: those of blob.put_many.
    """
    carrier.give(None)
    while True:
        try:
            group: Sequence[Submission] = carrier.take()
        except EOFError:
            return
        try:
            carrier.give([slim(outcome) for outcome in prepare_silently(node, group)])
        except (BrokenPipeError, ConnectionResetError):  # whoever asked has ended: nobody waits for this
            _log.info("examiner.unheard", count=len(group))
            return


def slim(outcome: Prepared | Exception) -> tuple[Any, ...] | None:
    """What is answered for one member: its submission is whoever asked's own."""
    return found_of(outcome) if isinstance(outcome, Prepared) else None
