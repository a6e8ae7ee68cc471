"""Two ledgers kept outside the product: what senders were told, and what recipients saw. The checker compares them."""

from __future__ import annotations

import hashlib
import threading
from collections import Counter
from dataclasses import dataclass, field

__all__ = ["Arrival", "Ledger", "Sent", "digest"]


def digest(body: bytes) -> str:
    """SHA-256, hex."""
    return hashlib.sha256(body).hexdigest()


@dataclass(frozen=True, slots=True, kw_only=True)
class Sent:
    """A packet that was accepted, with the digest of its bytes and the agencies that must see it."""

    packet_id: str
    digest: str
    agencies: frozenset[str]
    name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Arrival:
    """One copy that one recipient saw."""

    agency: str
    key: str
    digest: str


@dataclass(slots=True)
class Ledger:
    """Safe to write to from any thread."""

    sent: dict[str, Sent] = field(default_factory=dict)
    arrivals: list[Arrival] = field(default_factory=list)
    statuses: int = 0
    repeats: int = 0
    refused: Counter[str] = field(default_factory=Counter)
    retries: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def note_sent(self, sent: Sent, *, is_repeat: bool) -> None:
        """A sender was told "accepted"."""
        with self._lock:
            self.repeats += is_repeat
            self.sent[sent.packet_id] = sent

    def note_arrival(self, arrival: Arrival) -> None:
        """A recipient took a copy."""
        with self._lock:
            self.arrivals.append(arrival)

    def note_refusal(self, code: str) -> None:
        """A sender was told why not."""
        with self._lock:
            self.refused[code] += 1

    def note_retry(self) -> None:
        """A client had to ask again because a process was gone."""
        with self._lock:
            self.retries += 1

    def note_status(self) -> None:
        """A sender got a status back."""
        with self._lock:
            self.statuses += 1

    def seen_twice(self) -> list[Arrival]:
        """Copies that a recipient saw more than once (the same key counts once: it is the same file)."""
        seen: Counter[tuple[str, str]] = Counter()
        distinct = {(a.agency, a.key, a.digest): a for a in self.arrivals}
        twice = []
        for arrival in distinct.values():
            seen[arrival.agency, arrival.digest] += 1
            if seen[arrival.agency, arrival.digest] > 1:
                twice.append(arrival)
        return twice

    def missing(self, undelivered: frozenset[tuple[str, str]]) -> list[tuple[Sent, str]]:
        """(sent, agency) that no recipient saw, though the books do not say that they are not delivered."""
        seen = {(a.agency, a.digest) for a in self.arrivals}
        return [
            (sent, agency)
            for sent in self.sent.values()
            for agency in sent.agencies
            if (agency, sent.digest) not in seen and (sent.packet_id, agency) not in undelivered
        ]

    def altered(self) -> list[Arrival]:
        """Copies whose bytes nobody sent."""
        known = {sent.digest for sent in self.sent.values()}
        return [arrival for arrival in self.arrivals if arrival.digest not in known]
