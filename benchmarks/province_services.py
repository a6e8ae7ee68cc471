"""What a province runs beside the product: PostgreSQL and RabbitMQ of the bench's own, and whose time is whose.

One of each for the whole bench; each run has a database and a virtual host of its own.  They are those of the tests
(`tests.support`), with a server's usual memory.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final, LiteralString

import psycopg

from benchmarks.measure import Server, cpu_seconds, family, serve
from tests.support.postgres import Cluster, start_cluster
from tests.support.rabbitmq import Broker, free_ports

__all__ = ["Process", "ProvinceServer", "Services", "run_services", "serve_province"]

_POSTGRES: Final = (
    "shared_buffers=512MB", "max_wal_size=4GB", "max_connections=200",
    "shared_preload_libraries=pg_stat_statements", "pg_stat_statements.track=none",  # a database may ask for more
)  # fmt: skip
_READY: Final = 120.0
"""Seconds for a process to start: of five at once on a machine that others use too."""
POSTGRESQL: Final = "PostgreSQL"
RABBITMQ: Final = "RabbitMQ"


@dataclass(frozen=True, slots=True, kw_only=True)
class Services:
    """Both servers, running."""

    cluster: Cluster
    broker: Broker

    def new_place(self) -> dict[str, str]:
        """An empty database and virtual host, as a node's settings name them."""
        return {
            "TRUC_DATABASE": self.cluster.create(),
            "TRUC_BROKER": self.broker.url(self.broker.new_vhost()),
            **{f"TRUC_BROKER_{name.upper()}": path for name, path in self.broker.files.items()},
        }

    @property
    def pids(self) -> dict[str, int]:
        """By name."""
        return {POSTGRESQL: self.cluster.pid, RABBITMQ: self.broker.pid}

    @contextmanager
    def without_autovacuum(self) -> Iterator[None]:
        """For runs of a few seconds: PostgreSQL looks once a minute for what to vacuum, whoever left it; that fell into
        one run of three, at 0.4 ms for each of its documents."""
        self._set("SET autovacuum = off")
        try:
            yield
        finally:
            self._set("RESET autovacuum")

    def _set(self, what: LiteralString) -> None:
        with psycopg.connect(self.cluster.admin_url, autocommit=True) as connection:
            connection.execute("ALTER SYSTEM " + what)
            connection.execute("SELECT pg_reload_conf()")


@contextmanager
def run_services(under: Path) -> Iterator[Services]:
    """Both servers with their data in `under`; ended at the end, their data left to whoever removes `under`."""
    with ExitStack() as closing:
        rows = under / "postgresql"
        rows.mkdir()
        cluster = start_cluster(rows)
        closing.callback(cluster.stop)
        cluster.stop()
        cluster.start(*_POSTGRES)
        folder = under / "rabbitmq"
        folder.mkdir()
        # Statistics once a second, as the tests have them, are a tenth of what the broker uses.
        broker = closing.enter_context(Broker.start(folder, collect_statistics_interval="60000"))
        yield Services(cluster=cluster, broker=broker)


@dataclass(frozen=True, slots=True, kw_only=True)
class Process:
    """One process of a contestant; the first one of several answers requests."""

    name: str
    command: tuple[str, ...]


class ProvinceServer(Server):
    """Several processes and the two servers as one thing that is loaded. Port and memory are the first process's."""

    def __init__(self, api: Server, pids: Mapping[str, int]) -> None:
        super().__init__(api.process, api.port, api.folder)
        self._pids = pids
        self.readings: list[dict[str, float]] = []
        """Processor time by name, in seconds, each time that somebody asked."""

    def cpu_seconds(self) -> float:
        """Processor time of all of them so far."""
        now = {name: cpu_seconds(pid) for name, pid in self._pids.items()}
        now["examiner"] = sum(map(_own_seconds, family(self.pid)[1:]))  # they have no children of their own
        first = next(iter(now))
        now[first] -= now["examiner"]
        self.readings.append(now)
        return sum(now.values())

    def spent(self) -> dict[str, float]:
        """Seconds by name between the last two readings."""
        before, after = self.readings[-2:]
        return {name: after[name] - before.get(name, 0.0) for name in after}


def _own_seconds(pid: int) -> float:
    try:
        return cpu_seconds(pid)
    except ProcessLookupError:
        return 0.0


@contextmanager
def serve_province(
    processes: Sequence[Process], folder: Path, services: Services, environment: Mapping[str, str]
) -> Iterator[ProvinceServer]:
    """Run them all, in the order given; ended in the other order."""
    with ExitStack() as closing:
        running: dict[str, Server] = {}
        for process, port in zip(processes, free_ports(len(processes)), strict=True):
            own = dict(environment) | {"TRUC_METRICS_PORT": str(port)}
            place = folder.with_name(f"{folder.name}-{process.name}")
            running[process.name] = closing.enter_context(
                serve(process.command, place, environment=own, ready_within=_READY)
            )
        api = running[processes[0].name]
        pids = {name: server.pid for name, server in running.items()} | services.pids
        yield ProvinceServer(api, pids)
