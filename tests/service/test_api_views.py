"""What callers may ask: check without sending, documents, what I sent, agencies, statuses and refusals in JSON."""

from __future__ import annotations

import threading
import time
from typing import Any

import httpx2
import pytest

from gateway.api import start_scrape
from gateway.api.v1 import shapes
from gateway.settings import read_settings
from tests.support.edge import FOREIGN, RECIPIENT, SENDER, RunningApi, running_api
from tests.support.packets import build_packet, build_status
from tests.support.patience import until


def _delivered(api: RunningApi) -> tuple[dict[str, Any], dict[str, Any]]:
    """A document that was sent and confirmed: its answer and its item."""
    sent = api.send()
    (item,) = [one for one in api.waiting() if one["packet_id"] == sent["packet_id"]]
    api.recipient.get(f"/v1/inbox/{item['delivery_id']}/packet")
    api.recipient.post(f"/v1/inbox/{item['delivery_id']}/confirm")
    return sent, item


def test_hot_answers_have_the_documented_shape(api: RunningApi) -> None:
    sent = api.send()
    shapes.AcceptedShape.model_validate(sent)
    got = api.recipient.get("/v1/inbox", params={"agency": RECIPIENT})
    shapes.InboxShape.model_validate(got.json())
    shapes.ProblemShape.model_validate(httpx2.get(f"{api.url}/v1/inbox").json())


def test_check_keeps_nothing_and_tells_all(api: RunningApi) -> None:
    before = api.sender.get("/v1/packets").json()
    got = api.sender.post("/v1/packets/check", content=api.packet()).json()
    assert got["would_be_accepted"]
    assert [(leg["agency_id"], leg["channel_kind"], leg["reason"]) for leg in got["route"]] == [
        (RECIPIENT, "inbox", "direct")
    ]
    wrong = build_packet(sender=api.organ(SENDER), recipients=["H99.9999"], number="1")
    told = api.sender.post("/v1/packets/check", content=wrong)
    assert told.status_code == 200
    assert not told.json()["would_be_accepted"]
    assert "route.unknown_recipient" in {f["code"] for f in told.json()["findings"]}
    foreign = api.foreign.post("/v1/packets/check", content=api.packet()).json()
    assert not foreign["would_be_accepted"]
    assert "identity.foreign_sender" in {f["code"] for f in foreign["findings"]}
    secret = api.sender.post("/v1/packets/check", content=api.packet(subject="MẬT: kế hoạch")).json()
    assert not secret["would_be_accepted"]
    assert api.sender.post("/v1/packets/check", content=b"nothing").json()["route"] == []
    assert api.spooled() == []
    assert api.sender.get("/v1/packets").json() == before


def test_what_i_sent_is_paged_by_key(api: RunningApi) -> None:
    ids = [api.send()["packet_id"] for _ in range(5)]
    seen: list[str] = []
    after = ""
    for _ in range(10):
        page = api.sender.get("/v1/packets", params={"limit": 2, "after": after}).json()
        seen += [line["packet_id"] for line in page["items"]]
        after = page["next"]
        if not after:
            break
    assert seen[:5] == ids[::-1]
    assert api.foreign.get("/v1/packets").json() == {"items": [], "next": ""}
    assert api.sender.get("/v1/packets", params={"limit": 0}).json()["code"] == "api.bad_field"


def test_a_document_as_each_side_may_see_it(api: RunningApi) -> None:
    sent, item = _delivered(api)
    mine = api.sender.get(f"/v1/packets/{sent['packet_id']}").json()
    (line,) = mine["recipients"]
    assert (line["state"], line["may_have_arrived"]) == ("delivered", True)
    assert line["reason_vi"] not in ("", "delivery.confirmed")
    assert mine["timeline"][0]["kind"] == "packet.accepted"
    theirs = api.recipient.get("/v1/documents", params={"id": item["delivery_id"]}).json()
    assert [r["agency_id"] for r in theirs["recipients"]] == [RECIPIENT]
    by_id = api.sender.get("/v1/documents", params={"id": sent["document_id"]}).json()
    assert by_id["packet"]["packet_id"] == sent["packet_id"]
    foreign = api.foreign.get("/v1/documents", params={"id": sent["document_id"]})
    absent = api.foreign.get("/v1/documents", params={"id": "H99.15,2025/09/01,99999/UBND-VX"})
    assert foreign.status_code == absent.status_code == 404
    assert foreign.json()["vi"] == absent.json()["vi"]


def test_a_refusal_in_json_reaches_the_sender_as_a_status(api: RunningApi) -> None:
    sent = api.send()
    (item,) = [one for one in api.waiting() if one["packet_id"] == sent["packet_id"]]
    path = f"/v1/inbox/{item['delivery_id']}/refuse"
    assert api.foreign.post(path, json={"reason": "x"}).status_code == 404
    assert api.recipient.post(path, json={"reason": ""}).json()["code"] == "api.bad_field"
    got = api.recipient.post(path, json={"reason": "Thiếu phụ lục"})
    assert got.status_code == 202, got.text
    assert api.recipient.post(path, json={"reason": "Thiếu phụ lục"}).json()["is_repeat"]
    shown = api.sender.get(f"/v1/packets/{sent['packet_id']}").json()
    assert [r["state"] for r in shown["recipients"]] == ["refused"]
    assert "Thiếu phụ lục" in shown["statuses"][0]["description"]
    inbox = api.sender.get("/v1/inbox", params={"agency": SENDER}).json()["items"]
    assert ("statuses", "02") in {(one["book"], one["status_code"]) for one in inbox}


def test_a_status_in_json_by_delivery_and_by_document(api: RunningApi) -> None:
    sent, item = _delivered(api)
    got = api.recipient.post("/v1/statuses", json={"code": "03", "delivery_id": item["delivery_id"]})
    assert got.status_code == 202, got.text
    got = api.recipient.post(
        "/v1/statuses",
        json={"code": "06", "document_id": sent["document_id"], "agency": RECIPIENT, "description": "Xong"},
    )
    assert got.status_code == 202, got.text
    shown = api.sender.get(f"/v1/packets/{sent['packet_id']}").json()
    assert [(s["code"], s["by_node"]) for s in shown["statuses"]] == [("03", False), ("06", False)]
    assert shown["recipients"][0]["status_code"] == "06"
    by_id = api.sender.get("/v1/documents", params={"id": sent["document_id"]}).json()
    assert by_id["packet"]["packet_id"] == sent["packet_id"], "not the newest status about it"
    both = api.recipient.post("/v1/statuses", json={"code": "03"})
    assert (both.status_code, both.json()["code"]) == (400, "api.not_about_one")
    foreign = api.foreign.post("/v1/statuses", json={"code": "03", "delivery_id": item["delivery_id"]})
    assert foreign.status_code == 404
    other = api.foreign.post(
        "/v1/statuses", json={"code": "03", "document_id": sent["document_id"], "agency": RECIPIENT}
    )
    assert (other.status_code, other.json()["code"]) == (403, "identity.foreign_agency")


def test_a_raw_status_packet_goes_through_submit(api: RunningApi) -> None:
    sent, _ = _delivered(api)
    number = sent["document_id"].rsplit(",", 1)[1].split("/")[0]
    body = build_status(
        sender=api.organ(RECIPIENT), issuer=api.organ(SENDER), code="01", number=number,
        document_id=sent["document_id"],
    )  # fmt: skip
    got = api.recipient.post("/v1/packets", content=body)
    assert got.status_code == 202, got.text
    forged = build_status(
        sender=api.organ(FOREIGN), issuer=api.organ(SENDER), code="01", number=number, document_id=sent["document_id"]
    )
    got = api.foreign.post("/v1/packets", content=forged)
    assert (got.status_code, got.json()["code"]) == (400, "status.unmatched")


def test_agencies_are_found_and_assumed_codes_are_marked(api: RunningApi) -> None:
    found = api.sender.get("/v1/agencies", params={"q": "so tai chinh"}).json()["items"]
    assert found[0]["agency_id"] == SENDER
    assert (found[0]["assumed"], found[0]["note"]) == (True, "mã giả định")
    assert found[0]["is_reachable"]
    one = api.sender.get(f"/v1/agencies/{api.organ(SENDER)}").json()
    assert one["agency_id"] == SENDER
    assert len(api.sender.get("/v1/agencies", params={"limit": 500}).json()["items"]) > 130
    past = api.sender.get("/v1/agencies", params={"q": "huyện", "on": "2024-01-01"}).json()["items"]
    assert past
    assert api.sender.get("/v1/agencies/na-khong-co").json()["code"] == "api.unknown_agency"
    assert api.sender.get("/v1/agencies", params={"on": "hôm qua"}).status_code == 400


def test_who_am_i(api: RunningApi) -> None:
    me = api.sender.get("/v1/me").json()
    assert (me["name"], [a["agency_id"] for a in me["agencies"]]) == (SENDER, [SENDER])


def test_ready_names_each_check(api: RunningApi) -> None:
    until(lambda: httpx2.get(f"{api.url}/health/ready").status_code == 200)  # what was not looked at in time is not
    got = httpx2.get(f"{api.url}/health/ready")
    shapes.HealthShape.model_validate(got.json())
    assert {c["name"] for c in got.json()["checks"]} == {"store", "transport", "disk", "keys", "directory"}


def test_there_are_no_pages_from_elsewhere(api: RunningApi) -> None:
    for path in ("/redoc", "/openapi.json", "/docs/oauth2-redirect"):
        assert api.sender.get(path).status_code == 404


def test_the_scrape_server_of_other_processes(api: RunningApi) -> None:
    scrape = start_scrape(api.node, read_settings({}))
    try:
        url = f"http://127.0.0.1:{scrape.port}"
        assert httpx2.get(f"{url}/metrics").text.startswith("# HELP")
        assert httpx2.get(f"{url}/health/live").json() == {"status": "live"}
        assert httpx2.get(f"{url}/other").status_code == 404
        head = httpx2.head(f"{url}/health/live")
        assert (head.status_code, head.content, head.headers["content-length"]) == (200, b"", "17")
    finally:
        scrape.close()


def test_stopping_sends_long_polls_home(tmp_path_factory: pytest.TempPathFactory) -> None:
    with running_api(tmp_path_factory.mktemp("stop")) as api:
        got: list[httpx2.Response] = []
        poll = threading.Thread(
            target=lambda: got.append(api.sender.get("/v1/inbox", params={"agency": SENDER, "wait": "30"}))
        )
        poll.start()
        until(lambda: api.front.edge.bell._waiting)
        began = time.monotonic()
        api.server.stop()
        poll.join()
        assert got[0].json() == {"items": []}
        assert time.monotonic() - began < 25, "it would have waited for thirty"
