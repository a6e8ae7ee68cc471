"""The account (đối soát): what became of everything that was accepted, and what does not add up."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from gateway.model.states import Book

__all__ = ["Account", "BookLine", "Fate", "Gap", "GapKind"]


class Fate(StrEnum):
    """The columns of the books: each accepted delivery stands in exactly one of them."""

    DELIVERED = "delivered"
    REFUSED = "refused"
    WITHDRAWN = "withdrawn"
    UNDELIVERABLE = "undeliverable"
    EXPIRED = "expired"
    PARKED = "parked"
    OPEN = "open"  #: still on its way: waiting, ready, claimed, handed over, available or fetched


class GapKind(StrEnum):
    """How a delivery, a packet, a roll-up or an event breaks the account; each has a text (`account.<kind>`)."""

    PACKET_UNRECORDED = "packet_unrecorded"  #: a packet is stored, and no event accepted it
    PACKET_LOST = "packet_lost"  #: an event accepted a packet that is not stored
    RECIPIENT_MISSING = "recipient_missing"  #: a recipient of an accepted packet has no delivery
    RECIPIENT_TOO_MANY = "recipient_too_many"  #: a delivery to somebody who is no (further) recipient of the packet
    DELIVERY_UNRECORDED = "delivery_unrecorded"  #: a delivery is stored, and no event planned it
    DELIVERY_LOST = "delivery_lost"  #: events tell of a delivery that is not stored
    PLANNED_TWICE = "planned_twice"  #: two events planned the same delivery
    STATE_DIFFERS = "state_differs"  #: the delivery's row and its events disagree on its state
    BOOKED_ELSEWHERE = "booked_elsewhere"  #: the row and the events disagree on agency or book
    ROLLUP_DIFFERS = "rollup_differs"  #: a roll-up is not the number of rows it stands for
    EVENT_ALTERED = "event_altered"  #: an event is not what its leaf digest was made of


@dataclass(frozen=True, slots=True, kw_only=True)
class Gap:
    """One thing that does not add up. `agency_id` may be "", and is the organ id as written where none is known."""

    kind: GapKind
    packet_id: str = ""
    delivery_id: str = ""
    agency_id: str = ""
    expected: str = ""
    found: str = ""

    @property
    def code(self) -> str:
        """The code of its text; parameters are the other fields."""
        return f"account.{self.kind}"


@dataclass(frozen=True, slots=True, kw_only=True)
class BookLine:
    """One recipient's line in one book, in deliveries. `agency_id` is "" for recipients that nobody could name."""

    agency_id: str
    book: str
    accepted: int = 0
    delivered: int = 0
    refused: int = 0
    withdrawn: int = 0
    undeliverable: int = 0
    expired: int = 0
    parked: int = 0
    open: int = 0

    @property
    def told(self) -> int:
        """What the events know the fate of."""
        return (
            self.delivered + self.refused + self.withdrawn + self.undeliverable + self.expired + self.parked + self.open
        )

    @property
    def balances(self) -> bool:
        """accepted = delivered + refused + withdrawn + undeliverable + expired + parked + open."""
        return self.accepted == self.told


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """The books of what was accepted from `start` up to, not including, `end` (store's clock), with its fate today.

    `accepted` comes from the packets, every other figure from the events; `gaps` names everything that disagrees.
    """

    start: int
    end: int
    books: tuple[BookLine, ...]  #: by book and agency
    gaps: tuple[Gap, ...]
    packets: int  #: packets looked at
    events: int  #: events looked at

    @property
    def closes(self) -> bool:
        """Every line balances and nothing disagrees."""
        return not self.gaps and all(line.balances for line in self.books)

    def total(self, book: Book) -> BookLine:
        """The sum of one book, as a line of agency ""."""
        lines = [line for line in self.books if line.book == book]
        sums = {fate.value: sum(getattr(line, fate) for line in lines) for fate in Fate}
        return BookLine(agency_id="", book=book, accepted=sum(line.accepted for line in lines), **sums)
