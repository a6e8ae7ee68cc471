"""Followers behind the hops: what a busy store, a full machine or a stopped process does is held against no packet."""

from __future__ import annotations

import io
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import BinaryIO

import pytest

from edxml.sign import sign_packet
from gateway.exchange.submission import Answer
from gateway.model.errors import StoreBusy
from gateway.model.inspection import FileInspection, InspectionLimits, PdfVerdict
from gateway.model.instants import as_instant
from gateway.store.blobs import BlobFolder
from gateway.workers.begun import Begun
from gateway.workers.inspect import inspect_once
from gateway.workers.signatures import TrustWatch, check_once
from tests.support.certificates import NOW, Authority
from tests.support.nodes import House, build_house
from tests.support.pdfs import plain_pdf, sign_pdf
from tests.support.stores import HandClock

LIMITS = InspectionLimits(file=4 << 20, files=3, wall=20, cpu=20, memory=512 << 20, idle=60)


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    """A node that does not wait for a writer's place."""
    built = build_house(tmp_path, clock=HandClock(as_instant(NOW)), database_wait=0.05)
    yield built
    built.close()


@pytest.fixture
def signed(house: House) -> str:
    """The id of an accepted packet that bears a signature and a signed PDF."""
    out = io.BytesIO()
    issued = Authority().issue()
    body = house.packet(["inbox-a"], "1", files=(("a.pdf", sign_pdf(plain_pdf(), issued)),))
    sign_packet(io.BytesIO(body), out, issued.signer(), signing_time=NOW)
    answer = house.submit(out.getvalue())
    assert isinstance(answer, Answer), answer
    return answer.packet_id


class Foreign:
    """Another program that holds the writer's place for a while."""

    def __init__(self, house: House) -> None:
        self._connection = sqlite3.connect(house.node.store.blobs.root.parent / "truc.db", isolation_level=None)

    def take(self) -> None:
        if not self._connection.in_transaction:
            self._connection.execute("BEGIN IMMEDIATE")

    def leave(self) -> None:
        self._connection.rollback()

    def close(self) -> None:
        """It has ended."""
        self._connection.close()


@pytest.fixture
def foreign(house: House) -> Iterator[Foreign]:
    with closing(Foreign(house)) as made:
        yield made


@dataclass(frozen=True, slots=True, kw_only=True)
class Meddled(BlobFolder):
    """Blobs at whose second opening of a round, that of the check itself, something happens."""

    happens: Callable[[], None]
    opened: list[str]

    def open(self, digest: str) -> BinaryIO:
        self.opened.append(digest)
        if len(self.opened) % 2 == 0:
            self.happens()
        return BlobFolder.open(self, digest)


def meddled(house: House, happens: Callable[[], None]) -> House:
    store = house.node.store
    blobs = Meddled(root=store.blobs.root, reserve=store.blobs.reserve, happens=happens, opened=[])
    return replace(house, node=replace(house.node, store=replace(store, blobs=blobs)))


def signature(house: House) -> list[str]:
    return [row["verdict"] for row in house.rows("SELECT verdict FROM signature_verdicts")]


def inspections(house: House) -> list[str]:
    return [row["verdict"] for row in house.rows("SELECT verdict FROM inspections")]


def begun_counts(house: House) -> list[int]:
    return [row["count"] for row in house.rows("SELECT count FROM intake_faults")]


def test_a_busy_store_costs_no_packet_the_verdict_on_its_signature(
    house: House, signed: str, tmp_path: Path, foreign: Foreign
) -> None:
    begun, trust = Begun("signature"), TrustWatch(tmp_path / "trust")
    busy = meddled(house, foreign.take)
    for _ in range(5):
        with pytest.raises(StoreBusy):
            check_once(busy.node, trust, begun=begun)
        foreign.leave()
    assert begun_counts(house) == [1], "a process counts what it began once"
    assert check_once(house.node, trust)
    assert signature(house) == ["chain_broken"]
    assert begun_counts(house) == []


def test_what_fails_each_time_it_is_checked_is_given_up_and_stops_nobody(
    house: House, signed: str, tmp_path: Path
) -> None:
    def fail() -> None:
        raise OSError(5, "Input/output error")

    begun, trust = Begun("signature"), TrustWatch(tmp_path / "trust")
    broken = meddled(house, fail)
    for _ in range(3):
        with pytest.raises(OSError, match="Input/output"):
            check_once(broken.node, trust, begun=begun)
    assert check_once(broken.node, trust, begun=begun)
    assert signature(house) == ["not_checked"]


class Slow:
    """An inspector during whose work another program takes the writer's place."""

    def __init__(self, happens: Callable[[], None]) -> None:
        self._happens = happens

    def ask(self, _job: object) -> FileInspection:
        self._happens()
        return FileInspection(verdict=PdfVerdict.UNSIGNED)


def test_a_busy_store_costs_no_pdf_its_verdict(house: House, signed: str, foreign: Foreign) -> None:
    begun = Begun("inspection")
    for _ in range(5):
        with pytest.raises(StoreBusy):
            inspect_once(house.node, Slow(foreign.take), LIMITS, begun=begun)  # type: ignore[arg-type]
        foreign.leave()
    assert begun_counts(house) == [1]
    assert inspect_once(house.node, Slow(lambda: None), LIMITS)  # type: ignore[arg-type]
    assert inspections(house) == ["unsigned"]
    assert begun_counts(house) == []


def test_what_nobody_foresaw_counts_against_its_file(house: House, signed: str) -> None:
    def fail() -> None:
        raise ZeroDivisionError

    begun = Begun("inspection")
    for _ in range(3):
        with pytest.raises(ZeroDivisionError):
            inspect_once(house.node, Slow(fail), LIMITS, begun=begun)  # type: ignore[arg-type]
    assert inspect_once(house.node, Slow(fail), LIMITS, begun=begun)  # type: ignore[arg-type]
    assert inspections(house) == ["crashed"]


_FULL = """
import resource, sys
from pathlib import Path
from gateway.inspector.jobs import Job
from gateway.model.inspection import InspectionLimits
from gateway.workers.inspect_process import InspectorProcess, InspectorUnavailable
limits = InspectionLimits(file=1, files=1, wall=1, cpu=1, memory=1, idle=1)
inspector = InspectorProcess(limits, trust=Path("trust"), scratch=Path("."))
InspectorUnavailable()  # its texts are read while files can be opened
resource.setrlimit(resource.RLIMIT_NOFILE, (3, 3))
try:
    inspector.ask(Job(blob="", span=(0, 0), encoding="base64", transfer="base64", digest="", came_at=0))
except InspectorUnavailable as why:
    print(why.reason)
"""


def test_a_system_that_starts_no_process_blames_no_file() -> None:
    done = subprocess.run([sys.executable, "-c", _FULL], capture_output=True, text=True, timeout=240, check=False)
    assert (done.stdout, done.stderr) == ("inspection.unavailable\n", "")
