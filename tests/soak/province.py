"""A province of the soak's own: PostgreSQL, RabbitMQ, two APIs, two deliverers, relay, periodic, inspect, recipients.

    with Province.lay(folder, program=…) as province:
        province.start()                     everything runs and answers
        province.parts["api-1"], province.cables["relay>broker"], province.servers, province.cluster, province.brokers

Between the processes and their servers lie cables, one for each kind of process, so that one kind alone can be cut off.
Blobs and PostgreSQL lie on small disks of their own; clocks of both sides are given by libfaketime, from a file each.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Any, Final, Self

import httpx2
import psycopg

from gateway.configuration import apply, init_rows, parse
from gateway.identity import rotate_token
from gateway.keys import make_keys
from gateway.prove.marks import SYSTEM, configuration
from gateway.store import Store, open_store
from tests.soak.parts import Part, Watch
from tests.soak.recipients import FOLDER, REST, SENDING_LIMIT
from tests.soak.schedule import PARTS
from tests.soak.standstill import MachineClock
from tests.support.cables import Cable
from tests.support.clients import FAST
from tests.support.patience import until
from tests.support.postgres import Cluster, start_cluster
from tests.support.processes import SmallDisk, need_program
from tests.support.rabbitmq import Broker, cluster, free_ports
from tests.support.sinks import SinkProcess

__all__ = [
    "BLOBS_MIB", "POSTGRES_MIB", "Clock", "Ground", "Province", "own_ground", "rows_of",
    "soak_settings",
]  # fmt: skip

NODE: Final = "nut-ben"
BLOBS_MIB: Final = 4_000
POSTGRES_MIB: Final = 3_000
_READY: Final = 240.0
_INSTANCES: Final = dict.fromkeys(PARTS, 1) | {"api": 2, "deliver": 2}
_UNHURRIED: Final = ("wal_writer_delay=10s", "wal_writer_flush_after=1GB")
"""The server brings to its disk what somebody's commit waits for, and nothing else for seconds: when it is killed, what
was answered without waiting is lost, and not just what came in the last moment."""
_FAKETIME: Final = Path("/usr/lib") / f"{os.uname().machine}-linux-gnu" / "faketime" / "libfaketimeMT.so.1"


def soak_settings() -> dict[str, str]:
    """Waits of seconds where production has minutes, as the fault tests have them, but for longer leases: the machine
    is shared by everything."""
    return FAST | {
        "node": NODE, "today": "", "lease": "4", "announce_again": "3", "fetched_wait": "8", "orphan_wait": "4",
        "database_wait": "10", "inspect_idle": "2",
    }  # fmt: skip


@dataclass(slots=True)
class Clock:
    """What one side takes for the time: the machine's, moved by so many seconds from now on."""

    path: Path

    @property
    def environment(self) -> dict[str, str]:
        """Of a process that goes by this clock. Waits are not moved, as on a real machine whose clock is set."""
        return {
            "LD_PRELOAD": str(_FAKETIME), "FAKETIME_TIMESTAMP_FILE": str(self.path), "FAKETIME_CACHE_DURATION": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1", "DONT_FAKE_MONOTONIC": "1",
        }  # fmt: skip

    def set(self, seconds: int) -> None:
        """Within a second everybody goes by it."""
        part = self.path.with_suffix(".part")
        part.write_text(f"{seconds:+d}\n", "utf-8")
        part.chmod(0o644)
        part.replace(self.path)


@dataclass(frozen=True, slots=True, kw_only=True)
class Ground:
    """The servers under a province. `vhost`: the broker's virtual host; `disks` and `clocks` may be missing."""

    cluster: Cluster
    database: str
    brokers: list[Broker]
    vhost: str = "/"
    disks: dict[str, SmallDisk] = field(default_factory=dict)
    clocks: dict[str, Clock] = field(default_factory=dict)


def own_ground(closing: ExitStack, folder: Path, *, nodes: int = 1, clocks: bool = True) -> Ground:
    """Servers of this province alone, on small disks and, where wished, with clocks of their own."""
    disks = {
        "blobs": closing.enter_context(SmallDisk(folder / "data" / "blobs", BLOBS_MIB)),
        "postgres": closing.enter_context(SmallDisk(folder / "postgres", POSTGRES_MIB)),
    }
    hands = {side: Clock(folder / f"clock-{side}") for side in ("postgres", "processes")} if clocks else {}
    for clock in hands.values():
        _need_faketime()
        clock.set(0)
    folder.chmod(0o755)
    environment = hands["postgres"].environment if clocks else None
    postgres = start_cluster(folder / "postgres", environment, _UNHURRIED)
    closing.callback(postgres.stop)
    brokers = closing.enter_context(_brokers(folder / "mq", nodes))
    return Ground(cluster=postgres, database=postgres.create(), brokers=brokers, disks=disks, clocks=hands)


@dataclass(slots=True)
class Province:
    """Everything that runs on its ground. At the end of the block it is ended, in whatever state it is."""

    folder: Path
    program: Path
    ground: Ground
    closing: ExitStack
    clock: MachineClock
    """Of the machine, not of the province: what it stands for is nobody's slowness."""
    servers: dict[str, SinkProcess]
    cables: dict[str, Cable] = field(default_factory=dict)
    ports: list[int] = field(default_factory=lambda: free_ports(_INSTANCES["api"]))
    settle_time: int = 10
    """Seconds in which a server's late landing must be over: longer than any that a fault brings about."""
    token: str = ""
    parts: dict[str, Part] = field(default_factory=dict)
    watch: Watch | None = None

    @classmethod
    def lay(
        cls,
        folder: Path,
        *,
        program: Path,
        ground: Callable[[ExitStack, Path], Ground] = own_ground,
        settle_time: int = 10,
    ) -> Self:
        """Servers that answer, rows and keys, cables; no process of ours yet."""
        with ExitStack() as undo:
            closing = undo.enter_context(ExitStack())
            servers = {name: SinkProcess(folder / name, kind) for name, kind in REST.items()}
            clock = closing.enter_context(MachineClock(folder))
            laid = cls(folder, program, ground(closing, folder), closing, clock, servers, settle_time=settle_time)
            for server in servers.values():
                closing.enter_context(server)
            laid._lay_cables(closing)
            laid._fill(folder / "data")
            undo.pop_all()
        return laid

    def _lay_cables(self, closing: ExitStack) -> None:
        wanted = {f"{part}>postgres": self.ground.cluster.port for part in PARTS}
        wanted |= {f"{part}>broker": self.ground.brokers[0].ports["amqp"] for part in PARTS}
        wanted |= {"client>api": self.ports[0]}
        wanted |= {f"deliver>{name}": server.ports[0] for name, server in self.servers.items()}
        for way, port in wanted.items():
            self.cables[way] = closing.enter_context(Cable(("127.0.0.1", port)))

    def _fill(self, data: Path) -> None:
        """Rows and keys of the node, and the token of its test agencies."""
        make_keys(data / "keys", NODE)
        store = self.open()
        try:
            init_rows(store)
            apply(store, parse(configuration() + self._pushed()), actor="soak", on=date.today())  # noqa: DTZ011
            self.token = rotate_token(store, SYSTEM, actor="soak").token
        finally:
            store.close()

    def _pushed(self) -> str:
        """Configuration of the recipients that are pushed to."""
        (self.folder / FOLDER).mkdir()
        settings = f'{{ root = "{self.folder / FOLDER}", settle = 0, sending_limit = 2, settle_time = 0 }}'
        parts = [
            f'[[system]]\nname = "{FOLDER}"\nspeaks_for = ["{FOLDER}"]',
            f'[[channel]]\nid = "{FOLDER}"\nkind = "folder"\nserves = ["{FOLDER}"]\nsystem = "{FOLDER}"\n'
            f"settings = {settings}",
        ]
        for name, server in self.servers.items():
            values = server.rest_settings() | {"sending_limit": SENDING_LIMIT, "settle_time": self.settle_time}
            values["url"] = f"http://127.0.0.1:{self.cables[f'deliver>{name}'].port}/den"
            words = ", ".join(f"{key} = {_toml(value)}" for key, value in values.items())
            parts.append(f'[[channel]]\nid = "{name}"\nkind = "rest"\nserves = ["{name}"]\nsettings = {{ {words} }}')
        for number, name in enumerate((FOLDER, *self.servers), 20):
            code = f'{{ code = "H99.98.{number}", assumed = true }}'
            parts.append(
                f'[[agency]]\nid = "{name}"\nname = "Cơ quan kiểm chứng {number}"\nkind = "other"\ncodes = [{code}]'
            )
        return "\n" + "\n\n".join(parts)

    def open(self) -> Store:
        """The store, beside whatever runs and past all cables. Close it."""
        return open_store(self.folder / "data", node=NODE, database=self.ground.database, reserve=1, wait_seconds=30)

    # --- our processes ----------------------------------------------------------------------------------------

    def start(self, instances: Mapping[str, int] = _INSTANCES, *, alone: bool = False) -> None:
        """Start every process, wait until the APIs answer, and watch over them. Raises AssertionError.

        `instances`: how many processes of each kind.  `alone`: one process does everything, in the place of an API.
        """
        if alone:
            instances = dict.fromkeys(PARTS, 0) | {"api": 1}
        logs = self.folder / "logs"
        logs.mkdir()
        more = self.ground.clocks["processes"].environment if self.ground.clocks else {}
        for role in PARTS:
            for number in range(1, instances[role] + 1):
                name = f"{role}-{number}"
                port = self.ports[number - 1] if role == "api" else 0
                settings = self.settings(role) | {"port": str(port)}
                command = "serve" if alone else ""
                self.parts[name] = Part(name, role, settings, logs, self.program, self.clock, more, command)
                self.parts[name].start()
        self.watch = Watch(self.parts)
        self.watch.start()
        self.await_ready()

    def settings(self, role: str) -> dict[str, str]:
        """Of a process of that kind, without their prefix: it reaches the servers by its kind's cables."""

        def by_cable(url: str, server: str) -> str:
            return url.replace(f":{self._port(server)}/", f":{self.cables[f'{role}>{server}'].port}/")

        secrets = {f"broker_{name}": path for name, path in self.ground.brokers[0].files.items()}
        addresses = [by_cable(broker.url(self.ground.vhost), "broker") for broker in self.ground.brokers]
        return soak_settings() | {
            "data": str(self.folder / "data"), "database": by_cable(self.ground.database, "postgres"),
            "broker": ",".join(addresses), **secrets,
        }  # fmt: skip

    def _port(self, server: str) -> int:
        return self.ground.cluster.port if server == "postgres" else self.ground.brokers[0].ports["amqp"]

    @property
    def urls(self) -> tuple[str, ...]:
        """Of the APIs: the first by its cable, another one at once."""
        by_cable = f"http://127.0.0.1:{self.cables['client>api'].port}"
        return (by_cable, f"http://127.0.0.1:{self.ports[1]}") if "api-2" in self.parts else (by_cable,)

    def await_ready(self) -> None:
        """Until all APIs say that they are ready. Raises AssertionError with the ends of the logs."""
        for url in self.urls:
            until(lambda url=url: _is_ready(url), self.tails, timeout=_READY, every=0.2)  # type: ignore[misc]

    def tails(self) -> str:
        """The ends of all logs."""
        return "\n".join(f"--- {name}\n{part.tail()}" for name, part in self.parts.items())

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self.watch is not None:
            self.watch.stop()
        for part in self.parts.values():
            part.end()
        self.closing.close()


_ROWS_OF: Final = {
    "events": "SELECT row_to_json(e) FROM events AS e WHERE packet_id = ANY(%s) ORDER BY written",
    "deliveries": "SELECT row_to_json(d) FROM deliveries AS d WHERE packet_id = ANY(%s) ORDER BY id",
    "attempts": "SELECT row_to_json(a) FROM attempts AS a JOIN deliveries AS d ON d.id = a.delivery_id"
                " WHERE d.packet_id = ANY(%s) ORDER BY a.id",
}  # fmt: skip


def rows_of(province: Province, packets: Sequence[str]) -> dict[str, list[dict[str, Any]]]:
    """What the database holds of these packets, table by table."""
    with psycopg.connect(province.ground.database, autocommit=True) as connection:
        return {
            table: [row[0] for row in connection.execute(statement.encode(), [[*packets]])]
            for table, statement in _ROWS_OF.items()
        }


def _is_ready(url: str) -> bool:
    try:
        return httpx2.get(f"{url}/health/ready", timeout=5, trust_env=False).status_code == 200
    except httpx2.HTTPError:
        return False


def _need_faketime() -> None:
    need_program("faketime", "faketime")
    assert _FAKETIME.exists(), f"{_FAKETIME} is missing, and the Debian package did not bring it"


def _toml(value: object) -> str:
    return str(value).lower() if isinstance(value, bool | int | float) else f'"{value}"'


@contextmanager
def _brokers(folder: Path, nodes: int) -> Iterator[list[Broker]]:
    """One broker, or a cluster of three nodes."""
    folder.mkdir()
    if nodes > 1:
        with cluster(folder) as running:
            yield running
        return
    with Broker.start(folder) as one:
        yield [one]
