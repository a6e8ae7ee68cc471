"""The closed lists of the machine: states of a delivery and of a transfer, ends of an attempt, kinds of packets.

Two worlds that never mix: a `DeliveryState` says where one copy is on its way (tình trạng chuyển); a `StatusCode`
(edxml.codes) says what the recipient's clerks did with the document (trạng thái xử lý).
"""

from __future__ import annotations

from enum import StrEnum

__all__ = ["AttemptEnd", "Book", "ChannelState", "DeliveryState", "Holder", "LinkKind", "TransferState"]


class DeliveryState(StrEnum):
    """Where one packet is on its way to one recipient (tình trạng chuyển)."""

    WAITING = "waiting"  #: behind an earlier packet of the same document for the same recipient
    READY = "ready"  #: may be claimed by a worker from `due_at` on
    CLAIMED = "claimed"  #: one worker holds it until its lease ends
    HANDED_OVER = "handed_over"  #: a neighbour node has it and must still tell
    AVAILABLE = "available"  #: may be fetched by the recipient's software
    FETCHED = "fetched"  #: the recipient's software began to read it; may have arrived
    DELIVERED = "delivered"  #: arrived: a receipt says so
    REFUSED = "refused"  #: the recipient refused it before confirming
    WITHDRAWN = "withdrawn"  #: certainly not arrived, and never will
    UNDELIVERABLE = "undeliverable"  #: the list of recipients named somebody who cannot be reached
    EXPIRED = "expired"  #: not confirmed within the time limit; attempts tell whether it may have arrived
    PARKED = "parked"  #: a person must decide (chờ xử lý tay)

    @property
    def is_final(self) -> bool:
        """True where only a receipt or an operator's resend can still change anything."""
        return self in _FINAL


_FINAL = frozenset(
    {
        DeliveryState.DELIVERED,
        DeliveryState.REFUSED,
        DeliveryState.WITHDRAWN,
        DeliveryState.UNDELIVERABLE,
        DeliveryState.EXPIRED,
    }
)


class TransferState(StrEnum):
    """State of the unit of work; a closed transfer has no open member left."""

    WAITING = "waiting"
    READY = "ready"
    CLAIMED = "claimed"
    AVAILABLE = "available"
    FETCHED = "fetched"
    PARKED = "parked"
    CLOSED = "closed"


class AttemptEnd(StrEnum):
    """How a hand-over ended. An attempt without an end is open until it is over, and unsure after it."""

    ARRIVED = "arrived"
    SURELY_NOT = "surely_not"
    UNKNOWN = "unknown"


class LinkKind(StrEnum):
    """What a packet is to the chain that its delivery stands in."""

    NEW = "new"
    RECALL = "recall"  #: thu hồi, lấy lại: a type-1 packet, a status 13, or an update that removes this recipient
    UPDATE = "update"
    REPLACEMENT = "replacement"
    STATUS = "status"


class Book(StrEnum):
    """The two books of the account."""

    DOCUMENTS = "documents"
    STATUSES = "statuses"


class Holder(StrEnum):
    """Who must act next."""

    SENDER = "sender"  #: bên gửi
    AXIS = "axis"  #: trục
    NETWORK = "network"  #: mạng
    SOFTWARE = "software"  #: phần mềm bên nhận
    CLERK = "clerk"  #: văn thư bên nhận
    OPERATOR = "operator"  #: quản trị viên trục
    NOBODY = "nobody"  #: nothing is left to do


class ChannelState(StrEnum):
    """What an operator said of a channel."""

    OPEN = "open"
    PAUSED = "paused"
    DRAINING = "draining"  #: nothing new is begun; paused once what was under way has ended
