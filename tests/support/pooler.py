"""PgBouncer for tests: a pooler before a PostgreSQL server, on loopback, that hands out connections by transactions.

with pooler(cluster(), "ignore_startup_parameters=options") as port:
    …
"""

from __future__ import annotations

import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import mkdtemp

from tests.support.postgres import Cluster, as_owner, own
from tests.support.processes import free_ports, need_program

__all__ = ["pooler"]

_START = 60.0  # seconds


@contextmanager
def pooler(server: Cluster, *settings: str) -> Iterator[int]:
    """One that runs, on the port that is given; `settings` are more lines of its own."""
    program = need_program("pgbouncer", "pgbouncer")
    folder = Path(mkdtemp(prefix="truc-pooler-"))
    (port,) = free_ports(1)
    own(folder)
    (folder / "users").write_text('"truc" ""\n')
    told = [
        "[databases]", f"* = host=127.0.0.1 port={server.port}", "[pgbouncer]", "listen_addr = 127.0.0.1",
        f"listen_port = {port}", "unix_socket_dir =", "auth_type = trust", f"auth_file = {folder / 'users'}",
        "pool_mode = transaction", *settings,
    ]  # fmt: skip
    (folder / "ini").write_text("\n".join(told) + "\n")
    for name in ("users", "ini"):
        own(folder / name)
    command = [*as_owner(), program, "-q", str(folder / "ini")]
    with (folder / "log").open("wb") as log:
        running = subprocess.Popen(command, stdout=log, stderr=log, cwd="/")
    try:
        _await(running, port, folder / "log")
        yield port
    finally:
        running.terminate()
        running.wait(_START)
        shutil.rmtree(folder)


def _await(running: subprocess.Popen[bytes], port: int, log: Path) -> None:
    until = time.monotonic() + _START
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), 5).close()
        except OSError:
            assert running.poll() is None, log.read_text("utf-8", "replace")
            assert time.monotonic() < until, log.read_text("utf-8", "replace")
            time.sleep(0.02)
        else:
            return
