"""Examining under load: while many packets come, other processes read, check and seal them (gateway.workers.examiner).

One Python process works on one core.  At rest this costs nothing: the examiners start when bodies come fast, and end
when they have rested.  They are a shorter way, never the only one: what an examiner does not answer, because it died,
hangs, or says nothing of a packet, is examined here, as without them.
"""

from __future__ import annotations

import os
import queue
import socket
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from gateway.exchange.examine import tell_prepared
from gateway.exchange.group import Grouper, Settle, gather
from gateway.exchange.parcels import Carrier
from gateway.exchange.submission import Outcome, Prepared, Submission, with_found
from gateway.exchange.take_in import Unprepared
from gateway.exchange.urgency import say_urgent
from gateway.node import Node
from gateway.settings import Settings, environment_of
from monitoring import log

__all__ = ["Examining", "Habits"]

_log = log.get("api.examining")

_STARTING: Final = 30.0  # seconds from its start until it says that it works
_ANOTHER: Final = 1.0  # seconds between the starts of two
_ROOM: Final = 0.25  # seconds to wait for the group before to be taken

_Member = tuple[Submission, Settle["Outcome | Unprepared"]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Habits:
    """When examiners come and go. Spans in seconds."""

    many: int = 40  #: bodies in one second from which on an examiner is worth its memory
    rest: float = 60.0  #: without work, after which it ends
    answer: float = 10.0  #: for one group, which takes some twenty milliseconds
    again: float = 10.0  #: until one that failed is started anew


class Examining:
    """The way of a small body to `accepting`: through an examiner while many come, else straight on."""

    def __init__(
        self,
        node: Node,
        settings: Settings,
        accepting: Grouper[Submission | Prepared, Outcome | Unprepared],
        habits: Habits = Habits(),
    ) -> None:
        self._habits = habits
        self._node = node
        self._settings = settings
        self._accepting = accepting
        self._queue: queue.SimpleQueue[_Member | None] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._threads: list[threading.Thread] = []
        self._ready = 0  #: examiners that take from the queue
        self._is_closed = False
        self._second, self._came, self._not_before = 0, 0, 0.0

    @property
    def ready(self) -> int:
        """How many examiners take packets now."""
        return self._ready

    def submit(self, submission: Submission, settle: Settle[Outcome | Unprepared]) -> None:
        """Have it examined and accepted; `settle` as `Grouper.submit` says. On the event loop."""
        self._count()
        if self._ready:
            with self._lock:
                if self._ready:
                    self._queue.put((submission, settle))
                    return
        self._accepting.submit(submission, settle)

    def close(self, timeout: float = 30.0) -> None:
        """Finish what is queued, then end the examiners. Call before `accepting` is closed. Safe to repeat."""
        with self._lock:
            self._is_closed = True
            threads = list(self._threads)
            for _ in threads:
                self._queue.put(None)
        for thread in threads:
            thread.join(timeout)

    def _count(self) -> None:
        now = time.monotonic()
        if int(now) != self._second:
            self._second, self._came = int(now), 0
        self._came += 1
        if self._came >= self._habits.many and now >= self._not_before:
            self._not_before = now + _ANOTHER
            self._start()

    def _start(self) -> None:
        with self._lock:
            if self._is_closed or len(self._threads) >= self._settings.examiners:
                return
            thread = threading.Thread(target=self._run, name=f"examining-{len(self._threads)}", daemon=True)
            self._threads.append(thread)
        thread.start()

    def _run(self) -> None:
        examiner: _Examiner | None = None
        try:
            examiner = _Examiner(self._settings, self._habits.answer)
            self._work(examiner)
        except Exception as why:  # noqa: BLE001 - whatever it was, packets go on without it
            self._not_before = time.monotonic() + self._habits.again
            _log.warning("examiner.lost", error=why)
        finally:
            if examiner is not None:
                examiner.close()
            with self._lock:
                self._threads.remove(threading.current_thread())

    def _work(self, examiner: _Examiner) -> None:
        """Groups through the examiner, until it rests, fails or is closed; then nothing is left in the queue of the
        last one. Raises OSError, EOFError where it fails, with every member on its way by itself."""
        with self._lock:
            self._ready += 1
        try:
            is_last = False
            while not is_last:
                first = self._next()
                if first is None:
                    return
                self._accepting.wait_until_taken(_ROOM)
                group, is_last = gather(self._queue, first, self._node.group)
                self._examine(examiner, group)
        finally:
            with self._lock:
                self._ready -= 1
                if not self._ready:
                    self._let_go()

    def _next(self) -> _Member | None:
        try:
            return self._queue.get(timeout=self._habits.rest)
        except queue.Empty:
            return None

    def _let_go(self) -> None:
        """Nobody takes from the queue any more: what is in it is examined here."""
        while True:
            try:
                left = self._queue.get_nowait()
            except queue.Empty:
                return
            if left is not None:
                self._accepting.submit(*left)

    def _examine(self, examiner: _Examiner, group: Sequence[_Member]) -> None:
        began = time.monotonic()
        try:
            answers = examiner.ask([submission for submission, _ in group])
        except BaseException:
            examiner.kill()  # before its packets are examined here: two must not write the same files
            for submission, settle in group:
                self._examine_here(submission, settle)
            raise
        left = deque(zip(group, answers, strict=True))
        try:
            say_urgent(self._node, filter(None, answers))
            with log.together():
                while left:
                    (submission, settle), prepared = left[0]
                    if prepared is not None:
                        tell_prepared(self._node, prepared.submission, prepared, began)
                    left.popleft()
                    if prepared is None:
                        self._examine_here(submission, settle)
                    else:
                        self._accepting.submit(prepared, settle)
        finally:  # whatever was met on the way: whoever is not on his way yet is examined here
            for (submission, settle), _ in left:
                self._examine_here(submission, settle)

    def _examine_here(self, submission: Submission, settle: Settle[Outcome | Unprepared]) -> None:
        """As if there were no examiner; a file that it had begun is not in the way."""
        submission.spooled.unlink(missing_ok=True)
        self._accepting.submit(submission, settle)


class _Examiner:
    """One child process, asked and answering over a pair of sockets, both within their time."""

    def __init__(self, settings: Settings, answer: float) -> None:
        """Start it and wait until it works; `answer`: seconds that it has for a group.

        Raises OSError where it cannot start or stays silent, EOFError where it ended.
        """
        ours, theirs = socket.socketpair()
        try:
            self._process = subprocess.Popen(  # noqa: S603 - our own program, no shell, nothing of a packet
                [sys.executable, "-m", "gateway.cli.examiner", str(theirs.fileno())],
                env={**os.environ, **environment_of(settings)},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                pass_fds=(theirs.fileno(),),
            )
        except BaseException:
            ours.close()
            raise
        finally:
            theirs.close()
        self._carrier = Carrier(ours)
        self._carrier.limit(_STARTING)
        try:
            self._carrier.take()
        except BaseException:
            self.close()
            raise
        self._carrier.limit(answer)
        _log.info("examiner.ready", pid=self._process.pid)

    def ask(self, group: Sequence[Submission]) -> Sequence[Prepared | None]:
        """One answer per member, in their order. Raises OSError, EOFError, and ValueError for one that makes no sense:
        the examiner must be closed then."""
        self._carrier.give(group)
        answers = self._carrier.take()
        if not isinstance(answers, list) or len(answers) != len(group):
            raise EOFError("an examiner answered something else")
        return [
            None if found is None else with_found(submission, found)
            for submission, found in zip(group, answers, strict=True)
        ]

    def close(self) -> None:
        """End it: politely, then not. Safe to repeat."""
        self._carrier.close()
        try:
            self._process.wait(2.0)
        except subprocess.TimeoutExpired:
            self.kill()

    def kill(self) -> None:
        """End it at once: nothing that it was at goes on. Safe to repeat."""
        self._process.kill()
        self._process.wait()
