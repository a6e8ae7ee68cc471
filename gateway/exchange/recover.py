"""Recover (phục hồi sau khôi phục): after a restore, ask every recipient that can tell what already arrived (rule 13).

    read what is in doubt ── ask `find(key)` ── write down the answers ── … ── nothing left: push again

While a node recovers it accepts, lists and serves, and claims nothing.  No transaction is open while a recipient is
asked.  What nobody can tell (a blind channel) waits for a person.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from adapters.contract import AdapterError
from edxml.crashpoints import crash_point, declare
from gateway.channels import name_fault
from gateway.exchange.advance import Effects, Planned, advance, give_wakes
from gateway.model.chain import SinkSureness
from gateway.model.errors import NotFound
from gateway.model.machine import asked
from gateway.model.states import DeliveryState
from gateway.node import Node
from gateway.store import recoveries, transfers
from gateway.store.chains import load_chains
from gateway.store.recoveries import Recovery, Unasked
from gateway.store.repeating import repeated_where_undone
from monitoring import log

__all__ = ["Asked", "end_recovery", "recover_once"]

declare("recover.answers_kept", "a page of answers is written down; the node still pushes nothing")
declare("recover.ended", "the node pushes again")

_log = log.get("recover")
_PAGE = 100
_BY_ITSELF = "asked"


@dataclass(slots=True)
class Asked:
    """What one round of asking came to, in transfers; `silent`: channels that could not be asked, and why (a code)."""

    recovery: Recovery
    arrived: int = 0
    absent: int = 0
    parked: int = 0
    has_ended: bool = False
    silent: dict[str, str] = field(default_factory=dict)
    left: tuple[Unasked, ...] = ()  #: what is in doubt still: silent channels, and what may yet land


def recover_once(node: Node) -> Asked | None:
    """Ask all that can be asked now, and end the recovery where nothing is left; None where the node is not recovering.

    Safe to repeat, to be killed, and to run twice at once: a receipt stays one, a no is asked for again.
    Crash points: recover.answers_kept, recover.ended.
    """
    with node.store.read() as connection:
        recovery = recoveries.running(connection)
        doubtful = () if recovery is None else recoveries.channels_in_doubt(connection, recovery)
    if recovery is None:
        return None
    done = Asked(recovery=recovery, left=doubtful)
    while doubtful:
        answered = done.arrived + done.absent + done.parked
        for one in doubtful:
            if one.channel_id not in done.silent:
                _ask_channel(node, done, one)
        with node.store.read() as connection:
            done.left = recoveries.channels_in_doubt(connection, recovery)
        if done.arrived + done.absent + done.parked == answered:
            return done  # nobody said anything new: a channel is silent, or something may yet land
        doubtful = done.left  # an answer may have let a successor go on, which is in doubt as well
    done.has_ended = end_recovery(node, recovery, actor=_BY_ITSELF)
    return done


@repeated_where_undone
def end_recovery(node: Node, recovery: Recovery, *, actor: str) -> bool:
    """Let the node push again; False where it did already.

    What was not asked stays in doubt: each is looked up before it is sent, or parked where nobody can tell (rule 5).
    """
    with node.store.write() as connection:
        now = node.store.now(connection)
        has_ended = recoveries.end(connection, recovery, now=now, at=node.now(), actor=actor)
    crash_point("recover.ended")
    if has_ended:
        node.transport.wake("relay")
        _log.info("recovery.ended")
    return has_ended


def _ask_channel(node: Node, done: Asked, one: Unasked) -> None:
    after = ""
    while True:
        with node.store.read() as connection:
            now = node.store.now(connection)
            page = recoveries.in_doubt(connection, done.recovery, one.channel_id, now=now, after=after, most=_PAGE)
        if not page:
            return
        asked_at = node.store.reckoning.clock.boot_now()
        answers = _ask(node, done, one, page)
        if answers:
            _write_down(node, done, answers, asked_at)
            crash_point("recover.answers_kept")
        if one.channel_id in done.silent:
            return
        after = page[-1]


def _ask(node: Node, done: Asked, one: Unasked, page: Sequence[str]) -> dict[str, bool | None]:
    """Whether each of these keys arrived; None where nobody can tell. Ends at the first that is not answered."""
    if one.sink == SinkSureness.BLIND:
        return dict.fromkeys(page)
    answers: dict[str, bool | None] = {}
    for key in page:
        try:
            answers[key] = node.channels.sink(one.channel_id).find(key) is not None
        except (AdapterError, NotFound, OSError) as why:
            done.silent[one.channel_id] = name_fault(why)
            _log.warning("recovery.silent", channel=one.channel_id, reason=done.silent[one.channel_id])
            break
    return answers


@repeated_where_undone
def _write_down(node: Node, done: Asked, answers: Mapping[str, bool | None], asked_at: int) -> None:
    with node.store.write() as connection:
        now = node.store.now(connection)
        members = transfers.members_of(connection, list(answers))
        chains = load_chains(connection, {m.chain_id for group in members.values() for m in group})
        ago = node.store.reckoning.clock.boot_now() - asked_at
        planned = []
        counted: dict[bool | None, set[str]] = {True: set(), False: set(), None: set()}
        for key, has_arrived in answers.items():
            for member in members.get(key, ()):
                step = asked(chains[member.chain_id].find(member.id), has_arrived, now, node.pace, ago=ago)
                if step.move is not None or step.end is not None:
                    planned.append(Planned(chain_id=member.chain_id, delivery_id=member.id, step=step))
                    counted[has_arrived].add(key)
        effects = advance(connection, chains, planned, pace=node.pace, now=now, at=node.now(), actor=node.worker)
    _tell(node, done, effects, counted)


def _tell(node: Node, done: Asked, effects: Effects, counted: Mapping[bool | None, set[str]]) -> None:
    give_wakes(node, effects)
    if any(move.after is DeliveryState.DELIVERED for move in effects.moves):
        node.transport.wake("reports")
    done.arrived += len(counted[True])
    done.absent += len(counted[False])
    done.parked += len(counted[None])
    for has_arrived, outcome in ((True, "arrived"), (False, "absent"), (None, "parked")):
        if counted[has_arrived]:
            _log.info("recovery.asked", outcome=outcome, count=len(counted[has_arrived]))
