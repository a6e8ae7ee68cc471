"""Claims: a worker takes transfers with one conditional update, commits, and reads what it needs to work (rule 3)."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import count

from gateway.exchange.persisting import persist
from gateway.model.chain import Link
from gateway.model.instants import new_id
from gateway.model.states import DeliveryState
from gateway.node import Node
from gateway.store import claims
from gateway.store.packets import PacketRow
from gateway.store.repeating import repeated_where_undone
from gateway.transport.contract import Ticket
from monitoring.registry import TicketEvent

__all__ = ["Claimed", "claim_group"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Claimed:
    """A transfer that this worker holds, with its packet's row, its channel and its open members."""

    transfer_id: str
    turn: int
    channel_id: str
    packet: PacketRow
    links: tuple[Link, ...]
    chain_ids: frozenset[str]
    organs: tuple[str, ...]
    note: Mapping[str, str]
    is_risky: bool = False  #: its channel is slow or broken off: others in a group would wait for it

    @property
    def delivery_ids(self) -> tuple[str, ...]:
        """The open members."""
        return tuple(link.delivery_id for link in self.links)

    def without(self, gone: Collection[str]) -> Claimed:
        """The same without these deliveries: they went back."""
        left = [
            (link, organ) for link, organ in zip(self.links, self.organs, strict=True) if link.delivery_id not in gone
        ]
        return replace(self, links=tuple(link for link, _ in left), organs=tuple(organ for _, organ in left))


def claim_group(node: Node, tickets: Sequence[Ticket], *, is_ending: Callable[[], bool] | None = None) -> list[Claimed]:
    """Claim what these tickets hint at and commit. What somebody else holds, or moved on, is left out.

    However long the store is away (`persist`): a ticket that is given up is announced again only after a minute, and of
    what was claimed nobody else knows whose it is.
    """
    if not tickets:
        return []
    by, tries = f"{node.worker}#{new_id()}", count(1)
    ours = persist(lambda: _claim(node, tickets, by, is_first=next(tries) == 1), is_ending)
    return persist(partial(_read, node, ours), is_ending) if ours else []


@repeated_where_undone
def _claim(node: Node, tickets: Sequence[Ticket], by: str, *, is_first: bool) -> Mapping[str, claims.Taken]:
    """What is ours now: two trips to PostgreSQL.

    `by` is the name of this one claim. Where it may have been committed without anybody being told, it finds its own.
    """
    with node.store.write(asks_first=True) as connection:
        known = {} if is_first else claims.claimed_by(connection, [ticket.transfer_id for ticket in tickets], by)
        left = [(ticket.transfer_id, ticket.turn) for ticket in tickets if ticket.transfer_id not in known]
        ours = dict(known)
        if left:
            ours |= claims.claim(
                connection, left, worker=by, lease=node.pace.lease, now=node.store.known_now(), is_last=True
            )
    node.metrics.count_tickets(TicketEvent.CLAIMED, len(ours))
    if len(ours) < len(tickets):
        node.metrics.count_tickets(TicketEvent.LOST, len(tickets) - len(ours))
    return ours


@repeated_where_undone
def _read(node: Node, ours: Mapping[str, claims.Taken]) -> list[Claimed]:
    """What was claimed, each at the turn of its claim: the rows may have moved on since, and are then another's.

    One trip to PostgreSQL, with a look whether the configuration has changed: the hand-overs need none of their own.
    """
    versions, tell = node.channels.watch.beside()
    with node.store.read(is_hop=True, asks_first=True) as connection:
        rows, seen = claims.read_held(connection, ours, versions)
        now = node.store.now(connection)
    tell(seen)
    claimed = []
    for row in rows:
        held = [one for one in row.members if one.link.state is DeliveryState.CLAIMED]
        moved = sorted({one.readdressed_from for one in held if one.readdressed_from})
        claimed.append(
            Claimed(
                transfer_id=row.id,
                turn=ours[row.id].turn,
                channel_id=row.channel_id,
                packet=row.packet,
                links=tuple(one.link for one in held),
                chain_ids=frozenset(one.chain_id for one in held),
                organs=tuple(one.organ for one in held),
                note={"readdressed_from": ", ".join(moved)} if moved else {},
                is_risky=row.is_slow or row.open_until > now,
            )
        )
    return claimed
