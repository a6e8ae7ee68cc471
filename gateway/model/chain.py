"""The values that the machine decides on: attempts, links and chains.

A chain (chuỗi) holds the deliveries of one document for one recipient, oldest first; only its head may be handed
over.  Statuses of one reporter about one document form a chain too, so that they keep their order.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

from edxml.values import hasten
from gateway.model.copies import altered
from gateway.model.states import AttemptEnd, DeliveryState, LinkKind

__all__ = ["Attempt", "Chain", "Link", "Move", "NotInChain", "Reason", "Refused", "SinkSureness"]


class NotInChain(LookupError):
    """A delivery is not in the chain in which it was looked for."""


class SinkSureness(StrEnum):
    """How sure a repeat is on the recipient's channel (protocol §5); the words of `adapters.contract.SinkKind`."""

    IDEMPOTENT = "idempotent"
    CHECKABLE = "checkable"
    BLIND = "blind"

    @classmethod
    def stored(cls, value: str) -> SinkSureness:
        """What a stored row says; one that says nothing we know is the least sure: a person decides."""
        try:
            return cls(value)
        except ValueError:
            return cls.BLIND


class Reason(StrEnum):
    """Why a delivery is in its state: a closed list, each with a text in both languages (`delivery.<reason>`)."""

    PLANNED = "planned"
    BEHIND_EARLIER = "behind_earlier"
    PROMOTED = "promoted"
    RECALL_PASSED = "recall_passed"
    RECALL_ORPHAN = "recall_orphan"
    RECALL_ORPHAN_WAITS = "recall_orphan_waits"
    RECALL_DOUBTFUL = "recall_doubtful"
    RECALL_ARCHIVED = "recall_archived"
    RECALLED = "recalled"
    RECALLED_BEFORE = "recalled_before"
    SUPERSEDED = "superseded"
    NOTHING_TO_RECALL = "nothing_to_recall"
    DOCUMENT_NEVER_CAME = "document_never_came"
    FETCHED = "fetched"
    CONFIRMED = "confirmed"
    HANDED_OVER = "handed_over"
    FOUND = "found"
    LATE_RECEIPT = "late_receipt"
    REPORTED_BY_STATUS = "reported_by_status"
    REFUSED_BY_RECIPIENT = "refused_by_recipient"
    RECIPIENT_FAILED = "recipient_failed"
    CHANNEL_FAULT = "channel_fault"
    DOCUMENT_FAULT = "document_fault"
    TRIED_TOO_OFTEN = "tried_too_often"
    WORKERS_DIED = "workers_died"
    WORKER_LOST = "worker_lost"
    ATTEMPT_STILL_OPEN = "attempt_still_open"
    OUTCOME_UNKNOWN = "outcome_unknown"
    MAY_HAVE_ARRIVED = "may_have_arrived"
    TIME_LIMIT = "time_limit"
    NOT_CONFIRMED_IN_TIME = "not_confirmed_in_time"
    DRAINED = "drained"
    RELEASED = "released"
    RESENT = "resent"
    MOVED = "moved"
    VOUCHED = "vouched"
    SINK_PARKED = "sink_parked"
    BLOB_MISSING = "blob_missing"
    BLOB_DAMAGED = "blob_damaged"


class Refused(StrEnum):
    """Why an act of an operator is not taken; each has a text for each act that gives it (`release.<refusal>` …)."""

    NOT_PARKED = "not_parked"
    NOT_RESENDABLE = "not_resendable"
    NOTHING_IN_DOUBT = "nothing_in_doubt"
    ATTEMPT_STILL_OPEN = "attempt_still_open"
    BEHIND_EARLIER = "behind_earlier"
    EARLIER_NOT_DONE = "earlier_not_done"
    MAY_HAVE_ARRIVED = "may_have_arrived"


@hasten
@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """One hand-over that may have begun (protocol §4). `over_by`: nobody acts on it after this instant.

    `left`: for how many microseconds somebody may still, where a clock tells that which nobody can set; None: `over_by`
    tells.  `transfer_id` is the delivery key under which it was sent: `find` of another key tells nothing about it.
    """

    id: str
    transfer_id: str = ""
    turn: int
    over_by: int
    left: int | None = None
    end: AttemptEnd | None = None
    ended_at: int | None = None

    def is_open(self, now: int, *, ago: int = 0) -> bool:
        """Somebody may still be sending, or what was sent may still land: also after an unknown outcome.

        `ago`: whether that was so so many microseconds before `now`.
        """
        return self.is_in_doubt and now - ago < self.open_until(now)

    def open_until(self, now: int) -> int:
        """Until when, as it is known at `now`; long past where it is over."""
        return self.over_by if self.left is None else now + self.left

    @property
    def is_in_doubt(self) -> bool:
        """Open, or unsure: nothing can land any more, and nobody knows whether it arrived."""
        return self.end is None or self.end is AttemptEnd.UNKNOWN


@hasten
@dataclass(frozen=True, slots=True, kw_only=True)
class Link:
    """One delivery as its chain sees it, with the facts of the transfer that carries it."""

    delivery_id: str
    transfer_id: str
    packet_id: str
    kind: LinkKind
    state: DeliveryState
    accepted_at: int
    head_since: int | None = None
    attempts: tuple[Attempt, ...] = ()
    turn: int = 0
    is_polled: bool = False
    sink: SinkSureness = SinkSureness.IDEMPOTENT
    adds_recipient: bool = False
    tries: int = 0
    unreported: int = 0
    permits: int = 0
    position: int = 0  #: its place in the chain, which grows also where earlier ones were archived and are gone
    document: str = ""  #: key of the document that it acts on: its own, or for a recall or an update the target's
    copy: str = ""  #: the agency that it was addressed to, which may be an abolished one
    replaces: tuple[str, ...] = ()  #: keys of the documents that this packet's document replaces

    def has_open_attempt(self, now: int, *, ago: int = 0) -> bool:
        """A hand-over may be going on, or may have been so many microseconds `ago`."""
        return any(attempt.is_open(now, ago=ago) for attempt in self.attempts)

    def is_in_doubt(self) -> bool:
        """Open or unsure: it may arrive or have arrived."""
        return any(attempt.is_in_doubt for attempt in self.attempts)

    def is_in_doubt_elsewhere(self) -> bool:
        """In doubt under another delivery key than today's (a resend gave it a new one)."""
        return any(attempt.is_in_doubt and attempt.transfer_id != self.transfer_id for attempt in self.attempts)

    def may_have_arrived(self) -> bool:
        """Computed from attempts, never stored, never erased by hand (protocol §2)."""
        return any(attempt.end is not AttemptEnd.SURELY_NOT for attempt in self.attempts)

    def is_untouched(self) -> bool:
        """Neither claimed nor in doubt: withdrawing it now certainly keeps it from arriving (protocol §6)."""
        held = self.state in (DeliveryState.CLAIMED, DeliveryState.FETCHED, DeliveryState.HANDED_OVER)
        return not self.state.is_final and not held and not self.is_in_doubt()

    def lacks(self, came: set[str]) -> bool:
        """None of the documents that it updates or replaces came; what adds its recipient needs none."""
        if self.kind is LinkKind.REPLACEMENT:
            return not self.adds_recipient and came.isdisjoint(self.replaces)
        return self.kind is LinkKind.UPDATE and not self.adds_recipient and self.document not in came

    def is_parked_without(self, came: set[str]) -> bool:
        """It is parked, surely did not arrive, and lacks its document."""
        return self.state is DeliveryState.PARKED and not self.may_have_arrived() and self.lacks(came)

    def waits_for(self, earlier: Link) -> bool:
        """New packets and updates of documents tied by replacement keep one order; a recall is about one document."""
        if LinkKind.RECALL in (self.kind, earlier.kind):
            return self.document == earlier.document
        return True

    def moved(self, to: DeliveryState) -> Link:
        """The same link in another state."""
        return altered(self, state=to)


@hasten
@dataclass(frozen=True, slots=True)
class Chain:
    """All links of one family of documents, tied by replacement, at one recipient, oldest first.

    `is_archived`: earlier ones were archived and are gone. All of them were at their end; what that was is in the
    archive, so any of them may have arrived.
    """

    id: str
    links: tuple[Link, ...]
    is_archived: bool = False
    ended_recalled: bool = False  #: of what is gone the last one was a recall; told only where nothing is left

    def is_recalled(self, document: str) -> bool:
        """Whether a recall is the last thing about this document that joined it after the document."""
        about = [link for link in self.links if link.document == document]
        came = self.is_archived or any(link.kind is not LinkKind.RECALL for link in about)
        last = about[-1].kind is LinkKind.RECALL if about else self.ended_recalled and not self.links
        return last and came

    def packets_of(self, document: str) -> tuple[Link, ...]:
        """What brings or updates this document, oldest first: all that is about it but recalls."""
        return tuple(k for k in self.links if k.document == document and k.kind is not LinkKind.RECALL)

    def longer(self, link: Link) -> Chain:
        """The same chain with one link more."""
        return self._with((*self.links, link))

    def __iter__(self) -> Iterator[Link]:
        return iter(self.links)

    def before(self, link: Link) -> tuple[Link, ...]:
        """The earlier links that `link` stands behind."""
        return tuple(earlier for earlier in self.links[: self._place(link)] if link.waits_for(earlier))

    def after(self, link: Link) -> tuple[Link, ...]:
        """The later links that stand behind `link`."""
        return tuple(later for later in self.links[self._place(link) + 1 :] if later.waits_for(link))

    def ahead(self, link: Link) -> tuple[Link, ...]:
        """The earlier links that `link` waits for: nobody waits behind a parked orphan."""
        earlier = self.before(link)
        if all(other.state is not DeliveryState.PARKED for other in earlier):
            return earlier
        return tuple(other for other in earlier if not self.is_orphan(other))

    def is_orphan(self, link: Link) -> bool:
        """A parked update or replacement that surely did not arrive, and whose document had not come before it.

        What ties the family of a replacement to others may have come later: only what it names itself counts.
        """
        if link.state is not DeliveryState.PARKED or self.is_archived:
            return False
        return link.is_parked_without(self.came_before(link))

    def came_before(self, link: Link) -> set[str]:
        """The documents of which a packet stands before `link` that is no orphan."""
        came: set[str] = set()
        for other in self.links[: self._place(link)]:
            if other.kind is not LinkKind.RECALL and (self.is_archived or not other.is_parked_without(came)):
                came.add(other.document)
        return came

    def _place(self, link: Link) -> int:
        """Where the delivery stands that `link` tells of, whatever it says of its channel."""
        return [other.delivery_id for other in self.links].index(link.delivery_id)

    def newer(self, link: Link) -> tuple[Link, ...]:
        """What nobody may get `link` after: updates of a document that it brings, and all of what replaced that."""
        replacing: set[str] = set()
        found = {link.document}
        while found:
            replacing |= found
            found = {other.document for other in self.links if replacing & set(other.replaces)} - replacing
        replacing.discard(link.document)
        brings = link.kind in (LinkKind.NEW, LinkKind.REPLACEMENT)
        return tuple(
            other
            for other in self.links
            if other.kind is not LinkKind.RECALL
            and (
                other.document in replacing
                or (brings and other.kind is LinkKind.UPDATE and other.document == link.document)
            )
        )

    def find(self, delivery_id: str) -> Link:
        """The link of a delivery. Raises NotInChain where there is none: it may have gone to another chain since."""
        for link in self.links:
            if link.delivery_id == delivery_id:
                return link
        raise NotInChain(delivery_id)

    def with_link(self, changed: Link) -> Chain:
        """The same chain with one link replaced (matched on its delivery)."""
        return self._with(tuple(changed if old.delivery_id == changed.delivery_id else old for old in self.links))

    def with_last(self, link: Link) -> Chain:
        """The same chain with one of its links put last; the others move up, so that the first place stays taken."""
        others = [other for other in self.links if other.delivery_id != link.delivery_id]
        places = [other.position for other in self.links]
        return self._with(tuple(altered(k, position=p) for k, p in zip([*others, link], places, strict=True)))

    def _with(self, links: tuple[Link, ...]) -> Chain:
        return Chain(self.id, links, self.is_archived, self.ended_recalled)

    def has_recall_waiting(self, behind: Link) -> bool:
        """A recall that came after `behind` is waiting for it."""
        recalls = (link for link in self.after(behind) if link.kind is LinkKind.RECALL)
        return any(recall.state is DeliveryState.WAITING for recall in recalls)


@hasten
@dataclass(frozen=True, slots=True, kw_only=True)
class Move:
    """One change of one delivery's state, decided here, done by the store. `detail`: the channel's reason code."""

    delivery_id: str
    transfer_id: str
    before: DeliveryState
    after: DeliveryState
    reason: Reason
    due_at: int | None = None
    detail: str = ""
    actor: str = ""  #: who did it, where a group has several; empty: whoever the group acts for
    channel_id: str = ""  #: the channel on which it waits from now on; empty: as before
