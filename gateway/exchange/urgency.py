"""Urgency (độ khẩn): the word that an urgent document may soon be there, said early so that others make room for it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from gateway.exchange.submission import Prepared
from gateway.node import Node

__all__ = ["URGENT_COMES", "say_urgent"]

URGENT_COMES: Final = "urgent"
"""The topic that says, before anything is committed, that an urgent document may soon be there: a hint to make room."""


def say_urgent(node: Node, prepared: Iterable[Prepared]) -> None:
    """Say it to all processes of the node where one of these is urgent. Waits for nobody; it may be lost.

    Said when a document was examined (by an examiner: when that has answered, the blob durable) and again when it is
    accepted, since its blob, or a group before it, may take a while.  Where it is refused in between nothing comes, and
    ordinary work has waited a moment for nothing.
    """
    if any(one.is_urgent for one in prepared):
        node.transport.wake(URGENT_COMES)
