"""Examiners: a shorter way under load. Killed, frozen or refusing, each packet still gets its own answer, once."""

from __future__ import annotations

import os
import queue
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

import httpx2
import pytest

from benchmarks.measure import family
from edxml.codes import Priority
from gateway.api.examining import Examining, Habits
from gateway.cli.exits import ExitCode
from gateway.exchange.group import Grouper
from gateway.exchange.submission import Answer, Outcome, PacketRefusal, Prepared, Submission
from gateway.exchange.take_in import Unprepared, take_in
from gateway.exchange.urgency import URGENT_COMES
from gateway.model.events import EventKind
from gateway.settings import read_settings
from tests.support.edge import SENDER, RunningApi, running_api
from tests.support.patience import PATIENCE, until
from tests.support.processes import NodeProcesses, free_ports

_Given = Outcome | Unprepared


@dataclass(slots=True)
class Desk:
    """An `Examining` over the node of a running API, and what it gave: each outcome by its document's number."""

    api: RunningApi
    examining: Examining
    outcomes: dict[int, list[_Given | BaseException]] = field(default_factory=dict)
    _came: queue.SimpleQueue[int] = field(default_factory=queue.SimpleQueue)

    def give(self, body: bytes | None = None) -> int:
        """Submit one packet; gives its number."""
        body = self.api.packet() if body is None else body
        number = len(self.outcomes)
        self.outcomes[number] = []
        caller = self.api.node.callers.authenticate(f"Bearer {self.api.tokens[SENDER]}")
        submission = Submission(
            caller=caller,
            spooled=self.api.node.store.blobs.spool(),
            digest="",
            size=len(body),
            received_at=self.api.node.now(),
            body=body,
        )

        def settle(outcome: _Given | None, why: BaseException | None) -> None:
            given = outcome if why is None else why
            assert given is not None
            self.outcomes[number].append(given)
            self._came.put(number)

        self.examining.submit(submission, settle)
        return number

    def wait(self, count: int) -> None:
        """Until `count` outcomes came."""
        for _ in range(count):
            self._came.get(timeout=PATIENCE)

    def wait_for(self, ready: int) -> None:
        """Until that many examiners take packets."""
        until(lambda: self.examining.ready == ready)

    def check_all_accepted(self, count: int) -> None:
        """One answer each, and one stored packet each, whatever happened to the examiner."""
        assert [len(given) for given in self.outcomes.values()] == [1] * len(self.outcomes)
        answers = [given[0] for given in self.outcomes.values()]
        accepted = [answer for answer in answers if isinstance(answer, Answer)]
        assert len(accepted) == count, [answer for answer in answers if not isinstance(answer, Answer)][:3]
        assert not any(answer.is_repeat for answer in accepted)
        with self.api.node.store.read() as connection:
            stored = connection.exec_driver_sql("SELECT count(*) FROM packets").scalar_one()
        assert stored == count
        assert self.api.spooled() == []


def _children(pid: int | None = None) -> list[int]:
    """The examiners of a process."""
    found = []
    for child in family(os.getpid() if pid is None else pid):
        with suppress(OSError):  # it has just ended
            if b"gateway.cli.examiner" in Path(f"/proc/{child}/cmdline").read_bytes().split(b"\0"):
                found.append(child)
    return found


@contextmanager
def _desk(
    folder: Path,
    habits: Habits,
    examiners: int = 1,
    before_accept: Callable[[], object] = lambda: None,
    transport: object = None,
) -> Iterator[Desk]:
    with running_api(folder, examiners="0") as api:
        settings = read_settings(
            {"TRUC_DATA": str(folder / "var"), "TRUC_EXAMINERS": str(examiners), "TRUC_DISK_RESERVE_MIB": "1"}
        )
        accepting: Grouper[Submission | Prepared, _Given] = Grouper(
            lambda group: (before_accept(), take_in(api.node, group))[1], most=api.node.group, name="test-accept"
        )
        node = api.node if transport is None else replace(api.node, transport=transport)
        examining = Examining(node, settings, accepting, habits)
        try:
            yield Desk(api, examining)
        finally:
            examining.close()
            accepting.close()
            assert _children() == [], "an examiner outlived whoever asked it"


_SOON = Habits(many=1, answer=2.0, again=0.2)


def test_packets_go_through_an_examiner_and_are_accepted_once_urgent_ones_told_of_before(tmp_path: Path) -> None:
    has_turn, heard = threading.Event(), list[str]()
    has_turn.set()
    patient = replace(_SOON, answer=PATIENCE)  # else a slow answer is none, and the word waits for its turn too
    with _desk(tmp_path, patient, before_accept=lambda: has_turn.wait(PATIENCE)) as desk:
        desk.give()
        desk.wait_for(1)
        desk.wait(1)
        with closing(desk.api.node.transport.on_wake([URGENT_COMES], heard.append)):
            has_turn.clear()
            desk.give(desk.api.packet(priority=Priority.URGENT))
            until(lambda: heard == [URGENT_COMES])
            has_turn.set()
        for _ in range(199):
            desk.give()
        desk.wait(200)
        desk.check_all_accepted(201)
        assert len(_children()) == 1


def test_a_refused_packet_gets_its_findings_and_one_event(tmp_path: Path) -> None:
    with _desk(tmp_path, _SOON) as desk:
        desk.give()
        desk.wait_for(1)
        bad = [desk.give(b"<not-a-packet/>") for _ in range(3)]
        for _ in range(20):
            desk.give()
        desk.wait(24)
        for number in bad:
            (outcome,) = desk.outcomes.pop(number)
            assert isinstance(outcome, Unprepared)
            assert isinstance(outcome.why, PacketRefusal)
            assert outcome.why.findings
        assert len(desk.api.events(EventKind.PACKET_REFUSED)) == 3
        desk.check_all_accepted(21)


class Mute:
    """A transport whose wake meets a defect, the first time."""

    def __init__(self) -> None:
        self.asked = 0

    def wake(self, _topic: str) -> None:
        self.asked += 1
        if self.asked == 1:
            raise ZeroDivisionError


def test_a_defect_behind_the_examiners_answer_leaves_nobody_unanswered(tmp_path: Path) -> None:
    mute = Mute()
    patient = replace(_SOON, answer=PATIENCE, again=PATIENCE)
    with _desk(tmp_path, patient, transport=mute) as desk:
        desk.give()
        desk.wait_for(1)
        desk.wait(1)
        desk.give(desk.api.packet(priority=Priority.URGENT))
        desk.wait(1)
        assert mute.asked == 1, "it was met"
        until(lambda: desk.examining.ready == 0)
        desk.check_all_accepted(2)


def test_killed_again_and_again_nothing_is_lost_and_nothing_comes_twice(tmp_path: Path) -> None:
    killed = 0
    with _desk(tmp_path, _SOON) as desk:
        given = 0
        while killed < 4:
            desk.give()
            desk.wait_for(1)
            for _ in range(60):
                desk.give()
            given += 61
            (child,) = _children()
            time.sleep(0.01 * killed)
            os.kill(child, signal.SIGKILL)
            killed += 1
            desk.wait(61)
            until(lambda: not _children())
            time.sleep(1.1)  # one is started at most in each second
        desk.check_all_accepted(given)


def test_a_frozen_one_is_given_up_and_its_packets_go_on(tmp_path: Path) -> None:
    with _desk(tmp_path, _SOON) as desk:
        desk.give()
        desk.wait_for(1)
        (child,) = _children()
        os.kill(child, signal.SIGSTOP)
        for _ in range(50):
            desk.give()
        desk.wait(51)
        desk.check_all_accepted(51)
        until(lambda: child not in _children())


def test_at_rest_it_ends_and_the_next_packet_needs_none(tmp_path: Path) -> None:
    with _desk(tmp_path, Habits(many=2, rest=0.3)) as desk:
        until(lambda: desk.give() >= 0 and bool(_children()))
        until(lambda: desk.examining.ready == 0 and not _children())
        desk.give()
        count = len(desk.outcomes)
        desk.wait(count)
        desk.check_all_accepted(count)


@pytest.mark.parametrize(("examiners", "many"), [(0, 1), (2, 1_000_000)], ids=["none", "few packets"])
def test_none_is_started_where_none_may_be_or_few_packets_come(tmp_path: Path, examiners: int, many: int) -> None:
    with _desk(tmp_path, Habits(many=many), examiners) as desk:
        for _ in range(60):
            desk.give()
        desk.wait(60)
        assert (desk.examining.ready, _children()) == (0, [])
        desk.check_all_accepted(60)


def test_closing_finishes_what_waits(tmp_path: Path) -> None:
    with _desk(tmp_path, _SOON) as desk:
        desk.give()
        desk.wait_for(1)
        for _ in range(120):
            desk.give()
        desk.examining.close()
        desk.give()  # comes while all is closing: straight on
        desk.wait(122)
        desk.check_all_accepted(122)


def test_two_share_the_work_and_one_that_dies_leaves_it_to_the_other(tmp_path: Path) -> None:
    with _desk(tmp_path, Habits(many=1, again=60.0), examiners=2) as desk:
        for ready in (1, 2):
            desk.give()
            desk.wait_for(ready)
            time.sleep(1.1)  # one is started at most in each second
        os.kill(_children()[0], signal.SIGKILL)
        for _ in range(100):
            desk.give()
        count = len(desk.outcomes)
        desk.wait(count)
        desk.check_all_accepted(count)
        until(lambda: desk.examining.ready == 1)


def test_it_ends_with_the_process_that_asked_it_however_that_ends(tmp_path: Path) -> None:
    with running_api(tmp_path, examiners="0") as api:
        bodies = [api.packet() for _ in range(400)]
        token = api.tokens[SENDER]
    with NodeProcesses(tmp_path / "var", settings={"examiners": "1", "disk_reserve_mib": "1"}) as node:
        node.start("api")
        pid = node.pid("api")
        threads = [threading.Thread(target=_send, args=(node.url, token, bodies[part::8])) for part in range(8)]
        for thread in threads:
            thread.start()
        until(lambda: bool(_children(pid)))
        (child,) = _children(pid)
        node.kill("api")
        for thread in threads:
            thread.join()
        until(lambda: not Path(f"/proc/{child}").exists())


def test_one_that_cannot_start_says_so_in_a_line(tmp_path: Path) -> None:
    """Its errors go where the API process writes its log: no trace of calls for a store that is away."""
    nowhere = f"postgresql://truc@127.0.0.1:{free_ports(1)[0]}/khong-co"
    ours, theirs = socket.socketpair()
    with ours, theirs:
        done = subprocess.run(
            [sys.executable, "-m", "gateway.cli.examiner", str(theirs.fileno())],
            env={**os.environ, "TRUC_DATA": str(tmp_path), "TRUC_DATABASE": nowhere}, pass_fds=(theirs.fileno(),),
            capture_output=True, text=True, timeout=PATIENCE,
        )  # fmt: skip
    [line] = done.stderr.splitlines()
    assert "examiner.not_started" in line
    assert "store.unreachable" in line
    assert done.returncode == ExitCode.STORE


def _send(url: str, token: str, bodies: list[bytes]) -> None:
    with httpx2.Client(base_url=url, headers={"Authorization": f"Bearer {token}"}, timeout=30) as client:
        for body in bodies:
            try:
                client.post("/v1/packets", content=body)
            except httpx2.HTTPError:
                return
