"""Notify line (đường gọi dậy): one connection by which a process hears, and is heard by, the node's other processes.

    send ── what waits, each word once ── NOTIFY of its own, committed at once ── the server ── LISTEN ── hear

For nodes on PostgreSQL, with a broker or without.  Words are hints: while the connection is lost they are lost too, and
whoever looks by itself from time to time finds the work.  They never travel in a hop's transaction: a NOTIFY takes a
lock of the whole server at its commit, and a full queue would undo what it came with.  LISTEN needs a connection of
one's own: a pooler that hands out connections by transactions (PgBouncer) carries none; `is_carrying` says whether they
come.
"""

from __future__ import annotations

import os
import selectors
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from secrets import token_hex
from typing import Any, Final

import psycopg
from sqlalchemy import Engine
from sqlalchemy.exc import DatabaseError
from sqlalchemy.exc import TimeoutError as PoolExhausted
from tenacity import (
    RetryCallState,
    Retrying,
    retry_if_exception_type,
    sleep_using_event,
    stop_when_event_set,
    wait_random_exponential,
)
from tenacity import RetryError as GaveUp

from gateway.model.errors import StoreError
from gateway.store.faults import cause_of, translating
from gateway.store.handle import Store
from monitoring import log
from monitoring.metrics import Metrics
from monitoring.registry import WakeEvent

__all__ = ["NotifyLine", "is_carrying"]

_CHANNEL: Final = "truc_wakes"
_LARGEST: Final = 7_900  # bytes of one NOTIFY; the server takes fewer than 8,000
_MOST_PENDING: Final = 10_000  # different words
_PAUSE: Final = 0.005  # seconds between two NOTIFYs of a process: a thousand wakes are one
_SILENCE: Final = 30.0  # seconds after which the server is asked whether it is still there
_LONGEST_WAIT: Final = 5.0  # seconds between two tries to connect
_AFTER_LOSS: Final = 0.2  # seconds before the first of them
_LAST_WORDS: Final = 1.0  # seconds for what still waits when the process ends, a first connection and all
_LOST: Final = (DatabaseError, PoolExhausted, StoreError, psycopg.Error, OSError)

_log = log.get("gateway.store")

_Driver = psycopg.Connection[tuple[Any, ...]]

Hear = Callable[[Sequence[str]], None]
"""Gets topics that another process sent. Runs in the line's thread: it must be quick."""


class NotifyLine:
    """Connects with the first use, in a thread of its own, and again and again when the connection is lost.

    Any thread may call; nothing blocks and nothing raises but what says so.
    """

    def __init__(self, engine: Engine, *, metrics: Metrics | None = None, last_words: float = _LAST_WORDS) -> None:
        self._engine = engine
        self._metrics = metrics
        self._last_words = last_words
        self._home = token_hex(8)  # by which a process knows its own words
        self._hear: Hear | None = None
        self._on_back: Callable[[], None] = _do_nothing
        self._pending: dict[str, None] = {}
        self._lock = threading.Lock()
        self._bell = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._stopping = threading.Event()
        self._idle = threading.Event()
        self._idle.set()
        self._is_up = threading.Event()
        self._is_down = False  # it was tried, and is not there
        self._thread: threading.Thread | None = None

    def open(self, hear: Hear, on_back: Callable[[], None]) -> None:
        """Hear what other processes send; `on_back()` whenever the line is there (again)."""
        with self._lock:
            self._hear, self._on_back = hear, on_back
            self._start()

    def send(self, topics: Sequence[str]) -> None:
        """Send topics to the other processes; while the line is down they are lost, and counted."""
        with self._lock:
            if self._stopping.is_set() or self._is_down:
                self._count(WakeEvent.LOST, len(topics))
                return
            self._start()
            fitting = [topic for topic in topics if len(topic.encode()) + len(self._home) < _LARGEST]
            room = _MOST_PENDING - len(self._pending)
            self._pending.update(dict.fromkeys(fitting[:room]))
            self._idle.clear()
            os.eventfd_write(self._bell, 1)

    def wait_up(self, seconds: float) -> bool:
        """Whether the line is there, waiting for it so long."""
        return self._is_up.wait(seconds)

    def close(self, timeout: float = 5.0) -> None:
        """Send what waits (for `last_words` seconds at most, unless the line is down), then let go. Safe to repeat.

        A process that lives for one command says its word before its line is there.
        """
        if self._thread is not None:
            self._idle.wait(self._last_words)
        with self._lock:
            was_closed = self._stopping.is_set()
            self._stopping.set()
            if not was_closed:
                os.eventfd_write(self._bell, 1)
        if self._thread is not None:
            self._thread.join(timeout)
        if not was_closed and (self._thread is None or not self._thread.is_alive()):
            os.close(self._bell)

    # --- the line's thread ---------------------------------------------------------------------------------------

    def _start(self) -> None:
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="wake-line", daemon=True)
            self._thread.start()

    def _run(self) -> None:
        tries = Retrying(
            wait=wait_random_exponential(multiplier=_AFTER_LOSS, max=_LONGEST_WAIT),
            stop=stop_when_event_set(self._stopping),
            sleep=sleep_using_event(self._stopping),
            retry=retry_if_exception_type(_LOST),
            before_sleep=_say_away,
        )
        while not self._stopping.is_set():
            try:
                driver = tries(self._connect)
            except GaveUp:
                return
            try:
                self._on_back()
                self._serve(driver)
            except _LOST as why:
                _log.warning("wake_line.lost", error=type(why).__name__, cause=cause_of(why))
            finally:
                self._show(is_up=False)
                self._forget_pending()
                driver.close()
            self._stopping.wait(_AFTER_LOSS)

    def _connect(self) -> _Driver:
        try:
            driver = _listening(self._engine)
        except _LOST:
            self._show(is_up=False)
            self._forget_pending()
            raise
        self._show(is_up=True)
        return driver

    def _serve(self, driver: _Driver) -> None:
        last_sent = 0.0
        waiting = selectors.PollSelector()  # select() refuses descriptors from 1,024 on
        for descriptor in (driver.fileno(), self._bell):
            waiting.register(descriptor, selectors.EVENT_READ)
        while not self._stopping.is_set():
            words = self._take()
            if words:
                self._stopping.wait(max(0.0, last_sent + _PAUSE - time.monotonic()))
                self._tell(driver, words)
                last_sent = time.monotonic()
            self._read(driver)
            with self._lock:
                if not self._pending:
                    self._idle.set()
            readable = waiting.select(_SILENCE)
            if any(key.fd == self._bell for key, _ in readable):
                os.eventfd_read(self._bell)
            if not readable:
                driver.execute("SELECT 1")

    def _tell(self, driver: _Driver, words: Sequence[str]) -> None:
        """One transaction for all of them. What the server refuses (its queue is full) is lost; the line stands."""
        try:
            driver.execute(_NOTIFY, {"channel": _CHANNEL, "texts": list(_pack(self._home, words))})
        except psycopg.Error as why:
            self._count(WakeEvent.LOST, len(words))
            if driver.closed:
                raise
            _log.warning("wake_line.refused", error=type(why).__name__)
        else:
            self._count(WakeEvent.SENT, len(words))

    def _take(self) -> list[str]:
        with self._lock:
            words, self._pending = list(self._pending), {}
        return words

    def _forget_pending(self) -> None:
        """What waited while the line was down: whoever it was for looks by himself."""
        lost = len(self._take())
        self._count(WakeEvent.LOST, lost)
        self._idle.set()

    def _read(self, driver: _Driver) -> None:
        for told in driver.notifies(timeout=0):
            home, _, words = told.payload.partition("\n")
            if home != self._home and self._hear is not None:
                self._count(WakeEvent.HEARD, words.count("\n") + 1)
                self._hear(words.split("\n"))

    def _show(self, *, is_up: bool) -> None:
        (self._is_up.set if is_up else self._is_up.clear)()
        self._is_down = not is_up
        if self._metrics is not None:
            self._metrics.show_wake_line(is_up=is_up)

    def _count(self, event: WakeEvent, times: int) -> None:
        if self._metrics is not None and times:
            self._metrics.count_wakes(event, times)


def _say_away(state: RetryCallState) -> None:
    """Once for each time that it cannot be had."""
    why = state.outcome.exception() if state.outcome is not None else None
    if state.attempt_number == 1 and why is not None:
        _log.warning("wake_line.away", error=type(why).__name__, cause=cause_of(why))


def _do_nothing() -> None:
    """Until the line was opened."""


def _listening(engine: Engine) -> _Driver:
    """A connection beside the pool, each statement a transaction of its own, that hears. Its commits wait for no disk:
    nothing is lost with them."""
    lent = engine.raw_connection()
    lent.detach()
    driver: _Driver = lent.dbapi_connection  # type: ignore[assignment]
    try:
        driver.autocommit = True
        driver.execute(_SET_UP)
        driver.execute(f"LISTEN {_CHANNEL}")
    except BaseException:
        driver.close()
        raise
    return driver


_NOTIFY: Final = "SELECT pg_notify(%(channel)s, text) FROM unnest(%(texts)s::text[]) AS texts (text)"
_SET_UP: Final = (
    "SELECT set_config('synchronous_commit', 'off', false),"
    " set_config('application_name', current_setting('application_name') || ' wakes', false)"
)


def _pack(home: str, words: Sequence[str]) -> Iterator[str]:
    """As few texts as hold all words, a line each below the home."""
    lines, size = [home], len(home)
    for word in words:
        length = len(word.encode())
        if size + length >= _LARGEST:
            yield "\n".join(lines)
            lines, size = [home], len(home)
        lines.append(word)
        size += length + 1
    yield "\n".join(lines)


def is_carrying(store: Store, seconds: float = 5.0) -> bool:
    """Whether a word comes through from one connection to another, waiting for it so long; `truc doctor` asks.

    A pooler between us and the server may keep it. Raises StoreError where the database is away.
    """
    with translating():
        return _comes_through(store.engine, seconds)


def _comes_through(engine: Engine, seconds: float) -> bool:
    word = token_hex(8)
    driver = _listening(engine)
    try:
        with engine.connect() as telling, telling.begin():
            telling.exec_driver_sql(_NOTIFY, {"channel": _CHANNEL, "texts": [word]})
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0:
            if any(told.payload == word for told in driver.notifies(timeout=left, stop_after=1)):
                return True
        return False
    finally:
        driver.close()
