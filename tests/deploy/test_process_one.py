"""Processes that are each number 1 of their own, as in containers: what a node must not conclude from that number."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
from sqlalchemy import select

from gateway.model.events import EventKind
from gateway.store import open_store
from gateway.store.schema import events
from tests.support.processes import NodeProcesses, need_program

HOUSE = Path(__file__).parents[2]
NODE = "nut-lien-thong"


@pytest.fixture
def node(tmp_path: Path) -> NodeProcesses:
    processes = NodeProcesses(tmp_path / "nut", {"log_level": "warning"})
    assert processes.run("init").returncode == 0
    return processes


@contextmanager
def alone(node: NodeProcesses, role: str) -> Iterator[subprocess.Popen[str]]:
    """One part as process 1 of a process namespace of its own; ended by SIGTERM, which must give 0."""
    outside = [need_program("unshare", "util-linux"), "--pid", "--fork", "--mount-proc", "--kill-child"]
    process = subprocess.Popen(
        [*outside, sys.executable, "-m", "gateway", role],
        env=node.environment(), cwd=HOUSE, text=True, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
    )  # fmt: skip
    assert process.stdout is not None
    try:
        line = process.stdout.readline()
        assert "pid=1" in line.split(), line
        yield process
        (inside,) = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text("ascii").split()
        os.kill(int(inside), signal.SIGTERM)
        assert process.wait(30) == 0
    finally:
        process.kill()
        process.wait(10)
        process.stdout.close()


@pytest.mark.fault
def test_two_that_are_both_number_one_are_two_workers(node: NodeProcesses) -> None:
    with ExitStack() as running:
        for _ in range(2):
            running.enter_context(alone(node, "periodic"))
    store = open_store(node.data, node=NODE, reserve=1)
    with store.read() as connection:
        actors = connection.scalars(select(events.c.actor).where(events.c.kind == EventKind.NODE_STARTED)).all()
    store.close()
    assert len(set(actors)) == len(actors) == 2


@pytest.mark.fault
def test_what_a_number_one_left_in_the_spool_goes_though_another_lives(node: NodeProcesses) -> None:
    """An hour after it was last written to: a living writer of another container has the same number."""
    spool = node.data / "blobs" / "spool"
    with alone(node, "relay"):
        for name, age in (("1-bo-lai", 7200.0), ("1-dang-ghi", 0.0)):
            (spool / name).write_bytes(b"than")
            os.utime(spool / name, (time.time() - age,) * 2)
        with alone(node, "relay"):
            assert [path.name for path in spool.iterdir()] == ["1-dang-ghi"]
