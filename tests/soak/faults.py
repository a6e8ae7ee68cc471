"""Doing what a schedule says: each fault has a beginning and an end, and the end heals everything that it did."""

from __future__ import annotations

import signal
import threading
import time
from collections import defaultdict
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import psycopg

from tests.soak.lateness import Window
from tests.soak.parts import Part
from tests.soak.province import BLOBS_MIB, POSTGRES_MIB, Province
from tests.soak.recipients import LATE, MISDEEDS
from tests.soak.schedule import Fault
from tests.support.cables import CableFault
from tests.support.families import family, signal_all
from tests.support.rabbitmq import Broker

__all__ = ["Blows"]

_AGAIN: float = 90.0
_LONGEST_START: float = 300.0
_HOUR = 3600
_SLACK = 64 << 10
_NETWORK = frozenset(map(str, CableFault))


@dataclass(slots=True)
class Blows:
    """The faults of a run on a province. `strike` returns when the fault has ended and is healed."""

    province: Province
    turns: dict[str, int] = field(default_factory=dict)
    hits: list[Fault] = field(default_factory=list)
    windows: list[Window] = field(default_factory=list)  #: when each stood, from its beginning until it was healed
    lanes: defaultdict[str, threading.Lock] = field(default_factory=lambda: defaultdict(threading.Lock))

    def strike(self, fault: Fault) -> None:
        """One fault from beginning to end; written down once it is over. Raises what could not be done or healed.

        It waits where what it hits is still being healed: a slow machine starts servers late.
        """
        with ExitStack() as lanes:
            for lane in sorted(fault.lanes):
                lanes.enter_context(self.lanes[lane])
            begun = time.time()
            with ExitStack() as healing:
                self._begin(fault, healing)
                time.sleep(fault.seconds)
            self.windows.append((begun, time.time()))
            time.sleep(fault.rest)
        self.hits.append(fault)

    def _begin(self, fault: Fault, healing: ExitStack) -> None:
        if fault.kind in _NETWORK:
            self._network(fault, healing)
        elif fault.kind in MISDEEDS:
            self._misdeed(fault, healing)
        elif fault.kind == "full":
            self._fill(fault.target, healing)
        elif fault.kind.startswith("clock"):
            clock = self.province.ground.clocks[fault.target]
            healing.callback(clock.set, 0)
            clock.set(_HOUR if fault.kind == "clock_forward" else -_HOUR)
        elif fault.target == "postgres":
            self._postgres(fault.kind, healing)
        elif fault.target == "broker":
            self._broker(fault.kind, healing)
        else:
            self._part(fault.kind, self._next(fault.target), healing)

    def _turn(self, what: str) -> int:
        """How often before: things of a kind are hit by turns."""
        self.turns[what] = self.turns.get(what, -1) + 1
        return self.turns[what]

    def _next(self, role: str) -> Part:
        parts = [part for part in self.province.parts.values() if part.role == role]
        return parts[self._turn(role) % len(parts)]

    # --- processes --------------------------------------------------------------------------------------------

    @staticmethod
    def _part(kind: str, part: Part, healing: ExitStack) -> None:
        if kind == "freeze":
            part.signal(signal.SIGSTOP)
            healing.callback(part.signal, signal.SIGCONT)
            return
        healing.callback(part.bring_up)
        part.take_down(signal.SIGKILL if kind == "kill" else signal.SIGTERM)

    # --- the network ------------------------------------------------------------------------------------------

    def _network(self, fault: Fault, healing: ExitStack) -> None:
        start, _, end = fault.target.partition(">")
        names = [f"{start}>{name}" for name in self.province.servers] if end == "rest" else [fault.target]
        for name in names:
            healing.callback(self.province.cables[name].set, CableFault.NONE)
            self.province.cables[name].set(CableFault(fault.kind))

    def _misdeed(self, fault: Fault, healing: ExitStack) -> None:
        """Each server of an agency does it to its next packets, until the fault ends."""
        for server in self.province.servers.values():
            wrong = MISDEEDS[fault.kind]
            times = 1 if wrong.act == "die" else -1
            if wrong.act == "die":
                healing.callback(self._revive, server)
            else:
                healing.callback(server.clear)
            server.set_fault(type(wrong)(act=wrong.act, lands=wrong.lands, late=wrong.late, seconds=LATE, times=times))

    @staticmethod
    def _revive(server: Any) -> None:
        server.kill()
        server.start()

    # --- disks ------------------------------------------------------------------------------------------------

    def _fill(self, name: str, healing: ExitStack) -> None:
        """The disk shrinks to what is used: the next bytes find no room."""
        disk, whole = self.province.ground.disks[name], BLOBS_MIB if name == "blobs" else POSTGRES_MIB
        reserve = (1 << 20) if name == "blobs" and self._turn("full") % 2 else 0  # every second time in mid-write
        if name == "postgres":
            healing.callback(partial(self._raise, self._is_up_again))
        healing.callback(disk.remount, f"size={whole}m")
        disk.shrink(reserve + _SLACK)

    # --- PostgreSQL -------------------------------------------------------------------------------------------

    def _postgres(self, kind: str, healing: ExitStack) -> None:
        cluster = self.province.ground.cluster
        match kind:
            case "freeze":
                everybody = family(cluster.pid)
                healing.callback(signal_all, everybody, signal.SIGCONT)
                signal_all(everybody, signal.SIGSTOP)
            case "read_only":
                healing.callback(self._tell_server, "ALTER SYSTEM RESET default_transaction_read_only")
                self._tell_server("ALTER SYSTEM SET default_transaction_read_only = on")
            case "no_connections":
                self._occupy(healing)
            case "kill":
                healing.callback(partial(self._raise, self._is_up_again))
                cluster.stop(signal.SIGKILL)
            case _:
                healing.callback(partial(self._raise, self._is_up_again))
                cluster.stop(signal.SIGINT)

    def _is_up_again(self) -> bool:
        """Start the server where it does not run; whether it answers."""
        cluster = self.province.ground.cluster
        try:
            cluster.stop(signal.SIGKILL) if not _answers(cluster.admin_url) else None
            if not _answers(cluster.admin_url):
                cluster.start()
        except (AssertionError, OSError):
            return False
        return True

    def _tell_server(self, statement: str) -> None:
        options = "-c default_transaction_read_only=off"
        with psycopg.connect(self.province.ground.cluster.admin_url, autocommit=True, options=options) as connection:
            connection.execute(statement.encode())
            connection.execute("SELECT pg_reload_conf()")

    def _occupy(self, healing: ExitStack) -> None:
        """Take every connection that the server has left, so that who loses one finds none."""
        while True:
            try:
                taken = psycopg.connect(self.province.ground.cluster.admin_url, connect_timeout=5)
            except psycopg.OperationalError:
                return
            healing.callback(taken.close)

    # --- the broker -------------------------------------------------------------------------------------------

    def _broker(self, kind: str, healing: ExitStack) -> None:
        """One node by turns; what is wiped is wiped on all."""
        brokers = self.province.ground.brokers
        broker = brokers[self._turn("broker") % len(brokers)]
        match kind:
            case "freeze":
                healing.callback(broker.thaw)
                broker.freeze()
            case "alarm":
                healing.callback(broker.ctl, "set_vm_memory_high_watermark", "absolute", "2GiB")
                broker.ctl("set_vm_memory_high_watermark", "absolute", "1MiB")
            case "wipe":
                healing.callback(_start_all, brokers)
                for one in brokers:
                    one.kill()
                    one.wipe()
            case _:
                healing.callback(_start_all, [broker])
                broker.kill() if kind == "kill" else broker.stop()

    # --- healing ----------------------------------------------------------------------------------------------

    @staticmethod
    def _raise(is_up: Callable[[], bool]) -> None:
        deadline = time.monotonic() + _AGAIN
        while not is_up():
            assert time.monotonic() < deadline, "the database server does not come again"
            time.sleep(0.5)


def _start_all(brokers: list[Broker]) -> None:
    """Start them together; one that ends while it starts is started again, as its service manager would."""
    deadline = time.monotonic() + _LONGEST_START
    for one in brokers:
        one.launch()
    for one in brokers:
        while True:
            try:
                one.wait()
                break
            except AssertionError:
                if time.monotonic() > deadline:
                    raise
                one.kill_rest()
                one.launch()


def _answers(url: str) -> bool:
    try:
        psycopg.connect(url, connect_timeout=5).close()
    except psycopg.OperationalError:
        return False
    return True
