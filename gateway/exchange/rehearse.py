"""Rehearse (tập dượt): what the first hand-over of a process would wait for is done before there is one.

A process reads the directory and the channels when it first needs them, compiles each statement when it comes first,
and makes a connection and has the statement prepared there; an urgent document that came first waited for all of it.
"""

from __future__ import annotations

from edxml.errors import TrucError
from gateway.model.instants import new_id
from gateway.node import Node
from gateway.store import attempts, channels, claims
from gateway.store.chains import load
from gateway.store.claims import Taken
from monitoring import log

__all__ = ["rehearse_hand_over"]

_log = log.get("delivery")


def rehearse_hand_over(node: Node) -> None:
    """Read who is reached how, and ask the database what a hand-over asks, of transfers that nobody has.

    Changes nothing, claims nothing and counts nothing. Where the database is away, or the directory cannot be read,
    the first hand-over meets that, as if this had not been called.
    """
    try:
        node.channels.snapshot()
        _ask_of_nobody(node)
    except TrucError as why:
        _log.warning("delivery.not_rehearsed", reason=why.reason)


def _ask_of_nobody(node: Node) -> None:
    one, other = new_id(), new_id()
    store = node.store
    with store.write(asks_first=True) as connection:
        claims.claim(
            connection, [(one, 0), (other, 0)], worker=node.worker, lease=node.pace.lease, now=store.known_now()
        )
    versions, tell = node.channels.watch.beside()
    with store.read(is_hop=True, asks_first=True) as connection:
        _, seen = claims.read_held(connection, {one: Taken(turn=0, packet_id=one)}, versions)
    tell(seen)
    with store.write(asks_first=True) as connection:
        attempts.lock_held(connection, [one], [one])
    with store.write(asks_first=True) as connection:
        load(connection, [one], beside=[channels.health_asked([one])])
