"""Inspectors for tests: a root that is trusted, processes with limits of their own, jobs about files."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization

from gateway.inspector.jobs import Job
from gateway.model.inspection import InspectionLimits
from gateway.workers.inspect_process import InspectorProcess
from tests.support.certificates import NOW, Authority

__all__ = ["HOUSE", "LIMITS", "job", "pid_of", "root", "start", "trust"]


LIMITS = InspectionLimits(file=64 << 20, files=3, wall=30, cpu=20, memory=512 << 20, idle=60)
HOUSE = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def root() -> Authority:
    return Authority("CA thu")


@pytest.fixture
def trust(tmp_path: Path, root: Authority) -> Path:
    """A folder that trusts `root`, whose list covers the time of the tests."""
    folder = tmp_path / "trust"
    for part in ("anchors", "revocations"):
        (folder / part).mkdir(parents=True)
    (folder / "anchors" / "goc.pem").write_bytes(root.certificate.public_bytes(serialization.Encoding.PEM))
    (folder / "revocations" / "goc.crl").write_bytes(root.crl(at=NOW - timedelta(days=30), days=365))
    return folder


@pytest.fixture
def start(tmp_path: Path, trust: Path) -> Iterator[Any]:
    """Makes inspectors with other limits; ends them all."""
    made: list[InspectorProcess] = []

    def make(**changes: Any) -> InspectorProcess:
        made.append(InspectorProcess(replace(LIMITS, **changes), trust=trust, scratch=tmp_path))
        return made[-1]

    yield make
    for one in made:
        one.stop()
        one.close()


def pid_of(inspector: InspectorProcess) -> int:
    assert inspector._process is not None
    return inspector._process.pid


def job(folder: Path, file: bytes, *, digest: str = "") -> Job:
    """A file in a packet, of which nothing but its text is written."""
    text = base64.b64encode(file)
    blob = folder / f"{hashlib.sha256(text).hexdigest()}.blob"
    blob.write_bytes(b"<Attachment>" + text + b"</Attachment>")
    return Job(
        blob=str(blob),
        span=(12, 12 + len(text)),
        encoding="base64",
        transfer="base64",
        digest=digest or hashlib.sha256(file).hexdigest(),
        came_at=int(NOW.timestamp() * 1e6),
    )
