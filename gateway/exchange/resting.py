"""A channel that is drained, and a backlog that moves to another channel of the same agencies (rules 3, 9)."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from gateway.exchange.advance import Planned, advance, give_wakes
from gateway.model.chain import Chain, Reason, Refused
from gateway.model.errors import Conflict
from gateway.model.machine import move as decide_move
from gateway.model.states import ChannelState, DeliveryState
from gateway.node import Node
from gateway.store import backlog, channels
from gateway.store.chains import load_chains
from gateway.store.channels import ChannelRow
from gateway.store.dialect import begun_until, settled_until
from gateway.store.repeating import repeated_where_undone

__all__ = ["Drains", "Moved", "begin_drain", "check_move", "finish_drains", "move_backlog", "set_channel_state"]

_PAGE = 200

Drains = dict[str, int]
"""Per draining channel: which transactions must have ended before a look at it counts. Kept between looks."""


@repeated_where_undone
def set_channel_state(node: Node, channel_id: str, state: ChannelState, *, actor: str) -> bool:
    """Pause, drain or resume a channel, as `gateway.store.channels.set_state` says. Safe to repeat."""
    with node.store.write() as connection:
        return channels.set_state(connection, channel_id, state, now=node.store.now(connection), actor=actor)


@repeated_where_undone
def begin_drain(node: Node, channel_id: str, *, actor: str) -> bool:
    """From the commit on nothing is claimed on the channel any more; False where it drains or is paused already."""
    with node.store.write() as connection:
        now = node.store.now(connection)
        states = {row.id: row.state for row in channels.list_channels(connection)}
        if states.get(channel_id) is not ChannelState.OPEN:
            return False
        return channels.set_state(connection, channel_id, ChannelState.DRAINING, now=now, actor=actor)


def finish_drains(node: Node, known: Drains) -> list[str]:
    """Pause the draining channels on which nothing is under way any more; gives their ids.

    Counts only what it sees after every transaction that might still have found the channel open has ended, so
    "empty" is never said too early; `known` is what the look before left.  Safe to repeat and to do twice at once.
    """
    with node.store.read() as connection:
        found = backlog.draining(connection)
        if not found:
            known.clear()
            return []
        now, settled, begun = node.store.now(connection), settled_until(connection), begun_until(connection)
        for channel_id in known.keys() - set(found):
            del known[channel_id]
        looked = [one for one in found if settled >= known.setdefault(one, begun)]
        empty = [one for one in looked if backlog.under_way(connection, one, now).is_empty]
    if not empty:
        return []
    with node.store.write() as connection:
        now = node.store.now(connection)
        return [one for one in empty if backlog.drained(connection, one, now=now, actor=node.worker)]


# --- moving what waits -----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Moved:
    """What became of a backlog. `moved`: waits on the other channel now. `parked`: may have arrived, a person decides.
    `held`: a hand-over may be going on; move again later. `doubtful`: parked in doubt before, left where it was."""

    moved: int = 0
    parked: int = 0
    held: int = 0
    doubtful: int = 0


def check_move(source: ChannelRow, target: ChannelRow) -> None:
    """Raises Conflict where a backlog may not move so: onto itself, from a channel that still takes, to nobody's."""
    if source.id == target.id:
        raise Conflict("channel.move_same", channel=source.id)
    if not source.is_paused:
        raise Conflict("channel.move_open", channel=source.id)
    if not target.agency_ids:
        raise Conflict("channel.move_nobody", channel=target.id)


def move_backlog(node: Node, source: ChannelRow, target: ChannelRow, *, actor: str) -> Moved:
    """Move what is open on `source` to `target`, for the agencies that `target` serves now. Raises as `check_move`.

    Order and once-only hold: chains stay as they are, each transfer gets a new key and a turn more, and whatever may
    have arrived under the old key goes to a person (rule 9).  A page per transaction, which says how many moved in it:
    killed in between it goes on when run again, a repeat finds nothing left to move, and of two at once each moves what
    the other has not.
    """
    check_move(source, target)
    counts: Counter[str] = Counter()
    after: str | None = ""
    while after is not None:
        found, after = _move_page(node, source, target, after, actor)
        counts += found
    return Moved(**counts)


@repeated_where_undone
def _move_page(
    node: Node, source: ChannelRow, target: ChannelRow, after: str, actor: str
) -> tuple[Counter[str], str | None]:
    """What became of the page after this delivery, and its last delivery; None where there was none."""
    with node.store.write() as connection:
        now = node.store.now(connection)
        page = backlog.page_of(connection, source.id, target.id, after=after, most=_PAGE)
        chains = load_chains(connection, {chain_id for _, chain_id in page})
        # Who else moves it had its chain, and has committed: what is left is known since the chains are ours.
        left = set(backlog.page_of(connection, source.id, target.id, after=after, most=_PAGE))
        found: Counter[str] = Counter()
        planned = [
            plan
            for delivery, chain in page
            if (delivery, chain) in left and (plan := _plan(chains[chain], delivery, target, now, found))
        ]
        effects = advance(connection, chains, planned, pace=node.pace, now=now, at=node.now(), actor=actor)
        if found["moved"]:
            backlog.note_emptied(connection, source.id, target.id, found["moved"], now=now, actor=actor)
    give_wakes(node, effects)
    return found, page[-1][0] if page else None


def _plan(chain: Chain, delivery_id: str, target: ChannelRow, now: int, counts: Counter[str]) -> Planned | None:
    step = decide_move(chain.find(delivery_id), target.id, now, is_polled=target.is_polled)
    if isinstance(step, Refused):
        counts["held" if step is Refused.ATTEMPT_STILL_OPEN else "doubtful"] += 1
        return None
    assert step.move is not None, "what may move does"
    is_doubtful = step.move.after is DeliveryState.PARKED and step.move.reason is Reason.MAY_HAVE_ARRIVED
    counts["parked" if is_doubtful else "moved"] += 1
    return Planned(chain_id=chain.id, delivery_id=delivery_id, step=step)
