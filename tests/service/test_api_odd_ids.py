"""Ids that are none, characters no database stores: nobody's mistake of ours, and no neighbour's trouble."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.edge import RunningApi, running_api
from tests.support.postgres import cluster
from tests.support.stores import Database

ODD = ("%00" * 36, "a" * 35 + "%00", "%F0%9F%93%84" * 36, "\\'\"{}%25(x)s;--" + "_" * 20)


@pytest.fixture(scope="module", params=list(Database), ids=str)
def api(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningApi]:
    """One server for all, on each database."""
    where = {"DATABASE": cluster().create()} if request.param is Database.POSTGRESQL else {}
    with running_api(tmp_path_factory.mktemp("api"), **where) as running:
        yield running


@pytest.mark.parametrize("odd", ODD)
def test_an_odd_id_is_not_found(api: RunningApi, odd: str) -> None:
    asked = [
        api.recipient.get(f"/v1/inbox/{odd}/packet"),
        api.recipient.head(f"/v1/inbox/{odd}/packet"),
        api.recipient.post(f"/v1/inbox/{odd}/confirm"),
        api.recipient.post(f"/v1/inbox/{odd}/fail", json={"reason": "r"}),
        api.recipient.post(f"/v1/inbox/{odd}/refuse", json={"reason": "r"}),
        api.recipient.get(f"/v1/packets/{odd}"),
        api.recipient.get(f"/v1/documents?id={odd[:60]}"),
        api.recipient.get(f"/v1/inbox?agency={odd}"),
        api.recipient.get(f"/v1/agencies/{odd[:90]}"),
    ]
    assert all(400 <= one.status_code < 500 for one in asked), [(one.url.path, one.status_code) for one in asked]
