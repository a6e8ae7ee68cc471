"""Nothing is answered before it is on disk: the order of system calls, as strace sees it (protocol §13, promise 1).

A killed process cannot show a missing fsync, since the kernel keeps what was written; the order of calls can.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from gateway.cli.exits import ExitCode
from gateway.model.errors import StoreUnsafe
from gateway.store.dialect import check_durability
from gateway.store.engines import open_sqlite
from tests.fault.hops_child import BODY
from tests.support.clients import FAST, Home, letter, make_home
from tests.support.processes import NodeProcesses

_CALL = re.compile(r"^(?:\d+ +)?(\w+)\((.*)\) += (\d+)")
_CALLS = "openat,write,pwrite64,pwritev,fsync,fdatasync,rename,renameat,renameat2,linkat"
_FD = re.compile(r"^\d+<([^>]*)>")
_NAMED = re.compile(r'(?:(?:\d+|AT_FDCWD)<([^>]*)>, )?"([^"]*)"')
"""A name, and the folder that it is beneath where the call says one."""
SYNCS = ("fsync", "fdatasync")
WRITES = ("write", "pwrite64", "pwritev")


@dataclass(frozen=True, slots=True)
class Call:
    """One system call that succeeded: its name, the file that it is about, and for a rename the new name."""

    name: str
    path: str
    target: str = ""


@dataclass(frozen=True, slots=True)
class Trace:
    """The calls between BEGIN and ANSWER."""

    calls: tuple[Call, ...]

    def first(self, what: str, wanted: Callable[[Call], bool], after: int = -1) -> int:
        """Where the first call of that kind stands after `after`; an AssertionError names `what` is missing."""
        for at, call in enumerate(self.calls):
            if at > after and wanted(call):
                return at
        raise AssertionError(f"missing: {what}, after call {after}: {self.calls[after] if after >= 0 else 'begin'}")

    def last(self, what: str, wanted: Callable[[Call], bool], before: int) -> int:
        """Where the last such call before `before` stands."""
        found = [at for at, call in enumerate(self.calls[:before]) if wanted(call)]
        assert found, f"missing: {what}, before call {before}: {self.calls[before]}"
        return found[-1]

    def assert_committed(self, what: str, start: int, end: int) -> int:
        """Between the two calls a transaction went into the write-ahead log and was synced; where its sync stands."""
        written = [at for at in range(start + 1, end) if _is(self.calls[at], WRITES, "truc.db-wal")]
        assert written, f"{what}: nothing was written to the log between {self.calls[start]} and {self.calls[end]}"
        synced = [at for at in range(written[-1] + 1, end) if _is(self.calls[at], SYNCS, "truc.db-wal")]
        assert synced, f"{what}: the log was written to and not synced before {self.calls[end]}"
        return synced[0]


def _is(call: Call, names: Sequence[str], ending: str) -> bool:
    return call.name in names and call.path.endswith(ending)


def parse(text: str) -> Trace:
    """Strace's lines as calls; what failed, or was of no file, is left out. Order is that of their ends."""
    calls: list[Call] = []
    unfinished: dict[str, str] = {}
    for line in text.splitlines():
        pid, _, rest = line.partition(" ")
        if "<unfinished ...>" in rest:
            unfinished[pid] = rest.split("<unfinished", 1)[0].strip()
            continue
        if "resumed>" in rest:
            rest = unfinished.pop(pid, "") + rest.split("resumed>", 1)[1]
        found = _CALL.match(rest.strip())
        if found is not None:
            calls += _call(found[1], found[2])
    starts = [at for at, call in enumerate(calls) if call.target == "BEGIN"]
    ends = [at for at, call in enumerate(calls) if call.target == "ANSWER"]
    assert len(starts) == len(ends) == 1, "the child did not come to its answer"
    return Trace(tuple(calls[starts[0] : ends[0] + 1]))


def _call(name: str, arguments: str) -> list[Call]:
    if name.startswith("rename"):
        old, new = (os.path.join(folder, name) for folder, name in _NAMED.findall(arguments)[:2])
        return [Call("rename", old, new)]
    if name == "openat":
        return []
    found = _FD.match(arguments)
    if found is None:
        return []
    if found[1].endswith("/answer"):
        return [Call(name, found[1], "ANSWER" if "ANSWER" in arguments else "BEGIN")]
    return [Call(name, found[1])]


def watch(strace: str, home: Home, hop: str, *faults: str) -> Trace:
    """Run one hop in a process of its own under strace."""
    folder = home.data.parent
    environment = {name: value for name, value in os.environ.items() if not name.startswith("TRUC_")}
    environment |= {f"TRUC_{name.upper()}": value for name, value in FAST.items()}
    done = subprocess.run(
        [strace, "-f", "-y", "-qq", "-s", "16", "-e", "signal=none", "-e", f"trace={_CALLS}",
         "-o", str(folder / "calls"),
         sys.executable, "-m", "tests.fault.hops_child", hop, str(home.data), str(folder / "answer"), *faults],
        env=environment, cwd=Path(__file__).parents[2], capture_output=True, text=True, timeout=240, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return parse((folder / "calls").read_text("utf-8", "replace"))


def run(home: Home, hop: str) -> None:
    """The same hop without being watched: what must have happened before."""
    environment = dict(os.environ) | {f"TRUC_{name.upper()}": value for name, value in FAST.items()}
    command = [sys.executable, "-m", "tests.fault.hops_child", hop, str(home.data), str(home.data.parent / "before")]
    subprocess.run(command, env=environment, cwd=Path(__file__).parents[2], check=True, timeout=240)


def assert_accept_order(trace: Trace) -> None:
    """write → fsync → rename → directory fsync → commit → answer."""
    renamed = trace.first("rename of the blob", lambda c: c.name == "rename" and "/blobs/spool/" in c.path)
    spooled, blob = trace.calls[renamed].path, trace.calls[renamed].target
    written = trace.last("write of the body", lambda c: _is(c, WRITES, spooled), renamed)
    synced = trace.first("fsync of the body", lambda c: _is(c, SYNCS, spooled), written)
    assert synced < renamed, "the blob got its name before its bytes were on disk"
    folder = trace.first("fsync of the blob's folder", lambda c: _is(c, SYNCS, os.path.dirname(blob)), renamed)
    trace.assert_committed("accept", folder, len(trace.calls) - 1)
    early = [at for at in range(folder) if _is(trace.calls[at], WRITES, "truc.db-wal")]
    assert not early, "a row spoke of the blob before it was durable"


def assert_deliver_order(trace: Trace) -> None:
    """bytes synced → staged, folder synced → attempt committed → visible → folders synced → receipt committed."""
    staged = trace.first("rename to .part", lambda c: c.name == "rename" and c.target.endswith(".part"))
    bytes_synced = trace.last("fsync of the staged bytes", lambda c: _is(c, SYNCS, trace.calls[staged].path), staged)
    written = trace.last("write of the staged bytes", lambda c: _is(c, WRITES, trace.calls[staged].path), staged)
    assert written < bytes_synced < staged
    staging = trace.first("fsync of .truc", lambda c: _is(c, SYNCS, "/.truc"), staged)
    shown = trace.first(
        "rename into den", lambda c: c.name == "rename" and "/den/" in c.target and c.path.endswith(".part")
    )
    trace.assert_committed("attempt", staging, shown)
    arrived = trace.first("fsync of den", lambda c: _is(c, SYNCS, "/den"), shown)
    gone = trace.first("fsync of .truc", lambda c: _is(c, SYNCS, "/.truc"), shown)
    trace.assert_committed("receipt", max(arrived, gone), len(trace.calls) - 1)
    early = [at for at in range(shown, max(arrived, gone)) if _is(trace.calls[at], WRITES, "truc.db-wal")]
    assert not early, "the receipt was written before the packet was there for good"


def assert_intake_order(trace: Trace) -> None:
    """commit → reference written and synced → moved aside → folders synced: a source is told after our commit only."""
    moved = trace.first("move to da-gui", lambda c: c.name == "rename" and "/di/" in c.path and "/da-gui/" in c.target)
    noted = trace.last("rename of the reference", lambda c: c.name == "rename" and c.target.endswith(".json"), moved)
    trace.last("fsync of the reference", lambda c: _is(c, SYNCS, trace.calls[noted].path), noted)
    blob = trace.first("rename of the blob", lambda c: c.name == "rename" and "/blobs/spool/" in c.path)
    trace.assert_committed("accept", blob, noted)
    trace.first("fsync of da-gui", lambda c: _is(c, SYNCS, "/da-gui"), moved)


ORDERS = {"accept": assert_accept_order, "deliver": assert_deliver_order, "intake": assert_intake_order}


def prepare(folder: Path, hop: str) -> Home:
    home = make_home(folder)
    if hop == "intake":
        outgoing = folder / "tm-2" / "di"
        outgoing.mkdir()
        (outgoing / "van-ban.edxml").write_bytes(letter(7, ("don",), sender="tm-2").body)
        return home
    (folder / BODY).write_bytes(letter(1, ("hop-1", "tm-1"), size=300_000).body)
    if hop == "deliver":
        run(home, "accept")
    return home


@pytest.mark.fault
@pytest.mark.parametrize("hop", ORDERS)
def test_everything_is_on_disk_before_it_is_told(strace: str, tmp_path: Path, hop: str) -> None:
    ORDERS[hop](watch(strace, prepare(tmp_path, hop), hop))


@pytest.mark.fault
@pytest.mark.parametrize("hop", ORDERS)
def test_a_lost_fsync_is_seen(strace: str, tmp_path: Path, hop: str) -> None:
    """The check itself is checked: with an fsync that does nothing, each order must be found broken."""
    trace = watch(strace, prepare(tmp_path, hop), hop, "lose-fsync")
    with pytest.raises(AssertionError, match="fsync of"):
        ORDERS[hop](trace)


# --- databases that would not keep what they confirm ---------------------------------------------------------------

_DEAF = """
import sqlite3

class Connection(sqlite3.Connection):
    def cursor(self, factory=None):
        return super().cursor(Cursor)

    def execute(self, sql, *values):
        return self.cursor().execute(sql, *values)

class Cursor(sqlite3.Cursor):
    def execute(self, sql, *values):
        return super().execute("SELECT 1" if {pragma!r} in sql and "=" in sql else sql, *values)

def connect(*arguments, **options):
    made = opened(*arguments, **{{**options, "factory": Connection}})
    sqlite3.Connection.cursor(made).execute("PRAGMA {weak}")
    return made

opened, sqlite3.connect = sqlite3.connect, connect
sqlite3.dbapi2.connect = connect
"""
"""An SQLite that is deaf to one pragma, as one built with other defaults (or wrapped by a tool) may be."""


@pytest.mark.fault
@pytest.mark.parametrize(
    ("pragma", "weak"),
    [
        ("synchronous", "synchronous=NORMAL"),
        ("synchronous", "synchronous=OFF"),
        ("journal_mode", "journal_mode=MEMORY"),
    ],
)
def test_a_node_on_a_database_that_forgets_does_not_start(tmp_path: Path, pragma: str, weak: str) -> None:
    (tmp_path / "sitecustomize.py").write_text(_DEAF.format(pragma=pragma, weak=weak))
    node = NodeProcesses(tmp_path / "data", FAST)
    environment = node.environment() | {"PYTHONPATH": f"{tmp_path}:{Path(__file__).parents[2]}"}
    done = subprocess.run(
        [sys.executable, "-m", "gateway", "--lang", "en", "serve"],
        env=environment, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == ExitCode.STORE, done.stderr
    assert "store.unsafe" in done.stderr
    assert pragma in done.stderr


@pytest.mark.parametrize("weak", ["synchronous=NORMAL", "synchronous=OFF"])
def test_a_weaker_connection_is_unsafe(tmp_path: Path, weak: str) -> None:
    engine = open_sqlite(tmp_path / "truc.db")
    with engine.connect() as connection:
        check_durability(connection)
        connection.rollback()
        connection.connection.cursor().execute(f"PRAGMA {weak}")
        with pytest.raises(StoreUnsafe):
            check_durability(connection)
        connection.rollback()
        connection.connection.cursor().execute("PRAGMA synchronous=EXTRA")
        check_durability(connection)
    engine.dispose()
