"""What callers are told while the database is away: which part, and nothing of where it is or how it is reached."""

from __future__ import annotations

import io
import json
from pathlib import Path

import httpx2
import pytest

from tests.support.edge import running_api
from tests.support.patience import until
from tests.support.postgres import Cluster, start_cluster

STRANGER = {"X-Forwarded-For": "203.0.113.7"}


@pytest.fixture(scope="module")
def server() -> Cluster:
    """A database server that this module takes away."""
    return start_cluster()


def _assert_tells_no_more_than_the_part(text: str, server: Cluster, folder: Path) -> None:
    for word in ("127.0.0.1", "localhost", str(server.port), "TRUC_", "pg_hba", "psycopg", "connection to server",
                 "password", "thu_", str(folder)):  # fmt: skip
        assert word not in text, text
    assert "cơ sở dữ liệu" in text.lower()
    assert "database" in text


def test_a_stranger_and_a_sender_are_told_the_part_and_a_watcher_all(
    tmp_path: Path, server: Cluster, lines: io.StringIO
) -> None:
    with running_api(tmp_path, database=server.create(), database_wait="2") as api:
        until(lambda: httpx2.get(f"{api.url}/health/ready").status_code == 200)
        body = api.packet()
        server.stop()
        try:
            unknown = {"Authorization": "Bearer truc_" + "x" * 43}
            for got in (
                httpx2.get(f"{api.url}/v1/inbox", headers=unknown, timeout=60),
                api.sender.post("/v1/packets", content=body, timeout=60),
            ):
                assert (got.status_code, got.json()["code"][:6]) == (503, "store."), got.text
                assert got.headers["retry-after"]
                told = got.json()
                _assert_tells_no_more_than_the_part(f"{told['detail']} {told['vi']} {told['en']}", server, tmp_path)
                assert str(server.port) not in got.text

            def ready(**headers: str) -> httpx2.Response:
                return httpx2.get(f"{api.url}/health/ready", headers=headers, timeout=60)

            until(lambda: "store.unreachable" in ready().text)
            outside, inside = ready(**STRANGER), ready()
            assert outside.status_code == inside.status_code == 503
            (check,) = [one for one in outside.json()["checks"] if one["name"] == "store"]
            _assert_tells_no_more_than_the_part(f"{check['vi']} {check['en']}", server, tmp_path)
            assert str(server.port) not in outside.text
            assert str(server.port) in inside.text, "whoever watches sees where"
        finally:
            server.start()
        logged = [json.loads(line) for line in lines.getvalue().splitlines()]
        for event in ("request.put_off", "health.not_ready"):
            assert "store.unreachable" in {one.get("reason") for one in logged if one["event"] == event}, event
