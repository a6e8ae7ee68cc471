"""Hands: hand-overs of a group beside each other, so that a recipient who does not answer holds up nobody else.

    lanes of a group, one per channel ── hands of the process ─┬─ ended in time: the group's one commit
                                                               └─ late: the group goes on; written down when they end

A quick group needs one hand: each look at one that is not done puts another hand to it, while lanes wait.  When nobody
waits for a hand any more, what was not answered within half a second is late.  How many are under way at once, late
ones included, is bounded: then groups wait, and whoever gave their tickets keeps the rest.
"""

from __future__ import annotations

import queue
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Generic, TypeVar

from gateway.exchange.group import Grouper
from gateway.model.errors import GatewayError
from monitoring import log

__all__ = ["PATIENCE", "Hands", "Outstanding"]

PATIENCE: Final = 0.5
"""Seconds: as long as a channel counts as quick."""
_LOOK: Final = 0.02  # seconds between two looks at a group that is not done
_UNUSED: Final = 30.0  # seconds after which a hand that had nothing to do ends

_log = log.get("delivery")

Item = TypeVar("Item", bound=Hashable)


@dataclass(frozen=True, slots=True, kw_only=True)
class Outstanding(Generic[Item]):
    """What a group goes on without: items that are late, and what a hand-over raised that nobody foresaw."""

    late: frozenset[Item]
    failure: Exception | None = None


@dataclass(slots=True, eq=False)
class _Lane(Generic[Item]):
    """Items of one channel, handed over one after the other."""

    channel: str
    items: deque[Item]
    began: float = 0.0  #: the item that is under way
    is_late: bool = False


@dataclass(slots=True, eq=False)
class _Round(Generic[Item]):
    """The lanes of one group: those that wait for a hand, and those that one works on."""

    step: Callable[[Item], None]
    waiting: deque[_Lane[Item]]
    running: set[_Lane[Item]] = field(default_factory=set)
    late: frozenset[Item] = frozenset()  #: left to their hands
    failure: Exception | None = None
    death: BaseException | None = None
    changed: threading.Condition = field(default_factory=threading.Condition)

    def is_done(self) -> bool:
        return self.death is not None or not (self.waiting or self.running)


class Hands(Generic[Item]):
    """The hands of one process: at most `most` hand-overs are under way in it at once.

    `conclude` is given, in groups of up to `group`, what ended late; `note_slow` the channel of a hand-over that has
    lasted for `slow_from` seconds, at that moment: its questions to the recipient and its attempt's commit count too.
    Both run in threads of their own.  `patience`: seconds within which
    a recipient answers whom its group waits for.  `give_way` is called before each lane, when nothing of it is in
    anybody's hands, and before another hand is put to a group: it may wait for a moment.
    """

    def __init__(
        self,
        *,
        most: int,
        group: int,
        conclude: Callable[[Sequence[Item]], None],
        note_slow: Callable[[str], None],
        slow_from: float,
        patience: float = PATIENCE,
        give_way: Callable[[], None] = lambda: None,
    ) -> None:
        self._pool = _Pool(most)
        self._conclude = conclude
        self._late: Grouper[Item, None] = Grouper(self._conclude_late, most=group, name="deliver-late")
        self._note_slow, self._slow_from, self._patience = note_slow, slow_from, patience
        self._give_way = give_way
        self._lock = threading.Lock()
        self._late_on: Counter[str] = Counter()

    def hand_over(
        self, lanes: Mapping[str, Sequence[Item]], step: Callable[[Item], None], *, meanwhile: Callable[[], None]
    ) -> Outstanding[Item]:
        """Run `step` on every item, those of one channel in order; `meanwhile` again and again while they run.

        Returns when all ended, or when only late ones are left; these go on, and are concluded when they end.  An
        Exception that `step` raises leaves that item as it is and hinders no other; `meanwhile` is not run again after
        one of its own, and what was handed over is written down all the same.  Raises what else they raise at once, as
        a process that dies would.
        """
        known = [channel for channel in lanes if self._late_on[channel]]
        order = [*(channel for channel in lanes if channel not in known), *known]  # who is late already comes last
        rounds = _Round(step=step, waiting=deque(_Lane(channel, deque(lanes[channel])) for channel in order))
        failure: Exception | None = None
        while not self._is_over(rounds):
            failure = failure or _raised(meanwhile)
        with rounds.changed:
            if rounds.death is not None:
                raise rounds.death
            return Outstanding(late=rounds.late, failure=rounds.failure or failure)

    def _is_over(self, rounds: _Round[Item]) -> bool:
        """Put a hand more to what waits, and look again in a moment; what is late by then is left to its hand."""
        self._give_way()  # else more and more hands would be put to lanes that wait for nothing but this
        with rounds.changed:
            if rounds.waiting:
                self._pool.start(lambda: self._work(rounds))
            if rounds.changed.wait_for(rounds.is_done, _LOOK):
                return True
            if rounds.waiting or not all(self._is_late(lane) for lane in rounds.running):
                return False
            for lane in rounds.running:
                lane.is_late = True
                self._watch(lane)
            # Told now: from here on each is concluded by itself, however soon it ends.
            rounds.late = frozenset(item for lane in rounds.running for item in lane.items)
            return True

    def _is_late(self, lane: _Lane[Item]) -> bool:
        """Whether nobody waits for this lane: for long without an answer, as another of its channel is already."""
        return bool(self._late_on[lane.channel]) or time.monotonic() - lane.began >= self._patience

    # --- in the hands' threads -----------------------------------------------------------------------------------

    def _work(self, rounds: _Round[Item]) -> None:
        while True:
            self._give_way()
            with rounds.changed:
                if not rounds.waiting or rounds.death is not None:
                    return
                lane = rounds.waiting.popleft()
                lane.began = time.monotonic()
                rounds.running.add(lane)
            self._run(rounds, lane)

    def _run(self, rounds: _Round[Item], lane: _Lane[Item]) -> None:
        while True:
            item, failure, death = lane.items[0], None, None
            try:
                rounds.step(item)
            except Exception as why:  # noqa: BLE001 - told to the group, or logged where it went on
                failure = why
            except BaseException as why:  # noqa: BLE001 - told to the group
                death = why
            with rounds.changed:
                lane.items.popleft()
                lane.began = time.monotonic()
                rounds.failure, rounds.death = rounds.failure or failure, rounds.death or death
                is_late, is_done = lane.is_late, not lane.items or death is not None
                if is_done and not is_late:
                    rounds.running.discard(lane)
                if rounds.is_done():
                    rounds.changed.notify_all()
            if is_late:
                self._end_late(lane, item, failure or death, is_done=is_done)
            if is_done:
                return

    def _end_late(self, lane: _Lane[Item], item: Item, failure: BaseException | None, *, is_done: bool) -> None:
        if is_done:
            with self._lock:
                self._late_on[lane.channel] -= 1
                self._late_on += Counter()  # those at nought go
        if failure is None:
            self._late.submit(item, _told)
        else:
            _told(None, failure)

    def _conclude_late(self, items: Sequence[Item]) -> list[None]:
        self._conclude(items)
        return [None] * len(items)

    # --- late ones -------------------------------------------------------------------------------------------------

    def _watch(self, lane: _Lane[Item]) -> None:
        with self._lock:
            self._late_on[lane.channel] += 1
        item = lane.items[0]

        def look() -> None:
            if item in tuple(lane.items)[:1]:
                _told(None, _raised(lambda: self._note_slow(lane.channel)))

        timer = threading.Timer(max(0.0, self._slow_from - (time.monotonic() - lane.began)), look)
        timer.daemon = True
        _started(timer)  # else nobody is told before it ends

    def close(self, timeout: float) -> int:
        """Wait up to `timeout` seconds for what is under way, and write it down; how many are still without an answer.

        Safe to repeat.
        """
        until = time.monotonic() + timeout
        left = self._pool.close(timeout)
        self._late.close(max(0.1, until - time.monotonic()))
        return left


def _raised(work: Callable[[], None]) -> Exception | None:
    try:
        work()
    except Exception as why:  # noqa: BLE001 - told to the group, or logged by its name
        return why
    return None


def _told(_outcome: None, why: BaseException | None) -> None:
    """What could not be written down stays an open attempt, as after a crash."""
    if isinstance(why, GatewayError):
        _log.warning("delivery.late_not_concluded", reason=why.reason)
    elif why is not None:
        _log.error("delivery.late_not_concluded", error=why, exc_info=why)


def _started(thread: threading.Thread) -> bool:
    try:
        thread.start()
    except RuntimeError:  # as many as the system lets us have
        _log.exception("delivery.thread_refused")
        return False
    return True


class _Pool:
    """Threads that are made when they are needed, up to `most`, and end when they were not for a while."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._changed = threading.Condition()
        self._busy = self._idle = 0
        self._tasks: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()

    def start(self, task: Callable[[], None]) -> bool:
        """Run `task` at once in a thread; False where all are busy, or the system refuses another one."""
        with self._changed:
            if self._busy >= self._most:
                return False
            if self._idle:
                self._idle -= 1
            elif not _started(threading.Thread(target=self._run, name="deliver-hand", daemon=True)):
                return False
            self._busy += 1
            self._tasks.put(task)
            return True

    def close(self, timeout: float) -> int:
        """Wait up to `timeout` seconds until nobody is busy; whoever is idle ends. How many are still busy."""
        with self._changed:
            self._changed.wait_for(lambda: not self._busy, timeout)
            for _ in range(self._idle):
                self._tasks.put(None)
            self._idle = 0
            return self._busy

    def _run(self) -> None:
        while True:
            try:
                task = self._tasks.get(timeout=_UNUSED)
            except queue.Empty:
                with self._changed:
                    if not self._idle:
                        continue  # a task was just given to us
                    self._idle -= 1
                return
            if task is None:
                return
            task()
            with self._changed:
                self._busy -= 1
                self._idle += 1
                self._changed.notify_all()
