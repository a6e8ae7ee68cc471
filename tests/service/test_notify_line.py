"""Wake-ups between processes by PostgreSQL: heard without polling, lost without harm, said where they are not there."""

from __future__ import annotations

import io
import json
import queue
import socket
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import psycopg
import pytest
from sqlalchemy import event

from gateway.channels import KINDS
from gateway.compose import vocabulary
from gateway.model.errors import StoreCrowded
from gateway.store import Store, open_store
from gateway.store.faults import cause_of
from gateway.store.notify_line import NotifyLine, is_carrying
from gateway.transport.local import LocalTransport
from gateway.workers.loop import Loop
from monitoring.metrics import Metrics
from tests.support.descriptors import many_descriptors
from tests.support.patience import until
from tests.support.postgres import Cluster, cluster, start_cluster

_PATIENCE = 60.0  # seconds until something counts as not coming


@dataclass(frozen=True, slots=True, kw_only=True)
class Process:
    """What a process of a node has for its wake-ups."""

    store: Store
    metrics: Metrics
    line: NotifyLine
    transport: LocalTransport

    def heard(self, *topics: str) -> queue.Queue[str]:
        """The topics that its wake board calls out from now on; the line is there then."""
        told: queue.Queue[str] = queue.Queue()
        self.transport.on_wake(topics, lambda topic: told.put(topic) if topic != "*" else None)
        assert self.line.wait_up(_PATIENCE)
        return told

    def count(self, wake: str) -> float:
        """`truc_wakes_total`."""
        return self._shown(f'truc_wakes_total{{wake="{wake}"}} ')

    @property
    def is_up(self) -> float:
        """`truc_wake_line_up`."""
        return self._shown("truc_wake_line_up ")

    def _shown(self, name: str) -> float:
        lines = self.metrics.render().decode().splitlines()
        return sum(float(line.removeprefix(name)) for line in lines if line.startswith(name))


@pytest.fixture
def closing() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


def a_process(closing: ExitStack, folder: Path, url: str, *, last_words: float = _PATIENCE) -> Process:
    """One that works on the database at `url`."""
    store = open_store(folder.parent / "data", node="thu", database=url, reserve=1)
    closing.callback(store.close)
    metrics = Metrics(vocabulary(KINDS))
    line = NotifyLine(store.engine, metrics=metrics, last_words=last_words)
    transport = LocalTransport("thu", line=line)
    closing.callback(transport.close)
    return Process(store=store, metrics=metrics, line=line, transport=transport)


def test_a_loop_on_another_machine_is_woken_long_before_it_looks_by_itself(tmp_path: Path, closing: ExitStack) -> None:
    url = cluster().create()
    here, there = (a_process(closing, tmp_path / name, url) for name in ("a", "b"))
    rounds: queue.Queue[int] = queue.Queue()

    def once() -> float:
        rounds.put(1)
        return 3600.0  # it looks by itself in an hour

    loop = Loop("relay", once, there.transport, ["relay"])
    closing.callback(loop.close)
    assert there.line.wait_up(_PATIENCE)
    while rounds.get(timeout=_PATIENCE) and not there.count("heard"):
        here.transport.wake("relay")
    until(lambda: here.count("sent") >= 1)


def test_a_process_of_one_command_is_heard_though_it_ends_before_its_line_is_there(
    tmp_path: Path, closing: ExitStack
) -> None:
    url = cluster().create()
    there = a_process(closing, tmp_path / "b", url)
    told = there.heard("*")
    short = a_process(closing, tmp_path / "a", url)
    ends = threading.Event()
    event.listen(short.store.engine, "do_connect", lambda *_: ends.wait() and None)
    short.store.engine.dispose()  # every connection is a new one
    short.transport.wake("relay")
    ends.set()
    short.transport.close()
    assert told.get(timeout=_PATIENCE) == "relay"


def test_a_process_with_thousands_of_connections_hears_as_others_do(tmp_path: Path, closing: ExitStack) -> None:
    url = cluster().create()
    closing.enter_context(many_descriptors())
    here, there = (a_process(closing, tmp_path / name, url) for name in ("a", "b"))
    told = there.heard("*")
    here.transport.wake("relay")
    assert told.get(timeout=_PATIENCE) == "relay"


def test_words_of_every_length_come_each_once(tmp_path: Path, closing: ExitStack) -> None:
    url = cluster().create()
    here, there = (a_process(closing, tmp_path / name, url) for name in ("a", "b"))
    told = there.heard("*")
    here.heard("nothing")
    topics = {f"inbox:cơ-quan-{number}-{'x' * 90}" for number in range(500)}  # more than one NOTIFY holds
    for topic in topics:
        here.transport.wake(topic)
    seen = set[str]()
    while len(seen) < len(topics):
        seen.add(told.get(timeout=_PATIENCE))
    assert seen == topics
    until(lambda: there.count("heard") == here.count("sent") == len(topics))


def test_a_process_hears_others_and_not_itself_again(tmp_path: Path, closing: ExitStack) -> None:
    url = cluster().create()
    here, there = (a_process(closing, tmp_path / name, url) for name in ("a", "b"))
    own, elsewhere = here.heard("*"), there.heard("*")
    here.transport.wake("x")
    assert own.get(timeout=_PATIENCE) == "x"
    assert elsewhere.get(timeout=_PATIENCE) == "x"
    there.transport.wake("y")
    assert own.get(timeout=_PATIENCE) == "y"  # the server tells in order: "x" came by the database before
    assert here.count("heard") == 1


def test_a_line_that_was_lost_is_said_and_found_again_and_nothing_is_missed(
    tmp_path: Path, closing: ExitStack, lines: io.StringIO
) -> None:
    server = own_server(closing)
    url = server.create()
    here, there = (a_process(closing, tmp_path / name, url) for name in ("a", "b"))
    here.heard("nothing")
    there.heard("nothing")
    assert there.is_up == 1
    server.stop()
    until(lambda: there.is_up == 0 and here.is_up == 0)
    until(lambda: causes(lines, "wake_line.away"), lines.getvalue)
    assert causes(lines, "wake_line.lost") <= {"ended_by_server", "cut"}
    assert causes(lines, "wake_line.away") <= {"store.unreachable", "store.busy", "cut"}  # it is about to stop, or has
    here.transport.wake("relay")
    until(lambda: here.count("lost") == 1)
    told: queue.Queue[str] = queue.Queue()
    there.transport.on_wake(["relay"], told.put)
    server.start()
    assert told.get(timeout=_PATIENCE) == "*"  # nobody said it again: it may have been missed
    assert there.line.wait_up(_PATIENCE)
    assert there.is_up == 1
    assert there.count("heard") == 0


def causes(lines: io.StringIO, event: str) -> set[str]:
    """What the lines of one event say of why."""
    told = (json.loads(line) for line in lines.getvalue().splitlines())
    return {one["cause"] for one in told if one["event"] == event}


def test_the_cause_of_a_lost_connection_is_a_word_that_an_operator_knows() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    with pytest.raises(psycopg.OperationalError) as refused:
        psycopg.connect(host="127.0.0.1", port=port, user="truc", connect_timeout=20)
    assert cause_of(refused.value) == "store.unreachable"
    assert cause_of(psycopg.errors.AdminShutdown()) == "ended_by_server"
    assert cause_of(psycopg.errors.CannotConnectNow()) == "store.busy"
    assert cause_of(psycopg.OperationalError("consuming input failed: server closed the connection")) == "cut"
    assert cause_of(StoreCrowded(why="")) == "store.crowded"
    assert cause_of(ConnectionResetError()) == "cut"


def own_server(closing: ExitStack) -> Cluster:
    made = start_cluster()
    closing.callback(made.stop)
    return made


def test_a_hop_goes_on_while_no_word_can_be_sent(tmp_path: Path, closing: ExitStack) -> None:
    """The server refuses every NOTIFY, as it does when its queue is full: what was committed stands."""
    url = cluster().create()
    here = a_process(closing, tmp_path / "a", url)
    here.heard("nothing")
    with here.store.engine.connect() as connection, connection.begin():
        connection.exec_driver_sql("CREATE SCHEMA mine")
        connection.exec_driver_sql(
            "CREATE FUNCTION mine.pg_notify(text, text) RETURNS void LANGUAGE plpgsql AS "
            "$$ BEGIN RAISE EXCEPTION 'too many notifications in the NOTIFY queue' USING ERRCODE = '54000'; END $$"
        )
        connection.exec_driver_sql(
            f"ALTER DATABASE {here.store.engine.url.database} SET search_path = mine, pg_catalog, public"
        )
    full = a_process(closing, tmp_path / "b", url)
    full.heard("nothing")
    full.transport.wake("relay")
    until(lambda: full.count("lost") == 1)
    with full.store.write() as connection:
        connection.exec_driver_sql("UPDATE public.node SET created_at = 7")
    with full.store.read() as connection:
        assert connection.exec_driver_sql("SELECT created_at FROM public.node").scalar_one() == 7


def test_doctor_can_see_whether_words_come_through(tmp_path: Path, closing: ExitStack) -> None:
    here = a_process(closing, tmp_path / "a", cluster().create())
    assert is_carrying(here.store)
