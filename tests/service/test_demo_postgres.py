"""`truc demo` where TRUC_DATABASE names a PostgreSQL database: it plays on an empty one and leaves others alone."""

from __future__ import annotations

from pathlib import Path

import pytest

from gateway.cli.exits import ExitCode
from gateway.store import open_store
from tests.support.postgres import cluster
from tests.support.terminal import Terminal


def test_a_database_with_a_node_is_left_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, truc: Terminal) -> None:
    url = cluster().create()
    open_store(tmp_path / "data", node="that", database=url, reserve=1).close()
    monkeypatch.setenv("TRUC_DATABASE", url)
    truc("demo", code=ExitCode.FINDINGS)
    assert url in truc.err


@pytest.mark.long
@pytest.mark.timeout(3600)
def test_the_demo_plays_on_an_empty_database_and_its_account_closes(
    monkeypatch: pytest.MonkeyPatch, truc: Terminal
) -> None:
    url = cluster().create()
    monkeypatch.setenv("TRUC_DATABASE", url)
    monkeypatch.delenv("TRUC_TODAY")
    truc("demo")
    truc("demo", code=ExitCode.FINDINGS)  # what it left is for looking at
