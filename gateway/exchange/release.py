"""What operators do with what needs a hand: release, resend, vouch (rule 9). Every act is an event with its author."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from gateway.exchange.advance import Planned, advance, give_wakes
from gateway.model.chain import Chain, Link, Refused
from gateway.model.errors import Conflict, NotFound
from gateway.model.machine import release as decide_release
from gateway.model.machine import resend as decide_resend
from gateway.model.machine import vouch as decide_vouch
from gateway.model.states import DeliveryState
from gateway.model.step import Step
from gateway.node import Node
from gateway.store import Connection, channels, transfers, views
from gateway.store.chains import chains_of_deliveries, load_chains
from gateway.store.repeating import repeated_where_undone

__all__ = ["check_release", "check_resend", "check_vouch", "release", "resend", "vouch"]

_Decide = Callable[[Connection, Chain, Link, int], Step | Refused]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Act:
    """What an operator says, and how the machine decides whether it may be."""

    name: str
    decide: _Decide
    takes_partners: bool  #: who shares a transfer in doubt goes on together with it, or not at all (rule 5)


def _release(_connection: Connection, chain: Chain, link: Link, now: int) -> Step | Refused:
    return decide_release(chain, link, now)


def _resend(connection: Connection, chain: Chain, link: Link, now: int) -> Step | Refused:
    """By the channel that serves the agency today; where none does, by the one that it had."""
    today = channels.channel_of_delivery(connection, link.delivery_id)
    if today is None:
        return decide_resend(chain, link, now)
    channel_id, is_polled, sink = today
    return decide_resend(chain, replace(link, is_polled=is_polled, sink=sink), now, channel_id=channel_id)


def _vouch(_connection: Connection, _chain: Chain, link: Link, _now: int) -> Step | Refused:
    return decide_vouch(link)


_RELEASE = _Act(name="release", decide=_release, takes_partners=True)
_RESEND = _Act(name="resend", decide=_resend, takes_partners=False)
_VOUCH = _Act(name="vouch", decide=_vouch, takes_partners=True)


def release(node: Node, delivery_id: str, *, actor: str, turn: int | None = None) -> DeliveryState:
    """Let a parked delivery go on; its state afterwards. `turn`: only if nothing happened since that turn was shown.

    Raises NotFound, or Conflict saying why not: it is not parked, an attempt is open, it is frozen because a recall
    stands behind what may have arrived, a later packet of its document or of what replaces that has started, or it may
    have arrived and what stands before it is not done.  A repeat is a Conflict: it is not parked.
    NotFound names the archive's file where the month of that id was archived and went.
    Recipients that share a transfer in doubt go on together.
    """
    return _do(node, _RELEASE, delivery_id, actor, turn)


def resend(node: Node, delivery_id: str, *, actor: str, turn: int | None = None) -> DeliveryState:
    """Send again as a new transfer with a new key: only the newest packet of its document, with nothing open.

    By the channel that serves its agency now, also where what waited was left on an earlier one; where none does, by
    that.  Raises NotFound, or Conflict saying why not.
    """
    return _do(node, _RESEND, delivery_id, actor, turn)


def vouch(node: Node, delivery_id: str, *, actor: str, turn: int | None = None) -> DeliveryState:
    """The recipient has what is parked or expired in doubt, as it said: it is delivered, what waits behind it goes on.

    Raises NotFound, or Conflict: nothing of it is in doubt.  A repeat is a Conflict.  Recipients that share a transfer
    in doubt got it together.  The account counts it as delivered; the event says who vouched.
    """
    return _do(node, _VOUCH, delivery_id, actor, turn)


def check_release(node: Node, delivery_id: str) -> None:
    """Raises what `release` would raise now; changes nothing."""
    _check(node, _RELEASE, delivery_id)


def check_resend(node: Node, delivery_id: str) -> None:
    """Raises what `resend` would raise now; changes nothing."""
    _check(node, _RESEND, delivery_id)


def check_vouch(node: Node, delivery_id: str) -> None:
    """Raises what `vouch` would raise now; changes nothing."""
    _check(node, _VOUCH, delivery_id)


@repeated_where_undone
def _do(node: Node, act: _Act, delivery_id: str, actor: str, turn: int | None) -> DeliveryState:
    with node.store.write() as connection:
        now = node.store.now(connection)
        chains, plans = _plan(connection, act, delivery_id, now, turn, lock=True)
        effects = advance(connection, chains, plans, pace=node.pace, now=now, at=node.now(), actor=actor)
    give_wakes(node, effects)
    own = plans[0].step.move
    assert own is not None, "an act always moves"
    return own.after


def _check(node: Node, act: _Act, delivery_id: str) -> None:
    with node.store.read() as connection:
        _plan(connection, act, delivery_id, node.store.now(connection), None, lock=False)


def _plan(
    connection: Connection, act: _Act, delivery_id: str, now: int, turn: int | None, *, lock: bool
) -> tuple[dict[str, Chain], list[Planned]]:
    """The chains and what the act does to them, the delivery's own step first. Raises NotFound and Conflict."""
    chain_id = chains_of_deliveries(connection, [delivery_id]).get(delivery_id)
    if chain_id in (None, delivery_id):  # whom nobody can reach is in no chain
        raise _not_there(connection, delivery_id)
    chains = load_chains(connection, [chain_id], lock=lock)
    link = chains[chain_id].find(delivery_id)
    if turn is not None and link.turn != turn:
        raise Conflict(f"{act.name}.moved_on", delivery=delivery_id)
    asked = [(chain_id, delivery_id)]
    if act.takes_partners and link.is_in_doubt():
        partners = _partners(connection, link)
        chains |= load_chains(connection, [partner_chain for partner_chain, _ in partners], lock=lock)
        asked += partners
    return chains, [_planned(connection, act, chains[chain], member, now) for chain, member in asked]


def _not_there(connection: Connection, delivery_id: str) -> NotFound:
    """There is none with this id, or its month was archived and went: then in which file it is."""
    gone = views.archived_id(connection, delivery_id)
    if gone is None:
        return NotFound("delivery.unknown", delivery=delivery_id)
    return NotFound("delivery.archived", delivery=delivery_id, month=gone.month, file=gone.file)


def _planned(connection: Connection, act: _Act, chain: Chain, delivery_id: str, now: int) -> Planned:
    link = chain.find(delivery_id)
    step = act.decide(connection, chain, link, now)
    if isinstance(step, Refused):
        raise Conflict(f"{act.name}.{step}", delivery=delivery_id, state=link.state)
    return Planned(chain_id=chain.id, delivery_id=delivery_id, step=step)


def _partners(connection: Connection, link: Link) -> list[tuple[str, str]]:
    """Those who share a transfer in doubt, as (chain, delivery): they go on together, since alone one would get a new
    delivery key, under which nobody knows what the old one may have brought (rule 5). Where one may not: resend.
    """
    members = transfers.members_of(connection, [link.transfer_id], [link.packet_id]).get(link.transfer_id, [])
    return [(m.chain_id, m.id) for m in members if m.id != link.delivery_id and m.state == DeliveryState.PARKED]
