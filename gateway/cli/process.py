"""One process of a running node: what starts in which order, what it tells, how it ends.

    settings → data folder → lock → node → dead spool files → event node.started → loops → ready
    SIGTERM or SIGINT → no new work → what runs is finished → transport, store and lock are let go → exit 0
                        └─ after TRUC_END_WITHIN seconds, whoever does not answer → exit 9, as after a crash

`truc serve` is all roles in one process; each role apart is the same code with less started.  The parts share the data
folder and wake each other through it; which of them run, how many of each, and in what order they start is free.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from types import FrameType
from typing import Final, Protocol, runtime_checkable

from gateway.account import check_next
from gateway.api import run_api, start_scrape
from gateway.cli.exits import ExitCode
from gateway.cli.limits import check_time_limit
from gateway.cli.lock import NodeLock, take_lock
from gateway.cli.memory import settle_memory
from gateway.cli.opening import check_not_lost, has_node, try_folder
from gateway.cli.output import Voice
from gateway.cli.presence import show_presence
from gateway.compose import build_node, inspection_limits, trust_folder
from gateway.configuration import init_rows
from gateway.model.events import Event, EventKind
from gateway.node import Node
from gateway.settings import Settings
from gateway.store import events
from gateway.store.blob_probe import check_semantics
from gateway.store.remembered import check_remembered
from gateway.workers import (
    check_blobs,
    give_back_jobs,
    start_counting,
    start_delivery,
    start_figures,
    start_inspection,
    start_intake,
    start_noting,
    start_periodic,
    start_recovering,
    start_relay,
    start_remembering,
    start_reporting,
    start_round,
    start_signatures,
    start_upkeep,
)
from monitoring import log

__all__ = ["Role", "run_process"]

_log = log.get("process")
_TELL = (signal.SIGTERM, signal.SIGINT)
_STALE_SPOOL = 3600.0
_LAST_WORD = 1.0
"""Seconds that a process which is cut short has to say so."""


class Role(StrEnum):
    """What a process does."""

    SERVE = "serve"  #: everything
    API = "api"
    RELAY = "relay"
    DELIVER = "deliver"
    PERIODIC = "periodic"
    INTAKE = "intake"
    INSPECT = "inspect"


class _Closable(Protocol):
    def close(self) -> None: ...


@runtime_checkable
class _Stoppable(Protocol):
    """Something that can be told to end before anybody waits for it: so that one slow job does not add to another's."""

    def stop(self) -> None: ...


_Starter = Callable[[Node, Settings], Sequence[_Closable]]
_LOOPS: dict[Role, _Starter] = {
    Role.DELIVER: lambda node, _settings: start_delivery(node),
    Role.RELAY: lambda node, _settings: [start_relay(node)],
    Role.PERIODIC: lambda node, settings: [
        start_periodic(node, settings.sweep),
        start_upkeep(node),
        start_recovering(node, settings.sweep),
        start_remembering(node, settings.data),
        start_reporting(node, settings.sweep),
        start_figures(node),
        start_counting(node, settings.sweep),
        start_round(node, "account", check_next, settings.sweep),
        start_round(node, "blob-round", check_blobs, settings.sweep),
    ],
    Role.API: lambda node, settings: [start_noting(node, settings.sweep)],
    Role.INTAKE: lambda node, settings: start_intake(node, settings.look),
    Role.INSPECT: lambda node, settings: [
        start_signatures(node, trust_folder(settings), settings.sweep),
        *(
            [start_inspection(node, inspection_limits(settings), trust_folder(settings), settings.sweep)]
            if settings.inspect
            else []
        ),
    ],
}
"""What starts per role, in the order in which a whole node starts: whoever takes work before whoever gives it."""


def _parts_of(role: Role, settings: Settings) -> frozenset[Role]:
    """What a process of this role does. Without a broker no ticket leaves a process: who delivers announces too."""
    if role is Role.SERVE:
        return frozenset(_LOOPS)
    if role is Role.DELIVER and not settings.broker:
        return frozenset({Role.DELIVER, Role.RELAY})
    return frozenset({role})


@dataclass(slots=True)
class _Stop:
    """The wish to end, as signals tell it. A second signal ends at once, as the system does it.

    The system may give a signal to any thread, and Python's handler runs in the main one alone, when that wakes up: it
    waits for this very event.  So what the system writes into a pipe, whatever thread it interrupts, wakes another
    thread, which sets it.  (The event loop of an API does the same with a pipe of its own.)
    """

    event: threading.Event = field(default_factory=threading.Event)
    was_said: bool = False

    def watch(self) -> None:
        hears, says = os.pipe()
        os.set_blocking(says, False)
        signal.set_wakeup_fd(says, warn_on_full_buffer=False)
        threading.Thread(target=self._pass_on, args=(hears,), name="told-to-end", daemon=True).start()
        for number in _TELL:
            signal.signal(number, self._on_signal)

    def _on_signal(self, _number: int, _frame: FrameType | None) -> None:
        self.was_said = True
        self.end_at_once()

    def _pass_on(self, hears: int) -> None:
        while os.read(hears, 1)[0] not in _TELL:
            pass
        self.event.set()

    @staticmethod
    def end_at_once() -> None:
        """The next signal is the second one, whoever got the first."""
        for number in _TELL:
            signal.signal(number, signal.SIG_DFL)


def run_process(voice: Voice, settings: Settings, role: Role, *, ready_fd: int | None = None) -> None:
    """Run one process until SIGTERM or SIGINT; returns when everything is closed.

    Raises what opening the folder, the store and the keys raises, before anything was started.  Killed at any moment
    it may be started again: leases end, the spool is cleared, and what was accepted goes on.
    """
    log.configure(settings.log_format, settings.log_level)
    stop = _Stop()
    stop.watch()
    with ExitStack() as closing:
        closing.callback(_end_in_time(stop.event, settings.end_within, role))
        try_folder(settings.data)
        lock = take_lock(settings.data, settings.node)
        closing.callback(lock.close)
        check_not_lost(settings)
        is_new = not has_node(settings)
        node = build_node(settings, role=role)
        closing.callback(node.store.close)
        closing.callback(node.transport.close)
        closing.callback(lambda: node.callers.refusals.flush(everything=True))
        closing.callback(node.callers.sightings.flush)
        closing.callback(give_back_jobs, node)
        check_remembered(node.store, settings.data)
        check_time_limit(node, settings)
        if role is Role.SERVE and is_new:
            voice.hint("process.initialized", folder=str(settings.data), count=init_rows(node.store))
        if settings.blobs:
            check_semantics(node.store.blobs)
        _clear_spool(node, lock)
        closing.callback(show_presence(settings.data, role))
        _note_start(node, role)
        lock.share()
        loops: list[_Closable] = []
        closing.callback(_close_all, loops)
        parts = _parts_of(role, settings)
        for part, start in _LOOPS.items():
            if part in parts:
                loops.extend(start(node, settings))
        if role is Role.RELAY and not settings.broker:
            voice.hint("process.relay_idle")
        settle_memory()
        _share_interpreter(role)
        _serve_until(stop, node, settings, role, _Ready(voice=voice, role=role, descriptor=ready_fd))
        stop.event.set()
        stop.end_at_once()
        _log.info("process.stopping", process=str(role), pid=os.getpid())


def _end_in_time(told: threading.Event, seconds: float, role: Role) -> Callable[[], None]:
    """Once it is `told` to end, this process ends within so many seconds, whatever it waits for; call what this gives
    when it has ended by itself.  What was not finished by then is found by the next process, as after a crash."""
    has_ended = threading.Event()

    def say() -> None:
        _log.warning("process.cut_short", process=str(role), pid=os.getpid(), ms=int(seconds * 1000))
        sys.stderr.flush()

    def watch() -> None:
        told.wait()
        if not has_ended.wait(seconds):
            last_word = threading.Thread(target=say, name="last-word", daemon=True)
            last_word.start()
            last_word.join(_LAST_WORD)  # whoever reads the log may be the one who does not answer
            os._exit(ExitCode.UNFINISHED)

    threading.Thread(target=watch, name="end-in-time", daemon=True).start()
    return has_ended.set


def _close_all(loops: Sequence[_Closable]) -> None:
    """Tell all to end, then wait for one after the other, whoever began last first."""
    with ExitStack() as closing:
        for loop in loops:
            closing.callback(loop.close)
        for loop in loops:
            if isinstance(loop, _Stoppable):
                loop.stop()


_TURN: Final = 0.0005
"""Seconds that the event loop may keep the interpreter from a group that has its answer from the database."""


def _share_interpreter(role: Role) -> None:
    """Where a group waits for a server several times, it would wait each time once more for the interpreter: for the
    5 ms that Python lets whoever works go on (a tenth of the documents to four recipients, decision 46).

    Less costs more than it gives: with 50 µs the loop is interrupted at every request.
    """
    if role is Role.API:
        sys.setswitchinterval(_TURN)


def _serve_until(stop: _Stop, node: Node, settings: Settings, role: Role, ready: _Ready) -> None:
    if role in (Role.SERVE, Role.API):
        _serve_api(stop, node, settings, ready)
        return
    with ExitStack() as closing:
        port = 0
        if settings.metrics_port:
            scrape = start_scrape(node, settings)
            closing.callback(scrape.close)
            port = scrape.port
        ready.tell(settings.host, port)
        stop.event.wait()


def _serve_api(stop: _Stop, node: Node, settings: Settings, ready: _Ready) -> None:
    """The server watches signals itself, but only from the moment that it listens: one that came before is not lost."""

    def on_listening(host: str, port: int) -> None:
        if stop.was_said:
            signal.raise_signal(signal.SIGTERM)  # said again, to one who listens
        else:
            ready.tell(host, port)

    run_api(node, settings, on_listening=on_listening, on_told=stop.event.set)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Ready:
    """Tells once that the process works: to a supervisor by a descriptor or a line, to a person by a sentence."""

    voice: Voice
    role: Role
    descriptor: int | None

    def tell(self, host: str, port: int) -> None:
        """`host`, `port`: where the API, or the metrics, are listening; 0 where nothing does."""
        _log.info("process.ready", process=str(self.role), pid=os.getpid(), port=port)
        line = f"READY role={self.role} port={port} pid={os.getpid()}"
        if self.descriptor is not None:
            try:
                os.write(self.descriptor, line.encode() + b"\n")
                os.close(self.descriptor)
            except OSError:  # whoever wanted to know has gone: no reason not to work
                _log.warning("process.unheard", process=str(self.role), pid=os.getpid())
        if not self.voice.out.is_terminal:
            self.voice.write(line)
            self.voice.out.file.flush()
        elif self.role in (Role.SERVE, Role.API):
            self.voice.tell("process.listening", address=f"http://{host}:{port}")
        else:
            self.voice.tell("process.working", role=self.role)


def _clear_spool(node: Node, lock: NodeLock) -> None:
    """Delete bodies that nobody will ever answer for.

    Alone, all of them are; else a body stays while its writer lives, and an hour longer than it was last written to,
    since a writer in another container has a number that means nothing here.
    """
    if lock.is_alone:
        gone = node.store.blobs.clear_spool()
    else:
        gone = node.store.blobs.clear_spool(older_than=_STALE_SPOOL, is_alive=_is_alive)
    if gone:
        _log.info("process.spool_cleared", count=gone)


def _is_alive(pid: int) -> bool:
    """Our own number is none of a living writer's: we have written nothing yet. In a container it is always 1, and so
    was that of whoever died before us."""
    return pid != os.getpid() and Path(f"/proc/{pid}").exists()


def _note_start(node: Node, role: Role) -> None:
    with node.store.write() as connection:
        now = node.store.now(connection)
        started = Event(kind=EventKind.NODE_STARTED, at=node.now(), actor=node.worker, reason=f"role:{role}")
        events.append(connection, [started], now)
