"""What operators do with what needs a hand: release, resend (rule 9). Every act is an event with its author."""

from __future__ import annotations

from collections.abc import Callable

from gateway.exchange.advance import Planned, advance, give_wakes
from gateway.model.chain import Chain, Link, Reason
from gateway.model.errors import Conflict, NotFound
from gateway.model.machine import release as decide_release
from gateway.model.machine import resend as decide_resend
from gateway.model.states import DeliveryState
from gateway.model.step import Step
from gateway.node import Node
from gateway.store import Connection, transfers
from gateway.store.chains import chains_of_deliveries, load_chains

__all__ = ["release", "resend"]


def release(node: Node, delivery_id: str, *, actor: str, turn: int | None = None) -> DeliveryState:
    """Let a parked delivery go on; its state afterwards. `turn`: only if nothing happened since that turn was shown.

    Raises NotFound, or Conflict saying why not: it is not parked, an attempt is open, it is frozen because a recall
    stands behind what may have arrived, or a later packet has started.  A repeat is a Conflict: it is not parked.
    Recipients that share a transfer in doubt go on together.
    """
    return _act(node, delivery_id, decide_release, "release", actor, turn)


def resend(node: Node, delivery_id: str, *, actor: str, turn: int | None = None) -> DeliveryState:
    """Send again as a new transfer with a new key: only the newest packet of its chain, with nothing open.

    Raises NotFound, or Conflict saying why not.
    """
    return _act(node, delivery_id, decide_resend, "resend", actor, turn)


def _act(
    node: Node,
    delivery_id: str,
    decide: Callable[[Chain, Link, int], Step | Reason],
    act: str,
    actor: str,
    turn: int | None,
) -> DeliveryState:
    with node.store.write() as connection:
        now = node.store.now(connection)
        chain_id = chains_of_deliveries(connection, [delivery_id]).get(delivery_id)
        chains = {} if chain_id is None else load_chains(connection, [chain_id])
        if chain_id is None or not chains[chain_id].links:
            raise NotFound("delivery.unknown", delivery=delivery_id)
        link = chains[chain_id].find(delivery_id)
        if turn is not None and link.turn != turn:
            raise Conflict(f"{act}.moved_on", delivery=delivery_id)
        step = decide(chains[chain_id], link, now)
        if isinstance(step, Reason):
            raise Conflict(f"{act}.{step}", delivery=delivery_id, state=link.state)
        plans = [Planned(chain_id=chain_id, delivery_id=delivery_id, step=step)]
        if decide is decide_release and link.is_in_doubt():
            plans += _release_others(connection, chains, link, now)
        effects = advance(connection, chains, plans, pace=node.pace, now=now, at=node.now(), actor=actor)
    give_wakes(node, effects)
    assert step.move is not None, "a release always moves"
    return step.move.after


def _release_others(connection: Connection, chains: dict[str, Chain], link: Link, now: int) -> list[Planned]:
    """Those who share a transfer in doubt go on together: alone, one would get a new delivery key, under which nobody
    knows what the old one may have brought (rule 5). Raises Conflict where one of them may not: resend instead.
    """
    members = transfers.members_of(connection, [link.transfer_id]).get(link.transfer_id, [])
    others = [m for m in members if m.id != link.delivery_id and m.state == DeliveryState.PARKED]
    chains |= load_chains(connection, [m.chain_id for m in others])
    plans = []
    for member in others:
        step = decide_release(chains[member.chain_id], chains[member.chain_id].find(member.id), now)
        if isinstance(step, Reason):
            raise Conflict(f"release.{step}", delivery=member.id, state=DeliveryState.PARKED)
        plans.append(Planned(chain_id=member.chain_id, delivery_id=member.id, step=step))
    return plans
