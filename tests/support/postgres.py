"""PostgreSQL for tests: a private cluster per test process, on loopback, started on first use and stopped at the end.

    url = cluster().create("ten")                    an empty database
    url = cluster().create("ten", template="khuon")  a copy of another one that nobody is connected to
    cluster().drop(url)

Every test process has a cluster of its own, so that no test waits for another's open transactions.  It is what a
province runs, `fsync` and all: what was committed is on disk.  The server refuses to run as root; where the tests do,
it runs as the system's user `postgres`.  It goes with the test process, however that ends.
"""

from __future__ import annotations

import itertools
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

import psycopg
from psycopg import sql
from sqlalchemy.engine import make_url

from tests.support.families import end_family
from tests.support.leaving import at_the_end
from tests.support.processes import free_ports, need_program

__all__ = ["PASSWORD", "Cluster", "as_owner", "cluster", "own", "start_cluster"]

PASSWORD = "mật-khẩu thử"
"""Of the user `khoa`, who must say one."""

_USER = "truc"
_START = 300.0  # seconds, on a machine however busy
_STOP = 120.0


def _programs() -> Path:
    """Where initdb and postgres lie, the newest version there is; the Debian package is installed where none is."""
    for _ in range(2):
        found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: float(path.parts[-3]))
        if found:
            return found[-1].parent
        need_program("pg_ctlcluster", "postgresql")
    raise AssertionError("the Debian package postgresql brought no initdb")


def as_owner() -> list[str]:
    """What starts a program as the user whom the files belong to, and ends it when the test process is gone."""
    gone = ["setpriv", "--pdeathsig", "INT"]
    return [*gone, "--reuid=postgres", "--regid=postgres", "--clear-groups"] if os.geteuid() == 0 else gone


def own(folder: Path) -> None:
    """Let it belong to that user."""
    if os.geteuid() == 0:
        user = pwd.getpwnam("postgres")
        os.chown(folder, user.pw_uid, user.pw_gid)


@dataclass(slots=True)
class Cluster:
    """One server. `stop`, `kill` and `start` are for tests that take it away."""

    folder: Path
    programs: Path
    port: int
    environment: Mapping[str, str] = field(default_factory=dict)  #: of the server, beyond the usual
    _process: subprocess.Popen[bytes] | None = None
    _numbers: itertools.count[int] = field(default_factory=itertools.count)

    def start(self, *options: str) -> None:
        """Start it and wait until it answers; `options` are settings of the server such as `max_connections=20`."""
        more = [f"{name}={value}" for name, value in self.environment.items()]
        command = [*as_owner(), "env", *more, str(self.programs / "postgres"), "-D", str(self.folder / "data")]
        for option in options:
            command += ["-c", option]
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(command, stdout=log, stderr=log, cwd="/", env=_ENVIRONMENT)
        until = time.monotonic() + _START
        while True:
            try:
                psycopg.connect(self.admin_url, connect_timeout=5).close()
            except psycopg.OperationalError:
                assert self._process.poll() is None, self.tail()
                assert time.monotonic() < until, self.tail()
                time.sleep(0.02)
            else:
                return

    def tail(self) -> str:
        """The end of the server's log."""
        return (self.folder / "log").read_text("utf-8", "replace")[-3000:]

    @property
    def pid(self) -> int:
        """The server's process."""
        assert self._process is not None, "it does not run"
        return self._process.pid

    def stop(self, how: signal.Signals = signal.SIGINT) -> None:
        """Let go of all clients and end (SIGINT), or end as in a crash (SIGQUIT, SIGKILL). Safe to repeat.

        SIGKILL is for all its processes, as when the machine fails: one that serves a client would else commit what it
        was just told to, for a moment after its parent is gone.
        """
        process, self._process = self._process, None
        if process is not None and process.poll() is None:
            end_family(process.pid) if how is signal.SIGKILL else process.send_signal(how)
            process.wait(_STOP)

    def url(self, name: str, user: str = _USER) -> str:
        """As a node's setting has it."""
        return f"postgresql://{user}@127.0.0.1:{self.port}/{name}"

    @property
    def admin_url(self) -> str:
        """Of the database that is always there."""
        return self.url("postgres")

    def create(self, name: str = "", *, template: str = "template0", order: str = "") -> str:
        """A new database, empty or a copy; its address. Without a name it gets one that no other has.

        `order`: a language whose rules it sorts texts by (ICU); "": by code points.
        """
        name = name or f"thu_{next(self._numbers)}"
        made = sql.SQL("CREATE DATABASE {} TEMPLATE {}").format(sql.Identifier(name), sql.Identifier(template))
        self._tell(made + sql.SQL(" LOCALE_PROVIDER icu ICU_LOCALE {}").format(order) if order else made)
        return self.url(name)

    def drop(self, url: str) -> None:
        """Remove a database, whoever is connected to it: seconds of work; what is left goes with the cluster."""
        name = sql.Identifier(str(make_url(url).database))
        self._tell(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(name))

    def _tell(self, statement: sql.Composed) -> None:
        with psycopg.connect(self.admin_url, autocommit=True) as connection:
            connection.execute(statement)


_ENVIRONMENT = {"PATH": os.environ.get("PATH", "/usr/bin:/bin"), "LANG": "C.UTF-8", "TZ": "UTC"}


def _run(command: Sequence[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, cwd="/", env=_ENVIRONMENT, timeout=240, check=False)
    assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"


def start_cluster(
    within: Path | None = None, environment: Mapping[str, str] | None = None, more_settings: Sequence[str] = ()
) -> Cluster:
    """A cluster of one's own, for tests that stop it. Stop it; what is left goes with the test process.

    `within`: an empty folder that it is to lie in, such as a small disk; `environment`: more of it for the server;
    `more_settings`: of its configuration, each as `name=value`.
    """
    programs = _programs()
    folder = within or Path(tempfile.mkdtemp(prefix="truc-postgres-"))
    folder.chmod(0o755)
    for name in ("data", "run"):
        (folder / name).mkdir(mode=0o700)
        own(folder / name)
    secret = folder / "secret"
    secret.write_text(PASSWORD + "\n", "utf-8")
    own(secret)
    owner = ["-U", _USER, "--auth=trust", f"--pwfile={secret}", "-E", "UTF8", "--no-locale"]
    _run([*as_owner(), str(programs / "initdb"), "-D", str(folder / "data"), *owner])
    rules = folder / "data" / "pg_hba.conf"
    rules.write_text("host all khoa 127.0.0.1/32 scram-sha-256\nhost all all 127.0.0.1/32 trust\n")
    made = Cluster(folder, programs, free_ports(1)[0], dict(environment or {}))
    settings = f"listen_addresses='127.0.0.1'\nport={made.port}\nunix_socket_directories='{folder / 'run'}'\n"
    with (folder / "data" / "postgresql.conf").open("a") as configuration:
        configuration.write(settings + "shared_buffers=64MB\nmax_connections=60\nautovacuum_naptime=1min\n")
        configuration.writelines(f"{setting}\n" for setting in more_settings)
    made.start()
    with psycopg.connect(made.admin_url, autocommit=True) as connection:
        connection.execute(sql.SQL("CREATE ROLE khoa LOGIN SUPERUSER PASSWORD {}").format(sql.Literal(PASSWORD)))
    at_the_end(lambda: _remove(made))
    return made


def _remove(made: Cluster) -> None:
    made.stop()
    shutil.rmtree(made.folder, ignore_errors=True)


@cache
def cluster() -> Cluster:
    """The cluster of this test process."""
    return start_cluster()
