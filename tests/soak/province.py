"""A province of the soak's own: PostgreSQL, RabbitMQ, two APIs, two deliverers, relay, periodic, inspect, recipients.

    with Province.lay(folder, program=…) as province:
        province.start()                     everything runs and answers
        province.parts["api-1"], province.cables["relay>broker"], province.servers, province.cluster, province.brokers

Between the processes and their servers lie cables, one for each kind of process, so that one kind alone can be cut off.
Blobs and PostgreSQL lie on small disks of their own; clocks of both sides are given by libfaketime, from a file each.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Final, Self

import httpx2

from gateway.configuration import apply, init_rows, parse
from gateway.identity import rotate_token
from gateway.keys import make_keys
from gateway.prove.marks import SYSTEM, configuration
from gateway.store import Store, open_store
from tests.soak.parts import Part, Watch
from tests.soak.recipients import FOLDER, REST
from tests.soak.schedule import PARTS
from tests.support.cables import Cable
from tests.support.clients import FAST
from tests.support.postgres import Cluster, start_cluster
from tests.support.processes import SmallDisk, need_program
from tests.support.rabbitmq import Broker, cluster, free_ports
from tests.support.sinks import SinkProcess

__all__ = ["BLOBS_MIB", "Clock", "Province", "soak_settings"]

NODE: Final = "nut-ben"
BLOBS_MIB: Final = 4_000
POSTGRES_MIB: Final = 3_000
_READY: Final = 60.0
_INSTANCES: Final = {"api": 2, "deliver": 2}
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


@dataclass(slots=True)
class Province:
    """Everything that runs. `close` ends it, in whatever state it is."""

    folder: Path
    program: Path
    cluster: Cluster
    database: str
    brokers: list[Broker]
    disks: dict[str, SmallDisk]
    clocks: dict[str, Clock]
    servers: dict[str, SinkProcess]
    cables: dict[str, Cable]
    ports: list[int]
    token: str = ""
    parts: dict[str, Part] = field(default_factory=dict)
    watch: Watch | None = None
    closing: ExitStack = field(default_factory=ExitStack)

    @classmethod
    def lay(cls, folder: Path, *, program: Path, nodes: int = 1, clocks: bool = True) -> Self:
        """Servers that answer, rows and keys, cables; no process of ours yet."""
        closing = ExitStack()
        with ExitStack() as undo:
            undo.enter_context(closing)
            province = cls._lay(closing, folder, program, nodes, clocks)
            undo.pop_all()
        return province

    @classmethod
    def _lay(cls, closing: ExitStack, folder: Path, program: Path, nodes: int, clocks: bool) -> Self:
        data = folder / "data"
        disks = {
            "blobs": closing.enter_context(SmallDisk(data / "blobs", BLOBS_MIB)),
            "postgres": closing.enter_context(SmallDisk(folder / "postgres", POSTGRES_MIB)),
        }
        hands = {side: Clock(folder / f"clock-{side}") for side in ("postgres", "processes")} if clocks else {}
        for clock in hands.values():
            _need_faketime()
            clock.set(0)
        folder.chmod(0o755)
        postgres = start_cluster(folder / "postgres", hands["postgres"].environment if clocks else None)
        closing.callback(postgres.stop)
        brokers = closing.enter_context(_brokers(folder / "mq", nodes))
        servers = {name: SinkProcess(folder / name, kind) for name, kind in REST.items()}
        for server in servers.values():
            closing.enter_context(server)
        province = cls(
            folder, program, postgres, postgres.create(), brokers, disks, hands, servers, {}, free_ports(2),
            closing=closing,
        )  # fmt: skip
        province._lay_cables(closing)
        province._fill(data)
        return province

    def _lay_cables(self, closing: ExitStack) -> None:
        wanted = {f"{part}>postgres": self.cluster.port for part in PARTS}
        wanted |= {f"{part}>broker": self.brokers[0].ports["amqp"] for part in PARTS}
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
            values = server.rest_settings() | {"sending_limit": 5, "settle_time": 3}
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
        return open_store(self.folder / "data", node=NODE, database=self.database, reserve=1, wait_seconds=30)

    # --- our processes ----------------------------------------------------------------------------------------

    def start(self) -> None:
        """Start every process, wait until both APIs answer, and watch over them. Raises AssertionError."""
        logs = self.folder / "logs"
        logs.mkdir()
        more = self.clocks["processes"].environment if self.clocks else {}
        for role in PARTS:
            for number in range(1, _INSTANCES.get(role, 1) + 1):
                name = f"{role}-{number}" if role in _INSTANCES else role
                port = self.ports[number - 1] if role == "api" else 0
                settings = self._settings(role) | {"port": str(port)}
                self.parts[name] = Part(name, role, settings, logs, self.program, more)
                self.parts[name].start()
        self.watch = Watch(self.parts)
        self.watch.start()
        self.await_ready()

    def _settings(self, role: str) -> dict[str, str]:
        def by_cable(url: str, server: str) -> str:
            return url.replace(f":{self._port(server)}/", f":{self.cables[f'{role}>{server}'].port}/")

        addresses = [by_cable(broker.url("/"), "broker") for broker in self.brokers]
        return soak_settings() | {
            "data": str(self.folder / "data"), "database": by_cable(self.database, "postgres"),
            "broker": ",".join(addresses), **{f"broker_{name}": path for name, path in self.brokers[0].files.items()},
        }  # fmt: skip

    def _port(self, server: str) -> int:
        return self.cluster.port if server == "postgres" else self.brokers[0].ports["amqp"]

    @property
    def urls(self) -> tuple[str, ...]:
        """The two APIs: one by its cable, one at once."""
        return f"http://127.0.0.1:{self.cables['client>api'].port}", f"http://127.0.0.1:{self.ports[1]}"

    def await_ready(self) -> None:
        """Until both APIs say that they are ready. Raises AssertionError with the ends of the logs."""
        for url in self.urls:
            until(lambda url=url: _is_ready(url), _READY, self.tails)  # type: ignore[misc]

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


def until(is_so: Callable[[], bool], seconds: float, why: Callable[[], str]) -> None:
    """Wait for something. Raises AssertionError with the reason."""
    deadline = time.monotonic() + seconds
    while not is_so():
        assert time.monotonic() < deadline, f"not so in {seconds:.0f} s: {why()}"
        time.sleep(0.2)


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
