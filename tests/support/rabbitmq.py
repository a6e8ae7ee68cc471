"""A private RabbitMQ for tests: own folder, own epmd and cookie, free ports on loopback, ended by pid.

    with Broker.start(folder) as broker:
        vhost = broker.new_vhost()               empty ground for one test
        broker.access(vhost)                     what the transport is given
        broker.kill(); broker.start_again()      as a machine that fails

Starting takes some five seconds: a test session shares one (the fixture `broker`), and each test has a virtual host.
"""

from __future__ import annotations

import itertools
import os
import secrets
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self
from urllib.parse import quote

import httpx2
import pytest

from gateway.transport.broker import BrokerAccess
from tests.support.broker_tls import Papers
from tests.support.families import family, signal_all
from tests.support.patience import PATIENCE
from tests.support.processes import free_ports, need_program

__all__ = ["USER", "Broker", "broker", "cluster", "fragile", "free_ports", "papers"]

USER: Final = "truc-test"
_PASSWORD: Final = "mat-khau-thu"
_BIN: Final = Path("/usr/lib/rabbitmq/bin")  # not the wrappers of /usr/sbin, which change the user
_START: Final = 240.0
"""Seconds; five where nobody else uses the machine."""

_numbers = itertools.count(1)


@dataclass(slots=True)
class Epmd:
    """The port mapper of one broker or cluster, in the foreground: nothing of it outlives the test."""

    port: int
    process: subprocess.Popen[bytes]

    @classmethod
    def start(cls) -> Self:
        need_program("rabbitmqctl", "rabbitmq-server")
        (port,) = free_ports(1)
        command = [need_program("epmd", "erlang-base"), "-port", str(port), "-address", "127.0.0.1"]
        return cls(port, subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL))

    def end(self) -> None:
        self.process.terminate()
        self.process.wait(10)


@dataclass(slots=True)
class Broker:
    """One node of RabbitMQ. `settings` are lines of rabbitmq.conf beyond the usual ones."""

    folder: Path
    name: str
    epmd: Epmd
    ports: dict[str, int]
    settings: Mapping[str, str] = field(default_factory=dict)
    owns_epmd: bool = True
    _process: subprocess.Popen[bytes] | None = None

    @classmethod
    def lay(
        cls, folder: Path, *, name: str = "n1", epmd: Epmd | None = None, tls: bool = False, **settings: str
    ) -> Self:
        """Write its folder; nothing runs yet but its port mapper."""
        kinds = ["amqp", "http", "dist", "tls"]
        broker = cls(
            folder / name, name, epmd or Epmd.start(), dict(zip(kinds, free_ports(4), strict=True)), settings,
            owns_epmd=epmd is None,
        )  # fmt: skip
        for part in ("home", "data", "log", "tmp"):
            (broker.folder / part).mkdir(parents=True)
        cookie = broker.folder / "home" / ".erlang.cookie"
        cookie.write_text("truc" + folder.name if epmd is None else f"truc{epmd.port}")
        cookie.chmod(0o400)
        (broker.folder / "plugins").write_text("[rabbitmq_management].")
        broker.write_settings(tls)
        for part, text in (("user", USER), ("password", _PASSWORD)):
            (folder / part).write_text(text)
        return broker

    @classmethod
    def start(cls, folder: Path, *, tls: bool = False, **settings: str) -> Self:
        """A broker that answers."""
        broker = cls.lay(folder, tls=tls, **settings)
        broker.launch()
        try:
            broker.wait()
        except BaseException:
            broker.end()
            raise
        return broker

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, why: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.end()

    def write_settings(self, tls: bool) -> None:
        lines = {
            "listeners.tcp.1": f"127.0.0.1:{self.ports['amqp']}",
            "default_user": USER,
            "default_pass": _PASSWORD,
            "vm_memory_high_watermark.absolute": "2GiB",
            "disk_free_limit.absolute": "50MB",
            "log.console": "false",
            "collect_statistics_interval": "1000",
            "management.tcp.ip": "127.0.0.1",
            "management.tcp.port": str(self.ports["http"]),
            **self.settings,
        }
        if tls:
            lines["listeners.ssl.1"] = f"127.0.0.1:{self.ports['tls']}"
        text = "".join(f"{name} = {value}\n" for name, value in lines.items())
        (self.folder / "rabbitmq.conf").write_text(text)

    @property
    def environment(self) -> dict[str, str]:
        """Of the node and of its command line tools."""
        at, dist = str(self.folder), self.ports["dist"]
        return {
            **{key: value for key, value in os.environ.items() if not key.startswith(("RABBITMQ_", "ERL_"))},
            "HOME": f"{at}/home", "LANG": "C.UTF-8", "ERL_CRASH_DUMP": f"{at}/log/erl_crash.dump",
            "ERL_EPMD_PORT": str(self.epmd.port), "ERL_EPMD_ADDRESS": "127.0.0.1",
            "RABBITMQ_NODENAME": f"{self.name}@localhost", "RABBITMQ_CONF_ENV_FILE": "/dev/null",
            "RABBITMQ_CONFIG_FILE": f"{at}/rabbitmq.conf", "RABBITMQ_ADVANCED_CONFIG_FILE": f"{at}/advanced.config",
            "RABBITMQ_MNESIA_BASE": f"{at}/data", "RABBITMQ_MNESIA_DIR": f"{at}/data/node",
            "RABBITMQ_LOG_BASE": f"{at}/log", "RABBITMQ_LOGS": f"{at}/log/rabbit.log",
            "RABBITMQ_ENABLED_PLUGINS_FILE": f"{at}/plugins", "RABBITMQ_PID_FILE": f"{at}/pid",
            "RABBITMQ_GENERATED_CONFIG_DIR": f"{at}/tmp/config", "RABBITMQ_SCHEMA_DIR": f"{at}/tmp/schema",
            "RABBITMQ_DIST_PORT": str(dist), "RABBITMQ_NODE_IP_ADDRESS": "127.0.0.1",
            "RABBITMQ_NODE_PORT": str(self.ports["amqp"]),
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "-kernel inet_dist_use_interface {127,0,0,1} +S 2:2",
        }  # fmt: skip

    def launch(self) -> None:
        """Start it without waiting."""
        (self.folder / "pid").unlink(missing_ok=True)
        with (self.folder / "log" / "out").open("ab") as out:
            self._process = subprocess.Popen(
                [str(_BIN / "rabbitmq-server")], env=self.environment, stdin=subprocess.DEVNULL, stdout=out, stderr=out
            )

    def wait(self) -> None:
        """Until every port that a test uses answers; the plain one does so before the others."""
        end = time.monotonic() + _START
        wanted = [self.ports["amqp"], self.ports["http"]]
        if "listeners.ssl.1" in (self.folder / "rabbitmq.conf").read_text():
            wanted.append(self.ports["tls"])
        while not all(map(_answers, wanted)):
            process = self._process
            assert process is not None
            assert process.poll() is None, f"RabbitMQ ended: {self.tail()}"
            assert time.monotonic() < end, f"RabbitMQ does not answer: {self.tail()}"
            time.sleep(0.05)

    def start_again(self) -> None:
        """After `stop`, `kill` or `wipe`."""
        self.launch()
        self.wait()

    @property
    def pid(self) -> int:
        """Of the Erlang machine itself, not of the shell that started it."""
        return int((self.folder / "pid").read_text())

    def stop(self) -> None:
        """Orderly, as a service manager does it."""
        self._signal_and_wait(signal.SIGTERM)

    def kill(self) -> None:
        """kill -9."""
        self._signal_and_wait(signal.SIGKILL)

    def freeze(self) -> None:
        """SIGSTOP: as a machine that hangs."""
        os.kill(self.pid, signal.SIGSTOP)

    def thaw(self) -> None:
        """SIGCONT."""
        os.kill(self.pid, signal.SIGCONT)

    def wipe(self) -> None:
        """Everything that it kept is gone; it must be stopped. Users come again from its configuration."""
        shutil.rmtree(self.folder / "data")
        (self.folder / "data").mkdir()

    def kill_rest(self) -> None:
        """End what was launched, however far it came, the Erlang machine below its script too. Safe to repeat."""
        process, self._process = self._process, None
        if process is not None:
            signal_all(family(process.pid), signal.SIGKILL)
            process.wait(_START)

    def _signal_and_wait(self, number: signal.Signals) -> None:
        process, self._process = self._process, None
        assert process is not None
        os.kill(self.pid, number)
        process.wait(_START)

    def end(self) -> None:
        """End it for good, however it stands. Safe to repeat."""
        if self._process is not None and (self.folder / "pid").exists():
            self.thaw()
            self.kill()
        self.kill_rest()
        if self.owns_epmd:
            self.epmd.end()

    def tail(self) -> str:
        """The end of its log, for a failing test."""
        path = self.folder / "log" / "rabbit.log"
        return "\n".join(path.read_text("utf-8", "replace").splitlines()[-20:]) if path.exists() else ""

    def ctl(self, *arguments: str) -> str:
        """`rabbitmqctl`; an Erlang machine of its own, 0.7 s each."""
        command = [str(_BIN / "rabbitmqctl"), "-q", "-n", f"{self.name}@localhost", *arguments]
        done = subprocess.run(command, env=self.environment, capture_output=True, text=True, timeout=PATIENCE)
        assert done.returncode == 0, done.stderr
        return done.stdout

    # --- the management interface: a few milliseconds each -----------------------------------------------------

    def ask(self, method: str, path: str, body: Any = None) -> Any:
        """One request to the management interface."""
        url = f"http://127.0.0.1:{self.ports['http']}/api/{path}"
        answer = httpx2.request(method, url, json=body, auth=(USER, _PASSWORD), timeout=20, trust_env=False)
        assert answer.status_code < 300, f"{method} {path}: {answer.status_code} {answer.text}"
        return answer.json() if answer.content else None

    def new_vhost(self) -> str:
        """An empty virtual host of its own for a test, for the broker's first user."""
        name = f"t{next(_numbers)}-{secrets.token_hex(2)}"
        self.ask("PUT", f"vhosts/{name}", {})
        self.allow(USER, name)
        return name

    def add_user(self, user: str, password: str) -> None:
        """A user without any rights; or another password for one that is there."""
        self.ask("PUT", f"users/{quote(user)}", {"password": password, "tags": ""})

    def close_connections(self, user: str) -> None:
        """Cut everything that a user has open, as an operator might."""
        self.ask("DELETE", f"connections/username/{quote(user)}")

    def allow(self, user: str, vhost: str, **rights: str) -> None:
        """Give a user rights in a virtual host: everything, or what `rights` say."""
        wanted = rights or {"configure": ".*", "write": ".*", "read": ".*"}
        self.ask("PUT", f"permissions/{quote(vhost, safe='')}/{quote(user)}", wanted)

    def delete_queue(self, vhost: str, name: str) -> None:
        """As an operator might, with the button."""
        self.ask("DELETE", f"queues/{quote(vhost, safe='')}/{name}")

    def url(self, vhost: str, *, tls: bool = False) -> str:
        """What TRUC_BROKER says."""
        scheme, port = ("amqps", self.ports["tls"]) if tls else ("amqp", self.ports["amqp"])
        return f"{scheme}://localhost:{port}/{quote(vhost, safe='')}"

    @property
    def files(self) -> dict[str, str]:
        """The files with its first user and password."""
        return {name: str(self.folder.parent / name.removesuffix("_file")) for name in ("user_file", "password_file")}

    def access(self, vhost: str, **files: str) -> BrokerAccess:
        """How the transport reaches it."""
        return BrokerAccess.parse(self.url(vhost, tls="ca_file" in files), **{**self.files, **files})


def _answers(port: int) -> bool:
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex(("127.0.0.1", port)) == 0


@contextmanager
def cluster(folder: Path, names: Iterable[str] = ("c1", "c2", "c3")) -> Iterator[list[Broker]]:
    """Three nodes that are one broker, started together."""
    epmd = Epmd.start()
    lines = {"cluster_formation.peer_discovery_backend": "classic_config",
             "cluster_partition_handling": "pause_minority"}  # fmt: skip
    for number, name in enumerate(names, 1):
        lines[f"cluster_formation.classic_config.nodes.{number}"] = f"{name}@localhost"
    nodes: list[Broker] = []
    try:
        for name in names:
            nodes.append(Broker.lay(folder, name=name, epmd=epmd, **lines))
        for node in nodes:
            node.launch()
        for node in nodes:
            node.wait()
        end = time.monotonic() + _START
        while sum(one["running"] for one in nodes[0].ask("GET", "nodes")) < len(nodes):
            assert time.monotonic() < end, nodes[0].tail()
            time.sleep(0.2)
        yield nodes
    finally:
        for node in nodes:
            node.end()
        epmd.end()


@pytest.fixture(scope="session")
def papers(tmp_path_factory: pytest.TempPathFactory) -> Papers:
    """Certificates of the shared broker and of a node."""
    return Papers.make(tmp_path_factory.mktemp("papers") / "that", "broker", "node")


@pytest.fixture(scope="session")
def broker(tmp_path_factory: pytest.TempPathFactory, papers: Papers) -> Iterator[Broker]:
    """One broker for all tests that leave it as it was; each takes a virtual host of its own."""
    lines = papers.broker_settings("broker")
    with Broker.start(tmp_path_factory.mktemp("rabbitmq"), tls=True, **lines) as running:
        yield running


@pytest.fixture(scope="session")
def fragile(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker]:
    """A broker to be killed, frozen and wiped; each test leaves it running."""
    with Broker.start(tmp_path_factory.mktemp("fragile")) as running:
        yield running
