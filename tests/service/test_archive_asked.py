"""Asked about what was archived and is gone: its month is told, and nothing that a stranger may not know."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest

from gateway.model.instants import new_id, wall_now
from gateway.store import Store
from gateway.store.months import periods
from gateway.store.months.partitions import month_of
from gateway.store.months.periods import Period
from tests.support.edge import RunningApi, running_api
from tests.support.nodes import House, build_house, document_id
from tests.support.terminal import Terminal, truc

__all__ = ["truc"]

MONTH = month_of(wall_now()).name


def let_all_go(store: Store) -> None:
    """As a month goes: all rows of it, and what is noted."""
    gone = Period(
        month=MONTH, file="luu-tru.zip", digest="", packets=1, last_position=0, archived_at=1, archived_by="test",
        dropped_at=2,
    )  # fmt: skip
    with store.write() as connection:
        ids = list(connection.exec_driver_sql("SELECT id FROM packets").scalars())
        periods.delete_packets(connection, ids)
        periods.record(connection, gone)


@pytest.fixture
def api(tmp_path: Path) -> Iterator[RunningApi]:
    with running_api(tmp_path) as running:
        yield running


def told(answer: httpx2.Response) -> tuple[int, str]:
    return answer.status_code, str(answer.json()["code"])


def test_over_http_every_id_of_that_month_is_told_alike(api: RunningApi) -> None:
    sent = api.send()
    ids = (sent["packet_id"], new_id())
    delivery = sent["recipients"][0]["delivery_id"]
    before = [told(api.foreign.get(f"/v1/packets/{one}")) for one in ids]
    assert before == [(404, "api.unknown_document")] * 2
    let_all_go(api.node.store)
    for client in (api.sender, api.recipient, api.foreign):
        for one in (*ids, delivery):
            for path in (f"/v1/packets/{one}", f"/v1/documents?id={one}", f"/v1/packets/{one}/packet"):
                answer = client.get(path)
                assert told(answer) == (404, "api.archived_document"), path
                assert MONTH in answer.text
        for one in (delivery, new_id()):
            status = {"delivery_id": one, "code": "03", "description": "x"}
            for answer in (
                client.get(f"/v1/inbox/{one}/packet"),
                client.post(f"/v1/inbox/{one}/confirm"),
                client.post(f"/v1/inbox/{one}/refuse", json={"reason": "x"}),
                client.post("/v1/statuses", json=status),
            ):
                assert told(answer) == (404, "inbox.archived"), (answer.request.url, answer.text)
    assert told(api.sender.get("/v1/documents?id=khong-co")) == (404, "api.unknown_document")


def test_a_documents_id_tells_it_to_those_alone_who_sent_or_were_sent_it(api: RunningApi) -> None:
    sent = api.send()
    let_all_go(api.node.store)
    asked = {"id": sent["document_id"]}
    for client in (api.sender, api.recipient):
        assert told(client.get("/v1/documents", params=asked)) == (404, "api.archived_document")
    assert told(api.foreign.get("/v1/documents", params=asked)) == (404, "api.unknown_document")


def test_an_operator_is_told_the_file(truc: Terminal, tmp_path: Path) -> None:
    house: House = build_house(tmp_path)
    sent = house.send(["check"])
    let_all_go(house.node.store)
    for wanted in (sent.packet_id, str(sent.recipients[0]["delivery_id"]), document_id("1")):
        truc("document", "show", wanted, code=6)
        assert "luu-tru.zip" in truc.err
        assert MONTH in truc.err
    delivery = str(sent.recipients[0]["delivery_id"])
    for act in ("release", "resend", "arrived"):
        for more in ((), ("--dry-run",)):
            said = json.loads(truc("parked", act, delivery, *more, "--json", code=1))
            assert said == [
                {"delivery": delivery, "outcome": "delivery.archived", "month": MONTH, "file": "luu-tru.zip"}
            ]
        assert "luu-tru.zip" in truc("parked", act, delivery, code=1)
        assert "delivery.unknown" in truc("parked", act, "khong-co", "--json", code=1)
    truc("document", "show", document_id("2"), code=6)
    assert "luu-tru.zip" not in truc.err
    house.close()
