"""Periodic work: what time moves, and what must be seen soon; by one process of a node, each job under a lease."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from gateway.exchange.resting import Drains, finish_drains
from gateway.exchange.sweep import sweep_once
from gateway.model.events import Event, EventKind
from gateway.model.instants import boot_now
from gateway.node import Node
from gateway.store import Store, events, walks
from gateway.workers.leases import Job, do_due
from gateway.workers.loop import Loop
from monitoring import log
from monitoring.registry import FaultBook

__all__ = ["SWEEP", "ClockWatch", "periodic_once", "start_periodic"]

SWEEP: Final = "sweep"
"""The job that moves what time moves; done in every round, by one process."""

_log = log.get("periodic")
_JUMP = 5.0
_SHORTEST_LEASE = 2.0
"""Seconds. Jobs are held for three rounds: after a crash the next process goes on soon; two at once harm nothing."""


@dataclass(frozen=True, slots=True)
class Jump:
    """A clock jumped by so many seconds; below 0: back. Whose: "" this machine's."""

    seconds: float
    whose: str = ""


class ClockWatch:
    """Compares the wall clock with the monotonic one, and PostgreSQL's as well: more than 5 s apart, scheduling by time
    waits (rule 13)."""

    def __init__(self, wall: Callable[[], int], store: Store | None = None) -> None:
        """`store`: whose clock is another one's."""
        self._wall = wall
        self._store = store
        self._offset = self._read()
        self._untold: Jump | None = None

    def _read(self) -> float:
        return (self._wall() - boot_now()) / 1e6

    def jumped(self) -> Jump | None:
        """How a clock jumped since the last look, until it was `told`; None where all went along. Raises StoreBusy."""
        offset = self._read()
        jump = offset - self._offset
        self._offset = offset
        if abs(jump) > _JUMP:
            self._untold = Jump(jump)
        elif self._untold is None and self._store is not None:
            self._untold = self._jump_of(self._store)
        return self._untold

    def told(self) -> None:
        """The jump is written down."""
        self._untold = None

    @staticmethod
    def _jump_of(store: Store) -> Jump | None:
        with store.read() as connection:
            store.now(connection)
        jump = store.reckoning.take_jump()
        return Jump(jump / 1e6, whose="database") if jump else None


def periodic_once(node: Node, watch: ClockWatch, pause: float, drains: Drains | None = None) -> float:
    """One round of every job that is due and not held by another process; seconds until the next.

    `drains`: what the round before saw of channels that drain; nothing where this is the first.
    """
    jump = watch.jumped()
    if jump:
        _note_jump(node, jump)
        watch.told()
        return pause  # leases, limits and verdicts wait a round; nobody's clock is trusted meanwhile
    held = max(3 * pause, _SHORTEST_LEASE)
    do_due(node, {
        Job(name=SWEEP, lease=held): lambda: _sweep(node),
        Job(name="configuration", lease=held): lambda: _note_unreadable(node),
        Job(name="drain", lease=held): lambda: finish_drains(node, drains if drains is not None else {}),
    })  # fmt: skip
    return pause


def _sweep(node: Node) -> None:
    while sweep_once(node):
        pass


def _note_jump(node: Node, jump: Jump) -> None:
    how = f"{jump.whose} {jump.seconds:+.0f} s".lstrip()
    with node.store.write() as connection:
        now = node.store.now(connection)
        jumped = Event(kind=EventKind.CLOCK_JUMPED, at=node.now(), actor=node.worker, reason=how)
        events.append(connection, [jumped], now)
    node.metrics.count_clock_jump(jump.seconds)
    _log.warning("clock.jumped", ms=int(jump.seconds * 1000), reason=jump.whose or "machine")


def _note_unreadable(node: Node) -> None:
    """Rows that cannot be read stand as faults, each with an event that names it, until they can."""
    found = {walks.Fault(kind=f"{one.kind}:{one.name}") for one in node.channels.snapshot().faults}
    with node.store.read() as connection:
        if found == walks.standing(connection, FaultBook.CONFIGURATION):
            return
        walk = walks.read_walk(connection, FaultBook.CONFIGURATION)
    with node.store.write() as connection:
        now = node.store.now(connection)
        new, gone = walks.keep(
            connection, walk, FaultBook.CONFIGURATION, found, last="", at=node.now(), actor=node.worker, now=now
        )
    for fault in new:
        _log.error("configuration.unreadable", reason=fault.kind)
    for fault in gone:
        _log.info("configuration.readable", reason=fault.kind)


def start_periodic(node: Node, pause: float) -> Loop:
    """The periodic loop, by time alone."""
    watch = ClockWatch(node.now, None if node.store.goes_by_clock else node.store)
    drains = Drains()
    return Loop("periodic", lambda: periodic_once(node, watch, pause, drains), node.transport, beat=pause)
