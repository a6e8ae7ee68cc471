"""Peers: offering tickets to the other processes of a node, and learning at once how many they took."""

from __future__ import annotations

import math
import socket
import threading
import time
from collections.abc import Sequence
from typing import Final

import msgspec

from gateway.transport.contract import Ticket
from gateway.transport.ear import LARGEST_MESSAGE, Answer
from gateway.transport.rendezvous import Address, Rendezvous
from gateway.transport.slots import Slots

__all__ = ["Peers", "answer_offers"]

_LARGEST_OFFER: Final = 64  # tickets in one message
_REPLY_LIMIT: Final = 0.3  # seconds until a peer counts as frozen
_FROZEN_FOR: Final = 5.0  # seconds in which a frozen peer is not asked again

_Offer = list[tuple[str, int]]


class _Reply(msgspec.Struct, array_like=True, frozen=True):
    taken: int
    waiting: int


_read_offer = msgspec.json.Decoder(_Offer)
_read_reply = msgspec.json.Decoder(_Reply)
_write = msgspec.json.Encoder()


def answer_offers(slots: Slots) -> Answer:
    """The listening side: takes what there is room for, and says how many and how many wait now."""

    def answer(message: bytes) -> bytes:
        offer = _read_offer.decode(message)
        taken = slots.take([Ticket(transfer_id, turn, slots.queue) for transfer_id, turn in offer])
        return _write.encode(_Reply(taken, slots.depth))

    return answer


class Peers:
    """The announcing side. One announcement at a time; connections are kept.

    A peer that does not answer within 0.3 s is left alone for 5 s: a frozen process costs an announcement a
    moment, not every announcement. What was offered to it may have got there; it is offered to the next one
    all the same, since doubling a ticket changes nothing.
    """

    def __init__(self, rendezvous: Rendezvous) -> None:
        self._rendezvous = rendezvous
        self._lock = threading.Lock()
        self._connections: dict[Address, socket.socket] = {}
        self._frozen_until: dict[Address, float] = {}
        self._first = 0
        self._is_closed = False

    def offer(self, queue: str, tickets: Sequence[Ticket], until: float) -> list[bool]:
        """Offer `tickets` to the listeners of `queue`, shared out evenly, until the monotonic time `until`.

        Gives one truth per ticket: whether a living listener has taken it.
        """
        confirmed = [False] * len(tickets)
        if not self._lock.acquire(timeout=max(0.0, until - time.monotonic())):
            return confirmed
        try:
            left = list(range(len(tickets)))
            peers = self._living(queue)
            while left and peers:
                share = min(_LARGEST_OFFER, math.ceil(len(left) / len(peers)))
                eager = []
                for peer in peers:
                    part, left = left[:share], left[share:]
                    reply = self._ask(peer, [tickets[index] for index in part], until) if part else None
                    taken = reply.taken if reply else 0
                    for index in part[:taken]:
                        confirmed[index] = True
                    left = part[taken:] + left
                    if part and taken == len(part):
                        eager.append(peer)
                peers = eager
        finally:
            self._lock.release()
        return confirmed

    def depth(self, queue: str, until: float) -> int:
        """Tickets that wait for a slot in those other processes that answer by the monotonic time `until`."""
        if not self._lock.acquire(timeout=max(0.0, until - time.monotonic())):
            return 0
        try:
            replies = [self._ask(peer, (), until) for peer in self._living(queue)]
        finally:
            self._lock.release()
        return sum(reply.waiting for reply in replies if reply)

    def close(self) -> None:
        """End all connections; offers find nobody from now on. Safe to repeat."""
        with self._lock:
            self._is_closed = True
            for peer in tuple(self._connections):
                self._drop(peer)

    def _living(self, queue: str) -> list[Address]:
        """Those that may be asked now, each call starting with the next one. Connections to names that are
        gone from the folder are closed."""
        found = () if self._is_closed else self._rendezvous.others(queue)
        for peer in tuple(self._connections):
            if peer.what == queue and peer not in found:
                self._drop(peer)
        now = time.monotonic()
        self._frozen_until = {peer: end for peer, end in self._frozen_until.items() if end > now}
        asked = [peer for peer in found if peer not in self._frozen_until]
        self._first += 1
        first = self._first % len(asked) if asked else 0
        return asked[first:] + asked[:first]

    def _ask(self, peer: Address, tickets: Sequence[Ticket], until: float) -> _Reply | None:
        """One question, one answer; None if the peer is gone, frozen or makes no sense."""
        limit = min(_REPLY_LIMIT, until - time.monotonic())
        message = _write.encode([(ticket.transfer_id, ticket.turn) for ticket in tickets])
        if limit <= 0 or len(message) > LARGEST_MESSAGE:
            return None
        try:
            connection = self._connections.get(peer) or self._connect(peer, limit)
            connection.settimeout(limit)
            connection.send(message)
            return _read_reply.decode(connection.recv(LARGEST_MESSAGE))
        except (TimeoutError, BlockingIOError):
            self._frozen_until[peer] = time.monotonic() + _FROZEN_FOR
        except ConnectionRefusedError:
            self._rendezvous.forget_if_dead(peer)
        except (OSError, msgspec.MsgspecError):
            pass
        self._drop(peer)
        return None

    def _connect(self, peer: Address, limit: float) -> socket.socket:
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._connections[peer] = connection
        connection.settimeout(limit)
        connection.connect(self._rendezvous.path(peer.name))
        return connection

    def _drop(self, peer: Address) -> None:
        connection = self._connections.pop(peer, None)
        if connection is not None:
            connection.close()
